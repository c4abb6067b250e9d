mod plugins;

use penstock_manifest::listing::assemble;
use penstock_manifest::read::{FilePath, read_file};

use super::*;
use crate::snapshot::{Chain, RouteIndex};

fn listing(text: &str) -> Listing {
    assemble([&read_file(&FilePath::standalone("all.yaml"), text)])
}

fn compile_text(text: &str) -> Compiled {
    compile(&listing(text), &[], &Options::default())
}

fn codes(diagnostics: &[Diagnostic]) -> Vec<&str> {
    let mut codes: Vec<&str> = diagnostics.iter().map(|diagnostic| diagnostic.code.id).collect();
    codes.sort_unstable();
    codes
}

/// The plugins of a chain for a host: name, then rule, then what it does.
fn chain(chain: &Chain, host: &str) -> String {
    let steps = chain.steps.iter().filter_map(|step| step.select(host));
    let shown: Vec<String> = steps
        .map(|instance| {
            let rule = instance.rule.map_or("default".to_owned(), |rule| rule.to_string());
            format!("{}/{rule}/{}", instance.name, instance.plugin.kind())
        })
        .collect();
    shown.join(" ")
}

/// The routes of a host in order: name, path, targets with their chains.
fn routes_of(snapshot: &Snapshot, list: &[RouteIndex], host: &str) -> Vec<String> {
    list.iter()
        .map(|index| {
            let route = snapshot.route(*index).unwrap();
            let targets: Vec<String> = route
                .targets
                .iter()
                .map(|target| {
                    let service = target.service.map(|index| &snapshot.services[index.0 as usize]);
                    let service =
                        service.map_or("none".to_owned(), |s| format!("{}:{}", s.host, s.port));
                    format!("{}%{service}[{}]", target.weight, chain(&target.chain, host))
                })
                .collect();
            let closed = if route.closed.is_some() { " CLOSED" } else { "" };
            format!("{} {:?} {}{closed}", route.name, route.path, targets.join(" "))
        })
        .collect()
}

const BRIDGE: &str = "
apiVersion: networking.higress.io/v1
kind: McpBridge
metadata: {name: default}
spec:
  registries:
  - {name: one, type: static, domain: '127.0.0.1:1', port: 80}
  - {name: two, type: dns, domain: two.example.com, port: 443, protocol: https}
---
";

fn ingress(name: &str, host: &str, path: &str, annotations: &str) -> String {
    format!(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}, annotations: {{{annotations}}}}}
spec:
  rules:
  - {{host: {host}, http: {{paths: [{{path: {path}, pathType: Prefix, backend: {{resource: {{apiGroup: networking.higress.io, kind: McpBridge, name: default}}}}}}]}}}}
---
"
    )
}

fn plugin(name: &str, url: &str, rest: &str) -> String {
    format!(
        "
apiVersion: extensions.higress.io/v1alpha1
kind: WasmPlugin
metadata: {{name: {name}}}
spec:
  url: {url}
{rest}
---
"
    )
}

const TO_ONE: &str = "higress.io/destination: 'one.static:80'";

#[test]
fn destinations_become_targets() {
    let check = |destination: &str, expected: &str| {
        let annotation = format!("higress.io/destination: \"{destination}\"");
        let compiled =
            compile_text(&format!("{BRIDGE}{}", ingress("r", "a.com", "/", &annotation)));
        let list = compiled.snapshot.hosts.exact.get("a.com").cloned().unwrap_or_default();
        let routes = routes_of(&compiled.snapshot, &list, "a.com");
        let shown: Vec<&str> =
            routes.iter().filter_map(|r| r.split_once(" } ").map(|(_, t)| t)).collect();
        assert_eq!(shown.join("; "), expected, "{destination}");
    };
    check("one.static:80", "100%one.static:80[]");
    check("ONE.static:80", "100%one.static:80[]");
    check("one.static", "100%one.static:80[]");
    check("one.static:81", "100%none[]");
    check("other.static:80", "100%none[]");
    check("one.static:80 v2", "100%none[]");
    check("30% one.static:80\\n70% two.dns:443", "30%one.static:80[] 70%two.dns:443[]");
    check("one.static:80\\n\\ntwo.dns:443", "50%one.static:80[] 50%two.dns:443[]");
    check("x% one.static:80", "");
    check("30%", "");
    check("", "");
}

