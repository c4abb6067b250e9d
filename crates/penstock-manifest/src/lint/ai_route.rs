//! AI routes of which the console has only one half: a ConfigMap without its
//! Ingress, or an Ingress without its ConfigMap. Each says which of the others
//! is most likely its counterpart.

use std::collections::BTreeSet;

use super::model::{AiRoute, Model, Route, RoutePart, closest};
use crate::diagnostic::{AI_ROUTE_WITHOUT_INGRESS, Diagnostic, INGRESS_WITHOUT_AI_ROUTE};
use crate::kind::config_map::AI_ROUTE_PREFIX;
use crate::node::Cursor;
use crate::resource::Resource;

/// What the same name is worth, more than anything else together.
const SAME_NAME: usize = 1000;
/// How many pairs of halves are compared.
const PAIRS_MAX: usize = 10_000;

/// The Ingress of an AI route that has no ConfigMap.
struct Half<'m, 'a> {
    /// The AI route's name.
    name: &'m str,
    route: &'m Route<'a>,
}

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let records = lonely_records(model);
    let ingresses = lonely_ingresses(model);
    // Of very many, nobody can say which belong together.
    let is_few = records.len().saturating_mul(ingresses.len()) <= PAIRS_MAX;
    let (candidates, other_candidates) =
        if is_few { (&*ingresses, &*records) } else { (&[][..], &[][..]) };
    let of_record = |record: &AiRoute<'_>| best(candidates, |half| likeness(record, half));
    let of_ingress = |half: &Half<'_, '_>| {
        best(other_candidates, |record| likeness(record, half))
            // Of two that want the same one, the better gets it.
            .filter(|record| of_record(record).is_some_and(|other| other.name == half.name))
    };
    for record in &records {
        let counterpart = of_record(record)
            .filter(|half| of_ingress(half).is_some_and(|other| std::ptr::eq(*other, *record)));
        diagnostics.push(without_ingress(record, counterpart.map(|half| half.name)));
    }
    for half in &ingresses {
        let counterpart = of_ingress(half).map(|record| record.name);
        diagnostics.push(without_record(half.route, half.name, counterpart));
    }
    for route in stray_fallbacks(model) {
        diagnostics.push(stray_fallback(route));
    }
}

fn lonely_records<'m, 'a>(model: &'m Model<'a>) -> Vec<&'m AiRoute<'a>> {
    let has_ingress = |ai_route: &AiRoute<'_>| {
        let name = ai_route.ingress_name();
        model.route(&name).is_some() || model.may_exist("Ingress", &name)
    };
    model.ai_routes.iter().filter(|ai_route| !has_ingress(ai_route)).collect()
}

/// The main Ingresses of AI routes without a ConfigMap.
fn lonely_ingresses<'m, 'a>(model: &'m Model<'a>) -> Vec<Half<'m, 'a>> {
    let routes = model.routes.iter().filter(|route| route.is_in_system());
    routes
        .filter_map(|route| match model.part_of(&route.resource.key.name)? {
            RoutePart::Main(name) if !has_record(model, name) => Some(Half { name, route }),
            _ => None,
        })
        .collect()
}

/// Fallback Ingresses of which neither the ConfigMap nor the main Ingress is
/// there.
fn stray_fallbacks<'m, 'a>(model: &'m Model<'a>) -> Vec<&'m Route<'a>> {
    let routes = model.routes.iter().filter(|route| route.is_in_system());
    routes
        .filter(|route| match model.part_of(&route.resource.key.name) {
            Some(RoutePart::Fallback(name)) => {
                !has_record(model, name)
                    && model.route(&format!("{AI_ROUTE_PREFIX}{name}.internal")).is_none()
            }
            _ => false,
        })
        .collect()
}

fn has_record(model: &Model<'_>, name: &str) -> bool {
    model.ai_route(name).is_some()
        || model.may_exist("ConfigMap", &format!("{AI_ROUTE_PREFIX}{name}"))
}

