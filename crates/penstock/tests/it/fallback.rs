//! What fails on an AI route is tried on its fallback.

use serde_json::Value;

use crate::support::upstream::{COMPLETION, EVENT_STREAM, Received};
use crate::support::*;

/// Where the client learns which route it fell back from.
const FROM: &str = "x-higress-fallback-from";
const MAIN: &str = "ai-route-r.internal";
const OTHER: &str = "ai-route-r.fallback.internal";
const MODELS: &str = r#"{"model":"m", "messages":[{"role":"user","content":"ahoy \u00e9"}]}"#;

/// The EnvoyFilter of AI route `r`, as the console writes it.
fn filter(codes: &[&str]) -> (String, String) {
    let single = |code: &&str| {
        format!(
            "single_predicate: {{input: {{name: {code}_response, typed_config: {{'@type': type.googleapis.com/envoy.type.matcher.v3.HttpResponseStatusCodeClassMatchInput}}}}, value_match: {{exact: {code}}}}}"
        )
    };
    let all: Vec<String> = codes.iter().map(|code| format!("{{{}}}", single(code))).collect();
    let predicate = match codes {
        [code] => single(code),
        _ => format!("or_matcher: {{predicate: [{}]}}", all.join(", ")),
    };
    let text = include_str!("support/fallback.yaml").replace("PREDICATE", &predicate);
    (format!("envoyfilters/{MAIN}.yaml"), text)
}

/// A route `r` to `main`, and its fallback to `spare`.
struct Site {
    gateway: Gateway,
    main: Upstream,
    spare: Upstream,
    directory: Directory,
}

impl Site {
    fn answering(main: Scenario) -> Self {
        Self::with(main, &["4xx", "5xx"], &[])
    }

    fn with(main: Scenario, codes: &[&str], plugins: &[Plugin]) -> Self {
        Self::changed(main, codes, plugins, |_| {})
    }

    fn changed(
        main: Scenario,
        codes: &[&str],
        plugins: &[Plugin],
        change: impl FnOnce(&Directory),
    ) -> Self {
        let (main, spare) = (Upstream::start(main), Upstream::start(Scenario::Echo));
        let registries =
            [static_registry("main", &[main.address]), static_registry("spare", &[spare.address])];
        let directory = Directory::new()
            .holding([("mcpbridges/default.yaml", bridge(&registries))])
            .holding([filter(codes), ingress(MAIN, "main.static:80"), fallback("spare.static:80")])
            .holding(plugins.iter().map(Plugin::file));
        change(&directory);
        let gateway = Serve::new(directory.path()).start();
        Self { gateway, main, spare, directory }
    }

    fn post(&self) -> Answer {
        self.gateway.send(&request())
    }

    /// The answer comes from the fallback.
    #[track_caller]
    fn falls_back(&self) -> Received {
        let answer = self.post();
        assert_eq!((answer.status(), answer.header(FROM)), (200, Some(MAIN)), "{}", answer.text());
        self.spare.received()
    }

    /// The answer is what the route itself says.
    #[track_caller]
    fn stays(&self, status: u16) {
        let answer = self.post();
        assert_eq!((answer.status(), answer.header(FROM)), (status, None), "{}", answer.text());
        self.spare.received_nothing();
    }
}

fn ingress(name: &str, to: &str) -> (String, String) {
    Ingress::new(name).at("a.test", "Prefix", "/v1").to(to).file()
}

fn fallback(to: &str) -> (String, String) {
    let ingress = Ingress::new(OTHER).at("a.test", "Prefix", "/v1").to(to);
    ingress.annotation(&format!("exact-match-header-{FROM}"), MAIN).file()
}

fn request() -> Request {
    Request::post("a.test", "/v1/chat/completions?a=b%20c", MODELS)
}