#[test]
fn routes_are_ordered_by_age_then_rank() {
    let text = [
        BRIDGE.to_owned(),
        ingress("b", "a.com", "/v1", TO_ONE),
        ingress("a", "a.com", "/v1", TO_ONE),
        ingress("longer", "a.com", "/v1/chat", TO_ONE),
        ingress("root", "a.com", "/", TO_ONE),
        ingress(
            "header",
            "a.com",
            "/v1",
            &format!("{TO_ONE}, higress.io/exact-match-header-x: 'y'"),
        ),
    ]
    .concat();
    let compiled = compile_text(&text);
    let list = &compiled.snapshot.hosts.exact["a.com"];
    let names: Vec<&str> =
        list.iter().map(|index| &*compiled.snapshot.route(*index).unwrap().name).collect();
    assert_eq!(names, ["longer", "header", "a", "root"]);
    assert_eq!(codes(&compiled.diagnostics), ["PS304"], "b has the same key as a");
    let aged = text.replace("{name: a,", "{name: a, creationTimestamp: '2024-01-01T00:00:00Z',");
    let compiled = compile_text(&aged);
    let list = &compiled.snapshot.hosts.exact["a.com"];
    assert_eq!(
        &*compiled.snapshot.route(list[2]).unwrap().name,
        "b",
        "no time comes before a time"
    );
}

#[test]
fn the_first_matching_rule_wins() {
    let auth = |rules: &str| {
        plugin(
            "k",
            "oci://x/key-auth:1",
            &format!(
                "  phase: AUTHN\n  defaultConfig: {{global_auth: false, consumers: []}}\n  matchRules:\n{rules}"
            ),
        )
    };
    let check = |rules: &str, host: &str, expected: &str| {
        let text = format!("{BRIDGE}{}{}", ingress("r", host, "/", TO_ONE), auth(rules));
        let snapshot = compile_text(&text).snapshot;
        let index = RouteIndex(0);
        let chain = chain(&snapshot.route(index).unwrap().targets[0].chain, "a.com");
        assert_eq!(chain, expected, "{rules}");
    };
    let deny = "config: {allow: []}";
    check(&format!("  - {{ingress: [r], {deny}}}"), "a.com", "key-auth/0/check");
    check(&format!("  - {{ingress: [other], {deny}}}"), "a.com", "");
    check(&format!("  - {{ingress: [r], configDisable: true, {deny}}}"), "a.com", "");
    check(&format!("  - {{service: [one.static], {deny}}}"), "a.com", "key-auth/0/check");
    check(&format!("  - {{service: ['one.static:80'], {deny}}}"), "a.com", "key-auth/0/check");
    check(&format!("  - {{service: ['one.static:81'], {deny}}}"), "a.com", "");
    check(&format!("  - {{ingress: [r], service: [two.dns], {deny}}}"), "a.com", "");
    check(&format!("  - {{domain: [a.com], {deny}}}"), "a.com", "key-auth/0/check");
    check(&format!("  - {{domain: ['*.com'], {deny}}}"), "a.com", "key-auth/0/check");
    check(&format!("  - {{domain: ['A.com'], {deny}}}"), "'*'", "key-auth/0/check");
    check(&format!("  - {{domain: [b.com], {deny}}}"), "'*'", "");
    check(
        &format!("  - {{domain: [b.com], {deny}}}\n  - {{ingress: [r], {deny}}}"),
        "'*'",
        "key-auth/1/check",
    );
    check(
        &format!("  - {{domain: [a.com], {deny}}}\n  - {{ingress: [r], {deny}}}"),
        "'*'",
        "key-auth/0/check",
    );
    check(
        &format!("  - {{ingress: [r], {deny}}}\n  - {{domain: [a.com], {deny}}}"),
        "'*'",
        "key-auth/0/check",
    );
    check(
        &format!("  - {{service: [one.static], {deny}}}\n  - {{ingress: [r], {deny}}}"),
        "a.com",
        "key-auth/0/check",
    );
    let off = "config: {_disable_: true}";
    check(&format!("  - {{ingress: [r], {off}}}\n  - {{domain: [a.com], {deny}}}"), "a.com", "");
}

#[test]
fn plugins_run_by_phase_then_priority_then_name() {
    let closed = |name: &str, phase: &str, priority: i32| {
        plugin(
            name,
            &format!("oci://x/{name}:1"),
            &format!(
                "  phase: {phase}\n  priority: {priority}\n  failStrategy: FAIL_CLOSE\n  defaultConfig: {{a: 1}}"
            ),
        )
    };
    let text = [
        BRIDGE.to_owned(),
        ingress("r", "a.com", "/", TO_ONE),
        closed("last", "UNSPECIFIED_PHASE", 1),
        closed("stats", "STATS", 900),
        closed("authz", "AUTHZ", 1),
        closed("b-low", "AUTHN", 10),
        closed("a-low", "AUTHN", 10),
        closed("high", "AUTHN", 20),
        closed("first-unspecified", "UNSPECIFIED_PHASE", 5),
    ]
    .concat();
    let snapshot = compile_text(&text).snapshot;
    let chain = chain(&snapshot.routes[0].targets[0].chain, "a.com").replace("/default/503", "");
    assert_eq!(chain, "high a-low b-low authz stats first-unspecified last");
}

