//! Text ⇄ documents with positions, as Kubernetes reads YAML.
//!
//! Kubernetes turns YAML into JSON with a YAML 1.1 reader (go-yaml v2), so an
//! unquoted `on` is a boolean and `010` is eight here too. The text is cut at
//! its document markers before anything is parsed: one broken document never
//! takes its neighbours with it. JSON is read by the same code.
//!
//! Where Kubernetes is lax, this reader is strict: a key that occurs twice
//! breaks its document, because readers disagree about which one counts.
//! Explicit keys win over merged ones wherever `<<` stands, as YAML says.
//!
//! Invariant: no other file knows the YAML library.
//! Invariant: no message contains a value, which may be a secret.
//! Invariant: memory is bounded by [`NODES_MAX`], [`EXPANDED_BYTES_MAX`] and
//! [`DEPTH_MAX`] whatever aliases say.

mod comment;
pub(crate) mod format;
pub(crate) mod layout;
mod layout_text;
mod mark;
mod render;
mod scalar;
mod split;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput};
use thiserror::Error;

use crate::diagnostic::{self, Code};
use crate::node::{Entry, Map, Node, Position, Value};
use crate::redact::is_sensitive;

pub use render::{render, render_documents};

/// The most values that one document may have once aliases are expanded.
pub const NODES_MAX: usize = 1_000_000;
/// The most bytes of text that aliases may add to one document.
pub const EXPANDED_BYTES_MAX: usize = 64 << 20;
/// How deep lists and mappings may nest.
pub const DEPTH_MAX: usize = 128;

/// What the library says where a colon is followed by a tab and a word.
const TAB_AFTER_COLON: &str = "':' must be followed by a valid YAML whitespace";
/// The most bytes of a document that are read again because of such tabs.
const PATCHED_BYTES_MAX: usize = 16 << 20;

/// Below this many keys a scan is faster than a set.
const SCAN_KEYS_MAX: usize = 16;

/// One document of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Where its content begins.
    pub at: Position,
    /// Its bytes in the file's text, markers included.
    pub text_range: Range<usize>,
    /// Its value, or why it has none.
    pub result: Result<Node, YamlError>,
}

/// Why a document cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct YamlError {
    /// What kind of mistake.
    pub kind: YamlErrorKind,
    /// Where it was noticed.
    pub at: Position,
    /// One sentence without a full stop and without values.
    pub message: Cow<'static, str>,
}

/// The kinds of [`YamlError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum YamlErrorKind {
    /// Neither YAML nor JSON.
    Syntax,
    /// Bytes that are not UTF-8.
    Encoding,
    /// One key twice in one mapping.
    DuplicateKey,
    /// A key that has no text: a list, a mapping or `null`.
    Key,
    /// An alias that stands inside its own anchor.
    Alias,
    /// A `<<` whose value is neither a mapping nor a list of mappings.
    Merge,
    /// A tag that does not fit its value.
    Tag,
    /// More or deeper than is read.
    Limit,
}

impl YamlErrorKind {
    /// The finding that tells of it.
    pub fn code(self) -> &'static Code {
        match self {
            Self::DuplicateKey => &diagnostic::DUPLICATE_KEY,
            Self::Limit => &diagnostic::LIMIT,
            _ => &diagnostic::YAML_SYNTAX,
        }
    }
}

impl YamlError {
    /// An error from its parts.
    pub fn new(kind: YamlErrorKind, at: Position, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, at, message: message.into() }
    }

    /// The same without the key that occurs twice, which may be a secret.
    fn without_key(self) -> Self {
        let place = self.message.rsplit_once("` occurs twice").map(|(_, place)| place);
        match (self.kind, place) {
            (YamlErrorKind::DuplicateKey, Some(place)) => {
                let message = format!("a key occurs twice{place}");
                Self { message: message.into(), ..self }
            }
            _ => self,
        }
    }
}

