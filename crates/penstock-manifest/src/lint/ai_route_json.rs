//! The JSON of an AI route against its own ConfigMap, its Ingress' hosts and
//! the providers.

use std::collections::BTreeSet;

use super::model::{AiRoute, Candidates, Model, Route};
use crate::diagnostic::{
    AI_ROUTE_DOMAINS, AI_ROUTE_NAME, AI_ROUTE_PROVIDER, AI_ROUTE_VERSION, Diagnostic,
};
use crate::kind::config_map::{AI_ROUTE_PREFIX, INTERNAL_SUFFIX};
use crate::node::Cursor;

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let providers = Candidates::new(model.providers.iter().map(|provider| provider.id.as_str()));
    for ai_route in &model.ai_routes {
        // What cannot be read is said here as it is where routes are closed
        // because of it: in the same words, so that it is said once.
        diagnostics.extend(ai_route.findings.iter().cloned());
        let Some(json) = ai_route.json() else {
            continue;
        };
        diagnostics.extend(check_name(model, ai_route, &json));
        diagnostics.extend(check_version(&json));
        if let Some(route) = model.route_of(ai_route) {
            check_domains(model, ai_route, route, &json, diagnostics);
        }
        check_providers(model, ai_route, &providers, diagnostics);
    }
}

fn check_name(model: &Model<'_>, ai_route: &AiRoute<'_>, json: &Cursor<'_>) -> Option<Diagnostic> {
    let name = json.get("name")?;
    let text = name.node.as_str()?;
    if text == ai_route.name {
        return None;
    }
    // The one of the two names that has an Ingress is the right one.
    let has_ingress =
        |name: &str| model.route(&format!("{AI_ROUTE_PREFIX}{name}{INTERNAL_SUFFIX}")).is_some();
    let hint = match has_ingress(text) && !has_ingress(ai_route.name) {
        true => format!("rename the ConfigMap to `{AI_ROUTE_PREFIX}{text}`"),
        false => format!("write `{}`", ai_route.name),
    };
    Some(
        name.diagnostic(
            &AI_ROUTE_NAME,
            format!("ConfigMap `{}` names the AI route `{text}`", ai_route.resource.key.name),
        )
        .with_hint(hint),
    )
}

fn check_version(json: &Cursor<'_>) -> Option<Diagnostic> {
    let map = json.node.as_map()?;
    let entry = map.entry("version")?;
    let version = json.child("version", &entry.node);
    let mut finding = version
        .diagnostic(&AI_ROUTE_VERSION, "the JSON has a `version`, which the console ignores")
        .with_hint("remove it: the ConfigMap's resourceVersion counts");
    (finding.line, finding.column) = (entry.key_at.line, entry.key_at.column);
    Some(finding)
}

/// One finding for each domain that is no host; one for the list where only
/// hosts are missing from it.
fn check_domains(
    model: &Model<'_>,
    ai_route: &AiRoute<'_>,
    route: &Route<'_>,
    json: &Cursor<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let domains = ai_route.domains();
    let hosts = route.host_names();
    let asked: BTreeSet<&str> = domains.iter().map(String::as_str).collect();
    let has: BTreeSet<&str> = hosts.iter().copied().collect();
    if asked == has {
        return;
    }
    let shown = |names: &BTreeSet<&str>| {
        let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        format!("[{}]", quoted.join(","))
    };
    // The domains are right if the console knows them and not the hosts.
    let knows = |names: &BTreeSet<&str>| names.iter().all(|name| model.has_domain(name));
    let is_host_wrong = !asked.is_empty() && knows(&asked) && !knows(&has);
    let hint = match (is_host_wrong, asked.difference(&has).next()) {
        (true, Some(domain)) => format!("give Ingress `{}` the host `{domain}`", route.name),
        _ => format!("write `{}`, or change the hosts of `{}`", shown(&has), route.name),
    };
    let list = json.get("domains");
    let stray = list.iter().flat_map(|list| list.items().collect::<Vec<_>>()).find(|item| {
        item.node.as_str().is_some_and(|text| !has.contains(&*text.to_ascii_lowercase()))
    });
    let place = stray.or(list).unwrap_or_else(|| json.clone());
    diagnostics.push(
        place
            .diagnostic(
                &AI_ROUTE_DOMAINS,
                format!(
                    "the domains `{}` are not the hosts `{}` of Ingress `{}`",
                    shown(&asked),
                    shown(&has),
                    route.name
                ),
            )
            .with_hint(hint),
    );
}

fn check_providers(
    model: &Model<'_>,
    ai_route: &AiRoute<'_>,
    known: &Candidates<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    if known.names.is_empty() && model.is_plugin_unclear("ai-proxy") {
        return;
    }
    let fallback = ai_route.fallback_upstreams();
    for (upstream, name) in ai_route.upstreams().into_iter().chain(fallback) {
        if known.contains(name) {
            continue;
        }
        let place = upstream.get("provider").unwrap_or(upstream);
        let message = match known.names.as_slice() {
            [] => format!("there is no provider `{name}`: ai-proxy has none at all"),
            _ => format!("ai-proxy has no provider `{name}`"),
        };
        let diagnostic = place.diagnostic(&AI_ROUTE_PROVIDER, message);
        diagnostics.push(match known.did_you_mean(name) {
            Some(hint) => diagnostic.with_hint(hint),
            None => diagnostic.with_hint("add the provider to ai-proxy"),
        });
    }
}
