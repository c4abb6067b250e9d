//! ai-proxy: which LLM provider a request goes to
//! (Higress: plugins/wasm-go/extensions/ai-proxy).
//!
//! The plugin only chooses the provider and reads the body where the provider
//! wants it; what is sent is built for each attempt.

use std::sync::Arc;

use penstock_llm::error::{ConfigError, ConfigErrorKind};
use penstock_llm::provider::{self, Fetch, Provider};
use penstock_manifest::diagnostic::{
    MODEL_MAPPING_INVALID, PLUGIN_FIELD_NOT_SUPPORTED, PROVIDER_DUPLICATE, PROVIDER_INVALID,
    PROVIDER_TYPE_NOT_SUPPORTED, PROVIDER_TYPE_UNKNOWN, UNKNOWN_FIELD,
};
use penstock_manifest::kind::wasm_plugin::WasmPlugin;
use penstock_manifest::template::is_unresolved;
use penstock_manifest::{Cursor, Diagnostic, Node, Value};

use crate::error::{ErrorKind, GatewayError};
use crate::plugin::summary::{fingerprint, models_of};
use crate::plugin::{Broken, Built, Destination, Flow, Plugin, refuse, repair_entries};
use crate::request::{RequestBody, RequestContext};
use crate::token::{Keyring, Turn};

const FIELDS: &[&str] = &["providers", "activeProviderId", "provider"];

/// ai-proxy with an active provider.
#[derive(Clone)]
struct AiProxy {
    provider: Arc<dyn Provider>,
    /// Its tokens, where there is a choice.
    keyring: Option<Arc<Keyring>>,
    destination: Destination,
}

/// An entry of `providers`.
struct Entry {
    id: Box<str>,
    /// `None` where it cannot be used.
    provider: Option<AiProxy>,
}

/// Reads all configurations of an ai-proxy WasmPlugin.
pub(super) fn build(plugin: &WasmPlugin<'_>, diagnostics: &mut Vec<Diagnostic>) -> Built {
    let global = match &plugin.default_config {
        Some(config) => read_providers(config, diagnostics),
        None => Ok(Vec::new()),
    };
    let default =
        plugin.default_config.as_ref().and_then(|config| active(config, &global, diagnostics));
    let rules = plugin
        .rules
        .iter()
        .map(|rule| {
            let config = rule.config.as_ref()?;
            if config.node.as_map().is_none() {
                diagnostics.push(config.wrong_type("a mapping"));
                return Some(Arc::new(Broken) as Arc<dyn Plugin>);
            }
            match config.get("providers") {
                Some(_) => active(config, &read_providers(config, diagnostics), diagnostics),
                None => {
                    config.report_unknown_keys(FIELDS, diagnostics);
                    active(config, &global, diagnostics)
                }
            }
        })
        .collect();
    Built { default, rules }
}

