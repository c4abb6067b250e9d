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

/// Gives a canary by weight its part of the base route: its first target, with
/// the weight that it declares and the canary's own header control.
pub(super) fn add_target(
    base: &mut Route,
    options: &RouteOptions,
    weight: u32,
    canary: WeightedTarget,
) {
    let edits = (
        policy::edits(options.request_headers.as_deref()),
        policy::edits(options.response_headers.as_deref()),
    );
    let has_edits = edits != (HeaderEdits::default(), HeaderEdits::default());
    let headers = has_edits.then(|| Box::new(edits));
    let fallback = base.targets.first().filter(|first| first.service.is_some());
    let fallback = fallback.map(|first| {
        Box::new(WeightedTarget {
            weight: 0,
            service: first.service,
            headers: headers.clone(),
            fallback: None,
            chain: first.chain.clone(),
        })
    });
    base.targets.push(WeightedTarget { weight, headers, fallback, ..canary });
}
