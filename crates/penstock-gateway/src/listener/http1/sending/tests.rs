use std::future::poll_fn;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;

use super::*;
use crate::Settings;

/// An answer with these headers, and a date so that none is added.
fn answer(status: u16, headers: &[(&'static str, &'static str)]) -> Parts {
    let mut response = http::Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.header("date", "today").body(()).unwrap().into_parts().0
}

fn occasion(method: &Method, length: Option<u64>) -> Occasion<'_> {
    Occasion { method, wishes: Wishes::default(), length, is_last: false }
}

#[track_caller]
fn check(parts: &Parts, occasion: &Occasion<'_>, expected: &str) -> (BodyEnd, bool) {
    let mut output = Output::default();
    let outcome = write_head(parts, occasion, &mut output);
    let text = String::from_utf8(output.joined).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| *line != "date: today").collect();
    assert_eq!(lines.join("|"), format!("{expected}|"));
    assert!(text.ends_with("\r\n\r\n"));
    outcome
}

#[test]
fn a_head_says_how_the_body_ends() {
    let ok = answer(200, &[("a", "b"), ("a", "c")]);
    let start = "HTTP/1.1 200 OK|a: b|a: c";
    let ended = check(&ok, &occasion(&Method::GET, Some(5)), &format!("{start}|content-length: 5"));
    assert_eq!(ended, (BodyEnd::Length(5), false));
    check(&ok, &occasion(&Method::GET, Some(0)), &format!("{start}|content-length: 0"));
    let chunked = format!("{start}|transfer-encoding: chunked");
    let ended = check(&ok, &occasion(&Method::GET, None), &chunked);
    assert_eq!(ended, (BodyEnd::Chunks { trailers: Vec::new() }, false));
    // What the body says counts.
    let wrong = answer(200, &[("content-length", "7"), ("transfer-encoding", "gzip")]);
    check(&wrong, &occasion(&Method::GET, Some(5)), "HTTP/1.1 200 OK|content-length: 5");
    check(&wrong, &occasion(&Method::GET, None), "HTTP/1.1 200 OK|transfer-encoding: chunked");
}

#[test]
fn answers_without_a_body_state_none() {
    let stated = |status: u16, method: &Method, length: Option<u64>, expected: &str| {
        let parts = answer(status, &[("content-length", "7")]);
        let (end, is_last) = check(&parts, &occasion(method, length), expected);
        assert_eq!((end, is_last), (BodyEnd::None, false));
    };
    stated(200, &Method::HEAD, Some(0), "HTTP/1.1 200 OK|content-length: 7");
    stated(200, &Method::HEAD, None, "HTTP/1.1 200 OK|content-length: 7");
    stated(204, &Method::GET, Some(0), "HTTP/1.1 204 No Content");
    stated(204, &Method::HEAD, Some(0), "HTTP/1.1 204 No Content");
    stated(304, &Method::GET, None, "HTTP/1.1 304 Not Modified");
    let head = occasion(&Method::HEAD, Some(9));
    check(&answer(403, &[]), &head, "HTTP/1.1 403 Forbidden|content-length: 9");
}

#[test]
fn a_head_says_whether_the_connection_goes_on() {
    let with = |is_http_10: bool, is_last: bool, length: Option<u64>| Occasion {
        wishes: Wishes { is_http_10, ..Wishes::default() },
        is_last,
        ..occasion(&Method::GET, length)
    };
    let ok = answer(200, &[]);
    let last = "HTTP/1.1 200 OK|content-length: 1|connection: close";
    assert!(check(&ok, &with(false, true, Some(1)), last).1);
    let asked = answer(200, &[("connection", "close")]);
    assert!(check(&asked, &with(false, false, Some(1)), last).1);
    let old = "HTTP/1.0 200 OK|content-length: 1|connection: keep-alive";
    assert!(!check(&ok, &with(true, false, Some(1)), old).1);
    let ended = check(&ok, &with(true, false, None), "HTTP/1.0 200 OK|connection: close");
    assert_eq!(ended, (BodyEnd::Close, true));
    let switch = answer(101, &[("connection", "upgrade"), ("upgrade", "websocket")]);
    let expected = "HTTP/1.1 101 Switching Protocols|connection: upgrade|upgrade: websocket";
    check(&switch, &with(false, true, Some(0)), expected);
}

