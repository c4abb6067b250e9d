//! Certificates of the https listener: what a Secret holds, and which of them
//! a client is shown.
//!
//! Part of the snapshot, so that a change of configuration replaces them for
//! new connections and leaves the others alone. Does no I/O and reads no
//! clock.
//!
//! Invariant: nothing here prints what is in a Secret.

mod authority;
mod handshake;
mod names;
mod validity;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use memchr::memmem;
use penstock_manifest::diagnostic::{CERTIFICATE_EXPIRED, Code};
use penstock_manifest::kind::secret::{self, SecretError};
use penstock_manifest::time::format_utc;
use penstock_manifest::{Diagnostic, Position, Resource};
use rustls::SignatureAlgorithm;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

pub(crate) use authority::key_of;
pub use authority::{Authority, ClientCheck, ClientProof};
pub use handshake::{HTTP2, Handshake, Remark, Rules, alpn_protocols};
pub use validity::Validity;

/// The keys of a Secret of type `kubernetes.io/tls`.
const CERTIFICATE_KEY: &str = "tls.crt";
const PRIVATE_KEY: &str = "tls.key";

/// The identifier of the place where the issuer of a certificate publishes its
/// own, encoded (RFC 5280, 4.2.2.1, `id-ad-caIssuers`). Roots are not
/// published so, but those that stand between.
const ISSUER_PUBLISHED: &[u8] = b"\x06\x08\x2b\x06\x01\x05\x05\x07\x30\x02";

/// A Secret, for findings.
#[derive(Clone, Debug)]
pub struct Place {
    /// What it is called.
    pub name: String,
    source: penstock_manifest::Source,
    at: Position,
}

impl Place {
    pub(crate) fn of(secret: &Resource) -> Self {
        let (source, at) = (secret.source.clone(), secret.name_at());
        Self { name: secret.key.to_string(), source, at }
    }

    pub(crate) fn finding(&self, code: &'static Code, message: String) -> Diagnostic {
        Diagnostic::at(code, &self.source, self.at, message)
    }
}

/// A certificate with its chain and its key.
pub struct Certificate {
    /// What handshakes use.
    pub key: Arc<CertifiedKey>,
    /// From when until when it is valid; `None` where that cannot be read.
    pub validity: Option<Validity>,
    /// The Secret, for findings.
    secret: Place,
}

/// What may be wrong with a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// The certificate of this place, from 1, has not signed the one before.
    Broken(usize),
    /// The issuer is one that clients are not expected to have.
    Missing,
    /// There is none, and nothing tells whether there has to be.
    Absent,
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
        Ok(Self { key: Arc::new(key), validity, secret: Place::of(secret) })
    }

    /// What is wrong with the chain, as far as names tell; `authority` is that
    /// of the same Secret.
    pub fn chain(&self, authority: Option<&Authority>) -> Option<Chain> {
        let all: Option<Vec<_>> = self.key.cert.iter().map(|der| names::of(der)).collect();
        let all = all?;
        let is_broken = |pair: &[names::Names<'_>]| match pair {
            [below, above] => below.issuer != above.subject,
            _ => false,
        };
        if let Some(index) = all.windows(2).position(is_broken) {
            return Some(Chain::Broken(index + 2));
        }
        let ([only], Some(der)) = (all.as_slice(), self.key.cert.first()) else { return None };
        if only.issuer == only.subject || authority.is_some_and(|a| a.is_issuer(only.issuer)) {
            return None;
        }
        match memmem::find(der, ISSUER_PUBLISHED) {
            Some(_) => Some(Chain::Missing),
            None => Some(Chain::Absent),
        }
    }

    /// The Secret that it comes from.
    pub fn secret_name(&self) -> &str {
        &self.secret.name
    }

    /// The kind of its key.
    pub fn kind(&self) -> SignatureAlgorithm {
        self.key.key.algorithm()
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

pub(crate) fn text(secret: &Resource, key: &str) -> Result<String, String> {
    secret::value(secret, key).map_err(|error| match error {
        SecretError::NoKey => format!("it has no {key}"),
        SecretError::NotBase64 => format!("{key} is not base64"),
        SecretError::NotText => format!("{key} is not text"),
    })
}

/// The certificates of a host, of which each client gets one that it can
/// check.
#[derive(Clone, Default)]
pub struct Offer(Arc<[Arc<Certificate>]>);

impl Offer {
    /// The first that the client can check; the first of all where it can
    /// check none, so that the handshake says so.
    pub fn choose(&self, hello: &ClientHello<'_>) -> Option<&Arc<Certificate>> {
        let schemes = hello.signature_schemes();
        let is_fit = |found: &&Arc<Certificate>| found.key.key.choose_scheme(schemes).is_some();
        self.0.iter().find(is_fit).or_else(|| self.0.first())
    }

    /// Adds one; false where there is one with a key of the same kind. Those
    /// of RSA come last, as in Envoy: they cost most.
    fn add(&mut self, certificate: Arc<Certificate>) -> bool {
        if self.0.iter().any(|known| known.kind() == certificate.kind()) {
            return false;
        }
        let mut all = self.0.to_vec();
        all.push(certificate);
        all.sort_by_key(|certificate| certificate.kind() == SignatureAlgorithm::RSA);
        self.0 = all.into();
        true
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Offer")
    }
}

impl ResolvesServerCert for Offer {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(&hello).map(|certificate| certificate.key.clone())
    }
}

