//! HTTPS: which certificate a client gets, what happens to it when the
//! configuration changes, and what of the handshake requests see.

use std::process::Command;

use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::support::certificates::{Authority, secret, secret_of};
use crate::support::upstream::EVENT_STREAM;
use crate::support::*;

const BOTH: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A gateway whose hosts have certificates.
struct Quay {
    authority: Authority,
    upstream: Upstream,
    directory: Directory,
    gateway: Gateway,
}

impl Quay {
    /// `a.test` and `*.b.test` have certificates of their own, `*` has that
    /// of `c.test`; `plain.test` has none.
    fn start() -> Self {
        let authority = Authority::new();
        let secrets = [
            authority.secret("a", &["a.test", "also.a.test"]),
            authority.secret("b", &["*.b.test", "x.y.b.test"]),
            authority.secret("rest", &["c.test"]),
        ];
        let ingresses = [
            Ingress::new("a").at("a.test", "Prefix", "/").tls("{hosts: [A.test], secretName: a}"),
            Ingress::new("b")
                .at("*.b.test", "Prefix", "/")
                .tls("{hosts: [\"*.b.test\"], secretName: b}"),
            Ingress::new("rest").at("", "Prefix", "/").tls("{secretName: rest}"),
            Ingress::new("plain").at("plain.test", "Prefix", "/"),
        ];
        Self::with(authority, &secrets, &ingresses)
    }

    fn with(authority: Authority, secrets: &[(String, String)], ingresses: &[Ingress]) -> Self {
        let upstream = Upstream::start(Scenario::Echo);
        let registry = static_registry("deck", &[upstream.address]);
        let directory = Directory::new()
            .holding([("mcpbridges/default.yaml", bridge(&[registry]))])
            .holding(secrets.iter().map(|(name, text)| (name, text)))
            .holding(ingresses.iter().map(Ingress::file));
        let gateway = Serve::new(directory.path()).start();
        Self { authority, upstream, directory, gateway }
    }

    /// One host, `a.test`, with this Secret.
    fn with_secret(authority: Authority, secret: (String, String)) -> Self {
        let ingress =
            Ingress::new("a").at("a.test", "Prefix", "/").tls("{hosts: [a.test], secretName: a}");
        Self::with(authority, &[secret], &[ingress])
    }

    fn connect(&self, name: &str) -> std::io::Result<Connection> {
        let config = self.authority.client(&BOTH, &[]);
        Connection::open_tls(self.gateway.https, &config, name)
    }

    fn certificate(&self, name: &str) -> Vec<u8> {
        let connection = self.connect(name).unwrap();
        connection.session().peer_certificates().unwrap()[0].to_vec()
    }

    /// What comes back over a connection for a name that asks for a host.
    fn ask(&self, name: &str, host: &str) -> Answer {
        let mut connection = self.connect(name).unwrap();
        connection.send(&Request::get(host, "/"));
        connection.answer()
    }

    /// The findings, but for those about certificates without a chain: the
    /// authority of the tests signs as a root, and nothing tells so.
    fn findings(&self) -> Vec<serde_json::Value> {
        let mut findings = self.gateway.findings();
        findings.retain(|finding| finding["code"] != "PS320");
        findings
    }

    #[track_caller]
    fn finding(&self, code: &str) -> String {
        let findings = self.gateway.findings();
        let finding = findings.iter().find(|finding| finding["code"] == code);
        finding.unwrap_or_else(|| panic!("no {code} in {findings:?}"))["message"].to_string()
    }
}

#[test]
fn the_server_name_decides_about_the_certificate() {
    let quay = Quay::start();
    // Each handshake succeeds because the certificate names the host.
    for name in ["a.test", "x.b.test", "x.y.b.test", "c.test"] {
        assert_eq!(quay.ask(name, name).status(), 200, "{name}");
    }
    assert!(quay.connect("z.test").is_err(), "the certificate for the rest names c.test only");
    let mut nameless = quay.authority.client(&BOTH, &[]);
    nameless.enable_sni = false;
    let connection = Connection::open_tls(quay.gateway.https, &nameless, "c.test");
    assert!(connection.is_ok(), "{:?}", connection.err());
    assert!(quay.findings().is_empty(), "{:?}", quay.findings());
}

