//! Endpoints that fail, that are checked, that come and go, and services that
//! have enough to do.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::kubernetes::{ingress, rule, service, slice};
use crate::support::certificates::Authority;
use crate::support::dns::{Dns, Record};
use crate::support::http2_upstream::Http2Upstream;
use crate::support::*;

const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const THIRD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// A service `deck` behind one route.
struct Deck {
    gateway: Gateway,
    directory: Directory,
}

fn ask() -> Request {
    Request::get("deck.test", "/")
}

fn registry(addresses: &[SocketAddr]) -> String {
    bridge(&[static_registry("deck", addresses)])
}

impl Deck {
    fn start(addresses: &[SocketAddr], flags: &[(&str, &str)]) -> Self {
        Self::of(registry(addresses), flags)
    }

    fn of(bridge: String, flags: &[(&str, &str)]) -> Self {
        let directory = Directory::new()
            .holding([("mcpbridges/default.yaml", bridge)])
            .holding([Ingress::new("deck.test").at("", "Prefix", "/").to("deck.static").file()]);
        let serve = Serve::new(directory.path());
        let serve = flags.iter().fold(serve, |serve, (flag, value)| serve.with(flag, value));
        Self { gateway: serve.start(), directory }
    }

    fn status(&self) -> u16 {
        self.gateway.send(&ask()).status()
    }

    /// What is told of an endpoint.
    fn health(&self, endpoint: SocketAddr) -> Value {
        let status = self.gateway.status();
        let health = status["services"][0]["health"].as_array().unwrap();
        let endpoint = endpoint.to_string();
        health.iter().find(|one| one["endpoint"] == *endpoint).expect("no such endpoint").clone()
    }

    fn standing(&self, endpoint: SocketAddr) -> String {
        self.health(endpoint)["standing"].as_str().unwrap().to_owned()
    }

    fn await_standing(&self, endpoint: SocketAddr, standing: &str) {
        eventually(standing, || (self.standing(endpoint) == standing).then_some(()));
    }

    /// A sample of the metrics of an endpoint; `more` are further labels.
    fn sample(&self, family: &str, endpoint: SocketAddr, more: &str) -> Option<u64> {
        let labels = format!("service=\"deck.static\",port=\"80\",endpoint=\"{endpoint}\"{more}");
        sample(&self.gateway.metrics(), &format!("{family}{{{labels}}}"))
    }

    fn pending(&self) -> Option<u64> {
        let name = "penstock_service_requests_pending{service=\"deck.static\",port=\"80\"}";
        sample(&self.gateway.metrics(), name)
    }

    fn refused(&self, limit: &str) -> Option<u64> {
        let labels = format!("service=\"deck.static\",port=\"80\",limit=\"{limit}\"");
        sample(&self.gateway.metrics(), &format!("penstock_service_refused_total{{{labels}}}"))
    }

    fn set(&self, addresses: &[SocketAddr]) {
        self.gateway.reload(|| {
            self.directory.write("mcpbridges/default.yaml", registry(addresses));
        });
    }
}

fn sample(metrics: &str, series: &str) -> Option<u64> {
    metrics.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

fn addresses<const N: usize>(upstreams: &[Upstream; N]) -> [SocketAddr; N] {
    upstreams.each_ref().map(|upstream| upstream.address)
}

fn pair() -> [Upstream; 2] {
    Upstream::start_on([Ipv4Addr::LOCALHOST, SECOND], &Scenario::Completion)
}

const UNAVAILABLE: Scenario = Scenario::Status(503, "{}");

// === Passive ===

#[test]
fn an_endpoint_that_fails_is_left_and_comes_back() {
    let upstreams = pair();
    let [bad, good] = addresses(&upstreams);
    let deck = Deck::start(&[bad, good], &[("--eject-after", "3"), ("--eject-time", "0.5")]);
    (0..3).for_each(|_| upstreams[0].once(UNAVAILABLE));
    let mut statuses: Vec<u16> = (0..6).map(|_| deck.status()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 503, 503, 503]);
    let health = deck.health(bad);
    if health["standing"] == "ejected" {
        let reason = health["reason"].as_str().unwrap();
        assert!(reason.contains("gateway_error"), "{reason}");
    }
    assert_eq!((&health["ejections"], &deck.health(good)["standing"]), (&1.into(), &"fit".into()));
    std::iter::from_fn(|| upstreams[0].try_received()).count();
    eventually("a request to it", || {
        assert_eq!(deck.status(), 200);
        upstreams[0].try_received()
    });
    assert_eq!((deck.standing(bad), deck.standing(good)), ("fit".into(), "fit".into()));
    assert_eq!(deck.sample("penstock_endpoint_ejections_total", bad, ""), Some(1));
    let outcome = |name: &str| {
        deck.sample("penstock_endpoint_requests_total", bad, &format!(",outcome=\"{name}\""))
    };
    assert_eq!((outcome("gateway_error"), outcome("2xx")), (Some(3), Some(1)));
}