/// A host that is served over HTTPS.
#[derive(Default)]
pub struct Site {
    /// Its certificates.
    pub offer: Offer,
    /// How handshakes go, where that is not as for all others.
    pub handshake: Option<Box<Handshake>>,
}

impl Site {
    fn rules(&self) -> Option<&Rules> {
        self.handshake.as_ref().map(|handshake| &handshake.rules)
    }

    /// Whether a connection for the one is as good for the other.
    fn stands_for(&self, other: &Self) -> bool {
        let is_same = |(a, b): (&Arc<Certificate>, &Arc<Certificate>)| Arc::ptr_eq(a, b);
        self.offer.0.len() == other.offer.0.len()
            && self.offer.0.iter().zip(&*other.offer.0).all(is_same)
            && self.rules() == other.rules()
    }
}

/// The certificates by host.
#[derive(Default)]
pub struct Certificates {
    /// `a.example.com`
    exact: HashMap<Box<str>, Site>,
    /// `example.com` for the pattern `*.example.com`.
    wildcard: HashMap<Box<str>, Site>,
    /// The pattern `*`: for every other name, and for clients that send none.
    any: Option<Site>,
    /// What is not of hosts: what upstreams are shown, and what they and
    /// clients are checked against.
    others: (Vec<Arc<Certificate>>, Vec<Arc<Authority>>),
}

impl Certificates {
    /// Takes a certificate for a host or a pattern in lower case, beside one
    /// with a key of another kind; false where there is one of the same kind.
    pub fn insert(&mut self, host: &str, certificate: Arc<Certificate>) -> bool {
        let site = match host.strip_prefix("*.") {
            Some(parent) => self.wildcard.entry(parent.into()).or_default(),
            None if host == "*" => self.any.get_or_insert_default(),
            None => self.exact.entry(host.into()).or_default(),
        };
        site.offer.add(certificate)
    }

    /// Makes handshakes with a host or a pattern go by rules; the text says
    /// what they cannot be. `None` where the host has no certificate.
    pub fn restrict(&mut self, host: &str, rules: Rules) -> Option<Option<String>> {
        let authority = rules.authority.clone();
        let site = self.site_mut(host)?;
        let (handshake, problem) = Handshake::new(rules, &site.offer);
        site.handshake = Some(Box::new(handshake));
        self.others.1.extend(authority);
        Some(problem)
    }

    /// Remembers what connections to upstreams are made with, whose dates
    /// count as well.
    pub fn watch(&mut self, shown: Option<Arc<Certificate>>, authority: Option<Arc<Authority>>) {
        self.others.0.extend(shown);
        self.others.1.extend(authority);
    }

    /// Refuses the handshakes with a host or a pattern; false where it has no
    /// certificate anyway.
    pub fn refuse(&mut self, host: &str) -> bool {
        let site = self.site_mut(host);
        site.map(|site| site.handshake = Some(Box::new(Handshake::refused()))).is_some()
    }

    /// Whether all handshakes with a host or a pattern are refused.
    pub fn is_refused(&mut self, host: &str) -> bool {
        let handshake = self.site_mut(host).and_then(|site| site.handshake.as_ref());
        handshake.is_some_and(|handshake| handshake.config.is_none())
    }

