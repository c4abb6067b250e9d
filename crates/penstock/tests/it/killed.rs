//! Applies that are killed at any moment: no reader ever sees half of one,
//! and the next apply goes on as if nothing had happened.

use std::collections::HashMap;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::*;

/// Intents that differ in every file, and carry their mark in each.
fn intent(mark: &str) -> String {
    let routes: String = (0..5)
        .map(|i| {
            format!(
                "- name: shore{i}
  domains: [kill.test]
  pathPredicate: {{matchType: PRE, matchValue: /{mark}/{i}}}
  upstreams: [{{provider: tide, weight: 100, modelMapping: {{asked: 'model-{mark}'}}}}]
  authConfig: {{enabled: true, allowedConsumers: [gull]}}
"
            )
        })
        .collect();
    format!(
        "domains: [{{name: kill.test, enableHttps: 'off'}}]
providers:
- {{name: tide, type: openai, tokens: ['token'], rawConfigs: {{openaiCustomUrl: 'http://{mark}.test/v1'}}}}
consumers:
- {{name: gull, credentials: [{{type: key-auth, source: BEARER, values: ['key-{mark}']}}]}}
aiRoutes:
{routes}"
    )
}

fn start(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_penstock"))
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Which intent a reader sees; it must be one of them, and whole.
fn seen(directory: &str) -> &'static str {
    let output = penstock(&["export", "--config", directory, "--secrets", "inline"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let count = |mark: &str| -> HashMap<&str, usize> {
        ["/{}/", "http://{}.test", "key-{}", "model-{}"]
            .into_iter()
            .map(|place| (place, text.matches(&place.replace("{}", mark)).count()))
            .collect()
    };
    let whole = HashMap::from([("/{}/", 5), ("http://{}.test", 1), ("key-{}", 1), ("model-{}", 5)]);
    let none: HashMap<&str, usize> = whole.keys().map(|place| (*place, 0)).collect();
    match (count("ebb"), count("flood")) {
        (ebb, flood) if ebb == whole && flood == none => "ebb",
        (ebb, flood) if ebb == none && flood == whole => "flood",
        (ebb, flood) => panic!("a mixture: {ebb:?} {flood:?}\n{text}"),
    }
}

/// Kills an apply in each round, at another moment each time. Returns how many
/// applies were committed, and how many states were looked at.
fn kill(rounds: u32) -> (usize, usize) {
    let (directory, files) = (Directory::new(), Directory::new());
    let to = directory.path().display().to_string();
    let file = |mark: &str| {
        let name = format!("{mark}.yaml");
        files.write(&name, intent(mark));
        files.file(&name).display().to_string()
    };
    let (ebb, flood) = (file("ebb"), file("flood"));
    let began = Instant::now();
    assert!(penstock(&["apply", "-f", &ebb, "--to", &to]).status.success());
    let usual = began.elapsed();
    let (is_over, looks) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                seen(&to);
                looks.fetch_add(1, Ordering::Relaxed);
            }
        });
        for round in 0..rounds {
            let next = if round % 2 == 0 { &flood } else { &ebb };
            let mut child = start(&["apply", "-f", next, "--to", &to]);
            // Every part of an apply is met, in no particular order.
            let part =
                f64::from(round.wrapping_mul(2_654_435_761) >> 16) / f64::from(u32::MAX >> 16);
            thread::sleep(Duration::from_secs_f64(usual.as_secs_f64() * 4.0 * part));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
    });
    for (file, mark) in [(&ebb, "ebb"), (&flood, "flood")] {
        let output = penstock(&["apply", "-f", file, "--to", &to]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(seen(&to), mark);
    }
    let plan = penstock(&["plan", "-f", &flood, "--to", &to, "--detailed-exitcode"]);
    assert_eq!(plan.status.code(), Some(0), "{}", String::from_utf8_lossy(&plan.stdout));
    check_nothing_is_left(&directory);
    let history = penstock(&["history", "--to", &to]);
    let revisions = String::from_utf8(history.stdout).unwrap();
    let last = revisions.split_whitespace().next().unwrap().parse().unwrap();
    (last, looks.into_inner())
}

/// Neither a journal nor a file that was on its way.
fn check_nothing_is_left(directory: &Directory) {
    assert!(!directory.file(".penstock/journal").exists());
    assert!(!directory.file(".penstock/journal.new").exists());
    for folder in fs::read_dir(directory.path()).unwrap() {
        let folder = folder.unwrap().path();
        if folder.ends_with(".penstock") {
            continue;
        }
        for file in fs::read_dir(folder).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            assert!(!name.starts_with('.'), "{name} is left");
        }
    }
}

/// How many applies are killed; a thousand take a minute.
const ROUNDS: u32 = 100;

#[test]
#[expect(clippy::disallowed_methods, reason = "a test has no flags")]
fn a_killed_apply_is_whole_or_not_at_all() {
    let rounds = std::env::var("PENSTOCK_KILLS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let (committed, looks) = kill(rounds);
    eprintln!("{committed} of {rounds} were committed; {looks} states were looked at");
    // Both happen: those that were killed before, and after their commit.
    let rounds = rounds as usize;
    assert!(committed > rounds / 20 && committed < rounds, "{committed} of {rounds}");
    assert!(looks > rounds / 20, "{looks} looks");
}
