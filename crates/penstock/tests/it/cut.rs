//! A file that was cut off, at every line and in the middle of every line: no
//! protected route ever answers without the key, and the process never dies.

use std::sync::Mutex;
use std::thread;

use crate::support::manifests::HARBOR;
use crate::support::*;

/// Asserts that nobody passes who may not.
#[track_caller]
fn check_closed(gateway: &mut Gateway, cut: &str) {
    let wrong_keys =
        [chat_without_key(), chat_without_key().key("wrong"), chat_without_key().key(OTTER_KEY)];
    for request in wrong_keys {
        let answer = gateway.send(&request);
        assert!(
            matches!(answer.status(), 401 | 403 | 404 | 503),
            "{} after {cut}",
            answer.status()
        );
    }
    let status = gateway.send(&chat()).status();
    assert!(matches!(status, 200 | 401 | 403 | 404 | 503), "{status} after {cut}");
    assert!(gateway.is_running(), "{cut}");
}

/// The beginnings of a text: up to the end of each line, or its middle.
fn cuts(text: &str, in_the_middle: bool) -> Vec<&str> {
    let mut start = 0;
    let mut cuts = vec![""];
    for line in text.split_inclusive('\n') {
        let end =
            if in_the_middle { start + line.trim_end().len() / 2 + 1 } else { start + line.len() };
        cuts.push(&text[..end]);
        start += line.len();
    }
    cuts
}

#[test]
fn at_a_cold_start() {
    let upstream = Upstream::start(Scenario::Completion);
    let files = harbor(upstream.address);
    let mut work = Vec::new();
    for (name, text) in &files {
        for in_the_middle in [false, true] {
            work.extend(cuts(text, in_the_middle).into_iter().map(|cut| (*name, cut)));
        }
    }
    let work = Mutex::new(work);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some((name, cut)) = work.lock().unwrap().pop() else { return };
                    let directory = Directory::harbor(upstream.address);
                    directory.write(name, cut);
                    let mut gateway = Serve::new(directory.path()).start_unready();
                    check_closed(&mut gateway, &format!("{name}:\n{cut}"));
                }
            });
        }
    });
}

#[test]
fn while_running() {
    thread::scope(|scope| {
        for (name, _) in HARBOR {
            scope.spawn(move || {
                let mut harbor = Harbor::start();
                let text = harbor.directory.read(name);
                for cut in cuts(&text, false).into_iter().filter(|cut| *cut != text) {
                    harbor.gateway.reload(|| harbor.directory.write(name, cut));
                    check_closed(&mut harbor.gateway, &format!("{name}:\n{cut}"));
                    harbor.gateway.reload(|| harbor.directory.write(name, &text));
                    assert_eq!(harbor.chat().status(), 200, "{name} whole again after:\n{cut}");
                }
            });
        }
    });
}
