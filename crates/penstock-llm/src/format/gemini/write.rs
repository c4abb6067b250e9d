//! A request, written in Google's format.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::part::{write_media, write_parts};
use super::{CONFIG, schema};
use crate::error::LlmError;
use crate::format::chat::{
    Chat, Function, Message, Part, Reasoning, ResponseFormat, Role, Tool, ToolChoice, ToolResult,
};

/// What one of Google's two APIs takes and the other one need not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// Ids of calls, which Vertex has not always had.
    pub takes_call_ids: bool,
}

/// What stands in for the proof of a call that is not Google's own, or whose
/// proof the client has lost. Models since Gemini 3 refuse a call without one.
const NO_PROOF: &str = "skip_thought_signature_validator";

fn refused(message: &str) -> LlmError {
    LlmError::InvalidRequest(message.into())
}

/// The body for `generateContent` that asks for this. The model, by which the
/// words for thinking go, and whether it is for a stream stand in the URL.
///
/// # Errors
/// It has something that Google's format has no word for.
pub fn write_request(mut chat: Chat, dialect: Dialect) -> Result<Value, LlmError> {
    let needs_proof = chat.model.contains("gemini-3");
    let mut contents = Contents { dialect, needs_proof, ..Contents::default() };
    let mut system = Vec::new();
    for message in std::mem::take(&mut chat.messages) {
        match message.role {
            Role::System | Role::Developer => {
                system.extend(write_parts(message.parts, false)?);
            }
            _ => contents.say(message)?,
        }
    }
    contents.show();
    if contents.list.is_empty() {
        // Instructions alone are no question here.
        contents.add(Side::User, std::mem::take(&mut system));
    }
    let mut body = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        value.map(|value| body.insert(key.into(), value));
    };
    put("systemInstruction", (!system.is_empty()).then(|| json!({"parts": system})));
    put("contents", Some(contents.list.into_iter().map(Content::into_value).collect()));
    let choice = write_choice(&mut chat)?;
    let config = choice.map(|choice| ("functionCallingConfig".to_owned(), choice));
    let retrieval = take(&mut chat.more, "retrievalConfig");
    let retrieval = retrieval.map(|value| ("retrievalConfig".to_owned(), value));
    let config: Map<_, _> = config.into_iter().chain(retrieval).collect();
    let tools = write_tools(&mut chat)?;
    put("tools", (!tools.is_empty()).then(|| tools.into()));
    put("toolConfig", (!config.is_empty()).then(|| config.into()));
    let config = write_config(&mut chat)?;
    put("generationConfig", (!config.is_empty()).then(|| config.into()));
    for key in ["safetySettings", "cachedContent", "labels"] {
        put(key, take(&mut chat.more, key));
    }
    Ok(Value::Object(body))
}

fn take(more: &mut Map<String, Value>, key: &str) -> Option<Value> {
    more.get_mut(key).map(Value::take).filter(|value| !value.is_null())
}

/// Whose a content is. Those of tools are the user's, but stand alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    User,
    Model,
    Tool,
}

struct Content {
    side: Side,
    parts: Vec<Value>,
}

impl Content {
    fn into_value(self) -> Value {
        let role = if self.side == Side::Model { "model" } else { "user" };
        json!({"role": role, "parts": self.parts})
    }
}

#[derive(Default)]
struct Contents {
    dialect: Dialect,
    needs_proof: bool,
    list: Vec<Content>,
    /// The tool of each call, by its id: of the last one that had the id.
    names: BTreeMap<String, String>,
    /// What tools show: it comes behind all of their results, which have to
    /// follow the calls.
    shown: Vec<Value>,
}

impl Contents {
    /// Neighbours of one side are one content: Google wants the results of
    /// all calls of a content in one.
    fn add(&mut self, side: Side, mut parts: Vec<Value>) {
        match self.list.last_mut() {
            _ if parts.is_empty() => {}
            Some(last) if last.side == side => last.parts.append(&mut parts),
            _ => self.list.push(Content { side, parts }),
        }
    }

    fn show(&mut self) {
        let shown = std::mem::take(&mut self.shown);
        self.add(Side::User, shown);
    }

