//! Reading the bodies of requests, within limits.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

use super::refused::Refused;
use crate::target::FailureKind;

/// The largest body that is read, in bytes.
pub const BODY_BYTES_MAX: usize = 64 << 20;
/// How long reading a body may take.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How much of a body that nobody wants is read all the same, in bytes, so
/// that whoever sends it comes to read why.
const DISCARDED_BYTES_MAX: usize = 1 << 20;
/// How long that may take.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads a whole body.
pub async fn read(body: Incoming) -> Result<Bytes, Refused> {
    let too_large = || {
        let message = format!("the body is larger than {} MiB", BODY_BYTES_MAX >> 20);
        Refused::new(StatusCode::PAYLOAD_TOO_LARGE, FailureKind::Invalid, message)
    };
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(too_large());
    }
    match timeout(READ_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(broken(StatusCode::BAD_REQUEST, "the body broke off")),
        Err(_) => Err(broken(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
    }
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
