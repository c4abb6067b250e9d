//! Hosts that ask their clients for a certificate: who gets in, and that there
//! is no way around it.

use std::process::Command;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};

use crate::support::certificates::{Authority, Identity, secret, secret_of};
use crate::support::*;

const BOTH: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A gateway with hosts of which some ask for certificates.
struct Gate {
    servers: Authority,
    /// Who signs the certificates of clients.
    clients: Authority,
    directory: Directory,
    gateway: Gateway,
    _upstream: Upstream,
}

/// `a.test`, whose clients have to show a certificate.
fn guarded() -> Ingress {
    Ingress::new("a")
        .at("a.test", "Prefix", "/")
        .tls("{hosts: [a.test], secretName: a}")
        .annotation("auth-tls-secret", "higress-system/a-cacert")
}

/// The same host without the annotation.
fn unguarded() -> Ingress {
    guarded().without_annotation("auth-tls-secret")
}

/// A host with a certificate that asks for nothing.
fn open(host: &str) -> Ingress {
    let name = host.split('.').next().unwrap();
    Ingress::new(name)
        .at(host, "Prefix", "/")
        .tls(&format!("{{hosts: [{host}], secretName: {name}}}"))
}

impl Gate {
    fn start() -> Self {
        Self::with(&[guarded(), open("o.test")], |_| Vec::new())
    }

    /// With Secrets `a`, `o` and `rest` for hosts, and `a-cacert`; `more` may
    /// replace them.
    fn with(ingresses: &[Ingress], more: impl FnOnce(&Authority) -> Vec<(String, String)>) -> Self {
        let (servers, clients) = (Authority::new(), Authority::new());
        let upstream = Upstream::start(Scenario::Echo);
        let registry = static_registry("deck", &[upstream.address]);
        let directory = Directory::new()
            .holding([("mcpbridges/default.yaml", bridge(&[registry]))])
            .holding([
                servers.secret("a", &["a.test"]),
                servers.secret("o", &["o.test", "x.w.test"]),
                servers.secret("w", &["*.w.test"]),
                servers.secret("rest", &["rest.test"]),
                clients.authority_secret("a-cacert"),
            ])
            .holding(more(&clients))
            .holding(ingresses.iter().map(Ingress::file));
        let gateway = Serve::new(directory.path()).start();
        Self { servers, clients, directory, gateway, _upstream: upstream }
    }

    fn known(&self) -> Identity {
        self.clients.identity("heron", 2100)
    }

    /// A client with a certificate of the authority.
    fn member(&self) -> ClientConfig {
        self.servers.client_as(&BOTH, &self.known())
    }

    fn stranger(&self) -> ClientConfig {
        self.servers.client(&BOTH, &[])
    }

    /// The status that a client gets over a connection for a name when it asks
    /// for a host; none where there is no connection.
    fn ask(&self, client: &ClientConfig, name: &str, host: &str) -> Option<u16> {
        let mut connection = Connection::open_tls(self.gateway.https, client, name).ok()?;
        connection.send(&Request::get(host, "/"));
        connection.try_head().map(|head| head.status)
    }

    fn codes(&self) -> Vec<String> {
        let findings = self.gateway.findings();
        findings.iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
    }

    fn says(&self, code: &str, text: &str) -> bool {
        let findings = self.gateway.findings();
        findings.iter().any(|f| f["code"] == code && f["message"].as_str().unwrap().contains(text))
    }
}

#[test]
fn only_clients_with_a_certificate_get_in() {
    let gate = Gate::start();
    for version in BOTH {
        let check = |identity: &Identity, expected: Option<u16>| {
            let client = gate.servers.client_as(&[version], identity);
            assert_eq!(gate.ask(&client, "a.test", "a.test"), expected, "{:?}", version.version);
            // Elsewhere nobody asks.
            assert_eq!(gate.ask(&client, "o.test", "o.test"), Some(200));
        };
        check(&gate.known(), Some(200));
        check(&gate.clients.identity("heron", 2021), None);
        check(&Authority::new().identity("heron", 2100), None);
        // One that signs servers does not sign clients.
        check(&gate.servers.identity("a.test", 2100), None);
        let nobody = gate.servers.client(&[version], &[]);
        assert_eq!(gate.ask(&nobody, "a.test", "a.test"), None);
        assert_eq!(gate.ask(&nobody, "o.test", "o.test"), Some(200));
    }
    assert!(gate.codes().iter().all(|code| code == "PS320"), "{:?}", gate.gateway.findings());
}

