//! What a client is told when it gets no answer of an upstream, and what it
//! is never told.

use std::time::Duration;

use crate::support::certificates::Authority;
use crate::support::*;

/// Words that only the configuration and the log may know.
const SECRETS: [&str; 12] = [
    TOKEN,
    HERON_KEY,
    OTTER_KEY,
    "127.0.0.",
    "brook",
    "pier",
    "internal",
    "key_auth",
    "rustls",
    "os error",
    "certificate",
    "hyper",
];

#[track_caller]
fn check(answer: &Answer, status: u16, kind: &str, code: &str) {
    check_openai_error(answer, status, kind, code);
    check_no_leak(answer, &SECRETS);
}

#[test]
fn without_a_key_it_is_401() {
    let harbor = Harbor::start();
    let answer = harbor.gateway.send(&chat_without_key());
    check(&answer, 401, "authentication_error", "no_api_key");
    assert_eq!(answer.header("www-authenticate"), Some("Key realm=MSE Gateway"));
    harbor.upstream.received_nothing();
}

#[test]
fn with_a_wrong_key_it_is_401() {
    let harbor = Harbor::start();
    let answer = harbor.gateway.send(&chat_without_key().key("nobody's"));
    check(&answer, 401, "authentication_error", "invalid_api_key");
    assert_eq!(answer.header("www-authenticate"), Some("Key realm=MSE Gateway"));
    check_no_leak(&answer, &["nobody's"]);
    harbor.upstream.received_nothing();
}

#[test]
fn a_consumer_that_is_not_allowed_gets_403() {
    let harbor = Harbor::start();
    let answer = harbor.gateway.send(&chat_without_key().key(OTTER_KEY));
    check(&answer, 403, "permission_error", "consumer_not_allowed");
    check_no_leak(&answer, &[OTTER, HERON]);
    harbor.upstream.received_nothing();
}

#[test]
fn without_a_route_it_is_404() {
    let harbor = Harbor::start();
    let elsewhere = Request::post("elsewhere.test", "/v1/chat/completions", CHAT).key(HERON_KEY);
    check(&harbor.gateway.send(&elsewhere), 404, "not_found_error", "no_route");
    check_no_leak(&harbor.gateway.send(&elsewhere), &["elsewhere"]);
}

#[test]
fn off_the_paths_of_an_llm_api_bodies_are_empty_as_in_higress() {
    let harbor = Harbor::start();
    let check = |path: &str, status: u16| {
        let answer = harbor.gateway.send(&Request::get(HOST, path));
        assert_eq!((answer.status(), answer.text().as_str()), (status, ""), "{path}");
        assert_eq!(answer.header("content-length"), Some("0"));
        assert_eq!(answer.header("content-type"), None);
        assert!(answer.header("x-request-id").is_some());
        answer
    };
    check("/", 404);
    check("/v1beta", 404);
    check("/v1beta/openai", 404);
    let denied = check("/v1/unheard-of", 401);
    assert_eq!(denied.header("www-authenticate"), Some("Key realm=MSE Gateway"));
}

#[test]
fn anthropic_clients_get_the_error_shape_of_their_api() {
    let harbor = Harbor::start();
    let answer = harbor.gateway.send(&Request::post(HOST, "/v1/messages", "{}"));
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let body = answer.json();
    assert_eq!(
        (&body["type"], &body["error"]["type"]),
        (&"error".into(), &"authentication_error".into())
    );
    assert!(body["error"]["message"].is_string());
    check_request_id(&answer, &body["request_id"]);
    check_no_leak(&answer, &SECRETS);
}

#[test]
fn every_request_has_an_id_of_its_own() {
    let harbor = Harbor::start();
    let id = || harbor.chat().header("x-request-id").unwrap().to_owned();
    assert_ne!(id(), id());
}

#[test]
fn an_upstream_that_nobody_listens_at_is_503() {
    let harbor = Harbor::changed(Scenario::Completion, |directory| {
        let address = dead_address(9).to_string();
        let text = directory.read("mcpbridges/default.yaml");
        let old = text.lines().find(|line| line.contains("domain:")).unwrap();
        directory.edit("mcpbridges/default.yaml", old, &format!("    domain: {address}"));
    });
    let answer = harbor.chat();
    check(&answer, 503, "overloaded_error", "connect_failed");
    let line = harbor.gateway.access_log.of_request(&answer);
    assert_eq!(line["error"], "connect_failed");
    assert!(line["cause"].as_str().unwrap().contains("127.0.0.9"), "{line}");
}

#[test]
fn a_destination_without_a_service_is_503() {
    let harbor = Harbor::changed(Scenario::Completion, |directory| {
        let file = "ingresses/ai-route-pier.internal.yaml";
        directory.edit(file, "llm-brook.internal.static:80", "llm-creek.internal.static:80");
    });
    check(&harbor.chat(), 503, "overloaded_error", "service_unknown");
    // Who may not pass is not told even that.
    check(&harbor.gateway.send(&chat_without_key()), 401, "authentication_error", "no_api_key");
}

