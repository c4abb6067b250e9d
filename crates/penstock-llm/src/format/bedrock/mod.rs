//! Amazon Bedrock's Converse. Only providers speak it, no client does.
//!
//! Model and streaming stand in the path (`/model/ID/converse`,
//! `/model/ID/converse-stream`), so the body has neither. An answer tells no
//! model, and its id is the header `x-amzn-requestid`.

mod answer;
mod cache;
mod citation;
mod media;
mod stream;
mod tool;
mod write;

pub use self::answer::read_answer;
pub use self::cache::{Positions, Retention};
pub use self::stream::Decoder;
pub use self::write::{Options, write_request};

use serde::Deserialize;

use super::answer::{Finish, Tokens};

fn finish_of(reason: &str) -> Finish {
    match reason {
        "end_turn" => Finish::Stop,
        "stop_sequence" => Finish::StopSequence(None),
        "max_tokens" | "model_context_window_exceeded" => Finish::Length,
        "tool_use" => Finish::ToolCalls,
        "content_filtered" | "guardrail_intervened" => Finish::ContentFilter,
        other => Finish::Other(other.to_owned()),
    }
}

/// `usage`. Its input tokens do not count those from and into the cache.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Usage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_write_input_tokens: Option<u64>,
}

impl From<Usage> for Tokens {
    fn from(usage: Usage) -> Self {
        let counts =
            [usage.input_tokens, usage.cache_read_input_tokens, usage.cache_write_input_tokens];
        Self {
            input: counts.into_iter().flatten().fold(0, u64::saturating_add),
            output: usage.output_tokens.unwrap_or(0),
            cache_read: usage.cache_read_input_tokens,
            cache_write: usage.cache_write_input_tokens,
            reasoning: None,
            total: None,
        }
    }
}

/// What a model takes besides what Converse has a word for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// Anthropic's.
    Claude,
    /// Amazon's.
    Nova,
    /// OpenAI's open models.
    GptOss,
    /// An ARN of the user's own, which does not say what is behind it;
    /// mostly one of Anthropic's.
    Opaque,
    /// Another one.
    Other,
}

impl Family {
    /// The family of a model's id, which may be percent-encoded.
    fn of(model: &str) -> Self {
        let names = [
            ("anthropic.claude", Self::Claude),
            ("amazon.nova", Self::Nova),
            ("openai.gpt-oss", Self::GptOss),
            ("application-inference-profile", Self::Opaque),
            ("provisioned-model", Self::Opaque),
        ];
        let found = names.into_iter().find(|(name, _)| model.contains(name));
        found.map_or(Self::Other, |(_, family)| family)
    }
}
