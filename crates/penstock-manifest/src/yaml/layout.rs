//! A document as it is written: its tree with the comments and blank lines
//! that belong to each part.
//!
//! A comment on its own line belongs to what follows; one behind a value, to
//! that value. Where a collection ends, a comment that is indented deeper
//! than what follows still belongs to the collection.
//!
//! Invariant: every comment of the text is in exactly one place.

use std::ops::Range;
use std::vec::IntoIter;

use super::comment::{self, Remark};
use super::mark::{Mark, MarkKind, Style, Unmarked, marks};
use super::scalar;
use crate::node::{Node, Position, Value};

/// The number of an [`Element`].
pub(crate) type Id = usize;

/// A document: the first element is its root.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    pub(super) elements: Vec<Element>,
    /// The comments above the document's marker, if it has one.
    pub(super) above_marker: Vec<Box<str>>,
    pub(super) has_marker: bool,
}

/// An entry of a mapping, an item of a list, or the root.
#[derive(Debug, Default)]
pub(super) struct Element {
    /// None for items and the root.
    pub(super) key: Option<Box<str>>,
    pub(super) content: Content,
    /// What stands above it; a blank line is empty.
    pub(super) above: Vec<Box<str>>,
    /// The comment behind it.
    pub(super) behind: Option<Box<str>>,
    /// What stands below its last part.
    pub(super) below: Vec<Box<str>>,
    /// The column that it begins on.
    column: u32,
    /// The column that its parts begin on.
    parts_column: u32,
}

#[derive(Debug)]
pub(super) enum Content {
    Leaf(Node),
    /// As it is written: readers differ about what `0644` or `yes` is.
    Bare(Box<str>),
    Map(Vec<Id>),
    List(Vec<Id>),
}

impl Default for Content {
    fn default() -> Self {
        Self::Leaf(Node::default())
    }
}

impl Content {
    pub(super) fn parts(&self) -> &[Id] {
        match self {
            Self::Map(parts) | Self::List(parts) => parts,
            Self::Leaf(_) | Self::Bare(_) => &[],
        }
    }
}

impl Layout {
    /// The layout of a text that can be read. A failure is a place whose form
    /// would be lost.
    pub(super) fn of(text: &str) -> Result<Self, Unmarked> {
        let marks = marks(text)?;
        let covered: Vec<Range<usize>> = marks
            .iter()
            .filter(|mark| matches!(mark.kind, MarkKind::Scalar { .. }))
            .map(|mark| comment::covered(text, mark))
            .filter(|range| !range.is_empty())
            .collect();
        let mut layout = Self { elements: vec![Element::default()], ..Self::default() };
        let marker_line = marker_line(text)?;
        let mut remarks = comment::gather(text, &covered);
        if let Some(line) = marker_line {
            layout.has_marker = true;
            let count = remarks.iter().take_while(|remark| remark.line < line).count();
            let above = remarks.drain(..count).filter(|remark| !remark.text.is_empty());
            layout.above_marker = above.map(|remark| remark.text.into()).collect();
        }
        let mut reader = Reader {
            text,
            layout,
            remarks: remarks.into_iter().peekable(),
            open: Vec::new(),
            closed: Vec::new(),
            fresh: None,
            last: Last::default(),
        };
        for mark in marks {
            reader.take(mark);
        }
        reader.settle(usize::MAX, &Next::End);
        let mut layout = reader.layout;
        // What stands inside empty brackets. Below a root is the document's end.
        for element in layout.elements.iter_mut().skip(1) {
            if element.content.parts().is_empty() {
                let below = std::mem::take(&mut element.below);
                element.above.extend(below);
            }
        }
        layout.set_head_apart();
        Ok(layout)
    }

    /// What begins a file stays there, wherever its first field goes: all
    /// above the last blank line, and what an editor reads.
    fn set_head_apart(&mut self) {
        let Some(&first) = self.elements.first().and_then(|root| root.content.parts().first())
        else {
            return;
        };
        let Some(element) = self.elements.get_mut(first) else { return };
        let is_head = |line: &str| line.is_empty() || line.starts_with("# yaml-language-server:");
        let count =
            element.above.iter().rposition(|line| is_head(line)).map_or(0, |index| index + 1);
        let head: Vec<_> = element.above.drain(..count).collect();
        if let Some(root) = self.elements.first_mut() {
            root.above.splice(0..0, head);
        }
    }

