//! A request for a response, read.

use serde_json::{Map, Value};

use super::echo::Echo;
use super::input::read_input;
use crate::error::LlmError;
use crate::format::chat::{
    Chat, Function, Message, Part, Reasoning, ResponseFormat, Role, Tool, ToolChoice,
};
use crate::format::object::{Object, Path};

/// Reads the body of a request for a response, and what the response will
/// repeat of it.
///
/// # Errors
/// It is no such request, or wants what needs a store; the message names the
/// member.
pub fn read_request(body: &[u8]) -> Result<(Chat, Echo), LlmError> {
    let body: Value = serde_json::from_slice(body)
        .map_err(|_| Path::Body.error("is not JSON that can be read"))?;
    let echo = Echo::of(&body);
    let mut body = Object::of(body, Path::Body)?;
    refuse(&mut body)?;
    let mut messages = Vec::new();
    if let Some(text) = body.text("instructions")? {
        let parts = vec![Part::text(text)];
        messages.push(Message { role: Role::System, name: None, parts });
    }
    read_input(body.take("input"), &Path::Key(&body.path, "input"), &mut messages)?;
    let mut tools = Vec::new();
    for (index, tool) in body.list("tools")?.into_iter().enumerate() {
        let list = Path::Key(&body.path, "tools");
        tools.push(read_tool(Object::of(tool, Path::Index(&list, index))?)?);
    }
    let tool_choice = match body.take("tool_choice") {
        Some(choice) => {
            Some(read_choice(choice, &Path::Key(&body.path, "tool_choice"), &mut tools)?)
        }
        None => None,
    };
    let reasoning = read_reasoning(&mut body)?;
    let mut more = Map::new();
    let response_format = read_text(&mut body, &mut more)?;
    read_logprobs(&mut body, &mut more)?;
    // What is said of the response, or about keeping it: `metadata` tags what
    // is stored, and chat has it only for that.
    for key in [
        "background",
        "access_programs",
        "background_options",
        "context_management",
        "image",
        "max_tool_calls",
        "metadata",
        "prompt_cache_options",
        "store",
        "stream_options",
        "truncation",
    ] {
        body.take(key);
    }
    let chat = Chat {
        model: body.text("model")?.unwrap_or_default(),
        stream: body.flag("stream")?.unwrap_or_default(),
        messages,
        tools,
        tool_choice,
        parallel_tool_calls: body.flag("parallel_tool_calls")?,
        max_tokens: body.count("max_output_tokens")?.filter(|count| *count > 0),
        temperature: body.number("temperature")?,
        top_p: body.number("top_p")?,
        // Not OpenAI's, but some servers have them there.
        top_k: body.count("top_k")?,
        stop: body.texts("stop")?,
        reasoning,
        response_format,
        user: body.text("user")?,
        more,
    };
    let rest = body.rest();
    Ok((Chat { more: chat.more.into_iter().chain(rest).collect(), ..chat }, echo))
}

/// Refuses what needs a store, or a part of OpenAI that is not the model.
fn refuse(body: &mut Object<'_>) -> Result<(), LlmError> {
    let refused = |key: &str, why: &str| Err(Path::Key(&Path::Body, key).error(why));
    let no_store = "cannot be used here: no responses are kept; send the items of the \
                    conversation in `input`";
    for key in ["previous_response_id", "conversation"] {
        if body.take(key).is_some() {
            return refused(key, no_store);
        }
    }
    if body.flag("background")? == Some(true) {
        return refused("background", "cannot be true here: no responses are kept");
    }
    if body.take("prompt").is_some() {
        return refused("prompt", "cannot be used here: this provider keeps no templates");
    }
    if body.take("moderation").is_some() {
        return refused("moderation", "cannot be asked of this provider");
    }
    match body.count("n")? {
        Some(2..) => refused("n", "above 1 has no place in a response"),
        _ => Ok(()),
    }
}

/// A tool. What others than the client run stays as it is, for the provider's
/// format to refuse; those with a name are refused here, or they would be
/// taken for what other vendors call so.
fn read_tool(mut tool: Object<'_>) -> Result<Tool, LlmError> {
    let kind = tool.required_text("type")?;
    if kind == "function" {
        return Ok(Tool::Function(Function {
            name: tool.required_text("name")?,
            description: tool.text("description")?,
            parameters: tool.map("parameters")?.map(Value::Object),
            strict: tool.flag("strict")?,
            cache: tool.take("cache_control"),
        }));
    }
    if tool.text("name")?.is_some() {
        return Err(tool.path.error("cannot be sent to this provider: only functions can"));
    }
    let mut whole = tool.whole();
    if let Some(place) = whole.get_mut("type") {
        *place = Value::String(kind);
    }
    Ok(Tool::Vendor(whole))
}

