//! Providers that speak the OpenAI API: rows of data and one provider that
//! works by any of them.
//!
//! A row says what is different: host, paths, credential. What is the same is
//! here once: paths and hosts as configured, model mapping, the small edits
//! of chat requests. Answers pass untouched.

mod credential;
mod translated;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, UPGRADE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value};

use super::availability::{Failover, RetryOnFailure};
use super::config::{Protocol, ProviderConfig};
use super::custom_settings::CustomSettings;
use super::exchange::Shape;
use super::fields::{Fields, invalid};
use super::path::{Capabilities, Paths};
use super::preset::{Credential, Headers, Original, PRESETS, Preset, Upstream, WithoutToken};
use super::{
    BodyEdit, Built, Fetch, Fetched, LlmRequest, Provider, Target, Token, Treatment,
    UpstreamRequest, exchange, gemini, notes, promotion,
};
use crate::api::{Api, split_query};
use crate::error::{ConfigError, LlmError};
use crate::json;
use crate::messages::Wishes;
use crate::model_map::ModelMap;
use crate::multipart::Form;
use crate::scan::{Scan, Splice};
use crate::stage::{BodyStage, Chain, Head};

/// Builds the provider of a row.
pub(super) fn build(config: &Map<String, Value>) -> Result<Built, ConfigError> {
    let name = Fields { map: config }.text("type")?;
    let preset = PRESETS.iter().find(|preset| preset.name == name);
    let preset = preset.ok_or_else(|| invalid("type", format!("unknown provider type: {name}")))?;
    build_from(preset, config)
}

fn build_from(preset: &'static Preset, object: &Map<String, Value>) -> Result<Built, ConfigError> {
    let fields = Fields { map: object };
    let mut config = ProviderConfig::read(object)?;
    (preset.check)(&fields, &mut config.notes)?;
    if preset.without_token == WithoutToken::IsAnError && config.tokens.is_empty() {
        return Err(invalid("", "no apiToken found in provider config"));
    }
    notes::fields_beyond(preset, &fields, &mut config);
    let is_bearer = match preset.bearer_flag {
        Some(flag) => fields.flag(flag)?,
        None => false,
    };
    let Upstream { host, rule, mut capabilities } = (preset.upstream)(preset, &fields)?;
    let own_paths = [capabilities.clone(), preset.with_paths().capabilities];
    for (api, path) in config.capabilities {
        capabilities.set(api, path);
    }
    let provider = Compatible {
        preset,
        id: config.id,
        tokens: config.tokens,
        host: config.domain.or(host),
        own_paths,
        paths: Paths {
            base_path: config.base_path,
            rule,
            capabilities,
            provider_base_path: config.provider_base_path,
            is_original: config.protocol == Protocol::Original,
            original_is_untouched: preset.original == Original::Untouched,
        },
        credential: if is_bearer { Credential::Bearer } else { preset.credential },
        headers: (preset.headers)(&fields)?,
        shape: (preset.shape)(&fields)?,
        gemini_version: gemini::version(&fields)?,
        context: config.context,
        settings: config.settings,
        model_map: config.model_map,
        first_byte_timeout_ms: config.first_byte_timeout_ms,
        failover: config.failover,
        retry: config.retry,
        cleanup_commands: config.cleanup_commands,
        merges_messages: config.merges_messages,
        promotes_thinking: config.promotes_thinking,
        wants_stream_usage: config.wants_stream_usage,
        response_format: config.response_format,
    };
    Ok(Built { provider: Arc::new(provider), notes: config.notes })
}

/// One provider of any row.
struct Compatible {
    preset: &'static Preset,
    id: String,
    tokens: Vec<Token>,
    /// `None` keeps the client's.
    host: Option<HeaderValue>,
    /// The paths of this provider and those of its type, without the user's
    /// `capabilities`.
    own_paths: [Capabilities; 2],
    paths: Paths,
    credential: Credential,
    /// What each request gets besides.
    headers: Headers,
    /// What is set in requests that are translated.
    shape: Option<Shape>,
    /// The version of Google's API in paths that are made here.
    gemini_version: String,
    /// The file whose text goes into chat requests.
    context: Option<Fetch>,
    settings: CustomSettings,
    model_map: ModelMap,
    first_byte_timeout_ms: u64,
    failover: Option<Failover>,
    retry: Option<RetryOnFailure>,
    cleanup_commands: Vec<String>,
    merges_messages: bool,
    promotes_thinking: bool,
    wants_stream_usage: bool,
    response_format: Option<String>,
}

