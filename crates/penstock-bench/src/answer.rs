//! One HTTP/1.1 answer, read as it arrives: its status, the length of its
//! body, the events in it. It checks what a benchmark has to be sure of and
//! nothing else.

use memchr::{memchr, memchr_iter, memmem};

/// The longest head, and the longest line before a chunk.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What is known of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status code; 0 until the head is there.
    pub status: u16,
    /// The bytes of the body so far, without chunk lines.
    pub body_bytes: u64,
    /// The server-sent events so far: empty lines of the body.
    pub events: u64,
    /// Whether the server closes the connection after it.
    pub closes: bool,
}

/// Where in an answer the next byte belongs.
enum Part {
    /// In the head; these are the bytes so far.
    Head(Vec<u8>),
    /// In a body, of which this much is missing.
    Body(u64),
    /// In the line before a chunk; these are its bytes so far.
    ChunkLine(Vec<u8>),
    /// In a chunk, of which this much is missing, with its line end.
    Chunk(u64),
    /// In the trailer; `true` at the beginning of a line.
    Trailer(bool),
    Done,
}

/// Reads one answer.
pub struct AnswerReader {
    answer: Answer,
    part: Part,
    ends_line: bool,
}

impl Default for AnswerReader {
    fn default() -> Self {
        let answer = Answer::default();
        Self { answer, part: Part::Head(Vec::new()), ends_line: false }
    }
}

impl AnswerReader {
    /// What is known by now.
    pub fn answer(&self) -> Answer {
        self.answer
    }

    /// Whether the answer is complete.
    pub fn is_done(&self) -> bool {
        matches!(self.part, Part::Done)
    }

    /// Takes bytes of the connection.
    ///
    /// # Errors
    ///
    /// What is wrong with them, in a few words; also bytes behind the answer.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        while !bytes.is_empty() {
            let used = match &mut self.part {
                Part::Head(_) => self.feed_head(bytes)?,
                Part::Body(missing) => {
                    let (taken, is_last) = take(missing, bytes.len());
                    if is_last {
                        self.part = Part::Done;
                    }
                    self.count(bytes.get(..taken).unwrap_or_default());
                    taken
                }
                Part::ChunkLine(_) => self.feed_chunk_line(bytes)?,
                Part::Chunk(missing) => {
                    let data = usize::try_from(missing.saturating_sub(2)).unwrap_or(usize::MAX);
                    let (taken, is_last) = take(missing, bytes.len());
                    if is_last {
                        self.part = Part::ChunkLine(Vec::new());
                    }
                    self.count(bytes.get(..taken.min(data)).unwrap_or_default());
                    taken
                }
                Part::Trailer(_) => self.feed_trailer(bytes),
                Part::Done => return Err("bytes behind the answer"),
            };
            bytes = bytes.get(used..).unwrap_or_default();
        }
        Ok(())
    }

    /// Counts bytes of the body.
    fn count(&mut self, data: &[u8]) {
        self.answer.body_bytes += data.len() as u64;
        for at in memchr_iter(b'\n', data) {
            let before = at.checked_sub(1).and_then(|before| data.get(before));
            let is_empty_line = before.map_or(self.ends_line, |byte| *byte == b'\n');
            self.answer.events += u64::from(is_empty_line);
        }
        if let Some(last) = data.last() {
            self.ends_line = *last == b'\n';
        }
    }

    fn feed_head(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let Part::Head(head) = &mut self.part else { return Ok(0) };
        let before = head.len();
        head.extend_from_slice(bytes);
        let Some(end) = memmem::find(head, b"\r\n\r\n").map(|at| at + 4) else {
            return if head.len() > HEAD_BYTES_MAX {
                Err("no end of the head")
            } else {
                Ok(bytes.len())
            };
        };
        head.truncate(end);
        let head = std::mem::take(head);
        self.read_head(&head)?;
        Ok(end - before)
    }

    fn read_head(&mut self, head: &[u8]) -> Result<(), &'static str> {
        let text = std::str::from_utf8(head).map_err(|_| "a head that is no text")?;
        let mut lines = text.split("\r\n");
        let status = lines.next().unwrap_or_default().strip_prefix("HTTP/1.1 ");
        let status = status.and_then(|rest| rest.get(..3)?.parse().ok());
        self.answer.status = status.ok_or("no HTTP/1.1")?;
        let mut part = None;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                part = Some(Part::Body(value.parse().map_err(|_| "a length that is no number")?));
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                part = Some(Part::ChunkLine(Vec::new()));
            } else if name.eq_ignore_ascii_case("connection") {
                self.answer.closes = value.eq_ignore_ascii_case("close");
            }
        }
        self.part = match part {
            Some(Part::Body(0)) => Part::Done,
            Some(part) => part,
            None => return Err("an answer without length"),
        };
        Ok(())
    }

    fn feed_chunk_line(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let Part::ChunkLine(line) = &mut self.part else { return Ok(0) };
        let end = memchr(b'\n', bytes);
        let used = end.map_or(bytes.len(), |at| at + 1);
        line.extend_from_slice(bytes.get(..used).unwrap_or_default());
        if end.is_none() {
            return if line.len() > HEAD_BYTES_MAX {
                Err("an endless chunk line")
            } else {
                Ok(used)
            };
        }
        let digits = std::str::from_utf8(line).unwrap_or_default().trim_end();
        let size = u64::from_str_radix(digits, 16).map_err(|_| "a chunk without size")?;
        self.part = if size == 0 { Part::Trailer(true) } else { Part::Chunk(size + 2) };
        Ok(used)
    }

    fn feed_trailer(&mut self, bytes: &[u8]) -> usize {
        let Part::Trailer(at_line) = &mut self.part else { return 0 };
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'\n' if *at_line => {
                    self.part = Part::Done;
                    return at + 1;
                }
                b'\n' => *at_line = true,
                b'\r' => {}
                _ => *at_line = false,
            }
        }
        bytes.len()
    }
}

