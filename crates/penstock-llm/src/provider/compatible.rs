//! Providers that speak the OpenAI API: rows of data and one provider that
//! works by any of them.
//!
//! A row says what is different: host, paths, credential. What is the same is
//! here once: paths and hosts as configured, model mapping, the small edits
//! of chat requests. Answers pass untouched.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, UPGRADE,
};
use http::{HeaderMap, HeaderValue};
use serde_json::{Map, Value};

use super::config::{Protocol, ProviderConfig};
use super::fields::{Fields, checked_host, invalid};
use super::openai::{self, CustomUrl};
use super::path::{Capabilities, PathRule, Paths};
use super::{BodyEdit, Built, Fetched, LlmRequest, Provider, Target, Token, UpstreamRequest};
use crate::api::Api;
use crate::error::{ConfigError, LlmError};
use crate::json;
use crate::messages::Wishes;
use crate::model_map::ModelMap;
use crate::multipart::Form;
use crate::scan::{Scan, Splice};

/// The types that are nothing but a row.
const PRESETS: &[Preset] = &[openai::PRESET];

/// What makes one OpenAI-compatible type different from the others.
pub(super) struct Preset {
    /// The Higress `type`.
    pub(super) name: &'static str,
    /// The host, unless a field says otherwise.
    pub(super) host: &'static str,
    /// The vendor's path of each API that it has.
    pub(super) path: fn(Api) -> Option<&'static str>,
    /// Whether requests go out on the client's path even so.
    pub(super) keeps_client_path: bool,
    /// The field that moves it to another server.
    pub(super) custom_url: Option<CustomUrl>,
    /// What stands before the token in `Authorization`.
    pub(super) token_scheme: &'static str,
    /// Whether the client's own token is sent where none is configured.
    pub(super) takes_client_token: bool,
    /// Whether it is of no use without a token.
    pub(super) requires_tokens: bool,
    /// Whether a body for an API that it does not have is an error.
    pub(super) refuses_unsupported: bool,
}

/// Where requests go.
pub(super) struct Upstream {
    pub(super) host: HeaderValue,
    pub(super) rule: PathRule,
    pub(super) capabilities: Capabilities,
}

/// Builds the provider of a row.
pub(super) fn build(config: &Map<String, Value>) -> Result<Built, ConfigError> {
    let name = Fields { map: config }.text("type")?;
    let preset = PRESETS.iter().find(|preset| preset.name == name);
    let preset = preset.ok_or_else(|| invalid("type", format!("unknown provider type: {name}")))?;
    build_from(preset, config)
}

fn build_from(preset: &'static Preset, object: &Map<String, Value>) -> Result<Built, ConfigError> {
    let config = ProviderConfig::read(object)?;
    if preset.requires_tokens && config.tokens.is_empty() {
        return Err(invalid("", "no apiToken found in provider config"));
    }
    let custom = match &preset.custom_url {
        Some(url) => url.read(object, preset.path)?,
        None => None,
    };
    let Upstream { host, rule, mut capabilities } = match custom {
        Some(upstream) => upstream,
        None => preset.upstream()?,
    };
    for (api, path) in config.capabilities {
        capabilities.set(api, path);
    }
    let provider = Compatible {
        preset,
        id: config.id,
        tokens: config.tokens,
        host: config.domain.unwrap_or(host),
        paths: Paths {
            base_path: config.base_path,
            rule,
            capabilities,
            provider_base_path: config.provider_base_path,
            is_original: config.protocol == Protocol::Original,
        },
        model_map: config.model_map,
        first_byte_timeout_ms: config.first_byte_timeout_ms,
        cleanup_commands: config.cleanup_commands,
        merges_messages: config.merges_messages,
        wants_stream_usage: config.wants_stream_usage,
        response_format: config.response_format,
    };
    Ok(Built { provider: Arc::new(provider), notes: config.notes })
}

