//! The OpenAI-compatible types as data: one row each, with host, paths,
//! credential, and what else is different.
//!
//! A type with fields or rules of its own has a file with its row; the others
//! are written down here (Higress: plugins/wasm-go/extensions/ai-proxy/provider).

use http::{HeaderName, HeaderValue};

use super::body_rule::{self, BodyRule};
use super::exchange::Shape;
use super::fields::{Fields, checked_host, invalid};
use super::path::{Capabilities, PathRule};
use super::{Note, azure, claude, gemini, hunyuan, minimax, moonshot, openai, qwen, vllm};
use crate::api::Api;
use crate::error::{ConfigError, ConfigErrorKind};
use crate::stage::BodyStage;

/// The types that are nothing but a row, sorted by name.
pub(super) const PRESETS: &[Preset] = &[
    Preset {
        name: "ai360",
        host: "api.360.cn",
        path: chat_and_embeddings,
        credential: Credential::Plain,
        ..VENDOR
    },
    azure::PRESET,
    Preset { name: "baichuan", host: "api.baichuan-ai.com", path: chat_and_embeddings, ..VENDOR },
    Preset {
        name: "baidu",
        host: "qianfan.baidubce.com",
        path: |api| match api {
            Api::ChatCompletions => Some("/v2/chat/completions"),
            Api::Embeddings => Some("/v2/embeddings"),
            _ => None,
        },
        original: Original::OwnPaths,
        ..VENDOR
    },
    claude::PRESET,
    Preset { name: "cloudflare", host: "api.cloudflare.com", upstream: cloudflare, ..VENDOR },
    Preset {
        name: "deepseek",
        host: "api.deepseek.com",
        path: |api| match api {
            Api::AnthropicMessages => Some("/anthropic/v1/messages"),
            Api::ChatCompletions | Api::Models => api.default_path(),
            _ => None,
        },
        ..VENDOR
    },
    Preset {
        name: "doubao",
        host: "ark.cn-beijing.volces.com",
        host_field: Some("doubaoDomain"),
        path: |api| match api {
            Api::ChatCompletions => Some("/api/v3/chat/completions"),
            Api::Embeddings => Some("/api/v3/embeddings"),
            Api::ImageGenerations => Some("/api/v3/images/generations"),
            Api::Responses => Some("/api/v3/responses"),
            _ => None,
        },
        original: Original::OwnPaths,
        body_rule: Some(body_rule::doubao),
        ..VENDOR
    },
    Preset {
        name: "fireworks",
        host: "api.fireworks.ai",
        // Higress: provider/fireworks.go — not under `/inference`, where the
        // vendor documents them; `providerBasePath` can add that.
        path: |api| match api {
            Api::ChatCompletions | Api::Completions | Api::Models => api.default_path(),
            _ => None,
        },
        original: Original::OwnPaths,
        ..VENDOR
    },
    Preset {
        name: "galadriel",
        host: "api.galadriel.com",
        path: |api| match api {
            Api::ChatCompletions | Api::Models => api.default_path(),
            _ => None,
        },
        ..VENDOR
    },
    gemini::PRESET,
    Preset {
        name: "generic",
        host_field: Some("genericHost"),
        path: |_| None,
        upstream: generic,
        without_token: WithoutToken::Passes,
        is_opaque: true,
        refuses_unsupported: false,
        ..VENDOR
    },
    Preset {
        name: "github",
        host: "models.inference.ai.azure.com",
        path: |api| match api {
            Api::ChatCompletions => Some("/chat/completions"),
            Api::Embeddings => Some("/embeddings"),
            _ => None,
        },
        original: Original::OwnPaths,
        credential: Credential::Plain,
        ..VENDOR
    },
    Preset { name: "grok", host: "api.x.ai", original: Original::OwnPaths, ..VENDOR },
    Preset {
        name: "groq",
        host: "api.groq.com",
        path: |api| match api {
            Api::ChatCompletions => Some("/openai/v1/chat/completions"),
            Api::Responses => Some("/openai/v1/responses"),
            _ => None,
        },
        original: Original::OwnPaths,
        ..VENDOR
    },
    hunyuan::PRESET,
    Preset {
        name: "longcat",
        host: "api.longcat.chat",
        path: |api| match api {
            Api::ChatCompletions | Api::Embeddings | Api::Models => api.default_path(),
            _ => None,
        },
        forces_schema: true,
        ..VENDOR
    },
    minimax::PRESET,
    Preset {
        name: "mistral",
        host: "api.mistral.ai",
        path: chat_and_embeddings,
        keeps_client_path: true,
        ..VENDOR
    },
    moonshot::PRESET,
    Preset {
        name: "ollama",
        path: |api| match api {
            Api::ChatCompletions | Api::Embeddings | Api::Models | Api::Responses => {
                api.default_path()
            }
            _ => None,
        },
        upstream: ollama,
        check: |fields, notes| {
            if !fields.texts("apiTokens")?.is_empty() {
                notes.push(idle("apiTokens", "`apiTokens` are never sent by type `ollama`"));
            }
            Ok(())
        },
        credential: Credential::Nothing,
        without_token: WithoutToken::Passes,
        refuses_unsupported: false,
        ..VENDOR
    },
    openai::PRESET,
    Preset {
        name: "openrouter",
        host: "openrouter.ai",
        path: |api| match api {
            Api::ChatCompletions => Some("/api/v1/chat/completions"),
            Api::Completions => Some("/api/v1/completions"),
            _ => None,
        },
        original: Original::OwnPaths,
        body_rule: Some(body_rule::openrouter),
        ..VENDOR
    },
    qwen::PRESET,
    Preset { name: "stepfun", host: "api.stepfun.com", ..VENDOR },
    Preset {
        name: "together-ai",
        host: "api.together.xyz",
        original: Original::OwnPaths,
        ..VENDOR
    },
    vllm::PRESET,
    Preset { name: "yi", host: "api.lingyiwanwu.com", ..VENDOR },
    Preset {
        name: "zhipuai",
        host: "open.bigmodel.cn",
        host_field: Some("zhipuDomain"),
        path: |api| match api {
            Api::ChatCompletions => Some("/api/paas/v4/chat/completions"),
            Api::Embeddings => Some("/api/paas/v4/embeddings"),
            _ => None,
        },
        upstream: zhipuai,
        original: Original::OwnPaths,
        body_rule: Some(body_rule::zhipuai),
        ..VENDOR
    },
];