#[test]
fn of_three_endpoints_one_that_is_dead_costs_nobody_anything() {
    let upstreams = pair();
    let [one, two] = addresses(&upstreams);
    let dead = dead_address(9);
    let deck = Deck::start(&[one, dead, two], &[("--threads", "2")]);
    let attempts = || {
        let answer = deck.gateway.send(&ask());
        assert_eq!(answer.status(), 200);
        deck.gateway.access_log.of_request(&answer)["attempts"].as_array().unwrap().len()
    };
    // Nothing was sent where there is no connection, so that others are tried.
    eventually("an ejection", || {
        attempts();
        (deck.standing(dead) == "ejected").then_some(())
    });
    for _ in 0..12 {
        assert_eq!(attempts(), 1);
    }
    assert_eq!(deck.sample("penstock_endpoint_ejected", dead, ""), Some(1));
    assert_eq!(deck.sample("penstock_endpoint_fit", dead, ""), Some(0));
    assert_eq!(deck.sample("penstock_endpoint_fit", one, ""), Some(1));
    let failed =
        deck.sample("penstock_endpoint_requests_total", dead, ",outcome=\"connect_failed\"");
    assert_eq!(failed, Some(5));
}

#[test]
fn whatever_keeps_an_answer_from_coming_is_a_failure() {
    for (scenario, status, outcome) in [
        (Scenario::close(), 502, "upstream_closed"),
        (Scenario::Bytes(b"220 smtp\r\n\r\n".to_vec()), 502, "upstream_invalid"),
        (Scenario::Silence, 504, "upstream_timeout"),
        (Scenario::Status(502, "{}"), 502, "gateway_error"),
        (Scenario::Status(504, "{}"), 504, "gateway_error"),
    ] {
        let upstreams = [Upstream::start(scenario), Upstream::start(Scenario::Completion)];
        let [bad, good] = addresses(&upstreams);
        let flags = [("--eject-after", "1"), ("--first-byte-timeout", "0.2")];
        let deck = Deck::start(&[bad, good], &flags);
        let mut statuses = [deck.status(), deck.status()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, status]);
        assert_eq!(deck.standing(bad), "ejected", "{outcome}");
        let labels = format!(",outcome=\"{outcome}\"");
        assert_eq!(deck.sample("penstock_endpoint_requests_total", bad, &labels), Some(1));
        assert!((0..4).all(|_| deck.status() == 200));
    }
}

