//! What survives a change of configuration, by name and fingerprint:
//! endpoints, pools, metrics, the memory budget.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use penstock_llm::provider::Fetch;
use penstock_manifest::kind::mcp_bridge::Endpoints;
use tokio::sync::{Notify, OnceCell};

use crate::access_log::AccessLog;
use crate::balance::{Balance, EndpointSet, Turn};
use crate::error::GatewayError;
use crate::health::{Endpoint, now_ms};
use crate::load::Load;
use crate::metrics::Metrics;
use crate::rate_limit::Bucket;
use crate::resolve::Resolver;
use crate::settings::{Outliers, Settings};
use crate::snapshot::{LimitIndex, LimitedRoute, Service, ServiceIndex, Snapshot};
use crate::token::{Keyring, RetryBudget, Tokens};

/// A snapshot together with the state of its services.
pub struct Live {
    /// The configuration.
    pub snapshot: Snapshot,
    /// The state of [`Snapshot::services`], by index.
    services: Vec<Arc<ServiceState>>,
    /// The tokens of [`Snapshot::rate_limits`], by index.
    buckets: Vec<Arc<Bucket>>,
    /// What its plugins may have to fetch.
    files: Vec<Arc<SideFile>>,
    /// The tokens that its plugins choose from.
    keyrings: Vec<Arc<Keyring>>,
}

/// A file that is fetched when a request needs it, and then kept.
pub struct SideFile {
    /// What it is.
    pub fetch: Fetch,
    /// Its content, once it has come.
    pub text: OnceCell<Bytes>,
}

impl Live {
    /// A file of this snapshot.
    pub fn file(&self, fetch: &Fetch) -> Option<&Arc<SideFile>> {
        self.files.iter().find(|file| file.fetch == *fetch)
    }

    /// The state of a service by its name, for what is no route's.
    pub fn service_of(&self, host: &str, port: u16) -> Option<&Arc<ServiceState>> {
        let is_it =
            |state: &&Arc<ServiceState>| *state.service.host == *host && state.service.port == port;
        self.services.iter().find(is_it)
    }

    /// The state of a service of this snapshot.
    pub fn service(&self, index: ServiceIndex) -> Option<&Arc<ServiceState>> {
        self.services.get(index.0 as usize)
    }

    /// The tokens of a limit of this snapshot.
    pub fn bucket(&self, index: LimitIndex) -> Option<&Arc<Bucket>> {
        self.buckets.get(index.0 as usize)
    }

    /// The tokens of providers that have several, or put them aside.
    pub fn keyrings(&self) -> &[Arc<Keyring>] {
        &self.keyrings
    }

    /// The states of all services.
    pub fn services(&self) -> &[Arc<ServiceState>] {
        &self.services
    }
}

/// What survives a change of configuration.
pub struct State {
    /// The metrics.
    pub metrics: Metrics,
    /// The access log, where it is on.
    pub access_log: Option<Arc<AccessLog>>,
    services: Mutex<HashMap<Service, Weak<ServiceState>>>,
    /// What services keep when their endpoints change, by what they are
    /// without them.
    kept: Mutex<HashMap<Service, Weak<Kept>>>,
    buckets: Mutex<HashMap<LimitedRoute, Weak<Bucket>>>,
    files: Mutex<HashMap<Fetch, Weak<SideFile>>>,
    tokens: Tokens,
    /// Absent where nothing is ever sent.
    resolver: Option<Arc<Resolver>>,
    buffered_bytes: AtomicUsize,
    settings: Settings,
}

impl State {
    /// Fresh state.
    pub fn new(
        resolver: Arc<Resolver>,
        access_log: Option<Arc<AccessLog>>,
        settings: &Settings,
    ) -> Arc<Self> {
        Arc::new(Self {
            metrics: Metrics::default(),
            access_log,
            services: Mutex::default(),
            kept: Mutex::default(),
            buckets: Mutex::default(),
            files: Mutex::default(),
            tokens: Tokens::default(),
            resolver: Some(resolver),
            buffered_bytes: AtomicUsize::new(0),
            settings: settings.clone(),
        })
    }

    /// State for looking at requests without sending them.
    pub fn detached() -> Arc<Self> {
        Arc::new(Self {
            metrics: Metrics::default(),
            access_log: None,
            services: Mutex::default(),
            kept: Mutex::default(),
            buckets: Mutex::default(),
            files: Mutex::default(),
            tokens: Tokens::default(),
            resolver: None,
            buffered_bytes: AtomicUsize::new(0),
            settings: Settings { buffered_bytes_max: usize::MAX, ..Settings::default() },
        })
    }

