//! Texts that may be secret: given plainly, or by the name of an environment
//! variable or a file.
//!
//! A plain text is written where the console writes it. The others never
//! reach a manifest that is not a Secret: the manifest says
//! `${secret.NAME.KEY}`, which Higress replaces when it serves, and
//! [`resolve`] makes the Secrets.
//!
//! Each provider, consumer and AI route has a Secret of its own, so that a missing
//! one breaks only what uses it. Names and keys have no dot, because the dot
//! is what separates them in a reference.

use std::collections::HashMap;
use std::fmt;

use sha2::{Digest, Sha256};

use super::{Intent, Place};
use crate::diagnostic::{CREDENTIAL_SHARED, Diagnostic, INTENT_SECRET, INVALID_VALUE};
use crate::node::{Cursor, Entry, Map, Node, Value};
use crate::redact::redact;
use crate::render::object;
use crate::resource::Resource;

/// A text that may be secret. `Debug` never shows it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum SecretText {
    /// The text itself.
    Plain(Box<str>),
    /// The name of an environment variable that holds it.
    Env(Box<str>),
    /// The path of a file that holds it.
    File(Box<str>),
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) => f.debug_tuple("Plain").field(&redact(text)).finish(),
            Self::Env(name) => f.debug_tuple("Env").field(name).finish(),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl SecretText {
    /// Reads `${env:NAME}`, `${file:PATH}` or anything else as plain text.
    ///
    /// # Errors
    /// A reference that is not whole, or that stands amid other text; the
    /// message does not repeat it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let inside = |prefix: &str| text.strip_prefix(prefix)?.strip_suffix('}');
        if let Some(name) = inside("${env:") {
            let is_name = !name.is_empty()
                && !name.starts_with(|c: char| c.is_ascii_digit())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            return match is_name {
                true => Ok(Self::Env(name.into())),
                false => Err("`${env:NAME}` needs the name of a variable: letters, digits and `_`"),
            };
        }
        if let Some(path) = inside("${file:") {
            return match path.is_empty() || path.contains("${") {
                false => Ok(Self::File(path.into())),
                true => Err("`${file:PATH}` needs the path of a file"),
            };
        }
        if text.contains("${env:") || text.contains("${file:") {
            return Err("`${env:NAME}` and `${file:PATH}` must be the whole value");
        }
        Ok(Self::Plain(text.into()))
    }

    /// Reads the text of a value, with a finding where it cannot be used.
    pub fn read(cursor: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Self> {
        match Self::parse(cursor.node.as_str()?) {
            Ok(Self::Plain(text)) if text.trim().is_empty() => {
                let message = format!("`{}` is empty", cursor.path);
                diagnostics.push(cursor.diagnostic(&INVALID_VALUE, message));
                None
            }
            Ok(secret) => Some(secret),
            Err(message) => {
                diagnostics.push(cursor.diagnostic(&INVALID_VALUE, message));
                None
            }
        }
    }

    /// What a manifest says for it.
    pub fn in_manifest(&self, secret: &str, key: &str) -> String {
        match self {
            Self::Plain(text) => text.to_string(),
            Self::Env(_) | Self::File(_) => format!("${{secret.{secret}.{key}}}"),
        }
    }
}

/// A secret of an intent that has to be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lookup<'a> {
    /// The value of an environment variable.
    Env(&'a str),
    /// The content of a file.
    File(&'a str),
}

impl fmt::Display for Lookup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "environment variable `{name}`"),
            Self::File(path) => write!(f, "file `{path}`"),
        }
    }
}

/// One secret where it is used.
pub(crate) struct Use<'a> {
    /// The key in its owner's Secret.
    pub(crate) key: String,
    pub(crate) text: SecretText,
    /// What stands before it in a credential, such as `Bearer `.
    pub(crate) prefix: &'static str,
    pub(crate) place: &'a Place,
}

