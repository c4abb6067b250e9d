//! Which endpoint of a service a request goes to
//! (Higress: pkg/ingress/kube/annotations/loadbalance.go).

use std::hash::{BuildHasher, Hash};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use http::header::COOKIE;
use http::{HeaderName, StatusCode};

use crate::error::GatewayError;
use crate::health::{Endpoint, Outcome, now_ms};
use crate::request::RequestContext;
use crate::route::query_values;
use crate::state::Kept;

/// Where a request is that has no endpoint yet.
const NOWHERE: usize = usize::MAX;
/// How often another endpoint is drawn in place of one that is warming up.
const DRAWS_MAX: usize = 4;

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
pub struct EndpointSet {
    /// The endpoints, in the order in which they take turns.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// What the service keeps when they change.
    pub(crate) kept: Arc<Kept>,
    /// [`Kept::troubles`] when nothing spoke against any of these.
    calm_at: AtomicUsize,
}

impl EndpointSet {
    /// Endpoints of a service.
    pub(crate) fn new(endpoints: Vec<Arc<Endpoint>>, kept: Arc<Kept>) -> Self {
        Self { endpoints, kept, calm_at: AtomicUsize::new(usize::MAX) }
    }

    /// The addresses, in order.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.endpoints.iter().map(|endpoint| endpoint.address)
    }

    /// The turn of a request: where it goes, and where else if it cannot.
    /// `affinity` is what it has in common with others; a turn that is given
    /// up after `ends_at` without an answer counts as too late.
    ///
    /// # Errors
    /// The service has as many requests as it may.
    pub fn turn(
        self: Arc<Self>,
        balance: &Balance,
        affinity: Option<u64>,
        ends_at: Option<Instant>,
    ) -> Result<Turn, GatewayError> {
        self.kept.load.begin_request()?;
        let troubles = self.kept.troubles.load(Ordering::Relaxed);
        let (first, is_picky) = match self.calm_at.load(Ordering::Relaxed) == troubles {
            true => (self.choose(balance, affinity), false),
            false => self.choose_fit(balance, affinity),
        };
        let occupied = Occupied { set: self, at: NOWHERE, ends_at, is_noted: false };
        Ok(Turn { occupied, first, tried: 0, is_picky })
    }

    /// The endpoint for a request where nothing speaks against any.
    fn choose(&self, balance: &Balance, affinity: Option<u64>) -> usize {
        match (self.endpoints.len(), balance) {
            (0 | 1, _) => 0,
            (count, Balance::RoundRobin) => self.kept.next.fetch_add(1, Ordering::Relaxed) % count,
            (count, Balance::LeastRequest) => {
                let one = fastrand::usize(..count);
                let other = (one + 1 + fastrand::usize(..count - 1)) % count;
                self.less_busy(one, other)
            }
            (count, Balance::Random) => fastrand::usize(..count),
            (count, Balance::Hash(_)) => match affinity {
                Some(hash) => self.most_fitting(hash, |_| true),
                None => fastrand::usize(..count),
            },
        }
    }

    /// The same where something may; whether it speaks against some of them.
    #[cold]
    fn choose_fit(&self, balance: &Balance, affinity: Option<u64>) -> (usize, bool) {
        // What comes up behind this makes the count another one.
        let troubles = self.kept.troubles.load(Ordering::SeqCst);
        let fit = self.refresh();
        if !self.endpoints.iter().any(|endpoint| endpoint.is_flagged()) {
            self.calm_at.store(troubles, Ordering::Relaxed);
        }
        // With nothing left to choose from, a failure that may pass is better
        // than one that is certain.
        if fit == 0 || self.endpoints.len() == 1 {
            return (self.choose(balance, affinity), false);
        }
        let draw = || self.fit(fastrand::usize(..fit));
        let two = || {
            let one = fastrand::usize(..fit);
            (one, (one + fastrand::usize(fit.min(2) - 1..fit)) % fit)
        };
        let mut chosen = match balance {
            Balance::RoundRobin => self.fit(self.kept.next.fetch_add(1, Ordering::Relaxed) % fit),
            Balance::LeastRequest => {
                let (one, other) = two();
                self.less_busy(self.fit(one), self.fit(other))
            }
            Balance::Random => draw(),
            Balance::Hash(_) => match affinity {
                Some(hash) => return (self.most_fitting(hash, Endpoint::is_fit), true),
                None => draw(),
            },
        };
        // One whose share has yet to grow is passed over as often as it lacks
        // of it; where all are such, one of them takes the request.
        let (warm_up, now_ms) = (self.kept.warm_up, now_ms());
        let share =
            |at: usize| self.endpoints.get(at).map_or(1.0, |one| one.share(warm_up, now_ms));
        for _ in 0..DRAWS_MAX {
            if fastrand::f64() < share(chosen) {
                break;
            }
            chosen = draw();
        }
        (chosen, true)
    }

    /// The place of a fit endpoint by its number among them.
    fn fit(&self, number: usize) -> usize {
        let fit = self.endpoints.iter().enumerate().filter(|(_, endpoint)| endpoint.is_fit());
        // One may have become unfit since they were counted.
        fit.map(|(at, _)| at).nth(number).unwrap_or(number)
    }

    fn less_busy(&self, one: usize, other: usize) -> usize {
        let busy = |at: usize| self.endpoints.get(at).map_or(0, |endpoint| endpoint.requests());
        if busy(other) < busy(one) { other } else { one }
    }

    /// Every endpoint weighs every value anew, so one that leaves takes none
    /// but its own values with it.
    fn most_fitting(&self, hash: u64, is_wanted: impl Fn(&Endpoint) -> bool) -> usize {
        let wanted = self.endpoints.iter().enumerate().filter(|(_, endpoint)| is_wanted(endpoint));
        let weights = wanted.map(|(at, endpoint)| (at, FIXED.hash_one((hash, endpoint.address))));
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

/// Where a request goes: the endpoints of a set, beginning with the one that
/// was chosen. The one that it is at counts as busy.
pub struct Turn {
    occupied: Occupied,
    first: usize,
    tried: usize,
    /// Whether those that something speaks against come last.
    is_picky: bool,
}

impl Turn {
    /// Goes to the next endpoint; `false` where there is none.
    pub fn advance(&mut self) -> bool {
        let count = self.occupied.set.endpoints.len();
        // Picky, it goes round twice: for those that are fit, then for the
        // others.
        let steps = if self.is_picky { 2 * count } else { count };
        while self.tried < steps {
            let is_second_round = self.tried >= count;
            let at = self.first.wrapping_add(self.tried) % count;
            self.tried += 1;
            let endpoint = self.occupied.set.endpoints.get(at);
            if endpoint.is_some_and(|one| !self.is_picky || one.is_fit() != is_second_round) {
                self.occupied.go_to(at);
                return true;
            }
        }
        false
    }

    /// Goes on while it is at an endpoint that was tried in vain, as far as
    /// another one is fit (Istio: `previous_hosts`).
    pub fn avoid(&mut self, was_tried: impl Fn(SocketAddr) -> bool) {
        let (at, tried) = (self.occupied.at, self.tried);
        while self.endpoint().is_some_and(|endpoint| was_tried(endpoint.address)) {
            if !self.advance() || self.tried > self.occupied.set.endpoints.len() {
                self.tried = tried;
                self.occupied.go_to(at);
                return;
            }
        }
    }

    /// The endpoint that it is at.
    pub fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        self.occupied.endpoint()
    }

    /// The request goes out: from now on whoever sends it knows whose fault it
    /// is that there is no answer.
    pub fn sending(&mut self) {
        self.occupied.is_noted = true;
    }

    /// Takes in why the endpoint that it is at gave no answer.
    pub fn failed(&mut self, error: &GatewayError) {
        self.occupied.is_noted = true;
        if let Some(outcome) = Outcome::of_error(error) {
            self.note(outcome);
        }
    }

    fn note(&self, outcome: Outcome) {
        if let Some(endpoint) = self.endpoint() {
            self.occupied.set.note(endpoint, outcome);
        }
    }

    /// What keeps the endpoint busy once the answer has begun.
    pub fn answered(mut self, status: StatusCode) -> Occupied {
        self.occupied.is_noted = true;
        self.note(Outcome::of_status(status));
        self.occupied
    }
}

/// A request that a service has, and the endpoint that it is at.
pub struct Occupied {
    set: Arc<EndpointSet>,
    at: usize,
    /// When it is too late for an answer to begin.
    ends_at: Option<Instant>,
    /// Whether it is known what came of it, or somebody else finds it out.
    is_noted: bool,
}

impl Occupied {
    fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        self.set.endpoints.get(self.at)
    }

    fn go_to(&mut self, at: usize) {
        self.leave();
        (self.at, self.is_noted) = (at, false);
        if let Some(endpoint) = self.endpoint() {
            endpoint.requests.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn leave(&self) {
        if let Some(endpoint) = self.endpoint() {
            endpoint.requests.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.leave();
        self.set.kept.load.end_request();
        // Nobody waited longer for a connection: that is the endpoint's fault
        // only where its time was over.
        if !self.is_noted
            && self.ends_at.is_some_and(|ends_at| ends_at <= Instant::now())
            && let Some(endpoint) = self.endpoint()
        {
            self.set.note(endpoint, Outcome::Timeout);
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
mod tests;
