//! What is written for one token or key.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use super::Secrets;
use crate::diagnostic::{Diagnostic, EXPORT_INCOMPLETE, Severity};
use crate::node::{Cursor, Node, Value};
use crate::redact::{is_sensitive, redact};
use crate::render::object::text;
use crate::resource::Listing;
use crate::schema::without_positions;
use crate::template;

/// What stands before a key in `Authorization`.
pub(super) const BEARER: &str = "Bearer ";

/// Whose secret it is.
pub(super) enum Owner<'a> {
    Provider(&'a str),
    /// With what stands before each of its keys.
    Consumer(&'a str, &'static str),
    AiRoute(&'a str),
    ServiceSource(&'a str),
}

impl Owner<'_> {
    fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Provider(name) => ("PROVIDER", name),
            Self::Consumer(name, _) => ("CONSUMER", name),
            Self::AiRoute(name) => ("ROUTE", name),
            Self::ServiceSource(name) => ("SERVICE", name),
        }
    }

    fn prefix(&self) -> &'static str {
        match self {
            Self::Consumer(_, prefix) => prefix,
            _ => "",
        }
    }
}

/// How secrets are written, and the variables that were named.
pub(super) struct Texts<'a> {
    pub(super) mode: Secrets,
    secrets: template::Secrets<'a>,
    taken: HashSet<String>,
    pub(super) variables: Vec<String>,
}

impl<'a> Texts<'a> {
    pub(super) fn new(listing: &'a Listing, mode: Secrets) -> Self {
        let secrets = template::Secrets::of(&listing.resources);
        Self { mode, secrets, taken: HashSet::new(), variables: Vec::new() }
    }

    /// A secret text as the mode wants it, without what its owner puts before
    /// it.
    pub(super) fn secret(
        &mut self,
        owner: &Owner<'_>,
        field: &str,
        cursor: &Cursor<'_>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Node {
        let (value, missing) = self.resolved(cursor);
        let value = value.strip_prefix(owner.prefix()).unwrap_or(&value);
        match (self.mode, missing) {
            // The reference itself says nothing, and means the same wherever
            // the Secret is.
            (Secrets::Inline, Some(missing)) => {
                diagnostics.push(missing);
                text(value)
            }
            (Secrets::Redact, Some(_)) | (Secrets::Inline, None) => text(value),
            (Secrets::Redact, None) => text(redact(value)),
            (Secrets::Ref, _) => {
                let variable = self.variable(owner, field);
                if value.contains(|c: char| c == '"' || c == '\\' || c.is_control()) {
                    let message = format!(
                        "no variable can hold the value for `{variable}`: it has a quote, a backslash or a control character"
                    );
                    diagnostics.push(cursor.diagnostic(&EXPORT_INCOMPLETE, message));
                }
                text(format!("${{env:{variable}}}"))
            }
        }
    }

    /// A secret that is a number becomes text.
    pub(super) fn secret_number(
        &mut self,
        owner: &Owner<'_>,
        field: &str,
        cursor: &Cursor<'_>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Node {
        match self.mode {
            Secrets::Inline => without_positions(cursor.node),
            Secrets::Redact => text(redact(&cursor.node.to_json().to_string())),
            Secrets::Ref => {
                let variable = self.variable(owner, field);
                let message = format!("a number becomes text: the value for `{variable}`");
                diagnostics.push(cursor.diagnostic(&EXPORT_INCOMPLETE, message));
                text(format!("${{env:{variable}}}"))
            }
        }
    }

