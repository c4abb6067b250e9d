//! `extensions.higress.io/v1alpha1` WasmPlugin: what runs, where and in which
//! order (Higress: api/extensions/v1alpha1/wasmplugin.proto,
//! pkg/ingress/config/ingress_config.go).

mod inert;
mod rule;

use crate::diagnostic::{
    Diagnostic, INVALID_VALUE, MISSING_FIELD, PLUGIN_FIELD_WITHOUT_EFFECT, Severity, nearest,
};
use crate::node::{Cursor, Map, Node, Position, Value};
use crate::resource::Resource;

use rule::Form;
pub use rule::MatchRule;

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
/// What holds the rules inside a configuration.
const RULES_INSIDE: &str = "_rules_";
const PHASES: &[&str] = &["UNSPECIFIED_PHASE", "AUTHN", "AUTHZ", "STATS"];
const FAIL_STRATEGIES: &[&str] = &["FAIL_CLOSE", "FAIL_OPEN"];

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

/// The built-ins whose image is the C++ build, in alphabetical order
/// (Higress: plugins/wasm-cpp/extensions).
const CPP: &[&str] = &[
    "basic-auth",
    "bot-detect",
    "custom-response",
    "hmac-auth",
    "jwt-auth",
    "key-auth",
    "key-rate-limit",
    "oauth",
    "request-block",
    "sni-misdirect",
];

/// A WasmPlugin, borrowed from its document.
#[derive(Clone, Debug)]
pub struct WasmPlugin<'a> {
    /// The built-in that `url` names, such as `key-auth`.
    pub plugin: String,
    /// Whether `url` names the Go build of it.
    pub is_go: bool,
    /// Whether it is a C++ build: these choose among rules in another way.
    pub is_cpp: bool,
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
        let url = url.text(diagnostics)?;
        let (plugin, is_go) = plugin_of_url(url);
        let is_cpp = !is_go && (CPP.contains(&&*plugin) || url.contains("/wasm-cpp/"));
        let phase = parse_phase(&spec, diagnostics)?;
        let priority = parse_priority(&spec, diagnostics)?;
        let fail_strategy = spec.get("failStrategy");
        let fail_open = match &fail_strategy {
            None => false,
            Some(cursor) => choice(cursor, FAIL_STRATEGIES, diagnostics)? == 1,
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
        inert::check(&spec, url, diagnostics);
        let mut parsed = Self {
            plugin,
            is_go,
            is_cpp,
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
        if plugin_config.is_some() {
            report_ignored(&spec, diagnostics);
        } else {
            parsed.read_rules(&spec, diagnostics)?;
        }
        parsed.read_rules_inside(diagnostics)?;
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
            match rule::parse(cursor, index, self.form(Form::Field), diagnostics) {
                Some((rule, true)) => self.rules.push(rule),
                Some((rule, false)) => self.disabled_rules.push(rule),
                None => self.rules_without_target += 1,
            }
        }
        Some(())
    }

    /// Reads the rules that a configuration written by hand holds itself.
    /// Higress: pkg/ingress/config/ingress_config.go — rules of `matchRules`
    /// take the place of these. One that cannot be used breaks all of it, as
    /// there, because nothing says what it was to protect.
    fn read_rules_inside(&mut self, diagnostics: &mut Vec<Diagnostic>) -> Option<()> {
        let Some(config) = self.default_config.clone() else {
            return Some(());
        };
        let Some(rules) = config.get(RULES_INSIDE) else {
            return Some(());
        };
        let is_all = config.node.as_map().is_some_and(|map| map.entries.len() == 1);
        if is_all {
            self.default_config = None;
            self.default_disabled = true;
        }
        if !self.rules.is_empty() || self.rules_without_target > 0 {
            let message = format!("`{}` is ignored beside spec.matchRules", rules.path);
            let finding = rules.diagnostic(&PLUGIN_FIELD_WITHOUT_EFFECT, message);
            diagnostics.push(finding.with_severity(Severity::Warning));
            return Some(());
        }
        if rules.node.as_list().is_none() {
            diagnostics.push(rules.wrong_type("a list"));
            return None;
        }
        for (index, cursor) in rules.items().enumerate() {
            let (rule, _) = rule::parse(cursor, index, self.form(Form::Inside), diagnostics)?;
            self.rules.push(rule);
        }
        if is_all && self.rules.is_empty() {
            let message = format!("`{}` is empty, and there is nothing else", rules.path);
            diagnostics.push(rules.diagnostic(&INVALID_VALUE, message));
            return None;
        }
        Some(())
    }

    /// How rules are read: those of what may decide who passes apply also
    /// where Higress loses their targets.
    fn form(&self, form: Form) -> (Form, bool) {
        (form, self.authenticates() || self.phase <= Phase::Authz)
    }
}

/// Says that `pluginConfig` takes the place of the other configurations.
fn report_ignored(spec: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for field in ["defaultConfig", "matchRules"] {
        if let Some(ignored) = spec.get(field) {
            let message = format!("`{}` is ignored beside spec.pluginConfig", ignored.path);
            diagnostics.push(
                ignored
                    .diagnostic(&PLUGIN_FIELD_WITHOUT_EFFECT, message)
                    .with_severity(Severity::Warning)
                    .with_hint("move pluginConfig to defaultConfig, or remove this"),
            );
        }
    }
}

/// A mapping without entries, where none is written.
const NOTHING: &Node =
    &Node { value: Value::Map(Map { entries: Vec::new() }), at: Position { line: 0, column: 0 } };

fn empty<'a>(owner: &Cursor<'a>, key: &str) -> Cursor<'a> {
    owner.child(key, NOTHING)
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
    let Some(cursor) = spec.get("phase") else {
        return Some(Phase::Unspecified);
    };
    Some(match choice(&cursor, PHASES, diagnostics)? {
        1 => Phase::Authn,
        2 => Phase::Authz,
        3 => Phase::Stats,
        _ => Phase::Unspecified,
    })
}

/// The place of a value among the names of an enumeration, in the order of
/// their numbers, which count as well.
fn choice(
    cursor: &Cursor<'_>,
    names: &[&'static str],
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<usize> {
    let number = |number: i64| usize::try_from(number).ok().filter(|index| *index < names.len());
    if let Value::Int(value) = cursor.node.value
        && let Some(index) = number(value)
    {
        return Some(index);
    }
    let text = cursor.text(diagnostics)?;
    if text.is_empty() {
        return Some(0);
    }
    let found = names.iter().position(|name| *name == text);
    if found.is_none() {
        let field = cursor.path.rsplit('.').next().unwrap_or_default();
        let message = format!("`{text}` is not a {field}");
        let folded = names.iter().find(|name| name.eq_ignore_ascii_case(text)).copied();
        let hint = match folded.or_else(|| nearest(text, names.iter().copied())) {
            Some(meant) if names.len() > 2 => format!("did you mean `{meant}`?"),
            _ => format!("use {}", names.join(" or ")),
        };
        diagnostics.push(cursor.diagnostic(&INVALID_VALUE, message).with_hint(hint));
    }
    found
}

fn parse_priority(spec: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<i64> {
    let Some(cursor) = spec.get("priority") else {
        return Some(0);
    };
    let number = match &cursor.node.value {
        Value::Int(number) => Some(*number),
        // Protocol buffers take 10.0 for 10.
        #[expect(clippy::cast_possible_truncation, reason = "looked at first")]
        Value::Float(number) if number.fract() == 0.0 && number.abs() < 1e15 => {
            Some(*number as i64)
        }
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

#[cfg(test)]
mod tests;
