//! How endpoints are chosen (Higress: annotations/loadbalance.go).

use super::table::Key;
use super::view::{Annotations, is_token};

const AFFINITY: Key = Key::of("affinity");
const ALGORITHM: Key = Key::of("load-balance");
const COOKIE_EXPIRES: Key = Key::of("session-cookie-expires");
const COOKIE_MAX_AGE: Key = Key::of("session-cookie-max-age");
const COOKIE_NAME: Key = Key::of("session-cookie-name");
const COOKIE_PATH: Key = Key::of("session-cookie-path");
const HASH_BY: Key = Key::of("upstream-hash-by");

const COOKIE_NAME_DEFAULT: &str = "INGRESSCOOKIE";
const COOKIE_PATH_DEFAULT: &str = "/";
/// Browsers drop a cookie that is longer as a whole (RFC 6265bis, 5.6).
const COOKIE_BYTES_MAX: usize = 1024;

/// How the endpoints of the destinations are chosen. In Higress it belongs to
/// the destination: the first Ingress that names a service decides for all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LoadBalance {
    /// `round_robin`, the default; also where `upstream-hash-by` cannot be
    /// used.
    RoundRobin,
    /// `least_conn`, `least_request`, and every name that is not known.
    LeastConn,
    /// `random`.
    Random,
    /// `passthrough`: the address that the client asked for.
    Passthrough,
    /// `mcp-sse`: the session of an MCP stream decides.
    McpSse,
    /// `upstream-hash-by`: equal values go to one endpoint.
    Hash(HashKey),
    /// `affinity`: a cookie of the gateway's decides. It wins over the others.
    Cookie(AffinityCookie),
}

/// What is hashed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HashKey {
    /// The client's address: `$remote_addr`.
    SourceAddress,
    /// The path with its query: `$request_uri`.
    RequestUri,
    /// The host that the client asked for: `$host`.
    Host,
    /// A header by its name in lower case: `$http_NAME`.
    Header(Box<str>),
    /// A query parameter: `$arg_NAME`.
    Query(Box<str>),
}

/// The cookie that keeps a client at its endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AffinityCookie {
    /// Its name, a token. Default `INGRESSCOOKIE`.
    /// Higress: `session-cookie-name`.
    pub name: Box<str>,
    /// Its path, visible ASCII without a `;`. Default `/`.
    /// Higress: `session-cookie-path`.
    pub path: Box<str>,
    /// Seconds that it lives; 0, the default, for the client's session.
    /// Higress: `session-cookie-max-age`, else `session-cookie-expires`.
    pub ttl_s: u32,
}

pub(super) fn parse(annotations: &mut Annotations<'_, '_>) -> Option<Box<LoadBalance>> {
    let has_cookie = [AFFINITY, COOKIE_NAME, COOKIE_PATH].iter().any(|key| annotations.has(*key));
    let load_balance = if has_cookie {
        LoadBalance::Cookie(cookie(annotations))
    } else if annotations.has(HASH_BY) {
        let expected = "`$remote_addr`, `$request_uri`, `$host`, `$http_NAME` or `$arg_NAME`";
        annotations
            .read(HASH_BY, expected, parse_hash_key)
            .map_or(LoadBalance::RoundRobin, LoadBalance::Hash)
    } else if let Some((written, text)) = annotations.text(ALGORITHM) {
        parse_algorithm(&text).unwrap_or_else(|| {
            annotations.must_be(
                &written,
                "`round_robin`, `least_conn`, `least_request`, `random`, `passthrough` or \
                 `mcp-sse`",
            );
            LoadBalance::LeastConn
        })
    } else {
        // `session-cookie-max-age` alone turns nothing on.
        return None;
    };
    Some(Box::new(load_balance))
}

fn cookie(annotations: &mut Annotations<'_, '_>) -> AffinityCookie {
    let name = annotations.read(COOKIE_NAME, "the name of a cookie", |text| {
        (text.len() <= COOKIE_BYTES_MAX && is_token(text)).then(|| text.into())
    });
    let path = annotations.read(COOKIE_PATH, "a path", |text| {
        let is_usable = |byte: u8| byte.is_ascii_graphic() && byte != b';';
        ((1..=COOKIE_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_usable))
            .then(|| text.into())
    });
    let ttl_s = annotations.seconds(COOKIE_MAX_AGE);
    AffinityCookie {
        name: name.unwrap_or_else(|| COOKIE_NAME_DEFAULT.into()),
        path: path.unwrap_or_else(|| COOKIE_PATH_DEFAULT.into()),
        ttl_s: ttl_s.or_else(|| annotations.seconds(COOKIE_EXPIRES)).unwrap_or_default(),
    }
}

fn parse_hash_key(text: &str) -> Option<HashKey> {
    match text {
        "$remote_addr" => Some(HashKey::SourceAddress),
        "$request_uri" => Some(HashKey::RequestUri),
        "$host" => Some(HashKey::Host),
        _ => {
            if let Some(name) = text.strip_prefix("$http_") {
                return is_token(name).then(|| HashKey::Header(name.to_ascii_lowercase().into()));
            }
            let name = text.strip_prefix("$arg_").filter(|name| !name.is_empty())?;
            Some(HashKey::Query(name.into()))
        }
    }
}

fn parse_algorithm(text: &str) -> Option<LoadBalance> {
    match text.to_ascii_lowercase().as_str() {
        "round_robin" => Some(LoadBalance::RoundRobin),
        "least_conn" | "least_request" => Some(LoadBalance::LeastConn),
        "random" => Some(LoadBalance::Random),
        "passthrough" => Some(LoadBalance::Passthrough),
        "mcp-sse" => Some(LoadBalance::McpSse),
        _ => None,
    }
}
