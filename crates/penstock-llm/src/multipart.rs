//! One part of a `multipart/form-data` body (RFC 7578), mostly `model`, found
//! and replaced without touching the other parts, which are images.

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;

use crate::error::LlmError;
use crate::scan::Splice;

/// What matters of a form.
#[derive(Debug, PartialEq, Eq)]
pub struct Form {
    /// The value of the part that was looked for, and its place.
    pub part: Option<(String, Range<usize>)>,
    name: String,
    boundary: String,
    /// Where the delimiter that closes the form begins.
    end: usize,
}

impl Form {
    /// Looks for the part `name` of a form whose `Content-Type` is
    /// `content_type`.
    ///
    /// # Errors
    /// The form is malformed, or has the part twice.
    pub fn read(content_type: &str, body: &[u8], name: &str) -> Result<Form, LlmError> {
        let boundary = boundary(content_type).ok_or_else(malformed)?;
        let delimiter = format!("\r\n--{boundary}");
        let finder = memmem::Finder::new(delimiter.as_bytes());
        // The first delimiter may stand at the very beginning, without CRLF.
        let mut at = if body.starts_with(&delimiter.as_bytes()[2..]) {
            delimiter.len() - 2
        } else {
            finder.find(body).ok_or_else(malformed)? + delimiter.len()
        };
        let mut found = None;
        loop {
            let rest = body.get(at..).unwrap_or_default();
            if rest.starts_with(b"--") {
                let end = at + 2 - delimiter.len();
                return Ok(Form { part: found, name: name.to_owned(), boundary, end });
            }
            let head = at + line_end(rest).ok_or_else(malformed)?;
            let length = finder.find(&body[head..]).ok_or_else(malformed)?;
            let part = head + 2..head + length;
            let content = read_head(body, part, name).ok_or_else(malformed)?;
            if content.is_wanted {
                let value = body.get(content.at.clone()).map(std::str::from_utf8);
                let Some(Ok(value)) = value else { return Err(malformed()) };
                if found.replace((value.to_owned(), content.at)).is_some() {
                    return Err(LlmError::InvalidRequest(format!("the form has `{name}` twice")));
                }
            }
            at = head + length + delimiter.len();
        }
    }

    /// Sets the part, appending it where there is none.
    pub fn set(&self, value: &str, splice: &mut Splice<'_>) {
        match &self.part {
            Some((_, at)) => splice.replace(at.clone(), value.to_owned()),
            None => splice.insert(
                self.end,
                Bytes::from(format!(
                    "--{}\r\nContent-Disposition: form-data; name=\"{}\"\r\n\r\n{value}\r\n",
                    self.boundary, self.name
                )),
            ),
        }
    }
}

struct Content {
    at: Range<usize>,
    is_wanted: bool,
}

fn malformed() -> LlmError {
    LlmError::InvalidRequest("the multipart body is malformed".into())
}

/// The CRLF behind a delimiter; white space may stand before it (RFC 2046).
fn line_end(rest: &[u8]) -> Option<usize> {
    let padding = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    rest[padding..].starts_with(b"\r\n").then_some(padding)
}

/// Splits a part at the blank line behind its headers.
fn read_head(body: &[u8], part: Range<usize>, wanted: &str) -> Option<Content> {
    let bytes = body.get(part.clone())?;
    let (head, start) = if bytes.starts_with(b"\r\n") {
        (0, 2)
    } else {
        let head = memmem::find(bytes, b"\r\n\r\n")?;
        (head, head + 4)
    };
    let is_wanted = bytes[..head].split(|byte| *byte == b'\n').any(|line| {
        std::str::from_utf8(line).is_ok_and(|line| {
            line.split_once(':').is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case("content-disposition")
                    && parameter(value, "name").as_deref() == Some(wanted)
            })
        })
    });
    Some(Content { at: part.start + start..part.end, is_wanted })
}

fn boundary(content_type: &str) -> Option<String> {
    parameter(content_type, "boundary").filter(|boundary| !boundary.is_empty())
}

/// A parameter of a header value such as `form-data; name="model"`.
fn parameter(value: &str, wanted: &str) -> Option<String> {
    let mut rest = value.split_once(';')?.1;
    loop {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim_matches([' ', '\t', '\r', ';']);
        let (text, behind) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (text, behind) = after.split_once(';').unwrap_or((after, ""));
                (text.trim().to_owned(), behind)
            }
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(text);
        }
        rest = behind;
    }
}

/// The text up to the closing quote, and what stands behind it.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((text, &quoted[at + 1..])),
            '\\' => text.push(chars.next()?.1),
            c => text.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests;
