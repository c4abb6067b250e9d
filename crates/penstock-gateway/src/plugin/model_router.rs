//! model-router: the model of a request, put into a header, so that routes
//! can depend on it (Higress: plugins/wasm-go/extensions/model-router).
//!
//! Invariant: where it is configured, its headers say what the body says, or
//! are absent; what a client sends under their names is removed on every
//! path. Higress lets it stay on paths that the plugin does not act on.

use std::sync::Arc;

use bytes::Bytes;
use http::header::HeaderName;
use penstock_llm::chat;
use penstock_llm::multipart::Form;
use penstock_llm::scan::Splice;
use penstock_manifest::diagnostic::INVALID_VALUE;
use penstock_manifest::kind::wasm_plugin::WasmPlugin;
use penstock_manifest::{Cursor, Diagnostic, Node, Severity};
use regex::Regex;

use crate::plugin::model_key::{ModelKey, PathSuffixes, parse_header, set_header};
use crate::plugin::summary::fingerprint;
use crate::plugin::{Broken, Built, Destination, Flow, Plugin, refuse, repair_whole};
use crate::request::{RequestBody, RequestContext};

const FIELDS: &[&str] = &[
    "modelKey",
    "modelToHeader",
    "addProviderHeader",
    "keepOriginalModelName",
    "enableOnPathSuffix",
    "autoRouting",
];
const AUTO_FIELDS: &[&str] = &["enable", "rules", "defaultModel"];
const RULE_FIELDS: &[&str] = &["pattern", "model"];

/// The header that the console's AI routes look at.
const X_HIGRESS_LLM_MODEL: HeaderName = HeaderName::from_static("x-higress-llm-model");
/// The model that asks for the rules of `autoRouting`.
const AUTO: &str = "higress/auto";

/// model-router with one configuration.
struct ModelRouter {
    key: ModelKey,
    /// Receives the whole model.
    model_header: Option<HeaderName>,
    /// Receives what stands before the first `/`.
    provider_header: Option<HeaderName>,
    /// Whether the body keeps what stands before the `/`.
    keeps_model: bool,
    paths: PathSuffixes,
    auto: Option<AutoRouting>,
    destination: Destination,
}

/// `autoRouting`, enabled.
struct AutoRouting {
    rules: Vec<(Regex, Box<str>)>,
    default_model: Option<Box<str>>,
}

/// Reads all configurations of a model-router WasmPlugin.
pub(super) fn build(plugin: &WasmPlugin<'_>, diagnostics: &mut Vec<Diagnostic>) -> Built {
    let mut build = |config: &Cursor<'_>| -> Arc<dyn Plugin> {
        match ModelRouter::parse(config, diagnostics) {
            Some(router) => Arc::new(router),
            None => Arc::new(Broken),
        }
    };
    Built {
        default: plugin.global_config().map(|config| build(&config)),
        rules: plugin.rules.iter().map(|rule| Some(build(&rule.config_or_empty()))).collect(),
    }
}

/// Keeps the last good configuration where the new one cannot be used.
pub(super) fn repair(config: &mut Node, last_good: &Node) -> Vec<String> {
    repair_whole(config, last_good, |config| ModelRouter::parse(config, &mut Vec::new()).is_some())
}

impl ModelRouter {
    fn parse(config: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Self> {
        if config.node.as_map().is_none() {
            diagnostics.push(config.wrong_type("a mapping"));
            return None;
        }
        config.report_unknown_keys(FIELDS, diagnostics);
        Some(Self {
            key: ModelKey::parse(config, diagnostics)?,
            model_header: parse_header(config, "modelToHeader", diagnostics)?,
            provider_header: parse_header(config, "addProviderHeader", diagnostics)?,
            keeps_model: flag(config, "keepOriginalModelName", diagnostics)?,
            paths: PathSuffixes::parse(config, true, diagnostics)?,
            auto: match config.get("autoRouting") {
                Some(auto) => AutoRouting::parse(&auto, diagnostics)?,
                None => None,
            },
            destination: Destination {
                provider: None,
                models: Vec::new(),
                fingerprint: fingerprint(&config.node.to_json(), &[]),
            },
        })
    }

    /// Removes what only this plugin may say; whether there was any of it.
    fn strip(&self, cx: &mut RequestContext) -> bool {
        let own =
            [Some(&X_HIGRESS_LLM_MODEL), self.model_header.as_ref(), self.provider_header.as_ref()];
        let before = cx.headers.len();
        for name in own.into_iter().flatten() {
            cx.headers.remove(name);
        }
        cx.headers.len() < before
    }

    /// Whether there is a body that may name a model.
    fn wants_body(&self, cx: &RequestContext) -> bool {
        let content_type = cx.content_type();
        !matches!(cx.body, RequestBody::Empty)
            && self.paths.contain(cx.uri.path())
            && (content_type.contains("application/json")
                || content_type.contains("multipart/form-data"))
    }

    /// Sets the headers by the body that was read; whether any was set.
    fn route(&self, cx: &mut RequestContext) -> bool {
        match cx.content_type().contains("application/json") {
            true => self.route_json(cx),
            false => self.route_form(cx),
        }
        .is_some()
    }

    fn route_json(&self, cx: &mut RequestContext) -> Option<()> {
        let found = self.key.find(cx)?;
        let model = found.model.as_deref().filter(|model| !model.is_empty())?;
        if model == AUTO
            && let Some(auto) = &self.auto
        {
            let chosen = auto.choose(cx)?;
            set_header(cx, &X_HIGRESS_LLM_MODEL, chosen);
            self.key.replace(cx, &found, chosen);
            return Some(());
        }
        if let Some(rest) = self.set_headers(cx, model) {
            self.key.replace(cx, &found, rest);
        }
        Some(())
    }

    fn route_form(&self, cx: &mut RequestContext) -> Option<()> {
        let content_type = cx.headers.get(http::header::CONTENT_TYPE)?.to_str().ok()?;
        let body = cx.buffered_body()?.clone();
        let form = Form::read(content_type, &body, &self.key.name).ok()?;
        let (model, at) = form.part.as_ref().filter(|(model, _)| !model.is_empty())?;
        if cx.record.model.is_none() {
            cx.record.model = Some(model.as_str().into());
        }
        if let Some(rest) = self.set_headers(cx, model) {
            let mut splice = Splice::new(&body);
            splice.replace(at.clone(), Bytes::from(rest.to_owned()));
            cx.replace_body(&splice.into_parts());
        }
        Some(())
    }

    /// Sets the headers for a model. Returns what the body shall say instead
    /// of it, if anything.
    fn set_headers<'m>(&self, cx: &mut RequestContext, model: &'m str) -> Option<&'m str> {
        if let Some(header) = &self.model_header {
            set_header(cx, header, model);
        }
        let header = self.provider_header.as_ref()?;
        let (provider, rest) = model.split_once('/')?;
        set_header(cx, header, provider);
        (!self.keeps_model).then_some(rest)
    }
}

