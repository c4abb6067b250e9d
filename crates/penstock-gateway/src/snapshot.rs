//! The compiled, immutable configuration of the data plane.
//!
//! Plain data that `compile` writes and requests read. Indices instead of
//! references, sorted slices instead of maps where order is the meaning.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use penstock_manifest::Revision;
use penstock_manifest::kind::mcp_bridge::{Endpoints, Protocol};

use crate::FastMap;
use crate::balance::Balance;
use crate::certificate::Certificates;
use crate::gzip::Gzip;
use crate::plugin::Plugin;
use crate::policy::{HeaderEdits, RateLimit, RoutePolicy};
use crate::route::{PathMatch, RouteConditions};
use crate::upstream::Identity;

/// Everything that a request needs to know about the configuration.
#[derive(Default)]
pub struct Snapshot {
    /// The content that this was compiled from.
    pub revision: Revision,
    /// The hosts with their routes.
    pub hosts: Hosts,
    /// All routes; [`Hosts`] refers to them by index.
    pub routes: Vec<Route>,
    /// All services; targets refer to them by index.
    pub services: Vec<Service>,
    /// What proves to clients that they speak to the right host.
    pub certificates: Certificates,
    /// The plugins that apply where no route was found.
    pub without_route: Chain,
    /// The limits that routes refer to by index.
    pub rate_limits: Vec<LimitedRoute>,
    /// The order of the first plugin behind those that decide who may pass:
    /// there a route's own conditions are asked.
    pub guards_at: u16,
    /// Whether there is a route with a fallback.
    pub has_fallbacks: bool,
    /// What `higress-config` says about the gateway as a whole.
    pub tuning: Tuning,
    /// How answers are compressed, where they are.
    pub gzip: Option<Arc<Gzip>>,
    /// Whether there may be an authentication, also where no route asks for it.
    pub has_authentication: bool,
    /// Why nothing is served at all, where that is so: a document that may
    /// hold an authentication cannot be read.
    pub closed: Option<&'static str>,
}

impl Snapshot {
    /// The plugins wherever they run, each as often as it does.
    pub fn instances(&self) -> impl Iterator<Item = &Arc<PluginInstance>> {
        let targets = self.routes.iter().flat_map(|route| &route.targets);
        let targets = targets.flat_map(|target| [Some(target), target.fallback.as_deref()]);
        let chains = targets.flatten().map(|target| &target.chain).chain([&self.without_route]);
        chains.flat_map(|chain| &chain.steps).flat_map(|step| {
            let by_domain = step.by_domain.iter().filter_map(|(_, instance)| instance.as_ref());
            by_domain.chain(&step.otherwise)
        })
    }
}

/// Settings of the gateway as a whole that go with the configuration; `None`
/// leaves it to the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tuning {
    /// The time for a whole request, on every route and whatever it says.
    pub route_timeout: Option<Duration>,
    /// The largest head of a request, in bytes, within the process' own.
    pub head_bytes_max: Option<usize>,
    /// How long a client connection without a request is kept.
    pub client_idle_timeout: Option<Duration>,
    /// How long an unused upstream connection is kept.
    pub pool_idle_timeout: Option<Duration>,
    /// Whether upstreams get the client's address as `X-Real-IP`.
    pub adds_real_ip: bool,
}

/// The routes of each host pattern, in the order in which they are tried.
#[derive(Default)]
pub struct Hosts {
    /// `a.example.com`
    pub exact: FastMap<Box<str>, Vec<RouteIndex>>,
    /// `example.com` for the pattern `*.example.com`.
    pub wildcard: FastMap<Box<str>, Vec<RouteIndex>>,
    /// The pattern `*`.
    pub any: Vec<RouteIndex>,
}

/// The place of a route in [`Snapshot::routes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteIndex(pub u32);

/// The place of a service in [`Snapshot::services`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceIndex(pub u32);

/// The place of a limit in [`Snapshot::rate_limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LimitIndex(pub u32);

/// A limit, and what outlives a change of configuration with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LimitedRoute {
    /// Host and path: routes of one Ingress are counted apart, as in Envoy.
    pub place: Arc<str>,
    /// How many pass.
    pub limit: RateLimit,
}

