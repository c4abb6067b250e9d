//! What a client's head may say about the connection, about the gateway and
//! about itself; what it must not is removed or refused.
//!
//! Invariant: nothing that a client sends can be taken for the gateway's own.

use std::net::{IpAddr, SocketAddr};

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT,
    HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{Method, Uri, Version};

use super::{RequestBody, X_FORWARDED_FOR, X_HI_ORIGINAL_AUTH};
use crate::error::{ErrorKind, GatewayError};
use crate::route::normalise_path;

/// Headers that only the gateway may set; what a client sends is removed.
const GATEWAY_ONLY: [&str; 3] =
    ["x-mse-consumer", "x-higress-fallback-from", "x-forwarded-client-cert"];

/// What the names of headers begin with by which Envoy is told what to do, or
/// tells what it did; what a client sends is removed.
const GATEWAY_ONLY_PREFIX: &str = "x-envoy-";

/// What a trailer must not say (RFC 9110, 6.5.1): what frames, routes,
/// authenticates or describes the message.
static NEVER_TRAILERS: [HeaderName; 8] = [
    AUTHORIZATION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    COOKIE,
    HOST,
    TRAILER,
    X_HI_ORIGINAL_AUTH,
];

/// The methods that Envoy's parser of HTTP/1.1 knows besides the nine of RFC
/// 9110 and 5789; it refuses all others. Ordered.
const MORE_METHODS: [&str; 26] = [
    "ACL",
    "BIND",
    "CHECKOUT",
    "COPY",
    "LINK",
    "LOCK",
    "M-SEARCH",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MOVE",
    "MSEARCH",
    "NOTIFY",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "REBIND",
    "REPORT",
    "SEARCH",
    "SOURCE",
    "SUBSCRIBE",
    "UNBIND",
    "UNLINK",
    "UNLOCK",
    "UNSUBSCRIBE",
];

/// Removes hop-by-hop headers, those that `Connection` names, `Expect`, which
/// the gateway itself meets, and those only the gateway may set, also as
/// `X_Mse_Consumer`: upstreams that turn headers into variables cannot tell
/// the two spellings apart.
pub(super) fn strip(headers: &mut HeaderMap) {
    remove_named(headers);
    remove_where(headers, |name| {
        is_hop_by_hop(name) || *name == EXPECT || is_gateway_only(name.as_str())
    });
}

/// Most heads have none of them, so they are looked at before anything is
/// looked up.
fn remove_where(headers: &mut HeaderMap, is_unwanted: impl Fn(&HeaderName) -> bool) {
    while let Some(name) = headers.keys().find(|name| is_unwanted(name)).cloned() {
        headers.remove(name);
    }
}

/// Headers about one connection, which never travel on (RFC 9110, 7.6.1).
fn is_hop_by_hop(name: &HeaderName) -> bool {
    match *name {
        CONNECTION | PROXY_AUTHENTICATE | PROXY_AUTHORIZATION => true,
        TE | TRANSFER_ENCODING | UPGRADE => true,
        _ => matches!(name.as_str(), "http2-settings" | "keep-alive" | "proxy-connection"),
    }
}

fn is_gateway_only(name: &str) -> bool {
    if !name.starts_with('x') {
        return false;
    }
    let is_like = |own: &str, name: &str| {
        own.bytes()
            .zip(name.bytes())
            .all(|(own, byte)| own == byte || (own == b'-' && byte == b'_'))
    };
    let is_longer = name.len() >= GATEWAY_ONLY_PREFIX.len();
    is_longer && is_like(GATEWAY_ONLY_PREFIX, name)
        || GATEWAY_ONLY.iter().any(|own| own.len() == name.len() && is_like(own, name))
}

/// Removes from trailers what they must not say, or what was judged in the
/// headers already.
pub fn strip_trailers(trailers: &mut HeaderMap) {
    strip(trailers);
    for name in &NEVER_TRAILERS {
        trailers.remove(name);
    }
    remove_where(trailers, |name| name.as_str().replace('_', "-").starts_with("x-forwarded-"));
}

/// Whether a header lists a word, in any case.
fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    words(headers, name).any(|known| known.eq_ignore_ascii_case(word))
}

fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).iter().flat_map(words_of)
}

fn words_of(value: &HeaderValue) -> impl Iterator<Item = &str> {
    let text = value.to_str().ok();
    text.into_iter().flat_map(|text| text.split(',')).map(str::trim)
}

