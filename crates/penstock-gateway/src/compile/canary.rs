//! Canaries: Ingresses that take a part of another one's requests
//! (Higress: pkg/ingress/kube/ingressv1/controller.go, `ApplyCanaryIngress`).

use std::sync::Arc;

use http::header::COOKIE;
use penstock_manifest::annotation::{
    CanaryBy, CanaryValue, Condition, Matcher, RouteOptions, Subject,
};

use super::policy;
use crate::policy::{HeaderEdits, RoutePolicy};
use crate::route::{CompiledCondition, RouteConditions};
use crate::snapshot::{Route, WeightedTarget};

/// The route that takes the requests of a canary by header or cookie: the
/// base route with one condition on headers, the canary's targets and its
/// header control, and nothing else of it.
///
/// # Errors
/// The condition cannot be compiled; the text says why.
pub(super) fn by_condition(
    base: &Route,
    name: &Arc<str>,
    options: &RouteOptions,
    targets: Vec<WeightedTarget>,
) -> Result<Option<Route>, String> {
    let Some(condition) = options.canary.as_ref().and_then(|canary| condition(&canary.by)) else {
        return Ok(None);
    };
    let before = base.conditions.as_deref().cloned().unwrap_or_default();
    let mut others: Vec<CompiledCondition> = before
        .others
        .into_iter()
        .filter(|other| matches!(other.subject, Subject::Query(_)))
        .collect();
    others.push(CompiledCondition::compile(&condition)?);
    let edited = RoutePolicy {
        request_headers: policy::edits(options.request_headers.as_deref()),
        response_headers: policy::edits(options.response_headers.as_deref()),
        ..base.policy.as_deref().cloned().unwrap_or_default()
    };
    Ok(Some(Route {
        name: name.clone(),
        path: base.path.clone(),
        conditions: Some(Box::new(RouteConditions { methods: before.methods, others })),
        targets,
        upstream_vhost: base.upstream_vhost.clone(),
        fallback: None,
        policy: Some(Arc::new(edited)),
        closed: base.closed.or(options.closed),
    }))
}

fn condition(by: &CanaryBy) -> Option<Condition> {
    let (name, matcher) = match by {
        CanaryBy::Weight { .. } => return None,
        CanaryBy::Header { name, value } => {
            let matcher = match value {
                CanaryValue::Always => Matcher::Exact("always".into()),
                CanaryValue::Value(regex) | CanaryValue::Pattern(regex) => {
                    Matcher::Regex(regex.clone())
                }
            };
            (name.clone(), matcher)
        }
        CanaryBy::Cookie(name) => {
            let name = regex::escape(name);
            let regex = format!(r"(.*?;\s*)?({name}=always)(;.*)?");
            (COOKIE.as_str().into(), Matcher::Regex(regex.into()))
        }
    };
    Some(Condition { subject: Subject::Header(name), matcher })
}

/// Gives a canary by weight its share of the base route: only its first
/// target gets it, with the canary's own header control.
pub(super) fn share(
    base: &mut Route,
    options: &RouteOptions,
    has_total: bool,
    canary: WeightedTarget,
) {
    let Some(CanaryBy::Weight { weight, total }) = options.canary.as_ref().map(|c| &c.by) else {
        return;
    };
    // The total of the base's own annotation wins.
    let total = if has_total { 100 } else { *total };
    let others: u32 = base.targets.iter().skip(1).map(|target| target.weight).sum();
    let share = u64::from(*weight) * 100 / u64::from(total.max(*weight).max(1));
    let share = u32::try_from(share).unwrap_or(100).min(100_u32.saturating_sub(others));
    if let Some(first) = base.targets.first_mut() {
        first.weight = first.weight.saturating_sub(share);
    }
    let edits = (
        policy::edits(options.request_headers.as_deref()),
        policy::edits(options.response_headers.as_deref()),
    );
    let has_edits = edits != (HeaderEdits::default(), HeaderEdits::default());
    let headers = has_edits.then(|| Box::new(edits));
    base.targets.push(WeightedTarget { weight: share, headers, ..canary });
}