#[test]
fn there_is_no_other_way_in() {
    let apart = Ingress::new("apart")
        .at("x.w.test", "Exact", "/own")
        .tls("{hosts: [x.w.test], secretName: o}");
    let all = Ingress::new("w")
        .at("*.w.test", "Prefix", "/")
        .tls("{hosts: [\"*.w.test\"], secretName: w}")
        .annotation("auth-tls-secret", "a-cacert");
    let rest = Ingress::new("rest").at("", "Prefix", "/").tls("{secretName: rest}");
    let gate = Gate::with(&[guarded(), open("o.test"), apart, all, rest], |_| Vec::new());
    let (member, stranger) = (gate.member(), gate.stranger());
    // In the clear.
    let answer = gate.gateway.send(&Request::get("a.test", "/"));
    assert_eq!(answer.status(), 403);
    assert_eq!(gate.gateway.send(&Request::get("A.TEST:80", "/")).status(), 403);
    assert_eq!(gate.gateway.send(&Request::get("o.test", "/")).status(), 200);
    for client in [&member, &stranger] {
        // Over a connection for another host, for none in particular, for none.
        assert_eq!(gate.ask(client, "o.test", "a.test"), Some(421));
        assert_eq!(gate.ask(client, "rest.test", "a.test"), Some(421));
        let mut nameless = client.clone();
        nameless.enable_sni = false;
        assert_eq!(gate.ask(&nameless, "rest.test", "rest.test"), Some(200));
        assert_eq!(gate.ask(&nameless, "rest.test", "a.test"), Some(421));
        // Through a host of its own to the routes of the pattern behind it.
        assert_eq!(gate.ask(client, "x.w.test", "x.w.test"), Some(421));
    }
    assert_eq!(gate.ask(&member, "y.w.test", "y.w.test"), Some(200));
    // Its certificate is of the right authority, and shown for another host.
    assert_eq!(gate.ask(&member, "y.w.test", "z.w.test"), Some(421));
    assert_eq!(gate.ask(&stranger, "y.w.test", "y.w.test"), None);
}

#[test]
fn a_host_for_everything_may_ask_too() {
    let rest = Ingress::new("rest")
        .at("", "Prefix", "/")
        .tls("{secretName: rest}")
        .annotation("auth-tls-secret", "a-cacert");
    let gate = Gate::with(&[rest, open("o.test")], |_| Vec::new());
    let mut nameless = gate.member();
    nameless.enable_sni = false;
    assert_eq!(gate.ask(&nameless, "rest.test", "any.test"), Some(200));
    assert_eq!(gate.ask(&gate.member(), "rest.test", "rest.test"), Some(200));
    assert_eq!(gate.ask(&gate.stranger(), "rest.test", "rest.test"), None);
    assert_eq!(gate.gateway.send(&Request::get("any.test", "/")).status(), 403);
    assert_eq!(gate.ask(&gate.stranger(), "o.test", "o.test"), Some(200));
}

#[test]
fn who_comes_in_the_clear_is_told_where_to_go() {
    let redirecting = guarded().annotation("ssl-redirect", "true");
    let gate = Gate::with(&[redirecting], |_| Vec::new());
    let answer = gate.gateway.send(&Request::get("a.test", "/x"));
    assert_eq!((answer.status(), answer.header("location")), (308, Some("https://a.test/x")));
    let directory = &gate.directory;
    let behind_proxy = Serve::new(directory.path()).with("--trusted-hops", 1).start();
    // A proxy that ends TLS has not told who the client is.
    let forwarded = Request::get("a.test", "/x").header("X-Forwarded-Proto", "https");
    assert_eq!(behind_proxy.send(&forwarded).status(), 403);
}

