//! Copies of requests for another service, whose answers nobody waits for
//! (Higress: annotations/mirror.go).

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use http_body::Body;

use super::Worker;
use super::attempts::{Journey, send_limits};
use super::outgoing::{ConnectionWishes, adapt, prepare};
use crate::error::GatewayError;
use crate::request::{RequestContext, host_of};
use crate::state::Live;
use crate::upstream::Dialer;

/// How long a copy is waited for, as it holds a body.
const PATIENCE: Duration = Duration::from_secs(120);

/// Sends a copy, where the route asks for one. A request is not copied whose
/// body is too large to be held, or comes without a length: it may go on for
/// as long as the answer does.
pub(super) async fn send(
    worker: &Worker,
    live: &Live,
    journey: &Journey<'_>,
    cx: &mut RequestContext,
) -> Result<(), GatewayError> {
    let mirror = cx.policy.as_ref().and_then(|policy| policy.mirror);
    let Some(mirror) = mirror.filter(|mirror| fastrand::u32(..100) < mirror.percentage) else {
        return Ok(());
    };
    let Some(service) = live.service(mirror.service).cloned() else { return Ok(()) };
    if cx.upgrade.is_some() || !cx.body_is_sized() {
        return Ok(());
    }
    let Ok(room) = worker.mirrors.clone().try_acquire_owned() else { return Ok(()) };
    cx.buffer_body().await?;
    let body = cx.buffered_body().cloned();
    let mut copy = prepare(journey.upstream_vhost, journey.target, cx).ok();
    if cx.restore_body(body.as_ref()).is_err() {
        // There is room for one of the two.
        copy = None;
        cx.restore_body(body.as_ref())?;
    }
    // What is wrong with it is wrong with the request, too, and is found then.
    let Some(mut copy) = copy else { return Ok(()) };
    withhold_credentials(copy.headers_mut());
    if let Some(host) = copy.headers().get(HOST).and_then(shadow) {
        copy.headers_mut().insert(HOST, host);
    }
    let host = copy.headers().get(HOST).map(host_of).unwrap_or_default();
    if adapt(&mut copy, &service.service, ConnectionWishes::of(cx)).is_err() {
        return Ok(());
    }
    let limits = send_limits(&worker.gateway.settings, Some(PATIENCE), journey, cx);
    let (gateway, pool, tls) = (worker.gateway.clone(), worker.pool.clone(), worker.tls.clone());
    tokio::spawn(async move {
        let _room = room;
        service.wait_resolved(gateway.settings.resolve_timeout).await;
        let dialer = Dialer {
            pool: &pool,
            tls: &tls,
            settings: &gateway.settings,
            metrics: &gateway.state.metrics,
        };
        let Ok(mut turn) = service.turn(None, None) else { return };
        turn.advance();
        let Some(endpoint) = turn.endpoint() else { return };
        let sent = match dialer.connect(&service, endpoint, &host, true).await {
            Ok(ready) => ready.send(copy, &pool, limits).await.map_err(|failure| failure.error),
            Err(error) => Err(error),
        };
        match sent {
            // What comes of it is nobody's affair; reading it keeps the
            // connection.
            Ok(mut answer) => {
                let _occupied = turn.answered(answer.status());
                let body = answer.body_mut();
                while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {}
            }
            Err(error) => turn.failed(&error),
        }
    });
    Ok(())
}

/// A provider's token is for the provider only. Envoy copies it, too.
fn withhold_credentials(headers: &mut HeaderMap) {
    let is_secret =
        |(name, value): (&HeaderName, &HeaderValue)| value.is_sensitive().then(|| name.clone());
    let names: Vec<HeaderName> = headers.iter().filter_map(is_secret).collect();
    for name in names {
        headers.remove(name);
    }
}

/// Envoy marks the host of copies.
fn shadow(host: &HeaderValue) -> Option<HeaderValue> {
    let text = host.to_str().ok()?;
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, format!(":{port}")),
        _ => (text, String::new()),
    };
    HeaderValue::try_from(format!("{name}-shadow{port}")).ok()
}
