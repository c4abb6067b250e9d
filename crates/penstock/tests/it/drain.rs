//! The way out: who is still served, who is told to go elsewhere, and when it
//! is over.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::upstream::EVENT_STREAM;
use crate::support::*;

/// A gateway with a connection that has been used once.
fn used() -> (Harbor, Connection) {
    let harbor =
        Harbor::served(Scenario::Completion, |_| {}, |serve| serve.with("--drain-grace", 3));
    let mut connection = harbor.gateway.begin(&chat());
    let answer = connection.answer();
    assert_eq!((answer.status(), answer.header("connection")), (200, None));
    (harbor, connection)
}

fn draining(harbor: &Harbor) {
    harbor.gateway.signal("TERM");
    eventually("draining", || (harbor.gateway.ready() == 503).then_some(()));
}

#[test]
fn a_connection_that_is_kept_alive_is_told_to_end() {
    let (harbor, mut connection) = used();
    draining(&harbor);
    connection.send(&chat());
    let answer = connection.answer();
    assert_eq!((answer.status(), answer.header("connection")), (200, Some("close")));
    assert_eq!(connection.rest(), b"");
}

#[test]
fn while_load_balancers_notice_new_connections_are_served() {
    let (mut harbor, _idle) = used();
    draining(&harbor);
    let answer = harbor.chat();
    assert_eq!((answer.status(), answer.header("connection")), (200, Some("close")));
    eventually("the listener's end", || TcpStream::connect(harbor.gateway.http).err());
    assert_eq!(harbor.gateway.wait().code(), Some(0));
}

#[test]
fn sigint_stops_accepting_at_once() {
    let (mut harbor, _idle) = used();
    let began = Instant::now();
    harbor.gateway.signal("INT");
    assert_eq!(harbor.gateway.wait().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for second in ["TERM", "INT"] {
        let mut harbor = Harbor::start();
        let steps = harbor.upstream.stepped();
        let mut client = harbor.gateway.begin(&chat());
        steps.write(EVENT_STREAM);
        client.head();
        draining(&harbor);
        let began = Instant::now();
        harbor.gateway.signal(second);
        assert_eq!(harbor.gateway.wait().code(), Some(0));
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert_eq!(client.chunk(), Chunk::Broken);
    }
}

#[test]
fn the_pid_file_lives_as_long_as_the_process() {
    let upstream = Upstream::start(Scenario::Completion);
    let directory = Directory::harbor(upstream.address);
    let file = directory.file(".pid");
    let serve = Serve::new(directory.path()).with("--pid-file", file.display());
    let mut gateway = serve.start();
    assert_eq!(directory.read(".pid"), format!("{}\n", gateway.id()));
    gateway.signal("INT");
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(!file.exists());
}
