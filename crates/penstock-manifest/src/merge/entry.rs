//! One value into another: fields that are penstock's follow what is desired,
//! fields of others stay.

use std::hash::{DefaultHasher, Hash, Hasher};

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

/// Whether [`merge`] would change nothing. Builds no text for fields that are
/// on both sides, which is nearly all of them.
pub(super) fn is_settled(actual: &Node, desired: &Node, is_ours: &dyn Fn(&str) -> bool) -> bool {
    is_settled_at(actual, desired, &mut Vec::new(), is_ours)
}

fn is_settled_at<'a>(
    actual: &'a Node,
    desired: &Node,
    path: &mut Vec<&'a str>,
    is_ours: &dyn Fn(&str) -> bool,
) -> bool {
    let (Value::Map(there), Value::Map(wanted)) = (&actual.value, &desired.value) else {
        return actual == desired;
    };
    let mut common = 0;
    for entry in &there.entries {
        path.push(&entry.key);
        let is_settled = match wanted.get(&entry.key) {
            Some(node) => {
                common += 1;
                is_settled_at(&entry.node, node, path, is_ours)
            }
            None => {
                let full = path.iter().fold(String::new(), |path, key| join(&path, key));
                without_ours(&entry.node, &full, is_ours).as_ref() == Some(&entry.node)
            }
        };
        path.pop();
        if !is_settled {
            return false;
        }
    }
    common == wanted.entries.len()
}

/// The key paths of everything in a value that is not a mapping, and of empty
/// mappings.
pub(crate) fn leaves(node: &Node) -> Vec<String> {
    let mut found = Vec::new();
    add_leaves(node, "", &mut found);
    found
}

fn add_leaves(node: &Node, path: &str, found: &mut Vec<String>) {
    match &node.value {
        Value::Map(map) if !map.entries.is_empty() => {
            for entry in map.entries.iter().filter(|entry| !is_implied(&entry.key)) {
                add_leaves(&entry.node, &join(path, &entry.key), found);
            }
        }
        _ => found.push(path.to_owned()),
    }
}

/// A number for the keys of a value and how they are nested: equal for values
/// with equal [`leaves`] in equal order.
pub(super) fn shape(node: &Node) -> u64 {
    let mut hasher = DefaultHasher::new();
    add_shape(node, &mut hasher);
    hasher.finish()
}

fn add_shape(node: &Node, hasher: &mut DefaultHasher) {
    let Value::Map(map) = &node.value else { return };
    for entry in map.entries.iter().filter(|entry| !is_implied(&entry.key)) {
        hasher.write_u8(1);
        entry.key.hash(hasher);
        add_shape(&entry.node, hasher);
    }
    hasher.write_u8(2);
}

/// A label that only the owner of a route writes. It is not kept in the
/// ledger, so that routes of different domains have equal sets of fields.
fn is_implied(key: &str) -> bool {
    key.starts_with("higress.io/domain_")
}

/// Whether a field is penstock's on every route of penstock's.
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