/// Takes what is there of what is missing: how much, and whether it was all.
fn take(missing: &mut u64, available: usize) -> (usize, bool) {
    let taken = usize::try_from(*missing).unwrap_or(usize::MAX).min(available);
    *missing -= taken as u64;
    (taken, *missing == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
        b\r\ndata: one\n\n\r\n6\r\ndata: \r\n5\r\ntwo\n\n\r\n0\r\n\r\n";

    /// Fed in pieces of every size, an answer says the same.
    #[track_caller]
    fn check(text: &str, expected: Answer) {
        for size in 1..=text.len() {
            let mut reader = AnswerReader::default();
            for piece in text.as_bytes().chunks(size) {
                assert!(!reader.is_done());
                reader.feed(piece).unwrap();
            }
            assert!(reader.is_done(), "in pieces of {size}");
            assert_eq!(reader.answer(), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn events_are_counted_over_chunks_and_reads() {
        let expected = Answer { status: 200, body_bytes: 22, events: 2, closes: false };
        check(CHUNKED, expected);
        check(&CHUNKED.replace("0\r\n\r\n", "0\r\nx: y\r\n\r\n"), expected);
    }

    #[test]
    fn a_length_is_kept() {
        let expected = Answer { status: 401, body_bytes: 5, events: 1, closes: true };
        let text = "HTTP/1.1 401 No\r\ncontent-length: 5\r\nConnection: close\r\n\r\na\n\nbc";
        check(text, expected);
        let mut reader = AnswerReader::default();
        assert_eq!(reader.feed(format!("{text}d").as_bytes()), Err("bytes behind the answer"));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for text in ["SSH-2.0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
            assert!(AnswerReader::default().feed(text.as_bytes()).is_err(), "{text}");
        }
    }
}
