//! A request in Anthropic's format, read.

use serde_json::{Map, Value};

use crate::error::LlmError;
use crate::format::chat::{
    Chat, Function, Media, MediaKind, Message, Part, Reasoning, ResponseFormat, Role, Source, Text,
    Thought, Tool, ToolCall, ToolChoice, ToolResult,
};
use crate::format::object::{Object, Path};

/// Reads the body of a request for Messages.
///
/// # Errors
/// It is no such request; the message names the member.
pub fn read_request(body: &[u8]) -> Result<Chat, LlmError> {
    let mut body = Object::body(body)?;
    let mut messages = Vec::new();
    let system = body.take("system");
    let system = read_content(system, &Path::Key(&body.path, "system"))?;
    if !system.is_empty() {
        let parts = system.into_iter().map(without_billing).collect();
        messages.push(Message { role: Role::System, name: None, parts });
    }
    let said = body.list("messages")?;
    if said.is_empty() {
        return Err(Path::Key(&body.path, "messages").error("must have a message"));
    }
    for (index, message) in said.into_iter().enumerate() {
        let list = Path::Key(&body.path, "messages");
        read_message(Object::of(message, Path::Index(&list, index))?, &mut messages)?;
    }
    let mut tools = Vec::new();
    for (index, tool) in body.list("tools")?.into_iter().enumerate() {
        let list = Path::Key(&body.path, "tools");
        tools.push(read_tool(Object::of(tool, Path::Index(&list, index))?)?);
    }
    let (tool_choice, parallel_tool_calls) = match body.map("tool_choice")? {
        Some(choice) => read_choice(choice, Path::Key(&body.path, "tool_choice"))?,
        None => (None, None),
    };
    let output = body.map("output_config")?.unwrap_or_default();
    let mut output = Object::of(Value::Object(output), Path::Key(&Path::Body, "output_config"))?;
    let format = match output.map("format")? {
        Some(format) => Some(format),
        None => body.map("output_format")?,
    };
    let reasoning = read_thinking(&mut body, output.text("effort")?)?;
    let metadata = body.map("metadata")?.unwrap_or_default();
    Ok(Chat {
        model: body.text("model")?.unwrap_or_default(),
        stream: body.flag("stream")?.unwrap_or_default(),
        messages,
        tools,
        tool_choice,
        parallel_tool_calls,
        max_tokens: body.count("max_tokens")?.filter(|count| *count > 0),
        temperature: body.number("temperature")?,
        top_p: body.number("top_p")?,
        top_k: body.count("top_k")?,
        stop: body.texts("stop_sequences")?,
        reasoning,
        response_format: format.map(read_format).transpose()?,
        user: metadata.get("user_id").and_then(Value::as_str).map(str::to_owned),
        // Anthropic's own words mean nothing to others.
        more: Map::new(),
    })
}

fn read_message(mut message: Object<'_>, messages: &mut Vec<Message>) -> Result<(), LlmError> {
    let role = match message.required_text("role")?.as_str() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        _ => return Err(Path::Key(&message.path, "role").error("is none that is known")),
    };
    let content = message.take("content");
    let parts = read_content(content, &Path::Key(&message.path, "content"))?;
    // What came of calls is said by the tools.
    let mut rest = Vec::new();
    for part in parts {
        match part {
            Part::ToolResult(_) => {
                let parts = vec![part];
                messages.push(Message { role: Role::Tool, name: None, parts });
            }
            part => rest.push(part),
        }
    }
    let is_result = messages.last().is_some_and(|last| last.role == Role::Tool);
    if !rest.is_empty() || !is_result {
        messages.push(Message { role, name: None, parts: rest });
    }
    Ok(())
}

fn read_content(content: Option<Value>, path: &Path<'_>) -> Result<Vec<Part>, LlmError> {
    match content {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![Part::text(text)]),
        Some(Value::Array(blocks)) => blocks
            .into_iter()
            .enumerate()
            .map(|(index, block)| read_block(Object::of(block, Path::Index(path, index))?))
            .collect(),
        Some(_) => Err(path.error("must be a string or a list")),
    }
}

fn read_block(mut block: Object<'_>) -> Result<Part, LlmError> {
    let kind = block.required_text("type")?;
    match kind.as_str() {
        "text" => Ok(Part::Text(Text {
            text: block.required_text("text")?,
            cache: block.take("cache_control"),
            citations: block.take("citations"),
        })),
        "image" => read_media(block, MediaKind::Image),
        "document" => read_media(block, MediaKind::Document),
        "thinking" => Ok(Part::Reasoning(Thought {
            text: block.text("thinking")?.unwrap_or_default(),
            signature: block.text("signature")?.filter(|signature| !signature.is_empty()),
            redacted: None,
        })),
        "redacted_thinking" => {
            let redacted = Some(block.required_text("data")?);
            Ok(Part::Reasoning(Thought { redacted, ..Thought::default() }))
        }
        "tool_use" => Ok(Part::ToolCall(ToolCall {
            id: block.required_text("id")?,
            name: block.required_text("name")?,
            arguments: Value::Object(block.map("input")?.unwrap_or_default()).to_string(),
            cache: block.take("cache_control"),
            signature: None,
        })),
        "tool_result" => {
            let content = block.take("content");
            Ok(Part::ToolResult(ToolResult {
                id: block.required_text("tool_use_id")?,
                name: None,
                parts: read_content(content, &Path::Key(&block.path, "content"))?,
                is_error: block.flag("is_error")?.unwrap_or_default(),
                cache: block.take("cache_control"),
            }))
        }
        _ => {
            let mut whole = block.whole();
            if let Some(place) = whole.get_mut("type") {
                *place = Value::String(kind);
            }
            Ok(Part::Vendor(whole))
        }
    }
}

