//! AI routes whose JSON asks for an authentication that key-auth does not
//! give, or gives to others.

use std::collections::BTreeSet;

use super::model::{AiRoute, Model, Plugin, Route, closest, is_switched_off, listed};
use crate::diagnostic::{AI_ROUTE_AUTH, AUTH_NOT_COVERED, Diagnostic};
use crate::kind::wasm_plugin::MatchRule;
use crate::node::{Cursor, Node};

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    if model.is_plugin_unclear("key-auth") {
        return;
    }
    for ai_route in &model.ai_routes {
        let Some(route) = model.route_of(ai_route) else {
            continue;
        };
        let rule = own_rule(model, route);
        match ai_route.auth() {
            Some(auth) if !is_covered(model, route) => {
                diagnostics.push(not_covered(model, ai_route, route, &auth));
            }
            Some(auth) => diagnostics.extend(rule.and_then(|rule| differs(&auth, rule))),
            None => {
                let rule = rule.filter(|rule| !is_switched_off(rule));
                diagnostics.extend(rule.and_then(|rule| unasked(ai_route, rule)));
            }
        }
    }
}

/// The enabled rule that names the Ingress, as the console writes it.
fn own_rule<'m, 'a>(model: &'m Model<'a>, route: &Route<'_>) -> Option<&'m MatchRule<'a>> {
    model.plugins_of("key-auth").find_map(|plugin| plugin.rule_of_ingress(&route.name))
}

/// Whether every request of a route meets an authentication.
fn is_covered(model: &Model<'_>, route: &Route<'_>) -> bool {
    let requests = route.requests();
    model.plugins_of("key-auth").any(|plugin| {
        let protects = |rule: Option<&MatchRule<'_>>| rule.map(|rule| !is_switched_off(rule));
        let otherwise = plugin.global_auth() == Some(true);
        if requests.is_empty() {
            return protects(own_rule(model, route)).unwrap_or(otherwise);
        }
        requests.iter().all(|request| protects(plugin.rule_for(request)).unwrap_or(otherwise))
    })
}

fn not_covered(
    model: &Model<'_>,
    ai_route: &AiRoute<'_>,
    route: &Route<'_>,
    auth: &Cursor<'_>,
) -> Diagnostic {
    let place = auth.get("enabled").unwrap_or_else(|| auth.clone());
    let disabled = model
        .plugins_of("key-auth")
        .find_map(|plugin| plugin.disabled_rule_of_ingress(&route.name));
    let switched_off = own_rule(model, route).filter(|rule| is_switched_off(rule));
    let hint = match (switched_off, disabled, model.plugins_of("key-auth").next()) {
        (Some(rule), ..) => format!("remove `_disable_` from `{}` of key-auth", rule.cursor.path),
        (None, Some(rule), _) => {
            format!("set `configDisable: false` in `{}` of key-auth", rule.cursor.path)
        }
        (None, None, Some(plugin)) => missing_rule(model, plugin, &route.name),
        (None, None, None) => {
            format!("add a key-auth WasmPlugin with a rule for `{}`", route.name)
        }
    };
    place
        .diagnostic(
            &AUTH_NOT_COVERED,
            format!(
                "AI route `{}` asks for authentication, but no enabled key-auth rule covers Ingress `{}`",
                ai_route.name, route.name
            ),
        )
        .with_hint(hint)
}

/// A rule whose Ingress does not exist was perhaps meant for this one.
fn missing_rule(model: &Model<'_>, plugin: &Plugin<'_>, name: &str) -> String {
    let stray: Vec<&str> = plugin
        .wasm
        .rules
        .iter()
        .flat_map(|rule| rule.ingress.iter().copied())
        .filter(|ingress| model.route(ingress).is_none())
        .collect();
    match closest(name, &stray) {
        Some(stray) => format!("write `{name}` instead of `{stray}` in key-auth's rule"),
        None => format!("add a rule with `ingress: [{name}]` to `{}`", plugin.resource.key.name),
    }
}

fn differs(auth: &Cursor<'_>, rule: &MatchRule<'_>) -> Option<Diagnostic> {
    let listed_in = auth.get("allowedConsumers");
    let asked = names(listed_in.as_ref().map(|list| list.node));
    let config = rule.config.as_ref();
    if config.is_some_and(|config| config.get("consumers").is_some()) {
        return None;
    }
    let given = names(config.and_then(|config| config.node.get("allow")));
    if asked == given {
        return None;
    }
    let place = listed_in.unwrap_or_else(|| auth.clone());
    let shown = |names: &BTreeSet<&str>| {
        if names.is_empty() {
            "nobody".to_owned()
        } else {
            listed(&names.iter().collect::<Vec<_>>())
        }
    };
    Some(
        place
            .diagnostic(
                &AI_ROUTE_AUTH,
                format!(
                    "`allowedConsumers` names {}, but `{}` of key-auth allows {}",
                    shown(&asked),
                    rule.cursor.path,
                    shown(&given)
                ),
            )
            .with_hint("make them equal: the console writes the rule from the JSON"),
    )
}

/// A rule for a route that asks for none: the next save in the console
/// switches it off, and the route is open.
fn unasked(ai_route: &AiRoute<'_>, rule: &MatchRule<'_>) -> Option<Diagnostic> {
    let json = ai_route.json()?;
    let auth = json.get("authConfig");
    let place = auth.as_ref().and_then(|auth| auth.get("enabled")).or(auth).unwrap_or(json);
    Some(
        place
            .diagnostic(
                &AI_ROUTE_AUTH,
                format!(
                    "AI route `{}` asks for no authentication, but `{}` of key-auth protects it",
                    ai_route.name, rule.cursor.path
                ),
            )
            .with_hint("set `authConfig.enabled` to true: a save in the console opens the route"),
    )
}

fn names(list: Option<&Node>) -> BTreeSet<&str> {
    list.and_then(Node::as_list).unwrap_or_default().iter().filter_map(Node::as_str).collect()
}
