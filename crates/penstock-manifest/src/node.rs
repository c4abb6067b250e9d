//! A document as a tree of values, each with its place in the file.
//!
//! The tree keeps the order of keys and the position of every key and value,
//! because every complaint about a manifest has to point at a line. It is
//! what YAML and JSON are read into; nothing here knows either syntax.

use std::borrow::Cow;
use std::sync::Arc;

use crate::diagnostic::{Code, Diagnostic};

/// A place in a file. Both numbers start at 1; 0 means "not known".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl Position {
    /// A position from its two numbers.
    pub fn new(line: u32, column: u32) -> Self {
        Self { line, column }
    }
}

/// One value and where it begins.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where its text begins.
    pub at: Position,
}

/// Equality looks at values only: the same document on other lines is equal.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// What a [`Node`] holds, after Kubernetes' reading of YAML.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    #[default]
    Null,
    /// A boolean, YAML 1.1 spellings included.
    Bool(bool),
    /// An integer that fits 64 bits.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    String(Box<str>),
    /// Text as written whose reference to a Secret leads nowhere. It has no
    /// type, so that whatever needs it cannot be read.
    Unresolved(Box<str>),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping.
    Map(Map),
}

/// A mapping with its order and the position of each key.
#[derive(Clone, Debug, Default)]
pub struct Map {
    /// The entries in document order; keys are unique.
    pub entries: Vec<Entry>,
}

/// One `key: value` of a [`Map`].
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key as text (Kubernetes turns every key into a string).
    pub key: Box<str>,
    /// Where the key begins.
    pub key_at: Position,
    /// The value.
    pub node: Node,
}

/// Equality ignores the order of keys, as Kubernetes does.
impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        self.entries.len() == other.entries.len()
            && self.entries.iter().all(|entry| other.get(&entry.key) == Some(&entry.node))
    }
}

impl Map {
    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|entry| &*entry.key == key).map(|entry| &entry.node)
    }

    /// The entry of `key`, for its position.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| &*entry.key == key)
    }

    /// Puts a value, in place where the key exists and at the end otherwise.
    pub fn set(&mut self, key: &str, node: Node) {
        match self.entries.iter_mut().find(|entry| &*entry.key == key) {
            Some(entry) => entry.node = node,
            None => self.entries.push(Entry { key: key.into(), key_at: node.at, node }),
        }
    }

    /// Removes a key and returns its value.
    pub fn remove(&mut self, key: &str) -> Option<Node> {
        let index = self.entries.iter().position(|entry| &*entry.key == key)?;
        Some(self.entries.remove(index).node)
    }
}

impl Node {
    /// A node without a place, for values that no file holds.
    pub fn synthetic(value: Value) -> Self {
        Self { value, at: Position::default() }
    }

    /// The value of `key` if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.get(key)
    }

    /// The value of `key`, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        let Value::Map(map) = &mut self.value else {
            return None;
        };
        map.entries.iter_mut().find(|entry| &*entry.key == key).map(|entry| &mut entry.node)
    }

    /// Whether `is_it` holds for this value or one below it.
    pub fn any(&self, is_it: &mut dyn FnMut(&Node) -> bool) -> bool {
        is_it(self)
            || match &self.value {
                Value::List(list) => list.iter().any(|node| node.any(is_it)),
                Value::Map(map) => map.entries.iter().any(|entry| entry.node.any(is_it)),
                _ => false,
            }
    }

    /// The mapping, if it is one.
    pub fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The sequence, if it is one.
    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self.value {
            Value::Bool(flag) => Some(flag),
            _ => None,
        }
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The name of the type, for messages: `a list`, `text`, …
    pub fn type_name(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::String(_) => "text",
            Value::Unresolved(_) => "a reference that leads nowhere",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// The same value as plain JSON (non-finite numbers become `null`).
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(flag) => (*flag).into(),
            Value::Int(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::String(text) => serde_json::Value::String(text.to_string()),
            // No field takes an empty object for text or a number.
            Value::Unresolved(_) => serde_json::Value::Object(serde_json::Map::new()),
            Value::List(list) => list.iter().map(Node::to_json).collect(),
            Value::Map(map) => serde_json::Value::Object(
                map.entries.iter().map(|e| (e.key.to_string(), e.node.to_json())).collect(),
            ),
        }
    }
}

/// Where a document comes from, shared by every complaint about it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The file as the user named it, or `<stdin>`.
    pub file: Arc<str>,
    /// The number of the document in its file, from 0.
    pub document: u32,
    /// Where the document begins.
    pub at: Position,
}

/// A node together with its key path and its file: what reading code walks
/// with, so that a complaint about any value can say where it stands.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    /// The value.
    pub node: &'a Node,
    /// The file.
    pub source: &'a Source,
    /// The key path so far, such as `spec.matchRules[0].config`.
    pub path: Cow<'a, str>,
}

impl<'a> Cursor<'a> {
    /// A cursor on the root of a document.
    pub fn root(node: &'a Node, source: &'a Source) -> Self {
        Self { node, source, path: Cow::Borrowed("") }
    }

