//! Values out of an answer, event by event, in bounded memory.

use std::collections::BTreeMap;

use penstock_llm::json_path::{JsonPath, text_of};
use serde_json::{Map, Value, json};

use super::config::Rule;

/// What stands in place of the middle of a long value.
const TRUNCATED: &str = " [truncated] ";
/// The most tool calls of one answer.
const TOOL_CALLS_MAX: usize = 128;

/// Text that loses its middle where it is too long: the first and the last
/// half of the limit are kept.
#[derive(Default)]
pub(super) struct LongText {
    bytes_max: usize,
    /// All of it, or its first half.
    head: String,
    /// What came behind the head, at least the last half of the limit.
    tail: String,
    length: usize,
}

impl LongText {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, ..Self::default() }
    }

    pub(super) fn push(&mut self, text: &str) {
        self.length += text.len();
        let half = self.bytes_max / 2;
        let room = half.saturating_sub(self.head.len());
        // Once something is in the tail, the head is complete.
        let cut = if self.tail.is_empty() { floor(text, room) } else { 0 };
        let (first, rest) = text.split_at(cut);
        self.head.push_str(first);
        self.tail.push_str(rest);
        if self.tail.len() > 2 * self.bytes_max + TRUNCATED.len() {
            let excess = ceil(&self.tail, self.tail.len() - self.bytes_max.max(half + 1));
            self.tail.drain(..excess);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) fn finish(mut self) -> String {
        if self.length <= self.bytes_max {
            self.head.push_str(&self.tail);
            return self.head;
        }
        let last = ceil(&self.tail, self.tail.len().saturating_sub(self.bytes_max / 2));
        format!("{}{TRUNCATED}{}", self.head, self.tail.split_at(last).1)
    }
}

/// The greatest character border not behind `at`.
fn floor(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// The smallest character border not before `at`.
fn ceil(text: &str, at: usize) -> usize {
    (at..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

/// A value within the limit: one that is longer as text becomes such a text.
pub(super) fn shorten(value: Value, bytes_max: usize) -> Value {
    let text = match &value {
        Value::String(text) if text.len() <= bytes_max => return value,
        Value::String(text) => text.clone(),
        Value::Array(_) | Value::Object(_) => value.to_string(),
        _ => return value,
    };
    if text.len() <= bytes_max {
        return value;
    }
    let mut long = LongText::new(bytes_max);
    long.push(&text);
    Value::String(long.finish())
}

/// Whether a value says nothing.
pub(super) fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// What one path yields over the events of a stream.
pub(super) enum Collector {
    First(Option<Value>),
    Replace(Option<Value>),
    Append(LongText),
}

impl Collector {
    pub(super) fn new(rule: Rule, bytes_max: usize) -> Self {
        match rule {
            Rule::First => Self::First(None),
            Rule::Replace => Self::Replace(None),
            Rule::Append => Self::Append(LongText::new(bytes_max)),
        }
    }

    /// Takes an event; `null` and empty text are no values.
    pub(super) fn see(&mut self, path: &JsonPath, event: &str, bytes_max: usize) {
        let value = || {
            let value = path.value(event).filter(|value| !is_blank(value))?;
            Some(shorten(value, bytes_max))
        };
        match self {
            Self::First(Some(_)) => {}
            Self::First(first) => *first = value(),
            Self::Replace(last) => {
                if let Some(value) = value() {
                    *last = Some(value);
                }
            }
            Self::Append(text) => {
                if let Some(raw) = path.find(event) {
                    text.push(&text_of(&raw));
                }
            }
        }
    }

    pub(super) fn finish(self) -> Option<Value> {
        match self {
            Self::First(value) | Self::Replace(value) => value,
            Self::Append(text) if text.is_empty() => None,
            Self::Append(text) => Some(Value::String(text.finish())),
        }
    }
}

/// The tool calls of a stream, put together from their parts.
#[derive(Default)]
pub(super) struct ToolCalls {
    bytes_max: usize,
    calls: BTreeMap<u64, ToolCall>,
}

#[derive(Default)]
struct ToolCall {
    id: String,
    kind: String,
    name: String,
    arguments: LongText,
}

impl ToolCalls {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, ..Self::default() }
    }

    /// Takes an event of OpenAI's or Anthropic's.
    pub(super) fn see(&mut self, event: &str) {
        // Most events have none.
        if !event.contains("tool") && !event.contains("partial_json") {
            return;
        }
        let Ok(event) = serde_json::from_str::<Value>(event) else {
            return;
        };
        let deltas = event.pointer("/choices/0/delta/tool_calls").and_then(Value::as_array);
        for delta in deltas.into_iter().flatten() {
            self.see_openai(delta);
        }
        self.see_anthropic(&event);
    }

    fn see_openai(&mut self, delta: &Value) {
        let text = |path: &str| delta.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let index = delta.get("index").and_then(Value::as_u64).unwrap_or(0);
        let Some(call) = self.call(index) else {
            return;
        };
        for (slot, new) in [
            (&mut call.id, text("/id")),
            (&mut call.kind, text("/type")),
            (&mut call.name, text("/function/name")),
        ] {
            if !new.is_empty() {
                new.clone_into(slot);
            }
        }
        call.arguments.push(text("/function/arguments"));
    }

    fn see_anthropic(&mut self, event: &Value) {
        let text = |path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let index = event.get("index").and_then(Value::as_u64).unwrap_or(0);
        match text("/type") {
            "content_block_start" if text("/content_block/type") == "tool_use" => {
                let input = event.pointer("/content_block/input").and_then(Value::as_object);
                let input = input.filter(|input| !input.is_empty());
                if let Some(call) = self.call(index) {
                    text("/content_block/id").clone_into(&mut call.id);
                    text("/content_block/name").clone_into(&mut call.name);
                    "tool_use".clone_into(&mut call.kind);
                    if let Some(input) = input {
                        call.arguments.push(&Value::Object(input.clone()).to_string());
                    }
                }
            }
            "content_block_delta" => {
                if let Some(call) = self.calls.get_mut(&index) {
                    call.arguments.push(text("/delta/partial_json"));
                }
            }
            _ => {}
        }
    }

    fn call(&mut self, index: u64) -> Option<&mut ToolCall> {
        if self.calls.len() >= TOOL_CALLS_MAX && !self.calls.contains_key(&index) {
            return None;
        }
        let bytes_max = self.bytes_max;
        Some(self.calls.entry(index).or_insert_with(|| ToolCall {
            arguments: LongText::new(bytes_max),
            ..ToolCall::default()
        }))
    }

    pub(super) fn finish(self) -> Option<Value> {
        let calls: Vec<Value> = self
            .calls
            .into_iter()
            .map(|(index, call)| {
                let mut shown = Map::new();
                if index > 0 {
                    shown.insert("index".into(), index.into());
                }
                for (key, text) in [("id", call.id), ("type", call.kind)] {
                    if !text.is_empty() {
                        shown.insert(key.into(), text.into());
                    }
                }
                let arguments = call.arguments.finish();
                shown.insert("function".into(), json!({"name": call.name, "arguments": arguments}));
                Value::Object(shown)
            })
            .collect();
        (!calls.is_empty()).then_some(Value::Array(calls))
    }
}
