//! What single vendors want changed in a body, besides the model. A rule
//! gets the whole JSON text and gives it back changed, or nothing.
//!
//! What a request of Anthropic's API asks of these vendors (its `thinking`)
//! is not here: that is known only while it is translated.

use crate::api::Api;
use crate::error::LlmError;
use crate::json::edit::{self, Repeated};

/// The body as the vendor wants it; `None` where it stays.
///
/// The text is one JSON object. Errors are the client's fault.
pub(super) type BodyRule = fn(Api, &str) -> Result<Option<String>, LlmError>;

/// Higress: provider/doubao.go — the Responses API knows no choice of tools,
/// and images come without a watermark unless it is asked for.
pub(super) fn doubao(api: Api, body: &str) -> Result<Option<String>, LlmError> {
    match api {
        Api::Responses => Ok(edit::without(body, &["parallel_tool_calls", "tool_choice"])),
        Api::ImageGenerations => set(body, &["watermark"], "false", false),
        _ => Ok(None),
    }
}

/// Higress: provider/openrouter.go — `reasoning_max_tokens` is written as
/// `reasoning.max_tokens`, and a budget goes before an effort.
pub(super) fn openrouter(api: Api, body: &str) -> Result<Option<String>, LlmError> {
    const BUDGET: &str = "reasoning_max_tokens";
    if api != Api::ChatCompletions || !body.contains(BUDGET) {
        return Ok(None);
    }
    let budget = edit::member(body, BUDGET).and_then(|raw| raw.parse::<f64>().ok());
    let Some(budget) = budget.filter(|budget| *budget != 0.0) else { return Ok(None) };
    let rest = edit::without(body, &[BUDGET, "reasoning_effort"]);
    let body = rest.as_deref().unwrap_or(body);
    Ok(set(body, &["reasoning", "max_tokens"], &budget.to_string(), true)?.or(rest))
}

/// Higress: provider/zhipuai.go — thinking is on or off, without degrees.
pub(super) fn zhipuai(api: Api, body: &str) -> Result<Option<String>, LlmError> {
    const EFFORT: &str = "reasoning_effort";
    if api != Api::ChatCompletions || !body.contains(EFFORT) {
        return Ok(None);
    }
    if matches!(edit::member(body, EFFORT), None | Some("null" | "\"\"")) {
        return Ok(None);
    }
    let rest = edit::without(body, &[EFFORT]);
    let body = rest.as_deref().unwrap_or(body);
    Ok(set(body, &["thinking"], r#"{"type":"enabled"}"#, true)?.or(rest))
}

fn set(
    body: &str,
    keys: &[&str],
    value: &str,
    overwrites: bool,
) -> Result<Option<String>, LlmError> {
    edit::set(body, keys, value, overwrites).map_err(|Repeated| twice(keys))
}

/// The vendor may take the other one.
pub(super) fn twice(keys: &[&str]) -> LlmError {
    LlmError::InvalidRequest(format!("the body has a member of `{}` twice", keys.join(".")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a body; `-` where it stays.
    #[track_caller]
    fn check(rule: BodyRule, api: Api, body: &str, expected: &str) {
        let edited = rule(api, body).unwrap();
        assert_eq!(edited.as_deref().unwrap_or("-"), expected);
    }

    #[test]
    fn doubao_wants_no_choice_of_tools_and_no_watermark() {
        let body = r#"{"model":"m","tool_choice":"auto","input":[],"parallel_tool_calls":true}"#;
        check(doubao, Api::Responses, body, r#"{"model":"m","input":[]}"#);
        check(doubao, Api::ChatCompletions, body, "-");
        check(doubao, Api::ImageGenerations, r#"{"n":1}"#, r#"{"watermark":false,"n":1}"#);
        check(doubao, Api::ImageGenerations, r#"{"watermark":true}"#, "-");
    }

    #[test]
    fn openrouter_has_a_budget_of_its_own() {
        let check = |body: &str, expected: &str| {
            check(openrouter, Api::ChatCompletions, body, expected);
        };
        check(
            r#"{"reasoning_effort":"high","n":1,"reasoning_max_tokens":2000}"#,
            r#"{"reasoning":{"max_tokens":2000},"n":1}"#,
        );
        check(
            r#"{"reasoning_max_tokens":2000,"reasoning":{"exclude":true}}"#,
            r#"{"reasoning":{"max_tokens":2000,"exclude":true}}"#,
        );
        check(
            r#"{"reasoning_max_tokens":5,"reasoning":{"max_tokens":5}}"#,
            r#"{"reasoning":{"max_tokens":5}}"#,
        );
        check(r#"{"reasoning_effort":"high"}"#, "-");
        check(r#"{"reasoning_max_tokens":0,"reasoning_effort":"high"}"#, "-");
        check(r#"{"user":"reasoning_max_tokens"}"#, "-");
    }

    #[test]
    fn zhipuai_thinks_or_does_not() {
        let check = |body: &str, expected: &str| {
            check(zhipuai, Api::ChatCompletions, body, expected);
        };
        let on = r#""thinking":{"type":"enabled"}"#;
        check(r#"{"reasoning_effort":"low"}"#, &format!("{{{on}}}"));
        check(r#"{"n":1,"reasoning_effort":"low"}"#, &format!("{{{on},\"n\":1}}"));
        check(r#"{"thinking":{"type":"disabled"},"reasoning_effort":"low"}"#, &format!("{{{on}}}"));
        check(r#"{"thinking":{"type":"disabled"}}"#, "-");
        check(r#"{"reasoning_effort":null}"#, "-");
        check(r#"{"messages":[{"reasoning_effort":"low"}]}"#, "-");
    }

    #[test]
    fn what_is_there_twice_is_refused() {
        let error = openrouter(
            Api::ChatCompletions,
            r#"{"reasoning_max_tokens":5,"reasoning":{},"reasoning":{}}"#,
        );
        let message = "the body has a member of `reasoning.max_tokens` twice";
        assert_eq!(error, Err(LlmError::InvalidRequest(message.into())));
    }
}
