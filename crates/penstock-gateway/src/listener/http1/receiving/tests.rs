use std::future::poll_fn;
use std::io::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

use http_body::Body;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::framing::Chunked;
use crate::{Gateway, Settings, State};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What becomes of a body before the client leaves.
enum Fate {
    /// Nobody wants it.
    Dropped,
    /// Somebody has read it until it failed, and keeps it.
    Failed,
    /// The same, where it fails because the client leaves.
    Ended,
}

async fn frame(body: &mut Incoming) -> Option<BodyFrame> {
    let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
    tokio::time::timeout(PATIENCE, frame).await.expect("no frame came")
}

/// A client, and the gateway's hold on its connection.
async fn connected() -> (std::net::TcpStream, Owned) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = std::net::TcpStream::connect(address).unwrap();
    let (stream, _): (TcpStream, _) = listener.accept().await.unwrap();
    let settings = Settings::default();
    let activity = Activity::new(true, &settings);
    let gateway = Gateway::new(settings, State::detached());
    let admitted = Admitted::new(&gateway, address.ip()).ok().unwrap();
    let socket = Socket::new(Stream::Plain(stream), BytesMut::new(), activity, admitted);
    (client, Owned::new(socket))
}

/// Asserts that a client which has sent this behind a head is seen leaving,
/// and not before.
async fn check(framing: Framing, sent: &[u8], fate: Fate) {
    let (mut client, owned) = connected().await;
    let mut body = Some(body_of(&owned, framing, false));
    client.write_all(sent).unwrap();
    match fate {
        Fate::Dropped => body = None,
        Fate::Failed => while frame(body.as_mut().unwrap()).await.unwrap().is_ok() {},
        Fate::Ended => assert!(frame(body.as_mut().unwrap()).await.unwrap().is_ok()),
    }
    let is_there = poll_fn(|cx| Poll::Ready(owned.lock().poll_gone(cx).is_pending()));
    assert!(is_there.await, "it has not gone");
    drop(client);
    if matches!(fate, Fate::Ended) {
        assert!(frame(body.as_mut().unwrap()).await.unwrap().is_err());
    }
    let gone = poll_fn(|cx| owned.lock().poll_gone(cx));
    tokio::time::timeout(PATIENCE, gone).await.expect("nobody saw it leave");
}

#[tokio::test]
async fn a_client_is_seen_leaving_whatever_it_sent() {
    let chunked = || Framing::Chunked(Chunked::Size);
    check(Framing::OVER, b"", Fate::Dropped).await;
    check(Framing::OVER, b"GET /next HTTP/1.1\r\n", Fate::Dropped).await;
    check(Framing::OVER, &[b'x'; AHEAD_BYTES_MAX - 1], Fate::Dropped).await;
    check(Framing::Length(100), b"", Fate::Dropped).await;
    check(Framing::Length(100), b"half", Fate::Dropped).await;
    check(Framing::Length(100), b"half", Fate::Ended).await;
    check(chunked(), b"4\r\nhalf\r\n", Fate::Dropped).await;
    check(chunked(), b"4\r\nhalf\r\n", Fate::Ended).await;
    check(chunked(), b"4\r\nhalf\r\nnonsense\r\n", Fate::Failed).await;
}

#[tokio::test]
async fn a_body_of_known_length_comes_in_one_piece() {
    let (mut client, owned) = connected().await;
    let sent: Vec<u8> = (0..200_000u32).map(|at| at as u8).collect();
    let Incoming::Http1(mut body) = body_of(&owned, Framing::Length(200_000), false) else {
        panic!("nothing of it was there");
    };
    let written = {
        let mut sent = sent.clone();
        sent.extend_from_slice(b"GET /next HTTP/1.1\r\n");
        std::thread::spawn(move || client.write_all(&sent).map(|()| client))
    };
    let mut count = 0;
    while count < 200_000 {
        let gathered = poll_fn(|cx| body.poll_gathered(cx, count));
        let more = tokio::time::timeout(PATIENCE, gathered).await.expect("nothing came").unwrap();
        assert!(more > count && more <= 200_000, "{more} after {count}");
        count = more;
    }
    let frame = poll_fn(|cx| body.poll_frame(cx)).await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), sent);
    assert!(poll_fn(|cx| body.poll_frame(cx)).await.is_none());
    written.join().unwrap().unwrap();
}

#[tokio::test]
async fn a_body_that_breaks_off_is_told_while_it_is_gathered() {
    let (mut client, owned) = connected().await;
    let Incoming::Http1(mut body) = body_of(&owned, Framing::Length(100), false) else {
        panic!("nothing of it was there");
    };
    client.write_all(b"half").unwrap();
    let gathered = poll_fn(|cx| body.poll_gathered(cx, 0));
    assert_eq!(tokio::time::timeout(PATIENCE, gathered).await.unwrap().unwrap(), 4);
    drop(client);
    for _ in 0..2 {
        let gathered = poll_fn(|cx| body.poll_gathered(cx, 4));
        assert!(tokio::time::timeout(PATIENCE, gathered).await.unwrap().is_err());
    }
}
