//! What the annotations of an Ingress ask for → what its routes do.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use penstock_manifest::annotation::{
    self, AllowOrigin, HIGRESS, HeaderControl, LoadBalance, MirrorTarget, NGINX, PathRegex,
    RouteOptions, UpstreamProtocol,
};
use penstock_manifest::diagnostic::{
    ANNOTATION_NOT_SUPPORTED, INVALID_ANNOTATION, SERVICE_UNKNOWN,
};
use penstock_manifest::kind::ingress::PathType;
use penstock_manifest::kind::mcp_bridge::Protocol;
use penstock_manifest::{Diagnostic, Resource};
use regex::Regex;

use super::services::Services;
use super::sources;
use crate::balance::{Balance, HashKey};
use crate::policy::{
    Cors, Fallback, HeaderEdits, Mirror, OriginMatch, RateLimit, Redirect, Retry, Rewrite,
    RoutePolicy,
};
use crate::route::{PathMatch, RouteConditions, re2};
use crate::snapshot::{Route, Service, WeightedTarget};
use crate::upstream::Identity;

/// What belongs to a service rather than to a route: the first Ingress that
/// names a service decides for all
/// (Higress: pkg/ingress/config/ingress_config.go, `storeBackendTrafficPolicy`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ServicePolicy {
    pub(super) balance: Option<Balance>,
    pub(super) tls: Option<ServiceTls>,
}

/// How a service is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServiceTls {
    protocol: Protocol,
    sni: Option<Box<str>>,
    identity: Option<Arc<Identity>>,
}

impl ServicePolicy {
    /// What an Ingress says about its services, if anything.
    pub(super) fn of(options: &RouteOptions, identity: Option<Arc<Identity>>) -> Option<Self> {
        let tls = options.upstream_tls.as_deref();
        let policy = Self {
            balance: options.load_balance.as_deref().map(balance),
            tls: tls.map(|tls| ServiceTls {
                protocol: protocol(tls.protocol),
                sni: tls.sni.clone(),
                identity,
            }),
        };
        (policy != Self::default()).then_some(policy)
    }

    pub(super) fn apply(self, service: &mut Service) {
        if let Some(balance) = self.balance {
            service.balance = balance;
        }
        if let Some(tls) = self.tls {
            service.protocol = tls.protocol;
            service.sni = tls.sni.or(service.sni.take());
            service.identity = tls.identity;
        }
    }

    /// Whether it asks for somebody to be believed or shown.
    pub(super) fn has_identity(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.identity.is_some())
    }
}

fn protocol(protocol: UpstreamProtocol) -> Protocol {
    match protocol {
        UpstreamProtocol::Http2 => Protocol::Http2,
        UpstreamProtocol::Https => Protocol::Https,
        UpstreamProtocol::Grpc => Protocol::Grpc,
        UpstreamProtocol::Grpcs => Protocol::Grpcs,
    }
}

fn balance(load_balance: &LoadBalance) -> Balance {
    match load_balance {
        LoadBalance::RoundRobin | LoadBalance::Passthrough | LoadBalance::McpSse => {
            Balance::RoundRobin
        }
        LoadBalance::LeastConn => Balance::LeastRequest,
        LoadBalance::Random => Balance::Random,
        LoadBalance::Hash(key) => match hash_key(key) {
            Some(key) => Balance::Hash(key),
            None => Balance::RoundRobin,
        },
        LoadBalance::Cookie(cookie) => Balance::Hash(HashKey::Cookie {
            name: cookie.name.clone(),
            path: cookie.path.clone(),
            ttl_s: cookie.ttl_s.into(),
        }),
    }
}

fn hash_key(key: &annotation::HashKey) -> Option<HashKey> {
    Some(match key {
        annotation::HashKey::SourceAddress => HashKey::SourceAddress,
        annotation::HashKey::RequestUri => HashKey::RequestUri,
        annotation::HashKey::Host => HashKey::Host,
        annotation::HashKey::Header(name) => {
            // nginx means `x-user` by `$http_x_user`.
            let names = [name.to_string(), name.replace('_', "-")];
            let name = |text: &String| HeaderName::from_bytes(text.as_bytes()).ok();
            let mut names: Vec<_> = names.iter().filter_map(name).collect();
            names.dedup();
            HashKey::Header(names)
        }
        annotation::HashKey::Query(name) => HashKey::Query(name.clone()),
    })
}

/// What all routes of an Ingress do alike; `None` where that is nothing.
pub(super) fn of_ingress(options: &RouteOptions) -> Option<RoutePolicy> {
    let policy = RoutePolicy {
        redirect: options.redirect.as_deref().and_then(redirect),
        redirects_to_https: options.ssl_redirect,
        rewrite: None,
        request_headers: edits(options.request_headers.as_deref()),
        response_headers: edits(options.response_headers.as_deref()),
        cors: options.cors.as_deref().map(cors),
        timeout: options.timeout_s.map(|seconds| Duration::from_secs(seconds.into())),
        retry: options.retry.as_deref().map(retry),
        rate_limit: None,
        sources: sources::lists(&options.sources),
        fallback: None,
        mirror: None,
        client: None,
    };
    let is_needed = policy.redirect.is_some()
        || policy.redirects_to_https
        || !policy.request_headers.is_empty()
        || !policy.response_headers.is_empty()
        || policy.cors.is_some()
        || policy.timeout.is_some()
        || policy.retry.is_some()
        || !policy.sources.is_empty()
        || options.rate_limit.is_some()
        || options.fallback.is_some()
        || options.mirror.is_some()
        || options.rewrite.is_some();
    is_needed.then_some(policy)
}

