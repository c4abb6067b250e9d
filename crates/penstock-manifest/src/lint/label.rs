//! Labels without which the console does not list an object.

use super::model::{Model, listed};
use crate::diagnostic::{Diagnostic, MISSING_LABEL};
use crate::kind::config_map::INTERNAL_SUFFIX;
use crate::resource::{Resource, SYSTEM_NAMESPACE};

const DEFINER: (&str, Option<&str>) = ("higress.io/resource-definer", Some("higress"));
/// What a WasmPlugin of the console carries; a value of `None` may be any.
const OF_PLUGIN: &[(&str, Option<&str>)] = &[
    DEFINER,
    ("higress.io/wasm-plugin-name", None),
    ("higress.io/wasm-plugin-version", None),
    ("higress.io/wasm-plugin-built-in", None),
];
/// The type of a domain's ConfigMap is written, but not looked at.
const OF_DOMAIN: &[(&str, Option<&str>)] = &[DEFINER];
const OF_AI_ROUTE: &[(&str, Option<&str>)] =
    &[DEFINER, ("higress.io/config-map-type", Some("ai-route"))];
const OF_INGRESS: &[(&str, Option<&str>)] = &[DEFINER];

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for domain in &model.domains {
        diagnostics.extend(check(domain.resource, OF_DOMAIN));
    }
    for ai_route in &model.ai_routes {
        diagnostics.extend(check(ai_route.resource, OF_AI_ROUTE));
    }
    for resource in model.resources {
        let key = &resource.key;
        if &*key.namespace != SYSTEM_NAMESPACE {
            continue;
        }
        let wanted = match &*key.kind {
            "Ingress" if model.part_of(&key.name).is_some() => OF_INGRESS,
            "WasmPlugin" if key.name.ends_with(INTERNAL_SUFFIX) => OF_PLUGIN,
            _ => continue,
        };
        diagnostics.extend(check(resource, wanted));
    }
}

fn check(resource: &Resource, wanted: &[(&str, Option<&str>)]) -> Option<Diagnostic> {
    let metadata = resource.cursor().get("metadata");
    let labels = metadata.as_ref().and_then(|metadata| metadata.get("labels"));
    let is_there = |key: &str, value: Option<&str>| {
        let label = labels.as_ref().and_then(|labels| labels.node.get(key));
        label.is_some_and(|label| value.is_none() || label.as_str() == value)
    };
    let missing: Vec<String> = wanted
        .iter()
        .filter(|(key, value)| !is_there(key, *value))
        .map(|(key, value)| match value {
            Some(value) => format!("{key}: {value}"),
            None => (*key).to_owned(),
        })
        .collect();
    if missing.is_empty() {
        return None;
    }
    let name = metadata.as_ref().and_then(|metadata| metadata.get("name"));
    let place = labels.or(name).or(metadata).unwrap_or_else(|| resource.cursor());
    let noun = if missing.len() == 1 { "label" } else { "labels" };
    Some(
        place
            .diagnostic(
                &MISSING_LABEL,
                format!("the console does not list {} without its {noun}", resource.key),
            )
            .with_hint(format!("add the {noun} {}", listed(&missing))),
    )
}
