use http::HeaderValue;
use serde_json::json;

use super::*;

fn provider(tokens: &[&str], failover: serde_json::Value) -> Arc<dyn Provider> {
    let config = json!({"id": "p", "type": "openai", "apiTokens": tokens, "failover": failover});
    penstock_llm::provider::build(config.as_object().unwrap()).unwrap().provider
}

fn keyring(tokens: &[&str], failover: serde_json::Value) -> Arc<Keyring> {
    Keyring::new(&provider(tokens, failover)).unwrap()
}

fn host() -> Arc<str> {
    "s.static".into()
}

fn chosen(keyring: &Keyring, tried: &[usize]) -> Vec<usize> {
    let mut found: Vec<_> = (0..20).filter_map(|roll| keyring.choose(None, tried, roll)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn note(keyring: &Keyring, at: usize, status: u16) -> bool {
    let status = StatusCode::from_u16(status).unwrap();
    keyring.note(at, (status, &HeaderMap::new()), (&host(), 80))
}

#[test]
fn a_token_that_fails_is_put_aside_and_comes_back() {
    let failover = json!({"enabled": true, "healthCheckModel": "m", "failureThreshold": 2, "successThreshold": 2});
    let keyring = keyring(&["a", "b", "c"], failover);
    assert_eq!(chosen(&keyring, &[]), [0, 1, 2]);
    assert!(!note(&keyring, 1, 500));
    assert!(!note(&keyring, 1, 200), "a success begins the count anew");
    assert!(!note(&keyring, 1, 500));
    assert!(!note(&keyring, 1, 304), "what is no failure counts as nothing");
    assert!(note(&keyring, 1, 429));
    assert!(!note(&keyring, 1, 429), "it is aside already");
    assert_eq!(chosen(&keyring, &[]), [0, 2]);
    assert_eq!(keyring.tokens()[1].checked_at(), Some(("s.static".into(), 80)));
    let failover = keyring.provider().failover().unwrap();
    assert!(!keyring.tokens()[1].note_check(failover, true));
    assert!(!keyring.tokens()[1].note_check(failover, false));
    assert!(!keyring.tokens()[1].note_check(failover, true));
    assert!(keyring.tokens()[1].note_check(failover, true));
    assert_eq!(chosen(&keyring, &[]), [0, 1, 2]);
}

#[test]
fn without_a_fit_token_one_is_tried_all_the_same() {
    let failover = json!({"enabled": true, "healthCheckModel": "m", "failureThreshold": 1});
    let keyring = keyring(&["a", "b"], failover);
    note(&keyring, 0, 401);
    note(&keyring, 1, 401);
    assert_eq!(chosen(&keyring, &[]), [0, 1]);
    assert!(chosen(&keyring, &[0]).is_empty(), "but not to repeat");
}

#[test]
fn a_token_comes_back_after_its_time() {
    let failover = json!({"enabled": true, "cooldownDuration": 1000, "failureThreshold": 1});
    let keyring = keyring(&["a"], failover);
    let failover = keyring.provider().failover().unwrap();
    let token = &keyring.tokens()[0];
    assert!(token.fail(failover, (&host(), 80), 5000));
    assert!(token.is_out(failover, 5999));
    assert!(!token.is_out(failover, 6000));
    assert!(!token.is_out(failover, 5000), "it is back for good");
}

#[test]
fn a_provider_that_asks_to_wait_is_heard() {
    let keyring = keyring(&["a", "b", "c"], serde_json::Value::Null);
    let mut headers = HeaderMap::new();
    headers.insert(RETRY_AFTER, HeaderValue::from_static("30"));
    keyring.note(0, (StatusCode::SERVICE_UNAVAILABLE, &headers), (&host(), 80));
    assert_eq!(chosen(&keyring, &[]), [0, 1, 2], "that is about all of them");
    keyring.note(0, (StatusCode::TOO_MANY_REQUESTS, &headers), (&host(), 80));
    assert_eq!(chosen(&keyring, &[]), [1, 2]);
    assert_eq!(chosen(&keyring, &[1]), [2]);
    headers.insert(RETRY_AFTER, HeaderValue::from_static("20"));
    keyring.note(1, (StatusCode::TOO_MANY_REQUESTS, &headers), (&host(), 80));
    headers.insert(RETRY_AFTER, HeaderValue::from_static("40"));
    keyring.note(2, (StatusCode::TOO_MANY_REQUESTS, &headers), (&host(), 80));
    assert_eq!(chosen(&keyring, &[]), [1], "the soonest");
    assert!(chosen(&keyring, &[1]).is_empty());
}

#[test]
fn a_consumer_keeps_its_token_while_that_is_fit() {
    let keyring = keyring(
        &["a", "b", "c"],
        json!({"enabled": true, "healthCheckModel": "m", "failureThreshold": 1}),
    );
    let of = |roll| keyring.choose(Some("ann"), &[], roll).unwrap();
    let own = of(0);
    assert!((0..20).all(|roll| of(roll) == own));
    note(&keyring, own, 401);
    assert!((0..20).all(|roll| of(roll) != own));
}

#[test]
fn waiting_is_told_in_two_ways() {
    let check = |value: &str, expected: Option<u64>| {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(value).unwrap())]);
        assert_eq!(retry_after(&headers).map(|wait| wait.as_secs()), expected, "{value}");
    };
    check("7", Some(7));
    check(" 0 ", Some(0));
    check("Thu, 01 Jan 1970 00:00:00 GMT", Some(0));
    check("soon", None);
    check("-1", None);
    check("", None);
}

