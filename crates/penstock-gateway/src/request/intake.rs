//! Reads the body of a request into memory, for those who need all of it.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body;

use super::Intake;
use crate::error::{ErrorKind, GatewayError};
use crate::incoming::{Incoming, IncomingError};
use crate::listener::http1::Receiving;
use crate::state::BufferShare;

/// Reads a body to its end, into one piece.
pub(super) async fn read_all(
    incoming: &mut Incoming,
    share: &mut BufferShare,
    intake: Intake,
) -> Result<Bytes, GatewayError> {
    if let Incoming::Http1(receiving) = incoming
        && let Some(length) = receiving.known_length()
    {
        gather(receiving, length, share, intake.idle_timeout).await?;
    }
    let mut first: Option<Bytes> = None;
    let mut buffer: Option<BytesMut> = None;
    let mut length = 0;
    while let Some(data) = next_data(incoming, intake.idle_timeout).await? {
        length += data.len();
        if length > intake.bytes_max {
            return Err(GatewayError::new(ErrorKind::BodyTooLarge));
        }
        if !share.grow_to(length) {
            return Err(GatewayError::new(ErrorKind::OutOfBuffers));
        }
        match (&mut buffer, first.take()) {
            (None, None) => first = Some(data),
            (None, Some(one)) => {
                // One allocation for what is announced, and no more than
                // what came so far where it is not.
                let announced = usize::try_from(incoming.size_hint().lower()).unwrap_or(0);
                let room = (one.len() + data.len()).saturating_add(announced.min(intake.bytes_max));
                let mut joined = BytesMut::with_capacity(room);
                joined.extend_from_slice(&one);
                joined.extend_from_slice(&data);
                buffer = Some(joined);
            }
            (Some(buffer), _) => buffer.extend_from_slice(&data),
        }
    }
    Ok(match buffer {
        Some(buffer) => buffer.freeze(),
        None => first.unwrap_or_default(),
    })
}

/// Waits until all of a body of this length is there, to be had as one piece.
async fn gather(
    receiving: &mut Receiving,
    length: u64,
    share: &mut BufferShare,
    idle_timeout: Duration,
) -> Result<(), GatewayError> {
    let mut count = 0;
    while (count as u64) < length {
        let gathered = std::future::poll_fn(|cx| receiving.poll_gathered(cx, count));
        count = within(idle_timeout, gathered).await?.map_err(broken_off)?;
        if !share.grow_to(count) {
            return Err(GatewayError::new(ErrorKind::OutOfBuffers));
        }
    }
    Ok(())
}

/// What comes of a body before the client has paused too long.
async fn within<T>(
    idle_timeout: Duration,
    coming: impl Future<Output = T>,
) -> Result<T, GatewayError> {
    let came = tokio::time::timeout(idle_timeout, coming).await;
    came.map_err(|_| GatewayError::new(ErrorKind::BodyTimeout))
}

fn broken_off(error: IncomingError) -> GatewayError {
    let kind = match error.is_bad_framing() {
        true => ErrorKind::InvalidRequest,
        false => ErrorKind::ClientClosed,
    };
    GatewayError::new(kind).because(error)
}

async fn next_data(
    incoming: &mut Incoming,
    idle_timeout: Duration,
) -> Result<Option<Bytes>, GatewayError> {
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut *incoming).poll_frame(cx));
        let Some(frame) = within(idle_timeout, frame).await? else { return Ok(None) };
        if let Ok(data) = frame.map_err(broken_off)?.into_data()
            && !data.is_empty()
        {
            return Ok(Some(data));
        }
    }
}
