//! What crosses the things of an intent: names given twice, names that
//! nothing bears, keys that two consumers share.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};

use super::domain::Https;
use super::secret::SecretText;
use super::{Intent, Place};
use crate::diagnostic::{
    CREDENTIAL_SHARED, Diagnostic, INTENT_DUPLICATE, INTENT_REFERENCE, INVALID_VALUE, nearest,
};

pub(super) fn check(intent: &Intent, diagnostics: &mut Vec<Diagnostic>) {
    let domains = intent.domains.iter().map(|d| (d.name.to_string(), &d.place));
    report_duplicates("domain", domains, diagnostics);
    // Registry hosts are compared without case.
    let providers = intent.providers.iter().map(|p| (p.name.to_ascii_lowercase(), &p.place));
    report_duplicates("provider", providers, diagnostics);
    let consumers = intent.consumers.iter().map(|c| (c.name.to_string(), &c.place));
    report_duplicates("consumer", consumers, diagnostics);
    let routes = intent.ai_routes.iter().map(|r| (r.name.to_string(), &r.place));
    report_duplicates("AI route", routes, diagnostics);
    let sources = intent.service_sources.iter().map(|s| (s.name.to_ascii_lowercase(), &s.place));
    report_duplicates("service source", sources, diagnostics);
    check_providers_and_consumers(intent, diagnostics);
    check_route_names(intent, diagnostics);
    check_services(intent, diagnostics);
    check_credentials(intent, diagnostics);
    check_https(intent, diagnostics);
}

fn report_duplicates<'a>(
    what: &str,
    names: impl Iterator<Item = (String, &'a Place)>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut seen: HashMap<String, &Place> = HashMap::new();
    for (name, place) in names {
        if let Some(first) = seen.get(&name) {
            let message =
                format!("{what} `{name}` is given twice; the first is in {}", first.short());
            diagnostics.push(place.diagnostic(&INTENT_DUPLICATE, message));
        } else {
            seen.insert(name, place);
        }
    }
}

/// Names in hints cost a comparison with every known name.
const HINT_COMPARISONS_MAX: usize = 200_000;

/// Names to look up, with the nearest one for a hint.
struct Names<'a> {
    what: &'static str,
    plural: &'static str,
    known: HashSet<&'a str>,
    /// In the order of the intent, so that hints are the same every time.
    ordered: Vec<&'a str>,
    /// How many comparisons hints may still cost.
    budget: Cell<usize>,
}

impl<'a> Names<'a> {
    fn new(what: &'static str, plural: &'static str, names: impl Iterator<Item = &'a str>) -> Self {
        let ordered: Vec<&str> = names.collect();
        let known = ordered.iter().copied().collect();
        Self { what, plural, known, ordered, budget: Cell::new(HINT_COMPARISONS_MAX) }
    }

    fn check(&self, name: &str, place: &Place, diagnostics: &mut Vec<Diagnostic>) {
        if self.known.contains(name) {
            return;
        }
        let message = format!("there is no {} `{name}`", self.what);
        let budget = self.budget.get();
        self.budget.set(budget.saturating_sub(self.ordered.len()));
        let candidates = self.ordered.iter().copied().take(budget);
        let hint = match nearest(name, candidates) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => format!("add it to `{}`", self.plural),
        };
        diagnostics.push(place.diagnostic(&INTENT_REFERENCE, message).with_hint(hint));
    }
}

fn check_providers_and_consumers(intent: &Intent, diagnostics: &mut Vec<Diagnostic>) {
    let providers = Names::new("provider", "providers", intent.providers.iter().map(|p| &*p.name));
    let consumers = Names::new("consumer", "consumers", intent.consumers.iter().map(|c| &*c.name));
    for route in &intent.ai_routes {
        let fallback = route.fallback.as_ref().and_then(|fallback| fallback.upstreams.as_ref());
        for upstream in route.upstreams.iter().chain(fallback.into_iter().flatten()) {
            providers.check(&upstream.provider, &upstream.place, diagnostics);
        }
        let allowed = route.auth.as_ref().and_then(|auth| auth.consumers.as_ref());
        for (name, place) in allowed.into_iter().flatten() {
            consumers.check(name, place, diagnostics);
        }
    }
}

/// The Ingress of a route `a.fallback` is that of the fallback of `a`.
fn check_route_names(intent: &Intent, diagnostics: &mut Vec<Diagnostic>) {
    let names: HashMap<&str, &Place> =
        intent.ai_routes.iter().map(|route| (&*route.name, &route.place)).collect();
    for route in &intent.ai_routes {
        let Some(owner) = route.name.strip_suffix(".fallback") else { continue };
        if names.contains_key(owner) {
            let message = format!(
                "AI route `{}` would have the Ingress of the fallback of `{owner}`",
                route.name
            );
            diagnostics.push(route.place.diagnostic(&INTENT_DUPLICATE, message));
        }
    }
}

/// One service can be bound to one provider only.
fn check_services(intent: &Intent, diagnostics: &mut Vec<Diagnostic>) {
    let mut bound: HashMap<String, &str> = HashMap::new();
    for provider in &intent.providers {
        let host = provider.service_host();
        if let Some(other) = bound.insert(host.clone(), &provider.name)
            && other != &*provider.name
        {
            let message = format!("service `{host}` is already that of provider `{other}`");
            diagnostics.push(provider.place.diagnostic(&INVALID_VALUE, message));
        }
    }
}

/// Higress: plugins/wasm-cpp/extensions/key_auth/plugin.cc — one credential in
/// two consumers and the whole list of consumers is dropped.
fn check_credentials(intent: &Intent, diagnostics: &mut Vec<Diagnostic>) {
    let mut owners: HashMap<(&str, &SecretText), &str> = HashMap::new();
    for consumer in &intent.consumers {
        for value in &consumer.values {
            let other = owners.insert((consumer.prefix(), &value.text), &consumer.name);
            if let Some(other) = other.filter(|other| *other != &*consumer.name) {
                let message =
                    format!("consumers `{other}` and `{}` have the same key", consumer.name);
                diagnostics.push(value.place.diagnostic(&CREDENTIAL_SHARED, message));
            }
        }
    }
}

/// The console refuses a route whose domains speak HTTPS in different ways.
fn check_https(intent: &Intent, diagnostics: &mut Vec<Diagnostic>) {
    let https: HashMap<&str, Https> =
        intent.domains.iter().map(|domain| (&*domain.name, domain.https)).collect();
    for route in &intent.ai_routes {
        let domains = route.domains.as_deref().unwrap_or_default();
        let mut ways = domains.iter().map(|name| https.get(&**name).copied().unwrap_or_default());
        let Some(first) = ways.next() else { continue };
        if ways.any(|way| way != first) {
            let message =
                format!("the domains of AI route `{}` differ in `enableHttps`", route.name);
            let hint = "make them equal, or make one route for each";
            diagnostics.push(route.place.diagnostic(&INVALID_VALUE, message).with_hint(hint));
        }
    }
}