#[test]
fn unknown_plugins_follow_fail_strategy_but_authentication_never_opens() {
    let check = |url: &str, rest: &str, expected: &str| {
        let text =
            format!("{BRIDGE}{}{}", ingress("r", "a.com", "/", TO_ONE), plugin("p", url, rest));
        let compiled = compile_text(&text);
        assert_eq!(
            chain(&compiled.snapshot.routes[0].targets[0].chain, "a.com"),
            expected,
            "{url} {rest}"
        );
        assert_eq!(codes(&compiled.diagnostics), ["PS501"]);
    };
    let rule = "  matchRules: [{ingress: [r], config: {a: 1}}]";
    check("oci://x/mine:1", &format!("  failStrategy: FAIL_OPEN\n{rule}"), "");
    check("oci://x/mine:1", &format!("  failStrategy: FAIL_CLOSE\n{rule}"), "mine/0/503");
    check("oci://x/mine:1", rule, "mine/0/503");
    check(
        "oci://x/mine:1",
        &format!("  failStrategy: FAIL_OPEN\n  phase: AUTHN\n{rule}"),
        "mine/0/503",
    );
    check("oci://x/jwt-auth:1", &format!("  failStrategy: FAIL_OPEN\n{rule}"), "jwt-auth/0/503");
    check("oci://x/waf:1", &format!("  failStrategy: FAIL_OPEN\n{rule}"), "");
    check("oci://x/mine:1", "  matchRules: [{ingress: [other], config: {a: 1}}]", "");
}

#[test]
fn an_ai_route_without_its_rule_is_closed() {
    let record = |enabled: bool| {
        format!(
            "
apiVersion: v1
kind: ConfigMap
metadata: {{name: ai-route-x, labels: {{higress.io/config-map-type: ai-route}}}}
data: {{data: '{{\"name\":\"x\",\"authConfig\":{{\"enabled\":{enabled},\"allowedConsumers\":[\"a\"]}}}}'}}
---
"
        )
    };
    let route = ingress("ai-route-x.internal", "a.com", "/", TO_ONE);
    let rule = plugin(
        "k",
        "oci://x/key-auth:1",
        "  defaultConfig: {global_auth: false, consumers: []}\n  matchRules: [{ingress: [ai-route-x.internal], config: {allow: [a]}}]",
    );
    let check = |text: String, expected: bool| {
        let compiled = compile_text(&format!("{BRIDGE}{route}{text}"));
        assert_eq!(compiled.snapshot.routes[0].closed.is_some(), expected, "{text}");
    };
    check(record(false), false);
    check(record(true), true);
    check(record(true) + &rule, false);
    check(record(true) + &rule.replace("allow: [a]}", "allow: [a]}, configDisable: true"), true);
}

#[test]
fn what_may_be_an_authentication_and_cannot_be_read_closes_everything() {
    let good = format!("{BRIDGE}{}", ingress("r", "a.com", "/", TO_ONE));
    let check = |rest: &str, expected: bool| {
        let compiled = compile_text(&format!("{good}{rest}"));
        assert_eq!(compiled.snapshot.closed.is_some(), expected, "{rest}");
        assert!(!compiled.diagnostics.is_empty() || !listing(rest).diagnostics.is_empty());
    };
    check("kind: WasmPlugin\nmetadata: {name: k}\nspec: {url: [", true);
    check("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: [", false);
    check(&plugin("k", "[]", ""), true);
    check(
        "apiVersion: extensions.higress.io/v1alpha1\nkind: WasmPlugin\nmetadata: {name: k}\nspec: {matchRules: []}",
        true,
    );
}

