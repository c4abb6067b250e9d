//! A response, and the items of its output.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::echo::Echo;
use super::stream::Encoder;
use crate::format::answer::{Answer, Finish, Tokens};

/// Writes an answer: its first choice, which is all that the format has.
/// `now`, in seconds since 1970, stands where the vendor tells no time.
pub fn write_answer(answer: &Answer, echo: Echo, now: u64) -> Value {
    let mut response = Encoder::whole(answer, echo, now);
    if let (Some(tier), Value::Object(response)) = (answer.more.get("service_tier"), &mut response)
    {
        response.insert("service_tier".into(), tier.clone());
    }
    response
}

/// A response, at any time of its life.
#[derive(Serialize)]
pub(super) struct Response<'a> {
    pub(super) id: &'a str,
    pub(super) object: &'static str,
    pub(super) created_at: u64,
    pub(super) status: &'static str,
    pub(super) error: Option<Value>,
    pub(super) incomplete_details: Option<Value>,
    pub(super) model: &'a str,
    pub(super) output: &'a [Item],
    pub(super) usage: Option<Usage>,
    #[serde(flatten)]
    pub(super) echo: &'a Map<String, Value>,
}

/// An item of the output.
#[derive(Debug, Serialize)]
pub(super) struct Item {
    pub(super) id: String,
    #[serde(flatten)]
    pub(super) kind: Kind,
    pub(super) status: &'static str,
}

/// What an item is.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Kind {
    Message {
        role: &'static str,
        content: Vec<Content>,
    },
    Reasoning {
        summary: Vec<Summary>,
        #[serde(skip_serializing_if = "Option::is_none")]
        encrypted_content: Option<String>,
    },
    FunctionCall {
        call_id: String,
        name: String,
        arguments: String,
        /// The vendor's proof, where OpenAI's format of chat has it, too.
        #[serde(skip_serializing_if = "Option::is_none")]
        extra_content: Option<Value>,
    },
}

/// A part of a message.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Content {
    OutputText { text: String, annotations: Vec<Value>, logprobs: Vec<Value> },
    Refusal { refusal: String },
}

/// A part of a summary.
#[derive(Debug, Serialize)]
#[serde(tag = "type")]
pub(super) enum Summary {
    #[serde(rename = "summary_text")]
    Text { text: String },
}

/// `usage`, in which every member has to be.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Usage {
    input_tokens: u64,
    input_tokens_details: InputDetails,
    output_tokens: u64,
    output_tokens_details: OutputDetails,
    total_tokens: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct InputDetails {
    cached_tokens: u64,
    cache_write_tokens: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct OutputDetails {
    reasoning_tokens: u64,
}

impl From<Tokens> for Usage {
    fn from(tokens: Tokens) -> Self {
        Self {
            input_tokens: tokens.input,
            input_tokens_details: InputDetails {
                cached_tokens: tokens.cache_read.unwrap_or(0),
                cache_write_tokens: tokens.cache_write.unwrap_or(0),
            },
            output_tokens: tokens.output,
            output_tokens_details: OutputDetails {
                reasoning_tokens: tokens.reasoning.unwrap_or(0),
            },
            total_tokens: tokens.total(),
        }
    }
}

/// Why a response that ends so is not complete; `None` where it is.
pub(super) fn incomplete_reason(finish: Option<&Finish>) -> Option<&'static str> {
    match finish? {
        Finish::Length => Some("max_output_tokens"),
        Finish::ContentFilter | Finish::Refusal => Some("content_filter"),
        Finish::Stop | Finish::StopSequence(_) | Finish::ToolCalls | Finish::Other(_) => None,
    }
}

/// Anthropic's citation of a page, for the text that stands there, in
/// characters; `None` for one of a document, which OpenAI knows by the id of
/// a file.
pub(super) fn annotation_of(citation: &Value, (start, end): (usize, usize)) -> Option<Value> {
    let url = citation.get("url").and_then(Value::as_str)?;
    let title = citation.get("title").and_then(Value::as_str).unwrap_or_default();
    Some(json!({
        "type": "url_citation",
        "url": url,
        "title": title,
        "start_index": start,
        "end_index": end,
    }))
}
