//! A consumer (console: `/v1/consumers`).

use super::secret::{self, SecretText, SecretValue, Use};
use super::{Place, name};
use crate::diagnostic::{Diagnostic, INVALID_VALUE, MISSING_FIELD};
use crate::node::Cursor;
use crate::schema::{Fields, Object, Shape, optional, required};

/// The fields of a consumer.
pub const OBJECT: Object = Object {
    name: "Consumer",
    doc: "Somebody who may call, and the keys that prove it.",
    fields: &[
        required("name", Shape::Text, "The name; AI routes refer to it."),
        required(
            "credentials",
            Shape::List(&Shape::Object(&CREDENTIAL)),
            "One credential; several keys go into its `values`.",
        ),
        optional("version", Shape::Text, "Ignored; the console's answers may have it."),
    ],
};

/// The fields of a credential.
pub const CREDENTIAL: Object = Object {
    name: "Credential",
    doc: "Where a key stands in a request, and the keys.",
    fields: &[
        required("type", Shape::OneOf(&["key-auth"]), "How requests are authenticated."),
        required(
            "source",
            Shape::OneOf(&["BEARER", "HEADER", "QUERY"]),
            "`BEARER` is `Authorization: Bearer KEY`; the others take `key`.",
        ),
        optional("key", Shape::Text, "The header or parameter that holds the key."),
        required(
            "values",
            Shape::List(&Shape::Secret),
            "The keys, without `Bearer `; `${env:NAME}` and `${file:PATH}` are looked up when applying.",
        ),
    ],
};

const NAME: name::NameRule = name::NameRule {
    is_valid: |name| {
        !name.trim().is_empty()
            && name.trim() == name
            && name.chars().count() <= 63
            && !name.chars().any(char::is_control)
    },
    allowed: "1 to 63 characters without blanks at the ends",
};

/// Where a consumer's key stands in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// `Authorization: Bearer KEY`.
    Bearer,
    /// A header of this name.
    Header(Box<str>),
    /// A query parameter of this name.
    Query(Box<str>),
}

impl KeySource {
    /// What stands before a key in a credential.
    pub(crate) fn prefix(&self) -> &'static str {
        if *self == Self::Bearer { "Bearer " } else { "" }
    }
}

/// A consumer.
#[derive(Clone, Debug, PartialEq)]
pub struct Consumer {
    /// The name.
    pub name: Box<str>,
    /// Where its key stands in a request.
    pub source: KeySource,
    /// Its keys, without `Bearer `.
    pub values: Vec<SecretValue>,
    /// Where it stands.
    pub place: Place,
}

impl Consumer {
    pub(super) fn read(fields: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Self> {
        let name = name::read(fields, &NAME, diagnostics)?;
        let credentials = fields.objects("credentials", &CREDENTIAL)?;
        let Some(credential) = credentials.first() else {
            let message = format!("consumer `{name}` has no credential");
            diagnostics.push(fields.cursor.diagnostic(&MISSING_FIELD, message));
            return None;
        };
        if let Some(second) = credentials.get(1) {
            let message = "a consumer has one credential; the console ignores any other";
            diagnostics.push(
                second
                    .cursor
                    .diagnostic(&INVALID_VALUE, message)
                    .with_hint("put further keys into `values` of the first"),
            );
        }
        let source = read_source(credential, diagnostics)?;
        let mut values = Vec::new();
        for value in credential.get("values").iter().flat_map(Cursor::items) {
            values.extend(read_key(&value, &source, diagnostics));
        }
        if values.is_empty() && credential.get("values").is_none_or(|list| is_empty(&list)) {
            let message = format!("consumer `{name}` has no key");
            diagnostics.push(credential.cursor.diagnostic(&MISSING_FIELD, message));
        }
        Some(Self { place: Place::of(&fields.get("name")?), name, source, values })
    }

    /// What stands before a key in a credential.
    pub(crate) fn prefix(&self) -> &'static str {
        self.source.prefix()
    }

    /// The name of the Secret that holds what is looked up for it.
    pub(crate) fn secret_name(&self) -> String {
        secret::secret_name("consumer", &self.name)
    }

    /// Its keys with those in its Secret.
    pub(crate) fn secret_uses(&self) -> Vec<Use> {
        let uses = self.values.iter().enumerate().map(|(index, value)| Use {
            key: format!("key-{index}"),
            text: value.text.clone(),
            prefix: self.prefix(),
            place: value.place.clone(),
        });
        uses.collect()
    }
}

/// Why a name cannot be a consumer's, in one clause.
pub(crate) fn fault_of_name(name: &str) -> Option<String> {
    (!(NAME.is_valid)(name)).then(|| format!("cannot be used as a name: {}", NAME.allowed))
}

/// Whether a header or parameter of this name can hold a key.
pub(crate) fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_empty(list: &Cursor<'_>) -> bool {
    list.items().next().is_none()
}

fn read_key(
    value: &Cursor<'_>,
    source: &KeySource,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<SecretValue> {
    let key = SecretText::read(value, diagnostics)?;
    if let SecretText::Plain(text) = &key.text
        && let Some(fault) = secret::fault_of_key(text, source.prefix())
    {
        let message = format!("`{}` {fault}", value.path);
        diagnostics.push(value.diagnostic(&INVALID_VALUE, message));
        return None;
    }
    Some(key)
}

fn read_source(credential: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<KeySource> {
    let source = credential.text("source")?;
    match source {
        "BEARER" => return Some(KeySource::Bearer),
        "HEADER" | "QUERY" => {}
        _ => return None,
    }
    let key = credential.text("key").unwrap_or_default();
    if !is_key(key) {
        let at = credential.get("key").unwrap_or_else(|| credential.cursor.clone());
        let message = format!(
            "a credential from {source} needs a `key`: the name of the header or parameter"
        );
        diagnostics.push(at.diagnostic(&MISSING_FIELD, message));
        return None;
    }
    Some(match source {
        "HEADER" => KeySource::Header(key.into()),
        _ => KeySource::Query(key.into()),
    })
}
