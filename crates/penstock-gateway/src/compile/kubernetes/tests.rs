use penstock_manifest::Listing;
use penstock_manifest::listing::assemble;
use penstock_manifest::read::{FilePath, read_file};

use super::*;
use crate::compile::{Compiled, Options, compile};

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

/// Where the routes lead: a service with its protocol and addresses each,
/// `none` where there is none.
fn leads_to(compiled: &Compiled) -> String {
    let targets = compiled.snapshot.routes.iter().flat_map(|route| &route.targets);
    let shown = targets.map(|target| match target.service {
        None => "none".to_owned(),
        Some(index) => {
            let service = &compiled.snapshot.services[index.0 as usize];
            let name = service.host.strip_suffix(CLUSTER_DOMAIN).unwrap_or(&service.host);
            let endpoints = match &service.endpoints {
                Endpoints::Static(addresses) => format!("{addresses:?}"),
                Endpoints::Dns(names) => format!("{names:?}"),
            };
            format!("{name}:{} {:?} {}", service.port, service.protocol, endpoints)
        }
    });
    shown.collect::<Vec<_>>().join("; ")
}

fn ingress(backend: &str) -> String {
    format!(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: r, namespace: store}}
spec: {{rules: [{{host: a.com, http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: shop, port: {{{backend}}}}}}}}}]}}}}]}}
---
"
    )
}

fn annotated(destination: &str) -> String {
    format!(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: r, annotations: {{higress.io/destination: \"{destination}\"}}}}
spec: {{rules: [{{host: a.com, http: {{paths: [{{path: /, pathType: Prefix, backend: {{resource: {{kind: McpBridge, name: default}}}}}}]}}}}]}}
---
"
    )
}

fn service(spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: shop, namespace: store}}\nspec: {{{spec}}}\n---\n"
    )
}

fn slice(name: &str, rest: &str) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}, namespace: store, labels: {{kubernetes.io/service-name: shop}}}}\naddressType: IPv4\n{rest}\n---\n"
    )
}

fn endpoints_named(rest: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Endpoints\nmetadata: {{name: shop, namespace: store}}\n{rest}\n---\n"
    )
}

#[track_caller]
fn check(text: &str, expected: &str, findings: &[&str]) {
    let compiled = compile_text(text);
    assert_eq!(leads_to(&compiled), expected, "{text}");
    assert_eq!(codes(&compiled.diagnostics), findings, "{text}\n{:?}", compiled.diagnostics);
}

const ONE: &str = "endpoints: [{addresses: [10.0.0.1]}]\nports: [{name: web, port: 8080}]";
const TWO: &str = "endpoints: [{addresses: [10.0.0.2]}]\nports: [{name: web, port: 8081}]";
const WEB: &str = "ports: [{name: web, port: 80, targetPort: 8080}]";

#[test]
fn a_backend_leads_to_the_endpoints_of_its_port() {
    let text = |backend: &str| format!("{}{}{}", ingress(backend), service(WEB), slice("a", ONE));
    check(&text("number: 80"), "shop.store:80 Http [10.0.0.1:8080]", &[]);
    check(&text("name: web"), "shop.store:80 Http [10.0.0.1:8080]", &[]);
    check(&text("number: 8080"), "none", &[]);
    check(&text("name: wbe"), "", &["PS303"]);
}

#[test]
fn a_destination_may_be_a_service() {
    let rest = format!("{}{}", service(WEB), slice("a", ONE));
    let check = |destination: &str, expected: &str| {
        check(&format!("{}{rest}", annotated(destination)), expected, &[]);
    };
    check("shop.store.svc.cluster.local:80", "shop.store:80 Http [10.0.0.1:8080]");
    check("Shop.Store.svc.cluster.local", "shop.store:80 Http [10.0.0.1:8080]");
    check("https://shop.store.svc.cluster.local:80", "shop.store:80 Https [10.0.0.1:8080]");
    check("shop.store.svc.cluster.local:81", "none");
    check("shop.store.svc.cluster.local:80 v2", "none");
    check("shop.other.svc.cluster.local:80", "none");
    check("shop.store.svc:80", "none");
    check("svc.cluster.local:80", "none");
    let two =
        rest.replace("[{name: web, port: 80,", "[{name: api, port: 81}, {name: web, port: 80,");
    let text = format!("{}{two}", annotated("shop.store.svc.cluster.local"));
    assert_eq!(leads_to(&compile_text(&text)), "none");
}

