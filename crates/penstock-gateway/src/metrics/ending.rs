//! Client connections that the gateway ended or did not take, by reason.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{header, line};

/// Why the gateway ended a client connection, or did not take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The process has as many as it may.
    ProcessLimit,
    /// The client's address has as many as it may.
    AddressLimit,
    /// The TLS handshake failed; so it does for a name without certificate.
    HandshakeFailed,
    /// The TLS handshake took too long.
    HandshakeTimeout,
    /// A request's head took too long.
    HeadTimeout,
    /// There was no request for long.
    Idle,
    /// The client took nothing of its answer for long.
    Stalled,
    /// The client cancelled too many requests.
    Resets,
}

const NAMES: [&str; 8] = [
    "process_limit",
    "address_limit",
    "handshake_failed",
    "handshake_timeout",
    "head_timeout",
    "idle",
    "stalled",
    "resets",
];

impl Ending {
    /// The stable name, for labels and logs.
    pub fn as_str(self) -> &'static str {
        NAMES.get(self as usize).copied().unwrap_or_default()
    }
}

#[derive(Default)]
pub(super) struct Series([AtomicU64; NAMES.len()]);

impl Series {
    pub(super) fn add(&self, ending: Ending) {
        if let Some(counter) = self.0.get(ending as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn render(&self, name: &str, text: &mut String) {
        header(text, name, "counter", "Client connections that were refused or ended, by reason.");
        for (reason, counter) in NAMES.iter().zip(&self.0) {
            line(text, name, &[("reason", reason)], counter.load(Ordering::Relaxed));
        }
    }
}
