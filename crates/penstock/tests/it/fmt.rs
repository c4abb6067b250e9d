//! `fmt` rewrites files, and nothing but their form.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Output, Stdio};

use crate::support::*;

const CARELESS: &str = "# who may call\nconsumers:   # all\n  - {name: gull}\ndomains: []\n";
const NEAT: &str = "domains: []\n# who may call\nconsumers: # all\n- name: gull\n";

fn fmt(arguments: &[&str]) -> (i32, String, String) {
    outcome(penstock(&[&["fmt"], arguments].concat()))
}

fn fmt_stdin(arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_penstock"))
        .args(["fmt", "-"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    outcome(child.wait_with_output().unwrap())
}

fn outcome(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn names(directory: &Directory) -> Vec<String> {
    let entries = fs::read_dir(directory.path()).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_directory_is_walked() {
    let directory = Directory::new().holding([
        ("a.yaml", CARELESS),
        ("deep/er/b.YML", CARELESS),
        ("c.json", "{\"b\":[1.0],\"a\":{}}"),
        (".hidden/d.yaml", CARELESS),
        (".e.yaml", CARELESS),
        ("f.txt", CARELESS),
        ("neat.yaml", NEAT),
    ]);
    symlink(directory.path(), directory.file("round")).unwrap();
    let path = directory.path().to_str().unwrap();
    let expected: String =
        ["a.yaml", "c.json", "deep/er/b.YML"].map(|name| format!("{path}/{name}\n")).concat();

    assert_eq!(fmt(&[path, "--check"]), (1, expected.clone(), String::new()));
    assert_eq!(directory.read("a.yaml"), CARELESS);

    assert_eq!(fmt(&[path]), (0, String::new(), expected));
    for (name, text) in [
        ("a.yaml", NEAT),
        ("deep/er/b.YML", NEAT),
        ("c.json", "{\n  \"b\": [\n    1.0\n  ],\n  \"a\": {}\n}\n"),
        (".hidden/d.yaml", CARELESS),
        (".e.yaml", CARELESS),
        ("f.txt", CARELESS),
    ] {
        assert_eq!(directory.read(name), text, "{name}");
    }
    let there = [".e.yaml", ".hidden", "a.yaml", "c.json", "deep", "f.txt", "neat.yaml", "round"];
    assert_eq!(names(&directory), there);

    let nothing = (0, String::new(), String::new());
    assert_eq!(fmt(&[path, "--check"]), nothing);
    assert_eq!(fmt(&[path]), nothing);
}

#[test]
fn standard_input_goes_to_standard_output() {
    assert_eq!(fmt_stdin(&[], CARELESS), (0, NEAT.to_owned(), String::new()));
    assert_eq!(fmt_stdin(&["--check"], NEAT), (0, String::new(), String::new()));
    let differs = (1, "<stdin>\n".to_owned(), String::new());
    assert_eq!(fmt_stdin(&["--check"], CARELESS), differs);
    let (code, stdout, stderr) = fmt_stdin(&[], "a: [\n");
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.starts_with("<stdin>:"), "{stderr}");
}

#[test]
fn what_would_be_lost_is_told() {
    let text = "a:   &a 1\nb: *a\n";
    let directory = Directory::new().holding([("a.yaml", text)]);
    let path = directory.file("a.yaml").display().to_string();
    for arguments in [&[path.as_str()][..], &[&path, "--check"]] {
        let (code, stdout, stderr) = fmt(arguments);
        assert_eq!((code, stdout.as_str()), (0, ""));
        assert!(stderr.starts_with(&format!("{path}:1:")), "{stderr}");
        assert!(stderr.contains("left as it is: anchors"), "{stderr}");
        assert_eq!(directory.read("a.yaml"), text);
    }
    let (code, stdout, _) = fmt_stdin(&[], text);
    assert_eq!((code, stdout.as_str()), (0, text));
}

#[test]
fn a_broken_file_keeps_no_other_from_its_form() {
    let directory =
        Directory::new().holding([("a.yaml", "a: 1\n---\nb: [\n"), ("b.yaml", CARELESS)]);
    directory.write("c.yaml", b"a: \xff\n");
    let (code, stdout, stderr) = fmt(&[directory.path().to_str().unwrap()]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("a.yaml:4:1: error[PS102]: "), "{stderr}");
    assert!(stderr.contains("error: cannot read `"), "{stderr}");
    assert_eq!(directory.read("a.yaml"), "a: 1\n---\nb: [\n");
    assert_eq!(directory.read("b.yaml"), NEAT);
}

#[test]
fn a_file_keeps_its_mode_and_a_link_leads_where_it_led() {
    let directory = Directory::new().holding([("a.yaml", CARELESS)]);
    let mode = fs::Permissions::from_mode(0o640);
    fs::set_permissions(directory.file("a.yaml"), mode).unwrap();
    symlink("a.yaml", directory.file("b.yaml")).unwrap();
    assert_eq!(fmt(&[directory.file("b.yaml").to_str().unwrap()]).0, 0);
    assert!(directory.file("b.yaml").is_symlink());
    assert_eq!(directory.read("a.yaml"), NEAT);
    let mode = directory.file("a.yaml").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn what_cannot_be_meant_is_an_error() {
    let empty = Directory::new();
    for path in [empty.path(), &empty.file("absent.yaml")] {
        let (code, stdout, stderr) = fmt(&[path.to_str().unwrap()]);
        assert_eq!((code, stdout.as_str()), (1, ""));
        assert!(stderr.starts_with("error: "), "{stderr}");
    }
    assert_eq!(fmt(&[]).0, 64);
}

#[test]
fn manifests_mean_the_same_afterwards() {
    let directory = Directory::harbor(([127, 0, 0, 1], 9).into());
    let codes = |path: &str| {
        let report = penstock(&["lint", path, "-o", "json"]).stdout;
        let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
        let findings = report["diagnostics"].as_array().unwrap();
        let mut codes: Vec<String> =
            findings.iter().map(|finding| finding["code"].to_string()).collect();
        codes.sort_unstable();
        codes
    };
    let path = directory.path().to_str().unwrap();
    let before = codes(path);
    assert_eq!(fmt(&[path]).0, 0);
    assert_eq!(codes(path), before);
    assert_eq!(fmt(&[path, "--check"]).0, 0);
}
