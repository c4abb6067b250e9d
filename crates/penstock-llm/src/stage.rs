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
