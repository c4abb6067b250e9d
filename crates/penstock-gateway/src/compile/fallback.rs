//! EnvoyFilters → which routes let another one try
//! (Higress console: templates/envoyfilter-route-fallback.yaml).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use http::HeaderValue;
use penstock_manifest::diagnostic::{INVALID_VALUE, Severity};
use penstock_manifest::kind::envoy_filter;
use penstock_manifest::{Diagnostic, Resource};

use crate::snapshot::{Fallback, Snapshot};

/// Gives routes the fallbacks that EnvoyFilters have for them. What cannot be
/// read of one was reported when it was read.
pub(super) fn compile(
    filters: &[&Arc<Resource>],
    snapshot: &mut Snapshot,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut filters = filters.to_vec();
    filters.sort_by(|a, b| a.key.name.cmp(&b.key.name));
    let mut known: HashMap<Box<str>, Arc<Fallback>> = HashMap::new();
    for resource in filters {
        for fallback in envoy_filter::fallbacks(resource, &mut Vec::new()) {
            let Ok(from) = HeaderValue::from_str(&fallback.from) else { continue };
            match known.entry(fallback.route) {
                Entry::Vacant(vacant) => {
                    vacant.insert(Arc::new(Fallback {
                        from,
                        on_4xx: fallback.on_4xx,
                        on_5xx: fallback.on_5xx,
                        body_bytes_max: fallback.body_bytes_max,
                    }));
                }
                Entry::Occupied(occupied) => {
                    diagnostics.push(repeated(resource, occupied.key()));
                }
            }
        }
    }
    if known.is_empty() {
        return;
    }
    for route in &mut snapshot.routes {
        route.fallback = known.get(&*route.name).cloned();
        snapshot.has_fallbacks |= route.fallback.is_some();
    }
}

fn repeated(resource: &Resource, route: &str) -> Diagnostic {
    let message = format!(
        "EnvoyFilter `{}` has another fallback for route `{route}`; the first one by name counts",
        resource.key.name
    );
    Diagnostic::at(&INVALID_VALUE, &resource.source, resource.name_at(), message)
        .with_severity(Severity::Warning)
}
