//! What the annotations of an Ingress ask for.
//!
//! One row per key that Higress knows ([`ANNOTATIONS`]); a family that acts
//! has a file named as in Higress' `pkg/ingress/kube/annotations/`. A key of
//! the two gateway prefixes without a row is reported with the nearest name,
//! and one that asks for a protection which is not available closes its
//! routes: a restriction that is silently ignored is a hole.

mod destination;
mod matching;

pub use destination::{Destination, parse_destinations};
pub use matching::{Condition, Matcher, Subject};

use crate::diagnostic::{
    ANNOTATION_NOT_SUPPORTED, Diagnostic, INVALID_ANNOTATION, ROUTE_CLOSED, UNKNOWN_ANNOTATION,
    nearest,
};
use crate::node::{Cursor, Entry, Value};
use crate::resource::Resource;

/// The prefix that only Higress has.
pub const HIGRESS: &str = "higress.io/";
/// The prefix that Higress shares with ingress-nginx.
pub const NGINX: &str = "nginx.ingress.kubernetes.io/";

/// One annotation key, without its prefix.
#[derive(Debug)]
pub struct Row {
    /// The key, or its beginning where it ends in `-` (`exact-match-header-`).
    pub key: &'static str,
    /// Which prefixes it exists under.
    pub prefixes: Prefixes,
    /// What penstock does with it.
    pub support: Support,
}

/// The prefixes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefixes {
    /// Only `higress.io/`.
    Higress,
    /// Both; the nginx form is tried first.
    Both,
}

/// What penstock does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It acts.
    Acts,
    /// It has no effect on the gateway in Higress either.
    Marker,
    /// Known, without effect so far; reported.
    NotYet,
    /// It protects the route and is not available: the route is closed.
    Protects,
}

const fn row(key: &'static str, prefixes: Prefixes, support: Support) -> Row {
    Row { key, prefixes, support }
}

use Prefixes::{Both, Higress};
use Support::{Acts, Marker, NotYet, Protects};

