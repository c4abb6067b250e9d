//! What a snapshot makes of each of its routes, read without a request.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::names::{NameId, Names, SetId};
use super::{Effect, RouteId, Target, policy};
use crate::plugin::{Access, Consumer};
use crate::snapshot::{Chain, DomainPattern, PluginInstance, Route, Service, Snapshot};

/// Who may use a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Anybody,
    AnyKey,
    EveryConsumer(SetId),
    Consumers(SetId),
    Nobody(Arc<str>),
}

/// What a route does with requests for one host.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) who: Who,
    pub(super) targets: Vec<Target>,
    pub(super) upstream_host: Option<Box<str>>,
    pub(super) policy: Vec<String>,
}

/// One plugin with one configuration, as far as it counts here.
#[derive(Clone)]
struct Instance {
    who: Who,
    effect: Option<Arc<Effect>>,
}

/// A snapshot that is being read.
pub(super) struct Reader<'s> {
    snapshot: &'s Snapshot,
    services: Vec<Arc<str>>,
    fallbacks: policy::FallbackNames,
    instances: HashMap<*const PluginInstance, Instance>,
    /// The sets of those that authentications recognise, by their addresses.
    known: HashMap<*const Consumer, SetId>,
    /// The credentials of each consumer that was met, sorted.
    pub(super) credentials: BTreeMap<NameId, BTreeSet<u64>>,
}

impl<'s> Reader<'s> {
    /// A reader of a snapshot; what it knows of consumers grows with the
    /// routes that it looks at.
    pub(super) fn new(snapshot: &'s Snapshot) -> Self {
        Self {
            snapshot,
            services: service_names(&snapshot.services),
            fallbacks: policy::fallback_names(snapshot),
            instances: HashMap::new(),
            known: HashMap::new(),
            credentials: BTreeMap::new(),
        }
    }

    /// All routes by what identifies them; of equal ones the first, which
    /// alone gets requests.
    pub(super) fn routes(&self) -> BTreeMap<RouteId, &'s Route> {
        let hosts = &self.snapshot.hosts;
        let exact = hosts.exact.iter().map(|(host, list)| (host.to_string(), list));
        let wildcard = hosts.wildcard.iter().map(|(parent, list)| (format!("*.{parent}"), list));
        let all = exact
            .chain(wildcard)
            .chain(std::iter::once(("*".to_owned(), &hosts.any)))
            .flat_map(|(host, list)| {
                let host: Arc<str> = host.into();
                list.iter().map(move |index| (host.clone(), index))
            })
            .filter_map(|(host, index)| {
                let route = self.snapshot.route(*index)?;
                Some((RouteId::of(route, host), route))
            });
        let mut routes = BTreeMap::new();
        for (id, route) in all {
            routes.entry(id).or_insert(route);
        }
        routes
    }

    /// What a route does with requests for a host.
    pub(super) fn view(&mut self, route: &Route, host: &str, names: &mut Names) -> View {
        let mut who: Option<Who> = None;
        let mut targets = Vec::with_capacity(route.targets.len());
        for target in &route.targets {
            let (passes, effects) = self.chain(&target.chain, host, names);
            let service = target.service.and_then(|index| self.services.get(index.0 as usize));
            targets.push(Target {
                service: service.cloned(),
                weight: target.weight,
                closed: match &passes {
                    Who::Nobody(reason) => Some(reason.clone()),
                    _ => None,
                },
                effects,
            });
            // Who can be given to no target does not get in by it.
            if target.weight > 0 {
                who = Some(match who {
                    Some(who) => either(who, passes, names),
                    None => passes,
                });
            }
        }
        // Their order means nothing.
        targets.sort_by(|a, b| (&a.service, a.weight).cmp(&(&b.service, b.weight)));
        let who = match route.closed {
            Some(reason) => Who::Nobody(reason.into()),
            None => who.unwrap_or_else(|| Who::Nobody("it has no target".into())),
        };
        let policy = policy::of(route, self.snapshot, &self.fallbacks);
        View { who, targets, upstream_host: route.upstream_vhost.clone(), policy }
    }

    /// Whether it is known who is no consumer: some route asks for the keys of
    /// consumers, or there is no authentication that could know any.
    pub(super) fn knows_consumers(&self) -> bool {
        !self.credentials.is_empty() || !self.snapshot.has_authentication
    }

    /// Meets the plugins that run where no route is found, for the consumers
    /// that they know.
    pub(super) fn look_at_the_rest(&mut self, names: &mut Names) {
        for step in &self.snapshot.without_route.steps {
            let by_domain = step.by_domain.iter().filter_map(|(_, instance)| instance.as_ref());
            for instance in by_domain.chain(&step.otherwise) {
                self.instance(instance, names);
            }
        }
    }

    fn chain(&mut self, chain: &Chain, host: &str, names: &mut Names) -> (Who, Vec<Arc<Effect>>) {
        let mut who = Who::Anybody;
        let mut effects = Vec::new();
        for instance in chain.steps.iter().filter_map(|step| step.select(host)) {
            let instance = self.instance(instance, names);
            who = both(who, instance.who, names);
            effects.extend(instance.effect);
        }
        (who, effects)
    }

    fn instance(&mut self, instance: &Arc<PluginInstance>, names: &mut Names) -> Instance {
        let key = Arc::as_ptr(instance);
        if let Some(read) = self.instances.get(&key) {
            return read.clone();
        }
        let who = match instance.plugin.access() {
            None if instance.is_authentication => Who::AnyKey,
            None => Who::Anybody,
            Some(Access::Anonymous) => Who::AnyKey,
            Some(Access::Closed) => {
                let (name, resource) = (&instance.name, &instance.resource);
                Who::Nobody(format!("plugin `{name}` of WasmPlugin `{resource}` cannot run").into())
            }
            Some(Access::Consumers { known, allowed }) => {
                let known = self.known(known, names);
                match allowed {
                    None => Who::EveryConsumer(known),
                    Some(allowed) => {
                        let allowed = allowed.iter().map(|name| names.id(name)).collect();
                        let allowed = names.set(allowed);
                        Who::Consumers(names.intersection(allowed, known))
                    }
                }
            }
        };
        let effect = instance
            .plugin
            .destination()
            .map(|destination| Arc::new(Effect { plugin: instance.name.clone(), destination }));
        let read = Instance { who, effect };
        self.instances.insert(key, read.clone());
        read
    }

    fn known(&mut self, consumers: &[Consumer], names: &mut Names) -> SetId {
        // An empty list has no address of its own.
        let Some(first) = consumers.first() else {
            return Names::NOBODY;
        };
        if let Some(set) = self.known.get(&std::ptr::from_ref(first)) {
            return *set;
        }
        let mut ids = Vec::with_capacity(consumers.len());
        for consumer in consumers {
            let id = names.id(&consumer.name);
            ids.push(id);
            self.credentials.entry(id).or_default().insert(consumer.fingerprint);
        }
        let set = names.set(ids);
        self.known.insert(first, set);
        set
    }
}