#[test]
fn versions_and_keys_of_all_kinds_are_served() {
    let check = |kind: &'static SignatureAlgorithm| {
        let authority = Authority::new();
        let secret = authority.secret_of_kind("a", &["a.test"], kind);
        let quay = Quay::with_secret(authority, secret);
        for version in BOTH {
            let config = quay.authority.client(&[version], &["http/1.1"]);
            let mut connection =
                Connection::open_tls(quay.gateway.https, &config, "a.test").unwrap();
            assert_eq!(connection.session().protocol_version(), Some(version.version));
            assert_eq!(connection.session().alpn_protocol(), Some(&b"http/1.1"[..]));
            connection.send(&Request::get("a.test", "/"));
            assert_eq!(connection.answer().status(), 200);
        }
    };
    check(&PKCS_ECDSA_P384_SHA384);
    check(&PKCS_ED25519);
    check(&PKCS_RSA_SHA256);
}

#[test]
fn without_a_certificate_there_is_no_handshake() {
    let authority = Authority::new();
    let plain = Ingress::new("plain").at("plain.test", "Prefix", "/");
    let quay = Quay::with(authority, &[], &[plain]);
    assert!(quay.connect("plain.test").is_err());
    assert_eq!(quay.gateway.send(&Request::get("plain.test", "/")).status(), 200);
    let line = "penstock_connections_ended_total{reason=\"handshake_failed\"} 1";
    eventually("the metric", || quay.gateway.metrics().contains(line).then_some(()));
    assert!(quay.gateway.metrics().contains("penstock_tls_handshakes_total 0"));
}

#[test]
fn upstreams_learn_how_the_client_came() {
    let quay = Quay::start();
    quay.ask("a.test", "a.test");
    assert_eq!(quay.upstream.received().header("x-forwarded-proto"), Some("https"));
    quay.gateway.send(&Request::get("a.test", "/").header("X-Forwarded-Proto", "https"));
    assert_eq!(quay.upstream.received().header("x-forwarded-proto"), Some("http"));
}

#[test]
fn a_connection_serves_the_hosts_of_its_certificate_only() {
    let quay = Quay::start();
    let check = |name: &str, host: &str, expected: u16| {
        assert_eq!(quay.ask(name, host).status(), expected, "{name} asks for {host}");
    };
    check("x.b.test", "y.b.test", 200);
    check("x.b.test", "X.B.TEST:8443", 200);
    check("a.test", "x.b.test", 421);
    check("x.b.test", "a.test", 421);
    check("a.test", "c.test", 421);
    check("a.test", "plain.test", 421);
    // Nobody has claimed this name, so its connection is for all hosts.
    check("c.test", "a.test", 200);
    check("c.test", "plain.test", 200);
}

#[test]
fn a_new_certificate_is_served_and_no_stream_is_cut() {
    let quay = Quay::start();
    let before = quay.certificate("a.test");
    let steps = quay.upstream.stepped();
    let mut client = quay.connect("a.test").unwrap();
    client.send(&Request::get("a.test", "/"));
    steps.write(EVENT_STREAM);
    assert_eq!(client.head().status, 200);
    for _ in 0..3 {
        let (name, text) = quay.authority.secret("a", &["a.test"]);
        quay.gateway.reload(|| quay.directory.replace(&name, text));
        steps.chunk("data: a\n\n");
        assert_eq!(client.chunk(), Chunk::data("data: a\n\n"));
    }
    assert_ne!(quay.certificate("a.test"), before);
    let rest = quay.certificate("c.test");
    quay.gateway.reload(|| quay.directory.remove("secrets/a.yaml"));
    assert!(quay.finding("PS311").contains("`a.test`"));
    assert_eq!(quay.certificate("c.test"), rest);
    steps.finish();
    assert_eq!(client.chunk(), Chunk::Last);
    client.send(&Request::get("a.test", "/"));
    assert_eq!(client.answer().status(), 200);
}

