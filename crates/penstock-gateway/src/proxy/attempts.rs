//! Getting an answer: endpoints until one takes the request, and again where
//! the route asks for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::HOST;
use http::{Method, Response, StatusCode};
use penstock_llm::provider::availability::RetryOnFailure;

use super::outgoing::{ConnectionWishes, adapt, prepare};
use super::{Worker, affinity};
use crate::access_log::AttemptRecord;
use crate::attempt;
use crate::error::{ErrorKind, GatewayError, Retry as MayRetry};
use crate::health::now_ms;
use crate::policy::Retry;
use crate::request::{RequestContext, host_of};
use crate::settings::Settings;
use crate::snapshot::WeightedTarget;
use crate::state::ServiceState;
use crate::upstream::{Dialer, SendLimits, UpstreamBody};

/// The pause before the first repetition, doubled each time up to the largest
/// (Envoy: `retry_back_off`).
const PAUSE_MIN: Duration = Duration::from_millis(25);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// Where an attempt goes, and how long all of them may take.
#[derive(Clone, Copy)]
pub(super) struct Journey<'a> {
    /// The `Host` that the upstream sees, if not the client's.
    pub(super) upstream_vhost: Option<&'a str>,
    pub(super) retry: Option<&'a Retry>,
    pub(super) target: &'a WeightedTarget,
    pub(super) service: &'a Arc<ServiceState>,
    /// When everything has to be over, the answer's body included.
    pub(super) ends_at: Option<Instant>,
}

/// An upstream's answer, boxed because it passes through several hands.
pub(super) type Answered = Result<Box<Response<UpstreamBody>>, GatewayError>;