/// Reads every document of a file. Documents without content are left out.
pub fn parse(text: &str) -> Vec<Document> {
    split::split(text)
        .into_iter()
        .filter_map(|part| {
            let place = Place { line: part.line, ..Place::START };
            let result = Builder::read(&text[part.range.clone()], place);
            // `null` is what an empty document reads as.
            if result.as_ref().is_ok_and(Node::is_null) {
                return None;
            }
            Some(Document { at: part.content_at, text_range: part.range, result })
        })
        .collect()
}

/// Reads the YAML or JSON that stands inside a value, such as an entry of a
/// ConfigMap. `origin` is where that value's text begins; positions are exact
/// for one-line values and for literal blocks. No content reads as `null`.
pub fn parse_value(text: &str, origin: Position) -> Result<Node, YamlError> {
    let place = Place {
        line: origin.line,
        column_offset: origin.column.saturating_sub(1),
        is_known: origin.line > 0,
    };
    match split::split(text).as_slice() {
        [] => Ok(Node { value: Value::Null, at: origin }),
        [part] => {
            let line = place.line.saturating_add(part.line - 1);
            Builder::read(&text[part.range.clone()], Place { line, ..place })
        }
        [_, second, ..] => {
            let at = place.position(second.line, 0);
            Err(YamlError::new(YamlErrorKind::Syntax, at, "more than one document"))
        }
    }
}

/// Where a piece of text stands in its file.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The line that its first line is.
    line: u32,
    /// What is added to every column.
    column_offset: u32,
    /// Whether it stands in a file at all.
    is_known: bool,
}

impl Place {
    const START: Self = Self { line: 1, column_offset: 0, is_known: true };

    /// The position of a line (from 1) and column (from 0) of the text.
    fn position(self, line: u32, column: u32) -> Position {
        if !self.is_known {
            return Position::default();
        }
        Position::new(
            self.line.saturating_add(line.saturating_sub(1)),
            column.saturating_add(1).saturating_add(self.column_offset),
        )
    }
}

/// A scalar as the library tells of it.
struct Scalar<'t> {
    text: Cow<'t, str>,
    style: ScalarStyle,
    tag: Option<String>,
}

/// A value that an alias can repeat, with what repeating it costs.
struct Anchored {
    node: Node,
    size: Size,
}

/// What a value costs.
#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
    depth: usize,
}

/// A list or mapping that is not complete.
struct Frame {
    at: Position,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map(OpenMap),
}

/// A mapping whose end has not come.
#[derive(Default)]
struct OpenMap {
    map: Map,
    /// All keys, once there are too many for a scan.
    seen: Option<HashSet<Box<str>>>,
    key: PendingKey,
    /// The value of `<<` and where its key stands.
    merge: Option<(Position, Node)>,
}

/// What the next value of a mapping belongs to.
#[derive(Default)]
enum PendingKey {
    #[default]
    None,
    Text(Box<str>, Position),
    Merge(Position),
}

/// Turns the events of one document into a tree, without recursion.
struct Builder {
    place: Place,
    stack: Vec<Frame>,
    root: Option<Node>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    expanded_bytes: usize,
}

impl Builder {
    fn read(text: &str, place: Place) -> Result<Node, YamlError> {
        Self::read_text(text, place).map(|(node, _)| node)
    }

    /// Reads a value; also gives the text that the library could read, which
    /// has the same lines and columns.
    fn read_text(text: &str, place: Place) -> Result<(Node, Cow<'_, str>), YamlError> {
        let mut patched: Option<String> = None;
        let patches_max = PATCHED_BYTES_MAX / text.len().max(1);
        for _ in 0..patches_max {
            let readable = patched.as_deref().unwrap_or(text);
            match Self::read_once(readable, place) {
                Err(Failure::TabAfterColon(marker)) => match with_space(readable, marker.index()) {
                    Some(text) => patched = Some(text),
                    None => break,
                },
                Err(Failure::Final(error)) => return Err(error),
                Ok(node) => return Ok((node, patched.map_or(Cow::Borrowed(text), Cow::Owned))),
            }
        }
        match Self::read_once(patched.as_deref().unwrap_or(text), place) {
            Ok(node) => Ok((node, patched.map_or(Cow::Borrowed(text), Cow::Owned))),
            Err(Failure::Final(error)) => Err(error),
            Err(Failure::TabAfterColon(marker)) => {
                let at = place.position(to_u32(marker.line()), to_u32(marker.col()));
                let message = "a tab follows a colon; write a space";
                Err(YamlError::new(YamlErrorKind::Syntax, at, message))
            }
        }
    }