/// How a body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyKind {
    Json,
    Form,
}

/// What a body is edited for.
struct Asked<'a> {
    api: Api,
    /// The text of the context file.
    context: Option<&'a str>,
}

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

    fn failover(&self) -> Option<&Failover> {
        self.failover.as_ref()
    }

    fn retry(&self) -> Option<&RetryOnFailure> {
        self.retry.as_ref()
    }

    fn first_byte_timeout_ms(&self, request: &LlmRequest<'_>) -> u64 {
        let says_stream = request.scan.is_some_and(|scan| scan.stream);
        let is_streaming = request.api.is_some_and(|api| api.is_streaming(says_stream));
        // Higress: provider/generic.go — it asks nothing of the body.
        match self.preset.is_opaque || is_streaming {
            true => self.first_byte_timeout_ms,
            false => 0,
        }
    }

    fn wants_body(&self, request: &LlmRequest<'_>) -> bool {
        // With `original` the body decides nothing but whether the answer
        // streams, which only the first-byte timeout asks.
        let has_use = match self.preset.is_opaque {
            true => !self.settings.is_empty(),
            false => !self.paths.is_original || self.first_byte_timeout_ms > 0,
        };
        if self.instead_of(request.api).is_some() {
            return true;
        }
        has_use && self.body_kind(request).is_some()
    }

    fn may_need(&self) -> &[Fetch] {
        match self.paths.is_original || self.preset.is_opaque {
            true => &[],
            false => self.context.as_slice(),
        }
    }

    fn needs(&self, request: &LlmRequest<'_>) -> Vec<Fetch> {
        let context = self.context.as_ref().filter(|_| self.wants_context(request));
        context.cloned().into_iter().collect()
    }

    fn request(
        &self,
        request: &LlmRequest<'_>,
        target: &Target<'_>,
        fetched: &Fetched,
    ) -> Result<UpstreamRequest, LlmError> {
        match self.instead_of(request.api) {
            Some(api) => self.translated(request, api, target, fetched),
            None => self.asked(request, target, fetched),
        }
    }

    fn response(&self, request: &LlmRequest<'_>, head: &Head) -> Treatment {
        let instead = self.instead_of(request.api);
        let own = self.stage(instead.or(request.api), head);
        match (instead, own) {
            (Some(api), own) => exchange::treat(request, api, head, own),
            (None, Some(stage)) => Treatment::Stage(stage),
            (None, None) => Treatment::Pass,
        }
    }
}

const STREAM: &str = "text/event-stream";

impl Compatible {
    /// The request for this service, in whose format it is.
    fn asked(
        &self,
        request: &LlmRequest<'_>,
        target: &Target<'_>,
        fetched: &Fetched,
    ) -> Result<UpstreamRequest, LlmError> {
        let mut upstream = UpstreamRequest {
            host: self.host.clone(),
            headers: self.headers(request.headers, target)?,
            ..UpstreamRequest::default()
        };
        let body = request.body.filter(|body| !body.is_empty());
        let mut is_read = false;
        if let (Some(api), Some(body), Some(kind)) = (request.api, body, self.body_kind(request)) {
            if !self.has(api) && !self.preset.is_opaque {
                return Err(LlmError::UnsupportedApi);
            }
            match kind {
                BodyKind::Json => {
                    let context = fetched.bodies.first().filter(|_| self.wants_context(request));
                    let context = context.map(|text| String::from_utf8_lossy(text));
                    let asked = Asked { api, context: context.as_deref() };
                    self.edit_json(&asked, body, request.scan, &mut upstream)?;
                }
                BodyKind::Form => self.edit_form(body, request.headers, &mut upstream)?,
            }
            is_read = true;
        }
        // The path may name the model, so the body comes first.
        let model = is_read.then(|| upstream.model.as_deref().unwrap_or_default());
        let path = request.path_and_query;
        upstream.path_and_query = self.paths.rewrite(self.api_of(request), path, model)?;
        if self.credential == Credential::GoogleKey
            && let Some(path) =
                credential::without_key(upstream.path_and_query.as_deref().unwrap_or(path))
        {
            upstream.path_and_query = Some(path);
        }
        Ok(upstream)
    }

