//! A strict reader of JSON text (RFC 8259) that builds nothing: it checks
//! values and tells where they end. Long strings, which most of a request
//! is, are passed over many bytes at a time.
//!
//! It takes what `serde_json` takes, and nothing else.

use std::borrow::Cow;

/// Up to this many bytes of a string are looked at one by one.
const SHORT: usize = 16;

/// The text is not the JSON that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// The byte that does not fit; the length of the text where it ends too
    /// early.
    pub at: usize,
}

impl Malformed {
    /// The line and the column of the byte, both from 1; at the end of the
    /// text, of its last byte.
    pub(crate) fn line_and_column(self, text: &str) -> (usize, usize) {
        let before = text.as_bytes().get(..self.at).unwrap_or_default();
        let line = memchr::memchr_iter(b'\n', before).count() + 1;
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        let is_end = self.at == text.len();
        (line, self.at - line_start + usize::from(!is_end))
    }
}

/// A place in a text.
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// What ends the arrays and objects that are open inside the value that
    /// is being passed over. Kept for the next value.
    open: Vec<u8>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, open: Vec::new() }
    }

    /// Calls `visit` with the decoded key and the raw value of every member.
    pub(super) fn object(mut self, mut visit: impl FnMut(&str, &'a str)) -> Result<(), Malformed> {
        self.skip_whitespace();
        self.expect(b'{')?;
        self.skip_whitespace();
        let mut is_first = true;
        while self.peek() != Some(b'}') {
            if !is_first {
                self.expect(b',')?;
                self.skip_whitespace();
            }
            is_first = false;
            let key = self.key()?;
            self.colon()?;
            let value = self.value()?;
            visit(&key, value);
            self.skip_whitespace();
        }
        self.end()
    }

    /// The raw elements.
    pub(super) fn array(mut self) -> Result<Vec<&'a str>, Malformed> {
        let mut elements = Vec::new();
        self.skip_whitespace();
        self.expect(b'[')?;
        self.skip_whitespace();
        while self.peek() != Some(b']') {
            if !elements.is_empty() {
                self.expect(b',')?;
                self.skip_whitespace();
            }
            elements.push(self.value()?);
            self.skip_whitespace();
        }
        self.end()?;
        Ok(elements)
    }

    /// Behind the last bracket only white space may stand.
    fn end(mut self) -> Result<(), Malformed> {
        self.at += 1;
        self.skip_whitespace();
        if self.at == self.text.len() { Ok(()) } else { Err(self.malformed()) }
    }

    fn key(&mut self) -> Result<Cow<'a, str>, Malformed> {
        let start = self.at;
        if self.peek() != Some(b'"') {
            return Err(self.malformed());
        }
        let has_escapes = self.string()?;
        let quoted = self.text.get(start..self.at).unwrap_or_default();
        if has_escapes {
            // What decodes to no Unicode is no key.
            return serde_json::from_str(quoted)
                .map(Cow::Owned)
                .map_err(|_| Malformed { at: self.at - 1 });
        }
        Ok(Cow::Borrowed(quoted.get(1..quoted.len() - 1).unwrap_or_default()))
    }

    fn colon(&mut self) -> Result<(), Malformed> {
        self.skip_whitespace();
        self.expect(b':')?;
        self.skip_whitespace();
        Ok(())
    }

    /// Passes over a value, which starts here.
    fn value(&mut self) -> Result<&'a str, Malformed> {
        let start = self.at;
        self.open.clear();
        loop {
            match self.peek() {
                Some(b'"') => drop(self.string()?),
                Some(b'{') => {
                    if self.enter(b'}') {
                        self.member_start()?;
                        continue;
                    }
                }
                Some(b'[') => {
                    if self.enter(b']') {
                        continue;
                    }
                }
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.literal(b"true")?,
                Some(b'f') => self.literal(b"false")?,
                Some(b'n') => self.literal(b"null")?,
                _ => return Err(self.malformed()),
            }
            if self.leave()? {
                return Ok(self.text.get(start..self.at).unwrap_or_default());
            }
        }
    }

    /// Goes to the first value of an array or the first key of an object;
    /// passes over what is empty, and says `false`.
    fn enter(&mut self, end: u8) -> bool {
        self.at += 1;
        self.skip_whitespace();
        let is_empty = self.peek() == Some(end);
        if is_empty {
            self.at += 1;
        } else {
            self.open.push(end);
        }
        !is_empty
    }

    fn member_start(&mut self) -> Result<(), Malformed> {
        if self.peek() != Some(b'"') {
            return Err(self.malformed());
        }
        self.string()?;
        self.colon()
    }

    /// From behind a value to the next one; `true` where there is none left.
    fn leave(&mut self) -> Result<bool, Malformed> {
        while let Some(end) = self.open.last().copied() {
            self.skip_whitespace();
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    self.skip_whitespace();
                    if end == b'}' {
                        self.member_start()?;
                    }
                    return Ok(false);
                }
                Some(byte) if byte == end => {
                    self.at += 1;
                    self.open.pop();
                }
                _ => return Err(self.malformed()),
            }
        }
        Ok(true)
    }

    /// Passes over a string; whether it has escapes.
    fn string(&mut self) -> Result<bool, Malformed> {
        self.at += 1;
        let mut has_escapes = false;
        loop {
            self.at += plain_length(self.text.as_bytes().get(self.at..).unwrap_or_default());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(has_escapes);
                }
                Some(b'\\') => {
                    has_escapes = true;
                    self.escape()?;
                }
                _ => return Err(self.malformed()),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return Err(self.malformed());
                    }
                    self.at += 1;
                }
            }
            _ => return Err(self.malformed()),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Malformed> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
            if self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
                return Err(self.malformed());
            }
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(self.malformed()) } else { Ok(()) }
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), Malformed> {
        for &byte in word {
            self.expect(byte)?;
        }
        Ok(())
    }

    fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.peek() != Some(byte) {
            return Err(self.malformed());
        }
        self.at += 1;
        Ok(())
    }

    fn skip_whitespace(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn malformed(&self) -> Malformed {
        Malformed { at: self.at }
    }
}

/// How many bytes stand before the first that ends a string, starts an
/// escape or is no part of one.
fn plain_length(bytes: &[u8]) -> usize {
    let is_special = |&byte: &u8| matches!(byte, b'"' | b'\\' | ..b' ');
    // Keys and short values end before anything else would pay off.
    let (start, rest) = bytes.split_at(bytes.len().min(SHORT));
    if let Some(at) = start.iter().position(is_special) {
        return at;
    }
    let length = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
    let rest = rest.get(..length).unwrap_or(rest);
    if has_control(rest) {
        return start.len() + rest.iter().position(is_special).unwrap_or(length);
    }
    start.len() + length
}

/// Whether a byte is below a space, eight of them in a step. Written out,
/// since whether the compiler makes vector instructions of a loop over bytes
/// depends on what stands around it.
fn has_control(bytes: &[u8]) -> bool {
    const SPACES: u64 = u64::from_ne_bytes([b' '; 8]);
    const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);
    let (words, rest) = bytes.as_chunks::<8>();
    let borrows = words.iter().fold(0, |any, word| {
        let word = u64::from_ne_bytes(*word);
        // A byte below a space borrows; one above 0x7f has its high bit.
        any | (word.wrapping_sub(SPACES) & !word)
    });
    borrows & HIGH_BITS != 0 || rest.iter().any(|&byte| byte < b' ')
}
