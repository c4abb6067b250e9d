//! Routes that do not have the TLS that the console keeps for their domain
//! (Higress console: KubernetesModelConverter.java).

use super::model::{DEFAULT_DOMAIN, Domain, Model, Route};
use crate::diagnostic::{DOMAIN_HTTPS, Diagnostic};
use crate::node::{Cursor, Node};

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for route in model.routes.iter().filter(|route| route.is_of_console()) {
        let mut hosts = route.host_names();
        if hosts.is_empty() {
            hosts.push(DEFAULT_DOMAIN);
        }
        let domains = hosts.into_iter().filter_map(|host| model.domain(host));
        diagnostics.extend(domains.filter_map(|domain| check(route, domain)));
    }
    diagnostics.extend(model.real_domains().filter_map(without_certificate));
}

/// HTTPS that is asked for without a certificate is none.
fn without_certificate(domain: &Domain<'_>) -> Option<Diagnostic> {
    let data = domain.resource.cursor().get("data")?;
    let https = data
        .get("enableHttps")
        .filter(|https| https.node.as_str().is_some_and(|text| matches!(text, "on" | "force")))?;
    let cert = data.node.get("cert").and_then(Node::as_str).unwrap_or_default();
    let message = format!("domain `{}` asks for HTTPS, but names no certificate", domain.text);
    cert.is_empty()
        .then(|| https.diagnostic(&DOMAIN_HTTPS, message).with_hint("name its Secret under `cert`"))
}

fn check(route: &Route<'_>, domain: &Domain<'_>) -> Option<Diagnostic> {
    let data = domain.resource.cursor().get("data")?;
    let text = |key: &str| data.node.get(key).and_then(Node::as_str).unwrap_or_default();
    let https = text("enableHttps");
    let cert = text("cert");
    let is_https = https != "off" && !https.is_empty() && !cert.is_empty();
    let tls = route.resource.spec().and_then(|spec| spec.get("tls"));
    let has_tls = tls.as_ref().is_some_and(|tls| tls.items().any(|item| names(&item, domain)));
    let place = route.hosts.first().map(|host| host.cursor.clone())?;
    if is_https && !has_tls {
        return Some(
            place
                .diagnostic(
                    &DOMAIN_HTTPS,
                    format!(
                        "domain `{}` asks for HTTPS, but `{}` has no `spec.tls` for it",
                        domain.text, route.name
                    ),
                )
                .with_hint(format!("add `spec.tls` with `secretName: {cert}`")),
        );
    }
    if is_https && https == "force" && !route.options.ssl_redirect {
        return Some(
            place
                .diagnostic(
                    &DOMAIN_HTTPS,
                    format!(
                        "domain `{}` forces HTTPS, but `{}` does not redirect to it",
                        domain.text, route.name
                    ),
                )
                .with_hint("add the annotation `higress.io/ssl-redirect: \"true\"`"),
        );
    }
    if !is_https && has_tls {
        let tls = tls?;
        return Some(
            tls.diagnostic(
                &DOMAIN_HTTPS,
                format!(
                    "`{}` has TLS, but its domain `{}` has HTTPS switched off",
                    route.name, domain.text
                ),
            )
            .with_hint("the next save in the console removes it: set `enableHttps` to on"),
        );
    }
    None
}

fn names(tls: &Cursor<'_>, domain: &Domain<'_>) -> bool {
    match tls.get("hosts") {
        None => domain.is_default(),
        Some(hosts) => hosts
            .items()
            .any(|host| host.node.as_str().is_some_and(|h| h.eq_ignore_ascii_case(&domain.text))),
    }
}
