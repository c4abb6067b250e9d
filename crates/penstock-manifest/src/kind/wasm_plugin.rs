//! `extensions.higress.io/v1alpha1` WasmPlugin: what runs, where and in which
//! order (Higress: api/extensions/v1alpha1/wasmplugin.proto,
//! pkg/ingress/config/ingress_config.go).

use crate::diagnostic::{Diagnostic, INVALID_VALUE, MISSING_FIELD, RULE_WITHOUT_TARGET, nearest};
use crate::node::{Cursor, Map, Node, Position, Value};
use crate::resource::Resource;

const FIELDS: &[&str] = &[
    "url",
    "sha256",
    "imagePullPolicy",
    "imagePullSecret",
    "verificationKey",
    "pluginConfig",
    "pluginName",
    "phase",
    "priority",
    "failStrategy",
    "vmConfig",
    "defaultConfig",
    "defaultConfigDisable",
    "matchRules",
    "selector",
    "match",
    "type",
];
const RULE_FIELDS: &[&str] =
    &["ingress", "domain", "service", "config", "configDisable", "routeType"];

/// The built-ins that decide who may pass, in alphabetical order
/// (Higress console: plugins of the category `auth`).
pub const AUTHENTICATIONS: &[&str] = &[
    "basic-auth",
    "ext-auth",
    "hmac-auth",
    "hmac-auth-apisix",
    "jwt-auth",
    "key-auth",
    "oauth",
    "oidc",
    "opa",
    "simple-jwt-auth",
];

/// A WasmPlugin, borrowed from its document.
#[derive(Clone, Debug)]
pub struct WasmPlugin<'a> {
    /// The built-in that `url` names, such as `key-auth`.
    pub plugin: String,
    /// Whether `url` names the Go build of it.
    pub is_go: bool,
    /// `phase`.
    pub phase: Phase,
    /// `priority`; higher runs earlier within a phase.
    pub priority: i64,
    /// Whether requests pass when the plugin cannot run.
    pub fail_open: bool,
    /// `failStrategy` as written, for findings.
    pub fail_strategy: Option<Cursor<'a>>,
    /// The configuration for everything that no rule matches; `None` where
    /// it is disabled or absent.
    pub default_config: Option<Cursor<'a>>,
    /// Whether `defaultConfigDisable` is set.
    pub default_disabled: bool,
    /// The rules that name a target and are enabled, in order.
    pub rules: Vec<MatchRule<'a>>,
    /// Rules that are switched off by `configDisable`.
    pub disabled_rules: Vec<MatchRule<'a>>,
    /// How many enabled rules were set aside because they name no target.
    pub rules_without_target: usize,
    /// `spec`, for findings about the plugin as a whole.
    pub spec: Cursor<'a>,
    /// Where the resource stands.
    pub at: Position,
}

/// When a plugin runs. Ordered: earlier phases first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// `AUTHN`
    Authn,
    /// `AUTHZ`
    Authz,
    /// `STATS`
    Stats,
    /// `UNSPECIFIED_PHASE`, nearest to the upstream.
    Unspecified,
}

/// One entry of `matchRules`.
#[derive(Clone, Debug)]
pub struct MatchRule<'a> {
    /// Route names.
    pub ingress: Vec<&'a str>,
    /// Host patterns.
    pub domain: Vec<&'a str>,
    /// Service hosts, optionally with a port.
    pub service: Vec<&'a str>,
    /// The configuration; `None` where absent or null.
    pub config: Option<Cursor<'a>>,
    /// The rule itself, for findings.
    pub cursor: Cursor<'a>,
    /// The position among all of `matchRules`.
    pub index: usize,
}

