//! Upstreams that hang, reset and answer nonsense in a storm, a full disk,
//! no file descriptors: what it costs is bounded, and over when it is over.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::support::upstream::EVENT_STREAM;
use crate::support::wire;
use crate::support::*;

/// How many requests a storm has.
const STORM: usize = 200;
/// How many of them come at a time.
const CLIENTS: usize = 8;

/// Sends a storm of requests and gives their statuses.
fn storm(gateway: &Gateway) -> Vec<u16> {
    let statuses = || (0..STORM / CLIENTS).map(|_| gateway.send(&chat()).status());
    let storm = || statuses().collect::<Vec<_>>();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(storm)).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

fn open_files(gateway: &Gateway) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", gateway.id())).unwrap().count()
}

/// Asserts that a storm of such answers ends in these statuses, and leaves
/// nothing behind.
#[track_caller]
fn check_storm(scenario: &Scenario, statuses: &[u16]) {
    let harbor = Harbor::start();
    assert_eq!(harbor.chat().status(), 200);
    let (files, bytes) = (open_files(&harbor.gateway), harbor.gateway.resident_bytes());
    (0..STORM).for_each(|_| harbor.upstream.once(scenario.clone()));
    for status in storm(&harbor.gateway) {
        assert!(statuses.contains(&status), "{status}");
    }
    // A request whose kept connection had closed may have been sent anew.
    let chat = || (harbor.chat().status() == 200).then_some(());
    eventually("recovery", chat);
    let left = || (open_files(&harbor.gateway) <= files + CLIENTS + 1).then_some(());
    eventually("the end of connections", left);
    assert!(harbor.gateway.resident_bytes() < bytes + (32 << 20));
    assert!(harbor.upstream.connections() <= 2 * STORM + 2);
}

#[test]
fn a_storm_of_429_passes() {
    check_storm(&Scenario::Status(429, r#"{"error":{"message":"slow down"}}"#), &[429]);
}

#[test]
fn a_storm_of_resets_passes() {
    check_storm(&Scenario::close(), &[200, 502]);
}

#[test]
fn a_storm_of_nonsense_passes() {
    check_storm(&Scenario::BytesThenClose(b"\x16\x03\x01nonsense\r\n\r\n".to_vec()), &[502]);
}

#[test]
fn a_storm_of_interim_answers_passes() {
    let flood = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(1000);
    check_storm(&Scenario::BytesThenClose(flood), &[502]);
}

/// Asserts that requests to an upstream that hangs hold up nobody, and that
/// they are over when their clients have gone.
#[track_caller]
fn check_hanging(begin: &str) {
    let harbor = Harbor::start();
    let hanging: Vec<_> = (0..64).map(|_| harbor.upstream.stepped()).collect();
    let clients: Vec<_> = hanging.iter().map(|_| harbor.gateway.begin(&chat())).collect();
    hanging.iter().for_each(|steps| steps.write(begin));
    assert_eq!(harbor.chat().status(), 200);
    assert_eq!(harbor.upstream.connections(), 65);
    drop(clients);
    hanging.iter().for_each(|steps| {
        steps.await_close();
    });
    drop(hanging);
    let is_idle = || harbor.gateway.metrics().contains("penstock_requests_active 0\n");
    eventually("the end of all requests", || is_idle().then_some(()));
    assert_eq!(harbor.chat().status(), 200);
    assert_eq!(harbor.upstream.connections(), 65);
}

#[test]
fn an_upstream_that_hangs_before_its_head_holds_up_nobody() {
    check_hanging("");
}

#[test]
fn an_upstream_that_hangs_in_its_head_holds_up_nobody() {
    check_hanging("HTTP/1.1 200 OK\r\nContent-Type: text/ev");
}

#[test]
fn an_upstream_that_hangs_before_its_first_byte_holds_up_nobody() {
    check_hanging(EVENT_STREAM);
}

#[test]
fn an_upstream_that_hangs_in_a_stream_holds_up_nobody() {
    check_hanging(&format!("{EVENT_STREAM}12\r\ndata: {{\"id\":\"x\"}}\n"));
}

/// The scenario, and a route to a service that is somewhere else.
fn beside(registry: &str) -> Harbor {
    let change = |directory: &Directory| {
        let hanging =
            Ingress::new("hanging").at("hanging.test", "Prefix", "/").to("hanging.static:80");
        let (file, text) = hanging.file();
        directory.write(&file, text);
        let bridge = directory.read("mcpbridges/default.yaml");
        directory.write("mcpbridges/default.yaml", format!("{bridge}  - {registry}\n"));
    };
    Harbor::served(Scenario::Completion, change, |serve| {
        serve.with("--connect-timeout", 1).with("--upstream-tls-timeout", 1)
    })
}

/// Asserts that requests to an upstream that nobody can reach are given up,
/// leave nothing behind, and hold up nobody meanwhile.
#[track_caller]
fn check_unreachable(harbor: &Harbor) {
    assert_eq!(harbor.chat().status(), 200);
    let files = open_files(&harbor.gateway);
    let hanging: Vec<_> =
        (0..16).map(|_| harbor.gateway.begin(&Request::get("hanging.test", "/"))).collect();
    assert_eq!(harbor.chat().status(), 200);
    for mut client in hanging {
        assert_eq!(client.answer().status(), 503);
    }
    assert_eq!(harbor.chat().status(), 200);
    eventually("the end of connections", || {
        (open_files(&harbor.gateway) <= files + 1).then_some(())
    });
}

#[test]
fn an_upstream_that_hangs_in_its_handshake_is_given_up() {
    // The system accepts for it, and nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    check_unreachable(&beside(&format!(
        "{{name: hanging, type: static, domain: \"{address}\", port: 80, protocol: https}}"
    )));
}

#[test]
fn an_upstream_that_accepts_nobody_is_given_up_until_it_does() {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // The system keeps one for it, and answers nobody else.
    rustix::net::listen(&listener, 0).unwrap();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(200));
    let waiting: Vec<_> = std::iter::repeat_with(connect).map_while(Result::ok).collect();
    let registry = format!("{{name: hanging, type: static, domain: \"{address}\", port: 80}}");
    let harbor = beside(&registry);
    check_unreachable(&harbor);
    drop(waiting);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // Those that did not wait for it have gone.
            if wire::read_head(&mut stream).is_some() {
                stream.write_all(ANSWER).unwrap();
            }
        }
    });
    let ask = || harbor.gateway.send(&Request::get("hanging.test", "/")).status();
    eventually("recovery", || (ask() == 200).then_some(()));
}

#[test]
fn without_file_descriptors_clients_wait_for_some() {
    let harbor = Harbor::start();
    let limit = open_files(&harbor.gateway) + 20;
    let process = harbor.gateway.id().to_string();
    let mut prlimit = Command::new("prlimit");
    prlimit.args(["--pid", &process]).arg(format!("--nofile={limit}"));
    assert!(prlimit.status().unwrap().success());
    let crowd: Vec<_> = (0..60).map(|_| harbor.gateway.begin(&chat())).collect();
    let full = || (open_files(&harbor.gateway) >= limit - 1).then_some(());
    eventually("the end of file descriptors", full);
    drop(crowd);
    let chat = || (harbor.chat().status() == 200).then_some(());
    eventually("recovery", chat);
    eventually("the end of connections", || {
        (open_files(&harbor.gateway) < limit - 10).then_some(())
    });
}
