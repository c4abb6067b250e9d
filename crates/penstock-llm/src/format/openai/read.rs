//! A chat request in OpenAI's format, read.

use serde_json::{Map, Value};

use crate::error::LlmError;
use crate::format::chat::{
    Chat, Function, Media, MediaKind, Message, Part, Reasoning, ResponseFormat, Role, Source, Text,
    Thought, Tool, ToolCall, ToolChoice, ToolResult,
};
use crate::format::object::{Object, Path};

/// Reads the body of a request for Chat Completions.
///
/// # Errors
/// It is no such request; the message names the member.
pub fn read_request(body: &[u8]) -> Result<Chat, LlmError> {
    let mut body = Object::body(body)?;
    let mut messages = Vec::new();
    for (index, message) in body.list("messages")?.into_iter().enumerate() {
        let list = Path::Key(&body.path, "messages");
        messages.push(read_message(Object::of(message, Path::Index(&list, index))?)?);
    }
    if messages.is_empty() {
        return Err(Path::Key(&body.path, "messages").error("must have a message"));
    }
    let mut tools = Vec::new();
    for (index, tool) in body.list("tools")?.into_iter().enumerate() {
        let list = Path::Key(&body.path, "tools");
        tools.push(read_tool(Object::of(tool, Path::Index(&list, index))?)?);
    }
    for function in body.list("functions")? {
        let list = Path::Key(&body.path, "functions");
        tools.push(Tool::Function(read_function(Object::of(function, list)?)?));
    }
    let tool_choice = match body.take("tool_choice") {
        Some(choice) => Some(read_choice(choice, &Path::Key(&body.path, "tool_choice"))?),
        None => body.take("function_call").map(read_function_choice),
    };
    let max_completion = body.count("max_completion_tokens")?.filter(|count| *count > 0);
    let max_tokens = body.count("max_tokens")?.filter(|count| *count > 0);
    let reasoning = read_reasoning(&mut body)?;
    let response_format = match body.map("response_format")? {
        Some(format) => read_format(format, Path::Key(&body.path, "response_format"))?,
        None => None,
    };
    // Only asked of the answer.
    body.take("stream_options");
    Ok(Chat {
        model: body.text("model")?.unwrap_or_default(),
        stream: body.flag("stream")?.unwrap_or_default(),
        messages,
        tools,
        tool_choice,
        parallel_tool_calls: body.flag("parallel_tool_calls")?,
        max_tokens: max_completion.or(max_tokens),
        temperature: body.number("temperature")?,
        top_p: body.number("top_p")?,
        top_k: body.count("top_k")?,
        stop: body.texts("stop")?,
        reasoning,
        response_format,
        user: body.text("user")?,
        more: body.rest(),
    })
}

fn read_message(mut message: Object<'_>) -> Result<Message, LlmError> {
    let role = match message.required_text("role")?.as_str() {
        "system" => Role::System,
        "developer" => Role::Developer,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" | "function" => Role::Tool,
        _ => return Err(Path::Key(&message.path, "role").error("is none that is known")),
    };
    let name = message.text("name")?;
    let mut parts = read_thoughts(&mut message)?;
    let content = message.take("content");
    parts.extend(read_content(content, &Path::Key(&message.path, "content"))?);
    // Beside the content, as some clients of Anthropic's models put it.
    if let Some(cache) = message.take("cache_control") {
        put_cache(&mut parts, cache);
    }
    // What the model drew before.
    for image in message.list("images")? {
        parts.extend(super::answer::image_of(image).map(Part::Media));
    }
    if let Some(refusal) = message.text("refusal")? {
        parts.push(Part::Refusal(refusal));
    }
    for (index, call) in message.list("tool_calls")?.into_iter().enumerate() {
        let list = Path::Key(&message.path, "tool_calls");
        let call = read_call(Object::of(call, Path::Index(&list, index))?)?;
        parts.push(Part::ToolCall(call));
    }
    if let Some(call) = message.take("function_call") {
        let path = Path::Key(&message.path, "function_call");
        let (name, arguments) = read_called(Object::of(call, path)?)?;
        parts.push(Part::ToolCall(ToolCall { name, arguments, ..ToolCall::default() }));
    }
    if role == Role::Tool {
        let id = message.text("tool_call_id")?.unwrap_or_default();
        let result = ToolResult { id, name: name.clone(), parts, is_error: false, cache: None };
        parts = vec![Part::ToolResult(result)];
    }
    Ok(Message { role, name, parts })
}

