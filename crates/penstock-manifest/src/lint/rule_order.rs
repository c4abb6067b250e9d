//! Match rules that can never apply. The first rule that matches wins
//! (Higress: pkg/matcher/rule_matcher.go), so a later one may be hidden; other
//! targets have a form that no request has.

use std::collections::HashMap;

use super::model::{
    Model, Plugin, Request, domain_covers, listed, matches, split_service, targets,
};
use crate::diagnostic::{Diagnostic, RULE_NEVER_MATCHES};
use crate::kind::wasm_plugin::MatchRule;

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for plugin in &model.plugins {
        let mut earlier = Taken::default();
        for rule in &plugin.wasm.rules {
            check_domains(rule, diagnostics);
            match earlier.hide(rule) {
                Some(hidden) => diagnostics.push(hidden),
                None => diagnostics.extend(unrelated(model, plugin, rule)),
            }
            earlier.add(rule);
        }
    }
}

/// A request's host has no port and no blank, and a pattern has its star at
/// one end.
fn check_domains(rule: &MatchRule<'_>, diagnostics: &mut Vec<Diagnostic>) {
    // A rule that names Ingresses ignores its domains.
    if !rule.ingress.is_empty() {
        return;
    }
    for (cursor, domain) in targets(rule, "domain") {
        let inner = domain.strip_prefix('*').unwrap_or(domain);
        let inner = inner.strip_suffix('*').unwrap_or(inner);
        let is_literal_address = domain.starts_with('[');
        let hint = if domain.contains("://") || domain.contains('/') {
            "write the host alone, without scheme and path"
        } else if domain.contains(':') && !is_literal_address {
            "write the host without a port"
        } else if inner.contains('*') || (domain.len() > 1 && is_double_star(domain)) {
            "write a star only at the beginning or only at the end"
        } else if domain.chars().any(char::is_whitespace) {
            "remove the blanks"
        } else {
            continue;
        };
        diagnostics.push(
            cursor
                .diagnostic(&RULE_NEVER_MATCHES, format!("no request has the host `{domain}`"))
                .with_hint(hint),
        );
    }
}

fn is_double_star(domain: &str) -> bool {
    domain.starts_with('*') && domain.ends_with('*')
}

/// One combination of targets that a rule applies to.
#[derive(Clone, Copy)]
enum Target<'r> {
    Route(&'r str),
    RouteAndService(&'r str, &'r str),
    Domain(&'r str),
    Service(&'r str),
}

/// The targets of a rule; none where the SDKs disagree about which it has.
fn targets_of<'r>(rule: &MatchRule<'r>) -> Vec<Target<'r>> {
    let (routes, domains, services) = (&rule.ingress, &rule.domain, &rule.service);
    match (routes.is_empty(), domains.is_empty(), services.is_empty()) {
        (false, _, true) => routes.iter().map(|route| Target::Route(route)).collect(),
        (false, _, false) => routes
            .iter()
            .flat_map(|route| {
                services.iter().map(move |service| Target::RouteAndService(route, service))
            })
            .collect(),
        (true, false, true) => domains.iter().map(|domain| Target::Domain(domain)).collect(),
        (true, true, false) => services.iter().map(|service| Target::Service(service)).collect(),
        _ => Vec::new(),
    }
}

/// What earlier rules take, each with the path of the first such rule.
#[derive(Default)]
struct Taken<'r> {
    routes: HashMap<&'r str, String>,
    /// By both names, with a line break between them.
    routes_and_services: HashMap<String, String>,
    services: HashMap<String, String>,
    domains: HashMap<&'r str, String>,
    /// Patterns with a star, which no look-up finds.
    patterns: Vec<(&'r str, String)>,
}

impl<'r> Taken<'r> {
    fn add(&mut self, rule: &MatchRule<'r>) {
        let path = || rule.cursor.path.to_string();
        for target in targets_of(rule) {
            match target {
                Target::Route(route) => drop(self.routes.entry(route).or_insert_with(path)),
                Target::RouteAndService(route, service) => {
                    let key = both(route, &service.to_ascii_lowercase());
                    self.routes_and_services.entry(key).or_insert_with(path);
                }
                Target::Service(service) => {
                    self.services.entry(service.to_ascii_lowercase()).or_insert_with(path);
                }
                Target::Domain(domain) if domain.contains('*') => {
                    self.patterns.push((domain, path()));
                }
                Target::Domain(domain) => {
                    self.domains.entry(domain).or_insert_with(path);
                }
            }
        }
    }

    /// The rule that takes every request of a target.
    fn by(&self, target: Target<'_>) -> Option<&String> {
        // A service is taken with its port, or for all of its ports.
        let forms = |service: &str| {
            let service = service.to_ascii_lowercase();
            let host = split_service(&service).0.to_owned();
            [service, host]
        };
        let by_service =
            |service: &str| forms(service).iter().find_map(|form| self.services.get(form));
        let special = match target {
            Target::Route(route) => self.routes.get(route),
            Target::Service(service) => by_service(service),
            Target::RouteAndService(route, service) => {
                self.routes.get(route).or_else(|| by_service(service)).or_else(|| {
                    forms(service)
                        .into_iter()
                        .find_map(|form| self.routes_and_services.get(&both(route, &form)))
                })
            }
            Target::Domain(domain) => self.domains.get(domain),
        };
        let covers = |pattern: &str| match target {
            Target::Domain(domain) => domain_covers(pattern, domain),
            _ => pattern == "*",
        };
        special.or_else(|| {
            let pattern = self.patterns.iter().find(|(pattern, _)| covers(pattern));
            pattern.map(|(_, path)| path)
        })
    }

    fn hide(&self, rule: &MatchRule<'_>) -> Option<Diagnostic> {
        let mut hiding: Vec<&String> = Vec::new();
        for target in targets_of(rule) {
            let by = self.by(target)?;
            if !hiding.contains(&by) {
                hiding.push(by);
            }
        }
        if hiding.is_empty() {
            return None;
        }
        Some(
            rule.cursor
                .diagnostic(
                    &RULE_NEVER_MATCHES,
                    format!(
                        "`{}` never applies: {} comes first and takes all of its requests",
                        rule.cursor.path,
                        listed(&hiding)
                    ),
                )
                .with_hint("remove one of them, or put the more specific one first"),
        )
    }
}

fn both(route: &str, service: &str) -> String {
    format!("{route}\n{service}")
}

/// A rule for a route and a service that the route does not use, as the
/// console leaves it behind when an upstream is taken out of a route.
fn unrelated(model: &Model<'_>, plugin: &Plugin<'_>, rule: &MatchRule<'_>) -> Option<Diagnostic> {
    if rule.ingress.is_empty() || rule.service.is_empty() {
        return None;
    }
    let mut services = Vec::new();
    for name in &rule.ingress {
        let route = model.route(name)?;
        if route.upstreams.is_empty() || route.upstreams.iter().any(|u| !u.is_certain) {
            return None;
        }
        let requests: Vec<Request<'_>> = route.requests();
        if requests.iter().any(|request| matches(rule, request, !plugin.wasm.is_cpp)) {
            return None;
        }
        services.extend(route.upstreams.iter().map(|upstream| upstream.host.as_str()));
    }
    Some(
        rule.cursor
            .diagnostic(
                &RULE_NEVER_MATCHES,
                format!(
                    "`{}` never applies: {} sends nothing to {}",
                    rule.cursor.path,
                    listed(&rule.ingress),
                    listed(&rule.service)
                ),
            )
            .with_hint(format!("remove it, or name {} instead", listed(&services))),
    )
}
