//! The credential of a client that brings its own.

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use crate::error::LlmError;

const BEARER: &[u8] = b"Bearer ";
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_AUTHORIZATION: HeaderName = HeaderName::from_static("x-authorization");

/// What `Authorization` has to become so that the client's own token is sent;
/// `None` where it is that already. Clients of other vendors' APIs put it into
/// `x-api-key`, so that comes first.
pub(super) fn of_client(client: &HeaderMap) -> Result<Option<HeaderValue>, LlmError> {
    let names = [X_API_KEY, X_AUTHORIZATION, AUTHORIZATION];
    let found = names.into_iter().find_map(|name| {
        let value = client.get(&name).filter(|value| !value.is_empty())?;
        Some((name, value))
    });
    let Some((name, value)) = found else { return Ok(None) };
    let start = value.as_bytes().get(..BEARER.len());
    let mut credential = match start.is_some_and(|start| start.eq_ignore_ascii_case(BEARER)) {
        true if name == AUTHORIZATION => return Ok(None),
        true => value.clone(),
        false => HeaderValue::from_maybe_shared(Bytes::from([BEARER, value.as_bytes()].concat()))
            .map_err(|_| LlmError::InvalidRequest("the API token cannot be sent".into()))?,
    };
    credential.set_sensitive(true);
    Ok(Some(credential))
}