/// What the model thought before: with its proof, as this gateway writes it,
/// or as text.
fn read_thoughts(message: &mut Object<'_>) -> Result<Vec<Part>, LlmError> {
    let mut parts = Vec::new();
    for (index, block) in message.list("thinking_blocks")?.into_iter().enumerate() {
        let list = Path::Key(&message.path, "thinking_blocks");
        let mut block = Object::of(block, Path::Index(&list, index))?;
        parts.push(Part::Reasoning(Thought {
            text: block.text("thinking")?.unwrap_or_default(),
            signature: block.text("signature")?.filter(|signature| !signature.is_empty()),
            redacted: block.text("data")?,
        }));
    }
    let text = message.text("reasoning_content")?;
    let text = text.or(message.text("reasoning")?).filter(|text| !text.is_empty());
    if parts.is_empty() {
        let thought = text.map(|text| Thought { text, ..Thought::default() });
        parts.extend(thought.map(Part::Reasoning));
    }
    Ok(parts)
}

fn read_content(content: Option<Value>, path: &Path<'_>) -> Result<Vec<Part>, LlmError> {
    match content {
        None => Ok(Vec::new()),
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
    let kind = part.required_text("type")?;
    let cache = part.take("cache_control");
    match kind.as_str() {
        "text" | "input_text" | "output_text" => {
            let text = part.required_text("text")?;
            Ok(Part::Text(Text { text, cache, citations: None }))
        }
        "refusal" => Ok(Part::Refusal(part.required_text("refusal")?)),
        "image_url" | "video_url" => {
            let kind_of = if kind == "image_url" { MediaKind::Image } else { MediaKind::Video };
            let url = part.required_map(&kind)?;
            let mut url = Object::of(Value::Object(url), Path::Key(&part.path, &kind))?;
            let (url, detail) = (url.required_text("url")?, url.text("detail")?);
            Ok(media(kind_of, Source::of_url(url), detail, cache))
        }
        "input_audio" => {
            let audio = part.required_map("input_audio")?;
            let path = Path::Key(&part.path, "input_audio");
            let mut audio = Object::of(Value::Object(audio), path)?;
            let data = audio.required_text("data")?;
            let media_type = match audio.text("format")?.as_deref() {
                Some("mp3") => "audio/mpeg".to_owned(),
                Some(format) => format!("audio/{format}"),
                None => "audio/wav".to_owned(),
            };
            Ok(media(MediaKind::Audio, Source::Base64 { media_type, data }, None, cache))
        }
        "file" => read_file(part, cache),
        _ => Err(Path::Key(&part.path, "type").error("is none that is known")),
    }
}

fn read_file(mut part: Object<'_>, cache: Option<Value>) -> Result<Part, LlmError> {
    let file = part.required_map("file")?;
    let path = Path::Key(&part.path, "file");
    let mut file = Object::of(Value::Object(file), path)?;
    let name = file.text("filename")?;
    let source = match (file.text("file_data")?, file.text("file_id")?) {
        (Some(data), _) if data.starts_with("data:") => Source::of_url(data),
        (Some(data), _) => Source::Base64 { media_type: "application/pdf".into(), data },
        (None, Some(id)) => Source::File(id),
        (None, None) => return Err(file.path.error("must have `file_data` or `file_id`")),
    };
    let kind = MediaKind::Document;
    Ok(Part::Media(Media { kind, source, detail: None, name, cache, more: Map::new() }))
}

fn media(kind: MediaKind, source: Source, detail: Option<String>, cache: Option<Value>) -> Part {
    Part::Media(Media { kind, source, detail, name: None, cache, more: Map::new() })
}

/// The last part that can be marked is.
fn put_cache(parts: &mut [Part], marker: Value) {
    if let Some(Part::Text(Text { cache, .. }) | Part::Media(Media { cache, .. })) =
        parts.last_mut()
    {
        cache.get_or_insert(marker);
    }
}

fn read_call(mut call: Object<'_>) -> Result<ToolCall, LlmError> {
    let id = call.text("id")?.unwrap_or_default();
    let function = call.required_map("function")?;
    let path = Path::Key(&call.path, "function");
    let (name, arguments) = read_called(Object::of(Value::Object(function), path)?)?;
    // Google's clients of OpenAI's format keep the proof there.
    let mut extra = call.take("extra_content").unwrap_or_default();
    let signature = extra.pointer_mut("/google/thought_signature").map(Value::take);
    let signature = signature.and_then(|value| value.as_str().map(str::to_owned));
    Ok(ToolCall { id, name, arguments, cache: call.take("cache_control"), signature })
}

fn read_called(mut function: Object<'_>) -> Result<(String, String), LlmError> {
    let name = function.required_text("name")?;
    Ok((name, function.text("arguments")?.unwrap_or_default()))
}

fn read_tool(mut tool: Object<'_>) -> Result<Tool, LlmError> {
    let kind = tool.text("type")?.unwrap_or_else(|| "function".into());
    if kind != "function" {
        let mut whole = tool.whole();
        if let Some(place) = whole.get_mut("type") {
            *place = Value::String(kind);
        }
        return Ok(Tool::Vendor(whole));
    }
    let cache = tool.take("cache_control");
    let function = tool.required_map("function")?;
    let path = Path::Key(&tool.path, "function");
    let function = read_function(Object::of(Value::Object(function), path)?)?;
    Ok(Tool::Function(Function { cache: function.cache.clone().or(cache), ..function }))
}

fn read_function(mut function: Object<'_>) -> Result<Function, LlmError> {
    Ok(Function {
        name: function.required_text("name")?,
        description: function.text("description")?,
        parameters: function.map("parameters")?.map(Value::Object),
        strict: function.flag("strict")?,
        cache: function.take("cache_control"),
    })
}

fn read_choice(choice: Value, path: &Path<'_>) -> Result<ToolChoice, LlmError> {
    let named = choice.pointer("/function/name").and_then(Value::as_str);
    match (choice.as_str(), named) {
        (Some("auto"), _) => Ok(ToolChoice::Auto),
        (Some("none"), _) => Ok(ToolChoice::None),
        (Some("required" | "any"), _) => Ok(ToolChoice::Required),
        (_, Some(name)) => Ok(ToolChoice::Function(name.to_owned())),
        (None, None) if choice.is_object() => Ok(ToolChoice::Vendor(choice)),
        _ => Err(path.error("is none that is known")),
    }
}

/// What was asked for before there were tools.
fn read_function_choice(choice: Value) -> ToolChoice {
    match (choice.as_str(), choice.get("name").and_then(Value::as_str)) {
        (Some("none"), _) => ToolChoice::None,
        (_, Some(name)) => ToolChoice::Function(name.to_owned()),
        _ => ToolChoice::Auto,
    }
}

/// OpenAI's word, and those of vendors that speak its format.
fn read_reasoning(body: &mut Object<'_>) -> Result<Option<Reasoning>, LlmError> {
    let effort = body.text("reasoning_effort")?;
    let budget = body.count("reasoning_max_tokens")?.filter(|budget| *budget > 0);
    let mut reasoning = Reasoning { is_on: None, effort, budget };
    if let Some(map) = body.map("reasoning")? {
        let mut inner = Object::of(Value::Object(map), Path::Key(&Path::Body, "reasoning"))?;
        reasoning.effort = reasoning.effort.or(inner.text("effort")?);
        reasoning.budget = reasoning.budget.or(inner.count("max_tokens")?);
        reasoning.is_on = inner.flag("enabled")?;
    }
    if let Some(map) = body.map("thinking")? {
        let mut inner = Object::of(Value::Object(map), Path::Key(&Path::Body, "thinking"))?;
        reasoning.is_on = match inner.text("type")?.as_deref() {
            Some("enabled" | "adaptive") => Some(true),
            Some("disabled") => Some(false),
            _ => reasoning.is_on,
        };
        let budget = inner.count("budget_tokens")?.or(inner.count("budget_token")?);
        reasoning.budget = reasoning.budget.or(budget);
    }
    if reasoning.effort.as_deref() == Some("none") {
        reasoning.is_on = Some(false);
    }
    Ok((reasoning != Reasoning::default()).then_some(reasoning))
}

fn read_format(
    format: Map<String, Value>,
    path: Path<'_>,
) -> Result<Option<ResponseFormat>, LlmError> {
    let mut format = Object::of(Value::Object(format), path)?;
    Ok(match format.text("type")?.as_deref() {
        None => None,
        Some("text") => Some(ResponseFormat::Text),
        Some("json_object") => Some(ResponseFormat::JsonObject),
        Some("json_schema") => {
            let schema = format.required_map("json_schema")?;
            let path = Path::Key(&format.path, "json_schema");
            let mut schema = Object::of(Value::Object(schema), path)?;
            Some(ResponseFormat::JsonSchema {
                name: schema.text("name")?,
                description: schema.text("description")?,
                schema: schema.take("schema").unwrap_or_else(|| Value::Object(Map::new())),
                strict: schema.flag("strict")?,
            })
        }
        Some(_) => return Err(Path::Key(&format.path, "type").error("is none that is known")),
    })
}
