//! A chat request, written in OpenAI's format.

use serde_json::{Map, Value, json};

use super::answer::write_image;
use crate::error::LlmError;
use crate::format::chat::{
    Chat, Function, Media, MediaKind, Message, Part, ResponseFormat, Role, Source, Text, Tool,
    ToolChoice, ToolResult,
};

/// What a vendor that speaks OpenAI's format takes besides it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// Members that OpenAI does not know, such as `top_k`; OpenAI itself
    /// refuses a request with them.
    pub takes_more: bool,
    /// What the model thought in earlier turns, as `reasoning_content`.
    pub takes_reasoning: bool,
    /// Anthropic's `cache_control` beside parts.
    pub takes_cache_markers: bool,
}

/// The body for Chat Completions that asks for this.
///
/// # Errors
/// It has something that OpenAI's format has no word for.
pub fn write_request(chat: Chat, dialect: Dialect) -> Result<Value, LlmError> {
    chat.refuse_cached()?;
    let mut body = Map::new();
    body.insert("model".into(), chat.model.into());
    let mut messages = Vec::new();
    // What tools show comes behind all of their messages, which have to
    // follow the calls.
    let mut shown = Vec::new();
    for message in chat.messages {
        if message.role == Role::Tool {
            for part in message.parts {
                if let Part::ToolResult(result) = part {
                    messages.push(write_result(result, dialect, &mut shown)?);
                }
            }
            continue;
        }
        show(&mut shown, &mut messages);
        messages.push(write_message(message, dialect)?);
    }
    show(&mut shown, &mut messages);
    body.insert("messages".into(), messages.into());
    if chat.stream {
        body.insert("stream".into(), true.into());
    }
    let mut put = |key: &str, value: Option<Value>| {
        value.map(|value| body.insert(key.into(), value));
    };
    put("max_tokens", chat.max_tokens.map(Value::from));
    put("temperature", chat.temperature.map(Value::Number));
    put("top_p", chat.top_p.map(Value::Number));
    put("top_k", chat.top_k.filter(|_| dialect.takes_more).map(Value::from));
    put("stop", (!chat.stop.is_empty()).then(|| chat.stop.into()));
    put("user", chat.user.map(Value::from));
    let effort = chat.reasoning.as_ref().and_then(|reasoning| reasoning.effort());
    // What is off needs no word, which not everybody knows.
    let effort = effort.filter(|effort| *effort != "none");
    put("reasoning_effort", effort.map(Value::from));
    put("response_format", chat.response_format.and_then(write_format));
    let tools: Result<Vec<_>, _> =
        chat.tools.into_iter().map(|tool| write_tool(tool, dialect)).collect();
    let tools = tools?;
    if !tools.is_empty() {
        put("tool_choice", chat.tool_choice.map(write_choice));
        put("parallel_tool_calls", chat.parallel_tool_calls.map(Value::from));
        put("tools", Some(tools.into()));
    }
    for (key, value) in chat.more {
        if dialect.takes_more || is_openai(&key) {
            body.entry(key).or_insert(value);
        }
    }
    Ok(Value::Object(body))
}

/// The members that OpenAI has besides those of [`Chat`].
fn is_openai(key: &str) -> bool {
    matches!(
        key,
        "audio"
            | "frequency_penalty"
            | "logit_bias"
            | "logprobs"
            | "metadata"
            | "modalities"
            | "n"
            | "prediction"
            | "presence_penalty"
            | "prompt_cache_key"
            | "prompt_cache_retention"
            | "safety_identifier"
            | "seed"
            | "service_tier"
            | "store"
            | "top_logprobs"
            | "verbosity"
            | "web_search_options"
    )
}

/// A tool's message is only text, so what it shows is the user's.
fn show(shown: &mut Vec<Value>, messages: &mut Vec<Value>) {
    if !shown.is_empty() {
        messages.push(json!({"role": "user", "content": std::mem::take(shown)}));
    }
}

fn write_message(message: Message, dialect: Dialect) -> Result<Value, LlmError> {
    let mut object = Map::new();
    let role = match message.role {
        Role::System => "system",
        Role::Developer => "developer",
        Role::User => "user",
        Role::Assistant | Role::Tool => "assistant",
    };
    object.insert("role".into(), role.into());
    if let Some(name) = message.name {
        object.insert("name".into(), name.into());
    }
    let (mut content, mut calls, mut reasoning) = (Vec::new(), Vec::new(), String::new());
    let mut images = Vec::new();
    for part in message.parts {
        match part {
            Part::ToolCall(call) => calls.push(json!({
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            })),
            Part::Reasoning(thought) => reasoning.push_str(&thought.text),
            Part::Refusal(text) => drop(object.insert("refusal".into(), text.into())),
            // An image of the model's is no content.
            Part::Media(media) if message.role == Role::Assistant => {
                let image = write_image(&media).filter(|_| dialect.takes_more);
                let message = "an image of the model's cannot be sent back to this provider";
                images.push(image.ok_or_else(|| LlmError::InvalidRequest(message.into()))?);
            }
            part => content.extend(write_part(part, dialect)?),
        }
    }
    if !images.is_empty() {
        object.insert("images".into(), images.into());
    }
    if dialect.takes_reasoning && !reasoning.is_empty() {
        object.insert("reasoning_content".into(), reasoning.into());
    }
    let content = joined(content);
    // A call needs no text, and everything else does.
    if content != Value::String(String::new()) || calls.is_empty() {
        object.insert("content".into(), content);
    } else {
        object.insert("content".into(), Value::Null);
    }
    if !calls.is_empty() {
        object.insert("tool_calls".into(), calls.into());
    }
    Ok(Value::Object(object))
}

