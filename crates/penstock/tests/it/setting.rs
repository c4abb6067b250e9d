//! ConfigMaps `higress-config` and `higress-https`: settings of the gateway
//! as a whole, and certificates for hosts that name none.

use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};

use crate::support::certificates::Authority;
use crate::support::*;

fn config_map(name: &str, key: &str, document: &str) -> (String, String) {
    let lines: String = document.lines().map(|line| format!("    {line}\n")).collect();
    (
        format!("configmaps/{name}.yaml"),
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: higress-system}}\ndata:\n  {key}: |\n{lines}"
        ),
    )
}

pub(crate) fn higress_config(document: &str) -> (String, String) {
    config_map("higress-config", "higress", document)
}

/// A gateway with a route to an upstream on `a.test`, and one without a time of
/// its own on `plain.test`.
pub(crate) struct Site {
    pub(crate) gateway: Gateway,
    pub(crate) upstream: Upstream,
    directory: Directory,
}

impl Site {
    pub(crate) fn with(scenario: Scenario, document: &str) -> Self {
        let upstream = Upstream::start(scenario);
        let registry = static_registry("deck", &[upstream.address]);
        let route = Ingress::new("r").at("a.test", "Prefix", "/").annotation("timeout", "100");
        let plain = Ingress::new("plain").at("plain.test", "Prefix", "/");
        let directory = Directory::new()
            .holding([("mcpbridges/default.yaml", bridge(&[registry]))])
            .holding([route.file(), plain.file(), higress_config(document)]);
        let gateway = Serve::new(directory.path()).start();
        Self { gateway, upstream, directory }
    }

    pub(crate) fn change(&self, document: &str) {
        let (name, text) = higress_config(document);
        self.gateway.reload(|| self.directory.replace(&name, text));
    }

    fn real_ip(&self, request: &Request) -> Vec<String> {
        assert_eq!(self.gateway.send(request).status(), 200);
        let received = self.upstream.received();
        received.headers("x-real-ip").iter().map(|text| (*text).to_owned()).collect()
    }

    fn codes(&self) -> Vec<String> {
        let findings = self.gateway.findings();
        let codes = findings.iter().map(|f| f["code"].as_str().unwrap().to_owned());
        let mut codes: Vec<String> = codes.collect();
        codes.sort_unstable();
        codes
    }
}

#[test]
fn upstreams_learn_the_address_where_that_is_set() {
    let site = Site::with(Scenario::Echo, "gzip: {enable: false}");
    let request = Request::get("a.test", "/");
    assert_eq!(site.real_ip(&request), Vec::<String>::new());
    site.change("gzip: {enable: false}\naddXRealIpHeader: true");
    let told = Request::get("a.test", "/").header("X-Real-IP", "192.0.2.1");
    assert_eq!(site.real_ip(&told), ["127.0.0.1"]);
    // A document with a mistake changes nothing.
    site.change("gzip: {enable: false}\naddXRealIpHeader: maybe");
    assert_eq!(site.real_ip(&request), ["127.0.0.1"]);
    assert_eq!(site.codes(), ["PS208", "PS211"]);
    site.change("gzip: {enable: false}");
    assert_eq!(site.real_ip(&request), Vec::<String>::new());
}

#[test]
fn a_time_for_all_routes_wins_over_their_own() {
    let site = Site::with(Scenario::Silence, "downstream: {routeTimeout: 1}");
    for host in ["a.test", "plain.test"] {
        let began = Instant::now();
        assert_eq!(site.gateway.send(&Request::get(host, "/")).status(), 504, "{host}");
        assert!(began.elapsed() < Duration::from_secs(50), "{host}: {:?}", began.elapsed());
    }
}

#[test]
fn heads_are_as_large_as_the_configuration_allows() {
    let site = Site::with(Scenario::Echo, "gzip: {enable: false}");
    let large = Request::get("a.test", "/").header("x-large", &"a".repeat(2048));
    assert_eq!(site.gateway.send(&large).status(), 200);
    site.change("downstream: {maxRequestHeadersKb: 1}\ngzip: {enable: false}");
    assert_eq!(site.gateway.send(&large).status(), 431);
    assert_eq!(site.gateway.send(&Request::get("a.test", "/")).status(), 200);
}

#[test]
fn idle_clients_are_kept_as_long_as_the_configuration_says() {
    let site = Site::with(Scenario::Echo, "downstream: {idleTimeout: 1}");
    let mut connection = site.gateway.connect();
    connection.send(&Request::get("a.test", "/"));
    assert_eq!(connection.answer().status(), 200);
    let line = "penstock_connections_ended_total{reason=\"idle\"} 1";
    eventually("its end", || site.gateway.metrics().contains(line).then_some(()));
}