/// The entries of `providers`; an error where the list cannot be read.
fn read_providers(
    config: &Cursor<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<Vec<Entry>, ()> {
    config.report_unknown_keys(FIELDS, diagnostics);
    let Some(providers) = config.get("providers") else {
        return Ok(Vec::new());
    };
    if providers.node.as_list().is_none() {
        diagnostics.push(providers.wrong_type("a list"));
        return Err(());
    }
    let mut entries: Vec<Entry> = Vec::new();
    for cursor in providers.items() {
        let id = cursor.node.get("id").map(id_text).unwrap_or_default();
        if !id.is_empty() && entries.iter().any(|entry| entry.id == id) {
            diagnostics.push(cursor.diagnostic(
                &PROVIDER_DUPLICATE,
                format!("provider `{id}` is defined twice; the first one counts"),
            ));
            continue;
        }
        entries.push(Entry { id, provider: build_provider(&cursor, diagnostics) });
    }
    Ok(entries)
}

fn id_text(node: &Node) -> Box<str> {
    match &node.value {
        Value::String(text) => text.clone(),
        Value::Int(number) => number.to_string().into(),
        _ => "".into(),
    }
}

/// The plugin for the provider that a configuration activates: nothing where
/// none is named (Higress lets such requests pass untouched), 503 where it is
/// named but cannot be used.
fn active(
    config: &Cursor<'_>,
    entries: &Result<Vec<Entry>, ()>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Arc<dyn Plugin>> {
    let broken = || Some(Arc::new(Broken) as Arc<dyn Plugin>);
    if let Some(single) = config.get("provider") {
        return match build_provider(&single, diagnostics) {
            Some(provider) => Some(Arc::new(provider)),
            None => broken(),
        };
    }
    let wanted = config.get("activeProviderId")?;
    let id = id_text(wanted.node);
    if id.is_empty() {
        diagnostics.push(wanted.wrong_type("the id of a provider"));
        return broken();
    }
    let Ok(entries) = entries else {
        return broken();
    };
    match entries.iter().find(|entry| entry.id == id) {
        Some(Entry { provider: Some(provider), .. }) => Some(Arc::new(provider.clone())),
        Some(_) => broken(),
        // An entry whose id cannot be read may be the one that is meant.
        None if entries.iter().any(|entry| entry.id.is_empty()) => broken(),
        None => None,
    }
}

fn build_provider(cursor: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<AiProxy> {
    // What leads nowhere has been reported, and is no value of any type.
    if is_unresolved(cursor.node) {
        return None;
    }
    let serde_json::Value::Object(object) = cursor.node.to_json() else {
        diagnostics.push(cursor.wrong_type("a mapping"));
        return None;
    };
    match provider::build(&object) {
        Ok(built) => {
            for note in built.notes {
                let code = if note.unknown { &UNKNOWN_FIELD } else { &PLUGIN_FIELD_NOT_SUPPORTED };
                let mut diagnostic = cursor.descend(&note.path).diagnostic(code, note.message);
                diagnostic.hint = note.hint;
                diagnostics.push(diagnostic);
            }
            Some(AiProxy::new(built.provider, &serde_json::Value::Object(object)))
        }
        Err(error) => {
            diagnostics.push(diagnostic_of(cursor, error));
            None
        }
    }
}

fn diagnostic_of(cursor: &Cursor<'_>, error: ConfigError) -> Diagnostic {
    let code = match error.kind {
        ConfigErrorKind::UnknownType => &PROVIDER_TYPE_UNKNOWN,
        ConfigErrorKind::TypeNotSupported => &PROVIDER_TYPE_NOT_SUPPORTED,
        ConfigErrorKind::ModelMapping => &MODEL_MAPPING_INVALID,
        ConfigErrorKind::Invalid => &PROVIDER_INVALID,
    };
    let mut diagnostic = cursor.descend(&error.path).diagnostic(code, error.message);
    diagnostic.hint = error.hint;
    diagnostic
}

/// Keeps what was good: each provider that cannot be used any more.
pub(super) fn repair(config: &mut Node, last_good: &Node) -> Vec<String> {
    repair_entries(config, last_good, ("providers", "id"), |provider| {
        build_provider(provider, &mut Vec::new()).is_some()
    })
}

impl AiProxy {
    fn new(provider: Arc<dyn Provider>, config: &serde_json::Value) -> Self {
        let destination = Destination {
            provider: Some((provider.id().into(), provider.type_name())),
            models: models_of(config),
            fingerprint: fingerprint(config, &["id", "type", "modelMapping"]),
        };
        Self { keyring: Keyring::new(&provider), provider, destination }
    }
}

impl Plugin for AiProxy {
    fn on_request<'a>(&'a self, cx: &'a mut RequestContext) -> Flow<'a> {
        cx.provider = Some(self.provider.clone());
        cx.tokens = self.keyring.clone().map(|keyring| Box::new(Turn::new(keyring)));
        cx.record.provider = Some(self.provider.id().into());
        if matches!(cx.body, RequestBody::Empty) || !self.provider.wants_body(&cx.llm_request()) {
            return Flow::Continue;
        }
        Flow::Wait(Box::pin(async move {
            match read_body(cx).await {
                Ok(()) => Flow::Continue,
                Err(error) => refuse(cx, &error),
            }
        }))
    }

    fn destination(&self) -> Option<Destination> {
        Some(self.destination.clone())
    }

    fn keyring(&self) -> Option<&Arc<Keyring>> {
        self.keyring.as_ref()
    }

    fn files(&self) -> &[Fetch] {
        self.provider.may_need()
    }
}

async fn read_body(cx: &mut RequestContext) -> Result<(), GatewayError> {
    cx.buffer_body().await?;
    if cx.has_content_type("multipart/") {
        return Ok(());
    }
    cx.scan_body()
        .map(|_| ())
        .map_err(|error| GatewayError::new(ErrorKind::InvalidRequest).saying(error.to_string()))
}
