//! HTTP/2 peers that withhold room, ignore it, or talk without listening:
//! each costs little, and is over after its time.

use std::time::{Duration, Instant};

use crate::support::client::WATER;
use crate::support::frames::{
    END_HEADERS, END_STREAM, Frames, INITIAL_WINDOW_SIZE, Outcome, field, frame, setting,
};
use crate::support::http2_upstream::Http2Upstream;
use crate::support::upstream::EVENT_STREAM;
use crate::support::*;

const HOST: &str = "open.test";
/// What an upstream offers to each request.
const OFFERED: usize = 1 << 20;
/// How long a client may take nothing.
const STALL: Duration = Duration::from_secs(1);
/// The number of streams that a client may have.
const STREAMS: u32 = 100;
/// What a client may want to send.
const FLOOD: usize = 64 << 20;
/// How long a writer has to be stuck to count as stuck.
const STUCK: Duration = Duration::from_millis(400);

fn directory(address: std::net::SocketAddr, more: &str) -> Directory {
    let registry = format!("{{name: deck, type: static, domain: \"{address}\", port: 80{more}}}");
    Directory::new()
        .holding([("mcpbridges/default.yaml".to_owned(), bridge(&[registry]))])
        .holding([Ingress::new("open").at(HOST, "Prefix", "/").file()])
}

/// A gateway before an upstream that answers like this.
fn serve(scenario: Scenario) -> (Upstream, Gateway) {
    let upstream = Upstream::start(scenario);
    let directory = directory(upstream.address, "");
    let stall = STALL.as_secs_f64();
    let gateway = Serve::new(directory.path()).with("--client-stall-timeout", stall).start();
    (upstream, gateway)
}

/// A client whose streams have this much room in the beginning.
fn open(gateway: &Gateway, window: u32) -> Frames {
    let mut client = Frames::open(gateway.http);
    client.write(&setting(INITIAL_WINDOW_SIZE, window));
    client
}

#[track_caller]
fn check_counts(gateway: &Gateway, line: &str) {
    eventually(line, || gateway.metrics().lines().any(|known| known == line).then_some(()));
}

/// Asserts that all streams of a client that opens no windows beyond these
/// cost little, and are reset in time; others on the connection go on.
#[track_caller]
fn check_slow(window: u32) {
    let answer = Scenario::raw(&format!("Content-Length: {OFFERED}"), &"x".repeat(OFFERED));
    let (upstream, gateway) = serve(answer);
    assert_eq!(gateway.send(&Request::get(HOST, "/")).status(), 200);
    let before = gateway.resident_bytes();
    let mut client = open(&gateway, window);
    let began = Instant::now();
    for number in 0..STREAMS {
        client.send(2 * number + 1, &Request::get(HOST, "/"));
    }
    let mut heads = 0;
    let mut grown = 0;
    let mut reset = 0;
    while reset < STREAMS {
        match client.next().expect("the connection ended") {
            next if next.kind == "HEADERS" => heads += 1,
            next if next.kind == "RST_STREAM" => {
                reset += 1;
                assert!(began.elapsed() >= STALL, "after {:?}", began.elapsed());
            }
            _ => grown = grown.max(gateway.resident_bytes().saturating_sub(before)),
        }
        if heads == STREAMS {
            grown = grown.max(gateway.resident_bytes().saturating_sub(before));
        }
    }
    assert!(grown < 48 << 20, "the gateway holds {grown} bytes");
    check_counts(&gateway, "penstock_requests_active 0");
    upstream.once(Scenario::Status(200, "{}"));
    client.write(&setting(INITIAL_WINDOW_SIZE, 65_535));
    client.send(2 * STREAMS + 1, &Request::get(HOST, "/"));
    assert_eq!(client.outcome(2 * STREAMS + 1), Outcome::Answered(200));
}

#[test]
fn streams_without_any_room_cost_little_and_are_reset() {
    check_slow(0);
}

#[test]
fn streams_with_little_room_cost_little_and_are_reset() {
    check_slow(300);
}

#[test]
fn a_stream_that_waits_for_its_upstream_is_not_reset() {
    let (upstream, gateway) = serve(Scenario::Completion);
    let steps = upstream.stepped();
    let mut client = open(&gateway, 9);
    client.send(1, &Request::get(HOST, "/"));
    steps.write(EVENT_STREAM);
    assert_eq!(client.await_frame("HEADERS").stream, 1);
    let began = Instant::now();
    while began.elapsed() < 2 * STALL {
        steps.chunk("data: a\n\n");
        assert_eq!(client.await_frame("DATA").payload, b"data: a\n\n");
        // Room for the next, which is not there yet.
        client.write(&frame("WINDOW_UPDATE", 0, 1, &9_u32.to_be_bytes()));
        std::thread::sleep(STALL / 4);
    }
    steps.finish();
    let last = client.await_frame("DATA");
    assert_eq!((last.payload.as_slice(), last.flags), (&b""[..], END_STREAM));
}

