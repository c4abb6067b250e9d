//! One value into another: fields that are penstock's follow what is desired,
//! fields of others stay.

use crate::node::{Entry, Map, Node, Value, join};

/// Merges `desired` into `actual`. A field that only `actual` has is taken
/// away where `is_ours` says that penstock wrote it; lists and texts are
/// replaced as a whole.
pub(super) fn merge(actual: &Node, desired: &Node, is_ours: &dyn Fn(&str) -> bool) -> Node {
    merge_at(actual, desired, "", is_ours)
}

fn merge_at(actual: &Node, desired: &Node, path: &str, is_ours: &dyn Fn(&str) -> bool) -> Node {
    let (Value::Map(there), Value::Map(wanted)) = (&actual.value, &desired.value) else {
        return if actual == desired { actual.clone() } else { desired.clone() };
    };
    let mut entries: Vec<Entry> = Vec::with_capacity(there.entries.len());
    for entry in &there.entries {
        let path = join(path, &entry.key);
        let node = match wanted.get(&entry.key) {
            Some(node) => Some(merge_at(&entry.node, node, &path, is_ours)),
            None => without_ours(&entry.node, &path, is_ours),
        };
        entries.extend(node.map(|node| Entry {
            key: entry.key.clone(),
            key_at: entry.key_at,
            node,
        }));
    }
    let new = wanted.entries.iter().filter(|entry| there.get(&entry.key).is_none());
    entries.extend(new.cloned());
    Node { value: Value::Map(Map { entries }), at: actual.at }
}

/// What is left of a value without what is penstock's.
fn without_ours(node: &Node, path: &str, is_ours: &dyn Fn(&str) -> bool) -> Option<Node> {
    let Value::Map(map) = &node.value else {
        return (!is_ours(path)).then(|| node.clone());
    };
    if map.entries.is_empty() {
        return (!is_ours(path)).then(|| node.clone());
    }
    let left: Vec<Entry> = map
        .entries
        .iter()
        .filter_map(|entry| {
            let node = without_ours(&entry.node, &join(path, &entry.key), is_ours)?;
            Some(Entry { key: entry.key.clone(), key_at: entry.key_at, node })
        })
        .collect();
    let left = Map { entries: left };
    (!left.entries.is_empty()).then_some(Node { value: Value::Map(left), at: node.at })
}

/// The key paths of everything in a value that is not a mapping, and of empty
/// mappings.
pub(super) fn leaves(node: &Node) -> Vec<String> {
    let mut found = Vec::new();
    add_leaves(node, "", &mut found);
    found
}

fn add_leaves(node: &Node, path: &str, found: &mut Vec<String>) {
    match &node.value {
        Value::Map(map) if !map.entries.is_empty() => {
            for entry in &map.entries {
                add_leaves(&entry.node, &join(path, &entry.key), found);
            }
        }
        _ if is_always_ours(path) => {}
        _ => found.push(path.to_owned()),
    }
}

/// A label that only the owner of a route writes. It is not kept in the
/// ledger, so that routes of different domains have equal sets of fields.
pub(super) fn is_always_ours(path: &str) -> bool {
    path.starts_with("metadata.labels[\"higress.io/domain_")
}

/// What whoever writes a route for the gateway writes; the rest of an adopted
/// resource stays.
pub(super) fn is_gateways(path: &str) -> bool {
    [
        "spec",
        "data",
        "type",
        "metadata.labels[\"higress.io/",
        "metadata.annotations[\"higress.io/",
        "metadata.annotations[\"disabled.higress.io/",
    ]
    .iter()
    .any(|ours| path.starts_with(ours))
}
