//! Request bodies: which bytes change, which never do, what is buffered and
//! what passes through.

use crate::support::*;

const LIMIT: usize = 64 << 10;

/// The scenario with other fields for its provider, in flow style.
fn with_provider(fields: &str) -> Harbor {
    Harbor::changed(Scenario::Completion, |directory| {
        let (file, text) = Plugin::ai_proxy()
            .default_config(&format!("{{providers: [{{id: brook, type: openai, {fields}}}]}}"))
            .rule("{service: [llm-brook.internal.static], config: {activeProviderId: brook}}")
            .file();
        directory.write(&file, text);
    })
}

/// What the upstream gets for a POST of JSON.
fn sent(harbor: &Harbor, path: &str, body: &str) -> String {
    let answer = harbor.gateway.send(&Request::post(HOST, path, body).key(HERON_KEY));
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let received = harbor.upstream.received();
    assert_eq!(received.header("content-length"), Some(received.body.len().to_string().as_str()));
    received.text().to_owned()
}

#[test]
fn model_mapping_changes_the_model_and_no_other_byte() {
    let harbor = with_provider(
        r#"modelMapping: {"gpt-4": exact, "gpt-*": short, "gpt-4-*": long, "~^o(\\d)$": "reason-$1", "~mini": tiny, keep: "", "*": rest}"#,
    );
    let check = |asked: &str, expected: &str| {
        let body = |model: &str| {
            format!(
                "{{ \"messages\" :\t[ ],\r\n\"nested\":{{\"model\":\"gpt-4\"}}, \"model\" : {model} , \"temperature\":1.0e0,\"ü\":\"\\u00fc\"}} "
            )
        };
        assert_eq!(sent(&harbor, "/v1/chat/completions", &body(asked)), body(expected));
    };
    check(r#""gpt-4""#, r#""exact""#);
    check(r#""gpt-4o""#, r#""short""#);
    check(r#""gpt-4-turbo""#, r#""long""#);
    check(r#""o3""#, r#""reason-3""#);
    check(r#""a-mini-b""#, r#""a-tiny-b""#);
    check(r#""keep""#, r#""keep""#);
    check(r#""other""#, r#""rest""#);
    check(r#""gpt\u002d4""#, r#""exact""#);
    check("null", r#""rest""#);
}

#[test]
fn a_request_without_a_model_gets_that_of_the_last_rule() {
    let harbor = with_provider(r#"modelMapping: {"*": rest}"#);
    assert_eq!(
        sent(&harbor, "/v1/chat/completions", r#"{"messages":[]}"#),
        r#"{"model":"rest","messages":[]}"#
    );
    assert_eq!(sent(&harbor, "/v1/chat/completions", "{}"), r#"{"model":"rest"}"#);
}

#[test]
fn without_a_mapping_the_bytes_stay() {
    let harbor = with_provider("apiTokens: [t]");
    for body in [
        r#"{"model":"m"}"#,
        " {\n \"messages\": [], \"x\" : 1.50 }\n",
        r#"{"a":1,"a":2,"model":"\ud83d\udea2"}"#,
    ] {
        assert_eq!(sent(&harbor, "/v1/chat/completions", body), body);
    }
}

#[test]
fn a_stream_is_asked_for_its_usage() {
    let harbor = with_provider("apiTokens: [t]");
    let check = |body: &str, expected: &str| {
        assert_eq!(sent(&harbor, "/v1/chat/completions", body), expected);
    };
    check(
        r#"{"model":"m","stream":true}"#,
        r#"{"stream_options":{"include_usage":true},"model":"m","stream":true}"#,
    );
    check(
        r#"{"stream_options":{"a":1},"stream":true}"#,
        r#"{"stream_options":{"include_usage":true,"a":1},"stream":true}"#,
    );
    for kept in
        [r#"{"stream_options":{"include_usage":false},"stream":true}"#, r#"{"stream":false}"#]
    {
        check(kept, kept);
    }
    let embeddings = r#"{"model":"m","stream":true}"#;
    assert_eq!(sent(&harbor, "/v1/embeddings", embeddings), embeddings);
}

#[test]
fn the_role_developer_becomes_system() {
    let harbor = with_provider("apiTokens: [t]");
    let body = |role: &str| {
        format!(
            r#"{{"messages":[{{"role": "{role}" ,"content":"developer"}},{{"role":"user","content":"x"}}]}}"#
        )
    };
    assert_eq!(sent(&harbor, "/v1/chat/completions", &body("developer")), body("system"));
}

#[test]
fn the_protocol_original_leaves_bodies_alone() {
    let harbor = with_provider(r#"protocol: original, modelMapping: {"*": rest}"#);
    let body = r#"{"model":"m","stream":true,"messages":[{"role":"developer","content":""}]}"#;
    assert_eq!(sent(&harbor, "/v1/chat/completions", body), body);
    let no_json = "not JSON at all";
    assert_eq!(sent(&harbor, "/v1/chat/completions", no_json), no_json);
}

#[test]
fn every_token_is_used_and_a_stateful_api_keeps_to_one() {
    let harbor = with_provider("apiTokens: [one, two, three]");
    let tokens = |path: &str| {
        let mut seen: Vec<String> = (0..60)
            .map(|_| sent_to(&harbor, &Request::post(HOST, path, "{}").key(HERON_KEY)))
            .collect();
        seen.sort();
        seen.dedup();
        seen
    };
    assert_eq!(tokens("/v1/chat/completions"), ["Bearer one", "Bearer three", "Bearer two"]);
    assert_eq!(tokens("/v1/responses").len(), 1);
}

/// The credential that the upstream gets.
fn sent_to(harbor: &Harbor, request: &Request) -> String {
    assert_eq!(harbor.gateway.send(request).status(), 200);
    harbor.upstream.received().header("authorization").unwrap().to_owned()
}

#[test]
fn a_custom_url_moves_host_and_path() {
    let check = |url: &str, asked: &str, host: &str, target: &str| {
        let harbor = with_provider(&format!("openaiCustomUrl: \"{url}\""));
        harbor.gateway.send(&Request::post(HOST, asked, "{}").key(HERON_KEY));
        let received = harbor.upstream.received();
        assert_eq!(
            (received.header("host").unwrap(), received.target()),
            (host, target),
            "{url} {asked}"
        );
    };
    check("https://api.acme.test/v1", "/v1/embeddings", "api.acme.test", "/v1/embeddings");
    check(
        "http://10.0.0.5:8000/llm",
        "/v1/x/v1/chat/completions",
        "10.0.0.5:8000",
        "/llm/chat/completions",
    );
    check("https://acme.test", "/v1/chat/completions", "acme.test", "/chat/completions");
    check("acme.test/v1/", "/v1/chat/completions", "acme.test", "/v1/chat/completions");
    check(
        "https://acme.test/v1/chat/completions",
        "/v1/embeddings?a=b",
        "acme.test",
        "/v1/chat/completions",
    );
    check(
        "https://acme.test/v1/realtime/sessions",
        "/v1/realtime",
        "acme.test",
        "/v1/realtime/sessions/realtime",
    );
    check("https://acme.test/base", "/v1/unheard-of?a=b", "acme.test", "/v1/unheard-of?a=b");
}

#[test]
fn the_query_is_kept() {
    let harbor = Harbor::start();
    harbor
        .gateway
        .send(&Request::post(HOST, "/v1/chat/completions?a=1&b=%20%2F&&c", CHAT).key(HERON_KEY));
    assert_eq!(harbor.upstream.received().target(), "/v1/chat/completions?a=1&b=%20%2F&&c");
}

#[test]
fn every_path_of_the_openai_api_is_passed_on() {
    let harbor = Harbor::start();
    let paths = [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/audio/speech",
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
        "/v1/images/generations",
        "/v1/images/variations",
        "/v1/images/edits",
        "/v1/batches",
        "/v1/files",
        "/v1/models",
        "/v1/fine_tuning/jobs",
        "/v1/responses",
        "/v1/videos",
        "/v1/batches/b-1",
        "/v1/batches/b-1/cancel",
        "/v1/files/f-1",
        "/v1/files/f-1/content",
        "/v1/videos/v-1",
        "/v1/videos/v-1/content",
        "/v1/videos/v-1/remix",
        "/v1/fine_tuning/jobs/j-1",
        "/v1/fine_tuning/jobs/j-1/events",
        "/v1/fine_tuning/jobs/j-1/checkpoints",
        "/v1/fine_tuning/jobs/j-1/cancel",
        "/v1/fine_tuning/jobs/j-1/resume",
        "/v1/fine_tuning/jobs/j-1/pause",
        "/v1/fine_tuning/checkpoints/c-1/permissions",
        "/v1/fine_tuning/checkpoints/c-1/permissions/p-1",
    ];
    for path in paths {
        for request in [Request::post(HOST, path, "{}"), Request::get(HOST, path)] {
            assert_eq!(harbor.gateway.send(&request.key(HERON_KEY)).status(), 200, "{path}");
            let received = harbor.upstream.received();
            assert_eq!(received.target(), path);
            assert_eq!(received.header("authorization"), Some("Bearer sk-brook-2718"));
        }
    }
}

#[test]
fn multipart_passes_untouched() {
    let harbor = with_provider(r#"modelMapping: {"*": rest}"#);
    let body = b"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n\x00\xff\r\n--b--\r\n";
    let request = Request::new("POST", HOST, "/v1/audio/transcriptions")
        .header("Content-Type", "multipart/form-data; boundary=b")
        .key(HERON_KEY)
        .body(body.as_slice());
    assert_eq!(harbor.gateway.send(&request).status(), 200);
    let received = harbor.upstream.received();
    assert_eq!(received.body, body);
    assert_eq!(received.header("content-type"), Some("multipart/form-data; boundary=b"));
}

#[test]
fn an_encoded_body_passes_untouched() {
    let harbor = with_provider(r#"modelMapping: {"*": rest}"#);
    let body = b"\x1f\x8b\x08\x00 pretend";
    let request = Request::post(HOST, "/v1/chat/completions", body.as_slice())
        .header("Content-Encoding", "gzip")
        .key(HERON_KEY);
    assert_eq!(harbor.gateway.send(&request).status(), 200);
    assert_eq!(harbor.upstream.received().body, body);
}

/// The head of an upload that is not buffered.
fn upload(path: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {HERON_KEY}\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes()
}

#[test]
fn a_body_that_only_passes_through_is_not_held_back() {
    let harbor = Harbor::start();
    let steps = harbor.upstream.stepped();
    let mut client = harbor.gateway.connect();
    client.write(&upload("/v1/files"));
    assert_eq!(harbor.upstream.received().header("transfer-encoding"), Some("chunked"));
    for part in ["first part", "second part", "third"] {
        client.write_chunk(part.as_bytes());
        let expected = format!("{:X}\r\n{part}\r\n", part.len());
        assert_eq!(String::from_utf8(steps.read(expected.len())).unwrap(), expected);
    }
    client.write(b"0\r\n\r\n");
    assert_eq!(steps.read(5), b"0\r\n\r\n");
    steps.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    assert_eq!(client.answer().text(), "{}");
}

#[test]
fn the_limit_is_for_what_is_buffered() {
    let limited =
        |scenario| Harbor::served(scenario, |_| {}, |serve| serve.with("--body-limit", LIMIT));
    let harbor = limited(Scenario::Completion);
    let body = |length: usize| {
        let frame = r#"{"model":"m","x":""}"#.len();
        format!(r#"{{"model":"m","x":"{}"}}"#, "x".repeat(length - frame))
    };
    let send = |length: usize| {
        harbor
            .gateway
            .send(&Request::post(HOST, "/v1/chat/completions", body(length)).key(HERON_KEY))
    };
    assert_eq!(send(LIMIT).status(), 200);
    assert_eq!(harbor.upstream.received().body.len(), LIMIT);
    check_openai_error(&send(LIMIT + 1), 413, "request_too_large", "body_too_large");
    harbor.upstream.received_nothing();
}

#[test]
fn the_limit_holds_for_a_length_that_is_not_announced() {
    let harbor =
        Harbor::served(Scenario::Completion, |_| {}, |serve| serve.with("--body-limit", LIMIT));
    let mut client = harbor.gateway.connect();
    client.write(format!("POST /v1/chat/completions HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {HERON_KEY}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes());
    client.write_chunk(br#"{"x":""#);
    client.write_chunk(&vec![b'x'; LIMIT]);
    check_openai_error(&client.answer(), 413, "request_too_large", "body_too_large");
    harbor.upstream.received_nothing();
}

#[test]
fn what_passes_through_has_no_limit() {
    let harbor =
        Harbor::served(Scenario::Completion, |_| {}, |serve| serve.with("--body-limit", LIMIT));
    let body = vec![b'x'; 50 * LIMIT];
    let request = Request::new("POST", HOST, "/v1/files")
        .header("Content-Type", "application/octet-stream")
        .key(HERON_KEY)
        .body(body.clone());
    assert_eq!(harbor.gateway.send(&request).status(), 200);
    assert!(harbor.upstream.received().body == body);
}

#[test]
fn a_client_that_breaks_off_its_body_reaches_nobody() {
    let harbor = Harbor::start();
    let mut client = harbor.gateway.connect();
    let request = chat().to_bytes();
    client.write(&request[..request.len() - 5]);
    client.finish_writing();
    client.rest();
    harbor.upstream.received_nothing();
    let line = harbor.gateway.access_log.find(|line| line["request_id"].is_string()).unwrap();
    assert_eq!(line["error"], "client_closed");
}

#[test]
fn a_client_that_breaks_off_an_upload_is_not_taken_for_done() {
    let harbor = Harbor::start();
    let steps = harbor.upstream.stepped();
    let mut client = harbor.gateway.connect();
    client.write(&upload("/v1/files"));
    client.write_chunk(b"half");
    assert_eq!(steps.read(9), b"4\r\nhalf\r\n");
    drop(client);
    assert_eq!(String::from_utf8(steps.await_close()).unwrap(), "");
}

#[test]
fn a_deep_body_is_no_deep_trouble() {
    let harbor = with_provider(r#"modelMapping: {"*": rest}"#);
    for depth in [200, 100_000] {
        let body = |model: &str| {
            format!(r#"{{"x":{}{},"model":"{model}"}}"#, "[".repeat(depth), "]".repeat(depth))
        };
        assert_eq!(sent(&harbor, "/v1/chat/completions", &body("m")), body("rest"));
    }
    let messages = format!(
        r#"{{"messages":[{}{}]}}"#,
        r#"{"role":"developer","content":"#.repeat(50_000),
        "1".to_owned() + &"}".repeat(50_000)
    );
    let request = Request::post(HOST, "/v1/chat/completions", messages).key(HERON_KEY);
    assert!(matches!(harbor.gateway.send(&request).status(), 200 | 400));
    assert_eq!(harbor.chat().status(), 200);
}
