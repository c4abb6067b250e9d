//! Whose certificates others have to show: `ca.crt` of a Secret, and what has
//! been revoked since (`ca.crl`).

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

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
    /// The same of what was revoked.
    lists: Vec<Option<Validity>>,
    /// What checks clients against those that were valid when somebody needed
    /// it last.
    current: Mutex<Option<Current>>,
}

/// What checks clients at a time.
struct Current {
    /// Which of the certificates are valid.
    are_valid: Vec<bool>,
    verifier: Result<Arc<dyn ClientCertVerifier>, String>,
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
        let lists = revoked.iter().map(|der| Validity::of_list(der)).collect();
        let (secret, current) = (Place::of(secret), Mutex::default());
        let authority = Self { secret, certificates, revoked, validity, lists, current };
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

    /// The second from which one of its lists of what was revoked is overdue,
    /// since 1970: nobody is believed from then on. `None` where it has none.
    pub(crate) fn lists_until(&self) -> Option<u64> {
        self.lists.iter().flatten().map(|list| list.not_after.saturating_add(1)).min()
    }

    /// The second from which it does not believe all that it does before,
    /// since 1970: one of its certificates has expired, or a list is overdue.
    pub fn expiry(&self) -> Option<u64> {
        let certificates = self.validity().map(|validity| validity.not_after);
        certificates.into_iter().chain(self.lists_until()).min()
    }

    /// All dates on which its answers rest.
    fn dates(&self) -> impl Iterator<Item = Validity> + '_ {
        self.validity.iter().chain(&self.lists).flatten().copied()
    }

    /// What checks the certificates of upstreams.
    ///
    /// # Errors
    /// Its certificates or lists cannot be used.
    pub fn servers(&self) -> Result<Arc<dyn ServerCertVerifier>, String> {
        let roots = Arc::new(self.roots(|_| true)?);
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
        let usual = self.clients_of(self.roots(|_| true)?)?;
        Ok(Arc::new(Clients { authority: self.clone(), usual }))
    }

    /// What checks the certificates of clients at a time, in seconds since
    /// 1970. It is built when other certificates have become valid.
    fn clients_at(&self, now: u64) -> Result<Arc<dyn ClientCertVerifier>, String> {
        let is_valid = |validity: &Option<Validity>| validity.is_none_or(|at| at.contains(now));
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = &*current
            && current.are_valid.iter().copied().eq(self.validity.iter().map(is_valid))
        {
            return current.verifier.clone();
        }
        let are_valid = self.validity.iter().map(is_valid).collect();
        let verifier = self.roots(is_valid).and_then(|roots| self.clients_of(roots));
        *current = Some(Current { are_valid, verifier: verifier.clone() });
        verifier
    }

    fn clients_of(&self, roots: RootCertStore) -> Result<Arc<dyn ClientCertVerifier>, String> {
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .with_crls(self.revoked.iter().cloned())
            .enforce_revocation_expiration()
            .build()
            .map_err(|error| error.to_string())
    }

    /// The certificates that are wanted.
    fn roots(
        &self,
        is_wanted: impl Fn(&Option<Validity>) -> bool,
    ) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        let all = self.certificates.iter().zip(&self.validity);
        for (certificate, _) in all.filter(|(_, validity)| is_wanted(validity)) {
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
        let verifier = self.clients_at(now.as_secs()).map_err(Error::General)?;
        verifier.verify_client_cert(first, behind, now).map(drop)
    }
}

/// The next second, in seconds since 1970, at which one of these dates begins
/// or is over.
fn next_change(all: impl Iterator<Item = Validity>, now: u64) -> u64 {
    let moments = all.flat_map(|one| [one.not_before, one.not_after.saturating_add(1)]);
    moments.filter(|moment| *moment > now).min().unwrap_or(u64::MAX)
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
        let current = self.authority.clients_at(seconds).map_err(Error::General)?;
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
    /// What another authority said of it, where one was asked.
    verdict: Mutex<Option<Verdict>>,
}

/// What an authority says of a client.
struct Verdict {
    /// Who says it.
    of: Weak<Authority>,
    is_good: bool,
    /// The second from which it has to be asked again, since 1970.
    until: u64,
}

impl ClientProof {
    /// What a client has shown to this authority.
    pub fn new(
        authority: Arc<Authority>,
        server_name: Option<Box<str>>,
        chain: Vec<CertificateDer<'static>>,
    ) -> Self {
        Self { authority, server_name, chain, verdict: Mutex::default() }
    }

    /// Whether another authority would have let the client in, at a time. It
    /// is asked once, and again when a date on which its answer rests is over.
    fn is_good_for(&self, authority: &Arc<Authority>, now: UnixTime) -> bool {
        let mut verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(verdict) = &*verdict
            && verdict.of.as_ptr() == Arc::as_ptr(authority)
            && now.as_secs() < verdict.until
        {
            return verdict.is_good;
        }
        // An equal one would have said the same in the handshake.
        let (is_good, until) = match **authority == *self.authority {
            true => (true, u64::MAX),
            false => {
                let own = self.chain.iter().filter_map(|der| Validity::of(der));
                let dates = own.chain(authority.dates());
                let until = next_change(dates, now.as_secs());
                (authority.check_client(&self.chain, now).is_ok(), until)
            }
        };
        *verdict = Some(Verdict { of: Arc::downgrade(authority), is_good, until });
        is_good
    }
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
        let is_same = || Arc::ptr_eq(&self.authority, &proof.authority);
        is_for_host && (is_same() || proof.is_good_for(&self.authority, UnixTime::now()))
    }
}

#[cfg(test)]
mod tests;
