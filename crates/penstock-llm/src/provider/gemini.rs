//! `gemini`: Google's models at Google's AI Studio
//! (Higress: provider/gemini.go). Clients of its own API pass with their
//! paths and bodies; everybody else's chat is translated.

use serde_json::{Value, json};

use super::exchange::{Shape, set};
use super::fields::{Fields, invalid};
use super::preset::{Credential, Original, Preset, VENDOR};
use crate::api::Api;
use crate::error::ConfigError;
use crate::format::chat::{Chat, Reasoning};

/// The row of `gemini`.
pub(super) const PRESET: Preset = Preset {
    name: "gemini",
    host: "generativelanguage.googleapis.com",
    path: |api| match api {
        // With a model in it, which the client's own path has already.
        Api::GeminiGenerateContent | Api::GeminiStreamGenerateContent => Some(""),
        _ => None,
    },
    keeps_client_path: true,
    original: Original::Untouched,
    credential: Credential::GoogleKey,
    shape,
    ..VENDOR
};

/// What stands before `/models/`: the version of the API.
pub(super) fn version(fields: &Fields<'_>) -> Result<String, ConfigError> {
    let version = fields.text("apiVersion")?;
    match version.as_str() {
        "" => Ok("v1beta".to_owned()),
        version if version.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Ok(version.to_owned())
        }
        _ => Err(invalid("apiVersion", "`apiVersion` must be letters and digits, as in `v1beta`")),
    }
}

fn shape(fields: &Fields<'_>) -> Result<Option<Shape>, ConfigError> {
    let settings = fields.object("geminiSafetySetting")?;
    let settings: Vec<Value> = settings
        .into_iter()
        .flatten()
        .map(|(category, threshold)| json!({"category": category, "threshold": threshold}))
        .collect();
    let budget = match fields.get("geminiThinkingBudget") {
        None => None,
        Some(_) => Some(fields.count("geminiThinkingBudget")?),
    };
    if settings.is_empty() && budget.is_none() {
        return Ok(None);
    }
    Ok(Some(Box::new(move |chat: &mut Chat| {
        if !settings.is_empty() {
            set(chat, "safetySettings", Value::Array(settings.clone()));
        }
        if let (Some(budget), None) = (budget, &chat.reasoning) {
            let is_on = Some(budget > 0);
            chat.reasoning = Some(Reasoning { is_on, effort: None, budget: Some(budget) });
        }
    })))
}