#[test]
fn what_is_not_in_the_source_answers_503_and_says_so() {
    check(&ingress("number: 80"), "none", &["PS411"]);
    check(&ingress("name: web"), "", &["PS303"]);
    check(&annotated("shop.store.svc.cluster.local:80"), "none", &["PS411"]);
    // Linting reports it where there are Services.
    let other = service(WEB).replace("name: shop", "name: other");
    check(&format!("{}{other}", ingress("number: 80")), "none", &[]);
    check(&format!("{}{other}", ingress("name: web")), "", &["PS303"]);
}

#[test]
fn endpoints_come_from_slices_else_endpoints_else_the_cluster_ip() {
    let subsets = "subsets: [{addresses: [{ip: 10.0.0.9}], notReadyAddresses: [{ip: 10.0.0.8}], ports: [{name: web, port: 9090}]}]";
    let check = |spec: &str, rest: &[String], expected: &str, findings: &[&str]| {
        let text = format!("{}{}{}", ingress("number: 80"), service(spec), rest.concat());
        let expected = format!("shop.store:80 Http {expected}");
        check(&text, &expected, findings);
    };
    let with_ip = format!("clusterIP: 10.9.0.1, {WEB}");
    check(WEB, &[], "[]", &["PS412"]);
    check(&with_ip, &[], "[10.9.0.1:80]", &[]);
    check(&format!("clusterIP: None, {WEB}"), &[], "[]", &["PS412"]);
    check(&with_ip, &[endpoints_named(subsets)], "[10.0.0.9:9090]", &[]);
    check(&format!("clusterIP: None, {WEB}"), &[endpoints_named(subsets)], "[10.0.0.9:9090]", &[]);
    check(&with_ip, &[endpoints_named(subsets), slice("a", ONE)], "[10.0.0.1:8080]", &[]);
    check(&with_ip, &[slice("b", TWO), slice("a", ONE)], "[10.0.0.1:8080, 10.0.0.2:8081]", &[]);
    // What is there and has nothing stands for nothing.
    check(&with_ip, &[endpoints_named("")], "[]", &["PS412"]);
    check(&with_ip, &[endpoints_named(subsets), slice("a", "endpoints: null")], "[]", &["PS412"]);
    let unready = ONE.replace("[10.0.0.1]", "[10.0.0.1], conditions: {ready: false}");
    check(&with_ip, &[endpoints_named(subsets), slice("a", &unready)], "[]", &["PS412"]);
    check(&with_ip, &[slice("a", &unready), slice("b", TWO)], "[10.0.0.2:8081]", &[]);
    check(
        &with_ip,
        &[endpoints_named(subsets), slice("a", "endpoints: oops")],
        "[]",
        &["PS201", "PS412"],
    );
    check(&with_ip, &[endpoints_named("subsets: oops")], "[]", &["PS201", "PS412"]);
    // What cannot be read at all may hold some.
    let broken_slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: shop-x1\n  namespace: store\nendpoints: [\n---\n".to_owned();
    check(&with_ip, &[endpoints_named(subsets), broken_slice], "[]", &["PS412"]);
    // Of another Service, and of one in another namespace.
    let other = slice("a", ONE).replace("service-name: shop", "service-name: shops");
    check(WEB, &[other], "[]", &["PS412"]);
    let other = slice("a", ONE).replace("namespace: store", "namespace: other");
    check(WEB, &[other], "[]", &["PS412"]);
}

#[test]
fn ports_of_endpoints_are_those_of_the_same_name() {
    let check = |port: &str, ports: &str, expected: &str, findings: &[&str]| {
        let rest = format!("endpoints: [{{addresses: [10.0.0.1]}}]\nports: [{ports}]");
        let spec = format!("ports: [{{{port}}}]");
        let text = format!("{}{}{}", ingress("number: 80"), service(&spec), slice("a", &rest));
        check(&text, &format!("shop.store:80 Http {expected}"), findings);
    };
    check("port: 80", "{port: 8080}", "[10.0.0.1:8080]", &[]);
    check("port: 80", "{name: '', port: 8080}", "[10.0.0.1:8080]", &[]);
    check("port: 80", "{name: web, port: 8080}", "[]", &["PS412"]);
    check("port: 80, name: web", "{port: 8080}", "[]", &["PS412"]);
    check("port: 80, name: web", "{name: api, port: 1}, {name: web, port: 2}", "[10.0.0.1:2]", &[]);
    check("port: 80, targetPort: web", "{port: 8080}", "[10.0.0.1:8080]", &[]);
    check("port: 80, targetPort: 8081", "{port: null}", "[10.0.0.1:8081]", &[]);
    check("port: 80", "{port: 53, protocol: UDP}", "[]", &["PS412"]);
}

#[test]
fn an_external_name_is_resolved_or_is_an_address() {
    let check = |spec: &str, expected: &str, findings: &[&str]| {
        let text = format!(
            "{}{}{}",
            ingress("number: 443"),
            service(&format!("type: ExternalName, {spec}")),
            slice("a", ONE)
        );
        check(&text, &format!("shop.store:443 {expected}"), findings);
    };
    let port = "ports: [{port: 443, appProtocol: https}]";
    check(&format!("externalName: api.example.com., {port}"), "Https [\"api.example.com\"]", &[]);
    check(&format!("externalName: 10.1.1.1, {port}"), "Https [10.1.1.1:443]", &[]);
    check(&format!("clusterIP: 10.9.0.1, {port}"), "Https []", &["PS203", "PS412"]);
}

#[test]
fn an_external_name_may_be_that_of_another_service() {
    let external = |name: &str, target: &str, rest: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: store}}\nspec: {{type: ExternalName, externalName: {target}{CLUSTER_DOMAIN}, {rest}}}\n---\n"
        )
    };
    let other = |spec: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: back, namespace: yard}}\nspec: {{{spec}}}\n---\n"
        )
    };
    let slice = slice(
        "a",
        "endpoints: [{addresses: [10.0.0.2, 10.0.0.1]}]\nports: [{name: web, port: 8080}]",
    )
    .replace("namespace: store", "namespace: yard")
    .replace("service-name: shop", "service-name: back");
    let check = |documents: &[String], expected: &str, findings: &[(&str, &str)]| {
        let text = format!("{}{}", ingress("number: 443"), documents.concat());
        let compiled = compile_text(&text);
        assert_eq!(leads_to(&compiled), format!("shop.store:443 {expected}"), "{text}");
        let shown: Vec<_> = compiled
            .diagnostics
            .iter()
            .map(|d| (d.code.id, d.hint.as_deref().unwrap_or_default()))
            .collect();
        assert_eq!(shown, findings, "{text}");
    };
    let shop = external("shop", "back.yard", "ports: [{port: 443, appProtocol: https}]");
    let web = "clusterIP: 10.9.0.1, ports: [{name: web, port: 443, targetPort: 8080}]";
    let pods = "Https [10.0.0.1:8080, 10.0.0.2:8080]";
    check(&[shop.clone(), other(web), slice.clone()], pods, &[]);
    check(&[shop.replace("back.yard", "BACK.yard"), other(web), slice.clone()], pods, &[]);
    // Without endpoints in the source there is the cluster IP.
    check(&[shop.clone(), other(web)], "Https [10.9.0.1:443]", &[]);
    // The name of a headless Service stands for its endpoints, at the port
    // that was asked for.
    let headless = web.replace("10.9.0.1", "None");
    let direct = "Https [10.0.0.1:443, 10.0.0.2:443]";
    check(&[shop.clone(), other(&headless), slice.clone()], direct, &[]);
    let far = external("shop", "middle.store", "ports: [{port: 443, appProtocol: https}]");
    let middle = external("middle", "back.yard", "ports: [{port: 1}]");
    check(&[far.clone(), middle.clone(), other(web), slice.clone()], pods, &[]);
    let outside = middle.replace(&format!("back.yard{CLUSTER_DOMAIN}"), "a.example.com");
    check(&[far.clone(), outside.clone()], "Https [\"a.example.com\"]", &[]);
    let address = outside.replace("a.example.com", "10.1.1.1");
    check(&[far.clone(), address], "Https [10.1.1.1:443]", &[]);

    let other_port = "clusterIP: 10.9.0.1, ports: [{name: web, port: 80}]";
    let no_port = "Service yard/back, which it stands for, has no such port";
    check(&[shop.clone(), other(other_port), slice], "Https []", &[("PS412", no_port)]);
    let empty = "Service yard/back, which it stands for, has no endpoint";
    check(&[shop.clone(), other(&headless)], "Https []", &[("PS412", empty)]);
    let back = external("middle", "shop.store", "ports: [{port: 1}]");
    let back_to_itself = "its `externalName` leads back to itself";
    check(&[far, back], "Https []", &[("PS412", back_to_itself)]);
    let itself = external("shop", "shop.store", "ports: [{port: 443, appProtocol: https}]");
    check(&[itself], "Https []", &[("PS412", back_to_itself)]);
    check(&[shop], "Https [\"back.yard.svc.cluster.local\"]", &[("PS413", "")]);
}

