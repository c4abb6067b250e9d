//! `spec.tls` and ConfigMap `higress-https` → certificates by host
//! (Higress: pkg/ingress/kube/ingressv1/controller.go, `ConvertGateway`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use penstock_manifest::diagnostic::Code;
use penstock_manifest::diagnostic::{CERTIFICATE_MISSING, CERTIFICATE_NAME, TLS_HOST_UNUSED};
use penstock_manifest::kind::higress_https::{HigressHttps, is_higress_https};
use penstock_manifest::kind::ingress::Ingress;
use penstock_manifest::{Diagnostic, Position, Resource};

use super::domains::Domains;
use super::tls_secrets::{SecretKey, TlsSecrets, shown};
use crate::certificate::Certificates;

/// ConfigMap `higress-https`; the default without one.
pub(super) fn https(
    resources: &[Arc<Resource>],
    diagnostics: &mut Vec<Diagnostic>,
) -> HigressHttps {
    let resource = resources.iter().find(|resource| is_higress_https(resource));
    resource.and_then(|r| HigressHttps::parse(r, diagnostics)).unwrap_or_default()
}

/// Gathers the certificates of Ingresses, the oldest first.
pub(super) struct Builder<'a> {
    secrets: &'a TlsSecrets<'a>,
    /// The certificates for hosts without a Secret of their own.
    https: HigressHttps,
    domains: &'a Domains,
    /// Hosts that have a certificate through their domain, unless an Ingress
    /// gives them one.
    of_domains: Vec<(Box<str>, &'a Resource)>,
    gathered: Gathered,
}

/// The certificates, and how hosts came by them.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) certificates: Certificates,
    /// Which Secret has a host, and through which Ingress.
    claimed: HashMap<Box<str>, (SecretKey, String)>,
}

impl Gathered {
    /// The Secret of a host's certificate.
    pub(super) fn secret_of(&self, host: &str) -> Option<&SecretKey> {
        self.claimed.get(host).map(|(key, _)| key)
    }
}

/// A host and the Secret that it is to have.
struct Wish<'w> {
    host: &'w str,
    secret: SecretKey,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        resources: &'a [Arc<Resource>],
        secrets: &'a TlsSecrets<'a>,
        domains: &'a Domains,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        let https = https(resources, diagnostics);
        Self { secrets, https, domains, of_domains: Vec::new(), gathered: Gathered::default() }
    }

    pub(super) fn finish(mut self, diagnostics: &mut Vec<Diagnostic>) -> Gathered {
        for (host, resource) in std::mem::take(&mut self.of_domains) {
            let secret = self.domains.secret_for(&host).cloned();
            let unclaimed = secret.filter(|_| !self.gathered.claimed.contains_key(&*host));
            if let Some(secret) = unclaimed {
                let finding = self.claim(&Wish { host: &host, secret }, resource, diagnostics);
                diagnostics.extend(finding.map(|(code, message)| {
                    Diagnostic::at(code, &resource.source, resource.source.at, message)
                }));
            }
        }
        self.gathered
    }

    /// Higress: a host has TLS where an entry lists it exactly as a rule of
    /// the same Ingress does, or where the Ingress has TLS at all and
    /// `higress-https` covers it; the first Ingress with TLS for a host has
    /// it. Another entry of that Ingress may bring a certificate with a key of
    /// another kind, for clients that cannot check the first.
    pub(super) fn add(
        &mut self,
        ingress: &Ingress,
        resource: &'a Resource,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let mut seen = HashSet::new();
        let report = |at: Position, path: &str, (code, message): (&'static Code, String)| {
            Diagnostic::at(code, &resource.source, at, message).with_path(path)
        };
        for entry in &ingress.tls {
            let mut within = HashSet::new();
            for host in entry.hosts.iter().filter(|host| within.insert(&***host)) {
                seen.insert(&**host);
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
        for rule in ingress.rules.iter().filter(|rule| seen.insert(&*rule.host)) {
            let host = &*rule.host;
            if self.domains.secret_for(host).is_some() {
                self.of_domains.push((rule.host.clone(), resource));
            }
            if ingress.tls.is_empty() {
                continue;
            }
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
        match self.https.is_fallback && !self.secrets.has(&named) {
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
        let owner = resource.key.to_string();
        let name = shown(key, &resource.key.namespace);
        let before = self.gathered.claimed.get(host);
        if let Some((other, other_owner)) = before {
            let message = format!("`{host}` has its certificate through {other_owner} already");
            if other == key || *other_owner != owner {
                return (other != key).then_some((&TLS_HOST_UNUSED, message));
            }
        }
        let is_second = before.is_some();
        if !is_second {
            self.gathered.claimed.insert(host.into(), (key.clone(), owner));
        }
        let Some(certificate) = self.secrets.of_host(key, diagnostics) else {
            let message = match is_second {
                true => {
                    format!("`{host}` has one certificate less: there is no usable Secret `{name}`")
                }
                false => {
                    format!("`{host}` is not served over HTTPS: there is no usable Secret `{name}`")
                }
            };
            return Some((&CERTIFICATE_MISSING, message));
        };
        let is_named = host == "*" || certificate.names(host);
        if !self.gathered.certificates.insert(host, certificate) {
            let message = format!(
                "`{host}` has a certificate with a key of the same kind already; that of Secret `{name}` is not served"
            );
            return Some((&TLS_HOST_UNUSED, message));
        }
        let message = || format!("the certificate of Secret `{name}` does not name `{host}`");
        (!is_named).then(|| (&CERTIFICATE_NAME, message()))
    }
}

fn unnamed(host: &str) -> String {
    format!("`{host}` names no Secret, and ConfigMap higress-https has none for it")
}
