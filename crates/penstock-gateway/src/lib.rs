//! The data plane: compiled configuration in, answers out.
//!
//! `compile` turns resources into an immutable [`Snapshot`]; `proxy` serves
//! every request from exactly one of them; `state` holds what survives a
//! change of configuration. The binary decides when to compile and what to
//! listen on.
//!
//! Invariant: a request sees one snapshot from its first byte to its last.
//! Invariant: no request waits for a lock to read configuration.
//! Invariant: only `reply.rs` turns errors into status codes and bodies.
//! Invariant: only this file names the swap cell of the snapshot.
//! Invariant: plugins see a request, never the snapshot.

pub mod access_log;
pub mod attempt;
pub mod balance;
pub mod body;
pub mod certificate;
pub mod check;
pub mod compile;
pub mod error;
pub mod explain;
pub mod framing;
pub mod gzip;
pub mod health;
pub mod incoming;
pub mod listener;
pub mod load;
pub mod metrics;
pub mod plugin;
pub mod policy;
pub mod proxy;
pub mod rate_limit;
pub mod reply;
pub mod request;
pub mod resolve;
pub mod route;
pub mod settings;
pub mod shutdown;
pub mod snapshot;
pub mod socket;
pub mod state;
pub mod stream;
pub mod token;
pub mod traffic;
pub mod tunnel;
pub mod upstream;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;

pub use compile::{Compiled, compile};
pub use error::GatewayError;
use listener::Admission;
pub use settings::Settings;
pub use snapshot::Snapshot;
pub use state::{Live, State};

/// A map that every request looks something up in. Its keys come from the
/// configuration or are addresses, so that nobody outside can choose ones that
/// collide: the costlier hash of the standard library protects nothing here.
pub type FastMap<K, V> = HashMap<K, V, hashbrown::DefaultHashBuilder>;

/// A running data plane: the snapshot in force and what outlives it.
pub struct Gateway {
    live: ArcSwapOption<Live>,
    /// What survives a change of configuration.
    pub state: Arc<State>,
    /// What the process was started with.
    pub settings: Settings,
    /// The client connections that are open.
    pub admission: Admission,
}

impl Gateway {
    /// A gateway without configuration: it answers 503 until one is
    /// installed.
    pub fn new(settings: Settings, state: Arc<State>) -> Arc<Self> {
        let admission = Admission::new(&settings);
        Arc::new(Self { live: ArcSwapOption::empty(), state, settings, admission })
    }

    /// The configuration in force; `None` before the first one.
    pub fn live(&self) -> Option<Arc<Live>> {
        self.live.load_full()
    }

    /// How long an unused upstream connection is kept.
    pub fn pool_idle_timeout(&self) -> Duration {
        let configured = self.live().and_then(|live| live.snapshot.tuning.pool_idle_timeout);
        configured.unwrap_or(self.settings.pool_idle_timeout)
    }

    /// How long a client connection without a request is kept.
    pub fn client_idle_timeout(&self) -> Duration {
        let configured = self.live().and_then(|live| live.snapshot.tuning.client_idle_timeout);
        configured.unwrap_or(self.settings.client_idle_timeout)
    }

    /// Puts a snapshot in force. Requests that are under way finish on the
    /// one they began with.
    pub fn install(&self, snapshot: Snapshot) {
        let live = Arc::new(self.state.bind(snapshot));
        self.live.store(Some(live.clone()));
        self.state.forget_unused();
        self.state.metrics.forget_unnamed(&live.snapshot);
    }
}
