//! What is exported renders to what it came from, and what cannot be exported
//! is told.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use penstock_manifest::intent::export::{self, Secrets};
use penstock_manifest::intent::secret::{self, Lookup};
use penstock_manifest::intent::{self, Intent, IntentFile};
use penstock_manifest::listing::assemble;
use penstock_manifest::read::{FilePath, read_file};
use penstock_manifest::render::{self, Options, file_path, file_text};
use penstock_manifest::template;
use penstock_manifest::{Listing, Resource, Severity, yaml};

fn parse(text: &str) -> Intent {
    let (intent, found) = intent::parse([IntentFile { name: "intent.yaml", text }]);
    let errors: Vec<_> = found.iter().filter(|d| d.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:?}\n{text}");
    intent
}

/// The resources of an intent, with the Secrets that its variables give.
fn rendered(text: &str, variables: &HashMap<String, String>) -> Vec<Resource> {
    let intent = parse(text);
    let mut resources = render::render(&intent, &Options::default()).resources;
    let (secrets, _) = secret::resolve(&intent, |lookup| match lookup {
        Lookup::Env(name) => variables.get(name).cloned().ok_or("is not set".to_owned()),
        Lookup::File(_) => Err("does not exist".to_owned()),
    });
    resources.extend(secrets);
    resources
}

fn listing_of(files: &[(String, String)]) -> Listing {
    let files: Vec<_> = files
        .iter()
        .map(|(path, text)| read_file(&FilePath::new(path.clone(), path.clone()), text))
        .collect();
    assemble(&files)
}

fn listing(resources: &[Resource]) -> Listing {
    let files: Vec<_> = resources.iter().map(|r| (file_path(r), file_text(r))).collect();
    listing_of(&files)
}

fn below(folder: &Path, files: &mut Vec<(String, String)>) {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        match path.is_dir() {
            true => below(&path, files),
            false => {
                let text = std::fs::read_to_string(&path).unwrap();
                let parent = path.parent().unwrap().file_name().unwrap().to_string_lossy();
                let name = path.file_name().unwrap().to_string_lossy();
                files.push((format!("{parent}/{name}"), text));
            }
        }
    }
}

fn example(name: &str) -> Listing {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    let mut files = Vec::new();
    below(&folder, &mut files);
    listing_of(&files)
}

/// Everything but Secrets, with references to them replaced.
fn behaviour(listing: &Listing) -> Vec<(String, String)> {
    let secrets = template::Secrets::of(&listing.resources);
    let kept = listing.resources.iter().filter(|r| &*r.key.kind != "Secret");
    let mut shown: Vec<(String, String)> = kept
        .map(|resource| {
            let filled = secrets.fill(resource, &mut template::Scrubber::default());
            let root = filled.map_or_else(|| resource.root.clone(), |filled| filled.root);
            let is_record = resource.key.name.starts_with("ai-route-");
            let is_record = is_record && &*resource.key.kind == "ConfigMap";
            (resource.key.to_string(), if is_record { String::new() } else { yaml::render(&root) })
        })
        .collect();
    shown.sort();
    shown
}

/// Exports, renders, exports and renders, in both forms that keep secrets.
fn check_round_trip(first: &Listing) {
    let inline = export::from_resources(first, Secrets::Inline);
    assert!(inline.diagnostics.is_empty(), "{:?}", inline.diagnostics);
    let inline = yaml::render(&inline.document);
    let second = listing(&rendered(&inline, &HashMap::new()));
    let again = export::from_resources(&second, Secrets::Inline);
    let again = rendered(&yaml::render(&again.document), &HashMap::new());
    assert!(
        again
            .iter()
            .map(|r| &r.root)
            .eq(rendered(&inline, &HashMap::new()).iter().map(|r| &r.root))
    );
    assert_eq!(export::check(&second, Secrets::Ref, "x"), []);

    let named = export::from_resources(first, Secrets::Ref);
    let values = values_of(&inline, &yaml::render(&named.document), &named.variables);
    let third = listing(&rendered(&yaml::render(&named.document), &values));
    assert_eq!(behaviour(&third), behaviour(&second));
    let back = export::from_resources(&third, Secrets::Inline);
    let back = listing(&rendered(&yaml::render(&back.document), &HashMap::new()));
    assert_eq!(behaviour(&back), behaviour(&second));
}