/// Which tools may be called. Where some are allowed only, the others are
/// left out: that, every provider understands.
fn read_choice(
    choice: Value,
    path: &Path<'_>,
    tools: &mut Vec<Tool>,
) -> Result<ToolChoice, LlmError> {
    let mut choice = match choice {
        Value::String(word) => return read_choice_word(&word, path),
        choice => Object::of(choice, *path)?,
    };
    match choice.required_text("type")?.as_str() {
        "function" => Ok(ToolChoice::Function(choice.required_text("name")?)),
        "allowed_tools" => {
            let mode = choice.text("mode")?.unwrap_or_else(|| "auto".into());
            let allowed = choice.list("tools")?;
            let list = Path::Key(path, "tools");
            let known = tools.len();
            let is_allowed = |tool: &Tool| match tool {
                Tool::Function(function) => allowed.iter().any(|one| {
                    let says = |key: &str| one.get(key).and_then(Value::as_str);
                    says("type") == Some("function") && says("name") == Some(&function.name)
                }),
                Tool::Vendor(tool) => allowed.iter().any(|one| one.get("type") == tool.get("type")),
            };
            tools.retain(is_allowed);
            if tools.is_empty() && known > 0 {
                return Err(list.error("must name one of `tools`"));
            }
            read_choice_word(&mode, &Path::Key(path, "mode"))
        }
        _ => Err(path.error("cannot be sent to this provider: only functions can be chosen")),
    }
}

fn read_choice_word(word: &str, path: &Path<'_>) -> Result<ToolChoice, LlmError> {
    match word {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        "required" => Ok(ToolChoice::Required),
        _ => Err(path.error("is none that is known")),
    }
}

fn read_reasoning(body: &mut Object<'_>) -> Result<Option<Reasoning>, LlmError> {
    let Some(map) = body.map("reasoning")? else { return Ok(None) };
    let mut inner = Object::of(Value::Object(map), Path::Key(&Path::Body, "reasoning"))?;
    let effort = inner.text("effort")?;
    let is_on = (effort.as_deref() == Some("none")).then_some(false);
    Ok(effort.map(|effort| Reasoning { is_on, effort: Some(effort), budget: None }))
}

/// `text`: the form of the answer, and how long-winded it may be.
fn read_text(
    body: &mut Object<'_>,
    more: &mut Map<String, Value>,
) -> Result<Option<ResponseFormat>, LlmError> {
    let Some(text) = body.map("text")? else { return Ok(None) };
    let path = Path::Key(&Path::Body, "text");
    let mut text = Object::of(Value::Object(text), path)?;
    if let Some(verbosity) = text.text("verbosity")? {
        more.insert("verbosity".into(), verbosity.into());
    }
    let Some(format) = text.map("format")? else { return Ok(None) };
    let mut format = Object::of(Value::Object(format), Path::Key(&path, "format"))?;
    match format.required_text("type")?.as_str() {
        "text" => Ok(Some(ResponseFormat::Text)),
        "json_object" => Ok(Some(ResponseFormat::JsonObject)),
        "json_schema" => Ok(Some(ResponseFormat::JsonSchema {
            name: format.text("name")?,
            description: format.text("description")?,
            schema: Value::Object(format.required_map("schema")?),
            strict: format.flag("strict")?,
        })),
        _ => Err(Path::Key(&format.path, "type").error("is none that is known")),
    }
}

/// Logprobs are asked for by their number, or in `include`; what else that
/// has is there anyway, or of tools that are refused.
fn read_logprobs(body: &mut Object<'_>, more: &mut Map<String, Value>) -> Result<(), LlmError> {
    let include = body.texts("include")?;
    let top = body.count("top_logprobs")?.filter(|top| *top > 0);
    if top.is_some() || include.iter().any(|what| what == "message.output_text.logprobs") {
        more.insert("logprobs".into(), true.into());
    }
    more.extend(top.map(|top| ("top_logprobs".into(), top.into())));
    Ok(())
}
