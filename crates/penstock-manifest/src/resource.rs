//! A resource: one document with a kind, a name and a tree of values.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::diagnostic::Diagnostic;
use crate::kind::ingress;
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
    /// What has been read out of it; nothing for a new one.
    pub known: Known,
}

/// What was read out of a resource, for those who ask again: after a change
/// of one file, all others hold the same resources as before.
///
/// Invariant: it is only filled for a resource that is shared, by
/// `&Arc<Resource>`, and nothing changes one in place: whoever wants another
/// one changes a clone, which knows nothing.
#[derive(Default)]
pub struct Known {
    /// Whether it refers to Secrets.
    pub(crate) mentions_secret: OnceLock<bool>,
    /// The Ingress that it is, with the findings.
    pub(crate) ingress: OnceLock<Box<ingress::Read>>,
}

/// A clone is there to be changed.
impl Clone for Known {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// It says nothing that the document does not.
impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Known")
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::ingress::Ingress;
    use crate::read::{FilePath, read_file};
    use crate::template::Secrets;

    const INGRESS: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, annotations: {higress.io/rewrite-target: /x}}
spec:
  typo: 1
  rules:
  - host: a.example.com
    http: {paths: [{path: /a, backend: {service: {name: web, port: {number: 80}}}}]}
";

    fn web() -> Arc<Resource> {
        let read = read_file(&FilePath::standalone("web.yaml"), INGRESS);
        read.resources.first().unwrap().clone()
    }

    /// The hosts, and the findings.
    fn hosts(resource: &Arc<Resource>) -> (Vec<&str>, Vec<Diagnostic>) {
        let mut findings = Vec::new();
        let ingress = Ingress::of(resource, &mut findings);
        let rules = ingress.iter().flat_map(|ingress| &ingress.rules);
        (rules.map(|rule| &*rule.host).collect(), findings)
    }

    #[test]
    fn what_is_known_is_what_is_read() {
        let web = web();
        let mut findings = Vec::new();
        Ingress::parse(&web, &mut findings).unwrap();
        assert_eq!(findings.len(), 1);
        for _ in 0..2 {
            assert_eq!(hosts(&web), (vec!["a.example.com"], findings.clone()));
        }
    }

    #[test]
    fn a_clone_knows_nothing() {
        let web = web();
        let secrets = Secrets::of(&[]);
        assert_eq!(hosts(&web).0, ["a.example.com"]);
        assert!(secrets.mark(&web, &mut Vec::new()).is_none());
        let mut changed = Resource::clone(&web);
        let metadata = changed.root.get_mut("metadata").unwrap();
        let rewrite = metadata.get_mut("annotations").unwrap().get_mut("higress.io/rewrite-target");
        rewrite.unwrap().value = crate::Value::String("/${secret.a.b}".into());
        let rules = changed.root.get_mut("spec").unwrap().get_mut("rules").unwrap();
        rules.value = crate::Value::List(Vec::new());
        let changed = Arc::new(changed);
        assert!(hosts(&changed).0.is_empty());
        assert!(secrets.mark(&changed, &mut Vec::new()).is_some());
        assert!(secrets.mark(&web, &mut Vec::new()).is_none());
    }
}
