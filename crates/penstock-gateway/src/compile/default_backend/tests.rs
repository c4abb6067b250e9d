use penstock_manifest::listing::assemble;
use penstock_manifest::read::{FilePath, read_file};

use super::*;
use crate::compile::{Compiled, Options, compile};

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: store}
spec: {clusterIP: 10.9.0.1, ports: [{name: web, port: 80}]}
---
";

const TO_SHOP: &str = "{service: {name: shop, port: {name: web}}}";
const TO_ANNOTATION: &str =
    "{resource: {apiGroup: networking.higress.io, kind: McpBridge, name: default}}";

/// An Ingress with paths `HOST PATH`, separated by commas.
fn ingress(name: &str, default: &str, paths: &str, annotations: &str) -> String {
    let rules: Vec<String> = paths
        .split(", ")
        .filter_map(|path| path.split_once(' '))
        .map(|(host, path)| {
            format!(
                "{{host: '{host}', http: {{paths: [{{path: {path}, pathType: Prefix, backend: {TO_SHOP}}}]}}}}"
            )
        })
        .collect();
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: {name}, namespace: store, annotations: {{{annotations}}}}}\nspec: {{defaultBackend: {default}, rules: [{}]}}\n---\n",
        rules.join(", ")
    )
}

fn compile_text(text: &str) -> Compiled {
    let text = format!("{SERVICE}{text}");
    let listing = assemble([&read_file(&FilePath::standalone("all.yaml"), &text)]);
    compile(&listing, &[], &Options::default())
}

