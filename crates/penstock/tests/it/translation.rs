//! Clients of one chat API whose provider speaks another one.

use serde_json::{Value, json};

use crate::support::upstream::EVENT_STREAM;
use crate::support::*;

/// A harbor whose provider is of another type.
fn of_type(lines: &str) -> Harbor {
    let change = |directory: &Directory| {
        directory.edit(
            "wasmplugins/ai-proxy.internal.yaml",
            "      type: openai\n      protocol: openai\n      openaiCustomUrl: http://api.brook.test/v1\n",
            lines,
        );
    };
    Harbor::served(Scenario::Completion, change, |serve| serve)
}

fn claude() -> Harbor {
    of_type("      type: claude\n      providerDomain: api.brook.test\n")
}

fn ask(path: &str, body: &Value) -> Request {
    Request::post(HOST, path, body.to_string()).key(HERON_KEY)
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn json_answer(body: &Value) -> Scenario {
    let body = body.to_string();
    let head = format!("Content-Type: application/json\r\nContent-Length: {}", body.len());
    Scenario::raw(&head, &body)
}

fn question(stream: bool) -> Value {
    json!({"model": "gpt-4o", "stream": stream, "max_tokens": 9,
        "messages": [{"role": "user", "content": "hi"}]})
}

/// The data of each event.
fn events(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]").map(json_of).collect()
}

fn claude_answer() -> Value {
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
        "content": [{"type": "text", "text": "aye"}], "stop_reason": "end_turn",
        "usage": {"input_tokens": 3, "output_tokens": 2}})
}

const CLAUDE_STREAM: &[&str] = &[
    r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_1","model":"claude","usage":{"input_tokens":3,"output_tokens":1}}}

"#,
    r#"event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

"#,
    r#"event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"aye"}}

"#,
    r#"event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}

event: message_stop
data: {"type":"message_stop"}

"#,
];

#[test]
fn a_client_of_openais_gets_an_answer_of_anthropics() {
    let harbor = claude();
    harbor.upstream.once(json_answer(&claude_answer()));
    let answer = harbor.gateway.send(&ask("/v1/chat/completions", &question(false)));
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let body = json_of(&answer.text());
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["choices"][0]["message"]["content"], "aye");
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    assert_eq!(
        body["usage"],
        json!({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5})
    );
    assert!(body["created"].as_u64().unwrap() > 1_700_000_000);
    let received = harbor.upstream.received();
    assert_eq!(received.target(), "/v1/messages");
    assert_eq!(received.header("x-api-key"), Some("sk-brook-2718"));
    assert_eq!(received.header("anthropic-version"), Some("2023-06-01"));
    assert_eq!(
        (received.header("authorization"), received.header("host")),
        (None, Some("api.brook.test"))
    );
    let sent = json_of(received.text());
    assert_eq!((&sent["model"], &sent["max_tokens"]), (&json!("brook-large"), &json!(9)));
    let line = harbor.gateway.access_log.of_request(&answer);
    assert_eq!((&line["input_tokens"], &line["output_tokens"]), (&json!(3), &json!(2)));
}

#[test]
fn a_stream_is_translated_as_it_comes() {
    let harbor = claude();
    let steps = harbor.upstream.stepped();
    let mut question = question(true);
    question["stream_options"] = json!({"include_usage": true});
    let mut connection = harbor.gateway.begin(&ask("/v1/chat/completions", &question));
    steps.write(EVENT_STREAM);
    for piece in CLAUDE_STREAM {
        // Cut where it hurts.
        let (start, rest) = piece.split_at(piece.len() / 2);
        steps.chunk(start);
        steps.chunk(rest);
    }
    steps.finish();
    let answer = connection.answer();
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let text = answer.text();
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    let events = events(&text);
    let said: String = events
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(said, "aye");
    let usage = events.iter().find(|event| event["usage"].is_object()).unwrap();
    assert_eq!(usage["usage"]["total_tokens"], 5);
}

#[test]
fn what_is_no_answer_is_told_before_anything_goes_out() {
    let harbor = claude();
    for scenario in [
        Scenario::raw("Content-Type: text/html\r\nContent-Length: 17", "<html>busy</html>"),
        json_answer(&json!({"type": "error", "error": {"message": "no"}})),
        json_answer(&json!([])),
    ] {
        harbor.upstream.once(scenario);
        let answer = harbor.gateway.send(&ask("/v1/chat/completions", &question(false)));
        check_openai_error(&answer, 502, "api_error", "upstream_invalid");
    }
    harbor.upstream.once(Scenario::Status(
        529,
        r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
    ));
    let answer = harbor.gateway.send(&ask("/v1/chat/completions", &question(true)));
    assert_eq!(answer.status(), 529);
    assert_eq!(json_of(&answer.text())["error"]["message"], "Overloaded");
    harbor.upstream.once(Scenario::Bytes(b"HTTP/1.1 204 No Content\r\n\r\n".into()));
    let answer = harbor.gateway.send(&ask("/v1/chat/completions", &question(false)));
    assert_eq!((answer.status(), answer.text().as_str()), (204, ""));
}

