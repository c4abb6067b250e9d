//! A request in Google's format, read.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::part::{Calls, many, open};
use super::schema;
use crate::error::LlmError;
use crate::format::chat::{
    Chat, Function, Message, Part, Reasoning, ResponseFormat, Role, Tool, ToolChoice,
};
use crate::format::object::{Object, Path};

/// A name in camelCase. Google's APIs take every name in snake_case, too.
pub(super) fn camel(name: &str) -> Cow<'_, str> {
    if !name.contains('_') {
        return Cow::Borrowed(name);
    }
    let mut camel = String::with_capacity(name.len());
    let mut is_start = false;
    for letter in name.chars() {
        match letter {
            '_' => is_start = true,
            letter if is_start => {
                camel.push(letter.to_ascii_uppercase());
                is_start = false;
            }
            letter => camel.push(letter),
        }
    }
    Cow::Owned(camel)
}

/// Whether a client that asked this wants to see what the model thought.
pub fn wants_thoughts(chat: &Chat) -> bool {
    chat.more.get("include_reasoning") == Some(&Value::Bool(true))
}

/// Reads the body of a request to this model, for a stream or not.
///
/// # Errors
/// It is no such request; the message names the member.
pub fn read_request(body: &[u8], model: String, stream: bool) -> Result<Chat, LlmError> {
    let body = Object::body(body)?.whole();
    let mut body = open(body, Path::Body)?;
    let mut chat = Chat { model, stream, ..Chat::default() };
    chat.messages = read_messages(&mut body)?;
    let list = Path::Key(&Path::Body, "tools");
    for (index, tool) in many(&mut body, "tools").into_iter().enumerate() {
        read_tool(open(tool, Path::Index(&list, index))?, &mut chat.tools)?;
    }
    if let Some(config) = body.take("toolConfig") {
        let path = Path::Key(&Path::Body, "toolConfig");
        read_tool_config(open(config, path)?, &mut chat)?;
    }
    if let Some(config) = body.take("generationConfig") {
        let path = Path::Key(&Path::Body, "generationConfig");
        read_config(open(config, path)?, &mut chat)?;
    }
    // The URL has it.
    body.take("model");
    chat.more.extend(body.rest());
    Ok(chat)
}

fn read_messages(body: &mut Object<'_>) -> Result<Vec<Message>, LlmError> {
    let (mut messages, mut calls) = (Vec::new(), Calls::default());
    if let Some(system) = body.take("systemInstruction") {
        let path = Path::Key(&Path::Body, "systemInstruction");
        let parts = calls.read_parts(&mut open(system, path)?)?;
        if !parts.is_empty() {
            messages.push(Message { role: Role::System, name: None, parts });
        }
    }
    let list = Path::Key(&Path::Body, "contents");
    let contents = many(body, "contents");
    if contents.is_empty() {
        return Err(list.error("must have a content"));
    }
    for (index, content) in contents.into_iter().enumerate() {
        let mut content = open(content, Path::Index(&list, index))?;
        let role = match content.text("role")?.as_deref() {
            None | Some("" | "user" | "function" | "tool") => Role::User,
            Some("model") => Role::Assistant,
            Some(_) => return Err(Path::Key(&content.path, "role").error("is none that is known")),
        };
        let parts = calls.read_parts(&mut content)?;
        // What came of calls is said by the tools.
        let (results, rest): (Vec<_>, Vec<_>) =
            parts.into_iter().partition(|part| matches!(part, Part::ToolResult(_)));
        let has_results = !results.is_empty();
        for result in results {
            messages.push(Message { role: Role::Tool, name: None, parts: vec![result] });
        }
        if !rest.is_empty() || !has_results {
            messages.push(Message { role, name: None, parts: rest });
        }
    }
    Ok(messages)
}

fn read_tool(mut tool: Object<'_>, tools: &mut Vec<Tool>) -> Result<(), LlmError> {
    let functions = many(&mut tool, "functionDeclarations");
    let path = tool.path;
    let list = Path::Key(&path, "functionDeclarations");
    for (index, function) in functions.into_iter().enumerate() {
        let mut function = open(function, Path::Index(&list, index))?;
        let parameters = match function.take("parametersJsonSchema") {
            Some(json) => Some(json),
            None => function.map("parameters")?.map(|map| schema::of_google(Value::Object(map))),
        };
        tools.push(Tool::Function(Function {
            name: function.required_text("name")?,
            description: function.text("description")?,
            parameters,
            ..Function::default()
        }));
    }
    for (key, value) in tool.rest() {
        tools.push(Tool::Vendor(Value::Object(Map::from_iter([(key, value)]))));
    }
    Ok(())
}

