use http::{HeaderMap, HeaderName, HeaderValue};
use penstock_manifest::read::{FilePath, read_file};

use super::*;

/// Builds key-auth from the `spec` of a WasmPlugin.
fn build_from(spec: &str) -> (Built, Vec<Diagnostic>) {
    let spec = spec.replace('\n', "\n  ");
    let text = format!(
        "apiVersion: extensions.higress.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{name: k}}\nspec:\n  {spec}"
    );
    let content = read_file(&FilePath::standalone("k.yaml"), &text);
    let mut diagnostics = content.diagnostics;
    let plugin = WasmPlugin::parse(&content.resources[0], &mut diagnostics).unwrap();
    let built = build(&plugin, &mut diagnostics);
    (built, diagnostics)
}

fn codes(diagnostics: &[Diagnostic]) -> Vec<&str> {
    diagnostics.iter().map(|diagnostic| diagnostic.code.id).collect()
}

const CONSUMERS: &str = "
    consumers:
    - {name: ada, keys: [Authorization], in_header: true, in_query: false, credential: Bearer one}
    - {name: bob, keys: [x-key, q], credentials: [two, three]}
    - {name: cy, credential: four}
    keys: [x-global]";

fn registry(config: &str, is_go: bool) -> Registry {
    let url = if is_go { "oci://x/go-key-auth:1" } else { "oci://x/key-auth:1" };
    let text = format!(
        "apiVersion: extensions.higress.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{name: k}}\nspec:\n  url: {url}\n  defaultConfig:{config}\n"
    );
    let content = read_file(&FilePath::standalone("k.yaml"), &text);
    let plugin = WasmPlugin::parse(&content.resources[0], &mut Vec::new()).unwrap();
    let mut diagnostics = Vec::new();
    let global = Global::parse(&plugin, &mut diagnostics);
    global.registry.unwrap_or_else(|| panic!("{diagnostics:?}"))
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    headers
}

fn name_of(found: Found<'_>) -> String {
    match found {
        Found::Consumer(consumer) => consumer.name.to_string(),
        Found::Anonymous => "<anonymous>".into(),
        Found::Unknown => "<unknown>".into(),
        Found::None => "<none>".into(),
        Found::Several => "<several>".into(),
    }
}

#[test]
fn consumers_are_found_as_in_the_cpp_build() {
    let registry = registry(CONSUMERS, false);
    let check = |pairs: &[(&str, &str)], query: Option<&str>, expected: &str| {
        assert_eq!(
            name_of(registry.search(&headers(pairs), query)),
            expected,
            "{pairs:?} {query:?}"
        );
    };
    check(&[], None, "<none>");
    check(&[("authorization", "Bearer one")], None, "ada");
    check(&[("Authorization", "Bearer two")], None, "<unknown>");
    check(&[("authorization", "bearer one")], None, "<unknown>");
    check(&[("authorization", "Bearer  one")], None, "<unknown>");
    check(&[("authorization", "one")], None, "<unknown>");
    check(&[], Some("Authorization=Bearer%20one"), "<none>");
    check(&[("x-key", "two")], None, "bob");
    check(&[("x-key", "three")], None, "bob");
    check(&[], Some("q=three"), "bob");
    check(&[], Some("x-key=two&a=b"), "bob");
    check(&[("x-key", "")], Some("x-key=two"), "bob");
    check(&[("x-key", "wrong")], Some("x-key=two"), "<unknown>");
    check(&[("x-global", "four")], None, "cy");
    check(&[], Some("x-global=four"), "cy");
    // Consumers without keys of their own are searched first.
    check(&[("authorization", "Bearer one"), ("x-global", "four")], None, "cy");
    check(&[("authorization", "Bearer one"), ("x-key", "two")], None, "ada");
    // The key that an internal redirect carries.
    check(&[("x-hi-original-auth", "Bearer one")], None, "ada");
    check(&[("x-hi-original-auth", "four")], None, "<unknown>");
    // A name that is presented twice can be read in two ways.
    check(&[("authorization", "Bearer one"), ("authorization", "Bearer x")], None, "<unknown>");
    check(&[], Some("q=three&q=three"), "<unknown>");
}

