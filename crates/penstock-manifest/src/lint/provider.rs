//! References to ai-proxy's providers: ids that nobody has, ids that two have,
//! providers that no rule activates.

use super::model::{Model, Plugin, Provider, active_provider, did_you_mean, listed};
use crate::diagnostic::{
    Diagnostic, PROVIDER_DUPLICATE, PROVIDER_UNKNOWN, PROVIDER_WITHOUT_RULE,
};
use crate::kind::wasm_plugin::MatchRule;
use crate::node::Cursor;

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for plugin in model.plugins_of("ai-proxy") {
        let providers: Vec<&Provider<'_>> = model
            .providers
            .iter()
            .filter(|provider| provider.resource.key == plugin.resource.key)
            .collect();
        let global = plugin.wasm.default_config.as_ref();
        if let Some(global) = global.filter(|global| global.get("provider").is_none()) {
            diagnostics.extend(unknown(plugin, &providers, global));
        }
        for rule in &plugin.wasm.rules {
            diagnostics.extend(check_rule(plugin, &providers, rule));
        }
        for (index, provider) in providers.iter().enumerate() {
            let earlier = providers.get(..index).unwrap_or_default();
            match earlier.iter().find(|earlier| earlier.id == provider.id) {
                Some(earlier) => diagnostics.push(duplicate(provider, earlier)),
                None => diagnostics.extend(without_rule(model, plugin, provider)),
            }
        }
    }
}

/// A rule's own `provider` or `providers` replace the global ones.
fn check_rule(
    plugin: &Plugin<'_>,
    providers: &[&Provider<'_>],
    rule: &MatchRule<'_>,
) -> Option<Diagnostic> {
    let config = rule.config.as_ref()?;
    if config.get("provider").is_some() || config.get("providers").is_some() {
        return None;
    }
    unknown(plugin, providers, config)
}

fn unknown(
    plugin: &Plugin<'_>,
    providers: &[&Provider<'_>],
    config: &Cursor<'_>,
) -> Option<Diagnostic> {
    let (id, cursor) = active_provider(config)?;
    let is_known = providers.iter().any(|provider| provider.id == id);
    let is_global_off = plugin.wasm.default_config.is_none();
    if is_known && !is_global_off {
        return None;
    }
    let mut ids: Vec<&str> = providers.iter().map(|provider| provider.id.as_str()).collect();
    ids.dedup();
    let diagnostic =
        cursor.diagnostic(&PROVIDER_UNKNOWN, format!("ai-proxy has no provider `{id}`"));
    let hint = if is_known {
        Some("set `defaultConfigDisable: false`: the providers are switched off".to_owned())
    } else {
        did_you_mean(&id, &ids)
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

fn without_rule(
    model: &Model<'_>,
    plugin: &Plugin<'_>,
    provider: &Provider<'_>,
) -> Option<Diagnostic> {
    let activates = |config: Option<&Cursor<'_>>| {
        config.and_then(active_provider).is_some_and(|(id, _)| id == provider.id)
    };
    let wasm = &plugin.wasm;
    if activates(wasm.default_config.as_ref())
        || wasm.rules.iter().any(|rule| activates(rule.config.as_ref()))
    {
        return None;
    }
    let disabled = wasm.disabled_rules.iter().find(|rule| activates(rule.config.as_ref()));
    let hint = match disabled {
        Some(rule) => format!("set `configDisable: false` in `{}`", rule.cursor.path),
        None => format!(
            "add a rule with `service: [{}]` and `activeProviderId: {}`",
            service_of(model, &provider.id),
            provider.id
        ),
    };
    let stray = stray_ids(model, plugin);
    let diagnostic = provider.id_cursor().diagnostic(
        &PROVIDER_WITHOUT_RULE,
        match stray.as_slice() {
            [] => format!("no enabled rule activates provider `{}`", provider.id),
            stray => format!(
                "no enabled rule activates provider `{}`, but rules activate {}, which does not exist",
                provider.id,
                listed(stray)
            ),
        },
    );
    Some(diagnostic.with_hint(hint))
}

/// The ids that rules activate and nobody has.
fn stray_ids(model: &Model<'_>, plugin: &Plugin<'_>) -> Vec<String> {
    let rules = plugin.wasm.rules.iter().filter_map(|rule| rule.config.as_ref());
    let mut ids: Vec<String> = rules
        .filter_map(|config| active_provider(config).map(|(id, _)| id))
        .filter(|id| !model.providers.iter().any(|provider| provider.id == *id))
        .collect();
    ids.sort();
    ids.dedup();
    ids
}

/// The service that the console would give to a provider.
fn service_of(model: &Model<'_>, id: &str) -> String {
    let name = format!("llm-{id}.internal");
    let entry = model.services.registries.iter().find(|entry| entry.name() == name);
    match entry {
        Some(entry) => entry.registry.host.to_string(),
        None => format!("{name}.dns"),
    }
}
