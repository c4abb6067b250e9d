//! What a client can use up: connections, time, requests at a time.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;

use crate::support::http2::{Http2, request};
use crate::support::upstream::EVENT_STREAM;
use crate::support::*;

fn limited(flags: &[(&str, &str)]) -> Harbor {
    Harbor::served(
        Scenario::Completion,
        |_| {},
        |serve| flags.iter().fold(serve, |serve, (flag, value)| serve.with(flag, value)),
    )
}

#[track_caller]
fn check_ended(harbor: &Harbor, reason: &str) {
    let line = format!("penstock_connections_ended_total{{reason=\"{reason}\"}} ");
    eventually(reason, || {
        let text = harbor.gateway.metrics();
        let count = text.lines().find_map(|text| text.strip_prefix(&line).map(str::to_owned));
        (count.expect("no such reason") != "0").then_some(())
    });
}

/// Waits for the end of a connection; how long it took.
fn time_to_end(connection: &mut Connection) -> Duration {
    let began = Instant::now();
    connection.rest();
    began.elapsed()
}

#[test]
fn a_handshake_that_never_ends_is_ended() {
    let harbor = limited(&[("--handshake-timeout", "0.3")]);
    let mut silent = Connection::open(harbor.gateway.https);
    let mut slow = Connection::open(harbor.gateway.https);
    // The beginning of a ClientHello.
    slow.write(&[22, 3, 1, 2, 0, 1, 0]);
    assert!(time_to_end(&mut silent) >= Duration::from_millis(200));
    slow.rest();
    check_ended(&harbor, "handshake_timeout");
    assert_eq!(harbor.chat().status(), 200);
}

#[test]
fn a_head_has_its_time_and_waiting_has_another() {
    let harbor = limited(&[("--head-timeout", "0.3"), ("--client-idle-timeout", "1.5")]);
    let mut kept = harbor.gateway.connect();
    kept.send(&chat());
    assert_eq!(kept.answer().status(), 200);
    let mut slow = harbor.gateway.connect();
    slow.send(&chat());
    assert_eq!(slow.answer().status(), 200);
    slow.write(b"GET / HTTP/1.1\r\n");
    let took = time_to_end(&mut slow);
    assert!(took < Duration::from_millis(1200), "{took:?}");
    check_ended(&harbor, "head_timeout");
    // The other one is still waiting.
    kept.send(&chat());
    assert_eq!(kept.answer().status(), 200);
    let took = time_to_end(&mut kept);
    assert!(took > Duration::from_millis(1000), "{took:?}");
    check_ended(&harbor, "idle");
}

#[test]
fn idle_http2_connections_end() {
    let harbor = limited(&[("--client-idle-timeout", "0.5")]);
    let mut client = Http2::open(harbor.gateway.http);
    let steps = harbor.upstream.stepped();
    let (answer, mut body) = client.try_begin(chat_request(), false).unwrap();
    body.send_data(Bytes::from_static(CHAT.as_bytes()), true).unwrap();
    steps.write(EVENT_STREAM);
    let mut answer = client.wait(answer).unwrap().into_body();
    // As long as a stream runs, nothing is idle.
    let pause = Instant::now() + Duration::from_secs(1);
    eventually("a pause", || (Instant::now() > pause).then_some(()));
    steps.chunk("data: a\n\n");
    assert_eq!(client.data(&mut answer), Some("data: a\n\n".to_owned()));
    steps.finish();
    assert_eq!(client.data(&mut answer), None);
    drop((answer, body));
    let _ = client.await_end();
    check_ended(&harbor, "idle");
}

#[test]
fn a_client_that_takes_nothing_is_let_go() {
    let harbor = limited(&[("--client-stall-timeout", "1.5")]);
    let steps = harbor.upstream.stepped();
    let client = harbor.gateway.begin(&chat());
    steps.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
    steps.flood(1_000_000_000, Duration::from_millis(300));
    check_ended(&harbor, "stalled");
    drop(client);
}

#[test]
fn there_are_no_more_connections_than_allowed() {
    let harbor = limited(&[("--connection-limit", "3")]);
    let mut open: Vec<Connection> = (0..3).map(|_| harbor.gateway.connect()).collect();
    open.iter_mut().for_each(|connection| connection.send(&chat()));
    assert!(open.iter_mut().all(|connection| connection.answer().status() == 200));
    assert_eq!(harbor.gateway.connect().rest(), b"");
    check_ended(&harbor, "process_limit");
    assert!(harbor.gateway.metrics().contains("penstock_connections 3"));
    open.pop();
    eventually("room", || {
        let mut connection = harbor.gateway.connect();
        connection.send(&chat());
        connection.try_head()
    });
}

#[test]
fn an_address_has_no_more_connections_than_allowed() {
    let harbor = limited(&[("--address-connection-limit", "2")]);
    let mut open: Vec<Connection> = (0..2).map(|_| harbor.gateway.connect()).collect();
    open.iter_mut().for_each(|connection| connection.send(&chat()));
    assert!(open.iter_mut().all(|connection| connection.answer().status() == 200));
    assert_eq!(harbor.gateway.connect().rest(), b"");
    check_ended(&harbor, "address_limit");
}

