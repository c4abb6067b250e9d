//! The certificate that the contestants show, and clients that trust it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::CertifiedKey;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::load::Protocol;
use crate::request::DOMAIN;

/// A certificate for all hosts, signed by itself, with its key.
pub struct Certificate {
    /// The certificate as PEM.
    pub certificate: String,
    /// The key as PEM.
    pub key: String,
    /// Where the certificate was written to.
    pub certificate_path: PathBuf,
    /// Where the key was written to.
    pub key_path: PathBuf,
}

impl Certificate {
    /// Makes one and writes it below a directory.
    pub fn write(directory: &Path) -> anyhow::Result<Self> {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(vec![format!("*.{DOMAIN}")])?;
        let made = Self {
            certificate: cert.pem(),
            key: signing_key.serialize_pem(),
            certificate_path: directory.join("certificate.pem"),
            key_path: directory.join("key.pem"),
        };
        fs::write(&made.certificate_path, &made.certificate)?;
        fs::write(&made.key_path, &made.key)?;
        Ok(made)
    }
}

/// What a client needs that trusts the certificate in a file.
pub fn client(path: &Path, protocol: Protocol) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(path)?)?;
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = match protocol {
        Protocol::Http2 => vec![b"h2".to_vec()],
        Protocol::Http1 | Protocol::Https => vec![b"http/1.1".to_vec()],
    };
    Ok(Arc::new(config))
}
