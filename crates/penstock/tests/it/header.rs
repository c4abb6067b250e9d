//! Which headers travel, which the gateway writes, and which stay behind.

use crate::support::*;

/// What a plain route without plugins looks like.
fn plain(upstream: &Upstream) -> Directory {
    let registry = static_registry("deck", &[upstream.address]);
    Directory::new()
        .holding([("mcpbridges/default.yaml".to_owned(), bridge(&[registry]))])
        .holding([Ingress::new("plain").at("plain.test", "Prefix", "/").file()])
}

#[test]
fn headers_that_only_the_gateway_sets_never_get_through() {
    let harbor = Harbor::start();
    let request = chat()
        .header("X-Mse-Consumer", "admin")
        .header("x-mse-consumer", "root")
        .header("x-higress-fallback-from", "ai-route-pier.internal")
        .header("X-Forwarded-Client-Cert", "Subject=\"CN=admin\"")
        .header("X-HI-ORIGINAL-AUTH", "Bearer mine")
        .header("X-Envoy-Original-Path", "/admin")
        .header("X-Envoy-Original-Host", "admin.test");
    assert_eq!(harbor.gateway.send(&request).status(), 200);
    let received = harbor.upstream.received();
    assert_eq!(received.headers("x-mse-consumer"), [HERON]);
    for name in [
        "x-higress-fallback-from",
        "x-forwarded-client-cert",
        "x-hi-original-auth",
        "x-envoy-original-path",
        "x-envoy-original-host",
    ] {
        assert_eq!(received.headers(name), [""; 0], "{name}");
    }
}

#[test]
fn they_do_not_get_through_on_a_plain_route_either() {
    let upstream = Upstream::start(Scenario::Completion);
    let directory = plain(&upstream);
    let gateway = Serve::new(directory.path()).start();
    let names = [
        "x-mse-consumer",
        "x-higress-fallback-from",
        "x-forwarded-client-cert",
        "x-hi-original-auth",
        "x-envoy-original-path",
        "x-envoy-original-host",
    ];
    let request = names
        .iter()
        .fold(Request::get("plain.test", "/"), |request, name| request.header(name, "mine"));
    assert_eq!(gateway.send(&request).status(), 200);
    let received = upstream.received();
    for name in names {
        assert_eq!(received.headers(name), [""; 0], "{name}");
    }
}

#[test]
fn the_callers_key_is_replaced_by_the_providers_token() {
    let harbor = Harbor::start();
    harbor.chat();
    let received = harbor.upstream.received();
    assert_eq!(received.header("authorization"), Some("Bearer sk-brook-2718"));
    assert!(!format!("{received:?}").contains(HERON_KEY));
}

#[test]
fn without_a_token_of_the_provider_the_callers_own_is_sent() {
    let harbor = Harbor::changed(Scenario::Completion, |directory| {
        let file = "wasmplugins/ai-proxy.internal.yaml";
        directory.edit(file, "      apiTokens:\n      - sk-brook-2718\n", "");
    });
    harbor.chat();
    let received = harbor.upstream.received();
    assert_eq!(received.header("authorization"), Some("Bearer heron-key-4711"));
    harbor.gateway.send(&chat().header("x-api-key", "from-x-api-key"));
    let received = harbor.upstream.received();
    assert_eq!(received.header("authorization"), Some("Bearer from-x-api-key"));
}

#[test]
fn the_upstream_learns_who_asked_and_by_which_name() {
    let harbor = Harbor::start();
    let answer = harbor
        .gateway
        .send(&chat().header("X-Forwarded-For", "192.0.2.7").header("X-Request-Id", "mine"));
    let received = harbor.upstream.received();
    assert_eq!(received.header("x-forwarded-for"), Some("192.0.2.7,127.0.0.1"));
    assert_eq!(received.header("x-forwarded-proto"), Some("http"));
    assert_eq!(received.header("x-request-id"), answer.header("x-request-id"));
    assert_eq!(received.header("host"), Some("api.brook.test"));
    assert_eq!(received.header("accept-encoding"), None);
}

#[test]
fn a_plain_route_keeps_the_clients_host() {
    let upstream = Upstream::start(Scenario::Completion);
    let directory = plain(&upstream);
    directory.write(
        "ingresses/plain.yaml",
        Ingress::new("plain")
            .at("plain.test", "Prefix", "/")
            .without_annotation("upstream-vhost")
            .to_string(),
    );
    let gateway = Serve::new(directory.path()).start();
    gateway
        .send(&Request::get("Plain.test:8080", "/a?b=c&d=%20e").header("Accept-Encoding", "gzip"));
    let received = upstream.received();
    assert_eq!(received.line, "GET /a?b=c&d=%20e HTTP/1.1");
    assert_eq!(received.header("host"), Some("Plain.test:8080"));
    assert_eq!(received.header("accept-encoding"), Some("gzip"));
    assert_eq!(received.header("content-length"), None);
    assert_eq!(received.header("transfer-encoding"), None);
}