#[test]
fn slices_of_names_are_resolved_at_the_port_of_the_service() {
    let check = |port: u16, expected: &str, findings: &[&str]| {
        let rest = format!(
            "endpoints: [{{addresses: [b.example.com]}}, {{addresses: [a.example.com]}}]\nports: [{{name: web, port: {port}}}]"
        );
        let slice = slice("a", &rest).replace("IPv4", "FQDN");
        let text = format!("{}{}{slice}", ingress("number: 80"), service(WEB));
        self::check(&text, &format!("shop.store:80 Http {expected}"), findings);
    };
    check(80, "[\"a.example.com\", \"b.example.com\"]", &[]);
    check(8080, "[]", &["PS412"]);
}

#[test]
fn what_a_service_lacks_is_told() {
    let check = |spec: &str, rest: &str, expected: &str| {
        let compiled = compile_text(&format!("{}{}{rest}", ingress("number: 80"), service(spec)));
        let lack = compiled.diagnostics.iter().find(|d| d.code.id == "PS412").unwrap();
        assert_eq!(
            lack.message,
            "Service store/shop has no endpoint for port 80: its routes answer 503"
        );
        assert!(lack.line > 1);
        let hint = lack.hint.as_deref().unwrap();
        assert!(hint.contains(expected), "{hint}");
    };
    check(WEB, "", "with the label kubernetes.io/service-name");
    check(&format!("selector: {{app: a}}, {WEB}"), "", "does not look at Pods");
    check(WEB, &slice("a", "endpoints: []"), "is ready");
    check(
        WEB,
        &slice("a", &ONE.replace("name: web", "name: api")),
        "have the ports `api`, the Service calls this one `web`",
    );
    check(&format!("type: ExternalName, {WEB}"), "", "`externalName`");
}

