//! The comments and blank lines of a text, which its tree does not have.
//!
//! The parser's spans tell what is text of a value. Outside of them a `#` can
//! only begin a comment, since texts with anchors and tags do not come here.

use std::ops::Range;

use super::mark::{Mark, MarkKind, Style};

/// A comment or a blank line.
#[derive(Debug)]
pub(super) struct Remark<'t> {
    /// Its first byte.
    pub(super) start: usize,
    /// The line, from 1.
    pub(super) line: u32,
    /// The column, from 0.
    pub(super) column: u32,
    /// Whether nothing else stands on its line.
    pub(super) has_own_line: bool,
    /// From the `#` on; nothing for a blank line.
    pub(super) text: &'t str,
}

/// The remarks of a text whose values cover these bytes, in their order.
pub(super) fn gather<'t>(text: &'t str, covered: &[Range<usize>]) -> Vec<Remark<'t>> {
    let mut remarks = Vec::new();
    let mut covered = covered.iter().peekable();
    let mut start = 0;
    let mut number = 0u32;
    for line in text.split_inclusive('\n') {
        number = number.saturating_add(1);
        let end = start + line.len();
        let mut free_from = start;
        let mut found = None;
        while found.is_none() && free_from < end {
            while covered.next_if(|range| range.end <= free_from).is_some() {}
            let (free_to, next) = match covered.peek() {
                Some(range) if range.start < end => (range.start.max(free_from), range.end),
                _ => (end, end),
            };
            found = text[free_from..free_to].find('#').map(|index| free_from + index);
            free_from = next;
        }
        let is_covered_before = free_from > end;
        let hash = found.unwrap_or(end);
        let before = &text[start..hash];
        let is_blank = before.trim_matches([' ', '\t', '\n']).is_empty();
        if found.is_some() || (is_blank && !is_covered_before && !covers(&mut covered, start)) {
            remarks.push(Remark {
                start: hash.min(end.saturating_sub(1)),
                line: number,
                column: super::to_u32(before.chars().count()),
                has_own_line: is_blank,
                text: text[hash..end].trim_end(),
            });
        }
        start = end;
    }
    remarks
}

/// Whether the next of these ranges has this byte.
fn covers<'r>(
    ranges: &mut std::iter::Peekable<impl Iterator<Item = &'r Range<usize>>>,
    byte: usize,
) -> bool {
    ranges.peek().is_some_and(|range| range.contains(&byte))
}

/// The bytes that a mark's value covers: of a block scalar, also the blank
/// lines in front, but none behind that are not part of it.
pub(super) fn covered(text: &str, mark: &Mark) -> Range<usize> {
    let Range { start, end } = mark.range.clone();
    let MarkKind::Scalar { value: super::Value::String(value), style: Style::Block } = &mark.kind
    else {
        return start..end;
    };
    if value.trim_matches('\n').is_empty() {
        return start..start;
    }
    let blank = |line: &&str| line.trim_matches([' ', '\n']).is_empty();
    let before = text.get(..start).unwrap_or_default();
    let first_line = before.rfind('\n').map_or(0, |index| index + 1);
    let lines = before[..first_line].split_inclusive('\n').rev();
    let in_front: usize = lines.take_while(blank).map(str::len).sum();
    let body = text.get(start..end).unwrap_or_default();
    let last = value.strip_suffix('\n').unwrap_or(value).rsplit('\n').next();
    let behind: usize = match last.is_some_and(|line| line.trim_matches([' ', '\t']).is_empty()) {
        true => 0,
        false => body.split_inclusive('\n').rev().take_while(blank).map(str::len).sum(),
    };
    first_line - in_front..end - behind
}
