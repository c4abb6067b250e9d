//! WasmPlugins: which run, in which order, with which configuration, and what
//! happens where one cannot.

use crate::support::site::*;
use crate::support::*;

#[test]
fn a_rule_names_routes_domains_or_services() {
    let check = |rule: &str, pier: [u16; 3], quay: [u16; 3], other: [u16; 3]| {
        let site = Site::guarded_by(&[rule]);
        site.check("pier.test", pier);
        site.check("quay.test", quay);
        site.check("other.test", other);
    };
    let a = "config: {allow: [a]}";
    check(&format!("{{ingress: [pier], {a}}}"), ONLY_A, EVERYBODY, EVERYBODY);
    check(&format!("{{ingress: [higress-system/pier], {a}}}"), EVERYBODY, EVERYBODY, EVERYBODY);
    check(&format!("{{ingress: [pier, any], {a}}}"), ONLY_A, EVERYBODY, ONLY_A);
    check(&format!("{{service: [dock.static], {a}}}"), EVERYBODY, ONLY_A, EVERYBODY);
    check(&format!("{{service: [\"deck.static:80\"], {a}}}"), ONLY_A, EVERYBODY, ONLY_A);
    check(&format!("{{service: [\"deck.static:81\"], {a}}}"), EVERYBODY, EVERYBODY, EVERYBODY);
    check(&format!("{{domain: [quay.test], {a}}}"), EVERYBODY, ONLY_A, EVERYBODY);
    check(&format!("{{domain: [\"*er.test\"], {a}}}"), ONLY_A, EVERYBODY, ONLY_A);
    check(&format!("{{domain: [\"qu*\", \"oth*\"], {a}}}"), EVERYBODY, ONLY_A, ONLY_A);
    check(&format!("{{domain: [\"*\"], {a}}}"), ONLY_A, ONLY_A, ONLY_A);
}

#[test]
fn the_first_rule_that_matches_counts() {
    let check = |rules: &[&str], expected: [u16; 3]| {
        Site::guarded_by(rules).check("pier.test", expected);
    };
    let (route, service, domain) =
        ("ingress: [pier]", "service: [deck.static]", "domain: [pier.test]");
    for first in [route, service, domain] {
        for second in [route, service, domain] {
            let rule =
                |target: &str, name: &str| format!("{{{target}, config: {{allow: [{name}]}}}}");
            check(&[&rule(first, "a"), &rule(second, "b")], ONLY_A);
        }
    }
    let elsewhere = "{ingress: [quay], config: {allow: [b]}}";
    check(&[elsewhere, "{domain: [pier.test], config: {allow: [a]}}"], ONLY_A);
}

#[test]
fn a_rule_with_two_kinds_of_targets() {
    let check = |target: &str, pier: [u16; 3], quay: [u16; 3]| {
        let site = Site::guarded_by(&[&format!("{{{target}, config: {{allow: [a]}}}}")]);
        site.check("pier.test", pier);
        site.check("quay.test", quay);
    };
    check("ingress: [pier], service: [deck.static]", ONLY_A, EVERYBODY);
    check("ingress: [pier], service: [dock.static]", EVERYBODY, EVERYBODY);
    check("ingress: [pier], domain: [quay.test]", ONLY_A, EVERYBODY);
    // The C++ build looks at the service before the domain.
    check("domain: [pier.test], service: [dock.static]", EVERYBODY, ONLY_A);
}

#[test]
fn a_disabled_rule_does_nothing() {
    let site = Site::guarded_by(&[
        "{ingress: [pier], configDisable: true, config: {allow: [a]}}",
        "{ingress: [pier], configDisable: false, config: {allow: [b]}}",
        "{ingress: [quay], configDisable: true, config: {allow: [a]}}",
    ]);
    site.check("pier.test", ONLY_B);
    site.check("quay.test", EVERYBODY);
}