/// The value of each variable: what stands in its place in the other form.
fn values_of(inline: &str, named: &str, variables: &[String]) -> HashMap<String, String> {
    let pairs = named.lines().zip(inline.lines()).filter_map(|(named, inline)| {
        let (before, rest) = named.split_once("${env:")?;
        let name = rest.split_once('}')?.0;
        let before = before.trim_end_matches(['"', '\'']);
        let value = inline.strip_prefix(before).unwrap().trim_matches(['"', '\'']);
        Some((name.to_owned(), value.to_owned()))
    });
    let values: HashMap<String, String> = pairs.collect();
    assert_eq!(values.len(), variables.len(), "{named}");
    values
}

const WHOLE: &str = r#"
domains:
- {name: a.example.com, enableHttps: force, certIdentifier: a-tls}
providers:
- name: one
  type: openai
  tokens: [sk-one-1, sk-one-2]
  protocol: original
  proxyName: out
  tokenFailoverConfig: {enabled: true, failureThreshold: 2, healthCheckModel: m}
  rawConfigs: {openaiCustomUrl: "https://one.example.com/v1", someApiKey: sk-raw, deep: {list: [{password: sk-deep}]}, modelMapping: {a-key: b}, maxTokens: 5}
- {name: two.x, type: bedrock, rawConfigs: {awsRegion: us-east-1, awsAccessKey: ak-1, awsSecretKey: sk-aws}}
consumers:
- name: bearer
  credentials: [{type: key-auth, source: BEARER, values: [key-b1, key-b2]}]
- name: header
  credentials: [{type: key-auth, source: HEADER, key: x-my-key, values: [key-h]}]
- name: 名
  credentials: [{type: key-auth, source: QUERY, key: k, values: [key-q]}]
- name: both bearer
  credentials: [{type: key-auth, source: HEADER, key: authorization, values: ["Bearer key-x"]}]