#[test]
fn one_family_of_addresses_is_enough() {
    let v6 = slice("v6", "endpoints: [{addresses: ['fd00::1']}]\nports: [{name: web, port: 8080}]")
        .replace("IPv4", "IPv6");
    let check = |spec: &str, rest: &str, expected: &str| {
        let text = format!("{}{}{rest}", ingress("number: 80"), service(spec));
        check(&text, &format!("shop.store:80 Http {expected}"), &[]);
    };
    let both = format!("{v6}{}", slice("v4", ONE));
    check(WEB, &both, "[10.0.0.1:8080, [fd00::1]:8080]");
    check(&format!("ipFamilies: [IPv4, IPv6], {WEB}"), &both, "[10.0.0.1:8080]");
    check(&format!("ipFamilies: [IPv6, IPv4], {WEB}"), &both, "[[fd00::1]:8080]");
    check(&format!("clusterIP: 10.9.0.1, {WEB}"), &both, "[10.0.0.1:8080]");
    check(&format!("ipFamilies: [IPv4], {WEB}"), &v6, "[[fd00::1]:8080]");
}

#[test]
fn rules_see_the_host_of_a_service() {
    let text = |rule: &str| {
        format!(
            "{}{}apiVersion: extensions.higress.io/v1alpha1
kind: WasmPlugin
metadata: {{name: k}}
spec: {{url: 'oci://x/key-auth:1', matchRules: [{{service: [{rule}], config: {{allow: []}}}}]}}
",
            ingress("number: 80"),
            service(WEB)
        )
    };
    let check = |rule: &str, expected: bool| {
        let snapshot = compile_text(&text(rule)).snapshot;
        assert_eq!(!snapshot.routes[0].targets[0].chain.steps.is_empty(), expected, "{rule}");
    };
    check("shop.store.svc.cluster.local", true);
    check("'shop.store.svc.cluster.local:80'", true);
    check("'shop.store.svc.cluster.local:81'", false);
    check("other.store.svc.cluster.local", false);
}

