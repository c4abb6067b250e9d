//! Answers on their way to the client: as they come, no faster than the
//! client reads, and never more complete than they were.

use std::time::{Duration, Instant};

use crate::support::client::WATER;
use crate::support::upstream::{COMPLETION, EVENT_STREAM, Steps};
use crate::support::*;

const STREAMED: &str = r#"{"model":"m","stream":true,"messages":[]}"#;
/// How long a writer has to be stuck to count as stuck.
const STUCK: Duration = Duration::from_millis(400);

/// How long the upstream may stay unaware of a client that has gone.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Waits until the upstream has seen the end of the connection.
#[track_caller]
fn check_closed_at_once(steps: &Steps) {
    let began = Instant::now();
    steps.await_close();
    assert!(began.elapsed() < AT_ONCE, "it took {:?}", began.elapsed());
}

/// A stream that has begun.
fn begin(harbor: &Harbor) -> (Connection, Steps) {
    let steps = harbor.upstream.stepped();
    let request = Request::post(HOST, "/v1/chat/completions", STREAMED).key(HERON_KEY);
    let mut client = harbor.gateway.begin(&request);
    steps.write(EVENT_STREAM);
    assert_eq!(client.head().status, 200);
    (client, steps)
}

fn record(harbor: &Harbor) -> serde_json::Value {
    harbor.gateway.access_log.find(|line| line["request_id"].is_string()).expect("no access line")
}