#[test]
fn last_good_versions_stay_in_force() {
    let auth = |consumers: &str, rules: &str| {
        plugin(
            "k",
            "oci://x/key-auth:1",
            &format!(
                "  defaultConfig:\n    global_auth: false\n    consumers: {consumers}\n  matchRules: {rules}"
            ),
        )
    };
    let route = format!("{BRIDGE}{}", ingress("r", "a.com", "/", TO_ONE));
    let good = "[{name: a, keys: [k], credential: x}]";
    let rules = "[{ingress: [r], config: {allow: [a]}}]";
    let before = compile_text(&format!("{route}{}", auth(good, rules)));
    assert!(before.diagnostics.is_empty(), "{:?}", before.diagnostics);
    let check = |consumers: &str, rules: &str, expected_codes: &[&str], expected_chain: &str| {
        let listing = listing(&format!("{route}{}", auth(consumers, rules)));
        let after = compile(&listing, &before.effective, &Options::default());
        assert_eq!(codes(&after.diagnostics), expected_codes, "{consumers} {rules}");
        assert_eq!(chain(&after.snapshot.routes[0].targets[0].chain, "a.com"), expected_chain);
        assert!(after.snapshot.closed.is_none());
    };
    check("[{name: a, keys: [k], credential: 5}]", rules, &["PS211", "PS602"], "key-auth/0/check");
    check("oops", rules, &["PS201", "PS211", "PS611"], "key-auth/0/check");
    check(good, "[{config: {allow: [a]}}]", &["PS211", "PS502", "PS502"], "key-auth/1/check");
    check(good, "[{ingress: [r], configDisable: true}]", &[], "");
    check(good, "oops", &["PS201", "PS211"], "key-auth/0/check");
}

fn secret(name: &str, data: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{{data}}}\n---\n"
    )
}

/// key-auth with two consumers, one of whom has this credential.
fn auth_with(credential: &str) -> String {
    plugin(
        "k",
        "oci://x/key-auth:1",
        &format!(
            "  defaultConfig:\n    global_auth: false\n    consumers:\n    - {{name: a, keys: [k], credential: '{credential}'}}\n    - {{name: b, keys: [k], credential: other-key}}\n  matchRules: [{{ingress: [r], config: {{allow: [a, b]}}}}]"
        ),
    )
}

#[test]
fn references_to_secrets_are_resolved_and_stay_out_of_sight() {
    let route = format!("{BRIDGE}{}", ingress("r", "a.com", "/", TO_ONE));
    let keys = secret("keys", "a: 'hidden\"value', b: other-key");
    let compiled = compile_text(&format!("{route}{keys}{}", auth_with("${secret.keys.a}")));
    assert!(compiled.diagnostics.is_empty(), "{:?}", compiled.diagnostics);
    let kept = format!("{:?}", compiled.effective.iter().find(|r| &*r.key.name == "k").unwrap());
    assert!(kept.contains("${secret.keys.a}") && !kept.contains("hidden"), "{kept}");
    // Both consumers have the same credential, once it is looked up.
    let compiled = compile_text(&format!("{route}{keys}{}", auth_with("${secret.keys.b}")));
    assert_eq!(codes(&compiled.diagnostics), ["PS603"]);
}

#[test]
fn an_expiry_names_what_a_reference_stands_for() {
    // The SHA-256 of `Bearer x`, and of the text before it is filled in.
    let check = |hash: &str, expected: &[&str]| {
        let auth = auth_with("Bearer ${secret.keys.a}").replace(
            "${secret.keys.a}'",
            &format!("${{secret.keys.a}}', penstockExpiry: {{{hash}: 2001-01-01T00:00:00Z}}"),
        );
        let compiled = compile_text(&format!("{BRIDGE}{}{auth}", secret("keys", "a: x")));
        assert_eq!(codes(&compiled.diagnostics), expected, "{hash}");
    };
    check("b937a6fd6074f3650930dd9a8c3ea51fa502846a5301d74c252c768aef76dcda", &[]);
    check("91a967f377bb4f9520ff03d36a45b9107564e3b1e97243c258851aeb21f71dca", &["PS612"]);
}

#[test]
fn a_finding_about_a_resolved_value_shows_the_reference() {
    let text = format!(
        "{BRIDGE}{}{}{}",
        ingress("r", "a.com", "/", TO_ONE),
        secret("keys", "kind: hidden-value"),
        plugin(
            "p",
            "oci://x/ai-proxy:1",
            "  defaultConfig: {providers: [{id: x, type: '${secret.keys.kind}'}]}"
        )
    );
    let compiled = compile_text(&text);
    let shown = format!("{:?}", compiled.diagnostics);
    assert!(shown.contains("unknown provider type: ${secret.keys.kind}"), "{shown}");
    assert!(!shown.contains("hidden"), "{shown}");
    let text = text.replace("  defaultConfig:", "  phase: '${secret.keys.kind}'\n  defaultConfig:");
    let shown = format!("{:?}", compile_text(&text).diagnostics);
    assert!(shown.contains("`${secret.keys.kind}` is not a phase"), "{shown}");
    assert!(!shown.contains("hidden"), "{shown}");
}