    /// Joins a snapshot with the state of its services. A service that is
    /// defined exactly as before is the same; one that has other endpoints,
    /// or lets them take turns in another way, keeps what it knows of those
    /// that stay ([`Kept`]). Any other difference makes it a new one.
    pub fn bind(&self, snapshot: Snapshot) -> Live {
        let mut known = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let services = snapshot
            .services
            .iter()
            .map(|service| match known.get(service).and_then(Weak::upgrade) {
                Some(state) => state,
                None => {
                    let kept = self.kept(service);
                    let state = ServiceState::start(service.clone(), kept, self.resolver.as_ref());
                    known.insert(service.clone(), Arc::downgrade(&state));
                    state
                }
            })
            .collect();
        drop(known);
        let buckets = self.bind_limits(&snapshot);
        let files = self.bind_files(&snapshot);
        let keyrings = self.bind_tokens(&snapshot);
        Live { snapshot, services, buckets, files, keyrings }
    }

    /// A file that is named as before does not have to be fetched anew.
    fn bind_files(&self, snapshot: &Snapshot) -> Vec<Arc<SideFile>> {
        let mut known = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let mut files: Vec<Arc<SideFile>> = Vec::new();
        for fetch in snapshot.instances().flat_map(|instance| instance.plugin.files()) {
            if files.iter().any(|file| file.fetch == *fetch) {
                continue;
            }
            let file = known.get(fetch).and_then(Weak::upgrade).unwrap_or_else(|| {
                let file = Arc::new(SideFile { fetch: fetch.clone(), text: OnceCell::new() });
                known.insert(fetch.clone(), Arc::downgrade(&file));
                file
            });
            files.push(file);
        }
        files
    }

    /// A token that is the same as before is what it was.
    fn bind_tokens(&self, snapshot: &Snapshot) -> Vec<Arc<Keyring>> {
        let mut keyrings: Vec<Arc<Keyring>> = Vec::new();
        for keyring in snapshot.instances().filter_map(|instance| instance.plugin.keyring()) {
            // One provider may be active on many routes.
            if !keyrings.iter().any(|known| Arc::ptr_eq(known, keyring)) {
                self.tokens.bind(keyring);
                keyrings.push(keyring.clone());
            }
        }
        keyrings
    }

    /// What a service has from the one that it was before.
    fn kept(&self, service: &Service) -> Arc<Kept> {
        let mut known = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let without_endpoints = Service {
            endpoints: Endpoints::Static(Vec::new()),
            balance: Balance::default(),
            // It follows the names that are looked up, and means nothing here.
            sni: service.sni.clone().filter(|_| service.protocol.is_tls()),
            ..service.clone()
        };
        if let Some(kept) = known.get(&without_endpoints).and_then(Weak::upgrade) {
            return kept;
        }
        let kept = Arc::new(Kept::new(service.host.clone(), &self.settings));
        known.insert(without_endpoints, Arc::downgrade(&kept));
        kept
    }

    /// A limit that is the same as before keeps its count.
    fn bind_limits(&self, snapshot: &Snapshot) -> Vec<Arc<Bucket>> {
        let mut known = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let limits = snapshot.rate_limits.iter();
        limits
            .map(|limited| match known.get(limited).and_then(Weak::upgrade) {
                Some(bucket) => bucket,
                None => {
                    let bucket = Arc::new(Bucket::new(limited.limit));
                    known.insert(limited.clone(), Arc::downgrade(&bucket));
                    bucket
                }
            })
            .collect()
    }

    /// Drops what no snapshot refers to any more.
    pub fn forget_unused(&self) {
        self.tokens.forget_unused();
        self.services
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, state| state.strong_count() > 0);
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, kept| kept.strong_count() > 0);
        self.buckets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, bucket| bucket.strong_count() > 0);
        self.files
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, file| file.strong_count() > 0);
    }

    /// The bytes of request bodies that are buffered now.
    pub fn buffered_bytes(&self) -> usize {
        self.buffered_bytes.load(Ordering::Relaxed)
    }
}

/// Numbers services, so that a pool can tell one from its successor.
static NEXT_SERVICE: AtomicU64 = AtomicU64::new(0);

/// What a service keeps when its endpoints change: connections, the count of
/// what is under way, whose turn it is, and what is known of each endpoint.
pub struct Kept {
    /// A number that no other service of this process has or had.
    pub id: u64,
    /// The service's host, for the log.
    pub(crate) name: Arc<str>,
    /// What it has under way.
    pub load: Arc<Load>,
    /// Where round robin goes on.
    pub(crate) next: AtomicUsize,
    /// How much may be repeated.
    pub retries: RetryBudget,
    /// How often something came up against an endpoint.
    pub(crate) troubles: AtomicUsize,
    pub(crate) outliers: Outliers,
    /// Over which time the share of an endpoint grows that is new or back.
    pub(crate) warm_up: Duration,
    /// Those of the last look that found any, and others that are in use, in
    /// the order of their addresses.
    endpoints: Mutex<Vec<Arc<Endpoint>>>,
}

impl Kept {
    pub(crate) fn new(name: Arc<str>, settings: &Settings) -> Self {
        Self {
            id: NEXT_SERVICE.fetch_add(1, Ordering::Relaxed),
            name,
            load: Arc::new(Load::new(settings.service)),
            next: AtomicUsize::new(0),
            retries: RetryBudget::default(),
            troubles: AtomicUsize::new(0),
            outliers: settings.outliers,
            warm_up: settings.warm_up,
            endpoints: Mutex::default(),
        }
    }

