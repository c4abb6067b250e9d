//! The JSON of an AI route against its Ingress: path, upstreams and weights.
//! The console rewrites the Ingress from the JSON at the next save.

use super::model::{AiRoute, LookUp, Model, Route, Services, listed};
use crate::annotation::Destination;
use crate::diagnostic::{AI_ROUTE_DRIFT, AI_ROUTE_WEIGHTS, Diagnostic};
use crate::node::{Cursor, Node, Value};

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for ai_route in &model.ai_routes {
        diagnostics.extend(check_sum(ai_route));
        let Some(route) = model.route_of(ai_route) else {
            continue;
        };
        diagnostics.extend(check_path(ai_route, route));
        check_upstreams(model, ai_route, route, diagnostics);
    }
}

fn weight(upstream: &Cursor<'_>) -> Option<i64> {
    match upstream.node.get("weight")?.value {
        Value::Int(weight) => Some(weight),
        _ => None,
    }
}

/// The console refuses to save weights that do not sum to 100.
fn check_sum(ai_route: &AiRoute<'_>) -> Option<Diagnostic> {
    let json = ai_route.json()?;
    let list = json.get("upstreams")?;
    let weights: Option<Vec<i64>> = list.items().map(|upstream| weight(&upstream)).collect();
    let weights = weights.filter(|weights| !weights.is_empty())?;
    let sum: i64 = weights.iter().fold(0, |sum, weight| sum.saturating_add(*weight));
    if sum == 100 {
        return None;
    }
    let first = list.items().next().and_then(|upstream| upstream.get("weight"));
    let place = if weights.len() == 1 { first.unwrap_or(list) } else { list };
    Some(
        place
            .diagnostic(&AI_ROUTE_WEIGHTS, format!("the weights of the upstreams sum to {sum}"))
            .with_hint("make them sum to 100"),
    )
}

fn check_path(ai_route: &AiRoute<'_>, route: &Route<'_>) -> Option<Diagnostic> {
    let json = ai_route.json()?;
    let predicate = json.get("pathPredicate")?;
    let wanted = predicate.get("matchValue")?;
    let text = wanted.node.as_str()?;
    if predicate.node.get("matchType").and_then(Node::as_str) != Some("PRE") {
        return None;
    }
    let paths = route.ingress.iter().flat_map(|ingress| &ingress.rules).flat_map(|r| &r.paths);
    let other = paths.map(|path| &*path.path).find(|path| *path != text)?;
    Some(
        wanted
            .diagnostic(
                &AI_ROUTE_DRIFT,
                format!("the JSON has the path `{text}`, Ingress `{}` has `{other}`", route.name),
            )
            .with_hint("make them equal: the console writes the Ingress from the JSON"),
    )
}

/// The services that stand for a provider: those whose rules activate it,
/// and the registry that the console would give it.
fn services_of(model: &Model<'_>, provider: &str) -> Vec<String> {
    let own = ["dns", "static"].map(|kind| format!("llm-{provider}.internal.{kind}"));
    let own = own.iter().filter_map(|host| model.services.registry(host));
    let own = own.map(|entry| entry.registry.host.to_string());
    model.services_of(provider).iter().cloned().chain(own).collect()
}

fn check_upstreams(
    model: &Model<'_>,
    ai_route: &AiRoute<'_>,
    route: &Route<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let Some(destinations) = &route.options.destinations else {
        return;
    };
    // A destination that does not exist is a finding of its own, and hides
    // which provider was meant.
    let all_exist = destinations.iter().all(|d| exists(&model.services, d));
    let upstreams = ai_route.upstreams();
    if destinations.is_empty() || !all_exist || upstreams.is_empty() {
        return;
    }
    let is_as_many = upstreams.len() == destinations.len();
    let mut matched: Vec<&Destination> = Vec::new();
    let mut is_complete = true;
    for (upstream, provider) in &upstreams {
        let services = services_of(model, provider);
        if services.is_empty() {
            is_complete = false;
            continue;
        }
        let to = destinations.iter().find(|d| services.iter().any(|service| *d.host == **service));
        match to {
            Some(destination) => {
                matched.push(destination);
                if is_as_many && destinations.len() > 1 {
                    diagnostics.extend(check_weight(upstream, provider, destination));
                }
            }
            None => diagnostics.push(without_destination(upstream, provider, route, &services)),
        }
    }
    let surplus: Vec<&str> = destinations
        .iter()
        .filter(|destination| !matched.contains(destination))
        .map(|destination| &*destination.host)
        .collect();
    let annotation = route.resource.annotation_cursor("higress.io/destination");
    if let Some(annotation) = annotation
        && is_complete
        && !surplus.is_empty()
        && matched.len() == upstreams.len()
    {
        diagnostics.push(
            annotation
                .diagnostic(
                    &AI_ROUTE_DRIFT,
                    format!("{} is no upstream of AI route `{}`", listed(&surplus), ai_route.name),
                )
                .with_hint("remove it, or add its provider to the upstreams in the JSON"),
        );
    }
}

fn exists(services: &Services<'_>, destination: &Destination) -> bool {
    services.look_up(&destination.host) != LookUp::Missing
}

fn check_weight(
    upstream: &Cursor<'_>,
    provider: &str,
    destination: &Destination,
) -> Option<Diagnostic> {
    let written = weight(upstream)?;
    if written == i64::from(destination.weight) {
        return None;
    }
    let place = upstream.get("weight")?;
    Some(
        place
            .diagnostic(
                &AI_ROUTE_WEIGHTS,
                format!(
                    "provider `{provider}` has weight {written} here and {} in the destination",
                    destination.weight
                ),
            )
            .with_hint("make them equal: the console writes the destination from the JSON"),
    )
}

fn without_destination(
    upstream: &Cursor<'_>,
    provider: &str,
    route: &Route<'_>,
    services: &[String],
) -> Diagnostic {
    let place = upstream.get("provider").unwrap_or_else(|| upstream.clone());
    let mut services = services.to_vec();
    services.sort();
    services.dedup();
    place
        .diagnostic(
            &AI_ROUTE_DRIFT,
            format!("Ingress `{}` sends nothing to provider `{provider}`", route.name),
        )
        .with_hint(format!("add {} to its destination, or remove the upstream", listed(&services)))
}