/// What makes one OpenAI-compatible type different from the others.
pub(super) struct Preset {
    /// The Higress `type`.
    pub(super) name: &'static str,
    /// The host, unless a field says otherwise.
    pub(super) host: &'static str,
    /// The field that names another host.
    pub(super) host_field: Option<&'static str>,
    /// The vendor's path of each API that it has.
    pub(super) path: fn(Api) -> Option<&'static str>,
    /// Whether requests go out on the client's path even so.
    pub(super) keeps_client_path: bool,
    /// Where requests go, by the fields of the type.
    pub(super) upstream: fn(&Preset, &Fields<'_>) -> Result<Upstream, ConfigError>,
    /// What else the type asks of its fields.
    pub(super) check: fn(&Fields<'_>, &mut Vec<Note>) -> Result<(), ConfigError>,
    /// What `protocol: original` does to paths.
    pub(super) original: Original,
    /// How a token is sent.
    pub(super) credential: Credential,
    /// What happens where no token is configured.
    pub(super) without_token: WithoutToken,
    /// Whether bodies are no business of this type, apart from
    /// `customSettings`.
    pub(super) is_opaque: bool,
    /// Whether a body for an API that it does not have is an error.
    pub(super) refuses_unsupported: bool,
    /// Whether the role `developer` becomes `system`.
    pub(super) renames_developer: bool,
    /// Whether `responseJsonSchema` becomes `response_format`.
    pub(super) forces_schema: bool,
    /// What the vendor wants changed in bodies besides.
    pub(super) body_rule: Option<BodyRule>,
    /// What the vendor's event streams have to pass through.
    pub(super) stream_stage: Option<fn() -> Box<dyn BodyStage>>,
    /// The flag with which a token goes into `Authorization` all the same.
    pub(super) bearer_flag: Option<&'static str>,
    /// Headers that each request gets.
    pub(super) headers: fn(&Fields<'_>) -> Result<Headers, ConfigError>,
    /// What is set in requests that are translated for it.
    pub(super) shape: fn(&Fields<'_>) -> Result<Option<Shape>, ConfigError>,
}

/// Headers with their values.
pub(super) type Headers = Vec<(HeaderName, HeaderValue)>;

/// What most vendors are; the tokens are needed.
pub(super) const VENDOR: Preset = Preset {
    name: "",
    host: "",
    host_field: None,
    path: |api| (api == Api::ChatCompletions).then_some("/v1/chat/completions"),
    keeps_client_path: false,
    upstream: Preset::at_vendor,
    check: |_, _| Ok(()),
    original: Original::KnownPaths,
    credential: Credential::Bearer,
    without_token: WithoutToken::IsAnError,
    is_opaque: false,
    refuses_unsupported: true,
    renames_developer: true,
    forces_schema: false,
    body_rule: None,
    stream_stage: None,
    bearer_flag: None,
    headers: |_| Ok(Vec::new()),
    shape: |_| Ok(None),
};

/// Where requests go.
pub(super) struct Upstream {
    /// `None` keeps the client's.
    pub(super) host: Option<HeaderValue>,
    pub(super) rule: PathRule,
    pub(super) capabilities: Capabilities,
}

/// What `protocol: original` does to paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Original {
    /// They mean the APIs that they mean with `openai`.
    KnownPaths,
    /// Only the vendor's own paths mean an API, wherever they stand.
    OwnPaths,
    /// They stay as they are.
    Untouched,
}

/// How a token is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credential {
    /// `Authorization: Bearer TOKEN`
    Bearer,
    /// `Authorization: TOKEN`
    Plain,
    /// `api-key: TOKEN`; no `Authorization` goes out beside it.
    ApiKey,
    /// `x-api-key: TOKEN`, likewise.
    XApiKey,
    /// `x-goog-api-key: TOKEN`, likewise.
    GoogleKey,
    /// Not at all.
    Nothing,
}

/// What happens where no token is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WithoutToken {
    /// The configuration cannot be used.
    IsAnError,
    /// The client's own is looked for and sent as if it were configured.
    TakesClients,
    /// The client's `Authorization` passes as it is.
    Passes,
    /// The client's `Authorization` is taken away.
    Removes,
}

impl Preset {
    /// The host of the vendor, or the one that a field names, and the paths
    /// of the row.
    pub(super) fn at_vendor(&self, fields: &Fields<'_>) -> Result<Upstream, ConfigError> {
        let named = match self.host_field {
            Some(field) => fields.host(field)?,
            None => None,
        };
        let host = match named {
            Some(host) => host,
            None => checked_host("type", self.host)?,
        };
        Ok(Upstream { host: Some(host), ..self.with_paths() })
    }

