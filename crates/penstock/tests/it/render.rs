//! `render` writes manifests that `lint` accepts and `serve` runs.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use crate::support::*;

const INTENT: &str = "
domains: [{name: plan.harbor.test, enableHttps: 'off'}]
providers:
- {name: tide, type: openai, tokens: ['${env:TIDE_KEY}'], rawConfigs: {openaiCustomUrl: 'http://UPSTREAM/v1'}}
consumers:
- {name: gull, credentials: [{type: key-auth, source: BEARER, values: ['${file:KEYFILE}']}]}
aiRoutes:
- name: shore
  domains: [plan.harbor.test]
  pathPredicate: {matchType: PRE, matchValue: /v1}
  upstreams: [{provider: tide, weight: 100, modelMapping: {asked: sent}}]
  authConfig: {enabled: true, allowedConsumers: [gull]}
";

fn render(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_penstock"))
        .arg("render")
        .args(arguments)
        .env("TIDE_KEY", "tide-token-1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn what_an_intent_becomes_is_served() {
    let upstream = Upstream::start(Scenario::Completion);
    let keys = Directory::new();
    keys.write("key", "gull-key-1\n");
    let intent = INTENT
        .replace("UPSTREAM", &upstream.address.to_string())
        .replace("KEYFILE", &keys.file("key").display().to_string());
    let directory = Directory::new();
    let path = directory.path().display().to_string();
    let output = render(&["-f", "-", "-o", &path], &intent);
    assert!(output.status.success(), "{output:?}");
    let mode = |name: &str| directory.file(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("secrets/penstock-provider-tide.yaml"), 0o600);
    for name in ["wasmplugins/ai-proxy.internal.yaml", "wasmplugins/key-auth.internal.yaml"] {
        let text = directory.read(name);
        assert!(text.contains("${secret."), "{name}: {text}");
        assert!(!text.contains("tide-token-1") && !text.contains("gull-key-1"), "{name}");
    }
    let lint = penstock(&["lint", &path]);
    assert!(lint.status.success(), "{}", String::from_utf8_lossy(&lint.stdout));
    let gateway = Serve::new(directory.path()).start();
    let ask = |key: &str| {
        let body = r#"{"model":"asked","messages":[]}"#;
        let request = Request::post("plan.harbor.test", "/v1/chat/completions", body)
            .header("authorization", &format!("Bearer {key}"));
        gateway.send(&request)
    };
    assert_eq!(ask("gull-key-1").status(), 200);
    assert_eq!(ask("another").status(), 401);
    let received = upstream.received();
    assert_eq!(received.header("authorization"), Some("Bearer tide-token-1"));
    assert!(received.text().contains(r#""model":"sent""#), "{}", received.text());
}

#[test]
fn standard_output_is_one_stream_of_documents() {
    let output = render(
        &["-f", "-"],
        &INTENT.replace("UPSTREAM", "127.0.0.1:9").replace("KEYFILE", "/nowhere"),
    );
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("---\n# "), "{text}");
    assert!(text.contains("# ingresses/ai-route-shore.internal.yaml"), "{text}");
    let warning = String::from_utf8(output.stderr).unwrap();
    assert!(warning.contains("warning[PS005]"), "{warning}");
}

#[test]
fn a_directory_is_read_with_those_below_it() {
    let directory = Directory::new().holding([
        ("b.yaml", "domains: [{name: b.harbor.test}]"),
        ("a/deep/a.yml", "domains: [{name: a.harbor.test}]"),
        ("a/note.txt", "not: [read"),
        (".hidden/c.yaml", "not: [read"),
    ]);
    let path = directory.path().display().to_string();
    let output = render(&["-f", &path], "");
    let text = String::from_utf8(output.stdout).unwrap();
    for name in ["domain-a.harbor.test", "domain-b.harbor.test"] {
        assert!(text.contains(name), "{text}");
    }
    directory.write("a/deep/z.json", "{\"domains\": [{\"name\": 5}]}");
    let output = render(&["-f", &path], "");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("a/deep/z.json:1:") && text.contains("PS201"), "{text}");
}

#[test]
fn an_intent_with_nothing_in_it_is_an_error() {
    for input in ["", "\n", "# nothing\n", "---\n"] {
        let output = render(&["-f", "-"], input);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("PS012") && text.contains("the intent is empty"), "{text}");
    }
    assert!(render(&["-f", "-"], "domains: []").status.success());
}

#[test]
fn a_mistake_in_an_intent_writes_nothing() {
    let check = |from: &str, to: &str, expected: &str| {
        assert!(INTENT.contains(from));
        let directory = Directory::new();
        let path = directory.path().join("out").display().to_string();
        let output = render(&["-f", "-", "-o", &path], &INTENT.replace(from, to));
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(expected), "{text}");
        assert!(!directory.path().join("out").exists());
    };
    check("weight: 100", "wieght: 100", "did you mean `weight`?");
    check("weight: 100", "weight: 90", "100");
    check("provider: tide", "provider: ebb", "`ebb`");
    check("[gull]", "[gul]", "did you mean `gull`?");
    check("domains: [{name: plan.harbor.test", "domains: [{name: 5", "PS201");
}

#[test]
fn the_schema_is_json() {
    let output = penstock(&["schema"]);
    assert!(output.status.success());
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(schema["properties"]["aiRoutes"].is_object(), "{schema}");
}
