//! `input`: what was said so far, as the items of earlier responses and of
//! the client.
//!
//! Invariant: neighbouring items of the model become one message as far as
//! chat needs it: all calls stand before the first of their results.

use serde_json::{Map, Value};

use super::SIGNED;
use crate::error::LlmError;
use crate::format::chat::{
    Media, MediaKind, Message, Part, Role, Source, Thought, ToolCall, ToolResult,
};
use crate::format::object::{Object, Path};

/// Reads `input` behind the messages that are there.
pub(super) fn read_input(
    input: Option<Value>,
    path: &Path<'_>,
    messages: &mut Vec<Message>,
) -> Result<(), LlmError> {
    match input {
        None => Err(path.error("is missing")),
        Some(Value::String(text)) => {
            let parts = vec![Part::text(text)];
            messages.push(Message { role: Role::User, name: None, parts });
            Ok(())
        }
        Some(Value::Array(items)) if items.is_empty() => Err(path.error("must have an item")),
        Some(Value::Array(items)) => {
            for (index, item) in items.into_iter().enumerate() {
                read_item(Object::of(item, Path::Index(path, index))?, messages)?;
            }
            Ok(())
        }
        Some(_) => Err(path.error("must be a string or a list")),
    }
}

fn read_item(mut item: Object<'_>, messages: &mut Vec<Message>) -> Result<(), LlmError> {
    let role = item.text("role")?;
    let kind = item.text("type")?;
    let kind = match (kind.as_deref(), &role) {
        (None, Some(_)) => "message",
        // The type may be left out of a reference.
        (None, None) => "item_reference",
        (Some(kind), _) => kind,
    };
    match kind {
        "message" => read_message(role.as_deref(), item, messages),
        "reasoning" => {
            let thought = read_thought(item)?;
            if thought != Thought::default() {
                say(Part::Reasoning(thought), messages);
            }
            Ok(())
        }
        "function_call" => {
            say(Part::ToolCall(read_call(item)?), messages);
            Ok(())
        }
        "function_call_output" => {
            let id = item.required_text("call_id")?;
            let output = item.take("output");
            let parts = read_content(output, &Path::Key(&item.path, "output"))?;
            let result = ToolResult { id, name: None, parts, is_error: false, cache: None };
            let parts = vec![Part::ToolResult(result)];
            messages.push(Message { role: Role::Tool, name: None, parts });
            Ok(())
        }
        "item_reference" => Err(item.path.error(
            "is a reference, which cannot be used here: no responses are kept; send the item",
        )),
        // Left out, the model would miss a part of the conversation.
        _ => Err(item.path.error("is an item that this provider has no word for")),
    }
}

fn read_message(
    role: Option<&str>,
    mut item: Object<'_>,
    messages: &mut Vec<Message>,
) -> Result<(), LlmError> {
    let path = Path::Key(&item.path, "role");
    let role = match role {
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("system") => Role::System,
        Some("developer") => Role::Developer,
        Some(_) => return Err(path.error("is none that is known")),
        None => return Err(path.error("is missing")),
    };
    let content = item.take("content");
    let parts = read_content(content, &Path::Key(&item.path, "content"))?;
    let last = messages.last_mut().filter(|last| role == Role::Assistant && last.role == role);
    match last {
        Some(last) if !has_spoken(last) || has_calls(last) => last.parts.extend(parts),
        _ => messages.push(Message { role, name: None, parts }),
    }
    Ok(())
}

fn has_spoken(message: &Message) -> bool {
    message.parts.iter().any(|part| !matches!(part, Part::Reasoning(_) | Part::ToolCall(_)))
}

fn has_calls(message: &Message) -> bool {
    message.parts.iter().any(|part| matches!(part, Part::ToolCall(_)))
}

/// Adds what the model thought or called to its message.
fn say(part: Part, messages: &mut Vec<Message>) {
    match messages.last_mut() {
        Some(last) if last.role == Role::Assistant => last.parts.push(part),
        _ => messages.push(Message { role: Role::Assistant, name: None, parts: vec![part] }),
    }
}

