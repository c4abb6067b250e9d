//! `explain` and `test` say what `serve` would do.

use std::path::Path;

use serde_json::Value;

use crate::support::*;

fn explain(directory: &Directory, arguments: &[&str]) -> Value {
    let path = directory.path().display().to_string();
    let mut line = vec!["explain", "--config", &path, "-o", "json"];
    line.extend(arguments);
    let output = penstock(&line);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn site() -> Directory {
    Directory::harbor("127.0.0.1:9".parse().unwrap())
}

#[test]
fn a_request_that_passes_is_shown_as_it_would_be_sent() {
    let authorization = format!("Authorization: Bearer {HERON_KEY}");
    let url = format!("http://{HOST}/v1/chat/completions?a=b");
    let body = r#"{"model":"m","messages":[]}"#;
    let arguments =
        ["--url", &url, "-H", &authorization, "-H", "Content-Type: application/json", "-d", body];
    let answer = explain(&site(), &arguments);
    assert_eq!(answer["candidates"][0]["chosen"], true);
    let pass = &answer["passes"][0];
    assert_eq!(pass["weight"], 100);
    assert_eq!(pass["consumer"], "heron");
    let plugins: Vec<&str> =
        pass["plugins"].as_array().unwrap().iter().map(|p| p["plugin"].as_str().unwrap()).collect();
    assert_eq!(plugins, ["key-auth", "ai-proxy"]);
    assert!(pass["plugins"].as_array().unwrap().iter().all(|p| p["decision"] == "continue"));
    let upstream = &pass["outcome"]["upstream"];
    assert_eq!(upstream["method"], "POST");
    assert!(upstream["url"].as_str().unwrap().contains("/chat/completions"), "{upstream}");
    let text = answer.to_string();
    assert!(!text.contains(TOKEN) && !text.contains(HERON_KEY), "secrets are hashes: {text}");
}

#[test]
fn a_request_that_is_denied_shows_who_denied_it() {
    let url = format!("http://{HOST}/v1/chat/completions");
    let answer = explain(&site(), &["--url", &url, "-H", "Authorization: Bearer nobody"]);
    let pass = &answer["passes"][0];
    assert_eq!(pass["plugins"][0]["decision"], "reply");
    assert_eq!(pass["plugins"].as_array().unwrap().len(), 1);
    assert_eq!(pass["outcome"]["reply"]["status"], 401);
    assert_eq!(pass["consumer"], Value::Null);
}

#[test]
fn routes_that_lose_say_why() {
    let directory = Directory::new().holding([
        Ingress::new("short").at("a.test", "Prefix", "/v1").file(),
        Ingress::new("long").at("a.test", "Prefix", "/v1/chat").file(),
        Ingress::new("other").at("a.test", "Exact", "/v2").file(),
    ]);
    let answer = explain(&directory, &["--url", "http://a.test/v1/chat/x"]);
    let shown: Vec<(&str, &str)> = answer["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| (c["route"].as_str().unwrap(), c["lost_because"].as_str().unwrap_or("")))
        .collect();
    let expected = [
        ("other", "the path does not match"),
        ("long", ""),
        ("short", "another route comes first"),
    ];
    assert_eq!(shown, expected);
    assert_eq!(answer["passes"][0]["outcome"]["reply"]["code"], "service_unknown");
}

#[test]
fn the_scenario_of_the_examples_holds() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let file = examples.join("article.test.yaml").display().to_string();
    let config = examples.join("article").display().to_string();
    let output = penstock(&["test", &file, "--config", &config]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.ends_with("test result: ok. 5 passed; 0 failed\n"), "{text}");
}

#[test]
fn an_expectation_that_does_not_hold_fails() {
    let directory = site();
    let config = directory.path().display().to_string();
    let check = |tests: &str, code: i32, expected: &str| {
        let elsewhere = Directory::new();
        elsewhere.write("t.yaml", tests);
        let file = elsewhere.file("t.yaml").display().to_string();
        let output = penstock(&["test", &file, "--config", &config]);
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(expected), "{text}");
    };
    let url = format!("http://{HOST}/v1/models");
    let one = |expect: &str| {
        format!("tests: [{{name: one, request: {{url: '{url}'}}, expect: {{{expect}}}}}]")
    };
    check(&one("status: 401"), 0, "1 passed; 0 failed");
    check(&one("status: 200"), 1, "status is `401`, expected `200`");
    check(&one("status: upstream"), 1, "0 passed; 1 failed");
    check(&one("consumer: null, provider: null"), 0, "ok");
    check(&one("consumer: heron"), 1, "consumer is nothing, expected `heron`");
    check(&one("headers: {www-authenticate: nothing}"), 1, "header www-authenticate");
    check(&one("stauts: 401"), 1, "did you mean `status`?");
    check("tests: [{request: {url: /no-host}}]", 1, "no `url` with a host");
    check("tests: 5", 1, "there is no list `tests`");
    check("tests: [", 1, "error: ");
}