fn redirect(redirect: &annotation::Redirect) -> Option<Redirect> {
    Some(Redirect {
        status: StatusCode::from_u16(redirect.status).ok()?,
        scheme: Some(if redirect.is_tls { "https" } else { "http" }.into()),
        authority: Some(redirect.authority.clone()),
        path: redirect.path.clone(),
    })
}

/// Changes of headers; what `:authority` becomes is `Host`.
pub(super) fn edits(control: Option<&HeaderControl>) -> HeaderEdits {
    let Some(control) = control else { return HeaderEdits::default() };
    let name = |text: &str| match text.eq_ignore_ascii_case(":authority") {
        true => Some(HOST),
        false => HeaderName::from_bytes(text.as_bytes()).ok(),
    };
    let pairs = |pairs: &[(Box<str>, Box<str>)]| {
        let pair = |(key, value): &(Box<str>, Box<str>)| {
            Some((name(key)?, HeaderValue::from_bytes(value.as_bytes()).ok()?))
        };
        pairs.iter().filter_map(pair).collect()
    };
    HeaderEdits {
        add: pairs(&control.add),
        set: pairs(&control.update),
        remove: control.remove.iter().filter_map(|text| name(text)).collect(),
    }
}

fn cors(cors: &annotation::Cors) -> Cors {
    let list = |words: &[Box<str>]| {
        let joined = words.join(",");
        HeaderValue::try_from(joined).ok().filter(|value| !value.is_empty())
    };
    let origin = |origin: &AllowOrigin| match origin {
        AllowOrigin::Any => OriginMatch::Any,
        AllowOrigin::Exact(whole) => OriginMatch::Exact(whole.clone()),
        AllowOrigin::Suffix(end) => OriginMatch::Suffix(end.clone()),
    };
    Cors {
        origins: cors.origins.iter().map(origin).collect(),
        methods: list(&cors.methods),
        headers: list(&cors.headers),
        exposed: list(&cors.expose),
        allows_credentials: cors.credentials,
        max_age: Some(HeaderValue::from(cors.max_age_s)),
    }
}

fn retry(retry: &annotation::Retry) -> Retry {
    let status = |code: &u16| StatusCode::from_u16(*code).ok();
    Retry {
        times: retry.tries,
        try_timeout: retry.per_try_timeout_s.map(|seconds| Duration::from_secs(seconds.into())),
        on_5xx: retry.on_5xx,
        repeats_all_methods: retry.non_idempotent,
        statuses: retry.status_codes.iter().filter_map(status).collect(),
    }
}

/// The services that take a part of the requests of an Ingress' routes.
pub(super) fn add_services(
    policy: &mut RoutePolicy,
    options: &RouteOptions,
    (resource, name): (&Resource, &str),
    services: &Services<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    if let Some(fallback) = options.fallback.as_deref() {
        let of = &fallback.service;
        let service = services.of_kubernetes((&of.namespace, &of.name), None);
        let shown = format!("{}/{}", of.namespace, of.name);
        if service.is_none() {
            diagnostics.extend(unknown_service(resource, "default-backend", &shown));
        }
        let errors = fallback.custom_http_errors.iter().flatten();
        policy.fallback = service.and_then(|service| {
            Some(Fallback {
                service,
                errors: errors.filter_map(|code| StatusCode::from_u16(*code).ok()).collect(),
                route_name: HeaderValue::try_from(format!("{name}-fallback")).ok()?,
                service_name: HeaderValue::try_from(shown).ok()?,
            })
        });
    }
    if let Some(mirror) = options.mirror.as_deref() {
        let (service, key, shown) = match &mirror.target {
            MirrorTarget::Service { namespace, name, port } => (
                services.of_kubernetes((namespace, name), *port),
                "mirror-target-service",
                format!("{namespace}/{name}"),
            ),
            MirrorTarget::Fqdn { host, port } => {
                (services.of_host(host, *port), "mirror-target-fqdn", format!("{host}:{port}"))
            }
        };
        if service.is_none() {
            diagnostics.extend(unknown_service(resource, key, &shown));
        }
        policy.mirror = service.map(|service| Mirror { service, percentage: mirror.percentage });
    }
}

/// The finding about a service that an annotation names and that there is
/// not, which Higress ignores.
fn unknown_service(resource: &Resource, key: &str, shown: &str) -> Option<Diagnostic> {
    let message = format!("there is no service `{shown}`: `{key}` has no effect");
    at_annotation(resource, key, |cursor| cursor.diagnostic(&SERVICE_UNKNOWN, message))
}

