//! Connections on both sides: kept, shared out, given up.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use crate::support::client::{PATIENCE, WATER};
use crate::support::upstream::EVENT_STREAM;
use crate::support::*;

#[test]
fn upstream_connections_are_kept() {
    let harbor = Harbor::start();
    for _ in 0..10 {
        assert_eq!(harbor.chat().status(), 200);
    }
    assert_eq!(harbor.upstream.connections(), 1);
}

#[test]
fn one_connection_carries_one_request_at_a_time() {
    let harbor = Harbor::start();
    let (first, second) = (harbor.upstream.stepped(), harbor.upstream.stepped());
    let mut clients = [harbor.gateway.begin(&chat()), harbor.gateway.begin(&chat())];
    assert_ne!(harbor.upstream.received().connection, harbor.upstream.received().connection);
    for steps in [first, second] {
        steps.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.answer().status(), 200);
    }
    harbor.chat();
    assert_eq!(harbor.upstream.connections(), 2);
}

#[test]
fn a_kept_connection_that_has_closed_is_not_an_error() {
    let harbor = Harbor::start();
    for round in 1..=5 {
        assert_eq!(harbor.chat().status(), 200);
        assert_eq!(harbor.upstream.connections(), round);
        harbor.upstream.close_connections();
    }
}

#[test]
fn a_request_is_never_sent_twice() {
    let harbor = Harbor::answering(Scenario::raw_then_close("Content-Length: 2", "{}"));
    for _ in 0..50 {
        // The end of the connection and the next request may cross.
        let status = harbor.chat().status();
        assert!([200, 502].contains(&status), "{status}");
    }
    let arrived = std::iter::from_fn(|| harbor.upstream.try_received()).count();
    assert!(arrived <= 50, "{arrived} requests arrived");
}

#[test]
fn a_connection_that_the_upstream_wants_closed_is_not_used_again() {
    let harbor = Harbor::answering(Scenario::raw("Connection: close\r\nContent-Length: 2", "{}"));
    for _ in 0..5 {
        assert_eq!(harbor.chat().status(), 200);
    }
    assert_eq!(harbor.upstream.connections(), 5);
}

#[test]
fn bytes_that_nobody_asked_for_are_no_answer() {
    let harbor = Harbor::start();
    harbor.upstream.once(Scenario::raw(
        "Content-Length: 2",
        "{}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfalse",
    ));
    assert_eq!(harbor.chat().text(), "{}");
    let answer = harbor.chat();
    assert_eq!((answer.status(), answer.text().contains("false")), (200, false));
}

#[test]
fn a_connection_whose_answer_was_not_read_is_not_used_again() {
    let harbor = Harbor::start();
    let steps = harbor.upstream.stepped();
    let mut client = harbor.gateway.begin(&chat());
    steps.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    client.head();
    drop(client);
    steps.await_close();
    assert_eq!(harbor.chat().status(), 200);
    assert_eq!(harbor.upstream.connections(), 2);
}

#[test]
fn a_client_may_send_request_after_request() {
    let harbor = Harbor::start();
    let mut client = harbor.gateway.connect();
    for request in [chat(), chat_without_key(), Request::get(HOST, "/"), chat()] {
        client.send(&request);
        let _ = client.answer();
    }
    client.send(&chat());
    assert_eq!(client.answer().status(), 200);
}

#[test]
fn a_client_may_send_several_requests_at_once() {
    let harbor = Harbor::start();
    let mut client = harbor.gateway.connect();
    client.write(&[chat().to_bytes(), chat_without_key().to_bytes(), chat().to_bytes()].concat());
    let statuses = [client.answer().status(), client.answer().status(), client.answer().status()];
    assert_eq!(statuses, [200, 401, 200]);
}

#[test]
fn a_client_that_leaves_with_a_request_to_follow_ends_the_first() {
    let harbor = Harbor::start();
    let steps = harbor.upstream.stepped();
    let mut client = harbor.gateway.begin(&chat());
    client.send(&chat());
    steps.write(EVENT_STREAM);
    steps.chunk("data: a\n\n");
    client.head();
    assert_eq!(client.chunk(), Chunk::data("data: a\n\n"));
    drop(client);
    steps.await_close();
    drop(steps);
    harbor.upstream.received();
    harbor.upstream.received_nothing();
}

#[test]
fn a_client_that_wants_its_connection_closed_gets_it_closed() {
    let harbor = Harbor::start();
    let mut client = harbor.gateway.begin(&chat().header("Connection", "close"));
    assert_eq!(client.answer().header("connection"), Some("close"));
    assert_eq!(client.rest(), b"");
}

