//! Two snapshots, compared.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use penstock_manifest::kind::mcp_bridge::Endpoints;

use super::names::{NameId, Names, SetId};
use super::view::{Reader, View, Who, hosts_within};
use super::{ConsumerChange, Presence, RouteChange, RouteId, RouteView, ServiceChange, Traffic};
use crate::snapshot::{Route, Service, Snapshot};

/// Routes by who may use them before and after, by name.
type Moves = BTreeMap<(SetId, SetId), Vec<Arc<RouteId>>>;

/// How often a consumer and a route may be told together. Beyond, the routes
/// tell it: that 10,000 consumers each lose 5,000 routes fits no memory.
const PAIRS_MAX: usize = 100_000;

/// Compares what is in force with what would be.
pub fn compare(before: &Snapshot, after: &Snapshot) -> Traffic {
    let is_closed = (before.closed, after.closed);
    if is_closed != (None, None) {
        return Traffic { is_closed, ..Traffic::default() };
    }
    let mut comparison = Comparison {
        names: Names::new(),
        before: Reader::new(before),
        after: Reader::new(after),
        routes: Vec::new(),
        for_others: Vec::new(),
        moves: Moves::new(),
    };
    comparison.compare_routes();
    let by_consumer = comparison.consumers(&comparison.moves);
    let is_told_by_route = by_consumer.is_none();
    let consumers = by_consumer.or_else(|| comparison.consumers(&Moves::new())).unwrap_or_default();
    let mut routes = comparison.routes;
    if is_told_by_route {
        routes.extend(comparison.for_others);
    }
    routes.sort_by(|a, b| a.route.cmp(&b.route));
    let services = compare_services(&before.services, &after.services);
    Traffic { is_closed, routes, services, consumers, is_told_by_route }
}

struct Comparison<'s> {
    names: Names,
    before: Reader<'s>,
    after: Reader<'s>,
    routes: Vec<RouteChange>,
    /// Routes that differ in nothing but which consumers may use them.
    for_others: Vec<RouteChange>,
    moves: Moves,
}

/// What happens to a consumer; routes by their places among the moves.
#[derive(PartialEq, Eq, Hash)]
struct Group {
    presence: Presence,
    has_other_credentials: bool,
    gains: Vec<usize>,
    loses: Vec<usize>,
}

/// What a route does before and after.
type Views = (Option<View>, Option<View>);

impl Comparison<'_> {
    fn compare_routes(&mut self) {
        let (before, after) = (self.before.routes(), self.after.routes());
        let ids: BTreeSet<&RouteId> = before.keys().chain(after.keys()).collect();
        for id in ids {
            let routes = (before.get(id).copied(), after.get(id).copied());
            let general = self.views(routes, &id.host);
            let hosts: BTreeSet<String> = [routes.0, routes.1]
                .into_iter()
                .flatten()
                .flat_map(|route| hosts_within(route, &id.host))
                .collect();
            for host in hosts {
                let views = self.views(routes, &host);
                if views != general {
                    self.add(id.on(&host), &views);
                }
            }
            self.add(id.clone(), &general);
        }
        self.before.look_at_the_rest(&mut self.names);
        self.after.look_at_the_rest(&mut self.names);
    }

    fn views(&mut self, (before, after): (Option<&Route>, Option<&Route>), host: &str) -> Views {
        let before = before.map(|route| self.before.view(route, host, &mut self.names));
        let after = after.map(|route| self.after.view(route, host, &mut self.names));
        (before, after)
    }

    fn add(&mut self, id: RouteId, (before, after): &Views) {
        let is_same = match (before, after) {
            (Some(before), Some(after)) => before.does_the_same_as(after),
            _ => false,
        };
        let sets = (by_name(before.as_ref()), by_name(after.as_ref()));
        let move_of = match sets {
            (Some(before), Some(after)) if before != after => Some((before, after)),
            _ => None,
        };
        if is_same && move_of.is_none() {
            return;
        }
        let route = Arc::new(id);
        if let Some(sets) = move_of {
            self.moves.entry(sets).or_default().push(route.clone());
        }
        let mut shown =
            |view: &Option<View>| view.as_ref().map(|view| RouteView::of(view, &mut self.names));
        let (before, after) = (shown(before), shown(after));
        let changes = if is_same { &mut self.for_others } else { &mut self.routes };
        changes.push(RouteChange { route, before, after });
    }

    /// The consumers that differ, those to whom the same happens together;
    /// `None` where that is too much.
    fn consumers(&self, moves: &Moves) -> Option<Vec<ConsumerChange>> {
        let pairs = moves.keys().map(|(before, after)| self.names.differing(*before, *after));
        if pairs.sum::<usize>() > PAIRS_MAX {
            return None;
        }
        let groups = self.groups(moves);
        let routes: Vec<&Vec<Arc<RouteId>>> = moves.values().collect();
        let count = |moves: &[usize]| -> usize {
            moves.iter().filter_map(|index| routes.get(*index)).map(|routes| routes.len()).sum()
        };
        if groups.keys().map(|group| count(&group.gains) + count(&group.loses)).sum::<usize>()
            > PAIRS_MAX
        {
            return None;
        }
        let mut changes: Vec<ConsumerChange> = groups
            .into_iter()
            .map(|(group, mut consumers)| {
                consumers.sort_unstable();
                ConsumerChange {
                    consumers,
                    presence: group.presence,
                    has_other_credentials: group.has_other_credentials,
                    gains: routes_of(&group.gains, &routes),
                    loses: routes_of(&group.loses, &routes),
                }
            })
            .collect();
        changes.sort_by(|a, b| a.consumers.cmp(&b.consumers));
        Some(changes)
    }

    /// The consumers that differ, by what happens to them.
    fn groups(&self, moves: &Moves) -> HashMap<Group, Vec<Arc<str>>> {
        let mut moved: HashMap<NameId, (Vec<usize>, Vec<usize>)> = HashMap::new();
        for (index, (before, after)) in moves.keys().enumerate() {
            for name in self.names.without(*after, *before) {
                moved.entry(name).or_default().0.push(index);
            }
            for name in self.names.without(*before, *after) {
                moved.entry(name).or_default().1.push(index);
            }
        }
        let (old, new) = (&self.before.credentials, &self.after.credentials);
        let everybody: BTreeSet<NameId> = old.keys().chain(new.keys()).copied().collect();
        let is_known = (self.before.knows_consumers(), self.after.knows_consumers());
        let mut groups: HashMap<Group, Vec<Arc<str>>> = HashMap::new();
        for name in everybody {
            let (old, new) = (old.get(&name), new.get(&name));
            let presence = match (old, new) {
                (None, _) if is_known.0 => Presence::Comes,
                (_, None) if is_known.1 => Presence::Goes,
                _ => Presence::Stays,
            };
            let has_other_credentials = old.is_some() && new.is_some() && old != new;
            let (gains, loses) = moved.remove(&name).unwrap_or_default();
            let is_same = gains.is_empty() && loses.is_empty() && !has_other_credentials;
            if presence != Presence::Stays || !is_same {
                let group = Group { presence, has_other_credentials, gains, loses };
                groups.entry(group).or_default().push(self.names.name(name));
            }
        }
        groups
    }
}