#[test]
fn trailers_are_those_that_were_announced() {
    let parts = answer(200, &[("trailer", "X-Sum, x-mse-consumer"), ("trailer", "Content-Type")]);
    let takes_trailers = Wishes { takes_trailers: true, ..Wishes::default() };
    let occasion = Occasion { wishes: takes_trailers, ..occasion(&Method::GET, None) };
    let mut output = Output::default();
    let (BodyEnd::Chunks { trailers: announced }, _) = write_head(&parts, &occasion, &mut output)
    else {
        panic!("no chunks")
    };
    output.joined.clear();
    let mut trailers = HeaderMap::new();
    for name in ["x-sum", "x-other", "content-type", "x-mse-consumer"] {
        trailers.insert(name, HeaderValue::from_static("1"));
    }
    output.end_chunks(Some(trailers.clone()), &announced);
    assert_eq!(output.joined, b"0\r\nx-sum: 1\r\n\r\n");
    output.joined.clear();
    output.end_chunks(Some(trailers), &[]);
    assert_eq!(output.joined, b"0\r\n\r\n");
}

/// All that waits, as it is written in pieces of a few bytes.
fn drained(mut output: Output) -> Vec<u8> {
    let mut written = Vec::new();
    loop {
        let joined = output.joined.get(output.written..).unwrap_or_default();
        let all = [joined, &output.piece, output.end].concat();
        if all.is_empty() {
            return written;
        }
        let count = all.len().min(7);
        written.extend_from_slice(&all[..count]);
        output.advance(count);
    }
}

#[test]
fn large_pieces_stand_between_small_ones() {
    let large = Bytes::from(vec![b'x'; JOINED_PIECE_BYTES_MAX + 1]);
    let mut output = Output::default();
    output.push_bytes(b"head");
    output.push(Bytes::from_static(b"small"), true);
    assert!(output.has_room());
    output.push(large.clone(), true);
    assert!(!output.has_room());
    output.end_chunks(None, &[]);
    let expected = [b"head5\r\nsmall\r\n1001\r\n", &large[..], b"\r\n0\r\n\r\n"].concat();
    assert!(drained(output) == expected);
    let mut output = Output::default();
    output.push(large.clone(), false);
    assert!(drained(output) == large);
}

/// How long a client may take nothing.
const STALL: Duration = Duration::from_secs(1);
/// Much more than the system holds of it.
const LARGE_BYTES: usize = 4 << 20;

#[tokio::test]
async fn a_client_that_takes_a_large_piece_slowly_is_not_stuck() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    SockRef::from(&socket).set_send_buffer_size(64 << 10).unwrap();
    SockRef::from(&client).set_recv_buffer_size(64 << 10).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut stream = Stream::Plain(TcpStream::from_std(socket).unwrap());
    let reading = std::thread::spawn(move || {
        let mut taken = vec![0; LARGE_BYTES / 64];
        for _ in 0..64 {
            std::thread::sleep(3 * STALL / 64);
            client.read_exact(&mut taken).unwrap();
        }
    });
    let settings = Settings { client_stall_timeout: STALL, ..Settings::default() };
    let activity = Activity::new(true, &settings);
    let _under_way = activity.begin();
    let mut output = Output::default();
    output.push(Bytes::from(vec![b'x'; LARGE_BYTES]), false);
    tokio::select! {
        written = poll_fn(|cx| output.poll_write(&mut stream, &activity, cx)) => written.unwrap(),
        ending = activity.must_end(&settings, STALL) => panic!("{}", ending.as_str()),
    }
    reading.join().unwrap();
}