    /// The keys of a mapping with the elements behind them.
    pub(crate) fn entries(&self, id: Id) -> impl Iterator<Item = (&str, Id)> {
        self.parts(id)
            .iter()
            .filter_map(|&part| Some((self.elements.get(part)?.key.as_deref()?, part)))
    }

    /// The entries of a mapping, or the items of a list.
    pub(crate) fn parts(&self, id: Id) -> &[Id] {
        self.elements.get(id).map(|element| element.content.parts()).unwrap_or_default()
    }

    /// Whether it is a list, or nothing at all.
    pub(crate) fn is_list_or_null(&self, id: Id) -> bool {
        self.elements.get(id).is_some_and(|element| match &element.content {
            Content::List(_) => true,
            Content::Leaf(node) => node.is_null(),
            Content::Bare(_) | Content::Map(_) => false,
        })
    }

    /// Orders the entries of a mapping by a rank; those of one rank stay in
    /// the order that they have.
    pub(crate) fn sort_entries(&mut self, id: Id, rank: impl Fn(&str) -> usize) {
        let mut ranked: Vec<(usize, Id)> =
            self.entries(id).map(|(key, part)| (rank(key), part)).collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        if let Some(Element { content: Content::Map(parts), .. }) = self.elements.get_mut(id) {
            *parts = ranked.into_iter().map(|(_, part)| part).collect();
        }
    }

    /// All comments, wherever they stand.
    pub(super) fn comments(&self) -> impl Iterator<Item = &str> {
        let placed = self
            .elements
            .iter()
            .flat_map(|element| element.above.iter().chain(&element.behind).chain(&element.below));
        placed.chain(&self.above_marker).map(|text| &**text).filter(|text| !text.is_empty())
    }
}

/// The line of `---`, where nothing but comments stands above it.
fn marker_line(text: &str) -> Result<Option<u32>, Unmarked> {
    for (line, number) in text.lines().zip(1u32..) {
        if line.starts_with('%') {
            return Err(Unmarked(Position::new(number, 1)));
        }
        if line.starts_with("---") && line[3..].trim_start().len() < line[3..].len().max(1) {
            return Ok(Some(number));
        }
        let content = line.trim_start();
        if !content.is_empty() && !content.starts_with('#') {
            break;
        }
    }
    Ok(None)
}

/// What is being read.
struct Reader<'t> {
    text: &'t str,
    layout: Layout,
    /// Those that have no place yet.
    remarks: std::iter::Peekable<IntoIter<Remark<'t>>>,
    open: Vec<Open>,
    /// The block collections that ended since the last visible mark.
    closed: Vec<Id>,
    /// The outermost element that began since then.
    fresh: Option<Id>,
    last: Last,
}

/// A collection whose end has not come.
struct Open {
    id: Id,
    is_flow: bool,
    is_map: bool,
    /// The entry whose key has come.
    entry: Option<Id>,
}

/// The last visible mark.
#[derive(Default)]
struct Last {
    kind: LastKind,
    id: Id,
    end: usize,
    /// The line on which a comment stands behind it; none has the number 0.
    line: u32,
}

#[derive(Default, PartialEq, Eq)]
enum LastKind {
    #[default]
    Nothing,
    Key,
    Leaf,
    Bracket,
}

/// What the remarks that have no place yet are followed by.
enum Next {
    /// An element, or the value of one.
    Element {
        id: Id,
        value: Option<Style>,
    },
    /// The closing bracket of a collection.
    Bracket(Id),
    End,
}

