//! Tokens that were put aside are tried now and then with a small question,
//! away from the request path, until they are good again
//! (Higress: ai-proxy, provider/failover.go).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, Request, StatusCode, Uri};
use penstock_llm::Api;
use penstock_llm::provider::availability::Failover;
use penstock_llm::provider::{BodyEdit, Fetched, LlmRequest, Target, Token, UpstreamRequest};
use penstock_llm::scan::Scan;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Keyring, TokenHealth};
use crate::Gateway;
use crate::body::OutgoingBody;
use crate::health::now_ms;
use crate::proxy::{ConnectionWishes, adapt};
use crate::request::host_of;
use crate::state::{Live, ServiceState};
use crate::upstream::{ClientTls, Dialer, Pool, SendLimits};

/// The most checks at a time.
const CONCURRENT_MAX: usize = 16;
/// The time between two looks at what is due.
const LOOK: Duration = Duration::from_millis(250);
/// How long a question that is under way keeps others from the same token.
const LEASE_MS: u64 = 60_000;

const NAME: HeaderValue = HeaderValue::from_static("penstock-check");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Checks the tokens of the configuration in force, for as long as the
/// gateway is there.
pub struct TokenChecker {
    gateway: Arc<Gateway>,
    tls: Arc<ClientTls>,
    pool: Arc<Pool>,
}

/// A token that is checked.
struct Suspect {
    keyring: Arc<Keyring>,
    at: usize,
    health: Arc<TokenHealth>,
    service: Arc<ServiceState>,
}

impl TokenChecker {
    /// The checker of a gateway.
    pub fn new(gateway: Arc<Gateway>, tls: Arc<ClientTls>) -> Arc<Self> {
        Arc::new(Self { gateway, tls, pool: Pool::new(Duration::ZERO) })
    }

    /// Checks, for ever.
    pub async fn run(self: Arc<Self>) {
        let room = Arc::new(Semaphore::new(CONCURRENT_MAX));
        loop {
            let suspects = self.gateway.live().map(|live| due(&live)).unwrap_or_default();
            for suspect in suspects {
                let Ok(permit) = room.clone().acquire_owned().await else { return };
                let checker = self.clone();
                tokio::spawn(async move {
                    checker.check(&suspect).await;
                    drop(permit);
                });
            }
            self.pool.sweep(Duration::ZERO);
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn check(&self, suspect: &Suspect) {
        let Some(failover) = suspect.keyring.provider().failover() else { return };
        let limit = Duration::from_millis(failover.check_timeout_ms);
        let status = timeout(limit, self.ask(suspect, failover)).await.ok().flatten();
        let has_passed = status == Some(StatusCode::OK);
        let next_ms = now_ms().saturating_add(failover.check_interval_ms);
        suspect.health.next_check_ms.store(next_ms, Ordering::Relaxed);
        if suspect.health.note_check(failover, has_passed) {
            let provider = suspect.keyring.provider().id();
            tracing::info!(provider, token = &*suspect.health.label, "a token is back");
        }
    }

    /// Asks with a token; the status of the answer, where there is one.
    async fn ask(&self, suspect: &Suspect, failover: &Failover) -> Option<StatusCode> {
        let token = suspect.keyring.provider().tokens().get(suspect.at)?;
        let mut request = question(&suspect.keyring, token, failover)?;
        let host = request.headers().get(HOST).map(host_of).unwrap_or_default();
        let settings = &self.gateway.settings;
        let service = &suspect.service;
        adapt(&mut request, &service.service, ConnectionWishes::default()).ok()?;
        let dialer = Dialer {
            pool: &self.pool,
            tls: &self.tls,
            settings,
            metrics: &self.gateway.state.metrics,
        };
        service.wait_resolved(settings.resolve_timeout).await;
        let limit = Duration::from_millis(failover.check_timeout_ms);
        let limits = SendLimits {
            first_byte_timeout: limit,
            idle_timeout: limit,
            ends_at: Some(Instant::now() + limit),
        };
        let mut turn = service.turn(None, None).ok()?;
        while turn.advance() {
            let endpoint = turn.endpoint()?.clone();
            match dialer.connect(service, &endpoint, &host, false).await {
                Ok(ready) => {
                    let answer = ready.send(request, &self.pool, limits).await.ok()?;
                    let _occupied = turn.answered(answer.status());
                    return Some(answer.status());
                }
                Err(error) => turn.failed(&error),
            }
        }
        None
    }
}

/// The tokens whose check is due; each is claimed.
fn due(live: &Live) -> Vec<Suspect> {
    let now = now_ms();
    let mut suspects = Vec::new();
    for keyring in live.keyrings() {
        let Some(failover) = keyring.provider().failover() else { continue };
        if failover.check_model.is_none() {
            continue;
        }
        for (at, health) in keyring.tokens().iter().enumerate() {
            let next = health.next_check_ms.load(Ordering::Relaxed);
            if next > now || !health.is_out(failover, now) {
                continue;
            }
            let service = health.checked_at();
            let service = service.and_then(|(host, port)| live.service_of(&host, port).cloned());
            let Some(service) = service else { continue };
            health.next_check_ms.store(now.saturating_add(LEASE_MS), Ordering::Relaxed);
            let (keyring, health) = (keyring.clone(), health.clone());
            suspects.push(Suspect { keyring, at, health, service });
        }
    }
    suspects
}

/// A small question, as the provider wants it; `None` where it cannot be put.
fn question(
    keyring: &Keyring,
    token: &Token,
    failover: &Failover,
) -> Option<Request<OutgoingBody>> {
    const PATH: &str = "/v1/chat/completions";
    let body = serde_json::json!({
        "model": failover.check_model,
        "messages": [{"role": "user", "content": "who are you?"}],
    });
    let body = Bytes::from(body.to_string());
    let scan = Scan::of(&body).ok()?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(USER_AGENT, NAME);
    let asked = LlmRequest {
        api: Some(Api::ChatCompletions),
        method: &Method::POST,
        path_and_query: PATH,
        headers: &headers,
        body: Some(&body),
        scan: Some(&scan),
        now: || 0,
        expected: None,
    };
    let target = Target { token: Some(token) };
    let edits = keyring.provider().request(&asked, &target, &Fetched::default()).ok()?;
    let UpstreamRequest { host, path_and_query, headers: edited, body: edit, .. } = edits;
    for (name, value) in edited {
        match value {
            Some(value) => drop(headers.insert(name, value)),
            None => drop(headers.remove(name)),
        }
    }
    if let Some(host) = host {
        headers.insert(HOST, host);
    }
    let parts = match edit {
        BodyEdit::Keep => vec![body],
        BodyEdit::Parts(parts) => parts,
    };
    let mut request = Request::new(OutgoingBody::parts(parts, None));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = path_and_query.as_deref().unwrap_or(PATH).parse::<Uri>().ok()?;
    *request.headers_mut() = headers;
    Some(request)
}
