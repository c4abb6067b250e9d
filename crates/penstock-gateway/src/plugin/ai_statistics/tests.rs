use http::header::HeaderValue;
use serde_json::json;

use super::super::testing::{findings, plugin, request, run};
use super::collect::LongText;
use super::*;

const CHAT: &str = "/v1/chat/completions";
const ASKED: &str = r#"{"model":"asked","messages":[{"role":"system","content":"s"},
    {"role":"user","content":"one"},{"role":"user","content":"two"}],"system":"be kind"}"#;
const STREAM: &str = concat!(
    "data: {\"id\":\"c1\",\"model\":\"gpt\",\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
    "data: {\"id\":\"c1\",\"model\":\"gpt\",\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n",
    "data: {\"id\":\"c1\",\"model\":\"gpt\",\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\n",
    "data: {\"id\":\"c1\",\"model\":\"gpt\",\"choices\":[{\"delta\":{\"content\":\"lo\"},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"id\":\"c1\",\"model\":\"gpt\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2,\"total_tokens\":11,\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n",
    "data: [DONE]\n\n",
);
const BODY: &str = r#"{"id":"c2","model":"gpt","choices":[{"message":{"content":"Hello","tool_calls":[{"id":"t"}]}}],
    "usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"completion_tokens_details":{"reasoning_tokens":1}}}"#;

/// The access line and the metrics of one request.
fn serve(
    config: &str,
    (path, headers): (&str, &[(&str, &str)]),
    sent: &str,
    (status, answer): (u16, &str),
) -> (Value, String) {
    let statistics = plugin("ai-statistics", config);
    let mut cx = request(path, headers, sent);
    cx.record.route = Some("chat".into());
    cx.record.service = Some("llm-acme.internal.dns".into());
    cx.record.service_port = Some(443);
    assert_eq!(run(&*statistics, &mut cx), "continue");
    let is_stream = answer.starts_with("data") || answer.starts_with("event");
    cx.record.is_stream = is_stream;
    let content_type = if is_stream { "text/event-stream" } else { "application/json" };
    let mut answer_headers = HeaderMap::new();
    answer_headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
    answer_headers.insert("x-served-by", HeaderValue::from_static("u1"));
    let chunks: Vec<&[u8]> = answer.as_bytes().chunks(7).collect();
    cx.record.answer_in_test((StatusCode::from_u16(status).unwrap(), &answer_headers), &chunks)
}

/// The members of `ai_log` without the durations.
#[track_caller]
fn check(config: &str, answer: &str, expected: Value) {
    let headers = [("content-type", "application/json"), ("x-agent-session", "s1"), ("x-a", "b")];
    let (line, _) = serve(config, (CHAT, &headers), ASKED, (200, answer));
    let mut log = line["ai_log"].clone();
    for duration in ["llm_service_duration", "llm_first_token_duration"] {
        log.as_object_mut().unwrap().remove(duration);
    }
    assert_eq!(log, expected, "{config}");
}

/// `ai_log` without attributes, and these besides.
fn with(is_stream: bool, more: Value) -> Value {
    let mut log = json!({
        "api": "-", "session_id": "s1", "chat_round": 2,
        "response_type": if is_stream { "stream" } else { "normal" },
        "chat_id": if is_stream { "c1" } else { "c2" },
        "model": "gpt", "input_token": 9, "output_token": 2, "total_token": 11,
    });
    let details = match is_stream {
        true => ("input_token_details", json!({"cached_tokens": 4})),
        false => ("output_token_details", json!({"reasoning_tokens": 1})),
    };
    log[details.0] = details.1;
    for (key, value) in more.as_object().unwrap() {
        log[key] = value.clone();
    }
    log
}

#[test]
fn requests_and_answers_are_described() {
    check("{}", STREAM, with(true, json!({})));
    check("{}", BODY, with(false, json!({})));
}

#[test]
fn attributes_come_from_everywhere() {
    let attributes = |list: &str| format!("{{attributes: [{list}]}}");
    check(
        &attributes(
            "{key: f, value_source: fixed_value, value: v, apply_to_log: true}, \
             {key: h, value_source: request_header, value: X-A, apply_to_log: true}, \
             {key: none, value_source: request_header, value: x-none, apply_to_log: true}, \
             {key: d, value_source: request_header, value: x-none, default_value: dd, apply_to_log: true}, \
             {key: b, value_source: request_body, value: messages.0, apply_to_log: true}, \
             {key: r, value_source: response_header, value: x-served-by, apply_to_log: true}, \
             {key: o, value_source: response_body, value: choices.0.message.content, apply_to_log: true}, \
             {key: hidden, value_source: fixed_value, value: v}, \
             {key: s, value_source: response_streaming_body, value: x, rule: first, default_value: nope, apply_to_log: true}",
        ),
        BODY,
        with(
            false,
            json!({"f": "v", "h": "b", "d": "dd", "b": {"role": "system", "content": "s"}, "r": "u1", "o": "Hello"}),
        ),
    );
    let rule = |rule: &str| {
        attributes(&format!(
            "{{key: s, value_source: response_streaming_body, value: choices.0.delta.content, rule: {rule}, apply_to_log: true}}"
        ))
    };
    check(&rule("first"), STREAM, with(true, json!({"s": "Hel"})));
    check(&rule("replace"), STREAM, with(true, json!({"s": "lo"})));
    check(&rule("append"), STREAM, with(true, json!({"s": "Hello"})));
}