    fn site_mut(&mut self, host: &str) -> Option<&mut Site> {
        match host.strip_prefix("*.") {
            Some(parent) => self.wildcard.get_mut(parent),
            None if host == "*" => self.any.as_mut(),
            None => self.exact.get_mut(host),
        }
    }

    /// The host for the name in a handshake, in lower case.
    pub fn find(&self, name: Option<&str>) -> Option<&Site> {
        name.and_then(|name| self.find_named(name)).or(self.any.as_ref())
    }

    /// As Envoy chooses: the name itself, else the longest pattern.
    fn find_named(&self, name: &str) -> Option<&Site> {
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

    /// Whether a connection that was made for `name`, or for none, may ask for
    /// `host`: one certificate serves both (RFC 9110, 4.3.3), or no host has
    /// claimed the name for itself. Else a client that took two hosts for one,
    /// or that hides one behind the other, would be served. A host that asks
    /// more of handshakes is only for connections that were made so.
    pub fn serves(&self, name: Option<&str>, host: &str) -> bool {
        if name == Some(host) {
            return true;
        }
        let own = name.and_then(|name| self.find_named(name));
        match (own, self.find(Some(host))) {
            (Some(own), Some(other)) => own.stands_for(other),
            (Some(_), None) => false,
            (None, other) => match other.and_then(Site::rules) {
                None => name.is_none() || self.any.is_some(),
                asked => asked == self.any.as_ref().and_then(Site::rules),
            },
        }
    }

    /// The hosts and patterns with their certificates.
    pub fn iter(&self) -> impl Iterator<Item = (String, &Arc<Certificate>)> {
        let exact = self.exact.iter().map(|(host, site)| (host.to_string(), site));
        let wildcard = self.wildcard.iter().map(|(host, site)| (format!("*.{host}"), site));
        let all = exact.chain(wildcard).chain(self.any.iter().map(|site| ("*".to_owned(), site)));
        all.flat_map(|(host, site)| site.offer.0.iter().map(move |found| (host.clone(), found)))
    }

    /// What peers are checked against, by Secret.
    pub fn authorities(&self) -> impl Iterator<Item = (&str, &Authority)> {
        let all: BTreeMap<&str, &Authority> =
            self.others.1.iter().map(|found| (&*found.secret.name, &**found)).collect();
        all.into_iter()
    }

    /// The findings about certificates that are not valid at a time, and about
    /// lists of what was revoked that are overdue, in seconds since 1970.
    pub fn expired(&self, now: u64) -> Vec<Diagnostic> {
        let shown = self.iter().map(|(_, found)| found).chain(&self.others.0);
        let shown = shown.map(|found| (&found.secret, found.validity));
        let asked = self.authorities().map(|(_, found)| (&found.secret, found.validity()));
        let of_hosts = by_secret(shown);
        let of_authorities = by_secret(asked);
        let finding = |what: &str, (place, validity): &(&Place, Option<Validity>)| {
            let validity = (*validity)?;
            let when = match () {
                () if now > validity.not_after => {
                    format!("expired on {}", format_utc(validity.not_after))
                }
                () if now < validity.not_before => {
                    format!("is not valid before {}", format_utc(validity.not_before))
                }
                () => return None,
            };
            let message = format!("{what} of {} {when}", place.name);
            Some(place.finding(&CERTIFICATE_EXPIRED, message))
        };
        let of_hosts = of_hosts.values().filter_map(|found| finding("the certificate", found));
        let of_authorities =
            of_authorities.values().filter_map(|found| finding("the authority", found));
        let overdue = self.authorities().filter_map(|(name, found)| {
            let until = found.lists_until().filter(|until| *until <= now)?;
            let message = format!(
                "the revocation list of {name} expired on {}, so nobody is believed",
                format_utc(until)
            );
            Some(found.secret.finding(&CERTIFICATE_EXPIRED, message))
        });
        of_hosts.chain(of_authorities).chain(overdue).collect()
    }
}

type Found<'a> = (&'a Place, Option<Validity>);

fn by_secret<'a>(all: impl Iterator<Item = Found<'a>>) -> BTreeMap<&'a str, Found<'a>> {
    all.map(|(place, validity)| (&*place.name, (place, validity))).collect()
}
