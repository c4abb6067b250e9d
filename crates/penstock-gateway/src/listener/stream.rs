//! A client's socket, plain or encrypted, as hyper reads and writes HTTP/2 on
//! it: what was read to find out the version comes again, and the connection's
//! activity is noted.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::activity::Activity;
use super::admission::Admitted;

/// What is this short is put together: one copy is cheaper than several
/// buffers for the system.
const JOINED_BYTES_MAX: usize = 2 << 10;

/// All parts as one, where they fit.
fn join<'a>(parts: &[io::IoSlice<'_>], joined: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut end = 0;
    for part in parts {
        let place = joined.get_mut(end..end + part.len())?;
        place.copy_from_slice(part);
        end += part.len();
    }
    joined.get(..end)
}

/// A client's socket.
pub(super) struct ClientStream<S> {
    socket: TokioIo<S>,
    /// What was read already.
    first: Bytes,
    activity: Arc<Activity>,
    /// The connection counts as long as its socket is open.
    _admitted: Admitted,
}

impl<S> ClientStream<S> {
    pub(super) fn new(
        socket: S,
        first: Bytes,
        activity: Arc<Activity>,
        admitted: Admitted,
    ) -> Self {
        Self { socket: TokioIo::new(socket), first, activity, _admitted: admitted }
    }

    fn note<T>(&self, poll: Poll<T>) -> Poll<T> {
        self.activity.wrote(poll.is_pending());
        poll
    }
}

impl<S: AsyncRead + Unpin> Read for ClientStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.first.is_empty() {
            let count = this.first.len().min(buffer.remaining());
            buffer.put_slice(&this.first.split_to(count));
            this.activity.received();
            return Poll::Ready(Ok(()));
        }
        let poll = Pin::new(&mut this.socket).poll_read(cx, buffer);
        if poll.is_ready() {
            this.activity.received();
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> Write for ClientStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.note(poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.socket).poll_flush(cx);
        self.note(poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.socket).poll_shutdown(cx);
        self.note(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut joined = [0; JOINED_BYTES_MAX];
        let poll = match join(parts, &mut joined) {
            Some(bytes) => Pin::new(&mut self.socket).poll_write(cx, bytes),
            None => Pin::new(&mut self.socket).poll_write_vectored(cx, parts),
        };
        self.note(poll)
    }
}
