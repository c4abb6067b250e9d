//! Destinations that name no service, or a port that it does not have.

use super::model::{LookUp, Model, Route, also};
use crate::annotation::Destination;
use crate::diagnostic::{
    DESTINATION_IGNORED, DESTINATION_PORT, DESTINATION_UNKNOWN_SERVICE, Diagnostic,
};
use crate::kind::ingress::Backend;
use crate::node::Cursor;

const ANNOTATION: &str = "higress.io/destination";

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for route in &model.routes {
        let Some(annotation) = route.resource.annotation_cursor(ANNOTATION) else {
            continue;
        };
        for (index, destination) in route.options.destinations.iter().flatten().enumerate() {
            let found = check(model, destination, &annotation);
            diagnostics.extend(found.map(|found| at_line(found, route, &annotation, index)));
        }
        if is_ignored(route) {
            diagnostics.push(
                annotation
                    .diagnostic(
                        &DESTINATION_IGNORED,
                        "the destination has no effect: every path has a Service as its backend",
                    )
                    .with_hint("remove it, or point the paths at McpBridge `default`"),
            );
        }
    }
}

fn check(model: &Model<'_>, destination: &Destination, at: &Cursor<'_>) -> Option<Diagnostic> {
    let host = &*destination.host;
    match (model.services.look_up(host), destination.port) {
        (LookUp::Missing, port) => Some(unknown(model, host, port, at)),
        (LookUp::Exists(ports), Some(port)) if !ports.is_empty() && !ports.contains(&port) => {
            Some(wrong_port(model, host, port, &ports, at))
        }
        (LookUp::Exists(ports), None) if ports.len() > 1 => Some(without_port(host, &ports, at)),
        _ => None,
    }
}

/// Moves a finding to the line of the destination, where the annotation is a
/// block of lines: then it does not stand beside its key.
fn at_line(
    mut finding: Diagnostic,
    route: &Route<'_>,
    annotation: &Cursor<'_>,
    index: usize,
) -> Diagnostic {
    let key_at = route
        .resource
        .root
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations")?.as_map()?.entry(ANNOTATION))
        .map(|entry| entry.key_at);
    let at = annotation.node.at;
    if key_at.is_some_and(|key_at| key_at.line < at.line) {
        let text = annotation.node.as_str().unwrap_or_default();
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let line = lines.nth(index).and_then(|(number, _)| u32::try_from(number).ok());
        finding.line = at.line.saturating_add(line.unwrap_or(0));
    }
    finding
}

fn unknown(model: &Model<'_>, host: &str, port: Option<u16>, at: &Cursor<'_>) -> Diagnostic {
    let written = address(host, port);
    let reason = match model.services.bridge {
        _ if host.ends_with(".svc.cluster.local") => "there is no such Service",
        Some(_) => "McpBridge `default` has no such registry",
        None => "there is no McpBridge `default`",
    };
    let diagnostic = at.diagnostic(
        &DESTINATION_UNKNOWN_SERVICE,
        format!("`{written}` names no service: {reason}"),
    );
    match hint(model, host, port) {
        Some(hint) => diagnostic.with_hint(hint),
        None => diagnostic.with_hint("add the registry to McpBridge `default`"),
    }
}

pub(super) fn hint(model: &Model<'_>, host: &str, port: Option<u16>) -> Option<String> {
    let Some((meant, right_port)) = model.services.meant(host) else {
        let (nearest, port) = model.services.nearest(host)?;
        return Some(format!("the nearest is `{}`", address(nearest, port)));
    };
    let mut hint = format!("did you mean `{}`?", address(meant, right_port));
    if let (Some(written), Some(right)) = (port, right_port)
        && written != right
    {
        hint.push_str(&format!(" Its port is {right}, not {written}"));
    }
    Some(hint)
}

fn wrong_port(
    model: &Model<'_>,
    host: &str,
    port: u16,
    ports: &[u16],
    at: &Cursor<'_>,
) -> Diagnostic {
    let right = ports.first().copied();
    let known: Vec<String> = ports.iter().map(u16::to_string).collect();
    let owner = if model.services.registry(host).is_some() { "registry" } else { "Service" };
    let diagnostic = at.diagnostic(
        &DESTINATION_PORT,
        format!(
            "`{}` names port {port}, but the {owner} has {}",
            address(host, Some(port)),
            known.join(", ")
        ),
    );
    let note = host
        .ends_with(".static")
        .then(|| "a static registry is addressed by its `port`, not by its endpoints'".to_owned());
    diagnostic.with_hint(also(format!("write `{}`", address(host, right)), note))
}

/// Higress takes the listener's port then, which is rarely one of them.
fn without_port(host: &str, ports: &[u16], at: &Cursor<'_>) -> Diagnostic {
    let known: Vec<String> = ports.iter().map(u16::to_string).collect();
    let message = format!("`{host}` names no port, and the Service has {}", known.join(", "));
    let right = address(host, ports.first().copied());
    at.diagnostic(&DESTINATION_PORT, message).with_hint(format!("write `{right}`"))
}

pub(super) fn address(host: &str, port: Option<u16>) -> String {
    match port {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Whether no path can use the annotation
/// (Higress: ingressv1/controller.go, backendToRouteDestination).
fn is_ignored(route: &Route<'_>) -> bool {
    let Some(ingress) = &route.ingress else {
        return false;
    };
    let mut backends = ingress
        .rules
        .iter()
        .flat_map(|rule| &rule.paths)
        .map(|path| &path.backend)
        .chain(&ingress.default_backend)
        .peekable();
    backends.peek().is_some() && backends.all(|backend| matches!(backend, Backend::Service { .. }))
}
