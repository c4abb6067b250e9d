//! A whole answer in OpenAI's format.

use serde_json::{Map, Value, json};

use super::{Usage, finish_of, finish_reason};
use crate::error::LlmError;
use crate::format::answer::{Answer, Choice};
use crate::format::chat::{Media, MediaKind, Part, Source, Text, Thought, ToolCall};

/// Reads an answer.
///
/// # Errors
/// It is none.
pub fn read_answer(body: &[u8]) -> Result<Answer, LlmError> {
    let mut body: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| LlmError::InvalidResponse)?;
    let mut take = |key: &str| body.get_mut(key).map(Value::take);
    let Some(Value::Array(choices)) = take("choices") else {
        return Err(LlmError::InvalidResponse);
    };
    let usage: Option<Usage> = take("usage").and_then(|usage| serde_json::from_value(usage).ok());
    let mut more = Map::new();
    for key in ["service_tier", "system_fingerprint"] {
        more.extend(
            take(key).filter(|value| !value.is_null()).map(|value| (key.to_owned(), value)),
        );
    }
    Ok(Answer {
        id: take("id").map(text_of).unwrap_or_default(),
        model: take("model").map(text_of).unwrap_or_default(),
        created: take("created").and_then(|created| created.as_u64()),
        choices: choices.into_iter().map(read_choice).collect(),
        tokens: usage.map(Into::into),
        more,
    })
}

fn text_of(value: Value) -> String {
    match value {
        Value::String(text) => text,
        _ => String::new(),
    }
}

fn read_choice(mut choice: Value) -> Choice {
    let mut take = |key: &str| choice.get_mut(key).map(Value::take).filter(|v| !v.is_null());
    let finish = take("finish_reason").map(text_of).filter(|word| !word.is_empty());
    let logprobs = take("logprobs");
    let mut message = take("message").unwrap_or_default();
    let mut take = |key: &str| message.get_mut(key).map(Value::take).filter(|v| !v.is_null());
    let mut parts = Vec::new();
    for block in into_list(take("thinking_blocks")) {
        parts.push(Part::Reasoning(read_thought(&block)));
    }
    let reasoning = [take("reasoning_content"), take("reasoning")].into_iter().flatten();
    let text = reasoning.map(text_of).find(|text| !text.is_empty());
    if parts.is_empty() {
        parts.extend(text.map(|text| Part::Reasoning(Thought { text, ..Thought::default() })));
    }
    let citations: Vec<_> = into_list(take("annotations")).iter().filter_map(citation_of).collect();
    let citations = (!citations.is_empty()).then(|| citations.into());
    match take("content") {
        Some(Value::Array(list)) => parts.extend(list.into_iter().filter_map(|mut part| {
            let text = part.get_mut("text").map(Value::take).map(text_of);
            text.filter(|text| !text.is_empty()).map(Part::text)
        })),
        Some(Value::String(text)) if !text.is_empty() => {
            parts.push(Part::Text(Text { text, cache: None, citations }));
        }
        _ => {}
    }
    parts.extend(into_list(take("images")).into_iter().filter_map(image_of).map(Part::Media));
    parts.extend(take("refusal").map(text_of).map(Part::Refusal));
    for mut call in into_list(take("tool_calls")) {
        let id = call.get_mut("id").map(Value::take).map(text_of).unwrap_or_default();
        let function = call.get_mut("function").map(Value::take).unwrap_or_default();
        parts.push(Part::ToolCall(read_called(id, function)));
    }
    parts
        .extend(take("function_call").map(|call| Part::ToolCall(read_called(String::new(), call))));
    Choice { parts, finish: finish.map(|word| finish_of(&word)), logprobs }
}