/// A thought: its text, or else the summary; and what its vendor wants back.
fn read_thought(mut item: Object<'_>) -> Result<Thought, LlmError> {
    let mut texts = Vec::new();
    for key in ["content", "summary"] {
        if !texts.is_empty() {
            break;
        }
        let list = item.list(key)?;
        let path = Path::Key(&item.path, key);
        for (index, part) in list.into_iter().enumerate() {
            texts.push(Object::of(part, Path::Index(&path, index))?.required_text("text")?);
        }
    }
    let (mut signature, mut redacted) = (None, None);
    if let Some(data) = item.text("encrypted_content")?.filter(|data| !data.is_empty()) {
        match data.strip_prefix(SIGNED) {
            Some(proof) => signature = Some(proof.to_owned()),
            None => redacted = Some(data),
        }
    }
    Ok(Thought { text: texts.join("\n\n"), signature, redacted })
}

fn read_call(mut call: Object<'_>) -> Result<ToolCall, LlmError> {
    // Where the answer has it.
    let mut extra = call.take("extra_content").unwrap_or_default();
    let signature = extra.pointer_mut("/google/thought_signature").map(Value::take);
    Ok(ToolCall {
        id: call.required_text("call_id")?,
        name: call.required_text("name")?,
        arguments: call.text("arguments")?.unwrap_or_default(),
        cache: None,
        signature: signature.and_then(|value| value.as_str().map(str::to_owned)),
    })
}

fn read_content(content: Option<Value>, path: &Path<'_>) -> Result<Vec<Part>, LlmError> {
    match content {
        None => Err(path.error("is missing")),
        Some(Value::String(text)) => Ok(vec![Part::text(text)]),
        Some(Value::Array(parts)) => parts
            .into_iter()
            .enumerate()
            .map(|(index, part)| read_part(Object::of(part, Path::Index(path, index))?))
            .collect(),
        Some(_) => Err(path.error("must be a string or a list")),
    }
}

fn read_part(mut part: Object<'_>) -> Result<Part, LlmError> {
    match part.required_text("type")?.as_str() {
        "input_text" | "output_text" | "text" => Ok(Part::text(part.required_text("text")?)),
        "refusal" => Ok(Part::Refusal(part.required_text("refusal")?)),
        "input_image" => {
            let source = match (part.text("image_url")?, part.text("file_id")?) {
                (Some(url), _) => Source::of_url(url),
                (None, Some(id)) => Source::File(id),
                (None, None) => {
                    return Err(part.path.error("must have `image_url` or `file_id`"));
                }
            };
            Ok(media(MediaKind::Image, source, part.text("detail")?, None))
        }
        "input_file" => read_file(part),
        "input_audio" => {
            let audio = part.required_map("input_audio")?;
            let path = Path::Key(&part.path, "input_audio");
            let mut audio = Object::of(Value::Object(audio), path)?;
            let data = audio.required_text("data")?;
            let media_type = match audio.required_text("format")?.as_str() {
                "mp3" => "audio/mpeg".to_owned(),
                format => format!("audio/{format}"),
            };
            Ok(media(MediaKind::Audio, Source::Base64 { media_type, data }, None, None))
        }
        _ => Err(Path::Key(&part.path, "type").error("is none that is known")),
    }
}

fn read_file(mut part: Object<'_>) -> Result<Part, LlmError> {
    let name = part.text("filename")?;
    let (data, url, id) = (part.text("file_data")?, part.text("file_url")?, part.text("file_id")?);
    let source = match (data, url, id) {
        (Some(data), ..) if data.starts_with("data:") => Source::of_url(data),
        (Some(data), ..) => Source::Base64 { media_type: "application/pdf".into(), data },
        (None, Some(url), _) => Source::of_url(url),
        (None, None, Some(id)) => Source::File(id),
        (None, None, None) => {
            return Err(part.path.error("must have `file_data`, `file_url` or `file_id`"));
        }
    };
    Ok(media(MediaKind::Document, source, None, name))
}

fn media(kind: MediaKind, source: Source, detail: Option<String>, name: Option<String>) -> Part {
    Part::Media(Media { kind, source, detail, name, cache: None, more: Map::new() })
}
