//! Several tokens of a provider: which one is used, put aside, tried next.

use std::collections::BTreeSet;

use crate::support::upstream::Received;
use crate::support::*;

/// A harbor whose provider has tokens `t1` to `t3`, and more lines.
fn harbor(more: &str) -> Harbor {
    let change = |directory: &Directory| {
        directory.edit(
            "wasmplugins/ai-proxy.internal.yaml",
            "      apiTokens:\n      - sk-brook-2718\n",
            &format!("      apiTokens: [t1, t2, t3]\n{more}"),
        );
    };
    Harbor::served(Scenario::Completion, change, |serve| serve)
}

const RETRY: &str = "      retryOnFailure: {enabled: true, maxRetries: 2}\n";

fn token(received: &Received) -> String {
    received.header("authorization").unwrap().strip_prefix("Bearer ").unwrap().to_owned()
}

fn tokens(harbor: &Harbor, count: usize) -> Vec<String> {
    (0..count).map(|_| token(&harbor.upstream.received())).collect()
}

fn different(tokens: &[String]) -> usize {
    tokens.iter().collect::<BTreeSet<_>>().len()
}

#[test]
fn all_tokens_are_used() {
    let harbor = harbor("");
    let used: Vec<_> = (0..60)
        .map(|_| {
            assert_eq!(harbor.chat().status(), 200);
            token(&harbor.upstream.received())
        })
        .collect();
    assert_eq!(different(&used), 3, "{used:?}");
}

#[test]
fn a_request_that_is_refused_is_asked_again_with_another_token() {
    let harbor = harbor(RETRY);
    harbor.upstream.once(Scenario::Status(429, "{}"));
    harbor.upstream.once(Scenario::Status(401, "{}"));
    let answer = harbor.chat();
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let received: Vec<_> = (0..3).map(|_| harbor.upstream.received()).collect();
    let used: Vec<_> = received.iter().map(token).collect();
    assert_eq!(different(&used), 3, "{used:?}");
    for one in &received {
        assert_eq!(one.text(), received[0].text(), "the body is kept");
        assert_eq!(one.target(), received[0].target());
        assert_eq!(one.header("content-type"), received[0].header("content-type"));
        assert_eq!(one.header("x-request-id"), received[0].header("x-request-id"));
    }
    let line = harbor.gateway.access_log.of_request(&answer);
    let attempts = line["attempts"].as_array().unwrap();
    let statuses: Vec<_> = attempts.iter().map(|attempt| attempt["status"].as_u64()).collect();
    assert_eq!(statuses, [Some(429), Some(401), Some(200)]);
    let labels: BTreeSet<_> =
        attempts.iter().map(|attempt| attempt["token"].as_str().unwrap()).collect();
    assert_eq!(labels.len(), 3);
    assert!(!labels.iter().any(|label| ["t1", "t2", "t3"].contains(label)));
}

#[test]
fn a_broken_connection_is_no_answer() {
    let harbor = harbor(RETRY);
    harbor.upstream.once(Scenario::close());
    assert_eq!(harbor.chat().status(), 200);
    assert_eq!(different(&tokens(&harbor, 2)), 2);
}

