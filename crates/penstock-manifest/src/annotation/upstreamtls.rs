//! How destinations are spoken to (Higress: annotations/upstreamtls.go).

use super::reference::SecretRef;
use super::table::Key;
use super::view::{Annotations, parse_switch};

const PROTOCOL: Key = Key::of("backend-protocol");
const NAME: Key = Key::of("proxy-ssl-name");
const SECRET: Key = Key::of("proxy-ssl-secret");
const SERVER_NAME: Key = Key::of("proxy-ssl-server-name");
const VERIFY: Key = Key::of("proxy-ssl-verify");

/// The protocol of the destinations; only there where `backend-protocol` says
/// another one than `HTTP`, without which Higress ignores all `proxy-ssl-`
/// keys. In Higress it belongs to the destination: the first Ingress that
/// names a service decides for all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamTls {
    /// The protocol. Higress: `backend-protocol`.
    pub protocol: UpstreamProtocol,
    /// The Secret with the certificate that is shown to the upstream
    /// (`tls.crt`, `tls.key`), and the authority of the upstream's (`ca.crt`).
    /// Default none. Higress: `proxy-ssl-secret`.
    pub client_secret: Option<SecretRef>,
    /// Whether the upstream's certificate is verified, where it is written.
    /// Higress never verifies plain TLS, whatever this says.
    /// Higress: `proxy-ssl-verify`.
    pub verify: Option<bool>,
    /// The name that is sent as SNI; only there where `proxy-ssl-server-name`
    /// is `on`. Default none. Higress: `proxy-ssl-name`.
    pub sni: Option<Box<str>>,
}

/// A protocol of upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamProtocol {
    /// HTTP/2 in clear text.
    Http2,
    /// HTTP/1.1 over TLS.
    Https,
    /// gRPC: HTTP/2 in clear text.
    Grpc,
    /// gRPC over TLS: HTTP/2.
    Grpcs,
}

pub(super) fn parse(annotations: &mut Annotations<'_, '_>) -> Option<Box<UpstreamTls>> {
    let expected = "`HTTP`, `HTTP2`, `HTTPS`, `GRPC` or `GRPCS`";
    let protocol =
        annotations.read(PROTOCOL, expected, |text| match text.to_ascii_uppercase().as_str() {
            "HTTP" => Some(None),
            "HTTP2" => Some(Some(UpstreamProtocol::Http2)),
            "HTTPS" => Some(Some(UpstreamProtocol::Https)),
            "GRPC" => Some(Some(UpstreamProtocol::Grpc)),
            "GRPCS" => Some(Some(UpstreamProtocol::Grpcs)),
            _ => None,
        });
    let protocol = protocol??;
    let namespace = annotations.namespace;
    let client_secret = annotations
        .read(SECRET, "`[NAMESPACE/]NAME` of a Secret", |text| SecretRef::parse(text, namespace));
    let verify = annotations.read(VERIFY, "`on` or `off`", parse_switch);
    let name = annotations.read(NAME, "a host", |text| {
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        (!text.is_empty() && text.bytes().all(is_host)).then(|| text.into())
    });
    let has_name = annotations.read(SERVER_NAME, "`on` or `off`", parse_switch);
    let sni = name.filter(|_| has_name == Some(true));
    Some(Box::new(UpstreamTls { protocol, client_secret, verify, sni }))
}
