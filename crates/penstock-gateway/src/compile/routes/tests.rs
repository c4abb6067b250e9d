use penstock_manifest::listing::assemble;
use penstock_manifest::read::{FilePath, read_file};

use crate::compile::{Compiled, Options, compile};
use crate::snapshot::{LimitIndex, Route, WeightedTarget};

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

/// The targets of the base `a` with some canaries: share, service and, behind
/// `|`, what takes its place.
#[track_caller]
fn check_targets(destination: &str, canaries: &[&str], expected: &[&str], expected_codes: &[&str]) {
    let base = format!("higress.io/destination: \"{destination}\"");
    let mut documents =
        vec![REGISTRIES.to_owned(), ingress("a", &[("Prefix", "/")], RESOURCE, &base)];
    for (number, annotations) in canaries.iter().enumerate() {
        let annotations = format!(
            "higress.io/canary: 'true', higress.io/destination: 'ten.static:80', {annotations}"
        );
        documents.push(ingress(&format!("c{number}"), &[("Prefix", "/")], RESOURCE, &annotations));
    }
    let compiled = compile_all(&documents);
    let snapshot = &compiled.snapshot;
    let host = |target: &WeightedTarget| {
        target.service.map(|index| snapshot.services[index.0 as usize].host.clone())
    };
    let shown = |target: &WeightedTarget| {
        let other = target.fallback.as_ref().and_then(|other| host(other));
        let other = other.map(|host| format!("|{host}")).unwrap_or_default();
        format!("{} {}{other}", target.weight, host(target).unwrap_or_default())
    };
    let list = snapshot.hosts.exact["a.test"].iter();
    let targets = list.flat_map(|index| &snapshot.route(*index).unwrap().targets);
    let targets: Vec<String> = targets.map(shown).collect();
    let codes: Vec<&str> = compiled.diagnostics.iter().map(|finding| finding.code.id).collect();
    assert_eq!(targets, expected, "{destination} {canaries:?}");
    assert_eq!(codes, expected_codes, "{destination} {canaries:?}");
}

#[test]
fn canaries_share_before_weights_become_shares() {
    let weight = |weight: &str| format!("higress.io/canary-weight: '{weight}'");
    let of = |share: &str, total: &str| {
        format!("{}, higress.io/canary-weight-total: '{total}'", weight(share))
    };
    let one = "one.static:80";
    let check = |destination: &str, canaries: &[String], expected: &[&str], codes: &[&str]| {
        let canaries: Vec<&str> = canaries.iter().map(String::as_str).collect();
        check_targets(destination, &canaries, expected, codes);
    };
    let ten = |share: u32| format!("{share} ten.static|one.static");
    check(one, &[], &["100 one.static"], &[]);
    check(one, &[weight("30")], &["70 one.static", &ten(30)], &[]);
    check(
        "1% one.static:80\\n1% two.static:80",
        &[weight("10")],
        &["1 one.static", "9 two.static", &ten(90)],
        &[],
    );
    check(one, &[weight("60"), weight("60")], &["0 one.static", &ten(50), &ten(50)], &[]);
    check(
        "50% one.static:80\\n50% two.static:80",
        &[weight("60")],
        &["1 one.static", "45 two.static", &ten(54)],
        &[],
    );
    // The total of the base's annotation wins, and that is said.
    check(one, &[of("30", "1000")], &["70 one.static", &ten(30)], &["PS322"]);
    check(one, &[of("30", "100")], &["70 one.static", &ten(30)], &[]);
}

#[test]
fn the_base_takes_the_place_of_its_canary() {
    check_targets(
        "40% one.static:80\\n60% two.static:80",
        &["higress.io/canary-by-header: x-c"],
        &["100 ten.static|one.static", "40 one.static", "60 two.static"],
        &[],
    );
}

#[test]
fn a_total_of_a_canary_counts_where_a_service_is_the_base() {
    let service = "service: {name: s, port: {number: 80}}";
    let base = ingress("a", &[("Prefix", "/")], service, "");
    let canary = |name: &str, total: &str| {
        let annotations = format!(
            "higress.io/canary: 'true', higress.io/canary-weight: '30', higress.io/canary-weight-total: '{total}'"
        );
        to_one(name, "Prefix", "/", &annotations)
    };
    let check = |totals: &[&str], expected: &[u32], expected_codes: &[&str]| {
        let canaries = totals.iter().map(|total| canary(&format!("c{total}"), total));
        let documents = [REGISTRIES.to_owned(), base.clone()].into_iter().chain(canaries);
        let compiled = compile_all(&documents.collect::<Vec<_>>());
        let targets = &compiled.snapshot.routes[0].targets;
        let weights: Vec<u32> = targets.iter().map(|target| target.weight).collect();
        let codes: Vec<&str> = compiled.diagnostics.iter().map(|finding| finding.code.id).collect();
        assert_eq!((weights.as_slice(), codes.as_slice()), (expected, expected_codes));
    };
    check(&["1000"], &[97, 3], &["PS411"]);
    check(&["300", "600"], &[80, 10, 10], &["PS411", "PS322"]);
}

#[test]
fn a_canary_is_counted_apart() {
    let limit = "higress.io/route-limit-rpm: '2'";
    let canary = "higress.io/canary: 'true', higress.io/canary-by-header: x-c";
    let compiled = compile_all(&[
        REGISTRIES.to_owned(),
        to_one("a", "Prefix", "/", limit),
        to_one("c", "Prefix", "/", canary),
    ]);
    let limits = &compiled.snapshot.rate_limits;
    assert_eq!(limits.len(), 2);
    assert_eq!(limits[0].limit, limits[1].limit);
    assert_ne!(limits[0].place, limits[1].place);
    let limit = |route: &Route| route.policy.as_ref().and_then(|policy| policy.rate_limit);
    let used: Vec<_> = compiled.snapshot.routes.iter().map(limit).collect();
    assert_eq!(used, [Some(LimitIndex(0)), Some(LimitIndex(1))]);
}
