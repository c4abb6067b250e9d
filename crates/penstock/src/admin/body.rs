//! Reading the bodies of requests, within limits.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::refused::Refused;
use crate::target::FailureKind;

/// The largest body that is read, in bytes.
pub const BODY_BYTES_MAX: usize = 64 << 20;
const KIB: usize = 1 << 10;
/// How much all bodies that are held may take, in KiB.
const ROOM_KIB: usize = 256 << 10;
/// How long reading a body may take.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How much of a body that nobody wants is read all the same, in bytes, so
/// that whoever sends it comes to read why.
const DISCARDED_BYTES_MAX: usize = 1 << 20;
/// How long that may take.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// Room in memory for the bodies of all requests.
pub struct Room(Arc<Semaphore>);

/// A body, and the room that it takes.
pub struct Held {
    /// The body.
    pub bytes: Bytes,
    /// Given back when whoever reads the body is done.
    pub room: OwnedSemaphorePermit,
}

impl Room {
    /// All of it.
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(ROOM_KIB)))
    }

    fn take(&self, kib: usize) -> Result<OwnedSemaphorePermit, Refused> {
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        self.0.clone().try_acquire_many_owned(kib).map_err(|_| Refused::busy())
    }
}

/// Reads a whole body.
pub async fn read(body: Incoming, room: &Room) -> Result<Held, Refused> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > BODY_BYTES_MAX {
        return Err(too_large());
    }
    let taken = room.take(announced.div_ceil(KIB))?;
    let read = collect(body, announced, room, taken);
    timeout(READ_TIMEOUT, read).await.unwrap_or_else(|_| {
        Err(broken(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"))
    })
}

async fn collect(
    body: Incoming,
    announced: usize,
    room: &Room,
    mut taken: OwnedSemaphorePermit,
) -> Result<Held, Refused> {
    let mut body = Limited::new(body, BODY_BYTES_MAX);
    let mut bytes = BytesMut::with_capacity(announced);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| match error.is::<LengthLimitError>() {
            true => too_large(),
            false => broken(StatusCode::BAD_REQUEST, "the body broke off"),
        })?;
        let Ok(data) = frame.into_data() else { continue };
        bytes.extend_from_slice(&data);
        let more = bytes.capacity().div_ceil(KIB).saturating_sub(taken.num_permits());
        taken.merge(room.take(more)?);
    }
    Ok(Held { bytes: bytes.freeze(), room: taken })
}

fn too_large() -> Refused {
    let message = format!("the body is larger than {} MiB", BODY_BYTES_MAX >> 20);
    Refused::new(StatusCode::PAYLOAD_TOO_LARGE, FailureKind::Invalid, message)
}

fn broken(status: StatusCode, message: &str) -> Refused {
    Refused::new(status, FailureKind::Invalid, message)
}

/// Reads a body that nobody wants, if it is small.
pub async fn discard(body: Incoming) {
    let read = Limited::new(body, DISCARDED_BYTES_MAX).collect();
    // Whether it ends well does not matter to anybody.
    let _ = timeout(DISCARD_TIMEOUT, read).await;
}
