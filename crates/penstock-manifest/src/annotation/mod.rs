//! What the annotations of an Ingress ask for.
//!
//! One row per key that Higress knows, and per protection of ingress-nginx
//! ([`ANNOTATIONS`]); a family that acts
//! has a file named as in Higress' `pkg/ingress/kube/annotations/`, which
//! turns its keys into plain data and does nothing else. A key of
//! the two gateway prefixes without a row is reported with the nearest name,
//! and one that asks for a protection which is not available closes its
//! routes: a restriction that is silently ignored is a hole.
//!
//! Invariant: a key without a row cannot be read.
//! Invariant: any text is read in time linear in its length.

mod canary;
mod cors;
mod default_backend;
mod destination;
mod downstreamtls;
mod header_control;
mod ip_access_control;
mod loadbalance;
mod local_rate_limit;
mod matching;
mod mirror;
mod redirect;
mod reference;
mod retry;
mod rewrite;
mod table;
mod timeout;
mod upstreamtls;
mod view;

#[cfg(test)]
mod tests;

pub use canary::{Canary, CanaryBy, CanaryValue};
pub use cors::{AllowOrigin, Cors};
pub use default_backend::Fallback;
pub use destination::{Destination, parse_destinations};
pub use downstreamtls::{DownstreamTls, TlsVersion};
pub use header_control::HeaderControl;
pub use ip_access_control::{SourceRange, Sources};
pub use loadbalance::{AffinityCookie, HashKey, LoadBalance};
pub use local_rate_limit::RateLimit;
pub use matching::{Condition, Matcher, Subject};
pub use mirror::{Mirror, MirrorTarget};
pub use redirect::Redirect;
pub use reference::{SecretRef, ServiceRef};
pub use retry::Retry;
pub use rewrite::{PathRegex, RegexTrigger, Rewrite};
pub use table::{ANNOTATIONS, Family, Prefixes, Row, Support};
pub use upstreamtls::{UpstreamProtocol, UpstreamTls};

use table::{Families, Key};
use view::{Annotations, Written};

use crate::diagnostic::{
    ANNOTATION_NOT_SUPPORTED, Diagnostic, ROUTE_CLOSED, UNKNOWN_ANNOTATION, nearest,
};
use crate::node::{Entry, join};
use crate::resource::Resource;

/// The prefix that only Higress has.
pub const HIGRESS: &str = "higress.io/";
/// The prefix that Higress shares with ingress-nginx.
pub const NGINX: &str = "nginx.ingress.kubernetes.io/";

/// The longest key that Kubernetes takes, without its prefix.
const KEY_BYTES_MAX: usize = 63;

const DESTINATION: Key = Key::of("destination");
const IGNORE_PATH_CASE: Key = Key::of("ignore-path-case");
const SSL_PASSTHROUGH: Key = Key::of("ssl-passthrough");

/// What the annotations of one Ingress ask for, for all of its paths.
#[derive(Clone, Debug, Default)]
pub struct RouteOptions {
    /// The destinations; `None` where the annotation is absent, empty where
    /// it cannot be read.
    pub destinations: Option<Vec<Destination>>,
    /// The methods that match; empty for all.
    pub methods: Vec<Box<str>>,
    /// Conditions on headers, pseudo-headers and query parameters, sorted.
    pub conditions: Vec<Condition>,
    /// Whether exact and prefix paths compare without case.
    pub ignore_path_case: bool,
    /// Whether paths are regular expressions over their beginning.
    /// [`RouteOptions::path_regex`] decides about a path.
    pub use_regex: bool,
    /// Whether paths are regular expressions over the whole path.
    pub full_path_regex: bool,
    /// The path that the upstream sees; `None` for the request's.
    pub rewrite: Option<Box<Rewrite>>,
    /// The `Host` that the upstream sees.
    pub upstream_vhost: Option<Box<str>>,
    /// Where the routes redirect to, instead of having an upstream.
    pub redirect: Option<Box<Redirect>>,
    /// Where `GET /` on the hosts of the Ingress redirects to, with 302: a
    /// path. The last Ingress of a host wins.
    pub app_root: Option<Box<str>>,
    /// Whether plain HTTP is redirected to HTTPS, with 308.
    /// Higress: `ssl-redirect` or `force-ssl-redirect`.
    pub ssl_redirect: bool,
    /// Changes to the headers of requests.
    pub request_headers: Option<Box<HeaderControl>>,
    /// Changes to the headers of answers.
    pub response_headers: Option<Box<HeaderControl>>,
    /// What pages of other origins may do; `None` where `enable-cors` is not
    /// true.
    pub cors: Option<Box<Cors>>,
    /// Seconds until an unfinished request answers 504, at least 1.
    pub timeout_s: Option<u32>,
    /// When a request is sent again; `None` for the gateway's default.
    pub retry: Option<Box<Retry>>,
    /// How many requests a route takes.
    pub rate_limit: Option<RateLimit>,
    /// How endpoints are chosen; `None` for the gateway's default.
    pub load_balance: Option<Box<LoadBalance>>,
    /// The protocol and TLS of the destinations; `None` for HTTP/1.1, or for
    /// what the registry says.
    pub upstream_tls: Option<Box<UpstreamTls>>,
    /// The addresses that may use the routes.
    pub sources: Sources,
    /// The addresses that may use the routes of the hosts, whichever Ingress
    /// they are of, that have no list of their own.
    pub domain_sources: Sources,
    /// TLS towards clients.
    pub downstream_tls: Option<Box<DownstreamTls>>,
    /// Whether the TLS of the hosts is meant for their upstreams and must not
    /// be ended here. Higress: `ssl-passthrough`.
    pub ssl_passthrough: bool,
    /// Who answers in place of the destinations.
    pub fallback: Option<Box<Fallback>>,
    /// Who gets copies of requests.
    pub mirror: Option<Box<Mirror>>,
    /// Which requests it takes, where the Ingress is a canary.
    pub canary: Option<Box<Canary>>,
    /// Whether an absent pathType may end in `.*` literally.
    pub has_rewrite: bool,
    /// Why the routes must answer 503, where they must.
    pub closed: Option<&'static str>,
    /// Whether the Ingress is a canary, which is no route of its own.
    pub is_canary: bool,
}

