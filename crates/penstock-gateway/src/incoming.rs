//! The body of a client's request as it comes in, of either version of HTTP.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::framing::Wrong;
use crate::listener::http1::Receiving;
use crate::tunnel::Handover;

/// What comes behind the head of a request.
pub enum Incoming {
    /// All of the body, which came with the head; empty where there is none.
    Whole(Bytes),
    /// A body that is read off an HTTP/1 connection.
    Http1(Receiving),
    /// A body in frames of HTTP/2.
    Http2(hyper::body::Incoming),
    /// No body, and perhaps another protocol: the client offers one.
    Offer(Handover),
}

/// Why a request's body broke off.
#[derive(Debug, thiserror::Error)]
pub enum IncomingError {
    /// Its framing is not valid.
    #[error("the body is not valid: {0}")]
    Framing(Wrong),
    /// The connection ended or broke.
    #[error("the connection broke off: {0}")]
    Connection(io::Error),
    /// The stream was reset, or its connection broke.
    #[error("the stream broke off: {0}")]
    Stream(hyper::Error),
}

impl IncomingError {
    /// Whether it is the framing, rather than the connection.
    pub fn is_bad_framing(&self) -> bool {
        matches!(self, Self::Framing(_))
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = IncomingError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, IncomingError>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Http1(receiving) => receiving.poll_frame(cx),
            Self::Http2(incoming) => {
                Pin::new(incoming).poll_frame(cx).map_err(IncomingError::Stream)
            }
            Self::Offer(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Http1(receiving) => receiving.known_length() == Some(0),
            Self::Http2(incoming) => incoming.is_end_stream(),
            Self::Offer(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Http1(receiving) => {
                receiving.known_length().map_or_else(SizeHint::default, SizeHint::with_exact)
            }
            Self::Http2(incoming) => incoming.size_hint(),
            Self::Offer(_) => SizeHint::with_exact(0),
        }
    }
}
