//! A request, written in Anthropic's format.

use serde_json::{Map, Number, Value, json};

use super::{is_block, thinking_block};
use crate::error::LlmError;
use crate::format::chat::{
    Chat, Function, Media, MediaKind, Message, Part, ResponseFormat, Role, Source, Text, Tool,
    ToolChoice, ToolResult,
};

/// The most tokens of an answer where the client sets no limit, which
/// Anthropic insists on (Higress: provider/claude.go).
const MAX_TOKENS: u64 = 4096;
/// The least that Anthropic lets a model think.
const BUDGET_MIN: u64 = 1024;

/// The body for Messages that asks for this.
///
/// # Errors
/// It has something that Anthropic's format has no word for.
pub fn write_request(mut chat: Chat) -> Result<Value, LlmError> {
    if chat.more.get("n").and_then(Value::as_u64).is_some_and(|count| count > 1) {
        let message = "`n` above 1 cannot be asked of this provider";
        return Err(LlmError::InvalidRequest(message.into()));
    }
    chat.refuse_cached()?;
    let max_tokens = chat.max_tokens.unwrap_or(MAX_TOKENS);
    let budget = chat.reasoning.as_ref().and_then(|reasoning| reasoning.budget());
    let budget = budget.map(|budget| budget.max(BUDGET_MIN).min(max_tokens.saturating_sub(1)));
    let budget = budget.filter(|budget| *budget >= BUDGET_MIN);
    let (mut system, mut messages) = (Vec::new(), Vec::<Value>::new());
    for message in std::mem::take(&mut chat.messages) {
        let role = match message.role {
            Role::System | Role::Developer => {
                for part in message.parts {
                    system.extend(write_part(part)?);
                }
                continue;
            }
            Role::User | Role::Tool => "user",
            Role::Assistant => "assistant",
        };
        write_message(role, message, &mut messages)?;
    }
    if chat.response_format == Some(ResponseFormat::JsonObject) {
        system
            .push(json!({"type": "text", "text": "Answer with one JSON object and nothing else."}));
    }
    let mut body = Map::new();
    body.insert("model".into(), std::mem::take(&mut chat.model).into());
    body.insert("max_tokens".into(), max_tokens.into());
    if !system.is_empty() {
        body.insert("system".into(), joined(system));
    }
    body.insert("messages".into(), messages.into());
    if chat.stream {
        body.insert("stream".into(), true.into());
    }
    write_sampling(&mut chat, budget, &mut body);
    write_tools(&mut chat, budget.is_some(), &mut body)?;
    if let Some(user) = chat.user {
        body.insert("metadata".into(), json!({"user_id": user}));
    }
    if let Some(ResponseFormat::JsonSchema { schema, .. }) = chat.response_format {
        let format = json!({"type": "json_schema", "schema": schema});
        body.insert("output_config".into(), json!({"format": format}));
    }
    match chat.more.get("service_tier").and_then(Value::as_str) {
        Some("auto") => drop(body.insert("service_tier".into(), "auto".into())),
        Some("default") => drop(body.insert("service_tier".into(), "standard_only".into())),
        _ => {}
    }
    Ok(Value::Object(body))
}

fn write_sampling(chat: &mut Chat, budget: Option<u64>, body: &mut Map<String, Value>) {
    if let Some(budget_tokens) = budget {
        // A model that thinks takes no other temperature than its own, and no
        // `top_k`.
        let thinking = json!({"type": "enabled", "budget_tokens": budget_tokens});
        body.insert("thinking".into(), thinking);
    } else {
        // OpenAI's goes up to 2.
        let temperature = chat.temperature.take().map(|number| match number.as_f64() {
            Some(value) if value > 1.0 => Number::from(1),
            _ => number,
        });
        let top_k = chat.top_k.map(Value::from);
        body.extend(temperature.map(|number| ("temperature".into(), number.into())));
        body.extend(chat.top_p.take().map(|number| ("top_p".into(), number.into())));
        body.extend(top_k.map(|number| ("top_k".into(), number)));
    }
    let stop: Vec<_> = chat.stop.drain(..).filter(|text| !text.trim().is_empty()).collect();
    if !stop.is_empty() {
        body.insert("stop_sequences".into(), stop.into());
    }
}

/// Neighbours of one role are one message, as Anthropic has it.
fn write_message(
    role: &'static str,
    message: Message,
    messages: &mut Vec<Value>,
) -> Result<(), LlmError> {
    let mut blocks = Vec::new();
    for part in message.parts {
        blocks.extend(write_part(part)?);
    }
    if blocks.is_empty() {
        return Ok(());
    }
    let last = messages.last_mut().filter(|last| last.get("role") == Some(&role.into()));
    if let Some(content) = last.and_then(|last| last.get_mut("content")) {
        let mut before = match content.take() {
            Value::Array(before) => before,
            text => vec![json!({"type": "text", "text": text})],
        };
        before.append(&mut blocks);
        *content = Value::Array(before);
        return Ok(());
    }
    messages.push(json!({"role": role, "content": joined(blocks)}));
    Ok(())
}

/// One text alone is a string.
fn joined(mut blocks: Vec<Value>) -> Value {
    if let [only] = blocks.as_mut_slice()
        && only.as_object().is_some_and(|block| block.len() == 2)
        && let Some(text @ Value::String(_)) = only.get_mut("text").map(Value::take)
    {
        return text;
    }
    Value::Array(blocks)
}