#[test]
fn what_is_about_one_connection_stays_on_it() {
    let harbor = Harbor::answering(Scenario::raw(
        "Connection: keep-alive, X-Hop\r\nKeep-Alive: timeout=9\r\nX-Hop: 1\r\nProxy-Authenticate: Basic\r\nX-Kept: 1\r\nContent-Length: 2",
        "{}",
    ));
    let request = chat()
        .header("Connection", "X-Private")
        .header("X-Private", "1")
        .header("Proxy-Authorization", "Basic eDp5")
        .header("Keep-Alive", "timeout=5")
        .header("TE", "trailers")
        .header("X-Public", "1");
    let answer = harbor.gateway.send(&request);
    for name in ["keep-alive", "x-hop", "proxy-authenticate"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    assert_eq!(answer.header("x-kept"), Some("1"));
    let received = harbor.upstream.received();
    for name in ["x-private", "proxy-authorization", "keep-alive", "te"] {
        assert_eq!(received.headers(name), [""; 0], "{name}");
    }
    assert_eq!(received.header("x-public"), Some("1"));
}

#[test]
fn repeated_headers_stay_repeated() {
    let harbor = Harbor::answering(Scenario::raw(
        "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0",
        "",
    ));
    let answer = harbor.gateway.send(&chat().header("X-Tag", "one").header("X-Tag", "two"));
    let cookies =
        answer.head.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    assert_eq!(cookies.map(|(_, value)| value.as_str()).collect::<Vec<_>>(), ["a=1", "b=2"]);
    assert_eq!(harbor.upstream.received().headers("x-tag"), ["one", "two"]);
}

#[test]
fn a_client_that_asks_before_it_sends_is_told_to_go_on() {
    let harbor = Harbor::start();
    let mut client = harbor.gateway.connect();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {HERON_KEY}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        CHAT.len()
    );
    client.write(head.as_bytes());
    assert_eq!(client.head().status, 100);
    client.write(CHAT.as_bytes());
    assert_eq!(client.answer().status(), 200);
}

#[test]
fn they_do_not_get_through_behind_a_body_either() {
    let harbor = Harbor::start();
    let steps = harbor.upstream.stepped();
    let mut client = harbor.gateway.connect();
    let head = format!(
        "POST /v1/files HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {HERON_KEY}\r\nContent-Type: application/octet-stream\r\nTrailer: X-Mse-Consumer, X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    client.write(head.as_bytes());
    client.write_chunk(b"x");
    client.write(b"0\r\nX-Mse-Consumer: admin\r\nX-Sum: 1\r\n\r\n");
    assert_eq!(steps.read(6), b"1\r\nx\r\n");
    steps.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_eq!(client.answer().status(), 200);
    let rest = String::from_utf8(steps.await_close()).unwrap().to_lowercase();
    assert!(!rest.contains("admin"), "{rest}");
}

#[test]
fn a_provider_is_never_traced() {
    let harbor = Harbor::start();
    let request = Request::new("TRACE", HOST, "/v1/models").key(HERON_KEY);
    assert_eq!(harbor.gateway.send(&request).status(), 501);
    harbor.upstream.received_nothing();
}

#[test]
fn a_body_that_is_not_wanted_is_not_asked_for() {
    let harbor = Harbor::start();
    let mut client = harbor.gateway.connect();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    );
    client.write(head.as_bytes());
    assert_eq!(client.head().status, 401);
}

#[test]
fn what_the_gateway_meets_is_not_expected_of_the_upstream() {
    let upstream = Upstream::start(Scenario::Completion);
    let gateway = Serve::new(plain(&upstream).path()).start();
    let request = Request::post("plain.test", "/", "{}").header("Expect", "100-continue");
    let mut client = gateway.begin(&request);
    assert_eq!(client.head().status, 100);
    assert_eq!(client.answer().status(), 200);
    assert_eq!(upstream.received().header("expect"), None);
}

#[test]
fn nothing_that_envoy_would_act_upon_gets_through() {
    let upstream = Upstream::start(Scenario::Completion);
    let gateway = Serve::new(plain(&upstream).path()).start();
    let request = Request::get("plain.test", "/")
        .header("X-Envoy-Retry-On", "5xx")
        .header("X_Envoy_Upstream_Rq_Timeout_Ms", "1")
        .header("x-envoy-internal", "true")
        .header("X-Environment", "test");
    assert_eq!(gateway.send(&request).status(), 200);
    let received = upstream.received();
    let names = received.headers.iter().map(|(name, _)| name.to_ascii_lowercase());
    assert!(!names.into_iter().any(|name| name.replace('_', "-").starts_with("x-envoy-")));
    assert_eq!(received.header("x-environment"), Some("test"));
}

#[test]
fn strangers_do_not_say_how_they_came() {
    let upstream = Upstream::start(Scenario::Completion);
    let gateway = Serve::new(plain(&upstream).path()).start();
    let request = Request::get("plain.test:8080", "/")
        .header("X-Forwarded-For", "192.0.2.7")
        .header("X-Forwarded-For", "192.0.2.8")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "admin.test");
    let answer = gateway.send(&request);
    let received = upstream.received();
    assert_eq!(received.header("x-forwarded-for"), Some("192.0.2.7,192.0.2.8,127.0.0.1"));
    assert_eq!(received.header("x-forwarded-proto"), Some("http"));
    assert_eq!(received.header("x-forwarded-host"), Some("plain.test:8080"));
    assert_eq!(gateway.access_log.of_request(&answer)["client"], "127.0.0.1");
}

