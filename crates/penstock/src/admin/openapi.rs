//! The description of the API: OpenAPI 3.1, by hand in `openapi.json`.

use serde_json::Value as Json;

use super::api::Api;
use super::call::Call;
use crate::target::{Failure, FailureKind};

const DOCUMENT: &str = include_str!("openapi.json");

/// `GET openapi.json`.
pub fn document(_: &Api, call: &Call) -> Result<Json, Failure> {
    call.allow(&[])?;
    let mut document: Json = serde_json::from_str(DOCUMENT)
        .map_err(|error| Failure::new(FailureKind::Unavailable, error.to_string()))?;
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    Ok(document)
}
