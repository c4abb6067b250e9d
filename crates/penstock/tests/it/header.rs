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
        .header("X-HI-ORIGINAL-AUTH", "Bearer mine")
        .header("X-Envoy-Original-Path", "/admin")
        .header("X-Envoy-Original-Host", "admin.test");
    assert_eq!(harbor.gateway.send(&request).status(), 200);
    let received = harbor.upstream.received();
    assert_eq!(received.headers("x-mse-consumer"), [HERON]);
    for name in [
        "x-higress-fallback-from",
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
