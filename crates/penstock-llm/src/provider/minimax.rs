//! `minimax`: its second API, which speaks OpenAI's format on a path of its
//! own. The older one, `pro`, is not built.

use super::Note;
use super::fields::Fields;
use super::preset::{Original, Preset, VENDOR, idle, planned_mode};
use crate::api::Api;
use crate::error::ConfigError;

/// The row of `minimax` (Higress: provider/minimax.go).
pub(super) const PRESET: Preset = Preset {
    name: "minimax",
    host: "api.minimax.chat",
    path: |api| (api == Api::ChatCompletions).then_some("/v1/text/chatcompletion_v2"),
    check,
    original: Original::OwnPaths,
    ..VENDOR
};

fn check(fields: &Fields<'_>, notes: &mut Vec<Note>) -> Result<(), ConfigError> {
    match fields.text("minimaxApiType")?.as_str() {
        "" | "v2" => {}
        "pro" => return Err(planned_mode("minimax", "minimaxApiType", "pro")),
        _ => notes.push(Note {
            hint: Some("`v2` or `pro`".into()),
            ..idle("minimaxApiType", "`minimaxApiType` has an unknown value, so it is `v2`")
        }),
    }
    if !fields.text("minimaxGroupId")?.is_empty() {
        let message = "`minimaxGroupId` is only for `minimaxApiType: pro`";
        notes.push(idle("minimaxGroupId", message));
    }
    Ok(())
}