#[test]
fn a_certificate_that_is_refused_is_a_failure() {
    let authority = Authority::new();
    let start = |name: &str| Upstream::start_tls(Scenario::Completion, authority.server(&[name]));
    let upstreams = [start("other.test"), start("deck.test")];
    let [bad, good] = addresses(&upstreams);
    let registry = format!(
        "{{name: deck, type: static, domain: \"{bad},{good}\", port: 80, protocol: https, sni: deck.test}}"
    );
    let roots = Directory::new();
    let roots = authority.write_to(roots.path()).display().to_string();
    let deck = Deck::of(bridge(&[registry]), &[("--upstream-ca", &roots), ("--eject-after", "2")]);
    assert!((0..6).all(|_| deck.status() == 200));
    assert_eq!((deck.standing(bad), deck.standing(good)), ("ejected".into(), "fit".into()));
    let reason = deck.health(bad)["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("tls_failed"), "{reason}");
}

#[test]
fn a_name_that_a_client_chose_never_ejects_an_endpoint() {
    let authority = Authority::new();
    let start = || Upstream::start_tls(Scenario::Completion, authority.server(&["deck.test"]));
    let upstreams = [start(), start()];
    let [one, two] = addresses(&upstreams);
    let registry =
        format!("{{name: deck, type: static, domain: \"{one},{two}\", port: 80, protocol: https}}");
    let roots = Directory::new();
    let roots = authority.write_to(roots.path()).display().to_string();
    let directory =
        Directory::new().holding([("mcpbridges/default.yaml", bridge(&[registry]))]).holding([
            Ingress::new("all").at("", "Prefix", "/").without_annotation("upstream-vhost").file(),
        ]);
    let serve = Serve::new(directory.path()).with("--upstream-ca", &roots);
    let deck = Deck { gateway: serve.with("--eject-after", "1").start(), directory };
    for (host, status, error) in [
        ("other.test", 503, "tls_failed"),
        ("~.deck.test", 400, "invalid_request"),
        ("-a.deck.test", 400, "invalid_request"),
    ] {
        let answer = deck.gateway.send(&Request::get(host, "/"));
        let line = deck.gateway.access_log.of_request(&answer);
        assert_eq!((answer.status(), &line["error"]), (status, &error.into()), "{line}");
        // Nobody is dialled for a name that cannot be one.
        let attempts = line["attempts"].as_array().unwrap().len();
        assert_eq!(attempts, if status == 400 { 1 } else { 2 }, "{host}");
    }
    for endpoint in [one, two] {
        assert_eq!(deck.standing(endpoint), "fit");
    }
    let connections: usize = upstreams.iter().map(Upstream::connections).sum();
    assert_eq!((deck.status(), connections), (200, 2));
}

#[test]
fn a_route_whose_time_is_over_blames_the_endpoint() {
    let upstreams = [Upstream::start(Scenario::Silence), Upstream::start(Scenario::Completion)];
    let [bad, good] = addresses(&upstreams);
    let deck = Deck::start(&[bad, good], &[("--eject-after", "1"), ("--request-timeout", "0.3")]);
    let mut statuses = [deck.status(), deck.status()];
    statuses.sort_unstable();
    assert_eq!((statuses, deck.standing(bad).as_str()), ([200, 504], "ejected"));
}

/// A client that sends the head of a request, and nothing of its body.
fn stalled(deck: &Deck) -> Connection {
    let mut client = deck.gateway.connect();
    client.write(b"POST / HTTP/1.1\r\nHost: deck.test\r\nContent-Length: 10\r\n\r\n");
    client
}

fn stall(deck: &Deck) -> u16 {
    stalled(deck).head().status
}

#[test]
fn a_client_that_does_not_send_its_body_blames_nobody_else() {
    for limit in ["--request-timeout", "--first-byte-timeout"] {
        let upstreams = pair();
        let [one, two] = addresses(&upstreams);
        let deck = Deck::start(&[one, two], &[("--eject-after", "1"), (limit, "0.3")]);
        assert_eq!([stall(&deck), stall(&deck)], [408, 408], "{limit}");
        for endpoint in [one, two] {
            assert_eq!(deck.standing(endpoint), "fit", "{limit}");
            let labels = ",outcome=\"upstream_timeout\"";
            let late = deck.sample("penstock_endpoint_requests_total", endpoint, labels);
            assert!(late.is_none_or(|count| count == 0), "{limit}");
        }
    }
}

#[test]
fn a_client_that_does_not_send_its_body_leaves_a_shared_connection_to_others() {
    for limit in ["--request-timeout", "--first-byte-timeout"] {
        let upstream = Http2Upstream::start();
        let registry = format!(
            "{{name: deck, type: static, domain: \"{}\", port: 80, protocol: http2}}",
            upstream.address
        );
        let flags = [(limit, "0.3"), ("--threads", "1")];
        let deck = Deck::of(bridge(&[registry]), &flags);
        assert_eq!((deck.status(), stall(&deck), deck.status()), (200, 408, 200), "{limit}");
        assert_eq!(upstream.connections(), 1, "{limit}");
    }
}

#[test]
fn what_is_no_fault_of_the_endpoint_never_ejects_it() {
    for status in [429, 500, 529] {
        let upstreams = [
            Upstream::start(Scenario::Status(status, "{}")),
            Upstream::start(Scenario::Completion),
        ];
        let [limited, good] = addresses(&upstreams);
        let deck = Deck::start(&[limited, good], &[("--eject-after", "1")]);
        let count = (0..8).filter(|_| deck.status() == status).count();
        assert_eq!((count, deck.standing(limited).as_str()), (4, "fit"), "{status}");
    }
}

#[test]
fn a_client_that_leaves_is_no_failure() {
    let upstreams = [Upstream::start(Scenario::Silence), Upstream::start(Scenario::Silence)];
    let [one, two] = addresses(&upstreams);
    let deck = Deck::start(&[one, two], &[("--eject-after", "1")]);
    for upstream in [&upstreams[0], &upstreams[1], &upstreams[0]] {
        let client = deck.gateway.begin(&ask());
        upstream.received();
        drop(client);
    }
    for address in [one, two] {
        eventually("the end of its requests", || {
            let active = deck.health(address)["requests"].as_u64().unwrap();
            (active == 0).then_some(())
        });
        assert_eq!(deck.standing(address), "fit");
    }
}

#[test]
fn a_repetition_goes_to_another_endpoint() {
    let upstreams = [Upstream::start(UNAVAILABLE), Upstream::start(Scenario::Completion)];
    let [bad, good] = addresses(&upstreams);
    let deck = Deck::start(&[bad, good], &[("--eject-after", "0")]);
    deck.gateway.reload(|| {
        let (name, text) = Ingress::new("deck.test")
            .annotation("higress.io/upstream-hash-by", "$arg_value")
            .annotation("higress.io/proxy-next-upstream", "http_503")
            .annotation("higress.io/proxy-next-upstream-tries", "1")
            .at("", "Prefix", "/")
            .to("deck.static")
            .file();
        deck.directory.write(&name, text);
    });
    let mut repeated = 0;
    for value in 0..20 {
        let answer = deck.gateway.send(&Request::get("deck.test", &format!("/?value={value}")));
        assert_eq!(answer.status(), 200);
        let line = deck.gateway.access_log.of_request(&answer);
        let endpoints: Vec<&str> = line["attempts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|attempt| attempt["endpoint"].as_str().unwrap())
            .collect();
        let [bad, good] = [bad, good].map(|address| address.to_string());
        repeated += endpoints.len() - 1;
        assert!(endpoints == [&good] || endpoints == [&bad, &good], "{line}");
    }
    assert!(repeated > 0);
}

#[test]
fn the_default_backend_takes_over_where_all_endpoints_are_down() {
    let spare = Upstream::start(Scenario::Completion);
    let dead = dead_address(9);
    let rules = format!("rules: [{}]", rule("a.test", "/", "crane", "number: 80"));
    let (name, text) = ingress("crane", &rules);
    let text = text.replace(
        "namespace: quay}",
        "namespace: quay, annotations: {higress.io/default-backend: pages}}",
    );
    let directory = Directory::new()
        .holding([service("crane", ""), slice("crane-x1", "crane", &[(dead, true)])])
        .holding([service("pages", ""), slice("pages-x1", "pages", &[(spare.address, true)])])
        .holding([(name, text)]);
    let gateway = Serve::new(directory.path()).with("--check-interval", "0.1").start();
    let ask = || gateway.send(&Request::get("a.test", "/")).status();
    eventually("the default backend", || (ask() == 200).then_some(()));
    assert!((0..5).all(|_| ask() == 200));
}

#[test]
fn the_only_endpoint_is_always_tried() {
    let upstream = Upstream::start(Scenario::Completion);
    let deck = Deck::start(&[upstream.address], &[("--eject-after", "1")]);
    (0..8).for_each(|_| upstream.once(UNAVAILABLE));
    for _ in 0..8 {
        assert_eq!(deck.status(), 503);
    }
    assert_eq!(deck.status(), 200);
    assert_eq!(deck.sample("penstock_endpoint_ejections_total", upstream.address, ""), None);
}

#[test]
fn a_reload_keeps_what_is_known_of_those_that_stay() {
    let upstreams = Upstream::start_on([Ipv4Addr::LOCALHOST, SECOND, THIRD], &Scenario::Completion);
    let [bad, good, new] = addresses(&upstreams);
    let flags = [("--eject-after", "2"), ("--pool-idle-timeout", "60")];
    let deck = Deck::start(&[bad, good], &flags);
    (0..2).for_each(|_| upstreams[0].once(UNAVAILABLE));
    (0..4).for_each(|_| assert!([200, 503].contains(&deck.status())));
    assert_eq!(deck.standing(bad), "ejected");
    deck.set(&[bad, good, new]);
    assert_eq!(deck.standing(bad), "ejected");
    let served = deck.sample("penstock_endpoint_requests_total", good, ",outcome=\"2xx\"").unwrap();
    assert!((0..6).all(|_| deck.status() == 200));
    let now = deck.sample("penstock_endpoint_requests_total", good, ",outcome=\"2xx\"").unwrap();
    assert_eq!(now - served, 3);
    assert_eq!(upstreams[1].connections(), 1);
    // Another way of taking turns changes nothing about them.
    deck.gateway.reload(|| {
        let (name, text) = Ingress::new("deck.test")
            .annotation("higress.io/load-balance", "random")
            .at("", "Prefix", "/")
            .to("deck.static")
            .file();
        deck.directory.write(&name, text);
    });
    assert_eq!(deck.standing(bad), "ejected");
    assert!((0..20).all(|_| deck.status() == 200));
    assert_eq!((upstreams[1].connections(), upstreams[2].connections()), (1, 1));
    // What is gone is told no more.
    deck.set(&[good, new]);
    let (gone, metrics) = (bad.to_string(), deck.gateway.metrics());
    assert!(!metrics.contains(&gone), "{metrics}");
}

#[test]
fn a_slice_that_changes_under_load_closes_no_connection() {
    let upstreams = Upstream::start_on([Ipv4Addr::LOCALHOST, SECOND, THIRD], &Scenario::Completion);
    let [one, two, three] = addresses(&upstreams);
    let crane = |addresses: &[SocketAddr]| {
        let endpoints: Vec<_> = addresses.iter().map(|address| (*address, true)).collect();
        slice("crane-x1", "crane", &endpoints)
    };
    let (file, text) = crane(&[one, two]);
    let rules = format!("rules: [{}]", rule("a.test", "/", "crane", "number: 80"));
    let directory = Directory::new().holding([
        service("crane", ""),
        (file.clone(), text),
        ingress("crane", &rules),
    ]);
    let gateway = Serve::new(directory.path()).with("--pool-idle-timeout", 60).start();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut client = gateway.connect();
            let mut count = 0;
            while !is_over.load(Ordering::Acquire) {
                client.send(&Request::get("a.test", "/"));
                assert_eq!(client.answer().status(), 200);
                count += 1;
            }
            count
        });
        for addresses in [&[one, two, three][..], &[two, three], &[one, two, three], &[one, two]] {
            gateway.reload(|| directory.write(&file, crane(addresses).1));
        }
        is_over.store(true, Ordering::Release);
        assert!(load.join().unwrap() > 10);
    });
    for upstream in &upstreams {
        assert_eq!(upstream.connections(), 1);
    }
}