/// The upstream's answer, of as many attempts as the route and the provider
/// allow.
pub(super) async fn answer(
    worker: &Worker,
    journey: &Journey<'_>,
    cx: &mut RequestContext,
) -> Answered {
    let route = journey.retry.filter(|retry| may_repeat(retry, cx));
    let provider = cx.provider.clone().filter(|_| tries_tokens(cx));
    let provider = provider.as_ref().and_then(|provider| provider.retry());
    let try_timeout = route.and_then(|retry| retry.try_timeout);
    // What is repeated has to be at hand; what is too large is sent once.
    if (route.is_none() && provider.is_none()) || !cx.body_fits() {
        return attempt_once(worker, journey, try_timeout, cx).await;
    }
    cx.buffer_body().await?;
    let body = cx.buffered_body().cloned();
    let budget = &journey.service.kept.retries;
    budget.deposit();
    let mut left = Left {
        route: route.map(|retry| (retry, retry.times)),
        provider: provider.map(|retry| (retry, retry.max_retries)),
    };
    let (mut limit, mut pause) = (try_timeout, PAUSE_MIN);
    loop {
        let answer = attempt_once(worker, journey, limit, cx).await;
        let Some(again) = left.next(&answer, cx) else { return answer };
        // Too late, or too much: what is there is better than nothing.
        let is_late = journey.ends_at.is_some_and(|ends_at| ends_at <= Instant::now());
        if is_late || !budget.withdraw(now_ms()) {
            return answer;
        }
        drop(answer);
        match again {
            Again::OtherToken(timeout) => limit = Some(timeout),
            Again::Same => {
                tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
        cx.restore_body(body.as_ref())?;
    }
}

/// Whether a request that its provider refuses is asked again with another
/// token (Higress: `retryOnFailure`).
pub(super) fn tries_tokens(cx: &RequestContext) -> bool {
    let provider = cx.provider.as_ref().filter(|_| cx.tokens.is_some() && cx.upgrade.is_none());
    provider.is_some_and(|provider| provider.retry().is_some())
}

/// How often a request may still be repeated, and what for.
struct Left<'a> {
    route: Option<(&'a Retry, u32)>,
    provider: Option<(&'a RetryOnFailure, u32)>,
}

/// How a request is repeated.
enum Again {
    /// At once, with another token, which has so long to answer.
    OtherToken(Duration),
    /// After a pause.
    Same,
}

impl Left<'_> {
    /// How to go on after an answer; `None` where that is it.
    fn next(&mut self, answer: &Answered, cx: &mut RequestContext) -> Option<Again> {
        if let Some((retry, left @ 1..)) = &mut self.provider {
            let has_failed = match answer {
                Ok(response) => retry.statuses.contains(response.status()),
                Err(error) => is_broken(error.kind),
            };
            if has_failed && cx.tokens.as_mut().is_some_and(|turn| turn.advance()) {
                *left -= 1;
                return Some(Again::OtherToken(Duration::from_millis(retry.timeout_ms)));
            }
        }
        let (retry, left @ 1..) = self.route.as_mut()? else { return None };
        let is_worth = is_worth_repeating(retry, answer);
        *left -= u32::from(is_worth);
        is_worth.then_some(Again::Same)
    }
}

/// Whether an upstream did not get as far as an answer.
fn is_broken(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectFailed
            | ErrorKind::TlsFailed
            | ErrorKind::UpstreamClosed
            | ErrorKind::UpstreamInvalid
            | ErrorKind::UpstreamTimeout
    )
}

/// Whether a request may do twice what it asks for (ingress-nginx:
/// `non_idempotent`), and can be repeated at all.
pub(crate) fn may_repeat(retry: &Retry, cx: &RequestContext) -> bool {
    let is_harmless = !matches!(cx.method, Method::POST | Method::PATCH | Method::CONNECT)
        && cx.method.as_str() != "LOCK";
    cx.upgrade.is_none() && (is_harmless || retry.repeats_all_methods)
}

fn is_worth_repeating(retry: &Retry, answer: &Answered) -> bool {
    match answer {
        Ok(response) => {
            let status = response.status();
            retry.statuses.contains(&status) || (retry.on_5xx && status.is_server_error())
        }
        Err(error) => retry.on_5xx && is_broken(error.kind),
    }
}

/// Tries endpoints until one takes the request.
pub(super) async fn attempt_once(
    worker: &Worker,
    journey: &Journey<'_>,
    try_timeout: Option<Duration>,
    cx: &mut RequestContext,
) -> Answered {
    let settings = &worker.gateway.settings;
    let service = journey.service;
    service.wait_resolved(settings.resolve_timeout).await;
    // Nobody is asked, and blamed, for what can only be too late.
    if journey.ends_at.is_some_and(|ends_at| ends_at <= Instant::now()) {
        let late = GatewayError::new(ErrorKind::UpstreamTimeout);
        return Err(late.because("the request took too long"));
    }
    let limits = send_limits(settings, try_timeout, journey, cx);
    let mut request = prepare(journey.upstream_vhost, journey.target, cx)?;
    let host = match service.service.protocol.is_tls() {
        true => request.headers().get(HOST).map(host_of).unwrap_or_default(),
        false => Box::default(),
    };
    adapt(&mut request, &service.service, ConnectionWishes::of(cx))?;
    let dialer = Dialer {
        pool: &worker.pool,
        tls: &worker.tls,
        settings,
        metrics: &worker.gateway.state.metrics,
    };
    let mut may_reuse = true;
    let affinity = affinity::of(&service.service.balance, cx);
    let mut turn = service.turn(affinity, journey.ends_at)?;
    let mut connects_left = attempt::CONNECTS_MAX - 1;
    let mut has_endpoint = turn.advance();
    if !cx.record.attempts.is_empty() {
        let attempts = &cx.record.attempts;
        turn.avoid(|address| attempts.iter().any(|attempt| attempt.endpoint == address));
    }
    let mut error = None;
    while let Some(endpoint) = turn.endpoint().filter(|_| has_endpoint) {
        let address = endpoint.address;
        let ready = match dialer.connect(service, endpoint, &host, may_reuse).await {
            Ok(ready) => ready,
            Err(failure) => {
                turn.failed(&failure);
                cx.token_failed(&failure);
                note(cx, address, Err(&failure));
                has_endpoint =
                    failure.retry == MayRetry::Yes && connects_left > 0 && turn.advance();
                error = Some(failure);
                connects_left = connects_left.saturating_sub(1);
                continue;
            }
        };
        cx.record.upstream_began = Some(cx.record.began.elapsed());
        turn.sending();
        match ready.send(request, &worker.pool, limits).await {
            Ok(mut response) => {
                cx.record.upstream_head = Some(cx.record.began.elapsed());
                note(cx, address, Ok(response.status()));
                if let Some(turn) = &cx.tokens {
                    let name = (&service.service.host, service.service.port);
                    turn.note((response.status(), response.headers()), name);
                }
                let occupied = turn.answered(response.status());
                response.body_mut().hold(occupied);
                return Ok(Box::new(response));
            }
            Err(failure) => {
                note(cx, address, Err(&failure.error));
                match failure.unsent {
                    // The pooled connection had closed: the same endpoint
                    // again, over a new one.
                    Some(unsent) if may_reuse => {
                        request = *unsent;
                        may_reuse = false;
                    }
                    _ => {
                        turn.failed(&failure.error);
                        cx.token_failed(&failure.error);
                        return Err(failure.error);
                    }
                }
            }
        }
    }
    Err(error.unwrap_or_else(|| GatewayError::new(ErrorKind::NoEndpoint)))
}

pub(super) fn send_limits(
    settings: &Settings,
    try_timeout: Option<Duration>,
    journey: &Journey<'_>,
    cx: &RequestContext,
) -> SendLimits {
    let of_provider = cx
        .provider
        .as_ref()
        .map_or(0, |provider| provider.first_byte_timeout_ms(&cx.llm_request()));
    let first_byte_timeout = match of_provider {
        0 => settings.first_byte_timeout,
        millis => Duration::from_millis(millis),
    };
    SendLimits {
        first_byte_timeout: try_timeout
            .map_or(first_byte_timeout, |limit| limit.min(first_byte_timeout)),
        idle_timeout: settings.idle_timeout,
        ends_at: journey.ends_at,
    }
}

/// Notes what came of an attempt. The head of an answer has its time already.
fn note(
    cx: &mut RequestContext,
    endpoint: std::net::SocketAddr,
    outcome: Result<StatusCode, &GatewayError>,
) {
    let token = cx.tokens.as_ref().and_then(|turn| turn.health());
    let ended = match (outcome, cx.record.upstream_head) {
        (Ok(_), Some(head)) => head,
        _ => cx.record.began.elapsed(),
    };
    let attempt = AttemptRecord {
        endpoint,
        outcome: outcome.map_or_else(|error| error.kind.as_str(), |_| "ok"),
        provider: None,
        token: token.map(|token| token.label.clone()),
        status: outcome.ok(),
        ended,
    };
    cx.record.attempts.push(attempt);
}