#[test]
fn an_old_client_gets_its_answer() {
    let harbor = Harbor::start();
    let mut client = harbor.gateway.connect();
    client.write(
        format!(
            "GET /v1/models HTTP/1.0\r\nHost: {HOST}\r\nAuthorization: Bearer {HERON_KEY}\r\n\r\n"
        )
        .as_bytes(),
    );
    assert_eq!(client.answer().status(), 200);
    assert_eq!(client.rest(), b"");
    assert_eq!(harbor.upstream.received().line, "GET /v1/models HTTP/1.1");
}

#[test]
fn nonsense_from_a_client_is_answered_and_over() {
    let harbor = Harbor::start();
    for nonsense in [
        "\r\n\r\nnonsense\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01",
    ] {
        let mut client = harbor.gateway.connect();
        client.write(nonsense.as_bytes());
        client.finish_writing();
        let answered = String::from_utf8(client.rest()).unwrap();
        assert!(
            answered.is_empty() || answered.starts_with("HTTP/1.1 400 "),
            "{nonsense:?} {answered}"
        );
    }
    assert_eq!(harbor.chat().status(), 200);
}

#[test]
fn many_clients_at_once_are_served() {
    let harbor = Harbor::served(Scenario::Completion, |_| {}, |serve| serve.with("--threads", 2));
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut client = harbor.gateway.connect();
                for _ in 0..20 {
                    client.send(&chat());
                    assert_eq!(client.answer().status(), 200);
                }
            });
        }
    });
    assert!(harbor.upstream.connections() <= 32);
}

#[test]
fn a_request_inside_a_body_is_checked_like_any_other() {
    let harbor = Harbor::changed(Scenario::Completion, |directory| {
        let open =
            Ingress::new("open").at("open.test", "Prefix", "/").to("llm-brook.internal.static:80");
        let (file, text) = open.file();
        directory.write(&file, text);
    });
    let inner = String::from_utf8(chat_without_key().to_bytes()).unwrap();
    let framings = [
        format!(
            "Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}",
            5 + inner.len()
        ),
        format!("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n{inner}"),
        format!("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{inner}"),
        format!("Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{inner}"),
        format!("Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{inner}"),
        format!("X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{inner}"),
        format!("Content-Length: +0\r\n\r\n{inner}"),
        format!("Content-Length: 0\r\n\r\n{inner}"),
    ];
    for framing in framings {
        let mut client = harbor.gateway.connect();
        client.write(
            format!(
                "POST /x HTTP/1.1\r\nHost: open.test\r\nContent-Type: application/json\r\n{framing}"
            )
            .as_bytes(),
        );
        client.finish_writing();
        client.rest();
        for received in std::iter::from_fn(|| harbor.upstream.try_received()) {
            assert_eq!(received.target(), "/x", "{framing}");
            assert!(!received.text().contains("ahoy"), "{framing}");
            let framings = ["content-length", "transfer-encoding"]
                .iter()
                .filter(|name| received.header(name).is_some());
            assert!(framings.count() <= 1, "{received:?}");
        }
    }
}

#[test]
fn a_client_may_hang_up_at_any_moment() {
    let harbor = Harbor::start();
    let request = chat().to_bytes();
    for end in 0..=request.len() {
        harbor.gateway.connect().write(&request[..end]);
    }
    let is_idle =
        |line: &str| line == "penstock_connections 0" || line == "penstock_requests_active 0";
    eventually("the end of all connections", || {
        (harbor.gateway.metrics().lines().filter(|line| is_idle(line)).count() == 2).then_some(())
    });
    assert_eq!(harbor.chat().status(), 200);
}

#[test]
fn a_head_without_an_end_is_refused() {
    let harbor = Harbor::start();
    let huge = chat().header("X-Huge", &"x".repeat(1 << 20));
    let mut client = harbor.gateway.begin(&huge);
    assert!(matches!(client.try_head().map(|head| head.status), None | Some(431)));
    harbor.upstream.received_nothing();
    assert_eq!(harbor.chat().status(), 200);
}

#[test]
fn hints_before_an_answer_are_no_answer() {
    let harbor = Harbor::start();
    let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    harbor.upstream.once(Scenario::Bytes(text.into()));
    let answer = harbor.chat();
    assert_eq!((answer.status(), answer.text().as_str()), (200, "{}"));
    assert_eq!(harbor.chat().status(), 200);
    assert_eq!(harbor.upstream.connections(), 1);
}

