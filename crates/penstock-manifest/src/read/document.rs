//! One document → one resource, or the reason why not.

use std::sync::Arc;

use crate::annotation;
use crate::diagnostic::{
    CONFIG_MAP_NOT_TEXT, Code, Diagnostic, INVALID_VALUE, MISSING_FIELD, NAME_DIFFERS_FROM_FILE,
    NO_NAME, Severity, UNKNOWN_API_VERSION, UNKNOWN_KIND, WRONG_TYPE, nearest,
};
use crate::kind::{self, KindRow, envoy_filter};
use crate::node::{Cursor, Entry, Map, Node, Source, Value};
use crate::read::FilePath;
use crate::read::guess::{self, add_absent};
use crate::resource::{BrokenDocument, Known, Metadata, Resource, ResourceKey, SYSTEM_NAMESPACE};

/// What a flat Ingress has at its top, by where it belongs
/// (Higress standalone: src/apiserver/pkg/codec/flat_resources.go).
const FLAT_METADATA_FIELDS: &[&str] = &["labels", "annotations"];
const FLAT_SPEC_FIELDS: &[&str] = &["defaultBackend", "tls", "rules"];

/// Collects what one file holds.
pub(super) struct Reader<'a> {
    path: &'a FilePath,
    pub(super) resources: Vec<Arc<Resource>>,
    pub(super) broken: Vec<BrokenDocument>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// A document that parsed, on its way to a resource.
pub(super) struct Draft<'t> {
    pub(super) root: Node,
    pub(super) source: Source,
    /// Its text, for what it may be if it has to be set aside.
    pub(super) text: &'t str,
    /// Whether the file holds nothing else, so that its name may name it.
    pub(super) is_single: bool,
}

