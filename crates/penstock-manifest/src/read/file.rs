//! A file: its path, its documents, and what is said of it as a whole.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::diagnostic::{Code, Diagnostic, YAML_SYNTAX};
use crate::kind::{self, KindRow};
use crate::node::{Position, Source};
use crate::read::document::{Draft, Reader};
use crate::read::guess;
use crate::resource::{BrokenDocument, Resource, ResourceKey};
use crate::yaml::{self, Document};

/// Where a file stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath {
    /// The path below the root of its store, with `/` between its parts.
    pub relative: Arc<str>,
    /// The path as the user would name it.
    pub display: Arc<str>,
}

impl FilePath {
    /// A path below a root.
    pub fn new(display: impl Into<Arc<str>>, relative: impl Into<Arc<str>>) -> Self {
        Self { relative: relative.into(), display: display.into() }
    }

    /// A path without a root, such as one from the command line.
    pub fn standalone(display: impl Into<Arc<str>>) -> Self {
        let display = display.into();
        Self { relative: display.clone(), display }
    }

    /// The file name without `.yaml`, `.yml` or `.json`.
    pub fn base_name(&self) -> &str {
        let name = self.relative.rsplit('/').next().unwrap_or(&self.relative);
        [".yaml", ".yml", ".json"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
    }

    /// The kind whose plural the nearest folder above the file is named.
    pub fn folder_kind(&self) -> Option<&'static KindRow> {
        self.relative.rsplit('/').skip(1).find_map(kind::by_plural)
    }

    /// The key that the folder and the file name say.
    pub fn key(&self) -> Option<ResourceKey> {
        let name = self.base_name();
        let row = self.folder_kind()?;
        (!name.is_empty())
            .then(|| ResourceKey::new(row.kind, crate::resource::SYSTEM_NAMESPACE, name))
    }

    /// Whether its folder is that of the WasmPlugins.
    pub fn is_for_wasm_plugins(&self) -> bool {
        self.folder_kind().is_some_and(|row| row.kind == "WasmPlugin")
    }
}

/// What one file holds.
#[derive(Clone, Debug)]
pub struct FileContent {
    /// The file.
    pub path: FilePath,
    /// The SHA-256 of its bytes; zeros where they could not be read.
    pub hash: [u8; 32],
    /// The documents that could be read and named, in order.
    pub resources: Vec<Arc<Resource>>,
    /// Those that could not.
    pub broken: Vec<BrokenDocument>,
    /// Findings of the reading.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads the bytes of a file, which may not even be text.
pub fn read_bytes(path: &FilePath, bytes: &[u8]) -> FileContent {
    match std::str::from_utf8(bytes) {
        Ok(text) => read_file(path, text),
        Err(error) => {
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let at = end_of(&String::from_utf8_lossy(valid));
            let text = String::from_utf8_lossy(bytes);
            FileContent {
                path: path.clone(),
                hash: Sha256::digest(bytes).into(),
                resources: Vec::new(),
                broken: vec![BrokenDocument {
                    file: path.display.clone(),
                    key: path.key(),
                    may_be_wasm_plugin: guess::may_be_wasm_plugin(path, &text),
                    is_empty: false,
                }],
                diagnostics: vec![Diagnostic::in_file(
                    &YAML_SYNTAX,
                    path.display.clone(),
                    at,
                    "not UTF-8 text",
                )],
            }
        }
    }
}

/// Reads the text of a file.
pub fn read_file(path: &FilePath, text: &str) -> FileContent {
    let mut reader = Reader::new(path);
    let documents = yaml::parse(text);
    if documents.is_empty() {
        reader.broken.push(BrokenDocument {
            file: path.display.clone(),
            key: path.key(),
            // A plugin that was commented out on purpose is none; what an
            // interrupted write left of one is known by its folder.
            may_be_wasm_plugin: path.is_for_wasm_plugins(),
            is_empty: true,
        });
    }
    let is_single = documents.len() == 1;
    for (number, document) in documents.into_iter().enumerate() {
        let Document { at, text_range, result } = document;
        let source = Source {
            file: path.display.clone(),
            document: u32::try_from(number).unwrap_or(u32::MAX),
            at,
        };
        let text = text.get(text_range).unwrap_or_default();
        match result {
            Ok(root) => read_root(&mut reader, Draft { root, source, text, is_single }),
            Err(error) => {
                let message = error.message.into_owned();
                reader.diagnostics.push(Diagnostic::at(
                    error.kind.code(),
                    &source,
                    error.at,
                    message,
                ));
                reader.set_aside(guess::key(path, text, is_single), text);
            }
        }
    }
    FileContent {
        path: path.clone(),
        hash: Sha256::digest(text.as_bytes()).into(),
        resources: reader.resources,
        broken: reader.broken,
        diagnostics: reader.diagnostics,
    }
}

/// What stands for a file or folder that could not be read, or is larger than
/// is read. A folder's paths end with `/`. Since nobody knows what it holds,
/// it may be a WasmPlugin.
pub fn unreadable_file(
    path: &FilePath,
    code: &'static Code,
    message: impl Into<String>,
) -> FileContent {
    let is_folder = path.relative.ends_with('/') || path.relative.is_empty();
    let at = Position::default();
    FileContent {
        path: path.clone(),
        hash: [0; 32],
        resources: Vec::new(),
        broken: vec![BrokenDocument {
            file: path.display.clone(),
            key: if is_folder { None } else { path.key() },
            may_be_wasm_plugin: true,
            is_empty: false,
        }],
        diagnostics: vec![Diagnostic::in_file(code, path.display.clone(), at, message)],
    }
}

/// Reads a document, or each item of a list of documents.
fn read_root(reader: &mut Reader<'_>, draft: Draft<'_>) {
    let Draft { root, source, text, is_single } = draft;
    match guess::into_items(root) {
        Ok(items) => {
            for (item, inherited) in items {
                let at = if item.at.line > 0 { item.at } else { source.at };
                let source = Source { at, ..source.clone() };
                let root = guess::with_inherited(item, inherited);
                reader.read(Draft { root, source, text, is_single: false });
            }
        }
        Err(root) => reader.read(Draft { root, source, text, is_single }),
    }
}

/// The position after the last character.
fn end_of(text: &str) -> Position {
    let line = text.matches('\n').count() + 1;
    let column = text.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Position::new(
        u32::try_from(line).unwrap_or(u32::MAX),
        u32::try_from(column).unwrap_or(u32::MAX),
    )
}
