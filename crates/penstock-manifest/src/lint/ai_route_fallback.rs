//! The fallback of an AI route: its JSON, its Ingress and its EnvoyFilter go
//! together (Higress console: AiRouteServiceImpl.java).

use std::collections::HashMap;

use super::model::{AiRoute, Model, Route};
use crate::annotation::{Matcher, Subject};
use crate::diagnostic::{AI_ROUTE_FALLBACK, Diagnostic};
use crate::kind::envoy_filter::{self, FALLBACK_HEADER as HEADER};
use crate::resource::{Resource, SYSTEM_NAMESPACE};

/// The classes of answers that the console can fall back on.
const CODES: &[&str] = &["4xx", "5xx"];

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let filters: HashMap<&str, &Resource> = model
        .resources
        .iter()
        .filter(|resource| {
            &*resource.key.kind == "EnvoyFilter" && &*resource.key.namespace == SYSTEM_NAMESPACE
        })
        .map(|resource| (&*resource.key.name, &**resource))
        .collect();
    for ai_route in &model.ai_routes {
        let name = ai_route.fallback_name();
        // An AI route of this very name owns the Ingress.
        let is_taken = model.ai_route(&format!("{}.fallback", ai_route.name)).is_some();
        if is_taken || model.may_exist("Ingress", &name) || ai_route.json().is_none() {
            continue;
        }
        let ingress = model.route(&name);
        let is_wanted = !ai_route.fallback_upstreams().is_empty();
        match (is_wanted, ingress) {
            (true, None) => diagnostics.extend(missing(ai_route, &name)),
            (true, Some(route)) => {
                diagnostics.extend(check_header(ai_route, route));
                diagnostics.extend(check_filter(model, ai_route));
            }
            (false, Some(route)) => diagnostics.push(left_over(ai_route, route.resource)),
            (false, None) => {}
        }
        if let Some((filter, fallback)) = filter_of(&filters, ai_route) {
            diagnostics.extend(match is_wanted {
                true => check_classes(ai_route, &fallback),
                false => Some(left_over(ai_route, filter)),
            });
        }
        check_codes(ai_route, diagnostics);
    }
}

fn missing(ai_route: &AiRoute<'_>, name: &str) -> Option<Diagnostic> {
    let fallback = ai_route.fallback()?;
    let place = fallback.get("enabled").unwrap_or(fallback);
    Some(
        place
            .diagnostic(
                &AI_ROUTE_FALLBACK,
                format!("AI route `{}` has a fallback, but no Ingress `{name}`", ai_route.name),
            )
            .with_hint("add the Ingress, or set `fallbackConfig.enabled` to false"),
    )
}

fn check_header(ai_route: &AiRoute<'_>, route: &Route<'_>) -> Option<Diagnostic> {
    let from = ai_route.ingress_name();
    let is_there = route.options.conditions.iter().any(|condition| {
        condition.subject == Subject::Header(HEADER.into())
            && condition.matcher == Matcher::Exact(from.as_str().into())
    });
    if is_there {
        return None;
    }
    let root = route.resource.cursor();
    let metadata = root.get("metadata").unwrap_or(root);
    let place = metadata.get("annotations").unwrap_or(metadata);
    Some(
        place
            .diagnostic(
                &AI_ROUTE_FALLBACK,
                format!("fallback Ingress `{}` takes ordinary requests as well", route.name),
            )
            .with_hint(format!("add `higress.io/exact-match-header-{HEADER}: {from}`")),
    )
}

/// Without the filter nothing ever falls back.
fn check_filter(model: &Model<'_>, ai_route: &AiRoute<'_>) -> Option<Diagnostic> {
    let name = ai_route.ingress_name();
    if model.has("EnvoyFilter", &name) || model.may_exist("EnvoyFilter", &name) {
        return None;
    }
    let fallback = ai_route.fallback()?;
    let place = fallback.get("enabled").unwrap_or(fallback);
    Some(
        place
            .diagnostic(
                &AI_ROUTE_FALLBACK,
                format!("the fallback of AI route `{}` has no EnvoyFilter `{name}`", ai_route.name),
            )
            .with_hint("save the route in the console, or add the EnvoyFilter"),
    )
}

/// The EnvoyFilter of the route, where it is one for a fallback.
fn filter_of<'a>(
    filters: &HashMap<&str, &'a Resource>,
    ai_route: &AiRoute<'_>,
) -> Option<(&'a Resource, envoy_filter::Fallback)> {
    let name = ai_route.ingress_name();
    let filter = filters.get(name.as_str())?;
    let fallbacks = envoy_filter::fallbacks(filter, &mut Vec::new());
    let fallback = fallbacks.into_iter().find(|fallback| *fallback.route == *name)?;
    Some((filter, fallback))
}

/// The filter decides, the JSON is what the console shows.
fn check_classes(ai_route: &AiRoute<'_>, fallback: &envoy_filter::Fallback) -> Option<Diagnostic> {
    let codes = ai_route.fallback()?.get("responseCodes")?;
    let is_wanted = |class| codes.items().any(|item| item.node.as_str() == Some(class));
    let wanted = (is_wanted("4xx"), is_wanted("5xx"));
    if wanted == (false, false) || wanted == (fallback.on_4xx, fallback.on_5xx) {
        return None;
    }
    let acts_on = match (fallback.on_4xx, fallback.on_5xx) {
        (true, true) => "4xx and 5xx",
        (true, false) => "4xx",
        _ => "5xx",
    };
    let message =
        format!("the EnvoyFilter of AI route `{}` falls back on {acts_on}", ai_route.name);
    let hint = "save the route in the console, or correct one of the two";
    Some(codes.diagnostic(&AI_ROUTE_FALLBACK, message).with_hint(hint))
}

fn left_over(ai_route: &AiRoute<'_>, resource: &Resource) -> Diagnostic {
    let root = resource.cursor();
    let place = root.get("metadata").and_then(|metadata| metadata.get("name")).unwrap_or(root);
    place
        .diagnostic(
            &AI_ROUTE_FALLBACK,
            format!(
                "{} `{}` is left over: AI route `{}` has no enabled fallback",
                resource.key.kind, resource.key.name, ai_route.name
            ),
        )
        .with_hint("remove it, or set `fallbackConfig.enabled` to true")
}

fn check_codes(ai_route: &AiRoute<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let Some(codes) = ai_route.fallback().and_then(|fallback| fallback.get("responseCodes")) else {
        return;
    };
    for item in codes.items() {
        let Some(text) = item.node.as_str().filter(|text| !CODES.contains(text)) else {
            continue;
        };
        diagnostics.push(
            item.diagnostic(
                &AI_ROUTE_FALLBACK,
                format!("`{text}` is not a class of answers to fall back on"),
            )
            .with_hint("use 4xx and 5xx"),
        );
    }
}
