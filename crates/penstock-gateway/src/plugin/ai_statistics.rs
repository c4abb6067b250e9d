//! ai-statistics: tokens, durations and chosen values of LLM requests, for
//! the access log and for metrics (Higress:
//! plugins/wasm-go/extensions/ai-statistics).
//!
//! It reads a request's body where something of it is wanted, and an answer
//! in passing.
//!
//! Invariant: no request is refused and no byte of an answer is delayed.
//! Invariant: text of a body goes into the log only where an attribute asks
//! for it.

mod collect;
mod config;

use std::sync::Arc;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName};
use http::{StatusCode, Uri};
use penstock_llm::chat;
use penstock_llm::json_path::JsonPath;
use penstock_llm::usage::Reading;
use penstock_manifest::kind::wasm_plugin::WasmPlugin;
use penstock_manifest::{Cursor, Diagnostic, Node};
use serde_json::Value;

use crate::access_log::AccessRecord;
use crate::body::Observer;
use crate::metrics::Statistics;
use crate::plugin::{Broken, Built, Flow, Plugin, refuse, repair_whole};
use crate::request::{RequestBody, RequestContext, X_MSE_CONSUMER};
use collect::{Collector, ToolCalls, is_blank, shorten};
use config::{Attribute, Builtin, Config, Rule, Source};

/// Where session ids are looked for after the configured header.
const SESSION_HEADERS: [HeaderName; 4] = [
    HeaderName::from_static("x-openclaw-session-key"),
    HeaderName::from_static("x-clawdbot-session-key"),
    HeaderName::from_static("x-moltbot-session-key"),
    HeaderName::from_static("x-agent-session"),
];
/// The consumer of requests without one, and what is not known.
const NO_CONSUMER: &str = "none";
const NOT_KNOWN: &str = "-";

/// ai-statistics with one configuration.
struct AiStatistics {
    config: Arc<Config>,
}

/// Reads all configurations of an ai-statistics WasmPlugin.
pub(super) fn build(plugin: &WasmPlugin<'_>, diagnostics: &mut Vec<Diagnostic>) -> Built {
    let mut build = |config: &Cursor<'_>| -> Option<Arc<dyn Plugin>> {
        match Config::parse(config, diagnostics) {
            Some(config) => Some(Arc::new(AiStatistics { config: Arc::new(config) })),
            None if plugin.fail_open => None,
            None => Some(Arc::new(Broken)),
        }
    };
    Built {
        default: plugin.global_config().and_then(|config| build(&config)),
        rules: plugin.rules.iter().map(|rule| build(&rule.config_or_empty())).collect(),
    }
}

/// Keeps the last good configuration where the new one cannot be used.
pub(super) fn repair(config: &mut Node, last_good: &Node) -> Vec<String> {
    repair_whole(config, last_good, |config| Config::parse(config, &mut Vec::new()).is_some())
}

impl AiStatistics {
    /// Whether the body has to be read: for an attribute, or for the model
    /// and the rounds of an LLM request.
    fn wants_body(&self, cx: &RequestContext) -> bool {
        let content_type = cx.content_type();
        !matches!(cx.body, RequestBody::Empty)
            && (cx.api.is_some() || self.config.wants_request_body())
            && (content_type.is_empty() || content_type.contains("json"))
            && !cx.headers.contains_key(CONTENT_ENCODING)
            && cx.body_fits()
    }
}

impl Plugin for AiStatistics {
    fn on_request<'a>(&'a self, cx: &'a mut RequestContext) -> Flow<'a> {
        if !self.config.has_path(cx.uri.path()) {
            return Flow::Continue;
        }
        let mut watch = Box::new(Watch::begin(self.config.clone(), cx));
        if !self.wants_body(cx) {
            cx.record.observe(watch);
            return Flow::Continue;
        }
        Flow::Wait(Box::pin(async move {
            if let Err(error) = cx.buffer_body().await {
                return refuse(cx, &error);
            }
            watch.read_request(cx);
            cx.record.observe(watch);
            Flow::Continue
        }))
    }

    fn kind(&self) -> &'static str {
        "observes"
    }
}

/// One request and its answer.
struct Watch {
    config: Arc<Config>,
    session_id: Option<String>,
    /// From the header that authentication sets.
    consumer: Option<String>,
    request_model: Option<String>,
    chat_round: Option<usize>,
    is_stream: bool,
    /// Whether the answer is of a content type that is looked at.
    is_watched: bool,
    /// One for each attribute.
    slots: Vec<Slot>,
    has_failed: bool,
}

