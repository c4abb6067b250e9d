//! Plugins beside authentication and ai-proxy, in the scenario: routing and
//! mapping by model, statistics, references to Secrets.

use crate::support::*;

const CHAT_PATH: &str = "/v1/chat/completions";
const USED: &str = r#"{"id":"c1","model":"brook-large","choices":[{"message":{"content":"aye"}}],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}"#;

fn model_router(config: &str) -> Plugin {
    Plugin::new("model-router.internal", "model-router")
        .field("phase", "AUTHN")
        .field("priority", "900")
        .default_config(config)
}

fn statistics(config: &str) -> Plugin {
    Plugin::new("ai-statistics.internal", "ai-statistics")
        .field("priority", "900")
        .default_config(config)
}

/// The scenario with its route only for models that begin with `deep/`, and
/// these plugins besides.
fn by_model(plugins: &[Plugin]) -> Harbor {
    Harbor::changed(Scenario::Completion, |directory| {
        directory.edit(
            "ingresses/ai-route-pier.internal.yaml",
            "  annotations:\n",
            "  annotations:\n    higress.io/prefix-match-header-x-higress-llm-model: deep/\n",
        );
        for plugin in plugins {
            let (file, text) = plugin.file();
            directory.write(&file, text);
        }
    })
}

fn ask(model: &str) -> Request {
    let body = format!(r#"{{"model":"{model}","messages":[]}}"#);
    Request::post(HOST, CHAT_PATH, body).key(HERON_KEY)
}

#[test]
fn a_model_finds_its_route_and_a_header_does_not() {
    let harbor = by_model(&[model_router("{modelToHeader: x-higress-llm-model}")]);
    let status = |request: &Request| harbor.gateway.send(request).status();
    assert_eq!(status(&ask("deep/blue")), 200);
    let received = harbor.upstream.received();
    assert_eq!(received.header("x-higress-llm-model"), Some("deep/blue"));
    assert_eq!(received.text(), r#"{"model":"deep/blue","messages":[]}"#);
    assert_eq!(status(&ask("other")), 404);
    let spoof = |request: Request| request.header("x-higress-llm-model", "deep/blue");
    assert_eq!(status(&spoof(ask("other"))), 404);
    assert_eq!(status(&spoof(Request::get(HOST, "/v1/models").key(HERON_KEY))), 404);
    // The route that the model leads to still asks who is there.
    let anonymous = Request::post(HOST, CHAT_PATH, r#"{"model":"deep/blue"}"#);
    assert_eq!(status(&anonymous), 401);
    harbor.upstream.received_nothing();
}

#[test]
fn a_route_that_is_found_late_still_authenticates() {
    // Behind key-auth, which has seen no route by then.
    let late = Plugin::new("model-router.internal", "model-router")
        .field("phase", "STATS")
        .default_config("{modelToHeader: x-higress-llm-model}");
    let harbor = by_model(&[late]);
    let status = |request: &Request| harbor.gateway.send(request).status();
    let anonymous = Request::post(HOST, CHAT_PATH, r#"{"model":"deep/blue"}"#);
    assert_eq!(status(&anonymous), 401);
    harbor.upstream.received_nothing();
    assert_eq!(status(&ask("deep/blue")), 200);
}

#[test]
fn router_mapper_and_provider_change_one_body_in_turn() {
    let mapper = Plugin::new("model-mapper.internal", "model-mapper")
        .field("phase", "AUTHN")
        .field("priority", "800")
        .rule("{ingress: [ai-route-pier.internal], config: {modelMapping: {blue: gpt-9}}}");
    let router =
        model_router("{modelToHeader: x-higress-llm-model, addProviderHeader: x-higress-provider}");
    let harbor = by_model(&[router, mapper]);
    let answer = harbor.gateway.send(&ask("deep/blue"));
    assert_eq!(answer.status(), 200);
    let received = harbor.upstream.received();
    assert_eq!(received.text(), r#"{"model":"brook-large","messages":[]}"#);
    assert_eq!(received.header("x-higress-provider"), Some("deep"));
    assert_eq!(received.header("x-higress-llm-model-final"), Some("gpt-9"));
    let length = received.body.len().to_string();
    assert_eq!(received.header("content-length"), Some(length.as_str()));
    let line = harbor.gateway.access_log.of_request(&answer);
    assert_eq!(
        (&line["model"], &line["upstream_model"]),
        (&"deep/blue".into(), &"brook-large".into())
    );
}

#[test]
fn statistics_reach_the_log_and_the_metrics() {
    let head = format!("Content-Type: application/json\r\nContent-Length: {}", USED.len());
    let harbor = Harbor::changed(Scenario::raw(&head, USED), |directory| {
        let (file, text) = statistics(
            "{attributes: [{key: answer, apply_to_log: true}, {key: question, apply_to_log: true}]}",
        )
        .file();
        directory.write(&file, text);
    });
    let answer = harbor.chat();
    assert_eq!((answer.status(), answer.text().as_str()), (200, USED));
    assert_eq!(answer.header("content-length"), Some(USED.len().to_string().as_str()));
    let line = harbor.gateway.access_log.of_request(&answer);
    let log = &line["ai_log"];
    assert_eq!((&log["question"], &log["answer"]), (&"ahoy".into(), &"aye".into()));
    assert_eq!((&log["chat_round"], &log["total_token"]), (&1.into(), &7.into()));
    assert_eq!(line["total_tokens"], 7);
    let expected = format!(
        "route_upstream_model_consumer_metric_total_token{{ai_route=\"{ROUTE}\",ai_cluster=\"outbound|80||llm-brook.internal.static\",ai_model=\"brook-large\",ai_consumer=\"{HERON}\"}} 7\n"
    );
    eventually("the counters", || harbor.gateway.metrics().contains(&expected).then_some(()));
}

#[test]
fn statistics_hold_no_byte_of_a_stream_back() {
    let harbor = Harbor::changed(Scenario::Completion, |directory| {
        let (file, text) = statistics("{use_default_attributes: true}").file();
        directory.write(&file, text);
    });
    let steps = harbor.upstream.stepped();
    let mut client = harbor.gateway.begin(&chat());
    steps.write(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    assert_eq!(client.head().status, 200);
    // Half an event is passed on as it comes.
    for piece in
        ["data: {\"choices\":[{\"del", "ta\":{\"content\":\"aye\"}}]}\n", "\ndata: [DO", "NE]\n\n"]
    {
        steps.chunk(piece);
        assert_eq!(client.chunk(), Chunk::data(piece));
    }
    steps.finish();
    assert_eq!(client.chunk(), Chunk::Last);
    let line = harbor.gateway.access_log.find(|line| line["ai_log"]["answer"] == "aye").unwrap();
    assert_eq!(line["ai_log"]["response_type"], "stream");
}

#[test]
fn references_to_secrets_are_used_and_never_shown() {
    const VALUE: &str = "sk-from-a-secret";
    let secret = |data: &str| {
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: tokens}}\ndata: {{{data}}}\n")
    };
    // The base64 of VALUE.
    let good = secret("brook: c2stZnJvbS1hLXNlY3JldA==");
    let harbor = Harbor::changed(Scenario::Completion, |directory| {
        directory.edit("wasmplugins/ai-proxy.internal.yaml", TOKEN, "${secret.tokens.brook}");
        directory.write("secrets/tokens.yaml", &good);
    });
    assert_eq!(harbor.chat().status(), 200);
    let authorization = format!("Bearer {VALUE}");
    assert_eq!(harbor.upstream.received().header("authorization"), Some(authorization.as_str()));
    let kept = || harbor.directory.read(".penstock/last-good.yaml");
    let kept = eventually("the last good set", || {
        harbor.directory.file(".penstock/last-good.yaml").exists().then(kept)
    });
    assert!(kept.contains("${secret.tokens.brook}") && !kept.contains(VALUE), "{kept}");

    harbor.gateway.reload(|| harbor.directory.replace("secrets/tokens.yaml", secret("brok: eA==")));
    assert_eq!(harbor.chat().status(), 503);
    let findings = harbor.gateway.findings();
    let finding = findings.iter().find(|finding| finding["code"] == "PS213").unwrap();
    assert_eq!(finding["path"], "spec.defaultConfig.providers[0].apiTokens[0]");
    assert_eq!(finding["hint"], "did you mean `brok`?");
    let shown = [harbor.gateway.status().to_string(), harbor.gateway.log.all().concat()].concat();
    assert!(!shown.contains(VALUE), "{shown}");
    harbor.gateway.reload(|| harbor.directory.replace("secrets/tokens.yaml", &good));
    assert_eq!(harbor.chat().status(), 200);
}
