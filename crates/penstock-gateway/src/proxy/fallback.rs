//! Another pass for a request that failed on its route: the whole chain and
//! the routing once more, with the request as it was received and a header
//! that says where it comes from
//! (Higress console: templates/envoyfilter-route-fallback.yaml).
//!
//! Invariant: what the gateway itself denied is not tried elsewhere. A second
//! pass is only prepared once the chain has let the request through.
//! Invariant: there is one other pass at most, and none once anything has
//! been sent to the client.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
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

/// A request as it was received, for the second pass.
pub struct Received {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    /// What the second pass is for, and the body; `None` until the chain has
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
    let answer = pass(worker, live, cx, ran).await;
    let Some(received) = cx.received.take() else { return answer };
    let Received { method, uri, headers, prepared } = *received;
    let Some((fallback, body)) = prepared.filter(|(fallback, _)| has_failed(&answer, fallback))
    else {
        return answer;
    };
    (cx.method, cx.uri) = (method, uri);
    if destination(live, cx, &fallback).is_none() || cx.restore_body(body.as_ref()).is_err() {
        return answer;
    }
    drop(answer);
    ran.clear();
    cx.headers = headers;
    cx.headers.insert(X_HIGRESS_FALLBACK_FROM, fallback.from.clone());
    cx.begin_again(fallback.from.clone());
    pass(worker, live, cx, ran).await
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
        | ErrorKind::ConnectFailed
        | ErrorKind::TlsFailed
        | ErrorKind::UpstreamClosed
        | ErrorKind::UpstreamInvalid
        | ErrorKind::UpstreamTimeout
        | ErrorKind::UnsupportedApi => true,
        ErrorKind::NoRoute
        | ErrorKind::NotConfigured
        | ErrorKind::RouteClosed
        | ErrorKind::PluginBroken
        | ErrorKind::BodyTooLarge
        | ErrorKind::OutOfBuffers
        | ErrorKind::BodyTimeout
        | ErrorKind::ClientClosed
        | ErrorKind::InvalidRequest
        | ErrorKind::UpgradeRefused
        | ErrorKind::Misdirected => false,
    }
}

impl Fallback {
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
        Some(route) => route.fallback.is_some(),
        None => live.snapshot.has_fallbacks,
    };
    if !may_fall_back || cx.received.is_some() || cx.fell_back_from.is_some() {
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

/// Prepares the second pass of a request that goes to its upstream now. What
/// is sent again has to be at hand; what is too large is sent once.
pub(super) async fn prepare(route: &Route, cx: &mut RequestContext) -> Result<(), GatewayError> {
    let Some(fallback) = route.fallback.as_ref().filter(|_| cx.received.is_some()) else {
        return Ok(());
    };
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

/// The route that takes a request that failed on the one it found: another
/// one, or none. The headers are those that the plugins have made of it, by
/// which its model is known.
pub(crate) fn destination<'a>(
    live: &'a Live,
    cx: &RequestContext,
    fallback: &Fallback,
) -> Option<&'a Route> {
    let mut headers = cx.headers.clone();
    headers.insert(X_HIGRESS_FALLBACK_FROM, fallback.from.clone());
    let found = live.snapshot.find(&RouteInput { headers: &headers, ..cx.route_input() })?;
    let route = live.snapshot.route(found)?;
    let is_another = cx.record.route.as_ref().is_none_or(|before| *before != route.name);
    is_another.then_some(route)
}

/// Tells the client that another route has answered.
pub(super) fn tell(from: Option<&HeaderValue>, headers: &mut HeaderMap) {
    if let Some(from) = from {
        headers.insert(X_HIGRESS_FALLBACK_FROM, from.clone());
    }
}
