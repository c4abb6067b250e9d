use penstock_manifest::listing::assemble;
use penstock_manifest::read::{FilePath, read_file};

use super::*;
use crate::compile::{Options, compile};

fn snapshot(text: &str) -> Snapshot {
    let listing = assemble([&read_file(&FilePath::standalone("all.yaml"), text)]);
    compile(&listing, &[], &Options::default()).snapshot
}

/// A configuration in a few words; what is not given is the same everywhere.
#[derive(Clone)]
struct Setup {
    routes: String,
    auth: String,
    other: String,
    endpoint: &'static str,
}

fn setup() -> Setup {
    Setup {
        routes: route("chat", "a.com", "/v1", "one.static:80"),
        auth: String::new(),
        other: String::new(),
        endpoint: "127.0.0.1:1",
    }
}

impl Setup {
    fn routes(mut self, routes: &[String]) -> Self {
        self.routes = routes.concat();
        self
    }

    /// key-auth with consumers `NAME=CREDENTIAL` and rules.
    fn auth(mut self, consumers: &str, rules: &str) -> Self {
        let consumers: Vec<String> = consumers
            .split_whitespace()
            .filter_map(|consumer| consumer.split_once('='))
            .map(|(name, key)| {
                let (key, more) = key.split_once('|').unwrap_or((key, ""));
                let more = more.replace('_', " ");
                format!("{{name: {name}, keys: [k], credential: 'c{key}'{more}}}")
            })
            .collect();
        self.auth = plugin(
            "key-auth",
            &format!("global_auth: false, consumers: [{}]", consumers.join(", ")),
            rules,
        );
        self
    }

    fn with(mut self, other: &str) -> Self {
        self.other += other;
        self
    }

    fn snapshot(&self) -> Snapshot {
        let Self { routes, auth, other, endpoint } = self;
        snapshot(&format!(
            "
apiVersion: networking.higress.io/v1
kind: McpBridge
metadata: {{name: default}}
spec:
  registries:
  - {{name: one, type: static, domain: '{endpoint}', port: 80}}
  - {{name: two, type: dns, domain: two.example.com, port: 443, protocol: https}}
---
{routes}{auth}{other}"
        ))
    }
}

fn route(name: &str, host: &str, path: &str, destination: &str) -> String {
    annotated(name, (host, path), destination, "")
}

