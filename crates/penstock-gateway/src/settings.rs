//! What the process was started with, as far as the data plane needs it.

use std::time::Duration;

use http::uri::PathAndQuery;

use crate::snapshot::DomainPattern;

/// Limits and timeouts of the data plane.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The largest request body that is buffered, in bytes. Bodies that only
    /// pass through have no limit. Default 100 MiB, as in Higress.
    pub body_bytes_max: usize,
    /// Memory for buffered request bodies of the whole process, in bytes.
    pub buffered_bytes_max: usize,
    /// Time for a TCP connection to an upstream.
    pub connect_timeout: Duration,
    /// Time for the TLS handshake with an upstream.
    pub tls_timeout: Duration,
    /// Time from the request's last byte to the head of the answer.
    pub first_byte_timeout: Duration,
    /// Time without a byte of an answer that has begun, or of a request body
    /// that has to be buffered.
    pub idle_timeout: Duration,
    /// Time for a whole request, from its head to the last byte of the
    /// answer. Default none, as in Higress.
    pub request_timeout: Option<Duration>,
    /// Time for a client to send a request head, from its first byte on.
    pub head_timeout: Duration,
    /// The largest request head, in bytes.
    pub head_bytes_max: usize,
    /// The most header lines of a request.
    pub headers_max: usize,
    /// Time for the TLS handshake with a client.
    pub handshake_timeout: Duration,
    /// How long a client connection without a request is kept. Default
    /// 180 s, as in Higress.
    pub client_idle_timeout: Duration,
    /// Time in which a client takes nothing of what is sent to it.
    pub client_stall_timeout: Duration,
    /// The most client connections of the process.
    pub connections_max: usize,
    /// The most connections of one client address, of one /64 for IPv6; 0
    /// for no limit.
    pub address_connections_max: usize,
    /// The most requests at a time on an HTTP/2 connection. Default 100, as
    /// in Higress.
    pub streams_max: u32,
    /// The most requests that an HTTP/2 client may cancel in a second; beyond
    /// it the connection is closed.
    pub resets_max: u32,
    /// How long an HTTP/2 client may be silent before it is pinged.
    pub ping_interval: Duration,
    /// Time for it to answer.
    pub ping_timeout: Duration,
    /// How long an unused upstream connection is kept. Default 10 s, as in
    /// Higress.
    pub pool_idle_timeout: Duration,
    /// How long a request waits for the first resolution of its service.
    pub resolve_timeout: Duration,
    /// How many proxies in front of the gateway are believed in what they say
    /// about the client. Default 0, as Envoy's `xff_num_trusted_hops`.
    pub trusted_hops: usize,
    /// How much a service may have under way.
    pub service: ServiceLimits,
    /// When an endpoint that fails is left for a time.
    pub outliers: Outliers,
    /// Over which time the share of an endpoint grows that is new or back;
    /// none for the whole share at once. Default none.
    pub warm_up: Duration,
    /// Whether endpoints are checked, and how. Default not.
    pub checks: Option<Checks>,
}

/// How much each service may have under way; 0 is no limit. Istio has none
/// either: these are for a gateway that has to survive a service that hangs.
#[derive(Clone, Copy, Debug)]
pub struct ServiceLimits {
    /// The most connections to its endpoints.
    pub connections_max: usize,
    /// The most requests that wait for a connection.
    pub pending_max: usize,
    /// The most requests at a time.
    pub requests_max: usize,
}

/// When an endpoint that fails is left for a time (Envoy: outlier detection,
/// whose defaults these are but for the share).
#[derive(Clone, Copy, Debug)]
pub struct Outliers {
    /// How many failures in a row; 0 for never.
    pub failures: u32,
    /// For how long, for the first time. It is as much longer each time.
    pub time: Duration,
    /// For how long at most.
    pub time_max: Duration,
    /// The most endpoints of a service, of 100; one may be always, and all
    /// may never.
    pub percent_max: u8,
}

/// How endpoints are checked.
#[derive(Clone, Debug)]
pub struct Checks {
    /// The time between two checks of an endpoint.
    pub interval: Duration,
    /// The time for a check.
    pub timeout: Duration,
    /// What is asked for; `None` only connects.
    pub path: Option<PathAndQuery>,
    /// How many in a row fail until it gets no more requests.
    pub failures: u32,
    /// How many in a row pass until it does again.
    pub successes: u32,
    /// The hosts of the services whose endpoints are checked.
    pub services: Vec<DomainPattern>,
}

impl Default for ServiceLimits {
    fn default() -> Self {
        Self { connections_max: 65_536, pending_max: 16_384, requests_max: 65_536 }
    }
}

impl Default for Outliers {
    fn default() -> Self {
        Self {
            failures: 5,
            time: Duration::from_secs(30),
            time_max: Duration::from_secs(300),
            percent_max: 50,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            body_bytes_max: 100 << 20,
            buffered_bytes_max: 1 << 30,
            connect_timeout: Duration::from_secs(5),
            tls_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(600),
            idle_timeout: Duration::from_secs(300),
            request_timeout: None,
            head_timeout: Duration::from_secs(30),
            head_bytes_max: 64 << 10,
            headers_max: 100,
            handshake_timeout: Duration::from_secs(10),
            client_idle_timeout: Duration::from_secs(180),
            client_stall_timeout: Duration::from_secs(300),
            connections_max: 65_536,
            address_connections_max: 0,
            streams_max: 100,
            resets_max: 100,
            ping_interval: Duration::from_secs(60),
            ping_timeout: Duration::from_secs(20),
            pool_idle_timeout: Duration::from_secs(10),
            resolve_timeout: Duration::from_secs(5),
            trusted_hops: 0,
            service: ServiceLimits::default(),
            outliers: Outliers::default(),
            warm_up: Duration::ZERO,
            checks: None,
        }
    }
}