    fn read_once(text: &str, place: Place) -> Result<Node, Failure> {
        let mut builder = Self {
            place,
            stack: Vec::new(),
            root: None,
            anchors: HashMap::new(),
            nodes: 0,
            expanded_bytes: 0,
        };
        let mut parser = Parser::new(StrInput::new(text));
        let mut documents = 0;
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| builder.syntax(&error))?;
            if matches!(event, Event::DocumentStart(_)) {
                documents += 1;
                if documents > 1 {
                    let at = builder.start_of(span);
                    let message = "content after the end of the document";
                    let error = YamlError::new(YamlErrorKind::Syntax, at, message);
                    return Err(Failure::Final(error));
                }
            }
            builder.event(event, span)?;
        }
        Ok(builder.root.unwrap_or_default())
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), YamlError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.map(|tag| scalar::tag_name(&tag.handle, &tag.suffix));
                let node = self.scalar(Scalar { text, style, tag }, span)?;
                node.map_or(Ok(()), |node| self.complete(node, anchor))
            }
            Event::Alias(anchor) => self.alias(anchor, span),
            Event::SequenceStart(anchor, _) => self.open(Content::List(Vec::new()), anchor, span),
            Event::MappingStart(anchor, _) => {
                self.open(Content::Map(OpenMap::default()), anchor, span)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    /// The value of a scalar; none where it is the key `<<`.
    fn scalar(&mut self, scalar: Scalar<'_>, span: Span) -> Result<Option<Node>, YamlError> {
        let Scalar { text, style, tag } = scalar;
        let is_plain = style == ScalarStyle::Plain;
        let at = match style {
            ScalarStyle::Literal | ScalarStyle::Folded => self.start_of_block(&text, span),
            _ if is_plain && text.is_empty() => self.start_of_nothing(span),
            _ => self.start_of(span),
        };
        if let Some(OpenMap { key: key @ PendingKey::None, .. }) = self.open_map()
            && scalar::is_merge_key(&text, is_plain, tag.as_deref())
        {
            *key = PendingKey::Merge(at);
            return Ok(None);
        }
        let value = match tag {
            None if is_plain => scalar::resolve(text),
            None => Value::String(text.into()),
            Some(tag) => scalar::resolve_tagged(&tag, text)
                .map_err(|message| YamlError::new(YamlErrorKind::Tag, at, message))?,
        };
        Ok(Some(Node { value, at }))
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), YamlError> {
        let at = self.start_of(span);
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err(YamlError::new(
                YamlErrorKind::Alias,
                at,
                "an alias stands inside its own anchor",
            ));
        };
        let size = anchored.size;
        if self.stack.len() + size.depth > DEPTH_MAX {
            return Err(too_deep(at));
        }
        self.charge(size, at)?;
        let node = self.anchors.get(&anchor).map(|anchored| anchored.node.clone());
        self.complete(node.unwrap_or_default(), 0)
    }

    fn open(&mut self, content: Content, anchor: usize, span: Span) -> Result<(), YamlError> {
        let at = self.start_of(span);
        if self.stack.len() >= DEPTH_MAX {
            return Err(too_deep(at));
        }
        if let Some(OpenMap { key: PendingKey::None, .. }) = self.open_map() {
            return Err(invalid_key(at));
        }
        self.stack.push(Frame { at, anchor, content });
        Ok(())
    }

    fn close(&mut self) -> Result<(), YamlError> {
        let Some(Frame { at, anchor, content }) = self.stack.pop() else {
            return Ok(());
        };
        let value = match content {
            Content::List(list) => Value::List(list),
            Content::Map(open) => Value::Map(open.merged()?),
        };
        self.complete(Node { value, at }, anchor)
    }

    /// Puts a finished value where it belongs.
    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), YamlError> {
        let at = node.at;
        self.charge(Size { nodes: 1, ..Size::default() }, at)?;
        if anchor != 0 {
            let size = measure(&node);
            self.charge(size, at)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), size });
        }
        match self.stack.last_mut() {
            None => {
                self.root = Some(node);
                Ok(())
            }
            Some(Frame { content: Content::List(list), .. }) => {
                list.push(node);
                Ok(())
            }
            Some(Frame { content: Content::Map(open), .. }) => match open.put(node) {
                Err(error) if self.is_below_secrets() => Err(error.without_key()),
                result => result,
            },
        }
    }

    /// Whether the innermost mapping stands where keys and tokens are expected,
    /// so that what it has for a key may be one.
    fn is_below_secrets(&self) -> bool {
        self.stack.iter().rev().skip(1).any(|frame| match &frame.content {
            Content::Map(OpenMap { key: PendingKey::Text(key, _), .. }) => {
                let key = key.to_ascii_lowercase();
                key == "values" || is_sensitive(&key)
            }
            _ => false,
        })
    }

    fn charge(&mut self, size: Size, at: Position) -> Result<(), YamlError> {
        self.nodes += size.nodes;
        self.expanded_bytes += size.bytes;
        if self.nodes > NODES_MAX || self.expanded_bytes > EXPANDED_BYTES_MAX {
            return Err(YamlError::new(
                YamlErrorKind::Limit,
                at,
                format!("more than {NODES_MAX} values or {EXPANDED_BYTES_MAX} bytes of aliases"),
            ));
        }
        Ok(())
    }

    fn open_map(&mut self) -> Option<&mut OpenMap> {
        match self.stack.last_mut() {
            Some(Frame { content: Content::Map(open), .. }) => Some(open),
            _ => None,
        }
    }

    fn start_of(&self, span: Span) -> Position {
        self.place.position(to_u32(span.start.line()), to_u32(span.start.col()))
    }

    /// An absent value stands where its key does: the library puts it where
    /// the next token begins, which may be lines away.
    fn start_of_nothing(&mut self, span: Span) -> Position {
        match self.open_map() {
            Some(OpenMap { key: PendingKey::Text(_, at), .. }) => *at,
            _ => self.start_of(span),
        }
    }

    /// The library puts a block scalar where its first line that is not blank
    /// begins; the blank ones before it are text, too.
    fn start_of_block(&self, text: &str, span: Span) -> Position {
        let at = self.start_of(span);
        let blank = text.len() - text.trim_start_matches('\n').len();
        if blank == text.len() {
            return at;
        }
        Position { line: at.line.saturating_sub(to_u32(blank)), ..at }
    }

    fn syntax(&self, error: &ScanError) -> Failure {
        if error.info() == TAB_AFTER_COLON {
            return Failure::TabAfterColon(*error.marker());
        }
        let at = self.place.position(to_u32(error.marker().line()), to_u32(error.marker().col()));
        Failure::Final(YamlError::new(YamlErrorKind::Syntax, at, error.info().to_owned()))
    }
}

