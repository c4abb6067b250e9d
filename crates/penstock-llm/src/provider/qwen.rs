//! `qwen`: DashScope in its compatible mode, which speaks OpenAI's format.
//! Its native API is not built.

use super::Note;
use super::fields::{Fields, invalid};
use super::preset::{Original, Preset, VENDOR, idle, planned_mode};
use crate::api::Api;
use crate::error::ConfigError;

/// The row of `qwen` (Higress: provider/qwen.go).
pub(super) const PRESET: Preset = Preset {
    name: "qwen",
    host: "dashscope.aliyuncs.com",
    host_field: Some("qwenDomain"),
    path,
    check,
    original: Original::Untouched,
    ..VENDOR
};

fn path(api: Api) -> Option<&'static str> {
    Some(match api {
        Api::ChatCompletions => "/compatible-mode/v1/chat/completions",
        Api::Completions => "/compatible-mode/v1/completions",
        Api::Embeddings => "/compatible-mode/v1/embeddings",
        Api::Responses => "/compatible-mode/v1/responses",
        Api::Files => "/compatible-mode/v1/files",
        Api::RetrieveFile => "/compatible-mode/v1/files/{file_id}",
        Api::RetrieveFileContent => "/compatible-mode/v1/files/{file_id}/content",
        Api::Batches => "/compatible-mode/v1/batches",
        Api::RetrieveBatch => "/compatible-mode/v1/batches/{batch_id}",
        Api::QwenConversations => "/compatible-mode/v1/conversations",
        Api::QwenRerank => "/compatible-api/v1/reranks",
        Api::AnthropicMessages => "/apps/anthropic/v1/messages",
        _ => return None,
    })
}

fn check(fields: &Fields<'_>, notes: &mut Vec<Note>) -> Result<(), ConfigError> {
    let files = fields.texts("qwenFileIds")?;
    if !files.is_empty() && fields.object("context")?.is_some() {
        let message = "qwenFileIds and context cannot be configured at the same time";
        return Err(invalid("qwenFileIds", message));
    }
    // Higress: provider/qwen.go — compatible where it is absent, whatever the
    // manual says.
    if fields.get("qwenEnableCompatible").is_some() && !fields.flag("qwenEnableCompatible")? {
        return Err(ConfigError {
            hint: Some("its compatible mode is: take the field away".into()),
            ..planned_mode("qwen", "qwenEnableCompatible", "false")
        });
    }
    let only_native = |field: &str| {
        idle(field, format!("`{field}` has no effect in compatible mode, here as in Higress"))
    };
    if !files.is_empty() {
        notes.push(only_native("qwenFileIds"));
    }
    if fields.flag("qwenEnableSearch")? {
        notes.push(only_native("qwenEnableSearch"));
    }
    Ok(())
}
