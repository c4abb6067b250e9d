//! key-auth: where a key is looked for, whom it names, and who may pass.

use crate::support::site::*;
use crate::support::*;

/// A request to `pier` with something added.
fn with_header(name: &str, value: &str) -> Request {
    Request::get("pier.test", "/").header(name, value)
}

fn with_query(query: &str) -> Request {
    Request::get("pier.test", &format!("/?{query}"))
}

fn nobody() -> Request {
    Request::get("pier.test", "/")
}

/// key-auth that covers `pier` with an allow list.
fn guard(config: &str, allow: &str) -> Plugin {
    Plugin::key_auth()
        .default_config(config)
        .rule(&format!("{{ingress: [pier], config: {{allow: {allow}}}}}"))
}

#[track_caller]
fn check(site: &Site, request: &Request, expected: u16) {
    assert_eq!(site.gateway.send(request).status(), expected);
}

#[test]
fn a_key_is_looked_for_where_its_consumer_says() {
    let site = Site::with(&[guard(
        "{global_auth: false, consumers: [
            {name: head, keys: [x-key], in_header: true, in_query: false, credential: key-1},
            {name: query, keys: [q-key], in_header: false, in_query: true, credential: \"key 2\"},
            {name: both, keys: [any-key, other-key], credentials: [key-3, key-4]}]}",
        "[head, query, both]",
    )]);
    check(&site, &nobody(), 401);
    check(&site, &with_header("x-key", "key-1"), 200);
    check(&site, &with_header("X-KEY", "key-1"), 200);
    check(&site, &with_header("x-key", "KEY-1"), 401);
    check(&site, &with_header("x-key", "key-1x"), 401);
    check(&site, &with_header("x-key", "key-"), 401);
    check(&site, &with_header("x-key", "key-1,key-1"), 401);
    check(&site, &with_query("x-key=key-1"), 401);
    check(&site, &with_header("q-key", "key 2"), 401);
    check(&site, &with_query("q-key=key%202"), 200);
    check(&site, &with_query("a=b&q%2Dkey=key%202&c"), 200);
    check(&site, &with_query("Q-Key=key%202"), 401);
    check(&site, &with_query("q-key=key%203"), 401);
    check(&site, &with_query("q-key=key%202&q-key=key%202"), 401);
    for (name, key) in [("any-key", "key-3"), ("any-key", "key-4"), ("other-key", "key-4")] {
        check(&site, &with_header(name, key), 200);
        check(&site, &with_query(&format!("{name}={key}")), 200);
    }
}

#[test]
fn a_header_counts_before_the_query() {
    let site = Site::with(&[guard(
        "{global_auth: false, consumers: [{name: a, keys: [k], credential: key-a}]}",
        "[a]",
    )]);
    check(&site, &with_query("k=key-a").header("k", "wrong"), 401);
    check(&site, &with_query("k=key-a").header("k", ""), 200);
    check(&site, &with_query("k=wrong").header("k", "key-a"), 200);
    check(&site, &nobody().header("k", "key-a").header("k", "key-a"), 401);
    check(&site, &nobody().header("k", "key-a").header("k", "wrong"), 401);
}

#[test]
fn consumers_without_keys_of_their_own_use_the_global_ones() {
    let consumers = "consumers: [{name: a, credential: key-a}]";
    let site = Site::with(&[guard(
        &format!("{{global_auth: false, keys: [one, two], {consumers}}}"),
        "[a]",
    )]);
    for name in ["one", "two"] {
        check(&site, &with_header(name, "key-a"), 200);
        check(&site, &with_query(&format!("{name}=key-a")), 200);
    }
    check(&site, &with_header("x-hi-original-auth", "key-a"), 401);
    let site = Site::with(&[guard(
        &format!("{{global_auth: false, keys: [one], in_query: false, {consumers}}}"),
        "[a]",
    )]);
    check(&site, &with_header("one", "key-a"), 200);
    check(&site, &with_query("one=key-a"), 401);
    let site = Site::with(&[guard(&format!("{{global_auth: false, {consumers}}}"), "[a]")]);
    check(&site, &with_header("x-key", "key-a"), 401);
}

#[test]
fn global_auth_decides_what_no_rule_covers() {
    let check = |flag: &str, rules: &[&str], pier: [u16; 3], other: [u16; 3]| {
        let config = CONSUMERS.replace("global_auth: false, ", flag);
        let plugin = Plugin::key_auth().default_config(&config);
        let site = Site::with(&[rules.iter().fold(plugin, |plugin, rule| plugin.rule(rule))]);
        site.check("pier.test", pier);
        site.check("other.test", other);
    };
    let (on, unset, off) = ("global_auth: true, ", "", "global_auth: false, ");
    check(on, &[], EITHER, EITHER);
    check(unset, &[], EITHER, EITHER);
    check(off, &[], EVERYBODY, EVERYBODY);
    for (config, pier) in [
        ("{allow: [a]}", ONLY_A),
        ("{allow: [a, b]}", EITHER),
        ("{allow: []}", NEITHER),
        ("{allow: [nobody]}", NEITHER),
        ("{}", NEITHER),
        ("{_disable_: true, allow: [a]}", EVERYBODY),
    ] {
        let rule = format!("{{ingress: [pier], config: {config}}}");
        check(on, &[&rule], pier, EITHER);
        check(unset, &[&rule], pier, EVERYBODY);
        check(off, &[&rule], pier, EVERYBODY);
    }
}

