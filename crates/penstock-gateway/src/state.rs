//! What survives a change of configuration, by name and fingerprint:
//! endpoints, pools, metrics, the memory budget.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use penstock_llm::provider::Fetch;
use penstock_manifest::kind::mcp_bridge::Endpoints;
use tokio::sync::Notify;

use crate::access_log::AccessLog;
use crate::balance::{EndpointSet, Order};
use crate::metrics::Metrics;
use crate::rate_limit::Bucket;
use crate::resolve::Resolver;
use crate::snapshot::{LimitIndex, LimitedRoute, Service, ServiceIndex, Snapshot};

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
}

/// A file that is fetched when a request needs it, and then kept.
pub struct SideFile {
    /// What it is.
    pub fetch: Fetch,
    /// Its content, once it has come.
    pub text: OnceLock<Bytes>,
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
    buckets: Mutex<HashMap<LimitedRoute, Weak<Bucket>>>,
    files: Mutex<HashMap<Fetch, Weak<SideFile>>>,
    /// Absent where nothing is ever sent.
    resolver: Option<Arc<Resolver>>,
    buffered_bytes: AtomicUsize,
    buffered_bytes_max: usize,
}

impl State {
    /// Fresh state.
    pub fn new(
        resolver: Arc<Resolver>,
        access_log: Option<Arc<AccessLog>>,
        buffered_bytes_max: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            metrics: Metrics::default(),
            access_log,
            services: Mutex::default(),
            buckets: Mutex::default(),
            files: Mutex::default(),
            resolver: Some(resolver),
            buffered_bytes: AtomicUsize::new(0),
            buffered_bytes_max,
        })
    }

    /// State for looking at requests without sending them.
    pub fn detached() -> Arc<Self> {
        Arc::new(Self {
            metrics: Metrics::default(),
            access_log: None,
            services: Mutex::default(),
            buckets: Mutex::default(),
            files: Mutex::default(),
            resolver: None,
            buffered_bytes: AtomicUsize::new(0),
            buffered_bytes_max: usize::MAX,
        })
    }

    /// Joins a snapshot with the state of its services. A service that is
    /// defined exactly as before keeps its endpoints and connections; any
    /// difference makes it a new one.
    pub fn bind(&self, snapshot: Snapshot) -> Live {
        let mut known = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let services = snapshot
            .services
            .iter()
            .map(|service| match known.get(service).and_then(Weak::upgrade) {
                Some(state) => state,
                None => {
                    let state = ServiceState::start(service.clone(), self.resolver.as_ref());
                    known.insert(service.clone(), Arc::downgrade(&state));
                    state
                }
            })
            .collect();
        drop(known);
        let buckets = self.bind_limits(&snapshot);
        let files = self.bind_files(&snapshot);
        Live { snapshot, services, buckets, files }
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
                let file = Arc::new(SideFile { fetch: fetch.clone(), text: OnceLock::new() });
                known.insert(fetch.clone(), Arc::downgrade(&file));
                file
            });
            files.push(file);
        }
        files
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
        self.services
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, state| state.strong_count() > 0);
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

/// The live side of a service.
pub struct ServiceState {
    /// A number that no other service of this process has or had.
    pub id: u64,
    /// The definition.
    pub service: Service,
    /// The addresses, replaced as a whole whenever they are resolved.
    endpoints: ArcSwap<EndpointSet>,
    /// Where round robin goes on.
    next: AtomicUsize,
    is_resolved: AtomicBool,
    resolved: Notify,
}

impl ServiceState {
    fn start(service: Service, resolver: Option<&Arc<Resolver>>) -> Arc<Self> {
        let (endpoints, is_static) = match &service.endpoints {
            Endpoints::Static(addresses) => (addresses.clone(), true),
            Endpoints::Dns(_) => (Vec::new(), false),
        };
        let state = Arc::new(Self {
            id: NEXT_SERVICE.fetch_add(1, Ordering::Relaxed),
            service,
            endpoints: ArcSwap::from_pointee(EndpointSet::new(endpoints)),
            next: AtomicUsize::new(0),
            is_resolved: AtomicBool::new(is_static),
            resolved: Notify::new(),
        });
        if let Some(resolver) = resolver.filter(|_| !is_static) {
            resolver.keep_resolving(&state);
        }
        state
    }

    /// The addresses as they are now.
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
    pub(crate) fn set_resolved(&self, addresses: Option<Vec<SocketAddr>>) {
        if let Some(addresses) = addresses
            && self.endpoints.load().addresses != addresses
        {
            self.endpoints.store(Arc::new(EndpointSet::new(addresses)));
        }
        self.is_resolved.store(true, Ordering::Release);
        self.resolved.notify_waiters();
    }

    /// The addresses in the order in which this request should try them;
    /// `affinity` is what it has in common with others.
    pub fn rotation(&self, affinity: Option<u64>) -> Order {
        self.endpoints.load_full().order(&self.service.balance, &self.next, affinity)
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

    /// Takes more; `false` where the process has no more to give.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let before = self.state.buffered_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        before + bytes <= self.state.buffered_bytes_max
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
