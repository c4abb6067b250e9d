//! What a change of configuration means for traffic: routes that appear,
//! vanish or change, services that lead elsewhere, consumers that gain or lose
//! access. Pure, and found from two snapshots alone, so it is what requests
//! would meet and not what files say.
//!
//! Where a route is open to anybody, before or after, no consumer gains or
//! loses it: that it opens, or asks for a key from now on, is told once, as a
//! change of the route. That a route for every consumer, or for some, is now
//! for others is told by those consumers alone.
//!
//! Not compared: plugins that neither decide who may pass nor where requests
//! go, order among routes, and whether a credential has ended by the clock.
//!
//! Invariant: routes and consumers are never paired one by one; what many
//! share is compared once, and where consumers differ on too many routes in
//! too many ways, the routes tell it.
//! Invariant: no credential, token or value of a header is part of it.

mod difference;
mod json;
mod names;
mod policy;
mod text;
mod view;

use std::fmt;
use std::sync::Arc;

use penstock_manifest::annotation::Subject;
use penstock_manifest::redact::redact;

use crate::plugin::Destination;
use crate::route::{CompiledCondition, CompiledMatcher, PathMatch, RouteConditions};
use crate::snapshot::{Route, Snapshot};
use names::Names;
use view::{Reader, View, Who, hosts_within};

pub use difference::compare;

/// What a change of configuration means for traffic.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Why everything answers 503, before and after. Nothing else is compared
    /// then: what made it so may be what protects the rest.
    pub is_closed: (Option<&'static str>, Option<&'static str>),
    /// The routes that differ, sorted.
    pub routes: Vec<RouteChange>,
    /// The services that lead elsewhere, sorted; not those that come or go.
    pub services: Vec<ServiceChange>,
    /// The consumers that differ, each in one entry.
    pub consumers: Vec<ConsumerChange>,
    /// Whether only [`Self::routes`] tell who gains and loses access, because
    /// telling it by consumer would take too much.
    pub is_told_by_route: bool,
}

/// What identifies a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId {
    /// The name, which all paths of an Ingress share.
    pub name: Arc<str>,
    /// The host pattern. Where plugins treat some hosts of a pattern
    /// otherwise, one of those, as far as it is known: `a.com`, `*.a.com`,
    /// `a.*`.
    pub host: Arc<str>,
    /// `Exact /v1`, `Prefix /`, with `in any case` where that is so.
    pub path: String,
    /// The other conditions; empty where there are none. Values are hashes,
    /// except for models.
    pub conditions: String,
}

/// A route that differs. `None` on the side where it does not exist.
#[derive(Clone, Debug)]
pub struct RouteChange {
    /// Which one.
    pub route: Arc<RouteId>,
    /// What it did.
    pub before: Option<RouteView>,
    /// What it does.
    pub after: Option<RouteView>,
}

/// What a route does with requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteView {
    /// Who may use it.
    pub audience: Audience,
    /// Where requests go.
    pub targets: Vec<Target>,
    /// The `Host` that the upstream sees; `None` for the client's.
    pub upstream_host: Option<Box<str>>,
    /// What else the route does, a sentence each: redirects, limits, rewriting.
    pub policy: Vec<String>,
}

/// Who may use a route. Of several targets that differ in it, one is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Anybody, without a key.
    Anybody,
    /// Anybody with a key, or whatever else the plugin asks for; it has no
    /// names for them.
    AnyKey,
    /// Every consumer; these are known.
    EveryConsumer(Arc<[Arc<str>]>),
    /// These consumers, sorted.
    Consumers(Arc<[Arc<str>]>),
    /// Nobody: it answers 503, for this reason.
    Nobody(Arc<str>),
}

/// One destination of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `HOST:PORT`; `None` where it names no service, which answers 503.
    pub service: Option<Arc<str>>,
    /// Its share of 100.
    pub weight: u32,
    /// Why it answers 503, where a plugin for it cannot run.
    pub closed: Option<Arc<str>>,
    /// What plugins make of requests for it, in order.
    pub effects: Vec<Arc<Effect>>,
}

/// What one plugin makes of requests for a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The plugin.
    pub plugin: Arc<str>,
    /// The provider it chooses and the models it maps.
    pub destination: Destination,
}

/// A service that leads elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceChange {
    /// `HOST:PORT`, as destinations name it.
    pub service: String,
    /// Where it led: protocol and addresses.
    pub before: String,
    /// Where it leads.
    pub after: String,
}

/// Consumers to whom the same happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerChange {
    /// Their names, sorted.
    pub consumers: Vec<Arc<str>>,
    /// Whether they come or go.
    pub presence: Presence,
    /// Whether they present other credentials, elsewhere, or until another
    /// time.
    pub has_other_credentials: bool,
    /// The routes that they may use from now on, sorted.
    pub gains: Vec<Arc<RouteId>>,
    /// The routes that they may no longer use, sorted.
    pub loses: Vec<Arc<RouteId>>,
}