fn annotated(name: &str, (host, path): (&str, &str), to: &str, annotations: &str) -> String {
    let host = if host == "*" { String::new() } else { format!("host: '{host}', ") };
    format!(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}, annotations: {{higress.io/destination: \"{to}\"{annotations}}}}}
spec:
  rules:
  - {{{host}http: {{paths: [{{path: {path}, pathType: Prefix, backend: {{resource: {{apiGroup: networking.higress.io, kind: McpBridge, name: default}}}}}}]}}}}
---
"
    )
}

fn plugin(name: &str, default: &str, rules: &str) -> String {
    format!(
        "
apiVersion: extensions.higress.io/v1alpha1
kind: WasmPlugin
metadata: {{name: {name}}}
spec:
  url: oci://x/{name}:1
  defaultConfig: {{{default}}}
  matchRules: [{rules}]
---
"
    )
}

const FOR_ADA: &str = "{ingress: [chat], config: {allow: [ada]}}";

#[track_caller]
fn check(before: &Setup, after: &Setup, expected: &str) {
    let traffic = compare(&before.snapshot(), &after.snapshot());
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let text = traffic.to_text();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert_eq!(lines, expected, "\n{text}");
    assert_eq!(traffic.is_empty(), text.is_empty());
}

#[test]
fn routes_come_go_and_lead_elsewhere() {
    let one = setup();
    check(&one, &one, "");
    let none = setup().routes(&[]);
    check(
        &none,
        &one,
        "routes:
         + chat (a.com Prefix /v1): for anybody, without a key; to one.static:80",
    );
    check(
        &one,
        &none,
        "routes:
         - chat (a.com Prefix /v1): for anybody, without a key; to one.static:80",
    );
    let split = "30% one.static:80\\n70% two.dns:443";
    check(
        &one,
        &setup().routes(&[route("chat", "a.com", "/v1", split)]),
        "routes:
         ~ chat (a.com Prefix /v1): to one.static:80 -> 30% to one.static:80, 70% to two.dns:443",
    );
    check(
        &one,
        &setup().routes(&[route("chat", "a.com", "/v1", "three.dns:443")]),
        "routes:
         ~ chat (a.com Prefix /v1): to one.static:80 -> to no service (503)",
    );
    let host = ", higress.io/upstream-vhost: up.com";
    check(
        &one,
        &setup().routes(&[annotated("chat", ("a.com", "/v1"), "one.static:80", host)]),
        "routes:
         ~ chat (a.com Prefix /v1): upstream host the client's -> `up.com`",
    );
    let header = ", higress.io/match-method: POST, higress.io/exact-match-header-x: my-secret, higress.io/prefix-match-header-x-higress-llm-model: gpt";
    check(
        &one,
        &setup().routes(&[annotated("chat", ("a.com", "/v1"), "one.static:80", header)]),
        "routes:
         - chat (a.com Prefix /v1): for anybody, without a key; to one.static:80
         + chat (a.com Prefix /v1, POST, header x = sha256:186ef76e9d6a, header x-higress-llm-model begins with `gpt`): for anybody, without a key; to one.static:80",
    );
    let elsewhere = Setup { endpoint: "127.0.0.1:2", ..setup() };
    check(
        &one,
        &elsewhere,
        "services:
         ~ one.static:80: http 127.0.0.1:1 -> http 127.0.0.1:2",
    );
}

#[test]
fn what_else_a_route_does_is_told() {
    let plain = setup().routes(&[annotated("chat", ("a.com", "/v1"), "one.static:80", "")]);
    let with = |annotations: &str| {
        setup().routes(&[annotated("chat", ("a.com", "/v1"), "one.static:80", annotations)])
    };
    let limited = with(", higress.io/whitelist-source-range: 10.0.0.0/8, higress.io/timeout: '5'");
    check(
        &plain,
        &limited,
        "routes:
         ~ chat (a.com Prefix /v1): now is only for 10.0.0.0/8; now gives up after 5 s",
    );
    check(
        &limited,
        &with(", higress.io/timeout: '5', higress.io/request-header-control-update: x-key hunter2"),
        "routes:
         ~ chat (a.com Prefix /v1): no longer is only for 10.0.0.0/8; \
         now sets x-key in requests",
    );
    let busy = with(
        ", higress.io/temporal-redirect: 'https://b.com/x', higress.io/route-limit-rps: '3', \
         higress.io/enable-cors: 'true', higress.io/proxy-next-upstream: http_502, \
         higress.io/rewrite-path: /api, higress.io/mirror-target-fqdn: one.static, \
         higress.io/ssl-redirect: 'true'",
    );
    check(
        &plain,
        &busy,
        "routes:
         ~ chat (a.com Prefix /v1): now takes 3 requests in 1 s, at most 15 at once; \
         now redirects to `https://b.com/x` with 302; now redirects to HTTPS; \
         now may be asked by pages of any origin; now repeats 502 3 times; \
         now rewrites `/v1` of the path to `/api`; now copies 100% to one.static:80",
    );
    check(&busy, &busy, "");
}

#[test]
fn a_time_for_all_routes_is_told_of_all() {
    let two = [route("chat", "a.com", "/v1", "one.static:80"), {
        let own = ", higress.io/timeout: '5'";
        annotated("own", ("a.com", "/own"), "one.static:80", own)
    }];
    let with = |seconds: u32| {
        setup().routes(&two).with(&format!(
            "
apiVersion: v1
kind: ConfigMap
metadata: {{name: higress-config, namespace: higress-system}}
data: {{higress: 'downstream: {{routeTimeout: {seconds}}}'}}
---
"
        ))
    };
    check(
        &with(0),
        &with(60),
        "routes:
         ~ chat (a.com Prefix /v1): now gives up after 60 s
         ~ own (a.com Prefix /own): no longer gives up after 5 s; now gives up after 60 s",
    );
    check(
        &with(60),
        &with(90),
        "routes:
         ~ chat (a.com Prefix /v1), own (a.com Prefix /own): \
         no longer gives up after 60 s; now gives up after 90 s",
    );
    check(&with(60), &with(60), "");
}

#[test]
fn a_fallback_is_told() {
    let filter = |change: (&str, &str)| {
        let text = include_str!("../../../penstock-manifest/src/kind/envoy_filter.yaml");
        assert!(text.contains(change.0), "{}", change.0);
        format!("{}\n---\n", text.replace(change.0, change.1))
    };
    let condition = ", higress.io/exact-match-header-x-higress-fallback-from: r";
    let routes = [
        route("r", "a.com", "/v1", "one.static:80"),
        annotated("other", ("a.com", "/v1"), "two.dns:443", condition),
    ];
    let without = setup().routes(&routes);
    let with = without.clone().with(&filter(("", "")));
    check(
        &without,
        &with,
        "routes:
         ~ r (a.com Prefix /v1): now falls back to other after 4xx, 5xx, with bodies up to 1024000 bytes",
    );
    let smaller = without.clone().with(&filter(("1024000", "10")));
    check(
        &with,
        &smaller,
        "routes:
         ~ r (a.com Prefix /v1): \
         no longer falls back to other after 4xx, 5xx, with bodies up to 1024000 bytes; \
         now falls back to other after 4xx, 5xx, with bodies up to 10 bytes",
    );
    let redirects = |count| filter(("redirects: 10", &format!("redirects: {count}")));
    let twice = without.clone().with(&redirects(2));
    check(
        &twice,
        &without.clone().with(&redirects(1)),
        "routes:
         ~ r (a.com Prefix /v1): \
         no longer falls back to other 2 times at most after 4xx, 5xx, with bodies up to 1024000 bytes; \
         now falls back to other once at most after 4xx, 5xx, with bodies up to 1024000 bytes",
    );
    check(&with, &without.clone().with(&redirects(3)), "");
    check(&with, &with, "");
}

#[test]
fn consumers_gain_and_lose_routes() {
    let of = |consumers: &str, rules: &str| {
        setup()
            .routes(&[
                route("chat", "a.com", "/v1", "one.static:80"),
                route("embed", "*", "/e", "two.dns:443"),
            ])
            .auth(consumers, rules)
    };
    let both = "{ingress: [chat], config: {allow: [ada]}}, {ingress: [embed], config: {allow: [ada, bob, nobody]}}";
    let before = of("ada=1 bob=2", both);
    check(&before, &of("bob=2 ada=1", both), "");
    check(
        &before,
        &of("ada=1 bob=2", &both.replace("[ada]", "[ada, bob]")),
        "consumers:
         ~ bob: may use chat (a.com Prefix /v1)",
    );
    check(
        &before,
        &of("ada=1 bob=2", &both.replace("ada, bob,", "")),
        "consumers:
         ~ ada, bob: may no longer use embed (* Prefix /e)",
    );
    check(
        &before,
        &of("ada=1 bob=2 nobody=3 cy=4", both),
        "consumers:
         + cy (new): no route more or less
         + nobody (new): may use embed (* Prefix /e)",
    );
    check(
        &before,
        &of("ada=1", both),
        "consumers:
         - bob (gone): may no longer use embed (* Prefix /e)",
    );
    check(
        &before,
        &of("ada=other bob=2", both),
        "consumers:
         ~ ada: credentials change",
    );
    let hash = "d0f631ca1ddba8db3bcfcb9e057cdc98d0379f1bee00e75a545147a27dadd982";
    let ends = format!("ada=1|,penstockExpiry:_{{'{hash}':_'9000-01-01T00:00:00Z'}} bob=2");
    check(
        &before,
        &of(&ends, &both.replace("[ada]", "[bob]")),
        "consumers:
         ~ ada: credentials change; may no longer use chat (a.com Prefix /v1)
         ~ bob: may use chat (a.com Prefix /v1)",
    );
}

#[test]
fn consumers_come_with_the_first_authentication_and_go_with_the_last() {
    let none = setup();
    let idle = setup().auth("ada=1 bob=2", "");
    let keyed = setup().auth("ada=1 bob=2", FOR_ADA);
    let before = &none.clone().routes(&[]);
    check(
        before,
        &keyed,
        "routes:
         + chat (a.com Prefix /v1): for ada; to one.static:80
         consumers:
         + ada (new): may use chat (a.com Prefix /v1)
         + bob (new): no route more or less",
    );
    check(
        &keyed,
        before,
        "routes:
         - chat (a.com Prefix /v1): for ada; to one.static:80
         consumers:
         - ada (gone): may no longer use chat (a.com Prefix /v1)
         - bob (gone): no route more or less",
    );
    // Whom an authentication knows that nothing asks for is not in a snapshot.
    check(
        &idle.clone().routes(&[]),
        &keyed,
        "routes:
         + chat (a.com Prefix /v1): for ada; to one.static:80
         consumers:
         ~ ada: may use chat (a.com Prefix /v1)",
    );
    check(&none, &idle, "");
}

#[test]
fn consumers_to_whom_the_same_happens_are_told_together() {
    let before = setup().auth("a=1 b=2 c=3 d=4 e=5 f=6 g=7", FOR_ADA);
    let everybody = FOR_ADA.replace("[ada]", "[a, b, c, d, e, f, g]");
    check(
        &before,
        &setup().auth("a=1 b=2 c=3 d=4 e=5 f=6 g=7", &everybody),
        "consumers:
         ~ a, b, c, d, e … and 2 more: may use chat (a.com Prefix /v1)",
    );
}

#[test]
fn routes_open_and_close() {
    let open = setup().auth("ada=1 bob=2", "");
    let keyed = setup().auth("ada=1 bob=2", FOR_ADA);
    check(
        &open,
        &keyed,
        "routes:
         ~ chat (a.com Prefix /v1): now needs a key: for ada",
    );
    check(
        &keyed,
        &open,
        "routes:
         ~ chat (a.com Prefix /v1): now open to anybody, without a key",
    );
    let broken = "{ingress: [chat], config: {allow: 5}}";
    check(
        &keyed,
        &setup().auth("ada=1 bob=2", broken),
        "routes:
         ~ chat (a.com Prefix /v1): now closed: plugin `key-auth` of WasmPlugin `key-auth` cannot run
         consumers:
         ~ ada: may no longer use chat (a.com Prefix /v1)",
    );
    let unknown = plugin("jwt-auth", "", "{ingress: [chat], config: {}}");
    check(
        &keyed,
        &setup().auth("ada=1 bob=2", FOR_ADA).with(&unknown),
        "routes:
         ~ chat (a.com Prefix /v1): now closed: plugin `jwt-auth` of WasmPlugin `jwt-auth` cannot run
         consumers:
         ~ ada: may no longer use chat (a.com Prefix /v1)",
    );
    check(
        &open.clone().with(&unknown),
        &open,
        "routes:
         ~ chat (a.com Prefix /v1): now open to anybody, without a key",
    );
    check(
        &keyed.clone().with(&unknown),
        &keyed,
        "routes:
         ~ chat (a.com Prefix /v1): no longer closed: for ada
         consumers:
         ~ ada: may use chat (a.com Prefix /v1)",
    );
    let mut everybody = keyed.clone();
    everybody.auth =
        keyed.auth.replace("global_auth: false", "global_auth: true").replace(FOR_ADA, "");
    check(
        &keyed,
        &everybody,
        "routes:
         ~ chat (a.com Prefix /v1): now for every consumer
         consumers:
         ~ bob: may use chat (a.com Prefix /v1)",
    );
    let mut more = everybody.clone();
    more.auth = everybody
        .auth
        .replace("consumers: [", "consumers: [{name: cy, keys: [k], credential: '3'}, ");
    check(
        &everybody,
        &more,
        "consumers:
         + cy (new): may use chat (a.com Prefix /v1)",
    );
    let mut anonymous = keyed.clone();
    anonymous.auth = plugin("key-auth", "global_auth: true, keys: [k], credentials: [x]", "");
    check(
        &keyed,
        &anonymous,
        "routes:
         ~ chat (a.com Prefix /v1): now for anybody with a key
         consumers:
         ~ ada: may no longer use chat (a.com Prefix /v1)",
    );
}

#[test]
fn providers_and_models_are_compared() {
    let with = |provider: &str, mapper: &str| {
        setup()
            .with(&plugin(
                "ai-proxy",
                &format!("providers: [{provider}]"),
                "{service: [one.static], config: {activeProviderId: p}}",
            ))
            .with(&plugin("model-mapper", mapper, ""))
    };
    let provider = "{id: p, type: openai, apiTokens: [hidden], modelMapping: {a: m, 'b*': o}}";
    let mapper = "modelMapping: {'*': z}";
    let before = with(provider, mapper);
    check(&before, &with(provider, mapper), "");
    check(
        &setup(),
        &before,
        "routes:
         ~ chat (a.com Prefix /v1): now with provider `p` (openai); models `a` -> `m`, `b*` -> `o`; now with model-mapper; models `*` -> `z`",
    );
    check(
        &before,
        &with(&provider.replace("hidden", "other"), mapper),
        "routes:
         ~ chat (a.com Prefix /v1): other settings of provider `p` change",
    );
    check(
        &before,
        &with("{modelMapping: {'b*': '', a: m}, apiTokens: [hidden], type: openai, id: p}", mapper),
        "routes:
         ~ chat (a.com Prefix /v1): models `b*` stays",
    );
    check(
        &before,
        &with(provider, "modelMapping: {c: d}"),
        "routes:
         ~ chat (a.com Prefix /v1): models `c` -> `d`, `*` not any more",
    );
    check(
        &before,
        &with("{id: p, type: qwen}", mapper),
        "routes:
         ~ chat (a.com Prefix /v1): now closed: plugin `ai-proxy` of WasmPlugin `ai-proxy` cannot run; no provider any more, instead of `p`",
    );
    check(
        &before,
        &setup(),
        "routes:
         ~ chat (a.com Prefix /v1): no provider any more, instead of `p`; no model-mapper any more",
    );
}

#[test]
fn a_router_by_model_is_compared() {
    let with = |config: &str| setup().with(&plugin("model-router", config, ""));
    check(
        &with("modelToHeader: x-model"),
        &with("addProviderHeader: x-provider"),
        "routes:
         ~ chat (a.com Prefix /v1): other settings of model-router change",
    );
}

#[test]
fn targets_are_told_apart() {
    let split = "50% one.static:80\\n50% two.dns:443";
    let of = |rules: &str| {
        setup().routes(&[route("chat", "a.com", "/v1", split)]).auth("ada=1 bob=2", rules)
    };
    let keyed = |one: &str, two: &str| {
        of(&format!(
            "{{ingress: [chat], service: [one.static], config: {{allow: [{one}]}}}}, {{ingress: [chat], service: [two.dns], config: {{allow: [{two}]}}}}"
        ))
    };
    check(&keyed("ada", "bob"), &keyed("bob", "ada"), "");
    check(
        &keyed("ada", "bob"),
        &keyed("ada", "ada"),
        "consumers:
         ~ bob: may no longer use chat (a.com Prefix /v1)",
    );
    let one = "{ingress: [chat], service: [one.static], config: {allow: [ada]}}";
    check(
        &keyed("ada", "bob"),
        &of(one),
        "routes:
         ~ chat (a.com Prefix /v1): now open to anybody, without a key",
    );
    let broken = "modelMapping: 5";
    check(
        &keyed("ada", "ada"),
        &keyed("ada", "ada").with(&plugin(
            "model-mapper",
            "",
            &format!("{{service: [two.dns], config: {{{broken}}}}}"),
        )),
        "routes:
         ~ chat (a.com Prefix /v1): two.dns:443: now closed: plugin `model-mapper` of WasmPlugin `model-mapper` cannot run",
    );
}

#[test]
fn hosts_with_configurations_of_their_own_are_told_apart() {
    let of = |host: &str, rules: &str| {
        setup().routes(&[route("chat", host, "/", "one.static:80")]).auth("ada=1", rules)
    };
    let rule = "{domain: [a.com, '*.b.com', 'c.*'], config: {allow: [ada]}}";
    check(
        &of("*", ""),
        &of("*", rule),
        "routes:
         ~ chat (*.b.com Prefix /), chat (a.com Prefix /), chat (c.* Prefix /): now needs a key: for ada",
    );
    check(
        &of("*.b.com", ""),
        &of("*.b.com", &rule.replace("a.com", "x.b.com").replace("*.b.com", "*.y.b.com")),
        "routes:
         ~ chat (*.y.b.com Prefix /), chat (c.*.b.com Prefix /), chat (x.b.com Prefix /): now needs a key: for ada",
    );
    check(
        &of("z.b.com", ""),
        &of("z.b.com", rule),
        "routes:
         ~ chat (z.b.com Prefix /): now needs a key: for ada",
    );
    check(
        &setup().routes(&[]).auth("ada=1", rule),
        &of("*", rule),
        "routes:
         + chat (* Prefix /): for anybody, without a key; to one.static:80
         + chat (*.b.com Prefix /), chat (a.com Prefix /), chat (c.* Prefix /): for ada; to one.static:80
         consumers:
         ~ ada: may use chat (*.b.com Prefix /), chat (a.com Prefix /), chat (c.* Prefix /)",
    );
}

#[test]
fn what_happens_to_many_is_counted() {
    let routes = |to: &dyn Fn(usize) -> String| -> Vec<String> {
        (0..60).map(|n| route(&format!("r{n:02}"), "a.com", &format!("/{n}"), &to(n))).collect()
    };
    let before = setup().routes(&routes(&|_| "one.static:80".to_owned()));
    check(
        &before,
        &setup().routes(&routes(&|_| "two.dns:443".to_owned())),
        "routes:
         ~ r00 (a.com Prefix /0), r01 (a.com Prefix /1), r02 (a.com Prefix /2), r03 (a.com Prefix /3), r04 (a.com Prefix /4) … and 55 more: to one.static:80 -> to two.dns:443",
    );
    let each = (0..60).map(|n| {
        let host = format!(", higress.io/upstream-vhost: up{n}.com");
        annotated(&format!("r{n:02}"), ("a.com", &format!("/{n}")), "one.static:80", &host)
    });
    let after = setup().routes(&each.collect::<Vec<_>>()).snapshot();
    let traffic = compare(&before.snapshot(), &after);
    let text = traffic.to_text();
    assert_eq!(text.lines().count(), 22, "{text}");
    assert!(text.ends_with("\n  … and 40 more\n"), "{text}");
    assert_eq!(traffic.to_json()["routes"].as_array().unwrap().len(), 60);
}

#[test]
fn a_configuration_that_is_closed_as_a_whole_says_so() {
    let broken = snapshot("kind: WasmPlugin\nspec: [");
    let traffic = compare(&setup().snapshot(), &broken);
    assert!(traffic.to_text().starts_with("everything is closed from now on: a document"));
    assert!(traffic.routes.is_empty());
    let traffic = compare(&broken, &snapshot(""));
    assert_eq!(traffic.to_text(), "not everything is closed any more\n");
    assert!(compare(&broken, &broken).is_empty());
}

#[test]
fn programs_get_everything() {
    let before = setup().auth("ada=1 bob=2", FOR_ADA).snapshot();
    let after = setup()
        .routes(&[route("new", "a.com", "/", "two.dns:443")])
        .auth("ada=other bob=2", "{ingress: [new], config: {allow: [bob]}}")
        .with(&plugin(
            "ai-proxy",
            "providers: [{id: p, type: openai, apiTokens: [hidden], modelMapping: {a: x}}], activeProviderId: p",
            "",
        ))
        .snapshot();
    let json = compare(&before, &after).to_json();
    let new =
        serde_json::json!({"name": "new", "host": "a.com", "path": "Prefix /", "conditions": ""});
    let old = serde_json::json!({"name": "chat", "host": "a.com", "path": "Prefix /v1", "conditions": ""});
    let expected = serde_json::json!({
        "closed": {"before": null, "after": null},
        "routes": [
            {
                "change": "vanishes", "route": old, "after": null,
                "before": {
                    "access": {"kind": "consumers", "consumers": ["ada"]},
                    "targets": [{"service": "one.static:80", "weight": 100, "closed": null, "plugins": []}],
                    "upstreamHost": null, "policy": [],
                },
                "what": ["for ada", "to one.static:80"],
            },
            {
                "change": "appears", "route": new, "before": null,
                "after": {
                    "access": {"kind": "consumers", "consumers": ["bob"]},
                    "targets": [{
                        "service": "two.dns:443", "weight": 100, "closed": null,
                        "plugins": [{
                            "plugin": "ai-proxy",
                            "provider": {"id": "p", "type": "openai"},
                            "models": {"a": "x"},
                        }],
                    }],
                    "upstreamHost": null, "policy": [],
                },
                "what": ["for bob", "to two.dns:443"],
            },
        ],
        "services": [],
        "toldByRoute": false,
        "consumers": [
            {"consumers": ["ada"], "presence": "stays", "credentialsChange": true, "gains": [], "loses": [old]},
            {"consumers": ["bob"], "presence": "stays", "credentialsChange": false, "gains": [new], "loses": []},
        ],
    });
    assert_eq!(json, expected, "{json:#}");
}

#[test]
fn who_may_use_each_route_is_listed() {
    let snapshot = setup()
        .routes(&[
            route("chat", "a.com", "/v1", "one.static:80"),
            route("open", "a.com", "/", "one.static:80"),
            route("wide", "*", "/w", "one.static:80"),
        ])
        .auth(
            "ada=1 bob=2",
            &format!("{FOR_ADA}, {{domain: [b.com], config: {{allow: [bob, x]}}}}"),
        )
        .snapshot();
    let listed: Vec<String> = access_of(&snapshot)
        .iter()
        .map(|access| {
            let allowed: Vec<&str> = ["ada", "bob", "x"]
                .into_iter()
                .filter(|name| access.audience.allows(name))
                .collect();
            format!("{}: {}: {}", access.route, access.audience.text(), allowed.join(" "))
        })
        .collect();
    assert_eq!(
        listed,
        [
            "chat (a.com Prefix /v1): ada: ada",
            "open (a.com Prefix /): anybody, without a key: ada bob x",
            "wide (* Prefix /w): anybody, without a key: ada bob x",
            "wide (b.com Prefix /w): bob: bob",
        ]
    );
}

#[test]
fn what_is_too_much_by_consumer_is_told_by_route() {
    let routes: Vec<String> = (0..110)
        .map(|n| route(&format!("r{n:03}"), "a.com", &format!("/{n}"), "one.static:80"))
        .collect();
    let consumers: Vec<String> = (0..1000).map(|n| format!("c{n:03}={n}")).collect();
    let with = |rule: &dyn Fn(usize) -> String| {
        let rules: Vec<String> = (0..110).map(rule).collect();
        setup().routes(&routes).auth(&consumers.join(" "), &rules.join(", ")).snapshot()
    };
    let before = with(&|n| format!("{{ingress: [r{n:03}], config: {{allow: [{}]}}}}", all_but(n)));
    let after = with(&|n| format!("{{ingress: [r{n:03}], config: {{allow: [c{n:03}]}}}}"));
    let traffic = compare(&before, &after);
    assert!(traffic.is_told_by_route);
    assert!(traffic.consumers.is_empty());
    assert_eq!(traffic.routes.len(), 110);
    let text = traffic.to_text();
    assert!(text.starts_with("routes:\n  ~ r000 (a.com Prefix /0): now for c000\n"), "{text}");
    assert!(text.ends_with("by consumer: see the routes\n"), "{text}");
    assert!(compare(&before, &before).is_empty());
}

fn all_but(one: usize) -> String {
    let names = (0..1000).filter(|n| *n != one).map(|n| format!("c{n:03}"));
    names.collect::<Vec<_>>().join(", ")
}

/// A certificate that signs others, valid until 2126.
const AUTHORITY: &str = "
apiVersion: v1
kind: Secret
metadata: {name: clients}
stringData:
  ca.crt: |
    -----BEGIN CERTIFICATE-----
    MIIBcDCCARWgAwIBAgIUSDxaxW75NlHNg9/8s3noi5Bv/RgwCgYIKoZIzj0EAwIw
    DDEKMAgGA1UEAwwBeDAgFw0yNjExMjMyMjU3NTVaGA8yMTI2MTAzMDIyNTc1NVow
    DDEKMAgGA1UEAwwBeDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABHVPESLjb/kO
    l8hRyXX5QjR9CzKGG9F+KhBaZ6tdgBVUDF3bxO4jBetXR2DClcCWav+yQbrjVuB3
    hMlGv/ffkQmjUzBRMB0GA1UdDgQWBBRSwzvfS1wKCTHsHBjD1eQ2BJqOKjAfBgNV
    HSMEGDAWgBRSwzvfS1wKCTHsHBjD1eQ2BJqOKjAPBgNVHRMBAf8EBTADAQH/MAoG
    CCqGSM49BAMCA0kAMEYCIQDuieFumC7qVF0NhcjTWsnp0o20DcgNIhje0R8G2a7V
    wAIhANuDb1iIFNaUaS922UCZFQ5h1utQITPJf6FCuA1GDHRo
    -----END CERTIFICATE-----
---
";

#[test]
fn what_tls_asks_for_is_a_change() {
    let with = |annotations: &str| {
        let route = annotated("chat", ("a.com", "/v1"), "one.static:80", annotations);
        setup().routes(&[route]).with(AUTHORITY)
    };
    let before = with("");
    check(
        &before,
        &with(", higress.io/auth-tls-secret: clients"),
        "routes:
         ~ chat (a.com Prefix /v1): now is only for clients with a certificate of Secret clients",
    );
    check(
        &before,
        &with(", higress.io/backend-protocol: HTTPS, higress.io/proxy-ssl-verify: 'off'"),
        "services:
         ~ one.static:80: http 127.0.0.1:1 -> https 127.0.0.1:1 (does not verify)",
    );
}