#[test]
fn a_broken_secret_leaves_the_last_good_one_in_force() {
    let quay = Quay::start();
    let before = quay.certificate("a.test");
    let key = KeyPair::generate().unwrap();
    let other = KeyPair::generate().unwrap();
    let certificate = quay.authority.certificate(&key, &["a.test"], 2100);
    let broken = [
        ("is not the key", secret("a", &certificate, &other.serialize_pem())),
        ("has no certificate", secret("a", "", &key.serialize_pem())),
        ("has no private key", secret("a", &certificate, "nothing")),
        ("is no X.509", {
            let noise = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
            secret("a", noise, &key.serialize_pem())
        }),
    ];
    for (expected, (name, text)) in broken {
        quay.gateway.reload(|| quay.directory.replace(&name, text));
        let finding = quay.finding("PS312");
        assert!(finding.contains(expected), "{finding}");
        quay.finding("PS211");
        assert_eq!(quay.certificate("a.test"), before);
    }
    let (name, text) = secret("a", &certificate, &key.serialize_pem());
    quay.gateway.reload(|| quay.directory.replace(&name, text));
    assert_ne!(quay.certificate("a.test"), before);
    assert!(quay.findings().is_empty());
}

#[test]
fn certificates_that_clients_refuse_are_told() {
    let authority = Authority::new();
    let key = KeyPair::generate().unwrap();
    let text = authority.certificate(&key, &["elsewhere.test"], 2021);
    let quay = Quay::with_secret(authority, secret("a", &text, &key.serialize_pem()));
    assert!(quay.finding("PS313").contains("expired on 2021-01-01T00:00:00Z"));
    assert!(quay.finding("PS314").contains("does not name `a.test`"));
    let line = "penstock_certificate_expiry_timestamp_seconds{host=\"a.test\"} 1609459200";
    assert!(quay.gateway.metrics().contains(line));
}

#[test]
fn curl_speaks_both_versions() {
    let quay = Quay::start();
    let authority = quay.authority.write_to(quay.directory.path());
    let check = |flag: &str, port: u16, scheme: &str, expected: &str| {
        let url = format!("{scheme}://a.test:{port}/");
        let resolve = format!("a.test:{port}:127.0.0.1");
        let output = Command::new("curl")
            .args(["-sS", flag, "--cacert", authority.to_str().unwrap(), "--resolve", &resolve])
            .args(["-o", "/dev/null", "-w", "%{http_version} %{http_code}", &url])
            .output()
            .unwrap();
        let (text, error) =
            (String::from_utf8(output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(text.unwrap(), expected, "{flag} {scheme}: {error}");
    };
    let (http, https) = (quay.gateway.http.port(), quay.gateway.https.port());
    check("--http2", https, "https", "2 200");
    check("--http1.1", https, "https", "1.1 200");
    check("--http2-prior-knowledge", http, "http", "2 200");
    check("--http1.1", http, "http", "1.1 200");
}

#[test]
fn each_client_gets_a_certificate_that_it_can_check() {
    let authority = Authority::new();
    let secrets = [
        authority.secret_of_kind("rsa", &["a.test"], &PKCS_RSA_SHA256),
        authority.secret("ec", &["a.test"]),
        authority.secret("again", &["a.test"]),
    ];
    let ingress = Ingress::new("a")
        .at("a.test", "Prefix", "/")
        .tls("{hosts: [a.test], secretName: rsa}")
        .tls("{hosts: [a.test, a.test], secretName: ec}")
        .tls("{hosts: [a.test], secretName: again}");
    let later = Ingress::new("later")
        .at("a.test", "Prefix", "/later")
        .created("2031-01-01T00:00:00Z")
        .tls("{hosts: [a.test], secretName: again}");
    let quay = Quay::with(authority, &secrets, &[ingress, later]);
    let directory = &quay.directory;
    let authority = quay.authority.write_to(directory.path());
    let port = quay.gateway.https.port();
    let check = |flags: &[&str], expected: &str| {
        let output = Command::new("curl")
            .args(["-sSv", "--cacert", authority.to_str().unwrap(), "-o", "/dev/null"])
            .args(["--resolve", &format!("a.test:{port}:127.0.0.1")])
            .args(flags)
            .arg(format!("https://a.test:{port}/"))
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{flags:?}: {told}");
        assert!(told.contains(expected), "{flags:?}: {told}");
    };
    let rsa = ["--tls-max", "1.2", "--ciphers", "ECDHE-RSA-AES128-GCM-SHA256"];
    let ec = ["--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256"];
    check(&rsa, "ECDHE-RSA-AES128-GCM-SHA256");
    check(&ec, "ECDHE-ECDSA-AES128-GCM-SHA256");
    check(&["--tlsv1.3"], "TLSv1.3");
    let findings = quay.findings();
    let told: Vec<_> = findings.iter().map(|f| (f["code"].as_str(), &f["message"])).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|(code, _)| *code == Some("PS315")), "{told:?}");
    let text = format!("{told:?}");
    assert!(text.contains("a key of the same kind") && text.contains("through Ingress a already"));
    let metrics = quay.gateway.metrics();
    let series = metrics.lines().filter(|line| line.contains("expiry_timestamp_seconds{"));
    assert_eq!(series.count(), 1);
}