#[test]
fn a_disabled_default_takes_the_consumers_away() {
    let disabled =
        || Plugin::key_auth().field("defaultConfigDisable", "true").default_config(CONSUMERS);
    Site::with(&[disabled()]).check("pier.test", EVERYBODY);
    let site = Site::with(&[disabled().rule("{ingress: [pier], config: {allow: [a]}}")]);
    site.check("pier.test", CLOSED);
    site.check("quay.test", EVERYBODY);
    let local =
        "{ingress: [pier], config: {consumers: [{name: a, keys: [x-key], credential: key-a}]}}";
    Site::with(&[disabled().rule(local)]).check("pier.test", [401, 200, 401]);
}

#[test]
fn a_plugin_config_replaces_default_and_rules() {
    let plugin = Plugin::key_auth()
        .field(
            "pluginConfig",
            "{global_auth: true, consumers: [{name: a, keys: [x-key], credential: key-a}]}",
        )
        .default_config(CONSUMERS)
        .rule("{ingress: [pier], config: {allow: [b]}}");
    let site = Site::with(&[plugin]);
    site.check("pier.test", [401, 200, 401]);
    site.check("quay.test", [401, 200, 401]);
}

#[test]
fn rules_may_stand_inside_the_configuration() {
    let consumers = CONSUMERS.strip_suffix('}').unwrap();
    let inside = |field: &str, rule: &str| {
        Plugin::key_auth()
            .field(field, &format!("{consumers}, _rules_: [{{{rule}, allow: [a]}}]}}"))
    };
    let check = |plugin: Plugin, pier: [u16; 3], quay: [u16; 3]| {
        let site = Site::with(&[plugin]);
        site.check("pier.test", pier);
        site.check("quay.test", quay);
    };
    for field in ["pluginConfig", "defaultConfig"] {
        check(inside(field, "_match_route_: [pier]"), ONLY_A, EVERYBODY);
        check(inside(field, "_match_domain_: [\"q*\"]"), EVERYBODY, ONLY_A);
        check(inside(field, "_match_service_: [\"dock.static:80\"]"), EVERYBODY, ONLY_A);
        check(inside(field, "_match_route_prefix_: [pi]"), ONLY_A, EVERYBODY);
        // Nothing says what this was to protect.
        check(inside(field, "_match_route_: []"), CLOSED, CLOSED);
    }
    let rule = "{ingress: [quay], config: {allow: [b]}}";
    check(inside("defaultConfig", "_match_route_: [pier]").rule(rule), EVERYBODY, ONLY_B);
}

#[test]
fn a_rule_for_grpc_still_protects() {
    let rule = "{ingress: [pier], routeType: GRPC, config: {allow: [a]}}";
    let site = Site::guarded_by(&[rule]);
    site.check("pier.test", ONLY_A);
    site.check("quay.test", EVERYBODY);
    assert_eq!(site.finding("PS506")["severity"], "warning");
}

/// key-auth that wants a key of nobody and says who it is.
fn gatekeeper(name: &str, phase: &str, priority: &str) -> Plugin {
    Plugin::new(name, "key-auth").field("phase", phase).field("priority", priority).default_config(
        &format!("{{global_auth: true, keys: [x-none], credentials: [none], realm: {name}}}"),
    )
}

#[test]
fn plugins_run_by_phase_then_priority_then_name() {
    let check = |plugins: &[Plugin], first: &str| {
        let site = Site::with(plugins);
        let answer = site.gateway.send(&Request::get("pier.test", "/"));
        assert_eq!(answer.header("www-authenticate"), Some(format!("Key realm={first}").as_str()));
    };
    check(&[gatekeeper("a", "AUTHZ", "900"), gatekeeper("b", "AUTHN", "1")], "b");
    check(&[gatekeeper("a", "STATS", "900"), gatekeeper("b", "AUTHZ", "1")], "b");
    check(&[gatekeeper("a", "UNSPECIFIED_PHASE", "900"), gatekeeper("b", "STATS", "1")], "b");
    check(&[gatekeeper("a", "AUTHN", "1"), gatekeeper("b", "AUTHN", "2")], "b");
    check(&[gatekeeper("a", "AUTHN", "9"), gatekeeper("b", "AUTHN", "\"10\"")], "b");
    check(&[gatekeeper("a", "AUTHN", "-1"), gatekeeper("b", "AUTHN", "0")], "b");
    check(&[gatekeeper("b", "AUTHN", "5"), gatekeeper("a", "AUTHN", "5")], "a");
}

