//! The load generator: keeps a number of connections busy, or sends at a
//! rate, and counts what comes back. One thread. It tells on standard output
//! when the measured time begins, and then what it counted.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::answer::Answer;
use crate::certificate;
use crate::connection::{Connection, Peer};
use crate::histogram::Histogram;
use crate::http2;
use crate::request::{self, CONSUMERS, HOSTS, Shape, host, key};
use crate::upstream::ANSWER_BYTES;

/// The line that says that the measured time begins.
pub const BEGINS: &str = "begins";
/// The requests at a time on a connection of HTTP/2.
const STREAMS: usize = 8;
/// How long a connection waits after a failure.
const PAUSE: Duration = Duration::from_millis(20);

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    Http1,
    Https,
    Http2,
}

/// What to send, and for how long.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// Where to.
    pub target: SocketAddr,
    /// What to speak.
    pub protocol: Protocol,
    /// The certificate that the server has, where it speaks TLS.
    pub certificate: Option<PathBuf>,
    /// The requests that are under way at a time.
    pub connections: usize,
    /// The bytes of a request's body.
    pub body_bytes: usize,
    /// How many events an answer has; none for one document.
    pub events: Option<u64>,
    /// The milliseconds between them.
    pub delay_ms: u64,
    /// Requests each second; none for as many as are answered.
    pub rate: Option<u32>,
    /// How long to go on before measuring.
    pub warm_up_ms: u64,
    /// How long to measure.
    pub seconds: f64,
}

impl Order {
    /// What the answers are like.
    pub fn shape(&self) -> Shape {
        match self.events {
            None => Shape::Whole,
            Some(count) => Shape::Events { count, delay_ms: self.delay_ms },
        }
    }
}

/// What came back in the measured time.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Answers that ended, and were right.
    pub answers: u64,
    /// Events that arrived.
    pub events: u64,
    /// Requests that failed or were answered otherwise.
    pub errors: u64,
    /// The first of these.
    pub error: Option<String>,
    /// How long was measured.
    pub seconds: f64,
    /// The median from sending to the end of the answer, or, where there is a
    /// pause between events, to the first of them.
    pub p50_ms: Option<f64>,
    /// The 99th percentile of the same.
    pub p99_ms: Option<f64>,
}

/// What all connections count into.
#[derive(Default)]
struct Tally {
    outcome: Outcome,
    latencies: Histogram,
}

/// What all connections need.
struct Load {
    order: Order,
    peer: Peer,
    heads: Vec<Bytes>,
    body: Bytes,
    tally: Mutex<Tally>,
}

/// Runs the load generator.
pub fn run(order: Order) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(order))
}

async fn measure(order: Order) -> anyhow::Result<()> {
    let protocol = order.protocol;
    let tls = order.certificate.as_deref().map(|path| certificate::client(path, protocol));
    let load = Arc::new(Load {
        peer: Peer { address: order.target, tls: tls.transpose()? },
        heads: request::heads(order.body_bytes),
        body: request::body(order.body_bytes, order.shape()),
        tally: Mutex::default(),
        order,
    });
    start(&load);
    sleep(Duration::from_millis(load.order.warm_up_ms)).await;
    // Failures before the measured time are failures too.
    load.count(|tally| {
        let Outcome { errors, error, .. } = std::mem::take(&mut tally.outcome);
        *tally = Tally::default();
        (tally.outcome.errors, tally.outcome.error) = (errors, error);
    });
    let began = Instant::now();
    say(BEGINS)?;
    sleep(Duration::from_secs_f64(load.order.seconds)).await;
    let outcome = load.count(|tally| Outcome {
        seconds: began.elapsed().as_secs_f64(),
        p50_ms: tally.latencies.quantile_ms(0.5),
        p99_ms: tally.latencies.quantile_ms(0.99),
        ..tally.outcome.clone()
    });
    say(&serde_json::to_string(&outcome)?)
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut output = std::io::stdout();
    writeln!(output, "{line}")?;
    Ok(output.flush()?)
}

/// Starts all tasks. They end with the process.
fn start(load: &Arc<Load>) {
    let connections = load.order.connections;
    if let Some(rate) = load.order.rate {
        tokio::spawn(send_at_rate(Arc::clone(load), rate));
    } else if load.order.protocol == Protocol::Http2 {
        for number in 0..connections.div_ceil(STREAMS) {
            tokio::spawn(keep_busy_http2(Arc::clone(load), number));
        }
    } else {
        // Streams begin spread over the time that one takes, so that their
        // events do too.
        let length_ms = load.order.delay_ms * load.order.events.unwrap_or_default();
        for number in 0..connections {
            let offset = length_ms * number as u64 / connections as u64;
            let load = Arc::clone(load);
            tokio::spawn(async move {
                sleep(Duration::from_millis(offset)).await;
                load.keep_busy(number).await;
            });
        }
    }
}

