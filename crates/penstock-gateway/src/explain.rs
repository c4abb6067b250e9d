//! What a request would meet, found with the very code that serves requests,
//! and without sending anything.

mod failure;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, HOST, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use penstock_manifest::annotation::Subject;
use penstock_manifest::redact::redact;

pub use self::failure::{Failover, Fallback, OnFailure, Repeat, RetryOnFailure};
use crate::body::OutgoingBody;
use crate::error::{ErrorKind, GatewayError};
use crate::proxy::{self, Chosen, Downstream, Ran};
use crate::reply::{self, Audience, Reply};
use crate::request::{ClientEvidence, Intake, RequestBody, RequestContext};
use crate::route::{Miss, PathMatch};
use crate::snapshot::{Snapshot, WeightedTarget};
use crate::state::{BufferShare, Live, State};

/// Headers whose values are shown as hashes.
const SECRET_HEADERS: [HeaderName; 7] = [
    AUTHORIZATION,
    COOKIE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-authorization"),
    HeaderName::from_static("x-goog-api-key"),
];

/// What a request would meet.
pub struct Explanation {
    /// The host that routing compares.
    pub host: String,
    /// The path that routing compares.
    pub path: String,
    /// The routes of the host, in the order in which they are tried.
    pub candidates: Vec<Candidate>,
    /// What happens, for each target that the request may be given to. One
    /// entry without a service where no target is chosen.
    pub passes: Vec<Pass>,
}

/// A route that the host leads to.
pub struct Candidate {
    /// The route.
    pub route: String,
    /// How it compares the path.
    pub path: String,
    /// Why it does not get the request; `None` for the one that does.
    pub lost_because: Option<String>,
}

/// One way that the request may take.
pub struct Pass {
    /// Its share of 100.
    pub weight: u32,
    /// The route after all re-routing.
    pub route: Option<String>,
    /// The service, `HOST:PORT`.
    pub service: Option<String>,
    /// The plugins that see the request, in order.
    pub steps: Vec<PluginStep>,
    /// The Secret whose authority the client's certificate has to be of, which
    /// it is taken to be; `None` where it needs none.
    pub client_certificate: Option<String>,
    /// Who the caller is.
    pub consumer: Option<String>,
    /// The LLM provider.
    pub provider: Option<String>,
    /// How it ends.
    pub outcome: Outcome,
    /// What is tried where the upstream fails; `None` where the gateway answers
    /// itself.
    pub on_failure: Option<Box<OnFailure>>,
}

/// What one plugin decides.
pub struct PluginStep {
    /// The plugin.
    pub plugin: String,
    /// The WasmPlugin that configures it.
    pub resource: String,
    /// The index of the match rule; `None` for the default configuration.
    pub rule: Option<usize>,
    /// `continue`, `reply` or `reroute`.
    pub decision: &'static str,
}

/// How a pass ends.
pub enum Outcome {
    /// The gateway answers itself.
    Reply {
        /// The status.
        status: u16,
        /// The stable code.
        code: &'static str,
        /// The headers.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
        /// What only the operator may know.
        cause: Option<String>,
    },
    /// The request is sent.
    Upstream(Box<Upstream>),
}

/// The request that would be sent.
pub struct Upstream {
    /// The method.
    pub method: String,
    /// The URL.
    pub url: String,
    /// The headers; secrets are hashes.
    pub headers: Vec<(String, String)>,
    /// The body, where it differs from the client's.
    pub changed_body: Option<String>,
    /// The model, where the body names one.
    pub model: Option<String>,
}

/// A configuration to ask.
pub struct Explainer {
    state: Arc<State>,
    live: Arc<Live>,
}

impl Explainer {
    /// An explainer of a compiled configuration.
    pub fn new(snapshot: Snapshot) -> Self {
        let state = State::detached();
        let live = Arc::new(state.bind(snapshot));
        Self { state, live }
    }

    /// An explainer of the configuration in force. What a request leaves
    /// behind, such as counts and buffered bytes, stays apart from the
    /// gateway's.
    pub fn of_live(live: Arc<Live>) -> Self {
        Self { state: State::detached(), live }
    }

