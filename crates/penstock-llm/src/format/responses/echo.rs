//! What a response repeats of its request.

use std::sync::Arc;

use serde_json::{Map, Value, json};

/// What a response repeats of its request, as the client said it, with
/// OpenAI's defaults where it said nothing. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Echo {
    /// The model that was asked for.
    pub(super) model: Arc<str>,
    pub(super) members: Arc<Map<String, Value>>,
}

/// The members in OpenAI's order.
const MEMBERS: &[&str] = &[
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "parallel_tool_calls",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
    "metadata",
];

impl Echo {
    /// What a response to this body repeats.
    pub fn of(body: &Value) -> Self {
        let mut members = Map::new();
        members.insert("background".into(), false.into());
        members.insert("previous_response_id".into(), Value::Null);
        // Whatever was asked for: nothing is kept.
        members.insert("store".into(), false.into());
        for key in MEMBERS {
            let said = body.get(key).filter(|value| !value.is_null());
            members.insert((*key).into(), said.cloned().unwrap_or_else(|| default_of(key)));
        }
        if let Some(Value::Object(text)) = members.get_mut("text") {
            text.entry("format").or_insert_with(|| json!({"type": "text"}));
        }
        let model = body.get("model").and_then(Value::as_str).unwrap_or_default();
        Self { model: model.into(), members: Arc::new(members) }
    }
}

fn default_of(key: &str) -> Value {
    match key {
        "metadata" => json!({}),
        "parallel_tool_calls" => true.into(),
        "reasoning" => json!({"effort": null, "summary": null}),
        "service_tier" | "tool_choice" => "auto".into(),
        "text" => json!({}),
        "tools" => json!([]),
        "top_logprobs" => 0.into(),
        "truncation" => "disabled".into(),
        _ => Value::Null,
    }
}
