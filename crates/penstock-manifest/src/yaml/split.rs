//! Cuts a text at its document markers, before anything is parsed.
//!
//! A line that begins with `---` or `...` and a blank ends a document
//! wherever it stands: YAML forbids such a line inside quoted text and flow
//! collections, and in block scalars it cannot be indented less than the
//! content. So no parsing is needed, and a broken document cannot swallow the
//! next one.

use std::ops::Range;

use crate::node::Position;

/// A document's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Its bytes, with directives and opening marker, without closing marker.
    pub(super) range: Range<usize>,
    /// The line that the range begins on, from 1.
    pub(super) line: u32,
    /// Where its content begins.
    pub(super) content_at: Position,
}

/// The documents of a text; those without content are left out.
pub(super) fn split(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    // A byte order mark is not part of the first line's content.
    let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut open = Open::prolog(start, 1);
    for (number, line) in lines(text, start) {
        let content = &text[line.clone()];
        match marker(content) {
            Some(Marker::Start) if !open.is_in_prolog => {
                open.finish(line.start, &mut parts);
                open = Open::prolog(line.start, number);
                open.is_in_prolog = false;
                open.note_content(&content[3..], 3, number);
            }
            Some(Marker::Start) => {
                open.is_in_prolog = false;
                open.note_content(&content[3..], 3, number);
            }
            Some(Marker::End) => {
                open.finish(line.start, &mut parts);
                open = Open::prolog(line.end, number + 1);
            }
            None if open.is_in_prolog && content.starts_with('%') => {}
            None => {
                open.note_content(content, 0, number);
                open.is_in_prolog &= open.content_at.is_none();
            }
        }
    }
    open.finish(text.len(), &mut parts);
    parts
}

/// A document whose end has not come.
struct Open {
    start: usize,
    line: u32,
    /// Whether neither its marker nor its content has come, only directives.
    is_in_prolog: bool,
    content_at: Option<Position>,
}

impl Open {
    fn prolog(start: usize, line: u32) -> Self {
        Self { start, line, is_in_prolog: true, content_at: None }
    }

    /// Remembers the place of the first content.
    fn note_content(&mut self, content: &str, column: usize, line: u32) {
        if self.content_at.is_some() {
            return;
        }
        let blanks = content.len() - content.trim_start_matches([' ', '\t']).len();
        match content.as_bytes().get(blanks) {
            None | Some(b'\n' | b'\r' | b'#') => {}
            Some(_) => {
                self.content_at = Some(Position::new(line, super::to_u32(column + blanks + 1)));
            }
        }
    }

    fn finish(&self, end: usize, parts: &mut Vec<Part>) {
        if let Some(content_at) = self.content_at {
            parts.push(Part { range: self.start..end, line: self.line, content_at });
        }
    }
}

enum Marker {
    Start,
    End,
}

fn marker(line: &str) -> Option<Marker> {
    let bytes = line.as_bytes();
    if !matches!(bytes.get(3), None | Some(b' ' | b'\t' | b'\n' | b'\r')) {
        return None;
    }
    match bytes.get(..3) {
        Some(b"---") => Some(Marker::Start),
        Some(b"...") => Some(Marker::End),
        _ => None,
    }
}

/// The lines of a text with their numbers, breaks included. A break is LF,
/// CR LF or CR, as in YAML, so that numbers agree with the parser's.
fn lines(text: &str, start: usize) -> impl Iterator<Item = (u32, Range<usize>)> + '_ {
    let bytes = text.as_bytes();
    let mut at = start;
    let mut number = 0u32;
    std::iter::from_fn(move || {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let length = match rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            None => rest.len(),
            Some(index) if rest[index] == b'\r' && rest.get(index + 1) == Some(&b'\n') => index + 2,
            Some(index) => index + 1,
        };
        let line = at..at + length;
        at = line.end;
        number = number.saturating_add(1);
        Some((number, line))
    })
}
