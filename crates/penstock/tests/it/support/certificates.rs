//! A certificate authority of the tests' own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DnType,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SignatureAlgorithm,
    date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

/// An authority that nobody trusts unless told to.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::until(2100)
    }

    /// One that is valid until the beginning of a year.
    pub(crate) fn until(year: i32) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        parameters.not_before = date_time_ymd(2020, 1, 1);
        parameters.not_after = date_time_ymd(year, 1, 1);
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

    /// A certificate and its key that are valid until the beginning of a year.
    pub(crate) fn identity(&self, name: &str, year: i32) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = self.certificate(&key, &[name], year);
        Identity { certificate, key: key.serialize_pem() }
    }

    /// An authority that this one vouches for.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, name);
        let pem = parameters.signed_by(&key, &self.issuer).unwrap().pem();
        Self { issuer: Issuer::new(parameters, key), pem }
    }

    /// A certificate that says where that of its issuer can be found.
    pub(crate) fn published(&self, key: &KeyPair, name: &str) -> String {
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, name);
        // SEQUENCE { SEQUENCE { id-ad-caIssuers, [6] URL } } (RFC 5280, 4.2.2.1)
        let mut content = b"\x30\x1b\x30\x19\x06\x08\x2b\x06\x01\x05\x05\x07\x30\x02".to_vec();
        content.extend(b"\x86\x0dhttp://ca.net");
        let place = CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], content);
        parameters.custom_extensions.push(place);
        parameters.signed_by(key, &self.issuer).unwrap().pem()
    }

    /// The same with a number, by which it can be revoked.
    pub(crate) fn numbered(&self, name: &str, serial: u64) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.serial_number = Some(serial.into());
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { certificate, key: key.serialize_pem() }
    }

    /// A list in PEM of numbers that are revoked.
    pub(crate) fn revocations(&self, serials: &[u64]) -> String {
        self.revocations_until(serials, 2100)
    }

    /// The same until the beginning of a year.
    pub(crate) fn revocations_until(&self, serials: &[u64], year: i32) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let parameters = CertificateRevocationListParams {
            this_update: date_time_ymd(2021, 1, 1),
            next_update: date_time_ymd(year, 1, 1),
            crl_number: 1_u64.into(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        parameters.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    /// A Secret with this authority alone.
    pub(crate) fn authority_secret(&self, name: &str) -> (String, String) {
        secret_of(name, &[("ca.crt", &self.pem)])
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        Arc::new(roots)
    }

    /// The TLS side of a client that trusts this authority and shows a
    /// certificate.
    pub(crate) fn client_as(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        identity: &Identity,
    ) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots())
            .with_client_auth_cert(identity.chain(), identity.key())
            .unwrap()
    }

    /// The TLS side of a server with these names that wants a certificate of
    /// an authority.
    pub(crate) fn server_asking(&self, names: &[&str], clients: &Self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(clients.roots(), provider.clone());
        let key = KeyPair::generate().unwrap();
        let certificate = self.certificate(&key, names, 2100);
        let identity = Identity { certificate, key: key.serialize_pem() };
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(identity.chain(), identity.key());
        Arc::new(config.unwrap())
    }

    /// The TLS side of a client that trusts this authority.
    pub(crate) fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
    ) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots())
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

/// A certificate with its key, both PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Identity {
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(self.certificate.as_bytes()).map(Result::unwrap).collect()
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}

/// A Secret of any type with these keys.
pub(crate) fn secret_of(name: &str, values: &[(&str, &str)]) -> (String, String) {
    let values: serde_json::Map<_, _> =
        values.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
    let text = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "higress-system"},
        "stringData": values,
    });
    (format!("secrets/{name}.yaml"), format!("{text:#}"))
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