#[test]
fn trust_ends_with_the_authority_and_not_before() {
    let gate = Gate::start();
    let old = gate.member();
    let mut connection = Connection::open_tls(gate.gateway.https, &old, "a.test").unwrap();
    let mut ask = || {
        connection.send(&Request::get("a.test", "/"));
        connection.answer()
    };
    assert_eq!(ask().status(), 200);
    let next = Authority::new();
    let both = format!("{}{}", gate.clients.pem(), next.pem());
    let replace = |pem: &str| {
        let (name, text) = secret_of("a-cacert", &[("ca.crt", pem)]);
        gate.gateway.reload(|| gate.directory.replace(&name, text));
    };
    let new = gate.servers.client_as(&BOTH, &next.identity("otter", 2100));
    assert_eq!(gate.ask(&new, "a.test", "a.test"), None);
    replace(&both);
    assert_eq!(ask().status(), 200);
    for client in [&old, &new] {
        assert_eq!(gate.ask(client, "a.test", "a.test"), Some(200));
    }
    replace(next.pem());
    let refused = ask();
    assert_eq!((refused.status(), refused.header("connection")), (421, Some("close")));
    // Its sessions are of no use either.
    assert_eq!(gate.ask(&old, "a.test", "a.test"), None);
    assert_eq!(gate.ask(&new, "a.test", "a.test"), Some(200));
}

#[test]
fn what_was_open_is_closed_on_old_connections_and_sessions() {
    let gate = Gate::with(&[unguarded()], |_| Vec::new());
    for version in BOTH {
        let client = gate.servers.client(&[version], &[]);
        let (name, text) = unguarded().file();
        if version.version == TLS13.version {
            gate.gateway.reload(|| gate.directory.replace(&name, text));
        }
        let mut connection = Connection::open_tls(gate.gateway.https, &client, "a.test").unwrap();
        let mut ask = || {
            connection.send(&Request::get("a.test", "/"));
            connection.answer().status()
        };
        assert_eq!(ask(), 200);
        let (name, text) = guarded().file();
        gate.gateway.reload(|| gate.directory.replace(&name, text));
        assert_eq!(ask(), 421);
        assert_eq!(gate.ask(&client, "a.test", "a.test"), None);
    }
}

#[test]
fn without_its_authority_a_host_is_closed() {
    let gate = Gate::start();
    let member = gate.member();
    // What breaks leaves the last good one in force.
    let broken = secret_of("a-cacert", &[("ca.crt", "nothing")]);
    gate.gateway.reload(|| gate.directory.replace(&broken.0, &broken.1));
    assert!(gate.says("PS312", "ca.crt has no certificate"), "{:?}", gate.gateway.findings());
    assert!(gate.codes().contains(&"PS211".to_owned()));
    assert_eq!(gate.ask(&member, "a.test", "a.test"), Some(200));
    assert_eq!(gate.ask(&gate.stranger(), "a.test", "a.test"), None);
    gate.gateway.reload(|| gate.directory.remove("secrets/a-cacert.yaml"));
    assert!(gate.says("PS307", "no usable `ca.crt` in Secret `a-cacert`"));
    assert_eq!(gate.ask(&member, "a.test", "a.test"), Some(503));
    assert_eq!(gate.gateway.send(&Request::get("a.test", "/")).status(), 503);
    assert_eq!(gate.gateway.send(&Request::get("o.test", "/")).status(), 200);
    // One that was never good, and neither is its successor.
    for text in ["nothing", "less"] {
        let broken = secret_of("a-cacert", &[("ca.crt", text)]);
        gate.gateway.reload(|| gate.directory.write(&broken.0, &broken.1));
        assert!(gate.says("PS312", "ca.crt has no certificate"));
        assert!(!gate.codes().contains(&"PS211".to_owned()), "{:?}", gate.gateway.findings());
        assert_eq!(gate.gateway.send(&Request::get("a.test", "/")).status(), 503);
    }
}