#[test]
fn a_name_with_other_addresses_keeps_what_is_known_of_those_that_stay() {
    const NAME: &str = "api.deck.test";
    let upstreams = Upstream::start_on([Ipv4Addr::LOCALHOST, SECOND, THIRD], &Scenario::Completion);
    let [bad, good, new] = addresses(&upstreams);
    let dns = Dns::start();
    let record = |addresses: &[Ipv4Addr]| Record::Addresses(addresses.to_vec(), 1);
    dns.set(NAME, record(&[Ipv4Addr::LOCALHOST, SECOND]));
    let registry = dns_registry("deck", NAME, good.port(), "");
    let directory = Directory::new()
        .holding([("mcpbridges/default.yaml", bridge(&[registry]))])
        .holding([Ingress::new("deck.test").at("", "Prefix", "/").to("deck.dns").file()]);
    let gateway = Serve::new(directory.path())
        .with("--dns", dns.address)
        .with("--eject-after", 1)
        .with("--pool-idle-timeout", 60)
        .start();
    let deck = Deck { gateway, directory };
    upstreams[0].once(UNAVAILABLE);
    let mut statuses = [deck.status(), deck.status()];
    statuses.sort_unstable();
    assert_eq!((statuses, deck.standing(bad).as_str()), ([200, 503], "ejected"));
    dns.set(NAME, record(&[Ipv4Addr::LOCALHOST, SECOND, THIRD]));
    eventually("the new address", || {
        let status = deck.gateway.status();
        let endpoints = status["services"][0]["endpoints"].as_array().unwrap();
        endpoints.contains(&json!(new.to_string())).then_some(())
    });
    assert_eq!(deck.standing(bad), "ejected");
    // Another list of names changes nothing about it either.
    dns.set("other.deck.test", record(&[THIRD]));
    deck.gateway.reload(|| {
        deck.directory.edit("mcpbridges/default.yaml", NAME, "api.deck.test,other.deck.test");
    });
    assert!((0..6).all(|_| deck.status() == 200));
    assert_eq!(deck.standing(bad), "ejected");
    assert_eq!((upstreams[1].connections(), upstreams[2].connections()), (1, 1));
}

