//! A process that another takes over from, under load.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::certificates::Authority;
use crate::support::load::{Asking, Live, Way};
use crate::support::*;

/// A stream over a plain connection.
fn live(harbor: &Harbor) -> Live {
    Live::start(&Way::plain(&harbor.gateway), &harbor.upstream, &chat())
}

#[test]
fn neither_a_request_nor_a_stream_notices_two_upgrades() {
    let authority = Authority::new();
    let mut harbor = Harbor::encrypted(&authority);
    let ways = Way::all(&harbor.gateway, &authority, HOST);
    let begin = |way| Live::start_all(5, way, &harbor.upstream, &chat());
    let mut streams: Vec<Live> = ways.iter().flat_map(begin).collect();
    let asking = Asking::start(8, &ways, &chat());
    let first = harbor.gateway.id();
    for _ in 0..2 {
        asking.await_more(40);
        let before = harbor.gateway.id();
        harbor.gateway.upgrade();
        assert_ne!(harbor.gateway.id(), before);
        assert_eq!(harbor.gateway.ready(), 200);
        asking.await_more(40);
        streams.iter_mut().for_each(Live::goes_on);
    }
    asking.stop();
    assert_ne!(harbor.gateway.id(), first);
    assert!(harbor.gateway.is_running());
    streams.into_iter().for_each(Live::ends_well);
    assert_eq!(harbor.gateway.wait().code(), Some(0));
    ways.iter().for_each(|way| Live::start(way, &harbor.upstream, &chat()).ends_well());
}

/// Replaces a program file by another text or by nothing.
fn replace(directory: &Directory, text: &str) {
    directory.write(".penstock.text", text);
    let new = directory.file(".penstock.new");
    copy(&directory.file(".penstock.text"), &new);
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(new, directory.file(".penstock-binary")).unwrap();
}

/// Copies a program, in a process of its own: what this one has open for
/// writing, children of other tests inherit for a moment, and a file that
/// anybody has open for writing cannot be executed.
fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").args([from, to]).status().unwrap().success());
}

/// A gateway from a file of its own, which may be replaced.
fn replaceable(threads: usize) -> Harbor {
    let upstream = Upstream::start(Scenario::Completion);
    let directory = Directory::harbor(upstream.address);
    let program = directory.file(".penstock-binary");
    copy(Path::new(env!("CARGO_BIN_EXE_penstock")), &program);
    let serve = Serve::new(directory.path()).program(&program);
    let serve = serve.with("--threads", threads).with("--upgrade-timeout", 5);
    let gateway = serve.start();
    Harbor { upstream, directory, gateway }
}

/// A successor that does this instead of serving changes nothing.
#[track_caller]
fn check_goes_on(harbor: &mut Harbor, successor: &str, words: &str) {
    replace(&harbor.directory, successor);
    let mut stream = live(harbor);
    harbor.gateway.signal("USR2");
    let failed = harbor.gateway.log.find(|line| {
        line["message"] == "the hand-over failed; this process goes on"
            && line["error"].as_str().is_some_and(|error| error.contains(words))
    });
    assert!(failed.is_some(), "{:?}", harbor.gateway.log.all());
    stream.goes_on();
    assert_eq!(harbor.gateway.ready(), 200);
    let answer = harbor.chat();
    assert_eq!((answer.status(), answer.header("connection")), (200, None));
    stream.ends_well();
}

#[test]
fn a_successor_that_fails_changes_nothing() {
    let mut harbor = replaceable(1);
    check_goes_on(&mut harbor, "#!/bin/sh\nexit 3\n", "it ended before it");
    check_goes_on(&mut harbor, "#!/bin/sh\nexec sleep 60\n", "within 5 s");
    check_goes_on(&mut harbor, "no program", "cannot start");
    replace(&harbor.directory, &with_threads(1, 1));
    harbor.gateway.upgrade();
    assert_eq!(harbor.chat().status(), 200);
}

/// A program that becomes the built one with another number of threads.
fn with_threads(from: usize, to: usize) -> String {
    let binary = env!("CARGO_BIN_EXE_penstock");
    let edit = format!("s/--threads {from}/--threads {to}/");
    format!("#!/bin/sh\nexec {binary} $(echo \"$@\" | sed '{edit}')\n")
}

#[test]
fn the_number_of_threads_may_change() {
    for (from, to) in [(1, 4), (4, 1)] {
        let mut harbor = replaceable(from);
        replace(&harbor.directory, &with_threads(from, to));
        let asking = Asking::start(6, &[Way::plain(&harbor.gateway)], &chat());
        asking.await_more(20);
        harbor.gateway.upgrade();
        asking.await_more(100);
        asking.stop();
        let listening =
            harbor.gateway.log.find(|line| line["message"] == "listening" && line["threads"] == to);
        assert!(listening.is_some(), "{:?}", harbor.gateway.log.all());
        // One connection after another comes to each of the sockets.
        for _ in 0..32 {
            assert_eq!(harbor.chat().status(), 200);
        }
    }
}

