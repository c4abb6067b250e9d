//! How each kind of LLM service wants to be asked.
//!
//! A provider is pure: the request, the chosen token and what was fetched go
//! in, edits of the head and the body come out. One row of [`PROVIDERS`] per
//! `type` of Higress' ai-proxy; a type with behaviour of its own has a file,
//! the OpenAI-compatible ones are rows of data in `preset.rs`.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Map, Value};

use self::availability::{Failover, RetryOnFailure};
pub use self::exchange::Expected;
use crate::api::Api;
use crate::error::{ConfigError, ConfigErrorKind, LlmError};
use crate::scan::Scan;
use crate::stage::{BodyStage, Head};

pub mod availability;
mod azure;
mod body_rule;
mod claude;
mod compatible;
mod config;
mod custom_settings;
mod exchange;
mod fields;
mod gemini;
mod hunyuan;
mod minimax;
mod moonshot;
mod notes;
mod openai;
mod path;
mod preset;
mod promotion;
mod qwen;
mod vllm;

/// A client's request as a provider sees it.
#[derive(Clone, Copy)]
pub struct LlmRequest<'a> {
    /// The API that the path names; `None` where it is no LLM API.
    pub api: Option<Api>,
    /// The method.
    pub method: &'a Method,
    /// Path and query as the client sent them.
    pub path_and_query: &'a str,
    /// The client's headers, without hop-by-hop ones.
    pub headers: &'a HeaderMap,
    /// The whole body where [`Provider::wants_body`] asked for it and there
    /// is one.
    pub body: Option<&'a Bytes>,
    /// What one pass over `body` found.
    pub scan: Option<&'a Scan>,
    /// The time, in seconds since 1970. Asked where an answer has to say it.
    pub now: fn() -> u64,
    /// What [`UpstreamRequest::expected`] said, once the request was made.
    pub expected: Option<&'a Expected>,
}

/// Who is asked in this attempt.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The API token that was chosen; `None` where none is configured.
    pub token: Option<&'a Token>,
}

/// Something that must be at hand before the request can be built.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Fetch {
    /// A text file: `url` asked of `service` with GET. It may be kept for the
    /// life of the configuration; without it the request must not be sent.
    ContextFile {
        /// Scheme, host and path of the file, without a query.
        url: String,
        /// The host of the service that serves it.
        service: String,
        /// The service's port.
        port: u16,
        /// How long that may take.
        timeout_ms: u64,
    },
}

/// What was fetched, in the order of [`Provider::needs`].
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    /// One body for each [`Fetch`].
    pub bodies: Vec<Bytes>,
}

/// What has to change in the client's request before it is sent.
#[derive(Default)]
pub struct UpstreamRequest {
    /// The value of `Host`; `None` keeps the client's.
    pub host: Option<HeaderValue>,
    /// Path and query; `None` keeps the client's.
    pub path_and_query: Option<String>,
    /// Headers to set (`Some`) or remove (`None`), in order.
    pub headers: Vec<(HeaderName, Option<HeaderValue>)>,
    /// The body.
    pub body: BodyEdit,
    /// The model that is asked for after mapping, for logs and metrics.
    pub model: Option<String>,
    /// What has to be known when the answer comes.
    pub expected: Option<Box<Expected>>,
}

/// What happens to the body.
#[derive(Debug, Default)]
pub enum BodyEdit {
    /// It goes out as it came.
    #[default]
    Keep,
    /// It goes out as these parts, which are mostly slices of the original.
    Parts(Vec<Bytes>),
}

/// What becomes of an answer on its way to the client.
#[derive(Default)]
pub enum Treatment {
    /// Its bytes pass as they come.
    #[default]
    Pass,
    /// It passes through this stage.
    Stage(Box<dyn BodyStage>),
    /// It becomes another body, once all of it is there.
    Whole(Whole),
}

/// Makes a body of a body.
pub struct Whole {
    /// The `Content-Type` of what is made.
    pub content_type: &'static str,
    /// The largest body that it is made of, in bytes.
    pub bytes_max: usize,
    /// Makes it. An error says that the service's answer is none.
    pub make: Box<dyn FnOnce(Bytes) -> Result<Bytes, LlmError> + Send>,
}

impl Treatment {
    /// An answer that cannot be given.
    fn failing(error: LlmError) -> Self {
        let make = Box::new(move |_| Err(error));
        Self::Whole(Whole { content_type: "application/json", bytes_max: 0, make })
    }
}

/// One LLM service as configured.
pub trait Provider: Send + Sync {
    /// `id` of the configuration; empty where it has none.
    fn id(&self) -> &str;

    /// The Higress `type`.
    fn type_name(&self) -> &'static str;

    /// The tokens to choose from; the gateway chooses.
    fn tokens(&self) -> &[Token];

