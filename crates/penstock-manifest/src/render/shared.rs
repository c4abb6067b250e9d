//! The objects that all providers, consumers and routes share: McpBridge
//! `default` and the plugins.

use std::collections::HashSet;

use super::Options;
use super::ai_route::Routes;
use super::catalogue::{AI_PROXY, AI_STATISTICS, Config, KEY_AUTH, MODEL_MAPPER, MODEL_ROUTER};
use super::credential::PLACEHOLDER_TOKEN;
use super::object::{Draft, flag, int, list, map, text, texts};
use crate::diagnostic::{Diagnostic, REGISTRY_INVALID, Severity};
use crate::intent::ai_route::MODEL_HEADER;
use crate::intent::consumer::KeySource;
use crate::intent::{AiRoute, Consumer, Endpoint, Intent, LlmProvider, ServiceSource};
use crate::kind::mcp_bridge::is_domain_name;
use crate::node::{Node, Value};
use crate::resource::Resource;

const FAIL_OPEN: &str = "FAIL_OPEN";

/// What an authentication says, and whatever stands between a consumer's key
/// and a provider.
fn fail_strategy(options: &Options) -> &'static str {
    if options.console_exact { FAIL_OPEN } else { "FAIL_CLOSE" }
}

pub(super) fn mcp_bridge(
    intent: &Intent,
    options: &Options,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Resource> {
    let mut registries: Vec<Node> = intent.service_sources.iter().map(source_registry).collect();
    let mut has_vertex = false;
    for provider in &intent.providers {
        registries.extend(provider_registry(provider, options, diagnostics));
        if &*provider.kind == "vertex" && !has_vertex {
            has_vertex = true;
            registries.push(vertex_registry(provider));
        }
    }
    if registries.is_empty() {
        return None;
    }
    let spec = map([("proxies", list([])), ("registries", list(registries))]);
    Some(Draft::new("McpBridge", "default").finish([("spec", spec)]))
}

fn source_registry(source: &ServiceSource) -> Node {
    let mut entry = vec![
        ("name", text(&source.name)),
        ("type", text(&source.kind)),
        ("domain", text(&source.domain)),
        ("port", int(source.port)),
    ];
    let optional =
        [("protocol", &source.protocol), ("sni", &source.sni), ("proxyName", &source.proxy_name)];
    entry
        .extend(optional.into_iter().filter_map(|(key, value)| Some((key, text(value.as_ref()?)))));
    map(entry)
}

fn provider_registry(
    provider: &LlmProvider,
    options: &Options,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Node> {
    let Endpoint::Registry { kind, domain, port, protocol } = &provider.endpoint else {
        return None;
    };
    if *kind == "dns" && !is_domain_name(domain) {
        let message = format!("Higress publishes nothing for the host `{domain}`");
        let severity = if options.console_exact { Severity::Warning } else { Severity::Error };
        diagnostics.push(
            provider
                .place
                .diagnostic(&REGISTRY_INVALID, message)
                .with_severity(severity)
                .with_hint(
                    "use a name with a dot and an alphabetic last label, or an IPv4 address",
                ),
        );
    }
    let name = provider.registry_name();
    let mut entry = vec![
        ("name", text(name)),
        ("type", text(kind)),
        ("domain", text(domain)),
        ("port", int(i64::from(*port))),
        ("protocol", text(protocol)),
    ];
    entry.extend(provider.proxy_name.as_ref().map(|name| ("proxyName", text(name))));
    Some(map(entry))
}

/// Shared by all providers of that type.
fn vertex_registry(provider: &LlmProvider) -> Node {
    let mut entry = vec![
        ("name", text("vertex-auth.internal")),
        ("type", text("dns")),
        ("domain", text("oauth2.googleapis.com")),
        ("port", int(443)),
        ("protocol", text("https")),
    ];
    entry.extend(provider.proxy_name.as_ref().map(|name| ("proxyName", text(name))));
    map(entry)
}

pub(super) fn ai_proxy(
    intent: &Intent,
    options: &Options,
    placeholders: &HashSet<&str>,
) -> Option<Resource> {
    if intent.providers.is_empty() {
        return None;
    }
    let entry =
        |provider: &LlmProvider| provider_entry(provider, placeholders.contains(&*provider.name));
    let mut rules: Vec<&LlmProvider> = intent.providers.iter().collect();
    rules.sort_by_cached_key(|provider| provider.service_host());
    Some(AI_PROXY.internal(Config {
        default: Some(map([("providers", list(intent.providers.iter().map(entry)))])),
        rules: rules.into_iter().map(provider_rule).collect(),
        fail_strategy: fail_strategy(options),
    }))
}

/// The keys of an entry that are not the provider's own settings.
const ENTRY_KEYS: &[&str] = &["id", "type", "protocol", "apiTokens", "failover", "retryOnFailure"];

fn provider_entry(provider: &LlmProvider, needs_placeholder: bool) -> Node {
    let protocol = if provider.is_original { "original" } else { "openai" };
    let mut entry = vec![
        ("id".into(), text(&provider.name)),
        ("type".into(), text(&provider.kind)),
        ("protocol".into(), text(protocol)),
    ];
    let secret = provider.secret_name();
    let tokens: Vec<String> = provider
        .tokens
        .iter()
        .enumerate()
        .map(|(index, token)| token.text.in_manifest(&secret, &format!("token-{index}")))
        .collect();
    if needs_placeholder {
        entry.push(("apiTokens".into(), texts([PLACEHOLDER_TOKEN])));
    } else if !tokens.is_empty() {
        entry.push(("apiTokens".into(), texts(tokens)));
    }
    if let Some(failover) = &provider.failover {
        entry.push(("failover".into(), Node::synthetic(Value::Map(failover.clone()))));
        let retry = failover.get("enabled").map(|enabled| ("enabled", enabled.clone()));
        entry.push(("retryOnFailure".into(), map(retry)));
    }
    let raw = provider.raw_in_manifest();
    let raw = raw.entries.iter().filter(|raw| !ENTRY_KEYS.contains(&&*raw.key));
    entry.extend(raw.map(|raw| (raw.key.clone(), crate::schema::without_positions(&raw.node))));
    map::<Box<str>>(entry)
}

fn provider_rule(provider: &LlmProvider) -> Node {
    map([
        ("service", texts([provider.service_host()])),
        ("config", map([("activeProviderId", text(&provider.name))])),
        ("configDisable", flag(false)),
    ])
}

pub(super) fn key_auth(intent: &Intent, options: &Options) -> Option<Resource> {
    let is_used = intent.ai_routes.iter().any(AiRoute::is_protected);
    if intent.ai_routes.is_empty() && intent.consumers.is_empty() {
        return None;
    }
    let default = (is_used || !intent.consumers.is_empty()).then(|| {
        map([
            ("allow", list([])),
            ("consumers", list(intent.consumers.iter().map(consumer_entry))),
            ("global_auth", flag(false)),
            ("keys", texts(["x-higress-dummy-key"])),
        ])
    });
    Some(KEY_AUTH.internal(Config {
        default,
        rules: by_ingress(intent, |route, ingress| Some(allow_rule(route, ingress))),
        fail_strategy: fail_strategy(options),
    }))
}

fn consumer_entry(consumer: &Consumer) -> Node {
    let (key, in_header) = match &consumer.source {
        KeySource::Bearer => ("Authorization", true),
        KeySource::Header(key) => (&**key, true),
        KeySource::Query(key) => (&**key, false),
    };
    let secret = consumer.secret_name();
    let credentials = consumer.values.iter().enumerate().map(|(index, value)| {
        format!("{}{}", consumer.prefix(), value.text.in_manifest(&secret, &format!("key-{index}")))
    });
    map([
        ("name", text(&consumer.name)),
        ("keys", texts([key])),
        ("credentials", texts(credentials)),
        ("in_header", flag(in_header)),
        ("in_query", flag(!in_header)),
    ])
}

/// One rule per route, also where it asks for no authentication.
fn allow_rule(route: &AiRoute, ingress: String) -> Node {
    let auth = route.auth.as_ref();
    let given = auth.and_then(|auth| auth.consumers.as_ref());
    let names = given.map(|names| texts(names.iter().map(|(name, _)| name)));
    let names = names.or_else(|| route.is_protected().then(|| list([])));
    map([
        ("ingress", texts([ingress])),
        ("config", map(names.map(|names| ("allow", names)))),
        ("configDisable", flag(!route.is_protected())),
    ])
}

/// A rule for each Ingress of each route, in the order of the console: by
/// the Ingress.
fn by_ingress(intent: &Intent, rule: fn(&AiRoute, String) -> Option<Node>) -> Vec<Node> {
    let mut ingresses: Vec<(String, &AiRoute)> = Vec::new();
    for route in &intent.ai_routes {
        ingresses.push((route.ingress_name(), route));
        if route.active_fallback().is_some() {
            ingresses.push((route.fallback_ingress_name(), route));
        }
    }
    ingresses.sort_by(|a, b| a.0.cmp(&b.0));
    ingresses.into_iter().filter_map(|(ingress, route)| rule(route, ingress)).collect()
}

pub(super) fn model_router(intent: &Intent) -> Option<Resource> {
    let has_models = |route: &AiRoute| route.models.as_ref().is_some_and(|list| !list.is_empty());
    intent.ai_routes.iter().any(has_models).then(|| {
        MODEL_ROUTER.internal(Config {
            default: Some(map([("modelToHeader", text(MODEL_HEADER))])),
            rules: Vec::new(),
            fail_strategy: FAIL_OPEN,
        })
    })
}

pub(super) fn model_mapper(routes: &Routes<'_>) -> Option<Resource> {
    let mut mappings = routes.mappings();
    mappings.sort_by(|a, b| (&a.service, &a.ingress).cmp(&(&b.service, &b.ingress)));
    if mappings.is_empty() {
        return None;
    }
    let rules = mappings.into_iter().map(|mapping| {
        let models = mapping.models.iter().map(|(from, to)| (from, text(to)));
        map([
            ("service", texts([mapping.service])),
            ("ingress", texts([mapping.ingress])),
            ("config", map([("modelMapping", map(models))])),
            ("configDisable", flag(false)),
        ])
    });
    Some(MODEL_MAPPER.internal(Config {
        default: None,
        rules: rules.collect(),
        fail_strategy: FAIL_OPEN,
    }))
}

pub(super) fn ai_statistics(intent: &Intent) -> Option<Resource> {
    let rule = |_: &AiRoute, ingress: String| {
        Some(map([
            ("ingress", texts([ingress])),
            ("config", map([("use_default_response_attributes", flag(true))])),
            ("configDisable", flag(false)),
        ]))
    };
    let rules = by_ingress(intent, rule);
    (!rules.is_empty()).then(|| {
        AI_STATISTICS.user_visible(Config { default: None, rules, fail_strategy: FAIL_OPEN })
    })
}