/// Whether a consumer comes or goes. Known are those whose keys some route
/// asks for; where there is an authentication and none asks for any, before or
/// after, all of them stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Presence {
    /// It is known before and after.
    Stays,
    /// It was not known before.
    Comes,
    /// It is not known any more.
    Goes,
}

/// A route and who may use it.
#[derive(Clone, Debug)]
pub struct RouteAccess {
    /// The route.
    pub route: RouteId,
    /// Who may use it.
    pub audience: Audience,
}

/// Who may use each route, sorted. While everything is closed, nobody may.
pub fn access_of(snapshot: &Snapshot) -> Vec<RouteAccess> {
    let mut names = Names::new();
    let mut reader = Reader::new(snapshot);
    let mut accesses = Vec::with_capacity(snapshot.routes.len());
    for (id, route) in reader.routes() {
        let general = reader.view(route, &id.host, &mut names).who;
        let mut places = vec![(id.clone(), general.clone())];
        for host in hosts_within(route, &id.host) {
            let who = reader.view(route, &host, &mut names).who;
            if who != general {
                places.push((id.on(&host), who));
            }
        }
        accesses.extend(places.into_iter().map(|(route, who)| {
            let audience = match snapshot.closed {
                Some(reason) => Audience::Nobody(reason.into()),
                None => Audience::of(&who, &mut names),
            };
            RouteAccess { route, audience }
        }));
    }
    accesses
}

impl Audience {
    /// Whether a consumer may use the route with its own key, or anybody may.
    pub fn allows(&self, consumer: &str) -> bool {
        match self {
            Self::Anybody => true,
            Self::EveryConsumer(names) | Self::Consumers(names) => {
                names.binary_search_by(|name| (**name).cmp(consumer)).is_ok()
            }
            Self::AnyKey | Self::Nobody(_) => false,
        }
    }

    fn of(who: &Who, names: &mut Names) -> Self {
        match who {
            Who::Anybody => Self::Anybody,
            Who::AnyKey => Self::AnyKey,
            Who::EveryConsumer(set) => Self::EveryConsumer(names.shown(*set)),
            Who::Consumers(set) => Self::Consumers(names.shown(*set)),
            Who::Nobody(reason) => Self::Nobody(reason.clone()),
        }
    }
}

impl RouteView {
    fn of(view: &View, names: &mut Names) -> Self {
        Self {
            audience: Audience::of(&view.who, names),
            targets: view.targets.clone(),
            upstream_host: view.upstream_host.clone(),
            policy: view.policy.clone(),
        }
    }
}

impl RouteId {
    fn of(route: &Route, host: Arc<str>) -> Self {
        let conditions = route.conditions.as_deref().map(conditions_text).unwrap_or_default();
        Self { name: route.name.clone(), host, path: path_text(&route.path), conditions }
    }

    /// The same route on one of the hosts of its pattern.
    fn on(&self, host: &str) -> Self {
        Self { host: host.into(), ..self.clone() }
    }
}

/// `NAME (HOST PATH, CONDITIONS)`
impl fmt::Display for RouteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} {}", self.name, self.host, self.path)?;
        if !self.conditions.is_empty() {
            write!(f, ", {}", self.conditions)?;
        }
        f.write_str(")")
    }
}

fn path_text(path: &PathMatch) -> String {
    let (kind, path, ignore_case) = match path {
        PathMatch::Exact { path, ignore_case } => ("Exact", path, *ignore_case),
        PathMatch::Prefix { path, ignore_case } => ("Prefix", path, *ignore_case),
        PathMatch::Regex { text, is_full, .. } => {
            return format!("Regex {text}{}", if *is_full { "$" } else { ".*" });
        }
    };
    let path = if path.is_empty() { "/" } else { path };
    format!("{kind} {path}{}", if ignore_case { " in any case" } else { "" })
}

fn conditions_text(conditions: &RouteConditions) -> String {
    let methods: Vec<&str> = conditions.methods.iter().map(|method| method.as_str()).collect();
    let methods = (!methods.is_empty()).then(|| methods.join("|"));
    let others = conditions.others.iter().map(condition_text);
    methods.into_iter().chain(others).collect::<Vec<_>>().join(", ")
}

/// The header by which routes are chosen for a model.
const MODEL_HEADER: &str = "x-higress-llm-model";

fn condition_text(condition: &CompiledCondition) -> String {
    let (subject, is_model) = match &condition.subject {
        Subject::Header(name) => (format!("header {name}"), **name == *MODEL_HEADER),
        Subject::Pseudo(name) => (format!(":{name}"), false),
        Subject::Query(name) => (format!("parameter {name}"), false),
    };
    // What has to be presented may be a secret.
    let shown = |value: &str| if is_model { format!("`{value}`") } else { redact(value) };
    match &condition.matcher {
        CompiledMatcher::Exact(value) => format!("{subject} = {}", shown(value)),
        CompiledMatcher::Prefix(value) => format!("{subject} begins with {}", shown(value)),
        CompiledMatcher::Regex(regex) => format!("{subject} matches {}", shown(regex.as_str())),
        CompiledMatcher::Present => format!("{subject} is there"),
    }
}

#[cfg(test)]
mod tests;