#[test]
fn only_what_something_leads_to_is_a_service() {
    let text = format!(
        "{}{}{}{}",
        ingress("number: 80"),
        service("ports: [{name: web, port: 80}, {name: api, port: 81}]"),
        slice("a", ONE),
        service("prots: []").replace("name: shop", "name: other"),
    );
    let compiled = compile_text(&text);
    assert_eq!(compiled.snapshot.services.len(), 1);
    assert!(compiled.diagnostics.is_empty(), "{:?}", compiled.diagnostics);
    // Two ways to one port are one service.
    let other = annotated("shop.store.svc.cluster.local:80").replace("a.com", "b.com");
    let compiled = compile_text(&format!("{text}{other}"));
    assert_eq!(compiled.snapshot.routes.len(), 2);
    assert_eq!(compiled.snapshot.services.len(), 1);
}

#[test]
fn endpoints_that_are_emptied_are_gone_and_broken_ones_stay() {
    let text =
        |rest: &str| format!("{}{}{}", ingress("number: 80"), service(WEB), slice("a", rest));
    let before = compile_text(&text(ONE));
    let check = |text: &str, expected: &str, findings: &[&str]| {
        let after = compile(&listing(text), &before.effective, &Options::default());
        assert_eq!(leads_to(&after), expected, "{text}");
        assert_eq!(codes(&after.diagnostics), findings, "{text}");
    };
    check(&text("endpoints: []"), "shop.store:80 Http []", &["PS412"]);
    check(&text(""), "shop.store:80 Http []", &["PS412"]);
    check(
        &text("endpoints: [{addresses: [oops]}]\nports: [{name: web, port: 8080}]"),
        "shop.store:80 Http []",
        &["PS208", "PS412"],
    );
    check(&text("endpoints: oops"), "shop.store:80 Http [10.0.0.1:8080]", &["PS201", "PS211"]);
    let without_slice = format!("{}{}", ingress("number: 80"), service(WEB));
    check(&without_slice, "shop.store:80 Http []", &["PS412"]);
    let broken = text(ONE)
        .replace("spec: {ports: [{name: web", "spec: {ports: {name: web")
        .replace("targetPort: 8080}]}", "targetPort: 8080}}");
    check(&broken, "shop.store:80 Http [10.0.0.1:8080]", &["PS201", "PS211"]);
    // Without a last good version the path stays, and answers 503.
    let compiled = compile_text(&broken.replace("number: 80", "name: web"));
    assert_eq!(leads_to(&compiled), "none");
    assert_eq!(codes(&compiled.diagnostics), ["PS201"]);
}
