//! The table of annotations: one row per key that Higress knows, and per
//! protection of ingress-nginx, which must not be ignored.
//!
//! Nothing reads a key that has no row: [`Key::of`] runs when a constant is
//! compiled. The reference in `docs/manifests.md` is written from here.

use std::ops::BitOr;

/// One annotation key, without its prefix.
#[derive(Debug)]
pub struct Row {
    /// The key, or its beginning where it ends in `-` (`exact-match-header-`).
    pub key: &'static str,
    /// Which prefixes it exists under.
    pub prefixes: Prefixes,
    /// What penstock does with it.
    pub support: Support,
    /// The keys that are read together.
    pub family: Family,
    /// What holds without it, for the reference; empty for nothing.
    pub default: &'static str,
    /// Its value and what it does, for the reference: one line.
    pub meaning: &'static str,
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

/// Keys that are read together, named as the files in Higress'
/// `pkg/ingress/kube/annotations/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `auth.go`.
    Auth,
    /// `canary.go`.
    Canary,
    /// What only the console reads.
    Console,
    /// `cors.go`.
    Cors,
    /// `default_backend.go`.
    DefaultBackend,
    /// `destination.go`.
    Destination,
    /// `downstreamtls.go`.
    DownstreamTls,
    /// `header_control.go`.
    HeaderControl,
    /// `http2rpc.go`.
    Http2Rpc,
    /// `ignore_case.go`.
    IgnoreCase,
    /// `ip_access_control.go`.
    IpAccessControl,
    /// `loadbalance.go`.
    LoadBalance,
    /// `local_rate_limit.go`.
    LocalRateLimit,
    /// `match.go`.
    Match,
    /// `mcpserver.go`.
    McpServer,
    /// `mirror.go`.
    Mirror,
    /// What only ingress-nginx knows.
    Nginx,
    /// `redirect.go`.
    Redirect,
    /// `retry.go`.
    Retry,
    /// `rewrite.go`.
    Rewrite,
    /// `ssl_passthrough.go`.
    SslPassthrough,
    /// `timeout.go`.
    Timeout,
    /// `upstreamtls.go`.
    UpstreamTls,
}

impl Family {
    /// Which keys of a family need or overrule which, where they do.
    pub(super) fn order(self) -> Option<&'static str> {
        Some(match self {
            Family::Canary => {
                "it needs `canary: \"true\"`; a header wins over a cookie, a cookie over the weight"
            }
            Family::Cors => "it needs `enable-cors: \"true\"`",
            Family::LoadBalance => {
                "`affinity` wins over `upstream-hash-by`, that over `load-balance`; \
                 the age of the cookie needs `affinity`"
            }
            Family::LocalRateLimit => {
                "`route-limit-rpm` wins over `route-limit-rps`; the multiplier needs one of them"
            }
            Family::Mirror => {
                "it needs a target; `mirror-target-fqdn` wins over `mirror-target-service`"
            }
            Family::Redirect => {
                "`temporal-redirect` wins over `permanent-redirect`, whose code needs it"
            }
            Family::UpstreamTls => "`proxy-ssl-name` needs `proxy-ssl-server-name: \"on\"`",
            _ => return None,
        })
    }
}

/// A set of families, so that those of which an Ingress has no key cost
/// nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Families(u32);

impl Families {
    pub(super) fn contains(self, family: Family) -> bool {
        self.0 & Self::from(family).0 != 0
    }
}

impl From<Family> for Families {
    fn from(family: Family) -> Self {
        Self(1 << family as u32)
    }
}

impl BitOr for Families {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A key that has a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(usize);

impl Key {
    /// The key of this name. In a constant, a name without a row does not
    /// compile.
    pub(super) const fn of(name: &str) -> Self {
        let mut index = 0;
        while index < ANNOTATIONS.len() {
            if is_same(ANNOTATIONS[index].key, name) {
                return Self(index);
            }
            index += 1;
        }
        assert!(index < ANNOTATIONS.len(), "no annotation has this name");
        Self(index)
    }

    /// The key of a row.
    pub(super) fn at(index: usize) -> Self {
        Self(index)
    }

    pub(super) fn row(self) -> Option<&'static Row> {
        ANNOTATIONS.get(self.0)
    }
}

/// A set of keys.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Keys(u128);

const _: () = assert!(ANNOTATIONS.len() <= u128::BITS as usize);

impl Keys {
    pub(super) fn contains(self, key: Key) -> bool {
        self.0 & Self::from(key).0 != 0
    }
}