#[test]
fn a_pid_file_names_the_process_that_serves() {
    let mut harbor = Harbor::start();
    let file = harbor.directory.file(".pid");
    harbor.gateway = Serve::new(harbor.directory.path()).with("--pid-file", file.display()).start();
    harbor.gateway.upgrade();
    assert_eq!(harbor.gateway.wait().code(), Some(0));
    assert_eq!(harbor.directory.read(".pid"), format!("{}\n", harbor.gateway.id()));
}

#[test]
fn an_old_process_still_heeds_sigterm() {
    let mut harbor = Harbor::start();
    let mut stream = live(&harbor);
    harbor.gateway.upgrade();
    stream.goes_on();
    harbor.gateway.signal_first("TERM");
    stream.goes_on();
    // Two signals may arrive as one where the process is slow to look.
    eventually("the end of the old process", || {
        if harbor.gateway.is_running() {
            harbor.gateway.signal_first("TERM");
            return None;
        }
        Some(())
    });
    assert_eq!(harbor.gateway.wait().code(), Some(0));
    stream.breaks_off();
    assert_eq!(harbor.chat().status(), 200);
}

/// How many requests the process that serves has counted.
fn counted(gateway: &Gateway) -> u64 {
    let metrics = gateway.metrics();
    let lines = metrics.lines().filter(|line| line.starts_with("penstock_requests_total{"));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[test]
fn metrics_and_the_audit_log_go_on_in_the_new_process() {
    const TOKEN: &str = "harbour-master-token-1";
    let desk = Directory::new().holding([("token", TOKEN)]);
    let mut harbor = Harbor::start();
    let serve = Serve::new(harbor.directory.path());
    harbor.gateway = serve.with("--admin-token-file", desk.file("token").display()).start();
    let apply = |harbor: &Harbor, domain: &str| {
        let text = format!("domains:\n- {{name: {domain}, enableHttps: \"off\"}}\n");
        let files = serde_json::json!([{"name": "intent.yaml", "text": text}]);
        let body = serde_json::json!({"change": {"intent": {"files": files}}});
        let request = Request::post("admin", "/api/v1/apply", body.to_string()).key(TOKEN);
        let answer = request.send(harbor.gateway.admin);
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let lines = harbor.directory.read(".penstock/audit.log");
        let outcome = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["outcome"].as_str().unwrap().to_owned()
        };
        lines.lines().map(outcome).collect::<Vec<_>>()
    };
    assert_eq!(apply(&harbor, "one.test"), ["applied"]);
    harbor.chat();
    eventually("a count", || (counted(&harbor.gateway) == 1).then_some(()));
    // The first process is still there, with something to do.
    let stream = live(&harbor);
    harbor.gateway.upgrade();
    // What was asked at that moment may still be told by the first.
    eventually("a count of its own", || (counted(&harbor.gateway) == 0).then_some(()));
    // The first may take what comes until all of its workers know.
    let seen = eventually("a count", || {
        harbor.chat();
        Some(counted(&harbor.gateway)).filter(|count| *count >= 3)
    });
    assert_eq!(apply(&harbor, "two.test"), ["applied", "applied"]);
    // What the first still serves is counted where nobody looks any more.
    assert!(harbor.gateway.is_running());
    stream.ends_well();
    assert_eq!(counted(&harbor.gateway), seen);
    assert_eq!(harbor.gateway.wait().code(), Some(0));
    assert_eq!(apply(&harbor, "three.test"), ["applied", "applied", "applied"]);
}

#[test]
fn only_the_new_process_keeps_the_last_good_configuration() {
    let mut harbor = Harbor::start();
    let stream = live(&harbor);
    harbor.gateway.upgrade();
    harbor.gateway.signal("STOP");
    let keeps = |name: &str| harbor.directory.read(".penstock/last-good.yaml").contains(name);
    let change = |name: &str| {
        let (file, text) = Ingress::new(name).at(name, "Prefix", "/").file();
        harbor.directory.write(&file, text);
    };
    let mut seen = in_force(&harbor.gateway);
    for name in ["one.test", "two.test"] {
        change(name);
        eventually("a reload of the first process", || {
            (in_force(&harbor.gateway) > seen).then_some(())
        });
        seen = in_force(&harbor.gateway);
    }
    // The second reload began when the first was over.
    assert!(!keeps("one.test"));
    harbor.gateway.signal("CONT");
    eventually("the second process", || (keeps("one.test") && keeps("two.test")).then_some(()));
    stream.ends_well();
    assert_eq!(harbor.gateway.wait().code(), Some(0));
}

/// How often a configuration came into force, in whichever process.
fn in_force(gateway: &Gateway) -> usize {
    gateway.log.all().iter().filter(|line| line.contains("configuration in force")).count()
}