/// Why a document could not be read this time.
enum Failure {
    /// Nothing helps.
    Final(YamlError),
    /// The library wants a space after a colon, before this place. Kubernetes
    /// takes a tab as well.
    TabAfterColon(Marker),
}

impl From<YamlError> for Failure {
    fn from(error: YamlError) -> Self {
        Self::Final(error)
    }
}

/// The text with a space instead of the tab before its `index`th character.
/// Only the library knows which tabs are not part of a value.
fn with_space(text: &str, index: usize) -> Option<String> {
    let (at, tab) = text.char_indices().nth(index.checked_sub(1)?)?;
    if tab != '\t' {
        return None;
    }
    let mut text = text.to_owned();
    text.replace_range(at..=at, " ");
    Some(text)
}

impl OpenMap {
    /// Takes the next key or value.
    fn put(&mut self, node: Node) -> Result<(), YamlError> {
        match std::mem::take(&mut self.key) {
            PendingKey::None => {
                let at = node.at;
                let key = scalar::key_text(node.value).ok_or_else(|| invalid_key(at))?;
                self.check_unique(&key, at)?;
                self.key = PendingKey::Text(key, at);
            }
            PendingKey::Text(key, key_at) => {
                if let Some(seen) = &mut self.seen {
                    seen.insert(key.clone());
                }
                self.map.entries.push(Entry { key, key_at, node });
                if self.seen.is_none() && self.map.entries.len() > SCAN_KEYS_MAX {
                    self.seen =
                        Some(self.map.entries.iter().map(|entry| entry.key.clone()).collect());
                }
            }
            PendingKey::Merge(key_at) => {
                if let Some((first, _)) = &self.merge {
                    return Err(duplicate("<<", key_at, *first));
                }
                self.merge = Some((key_at, node));
            }
        }
        Ok(())
    }

