//! What a plugin tells about itself, so that two configurations can be
//! compared without knowing any plugin. Of secrets it tells a hash that is
//! good for comparing within one process and for nothing else.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use http::HeaderValue;
use serde_json::Value;

/// Whom a plugin lets pass.
pub enum Access<'a> {
    /// Nobody: it answers 503.
    Closed,
    /// Whoever has a key, which says nothing about who that is.
    Anonymous,
    /// Consumers.
    Consumers {
        /// Those whose keys are recognised.
        known: &'a [Consumer],
        /// The names that may pass; `None` for all of `known`.
        allowed: Option<&'a HashSet<Arc<str>>>,
    },
}

/// A consumer that an authentication recognises.
pub struct Consumer {
    /// The name.
    pub name: Arc<str>,
    /// The name as the value of `X-Mse-Consumer`.
    pub header_value: HeaderValue,
    /// Differs from that of another configuration if the credentials do, their
    /// places or their ends.
    pub fingerprint: u64,
}

/// What a plugin makes of requests on their way to a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The LLM provider, where the plugin chooses one: its id and type.
    pub provider: Option<(Box<str>, &'static str)>,
    /// The model mapping, sorted by what clients ask for.
    pub models: Vec<(Box<str>, Box<str>)>,
    /// Differs from that of another configuration if anything else does.
    pub fingerprint: u64,
}

/// The entries of a model mapping in a configuration, sorted.
pub(super) fn models_of(config: &Value) -> Vec<(Box<str>, Box<str>)> {
    let mapping = config.get("modelMapping").and_then(Value::as_object);
    let mut models: Vec<(Box<str>, Box<str>)> = mapping
        .into_iter()
        .flatten()
        .map(|(asked, name)| (asked.as_str().into(), text_of(name).into()))
        .collect();
    models.sort();
    models
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The fingerprint of a configuration without some of its fields, whatever
/// the order of its keys.
pub(super) fn fingerprint(config: &Value, without: &[&str]) -> u64 {
    let entries = config.as_object().into_iter().flatten();
    entries
        .filter(|(key, _)| !without.contains(&key.as_str()))
        .fold(0, |sum: u64, entry| sum.wrapping_add(hash_entry(entry)))
}

fn hash_entry((key, value): (&String, &Value)) -> u64 {
    hash_of(|hasher| {
        key.hash(hasher);
        hash_json(value, hasher);
    })
}

fn hash_json(value: &Value, hasher: &mut DefaultHasher) {
    match value {
        Value::Object(map) => {
            let sum = map.iter().fold(0u64, |sum, entry| sum.wrapping_add(hash_entry(entry)));
            ("object", map.len(), sum).hash(hasher);
        }
        Value::Array(items) => {
            ("array", items.len()).hash(hasher);
            items.iter().for_each(|item| hash_json(item, hasher));
        }
        Value::String(text) => ("string", text).hash(hasher),
        scalar => ("scalar", scalar.to_string()).hash(hasher),
    }
}

/// A hash with the same key everywhere, so that two configurations agree.
pub(super) fn hash_of(write: impl FnOnce(&mut DefaultHasher)) -> u64 {
    let mut hasher = DefaultHasher::new();
    write(&mut hasher);
    hasher.finish()
}