/// Every key that Higress knows, in alphabetical order.
pub const ANNOTATIONS: &[Row] = &[
    row("affinity", Both, NotYet),
    row("affinity-canary-behavior", Both, Marker),
    row("affinity-mode", Both, Marker),
    row("app-root", Both, NotYet),
    row("auth-secret", Both, Protects),
    row("auth-tls-secret", Both, Protects),
    row("auth-type", Both, Protects),
    row("backend-protocol", Both, NotYet),
    row("canary", Both, NotYet),
    row("canary-by-cookie", Both, NotYet),
    row("canary-by-header", Both, NotYet),
    row("canary-by-header-pattern", Both, NotYet),
    row("canary-by-header-value", Both, NotYet),
    row("canary-weight", Both, NotYet),
    row("canary-weight-total", Both, NotYet),
    row("comment", Higress, Marker),
    row("cors-allow-credentials", Both, NotYet),
    row("cors-allow-headers", Both, NotYet),
    row("cors-allow-methods", Both, NotYet),
    row("cors-allow-origin", Both, NotYet),
    row("cors-expose-headers", Both, NotYet),
    row("cors-max-age", Both, NotYet),
    row("custom-http-errors", Both, NotYet),
    row("default-backend", Both, NotYet),
    row("destination", Higress, Acts),
    row("enable-cors", Both, NotYet),
    row("enable-header-control", Higress, Marker),
    row("enable-proxy-next-upstream", Higress, Marker),
    row("enable-rewrite", Higress, Marker),
    row("exact-match-header-", Higress, Acts),
    row("exact-match-pseudo-header-", Higress, Acts),
    row("exact-match-query-", Higress, Acts),
    row("force-ssl-redirect", Both, NotYet),
    row("full-path-regex", Higress, NotYet),
    row("ignore-path-case", Both, Acts),
    row("load-balance", Both, NotYet),
    row("match-method", Higress, Acts),
    row("mcp-server", Both, NotYet),
    row("mcp-server-enable-path-rewrite", Both, NotYet),
    row("mcp-server-match-rule-domains", Both, NotYet),
    row("mcp-server-match-rule-type", Both, NotYet),
    row("mcp-server-match-rule-value", Both, NotYet),
    row("mcp-server-path-rewrite-prefix", Both, NotYet),
    row("mcp-server-upstream-type", Both, NotYet),
    row("mcp-sse-stateful-param-name", Both, NotYet),
    row("mirror-percentage", Both, NotYet),
    row("mirror-target-fqdn", Both, NotYet),
    row("mirror-target-fqdn-port", Both, NotYet),
    row("mirror-target-service", Both, NotYet),
    row("permanent-redirect", Both, NotYet),
    row("permanent-redirect-code", Both, NotYet),
    row("prefix-match-header-", Higress, Acts),
    row("prefix-match-pseudo-header-", Higress, Acts),
    row("prefix-match-query-", Higress, Acts),
    row("proxy-next-upstream", Both, NotYet),
    row("proxy-next-upstream-timeout", Both, NotYet),
    row("proxy-next-upstream-tries", Both, NotYet),
    row("proxy-ssl-name", Both, NotYet),
    row("proxy-ssl-secret", Both, NotYet),
    row("proxy-ssl-server-name", Both, NotYet),
    row("proxy-ssl-verify", Both, NotYet),
    row("regex-match-header-", Higress, Acts),
    row("regex-match-pseudo-header-", Higress, Acts),
    row("regex-match-query-", Higress, Acts),
    row("request-header-control-add", Higress, NotYet),
    row("request-header-control-remove", Higress, NotYet),
    row("request-header-control-update", Higress, NotYet),
    row("resource-description", Higress, Marker),
    row("response-header-control-add", Higress, NotYet),
    row("response-header-control-remove", Higress, NotYet),
    row("response-header-control-update", Higress, NotYet),
    row("rewrite-path", Higress, NotYet),
    row("rewrite-target", Both, NotYet),
    row("route-limit-burst-multiplier", Higress, NotYet),
    row("route-limit-rpm", Higress, NotYet),
    row("route-limit-rps", Higress, NotYet),
    row("rpc-destination-name", Higress, NotYet),
    row("session-cookie-expires", Both, NotYet),
    row("session-cookie-max-age", Both, NotYet),
    row("session-cookie-name", Both, NotYet),
    row("session-cookie-path", Both, NotYet),
    row("ssl-cipher", Both, NotYet),
    row("ssl-passthrough", Both, NotYet),
    row("ssl-redirect", Both, NotYet),
    row("temporal-redirect", Both, NotYet),
    row("timeout", Higress, NotYet),
    row("tls-max-protocol-version", Both, NotYet),
    row("tls-min-protocol-version", Both, NotYet),
    row("upstream-hash-by", Both, NotYet),
    row("upstream-vhost", Both, Acts),
    row("use-regex", Both, NotYet),
    row("wasm-plugin-description", Higress, Marker),
    row("wasm-plugin-icon", Higress, Marker),
    row("wasm-plugin-title", Higress, Marker),
    row("whitelist-source-range", Both, Protects),
];

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
    /// Whether paths compare without case.
    pub ignore_path_case: bool,
    /// The `Host` that the upstream sees.
    pub upstream_vhost: Option<Box<str>>,
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
        let annotations =
            resource.cursor().get("metadata").and_then(|metadata| metadata.get("annotations"));
        let Some(annotations) = annotations else {
            return options;
        };
        for (entry, value) in annotations.entries() {
            let (key, is_nginx) =
                match (entry.key.strip_prefix(HIGRESS), entry.key.strip_prefix(NGINX)) {
                    (Some(key), _) => (key, false),
                    (_, Some(key)) => (key, true),
                    _ => continue,
                };
            match find(key, is_nginx) {
                None => diagnostics.push(unknown(entry, &value, key, is_nginx)),
                Some(row) => {
                    let written = Written { key, is_nginx, value: &value };
                    options.apply(row, &written, diagnostics);
                }
            }
        }
        options.conditions.sort();
        options
    }

    fn apply(
        &mut self,
        row: &'static Row,
        written: &Written<'_>,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let Written { key, value, .. } = *written;
        let text = written.text();
        match row.support {
            Marker => {}
            // Nobody knows what it asks for; it has been reported.
            Acts | Protects if matches!(value.node.value, Value::Unresolved(_)) => {
                self.closed = Some("an annotation refers to a Secret that is not there");
            }
            NotYet => {
                self.has_rewrite |=
                    matches!(key, "rewrite-target" | "use-regex" | "full-path-regex");
                self.is_canary |= key == "canary" && parse_bool(text) == Some(true);
                if !is_default(key, text) {
                    diagnostics.push(value.diagnostic(
                        &ANNOTATION_NOT_SUPPORTED,
                        format!("`{key}` is not acted upon yet"),
                    ));
                }
            }
            Protects => {
                self.closed = Some(row.key);
                diagnostics.push(value.diagnostic(
                    &ROUTE_CLOSED,
                    format!("`{key}` asks for a protection that is not available yet: its routes answer 503"),
                ));
            }
            Acts => self.act(written, diagnostics),
        }
    }

    fn act(&mut self, written: &Written<'_>, diagnostics: &mut Vec<Diagnostic>) {
        let Written { key, is_nginx, value } = *written;
        let text = written.text();
        match key {
            "destination" => {
                self.destinations = Some(parse_destinations(text, value, diagnostics));
            }
            // The nginx form wins where both are present and valid.
            "ignore-path-case" => match parse_bool(text) {
                Some(flag) if is_nginx || !self.ignore_path_case => self.ignore_path_case = flag,
                Some(_) => {}
                None => diagnostics.push(invalid(value, "a boolean such as `true`")),
            },
            "upstream-vhost" => {
                let host = text.trim();
                if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/') {
                    diagnostics.push(invalid(value, "a host"));
                } else if is_nginx || self.upstream_vhost.is_none() {
                    self.upstream_vhost = Some(host.into());
                }
            }
            "match-method" => self.methods = matching::parse_methods(text, value, diagnostics),
            _ => self.conditions.extend(matching::parse_condition(key, text, value, diagnostics)),
        }
    }
}