    fn has(&self, key: &str) -> bool {
        match &self.seen {
            Some(seen) => seen.contains(key),
            None => self.map.entry(key).is_some(),
        }
    }

    fn check_unique(&self, key: &str, at: Position) -> Result<(), YamlError> {
        if !self.has(key) {
            return Ok(());
        }
        let first = self.map.entry(key).map(|entry| entry.key_at).unwrap_or_default();
        Err(duplicate(key, at, first))
    }

    /// The mapping with what `<<` adds: earlier mappings win over later ones.
    fn merged(mut self) -> Result<Map, YamlError> {
        let Some((at, node)) = self.merge.take() else { return Ok(self.map) };
        let sources = match node.value {
            Value::Map(map) => vec![map],
            Value::List(list) => list
                .into_iter()
                .map(|node| match node.value {
                    Value::Map(map) => Ok(map),
                    _ => Err(invalid_merge(node.at)),
                })
                .collect::<Result<_, _>>()?,
            _ => return Err(invalid_merge(at)),
        };
        for entry in sources.into_iter().flat_map(|map| map.entries) {
            if !self.has(&entry.key) {
                self.key = PendingKey::Text(entry.key, entry.key_at);
                self.put(entry.node)?;
            }
        }
        Ok(self.map)
    }
}

fn duplicate(key: &str, at: Position, first: Position) -> YamlError {
    let shown: String = key.chars().take(64).collect();
    let place = match first.line {
        0 => String::new(),
        line => format!("; the first is on line {line}"),
    };
    YamlError::new(YamlErrorKind::DuplicateKey, at, format!("key `{shown}` occurs twice{place}"))
}

fn invalid_key(at: Position) -> YamlError {
    YamlError::new(YamlErrorKind::Key, at, "a key must be text, a number or a boolean")
}

fn invalid_merge(at: Position) -> YamlError {
    YamlError::new(YamlErrorKind::Merge, at, "`<<` needs a mapping or a list of mappings")
}

fn too_deep(at: Position) -> YamlError {
    YamlError::new(YamlErrorKind::Limit, at, format!("nested deeper than {DEPTH_MAX} levels"))
}

/// The recursion is bounded by [`DEPTH_MAX`], which every tree here obeys.
fn measure(node: &Node) -> Size {
    let of = |nodes: &mut dyn Iterator<Item = (usize, &Node)>| {
        nodes.fold(Size { nodes: 1, bytes: 0, depth: 1 }, |sum, (key_bytes, node)| {
            let size = measure(node);
            Size {
                nodes: sum.nodes + size.nodes,
                bytes: sum.bytes + key_bytes + size.bytes,
                depth: sum.depth.max(size.depth + 1),
            }
        })
    };
    match &node.value {
        Value::List(list) => of(&mut list.iter().map(|node| (0, node))),
        Value::Map(map) => of(&mut map.entries.iter().map(|entry| (entry.key.len(), &entry.node))),
        Value::String(text) => Size { nodes: 1, bytes: text.len(), depth: 0 },
        _ => Size { nodes: 1, bytes: 0, depth: 0 },
    }
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