#[test]
fn consumers_are_found_as_in_the_go_build() {
    let registry = registry(
        "
    in_header: true
    keys: [x-key, authorization]
    consumers:
    - {name: ada, credential: one}
    - {name: bob, credential: two}",
        true,
    );
    let check = |pairs: &[(&str, &str)], query: Option<&str>, expected: &str| {
        let found = registry.search_go(&headers(pairs), query);
        assert_eq!(name_of(found), expected, "{pairs:?} {query:?}");
    };
    check(&[], Some("x-key=one"), "<none>");
    check(&[("x-key", "one")], None, "ada");
    check(&[("authorization", "two")], None, "bob");
    check(&[("x-key", "nine")], None, "<unknown>");
    check(&[("x-key", "one"), ("authorization", "two")], None, "<several>");
}

#[test]
fn anonymous_credentials_name_nobody() {
    let registry = registry("\n    credentials: [a, b]\n    keys: [x-key]\n    realm: here", false);
    assert_eq!(name_of(registry.search(&headers(&[("x-key", "b")]), None)), "<anonymous>");
    assert_eq!(name_of(registry.search(&headers(&[("x-key", "c")]), None)), "<unknown>");
    assert_eq!(
        name_of(registry.search(&headers(&[("x-hi-original-auth", "a")]), None)),
        "<anonymous>"
    );
    assert_eq!(registry.challenge(), "Key realm=here");
}

#[test]
fn a_shared_credential_authenticates_nobody() {
    let (_, diagnostics) = build_from(
        "url: oci://x/key-auth:1
defaultConfig:
  global_auth: true
  consumers:
  - {name: ada, keys: [a], credentials: [same, own]}
  - {name: bob, keys: [b], credential: same}",
    );
    assert_eq!(codes(&diagnostics), ["PS603"]);
    assert!(!format!("{diagnostics:?}").contains("same\""), "the credential is not shown");
    let registry = registry(
        "
    consumers:
    - {name: ada, keys: [a], credentials: [same, own]}
    - {name: bob, keys: [b], credential: same}",
        false,
    );
    let check = |pairs: &[(&str, &str)], expected: &str| {
        assert_eq!(name_of(registry.search(&headers(pairs), None)), expected, "{pairs:?}");
    };
    check(&[("a", "same")], "<unknown>");
    check(&[("b", "same")], "<unknown>");
    check(&[("a", "own")], "ada");
}

#[test]
fn a_bad_consumer_is_set_aside_alone() {
    let check = |consumer: &str, expected: &[&str]| {
        let (built, diagnostics) = build_from(&format!(
            "url: oci://x/key-auth:1
defaultConfig:
  consumers:
  - {consumer}
  - {{name: good, keys: [a], credential: ok}}
matchRules:
- {{ingress: [r], config: {{allow: [good]}}}}"
        ));
        assert_eq!(codes(&diagnostics), expected, "{consumer}");
        assert!(built.rules[0].is_some());
    };
    check("{name: bad, keys: [a]}", &["PS602"]);
    check("{name: bad, keys: [a], credential: 5}", &["PS602"]);
    check("{name: bad, keys: [a], credential: ''}", &["PS602"]);
    check("{name: bad, keys: [a], credential: x, credentials: [y]}", &["PS602"]);
    check("{name: bad, keys: [a], credentials: x}", &["PS602"]);
    check("{name: bad, keys: [], credential: x}", &["PS602"]);
    check("{name: bad, keys: [a], in_header: false, in_query: false, credential: x}", &["PS602"]);
    check("{name: bad, keys: [a], in_header: 'yes', credential: x}", &["PS602"]);
    check("{keys: [a], credential: x}", &["PS602"]);
    check("{name: \"a\\nb\", keys: [a], credential: x}", &["PS602"]);
    check("just text", &["PS602"]);
}

/// What the default configuration and the first rule come to: `-` nothing,
/// `check`, or `503`.
fn shape(spec: &str) -> String {
    let (built, _) = build_from(&format!("url: oci://x/key-auth:1\n{spec}"));
    let of = |plugin: &Option<Arc<dyn Plugin>>| match plugin {
        None => "-".to_owned(),
        Some(plugin) => plugin.kind().to_owned(),
    };
    match built.rules.first() {
        Some(rule) => format!("{} {}", of(&built.default), of(rule)),
        None => of(&built.default),
    }
}