fn names(snapshot: &Snapshot, host: &str) -> String {
    let routes = list(&snapshot.hosts, host).iter().map(|index| snapshot.route(*index).unwrap());
    let names = routes.map(|route| route.name.strip_prefix("store/").unwrap_or(&route.name));
    names.collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(text: &str, expected: &[(&str, &str)], findings: &[&str]) {
    let compiled = compile_text(text);
    let hosts = expected.iter().map(|(host, _)| (*host, names(&compiled.snapshot, host)));
    let shown: Vec<(&str, String)> = hosts.collect();
    let shown: Vec<(&str, &str)> = shown.iter().map(|(host, names)| (*host, &**names)).collect();
    assert_eq!(shown, expected, "{text}");
    let mut codes: Vec<&str> = compiled.diagnostics.iter().map(|d| d.code.id).collect();
    codes.sort_unstable();
    assert_eq!(codes, findings, "{text}\n{:?}", compiled.diagnostics);
}

#[test]
fn it_is_the_last_route_of_its_hosts_and_of_any() {
    check(&ingress("a", TO_SHOP, "", ""), &[("*", "a-default")], &[]);
    check(
        &ingress("a", TO_SHOP, "x.com /v1, *.y.com /v1", ""),
        &[("x.com", "a a-default"), ("*.y.com", "a a-default"), ("*", "a-default")],
        &[],
    );
    check(
        &ingress("a", TO_SHOP, "x.com /, y.com /v1", ""),
        &[("x.com", "a"), ("y.com", "a a-default"), ("*", "a-default")],
        &[],
    );
    check(
        &ingress("a", TO_SHOP, "x.com /", "higress.io/exact-match-header-x: tide"),
        &[("x.com", "a"), ("*", "a-default")],
        &[],
    );
}

#[test]
fn the_first_counts_on_a_host_and_the_last_on_any() {
    let two = |a: &str, b: &str| {
        format!("{}{}", ingress("a", TO_SHOP, a, ""), ingress("b", TO_SHOP, b, ""))
    };
    check(&two("x.com /v1", "x.com /v2"), &[("x.com", "a b a-default"), ("*", "b-default")], &[]);
    check(&two("x.com /v1", "x.com /"), &[("x.com", "a b"), ("*", "b-default")], &[]);
    check(&two("* /v1", "* /v2"), &[("*", "a b b-default")], &[]);
    check(&two("* /", "x.com /v1"), &[("*", "a"), ("x.com", "b b-default")], &[]);
    let other = ingress("c", TO_SHOP, "x.com /", "")
        .replace("defaultBackend: {service: {name: shop, port: {name: web}}}, ", "");
    check(&format!("{}{other}", two("x.com /v1", "")), &[("x.com", "a c")], &[]);
}

#[test]
fn a_resource_follows_the_destination() {
    let to = "higress.io/destination: shop.store.svc.cluster.local";
    check(&ingress("a", TO_ANNOTATION, "", to), &[("*", "a-default")], &[]);
    let other = TO_ANNOTATION.replace("networking.higress.io", "example.com");
    check(&ingress("a", &other, "x.com /v1", to), &[("*", "")], &["PS303"]);
    check(&ingress("a", TO_ANNOTATION, "x.com /v1", ""), &[("x.com", "a"), ("*", "")], &["PS303"]);
}

#[test]
fn one_that_leads_nowhere_takes_no_host() {
    let to = |port: &str| format!("{{service: {{name: shop, port: {{{port}}}}}}}");
    check(
        &ingress("a", &to("name: wbe"), "x.com /v1", ""),
        &[("*", ""), ("x.com", "a")],
        &["PS303"],
    );
    check(&ingress("a", &to(""), "x.com /v1", ""), &[("*", ""), ("x.com", "a")], &["PS303"]);
    check(&ingress("a", &to("number: 81"), "", ""), &[("*", "a-default")], &[]);
    check(
        &format!(
            "{}{}",
            ingress("a", &to("name: wbe"), "x.com /v1", ""),
            ingress("b", TO_SHOP, "x.com /v2", "")
        ),
        &[("x.com", "a b b-default")],
        &["PS303"],
    );
}

#[test]
fn annotations_have_no_effect_on_it() {
    let text = ingress(
        "a",
        TO_SHOP,
        "x.com /v1",
        "higress.io/upstream-vhost: v.com, higress.io/exact-match-header-x: tide, higress.io/ignore-path-case: 'true'",
    );
    let snapshot = compile_text(&text).snapshot;
    let routes = &snapshot.routes;
    assert_eq!(routes.len(), 3);
    assert!(routes[0].upstream_vhost.is_some() && routes[0].conditions.is_some());
    for route in &routes[1..] {
        assert_eq!(&*route.name, "store/a-default");
        assert!(route.upstream_vhost.is_none() && route.conditions.is_none());
        assert!(matches!(&route.path, PathMatch::Prefix { path, .. } if path.is_empty()));
    }
    let canary = ingress("a", TO_SHOP, "x.com /v1", "higress.io/canary: 'true'");
    assert!(compile_text(&canary).snapshot.routes.is_empty());
}

#[test]
fn rules_know_it_by_its_own_name() {
    let text = |rule: &str| {
        format!(
            "{}apiVersion: extensions.higress.io/v1alpha1
kind: WasmPlugin
metadata: {{name: k}}
spec: {{url: 'oci://x/key-auth:1', matchRules: [{{{rule}, config: {{allow: []}}}}]}}
",
            ingress("a", TO_SHOP, "x.com /v1", "")
        )
    };
    let check = |rule: &str, expected: [bool; 3]| {
        let snapshot = compile_text(&text(rule)).snapshot;
        let covered: Vec<bool> = snapshot
            .routes
            .iter()
            .map(|route| !backends::is_open(&route.targets, "x.com"))
            .collect();
        assert_eq!(covered, expected, "{rule}");
    };
    check("ingress: [store/a]", [true, false, false]);
    check("ingress: [store/a-default]", [false, true, true]);
    check("domain: [x.com]", [true, true, true]);
    check("domain: [y.com]", [false, false, false]);
    check("service: [shop.store.svc.cluster.local]", [true, true, true]);
}

#[test]
fn an_ai_route_that_asks_for_authentication_stays_closed() {
    let text = format!(
        "apiVersion: v1
kind: ConfigMap
metadata: {{name: ai-route-x, labels: {{higress.io/config-map-type: ai-route}}}}
data: {{data: '{{\"name\":\"x\",\"authConfig\":{{\"enabled\":true,\"allowedConsumers\":[\"a\"]}}}}'}}
---
{}",
        ingress("ai-route-x.internal", TO_ANNOTATION, "", "higress.io/destination: shop.store.svc.cluster.local")
            .replace("namespace: store", "namespace: higress-system")
    );
    let snapshot = compile_text(&text).snapshot;
    assert_eq!(&*snapshot.routes[0].name, "ai-route-x.internal-default");
    assert!(snapshot.routes[0].closed.is_some());
}