fn routes_of(moves: &[usize], routes: &[&Vec<Arc<RouteId>>]) -> Vec<Arc<RouteId>> {
    let lists = moves.iter().filter_map(|index| routes.get(*index).copied());
    let mut routes: Vec<Arc<RouteId>> = lists.flatten().cloned().collect();
    routes.sort_unstable();
    routes
}

/// Those who may use a route by their name; `None` where names do not matter.
fn by_name(view: Option<&View>) -> Option<SetId> {
    match view.map(|view| &view.who) {
        Some(Who::Anybody) => None,
        Some(Who::EveryConsumer(set) | Who::Consumers(set)) => Some(*set),
        Some(Who::AnyKey | Who::Nobody(_)) | None => Some(Names::NOBODY),
    }
}

impl View {
    /// Whether nothing has to be told, besides which consumers.
    fn does_the_same_as(&self, other: &Self) -> bool {
        let is_for_the_same = match (&self.who, &other.who) {
            (Who::EveryConsumer(_), Who::EveryConsumer(_)) => true,
            (Who::Consumers(_), Who::Consumers(_)) => true,
            (one, other) => one == other,
        };
        is_for_the_same
            && self.targets == other.targets
            && self.upstream_host == other.upstream_host
            && self.policy == other.policy
    }
}

fn compare_services(before: &[Service], after: &[Service]) -> Vec<ServiceChange> {
    // The first of a name is the registry's own.
    let mut old: BTreeMap<(&str, u16), &Service> = BTreeMap::new();
    for service in before {
        old.entry((&service.host, service.port)).or_insert(service);
    }
    let mut seen = BTreeSet::new();
    let mut changes: Vec<ServiceChange> = after
        .iter()
        .filter(|service| seen.insert((&service.host, service.port)))
        .filter_map(|service| {
            let before = old.get(&(&*service.host, service.port))?;
            (*before != service).then(|| ServiceChange {
                service: format!("{}:{}", service.host, service.port),
                before: leads_to(before),
                after: leads_to(service),
            })
        })
        .collect();
    changes.sort_by(|a, b| a.service.cmp(&b.service));
    changes
}

fn leads_to(service: &Service) -> String {
    let addresses: Vec<String> = match &service.endpoints {
        Endpoints::Static(addresses) => addresses.iter().map(ToString::to_string).collect(),
        Endpoints::Dns(names) => names.iter().map(ToString::to_string).collect(),
    };
    let protocol = format!("{:?}", service.protocol).to_lowercase();
    let sni = service.sni.as_ref().map(|sni| format!(" as {sni}")).unwrap_or_default();
    let identity = service.identity.as_ref().map(|asked| asked.describe());
    let identity = identity.map(|asked| format!(" ({asked})")).unwrap_or_default();
    format!("{protocol} {}{sni}{identity}", addresses.join(", "))
}
