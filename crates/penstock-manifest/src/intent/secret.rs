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
use crate::diagnostic::{CREDENTIAL_SHARED, Diagnostic, INTENT_SECRET};
use crate::node::{Cursor, Entry, Map, Node, Value, join};
use crate::render::object;
use crate::resource::Resource;

mod text;

pub(crate) use text::fault_in_header;
pub use text::{Mistake, SecretText, SecretValue};

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
pub(crate) struct Use {
    /// The key in its owner's Secret.
    pub(crate) key: String,
    pub(crate) text: SecretText,
    /// What stands before it in a credential, such as `Bearer `.
    pub(crate) prefix: &'static str,
    pub(crate) place: Place,
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

/// Is given a text that is looked up and where it stands, and says what
/// stands there instead.
pub(crate) type Replace<'f> = dyn FnMut(SecretText, Place) -> String + 'f;

/// Replaces the texts of a tree that are `${env:…}` or `${file:…}`, in document
/// order. The tree stands at `place`.
pub(crate) fn replace_in_map(map: &Map, place: &Place, found: &mut Replace<'_>) -> Map {
    let entry = |entry: &Entry| {
        let place = place.below(&join(&place.path, &entry.key), &entry.node);
        Entry {
            key: entry.key.clone(),
            key_at: entry.key_at,
            node: replace_in(&entry.node, place, found),
        }
    };
    Map { entries: map.entries.iter().map(entry).collect() }
}

fn replace_in(node: &Node, place: Place, found: &mut Replace<'_>) -> Node {
    let value = match &node.value {
        Value::String(text) => match SecretText::parse(text) {
            Ok(secret @ (SecretText::Env(_) | SecretText::File(_))) => {
                Value::String(found(secret, place).into())
            }
            _ => Value::String(text.clone()),
        },
        Value::List(list) => {
            let item = |(index, item): (usize, &Node)| {
                let place = place.below(&format!("{}[{index}]", place.path), item);
                replace_in(item, place, found)
            };
            Value::List(list.iter().enumerate().map(item).collect())
        }
        Value::Map(map) => Value::Map(replace_in_map(map, &place, found)),
        value => value.clone(),
    };
    Node { value, at: node.at }
}

/// Reports the references inside a tree that are not whole.
pub(crate) fn check_inside(cursor: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) {
    match &cursor.node.value {
        Value::String(text) => {
            let is_model = cursor.path.contains(".modelMapping");
            match SecretText::parse(text) {
                Err(mistake) if !is_model || !has_only_groups(text) => {
                    diagnostics.push(mistake.at(cursor));
                }
                _ => {}
            }
        }
        Value::List(_) => cursor.items().for_each(|item| check_inside(&item, diagnostics)),
        Value::Map(_) => {
            cursor.entries().for_each(|(_, value)| check_inside(&value, diagnostics));
        }
        _ => {}
    }
}

/// Whether every `${…}` is a group of the expression that a model matches:
/// `${1}`.
fn has_only_groups(text: &str) -> bool {
    let is_group = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    text.split("${")
        .skip(1)
        .all(|behind| behind.split_once('}').is_some_and(|(name, _)| is_group(name)))
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
            let found = match &one.text {
                SecretText::Plain(text) => Ok(text.to_string()),
                SecretText::Env(name) => find(Lookup::Env(name), one, &mut seen, &mut lookup),
                SecretText::File(path) => find(Lookup::File(path), one, &mut seen, &mut lookup),
            };
            let value = match found {
                Ok(value) => value,
                Err(message) => {
                    diagnostics.push(one.place.diagnostic(&INTENT_SECRET, message));
                    continue;
                }
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
    one: &Use,
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
    one: &Use,
    seen: &mut HashMap<Lookup<'a>, Result<String, String>>,
    lookup: &mut dyn FnMut(Lookup<'_>) -> Result<String, String>,
) -> Result<String, String> {
    let value = seen
        .entry(what)
        .or_insert_with(|| {
            let value = lookup(what).map_err(|reason| format!("{what} {reason}"))?;
            let value = value.strip_suffix('\n').unwrap_or(&value);
            let value = value.strip_suffix('\r').unwrap_or(value);
            match fault_of(value) {
                Some(fault) => Err(format!("{what} {fault}")),
                None => Ok(value.to_owned()),
            }
        })
        .clone()?;
    match fault_of_key(&value, one.prefix) {
        Some(fault) => Err(format!("{what} {fault}")),
        None => Ok(value),
    }
}

/// Why a value cannot be a key that `prefix` is put before, in one clause.
pub(crate) fn fault_of_key(value: &str, prefix: &str) -> Option<&'static str> {
    let start = value.get(..prefix.len()).unwrap_or_default();
    let is_twice = !prefix.is_empty() && start.eq_ignore_ascii_case(prefix);
    is_twice.then_some("begins with `Bearer `, which is put before it: leave it out")
}

/// Why a value cannot be that of a Secret, in one clause.
pub(crate) fn fault_of(value: &str) -> Option<&'static str> {
    if value.is_empty() {
        return Some("is empty");
    }
    if value.contains(|c: char| c == '"' || c == '\\' || c.is_control()) {
        return Some(
            "has a quote, a backslash or a control character, which cannot be put into JSON as it is",
        );
    }
    fault_in_header(value)
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
}