impl<'a> WasmPlugin<'a> {
    /// Reads a WasmPlugin. A rule that cannot be used is set aside with a
    /// finding; `None` where the object as a whole cannot be used.
    pub fn parse(resource: &'a Resource, diagnostics: &mut Vec<Diagnostic>) -> Option<Self> {
        let root = resource.cursor();
        let Some(spec) = resource.spec() else {
            diagnostics
                .push(root.diagnostic(&MISSING_FIELD, format!("{} has no spec", resource.key)));
            return None;
        };
        if spec.node.as_map().is_none() {
            diagnostics.push(spec.wrong_type("a mapping"));
            return None;
        }
        spec.report_unknown_keys(FIELDS, diagnostics);
        let Some(url) = spec.get("url") else {
            diagnostics.push(
                spec.diagnostic(&MISSING_FIELD, format!("{} has no spec.url", resource.key))
                    .with_hint("the plugin is named by its url; a file that was cut off lacks it"),
            );
            return None;
        };
        let (plugin, is_go) = plugin_of_url(url.text(diagnostics)?);
        let phase = parse_phase(&spec, diagnostics)?;
        let priority = parse_priority(&spec, diagnostics)?;
        let fail_strategy = spec.get("failStrategy");
        let fail_open = match &fail_strategy {
            None => false,
            Some(cursor) => match cursor.text(diagnostics)? {
                "FAIL_OPEN" => true,
                "FAIL_CLOSE" | "" => false,
                other => {
                    diagnostics.push(
                        cursor
                            .diagnostic(&INVALID_VALUE, format!("`{other}` is not a failStrategy"))
                            .with_hint("use FAIL_CLOSE or FAIL_OPEN"),
                    );
                    return None;
                }
            },
        };
        let default_disabled = flag(&spec, "defaultConfigDisable", diagnostics)?;
        let plugin_config = spec.get("pluginConfig");
        let default_config = match &plugin_config {
            Some(config) => Some(config.clone()),
            None => spec.get("defaultConfig").filter(|_| !default_disabled),
        };
        if let Some(config) = &default_config
            && config.node.as_map().is_none()
        {
            diagnostics.push(config.wrong_type("a mapping"));
            return None;
        }
        let mut parsed = Self {
            plugin,
            is_go,
            phase,
            priority,
            fail_open,
            fail_strategy,
            default_config,
            default_disabled: default_disabled && plugin_config.is_none(),
            rules: Vec::new(),
            disabled_rules: Vec::new(),
            rules_without_target: 0,
            spec: spec.clone(),
            at: resource.name_at(),
        };
        if plugin_config.is_none() {
            parsed.read_rules(&spec, diagnostics)?;
        }
        Some(parsed)
    }

    /// The configuration for what no rule matches, for plugins that read
    /// each configuration by itself. An empty one beside rules is none; with
    /// neither, the plugin runs everywhere on its own defaults
    /// (Higress: wasm-go pkg/matcher/rule_matcher.go).
    pub fn global_config(&self) -> Option<Cursor<'a>> {
        let has_rules = !self.rules.is_empty() || self.rules_without_target > 0;
        match &self.default_config {
            Some(config) if config.node.as_map().is_some_and(|map| map.entries.is_empty()) => {
                (!has_rules).then(|| config.clone())
            }
            Some(config) => Some(config.clone()),
            None if has_rules || self.default_disabled => None,
            None => Some(empty(&self.spec, "defaultConfig")),
        }
    }

    /// Whether it is one of the [`AUTHENTICATIONS`].
    pub fn authenticates(&self) -> bool {
        AUTHENTICATIONS.contains(&self.plugin.as_str())
    }

    fn read_rules(&mut self, spec: &Cursor<'a>, diagnostics: &mut Vec<Diagnostic>) -> Option<()> {
        let Some(rules) = spec.get("matchRules") else {
            return Some(());
        };
        if rules.node.as_list().is_none() {
            diagnostics.push(rules.wrong_type("a list"));
            return None;
        }
        for (index, cursor) in rules.items().enumerate() {
            match parse_rule(cursor, index, diagnostics) {
                Some((rule, true)) => self.rules.push(rule),
                Some((rule, false)) => self.disabled_rules.push(rule),
                None => self.rules_without_target += 1,
            }
        }
        Some(())
    }
}

impl<'a> MatchRule<'a> {
    /// The configuration, empty where none is written.
    pub fn config_or_empty(&self) -> Cursor<'a> {
        self.config.clone().unwrap_or_else(|| empty(&self.cursor, "config"))
    }
}

/// A mapping without entries, where none is written.
const NOTHING: &Node =
    &Node { value: Value::Map(Map { entries: Vec::new() }), at: Position { line: 0, column: 0 } };

fn empty<'a>(owner: &Cursor<'a>, key: &str) -> Cursor<'a> {
    owner.child(key, NOTHING)
}

