//! The Secret of one consumer or provider: a value per key, and a reference
//! where the plugin needs it.

use super::EditError;
use super::draft::{Draft, key};
use crate::intent::secret::{base64, fault_of, fault_of_key};
use crate::node::{Map, Node, Value, join};
use crate::render::object::{self, text};
use crate::resource::SYSTEM_NAMESPACE;

/// The parts of a Secret that hold values.
const PARTS: [&str; 2] = ["data", "stringData"];

/// Where new values go.
pub(super) struct Vault<'a> {
    /// The Secret's name.
    pub(super) name: &'a str,
    /// What its keys begin with.
    pub(super) prefix: &'static str,
    /// Whether a Secret that has to be made is penstock's: if what refers to
    /// it is not, pruning would take the value away from under it.
    pub(super) is_ours: bool,
}

impl Vault<'_> {
    /// Stores a value, under the key of its position where that is free, and
    /// returns the reference to it.
    pub(super) fn put(
        &self,
        draft: &mut Draft<'_>,
        position: usize,
        value: &str,
    ) -> Result<String, EditError> {
        let resource = key("Secret", self.name);
        let there = draft.root(&resource).cloned();
        let is_new = there.is_none();
        let mut root = there.unwrap_or_else(|| object::secret(self.name, Map::default()).root);
        // A reference that leads nowhere must not come to life either.
        let is_taken = |name: &str| {
            PARTS.iter().any(|part| root.get(part).is_some_and(|part| part.get(name).is_some()))
                || draft.kept().any(|(_, root)| refers(root, self.name, name))
        };
        let names = [position].into_iter().chain(0..).map(|n| format!("{}-{n}", self.prefix));
        let name = names.into_iter().find(|name| !is_taken(name)).unwrap_or_default();
        if let Value::Map(root) = &mut root.value
            && root.get("data").is_none_or(Node::is_null)
        {
            root.set("data", object::map::<&str>([]));
        }
        match root.get_mut("data").map(|data| &mut data.value) {
            Some(Value::Map(data)) => data.set(&name, text(base64(value.as_bytes()))),
            _ => return Err(EditError::unreadable(&resource, "its `data` is no mapping")),
        }
        if is_new && self.is_ours {
            draft.own(&resource, &root);
        } else {
            draft.change_fields(&resource, |fields| {
                fields.insert(join("data", &name));
            });
        }
        draft.set(&resource, root);
        Ok(self.reference(&name))
    }

    fn reference(&self, name: &str) -> String {
        format!("${{secret.{}.{name}}}", self.name)
    }
}

/// Removes the values that nothing refers to any more: those that are
/// penstock's, and those that the edit has taken the last reference from.
pub(super) fn drop_unused(draft: &mut Draft<'_>, name: &str) {
    let resource = key("Secret", name);
    let Some(mut root) = draft.root(&resource).cloned() else { return };
    let mut dropped = Vec::new();
    for part in PARTS {
        let Some(Value::Map(values)) = root.get_mut(part).map(|node| &mut node.value) else {
            continue;
        };
        values.entries.retain(|entry| {
            let path = join(part, &entry.key);
            let owned = draft.ledger.resources.get(&resource);
            let is_ours = owned
                .and_then(|owned| owned.whole.as_ref())
                .is_some_and(|fields| fields.contains(&path));
            let is_needed = |root: &Node| refers(root, name, &entry.key);
            let stays = draft.kept().any(|(_, root)| is_needed(root))
                || !(is_ours || draft.actual.resources.iter().any(|r| is_needed(&r.root)));
            if !stays {
                dropped.push(path);
            }
            stays
        });
    }
    if dropped.is_empty() {
        return;
    }
    draft.set(&resource, root);
    draft.change_fields(&resource, |fields| {
        for path in &dropped {
            fields.remove(path);
        }
    });
}

/// Removes a Secret that holds nothing any more.
pub(super) fn remove_empty(draft: &mut Draft<'_>, name: &str) {
    let resource = key("Secret", name);
    let is_empty = |root: &Node| {
        let values = |part: &str| root.get(part).and_then(Node::as_map);
        PARTS.iter().all(|part| values(part).is_none_or(|map| map.entries.is_empty()))
    };
    if draft.root(&resource).is_some_and(is_empty) {
        draft.remove(&resource);
    }
}

/// A value as an intent would take it from a variable: without its last line
/// end. `prefix` is put before it.
pub(super) fn checked<'v>(what: &str, prefix: &str, value: &'v str) -> Result<&'v str, EditError> {
    let value = value.strip_suffix('\n').unwrap_or(value);
    let value = value.strip_suffix('\r').unwrap_or(value);
    let fault = match value.trim().is_empty() {
        true => Some("is empty"),
        false => fault_of(value).or_else(|| fault_of_key(value, prefix)),
    };
    match fault {
        Some(why) => Err(EditError::Invalid { what: what.to_owned(), why: why.to_owned() }),
        None => Ok(value),
    }
}

/// Whether any text refers to a value of a Secret.
fn refers(root: &Node, secret: &str, name: &str) -> bool {
    let plain = format!("${{secret.{secret}.{name}}}");
    let full = format!("${{secret.{SYSTEM_NAMESPACE}/{secret}.{name}}}");
    root.any(&mut |node| {
        node.as_str().is_some_and(|text| text.contains(&plain) || text.contains(&full))
    })
}