    /// The paths of the row, on no host.
    pub(super) fn with_paths(&self) -> Upstream {
        let mut capabilities = Capabilities::default();
        for api in Api::all() {
            if let Some(path) = (self.path)(api) {
                capabilities.set(api, path.to_owned());
            }
        }
        let rule = if self.keeps_client_path { PathRule::Client } else { PathRule::ByApi };
        Upstream { host: None, rule, capabilities }
    }
}

/// A mode of a type that is known but not built.
pub(super) fn planned_mode(name: &str, field: &str, value: &str) -> ConfigError {
    ConfigError {
        kind: ConfigErrorKind::TypeNotSupported,
        ..invalid(
            field,
            format!("provider type `{name}` with `{field}: {value}` is not supported yet"),
        )
    }
}

/// A field that is known but says nothing to this type.
pub(super) fn idle(path: &str, message: impl Into<String>) -> Note {
    Note { path: path.to_owned(), message: message.into(), hint: None, unknown: false }
}

fn chat_and_embeddings(api: Api) -> Option<&'static str> {
    matches!(api, Api::ChatCompletions | Api::Embeddings).then(|| api.default_path()).flatten()
}

/// Higress: provider/cloudflare.go — every request goes to the chat path of
/// the account. It does not ask for the account, without which no path works.
fn cloudflare(preset: &Preset, fields: &Fields<'_>) -> Result<Upstream, ConfigError> {
    const FIELD: &str = "cloudflareAccountId";
    let account = fields.text(FIELD)?;
    if account.is_empty() {
        return Err(invalid("", format!("missing {FIELD} in provider config")));
    }
    if !account.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
        return Err(invalid(FIELD, format!("`{FIELD}` must be letters and digits")));
    }
    let path = format!("/client/v4/accounts/{account}/ai/v1/chat/completions");
    Ok(Upstream { rule: PathRule::Fixed(path), ..preset.at_vendor(fields)? })
}

/// Higress: provider/generic.go — host and token, nothing else.
fn generic(_: &Preset, fields: &Fields<'_>) -> Result<Upstream, ConfigError> {
    let host = fields.host("genericHost")?;
    Ok(Upstream { host, rule: PathRule::Client, capabilities: Capabilities::default() })
}

/// Higress: provider/ollama.go — both fields are needed, whatever the manual
/// says about a default port.
fn ollama(preset: &Preset, fields: &Fields<'_>) -> Result<Upstream, ConfigError> {
    let host = fields.text("ollamaServerHost")?;
    if host.is_empty() {
        return Err(invalid("", "missing ollamaServerHost in provider config"));
    }
    let port = fields.count("ollamaServerPort")?;
    if port == 0 {
        return Err(invalid("", "missing ollamaServerPort in provider config"));
    }
    if port > u64::from(u16::MAX) {
        let message = "`ollamaServerPort` must be from 1 to 65535";
        return Err(invalid("ollamaServerPort", message));
    }
    let host = checked_host("ollamaServerHost", &format!("{host}:{port}"))?;
    Ok(Upstream { host: Some(host), ..preset.with_paths() })
}

/// Higress: provider/zhipuai.go
fn zhipuai(preset: &Preset, fields: &Fields<'_>) -> Result<Upstream, ConfigError> {
    let mut upstream = preset.at_vendor(fields)?;
    if fields.flag("zhipuCodePlanMode")? {
        let path = "/api/coding/paas/v4/chat/completions";
        upstream.capabilities.set(Api::ChatCompletions, path.to_owned());
    }
    Ok(upstream)
}

#[cfg(test)]
mod tests;
