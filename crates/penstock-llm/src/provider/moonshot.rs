//! `moonshot`: like most vendors, but streams report their usage inside the
//! first choice, where no client looks for it.

use super::Note;
use super::fields::{Fields, invalid};
use super::preset::{Preset, VENDOR, idle};
use crate::api::Api;
use crate::error::{ConfigError, LlmError};
use crate::json;
use crate::json::edit;
use crate::stage::{BodyStage, Output, Piece, Step};

/// The row of `moonshot` (Higress: provider/moonshot.go).
pub(super) const PRESET: Preset = Preset {
    name: "moonshot",
    host: "api.moonshot.cn",
    path: |api| match api {
        Api::ChatCompletions | Api::Models => api.default_path(),
        _ => None,
    },
    check,
    stream_stage: Some(|| Box::new(UsageMover)),
    ..VENDOR
};

/// Higress: provider/moonshot.go — the file is checked but never used.
fn check(fields: &Fields<'_>, notes: &mut Vec<Note>) -> Result<(), ConfigError> {
    if fields.text("moonshotFileId")?.is_empty() {
        return Ok(());
    }
    if fields.object("context")?.is_some() {
        let message = "moonshotFileId and context cannot be configured at the same time";
        return Err(invalid("moonshotFileId", message));
    }
    notes.push(idle("moonshotFileId", "`moonshotFileId` has no effect, here as in Higress"));
    Ok(())
}

/// Moves `choices[0].usage` of each event to its top.
struct UsageMover;

impl BodyStage for UsageMover {
    fn push(&mut self, piece: Piece, output: &mut Output) -> Result<Step, LlmError> {
        let data = piece.event.as_ref().and_then(|event| std::str::from_utf8(&event.data).ok());
        let moved = data.and_then(with_usage_on_top);
        output.push(match moved {
            Some(data) => piece.with_data(&data),
            None => piece,
        });
        Ok(Step::More)
    }

    fn finish(&mut self, _: &mut Output) -> Result<Step, LlmError> {
        Ok(Step::More)
    }
}

/// The event with its usage on top; `None` where none is in the first choice.
fn with_usage_on_top(data: &str) -> Option<String> {
    if !data.contains("\"usage\"") {
        return None;
    }
    let choice = *json::elements(edit::member(data, "choices")?).ok()?.first()?;
    let usage = edit::member(choice, "usage").filter(|usage| *usage != "null")?;
    let rest = edit::without(choice, &["usage"])?;
    let data = edit::put(data, json::range_in(data, choice), &rest);
    let on_top = edit::set(&data, &["usage"], usage, true).ok()?;
    Some(on_top.unwrap_or(data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(data: &str, expected: Option<&str>) {
        assert_eq!(with_usage_on_top(data).as_deref(), expected);
    }

    #[test]
    fn the_usage_goes_to_the_top() {
        check(
            r#"{"id":"c","choices":[{"index":0,"delta":{},"usage":{"total_tokens":3}}]}"#,
            Some(r#"{"usage":{"total_tokens":3},"id":"c","choices":[{"index":0,"delta":{}}]}"#),
        );
        check(
            r#"{"choices":[{"usage":{"total_tokens":3}},{"usage":{}}],"usage":null}"#,
            Some(r#"{"choices":[{},{"usage":{}}],"usage":{"total_tokens":3}}"#),
        );
        check(r#"{"choices":[{"usage":null}]}"#, None);
        check(r#"{"choices":[],"usage":{"total_tokens":3}}"#, None);
        check(r#"{"choices":[{"delta":{"content":"\"usage\""}}]}"#, None);
        check("[DONE]", None);
    }
}