#[test]
fn the_authority_is_in_or_beside_the_secret_of_the_host() {
    let check = |named: &str, more: &dyn Fn(&Authority) -> Vec<(String, String)>, told: bool| {
        let ingress = guarded().annotation("auth-tls-secret", named);
        let gate = Gate::with(&[ingress], |clients| more(clients));
        assert_eq!(gate.ask(&gate.member(), "a.test", "a.test"), Some(200), "{named}");
        assert_eq!(gate.ask(&gate.stranger(), "a.test", "a.test"), None, "{named}");
        assert_eq!(gate.says("PS317", "Higress would ask for none"), told, "{named}");
    };
    check("a-cacert", &|_| Vec::new(), false);
    check("a", &|_| Vec::new(), false);
    check("other", &|clients| vec![clients.authority_secret("other")], true);
    check("generic", &|clients| vec![secret_of("generic", &[("cacert", clients.pem())])], true);
    // Within the Secret itself; nothing is beside it.
    let servers = Authority::new();
    let identity = servers.identity("b.test", 2100);
    let ingress = Ingress::new("b")
        .at("b.test", "Prefix", "/")
        .tls("{hosts: [b.test], secretName: b}")
        .annotation("nginx.ingress.kubernetes.io/auth-tls-secret", "higress-system/b-cacert");
    let gate = Gate::with(&[ingress], |clients| {
        let values = [
            ("tls.crt", identity.certificate.as_str()),
            ("tls.key", &identity.key),
            ("ca.crt", clients.pem()),
        ];
        vec![secret_of("b", &values)]
    });
    let member = servers.client_as(&BOTH, &gate.known());
    assert_eq!(gate.ask(&member, "b.test", "b.test"), Some(200));
    assert_eq!(gate.ask(&servers.client(&BOTH, &[]), "b.test", "b.test"), None);
}

#[test]
fn nothing_stands_in_for_an_authority_that_cannot_be_read() {
    let identity = Authority::new().identity("a.test", 2100);
    let gate = Gate::with(&[guarded().annotation("auth-tls-secret", "a")], |clients| {
        let values = [
            ("tls.crt", identity.certificate.as_str()),
            ("tls.key", &identity.key),
            ("ca.crt", clients.pem()),
        ];
        vec![secret_of("a", &values), secret_of("a-cacert", &[("ca.crt", "x")])]
    });
    assert!(gate.says("PS312", "a-cacert"), "{:?}", gate.gateway.findings());
    assert_eq!(gate.gateway.send(&Request::get("a.test", "/")).status(), 503);
}

#[test]
fn the_whole_host_is_protected_and_nothing_is_taken_back() {
    let second = |name: &str, path: &str| {
        Ingress::new(name).at("a.test", "Prefix", path).created("2031-01-01T00:00:00Z")
    };
    // Which means the one beside it.
    let same = second("same", "/same").annotation("auth-tls-secret", "a");
    let other = second("other", "/other").annotation("auth-tls-secret", "other-cacert");
    let loose = second("loose", "/loose").annotation("tls-min-protocol-version", "TLSv1.3");
    let gate = Gate::with(&[guarded(), same, other, loose, second("none", "/none")], |_| {
        vec![Authority::new().authority_secret("other-cacert")]
    });
    let client = gate.servers.client_as(&[&TLS12], &gate.known());
    let mut connection = Connection::open_tls(gate.gateway.https, &client, "a.test").unwrap();
    for (path, expected) in [("/same", 200), ("/other", 503), ("/loose", 200), ("/none", 200)] {
        connection.send(&Request::get("a.test", path));
        assert_eq!(connection.answer().status(), expected, "{path}");
        let plain = gate.gateway.send(&Request::get("a.test", path)).status();
        assert_eq!(plain, if expected == 503 { 503 } else { 403 }, "{path}");
    }
    assert!(gate.says("PS307", "certificates of another Secret"));
    assert!(gate.says("PS316", "decides about its TLS"));
}