    /// The endpoints at some addresses; those that are known stay what they
    /// are. One that joins others gets its share slowly.
    pub(crate) fn endpoints(self: &Arc<Self>, addresses: &[SocketAddr]) -> EndpointSet {
        let mut known = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let joins = !known.is_empty() && !self.warm_up.is_zero();
        let mut sorted = addresses.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let find = |known: &[Arc<Endpoint>], address: &SocketAddr| {
            let at = known.binary_search_by_key(address, |endpoint| endpoint.address).ok()?;
            known.get(at).cloned()
        };
        let new = sorted.iter().filter(|address| find(&known, address).is_none()).map(|address| {
            let endpoint = Arc::new(Endpoint::new(*address));
            if joins {
                endpoint.warm_up(now_ms());
            }
            endpoint
        });
        let new: Vec<_> = new.collect();
        known.extend(new);
        known.sort_unstable_by_key(|endpoint| endpoint.address);
        let endpoints = addresses.iter().filter_map(|address| find(&known, address)).collect();
        let set = EndpointSet::new(endpoints, self.clone());
        if !set.endpoints.is_empty() {
            known.retain(|endpoint| Arc::strong_count(endpoint) > 1);
            known.shrink_to_fit();
        }
        set
    }
}

/// The live side of a service.
pub struct ServiceState {
    /// The definition.
    pub service: Service,
    /// What it shares with those that it was before.
    pub kept: Arc<Kept>,
    /// The endpoints, replaced as a whole whenever they are resolved.
    endpoints: ArcSwap<EndpointSet>,
    is_resolved: AtomicBool,
    resolved: Notify,
}

impl ServiceState {
    fn start(service: Service, kept: Arc<Kept>, resolver: Option<&Arc<Resolver>>) -> Arc<Self> {
        let (addresses, is_static): (&[SocketAddr], bool) = match &service.endpoints {
            Endpoints::Static(addresses) => (addresses, true),
            Endpoints::Dns(_) => (&[], false),
        };
        let state = Arc::new(Self {
            endpoints: ArcSwap::from_pointee(kept.endpoints(addresses)),
            service,
            kept,
            is_resolved: AtomicBool::new(is_static),
            resolved: Notify::new(),
        });
        if let Some(resolver) = resolver.filter(|_| !is_static) {
            resolver.keep_resolving(&state);
        }
        state
    }

    /// The endpoints as they are now.
    pub fn endpoints(&self) -> Arc<EndpointSet> {
        self.endpoints.load_full()
    }

    /// Whether the addresses have been looked up at least once, with or
    /// without success.
    pub fn is_resolved(&self) -> bool {
        self.is_resolved.load(Ordering::Acquire)
    }

    /// Waits for the first resolution.
    pub async fn wait_resolved(&self, timeout: Duration) {
        if self.is_resolved() {
            return;
        }
        let notified = self.resolved.notified();
        if self.is_resolved() {
            return;
        }
        // Running out of time shows as a service without endpoints.
        let _ = tokio::time::timeout(timeout, notified).await;
    }

    /// Takes the result of a look-up; `None` where it failed, which keeps
    /// the last addresses.
    pub(crate) fn set_resolved(&self, addresses: Option<&[SocketAddr]>) {
        if let Some(addresses) = addresses
            && !self.endpoints.load().addresses().eq(addresses.iter().copied())
        {
            self.endpoints.store(Arc::new(self.kept.endpoints(addresses)));
        }
        self.is_resolved.store(true, Ordering::Release);
        self.resolved.notify_waiters();
    }

    /// A request's turn; see [`EndpointSet::turn`].
    ///
    /// # Errors
    /// The service has as many requests as it may.
    pub fn turn(
        &self,
        affinity: Option<u64>,
        ends_at: Option<Instant>,
    ) -> Result<Turn, GatewayError> {
        self.endpoints.load_full().turn(&self.service.balance, affinity, ends_at)
    }
}

/// A request's share of the memory for buffered bodies; given back when it is
/// dropped.
pub struct BufferShare {
    state: Arc<State>,
    bytes: usize,
}

impl BufferShare {
    /// An empty share.
    pub fn new(state: Arc<State>) -> Self {
        Self { state, bytes: 0 }
    }

    /// Makes it so many bytes in all, if that is more than it is; `false`
    /// where the process has no more to give.
    pub fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return true;
        }
        let before = self.state.buffered_bytes.fetch_add(more, Ordering::Relaxed);
        self.bytes += more;
        before + more <= self.state.settings.buffered_bytes_max
    }

    /// Makes the share that of a body which has been replaced by another one
    /// of about its size.
    pub fn resize(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        if bytes >= before {
            self.state.buffered_bytes.fetch_add(bytes - before, Ordering::Relaxed);
        } else {
            self.state.buffered_bytes.fetch_sub(before - bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for BufferShare {
    fn drop(&mut self) {
        self.state.buffered_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