#[test]
fn one_that_joins_warms_up() {
    let upstreams = pair();
    let [one, two] = addresses(&upstreams);
    let deck = Deck::start(&[one], &[("--warm-up", "3600")]);
    assert_eq!(deck.standing(one), "fit");
    deck.set(&[one, two]);
    assert_eq!((deck.standing(one), deck.standing(two)), ("fit".into(), "warming".into()));
    for _ in 0..60 {
        assert_eq!(deck.status(), 200);
    }
    let count = std::iter::from_fn(|| upstreams[1].try_received()).count();
    assert!(count < 20, "{count} of 60");
}

// === Active ===

#[test]
fn a_check_of_a_path_takes_an_endpoint_out_and_brings_it_back() {
    let upstreams = pair();
    let [bad, good] = addresses(&upstreams);
    (0..6).for_each(|_| upstreams[0].once(Scenario::Status(503, "{}")));
    let flags = [
        ("--check-interval", "0.1"),
        ("--check-path", "/health?deep=1"),
        ("--check-failures", "2"),
    ];
    let deck = Deck::start(&[bad, good], &flags);
    deck.await_standing(bad, "down");
    let check = upstreams[0].received();
    assert_eq!(check.line, "GET /health?deep=1 HTTP/1.1");
    assert_eq!(check.header("host"), Some(&*bad.ip().to_string()));
    assert_eq!(check.header("user-agent"), Some("penstock-check"));
    deck.await_standing(bad, "fit");
    assert_eq!(deck.standing(good), "fit");
    let checks = |result: &str| {
        let labels = format!(",result=\"{result}\"");
        deck.sample("penstock_endpoint_checks_total", bad, &labels).unwrap_or(0)
    };
    assert_eq!(checks("failed"), 6);
    assert!(checks("passed") >= 2);
}