    fn say(&mut self, message: Message) -> Result<(), LlmError> {
        if message.role == Role::Tool {
            for part in message.parts {
                if let Part::ToolResult(result) = part {
                    let part = self.result(result)?;
                    self.add(Side::Tool, vec![part]);
                }
            }
            return Ok(());
        }
        self.show();
        let side = if message.role == Role::Assistant { Side::Model } else { Side::User };
        for part in &message.parts {
            if let Part::ToolCall(call) = part {
                self.names.insert(call.id.clone(), call.name.clone());
            }
        }
        // Without a proof a thought is not taken into account.
        let parts = message.parts.into_iter().filter(
            |part| !matches!(part, Part::Reasoning(thought) if thought.signature.is_none()),
        );
        let mut parts = write_parts(parts.collect(), self.dialect.takes_call_ids)?;
        // Of several calls at once only the first one has a proof.
        let call = parts.iter_mut().find(|part| part.get("functionCall").is_some());
        if let Some(Value::Object(call)) = call.filter(|_| self.needs_proof) {
            call.entry("thoughtSignature").or_insert(NO_PROOF.into());
        }
        self.add(side, parts);
        Ok(())
    }

    fn result(&mut self, result: ToolResult) -> Result<Value, LlmError> {
        let name = self.names.get(&result.id).cloned().or(result.name);
        let name = name.ok_or_else(|| refused("the result of a tool belongs to no call"))?;
        let mut texts = Vec::new();
        for part in result.parts {
            match part {
                Part::Text(text) => texts.push(text.text),
                Part::Media(media) => self.shown.push(write_media(media)?),
                _ => {}
            }
        }
        let text = texts.join("\n");
        let object = serde_json::from_str(&text).ok().filter(Value::is_object);
        let response = match (result.is_error, object) {
            (true, object) => json!({"error": object.unwrap_or_else(|| text.into())}),
            (false, Some(object)) => object,
            (false, None) => json!({"result": text}),
        };
        let mut function = Map::new();
        if self.dialect.takes_call_ids && !result.id.is_empty() {
            function.insert("id".into(), result.id.into());
        }
        function.insert("name".into(), name.into());
        function.insert("response".into(), response);
        Ok(json!({"functionResponse": function}))
    }
}

fn write_choice(chat: &mut Chat) -> Result<Option<Value>, LlmError> {
    // What may be called is none of its business where nothing is.
    let has_functions = chat.tools.iter().any(|tool| matches!(tool, Tool::Function(_)));
    let Some(choice) = chat.tool_choice.take().filter(|_| has_functions) else { return Ok(None) };
    let (mode, names) = match choice {
        ToolChoice::Auto => ("AUTO", Vec::new()),
        ToolChoice::None => ("NONE", Vec::new()),
        ToolChoice::Required => ("ANY", Vec::new()),
        ToolChoice::Function(name) => ("ANY", vec![name]),
        ToolChoice::Vendor(choice) => {
            let message = "this `tool_choice` cannot be sent to this provider";
            allowed_tools(&choice).ok_or_else(|| refused(message))?
        }
    };
    let mut config = Map::from_iter([("mode".to_owned(), Value::from(mode))]);
    if !names.is_empty() {
        config.insert("allowedFunctionNames".into(), names.into());
    }
    Ok(Some(Value::Object(config)))
}

/// OpenAI's choice of some of the tools.
fn allowed_tools(choice: &Value) -> Option<(&'static str, Vec<String>)> {
    let allowed = choice.get("allowed_tools")?;
    let mode = match allowed.get("mode")?.as_str()? {
        "required" => "ANY",
        // The only word of Google's by which names do not oblige.
        "auto" => "VALIDATED",
        _ => return None,
    };
    let tools = allowed.get("tools")?.as_array()?;
    let name = |tool: &Value| Some(tool.pointer("/function/name")?.as_str()?.to_owned());
    Some((mode, tools.iter().map(name).collect::<Option<Vec<_>>>()?))
}

fn write_tools(chat: &mut Chat) -> Result<Vec<Value>, LlmError> {
    let (mut functions, mut tools) = (Vec::new(), Vec::new());
    for tool in chat.tools.drain(..) {
        match tool {
            Tool::Function(function) => functions.push(write_function(function)),
            // Google's have no `type`; the name is the only member.
            Tool::Vendor(tool)
                if tool
                    .as_object()
                    .is_some_and(|tool| tool.len() == 1 && tool.values().all(Value::is_object)) =>
            {
                tools.push(tool);
            }
            Tool::Vendor(_) => {
                let message = "a tool that another vendor runs cannot be sent to this provider";
                return Err(refused(message));
            }
        }
    }
    if !functions.is_empty() {
        tools.insert(0, json!({"functionDeclarations": functions}));
    }
    if chat.more.get("web_search_options").is_some_and(Value::is_object) {
        tools.push(json!({"googleSearch": {}}));
    }
    Ok(tools)
}

