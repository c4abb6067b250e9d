use super::super::testing::{body, build, findings, header, plugin, request, run};

const JSON: (&str, &str) = ("content-type", "application/json");
const FINAL: &str = "x-higress-llm-model-final";

/// What the model and the header become.
#[track_caller]
fn check(mapping: &str, sent: &str, expected_header: &str, expected: &str) {
    let mapper = plugin("model-mapper", &format!("{{modelMapping: {mapping}}}"));
    let mut cx = request("/v1/chat/completions", &[JSON, (FINAL, "spoofed")], sent);
    assert_eq!(run(&*mapper, &mut cx), "continue");
    assert_eq!((header(&cx, FINAL), body(&cx).as_str()), (expected_header, expected), "{mapping}");
}

#[test]
fn names_are_mapped_exactly_then_by_prefix_then_by_the_rest() {
    let model = |name: &str| format!(r#"{{ "model" : "{name}","x":1.0 }}"#);
    let mapping = "{a-b: exact, 'a-*': short, 'a-b-*': long, '*': rest}";
    let case = |mapping: &str, asked: &str, expected: &str| {
        check(mapping, &model(asked), expected, &model(expected));
    };
    case(mapping, "a-b", "exact");
    case(mapping, "a-x", "short");
    case(mapping, "a-b-c", "short");
    case("{'gpt-4*': four, 'gpt-*': gpt}", "gpt-4o", "gpt");
    case(mapping, "other", "rest");
    case("{'*': ''}", "other", "other");
    case("{other: '', '*': rest}", "other", "other");
    case("{'o*': '', '*': rest}", "other", "other");
    case("{other: other}", "other", "other");
}

#[test]
fn an_absent_model_gets_that_of_the_rest() {
    check("{'*': m}", "{}", "m", r#"{"model":"m"}"#);
    check("{'*': m}", r#"{"model":null}"#, "m", r#"{"model":"m"}"#);
    check("{a: m}", r#"{"x":1}"#, "", r#"{"x":1}"#);
}

#[test]
fn what_cannot_be_read_stays() {
    for sent in ["{", "[]", r#"{"model":5}"#, r#"{"model":"a","model":"b"}"#] {
        check("{'*': m}", sent, "", sent);
    }
}

#[test]
fn the_key_may_lead_deeper_and_the_header_may_have_another_name() {
    let mapper = plugin(
        "model-mapper",
        "{modelKey: input.model, modelToHeader: x-final, modelMapping: {a: b}, enableOnPathSuffix: [/x]}",
    );
    let mut cx = request("/x", &[JSON], r#"{"input":{"model":"a"}}"#);
    run(&*mapper, &mut cx);
    assert_eq!((header(&cx, "x-final"), header(&cx, FINAL)), ("b", ""));
    assert_eq!(body(&cx), r#"{"input":{"model":"b"}}"#);
}

#[test]
fn other_paths_and_bodies_pass() {
    let check = |config: &str, path: &str, content_type: &str| {
        let mapper = plugin("model-mapper", config);
        let sent = r#"{"model":"a"}"#;
        let mut cx = request(path, &[("content-type", content_type), (FINAL, "spoofed")], sent);
        run(&*mapper, &mut cx);
        assert_eq!((header(&cx, FINAL), body(&cx).as_str()), ("", sent), "{config} {path}");
    };
    check("{modelMapping: {a: b}}", "/v1/models", "application/json");
    check("{modelMapping: {a: b}}", "/v1/completions", "multipart/form-data; boundary=x");
    check(
        "{modelMapping: {a: b}, enableOnPathSuffix: ['*']}",
        "/v1/completions",
        "application/json",
    );
}

#[test]
fn mistakes_are_told() {
    let check = |config: &str, expected: &[&str], kind: &str| {
        let (built, findings) = findings("model-mapper", config);
        let codes: Vec<&str> = findings.iter().map(|finding| &finding[..5]).collect();
        assert_eq!(codes, expected, "{config} {findings:?}");
        assert_eq!(built.default.unwrap().kind(), kind, "{config}");
    };
    check("{}", &[], "maps");
    check("{modelMapping: []}", &["PS201"], "503");
    check("{modelMapping: {a: 5}}", &["PS201"], "503");
    check("{enableOnPathSuffix: '*'}", &["PS201"], "503");
    check("{enableResponseMapping: true}", &["PS505"], "maps");
    check("{modelmapping: {}}", &["PS202"], "maps");
}

#[test]
fn an_empty_configuration_beside_rules_is_none() {
    let check = |rest: &str, expected: [bool; 2]| {
        let (built, _) = build("model-mapper", rest);
        let first_rule = built.rules.first().is_some_and(Option::is_some);
        assert_eq!([built.default.is_some(), first_rule], expected, "{rest}");
    };
    check("", [true, false]);
    check("  defaultConfig: {}", [true, false]);
    check("  defaultConfig: {}\n  matchRules: [{ingress: [r]}]", [false, true]);
    check("  defaultConfigDisable: true", [false, false]);
    check("  defaultConfig: {modelMapping: {}}\n  matchRules: [{ingress: [r]}]", [true, true]);
}
