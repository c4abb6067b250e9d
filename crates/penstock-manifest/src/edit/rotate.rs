//! A new key for a consumer, and an end for the old ones.
//!
//! `penstockExpiry` says when a credential ends, by the SHA-256 of the text
//! that a request presents. It is in no intent and not in the ledger: an
//! intent that still lists an old key does not take its end away.

use super::EditError;
use super::consumer::check_free;
use super::draft::Draft;
use super::key_auth::{self, Definition, Scope};
use super::secret::{self, Vault, checked};
use crate::intent::secret::secret_name;
use crate::merge::CONSUMERS;
use crate::node::{Map, Node, Value};
use crate::redact::sha256_hex;
use crate::render::object::{text, texts};
use crate::resource::ResourceKey;
use crate::template::Secrets;
use crate::time::parse_utc;

const FIELD: &str = "penstockExpiry";
const BEARER: &str = "Bearer ";

/// When old keys end.
pub(super) struct End<'a> {
    now_s: u64,
    /// The end as it is written, and in seconds; at once where there is none.
    until: Option<(&'a str, u64)>,
}

/// Reads when old keys end.
pub(super) fn end(until: Option<&str>, now_s: u64) -> Result<End<'_>, EditError> {
    let invalid = |why: &str| EditError::Invalid {
        what: "the end of the old keys".to_owned(),
        why: why.to_owned(),
    };
    let Some(until) = until else { return Ok(End { now_s, until: None }) };
    match parse_utc(until) {
        None => Err(invalid("is no time in UTC such as 2026-11-24T09:30:00Z")),
        Some(end_s) if end_s <= now_s => Err(invalid("has passed")),
        Some(end_s) => Ok(End { now_s, until: Some((until, end_s)) }),
    }
}

/// Gives a consumer a new key.
pub(super) fn rotate(
    draft: &mut Draft<'_>,
    name: &str,
    value: &str,
    end: &End<'_>,
) -> Result<(), EditError> {
    let known = key_auth::definitions(draft)?;
    let definition = key_auth::only(&known, name)?;
    let secrets = Secrets::of(&draft.actual.resources);
    let prefix = prefix(definition, &secrets);
    let value = checked("the key", prefix, value)?;
    check_free(&known, draft, &format!("{prefix}{value}"))?;
    let mut kept = kept(definition, &secrets, end)?;
    let plugin = definition.plugin.clone();
    if definition.is_go && kept.is_single && !kept.credentials.is_empty() {
        let why = "takes one key of each consumer, so that old keys cannot end later";
        return Err(EditError::GoBuild { plugin, why });
    }
    let list = CONSUMERS.path_text();
    let is_default = matches!(definition.scope, Scope::Default);
    let is_ours = is_default && draft.entry_fields(&plugin, &list, name).is_some();
    let secret = secret_name("consumer", name);
    // Values that nothing refers to any more make room for the new one.
    write(draft, &plugin, name, &kept);
    secret::drop_unused(draft, &secret);
    let vault = Vault { name: &secret, prefix: "key", is_ours };
    let reference = vault.put(draft, kept.credentials.len(), value)?;
    kept.credentials.push(format!("{prefix}{reference}"));
    write(draft, &plugin, name, &kept);
    if let Some(fields) = draft.entry_fields(&plugin, &list, name).filter(|_| is_ours) {
        fields.insert("credentials".to_owned());
    }
    Ok(())
}

/// What stands before the keys of a consumer.
fn prefix(definition: &Definition<'_>, secrets: &Secrets<'_>) -> &'static str {
    let keys = |node: &Node| -> Option<bool> {
        let mut keys = node.get("keys")?.as_list()?.iter().filter_map(Node::as_str);
        Some(keys.any(|key| key.eq_ignore_ascii_case("authorization")))
    };
    let in_authorization = keys(definition.entry).or_else(|| keys(definition.config));
    let is_bearer = |text: &str| {
        let resolved = definition.resolved(secrets, text);
        resolved.as_deref().unwrap_or(text).starts_with(BEARER)
    };
    let is_plain = in_authorization != Some(true) || !definition.credentials().all(is_bearer);
    if is_plain { "" } else { BEARER }
}

/// The credentials of a consumer and their ends.
struct Kept {
    credentials: Vec<String>,
    expiry: Map,
    /// Whether the consumer has the field for one credential.
    is_single: bool,
}

/// The old credentials that go on for a while. Those whose end has passed, or
/// cannot be read, are over.
fn kept(
    definition: &Definition<'_>,
    secrets: &Secrets<'_>,
    end: &End<'_>,
) -> Result<Kept, EditError> {
    let has = |key: &str| definition.entry.get(key).is_some();
    let is_single = has("credential") && !has("credentials");
    let mut kept = Kept { credentials: Vec::new(), expiry: Map::default(), is_single };
    let Some((until, until_s)) = end.until else { return Ok(kept) };
    let unreadable = |why: &str| {
        let what = format!("consumer `{}` in {}", definition.name(), definition.plugin);
        EditError::unreadable(what, format!("{why}; without an end its keys are replaced at once"))
    };
    let expiry = definition.entry.get(FIELD).filter(|node| !node.is_null());
    if expiry.is_some_and(|expiry| expiry.as_map().is_none()) {
        return Err(unreadable("its `penstockExpiry` is no mapping"));
    }
    let expiry = expiry.and_then(Node::as_map).map(|map| map.entries.as_slice());
    for credential in definition.credentials() {
        let Some(resolved) = definition.resolved(secrets, credential) else {
            return Err(unreadable("a key of it is in no Secret"));
        };
        let hash = sha256_hex(&resolved);
        let ends = expiry.unwrap_or_default().iter().filter(|e| e.key.eq_ignore_ascii_case(&hash));
        let ends = ends.map(|entry| {
            let written = entry.node.as_str().unwrap_or_default();
            (parse_utc(written).unwrap_or(0), written)
        });
        let (ends_s, written) = ends.chain([(until_s, until)]).min().unwrap_or((until_s, until));
        if ends_s > end.now_s {
            kept.credentials.push(credential.to_owned());
            kept.expiry.set(&hash, text(written));
        }
    }
    Ok(kept)
}

/// Writes the credentials of a consumer, in the form that its entry has.
fn write(draft: &mut Draft<'_>, plugin: &ResourceKey, name: &str, kept: &Kept) {
    let Some(mut root) = draft.root(plugin).cloned() else { return };
    key_auth::change_configs(&mut root, &mut |config| {
        let consumers = config.entries.iter_mut().find(|entry| &*entry.key == "consumers");
        let Some(Value::List(list)) = consumers.map(|entry| &mut entry.node.value) else { return };
        for entry in list {
            let is_meant = entry.get("name").and_then(Node::as_str) == Some(name);
            if let Value::Map(entry) = &mut entry.value
                && is_meant
            {
                write_entry(entry, kept);
            }
        }
    });
    draft.set(plugin, root);
}

fn write_entry(entry: &mut Map, kept: &Kept) {
    match kept.credentials.as_slice() {
        [] if kept.is_single => entry.set("credential", text("")),
        [only] if kept.is_single => entry.set("credential", text(only)),
        several => {
            entry.remove("credential");
            entry.set("credentials", texts(several));
        }
    }
    if kept.expiry.entries.is_empty() {
        entry.remove(FIELD);
    } else {
        entry.set(FIELD, Node::synthetic(Value::Map(kept.expiry.clone())));
    }
}