impl AutoRouting {
    /// Reads `autoRouting`; the inner `None` where it is off. A rule that
    /// cannot be used is left out.
    #[expect(clippy::option_option, reason = "broken, off and on are three things")]
    fn parse(config: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Option<Self>> {
        if config.node.as_map().is_none() {
            diagnostics.push(config.wrong_type("a mapping"));
            return None;
        }
        config.report_unknown_keys(AUTO_FIELDS, diagnostics);
        let is_on = flag(config, "enable", diagnostics)?;
        let default_model = match config.get("defaultModel") {
            Some(model) => Some(model.text(diagnostics)?).filter(|model| !model.is_empty()),
            None => None,
        };
        let mut rules = Vec::new();
        if let Some(list) = config.get("rules") {
            if list.node.as_list().is_none() {
                diagnostics.push(list.wrong_type("a list"));
                return None;
            }
            rules.extend(list.items().filter_map(|rule| parse_rule(&rule, diagnostics)));
        }
        Some(is_on.then(|| Self { rules, default_model: default_model.map(Into::into) }))
    }

    /// The model for the last user message.
    fn choose(&self, cx: &mut RequestContext) -> Option<&str> {
        let at = cx.scan_body().ok()??.messages_at.clone();
        let body = cx.buffered_body()?;
        let messages = at.and_then(|at| std::str::from_utf8(body.get(at)?).ok());
        let text = messages.and_then(chat::last_user_text);
        let matches = |(pattern, _): &&(Regex, Box<str>)| {
            text.as_deref().is_some_and(|text| pattern.is_match(text))
        };
        let rule = self.rules.iter().find(matches).map(|(_, model)| &**model);
        rule.or(self.default_model.as_deref())
    }
}

fn parse_rule(rule: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<(Regex, Box<str>)> {
    let text = |key: &str| rule.node.get(key).and_then(Node::as_str).filter(|t| !t.is_empty());
    rule.report_unknown_keys(RULE_FIELDS, diagnostics);
    let skipped = |message: String| {
        rule.diagnostic(&INVALID_VALUE, format!("{message}: the rule is left out"))
            .with_severity(Severity::Warning)
    };
    let (Some(pattern), Some(model)) = (text("pattern"), text("model")) else {
        diagnostics.push(skipped(format!("`{}` needs a `pattern` and a `model`", rule.path)));
        return None;
    };
    match Regex::new(pattern) {
        Ok(pattern) => Some((pattern, model.into())),
        Err(_) => {
            let path = &rule.path;
            diagnostics.push(skipped(format!("`{path}.pattern` is no regular expression")));
            None
        }
    }
}

/// A boolean that is false where absent; `None` with a finding where it is
/// none.
fn flag(config: &Cursor<'_>, field: &str, diagnostics: &mut Vec<Diagnostic>) -> Option<bool> {
    match config.get(field) {
        Some(value) => value.bool(diagnostics),
        None => Some(false),
    }
}

impl Plugin for ModelRouter {
    fn on_request<'a>(&'a self, cx: &'a mut RequestContext) -> Flow<'a> {
        let was_stripped = self.strip(cx);
        let again = |is_needed: bool| if is_needed { Flow::Reroute } else { Flow::Continue };
        if !self.wants_body(cx) {
            return again(was_stripped);
        }
        Flow::Wait(Box::pin(async move {
            match cx.buffer_body().await {
                Ok(()) => again(self.route(cx) || was_stripped),
                Err(error) => refuse(cx, &error),
            }
        }))
    }

    fn destination(&self) -> Option<Destination> {
        Some(self.destination.clone())
    }

    fn kind(&self) -> &'static str {
        "routes"
    }
}

#[cfg(test)]
mod tests;
