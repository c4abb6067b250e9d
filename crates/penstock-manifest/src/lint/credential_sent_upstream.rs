//! Consumers' keys that ai-proxy passes on to a provider without tokens
//! (Higress: ai-proxy/provider/openai.go takes the credential of the request;
//! vllm, ollama and generic leave it in place).

use std::collections::BTreeSet;

use super::model::{Consumer, Model, Plugin, Provider, Request, listed};
use crate::diagnostic::{CREDENTIAL_SENT_UPSTREAM, Diagnostic};
use crate::node::Node;

/// The types that send the caller's own credential where they have no token.
const FORWARDING: &[&str] = &["generic", "ollama", "openai", "vllm"];
/// The headers that are taken for a credential.
const HEADERS: &[&str] = &["authorization", "x-api-key", "x-authorization"];

/// What reaches one provider.
#[derive(Default)]
struct Leak<'m> {
    consumers: BTreeSet<&'m str>,
    routes: BTreeSet<&'m str>,
}

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let leaks =
        |provider: &Provider<'_>| FORWARDING.contains(&provider.kind()) && !provider.has_tokens();
    if !model.providers.iter().any(leaks) {
        return;
    }
    let mut found: Vec<(&Provider<'_>, Leak<'_>)> = Vec::new();
    for route in &model.routes {
        for request in route.requests() {
            let Some(provider) = model.provider_for(&request).filter(|provider| leaks(provider))
            else {
                continue;
            };
            let place = match found.iter().position(|(known, _)| std::ptr::eq(*known, provider)) {
                Some(place) => place,
                None => {
                    found.push((provider, Leak::default()));
                    found.len() - 1
                }
            };
            let Some((_, leak)) = found.get_mut(place) else {
                continue;
            };
            for name in model.plugins_of("key-auth").flat_map(|p| authenticated(p, &request)) {
                leak.consumers.insert(name);
                leak.routes.insert(&route.name);
            }
        }
    }
    let found = found.iter().filter(|(_, leak)| !leak.consumers.is_empty());
    diagnostics.extend(found.map(|(provider, leak)| finding(provider, leak)));
}

/// The consumers that may pass and whose key stands where it is passed on.
fn authenticated<'a>(plugin: &Plugin<'a>, request: &Request<'_>) -> Vec<&'a str> {
    let rule = plugin.rule_for(request);
    let config = rule.and_then(|rule| rule.config.as_ref());
    let local = config.map(Consumer::all).unwrap_or_default();
    if !local.is_empty() {
        return names(local.iter());
    }
    match rule {
        None if is_global(plugin) => names(plugin.consumers.iter()),
        None => Vec::new(),
        Some(_) => {
            let allow = config.and_then(|config| config.node.get("allow")?.as_list());
            let allowed = allow.unwrap_or_default().iter().filter_map(Node::as_str);
            names(allowed.flat_map(|name| plugin.consumers_named(name)))
        }
    }
}

/// Whether requests that meet no rule need a credential.
fn is_global(plugin: &Plugin<'_>) -> bool {
    plugin.global_auth().unwrap_or(plugin.wasm.rules.is_empty())
}

fn names<'m, 'a: 'm>(consumers: impl Iterator<Item = &'m Consumer<'a>>) -> Vec<&'a str> {
    consumers.filter(|consumer| is_passed_on(consumer)).map(|consumer| consumer.name).collect()
}

fn is_passed_on(consumer: &Consumer<'_>) -> bool {
    consumer.in_header
        && consumer
            .keys
            .iter()
            .any(|key| HEADERS.iter().any(|header| key.eq_ignore_ascii_case(header)))
}

fn finding(provider: &Provider<'_>, leak: &Leak<'_>) -> Diagnostic {
    let consumers: Vec<&str> = leak.consumers.iter().copied().collect();
    let routes: Vec<&str> = leak.routes.iter().copied().collect();
    let (keys, are) = if consumers.len() == 1 { ("the key", "is") } else { ("the keys", "are") };
    let on = if routes.len() == 1 { "route" } else { "routes" };
    let hint = match provider.kind() {
        "ollama" => "let its consumers use another header: ollama sends no token of its own",
        _ => "give the provider `apiTokens`",
    };
    provider
        .entry
        .diagnostic(
            &CREDENTIAL_SENT_UPSTREAM,
            format!(
                "provider `{}` has no apiTokens, so {keys} of {} on {on} {} {are} sent to it",
                provider.id,
                listed(&consumers),
                listed(&routes)
            ),
        )
        .with_hint(hint)
}