/// Asserts that a client that repeats frames for ever and reads nothing is
/// stopped, costs little, and is ended in time.
#[track_caller]
fn check_flood(piece: &[u8]) {
    let (_upstream, gateway) = serve(Scenario::Completion);
    let mut client = Frames::open(gateway.http);
    let before = gateway.resident_bytes();
    let taken = client.0.flood(&piece.repeat(1000), FLOOD, STUCK);
    assert!(taken < FLOOD, "{taken} bytes were taken");
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 8 << 20, "the gateway holds {grown} bytes");
    check_counts(&gateway, "penstock_connections_ended_total{reason=\"stalled\"} 1");
    check_counts(&gateway, "penstock_connections 0");
    assert_eq!(gateway.send(&Request::get(HOST, "/")).status(), 200);
}

#[test]
fn a_flood_of_pings_that_are_not_read_is_ended() {
    check_flood(&frame("PING", 0, 0, b"12345678"));
}

#[test]
fn a_flood_of_settings_that_are_not_read_is_ended() {
    check_flood(&setting(INITIAL_WINDOW_SIZE, 65_535));
}

#[test]
fn a_client_that_sends_beyond_its_windows_is_stopped() {
    let (upstream, gateway) = serve(Scenario::Completion);
    // It reads the head of the request and no more.
    let steps = upstream.stepped();
    let before = gateway.resident_bytes();
    let mut client = Frames::open(gateway.http);
    let head = Request::new("POST", HOST, "/").fields();
    let head = head.iter().flat_map(|(name, value)| field(name.as_bytes(), value.as_bytes()));
    client.write(&frame("HEADERS", END_HEADERS, 1, &head.collect::<Vec<_>>()));
    upstream.received();
    let data = frame("DATA", 0, 1, &[b'x'; 16 << 10]);
    client.0.flood(&data, FLOOD, STUCK);
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 8 << 20, "the gateway holds {grown} bytes");
    assert_ne!(client.outcome(1), Outcome::Answered(200));
    steps.await_close();
    check_counts(&gateway, "penstock_requests_active 0");
    assert_eq!(gateway.send(&Request::get(HOST, "/")).status(), 200);
}

#[test]
fn an_upstream_without_room_stops_the_client_from_writing() {
    let upstream = Http2Upstream::start();
    let directory = directory(upstream.address, ", protocol: http2");
    let gateway = Serve::new(directory.path()).with("--first-byte-timeout", 1).start();
    assert_eq!(gateway.send(&Request::get(HOST, "/")).status(), 200);
    let before = gateway.resident_bytes();
    let mut clients: Vec<_> = (0..4)
        .map(|_| {
            let mut client = gateway.connect();
            let head =
                format!("POST /unread HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {FLOOD}\r\n\r\n");
            client.write(head.as_bytes());
            // It is not the client that keeps the others waiting.
            client.write(WATER);
            client
        })
        .collect();
    for client in &mut clients {
        let taken = client.flood(WATER, FLOOD - WATER.len(), STUCK / 2);
        assert!(taken < FLOOD - WATER.len(), "{taken} bytes were taken");
    }
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 8 << 20, "the gateway holds {grown} bytes");
    // The answer may be lost on a connection that breaks under a flood.
    let mut missing = clients.len();
    let given_up = gateway.access_log.find(|line| {
        missing -= usize::from(line["status"] == 504);
        missing == 0
    });
    assert!(given_up.is_some(), "{:?}", gateway.access_log.all());
    assert_eq!(gateway.send(&Request::get(HOST, "/")).status(), 200);
}

#[test]
fn a_client_need_not_wait_for_an_upstream_that_leaves_its_body_unread() {
    let upstream = Http2Upstream::start();
    let directory = directory(upstream.address, ", protocol: http2");
    let gateway = Serve::new(directory.path()).start();
    let mut client = gateway.connect();
    let head = format!("POST /answered HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n");
    client.write(format!("{head}Content-Length: {FLOOD}\r\n\r\n").as_bytes());
    client.write(&WATER.repeat(8));
    assert_eq!(client.answer().text(), "aye");
    assert_eq!(client.rest(), b"");
    drop((client, upstream));
    check_counts(&gateway, "penstock_connections 0");
}