#[test]
fn default_attributes_know_where_to_look() {
    let details = "{\"cached_tokens\":4}";
    check(
        "{use_default_attributes: true}",
        STREAM,
        with(
            true,
            json!({
                "messages": serde_json::from_str::<Value>(ASKED).unwrap()["messages"],
                "question": "two", "system": "be kind", "answer": "Hello", "reasoning": "hm",
                "cached_tokens": 4, "input_token_details": details,
            }),
        ),
    );
    check(
        "{use_default_response_attributes: true}",
        BODY,
        with(
            false,
            json!({"reasoning_tokens": 1, "output_token_details": "{\"reasoning_tokens\":1}"}),
        ),
    );
    check(
        "{attributes: [{key: answer, apply_to_log: true}, {key: tool_calls, apply_to_log: true}]}",
        BODY,
        with(false, json!({"answer": "Hello", "tool_calls": [{"id": "t"}]})),
    );
}

#[test]
fn tool_calls_are_put_together() {
    let config = "{attributes: [{key: tool_calls, apply_to_log: true}]}";
    let check = |events: &[Value], expected: Value| {
        let stream: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
        let (line, _) = serve(config, (CHAT, &[]), "{}", (200, &stream));
        assert_eq!(line["ai_log"]["tool_calls"], expected);
    };
    let delta = |calls: Value| json!({"choices": [{"delta": {"tool_calls": calls}}]});
    check(
        &[
            delta(
                json!([{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]),
            ),
            delta(json!([{"index": 0, "function": {"arguments": "{\"x\":"}}])),
            delta(json!([{"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}}])),
            delta(json!([{"index": 0, "function": {"arguments": "1}"}}])),
        ],
        json!([
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}},
            {"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}},
        ]),
    );
    check(
        &[
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text"}}),
            json!({"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}}}),
            json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{\"x\""}}),
            json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": ":1}"}}),
        ],
        json!([{"index": 1, "id": "t", "type": "tool_use", "function": {"name": "f", "arguments": "{\"x\":1}"}}]),
    );
}

#[test]
fn long_values_lose_their_middle() {
    let check = |bytes_max: usize, pieces: &[&str], expected: &str| {
        let mut text = LongText::new(bytes_max);
        pieces.iter().for_each(|piece| text.push(piece));
        assert_eq!(text.finish(), expected, "{bytes_max} {pieces:?}");
    };
    check(10, &["12345", "67890"], "1234567890");
    check(4, &["12345", "67890"], "12 [truncated] 90");
    check(4, &["1234567890"], "12 [truncated] 90");
    check(4, &["1", "2", "3", "4"], "1234");
    check(4, &["üüü"], "ü [truncated] ü");
    check(5, &["1", "üüü"], "1 [truncated] ü");
    let many = vec!["0123456789"; 100];
    check(6, &many, "012 [truncated] 789");
    let config = "{value_length_limit: 4, attributes: [{key: f, value_source: fixed_value, value: '123456', apply_to_log: true}, \
         {key: b, value_source: request_body, value: messages.0, apply_to_log: true}]}";
    let (line, _) =
        serve(config, (CHAT, &[("content-type", "application/json")]), ASKED, (200, BODY));
    assert_eq!(line["ai_log"]["f"], "12 [truncated] 56");
    assert_eq!(line["ai_log"]["b"], "{\" [truncated] \"}");
}

#[test]
fn fields_of_their_own_stand_in_the_line() {
    let config = "{attributes: [{key: mine, value_source: request_body, value: messages.#, apply_to_log: true, as_separate_log_field: true}]}";
    let (line, _) = serve(config, (CHAT, &[]), ASKED, (200, BODY));
    assert_eq!((&line["mine"], &line["ai_log"]["mine"]), (&json!("3"), &Value::Null));
}

#[test]
fn tokens_are_counted_by_route_cluster_model_and_consumer() {
    let labels = |model: &str, consumer: &str| {
        format!(
            "{{ai_route=\"chat\",ai_cluster=\"outbound|443||llm-acme.internal.dns\",ai_model=\"{model}\",ai_consumer=\"{consumer}\"}}"
        )
    };
    let counted = |metrics: &str, name: &str, labels: &str| {
        metrics.contains(&format!("route_upstream_model_consumer_metric_{name}{labels} "))
    };
    let consumer: &[(&str, &str)] = &[("x-mse-consumer", "team-a")];
    let (line, metrics) = serve("{}", (CHAT, consumer), ASKED, (200, STREAM));
    for name in [
        "input_token",
        "output_token",
        "total_token",
        "llm_duration_count",
        "llm_stream_duration_count",
    ] {
        assert!(counted(&metrics, name, &labels("gpt", "team-a")), "{name} {metrics}");
    }
    assert!(!counted(&metrics, "llm_failure_count", &labels("gpt", "team-a")));
    assert_eq!(line["input_tokens"], 9);
    let (_, metrics) = serve("{}", (CHAT, &[]), ASKED, (200, BODY));
    assert!(counted(&metrics, "total_token", &labels("gpt", "none")), "{metrics}");
    assert!(!counted(&metrics, "llm_stream_duration_count", &labels("gpt", "none")));
    let check_failure = |config: &str, status: u16, answer: &str, model: &str| {
        let (_, metrics) = serve(config, (CHAT, &[]), ASKED, (status, answer));
        let labels = labels(model, "none");
        assert!(counted(&metrics, "llm_failure_count", &labels), "{answer} {metrics}");
        assert!(!counted(&metrics, "llm_duration_count", &labels), "{answer}");
    };
    check_failure("{}", 200, r#"{"error":{"code":5}}"#, "asked");
    check_failure("{}", 502, "", "asked");
    check_failure(
        "{disable_openai_usage: true}",
        200,
        "data: {\"error\":\"x\",\"model\":\"m\"}\n\n",
        "m",
    );
    let (_, metrics) = serve("{disable_openai_usage: true}", (CHAT, &[]), ASKED, (200, BODY));
    assert!(!metrics.contains("route_upstream_model"), "{metrics}");
}

#[test]
fn paths_and_content_types_can_be_chosen() {
    let check = |config: &str, path: &str, expected: &[&str]| {
        let (line, metrics) = serve(config, (path, &[]), ASKED, (200, BODY));
        let members = line["ai_log"].as_object().cloned().unwrap_or_default();
        let found: Vec<&str> = ["api", "chat_round", "model"]
            .into_iter()
            .filter(|key| members.contains_key(*key))
            .collect();
        assert_eq!(found, expected, "{config} {path}");
        assert_eq!(metrics.contains("route_upstream"), expected.contains(&"model"));
    };
    check("{enable_path_suffixes: [/completions]}", CHAT, &["api", "chat_round", "model"]);
    check("{enable_path_suffixes: [/messages]}", CHAT, &[]);
    check("{enable_path_suffixes: [/messages, '*']}", CHAT, &["api", "chat_round", "model"]);
    check("{use_default_response_attributes: true}", "/v1/embeddings", &[]);
    check("{enable_content_types: [event-stream]}", CHAT, &["api", "chat_round"]);
    // What is no LLM request is not read.
    check("{}", "/other", &["api", "model"]);
}

#[test]
fn mistakes_are_told_and_close_nothing() {
    let check = |config: &str, expected: &[&str]| {
        let (built, findings) = findings("ai-statistics", config);
        let codes: Vec<&str> = findings.iter().map(|finding| &finding[..5]).collect();
        assert_eq!(codes, expected, "{config} {findings:?}");
        assert_eq!(built.default.unwrap().kind(), "observes", "{config}");
    };
    let attribute =
        |fields: &str| format!("{{attributes: [{{key: k, apply_to_log: true, {fields}}}]}}");
    check(&attribute("value_source: fixed_value, value: v"), &[]);
    check(&attribute("value_source: response_body, value: a, rule: last"), &["PS208"]);
    check(&attribute("value_source: elsewhere, value: a"), &["PS208"]);
    check(&attribute("value: a"), &["PS208"]);
    check(&attribute("value_source: response_body, value: 'a.@pretty'"), &["PS208"]);
    check(&attribute("value_source: request_header, value: 'a b'"), &["PS208"]);
    check(&attribute("value_source: request_header"), &["PS208"]);
    check(&attribute("value_source: response_streaming_body, value: a"), &["PS208"]);
    check(&attribute("value_source: fixed_value, value: v, apply_to_span: true"), &["PS505"]);
    check(&attribute("value_source: fixed_value, vallue: v"), &["PS202"]);
    check(
        "{attributes: [{key: status, apply_to_log: true, as_separate_log_field: true, value_source: fixed_value, value: v}]}",
        &["PS208"],
    );
    check("{attributes: [{apply_to_log: true}]}", &["PS208"]);
    check(
        "{attributes: 5, value_length_limit: x, enable_path_suffixes: y}",
        &["PS201", "PS201", "PS201"],
    );
    check("{session_id_header: 'a b'}", &["PS208"]);
}

#[test]
fn a_model_may_stand_in_the_path() {
    let check = |path: &str, expected: Option<&str>| {
        assert_eq!(model_of_path(&path.parse().unwrap()).as_deref(), expected, "{path}");
    };
    check("/v1beta/models/gemini-pro:generateContent?alt=sse", Some("gemini-pro"));
    check("/v1beta/models/gemini-pro:countTokens", None);
    check("/v1/models", None);
}

#[test]
fn nothing_is_counted_where_nothing_is_known() {
    let (line, metrics) = serve("{}", (CHAT, &[]), ASKED, (200, r#"{"id":"x"}"#));
    assert!(!metrics.contains("route_upstream"), "{metrics}");
    assert_eq!(line["ai_log"]["model"], Value::Null);
}
