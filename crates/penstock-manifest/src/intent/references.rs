//! What crosses the things of an intent: names given twice, names that
//! nothing bears, keys that two consumers share.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{HashMap, HashSet};

use super::domain::Https;
use super::secret::SecretText;
use super::{Intent, Place};
use crate::diagnostic::{
    CREDENTIAL_SHARED, Diagnostic, INTENT_DUPLICATE, INTENT_REFERENCE, INVALID_VALUE, nearest,
};

/// The names of things with errors of their own, which are told once.
#[derive(Default)]
pub(super) struct Broken {
    pub(super) domains: HashSet<Box<str>>,
    pub(super) providers: HashSet<Box<str>>,
    pub(super) consumers: HashSet<Box<str>>,
}

pub(super) fn check(intent: &Intent, broken: &Broken, diagnostics: &mut Vec<Diagnostic>) {
    let domains = intent.domains.iter().map(|d| (&*d.name, &d.place));
    report_duplicates("domain", Case::Counts, domains, diagnostics);
    // Registry hosts are compared without case.
    let providers = intent.providers.iter().map(|p| (&*p.name, &p.place));
    report_duplicates("provider", Case::Ignored, providers, diagnostics);
    let consumers = intent.consumers.iter().map(|c| (&*c.name, &c.place));
    report_duplicates("consumer", Case::Counts, consumers, diagnostics);
    let routes = intent.ai_routes.iter().map(|r| (&*r.name, &r.place));
    report_duplicates("AI route", Case::Counts, routes, diagnostics);
    let sources = intent.service_sources.iter().map(|s| (&*s.name, &s.place));
    report_duplicates("service source", Case::Ignored, sources, diagnostics);
    check_providers_and_consumers(intent, broken, diagnostics);
    check_route_names(intent, diagnostics);
    check_services(intent, diagnostics);
    check_credentials(intent, diagnostics);
    check_https(intent, broken, diagnostics);
}

/// Whether names that differ in case alone are different.
#[derive(Clone, Copy, PartialEq)]
enum Case {
    Counts,
    Ignored,
}

fn report_duplicates<'a>(
    what: &str,
    case: Case,
    names: impl Iterator<Item = (&'a str, &'a Place)>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut seen: HashMap<Cow<'_, str>, (&str, &Place)> = HashMap::new();
    for (name, place) in names {
        let key = match case {
            Case::Counts => Cow::Borrowed(name),
            Case::Ignored => Cow::Owned(name.to_ascii_lowercase()),
        };
        let Some((first, first_place)) = seen.get(&key) else {
            seen.insert(key, (name, place));
            continue;
        };
        let at = first_place.short();
        let message = match *first == name {
            true => format!("{what} `{name}` is given twice; the first is in {at}"),
            false => format!(
                "{what} `{name}` is given twice: `{first}` in {at} is the same name, because case does not count"
            ),
        };
        diagnostics.push(place.diagnostic(&INTENT_DUPLICATE, message));
    }
}

/// Names in hints cost a comparison with every known name.
const HINT_COMPARISONS_MAX: usize = 200_000;

/// Names to look up, with the nearest one for a hint.
struct Names<'a> {
    what: &'static str,
    plural: &'static str,
    known: HashSet<&'a str>,
    broken: &'a HashSet<Box<str>>,
    /// In the order of the intent, so that hints are the same every time.
    ordered: Vec<&'a str>,
    /// How many comparisons hints may still cost.
    budget: Cell<usize>,
}

impl<'a> Names<'a> {
    fn new(
        what: &'static str,
        plural: &'static str,
        names: impl Iterator<Item = &'a str>,
        broken: &'a HashSet<Box<str>>,
    ) -> Self {
        let ordered: Vec<&str> = names.collect();
        let known = ordered.iter().copied().collect();
        Self { what, plural, known, broken, ordered, budget: Cell::new(HINT_COMPARISONS_MAX) }
    }

    fn check(&self, name: &str, place: &Place, diagnostics: &mut Vec<Diagnostic>) {
        if self.known.contains(name) || self.broken.contains(name) {
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

fn check_providers_and_consumers(
    intent: &Intent,
    broken: &Broken,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let names = intent.providers.iter().map(|provider| &*provider.name);
    let providers = Names::new("provider", "providers", names, &broken.providers);
    let names = intent.consumers.iter().map(|consumer| &*consumer.name);
    let consumers = Names::new("consumer", "consumers", names, &broken.consumers);
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
fn check_https(intent: &Intent, broken: &Broken, diagnostics: &mut Vec<Diagnostic>) {
    let https: HashMap<&str, Https> =
        intent.domains.iter().map(|domain| (&*domain.name, domain.https)).collect();
    for route in &intent.ai_routes {
        let domains = route.domains.as_deref().unwrap_or_default();
        if domains.iter().any(|name| broken.domains.contains(name)) {
            continue;
        }
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