/// Parts as content: one text alone is a string, which everybody takes.
fn joined(mut parts: Vec<Value>) -> Value {
    match parts.as_mut_slice() {
        [] => Value::String(String::new()),
        [only] if only.as_object().is_some_and(|part| part.len() == 2) => {
            match only.get_mut("text").map(Value::take) {
                Some(text @ Value::String(_)) => text,
                _ => Value::Array(parts),
            }
        }
        _ => Value::Array(parts),
    }
}

fn write_part(part: Part, dialect: Dialect) -> Result<Option<Value>, LlmError> {
    match part {
        Part::Text(Text { text, .. }) if text.is_empty() => Ok(None),
        Part::Text(Text { text, cache, .. }) => {
            let part = json!({"type": "text", "text": text});
            Ok(Some(marked(part, cache, dialect)))
        }
        Part::Media(mut media) => {
            let cache = media.cache.take();
            write_media(media).map(|part| Some(marked(part, cache, dialect)))
        }
        // What a vendor's own tools said is of no use to another one.
        _ => Ok(None),
    }
}

fn marked(mut part: Value, cache: Option<Value>, dialect: Dialect) -> Value {
    if let (Some(cache), Value::Object(part)) =
        (cache.filter(|_| dialect.takes_cache_markers), &mut part)
    {
        part.insert("cache_control".into(), cache);
    }
    part
}

fn write_media(media: Media) -> Result<Value, LlmError> {
    let refused = |what: &str| {
        Err(LlmError::InvalidRequest(format!("{what} cannot be sent to this provider")))
    };
    match (media.kind, media.source) {
        (MediaKind::Image | MediaKind::Video, source) => {
            let Some(url) = source.to_url() else { return refused("an image of a file's id") };
            let mut image = Map::from_iter([("url".to_owned(), Value::from(url))]);
            if let Some(detail) = media.detail {
                image.insert("detail".into(), detail.into());
            }
            let kind = if media.kind == MediaKind::Image { "image_url" } else { "video_url" };
            Ok(json!({"type": kind, kind: image}))
        }
        (MediaKind::Audio, Source::Base64 { media_type, data }) => {
            let format = match media_type.as_str() {
                "audio/mpeg" | "audio/mp3" => "mp3",
                other => other.strip_prefix("audio/").unwrap_or(other).trim_start_matches("x-"),
            };
            Ok(json!({"type": "input_audio", "input_audio": {"data": data, "format": format}}))
        }
        (MediaKind::Audio, _) => refused("audio by URL"),
        (MediaKind::Document, Source::Text(text)) => {
            let text = match media.name {
                Some(name) => format!("{name}\n\n{text}"),
                None => text,
            };
            Ok(json!({"type": "text", "text": text}))
        }
        (MediaKind::Document, Source::File(id)) => {
            Ok(json!({"type": "file", "file": {"file_id": id}}))
        }
        (MediaKind::Document, source @ Source::Base64 { .. }) => {
            let name = media.name.unwrap_or_else(|| "document.pdf".into());
            let data = source.to_url().unwrap_or_default();
            Ok(json!({"type": "file", "file": {"filename": name, "file_data": data}}))
        }
        (MediaKind::Document, Source::Url(_)) => refused("a document by URL"),
    }
}

fn write_result(
    result: ToolResult,
    dialect: Dialect,
    shown: &mut Vec<Value>,
) -> Result<Value, LlmError> {
    let mut texts = Vec::new();
    for part in result.parts {
        match part {
            Part::Text(text) => texts.push(text.text),
            part => shown.extend(write_part(part, dialect)?),
        }
    }
    // The format has no word for it, and the model should know.
    if result.is_error {
        texts.insert(
            0,
            if texts.is_empty() { "The tool failed." } else { "The tool failed:" }.into(),
        );
    }
    Ok(json!({"role": "tool", "tool_call_id": result.id, "content": texts.join("\n")}))
}

fn write_tool(tool: Tool, dialect: Dialect) -> Result<Value, LlmError> {
    let function = match tool {
        Tool::Function(function) => function,
        Tool::Vendor(tool) if is_openai_tool(&tool) => return Ok(tool),
        Tool::Vendor(_) => {
            let message = "a tool that another vendor runs cannot be sent to this provider";
            return Err(LlmError::InvalidRequest(message.into()));
        }
    };
    let Function { name, description, parameters, strict, cache } = function;
    let mut object = Map::from_iter([("name".to_owned(), Value::from(name))]);
    let mut put = |key: &str, value: Option<Value>| {
        value.map(|value| object.insert(key.into(), value));
    };
    put("description", description.map(Value::from));
    put("parameters", parameters);
    put("strict", strict.map(Value::from));
    let tool = json!({"type": "function", "function": object});
    Ok(marked(tool, cache, dialect))
}

fn is_openai_tool(tool: &Value) -> bool {
    tool.get("type").and_then(Value::as_str) == Some("custom")
}

fn write_choice(choice: ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Function(name) => json!({"type": "function", "function": {"name": name}}),
        ToolChoice::Vendor(choice) => choice,
    }
}

fn write_format(format: ResponseFormat) -> Option<Value> {
    match format {
        ResponseFormat::Text => None,
        ResponseFormat::JsonObject => Some(json!({"type": "json_object"})),
        ResponseFormat::JsonSchema { name, description, schema, strict } => {
            let mut inner = Map::new();
            inner.insert("name".into(), name.unwrap_or_else(|| "answer".into()).into());
            if let Some(description) = description {
                inner.insert("description".into(), description.into());
            }
            inner.insert("schema".into(), schema);
            if let Some(strict) = strict {
                inner.insert("strict".into(), strict.into());
            }
            Some(json!({"type": "json_schema", "json_schema": inner}))
        }
    }
}
