//! Tools as Converse takes them.

use serde_json::{Map, Value, json};

use super::Family;
use super::cache::Retention;
use super::write::refused;
use crate::error::LlmError;
use crate::format::chat::{Chat, Function, Part, Tool, ToolChoice};
use crate::signature::{hex, sha256};

/// `toolConfig`, if there is something to call, or was.
///
/// # Errors
/// There is a tool, or a choice, that only another provider knows.
pub(super) fn write_tools(
    chat: &mut Chat,
    family: Family,
    thinks: bool,
) -> Result<Option<Value>, LlmError> {
    let mut tools = Vec::new();
    for tool in chat.tools.drain(..) {
        let Tool::Function(function) = tool else {
            return Err(refused("a tool that another provider runs"));
        };
        write_tool(function, family, &mut tools);
    }
    // Bedrock refuses calls in the history where no tool is told.
    let has_called = chat
        .messages
        .iter()
        .flat_map(|message| &message.parts)
        .any(|part| matches!(part, Part::ToolCall(_) | Part::ToolResult(_)));
    let mut choice = chat.tool_choice.take();
    if choice == Some(ToolChoice::None) {
        // Converse has no word for it.
        choice = None;
        if !has_called {
            return Ok(None);
        }
    }
    if tools.is_empty() {
        if !has_called {
            return Ok(None);
        }
        tools = called_tools(chat);
        choice = None;
    }
    let choice = match choice {
        None => None,
        Some(ToolChoice::Vendor(_)) => return Err(refused("this `tool_choice`")),
        // A model that thinks cannot be made to call.
        Some(ToolChoice::Required | ToolChoice::Function(_)) if thinks => Some(json!({"auto": {}})),
        Some(ToolChoice::Auto | ToolChoice::None) => Some(json!({"auto": {}})),
        Some(ToolChoice::Required) => Some(json!({"any": {}})),
        Some(ToolChoice::Function(name)) => Some(json!({"tool": {"name": name}})),
    };
    let mut config = Map::new();
    config.insert("tools".into(), tools.into());
    config.extend(choice.map(|choice| ("toolChoice".into(), choice)));
    Ok(Some(config.into()))
}

fn write_tool(function: Function, family: Family, tools: &mut Vec<Value>) {
    let Function { name, description, parameters, cache, .. } = function;
    let mut schema = match parameters {
        Some(Value::Object(schema)) => schema,
        _ => Map::new(),
    };
    // Bedrock insists on both.
    schema.entry("type").or_insert_with(|| "object".into());
    if schema.len() == 1 {
        schema.insert("properties".into(), json!({}));
    }
    let mut spec = Map::new();
    spec.insert("name".into(), name.into());
    let description = description.filter(|text| !text.trim().is_empty());
    spec.extend(description.map(|text| ("description".into(), text.into())));
    spec.insert("inputSchema".into(), json!({"json": schema}));
    tools.push(json!({"toolSpec": spec}));
    // Amazon's models keep no tools.
    let takes_points = matches!(family, Family::Claude | Family::Opaque);
    if let Some(marker) = cache.filter(|_| takes_points) {
        tools.push(Retention::of_marker(&marker).point());
    }
}

/// The tools that the history calls, as far as it tells of them.
fn called_tools(chat: &Chat) -> Vec<Value> {
    let parts = chat.messages.iter().flat_map(|message| &message.parts);
    let mut names = Vec::new();
    for part in parts {
        let name = match part {
            Part::ToolCall(call) => call.name.as_str(),
            Part::ToolResult(result) => result.name.as_deref().unwrap_or_default(),
            _ => "",
        };
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        names.push("tool");
    }
    let schema = json!({"json": {"type": "object", "properties": {}}});
    let spec = |name| json!({"toolSpec": {"name": name, "inputSchema": &schema}});
    names.into_iter().map(spec).collect()
}

/// An id that Bedrock takes: at most 64 letters, digits, `_` and `-`. Another
/// vendor's that is none becomes one, the same for the call and its result.
pub(super) fn call_id(id: &str) -> String {
    let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !id.is_empty() && id.len() <= 64 && id.chars().all(is_valid) {
        return id.to_owned();
    }
    let hash = hex(&sha256(id.as_bytes()));
    format!("call_{}", hash.get(..32).unwrap_or_default())
}
