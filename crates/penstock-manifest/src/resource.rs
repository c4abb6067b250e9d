//! A resource: one document with a kind, a name and a tree of values.

use std::fmt;
use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::node::{Cursor, Node, Position, Source};

/// The namespace that Higress runs in; what a document in a file store
/// belongs to unless it says otherwise.
pub const SYSTEM_NAMESPACE: &str = "higress-system";

/// What names a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceKey {
    /// The kind, such as `Ingress`.
    pub kind: Arc<str>,
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl ResourceKey {
    /// A key from its parts.
    pub fn new(kind: &str, namespace: &str, name: &str) -> Self {
        Self { kind: kind.into(), namespace: namespace.into(), name: name.into() }
    }
}

/// `Kind namespace/name`, without the namespace where it is the system's.
impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if &*self.namespace == SYSTEM_NAMESPACE {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// The parts of `metadata` that behaviour depends on. Labels and annotations
/// are read from the tree where they are needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `creationTimestamp` as written (RFC 3339, so text order is time
    /// order); empty where absent. Decides route order among equals.
    pub creation_timestamp: Box<str>,
    /// `resourceVersion` as written; empty where absent.
    pub resource_version: Box<str>,
}

/// One document that could be read and named.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Kind, namespace and name.
    pub key: ResourceKey,
    /// Where it comes from.
    pub source: Source,
    /// The metadata that behaviour depends on.
    pub metadata: Metadata,
    /// The whole document. A flat Ingress has been given the ordinary shape.
    pub root: Node,
}

impl Resource {
    /// A cursor on the document.
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor::root(&self.root, &self.source)
    }

    /// A cursor on `spec`.
    pub fn spec(&self) -> Option<Cursor<'_>> {
        self.cursor().get("spec")
    }

    /// The text of an annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.root.get("metadata")?.get("annotations")?.get(key)?.as_str()
    }

    /// The text of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.root.get("metadata")?.get("labels")?.get(key)?.as_str()
    }

    /// A cursor on an annotation, for its position.
    pub fn annotation_cursor(&self, key: &str) -> Option<Cursor<'_>> {
        self.cursor().get("metadata")?.get("annotations")?.get(key)
    }

    /// The position of the name, for findings about the whole resource.
    pub fn name_at(&self) -> Position {
        self.root
            .get("metadata")
            .and_then(|metadata| metadata.get("name"))
            .map_or(self.source.at, |name| name.at)
    }
}

/// A document, or a whole file, that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenDocument {
    /// The file.
    pub file: Arc<str>,
    /// What it seems to describe, from the folder and file name or from the
    /// part of the text that could be read.
    pub key: Option<ResourceKey>,
    /// Whether it may be a WasmPlugin: by its folder, or because the word
    /// stands in its text. Such a document may hold an authentication.
    pub may_be_wasm_plugin: bool,
    /// Whether the file merely became empty, which nothing complains about
    /// unless it held something before.
    pub is_empty: bool,
}

/// A hash over everything that a store listed: equal content, equal revision.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub Arc<str>);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything a store holds at one moment.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The documents that could be read, in a stable order (file, document).
    pub resources: Vec<Arc<Resource>>,
    /// What could not be read.
    pub broken: Vec<BrokenDocument>,
    /// Findings of the reading itself.
    pub diagnostics: Vec<Diagnostic>,
    /// The hash of the content.
    pub revision: Revision,
}