impl Preset {
    fn upstream(&self) -> Result<Upstream, ConfigError> {
        let mut capabilities = Capabilities::default();
        for api in Api::all() {
            if let Some(path) = (self.path)(api) {
                capabilities.set(api, path.to_owned());
            }
        }
        let rule = if self.keeps_client_path { PathRule::Client } else { PathRule::ByApi };
        Ok(Upstream { host: checked_host("type", self.host)?, rule, capabilities })
    }
}

/// One provider of any row.
struct Compatible {
    preset: &'static Preset,
    id: String,
    tokens: Vec<Token>,
    host: HeaderValue,
    paths: Paths,
    model_map: ModelMap,
    first_byte_timeout_ms: u64,
    cleanup_commands: Vec<String>,
    merges_messages: bool,
    wants_stream_usage: bool,
    response_format: Option<String>,
}

/// How a body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyKind {
    Json,
    Form,
}

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_AUTHORIZATION: HeaderName = HeaderName::from_static("x-authorization");

/// Headers that Higress leaves on the upstream request for its own later
/// steps. The gateway keeps these values to itself, and what a client sends
/// under these names is not the truth.
const INTERNAL_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("x-envoy-original-host"),
    HeaderName::from_static("x-envoy-original-path"),
    HeaderName::from_static("x-hi-original-auth"),
];

impl Provider for Compatible {
    fn id(&self) -> &str {
        &self.id
    }

    fn type_name(&self) -> &'static str {
        self.preset.name
    }

    fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    fn first_byte_timeout_ms(&self) -> u64 {
        self.first_byte_timeout_ms
    }

    fn wants_body(&self, request: &LlmRequest<'_>) -> bool {
        // With `original` the body decides nothing but whether the answer
        // streams, which only the first-byte timeout asks.
        let has_use = !self.paths.is_original || self.first_byte_timeout_ms > 0;
        has_use && !self.must_translate(request.api) && self.body_kind(request).is_some()
    }

    fn request(
        &self,
        request: &LlmRequest<'_>,
        target: &Target<'_>,
        _fetched: &Fetched,
    ) -> Result<UpstreamRequest, LlmError> {
        if self.must_translate(request.api) {
            return Err(LlmError::UnsupportedApi);
        }
        let mut upstream = UpstreamRequest {
            host: Some(self.host.clone()),
            path_and_query: self.paths.rewrite(request.api, request.path_and_query),
            headers: self.headers(request.headers, target)?,
            body: BodyEdit::Keep,
            model: None,
        };
        let body = request.body.filter(|body| !body.is_empty());
        if let (Some(api), Some(body), Some(kind)) = (request.api, body, self.body_kind(request)) {
            match kind {
                BodyKind::Json => self.edit_json(api, body, request.scan, &mut upstream)?,
                BodyKind::Form => self.edit_form(body, request.headers, &mut upstream)?,
            }
        }
        Ok(upstream)
    }
}

impl Compatible {
    fn has(&self, api: Api) -> bool {
        self.paths.capabilities.get(api).is_some()
    }

    /// Whether a request is in another format than this service's.
    fn must_translate(&self, api: Option<Api>) -> bool {
        api == Some(Api::AnthropicMessages)
            && !self.paths.is_original
            && !self.has(Api::AnthropicMessages)
    }

    /// How the body is to be read; `None` where it passes unread.
    fn body_kind(&self, request: &LlmRequest<'_>) -> Option<BodyKind> {
        let api = request.api?;
        let headers = request.headers;
        let has_use = if self.has(api) { has_model(api) } else { self.preset.refuses_unsupported };
        if !has_use || headers.contains_key(CONTENT_ENCODING) {
            return None;
        }
        if text(headers, &UPGRADE).is_some_and(|value| contains(value, "websocket")) {
            return None;
        }
        let Some(content_type) = headers.get(CONTENT_TYPE) else { return Some(BodyKind::Json) };
        let content_type = content_type.to_str().unwrap_or_default();
        let is_image = matches!(api, Api::ImageEdits | Api::ImageVariations);
        if contains(content_type, "application/json") {
            Some(BodyKind::Json)
        } else if is_image && contains(content_type, "multipart/form-data") {
            Some(BodyKind::Form)
        } else {
            None
        }
    }

