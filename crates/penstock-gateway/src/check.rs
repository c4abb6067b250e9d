//! Active checks: endpoints are asked now and then whether they are there,
//! away from the request path.
//!
//! One task looks over the services of the configuration in force, so that
//! checks begin and end with them; what an endpoint answered is kept where
//! requests see it ([`EndpointSet`]). One that was never checked takes
//! requests.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::{HOST, USER_AGENT};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Request, Uri};
use penstock_manifest::kind::mcp_bridge::Endpoints;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::Gateway;
use crate::balance::EndpointSet;
use crate::body::OutgoingBody;
use crate::error::{ErrorKind, GatewayError, Side};
use crate::health::{Endpoint, millis, now_ms};
use crate::load::Load;
use crate::settings::{Checks, ServiceLimits};
use crate::snapshot::Service;
use crate::state::ServiceState;
use crate::upstream::{ClientTls, Dialer, Pool, SendLimits, is_own};

/// The most checks at a time.
const CONCURRENT_MAX: usize = 64;
/// The time between two looks at what is due.
const LOOK_MIN: Duration = Duration::from_millis(50);
const LOOK_MAX: Duration = Duration::from_secs(1);
/// A check comes up to this share of the interval earlier, so that checks do
/// not go on together.
const JITTER: f64 = 0.2;

const NAME: HeaderValue = HeaderValue::from_static("penstock-check");

/// Checks the endpoints of the services in force, for as long as the gateway
/// is there.
pub struct Checker {
    gateway: Arc<Gateway>,
    tls: Arc<ClientTls>,
    checks: Checks,
    pool: Arc<Pool>,
    /// Where the checks' own connections count: a service that has as many as
    /// it may is checked all the same.
    load: Arc<Load>,
}

impl Checker {
    /// The checker of a gateway; `None` where nothing is checked.
    pub fn new(gateway: Arc<Gateway>, tls: Arc<ClientTls>) -> Option<Arc<Self>> {
        let checks = gateway.settings.checks.clone()?;
        let any = ServiceLimits { connections_max: 0, pending_max: 0, requests_max: 0 };
        let (pool, load) = (Pool::new(Duration::ZERO), Arc::new(Load::new(any)));
        Some(Arc::new(Self { gateway, tls, checks, pool, load }))
    }

    /// Checks, for ever.
    pub async fn run(self: Arc<Self>) {
        let room = Arc::new(Semaphore::new(CONCURRENT_MAX));
        let pause = (self.checks.interval / 10).clamp(LOOK_MIN, LOOK_MAX);
        loop {
            let live = self.gateway.live();
            for state in live.iter().flat_map(|live| live.services()) {
                if !self.covers(&state.service) {
                    continue;
                }
                let set = state.endpoints();
                for endpoint in &set.endpoints {
                    if !is_due(endpoint) {
                        continue;
                    }
                    let Ok(permit) = room.clone().acquire_owned().await else { return };
                    let (checker, state) = (self.clone(), state.clone());
                    let (set, endpoint) = (set.clone(), endpoint.clone());
                    tokio::spawn(async move {
                        checker.check(&state, &set, &endpoint).await;
                        drop(permit);
                    });
                }
            }
            drop(live);
            self.pool.sweep(Duration::ZERO);
            tokio::time::sleep(pause).await;
        }
    }

    fn covers(&self, service: &Service) -> bool {
        self.checks.services.iter().any(|pattern| pattern.matches(&service.host))
    }

    async fn check(&self, state: &ServiceState, set: &EndpointSet, endpoint: &Arc<Endpoint>) {
        let found = timeout(self.checks.timeout, self.look(state, endpoint)).await;
        // What is the gateway's own fault says nothing.
        if let Some(has_passed) = found.unwrap_or(Some(false)) {
            let thresholds = (self.checks.failures, self.checks.successes);
            set.note_check(endpoint, has_passed, thresholds);
        }
        let interval = self.checks.interval.mul_f64(1.0 - JITTER * fastrand::f64());
        let next_ms = now_ms().saturating_add(millis(interval));
        endpoint.checked.next_ms.store(next_ms, Ordering::Relaxed);
    }

