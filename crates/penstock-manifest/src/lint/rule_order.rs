//! Match rules that can never apply. The first rule that matches wins
//! (Higress: pkg/matcher/rule_matcher.go), so a later one may be hidden; other
//! targets have a form that no request has.

use super::model::{Model, Plugin, Request, domain_covers, matches, service_covers, targets};
use crate::diagnostic::{Diagnostic, RULE_NEVER_MATCHES};
use crate::kind::wasm_plugin::MatchRule;

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for plugin in &model.plugins {
        let rules = &plugin.wasm.rules;
        for (index, rule) in rules.iter().enumerate() {
            check_domains(rule, diagnostics);
            let earlier = rules.get(..index).unwrap_or_default();
            if let Some(hidden) = hidden_by(rule, earlier) {
                diagnostics.push(hidden);
            } else {
                diagnostics.extend(unrelated(model, plugin, rule));
            }
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

/// Whether every request of `later` is one of `earlier`.
fn covers(earlier: Target<'_>, later: Target<'_>) -> bool {
    let service = |listed: &str, other: &str| {
        let (host, port) = super::model::split_service(other);
        listed.eq_ignore_ascii_case(other) || service_covers(listed, host, port)
    };
    match (earlier, later) {
        (Target::Domain("*"), _) => true,
        (Target::Domain(a), Target::Domain(b)) => domain_covers(a, b),
        (Target::Route(a), Target::Route(b) | Target::RouteAndService(b, _)) => a == b,
        (Target::Service(a), Target::Service(b) | Target::RouteAndService(_, b)) => service(a, b),
        (Target::RouteAndService(a, s), Target::RouteAndService(b, t)) => a == b && service(s, t),
        _ => false,
    }
}

fn hidden_by(rule: &MatchRule<'_>, earlier: &[MatchRule<'_>]) -> Option<Diagnostic> {
    let wanted = targets_of(rule);
    let mut hiding: Vec<&str> = Vec::new();
    for target in &wanted {
        let by = earlier
            .iter()
            .find(|rule| targets_of(rule).iter().any(|other| covers(*other, *target)))?;
        if !hiding.contains(&&*by.cursor.path) {
            hiding.push(&by.cursor.path);
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
                    super::model::listed(&hiding)
                ),
            )
            .with_hint("remove one of them, or put the more specific one first"),
    )
}

/// A rule for a route and a service that the route does not use, as the
/// console leaves it behind when an upstream is taken out of a route.
fn unrelated(model: &Model<'_>, plugin: &Plugin<'_>, rule: &MatchRule<'_>) -> Option<Diagnostic> {
    if rule.ingress.is_empty() || rule.service.is_empty() {
        return None;
    }
    let mut services = Vec::new();
    for name in &rule.ingress {
        let route = model.routes.iter().find(|route| route.name == *name)?;
        if route.upstreams.is_empty() || route.upstreams.iter().any(|u| !u.is_certain) {
            return None;
        }
        let requests: Vec<Request<'_>> = route.requests();
        if requests.iter().any(|request| matches(rule, request, plugin.wasm.is_go)) {
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
                    super::model::listed(&rule.ingress),
                    super::model::listed(&rule.service)
                ),
            )
            .with_hint(format!(
                "remove it, or name {} instead",
                super::model::listed(&services)
            )),
    )
}
