//! Finding things in JSON text without building it: values stay where they
//! are, as slices of the text, so that edits can leave the rest alone.
//!
//! Nothing here recurses into values; depth costs heap, not stack.

pub(crate) mod edit;
mod reader;

use std::ops::Range;

use self::reader::Reader;

pub(crate) use self::reader::Malformed;

/// Calls `visit` with the decoded key and the raw value of every member of
/// the object that `text` is.
pub(crate) fn for_each_member<'a>(
    text: &'a str,
    visit: impl FnMut(&str, &'a str),
) -> Result<(), Malformed> {
    Reader::new(text).object(visit)
}

/// The raw values of the array that `text` is.
pub(crate) fn elements(text: &str) -> Result<Vec<&str>, Malformed> {
    Reader::new(text).array()
}

/// Where `part`, a slice of `text`, stands in it.
pub(crate) fn range_in(text: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
    start..start + part.len()
}

/// The text of a raw value that is a string.
pub(crate) fn decode_string(raw: &str) -> Option<String> {
    raw.starts_with('"').then(|| serde_json::from_str(raw).ok()).flatten()
}

/// `text` as a JSON string, quotes included.
pub(crate) fn encode_string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        quoted.push_str(text);
        quoted.push('"');
        return quoted;
    }
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