    /// Explains a request. Its URI is absolute, or it has a `Host` header.
    pub async fn explain(&self, request: &Request<Bytes>) -> Explanation {
        let mut explanation = Explanation {
            host: String::new(),
            path: request.uri().path().to_owned(),
            candidates: Vec::new(),
            passes: Vec::new(),
        };
        let mut roll = 0;
        while roll < 100 {
            let mut cx = match context(request, &self.state, &self.live, roll) {
                Ok(cx) => cx,
                Err(error) => {
                    explanation.passes.push(nothing(&error));
                    break;
                }
            };
            if roll == 0 {
                explanation.host = cx.host.to_string();
                explanation.path = cx.uri.path().to_owned();
                explanation.candidates = candidates(&self.live, &cx);
            }
            let pass = pass(&self.live, &mut cx, request.body()).await;
            roll += pass.weight.max(1);
            explanation.passes.push(pass);
        }
        explanation
    }
}

fn context(
    request: &Request<Bytes>,
    state: &Arc<State>,
    live: &Arc<Live>,
    roll: u32,
) -> Result<RequestContext, GatewayError> {
    let (parts, body) = request.clone().into_parts();
    let body = match body.is_empty() {
        true => RequestBody::Empty,
        false => RequestBody::Buffered(body, BufferShare::new(state.clone())),
    };
    let client = Downstream::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None);
    let limits = Intake { trusted_hops: 0, bytes_max: usize::MAX, idle_timeout: Duration::MAX };
    let cx = RequestContext::from_parts(
        parts,
        (body, None),
        &client,
        (state, Some(live.clone())),
        limits,
    );
    let mut cx = cx.map_err(|_| GatewayError::new(ErrorKind::InvalidRequest))?;
    cx.target_roll = roll;
    cx.client = ClientEvidence::Assumed;
    Ok(cx)
}

fn candidates(live: &Live, cx: &RequestContext) -> Vec<Candidate> {
    let routes = live.snapshot.explain(&cx.route_input()).into_iter();
    routes
        .filter_map(|(index, miss)| {
            let route = live.snapshot.route(index)?;
            Some(Candidate {
                route: route.name.to_string(),
                path: path_text(&route.path),
                lost_because: miss.as_ref().map(miss_text),
            })
        })
        .collect()
}

fn path_text(path: &PathMatch) -> String {
    match path {
        PathMatch::Exact { path, .. } => format!("Exact {path}"),
        PathMatch::Prefix { path, .. } if path.is_empty() => "Prefix /".to_owned(),
        PathMatch::Prefix { path, .. } => format!("Prefix {path}"),
        PathMatch::Regex { text, is_full: true, .. } => format!("Regex {text}$"),
        PathMatch::Regex { text, is_full: false, .. } => format!("Regex {text}.*"),
    }
}

fn miss_text(miss: &Miss) -> String {
    match miss {
        Miss::Path => "the path does not match".to_owned(),
        Miss::Method => "the method does not match".to_owned(),
        Miss::ComesLater => "another route comes first".to_owned(),
        Miss::Condition(Subject::Header(name)) => format!("header `{name}` does not match"),
        Miss::Condition(Subject::Pseudo(name)) => format!("`:{name}` does not match"),
        Miss::Condition(Subject::Query(name)) => format!("parameter `{name}` does not match"),
    }
}

async fn pass(live: &Live, cx: &mut RequestContext, body: &Bytes) -> Pass {
    let mut ran = Vec::new();
    let run = proxy::run_chain(live, cx, &mut ran).await;
    let chosen = match &run {
        Ok((chosen, _)) => *chosen,
        Err(_) => None,
    };
    let is_denied = !matches!(run, Ok((_, None)));
    let sent_on = chosen.filter(|_| !is_denied).map(|(route, _)| route);
    let on_failure = sent_on.map(|route| Box::new(OnFailure::of(live, route, cx)));
    let outcome = match run {
        Err(error) => replied(Reply::from(&error), error.cause, cx),
        Ok((_, Some(reply))) => replied(*reply, None, cx),
        Ok((chosen, None)) => {
            let names = ran.iter().flat_map(|ran| ran.instance.plugin.secret_names());
            let names: Vec<String> = names.map(str::to_ascii_lowercase).collect();
            hidden(sent(live, chosen, cx, body), &names)
        }
    };
    let service = chosen.and_then(|(_, target)| service_text(live, target));
    let asked = cx.policy.as_ref().and_then(|policy| policy.client.as_ref());
    Pass {
        client_certificate: asked.map(|check| check.authority.secret.name.clone()),
        weight: chosen.map_or(100, |(_, target)| target.weight),
        route: cx.record.route.as_deref().map(str::to_owned),
        service,
        steps: ran.into_iter().map(step).collect(),
        consumer: cx.record.consumer.as_deref().map(str::to_owned),
        provider: cx.record.provider.as_deref().map(str::to_owned),
        outcome,
        on_failure,
    }
}