#[test]
fn a_rule_may_have_consumers_of_its_own() {
    let rule =
        "{ingress: [pier], config: {consumers: [{name: c, keys: [x-key], credential: key-b}]}}";
    for flag in ["global_auth: true, ", "", "global_auth: false, "] {
        let config = CONSUMERS.replace("global_auth: false, ", flag);
        Site::with(&[Plugin::key_auth().default_config(&config).rule(rule)])
            .check("pier.test", [401, 401, 200]);
    }
}

#[test]
fn a_global_auth_that_is_no_boolean_opens_nothing() {
    for flag in ["global_auth: null, ", "global_auth: \"false\", ", "global_auth: 0, "] {
        let config = CONSUMERS.replace("global_auth: false, ", flag);
        let bare = Site::with(&[Plugin::key_auth().default_config(&config)]);
        bare.check("pier.test", CLOSED);
        let ruled = Site::with(&[guard(&config, "[a]")]);
        assert_ne!(ruled.status("pier.test", ""), 200);
        ruled.check("other.test", CLOSED);
    }
}

#[test]
fn a_consumer_may_have_several_credentials() {
    let site = Site::with(&[guard(
        "{global_auth: false, consumers: [{name: a, keys: [x-key], credentials: [one, two]}, {name: b, keys: [x-key], credential: three}]}",
        "[a]",
    )]);
    for (key, status) in [("one", 200), ("two", 200), ("three", 403), ("four", 401)] {
        check(&site, &with_header("x-key", key), status);
    }
}

#[test]
fn the_upstream_learns_the_consumer() {
    let site = Site::guarded_by(&["{ingress: [pier], config: {allow: [a, b]}}"]);
    for (key, name) in [("key-a", "a"), ("key-b", "b")] {
        check(&site, &with_header("x-key", key), 200);
        assert_eq!(site.upstream.received().header("x-mse-consumer"), Some(name));
    }
    check(&site, &Request::get("quay.test", "/").header("x-key", "key-a"), 200);
    assert_eq!(site.upstream.received().header("x-mse-consumer"), None);
}

#[test]
fn keys_without_consumers_let_pass_without_a_name() {
    let plugin = Plugin::key_auth().default_config(
        "{global_auth: true, keys: [x-key, other], credentials: [key-a, key-b], realm: the harbor}",
    );
    let site = Site::with(&[plugin]);
    let answer = site.gateway.send(&nobody());
    assert_eq!(
        (answer.status(), answer.header("www-authenticate")),
        (401, Some("Key realm=the harbor"))
    );
    site.check("pier.test", EITHER);
    check(&site, &with_header("other", "key-b"), 200);
    check(&site, &with_header("x-hi-original-auth", "key-b"), 200);
    check(&site, &with_query("other=key-b"), 200);
    site.upstream.received();
    assert_eq!(site.upstream.received().header("x-mse-consumer"), None);
}

#[test]
fn a_credential_that_two_consumers_share_names_nobody() {
    let site = Site::with(&[guard(
        "{global_auth: false, consumers: [
            {name: a, keys: [x-key], credential: key-a},
            {name: b, keys: [x-key], credentials: [key-b, shared-key]},
            {name: c, keys: [y-key], credentials: [shared-key, key-c]}]}",
        "[a, b, c]",
    )]);
    site.check("pier.test", EITHER);
    check(&site, &with_header("x-key", "shared-key"), 401);
    check(&site, &with_header("y-key", "shared-key"), 401);
    check(&site, &with_header("y-key", "key-c"), 200);
    let finding = site.finding("PS603");
    let message = finding["message"].as_str().unwrap();
    assert!(message.contains("`b`") && message.contains("`c`"), "{message}");
    assert!(!finding.to_string().contains("shared-key"), "{finding}");
}

#[test]
fn a_consumer_that_cannot_be_used_is_set_aside_alone() {
    for broken in [
        "{name: x}",
        "{credential: key-x}",
        "{name: x, keys: [x-key], credential: 5}",
        "{name: x, keys: [x-key], credential: \"\"}",
        "{name: x, keys: x-key, credential: key-x}",
        "{name: x, keys: [x-key], credential: key-x, credentials: [key-y]}",
        "{name: x, keys: [x-key], in_header: false, in_query: false, credential: key-x}",
        "{name: x, keys: [x-key], in_header: maybe, credential: key-x}",
        "nonsense",
    ] {
        let config = CONSUMERS.replace("consumers: [", &format!("consumers: [{broken}, "));
        let site = Site::with(&[guard(&config, "[a, x]")]);
        site.check("pier.test", ONLY_A);
        check(&site, &with_header("x-key", "key-x"), 401);
        let finding = site.finding("PS602");
        assert!(finding["file"].as_str().unwrap().ends_with("wasmplugins/key-auth.internal.yaml"));
        assert!(!finding.to_string().contains("key-x"), "{finding}");
    }
}