#[test]
fn keys_under_names_of_their_own_are_not_shown() {
    let directory = Directory::new().holding([
        (
            "mcpbridges/default.yaml".to_owned(),
            bridge(&[static_registry("deck", &["127.0.0.1:9".parse().unwrap()])]),
        ),
        Ingress::new("pier").at("a.test", "Prefix", "/").file(),
        Plugin::key_auth()
            .default_config(
                "{global_auth: true, consumers: [{name: a, keys: [x-tide], credential: secret-1}]}",
            )
            .file(),
    ]);
    for arguments in [
        ["--url", "http://a.test/?x-tide=secret-1&b=c", "-H", "b: c"],
        ["--url", "http://a.test/", "-H", "X-Tide: secret-1"],
    ] {
        let answer = explain(&directory, &arguments);
        assert_eq!(answer["passes"][0]["consumer"], "a");
        assert!(!answer["passes"].to_string().contains("secret-1"), "{answer}");
    }
}

/// What a chat of the harbor meets where its provider, or its route, says
/// more: as text, and as JSON.
fn on_failure(provider: &str, annotations: &str) -> (String, Value) {
    let directory = site();
    directory.edit(
        "wasmplugins/ai-proxy.internal.yaml",
        "      apiTokens:\n      - sk-brook-2718\n",
        &format!("      apiTokens: [t1, t2, t3]\n{provider}"),
    );
    if !annotations.is_empty() {
        let file = "ingresses/ai-route-pier.internal.yaml";
        directory.edit(file, "  annotations:\n", &format!("  annotations:\n{annotations}"));
    }
    let authorization = format!("Authorization: Bearer {HERON_KEY}");
    let url = format!("http://{HOST}/v1/chat/completions");
    let body = r#"{"model":"m","messages":[]}"#;
    let arguments =
        ["--url", &url, "-H", &authorization, "-H", "Content-Type: application/json", "-d", body];
    let path = directory.path().display().to_string();
    let output = penstock(&[&["explain", "--config", &path][..], &arguments].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, told) = text.split_once("\nbody ").unwrap_or_else(|| panic!("{text}"));
    let (_, told) = told.split_once('\n').unwrap();
    (told.to_owned(), explain(&directory, &arguments)["passes"][0]["on_failure"].clone())
}

#[test]
fn what_is_tried_where_the_upstream_fails_is_told() {
    let (text, json) = on_failure("", "");
    assert_eq!(text, "tokens    3\n");
    let nothing = serde_json::json!({
        "tokens": 3, "failover": null, "other_token": null, "retry": null,
    });
    assert_eq!(json, nothing);
    let (text, json) = on_failure(
        "      failover: {enabled: true, healthCheckModel: tiny, successThreshold: 2, failoverOnStatus: [\"401\", \"50[0-3]\"], cooldownDuration: 60000}\n      \
         retryOnFailure: {enabled: true, maxRetries: 9, retryTimeout: 2500}\n",
        "    higress.io/proxy-next-upstream: error,http_429,non_idempotent\n    \
         higress.io/proxy-next-upstream-tries: \"4\"\n",
    );
    let told = "tokens    3; put aside after 3 failures in a row (401, 500-503), back after 2 checks with tiny, every 5 s, or after 60 s\n\
                retry     2 times with another token after 4xx, 5xx, each within 2.5 s\n\
                retry     4 times by the route after 429, 5xx, without an answer\n";
    assert_eq!(text, told);
    assert_eq!(json["other_token"]["times"], 2);
    assert_eq!(json["failover"]["statuses"], "401, 500-503");
    assert_eq!(json["failover"]["check_model"], "tiny");
    assert_eq!(json["retry"]["statuses"], serde_json::json!([429]));
    // A chat may do something twice.
    let (text, json) = on_failure(
        "",
        "    higress.io/proxy-next-upstream: error\n    higress.io/proxy-next-upstream-tries: \"4\"\n",
    );
    assert!(text.contains("none by the route"), "{text}");
    assert_eq!(json["retry"]["times"], 0);
}