    fn headers(
        &self,
        client: &HeaderMap,
        target: &Target<'_>,
    ) -> Result<Vec<(HeaderName, Option<HeaderValue>)>, LlmError> {
        let mut headers = Vec::new();
        for name in INTERNAL_HEADERS.into_iter().chain([ACCEPT_ENCODING]) {
            if client.contains_key(&name) {
                headers.push((name, None));
            }
        }
        let credential = match target.token {
            Some(token) => Some([self.preset.token_scheme.as_bytes(), token.as_bytes()].concat()),
            None if self.preset.takes_client_token => self.client_credential(client),
            None => None,
        };
        if let Some(credential) = credential {
            let mut value = HeaderValue::from_maybe_shared(Bytes::from(credential))
                .map_err(|_| LlmError::InvalidRequest("the API token cannot be sent".into()))?;
            value.set_sensitive(true);
            headers.push((AUTHORIZATION, Some(value)));
        }
        Ok(headers)
    }

    /// What `Authorization` has to become so that the client's own token is
    /// sent; `None` where it is that already. Clients of other vendors' APIs
    /// put it into `x-api-key`, so that comes first.
    fn client_credential(&self, client: &HeaderMap) -> Option<Vec<u8>> {
        let scheme = self.preset.token_scheme.as_bytes();
        let names = [X_API_KEY, X_AUTHORIZATION, AUTHORIZATION];
        let (name, value) = names.into_iter().find_map(|name| {
            let value = client.get(&name).filter(|value| !value.is_empty())?;
            Some((name, value.as_bytes()))
        })?;
        let start = value.get(..scheme.len());
        match start.is_some_and(|start| start.eq_ignore_ascii_case(scheme)) {
            true if name == AUTHORIZATION => None,
            true => Some(value.to_vec()),
            false => Some([scheme, value].concat()),
        }
    }

    fn edit_json(
        &self,
        api: Api,
        body: &Bytes,
        scan: Option<&Scan>,
        upstream: &mut UpstreamRequest,
    ) -> Result<(), LlmError> {
        if !self.has(api) {
            return Err(LlmError::UnsupportedApi);
        }
        if self.paths.is_original {
            upstream.model = scan.and_then(|scan| scan.model.clone());
            return Ok(());
        }
        let own_scan;
        let scan = match scan {
            Some(scan) => scan,
            None => {
                own_scan = Scan::of(body)?;
                &own_scan
            }
        };
        upstream.model.clone_from(&scan.model);
        let mut splice = Splice::new(body);
        let mut members = Vec::new();
        self.edit_model(scan, &mut splice, &mut members, upstream)?;
        if api == Api::ChatCompletions {
            self.edit_chat(body, scan, &mut splice, &mut members);
        }
        let can_report_usage = matches!(api, Api::ChatCompletions | Api::Completions);
        if can_report_usage && scan.stream && self.wants_stream_usage {
            ask_for_usage(body, scan, &mut splice, &mut members);
        }
        if !members.is_empty() {
            let comma = if scan.is_empty { "" } else { "," };
            splice.insert(scan.insert_at(), members.join(",") + comma);
        }
        let accepts_events = matches!(api, Api::ChatCompletions | Api::Videos | Api::VideoRemix);
        if accepts_events && scan.stream {
            upstream.headers.push((ACCEPT, Some(HeaderValue::from_static("text/event-stream"))));
        }
        if !splice.is_empty() {
            upstream.body = BodyEdit::Parts(splice.into_parts());
        }
        Ok(())
    }

