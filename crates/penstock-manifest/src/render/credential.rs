//! Consumers' keys that would reach a provider, and what the safe form does
//! about it.
//!
//! Without `apiTokens`, ai-proxy takes the provider's credential from the
//! request, and behind key-auth that is the consumer's key
//! (Higress: ai-proxy/provider/openai.go). A placeholder token stops that for
//! every type that sends tokens, on whichever route the provider is used and
//! whatever other upstreams the route has; removing the header on the route
//! would also remove the tokens of those.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::Options;
use crate::diagnostic::{Diagnostic, INTENT_CREDENTIAL_FORWARDED, Severity};
use crate::intent::consumer::KeySource;
use crate::intent::{AiRoute, Consumer, Intent, LlmProvider};

/// What is sent to a provider that has no tokens instead of a consumer's key.
pub const PLACEHOLDER_TOKEN: &str = "penstock-no-token";

/// The types that send the caller's own credential where they have no token.
const FORWARDING: &[&str] = &["generic", "ollama", "openai", "vllm"];
/// The one of them that sends no token of its own either.
const TOKENLESS: &str = "ollama";
/// The headers that are taken for a credential.
const HEADERS: &[&str] = &["authorization", "x-api-key", "x-authorization"];

/// The providers that get the placeholder, by name.
pub(super) fn check<'a>(
    intent: &'a Intent,
    options: &Options,
    diagnostics: &mut Vec<Diagnostic>,
) -> HashSet<&'a str> {
    let forwarding: HashMap<&str, &LlmProvider> = intent
        .providers
        .iter()
        .filter(|provider| provider.tokens.is_empty() && FORWARDING.contains(&&*provider.kind))
        .map(|provider| (&*provider.name, provider))
        .collect();
    let consumers: HashMap<&str, &Consumer> =
        intent.consumers.iter().map(|consumer| (&*consumer.name, consumer)).collect();
    let mut leaking: BTreeSet<&str> = BTreeSet::new();
    let mut open: HashMap<&str, &AiRoute> = HashMap::new();
    let mut exposed: BTreeSet<&str> = BTreeSet::new();
    for route in &intent.ai_routes {
        let allowed = route.auth.as_ref().filter(|auth| auth.is_enabled);
        let allowed = allowed.and_then(|auth| auth.consumers.as_deref()).unwrap_or_default();
        let allowed = || allowed.iter().filter_map(|(name, _)| consumers.get(&**name).copied());
        exposed.extend(allowed().filter(|c| is_exposed(c)).map(|c| &*c.name));
        if route.is_protected() && !allowed().any(is_taken) {
            continue;
        }
        let fallback = route.active_fallback().map(|fallback| fallback.used());
        for upstream in route.upstreams.iter().chain(fallback.unwrap_or_default()) {
            let Some((name, _)) = forwarding.get_key_value(&*upstream.provider) else { continue };
            if route.is_protected() {
                leaking.insert(name);
            } else {
                open.entry(name).or_insert(route);
            }
        }
    }
    let exposed = exposed.iter().filter_map(|name| consumers.get(name));
    diagnostics.extend(exposed.map(|consumer| exposed_key(consumer)));
    let mut placeholders = HashSet::new();
    for name in leaking {
        let Some(provider) = forwarding.get(name) else { continue };
        if options.console_exact || &*provider.kind == TOKENLESS {
            diagnostics.push(leak(provider, options));
            continue;
        }
        placeholders.insert(name);
        diagnostics.extend(open.get(name).map(|route| shut(provider, route)));
    }
    placeholders
}

/// Whether ai-proxy takes a consumer's key for the provider's credential.
fn is_taken(consumer: &Consumer) -> bool {
    match &consumer.source {
        KeySource::Bearer => true,
        KeySource::Header(key) => HEADERS.iter().any(|header| key.eq_ignore_ascii_case(header)),
        KeySource::Query(_) => false,
    }
}

/// Whether a consumer's key stands where nothing replaces it.
fn is_exposed(consumer: &Consumer) -> bool {
    match &consumer.source {
        KeySource::Bearer => false,
        KeySource::Header(key) => !key.eq_ignore_ascii_case("authorization"),
        KeySource::Query(_) => true,
    }
}

fn exposed_key(consumer: &Consumer) -> Diagnostic {
    let (what, key) = match &consumer.source {
        KeySource::Query(key) => ("parameter", &**key),
        KeySource::Header(key) => ("header", &**key),
        KeySource::Bearer => ("header", "Authorization"),
    };
    let message = format!(
        "the key of consumer `{}` stands in the {what} `{key}`, which goes to the provider as it is",
        consumer.name
    );
    consumer
        .place
        .diagnostic(&INTENT_CREDENTIAL_FORWARDED, message)
        .with_severity(Severity::Warning)
        .with_hint("use source BEARER: the provider's token replaces it")
}

fn leak(provider: &LlmProvider, options: &Options) -> Diagnostic {
    let message = format!(
        "provider `{}` has no tokens, so the keys of its consumers are sent to it",
        provider.name
    );
    let found = provider.place.diagnostic(&INTENT_CREDENTIAL_FORWARDED, message);
    if options.console_exact {
        found
            .with_severity(Severity::Warning)
            .with_hint("give it `tokens`, or leave --console-exact away")
    } else {
        found.with_hint("type `ollama` sends no token: let its consumers use another header, or use type `openai` with `openaiCustomUrl`")
    }
}

fn shut(provider: &LlmProvider, route: &AiRoute) -> Diagnostic {
    let message = format!(
        "provider `{}` gets a placeholder for a token, so clients of the open AI route `{}` cannot send it a key of their own",
        provider.name, route.name
    );
    provider
        .place
        .diagnostic(&INTENT_CREDENTIAL_FORWARDED, message)
        .with_severity(Severity::Warning)
        .with_hint("use a second provider for that route")
}
