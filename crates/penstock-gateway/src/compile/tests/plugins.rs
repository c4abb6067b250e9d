//! Which configuration of a WasmPlugin a route gets.

use super::*;

/// What runs on the routes `r` and `team/s`, and without a route, on
/// `a.test`.
#[track_caller]
fn check(image: &str, fields: &str, expected: [&str; 3]) {
    let other = ingress("s", "s.test", "/", "higress.io/destination: 'two.dns:443'")
        .replace("{name: s,", "{name: s, namespace: team,");
    let text = format!(
        "{BRIDGE}{}{other}{}",
        ingress("r", "a.test", "/", TO_ONE),
        plugin(
            "p",
            &format!("oci://x/{image}:1"),
            &format!("  failStrategy: FAIL_CLOSE\n{fields}")
        )
    );
    let snapshot = compile_text(&text).snapshot;
    let of = |name: &str, host: &str| {
        if snapshot.closed.is_some() {
            return "closed".to_owned();
        }
        let route = snapshot.routes.iter().find(|route| &*route.name == name).unwrap();
        chain(&route.targets[0].chain, host)
    };
    let found =
        [of("r", "a.test"), of("team/s", "s.test"), chain(&snapshot.without_route, "a.test")];
    let name = image.strip_prefix("go-").unwrap_or(image);
    let found = found.map(|chain| chain.replace(&format!("{name}/"), "").replace("/503", ""));
    assert_eq!(found, expected, "{image} {fields}");
}

#[test]
fn a_rule_has_one_category_which_the_build_decides() {
    let rules = |rules: &str| format!("  matchRules: [{rules}]");
    for image in ["waf", "bot-detect"] {
        check(image, &rules("{ingress: [r]}"), ["0", "", ""]);
        check(image, &rules("{ingress: [s]}"), ["", "", ""]);
        check(image, &rules("{ingress: [team/s]}"), ["", "0", ""]);
        check(image, &rules("{ingress: ['*']}"), ["", "", ""]);
        check(image, &rules("{domain: ['*']}"), ["0", "0", "0"]);
        check(image, &rules("{domain: ['*.test']}"), ["0", "0", "0"]);
        check(image, &rules("{domain: ['a.*']}"), ["0", "", "0"]);
        check(image, &rules("{domain: ['a.test:80']}"), ["", "", ""]);
        check(image, &rules("{service: [two.dns]}"), ["", "0", ""]);
        check(image, &rules("{service: ['two.dns:443']}"), ["", "0", ""]);
        check(image, &rules("{service: ['two.dns:80', one.static]}"), ["0", "", ""]);
        check(image, &rules("{ingress: [r], service: [two.dns]}"), ["", "", ""]);
        check(image, &rules("{ingress: [r], service: [one.static]}"), ["0", "", ""]);
        check(image, &rules("{ingress: [r], domain: [s.test]}"), ["0", "", ""]);
    }
    let both = rules("{domain: [a.test], service: [two.dns]}");
    check("waf", &both, ["0", "", "0"]);
    check("bot-detect", &both, ["", "0", ""]);
    check("go-bot-detect", &both, ["0", "", "0"]);
}

#[test]
fn the_first_rule_in_the_list_wins_whatever_it_names() {
    let rules = |rules: &str| format!("  defaultConfig: {{a: 1}}\n  matchRules: [{rules}]");
    check("waf", &rules("{ingress: [x]}"), ["default", "default", "default"]);
    check("waf", &rules("{domain: ['*.test']}, {ingress: [r]}"), ["0", "0", "0"]);
    check("waf", &rules("{ingress: [r]}, {domain: ['*.test']}"), ["0", "1", "1"]);
    check("waf", &rules("{service: [one.static]}, {ingress: [r, team/s]}"), ["0", "1", "default"]);
    check(
        "waf",
        &rules("{ingress: [r], configDisable: true}, {domain: [a.test]}"),
        ["1", "default", "1"],
    );
}

#[test]
fn rules_inside_a_configuration_count_like_others() {
    let inside = |rules: &str| format!("  pluginConfig: {{_rules_: [{rules}]}}");
    let route = "{a: 1, _match_route_: [r]}";
    check("waf", &inside(route), ["0", "", ""]);
    check("waf", &inside("{_match_service_: [two.dns]}"), ["", "0", ""]);
    check("waf", &inside("{_match_domain_: [a.test]}"), ["0", "", "0"]);
    check("waf", &inside("{_match_route_prefix_: [team/]}"), ["", "0", ""]);
    check("waf", &inside(&format!("{{_match_route_prefix_: ['r']}}, {route}")), ["0", "", ""]);
    check("waf", &inside(&format!("{route}, {{a: 2}}")), ["closed", "closed", ""]);
    let both = inside("{_match_route_prefix_: [r], _match_domain_: [s.test]}");
    check("waf", &both, ["", "0", ""]);
    check("bot-detect", &both, ["0", "", ""]);
    check(
        "waf",
        &format!("  defaultConfig: {{b: 1, _rules_: [{route}]}}"),
        ["0", "default", "default"],
    );
    check("bot-detect", &inside("{_match_route_: [r], _disable_: true}"), ["", "", ""]);
}

#[test]
fn plugins_read_rules_inside_their_configuration() {
    let text = format!(
        "{BRIDGE}{}{}{}",
        ingress("r", "a.test", "/", TO_ONE),
        plugin(
            "k",
            "oci://x/key-auth:1",
            "  phase: AUTHN\n  pluginConfig: {global_auth: false, consumers: [{name: a, keys: [k], credential: x}], _rules_: [{_match_route_: [r], allow: [a]}]}"
        ),
        plugin(
            "m",
            "oci://x/model-mapper:1",
            "  defaultConfig: {_rules_: [{_match_service_: [one.static], modelMapping: {a: b}}]}"
        ),
    );
    let compiled = compile_text(&text);
    assert!(compiled.diagnostics.is_empty(), "{:?}", compiled.diagnostics);
    let chain = chain(&compiled.snapshot.routes[0].targets[0].chain, "a.test");
    assert_eq!(chain, "key-auth/0/check model-mapper/0/maps");
}

#[test]
fn the_last_good_version_of_rules_stays_in_force() {
    let route = format!("{BRIDGE}{}", ingress("r", "a.com", "/", TO_ONE));
    let check = |good: &str, bad: &str, expected_codes: &[&str]| {
        let auth = |fields: &str| plugin("k", "oci://x/key-auth:1", fields);
        let before = compile_text(&format!("{route}{}", auth(good)));
        assert!(before.diagnostics.is_empty(), "{:?}", before.diagnostics);
        let listing = listing(&format!("{route}{}", auth(bad)));
        let after = compile(&listing, &before.effective, &Options::default());
        assert_eq!(codes(&after.diagnostics), expected_codes, "{bad}");
        let of =
            |compiled: &Compiled| chain(&compiled.snapshot.routes[0].targets[0].chain, "a.com");
        assert_eq!(of(&after), of(&before), "{bad}");
        assert!(after.snapshot.closed.is_none());
    };
    let consumers = "consumers: [{name: a, keys: [k], credential: x}]";
    let good = format!(
        "  pluginConfig: {{global_auth: false, {consumers}, _rules_: [{{_match_route_: [r], allow: [a]}}]}}"
    );
    check(&good, &good.replace("_match_route_: [r], ", ""), &["PS211", "PS502"]);
    check(&good, &good.replace("credential: x", "credential: 5"), &["PS211", "PS602"]);
    check(&good, &good.replace("pluginConfig:", "pluginConfig: 5 #"), &["PS201", "PS211"]);
}
