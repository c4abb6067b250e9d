//! Answers that the gateway gives itself. The only place that knows which
//! status an error has and how each client API spells an error.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, HeaderName, StatusCode};
use penstock_llm::Api;
use penstock_llm::api::ErrorFormat;
use serde_json::json;

use crate::error::{ErrorKind, GatewayError};

/// The header that carries the request id.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// An answer without an upstream. On the path of an LLM API, the body is
/// replaced by that API's error shape.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// Headers besides the content type.
    pub headers: HeaderMap,
    /// The body off the LLM paths; mostly empty, as in Higress.
    pub body: Bytes,
    /// What an LLM client is told; never holds internals.
    pub message: String,
    /// The stable code, also the label in metrics and logs.
    pub code: &'static str,
    /// Whether it is no error: it has no body for any client.
    pub is_bare: bool,
}

impl Reply {
    /// A reply with an empty body.
    pub fn new(status: StatusCode, code: &'static str, message: &str) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            message: message.to_owned(),
            code,
            is_bare: false,
        }
    }

    /// The same reply with a header.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// The same reply with a body for clients of other APIs.
    pub fn with_body(mut self, body: &'static str) -> Self {
        self.body = Bytes::from_static(body.as_bytes());
        self
    }
}

impl From<&GatewayError> for Reply {
    fn from(error: &GatewayError) -> Self {
        let status = status_of(error.kind);
        let mut reply = Self::new(status, error.kind.as_str(), &error.message);
        // Envoy's own words, which monitoring of Higress users looks for.
        reply.body = Bytes::from_static(match error.kind {
            ErrorKind::NoEndpoint => b"no healthy upstream",
            ErrorKind::ServiceBusy => {
                b"upstream connect error or disconnect/reset before headers. reset reason: overflow"
            }
            ErrorKind::UpstreamTimeout => b"upstream request timeout",
            ErrorKind::BodyTooLarge => b"request payload too large",
            _ => b"",
        });
        if matches!(error.kind, ErrorKind::OutOfBuffers | ErrorKind::ServiceBusy) {
            reply.headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        reply
    }
}

/// The status of an error.
pub(crate) fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::NoRoute => StatusCode::NOT_FOUND,
        // Higress: ai-proxy, provider/context.go.
        ErrorKind::ContextUnavailable => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorKind::NotConfigured
        | ErrorKind::RouteClosed
        | ErrorKind::PluginBroken
        | ErrorKind::ServiceUnknown
        | ErrorKind::NoEndpoint
        | ErrorKind::ServiceBusy
        | ErrorKind::ConnectFailed
        | ErrorKind::TlsFailed
        | ErrorKind::OutOfBuffers => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::UpstreamClosed | ErrorKind::UpstreamInvalid => StatusCode::BAD_GATEWAY,
        ErrorKind::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        ErrorKind::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
        ErrorKind::ClientClosed | ErrorKind::InvalidRequest => StatusCode::BAD_REQUEST,
        ErrorKind::UnsupportedApi => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::UpgradeRefused | ErrorKind::ClientCertificateMissing => StatusCode::FORBIDDEN,
        ErrorKind::Misdirected => StatusCode::MISDIRECTED_REQUEST,
    }
}

/// How a client wants to be told of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// In the shape of an LLM API.
    Llm(Api),
    /// As a status of gRPC.
    Grpc,
    /// As HTTP has it.
    Plain,
}

impl From<Option<Api>> for Audience {
    fn from(api: Option<Api>) -> Self {
        api.map_or(Self::Plain, Self::Llm)
    }
}

/// Turns a reply into a response for a client.
pub fn to_response(
    mut reply: Reply,
    audience: Audience,
    request_id: &str,
) -> http::Response<Bytes> {
    let (body, content_type) = match audience {
        _ if reply.is_bare => (Bytes::new(), None),
        Audience::Llm(api) => (
            Bytes::from(error_body(api.error_format(), &reply, request_id)),
            Some("application/json"),
        ),
        Audience::Grpc => {
            speak_grpc(&mut reply);
            (Bytes::new(), Some("application/grpc"))
        }
        Audience::Plain if reply.body.is_empty() => (reply.body, None),
        Audience::Plain => (reply.body, Some("text/plain")),
    };
    let mut response = http::Response::new(body);
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    if let Some(content_type) = content_type {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    if let Ok(value) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    response
}

/// Says in headers what HTTP would say with its status (Envoy:
/// `httpToGrpcStatus`).
fn speak_grpc(reply: &mut Reply) {
    let status = match reply.status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    };
    reply.headers.insert(GRPC_STATUS, HeaderValue::from(status));
    // The gateway's own messages are ASCII; one that is not would have to be
    // encoded, and is left out.
    if let Ok(message) = HeaderValue::from_str(&reply.message) {
        reply.headers.insert(GRPC_MESSAGE, message);
    }
    reply.status = StatusCode::OK;
}

fn error_body(format: ErrorFormat, reply: &Reply, request_id: &str) -> String {
    let body = match format {
        ErrorFormat::OpenAi => json!({
            "error": {
                "message": reply.message,
                "type": error_type(reply.status),
                "param": null,
                "code": reply.code,
            },
            "request_id": request_id,
        }),
        ErrorFormat::Anthropic => json!({
            "type": "error",
            "error": {"type": error_type(reply.status), "message": reply.message},
            "request_id": request_id,
        }),
        ErrorFormat::Gemini => json!({
            "error": {
                "code": reply.status.as_u16(),
                "message": reply.message,
                "status": google_status(reply.status),
                "details": [{
                    "@type": "type.googleapis.com/google.rpc.RequestInfo",
                    "requestId": request_id,
                }],
            },
        }),
    };
    body.to_string()
}

/// The error types that OpenAI and Anthropic share.
fn error_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        504 => "timeout_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

/// The canonical codes of Google's APIs.
fn google_status(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        501 => "UNIMPLEMENTED",
        502 | 503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        400..=499 => "INVALID_ARGUMENT",
        _ => "INTERNAL",
    }
}
