//! How handshakes with the clients of a host go, where its annotations ask
//! for more than a certificate of the host: versions, cipher suites, and a
//! certificate of the client.
//!
//! The library has TLS 1.2 and 1.3, and of 1.2 the suites with forward secrecy
//! and authenticated encryption only. What else is asked for is a remark and
//! not an error: what is left is stricter.

use std::sync::Arc;

use penstock_manifest::annotation::{DownstreamTls, TlsVersion};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};

use super::{Authority, Offer};

/// What a client that offers both gets first.
pub const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// The names that Higress knows (Istio: pkg/config/security, `ValidCipherSuites`),
/// and the suites that there are.
const SUITES: [(&str, Option<SupportedCipherSuite>); 15] = {
    use rustls::crypto::aws_lc_rs::cipher_suite as suite;
    [
        ("ECDHE-ECDSA-AES128-GCM-SHA256", Some(suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)),
        ("ECDHE-RSA-AES128-GCM-SHA256", Some(suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)),
        ("ECDHE-ECDSA-AES256-GCM-SHA384", Some(suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384)),
        ("ECDHE-RSA-AES256-GCM-SHA384", Some(suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384)),
        (
            "ECDHE-ECDSA-CHACHA20-POLY1305",
            Some(suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
        ),
        ("ECDHE-RSA-CHACHA20-POLY1305", Some(suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256)),
        ("ECDHE-ECDSA-AES128-SHA", None),
        ("ECDHE-RSA-AES128-SHA", None),
        ("ECDHE-ECDSA-AES256-SHA", None),
        ("ECDHE-RSA-AES256-SHA", None),
        ("AES128-GCM-SHA256", None),
        ("AES256-GCM-SHA384", None),
        ("AES128-SHA", None),
        ("AES256-SHA", None),
        ("DES-CBC3-SHA", None),
    ]
};

/// What a host asks of handshakes.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// Whether 1.2 may be spoken, and 1.3.
    versions: (bool, bool),
    /// The suites of 1.2 in the order of preference; `None` for all.
    suites: Option<Vec<SupportedCipherSuite>>,
    /// Whose certificate clients have to show; `None` where they need none.
    pub authority: Option<Arc<Authority>>,
}

