//! The life of a request, from top to bottom.
//!
//! A request is a loop of passes: the route, the chain of plugins, the
//! attempts, the head of the answer. There is another one where the route has
//! a `fallback`. One snapshot serves all of it. `outgoing` says
//! what the upstream gets.

mod affinity;
mod attempts;
mod fallback;
mod guard;
mod mirror;
mod outgoing;
mod side_file;
mod substitute;
mod treatment;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Request, Response, StatusCode};
use penstock_llm::stage::Head;
use tokio::sync::Semaphore;

pub use self::affinity::AffinityCookie;
pub(crate) use self::attempts::may_repeat;
use self::attempts::{Answered, Journey};
pub use self::fallback::{FellBack, Received};
pub(crate) use self::fallback::{PASSES_MAX, destination};
pub(crate) use self::outgoing::{ConnectionWishes, adapt, prepare};
use crate::Gateway;
use crate::attempt;
use crate::body::{ClientBody, Recorder};
use crate::certificate::{Certificates, ClientProof};
use crate::error::{ErrorKind, GatewayError};
use crate::incoming::Incoming;
use crate::plugin::Flow;
use crate::reply::{self, Audience, Reply, X_REQUEST_ID};
use crate::request::{Intake, RequestContext, RequestId, ResponseContext, strip_hop_by_hop};
use crate::snapshot::{Chain, PluginInstance, Route, WeightedTarget};
use crate::state::Live;
use crate::tunnel::{Tunnel, Tunnels};
use crate::upstream::{ClientTls, Pool, UpstreamBody};

/// How often the chain may ask for another route.
const REROUTES_MAX: usize = 3;

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// What one worker thread serves requests with.
pub struct Worker {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// This worker's upstream connections.
    pub pool: Arc<Pool>,
    /// How upstream certificates are checked.
    pub tls: Arc<ClientTls>,
    /// The connections that were handed over.
    pub tunnels: Tunnels,
    /// Room for copies of requests that are on their way.
    pub mirrors: Arc<Semaphore>,
}

/// The most copies of requests that a worker has on their way. Beyond them
/// requests are not copied: a copy must not cost what the requests need.
pub const MIRRORS_MAX: usize = 256;

/// The client's side of a connection.
pub struct Downstream {
    /// The peer.
    pub address: SocketAddr,
    /// Its address as `X-Forwarded-For` tells it.
    pub forwarded_for: Option<HeaderValue>,
    /// What the handshake came to, where there was one.
    pub tls: Option<DownstreamTls>,
}

/// What is known of a handshake with a client.
pub struct DownstreamTls {
    /// The name that the client asked for, in lower case.
    pub server_name: Option<Box<str>>,
    /// The certificate that it had to show, where the host asks for one.
    pub proof: Option<Arc<ClientProof>>,
}

impl Downstream {
    /// The side of a client at this address.
    pub fn new(address: SocketAddr, tls: Option<DownstreamTls>) -> Self {
        let text = address.ip().to_canonical().to_string();
        Self { address, forwarded_for: HeaderValue::try_from(text).ok(), tls }
    }

    /// Whether a host must not be asked for over this connection: it was
    /// made for another one, whose certificate does not serve this one.
    fn is_misdirected(&self, host: &str, certificates: &Certificates) -> bool {
        let tls = self.tls.as_ref();
        tls.is_some_and(|tls| !certificates.serves(tls.server_name.as_deref(), host))
    }
}

/// What the chain and the attempts come to.
enum Answer {
    Local(Box<Reply>),
    Upstream(Box<Response<UpstreamBody>>),
}

/// Serves one request.
pub async fn serve(
    worker: &Worker,
    client: &Downstream,
    request: Request<Incoming>,
) -> Response<ClientBody> {
    let settings = &worker.gateway.settings;
    let intake = Intake {
        trusted_hops: settings.trusted_hops,
        bytes_max: settings.body_bytes_max,
        idle_timeout: settings.idle_timeout,
    };
    let live = worker.gateway.live();
    let received =
        RequestContext::receive(request, client, &worker.gateway.state, live.clone(), intake);
    let mut cx = match received {
        Ok(cx) => cx,
        Err(rejected) => {
            // What follows on this connection has two readings, too, or could
            // be of another protocol.
            let reply = Reply::from(&rejected.error)
                .with_header(CONNECTION, HeaderValue::from_static("close"));
            return deliver_reply(
                reply,
                rejected.api.into(),
                &rejected.request_id,
                rejected.record,
            );
        }
    };
    let mut ran = Vec::new();
    let answer = match &live {
        Some(live) if client.is_misdirected(&cx.host, &live.snapshot.certificates) => {
            Err(GatewayError::new(ErrorKind::Misdirected))
        }
        Some(live) => {
            let answer = pin!(fallback::passes(worker, live, &mut cx, &mut ran));
            in_time(settings.request_timeout, answer).await
        }
        None => Err(GatewayError::new(ErrorKind::NotConfigured)),
    };
    match answer {
        Ok(Answer::Upstream(response)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            hand_over(worker, cx, *response, ran)
        }
        Ok(Answer::Upstream(response)) => deliver(cx, *response, ran),
        Ok(Answer::Local(reply)) => deliver_local(*reply, cx),
        Err(error) => {
            cx.record.cause = error.cause.clone();
            let mut reply = Reply::from(&error);
            // Another connection may help, and this one does not.
            if error.kind == ErrorKind::Misdirected {
                reply = reply.with_header(CONNECTION, HeaderValue::from_static("close"));
            }
            deliver_local(reply, cx)
        }
    }
}

