//! `spec.tls` and ConfigMap `higress-https` → certificates by host
//! (Higress: pkg/ingress/kube/ingressv1/controller.go, `ConvertGateway`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use penstock_manifest::diagnostic::Code;
use penstock_manifest::diagnostic::{
    CERTIFICATE_INVALID, CERTIFICATE_MISSING, CERTIFICATE_NAME, TLS_HOST_UNUSED,
};
use penstock_manifest::kind::higress_https::{HigressHttps, is_higress_https};
use penstock_manifest::kind::ingress::Ingress;
use penstock_manifest::{Diagnostic, Position, Resource};

use crate::certificate::{Certificate, Certificates};

/// A Secret's namespace and name.
type SecretKey = (Box<str>, Box<str>);

/// The Secrets that Ingresses and `higress-https` name, as far as that can be told without
/// reading them as a whole.
pub(super) fn referred(resources: &[Arc<Resource>]) -> HashSet<SecretKey> {
    let mut keys = HashSet::new();
    for resource in resources.iter().filter(|resource| &*resource.key.kind == "Ingress") {
        let tls = resource.spec().and_then(|spec| spec.get("tls"));
        for entry in tls.iter().flat_map(|tls| tls.items()) {
            if let Some(name) = entry.node.get("secretName").and_then(|name| name.as_str()) {
                keys.insert((resource.key.namespace.as_ref().into(), name.into()));
            }
        }
    }
    keys.extend(https(resources, &mut Vec::new()).credentials.into_iter().map(|c| c.secret));
    keys
}

fn https(resources: &[Arc<Resource>], diagnostics: &mut Vec<Diagnostic>) -> HigressHttps {
    let resource = resources.iter().find(|resource| is_higress_https(resource));
    resource.and_then(|r| HigressHttps::parse(r, diagnostics)).unwrap_or_default()
}

/// Whether a Secret holds a certificate and its key.
pub(super) fn is_usable(secret: &Resource, diagnostics: &mut Vec<Diagnostic>) -> bool {
    Certificate::read(secret).map_err(|problem| diagnostics.push(invalid(secret, &problem))).is_ok()
}

fn invalid(secret: &Resource, problem: &str) -> Diagnostic {
    let message = format!("{} cannot be used for TLS: {problem}", secret.key);
    Diagnostic::at(&CERTIFICATE_INVALID, &secret.source, secret.name_at(), message)
}

/// Gathers the certificates of Ingresses, the oldest first.
pub(super) struct Builder<'a> {
    secrets: HashMap<SecretKey, &'a Resource>,
    read: HashMap<SecretKey, Option<Arc<Certificate>>>,
    /// Which Secret has a host, and through which Ingress.
    claimed: HashMap<Box<str>, (SecretKey, String)>,
    /// The certificates for hosts without a Secret of their own.
    https: HigressHttps,
    certificates: Certificates,
}

/// A host and the Secret that it is to have.
struct Wish<'w> {
    host: &'w str,
    secret: SecretKey,
}

impl<'a> Builder<'a> {
    pub(super) fn new(resources: &'a [Arc<Resource>], diagnostics: &mut Vec<Diagnostic>) -> Self {
        let secrets = resources.iter().filter(|resource| &*resource.key.kind == "Secret");
        let key =
            |secret: &Resource| (secret.key.namespace.as_ref().into(), (&*secret.key.name).into());
        Self {
            secrets: secrets.map(|secret| (key(secret), &**secret)).collect(),
            read: HashMap::new(),
            claimed: HashMap::new(),
            https: https(resources, diagnostics),
            certificates: Certificates::default(),
        }
    }

    pub(super) fn finish(self) -> Certificates {
        self.certificates
    }

    /// Higress: a host has TLS where an entry lists it exactly as a rule of
    /// the same Ingress does, or where the Ingress has TLS at all and
    /// `higress-https` covers it; the first Ingress with TLS for a host has
    /// it.
    pub(super) fn add(
        &mut self,
        ingress: &Ingress,
        resource: &Resource,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let mut seen = HashSet::new();
        let report = |at: Position, path: &str, (code, message): (&'static Code, String)| {
            Diagnostic::at(code, &resource.source, at, message).with_path(path)
        };
        for entry in &ingress.tls {
            for host in entry.hosts.iter().filter(|host| seen.insert(&***host)) {
                let finding = if ingress.rules.iter().all(|rule| rule.host != *host) {
                    Some((&TLS_HOST_UNUSED, format!("`{host}` is the host of no rule")))
                } else {
                    match self.secret_of(host, entry.secret.as_deref(), resource) {
                        Some(secret) => self.claim(&Wish { host, secret }, resource, diagnostics),
                        None => Some((&CERTIFICATE_MISSING, unnamed(host))),
                    }
                };
                diagnostics.extend(finding.map(|f| report(entry.at, &entry.key_path, f)));
            }
        }
        if ingress.tls.is_empty() {
            return;
        }
        for rule in ingress.rules.iter().filter(|rule| seen.insert(&*rule.host)) {
            let host = &*rule.host;
            if let Some(secret) = self.https.secret_for(host).cloned() {
                let finding = self.claim(&Wish { host, secret }, resource, diagnostics);
                diagnostics.extend(finding.map(|f| report(rule.at, "spec.tls", f)));
            }
        }
    }

    /// The Secret for a host of an entry: the one that it names, unless that
    /// does not exist and `higress-https` may stand in.
    fn secret_of(&self, host: &str, name: Option<&str>, resource: &Resource) -> Option<SecretKey> {
        let by_domain = || self.https.secret_for(host).cloned();
        let Some(name) = name else {
            return by_domain();
        };
        let named = (Box::from(&*resource.key.namespace), Box::from(name));
        match self.https.is_fallback && !self.secrets.contains_key(&named) {
            true => by_domain().or(Some(named)),
            false => Some(named),
        }
    }

    fn claim(
        &mut self,
        wish: &Wish<'_>,
        resource: &Resource,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<(&'static Code, String)> {
        let (host, key) = (wish.host, &wish.secret);
        if let Some((other, owner)) = self.claimed.get(host) {
            let message = format!("`{host}` has its certificate through {owner} already");
            return (other != key).then_some((&TLS_HOST_UNUSED, message));
        }
        self.claimed.insert(host.into(), (key.clone(), resource.key.to_string()));
        let name = match *key.0 == *resource.key.namespace {
            true => key.1.to_string(),
            false => format!("{}/{}", key.0, key.1),
        };
        let Some(certificate) = self.certificate(key, diagnostics) else {
            let message =
                format!("`{host}` is not served over HTTPS: there is no usable Secret `{name}`");
            return Some((&CERTIFICATE_MISSING, message));
        };
        let is_named = host == "*" || certificate.names(host);
        self.certificates.insert(host, certificate);
        let message = || format!("the certificate of Secret `{name}` does not name `{host}`");
        (!is_named).then(|| (&CERTIFICATE_NAME, message()))
    }

    fn certificate(
        &mut self,
        key: &SecretKey,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Arc<Certificate>> {
        if let Some(known) = self.read.get(key) {
            return known.clone();
        }
        let secret = self.secrets.get(key)?;
        let read = match Certificate::read(secret) {
            Ok(certificate) => Some(Arc::new(certificate)),
            Err(problem) => {
                diagnostics.push(invalid(secret, &problem));
                None
            }
        };
        self.read.insert(key.clone(), read.clone());
        read
    }
}

fn unnamed(host: &str) -> String {
    format!("`{host}` names no Secret, and ConfigMap higress-https has none for it")
}
