//! Where no connection is at hand: a new one, or what becomes free of those
//! that there are.
//!
//! A worker does not yield between finding that the service has as many
//! connections as it may and waiting, so that nothing of its own becomes free
//! unseen in between.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::{Connection, Dialer, Pool, PoolKey, Ready, http2};
use crate::FastMap;
use crate::error::{ErrorKind, GatewayError};
use crate::health::Endpoint;
use crate::load::{Load, Place};
use crate::state::ServiceState;

/// How many of the connections that become free go to waiting requests of
/// the same worker; the place of the next is for whoever waits longest.
const PASSED_ON: u8 = 7;

/// What a request of HTTP/1.1 finds.
pub(super) enum Room {
    /// A place for a new connection.
    Place(Place),
    /// A connection that nobody uses any more.
    Idle(Box<Connection>),
}

/// What a request of HTTP/2 finds where the service has as many connections
/// as it may.
enum SharedRoom {
    Place(Place),
    Share(http2::Share),
}

/// The requests of HTTP/1.1 of one worker that wait for a connection to become
/// free.
#[derive(Default)]
pub(super) struct Queues(Mutex<FastMap<PoolKey, Queue>>);

#[derive(Default)]
struct Queue {
    freed: Arc<Notify>,
    count: usize,
}

/// One of them, until it is dropped.
struct Waiter<'a> {
    queues: &'a Queues,
    key: &'a PoolKey,
    freed: Arc<Notify>,
}

impl Queues {
    fn lock(&self) -> std::sync::MutexGuard<'_, FastMap<PoolKey, Queue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join<'a>(&'a self, key: &'a PoolKey) -> Waiter<'a> {
        let mut queues = self.lock();
        let queue = queues.entry(key.clone()).or_default();
        queue.count += 1;
        Waiter { queues: self, key, freed: queue.freed.clone() }
    }

    /// Calls somebody for a connection that becomes free; `false` where it
    /// shall end instead, for those of other workers and endpoints.
    pub(super) fn pass_on(&self, key: &PoolKey) -> bool {
        let queues = self.lock();
        let Some(queue) = queues.get(key).filter(|_| fastrand::u8(..=PASSED_ON) < PASSED_ON) else {
            return false;
        };
        queue.freed.notify_one();
        true
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut queues = self.queues.lock();
        if let Some(queue) = queues.get_mut(self.key) {
            queue.count -= 1;
            if queue.count == 0 {
                queues.remove(self.key);
            }
        }
    }
}

impl Dialer<'_> {
    /// A place for a new connection of HTTP/1.1. Where the service has as many
    /// as it may, it waits for one that ends, or becomes free.
    pub(super) async fn room(
        &self,
        service: &ServiceState,
        endpoint: &Arc<Endpoint>,
        key: &PoolKey,
        may_reuse: bool,
    ) -> Result<Room, GatewayError> {
        let load = &service.kept.load;
        if let Some(place) = load.try_place(endpoint)? {
            return Ok(Room::Place(place));
        }
        self.pool.make_room(key.service);
        let mut place = pin!(load.place(endpoint, self.settings.connect_timeout));
        if !may_reuse {
            return place.await.map(Room::Place);
        }
        let waiter = self.pool.queues.join(key);
        loop {
            tokio::select! {
                place = &mut place => return place.map(Room::Place),
                () = waiter.freed.notified() => {}
            }
            while let Some(mut connection) = self.pool.take(key) {
                if connection.is_alive().await {
                    return Ok(Room::Idle(connection));
                }
            }
        }
    }

    /// A new connection to an endpoint that carries one request, and takes
    /// nothing from what the service may have under way: what it has is
    /// counted in `load`, which has no limits.
    ///
    /// # Errors
    /// No connection could be made.
    pub(crate) async fn connect_apart(
        &self,
        service: &ServiceState,
        endpoint: &Arc<Endpoint>,
        host: &str,
        load: &Arc<Load>,
    ) -> Result<Ready, GatewayError> {
        let busy = || GatewayError::new(ErrorKind::ServiceBusy);
        let place = load.try_place(endpoint)?.ok_or_else(busy)?;
        let stream = self.open(service, endpoint.address, host).await?;
        if service.service.protocol.is_http2() {
            let share = http2::start(stream, None, place, Arc::default())
                .await
                .map_err(|error| GatewayError::new(ErrorKind::ConnectFailed).because(error))?;
            return Ok(Ready::Http2(share));
        }
        let key =
            PoolKey { service: service.kept.id, endpoint: endpoint.address, server_name: None };
        let connection = Box::new(Connection::new(stream, key, place));
        Ok(Ready::Http1 { connection, is_reused: false })
    }

    /// A stream of a connection of HTTP/2: of one that has room, of one that
    /// somebody else is opening, else of a new one.
    pub(super) async fn share(
        &self,
        service: &ServiceState,
        endpoint: &Arc<Endpoint>,
        host: &str,
        key: PoolKey,
    ) -> Result<http2::Share, GatewayError> {
        let first = self.pool.shared.take(&key);
        if let http2::Taken::Share(share) = first {
            return Ok(share);
        }
        let load = &service.kept.load;
        let _pending = load.wait()?;
        let mut taken = first;
        let opening = loop {
            match taken {
                http2::Taken::Share(share) => return Ok(share),
                http2::Taken::Open(opening) => break Some(opening),
                http2::Taken::Wait(opened) => {
                    if !opened.wait().await {
                        // What the other one met with, this request finds
                        // out for itself: those who wait for failures one
                        // after the other would wait for ever.
                        break None;
                    }
                }
            }
            taken = self.pool.shared.take(&key);
        };
        let (place, opening) = match load.try_place(endpoint)? {
            Some(place) => (place, opening),
            None => {
                // The others have to look for room by themselves meanwhile.
                drop(opening);
                match self.shared_room(load, endpoint, &key).await? {
                    SharedRoom::Place(place) => (place, None),
                    SharedRoom::Share(share) => return Ok(share),
                }
            }
        };
        let stream = self.open(service, key.endpoint, host).await?;
        let share = http2::start(stream, opening, place, self.pool.shared.freed(&key))
            .await
            .map_err(|error| GatewayError::new(ErrorKind::ConnectFailed).because(error))?;
        self.pool.shared.put(key, &share);
        Ok(share)
    }

    /// Where the service has as many connections as it may: the place of one
    /// that ends, or a stream of one that has room again.
    async fn shared_room(
        &self,
        load: &Arc<Load>,
        endpoint: &Arc<Endpoint>,
        key: &PoolKey,
    ) -> Result<SharedRoom, GatewayError> {
        let mut place = pin!(load.place(endpoint, self.settings.connect_timeout));
        self.pool.make_room(key.service);
        loop {
            let freed = self.pool.shared.freed(key);
            tokio::select! {
                place = &mut place => return place.map(SharedRoom::Place),
                () = freed.notified() => {
                    if let Some(share) = self.pool.shared.share(key) {
                        return Ok(SharedRoom::Share(share));
                    }
                }
            }
        }
    }
}

impl Pool {
    /// Closes an idle connection of a service, where there is one, to make
    /// room for another.
    fn make_room(&self, service: u64) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut of_service = idle.iter_mut().filter(|(key, _)| key.service == service);
        if of_service.any(|(_, connections)| connections.pop().is_some()) {
            return;
        }
        drop(idle);
        self.shared.make_room(service);
    }
}
