//! A whole answer in Anthropic's format.

use serde_json::{Map, Value, json};

use super::{Usage, finish_of, is_block, stop_reason, thinking_block};
use crate::error::LlmError;
use crate::format::answer::{Answer, Choice};
use crate::format::chat::{Part, Text, Thought, ToolCall};

/// Reads an answer.
///
/// # Errors
/// It is none.
pub fn read_answer(body: &[u8]) -> Result<Answer, LlmError> {
    let mut body: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| LlmError::InvalidResponse)?;
    let mut take = |key: &str| body.get_mut(key).map(Value::take);
    let Some(Value::Array(blocks)) = take("content") else {
        return Err(LlmError::InvalidResponse);
    };
    let usage: Option<Usage> = take("usage").and_then(|usage| serde_json::from_value(usage).ok());
    let sequence = take("stop_sequence");
    let sequence = sequence.as_ref().and_then(Value::as_str);
    let finish =
        take("stop_reason").as_ref().and_then(Value::as_str).map(|r| finish_of(r, sequence));
    let parts = blocks.into_iter().map(read_block).collect();
    Ok(Answer {
        id: text_of(take("id")),
        model: text_of(take("model")),
        created: None,
        choices: vec![Choice { parts, finish, logprobs: None }],
        tokens: usage.map(Into::into),
        more: Map::new(),
    })
}

fn text_of(value: Option<Value>) -> String {
    match value {
        Some(Value::String(text)) => text,
        _ => String::new(),
    }
}

fn read_block(mut block: Value) -> Part {
    let kind = block.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut take = |key: &str| block.get_mut(key).map(Value::take).filter(|v| !v.is_null());
    match kind.as_str() {
        "text" => {
            let (text, citations) = (text_of(take("text")), take("citations"));
            Part::Text(Text { text, cache: None, citations })
        }
        "thinking" => Part::Reasoning(Thought {
            text: text_of(take("thinking")),
            signature: Some(text_of(take("signature"))).filter(|signature| !signature.is_empty()),
            redacted: None,
        }),
        "redacted_thinking" => {
            Part::Reasoning(Thought { redacted: Some(text_of(take("data"))), ..Thought::default() })
        }
        "tool_use" => Part::ToolCall(ToolCall {
            id: text_of(take("id")),
            name: text_of(take("name")),
            arguments: take("input").map_or_else(|| "{}".into(), |input| input.to_string()),
            ..ToolCall::default()
        }),
        _ => Part::Vendor(block),
    }
}

/// Writes an answer: its first choice, which is all that the format has.
pub fn write_answer(answer: Answer) -> Value {
    let choice = answer.choices.into_iter().next().unwrap_or_default();
    let content: Vec<_> = choice
        .parts
        .into_iter()
        .flat_map(|mut part| [proof_of(&mut part), Some(part)])
        .flatten()
        .filter_map(write_block)
        .collect();
    let (reason, sequence) = match &choice.finish {
        Some(finish) => {
            let (reason, sequence) = stop_reason(finish);
            (Some(reason), sequence)
        }
        None => (None, None),
    };
    json!({
        "id": answer.id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": content,
        "stop_reason": reason,
        "stop_sequence": sequence,
        "usage": Usage::from(answer.tokens.unwrap_or_default()),
    })
}

/// The proof of a call, which has no place for it, as a thought before it.
fn proof_of(part: &mut Part) -> Option<Part> {
    let Part::ToolCall(call) = part else { return None };
    let signature = Some(call.signature.take()?);
    Some(Part::Reasoning(Thought { signature, ..Thought::default() }))
}

fn write_block(part: Part) -> Option<Value> {
    match part {
        Part::Text(text) if text.text.is_empty() => None,
        Part::Text(Text { text, citations, .. }) => {
            let mut block = json!({"type": "text", "text": text});
            if let (Some(citations), Value::Object(block)) = (citations, &mut block) {
                block.insert("citations".into(), citations);
            }
            Some(block)
        }
        Part::Refusal(text) => Some(json!({"type": "text", "text": text})),
        Part::Reasoning(thought) => Some(thinking_block(thought)),
        Part::ToolCall(call) => {
            let input = call.arguments_object();
            Some(json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input}))
        }
        Part::Vendor(block) if is_block(&block) => Some(block),
        Part::Vendor(_) | Part::Media(_) | Part::ToolResult(_) => None,
    }
}
