//! A service by its address (console: `/v1/service-sources`, types `static`
//! and `dns`).

use std::net::SocketAddrV4;

use super::{Place, name};
use crate::diagnostic::{Diagnostic, INVALID_VALUE};
use crate::kind::mcp_bridge::is_domain_name;
use crate::node::Cursor;
use crate::schema::{Fields, Object, Shape, optional, required};

/// The fields of a service source.
pub const OBJECT: Object = Object {
    name: "ServiceSource",
    doc: "A service by its address: `NAME.TYPE` is its host.",
    fields: &[
        required("name", Shape::Text, "The name."),
        required("type", Shape::OneOf(&["static", "dns"]), "Fixed addresses, or names to resolve."),
        required(
            "domain",
            Shape::Text,
            "`static`: `IPv4:port`, separated by commas; `dns`: domains, separated by commas.",
        ),
        required("port", Shape::Int(1, 65535), "The port that destinations name; 80 for `static`."),
        optional(
            "protocol",
            Shape::OneOf(&["http", "https", "grpc", "grpcs"]),
            "How it is spoken to. Default `http`.",
        ),
        optional("sni", Shape::Text, "The server name for TLS."),
        optional("proxyName", Shape::Text, "The proxy server that leads to it."),
        optional("version", Shape::Text, "Ignored; the console's answers have it."),
    ],
};

const NAME: name::NameRule = name::NameRule {
    is_valid: |name| name::is_word(name, |byte| byte.is_ascii_alphanumeric(), |byte| byte == b'-'),
    allowed: "1 to 63 letters, digits and `-`, with a letter or digit at both ends",
};

/// A service by its address.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSource {
    /// The name.
    pub name: Box<str>,
    /// `static` or `dns`.
    pub kind: Box<str>,
    /// Addresses or domains, separated by commas.
    pub domain: Box<str>,
    /// The port that destinations name.
    pub port: i64,
    /// `http`, `https`, `grpc` or `grpcs`.
    pub protocol: Option<Box<str>>,
    /// The server name for TLS.
    pub sni: Option<Box<str>>,
    /// The proxy server that leads to it.
    pub proxy_name: Option<Box<str>>,
    /// Where it stands.
    pub place: Place,
}

impl ServiceSource {
    pub(super) fn read(fields: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Self> {
        let name = name::read(fields, &NAME, diagnostics)?;
        let kind = fields.text("type").filter(|kind| matches!(*kind, "static" | "dns"))?;
        let domain = fields.get("domain")?;
        check_domain(kind, &domain, diagnostics);
        Some(Self {
            place: Place::of(&fields.get("name")?),
            name,
            kind: kind.into(),
            domain: domain.node.as_str()?.into(),
            port: fields.int("port")?,
            protocol: fields.text("protocol").filter(|text| !text.is_empty()).map(Into::into),
            sni: fields.text("sni").map(Into::into),
            proxy_name: fields.text("proxyName").map(Into::into),
        })
    }
}

fn check_domain(kind: &str, domain: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for element in domain.node.as_str().unwrap_or_default().split(',') {
        let (is_valid, expected) = match kind {
            "static" => (
                element.parse::<SocketAddrV4>().is_ok_and(|address| address.port() != 0),
                "an address such as `10.0.0.7:8000`",
            ),
            _ => (is_domain_name(element), "a domain such as `api.example.com`"),
        };
        if !is_valid {
            let message = format!("`{element}` is not {expected}");
            let mut found = domain.diagnostic(&INVALID_VALUE, message);
            if element.trim() != element {
                found = found.with_hint("the list is split at commas only: remove the blanks");
            }
            diagnostics.push(found);
        }
    }
}
