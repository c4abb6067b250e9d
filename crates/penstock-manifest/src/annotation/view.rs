//! The annotations of one Ingress, asked for by key.
//!
//! How a key is read is decided here once (Higress: annotations/parser.go):
//! the nginx form first, the Higress form where that one is absent or cannot
//! be used; every value that cannot be used is reported and costs only what
//! asks for it.
//!
//! Invariant: no message holds a value, which may come out of a Secret.

use std::borrow::Cow;
use std::cell::Cell;

use super::table::{Family, Key, Keys, Prefixes, Support};
use super::{HIGRESS, NGINX, parse_bool};
use crate::diagnostic::{ANNOTATION_UNUSED, Diagnostic, INVALID_ANNOTATION, ROUTE_CLOSED};
use crate::node::{Cursor, Entry, Node, Source, Value, join};

/// The annotations of an Ingress that have a row and act.
pub(super) struct Annotations<'a, 'd> {
    /// The namespace of the Ingress, for names that have none.
    pub(super) namespace: &'a str,
    /// Why the routes must answer 503, where they must.
    pub(super) closed: Option<&'static str>,
    pub(super) diagnostics: &'d mut Vec<Diagnostic>,
    pub(super) source: &'a Source,
    written: Vec<Written<'a>>,
    /// The keys that something has asked for.
    asked: Cell<Keys>,
}

/// One annotation as it stands in a document.
#[derive(Clone, Copy)]
pub(super) struct Written<'a> {
    key: Key,
    is_nginx: bool,
    /// The key without its prefix.
    pub(super) name: &'a str,
    whole_name: &'a str,
    node: &'a Node,
}

impl<'a> Written<'a> {
    /// An entry under one of the two prefixes.
    pub(super) fn new(entry: &'a Entry, key: Key, is_nginx: bool) -> Self {
        let prefix = if is_nginx { NGINX } else { HIGRESS };
        Self {
            key,
            is_nginx,
            name: entry.key.get(prefix.len()..).unwrap_or_default(),
            whole_name: &entry.key,
            node: &entry.node,
        }
    }

    /// The text as it is; values that are no text are reported when a file is
    /// read.
    pub(super) fn raw(&self) -> &'a str {
        self.node.as_str().unwrap_or_default()
    }

    /// Whether a reference to a Secret in it leads nowhere.
    pub(super) fn is_unresolved(&self) -> bool {
        matches!(self.node.value, Value::Unresolved(_))
    }

    /// The text, trimmed line by line.
    pub(super) fn text(&self) -> Cow<'a, str> {
        let text = self.raw().trim();
        if !text.contains('\n') {
            return Cow::Borrowed(text);
        }
        let mut trimmed = String::with_capacity(text.len());
        for line in text.lines() {
            if !trimmed.is_empty() {
                trimmed.push('\n');
            }
            trimmed.push_str(line.trim());
        }
        Cow::Owned(trimmed)
    }
}

impl<'a, 'd> Annotations<'a, 'd> {
    pub(super) fn new(
        namespace: &'a str,
        source: &'a Source,
        diagnostics: &'d mut Vec<Diagnostic>,
    ) -> Self {
        Self {
            namespace,
            closed: None,
            diagnostics,
            source,
            written: Vec::new(),
            asked: Cell::default(),
        }
    }

    pub(super) fn add(&mut self, written: Written<'a>) {
        self.written.push(written);
    }

    pub(super) fn cursor(&self, written: &Written<'a>) -> Cursor<'a> {
        let path = join("metadata.annotations", written.whole_name);
        Cursor { node: written.node, source: self.source, path: Cow::Owned(path) }
    }

    /// Whether a key is there in either form, usable or not.
    pub(super) fn has(&self, key: Key) -> bool {
        self.ask(key);
        self.written.iter().any(|written| written.key == key)
    }

    fn ask(&self, key: Key) {
        self.asked.set(self.asked.get() | key.into());
    }

    /// Everything of a family stays without effect, as another of its
    /// annotations says.
    pub(super) fn pass_over(&self, family: Family) {
        self.of_family(family);
    }

    /// Reports what nothing has asked for: an annotation that is overruled by
    /// another one, or lacks the one that it belongs to.
    pub(super) fn report_unused(&mut self) {
        let asked = self.asked.get();
        for written in &self.written {
            let Some(row) = written.key.row() else { continue };
            if row.support != Support::Acts || asked.contains(written.key) {
                continue;
            }
            let message = format!("`{}` has no effect here", written.name);
            let unused = self.cursor(written).diagnostic(&ANNOTATION_UNUSED, message);
            self.diagnostics.push(match row.family.order() {
                Some(order) => unused.with_hint(order),
                None => unused,
            });
        }
    }

    /// What is written under a key: the nginx form, then the Higress form.
    pub(super) fn forms(&self, key: Key) -> [Option<Written<'a>>; 2] {
        self.ask(key);
        let form = |is_nginx| {
            self.written.iter().find(|one| one.key == key && one.is_nginx == is_nginx).copied()
        };
        match key.row().map(|row| row.prefixes) {
            Some(Prefixes::Both) => [form(true), form(false)],
            _ => [None, form(false)],
        }
    }

    /// Everything that is written under the keys of a family.
    pub(super) fn of_family(&self, family: Family) -> Vec<Written<'a>> {
        let is_of = |one: &&Written<'_>| one.key.row().is_some_and(|row| row.family == family);
        let written: Vec<_> = self.written.iter().filter(is_of).copied().collect();
        written.iter().for_each(|one| self.ask(one.key));
        written
    }

