//! Google's `generateContent` and `streamGenerateContent`.
//!
//! The model, and whether the answer is a stream, stand in the URL, so the
//! body of a request has neither.

mod answer;
mod logprobs;
mod part;
mod read;
mod schema;
mod stream;
mod write;

pub use self::answer::{read_answer, write_answer};
pub use self::read::{read_request, wants_thoughts};
pub use self::stream::{Decoder, Encoder, Form};
pub use self::write::{Dialect, write_request};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::{Finish, Tokens};

/// Members of `generationConfig` that others have no word for; a
/// [`super::chat::Chat`] has them among `more`.
const CONFIG: [&str; 7] = [
    "audioTimestamp",
    "enableAffectiveDialog",
    "enableEnhancedCivicAnswers",
    "imageConfig",
    "mediaResolution",
    "modelSelectionConfig",
    "speechConfig",
];

/// Parts of the tools that Google runs.
const VENDOR_PARTS: [&str; 4] =
    ["executableCode", "codeExecutionResult", "toolCall", "toolResponse"];

/// Whether a vendor's own part is one of Google's.
fn is_google_part(part: &Value) -> bool {
    VENDOR_PARTS.iter().any(|key| part.get(key).is_some())
}

/// `finishReason`.
fn finish_reason(finish: &Finish) -> &str {
    match finish {
        Finish::Stop | Finish::StopSequence(_) | Finish::ToolCalls => "STOP",
        Finish::Length => "MAX_TOKENS",
        Finish::ContentFilter | Finish::Refusal => "SAFETY",
        Finish::Other(word) if is_word(word) => word,
        Finish::Other(_) => "OTHER",
    }
}

/// Whether it looks like one of Google's words, of which there are ever more.
fn is_word(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

fn finish_of(word: &str, calls: bool) -> Option<Finish> {
    match word {
        "" | "FINISH_REASON_UNSPECIFIED" => None,
        "STOP" if calls => Some(Finish::ToolCalls),
        "STOP" => Some(Finish::Stop),
        "MAX_TOKENS" => Some(Finish::Length),
        "SAFETY"
        | "RECITATION"
        | "LANGUAGE"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "MODEL_ARMOR"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION" => Some(Finish::ContentFilter),
        other => Some(Finish::Other(other.to_owned())),
    }
}

/// `usageMetadata`. Its count of the answer does not count the thoughts, and
/// that of the prompt not what tools of Google's put into it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Usage {
    #[serde(deserialize_with = "count")]
    prompt_token_count: Option<u64>,
    #[serde(deserialize_with = "count", skip_serializing_if = "Option::is_none")]
    cached_content_token_count: Option<u64>,
    #[serde(deserialize_with = "count")]
    candidates_token_count: Option<u64>,
    #[serde(deserialize_with = "count", skip_serializing_if = "Option::is_none")]
    tool_use_prompt_token_count: Option<u64>,
    #[serde(deserialize_with = "count", skip_serializing_if = "Option::is_none")]
    thoughts_token_count: Option<u64>,
    #[serde(deserialize_with = "count")]
    total_token_count: Option<u64>,
}

/// A count; what is none (negative, a fraction) is not told.
fn count<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(Value::deserialize(deserializer)?.as_u64())
}

impl From<Tokens> for Usage {
    fn from(tokens: Tokens) -> Self {
        let answer = tokens.output.saturating_sub(tokens.reasoning.unwrap_or(0));
        Self {
            prompt_token_count: Some(tokens.input),
            cached_content_token_count: tokens.cache_read,
            candidates_token_count: Some(answer),
            tool_use_prompt_token_count: None,
            thoughts_token_count: tokens.reasoning,
            total_token_count: Some(tokens.total()),
        }
    }
}

impl From<Usage> for Tokens {
    fn from(usage: Usage) -> Self {
        let sum = |one: Option<u64>, other: Option<u64>| {
            one.unwrap_or(0).saturating_add(other.unwrap_or(0))
        };
        let input = sum(usage.prompt_token_count, usage.tool_use_prompt_token_count);
        let output = sum(usage.candidates_token_count, usage.thoughts_token_count);
        let both = input.saturating_add(output);
        Self {
            input,
            output,
            cache_read: usage.cached_content_token_count,
            cache_write: None,
            reasoning: usage.thoughts_token_count,
            total: usage.total_token_count.filter(|total| *total != 0 && *total != both),
        }
    }
}

/// `code` and `status` of an error, by a vendor's word for its kind.
fn status_of(kind: &str) -> (u16, &str) {
    match kind {
        "INVALID_ARGUMENT" | "invalid_request_error" => (400, "INVALID_ARGUMENT"),
        "FAILED_PRECONDITION" => (400, "FAILED_PRECONDITION"),
        "OUT_OF_RANGE" => (400, "OUT_OF_RANGE"),
        "UNAUTHENTICATED" | "authentication_error" => (401, "UNAUTHENTICATED"),
        "PERMISSION_DENIED" | "permission_error" => (403, "PERMISSION_DENIED"),
        "NOT_FOUND" | "not_found_error" => (404, "NOT_FOUND"),
        "ABORTED" => (409, "ABORTED"),
        "RESOURCE_EXHAUSTED" | "rate_limit_error" | "insufficient_quota" => {
            (429, "RESOURCE_EXHAUSTED")
        }
        "CANCELLED" => (499, "CANCELLED"),
        "UNIMPLEMENTED" => (501, "UNIMPLEMENTED"),
        "UNAVAILABLE" | "overloaded_error" => (503, "UNAVAILABLE"),
        "DEADLINE_EXCEEDED" | "timeout_error" => (504, "DEADLINE_EXCEEDED"),
        _ => (500, "INTERNAL"),
    }
}
