//! How a secret is shown: never itself, always a hash.

use sha2::{Digest, Sha256};

use crate::node::{Entry, Map, Node, Position, Value, join};
use crate::plan::hex;
use crate::read::{FilePath, read_file};
use crate::render::gson;
use crate::yaml;

/// Shows a secret as `sha256:` and the first twelve hex digits of its hash, so
/// that two places can be compared without either being revealed.
pub fn redact(secret: &str) -> String {
    let mut shown = sha256_hex(secret);
    shown.truncate(12);
    format!("sha256:{shown}")
}

/// The whole SHA-256 in lower-case hex, which is how configuration speaks of a
/// credential, or of a file, without holding it.
pub fn sha256_hex(bytes: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(bytes))
}

/// A resource as it may be seen.
pub fn resource(kind: &str, root: &Node) -> Node {
    below(kind, "", false, root)
}

/// Whether a resource holds what [`resource`] hides.
pub fn holds_secret(kind: &str, root: &Node) -> bool {
    resource(kind, root) != *root
}

/// Whether a file of manifests does.
pub fn text_holds_secret(text: &str) -> bool {
    // Most do not, and need not be read to know it.
    const WORDS: [&str; 4] = ["Secret", "WasmPlugin", "eader-control", "eaderControl"];
    if !WORDS.iter().any(|word| text.contains(word)) {
        return false;
    }
    let content = read_file(&FilePath::standalone(""), text);
    !content.broken.is_empty()
        || content.resources.iter().any(|one| holds_secret(&one.key.kind, &one.root))
}

/// A value of a resource as it may be seen; `path` is its own.
pub(crate) fn below(kind: &str, path: &str, is_secret: bool, node: &Node) -> Node {
    let value = match &node.value {
        Value::String(text) if is_secret && !is_reference(text) => {
            Value::String(redact(text).into())
        }
        Value::String(text) => Value::String(record(kind, path, text).into()),
        Value::Int(number) if is_secret => Value::String(redact(&number.to_string()).into()),
        Value::Float(number) if is_secret => Value::String(redact(&number.to_string()).into()),
        Value::List(list) => {
            Value::List(list.iter().map(|item| below(kind, path, is_secret, item)).collect())
        }
        Value::Map(map) => {
            let entry = |entry: &Entry| {
                let is_secret = is_secret || is_secret_key(kind, path, &entry.key);
                let node = below(kind, &join(path, &entry.key), is_secret, &entry.node);
                Entry { key: entry.key.clone(), key_at: entry.key_at, node }
            };
            Value::Map(Map { entries: map.entries.iter().map(entry).collect() })
        }
        value => value.clone(),
    };
    Node { value, at: node.at }
}

/// The record of an AI route is JSON inside a text.
fn record(kind: &str, path: &str, text: &str) -> String {
    if kind != "ConfigMap" || path != "data.data" {
        return text.to_owned();
    }
    match yaml::parse_value(text, Position::default()) {
        Ok(node) if node.as_map().is_some() => match below(kind, path, false, &node) {
            shown if shown == node => text.to_owned(),
            shown => gson::write(&shown),
        },
        _ => text.to_owned(),
    }
}

/// `${secret.NAME.KEY}`, possibly behind `Bearer `, tells nothing.
pub(crate) fn is_reference(text: &str) -> bool {
    let text = text.strip_prefix("Bearer ").unwrap_or(text);
    text.strip_prefix("${secret.")
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(|inside| !inside.contains(['}', ' ']))
}

/// Whether what stands under a key is secret. Rather too much than too
/// little: names of Secrets, headers and settings are the only exceptions.
/// `path` is that of the mapping.
pub(crate) fn is_secret_key(kind: &str, path: &str, key: &str) -> bool {
    let lower = key.to_ascii_lowercase();
    // kubectl puts a copy of the whole object there.
    if lower.ends_with("last-applied-configuration") {
        return true;
    }
    match kind {
        "Secret" => matches!(path, "data" | "stringData"),
        "ConfigMap" => {
            let is_record = path.starts_with("data.data.");
            let is_header = is_record && path.contains("eaderControl") && key == "value";
            is_header || (!is_record && path != "data" && is_sensitive(&lower))
        }
        "Ingress" => {
            lower.ends_with("-header-control-add") || lower.ends_with("-header-control-update")
        }
        _ => is_sensitive(&lower),
    }
}

/// Whether a key is one that secrets stand under.
pub(crate) fn is_sensitive(lower: &str) -> bool {
    const PARTS: &[&str] = &["token", "secret", "passw", "credential", "apikey", "api_key"];
    const NOT: &[&str] = &["key", "keys", "modelkey"];
    if lower.ends_with("name") || NOT.contains(&lower) {
        return false;
    }
    PARTS.iter().any(|part| lower.contains(part)) || lower.ends_with("key")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: &str, text: &str, expected: &str) {
        let node = yaml::parse_value(text, Position::default()).unwrap();
        let shown = resource(kind, &node).to_json().to_string();
        assert_eq!(shown.replace(&redact("s"), "#"), expected, "{kind} {text}");
    }

    #[test]
    fn resources_are_shown_without_their_secrets() {
        check("Secret", "{data: {a: s}, type: t}", r##"{"data":{"a":"#"},"type":"t"}"##);
        check(
            "WasmPlugin",
            "{apiTokens: [s, '${secret.a.b}'], keys: [k], credentials: [s], deep: {password: s}}",
            r##"{"apiTokens":["#","${secret.a.b}"],"keys":["k"],"credentials":["#"],"deep":{"password":"#"}}"##,
        );
        check(
            "ConfigMap",
            r#"{data: {data: '{"headerControl":{"request":{"add":[{"key":"a","value":"s"}]}}}'}}"#,
            r##"{"data":{"data":"{\"headerControl\":{\"request\":{\"add\":[{\"key\":\"a\",\"value\":\"#\"}]}}}"}}"##,
        );
        check(
            "ConfigMap",
            "{metadata: {annotations: {kubectl.kubernetes.io/last-applied-configuration: s}}}",
            r##"{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"#"}}}"##,
        );
        check(
            "Ingress",
            "{a: {higress.io/request-header-control-update: s}}",
            r##"{"a":{"higress.io/request-header-control-update":"#"}}"##,
        );
    }
}