    /// What this service's answers pass through for the clients of its own
    /// format.
    fn stage(&self, api: Option<Api>, head: &Head) -> Option<Box<dyn BodyStage>> {
        let has_stage = self.promotes_thinking || self.preset.stream_stage.is_some();
        let is_readable = has_stage
            && api == Some(Api::ChatCompletions)
            && !self.paths.is_original
            && !self.preset.is_opaque
            && head.status == StatusCode::OK
            && !head.headers.contains_key(CONTENT_ENCODING);
        if !is_readable {
            return None;
        }
        let kind = text(&head.headers, &CONTENT_TYPE).unwrap_or_default();
        let is_stream = kind.get(..STREAM.len()).is_some_and(|s| s.eq_ignore_ascii_case(STREAM));
        let stream_stage = self.preset.stream_stage.filter(|_| is_stream).map(|stage| stage());
        let promotion = self.promotes_thinking.then(|| promotion::stage(is_stream));
        match (stream_stage, promotion) {
            (Some(first), Some(second)) => Some(Box::new(Chain { first, second })),
            (first, second) => first.or(second),
        }
    }

    fn has(&self, api: Api) -> bool {
        self.paths.capabilities.get(api).is_some()
    }

    /// Whether the context file goes into this request.
    fn wants_context(&self, request: &LlmRequest<'_>) -> bool {
        self.context.is_some()
            && request.api == Some(Api::ChatCompletions)
            && request.body.is_some_and(|body| !body.is_empty())
            && !self.paths.is_original
            && !self.preset.is_opaque
    }

    /// The API that the path means to this type.
    fn api_of(&self, request: &LlmRequest<'_>) -> Option<Api> {
        if !self.paths.is_original || self.preset.original != Original::OwnPaths {
            return request.api;
        }
        let (path, _) = split_query(request.path_and_query);
        self.own_paths.iter().find_map(|own| own.find_in(path))
    }

    /// How the body is to be read; `None` where it passes unread.
    fn body_kind(&self, request: &LlmRequest<'_>) -> Option<BodyKind> {
        let api = request.api?;
        let headers = request.headers;
        let names_model = self.paths.names_model(api);
        let has_use = match self.preset.is_opaque {
            true => has_model(api),
            false if self.has(api) => has_model(api) || names_model,
            // With `original` the vendor knows best what it has.
            false => self.preset.refuses_unsupported && !self.paths.is_original,
        };
        if !has_use {
            return None;
        }
        // Three look-ups would cost more than one pass.
        let (mut content_type, mut upgrade) = (None, None);
        for (name, value) in headers {
            match *name {
                CONTENT_ENCODING => return None,
                CONTENT_TYPE => content_type = content_type.or(Some(value)),
                UPGRADE => upgrade = upgrade.or(Some(value)),
                _ => {}
            }
        }
        let upgrade = upgrade.and_then(|value: &HeaderValue| value.to_str().ok());
        if upgrade.is_some_and(|value| contains(value, "websocket")) {
            return None;
        }
        let Some(content_type) = content_type else { return Some(BodyKind::Json) };
        // As nearly everybody spells it.
        if content_type == "application/json" {
            return Some(BodyKind::Json);
        }
        let content_type = content_type.to_str().unwrap_or_default();
        let takes_form = !self.preset.is_opaque
            && match api {
                Api::ImageEdits | Api::ImageVariations => true,
                Api::AudioTranscriptions | Api::AudioTranslations => names_model,
                _ => false,
            };
        if contains(content_type, "application/json") {
            Some(BodyKind::Json)
        } else if takes_form && contains(content_type, "multipart/form-data") {
            Some(BodyKind::Form)
        } else {
            None
        }
    }