serviceSources:
- {name: pool, type: static, domain: "10.0.0.1:80,10.0.0.2:80", port: 80, protocol: http, sni: s, proxyName: out}
aiRoutes:
- name: full
  domains: [a.example.com]
  pathPredicate: {matchType: PRE, matchValue: /v1, caseSensitive: false}
  headerPredicates: [{key: x-a, matchType: EQUAL, matchValue: b}]
  urlParamPredicates: [{key: q, matchType: PRE, matchValue: z}]
  modelPredicates: [{matchType: PRE, matchValue: m}, {matchType: EQUAL, matchValue: o}]
  upstreams: [{provider: one, weight: 40, modelMapping: {"*": m}}, {provider: two.x, weight: 60}]
  authConfig: {enabled: true, allowedCredentialTypes: [key-auth], allowedConsumers: [bearer, 名]}
  fallbackConfig: {enabled: true, fallbackStrategy: SEQ, upstreams: [{provider: two.x, weight: 100}], responseCodes: [5xx]}
  cors: {enabled: true, allowOrigins: [https://a.example.com], maxAge: 60}
  headerControl: {enabled: true, request: {add: [{key: x-plain, value: v}], set: [{key: Authorization, value: Bearer sk-header}], remove: [a]}, response: {add: [{key: Set-Cookie, value: sk-cookie}]}}
  proxyNextUpstream: {enabled: false, attempts: 2, conditions: [error]}
  customConfigs: {higress.io/timeout: "30"}
  customLabels: {team: blue}
- name: no-fallback
  upstreams: [{provider: one}]
  fallbackConfig: {enabled: false, upstreams: [{provider: two.x}]}
"#;

#[test]
fn what_is_exported_renders_the_same() {
    check_round_trip(&listing(&rendered(WHOLE, &HashMap::new())));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/intent");
    for name in ["route_settings.txt", "worked_example.txt", "safe_form.txt"] {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        let text = text.split("----------\n").next().unwrap();
        let values = [("K", "sk-k"), ("L", "sk-l")];
        let values = values.map(|(name, value)| (name.to_owned(), value.to_owned()));
        check_round_trip(&listing(&rendered(text, &values.into())));
    }
}

#[test]
fn the_examples_are_exported() {
    for name in ["article", "quickstart"] {
        let listing = example(name);
        check_round_trip(&listing);
        assert_eq!(export::check(&listing, Secrets::Inline, "x"), [], "{name}");
    }
    let export = export::from_resources(&example("article"), Secrets::Ref);
    assert_eq!(export.variables, ["CONSUMER_LABUBU_KEY"]);
}

#[test]
fn only_inline_shows_secrets() {
    let listing = listing(&rendered(WHOLE, &HashMap::new()));
    let secrets = [
        "sk-one-1",
        "sk-one-2",
        "sk-raw",
        "sk-deep",
        "ak-1",
        "sk-aws",
        "key-b1",
        "key-b2",
        "key-h",
        "key-q",
        "key-x",
        "sk-header",
        "sk-cookie",
    ];
    for mode in [Secrets::Ref, Secrets::Redact, Secrets::Inline] {
        let export = export::from_resources(&listing, mode);
        let text = format!("{}{:?}", yaml::render(&export.document), export);
        let shown = secrets.iter().filter(|secret| text.contains(**secret)).count();
        assert_eq!(shown, if mode == Secrets::Inline { secrets.len() } else { 0 }, "{text}");
    }
    let variables = export::from_resources(&listing, Secrets::Ref).variables;
    let expected = [
        "PROVIDER_ONE_TOKEN",
        "PROVIDER_ONE_TOKEN_2",
        "PROVIDER_ONE_SOME_API_KEY",
        "PROVIDER_ONE_PASSWORD",
        "PROVIDER_TWO_X_AWS_ACCESS_KEY",
        "PROVIDER_TWO_X_AWS_SECRET_KEY",
        "CONSUMER_BEARER_KEY",
        "CONSUMER_BEARER_KEY_2",
        "CONSUMER_HEADER_KEY",
        "CONSUMER_BOTH_BEARER_KEY",
        "ROUTE_FULL_AUTHORIZATION",
        "ROUTE_FULL_SET_COOKIE",
    ];
    for name in expected {
        assert!(variables.iter().any(|variable| variable == name), "{name}: {variables:?}");
    }
    assert_eq!(variables.len(), expected.len() + 1, "{variables:?}");
}

/// What `check` and the export say about the article with one file changed.
fn told(file: &str, from: &str, to: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/article");
    let mut files = Vec::new();
    below(&folder, &mut files);
    match files.iter_mut().find(|(path, _)| path == file) {
        Some((_, text)) => {
            assert!(text.contains(from), "{text}");
            *text = text.replace(from, to);
        }
        None => files.push((file.to_owned(), to.to_owned())),
    }
    let listing = listing_of(&files);
    let mut found = export::from_resources(&listing, Secrets::Inline).diagnostics;
    found.extend(export::check(&listing, Secrets::Inline, "x"));
    let lines: Vec<String> =
        found.iter().map(|d| format!("{} {}", d.severity, d.message)).collect();
    lines.join("\n")
}

#[test]
fn what_is_lost_is_told() {
    let check = |file: &str, from: &str, to: &str, expected: &str| {
        assert_eq!(told(file, from, to), expected, "{file}: {to}");
    };
    let ingress = "ingresses/ai-route-zimomo2lololo.internal.yaml";
    let record = "configmaps/ai-route-zimomo2lololo.yaml";
    let key_auth = "wasmplugins/key-auth.internal.yaml";
    let ai_proxy = "wasmplugins/ai-proxy.internal.yaml";
    let bridge = "mcpbridges/default.yaml";
    check(
        ingress,
        "    higress.io/destination:",
        "    higress.io/timeout: \"5\"\n    higress.io/destination:",
        "warning an intent has no `metadata.annotations[\"higress.io/timeout\"]` of Ingress ai-route-zimomo2lololo.internal",
    );
    check(
        ingress,
        "path: /v1",
        "path: /v2",
        "warning an intent gives another `spec.rules[0].http.paths[0].path` of Ingress ai-route-zimomo2lololo.internal",
    );
    check(
        record,
        "\"matchValue\": \"/v1\"",
        "\"matchValue\": \"/v1\", \"more\": 1",
        "warning an intent has no `data.data.pathPredicate.more` of ConfigMap ai-route-zimomo2lololo",
    );
    check(record, "\"name\":", "\"version\": \"5\", \"name\":", "");
    check(record, "\"PRE\"", "\"EQUAL\"", &told(record, "\"PRE\"", "\"EQUAL\""));
    assert!(told(record, "\"PRE\"", "\"EQUAL\"").contains("matchType` is not one of `PRE`"));
    check(
        key_auth,
        "keys: [Authorization]",
        "keys: [x-first, Authorization]",
        "warning an intent gives another `spec.defaultConfig.consumers[labubu].keys` of WasmPlugin key-auth.internal",
    );
    check(key_auth, "credentials: [\"Bearer 123456-xxx\"]", "credential: Bearer 123456-xxx", "");
    check(key_auth, "FAIL_OPEN", "FAIL_CLOSE", "");
    check(
        key_auth,
        "matchRules:",
        "matchRules:\n  - {domain: [other.com], config: {allow: [labubu]}}",
        "warning an intent has no `spec.matchRules[domain=other.com]` of WasmPlugin key-auth.internal",
    );
    check(
        ai_proxy,
        "type: openai",
        "type: openai\n      retryOnFailure: {enabled: true}",
        "warning an intent has no `spec.defaultConfig.providers[lololo].retryOnFailure` of WasmPlugin ai-proxy.internal",
    );
    check(
        bridge,
        "  registries:",
        "  proxies: [{name: p, type: HTTP}]\n  registries:\n  - {name: n, type: nacos2, domain: n.x.com, port: 80}",
        "warning an intent has no service sources of this type\nwarning an intent has no `spec.proxies[p]` of McpBridge default",
    );
    check(
        bridge,
        "port: 443",
        "port: 8443",
        "warning an intent gives another `spec.registries[llm-lololo.internal].port` of McpBridge default",
    );
    let other =
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: other}\nspec: {}\n";
    check(
        "ingresses/other.yaml",
        "",
        other,
        "warning Ingress other is not part of an intent and is not exported",
    );
    let tls = "apiVersion: v1\nkind: Secret\nmetadata: {name: tls}\ndata: {}\n";
    check(
        "secrets/tls.yaml",
        "",
        tls,
        "warning Secret tls is not part of an intent and is not exported",
    );
}

#[test]
fn a_secret_that_is_missing_stays_a_reference() {
    let from = "Bearer 123456-xxx";
    let key_auth = "wasmplugins/key-auth.internal.yaml";
    let to = "Bearer ${secret.keys.labubu}";
    assert_eq!(
        told(key_auth, from, to),
        "warning there is no Secret `keys` in the namespace `higress-system`"
    );
}

#[test]
fn a_key_in_a_url_is_not_written() {
    let text = "providers: [{name: a, type: openai, tokens: [t], rawConfigs: {openaiCustomUrl: 'https://a.example.com/v1?api_key=sk-url'}}]";
    let listing = listing(&rendered(text, &HashMap::new()));
    let export = export::from_resources(&listing, Secrets::Ref);
    assert!(!yaml::render(&export.document).contains("sk-url"));
    assert_eq!(export.diagnostics[0].severity, Severity::Error);
}

#[test]
fn a_reference_amid_a_text_stays() {
    let url = "https://${secret.k.host}/v1";
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/article");
    let mut files = Vec::new();
    below(&folder, &mut files);
    for (_, text) in &mut files {
        *text = text.replace("https://lololo.com/v1", url);
    }
    let secret =
        "kind: Secret\napiVersion: v1\nmetadata: {name: k}\nstringData: {host: lololo.com}\n";
    files.push(("secrets/k.yaml".to_owned(), secret.to_owned()));
    let listing = listing_of(&files);
    assert_eq!(export::check(&listing, Secrets::Inline, "x"), []);
    let inline = yaml::render(&export::from_resources(&listing, Secrets::Inline).document);
    assert!(inline.contains("https://lololo.com/v1"), "{inline}");
    let named = export::from_resources(&listing, Secrets::Ref);
    assert!(yaml::render(&named.document).contains(url));
    assert_eq!(named.diagnostics.len(), 1, "{:?}", named.diagnostics);
    // A URL with a reference leads nowhere, so this intent is not rendered.
    let errors = export::check(&listing, Secrets::Ref, "x");
    assert!(errors.iter().any(|found| found.severity == Severity::Error), "{errors:?}");
}