/// The rule and whether it is enabled; `None` for an enabled rule whose
/// target is lost.
fn parse_rule<'a>(
    cursor: Cursor<'a>,
    index: usize,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<(MatchRule<'a>, bool)> {
    if cursor.node.as_map().is_none() {
        diagnostics.push(cursor.wrong_type("a mapping"));
        return None;
    }
    cursor.report_unknown_keys(RULE_FIELDS, diagnostics);
    // A flag that cannot be read must not switch a protection off.
    let disabled = flag(&cursor, "configDisable", diagnostics).unwrap_or(false);
    let ingress = texts(&cursor, "ingress", diagnostics);
    let domain = texts(&cursor, "domain", diagnostics);
    let service = texts(&cursor, "service", diagnostics);
    if !disabled && ingress.is_empty() && domain.is_empty() && service.is_empty() {
        diagnostics.push(
            cursor
                .diagnostic(
                    &RULE_WITHOUT_TARGET,
                    format!("`{}` names no ingress, domain or service", cursor.path),
                )
                .with_hint("name a target, or set configDisable: true"),
        );
        return None;
    }
    let config = cursor.get("config");
    Some((MatchRule { ingress, domain, service, config, cursor, index }, !disabled))
}

fn texts<'a>(cursor: &Cursor<'a>, key: &str, diagnostics: &mut Vec<Diagnostic>) -> Vec<&'a str> {
    let Some(list) = cursor.get(key) else {
        return Vec::new();
    };
    if list.node.as_list().is_none() {
        diagnostics.push(list.wrong_type("a list of text"));
        return Vec::new();
    }
    list.items().filter_map(|item| item.text(diagnostics)).filter(|text| !text.is_empty()).collect()
}

/// A boolean that is false where absent; `None` with a finding where it is
/// no boolean.
fn flag(cursor: &Cursor<'_>, key: &str, diagnostics: &mut Vec<Diagnostic>) -> Option<bool> {
    match cursor.get(key) {
        None => Some(false),
        Some(value) => value.bool(diagnostics),
    }
}

fn parse_phase(spec: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Phase> {
    const PHASES: &[&str] = &["AUTHN", "AUTHZ", "STATS", "UNSPECIFIED_PHASE"];
    let Some(cursor) = spec.get("phase") else {
        return Some(Phase::Unspecified);
    };
    Some(match cursor.text(diagnostics)? {
        "AUTHN" => Phase::Authn,
        "AUTHZ" => Phase::Authz,
        "STATS" => Phase::Stats,
        "" | "UNSPECIFIED_PHASE" => Phase::Unspecified,
        other => {
            let mut diagnostic =
                cursor.diagnostic(&INVALID_VALUE, format!("`{other}` is not a phase"));
            if let Some(nearest) = nearest(other, PHASES.iter().copied()) {
                diagnostic = diagnostic.with_hint(format!("did you mean `{nearest}`?"));
            }
            diagnostics.push(diagnostic);
            return None;
        }
    })
}

fn parse_priority(spec: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<i64> {
    let Some(cursor) = spec.get("priority") else {
        return Some(0);
    };
    let number = match &cursor.node.value {
        Value::Int(number) => Some(*number),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    if number.is_none() {
        diagnostics.push(cursor.wrong_type("a whole number"));
    }
    number
}

/// The built-in that a plugin URL names, and whether it is the Go build.
///
/// The name is the OCI image's, else the folder of the `.wasm` file, also in
/// the plugin server's layout `…/plugins/NAME/VERSION/plugin.wasm`. `_` is
/// `-`; a prefix `go-` or a path through `wasm-go` means the Go build.
pub fn plugin_of_url(url: &str) -> (String, bool) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or(rest).trim_end_matches('/');
    let is_wasm_go = rest.split('/').any(|segment| segment == "wasm-go");
    let segments: Vec<&str> = rest.split('/').collect();
    let name = if rest.ends_with(".wasm") {
        name_of_file(&segments)
    } else {
        let image = segments.last().copied().unwrap_or_default();
        let image = image.split('@').next().unwrap_or(image);
        image.split(':').next().unwrap_or(image)
    };
    let name = name.to_ascii_lowercase().replace('_', "-");
    match name.strip_prefix("go-") {
        Some(plain) => (plain.to_owned(), true),
        None => (name, is_wasm_go),
    }
}

fn name_of_file<'a>(segments: &[&'a str]) -> &'a str {
    let folder = |back: usize| {
        segments.len().checked_sub(back).and_then(|index| segments.get(index)).copied()
    };
    let last = folder(2).unwrap_or_default();
    let looks_like_version = last == "latest"
        || last.strip_prefix('v').unwrap_or(last).starts_with(|c: char| c.is_ascii_digit());
    match folder(3) {
        Some(name) if looks_like_version && !name.is_empty() => name,
        _ => last,
    }
}
