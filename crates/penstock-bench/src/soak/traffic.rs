//! The clients of a soak: what real ones do, at a moderate rate, each kind in
//! tasks of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use h2::client::SendRequest;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use crate::connection::{Connection, Peer};
use crate::http2;
use crate::request::{self, Shape, body, host, key};
use crate::soak::scenario::{MOVING_ROUTE, RENEWED_ROUTE, STAYING};
use crate::soak::upstream::{Behaviour, UPSTREAMS};

/// The routes that always answer.
const HEALTHY: [usize; 4] = [0, 1, MOVING_ROUTE, RENEWED_ROUTE];
/// How long any request may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a client waits after a failure, for instance while a connection
/// cannot be made.
const PAUSE: Duration = Duration::from_secs(1);
/// The requests of one connection of HTTP/2.
const HTTP2_TURNS: usize = 200;
/// A stream that lasts ten seconds.
const SLOW: Shape = Shape::Events { count: 50, delay_ms: 200 };
const FAST: Shape = Shape::Events { count: 32, delay_ms: 0 };

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Short,
    Long,
    FastStream,
    SlowStream,
    WrongKey,
    BreaksOff,
    NewConnection,
    Https,
    NewHttps,
    Http2,
    /// Asks an upstream that fails; whatever comes back is right.
    Unhealthy,
}

/// Each kind: its share of a thousand requests, and its clients. Slow streams
/// follow each other, so that each client has one open.
const KINDS: &[(Kind, u32, u32)] = &[
    (Kind::Short, 480, 16),
    (Kind::Long, 70, 4),
    (Kind::FastStream, 70, 4),
    (Kind::SlowStream, 0, 100),
    (Kind::WrongKey, 70, 2),
    (Kind::BreaksOff, 30, 4),
    (Kind::NewConnection, 50, 4),
    (Kind::Https, 70, 4),
    (Kind::NewHttps, 20, 2),
    (Kind::Http2, 70, 2),
    (Kind::Unhealthy, 70, 20),
];

/// What was counted.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Requests that came to an end of whatever kind.
    pub requests: u64,
    /// Those to a healthy upstream, or with a wrong key, that ended otherwise
    /// than they had to.
    pub unexpected: u64,
    /// How often each failure occurred.
    pub failures: HashMap<String, u64>,
}

/// Where to send to.
pub struct Traffic {
    pub http: Peer,
    pub https: Peer,
    pub http2: Peer,
    tally: Mutex<Tally>,
}

impl Traffic {
    /// Traffic to a gateway's listeners.
    pub fn new(http: Peer, https: Peer, http2: Peer) -> Self {
        Self { http, https, http2, tally: Mutex::default() }
    }

    /// What was counted by now.
    pub fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Starts the clients; together they send `rate` requests each second,
    /// slow streams aside. They leave when the set is dropped.
    pub fn start(self: &Arc<Self>, rate: u32) -> JoinSet<()> {
        let mut clients = JoinSet::new();
        for (kind, share, count) in KINDS {
            for number in 0..*count {
                let rate = f64::from(rate) * f64::from(*share) / 1000.0 / f64::from(*count);
                let pause = Duration::from_secs_f64(if *share == 0 { 0.001 } else { 1.0 / rate });
                let client = Client {
                    traffic: Arc::clone(self),
                    kind: *kind,
                    turn: number as usize,
                    connection: None,
                    http2: None,
                };
                // All begin within one period, slow streams within one stream.
                let spread = if *share == 0 { Duration::from_secs(10) } else { pause };
                clients.spawn(client.run(pause, spread * number / *count));
            }
        }
        clients
    }

    fn count(&self, kind: Kind, outcome: anyhow::Result<()>) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.requests += 1;
        if let Err(error) = outcome {
            tally.unexpected += 1;
            *tally.failures.entry(format!("{kind:?}: {error:#}")).or_default() += 1;
        }
    }
}

/// One client.
struct Client {
    traffic: Arc<Traffic>,
    kind: Kind,
    /// Which host and key are next.
    turn: usize,
    /// The connection that is kept.
    connection: Option<Connection>,
    http2: Option<(SendRequest<Bytes>, usize)>,
}

impl Client {
    async fn run(mut self, period: Duration, offset: Duration) {
        let mut ticks = interval_at(Instant::now() + offset, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.turn += 1;
            let outcome = timeout(PATIENCE, self.act()).await;
            let outcome = outcome.context("no end").and_then(|outcome| outcome);
            let has_failed = outcome.is_err();
            if has_failed {
                (self.connection, self.http2) = (None, None);
            }
            self.traffic.count(self.kind, outcome);
            if has_failed {
                sleep(PAUSE).await;
            }
        }
    }