/// Whether the client wants a WebSocket. Offers of HTTP/2 and TLS are passed
/// over, as Envoy does: the request is served as it stands. What would hand
/// over the connection otherwise is refused.
pub(super) fn wanted_upgrade(
    parts: &Parts,
    said: &Said<'_>,
    body: &RequestBody,
) -> Result<bool, GatewayError> {
    if parts.method == Method::CONNECT {
        return Err(GatewayError::new(ErrorKind::UpgradeRefused));
    }
    let is_asked = parts.version == Version::HTTP_11
        && said.offers_upgrade
        && lists(&parts.headers, &CONNECTION, "upgrade");
    if !is_asked {
        return Ok(false);
    }
    let is_offer = |protocol: &str| {
        let name = protocol.split('/').next().unwrap_or_default();
        ["h2", "h2c", "tls", ""].iter().any(|known| name.eq_ignore_ascii_case(known))
    };
    let mut wanted = words(&parts.headers, &UPGRADE).filter(|protocol| !is_offer(protocol));
    match (wanted.next(), wanted.next()) {
        (None, _) => Ok(false),
        (Some(protocol), None) if protocol.eq_ignore_ascii_case("websocket") => match body {
            RequestBody::Empty => Ok(true),
            // Where the body ends and the new protocol begins could be read
            // in two ways.
            _ => Err(GatewayError::new(ErrorKind::InvalidRequest)),
        },
        _ => Err(GatewayError::new(ErrorKind::UpgradeRefused)),
    }
}

pub(super) fn is_known(method: &Method) -> bool {
    let is_common = matches!(
        *method,
        Method::GET
            | Method::POST
            | Method::PUT
            | Method::DELETE
            | Method::HEAD
            | Method::OPTIONS
            | Method::PATCH
            | Method::TRACE
    );
    is_common || MORE_METHODS.binary_search(&method.as_str()).is_ok()
}

/// Who asks: the peer, or, behind proxies that are believed, the address that
/// the first of them saw (Envoy: `xff_num_trusted_hops`). With fewer addresses
/// than proxies it is the peer.
pub(super) fn client_address(
    headers: &HeaderMap,
    peer: SocketAddr,
    trusted_hops: usize,
) -> SocketAddr {
    let told = trusted_hops.checked_sub(1).and_then(|skipped| {
        let chain: Vec<&str> = words(headers, &X_FORWARDED_FOR).collect();
        chain.iter().rev().nth(skipped)?.parse::<IpAddr>().ok()
    });
    told.map_or(peer, |ip| SocketAddr::new(ip, 0))
}

/// The bytes of a head as HTTP/1.1 writes it, nearly.
pub(super) fn head_bytes(uri: &Uri, headers: &HeaderMap) -> usize {
    let lines = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    lines.sum::<usize>() + uri.path_and_query().map_or(1, |path| path.as_str().len())
}

/// Removes the headers that are about one connection only.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    remove_named(headers);
    remove_where(headers, is_hop_by_hop);
}

/// Removes what `Connection` names.
fn remove_named(headers: &mut HeaderMap) {
    // What is nearly always said: `close` is no header, the other one goes
    // anyway.
    const USUAL: [&str; 2] = ["keep-alive", "close"];
    let names_one = |(name, value): (&HeaderName, &HeaderValue)| {
        *name == CONNECTION && USUAL.iter().all(|usual| value != usual)
    };
    if headers.iter().any(names_one) {
        let named: Vec<HeaderName> = words(headers, &CONNECTION)
            .filter(|word| !USUAL.contains(word))
            .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
}

/// Origin form with a normalised path. `None` for `*` and `CONNECT` targets,
/// which have no path that a route could match.
pub(super) fn normalise(uri: Uri) -> Option<Uri> {
    let path = uri.path();
    if !path.starts_with('/') {
        return None;
    }
    let normal = normalise_path(path);
    if normal.is_none() && uri.authority().is_none() {
        return Some(uri);
    }
    let mut text = normal.unwrap_or_else(|| path.to_owned());
    if let Some(query) = uri.query() {
        text.push('?');
        text.push_str(query);
    }
    text.parse().ok()
}

/// A host in lower case without its port.
pub(crate) fn host_of(authority: &HeaderValue) -> Box<str> {
    let text = authority.to_str().unwrap_or_default();
    // So short that a search of many bytes at a time does not pay.
    let at = text.bytes().rposition(|byte| byte == b'@');
    let host = at.and_then(|at| text.get(at + 1..)).unwrap_or(text);
    let end = match host.starts_with('[') {
        true => host.bytes().position(|byte| byte == b']').map(|at| at + 1),
        false => host.bytes().position(|byte| byte == b':'),
    };
    let name = end.and_then(|end| host.get(..end)).unwrap_or(host);
    name.to_ascii_lowercase().into()
}

/// What a head says about the request itself, found in one pass: a look-up
/// for each would cost more. Good until something changes the headers.
#[derive(Default)]
pub(super) struct Said<'a> {
    /// The first `Host`.
    pub(super) host: Option<&'a HeaderValue>,
    has_other_host: bool,
    length: Option<&'a HeaderValue>,
    has_other_length: bool,
    offers_upgrade: bool,
    /// Whether the client takes trailers.
    pub(super) takes_trailers: bool,
}

