//! HTTP/2 from clients: with prior knowledge and by ALPN, many streams at a
//! time, and what it means for those behind the gateway.

use bytes::Bytes;
use http::Method;
use rustls::version::TLS13;

use crate::support::certificates::Authority;
use crate::support::http2::{Http2, request};
use crate::support::upstream::EVENT_STREAM;
use crate::support::*;

fn chat_request() -> http::Request<()> {
    let mut request = request(Method::POST, "http", HOST, "/v1/chat/completions");
    let headers = request.headers_mut();
    headers.insert("authorization", format!("Bearer {HERON_KEY}").parse().unwrap());
    headers.insert("content-type", "application/json".parse().unwrap());
    request
}

#[test]
fn prior_knowledge_is_enough() {
    let harbor = Harbor::start();
    let mut client = Http2::open(harbor.gateway.http);
    for _ in 0..3 {
        let (head, body) = client.send(chat_request(), CHAT);
        assert_eq!(head.status, 200);
        assert!(body.contains("\"aye\""), "{body}");
        assert!(head.headers.contains_key("x-request-id"));
        let received = harbor.upstream.received();
        assert_eq!(received.line, "POST /v1/chat/completions HTTP/1.1");
        assert_eq!(received.text(), CHAT);
        let line = harbor.gateway.access_log.find(|line| line["status"] == 200).unwrap();
        assert_eq!((&line["host"], &line["consumer"]), (&HOST.into(), &HERON.into()));
    }
    assert_eq!(harbor.upstream.connections(), 1);
    let mut denied = chat_request();
    denied.headers_mut().remove("authorization");
    assert_eq!(client.send(denied, CHAT).0.status, 401);
}

#[test]
fn streams_of_one_connection_do_not_wait_for_each_other() {
    let harbor = Harbor::start();
    let mut client = Http2::open(harbor.gateway.http);
    let streams: Vec<_> = (0..4)
        .map(|_| {
            let steps = harbor.upstream.stepped();
            let (answer, mut body) = client.try_begin(chat_request(), false).unwrap();
            body.send_data(Bytes::from_static(CHAT.as_bytes()), true).unwrap();
            steps.write(EVENT_STREAM);
            let answer = client.wait(answer).unwrap();
            assert_eq!(answer.headers()["content-type"], "text/event-stream");
            assert!(!answer.headers().contains_key("transfer-encoding"));
            (steps, answer.into_body())
        })
        .collect();
    let mut streams = streams;
    for round in 0..3 {
        for (index, (steps, body)) in streams.iter_mut().enumerate().rev() {
            let event = format!("data: {round} {index}\n\n");
            steps.chunk(&event);
            assert_eq!(client.data(body), Some(event));
        }
    }
    for (steps, mut body) in streams {
        steps.finish();
        assert_eq!(client.data(&mut body), None);
    }
}

#[test]
fn a_cancelled_stream_ends_the_work_of_the_upstream() {
    let harbor = Harbor::start();
    let steps = harbor.upstream.stepped();
    let mut client = Http2::open(harbor.gateway.http);
    let (answer, mut body) = client.try_begin(chat_request(), false).unwrap();
    body.send_data(Bytes::from_static(CHAT.as_bytes()), true).unwrap();
    steps.write(EVENT_STREAM);
    let answer = client.wait(answer).unwrap();
    body.send_reset(h2::Reason::CANCEL);
    drop(answer);
    steps.await_close();
    assert_eq!(client.send(chat_request(), CHAT).0.status, 200);
}

#[test]
fn an_answer_that_breaks_off_is_reset() {
    let harbor = Harbor::start();
    let steps = harbor.upstream.stepped();
    let mut client = Http2::open(harbor.gateway.http);
    let (answer, mut body) = client.try_begin(chat_request(), false).unwrap();
    body.send_data(Bytes::from_static(CHAT.as_bytes()), true).unwrap();
    steps.write(EVENT_STREAM);
    let mut answer = client.wait(answer).unwrap().into_body();
    steps.close();
    let outcome = client.wait(answer.data());
    assert!(matches!(outcome, Some(Err(_))), "{outcome:?}");
}

#[test]
fn what_http2_splits_is_joined() {
    let harbor = Harbor::answering(Scenario::Echo);
    let mut client = Http2::open(harbor.gateway.http);
    let mut request = chat_request();
    for part in ["a=1", "b=2", "c=3"] {
        request.headers_mut().append("cookie", part.parse().unwrap());
    }
    client.send(request, CHAT);
    let received = harbor.upstream.received();
    assert_eq!(received.header("cookie"), Some("a=1; b=2; c=3"));
    assert_eq!(received.headers("host").len(), 1);
}

#[test]
fn alpn_leads_to_http2() {
    let authority = Authority::new();
    let harbor = Harbor::encrypted(&authority);
    let config = authority.client(&[&TLS13], &["h2", "http/1.1"]);
    let mut client = Http2::open_tls(harbor.gateway.https, config, HOST);
    let (head, _) = client.send(chat_request(), CHAT);
    assert_eq!(head.status, 200);
    assert_eq!(harbor.upstream.received().header("x-forwarded-proto"), Some("https"));
    let mut misdirected = chat_request();
    *misdirected.uri_mut() = "https://elsewhere.test/".parse().unwrap();
    // The answer does not wait for a body, which could come too late.
    let answer = client.begin(misdirected);
    assert_eq!(client.wait(answer).unwrap().status(), 421);
}

#[test]
fn what_only_begins_like_the_preface_is_http1() {
    let harbor = Harbor::start();
    let mut connection = harbor.gateway.connect();
    connection.write(b"PR");
    connection.write(b"OPFIND /v1/models HTTP/1.1\r\nHost: elsewhere.test\r\n\r\n");
    assert_eq!(connection.answer().status(), 404);
}

#[test]
fn methods_mean_the_same_in_both_versions() {
    let harbor = Harbor::start();
    let mut client = Http2::open(harbor.gateway.http);
    for (method, status) in [("SMUGGLE", 400), ("get", 400), ("PRI", 400), ("PROPFIND", 401)] {
        let answer = harbor.gateway.send(&Request::new(method, HOST, "/v1/models"));
        assert_eq!(answer.status(), status, "{method}");
        let asked = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = client.begin(request(asked, "http", HOST, "/v1/models"));
        assert_eq!(client.wait(answer).unwrap().status(), status, "{method} in HTTP/2");
    }
    harbor.upstream.received_nothing();
}
