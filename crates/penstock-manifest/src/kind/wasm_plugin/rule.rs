//! The rules of a WasmPlugin: entries of `matchRules`, and what the
//! controller makes of them, `_rules_` inside a configuration (Higress:
//! pkg/ingress/config/ingress_config.go, wasm-go pkg/matcher/rule_matcher.go).

use super::{choice, empty, flag};
use crate::diagnostic::{Diagnostic, RULE_NEVER_MATCHES, RULE_WITHOUT_TARGET};
use crate::node::Cursor;

const FIELDS: &[&str] = &["ingress", "domain", "service", "config", "configDisable", "routeType"];
const ROUTE_TYPES: &[&str] = &["HTTP", "GRPC"];
/// What Higress puts in place of each route of a rule for gRPC. No route of
/// an Ingress has this name.
const GRPC: &str = "GRPC";

/// One entry of `matchRules`, or of `_rules_` in a configuration.
#[derive(Clone, Debug)]
pub struct MatchRule<'a> {
    /// Route names.
    pub ingress: Vec<&'a str>,
    /// Host patterns.
    pub domain: Vec<&'a str>,
    /// Service hosts, optionally with a port.
    pub service: Vec<&'a str>,
    /// Beginnings of route names, which only `_rules_` can have.
    pub route_prefix: Vec<&'a str>,
    /// The configuration; `None` where absent or null.
    pub config: Option<Cursor<'a>>,
    /// The rule itself, for findings.
    pub cursor: Cursor<'a>,
    /// The position among all rules.
    pub index: usize,
}

impl<'a> MatchRule<'a> {
    /// The configuration, empty where none is written.
    pub fn config_or_empty(&self) -> Cursor<'a> {
        self.config.clone().unwrap_or_else(|| empty(&self.cursor, "config"))
    }

    /// What is written for `ingress`, `domain` or `service`, in either form.
    pub fn written(&self, field: &str) -> Option<Cursor<'a>> {
        self.cursor.get(field).or_else(|| self.cursor.get(key_inside(field)))
    }

    /// Whether it takes its requests out of a C++ plugin
    /// (Higress: wasm-cpp common/route_rule_matcher.h).
    pub fn is_switched_off(&self) -> bool {
        let flag = self.config.as_ref().and_then(|config| config.node.get("_disable_"));
        flag.and_then(crate::node::Node::as_bool) == Some(true)
    }
}

/// How a rule is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As an entry of `matchRules`.
    Field,
    /// As an entry of `_rules_`: targets and configuration in one mapping.
    Inside,
}

/// The key of a target inside a configuration.
fn key_inside(field: &str) -> &'static str {
    match field {
        "ingress" => "_match_route_",
        "domain" => "_match_domain_",
        "service" => "_match_service_",
        _ => "_match_route_prefix_",
    }
}

/// The rule and whether it is enabled; `None` for an enabled rule whose
/// target is lost. `applies` says that it counts also where Higress loses it.
pub(super) fn parse<'a>(
    cursor: Cursor<'a>,
    index: usize,
    (form, applies): (Form, bool),
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<(MatchRule<'a>, bool)> {
    if cursor.node.as_map().is_none() {
        diagnostics.push(cursor.wrong_type("a mapping"));
        return None;
    }
    let mut list = |field: &'static str| match form {
        Form::Field => texts(&cursor, field, diagnostics),
        Form::Inside => texts(&cursor, key_inside(field), diagnostics),
    };
    let mut rule = MatchRule {
        ingress: list("ingress"),
        domain: list("domain"),
        service: list("service"),
        route_prefix: if form == Form::Inside { list("prefix") } else { Vec::new() },
        config: Some(cursor.clone()),
        cursor: cursor.clone(),
        index,
    };
    let mut is_disabled = false;
    if form == Form::Field {
        cursor.report_unknown_keys(FIELDS, diagnostics);
        // A flag that cannot be read must not switch a protection off.
        is_disabled = flag(&cursor, "configDisable", diagnostics).unwrap_or(false);
        rule.config = cursor.get("config");
        if !is_disabled {
            read_route_type(&mut rule, applies, diagnostics);
        }
    }
    let targets = [&rule.ingress, &rule.domain, &rule.service, &rule.route_prefix];
    if !is_disabled && targets.iter().all(|list| list.is_empty()) {
        diagnostics.push(without_target(&cursor, form));
        return None;
    }
    Some((rule, !is_disabled))
}

fn without_target(cursor: &Cursor<'_>, form: Form) -> Diagnostic {
    let (names, hint) = match form {
        Form::Field => {
            ("no ingress, domain or service", "name a target, or set configDisable: true")
        }
        Form::Inside => (
            "no target",
            "give it _match_route_, _match_domain_, _match_service_ or _match_route_prefix_",
        ),
    };
    let message = format!("`{}` names {names}", cursor.path);
    cursor.diagnostic(&RULE_WITHOUT_TARGET, message).with_hint(hint)
}

/// Higress: ingress_config.go — with `routeType: GRPC` each name of a route
/// is replaced by `GRPC` alone, so that the rule matches nothing.
fn read_route_type(rule: &mut MatchRule<'_>, applies: bool, diagnostics: &mut Vec<Diagnostic>) {
    let Some(route_type) = rule.cursor.get("routeType") else {
        return;
    };
    if choice(&route_type, ROUTE_TYPES, diagnostics) != Some(1) || rule.ingress.is_empty() {
        return;
    }
    let consequence = match applies {
        true => "penstock applies it, because it may be a protection",
        false => "it never applies",
    };
    let path = &rule.cursor.path;
    diagnostics.push(
        route_type
            .diagnostic(
                &RULE_NEVER_MATCHES,
                format!("with routeType GRPC Higress loses the ingress of `{path}`: {consequence}"),
            )
            .with_hint("remove routeType: routes of Ingresses carry gRPC without it"),
    );
    if !applies {
        rule.ingress = vec![GRPC];
    }
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
