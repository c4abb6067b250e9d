//! Upstreams of HTTP/2: what is shared, what is passed, what is tried again.

use std::time::Duration;

use http::Method;

use crate::support::certificates::Authority;
use crate::support::http2::{Http2, request};
use crate::support::http2_upstream::Http2Upstream;
use crate::support::*;

/// How long the upstream may stay unaware of a client that has gone.
const STUCK: Duration = Duration::from_millis(400);

fn directory(upstream: &Http2Upstream, protocol: &str) -> Directory {
    let address = upstream.address;
    let registry = format!(
        "{{name: deck, type: static, domain: \"{address}\", port: 80, protocol: {protocol}, sni: deck.test}}"
    );
    Directory::new()
        .holding([("mcpbridges/default.yaml".to_owned(), bridge(&[registry]))])
        .holding([Ingress::new("plain.test").at("plain.test", "Prefix", "/").file()])
}

fn serve(upstream: &Http2Upstream) -> Gateway {
    let directory = directory(upstream, "grpc");
    Serve::new(directory.path()).with("--threads", 1).start()
}

fn call(path: &str) -> Request {
    Request::new("POST", "plain.test", path).header("Content-Type", "application/grpc").body("ahoy")
}

/// The same from a client that takes trailers.
fn call_for_trailers(path: &str) -> Request {
    call(path).header("TE", "gzip, trailers")
}

