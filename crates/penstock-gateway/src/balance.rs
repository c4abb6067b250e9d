//! Which endpoint of a service a request goes to
//! (Higress: pkg/ingress/kube/annotations/loadbalance.go).

use std::hash::{BuildHasher, Hash};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderName;
use http::header::COOKIE;

use crate::request::RequestContext;
use crate::route::query_values;

/// How a service's endpoints take turns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Balance {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The one with fewer requests of two that are drawn.
    LeastRequest,
    /// Any.
    Random,
    /// The same one for the same value, while it is there.
    Hash(HashKey),
}

/// What requests that belong together have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HashKey {
    /// The client's address.
    SourceAddress,
    /// Path and query.
    RequestUri,
    /// The host.
    Host,
    /// The value of the first of these headers that is there.
    Header(Vec<HeaderName>),
    /// The value of a query parameter.
    Query(Box<str>),
    /// The value of a cookie, which the gateway sets where it is missing.
    Cookie {
        /// Its name.
        name: Box<str>,
        /// Its path.
        path: Box<str>,
        /// For how long the client keeps it, in seconds; 0 for its session.
        ttl_s: u64,
    },
}

/// The endpoints of a service as they are at one time.
#[derive(Default)]
pub struct EndpointSet {
    /// The addresses.
    pub addresses: Vec<SocketAddr>,
    /// The requests that each has now; counted only for
    /// [`Balance::LeastRequest`].
    active: Vec<AtomicUsize>,
}

impl EndpointSet {
    /// A set in which nothing is under way.
    pub fn new(addresses: Vec<SocketAddr>) -> Self {
        let active = addresses.iter().map(|_| AtomicUsize::new(0)).collect();
        Self { addresses, active }
    }

    /// The addresses in the order in which a request should try them.
    /// `turn` is where round robin goes on, `affinity` what the request has in
    /// common with others.
    pub fn order(
        self: &Arc<Self>,
        balance: &Balance,
        turn: &AtomicUsize,
        affinity: Option<u64>,
    ) -> Order {
        let first = match (self.addresses.len(), balance) {
            (0 | 1, _) => 0,
            (_, Balance::RoundRobin) => turn.fetch_add(1, Ordering::Relaxed),
            (count, Balance::LeastRequest) => self.less_busy(count),
            (count, Balance::Random) => fastrand::usize(..count),
            (count, Balance::Hash(_)) => match affinity {
                Some(hash) => self.most_fitting(hash),
                None => fastrand::usize(..count),
            },
        };
        Order { set: self.clone(), first, tried: 0 }
    }

    fn less_busy(&self, count: usize) -> usize {
        let busy = |at: usize| self.active.get(at).map_or(0, |n| n.load(Ordering::Relaxed));
        let one = fastrand::usize(..count);
        let other = (one + 1 + fastrand::usize(..count - 1)) % count;
        if busy(other) < busy(one) { other } else { one }
    }

    /// Every endpoint weighs every value anew, so one that leaves takes none
    /// but its own values with it.
    fn most_fitting(&self, hash: u64) -> usize {
        let weigh = |address: &SocketAddr| FIXED.hash_one((hash, address));
        let weights = self.addresses.iter().map(weigh).enumerate();
        weights.max_by_key(|(_, weight)| *weight).map_or(0, |(at, _)| at)
    }
}

/// The same in every process and after every restart.
const FIXED: fixed::Fixed = fixed::Fixed;

mod fixed {
    use std::hash::{BuildHasher, Hasher};

    /// FNV-1a with 64 bits and a final mix.
    #[derive(Clone, Copy)]
    pub(super) struct Fixed;

    pub(super) struct Fnv(u64);

    impl BuildHasher for Fixed {
        type Hasher = Fnv;

        fn build_hasher(&self) -> Fnv {
            Fnv(0xcbf2_9ce4_8422_2325)
        }
    }

    impl Hasher for Fnv {
        fn write(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }

        fn finish(&self) -> u64 {
            // What differs in the last byte only would differ in few bits.
            let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed ^ (mixed >> 29)
        }
    }
}

/// The endpoints of a set, beginning with the one that was chosen.
pub struct Order {
    set: Arc<EndpointSet>,
    first: usize,
    tried: usize,
}