#[test]
fn the_built_in_is_named_by_its_url() {
    let check = |url: &str, expected: [u16; 3]| {
        let plugin = Plugin::key_auth()
            .url(url)
            .default_config(CONSUMERS)
            .rule("{ingress: [pier], config: {allow: [a]}}");
        Site::with(&[plugin]).check("pier.test", expected);
    };
    for url in [
        "oci://registry.test/plugins/key-auth:1.0.0",
        "registry.test/plugins/key-auth@sha256:00ff",
        "oci://registry.test:5000/key_auth",
        "file:///opt/plugins/wasm-cpp/extensions/key_auth/plugin.wasm",
        "http://127.0.0.1:8002/plugins/key-auth/2.0.0/plugin.wasm",
    ] {
        check(url, ONLY_A);
    }
    // An authentication that is not there stays closed.
    check("oci://registry.test/plugins/key-auth-2:1.0.0", CLOSED);
}

#[test]
fn a_plugin_that_is_not_there_follows_its_fail_strategy() {
    let plugin = |strategy: &str| {
        Plugin::new("sail", "sail-trimmer")
            .field("failStrategy", strategy)
            .rule("{ingress: [pier], config: {a: 1}}")
    };
    let open = Site::with(&[plugin("FAIL_OPEN")]);
    open.check("pier.test", EVERYBODY);
    assert_eq!(open.finding("PS501")["severity"], "warning");
    let closed = Site::with(&[plugin("FAIL_CLOSE")]);
    closed.check("pier.test", CLOSED);
    closed.check("quay.test", EVERYBODY);
    assert_eq!(closed.finding("PS501")["severity"], "error");
    Site::with(&[Plugin::new("sail", "sail-trimmer").rule("{ingress: [pier], config: {}}")])
        .check("pier.test", CLOSED);
    let everywhere = Site::with(&[Plugin::new("sail", "sail-trimmer").default_config("{a: 1}")]);
    everywhere.check("pier.test", CLOSED);
    everywhere.check("other.test", CLOSED);
}

#[test]
fn an_authentication_that_is_not_there_never_opens() {
    let check = |image: &str, phase: &str| {
        let plugin = Plugin::new("guard", image)
            .field("failStrategy", "FAIL_OPEN")
            .field("phase", phase)
            .rule("{ingress: [pier], config: {a: 1}}");
        let site = Site::with(&[plugin]);
        site.check("pier.test", CLOSED);
        site.check("quay.test", EVERYBODY);
    };
    check("sail-guard", "AUTHN");
    check("sail-guard", "AUTHZ");
    for known in ["basic-auth", "jwt-auth", "hmac-auth", "oauth", "ext-auth", "simple-jwt-auth"] {
        check(known, "UNSPECIFIED_PHASE");
    }
}

#[test]
fn what_a_broken_plugin_covers_is_closed_and_nothing_else() {
    let check = |plugin: Plugin, expected: [u16; 3]| {
        let site = Site::with(&[plugin.field("failStrategy", "FAIL_OPEN")]);
        site.check("pier.test", expected);
        site.check("quay.test", EVERYBODY);
    };
    let rule = "{ingress: [pier], config: {allow: [a]}}";
    let key_auth = |config: &str| Plugin::key_auth().default_config(config).rule(rule);
    check(key_auth("{global_auth: false, consumers: nonsense}"), CLOSED);
    check(key_auth("{global_auth: false}"), CLOSED);
    check(key_auth("{global_auth: false, consumers: [], credentials: [x], keys: [k]}"), CLOSED);
    check(
        Plugin::key_auth().default_config(CONSUMERS).rule("{ingress: [pier], config: {allow: a}}"),
        CLOSED,
    );
    check(
        Plugin::key_auth().default_config(CONSUMERS).rule("{ingress: [pier], config: 5}"),
        CLOSED,
    );
}