#[test]
fn the_head_comes_before_the_first_event() {
    let harbor = Harbor::start();
    let steps = harbor.upstream.stepped();
    let mut client = harbor.gateway.begin(&chat());
    steps.write("HTTP/1.1 201 Created\r\nContent-Type: text/event-stream\r\nX-Kept: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
    let head = client.head();
    assert_eq!((head.status, head.header("x-kept")), (201, Some("1")));
    assert_eq!(head.header("transfer-encoding"), Some("chunked"));
}

#[test]
fn each_event_arrives_before_the_next_is_sent() {
    let harbor = Harbor::start();
    let (mut client, steps) = begin(&harbor);
    let events = [
        "data: a\n\n",
        ": comment\n\n",
        "event: x\r\ndata: b\r\ndata: c\r\n\r\n",
        "data: [DONE]\n\n",
    ];
    for event in events {
        steps.chunk(event);
        assert_eq!(client.chunk(), Chunk::data(event));
    }
    steps.finish();
    assert_eq!(client.chunk(), Chunk::Last);
}

#[test]
fn half_an_event_is_not_held_back() {
    let harbor = Harbor::start();
    let (mut client, steps) = begin(&harbor);
    for part in ["da", "ta: {\"a\"", ":1}\n", "\n"] {
        steps.chunk(part);
        assert_eq!(client.chunk(), Chunk::data(part));
    }
}

#[test]
fn the_connection_serves_on_after_a_stream() {
    let harbor = Harbor::start();
    let (mut client, steps) = begin(&harbor);
    steps.chunk("data: a\n\n");
    steps.finish();
    assert_eq!((client.chunk(), client.chunk()), (Chunk::data("data: a\n\n"), Chunk::Last));
    client.send(&chat());
    assert_eq!(client.answer().status(), 200);
    assert_eq!(harbor.upstream.connections(), 1);
}

#[test]
fn a_client_that_leaves_stops_the_upstream() {
    let harbor = Harbor::start();
    let (mut client, steps) = begin(&harbor);
    steps.chunk("data: a\n\n");
    assert_eq!(client.chunk(), Chunk::data("data: a\n\n"));
    drop(client);
    check_closed_at_once(&steps);
    let line = record(&harbor);
    assert_eq!((&line["error"], &line["status"]), (&"client_left".into(), &200.into()));
}

#[test]
fn a_client_that_leaves_before_the_answer_stops_the_upstream() {
    let harbor = Harbor::start();
    let steps = harbor.upstream.stepped();
    let client = harbor.gateway.begin(&chat());
    harbor.upstream.received();
    drop(client);
    check_closed_at_once(&steps);
    assert_eq!(record(&harbor)["status"], 0);
}

#[test]
fn a_client_that_leaves_while_the_upstream_is_silent_is_noticed() {
    let harbor = Harbor::start();
    let (client, steps) = begin(&harbor);
    drop(client);
    check_closed_at_once(&steps);
}

#[test]
fn an_upstream_that_breaks_off_a_stream_is_seen_as_broken() {
    let harbor = Harbor::start();
    let (mut client, steps) = begin(&harbor);
    steps.chunk("data: a\n\n");
    assert_eq!(client.chunk(), Chunk::data("data: a\n\n"));
    steps.close();
    assert_eq!(client.chunk(), Chunk::Broken);
    let line = record(&harbor);
    assert_eq!((&line["error"], &line["status"]), (&"upstream_broke_off".into(), &200.into()));
}

#[test]
fn no_way_of_breaking_off_looks_complete() {
    let harbor = Harbor::start();
    let check = |head: &str, body: &str| {
        harbor.upstream.once(Scenario::raw_then_close(head, body));
        let mut client = harbor.gateway.begin(&chat());
        // What breaks at once may take the head with it.
        let Some(answered) = client.try_head() else { return };
        assert_eq!(client.body_of(answered).end, End::Broken, "{head:?} {body:?}");
    };
    let chunked = "Content-Type: application/json\r\nTransfer-Encoding: chunked";
    check(chunked, "");
    check(chunked, "2\r\n{}\r\n");
    check(chunked, "5\r\n{}");
    check(chunked, "2\r\n{}\r\n0\r\n");
    check(chunked, "2\r\n{}\r\nnonsense\r\n");
    check("Content-Length: 10", "");
    check("Content-Length: 10", "{\"half");
    check("Content-Type: text/event-stream\r\nContent-Length: 100", "data: a\n\n");
    assert_eq!(harbor.chat().end, End::Complete);
}

#[test]
fn an_answer_that_ends_with_its_connection_is_complete() {
    let harbor =
        Harbor::answering(Scenario::raw_then_close("Content-Type: text/plain", "all of it"));
    let answer = harbor.chat();
    assert_eq!((answer.text().as_str(), answer.end), ("all of it", End::Complete));
}

#[test]
fn a_length_that_the_upstream_states_is_kept() {
    let harbor = Harbor::answering(Scenario::raw("Content-Length: 5", "hello"));
    let answer = harbor.chat();
    assert_eq!((answer.header("content-length"), answer.text().as_str()), (Some("5"), "hello"));
    assert_eq!(answer.header("transfer-encoding"), None);
}

#[test]
fn answers_without_a_body_have_none() {
    let harbor = Harbor::start();
    for status in ["204 No Content", "304 Not Modified"] {
        harbor
            .upstream
            .once(Scenario::Bytes(format!("HTTP/1.1 {status}\r\nX-Kept: 1\r\n\r\n").into_bytes()));
        let mut client = harbor.gateway.begin(&chat());
        let answer = client.answer();
        assert_eq!((answer.text().as_str(), answer.header("x-kept")), ("", Some("1")));
        client.send(&chat());
        assert_eq!(client.answer().status(), 200);
    }
    harbor
        .upstream
        .once(Scenario::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec()));
    let mut client = harbor.gateway.begin(&Request::new("HEAD", HOST, "/v1/models").key(HERON_KEY));
    assert_eq!(client.head().header("content-length"), Some("1000"));
    client.send(&chat());
    assert_eq!(client.answer().status(), 200);
}

#[test]
fn a_client_that_does_not_read_stops_the_upstream_from_writing() {
    const LIMIT: usize = 256 << 20;
    let harbor = Harbor::start();
    let steps = harbor.upstream.stepped();
    let mut client = harbor.gateway.begin(&chat());
    steps.write(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {LIMIT}\r\n\r\n"
    ));
    assert_eq!(client.head().status, 200);
    let before = harbor.gateway.resident_bytes();
    let taken = steps.flood(LIMIT, STUCK);
    let grown = harbor.gateway.resident_bytes().saturating_sub(before);
    // What the kernel buffers on both sides is not the gateway's.
    assert!(taken < 64 << 20, "{taken} bytes were taken for a client that does not read");
    assert!(grown < 8 << 20, "the gateway holds {grown} bytes");
}

