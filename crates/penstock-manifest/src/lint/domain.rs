//! Domains and the hosts of routes: a domain that no route uses, a route whose
//! host is no domain, a route that listens on the host of a provider.

use super::model::{Domain, Host, Model, Route, domain_covers, listed, meant, normalized_domain};
use crate::diagnostic::{
    DOMAIN_UNUSED, Diagnostic, HOST_IS_PROVIDER, HOST_WITHOUT_DOMAIN,
};
use crate::kind::mcp_bridge::Endpoints;
use crate::node::Cursor;

/// The prefix of the labels by which the console finds a domain's routes.
pub(super) const LABEL: &str = "higress.io/domain_";

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for domain in model.real_domains().filter(|domain| is_unused(model, domain)) {
        diagnostics.push(unused(model, domain));
    }
    for route in &model.routes {
        for host in &route.hosts {
            diagnostics.extend(check_host(model, route, host));
        }
        if route.is_of_console() {
            check_labels(model, route, diagnostics);
        }
    }
    check_json(model, diagnostics);
}

/// Whether no route answers for a domain, or for a part of a wildcard.
fn is_unused(model: &Model<'_>, domain: &Domain<'_>) -> bool {
    let mut hosts = model.routes.iter().flat_map(|route| &route.hosts);
    !hosts.any(|host| domain_covers(&host.text, &domain.text) || domain_covers(&domain.text, &host.text))
}

fn unused(model: &Model<'_>, domain: &Domain<'_>) -> Diagnostic {
    let mut strays: Vec<(&str, &str)> = Vec::new();
    for route in model.routes.iter().filter(|route| route.is_of_console()) {
        for host in route.host_names().into_iter().filter(|host| !model.has_domain(host)) {
            strays.push((&route.name, host));
        }
    }
    let hint = match strays.as_slice() {
        [] => "give a route this host, or remove the domain".to_owned(),
        [(route, host), ..] => format!(
            "give `{route}` the host `{}`: its host `{host}` is no domain",
            domain.text
        ),
    };
    domain
        .cursor
        .diagnostic(&DOMAIN_UNUSED, format!("no route has the host `{}`", domain.text))
        .with_hint(hint)
}

fn check_host(model: &Model<'_>, route: &Route<'_>, host: &Host<'_>) -> Option<Diagnostic> {
    let text = &host.text;
    if text == "*" || model.has_domain(text) {
        return None;
    }
    if let Some(provider) = provider_at(model, text) {
        return Some(
            host.cursor
                .diagnostic(
                    &HOST_IS_PROVIDER,
                    format!(
                        "`{text}` is the host of provider `{provider}`, not a domain of the gateway"
                    ),
                )
                .with_hint(match right_domain(model, text) {
                    Some(domain) => format!("did you mean `{domain}`?"),
                    None => "write the host that clients ask the gateway for".to_owned(),
                }),
        );
    }
    if !route.is_of_console() || model.real_domains().next().is_none() {
        return None;
    }
    Some(
        host.cursor
            .diagnostic(&HOST_WITHOUT_DOMAIN, format!("no domain ConfigMap describes `{text}`"))
            .with_hint(domain_hint(model, text)),
    )
}

/// A label is checked where it agrees with the host; where it does not, that
/// is the finding.
fn check_labels(model: &Model<'_>, route: &Route<'_>, diagnostics: &mut Vec<Diagnostic>) {
    if model.real_domains().next().is_none() {
        return;
    }
    let labels = route.resource.cursor().get("metadata").and_then(|meta| meta.get("labels"));
    for (entry, cursor) in labels.iter().flat_map(|labels| labels.entries().collect::<Vec<_>>()) {
        let Some(name) = entry.key.strip_prefix(LABEL) else {
            continue;
        };
        let is_of_host = |host: &&str| normalized_domain(host) == name;
        let Some(host) = route.host_names().into_iter().find(is_of_host) else {
            continue;
        };
        if model.has_domain(host) {
            continue;
        }
        let hint = match right_domain(model, host) {
            Some(domain) => format!("did you mean `{LABEL}{}`?", normalized_domain(domain)),
            None => domain_hint(model, host),
        };
        let mut finding = cursor
            .diagnostic(
                &HOST_WITHOUT_DOMAIN,
                format!("label `{}` names a domain that no ConfigMap describes", entry.key),
            )
            .with_hint(hint);
        (finding.line, finding.column) = (entry.key_at.line, entry.key_at.column);
        diagnostics.push(finding);
    }
}

/// The domains in an AI route's JSON, from which the console writes the hosts,
/// unless they differ from the hosts, which is a finding of its own.
fn check_json(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    if model.real_domains().next().is_none() {
        return;
    }
    for ai_route in &model.ai_routes {
        let hosts = model.route_of(ai_route).map(Route::host_names);
        let Some(domains) = ai_route.json().and_then(|json| json.get("domains")) else {
            continue;
        };
        for item in domains.items() {
            let Some(text) = item.node.as_str() else {
                continue;
            };
            let domain = text.to_ascii_lowercase();
            let is_checked = hosts.as_ref().is_none_or(|hosts| hosts.contains(&&*domain));
            if is_checked && !model.has_domain(&domain) {
                diagnostics.push(json_domain(model, ai_route.name, &domain, &item));
            }
        }
    }
}

fn json_domain(model: &Model<'_>, name: &str, domain: &str, at: &Cursor<'_>) -> Diagnostic {
    at.diagnostic(
        &HOST_WITHOUT_DOMAIN,
        format!("AI route `{name}` has the domain `{domain}`, which no ConfigMap describes"),
    )
    .with_hint(domain_hint(model, domain))
}

fn domain_hint(model: &Model<'_>, host: &str) -> String {
    let name = format!("domain-{}", normalized_domain(host));
    match right_domain(model, host) {
        Some(domain) => format!("did you mean `{domain}`? Else add ConfigMap `{name}`"),
        None => {
            let known: Vec<&str> =
                model.real_domains().map(|domain| domain.text.as_str()).collect();
            format!("the domains are {}; else add ConfigMap `{name}`", listed(&known))
        }
    }
}

/// The domain that was most likely meant: one that no route uses, else the
/// closest of all.
fn right_domain<'m>(model: &'m Model<'_>, host: &str) -> Option<&'m str> {
    let unused: Vec<&str> = model
        .real_domains()
        .filter(|domain| is_unused(model, domain))
        .map(|domain| domain.text.as_str())
        .collect();
    let all: Vec<&str> = model.real_domains().map(|domain| domain.text.as_str()).collect();
    meant(host, &unused).or_else(|| meant(host, &all))
}

/// The provider whose registry leads to a host.
fn provider_at<'m>(model: &'m Model<'_>, host: &str) -> Option<&'m str> {
    model.services.registries.iter().find_map(|entry| {
        let Endpoints::Dns(names) = &entry.registry.endpoints else {
            return None;
        };
        if !names.iter().any(|name| **name == *host) {
            return None;
        }
        let by_name = entry.name().strip_prefix("llm-").and_then(|n| n.strip_suffix(".internal"));
        let by_rule = || {
            let request = super::model::Request {
                route: "",
                host: "",
                service: &entry.registry.host,
                port: Some(entry.registry.port),
            };
            model.provider_for(&request).map(|provider| provider.id.as_str())
        };
        by_rule().or(by_name)
    })
}
