//! Domains and the hosts of routes: a domain that no route uses, a route whose
//! host is no domain, a route that listens on the host of a provider.

use std::collections::{HashMap, HashSet};

use super::model::{
    AiRoute, Candidates, Domain, Host, Model, Request, Route, RoutePart, denormalized_domain,
    domain_covers, listed, normalized_domain,
};
use crate::diagnostic::{DOMAIN_UNUSED, Diagnostic, HOST_IS_PROVIDER, HOST_WITHOUT_DOMAIN};
use crate::kind::mcp_bridge::Endpoints;
use crate::node::Node;

/// The prefix of the labels by which the console finds a domain's routes.
pub(super) const LABEL: &str = "higress.io/domain_";

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let domains = Domains::new(model);
    let strays = strays(model, &domains);
    diagnostics.extend(domains.unused.iter().map(|domain| unused(&strays, domain)));
    for route in &model.routes {
        for host in &route.hosts {
            diagnostics.extend(check_host(model, &domains, route, host));
        }
        if route.is_of_console() && !domains.all.names.is_empty() {
            check_labels(model, &domains, route, diagnostics);
        }
    }
    if !domains.all.names.is_empty() {
        check_json(model, &domains, diagnostics);
    }
}

/// The domains, and what is needed to say which one was meant.
struct Domains<'m> {
    all: Candidates<'m>,
    /// Those that no route answers for.
    unused: Vec<&'m Domain<'m>>,
    unused_names: Candidates<'m>,
    /// The provider that each host of a registry belongs to.
    providers: HashMap<&'m str, &'m str>,
}

impl<'m> Domains<'m> {
    fn new(model: &'m Model<'m>) -> Self {
        let hosts: HashSet<&str> =
            model.routes.iter().flat_map(|r| &r.hosts).map(|host| host.text.as_str()).collect();
        let patterns: Vec<&str> =
            hosts.iter().copied().filter(|host| host.starts_with('*')).collect();
        // A host of an Ingress that cannot be read may be any of them.
        let is_unclear = model.has_broken("Ingress");
        let is_used = |text: &str| {
            is_unclear
                || hosts.contains(text)
                || patterns.iter().any(|pattern| domain_covers(pattern, text))
                || (text.starts_with('*') && hosts.iter().any(|host| domain_covers(text, host)))
        };
        let unused: Vec<&Domain<'_>> =
            model.real_domains().filter(|domain| !is_used(&domain.text)).collect();
        Self {
            all: Candidates::new(model.real_domains().map(|domain| domain.text.as_str())),
            unused_names: Candidates::new(unused.iter().map(|domain| domain.text.as_str())),
            unused,
            providers: providers_by_host(model),
        }
    }

    /// The domain that was most likely meant by a host: one that another part
    /// of the same route names, one that it is a misspelling of, one that no
    /// route uses, or the only one.
    fn meant<'d>(&'d self, host: &str, others: &'d [String]) -> Option<&'d str> {
        let named = others.iter().find(|other| self.all.contains(other)).map(String::as_str);
        named.or_else(|| self.all.typo_of(host)).or_else(|| self.unused_names.meant(host)).or(
            match self.all.names.as_slice() {
                [only] => Some(only),
                _ => None,
            },
        )
    }

    /// All of them, as far as they can be listed.
    fn listed(&self) -> String {
        match self.all.names.as_slice() {
            [] => "the host that clients ask the gateway for".to_owned(),
            names => format!("one of {}", listed(names)),
        }
    }

    fn hint(&self, host: &str, others: &[String]) -> String {
        let name = format!("domain-{}", normalized_domain(host));
        match self.meant(host, others) {
            Some(domain) => format!("did you mean `{domain}`? Else add ConfigMap `{name}`"),
            None => {
                format!("the domains are {}; else add ConfigMap `{name}`", listed(&self.all.names))
            }
        }
    }
}

/// The domains that the labels of a route and the JSON of its AI route name
/// beside its hosts.
fn named_beside(model: &Model<'_>, route: &Route<'_>) -> Vec<String> {
    let part = model.part_of(&route.resource.key.name);
    let ai_route = part.and_then(|part| match part {
        RoutePart::Main(name) | RoutePart::Fallback(name) => model.ai_route(name),
    });
    let in_json = ai_route.map(AiRoute::domains).unwrap_or_default();
    let labels = route.resource.root.get("metadata").and_then(|metadata| metadata.get("labels"));
    let labels = labels.and_then(Node::as_map).into_iter().flat_map(|map| &map.entries);
    let in_labels =
        labels.filter_map(|entry| entry.key.strip_prefix(LABEL).map(denormalized_domain));
    let is_host = |name: &String| route.hosts.iter().any(|host| host.text == *name);
    in_json.into_iter().chain(in_labels).filter(|name| !is_host(name)).collect()
}