fn read_media(mut block: Object<'_>, kind: MediaKind) -> Result<Part, LlmError> {
    let source = block.required_map("source")?;
    let mut source = Object::of(Value::Object(source), Path::Key(&block.path, "source"))?;
    let source = match source.required_text("type")?.as_str() {
        "base64" => Source::Base64 {
            media_type: source.text("media_type")?.unwrap_or_default(),
            data: source.required_text("data")?,
        },
        "url" => Source::Url(source.required_text("url")?),
        "file" => Source::File(source.required_text("file_id")?),
        "text" => Source::Text(source.required_text("data")?),
        "content" => {
            let content = source.take("content");
            let parts = read_content(content, &Path::Key(&source.path, "content"))?;
            let texts: Vec<_> = parts.into_iter().filter_map(text_of).collect();
            Source::Text(texts.join("\n"))
        }
        _ => return Err(Path::Key(&source.path, "type").error("is none that is known")),
    };
    let (name, cache) = (block.text("title")?, block.take("cache_control"));
    block.take("type");
    let more = block.rest();
    Ok(Part::Media(Media { kind, source, detail: None, name, cache, more }))
}

fn text_of(part: Part) -> Option<String> {
    match part {
        Part::Text(text) => Some(text.text),
        _ => None,
    }
}

const BILLING: &str = "x-anthropic-billing-header:";

/// A billing line without what is different each time, which would keep
/// vendors from finding the prompt in their caches
/// (Higress: provider/claude_to_openai.go).
fn without_billing(part: Part) -> Part {
    let Part::Text(mut text) = part else { return part };
    if text.text.starts_with(BILLING) {
        let items = text.text.split_inclusive(';');
        text.text = items.filter(|item| !item.trim_start().starts_with("cch=")).collect();
    }
    Part::Text(text)
}

fn read_tool(mut tool: Object<'_>) -> Result<Tool, LlmError> {
    let kind = tool.text("type")?;
    if let Some(kind) = kind.filter(|kind| kind != "custom") {
        let mut whole = tool.whole();
        if let Some(place) = whole.get_mut("type") {
            *place = Value::String(kind);
        }
        return Ok(Tool::Vendor(whole));
    }
    Ok(Tool::Function(Function {
        name: tool.required_text("name")?,
        description: tool.text("description")?,
        parameters: tool.map("input_schema")?.map(Value::Object),
        strict: tool.flag("strict")?,
        cache: tool.take("cache_control"),
    }))
}

type Choice = (Option<ToolChoice>, Option<bool>);

fn read_choice(choice: Map<String, Value>, path: Path<'_>) -> Result<Choice, LlmError> {
    let mut choice = Object::of(Value::Object(choice), path)?;
    let kind = match choice.required_text("type")?.as_str() {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::Function(choice.required_text("name")?),
        _ => return Err(Path::Key(&choice.path, "type").error("is none that is known")),
    };
    let is_serial = choice.flag("disable_parallel_tool_use")?;
    Ok((Some(kind), is_serial.map(|is_serial| !is_serial)))
}

fn read_thinking(
    body: &mut Object<'_>,
    effort: Option<String>,
) -> Result<Option<Reasoning>, LlmError> {
    let thinking = body.map("thinking")?;
    let mut reasoning = Reasoning { is_on: None, effort, budget: None };
    if let Some(thinking) = thinking {
        let path = Path::Key(&Path::Body, "thinking");
        let mut thinking = Object::of(Value::Object(thinking), path)?;
        reasoning.is_on = match thinking.text("type")?.as_deref() {
            Some("enabled" | "adaptive") => Some(true),
            Some("disabled") => Some(false),
            _ => None,
        };
        reasoning.budget = thinking.count("budget_tokens")?.filter(|budget| *budget > 0);
    }
    Ok((reasoning != Reasoning::default()).then_some(reasoning))
}

fn read_format(format: Map<String, Value>) -> Result<ResponseFormat, LlmError> {
    let path = Path::Key(&Path::Body, "output_format");
    let mut format = Object::of(Value::Object(format), path)?;
    match format.text("type")?.as_deref() {
        Some("json_schema") => Ok(ResponseFormat::JsonSchema {
            name: format.text("name")?,
            description: None,
            schema: format.take("schema").unwrap_or_else(|| Value::Object(Map::new())),
            strict: Some(true),
        }),
        _ => Err(Path::Key(&format.path, "type").error("is none that is known")),
    }
}
