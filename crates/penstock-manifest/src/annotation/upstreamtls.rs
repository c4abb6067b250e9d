//! How destinations are spoken to (Higress: annotations/upstreamtls.go).

use super::reference::SecretRef;
use super::table::Key;
use super::view::{Annotations, parse_switch};
use crate::diagnostic::TLS_SETTING_UNUSED;

const PROTOCOL: Key = Key::of("backend-protocol");
const NAME: Key = Key::of("proxy-ssl-name");
const SECRET: Key = Key::of("proxy-ssl-secret");
const SERVER_NAME: Key = Key::of("proxy-ssl-server-name");
const VERIFY: Key = Key::of("proxy-ssl-verify");

/// The protocol of the destinations; only there where `backend-protocol` says
/// another one than `HTTP`, without which Higress ignores all `proxy-ssl-`
/// keys. What they say is only there for a protocol with TLS. In Higress it belongs to the destination: the first Ingress that
/// names a service decides for all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamTls {
    /// The protocol. Higress: `backend-protocol`.
    pub protocol: UpstreamProtocol,
    /// The Secret with the certificate that is shown to the upstream
    /// (`tls.crt`, `tls.key`), and the authority of the upstream's (`ca.crt`).
    /// Default none. Higress: `proxy-ssl-secret`.
    pub client_secret: Option<SecretRef>,
    /// Whether the upstream's certificate is verified, where it is written;
    /// `None` leaves it to the process. Higress verifies where the Secret has
    /// a `ca.crt` and nowhere else, whatever this says.
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

const WITHOUT_TLS: &str = "without `backend-protocol: HTTPS` or `GRPCS`";

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
    let Some(protocol) = protocol.flatten() else {
        report_unused(annotations, &[SECRET, VERIFY, NAME, SERVER_NAME], WITHOUT_TLS);
        return None;
    };
    if matches!(protocol, UpstreamProtocol::Http2 | UpstreamProtocol::Grpc) {
        report_unused(annotations, &[SECRET, VERIFY, NAME, SERVER_NAME], WITHOUT_TLS);
        return Some(Box::new(UpstreamTls {
            protocol,
            client_secret: None,
            verify: None,
            sni: None,
        }));
    }
    let namespace = annotations.namespace;
    let client_secret = annotations
        .read(SECRET, "`[NAMESPACE/]NAME` of a Secret", |text| SecretRef::parse(text, namespace));
    // Whom the gateway speaks to, and as whom, is not left to chance.
    if client_secret.is_none() && annotations.has(SECRET) {
        annotations.close(SECRET, "`proxy-ssl-secret` cannot be read");
    }
    let verify = annotations.read(VERIFY, "`on` or `off`", parse_switch);
    let name = annotations.read(NAME, "a host", |text| {
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        (!text.is_empty() && text.bytes().all(is_host)).then(|| text.into())
    });
    let has_name = annotations.read(SERVER_NAME, "`on` or `off`", parse_switch);
    if name.is_some() && has_name != Some(true) {
        report_unused(annotations, &[NAME], "without `proxy-ssl-server-name: on`");
    }
    let sni = name.filter(|_| has_name == Some(true));
    Some(Box::new(UpstreamTls { protocol, client_secret, verify, sni }))
}

/// Says which keys have no effect, which Higress does not say.
fn report_unused(annotations: &mut Annotations<'_, '_>, keys: &[Key], reason: &str) {
    let written = keys.iter().flat_map(|key| annotations.forms(*key)).flatten();
    for written in written.collect::<Vec<_>>() {
        let message = format!("`{}` has no effect {reason}", written.name);
        let diagnostic = annotations.cursor(&written).diagnostic(&TLS_SETTING_UNUSED, message);
        annotations.diagnostics.push(diagnostic);
    }
}
