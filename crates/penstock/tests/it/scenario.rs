//! The scenario of the article, corrected: zimomo.com is served by lololo.com
//! to the consumer labubu. A name server, an upstream that wants TLS and an
//! authority stand in for the world.

use std::net::Ipv4Addr;

use crate::support::certificates::Authority;
use crate::support::dns::{Dns, Record};
use crate::support::upstream::{COMPLETION, EVENT_STREAM};
use crate::support::*;

const DOMAIN: &str = "zimomo.com";
const KEY: &str = "123456-xxx";
const OTHER_KEY: &str = "999";
const CHAT_PATH: &str = "/v1/chat/completions";

struct Article {
    upstream: Upstream,
    gateway: Gateway,
    _directory: Directory,
    _dns: Dns,
}

fn manifests(port: u16) -> Vec<(String, String)> {
    let ai_proxy = Plugin::ai_proxy()
        .field("failStrategy", "FAIL_OPEN")
        .default_config("{providers: [{id: lololo, type: openai, protocol: openai, openaiCustomUrl: \"https://lololo.com/v1\", apiTokens: [sk-lololo], modelMapping: {}}]}")
        .rule("{service: [llm-lololo.internal.dns], config: {activeProviderId: lololo}, configDisable: false}");
    let key_auth = Plugin::key_auth()
        .field("failStrategy", "FAIL_OPEN")
        .default_config("{global_auth: false, keys: [x-higress-dummy-key], consumers: [{name: labubu, keys: [Authorization], in_header: true, in_query: false, credentials: [Bearer 123456-xxx]}, {name: other, keys: [Authorization], in_header: true, in_query: false, credential: Bearer 999}]}")
        .rule("{ingress: [ai-route-zimomo2lololo.internal], config: {allow: [labubu]}, configDisable: false}");
    let ingress = Ingress::new("ai-route-zimomo2lololo.internal")
        .at(DOMAIN, "Prefix", "/v1")
        .to("llm-lololo.internal.dns:PORT".replace("PORT", &port.to_string()).as_str())
        .without_annotation("upstream-vhost");
    let config_map = |name: &str, data: &str| {
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: higress-system}}\ndata:\n{data}"
        );
        (format!("configmaps/{name}.yaml"), text)
    };
    let registry = dns_registry("llm-lololo.internal", "lololo.com", port, ", protocol: https");
    vec![
        ("mcpbridges/default.yaml".to_owned(), bridge(&[registry])),
        ai_proxy.file(),
        key_auth.file(),
        ingress.file(),
        config_map("domain-zimomo.com", "  domain: zimomo.com\n  enableHttps: \"off\"\n"),
        config_map(
            "ai-route-zimomo2lololo",
            "  data: '{\"name\":\"zimomo2lololo\",\"domains\":[\"zimomo.com\"],\"upstreams\":[{\"provider\":\"lololo\",\"weight\":100}],\"authConfig\":{\"enabled\":true,\"allowedConsumers\":[\"labubu\"]}}'\n",
        ),
    ]
}

impl Article {
    fn start(scenario: Scenario) -> Self {
        let authority = Authority::new();
        let upstream = Upstream::start_tls(scenario, authority.server(&["lololo.com"]));
        let dns = Dns::start();
        dns.set("lololo.com", Record::Addresses(vec![Ipv4Addr::LOCALHOST], 60));
        let directory = Directory::new().holding(manifests(upstream.address.port()));
        let gateway = Serve::new(directory.path())
            .with("--dns", dns.address)
            .with("--upstream-ca", authority.write_to(directory.path()).display())
            .start();
        Self { upstream, gateway, _directory: directory, _dns: dns }
    }

    #[track_caller]
    fn check(&self, request: &Request, expected: u16) {
        assert_eq!(self.gateway.send(request).status(), expected);
    }
}

#[test]
fn a_chat_request_gets_the_answer_of_the_provider() {
    let article = Article::start(Scenario::Completion);
    let answer = article.gateway.send(&Request::post(DOMAIN, CHAT_PATH, CHAT).key(KEY));
    assert_eq!((answer.status(), answer.text().as_str()), (200, COMPLETION));
    assert_eq!(answer.header("content-type"), Some("application/json"));

    let received = article.upstream.received();
    assert_eq!(received.server_name.as_deref(), Some("lololo.com"));
    assert_eq!(received.line, "POST /v1/chat/completions HTTP/1.1");
    assert_eq!(received.header("host"), Some("lololo.com"));
    assert_eq!(received.header("authorization"), Some("Bearer sk-lololo"));
    assert_eq!(received.header("x-mse-consumer"), Some("labubu"));
    assert_eq!(received.text(), CHAT);
}

#[test]
fn a_streamed_chat_request_gets_event_after_event() {
    let article = Article::start(Scenario::Completion);
    let steps = article.upstream.stepped();
    let body = r#"{"model":"m","stream":true,"messages":[]}"#;
    let mut client = article.gateway.begin(&Request::post(DOMAIN, CHAT_PATH, body).key(KEY));
    steps.write(EVENT_STREAM);
    let head = client.head();
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    for event in ["data: {\"delta\":\"a\"}\n\n", "data: {\"delta\":\"ye\"}\n\n", "data: [DONE]\n\n"]
    {
        steps.chunk(event);
        assert_eq!(client.chunk(), Chunk::data(event));
    }
    steps.finish();
    assert_eq!(client.chunk(), Chunk::Last);
}

#[test]
fn who_may_not_pass_does_not() {
    let article = Article::start(Scenario::Completion);
    let chat = || Request::post(DOMAIN, CHAT_PATH, CHAT);
    article.check(&chat(), 401);
    article.check(&chat().key("wrong"), 401);
    article.check(&chat().header("Authorization", KEY), 401);
    article.check(&chat().header("Authorization", "bearer 123456-xxx"), 401);
    article.check(&chat().header("Authorization", "Bearer  123456-xxx"), 401);
    article.check(
        &Request::post(DOMAIN, "/v1/chat/completions?Authorization=Bearer%20123456-xxx", CHAT),
        401,
    );
    article.check(&chat().key(OTHER_KEY), 403);
    article.upstream.received_nothing();
    article.check(&chat().header("X-HI-ORIGINAL-AUTH", "Bearer 123456-xxx"), 200);
}

#[test]
fn what_no_route_serves_is_404() {
    let article = Article::start(Scenario::Completion);
    for path in ["/", "/v1beta", "/v1beta/models", "/v2/chat/completions", "/V1/chat/completions"] {
        article.check(&Request::post(DOMAIN, path, CHAT).key(KEY), 404);
    }
    for host in ["lololo.com", "www.zimomo.com", "zimomo.com.evil.test", "127.0.0.1"] {
        article.check(&Request::post(host, CHAT_PATH, CHAT).key(KEY), 404);
    }
    article.upstream.received_nothing();
    article.check(&Request::post(DOMAIN, "/v1", CHAT).key(KEY), 200);
}
