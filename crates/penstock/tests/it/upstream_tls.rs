//! TLS towards upstreams as annotations ask for it: as whom the gateway comes,
//! and whom it believes.

use crate::support::certificates::{Authority, Identity, secret_of};
use crate::support::*;

/// An upstream over TLS, and who signs for whom.
struct Sea {
    /// Who signs the upstream's certificate.
    servers: Authority,
    /// Whose certificates it wants.
    clients: Authority,
    upstream: Upstream,
}

impl Sea {
    /// An upstream `deck.test` that asks for a certificate.
    fn asking() -> Self {
        let (servers, clients) = (Authority::new(), Authority::new());
        let tls = servers.server_asking(&["deck.test"], &clients);
        let upstream = Upstream::start_tls(Scenario::Completion, tls);
        Self { servers, clients, upstream }
    }

    /// One that asks for none.
    fn plain() -> Self {
        let (servers, clients) = (Authority::new(), Authority::new());
        let upstream = Upstream::start_tls(Scenario::Completion, servers.server(&["deck.test"]));
        Self { servers, clients, upstream }
    }

    fn directory(&self, ingresses: &[Ingress], secrets: &[(String, String)]) -> Directory {
        let registry = static_registry("deck", &[self.upstream.address]);
        Directory::new()
            .holding([("mcpbridges/default.yaml", bridge(&[registry]))])
            .holding(ingresses.iter().map(Ingress::file))
            .holding(secrets.iter().cloned())
    }

    /// A certificate that the upstream takes, with the authority to check it.
    fn secret(&self, name: &str) -> (String, String) {
        identity_secret(name, &self.clients.identity("gateway", 2100), Some(&self.servers))
    }
}

fn identity_secret(
    name: &str,
    identity: &Identity,
    authority: Option<&Authority>,
) -> (String, String) {
    let mut values =
        vec![("tls.crt", identity.certificate.as_str()), ("tls.key", identity.key.as_str())];
    values.extend(authority.map(|authority| ("ca.crt", authority.pem())));
    secret_of(name, &values)
}

/// A route to `deck` over TLS.
fn route() -> Ingress {
    Ingress::new("deck.test").at("deck.test", "Prefix", "/").annotation("backend-protocol", "HTTPS")
}

fn ask(gateway: &Gateway) -> u16 {
    gateway.send(&Request::get("deck.test", "/")).status()
}

fn says(gateway: &Gateway, code: &str, text: &str) -> bool {
    let findings = gateway.findings();
    findings.iter().any(|f| f["code"] == code && f["message"].as_str().unwrap().contains(text))
}

#[test]
fn a_secret_is_who_the_gateway_is_and_whom_it_believes() {
    let sea = Sea::asking();
    let named = route().annotation("proxy-ssl-secret", "higress-system/me");
    let directory = sea.directory(&[named], &[sea.secret("me")]);
    let gateway = Serve::new(directory.path()).start();
    assert_eq!(ask(&gateway), 200, "{:?}", gateway.findings());
    assert_eq!(ask(&gateway), 200);
    assert_eq!(sea.upstream.connections(), 1);
    assert!(gateway.findings().is_empty(), "{:?}", gateway.findings());
    // Another certificate is another connection.
    let (name, text) = sea.secret("me");
    gateway.reload(|| directory.replace(&name, text));
    assert_eq!(ask(&gateway), 200);
    assert_eq!(sea.upstream.connections(), 2);
    // One that has expired is told before the upstream refuses it.
    let expired = identity_secret("me", &sea.clients.identity("gateway", 2021), None);
    gateway.reload(|| directory.replace(&expired.0, &expired.1));
    assert!(says(&gateway, "PS313", "the certificate of Secret me expired"));
    // An upstream of another authority is not believed, trusting or not.
    let (name, text) =
        identity_secret("me", &sea.clients.identity("gateway", 2100), Some(&Authority::new()));
    gateway.reload(|| directory.replace(&name, text));
    assert_eq!(ask(&gateway), 503);
    let trusting = Serve::new(directory.path()).with("--upstream-tls", "trust-any").start();
    assert_eq!(ask(&trusting), 503);
    // A certificate that the upstream does not take.
    let foreign = Authority::new().identity("gateway", 2100);
    let (name, text) = identity_secret("me", &foreign, Some(&sea.servers));
    gateway.reload(|| directory.replace(&name, text));
    assert!(ask(&gateway) >= 502);
}

