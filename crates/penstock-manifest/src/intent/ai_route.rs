//! An AI route (console: `/v1/ai/routes`).

use super::route_setting::{
    AUTH, AuthConfig, CORS, Cors, HEADER_CONTROL, HeaderControl, KEYED, MODEL, PATH, Predicate,
    RETRY, Retry,
};
use super::secret::{self, Use};
use super::{Place, domain, name};
use crate::diagnostic::{
    Diagnostic, INTENT_DUPLICATE, INTENT_NAME, INTENT_WEIGHTS, INVALID_VALUE, MISSING_FIELD,
};
use crate::kind::config_map::{AI_ROUTE_PREFIX, INTERNAL_SUFFIX};
use crate::node::Cursor;
use crate::schema::{Fields, Object, Shape, optional, required};

/// The header that model-router fills with the model.
pub const MODEL_HEADER: &str = "x-higress-llm-model";

const KEYED_LIST: Shape = Shape::List(&Shape::Object(&KEYED));
const UPSTREAM_LIST: Shape = Shape::List(&Shape::Object(&UPSTREAM));

/// The fields of an AI route.
pub const OBJECT: Object = Object {
    name: "AiRoute",
    doc: "Which requests go to which providers.",
    fields: &[
        required("name", Shape::Text, "The name."),
        optional("domains", Shape::List(&Shape::Text), "The domains; none takes every host."),
        optional("pathPredicate", Shape::Object(&PATH), "The paths. Default: all."),
        optional("headerPredicates", KEYED_LIST, "What headers must be."),
        optional("urlParamPredicates", KEYED_LIST, "What query parameters must be."),
        required("upstreams", UPSTREAM_LIST, "The providers and their shares."),
        optional("modelPredicates", Shape::List(&Shape::Object(&MODEL)), "Any of these models."),
        optional("authConfig", Shape::Object(&AUTH), "Who may use it."),
        optional(
            "fallbackConfig",
            Shape::Object(&FALLBACK),
            "Who answers when the upstreams fail.",
        ),
        optional("cors", Shape::Object(&CORS), "What browsers may do."),
        optional("headerControl", Shape::Object(&HEADER_CONTROL), "Headers that are changed."),
        optional("proxyNextUpstream", Shape::Object(&RETRY), "When a request is tried again."),
        optional("customConfigs", Shape::TextMap, "Annotations of its Ingress."),
        optional("customLabels", Shape::TextMap, "Labels of its Ingress."),
        optional("version", Shape::Text, "Ignored; the console's answers have it."),
    ],
};

/// The fields of an upstream.
pub const UPSTREAM: Object = Object {
    name: "AiUpstream",
    doc: "A provider and its share.",
    fields: &[
        required("provider", Shape::Text, "The name of a provider."),
        optional(
            "weight",
            Shape::Int(0, 100),
            "Its share; all of them sum to 100. One upstream needs none.",
        ),
        optional(
            "modelMapping",
            Shape::TextMap,
            "Which model it is asked for instead: exact names, prefixes that end in `*`, or `*`.",
        ),
    ],
};

/// The fields of `fallbackConfig`.
pub const FALLBACK: Object = Object {
    name: "AiRouteFallbackConfig",
    doc: "Who answers when the upstreams fail.",
    fields: &[
        required("enabled", Shape::Bool, "Whether anybody does."),
        optional("upstreams", UPSTREAM_LIST, "Who."),
        optional(
            "fallbackStrategy",
            Shape::OneOf(&["RAND", "SEQ"]),
            "`RAND` (default) takes any of them, `SEQ` the first.",
        ),
        optional(
            "responseCodes",
            Shape::List(&Shape::OneOf(&["4xx", "5xx"])),
            "Which answers count as failures.",
        ),
    ],
};

const NAME: name::NameRule = name::NameRule {
    is_valid: |name| {
        name::is_word(
            name,
            |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit(),
            |byte| matches!(byte, b'.' | b'-'),
        ) && name::has_whole_labels(name)
    },
    allowed: "1 to 63 lower-case letters, digits, `-` and `.`, with a letter or digit at both ends",
};

/// A provider and its share.
#[derive(Clone, Debug, PartialEq)]
pub struct AiUpstream {
    /// The name of a provider.
    pub provider: Box<str>,
    /// Its share.
    pub weight: Option<i64>,
    /// Which model it is asked for instead, in the order given.
    pub model_mapping: Option<Vec<(Box<str>, Box<str>)>>,
    /// Where it is named.
    pub place: Place,
}

