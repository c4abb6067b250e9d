//! Files as `penstock fmt` writes them: one form for everything that means
//! the same, and every comment where it belongs.
//!
//! An intent has its fields in the order of its tables, a manifest begins
//! with `apiVersion`, `kind` and `metadata`; nothing else moves. What would
//! lose something is left as it is, and the place is told.
//!
//! Invariant: formatting what is formatted changes nothing.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::diagnostic::Diagnostic;
use crate::intent;
use crate::node::{Position, Source};
use crate::schema::{Object, Shape};
use crate::yaml::format::{Refused, format as format_yaml, normalise};
use crate::yaml::layout::{Id, Layout};
use crate::yaml::{YamlError, parse};

/// What formatting made of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Formatted {
    /// The text in its form.
    Text(String),
    /// The text would lose something, so that it should stay as it is.
    Kept {
        /// What would be lost.
        at: Position,
        /// One sentence without a full stop.
        reason: &'static str,
    },
}

/// Formats a text. `file` is its name for findings; one that ends with
/// `.json` is formatted as JSON.
pub fn format(file: &str, text: &str) -> Result<Formatted, Vec<Diagnostic>> {
    let is_json = file.rsplit_once('.').is_some_and(|(_, end)| end.eq_ignore_ascii_case("json"));
    let result = match is_json {
        true => format_json(text),
        false => format_yaml(text, &arrange),
    };
    match result {
        Ok(text) => Ok(Formatted::Text(text)),
        Err(Refused::Kept { at, reason }) => Ok(Formatted::Kept { at, reason }),
        Err(Refused::Broken(errors)) => {
            let file: Arc<str> = file.into();
            Err(errors.into_iter().map(|error| finding(&file, error)).collect())
        }
    }
}

fn finding(file: &Arc<str>, error: YamlError) -> Diagnostic {
    let source = Source { file: file.clone(), document: 0, at: error.at };
    Diagnostic::at(error.kind.code(), &source, error.at, error.message.into_owned())
}

/// Puts the fields of a document in order.
fn arrange(layout: &mut Layout) {
    let has = |key: &str| layout.entries(0).any(|(found, _)| found == key);
    if has("apiVersion") || has("kind") {
        const HEAD: [&str; 3] = ["apiVersion", "kind", "metadata"];
        let rank = |key: &str| HEAD.iter().position(|name| *name == key).unwrap_or(HEAD.len());
        layout.sort_entries(0, rank);
    } else if layout
        .entries(0)
        .any(|(key, id)| intent::OBJECT.field(key).is_some() && layout.is_list_or_null(id))
    {
        arrange_object(layout, 0, &intent::OBJECT);
    }
}

fn arrange_object(layout: &mut Layout, id: Id, object: &Object) {
    let rank =
        |key: &str| object.fields.iter().position(|field| field.name == key).unwrap_or(usize::MAX);
    layout.sort_entries(id, rank);
    let fields: Vec<(Id, Shape)> = layout
        .entries(id)
        .filter_map(|(key, part)| Some((part, object.field(key)?.shape)))
        .collect();
    for (part, shape) in fields {
        arrange_shape(layout, part, shape);
    }
}

fn arrange_shape(layout: &mut Layout, id: Id, shape: Shape) {
    match shape {
        Shape::Object(object) => arrange_object(layout, id, object),
        Shape::List(item) => {
            for part in layout.parts(id).to_vec() {
                arrange_shape(layout, part, *item);
            }
        }
        _ => {}
    }
}

/// JSON with two spaces. Only the blanks change: neither the order of keys
/// nor how a number is spelled.
fn format_json(text: &str) -> Result<String, Refused> {
    let text = normalise(text);
    let documents = parse(&text);
    let errors: Vec<_> = documents.iter().filter_map(|found| found.result.clone().err()).collect();
    if !errors.is_empty() {
        return Err(Refused::Broken(errors));
    }
    // A vertical tab or the like is a text, for YAML.
    if text.trim_matches([' ', '\t', '\n']).is_empty() {
        return Ok(String::new());
    }
    if let Err(error) = serde_json::from_str::<&RawValue>(&text) {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let at = Position::new(number(error.line()), number(error.column()));
        return Err(Refused::Kept { at, reason: "it is YAML, but not JSON" });
    }
    Ok(json(&text))
}

/// The blanks of a text that is JSON, anew.
fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0usize;
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first == '"' { string_bytes(rest) } else { first.len_utf8() };
        let (token, behind) = rest.split_at(length);
        rest = behind.trim_start();
        match first {
            '{' | '[' => {
                out.push(first);
                if let Some(behind) = rest.strip_prefix(['}', ']']) {
                    out.push(if first == '{' { '}' } else { ']' });
                    rest = behind.trim_start();
                } else {
                    depth += 1;
                    push_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                push_line(&mut out, depth);
                out.push(first);
            }
            ',' => {
                out.push(',');
                push_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => out.push_str(token),
        }
    }
    out.push('\n');
    out
}

/// The length of a quoted text that is well formed.
fn string_bytes(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(text.len(), |end| end + 2)
}

fn push_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}