#[test]
fn the_authority_may_be_beside_the_secret_or_the_processs() {
    let sea = Sea::asking();
    let identity = sea.clients.identity("gateway", 2100);
    let named = route().annotation("nginx.ingress.kubernetes.io/proxy-ssl-secret", "me");
    let alone = identity_secret("me", &identity, None);
    let directory = sea.directory(&[named], &[alone]);
    let gateway = Serve::new(directory.path())
        .with("--upstream-ca", sea.servers.write_to(directory.path()).display())
        .start();
    assert_eq!(ask(&gateway), 200, "{:?}", gateway.findings());
    let unknowing = Serve::new(directory.path()).start();
    assert_eq!(ask(&unknowing), 503);
    let (name, text) = sea.servers.authority_secret("me-cacert");
    unknowing.reload(|| directory.write(&name, text));
    assert_eq!(ask(&unknowing), 200);
    // One that holds nothing does not mean that nobody is checked.
    let (name, text) = secret_of("me-cacert", &[("ca", "x")]);
    unknowing.reload(|| directory.write(&name, text));
    assert!(says(&unknowing, "PS211", "Secret me-cacert"), "{:?}", unknowing.findings());
    assert_eq!(ask(&unknowing), 200);
    std::fs::remove_dir_all(directory.path().join(".penstock")).unwrap();
    let trusting = Serve::new(directory.path()).with("--upstream-tls", "trust-any").start();
    assert!(says(&trusting, "PS307", "no usable Secret"), "{:?}", trusting.findings());
    assert_eq!(ask(&trusting), 503);
}

#[test]
fn a_secret_that_cannot_be_used_closes_the_route() {
    let sea = Sea::asking();
    let named = route().annotation("proxy-ssl-secret", "me");
    let other = Ingress::new("other.test").at("other.test", "Prefix", "/").to("deck.static:80");
    let directory = sea.directory(&[named, other], &[]);
    let gateway = Serve::new(directory.path()).with("--upstream-tls", "trust-any").start();
    let is_closed = |gateway: &Gateway| {
        assert!(says(gateway, "PS307", "no usable Secret `me`"), "{:?}", gateway.findings());
        assert_eq!(ask(gateway), 503);
        // The service is the same for who does not say how to speak to it.
        assert_eq!(gateway.send(&Request::get("other.test", "/")).status(), 503);
        assert_eq!(sea.upstream.connections(), 0);
    };
    is_closed(&gateway);
    let identity = sea.clients.identity("gateway", 2100);
    for (values, expected) in [
        (vec![("ca.crt", sea.servers.pem())], "it has no tls.crt"),
        (vec![("tls.crt", &*identity.certificate), ("tls.key", "x")], "no private key"),
        (
            vec![("tls.crt", &*identity.certificate), ("tls.key", &*identity.key), ("ca.crt", "x")],
            "ca.crt has no certificate",
        ),
    ] {
        let (name, text) = secret_of("me", &values);
        gateway.reload(|| directory.write(&name, text));
        assert!(says(&gateway, "PS312", expected), "{expected}: {:?}", gateway.findings());
        is_closed(&gateway);
    }
    let (name, text) = sea.secret("me");
    gateway.reload(|| directory.write(&name, text));
    assert_eq!(ask(&gateway), 200);
    // From now on there is a last good one.
    let (name, text) = secret_of("me", &[("tls.crt", "x")]);
    gateway.reload(|| directory.write(&name, text));
    assert!(says(&gateway, "PS211", "Secret me"));
    assert_eq!(ask(&gateway), 200);
}

#[test]
fn whether_an_upstream_is_checked_can_be_said() {
    let sea = Sea::plain();
    let check = |verify: Option<&str>, mode: &str, knows: bool, expected: u16, told: bool| {
        let ingress = match verify {
            Some(verify) => route().annotation("proxy-ssl-verify", verify),
            None => route(),
        };
        let directory = sea.directory(&[ingress], &[]);
        let mut serve = Serve::new(directory.path()).with("--upstream-tls", mode);
        if knows {
            let file = sea.servers.write_to(directory.path());
            serve = serve.with("--upstream-ca", file.display());
        }
        let gateway = serve.start();
        assert_eq!(ask(&gateway), expected, "{verify:?} {mode} {knows}");
        assert_eq!(says(&gateway, "PS321", "not checked"), told, "{verify:?}");
    };
    check(None, "verify", false, 503, false);
    check(None, "verify", true, 200, false);
    check(None, "trust-any", false, 200, false);
    check(Some("off"), "verify", false, 200, true);
    check(Some("on"), "trust-any", false, 503, false);
    check(Some("on"), "trust-any", true, 200, false);
    check(Some("on"), "verify", true, 200, false);
}

