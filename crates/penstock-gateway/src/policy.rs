//! What a route asks for besides where its requests go: redirects, rewriting,
//! headers, CORS, time, limits. Data that annotations become
//! (Higress: pkg/ingress/kube/annotations/) and pure functions over it.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN,
};
use http::{Method, StatusCode};
use regex::Regex;

use crate::certificate::ClientCheck;
use crate::snapshot::{LimitIndex, ServiceIndex};

/// What a route asks for; most routes have none of it.
#[derive(Clone, Debug, Default)]
pub struct RoutePolicy {
    /// The answer, instead of an upstream's.
    pub redirect: Option<Redirect>,
    /// Whether requests that came unencrypted are sent to HTTPS, with 308.
    pub redirects_to_https: bool,
    /// What becomes of the path.
    pub rewrite: Option<Rewrite>,
    /// Changes of the request's headers.
    pub request_headers: HeaderEdits,
    /// Changes of the headers of an upstream's answer.
    pub response_headers: HeaderEdits,
    /// Which pages of other origins may ask.
    pub cors: Option<Cors>,
    /// The time for a whole request; `None` leaves it to the process.
    pub timeout: Option<Duration>,
    /// Whether and how often a failed attempt is repeated.
    pub retry: Option<Retry>,
    /// How many requests pass.
    pub rate_limit: Option<LimitIndex>,
    /// The addresses that may ask: those that every list admits.
    pub sources: Vec<SourceList>,
    /// Who answers where the route's own services cannot.
    pub fallback: Option<Fallback>,
    /// Who gets copies of requests.
    pub mirror: Option<Mirror>,
    /// What clients have to show in the handshake; `None` for nothing.
    pub client: Option<ClientCheck>,
}

/// An answer that sends the client elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// `http` or `https`; `None` for that of the request.
    pub scheme: Option<Box<str>>,
    /// The host with its port; `None` for that of the request.
    pub authority: Option<Box<str>>,
    /// The path; `None` for that of the request. The query is kept, unless
    /// the path has one.
    pub path: Option<Box<str>>,
}

impl Redirect {
    /// To the same place over HTTPS (Higress: redirect.go, `ssl-redirect`).
    pub fn to_https() -> Self {
        Self {
            status: StatusCode::PERMANENT_REDIRECT,
            scheme: Some("https".into()),
            authority: None,
            path: None,
        }
    }

    /// The value of `Location` for a request.
    pub fn location(&self, is_tls: bool, authority: &str, uri: &http::Uri) -> Option<HeaderValue> {
        let scheme = match (&self.scheme, is_tls) {
            (Some(scheme), _) => scheme,
            (None, true) => "https",
            (None, false) => "http",
        };
        let authority = match &self.authority {
            Some(authority) => authority,
            None => without_default_port(authority, is_tls, scheme),
        };
        let path = self.path.as_deref().unwrap_or(uri.path());
        let mut location = format!("{scheme}://{authority}{path}");
        if let Some(query) = uri.query().filter(|_| !path.contains('?')) {
            location.push('?');
            location.push_str(query);
        }
        HeaderValue::try_from(location).ok()
    }
}

/// Envoy drops the port that is the default of the scheme that is left.
fn without_default_port<'a>(authority: &'a str, is_tls: bool, scheme: &str) -> &'a str {
    let changes = scheme != if is_tls { "https" } else { "http" };
    let port = if is_tls { ":443" } else { ":80" };
    match authority.strip_suffix(port) {
        Some(host) if changes => host,
        _ => authority,
    }
}

/// What becomes of a path on its way to the upstream.
#[derive(Clone, Debug)]
pub enum Rewrite {
    /// The whole path.
    Whole(Box<str>),
    /// The matched prefix. An empty `prefix` stands for `/`.
    Prefix {
        /// What is replaced, without a trailing slash.
        prefix: Box<str>,
        /// Whether ASCII case counts.
        ignore_case: bool,
        /// What comes in its place.
        with: Box<str>,
    },
    /// Every occurrence of an expression.
    Regex {
        /// The expression, not anchored unless it says so.
        regex: Box<Regex>,
        /// The replacement, with `${1}` for a group.
        with: Box<str>,
    },
}

impl Rewrite {
    /// The new path for one without query; `None` where it stays
    /// (Higress: rewrite.go).
    pub fn apply(&self, path: &str) -> Option<String> {
        match self {
            Self::Whole(with) => Some(with.to_string()),
            Self::Prefix { prefix, ignore_case, with } => {
                let (start, rest) = (path.get(..prefix.len())?, path.get(prefix.len()..)?);
                let is_here = match ignore_case {
                    false => start == &**prefix,
                    true => start.eq_ignore_ascii_case(prefix),
                };
                if !is_here || !(rest.is_empty() || rest.starts_with('/')) {
                    return None;
                }
                // A value that ends in a slash takes the place of the slash.
                let rest = match with.ends_with('/') {
                    true => rest.strip_prefix('/').unwrap_or(rest),
                    false => rest,
                };
                Some(format!("{with}{rest}"))
            }
            Self::Regex { regex, with } => match regex.replace_all(path, &**with) {
                Cow::Borrowed(_) => None,
                Cow::Owned(path) => Some(path),
            },
        }
        .map(|path| if path.starts_with('/') { path } else { format!("/{path}") })
    }
}

