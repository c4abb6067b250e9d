//! How much a service has under way, and how much it may have: requests,
//! connections, and requests that wait for a connection.
//!
//! Counting is an addition; only who finds no connection left waits in a
//! queue, for as long as a connection may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::timeout;

use crate::error::{ErrorKind, GatewayError};
use crate::health::Endpoint;
use crate::settings::ServiceLimits;

/// What a service has under way.
pub struct Load {
    requests: AtomicUsize,
    pending: AtomicUsize,
    /// Those of the pending that wait for another connection to end.
    waiting: AtomicUsize,
    connections: Arc<Semaphore>,
    limits: ServiceLimits,
    refused: [AtomicU64; Limit::ALL.len()],
}

/// What a service has too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Connections.
    Connections,
    /// Requests that wait for a connection.
    Pending,
    /// Requests.
    Requests,
}

impl Limit {
    /// All of them, in the order of their names.
    pub const ALL: [Self; 3] = [Self::Connections, Self::Pending, Self::Requests];

    /// The stable name, for labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Pending => "pending",
            Self::Requests => "requests",
        }
    }
}

/// What 0 stands for.
fn or_any(limit: usize) -> usize {
    if limit == 0 { usize::MAX } else { limit }
}

impl Load {
    /// Nothing under way.
    pub fn new(limits: ServiceLimits) -> Self {
        let connections = or_any(limits.connections_max).min(Semaphore::MAX_PERMITS);
        Self {
            requests: AtomicUsize::new(0),
            pending: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            connections: Arc::new(Semaphore::new(connections)),
            limits,
            refused: Default::default(),
        }
    }

    /// The requests that are under way.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// The requests that wait for a connection.
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// How many requests were refused for having too much of something.
    pub fn refused(&self, limit: Limit) -> u64 {
        self.refused.get(limit as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Whether somebody waits for a connection to end, so that none should be
    /// kept for later.
    pub fn is_short(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Counts a request, until [`Self::end_request`].
    pub(crate) fn begin_request(&self) -> Result<(), GatewayError> {
        if self.requests.fetch_add(1, Ordering::Relaxed) < or_any(self.limits.requests_max) {
            return Ok(());
        }
        self.end_request();
        Err(self.refuse(Limit::Requests))
    }

    pub(crate) fn end_request(&self) {
        self.requests.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a request that waits for a connection, until the guard is
    /// dropped.
    pub(crate) fn wait(&self) -> Result<Pending<'_>, GatewayError> {
        let pending = Pending(&self.pending);
        if self.pending.fetch_add(1, Ordering::Relaxed) < or_any(self.limits.pending_max) {
            return Ok(pending);
        }
        drop(pending);
        Err(self.refuse(Limit::Pending))
    }

    /// A place for a connection, where there is one now.
    pub(crate) fn try_place(
        self: &Arc<Self>,
        endpoint: &Arc<Endpoint>,
    ) -> Result<Option<Place>, GatewayError> {
        match self.connections.clone().try_acquire_owned() {
            Ok(permit) => Ok(Some(Place::new(self.clone(), endpoint.clone(), permit))),
            Err(TryAcquireError::NoPermits) => Ok(None),
            Err(TryAcquireError::Closed) => Err(self.refuse(Limit::Connections)),
        }
    }

    /// A place for a connection, as soon as another one ends.
    pub(crate) async fn place(
        self: &Arc<Self>,
        endpoint: &Arc<Endpoint>,
        patience: Duration,
    ) -> Result<Place, GatewayError> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Pending(&self.waiting);
        match timeout(patience, self.connections.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Place::new(self.clone(), endpoint.clone(), permit)),
            Ok(Err(_)) | Err(_) => Err(self.refuse(Limit::Connections)),
        }
    }

    fn refuse(&self, limit: Limit) -> GatewayError {
        if let Some(count) = self.refused.get(limit as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let cause = match limit {
            Limit::Connections => "the service has as many connections as it may",
            Limit::Pending => "too many requests wait for a connection to the service",
            Limit::Requests => "the service has as many requests as it may",
        };
        GatewayError::new(ErrorKind::ServiceBusy).because(cause)
    }
}

/// Counts something as long as it lives.
pub(crate) struct Pending<'a>(&'a AtomicUsize);

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The place of a connection to an endpoint, until it is dropped.
pub struct Place {
    load: Arc<Load>,
    endpoint: Arc<Endpoint>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn new(load: Arc<Load>, endpoint: Arc<Endpoint>, permit: OwnedSemaphorePermit) -> Self {
        endpoint.connections.fetch_add(1, Ordering::Relaxed);
        Self { load, endpoint, _permit: permit }
    }

    /// What the service has under way.
    pub fn load(&self) -> &Arc<Load> {
        &self.load
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.endpoint.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
