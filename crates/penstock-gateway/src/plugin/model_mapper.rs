//! model-mapper: another name for the model, in the body
//! (Higress: plugins/wasm-go/extensions/model-mapper).

use std::collections::HashMap;
use std::sync::Arc;

use http::header::HeaderName;
use penstock_manifest::diagnostic::PLUGIN_FIELD_NOT_SUPPORTED;
use penstock_manifest::kind::wasm_plugin::WasmPlugin;
use penstock_manifest::{Cursor, Diagnostic, Node};

use crate::plugin::model_key::{ModelKey, PathSuffixes, parse_header, set_header};
use crate::plugin::summary::{fingerprint, models_of};
use crate::plugin::{Broken, Built, Destination, Flow, Plugin, refuse, repair_whole};
use crate::request::{RequestBody, RequestContext};

const FIELDS: &[&str] = &[
    "modelKey",
    "modelMapping",
    "modelToHeader",
    "enableOnPathSuffix",
    "enableResponseMapping",
    "responseModelPaths",
];
/// Fields that change the answer.
const FIELDS_NOT_YET: &[&str] = &["enableResponseMapping", "responseModelPaths"];

/// The header that says which model is asked for in the end.
const X_HIGRESS_LLM_MODEL_FINAL: HeaderName = HeaderName::from_static("x-higress-llm-model-final");

/// model-mapper with one configuration.
struct ModelMapper {
    key: ModelKey,
    header: HeaderName,
    paths: PathSuffixes,
    names: Names,
    destination: Destination,
}

/// `modelMapping`.
#[derive(Default)]
struct Names {
    exact: HashMap<Box<str>, Box<str>>,
    /// In the alphabetical order of their keys.
    prefixes: Vec<(Box<str>, Box<str>)>,
    rest: Option<Box<str>>,
}

/// Reads all configurations of a model-mapper WasmPlugin.
pub(super) fn build(plugin: &WasmPlugin<'_>, diagnostics: &mut Vec<Diagnostic>) -> Built {
    let mut build = |config: &Cursor<'_>| -> Arc<dyn Plugin> {
        match ModelMapper::parse(config, diagnostics) {
            Some(mapper) => Arc::new(mapper),
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
    repair_whole(config, last_good, |config| ModelMapper::parse(config, &mut Vec::new()).is_some())
}

impl ModelMapper {
    fn parse(config: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Self> {
        if config.node.as_map().is_none() {
            diagnostics.push(config.wrong_type("a mapping"));
            return None;
        }
        config.report_unknown_keys(FIELDS, diagnostics);
        for field in FIELDS_NOT_YET {
            if let Some(value) = config.get(field).filter(|v| v.node.as_bool() != Some(false)) {
                diagnostics.push(value.diagnostic(
                    &PLUGIN_FIELD_NOT_SUPPORTED,
                    format!("`{field}` is not acted upon yet: answers keep the model's new name"),
                ));
            }
        }
        let json = config.node.to_json();
        let destination = Destination {
            provider: None,
            models: models_of(&json),
            fingerprint: fingerprint(&json, &["modelMapping"]),
        };
        let header = parse_header(config, "modelToHeader", diagnostics)?;
        Some(Self {
            key: ModelKey::parse(config, diagnostics)?,
            header: header.unwrap_or(X_HIGRESS_LLM_MODEL_FINAL),
            paths: PathSuffixes::parse(config, false, diagnostics)?,
            names: Names::parse(config, diagnostics)?,
            destination,
        })
    }

    fn map(&self, cx: &mut RequestContext) -> Option<()> {
        let found = self.key.find(cx)?;
        let asked = found.model.as_deref().unwrap_or_default();
        let name = self.names.map(asked);
        if !name.is_empty() {
            set_header(cx, &self.header, name);
        }
        if !name.is_empty() && name != asked {
            self.key.replace(cx, &found, name);
        }
        Some(())
    }
}

impl Names {
    fn parse(config: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Self> {
        let Some(mapping) = config.get("modelMapping") else {
            return Some(Self::default());
        };
        if mapping.node.as_map().is_none() {
            diagnostics.push(mapping.wrong_type("a mapping"));
            return None;
        }
        let mut names = Self::default();
        for (entry, value) in mapping.entries() {
            let value = value.text(diagnostics)?.into();
            match entry.key.strip_suffix('*') {
                Some("") => names.rest = Some(value),
                Some(prefix) => names.prefixes.push((prefix.into(), value)),
                None => {
                    names.exact.insert(entry.key.clone(), value);
                }
            }
        }
        names.prefixes.sort_by_cached_key(|(prefix, _)| format!("{prefix}*"));
        Some(names)
    }

    /// The name for a model. A rule with an empty name leaves it as it is
    /// and keeps `*` away from it.
    fn map<'n>(&'n self, model: &'n str) -> &'n str {
        let exact = self.exact.get(model);
        let found = exact.or_else(|| {
            let mut prefixes = self.prefixes.iter();
            prefixes.find(|(prefix, _)| model.starts_with(&**prefix)).map(|(_, name)| name)
        });
        let name = found.or(self.rest.as_ref()).map_or("", |name| &**name);
        if name.is_empty() { model } else { name }
    }
}

/// A client that does not say what it sends means JSON on these paths.
fn is_json(content_type: &str) -> bool {
    content_type.is_empty() || content_type.contains("application/json")
}

impl Plugin for ModelMapper {
    fn on_request<'a>(&'a self, cx: &'a mut RequestContext) -> Flow<'a> {
        // Whoever reads the header relies on it.
        cx.headers.remove(&self.header);
        if matches!(cx.body, RequestBody::Empty)
            || !self.paths.contain(cx.uri.path())
            || !is_json(&cx.content_type())
        {
            return Flow::Continue;
        }
        Flow::Wait(Box::pin(async move {
            match cx.buffer_body().await {
                Ok(()) => {
                    self.map(cx);
                    Flow::Continue
                }
                Err(error) => refuse(cx, &error),
            }
        }))
    }

    fn destination(&self) -> Option<Destination> {
        Some(self.destination.clone())
    }

    fn kind(&self) -> &'static str {
        "maps"
    }
}

#[cfg(test)]
mod tests;