impl From<Key> for Keys {
    fn from(Key(index): Key) -> Self {
        Self(1 << index)
    }
}

impl BitOr for Keys {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// `==` of text is not there in constants.
const fn is_same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut index = 0;
    while index < a.len() {
        if a[index] != b[index] {
            return false;
        }
        index += 1;
    }
    true
}

/// The row of a key, and `None` also where it does not exist under this
/// prefix.
pub(super) fn find(key: &str, is_nginx: bool) -> Option<(usize, &'static Row)> {
    let index = match ANNOTATIONS.binary_search_by(|row| row.key.cmp(key)) {
        Ok(index) => index,
        // A name with an open end sorts right behind its row, or behind one
        // that continues it (`exact-match-header-` is no such case today).
        Err(index) => index.checked_sub(1)?,
    };
    let row = ANNOTATIONS.get(index)?;
    let names = match row.key.ends_with('-') {
        true => key.len() > row.key.len() && key.starts_with(row.key),
        false => key == row.key,
    };
    (names && (!is_nginx || row.prefixes == Prefixes::Both)).then_some((index, row))
}

macro_rules! table {
    ($($key:literal $prefixes:ident $support:ident $family:ident, $default:literal, $meaning:literal;)*) => {
        /// Every key that is known, in alphabetical order.
        pub const ANNOTATIONS: &[Row] = &[$(Row {
            key: $key,
            prefixes: Prefixes::$prefixes,
            support: Support::$support,
            family: Family::$family,
            default: $default,
            meaning: $meaning,
        }),*];
    };
}