#[test]
fn a_provider_that_cannot_be_used_closes_its_own_service() {
    let check = |provider: &str| {
        let plugin = Plugin::ai_proxy()
            .default_config(&format!("{{providers: [{provider}, {{id: good, type: openai, openaiCustomUrl: \"http://good.test/v1\"}}]}}"))
            .rule("{service: [deck.static], config: {activeProviderId: bad}}")
            .rule("{service: [dock.static], config: {activeProviderId: good}}");
        let site = Site::with(&[plugin]);
        site.check("pier.test", CLOSED);
        site.check("quay.test", EVERYBODY);
    };
    check("{id: bad, type: nonsense}");
    check("{id: bad}");
    // The entry whose id cannot be read may be the one that is meant.
    check("{id: [bad], type: openai}");
    check("{type: openai}");
    check("{id: bad, type: openai, modelMapping: {\"~(\": x}}");
    check("{id: bad, type: openai, apiTokens: {a: b}}");
    check("{id: bad, type: openai, openaiCustomUrl: \"http://\"}");
}

#[test]
fn a_plugin_outside_the_system_namespace_is_not_read() {
    let (file, text) =
        Plugin::key_auth().default_config("{global_auth: true, consumers: []}").file();
    let upstream = Upstream::start(Scenario::Completion);
    let directory = Directory::new()
        .holding([(
            "mcpbridges/default.yaml",
            bridge(&[static_registry("deck", &[upstream.address])]),
        )])
        .holding([Ingress::new("pier").at("pier.test", "Prefix", "/").file()])
        .holding([(file, text.replace("namespace: higress-system", "namespace: elsewhere"))]);
    let gateway = Serve::new(directory.path()).start();
    assert_eq!(gateway.send(&Request::get("pier.test", "/")).status(), 200);
    assert!(gateway.findings().iter().any(|finding| finding["code"] == "PS210"));
}

#[test]
fn a_route_outside_the_system_namespace_is_named_with_it() {
    let upstream = Upstream::start(Scenario::Completion);
    let plugin = Plugin::key_auth()
        .default_config(CONSUMERS)
        .rule("{ingress: [team/pier], config: {allow: [a]}}");
    let directory = Directory::new()
        .holding([(
            "mcpbridges/default.yaml",
            bridge(&[static_registry("deck", &[upstream.address])]),
        )])
        .holding([
            Ingress::new("pier").namespace("team").at("pier.test", "Prefix", "/").file(),
            plugin.file(),
        ]);
    let gateway = Serve::new(directory.path()).start();
    assert_eq!(gateway.send(&Request::get("pier.test", "/")).status(), 401);
    let answer = gateway.send(&Request::get("pier.test", "/").header("x-key", "key-a"));
    assert_eq!(gateway.access_log.of_request(&answer)["route"], "team/pier");
}

#[test]
fn plugins_for_all_requests_see_those_without_a_route() {
    let site = Site::with(&[gatekeeper("all", "AUTHN", "1")]);
    assert_eq!(site.status("other.test", ""), 401);
    let upstream = Upstream::start(Scenario::Completion);
    let directory = Directory::new()
        .holding([(
            "mcpbridges/default.yaml",
            bridge(&[static_registry("deck", &[upstream.address])]),
        )])
        .holding([gatekeeper("all", "AUTHN", "1").file()]);
    let gateway = Serve::new(directory.path()).start();
    assert_eq!(gateway.send(&Request::get("nowhere.test", "/")).status(), 401);
    assert_eq!(
        gateway.send(&Request::get("nowhere.test", "/").header("x-none", "none")).status(),
        404
    );
}

#[test]
fn a_rule_without_a_target_is_set_aside_alone() {
    let site =
        Site::guarded_by(&["{config: {allow: [a]}}", "{ingress: [quay], config: {allow: [a]}}"]);
    site.check("pier.test", EVERYBODY);
    site.check("quay.test", ONLY_A);
    site.finding("PS502");
}