impl RouteOptions {
    /// Reads all annotations of an Ingress. A bad value costs its own feature
    /// only.
    pub fn parse(resource: &Resource, diagnostics: &mut Vec<Diagnostic>) -> Self {
        let mut options = Self::default();
        let entries = resource.root.get("metadata").and_then(|metadata| {
            metadata.get("annotations")?.as_map().map(|map| map.entries.as_slice())
        });
        let mut annotations =
            Annotations::new(&resource.key.namespace, &resource.source, diagnostics);
        let mut families = Families::default();
        for entry in entries.unwrap_or_default() {
            let (key, is_nginx) =
                match (entry.key.strip_prefix(HIGRESS), entry.key.strip_prefix(NGINX)) {
                    (Some(key), _) => (key, false),
                    (_, Some(key)) => (key, true),
                    _ => continue,
                };
            let Some((index, row)) = table::find(key, is_nginx) else {
                let unknown = unknown(&annotations, entry, key, is_nginx);
                annotations.diagnostics.push(unknown);
                continue;
            };
            let written = Written::new(entry, Key::at(index), is_nginx);
            options.has_rewrite |=
                matches!(key, "rewrite-target" | "use-regex" | "full-path-regex");
            if is_usable(row, &written, &mut annotations) {
                families = families | row.family.into();
                annotations.add(written);
            } else if matches!(
                row.key,
                "domain-blacklist-source-range" | "domain-whitelist-source-range"
            ) {
                options.domain_sources = Sources::nobody();
            }
        }
        options.read_matching(families, &mut annotations);
        options.read_answers(families, &mut annotations);
        options.read_upstreams(families, &mut annotations);
        annotations.report_unused();
        options.closed = annotations.closed;
        options
    }

    /// What decides whether a request is one of the route's, and allowed.
    fn read_matching(&mut self, families: Families, annotations: &mut Annotations<'_, '_>) {
        if families.contains(Family::Canary) {
            self.canary = canary::parse(annotations);
            self.is_canary = self.canary.is_some();
        }
        if families.contains(Family::DownstreamTls) {
            self.downstream_tls = downstreamtls::parse(annotations);
        }
        if families.contains(Family::SslPassthrough) {
            self.ssl_passthrough = annotations.flag(SSL_PASSTHROUGH).unwrap_or_default();
        }
        if families.contains(Family::IgnoreCase) {
            self.ignore_path_case = annotations.flag(IGNORE_PATH_CASE).unwrap_or_default();
        }
        if families.contains(Family::IpAccessControl) {
            let [own, domain] = ip_access_control::parse(annotations);
            self.sources = own;
            if !self.domain_sources.is_nobody() {
                self.domain_sources = domain;
            }
        }
        if families.contains(Family::LocalRateLimit) {
            self.rate_limit = local_rate_limit::parse(annotations);
        }
        if families.contains(Family::Match) {
            (self.methods, self.conditions) = matching::parse(annotations);
        }
    }