/// One annotation as it stands in a document.
struct Written<'a> {
    /// The key without its prefix.
    key: &'a str,
    /// Whether it has the nginx prefix.
    is_nginx: bool,
    /// The value.
    value: &'a Cursor<'a>,
}

impl Written<'_> {
    /// The text; values that are no text are reported when a file is read.
    fn text(&self) -> &str {
        self.value.node.as_str().unwrap_or_default()
    }
}

/// The row of a key, and `None` also where it does not exist under this
/// prefix.
fn find(key: &str, is_nginx: bool) -> Option<&'static Row> {
    ANNOTATIONS.iter().find(|row| {
        let names = match row.key.ends_with('-') {
            true => key.len() > row.key.len() && key.starts_with(row.key),
            false => key == row.key,
        };
        names && (!is_nginx || row.prefixes == Both)
    })
}

fn unknown(entry: &Entry, value: &Cursor<'_>, key: &str, is_nginx: bool) -> Diagnostic {
    let diagnostic = Diagnostic::at(
        &UNKNOWN_ANNOTATION,
        value.source,
        entry.key_at,
        format!("unknown annotation `{}`", entry.key),
    )
    .with_path(value.path.clone().into_owned());
    if is_nginx && find(key, false).is_some() {
        return diagnostic.with_hint(format!("`{key}` exists only as `{HIGRESS}{key}`"));
    }
    match nearest(key, ANNOTATIONS.iter().map(|row| row.key)) {
        Some(nearest) => diagnostic.with_hint(format!("did you mean `{nearest}`?")),
        None => diagnostic,
    }
}

fn invalid(value: &Cursor<'_>, expected: &str) -> Diagnostic {
    value.diagnostic(&INVALID_ANNOTATION, format!("`{}` must be {expected}", value.path))
}

/// Whether a value asks for nothing beyond what happens anyway, so that
/// reporting it would be noise.
fn is_default(key: &str, text: &str) -> bool {
    let flag = parse_bool(text);
    match key {
        "ssl-redirect" | "force-ssl-redirect" | "enable-cors" | "use-regex" | "full-path-regex"
        | "canary" | "mcp-server" | "ssl-passthrough" => flag == Some(false),
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
