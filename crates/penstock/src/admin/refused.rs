//! What is answered in place of an answer.

use http::StatusCode;
use http::header::{ALLOW, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde_json::json;

use super::{AdminResponse, api};
use crate::target::{Failure, FailureKind};

/// A request that is not done.
pub struct Refused {
    status: StatusCode,
    header: Option<(HeaderName, &'static str)>,
    /// Why.
    pub failure: Failure,
}

impl Refused {
    /// A refusal with a status of its own.
    pub fn new(status: StatusCode, kind: FailureKind, message: impl Into<String>) -> Self {
        Self { status, header: None, failure: Failure::new(kind, message) }
    }

    /// Nobody may do this.
    pub fn forbidden(message: &str) -> Self {
        Failure::new(FailureKind::Forbidden, message).into()
    }

    /// Whoever asks has to say who it is.
    pub fn unauthorized(message: &str) -> Self {
        let refused = Self::from(Failure::new(FailureKind::Unauthorized, message));
        refused.with(WWW_AUTHENTICATE, "Bearer")
    }

    /// There is no such path; perhaps another one was meant.
    pub fn unknown(path: &str, nearest: Option<&str>) -> Self {
        let hint = match nearest {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => "`/api/v1/openapi.json` has all".to_owned(),
        };
        Failure::new(FailureKind::NotFound, format!("there is no `{path}`; {hint}")).into()
    }

    /// The path wants another method.
    pub fn method(allowed: &'static str) -> Self {
        let message = format!("the method has to be {}", allowed.replace(", ", " or "));
        let refused = Self::new(StatusCode::METHOD_NOT_ALLOWED, FailureKind::Invalid, message);
        refused.with(ALLOW, allowed)
    }

    /// Too many ask at once.
    pub fn busy() -> Self {
        let (status, kind) = (StatusCode::SERVICE_UNAVAILABLE, FailureKind::Unavailable);
        let refused = Self::new(status, kind, "too many requests are under way; try again");
        refused.with(RETRY_AFTER, "1")
    }

    fn with(self, name: HeaderName, value: &'static str) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    /// As an answer.
    pub fn response(&self) -> AdminResponse {
        let mut response = api::json(self.status, &json!({"error": self.failure}));
        if let Some((name, value)) = &self.header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        let status = match failure.kind {
            FailureKind::Invalid => StatusCode::BAD_REQUEST,
            FailureKind::Unauthorized => StatusCode::UNAUTHORIZED,
            FailureKind::Forbidden => StatusCode::FORBIDDEN,
            FailureKind::NotFound => StatusCode::NOT_FOUND,
            FailureKind::Conflict => StatusCode::CONFLICT,
            FailureKind::Refused => StatusCode::UNPROCESSABLE_ENTITY,
            FailureKind::Unavailable => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, header: None, failure }
    }
}
