//! The labels by which the console finds the routes of a domain.

use super::domain::LABEL;
use super::model::{Model, Route, listed, normalized_domain};
use crate::diagnostic::{DOMAIN_LABEL, Diagnostic};
use crate::node::{Cursor, Entry};

/// The name that stands for "no host".
const NO_HOST: &str = "*";
/// Kubernetes: the part of a label key after the slash.
const LABEL_NAME_MAX: usize = 63;

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for route in &model.routes {
        let labels =
            route.resource.cursor().get("metadata").and_then(|metadata| metadata.get("labels"));
        let labels: Vec<(&Entry, Cursor<'_>)> = labels
            .iter()
            .flat_map(|labels| labels.entries().collect::<Vec<_>>())
            .filter(|(entry, _)| entry.key.starts_with(LABEL))
            .collect();
        let says_so = route.resource.label("higress.io/resource-definer") == Some("higress");
        if route.is_in_system() && (says_so || !labels.is_empty()) {
            check(route, &labels, diagnostics);
        }
    }
}

fn check(route: &Route<'_>, labels: &[(&Entry, Cursor<'_>)], diagnostics: &mut Vec<Diagnostic>) {
    let mut wanted: Vec<String> = route.host_names().into_iter().map(normalized_domain).collect();
    if wanted.is_empty() {
        wanted.push(normalized_domain(NO_HOST));
    }
    // A label that Kubernetes would refuse cannot be asked for.
    wanted.retain(|name| LABEL.len() - "higress.io/".len() + name.len() <= LABEL_NAME_MAX);
    let name_of = |entry: &Entry| entry.key.get(LABEL.len()..).unwrap_or_default().to_owned();
    let missing: Vec<String> = wanted
        .iter()
        .filter(|name| !labels.iter().any(|(entry, _)| name_of(entry) == **name))
        .map(|name| format!("{LABEL}{name}"))
        .collect();
    let mut is_said = false;
    for (entry, cursor) in labels {
        let name = name_of(entry);
        if wanted.contains(&name) {
            if cursor.node.as_str().is_some_and(|value| value != "true") {
                diagnostics.push(
                    cursor
                        .diagnostic(
                            &DOMAIN_LABEL,
                            format!("label `{}` counts only with the value `true`", entry.key),
                        )
                        .with_hint("write `\"true\"`"),
                );
            }
            continue;
        }
        let hosts = route.host_names();
        let hosts = if hosts.is_empty() {
            "no host".to_owned()
        } else {
            format!("the host {}", listed(&hosts))
        };
        let mut finding = cursor.diagnostic(
            &DOMAIN_LABEL,
            format!("label `{}` is that of another host: the Ingress has {hosts}", entry.key),
        );
        (finding.line, finding.column) = (entry.key_at.line, entry.key_at.column);
        finding = match missing.as_slice() {
            [] => finding.with_hint("remove the label"),
            missing => finding.with_hint(format!("write {} instead", listed(missing))),
        };
        is_said = true;
        diagnostics.push(finding);
    }
    if !missing.is_empty() && !is_said {
        diagnostics.push(lacking(route, &missing));
    }
}

fn lacking(route: &Route<'_>, missing: &[String]) -> Diagnostic {
    let metadata = route.resource.cursor().get("metadata");
    let labels = metadata.as_ref().and_then(|metadata| metadata.get("labels"));
    let hint = format!("add {} with the value `\"true\"`", listed(missing));
    match labels.or(metadata) {
        Some(place) => place,
        None => route.resource.cursor(),
    }
    .diagnostic(
        &DOMAIN_LABEL,
        format!("the console does not find `{}` under its domain", route.name),
    )
    .with_hint(hint)
}
