//! Values as canonical YAML, in the form that Kubernetes' own tools print:
//! two spaces, lists at the indentation of their key, no line folding, text
//! over several lines as a literal block, keys in the order of the tree.
//!
//! Text is quoted wherever YAML 1.1 or 1.2 would read it as something else:
//! in double quotes where its meaning is at stake (`"on"`, `"010"`), in
//! single quotes where only its characters are.
//!
//! Invariant: what is printed reads as an equal value again.

use crate::node::{Node, Value};

use super::scalar;

/// The keys that need no `?` in front of them are at most 1024 characters
/// long, quotes and escapes included.
const SIMPLE_KEY_BYTES_MAX: usize = 1000;

/// One value as a document without markers.
pub fn render(node: &Node) -> String {
    let mut out = String::new();
    block(&mut out, node, 0);
    out
}

/// Several values as one text, with `---` between them.
pub fn render_documents<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> String {
    let mut out = String::new();
    for node in nodes {
        if !out.is_empty() {
            out.push_str("---\n");
        }
        block(&mut out, node, 0);
    }
    out
}

/// Prints a value whose first line is already indented.
fn block(out: &mut String, node: &Node, indent: usize) {
    match &node.value {
        Value::Map(map) if !map.entries.is_empty() => {
            for (index, entry) in map.entries.iter().enumerate() {
                if index > 0 {
                    push_indent(out, indent);
                }
                push_key(out, &entry.key, indent);
                push_map_value(out, &entry.node, indent);
            }
        }
        Value::List(list) if !list.is_empty() => {
            for (index, item) in list.iter().enumerate() {
                if index > 0 {
                    push_indent(out, indent);
                }
                out.push_str("- ");
                block(out, item, indent + 2);
            }
        }
        // A list item's text is indented below its dash, a root's by two.
        _ => inline(out, node, indent.max(2)),
    }
}

fn push_map_value(out: &mut String, node: &Node, indent: usize) {
    let (is_collection, value_indent) = match &node.value {
        Value::Map(map) => (!map.entries.is_empty(), indent + 2),
        Value::List(list) => (!list.is_empty(), indent),
        _ => (false, indent + 2),
    };
    if is_collection {
        out.push('\n');
        push_indent(out, value_indent);
        block(out, node, value_indent);
    } else {
        out.push(' ');
        inline(out, node, value_indent);
    }
}

pub(super) fn push_key(out: &mut String, key: &str, indent: usize) {
    let start = out.len();
    push_text(out, key);
    if out.len() - start > SIMPLE_KEY_BYTES_MAX {
        out.insert_str(start, "? ");
        out.push('\n');
        push_indent(out, indent);
    }
    out.push(':');
}

/// Prints a scalar or an empty collection; `indent` is that of a block's text.
pub(super) fn inline(out: &mut String, node: &Node, indent: usize) {
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::Float(number) => out.push_str(&scalar::float_text(*number)),
        Value::String(text) | Value::Unresolved(text) if is_literal(text) => {
            return literal(out, text, indent);
        }
        Value::String(text) | Value::Unresolved(text) => push_text(out, text),
        Value::List(_) => out.push_str("[]"),
        Value::Map(_) => out.push_str("{}"),
    }
    out.push('\n');
}

/// Whether text can stand as a literal block without an indentation number.
fn is_literal(text: &str) -> bool {
    let Some(first) = text.split('\n').find(|line| !line.is_empty()) else { return false };
    text.contains('\n')
        && !first.starts_with([' ', '\t'])
        && text.chars().all(|c| c == '\n' || c == '\t' || is_printable(c))
}

fn literal(out: &mut String, text: &str, indent: usize) {
    let body = text.strip_suffix('\n');
    out.push_str(match body {
        None => "|-\n",
        Some(body) if body.ends_with('\n') => "|+\n",
        Some(_) => "|\n",
    });
    for line in body.unwrap_or(text).split('\n') {
        if !line.is_empty() {
            push_indent(out, indent);
            out.push_str(line);
        }
        out.push('\n');
    }
}

pub(super) fn push_indent(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// Prints text on one line, quoted as little as possible.
fn push_text(out: &mut String, text: &str) {
    if text.chars().any(|c| !is_printable(c)) || is_ambiguous(text) {
        double_quoted(out, text);
    } else if is_plain(text) {
        out.push_str(text);
    } else {
        out.push('\'');
        out.push_str(&text.replace('\'', "''"));
        out.push('\'');
    }
}

fn double_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0' => out.push_str("\\0"),
            c if is_printable(c) => out.push(c),
            c => {
                let code = u32::from(c);
                out.push_str(&match code {
                    0..=0xff => format!("\\x{code:02X}"),
                    0x100..=0xffff => format!("\\u{code:04X}"),
                    _ => format!("\\U{code:08X}"),
                });
            }
        }
    }
    out.push('"');
}

/// Whether some reader takes the bare word for something that is not text.
fn is_ambiguous(text: &str) -> bool {
    scalar::is_special(text) || matches!(text, "<<" | "=") || is_base_60(text) || is_date(text)
}

/// `190:20:30.15`, which YAML 1.1 reads as a number.
fn is_base_60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    unsigned.contains(':')
        && unsigned.starts_with(|c: char| c.is_ascii_digit())
        && unsigned.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b':' | b'_' | b'.'))
}

/// `2001-12-14` and longer, which YAML 1.1 reads as a timestamp.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let (Some(year), Some(month), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let is_number = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let day = rest.split(['T', 't', ' ']).next().unwrap_or(rest);
    is_number(year, 4..=4) && is_number(month, 1..=2) && is_number(day, 1..=2)
}

/// Whether printable text can stand without quotes in a block.
fn is_plain(text: &str) -> bool {
    let Some(first) = text.chars().next() else { return false };
    let second = text.chars().nth(1);
    let starts_as_indicator = match first {
        '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%'
        | '@' | '`' => true,
        '-' | '?' | ':' => second.is_none_or(|c| c == ' '),
        _ => false,
    };
    !starts_as_indicator
        && !text.starts_with(' ')
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.starts_with("---")
        && !text.starts_with("...")
}

/// Whether every reader takes the character as it is, inside a line.
fn is_printable(c: char) -> bool {
    match c {
        // Line breaks of YAML 1.1 and the byte order mark.
        '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => false,
        '\u{20}'..='\u{7e}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' => true,
        c => c >= '\u{10000}',
    }
}