#[test]
fn a_host_that_asks_and_has_no_certificate_is_told() {
    let gate = Gate::with(
        &[Ingress::new("a").at("a.test", "Prefix", "/").annotation("auth-tls-secret", "a")],
        |_| Vec::new(),
    );
    assert!(gate.says("PS307", "nobody reaches `a.test`"), "{:?}", gate.gateway.findings());
    assert_eq!(gate.gateway.send(&Request::get("a.test", "/")).status(), 403);
}

#[test]
fn a_canary_is_not_reached_without_what_it_asks_for() {
    let canary = |secret: &str| {
        Ingress::new("canary")
            .at("a.test", "Prefix", "/")
            .annotation("canary", "true")
            .annotation("canary-by-header", "x-canary")
            .annotation("response-header-control-update", "x-from canary")
            .annotation("auth-tls-secret", secret)
    };
    let check = |base: Ingress, secret: &str, expected: Option<&str>| {
        let gate = Gate::with(&[base, canary(secret)], |_| Vec::new());
        let mut connection =
            Connection::open_tls(gate.gateway.https, &gate.member(), "a.test").unwrap();
        connection.send(&Request::get("a.test", "/").header("x-canary", "always"));
        let answer = connection.answer();
        assert_eq!((answer.status(), answer.header("x-from")), (200, expected));
        assert_eq!(gate.says("PS307", "the canary gets no requests"), expected.is_none());
    };
    check(guarded(), "a-cacert", Some("canary"));
    check(guarded(), "elsewhere", None);
    check(unguarded(), "a-cacert", None);
}

#[test]
fn what_was_revoked_does_not_get_in() {
    let list = |clients: &Authority, revoked: &[u64]| {
        vec![secret_of(
            "a-cacert",
            &[("ca.crt", clients.pem()), ("ca.crl", &clients.revocations(revoked))],
        )]
    };
    let gate = Gate::with(&[guarded()], |clients| list(clients, &[7]));
    let check = |serial: u64, expected: Option<u16>| {
        let identity = gate.clients.numbered("heron", serial);
        let client = gate.servers.client_as(&BOTH, &identity);
        assert_eq!(gate.ask(&client, "a.test", "a.test"), expected, "{serial}");
    };
    check(7, None);
    check(8, Some(200));
    let mut connection = {
        let client = gate.servers.client_as(&BOTH, &gate.clients.numbered("heron", 8));
        Connection::open_tls(gate.gateway.https, &client, "a.test").unwrap()
    };
    for (name, text) in list(&gate.clients, &[7, 8]) {
        gate.gateway.reload(|| gate.directory.replace(&name, text));
    }
    check(8, None);
    connection.send(&Request::get("a.test", "/"));
    assert_eq!(connection.answer().status(), 421);
}

#[test]
fn a_list_of_what_was_revoked_that_is_overdue_is_told() {
    let list = |clients: &Authority, year: i32| {
        let list = clients.revocations_until(&[7], year);
        secret_of("a-cacert", &[("ca.crt", clients.pem()), ("ca.crl", &list)])
    };
    let gate = Gate::with(&[guarded()], |clients| vec![list(clients, 2099)]);
    let client = gate.servers.client_as(&BOTH, &gate.clients.numbered("heron", 8));
    let mut connection = Connection::open_tls(gate.gateway.https, &client, "a.test").unwrap();
    let mut ask = || {
        connection.send(&Request::get("a.test", "/"));
        connection.answer().status()
    };
    assert_eq!(ask(), 200);
    assert!(!gate.says("PS313", "revocation"));
    // The list ends before the authority does.
    let expiry = |seconds: u64| {
        let name = "penstock_authority_expiry_timestamp_seconds";
        let line = format!("{name}{{secret=\"a-cacert\"}} {seconds}\n");
        gate.gateway.metrics().contains(&line)
    };
    assert!(expiry(4_070_908_800), "{}", gate.gateway.metrics());
    let (name, text) = list(&gate.clients, 2022);
    gate.gateway.reload(|| gate.directory.replace(&name, text));
    assert!(gate.says("PS313", "expired on 2022-01-01"), "{:?}", gate.gateway.findings());
    assert!(expiry(1_640_995_200), "{}", gate.gateway.metrics());
    // Nobody is believed any more, however often one asks.
    assert_eq!(ask(), 421);
    assert_eq!(gate.ask(&client, "a.test", "a.test"), None);
}

