//! A request, written for Responses.

use serde_json::{Map, Value, json};

use crate::error::LlmError;
use crate::format::chat::{
    Chat, Function, Media, MediaKind, Message, Part, ResponseFormat, Role, Source, Thought, Tool,
    ToolChoice, ToolResult,
};

/// The body for a response that answers this. Nothing of it is to be stored:
/// the conversation comes whole each time.
///
/// # Errors
/// It has something that Responses have no word for.
pub fn write_request(mut chat: Chat) -> Result<Value, LlmError> {
    chat.refuse_cached()?;
    refuse(&chat)?;
    let mut input = Vec::new();
    for message in std::mem::take(&mut chat.messages) {
        write_message(message, &mut input)?;
    }
    let mut body = Map::new();
    body.insert("model".into(), std::mem::take(&mut chat.model).into());
    body.insert("input".into(), input.into());
    body.insert("store".into(), false.into());
    if chat.stream {
        body.insert("stream".into(), true.into());
    }
    let mut include = Vec::new();
    let mut put = |key: &str, value: Option<Value>| {
        value.map(|value| body.insert(key.into(), value));
    };
    put("max_output_tokens", chat.max_tokens.map(Value::from));
    put("temperature", chat.temperature.take().map(Value::Number));
    put("top_p", chat.top_p.take().map(Value::Number));
    put("user", chat.user.take().map(Value::from));
    let effort = chat.reasoning.as_ref().and_then(|reasoning| reasoning.effort());
    // What is off needs no word, which not every model knows.
    if let Some(effort) = effort.filter(|effort| *effort != "none") {
        put("reasoning", Some(json!({"effort": effort})));
        // What is not stored has to be sent back.
        include.push("reasoning.encrypted_content");
    }
    put("text", write_text(&mut chat));
    if chat.more.get("logprobs") == Some(&Value::Bool(true)) {
        include.push("message.output_text.logprobs");
    }
    put("include", (!include.is_empty()).then(|| include.into()));
    for key in [
        "metadata",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "top_logprobs",
    ] {
        put(key, chat.more.remove(key));
    }
    let tools: Result<Vec<_>, _> = chat.tools.drain(..).map(write_tool).collect();
    let tools = tools?;
    if !tools.is_empty() {
        put("tool_choice", chat.tool_choice.take().map(write_choice).transpose()?);
        put("parallel_tool_calls", chat.parallel_tool_calls.map(Value::from));
        put("tools", Some(tools.into()));
    }
    Ok(Value::Object(body))
}

fn refused(what: &str) -> LlmError {
    LlmError::InvalidRequest(format!("{what} cannot be sent to this provider"))
}

/// Refuses what changes the answer and has no word here.
fn refuse(chat: &Chat) -> Result<(), LlmError> {
    if chat.more.get("n").and_then(Value::as_u64).is_some_and(|count| count > 1) {
        return Err(refused("`n` above 1"));
    }
    if chat.more.contains_key("audio") {
        return Err(refused("`audio`"));
    }
    match chat.stop.is_empty() {
        true => Ok(()),
        false => Err(refused("a text that ends the answer")),
    }
}

fn write_message(message: Message, input: &mut Vec<Value>) -> Result<(), LlmError> {
    let role = match message.role {
        Role::System => "system",
        Role::Developer => "developer",
        Role::User | Role::Tool => "user",
        Role::Assistant => "assistant",
    };
    let mut content = Vec::new();
    for part in message.parts {
        let item = match part {
            Part::ToolCall(call) => json!({
                "type": "function_call",
                "call_id": call.id,
                "name": call.name,
                "arguments": call.arguments,
            }),
            Part::ToolResult(result) => write_result(result)?,
            // Without what OpenAI has encrypted it is not taken back.
            Part::Reasoning(Thought { text, redacted: Some(redacted), .. }) => json!({
                "type": "reasoning",
                "summary": match text.is_empty() {
                    true => Vec::new(),
                    false => vec![json!({"type": "summary_text", "text": text})],
                },
                "encrypted_content": redacted,
            }),
            part => {
                content.extend(write_part(part, role == "assistant")?);
                continue;
            }
        };
        say(role, &mut content, input);
        input.push(item);
    }
    say(role, &mut content, input);
    Ok(())
}

/// Writes the message so far; one text alone is a string.
fn say(role: &str, content: &mut Vec<Value>, input: &mut Vec<Value>) {
    if content.is_empty() {
        return;
    }
    let mut content = std::mem::take(content);
    let content = match content.as_mut_slice() {
        [only] => match only.get_mut("text").map(Value::take) {
            Some(text) => text,
            None => Value::Array(content),
        },
        _ => Value::Array(content),
    };
    input.push(json!({"role": role, "content": content}));
}

fn write_part(part: Part, is_output: bool) -> Result<Option<Value>, LlmError> {
    let kind = if is_output { "output_text" } else { "input_text" };
    match part {
        Part::Text(text) if text.text.is_empty() => Ok(None),
        Part::Text(text) => Ok(Some(json!({"type": kind, "text": text.text}))),
        Part::Refusal(text) => Ok(Some(json!({"type": "refusal", "refusal": text}))),
        Part::Media(media) if !is_output => write_media(media).map(Some),
        Part::Media(_) => Err(refused("what a model showed")),
        // What a vendor's own tools said is of no use to another one.
        _ => Ok(None),
    }
}

