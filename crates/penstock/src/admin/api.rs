//! The API: what the verbs do, for programs and from afar.
//!
//! A request is checked before its body is read, waits for its turn, and is
//! then answered where blocking is allowed, so that health and metrics are
//! always answered. What was begun is finished, whether or not the client
//! stays.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, EXPECT, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use penstock_gateway::Gateway;
use serde_json::Value as Json;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::audit::{Audit, Entry};
use super::body::{Held, Room};
use super::call::{Call, decoded, query};
use super::endpoint::{self, Endpoint, Found, Needs, PREFIX};
use super::refused::Refused;
use super::{AdminResponse, AdminToken, body, guard, plain};
use crate::target::{FailureKind, Local};

/// How many requests that read are answered at once.
const READS_MAX: usize = 4;
/// How many requests of a kind are under way or wait for their turn.
const WAITING_MAX: usize = 16;
/// How long a request waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(60);

/// What the API speaks about.
pub struct Api {
    /// The token that it wants, where one is set.
    pub token: Option<AdminToken>,
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// The directory that it serves.
    pub target: Local,
    /// Who changed what.
    pub audit: Audit,
    reads: Turns,
    changes: Turns,
    room: Room,
}

/// Who comes when.
struct Turns {
    /// Room to wait in, and to be in.
    places: Semaphore,
    running: Arc<Semaphore>,
}

impl Turns {
    fn new(running_max: usize) -> Self {
        Self { places: Semaphore::new(WAITING_MAX), running: Arc::new(Semaphore::new(running_max)) }
    }
}

impl Api {
    /// The API of a gateway that serves a directory.
    pub fn new(
        token: Option<AdminToken>,
        gateway: Arc<Gateway>,
        target: Local,
        directory: &Path,
    ) -> Arc<Self> {
        let audit = Audit::of(directory);
        let (reads, changes) = (Turns::new(READS_MAX), Turns::new(1));
        Arc::new(Self { token, gateway, target, audit, reads, changes, room: Room::new() })
    }

    /// Whether no change is under way.
    pub fn is_idle(&self) -> bool {
        self.changes.running.available_permits() > 0
    }

    /// Answers a request.
    pub async fn answer(
        self: &Arc<Self>,
        request: Request<Incoming>,
        client: SocketAddr,
    ) -> AdminResponse {
        let (head, body) = request.into_parts();
        let (endpoint, segment) = match endpoint::find(&head.method, head.uri.path()) {
            Found::Endpoint(endpoint, segment) => (endpoint, segment.map(decoded)),
            Found::OtherMethod(allowed) => return Refused::method(allowed).response(),
            Found::Nothing(nearest) => {
                return Refused::unknown(head.uri.path(), nearest).response();
            }
        };
        let checked = guard::check(self.token.as_ref(), endpoint, &head)
            .and_then(|()| guard::is_yaml(endpoint.takes, &head.headers));
        let is_yaml = match checked {
            Ok(is_yaml) => is_yaml,
            Err(refused) => {
                // Who waits to be asked for the body has not sent it.
                if !head.headers.contains_key(EXPECT) {
                    body::discard(body).await;
                }
                self.tell(endpoint, client, &refused).await;
                return refused.response();
            }
        };
        let call = Call {
            segment,
            query: query(head.uri.query().unwrap_or_default()),
            body: bytes::Bytes::new(),
            is_yaml,
            client,
            has_token: self.token.is_some(),
        };
        match self.run(endpoint, call, body, &head).await {
            Ok(answer) => in_json(StatusCode::OK, answer),
            Err(refused) => refused.response(),
        }
    }

    async fn run(
        self: &Arc<Self>,
        endpoint: &'static Endpoint,
        call: Call,
        body: Incoming,
        head: &Parts,
    ) -> Result<String, Refused> {
        let turns = match endpoint.needs {
            Needs::Read => &self.reads,
            Needs::Change => &self.changes,
        };
        let Ok(_place) = turns.places.try_acquire() else {
            if !head.headers.contains_key(EXPECT) {
                body::discard(body).await;
            }
            return Err(Refused::busy());
        };
        let Held { bytes, room } = body::read(body, &self.room).await?;
        let call = Call { body: bytes, ..call };
        let turn = match timeout(TURN_TIMEOUT, turns.running.clone().acquire_owned()).await {
            Ok(Ok(turn)) => turn,
            _ => return Err(Refused::busy()),
        };
        let api = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            // Writing a large answer takes its time, too.
            let answer = (endpoint.run)(&api, &call).map(|answer| format!("{answer}\n"));
            drop((call, room, turn));
            answer
        });
        match done.await {
            Ok(answer) => Ok(answer?),
            Err(error) => {
                tracing::error!(%error, path = endpoint.path, "an admin request ended abnormally");
                let (status, kind) = (StatusCode::INTERNAL_SERVER_ERROR, FailureKind::Unavailable);
                Err(Refused::new(status, kind, "the gateway failed on this request; see its log"))
            }
        }
    }

    /// Notes an attempt of somebody who may not.
    async fn tell(self: &Arc<Self>, endpoint: &Endpoint, client: SocketAddr, refused: &Refused) {
        let is_told =
            matches!(refused.failure.kind, FailureKind::Unauthorized | FailureKind::Forbidden);
        let Some(unlogged) = is_told.then(|| self.audit.stranger()).flatten() else { return };
        let verb = endpoint.path.strip_prefix(PREFIX).unwrap_or(endpoint.path);
        let entry = Entry::of_stranger(client, verb, &refused.failure, unlogged);
        let api = self.clone();
        // It only tells; who asked is refused either way.
        let _ = tokio::task::spawn_blocking(move || api.audit.tell(&entry)).await;
    }
}

/// An answer in JSON.
pub fn json(status: StatusCode, body: &Json) -> AdminResponse {
    in_json(status, format!("{body}\n"))
}

fn in_json(status: StatusCode, body: String) -> AdminResponse {
    let mut response = plain(status, body);
    for (name, value) in [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