/// Waits for an answer no longer than it may take. It is large, so it stays
/// where it is.
async fn in_time<T>(
    limit: Option<Duration>,
    answer: Pin<&mut impl Future<Output = Result<T, GatewayError>>>,
) -> Result<T, GatewayError> {
    match limit {
        None => answer.await,
        Some(limit) => tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| {
            Err(GatewayError::new(ErrorKind::UpstreamTimeout).because("the request took too long"))
        }),
    }
}

/// One pass: route, chain, attempts.
async fn pass(
    worker: &Worker,
    live: &Live,
    cx: &mut RequestContext,
    ran: &mut Vec<Ran>,
) -> Result<Answer, GatewayError> {
    cx.record.forget_observers();
    let (found, denied) = run_chain(live, cx, ran).await?;
    if let Some(reply) = denied {
        return Ok(Answer::Local(reply));
    }
    let Some((route, target)) = found else {
        return Err(GatewayError::new(ErrorKind::NoRoute));
    };
    guard::check_client(route, cx)?;
    fallback::prepare(route, cx).await?;
    if cx.provider.as_ref().is_some_and(|provider| !provider.may_need().is_empty()) {
        Box::pin(side_file::fetch(worker, live, cx)).await?;
    }
    let service = target
        .service
        .and_then(|index| live.service(index))
        .ok_or_else(|| GatewayError::new(ErrorKind::ServiceUnknown))?;
    let policy = route.policy.as_deref();
    let service = substitute::of_empty(live, policy, service, cx);
    cx.record.service = Some(service.service.host.clone());
    cx.record.service_port = Some(service.service.port);
    let settings = &worker.gateway.settings;
    let route_limit =
        live.snapshot.tuning.route_timeout.or(policy.and_then(|policy| policy.timeout));
    let by_route = route_limit.map(|limit| Instant::now() + limit);
    let by_process = settings.request_timeout.map(|limit| cx.record.began + limit);
    let journey = Journey {
        upstream_vhost: route.upstream_vhost.as_deref(),
        retry: policy.and_then(|policy| policy.retry.as_ref()),
        target,
        service,
        ends_at: by_route.into_iter().chain(by_process).min(),
    };
    let answer = match (policy, route_limit) {
        (None, None) if !attempts::tries_tokens(cx) => {
            attempts::attempt_once(worker, &journey, None, cx).await
        }
        // Apart, so that other requests do not carry its state with them.
        _ => Box::pin(as_asked(worker, live, &journey, route_limit, cx)).await,
    };
    treatment::apply(answer?, cx).await.map(Answer::Upstream)
}

/// The answer for a route that asks for more than its targets.
async fn as_asked(
    worker: &Worker,
    live: &Live,
    journey: &Journey<'_>,
    limit: Option<Duration>,
    cx: &mut RequestContext,
) -> Answered {
    let answer = pin!(async {
        mirror::send(worker, live, journey, cx).await?;
        substitute::answer(worker, live, journey, cx).await
    });
    in_time(limit, answer).await
}

/// The route of a request as it is now, and the target that was chosen.
fn find<'a>(
    live: &'a Live,
    cx: &mut RequestContext,
) -> Result<Option<(&'a Route, &'a WeightedTarget)>, GatewayError> {
    let found = live.snapshot.find(&cx.route_input());
    let found = found.and_then(|index| live.snapshot.route(index));
    fallback::remember(live, found, cx);
    let Some(route) = found else {
        cx.record.route = None;
        cx.policy = None;
        return Ok(None);
    };
    cx.record.route = Some(route.name.clone());
    cx.policy = route.policy.clone();
    if let Some(reason) = route.closed {
        return Err(GatewayError::new(ErrorKind::RouteClosed).because(reason));
    }
    // Who comes in the clear may still be sent to where it has to come.
    if !guard::is_redirected(route, cx) {
        guard::check_client(route, cx)?;
    }
    let target = attempt::choose(route, cx.target_roll)
        .ok_or_else(|| GatewayError::new(ErrorKind::ServiceUnknown))?;
    Ok(Some((route, substitute::in_place(live, target))))
}

