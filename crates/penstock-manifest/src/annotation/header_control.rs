//! Headers that are added, replaced and removed
//! (Higress: annotations/header_control.go).

use std::collections::BTreeMap;

use super::table::Key;
use super::view::{Annotations, is_token, items};

const REQUEST: [Key; 3] = [
    Key::of("request-header-control-add"),
    Key::of("request-header-control-update"),
    Key::of("request-header-control-remove"),
];
const RESPONSE: [Key; 3] = [
    Key::of("response-header-control-add"),
    Key::of("response-header-control-update"),
    Key::of("response-header-control-remove"),
];

/// What frames a message or belongs to one connection: a route that changed
/// it would make two readers disagree about where a message ends.
const FRAMING: &[&str] = &[
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

/// Changes to the headers of requests or answers, each list sorted by name.
///
/// Names are tokens in lower case, never one that frames a message; values
/// have no control characters but tabs, and may be empty or other than ASCII.
/// Envoy removes first, then adds, then updates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderControl {
    /// Values that are appended. The last line counts where a name has
    /// several. Higress: `request-header-control-add`,
    /// `response-header-control-add`.
    pub add: Vec<(Box<str>, Box<str>)>,
    /// Values that replace all others of their header. `host` (also written
    /// `:authority`) changes the host that the upstream sees.
    /// Higress: `request-header-control-update`,
    /// `response-header-control-update`.
    pub update: Vec<(Box<str>, Box<str>)>,
    /// Headers that are removed; never `host`.
    /// Higress: `request-header-control-remove`,
    /// `response-header-control-remove`.
    pub remove: Vec<Box<str>>,
}

/// The changes to requests and to answers.
pub(super) fn parse(
    annotations: &mut Annotations<'_, '_>,
) -> (Option<Box<HeaderControl>>, Option<Box<HeaderControl>>) {
    (parse_side(annotations, REQUEST), parse_side(annotations, RESPONSE))
}

fn parse_side(
    annotations: &mut Annotations<'_, '_>,
    [add, update, remove]: [Key; 3],
) -> Option<Box<HeaderControl>> {
    let control = HeaderControl {
        add: lines(annotations, add),
        update: lines(annotations, update),
        remove: names(annotations, remove),
    };
    (control != HeaderControl::default()).then(|| Box::new(control))
}

/// Lines of `NAME VALUE`.
fn lines(annotations: &mut Annotations<'_, '_>, key: Key) -> Vec<(Box<str>, Box<str>)> {
    let Some((written, text)) = annotations.text(key) else {
        return Vec::new();
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let expected = "a header that can be set: `NAME VALUE`, one a line";
    let headers = annotations.keep(&written, lines, expected, parse_line);
    headers.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect()
}

fn parse_line(line: &str) -> Option<(Box<str>, Box<str>)> {
    let (name, value) = line.split_once(char::is_whitespace)?;
    let name = parse_name(unquote(name))?;
    let value = unquote(value.trim());
    let is_clean = !value.chars().any(|c| c.is_control() && c != '\t');
    is_clean.then(|| (name, value.into()))
}

fn names(annotations: &mut Annotations<'_, '_>, key: Key) -> Vec<Box<str>> {
    let Some(written) = annotations.list(key) else {
        return Vec::new();
    };
    let expected = "a header that can be removed";
    let parse = |name: &str| parse_name(name).filter(|name| &**name != "host");
    let mut names = annotations.keep(&written, items(written.raw()), expected, parse);
    names.sort_unstable();
    names.dedup();
    names
}

/// A header's name in lower case, unless it must not be touched.
fn parse_name(text: &str) -> Option<Box<str>> {
    if text.eq_ignore_ascii_case(":authority") {
        return Some("host".into());
    }
    let name = text.to_ascii_lowercase();
    (is_token(&name) && !FRAMING.contains(&&*name)).then(|| name.into())
}

/// The text without the quotes around it, where it has two equal ones.
fn unquote(text: &str) -> &str {
    let inside = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inside('"').or_else(|| inside('\'')).unwrap_or(text)
}