table! {
    "affinity" Both Acts LoadBalance, "",
        "any value: a client stays with its endpoint by a cookie";
    "affinity-canary-behavior" Both Marker LoadBalance, "", "";
    "affinity-mode" Both Marker LoadBalance, "", "";
    "allowlist-source-range" Both Protects Nginx, "", "";
    "app-root" Both Acts Redirect, "",
        "path: `GET /` on the host answers 302 to it";
    "auth-secret" Both Protects Auth, "", "";
    "auth-signin" Both Protects Nginx, "", "";
    "auth-tls-match-cn" Both Protects Nginx, "", "";
    "auth-tls-secret" Both Acts DownstreamTls, "",
        "`[NAMESPACE/]NAME`: clients of the host must have a certificate of this Secret's `ca.crt`";
    "auth-type" Both Protects Auth, "", "";
    "auth-url" Both Protects Nginx, "", "";
    "backend-protocol" Both Acts UpstreamTls, "`HTTP`",
        "`HTTP`, `HTTP2`, `HTTPS`, `GRPC` or `GRPCS`, in any case";
    "blacklist-source-range" Both Acts IpAccessControl, "none",
        "comma list of addresses and CIDRs that get 403, `*` for all; also beside a whitelist";
    "canary" Both Acts Canary, "`false`",
        "boolean: the Ingress takes a part of the requests of the one with the same paths";
    "canary-by-cookie" Both Acts Canary, "",
        "requests with this cookie at `always`";
    "canary-by-header" Both Acts Canary, "",
        "requests with this header at `always`, or as the two next rows say";
    "canary-by-header-pattern" Both Acts Canary, "",
        "regular expression that is found in the header";
    "canary-by-header-value" Both Acts Canary, "",
        "regular expression over the whole header; wins over the pattern";
    "canary-weight" Both Acts Canary, "`0`",
        "share of the requests; headers and cookies win over it";
    "canary-weight-total" Both Acts Canary, "`100`",
        "what the weight is a share of";
    "comment" Higress Marker Console, "", "";
    "cors-allow-credentials" Both Acts Cors, "`true`",
        "boolean";
    "cors-allow-headers" Both Acts Cors, "nine common headers",
        "comma list";
    "cors-allow-methods" Both Acts Cors, "`GET, PUT, POST, DELETE, PATCH, OPTIONS`",
        "comma list";
    "cors-allow-origin" Both Acts Cors, "`*`",
        "comma list of origins, `*`, or `SCHEME://*.HOST` for what ends in `.HOST`";
    "cors-expose-headers" Both Acts Cors, "",
        "comma list";
    "cors-max-age" Both Acts Cors, "`1728000`",
        "seconds that an answer to a preflight holds";
    "custom-http-errors" Both Acts DefaultBackend, "",
        "comma list of codes of the upstream after which `default-backend` answers";
    "default-backend" Both Acts DefaultBackend, "",
        "`[NAMESPACE/]SERVICE`: takes requests when the route's services have no endpoint";
    "denylist-source-range" Both Protects Nginx, "", "";
    "destination" Higress Acts Destination, "",
        "lines of `[WEIGHT%] [http://\\|https://]HOST[:PORT]`";
    "domain-blacklist-source-range" Both Acts IpAccessControl, "none",
        "as `blacklist-source-range`, for all routes of the host that have neither list themselves";
    "domain-whitelist-source-range" Both Acts IpAccessControl, "all",
        "as `whitelist-source-range`, for all routes of the host that have neither list themselves";
    "enable-cors" Both Acts Cors, "`false`",
        "boolean: answers preflights and adds CORS headers; the other `cors-` keys need it";
    "enable-header-control" Higress Marker Console, "", "";
    "enable-modsecurity" Both Protects Nginx, "`false`", "";
    "enable-proxy-next-upstream" Higress Marker Console, "", "";
    "enable-rewrite" Higress Marker Console, "", "";
    "exact-match-header-" Higress Acts Match, "",
        "the header has this value";
    "exact-match-pseudo-header-" Higress Acts Match, "",
        "the same for `authority`, `method`, `path` or `scheme`";
    "exact-match-query-" Higress Acts Match, "",
        "the query parameter has this value";
    "force-ssl-redirect" Both Acts Redirect, "`false`",
        "as `ssl-redirect`";
    "full-path-regex" Higress Acts Rewrite, "`false`",
        "boolean: paths are regular expressions over the whole path";
    "global-rate-limit" Both Protects Nginx, "", "";
    "ignore-path-case" Both Acts IgnoreCase, "`false`",
        "boolean: exact and prefix paths compare without case";
    "limit-connections" Both Protects Nginx, "`0`: none", "";
    "limit-rpm" Both Protects Nginx, "`0`: none", "";
    "limit-rps" Both Protects Nginx, "`0`: none", "";
    "load-balance" Both Acts LoadBalance, "`round_robin`",
        "`round_robin`, `least_conn`, `least_request` or `random`; with `passthrough` and `mcp-sse` endpoints take turns (`PS306`)";
    "match-method" Higress Acts Match, "all",
        "methods with spaces between them";
    "mcp-server" Both NotYet McpServer, "`false`", "";
    "mcp-server-enable-path-rewrite" Both NotYet McpServer, "", "";
    "mcp-server-match-rule-domains" Both NotYet McpServer, "", "";
    "mcp-server-match-rule-type" Both NotYet McpServer, "", "";
    "mcp-server-match-rule-value" Both NotYet McpServer, "", "";
    "mcp-server-path-rewrite-prefix" Both NotYet McpServer, "", "";
    "mcp-server-upstream-type" Both NotYet McpServer, "", "";
    "mcp-sse-stateful-param-name" Both NotYet LoadBalance, "`sessionId`", "";
    "mirror-percentage" Both Acts Mirror, "`100`",
        "percent of the requests that are mirrored";
    "mirror-target-fqdn" Both Acts Mirror, "",
        "host of a service that gets copies of the requests; wins over the Service";
    "mirror-target-fqdn-port" Both Acts Mirror, "`80`",
        "its port";
    "mirror-target-service" Both Acts Mirror, "",
        "`[NAMESPACE/]SERVICE[:PORT]` that gets copies of the requests";
    "permanent-redirect" Both Acts Redirect, "",
        "URL: answers 301 to it";
    "permanent-redirect-code" Both Acts Redirect, "`301`",
        "301, 302, 303, 307 or 308";
    "prefix-match-header-" Higress Acts Match, "",
        "the header begins so";
    "prefix-match-pseudo-header-" Higress Acts Match, "",
        "the same for `authority`, `method`, `path` or `scheme`";
    "prefix-match-query-" Higress Acts Match, "",
        "the query parameter begins so";
    "proxy-next-upstream" Both Acts Retry, "`error`",
        "list of `error`, `timeout`, `invalid_header` (each: any 5xx), `http_CODE`, `non_idempotent`, or `off`";
    "proxy-next-upstream-timeout" Both Acts Retry, "`0`: none",
        "seconds for each try";
    "proxy-next-upstream-tries" Both Acts Retry, "`3`",
        "retries at most; `0` for none";
    "proxy-ssl-name" Both Acts UpstreamTls, "",
        "name that is sent as SNI; needs `proxy-ssl-server-name`";
    "proxy-ssl-secret" Both Acts UpstreamTls, "",
        "`[NAMESPACE/]NAME`: the certificate shown to the upstream, and `ca.crt`, which its own is checked against";
    "proxy-ssl-server-name" Both Acts UpstreamTls, "`off`",
        "`on` or `off`: whether `proxy-ssl-name` is used";
    "proxy-ssl-verify" Both Acts UpstreamTls, "`--upstream-tls`",
        "`on` or `off`: whether the upstream's certificate is checked; one with `ca.crt` always is";
    "regex-match-header-" Higress Acts Match, "",
        "regular expression over the whole header; `*` for any value";
    "regex-match-pseudo-header-" Higress Acts Match, "",
        "the same for `authority`, `method`, `path` or `scheme`";
    "regex-match-query-" Higress Acts Match, "",
        "regular expression over the whole query parameter; `*` for any value";
    "request-header-control-add" Higress Acts HeaderControl, "",
        "lines of `NAME VALUE` that are added to requests";
    "request-header-control-remove" Higress Acts HeaderControl, "",
        "comma list of headers that are removed from requests";
    "request-header-control-update" Higress Acts HeaderControl, "",
        "lines of `NAME VALUE` that replace headers of requests";
    "resource-description" Higress Marker Console, "", "";
    "response-header-control-add" Higress Acts HeaderControl, "",
        "lines of `NAME VALUE` that are added to answers";
    "response-header-control-remove" Higress Acts HeaderControl, "",
        "comma list of headers that are removed from answers";
    "response-header-control-update" Higress Acts HeaderControl, "",
        "lines of `NAME VALUE` that replace headers of answers";
    "rewrite-path" Higress Acts Rewrite, "",
        "path that replaces the matched part; wins over `rewrite-target`";
    "rewrite-target" Both Acts Rewrite, "",
        "path that replaces what the path matches; `$1` … `$9` are its groups";
    "route-limit-burst-multiplier" Higress Acts LocalRateLimit, "`5`",
        "how many intervals' worth of requests may come at once";
    "route-limit-rpm" Higress Acts LocalRateLimit, "",
        "requests a minute of this process; others get 429";
    "route-limit-rps" Higress Acts LocalRateLimit, "",
        "requests a second; `route-limit-rpm` wins over it";
    "rpc-destination-name" Higress NotYet Http2Rpc, "", "";
    "session-cookie-expires" Both Acts LoadBalance, "",
        "as `session-cookie-max-age`, which wins";
    "session-cookie-max-age" Both Acts LoadBalance, "`0`: the session",
        "seconds that the cookie of `affinity` lives";
    "session-cookie-name" Both Acts LoadBalance, "`INGRESSCOOKIE`",
        "name of the cookie; its presence turns `affinity` on";
    "session-cookie-path" Both Acts LoadBalance, "`/`",
        "path of the cookie; its presence turns `affinity` on";
    "ssl-cipher" Both Acts DownstreamTls, "",
        "cipher suites of TLS 1.2 for the host, by their OpenSSL names with `:` between them";
    "ssl-passthrough" Both NotYet SslPassthrough, "`false`",
        "boolean: TLS of the host is passed on without being read; its handshakes are refused";
    "ssl-redirect" Both Acts Redirect, "`false`",
        "boolean: plain HTTP answers 308 to HTTPS";
    "temporal-redirect" Both Acts Redirect, "",
        "URL: answers 302 to it; wins over `permanent-redirect`";
    "timeout" Higress Acts Timeout, "`0`: none",
        "seconds until an unfinished request answers 504";
    "tls-max-protocol-version" Both Acts DownstreamTls, "`TLSv1.3`",
        "`TLSv1.0` … `TLSv1.3`, for the host";
    "tls-min-protocol-version" Both Acts DownstreamTls, "`TLSv1.2`",
        "`TLSv1.0` … `TLSv1.3`, for the host";
    "upstream-hash-by" Both Acts LoadBalance, "",
        "`$remote_addr`, `$request_uri`, `$host`, `$http_NAME` or `$arg_NAME`: equal values go to one endpoint";
    "upstream-vhost" Both Acts Rewrite, "",
        "`Host` that the upstream sees";
    "use-regex" Both Acts Rewrite, "`false`",
        "boolean: paths are regular expressions over the beginning of the path";
    "wasm-plugin-description" Higress Marker Console, "", "";
    "wasm-plugin-icon" Higress Marker Console, "", "";
    "wasm-plugin-title" Higress Marker Console, "", "";
    "whitelist-source-range" Both Acts IpAccessControl, "all",
        "comma list of addresses and CIDRs; others get 403";
}
