//! How many client connections there are, in all and for each address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::metrics::Ending;
use crate::{Gateway, Settings};

/// The client connections that are open.
pub struct Admission {
    connections_max: usize,
    address_connections_max: usize,
    open: AtomicUsize,
    /// Empty where addresses have no limit.
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

impl Admission {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            connections_max: settings.connections_max,
            address_connections_max: settings.address_connections_max,
            open: AtomicUsize::new(0),
            by_address: Mutex::default(),
        }
    }

    /// Counts one more for an address, unless it has its share.
    fn add(&self, address: IpAddr) -> bool {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_address.entry(address).or_default();
        let is_admitted = *count < self.address_connections_max;
        *count += usize::from(is_admitted);
        is_admitted
    }

    fn remove(&self, address: IpAddr) {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&address);
            }
        }
    }
}

/// A connection that counts, until this is dropped.
pub(crate) struct Admitted {
    gateway: Arc<Gateway>,
    /// What it counts for, where addresses have a limit.
    address: Option<IpAddr>,
}

impl Admitted {
    /// Takes a connection in.
    ///
    /// # Errors
    /// There are as many as there may be.
    pub(super) fn new(gateway: &Arc<Gateway>, client: IpAddr) -> Result<Self, Ending> {
        let admission = &gateway.admission;
        if admission.open.fetch_add(1, Ordering::Relaxed) >= admission.connections_max {
            admission.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Ending::ProcessLimit);
        }
        let address = (admission.address_connections_max > 0).then(|| network(client));
        if address.is_some_and(|address| !admission.add(address)) {
            admission.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Ending::AddressLimit);
        }
        gateway.state.metrics.connections.fetch_add(1, Ordering::Relaxed);
        Ok(Self { gateway: gateway.clone(), address })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let admission = &self.gateway.admission;
        admission.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(address) = self.address {
            admission.remove(address);
        }
        self.gateway.state.metrics.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What counts as one address: anybody with IPv6 has a whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::State;

    #[test]
    fn each_address_has_its_share_and_all_have_theirs() {
        let settings =
            Settings { connections_max: 3, address_connections_max: 2, ..Settings::default() };
        let gateway = Gateway::new(settings, State::detached());
        let admit = |address: &str| Admitted::new(&gateway, address.parse().unwrap());
        let first = admit("192.0.2.1").ok().unwrap();
        let second = admit("::ffff:192.0.2.1").ok().unwrap();
        assert_eq!(admit("192.0.2.1").err(), Some(Ending::AddressLimit));
        let third = admit("2001:db8::1").ok().unwrap();
        assert_eq!(admit("192.0.2.2").err(), Some(Ending::ProcessLimit));
        drop(first);
        let fourth = admit("2001:db8::2").ok().unwrap();
        drop(second);
        assert_eq!(admit("2001:db8::3").err(), Some(Ending::AddressLimit));
        drop((third, fourth));
        assert!(gateway.admission.by_address.lock().unwrap().is_empty());
        assert_eq!(gateway.admission.open.load(Ordering::Relaxed), 0);
    }
}