#[test]
fn each_protocol_of_http2_is_spoken() {
    let authority = Authority::new();
    for protocol in ["http2", "grpc", "GRPC", "triple", "grpcs"] {
        let is_tls = protocol == "grpcs";
        let upstream = match is_tls {
            true => Http2Upstream::start_tls(authority.server(&["deck.test"])),
            false => Http2Upstream::start(),
        };
        let directory = directory(&upstream, protocol);
        let trusted = authority.write_to(directory.path());
        let gateway = Serve::new(directory.path()).with("--upstream-ca", trusted.display()).start();
        let answer = gateway.send(&call("/a?b=c"));
        assert_eq!((answer.status(), answer.text().as_str()), (200, "aye"), "{protocol}");
        let received = upstream.received();
        let scheme = if is_tls { "https" } else { "http" };
        assert_eq!(received.head.uri().to_string(), format!("{scheme}://plain.test/a?b=c"));
        assert_eq!(received.header("host"), None);
        assert_eq!(received.header("te"), None);
        assert_eq!(received.header("x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(received.header("connection"), None);
        assert_eq!(received.body, b"ahoy");
        assert_eq!(gateway.findings(), [] as [serde_json::Value; 0]);
    }
}

#[test]
fn trailers_reach_a_client_that_takes_them() {
    let upstream = Http2Upstream::start();
    let gateway = serve(&upstream);
    let mut client = gateway.begin(&call_for_trailers("/"));
    assert_eq!(client.head().status, 200);
    assert_eq!(upstream.received().header("te"), Some("trailers"));
    let wanted = b"3\r\naye\r\n0\r\ngrpc-status: 0\r\ngrpc-message: fine\r\n\r\n";
    assert_eq!(String::from_utf8(client.read(wanted.len())).unwrap().as_bytes(), wanted);
    client.send(&call("/denied"));
    let answer = client.answer();
    assert_eq!(answer.header("grpc-status"), Some("7"));
    assert_eq!(answer.text(), "");
}

#[test]
fn clients_of_http2_get_trailers_and_are_not_taken_for_ones_that_cancel() {
    let upstream = Http2Upstream::start();
    let directory = directory(&upstream, "grpc");
    let gateway = Serve::new(directory.path()).with("--reset-limit", 1).start();
    let mut client = Http2::open(gateway.http);
    for _ in 0..8 {
        let mut call = request(Method::POST, "http", "plain.test", "/");
        call.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        call.headers_mut().insert("te", "trailers".parse().unwrap());
        let (answer, mut body) = client.try_begin(call, false).unwrap();
        body.send_data("ahoy".into(), true).unwrap();
        let mut body = client.wait(answer).unwrap().into_body();
        assert_eq!(client.data(&mut body).as_deref(), Some("aye"));
        assert_eq!(client.data(&mut body), None);
        let trailers = client.wait(body.trailers()).unwrap().unwrap();
        assert_eq!(trailers.get("grpc-status").unwrap(), "0");
        assert_eq!(upstream.received().body, b"ahoy");
    }
    let line = gateway.access_log.find(|line| line["status"] == 200).unwrap();
    assert_eq!(line["error"], serde_json::Value::Null);
}

#[test]
fn trailers_of_a_client_pass_except_for_what_they_must_not_say() {
    let upstream = Http2Upstream::start();
    let gateway = serve(&upstream);
    let mut client = gateway.connect();
    client.write(b"POST / HTTP/1.1\r\nHost: plain.test\r\nTE: trailers\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.write_chunk(b"x");
    client.write(b"0\r\nX-Sum: 1\r\nX-Mse-Consumer: admin\r\nx_envoy_retry_on: 5xx\r\nX-Forwarded-For: 9.9.9.9\r\nAuthorization: Bearer x\r\n\r\n");
    assert_eq!(client.head().status, 200);
    let received = upstream.received();
    assert_eq!(received.body, b"x");
    assert_eq!(received.trailers.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["x-sum"]);
}

#[test]
fn one_connection_carries_many_requests() {
    let upstream = Http2Upstream::start();
    let gateway = serve(&upstream);
    assert_eq!(gateway.send(&call("/")).status(), 200);
    let mut clients: Vec<_> = (0..20).map(|_| gateway.begin(&call("/held"))).collect();
    eventually("all are open", || (upstream.open() == 20).then_some(()));
    upstream.release(20);
    for client in &mut clients {
        assert_eq!(client.head().status, 200);
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn requests_that_come_at_once_open_one_connection() {
    let upstream = Http2Upstream::start();
    let gateway = serve(&upstream);
    let mut clients: Vec<_> = (0..20).map(|_| gateway.begin(&call("/held"))).collect();
    eventually("all are open", || (upstream.open() == 20).then_some(()));
    upstream.release(20);
    for client in &mut clients {
        assert_eq!(client.head().status, 200);
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_connection_carries_no_more_than_its_upstream_allows() {
    let upstream = Http2Upstream::allowing(4);
    let gateway = serve(&upstream);
    for _ in 0..3 {
        assert_eq!(gateway.send(&call("/")).status(), 200);
    }
    let mut clients: Vec<_> = (0..12).map(|_| gateway.begin(&call("/held"))).collect();
    eventually("all are open", || (upstream.open() == 12).then_some(()));
    assert_eq!(upstream.connections(), 3);
    upstream.release(12);
    for client in &mut clients {
        assert_eq!(client.head().status, 200);
    }
    assert_eq!(upstream.open_max(), 12);
}

#[test]
fn a_refused_stream_is_tried_again() {
    let upstream = Http2Upstream::start();
    let gateway = serve(&upstream);
    upstream.refuse(1);
    let answer = gateway.send(&Request::get("plain.test", "/"));
    assert_eq!((answer.status(), upstream.refusals()), (200, 0));
    assert_eq!(upstream.received().head.method(), "GET");
    upstream.received_nothing();
}

#[test]
fn a_refused_stream_is_tried_again_with_its_whole_body() {
    let upstream = Http2Upstream::start();
    let provider = "{id: brook, type: openai, apiTokens: [sk-1], openaiCustomUrl: \"http://plain.test/v1\", modelMapping: {pier: quay}}";
    let proxy = Plugin::ai_proxy()
        .default_config(&format!("{{providers: [{provider}]}}"))
        .rule("{service: [deck.static], config: {activeProviderId: brook}}");
    let directory = directory(&upstream, "http2").holding([proxy.file()]);
    let gateway = Serve::new(directory.path()).start();
    // More than fits into the windows, so that the refusal comes in between.
    let body = |model: &str| {
        let text = "x".repeat(1 << 20);
        format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"{text}"}}]}}"#)
    };
    let chat = Request::post("plain.test", "/v1/chat/completions", body("pier"));
    upstream.refuse(1);
    let answer = gateway.send(&chat);
    assert_eq!((answer.status(), upstream.refusals()), (200, 0));
    let received = upstream.received();
    assert!(received.body == body("quay").as_bytes(), "{} bytes", received.body.len());
    assert_eq!(received.header("content-length"), Some(body("quay").len().to_string().as_str()));
    assert_eq!(received.header("authorization"), Some("Bearer sk-1"));
    upstream.received_nothing();
    // Not for ever.
    upstream.refuse(9);
    assert_eq!(gateway.send(&chat).status(), 502);
    assert_eq!(upstream.refusals(), 7);
    upstream.received_nothing();
}

#[test]
fn a_body_that_is_not_in_memory_is_not_sent_again() {
    let upstream = Http2Upstream::start();
    let gateway = serve(&upstream);
    upstream.refuse(2);
    let mut client = gateway.connect();
    client.write(b"POST / HTTP/1.1\r\nHost: plain.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.write_chunk(b"{}");
    client.write(b"0\r\n\r\n");
    assert_eq!((client.answer().status(), upstream.refusals()), (502, 1));
    upstream.received_nothing();
}

#[test]
fn what_may_have_been_processed_is_not_tried_again() {
    let upstream = Http2Upstream::start();
    let gateway = serve(&upstream);
    for path in ["/reset", "/cut"] {
        let answer = gateway.send(&Request::get("plain.test", path));
        assert_eq!(answer.status(), 502, "{path}");
        let line = gateway.access_log.of_request(&answer);
        assert_eq!(line["attempts"].as_array().unwrap().len(), 1, "{line}");
    }
    assert_eq!(gateway.send(&Request::get("plain.test", "/")).status(), 200);
}

#[test]
fn an_upstream_that_goes_away_costs_nothing() {
    let upstream = Http2Upstream::start();
    let gateway = serve(&upstream);
    for _ in 0..20 {
        assert_eq!(gateway.send(&call("/last")).status(), 200);
    }
    assert!(upstream.connections() > 1);
}

#[test]
fn errors_of_the_gateway_are_told_in_the_words_of_grpc() {
    let upstream = Http2Upstream::start();
    let gateway = serve(&upstream);
    let answer = gateway.send(&call("/cut"));
    assert_eq!((answer.status(), answer.header("grpc-status")), (200, Some("14")));
    assert_eq!(answer.header("content-type"), Some("application/grpc"));
    assert!(answer.header("grpc-message").is_some());
    let elsewhere =
        Request::new("POST", "other.test", "/").header("Content-Type", "application/grpc");
    assert_eq!(gateway.send(&elsewhere).header("grpc-status"), Some("12"));
}

#[test]
fn an_answer_that_breaks_off_is_not_complete() {
    let upstream = Http2Upstream::start();
    let gateway = serve(&upstream);
    let answer = gateway.send(&call("/half"));
    assert_eq!((answer.text().as_str(), answer.end), ("half", End::Broken));
}

#[test]
fn both_sides_may_stream_at_once() {
    let upstream = Http2Upstream::start();
    let gateway = serve(&upstream);
    let mut client = gateway.connect();
    client.write(b"POST /echo HTTP/1.1\r\nHost: plain.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(client.head().status, 200);
    for text in ["one", "two", "three"] {
        client.write_chunk(text.as_bytes());
        assert_eq!(client.chunk(), Chunk::data(text));
    }
    client.write(b"0\r\n\r\n");
    assert_eq!(client.chunk(), Chunk::Last);
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody_else() {
    let upstream = Http2Upstream::start();
    let gateway = serve(&upstream);
    let slow: Vec<_> = (0..20).map(|_| gateway.begin(&call("/endless"))).collect();
    eventually("all are open", || (upstream.open() == 20).then_some(()));
    std::thread::sleep(STUCK);
    let before = gateway.resident_bytes();
    std::thread::sleep(STUCK);
    assert!(gateway.resident_bytes().saturating_sub(before) < 4 << 20);
    assert_eq!(gateway.send(&call("/")).text(), "aye");
    assert_eq!(upstream.connections(), 1);
    drop(slow);
    eventually("the upstream has noticed", || (upstream.open() == 0).then_some(()));
}

#[test]
fn an_upgrade_towards_http2_is_refused() {
    let upstream = Http2Upstream::start();
    let gateway = serve(&upstream);
    let asking = Request::get("plain.test", "/").header("Connection", "upgrade");
    assert_eq!(gateway.send(&asking.header("Upgrade", "websocket")).status(), 403);
}

#[test]
fn uploads_over_one_connection_keep_apart() {
    let upstream = Http2Upstream::start();
    let gateway = serve(&upstream);
    let mut client = gateway.connect();
    for round in 0..20 {
        client.write(b"POST /a HTTP/1.1\r\nHost: plain.test\r\nTransfer-Encoding: chunked\r\n\r\n");
        let body = format!("round {round} ").repeat(1 + 1000 * (round % 3));
        client.write_chunk(body.as_bytes());
        client.write(b"0\r\nX-Sum: 1\r\n\r\n");
        assert_eq!(client.answer().status(), 200);
        assert!(upstream.received().body == body.as_bytes(), "round {round}");
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn an_upload_ends_with_the_connection_of_a_client_that_takes_nothing() {
    let upstream = Http2Upstream::start();
    let directory = directory(&upstream, "grpc");
    let gateway = Serve::new(directory.path()).with("--client-stall-timeout", 1).start();
    let mut client = gateway.connect();
    client.write(b"POST /echo HTTP/1.1\r\nHost: plain.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    let limit = 256 << 20;
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    assert!(client.flood(chunk.as_bytes(), limit, STUCK) < limit);
    eventually("the end of the upload", || (upstream.open() == 0).then_some(()));
    let is_over = || gateway.metrics().contains("penstock_connections 0\n");
    eventually("the end of the connection", || is_over().then_some(()));
    // All of it, not only what the gateway counts.
    client.rest();
}
