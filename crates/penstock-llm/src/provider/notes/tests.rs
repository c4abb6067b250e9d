use serde_json::json;

use super::*;
use crate::provider::{build, tests::object};

/// Each note as `path` or `path ?` for an unknown field, with its hint.
#[track_caller]
fn check(fields: Value, expected: &[&str]) {
    let mut config = object(fields);
    config.insert("type".into(), "openai".into());
    let notes = match build(&config) {
        Ok(built) => built.notes,
        Err(error) => panic!("{error:?}"),
    };
    let shown: Vec<String> = notes
        .iter()
        .map(|note| {
            let unknown = if note.unknown { " ?" } else { "" };
            let hint = note.hint.as_ref().map(|hint| format!(": {hint}")).unwrap_or_default();
            format!("{}{unknown}{hint}", note.path)
        })
        .collect();
    assert_eq!(shown, expected);
}

#[test]
fn every_known_field_is_known() {
    let known = SHARED.iter().chain(OF_TYPES).chain(OF_CONSOLE);
    check(known.map(|key| (key.to_string(), Value::Null)).collect(), &[]);
}

#[test]
fn unknown_fields_are_told_with_the_nearest_one() {
    check(json!({"apiToken": "x", "zzz": 1}), &["apiToken ?: did you mean `apiTokens`?", "zzz ?"]);
    check(
        json!({"geminiSafetySettings": {}}),
        &["geminiSafetySettings ?: did you mean `geminiSafetySetting`?"],
    );
    check(
        json!({"failover": {"enable": true}, "retryOnFailure": {"maxRetry": 3}}),
        &[
            "failover.enable ?: did you mean `enabled`?",
            "retryOnFailure.maxRetry ?: did you mean `maxRetries`?",
        ],
    );
}

#[test]
fn fields_that_ask_for_what_nobody_does_are_told() {
    check(
        json!({
            "failover": {"enabled": true, "healthCheckModel": "m"},
            "retryOnFailure": {"enabled": "true"},
            "context": {"fileUrl": "http://a.test/f", "serviceName": "s", "servicePort": 1},
            "customSettings": [{"name": "max_tokens", "value": 1}],
            "promoteThinkingOnEmpty": true,
            "logUpstreamErrorResponseBody": true,
            "hiclawMode": true,
            "reasoningContentMode": "Concat",
            "subPath": "/a",
            "authHeaderKey": "x-my-key",
        }),
        &[
            "logUpstreamErrorResponseBody",
            "reasoningContentMode: in Higress only type `qwen` with `qwenEnableCompatible: false` \
             does",
            "subPath: `basePath` removes a prefix",
            "authHeaderKey: the client's token is read from `x-api-key`, `x-authorization` and \
             `Authorization`",
        ],
    );
}

#[test]
fn fields_that_are_switched_off_are_not_told() {
    check(
        json!({
            "failover": {"enabled": false},
            "retryOnFailure": {"enabled": false, "maxRetries": 3},
            "customSettings": [],
            "promoteThinkingOnEmpty": false,
            "reasoningContentMode": "passthrough",
            "subPath": "",
            "timeout": 1000,
        }),
        &[],
    );
}

#[test]
fn values_without_effect_are_told() {
    check(
        json!({"apiTokens": ["a", ""]}),
        &["apiTokens[1]: put the token there, or remove the entry"],
    );
    check(
        json!({"basePath": "/a", "basePathHandling": "remove"}),
        &["basePathHandling: `removePrefix` or `prepend`"],
    );
    check(
        json!({"capabilities": {
            "openai/v1/chatcompletion": "/x",
            "anthropic/v1/messages": "/x",
            "kling/v1/image2video": "/x",
        }}),
        &[
            "capabilities[\"openai/v1/chatcompletion\"] ?: did you mean \
             `openai/v1/chatcompletions`?",
            "capabilities[\"anthropic/v1/messages\"] ?",
        ],
    );
}