#[test]
fn an_endpoint_that_is_down_gets_no_request() {
    let upstream = Upstream::start(Scenario::Completion);
    let (dead, address) = (dead_address(9), upstream.address);
    let deck =
        Deck::start(&[dead, address], &[("--check-interval", "0.1"), ("--eject-after", "0")]);
    deck.await_standing(dead, "down");
    let reason = deck.health(dead)["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("checks in a row failed"), "{reason}");
    for _ in 0..6 {
        let answer = deck.gateway.send(&ask());
        let line = deck.gateway.access_log.of_request(&answer);
        let attempts = line["attempts"].as_array().unwrap();
        let [attempt] = &attempts[..] else { panic!("{line}") };
        let told = (&attempt["endpoint"], &attempt["outcome"], &attempt["status"]);
        assert_eq!(told, (&json!(address.to_string()), &json!("ok"), &json!(200)));
        assert_eq!(answer.status(), 200);
    }
    // With all of them down, all are tried.
    deck.set(&[dead]);
    let answer = deck.gateway.send(&ask());
    assert_eq!(answer.status(), 503);
    assert_eq!(deck.gateway.access_log.of_request(&answer)["error"], "connect_failed");
}

#[test]
fn a_service_that_has_as_much_as_it_may_is_checked_all_the_same() {
    for protocol in ["http", "http2"] {
        let (upstream, http2) = (Upstream::start(Scenario::Completion), Http2Upstream::allowing(1));
        let address = if protocol == "http" { upstream.address } else { http2.address };
        let registry = format!(
            "{{name: deck, type: static, domain: \"{address}\", port: 80, protocol: {protocol}}}"
        );
        let flags = [
            ("--service-connection-limit", "1"),
            ("--service-pending-limit", "1"),
            ("--check-interval", "0.1"),
            ("--check-timeout", "0.5"),
            ("--check-failures", "1"),
            ("--check-path", "/health"),
        ];
        let deck = Deck::of(bridge(&[registry]), &flags);
        let _held = stalled(&deck);
        eventually("the only connection", || (deck.health(address)["requests"] == 1).then_some(()));
        let _waiting = deck.gateway.begin(&ask());
        eventually("a request that waits", || (deck.pending() == Some(1)).then_some(()));
        let passed = || {
            let labels = ",result=\"passed\"";
            deck.sample("penstock_endpoint_checks_total", address, labels).unwrap_or(0)
        };
        let before = passed();
        eventually("checks", || (passed() >= before + 3).then_some(()));
        assert_eq!((deck.standing(address).as_str(), deck.pending()), ("fit", Some(1)));
    }
}

#[test]
fn only_services_that_are_named_are_checked_and_as_long_as_they_are_there() {
    let [deck, pier, other] = [(); 3].map(|()| Upstream::start(Scenario::Completion));
    let registries = [
        static_registry("deck", &[deck.address]),
        static_registry("pier", &[pier.address]),
        static_registry("other", &[other.address]),
    ];
    let flags = [
        ("--check-interval", "0.1"),
        ("--check-path", "/"),
        ("--check-services", "*.static.test,deck.*,pier.static"),
    ];
    let gateway = Deck::of(bridge(&registries), &flags);
    for upstream in [&deck, &pier] {
        (0..3).for_each(|_| drop(upstream.received()));
    }
    gateway.gateway.reload(|| {
        gateway.directory.write("mcpbridges/default.yaml", bridge(&registries[1..]));
    });
    let count = |upstream: &Upstream| std::iter::from_fn(|| upstream.try_received()).count();
    for upstream in [&deck, &pier] {
        count(upstream);
    }
    (0..6).for_each(|_| drop(pier.received()));
    // One may have been under way.
    assert!(count(&deck) < 2);
    other.received_nothing();
}

#[test]
fn checks_speak_http2_where_the_service_does() {
    let upstream = Http2Upstream::start();
    let registry = format!(
        "{{name: deck, type: static, domain: \"{}\", port: 80, protocol: grpc, sni: deck.test}}",
        upstream.address
    );
    let flags = [("--check-interval", "0.1"), ("--check-path", "/health")];
    let deck = Deck::of(bridge(&[registry]), &flags);
    assert_eq!(upstream.received().head.uri().to_string(), "http://deck.test/health");
    upstream.received();
    eventually("a check", || {
        let labels = ",result=\"passed\"";
        deck.sample("penstock_endpoint_checks_total", upstream.address, labels)
    });
    assert_eq!(deck.standing(upstream.address), "fit");
}

#[test]
fn a_flag_of_checks_without_checks_is_refused() {
    let directory = Directory::new();
    for (flag, value) in [
        ("--check-path", "/health"),
        ("--check-timeout", "1"),
        ("--check-failures", "1"),
        ("--check-successes", "1"),
        ("--check-services", "*"),
    ] {
        let output = Serve::new(directory.path()).with(flag, value).refused();
        assert_eq!(output.status.code(), Some(64), "{flag}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("--check-interval"));
    }
}

// === Limits ===

#[track_caller]
fn check_busy(deck: &Deck, answer: &Answer, limit: &str, cause: &str) {
    assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("1")));
    assert!(answer.text().ends_with("reset reason: overflow"), "{}", answer.text());
    let line = deck.gateway.access_log.of_request(answer);
    assert_eq!(line["error"], "service_busy");
    assert!(line["cause"].as_str().unwrap().contains(cause), "{line}");
    assert_eq!(deck.refused(limit), Some(1));
}

