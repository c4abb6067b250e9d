//! An LLM provider (console: `/v1/ai/providers`).

use std::fmt;

use penstock_llm::error::ConfigErrorKind;
use penstock_llm::provider::{self, PROVIDERS};

use super::endpoint::{self, Endpoint, TypeRow};
use super::secret::{self, SecretText, SecretValue, Use};
use super::{Place, name};
use crate::diagnostic::{
    Diagnostic, INVALID_VALUE, MISSING_FIELD, PROVIDER_INVALID, PROVIDER_TYPE_NOT_SUPPORTED,
    PROVIDER_TYPE_UNKNOWN, Severity, nearest,
};
use crate::node::{Cursor, Map, Value};
use crate::schema::{Fields, Object, Shape, optional, required};

const COUNT: Shape = Shape::Int(0, i64::MAX);

/// The fields of a provider.
pub const OBJECT: Object = Object {
    name: "Provider",
    doc: "An LLM service that requests go to.",
    fields: &[
        required("name", Shape::Text, "The name; AI routes refer to it."),
        required("type", Shape::Text, "The type, such as `openai`; as in Higress' ai-proxy."),
        optional(
            "protocol",
            Shape::OneOf(&["openai/v1", "original"]),
            "What clients speak: `openai/v1` (default), or the provider's own protocol.",
        ),
        optional(
            "tokens",
            Shape::List(&Shape::Secret),
            "The keys that the service wants; `${env:NAME}` and `${file:PATH}` are looked up when applying.",
        ),
        optional("tokenFailoverConfig", Shape::Object(&FAILOVER), "When a token is left aside."),
        optional("proxyName", Shape::Text, "The proxy server that leads to it."),
        optional(
            "rawConfigs",
            Shape::AnyMap,
            "Settings of ai-proxy, such as `openaiCustomUrl`, as they are.",
        ),
        optional("version", Shape::Text, "Ignored; the console's answers have it."),
    ],
};

/// The fields of `tokenFailoverConfig`.
pub const FAILOVER: Object = Object {
    name: "TokenFailoverConfig",
    doc: "When a token is left aside, and how it comes back.",
    fields: &[
        optional("enabled", Shape::Bool, "Whether a failing token is left aside."),
        optional("failureThreshold", COUNT, "Failures in a row before that."),
        optional("successThreshold", COUNT, "Good answers before it comes back."),
        optional("healthCheckInterval", COUNT, "Milliseconds between checks."),
        optional("healthCheckTimeout", COUNT, "Milliseconds that a check may take."),
        optional("healthCheckModel", Shape::Text, "The model that checks ask for."),
    ],
};

const NAME: name::NameRule = name::NameRule {
    is_valid: |name| {
        name::is_word(name, |byte| byte.is_ascii_alphanumeric(), |byte| matches!(byte, b'.' | b'-'))
            && name::has_whole_labels(name)
    },
    allowed: "1 to 63 letters, digits, `-` and `.`, with a letter or digit at both ends",
};

/// An LLM provider. `Debug` shows no values of `raw_configs`.
#[derive(Clone, PartialEq)]
pub struct LlmProvider {
    /// The name.
    pub name: Box<str>,
    /// The type.
    pub kind: Box<str>,
    /// Whether clients speak the provider's own protocol.
    pub is_original: bool,
    /// The keys that the service wants.
    pub tokens: Vec<SecretValue>,
    /// `tokenFailoverConfig` as given, in the order of [`FAILOVER`].
    pub failover: Option<Map>,
    /// The proxy server that leads to it.
    pub proxy_name: Option<Box<str>>,
    /// `rawConfigs` after the console's normalisation.
    pub raw_configs: Map,
    /// Where `rawConfigs` stand.
    pub raw_place: Place,
    /// Where requests go.
    pub endpoint: Endpoint,
    /// Where it stands.
    pub place: Place,
}

