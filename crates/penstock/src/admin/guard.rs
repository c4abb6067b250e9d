//! Who may ask: the token, and what keeps other people's web pages from
//! asking through the browser of somebody who may.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use subtle::ConstantTimeEq;

use super::endpoint::{Endpoint, Needs, Takes};
use super::refused::Refused;
use crate::target::FailureKind;

/// What stands before a token, in any case (RFC 9110 section 11.1).
const SCHEME: &[u8] = b"Bearer ";

/// The admin token. It has no `Debug`.
pub struct AdminToken(Box<str>);

impl AdminToken {
    /// A token from the text of its file.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.into()))
    }

    fn is_in(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        given
            .and_then(|value| value.split_at_checked(SCHEME.len()))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME))
            .is_some_and(|(_, given)| given.ct_eq(self.0.as_bytes()).into())
    }
}

/// Whether somebody may see what the gateway does.
pub fn may_read(token: Option<&AdminToken>, headers: &HeaderMap) -> bool {
    token.is_none_or(|token| token.is_in(headers))
}

/// Refuses whoever may not ask.
pub fn check(
    token: Option<&AdminToken>,
    endpoint: &Endpoint,
    request: &Parts,
) -> Result<(), Refused> {
    let headers = &request.headers;
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri.authority().map(http::uri::Authority::as_str));
    if token.is_none() && !host.is_some_and(is_local_name) {
        let message = "without --admin-token-file, only requests to an IP address or to \
                       localhost are answered";
        return Err(Refused::forbidden(message));
    }
    if let Some(origin) = headers.get(ORIGIN)
        && !origin.to_str().is_ok_and(|origin| is_same_site(origin, host))
    {
        return Err(Refused::forbidden("pages of other sites may not ask"));
    }
    match token {
        None if endpoint.needs == Needs::Change => Err(Refused::forbidden(NO_CHANGES)),
        Some(token) if !token.is_in(headers) => {
            Err(Refused::unauthorized(match headers.contains_key(AUTHORIZATION) {
                true => "the token is not the one of this gateway",
                false => "a token is needed: Authorization: Bearer TOKEN",
            }))
        }
        _ => Ok(()),
    }
}

/// Why nothing can be changed where no token is set.
pub const NO_CHANGES: &str =
    "this gateway takes no changes from afar: it was started without --admin-token-file";

/// The host that a browser was led to by DNS would be a name.
fn is_local_name(host: &str) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

/// Whether a page comes from where the request goes. The scheme is that of
/// whatever stands in front.
fn is_same_site(origin: &str, host: Option<&str>) -> bool {
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.zip(host).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
}

/// Whether the body is YAML. What a browser would send for another site
/// without asking first, such as a form, is refused.
pub fn is_yaml(takes: Takes, headers: &HeaderMap) -> Result<bool, Refused> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match (takes, &*kind) {
        (Takes::Nothing, _) | (_, "application/json") => Ok(false),
        (Takes::JsonOrYaml, "application/yaml") => Ok(true),
        _ => {
            let wanted = match takes {
                Takes::JsonOrYaml => "application/json or application/yaml",
                _ => "application/json",
            };
            let message = format!("the Content-Type has to be {wanted}");
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            Err(Refused::new(status, FailureKind::Invalid, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_given_with_its_scheme_in_any_case() {
        let token = AdminToken::new("tok\n");
        let check = |given: &'static str, expected| {
            let value = HeaderValue::from_static(given);
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
            assert_eq!(may_read(token.as_ref(), &headers), expected, "{given}");
        };
        for given in ["Bearer tok", "bearer tok", "BEARER tok"] {
            check(given, true);
        }
        for given in ["tok", "Bearer", "Bearer ", "Bearer TOK", "Bearer tok2", "Basic tok", ""] {
            check(given, false);
        }
    }

    #[test]
    fn only_addresses_and_localhost_are_local_names() {
        for host in
            ["127.0.0.1:8001", "[::1]:8001", "[::1]", "localhost", "LOCALHOST:1", "10.0.0.1"]
        {
            assert!(is_local_name(host), "{host}");
        }
        for host in ["evil.test", "localhost.evil.test:8001", "127.0.0.1.evil.test", "", ":80"] {
            assert!(!is_local_name(host), "{host}");
        }
    }

    #[test]
    fn a_page_is_of_the_same_site_by_its_authority() {
        let check = |origin, expected| {
            assert_eq!(is_same_site(origin, Some("127.0.0.1:8001")), expected, "{origin}");
        };
        check("http://127.0.0.1:8001", true);
        check("https://127.0.0.1:8001", true);
        check("http://127.0.0.1:8002", false);
        check("http://evil.test", false);
        check("null", false);
    }
}
