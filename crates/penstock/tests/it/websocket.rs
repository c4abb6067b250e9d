//! Connections that are handed over: asked for, passed, ended.

use std::time::Duration;

use http::Method;
use rustls::version::TLS13;

use crate::support::certificates::Authority;
use crate::support::client::{Head, WATER};
use crate::support::http2::{Http2, request};
use crate::support::upstream::Steps;
use crate::support::*;

/// How long a writer has to be stuck to count as stuck.
const STUCK: Duration = Duration::from_millis(400);
/// The example of RFC 6455, 1.3.
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// The same as a whole: `Hello` from the client, masked, and from the server.
const MASKED_HELLO: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
const HELLO: &[u8] = b"\x81\x05Hello";

/// A route without plugins and one that wants a key.
struct Quay {
    upstream: Upstream,
    gateway: Gateway,
}

impl Quay {
    fn start() -> Self {
        Self::served(|serve| serve)
    }

    fn served(flags: impl FnOnce(Serve) -> Serve) -> Self {
        let upstream = Upstream::start(Scenario::Completion);
        let directory = Directory::harbor(upstream.address);
        let open = Ingress::new("open").at("open.test", "Prefix", "/");
        let (file, text) = open.to("llm-brook.internal.static:80").file();
        directory.write(&file, text);
        let gateway = flags(Serve::new(directory.path())).start();
        Self { upstream, gateway }
    }

    fn begin(&self, request: &Request) -> (Connection, Steps) {
        let steps = self.upstream.stepped();
        (self.gateway.begin(request), steps)
    }

    /// What has to happen for a metric to say so.
    #[track_caller]
    fn counts(&self, line: &str) {
        eventually(line, || {
            self.gateway.metrics().lines().any(|known| known == line).then_some(())
        });
    }

    /// A tunnel that is open.
    fn switch(&self) -> (Connection, Steps, Head) {
        let (mut client, steps) = self.begin(&asking("open.test", "websocket"));
        steps.write(SWITCHED);
        let head = client.head();
        assert_eq!(head.status, 101);
        (client, steps, head)
    }

    fn record(&self, head: &Head) -> serde_json::Value {
        let id = head.header("x-request-id").unwrap().to_owned();
        self.gateway.access_log.find(|line| line["request_id"] == *id).expect("no access line")
    }
}

fn asking(host: &str, protocol: &str) -> Request {
    Request::get(host, "/v1/socket?room=1")
        .header("Connection", "keep-alive, Upgrade")
        .header("Upgrade", protocol)
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Version", "13")
}

