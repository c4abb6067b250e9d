//! The verbs that end by themselves, and `quickstart`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::*;

/// The scenario with a slip in it, on disk.
fn with_slips() -> Directory {
    let upstream = ([127, 0, 0, 1], 9).into();
    let directory = Directory::harbor(upstream);
    directory.edit(
        "ingresses/ai-route-pier.internal.yaml",
        "llm-brook.internal.static:80",
        "llm-brok.internal.static:80",
    );
    directory.edit(
        "wasmplugins/key-auth.internal.yaml",
        "credential: Bearer otter-key-0815",
        "credential: Bearer heron-key-4711",
    );
    directory
}

fn lint(directory: &Directory, more: &[&str]) -> (i32, String, String) {
    let path = directory.path().to_str().unwrap();
    let output = penstock(&[&["lint", path][..], more].concat());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn lint_tells_by_its_exit_code_what_it_found() {
    let clean = Directory::harbor(([127, 0, 0, 1], 9).into());
    let check = |directory: &Directory, level: &str, expected: i32| {
        assert_eq!(lint(directory, &["--fail-on", level]).0, expected, "{level}");
    };
    check(&clean, "error", 0);
    check(&clean, "warning", 1);
    check(&with_slips(), "error", 1);
    assert_eq!(lint(&with_slips(), &[]).0, 1);
    check(&Directory::new(), "info", 0);
    let absent = penstock(&["lint", "/no/such/path"]);
    assert_eq!(absent.status.code(), Some(1));
    assert!(String::from_utf8(absent.stderr).unwrap().starts_with("error: "));
}

#[test]
fn lint_writes_findings_as_json() {
    let (code, stdout, stderr) = lint(&with_slips(), &["-o", "json"]);
    assert_eq!((code, stderr.as_str()), (1, ""));
    let report: Value = serde_json::from_str(&stdout).unwrap();
    let findings = report["diagnostics"].as_array().unwrap();
    assert!(findings.len() >= 2, "{stdout}");
    for finding in findings {
        let mut keys: Vec<&str> = finding.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["code", "column", "file", "hint", "line", "message", "path", "severity"]);
        assert!(["error", "warning", "info"].contains(&finding["severity"].as_str().unwrap()));
    }
    let find = |code: &str| findings.iter().find(|finding| finding["code"] == code).expect(code);
    let unknown = find("PS401");
    assert!(unknown["file"].as_str().unwrap().ends_with("ingresses/ai-route-pier.internal.yaml"));
    assert_eq!((&unknown["line"], &unknown["severity"]), (&11.into(), &"error".into()));
    assert!(
        unknown["hint"].as_str().unwrap().contains("llm-brook.internal.static:80"),
        "{unknown}"
    );
    find("PS603");
    assert!(!stdout.contains(HERON_KEY), "{stdout}");
}

#[test]
fn lint_writes_findings_for_people_and_machines() {
    let (_, text, summary) = lint(&with_slips(), &[]);
    assert!(text.contains("ingresses/ai-route-pier.internal.yaml:11:"), "{text}");
    assert!(text.contains("PS401") && summary.contains("errors"), "{text} {summary}");
    let (_, sarif, _) = lint(&with_slips(), &["-o", "sarif"]);
    let sarif: Value = serde_json::from_str(&sarif).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    assert!(results.iter().any(|result| result["ruleId"] == "PS401"), "{sarif}");
    let (_, github, _) = lint(&with_slips(), &["-o", "github"]);
    assert!(
        github.lines().any(|line| line.starts_with("::error ") && line.contains("line=11")),
        "{github}"
    );
    for output in ["text", "json", "sarif", "github"] {
        assert!(!lint(&with_slips(), &["-o", output]).1.contains(HERON_KEY), "{output}");
    }
}

#[test]
fn lint_and_serve_find_the_same() {
    let directory = with_slips();
    let gateway = Serve::new(directory.path()).start();
    let served: Vec<Value> = gateway.findings();
    let (_, linted, _) = lint(&directory, &["-o", "json"]);
    let linted: Value = serde_json::from_str(&linted).unwrap();
    assert_eq!(linted["diagnostics"], Value::Array(served));
}

/// `penstock quickstart`, ended with its test.
struct Quickstart(Child);

impl Drop for Quickstart {
    fn drop(&mut self) {
        // One that has ended already has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A request from a line of curl, and where it goes.
fn parse_curl(line: &str) -> (std::net::SocketAddr, Request) {
    let quoted = |flag: &str| -> Vec<String> {
        let begin = format!(" {flag} '");
        let parts = line.split(&begin).skip(1);
        parts.map(|part| part.split('\'').next().unwrap().to_owned()).collect()
    };
    let url = line.split_whitespace().find_map(|word| word.strip_prefix("http://")).unwrap();
    let (address, path) = url.split_once('/').unwrap();
    let headers = quoted("-H");
    let host = headers.iter().find_map(|header| header.strip_prefix("Host: ")).unwrap_or(address);
    let body = quoted("-d");
    let method = if body.is_empty() { "GET" } else { "POST" };
    let mut request = Request::new(method, host, &format!("/{path}"));
    for header in headers.iter().filter(|header| !header.starts_with("Host: ")) {
        let (name, value) = header.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    if let Some(body) = body.first() {
        request = request.body(body.clone());
    }
    (address.parse().unwrap(), request)
}

#[test]
fn quickstart_prints_lines_that_work() {
    let directory = Directory::new();
    let folder = directory.file("quickstart");
    let mut child = Command::new(env!("CARGO_BIN_EXE_penstock"))
        .args(["quickstart", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--config"])
        .arg(&folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let _quickstart = Quickstart(child);
    let lines: Vec<String> = stdout
        .lines()
        .map_while(Result::ok)
        .filter(|line| line.contains("curl "))
        .take(4)
        .collect();
    let answers: Vec<Answer> = lines
        .iter()
        .map(|line| {
            let (address, request) = parse_curl(line);
            request.send(address)
        })
        .collect();
    let statuses: Vec<u16> = answers.iter().map(Answer::status).collect();
    assert_eq!(statuses, [200, 200, 401, 200], "{lines:#?}");
    assert!(answers[0].json()["choices"][0]["message"]["content"].is_string());
    assert!(answers[1].text().ends_with("data: [DONE]\n\n"));
    assert_eq!(answers[3].json()["ready"], true);
    let again = penstock(&["lint", folder.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(0), "{}", String::from_utf8_lossy(&again.stdout));
}

#[test]
fn quickstart_writes_only_where_nothing_else_is() {
    let directory = Directory::new().holding([("mine.yaml", "a: b")]);
    let output = penstock(&[
        "quickstart",
        "--config",
        directory.path().to_str().unwrap(),
        "--http",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("error: "));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}
