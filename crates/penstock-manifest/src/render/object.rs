//! Values and resources as the console writes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::kind;
use crate::kind::config_map::INTERNAL_SUFFIX;
use crate::node::{Entry, Map, Node, Position, Source, Value};
use crate::resource::{Known, Metadata, Resource, ResourceKey, SYSTEM_NAMESPACE};

/// The annotation of what the console keeps to itself.
const COMMENT: &str = "PLEASE DO NOT EDIT DIRECTLY. This resource is managed by Higress.";

/// A text.
pub fn text(text: impl AsRef<str>) -> Node {
    Node::synthetic(Value::String(text.as_ref().into()))
}

/// A whole number.
pub fn int(number: i64) -> Node {
    Node::synthetic(Value::Int(number))
}

/// A boolean.
pub fn flag(flag: bool) -> Node {
    Node::synthetic(Value::Bool(flag))
}

/// A list.
pub fn list(items: impl IntoIterator<Item = Node>) -> Node {
    Node::synthetic(Value::List(items.into_iter().collect()))
}

/// A list of texts.
pub fn texts<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> Node {
    list(items.into_iter().map(text))
}

/// A mapping. Keys must differ.
pub fn map<K: AsRef<str>>(entries: impl IntoIterator<Item = (K, Node)>) -> Node {
    let at = Position::default();
    let entries = entries
        .into_iter()
        .map(|(key, node)| Entry { key: key.as_ref().into(), key_at: at, node })
        .collect();
    Node::synthetic(Value::Map(Map { entries }))
}

/// A resource on its way: name, labels, annotations.
pub(crate) struct Draft {
    kind: &'static str,
    name: String,
    labels: BTreeMap<String, String>,
    annotations: Vec<(String, String)>,
}

impl Draft {
    /// A resource with the labels and annotations that the console stamps on
    /// every write; an McpBridge gets none.
    pub(crate) fn new(kind: &'static str, name: &str) -> Self {
        let mut draft =
            Self { kind, name: name.to_owned(), labels: BTreeMap::new(), annotations: Vec::new() };
        if kind == "McpBridge" {
            return draft;
        }
        draft.labels.insert("higress.io/resource-definer".into(), "higress".into());
        if name.ends_with(INTERNAL_SUFFIX) {
            draft.labels.insert("higress.io/internal".into(), "true".into());
            draft.annotations.push(("higress.io/comment".into(), COMMENT.into()));
        }
        draft
    }

    pub(crate) fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Adds annotations and puts all of them into alphabetical order.
    pub(crate) fn sorted_annotations(mut self, more: BTreeMap<String, String>) -> Self {
        let own = std::mem::take(&mut self.annotations);
        let all: BTreeMap<String, String> = own.into_iter().chain(more).collect();
        self.annotations = all.into_iter().collect();
        self
    }

    /// The resource; `body` stands behind `metadata`.
    pub(crate) fn finish<const N: usize>(self, body: [(&str, Node); N]) -> Resource {
        let row = kind::by_kind(self.kind);
        let mut metadata = vec![("name", text(&self.name)), ("namespace", text(SYSTEM_NAMESPACE))];
        if !self.labels.is_empty() {
            metadata.push(("labels", map(self.labels.iter().map(|(k, v)| (k, text(v))))));
        }
        if !self.annotations.is_empty() {
            metadata.push(("annotations", map(self.annotations.iter().map(|(k, v)| (k, text(v))))));
        }
        let api_version = row.map(kind::KindRow::api_version).unwrap_or_default();
        let head = [("apiVersion", text(api_version)), ("kind", text(self.kind))];
        let mut root: Vec<(&str, Node)> = head.into_iter().collect();
        if self.kind == "Secret" {
            root.push(("type", text("Opaque")));
        }
        root.push(("metadata", map(metadata)));
        root.extend(body);
        let mut resource = Resource {
            key: ResourceKey::new(self.kind, SYSTEM_NAMESPACE, &self.name),
            source: Source { file: "".into(), document: 0, at: Position::default() },
            metadata: Metadata::default(),
            root: map(root),
            known: Known::default(),
        };
        resource.source.file = Arc::from(super::file_path(&resource));
        resource
    }
}

/// A Secret with data that is in base64 already.
pub(crate) fn secret(name: &str, data: Map) -> Resource {
    Draft::new("Secret", name).finish([("data", Node::synthetic(Value::Map(data)))])
}
