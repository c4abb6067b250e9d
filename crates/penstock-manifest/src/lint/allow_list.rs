//! Allow lists that name nobody, and consumers that nobody can be.

use super::model::{Candidates, Consumer, Model, Plugin, is_switched_off};
use crate::diagnostic::{ALLOW_EMPTY, ALLOW_UNKNOWN_CONSUMER, CONSUMER_DUMMY_KEY, Diagnostic};
use crate::kind::wasm_plugin::MatchRule;
use crate::node::{Cursor, Node};

/// The authentications whose rules allow consumers by name.
const WITH_CONSUMERS: &[&str] =
    &["basic-auth", "hmac-auth", "hmac-auth-apisix", "jwt-auth", "key-auth"];

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for plugin in &model.plugins {
        if !WITH_CONSUMERS.contains(&plugin.wasm.plugin.as_str()) || is_anonymous(plugin) {
            continue;
        }
        let known = names(&plugin.consumers);
        for rule in &plugin.wasm.rules {
            check_rule(plugin, rule, &known, diagnostics);
        }
        if plugin.wasm.plugin == "key-auth" {
            check_keys(&plugin.consumers, diagnostics);
        }
    }
    check_ai_routes(model, diagnostics);
}

fn names<'a>(consumers: &[Consumer<'a>]) -> Candidates<'a> {
    Candidates::new(consumers.iter().map(|consumer| consumer.name))
}

/// Whether credentials have no names, so that `allow` has no meaning.
fn is_anonymous(plugin: &Plugin<'_>) -> bool {
    plugin.wasm.default_config.as_ref().is_some_and(|config| config.get("credentials").is_some())
}

fn check_rule(
    plugin: &Plugin<'_>,
    rule: &MatchRule<'_>,
    global: &Candidates<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let config = rule.config.as_ref();
    let has = |key: &str| config.is_some_and(|config| config.get(key).is_some());
    let local = names(&config.map(Consumer::all).unwrap_or_default());
    let consumers = if has("consumers") { &local } else { global };
    let allow = config.and_then(|config| config.get("allow"));
    if let Some(allow) = &allow {
        let is_off = plugin.wasm.default_disabled && !has("consumers");
        let fix = if is_off { "set `defaultConfigDisable: false`" } else { "add the consumer" };
        check_names(allow, consumers, fix, diagnostics);
    }
    let is_local = has("consumers") || has("credentials");
    let is_empty = match &allow {
        None => true,
        Some(allow) => allow.node.as_list().is_some_and(<[Node]>::is_empty),
    };
    // The Go build refuses such a rule, and says so where it is compiled.
    if plugin.wasm.plugin != "key-auth"
        || plugin.wasm.is_go
        || is_switched_off(rule)
        || is_local
        || !is_empty
    {
        return;
    }
    let place = allow.as_ref().or(config).unwrap_or(&rule.cursor);
    diagnostics.push(
        place
            .diagnostic(
                &ALLOW_EMPTY,
                format!("`{}` allows nobody: every request is denied", rule.cursor.path),
            )
            .with_hint("name consumers in `allow`, or set `configDisable: true`"),
    );
}

fn check_names(
    allow: &Cursor<'_>,
    known: &Candidates<'_>,
    fix: &str,
    diagnostics: &mut Vec<Diagnostic>,
) {
    for item in allow.items() {
        let Some(name) = item.node.as_str().filter(|name| !known.contains(name)) else {
            continue;
        };
        let diagnostic =
            item.diagnostic(&ALLOW_UNKNOWN_CONSUMER, format!("there is no consumer `{name}`"));
        diagnostics.push(match known.did_you_mean(name) {
            Some(hint) => diagnostic.with_hint(hint),
            None => diagnostic.with_hint(fix),
        });
    }
}

fn check_keys(consumers: &[Consumer<'_>], diagnostics: &mut Vec<Diagnostic>) {
    for consumer in consumers.iter().filter(|consumer| consumer.has_only_dummy_key()) {
        diagnostics.push(
            consumer
                .entry
                .diagnostic(
                    &CONSUMER_DUMMY_KEY,
                    format!(
                        "the credential of consumer `{}` is looked for under `x-higress-dummy-key`",
                        consumer.name
                    ),
                )
                .with_hint("give it `keys: [Authorization]`"),
        );
    }
}

/// The names in the JSON, which the console writes back into the rule.
fn check_ai_routes(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let mut plugins = model.plugins_of("key-auth").peekable();
    if plugins.peek().is_none() || model.is_plugin_unclear("key-auth") {
        return;
    }
    let known =
        Candidates::new(plugins.flat_map(|plugin| &plugin.consumers).map(|consumer| consumer.name));
    for ai_route in &model.ai_routes {
        if let Some(allowed) = ai_route.auth().and_then(|auth| auth.get("allowedConsumers")) {
            check_names(&allowed, &known, "add the consumer", diagnostics);
        }
    }
}
