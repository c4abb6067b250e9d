//! How upstream certificates are checked.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

use crate::snapshot::Service;

/// Whether upstream certificates are checked. Higress does not check them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Against the system's roots, or against `--upstream-ca`.
    Roots,
    /// Not at all.
    TrustAny,
}

/// The TLS side of upstream connections.
pub struct ClientTls {
    /// For services that ask for nothing else.
    usual: Connectors,
    verifier: Arc<dyn ServerCertVerifier>,
    /// What checks against the roots, also where the process does not.
    roots: OnceLock<Result<Arc<dyn ServerCertVerifier>, String>>,
    ca_file: Option<PathBuf>,
}

/// What makes handshakes, by what is spoken behind them. The registry says
/// which protocol that is; nothing is left to choose.
pub(super) struct Connectors {
    http1: TlsConnector,
    http2: TlsConnector,
}

impl Connectors {
    /// Handshakes with upstreams that the verifier accepts, which are shown
    /// what `client` has.
    pub(super) fn new(
        verifier: Arc<dyn ServerCertVerifier>,
        client: Option<Arc<dyn ResolvesClientCert>>,
    ) -> Result<Self, String> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match client {
            Some(client) => builder.with_client_cert_resolver(client),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut http2 = config.clone();
        http2.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { http1: Arc::new(config).into(), http2: Arc::new(http2).into() })
    }

    pub(super) fn get(&self, is_http2: bool) -> &TlsConnector {
        if is_http2 { &self.http2 } else { &self.http1 }
    }
}

impl ClientTls {
    /// Loads the roots: those of `ca_file` where one is named, else the
    /// system's, else a built-in set.
    ///
    /// # Errors
    /// `ca_file` cannot be read or holds no certificate.
    pub fn new(verify: Verify, ca_file: Option<&Path>) -> Result<Self, String> {
        let (verifier, roots) = match verify {
            Verify::Roots => {
                let verifier = against_roots(ca_file)?;
                (verifier.clone(), OnceLock::from(Ok(verifier)))
            }
            Verify::TrustAny => (Self::any(), OnceLock::new()),
        };
        let usual = Connectors::new(verifier.clone(), None)?;
        Ok(Self { usual, verifier, roots, ca_file: ca_file.map(Path::to_owned) })
    }

    /// What makes handshakes with a service.
    ///
    /// # Errors
    /// There can be none with this one.
    pub fn connector<'a>(&'a self, service: &'a Service) -> Result<&'a TlsConnector, String> {
        let is_http2 = service.protocol.is_http2();
        match &service.identity {
            None => Ok(self.usual.get(is_http2)),
            Some(identity) => identity.connector(self, is_http2),
        }
    }

    /// What checks the upstreams of services that ask for nothing else.
    pub(super) fn verifier(&self) -> Arc<dyn ServerCertVerifier> {
        self.verifier.clone()
    }

    /// What checks against the roots. They are loaded when somebody asks.
    pub(super) fn roots(&self) -> Result<Arc<dyn ServerCertVerifier>, String> {
        self.roots.get_or_init(|| against_roots(self.ca_file.as_deref())).clone()
    }

    /// What accepts everybody.
    pub(super) fn any() -> Arc<dyn ServerCertVerifier> {
        Arc::new(TrustAny(provider()))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn against_roots(ca_file: Option<&Path>) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(ca_file)?.into(), provider())
        .build()
        .map_err(|error| error.to_string())?;
    Ok(verifier)
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted_certificates(ca_file)?);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Ok(roots)
}

/// The certificates that a TLS client trusts: those of `ca_file` where one is
/// named, else the system's. Where the system has none there are none, and a
/// built-in set has to do.
///
/// # Errors
/// `ca_file` cannot be read or holds no certificate.
pub fn trusted_certificates(
    ca_file: Option<&Path>,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let Some(path) = ca_file else {
        // Single certificates of the system that cannot be read are left out,
        // as every TLS client does.
        return Ok(rustls_native_certs::load_native_certs().certs);
    };
    let shown = path.display();
    let unreadable = |error| format!("cannot read `{shown}`: {error}");
    let mut roots = RootCertStore::empty();
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        let certificate = certificate.map_err(unreadable)?;
        roots.add(certificate.clone()).map_err(|error| format!("`{shown}`: {error}"))?;
        certificates.push(certificate);
    }
    match certificates.is_empty() {
        true => Err(format!("`{shown}` holds no certificate")),
        false => Ok(certificates),
    }
}

/// Accepts every certificate, but still checks that the peer holds its key.
#[derive(Debug)]
struct TrustAny(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
