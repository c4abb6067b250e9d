//! Last good versions: of a resource, an entry, a rule.

use std::collections::HashMap;
use std::sync::Arc;

use penstock_manifest::diagnostic::{LAST_GOOD_IN_FORCE, ROUTE_CLOSED};
use penstock_manifest::kind::wasm_plugin::WasmPlugin;
use penstock_manifest::template::{Scrubber, Secrets, is_unresolved, unmark};
use penstock_manifest::{Diagnostic, Node, Resource, ResourceKey, Value};

use super::{CLOSES_ALL, certificates, is_usable, tls_secrets};
use crate::plugin;

/// The resources to compile.
pub(super) struct Admitted {
    pub(super) resources: Vec<Arc<Resource>>,
    /// Findings about WasmPlugins that cannot be used and have no last good
    /// version.
    pub(super) lost_plugins: Vec<Diagnostic>,
}

/// Replaces what cannot be used by its last good version where there is one.
/// Findings of the reading itself are reported when the result is compiled,
/// except for those of a resource that is replaced or dropped.
///
/// Everything is judged with references to Secrets that lead nowhere marked,
/// and passed on as it was written.
pub(super) fn admit(
    resources: &[Arc<Resource>],
    previous: &[Arc<Resource>],
    (secrets, scrubber): (&Secrets<'_>, &mut Scrubber),
    diagnostics: &mut Vec<Diagnostic>,
) -> Admitted {
    let before: HashMap<&ResourceKey, &Arc<Resource>> =
        previous.iter().map(|resource| (&resource.key, resource)).collect();
    let mut admitted =
        Admitted { resources: Vec::with_capacity(resources.len()), lost_plugins: Vec::new() };
    let https = certificates::https(resources, &mut Vec::new());
    let uses = tls_secrets::referred(resources, https);
    for resource in resources {
        let marked = secrets.mark(resource, diagnostics);
        let old = before.get(&resource.key).copied();
        if old.is_some_and(|old| Arc::ptr_eq(old, resource)) {
            admitted.resources.push(resource.clone());
            continue;
        }
        let old_marked = old.and_then(|old| secrets.mark(old, &mut Vec::new()));
        let good = old_marked.as_ref().or(old.map(|old| &**old));
        let filled = secrets.fill(resource, scrubber);
        let mut findings = Vec::new();
        let uses = match &*resource.key.kind {
            "Secret" => {
                let key = (&*resource.key.namespace, &*resource.key.name);
                uses.get(&(key.0.into(), key.1.into())).copied().unwrap_or_default()
            }
            _ => tls_secrets::Uses::default(),
        };
        if is_usable(filled.as_ref().unwrap_or(resource), uses, &mut findings)
            && !keeps_old_route(marked.as_ref(), good)
        {
            let new = marked.as_ref().unwrap_or(resource);
            let repaired = good.and_then(|good| repair(new, good, diagnostics));
            admitted.resources.push(repaired.map_or_else(
                || resource.clone(),
                |mut repaired| {
                    unmark(&mut repaired.root);
                    Arc::new(repaired)
                },
            ));
            continue;
        }
        // A Secret may have been kept for another use.
        let is_good = |old: &&Arc<Resource>| {
            &*old.key.kind != "Secret" || is_usable(old, uses, &mut Vec::new())
        };
        let old = old.filter(is_good);
        if old.is_none() && counts_unread(&resource.key.kind) {
            admitted.resources.push(resource.clone());
            continue;
        }
        diagnostics.append(&mut findings);
        match old {
            Some(old) => {
                diagnostics.push(kept(resource, &resource.key.to_string()));
                admitted.resources.push(old.clone());
            }
            None if &*resource.key.kind == "WasmPlugin" => {
                let at = resource.name_at();
                admitted.lost_plugins.push(Diagnostic::at(
                    &ROUTE_CLOSED,
                    &resource.source,
                    at,
                    CLOSES_ALL,
                ));
            }
            None => {}
        }
    }
    admitted
}

/// Whether a resource of a kind counts also where it cannot be read: that
/// endpoints are there keeps others from standing in for them, and so does an
/// authority. Compiling says what is wrong with it, where something leads to
/// it.
fn counts_unread(kind: &str) -> bool {
    matches!(kind, "EndpointSlice" | "Endpoints" | "Secret" | "Service")
}

/// Whether an Ingress refers to a Secret that is not there, and did not
/// before.
fn keeps_old_route(marked: Option<&Resource>, old: Option<&Resource>) -> bool {
    marked.is_some_and(|marked| &*marked.key.kind == "Ingress")
        && old.is_some_and(|old| !is_unresolved(&old.root))
}

fn kept(resource: &Resource, what: &str) -> Diagnostic {
    Diagnostic::at(
        &LAST_GOOD_IN_FORCE,
        &resource.source,
        resource.name_at(),
        format!("the last good version of {what} stays in force"),
    )
}

/// The resource with last good entries in place of broken ones; `None` where
/// nothing had to be replaced.
fn repair(new: &Resource, old: &Resource, diagnostics: &mut Vec<Diagnostic>) -> Option<Resource> {
    match &*new.key.kind {
        "WasmPlugin" => repair_plugin(new, old, diagnostics),
        _ => None,
    }
}

fn repair_plugin(
    new: &Resource,
    old: &Resource,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Resource> {
    let parsed = WasmPlugin::parse(new, &mut Vec::new())?;
    let row = plugin::find(&parsed.plugin)?;
    let mut findings = Vec::new();
    let built = row.build.map(|build| build(&parsed, &mut findings));
    let is_clean = findings.iter().all(|f| f.severity != penstock_manifest::Severity::Error);
    let is_whole = !is_unresolved(&new.root);
    if built.is_none() || (is_clean && is_whole && parsed.rules_without_target == 0) {
        return None;
    }
    let mut repaired = new.clone();
    let mut what = Vec::new();
    for field in ["defaultConfig", "pluginConfig"] {
        let old_config = old.root.get("spec").and_then(|spec| spec.get(field));
        if let (Some(repair), Some(old_config)) = (row.repair, old_config)
            && let Some(config) = spec_field(&mut repaired, field)
        {
            what.extend(repair(config, old_config));
        }
    }
    if !is_whole {
        what.extend(restore_configs(&mut repaired, row.repair.is_none(), old));
    }
    if parsed.rules_without_target > 0 {
        what.extend(restore_rules(&mut repaired, &parsed, old));
    }
    if what.is_empty() {
        return None;
    }
    // The findings are about the new text; what is compiled is the repaired
    // one, which has none.
    diagnostics.append(&mut findings);
    WasmPlugin::parse(new, diagnostics);
    diagnostics.push(kept(new, &what.join(", ")));
    Some(repaired)
}

fn spec_field<'a>(resource: &'a mut Resource, field: &str) -> Option<&'a mut Node> {
    resource.root.get_mut("spec")?.get_mut(field)
}