const FAILURE: Scenario = Scenario::Status(500, r#"{"error":"no"}"#);

#[test]
fn what_fails_is_sent_once_more_as_it_came() {
    let site = Site::answering(FAILURE);
    let request = request().header(FROM, "mine").header("X-Kept", "1");
    let answer = site.gateway.send(&request);
    assert_eq!((answer.status(), answer.header(FROM)), (200, Some(MAIN)));
    let (first, second) = (site.main.received(), site.spare.received());
    assert_eq!(first.header(FROM), None, "what the client says is not passed on");
    assert_eq!(second.header(FROM), Some(MAIN));
    assert_eq!(second.line, first.line);
    assert_eq!(second.target(), "/v1/chat/completions?a=b%20c");
    assert_eq!(second.text(), MODELS);
    assert_eq!((second.header("x-kept"), second.header("host")), (Some("1"), Some(OTHER)));
    let length = MODELS.len().to_string();
    assert_eq!(second.header("content-length"), Some(&*length));
}

#[test]
fn the_classes_are_those_of_the_filter() {
    let check = |codes: &[&str], status: u16, falls_back: bool| {
        let site = Site::with(Scenario::Status(status, "{}"), codes, &[]);
        match falls_back {
            true => drop(site.falls_back()),
            false => site.stays(status),
        }
    };
    check(&["5xx"], 503, true);
    check(&["5xx"], 429, false);
    check(&["4xx"], 429, true);
    check(&["4xx"], 500, false);
    check(&["4xx", "5xx"], 401, true);
    check(&["4xx", "5xx"], 599, true);
    check(&["4xx", "5xx"], 302, false);
    check(&["4xx", "5xx"], 200, false);
    check(&[], 404, true);
}

#[test]
fn an_upstream_that_does_not_answer_has_failed() {
    let site = Site::answering(Scenario::close());
    site.falls_back();
    let site = Site::answering(Scenario::BytesThenClose(b"oops\r\n\r\n".to_vec()));
    site.falls_back();
    let check = |registries: &[String], timeout: bool| {
        let site = Site::changed(Scenario::Silence, &["5xx"], &[], |directory| {
            if !registries.is_empty() {
                directory.write("mcpbridges/default.yaml", bridge(registries));
            }
            if timeout {
                let slow = Ingress::new(MAIN).at("a.test", "Prefix", "/v1").to("main.static:80");
                let (name, text) = slow.annotation("timeout", "1").file();
                directory.write(&name, text);
            }
        });
        let answer = site.post();
        (answer.status(), answer.header(FROM).map(str::to_owned))
    };
    assert_eq!(check(&[], true), (200, Some(MAIN.to_owned())));
    let dead = static_registry("main", &[dead_address(9)]);
    // The other route is as dead, and its answer counts.
    let both = [dead.clone(), static_registry("spare", &[dead_address(9)])];
    assert_eq!(check(&both, false), (503, Some(MAIN.to_owned())));
    // So is one that names nothing.
    assert_eq!(check(&[dead], false), (503, Some(MAIN.to_owned())));
}

#[test]
fn the_second_answer_counts_whatever_it_is() {
    let site = Site::answering(FAILURE);
    site.spare.once(Scenario::Status(418, "{}"));
    let answer = site.post();
    assert_eq!((answer.status(), answer.header(FROM)), (418, Some(MAIN)));
    site.main.received();
    site.main.received_nothing();
}

#[test]
fn several_share_what_falls_back_and_one_takes_it_all() {
    let third = Upstream::start(Scenario::Completion);
    let site = Site::changed(FAILURE, &["5xx"], &[], |directory| {
        let text = directory.read("mcpbridges/default.yaml");
        let registry = static_registry("third", &[third.address]);
        directory.write("mcpbridges/default.yaml", format!("{text}  - {registry}\n"));
        // RAND: the console writes 1 % for each.
        let (name, text) = fallback("1% spare.static:80\n1% third.static:80");
        directory.write(&name, text);
    });
    for _ in 0..60 {
        assert_eq!(site.post().status(), 200);
    }
    let count = |upstream: &Upstream| std::iter::from_fn(|| upstream.try_received()).count();
    let (spare, third) = (count(&site.spare), count(&third));
    assert_eq!(spare + third, 60);
    assert!(spare > 5 && third > 5, "{spare} and {third}");
    // SEQ: only the first one is written.
    let site = Site::with(FAILURE, &["5xx"], &[]);
    for _ in 0..5 {
        site.falls_back();
    }
}

#[test]
fn a_body_is_kept_byte_for_byte_up_to_the_limit() {
    let site = Site::answering(FAILURE);
    let post = |body: &[u8]| {
        let answer = site.gateway.send(&Request::new("PUT", "a.test", "/v1/x").body(body));
        site.main.received();
        answer
    };
    let body: Vec<u8> = (0..1_024_000_u32).map(|n| n.to_le_bytes()[(n % 2) as usize]).collect();
    assert_eq!(post(&body).status(), 200);
    assert_eq!(site.spare.received().body, body);
    let answer = post(&[&body[..], b"x"].concat());
    assert_eq!((answer.status(), answer.header(FROM)), (500, None));
    site.spare.received_nothing();
    assert_eq!(post(b"").status(), 200);
    assert_eq!(site.spare.received().body, b"");
    // The length is not known before it is read.
    let mut connection = site.gateway.connect();
    connection.write(b"POST /v1/x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    connection.write_chunk(b"one");
    connection.write_chunk(b"two");
    connection.write(b"0\r\n\r\n");
    assert_eq!(connection.answer().status(), 200);
    assert_eq!(site.spare.received().body, b"onetwo");
}

#[test]
fn a_stream_that_began_is_never_taken_back() {
    let site = Site::answering(Scenario::Completion);
    let steps = site.main.stepped();
    let mut connection = site.gateway.connect();
    connection.send(&request());
    steps.write(EVENT_STREAM);
    assert_eq!(connection.head().status, 200);
    steps.chunk("data: {}\n\n");
    assert_eq!(connection.chunk(), Chunk::data("data: {}\n\n"));
    steps.close();
    assert_eq!(connection.chunk(), Chunk::Broken);
    site.spare.received_nothing();
    // What falls back streams.
    site.main.received();
    let (failing, steps) = (site.main.stepped(), site.spare.stepped());
    let mut connection = site.gateway.connect();
    connection.send(&request());
    failing.write("HTTP/1.1 502 X\r\nContent-Length: 9\r\n\r\n");
    steps.write(EVENT_STREAM);
    let head = connection.head();
    assert_eq!((head.status, head.header(FROM)), (200, Some(MAIN)));
    steps.chunk("data: {}\n\n");
    assert_eq!(connection.chunk(), Chunk::data("data: {}\n\n"));
    steps.finish();
    assert_eq!(connection.chunk(), Chunk::Last);
    drop(failing);
}

/// key-auth for `a` on the route, and for `b` on its fallback.
fn key_auth(main: &str, other: &str) -> Plugin {
    let consumers = "{global_auth: false, consumers: [{name: a, credential: ka}, {name: b, credential: kb}], keys: [x-key], in_header: true}";
    Plugin::key_auth()
        .default_config(consumers)
        .rule(&format!("{{ingress: [{MAIN}], config: {{allow: [{main}]}}}}"))
        .rule(&format!("{{ingress: [{OTHER}], config: {{allow: [{other}]}}}}"))
}

#[test]
fn a_denial_is_never_tried_elsewhere() {
    let site = Site::with(Scenario::Completion, &["4xx", "5xx"], &[key_auth("a", "b")]);
    let check = |key: &str, status: u16| {
        let answer = site.gateway.send(&request().header("x-key", key));
        assert_eq!((answer.status(), answer.header(FROM)), (status, None), "{key}");
    };
    check("nobody", 401);
    check("kb", 403);
    check("ka", 200);
    site.spare.received_nothing();
    let site = Site::changed(Scenario::Completion, &["4xx"], &[], |directory| {
        let limited = Ingress::new(MAIN).at("a.test", "Prefix", "/v1").to("main.static:80");
        let (name, text) = limited
            .annotation("route-limit-rpm", "1")
            .annotation("route-limit-burst-multiplier", "1")
            .file();
        directory.write(&name, text);
    });
    let statuses: Vec<u16> = (0..12).map(|_| site.post().status()).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    site.spare.received_nothing();
}

#[test]
fn credentials_are_asked_for_on_both_routes() {
    let site = Site::with(FAILURE, &["5xx"], &[key_auth("a", "a, b")]);
    let answer = site.gateway.send(&request().header("x-key", "ka"));
    assert_eq!((answer.status(), answer.header(FROM)), (200, Some(MAIN)));
    let (first, second) = (site.main.received(), site.spare.received());
    for received in [&first, &second] {
        assert_eq!(received.header("x-mse-consumer"), Some("a"));
        assert_eq!(received.header("x-key"), Some("ka"));
    }
    let site = Site::with(FAILURE, &["5xx"], &[key_auth("a", "b")]);
    let answer = site.gateway.send(&request().header("x-key", "ka"));
    assert_eq!((answer.status(), answer.header(FROM)), (403, Some(MAIN)));
    site.spare.received_nothing();
}

/// The plugins of an AI route that goes by the model.
fn llm_plugins() -> Vec<Plugin> {
    let providers = "{providers: [{id: one, type: openai, apiTokens: [t-one], openaiCustomUrl: 'http://one.test/v1', modelMapping: {a-one: a-x}}, {id: two, type: openai, apiTokens: [t-two], openaiCustomUrl: 'http://two.test/other'}]}";
    let rule = |route: &str, service: &str, to: &str| {
        format!(
            "{{ingress: [{route}], service: [{service}], config: {{modelMapping: {{'*': {to}}}}}}}"
        )
    };
    vec![
        Plugin::new("model-router.internal", "model-router")
            .field("phase", "AUTHN")
            .field("priority", "900")
            .default_config("{modelToHeader: x-higress-llm-model, addProviderHeader: x-provider}"),
        Plugin::new("model-mapper.internal", "model-mapper")
            .field("phase", "AUTHN")
            .field("priority", "800")
            .field("defaultConfigDisable", "true")
            .rule(&rule(MAIN, "main.static", "a-one"))
            .rule(&rule(OTHER, "spare.static", "a-two")),
        Plugin::ai_proxy()
            .default_config(providers)
            .rule("{service: [main.static], config: {activeProviderId: one}}")
            .rule("{service: [spare.static], config: {activeProviderId: two}}"),
    ]
}

/// The same with key-auth, and with routes that go by the model.
fn by_model(main: Scenario) -> Site {
    let mut plugins = llm_plugins();
    plugins.push(key_auth("a", "a"));
    Site::changed(main, &["4xx", "5xx"], &plugins, |directory| {
        let predicate = "prefix-match-header-x-higress-llm-model";
        let main = Ingress::new(MAIN).at("a.test", "Prefix", "/v1").to("main.static:80");
        let other = Ingress::new(OTHER).at("a.test", "Prefix", "/v1").to("spare.static:80");
        let other = other.annotation(&format!("exact-match-header-{FROM}"), MAIN);
        for ingress in [main, other] {
            let ingress = ingress.without_annotation("upstream-vhost").annotation(predicate, "p/a");
            let (name, text) = ingress.file();
            directory.write(&name, text);
        }
    })
}

#[test]
fn plugins_run_again_on_what_was_received() {
    run_again(&by_model(FAILURE));
    // The same where another route is found before the model is known.
    let site = by_model(FAILURE);
    site.gateway.reload(|| {
        let (name, text) = Ingress::new("any").at("a.test", "Prefix", "/").file();
        site.directory.write(&name, text);
    });
    run_again(&site);
}

#[track_caller]
fn run_again(site: &Site) {
    site.spare.once(Scenario::Completion);
    let body = r#"{"model":"p/a-1","messages":[{"role":"user","content":"ahoy"}]}"#;
    let request = Request::post("a.test", "/v1/chat/completions", body).header("x-key", "ka");
    let answer = site.gateway.send(&request);
    assert_eq!((answer.status(), answer.header(FROM)), (200, Some(MAIN)), "{}", answer.text());
    assert_eq!(answer.text(), COMPLETION);
    let (first, second) = (site.main.received(), site.spare.received());
    assert_eq!(first.text(), body.replace("p/a-1", "a-x"));
    assert_eq!(second.text(), body.replace("p/a-1", "a-two"));
    assert_eq!(first.header("authorization"), Some("Bearer t-one"));
    assert_eq!(second.header("authorization"), Some("Bearer t-two"));
    assert_eq!((first.header("host"), second.header("host")), (Some("one.test"), Some("two.test")));
    assert_eq!(second.target(), "/other/chat/completions");
    for received in [&first, &second] {
        assert_eq!(received.header("x-higress-llm-model"), Some("p/a-1"));
        assert_eq!(received.header("x-provider"), Some("p"));
        assert_eq!(received.header("x-mse-consumer"), Some("a"));
    }
    assert_eq!(second.header(FROM), Some(MAIN));
}

#[test]
fn a_fallback_that_leads_nowhere_changes_nothing() {
    let site = Site::changed(FAILURE, &["5xx"], &[], |directory| {
        directory.remove(&format!("ingresses/{OTHER}.yaml"));
    });
    site.stays(500);
    site.main.received();
    site.main.received_nothing();
}

#[test]
fn one_record_tells_both_attempts() {
    let site = Site::answering(FAILURE);
    let answer = site.post();
    assert_eq!(answer.header(FROM), Some(MAIN));
    let line = site.gateway.access_log.of_request(&answer);
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    assert_eq!((text("route"), text("fallback_from")), (OTHER.into(), MAIN.into()));
    assert_eq!((text("service"), line["status"].as_u64()), ("spare.static".into(), Some(200)));
    let endpoints: Vec<&Value> =
        line["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["endpoint"]).collect();
    assert_eq!(endpoints, [&site.main.address.to_string(), &site.spare.address.to_string()]);
    let metrics = site.gateway.metrics();
    let counted = metrics.lines().filter(|line| line.starts_with("penstock_requests_total"));
    assert_eq!(counted.count(), 1, "{metrics}");
}

#[test]
fn explain_says_who_takes_what_fails() {
    let site = by_model(FAILURE);
    let path = site.directory.path().display().to_string();
    let explain = |key: &str, output: &str| {
        let mut line = vec!["explain", "--config", &path, "-o", output];
        line.extend(["--url", "http://a.test/v1/chat/completions", "-H", key]);
        line.extend(["-H", "content-type: application/json", "-d", r#"{"model":"p/a"}"#]);
        let output = penstock(&line);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = explain("x-key: ka", "text");
    let told = format!("fallback  on 4xx, 5xx: {OTHER}\n          100 % spare.static:80\n");
    assert!(text.ends_with(&told), "{text}");
    let json: Value = serde_json::from_str(&explain("x-key: ka", "json")).unwrap();
    assert_eq!(json["passes"][0]["fallback"]["targets"][0]["service"], "spare.static:80");
    let json: Value = serde_json::from_str(&explain("x-key: nobody", "json")).unwrap();
    assert_eq!(json["passes"][0]["fallback"], Value::Null);
}

#[test]
fn a_large_body_that_plugins_read_is_sent_once() {
    let site = by_model(FAILURE);
    let body = format!(
        r#"{{"model":"p/a","messages":[{{"role":"user","content":"{}"}}]}}"#,
        "x".repeat(1_024_000)
    );
    let request = Request::post("a.test", "/v1/chat/completions", body).header("x-key", "ka");
    let answer = site.gateway.send(&request);
    assert_eq!((answer.status(), answer.header(FROM)), (500, None));
    site.spare.received_nothing();
}

#[test]
fn a_websocket_that_is_refused_is_tried_elsewhere() {
    let site = Site::answering(FAILURE);
    let switched = b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nahoy";
    site.spare.once(Scenario::Bytes(switched.to_vec()));
    let request = Request::get("a.test", "/v1/x")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket");
    let mut connection = site.gateway.begin(&request);
    let head = connection.head();
    assert_eq!((head.status, head.header(FROM)), (101, Some(MAIN)));
    assert_eq!(connection.read(4), b"ahoy");
}

#[test]
fn other_filters_are_ignored_with_a_finding() {
    let site = Site::changed(FAILURE, &["5xx"], &[], |directory| {
        directory.edit(&format!("envoyfilters/{MAIN}.yaml"), "operation: MERGE", "operation: ADD");
    });
    site.stays(500);
    let findings = site.gateway.findings();
    let finding = findings.iter().find(|finding| finding["code"] == "PS208").unwrap();
    assert_eq!(finding["path"], "spec.configPatches[0].patch.operation");
    site.directory.remove(&format!("envoyfilters/{MAIN}.yaml"));
}

/// A route `ai-route-NAME.internal` with a filter of its own.
fn filter_of(route: &str) -> (String, String) {
    let (_, text) = filter(&["4xx", "5xx"]);
    (format!("envoyfilters/{route}.yaml"), text.replace(MAIN, route))
}

fn third(name: &str, from: &str, to: &str) -> (String, String) {
    let ingress = Ingress::new(name).at("a.test", "Prefix", "/v1").to(to);
    ingress.annotation(&format!("exact-match-header-{FROM}"), from).file()
}

const THIRD: &str = "third";
const FOURTH: &str = "fourth";
const FIFTH: &str = "fifth";

/// A site whose routes `r`, its fallback, `third`, `fourth` and `fifth` fall
/// back on each other in turn, with what is written besides.
fn levels(plugins: &[Plugin], change: impl FnOnce(&Directory)) -> (Site, Upstream) {
    let last = Upstream::start(Scenario::Echo);
    let site = Site::changed(FAILURE, &["4xx", "5xx"], plugins, |directory| {
        let text = directory.read("mcpbridges/default.yaml");
        let registry = static_registry("last", &[last.address]);
        directory.write("mcpbridges/default.yaml", format!("{text}  - {registry}\n"));
        for (name, text) in [
            filter_of(OTHER),
            filter_of(THIRD),
            filter_of(FOURTH),
            third(THIRD, OTHER, "last.static:80"),
            third(FOURTH, THIRD, "last.static:80"),
            third(FIFTH, FOURTH, "last.static:80"),
        ] {
            directory.write(&name, text);
        }
        change(directory);
    });
    (site, last)
}

#[test]
fn what_fails_on_the_fallback_has_another_one() {
    let (site, last) = levels(&[], |_| {});
    site.spare.once(Scenario::Status(429, "{}"));
    let answer = site.gateway.send(&request().header("X-Kept", "1"));
    assert_eq!((answer.status(), answer.header(FROM)), (200, Some(OTHER)), "{}", answer.text());
    let received = [site.main.received(), site.spare.received(), last.received()];
    let from = received.each_ref().map(|one| one.header(FROM).map(str::to_owned));
    assert_eq!(from, [None, Some(MAIN.to_owned()), Some(OTHER.to_owned())]);
    for one in &received {
        assert_eq!((one.text(), one.header("x-kept")), (MODELS, Some("1")));
        assert_eq!(one.line, received[0].line);
    }
    let line = site.gateway.access_log.of_request(&answer);
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    assert_eq!((text("route"), text("fallback_from")), (THIRD.into(), OTHER.into()));
    let attempts = line["attempts"].as_array().unwrap();
    let statuses: Vec<_> = attempts.iter().map(|attempt| attempt["status"].as_u64()).collect();
    assert_eq!(statuses, [Some(500), Some(429), Some(200)]);
}

#[test]
fn there_are_four_passes_at_most() {
    let (site, last) = levels(&[], |_| {});
    site.spare.once(FAILURE);
    last.once(FAILURE);
    last.once(Scenario::Status(418, "{}"));
    let answer = site.post();
    assert_eq!((answer.status(), answer.header(FROM)), (418, Some(THIRD)));
    for upstream in [&site.main, &site.spare, &last, &last] {
        upstream.received();
    }
    last.received_nothing();
}

#[test]
fn a_filter_may_allow_fewer_passes() {
    let (site, last) = levels(&[], |directory| {
        let file = format!("envoyfilters/{OTHER}.yaml");
        directory.edit(&file, "max_internal_redirects: 10", "max_internal_redirects: 1");
    });
    site.spare.once(FAILURE);
    let answer = site.post();
    assert_eq!((answer.status(), answer.header(FROM)), (500, Some(MAIN)));
    last.received_nothing();
}

#[test]
fn a_cycle_of_fallbacks_ends() {
    // What failed on the other route would go to the first one again.
    let site = Site::changed(FAILURE, &["5xx"], &[], |directory| {
        let (name, text) = filter_of(OTHER);
        directory.write(&name, text);
        let (name, text) = third("ai-route-r.again", OTHER, "main.static:80");
        directory.write(&name, text);
        let (name, text) = filter_of("ai-route-r.again");
        directory.write(&name, text.replace("value: ai-route-r.again", &format!("value: {MAIN}")));
    });
    site.spare.once(Scenario::Status(503, "{}"));
    let answer = site.post();
    assert_eq!((answer.status(), answer.header(FROM)), (500, Some(OTHER)));
    site.main.received();
    site.spare.received();
    site.main.received();
    site.main.received_nothing();
    site.spare.received_nothing();
}

#[test]
fn a_denial_on_the_second_level_is_final() {
    let consumers = "{global_auth: false, consumers: [{name: a, credential: ka}, {name: b, credential: kb}], keys: [x-key], in_header: true}";
    let only = |route: &str, allowed: &str| {
        format!("{{ingress: [{route}], config: {{allow: [{allowed}]}}}}")
    };
    let plugin = Plugin::key_auth()
        .default_config(consumers)
        .rule(&only(MAIN, "a"))
        .rule(&only(OTHER, "a"))
        .rule(&only(THIRD, "b"));
    let (site, last) = levels(&[plugin], |_| {});
    site.spare.once(FAILURE);
    let answer = site.gateway.send(&request().header("x-key", "ka"));
    assert_eq!((answer.status(), answer.header(FROM)), (403, Some(OTHER)));
    site.spare.received();
    last.received_nothing();
}

#[test]
fn explain_follows_all_levels() {
    let (site, _last) = levels(&[], |_| {});
    let path = site.directory.path().display().to_string();
    let explain = |output: &str| {
        let line = ["explain", "--config", &path, "-o", output, "--url", "http://a.test/v1/models"];
        String::from_utf8(penstock(&line).stdout).unwrap()
    };
    let levels = [(OTHER, "spare"), (THIRD, "last"), (FOURTH, "last")];
    let told = levels.map(|(route, to)| {
        format!("fallback  on 4xx, 5xx: {route}\n          100 % {to}.static:80\n")
    });
    let text = explain("text");
    assert!(text.ends_with(&told.concat()), "{text}");
    let json: Value = serde_json::from_str(&explain("json")).unwrap();
    let mut level = &json["passes"][0]["fallback"];
    for (route, _) in levels {
        assert_eq!(level["route"], route);
        level = &level["fallback"];
    }
    assert_eq!(level, &Value::Null);
}

#[test]
fn the_provider_of_each_level_is_told() {
    let site = by_model(FAILURE);
    site.spare.once(FAILURE);
    let request = Request::post("a.test", "/v1/chat/completions", r#"{"model":"p/a-1"}"#);
    let answer = site.gateway.send(&request.header("x-key", "ka"));
    let line = site.gateway.access_log.of_request(&answer);
    let providers: Vec<_> =
        line["attempts"].as_array().unwrap().iter().map(|one| &one["provider"]).collect();
    assert_eq!(providers, [&Value::from("one"), &Value::Null]);
    assert_eq!(line["provider"], "two");
}

#[test]
fn another_token_is_tried_before_another_route() {
    let site = by_model(FAILURE);
    site.gateway.reload(|| {
        let file = "wasmplugins/ai-proxy.internal.yaml";
        let more = "apiTokens: [t-one, t-more], retryOnFailure: {enabled: true}";
        site.directory.edit(file, "apiTokens: [t-one]", more);
    });
    let request = Request::post("a.test", "/v1/chat/completions", r#"{"model":"p/a-1"}"#);
    let answer = site.gateway.send(&request.header("x-key", "ka"));
    assert_eq!((answer.status(), answer.header(FROM)), (200, Some(MAIN)));
    let used = [site.main.received(), site.main.received()];
    let used = used.each_ref().map(|one| one.header("authorization").map(str::to_owned));
    assert_ne!(used[0], used[1]);
    assert_eq!(site.spare.received().header("authorization"), Some("Bearer t-two"));
    let line = site.gateway.access_log.of_request(&answer);
    let attempts = line["attempts"].as_array().unwrap().iter();
    let told: Vec<_> = attempts
        .map(|one| (one["provider"].as_str(), one["status"].as_u64(), one["token"].is_string()))
        .collect();
    let failed = (Some("one"), Some(500), true);
    assert_eq!(told, [failed, failed, (None, Some(200), false)]);
}