fn read_tool_config(mut config: Object<'_>, chat: &mut Chat) -> Result<(), LlmError> {
    let calling = config.take("functionCallingConfig");
    let path = config.path;
    if let Some(calling) = calling {
        let path = Path::Key(&path, "functionCallingConfig");
        let mut calling = open(calling, path)?;
        let allowed = calling.texts("allowedFunctionNames")?;
        let choice = match calling.text("mode")?.map(|mode| mode.to_ascii_uppercase()).as_deref() {
            None | Some("MODE_UNSPECIFIED") => None,
            // That it keeps to schemas tunes.
            Some("AUTO" | "VALIDATED") => Some(ToolChoice::Auto),
            Some("NONE") => Some(ToolChoice::None),
            Some("ANY") => Some(ToolChoice::Required),
            Some(_) => return Err(Path::Key(&path, "mode").error("is none that is known")),
        };
        chat.tool_choice = match (choice, allowed.as_slice()) {
            (Some(ToolChoice::Required), [only]) => Some(ToolChoice::Function(only.clone())),
            (Some(choice), [_, ..]) => {
                // The others have no word for some of the tools, and those
                // that may not be called need not be told of.
                chat.tools.retain(|tool| match tool {
                    Tool::Function(function) => allowed.contains(&function.name),
                    Tool::Vendor(_) => true,
                });
                Some(choice)
            }
            (choice, _) => choice,
        };
    }
    chat.more.extend(config.rest());
    Ok(())
}

fn read_config(mut config: Object<'_>, chat: &mut Chat) -> Result<(), LlmError> {
    chat.temperature = config.number("temperature")?;
    chat.top_p = config.number("topP")?;
    // Some of Google's own libraries write it as a fraction.
    let top_k = config.number("topK")?;
    chat.top_k = top_k.and_then(|number| number.as_u64().or(number.as_f64().map(|k| k as u64)));
    chat.max_tokens = config.count("maxOutputTokens")?.filter(|count| *count > 0);
    chat.stop = config.texts("stopSequences")?;
    if let Some(thinking) = config.take("thinkingConfig") {
        let path = Path::Key(&config.path, "thinkingConfig");
        let thinking = read_thinking(open(thinking, path)?, &mut chat.more)?;
        chat.reasoning = Some(thinking);
    }
    chat.response_format = read_format(&mut config)?;
    let modalities = config.texts("responseModalities")?;
    if !modalities.is_empty() {
        let modalities = modalities.iter().map(|word| Value::from(word.to_ascii_lowercase()));
        chat.more.insert("modalities".into(), modalities.collect());
    }
    for (key, name) in [
        ("candidateCount", "n"),
        ("seed", "seed"),
        ("presencePenalty", "presence_penalty"),
        ("frequencyPenalty", "frequency_penalty"),
        ("responseLogprobs", "logprobs"),
        ("logprobs", "top_logprobs"),
    ] {
        chat.more.extend(config.take(key).map(|value| (name.to_owned(), value)));
    }
    chat.more.extend(config.rest());
    Ok(())
}

fn read_thinking(
    mut thinking: Object<'_>,
    more: &mut Map<String, Value>,
) -> Result<Reasoning, LlmError> {
    let is_shown = thinking.flag("includeThoughts")?.unwrap_or_default();
    more.insert("include_reasoning".into(), is_shown.into());
    let level = thinking.text("thinkingLevel")?.map(|level| level.to_ascii_lowercase());
    let effort = level.filter(|level| level != "thinking_level_unspecified");
    let (is_on, budget) = match thinking.number("thinkingBudget")? {
        None => (None, None),
        Some(budget) => match (budget.as_u64(), budget.as_i64()) {
            (Some(0), _) => (Some(false), None),
            (Some(budget), _) => (Some(true), Some(budget)),
            (None, Some(-1)) => (Some(true), None),
            _ => {
                let path = Path::Key(&thinking.path, "thinkingBudget");
                return Err(path.error("must be a whole number, and not below -1"));
            }
        },
    };
    Ok(Reasoning { is_on, effort, budget })
}

fn read_format(config: &mut Object<'_>) -> Result<Option<ResponseFormat>, LlmError> {
    let google = config.map("responseSchema")?.map(|map| schema::of_google(Value::Object(map)));
    let json = config.take("responseJsonSchema");
    let schema = json.or(google);
    match (config.text("responseMimeType")?.as_deref(), schema) {
        (Some("application/json"), Some(schema)) => Ok(Some(ResponseFormat::JsonSchema {
            name: None,
            description: None,
            schema,
            strict: None,
        })),
        (Some("application/json"), None) => Ok(Some(ResponseFormat::JsonObject)),
        (None, None) => Ok(None),
        (Some("text/plain"), None) => Ok(Some(ResponseFormat::Text)),
        (None | Some("text/plain"), Some(_)) => {
            let path = Path::Key(&config.path, "responseMimeType");
            Err(path.error("must be `application/json` where there is a schema"))
        }
        (Some(_), _) => {
            let path = Path::Key(&config.path, "responseMimeType");
            Err(path.error("is none that other providers know"))
        }
    }
}
