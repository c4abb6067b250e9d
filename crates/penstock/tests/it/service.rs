//! McpBridge: where requests go, how names become addresses, and what is
//! spoken there.

use std::net::Ipv4Addr;

use crate::support::certificates::Authority;
use crate::support::dns::{Dns, Record};
use crate::support::*;

const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const THIRD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// One route on any host to `deck`, whose registry is given.
fn deck(registry: &str) -> Directory {
    decks(&[registry.to_owned()], "static")
}

fn decks(registries: &[String], kind: &str) -> Directory {
    let destination = format!("deck.{kind}");
    Directory::new()
        .holding([("mcpbridges/default.yaml", bridge(registries))])
        .holding([Ingress::new("deck.test").at("", "Prefix", "/").to(&destination).file()])
}

fn ask() -> Request {
    Request::get("deck.test", "/")
}

/// An upstream that tells its name.
fn named(name: &str) -> Scenario {
    Scenario::raw(&format!("Content-Length: {}", name.len()), name)
}

#[test]
fn the_addresses_of_a_static_registry_take_turns() {
    let upstreams = ["a", "b", "c"].map(|name| Upstream::start(named(name)));
    let directory = deck(&static_registry("deck", &upstreams.each_ref().map(|u| u.address)));
    let gateway = Serve::new(directory.path()).start();
    let mut turns: Vec<String> = (0..6).map(|_| gateway.send(&ask()).text()).collect();
    assert_eq!(turns[..3], turns[3..]);
    turns.truncate(3);
    turns.sort();
    assert_eq!(turns, ["a", "b", "c"]);
}

#[test]
fn an_address_that_nobody_listens_at_is_skipped() {
    let upstream = Upstream::start(named("alive"));
    let directory =
        deck(&static_registry("deck", &[dead_address(9), upstream.address, dead_address(10)]));
    let gateway = Serve::new(directory.path()).start();
    for _ in 0..9 {
        let answer = gateway.send(&ask());
        assert_eq!((answer.status(), answer.text().as_str()), (200, "alive"));
        let line = gateway.access_log.of_request(&answer);
        let attempts = line["attempts"].as_array().unwrap();
        let (last, failed) = attempts.split_last().unwrap();
        assert_eq!(last["outcome"], "ok");
        assert!(failed.iter().all(|attempt| attempt["outcome"] == "connect_failed"), "{line}");
    }
}

#[test]
fn a_service_with_a_bad_address_is_unusable_and_no_other() {
    let upstream = Upstream::start(named("good"));
    let registries = [
        format!("{{name: blank, type: static, domain: \"{0}, {0}\", port: 80}}", upstream.address),
        "{name: local, type: dns, domain: localhost, port: 80}".to_owned(),
        "{name: dotted, type: dns, domain: deck.test., port: 80}".to_owned(),
        "{name: typeless, domain: deck.test, port: 80}".to_owned(),
        "{name: quic, type: static, domain: \"127.0.0.1:1\", port: 80, protocol: quic}".to_owned(),
        "nonsense".to_owned(),
        static_registry("deck", &[upstream.address]),
    ];
    let directory = decks(&registries, "static").holding(
        ["blank.static", "local.dns", "dotted.dns", "quic.static"].map(|service| {
            Ingress::new(service).at(&format!("{service}.test"), "Prefix", "/").to(service).file()
        }),
    );
    let gateway = Serve::new(directory.path()).start();
    assert_eq!(gateway.send(&ask()).text(), "good");
    for service in ["blank.static", "local.dns", "dotted.dns", "quic.static"] {
        assert_eq!(
            gateway.send(&Request::get(&format!("{service}.test"), "/")).status(),
            503,
            "{service}"
        );
    }
}

#[test]
fn of_two_registries_of_one_name_the_last_counts() {
    let upstreams = ["first", "last"].map(|name| Upstream::start(named(name)));
    let registries =
        upstreams.each_ref().map(|upstream| static_registry("deck", &[upstream.address]));
    let directory = decks(&registries, "static");
    let gateway = Serve::new(directory.path()).start();
    assert_eq!(gateway.send(&ask()).text(), "last");
    assert!(gateway.findings().iter().any(|finding| finding["code"] == "PS405"));
}