#[test]
fn frames_pass_both_ways() {
    let quay = Quay::start();
    let (mut client, steps, head) = quay.switch();
    assert_eq!(head.header("upgrade"), Some("websocket"));
    assert_eq!(head.header("connection"), Some("upgrade"));
    assert_eq!(head.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    let received = quay.upstream.received();
    assert_eq!(received.line, "GET /v1/socket?room=1 HTTP/1.1");
    assert_eq!(received.header("connection"), Some("upgrade"));
    assert_eq!(received.header("upgrade"), Some("websocket"));
    assert_eq!(received.header("sec-websocket-version"), Some("13"));
    assert_eq!(received.header("x-forwarded-for"), Some("127.0.0.1"));
    for _ in 0..3 {
        client.write(MASKED_HELLO);
        assert_eq!(steps.read(MASKED_HELLO.len()), MASKED_HELLO);
        steps.write(HELLO);
        assert_eq!(client.read(HELLO.len()), HELLO);
    }
    steps.close();
    assert_eq!(client.rest(), b"");
    drop(client);
    let line = quay.record(&head);
    assert_eq!(line["status"], 101);
    assert_eq!(line["route"], "open");
    assert_eq!(line["request_bytes"], 3 * MASKED_HELLO.len());
    assert_eq!(line["response_bytes"], 3 * HELLO.len());
    assert!(quay.gateway.metrics().contains("status=\"1xx\""));
}

#[test]
fn frames_behind_the_head_are_not_lost() {
    let quay = Quay::start();
    let (mut client, steps) = quay.begin(&asking("open.test", "WebSocket"));
    client.write(MASKED_HELLO);
    steps.write([SWITCHED.as_bytes(), HELLO].concat());
    assert_eq!(client.head().status, 101);
    assert_eq!(client.read(HELLO.len()), HELLO);
    assert_eq!(steps.read(MASKED_HELLO.len()), MASKED_HELLO);
}

#[test]
fn plugins_run_before() {
    let quay = Quay::start();
    let answer = quay.gateway.send(&asking(HOST, "websocket"));
    assert_eq!(answer.status(), 401);
    quay.upstream.received_nothing();
}

#[test]
fn an_upstream_that_does_not_switch_answers_as_always() {
    let quay = Quay::start();
    let (mut client, steps) = quay.begin(&asking("open.test", "websocket"));
    steps.write("HTTP/1.1 426 Upgrade Required\r\nUpgrade: other\r\nContent-Length: 2\r\n\r\nno");
    drop(steps);
    let answer = client.answer();
    assert_eq!((answer.status(), answer.text().as_str()), (426, "no"));
    // What the client sent already could be of the other protocol.
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(client.rest(), b"");
    assert_eq!(quay.gateway.send(&Request::get("open.test", "/")).status(), 200);
}

#[test]
fn a_side_that_is_done_may_still_listen() {
    let quay = Quay::start();
    let (mut client, steps, head) = quay.switch();
    client.write(MASKED_HELLO);
    client.finish_writing();
    assert_eq!(steps.await_close(), MASKED_HELLO);
    steps.write(HELLO);
    assert_eq!(client.read(HELLO.len()), HELLO);
    steps.close();
    assert_eq!(client.rest(), b"");
    assert_eq!(quay.record(&head)["error"], serde_json::Value::Null);
}

#[test]
fn a_client_that_leaves_ends_the_upstreams_side() {
    let quay = Quay::start();
    let (client, steps, head) = quay.switch();
    drop(client);
    assert_eq!(steps.await_close(), b"");
    steps.close();
    assert_eq!(quay.record(&head)["status"], 101);
}

#[test]
fn a_reader_that_stops_stops_the_writer() {
    const LIMIT: usize = 64 << 20;
    let quay = Quay::start();
    let (mut client, steps, _) = quay.switch();
    let before = quay.gateway.resident_bytes();
    assert!(steps.flood(LIMIT, STUCK) < LIMIT);
    assert!(client.flood(WATER, LIMIT, STUCK) < LIMIT);
    let grown = quay.gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes are buffered");
}

#[test]
fn silence_ends_a_tunnel() {
    let quay = Quay::served(|serve| serve.with("--idle-timeout", 1));
    let (mut client, steps, head) = quay.switch();
    assert_eq!(steps.await_close(), b"");
    assert_eq!(client.rest(), b"");
    assert_eq!(quay.record(&head)["error"], "tunnel_idle");
}

#[test]
fn a_drain_waits_for_tunnels_and_cuts_them_at_its_end() {
    let mut quay = Quay::served(|serve| serve.with("--drain", 1));
    let (mut client, steps, _) = quay.switch();
    quay.gateway.signal("TERM");
    eventually("draining", || (quay.gateway.ready() == 503).then_some(()));
    client.write(MASKED_HELLO);
    assert_eq!(steps.read(MASKED_HELLO.len()), MASKED_HELLO);
    assert!(quay.gateway.is_running());
    assert_eq!(steps.await_close(), b"");
    assert!(quay.gateway.wait().success());
}

#[test]
fn a_drain_ends_with_the_last_tunnel() {
    let mut quay = Quay::served(|serve| serve.with("--drain", 60));
    let (mut client, steps, _) = quay.switch();
    quay.gateway.signal("TERM");
    steps.close();
    assert_eq!(client.rest(), b"");
    drop(client);
    assert!(quay.gateway.wait().success());
}

#[test]
fn a_drain_switches_what_was_asked_before() {
    let mut quay = Quay::served(|serve| serve.with("--drain-grace", 0).with("--drain", 60));
    let (mut client, steps) = quay.begin(&asking("open.test", "websocket"));
    quay.upstream.received();
    quay.gateway.signal("TERM");
    eventually("the listener's end", || std::net::TcpStream::connect(quay.gateway.http).err());
    steps.write(SWITCHED);
    let head = client.head();
    assert_eq!((head.status, head.header("connection")), (101, Some("upgrade")));
    client.write(MASKED_HELLO);
    assert_eq!(steps.read(MASKED_HELLO.len()), MASKED_HELLO);
    assert!(quay.gateway.is_running());
    steps.close();
    assert_eq!(client.rest(), b"");
    drop(client);
    assert!(quay.gateway.wait().success());
}

#[test]
fn a_tunnel_counts_as_a_connection_until_it_ends() {
    let quay = Quay::served(|serve| serve.with("--connection-limit", 1));
    let (mut client, steps, _) = quay.switch();
    assert_eq!(quay.gateway.connect().rest(), b"");
    quay.counts("penstock_connections 1");
    steps.close();
    assert_eq!(client.rest(), b"");
    drop(client);
    quay.counts("penstock_connections 0");
    assert_eq!(quay.gateway.send(&Request::get("open.test", "/")).status(), 200);
}

#[test]
fn a_tunnel_knows_no_time_but_its_own() {
    let quay = Quay::served(|serve| {
        let serve = serve.with("--client-stall-timeout", 0.2);
        serve.with("--client-idle-timeout", 0.2).with("--request-timeout", 0.2)
    });
    let (mut client, steps, _) = quay.switch();
    // Longer than any of them, both silent and stuck.
    const FLOOD: &[u8] = &[0; 16 << 20];
    let sent = steps.flood(FLOOD.len(), STUCK);
    assert!(sent < FLOOD.len());
    assert_eq!(client.read(sent).len(), sent);
    client.write(MASKED_HELLO);
    assert_eq!(steps.read(MASKED_HELLO.len()), MASKED_HELLO);
}

#[test]
fn frames_pass_over_https() {
    let authority = Authority::new();
    let upstream = Upstream::start(Scenario::Completion);
    let open = Ingress::new("open")
        .at("open.test", "Prefix", "/")
        .to("llm-brook.internal.static:80")
        .tls("{hosts: [open.test], secretName: open}");
    let (file, text) = authority.secret("open", &["open.test"]);
    let directory = Directory::harbor(upstream.address).holding([open.file(), (file, text)]);
    let mut gateway = Serve::new(directory.path()).with("--drain", 60).start();
    let steps = upstream.stepped();
    let config = authority.client(&[&TLS13], &["http/1.1"]);
    let mut client = Connection::open_tls(gateway.https, &config, "open.test").unwrap();
    client.send(&asking("open.test", "websocket"));
    steps.write([SWITCHED.as_bytes(), HELLO].concat());
    assert_eq!(client.head().status, 101);
    assert_eq!(client.read(HELLO.len()), HELLO);
    assert_eq!(upstream.received().header("x-forwarded-proto"), Some("https"));
    gateway.signal("TERM");
    eventually("draining", || (gateway.ready() == 503).then_some(()));
    client.write(MASKED_HELLO);
    assert_eq!(steps.read(MASKED_HELLO.len()), MASKED_HELLO);
    assert!(gateway.is_running());
    steps.close();
    assert_eq!(client.rest(), b"");
    drop(client);
    assert!(gateway.wait().success());
}

#[test]
fn http2_clients_are_told_that_nothing_is_switched() {
    let quay = Quay::start();
    let mut client = Http2::open(quay.gateway.http);
    let connect = http::Request::builder().method(Method::CONNECT).uri("open.test:80");
    let answer = client.begin(connect.body(()).unwrap());
    let answer = client.wait(answer).unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(answer.headers().get("connection"), None);
    let answer = client.begin(request(Method::GET, "http", "open.test", "/"));
    assert_eq!(client.wait(answer).unwrap().status(), 200);
    assert_eq!(quay.upstream.received().line, "GET / HTTP/1.1");
    quay.upstream.received_nothing();
}

#[test]
fn offers_of_other_versions_of_http_are_passed_over() {
    let quay = Quay::start();
    for offer in ["h2c", "TLS/1.0", "h2, h2c"] {
        let request = asking("open.test", offer).header("HTTP2-Settings", "AAMAAABkAAQAAP__");
        assert_eq!(quay.gateway.send(&request).status(), 200, "{offer}");
        let received = quay.upstream.received();
        assert_eq!(received.header("upgrade"), None, "{offer}");
        assert_eq!(received.header("http2-settings"), None, "{offer}");
    }
}

#[test]
fn other_protocols_are_refused_and_the_connection_is_over() {
    let quay = Quay::start();
    let inner = Request::get("open.test", "/inner").to_bytes();
    let asked = [
        asking("open.test", "smtp").to_bytes(),
        asking("open.test", "websocket, smtp").to_bytes(),
        b"CONNECT open.test:80 HTTP/1.1\r\nHost: open.test:80\r\n\r\n".to_vec(),
    ];
    for request in asked {
        let mut client = quay.gateway.connect();
        client.write(&[request, inner.clone()].concat());
        let answer = client.answer();
        assert_eq!(answer.status(), 403);
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(client.rest(), b"");
    }
    quay.upstream.received_nothing();
}

#[test]
fn an_upgrade_with_a_body_is_refused() {
    let quay = Quay::start();
    let answer = quay.gateway.send(&asking("open.test", "websocket").body("x"));
    assert_eq!(answer.status(), 400);
    quay.upstream.received_nothing();
}

#[test]
fn an_upgrade_that_nobody_asked_for_is_an_error() {
    let quay = Quay::start();
    let (mut client, steps) = quay.begin(&Request::get("open.test", "/"));
    steps.write(SWITCHED);
    assert_eq!(client.answer().status(), 502);
}