/// Changes of headers (Higress: header_control.go).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Values to add behind those that are there.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Values to set in place of those that are there.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Headers to remove.
    pub remove: Vec<HeaderName>,
}

impl HeaderEdits {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.set.is_empty() && self.remove.is_empty()
    }

    /// Makes the changes: Envoy removes first.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name.clone(), value.clone());
        }
    }
}

/// Which pages of other origins may ask (Higress: cors.go).
#[derive(Clone, Debug)]
pub struct Cors {
    /// Where pages may come from.
    pub origins: Vec<OriginMatch>,
    /// `Access-Control-Allow-Methods`.
    pub methods: Option<HeaderValue>,
    /// `Access-Control-Allow-Headers`.
    pub headers: Option<HeaderValue>,
    /// `Access-Control-Expose-Headers`.
    pub exposed: Option<HeaderValue>,
    /// Whether cookies may be sent.
    pub allows_credentials: bool,
    /// How long a page may remember all this.
    pub max_age: Option<HeaderValue>,
}

/// An origin that may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginMatch {
    /// Every one.
    Any,
    /// This one.
    Exact(Box<str>),
    /// Every one whose host ends so, in any scheme.
    Suffix(Box<str>),
}

impl Cors {
    /// The origin of a request, where it may ask.
    pub fn allowed_origin<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        let text = origin.to_str().ok().filter(|text| !text.is_empty())?;
        let is_allowed = self.origins.iter().any(|allowed| match allowed {
            OriginMatch::Any => true,
            OriginMatch::Exact(whole) => **whole == *text,
            OriginMatch::Suffix(end) => text.ends_with(&**end),
        });
        is_allowed.then_some(origin)
    }

    /// Whether a browser asks for permission only.
    pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
        *method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// The headers of the answer to a preflight.
    pub fn preflight_headers(&self, origin: &HeaderValue) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        self.add_credentials(&mut headers);
        let stated = [
            (ACCESS_CONTROL_ALLOW_METHODS, &self.methods),
            (ACCESS_CONTROL_ALLOW_HEADERS, &self.headers),
            (ACCESS_CONTROL_MAX_AGE, &self.max_age),
        ];
        for (name, value) in stated {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
        headers
    }

    /// Adds to an answer what lets a page of `origin` read it.
    pub fn permit(&self, origin: &HeaderValue, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        self.add_credentials(headers);
        if let Some(exposed) = &self.exposed {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
        }
    }

    fn add_credentials(&self, headers: &mut HeaderMap) {
        if self.allows_credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
}

/// Whether and how often a failed attempt is repeated (Higress: retry.go).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often, besides the first attempt.
    pub times: u32,
    /// The time for each attempt.
    pub try_timeout: Option<Duration>,
    /// Whether failed connections, resets, time-outs and every 5xx count.
    pub on_5xx: bool,
    /// Whether a request may be repeated that may do something twice.
    pub repeats_all_methods: bool,
    /// Other statuses that count.
    pub statuses: Vec<StatusCode>,
}

/// How many requests pass (Higress: local_rate_limit.go).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RateLimit {
    /// How many are added in each interval.
    pub per_interval: u32,
    /// A second or a minute.
    pub interval: Duration,
    /// The most that may be saved up.
    pub burst: u32,
}

/// Who answers where the route's own services cannot
/// (Higress: default_backend.go).
#[derive(Clone, Debug)]
pub struct Fallback {
    /// The service: takes requests where the route's own has no endpoint.
    pub service: ServiceIndex,
    /// Answers after which the request is sent there once, as one for `/`.
    pub errors: Vec<StatusCode>,
    /// `x-envoy-route-name` of such a request.
    pub route_name: HeaderValue,
    /// `x-envoy-fallback-service` of such a request.
    pub service_name: HeaderValue,
}

/// Who gets copies of requests, whose answers nobody waits for
/// (Higress: mirror.go).
#[derive(Clone, Copy, Debug)]
pub struct Mirror {
    /// The service.
    pub service: ServiceIndex,
    /// Percent of the requests.
    pub percentage: u32,
}

/// Who may ask, by address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceList {
    /// These only.
    Allowed(Vec<Network>),
    /// All but these.
    Denied(Vec<Network>),
}

impl SourceList {
    /// Whether an address may ask, as far as this list is concerned.
    pub fn admits(&self, address: IpAddr) -> bool {
        let is_in = |networks: &[Network]| networks.iter().any(|one| one.contains(address));
        match self {
            Self::Allowed(networks) => is_in(networks),
            Self::Denied(networks) => !is_in(networks),
        }
    }
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// An address in it.
    pub address: IpAddr,
    /// How many of its leading bits all have.
    pub prefix_bits: u8,
}

impl Network {
    /// Whether an address is in it; one of IPv4 inside IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32_u32.saturating_sub(self.prefix_bits.into());
                let mask = u32::MAX.checked_shl(shift).unwrap_or(0);
                u32::from(network) & mask == u32::from(address) & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128_u32.saturating_sub(self.prefix_bits.into());
                let mask = u128::MAX.checked_shl(shift).unwrap_or(0);
                u128::from(network) & mask == u128::from(address) & mask
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