#[test]
fn a_service_takes_so_many_requests_at_a_time() {
    let upstream = Upstream::start(Scenario::Completion);
    let address = upstream.address;
    let deck = Deck::start(&[address], &[("--service-request-limit", "1"), ("--threads", "2")]);
    let steps = upstream.stepped();
    let mut first = deck.gateway.begin(&ask());
    steps.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha");
    first.head();
    let active = |count: u64| {
        let service = sample(
            &deck.gateway.metrics(),
            "penstock_service_requests_active{service=\"deck.static\",port=\"80\"}",
        );
        let endpoint = deck.sample("penstock_endpoint_requests_active", address, "");
        ((service, endpoint) == (Some(count), Some(count))).then_some(())
    };
    active(1).expect("an answer under way is a request");
    check_busy(&deck, &deck.gateway.send(&ask()), "requests", "as many requests as it may");
    steps.write("lf");
    drop(steps);
    eventually("the end of the request", || active(0));
    assert_eq!(deck.sample("penstock_endpoint_connections", address, ""), Some(1));
    assert_eq!(deck.status(), 200);
}

#[test]
fn connections_that_become_free_go_to_those_who_wait() {
    let upstream = Upstream::start(Scenario::Completion);
    let flags = [("--service-connection-limit", "1"), ("--connect-timeout", "60")];
    let deck = Deck::start(&[upstream.address], &flags);
    let steps = upstream.stepped();
    let mut first = deck.gateway.begin(&ask());
    steps.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha");
    let mut clients: Vec<Connection> = (0..19).map(|_| deck.gateway.begin(&ask())).collect();
    eventually("requests that wait", || (deck.pending() == Some(19)).then_some(()));
    steps.write("lf");
    drop(steps);
    assert_eq!(first.answer().text(), "half");
    for client in &mut clients {
        assert_eq!(client.answer().status(), 200);
    }
    // One in eight ends in favour of other workers.
    let connections = upstream.connections();
    assert!(connections < 15, "{connections}");
}