/// `HOST:PORT` of each service, with the scheme where a destination asks for
/// another one than the registry's.
fn service_names(services: &[Service]) -> Vec<Arc<str>> {
    let mut registries = HashMap::new();
    let name = |service: &Service| -> Arc<str> {
        let (host, port) = (&service.host, service.port);
        let own = *registries.entry((host.clone(), port)).or_insert(service.protocol);
        match (own == service.protocol, service.protocol.is_tls()) {
            (true, _) => format!("{host}:{port}").into(),
            (false, true) => format!("https://{host}:{port}").into(),
            (false, false) => format!("http://{host}:{port}").into(),
        }
    };
    services.iter().map(name).collect()
}

/// Who passes both of two plugins.
fn both(first: Who, second: Who, names: &mut Names) -> Who {
    use Who::{AnyKey, Anybody, Consumers, EveryConsumer, Nobody};
    match (first, second) {
        (Nobody(reason), _) | (_, Nobody(reason)) => Nobody(reason),
        (Anybody, who) | (who, Anybody) | (AnyKey, who) | (who, AnyKey) => who,
        (EveryConsumer(a), EveryConsumer(b)) if a == b => EveryConsumer(a),
        (EveryConsumer(a) | Consumers(a), EveryConsumer(b) | Consumers(b)) => {
            Consumers(names.intersection(a, b))
        }
    }
}

/// Who gets through to one of two targets.
fn either(first: Who, second: Who, names: &mut Names) -> Who {
    use Who::{AnyKey, Anybody, Consumers, EveryConsumer, Nobody};
    match (first, second) {
        (Nobody(reason), Nobody(_)) => Nobody(reason),
        (Nobody(_), who) | (who, Nobody(_)) => who,
        (Anybody, _) | (_, Anybody) => Anybody,
        (AnyKey, _) | (_, AnyKey) => AnyKey,
        (EveryConsumer(a), EveryConsumer(b) | Consumers(b)) if names.union(a, b) == a => {
            EveryConsumer(a)
        }
        (Consumers(a), EveryConsumer(b)) if names.union(a, b) == b => EveryConsumer(b),
        (EveryConsumer(a) | Consumers(a), EveryConsumer(b) | Consumers(b)) => {
            Consumers(names.union(a, b))
        }
    }
}

/// The hosts among those of a pattern for which plugins may have other
/// configurations. A host that is not known in full has a `*` somewhere.
pub(super) fn hosts_within(route: &Route, pattern: &str) -> BTreeSet<String> {
    let Some(end) = pattern.strip_prefix('*') else {
        return BTreeSet::new();
    };
    let steps = route.targets.iter().flat_map(|target| &target.chain.steps);
    steps
        .flat_map(|step| &step.by_domain)
        .filter_map(|(domain, _)| match domain {
            DomainPattern::Exact(host) => host.ends_with(end).then(|| host.to_string()),
            DomainPattern::Suffix(suffix) => suffix.ends_with(end).then(|| format!("*{suffix}")),
            DomainPattern::Prefix(prefix) => Some(format!("{prefix}*{end}")),
        })
        .filter(|host| host != pattern)
        .collect()
}
