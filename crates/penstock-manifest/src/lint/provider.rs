//! References to ai-proxy's providers: ids that nobody has, providers that no
//! rule activates.

use std::collections::{HashMap, HashSet};

use super::model::{Candidates, Model, Plugin, Provider, active_provider};
use crate::diagnostic::{Diagnostic, PROVIDER_UNKNOWN, PROVIDER_WITHOUT_RULE};
use crate::kind::wasm_plugin::MatchRule;
use crate::node::Cursor;

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for plugin in model.plugins_of("ai-proxy") {
        let providers: Vec<&Provider<'_>> = model
            .providers
            .iter()
            .filter(|provider| provider.resource.key == plugin.resource.key)
            .collect();
        let ids = Candidates::new(providers.iter().map(|provider| provider.id.as_str()));
        check_references(plugin, &ids, diagnostics);
        let active = Active::new(plugin, &ids);
        let mut seen = HashSet::new();
        for provider in providers {
            if !active.ids.contains(&provider.id) && seen.insert(&provider.id) {
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
    fn new(plugin: &Plugin<'_>, known: &Candidates<'_>) -> Self {
        let rules = plugin.wasm.rules.iter().filter_map(|rule| rule.config.as_ref());
        let written: HashSet<String> = rules
            .chain(&plugin.wasm.default_config)
            .filter_map(|config| active_provider(config).map(|(id, _)| id))
            .collect();
        let misspelt = written.iter().filter(|id| !known.contains(id));
        let meant: Vec<String> =
            misspelt.filter_map(|id| known.closest(id)).map(str::to_owned).collect();
        let disabled = plugin.wasm.disabled_rules.iter().filter_map(|rule| {
            let (id, _) = active_provider(rule.config.as_ref()?)?;
            Some((id, rule.cursor.path.to_string()))
        });
        Self { disabled: disabled.collect(), ids: written.into_iter().chain(meant).collect() }
    }
}

fn check_references(plugin: &Plugin<'_>, ids: &Candidates<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let global = plugin.wasm.default_config.as_ref();
    if let Some(global) = global.filter(|global| global.get("provider").is_none()) {
        diagnostics.extend(unknown(plugin, ids, global));
    }
    for rule in &plugin.wasm.rules {
        diagnostics.extend(check_rule(plugin, ids, rule));
    }
}

/// A rule's own `provider` or `providers` replace the global ones.
fn check_rule(
    plugin: &Plugin<'_>,
    ids: &Candidates<'_>,
    rule: &MatchRule<'_>,
) -> Option<Diagnostic> {
    let config = rule.config.as_ref()?;
    if config.get("provider").is_some() || config.get("providers").is_some() {
        return None;
    }
    unknown(plugin, ids, config)
}

fn unknown(plugin: &Plugin<'_>, ids: &Candidates<'_>, config: &Cursor<'_>) -> Option<Diagnostic> {
    let (id, cursor) = active_provider(config)?;
    let is_known = ids.contains(&id);
    let is_global_off = plugin.wasm.default_config.is_none();
    if is_known && !is_global_off {
        return None;
    }
    let diagnostic =
        cursor.diagnostic(&PROVIDER_UNKNOWN, format!("ai-proxy has no provider `{id}`"));
    let hint = if is_known {
        Some("set `defaultConfigDisable: false`: the providers are switched off".to_owned())
    } else {
        ids.did_you_mean(&id)
    };
    Some(match hint {
        Some(hint) => diagnostic.with_hint(hint),
        None => diagnostic.with_hint("add it to `defaultConfig.providers`"),
    })
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