fn write_function(function: Function) -> Value {
    let Function { name, description, parameters, .. } = function;
    let mut object = Map::from_iter([("name".to_owned(), Value::from(name))]);
    object.extend(description.map(|text| ("description".to_owned(), text.into())));
    if let Some(parameters) = parameters.filter(|parameters| !schema::is_empty(parameters)) {
        let is_plain = schema::is_plain(&parameters);
        let key = if is_plain { "parameters" } else { "parametersJsonSchema" };
        object.insert(key.into(), parameters);
    }
    Value::Object(object)
}

fn write_config(chat: &mut Chat) -> Result<Map<String, Value>, LlmError> {
    let mut config = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        value.map(|value| config.insert(key.into(), value));
    };
    put("temperature", chat.temperature.take().map(Value::Number));
    put("topP", chat.top_p.take().map(Value::Number));
    put("topK", chat.top_k.map(Value::from));
    put("maxOutputTokens", chat.max_tokens.map(Value::from));
    put("stopSequences", (!chat.stop.is_empty()).then(|| std::mem::take(&mut chat.stop).into()));
    for (name, key) in [
        ("n", "candidateCount"),
        ("seed", "seed"),
        ("presence_penalty", "presencePenalty"),
        ("frequency_penalty", "frequencyPenalty"),
        ("logprobs", "responseLogprobs"),
        ("top_logprobs", "logprobs"),
    ] {
        put(key, take(&mut chat.more, name));
    }
    if let Some(Value::Array(modalities)) = take(&mut chat.more, "modalities") {
        let words = modalities.iter().filter_map(Value::as_str).map(str::to_ascii_uppercase);
        put("responseModalities", Some(words.collect()));
    }
    match chat.response_format.take() {
        None | Some(ResponseFormat::Text) => {}
        Some(ResponseFormat::JsonObject) => {
            put("responseMimeType", Some("application/json".into()));
        }
        Some(ResponseFormat::JsonSchema { schema, .. }) => {
            put("responseMimeType", Some("application/json".into()));
            let is_plain = schema::is_plain(&schema);
            let key = if is_plain { "responseSchema" } else { "responseJsonSchema" };
            put(key, Some(schema).filter(|schema| !schema::is_empty(schema)));
        }
    }
    let is_shown = chat.more.get("include_reasoning") != Some(&Value::Bool(false));
    let thinking = chat.reasoning.take();
    let thinking = thinking.map(|thinking| write_thinking(&thinking, &chat.model, is_shown));
    put("thinkingConfig", thinking.filter(|map| !map.is_empty()).map(Value::Object));
    for key in CONFIG {
        put(key, take(&mut chat.more, key));
    }
    Ok(config)
}

/// The most that a model of one kind thinks, in tokens, and that of another.
const BUDGET_MAX_FLASH: u64 = 24_576;
const BUDGET_MAX: u64 = 32_768;
/// The least that a model thinks that always does.
const BUDGET_MIN_PRO: u64 = 128;

/// Models since Gemini 3 have levels, those before them budgets.
fn write_thinking(thinking: &Reasoning, model: &str, is_shown: bool) -> Map<String, Value> {
    let (has_levels, is_flash) = (model.contains("gemini-3"), model.contains("flash"));
    let effort = thinking.effort.as_deref();
    let is_off = thinking.is_on == Some(false) || effort == Some("none");
    let mut config = Map::new();
    if !is_off && is_shown {
        config.insert("includeThoughts".into(), true.into());
    }
    if has_levels && (is_off || thinking.budget.is_none()) {
        let level = match effort.filter(|_| !is_off) {
            None if !is_off => return config,
            None | Some("minimal") if is_flash => "minimal",
            None | Some("minimal" | "low") => "low",
            // The first model of them has none between low and high.
            Some("medium") if !model.contains("gemini-3-pro") => "medium",
            Some(_) => "high",
        };
        config.insert("thinkingLevel".into(), level.into());
        return config;
    }
    let max = if is_flash { BUDGET_MAX_FLASH } else { BUDGET_MAX };
    let budget = match thinking.budget() {
        _ if is_off && model.contains("2.5-pro") => Value::from(BUDGET_MIN_PRO),
        _ if is_off => 0.into(),
        Some(budget) => budget.min(max).into(),
        None if thinking.is_on == Some(true) => (-1).into(),
        None => return config,
    };
    config.insert("thinkingBudget".into(), budget);
    config
}