fn into_list(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

/// OpenAI's `url_citation` as Anthropic has it.
fn citation_of(annotation: &Value) -> Option<Value> {
    let cited = annotation.get("url_citation")?;
    let (url, title) = (cited.get("url")?, cited.get("title"));
    Some(
        json!({"type": "web_search_result_location", "url": url, "title": title, "cited_text": ""}),
    )
}

/// Anthropic's citation of a page, for the text that stands there, in
/// characters; `None` for one of a document, which OpenAI has no word for.
pub(super) fn annotation_of(citation: &Value, (start, end): (usize, usize)) -> Option<Value> {
    let url = citation.get("url")?;
    let cited = json!({
        "url": url,
        "title": citation.get("title"),
        "start_index": start,
        "end_index": end,
    });
    Some(json!({"type": "url_citation", "url_citation": cited}))
}

/// An image of the model's, where many vendors that speak OpenAI's format
/// have it.
pub(super) fn image_of(mut image: Value) -> Option<Media> {
    let url = image.pointer_mut("/image_url/url").map(Value::take).map(text_of)?;
    let (kind, source) = (MediaKind::Image, Source::of_url(url));
    Some(Media { kind, source, detail: None, name: None, cache: None, more: Map::new() })
}

/// The reverse; `None` for what is no image.
pub(super) fn write_image(media: &Media) -> Option<Value> {
    let url = media.source.to_url().filter(|_| media.kind == MediaKind::Image)?;
    Some(json!({"type": "image_url", "image_url": {"url": url}}))
}

fn read_thought(block: &Value) -> Thought {
    let text = |key: &str| block.get(key).and_then(Value::as_str).map(str::to_owned);
    Thought {
        text: text("thinking").unwrap_or_default(),
        signature: text("signature").filter(|signature| !signature.is_empty()),
        redacted: text("data"),
    }
}

fn read_called(id: String, mut function: Value) -> ToolCall {
    let name = function.get_mut("name").map(Value::take).map(text_of).unwrap_or_default();
    let arguments = match function.get_mut("arguments").map(Value::take) {
        Some(Value::String(text)) => text,
        // Some vendors forget to write them as text.
        Some(object @ Value::Object(_)) => object.to_string(),
        _ => String::new(),
    };
    ToolCall { id, name, arguments, ..ToolCall::default() }
}

/// Writes an answer. `now`, in seconds since 1970, stands where the vendor
/// tells no time.
pub fn write_answer(answer: Answer, now: u64) -> Value {
    let choices: Vec<_> = answer.choices.into_iter().enumerate().map(write_choice).collect();
    let mut body = Map::new();
    body.insert("id".into(), answer.id.into());
    body.insert("object".into(), "chat.completion".into());
    body.insert("created".into(), answer.created.unwrap_or(now).into());
    body.insert("model".into(), answer.model.into());
    body.insert("choices".into(), choices.into());
    if let Some(tokens) = answer.tokens {
        body.insert("usage".into(), json!(Usage::from(tokens)));
    }
    body.extend(answer.more);
    Value::Object(body)
}

fn write_choice((index, choice): (usize, Choice)) -> Value {
    let mut message = Map::new();
    message.insert("role".into(), "assistant".into());
    let (mut content, mut reasoning, mut refusal) = (String::new(), String::new(), String::new());
    let (mut blocks, mut calls, mut citations) = (Vec::new(), Vec::new(), Vec::new());
    let mut images = Vec::new();
    for part in choice.parts {
        match part {
            Part::Text(text) => {
                let start = content.chars().count();
                content.push_str(&text.text);
                let span = (start, start + text.text.chars().count());
                let of_text = into_list(text.citations);
                citations.extend(of_text.iter().filter_map(|one| annotation_of(one, span)));
            }
            Part::Reasoning(thought) => {
                reasoning.push_str(&thought.text);
                blocks.extend(thinking_block(thought));
            }
            Part::Refusal(text) => refusal.push_str(&text),
            Part::ToolCall(call) => calls.push(write_call(call)),
            Part::Media(media) => images.extend(write_image(&media)),
            Part::ToolResult(_) | Part::Vendor(_) => {}
        }
    }
    let is_silent =
        content.is_empty() && !(calls.is_empty() && refusal.is_empty() && images.is_empty());
    let content = if is_silent { Value::Null } else { content.into() };
    message.insert("content".into(), content);
    let or_null = |text: String| if text.is_empty() { Value::Null } else { text.into() };
    message.insert("refusal".into(), or_null(refusal));
    let mut put = |key: &str, value: Option<Value>| {
        value.map(|value| message.insert(key.into(), value));
    };
    put("reasoning_content", (!reasoning.is_empty()).then(|| reasoning.into()));
    put("thinking_blocks", (!blocks.is_empty()).then(|| blocks.into()));
    put("tool_calls", (!calls.is_empty()).then(|| calls.into()));
    put("images", (!images.is_empty()).then(|| images.into()));
    put("annotations", (!citations.is_empty()).then(|| citations.into()));
    let finish = choice.finish.as_ref().map(finish_reason);
    json!({
        "index": index,
        "message": message,
        "logprobs": choice.logprobs,
        "finish_reason": finish,
    })
}

/// A thought with what its vendor wants back; `None` where that is only the
/// text.
pub(super) fn thinking_block(thought: Thought) -> Option<Value> {
    match (thought.signature, thought.redacted) {
        (_, Some(data)) => Some(json!({"type": "redacted_thinking", "data": data})),
        (Some(signature), None) => {
            Some(json!({"type": "thinking", "thinking": thought.text, "signature": signature}))
        }
        (None, None) => None,
    }
}

fn write_call(call: ToolCall) -> Value {
    let mut object = json!({
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    });
    if let (Some(signature), Value::Object(object)) = (call.signature, &mut object) {
        let extra = json!({"google": {"thought_signature": signature}});
        object.insert("extra_content".into(), extra);
    }
    object
}
