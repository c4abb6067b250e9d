//! Whose certificates others have to show: `ca.crt` of a Secret, and what has
//! been revoked since (`ca.crl`).

use std::fmt;
use std::sync::Arc;

use penstock_manifest::Resource;
use penstock_manifest::kind::secret::{self, SecretError};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use super::{Place, Validity, text};

/// The key of a Secret with certificates that others are checked against, and
/// its name in Istio's Secrets of any type.
pub(crate) const AUTHORITY_KEYS: [&str; 2] = ["ca.crt", "cacert"];
/// The key with what was revoked (Istio: pkg/kube/credentials, `ca.crl`).
const REVOKED_KEY: &str = "ca.crl";

/// What certificates of peers are checked against. Two are equal where they
/// accept the same ones.
pub struct Authority {
    /// The Secret, for findings.
    pub secret: Place,
    certificates: Vec<CertificateDer<'static>>,
    revoked: Vec<CertificateRevocationListDer<'static>>,
    /// From when until when each certificate is valid.
    validity: Vec<Option<Validity>>,
}

impl PartialEq for Authority {
    fn eq(&self, other: &Self) -> bool {
        self.certificates == other.certificates && self.revoked == other.revoked
    }
}

impl Eq for Authority {}

impl std::hash::Hash for Authority {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.certificates.iter().for_each(|certificate| certificate.as_ref().hash(state));
        self.revoked.iter().for_each(|list| list.as_ref().hash(state));
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", self.secret.name)
    }
}

impl Authority {
    /// Reads a Secret.
    ///
    /// # Errors
    /// What is wrong with it, without a value.
    pub fn read(secret: &Resource) -> Result<Self, String> {
        let key = key_of(secret).unwrap_or(AUTHORITY_KEYS[0]);
        let pem = text(secret, key)?;
        let certificates = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| format!("{key} is not PEM"))?;
        if certificates.is_empty() {
            return Err(format!("{key} has no certificate"));
        }
        let revoked = match secret::value(secret, REVOKED_KEY) {
            Err(SecretError::NoKey) => Vec::new(),
            _ => {
                let pem = text(secret, REVOKED_KEY)?;
                CertificateRevocationListDer::pem_slice_iter(pem.as_bytes())
                    .collect::<Result<Vec<_>, _>>()
                    .ok()
                    .filter(|lists| !lists.is_empty())
                    .ok_or_else(|| format!("{REVOKED_KEY} has no revocation list in PEM"))?
            }
        };
        let validity = certificates.iter().map(|der| Validity::of(der)).collect();
        let authority = Self { secret: Place::of(secret), certificates, revoked, validity };
        // Both are built from the same, so that one that works is enough.
        authority.servers().map_err(|error| format!("{key}: {error}"))?;
        Ok(authority)
    }

    /// Whether it issued a certificate, as far as names tell.
    pub(crate) fn is_issuer(&self, issuer: &[u8]) -> bool {
        let subject = |der: &CertificateDer<'_>| {
            super::names::of(der).is_some_and(|names| names.subject == issuer)
        };
        self.certificates.iter().any(subject)
    }

    /// The time from which until which all of its certificates are valid.
    pub(crate) fn validity(&self) -> Option<Validity> {
        let known = self.validity.iter().flatten();
        known.copied().reduce(|a, b| Validity {
            not_before: a.not_before.max(b.not_before),
            not_after: a.not_after.min(b.not_after),
        })
    }

    /// What checks the certificates of upstreams.
    ///
    /// # Errors
    /// Its certificates or lists cannot be used.
    pub fn servers(&self) -> Result<Arc<dyn ServerCertVerifier>, String> {
        let roots = Arc::new(self.roots(None)?);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider())
            .with_crls(self.revoked.iter().cloned())
            .enforce_revocation_expiration()
            .build()
            .map_err(|error| error.to_string())?;
        Ok(verifier)
    }

    /// What checks the certificates of clients.
    ///
    /// # Errors
    /// Its certificates or lists cannot be used.
    pub fn clients(self: &Arc<Self>) -> Result<Arc<dyn ClientCertVerifier>, String> {
        let usual = self.clients_at(None)?;
        Ok(Arc::new(Clients { authority: self.clone(), usual }))
    }

    fn clients_at(&self, now: Option<u64>) -> Result<Arc<dyn ClientCertVerifier>, String> {
        WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots(now)?), provider())
            .with_crls(self.revoked.iter().cloned())
            .enforce_revocation_expiration()
            .build()
            .map_err(|error| error.to_string())
    }

    /// The certificates; of a time, in seconds since 1970, those that are
    /// valid then.
    fn roots(&self, now: Option<u64>) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        for (certificate, validity) in self.certificates.iter().zip(&self.validity) {
            if now.is_some_and(|now| !validity.is_none_or(|validity| validity.contains(now))) {
                continue;
            }
            roots
                .add(certificate.clone())
                .map_err(|_| "a certificate is no X.509 certificate that can be used".to_owned())?;
        }
        Ok(roots)
    }

    /// Whether a client's certificate, with what came behind it, is good at
    /// this time.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check_client(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
        let (first, behind) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        let verifier = self.clients_at(Some(now.as_secs())).map_err(Error::General)?;
        verifier.verify_client_cert(first, behind, now).map(drop)
    }
}

/// The key under which a Secret has an authority.
pub(crate) fn key_of(secret: &Resource) -> Option<&'static str> {
    let has = |key: &&str| !matches!(secret::value(secret, key), Err(SecretError::NoKey));
    AUTHORITY_KEYS.into_iter().find(has)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Checks clients as the library does, and the dates of the authority as
/// well, which the library does not.
#[derive(Debug)]
struct Clients {
    authority: Arc<Authority>,
    usual: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.usual.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let seconds = now.as_secs();
        let mut dates = self.authority.validity.iter().flatten();
        if dates.all(|validity| validity.contains(seconds)) {
            return self.usual.verify_client_cert(end_entity, intermediates, now);
        }
        let current = self.authority.clients_at(Some(seconds)).map_err(Error::General)?;
        current.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// What a client has shown of itself in a handshake that asked for it.
pub struct ClientProof {
    /// What it was checked against.
    pub authority: Arc<Authority>,
    /// The name that the handshake was made for, in lower case.
    pub server_name: Option<Box<str>>,
    /// Its certificate, and what came behind it.
    pub chain: Vec<CertificateDer<'static>>,
}

/// What the routes of a host ask of a client's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCheck {
    /// Whose certificate it needs.
    pub authority: Arc<Authority>,
    /// Whether the handshake may have been made without a name: the host is
    /// the pattern `*`, which such handshakes are for.
    pub takes_nameless: bool,
}

impl ClientCheck {
    /// Whether a connection may be used for a host. One that was made while
    /// the authority was another one is looked at anew, so that it ends with
    /// the trust in its certificate and not before.
    pub fn admits(&self, proof: Option<&ClientProof>, host: &str) -> bool {
        let Some(proof) = proof else { return false };
        let is_for_host = match &proof.server_name {
            Some(name) => **name == *host,
            None => self.takes_nameless,
        };
        let is_same =
            || Arc::ptr_eq(&self.authority, &proof.authority) || self.authority == proof.authority;
        let is_good = || self.authority.check_client(&proof.chain, UnixTime::now()).is_ok();
        is_for_host && (is_same() || is_good())
    }
}
