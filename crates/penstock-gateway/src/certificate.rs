//! Certificates of the https listener: what a Secret holds, and which of them
//! a client is shown.
//!
//! Part of the snapshot, so that a change of configuration replaces them for
//! new connections and leaves the others alone. Does no I/O and reads no
//! clock.
//!
//! Invariant: nothing here prints what is in a Secret.

mod validity;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use penstock_manifest::diagnostic::CERTIFICATE_EXPIRED;
use penstock_manifest::kind::secret::{self, SecretError};
use penstock_manifest::time::format_utc;
use penstock_manifest::{Diagnostic, Position, Resource};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

pub use validity::Validity;

/// The keys of a Secret of type `kubernetes.io/tls`.
const CERTIFICATE_KEY: &str = "tls.crt";
const PRIVATE_KEY: &str = "tls.key";

/// A certificate with its chain and its key.
pub struct Certificate {
    /// What handshakes use.
    pub key: Arc<CertifiedKey>,
    /// From when until when it is valid; `None` where that cannot be read.
    pub validity: Option<Validity>,
    /// The Secret, for findings.
    secret: String,
    source: penstock_manifest::Source,
    at: Position,
}

impl Certificate {
    /// Reads a Secret.
    ///
    /// # Errors
    /// What is wrong with it, without a value.
    pub fn read(secret: &Resource) -> Result<Self, String> {
        let certificates = text(secret, CERTIFICATE_KEY)?;
        let certificates = CertificateDer::pem_slice_iter(certificates.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| format!("{CERTIFICATE_KEY} is not PEM"))?;
        let first =
            certificates.first().ok_or_else(|| format!("{CERTIFICATE_KEY} has no certificate"))?;
        let validity = Validity::of(first);
        let key = text(secret, PRIVATE_KEY)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|_| format!("{PRIVATE_KEY} has no private key in PEM"))?;
        let key = any_supported_type(&key)
            .map_err(|_| format!("{PRIVATE_KEY} is no RSA, ECDSA or Ed25519 key"))?;
        let key = CertifiedKey::new(certificates, key);
        match key.keys_match() {
            // A key that does not tell its public part cannot be compared.
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) => {
                return Err(format!("{PRIVATE_KEY} is not the key of {CERTIFICATE_KEY}"));
            }
            Err(_) => return Err(format!("{CERTIFICATE_KEY} is no X.509 certificate")),
        }
        Ok(Self {
            key: Arc::new(key),
            validity,
            secret: secret.key.to_string(),
            source: secret.source.clone(),
            at: secret.name_at(),
        })
    }

    /// Whether it names a host, or all hosts of a pattern.
    pub fn names(&self, host: &str) -> bool {
        // A label that no certificate names by itself stands for the pattern.
        let host = host.replacen('*', "any", 1);
        let Ok(name) = ServerName::try_from(host) else {
            return false;
        };
        let parsed = self.key.end_entity_cert().and_then(ParsedCertificate::try_from);
        parsed.is_ok_and(|parsed| rustls::client::verify_server_name(&parsed, &name).is_ok())
    }
}

fn text(secret: &Resource, key: &str) -> Result<String, String> {
    secret::value(secret, key).map_err(|error| match error {
        SecretError::NoKey => format!("it has no {key}"),
        SecretError::NotBase64 => format!("{key} is not base64"),
        SecretError::NotText => format!("{key} is not text"),
    })
}

/// The certificates by host.
#[derive(Default)]
pub struct Certificates {
    /// `a.example.com`
    exact: HashMap<Box<str>, Arc<Certificate>>,
    /// `example.com` for the pattern `*.example.com`.
    wildcard: HashMap<Box<str>, Arc<Certificate>>,
    /// The pattern `*`: for every other name, and for clients that send none.
    any: Option<Arc<Certificate>>,
}

impl Certificates {
    /// Takes a certificate for a host or a pattern in lower case.
    pub fn insert(&mut self, host: &str, certificate: Arc<Certificate>) {
        match host.strip_prefix("*.") {
            Some(parent) => self.wildcard.insert(parent.into(), certificate),
            None if host == "*" => self.any.replace(certificate),
            None => self.exact.insert(host.into(), certificate),
        };
    }

    /// The certificate for the name in a handshake, in lower case.
    pub fn find(&self, name: Option<&str>) -> Option<&Arc<Certificate>> {
        name.and_then(|name| self.find_named(name)).or(self.any.as_ref())
    }

    /// As Envoy chooses: the name itself, else the longest pattern.
    fn find_named(&self, name: &str) -> Option<&Arc<Certificate>> {
        self.exact.get(name).or_else(|| {
            let mut rest = name;
            while let Some((_, parent)) = rest.split_once('.') {
                if let Some(found) = self.wildcard.get(parent) {
                    return Some(found);
                }
                rest = parent;
            }
            None
        })
    }

    /// Whether a connection that was made for `name` may ask for `host`: one
    /// certificate serves both (RFC 9110, 4.3.3), or no host has claimed the
    /// name for itself. Else a client that took two hosts for one, or that
    /// hides one behind the other, would be served.
    pub fn serves(&self, name: &str, host: &str) -> bool {
        if name == host {
            return true;
        }
        match (self.find_named(name), self.find(Some(host))) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (Some(_), None) => false,
            (None, _) => self.any.is_some(),
        }
    }

    /// The hosts and patterns with their certificates.
    pub fn iter(&self) -> impl Iterator<Item = (String, &Arc<Certificate>)> {
        let exact = self.exact.iter().map(|(host, found)| (host.to_string(), found));
        let wildcard = self.wildcard.iter().map(|(host, found)| (format!("*.{host}"), found));
        exact.chain(wildcard).chain(self.any.iter().map(|found| ("*".to_owned(), found)))
    }

    /// The findings about certificates that are not valid at a time, in
    /// seconds since 1970.
    pub fn expired(&self, now: u64) -> Vec<Diagnostic> {
        let by_secret: BTreeMap<&str, &Arc<Certificate>> =
            self.iter().map(|(_, found)| (&*found.secret, found)).collect();
        let finding = |certificate: &&Arc<Certificate>| {
            let validity = certificate.validity?;
            let what = match () {
                () if now > validity.not_after => {
                    format!("expired on {}", format_utc(validity.not_after))
                }
                () if now < validity.not_before => {
                    format!("is not valid before {}", format_utc(validity.not_before))
                }
                () => return None,
            };
            let message = format!("the certificate of {} {what}", certificate.secret);
            let (source, at) = (&certificate.source, certificate.at);
            Some(Diagnostic::at(&CERTIFICATE_EXPIRED, source, at, message))
        };
        by_secret.values().filter_map(finding).collect()
    }
}
