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
                        redirects_max: fallback.redirects_max,
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

#[cfg(test)]
mod tests {
    use penstock_manifest::listing::assemble;
    use penstock_manifest::read::{FilePath, read_file};

    use crate::compile::{Options, compile};

    const FILTER: &str = include_str!("../../../penstock-manifest/src/kind/envoy_filter.yaml");

    /// The routes with what they fall back on, and the codes of findings.
    fn check(filters: &[String], expected: &[&str], codes: &[&str]) {
        let ingress = |name: &str| {
            format!(
                "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: {name}, namespace: higress-system, annotations: {{higress.io/destination: 'one.static:80'}}}}\nspec:\n  rules: [{{host: {name}.test, http: {{paths: [{{path: /, pathType: Prefix, backend: {{resource: {{apiGroup: networking.higress.io, kind: McpBridge, name: default}}}}}}]}}}}]\n"
            )
        };
        let bridge = "apiVersion: networking.higress.io/v1\nkind: McpBridge\nmetadata: {name: default, namespace: higress-system}\nspec: {registries: [{name: one, type: static, domain: '127.0.0.1:1', port: 80}]}\n";
        let documents = [&[bridge.to_owned(), ingress("r"), ingress("s")], filters].concat();
        let read = read_file(&FilePath::standalone("all.yaml"), &documents.join("---\n"));
        let compiled = compile(&assemble([&read]), &[], &Options::default());
        let shown: Vec<String> = compiled
            .snapshot
            .routes
            .iter()
            .filter_map(|route| {
                let fallback = route.fallback.as_ref()?;
                Some(format!("{} {:?} {}", route.name, fallback.from, fallback.body_bytes_max))
            })
            .collect();
        assert_eq!(shown, expected);
        assert_eq!(compiled.snapshot.has_fallbacks, !expected.is_empty());
        let found: Vec<&str> = compiled.diagnostics.iter().map(|d| d.code.id).collect();
        assert_eq!(found, codes);
    }

    #[test]
    fn a_filter_is_for_the_route_that_it_names() {
        check(&[], &[], &[]);
        check(&[FILTER.into()], &["r \"r\" 1024000"], &[]);
        let of_s = FILTER.replace("{route: {name: r}}", "{route: {name: s}}");
        check(&[of_s], &["s \"r\" 1024000"], &[]);
        check(&[FILTER.replace("{name: r}}}", "{name: t}}}")], &[], &[]);
        check(&[FILTER.replace("higress-system", "default")], &[], &["PS210"]);
    }

    #[test]
    fn of_two_filters_the_first_by_name_counts() {
        let other = FILTER.replace("metadata: {name: r", "metadata: {name: a");
        let other = other.replace("1024000", "7");
        check(&[FILTER.into(), other], &["r \"r\" 7"], &["PS208"]);
    }
}
