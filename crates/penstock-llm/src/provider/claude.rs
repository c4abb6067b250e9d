//! `claude`: Anthropic's models at Anthropic (Higress: provider/claude.go).
//!
//! With `claudeCodeMode` requests look like those of Claude Code, which is
//! what tokens of a subscription are for.

use http::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::exchange::Shape;
use super::fields::{Fields, invalid};
use super::preset::{Credential, Headers, Original, Preset, Upstream, VENDOR};
use crate::api::Api;
use crate::error::ConfigError;
use crate::format::chat::{Chat, Message, Part, Role, Text};

/// The row of `claude`.
pub(super) const PRESET: Preset = Preset {
    name: "claude",
    host: "api.anthropic.com",
    path: |api| match api {
        Api::AnthropicMessages => Some("/v1/messages"),
        Api::AnthropicCountTokens => Some("/v1/messages/count_tokens"),
        Api::AnthropicComplete => Some("/v1/complete"),
        Api::Embeddings => Some("/v1/embeddings"),
        Api::Models => Some("/v1/models"),
        _ => None,
    },
    upstream,
    original: Original::OwnPaths,
    credential: Credential::XApiKey,
    refuses_unsupported: false,
    bearer_flag: Some("claudeCodeMode"),
    headers,
    shape,
    ..VENDOR
};

const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const ANTHROPIC_BETA: HeaderName = HeaderName::from_static("anthropic-beta");
const X_APP: HeaderName = HeaderName::from_static("x-app");
const USER_AGENT: HeaderName = http::header::USER_AGENT;

const BETAS: HeaderValue = HeaderValue::from_static(
    "oauth-2025-04-20,interleaved-thinking-2025-05-14,claude-code-20250219",
);
/// What Claude Code says of itself where a request says nothing else.
const SYSTEM: &str = "You are Claude Code, Anthropic's official CLI for Claude.";

fn is_code(fields: &Fields<'_>) -> Result<bool, ConfigError> {
    fields.flag("claudeCodeMode")
}

fn upstream(preset: &Preset, fields: &Fields<'_>) -> Result<Upstream, ConfigError> {
    let mut upstream = preset.at_vendor(fields)?;
    if is_code(fields)? {
        upstream.capabilities.set(Api::AnthropicMessages, "/v1/messages?beta=true".to_owned());
    }
    Ok(upstream)
}

fn headers(fields: &Fields<'_>) -> Result<Headers, ConfigError> {
    let mut version = fields.text("claudeVersion")?;
    if version.is_empty() {
        version = fields.text("apiVersion")?;
    }
    let version = if version.is_empty() { "2023-06-01".to_owned() } else { version };
    let version = HeaderValue::from_str(&version)
        .map_err(|_| invalid("claudeVersion", "`claudeVersion` cannot stand in a header"))?;
    let mut headers = vec![(ANTHROPIC_VERSION, version)];
    if is_code(fields)? {
        headers.extend([
            (USER_AGENT, HeaderValue::from_static("claude-cli/2.1.2 (external, cli)")),
            (X_APP, HeaderValue::from_static("cli")),
            (ANTHROPIC_BETA, BETAS),
        ]);
    }
    Ok(headers)
}

fn shape(fields: &Fields<'_>) -> Result<Option<Shape>, ConfigError> {
    let is_code = is_code(fields)?;
    Ok(is_code.then(|| Box::new(speak_as_code) as Shape))
}

/// All instructions are one block, which Anthropic keeps in its cache.
fn speak_as_code(chat: &mut Chat) {
    let is_system = |message: &Message| matches!(message.role, Role::System | Role::Developer);
    let mut texts = Vec::new();
    for message in chat.messages.iter().filter(|message| is_system(message)) {
        texts.extend(message.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.text.as_str()),
            _ => None,
        }));
    }
    let text = if texts.is_empty() { SYSTEM.to_owned() } else { texts.join("\n") };
    let cache: Option<Value> = Some(json!({"type": "ephemeral"}));
    let part = Part::Text(Text { text, cache, ..Text::default() });
    chat.messages.retain(|message| !is_system(message));
    chat.messages.insert(0, Message { role: Role::System, name: None, parts: vec![part] });
}
