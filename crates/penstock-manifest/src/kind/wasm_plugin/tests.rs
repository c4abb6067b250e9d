use super::*;
use crate::listing::assemble;
use crate::read::{FilePath, read_file};

/// What is read of a WasmPlugin with these fields of `spec`: the plugin where
/// it can be used, then `SEVERITY CODE PATH` of each finding.
fn read(fields: &str, show: &dyn Fn(&WasmPlugin<'_>) -> String) -> String {
    let text = format!(
        "apiVersion: extensions.higress.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{name: p}}\nspec: {{{fields}}}\n"
    );
    let listing = assemble([&read_file(&FilePath::standalone("p.yaml"), &text)]);
    assert!(listing.diagnostics.is_empty(), "{:?}", listing.diagnostics);
    let mut found = Vec::new();
    let parsed = WasmPlugin::parse(&listing.resources[0], &mut found);
    let shown = parsed.map_or("unusable".to_owned(), |plugin| show(&plugin));
    let found = found.iter().map(|d| format!(" {} {} {}", d.severity, d.code.id, d.path));
    shown + &found.collect::<String>()
}

#[test]
fn the_url_names_the_built_in() {
    let check = |url: &str, expected: &str| {
        let shown = read(&format!("url: '{url}'"), &|plugin| {
            let build = match (plugin.is_go, plugin.is_cpp) {
                (true, _) => "go",
                (_, true) => "cpp",
                _ => "",
            };
            format!("{} {build}", plugin.plugin)
        });
        assert_eq!(shown, expected, "{url}");
    };
    check("key-auth", "key-auth cpp");
    check("oci://r.test/plugins/key-auth:1.0.0", "key-auth cpp");
    check("r.test:5000/plugins/key-auth@sha256:0a", "key-auth cpp");
    check("oci://r.test/plugins/key_auth:1.0.0@sha256:0a", "key-auth cpp");
    check("oci://r.test/go-key-auth:1", "key-auth go");
    check("file:///opt/plugins/wasm-go/extensions/key-auth/plugin.wasm", "key-auth go");
    check("file:///opt/plugins/wasm-cpp/extensions/model_router/plugin.wasm", "model-router cpp");
    check("http://r.test/plugins/ai-proxy/2.0.0/plugin.wasm?x=1", "ai-proxy ");
    check("https://r.test/ai-proxy/latest/plugin.wasm", "ai-proxy ");
    check("ftp://r.test/ai-proxy", "ai-proxy  warning PS208 spec.url");
}

#[test]
fn phase_priority_and_fail_strategy() {
    let check = |fields: &str, expected: &str| {
        let shown = read(&format!("url: x{fields}"), &|plugin| {
            format!("{:?} {} {}", plugin.phase, plugin.priority, plugin.fail_open)
        });
        assert_eq!(shown, expected, "{fields}");
    };
    check("", "Unspecified 0 false");
    check(", phase: null, priority: null, failStrategy: null", "Unspecified 0 false");
    check(", phase: '', failStrategy: ''", "Unspecified 0 false");
    check(", phase: AUTHN, priority: 310, failStrategy: FAIL_OPEN", "Authn 310 true");
    check(", phase: AUTHZ, priority: '-7', failStrategy: FAIL_CLOSE", "Authz -7 false");
    check(", phase: STATS, priority: ' 8 '", "Stats 8 false");
    check(", phase: UNSPECIFIED_PHASE, priority: 9.0", "Unspecified 9 false");
    check(", phase: 1, failStrategy: 1", "Authn 0 true");
    check(", phase: authn", "unusable error PS208 spec.phase");
    check(", phase: 4", "unusable error PS201 spec.phase");
    check(", priority: high", "unusable error PS201 spec.priority");
    check(", priority: 1.5", "unusable error PS201 spec.priority");
    check(", failStrategy: FAIL", "unusable error PS208 spec.failStrategy");
    check(", failStrategy: true", "unusable error PS201 spec.failStrategy");
}

#[test]
fn what_fetches_a_module_is_checked_and_without_effect() {
    let check = |fields: &str, expected: &str| {
        let shown = read(&format!("url: 'oci://r/x:1@sha256:0a', {fields}"), &|_| String::new());
        assert_eq!(shown.trim_start(), expected, "{fields}");
    };
    check("imagePullPolicy: Always, imagePullSecret: s, pluginName: x", "");
    check("imagePullPolicy: UNSPECIFIED_POLICY, sha256: ''", "");
    check("imagePullPolicy: always", "warning PS208 spec.imagePullPolicy");
    check("imagePullSecret: 5", "warning PS201 spec.imagePullSecret");
    check("verificationKey: PEM", "info PS507 spec.verificationKey");
    check("sha256: 0A", "info PS507 spec.sha256");
    check("sha256: 0b", "warning PS208 spec.sha256 info PS507 spec.sha256");
    check("sha256: [0a]", "warning PS201 spec.sha256");
    check("vmConfig: {env: [{name: A, value: b}, {name: B, valueFrom: HOST}]}", "");
    check("vmConfig: []", "warning PS201 spec.vmConfig");
    check("vmConfig: {env: {A: b}}", "warning PS201 spec.vmConfig.env");
    check("vmConfig: {evn: []}", "warning PS202 spec.vmConfig.evn");
    check("vmConfig: {env: [{value: b}]}", "warning PS203 spec.vmConfig.env[0]");
    check(
        "vmConfig: {env: [{name: A, valueFrom: OTHER}]}",
        "warning PS208 spec.vmConfig.env[0].valueFrom",
    );
}

/// `DEFAULT; ROUTES|DOMAINS|SERVICES|PREFIXES; …; off N; lost N`.
fn rules(plugin: &WasmPlugin<'_>) -> String {
    let mut shown = match (plugin.global_config(), &plugin.default_config) {
        (Some(config), _) => format!("{} keys", config.node.as_map().unwrap().entries.len()),
        (None, Some(_)) => "unused".to_owned(),
        (None, None) => "none".to_owned(),
    };
    for rule in &plugin.rules {
        let lists = [&rule.ingress, &rule.domain, &rule.service, &rule.route_prefix];
        shown += &format!("; {}", lists.map(|list| list.join(",")).join("|"));
    }
    if !plugin.disabled_rules.is_empty() {
        shown += &format!("; off {}", plugin.disabled_rules.len());
    }
    if plugin.rules_without_target > 0 {
        shown += &format!("; lost {}", plugin.rules_without_target);
    }
    shown
}

#[track_caller]
fn check_rules(fields: &str, expected: &str) {
    assert_eq!(read(&format!("url: waf, {fields}"), &rules), expected, "{fields}");
}

#[test]
fn the_default_configuration() {
    check_rules("priority: 0", "0 keys");
    check_rules("defaultConfig: {}", "0 keys");
    check_rules("defaultConfig: {a: 1}", "1 keys");
    check_rules("defaultConfig: null", "0 keys");
    check_rules("defaultConfig: {a: 1}, defaultConfigDisable: true", "none");
    check_rules("defaultConfigDisable: true", "none");
    check_rules("defaultConfig: {}, matchRules: [{ingress: [r]}]", "unused; r|||");
    check_rules("defaultConfig: {a: 1}, matchRules: [{ingress: [r]}]", "1 keys; r|||");
    check_rules("matchRules: [{ingress: [r], configDisable: true}]", "0 keys; off 1");
    check_rules(
        "defaultConfig: {}, matchRules: [{ingress: [r], configDisable: true}]",
        "0 keys; off 1",
    );
    check_rules(
        "defaultConfig: {a: 1}, defaultConfigDisable: true, matchRules: [{ingress: [r], configDisable: true}]",
        "none; off 1",
    );
    check_rules("defaultConfig: 5", "unusable error PS201 spec.defaultConfig");
    check_rules("defaultConfigDisable: 'true'", "unusable error PS201 spec.defaultConfigDisable");
}

#[test]
fn a_plugin_config_takes_the_place_of_everything() {
    check_rules("pluginConfig: {a: 1}", "1 keys");
    check_rules("pluginConfig: {}", "0 keys");
    check_rules("pluginConfig: {a: 1}, defaultConfigDisable: true", "1 keys");
    check_rules(
        "pluginConfig: {a: 1}, defaultConfig: {b: 1}, matchRules: [{}]",
        "1 keys warning PS507 spec.defaultConfig warning PS507 spec.matchRules",
    );
    check_rules("pluginConfig: []", "unusable error PS201 spec.pluginConfig");
    check_rules("pluginConfig: null, matchRules: [{ingress: [r]}]", "none; r|||");
}

#[test]
fn rules_of_match_rules() {
    check_rules(
        "matchRules: [{ingress: [r, n/s]}, {domain: ['*.test', 'a*']}, {service: ['a.static:80', b.dns]}]",
        "none; r,n/s|||; |*.test,a*||; ||a.static:80,b.dns|",
    );
    check_rules("matchRules: [{ingress: [r], service: [s.dns], domain: []}]", "none; r||s.dns|");
    check_rules("matchRules: [{config: {a: 1}}]", "none; lost 1 error PS502 spec.matchRules[0]");
    check_rules(
        "matchRules: [{ingress: ['']}, {ingress: [r]}]",
        "none; r|||; lost 1 error PS502 spec.matchRules[0]",
    );
    check_rules("matchRules: [{configDisable: true}]", "0 keys; off 1");
    check_rules(
        "matchRules: [{ingress: r}]",
        "none; lost 1 error PS201 spec.matchRules[0].ingress error PS502 spec.matchRules[0]",
    );
    check_rules(
        "matchRules: [{ingress: [r], configDisable: 'true'}]",
        "none; r||| error PS201 spec.matchRules[0].configDisable",
    );
    check_rules("matchRules: {}", "unusable error PS201 spec.matchRules");
    check_rules(
        "matchRules: [{ingres: [r], ingress: [s]}]",
        "none; s||| warning PS202 spec.matchRules[0].ingres",
    );
}

#[test]
fn a_rule_for_grpc_loses_its_routes() {
    check_rules("matchRules: [{ingress: [r], routeType: HTTP}]", "none; r|||");
    let lost = "warning PS506 spec.matchRules[0].routeType";
    check_rules(
        "matchRules: [{ingress: [r, s], routeType: GRPC}]",
        &format!("none; GRPC||| {lost}"),
    );
    check_rules("matchRules: [{service: [s.dns], routeType: GRPC}]", "none; ||s.dns|");
    // What may protect a route does.
    check_rules(
        "phase: AUTHZ, matchRules: [{ingress: [r], routeType: GRPC}]",
        &format!("none; r||| {lost}"),
    );
    let shown = read("url: key-auth, matchRules: [{ingress: [r], routeType: GRPC}]", &rules);
    assert_eq!(shown, format!("none; r||| {lost}"));
    check_rules(
        "matchRules: [{ingress: [r], routeType: TCP}]",
        "none; r||| error PS208 spec.matchRules[0].routeType",
    );
}

#[test]
fn rules_inside_a_configuration() {
    let all = "_rules_: [{a: 1, _match_route_: [r], _match_service_: [s.dns]}, {_match_domain_: ['*.t']}, {_match_route_prefix_: [ai-]}]";
    let read_as = "; r||s.dns|; |*.t||; |||ai-";
    for field in ["pluginConfig", "defaultConfig"] {
        check_rules(&format!("{field}: {{{all}}}"), &format!("none{read_as}"));
        check_rules(&format!("{field}: {{b: 1, {all}}}"), &format!("2 keys{read_as}"));
        check_rules(
            &format!("{field}: {{_rules_: [{{a: 1}}]}}"),
            &format!("unusable error PS502 spec.{field}._rules_[0]"),
        );
        check_rules(
            &format!("{field}: {{_rules_: []}}"),
            &format!("unusable error PS208 spec.{field}._rules_"),
        );
        check_rules(
            &format!("{field}: {{_rules_: 1}}"),
            &format!("unusable error PS201 spec.{field}._rules_"),
        );
    }
    check_rules("defaultConfigDisable: true, defaultConfig: {_rules_: 1}", "none");
    check_rules(
        "defaultConfig: {b: 1, _rules_: [{_match_route_: [s]}]}, matchRules: [{ingress: [r]}]",
        "2 keys; r||| warning PS507 spec.defaultConfig._rules_",
    );
    check_rules(
        "defaultConfig: {_rules_: [{_match_route_: [s]}]}, matchRules: [{ingress: [r], configDisable: true}]",
        "none; s|||; off 1",
    );
}
