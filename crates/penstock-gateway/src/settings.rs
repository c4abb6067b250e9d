//! What the process was started with, as far as the data plane needs it.

use std::time::Duration;

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
    /// Time for a client to send a request head.
    pub head_timeout: Duration,
    /// How long an unused upstream connection is kept. Default 10 s, as in
    /// Higress.
    pub pool_idle_timeout: Duration,
    /// How long a request waits for the first resolution of its service.
    pub resolve_timeout: Duration,
    /// How many proxies in front of the gateway are believed in what they say
    /// about the client. Default 0, as Envoy's `xff_num_trusted_hops`.
    pub trusted_hops: usize,
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
            pool_idle_timeout: Duration::from_secs(10),
            resolve_timeout: Duration::from_secs(5),
            trusted_hops: 0,
        }
    }
}
