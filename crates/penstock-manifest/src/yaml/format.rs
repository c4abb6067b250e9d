//! A file's documents as they are written, to be arranged and printed again.
//!
//! Invariant: what is printed reads as the same documents, has every comment,
//! and is printed the same when it is arranged again; a text for which that
//! does not hold is refused.

use super::layout::Layout;
use super::mark::Unmarked;
use super::{Builder, Document, Place, YamlError, split};
use crate::node::Position;

/// Why a text cannot be printed again.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It cannot be read.
    Broken(Vec<YamlError>),
    /// It has something that would be lost.
    Kept { at: Position, reason: &'static str },
}

const NOT_TREE: &str = "anchors, aliases, merges, tags and directives are not formatted";
const DIFFERS: &str = "it cannot be formatted without changing what it says";

/// A part of a file.
enum Section {
    Document(Box<Layout>),
    /// A part that has comments and no content.
    Comments(Vec<Box<str>>),
}

/// The text of a file with every document arranged. Line ends are `\n`, and
/// there is no byte order mark.
pub(crate) fn format(text: &str, arrange: &dyn Fn(&mut Layout)) -> Result<String, Refused> {
    // As it came: what is taken off could uncover something else.
    let documents = super::parse(text);
    let text = normalise(text);
    let errors: Vec<_> = documents.iter().filter_map(|found| found.result.clone().err()).collect();
    if !errors.is_empty() {
        return Err(Refused::Broken(errors));
    }
    let (formatted, comments) = print(&text, arrange)?;
    let same = |read: &[Document]| {
        read.len() == documents.len()
            && read.iter().zip(&documents).all(|(a, b)| a.result == b.result)
    };
    let is_sound = same(&super::parse(&formatted))
        && print(&formatted, arrange)
            .is_ok_and(|(again, found)| again == formatted && found == comments);
    if !is_sound {
        let at = documents.first().map_or(Position::new(1, 1), |document| document.at);
        return Err(Refused::Kept { at, reason: DIFFERS });
    }
    Ok(formatted)
}

/// The text with its line ends as `\n`, and without a byte order mark.
pub(crate) fn normalise(text: &str) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// The text and its comments, sorted.
fn print(text: &str, arrange: &dyn Fn(&mut Layout)) -> Result<(String, Vec<Box<str>>), Refused> {
    let mut out = String::new();
    let mut comments: Vec<Box<str>> = Vec::new();
    for (index, section) in sections(text)?.into_iter().enumerate() {
        match section {
            Section::Document(mut layout) => {
                comments.extend(layout.comments().map(Box::from));
                arrange(&mut layout);
                let above = std::mem::take(&mut layout.above_marker);
                let lines: String = above.iter().map(|line| format!("{line}\n")).collect();
                let marker = if index > 0 || layout.has_marker { "---\n" } else { "" };
                // Above a later marker it would be the former document's.
                match index {
                    0 => out.extend([&lines, marker]),
                    _ => out.extend([marker, &lines]),
                }
                out.push_str(&layout.text());
            }
            Section::Comments(lines) => {
                if index > 0 {
                    out.push_str("---\n");
                }
                out.extend(lines.iter().map(|line| format!("{line}\n")));
                comments.extend(lines);
            }
        }
    }
    comments.sort_unstable();
    Ok((out, comments))
}

fn sections(text: &str) -> Result<Vec<Section>, Refused> {
    let mut sections = Vec::new();
    let mut end = 0;
    let mut line = 1u32;
    for part in split::split(text) {
        gap(&text[end..part.range.start], line, &mut sections)?;
        let place = Place { line: part.line, ..Place::START };
        let part_text = &text[part.range.clone()];
        let (_, readable) =
            Builder::read_text(part_text, place).map_err(|error| Refused::Broken(vec![error]))?;
        let layout = Layout::of(&readable).map_err(|unmarked| kept(&unmarked, part.line))?;
        sections.push(Section::Document(Box::new(layout)));
        end = part.range.end;
        line = part.line.saturating_add(count_lines(part_text));
    }
    gap(&text[end..], line, &mut sections)?;
    Ok(sections)
}

/// Keeps the comments of a text without content. Where no document begins in
/// it, they are the end of the one before.
fn gap(text: &str, first_line: u32, sections: &mut Vec<Section>) -> Result<(), Refused> {
    let mut comments: Vec<Box<str>> = Vec::new();
    let mut begins = false;
    for (line, number) in text.lines().zip(1u32..) {
        if line.starts_with('%') {
            return Err(kept(&Unmarked(Position::new(number, 1)), first_line));
        }
        begins |= line.starts_with("---");
        comments.extend(line.find('#').map(|index| line[index..].trim_end().into()));
    }
    if comments.is_empty() {
        return Ok(());
    }
    match sections.last_mut() {
        Some(Section::Document(layout)) if !begins => {
            if let Some(root) = layout.elements.first_mut() {
                root.below.extend(comments);
            }
        }
        Some(Section::Comments(lines)) => lines.extend(comments),
        _ => sections.push(Section::Comments(comments)),
    }
    Ok(())
}

fn kept(unmarked: &Unmarked, first_line: u32) -> Refused {
    let line = unmarked.0.line.saturating_add(first_line).saturating_sub(1);
    Refused::Kept { at: Position { line, ..unmarked.0 }, reason: NOT_TREE }
}

fn count_lines(text: &str) -> u32 {
    super::to_u32(text.matches('\n').count())
}