fn write_media(media: Media) -> Result<Value, LlmError> {
    let Media { kind, source, detail, name, .. } = media;
    match (kind, source) {
        (MediaKind::Image, Source::File(id)) => {
            let detail = detail.unwrap_or_else(|| "auto".into());
            Ok(json!({"type": "input_image", "file_id": id, "detail": detail}))
        }
        (MediaKind::Image, source) => {
            let url = source.to_url().ok_or_else(|| refused("an image that is text"))?;
            let detail = detail.unwrap_or_else(|| "auto".into());
            Ok(json!({"type": "input_image", "image_url": url, "detail": detail}))
        }
        (MediaKind::Document, Source::Text(text)) => {
            let text = match name {
                Some(name) => format!("{name}\n\n{text}"),
                None => text,
            };
            Ok(json!({"type": "input_text", "text": text}))
        }
        (MediaKind::Document, Source::File(id)) => Ok(json!({"type": "input_file", "file_id": id})),
        (MediaKind::Document, Source::Url(url)) => {
            Ok(json!({"type": "input_file", "file_url": url}))
        }
        (MediaKind::Document, source @ Source::Base64 { .. }) => {
            let name = name.unwrap_or_else(|| "document.pdf".into());
            let data = source.to_url().unwrap_or_default();
            Ok(json!({"type": "input_file", "filename": name, "file_data": data}))
        }
        (MediaKind::Audio, Source::Base64 { media_type, data }) => {
            let format = match media_type.as_str() {
                "audio/mpeg" | "audio/mp3" => "mp3",
                other => other.strip_prefix("audio/").unwrap_or(other).trim_start_matches("x-"),
            };
            Ok(json!({"type": "input_audio", "input_audio": {"data": data, "format": format}}))
        }
        (MediaKind::Audio, _) => Err(refused("audio by URL")),
        (MediaKind::Video, _) => Err(refused("a video")),
    }
}

fn write_result(result: ToolResult) -> Result<Value, LlmError> {
    let mut output = Vec::new();
    // The format has no word for it, and the model should know.
    if result.is_error {
        output.push(json!({"type": "input_text", "text": "The tool failed:"}));
    }
    for part in result.parts {
        output.extend(write_part(part, false)?);
    }
    let texts: Option<Vec<_>> =
        output.iter().map(|part| part.get("text").and_then(Value::as_str)).collect();
    let output = match texts {
        Some(texts) => texts.join("\n").into(),
        None => Value::Array(output),
    };
    Ok(json!({"type": "function_call_output", "call_id": result.id, "output": output}))
}

fn write_tool(tool: Tool) -> Result<Value, LlmError> {
    match tool {
        Tool::Function(Function { name, description, parameters, strict, .. }) => Ok(json!({
            "type": "function",
            "name": name,
            "description": description,
            "parameters": parameters.unwrap_or_else(|| json!({"type": "object", "properties": {}})),
            // Chat takes schemas as they are; Responses would insist.
            "strict": strict.unwrap_or(false),
        })),
        Tool::Vendor(tool) => {
            let kind = tool.get("type").and_then(Value::as_str).unwrap_or_default();
            match kind {
                "code_interpreter"
                | "computer_use_preview"
                | "file_search"
                | "image_generation"
                | "mcp"
                | "web_search"
                | "web_search_preview" => Ok(tool),
                _ => Err(refused("a tool that another vendor runs")),
            }
        }
    }
}

fn write_choice(choice: ToolChoice) -> Result<Value, LlmError> {
    match choice {
        ToolChoice::Auto => Ok("auto".into()),
        ToolChoice::None => Ok("none".into()),
        ToolChoice::Required => Ok("required".into()),
        ToolChoice::Function(name) => Ok(json!({"type": "function", "name": name})),
        ToolChoice::Vendor(_) => Err(refused("this `tool_choice`")),
    }
}

fn write_text(chat: &mut Chat) -> Option<Value> {
    let mut text = Map::new();
    let format = match chat.response_format.take() {
        None | Some(ResponseFormat::Text) => None,
        Some(ResponseFormat::JsonObject) => Some(json!({"type": "json_object"})),
        Some(ResponseFormat::JsonSchema { name, description, schema, strict }) => {
            let mut format = Map::new();
            format.insert("type".into(), "json_schema".into());
            format.insert("name".into(), name.unwrap_or_else(|| "answer".into()).into());
            format.extend(description.map(|text| ("description".into(), text.into())));
            format.insert("schema".into(), schema);
            format.insert("strict".into(), strict.unwrap_or(false).into());
            Some(Value::Object(format))
        }
    };
    text.extend(format.map(|format| ("format".into(), format)));
    text.extend(chat.more.remove("verbosity").map(|word| ("verbosity".into(), word)));
    (!text.is_empty()).then_some(Value::Object(text))
}
