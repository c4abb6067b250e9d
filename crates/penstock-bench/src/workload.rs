//! The workloads, and what penstock may need for each of them next to nginx.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;

use crate::contestant::Contestant;
use crate::load::{Order, Protocol};

/// How much of the possible rate slow streams have to reach. Timers that are
/// a millisecond late cost 2 %.
const LAG_RATE_MIN: f64 = 0.9;

/// What is asked of a figure: the bound that it must keep, and the aim.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Target {
    pub must: f64,
    pub aim: f64,
}

/// A kind of load.
pub struct Workload {
    /// What `--only` calls it.
    pub name: &'static str,
    /// What it is.
    pub title: &'static str,
    pub protocol: Protocol,
    pub connections: usize,
    pub body_bytes: usize,
    pub events: Option<u64>,
    pub delay_ms: u64,
    pub warm_up_ms: u64,
    /// What is asked of penstock's CPU time, as a multiple of nginx'.
    pub target: Option<Target>,
}

/// A chat request of 1 KB from each of 32 clients, answered as a whole.
const SHORT: Workload = Workload {
    name: "w1",
    title: "1 KB request, 600 B answer, 32 connections",
    protocol: Protocol::Http1,
    connections: 32,
    body_bytes: 1024,
    events: None,
    delay_ms: 0,
    warm_up_ms: 500,
    target: Some(Target { must: 1.2, aim: 0.9 }),
};

/// All of them, in the order of the tables.
pub const WORKLOADS: &[Workload] = &[
    SHORT,
    Workload {
        name: "w2",
        title: "64 KB request, 600 B answer, 32 connections",
        body_bytes: 65_536,
        target: Some(Target { must: 1.7, aim: 1.3 }),
        ..SHORT
    },
    Workload {
        name: "w3",
        title: "32 streams, 32 events each, no pause",
        events: Some(32),
        target: Some(Target { must: 1.6, aim: 1.1 }),
        ..SHORT
    },
    SLOW_STREAMS,
    Workload {
        name: "tls",
        title: "w1 over HTTPS, HTTP/1.1",
        protocol: Protocol::Https,
        target: None,
        ..SHORT
    },
    Workload {
        name: "http2",
        title: "w1 over HTTPS, HTTP/2, 8 requests a connection",
        protocol: Protocol::Http2,
        target: None,
        ..SHORT
    },
];

/// A thousand streams with the pauses of real ones.
pub const SLOW_STREAMS: Workload = Workload {
    name: "w4b",
    title: "1,000 streams, 32 events each, 50 ms between them",
    connections: 1000,
    events: Some(32),
    delay_ms: 50,
    warm_up_ms: 2500,
    target: Some(Target { must: 1.2, aim: 0.9 }),
    ..SHORT
};

impl Workload {
    /// What is wrong with a round of slow streams that fell behind their own
    /// pauses: the machine was too busy, and late events that arrive together
    /// cost less than they should.
    pub fn lag(&self, rate: f64) -> Option<String> {
        let seconds = (self.delay_ms * self.events.unwrap_or_default()) as f64 / 1000.0;
        let possible = self.connections as f64 / seconds;
        let has_pauses = seconds > 0.0;
        (has_pauses && rate < possible * LAG_RATE_MIN)
            .then(|| format!("{rate:.0} of {possible:.0} streams/s: the machine is too busy"))
    }

    /// What the load generator shall do to a contestant.
    pub fn order(&self, contestant: &Contestant, certificate: PathBuf, seconds: f64) -> Order {
        let target = match (self.protocol, self.events) {
            (Protocol::Http1, None) => contestant.http,
            (Protocol::Http1, Some(_)) => contestant.streaming,
            (Protocol::Https | Protocol::Http2, _) => contestant.https,
        };
        Order {
            target,
            protocol: self.protocol,
            certificate: (self.protocol != Protocol::Http1).then_some(certificate),
            connections: self.connections,
            body_bytes: self.body_bytes,
            events: self.events,
            delay_ms: self.delay_ms,
            rate: None,
            warm_up_ms: self.warm_up_ms,
            seconds,
        }
    }
}

/// Short requests at a rate, far below what any of them can take.
pub fn at_rate(target: SocketAddr, rate: u32, seconds: f64) -> Order {
    Order {
        target,
        protocol: Protocol::Http1,
        certificate: None,
        connections: 16,
        body_bytes: SHORT.body_bytes,
        events: None,
        delay_ms: 0,
        rate: Some(rate),
        warm_up_ms: 500,
        seconds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_that_fall_behind_are_no_figure() {
        assert_eq!(SLOW_STREAMS.lag(600.0), None);
        assert!(SLOW_STREAMS.lag(480.0).is_some());
        assert_eq!(SHORT.lag(1.0), None);
    }
}
