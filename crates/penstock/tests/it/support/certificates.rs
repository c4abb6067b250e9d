//! A certificate authority of the tests' own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SignatureAlgorithm,
    date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

/// An authority that nobody trusts unless told to.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(parameters, key), pem }
    }

    /// Writes its certificate below a directory.
    pub(crate) fn write_to(&self, directory: &Path) -> PathBuf {
        let path = directory.join("authority.pem");
        std::fs::write(&path, &self.pem).unwrap();
        path
    }

    /// A Secret with a certificate for these names.
    pub(crate) fn secret(&self, name: &str, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        secret(name, &self.certificate(&key, names, 2100), &key.serialize_pem())
    }

    /// The same with a key of a certain kind.
    pub(crate) fn secret_of_kind(
        &self,
        name: &str,
        names: &[&str],
        kind: &'static SignatureAlgorithm,
    ) -> (String, String) {
        let key = KeyPair::generate_for(kind).unwrap();
        secret(name, &self.certificate(&key, names, 2100), &key.serialize_pem())
    }

    /// A certificate in PEM that is valid until the beginning of a year.
    pub(crate) fn certificate(&self, key: &KeyPair, names: &[&str], year: i32) -> String {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(names.clone()).unwrap();
        // One like the authority's would look signed by itself.
        parameters.distinguished_name.push(DnType::CommonName, &*names[0]);
        parameters.not_before = date_time_ymd(2020, 1, 1);
        parameters.not_after = date_time_ymd(year, 1, 1);
        parameters.signed_by(key, &self.issuer).unwrap().pem()
    }

    /// The TLS side of a client that trusts this authority.
    pub(crate) fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    /// The TLS side of a server with these names.
    pub(crate) fn server(&self, names: &[&str]) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let parameters = CertificateParams::new(names).unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            );
        Arc::new(config.unwrap())
    }
}

/// A Secret of type `kubernetes.io/tls`.
pub(crate) fn secret(name: &str, certificate: &str, key: &str) -> (String, String) {
    let text = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": "higress-system"},
        "stringData": {"tls.crt": certificate, "tls.key": key},
    });
    (format!("secrets/{name}.yaml"), format!("{text:#}"))
}