impl Draft<'_> {
    fn cursor(&self) -> Cursor<'_> {
        Cursor::root(&self.root, &self.source)
    }

    fn text_of(&self, key: &str) -> Option<&str> {
        self.root.get(key)?.as_str()
    }

    /// A finding about a field, or about the document where it is absent.
    fn finding(&self, key: &str, code: &'static Code, message: impl Into<String>) -> Diagnostic {
        match self.cursor().get_even_null(key) {
            Some(field) => field.diagnostic(code, message),
            None => Diagnostic::at(code, &self.source, self.source.at, message),
        }
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(path: &'a FilePath) -> Self {
        Self { path, resources: Vec::new(), broken: Vec::new(), diagnostics: Vec::new() }
    }

    /// Sets a document aside of which only the text is known.
    pub(super) fn set_aside(&mut self, key: Option<ResourceKey>, text: &str) {
        let may_be_wasm_plugin = guess::may_be_wasm_plugin(self.path, text);
        self.push_broken(key, may_be_wasm_plugin);
    }

    /// Reads a document that parsed.
    pub(super) fn read(&mut self, mut draft: Draft<'_>) {
        let read = self.kind_of(&mut draft).and_then(|row| {
            let Some(row) = row else { return Ok(None) };
            self.key_of(&draft, row).map(|key| Some((row, key)))
        });
        match read {
            Ok(Some((row, key))) => self.accept(draft, row, key),
            Ok(None) => {}
            Err(Rejection(finding)) => self.reject(&draft, *finding),
        }
    }

    fn accept(&mut self, mut draft: Draft<'_>, row: &'static KindRow, key: ResourceKey) {
        self.keep_text_only(&mut draft, row);
        let metadata = self.metadata_of(&draft);
        if !row.is_acted_on {
            let message = format!("{} is kept, but not acted on", row.kind);
            self.diagnostics.push(draft.finding("kind", &UNKNOWN_KIND, message));
        }
        let Draft { root, source, .. } = draft;
        let resource = Resource { key, source, metadata, root, known: Known::default() };
        if row.kind == "EnvoyFilter" {
            // Most of them are foreign, which is known by nothing but the content.
            envoy_filter::fallbacks(&resource, &mut self.diagnostics);
        }
        self.resources.push(Arc::new(resource));
    }

    fn reject(&mut self, draft: &Draft<'_>, finding: Diagnostic) {
        self.diagnostics.push(finding);
        let row = draft.text_of("kind").and_then(kind::by_kind);
        let is_something_else = row.is_some_and(|row| row.kind != "WasmPlugin");
        let may_be_wasm_plugin = self.path.is_for_wasm_plugins()
            || (!is_something_else && guess::may_be_wasm_plugin(self.path, draft.text));
        self.push_broken(self.probable_key(draft, row), may_be_wasm_plugin);
    }

    fn push_broken(&mut self, key: Option<ResourceKey>, may_be_wasm_plugin: bool) {
        let file = self.path.display.clone();
        self.broken.push(BrokenDocument { file, key, may_be_wasm_plugin, is_empty: false });
    }

    /// The key of a document that is rejected, as far as it says.
    fn probable_key(&self, draft: &Draft<'_>, row: Option<&KindRow>) -> Option<ResourceKey> {
        let row = row.or(self.path.folder_kind())?;
        let metadata = draft.root.get("metadata");
        let text = |key: &str| metadata.and_then(|node| node.get(key)).and_then(Node::as_str);
        match text("name").filter(|name| !name.is_empty()) {
            Some(name) => {
                let namespace = text("namespace").unwrap_or(SYSTEM_NAMESPACE);
                Some(ResourceKey::new(row.kind, namespace, name))
            }
            None => self.path.key().filter(|key| draft.is_single && &*key.kind == row.kind),
        }
    }

    /// The kind; none where the document is to be ignored.
    fn kind_of(&mut self, draft: &mut Draft<'_>) -> Result<Option<&'static KindRow>, Rejection> {
        if draft.root.as_map().is_none() {
            let message = format!("a document must be a mapping, not {}", draft.root.type_name());
            return Err(draft.cursor().diagnostic(&WRONG_TYPE, message).into());
        }
        let Some(field) = draft.cursor().get("kind") else {
            return self.kind_of_folder(draft).map(Some);
        };
        match field.node.as_str() {
            None => Err(not_text(&field).into()),
            Some("") => self.kind_of_folder(draft).map(Some),
            Some(name) => match kind::by_kind(name) {
                Some(row) => self.check_api_version(draft, row),
                None => self.unknown_kind(draft, name).map(|finding| {
                    self.diagnostics.push(finding);
                    None
                }),
            },
        }
    }

    /// The kind of a document that does not say it.
    fn kind_of_folder(&mut self, draft: &mut Draft<'_>) -> Result<&'static KindRow, Rejection> {
        let Some(row) = self.path.folder_kind() else {
            let finding = draft.finding("kind", &MISSING_FIELD, "`kind` is missing");
            return Err(finding.with_hint("add apiVersion and kind").into());
        };
        let is_flat = row.kind == "Ingress"
            && draft.cursor().get("apiVersion").is_none()
            && draft.cursor().get("spec").is_none();
        if is_flat {
            unflatten(draft, row, &mut self.diagnostics);
            return Ok(row);
        }
        let message = format!("`kind` is missing; read as {} because of its folder", row.kind);
        self.diagnostics.push(
            draft
                .finding("kind", &MISSING_FIELD, message)
                .with_severity(Severity::Warning)
                .with_hint(format!("add `kind: {}`; Higress rejects the file", row.kind)),
        );
        let at = draft.source.at;
        if let Value::Map(map) = &mut draft.root.value {
            map.remove("kind");
            add_absent(map, "kind", row.kind.into(), at);
        }
        // A kind that only the folder says is never one of another group.
        self.check_api_version(draft, row)?.ok_or_else(|| wrong_api_version(draft, row))
    }

    /// Whether the apiVersion fits the kind; none where the kind is another
    /// group's of the same name.
    fn check_api_version(
        &mut self,
        draft: &mut Draft<'_>,
        row: &'static KindRow,
    ) -> Result<Option<&'static KindRow>, Rejection> {
        let at = draft.source.at;
        let Some(field) = draft.cursor().get("apiVersion") else {
            let right = row.api_version();
            let message = format!("`apiVersion` is missing; read as {right}");
            self.diagnostics.push(
                draft
                    .finding("apiVersion", &MISSING_FIELD, message)
                    .with_severity(Severity::Warning)
                    .with_hint(format!("add `apiVersion: {right}`; Higress rejects the file")),
            );
            if let Value::Map(map) = &mut draft.root.value {
                map.remove("apiVersion");
                add_absent(map, "apiVersion", right.into(), at);
            }
            return Ok(Some(row));
        };
        let Some(written) = field.node.as_str() else {
            return Err(not_text(&field).into());
        };
        if row.api_versions.contains(&written) {
            return Ok(Some(row));
        }
        if is_of_another_group(written, row) {
            let message = format!("{} of another apiVersion is ignored", row.kind);
            self.diagnostics.push(draft.finding("apiVersion", &UNKNOWN_KIND, message));
            return Ok(None);
        }
        Err(wrong_api_version(draft, row))
    }

    /// The finding about a kind without a row. One that was probably meant to
    /// be a kind of the gateway's is an error: a misspelt WasmPlugin must not
    /// pass as something foreign.
    fn unknown_kind(&self, draft: &Draft<'_>, name: &str) -> Result<Diagnostic, Rejection> {
        let acted_on = || kind::KINDS.iter().filter(|row| row.is_acted_on).map(|row| row.kind);
        let group = draft.text_of("apiVersion").and_then(|version| version.split('/').next());
        let is_suspicious = acted_on().any(|kind| kind.eq_ignore_ascii_case(name))
            || group.is_some_and(|group| group.ends_with("higress.io"))
            || self.path.folder_kind().is_some_and(|row| row.is_acted_on);
        if !is_suspicious {
            return Ok(draft.finding("kind", &UNKNOWN_KIND, "the kind is not known; ignored"));
        }
        let finding = draft.finding("kind", &INVALID_VALUE, format!("`{name}` is not a kind"));
        let meant = nearest(name, acted_on()).or(self.path.folder_kind().map(|row| row.kind));
        Err(match meant {
            Some(meant) => finding.with_hint(format!("did you mean `{meant}`?")),
            None => finding,
        }
        .into())
    }

    fn key_of(
        &mut self,
        draft: &Draft<'_>,
        row: &'static KindRow,
    ) -> Result<ResourceKey, Rejection> {
        let metadata = draft.cursor().get("metadata");
        if let Some(metadata) = metadata.as_ref().filter(|field| field.node.as_map().is_none()) {
            return Err(metadata.wrong_type("a mapping").into());
        }
        let field = |key: &str| match metadata.as_ref().and_then(|metadata| metadata.get(key)) {
            None => Ok(None),
            Some(field) => match field.node.as_str() {
                None => Err(Rejection::from(not_text(&field))),
                Some("") => Ok(None),
                Some(text) => Ok(Some((field.clone(), text))),
            },
        };
        let namespace = field("namespace")?.map_or(SYSTEM_NAMESPACE, |(_, text)| text);
        let is_in_its_folder = self.path.folder_kind().is_some_and(|folder| folder == row);
        let file_name = self.path.base_name();
        let names_by_file = draft.is_single && is_in_its_folder && !file_name.is_empty();
        match field("name")? {
            Some((at, name)) => {
                if names_by_file && name != file_name {
                    let message = format!("metadata.name is `{name}`, the file is `{file_name}`");
                    self.diagnostics.push(at.diagnostic(&NAME_DIFFERS_FROM_FILE, message));
                }
                Ok(ResourceKey::new(row.kind, namespace, name))
            }
            None if names_by_file => Ok(ResourceKey::new(row.kind, namespace, file_name)),
            None => {
                let message = format!("{} without metadata.name", row.kind);
                let hint = format!("set metadata.name, or store it as {}/NAME.yaml", row.plural);
                Err(draft.finding("metadata", &NO_NAME, message).with_hint(hint).into())
            }
        }
    }

    fn metadata_of(&mut self, draft: &Draft<'_>) -> Metadata {
        let metadata = draft.cursor().get("metadata");
        let mut text = |key: &str| {
            let Some(field) = metadata.as_ref().and_then(|metadata| metadata.get(key)) else {
                return Box::default();
            };
            match &field.node.value {
                Value::String(text) => text.clone(),
                // Written by hand, without the quotes that Kubernetes asks for.
                Value::Int(number) => number.to_string().into(),
                _ => {
                    self.diagnostics.push(not_text(&field));
                    Box::default()
                }
            }
        };
        Metadata {
            creation_timestamp: text("creationTimestamp"),
            resource_version: text("resourceVersion"),
        }
    }

    /// Takes out of the mappings of texts what is not text.
    fn keep_text_only(&mut self, draft: &mut Draft<'_>, row: &KindRow) {
        let data: &[&str] = match row.kind {
            "ConfigMap" => &["data", "binaryData"],
            "Secret" => &["data", "stringData"],
            _ => &[],
        };
        let code = if row.kind == "ConfigMap" { &CONFIG_MAP_NOT_TEXT } else { &WRONG_TYPE };
        for field in data {
            keep_texts(&mut draft.root, (&draft.source, "", field), code, &mut self.diagnostics);
        }
        let Some(metadata) = map_of(&mut draft.root).and_then(|map| node_of(map, "metadata"))
        else {
            return;
        };
        for field in ["labels", "annotations"] {
            let place = (&draft.source, "metadata", field);
            keep_texts(metadata, place, &WRONG_TYPE, &mut self.diagnostics);
        }
    }
}

/// Why a document is set aside.
struct Rejection(Box<Diagnostic>);

impl From<Diagnostic> for Rejection {
    fn from(finding: Diagnostic) -> Self {
        Self(Box::new(finding))
    }
}

/// The finding about a value that should be text. Most such values were meant
/// to be: `on`, `no` and `8080` are not, unless they are quoted.
fn not_text(field: &Cursor<'_>) -> Diagnostic {
    let finding = field.wrong_type("text");
    match field.node.value {
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => finding.with_hint("write it in quotes"),
        _ => finding,
    }
}

fn wrong_api_version(draft: &Draft<'_>, row: &KindRow) -> Rejection {
    let right = row.api_version();
    let message = format!("the apiVersion of {} is {right}", row.kind);
    draft
        .finding("apiVersion", &UNKNOWN_API_VERSION, message)
        .with_hint(format!("write `apiVersion: {right}`"))
        .into()
}

/// Whether an apiVersion says that the kind is another project's. The kinds
/// of Higress and Ingress have no namesakes that one could want here, so a
/// wrong apiVersion is a mistake there.
fn is_of_another_group(api_version: &str, row: &KindRow) -> bool {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    !row.is_acted_on || (row.is_core() && group.contains('.'))
}

/// Removes from the mapping at `field` every value that is not text, and
/// cannot be taken for one, or the field where it is no mapping. `null` is the empty text, as in Go.
fn keep_texts(
    parent: &mut Node,
    (source, path, field): (&Source, &'static str, &str),
    code: &'static Code,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let cursor = Cursor { node: parent, source, path: path.into() };
    let Some(texts) = cursor.get(field) else { return };
    if texts.node.as_map().is_none() {
        diagnostics.push(texts.wrong_type("a mapping"));
        if let Some(map) = map_of(parent) {
            map.remove(field);
        }
        return;
    }
    let is_text = |node: &Node| matches!(node.value, Value::String(_) | Value::Null);
    for (_, value) in texts.entries().filter(|(_, value)| !is_text(value.node)) {
        let finding = not_text(&value);
        diagnostics.push(Diagnostic { code, severity: code.severity, ..finding });
    }
    if let Some(map) = map_of(parent).and_then(|map| node_of(map, field)).and_then(map_of) {
        if field == "annotations" {
            map.entries.iter_mut().for_each(read_as_text);
        }
        map.entries.retain(|entry| {
            is_text(&entry.node) || matches!(entry.node.value, Value::Unresolved(_))
        });
        for entry in map.entries.iter_mut().filter(|entry| entry.node.is_null()) {
            entry.node.value = Value::String(Box::default());
        }
    }
}

/// Takes what forgotten quotes made of an annotation for the text that was
/// meant. One that is no text at all stays as what nobody can read: it may
/// ask for a protection.
fn read_as_text(entry: &mut Entry) {
    match &entry.node.value {
        Value::Bool(flag) => entry.node.value = Value::String(flag.to_string().into()),
        Value::Int(number) => entry.node.value = Value::String(number.to_string().into()),
        Value::Float(_) | Value::List(_) | Value::Map(_) if is_of_gateway(&entry.key) => {
            entry.node.value = Value::Unresolved(Box::default());
        }
        _ => {}
    }
}

fn is_of_gateway(key: &str) -> bool {
    key.starts_with(annotation::HIGRESS) || key.starts_with(annotation::NGINX)
}

fn map_of(node: &mut Node) -> Option<&mut Map> {
    match &mut node.value {
        Value::Map(map) => Some(map),
        _ => None,
    }
}

fn node_of<'m>(map: &'m mut Map, key: &str) -> Option<&'m mut Node> {
    map.entries.iter_mut().find(|entry| &*entry.key == key).map(|entry| &mut entry.node)
}