#[test]
fn what_is_known_outlives_a_configuration() {
    let tokens = Tokens::default();
    let failover = json!({"enabled": true, "healthCheckModel": "m", "failureThreshold": 1});
    let before = keyring(&["a", "b"], failover.clone());
    tokens.bind(&before);
    note(&before, 1, 401);
    let after = keyring(&["b", "c"], failover.clone());
    tokens.bind(&after);
    assert_eq!(chosen(&after, &[]), [1]);
    assert_eq!(after.tokens()[0].label, before.tokens()[1].label);
    drop((before, after));
    tokens.forget_unused();
    let anew = keyring(&["b"], failover);
    tokens.bind(&anew);
    assert!(!anew.tokens()[0].is_out(anew.provider().failover().unwrap(), now_ms()));
}

#[test]
fn waiting_is_known_to_all_who_have_the_token() {
    let tokens = Tokens::default();
    let both = [(); 2].map(|()| keyring(&["a", "b"], serde_json::Value::Null));
    both.iter().for_each(|keyring| tokens.bind(keyring));
    let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("30"))]);
    both[0].note(0, (StatusCode::TOO_MANY_REQUESTS, &headers), (&host(), 80));
    assert_eq!(both.each_ref().map(|keyring| chosen(keyring, &[])), [[1], [1]]);
    let after = keyring(&["b", "a"], serde_json::Value::Null);
    tokens.bind(&after);
    assert_eq!(chosen(&after, &[]), [0]);
}

#[test]
fn a_label_says_nothing_of_the_token() {
    let keyring = keyring(&["sk-secret-token", "b"], serde_json::Value::Null);
    let label = &keyring.tokens()[0].label;
    assert_eq!(label.len(), 2 * LABEL_BYTES);
    assert!(!label.contains("secret"));
}

#[test]
fn repetitions_have_a_budget() {
    let budget = RetryBudget::default();
    let taken = (0..100).filter(|_| budget.withdraw(1)).count();
    assert_eq!(taken, 10, "at first");
    (0..50).for_each(|_| budget.deposit());
    assert_eq!((0..100).filter(|_| budget.withdraw(1)).count(), 10, "a fifth");
    assert_eq!((0..100).filter(|_| budget.withdraw(1001)).count(), 10, "ten a second");
    (0..10_000).for_each(|_| budget.deposit());
    assert_eq!((0..1000).filter(|_| budget.withdraw(1001)).count(), 100, "no more is saved up");
}