#[test]
fn what_no_token_gets_is_told() {
    let harbor = harbor(RETRY);
    for _ in 0..3 {
        harbor.upstream.once(Scenario::Status(500, r#"{"error":"all"}"#));
    }
    let answer = harbor.chat();
    assert_eq!((answer.status(), answer.text().as_str()), (500, r#"{"error":"all"}"#));
    assert_eq!(different(&tokens(&harbor, 3)), 3);
    harbor.upstream.received_nothing();
}

#[test]
fn only_what_is_listed_is_asked_again() {
    let harbor = harbor("      retryOnFailure: {enabled: true, retryOnStatus: [\"429\"]}\n");
    harbor.upstream.once(Scenario::Status(400, "{}"));
    assert_eq!(harbor.chat().status(), 400);
    harbor.upstream.once(Scenario::Status(429, "{}"));
    harbor.upstream.once(Scenario::Status(429, "{}"));
    assert_eq!(harbor.chat().status(), 429, "once, if nothing is said");
}

#[test]
fn a_stream_is_tried_until_it_begins() {
    let harbor = harbor(RETRY);
    harbor.upstream.once(Scenario::Status(503, "{}"));
    let head = "Content-Type: text/event-stream\r\nConnection: close";
    harbor.upstream.once(Scenario::raw_then_close(head, "data: {\"a\":1}\n\n"));
    let answer = harbor.gateway.send(&chat());
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.text(), "data: {\"a\":1}\n\n");
    assert_eq!(different(&tokens(&harbor, 2)), 2);
}

#[test]
fn a_storm_of_failures_does_not_become_one_of_repetitions() {
    let harbor = harbor(RETRY);
    for _ in 0..400 {
        harbor.upstream.once(Scenario::Status(503, "{}"));
    }
    let begin = std::time::Instant::now();
    for _ in 0..100 {
        harbor.chat();
    }
    let seconds = begin.elapsed().as_secs_f64();
    let mut asked = 0;
    while harbor.upstream.try_received().is_some() {
        asked += 1;
    }
    // Ten at first, a fifth of what is asked, and ten in each second.
    let most = 100.0 + 10.0 + 20.0 + 10.0 * (seconds + 1.0);
    assert!(f64::from(asked) <= most, "{asked} attempts for 100 requests in {seconds} s");
    assert!(asked > 100, "some were repeated");
}

#[test]
fn a_token_is_put_aside_and_checked_until_it_is_good() {
    let failover = "      failover: {enabled: true, failureThreshold: 1, healthCheckModel: gpt-4o, \
                    healthCheckInterval: 300, failoverOnStatus: [\"401\"]}\n";
    let harbor = harbor(failover);
    harbor.upstream.once(Scenario::Status(401, "{}"));
    assert_eq!(harbor.chat().status(), 401);
    let bad = token(&harbor.upstream.received());
    harbor.upstream.once(Scenario::Status(401, "{}"));
    let check = harbor.upstream.received();
    assert_eq!(token(&check), bad, "only what is aside is checked");
    assert_eq!(check.target(), "/v1/chat/completions");
    let question: serde_json::Value = serde_json::from_str(check.text()).unwrap();
    assert_eq!(question["model"], "brook-large", "it is mapped");
    assert_eq!(question["messages"][0]["content"], "who are you?");
    assert_eq!(check.header("host"), Some("api.brook.test"));
    let again = harbor.upstream.received();
    assert_eq!(token(&again), bad, "it is still aside, and checked once more");
    let told = harbor.gateway.log.find(|line| line["message"] == "a token is back");
    let told = told.unwrap_or_else(|| panic!("{:?}", harbor.gateway.log.all()));
    assert_eq!(told["provider"], "brook");
    assert_ne!(told["token"], bad.as_str());
    let used: BTreeSet<_> = (0..60)
        .map(|_| {
            harbor.chat();
            token(&harbor.upstream.received())
        })
        .collect();
    assert!(used.contains(&bad));
}

#[test]
fn a_token_that_is_aside_stays_there_over_a_change() {
    let failover =
        "      failover: {enabled: true, failureThreshold: 1, cooldownDuration: 3600000}\n";
    let harbor = harbor(failover);
    harbor.upstream.once(Scenario::Status(500, "{}"));
    assert_eq!(harbor.chat().status(), 500);
    let bad = token(&harbor.upstream.received());
    harbor.gateway.reload(|| {
        let file = "wasmplugins/ai-proxy.internal.yaml";
        harbor.directory.edit(file, "gpt-*: brook-large", "\"*\": brook-small");
    });
    for _ in 0..30 {
        assert_eq!(harbor.chat().status(), 200);
        let received = harbor.upstream.received();
        assert!(received.text().contains("brook-small"), "{}", received.text());
        assert_ne!(token(&received), bad);
    }
}

#[test]
fn a_provider_that_asks_to_wait_is_left_alone_with_that_token() {
    let harbor = harbor("");
    let busy = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n";
    harbor.upstream.once(Scenario::Bytes(busy.into()));
    let answer = harbor.chat();
    assert_eq!((answer.status(), answer.header("retry-after")), (429, Some("30")));
    let busy = token(&harbor.upstream.received());
    for _ in 0..30 {
        assert_eq!(harbor.chat().status(), 200);
        assert_ne!(token(&harbor.upstream.received()), busy);
    }
}

/// The samples of a family, without its name and in their order.
fn samples(harbor: &Harbor, family: &str) -> Vec<String> {
    let metrics = harbor.gateway.metrics();
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(family)?.strip_prefix('{'));
    lines.map(str::to_owned).collect()
}

#[test]
fn every_attempt_is_counted() {
    let harbor = harbor(
        "      retryOnFailure: {enabled: true, maxRetries: 2}\n      \
         failover: {enabled: true, failureThreshold: 1, cooldownDuration: 3600000}\n",
    );
    harbor.upstream.once(Scenario::Status(429, "{}"));
    harbor.upstream.once(Scenario::close());
    assert_eq!(harbor.chat().status(), 200);
    let used = tokens(&harbor, 3);
    let attempts = samples(&harbor, "penstock_provider_token_attempts_total");
    let outcomes: BTreeSet<_> =
        attempts.iter().map(|line| line.split_once("outcome=").unwrap().1).collect();
    let expected = ["\"2xx\"} 1", "\"4xx\"} 1", "\"upstream_closed\"} 1"];
    assert_eq!(outcomes, BTreeSet::from(expected), "{attempts:?}");
    let labels: BTreeSet<_> =
        attempts.iter().map(|line| line.split_once(",outcome=").unwrap().0).collect();
    assert_eq!(labels.len(), 3, "{attempts:?}");
    let refused = attempts.iter().find(|line| line.contains("4xx")).unwrap();
    let refused = refused.split_once(",outcome").unwrap().0;
    assert_eq!(
        samples(&harbor, "penstock_provider_token_asides_total"),
        [format!("{refused}}} 1")]
    );
    let fit = samples(&harbor, "penstock_provider_token_fit");
    assert_eq!(fit.len(), 3);
    for line in fit {
        let expected = if line.starts_with(refused) { "0" } else { "1" };
        assert_eq!(line.rsplit_once(' ').unwrap().1, expected, "{line}");
    }
    let retries = samples(&harbor, "penstock_service_retries_total");
    assert_eq!(retries.len(), 1, "{retries:?}");
    assert!(retries[0].ends_with("result=\"made\"} 2"), "{retries:?}");
    let told = format!("{} {}", harbor.gateway.metrics(), harbor.gateway.status());
    assert!(!used.iter().any(|token| told.contains(&format!("\"{token}\""))), "no token is told");
}

#[test]
fn the_status_says_how_tokens_stand() {
    let failover = "      failover: {enabled: true, failureThreshold: 1, healthCheckModel: gpt-4o, \
                    healthCheckInterval: 300, failoverOnStatus: [\"401\"]}\n";
    let harbor = harbor(failover);
    let providers = || harbor.gateway.status()["providers"].clone();
    let before = providers();
    assert_eq!((&before[0]["id"], &before[0]["type"]), (&"brook".into(), &"openai".into()));
    let fresh = serde_json::json!({
        "token": before[0]["tokens"][0]["token"], "fit": true, "failures": 0,
        "aside_since": null, "waits_until": null, "last_check": null,
    });
    assert_eq!(before[0]["tokens"][0], fresh);
    assert_eq!(before[0]["tokens"].as_array().unwrap().len(), 3);
    harbor.upstream.once(Scenario::Status(401, "{}"));
    assert_eq!(harbor.chat().status(), 401);
    harbor.upstream.received();
    let steps = harbor.upstream.stepped();
    let aside = |providers: &serde_json::Value| -> Vec<serde_json::Value> {
        let tokens = providers[0]["tokens"].as_array().unwrap();
        tokens.iter().filter(|token| token["fit"] == false).cloned().collect()
    };
    let [one] = &aside(&providers())[..] else { panic!("{}", providers()) };
    assert!(one["aside_since"].as_str().unwrap().ends_with('Z'), "{one}");
    harbor.upstream.received();
    steps.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    eventually("it comes back", || aside(&providers()).is_empty().then_some(()));
    let after = providers();
    let back = after[0]["tokens"].as_array().unwrap().iter().find(|t| t["token"] == one["token"]);
    let back = back.unwrap();
    assert_eq!(back["last_check"]["passed"], true, "{back}");
    assert!(back["last_check"]["at"].as_str() >= one["aside_since"].as_str(), "{back}");
    let checks = samples(&harbor, "penstock_provider_token_checks_total");
    assert_eq!(checks.len(), 1, "{checks:?}");
    assert!(checks[0].ends_with("result=\"passed\"} 1"), "{checks:?}");
}

#[test]
fn one_token_that_is_never_put_aside_has_no_series() {
    let harbor = Harbor::served(Scenario::Completion, |_| {}, |serve| serve);
    assert_eq!(harbor.chat().status(), 200);
    assert!(samples(&harbor, "penstock_provider_token_fit").is_empty());
    assert_eq!(harbor.gateway.status()["providers"], serde_json::json!([]));
}
