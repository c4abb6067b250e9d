//! A domain that clients call (console: `/v1/domains`).

use super::{Place, name};
use crate::diagnostic::{DOMAIN_TOO_LONG, Diagnostic, MISSING_FIELD, Severity};
use crate::kind::config_map::DOMAIN_PREFIX;
use crate::kind::mcp_bridge::is_domain_name;
use crate::schema::{Fields, Object, Shape, optional, required};

/// Stands for "no host".
pub const DEFAULT_DOMAIN: &str = "higress-default-domain";
/// The longest domain that fits a label key as `domain_NAME`.
const LABEL_BYTES_MAX: usize = 56;

/// The fields of a domain.
pub const OBJECT: Object = Object {
    name: "Domain",
    doc: "A domain that clients call.",
    fields: &[
        required(
            "name",
            Shape::Text,
            "The domain, such as `ai.example.com` or `*.example.com`; `higress-default-domain` stands for no host.",
        ),
        optional(
            "enableHttps",
            Shape::OneOf(&["off", "on", "force"]),
            "Whether it speaks HTTPS; `force` redirects HTTP to it. Default `off`. Quote it in YAML.",
        ),
        optional("certIdentifier", Shape::Text, "The name of the TLS Secret."),
        optional("version", Shape::Text, "Ignored; the console's answers have it."),
    ],
};

pub(super) const NAME: name::NameRule = name::NameRule {
    is_valid: |name| {
        let rest = name.strip_prefix("*.").unwrap_or(name);
        name == DEFAULT_DOMAIN
            || (is_domain_name(rest)
                && rest.bytes().all(|byte| !byte.is_ascii_uppercase())
                && rest
                    .split('.')
                    .next_back()
                    .is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_lowercase())))
    },
    allowed: "a domain in lower case with at least one dot, such as `ai.example.com` or `*.example.com`",
};

/// How a domain speaks HTTPS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Https {
    /// Not at all.
    #[default]
    Off,
    /// Beside HTTP.
    On,
    /// Only; HTTP is redirected.
    Force,
}

impl Https {
    /// `off`, `on` or `force`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Force => "force",
        }
    }
}

/// A domain that clients call.
#[derive(Clone, Debug, PartialEq)]
pub struct Domain {
    /// The domain.
    pub name: Box<str>,
    /// `enableHttps`.
    pub https: Https,
    /// The name of the TLS Secret.
    pub cert_identifier: Option<Box<str>>,
    /// Where it stands.
    pub place: Place,
}

impl Domain {
    pub(super) fn read(fields: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Self> {
        let name = name::read(fields, &NAME, diagnostics)?;
        let place = Place::of(&fields.get("name")?);
        check_length(&name, &place, diagnostics);
        let https = match fields.text("enableHttps") {
            Some("on") => Https::On,
            Some("force") => Https::Force,
            _ => Https::Off,
        };
        let cert_identifier = fields.text("certIdentifier").filter(|text| !text.is_empty());
        if https != Https::Off && cert_identifier.is_none() {
            let message = format!("`{name}` speaks HTTPS but has no `certIdentifier`");
            diagnostics.push(fields.cursor.diagnostic(&MISSING_FIELD, message));
        }
        Some(Self { name, https, cert_identifier: cert_identifier.map(Into::into), place })
    }

    /// The name of its ConfigMap.
    pub fn config_map_name(&self) -> String {
        format!("{DOMAIN_PREFIX}{}", normalised(&self.name))
    }
}

/// Whether an entry says how it speaks HTTPS in a word that there is.
pub(super) fn is_https_known(fields: &Fields<'_>) -> bool {
    fields
        .get("enableHttps")
        .is_none_or(|value| matches!(value.node.as_str(), Some("off" | "on" | "force")))
}

/// A label key holds `domain_` and the domain, and has 63 characters at most.
pub(super) fn check_length(name: &str, place: &Place, diagnostics: &mut Vec<Diagnostic>) {
    let normalised = normalised(name);
    if normalised.len() > LABEL_BYTES_MAX {
        let message = format!(
            "the domain has {} characters; no route can carry its label beyond {LABEL_BYTES_MAX}",
            normalised.chars().count()
        );
        diagnostics
            .push(place.diagnostic(&DOMAIN_TOO_LONG, message).with_severity(Severity::Error));
    }
}

/// A domain as it stands in names and label keys: a leading `*` is written
/// `wildcard`.
pub fn normalised(domain: &str) -> String {
    match domain.strip_prefix('*') {
        Some(rest) => format!("wildcard{rest}"),
        None => domain.to_owned(),
    }
}
