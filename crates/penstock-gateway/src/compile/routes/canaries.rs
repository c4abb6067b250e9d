//! What canaries take of their base routes: a share of the targets, or a
//! route of their own in front of it.

use std::slice;
use std::sync::Arc;

use penstock_manifest::Diagnostic;
use penstock_manifest::annotation::CanaryBy;
use penstock_manifest::diagnostic::{ANNOTATION_UNUSED, PATH_DROPPED, ROUTE_CLOSED};
use penstock_manifest::kind::ingress::{Ingress, Path, Rule};

use super::{Builder, Claimed};
use crate::compile::{backends, canary, policy};
use crate::snapshot::{Route, RouteIndex, ServiceIndex, Snapshot, WeightedTarget};

impl Builder<'_> {
    /// Adds what a canary takes of its base routes: those of the same host,
    /// path and conditions.
    pub(super) fn add_canary<'i>(
        &self,
        ingress: &'i Ingress,
        claimed: &mut Claimed<'i>,
        snapshot: &mut Snapshot,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let by = self.options.canary.as_ref().map(|canary| &canary.by);
        for rule in &ingress.rules {
            for path in &rule.paths {
                let claim = claimed.get_mut(&self.key(rule, path));
                let Some((claim, base)) = claim.and_then(|claim| {
                    let base = claim.index?;
                    Some((claim, base))
                }) else {
                    diagnostics.push(self.without_base(rule, path));
                    continue;
                };
                let weight = match by {
                    Some(CanaryBy::Weight { weight, total }) => Some((*weight, *total)),
                    _ => None,
                };
                let name = if weight.is_some() { &claim.owner } else { &self.name };
                let Some(targets) = self.targets_as(name, rule, path, diagnostics) else {
                    continue;
                };
                // A canary whose service cannot be spoken to as it says gets
                // nothing, and its base everything.
                if self.closed.is_some() || self.decide(&targets, diagnostics).is_some() {
                    continue;
                }
                let Some((weight, total)) = weight else {
                    self.add_conditional((rule, path, base), targets, snapshot, diagnostics);
                    continue;
                };
                let total = u64::from(total);
                if *claim.total.get_or_insert(total) != total {
                    self.tell_other_total(diagnostics);
                }
                let route = snapshot.routes.get_mut(base.0 as usize);
                if let (Some(route), Some(target)) = (route, targets.into_iter().next()) {
                    canary::add_target(route, &self.options, weight, target);
                }
            }
        }
    }

    /// Adds the route of a canary by header or cookie in front of its base.
    fn add_conditional(
        &self,
        (rule, path, base): (&Rule, &Path, RouteIndex),
        mut targets: Vec<WeightedTarget>,
        snapshot: &mut Snapshot,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let Some(route) = snapshot.routes.get(base.0 as usize) else { return };
        let is_protected = !backends::is_open(&route.targets, &rule.host);
        let is_opened = is_protected && backends::is_open(&targets, &rule.host);
        let total = backends::total(&targets);
        backends::normalise(&mut targets, total);
        let first = route.targets.first().and_then(|target| target.service);
        for target in &mut targets {
            let fallback = first.and_then(|index| self.fallback(rule, index));
            // It is not reached past what protects it.
            let is_fit = |it: &WeightedTarget| {
                !is_protected || !backends::is_open(slice::from_ref(it), &rule.host)
            };
            target.fallback = fallback.filter(is_fit).map(Box::new);
        }
        let mut route = match canary::by_condition(route, &self.name, &self.options, targets) {
            Ok(Some(route)) => route,
            Ok(None) => return,
            Err(reason) => {
                diagnostics.push(policy::invalid_path(self.resource, &path.path, &reason));
                return;
            }
        };
        if is_opened {
            diagnostics.push(self.opens_its_base(path));
            route.closed = Some("its base route authenticates, and it does not");
        }
        self.count_apart(&mut route, &rule.host, snapshot);
        if let Some(index) = snapshot.add_route(&rule.host, Some(route)) {
            snapshot.move_before(&rule.host, base, index);
        }
    }

    /// A target of the base on the canary's own route, with the plugins that
    /// see it there.
    fn fallback(&self, rule: &Rule, index: ServiceIndex) -> Option<WeightedTarget> {
        let service = self.inputs.services.get(index)?;
        let place = Some((&*self.name, Some(&service)));
        Some(WeightedTarget {
            weight: 0,
            service: Some(index),
            headers: None,
            fallback: None,
            chain: self.inputs.plugins.chain(place, &rule.host),
        })
    }

    /// Gives a canary's route a limit of its own, where its base has one.
    fn count_apart(&self, route: &mut Route, host: &str, snapshot: &mut Snapshot) {
        let Some(policy) = route.policy.as_mut().map(Arc::make_mut) else { return };
        let known = policy.rate_limit.and_then(|index| snapshot.rate_limits.get(index.0 as usize));
        if let Some(limit) = known.map(|known| known.limit) {
            policy.rate_limit = Some(self.add_limit(limit, host, &route.path, snapshot));
        }
    }

    /// Another total of weights than this canary's is in force.
    fn tell_other_total(&self, diagnostics: &mut Vec<Diagnostic>) {
        let message = "without effect: the weights are shares of what the Ingress that it is a canary of, or an earlier canary, says";
        let finding = policy::at_annotation(self.resource, "canary-weight-total", |cursor| {
            cursor.diagnostic(&ANNOTATION_UNUSED, message)
        });
        diagnostics.extend(finding.filter(|finding| !diagnostics.contains(finding)));
    }

    fn without_base(&self, rule: &Rule, path: &Path) -> Diagnostic {
        let message = format!(
            "the canary has no route of its own kind: no Ingress has path `{}` on host `{}`",
            path.path, rule.host
        );
        Diagnostic::at(&PATH_DROPPED, &self.resource.source, path.at, message)
            .with_path(path.key_path.clone())
    }

    fn opens_its_base(&self, path: &Path) -> Diagnostic {
        let message = format!(
            "the canary answers 503: its base route authenticates, and nothing does so for route `{}`",
            self.name
        );
        Diagnostic::at(&ROUTE_CLOSED, &self.resource.source, path.at, message)
            .with_path(path.key_path.clone())
    }
}