#[test]
fn a_certificate_that_does_not_verify_is_503() {
    let check_tls = |trusted: bool, names: &[&str]| {
        let authority = Authority::new();
        let upstream = Upstream::start_tls(Scenario::Completion, authority.server(names));
        let directory = Directory::harbor(upstream.address);
        directory.edit("mcpbridges/default.yaml", "protocol: http", "protocol: https");
        let known = if trusted { authority } else { Authority::new() };
        let gateway = Serve::new(directory.path())
            .with("--upstream-ca", known.write_to(directory.path()).display())
            .start();
        let answer = gateway.send(&chat());
        check(&answer, 503, "overloaded_error", "tls_failed");
        upstream.received_nothing();
    };
    check_tls(false, &["api.brook.test"]);
    check_tls(true, &["api.creek.test"]);
}

#[test]
fn an_upstream_that_does_not_speak_tls_is_503() {
    let harbor = Harbor::changed(Scenario::Completion, |directory| {
        directory.edit("mcpbridges/default.yaml", "protocol: http", "protocol: https");
    });
    check(&harbor.chat(), 503, "overloaded_error", "tls_failed");
}

#[test]
fn an_upstream_that_answers_nothing_or_nonsense_is_502() {
    let harbor = Harbor::start();
    let check_scenario = |scenario: Scenario, code: &str| {
        harbor.upstream.once(scenario);
        check(&harbor.chat(), 502, "api_error", code);
    };
    check_scenario(Scenario::close(), "upstream_closed");
    check_scenario(Scenario::BytesThenClose(b"HTTP/1.1 200 O".to_vec()), "upstream_closed");
    check_scenario(Scenario::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec()), "upstream_invalid");
    check_scenario(Scenario::raw("Content-Length: x", ""), "upstream_invalid");
    check_scenario(
        Scenario::raw("Content-Length: 5\r\nContent-Length: 6", "aaaaaa"),
        "upstream_invalid",
    );
    check_scenario(Scenario::raw(&format!("X: {}", "x".repeat(1 << 20)), ""), "upstream_invalid");
    assert_eq!(harbor.chat().status(), 200);
}

#[test]
fn an_upstream_that_is_too_slow_is_504() {
    let harbor = Harbor::changed(Scenario::Silence, |directory| {
        let file = "wasmplugins/ai-proxy.internal.yaml";
        directory.edit(
            file,
            "protocol: openai\n",
            "protocol: openai\n      firstByteTimeout: 150\n",
        );
    });
    let body = r#"{"model":"m","stream":true,"messages":[]}"#;
    let answer =
        harbor.gateway.send(&Request::post(HOST, "/v1/chat/completions", body).key(HERON_KEY));
    check(&answer, 504, "timeout_error", "upstream_timeout");
    // What does not stream takes the time that it takes.
    let steps = harbor.upstream.stepped();
    let mut client = harbor.gateway.begin(&chat());
    std::thread::sleep(Duration::from_millis(300));
    steps.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    assert_eq!(client.answer().status(), 200);
}

#[test]
fn a_body_that_is_no_json_is_400_and_is_not_repeated() {
    let harbor = Harbor::start();
    let check_body = |body: &str| {
        let request = Request::post(HOST, "/v1/chat/completions", body).key(HERON_KEY);
        let answer = harbor.gateway.send(&request);
        check(&answer, 400, "invalid_request_error", "invalid_request");
        check_no_leak(&answer, &["s3cret"]);
    };
    check_body("s3cret");
    check_body(r#"{"model":"s3cret""#);
    check_body(r#"["s3cret"]"#);
    check_body(r#"{"model":"s3cret","model":"other"}"#);
    check_body(r#"{"model":["s3cret"]}"#);
    check_body("{\"model\":\"s3cret\",\"x\":\"\u{1}\"}");
    harbor.upstream.received_nothing();
}

#[test]
fn a_request_that_can_be_read_in_two_ways_is_400() {
    let harbor = Harbor::start();
    let two_hosts = chat().header("Host", "other.test");
    check(&harbor.gateway.send(&two_hosts), 400, "invalid_request_error", "invalid_request");
    let mut client = harbor.gateway.connect();
    client.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: chat.harbor.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}");
    assert_eq!(client.head().status, 400);
    harbor.upstream.received_nothing();
}

#[test]
fn errors_of_the_upstream_pass_as_they_are() {
    let harbor = Harbor::start();
    let body = r#"{"error":{"message":"slow down","type":"rate_limit_error"}}"#;
    let head = format!(
        "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nRetry-After: 7\r\nX-RateLimit-Remaining: 0\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    harbor.upstream.once(Scenario::Bytes(head.into_bytes()));
    let answer = harbor.chat();
    assert_eq!((answer.status(), answer.text().as_str()), (429, body));
    assert_eq!(answer.header("retry-after"), Some("7"));
    assert_eq!(answer.header("x-ratelimit-remaining"), Some("0"));
    harbor.upstream.once(Scenario::Status(500, "{}"));
    assert_eq!(harbor.chat().status(), 500);
}
