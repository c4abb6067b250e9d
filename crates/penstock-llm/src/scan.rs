//! One pass over a JSON request body, and edits that leave the rest alone.
//!
//! Invariant: a scan finds every top-level member that decides where a
//! request goes and what it costs, or fails; two readers of the same body
//! cannot disagree about them.
//! Invariant: no error message repeats anything of the body.

use std::ops::Range;

use bytes::Bytes;

use crate::error::LlmError;
use crate::json::{self, Malformed};

/// What one pass over a JSON request body found. Ranges are byte offsets in
/// the body, of values without the white space around them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// `model`, decoded; `None` where it is absent or not a string.
    pub model: Option<String>,
    /// Whether `model` is there but neither a string nor `null`.
    pub model_is_no_string: bool,
    /// Whether `stream` is `true`.
    pub stream: bool,
    /// The object from its `{` to behind its `}`.
    pub object: Range<usize>,
    /// Whether the object has no members.
    pub is_empty: bool,
    /// The value of `model`.
    pub model_at: Option<Range<usize>>,
    /// The value of `stream`.
    pub stream_at: Option<Range<usize>>,
    /// The value of `stream_options`.
    pub stream_options_at: Option<Range<usize>>,
    /// The value of `messages`, the last one if there are several.
    pub messages_at: Option<Range<usize>>,
    /// The value of `response_format`, the last one if there are several.
    pub response_format_at: Option<Range<usize>>,
}

impl Scan {
    /// Scans a body.
    ///
    /// # Errors
    /// The body is not one JSON object in UTF-8, or it says twice what the
    /// model or the kind of answer is.
    pub fn of(body: &[u8]) -> Result<Scan, LlmError> {
        let text = std::str::from_utf8(body)
            .map_err(|_| LlmError::InvalidRequest("the body is not valid UTF-8".into()))?;
        let Some(start) = text.find(|c| !is_whitespace(c)) else {
            return Err(LlmError::InvalidRequest("the body is empty".into()));
        };
        if !text[start..].starts_with('{') {
            return Err(LlmError::InvalidRequest("the body must be a JSON object".into()));
        }
        let end = text.trim_end_matches(is_whitespace).len();
        let mut scan = Scan { object: start..end, is_empty: true, ..Scan::default() };
        let mut repeated = None;
        json::for_each_member(text, |key, value| scan.note(text, key, value, &mut repeated))
            .map_err(|error| invalid_json(error, text))?;
        match repeated {
            Some(key) => Err(LlmError::InvalidRequest(format!("the body has `{key}` twice"))),
            None => scan.read_values(text),
        }
    }

    /// The place right behind `{`, where a new member can be put.
    pub fn insert_at(&self) -> usize {
        self.object.start + 1
    }

    fn note(&mut self, text: &str, key: &str, value: &str, repeated: &mut Option<&'static str>) {
        self.is_empty = false;
        let (name, slot) = match key {
            "model" => (Some("model"), &mut self.model_at),
            "stream" => (Some("stream"), &mut self.stream_at),
            "stream_options" => (Some("stream_options"), &mut self.stream_options_at),
            "messages" => (None, &mut self.messages_at),
            "response_format" => (None, &mut self.response_format_at),
            _ => return,
        };
        if slot.is_some() && name.is_some() {
            *repeated = name;
        }
        *slot = Some(json::range_in(text, value));
    }

    fn read_values(mut self, text: &str) -> Result<Scan, LlmError> {
        let raw = |at: &Option<Range<usize>>| at.clone().and_then(|at| text.get(at));
        self.stream = raw(&self.stream_at) == Some("true");
        match raw(&self.model_at) {
            None | Some("null") => {}
            Some(model) if model.starts_with('"') => {
                self.model = Some(json::decode_string(model).ok_or_else(|| {
                    LlmError::InvalidRequest("`model` is not valid Unicode".into())
                })?);
            }
            Some(_) => self.model_is_no_string = true,
        }
        Ok(self)
    }
}

fn is_whitespace(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// The place is enough to find the mistake; the text around it may be a
/// secret.
fn invalid_json(error: Malformed, text: &str) -> LlmError {
    let (line, column) = error.line_and_column(text);
    LlmError::InvalidRequest(format!("the body is not valid JSON (line {line}, column {column})"))
}

/// Replacements in a body. What they do not cover is not copied.
#[derive(Debug)]
pub struct Splice<'a> {
    body: &'a Bytes,
    edits: Vec<(Range<usize>, Bytes)>,
}

impl<'a> Splice<'a> {
    /// No replacements yet.
    pub fn new(body: &'a Bytes) -> Self {
        Self { body, edits: Vec::new() }
    }

    /// Puts `with` in place of `range`, which must not overlap another one.
    pub fn replace(&mut self, range: Range<usize>, with: impl Into<Bytes>) {
        self.edits.push((range, with.into()));
    }

    /// Puts `with` before the byte at `at`; several at one place keep their
    /// order.
    pub fn insert(&mut self, at: usize, with: impl Into<Bytes>) {
        self.replace(at..at, with);
    }

    /// Takes `range` out.
    pub fn remove(&mut self, range: Range<usize>) {
        self.replace(range, Bytes::new());
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// The new body. A range that overlaps one before it, or leaves the body,
    /// is a mistake of the caller and is left out.
    pub fn into_parts(mut self) -> Vec<Bytes> {
        self.edits.sort_by_key(|(range, _)| (range.start, range.end));
        let mut parts = Vec::with_capacity(2 * self.edits.len() + 1);
        let mut done = 0;
        for (range, with) in self.edits {
            let fits = done <= range.start && range.start <= range.end;
            if !fits || range.end > self.body.len() {
                debug_assert!(false, "edit {range:?} does not fit behind {done}");
                continue;
            }
            if done < range.start {
                parts.push(self.body.slice(done..range.start));
            }
            if !with.is_empty() {
                parts.push(with);
            }
            done = range.end;
        }
        if done < self.body.len() {
            parts.push(self.body.slice(done..));
        }
        parts
    }
}

#[cfg(test)]
mod tests;
