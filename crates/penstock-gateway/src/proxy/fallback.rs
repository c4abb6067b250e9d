//! Another pass for a request that failed on its route: the whole chain and
//! the routing once more, and again where it fails there, with the request as it was received and a header
//! that says where it comes from
//! (Higress console: templates/envoyfilter-route-fallback.yaml).
//!
//! Invariant: what the gateway itself denied is not tried elsewhere. Another
//! pass is only prepared once the chain has let the request through.
//! Invariant: there are [`PASSES_MAX`] passes at most, none leads to a route
//! that has failed, and none begins once anything has been sent to the client.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use penstock_manifest::kind::envoy_filter::FALLBACK_HEADER;

use super::{Answer, Ran, Worker, pass};
use crate::error::{ErrorKind, GatewayError};
use crate::reply;
use crate::request::{RequestContext, X_MSE_CONSUMER};
use crate::route::RouteInput;
use crate::snapshot::{Fallback, Route};
use crate::state::Live;

/// Which route a request falls back from.
pub(super) const X_HIGRESS_FALLBACK_FROM: HeaderName = HeaderName::from_static(FALLBACK_HEADER);

/// The most passes of a request, the first one included.
pub(crate) const PASSES_MAX: usize = 4;

/// Where a request that falls back comes from.
pub struct FellBack {
    /// What led to this pass.
    fallback: Arc<Fallback>,
    /// The routes that have failed, in order.
    routes: Vec<Arc<str>>,
}

/// A request as it was received, for another pass.
pub struct Received {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    /// What the other pass is for, and the body; `None` until the chain has
    /// let the request through.
    prepared: Option<(Arc<Fallback>, Option<Bytes>)>,
}

/// An answer, of the route or of what it falls back on.
pub(super) async fn passes(
    worker: &Worker,
    live: &Live,
    cx: &mut RequestContext,
    ran: &mut Vec<Ran>,
) -> Result<Answer, GatewayError> {
    loop {
        let answer = pass(worker, live, cx, ran).await;
        let Some(received) = cx.received.take() else { return answer };
        if !begin_again(live, *received, &answer, cx) {
            return answer;
        }
        drop(answer);
        ran.clear();
    }
}

/// Makes a request that failed what it was when it was received, if another
/// route takes it.
fn begin_again(
    live: &Live,
    received: Received,
    answer: &Result<Answer, GatewayError>,
    cx: &mut RequestContext,
) -> bool {
    let Some((fallback, body)) = received.prepared else { return false };
    if !has_failed(answer, &fallback) {
        return false;
    }
    (cx.method, cx.uri) = (received.method, received.uri);
    let Some(route) = cx.record.route.clone() else { return false };
    let mut routes = failed(cx).to_vec();
    routes.push(route);
    if destination(live, cx, &fallback, &routes).is_none()
        || cx.restore_body(body.as_ref()).is_err()
    {
        return false;
    }
    cx.headers = received.headers;
    cx.headers.insert(X_HIGRESS_FALLBACK_FROM, fallback.from.clone());
    cx.begin_again(Box::new(FellBack { fallback, routes }));
    true
}

/// The routes that a request has failed on.
fn failed(cx: &RequestContext) -> &[Arc<str>] {
    cx.fell_back.as_ref().map_or(&[], |fell_back| &fell_back.routes)
}

/// Whether another route shall try. An answer of the gateway's own is a
/// denial, a redirect or the like.
fn has_failed(answer: &Result<Answer, GatewayError>, fallback: &Fallback) -> bool {
    let status = match answer {
        Ok(Answer::Local(_)) => return false,
        Ok(Answer::Upstream(response)) => response.status(),
        Err(error) if is_about_upstream(error.kind) => reply::status_of(error.kind),
        Err(_) => return false,
    };
    fallback.is_for(status)
}

/// Whether another upstream may do what one could not. What is wrong with the
/// request, or with the gateway, is so elsewhere, too.
fn is_about_upstream(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::ServiceUnknown
        | ErrorKind::NoEndpoint
        | ErrorKind::ServiceBusy
        | ErrorKind::ConnectFailed
        | ErrorKind::TlsFailed
        | ErrorKind::UpstreamClosed
        | ErrorKind::UpstreamInvalid
        | ErrorKind::UpstreamTimeout
        | ErrorKind::ContextUnavailable
        | ErrorKind::UnsupportedApi => true,
        ErrorKind::NoRoute
        | ErrorKind::NotConfigured
        | ErrorKind::RouteClosed
        | ErrorKind::PluginBroken
        | ErrorKind::BodyTooLarge
        | ErrorKind::HeadTooLarge
        | ErrorKind::OutOfBuffers
        | ErrorKind::BodyTimeout
        | ErrorKind::ClientClosed
        | ErrorKind::InvalidRequest
        | ErrorKind::UpgradeRefused
        | ErrorKind::Misdirected
        | ErrorKind::ClientCertificateMissing => false,
    }
}

impl Fallback {
    /// Whether it is used for a request that has fallen back so often.
    pub(crate) fn is_after(&self, times: usize) -> bool {
        times + 1 < PASSES_MAX && times < self.redirects_max as usize
    }

