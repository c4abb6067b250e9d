//! key-auth without `global_auth`.

use super::model::Model;
use crate::diagnostic::{Diagnostic, GLOBAL_AUTH_UNSET, Severity};

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for plugin in model.plugins_of("key-auth") {
        let Some(config) = &plugin.wasm.default_config else {
            continue;
        };
        if plugin.consumers.is_empty() || config.get_even_null("global_auth").is_some() {
            continue;
        }
        let (message, severity) = if plugin.wasm.rules.is_empty() {
            (
                "key-auth has consumers, no `global_auth` and no enabled rule: every request needs a credential",
                Severity::Warning,
            )
        } else {
            ("key-auth has consumers but no `global_auth`", GLOBAL_AUTH_UNSET.severity)
        };
        diagnostics.push(
            config
                .diagnostic(&GLOBAL_AUTH_UNSET, message)
                .with_severity(severity)
                .with_hint("write `global_auth: false`, or `true` to protect every route"),
        );
    }
}
