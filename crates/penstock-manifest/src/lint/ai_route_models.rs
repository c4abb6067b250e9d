//! AI routes that depend on models: conditions on the model need model-router,
//! and a model mapping needs its rule in model-mapper.

use super::model::{AiRoute, Model, Request};
use crate::diagnostic::{AI_ROUTE_MODELS, Diagnostic};
use crate::node::{Cursor, Node};

/// The header that model-router fills from the body.
const MODEL_HEADER: &str = "x-higress-llm-model";

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for ai_route in &model.ai_routes {
        diagnostics.extend(check_predicates(model, ai_route));
        check_mappings(model, ai_route, diagnostics);
    }
}

fn check_predicates(model: &Model<'_>, ai_route: &AiRoute<'_>) -> Option<Diagnostic> {
    let json = ai_route.json()?;
    let predicates = json.get("modelPredicates")?;
    predicates.items().next()?;
    let is_routed = model.plugins_of("model-router").any(|plugin| {
        let header = plugin.wasm.default_config.as_ref().and_then(|c| c.get("modelToHeader"));
        header.is_some_and(|header| {
            header.node.as_str().is_some_and(|text| text.eq_ignore_ascii_case(MODEL_HEADER))
        })
    });
    if is_routed || model.is_plugin_unclear("model-router") {
        return None;
    }
    Some(
        predicates
            .diagnostic(
                &AI_ROUTE_MODELS,
                format!(
                    "AI route `{}` is chosen by model, but no model-router tells the model",
                    ai_route.name
                ),
            )
            .with_hint(format!(
                "add a model-router WasmPlugin with `modelToHeader: {MODEL_HEADER}`"
            )),
    )
}

fn check_mappings(model: &Model<'_>, ai_route: &AiRoute<'_>, diagnostics: &mut Vec<Diagnostic>) {
    if model.is_plugin_unclear("model-mapper") {
        return;
    }
    let Some(route) = model.route_of(ai_route) else {
        return;
    };
    for (upstream, provider) in ai_route.upstreams() {
        let Some(mapping) = upstream.get("modelMapping").filter(is_filled) else {
            continue;
        };
        let requests = route.requests();
        let to_provider: Vec<&Request<'_>> = requests
            .iter()
            .filter(|request| model.provider_for(request).is_some_and(|p| p.id == provider))
            .collect();
        let is_mapped = |request: &&Request<'_>| {
            model.plugins_of("model-mapper").any(|plugin| {
                plugin.rule_for(request).is_some() || plugin.wasm.default_config.is_some()
            })
        };
        if to_provider.is_empty() || to_provider.iter().all(is_mapped) {
            continue;
        }
        diagnostics.push(
            mapping
                .diagnostic(
                    &AI_ROUTE_MODELS,
                    format!("no model-mapper rule maps the models of provider `{provider}`"),
                )
                .with_hint(format!(
                    "add a rule with `ingress: [{}]` and the provider's service to model-mapper",
                    route.name
                )),
        );
    }
}

fn is_filled(mapping: &Cursor<'_>) -> bool {
    Node::as_map(mapping.node).is_some_and(|map| !map.entries.is_empty())
}
