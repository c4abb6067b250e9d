//! A request, written for Converse.

use serde_json::{Map, Number, Value, json};

use super::Family;
use super::cache::{Positions, Retention, set_points};
use super::media::{Names, write_media};
use super::tool::{call_id, write_tools};
use crate::error::LlmError;
use crate::format::chat::{Chat, Message, Part, ResponseFormat, Role, Text, Thought, ToolResult};

/// The least that Anthropic lets a model think.
const BUDGET_MIN: u64 = 1024;

/// What a provider's configuration adds to requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// How long prompts are kept where the request does not say
    /// (`promptCacheRetention`); `None` for not at all.
    pub retention: Option<Retention>,
    /// Up to where (`bedrockPromptCachePointPositions`).
    pub positions: Positions,
    /// Members of `additionalModelRequestFields`, in place of those of the
    /// same name (`bedrockAdditionalFields`).
    pub additional_fields: Map<String, Value>,
}

/// The body for Converse and ConverseStream that asks for this. Model and
/// streaming are not in it: they stand in the path.
///
/// # Errors
/// It has something that Converse has no word for.
pub fn write_request(mut chat: Chat, options: &Options) -> Result<Value, LlmError> {
    chat.refuse_cached()?;
    if chat.more.get("n").and_then(Value::as_u64).is_some_and(|count| count > 1) {
        return Err(refused("`n` above 1"));
    }
    let family = Family::of(&chat.model);
    let budget = budget(&chat, family);
    let mut writing = Writing { family, names: Names::default() };
    let (mut system, mut messages) = (Vec::new(), Vec::<Map<String, Value>>::new());
    let tools = write_tools(&mut chat, family, budget.is_some())?;
    for message in std::mem::take(&mut chat.messages) {
        match message.role {
            Role::System | Role::Developer => writing.system(message, &mut system)?,
            Role::User | Role::Tool => writing.message("user", message, &mut messages)?,
            Role::Assistant => writing.message("assistant", message, &mut messages)?,
        }
    }
    if chat.response_format == Some(ResponseFormat::JsonObject) {
        system.push(json!({"text": "Answer with one JSON object and nothing else."}));
    }
    let wanted = chat.more.get("prompt_cache_retention").and_then(Value::as_str);
    let retention = wanted.map_or(options.retention, Retention::parse);
    if let Some(retention) = retention
        && matches!(family, Family::Claude | Family::Nova)
    {
        set_points(&mut system, &mut messages, retention, options.positions);
    }
    let mut body = Map::new();
    body.insert("messages".into(), messages.into());
    if !system.is_empty() {
        body.insert("system".into(), system.into());
    }
    let inference = inference(&mut chat, budget);
    if !inference.is_empty() {
        body.insert("inferenceConfig".into(), inference.into());
    }
    body.extend(tools.map(|tools| ("toolConfig".into(), tools)));
    let mut fields = model_fields(&chat, family, budget);
    fields.extend(options.additional_fields.clone());
    if !fields.is_empty() {
        body.insert("additionalModelRequestFields".into(), fields.into());
    }
    if let Some(ResponseFormat::JsonSchema { name, description, schema, .. }) = chat.response_format
    {
        let mut wanted = Map::new();
        wanted.insert("schema".into(), schema.to_string().into());
        wanted.extend(name.map(|name| ("name".into(), name.into())));
        wanted.extend(description.map(|text| ("description".into(), text.into())));
        let format = json!({"type": "json_schema", "structure": {"jsonSchema": wanted}});
        body.insert("outputConfig".into(), json!({"textFormat": format}));
    }
    Ok(Value::Object(body))
}

pub(super) fn refused(what: &str) -> LlmError {
    LlmError::InvalidRequest(format!("{what} cannot be sent to this provider"))
}

/// How many tokens a model of Anthropic's is to think.
fn budget(chat: &Chat, family: Family) -> Option<u64> {
    let is_taken = matches!(family, Family::Claude | Family::Opaque);
    let budget = chat.reasoning.as_ref().filter(|_| is_taken)?.budget()?.max(BUDGET_MIN);
    // It has to be less than the answer may have.
    let budget = chat.max_tokens.map_or(budget, |max| budget.min(max.saturating_sub(1)));
    (budget >= BUDGET_MIN).then_some(budget)
}

fn inference(chat: &mut Chat, budget: Option<u64>) -> Map<String, Value> {
    let mut config = Map::new();
    config.extend(chat.max_tokens.map(|count| ("maxTokens".into(), count.into())));
    // A model that thinks takes no other sampling than its own.
    if budget.is_none() {
        // OpenAI's goes up to 2.
        let temperature = chat.temperature.take().map(|number| match number.as_f64() {
            Some(value) if value > 1.0 => Number::from(1),
            _ => number,
        });
        config.extend(temperature.map(|number| ("temperature".into(), number.into())));
        config.extend(chat.top_p.take().map(|number| ("topP".into(), number.into())));
    }
    let stop: Vec<_> = chat.stop.drain(..).filter(|text| !text.trim().is_empty()).collect();
    if !stop.is_empty() {
        config.insert("stopSequences".into(), stop.into());
    }
    config
}