#[test]
fn a_client_that_sends_all_before_it_reads_learns_why_it_was_refused() {
    let harbor =
        Harbor::served(Scenario::Completion, |_| {}, |serve| serve.with("--body-limit", 1 << 20));
    let body = format!(r#"{{"x":"{}"}}"#, "x".repeat(8 << 20));
    let post = |host: &str| Request::post(host, "/v1/chat/completions", body.clone());
    assert_eq!(harbor.gateway.send(&post(HOST)).status(), 401);
    assert_eq!(harbor.gateway.send(&post(HOST).key(HERON_KEY)).status(), 413);
    assert_eq!(harbor.gateway.send(&post("elsewhere.test")).status(), 404);
}

/// Asserts that a client that was refused in the middle of its request can
/// send all of it, and that its connection ends in order.
#[track_caller]
fn check_heard(harbor: &Harbor, begin: &[u8], rest: &[u8], status: &str) {
    let mut client = TcpStream::connect(harbor.gateway.http).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(begin).unwrap();
    let mut answer = vec![0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"));
    client.write_all(rest).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    client.read_to_end(&mut answer).unwrap();
}

#[test]
fn a_refusal_does_not_break_off_what_the_client_still_sends() {
    let harbor =
        Harbor::served(Scenario::Completion, |_| {}, |serve| serve.with("--body-limit", 1 << 20));
    let rest = vec![b'x'; 4 << 20];
    let begin = |more: &str| {
        format!("POST /v1/chat/completions HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n{more}\r\n\r\n").into_bytes()
    };
    let length = format!("Content-Length: {}", rest.len());
    check_heard(&harbor, &begin(&length), &rest, "401");
    check_heard(&harbor, &begin("Transfer-Encoding: chunked"), b"nonsense", "401");
    let known = format!("Authorization: Bearer {HERON_KEY}\r\n{length}");
    check_heard(&harbor, &begin(&known), &rest, "413");
    let huge = begin(&format!("X-Huge: {}", "x".repeat(1 << 20)));
    check_heard(&harbor, &huge, &rest, "431");
    check_heard(&harbor, b"GET / HTTP/9.9\r\n", &rest, "400");
    harbor.upstream.received_nothing();
}

#[test]
fn a_client_that_was_refused_is_not_listened_to_for_ever() {
    let harbor = Harbor::start();
    let limit = 256 << 20;
    let head =
        format!("POST /v1/files HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {limit}\r\n\r\n");
    let mut loud = harbor.gateway.connect();
    loud.write(head.as_bytes());
    assert_eq!(loud.head().status, 401);
    assert!(loud.flood(WATER, limit, PATIENCE) < limit);
    let mut silent = harbor.gateway.connect();
    silent.write(head.as_bytes());
    assert_eq!(silent.answer().status(), 401);
    assert_eq!(silent.rest(), b"");
    let is_over = |line: &str| line == "penstock_connections 0";
    eventually("the end of both", || harbor.gateway.metrics().lines().any(is_over).then_some(()));
}

#[test]
fn a_client_that_asks_before_it_sends_is_refused_at_once() {
    let harbor = Harbor::start();
    let mut client = harbor.gateway.connect();
    client.write(format!("POST /v1/chat/completions HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n").as_bytes());
    assert_eq!(client.answer().status(), 401);
}

#[test]
fn an_answer_to_half_a_request_reaches_the_client() {
    let harbor = Harbor::start();
    let steps = harbor.upstream.stepped();
    let mut client = harbor.gateway.connect();
    client.write(format!("POST /v1/files HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {HERON_KEY}\r\nContent-Type: application/octet-stream\r\nContent-Length: 100000\r\n\r\nhalf").as_bytes());
    assert_eq!(steps.read(4), b"half");
    steps.write("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}");
    let answer = client.answer();
    assert_eq!((answer.status(), answer.text().as_str()), (413, "{}"));
    steps.finish();
    assert_eq!(harbor.chat().status(), 200);
    assert_eq!(harbor.upstream.connections(), 2);
}

#[test]
fn a_denial_of_head_has_no_body() {
    let harbor = Harbor::start();
    let mut client = harbor.gateway.begin(&Request::new("HEAD", HOST, "/v1/models"));
    assert_eq!(client.head().status, 401);
    client.send(&chat());
    assert_eq!(client.answer().status(), 200);
}

#[test]
fn targets_without_a_path_are_refused() {
    let harbor = Harbor::start();
    for (method, target, expected) in
        [("OPTIONS", "*", 400), ("CONNECT", "api.brook.test:443", 403)]
    {
        let status =
            harbor.gateway.begin(&Request::new(method, HOST, target).key(HERON_KEY)).head().status;
        assert_eq!(status, expected, "{method}");
    }
    harbor.upstream.received_nothing();
}

#[test]
fn an_old_client_may_keep_its_connection() {
    let harbor = Harbor::answering(Scenario::raw("Content-Length: 5", "hello"));
    let ask = |path: &str| {
        format!(
            "GET {path} HTTP/1.0\r\nHost: {HOST}\r\nAuthorization: Bearer {HERON_KEY}\r\nConnection: Keep-Alive\r\n\r\n"
        )
    };
    let mut client = harbor.gateway.connect();
    for _ in 0..3 {
        client.write(ask("/v1/models").as_bytes());
        let answer = client.answer();
        assert_eq!(
            (answer.header("connection"), answer.text().as_str()),
            (Some("keep-alive"), "hello")
        );
    }
    // It knows no chunks, so the end of the connection is the end of the body.
    harbor.upstream.once(Scenario::raw("Transfer-Encoding: chunked", "5\r\nahoy!\r\n0\r\n\r\n"));
    client.write(ask("/v1/models").as_bytes());
    let head = client.head();
    assert_eq!(head.header("connection"), Some("close"));
    assert_eq!((head.header("transfer-encoding"), head.header("content-length")), (None, None));
    assert_eq!(client.rest(), b"ahoy!");
}

#[test]
fn what_is_left_of_a_body_is_no_request() {
    let harbor = Harbor::start();
    let inner = chat().to_bytes();
    let denied = |framing: &str| {
        let mut client = harbor.gateway.connect();
        client.write(
            format!("POST /v1/chat/completions HTTP/1.1\r\nHost: {HOST}\r\n{framing}\r\n\r\n")
                .as_bytes(),
        );
        let answer = client.answer();
        assert_eq!((answer.status(), answer.header("connection")), (401, Some("close")));
        client.write(&inner);
        assert_eq!(client.rest(), b"");
    };
    denied(&format!("Content-Length: {}", inner.len() + 1));
    denied("Transfer-Encoding: chunked");
    denied("Content-Length: 100000\r\nExpect: 100-continue");
    harbor.upstream.received_nothing();
    // What has come already is passed over.
    let mut client = harbor.gateway.connect();
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nHost: {HOST}\r\n");
    for body in [
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        client.write(format!("{head}{body}").as_bytes());
        let answer = client.answer();
        assert_eq!((answer.status(), answer.header("connection")), (401, None), "{body}");
    }
    client.send(&chat());
    assert_eq!(client.answer().status(), 200);
}

#[test]
fn bodies_of_all_kinds_may_follow_each_other() {
    let harbor = Harbor::start();
    let post = |framing: &str| {
        format!(
            "POST /v1/files HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {HERON_KEY}\r\nContent-Type: application/octet-stream\r\n{framing}"
        )
    };
    let large = "x".repeat(100_000);
    let requests = [
        post("Content-Length: 5\r\n\r\nhello"),
        post("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n"),
        post(&format!("Content-Length: {}\r\n\r\n{large}", large.len())),
        post(&format!(
            "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
            large.len()
        )),
        post("Content-Length: 0\r\n\r\n"),
    ];
    let mut client = harbor.gateway.connect();
    for _ in 0..2 {
        client.write(requests.concat().as_bytes());
        for body in ["hello", "abcde", &large, &large, ""] {
            assert_eq!(client.answer().status(), 200);
            assert!(harbor.upstream.received().text() == body);
        }
    }
}

#[test]
fn answers_of_all_sizes_arrive_whole() {
    let harbor = Harbor::start();
    let mut client = harbor.gateway.connect();
    for length in [0, 1, 4000, 4096, 4097, 16_384, 70_000, 1 << 20] {
        let body = "x".repeat(length);
        let chunked = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
        let chunked = if length == 0 { "0\r\n\r\n" } else { &chunked };
        for scenario in [
            Scenario::raw(&format!("Content-Length: {length}"), &body),
            Scenario::raw("Transfer-Encoding: chunked", chunked),
            Scenario::raw_then_close("X-Kept: 1", &body),
        ] {
            harbor.upstream.once(scenario);
            client.send(&Request::get(HOST, "/v1/models").key(HERON_KEY));
            let answer = client.answer();
            assert!(answer.text() == body && answer.end == End::Complete, "{length}");
        }
    }
}

#[test]
fn what_is_no_request_is_not_waited_for() {
    let harbor = Harbor::start();
    for (nonsense, status) in [
        ("\x16\x03\x01", 400),
        ("GET / HTTP/9.9\r\nHost: a", 400),
        ("GET / HTTP/1.1\r\nHost: a\n", 400),
        ("GET / HTTP/1.1\r\n A: b\r\n\r\n", 400),
    ] {
        let mut client = harbor.gateway.connect();
        client.write(nonsense.as_bytes());
        let answer = client.answer();
        assert_eq!((answer.status(), answer.header("connection")), (status, Some("close")));
        assert!(answer.header("date").is_some_and(|date| date.ends_with(" GMT")));
        assert_eq!(client.rest(), b"");
    }
}