/// One path of an Ingress on one host.
pub struct Route {
    /// What plugins and logs call it: `NAME`, or `NAMESPACE/NAME` outside the
    /// system namespace. All paths of an Ingress share it.
    pub name: Arc<str>,
    /// The path.
    pub path: PathMatch,
    /// The other conditions; most routes have none.
    pub conditions: Option<Box<RouteConditions>>,
    /// Where requests go, with weights that sum to 100.
    pub targets: Vec<WeightedTarget>,
    /// The `Host` that the upstream sees.
    pub upstream_vhost: Option<Box<str>>,
    /// What else it asks for; most routes ask for nothing.
    pub policy: Option<Arc<RoutePolicy>>,
    /// Whether another route tries what fails on this one.
    pub fallback: Option<Arc<Fallback>>,
    /// Why the route answers 503, where it does.
    pub closed: Option<&'static str>,
}

/// Which requests get another pass, with a header that leads to another route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// What the header says.
    pub from: HeaderValue,
    /// Whether answers 400 to 499 are replaced.
    pub on_4xx: bool,
    /// Whether answers 500 to 599 are replaced.
    pub on_5xx: bool,
    /// The largest body that is kept for it, in bytes.
    pub body_bytes_max: usize,
    /// It is not used for a request that has fallen back so often.
    pub redirects_max: u32,
}

/// One destination of a route.
pub struct WeightedTarget {
    /// Its share of 100.
    pub weight: u32,
    /// The service; `None` where the destination names none that exists.
    pub service: Option<ServiceIndex>,
    /// Changes of headers for this share only, as a canary has them: of the
    /// request, and of the answer.
    pub headers: Option<Box<(HeaderEdits, HeaderEdits)>>,
    /// What takes its requests while its service has no endpoint that is fit;
    /// its weight means nothing. Only canaries have one: the first target of
    /// their base.
    pub fallback: Option<Box<WeightedTarget>>,
    /// The plugins for this route and this service.
    pub chain: Chain,
}

/// A service: what Envoy calls a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// The host that destinations and rules name.
    pub host: Arc<str>,
    /// The port that destinations name.
    pub port: u16,
    /// How endpoints are spoken to.
    pub protocol: Protocol,
    /// The server name for TLS; `None` takes the request's Host.
    pub sni: Option<Box<str>>,
    /// What it asks of TLS; `None` for what the process does with all.
    pub identity: Option<Arc<Identity>>,
    /// Where the endpoints are.
    pub endpoints: Endpoints,
    /// How they take turns.
    pub balance: Balance,
}

/// The plugins of one (route, service), in the one global order.
#[derive(Clone, Default)]
pub struct Chain {
    /// The steps; plugins without a configuration here have none.
    pub steps: Vec<Step>,
}

/// One plugin of a [`Chain`].
#[derive(Clone)]
pub struct Step {
    /// The plugin's place in the global order; a chain that is entered again
    /// after a re-route goes on behind it.
    pub order: u16,
    /// Configurations for certain hosts, in rule order: the first that
    /// matches the request's host wins, also where it does nothing.
    pub by_domain: Vec<(DomainPattern, Option<Arc<PluginInstance>>)>,
    /// The configuration otherwise.
    pub otherwise: Option<Arc<PluginInstance>>,
}

/// A plugin with one configuration.
pub struct PluginInstance {
    /// The plugin's name, such as `key-auth`.
    pub name: Arc<str>,
    /// The WasmPlugin it comes from.
    pub resource: Arc<str>,
    /// The rule it comes from; `None` for the default configuration.
    pub rule: Option<usize>,
    /// Whether it decides who may pass.
    pub is_authentication: bool,
    /// What runs.
    pub plugin: Arc<dyn Plugin>,
}

impl Step {
    /// The configuration for a host in lower case without port.
    pub fn select(&self, host: &str) -> Option<&Arc<PluginInstance>> {
        match self.by_domain.iter().find(|(pattern, _)| pattern.matches(host)) {
            Some((_, instance)) => instance.as_ref(),
            None => self.otherwise.as_ref(),
        }
    }
}

/// A value of `matchRules[].domain` (Higress: wasm-go pkg/matcher/rule_matcher.go).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DomainPattern {
    /// The whole host.
    Exact(Box<str>),
    /// `*` at the beginning: the end of the host.
    Suffix(Box<str>),
    /// `*` at the end: the beginning of the host.
    Prefix(Box<str>),
}

impl DomainPattern {
    /// Reads a pattern. Case is folded, because hosts are compared in lower
    /// case everywhere.
    pub fn parse(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        if let Some(rest) = text.strip_prefix('*') {
            Self::Suffix(rest.into())
        } else if let Some(rest) = text.strip_suffix('*') {
            Self::Prefix(rest.into())
        } else {
            Self::Exact(text.into())
        }
    }

    /// Whether it covers a host in lower case without port.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(whole) => **whole == *host,
            Self::Suffix(end) => host.ends_with(&**end),
            Self::Prefix(beginning) => host.starts_with(&**beginning),
        }
    }
}
