//! A whole answer of Converse.

use serde_json::Value;

use super::citation::citation_of;
use super::{Usage, finish_of};
use crate::error::LlmError;
use crate::format::answer::{Answer, Choice};
use crate::format::chat::{Part, Text, Thought, ToolCall};

/// Reads an answer. It has neither id nor model.
///
/// # Errors
/// It is none.
pub fn read_answer(body: &[u8]) -> Result<Answer, LlmError> {
    let mut body: Value = serde_json::from_slice(body).map_err(|_| LlmError::InvalidResponse)?;
    let content = body.pointer_mut("/output/message/content").map(Value::take);
    let Some(Value::Array(blocks)) = content else {
        return Err(LlmError::InvalidResponse);
    };
    let usage = body.get_mut("usage").map(Value::take);
    let usage: Option<Usage> = usage.and_then(|usage| serde_json::from_value(usage).ok());
    let finish = body.get("stopReason").and_then(Value::as_str).map(finish_of);
    let parts = blocks.into_iter().filter_map(read_block).collect();
    Ok(Answer {
        choices: vec![Choice { parts, finish, logprobs: None }],
        tokens: usage.map(Into::into),
        ..Answer::default()
    })
}

fn read_block(mut block: Value) -> Option<Part> {
    let (kind, value) = block.as_object_mut()?.iter_mut().next()?;
    let kind = kind.as_str();
    if kind == "text" {
        return Some(Part::text(text_of(Some(value.take()))));
    }
    let mut take = |key: &str| value.get_mut(key).map(Value::take).filter(|v| !v.is_null());
    match kind {
        "toolUse" => Some(Part::ToolCall(ToolCall {
            id: text_of(take("toolUseId")),
            name: text_of(take("name")),
            arguments: take("input").map_or_else(|| "{}".into(), |input| input.to_string()),
            ..ToolCall::default()
        })),
        "reasoningContent" => Some(Part::Reasoning(read_thought(value))),
        "citationsContent" => Some(Part::Text(read_cited(value))),
        // What a client's format cannot say: images, what Bedrock's own tools
        // found.
        _ => None,
    }
}

fn text_of(value: Option<Value>) -> String {
    match value {
        Some(Value::String(text)) => text,
        _ => String::new(),
    }
}

fn read_thought(value: &mut Value) -> Thought {
    let redacted = value.get_mut("redactedContent").map(Value::take).map(|v| text_of(Some(v)));
    let mut said = value.get_mut("reasoningText").map(Value::take).unwrap_or_default();
    let mut take = |key: &str| text_of(said.get_mut(key).map(Value::take));
    let (text, signature) = (take("text"), take("signature"));
    Thought { text, signature: Some(signature).filter(|text| !text.is_empty()), redacted }
}

/// A text in pieces, and where it is from.
fn read_cited(value: &mut Value) -> Text {
    let mut list = |key: &str| match value.get_mut(key).map(Value::take) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    };
    let text = list("content").into_iter().map(|mut piece| {
        let text = piece.get_mut("text").map(Value::take);
        text_of(text)
    });
    let text = text.collect();
    let citations: Vec<_> = list("citations").into_iter().filter_map(citation_of).collect();
    let citations = (!citations.is_empty()).then(|| Value::Array(citations));
    Text { text, cache: None, citations }
}

impl Answer {
    /// The answer under this id and of this model, where it does not tell.
    #[must_use]
    pub(super) fn named(mut self, id: &str, model: &str) -> Self {
        for (place, value) in [(&mut self.id, id), (&mut self.model, model)] {
            if place.is_empty() {
                *place = value.to_owned();
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_without_its_tokens_is_an_answer() {
        let body = json!({"output": {"message": {"content": [{"text": "hi"}]}}}).to_string();
        let answer = read_answer(body.as_bytes()).unwrap();
        let choice = Choice { parts: vec![Part::text("hi")], finish: None, logprobs: None };
        assert_eq!(answer, Answer { choices: vec![choice], ..Answer::default() });
        let named = answer.named("id", "model");
        assert_eq!((named.id.as_str(), named.model.as_str()), ("id", "model"));
    }
}
