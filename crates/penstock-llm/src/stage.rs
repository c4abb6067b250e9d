//! One stage of a body: the shape that translation and plugins share.
//!
//! A body is a sequence of [`Piece`]s. A stage may keep pieces back, change
//! them, or add some; what it does not touch goes out with the very bytes
//! that came in. Stages are values with their own state and know nothing of
//! sockets; the gateway drives them and applies backpressure between pushes.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::error::LlmError;
use crate::sse::SseEvent;

/// The head of a response while stages may still change it.
#[derive(Debug)]
pub struct Head {
    /// The status.
    pub status: StatusCode,
    /// The headers, without hop-by-hop ones.
    pub headers: HeaderMap,
}

/// Whether a stage lets the head go out now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadStep {
    /// The head may go out.
    Pass,
    /// The head has to wait until the stage has seen (part of) the body.
    Hold,
}

/// A part of a body: bytes as they came, and, on an event stream, the event
/// they encode. Decoded once, encoded once.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The bytes; for an event, its text with the blank line that ends it.
    pub raw: Bytes,
    /// The decoded event on an event stream.
    pub event: Option<SseEvent>,
}

impl Piece {
    /// An event of nothing but data.
    pub(crate) fn of_data(data: &str) -> Self {
        let event = SseEvent { event: None, data: Bytes::new(), id: None, is_terminated: true };
        Self { raw: Bytes::new(), event: Some(event) }.with_data(data)
    }

    /// The same event with other data.
    pub(crate) fn with_data(self, data: &str) -> Self {
        let mut raw = String::with_capacity(data.len() + 16);
        let (name, id) = match self.event {
            Some(event) => (event.event, event.id),
            None => (None, None),
        };
        for (field, value) in [("event", &name), ("id", &id)] {
            let value = value.as_ref().and_then(|value| std::str::from_utf8(value).ok());
            if let Some(value) = value {
                raw.extend([field, ": ", value, "\n"]);
            }
        }
        for line in data.split('\n') {
            raw.extend(["data: ", line, "\n"]);
        }
        raw.push('\n');
        let data = Bytes::copy_from_slice(data.as_bytes());
        let event = SseEvent { event: name, data, id, is_terminated: true };
        Self { raw: raw.into(), event: Some(event) }
    }
}

/// What a stage wants next.
pub enum Step {
    /// More input.
    More,
    /// Input again after the future is done.
    Wait(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// Nothing more: the rest of the body is dropped, the output is complete.
    Stop,
}

/// Where a stage puts what goes on.
#[derive(Debug, Default)]
pub struct Output {
    /// The pieces, in order.
    pub pieces: Vec<Piece>,
}

impl Output {
    /// Passes a piece on.
    pub fn push(&mut self, piece: Piece) {
        self.pieces.push(piece);
    }
}

/// One stage of a body, request or answer.
pub trait BodyStage: Send {
    /// Sees the head before the body; may change it.
    fn head(&mut self, head: &mut Head) -> HeadStep {
        let _ = head;
        HeadStep::Pass
    }

    /// Takes one piece.
    ///
    /// # Errors
    /// The body cannot be read or translated. Nothing more is pushed then.
    fn push(&mut self, piece: Piece, output: &mut Output) -> Result<Step, LlmError>;

    /// The body has ended in order. Not called for a body that broke off.
    ///
    /// # Errors
    /// The body ended where it must not.
    fn finish(&mut self, output: &mut Output) -> Result<Step, LlmError>;
}

/// Two stages that never wait nor stop, one behind the other.
pub(crate) struct Chain {
    /// What sees the pieces first.
    pub(crate) first: Box<dyn BodyStage>,
    /// What sees the pieces that the first one makes.
    pub(crate) second: Box<dyn BodyStage>,
}

impl BodyStage for Chain {
    fn push(&mut self, piece: Piece, output: &mut Output) -> Result<Step, LlmError> {
        let mut between = Output::default();
        self.first.push(piece, &mut between)?;
        for piece in between.pieces {
            self.second.push(piece, output)?;
        }
        Ok(Step::More)
    }

    fn finish(&mut self, output: &mut Output) -> Result<Step, LlmError> {
        let mut between = Output::default();
        self.first.finish(&mut between)?;
        for piece in between.pieces {
            self.second.push(piece, output)?;
        }
        self.second.finish(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sse::SseDecoder;

    #[test]
    fn an_event_that_was_written_anew_is_read_as_such() {
        let read = |text: &str| {
            let mut pieces = Vec::new();
            SseDecoder::new().push(Bytes::copy_from_slice(text.as_bytes()), &mut pieces).unwrap();
            pieces.remove(0)
        };
        let piece = read("id:7\r\nevent: e\r\n: c\r\ndata: old\r\n\r\n").with_data("a\nb");
        assert_eq!(piece.raw, "event: e\nid: 7\ndata: a\ndata: b\n\n");
        assert_eq!(piece.event, read(std::str::from_utf8(&piece.raw).unwrap()).event);
        assert_eq!(Piece::of_data("x").raw, "data: x\n\n");
    }
}
