//! Authentication plugins that let requests pass when they cannot run.

use super::model::Model;
use crate::diagnostic::{AUTH_FAIL_OPEN, Diagnostic};

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for plugin in &model.plugins {
        let category = plugin.resource.label("higress.io/wasm-plugin-category");
        let authenticates = plugin.wasm.authenticates() || category == Some("auth");
        if !authenticates || !plugin.wasm.fail_open || !plugin.is_active() {
            continue;
        }
        let Some(cursor) = &plugin.wasm.fail_strategy else {
            continue;
        };
        diagnostics.push(
            cursor
                .diagnostic(
                    &AUTH_FAIL_OPEN,
                    format!(
                        "`{}` fails open: Higress lets every request pass whenever it cannot be loaded",
                        plugin.wasm.plugin
                    ),
                )
                .with_hint("write `failStrategy: FAIL_CLOSE`"),
        );
    }
}