#[test]
fn all_addresses_of_all_names_take_turns() {
    let names = [Ipv4Addr::LOCALHOST, SECOND, THIRD];
    let upstreams = Upstream::start_on(names, &Scenario::Completion);
    let dns = Dns::start();
    dns.set("one.deck.test", Record::Addresses(vec![Ipv4Addr::LOCALHOST, SECOND], 60));
    dns.set("two.deck.test", Record::Addresses(vec![SECOND, THIRD], 60));
    let port = upstreams[0].address.port();
    let directory = decks(&[dns_registry("deck", "one.deck.test,Two.deck.test", port, "")], "dns");
    let gateway = Serve::new(directory.path()).with("--dns", dns.address).start();
    for _ in 0..6 {
        assert_eq!(gateway.send(&ask()).status(), 200);
    }
    for upstream in &upstreams {
        assert_eq!(std::iter::from_fn(|| upstream.try_received()).count(), 2);
    }
}

/// A service `deck` by name, at [`SECOND`] for now.
struct ByName {
    upstreams: [Upstream; 2],
    dns: Dns,
    gateway: Gateway,
    _directory: Directory,
}

const NAME: &str = "api.deck.test";

impl ByName {
    fn start(record: Record) -> Self {
        let [second, third] = Upstream::start_on([SECOND, THIRD], &Scenario::Completion);
        let dns = Dns::start();
        dns.set(NAME, record);
        let registry = dns_registry("deck", NAME, second.address.port(), "");
        let directory = decks(&[registry], "dns");
        let gateway = Serve::new(directory.path()).with("--dns", dns.address).start_unready();
        Self { upstreams: [second, third], dns, gateway, _directory: directory }
    }

    fn at(address: Ipv4Addr) -> Record {
        Record::Addresses(vec![address], 1)
    }

    /// Where a request goes: 0 for [`SECOND`], 1 for [`THIRD`].
    fn destination(&self) -> Option<usize> {
        assert_eq!(self.gateway.send(&ask()).status(), 200);
        self.upstreams.iter().position(|upstream| upstream.try_received().is_some())
    }

    /// Waits for so many more look-ups.
    fn await_queries(&self, count: usize) {
        let wanted = self.dns.queries(NAME) + count;
        eventually("a look-up", || (self.dns.queries(NAME) >= wanted).then_some(()));
    }
}

#[test]
fn a_changed_address_is_picked_up_when_its_time_is_over() {
    let by_name = ByName::start(ByName::at(SECOND));
    assert_eq!(by_name.destination(), Some(0));
    by_name.dns.set(NAME, ByName::at(THIRD));
    eventually("the new address", || (by_name.destination() == Some(1)).then_some(()));
    for _ in 0..5 {
        assert_eq!(by_name.destination(), Some(1));
    }
}

#[test]
fn a_look_up_that_fails_keeps_the_last_addresses() {
    check_keeps(|dns| dns.set(NAME, Record::Fails));
}

#[test]
fn a_name_that_vanishes_keeps_its_last_addresses() {
    check_keeps(|dns| dns.remove(NAME));
}

#[test]
fn a_name_that_loses_its_addresses_keeps_the_last_ones() {
    check_keeps(|dns| dns.set(NAME, Record::Addresses(Vec::new(), 1)));
}

/// Asserts that what happens to a name costs no request, and that the name is
/// followed as soon as it has addresses again.
#[track_caller]
fn check_keeps(happens: impl FnOnce(&Dns)) {
    let by_name = ByName::start(ByName::at(SECOND));
    assert_eq!(by_name.destination(), Some(0));
    happens(&by_name.dns);
    by_name.await_queries(3);
    assert_eq!(by_name.destination(), Some(0));
    let status = by_name.gateway.status();
    let endpoint = by_name.upstreams[0].address.to_string();
    assert_eq!(status["services"][0]["endpoints"], serde_json::json!([endpoint]));
    by_name.dns.set(NAME, ByName::at(THIRD));
    eventually("the new address", || (by_name.destination() == Some(1)).then_some(()));
}

#[test]
fn a_name_that_does_not_exist_is_503_until_it_does() {
    let by_name = ByName::start(Record::Fails);
    eventually("readiness", || (by_name.gateway.ready() == 200).then_some(()));
    assert_eq!(by_name.gateway.send(&ask()).status(), 503);
    by_name.dns.set(NAME, ByName::at(SECOND));
    eventually("an address", || (by_name.gateway.send(&ask()).status() == 200).then_some(()));
}

#[test]
fn a_request_waits_for_the_first_look_up() {
    let by_name = ByName::start(Record::Silent);
    eventually("the first query", || (by_name.dns.queries(NAME) > 0).then_some(()));
    assert_eq!(by_name.gateway.ready(), 503);
    let mut client = by_name.gateway.begin(&ask());
    by_name.dns.set(NAME, ByName::at(SECOND));
    assert_eq!(client.answer().status(), 200);
    eventually("readiness", || (by_name.gateway.ready() == 200).then_some(()));
}