    /// Whether the body must be read before the request can be sent. Asked
    /// with the head only.
    fn wants_body(&self, request: &LlmRequest<'_>) -> bool;

    /// All that may ever have to be fetched.
    fn may_need(&self) -> &[Fetch] {
        &[]
    }

    /// What must be fetched first, out of [`Provider::may_need`]. Most
    /// providers need nothing. Asked with the body.
    fn needs(&self, request: &LlmRequest<'_>) -> Vec<Fetch> {
        let _ = request;
        Vec::new()
    }

    /// The request as this service wants it.
    ///
    /// # Errors
    /// The client's request cannot be expressed for this service.
    fn request(
        &self,
        request: &LlmRequest<'_>,
        target: &Target<'_>,
        fetched: &Fetched,
    ) -> Result<UpstreamRequest, LlmError>;

    /// When a token is put aside; `None` where none is.
    fn failover(&self) -> Option<&Failover> {
        None
    }

    /// When another token is tried; `None` where none is.
    fn retry(&self) -> Option<&RetryOnFailure> {
        None
    }

    /// How long this request may wait for the first byte of its answer, as
    /// those do that stream; 0 leaves it to the gateway.
    fn first_byte_timeout_ms(&self, request: &LlmRequest<'_>) -> u64 {
        let _ = request;
        0
    }

    /// What turns this service's answer into the client's format. Called once
    /// per answer, with its head.
    fn response(&self, request: &LlmRequest<'_>, head: &Head) -> Treatment {
        let _ = (request, head);
        Treatment::Pass
    }
}

/// An API token, as headers say it. `Debug` never shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    plain: HeaderValue,
    bearer: HeaderValue,
}

impl Token {
    /// A token from its text; `None` where no header can hold it.
    pub fn new(text: &str) -> Option<Self> {
        let value = |text: &str| {
            let mut value = HeaderValue::from_str(text).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        Some(Self { plain: value(text)?, bearer: value(&format!("Bearer {text}"))? })
    }

    /// The token itself.
    pub fn plain(&self) -> &HeaderValue {
        &self.plain
    }

    /// The value of `Authorization`.
    pub fn bearer(&self) -> &HeaderValue {
        &self.bearer
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A provider as built, with what is worth saying about its configuration.
pub struct Built {
    /// The provider.
    pub provider: Arc<dyn Provider>,
    /// Fields that are unknown or not acted upon: key path, message, hint.
    pub notes: Vec<Note>,
}

/// Something about a provider's configuration that does not break it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The key path inside the provider object.
    pub path: String,
    /// What is noteworthy.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether the field is not known at all, rather than not acted upon.
    pub unknown: bool,
}

/// Builds a provider from its object.
pub type Build = fn(&Map<String, Value>) -> Result<Built, ConfigError>;

/// One `type` of Higress' ai-proxy.
pub struct ProviderRow {
    /// The Higress `type`.
    pub name: &'static str,
    /// Builds a provider from its object; `None` where the type is not
    /// implemented yet.
    pub build: Option<Build>,
}

/// Every `type` of Higress' ai-proxy, sorted by name.
pub const PROVIDERS: &[ProviderRow] = &[
    compatible("ai360"),
    compatible("azure"),
    compatible("baichuan"),
    compatible("baidu"),
    planned("bedrock"),
    compatible("claude"),
    compatible("cloudflare"),
    planned("cohere"),
    planned("coze"),
    planned("deepl"),
    compatible("deepseek"),
    planned("dify"),
    compatible("doubao"),
    compatible("fireworks"),
    compatible("galadriel"),
    compatible("gemini"),
    compatible("generic"),
    compatible("github"),
    compatible("grok"),
    compatible("groq"),
    compatible("hunyuan"),
    planned("kling"),
    compatible("longcat"),
    compatible("minimax"),
    compatible("mistral"),
    compatible("moonshot"),
    compatible("ollama"),
    compatible("openai"),
    compatible("openrouter"),
    compatible("qwen"),
    planned("spark"),
    compatible("stepfun"),
    compatible("together-ai"),
    planned("triton"),
    planned("vertex"),
    compatible("vllm"),
    compatible("yi"),
    compatible("zhipuai"),
];

const fn compatible(name: &'static str) -> ProviderRow {
    ProviderRow { name, build: Some(compatible::build) }
}

const fn planned(name: &'static str) -> ProviderRow {
    ProviderRow { name, build: None }
}

/// Builds the provider that a provider object of ai-proxy describes.
///
/// # Errors
/// The object cannot be used. The first mistake is told, in Higress' order
/// and with Higress' messages where Higress has one.
pub fn build(config: &Map<String, Value>) -> Result<Built, ConfigError> {
    config::check(config)?;
    let name = fields::Fields { map: config }.text("type")?;
    if name.is_empty() {
        return Err(fields::invalid("", "missing type in provider config"));
    }
    let Some(row) = PROVIDERS.iter().find(|row| row.name == name) else {
        let names = PROVIDERS.iter().map(|row| row.name);
        return Err(ConfigError {
            path: "type".into(),
            hint: nearest(&name, names).map(|name| format!("did you mean `{name}`?")),
            message: format!("unknown provider type: {name}"),
            kind: ConfigErrorKind::UnknownType,
        });
    };
    let build = row.build.ok_or_else(|| ConfigError {
        path: "type".into(),
        message: format!("provider type `{name}` is not supported yet"),
        hint: None,
        kind: ConfigErrorKind::TypeNotSupported,
    })?;
    build(config)
}

/// A key path with one more key, in brackets and quotes where the key has
/// characters that would make the path ambiguous.
pub(crate) fn join_path(path: &str, key: &str) -> String {
    let is_plain = !key.is_empty() && !key.contains(['.', '[', ']', '"', ' ', '/']);
    match (path.is_empty(), is_plain) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[\"{key}\"]"),
    }
}

/// The candidate that `name` was probably meant to be.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    candidates
        .map(|candidate| (strsim::jaro_winkler(&name, &candidate.to_lowercase()), candidate))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|(one, _), (two, _)| one.total_cmp(two))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests;
