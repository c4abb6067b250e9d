//! `hunyuan`: Tencent's OpenAI-compatible endpoint. Its native API, which
//! signs requests, is not built.

use super::Note;
use super::fields::{Fields, invalid};
use super::preset::{Preset, VENDOR, WithoutToken, planned_mode};
use crate::api::Api;
use crate::error::ConfigError;

/// The row of `hunyuan`.
///
/// Higress: provider/hunyuan.go — does not map the model in this mode, and
/// sends every request to the chat path with `protocol: original`. Both are
/// mistakes: here the model is mapped, and paths mean what they mean.
pub(super) const PRESET: Preset = Preset {
    name: "hunyuan",
    host: "api.hunyuan.cloud.tencent.com",
    path: |api| match api {
        Api::ChatCompletions | Api::Embeddings => api.default_path(),
        _ => None,
    },
    check,
    // Higress sends an empty token then, never the client's.
    without_token: WithoutToken::Removes,
    ..VENDOR
};

const ID_BYTES: usize = 36;
const KEY_BYTES: usize = 32;

fn check(fields: &Fields<'_>, _: &mut Vec<Note>) -> Result<(), ConfigError> {
    let id = fields.text("hunyuanAuthId")?;
    let key = fields.text("hunyuanAuthKey")?;
    if id.is_empty() && key.is_empty() {
        return Ok(());
    }
    if id.len() != ID_BYTES || key.len() != KEY_BYTES {
        return Err(invalid("", "hunyuanAuthId / hunyuanAuthKey is illegal in config file"));
    }
    Err(ConfigError {
        hint: Some("without it and `hunyuanAuthKey`, `apiTokens` are for its OpenAI API".into()),
        ..planned_mode("hunyuan", "hunyuanAuthId", "…")
    })
}
