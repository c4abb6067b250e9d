//! Match rules that name an Ingress or a service which does not exist.

use super::model::{Candidates, LookUp, Model, Plugin, Route, split_service, targets};
use crate::diagnostic::{Diagnostic, RULE_TARGET_UNKNOWN};
use crate::node::Cursor;
use crate::resource::SYSTEM_NAMESPACE;

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let names = route_names(model);
    let known = Candidates::new(names.iter().map(String::as_str));
    for plugin in &model.plugins {
        check_ingresses(model, plugin, &known, diagnostics);
        check_services(model, plugin, diagnostics);
    }
}

fn check_ingresses(
    model: &Model<'_>,
    plugin: &Plugin<'_>,
    known: &Candidates<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    // The routes of the Gateway API have names of their own.
    if model.resources.iter().any(|resource| &*resource.key.kind == "HTTPRoute") {
        return;
    }
    for rule in &plugin.wasm.rules {
        for (cursor, name) in targets(rule, "ingress") {
            let is_known = known.contains(name);
            if is_known || is_derived(model, name) || may_exist(model, name) {
                continue;
            }
            diagnostics.push(unknown_ingress(model, &cursor, name, known));
        }
    }
}

fn unknown_ingress(
    model: &Model<'_>,
    cursor: &Cursor<'_>,
    name: &str,
    known: &Candidates<'_>,
) -> Diagnostic {
    let diagnostic =
        cursor.diagnostic(&RULE_TARGET_UNKNOWN, format!("there is no Ingress `{name}`"));
    let same_name = model.routes.iter().find(|route| &*route.resource.key.name == name);
    let hint = match same_name {
        Some(route) if route.name != name => Some(format!(
            "Ingress `{name}` is in namespace `{}`: write `{}`",
            route.resource.key.namespace, route.name
        )),
        Some(_) => Some(format!("it has only a defaultBackend: write `{name}-default`")),
        None => known.did_you_mean(name),
    };
    match hint {
        Some(hint) => diagnostic.with_hint(hint),
        None => diagnostic,
    }
}

/// The names of all routes (Higress: pkg/ingress/kube/common/tool.go,
/// GenerateUniqueRouteName). An Ingress that Higress rejects counts: what is
/// wrong with it is said elsewhere.
fn route_names(model: &Model<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for route in &model.routes {
        let has_default =
            route.ingress.as_ref().is_some_and(|ingress| ingress.default_backend.is_some());
        if !route.hosts.is_empty() || !has_default {
            names.push(route.name.clone());
        }
        if has_default {
            names.push(format!("{}-default", route.name));
        }
    }
    names
}

/// Whether a name is that of a route which Higress makes beside an Ingress'
/// own: for error pages and for an application's root.
fn is_derived(model: &Model<'_>, name: &str) -> bool {
    if !name.ends_with("-fallback") && !name.ends_with("-app-root") {
        return false;
    }
    let has = |route: &Route<'_>, key: &str| {
        ["higress.io/", "nginx.ingress.kubernetes.io/"]
            .iter()
            .any(|prefix| route.resource.annotation(&format!("{prefix}{key}")).is_some())
    };
    model.routes.iter().any(|route| {
        let is_fallback = name.strip_suffix("-fallback") == Some(route.name.as_str());
        let is_root = name
            .strip_suffix("-app-root")
            .is_some_and(|host| route.hosts.iter().any(|known| known.text == host));
        (is_fallback && (has(route, "custom-http-errors") || has(route, "default-backend")))
            || (is_root && has(route, "app-root"))
    })
}

fn may_exist(model: &Model<'_>, name: &str) -> bool {
    let (namespace, name) = name.split_once('/').unwrap_or((SYSTEM_NAMESPACE, name));
    let name = name.strip_suffix("-default").unwrap_or(name);
    model.may_exist("Ingress", name)
        && model.broken.iter().filter_map(|document| document.key.as_ref()).any(|key| {
            &*key.kind == "Ingress" && &*key.name == name && &*key.namespace == namespace
        })
}

fn check_services(model: &Model<'_>, plugin: &Plugin<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for rule in &plugin.wasm.rules {
        for (cursor, text) in targets(rule, "service") {
            let (host, port) = split_service(text);
            match (model.services.look_up(&host.to_ascii_lowercase()), port) {
                (LookUp::Missing, port) => {
                    diagnostics.push(unknown_service(model, &cursor, host, port));
                }
                (LookUp::Exists(ports), Some(port))
                    if !ports.is_empty() && !ports.contains(&port) =>
                {
                    diagnostics.push(
                        cursor
                            .diagnostic(
                                &RULE_TARGET_UNKNOWN,
                                format!("service `{host}` has no port {port}"),
                            )
                            .with_hint(format!("write `{host}` for all of its ports")),
                    );
                }
                _ => {}
            }
        }
    }
}

fn unknown_service(
    model: &Model<'_>,
    cursor: &Cursor<'_>,
    host: &str,
    port: Option<u16>,
) -> Diagnostic {
    let diagnostic =
        cursor.diagnostic(&RULE_TARGET_UNKNOWN, format!("there is no service `{host}`"));
    let with_port = |host: &str, right: Option<u16>| match (port, right) {
        (Some(_), Some(right)) => format!("{host}:{right}"),
        _ => host.to_owned(),
    };
    match (model.services.meant(host), model.services.nearest(host)) {
        (Some((meant, right)), _) => {
            diagnostic.with_hint(format!("did you mean `{}`?", with_port(meant, right)))
        }
        (None, Some((nearest, right))) => {
            diagnostic.with_hint(format!("the nearest is `{}`", with_port(nearest, right)))
        }
        (None, None) => diagnostic.with_hint("add the registry to McpBridge `default`"),
    }
}
