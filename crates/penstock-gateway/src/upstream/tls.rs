//! How upstream certificates are checked.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

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
    http1: TlsConnector,
    http2: TlsConnector,
}

impl ClientTls {
    /// Loads the roots: those of `ca_file` where one is named, else the
    /// system's, else a built-in set.
    ///
    /// # Errors
    /// `ca_file` cannot be read or holds no certificate.
    pub fn new(verify: Verify, ca_file: Option<&Path>) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let mut config = match verify {
            Verify::Roots => builder.with_root_certificates(roots(ca_file)?).with_no_client_auth(),
            Verify::TrustAny => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(TrustAny(provider)))
                .with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut http2 = config.clone();
        http2.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { http1: Arc::new(config).into(), http2: Arc::new(http2).into() })
    }

    /// What makes handshakes. The registry says which protocol is spoken;
    /// nothing is left to choose.
    pub fn connector(&self, is_http2: bool) -> &TlsConnector {
        if is_http2 { &self.http2 } else { &self.http1 }
    }
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
