//! Where no connection is at hand: a new one, or what becomes free of those
//! that there are.
//!
//! A worker does not yield between finding that the service has as many
//! connections as it may and waiting, so that nothing of its own becomes free
//! unseen in between.

use std::sync::{Arc, PoisonError};

use super::{Dialer, Pool, PoolKey, http2};
use crate::error::{ErrorKind, GatewayError};
use crate::health::Endpoint;
use crate::load::{Load, Place};
use crate::state::ServiceState;

/// What a request finds where the service has as many connections as it may.
enum Room {
    Place(Place),
    Share(http2::Share),
}

impl Dialer<'_> {
    /// A place for a new connection of HTTP/1.1.
    pub(super) async fn place(
        &self,
        service: &ServiceState,
        endpoint: &Arc<Endpoint>,
    ) -> Result<Place, GatewayError> {
        let load = &service.kept.load;
        if let Some(place) = load.try_place(endpoint)? {
            return Ok(place);
        }
        self.pool.make_room(service.kept.id);
        load.place(endpoint, self.settings.connect_timeout).await
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
                match self.room(load, endpoint, &key).await? {
                    Room::Place(place) => (place, None),
                    Room::Share(share) => return Ok(share),
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
    async fn room(
        &self,
        load: &Arc<Load>,
        endpoint: &Arc<Endpoint>,
        key: &PoolKey,
    ) -> Result<Room, GatewayError> {
        let mut place = std::pin::pin!(load.place(endpoint, self.settings.connect_timeout));
        self.pool.make_room(key.service);
        loop {
            let freed = self.pool.shared.freed(key);
            tokio::select! {
                place = &mut place => return place.map(Room::Place),
                () = freed.notified() => {
                    if let Some(share) = self.pool.shared.share(key) {
                        return Ok(Room::Share(share));
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
