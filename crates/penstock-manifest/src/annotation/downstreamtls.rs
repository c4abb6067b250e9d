//! TLS towards clients (Higress: annotations/downstreamtls.go).

use super::reference::SecretRef;
use super::table::Key;
use super::view::Annotations;

const CA_SECRET: Key = Key::of("auth-tls-secret");
const CIPHERS: Key = Key::of("ssl-cipher");
const MAX_VERSION: Key = Key::of("tls-max-protocol-version");
const MIN_VERSION: Key = Key::of("tls-min-protocol-version");

/// TLS towards clients. It belongs to the hosts of the Ingress as a whole;
/// the first Ingress of a host with any of the four keys decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DownstreamTls {
    /// The Secret whose `ca.crt` clients must have a certificate of. Default
    /// none, and clients need no certificate. In Higress it must be the Secret
    /// of the host's certificate, or that one's name with `-cacert`.
    /// Higress: `auth-tls-secret`.
    pub ca_secret: Option<SecretRef>,
    /// The oldest version. Default the gateway's.
    /// Higress: `tls-min-protocol-version`.
    pub min_version: Option<TlsVersion>,
    /// The newest version, not older than the oldest. Default the gateway's.
    /// Higress: `tls-max-protocol-version`.
    pub max_version: Option<TlsVersion>,
    /// Cipher suites by their OpenSSL names, in the order written; Higress
    /// leaves out those it does not know, and takes its own if none is left.
    /// Default empty. Higress: `ssl-cipher`.
    pub ciphers: Vec<Box<str>>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// `TLSv1.0`
    V1_0,
    /// `TLSv1.1`
    V1_1,
    /// `TLSv1.2`
    V1_2,
    /// `TLSv1.3`
    V1_3,
}

pub(super) fn parse(annotations: &mut Annotations<'_, '_>) -> Option<Box<DownstreamTls>> {
    let namespace = annotations.namespace;
    let ca_secret = annotations.read(CA_SECRET, "`[NAMESPACE/]NAME` of a Secret", |text| {
        SecretRef::parse(text, namespace)
    });
    // Higress: downstreamtls.go — a name that cannot be read leaves the host
    // without the check; what was to be protected is closed here.
    if ca_secret.is_none() && annotations.has(CA_SECRET) {
        annotations.close(CA_SECRET, "`auth-tls-secret` cannot be read");
    }
    let expected = "`TLSv1.0`, `TLSv1.1`, `TLSv1.2` or `TLSv1.3`";
    let mut tls = DownstreamTls {
        ca_secret,
        min_version: annotations.read(MIN_VERSION, expected, parse_version),
        max_version: annotations.read(MAX_VERSION, expected, parse_version),
        ciphers: ciphers(annotations),
    };
    if let (Some(min), Some(max)) = (tls.min_version, tls.max_version)
        && min > max
    {
        for written in annotations.forms(MAX_VERSION).into_iter().flatten().take(1) {
            annotations.complain(&written, "the newest version is older than the oldest one");
        }
        // The stricter of the two stays.
        tls.max_version = None;
    }
    (tls != DownstreamTls::default()).then(|| Box::new(tls))
}

fn parse_version(text: &str) -> Option<TlsVersion> {
    match text {
        "TLSv1.0" => Some(TlsVersion::V1_0),
        "TLSv1.1" => Some(TlsVersion::V1_1),
        "TLSv1.2" => Some(TlsVersion::V1_2),
        "TLSv1.3" => Some(TlsVersion::V1_3),
        _ => None,
    }
}

fn ciphers(annotations: &mut Annotations<'_, '_>) -> Vec<Box<str>> {
    let Some((written, text)) = annotations.text(CIPHERS) else {
        return Vec::new();
    };
    let names = text.split(':').map(str::trim).filter(|name| !name.is_empty());
    annotations.keep(&written, names, "the OpenSSL name of a cipher suite", |name| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        name.bytes().all(is_allowed).then(|| name.into())
    })
}