fn chat_request() -> http::Request<()> {
    let mut request = request(Method::POST, "http", HOST, "/v1/chat/completions");
    let key = format!("Bearer {HERON_KEY}").parse().unwrap();
    request.headers_mut().insert("authorization", key);
    request
}

#[test]
fn a_flood_of_resets_ends_the_connection() {
    let harbor = Harbor::answering(Scenario::Silence);
    let mut client = Http2::open(harbor.gateway.http);
    let mut sent = 0;
    let outcome = loop {
        let begun = client.try_begin(chat_request(), false).and_then(|(answer, mut stream)| {
            stream.send_data(Bytes::from_static(CHAT.as_bytes()), true)?;
            stream.send_reset(h2::Reason::CANCEL);
            drop(answer);
            Ok(())
        });
        match begun {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 100_000, "nothing stops the flood");
    };
    assert!(sent < 10_000, "{sent} requests until {outcome}");
    assert!(harbor.upstream.connections() < 500, "{}", harbor.upstream.connections());
    let mut other = Http2::open(harbor.gateway.http);
    harbor.upstream.once(Scenario::Completion);
    assert_eq!(other.send(chat_request(), CHAT).0.status, 200);
}

#[test]
fn requests_that_are_cancelled_under_way_count() {
    let harbor = Harbor::served(
        Scenario::Silence,
        |_| {},
        |serve| serve.with("--reset-limit", "5").with("--threads", "1"),
    );
    let mut client = Http2::open(harbor.gateway.http);
    for _ in 0..6 {
        let (answer, mut stream) = client.try_begin(chat_request(), false).unwrap();
        stream.send_data(Bytes::from_static(CHAT.as_bytes()), true).unwrap();
        harbor.upstream.received();
        stream.send_reset(h2::Reason::CANCEL);
        drop(answer);
    }
    let _ = client.await_end();
    check_ended(&harbor, "resets");
}

#[test]
fn an_http2_head_is_bounded() {
    let harbor = limited(&[("--head-limit", "8192"), ("--header-limit", "20")]);
    let mut client = Http2::open(harbor.gateway.http);
    let mut large = chat_request();
    large.headers_mut().insert("x-large", "x".repeat(9000).parse().unwrap());
    let answer = client.begin(large);
    assert_eq!(client.wait(answer).unwrap().status(), 431);
    let mut many = chat_request();
    for _ in 0..20 {
        many.headers_mut().append("x-many", "x".parse().unwrap());
    }
    // Without a body: the stream may be over before one is sent.
    let answer = client.begin(many);
    assert_eq!(client.wait(answer).unwrap().status(), 431);
    assert_eq!(client.send(chat_request(), CHAT).0.status, 200);
    let many = (0..20).fold(chat(), |request, _| request.header("x-many", "x"));
    assert_eq!(harbor.gateway.send(&many).status(), 431);
}

#[test]
fn streams_of_a_connection_are_bounded() {
    let harbor =
        Harbor::served(Scenario::Silence, |_| {}, |serve| serve.with("--stream-limit", "2"));
    let mut client = Http2::open(harbor.gateway.http);
    // The first answer shows that the settings have arrived.
    harbor.upstream.once(Scenario::Completion);
    assert_eq!(client.send(chat_request(), CHAT).0.status, 200);
    harbor.upstream.received();
    let mut begun: Vec<_> = (0..3).map(|_| begin(&mut client)).collect();
    harbor.upstream.received();
    harbor.upstream.received();
    assert!(harbor.upstream.try_received().is_none());
    drop(begun.remove(0));
    harbor.upstream.received();
}

fn begin(client: &mut Http2) -> impl Sized + use<> {
    let (answer, mut stream) = client.try_begin(chat_request(), false).unwrap();
    stream.send_data(Bytes::from_static(CHAT.as_bytes()), true).unwrap();
    (answer, stream)
}

#[test]
fn without_file_descriptors_clients_wait_and_are_served_later() {
    let upstream = Upstream::start(Scenario::Completion);
    let directory = Directory::harbor(upstream.address);
    let gateway = Serve::new(directory.path()).with_open_files(64).start();
    let metric = |name: &str| {
        let text = gateway.metrics();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
        line.parse::<u64>().unwrap()
    };
    // The admin listener has to have its connections, so the last ones are
    // left to it: what is counted is asked for afterwards.
    let mut crowd: Vec<Connection> = (0..100).map(|_| gateway.connect()).collect();
    crowd.iter_mut().for_each(|connection| connection.send(&chat()));
    let cpu = cpu_ticks(gateway.id());
    let pause = Instant::now() + Duration::from_secs(1);
    eventually("a pause", || (Instant::now() > pause).then_some(()));
    let spent = cpu_ticks(gateway.id()) - cpu;
    assert!(spent < 50, "{spent} hundredths of a second of CPU time in one");
    let mut last = crowd.pop().unwrap();
    drop(crowd);
    // It may have been answered that the upstream could not be reached.
    assert!([200, 503].contains(&last.answer().status()));
    drop(last);
    assert!(metric("penstock_accept_failures_total") > 0);
    let mut again = gateway.connect();
    again.send(&chat());
    assert_eq!(again.answer().status(), 200);
}

/// The CPU time of a process in hundredths of a second.
fn cpu_ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let field = |at: usize| fields.split_whitespace().nth(at).unwrap().parse::<u64>().unwrap();
    field(11) + field(12)
}
