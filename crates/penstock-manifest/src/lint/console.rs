//! What a current console would have written into shared objects.

use super::model::{Model, Plugin, Route, RoutePart};
use crate::diagnostic::{
    CONSOLE_ALLOW, CONSOLE_PROTOCOL, CONSOLE_PROXIES, CONSOLE_STATISTICS, Diagnostic,
};

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    check_protocols(model, diagnostics);
    for plugin in model.plugins_of("key-auth") {
        diagnostics.extend(check_allow(plugin));
    }
    for route in &model.routes {
        diagnostics.extend(check_statistics(model, route));
    }
    diagnostics.extend(check_proxies(model));
}

fn check_protocols(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for provider in &model.providers {
        if provider.entry.get("protocol").is_none() {
            diagnostics.push(
                provider
                    .entry
                    .diagnostic(
                        &CONSOLE_PROTOCOL,
                        format!("provider `{}` has no `protocol`", provider.id),
                    )
                    .with_hint("write `protocol: openai`"),
            );
        }
    }
}

fn check_allow(plugin: &Plugin<'_>) -> Option<Diagnostic> {
    let config = plugin.wasm.default_config.as_ref()?;
    if config.get("consumers").is_none() || config.get("allow").is_some() {
        return None;
    }
    Some(
        config
            .diagnostic(&CONSOLE_ALLOW, "key-auth's global configuration has no `allow`")
            .with_hint("write `allow: []`"),
    )
}

fn check_statistics(model: &Model<'_>, route: &Route<'_>) -> Option<Diagnostic> {
    let name = &*route.resource.key.name;
    let part = model.part_of(name).filter(|_| route.is_in_system())?;
    if model.is_plugin_unclear("ai-statistics") {
        return None;
    }
    let requests = route.requests();
    let is_covered = model.plugins_of("ai-statistics").any(|plugin| {
        !plugin.wasm.default_disabled
            || plugin.rule_of_ingress(name).is_some()
            || (!requests.is_empty()
                && requests.iter().all(|request| plugin.rule_for(request).is_some()))
    });
    let what = match part {
        RoutePart::Main(_) => "AI route",
        RoutePart::Fallback(_) => "fallback",
    };
    let metadata = route.resource.cursor().get("metadata")?;
    let place = metadata.get("name").unwrap_or(metadata);
    (!is_covered).then(|| {
        place
            .diagnostic(
                &CONSOLE_STATISTICS,
                format!("no ai-statistics rule covers the {what} `{name}`"),
            )
            .with_hint("add a rule with `use_default_response_attributes: true`")
    })
}

fn check_proxies(model: &Model<'_>) -> Option<Diagnostic> {
    let spec = model.services.bridge?.spec()?;
    (spec.get("proxies").is_none()).then(|| {
        spec.diagnostic(&CONSOLE_PROXIES, "McpBridge `default` has no `proxies`")
            .with_hint("write `proxies: []`")
    })
}