    /// The value of `key`; absent and `null` are both `None`, as Kubernetes
    /// treats them.
    pub fn get(&self, key: &str) -> Option<Cursor<'a>> {
        let node = self.node.get(key)?;
        (!node.is_null()).then(|| self.child(key, node))
    }

    /// The value of `key` even where it is `null`.
    pub fn get_even_null(&self, key: &str) -> Option<Cursor<'a>> {
        self.node.get(key).map(|node| self.child(key, node))
    }

    /// A cursor on `node`, which stands under `key` of this one.
    pub fn child(&self, key: &str, node: &'a Node) -> Cursor<'a> {
        Cursor { node, source: self.source, path: Cow::Owned(join(&self.path, key)) }
    }

    /// The elements, none if this is not a list.
    pub fn items(&self) -> impl Iterator<Item = Cursor<'a>> + '_ {
        let source = self.source;
        self.node.as_list().unwrap_or_default().iter().enumerate().map(move |(index, node)| {
            Cursor { node, source, path: Cow::Owned(format!("{}[{index}]", self.path)) }
        })
    }

    /// The entries with the position of their keys, none if this is not a
    /// mapping.
    pub fn entries(&self) -> impl Iterator<Item = (&'a Entry, Cursor<'a>)> + '_ {
        self.node
            .as_map()
            .map(|map| map.entries.as_slice())
            .unwrap_or_default()
            .iter()
            .map(|entry| (entry, self.child(&entry.key, &entry.node)))
    }

    /// A cursor on what a key path below this value names, as far as the path
    /// leads.
    pub fn descend(&self, path: &str) -> Cursor<'a> {
        let mut cursor = self.clone();
        let mut rest = path;
        while !rest.is_empty() {
            let (next, remaining) = match split_path(rest) {
                Some((Segment::Index(index), remaining)) => (cursor.items().nth(index), remaining),
                Some((Segment::Key(key), remaining)) => (cursor.get_even_null(key), remaining),
                None => break,
            };
            match next {
                Some(next) => cursor = next,
                None => break,
            }
            rest = remaining;
        }
        cursor
    }

    /// A complaint about this value.
    pub fn diagnostic(&self, code: &'static Code, message: impl Into<String>) -> Diagnostic {
        Diagnostic::at(code, self.source, self.node.at, message).with_path(self.path.clone())
    }

    /// A complaint that this value is not what it should be, without ever
    /// printing the value, which may be a secret.
    pub fn wrong_type(&self, expected: &str) -> Diagnostic {
        self.diagnostic(
            &crate::diagnostic::WRONG_TYPE,
            format!("`{}` must be {expected}, not {}", self.path, self.node.type_name()),
        )
    }

    /// The text, else a `wrong_type` complaint.
    pub fn text(&self, diagnostics: &mut Vec<Diagnostic>) -> Option<&'a str> {
        let text = self.node.as_str();
        if text.is_none() {
            diagnostics.push(self.wrong_type("text"));
        }
        text
    }

    /// The boolean, else a `wrong_type` complaint.
    pub fn bool(&self, diagnostics: &mut Vec<Diagnostic>) -> Option<bool> {
        let flag = self.node.as_bool();
        if flag.is_none() {
            diagnostics.push(self.wrong_type("a boolean"));
        }
        flag
    }

    /// Complains about every key that `known` does not list, with the nearest
    /// known name. Keys with which rules stand inside a plugin's configuration
    /// are never part of it (Higress: wasm-go pkg/matcher/rule_matcher.go).
    pub fn report_unknown_keys(&self, known: &[&str], diagnostics: &mut Vec<Diagnostic>) {
        let entries = self.node.as_map().map(|map| map.entries.as_slice()).unwrap_or_default();
        let is_of_rules = |key: &str| key == "_rules_" || key.starts_with("_match_");
        let is_unknown = |key: &str| !known.contains(&key) && !is_of_rules(key);
        for entry in entries.iter().filter(|entry| is_unknown(&entry.key)) {
            let path = join(&self.path, &entry.key);
            let mut diagnostic = Diagnostic::at(
                &crate::diagnostic::UNKNOWN_FIELD,
                self.source,
                entry.key_at,
                format!("unknown field `{path}`"),
            )
            .with_path(path);
            if let Some(nearest) = crate::diagnostic::nearest(&entry.key, known.iter().copied()) {
                diagnostic = diagnostic.with_hint(format!("did you mean `{nearest}`?"));
            }
            diagnostics.push(diagnostic);
        }
    }
}

/// Appends a key to a path, in brackets and quotes where it has characters
/// that would make the path ambiguous.
pub(crate) fn join(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && !key.contains(['.', '[', ']', '"', ' ', '/']);
    match (path.is_empty(), plain) {
        (true, true) => key.to_owned(),
        // Every look at a field comes by here.
        (false, true) => [path, ".", key].concat(),
        (_, false) => [path, "[\"", key, "\"]"].concat(),
    }
}

/// One step of a key path.
enum Segment<'a> {
    Key(&'a str),
    Index(usize),
}

/// The first step of a path that [`join`] or an index wrote, and the rest.
fn split_path(path: &str) -> Option<(Segment<'_>, &str)> {
    if let Some(quoted) = path.strip_prefix("[\"") {
        let (key, rest) = quoted.split_once("\"]")?;
        return Some((Segment::Key(key), rest.strip_prefix('.').unwrap_or(rest)));
    }
    if let Some(bracketed) = path.strip_prefix('[') {
        let (index, rest) = bracketed.split_once(']')?;
        let rest = rest.strip_prefix('.').unwrap_or(rest);
        return Some((Segment::Index(index.parse().ok()?), rest));
    }
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (key, rest) = path.split_at(end);
    Some((Segment::Key(key), rest.strip_prefix('.').unwrap_or(rest)))
}
