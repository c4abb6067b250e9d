//! What a vendor says instead of an answer, in the words of the client's API.

use http::StatusCode;
use serde_json::{Value, json};

use crate::api::ErrorFormat;

/// The longest message that is passed on, in characters.
const MESSAGE_CHARS_MAX: usize = 2000;

/// The body of an error in the format of a client, out of a vendor's of any
/// format. A page of a proxy is no message; it is not passed on.
pub fn translate(status: StatusCode, body: &[u8], format: ErrorFormat) -> Value {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let inner = said.get("error").filter(|error| error.is_object()).unwrap_or(&said);
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let message = ["message", "msg", "detail", "error", "error_description", "Message"];
    let message = message.into_iter().find_map(|key| text(inner, key).or(text(&said, key)));
    let message = message
        .filter(|message| !message.is_empty())
        .unwrap_or_else(|| format!("the provider answered with status {}", status.as_u16()));
    let message: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
    match format {
        ErrorFormat::OpenAi => {
            let kind = text(inner, "type").filter(|kind| kind != "error");
            let code = inner.get("code").filter(|code| code.is_string()).cloned();
            json!({"error": {
                "message": message,
                "type": kind.unwrap_or_else(|| openai_type(status).to_owned()),
                "param": inner.get("param").filter(|param| param.is_string()),
                "code": code.unwrap_or_default(),
            }})
        }
        ErrorFormat::Anthropic => {
            json!({"type": "error", "error": {"type": anthropic_type(status), "message": message}})
        }
        ErrorFormat::Gemini => json!({"error": {
            "code": status.as_u16(),
            "message": message,
            "status": google_status(status),
        }}),
    }
}

fn openai_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

fn anthropic_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

fn google_status(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        400..=498 => "INVALID_ARGUMENT",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, body: &str, format: ErrorFormat, expected: &str) {
        let status = StatusCode::from_u16(status).unwrap();
        let found = translate(status, body.as_bytes(), format);
        assert_eq!(found, serde_json::from_str::<Value>(expected).unwrap(), "{body}");
    }

    #[test]
    fn every_client_is_told_in_its_own_words() {
        let anthropic = r#"{"type":"error","error":{"type":"overloaded_error","message":"Busy"}}"#;
        check(
            529,
            anthropic,
            ErrorFormat::OpenAi,
            r#"{"error":{"message":"Busy","type":"overloaded_error","param":null,"code":null}}"#,
        );
        check(529, anthropic, ErrorFormat::Anthropic, anthropic);
        check(
            503,
            anthropic,
            ErrorFormat::Gemini,
            r#"{"error":{"code":503,"message":"Busy","status":"UNAVAILABLE"}}"#,
        );
        let openai = r#"{"error":{"message":"No such model","type":"invalid_request_error","param":"model","code":"model_not_found"}}"#;
        check(404, openai, ErrorFormat::OpenAi, openai);
        check(
            404,
            openai,
            ErrorFormat::Anthropic,
            r#"{"type":"error","error":{"type":"not_found_error","message":"No such model"}}"#,
        );
        let gemini = r#"{"error":{"code":429,"message":"Quota","status":"RESOURCE_EXHAUSTED"}}"#;
        check(
            429,
            gemini,
            ErrorFormat::OpenAi,
            r#"{"error":{"message":"Quota","type":"rate_limit_error","param":null,"code":null}}"#,
        );
        check(429, gemini, ErrorFormat::Gemini, gemini);
    }

    #[test]
    fn what_is_no_error_is_not_passed_on() {
        for body in [
            "",
            "<html>10.0.0.7 is busy</html>",
            "[]",
            "7",
            r#"{"message":5}"#,
            r#"{"error":{"message":""}}"#,
        ] {
            let expected = r#"{"type":"error","error":{"type":"api_error","message":"the provider answered with status 502"}}"#;
            check(502, body, ErrorFormat::Anthropic, expected);
        }
        check(
            400,
            r#"{"error":"bad"}"#,
            ErrorFormat::Anthropic,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"bad"}}"#,
        );
        check(
            400,
            r#"{"message":"bad"}"#,
            ErrorFormat::Anthropic,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"bad"}}"#,
        );
    }
}