    /// One request, from its connection to its end.
    async fn act(&mut self) -> anyhow::Result<()> {
        match self.kind {
            Kind::Short => self.converse(false, 1024, Shape::Whole).await,
            Kind::Long => self.converse(false, 65_536, Shape::Whole).await,
            Kind::FastStream => self.converse(false, 1024, FAST).await,
            Kind::SlowStream => self.converse(false, 1024, SLOW).await,
            Kind::Https => self.converse(true, 1024, Shape::Whole).await,
            Kind::NewConnection | Kind::NewHttps => {
                self.connection = None;
                self.converse(self.kind == Kind::NewHttps, 1024, Shape::Whole).await
            }
            Kind::WrongKey => self.present_wrong_key().await,
            Kind::BreaksOff => self.break_off().await,
            Kind::Http2 => self.converse_http2().await,
            Kind::Unhealthy => self.ask_unhealthy().await,
        }
    }

    fn host(&self) -> String {
        host(HEALTHY.get(self.turn % HEALTHY.len()).copied().unwrap_or_default())
    }

    fn key(&self) -> String {
        key(self.turn % STAYING)
    }

    /// Sends a request that must be answered in full.
    async fn converse(&mut self, is_tls: bool, bytes: usize, shape: Shape) -> anyhow::Result<()> {
        let (host, body) = (self.host(), body(bytes, shape));
        let peer = if is_tls { &self.traffic.https } else { &self.traffic.http };
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(peer, &host).await.context("connecting")?,
        };
        connection.send(&request::head(&host, &self.key(), body.len()), &body).await?;
        let answer = connection.receive(|_| ()).await?;
        ensure!(answer.status == 200, "answered {}", answer.status);
        let events = shape.events_seen();
        ensure!(shape == Shape::Whole || answer.events == events, "{} events", answer.events);
        self.connection = (!answer.closes).then_some(connection);
        Ok(())
    }

    async fn present_wrong_key(&mut self) -> anyhow::Result<()> {
        let (host, body) = (self.host(), body(1024, Shape::Whole));
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.traffic.http, &host).await.context("connecting")?,
        };
        connection.send(&request::head(&host, "wrong", body.len()), &body).await?;
        let answer = connection.receive(|_| ()).await?;
        ensure!([401, 403].contains(&answer.status), "answered {}", answer.status);
        self.connection = (!answer.closes).then_some(connection);
        Ok(())
    }

    /// Leaves in the middle of the request, or of the answer.
    async fn break_off(&mut self) -> anyhow::Result<()> {
        let (host, body) = (self.host(), body(65_536, SLOW));
        let head = request::head(&host, &self.key(), body.len());
        let mut connection = Connection::open(&self.traffic.http, &host).await?;
        if self.turn.is_multiple_of(2) {
            connection.send(&head, &body.slice(..body.len() / 2)).await?;
        } else {
            connection.send(&head, &body).await?;
            let some = Duration::from_millis(300);
            ensure!(
                timeout(some, connection.receive(|_| ())).await.is_err(),
                "a slow stream ended"
            );
        }
        Ok(())
    }

    async fn converse_http2(&mut self) -> anyhow::Result<()> {
        let (host, body) = (self.host(), body(1024, Shape::Whole));
        let (client, turns) = match self.http2.take() {
            Some((client, turns)) if turns < HTTP2_TURNS => (client, turns),
            _ => (http2::open(&self.traffic.http2, &host).await.context("connecting")?, 0),
        };
        let answer = http2::exchange(&client, &host, &self.key(), &body).await?;
        ensure!(answer.status == 200, "answered {}", answer.status);
        self.http2 = Some((client, turns + 1));
        Ok(())
    }

    /// Asks an upstream that fails. Only that there is an end is asked for.
    async fn ask_unhealthy(&mut self) -> anyhow::Result<()> {
        let is_well = |(_, behaviour): &&(&str, Behaviour)| *behaviour == Behaviour::Well;
        let well = UPSTREAMS.iter().take_while(is_well).count();
        let host = host(well + self.turn % (UPSTREAMS.len() - well));
        let body = body(1024, FAST);
        let mut connection =
            Connection::open(&self.traffic.http, &host).await.context("connecting")?;
        connection.send(&request::head(&host, &self.key(), body.len()), &body).await?;
        // A failure is what these answers are for.
        let _ = connection.receive(|_| ()).await;
        Ok(())
    }
}
