//! Services that answer where a route's own cannot
//! (Higress: annotations/default_backend.go).

use std::sync::Arc;

use http::{HeaderName, Uri};

use super::Worker;
use super::attempts::{self, Answered, Journey};
use crate::policy::RoutePolicy;
use crate::request::RequestContext;
use crate::snapshot::WeightedTarget;
use crate::state::{Live, ServiceState};

const X_ENVOY_ROUTE_NAME: HeaderName = HeaderName::from_static("x-envoy-route-name");
const X_ENVOY_FALLBACK_SERVICE: HeaderName = HeaderName::from_static("x-envoy-fallback-service");

/// The target that takes a request: the one that was chosen, unless its
/// service has no endpoint that is fit and there is another one for that. It
/// is asked in front of the plugins, because they are others there.
pub(super) fn in_place<'a>(live: &Live, chosen: &'a WeightedTarget) -> &'a WeightedTarget {
    let Some(other) = chosen.fallback.as_deref() else { return chosen };
    let service = chosen.service.and_then(|index| live.service(index));
    if service.is_some_and(|service| is_empty(service)) { other } else { chosen }
}

fn is_empty(service: &ServiceState) -> bool {
    service.is_resolved() && service.endpoints().refresh() == 0
}

/// The service that takes a request: the route's own, unless it has no
/// endpoint that is fit and there is another one for that. The other one is
/// not the provider, and gets neither its format nor its token.
pub(super) fn of_empty<'a>(
    live: &'a Live,
    policy: Option<&RoutePolicy>,
    service: &'a Arc<ServiceState>,
    cx: &mut RequestContext,
) -> &'a Arc<ServiceState> {
    let fallback = policy.and_then(|policy| policy.fallback.as_ref());
    let other = fallback.and_then(|fallback| live.service(fallback.service));
    match other {
        Some(other) if is_empty(service) => {
            cx.forget_provider();
            other
        }
        _ => service,
    }
}

/// The upstream's answer, or the page that another service has for it.
pub(super) async fn answer(
    worker: &Worker,
    live: &Live,
    journey: &Journey<'_>,
    cx: &mut RequestContext,
) -> Answered {
    let policy = cx.policy.clone();
    let fallback = policy.as_ref().and_then(|policy| policy.fallback.as_ref());
    let Some(fallback) = fallback.filter(|fallback| !fallback.errors.is_empty()) else {
        return attempts::answer(worker, journey, cx).await;
    };
    let Some(service) = live.service(fallback.service).filter(|_| cx.body_fits()) else {
        return attempts::answer(worker, journey, cx).await;
    };
    cx.buffer_body().await?;
    let body = cx.buffered_body().cloned();
    let answer = attempts::answer(worker, journey, cx).await?;
    if !fallback.errors.contains(&answer.status()) {
        return Ok(answer);
    }
    drop(answer);
    cx.restore_body(body.as_ref())?;
    cx.uri = Uri::from_static("/");
    cx.headers.insert(X_ENVOY_ROUTE_NAME, fallback.route_name.clone());
    cx.headers.insert(X_ENVOY_FALLBACK_SERVICE, fallback.service_name.clone());
    // Nothing that the route asks for concerns the page, but the page may be
    // read by whoever may read the route's own answers.
    cx.policy = None;
    cx.forget_provider();
    let journey = Journey { upstream_vhost: None, retry: None, service, ..*journey };
    let page = attempts::answer(worker, &journey, cx).await;
    cx.policy = policy;
    page
}