#[test]
fn a_reference_that_leads_nowhere_breaks_the_smallest_part() {
    let check = |rest: &str, expected_codes: &[&str], expected: &str| {
        let route = ingress("r", "a.com", "/", TO_ONE);
        let compiled = compile_text(&format!("{BRIDGE}{route}{}{rest}", secret("keys", "a: x")));
        assert_eq!(codes(&compiled.diagnostics), expected_codes, "{rest}");
        let route = &compiled.snapshot.routes[0];
        assert_eq!(chain(&route.targets[0].chain, "a.com"), expected, "{rest}");
    };
    check(&auth_with("${secret.keys.b}"), &["PS213", "PS602"], "key-auth/0/check");
    let proxy = |active: &str| {
        plugin(
            "p",
            "oci://x/ai-proxy:1",
            &format!(
                "  defaultConfig: {{providers: [{{id: one, type: openai, apiTokens: ['${{secret.keys.no}}']}}, {{id: two, type: openai, apiTokens: [t]}}]}}\n  matchRules: [{{ingress: [r], config: {{activeProviderId: {active}}}}}]"
            ),
        )
    };
    check(&proxy("one"), &["PS213"], "ai-proxy/0/503");
    check(&proxy("two"), &["PS213"], "ai-proxy/0/acts");
    let mapper = |target: &str| {
        plugin(
            "m",
            "oci://x/model-mapper:1",
            &format!(
                "  matchRules:\n  - {{{target}, config: {{modelMapping: {{a: '${{secret.keys.no}}'}}}}}}\n  - {{ingress: [r], config: {{}}}}"
            ),
        )
    };
    check(&mapper("ingress: [r]"), &["PS201", "PS213"], "model-mapper/0/503");
    check(&mapper("ingress: [other]"), &["PS201", "PS213"], "model-mapper/1/maps");
}

#[test]
fn an_annotation_that_leads_nowhere_closes_its_route() {
    let annotations = format!(
        "{TO_ONE}, higress.io/exact-match-header-x: '${{secret.keys.x}}', other/x: '${{secret.no.no}}'"
    );
    let check = |data: &str, expected: bool| {
        let route = ingress("r", "a.com", "/", &annotations);
        let compiled = compile_text(&format!("{BRIDGE}{route}{}", secret("keys", data)));
        assert_eq!(compiled.snapshot.routes[0].closed.is_some(), expected, "{data}");
        assert_eq!(codes(&compiled.diagnostics).contains(&"PS213"), expected, "{data}");
    };
    check("x: value", false);
    check("y: value", true);
}

#[test]
fn last_good_versions_of_what_refers_to_a_secret_stay_in_force() {
    let check = |good: &str, bad: &str, expected_codes: &[&str]| {
        let fixed = format!("{BRIDGE}{}", secret("keys", "a: x, c: two.dns"));
        let before = compile_text(&format!("{fixed}{good}"));
        assert!(before.diagnostics.is_empty(), "{:?}", before.diagnostics);
        let listing = listing(&format!("{fixed}{bad}"));
        let after = compile(&listing, &before.effective, &Options::default());
        assert_eq!(codes(&after.diagnostics), expected_codes, "{bad}");
        let names = |compiled: &Compiled| {
            let routes = compiled.snapshot.routes.iter();
            let chains = routes
                .map(|route| (route.closed.is_some(), chain(&route.targets[0].chain, "a.com")));
            chains.collect::<Vec<_>>()
        };
        assert_eq!(names(&after), names(&before), "{bad}");
        let kept = format!("{:?}", after.effective);
        assert!(kept.contains("${secret.keys.") && !kept.contains("Unresolved"), "{kept}");
    };
    let route = ingress("r", "a.com", "/", TO_ONE);
    let auth = |reference: &str| format!("{route}{}", auth_with(reference));
    check(&auth("${secret.keys.a}"), &auth("${secret.keys.b}"), &["PS211", "PS213", "PS602"]);
    let mapper = |reference: &str| {
        let rest = format!(
            "  matchRules: [{{ingress: [r], config: {{modelMapping: {{a: '{reference}'}}}}}}]"
        );
        format!("{route}{}", plugin("m", "oci://x/model-mapper:1", &rest))
    };
    check(&mapper("${secret.keys.a}"), &mapper("${secret.keys.b}"), &["PS201", "PS211", "PS213"]);
    let vhost = |reference: &str| {
        ingress("r", "a.com", "/", &format!("{TO_ONE}, higress.io/upstream-vhost: '{reference}'"))
    };
    check(&vhost("${secret.keys.c}"), &vhost("${secret.keys.d}"), &["PS211", "PS213"]);
}