/// The limit of each route of an Ingress.
pub(super) fn rate_limit(options: &RouteOptions) -> Option<RateLimit> {
    let limit = options.rate_limit.as_ref()?;
    Some(RateLimit {
        per_interval: limit.rate,
        interval: Duration::from_secs(limit.interval_s.into()),
        burst: limit.burst,
    })
}

/// How a path is compared.
///
/// # Errors
/// It is a regular expression that cannot be compiled; the text says why.
pub(super) fn path_match(
    options: &RouteOptions,
    path_type: PathType,
    text: &str,
) -> Result<PathMatch, String> {
    let ignore_case = options.ignore_path_case;
    match (options.path_regex(text), path_type) {
        (Some(kind), _) => PathMatch::regex(text, kind == PathRegex::FullPath),
        (None, PathType::Exact) => Ok(PathMatch::Exact { path: text.into(), ignore_case }),
        (None, PathType::Prefix) => Ok(PathMatch::prefix(text, ignore_case)),
    }
}

/// What becomes of the path of a route's requests
/// (Higress: annotations/rewrite.go, `ApplyRoute`).
pub(super) fn rewrite(options: &RouteOptions, path: &PathMatch) -> Option<Rewrite> {
    let wanted = options.rewrite.as_deref()?;
    if let Some(with) = &wanted.path {
        return Some(match path {
            PathMatch::Prefix { path, ignore_case } => Rewrite::Prefix {
                prefix: path.clone(),
                ignore_case: *ignore_case,
                with: with.clone(),
            },
            PathMatch::Exact { .. } | PathMatch::Regex { .. } => Rewrite::Whole(with.clone()),
        });
    }
    let with = wanted.target.clone()?;
    let pattern = match path {
        PathMatch::Prefix { path, .. } if path.is_empty() => "^/".to_owned(),
        PathMatch::Prefix { path, .. } | PathMatch::Exact { path, .. } => regex::escape(path),
        PathMatch::Regex { text, is_full: true, .. } => format!("{text}$"),
        PathMatch::Regex { text, is_full: false, .. } => format!("{text}.*"),
    };
    // What matches a path has been compiled before.
    let regex = Regex::new(&re2::translate(&pattern)).ok()?;
    Some(Rewrite::Regex { regex: Box::new(regex), with })
}

/// `GET /` on a host, which leads to another path
/// (Higress: annotations/redirect.go, `app-root`).
pub(super) fn app_root(host: &str, path: &str) -> Option<Route> {
    let redirect = Redirect {
        status: StatusCode::FOUND,
        scheme: None,
        authority: None,
        path: Some(path.into()),
    };
    let policy = RoutePolicy { redirect: Some(redirect), ..RoutePolicy::default() };
    Some(Route {
        name: format!("{host}-app-root").into(),
        // It ranks with the regular expressions, in front of them.
        path: PathMatch::regex("/", true).ok()?,
        conditions: Some(Box::new(RouteConditions {
            methods: vec![Method::GET],
            others: Vec::new(),
        })),
        targets: vec![WeightedTarget {
            weight: 100,
            service: None,
            headers: None,
            fallback: None,
            chain: crate::snapshot::Chain::default(),
        }],
        upstream_vhost: None,
        fallback: None,
        policy: Some(Arc::new(policy)),
        closed: None,
    })
}

/// Says what is read and cannot be done.
pub(super) fn report_missing(
    options: &RouteOptions,
    resource: &Resource,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let algorithm = match options.load_balance.as_deref() {
        Some(LoadBalance::Passthrough) => Some("passthrough"),
        Some(LoadBalance::McpSse) => Some("mcp-sse"),
        _ => None,
    };
    if let Some(algorithm) = algorithm {
        let message = format!("`{algorithm}` is not available: endpoints take turns");
        diagnostics.extend(at_annotation(resource, "load-balance", |cursor| {
            cursor.diagnostic(&ANNOTATION_NOT_SUPPORTED, message)
        }));
    }
}

/// A finding about an annotation, under the prefix under which it stands.
pub(super) fn at_annotation(
    resource: &Resource,
    key: &str,
    finding: impl FnOnce(penstock_manifest::Cursor<'_>) -> Diagnostic,
) -> Option<Diagnostic> {
    let mut prefixes = [HIGRESS, NGINX].iter();
    let cursor =
        prefixes.find_map(|prefix| resource.annotation_cursor(&format!("{prefix}{key}")))?;
    Some(finding(cursor))
}

/// The finding about a path that is no regular expression.
pub(super) fn invalid_path(resource: &Resource, path: &str, reason: &str) -> Diagnostic {
    let reason = reason.lines().last().unwrap_or_default().trim();
    Diagnostic::at(
        &INVALID_ANNOTATION,
        &resource.source,
        resource.name_at(),
        format!("path `{}` is no regular expression: {reason}", shortened(path)),
    )
}

fn shortened(text: &str) -> &str {
    let end = text.char_indices().nth(100).map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or(text)
}
