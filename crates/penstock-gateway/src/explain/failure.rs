//! What is tried where an upstream fails, before the answer is the client's.

use std::sync::Arc;

pub use penstock_llm::provider::availability::{Failover, RetryOnFailure};

use super::service_text;
use crate::policy::Retry;
use crate::proxy;
use crate::request::RequestContext;
use crate::snapshot::Route;
use crate::state::Live;

/// What is tried where the upstream of one pass fails.
pub struct OnFailure {
    /// How many tokens the provider has.
    pub tokens: usize,
    /// When one of them is put aside.
    pub failover: Option<Failover>,
    /// When another one is tried.
    pub retry: Option<RetryOnFailure>,
    /// How often another one is tried at most.
    pub retries: u32,
    /// What the route repeats.
    pub repeat: Option<Repeat>,
    /// Who tries what fails all the same.
    pub fallback: Option<Fallback>,
}

/// What a route repeats.
pub struct Repeat {
    /// How often, and after what.
    pub retry: Retry,
    /// Whether it is for this request: one that may do something twice is not
    /// repeated unless the route says so.
    pub is_allowed: bool,
}

/// The route that requests fall back on.
pub struct Fallback {
    /// The classes of answers that are replaced, such as `5xx`.
    pub on: Vec<&'static str>,
    /// The route; `None` where none takes such requests, so that the first
    /// answer stays.
    pub route: Option<String>,
    /// Its services, `HOST:PORT`, each with its share of 100.
    pub targets: Vec<(u32, String)>,
    /// Who tries what fails there, too.
    pub fallback: Option<Box<Fallback>>,
}

impl OnFailure {
    /// What there is for a request that is sent on a route.
    pub(super) fn of(live: &Live, route: &Route, cx: &RequestContext) -> Self {
        let provider = cx.provider.as_ref();
        let tokens = provider.map_or(0, |provider| provider.tokens().len());
        let retry = provider.and_then(|provider| provider.retry()).cloned();
        let others = u32::try_from(tokens.saturating_sub(1)).unwrap_or(u32::MAX);
        let repeat = cx.policy.as_ref().and_then(|policy| policy.retry.as_ref());
        Self {
            tokens,
            failover: provider.filter(|_| tokens > 0).and_then(|one| one.failover()).cloned(),
            retries: retry.as_ref().map_or(0, |retry| retry.max_retries.min(others)),
            retry,
            repeat: repeat.map(|retry| Repeat {
                retry: retry.clone(),
                is_allowed: proxy::may_repeat(retry, cx),
            }),
            fallback: fallback(live, route, cx, &mut Vec::new()),
        }
    }
}

/// Who tries what fails on a route; `failed` are those before it.
fn fallback(
    live: &Live,
    route: &Route,
    cx: &RequestContext,
    failed: &mut Vec<Arc<str>>,
) -> Option<Fallback> {
    let fallback = route.fallback.as_ref().filter(|one| one.is_after(failed.len()))?;
    failed.push(route.name.clone());
    let classes = [("4xx", fallback.on_4xx), ("5xx", fallback.on_5xx)];
    let other = proxy::destination(live, cx, fallback, failed);
    let targets = other.map(|route| route.targets.as_slice()).unwrap_or_default();
    let shown = |target| service_text(live, target).unwrap_or_else(|| "no service".to_owned());
    Some(Fallback {
        on: classes.iter().filter(|(_, is_on)| *is_on).map(|(class, _)| *class).collect(),
        route: other.map(|route| route.name.to_string()),
        targets: targets.iter().map(|target| (target.weight, shown(target))).collect(),
        fallback: other.and_then(|other| self::fallback(live, other, cx, failed)).map(Box::new),
    })
}
