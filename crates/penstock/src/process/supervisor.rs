//! What systemd, or whoever sets `NOTIFY_SOCKET`, is told (`sd_notify(3)`).

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::told;

/// The supervisor, if there is one.
pub struct Supervisor {
    socket: Option<UnixDatagram>,
    /// How often it wants to hear from this process.
    pub watchdog_interval: Option<Duration>,
}

impl Supervisor {
    /// The one that started this process, or its predecessor.
    pub fn find() -> Self {
        let socket = told("NOTIFY_SOCKET").and_then(|address| match connect(&address) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(%error, "the supervisor at NOTIFY_SOCKET cannot be told anything");
                None
            }
        });
        let pid = std::process::id().to_string();
        let is_meant = told("WATCHDOG_PID").is_none_or(|meant| meant == pid);
        // Half the time, as sd_watchdog_enabled(3) advises.
        let watchdog_interval = told("WATCHDOG_USEC")
            .and_then(|time| time.parse().ok())
            .filter(|time| is_meant && *time > 0)
            .map(|time: u64| Duration::from_micros(time.div_ceil(2)));
        Self { socket, watchdog_interval }
    }

    /// The process serves.
    pub fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={status}"));
    }

    /// Another process serves in place of this one.
    pub fn replaced(&self, pid: u32) {
        self.say(&format!("MAINPID={pid}\nREADY=1\nSTATUS=serving"));
    }

    /// The configuration or the binary is about to change; `ready` follows.
    pub fn reloading(&self, status: &str) {
        let now = clock_gettime(ClockId::Monotonic);
        let (seconds, nanoseconds) = (now.tv_sec, now.tv_nsec);
        let now_us = seconds.saturating_mul(1_000_000).saturating_add(nanoseconds / 1_000);
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={now_us}\nSTATUS={status}"));
    }

    /// The process is on its way out, which may take so long.
    pub fn stopping(&self, patience: Duration) {
        let patience_us = patience.as_micros();
        self.say(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={patience_us}\nSTATUS=draining"));
    }

    /// The process is alive.
    pub fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    fn say(&self, state: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(state.as_bytes())
        {
            tracing::debug!(%error, "the supervisor could not be told");
        }
    }
}

fn connect(address: &str) -> io::Result<UnixDatagram> {
    let address = match address.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(address)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A supervisor that does not read must not hold up this process.
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}