/// The name of the Secret of a provider, consumer or route: without a dot, and never
/// the same for two of them.
pub fn secret_name(owner_kind: &str, owner: &str) -> String {
    let plain: String = owner
        .chars()
        .map(|c| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9') => c,
            _ => '-',
        })
        .collect();
    let is_hashed = |name: &str| {
        name.rsplit_once('-')
            .is_some_and(|(_, end)| end.len() == 12 && end.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    let is_exact = plain == owner && !plain.ends_with('-') && !is_hashed(&plain);
    if is_exact {
        return format!("penstock-{owner_kind}-{plain}");
    }
    let digest = Sha256::digest(owner.as_bytes());
    let hash: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("penstock-{owner_kind}-{}-{hash}", plain.trim_matches('-'))
}

/// Replaces the texts of a tree that are `${env:…}` or `${file:…}`; `found`
/// is given each of them in document order and says what stands there instead.
pub(crate) fn replace_in_map(map: &Map, found: &mut dyn FnMut(SecretText) -> String) -> Map {
    let replace = |entry: &Entry, found: &mut dyn FnMut(SecretText) -> String| Entry {
        key: entry.key.clone(),
        key_at: entry.key_at,
        node: replace_in(&entry.node, found),
    };
    Map { entries: map.entries.iter().map(|entry| replace(entry, found)).collect() }
}

fn replace_in(node: &Node, found: &mut dyn FnMut(SecretText) -> String) -> Node {
    let value = match &node.value {
        Value::String(text) => match SecretText::parse(text) {
            Ok(secret @ (SecretText::Env(_) | SecretText::File(_))) => {
                Value::String(found(secret).into())
            }
            _ => Value::String(text.clone()),
        },
        Value::List(list) => Value::List(list.iter().map(|item| replace_in(item, found)).collect()),
        Value::Map(map) => Value::Map(replace_in_map(map, found)),
        value => value.clone(),
    };
    Node { value, at: node.at }
}

/// Reports the references inside a tree that are not whole.
pub(crate) fn check_inside(cursor: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) {
    match &cursor.node.value {
        Value::String(text) => {
            if let Err(message) = SecretText::parse(text) {
                diagnostics.push(cursor.diagnostic(&INVALID_VALUE, message));
            }
        }
        Value::List(_) => cursor.items().for_each(|item| check_inside(&item, diagnostics)),
        Value::Map(_) => {
            cursor.entries().for_each(|(_, value)| check_inside(&value, diagnostics));
        }
        _ => {}
    }
}

/// Looks up every `${env:…}` and `${file:…}` of an intent and makes the
/// Secrets that its manifests refer to. `lookup` gives the value, or says in
/// one clause why there is none (`is not set`), without the value. One line
/// end at the end of a value is not part of it.
///
/// Two consumers whose keys turn out to be the same are reported as well.
pub fn resolve(
    intent: &Intent,
    mut lookup: impl FnMut(Lookup<'_>) -> Result<String, String>,
) -> (Vec<Resource>, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let mut resources = Vec::new();
    let mut seen: HashMap<Lookup<'_>, Result<String, String>> = HashMap::new();
    let mut keys: HashMap<String, &str> = HashMap::new();
    let owners = intent
        .providers
        .iter()
        .map(|provider| (provider.secret_name(), provider.secret_uses(), None))
        .chain(intent.consumers.iter().map(|consumer| {
            (consumer.secret_name(), consumer.secret_uses(), Some(&*consumer.name))
        }))
        .chain(
            intent.ai_routes.iter().map(|route| (route.secret_name(), route.secret_uses(), None)),
        )
        .collect::<Vec<_>>();
    for (secret, uses, consumer) in &owners {
        let mut data = Map::default();
        for one in uses {
            let value = match &one.text {
                SecretText::Plain(text) => text.to_string(),
                SecretText::Env(name) => match find(Lookup::Env(name), &mut seen, &mut lookup) {
                    Ok(value) => value,
                    Err(message) => {
                        diagnostics.push(one.place.diagnostic(&INTENT_SECRET, message));
                        continue;
                    }
                },
                SecretText::File(path) => match find(Lookup::File(path), &mut seen, &mut lookup) {
                    Ok(value) => value,
                    Err(message) => {
                        diagnostics.push(one.place.diagnostic(&INTENT_SECRET, message));
                        continue;
                    }
                },
            };
            if let Some(consumer) = consumer {
                report_shared(
                    format!("{}{value}", one.prefix),
                    consumer,
                    one,
                    &mut keys,
                    &mut diagnostics,
                );
            }
            if !matches!(one.text, SecretText::Plain(_)) {
                data.set(&one.key, Node::synthetic(Value::String(base64(value.as_bytes()).into())));
            }
        }
        if !data.entries.is_empty() {
            resources.push(object::secret(secret, data));
        }
    }
    crate::diagnostic::sort(&mut diagnostics);
    (resources, diagnostics)
}

/// The plugin refuses one credential text in two consumers, whatever header
/// or parameter it stands in.
fn report_shared<'a>(
    credential: String,
    consumer: &'a str,
    one: &Use<'_>,
    keys: &mut HashMap<String, &'a str>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    match keys.insert(credential, consumer) {
        Some(other) if other != consumer => {
            let message = format!("consumers `{other}` and `{consumer}` have the same key");
            diagnostics.push(one.place.diagnostic(&CREDENTIAL_SHARED, message));
        }
        _ => {}
    }
}

fn find<'a>(
    what: Lookup<'a>,
    seen: &mut HashMap<Lookup<'a>, Result<String, String>>,
    lookup: &mut dyn FnMut(Lookup<'_>) -> Result<String, String>,
) -> Result<String, String> {
    seen.entry(what)
        .or_insert_with(|| {
            let value = lookup(what).map_err(|reason| format!("{what} {reason}"))?;
            let value = value.strip_suffix('\n').unwrap_or(&value);
            let value = value.strip_suffix('\r').unwrap_or(value);
            match fault_of(value) {
                Some(fault) => Err(format!("{what} {fault}")),
                None => Ok(value.to_owned()),
            }
        })
        .clone()
}

/// Why a value cannot be that of a Secret, in one clause.
pub(crate) fn fault_of(value: &str) -> Option<&'static str> {
    if value.is_empty() {
        return Some("is empty");
    }
    value.contains(|c: char| c == '"' || c == '\\' || c.is_control()).then_some(
        "has a quote, a backslash or a control character, which cannot be put into JSON as it is",
    )
}

/// Base64 with padding (RFC 4648 section 4), the form of a Secret's `data`.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            let letter = ALPHABET[(group >> (18 - 6 * index) & 63) as usize];
            out.push(if index <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_follows_the_vectors_of_its_rfc() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (text, expected) in cases {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }

    #[test]
    fn secret_names_have_no_dot_and_differ() {
        let names =
            ["lololo", "lo.lolo", "LOLOLO", "lo-lolo", "lo_lolo", "-", "名", "a-0123456789ab"];
        let made: std::collections::HashSet<String> =
            names.iter().map(|name| secret_name("provider", name)).collect();
        assert_eq!(made.len(), names.len());
        assert!(made.iter().all(|name| !name.contains('.') && name.len() < 120));
        assert!(made.contains("penstock-provider-lololo"));
    }

    #[test]
    fn a_secret_is_never_in_debug() {
        let text = format!("{:?}", SecretText::Plain("sk-very-secret".into()));
        assert!(!text.contains("very"), "{text}");
    }
}