#[test]
fn the_first_consumer_of_the_list_counts() {
    let site = Site::with(&[guard(
        "{global_auth: false, consumers: [{name: a, keys: [k1], credential: key-a}, {name: b, keys: [k2], credential: key-b}]}",
        "[b]",
    )]);
    check(&site, &with_header("k2", "key-b"), 200);
    check(&site, &with_header("k2", "key-b").header("k1", "wrong"), 200);
    check(&site, &with_header("k2", "key-b").header("k1", "key-a"), 403);
}

#[test]
fn a_key_may_come_where_a_fallback_leaves_it() {
    let site = Site::guarded_by(&["{ingress: [pier], config: {allow: [a]}}"]);
    check(&site, &with_header("X-HI-ORIGINAL-AUTH", "key-a"), 200);
    check(&site, &with_header("X-HI-ORIGINAL-AUTH", "key-b"), 403);
    check(&site, &with_header("X-HI-ORIGINAL-AUTH", "wrong"), 401);
    check(&site, &with_header("X-HI-ORIGINAL-AUTH", "wrong").header("x-key", "key-a"), 200);
}

#[test]
fn no_consumers_means_nobody() {
    Site::with(&[guard("{global_auth: false, consumers: []}", "[a]")])
        .check("pier.test", [401, 401, 401]);
}

fn go(config: &str) -> Plugin {
    guard(config, "[a]").url("oci://registry.test/plugins/go-key-auth:1.0.0")
}

#[test]
fn the_go_build_has_answers_of_its_own() {
    let site = Site::with(&[go(
        "{global_auth: false, keys: [x-key, y-key], in_header: true, consumers: [{name: a, credential: key-a}, {name: b, credential: key-b}]}",
    )]);
    let check = |request: Request, status: u16, body: &str| {
        let answer = site.gateway.send(&request);
        assert_eq!((answer.status(), answer.text().as_str()), (status, body));
        if status != 200 {
            assert_eq!(answer.header("www-authenticate"), Some("Key realm=MSE Gateway"));
        }
    };
    let denied = |reason: &str| format!("Request denied by Key Auth check. {reason}");
    check(nobody(), 401, &denied("No Key Authentication information found."));
    check(with_query("x-key=key-a"), 401, &denied("No Key Authentication information found."));
    check(with_header("x-key", "wrong"), 403, &denied("Unauthorized consumer."));
    check(with_header("x-key", "key-b"), 403, &denied("Unauthorized consumer."));
    let two = with_header("x-key", "key-a").header("y-key", "key-a");
    check(two, 401, &denied("Multi Key Authentication information found."));
    check_ok(&site, &with_header("x-key", "key-a"));
    check_ok(&site, &with_header("y-key", "key-a"));
    let chat = Request::post("pier.test", "/v1/chat/completions", "{}");
    check_openai_error(&site.gateway.send(&chat), 401, "authentication_error", "no_api_key");
}

fn check_ok(site: &Site, request: &Request) {
    check(site, request, 200);
    assert_eq!(site.upstream.received().header("x-mse-consumer"), Some("a"));
}

#[test]
fn the_go_build_looks_at_the_query_without_headers_only() {
    let consumers = "consumers: [{name: a, credential: key-a}]";
    let site = Site::with(&[go(&format!(
        "{{global_auth: false, keys: [k], in_header: false, in_query: true, {consumers}}}"
    ))]);
    check(&site, &with_query("k=key-a"), 200);
    check(&site, &with_header("k", "key-a"), 401);
    check(&site, &with_query("k=key-a&k=key-a"), 401);
    let site = Site::with(&[go(&format!(
        "{{global_auth: false, keys: [k], in_header: true, in_query: true, {consumers}}}"
    ))]);
    check(&site, &with_query("k=key-a"), 401);
    check(&site, &with_header("k", "key-a"), 200);
}

#[test]
fn what_the_go_build_cannot_read_is_closed() {
    let consumers = "consumers: [{name: a, credential: key-a}]";
    for config in [
        format!("{{global_auth: false, in_header: true, {consumers}}}"),
        format!("{{global_auth: false, keys: [k], {consumers}}}"),
        "{global_auth: false, keys: [k], in_header: true}".to_owned(),
    ] {
        let site = Site::with(&[go(&config)]);
        assert_eq!(site.gateway.send(&with_header("k", "key-a")).status(), 503, "{config}");
        assert_eq!(site.gateway.send(&nobody()).status(), 503, "{config}");
    }
}

#[test]
fn a_route_without_a_rule_passes() {
    let site = Site::guarded_by(&["{ingress: [pier], config: {allow: [a]}}"]);
    site.check("quay.test", EVERYBODY);
    check(&site, &Request::get("quay.test", "/").key("anything"), 200);
}