#[test]
fn what_is_broken_from_the_start_leaves_the_defaults() {
    let site = Site::with(Scenario::Echo, "addXRealIpHeader: [");
    assert_eq!(site.real_ip(&Request::get("a.test", "/")), Vec::<String>::new());
    assert_eq!(site.codes(), ["PS214"]);
    site.change("addXRealIpHeader: true");
    assert_eq!(site.real_ip(&Request::get("a.test", "/")), ["127.0.0.1"]);
    assert_eq!(site.codes(), Vec::<String>::new());
}

/// The status of a request over HTTPS; `None` where there is no handshake.
fn over_tls(gateway: &Gateway, authority: &Authority, host: &str) -> Option<u16> {
    let config = authority.client(&[&TLS12, &TLS13], &[]);
    let mut connection = Connection::open_tls(gateway.https, &config, host).ok()?;
    connection.send(&Request::get(host, "/"));
    Some(connection.answer().status())
}

#[test]
fn hosts_without_a_secret_have_that_of_their_domain() {
    let check = |tls: &str, document: &str, expected: Option<u16>| {
        let authority = Authority::new();
        let upstream = Upstream::start(Scenario::Echo);
        let registry = static_registry("deck", &[upstream.address]);
        let route = Ingress::new("r").at("a.test", "Prefix", "/");
        let route = if tls.is_empty() { route } else { route.tls(tls) };
        let directory =
            Directory::new().holding([("mcpbridges/default.yaml", bridge(&[registry]))]).holding([
                route.file(),
                authority.secret("own", &["a.test"]),
                authority.secret("other", &["b.test"]),
                config_map("higress-https", "cert", document),
            ]);
        let gateway = Serve::new(directory.path()).start();
        let found = over_tls(&gateway, &authority, "a.test");
        assert_eq!(found, expected, "{tls} {document} {:?}", gateway.findings());
    };
    let own = "credentialConfig: [{domains: [a.test], tlsSecret: own}]";
    let fallback = format!("fallbackForInvalidSecret: true\n{own}");
    // Without `tls`, an Ingress never has HTTPS.
    check("", own, None);
    check("{hosts: [a.test]}", own, Some(200));
    check("{hosts: [a.test], secretName: \"\"}", own, Some(200));
    check("{hosts: [b.test], secretName: other}", own, Some(200));
    check(
        "{hosts: [a.test]}",
        "credentialConfig: [{domains: ['*.test'], tlsSecret: higress-system/own}]",
        Some(200),
    );
    check("{hosts: [a.test]}", "credentialConfig: [{domains: [b.test], tlsSecret: own}]", None);
    check(
        "{hosts: [a.test]}",
        "credentialConfig: [{domains: ['*'], tlsSecret: other}, {domains: [a.test], tlsSecret: own}]",
        None,
    );
    check("{hosts: [a.test], secretName: gone}", own, None);
    check("{hosts: [a.test], secretName: gone}", &fallback, Some(200));
    check(
        "{hosts: [a.test], secretName: own}",
        &fallback.replace("tlsSecret: own", "tlsSecret: other"),
        Some(200),
    );
}

#[test]
fn a_domain_of_the_console_has_https() {
    let authority = Authority::new();
    let upstream = Upstream::start(Scenario::Echo);
    let registry = static_registry("deck", &[upstream.address]);
    let domain = |https: &str, cert: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: domain-a.test, namespace: higress-system, labels: {{higress.io/config-map-type: domain}}}}\ndata: {{domain: a.test, enableHttps: \"{https}\", cert: {cert}}}\n"
        )
    };
    let directory = Directory::new()
        .holding([("mcpbridges/default.yaml", bridge(&[registry]))])
        .holding([Ingress::new("r").at("a.test", "Prefix", "/").file()])
        .holding([authority.secret("own", &["a.test"])])
        .holding([("configmaps/domain-a.test.yaml", domain("off", "own"))]);
    let gateway = Serve::new(directory.path()).start();
    let check = |plain: u16, encrypted: Option<u16>| {
        assert_eq!(gateway.send(&Request::get("a.test", "/x?q=1")).status(), plain);
        assert_eq!(over_tls(&gateway, &authority, "a.test"), encrypted);
    };
    let change = |https: &str, cert: &str| {
        let text = domain(https, cert);
        gateway.reload(|| directory.replace("configmaps/domain-a.test.yaml", text));
    };
    check(200, None);
    change("on", "own");
    check(200, Some(200));
    change("force", "own");
    check(308, Some(200));
    // Without the certificate, nothing that works is given up.
    change("force", "gone");
    check(200, None);
}