    /// A text that is no secret, though it may have a reference amid it, or
    /// be a URL with a key.
    pub(super) fn plain(&self, cursor: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Node {
        let value = cursor.node.as_str().unwrap_or_default();
        if self.mode == Secrets::Inline {
            let (value, missing) = self.resolved(cursor);
            diagnostics.extend(missing);
            return text(value);
        }
        if self.mode == Secrets::Ref && has_reference(value) {
            let message = "a reference to a Secret amid a text stays: keep the Secret";
            diagnostics.push(cursor.diagnostic(&EXPORT_INCOMPLETE, message));
        }
        let Some(hidden) = without_keys(value) else { return text(value) };
        if self.mode == Secrets::Ref {
            let message = "a URL with a key in it: the key is left out";
            diagnostics.push(
                cursor
                    .diagnostic(&EXPORT_INCOMPLETE, message)
                    .with_severity(Severity::Error)
                    .with_hint("give the provider the key as a token, or use --secrets inline"),
            );
        }
        text(hidden)
    }

    /// The hash of a text, but a reference as it is.
    pub(super) fn redacted(&self, cursor: &Cursor<'_>) -> Node {
        let (value, missing) = self.resolved(cursor);
        text(if missing.is_some() { value } else { redact(&value) })
    }

    /// Whether a key begins with `Bearer `.
    pub(super) fn is_bearer(&self, cursor: &Cursor<'_>) -> bool {
        self.resolved(cursor).0.starts_with(BEARER)
    }

    /// The text with its references to Secrets replaced; as it is, and a
    /// finding, where one leads nowhere.
    fn resolved(&self, cursor: &Cursor<'_>) -> (String, Option<Diagnostic>) {
        let value = match &cursor.node.value {
            Value::String(value) | Value::Unresolved(value) => &**value,
            _ => "",
        };
        match self.secrets.text(value, cursor) {
            Ok(value) => (value, None),
            Err(missing) => (value.to_owned(), Some(missing.with_severity(Severity::Warning))),
        }
    }

    /// A variable of the owner's that no other secret has.
    fn variable(&mut self, owner: &Owner<'_>, field: &str) -> String {
        let (kind, name) = owner.words();
        let wanted = format!("{kind}_{}_{}", words(name), words(field));
        let mut variable = wanted.clone();
        let mut number = 1;
        while !self.taken.insert(variable.clone()) {
            number += 1;
            variable = format!("{wanted}_{number}");
        }
        self.variables.push(variable.clone());
        variable
    }
}

/// A name as a part of a variable: `lolo.lo` → `LOLO_LO`, `awsSecretKey` →
/// `AWS_SECRET_KEY`. A name without a letter or digit of ASCII becomes a hash.
fn words(name: &str) -> String {
    let mut words = String::with_capacity(name.len());
    let mut was_small = false;
    for c in name.chars() {
        if !c.is_ascii_alphanumeric() {
            if !words.is_empty() && !words.ends_with('_') {
                words.push('_');
            }
            was_small = false;
            continue;
        }
        if was_small && c.is_ascii_uppercase() {
            words.push('_');
        }
        was_small = c.is_ascii_lowercase() || c.is_ascii_digit();
        words.push(c.to_ascii_uppercase());
    }
    let kept = words.trim_end_matches('_').len();
    words.truncate(kept);
    if words.is_empty() {
        let digest = Sha256::digest(name.as_bytes());
        words = digest.iter().take(3).map(|byte| format!("{byte:02X}")).collect();
    }
    words
}

/// Whether a text is a reference to a Secret as a whole.
pub(super) fn is_reference(value: &str) -> bool {
    let inside = value.strip_prefix("${secret.").and_then(|rest| rest.strip_suffix('}'));
    inside.is_some_and(|inside| !inside.contains('}'))
}

/// Whether a text refers to a Secret anywhere.
pub(super) fn has_reference(value: &str) -> bool {
    value.contains("${secret.")
}

/// Whether a header or parameter is one that secrets stand in.
pub(super) fn is_secret_header(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let words = ["auth", "cookie", "session", "signature"];
    lower == "key" || is_sensitive(&lower) || words.iter().any(|word| lower.contains(word))
}

/// A URL with hashes for its password and for parameters that are keys; none
/// where it has neither.
fn without_keys(value: &str) -> Option<String> {
    let (scheme, rest) = value.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let authority = match authority.rsplit_once('@') {
        Some((user, host)) => format!("{}@{host}", redact(user)),
        None => authority.to_owned(),
    };
    let path = match path.split_once('?') {
        Some((path, query)) => {
            let parameters = query.split('&').map(|parameter| match parameter.split_once('=') {
                Some((key, value)) if is_secret_header(key) && !value.is_empty() => {
                    format!("{key}={}", redact(value))
                }
                _ => parameter.to_owned(),
            });
            format!("{path}?{}", parameters.collect::<Vec<_>>().join("&"))
        }
        None => path.to_owned(),
    };
    let hidden = format!("{scheme}://{authority}{path}");
    (hidden != value).then_some(hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_variables() {
        let check = |name: &str, expected: &str| assert_eq!(words(name), expected, "{name}");
        check("lololo", "LOLOLO");
        check("lolo.lo-2", "LOLO_LO_2");
        check("awsSecretKey", "AWS_SECRET_KEY");
        check("x-api-key", "X_API_KEY");
        check("-a-", "A");
        check("ABC", "ABC");
        check("9a", "9A");
        assert_eq!(words("名").len(), 6);
        assert_ne!(words("名"), words("前"));
    }

    #[test]
    fn keys_in_urls_are_found() {
        assert_eq!(without_keys("https://a.test/v1?api-version=1"), None);
        assert_eq!(without_keys("plain"), None);
        for url in ["https://u:p@a.test/v1", "https://a.test/v1?x=1&api_key=p&y=2"] {
            let hidden = without_keys(url).unwrap();
            assert!(hidden.contains("sha256:") && !hidden.contains("=p"), "{hidden}");
        }
    }
}