impl Reader<'_> {
    fn take(&mut self, mark: Mark) {
        match mark.kind {
            MarkKind::Open { is_map } => self.open(is_map, &mark),
            MarkKind::Close => self.close(&mark),
            MarkKind::Scalar { .. } => self.scalar(mark),
        }
    }

    fn open(&mut self, is_map: bool, mark: &Mark) {
        let is_flow = !mark.range.is_empty();
        let id = self.begin(mark);
        let column = match is_map || is_flow {
            true => mark.column,
            false => self.dash_column(id, mark),
        };
        if is_flow {
            let next = self.fresh.unwrap_or(id);
            self.settle(mark.range.start, &Next::Element { id: next, value: None });
            self.last =
                Last { kind: LastKind::Bracket, id, end: mark.range.start + 1, line: mark.line };
        }
        if let Some(element) = self.layout.elements.get_mut(id) {
            element.content = match is_map {
                true => Content::Map(Vec::new()),
                false => Content::List(Vec::new()),
            };
            element.parts_column = column;
        }
        self.open.push(Open { id, is_flow, is_map, entry: None });
    }

    /// The library puts a list that is not indented behind its first dash.
    fn dash_column(&self, id: Id, mark: &Mark) -> u32 {
        if self.layout.elements.get(id).is_none_or(|element| element.key.is_none()) {
            return mark.column;
        }
        let between = self.text.get(self.last.end..=mark.range.start);
        let between = between.or_else(|| self.text.get(self.last.end..)).unwrap_or_default();
        let mut offset = self.last.end;
        for line in between.split_inclusive('\n') {
            let content = line.split('#').next().unwrap_or(line);
            if let Some(index) = content.find('-') {
                let before = self.text.get(..offset + index).unwrap_or_default();
                let line_start = before.rfind('\n').map_or(0, |index| index + 1);
                return super::to_u32(before[line_start..].chars().count());
            }
            offset += line.len();
        }
        mark.column
    }

    fn close(&mut self, mark: &Mark) {
        let Some(Open { id, is_flow, .. }) = self.open.pop() else { return };
        if !is_flow {
            self.closed.push(id);
            return;
        }
        // A pair without braces inside a list ends where nothing is to see.
        if !self.text[mark.range.start..].starts_with([']', '}']) {
            return;
        }
        self.settle(mark.range.start, &Next::Bracket(id));
        let end = mark.range.start + 1;
        self.last = Last { kind: LastKind::Bracket, id, end, line: mark.line };
    }

    fn scalar(&mut self, mark: Mark) {
        let range = comment::covered(self.text, &mark);
        let MarkKind::Scalar { value, style } = mark.kind else { return };
        if let Some(Open { is_map: true, entry: None, id, .. }) = self.open.last() {
            let parent = *id;
            let key = scalar::key_text(value).unwrap_or_default();
            let id = self.add(Some(key), mark.column, parent);
            if let Some(open) = self.open.last_mut() {
                open.entry = Some(id);
            }
            let next = self.fresh.unwrap_or(id);
            self.settle(range.start, &Next::Element { id: next, value: None });
            self.last = Last { kind: LastKind::Key, id, end: range.end, line: mark.end_line };
            return;
        }
        let is_nothing = style == Style::Plain && range.is_empty();
        let is_entry = self.open.last().is_some_and(|open| open.is_map);
        let id = self.begin_at(mark.column);
        let spelling = self.text.get(range.clone()).unwrap_or_default();
        let content = match value {
            value @ Value::String(_) => Content::Leaf(Node::synthetic(value)),
            value if spelling.is_empty() => Content::Leaf(Node::synthetic(value)),
            _ => Content::Bare(spelling.into()),
        };
        if let Some(element) = self.layout.elements.get_mut(id) {
            element.content = content;
        }
        if is_nothing && is_entry {
            // It is where its key is.
            self.last = Last { kind: LastKind::Leaf, id, ..std::mem::take(&mut self.last) };
            return;
        }
        let next = self.fresh.unwrap_or(id);
        self.settle(range.start, &Next::Element { id: next, value: Some(style) });
        let line = if style == Style::Block { 0 } else { mark.end_line };
        self.last = Last { kind: LastKind::Leaf, id, end: range.end.max(range.start), line };
    }

    fn begin(&mut self, mark: &Mark) -> Id {
        self.begin_at(mark.column)
    }

    /// The element whose value begins.
    fn begin_at(&mut self, column: u32) -> Id {
        let Some(open) = self.open.last_mut() else { return 0 };
        if let Some(entry) = open.entry.take() {
            return entry;
        }
        let parent = open.id;
        let column = if open.is_flow { column } else { self.parts_column(parent) };
        self.add(None, column, parent)
    }

    fn parts_column(&self, id: Id) -> u32 {
        self.layout.elements.get(id).map_or(0, |element| element.parts_column)
    }

    fn add(&mut self, key: Option<Box<str>>, column: u32, parent: Id) -> Id {
        let id = self.layout.elements.len();
        self.layout.elements.push(Element { key, column, ..Element::default() });
        if let Some(Content::Map(parts) | Content::List(parts)) =
            self.layout.elements.get_mut(parent).map(|element| &mut element.content)
        {
            parts.push(id);
        }
        self.fresh.get_or_insert(id);
        id
    }

    /// Gives everything before this byte its place.
    fn settle(&mut self, end: usize, next: &Next) {
        let mut is_behind_blank = false;
        // None goes deeper than one in front of it: they stay in their order.
        let mut column_max = u32::MAX;
        while let Some(mut remark) = self.remarks.next_if(|remark| remark.start < end) {
            if remark.text.is_empty() {
                is_behind_blank = true;
                continue;
            }
            if let Some(element) = self.behind(&remark, next) {
                element.behind = Some(remark.text.into());
                continue;
            }
            column_max = column_max.min(remark.column);
            remark.column = column_max;
            let lines = self.lines(&remark, next);
            if std::mem::take(&mut is_behind_blank) {
                lines.push("".into());
            }
            lines.push(remark.text.into());
        }
        if let (true, Next::Element { id, .. }) = (is_behind_blank, next)
            && self.fresh.is_some()
            && let Some(element) = self.layout.elements.get_mut(*id)
        {
            element.above.push("".into());
        }
        self.closed.clear();
        self.fresh = None;
    }

    /// The element that a comment stands behind, if it may stand there.
    fn behind(&mut self, remark: &Remark<'_>, next: &Next) -> Option<&mut Element> {
        if remark.has_own_line {
            return None;
        }
        let value = match next {
            Next::Element { id, value: Some(style) } => Some((*id, *style)),
            _ => None,
        };
        let id = if remark.line != self.last.line {
            match value {
                Some((id, Style::Block)) => id,
                _ => return None,
            }
        } else {
            match (&self.last.kind, value) {
                (LastKind::Nothing, _) => return None,
                (LastKind::Key, Some((id, style))) if id == self.last.id => {
                    (style == Style::Block).then_some(id)?
                }
                _ => self.last.id,
            }
        };
        let element = self.layout.elements.get_mut(id)?;
        let has_line =
            element.key.is_some() || matches!(element.content, Content::Leaf(_) | Content::Bare(_));
        (has_line && element.behind.is_none()).then_some(element)
    }

    /// The lines that a comment joins.
    fn lines(&mut self, remark: &Remark<'_>, next: &Next) -> &mut Vec<Box<str>> {
        let is_behind = !remark.has_own_line && remark.line == self.last.line;
        let (id, is_below) = match next {
            _ if is_behind && self.last.kind != LastKind::Nothing => (self.last.id, false),
            Next::Bracket(id) => (*id, true),
            Next::Element { id, .. } => match self.ended_around(remark, *id) {
                Some(ended) => (ended, true),
                None => (*id, false),
            },
            Next::End => (self.ended_around(remark, 0).unwrap_or(0), true),
        };
        // Every number is one that `add` gave, or the root's.
        let last = self.layout.elements.len() - 1;
        let element = &mut self.layout.elements[id.min(last)];
        if is_below { &mut element.below } else { &mut element.above }
    }

    /// The collection that just ended and that a comment still belongs to.
    fn ended_around(&self, remark: &Remark<'_>, next: Id) -> Option<Id> {
        let next_column = self.layout.elements.get(next).map_or(0, |element| element.column);
        if !remark.has_own_line || remark.column <= next_column {
            return None;
        }
        self.closed.iter().copied().find(|id| self.parts_column(*id) <= remark.column)
    }
}
