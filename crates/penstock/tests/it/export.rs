//! `export` prints the intent that manifests came from, `render` gives the
//! manifests back, and no secret is where it was not asked for.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::*;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_penstock"))
        .args(arguments)
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn export(source: &Path, more: &[&str]) -> Output {
    let source = source.display().to_string();
    run(&[&["export", "--config", &source][..], more].concat(), &[])
}

/// The manifests of an intent, on disk.
fn rendered(intent: &[u8], variables: &[(&str, &str)]) -> Directory {
    let directory = Directory::new();
    let keep = Directory::new();
    keep.write("intent.yaml", intent);
    let (file, target) = (keep.file("intent.yaml"), directory.path().display().to_string());
    let output = run(&["render", "-f", &file.display().to_string(), "-o", &target], variables);
    assert!(output.status.success(), "{}", text(&output.stderr));
    directory
}

/// The scenario with a registry that follows from the provider's settings, as
/// a console would write it.
fn harbor(upstream: &Upstream) -> Directory {
    let directory = Directory::harbor(upstream.address);
    let url = format!("http://{}/v1", upstream.address);
    directory.edit("wasmplugins/ai-proxy.internal.yaml", "http://api.brook.test/v1", &url);
    directory
}

/// The files of a directory, by name.
fn files(directory: &Directory) -> HashMap<String, String> {
    let mut found = HashMap::new();
    for folder in std::fs::read_dir(directory.path()).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.strip_prefix(directory.path()).unwrap().display().to_string();
            found.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
    found
}

fn statuses(directory: &Directory, key: &str) -> [u16; 2] {
    let gateway = Serve::new(directory.path()).start();
    let with = Request::post(HOST, "/v1/chat/completions", CHAT).key(key);
    [gateway.send(&with).status(), gateway.send(&chat_without_key()).status()]
}

#[test]
fn an_export_renders_to_the_same_manifests() {
    let upstream = Upstream::start(Scenario::Completion);
    let hand_written = harbor(&upstream);
    let inline = export(hand_written.path(), &["--secrets", "inline"]);
    assert!(inline.status.success(), "{}", text(&inline.stderr));
    let first = rendered(&inline.stdout, &[]);
    let again = export(first.path(), &["--secrets", "inline"]);
    assert!(again.status.success() && again.stderr.is_empty(), "{}", text(&again.stderr));
    let second = rendered(&again.stdout, &[]);
    assert_eq!(files(&first), files(&second));
    assert_eq!(statuses(&second, HERON_KEY), [200, 401]);
    assert_eq!(upstream.received().header("authorization"), Some(&*format!("Bearer {TOKEN}")));
}

#[test]
fn an_export_with_variables_can_be_committed() {
    let upstream = Upstream::start(Scenario::Completion);
    let directory = harbor(&upstream);
    let output = export(directory.path(), &[]);
    let (intent, told) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{told}");
    for secret in [TOKEN, HERON_KEY, OTTER_KEY] {
        assert!(!intent.contains(secret) && !told.contains(secret), "{intent}{told}");
    }
    let names: Vec<&str> = told
        .split_once("set these variables where the intent is rendered:\n")
        .unwrap()
        .1
        .lines()
        .map(str::trim)
        .collect();
    assert_eq!(names, ["PROVIDER_BROOK_TOKEN", "CONSUMER_HERON_KEY", "CONSUMER_OTTER_KEY"]);
    let values = [(names[0], TOKEN), (names[1], HERON_KEY), (names[2], OTTER_KEY)];
    let back = rendered(&output.stdout, &values);
    let manifests = files(&back);
    assert!(manifests.contains_key("secrets/penstock-provider-brook.yaml"), "{manifests:?}");
    assert_eq!(statuses(&back, HERON_KEY), [200, 401]);
    assert_eq!(upstream.received().header("authorization"), Some(&*format!("Bearer {TOKEN}")));
    // References become values again, with and without `Bearer `.
    let inline = text(&export(back.path(), &["--secrets", "inline"]).stdout);
    assert!(inline.contains(&format!("- {HERON_KEY}\n")), "{inline}");
    assert!(inline.contains(TOKEN) && !inline.contains("${"), "{inline}");
}

#[test]
fn a_redacted_export_shows_hashes() {
    let directory = Directory::harbor(dead_address(9));
    let output = export(directory.path(), &["--secrets", "redact"]);
    let intent = text(&output.stdout);
    assert!(intent.contains("sha256:") && !intent.contains("${env:"), "{intent}");
    for secret in [TOKEN, HERON_KEY, OTTER_KEY] {
        assert!(!intent.contains(secret), "{intent}");
    }
}

#[test]
fn a_file_with_secrets_is_its_owners() {
    let directory = Directory::harbor(dead_address(9));
    let target = Directory::new();
    let check = |secrets: &str, mode: u32| {
        let file = target.file("intent.yaml").display().to_string();
        let output = export(directory.path(), &["--secrets", secrets, "-o", &file]);
        assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
        let found = target.file("intent.yaml").metadata().unwrap().permissions().mode() & 0o777;
        // The process may be told to be stricter.
        assert_eq!(found & !mode, 0, "{found:o}");
        assert_eq!(std::fs::read_dir(target.path()).unwrap().count(), 1);
    };
    check("ref", 0o644);
    check("inline", 0o600);
}

#[test]
fn what_an_intent_cannot_say_is_told() {
    let directory = Directory::harbor(dead_address(9)).holding([
        Ingress::new("plain").at("a.test", "Prefix", "/").file(),
        ("secrets/broken.yaml".to_owned(), "kind: [".to_owned()),
    ]);
    let output = export(directory.path(), &[]);
    let told = text(&output.stderr);
    assert!(told.contains("warning[PS011]: Ingress plain is not part of an intent"), "{told}");
    // What cannot be read may have been more.
    assert!(told.contains("error[PS102]"), "{told}");
    assert_eq!(output.status.code(), Some(1));
    directory.remove("secrets/broken.yaml");
    assert_eq!(export(directory.path(), &[]).status.code(), Some(0));
}

#[test]
fn a_secret_that_is_missing_is_a_finding() {
    let directory = Directory::harbor(dead_address(9));
    directory.edit("wasmplugins/ai-proxy.internal.yaml", TOKEN, "${secret.paid.token}");
    let output = export(directory.path(), &["--secrets", "inline"]);
    let told = text(&output.stderr);
    assert!(told.contains("there is no Secret `paid`"), "{told}");
    assert!(text(&output.stdout).contains("${secret.paid.token}"), "{}", text(&output.stdout));
    assert_eq!(output.status.code(), Some(0));
}