#[test]
fn an_upstream_that_does_not_read_stops_the_client_from_writing() {
    let harbor = Harbor::start();
    let steps = harbor.upstream.stepped();
    let mut client = harbor.gateway.connect();
    client.write(format!("POST /v1/files HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {HERON_KEY}\r\nContent-Type: application/octet-stream\r\nContent-Length: 268435456\r\n\r\n").as_bytes());
    harbor.upstream.received();
    let before = harbor.gateway.resident_bytes();
    let taken = client.flood(WATER, 256 << 20, STUCK);
    let grown = harbor.gateway.resident_bytes().saturating_sub(before);
    assert!(taken < 64 << 20, "{taken} bytes were taken for an upstream that does not read");
    assert!(grown < 8 << 20, "the gateway holds {grown} bytes");
    drop(steps);
}

#[test]
fn one_slow_client_does_not_hold_up_another() {
    let harbor = Harbor::start();
    let steps = harbor.upstream.stepped();
    let mut slow = harbor.gateway.begin(&chat());
    steps.write(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 268435456\r\n\r\n",
    );
    slow.head();
    steps.flood(256 << 20, STUCK);
    for _ in 0..5 {
        assert_eq!(harbor.chat().status(), 200);
    }
}

#[test]
fn tokens_are_counted_in_passing() {
    let harbor = Harbor::start();
    let (mut client, steps) = begin(&harbor);
    steps.chunk("data: {\"choices\":[]}\n\n");
    steps.chunk("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":9,\"total_tokens\":14}}\n\ndata: [DONE]\n\n");
    steps.finish();
    while let Chunk::Data(_) = client.chunk() {}
    let line = record(&harbor);
    assert_eq!((&line["input_tokens"], &line["output_tokens"]), (&5.into(), &9.into()));
    assert_eq!(line["stream"], true);
    let answer = harbor.chat();
    let line = harbor.gateway.access_log.of_request(&answer);
    assert_eq!((&line["input_tokens"], &line["output_tokens"]), (&11.into(), &7.into()));
    assert_eq!(line["stream"], false);
}

#[test]
fn an_answer_has_one_framing() {
    let harbor = Harbor::start();
    let both = "Content-Length: 3\r\nTransfer-Encoding: chunked";
    harbor.upstream.once(Scenario::raw_then_close(both, "5\r\nhello\r\n0\r\n\r\n"));
    let answer = harbor.chat();
    let framings = [answer.header("content-length"), answer.header("transfer-encoding")];
    match answer.status() {
        200 => {
            assert_eq!((framings, answer.text().as_str()), ([None, Some("chunked")], "hello"));
        }
        status => assert_eq!(status, 502),
    }
}

#[test]
fn a_body_where_none_may_be_is_not_passed_on() {
    let harbor = Harbor::start();
    for head in ["204 No Content", "304 Not Modified"] {
        let text = format!("HTTP/1.1 {head}\r\nContent-Length: 5\r\n\r\nhello");
        harbor.upstream.once(Scenario::Bytes(text.into()));
        let mut client = harbor.gateway.begin(&chat());
        let head = client.head();
        assert!(head.status == 304 || head.header("content-length").is_none(), "{head:?}");
        client.send(&chat());
        let answer = client.answer();
        assert_eq!((answer.status(), answer.text().as_str()), (200, COMPLETION));
    }
}

#[test]
fn a_switch_of_protocols_that_nobody_asked_for_is_an_error() {
    let harbor = Harbor::start();
    let switching =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: raw\r\nConnection: upgrade\r\n\r\nraw";
    harbor.upstream.once(Scenario::Bytes(switching.into()));
    assert_eq!(harbor.chat().status(), 502);
    assert_eq!(harbor.chat().status(), 200);
}
