//! `logprobsResult`, and OpenAI's `logprobs`, which a choice has.

use serde_json::{Value, json};

/// OpenAI's form of Google's.
pub(super) fn of_google(result: &Value) -> Option<Value> {
    let chosen = result.get("chosenCandidates")?.as_array()?;
    let top = result.get("topCandidates").and_then(Value::as_array);
    let content = chosen.iter().enumerate().map(|(index, token)| {
        let others = top.and_then(|top| top.get(index)?.get("candidates")?.as_array());
        let others: Vec<_> = others.into_iter().flatten().map(to_openai).collect();
        let mut token = to_openai(token);
        if let Value::Object(token) = &mut token {
            token.insert("top_logprobs".into(), others.into());
        }
        token
    });
    Some(json!({"content": content.collect::<Vec<_>>(), "refusal": null}))
}

fn to_openai(token: &Value) -> Value {
    let text = token.get("token").and_then(Value::as_str).unwrap_or_default();
    json!({"token": text, "logprob": token.get("logProbability"), "bytes": text.as_bytes()})
}

/// Google's form of OpenAI's.
pub(super) fn of_openai(logprobs: &Value) -> Option<Value> {
    let content = logprobs.get("content")?.as_array()?;
    let to_google = |token: &Value| json!({"token": token.get("token"), "logProbability": token.get("logprob")});
    let chosen: Vec<_> = content.iter().map(to_google).collect();
    let top = content.iter().map(|token| {
        let top = token.get("top_logprobs").and_then(Value::as_array);
        let candidates: Vec<_> = top.into_iter().flatten().map(to_google).collect();
        json!({"candidates": candidates})
    });
    let top: Vec<_> = top.collect();
    Some(json!({"topCandidates": top, "chosenCandidates": chosen}))
}