/// Gives a flat Ingress the ordinary shape.
fn unflatten(draft: &mut Draft<'_>, row: &KindRow, diagnostics: &mut Vec<Diagnostic>) {
    let known: Vec<&str> =
        [FLAT_METADATA_FIELDS, FLAT_SPEC_FIELDS, &["metadata", "kind", "apiVersion"]].concat();
    draft.cursor().report_unknown_keys(&known, diagnostics);
    let at = draft.source.at;
    let Value::Map(flat) = std::mem::take(&mut draft.root.value) else { return };
    let mut metadata = Map::default();
    let mut metadata_at = at;
    let mut spec = Map::default();
    for entry in flat.entries {
        match &*entry.key {
            "metadata" => match entry.node.value {
                Value::Map(map) => {
                    metadata_at = entry.node.at;
                    metadata.entries.splice(0..0, map.entries);
                }
                Value::Null => {}
                _ => diagnostics.push(Diagnostic::at(
                    &WRONG_TYPE,
                    &draft.source,
                    entry.node.at,
                    "`metadata` must be a mapping",
                )),
            },
            key if FLAT_METADATA_FIELDS.contains(&key) => metadata.entries.push(entry),
            key if FLAT_SPEC_FIELDS.contains(&key) => spec.entries.push(entry),
            _ => {}
        }
    }
    let entry = |key: &str, value: Value, at| Entry {
        key: key.into(),
        key_at: at,
        node: Node { value, at },
    };
    draft.root.value = Value::Map(Map {
        entries: vec![
            entry("apiVersion", Value::String(row.api_version().into()), at),
            entry("kind", Value::String(row.kind.into()), at),
            entry("metadata", Value::Map(metadata), metadata_at),
            entry("spec", Value::Map(spec), at),
        ],
    });
}
