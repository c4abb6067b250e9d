//! Upstreams that hang, reset and answer nonsense in a storm, a full disk,
//! no file descriptors: what it costs is bounded, and over when it is over.

use std::net::TcpListener;
use std::process::Command;
use std::thread;

use crate::support::upstream::EVENT_STREAM;
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

#[test]
fn an_upstream_that_hangs_in_its_handshake_is_given_up() {
    // The system accepts for it, and nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let harbor = Harbor::changed(Scenario::Completion, |directory| {
        let hanging =
            Ingress::new("hanging").at("hanging.test", "Prefix", "/").to("hanging.static:80");
        let (file, text) = hanging.file();
        directory.write(&file, text);
        let bridge = directory.read("mcpbridges/default.yaml");
        let registry = format!(
            "  - {{name: hanging, type: static, domain: \"{address}\", port: 80, protocol: https}}\n"
        );
        directory.write("mcpbridges/default.yaml", bridge + &registry);
    });
    let hanging: Vec<_> =
        (0..16).map(|_| harbor.gateway.begin(&Request::get("hanging.test", "/"))).collect();
    assert_eq!(harbor.chat().status(), 200);
    for mut client in hanging {
        assert_eq!(client.answer().status(), 503);
    }
    assert_eq!(harbor.chat().status(), 200);
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