#[test]
fn global_auth_decides_as_in_higress_but_never_opens() {
    let consumers = "consumers: [{name: a, keys: [k], credential: x}]";
    let rule = "matchRules: [{ingress: [r], config: {allow: [a]}}]";
    let check = |spec: &str, expected: &str| assert_eq!(shape(spec), expected, "{spec}");
    check(&format!("defaultConfig: {{{consumers}}}"), "check");
    check(&format!("defaultConfig: {{global_auth: true, {consumers}}}"), "check");
    check(&format!("defaultConfig: {{global_auth: false, {consumers}}}"), "-");
    check(&format!("defaultConfig: {{{consumers}}}\n{rule}"), "- check");
    check(&format!("defaultConfig: {{global_auth: true, {consumers}}}\n{rule}"), "check check");
    check(&format!("defaultConfig: {{global_auth: false, {consumers}}}\n{rule}"), "- check");
    // Higress lets everybody pass in all of these.
    check(&format!("defaultConfig: {{global_auth: false}}\n{rule}"), "- 503");
    check(&format!("defaultConfig: {{consumers: x}}\n{rule}"), "- 503");
    check("defaultConfig: {consumers: x}", "503");
    check(&format!("defaultConfig: {{{consumers}}}\ndefaultConfigDisable: true\n{rule}"), "- 503");
    check(&format!("defaultConfig: {{global_auth: 'no', {consumers}}}\n{rule}"), "503 check");
    check(&format!("defaultConfig: {{global_auth: null, {consumers}}}\n{rule}"), "503 check");
    let local =
        "matchRules: [{ingress: [r], config: {consumers: [{name: l, keys: [k], credential: y}]}}]";
    check(&format!("defaultConfig: {{global_auth: false}}\n{local}"), "- check");
    check(
        &format!(
            "defaultConfig: {{{consumers}}}\nmatchRules: [{{ingress: [r], config: {{allow: x}}}}]"
        ),
        "- 503",
    );
    check(
        &format!(
            "defaultConfig: {{{consumers}}}\nmatchRules: [{{ingress: [r], config: {{_disable_: true}}}}]"
        ),
        "- -",
    );
    check(&format!("defaultConfig: {{{consumers}}}\nmatchRules: [{{ingress: [r]}}]"), "- check");
    check("defaultConfig: {}", "-");
    check("defaultConfigDisable: true", "-");
}

#[test]
fn the_last_good_consumer_stays() {
    let parse = |text: &str| penstock_manifest::yaml::parse(text).remove(0).result.unwrap();
    let old = parse(
        "consumers: [{name: a, keys: [k], credential: x}, {name: b, keys: [k], credential: y}]",
    );
    let mut new = parse(
        "consumers: [{name: a, keys: [k], credential: 5}, {name: b, keys: [k], credential: z}]",
    );
    assert_eq!(repair(&mut new, &old), ["consumers `a`"]);
    let expected = parse(
        "consumers: [{name: a, keys: [k], credential: x}, {name: b, keys: [k], credential: z}]",
    );
    assert_eq!(new, expected);
    let mut spoilt = parse("consumers: 7");
    assert_eq!(repair(&mut spoilt, &old), ["defaultConfig"]);
    assert_eq!(spoilt, old);
}

/// SHA-256 of `one`, `Bearer two` and `four`.
const ONE: &str = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";
const BEARER_TWO: &str = "75c6fab9da471973bb94b233d3616c9cf4a642e906860bba3e23705b2ee4e74e";
const FOUR: &str = "04efaf080f5a3e74e1c29d1ca6a48569382cbbcd324e8d59d2b83ef21c039f00";