impl<'a> Said<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let mut said = Self::default();
        for (name, value) in headers {
            match *name {
                HOST if said.host.is_some() => said.has_other_host = true,
                HOST => said.host = Some(value),
                CONTENT_LENGTH if said.length.is_some() => said.has_other_length = true,
                CONTENT_LENGTH => said.length = Some(value),
                UPGRADE => said.offers_upgrade = true,
                TE => {
                    said.takes_trailers |=
                        words_of(value).any(|word| word.eq_ignore_ascii_case("trailers"))
                }
                _ => {}
            }
        }
        said
    }
}

/// Whether a request says once, and in one way, which host it is for.
pub(super) fn has_one_host(uri: &Uri, said: &Said<'_>) -> bool {
    let hosts = (uri.authority().map(|authority| authority.as_str().as_bytes()), said.host);
    let is_http = uri.scheme().is_none_or(|scheme| ["http", "https"].contains(&scheme.as_str()));
    !said.has_other_host
        && is_http
        && match hosts {
            // RFC 9112, 3.2.2 prefers the target; whoever ignores it does not.
            (Some(target), Some(header)) => {
                is_host(target) && target.eq_ignore_ascii_case(header.as_bytes())
            }
            (Some(host), None) => is_host(host),
            (None, Some(header)) => is_host(header.as_bytes()),
            (None, None) => false,
        }
}

/// Whether a request states the length of its body once at most, in digits.
/// In HTTP/2 nobody before has insisted on that.
pub(super) fn has_one_length(said: &Said<'_>) -> bool {
    let is_number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    said.length.is_none_or(|length| is_number(length.as_bytes())) && !said.has_other_length
}

