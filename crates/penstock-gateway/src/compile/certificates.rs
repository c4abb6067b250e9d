//! `spec.tls` → certificates by host
//! (Higress: pkg/ingress/kube/ingressv1/controller.go, `ConvertGateway`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use penstock_manifest::diagnostic::{
    CERTIFICATE_INVALID, CERTIFICATE_MISSING, CERTIFICATE_NAME, TLS_HOST_UNUSED,
};
use penstock_manifest::kind::ingress::{Ingress, TlsEntry};
use penstock_manifest::{Diagnostic, Resource};

use crate::certificate::{Certificate, Certificates};

/// A Secret's namespace and name.
type SecretKey = (Box<str>, Box<str>);

/// The Secrets that Ingresses name, as far as that can be told without
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
    keys
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
    certificates: Certificates,
}

impl<'a> Builder<'a> {
    pub(super) fn new(resources: &'a [Arc<Resource>]) -> Self {
        let secrets = resources.iter().filter(|resource| &*resource.key.kind == "Secret");
        let key =
            |secret: &Resource| (secret.key.namespace.as_ref().into(), (&*secret.key.name).into());
        Self {
            secrets: secrets.map(|secret| (key(secret), &**secret)).collect(),
            read: HashMap::new(),
            claimed: HashMap::new(),
            certificates: Certificates::default(),
        }
    }

    pub(super) fn finish(self) -> Certificates {
        self.certificates
    }

    /// Higress: a host has TLS where an entry lists it exactly as a rule of
    /// the same Ingress does; the first Ingress with TLS for a host has it.
    pub(super) fn add(
        &mut self,
        ingress: &Ingress,
        resource: &Resource,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let mut seen = HashSet::new();
        for entry in &ingress.tls {
            for host in entry.hosts.iter().filter(|host| seen.insert(&**host)) {
                let finding = match ingress.rules.iter().any(|rule| rule.host == *host) {
                    true => self.claim(host, entry, resource, diagnostics),
                    false => Some((&TLS_HOST_UNUSED, format!("`{host}` is the host of no rule"))),
                };
                diagnostics.extend(finding.map(|(code, message)| {
                    Diagnostic::at(code, &resource.source, entry.at, message)
                        .with_path(&*entry.key_path)
                }));
            }
        }
    }

    fn claim(
        &mut self,
        host: &str,
        entry: &TlsEntry,
        resource: &Resource,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<(&'static penstock_manifest::diagnostic::Code, String)> {
        let Some(name) = &entry.secret else {
            let message = format!(
                "`{host}` names no Secret; certificates of ConfigMap higress-https are not read"
            );
            return Some((&CERTIFICATE_MISSING, message));
        };
        let key = (Box::from(&*resource.key.namespace), name.clone());
        if let Some((other, owner)) = self.claimed.get(host) {
            let message = format!("`{host}` has its certificate through {owner} already");
            return (*other != key).then_some((&TLS_HOST_UNUSED, message));
        }
        self.claimed.insert(host.into(), (key.clone(), resource.key.to_string()));
        let Some(certificate) = self.certificate(&key, diagnostics) else {
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
