//! Consumers' keys that ai-proxy passes on to a provider without tokens
//! (Higress: ai-proxy/provider/openai.go takes the credential of the request;
//! vllm, ollama and generic leave it in place).

use super::model::{Consumer, Model, Plugin, Provider, Request, Route, listed};
use crate::diagnostic::{CREDENTIAL_SENT_UPSTREAM, Diagnostic};

/// The types that send the caller's own credential where they have no token.
const FORWARDING: &[&str] = &["generic", "ollama", "openai", "vllm"];
/// The headers that are taken for a credential.
const HEADERS: &[&str] = &["authorization", "x-api-key", "x-authorization"];

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for provider in &model.providers {
        if !FORWARDING.contains(&provider.kind()) || provider.has_tokens() {
            continue;
        }
        let mut consumers: Vec<&str> = Vec::new();
        let mut routes: Vec<&str> = Vec::new();
        for route in &model.routes {
            let sent = sent_to(model, route, provider);
            if !sent.is_empty() && !routes.contains(&route.name.as_str()) {
                routes.push(&route.name);
            }
            for name in sent {
                if !consumers.contains(&name) {
                    consumers.push(name);
                }
            }
        }
        if !consumers.is_empty() {
            diagnostics.push(finding(provider, &consumers, &routes));
        }
    }
}

/// The consumers whose key reaches the provider through a route.
fn sent_to<'a>(model: &Model<'a>, route: &Route<'_>, provider: &Provider<'_>) -> Vec<&'a str> {
    let mut names = Vec::new();
    for request in route.requests() {
        let active = model.provider_for(&request);
        if !active.is_some_and(|active| std::ptr::eq(active, provider)) {
            continue;
        }
        for plugin in model.plugins_of("key-auth") {
            names.extend(authenticated(plugin, &request));
        }
    }
    names
}

/// The consumers that may pass and whose key stands where it is passed on.
fn authenticated<'a>(plugin: &Plugin<'a>, request: &Request<'_>) -> Vec<&'a str> {
    let rule = plugin.rule_for(request);
    let config = rule.and_then(|rule| rule.config.as_ref());
    let local = config.map(Consumer::all).unwrap_or_default();
    let is_local = !local.is_empty();
    let consumers = if is_local { local } else { plugin.consumers() };
    let allow = config.and_then(|config| config.node.get("allow")?.as_list());
    let is_allowed = |name: &str| match rule {
        None => match plugin.global_auth() {
            Some(flag) => flag,
            None => plugin.wasm.rules.is_empty(),
        },
        Some(_) if is_local => true,
        Some(_) => allow.is_some_and(|list| list.iter().any(|item| item.as_str() == Some(name))),
    };
    consumers
        .into_iter()
        .filter(|consumer| is_allowed(consumer.name) && is_passed_on(consumer))
        .map(|consumer| consumer.name)
        .collect()
}

fn is_passed_on(consumer: &Consumer<'_>) -> bool {
    consumer.in_header
        && consumer
            .keys
            .iter()
            .any(|key| HEADERS.iter().any(|header| key.eq_ignore_ascii_case(header)))
}

fn finding(provider: &Provider<'_>, consumers: &[&str], routes: &[&str]) -> Diagnostic {
    let (noun, verb) =
        if consumers.len() == 1 { ("the key", "is") } else { ("the keys", "are") };
    let route = if routes.len() == 1 { "route" } else { "routes" };
    let hint = match provider.kind() {
        "ollama" => "let its consumers use another header: ollama sends no token of its own",
        _ => "give the provider `apiTokens`",
    };
    provider
        .entry
        .diagnostic(
            &CREDENTIAL_SENT_UPSTREAM,
            format!(
                "provider `{}` has no apiTokens, so {noun} of {} on {route} {} {verb} sent to it",
                provider.id,
                listed(consumers),
                listed(routes)
            ),
        )
        .with_hint(hint)
}