    /// Whether an endpoint is there; `None` where that cannot be told.
    async fn look(&self, state: &ServiceState, endpoint: &Arc<Endpoint>) -> Option<bool> {
        let Some(path) = &self.checks.path else {
            return tells(&TcpStream::connect(endpoint.address).await);
        };
        match self.ask(state, endpoint, path).await {
            Ok(has_passed) => Some(has_passed),
            // The name of a handshake is nobody's choice here.
            Err(error) => (error.side == Side::Upstream || error.kind == ErrorKind::TlsFailed)
                .then_some(false),
        }
    }

    /// Whether an endpoint answers a request with anything but a server's
    /// error: what asks for a key, or knows no such path, is there.
    async fn ask(
        &self,
        state: &ServiceState,
        endpoint: &Arc<Endpoint>,
        path: &PathAndQuery,
    ) -> Result<bool, GatewayError> {
        let host = host(&state.service, endpoint);
        let request = request(&state.service, &host, path)?;
        let dialer = Dialer {
            pool: &self.pool,
            tls: &self.tls,
            settings: &self.gateway.settings,
            metrics: &self.gateway.state.metrics,
        };
        let ready = dialer.connect_apart(state, endpoint, &host, &self.load).await?;
        let limits = SendLimits {
            first_byte_timeout: self.checks.timeout,
            idle_timeout: self.checks.timeout,
            ends_at: None,
        };
        let answer = ready.send(request, &self.pool, limits).await;
        let answer = answer.map_err(|failure| failure.error)?;
        Ok(!answer.status().is_server_error())
    }
}

/// Whether a check is due; it is nobody else's then.
fn is_due(endpoint: &Endpoint) -> bool {
    let next_ms = &endpoint.checked.next_ms;
    let due_ms = next_ms.load(Ordering::Relaxed);
    let is_due = due_ms <= now_ms();
    is_due
        && next_ms.compare_exchange(due_ms, u64::MAX, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// What it tells of an endpoint that a connection was made, or was not:
/// nothing where the system has none left to give.
fn tells<T>(connected: &std::io::Result<T>) -> Option<bool> {
    match connected {
        Ok(_) => Some(true),
        Err(error) if is_own(error) => None,
        Err(_) => Some(false),
    }
}

/// The host that a check asks for: what the service is called by where that
/// is a name that others know.
fn host(service: &Service, endpoint: &Endpoint) -> String {
    match (&service.sni, &service.endpoints) {
        (Some(name), _) => name.to_string(),
        (None, Endpoints::Dns(names)) => {
            names.first().map_or_else(|| service.host.to_string(), ToString::to_string)
        }
        (None, Endpoints::Static(_)) => endpoint.address.ip().to_string(),
    }
}

fn request(
    service: &Service,
    host: &str,
    path: &PathAndQuery,
) -> Result<Request<OutgoingBody>, GatewayError> {
    let authority = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let mut request = Request::new(OutgoingBody::empty());
    let invalid = |_| GatewayError::new(ErrorKind::InvalidRequest).because("no host for a check");
    if service.protocol.is_http2() {
        let scheme = if service.protocol.is_tls() { Scheme::HTTPS } else { Scheme::HTTP };
        let uri = Uri::builder().scheme(scheme).authority(authority);
        *request.uri_mut() = uri.path_and_query(path.clone()).build().map_err(invalid)?;
    } else {
        *request.uri_mut() = Uri::from(path.clone());
        let host = HeaderValue::try_from(authority).map_err(http::Error::from).map_err(invalid)?;
        request.headers_mut().insert(HOST, host);
    }
    request.headers_mut().insert(USER_AGENT, NAME);
    Ok(request)
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn what_the_system_lacks_says_nothing() {
        let check = |error: Error, expected| assert_eq!(tells::<()>(&Err(error)), expected);
        assert_eq!(tells(&Ok(())), Some(true));
        for kind in [ErrorKind::ConnectionRefused, ErrorKind::HostUnreachable, ErrorKind::TimedOut]
        {
            check(kind.into(), Some(false));
        }
        // ENFILE, EMFILE
        for code in [23, 24] {
            check(Error::from_raw_os_error(code), None);
        }
        for kind in [ErrorKind::AddrNotAvailable, ErrorKind::OutOfMemory] {
            check(kind.into(), None);
        }
    }
}