#[test]
fn trusted_proxies_say_how_a_client_came() {
    let upstream = Upstream::start(Scenario::Completion);
    let gateway = Serve::new(plain(&upstream).path()).with("--trusted-hops", 2).start();
    let request = Request::get("plain.test", "/")
        .header("X-Forwarded-For", "6.6.6.6, 192.0.2.7, 192.0.2.8")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "shop.test");
    let answer = gateway.send(&request);
    let received = upstream.received();
    assert_eq!(received.header("x-forwarded-for"), Some("6.6.6.6, 192.0.2.7, 192.0.2.8,127.0.0.1"));
    assert_eq!(received.header("x-forwarded-proto"), Some("https"));
    assert_eq!(received.header("x-forwarded-host"), Some("shop.test"));
    assert_eq!(gateway.access_log.of_request(&answer)["client"], "192.0.2.7");
}

#[test]
fn answers_without_bodies_have_none() {
    let harbor = Harbor::start();
    harbor.upstream.once(Scenario::Bytes(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n\r\n".to_vec(),
    ));
    let mut client = harbor.gateway.begin(&Request::new("HEAD", HOST, "/v1/models").key(HERON_KEY));
    let head = client.head();
    assert_eq!((head.status, head.header("content-length")), (200, Some("7")));
    for status in [204, 304] {
        let bytes = format!("HTTP/1.1 {status} X\r\nETag: \"1\"\r\n\r\n");
        harbor.upstream.once(Scenario::Bytes(bytes.into_bytes()));
        client.send(&Request::get(HOST, "/v1/models").key(HERON_KEY));
        let answer = client.answer();
        assert_eq!((answer.status(), answer.header("etag")), (status, Some("\"1\"")));
        assert_eq!(answer.header("transfer-encoding"), None);
    }
    client.send(&chat());
    assert_eq!(client.answer().status(), 200);
    assert_eq!(harbor.upstream.connections(), 1);
}

#[test]
fn hints_before_the_answer_stay_behind() {
    let harbor = Harbor::start();
    harbor.upstream.once(Scenario::Bytes(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_vec(),
    ));
    let answer = harbor.chat();
    assert_eq!((answer.status(), answer.header("link")), (200, None));
}

#[test]
fn trailers_of_an_answer_pass_to_a_client_that_takes_them() {
    let upstream = Upstream::start(Scenario::raw(
        "Trailer: X-Sum\r\nTransfer-Encoding: chunked",
        "2\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n",
    ));
    let gateway = Serve::new(plain(&upstream).path()).start();
    let mut client = gateway.begin(&Request::get("plain.test", "/").header("TE", "trailers"));
    client.head();
    let wanted = b"2\r\n{}\r\n0\r\nx-sum: 1\r\n\r\n";
    assert_eq!(client.read(wanted.len()), wanted);
    client.send(&Request::get("plain.test", "/"));
    assert_eq!(client.answer().text(), "{}");
}

#[test]
fn methods_are_those_that_envoy_knows() {
    let upstream = Upstream::start(Scenario::Completion);
    let gateway = Serve::new(plain(&upstream).path()).start();
    for method in ["PROPFIND", "PURGE", "M-SEARCH"] {
        assert_eq!(gateway.send(&Request::new(method, "plain.test", "/")).status(), 200);
        assert!(upstream.received().line.starts_with(method));
    }
    for method in ["get", "FROBNICATE"] {
        assert_eq!(gateway.send(&Request::new(method, "plain.test", "/")).status(), 400);
    }
    upstream.received_nothing();
}

#[test]
fn a_whole_request_may_be_given_a_time() {
    let flags = |serve: Serve| serve.with("--request-timeout", 1);
    let harbor = Harbor::served(Scenario::Silence, |_| {}, flags);
    let answer = harbor.chat();
    check_openai_error(&answer, 504, "timeout_error", "upstream_timeout");
    let steps = harbor.upstream.stepped();
    let mut client = harbor.gateway.begin(&chat());
    steps.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
    let head = client.head();
    let id = head.header("x-request-id").unwrap().to_owned();
    assert_eq!(client.body_of(head).end, End::Broken);
    let line = harbor.gateway.access_log.find(|line| line["request_id"] == *id).unwrap();
    assert_eq!(line["error"], "request_timeout");
}

#[test]
fn an_answer_may_not_pause_for_longer_than_it_is_given() {
    let flags = |serve: Serve| serve.with("--idle-timeout", 1);
    let harbor = Harbor::served(Scenario::Completion, |_| {}, flags);
    let steps = harbor.upstream.stepped();
    let mut client = harbor.gateway.begin(&chat());
    steps.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    assert_eq!(client.answer().end, End::Broken);
    steps.await_close();
}
