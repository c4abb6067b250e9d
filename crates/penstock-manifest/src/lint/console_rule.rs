//! Match rules as the console writes and reads them.

use super::model::{Model, Plugin, Route};
use crate::diagnostic::{
    CONSOLE_DISABLED_RULE, CONSOLE_RULE_STATE, CONSOLE_RULE_TARGETS, Diagnostic,
};
use crate::kind::wasm_plugin::MatchRule;

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for route in model.routes.iter().filter(|route| route.is_of_console()) {
        diagnostics.extend(check_route(model, route));
    }
    for plugin in &model.plugins {
        let is_of_console = plugin.resource.label("higress.io/resource-definer") == Some("higress");
        if !is_of_console {
            continue;
        }
        for rule in all_rules(plugin) {
            diagnostics.extend(check_targets(rule));
        }
        if plugin.wasm.plugin == "key-auth" {
            diagnostics.extend(plugin.wasm.rules.iter().filter_map(check_state));
        }
    }
}

fn all_rules<'m, 'a>(plugin: &'m Plugin<'a>) -> impl Iterator<Item = &'m MatchRule<'a>> {
    plugin.wasm.rules.iter().chain(&plugin.wasm.disabled_rules)
}

fn check_route(model: &Model<'_>, route: &Route<'_>) -> Option<Diagnostic> {
    let name = route.name.as_str();
    let has_rule = model.plugins_of("key-auth").any(|plugin| {
        plugin.rule_of_ingress(name).or(plugin.disabled_rule_of_ingress(name)).is_some()
    });
    if has_rule || model.is_plugin_unclear("key-auth") {
        return None;
    }
    let metadata = route.resource.cursor().get("metadata")?;
    let place = metadata.get("name").unwrap_or(metadata);
    Some(
        place
            .diagnostic(&CONSOLE_DISABLED_RULE, format!("key-auth has no rule for `{name}`"))
            .with_hint(format!("add `ingress: [{name}]` with `configDisable: true`")),
    )
}

fn check_state(rule: &MatchRule<'_>) -> Option<Diagnostic> {
    if rule.cursor.get("configDisable").is_some() {
        return None;
    }
    Some(
        rule.cursor
            .diagnostic(
                &CONSOLE_RULE_STATE,
                format!("`{}` of key-auth has no `configDisable`", rule.cursor.path),
            )
            .with_hint("write `configDisable: false`"),
    )
}

fn check_targets(rule: &MatchRule<'_>) -> Option<Diagnostic> {
    let most = rule.ingress.len().max(rule.domain.len()).max(rule.service.len());
    (most > 1).then(|| {
        rule.cursor
            .diagnostic(
                &CONSOLE_RULE_TARGETS,
                format!("`{}` has several targets of one kind", rule.cursor.path),
            )
            .with_hint("write one rule for each target")
    })
}