#[test]
fn the_server_name_is_the_registrys_or_the_requests() {
    let check = |names: &str, more: &str, expected: &str| {
        let authority = Authority::new();
        let upstream = Upstream::start_tls(Scenario::Completion, authority.server(&[expected]));
        let dns = Dns::start();
        for name in names.split(',') {
            dns.set(name, Record::Addresses(vec![Ipv4Addr::LOCALHOST], 60));
        }
        let registry = dns_registry(
            "deck",
            names,
            upstream.address.port(),
            &format!(", protocol: HTTPS{more}"),
        );
        let directory = decks(&[registry], "dns");
        let gateway = Serve::new(directory.path())
            .with("--dns", dns.address)
            .with("--upstream-ca", authority.write_to(directory.path()).display())
            .start();
        assert_eq!(gateway.send(&ask()).status(), 200, "{names} {more}");
        assert_eq!(upstream.received().server_name.as_deref(), Some(expected));
    };
    check("api.deck.test", "", "api.deck.test");
    check("api.deck.test", ", sni: sni.deck.test", "sni.deck.test");
    check("one.deck.test,two.deck.test", ", sni: sni.deck.test", "sni.deck.test");
    // The route's upstream-vhost is its name.
    check("one.deck.test,two.deck.test", "", "deck.test");
}

#[test]
fn connections_under_different_server_names_are_not_mixed() {
    let authority = Authority::new();
    let names = ["one.test", "two.test"];
    let upstream = Upstream::start_tls(Scenario::Completion, authority.server(&names));
    let registry = format!(
        "{{name: deck, type: static, domain: \"{}\", port: 80, protocol: https}}",
        upstream.address
    );
    let directory = deck(&registry)
        .holding(names.map(|name| Ingress::new(name).at(name, "Prefix", "/").file()));
    let gateway = Serve::new(directory.path())
        .with("--upstream-ca", authority.write_to(directory.path()).display())
        .start();
    for _ in 0..3 {
        for name in names {
            assert_eq!(gateway.send(&Request::get(name, "/")).status(), 200);
            let received = upstream.received();
            assert_eq!(
                (received.server_name.as_deref(), received.header("host")),
                (Some(name), Some(name))
            );
        }
    }
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn a_static_registry_may_want_tls_too() {
    let authority = Authority::new();
    let upstream = Upstream::start_tls(Scenario::Completion, authority.server(&["deck.test"]));
    let registry = format!(
        "{{name: deck, type: static, domain: \"{}\", port: 80, protocol: https}}",
        upstream.address
    );
    let directory = deck(&registry);
    let gateway = Serve::new(directory.path())
        .with("--upstream-ca", authority.write_to(directory.path()).display())
        .start();
    for _ in 0..3 {
        assert_eq!(gateway.send(&ask()).status(), 200);
    }
    assert_eq!(upstream.received().server_name.as_deref(), Some("deck.test"));
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn certificates_are_not_checked_where_that_is_asked_for() {
    let upstream =
        Upstream::start_tls(Scenario::Completion, Authority::new().server(&["other.test"]));
    let registry = format!(
        "{{name: deck, type: static, domain: \"{}\", port: 80, protocol: https}}",
        upstream.address
    );
    let directory = deck(&registry);
    let trusting = Serve::new(directory.path()).with("--upstream-tls", "trust-any").start();
    assert_eq!(trusting.send(&ask()).status(), 200);
    let checking = Serve::new(directory.path()).start();
    assert_eq!(checking.send(&ask()).status(), 503);
}

#[test]
fn a_changed_registry_counts_for_new_requests_only() {
    let harbor = Harbor::start();
    let other = Upstream::start(named("other"));
    let steps = harbor.upstream.stepped();
    let mut client = harbor.gateway.begin(&chat());
    steps.write("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
    client.head();
    harbor.gateway.reload(|| {
        let (from, to) = (harbor.upstream.address.to_string(), other.address.to_string());
        harbor.directory.edit("mcpbridges/default.yaml", &from, &to);
    });
    assert_eq!(harbor.chat().text(), "other");
    steps.write("half");
    let head = crate::support::client::Head {
        status: 200,
        headers: vec![("content-length".into(), "8".into())],
    };
    assert_eq!(client.body_of(head).text(), "halfhalf");
}

#[test]
fn a_reload_keeps_the_connections_of_services_that_stay() {
    let harbor = Harbor::start();
    harbor.chat();
    harbor.gateway.reload(|| {
        harbor.directory.edit("configmaps/domain-chat.harbor.test.yaml", "\"off\"", "\"on\"");
    });
    harbor.chat();
    assert_eq!(harbor.upstream.connections(), 1);
}