/// What is known of one attribute.
#[derive(Default)]
struct Slot {
    value: Option<Value>,
    /// Over a stream, with the path of each, in the order of preference.
    collectors: Vec<(JsonPath, Collector)>,
    tool_calls: Option<ToolCalls>,
}

impl Watch {
    /// Reads the head of a request.
    fn begin(config: Arc<Config>, cx: &RequestContext) -> Self {
        let header = |name: &HeaderName| text_of_header(&cx.headers, name);
        let session = config.session_header.iter().chain(&SESSION_HEADERS).find_map(header);
        let slots = config
            .attributes
            .iter()
            .map(|attribute| {
                let value = match &attribute.source {
                    Some(Source::Fixed(text)) => Some(text.to_string()),
                    Some(Source::RequestHeader(name)) => header(name),
                    _ => None,
                };
                let value = value.map(|text| shorten(text.into(), config.value_bytes_max));
                Slot { value, ..Slot::default() }
            })
            .collect();
        Self {
            session_id: session,
            consumer: header(&X_MSE_CONSUMER),
            request_model: model_of_path(&cx.uri),
            chat_round: None,
            is_stream: false,
            is_watched: false,
            slots,
            has_failed: false,
            config,
        }
    }

    /// Reads the body of a request.
    fn read_request(&mut self, cx: &mut RequestContext) {
        let scan = cx.scan_body().ok().flatten();
        let messages_at = scan.and_then(|scan| scan.messages_at.clone());
        let model = scan.and_then(|scan| scan.model.clone());
        let Some(body) = cx.buffered_body().and_then(|body| std::str::from_utf8(body).ok()) else {
            return;
        };
        self.request_model = model.or(self.request_model.take());
        let messages = messages_at.and_then(|at| body.get(at)).filter(|raw| raw.starts_with('['));
        self.chat_round =
            Some(messages.map_or_else(|| chat::user_messages(body), chat::user_messages_in));
        let config = self.config.clone();
        for (attribute, slot) in config.attributes.iter().zip(&mut self.slots) {
            let path = match &attribute.source {
                Some(Source::RequestBody(path)) => path.as_ref(),
                None => None,
                Some(_) => continue,
            };
            let builtin = attribute.builtin.map_or(&[][..], |builtin| request_paths(builtin));
            slot.value = first_value(path, builtin, body)
                .map(|value| shorten(value, config.value_bytes_max));
        }
    }
}

/// The paths of a built-in key in a request's body.
fn request_paths(builtin: Builtin) -> &'static [&'static str] {
    match builtin {
        Builtin::Question => &["messages.@reverse.0.content"],
        Builtin::System => &["system"],
        _ => &[],
    }
}

/// Its paths in the body of an answer.
fn response_paths(builtin: Builtin) -> &'static [&'static str] {
    match builtin {
        Builtin::Answer => &["choices.0.message.content", "content.0.text"],
        Builtin::Reasoning => &["choices.0.message.reasoning_content"],
        Builtin::ToolCalls => &["choices.0.message.tool_calls"],
        _ => &[],
    }
}

/// Its paths in the events of a stream.
fn stream_paths(builtin: Builtin) -> &'static [&'static str] {
    match builtin {
        Builtin::Answer => &["choices.0.delta.content", "delta.text"],
        Builtin::Reasoning => &["choices.0.delta.reasoning_content"],
        _ => &[],
    }
}

/// The first value that says something.
fn first_value(path: Option<&JsonPath>, builtin: &[&str], text: &str) -> Option<Value> {
    let own = path.and_then(|path| path.value(text)).filter(|value| !is_blank(value));
    own.or_else(|| {
        let mut paths = builtin.iter().filter_map(|path| JsonPath::parse(path).ok());
        paths.find_map(|path| path.value(text).filter(|value| !is_blank(value)))
    })
}

fn text_of_header(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let text = String::from_utf8_lossy(headers.get(name)?.as_bytes()).into_owned();
    Some(text).filter(|text| !text.is_empty())
}

/// The model that a path of Gemini's names: `…/models/MODEL:…Content`.
fn model_of_path(uri: &Uri) -> Option<String> {
    let (_, rest) = uri.path().rsplit_once("/models/")?;
    let (model, action) = rest.split_once(':')?;
    (action.ends_with("Content") && !model.is_empty()).then(|| model.to_owned())
}