    /// A request without a model is mapped like one whose model is empty, so
    /// that `*` gives it one.
    fn edit_model(
        &self,
        scan: &Scan,
        splice: &mut Splice<'_>,
        members: &mut Vec<String>,
        upstream: &mut UpstreamRequest,
    ) -> Result<(), LlmError> {
        if scan.model_is_no_string {
            return Err(LlmError::InvalidRequest("`model` must be a string".into()));
        }
        let asked = scan.model.as_deref().unwrap_or_default();
        let Some(mapped) = self.model_map.map(asked) else { return Ok(()) };
        let value = json::encode_string(&mapped);
        match &scan.model_at {
            Some(at) => splice.replace(at.clone(), value),
            None => members.push(format!(r#""model":{value}"#)),
        }
        upstream.model = Some(mapped.into_owned());
        Ok(())
    }

    fn edit_chat(
        &self,
        body: &Bytes,
        scan: &Scan,
        splice: &mut Splice<'_>,
        members: &mut Vec<String>,
    ) {
        if let Some(format) = &self.response_format {
            match &scan.response_format_at {
                Some(at) => splice.replace(at.clone(), format.clone()),
                None => members.push(format!(r#""response_format":{format}"#)),
            }
        }
        let wishes = Wishes {
            renames_developer: true,
            cleanup_commands: &self.cleanup_commands,
            merges: self.merges_messages,
        };
        let Some(at) = &scan.messages_at else { return };
        if body.get(at.clone()).is_some_and(|messages| wishes.concern(messages)) {
            wishes.edit(body, at.clone(), splice);
        }
    }

    fn edit_form(
        &self,
        body: &Bytes,
        headers: &HeaderMap,
        upstream: &mut UpstreamRequest,
    ) -> Result<(), LlmError> {
        if self.paths.is_original {
            return Ok(());
        }
        let content_type = text(headers, &CONTENT_TYPE).unwrap_or_default();
        let form = Form::read(content_type, body, "model")?;
        let asked = form.part.as_ref().map_or("", |(model, _)| model);
        let mapped = self.model_map.map(asked);
        if let Some(mapped) = &mapped {
            let mut splice = Splice::new(body);
            form.set(mapped, &mut splice);
            upstream.body = BodyEdit::Parts(splice.into_parts());
        }
        let model = mapped.as_deref().unwrap_or(asked);
        upstream.model = Some(model.to_owned()).filter(|model| !model.is_empty());
        Ok(())
    }
}

/// Whether the body of a request for this API names a model.
fn has_model(api: Api) -> bool {
    matches!(
        api,
        Api::ChatCompletions
            | Api::Completions
            | Api::Embeddings
            | Api::ImageGenerations
            | Api::ImageVariations
            | Api::ImageEdits
            | Api::AudioSpeech
            | Api::FineTuningJobs
            | Api::Responses
            | Api::Videos
            | Api::VideoRemix
            | Api::AnthropicMessages
            | Api::CohereRerank
            | Api::QwenRerank
    )
}

/// Sets `stream_options.include_usage`, unless the client has set it.
fn ask_for_usage(body: &Bytes, scan: &Scan, splice: &mut Splice<'_>, members: &mut Vec<String>) {
    const OPTION: &str = r#""include_usage":true"#;
    let Some(at) = &scan.stream_options_at else {
        members.push(format!(r#""stream_options":{{{OPTION}}}"#));
        return;
    };
    let options = body.get(at.clone()).and_then(|raw| std::str::from_utf8(raw).ok());
    if options == Some("null") {
        splice.replace(at.clone(), format!("{{{OPTION}}}"));
        return;
    }
    let (mut is_empty, mut is_set) = (true, false);
    let read = options.map(|options| {
        json::for_each_member(options, |key, _| {
            is_empty = false;
            is_set |= key == "include_usage";
        })
    });
    if let (Some(Ok(())), false) = (read, is_set) {
        let comma = if is_empty { "" } else { "," };
        splice.insert(at.start + 1, format!("{OPTION}{comma}"));
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn contains(value: &str, word: &str) -> bool {
    value.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}

#[cfg(test)]
mod tests;