    fn is_for(&self, status: StatusCode) -> bool {
        (self.on_4xx && status.is_client_error()) || (self.on_5xx && status.is_server_error())
    }
}

/// Remembers the head of a request whose route has a fallback, or may still
/// lead to one, before the plugins behind this change it. Those that ran on
/// another route before may have named the consumer, which only the gateway
/// does; model-router sets its headers anew.
pub(super) fn remember(live: &Live, route: Option<&Route>, cx: &mut RequestContext) {
    let may_fall_back = match route {
        Some(route) => route.fallback.as_ref().is_some_and(|one| one.is_after(failed(cx).len())),
        None => live.snapshot.has_fallbacks,
    };
    let is_last = failed(cx).len() + 1 == PASSES_MAX;
    if !may_fall_back || is_last || cx.received.is_some() {
        return;
    }
    let mut headers = cx.headers.clone();
    headers.remove(X_MSE_CONSUMER);
    cx.received = Some(Box::new(Received {
        method: cx.method.clone(),
        uri: cx.uri.clone(),
        headers,
        prepared: None,
    }));
}

/// Prepares another pass of a request that goes to its upstream now. What
/// is sent again has to be at hand; what is too large is sent once.
pub(super) async fn prepare(route: &Route, cx: &mut RequestContext) -> Result<(), GatewayError> {
    let times = failed(cx).len();
    let may_be_used = |fallback: &&Arc<Fallback>| cx.received.is_some() && fallback.is_after(times);
    let Some(fallback) = route.fallback.as_ref().filter(may_be_used) else { return Ok(()) };
    let bytes_max = fallback.body_bytes_max;
    if !cx.body_fits() || !cx.body_is_within(bytes_max) {
        return Ok(());
    }
    cx.buffer_body().await?;
    let body = cx.first_body().cloned();
    if body.as_ref().is_none_or(|body| body.len() <= bytes_max)
        && let Some(received) = &mut cx.received
    {
        received.prepared = Some((fallback.clone(), body));
    }
    Ok(())
}

/// The route that takes a request that failed on some: another one, or none.
/// The headers are those that the plugins have made of it, by
/// which its model is known.
pub(crate) fn destination<'a>(
    live: &'a Live,
    cx: &RequestContext,
    fallback: &Fallback,
    failed: &[Arc<str>],
) -> Option<&'a Route> {
    let mut headers = cx.headers.clone();
    headers.insert(X_HIGRESS_FALLBACK_FROM, fallback.from.clone());
    let found = live.snapshot.find(&RouteInput { headers: &headers, ..cx.route_input() })?;
    let route = live.snapshot.route(found)?;
    (!failed.contains(&route.name)).then_some(route)
}

/// Tells the client that another route has answered.
pub(super) fn tell(cx: &RequestContext, headers: &mut HeaderMap) {
    if let Some(FellBack { fallback, .. }) = cx.fell_back.as_deref() {
        headers.insert(X_HIGRESS_FALLBACK_FROM, fallback.from.clone());
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(on: (bool, bool), answer: &Result<Answer, GatewayError>, expected: bool) {
        let from = HeaderValue::from_static("r");
        let (on_4xx, on_5xx) = on;
        let fallback = Fallback { from, on_4xx, on_5xx, body_bytes_max: 0, redirects_max: 1 };
        assert_eq!(has_failed(answer, &fallback), expected, "{on:?}");
    }

    #[test]
    fn denials_are_final() {
        for status in [400, 401, 403, 413, 429, 500, 503] {
            let status = StatusCode::from_u16(status).unwrap();
            let reply = Box::new(reply::Reply::new(status, "code", ""));
            check((true, true), &Ok(Answer::Local(reply)), false);
        }
    }

    #[test]
    fn what_is_wrong_with_the_upstream_is_tried_elsewhere() {
        let both = |kind: ErrorKind, expected: bool| {
            let answer = Err(GatewayError::new(kind));
            check((false, true), &answer, expected);
            check((true, true), &answer, expected);
            check((true, false), &answer, false);
        };
        both(ErrorKind::ServiceUnknown, true);
        both(ErrorKind::NoEndpoint, true);
        both(ErrorKind::ConnectFailed, true);
        both(ErrorKind::TlsFailed, true);
        both(ErrorKind::UpstreamClosed, true);
        both(ErrorKind::UpstreamInvalid, true);
        both(ErrorKind::UpstreamTimeout, true);
        both(ErrorKind::ContextUnavailable, true);
        both(ErrorKind::UnsupportedApi, true);
        both(ErrorKind::NoRoute, false);
        both(ErrorKind::NotConfigured, false);
        both(ErrorKind::RouteClosed, false);
        both(ErrorKind::PluginBroken, false);
        both(ErrorKind::BodyTooLarge, false);
        both(ErrorKind::OutOfBuffers, false);
        both(ErrorKind::BodyTimeout, false);
        both(ErrorKind::ClientClosed, false);
        both(ErrorKind::InvalidRequest, false);
        both(ErrorKind::UpgradeRefused, false);
        both(ErrorKind::Misdirected, false);
    }
}