/// The route of a request, where there is one, and the target in it.
pub(crate) type Chosen<'a> = Option<(&'a Route, &'a WeightedTarget)>;

/// A plugin that saw the request.
pub(crate) struct Ran {
    pub(crate) instance: Arc<PluginInstance>,
    /// `continue`, `reply` or `reroute`.
    pub(crate) decision: &'static str,
}

/// Runs the plugins in the one global order. No route is a value: plugins
/// with a configuration for all or for this host run all the same, and may
/// lead to a route.
pub(crate) async fn run_chain<'a>(
    live: &'a Live,
    cx: &mut RequestContext,
    ran: &mut Vec<Ran>,
) -> Result<(Chosen<'a>, Option<Box<Reply>>), GatewayError> {
    if let Some(reason) = live.snapshot.closed {
        return Err(GatewayError::new(ErrorKind::RouteClosed).because(reason));
    }
    let mut chosen = find(live, cx)?;
    if let Some(reply) = chosen.and_then(|(route, _)| guard::preflight(route, cx)) {
        return Ok((chosen, Some(reply)));
    }
    let mut next_order = 0;
    let mut reroutes = 0;
    let mut guarded = None;
    while let Some((order, instance)) = next_step(chain_of(live, chosen), next_order, &cx.host) {
        if order >= live.snapshot.guards_at
            && let Some(reply) = guard_once(live, chosen, &mut guarded, cx)
        {
            return Ok((chosen, Some(reply)));
        }
        next_order = order + 1;
        let mut saw = |decision| ran.push(Ran { instance: instance.clone(), decision });
        match settle(instance.plugin.on_request(cx)).await {
            Settled::Continue => saw("continue"),
            Settled::Reply(reply) => {
                saw("reply");
                return Ok((chosen, Some(reply)));
            }
            Settled::Reroute => {
                saw("reroute");
                if reroutes < REROUTES_MAX {
                    reroutes += 1;
                    chosen = find(live, cx)?;
                    if let Some(reply) = authenticate(chain_of(live, chosen), order, cx, ran).await
                    {
                        return Ok((chosen, Some(reply)));
                    }
                }
            }
        }
    }
    let reply = guard_once(live, chosen, &mut guarded, cx);
    Ok((chosen, reply))
}

/// What the route itself says, unless it has been asked before.
fn guard_once<'a>(
    live: &Live,
    chosen: Chosen<'a>,
    guarded: &mut Option<&'a Route>,
    cx: &RequestContext,
) -> Option<Box<Reply>> {
    let (route, _) = chosen?;
    if guarded.is_some_and(|before| std::ptr::eq(before, route)) {
        return None;
    }
    *guarded = Some(route);
    guard::stop(live, route, cx)
}

/// Runs what authenticates on a chain up to `order` and has not run: a route
/// that is found late must not be reached past its own authentication.
async fn authenticate(
    chain: &Chain,
    order: u16,
    cx: &mut RequestContext,
    ran: &mut Vec<Ran>,
) -> Option<Box<Reply>> {
    for step in chain.steps.iter().filter(|step| step.order < order) {
        let Some(instance) = step.select(&cx.host).filter(|i| i.is_authentication) else {
            continue;
        };
        if ran.iter().any(|before| Arc::ptr_eq(&before.instance, instance)) {
            continue;
        }
        let settled = settle(instance.plugin.on_request(cx)).await;
        let (decision, reply) = match settled {
            Settled::Reply(reply) => ("reply", Some(reply)),
            Settled::Continue | Settled::Reroute => ("continue", None),
        };
        ran.push(Ran { instance: instance.clone(), decision });
        if reply.is_some() {
            return reply;
        }
    }
    None
}

/// A [`Flow`] after all waiting.
enum Settled {
    Continue,
    Reply(Box<Reply>),
    Reroute,
}

async fn settle(mut flow: Flow<'_>) -> Settled {
    loop {
        flow = match flow {
            Flow::Continue => return Settled::Continue,
            Flow::Reply(reply) => return Settled::Reply(reply),
            Flow::Reroute => return Settled::Reroute,
            Flow::Wait(future) => future.await,
        };
    }
}

fn chain_of<'a>(live: &'a Live, chosen: Chosen<'a>) -> &'a Chain {
    chosen.map_or(&live.snapshot.without_route, |(_, target)| &target.chain)
}

