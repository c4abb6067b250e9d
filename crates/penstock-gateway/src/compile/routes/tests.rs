use penstock_manifest::listing::assemble;
use penstock_manifest::read::{FilePath, read_file};

use crate::compile::{Compiled, Options, compile};

const REGISTRIES: &str = "apiVersion: networking.higress.io/v1
kind: McpBridge
metadata: {name: default, namespace: higress-system}
spec:
  registries:
  - {name: one, type: static, domain: '127.0.0.1:1', port: 80}
  - {name: two, type: static, domain: '127.0.0.1:2', port: 80}
  - {name: ten, type: static, domain: '127.0.0.1:10', port: 80}
";

const RESOURCE: &str =
    "resource: {apiGroup: networking.higress.io, kind: McpBridge, name: default}";

/// An Ingress with paths on one host; each is its type and its text.
fn ingress(name: &str, paths: &[(&str, &str)], backend: &str, annotations: &str) -> String {
    let paths: Vec<String> = paths
        .iter()
        .map(|(path_type, path)| {
            format!("{{path: '{path}', pathType: {path_type}, backend: {{{backend}}}}}")
        })
        .collect();
    format!(
        "apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}, namespace: higress-system, annotations: {{{annotations}}}}}
spec: {{rules: [{{host: a.test, http: {{paths: [{}]}}}}]}}
",
        paths.join(", ")
    )
}

/// An Ingress whose requests go to the registry `one`.
fn to_one(name: &str, path_type: &str, path: &str, annotations: &str) -> String {
    let annotations = format!("higress.io/destination: 'one.static:80', {annotations}");
    ingress(name, &[(path_type, path)], RESOURCE, &annotations)
}

fn compile_all(documents: &[String]) -> Compiled {
    let read = read_file(&FilePath::standalone("all.yaml"), &documents.join("---\n"));
    compile(&assemble([&read]), &[], &Options::default())
}

/// The names of the routes in the order in which they are tried, and the
/// codes of the findings.
#[track_caller]
fn check(ingresses: &[String], expected: &[&str], expected_codes: &[&str]) {
    let compiled = compile_all(&[&[REGISTRIES.to_owned()], ingresses].concat());
    let list = compiled.snapshot.hosts.exact.get("a.test").map(Vec::as_slice).unwrap_or_default();
    let names: Vec<&str> =
        list.iter().map(|index| &*compiled.snapshot.route(*index).unwrap().name).collect();
    let codes: Vec<&str> = compiled.diagnostics.iter().map(|finding| finding.code.id).collect();
    assert_eq!((names.as_slice(), codes.as_slice()), (expected, expected_codes));
}

#[test]
fn a_path_without_a_backend_is_anybodys() {
    let named = "service: {name: s, port: {name: web}}";
    let annotated =
        |backend: &str, annotations: &str| ingress("a", &[("Prefix", "/v1")], backend, annotations);
    let other = || to_one("b", "Prefix", "/v1", "");
    check(&[annotated(named, ""), other()], &["b"], &["PS303"]);
    check(&[annotated(RESOURCE, ""), other()], &["b"], &["PS303"]);
    let twice = ingress("a", &[("Prefix", "/v1"), ("Prefix", "/v1")], named, "");
    check(&[twice, other()], &["b"], &["PS303", "PS303"]);
    // One that is closed, because it was to be protected, is nobody else's.
    let closed = annotated(named, "higress.io/auth-type: basic");
    check(&[closed, other()], &[], &["PS307", "PS303", "PS304"]);
    // A canary does not take what nobody has.
    let canary = to_one("c", "Prefix", "/v1", "higress.io/canary: 'true'");
    check(&[annotated(named, ""), canary], &[], &["PS303", "PS303"]);
}

#[test]
fn paths_are_the_same_where_they_are_compared_alike() {
    let regex = "higress.io/use-regex: 'true'";
    let full = "higress.io/full-path-regex: 'true'";
    let two = |first: (&str, &str, &str), second: (&str, &str, &str)| {
        [to_one("a", first.0, first.1, first.2), to_one("b", second.0, second.1, second.2)]
    };
    check(&two(("Prefix", "/foo", regex), ("Prefix", "/foo", "")), &["b", "a"], &[]);
    check(&two(("Prefix", "/foo", regex), ("Prefix", "/foo", full)), &["a", "b"], &[]);
    check(&two(("Prefix", "/foo", regex), ("Exact", "/foo", regex)), &["a"], &["PS304"]);
    check(&two(("Prefix", "/foo", regex), ("Prefix", "/foo/", regex)), &["b", "a"], &[]);
    check(&two(("Prefix", "/foo", ""), ("Prefix", "/foo/", "")), &["a"], &["PS304"]);
    check(&two(("Prefix", "/", ""), ("Prefix", "/", "")), &["a"], &["PS304"]);
    check(&two(("Exact", "/foo", ""), ("Exact", "/foo/", "")), &["b", "a"], &[]);
    let to_one = "higress.io/destination: 'one.static:80'";
    check(
        &[ingress("a", &[("Prefix", "/a"), ("Prefix", "/a/")], RESOURCE, to_one)],
        &["a"],
        &["PS304"],
    );
}

#[test]
fn a_canary_is_of_a_path_that_is_compared_alike() {
    let regex = "higress.io/use-regex: 'true'";
    let canary = "higress.io/canary: 'true', higress.io/canary-by-header: x-c";
    let pair = |base: (&str, &str), path: &str| {
        [to_one("a", "Prefix", base.0, base.1), to_one("c", "Prefix", path, canary)]
    };
    check(&pair(("/foo", ""), "/foo/"), &["c", "a"], &[]);
    check(&pair(("/foo", regex), "/foo"), &["a"], &["PS303"]);
}

#[test]
fn the_root_of_an_application_is_tried_before_regular_expressions() {
    let app_root = "higress.io/use-regex: 'true', higress.io/rewrite-target: '/$1', higress.io/app-root: /welcome";
    check(&[to_one("a", "Prefix", "/(.*)", app_root)], &["a.test-app-root", "a"], &[]);
    let exact = to_one("b", "Exact", "/", "");
    check(&[to_one("a", "Prefix", "/(.*)", app_root), exact], &["b", "a.test-app-root", "a"], &[]);
}
