//! Keeping a client with its endpoint by a cookie of the gateway's own.

use http::header::{HeaderMap, HeaderValue, SET_COOKIE};

use crate::balance::{Balance, HashKey, cookie, hash};
use crate::request::RequestContext;

/// A cookie that the client gets, and the endpoint's hash that goes with it.
pub struct AffinityCookie {
    line: HeaderValue,
    hash: u64,
}

/// What a request has in common with others for a service. A client without
/// the cookie that would say so is given one.
pub(super) fn of(balance: &Balance, cx: &mut RequestContext) -> Option<u64> {
    let Balance::Hash(key) = balance else { return None };
    let HashKey::Cookie { name, path, ttl_s } = key else { return key.of(cx) };
    if cookie(cx, name).is_some() {
        return key.of(cx);
    }
    // The same for every attempt of a request.
    if cx.affinity_cookie.is_none() {
        let value = format!("{:016x}", fastrand::u64(..));
        let age = if *ttl_s > 0 { format!("; Max-Age={ttl_s}") } else { String::new() };
        let line = HeaderValue::try_from(format!("{name}={value}{age}; Path={path}; HttpOnly"));
        cx.affinity_cookie = Some(AffinityCookie { line: line.ok()?, hash: hash(&value) });
    }
    cx.affinity_cookie.as_ref().map(|cookie| cookie.hash)
}

/// Gives the client the cookie that it lacks.
pub(super) fn set_cookie(cx: &RequestContext, headers: &mut HeaderMap) {
    if let Some(cookie) = &cx.affinity_cookie {
        headers.append(SET_COOKIE, cookie.line.clone());
    }
}
