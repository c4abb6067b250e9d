//! Lists of addresses → who may ask a route
//! (Higress: annotations/ip_access_control.go).
//!
//! A host's own lists may stand on any of its Ingresses; they hold on those of
//! its routes that have none themselves.

use std::collections::HashMap;
use std::sync::Arc;

use penstock_manifest::annotation::{SourceRange, Sources};
use penstock_manifest::kind::ingress::Ingress;

use super::downstream_tls::routes_of;
use crate::policy::{Network, SourceList};
use crate::snapshot::Snapshot;

/// Why a route is closed: a list of its host that it should be held to.
const UNREADABLE: &str = "a list of addresses of its host cannot be read";

/// What the lists of an Ingress say; empty where it has none.
pub(super) fn lists(sources: &Sources) -> Vec<SourceList> {
    let networks = |ranges: &[SourceRange]| {
        let network = |range: &SourceRange| Network {
            address: range.address,
            prefix_bits: range.prefix_bits,
        };
        ranges.iter().map(network).collect()
    };
    let allowed = sources.allowed.as_deref().map(|ranges| SourceList::Allowed(networks(ranges)));
    let denied =
        (!sources.denied.is_empty()).then(|| SourceList::Denied(networks(&sources.denied)));
    allowed.into_iter().chain(denied).collect()
}

/// The lists of hosts, of all their Ingresses.
#[derive(Default)]
pub(super) struct DomainSources(HashMap<Box<str>, Vec<Sources>>);

impl DomainSources {
    /// Takes what an Ingress says about its hosts.
    pub(super) fn add(&mut self, ingress: &Ingress, sources: &Sources) {
        if *sources == Sources::default() {
            return;
        }
        for rule in &ingress.rules {
            let known = self.0.entry(rule.host.clone()).or_default();
            if !known.contains(sources) {
                known.push(sources.clone());
            }
        }
    }

    /// Brings it into force, once all routes are there.
    pub(super) fn apply(&self, snapshot: &mut Snapshot) {
        for (host, known) in &self.0 {
            let is_usable = !known.iter().any(Sources::is_nobody);
            let lists: Vec<_> = known.iter().flat_map(lists).collect();
            for index in routes_of(snapshot, host) {
                let Some(route) = snapshot.routes.get_mut(index.0 as usize) else { continue };
                let mut policy = route.policy.as_deref().cloned().unwrap_or_default();
                if !policy.sources.is_empty() {
                    continue;
                }
                policy.sources.clone_from(&lists);
                route.policy = Some(Arc::new(policy));
                if !is_usable {
                    route.closed = route.closed.or(Some(UNREADABLE));
                }
            }
        }
    }
}