    fn edit_json(
        &self,
        asked: &Asked<'_>,
        body: &Bytes,
        scan: Option<&Scan>,
        upstream: &mut UpstreamRequest,
    ) -> Result<(), LlmError> {
        if self.paths.is_original && !self.preset.is_opaque {
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
        let Some(changed) = self.prepare(asked.api, body)? else {
            return self.edit_scanned(asked, body, scan, upstream);
        };
        upstream.body = BodyEdit::Parts(vec![changed.clone()]);
        self.edit_scanned(asked, &changed, &Scan::of(&changed)?, upstream)
    }

    /// The body with what is wanted in depth: the user's settings as it came,
    /// then what the vendor asks for. `None` where that is nothing.
    fn prepare(&self, api: Api, body: &Bytes) -> Result<Option<Bytes>, LlmError> {
        let rule = self.preset.body_rule;
        if self.settings.is_empty() && rule.is_none() {
            return Ok(None);
        }
        let text = std::str::from_utf8(body)
            .map_err(|_| LlmError::InvalidRequest("the body is not valid UTF-8".into()))?;
        let with_settings = self.settings.apply(text)?;
        let edited = match rule {
            Some(rule) => rule(api, with_settings.as_deref().unwrap_or(text))?,
            None => None,
        };
        Ok(edited.or(with_settings).map(Bytes::from))
    }

    fn edit_scanned(
        &self,
        asked: &Asked<'_>,
        body: &Bytes,
        scan: &Scan,
        upstream: &mut UpstreamRequest,
    ) -> Result<(), LlmError> {
        let api = asked.api;
        if self.preset.is_opaque {
            upstream.model.clone_from(&scan.model);
            return Ok(());
        }
        let mut splice = Splice::new(body);
        let mut members = Vec::new();
        let mapped = self.edit_model(scan, &mut splice, &mut members)?;
        upstream.model = mapped.or_else(|| scan.model.clone());
        if api == Api::ChatCompletions {
            self.edit_format(scan, &mut splice, &mut members);
            self.edit_messages(body, scan, asked.context, &mut splice);
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

    /// The model that it is mapped to, if it is. A request without a model is
    /// mapped like one whose model is empty, so that `*` gives it one.
    fn edit_model(
        &self,
        scan: &Scan,
        splice: &mut Splice<'_>,
        members: &mut Vec<String>,
    ) -> Result<Option<String>, LlmError> {
        if scan.model_is_no_string {
            return Err(LlmError::InvalidRequest("`model` must be a string".into()));
        }
        let asked = scan.model.as_deref().unwrap_or_default();
        let Some(mapped) = self.model_map.map(asked) else { return Ok(None) };
        let value = json::encode_string(&mapped);
        match &scan.model_at {
            Some(at) => splice.replace(at.clone(), value),
            None => members.push(format!(r#""model":{value}"#)),
        }
        Ok(Some(mapped.into_owned()))
    }

    fn edit_format(&self, scan: &Scan, splice: &mut Splice<'_>, members: &mut Vec<String>) {
        if let Some(format) = &self.response_format {
            match &scan.response_format_at {
                Some(at) => splice.replace(at.clone(), format.clone()),
                None => members.push(format!(r#""response_format":{format}"#)),
            }
        }
    }

    fn edit_messages(
        &self,
        body: &Bytes,
        scan: &Scan,
        context: Option<&str>,
        splice: &mut Splice<'_>,
    ) {
        let wishes = Wishes {
            renames_developer: self.preset.renames_developer,
            cleanup_commands: &self.cleanup_commands,
            merges: self.merges_messages,
            context,
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
            | Api::AnthropicCountTokens
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
    // As nearly everybody spells it.
    value.starts_with(word)
        || value
            .as_bytes()
            .windows(word.len())
            .any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}

#[cfg(test)]
mod tests;