impl Iterator for Order {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        let length = self.set.addresses.len();
        if self.tried >= length {
            return None;
        }
        let at = self.first.wrapping_add(self.tried) % length;
        self.tried += 1;
        self.set.addresses.get(at).copied()
    }
}

impl Order {
    /// Counts a request for the endpoint that was taken last, until the guard
    /// is dropped.
    pub fn occupy(&self) -> Occupied {
        let length = self.set.addresses.len().max(1);
        let at = self.first.wrapping_add(self.tried.saturating_sub(1)) % length;
        if let Some(active) = self.set.active.get(at) {
            active.fetch_add(1, Ordering::Relaxed);
        }
        Occupied { set: self.set.clone(), at }
    }
}

/// A request that an endpoint has.
pub struct Occupied {
    set: Arc<EndpointSet>,
    at: usize,
}

impl Drop for Occupied {
    fn drop(&mut self) {
        if let Some(active) = self.set.active.get(self.at) {
            active.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl HashKey {
    /// What a request has in common with others; `None` where it lacks it.
    pub fn of(&self, cx: &RequestContext) -> Option<u64> {
        match self {
            Self::SourceAddress => Some(FIXED.hash_one(cx.record.client.ip().to_canonical())),
            Self::RequestUri => cx.uri.path_and_query().map(|path| hash(path.as_str())),
            Self::Host => Some(hash(&cx.host)),
            Self::Header(names) => {
                let value = names.iter().find_map(|name| cx.headers.get(name))?;
                Some(FIXED.hash_one(value.as_bytes()))
            }
            Self::Query(name) => {
                let value = query_values(cx.uri.query()?, name).next()?;
                Some(hash(&value))
            }
            Self::Cookie { name, .. } => cookie(cx, name).map(hash),
        }
    }
}

/// What a text weighs in the choice of an endpoint.
pub fn hash(text: &str) -> u64 {
    let mut hasher = FIXED.build_hasher();
    text.as_bytes().hash(&mut hasher);
    std::hash::Hasher::finish(&hasher)
}

/// The value of a cookie of the request.
pub fn cookie<'a>(cx: &'a RequestContext, name: &str) -> Option<&'a str> {
    let lines = cx.headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| key.trim() == name)?;
    Some(value.trim()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(count: u16) -> Arc<EndpointSet> {
        let address = |port| SocketAddr::from(([192, 0, 2, 1], port));
        Arc::new(EndpointSet::new((1..=count).map(address).collect()))
    }

    fn ports(order: Order) -> Vec<u16> {
        order.map(|address| address.port()).collect()
    }

    #[test]
    fn endpoints_take_turns() {
        let (set, turn) = (set(3), AtomicUsize::new(0));
        let next = || ports(set.order(&Balance::RoundRobin, &turn, None));
        assert_eq!([next(), next(), next()], [[1, 2, 3], [2, 3, 1], [3, 1, 2]]);
        let none = Arc::new(EndpointSet::default());
        assert!(ports(none.order(&Balance::Random, &turn, None)).is_empty());
    }

    #[test]
    fn the_less_busy_of_two_is_taken() {
        let (set, turn) = (set(2), AtomicUsize::new(0));
        let take = || set.order(&Balance::LeastRequest, &turn, None);
        let mut first = take();
        let busy = first.next().unwrap();
        let occupied = first.occupy();
        for _ in 0..20 {
            assert_ne!(take().next(), Some(busy));
        }
        drop(occupied);
        assert!((0..200).any(|_| take().next() == Some(busy)));
    }

    #[test]
    fn a_value_stays_with_its_endpoint_when_others_leave() {
        let balance = Balance::Hash(HashKey::Host);
        let turn = AtomicUsize::new(0);
        let (three, all) = (set(3), set(4));
        let mut counts = [0; 4];
        for value in 0..400 {
            let hash = Some(hash(&format!("value-{value}")));
            let before = all.order(&balance, &turn, hash).next().unwrap();
            assert_eq!(all.order(&balance, &turn, hash).next(), Some(before));
            counts[usize::from(before.port()) - 1] += 1;
            if before.port() != 4 {
                assert_eq!(three.order(&balance, &turn, hash).next(), Some(before));
            }
        }
        assert!(counts.iter().all(|count| (50..150).contains(count)), "{counts:?}");
    }
}
