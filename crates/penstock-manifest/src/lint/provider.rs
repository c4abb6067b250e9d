//! References to ai-proxy's providers: ids that nobody has, ids that two have,
//! providers that no rule activates.

use std::collections::{HashMap, HashSet};

use super::model::{Model, Plugin, Provider, active_provider, closest, did_you_mean};
use crate::diagnostic::{Diagnostic, PROVIDER_DUPLICATE, PROVIDER_UNKNOWN, PROVIDER_WITHOUT_RULE};
use crate::kind::wasm_plugin::MatchRule;
use crate::node::Cursor;

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for plugin in model.plugins_of("ai-proxy") {
        let providers: Vec<&Provider<'_>> = model
            .providers
            .iter()
            .filter(|provider| provider.resource.key == plugin.resource.key)
            .collect();
        let mut first: HashMap<&str, &Provider<'_>> = HashMap::new();
        for provider in &providers {
            match first.get(provider.id.as_str()) {
                Some(earlier) => diagnostics.push(duplicate(provider, earlier)),
                None => drop(first.insert(&provider.id, provider)),
            }
        }
        let mut ids: Vec<&str> = first.keys().copied().collect();
        ids.sort_unstable();
        check_references(plugin, &ids, diagnostics);
        let active = Active::new(plugin, &ids);
        for provider in &providers {
            let is_first = first.get(&*provider.id).is_some_and(|f| std::ptr::eq(*f, *provider));
            if is_first && !active.ids.contains(&provider.id) {
                diagnostics.push(without_rule(model, &active, provider));
            }
        }
    }
}

/// What the rules of an ai-proxy activate.
struct Active {
    /// The ids that an enabled rule writes, or means and misspells: a slip is
    /// one finding, at the rule.
    ids: HashSet<String>,
    /// The paths of disabled rules, by the id they would activate.
    disabled: HashMap<String, String>,
}

impl Active {
    fn new(plugin: &Plugin<'_>, known: &[&str]) -> Self {
        let rules = plugin.wasm.rules.iter().filter_map(|rule| rule.config.as_ref());
        let written: HashSet<String> = rules
            .chain(&plugin.wasm.default_config)
            .filter_map(|config| active_provider(config).map(|(id, _)| id))
            .collect();
        let misspelt = written.iter().filter(|id| !known.contains(&id.as_str()));
        let meant: Vec<String> =
            misspelt.filter_map(|id| closest(id, known)).map(str::to_owned).collect();
        let disabled = plugin.wasm.disabled_rules.iter().filter_map(|rule| {
            let (id, _) = active_provider(rule.config.as_ref()?)?;
            Some((id, rule.cursor.path.to_string()))
        });
        Self { disabled: disabled.collect(), ids: written.into_iter().chain(meant).collect() }
    }
}

fn check_references(plugin: &Plugin<'_>, ids: &[&str], diagnostics: &mut Vec<Diagnostic>) {
    let global = plugin.wasm.default_config.as_ref();
    if let Some(global) = global.filter(|global| global.get("provider").is_none()) {
        diagnostics.extend(unknown(plugin, ids, global));
    }
    for rule in &plugin.wasm.rules {
        diagnostics.extend(check_rule(plugin, ids, rule));
    }
}

/// A rule's own `provider` or `providers` replace the global ones.
fn check_rule(plugin: &Plugin<'_>, ids: &[&str], rule: &MatchRule<'_>) -> Option<Diagnostic> {
    let config = rule.config.as_ref()?;
    if config.get("provider").is_some() || config.get("providers").is_some() {
        return None;
    }
    unknown(plugin, ids, config)
}

fn unknown(plugin: &Plugin<'_>, ids: &[&str], config: &Cursor<'_>) -> Option<Diagnostic> {
    let (id, cursor) = active_provider(config)?;
    let is_known = ids.contains(&id.as_str());
    let is_global_off = plugin.wasm.default_config.is_none();
    if is_known && !is_global_off {
        return None;
    }
    let diagnostic =
        cursor.diagnostic(&PROVIDER_UNKNOWN, format!("ai-proxy has no provider `{id}`"));
    let hint = if is_known {
        Some("set `defaultConfigDisable: false`: the providers are switched off".to_owned())
    } else {
        did_you_mean(&id, ids)
    };
    Some(match hint {
        Some(hint) => diagnostic.with_hint(hint),
        None => diagnostic.with_hint("add it to `defaultConfig.providers`"),
    })
}

fn duplicate(provider: &Provider<'_>, earlier: &Provider<'_>) -> Diagnostic {
    provider
        .id_cursor()
        .diagnostic(
            &PROVIDER_DUPLICATE,
            format!(
                "provider `{}` is also defined at line {}, and that one counts",
                provider.id,
                earlier.id_cursor().node.at.line
            ),
        )
        .with_hint("remove one of the two, or give it another id")
}

fn without_rule(model: &Model<'_>, active: &Active, provider: &Provider<'_>) -> Diagnostic {
    let hint = match active.disabled.get(&provider.id) {
        Some(rule) => format!("set `configDisable: false` in `{rule}`"),
        None => format!(
            "add a rule with `service: [{}]` and `activeProviderId: {}`",
            service_of(model, &provider.id),
            provider.id
        ),
    };
    provider
        .id_cursor()
        .diagnostic(
            &PROVIDER_WITHOUT_RULE,
            format!("no enabled rule activates provider `{}`", provider.id),
        )
        .with_hint(hint)
}

/// The service that the console would give to a provider.
fn service_of(model: &Model<'_>, id: &str) -> String {
    let host = |kind: &str| format!("llm-{id}.internal.{kind}");
    match model.services.registry(&host("static")) {
        Some(entry) => entry.registry.host.to_string(),
        None => host("dns"),
    }
}