impl Observer for Watch {
    fn head(&mut self, _: StatusCode, headers: &HeaderMap, is_stream: bool) -> bool {
        let content_type = text_of_header(headers, &CONTENT_TYPE).unwrap_or_default();
        self.is_stream = is_stream;
        self.is_watched = self.config.has_content_type(&content_type);
        if !self.is_watched {
            return false;
        }
        let config = self.config.clone();
        let bytes_max = config.value_bytes_max;
        for (attribute, slot) in config.attributes.iter().zip(&mut self.slots) {
            match &attribute.source {
                Some(Source::ResponseHeader(name)) => {
                    let text = text_of_header(headers, name);
                    slot.value = text.map(|text| shorten(text.into(), bytes_max));
                }
                Some(Source::ResponseStream(path)) if is_stream => {
                    slot.collect(attribute, path.as_ref(), bytes_max);
                }
                None if is_stream => slot.collect(attribute, None, bytes_max),
                _ => {}
            }
        }
        true
    }

    fn see(&mut self, text: &str) {
        let config = self.config.clone();
        for (attribute, slot) in config.attributes.iter().zip(&mut self.slots) {
            if self.is_stream {
                slot.see_event(text, config.value_bytes_max);
                continue;
            }
            let path = match &attribute.source {
                Some(Source::ResponseBody(path)) => path.as_ref(),
                None => None,
                Some(_) => continue,
            };
            let builtin = attribute.builtin.map_or(&[][..], |builtin| response_paths(builtin));
            if let Some(value) = first_value(path, builtin, text) {
                slot.value = Some(shorten(value, config.value_bytes_max));
            }
        }
    }

    fn finish(mut self: Box<Self>, record: &mut AccessRecord, reading: &Reading) {
        self.has_failed = self.is_watched
            && (reading.has_error
                || record.response_bytes == 0
                    && record.status.is_some_and(|status| status.as_u16() >= 400));
        self.count(record, reading);
        self.log(record, reading);
    }
}

impl Slot {
    /// Prepares for a stream.
    fn collect(&mut self, attribute: &Attribute, path: Option<&JsonPath>, bytes_max: usize) {
        if attribute.builtin == Some(Builtin::ToolCalls) {
            self.tool_calls = Some(ToolCalls::new(bytes_max));
        }
        // Higress: without a rule a stream yields nothing, but for the
        // reasoning, which is always appended.
        let rule = match attribute.builtin {
            Some(Builtin::Reasoning) => Some(attribute.rule.unwrap_or(Rule::Append)),
            _ => attribute.rule,
        };
        let Some(rule) = rule else {
            return;
        };
        let builtin = attribute.builtin.map_or(&[][..], |builtin| stream_paths(builtin));
        let builtin = builtin.iter().filter_map(|path| JsonPath::parse(path).ok());
        self.collectors = path
            .cloned()
            .into_iter()
            .chain(builtin)
            .map(|path| (path, Collector::new(rule, bytes_max)))
            .collect();
    }

    fn see_event(&mut self, event: &str, bytes_max: usize) {
        for (path, collector) in &mut self.collectors {
            collector.see(path, event, bytes_max);
        }
        if let Some(tool_calls) = &mut self.tool_calls {
            tool_calls.see(event);
        }
    }

    /// The value in the end.
    fn finish(self, attribute: &Attribute, reading: &Reading) -> Option<Value> {
        let collected = self.collectors.into_iter().find_map(|(_, collector)| collector.finish());
        let details = |details: &std::collections::BTreeMap<String, u64>| {
            let text = serde_json::to_string(details).ok()?;
            (!details.is_empty()).then_some(Value::String(text))
        };
        let read = || match attribute.builtin? {
            Builtin::ReasoningTokens => {
                reading.output_details.get("reasoning_tokens").map(|count| (*count).into())
            }
            Builtin::CachedTokens => {
                reading.input_details.get("cached_tokens").map(|count| (*count).into())
            }
            Builtin::InputTokenDetails => details(&reading.input_details),
            Builtin::OutputTokenDetails => details(&reading.output_details),
            _ => None,
        };
        let value = self.value.or(collected).or(self.tool_calls.and_then(ToolCalls::finish));
        let value = value.filter(|value| !is_blank(value)).or_else(read);
        value.or_else(|| attribute.default_value.as_deref().map(Value::from))
    }
}

impl Watch {
    /// The route's name, and its API where it has at least three parts.
    fn route_and_api(record: &AccessRecord) -> (String, String) {
        let route = record.route.as_deref().unwrap_or(NOT_KNOWN);
        let parts: Vec<&str> = route.splitn(4, '@').collect();
        match parts.get(..3) {
            Some(api) => (api.join("@"), api.join("@")),
            None => (route.to_owned(), NOT_KNOWN.to_owned()),
        }
    }