    /// What the gateway answers or changes itself.
    fn read_answers(&mut self, families: Families, annotations: &mut Annotations<'_, '_>) {
        if families.contains(Family::Cors) {
            self.cors = cors::parse(annotations);
        }
        if families.contains(Family::HeaderControl) {
            (self.request_headers, self.response_headers) = header_control::parse(annotations);
        }
        if families.contains(Family::Redirect) {
            let read = redirect::parse(annotations);
            self.redirect = read.redirect;
            self.app_root = read.app_root;
            self.ssl_redirect = read.ssl_redirect;
        }
        if families.contains(Family::Rewrite) {
            let read = rewrite::parse(annotations);
            self.use_regex = read.use_regex;
            self.full_path_regex = read.full_path_regex;
            self.rewrite = read.rewrite;
            self.upstream_vhost = read.upstream_vhost;
        }
    }

    /// Where requests go, and how.
    fn read_upstreams(&mut self, families: Families, annotations: &mut Annotations<'_, '_>) {
        if families.contains(Family::DefaultBackend) {
            self.fallback = default_backend::parse(annotations);
        }
        if families.contains(Family::Destination) {
            for written in annotations.forms(DESTINATION).into_iter().flatten() {
                let cursor = annotations.cursor(&written);
                let diagnostics = &mut *annotations.diagnostics;
                self.destinations = Some(parse_destinations(written.raw(), &cursor, diagnostics));
            }
        }
        if families.contains(Family::LoadBalance) {
            self.load_balance = loadbalance::parse(annotations);
        }
        if families.contains(Family::Mirror) {
            self.mirror = mirror::parse(annotations);
        }
        if families.contains(Family::Retry) {
            self.retry = retry::parse(annotations);
        }
        if families.contains(Family::Timeout) {
            self.timeout_s = timeout::parse(annotations);
        }
        if families.contains(Family::UpstreamTls) {
            self.upstream_tls = upstreamtls::parse(annotations);
        }
    }
}

/// Whether something reads an annotation; what nothing reads is reported
/// where it asks for anything.
fn is_usable<'a>(row: &Row, written: &Written<'a>, annotations: &mut Annotations<'a, '_>) -> bool {
    match row.support {
        Support::Marker => false,
        // Nobody knows what it asks for; it has been reported.
        Support::Acts | Support::Protects if written.is_unresolved() => {
            annotations.closed = Some("an annotation cannot be read");
            false
        }
        Support::NotYet => {
            if !is_default(written) {
                let message = format!("`{}` is not acted upon yet", written.name);
                let cursor = annotations.cursor(written);
                annotations.diagnostics.push(cursor.diagnostic(&ANNOTATION_NOT_SUPPORTED, message));
            }
            true
        }
        Support::Protects if is_default(written) => true,
        Support::Protects => {
            annotations.closed = Some(row.key);
            let message = format!(
                "`{}` asks for a protection that is not available yet: its routes answer 503",
                row.key
            );
            let cursor = annotations.cursor(written);
            annotations.diagnostics.push(cursor.diagnostic(&ROUTE_CLOSED, message));
            true
        }
        Support::Acts => true,
    }
}

fn unknown(
    annotations: &Annotations<'_, '_>,
    entry: &Entry,
    key: &str,
    is_nginx: bool,
) -> Diagnostic {
    let diagnostic = Diagnostic::at(
        &UNKNOWN_ANNOTATION,
        annotations.source,
        entry.key_at,
        format!("unknown annotation `{}`", entry.key),
    )
    .with_path(join("metadata.annotations", &entry.key));
    if is_nginx && table::find(key, false).is_some() {
        return diagnostic.with_hint(format!("`{key}` exists only as `{HIGRESS}{key}`"));
    }
    // Comparing takes time, and a key that is longer than any was not mistyped.
    let nearest = (key.len() <= KEY_BYTES_MAX)
        .then(|| nearest(key, ANNOTATIONS.iter().map(|row| row.key)))
        .flatten();
    match nearest {
        Some(nearest) => diagnostic.with_hint(format!("did you mean `{nearest}`?")),
        None => diagnostic,
    }
}

/// Whether an annotation that nothing acts on asks for nothing beyond what
/// happens anyway, so that reporting it would be noise.
fn is_default(written: &Written<'_>) -> bool {
    match written.name {
        "enable-modsecurity" | "mcp-server" | "ssl-passthrough" => {
            parse_bool(written.raw()) == Some(false)
        }
        // ingress-nginx: 0 is no limit.
        "limit-connections" | "limit-rpm" | "limit-rps" => written.raw().trim() == "0",
        _ => false,
    }
}

/// The spellings of Go's `strconv.ParseBool`.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text.trim() {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}
