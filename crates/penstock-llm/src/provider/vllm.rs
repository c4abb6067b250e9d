//! `vllm`: a vLLM server, which needs no token.

use super::fields::{Fields, checked_host};
use super::openai::CustomUrl;
use super::preset::{Original, Preset, Upstream, VENDOR, WithoutToken};
use crate::api::Api;
use crate::error::ConfigError;

/// The row of `vllm` (Higress: provider/vllm.go).
pub(super) const PRESET: Preset = Preset {
    name: "vllm",
    host: "vllm-service.cluster.local",
    path,
    upstream,
    original: Original::OwnPaths,
    without_token: WithoutToken::Passes,
    ..VENDOR
};

const CUSTOM_URL: CustomUrl = CustomUrl {
    field: "vllmCustomUrl",
    fixed_suffixes: &[
        "/completions",
        "/rerank",
        "/responses",
        "/messages",
        "/count_tokens",
        "/transcriptions",
        "/translations",
    ],
};

fn path(api: Api) -> Option<&'static str> {
    Some(match api {
        Api::ChatCompletions => "/v1/chat/completions",
        Api::Completions => "/v1/completions",
        Api::Embeddings => "/v1/embeddings",
        Api::Models => "/v1/models",
        Api::Responses => "/v1/responses",
        Api::AudioTranscriptions => "/v1/audio/transcriptions",
        Api::AudioTranslations => "/v1/audio/translations",
        Api::CohereRerank => "/v1/rerank",
        Api::AnthropicMessages => "/v1/messages",
        Api::AnthropicCountTokens => "/v1/messages/count_tokens",
        _ => return None,
    })
}

fn upstream(preset: &Preset, fields: &Fields<'_>) -> Result<Upstream, ConfigError> {
    if let Some(upstream) = CUSTOM_URL.read(fields, preset.path)? {
        return Ok(upstream);
    }
    let host = fields.text("vllmServerHost")?;
    if host.is_empty() {
        return preset.at_vendor(fields);
    }
    // The service knows the port; Higress takes it off the host.
    let whole = checked_host("vllmServerHost", &host)?;
    let authority = whole.to_str().ok().and_then(|host| host.parse::<http::uri::Authority>().ok());
    let host = authority.as_ref().map_or(host.as_str(), http::uri::Authority::host);
    let host = checked_host("vllmServerHost", host)?;
    Ok(Upstream { host: Some(host), ..preset.with_paths() })
}