/// How a fallback chooses among its upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Any of them.
    Random,
    /// The first.
    Sequence,
}

/// Who answers when the upstreams fail.
#[derive(Clone, Debug, PartialEq)]
pub struct Fallback {
    /// Whether anybody does.
    pub is_enabled: bool,
    /// Who.
    pub upstreams: Option<Vec<AiUpstream>>,
    /// How one is chosen.
    pub strategy: Option<Strategy>,
    /// Which answers count as failures, each once.
    pub response_codes: Option<Vec<Box<str>>>,
}

/// Which requests go to which providers.
#[derive(Clone, Debug, PartialEq)]
pub struct AiRoute {
    /// The name.
    pub name: Box<str>,
    /// The domains.
    pub domains: Option<Vec<Box<str>>>,
    /// The paths.
    pub path: Predicate,
    /// What headers must be.
    pub headers: Option<Vec<Predicate>>,
    /// What query parameters must be.
    pub url_params: Option<Vec<Predicate>>,
    /// The providers and their shares.
    pub upstreams: Vec<AiUpstream>,
    /// Any of these models.
    pub models: Option<Vec<Predicate>>,
    /// Who may use it.
    pub auth: Option<AuthConfig>,
    /// Who answers when the upstreams fail.
    pub fallback: Option<Fallback>,
    /// What browsers may do.
    pub cors: Option<Cors>,
    /// Headers that are changed.
    pub header_control: Option<HeaderControl>,
    /// When a request is tried again.
    pub retry: Retry,
    /// Annotations of its Ingress.
    pub custom_configs: Option<Vec<(Box<str>, Box<str>)>>,
    /// Labels of its Ingress.
    pub custom_labels: Option<Vec<(Box<str>, Box<str>)>>,
    /// Where it stands.
    pub place: Place,
}