fn write_part(part: Part) -> Result<Option<Value>, LlmError> {
    let (mut block, cache) = match part {
        Part::Text(Text { text, .. }) if text.is_empty() => return Ok(None),
        Part::Text(Text { text, cache, .. }) => (json!({"type": "text", "text": text}), cache),
        Part::Refusal(text) => (json!({"type": "text", "text": text}), None),
        Part::Media(mut media) => {
            let cache = media.cache.take();
            (write_media(media)?, cache)
        }
        // Without a proof it is not taken back.
        Part::Reasoning(thought) if thought.signature.is_none() && thought.redacted.is_none() => {
            return Ok(None);
        }
        Part::Reasoning(thought) => (thinking_block(thought), None),
        Part::ToolCall(call) => {
            let input = call.arguments_object();
            (
                json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input}),
                call.cache,
            )
        }
        Part::ToolResult(mut result) => {
            let cache = result.cache.take();
            (write_result(result)?, cache)
        }
        Part::Vendor(block) if is_block(&block) => (block, None),
        Part::Vendor(_) => return Ok(None),
    };
    if let (Some(cache), Value::Object(block)) = (cache, &mut block) {
        block.insert("cache_control".into(), cache);
    }
    Ok(Some(block))
}

fn write_result(result: ToolResult) -> Result<Value, LlmError> {
    let mut blocks = Vec::new();
    for part in result.parts {
        blocks.extend(write_part(part)?);
    }
    let mut block = json!({"type": "tool_result", "tool_use_id": result.id});
    if let Value::Object(block) = &mut block {
        if !blocks.is_empty() {
            block.insert("content".into(), joined(blocks));
        }
        if result.is_error {
            block.insert("is_error".into(), true.into());
        }
    }
    Ok(block)
}

fn write_media(media: Media) -> Result<Value, LlmError> {
    let kind = match media.kind {
        MediaKind::Image => "image",
        MediaKind::Document => "document",
        MediaKind::Audio | MediaKind::Video => {
            let message = "audio and video cannot be sent to this provider";
            return Err(LlmError::InvalidRequest(message.into()));
        }
    };
    let source = match media.source {
        Source::Url(url) => json!({"type": "url", "url": url}),
        Source::Base64 { media_type, data } => {
            let fallback = if kind == "image" { "image/png" } else { "application/pdf" };
            let media_type = if media_type.is_empty() { fallback.to_owned() } else { media_type };
            json!({"type": "base64", "media_type": media_type, "data": data})
        }
        Source::Text(data) => json!({"type": "text", "media_type": "text/plain", "data": data}),
        Source::File(file_id) => json!({"type": "file", "file_id": file_id}),
    };
    let mut block = Map::new();
    block.insert("type".into(), kind.into());
    block.insert("source".into(), source);
    if let Some(name) = media.name.filter(|_| kind == "document") {
        block.insert("title".into(), name.into());
    }
    let mut more = media.more;
    more.retain(|key, _| matches!(key.as_str(), "context" | "citations"));
    block.extend(more);
    Ok(Value::Object(block))
}

fn write_tools(
    chat: &mut Chat,
    thinks: bool,
    body: &mut Map<String, Value>,
) -> Result<(), LlmError> {
    let tools: Result<Vec<_>, _> = chat.tools.drain(..).map(write_tool).collect();
    let tools = tools?;
    if tools.is_empty() {
        return Ok(());
    }
    body.insert("tools".into(), tools.into());
    let mut choice = match chat.tool_choice.take() {
        Some(ToolChoice::Auto) => Some(json!({"type": "auto"})),
        Some(ToolChoice::None) => Some(json!({"type": "none"})),
        // A model that thinks cannot be made to call.
        Some(ToolChoice::Required | ToolChoice::Function(_)) if thinks => {
            Some(json!({"type": "auto"}))
        }
        Some(ToolChoice::Required) => Some(json!({"type": "any"})),
        Some(ToolChoice::Function(name)) => Some(json!({"type": "tool", "name": name})),
        Some(ToolChoice::Vendor(_)) => {
            let message = "this `tool_choice` cannot be sent to this provider";
            return Err(LlmError::InvalidRequest(message.into()));
        }
        None => None,
    };
    let is_none = choice.as_ref().is_some_and(|choice| choice.get("type") == Some(&"none".into()));
    if let Some(is_parallel) = chat.parallel_tool_calls.filter(|_| !is_none) {
        let choice = choice.get_or_insert_with(|| json!({"type": "auto"}));
        if let (false, Value::Object(choice)) = (is_parallel, choice) {
            choice.insert("disable_parallel_tool_use".into(), true.into());
        }
    }
    body.extend(choice.map(|choice| ("tool_choice".into(), choice)));
    Ok(())
}

fn write_tool(tool: Tool) -> Result<Value, LlmError> {
    let function = match tool {
        Tool::Function(function) => function,
        Tool::Vendor(tool)
            if tool.get("type") != Some(&"custom".into()) && tool.get("name").is_some() =>
        {
            return Ok(tool);
        }
        Tool::Vendor(_) => {
            let message = "a tool that another vendor runs cannot be sent to this provider";
            return Err(LlmError::InvalidRequest(message.into()));
        }
    };
    let Function { name, description, parameters, strict, cache } = function;
    let schema = parameters.unwrap_or_else(|| json!({"type": "object", "properties": {}}));
    let mut tool = Map::new();
    tool.insert("name".into(), name.into());
    tool.extend(description.map(|text| ("description".into(), text.into())));
    tool.insert("input_schema".into(), schema);
    tool.extend(strict.filter(|strict| *strict).map(|strict| ("strict".into(), strict.into())));
    tool.extend(cache.map(|cache| ("cache_control".into(), cache)));
    Ok(Value::Object(tool))
}