    /// Fills in what the counters add.
    fn count(&self, record: &mut AccessRecord, reading: &Reading) {
        if !self.is_watched {
            return;
        }
        let is_counted = !self.config.ignores_usage && reading.known_usage().is_some();
        if !is_counted && !self.has_failed {
            return;
        }
        let unknown = if is_counted { "unknown" } else { NOT_KNOWN };
        let model = reading.model.as_deref().or(self.request_model.as_deref()).unwrap_or(unknown);
        let consumer = record.consumer.as_deref().or(self.consumer.as_deref());
        let mut statistics = Statistics {
            route: Self::route_and_api(record).0.into(),
            cluster: match (&record.service, record.service_port) {
                (Some(host), Some(port)) => format!("outbound|{port}||{host}").into(),
                _ => NOT_KNOWN.into(),
            },
            model: model.into(),
            consumer: consumer.unwrap_or(NO_CONSUMER).into(),
            has_failed: self.has_failed,
            ..Statistics::default()
        };
        if is_counted {
            statistics.input_tokens = reading.usage.prompt_tokens.unwrap_or(0);
            statistics.output_tokens = reading.usage.completion_tokens.unwrap_or(0);
            statistics.total_tokens = reading.total().unwrap_or(0);
            statistics.is_counted = true;
            statistics.service_ms = millis(record.duration);
            statistics.is_stream = self.is_stream;
            if self.is_stream {
                statistics.first_token_ms = record.first_byte.map_or(0, millis);
            }
        }
        record.statistics = Some(statistics);
    }

    /// Fills in what the access log says.
    fn log(self, record: &mut AccessRecord, reading: &Reading) {
        let api = Self::route_and_api(record).1;
        let log = &mut record.ai_log;
        log.insert("api".into(), api.into());
        if let Some(session) = &self.session_id {
            log.insert("session_id".into(), session.as_str().into());
        }
        if let Some(rounds) = self.chat_round {
            log.insert("chat_round".into(), rounds.into());
        }
        if self.is_watched {
            self.log_answer(record, reading);
        }
        self.log_attributes(record, reading);
    }

    fn log_answer(&self, record: &mut AccessRecord, reading: &Reading) {
        let log = &mut record.ai_log;
        let mut set = |key: &str, value: Value| log.insert(key.to_owned(), value);
        set("response_type", if self.is_stream { "stream" } else { "normal" }.into());
        if let Some(id) = &reading.id {
            set("chat_id", shorten(id.as_str().into(), self.config.value_bytes_max));
        }
        if !self.config.ignores_usage && reading.known_usage().is_some() {
            let model = reading.model.as_deref().or(self.request_model.as_deref());
            let model = model.unwrap_or("unknown").into();
            set("model", shorten(model, self.config.value_bytes_max));
            set("input_token", reading.usage.prompt_tokens.unwrap_or(0).into());
            set("output_token", reading.usage.completion_tokens.unwrap_or(0).into());
            set("total_token", reading.total().unwrap_or(0).into());
            for (key, details) in [
                ("input_token_details", &reading.input_details),
                ("output_token_details", &reading.output_details),
            ] {
                if !details.is_empty() {
                    set(key, serde_json::json!(details));
                }
            }
        }
        if let Some(first_byte) = record.first_byte.filter(|_| self.is_stream) {
            set("llm_first_token_duration", millis(first_byte).into());
        }
        set("llm_service_duration", millis(record.duration).into());
    }

    fn log_attributes(self, record: &mut AccessRecord, reading: &Reading) {
        let nothing = Reading::default();
        let reading = if self.config.ignores_usage { &nothing } else { reading };
        for (attribute, slot) in self.config.attributes.iter().zip(self.slots) {
            let applies = match &attribute.source {
                Some(Source::ResponseStream(_)) => self.is_watched && self.is_stream,
                Some(Source::ResponseBody(_)) => self.is_watched && !self.is_stream,
                Some(Source::ResponseHeader(_)) => self.is_watched,
                _ => true,
            };
            let Some(value) = slot.finish(attribute, reading).filter(|_| applies) else {
                continue;
            };
            if !attribute.is_separate {
                record.ai_log.insert(attribute.key.to_string(), value);
                continue;
            }
            let text = match value {
                Value::String(text) => text,
                value => value.to_string(),
            };
            record.plugin_fields.push((attribute.key.clone(), text));
        }
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
