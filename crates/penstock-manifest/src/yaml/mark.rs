//! A text as the steps that a reader of it takes, with the bytes that each
//! covers: what a tree does not keep.
//!
//! A text with something that a tree could not give back, such as an anchor,
//! has no marks.

use std::ops::Range;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, StrInput};

use super::{Place, scalar, to_u32};
use crate::node::{Position, Value};

/// One step of a document's text, for those who need to know how it is
/// written.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) kind: MarkKind,
    /// Its bytes; none where only its place shows it.
    pub(super) range: Range<usize>,
    /// The line that it begins on, from 1.
    pub(super) line: u32,
    /// The line that it ends on, from 1.
    pub(super) end_line: u32,
    /// The column that it begins on, from 0.
    pub(super) column: u32,
}

#[derive(Debug)]
pub(super) enum MarkKind {
    Scalar { value: Value, style: Style },
    Open { is_map: bool },
    Close,
}

/// How a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Quoted,
    Block,
}

/// What a tree does not tell: an anchor, an alias, a tag or a merge.
pub(super) struct Unmarked(pub(super) Position);

/// The steps of a text that [`Builder::read_text`] could read.
pub(super) fn marks(text: &str) -> Result<Vec<Mark>, Unmarked> {
    let mut offsets: Vec<usize> = text.char_indices().map(|(offset, _)| offset).collect();
    offsets.push(text.len());
    let offset = |marker: Marker| offsets.get(marker.index()).copied().unwrap_or(text.len());
    let mut parser = Parser::new(StrInput::new(text));
    let mut marks = Vec::new();
    while let Some(Ok((event, span))) = parser.next_event() {
        let at = Place::START.position(to_u32(span.start.line()), to_u32(span.start.col()));
        let kind = match event {
            Event::Scalar(text, style, 0, None) => {
                let style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
                    ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                };
                let is_plain = style == Style::Plain;
                if scalar::is_merge_key(&text, is_plain, None) {
                    return Err(Unmarked(at));
                }
                let value =
                    if is_plain { scalar::resolve(text) } else { Value::String(text.into()) };
                MarkKind::Scalar { value, style }
            }
            Event::SequenceStart(0, None) => MarkKind::Open { is_map: false },
            Event::MappingStart(0, None) => MarkKind::Open { is_map: true },
            Event::SequenceEnd | Event::MappingEnd => MarkKind::Close,
            Event::Alias(_)
            | Event::Scalar(..)
            | Event::SequenceStart(..)
            | Event::MappingStart(..) => return Err(Unmarked(at)),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => continue,
        };
        let start = offset(span.start);
        let end = match kind {
            // The library counts what it skips behind a quote to its text.
            MarkKind::Scalar { style: Style::Quoted, .. } => start + quoted_bytes(&text[start..]),
            _ => offset(span.end),
        };
        let line = to_u32(span.start.line());
        marks.push(Mark {
            kind,
            range: start..end,
            line,
            end_line: line.saturating_add(to_u32(text[start..end].matches('\n').count())),
            column: to_u32(span.start.col()),
        });
    }
    Ok(marks)
}

/// The length of the quoted text that a text begins with.
fn quoted_bytes(text: &str) -> usize {
    let quote = text.chars().next().unwrap_or('"');
    let mut is_escaped = false;
    let mut bytes = text.bytes().enumerate().skip(1).peekable();
    while let Some((index, byte)) = bytes.next() {
        if is_escaped {
            is_escaped = false;
        } else if quote == '"' && byte == b'\\' {
            is_escaped = true;
        } else if char::from(byte) == quote {
            match quote == '\'' && bytes.peek().is_some_and(|(_, byte)| *byte == b'\'') {
                true => is_escaped = true,
                false => return index + 1,
            }
        }
    }
    text.len()
}
