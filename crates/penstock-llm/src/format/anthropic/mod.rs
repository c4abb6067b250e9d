//! Anthropic's Messages.

mod answer;
mod read;
mod stream;
mod write;

pub use self::answer::{read_answer, write_answer};
pub use self::read::read_request;
pub use self::stream::{Decoder, Encoder};
pub use self::write::write_request;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Finish, Tokens};
use super::chat::Thought;

/// `stop_reason`, and `stop_sequence` beside it.
fn stop_reason(finish: &Finish) -> (&str, Option<&str>) {
    match finish {
        Finish::Stop => ("end_turn", None),
        Finish::StopSequence(text) => ("stop_sequence", text.as_deref()),
        Finish::Length => ("max_tokens", None),
        Finish::ToolCalls => ("tool_use", None),
        Finish::ContentFilter | Finish::Refusal => ("refusal", None),
        Finish::Other(word) => (word, None),
    }
}

fn finish_of(reason: &str, sequence: Option<&str>) -> Finish {
    match reason {
        "end_turn" => Finish::Stop,
        "stop_sequence" => Finish::StopSequence(sequence.map(str::to_owned)),
        "max_tokens" | "model_context_window_exceeded" => Finish::Length,
        "tool_use" => Finish::ToolCalls,
        "refusal" => Finish::Refusal,
        other => Finish::Other(other.to_owned()),
    }
}

/// `usage`. Its input tokens do not count those from and into the cache.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
struct Usage {
    #[serde(default)]
    input_tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cache_creation_input_tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cache_read_input_tokens: Option<u64>,
    #[serde(default)]
    output_tokens: Option<u64>,
}

impl From<Tokens> for Usage {
    fn from(tokens: Tokens) -> Self {
        let cached = tokens.cache_read.unwrap_or(0).saturating_add(tokens.cache_write.unwrap_or(0));
        Self {
            input_tokens: Some(tokens.input.saturating_sub(cached)),
            cache_creation_input_tokens: tokens.cache_write,
            cache_read_input_tokens: tokens.cache_read,
            output_tokens: Some(tokens.output),
        }
    }
}

impl From<Usage> for Tokens {
    fn from(usage: Usage) -> Self {
        let counts =
            [usage.input_tokens, usage.cache_creation_input_tokens, usage.cache_read_input_tokens];
        Self {
            input: counts.into_iter().flatten().fold(0, u64::saturating_add),
            output: usage.output_tokens.unwrap_or(0),
            cache_read: usage.cache_read_input_tokens,
            cache_write: usage.cache_creation_input_tokens,
            reasoning: None,
            total: None,
        }
    }
}

/// Whether a vendor's own part is a block of Anthropic's.
fn is_block(part: &Value) -> bool {
    part.get("type").is_some_and(Value::is_string)
}

/// A thought as a block.
fn thinking_block(thought: Thought) -> Value {
    match thought.redacted {
        Some(data) => json!({"type": "redacted_thinking", "data": data}),
        None => json!({
            "type": "thinking",
            "thinking": thought.text,
            "signature": thought.signature.unwrap_or_default(),
        }),
    }
}