impl Load {
    fn count<T>(&self, count: impl FnOnce(&mut Tally) -> T) -> T {
        count(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn fail(&self, error: &anyhow::Error) {
        self.count(|tally| {
            tally.outcome.errors += 1;
            tally.outcome.error.get_or_insert_with(|| format!("{error:#}"));
        });
    }

    /// Sends one request after the other, over a connection that is made anew
    /// when it fails.
    async fn keep_busy(&self, number: usize) {
        // Each connection begins with another host and key.
        let mut turn = number;
        loop {
            let failure = match Connection::open(&self.peer, &host(number % HOSTS)).await {
                Ok(mut connection) => loop {
                    turn += 1;
                    if let Err(error) = self.exchange(&mut connection, turn, Instant::now()).await {
                        break error;
                    }
                },
                Err(error) => error,
            };
            self.fail(&failure);
            sleep(PAUSE).await;
        }
    }

    /// Sends the request of a turn and counts its answer.
    async fn exchange(
        &self,
        connection: &mut Connection,
        turn: usize,
        began: Instant,
    ) -> anyhow::Result<()> {
        let Some(head) = self.heads.get(turn % self.heads.len()) else { return Ok(()) };
        connection.send(head, &self.body).await?;
        let (mut events, mut first_event) = (0, None);
        let answer = connection.receive(|answer| {
            if answer.events > events {
                first_event.get_or_insert_with(|| began.elapsed());
                self.count(|tally| tally.outcome.events += answer.events - events);
                events = answer.events;
            }
        });
        let answer = answer.await?;
        let whole = began.elapsed();
        let latency = if self.order.delay_ms > 0 { first_event.unwrap_or(whole) } else { whole };
        self.admit(&answer, latency)
    }

    /// Counts an answer if it is the one that was asked for.
    fn admit(&self, answer: &Answer, latency: Duration) -> anyhow::Result<()> {
        ensure!(answer.status == 200, "answered {}", answer.status);
        match self.order.shape() {
            Shape::Whole => ensure!(
                answer.body_bytes == ANSWER_BYTES as u64,
                "a body of {} bytes",
                answer.body_bytes
            ),
            shape => ensure!(
                answer.events == shape.events_seen(),
                "an answer of {} events",
                answer.events
            ),
        }
        self.count(|tally| {
            tally.outcome.answers += 1;
            tally.latencies.record(latency);
        });
        Ok(())
    }
}

/// Keeps one connection of HTTP/2 busy with several requests at a time.
async fn keep_busy_http2(load: Arc<Load>, number: usize) {
    let name = host(number % HOSTS);
    let client = match http2::open(&load.peer, &name).await {
        Ok(client) => client,
        Err(error) => return load.fail(&error),
    };
    for stream in 0..STREAMS {
        let (load, name, client) = (Arc::clone(&load), name.clone(), client.clone());
        tokio::spawn(async move {
            let mut turn = number * STREAMS + stream;
            loop {
                turn += 1;
                let began = Instant::now();
                let key = key(turn % CONSUMERS);
                let answer = http2::exchange(&client, &name, &key, &load.body).await;
                let counted = answer.and_then(|answer| load.admit(&answer, began.elapsed()));
                if let Err(error) = counted {
                    load.fail(&error);
                    sleep(PAUSE).await;
                }
            }
        });
    }
}

/// Sends at a rate, however long answers take: what waits for a free
/// connection waits on the clock.
async fn send_at_rate(load: Arc<Load>, rate: u32) {
    let (give_back, mut free) = mpsc::unbounded_channel();
    for number in 0..load.order.connections {
        match Connection::open(&load.peer, &host(number % HOSTS)).await {
            Ok(connection) => give_back.send(connection).unwrap_or_default(),
            Err(error) => load.fail(&error),
        }
    }
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for turn in 0_usize.. {
        ticks.tick().await;
        let began = Instant::now();
        let Some(mut connection) = free.recv().await else { return };
        let (load, give_back) = (Arc::clone(&load), give_back.clone());
        tokio::spawn(async move {
            match load.exchange(&mut connection, turn, began).await {
                Ok(()) => give_back.send(connection).unwrap_or_default(),
                Err(error) => {
                    load.fail(&error);
                    if let Ok(connection) = Connection::open(&load.peer, &host(0)).await {
                        give_back.send(connection).unwrap_or_default();
                    }
                }
            }
        });
    }
}