#[test]
fn versions_and_suites_go_by_host() {
    let check = |annotations: &[(&str, &str)], expected: [bool; 2], told: &[&str]| {
        let mut ingress = unguarded();
        for (name, value) in annotations {
            ingress = ingress.annotation(name, value);
        }
        let gate = Gate::with(&[ingress, open("o.test")], |_| Vec::new());
        for (version, expected) in BOTH.into_iter().zip(expected) {
            let client = gate.servers.client(&[version], &[]);
            let status = gate.ask(&client, "a.test", "a.test");
            assert_eq!(status.is_some(), expected, "{annotations:?} {:?}", version.version);
            assert_eq!(gate.ask(&client, "o.test", "o.test"), Some(200));
        }
        let codes: Vec<_> = gate.codes().into_iter().filter(|code| code != "PS320").collect();
        assert_eq!(codes, told, "{annotations:?} {:?}", gate.gateway.findings());
    };
    let (min, max) = ("tls-min-protocol-version", "tls-max-protocol-version");
    check(&[(min, "TLSv1.2")], [true, true], &[]);
    check(&[(min, "TLSv1.3")], [false, true], &[]);
    check(&[(max, "TLSv1.2")], [true, false], &[]);
    check(&[(min, "TLSv1.0"), (max, "TLSv1.2")], [true, false], &["PS317"]);
    check(&[(min, "TLSv1.1")], [true, true], &["PS317"]);
    check(&[(max, "TLSv1.1")], [false, false], &["PS318"]);
    let cipher = "ssl-cipher";
    check(&[(cipher, "ECDHE-ECDSA-AES256-GCM-SHA384")], [true, true], &[]);
    check(&[(cipher, "ECDHE-ECDSA-AES128-SHA:AES128-SHA")], [false, true], &["PS317"]);
    check(&[(cipher, "NONE-SUCH:HIGH")], [true, true], &["PS317"]);
    check(&[(cipher, "AES128-SHA:ECDHE-ECDSA-CHACHA20-POLY1305")], [true, true], &["PS317"]);
    // The key of the host is of another kind.
    check(&[(cipher, "ECDHE-RSA-AES256-GCM-SHA384")], [false, true], &["PS317"]);
    check(&[(cipher, "ECDHE-RSA-AES256-GCM-SHA384"), (max, "TLSv1.2")], [false, false], &["PS318"]);
    check(&[("ssl-passthrough", "true")], [false, false], &["PS306", "PS318"]);
}

#[test]
fn the_order_of_suites_is_the_hosts() {
    let suites = ["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES256-GCM-SHA384"];
    for (order, expected) in [([0, 1], "CHACHA20_POLY1305_SHA256"), ([1, 0], "AES_256_GCM_SHA384")]
    {
        let list = order.map(|index: usize| suites[index]).join(":");
        let gate = Gate::with(&[unguarded().annotation("ssl-cipher", &list)], |_| Vec::new());
        let client = gate.servers.client(&[&TLS12], &[]);
        let connection = Connection::open_tls(gate.gateway.https, &client, "a.test").unwrap();
        let suite = connection.session().negotiated_cipher_suite().unwrap();
        let name = format!("{:?}", suite.suite());
        assert!(name.ends_with(expected), "{name}");
    }
}