#[test]
fn who_finds_no_connection_left_waits_for_one() {
    let upstream = Upstream::start(Scenario::Completion);
    let flags = [("--service-connection-limit", "1"), ("--service-pending-limit", "1")];
    let deck = Deck::start(&[upstream.address], &flags);
    let steps = upstream.stepped();
    let mut first = deck.gateway.begin(&ask());
    steps.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha");
    let mut second = deck.gateway.begin(&ask());
    eventually("a request that waits", || (deck.pending() == Some(1)).then_some(()));
    check_busy(&deck, &deck.gateway.send(&ask()), "pending", "too many requests wait");
    steps.write("lf");
    drop(steps);
    assert_eq!(first.answer().text(), "half");
    assert_eq!(second.answer().status(), 200);
    assert_eq!(deck.sample("penstock_endpoint_connections", upstream.address, ""), Some(1));
}

#[test]
fn who_waits_too_long_for_a_connection_is_told() {
    let upstream = Upstream::start(Scenario::Silence);
    let flags = [("--service-connection-limit", "1"), ("--connect-timeout", "0.2")];
    let deck = Deck::start(&[upstream.address], &flags);
    let _first = deck.gateway.begin(&ask());
    upstream.received();
    check_busy(&deck, &deck.gateway.send(&ask()), "connections", "as many connections as it may");
    assert_eq!(deck.standing(upstream.address), "fit");
}

#[test]
fn an_idle_connection_makes_room_for_one_to_another_endpoint() {
    let upstreams = pair();
    let flags = [("--service-connection-limit", "1"), ("--connect-timeout", "60")];
    let deck = Deck::start(&addresses(&upstreams), &flags);
    for _ in 0..6 {
        assert_eq!(deck.status(), 200);
    }
    assert_eq!((upstreams[0].connections(), upstreams[1].connections()), (3, 3));
    // Those of other workers are given up for it, too.
    let flags = [flags[0], flags[1], ("--threads", "4")];
    let deck = Deck::start(&addresses(&upstreams), &flags);
    for _ in 0..6 {
        assert_eq!(deck.status(), 200);
    }
}

#[test]
fn a_stream_that_ends_makes_room_on_the_only_connection() {
    let upstream = Http2Upstream::allowing(2);
    let registry = format!(
        "{{name: deck, type: static, domain: \"{}\", port: 80, protocol: http2}}",
        upstream.address
    );
    let flags = [("--service-connection-limit", "1"), ("--connect-timeout", "60")];
    let deck = Deck::of(bridge(&[registry]), &flags);
    let held = Request::get("deck.test", "/held");
    let mut clients: Vec<Connection> = (0..5).map(|_| deck.gateway.begin(&held)).collect();
    for _ in 0..2 {
        upstream.received();
    }
    eventually("requests that wait", || (deck.pending() == Some(3)).then_some(()));
    upstream.release(5);
    for client in &mut clients {
        assert_eq!(client.answer().status(), 200);
    }
    assert_eq!((upstream.connections(), upstream.open_max()), (1, 2));
}