    /// The first form of a key that `parse` takes; the others are reported as
    /// not being `expected`.
    pub(super) fn read<T>(
        &mut self,
        key: Key,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        for written in self.forms(key).into_iter().flatten() {
            match parse(&written.text()) {
                Some(value) => return Some(value),
                None => self.must_be(&written, expected),
            }
        }
        None
    }

    /// The first form of a key that holds any text.
    pub(super) fn text(&mut self, key: Key) -> Option<(Written<'a>, Cow<'a, str>)> {
        for written in self.forms(key).into_iter().flatten() {
            let text = written.text();
            if !text.is_empty() {
                return Some((written, text));
            }
            self.must_be(&written, "text");
        }
        None
    }

    pub(super) fn flag(&mut self, key: Key) -> Option<bool> {
        self.read(key, "a boolean such as `true`", parse_bool)
    }

    /// A number from 0 to what 32 bits hold.
    pub(super) fn int(&mut self, key: Key) -> Option<u32> {
        self.read(key, "a whole number", parse_int)
    }

    /// The whole number of seconds; Higress knows no units.
    pub(super) fn seconds(&mut self, key: Key) -> Option<u32> {
        self.read(key, "a whole number of seconds, without a unit", parse_int)
    }

    /// The first form of a key that has an item between its commas.
    pub(super) fn list(&mut self, key: Key) -> Option<Written<'a>> {
        for written in self.forms(key).into_iter().flatten() {
            if items(written.raw()).next().is_some() {
                return Some(written);
            }
            self.must_be(&written, "a list with commas");
        }
        None
    }

    /// What `parse` takes of the entries of an annotation. The first of the
    /// others is reported as not being `expected`, with their number: a value
    /// of 100 KB may have as many mistakes.
    pub(super) fn keep<'t, T>(
        &mut self,
        written: &Written<'a>,
        entries: impl Iterator<Item = &'t str>,
        expected: &str,
        mut parse: impl FnMut(&str) -> Option<T>,
    ) -> Vec<T> {
        let mut kept = Vec::new();
        let mut first = None;
        let mut others = 0;
        for (index, entry) in entries.enumerate() {
            match parse(entry) {
                Some(value) => kept.push(value),
                None if first.is_none() => first = Some(index + 1),
                None => others += 1,
            }
        }
        if let Some(number) = first {
            let mut message = format!("entry {number} is not {expected}");
            match others {
                0 => {}
                1 => message.push_str("; nor is another one"),
                _ => message.push_str(&format!("; nor are {others} others")),
            }
            self.complain(written, message);
        }
        kept
    }

    pub(super) fn must_be(&mut self, written: &Written<'a>, expected: &str) {
        let cursor = self.cursor(written);
        let message = format!("`{}` must be {expected}", cursor.path);
        self.diagnostics.push(cursor.diagnostic(&INVALID_ANNOTATION, message));
    }

    pub(super) fn complain(&mut self, written: &Written<'a>, message: impl Into<String>) {
        let diagnostic = self.cursor(written).diagnostic(&INVALID_ANNOTATION, message);
        self.diagnostics.push(diagnostic);
    }

    /// Closes the routes: what protects them cannot be read.
    pub(super) fn close(&mut self, key: Key, reason: &'static str) {
        self.closed = Some(reason);
        for written in self.forms(key).into_iter().flatten().take(1) {
            let message = format!("{reason}: the routes answer 503");
            let diagnostic = self.cursor(&written).diagnostic(&ROUTE_CLOSED, message);
            self.diagnostics.push(diagnostic);
        }
    }
}

/// The items of a comma list, trimmed, empty ones left out.
pub(super) fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// A number in plain decimal digits.
pub(super) fn parse_int(text: &str) -> Option<u32> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

/// `on` or `off`.
pub(super) fn parse_switch(text: &str) -> Option<bool> {
    match text {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

/// Whether a text is a token (RFC 9110, section 5.6.2), such as the name of a
/// header, a method or a cookie.
pub(super) fn is_token(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_allowed)
}

/// Whether a text can stand in a request line or a `Location`: visible ASCII
/// without what would end or quote it.
pub(super) fn is_url_text(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>#".contains(&byte))
}