/// What Converse has no word for, and the model does.
fn model_fields(chat: &Chat, family: Family, budget: Option<u64>) -> Map<String, Value> {
    let mut fields = Map::new();
    if let Some(budget_tokens) = budget {
        let thinking = json!({"type": "enabled", "budget_tokens": budget_tokens});
        fields.insert("thinking".into(), thinking);
        return fields;
    }
    match (family, chat.top_k) {
        (Family::Claude | Family::Opaque, Some(top_k)) => {
            fields.insert("top_k".into(), top_k.into());
        }
        (Family::Nova, Some(top_k)) => {
            fields.insert("inferenceConfig".into(), json!({"topK": top_k}));
        }
        _ => {}
    }
    let effort = match chat.reasoning.as_ref().and_then(|reasoning| reasoning.effort()) {
        Some("none" | "minimal") => Some("low"),
        Some("xhigh" | "max") => Some("high"),
        effort => effort,
    };
    if let (Family::GptOss, Some(effort)) = (family, effort) {
        fields.insert("reasoning_effort".into(), effort.into());
    }
    fields
}

/// What a request's parts are written with.
struct Writing {
    family: Family,
    names: Names,
}

impl Writing {
    fn system(&mut self, message: Message, system: &mut Vec<Value>) -> Result<(), LlmError> {
        for part in message.parts {
            if !matches!(part, Part::Text(_)) {
                return Err(refused("a system prompt of anything but text"));
            }
            self.part(part, system)?;
        }
        Ok(())
    }

    /// Neighbours of one role are one message: roles have to alternate.
    fn message(
        &mut self,
        role: &'static str,
        message: Message,
        messages: &mut Vec<Map<String, Value>>,
    ) -> Result<(), LlmError> {
        let mut blocks = Vec::new();
        for part in message.parts {
            self.part(part, &mut blocks)?;
        }
        if blocks.is_empty() {
            return Ok(());
        }
        let last = messages.last_mut().filter(|last| last.get("role") == Some(&role.into()));
        if let Some(Value::Array(before)) = last.and_then(|last| last.get_mut("content")) {
            before.append(&mut blocks);
            return Ok(());
        }
        let mut message = Map::new();
        message.insert("role".into(), role.into());
        message.insert("content".into(), blocks.into());
        messages.push(message);
        Ok(())
    }

    fn part(&mut self, part: Part, blocks: &mut Vec<Value>) -> Result<(), LlmError> {
        let mut marker = None;
        match part {
            Part::Text(Text { text, cache, .. }) => {
                // Bedrock refuses a text of nothing.
                if !text.trim().is_empty() {
                    blocks.push(json!({"text": text}));
                }
                marker = cache;
            }
            Part::Refusal(text) => blocks.push(json!({"text": text})),
            Part::Media(mut media) => {
                marker = media.cache.take();
                blocks.push(write_media(media, &mut self.names)?);
            }
            // Without a proof it is not taken back.
            Part::Reasoning(thought) => blocks.extend(reasoning_block(thought)),
            Part::ToolCall(call) => {
                let (id, input) = (call_id(&call.id), call.arguments_object());
                let call_block = json!({"toolUseId": id, "name": call.name, "input": input});
                blocks.push(json!({"toolUse": call_block}));
                marker = call.cache;
            }
            Part::ToolResult(mut result) => {
                marker = result.cache.take();
                // No point stands within a result.
                let within = result.parts.iter_mut().filter_map(take_marker).last();
                blocks.push(self.result(result)?);
                marker = marker.or(within);
            }
            Part::Vendor(_) => return Err(refused("a block of another provider's own")),
        }
        let takes_points = matches!(self.family, Family::Claude | Family::Nova | Family::Opaque);
        if let Some(marker) = marker.filter(|_| takes_points && !blocks.is_empty()) {
            blocks.push(Retention::of_marker(&marker).point());
        }
        Ok(())
    }

    fn result(&mut self, result: ToolResult) -> Result<Value, LlmError> {
        let mut content = Vec::new();
        for part in result.parts {
            match part {
                Part::Text(_) | Part::Media(_) => self.part(part, &mut content)?,
                _ => return Err(refused("this part of a tool's result")),
            }
        }
        let mut block = Map::new();
        block.insert("toolUseId".into(), call_id(&result.id).into());
        block.insert("content".into(), content.into());
        if result.is_error {
            block.insert("status".into(), "error".into());
        }
        Ok(json!({"toolResult": block}))
    }
}

fn take_marker(part: &mut Part) -> Option<Value> {
    match part {
        Part::Text(text) => text.cache.take(),
        Part::Media(media) => media.cache.take(),
        _ => None,
    }
}

fn reasoning_block(thought: Thought) -> Option<Value> {
    let content = match (thought.redacted, thought.signature) {
        (Some(data), _) => json!({"redactedContent": data}),
        (None, Some(signature)) => {
            json!({"reasoningText": {"text": thought.text, "signature": signature}})
        }
        (None, None) => return None,
    };
    Some(json!({"reasoningContent": content}))
}

#[cfg(test)]
mod tests;