#[test]
fn a_whole_answer_becomes_a_stream_and_a_stream_a_whole() {
    let harbor = claude();
    harbor.upstream.once(json_answer(&claude_answer()));
    let answer = harbor.gateway.send(&ask("/v1/chat/completions", &question(true)));
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert!(answer.text().ends_with("data: [DONE]\n\n"));
    let stream = CLAUDE_STREAM.concat();
    let head = format!("Content-Type: text/event-stream\r\nContent-Length: {}", stream.len());
    harbor.upstream.once(Scenario::raw(&head, &stream));
    let answer = harbor.gateway.send(&ask("/v1/chat/completions", &question(false)));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(json_of(&answer.text())["choices"][0]["message"]["content"], "aye");
}

#[test]
fn a_client_of_anthropics_gets_an_answer_of_openais() {
    let harbor = Harbor::start();
    let question = json!({"model": "gpt-4o", "max_tokens": 9, "system": "S",
        "messages": [{"role": "user", "content": "hi"}]});
    let answer = harbor.gateway.send(&ask("/v1/messages?beta=true", &question));
    let body = json_of(&answer.text());
    assert_eq!((answer.status(), &body["type"]), (200, &json!("message")), "{body}");
    assert_eq!(body["content"], json!([{"type": "text", "text": "aye"}]));
    assert_eq!(body["usage"], json!({"input_tokens": 11, "output_tokens": 7}));
    let received = harbor.upstream.received();
    assert_eq!(received.target(), "/v1/chat/completions");
    assert_eq!(received.header("authorization"), Some("Bearer sk-brook-2718"));
    let sent = json_of(received.text());
    assert_eq!(sent["messages"][0], json!({"role": "system", "content": "S"}));
    assert_eq!(sent["model"], "brook-large");
    harbor.upstream.once(Scenario::Status(429, r#"{"error":{"message":"slow down"}}"#));
    let answer = harbor.gateway.send(&ask("/v1/messages", &question));
    let expected = json!({"type": "error",
        "error": {"type": "rate_limit_error", "message": "slow down"}});
    assert_eq!((answer.status(), json_of(&answer.text())), (429, expected));
    let wrong =
        json!({"model": "gpt-4o", "messages": [{"role": "user", "content": [{"type": "image"}]}]});
    let answer = harbor.gateway.send(&ask("/v1/messages", &wrong));
    let told = json_of(&answer.text())["error"]["message"].as_str().unwrap().to_owned();
    assert_eq!(answer.status(), 400);
    assert!(told.contains("`messages[0].content[0].source` is missing"), "{told}");
}

#[test]
fn clients_of_google_and_of_responses_reach_openais_format() {
    let harbor = Harbor::start();
    let contents = json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]});
    let path = "/v1/models/gpt-4o:generateContent";
    let answer = harbor.gateway.send(&ask(path, &contents));
    let body = json_of(&answer.text());
    assert_eq!(body["candidates"][0]["content"]["parts"], json!([{"text": "aye"}]), "{body}");
    assert_eq!(json_of(harbor.upstream.received().text())["model"], "brook-large");
    let answer =
        harbor.gateway.send(&ask("/v1/responses", &json!({"model": "gpt-4o", "input": "hi"})));
    // OpenAI has Responses itself.
    assert_eq!(harbor.upstream.received().target(), "/v1/responses");
    assert_eq!(answer.status(), 200);
    let harbor = of_type("      type: moonshot\n      providerDomain: api.brook.test\n");
    let answer =
        harbor.gateway.send(&ask("/v1/responses", &json!({"model": "gpt-4o", "input": "hi"})));
    let body = json_of(&answer.text());
    assert_eq!(
        (&body["object"], &body["status"]),
        (&json!("response"), &json!("completed")),
        "{body}"
    );
    assert_eq!(body["output"][0]["content"][0]["text"], "aye");
    assert_eq!(harbor.upstream.received().target(), "/v1/chat/completions");
}

#[test]
fn a_large_body_is_translated_as_a_small_one() {
    let harbor = claude();
    let text = "x".repeat(1 << 20);
    let mut large = claude_answer();
    large["content"][0]["text"] = json!(text);
    harbor.upstream.once(json_answer(&large));
    let mut question = question(false);
    question["messages"][0]["content"] = json!(text);
    let answer = harbor.gateway.send(&ask("/v1/chat/completions", &question));
    assert_eq!(json_of(&answer.text())["choices"][0]["message"]["content"], text.as_str());
    assert_eq!(json_of(harbor.upstream.received().text())["messages"][0]["content"], text.as_str());
}