impl AiRoute {
    pub(super) fn read(fields: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Self> {
        let name = name::read(fields, &NAME, diagnostics)?;
        let keyed = |key, diagnostics: &mut Vec<Diagnostic>| {
            let list = fields.objects(key, &KEYED)?;
            Some(list.iter().filter_map(|p| Predicate::read(p, true, diagnostics)).collect())
        };
        let headers: Option<Vec<Predicate>> = keyed("headerPredicates", diagnostics);
        check_headers(fields, headers.as_deref(), diagnostics);
        let models = fields.objects("modelPredicates", &MODEL).map(|list| {
            list.iter().filter_map(|p| Predicate::read(p, false, diagnostics)).collect()
        });
        check_custom_configs(fields, diagnostics);
        check_domains(fields, diagnostics);
        Some(Self {
            place: Place::of(&fields.get("name")?),
            name,
            domains: fields.texts("domains"),
            path: read_path(fields, diagnostics)?,
            headers,
            url_params: keyed("urlParamPredicates", diagnostics),
            upstreams: read_upstreams(fields, diagnostics),
            models,
            auth: fields.object("authConfig", &AUTH).map(|auth| AuthConfig::read(&auth)),
            fallback: fields
                .object("fallbackConfig", &FALLBACK)
                .map(|fallback| read_fallback(&fallback, diagnostics)),
            cors: fields.object("cors", &CORS).map(|cors| Cors::read(&cors)),
            header_control: fields
                .object("headerControl", &HEADER_CONTROL)
                .map(|control| HeaderControl::read(&control, diagnostics)),
            retry: fields
                .object("proxyNextUpstream", &RETRY)
                .map_or_else(Retry::default, |retry| Retry::read(&retry)),
            custom_configs: fields.text_map("customConfigs"),
            custom_labels: fields.text_map("customLabels"),
        })
    }

    /// The name of the Secret that holds what is looked up for it.
    pub(crate) fn secret_name(&self) -> String {
        secret::secret_name("route", &self.name)
    }

    /// The header values that are looked up.
    pub(crate) fn secret_uses(&self) -> Vec<Use> {
        let mut uses = Vec::new();
        if let Some(control) = &self.header_control {
            control.replace_secrets(&mut |text, place| {
                let key = format!("header-{}", uses.len());
                uses.push(Use { key, text, prefix: "", place });
                String::new()
            });
        }
        uses
    }

    /// `headerControl` with references for what is looked up.
    pub(crate) fn header_control_in_manifest(&self) -> Option<HeaderControl> {
        let secret = self.secret_name();
        let mut number = 0;
        let control = self.header_control.as_ref()?;
        Some(control.replace_secrets(&mut |text, _| {
            let shown = text.in_manifest(&secret, &format!("header-{number}"));
            number += 1;
            shown
        }))
    }

    /// The name of its ConfigMap.
    pub fn config_map_name(&self) -> String {
        format!("{AI_ROUTE_PREFIX}{}", self.name)
    }

    /// The name of its Ingress.
    pub fn ingress_name(&self) -> String {
        format!("{AI_ROUTE_PREFIX}{}{INTERNAL_SUFFIX}", self.name)
    }

    /// The name of its fallback's Ingress.
    pub fn fallback_ingress_name(&self) -> String {
        format!("{AI_ROUTE_PREFIX}{}.fallback{INTERNAL_SUFFIX}", self.name)
    }

    /// The fallback where it is in force.
    pub fn active_fallback(&self) -> Option<&Fallback> {
        self.fallback.as_ref().filter(|fallback| {
            fallback.is_enabled && fallback.upstreams.as_ref().is_some_and(|list| !list.is_empty())
        })
    }

    /// Whether only its consumers may use it.
    pub fn is_protected(&self) -> bool {
        self.auth.as_ref().is_some_and(|auth| auth.is_enabled)
    }
}

impl Fallback {
    /// The upstreams that are used at all.
    pub fn used(&self) -> &[AiUpstream] {
        let all = self.upstreams.as_deref().unwrap_or_default();
        match self.strategy {
            Some(Strategy::Sequence) => all.get(..1).unwrap_or_default(),
            _ => all,
        }
    }
}

fn check_domains(fields: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let mut seen = Vec::new();
    for item in fields.get("domains").iter().flat_map(Cursor::items) {
        let Some(domain) = item.node.as_str() else { continue };
        if !(domain::NAME.is_valid)(domain) || domain == domain::DEFAULT_DOMAIN {
            let shown: String = domain.chars().take(64).collect();
            let message = format!("`{shown}` is not a domain");
            let found = item.diagnostic(&INTENT_NAME, message);
            diagnostics.push(found.with_hint(domain::NAME.allowed));
        }
        domain::check_length(domain, &Place::of(&item), diagnostics);
        if seen.contains(&domain) {
            let message = format!("domain `{domain}` is given twice");
            diagnostics.push(item.diagnostic(&INTENT_DUPLICATE, message));
        }
        seen.push(domain);
    }
}

fn read_path(fields: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Predicate> {
    match fields.object("pathPredicate", &PATH) {
        Some(path) => {
            let value = path.get("matchValue")?;
            if !value.node.as_str()?.starts_with('/') {
                let message = "a path begins with `/`";
                diagnostics.push(value.diagnostic(&INVALID_VALUE, message));
            }
            Predicate::read(&path, false, diagnostics)
        }
        None => Some(Predicate {
            key: None,
            match_type: super::route_setting::MatchType::Prefix,
            value: "/".into(),
            is_case_sensitive: Some(true),
        }),
    }
}

fn read_upstream(fields: &Fields<'_>) -> Option<AiUpstream> {
    let provider = fields.get("provider")?;
    Some(AiUpstream {
        provider: provider.node.as_str()?.into(),
        weight: fields.int("weight"),
        model_mapping: fields.text_map("modelMapping"),
        place: Place::of(&provider),
    })
}

fn read_upstreams(fields: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) -> Vec<AiUpstream> {
    let Some(list) = fields.get("upstreams") else { return Vec::new() };
    let entries = fields.objects("upstreams", &UPSTREAM).unwrap_or_default();
    let mut upstreams: Vec<AiUpstream> = entries.iter().filter_map(read_upstream).collect();
    match upstreams.as_mut_slice() {
        [] => diagnostics.push(list.diagnostic(&MISSING_FIELD, "an AI route needs an upstream")),
        // The console stores 100 whatever a single upstream says.
        [only] if only.weight.is_none_or(|weight| weight == 100) => only.weight = Some(100),
        several => {
            let without = several.iter().filter(|upstream| upstream.weight.is_none()).count();
            let sum: i64 = several.iter().filter_map(|upstream| upstream.weight).sum();
            if without > 0 {
                let message = "each of several upstreams needs a weight";
                diagnostics.push(list.diagnostic(&INTENT_WEIGHTS, message));
            } else if sum != 100 {
                let message = format!("the weights sum to {sum}, not to 100");
                diagnostics.push(list.diagnostic(&INTENT_WEIGHTS, message));
            }
        }
    }
    upstreams
}

fn read_fallback(fields: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) -> Fallback {
    let entries = fields.objects("upstreams", &UPSTREAM);
    let mut codes = fields.texts("responseCodes");
    if let Some(codes) = &mut codes {
        let mut seen: Vec<Box<str>> = Vec::new();
        codes.retain(|code| {
            !seen.contains(code) && {
                seen.push(code.clone());
                true
            }
        });
    }
    let fallback = Fallback {
        is_enabled: fields.flag("enabled") == Some(true),
        upstreams: entries.map(|list| list.iter().filter_map(read_upstream).collect()),
        strategy: match fields.text("fallbackStrategy") {
            Some("RAND") => Some(Strategy::Random),
            Some("SEQ") => Some(Strategy::Sequence),
            _ => None,
        },
        response_codes: codes,
    };
    if !fallback.is_enabled {
        return fallback;
    }
    let is_empty = |list: Option<usize>| list.unwrap_or_default() == 0;
    if is_empty(fallback.upstreams.as_ref().map(Vec::len)) {
        let message = "a fallback that is enabled needs `upstreams`";
        diagnostics.push(fields.cursor.diagnostic(&MISSING_FIELD, message));
    }
    if is_empty(fallback.response_codes.as_ref().map(Vec::len)) {
        let message = "a fallback that is enabled needs `responseCodes`: `4xx`, `5xx` or both";
        diagnostics.push(fields.cursor.diagnostic(&MISSING_FIELD, message));
    }
    fallback
}

/// model-router owns one header, and two conditions on one header of one kind
/// would be one annotation.
fn check_headers(
    fields: &Fields<'_>,
    headers: Option<&[Predicate]>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let Some(list) = fields.get("headerPredicates") else { return };
    let mut seen = Vec::new();
    for predicate in headers.unwrap_or_default() {
        let key = predicate.key.as_deref().unwrap_or_default();
        if key.eq_ignore_ascii_case(MODEL_HEADER) {
            let message = format!("`{MODEL_HEADER}` is model-router's own header");
            let hint = "use `modelPredicates`";
            diagnostics.push(list.diagnostic(&INVALID_VALUE, message).with_hint(hint));
        }
        let condition = (key.to_ascii_lowercase(), predicate.match_type.as_str());
        if seen.contains(&condition) {
            let message =
                format!("two conditions of one type on the header `{key}`: only one is kept");
            diagnostics.push(list.diagnostic(&INVALID_VALUE, message));
        }
        seen.push(condition);
    }
}

/// An annotation that a field of the route writes cannot be given twice.
fn check_custom_configs(fields: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for (entry, value) in fields.get("customConfigs").iter().flat_map(|map| map.entries()) {
        let key = entry.key.strip_prefix("disabled.").unwrap_or(&entry.key);
        let own = key
            .strip_prefix("higress.io/")
            .or_else(|| key.strip_prefix("nginx.ingress.kubernetes.io/"));
        let is_reserved = own.is_some_and(|own| {
            OWN_ANNOTATIONS.contains(&own)
                || ["-match-header-", "-match-pseudo-header-", "-match-query-"]
                    .iter()
                    .any(|part| own.contains(part))
        });
        if is_reserved || entry.key.is_empty() {
            let message = format!("`{}` is written from the route's own fields", entry.key);
            diagnostics.push(value.diagnostic(&INVALID_VALUE, message));
        }
    }
}

/// What the console writes itself, without its prefix.
const OWN_ANNOTATIONS: &[&str] = &[
    "comment",
    "cors-allow-credentials",
    "cors-allow-headers",
    "cors-allow-methods",
    "cors-allow-origin",
    "cors-expose-headers",
    "cors-max-age",
    "destination",
    "enable-cors",
    "enable-header-control",
    "enable-proxy-next-upstream",
    "enable-rewrite",
    "ignore-path-case",
    "match-method",
    "proxy-next-upstream",
    "proxy-next-upstream-timeout",
    "proxy-next-upstream-tries",
    "request-header-control-add",
    "request-header-control-remove",
    "request-header-control-update",
    "response-header-control-add",
    "response-header-control-remove",
    "response-header-control-update",
    "rewrite-path",
    "rewrite-target",
    "ssl-redirect",
    "upstream-vhost",
    "use-regex",
];