/// How much of what the JSON and the Ingress say is the same.
fn likeness(record: &AiRoute<'_>, Half { name, route }: &Half<'_, '_>) -> usize {
    let domains = record.domains();
    let domains: BTreeSet<&str> = domains.iter().map(String::as_str).collect();
    let hosts: BTreeSet<&str> = route.host_names().into_iter().collect();
    let providers = record.upstreams();
    let goes_to = |provider: &str| {
        let services = route.options.destinations.iter().flatten();
        let name = format!("llm-{provider}.internal.");
        services.into_iter().any(|destination| destination.host.starts_with(&name))
    };
    let same_hosts = usize::from(domains == hosts);
    let same_providers = providers.iter().filter(|(_, provider)| goes_to(provider)).count();
    // Who renames one object forgets the name inside it.
    let same_name = if json_name(record) == Some(name) { SAME_NAME } else { 0 };
    let similar_name = usize::from(closest(record.name, &[*name]).is_some());
    same_name + 2 * (same_hosts + same_providers) + similar_name
}

fn json_name<'r>(record: &'r AiRoute<'_>) -> Option<&'r str> {
    record.json()?.node.get("name")?.as_str()
}

/// The candidate with the greatest score; of several, none unless there is
/// a reason to prefer one.
fn best<T, S: Ord>(candidates: &[T], score: impl Fn(&T) -> S) -> Option<&T> {
    let mut scored: Vec<(S, &T)> = candidates.iter().map(|c| (score(c), c)).collect();
    scored.sort_by(|a, b| b.0.cmp(&a.0));
    match scored.as_slice() {
        [] => None,
        [(_, only)] => Some(only),
        [first, second, ..] => (first.0 > second.0).then_some(first.1),
    }
}

/// A finding about a resource as a whole, at its name.
fn at_name(resource: &Resource) -> Cursor<'_> {
    let root = resource.cursor();
    root.get("metadata").and_then(|metadata| metadata.get("name")).unwrap_or(root)
}

fn without_ingress(record: &AiRoute<'_>, counterpart: Option<&str>) -> Diagnostic {
    let diagnostic = at_name(record.resource).diagnostic(
        &AI_ROUTE_WITHOUT_INGRESS,
        format!("AI route `{}` has no Ingress `{}`", record.name, record.ingress_name()),
    );
    diagnostic.with_hint(match counterpart {
        Some(name) => {
            let also = match json_name(record) == Some(name) {
                true => String::new(),
                false => format!(" and set `name` in its JSON to `{name}`"),
            };
            format!(
                "rename it to `{AI_ROUTE_PREFIX}{name}`{also}: Ingress `{AI_ROUTE_PREFIX}{name}.internal` has no ConfigMap"
            )
        }
        None => format!("add the Ingress, or remove ConfigMap `{}`", record.resource.key.name),
    })
}

fn without_record(route: &Route<'_>, name: &str, counterpart: Option<&str>) -> Diagnostic {
    let diagnostic = at_name(route.resource).diagnostic(
        &INGRESS_WITHOUT_AI_ROUTE,
        format!("Ingress `{}` has no ConfigMap `{AI_ROUTE_PREFIX}{name}`", route.name),
    );
    diagnostic.with_hint(match counterpart {
        Some(other) => format!(
            "rename ConfigMap `{AI_ROUTE_PREFIX}{other}`, which has no Ingress, to `{AI_ROUTE_PREFIX}{name}`"
        ),
        None => format!("add ConfigMap `{AI_ROUTE_PREFIX}{name}`"),
    })
}

fn stray_fallback(route: &Route<'_>) -> Diagnostic {
    at_name(route.resource)
        .diagnostic(
            &INGRESS_WITHOUT_AI_ROUTE,
            format!("Ingress `{}` is the fallback of an AI route that does not exist", route.name),
        )
        .with_hint("remove it, or add the AI route")
}
