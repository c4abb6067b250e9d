//! An access log that cannot be written, or by two processes: it costs lines,
//! never requests, and no line comes twice or in pieces.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};

use crate::support::client::PATIENCE;
use crate::support::load::{Asking, Live, Way};
use crate::support::*;

#[test]
fn a_full_disk_costs_lines_and_no_requests() {
    let harbor = Harbor::served(
        Scenario::Completion,
        |_| {},
        |serve| serve.with("--access-log", "/dev/full"),
    );
    for _ in 0..50 {
        assert_eq!(harbor.chat().status(), 200);
    }
    eventually("the count of lost lines", || (dropped(&harbor.gateway) == 50).then_some(()));
}

/// How many lines were lost.
fn dropped(gateway: &Gateway) -> usize {
    let metrics = gateway.metrics();
    let line = metrics.lines().find(|line| line.starts_with("penstock_access_log_dropped"));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

/// A pipe with a name, and its end for reading.
fn pipe(directory: &Path) -> File {
    let path = directory.join(".pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    reader(directory)
}

/// One more end for reading. That it could write keeps it from waiting for a
/// writer.
fn reader(directory: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(directory.join(".pipe")).unwrap()
}

/// The lines that come out of a pipe.
fn lines(pipe: File) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        let all = BufReader::new(pipe).lines().map_while(Result::ok);
        // A test that has seen enough does not listen any more.
        let _ = all.map(|line| sender.send(line)).find(Result::is_err);
    });
    lines
}

/// Waits for the line about a request.
#[track_caller]
fn await_line(lines: &Receiver<String>, answer: &Answer) {
    let id = answer.header("x-request-id").unwrap();
    while !lines.recv_timeout(PATIENCE).expect("no line about the request").contains(id) {}
}

/// The scenario with a pipe for an access log.
fn piped() -> (Harbor, File) {
    let upstream = Upstream::start(Scenario::Completion);
    let directory = Directory::harbor(upstream.address);
    let pipe = pipe(directory.path());
    let path = directory.file(".pipe");
    let serve = Serve::new(directory.path()).with("--access-log", path.display());
    let gateway = serve.with("--drain-grace", 0).start();
    (Harbor { upstream, directory, gateway }, pipe)
}

#[test]
fn a_reader_that_has_gone_costs_lines_until_another_comes() {
    let (harbor, pipe) = piped();
    drop(pipe);
    for _ in 0..50 {
        assert_eq!(harbor.chat().status(), 200);
    }
    eventually("the count of lost lines", || (dropped(&harbor.gateway) == 50).then_some(()));
    let lines = lines(reader(harbor.directory.path()));
    let answer = harbor.chat();
    await_line(&lines, &answer);
    assert_eq!(dropped(&harbor.gateway), 50);
}

#[test]
fn a_reader_that_does_not_read_costs_lines_and_little_memory() {
    let (mut harbor, pipe) = piped();
    let before = harbor.gateway.resident_bytes();
    // Long lines fill the backlog with few requests.
    let long = Request::get("elsewhere.test", &format!("/{}", "x".repeat(60_000)));
    let mut client = harbor.gateway.connect();
    let mut sent = 0;
    while dropped(&harbor.gateway) == 0 {
        for _ in 0..50 {
            client.send(&long);
            assert_eq!(client.answer().status(), 404);
        }
        sent += 50;
        assert!(sent < 1000, "nothing is dropped");
    }
    assert_eq!(harbor.chat().status(), 200);
    let grown = harbor.gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 40 << 20, "the gateway holds {grown} bytes");
    let lines = lines(pipe.try_clone().unwrap());
    let chat = || {
        let answer = harbor.chat();
        let id = answer.header("x-request-id").unwrap().to_owned();
        lines.try_iter().any(|line| line.contains(&id)).then_some(())
    };
    eventually("a line that is written again", chat);
    harbor.gateway.signal("TERM");
    assert_eq!(harbor.gateway.wait().code(), Some(0));
}

#[test]
fn a_reader_that_does_not_read_does_not_hold_up_the_end() {
    let (mut harbor, _pipe) = piped();
    let long = Request::get("elsewhere.test", &format!("/{}", "x".repeat(60_000)));
    // More than the pipe holds.
    for _ in 0..10 {
        assert_eq!(harbor.gateway.send(&long).status(), 404);
    }
    harbor.gateway.signal("TERM");
    assert_eq!(harbor.gateway.wait().code(), Some(0));
}

#[test]
fn two_processes_write_whole_lines_and_each_once() {
    let mut harbor = Harbor::start();
    let file = harbor.directory.file(".access.log");
    let serve = Serve::new(harbor.directory.path()).with("--access-log", file.display());
    harbor.gateway = serve.with("--threads", 2).start();
    let ways = [Way::plain(&harbor.gateway)];
    let streams = Live::start_all(8, &ways[0], &harbor.upstream, &chat());
    let asking = Asking::start(4, &ways, &chat());
    asking.await_more(40);
    harbor.gateway.upgrade();
    asking.await_more(40);
    // One more at the end, for which there is no other process any more.
    let wanted = asking.stop() + streams.len() + 1;
    streams.into_iter().for_each(Live::ends_well);
    assert_eq!(harbor.gateway.wait().code(), Some(0));
    let answer = harbor.chat();
    let last = answer.header("x-request-id").unwrap();
    let text = eventually("the last line", || {
        Some(harbor.directory.read(".access.log")).filter(|text| text.contains(last))
    });
    let id = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["request_id"].to_string()
    };
    assert_eq!(text.lines().count(), wanted);
    assert_eq!(text.lines().map(id).collect::<BTreeSet<_>>().len(), wanted);
}