#[test]
fn a_host_with_rules_keeps_its_sessions_and_its_connections() {
    let rules = unguarded().annotation("tls-min-protocol-version", "TLSv1.3");
    let gate = Gate::with(&[rules, open("o.test")], |_| Vec::new());
    let client = gate.stranger();
    for expected in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
        let mut connection = Connection::open_tls(gate.gateway.https, &client, "a.test").unwrap();
        connection.send(&Request::get("a.test", "/"));
        assert_eq!(connection.answer().status(), 200);
        assert_eq!(connection.session().handshake_kind(), Some(expected));
    }
    assert_eq!(gate.ask(&client, "o.test", "a.test"), Some(421));
}

#[test]
fn curl_shows_its_certificate() {
    let gate = Gate::start();
    let authority = gate.servers.write_to(gate.directory.path());
    let identity = gate.known();
    let (certificate, key) = (gate.directory.file("heron.pem"), gate.directory.file("heron.key"));
    std::fs::write(&certificate, &identity.certificate).unwrap();
    std::fs::write(&key, &identity.key).unwrap();
    let port = gate.gateway.https.port();
    let run = |flags: &[&str]| {
        let output = Command::new("curl")
            .args(["-sS", "--cacert", authority.to_str().unwrap(), "-o", "/dev/null"])
            .args(["--resolve", &format!("a.test:{port}:127.0.0.1"), "-w", "%{http_code}"])
            .args(flags)
            .arg(format!("https://a.test:{port}/"))
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let shown = ["--cert", certificate.to_str().unwrap(), "--key", key.to_str().unwrap()];
    for more in [&["--http2"][..], &["--http1.1"], &["--tls-max", "1.2"]] {
        assert_eq!(run(&[&shown[..], more].concat()), (true, "200".to_owned()), "{more:?}");
        assert!(!run(more).0, "{more:?}");
    }
}

#[test]
fn an_expired_authority_is_told_and_trusts_nobody() {
    let old = Authority::until(2021);
    let gate = Gate::with(&[guarded()], |_| vec![old.authority_secret("a-cacert")]);
    assert!(gate.says("PS313", "the authority of Secret a-cacert expired"));
    let client = gate.servers.client_as(&BOTH, &old.identity("heron", 2100));
    assert_eq!(gate.ask(&client, "a.test", "a.test"), None);
}

#[test]
fn no_finding_shows_a_key() {
    let gate = Gate::start();
    let identity = gate.known();
    let (name, text) = secret("a-cacert", &identity.key, &identity.key);
    gate.gateway.reload(|| gate.directory.replace(&name, text));
    let line = identity.key.lines().nth(1).unwrap();
    assert!(!gate.gateway.findings().is_empty());
    assert!(!format!("{:?}{:?}", gate.gateway.findings(), gate.gateway.log.all()).contains(line));
}

#[test]
fn a_default_backend_is_for_the_hosts_that_ask_only() {
    let (name, text) = guarded().file();
    let backend = "  defaultBackend: {resource: {apiGroup: networking.higress.io, kind: McpBridge, name: default}}\n";
    let text = text
        .replace("  rules:\n", &format!("{backend}  rules:\n"))
        .replace("path: \"/\"", "path: \"/own\"");
    let gate = Gate::with(&[], |_| vec![(name, text)]);
    assert!(gate.says("PS307", "the default backend"), "{:?}", gate.gateway.findings());
    assert_eq!(gate.ask(&gate.member(), "a.test", "a.test"), Some(200));
    assert_eq!(gate.gateway.send(&Request::get("a.test", "/")).status(), 403);
    assert_eq!(gate.gateway.send(&Request::get("else.test", "/")).status(), 503);
}

#[test]
fn explain_says_what_is_needed() {
    let gate = Gate::start();
    let directory = gate.directory.path().display().to_string();
    let explain = |format: &str| {
        let url = "https://a.test/";
        let output = penstock(&["explain", "--config", &directory, "--url", url, "-o", format]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = explain("text");
    assert!(text.contains("client    needs a certificate that Secret a-cacert trusts"), "{text}");
    assert!(text.contains("upstream  GET http"), "{text}");
    assert!(explain("json").contains("\"client_certificate\": \"Secret a-cacert\""));
}