#[test]
fn a_credential_is_unknown_from_its_expiry_on() {
    let config = format!(
        "
    consumers:
    - name: ada
      credentials: [one, Bearer two, three]
      penstockExpiry:
        {ONE}: 2001-01-01T00:00:00Z
        {BEARER_TWO}: '9000-01-01T00:00:00Z'
    - {{name: bob, credential: four, penstockExpiry: {{{FOUR}: 1969-01-01T00:00:00Z}}}}
    - {{name: cy, keys: [x-own], credential: five, penstockExpiry: {{}}}}
    keys: [x-key]"
    );
    let cpp = registry(&config, false);
    let check = |pairs: &[(&str, &str)], expected: &str| {
        assert_eq!(name_of(cpp.search(&headers(pairs), None)), expected, "{pairs:?}");
    };
    check(&[("x-key", "one")], "<unknown>");
    check(&[("x-key", "Bearer two")], "ada");
    check(&[("x-key", "three")], "ada");
    check(&[("x-key", "four")], "<unknown>");
    check(&[("x-own", "five")], "cy");
    check(&[("x-key", "one"), ("x-own", "five")], "cy");
    let config = config.replace("keys: [x-key]", "keys: [x-key]\n    in_header: true");
    let go = registry(&config, true);
    assert_eq!(name_of(go.search_go(&headers(&[("x-key", "one")]), None)), "<unknown>");
    assert_eq!(name_of(go.search_go(&headers(&[("x-key", "three")]), None)), "ada");
}

#[test]
fn an_expiry_that_cannot_be_read_is_over() {
    let check = |expiry: &str, expected: &str, expected_codes: &[&str]| {
        let config = format!(
            "
    consumers:
    - {{name: ada, keys: [k], credential: one, penstockExpiry: {expiry}}}
    - {{name: bob, keys: [k], credential: two}}"
        );
        let registry = registry(&config, false);
        assert_eq!(name_of(registry.search(&headers(&[("k", "one")]), None)), expected, "{expiry}");
        assert_eq!(name_of(registry.search(&headers(&[("k", "two")]), None)), "bob");
        let (_, diagnostics) =
            build_from(&format!("url: oci://x/key-auth:1\ndefaultConfig:{config}"));
        assert_eq!(codes(&diagnostics), expected_codes, "{expiry}");
        assert!(!format!("{diagnostics:?}").contains("my-secret"), "{diagnostics:?}");
    };
    let upper = ONE.to_ascii_uppercase();
    check("null", "ada", &[]);
    check(&format!("{{{ONE}: 9000-01-01T00:00:00Z}}"), "ada", &[]);
    check(&format!("{{{upper}: 2001-01-01T00:00:00Z}}"), "<unknown>", &[]);
    let both = format!("{{{upper}: 9000-01-01T00:00:00Z, {ONE}: 2001-01-01T00:00:00Z}}");
    check(&both, "<unknown>", &[]);
    check(&format!("{{{ONE}: tomorrow}}"), "<unknown>", &["PS208"]);
    check(&format!("{{{ONE}: 9000-01-01}}"), "<unknown>", &["PS208"]);
    check(&format!("{{{ONE}: 5}}"), "<unknown>", &["PS208"]);
    check(&format!("{{{ONE}: null}}"), "<unknown>", &["PS208"]);
    check(&format!("{{{FOUR}: 2001-01-01T00:00:00Z}}"), "ada", &["PS612"]);
    check("{my-secret: 2001-01-01T00:00:00Z}", "ada", &["PS612"]);
    check("{my-secret: my-secret}", "ada", &["PS208", "PS612"]);
    // The consumer is set aside, so that its last good version stays.
    check("my-secret", "<unknown>", &["PS602"]);
}

#[test]
fn the_earliest_end_of_a_repeated_credential_counts() {
    let ends = [
        ("2001-01-01T00:00:00Z", "9000-01-01T00:00:00Z"),
        ("9000-01-01T00:00:00Z", "2001-01-01T00:00:00Z"),
    ];
    for (first, second) in ends {
        let registry = registry(
            &format!(
                "
    consumers:
    - {{name: ada, keys: [k], credential: one, penstockExpiry: {{{ONE}: {first}}}}}
    - {{name: ada, credential: one, penstockExpiry: {{{ONE}: {second}}}}}
    keys: [k]"
            ),
            false,
        );
        assert_eq!(name_of(registry.search(&headers(&[("k", "one")]), None)), "<unknown>");
    }
}