#[test]
fn the_provider_is_that_of_the_chosen_service() {
    let upstreams = ["deck", "dock"].map(|_| Upstream::start(Scenario::Completion));
    let registries = [
        static_registry("deck", &[upstreams[0].address]),
        static_registry("dock", &[upstreams[1].address]),
    ];
    let provider = |id: &str| {
        format!(
            "{{id: {id}, type: openai, openaiCustomUrl: \"http://{id}.test/v1\", apiTokens: [token-{id}]}}"
        )
    };
    let plugin = Plugin::ai_proxy()
        .default_config(&format!("{{providers: [{}, {}]}}", provider("deck"), provider("dock")))
        .rule("{service: [deck.static], config: {activeProviderId: deck}}")
        .rule("{service: [\"dock.static:80\"], config: {activeProviderId: dock}}");
    let ingress = Ingress::new("pier")
        .at("pier.test", "Prefix", "/")
        .to("50% deck.static:80\n50% dock.static:80");
    let directory = Directory::new()
        .holding([("mcpbridges/default.yaml", bridge(&registries))])
        .holding([plugin.file(), ingress.file()]);
    let gateway = Serve::new(directory.path()).start();
    for _ in 0..40 {
        assert_eq!(
            gateway.send(&Request::post("pier.test", "/v1/chat/completions", "{}")).status(),
            200
        );
    }
    for (upstream, id) in upstreams.iter().zip(["deck", "dock"]) {
        let received: Vec<_> = std::iter::from_fn(|| upstream.try_received()).collect();
        assert!(received.len() > 5, "{id} got {}", received.len());
        for request in received {
            assert_eq!(
                request.header("authorization"),
                Some(format!("Bearer token-{id}").as_str())
            );
            assert_eq!(request.header("host"), Some(format!("{id}.test").as_str()));
        }
    }
}

#[test]
fn an_ai_route_that_asks_for_authentication_is_closed_without_it() {
    let check = |name: &str, from: &str, to: &str, expected: [u16; 2]| {
        let harbor =
            Harbor::changed(Scenario::Completion, |directory| directory.edit(name, from, to));
        let statuses =
            [chat(), chat_without_key()].map(|request| harbor.gateway.send(&request).status());
        assert_eq!(statuses, expected, "{to}");
    };
    let (key_auth, ai_route) =
        ("wasmplugins/key-auth.internal.yaml", "configmaps/ai-route-pier.yaml");
    check(key_auth, "configDisable: false", "configDisable: true", [503, 503]);
    check(key_auth, "- ai-route-pier.internal", "- ai-route-peer.internal", [503, 503]);
    check(
        key_auth,
        "  phase: AUTHN\n",
        "  phase: AUTHN\n  pluginConfig: {global_auth: false, consumers: []}\n",
        [503, 503],
    );
    check(ai_route, "\"enabled\": true", "\"enabled\": false", [200, 401]);
    let harbor = Harbor::changed(Scenario::Completion, |directory| {
        directory.edit(ai_route, "\"enabled\": true", "\"enabled\": false");
        directory.edit(key_auth, "configDisable: false", "configDisable: true");
    });
    assert_eq!(harbor.gateway.send(&chat_without_key()).status(), 200);
}

#[test]
fn a_rule_that_loses_its_target_while_running_protects_on() {
    let check = |rules: &[&str], pier: [u16; 3]| {
        let site = Site::guarded_by(&["{ingress: [pier], config: {allow: [a]}}"]);
        let plugin = Plugin::key_auth().default_config(CONSUMERS);
        let (file, text) = rules.iter().fold(plugin, |plugin, rule| plugin.rule(rule)).file();
        site.gateway.reload(|| site.directory.write(&file, text));
        site.check("pier.test", pier);
        site.check("quay.test", EVERYBODY);
        site.finding("PS502");
    };
    check(&["{config: {allow: [a]}}"], ONLY_A);
    check(&["{config: {allow: [b]}}"], ONLY_A);
    check(&["{ingress: [pier], config: {allow: [b]}}", "{config: {allow: [a]}}"], ONLY_B);
}