/// The first step at or behind `order` that has a configuration for the host.
fn next_step<'a>(
    chain: &'a Chain,
    order: u16,
    host: &str,
) -> Option<(u16, &'a Arc<PluginInstance>)> {
    chain
        .steps
        .iter()
        .filter(|step| step.order >= order)
        .find_map(|step| step.select(host).map(|instance| (step.order, instance)))
}

/// Hands an upstream's answer to the client.
fn deliver(
    mut cx: RequestContext,
    response: Response<UpstreamBody>,
    ran: Vec<Ran>,
) -> Response<ClientBody> {
    let (parts, body) = response.into_parts();
    let mut head = Head { status: parts.status, headers: parts.headers };
    // RFC 9112, 6.3: the length is wrong where there is another framing.
    if head.headers.contains_key(TRANSFER_ENCODING) {
        head.headers.remove(CONTENT_LENGTH);
    }
    strip_hop_by_hop(&mut head.headers);
    if let Some(policy) = &cx.policy {
        policy.response_headers.apply(&mut head.headers);
    }
    affinity::set_cookie(&cx, &mut head.headers);
    cx.record.is_stream = is_event_stream(&head.headers);
    let mut stages = Vec::new();
    stages.extend(cx.answer_stage.take());
    for Ran { instance, .. } in ran.iter().rev() {
        let mut response_cx = ResponseContext { head: &mut head, api: cx.api };
        stages.extend(instance.plugin.on_response(&mut response_cx));
    }
    for stage in &mut stages {
        stage.head(&mut head);
    }
    if !stages.is_empty() {
        head.headers.remove(CONTENT_LENGTH);
    }
    cx.permit_origin(&mut head.headers);
    fallback::tell(&cx, &mut head.headers);
    let mut recorder = cx.record;
    recorder.show_to(ran);
    let has_usage = cx.api.is_some() && head.status == StatusCode::OK;
    recorder.begin_answer(head.status, &head.headers, has_usage);
    head.headers.entry(X_REQUEST_ID).or_insert_with(|| cx.request_id.to_header());
    let mut body = ClientBody::upstream(body, stages, recorder);
    if let Some(offer) = &cx.offer {
        body.compress(offer, &cx.method, (head.status, &mut head.headers));
    }
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response
}

/// Hands the connections of both sides over to each other, once the client
/// has got the head of the answer. From there on nobody looks at what passes.
fn hand_over(
    worker: &Worker,
    mut cx: RequestContext,
    response: Response<UpstreamBody>,
    ran: Vec<Ran>,
) -> Response<ClientBody> {
    let (mut parts, upstream) = response.into_parts();
    let Some(client) = cx.upgrade.take() else {
        return deliver_local(Reply::from(&GatewayError::new(ErrorKind::UpstreamInvalid)), cx);
    };
    strip_hop_by_hop(&mut parts.headers);
    fallback::tell(&cx, &mut parts.headers);
    let mut recorder = cx.record;
    recorder.show_to(ran);
    recorder.begin_answer(parts.status, &parts.headers, false);
    parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    parts.headers.insert(UPGRADE, WEBSOCKET);
    parts.headers.entry(X_REQUEST_ID).or_insert_with(|| cx.request_id.to_header());
    let idle_timeout = worker.gateway.settings.idle_timeout;
    worker.tunnels.start(Tunnel { client, upstream, recorder, idle_timeout });
    let mut response = Response::new(ClientBody::none());
    *response.status_mut() = parts.status;
    *response.headers_mut() = parts.headers;
    response
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    content_type
        .get(..EVENT_STREAM.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(EVENT_STREAM))
}

/// Hands the gateway's own answer to a client whose request was taken in.
fn deliver_local(mut reply: Reply, cx: RequestContext) -> Response<ClientBody> {
    cx.permit_origin(&mut reply.headers);
    fallback::tell(&cx, &mut reply.headers);
    let response = deliver_reply(reply, cx.audience(), &cx.request_id, cx.record);
    let Some(offer) = &cx.offer else { return response };
    let (mut parts, mut body) = response.into_parts();
    body.compress(offer, &cx.method, (parts.status, &mut parts.headers));
    Response::from_parts(parts, body)
}

/// Hands the gateway's own answer to the client.
fn deliver_reply(
    reply: Reply,
    audience: Audience,
    request_id: &RequestId,
    mut recorder: Recorder,
) -> Response<ClientBody> {
    recorder.error = Some(reply.code);
    let response = reply::to_response(reply, audience, request_id.as_str());
    recorder.begin_answer(response.status(), response.headers(), false);
    response.map(|body| ClientBody::whole(body, recorder))
}
