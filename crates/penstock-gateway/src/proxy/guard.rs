//! What a route itself says about a request before it may go on: preflights,
//! addresses, rates, redirects. In Envoy's order: a preflight is answered
//! before anything else, the others are asked behind the plugins that
//! authenticate.

use http::StatusCode;
use http::header::{HeaderName, HeaderValue, LOCATION};

use crate::error::{ErrorKind, GatewayError};
use crate::policy::{Cors, Redirect, RoutePolicy};
use crate::reply::Reply;
use crate::request::{ClientEvidence, RequestContext};
use crate::snapshot::Route;
use crate::state::Live;

const X_LOCAL_RATE_LIMIT: HeaderName = HeaderName::from_static("x-local-rate-limit");

/// The answer to a browser that asks for permission only, where it has it.
pub(super) fn preflight(route: &Route, cx: &RequestContext) -> Option<Box<Reply>> {
    let cors = route.policy.as_ref()?.cors.as_ref()?;
    if !Cors::is_preflight(&cx.method, &cx.headers) {
        return None;
    }
    let origin = cors.allowed_origin(&cx.headers)?;
    let mut reply = Reply::new(StatusCode::OK, "cors_preflight", "");
    reply.headers = cors.preflight_headers(origin);
    reply.is_bare = true;
    Some(Box::new(reply))
}

/// Whether a request that came in the clear is only told to come encrypted.
pub(super) fn is_redirected(route: &Route, cx: &RequestContext) -> bool {
    let policy = route.policy.as_deref();
    policy.is_some_and(|policy| policy.redirects_to_https) && !cx.came_encrypted()
}

/// Whether the client has shown the certificate that the route asks for, for
/// this host (Istio: where it asks for one, the server name must be the host).
///
/// # Errors
/// It has not. Over TLS another connection may help.
pub(super) fn check_client(route: &Route, cx: &RequestContext) -> Result<(), GatewayError> {
    let check = route.policy.as_deref().and_then(|policy| policy.client.as_ref());
    let Some(check) = check else { return Ok(()) };
    let is_admitted = match &cx.client {
        ClientEvidence::Assumed => true,
        ClientEvidence::Proof(proof) => check.admits(proof.as_deref(), &cx.host),
    };
    match (is_admitted, cx.is_tls) {
        (true, _) => Ok(()),
        (false, true) => Err(GatewayError::new(ErrorKind::Misdirected)
            .because("the connection brought no client certificate for this host")),
        (false, false) => Err(GatewayError::new(ErrorKind::ClientCertificateMissing)),
    }
}

/// The answer that keeps a request from its upstream, if there is one.
pub(super) fn stop(live: &Live, route: &Route, cx: &RequestContext) -> Option<Box<Reply>> {
    let policy = route.policy.as_deref()?;
    let reply = refusal(live, policy, cx).or_else(|| redirect(policy, cx))?;
    Some(Box::new(reply))
}

fn refusal(live: &Live, policy: &RoutePolicy, cx: &RequestContext) -> Option<Reply> {
    let address = cx.record.client.ip();
    if !policy.sources.iter().all(|list| list.admits(address)) {
        let message = "this address may not use this route";
        let reply = Reply::new(StatusCode::FORBIDDEN, "source_denied", message);
        return Some(reply.with_body("RBAC: access denied"));
    }
    let bucket = policy.rate_limit.and_then(|index| live.bucket(index));
    if bucket.is_some_and(|bucket| !bucket.take()) {
        let message = "too many requests on this route; try again later";
        let reply = Reply::new(StatusCode::TOO_MANY_REQUESTS, "route_rate_limited", message)
            .with_header(X_LOCAL_RATE_LIMIT, HeaderValue::from_static("true"));
        return Some(reply.with_body("local_rate_limited"));
    }
    None
}

fn redirect(policy: &RoutePolicy, cx: &RequestContext) -> Option<Reply> {
    let to_https;
    let redirect = match &policy.redirect {
        Some(redirect) => redirect,
        None if policy.redirects_to_https && !cx.came_encrypted() => {
            to_https = Redirect::to_https();
            &to_https
        }
        None => return None,
    };
    let authority = cx.authority.as_ref().and_then(|authority| authority.to_str().ok());
    let location = redirect.location(cx.is_tls, authority.unwrap_or(&cx.host), &cx.uri)?;
    let mut reply = Reply::new(redirect.status, "redirect", "");
    reply.headers.insert(LOCATION, location);
    policy.response_headers.apply(&mut reply.headers);
    reply.is_bare = true;
    Some(reply)
}