#[test]
fn an_authority_of_its_own_is_asked_whatever_else_is_said() {
    let sea = Sea::asking();
    let named = route().annotation("proxy-ssl-secret", "me").annotation("proxy-ssl-verify", "off");
    let secret =
        identity_secret("me", &sea.clients.identity("gateway", 2100), Some(&Authority::new()));
    let directory = sea.directory(std::slice::from_ref(&named), &[secret]);
    let gateway = Serve::new(directory.path()).start();
    assert_eq!(ask(&gateway), 503);
    assert!(says(&gateway, "PS316", "`proxy-ssl-verify: off` has no effect"));
    let unchecked =
        sea.directory(&[named], &[identity_secret("me", &sea.clients.identity("g", 2100), None)]);
    let gateway = Serve::new(unchecked.path()).start();
    assert_eq!(ask(&gateway), 200);
    assert!(says(&gateway, "PS321", "not checked"));
}

#[test]
fn the_name_is_sent_and_checked() {
    let sea = Sea::asking();
    let named = Ingress::new("client.test")
        .at("deck.test", "Prefix", "/")
        .annotation("backend-protocol", "HTTPS")
        .annotation("proxy-ssl-secret", "me");
    let directory = sea.directory(std::slice::from_ref(&named), &[sea.secret("me")]);
    let gateway = Serve::new(directory.path()).start();
    assert_eq!(ask(&gateway), 503);
    let said =
        named.annotation("proxy-ssl-name", "deck.test").annotation("proxy-ssl-server-name", "on");
    let (name, text) = said.file();
    gateway.reload(|| directory.replace(&name, text));
    assert_eq!(ask(&gateway), 200);
    assert_eq!(sea.upstream.received().server_name.as_deref(), Some("deck.test"));
}

#[test]
fn connections_of_different_identities_are_not_mixed() {
    let sea = Sea::asking();
    let registries = ["one", "two"].map(|name| static_registry(name, &[sea.upstream.address]));
    let ingress = |name: &str| {
        Ingress::new(&format!("{name}.test"))
            .at(&format!("{name}.test"), "Prefix", "/")
            .to(&format!("{name}.static"))
            .annotation("upstream-vhost", "deck.test")
            .annotation("backend-protocol", "HTTPS")
            .annotation("proxy-ssl-secret", name)
            .file()
    };
    let directory = Directory::new()
        .holding([("mcpbridges/default.yaml", bridge(&registries))])
        .holding([ingress("one"), ingress("two")])
        .holding([sea.secret("one"), sea.secret("two")]);
    let gateway = Serve::new(directory.path()).start();
    for _ in 0..3 {
        for host in ["one.test", "two.test"] {
            assert_eq!(gateway.send(&Request::get(host, "/")).status(), 200);
        }
    }
    assert_eq!(sea.upstream.connections(), 2);
    let seen: Vec<usize> = (0..6).map(|_| sea.upstream.received().connection).collect();
    assert!(seen.chunks(2).all(|pair| pair == &seen[..2]), "{seen:?}");
}

#[test]
fn the_first_ingress_decides_and_the_other_is_closed() {
    let sea = Sea::asking();
    let first = route().annotation("proxy-ssl-secret", "me");
    let late = |name: &str| {
        Ingress::new(name)
            .at(name, "Prefix", "/")
            .created("2031-01-01T00:00:00Z")
            .annotation("upstream-vhost", "deck.test")
    };
    let other = late("other.test")
        .annotation("backend-protocol", "HTTPS")
        .annotation("proxy-ssl-secret", "other");
    let plain = late("plain.test").annotation("backend-protocol", "HTTPS");
    let balanced = late("silent.test").annotation("load-balance", "random");
    let directory =
        sea.directory(&[first, other, plain, balanced], &[sea.secret("me"), sea.secret("other")]);
    let gateway = Serve::new(directory.path()).start();
    let status = |host: &str| gateway.send(&Request::get(host, "/")).status();
    assert_eq!(status("deck.test"), 200);
    assert_eq!(status("silent.test"), 200);
    assert_eq!(status("plain.test"), 200);
    assert_eq!(status("other.test"), 503);
    assert!(says(&gateway, "PS307", "`deck.test` decides how the service is spoken to"));
    assert!(says(&gateway, "PS316", "`deck.test` decides how the service is spoken to"));
}

#[test]
fn the_scheme_of_a_destination_wins_over_the_annotation() {
    let upstream = Upstream::start(Scenario::Completion);
    let registry = format!(
        "{{name: deck, type: static, domain: \"{}\", port: 80, protocol: https}}",
        upstream.address
    );
    let directory = Directory::new()
        .holding([("mcpbridges/default.yaml", bridge(&[registry]))])
        .holding([route().to("http://deck.static:80").file()]);
    let gateway = Serve::new(directory.path()).start();
    assert_eq!(ask(&gateway), 200);
}
