//! The labels by which the console finds the routes of a domain.

use super::domain::LABEL;
use super::model::{Model, Route, denormalized_domain, listed, normalized_domain};
use crate::diagnostic::{DOMAIN_LABEL, Diagnostic};
use crate::node::{Cursor, Entry};

/// The name that stands for "no host".
const NO_HOST: &str = "*";
/// How many characters of [`LABEL`] stand after the slash.
const PREFIX_LENGTH: usize = "domain_".len();
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
            check(model, route, &labels, diagnostics);
        }
    }
}

fn check(
    model: &Model<'_>,
    route: &Route<'_>,
    labels: &[(&Entry, Cursor<'_>)],
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut wanted: Vec<String> = route.host_names().into_iter().map(normalized_domain).collect();
    if wanted.is_empty() {
        wanted.push(normalized_domain(NO_HOST));
    }
    // A label that Kubernetes would refuse cannot be asked for.
    wanted.retain(|name| PREFIX_LENGTH + name.len() <= LABEL_NAME_MAX);
    let missing: Vec<String> = wanted
        .iter()
        .filter(|name| !labels.iter().any(|(entry, _)| domain_part(entry) == **name))
        .map(|name| format!("{LABEL}{name}"))
        .collect();
    let mut is_said = false;
    for (entry, cursor) in labels {
        if wanted.iter().any(|name| name == domain_part(entry)) {
            diagnostics.extend(wrong_value(entry, cursor));
        } else {
            is_said = true;
            diagnostics.push(stray(model, route, (entry, cursor), &missing));
        }
    }
    if !missing.is_empty() && !is_said {
        diagnostics.push(lacking(route, &missing));
    }
}

fn domain_part(entry: &Entry) -> &str {
    entry.key.strip_prefix(LABEL).unwrap_or_default()
}

fn wrong_value(entry: &Entry, cursor: &Cursor<'_>) -> Option<Diagnostic> {
    (cursor.node.as_str()? != "true").then(|| {
        cursor
            .diagnostic(
                &DOMAIN_LABEL,
                format!("label `{}` counts only with the value `true`", entry.key),
            )
            .with_hint("write `\"true\"`")
    })
}

/// A label that is none of the hosts'. Where the console knows its domain and
/// not the host, the host is what is wrong.
fn stray(
    model: &Model<'_>,
    route: &Route<'_>,
    (entry, cursor): (&Entry, &Cursor<'_>),
    missing: &[String],
) -> Diagnostic {
    let hosts = route.host_names();
    let has = match hosts.as_slice() {
        [] => "no host".to_owned(),
        hosts => format!("the host {}", listed(hosts)),
    };
    let domain = denormalized_domain(domain_part(entry));
    let is_host_wrong =
        model.has_domain(&domain) && hosts.iter().any(|host| !model.has_domain(host));
    let hint = match missing {
        _ if is_host_wrong => format!("give it the host `{domain}`"),
        [] => "remove the label".to_owned(),
        missing => format!("write {} instead", listed(missing)),
    };
    let mut finding = cursor
        .diagnostic(
            &DOMAIN_LABEL,
            format!("label `{}` is that of another host: the Ingress has {has}", entry.key),
        )
        .with_hint(hint);
    (finding.line, finding.column) = (entry.key_at.line, entry.key_at.column);
    finding
}

fn lacking(route: &Route<'_>, missing: &[String]) -> Diagnostic {
    let metadata = route.resource.cursor().get("metadata");
    let labels = metadata.as_ref().and_then(|metadata| metadata.get("labels"));
    let place = labels.or(metadata).unwrap_or_else(|| route.resource.cursor());
    place
        .diagnostic(
            &DOMAIN_LABEL,
            format!("the console does not find `{}` under its domain", route.name),
        )
        .with_hint(format!("add {} with the value `\"true\"`", listed(missing)))
}