fn unused(strays: &HashMap<String, (&str, String)>, domain: &Domain<'_>) -> Diagnostic {
    let hint = match strays.get(&domain.text) {
        None => "give a route this host, or remove the domain".to_owned(),
        Some((route, host)) => {
            format!("give `{route}` the host `{}`: its host `{host}` is no domain", domain.text)
        }
    };
    domain
        .cursor
        .diagnostic(&DOMAIN_UNUSED, format!("no route has the host `{}`", domain.text))
        .with_hint(hint)
}

/// Routes whose host is no domain, with the host, by the domain that was
/// most likely meant.
fn strays<'m>(model: &'m Model<'_>, domains: &Domains<'_>) -> HashMap<String, (&'m str, String)> {
    let mut strays = HashMap::new();
    if domains.unused.is_empty() {
        return strays;
    }
    for route in model.routes.iter().filter(|route| route.is_of_console()) {
        for host in route.host_names().into_iter().filter(|host| !model.has_domain(host)) {
            let others = named_beside(model, route);
            if let Some(domain) = domains.meant(host, &others) {
                strays
                    .entry(domain.to_owned())
                    .or_insert_with(|| (route.name.as_str(), host.to_owned()));
            }
        }
    }
    strays
}

fn check_host(
    model: &Model<'_>,
    domains: &Domains<'_>,
    route: &Route<'_>,
    host: &Host<'_>,
) -> Option<Diagnostic> {
    let text = &host.text;
    if text == "*" || model.has_domain(text) {
        return None;
    }
    if let Some(provider) = domains.providers.get(text.as_str()) {
        let message =
            format!("`{text}` is the host of provider `{provider}`, not a domain of the gateway");
        let hint = match domains.meant(text, &named_beside(model, route)) {
            Some(domain) => format!("did you mean `{domain}`?"),
            None => format!("use {}", domains.listed()),
        };
        return Some(host.cursor.diagnostic(&HOST_IS_PROVIDER, message).with_hint(hint));
    }
    if !route.is_of_console() || domains.all.names.is_empty() {
        return None;
    }
    Some(
        host.cursor
            .diagnostic(&HOST_WITHOUT_DOMAIN, format!("no domain ConfigMap describes `{text}`"))
            .with_hint(domains.hint(text, &named_beside(model, route))),
    )
}

/// A label is checked where it agrees with the host; where it does not, that
/// is the finding.
fn check_labels(
    model: &Model<'_>,
    domains: &Domains<'_>,
    route: &Route<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) {
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
        let others = named_beside(model, route);
        let hint = match domains.meant(host, &others) {
            Some(domain) => format!("did you mean `{LABEL}{}`?", normalized_domain(domain)),
            None => domains.hint(host, &others),
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
fn check_json(model: &Model<'_>, domains: &Domains<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for ai_route in &model.ai_routes {
        let route = model.route_of(ai_route);
        let hosts = route.map(Route::host_names);
        let others = route.map(|route| named_beside(model, route)).unwrap_or_default();
        let Some(list) = ai_route.json().and_then(|json| json.get("domains")) else {
            continue;
        };
        for item in list.items() {
            let Some(domain) = item.node.as_str().map(str::to_ascii_lowercase) else {
                continue;
            };
            let is_checked = hosts.as_ref().is_none_or(|hosts| hosts.contains(&&*domain));
            if is_checked && !model.has_domain(&domain) {
                diagnostics.push(
                    item.diagnostic(
                        &HOST_WITHOUT_DOMAIN,
                        format!(
                            "AI route `{}` has the domain `{domain}`, which no ConfigMap describes",
                            ai_route.name
                        ),
                    )
                    .with_hint(domains.hint(&domain, &others)),
                );
            }
        }
    }
}

/// The providers whose registries lead to hosts.
fn providers_by_host<'m>(model: &'m Model<'m>) -> HashMap<&'m str, &'m str> {
    let mut providers = HashMap::new();
    for entry in &model.services.registries {
        let Endpoints::Dns(names) = &entry.registry.endpoints else {
            continue;
        };
        let request = Request {
            route: "",
            host: "",
            service: &entry.registry.host,
            port: Some(entry.registry.port),
        };
        let by_name = entry.name().strip_prefix("llm-").and_then(|n| n.strip_suffix(".internal"));
        let by_rule = model.provider_for(&request).map(|provider| provider.id.as_str());
        if let Some(provider) = by_rule.or(by_name) {
            for name in names {
                providers.entry(&**name).or_insert(provider);
            }
        }
    }
    providers
}