#[test]
fn chains_are_looked_at() {
    let root = Authority::new();
    let between = root.intermediate("between");
    let key = KeyPair::generate().unwrap();
    let leaf = between.certificate(&key, &["a.test"], 2100);
    let check = |text: &str, authority: &str, expected: Option<(&str, &str)>, trusts: bool| {
        let values = [("tls.crt", text), ("tls.key", &key.serialize_pem()), ("ca.crt", authority)];
        let values = if authority.is_empty() { &values[..2] } else { &values[..] };
        let quay = Quay::with_secret(Authority::new(), secret_of("a", values));
        let findings = quay.gateway.findings();
        let told: Vec<_> = findings.iter().map(|f| f["code"].as_str().unwrap()).collect();
        assert_eq!(told, expected.iter().map(|(code, _)| *code).collect::<Vec<_>>());
        if let Some((code, message)) = expected {
            assert!(quay.finding(code).contains(message), "{findings:?}");
        }
        let client = root.client(&BOTH, &[]);
        let connection = Connection::open_tls(quay.gateway.https, &client, "a.test");
        assert_eq!(connection.is_ok(), trusts);
    };
    let whole = format!("{leaf}{}", between.pem());
    check(&whole, "", None, true);
    check(&leaf, "", Some(("PS320", "no chain")), false);
    check(&leaf, between.pem(), None, false);
    let other = root.intermediate("other");
    let wrong = format!("{leaf}{}{}", other.pem(), between.pem());
    check(&wrong, "", Some(("PS319", "certificate 2 in tls.crt")), true);
    let published = between.published(&key, "a.test");
    check(&published, "", Some(("PS319", "lacks the certificate of its issuer")), false);
}

#[test]
fn an_address_is_no_server_name() {
    let authority = Authority::new();
    let secrets =
        [authority.secret("a", &["a.test"]), authority.secret("rest", &["127.0.0.1", "rest.test"])];
    let ingresses = [
        Ingress::new("a").at("a.test", "Prefix", "/").tls("{hosts: [a.test], secretName: a}"),
        Ingress::new("rest").at("", "Prefix", "/").tls("{secretName: rest}"),
    ];
    let quay = Quay::with(authority, &secrets, &ingresses);
    let mut connection = quay.connect("127.0.0.1").unwrap();
    connection.send(&Request::get("127.0.0.1", "/"));
    assert_eq!(connection.answer().status(), 200);
    // As in Higress, the connection is for all hosts that ask for nothing more.
    connection.send(&Request::get("a.test", "/"));
    assert_eq!(connection.answer().status(), 200);
}

#[test]
fn a_thousand_certificates_are_loaded_fast() {
    let authority = Authority::new();
    let hosts: Vec<String> = (0..1000).map(|number| format!("h{number}.test")).collect();
    let secrets: Vec<_> =
        hosts.iter().map(|host| authority.secret(&host[..host.len() - 5], &[host])).collect();
    let ingresses: Vec<_> = hosts
        .iter()
        .map(|host| {
            let name = &host[..host.len() - 5];
            let entry = format!("{{hosts: [{host}], secretName: {name}}}");
            Ingress::new(name).at(host, "Prefix", "/").tls(&entry)
        })
        .collect();
    let quay = Quay::with(authority, &secrets, &ingresses);
    for host in [&hosts[0], &hosts[517], &hosts[999]] {
        assert_eq!(quay.ask(host, host).status(), 200);
    }
    let before = quay.certificate("h517.test");
    let (name, text) = quay.authority.secret("h517", &["h517.test"]);
    quay.gateway.reload(|| quay.directory.replace(&name, text));
    assert_ne!(quay.certificate("h517.test"), before);
    assert!(quay.findings().is_empty());
}