impl fmt::Debug for LlmProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&str> = self.raw_configs.entries.iter().map(|entry| &*entry.key).collect();
        f.debug_struct("LlmProvider")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("tokens", &self.tokens)
            .field("raw_configs", &keys)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl LlmProvider {
    pub(super) fn read(fields: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Self> {
        let name = name::read(fields, &NAME, diagnostics)?;
        let kind = fields.get("type")?;
        let row = type_row(&kind, diagnostics)?;
        let mut tokens = Vec::new();
        for token in fields.get("tokens").iter().flat_map(Cursor::items) {
            tokens.extend(SecretText::read(&token, diagnostics));
        }
        // One that cannot be used has been reported.
        let has_none = fields.get("tokens").is_none_or(|list| list.items().next().is_none());
        if row.needs_tokens && has_none {
            let message = format!("provider `{name}` of type `{}` needs `tokens`", row.name);
            diagnostics.push(fields.cursor.diagnostic(&MISSING_FIELD, message));
        }
        let raw = fields.get("rawConfigs");
        if let Some(raw) = &raw {
            secret::check_inside(raw, diagnostics);
        }
        let mut raw_configs = raw.as_ref().and_then(|raw| raw.node.as_map().cloned());
        let endpoint = match endpoint::endpoint(row, raw_configs.get_or_insert_with(Map::default)) {
            Ok(endpoint) => endpoint,
            Err(wrong) => {
                let at = raw.as_ref().unwrap_or(&fields.cursor);
                let at = at.get(wrong.key).unwrap_or_else(|| at.clone());
                let message = format!("`{}` {}", wrong.key, wrong.message);
                diagnostics.push(at.diagnostic(&PROVIDER_INVALID, message));
                return None;
            }
        };
        let mut raw_configs = raw_configs.unwrap_or_default();
        normalise(row.name, &mut raw_configs);
        report_mode(row.name, &raw_configs, raw.as_ref().unwrap_or(&fields.cursor), diagnostics);
        Some(Self {
            place: Place::of(&fields.get("name")?),
            name,
            kind: row.name.into(),
            is_original: fields.text("protocol") == Some("original"),
            tokens,
            failover: read_failover(fields, diagnostics),
            proxy_name: fields.text("proxyName").map(Into::into),
            raw_place: Place::of(raw.as_ref().unwrap_or(&fields.cursor)),
            raw_configs,
            endpoint,
        })
    }

    /// The name of its registry in McpBridge `default`.
    pub fn registry_name(&self) -> String {
        format!("llm-{}.internal", self.name)
    }

    /// The host that rules of plugins name.
    pub fn service_host(&self) -> String {
        match &self.endpoint {
            Endpoint::Registry { kind, .. } => format!("{}.{kind}", self.registry_name()),
            Endpoint::Service { host, .. } => host.clone(),
        }
    }

    /// What destinations name.
    pub fn destination(&self) -> String {
        let (Endpoint::Registry { port, .. } | Endpoint::Service { port, .. }) = &self.endpoint;
        format!("{}:{port}", self.service_host())
    }

    /// Whether the console knows the type.
    pub(crate) fn is_in_console(&self) -> bool {
        endpoint::TYPES.iter().any(|row| row.name == &*self.kind && row.is_in_console)
    }

    /// The name of the Secret that holds what is looked up for it.
    pub(crate) fn secret_name(&self) -> String {
        secret::secret_name("provider", &self.name)
    }

    /// Every text of it that may be secret; in `rawConfigs` those that are
    /// looked up.
    pub(crate) fn secret_uses(&self) -> Vec<Use> {
        let one = |key, text, place| Use { key, text, prefix: "", place };
        let mut uses: Vec<Use> = self
            .tokens
            .iter()
            .enumerate()
            .map(|(index, token)| {
                one(format!("token-{index}"), token.text.clone(), token.place.clone())
            })
            .collect();
        let mut number = 0;
        secret::replace_in_map(&self.raw_configs, &self.raw_place, &mut |text, place| {
            uses.push(one(format!("raw-{number}"), text, place));
            number += 1;
            String::new()
        });
        uses
    }

    /// `rawConfigs` with references for what is looked up.
    pub(crate) fn raw_in_manifest(&self) -> Map {
        let secret = self.secret_name();
        let mut number = 0;
        secret::replace_in_map(&self.raw_configs, &self.raw_place, &mut |text, _| {
            let shown = text.in_manifest(&secret, &format!("raw-{number}"));
            number += 1;
            shown
        })
    }
}

/// The row of a type, with a finding where it is not known or not built.
fn type_row(kind: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<&'static TypeRow> {
    let name = kind.node.as_str()?;
    let Some(known) = PROVIDERS.iter().find(|row| row.name == name) else {
        let message = format!("`{name}` is not a provider type");
        let mut found = kind.diagnostic(&PROVIDER_TYPE_UNKNOWN, message);
        if let Some(nearest) = nearest(name, PROVIDERS.iter().map(|row| row.name)) {
            found = found.with_hint(format!("did you mean `{nearest}`?"));
        }
        diagnostics.push(found);
        return None;
    };
    if known.build.is_none() {
        let message = format!("penstock does not serve providers of type `{name}` yet");
        diagnostics.push(
            kind.diagnostic(&PROVIDER_TYPE_NOT_SUPPORTED, message)
                .with_severity(Severity::Warning)
                .with_hint("Higress does; in penstock its routes answer 503"),
        );
    }
    let row = endpoint::TYPES.iter().find(|row| row.name == name);
    if row.is_none() {
        let message = format!("where providers of type `{name}` are reached is not known");
        diagnostics.push(kind.diagnostic(&PROVIDER_INVALID, message).with_hint(
            "the console cannot make such a provider either; use type `openai` with `openaiCustomUrl` if it speaks that protocol",
        ));
    }
    row
}

/// Says where the settings ask for a mode of the type that is not built.
fn report_mode(kind: &str, raw: &Map, at: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let mut object = serde_json::Map::new();
    for entry in &raw.entries {
        object.insert(entry.key.to_string(), entry.node.to_json());
    }
    // A secret is not known yet, and the plugin counts its letters.
    for (key, length) in [("hunyuanAuthId", 36), ("hunyuanAuthKey", 32)] {
        if endpoint::has_text(raw, key) {
            object.insert(key.into(), "x".repeat(length).into());
        }
    }
    object.insert("type".into(), kind.into());
    object.insert("apiTokens".into(), vec!["token"].into());
    let Err(error) = provider::build(&object) else { return };
    // Of the type itself it has been said.
    if error.kind != ConfigErrorKind::TypeNotSupported || error.path == "type" {
        return;
    }
    let at = at.get(&error.path).unwrap_or_else(|| at.clone());
    let message = format!("penstock does not serve this: {}", error.message);
    diagnostics.push(
        at.diagnostic(&PROVIDER_TYPE_NOT_SUPPORTED, message)
            .with_severity(Severity::Warning)
            .with_hint("Higress does; in penstock its routes answer 503"),
    );
}

/// Higress: the plugin refuses a failover without a model to check with.
fn read_failover(fields: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Map> {
    let failover = fields.object("tokenFailoverConfig", &FAILOVER)?;
    let has_model = failover.text("healthCheckModel").is_some_and(|text| !text.is_empty());
    if failover.flag("enabled") == Some(true) && !has_model {
        let message = "a failover that is enabled needs `healthCheckModel`";
        diagnostics.push(failover.cursor.diagnostic(&INVALID_VALUE, message));
    }
    let mut map = Map::default();
    for field in FAILOVER.fields {
        if let Some(value) = failover.get(field.name) {
            map.set(field.name, crate::schema::without_positions(value.node));
        }
    }
    Some(map)
}

/// What the console adds to the settings of a type.
fn normalise(kind: &str, raw: &mut Map) {
    match kind {
        "qwen" => {
            endpoint::set_default(raw, "qwenEnableSearch", Value::Bool(false));
            endpoint::set_default(raw, "qwenEnableCompatible", Value::Bool(true));
        }
        "zhipuai" => endpoint::set_default(raw, "zhipuCodePlanMode", Value::Bool(true)),
        "claude" if !raw.entries.is_empty() => {
            let version = Value::String("2023-06-01".into());
            if !endpoint::has_text(raw, "claudeVersion") {
                raw.set("claudeVersion", crate::node::Node::synthetic(version));
            }
            for (key, value) in endpoint::claude_parts(raw) {
                raw.set(key, crate::node::Node::synthetic(Value::String(value.into())));
            }
        }
        "ollama" => {
            let port = raw.get("ollamaServerPort").and_then(|port| port.as_str()?.parse().ok());
            if let Some(port) = port {
                raw.set("ollamaServerPort", crate::node::Node::synthetic(Value::Int(port)));
            }
        }
        "vertex" => {
            let service = Value::String("vertex-auth.internal".into());
            raw.set("vertexAuthServiceName", crate::node::Node::synthetic(service));
            let region = raw.get("vertexRegion").and_then(|node| node.as_str());
            if let Some(region) = region.map(str::to_ascii_lowercase) {
                let region = Value::String(region.into());
                raw.set("vertexRegion", crate::node::Node::synthetic(region));
            }
        }
        _ => {}
    }
}
