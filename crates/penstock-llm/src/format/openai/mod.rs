//! OpenAI's Chat Completions.

mod answer;
mod read;
mod stream;
mod write;

pub use self::answer::{read_answer, write_answer};
pub use self::read::read_request;
pub use self::stream::{Decoder, Encoder};
pub use self::write::{Dialect, write_request};

use super::answer::{Finish, Tokens};
use serde::{Deserialize, Serialize};

/// The reason in OpenAI's words.
fn finish_reason(finish: &Finish) -> &str {
    match finish {
        Finish::Stop | Finish::StopSequence(_) => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::ContentFilter | Finish::Refusal => "content_filter",
        Finish::Other(word) => word,
    }
}

fn finish_of(word: &str) -> Finish {
    match word {
        "stop" => Finish::Stop,
        "length" => Finish::Length,
        "tool_calls" | "function_call" => Finish::ToolCalls,
        "content_filter" => Finish::ContentFilter,
        other => Finish::Other(other.to_owned()),
    }
}

/// `usage`. What a vendor does not say is left out.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
struct Usage {
    #[serde(default, deserialize_with = "count")]
    prompt_tokens: u64,
    #[serde(default, deserialize_with = "count")]
    completion_tokens: u64,
    #[serde(default, deserialize_with = "count")]
    total_tokens: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    completion_tokens_details: Option<CompletionDetails>,
    /// DeepSeek's word for cached tokens.
    #[serde(default, skip_serializing)]
    prompt_cache_hit_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
struct PromptDetails {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cached_tokens: Option<u64>,
    /// Not OpenAI's: what went into Anthropic's cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cache_write_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
struct CompletionDetails {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reasoning_tokens: Option<u64>,
}

/// A count; what is none (negative, `null`, a fraction) counts as nothing.
fn count<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(serde_json::Value::deserialize(deserializer)?.as_u64().unwrap_or(0))
}

impl From<Tokens> for Usage {
    fn from(tokens: Tokens) -> Self {
        let prompt = PromptDetails {
            cached_tokens: tokens.cache_read,
            cache_write_tokens: tokens.cache_write,
        };
        let has_prompt = tokens.cache_read.is_some() || tokens.cache_write.is_some();
        let completion = CompletionDetails { reasoning_tokens: tokens.reasoning };
        Self {
            prompt_tokens: tokens.input,
            completion_tokens: tokens.output,
            total_tokens: tokens.total(),
            prompt_tokens_details: has_prompt.then_some(prompt),
            completion_tokens_details: tokens.reasoning.is_some().then_some(completion),
            prompt_cache_hit_tokens: None,
        }
    }
}

impl From<Usage> for Tokens {
    fn from(usage: Usage) -> Self {
        let sum = usage.prompt_tokens.saturating_add(usage.completion_tokens);
        let prompt = usage.prompt_tokens_details.unwrap_or_default();
        Self {
            input: usage.prompt_tokens,
            output: usage.completion_tokens,
            cache_read: prompt.cached_tokens.or(usage.prompt_cache_hit_tokens),
            cache_write: prompt.cache_write_tokens,
            reasoning: usage.completion_tokens_details.unwrap_or_default().reasoning_tokens,
            total: Some(usage.total_tokens).filter(|total| *total != 0 && *total != sum),
        }
    }
}