/// Configurations that refer to a Secret that is not there: that of a rule by
/// that of the rule with the same targets, and the default one where the
/// plugin cannot take it apart.
fn restore_configs(repaired: &mut Resource, restores_default: bool, old: &Resource) -> Vec<String> {
    let mut what = Vec::new();
    let is_good = |node: &&Node| !is_unresolved(node);
    let Some(old) = old.root.get("spec") else {
        return what;
    };
    let default = spec_field(repaired, "defaultConfig").filter(|node| is_unresolved(node));
    if let Some(config) = default.filter(|_| restores_default)
        && let Some(before) = old.get("defaultConfig").filter(is_good)
    {
        *config = before.clone();
        what.push("defaultConfig".to_owned());
    }
    let old_rules = old.get("matchRules").and_then(Node::as_list).unwrap_or_default();
    let Some(Value::List(rules)) = spec_field(repaired, "matchRules").map(|node| &mut node.value)
    else {
        return what;
    };
    for (index, rule) in rules.iter_mut().enumerate() {
        let has_targets_of = |other: &&Node| {
            ["ingress", "domain", "service"].iter().all(|key| rule.get(key) == other.get(key))
        };
        let before = old_rules.iter().find(has_targets_of).and_then(|old| old.get("config"));
        if let Some(config) = rule.get_mut("config").filter(|config| is_unresolved(config))
            && let Some(before) = before.filter(is_good)
        {
            *config = before.clone();
            what.push(format!("matchRules[{index}].config"));
        }
    }
    what
}

/// A rule that lost its target may be any of the rules that were there
/// before: those whose targets no rule names any more stay in force.
fn restore_rules(repaired: &mut Resource, new: &WasmPlugin<'_>, old: &Resource) -> Vec<String> {
    let Some(old) = WasmPlugin::parse(old, &mut Vec::new()) else {
        return Vec::new();
    };
    let named = |rule: &penstock_manifest::kind::wasm_plugin::MatchRule<'_>| {
        let rules = new.rules.iter().chain(&new.disabled_rules);
        rules.into_iter().any(|other| {
            other.ingress == rule.ingress
                && other.domain == rule.domain
                && other.service == rule.service
        })
    };
    let lost: Vec<_> = old.rules.iter().filter(|rule| !named(rule)).collect();
    let Some(rules) = spec_field(repaired, "matchRules") else {
        return Vec::new();
    };
    let Value::List(rules) = &mut rules.value else {
        return Vec::new();
    };
    rules.extend(lost.iter().map(|rule| rule.cursor.node.clone()));
    lost.iter()
        .map(|rule| {
            let targets: Vec<&str> =
                rule.ingress.iter().chain(&rule.domain).chain(&rule.service).copied().collect();
            format!("the rule for `{}`", targets.join("`, `"))
        })
        .collect()
}
