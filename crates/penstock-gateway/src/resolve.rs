//! Names into addresses, again and again, away from the request path.
//!
//! Every DNS service has one task on the control plane's runtime that looks
//! its names up when their TTL has passed. A failed look-up keeps the last
//! addresses: a name server that is down must not take the services with it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use hickory_resolver::config::{
    LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{Resolver as Dns, TokioResolver};
use penstock_manifest::kind::mcp_bridge::Endpoints;
use tokio::runtime::Handle;

use crate::state::ServiceState;

/// The shortest time between two look-ups of a service.
const REFRESH_MIN: Duration = Duration::from_secs(1);
/// The longest, and what `/etc/hosts` entries get (they have no TTL).
const REFRESH_MAX: Duration = Duration::from_secs(200);
const REFRESH_HOSTS: Duration = Duration::from_secs(5);
/// The pause after a failure, doubled up to the maximum while it lasts.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Looks names up for all services.
pub struct Resolver {
    dns: TokioResolver,
    hosts_file: PathBuf,
    runtime: Handle,
}

/// Addresses and for how long they hold.
struct Answer {
    addresses: Vec<IpAddr>,
    holds_for: Duration,
}

impl Resolver {
    /// A resolver that asks `server`, or else those of the system, after
    /// `/etc/hosts`. Its tasks run on `runtime`.
    ///
    /// # Errors
    /// The resolver cannot be built.
    pub fn new(server: Option<SocketAddr>, runtime: Handle) -> Result<Arc<Self>, String> {
        Self::with_hosts_file(server, PathBuf::from("/etc/hosts"), runtime)
    }

    /// The same with another hosts file.
    ///
    /// # Errors
    /// The resolver cannot be built.
    pub fn with_hosts_file(
        server: Option<SocketAddr>,
        hosts_file: PathBuf,
        runtime: Handle,
    ) -> Result<Arc<Self>, String> {
        let provider = TokioRuntimeProvider::default();
        let mut builder = match server {
            Some(server) => {
                let mut config = NameServerConfig::udp_and_tcp(server.ip());
                for connection in &mut config.connections {
                    connection.port = server.port();
                }
                let config = ResolverConfig::from_parts(None, Vec::new(), vec![config]);
                Dns::builder_with_config(config, provider)
            }
            // Without a usable resolv.conf only the hosts file answers,
            // which is better than not to start.
            None => Dns::builder(provider.clone()).unwrap_or_else(|_| {
                let none = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
                Dns::builder_with_config(none, provider)
            }),
        };
        set_options(builder.options_mut());
        let dns = builder.build().map_err(|error| error.to_string())?;
        Ok(Arc::new(Self { dns, hosts_file, runtime }))
    }

    /// Keeps the addresses of a DNS service current until it is dropped.
    pub fn keep_resolving(self: &Arc<Self>, state: &Arc<ServiceState>) {
        self.runtime.spawn(refresh(self.clone(), Arc::downgrade(state)));
    }

    async fn look_up(&self, name: &str) -> Result<Answer, String> {
        if let Some(addresses) = self.in_hosts_file(name) {
            return Ok(Answer { addresses, holds_for: REFRESH_HOSTS });
        }
        // A final dot keeps search domains out: registries hold full names.
        let lookup =
            self.dns.lookup_ip(format!("{name}.")).await.map_err(|error| error.to_string())?;
        let holds_for = lookup.valid_until().saturating_duration_since(Instant::now());
        Ok(Answer { addresses: lookup.iter().collect(), holds_for })
    }

    /// The hosts file is read at each look-up, so that edits count.
    fn in_hosts_file(&self, name: &str) -> Option<Vec<IpAddr>> {
        let text = std::fs::read_to_string(&self.hosts_file).ok()?;
        let addresses: Vec<IpAddr> = text
            .lines()
            .filter_map(|line| {
                let mut words = line.split('#').next()?.split_whitespace();
                let address = words.next()?.parse().ok()?;
                words
                    .any(|word| word.trim_end_matches('.').eq_ignore_ascii_case(name))
                    .then_some(address)
            })
            .collect();
        (!addresses.is_empty()).then_some(addresses)
    }
}

fn set_options(options: &mut ResolverOpts) {
    options.use_hosts_file = ResolveHosts::Never;
    options.ip_strategy = LookupIpStrategy::Ipv4thenIpv6;
    options.timeout = Duration::from_secs(2);
    options.attempts = 2;
    // The refresh follows the TTL itself; a cache would only hide changes.
    options.cache_size = 0;
}

async fn refresh(resolver: Arc<Resolver>, state: Weak<ServiceState>) {
    let mut retry = RETRY_MIN;
    loop {
        let Some(service) = state.upgrade().map(|state| state.service.clone()) else {
            return;
        };
        let Endpoints::Dns(names) = &service.endpoints else {
            return;
        };
        let mut addresses = Vec::new();
        let mut holds_for = REFRESH_MAX;
        let mut failure = None;
        for name in names {
            match resolver.look_up(name).await {
                Ok(answer) => {
                    holds_for = holds_for.min(answer.holds_for);
                    addresses.extend(
                        answer.addresses.iter().map(|ip| SocketAddr::new(*ip, service.port)),
                    );
                }
                Err(error) => failure = Some((name, error)),
            }
        }
        addresses.sort_unstable();
        addresses.dedup();
        let pause = match &failure {
            None => {
                retry = RETRY_MIN;
                holds_for.max(REFRESH_MIN)
            }
            Some((name, error)) => {
                tracing::warn!(service = %service.host, %name, %error, "a name could not be resolved; the last addresses stay");
                let pause = retry;
                retry = (retry * 2).min(RETRY_MAX);
                pause
            }
        };
        let Some(state) = state.upgrade() else {
            return;
        };
        // With several names, those that did resolve count only while the
        // others never did: fewer addresses are worse than old ones.
        let is_usable =
            failure.is_none() || (state.endpoints().endpoints.is_empty() && !addresses.is_empty());
        state.set_resolved(is_usable.then_some(&addresses));
        drop(state);
        tokio::time::sleep(pause).await;
    }
}
