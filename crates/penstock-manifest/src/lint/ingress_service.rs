//! Service backends of Ingresses that name no Service, or no port of it. Only
//! where the source has Services at all: a directory for an AI gateway often
//! has none, and then they live elsewhere.

use super::model::{Candidates, KubernetesService, Model, Route, cluster_host};
use crate::diagnostic::{DESTINATION_PORT, DESTINATION_UNKNOWN_SERVICE, Diagnostic};
use crate::node::{Cursor, Node, Value};

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    if model.services.kubernetes.is_empty() {
        return;
    }
    for route in &model.routes {
        for backend in backends(route) {
            diagnostics.extend(check(model, route, &backend));
        }
    }
}

/// The `service` of every backend.
fn backends<'a>(route: &Route<'a>) -> Vec<Cursor<'a>> {
    let Some(spec) = route.resource.spec() else {
        return Vec::new();
    };
    let rules: Vec<Cursor<'a>> =
        spec.get("rules").map(|rules| rules.items().collect()).unwrap_or_default();
    let mut found: Vec<Cursor<'a>> = rules
        .iter()
        .filter_map(|rule| rule.get("http")?.get("paths"))
        .flat_map(|paths| paths.items().collect::<Vec<_>>())
        .filter_map(|path| path.get("backend")?.get("service"))
        .collect();
    found.extend(spec.get("defaultBackend").and_then(|backend| backend.get("service")));
    found
}

fn check(model: &Model<'_>, route: &Route<'_>, backend: &Cursor<'_>) -> Option<Diagnostic> {
    let name = backend.get("name")?;
    let text = name.node.as_str()?;
    let namespace = &*route.resource.key.namespace;
    let Some(service) = model.services.kubernetes_service(&cluster_host(namespace, text)) else {
        let is_unclear =
            model.broken.iter().filter_map(|document| document.key.as_ref()).any(|key| {
                &*key.kind == "Service" && &*key.name == text && &*key.namespace == namespace
            });
        if is_unclear {
            return None;
        }
        let diagnostic = name.diagnostic(
            &DESTINATION_UNKNOWN_SERVICE,
            format!("there is no Service `{text}` in namespace `{namespace}`"),
        );
        let in_namespace =
            model.services.kubernetes.iter().filter(|service| service.namespace == namespace);
        let names = Candidates::new(in_namespace.map(|service| service.name));
        return Some(match names.did_you_mean(text) {
            Some(hint) => diagnostic.with_hint(hint),
            None => diagnostic,
        });
    };
    check_port(service, &backend.get("port")?)
}

fn check_port(service: &KubernetesService<'_>, port: &Cursor<'_>) -> Option<Diagnostic> {
    if service.ports.is_empty() {
        return None;
    }
    let (cursor, written, is_known) = match (port.get("number"), port.get("name")) {
        (Some(number), _) => {
            let Value::Int(written) = number.node.value else {
                return None;
            };
            let is_known = service.ports.iter().any(|(known, _)| i64::from(*known) == written);
            (number, written.to_string(), is_known)
        }
        (None, Some(name)) => {
            let text = Node::as_str(name.node)?;
            let is_known = service.ports.iter().any(|(_, known)| *known == Some(text));
            (name, text.to_owned(), is_known)
        }
        (None, None) => return None,
    };
    if is_known {
        return None;
    }
    let known: Vec<String> = service
        .ports
        .iter()
        .map(|(number, name)| match name {
            Some(name) => format!("{number} ({name})"),
            None => number.to_string(),
        })
        .collect();
    Some(
        cursor
            .diagnostic(
                &DESTINATION_PORT,
                format!("Service `{}` has no port `{written}`", service.name),
            )
            .with_hint(format!("it has {}", known.join(", "))),
    )
}