fn service_text(live: &Live, target: &WeightedTarget) -> Option<String> {
    let state = live.service(target.service?)?;
    Some(format!("{}:{}", state.service.host, state.service.port))
}

fn nothing(error: &GatewayError) -> Pass {
    let response = reply::to_response(Reply::from(error), Audience::Plain, "");
    Pass {
        weight: 100,
        route: None,
        service: None,
        client_certificate: None,
        steps: Vec::new(),
        consumer: None,
        provider: None,
        outcome: Outcome::Reply {
            status: response.status().as_u16(),
            code: error.kind.as_str(),
            headers: Vec::new(),
            body: String::new(),
            cause: error.cause.clone(),
        },
        on_failure: None,
    }
}

fn step(ran: Ran) -> PluginStep {
    PluginStep {
        plugin: ran.instance.name.to_string(),
        resource: ran.instance.resource.to_string(),
        rule: ran.instance.rule,
        decision: ran.decision,
    }
}

fn replied(reply: Reply, cause: Option<String>, cx: &RequestContext) -> Outcome {
    let code = reply.code;
    let response = reply::to_response(reply, cx.audience(), cx.request_id.as_str());
    Outcome::Reply {
        status: response.status().as_u16(),
        code,
        headers: shown(response.headers()),
        body: String::from_utf8_lossy(response.body()).into_owned(),
        cause,
    }
}

/// What is sent to the chosen target, or why nothing is.
fn sent(live: &Live, chosen: Chosen<'_>, cx: &mut RequestContext, body: &Bytes) -> Outcome {
    let fails = |error: &GatewayError, cx: &RequestContext| {
        replied(Reply::from(error), error.cause.clone(), cx)
    };
    let Some((route, target)) = chosen else {
        return fails(&GatewayError::new(ErrorKind::NoRoute), cx);
    };
    let Some(service) = target.service.and_then(|index| live.service(index)) else {
        return fails(&GatewayError::new(ErrorKind::ServiceUnknown), cx);
    };
    let is_tls = service.service.protocol.is_tls();
    match proxy::prepare(route.upstream_vhost.as_deref(), target, cx) {
        Ok(request) => Outcome::Upstream(Box::new(upstream(&request, is_tls, cx, body))),
        Err(error) => fails(&error, cx),
    }
}

/// The same outcome without what stands under names of secrets.
fn hidden(mut outcome: Outcome, names: &[String]) -> Outcome {
    let is_secret = |name: &str| names.contains(&name.to_ascii_lowercase());
    let Outcome::Upstream(upstream) = &mut outcome else {
        return outcome;
    };
    for (name, value) in &mut upstream.headers {
        if is_secret(name) && !value.starts_with("sha256:") {
            *value = redact(value);
        }
    }
    if let Some((path, query)) = upstream.url.split_once('?') {
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, value)) if is_secret(name) => format!("{name}={}", redact(value)),
            _ => pair.to_owned(),
        });
        upstream.url = format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"));
    }
    outcome
}

fn upstream(
    request: &Request<OutgoingBody>,
    is_tls: bool,
    cx: &RequestContext,
    body: &Bytes,
) -> Upstream {
    let scheme = if is_tls { "https" } else { "http" };
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let sent = request.body().in_memory().unwrap_or_default();
    let model = cx.record.upstream_model.as_ref().or(cx.record.model.as_ref());
    Upstream {
        method: request.method().to_string(),
        url: format!("{scheme}://{host}{}", request.uri()),
        headers: shown(request.headers()),
        changed_body: (sent != *body).then(|| String::from_utf8_lossy(&sent).into_owned()),
        model: model.map(|model| model.to_string()),
    }
}

/// Headers as they are shown: without secrets.
fn shown(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.to_string(), shown_value(name, value))).collect()
}

fn shown_value(name: &HeaderName, value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    if SECRET_HEADERS.contains(name) { redact(&text) } else { text.into_owned() }
}
