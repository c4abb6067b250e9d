//! Two documents → the fields that differ, with secrets redacted.

use std::collections::{HashMap, HashSet};

use serde_json::Value as Json;

use super::FieldChange;
use crate::merge::{ListRow, lists_of};
use crate::node::{Node, Position, Value, join};
use crate::redact::{self, is_secret_key};
use crate::yaml;

/// What a store keeps for itself.
const SERVER_FIELDS: &[&str] = &[
    "metadata.resourceVersion",
    "metadata.creationTimestamp",
    "metadata.uid",
    "metadata.generation",
    "metadata.managedFields",
    "metadata.selfLink",
    "status",
];

/// The fields of a resource that differ.
pub(crate) fn diff(kind: &str, before: &Node, after: &Node) -> Vec<FieldChange> {
    let mut diff = Diff { kind, found: Vec::new() };
    diff.values(&Place { path: String::new(), is_secret: false }, Some(before), Some(after));
    diff.found
}

/// Where a comparison is.
#[derive(Clone)]
struct Place {
    path: String,
    /// Whether everything below is secret.
    is_secret: bool,
}

impl Place {
    fn child(&self, kind: &str, key: &str) -> Self {
        let path = join(&self.path, key);
        let is_secret = self.is_secret || is_secret_key(kind, &path, key);
        Self { path, is_secret }
    }

    fn item(&self, name: &str) -> Self {
        Self { path: format!("{}[{name}]", self.path), is_secret: self.is_secret }
    }
}

struct Diff<'a> {
    kind: &'a str,
    found: Vec<FieldChange>,
}

impl Diff<'_> {
    fn values(&mut self, place: &Place, before: Option<&Node>, after: Option<&Node>) {
        if before == after || SERVER_FIELDS.contains(&place.path.as_str()) {
            return;
        }
        let (Some(old), Some(new)) = (before, after) else {
            return self.push(place, before, after);
        };
        match (&old.value, &new.value) {
            (Value::Map(old), Value::Map(new)) => {
                for entry in &old.entries {
                    let place = place.child(self.kind, &entry.key);
                    self.values(&place, Some(&entry.node), new.get(&entry.key));
                }
                for entry in new.entries.iter().filter(|entry| old.get(&entry.key).is_none()) {
                    self.values(&place.child(self.kind, &entry.key), None, Some(&entry.node));
                }
            }
            (Value::List(old_list), Value::List(new_list)) => {
                let row = lists_of(self.kind).find(|row| row.path_text() == place.path);
                match row {
                    Some(row) => self.entries(place, row, old_list, new_list),
                    None => self.items(place, (old, old_list), (new, new_list)),
                }
            }
            (Value::String(old_text), Value::String(new_text)) => {
                match (self.json_in(place, old_text), self.json_in(place, new_text)) {
                    (Some(old), Some(new)) if old != new => {
                        self.values(place, Some(&old), Some(&new));
                    }
                    _ => self.push(place, before, after),
                }
            }
            _ => self.push(place, before, after),
        }
    }

    /// The record of an AI route is JSON inside a text.
    fn json_in(&self, place: &Place, text: &str) -> Option<Node> {
        if self.kind != "ConfigMap" || place.path != "data.data" {
            return None;
        }
        let node = yaml::parse_value(text, Position::default()).ok()?;
        node.as_map().is_some().then_some(node)
    }

    /// Entries with names: each is compared with its namesake.
    fn entries(&mut self, place: &Place, row: &ListRow, before: &[Node], after: &[Node]) {
        let named = |list| -> (Vec<String>, HashMap<String, _>) {
            let list: &[Node] = list;
            let mut names = Vec::with_capacity(list.len());
            let mut nodes = HashMap::with_capacity(list.len());
            for (index, node) in list.iter().enumerate() {
                let name = row.identity(node).unwrap_or_else(|| index.to_string());
                names.push(name.clone());
                nodes.entry(name).or_insert(node);
            }
            (names, nodes)
        };
        let (old_names, old) = named(before);
        let (new_names, new) = named(after);
        for name in &old_names {
            let place = place.item(name);
            self.values(&place, old.get(name).copied(), new.get(name).copied());
        }
        for name in new_names.iter().filter(|name| !old.contains_key(*name)) {
            self.values(&place.item(name), None, new.get(name).copied());
        }
        self.order(place, &old_names, &new_names);
    }

    /// Whether what stays stays in its order.
    fn order(&mut self, place: &Place, before: &[String], after: &[String]) {
        let is_new: HashSet<&String> = after.iter().collect();
        let is_old: HashSet<&String> = before.iter().collect();
        let old: Vec<&String> = before.iter().filter(|name| is_new.contains(name)).collect();
        let new: Vec<&String> = after.iter().filter(|name| is_old.contains(name)).collect();
        if old != new {
            self.found.push(FieldChange {
                path: format!("{} (order)", place.path),
                before: Some(Json::from(old.into_iter().cloned().collect::<Vec<_>>())),
                after: Some(Json::from(new.into_iter().cloned().collect::<Vec<_>>())),
            });
        }
    }

    /// Items without names: texts as a whole, mappings one by one.
    fn items(
        &mut self,
        place: &Place,
        (old, old_list): (&Node, &[Node]),
        (new, new_list): (&Node, &[Node]),
    ) {
        let has_maps =
            old_list.iter().chain(new_list).any(|item| matches!(item.value, Value::Map(_)));
        if !has_maps {
            return self.push(place, Some(old), Some(new));
        }
        for index in 0..old_list.len().max(new_list.len()) {
            let place = place.item(&index.to_string());
            self.values(&place, old_list.get(index), new_list.get(index));
        }
    }

    fn push(&mut self, place: &Place, before: Option<&Node>, after: Option<&Node>) {
        let shown = |node: Option<&Node>| {
            let shown = |node| redact::below(self.kind, &place.path, place.is_secret, node);
            node.map(|node| shown(node).to_json())
        };
        let change =
            FieldChange { path: place.path.clone(), before: shown(before), after: shown(after) };
        self.found.push(change);
    }
}
