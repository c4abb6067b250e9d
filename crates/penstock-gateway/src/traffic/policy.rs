//! What a route asks for besides its targets, in words. Values of headers are
//! not shown: they may be secrets.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;
use std::sync::Arc;

use http::HeaderName;
use penstock_manifest::annotation::Subject;
use penstock_manifest::kind::envoy_filter::FALLBACK_HEADER;

use crate::policy::{
    Cors, HeaderEdits, OriginMatch, Redirect, Retry, Rewrite, RoutePolicy, SourceList,
};
use crate::proxy::PASSES_MAX;
use crate::route::CompiledMatcher;
use crate::snapshot::{Fallback, Route, ServiceIndex, Snapshot};

/// The names of the routes that take what fell back, by what their condition
/// asks the header for.
pub(super) type FallbackNames = HashMap<Box<str>, BTreeSet<Arc<str>>>;

/// Finds the routes that others fall back on.
pub(super) fn fallback_names(snapshot: &Snapshot) -> FallbackNames {
    let mut names = FallbackNames::new();
    for route in snapshot.routes.iter().filter(|_| snapshot.has_fallbacks) {
        for condition in route.conditions.iter().flat_map(|conditions| &conditions.others) {
            if let (Subject::Header(header), CompiledMatcher::Exact(value)) =
                (&condition.subject, &condition.matcher)
                && **header == *FALLBACK_HEADER
            {
                names.entry(value.clone()).or_default().insert(route.name.clone());
            }
        }
    }
    names
}

/// One sentence for each thing; none for most routes.
pub(super) fn of(route: &Route, snapshot: &Snapshot, names: &FallbackNames) -> Vec<String> {
    let own_timeout = route.policy.as_ref().and_then(|policy| policy.timeout);
    let timeout = snapshot.tuning.route_timeout.or(own_timeout);
    let gives_up = timeout.map(|limit| format!("gives up after {} s", limit.as_secs()));
    let falls_back = route.fallback.as_ref().map(|fallback| falls_back(fallback, names));
    let said = route.policy.as_deref().map(|policy| asks_for(policy, snapshot));
    said.into_iter().flatten().chain(gives_up).chain(falls_back).collect()
}

fn falls_back(fallback: &Fallback, names: &FallbackNames) -> String {
    let classes = [(fallback.on_4xx, "4xx"), (fallback.on_5xx, "5xx")];
    let classes = classes.into_iter().filter(|(is_one, _)| *is_one).map(|(_, class)| class);
    let known = fallback.from.to_str().ok().and_then(|from| names.get(from));
    let place = match known {
        Some(names) => format!("to {}", list(names)),
        None => "to no route".to_owned(),
    };
    let bytes_max = fallback.body_bytes_max;
    let often = match fallback.redirects_max as usize {
        1 => " once at most".to_owned(),
        times if times + 1 < PASSES_MAX => format!(" {times} times at most"),
        _ => String::new(),
    };
    let after = list(classes);
    format!("falls back {place}{often} after {after}, with bodies up to {bytes_max} bytes")
}

fn asks_for(policy: &RoutePolicy, snapshot: &Snapshot) -> Vec<String> {
    let mut said = Vec::new();
    if let Some(check) = &policy.client {
        let secret = &check.authority.secret.name;
        said.push(format!("is only for clients with a certificate of {secret}"));
    }
    for sources in &policy.sources {
        let (what, networks) = match sources {
            SourceList::Allowed(networks) => ("is only for", networks),
            SourceList::Denied(networks) => ("is not for", networks),
        };
        let shown = networks.iter().map(|n| format!("{}/{}", n.address, n.prefix_bits));
        said.push(format!("{what} {}", list(shown)));
    }
    if let Some(limited) = policy.rate_limit.and_then(|i| snapshot.rate_limits.get(i.0 as usize)) {
        let limit = limited.limit;
        let seconds = limit.interval.as_secs();
        said.push(format!(
            "takes {} requests in {seconds} s, at most {} at once",
            limit.per_interval, limit.burst
        ));
    }
    said.extend(answers(policy));
    said.extend(changes(policy));
    let service = |index: ServiceIndex| {
        let service = snapshot.services.get(index.0 as usize);
        service.map_or_else(|| "no service".to_owned(), |s| format!("{}:{}", s.host, s.port))
    };
    if let Some(fallback) = &policy.fallback {
        let errors = fallback.errors.iter().map(|status| status.as_u16());
        let after = match fallback.errors.is_empty() {
            true => String::new(),
            false => format!(", and after {}", list(errors)),
        };
        said.push(format!("goes to {} without endpoints{after}", service(fallback.service)));
    }
    if let Some(mirror) = &policy.mirror {
        said.push(format!("copies {}% to {}", mirror.percentage, service(mirror.service)));
    }
    said
}

fn answers(policy: &RoutePolicy) -> Vec<String> {
    let mut said = Vec::new();
    said.extend(policy.redirect.as_ref().map(redirect));
    if policy.redirects_to_https {
        said.push("redirects to HTTPS".to_owned());
    }
    said.extend(policy.cors.as_ref().map(cors));
    said.extend(policy.retry.as_ref().map(retry));
    said
}

fn changes(policy: &RoutePolicy) -> Vec<String> {
    let mut said = Vec::new();
    said.extend(policy.rewrite.as_ref().map(|rewrite| match rewrite {
        Rewrite::Whole(with) => format!("rewrites the path to `{with}`"),
        Rewrite::Prefix { prefix, with, .. } => {
            format!(
                "rewrites `{}` of the path to `{with}`",
                if prefix.is_empty() { "/" } else { prefix }
            )
        }
        Rewrite::Regex { regex, with } => {
            format!("rewrites `{}` in the path to `{with}`", regex.as_str())
        }
    }));
    said.extend(headers("requests", &policy.request_headers));
    said.extend(headers("answers", &policy.response_headers));
    said
}

fn redirect(redirect: &Redirect) -> String {
    let place = match (&redirect.scheme, &redirect.authority) {
        (Some(scheme), Some(authority)) => format!("{scheme}://{authority}"),
        _ => String::new(),
    };
    let path = redirect.path.as_deref().unwrap_or_default();
    format!("redirects to `{place}{path}` with {}", redirect.status.as_u16())
}

fn cors(cors: &Cors) -> String {
    let origins = cors.origins.iter().map(|origin| match origin {
        OriginMatch::Any => "any origin".to_owned(),
        OriginMatch::Exact(whole) => whole.to_string(),
        OriginMatch::Suffix(end) => format!("*{end}"),
    });
    format!("may be asked by pages of {}", list(origins))
}

fn retry(retry: &Retry) -> String {
    let statuses = retry.statuses.iter().map(|status| status.as_u16().to_string());
    let failures = retry.on_5xx.then(|| "failures and 5xx".to_owned());
    let what = list(failures.into_iter().chain(statuses));
    let methods = if retry.repeats_all_methods { ", also of POST" } else { "" };
    format!("repeats {what} {} times{methods}", retry.times)
}

fn headers(of: &str, edits: &HeaderEdits) -> Option<String> {
    let names = |pairs: &[(HeaderName, http::HeaderValue)]| {
        pairs.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    let parts = [
        ("adds", names(&edits.add)),
        ("sets", names(&edits.set)),
        ("removes", edits.remove.clone()),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(verb, names)| format!("{verb} {}", list(names)))
        .collect();
    (!parts.is_empty()).then(|| format!("{} in {of}", parts.join(", ")))
}

fn list(items: impl IntoIterator<Item = impl Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
