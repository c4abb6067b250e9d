//! The upstreams of a soak: one that is well, and one for each way to fail.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::upstream::{self, EVENT, EVENTS_HEAD, receive, whole_answer};

/// How an upstream behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers everything.
    Well,
    /// Resets the connection, before or within the answer.
    Resets,
    /// Answers 429 for some seconds of every half minute.
    Storms,
    /// Answers what is no HTTP.
    Garbage,
    /// Begins an answer, hangs, and breaks off.
    Hangs,
    /// Is gone for some seconds of every half minute.
    Flaps,
}

/// One upstream of each kind, by the name of its provider.
pub const UPSTREAMS: &[(&str, Behaviour)] = &[
    ("well-a", Behaviour::Well),
    ("well-b", Behaviour::Well),
    ("resets", Behaviour::Resets),
    ("storms", Behaviour::Storms),
    ("garbage", Behaviour::Garbage),
    ("hangs", Behaviour::Hangs),
    ("flaps", Behaviour::Flaps),
];

/// How long a storm or an absence lasts, and how long it is fair after it.
const FOUL: Duration = Duration::from_secs(10);
const FAIR: Duration = Duration::from_secs(20);
/// How long an upstream hangs before it breaks off.
const HANG: Duration = Duration::from_secs(3);
/// The answer within a storm.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}";
const GARBAGE: &[u8] = b"\x16\x03\x01\x02\x00 this is no HTTP \xff\xfe\r\n\r\n\x00\x00";

/// Starts all of them, and says where they are.
pub async fn start() -> anyhow::Result<Vec<(&'static str, SocketAddr)>> {
    let mut providers = Vec::new();
    for (name, behaviour) in UPSTREAMS {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        providers.push((*name, address));
        match behaviour {
            Behaviour::Well => drop(tokio::spawn(upstream::serve(listener))),
            Behaviour::Flaps => drop(tokio::spawn(flap(address, listener))),
            behaviour => drop(tokio::spawn(accept(listener, *behaviour))),
        }
    }
    Ok(providers)
}

async fn accept(listener: TcpListener, behaviour: Behaviour) {
    let began = Instant::now();
    while let Ok((stream, _)) = listener.accept().await {
        // To fail is what these connections are for.
        tokio::spawn(async move { misbehave(stream, behaviour, began).await.ok() });
    }
}

async fn misbehave(
    mut stream: TcpStream,
    behaviour: Behaviour,
    began: Instant,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 80 * 1024];
    while receive(&mut stream, &mut buffer).await?.is_some() {
        match behaviour {
            Behaviour::Well | Behaviour::Flaps => stream.write_all(&whole_answer()).await?,
            Behaviour::Storms if is_foul(began.elapsed()) => stream.write_all(TOO_MANY).await?,
            Behaviour::Storms => stream.write_all(&whole_answer()).await?,
            Behaviour::Garbage => {
                stream.write_all(GARBAGE).await?;
                break;
            }
            Behaviour::Resets => {
                if began.elapsed().as_millis().is_multiple_of(2) {
                    stream.write_all(&[EVENTS_HEAD, EVENT].concat()).await?;
                }
                stream.set_zero_linger()?;
                break;
            }
            Behaviour::Hangs => {
                stream.write_all(&[EVENTS_HEAD, EVENT].concat()).await?;
                sleep(HANG).await;
                break;
            }
        }
    }
    Ok(())
}

/// Whether it is foul after a time.
fn is_foul(elapsed: Duration) -> bool {
    elapsed.as_secs() % (FAIR + FOUL).as_secs() >= FAIR.as_secs()
}

/// Serves while it is fair, and is gone, with all its connections, while it
/// is foul.
async fn flap(address: SocketAddr, listener: TcpListener) {
    let mut listener = Some(listener);
    loop {
        let until = Instant::now() + FAIR;
        let mut connections = JoinSet::new();
        if let Some(listener) = listener.take() {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = sleep_until(until) => break,
                };
                if let Ok((stream, _)) = accepted {
                    connections.spawn(misbehave(stream, Behaviour::Flaps, until));
                }
                while connections.try_join_next().is_some() {}
            }
        }
        drop(connections);
        sleep(FOUL).await;
        listener = TcpListener::bind(address).await.ok();
    }
}