/// Which annotation a remark is about, and what it says.
pub type Remark = (&'static str, String);

impl Rules {
    /// What annotations ask for, as far as there is such a thing, and what is
    /// in force in place of the rest.
    pub fn of(tls: &DownstreamTls) -> (Self, Vec<Remark>) {
        let mut remarks = Vec::new();
        let min = tls.min_version.unwrap_or(TlsVersion::V1_2);
        let max = tls.max_version.unwrap_or(TlsVersion::V1_3);
        if min < TlsVersion::V1_2 && max >= TlsVersion::V1_2 {
            let message = "TLS 1.0 and 1.1 are not available: 1.2 is the oldest version";
            remarks.push(("tls-min-protocol-version", message.to_owned()));
        }
        let versions = (
            min <= TlsVersion::V1_2 && max >= TlsVersion::V1_2,
            min <= TlsVersion::V1_3 && max >= TlsVersion::V1_3,
        );
        let suites = suites(tls, versions, &mut remarks);
        (Self { versions, suites, authority: None }, remarks)
    }

    /// Whether it asks for nothing but a client's certificate.
    pub fn is_default(&self) -> bool {
        self.versions == (true, true) && self.suites.is_none()
    }
}

/// The suites that are written and are there; `None` where nothing that is
/// written is the name of a suite, which in Higress leaves the default ones.
fn suites(
    tls: &DownstreamTls,
    versions: (bool, bool),
    remarks: &mut Vec<Remark>,
) -> Option<Vec<SupportedCipherSuite>> {
    if tls.ciphers.is_empty() {
        return None;
    }
    let (mut known, mut missing, mut unknown) = (Vec::new(), Vec::new(), 0);
    for name in &tls.ciphers {
        match SUITES.iter().find(|(known, _)| *known == &**name) {
            Some((_, Some(suite))) if known.contains(suite) => {}
            Some((_, Some(suite))) => known.push(*suite),
            Some((name, None)) => missing.push(*name),
            None => unknown += 1,
        }
    }
    let mut said = Vec::new();
    if !missing.is_empty() {
        said.push(format!("`{}` not available", missing.join("`, `")));
    }
    if unknown > 0 {
        said.push(format!("{unknown} not known, those of TLS 1.3 are not chosen by name"));
    }
    let is_default = known.is_empty() && missing.is_empty();
    if !said.is_empty() {
        let names = || SUITES.iter().filter(|(_, s)| s.is_some_and(|s| known.contains(&s)));
        let with = match (is_default, known.is_empty()) {
            (true, _) => "TLS 1.2 with all suites that there are".to_owned(),
            (_, true) => "no TLS 1.2".to_owned(),
            (_, false) => {
                let names: Vec<_> = names().map(|(name, _)| *name).collect();
                format!("TLS 1.2 with `{}`", names.join("`, `"))
            }
        };
        let force = match versions {
            (true, true) => format!("in force: {with}; TLS 1.3"),
            (true, false) => format!("in force: {with}"),
            (false, _) => "no version is allowed to which it applies".to_owned(),
        };
        remarks.push(("ssl-cipher", format!("of the cipher suites, {}; {force}", said.join(", "))));
    }
    (!is_default).then_some(known)
}

/// How handshakes with a host go.
pub struct Handshake {
    /// What was asked for.
    pub rules: Rules,
    /// How they are made, without resumption; `None` where none can be.
    pub config: Option<Arc<ServerConfig>>,
}

impl Handshake {
    /// Handshakes that are all refused: what they are for must not end here.
    pub fn refused() -> Self {
        let rules = Rules { versions: (false, false), suites: None, authority: None };
        Self { rules, config: None }
    }

    /// Joins what is asked for with what can be offered. The text says what
    /// nobody can ask for with these certificates.
    pub(super) fn new(rules: Rules, offer: &Offer) -> (Self, Option<String>) {
        let defaults = aws_lc_rs::default_provider();
        let is_1_3 = |suite: &SupportedCipherSuite| suite.tls13().is_some();
        let of_1_2: Vec<SupportedCipherSuite> = match &rules.suites {
            Some(chosen) => chosen.clone(),
            None => defaults.cipher_suites.iter().filter(|s| !is_1_3(s)).copied().collect(),
        };
        let fits = |suite: &SupportedCipherSuite| {
            let mut kinds = offer.0.iter().map(|certificate| certificate.key.key.algorithm());
            kinds.any(|kind| suite.usable_for_signature_algorithm(kind))
        };
        let mut versions: Vec<&'static SupportedProtocolVersion> = Vec::new();
        let is_unfit = rules.versions.0 && !of_1_2.iter().any(fits);
        if rules.versions.1 {
            versions.push(&TLS13);
        }
        if rules.versions.0 && !is_unfit {
            versions.push(&TLS12);
        }
        let problem = match (versions.is_empty(), is_unfit && !of_1_2.is_empty()) {
            (true, true) => Some("no cipher suite is for the kind of its key".to_owned()),
            (true, false) => Some("no version and cipher suite are left".to_owned()),
            (false, true) => {
                Some("no cipher suite is for the kind of its key; in force: TLS 1.3".to_owned())
            }
            (false, false) => None,
        };
        let of_1_3 = defaults.cipher_suites.iter().filter(|suite| is_1_3(suite)).copied();
        let cipher_suites = of_1_3.chain(of_1_2).collect();
        let provider = Arc::new(CryptoProvider { cipher_suites, ..defaults });
        let config = (!versions.is_empty())
            .then(|| config(&rules, provider, &versions, offer))
            .flatten()
            .map(Arc::new);
        (Self { rules, config }, problem)
    }
}

fn config(
    rules: &Rules,
    provider: Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
    offer: &Offer,
) -> Option<ServerConfig> {
    let clients = match &rules.authority {
        Some(authority) => authority.clients().ok()?,
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .ok()?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(offer.clone()));
    config.alpn_protocols = alpn_protocols();
    config.ignore_client_order = rules.suites.is_some();
    // A session that is taken up again is not checked again: a client whose
    // certificate has expired, or is not trusted any more, must not get in by
    // one. Where clients show none, the listener turns resumption on.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Some(config)
}

/// What is offered to clients.
pub fn alpn_protocols() -> Vec<Vec<u8>> {
    vec![HTTP2.to_vec(), HTTP1.to_vec()]
}
