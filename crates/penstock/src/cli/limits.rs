//! The flags of `serve` that say how much the data plane takes, and for how
//! long it waits.

use std::time::Duration;

use clap::Args;
use penstock_gateway::Settings;

use super::health::Health;

/// Limits and timeouts, each with its default in [`Settings`].
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits and timeouts")]
pub struct Limits {
    /// The largest request body that is buffered, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 100 << 20)]
    pub body_limit: usize,
    /// Memory for buffered request bodies of the whole process, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30)]
    pub buffer_limit: usize,
    /// The largest request head, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 65536, value_parser = at_least_8192)]
    pub head_limit: usize,
    /// The most header lines of a request
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub header_limit: u16,
    /// The most client connections
    #[arg(long, value_name = "N", default_value_t = 65536)]
    pub connection_limit: usize,
    /// The most connections of one client address (one /64 for IPv6); 0 for no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub address_connection_limit: usize,
    /// The most requests at a time on an HTTP/2 connection
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub stream_limit: u32,
    /// The most requests that an HTTP/2 client may cancel in a second
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub reset_limit: u32,
    /// Time for a TLS handshake with a client
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub handshake_timeout: Duration,
    /// Time for a request head, from its first byte on
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub head_timeout: Duration,
    /// How long a client connection without a request is kept
    #[arg(long, value_name = "SECONDS", default_value = "180", value_parser = seconds)]
    pub client_idle_timeout: Duration,
    /// Time in which a client takes nothing of its answer
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    pub client_stall_timeout: Duration,
    /// How long an HTTP/2 client may be silent before it is pinged
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub ping_interval: Duration,
    /// Time for it to answer
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    pub ping_timeout: Duration,
    /// Time for a connection to an upstream
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub connect_timeout: Duration,
    /// Time for the TLS handshake with an upstream
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub upstream_tls_timeout: Duration,
    /// How long an upstream may take until it answers
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds)]
    pub first_byte_timeout: Duration,
    /// How long an answer, an upload or a WebSocket may pause
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    pub idle_timeout: Duration,
    /// How long a whole request may take; 0 for any time
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds_or_zero)]
    pub request_timeout: Duration,
    /// How long an unused upstream connection is kept
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub pool_idle_timeout: Duration,
    /// How long a request waits for the first look-up of its service
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub resolve_timeout: Duration,
    #[command(flatten)]
    pub health: Health,
}

impl Limits {
    /// What the data plane is told.
    pub fn settings(&self) -> Settings {
        Settings {
            body_bytes_max: self.body_limit,
            buffered_bytes_max: self.buffer_limit,
            connect_timeout: self.connect_timeout,
            tls_timeout: self.upstream_tls_timeout,
            first_byte_timeout: self.first_byte_timeout,
            idle_timeout: self.idle_timeout,
            request_timeout: Some(self.request_timeout).filter(|time| !time.is_zero()),
            head_timeout: self.head_timeout,
            head_bytes_max: self.head_limit,
            headers_max: self.header_limit.into(),
            handshake_timeout: self.handshake_timeout,
            client_idle_timeout: self.client_idle_timeout,
            client_stall_timeout: self.client_stall_timeout,
            connections_max: self.connection_limit,
            address_connections_max: self.address_connection_limit,
            streams_max: self.stream_limit,
            resets_max: self.reset_limit,
            ping_interval: self.ping_interval,
            ping_timeout: self.ping_timeout,
            pool_idle_timeout: self.pool_idle_timeout,
            resolve_timeout: self.resolve_timeout,
            service: self.health.service(),
            outliers: self.health.outliers(),
            warm_up: self.health.warm_up,
            checks: self.health.checks(),
            ..Settings::default()
        }
    }
}

pub fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse().ok().filter(|number: &f64| *number > 0.0);
    number
        .and_then(|number| Duration::try_from_secs_f64(number).ok())
        .ok_or_else(|| "expected seconds above 0, such as 30 or 0.5".to_owned())
}

pub fn seconds_or_zero(text: &str) -> Result<Duration, String> {
    if text == "0" { Ok(Duration::ZERO) } else { seconds(text) }
}

fn at_least_8192(text: &str) -> Result<usize, String> {
    let bytes = text.parse().ok().filter(|bytes| *bytes >= 8192);
    bytes.ok_or_else(|| "expected at least 8192 bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        limits: Limits,
    }

    #[test]
    fn flags_and_settings_have_the_same_defaults() {
        let line = Line::parse_from(["serve"]);
        assert_eq!(format!("{:?}", line.limits.settings()), format!("{:?}", Settings::default()));
    }

    #[test]
    fn seconds_may_have_fractions_and_are_never_none() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(seconds(text).ok().map(|time| time.as_millis() as u64), expected, "{text}");
        };
        check("30", Some(30_000));
        check("0.5", Some(500));
        check("0", None);
        check("-1", None);
        check("NaN", None);
        check("1e300", None);
        check("5s", None);
    }
}