/// A name or an address, with or without a port; without a user.
fn is_host(text: &[u8]) -> bool {
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let is_of_address = |byte: &u8| byte.is_ascii_hexdigit() || b":.".contains(byte);
    let (host, port, is_valid) = match text.strip_prefix(b"[") {
        Some(rest) => {
            let end = rest.iter().position(|byte| *byte == b']').unwrap_or(rest.len());
            let (address, behind) = rest.split_at_checked(end).unwrap_or((rest, b""));
            let is_closed = behind.first() == Some(&b']');
            let port = behind.get(1..).unwrap_or_default();
            (address, port, is_closed && address.iter().all(is_of_address))
        }
        None => {
            let end = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
            let (name, port) = text.split_at_checked(end).unwrap_or((text, b""));
            (name, port, name.iter().all(is_of_name))
        }
    };
    let is_number = |port: &[u8]| port.len() <= 5 && port.iter().all(u8::is_ascii_digit);
    let is_port = port.is_empty() || port.strip_prefix(b":").is_some_and(is_number);
    is_valid && is_port && !host.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_without_port_and_case() {
        let check = |sent: &str, expected: &str| {
            assert_eq!(&*host_of(&HeaderValue::from_str(sent).unwrap()), expected);
        };
        check("Example.COM:8080", "example.com");
        check("example.com", "example.com");
        check("[2001:DB8::1]:80", "[2001:db8::1]");
        check("user:pass@example.com:1", "example.com");
        check("", "");
    }

    #[test]
    fn connection_headers_do_not_travel() {
        let mut headers = HeaderMap::new();
        headers.insert("connection", HeaderValue::from_static("close, X-Private"));
        headers.insert("x-private", HeaderValue::from_static("1"));
        headers.insert("te", HeaderValue::from_static("trailers"));
        headers.insert("x-mse-consumer", HeaderValue::from_static("admin"));
        headers.insert("x-higress-fallback-from", HeaderValue::from_static("r"));
        headers.insert("x_mse-consumer", HeaderValue::from_static("admin"));
        headers.insert("x-kept", HeaderValue::from_static("1"));
        strip(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-kept"]);
    }

    #[test]
    fn nobody_can_pose_as_the_gateway() {
        let check =
            |name: &str, expected: bool| assert_eq!(is_gateway_only(name), expected, "{name}");
        check("x-mse-consumer", true);
        check("x_mse-consumer", true);
        check("x_mse_consumer", true);
        check("x-mse-consumers", false);
        check("x-envoy-original-path", true);
        check("x_envoy_retry_on", true);
        check("x-envoy", false);
        check("x-higress-fallback-from", true);
        check("x-higress-llm-model", false);
        check("", false);
    }

    #[test]
    fn methods_are_those_of_envoy() {
        assert!(MORE_METHODS.is_sorted());
        let check = |name: &str, expected: bool| {
            assert_eq!(is_known(&Method::from_bytes(name.as_bytes()).unwrap()), expected, "{name}");
        };
        check("GET", true);
        check("PROPFIND", true);
        check("M-SEARCH", true);
        check("get", false);
        check("FOO", false);
    }

    #[test]
    fn the_client_is_found_behind_trusted_proxies() {
        let peer = SocketAddr::from(([10, 0, 0, 1], 5));
        let check = |chain: &'static str, hops: usize, expected: &str| {
            let mut headers = HeaderMap::new();
            for value in chain.split('|').filter(|value| !value.is_empty()) {
                headers.append(X_FORWARDED_FOR, HeaderValue::from_static(value));
            }
            let ip = client_address(&headers, peer, hops).ip();
            assert_eq!(ip.to_string(), expected, "{chain} {hops}");
        };
        check("1.1.1.1, 2.2.2.2", 0, "10.0.0.1");
        check("1.1.1.1, 2.2.2.2", 1, "2.2.2.2");
        check("1.1.1.1|2.2.2.2", 2, "1.1.1.1");
        check("1.1.1.1, 2.2.2.2", 3, "10.0.0.1");
        check("unknown", 1, "10.0.0.1");
        check("2001:db8::7", 1, "2001:db8::7");
        check("", 1, "10.0.0.1");
    }

    #[test]
    fn what_hands_over_the_connection_is_a_websocket_or_refused() {
        let check = |upgrade: &str, expected: Result<bool, ErrorKind>| {
            let request = http::Request::get("/").header("connection", "keep-alive, Upgrade");
            let (parts, ()) = request.header("upgrade", upgrade).body(()).unwrap().into_parts();
            let said = Said::of(&parts.headers);
            let wanted = wanted_upgrade(&parts, &said, &RequestBody::Empty);
            let wanted = wanted.map_err(|error| error.kind);
            assert_eq!(wanted, expected, "{upgrade}");
        };
        check("websocket", Ok(true));
        check("WebSocket", Ok(true));
        check("h2c", Ok(false));
        check("TLS/1.0", Ok(false));
        check("h2c, websocket", Ok(true));
        check("foo", Err(ErrorKind::UpgradeRefused));
        check("websocket, foo", Err(ErrorKind::UpgradeRefused));
    }

    #[test]
    fn a_length_is_stated_once() {
        let check = |stated: &[&'static str], expected: bool| {
            let stated = stated.iter().map(|text| HeaderValue::from_static(text));
            let headers = stated.map(|value| (CONTENT_LENGTH, value)).collect();
            assert_eq!(has_one_length(&Said::of(&headers)), expected, "{headers:?}");
        };
        check(&[], true);
        check(&["0"], true);
        check(&["0015"], true);
        check(&[""], false);
        check(&["+1"], false);
        check(&["1 "], false);
        check(&["1", "1"], false);
    }

    #[test]
    fn a_host_has_one_spelling() {
        for host in ["a", "A.b-c_d.test:80", "127.0.0.1:8080", "[::1]", "[2001:db8::1]:443", "a:"] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            ":80",
            "a b",
            "a,b",
            "u@a",
            "a/",
            "a\\b",
            "a:b",
            "a:1:2",
            "a:123456",
            "[::1",
            "[]",
            "[a.test]x",
            "::1",
            "a%00",
            "\u{e4}",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
