use super::super::testing::{body, findings, header, plugin, request, run};

const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");
const CHAT: &str = "/v1/chat/completions?x=1";

/// What becomes of a JSON body: flow, `x-m`, `x-p`, body.
#[track_caller]
fn check(config: &str, sent: &str, expected: [&str; 4]) {
    let router = plugin("model-router", config);
    let mut cx = request(CHAT, &[JSON], sent);
    let flow = run(&*router, &mut cx);
    let found = [flow.as_str(), header(&cx, "x-m"), header(&cx, "x-p"), &body(&cx)];
    assert_eq!(found, expected, "{config} {sent}");
}

#[test]
fn the_model_becomes_a_header() {
    let config = "{modelToHeader: x-m}";
    check(config, r#"{"model":"a/b"}"#, ["reroute", "a/b", "", r#"{"model":"a/b"}"#]);
    for untouched in [
        r#"{"model":""}"#,
        r#"{"model":null}"#,
        r#"{"model":5}"#,
        "{}",
        "{",
        r#"{"model":"a","model":"b"}"#,
    ] {
        check(config, untouched, ["continue", "", "", untouched]);
    }
    check(config, r#"{"model":"a\nb"}"#, ["reroute", "", "", r#"{"model":"a\nb"}"#]);
}

#[test]
fn the_provider_is_split_off() {
    let config = "{addProviderHeader: x-p}";
    check(
        config,
        r#"{ "model" : "acme/gpt-4o", "n":1.0 }"#,
        ["reroute", "", "acme", r#"{ "model" : "gpt-4o", "n":1.0 }"#],
    );
    check(config, r#"{"model":"a/b/c"}"#, ["reroute", "", "a", r#"{"model":"b/c"}"#]);
    check(config, r#"{"model":"plain"}"#, ["reroute", "", "", r#"{"model":"plain"}"#]);
    check(
        "{addProviderHeader: x-p, modelToHeader: x-m}",
        r#"{"model":"a/b"}"#,
        ["reroute", "a/b", "a", r#"{"model":"b"}"#],
    );
    check(
        "{addProviderHeader: x-p, keepOriginalModelName: true}",
        r#"{"model":"a/b"}"#,
        ["reroute", "", "a", r#"{"model":"a/b"}"#],
    );
}

#[test]
fn the_key_may_lead_deeper() {
    check(
        "{modelKey: input.model, addProviderHeader: x-p, modelToHeader: x-m}",
        r#"{"model":"no","input":{"x":[1, 2],"model":"a/b"}}"#,
        ["reroute", "a/b", "a", r#"{"model":"no","input":{"x":[1, 2],"model":"b"}}"#],
    );
    let twice = r#"{"input":{"model":"a","model":"b"}}"#;
    check("{modelKey: input.model, modelToHeader: x-m}", twice, ["continue", "", "", twice]);
}

#[test]
fn forms_are_read_and_edited() {
    let router = plugin("model-router", "{addProviderHeader: x-p, modelToHeader: x-m}");
    let form = |model: &str| {
        format!(
            "--XX\r\nContent-Disposition: form-data; name=\"image\"\r\n\r\n\u{1}\r\n--XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--XX--\r\n"
        )
    };
    let content_type = ("content-type", "multipart/form-data; boundary=XX");
    let mut cx = request("/v1/images/generations", &[content_type], &form("a/b"));
    assert_eq!(run(&*router, &mut cx), "reroute");
    assert_eq!((header(&cx, "x-m"), header(&cx, "x-p")), ("a/b", "a"));
    assert_eq!(body(&cx), form("b"));
    assert_eq!(cx.record.model.as_deref(), Some("a/b"));
}

#[test]
fn what_a_client_claims_is_removed_on_every_path() {
    let router = plugin("model-router", "{modelToHeader: x-m, addProviderHeader: x-p}");
    let claims = [("x-higress-llm-model", "a"), ("x-m", "a"), ("x-p", "a"), JSON];
    for (path, body) in [("/other", r#"{"model":"b"}"#), (CHAT, ""), (CHAT, "{}"), (CHAT, "[")] {
        let mut cx = request(path, &claims, body);
        assert_eq!(run(&*router, &mut cx), "reroute", "{path} {body}");
        for (name, _) in &claims[..3] {
            assert_eq!(header(&cx, name), "", "{path} {body}");
        }
    }
    let mut cx = request(CHAT, &[("x-m", "a"), ("content-type", "text/plain")], r#"{"model":"b"}"#);
    assert_eq!(run(&*router, &mut cx), "reroute");
    assert_eq!(header(&cx, "x-m"), "");
}

#[test]
fn paths_can_be_chosen() {
    let check = |list: &str, path: &str, expected: &str| {
        let config = format!("{{modelToHeader: x-m, enableOnPathSuffix: {list}}}");
        let mut cx = request(path, &[JSON], r#"{"model":"m"}"#);
        run(&*plugin("model-router", &config), &mut cx);
        assert_eq!(header(&cx, "x-m"), expected, "{list} {path}");
    };
    check("[/mine]", "/v1/mine?a=/other", "m");
    check("[/mine]", "/v1/chat/completions", "");
    check("['*']", "/anything", "m");
    check("[]", "/v1/chat/completions", "");
}

#[test]
fn rules_choose_a_model_for_auto() {
    let config = r#"{modelToHeader: x-m, autoRouting: {enable: true, defaultModel: plain,
        rules: [{pattern: '(?i)draw', model: painter}, {pattern: sum, model: maths}]}}"#;
    let check = |config: &str, text: &str, expected: &str| {
        let sent = format!(
            r#"{{"model":"higress/auto","messages":[{{"role":"user","content":"{text}"}}]}}"#
        );
        let mut cx = request(CHAT, &[JSON], &sent);
        run(&*plugin("model-router", config), &mut cx);
        assert_eq!(header(&cx, "x-higress-llm-model"), expected, "{text}");
        assert_eq!(header(&cx, "x-m"), "", "{text}");
        let model = if expected.is_empty() { "higress/auto" } else { expected };
        assert_eq!(body(&cx), sent.replace("higress/auto", model));
    };
    check(config, "DRAW a sum", "painter");
    check(config, "a sum", "maths");
    check(config, "hello", "plain");
    check(&config.replace("defaultModel: plain,", ""), "hello", "");
    let off = config.replace("enable: true", "enable: false");
    let mut cx = request(CHAT, &[JSON], r#"{"model":"higress/auto"}"#);
    run(&*plugin("model-router", &off), &mut cx);
    assert_eq!(header(&cx, "x-m"), "higress/auto");
}

#[test]
fn later_plugins_see_the_new_body() {
    let router = plugin("model-router", "{addProviderHeader: x-p}");
    let mut cx = request(CHAT, &[JSON, ("content-length", "15")], r#"{"model":"a/b"}"#);
    run(&*router, &mut cx);
    assert_eq!(cx.scan_body().unwrap().unwrap().model.as_deref(), Some("b"));
    assert_eq!(cx.record.model.as_deref(), Some("a/b"));
    assert_eq!(header(&cx, "content-length"), "");
}

#[test]
fn mistakes_are_told() {
    let check = |config: &str, expected: &[&str], kind: &str| {
        let (built, findings) = findings("model-router", config);
        let codes: Vec<&str> = findings.iter().map(|finding| &finding[..5]).collect();
        assert_eq!(codes, expected, "{config} {findings:?}");
        assert_eq!(built.default.unwrap().kind(), kind, "{config}");
    };
    check("{}", &[], "routes");
    check("{modelToheader: x}", &["PS202"], "routes");
    check("{modelToHeader: 'a b'}", &["PS504"], "503");
    check("{modelToHeader: 5}", &["PS201"], "503");
    check("{modelKey: 'a.#'}", &["PS504"], "503");
    check("{enableOnPathSuffix: /x}", &["PS201"], "503");
    check("{keepOriginalModelName: 'x'}", &["PS201"], "503");
    check(
        "{autoRouting: {rules: [{pattern: '('}, {pattern: '(', model: m}]}}",
        &["PS208", "PS208"],
        "routes",
    );
    check("{autoRouting: []}", &["PS201"], "503");
}
