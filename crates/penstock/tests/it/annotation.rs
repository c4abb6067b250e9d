//! What annotations make of requests and answers, on the wire.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::*;

/// A gateway with some Ingresses whose destination is `deck.static:80`.
struct Site {
    gateway: Gateway,
    upstream: Upstream,
    _directory: Directory,
}

impl Site {
    fn new(ingresses: &[Ingress]) -> Self {
        Self::holding(ingresses, &[])
    }

    fn holding(ingresses: &[Ingress], plugins: &[Plugin]) -> Self {
        let upstream = Upstream::start(Scenario::Echo);
        let registry = static_registry("deck", &[upstream.address]);
        let directory = Directory::new()
            .holding([("mcpbridges/default.yaml", bridge(&[registry]))])
            .holding(ingresses.iter().map(Ingress::file))
            .holding(plugins.iter().map(Plugin::file));
        let gateway = Serve::new(directory.path()).start();
        Self { gateway, upstream, _directory: directory }
    }

    fn get(&self, target: &str) -> Answer {
        self.gateway.send(&Request::get("a.test", target))
    }

    /// The target that the upstream saw.
    #[track_caller]
    fn check_path(&self, target: &str, expected: &str) {
        let answer = self.get(target);
        assert_eq!(answer.status(), 200, "{target}");
        assert_eq!(self.upstream.received().target(), expected, "{target}");
    }
}

fn at(path_type: &str, path: &str) -> Ingress {
    Ingress::new("r").at("a.test", path_type, path)
}

fn root() -> Ingress {
    at("Prefix", "/")
}

const NGINX: &str = "nginx.ingress.kubernetes.io";

#[test]
fn paths_are_rewritten() {
    let site = Site::new(&[at("Prefix", "/v1").annotation("rewrite-path", "/api")]);
    site.check_path("/v1", "/api");
    site.check_path("/v1/x?q=1", "/api/x?q=1");
    let site = Site::new(&[at("Exact", "/v1").annotation("rewrite-path", "/api")]);
    site.check_path("/v1?q=1", "/api?q=1");
    let site = Site::new(&[at("Prefix", "/a(/|$)(.*)")
        .annotation(&format!("{NGINX}/use-regex"), "true")
        .annotation(&format!("{NGINX}/rewrite-target"), "/$2")]);
    site.check_path("/a/b/c?q=1", "/b/c?q=1");
    site.check_path("/a", "/");
    assert_eq!(site.get("/b").status(), 404);
    let site = Site::new(&[root().annotation("rewrite-target", "/base/")]);
    site.check_path("/x", "/base/x");
}

#[test]
fn paths_are_regular_expressions_where_that_is_said() {
    // Two kinds of expressions keep the order of their names.
    let site = Site::new(&[
        Ingress::new("all")
            .at("a.test", "Prefix", "/v[0-9]/models")
            .annotation("full-path-regex", "true")
            .annotation("upstream-vhost", "whole"),
        Ingress::new("start")
            .at("a.test", "Exact", "/v[0-9]")
            .annotation("use-regex", "true")
            .annotation("upstream-vhost", "start"),
        Ingress::new("plain")
            .at("a.test", "Prefix", "/v1/plain")
            .annotation("upstream-vhost", "plain"),
    ]);
    let host = |target: &str| {
        let answer = site.get(target);
        if answer.status() != 200 {
            return answer.status().to_string();
        }
        site.upstream.received().header("host").unwrap().to_owned()
    };
    assert_eq!(host("/v1/models"), "whole");
    assert_eq!(host("/v1/models/x"), "start");
    assert_eq!(host("/v1/plain/x"), "plain");
    assert_eq!(host("/vx"), "404");
}

#[test]
fn expressions_are_read_as_re2_does() {
    let site = Site::new(&[at("Prefix", r"/users/{id}/(\\d+)")
        .annotation("use-regex", "true")
        .annotation("rewrite-target", "/$1")]);
    site.check_path("/users/{id}/12", "/12");
    assert_eq!(site.get("/users/id/12").status(), 404);
}

#[test]
fn an_expression_that_is_none_costs_its_path_only() {
    let site = Site::new(&[
        at("Prefix", "/a(").annotation("use-regex", "true"),
        Ingress::new("other").at("a.test", "Prefix", "/b"),
    ]);
    assert_eq!(site.get("/a(").status(), 404);
    assert_eq!(site.get("/b").status(), 200);
    let codes: Vec<_> = site.gateway.findings().iter().map(|f| f["code"].clone()).collect();
    assert_eq!(codes, ["PS308"]);
}

#[test]
fn redirects_lead_elsewhere() {
    let check = |ingress: Ingress, status: u16, location: &str| {
        let site = Site::new(&[ingress]);
        let answer = site.get("/old?q=1");
        assert_eq!((answer.status(), answer.header("location")), (status, Some(location)));
        assert_eq!(answer.text(), "");
        site.upstream.received_nothing();
    };
    let to = |key: &str| root().annotation(key, "https://b.test/new");
    check(to("temporal-redirect"), 302, "https://b.test/new?q=1");
    check(to("permanent-redirect"), 301, "https://b.test/new?q=1");
    check(
        to("permanent-redirect").annotation("permanent-redirect-code", "308"),
        308,
        "https://b.test/new?q=1",
    );
    check(
        root().annotation("permanent-redirect", "http://b.test:81"),
        301,
        "http://b.test:81/old?q=1",
    );
    check(
        root().annotation("permanent-redirect", "https://b.test/new?a=b#c"),
        301,
        "https://b.test/new?q=1",
    );
    check(root().annotation("ssl-redirect", "true"), 308, "https://a.test/old?q=1");
    check(
        root().annotation(&format!("{NGINX}/force-ssl-redirect"), "true"),
        308,
        "https://a.test/old?q=1",
    );
}

#[test]
fn a_redirect_that_cannot_be_read_does_not_lead_to_the_upstream() {
    let site = Site::new(&[root().annotation("temporal-redirect", "b.test/new")]);
    assert_eq!(site.get("/old").status(), 503);
    site.upstream.received_nothing();
    let codes: Vec<_> = site.gateway.findings().iter().map(|f| f["code"].clone()).collect();
    assert_eq!(codes, ["PS307", "PS308"]);
}

#[test]
fn what_came_encrypted_to_a_proxy_in_front_is_not_led_in_circles() {
    let upstream = Upstream::start(Scenario::Echo);
    let registry = static_registry("deck", &[upstream.address]);
    let directory = Directory::new()
        .holding([("mcpbridges/default.yaml", bridge(&[registry]))])
        .holding([root().annotation("ssl-redirect", "true").file()]);
    let request = Request::get("a.test", "/")
        .header("x-forwarded-for", "192.0.2.7")
        .header("x-forwarded-proto", "https");
    for (trusted_hops, expected) in [(0, 308), (1, 200)] {
        let gateway = Serve::new(directory.path()).with("--trusted-hops", trusted_hops).start();
        assert_eq!(gateway.send(&request).status(), expected, "{trusted_hops}");
    }
}

#[test]
fn who_may_not_pass_is_not_led_elsewhere_either() {
    let plugin = Plugin::key_auth()
        .default_config("{consumers: [{name: c, credential: k}], keys: [x-key], in_header: true}")
        .rule("{ingress: [r], config: {allow: [c]}}");
    let site = Site::holding(&[root().annotation("ssl-redirect", "true")], &[plugin]);
    assert_eq!(site.get("/").status(), 401);
    let request = Request::get("a.test", "/").header("x-key", "k");
    assert_eq!(site.gateway.send(&request).status(), 308);
}

#[test]
fn the_root_of_an_application_is_elsewhere() {
    let site = Site::new(&[root().annotation("app-root", "/start")]);
    let answer = site.get("/");
    assert_eq!((answer.status(), answer.header("location")), (302, Some("http://a.test/start")));
    assert_eq!(site.get("/x").status(), 200);
    assert_eq!(site.gateway.send(&Request::new("POST", "a.test", "/")).status(), 200);
    let site = Site::new(&[at("Prefix", "/(.*)")
        .annotation("use-regex", "true")
        .annotation("rewrite-target", "/$1")
        .annotation("app-root", "/start")]);
    assert_eq!(site.get("/").status(), 302);
    site.check_path("/x", "/x");
}

#[test]
fn headers_are_changed_on_both_ways() {
    let site = Site::new(&[root()
        .annotation("request-header-control-add", "x-a 1\nx-b \"two words\"")
        .annotation("request-header-control-update", "x-c new")
        .annotation("request-header-control-remove", "x-d, x-e")
        .annotation("response-header-control-add", "x-answer 1")
        .annotation("response-header-control-update", "content-type text/x")
        .annotation("response-header-control-remove", "x-secret")]);
    let head =
        "HTTP/1.1 200 OK\r\nx-secret: 1\r\ncontent-type: text/plain\r\ncontent-length: 0\r\n\r\n";
    site.upstream.once(Scenario::Bytes(head.into()));
    let request = Request::get("a.test", "/")
        .header("x-a", "0")
        .header("x-c", "old")
        .header("x-d", "1")
        .header("x-e", "1");
    let answer = site.gateway.send(&request);
    let received = site.upstream.received();
    assert_eq!(received.headers("x-a"), ["0", "1"]);
    assert_eq!(received.headers("x-b"), ["two words"]);
    assert_eq!(received.headers("x-c"), ["new"]);
    assert_eq!((received.header("x-d"), received.header("x-e")), (None, None));
    assert_eq!(answer.header("x-answer"), Some("1"));
    assert_eq!(answer.header("content-type"), Some("text/x"));
    assert_eq!(answer.header("x-secret"), None);
}

#[test]
fn whoever_updates_the_host_asks_for_another() {
    let site = Site::new(&[root()
        .without_annotation("upstream-vhost")
        .annotation("request-header-control-update", "Host b.test")]);
    site.get("/");
    assert_eq!(site.upstream.received().headers("host"), ["b.test"]);
}

#[test]
fn pages_of_other_origins_may_ask() {
    let site = Site::new(&[root()
        .annotation("enable-cors", "true")
        .annotation("cors-allow-origin", "https://*.page.test,https://exact.test")
        .annotation("cors-allow-methods", "GET, POST")
        .annotation("cors-allow-headers", "x-one,x-two")
        .annotation("cors-expose-headers", "x-shown")
        .annotation("cors-max-age", "60")]);
    let preflight = |origin: &str| {
        let request = Request::new("OPTIONS", "a.test", "/")
            .header("origin", origin)
            .header("access-control-request-method", "POST");
        site.gateway.send(&request)
    };
    let answer = preflight("https://x.page.test");
    assert_eq!((answer.status(), answer.text().as_str()), (200, ""));
    let header = |name: &str| answer.header(&format!("access-control-{name}")).map(str::to_owned);
    assert_eq!(header("allow-origin").as_deref(), Some("https://x.page.test"));
    assert_eq!(header("allow-methods").as_deref(), Some("GET,POST"));
    assert_eq!(header("allow-headers").as_deref(), Some("x-one,x-two"));
    assert_eq!(header("allow-credentials").as_deref(), Some("true"));
    assert_eq!(header("max-age").as_deref(), Some("60"));
    site.upstream.received_nothing();
    // Another origin's preflight is the upstream's affair.
    let answer = preflight("https://evil.test");
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let request = Request::get("a.test", "/").header("origin", "https://exact.test");
    let answer = site.gateway.send(&request);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://exact.test"));
    assert_eq!(answer.header("access-control-expose-headers"), Some("x-shown"));
    assert_eq!(site.get("/").header("access-control-allow-origin"), None);
}

#[test]
fn a_preflight_needs_no_key_and_a_refusal_can_be_read() {
    let plugin = Plugin::key_auth()
        .default_config("{consumers: [{name: c, credential: k}], keys: [x-key], in_header: true}")
        .rule("{ingress: [r], config: {allow: [c]}}");
    let site = Site::holding(&[root().annotation("enable-cors", "true")], &[plugin]);
    let request = Request::new("OPTIONS", "a.test", "/")
        .header("origin", "https://any.test")
        .header("access-control-request-method", "GET");
    assert_eq!(site.gateway.send(&request).status(), 200);
    let answer =
        site.gateway.send(&Request::get("a.test", "/").header("origin", "https://any.test"));
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://any.test"));
}

#[test]
fn a_request_has_so_much_time() {
    let site = Site::new(&[root().annotation("timeout", "1")]);
    site.upstream.once(Scenario::Silence);
    let begin = Instant::now();
    let answer = site.get("/");
    assert_eq!((answer.status(), answer.text().as_str()), (504, "upstream request timeout"));
    assert!(begin.elapsed() >= Duration::from_secs(1));
    assert_eq!(site.get("/").status(), 200);
}

#[test]
fn failed_attempts_are_repeated() {
    let site = Site::new(&[root()
        .annotation("proxy-next-upstream", "http_503,error")
        .annotation("proxy-next-upstream-tries", "2")]);
    site.upstream.once(Scenario::Status(503, "{}"));
    site.upstream.once(Scenario::close());
    let request = Request::new("PUT", "a.test", "/").body("kept");
    assert_eq!(site.gateway.send(&request).status(), 200);
    for _ in 0..3 {
        assert_eq!(site.upstream.received().text(), "kept");
    }
    // What may be done twice is not repeated unless that is said.
    site.upstream.once(Scenario::Status(503, "{}"));
    assert_eq!(site.gateway.send(&Request::post("a.test", "/", "{}")).status(), 503);
    // Two repetitions and no more.
    for _ in 0..3 {
        site.upstream.once(Scenario::Status(503, "{}"));
    }
    assert_eq!(site.get("/").status(), 503);
    assert_eq!(site.get("/").status(), 200);
}

#[test]
fn what_may_happen_twice_is_repeated_where_that_is_said() {
    let site =
        Site::new(&[root().annotation("proxy-next-upstream", "error,timeout,non_idempotent")]);
    site.upstream.once(Scenario::Status(502, "{}"));
    assert_eq!(site.gateway.send(&Request::post("a.test", "/", r#"{"a":1}"#)).status(), 200);
    assert_eq!(site.upstream.received().text(), r#"{"a":1}"#);
    assert_eq!(site.upstream.received().text(), r#"{"a":1}"#);
}

#[test]
fn a_route_takes_so_many_requests() {
    let site = Site::new(&[
        root().annotation("route-limit-rpm", "2").annotation("route-limit-burst-multiplier", "1"),
        Ingress::new("free").at("b.test", "Prefix", "/"),
    ]);
    assert_eq!([site.get("/").status(), site.get("/").status()], [200, 200]);
    let answer = site.get("/");
    assert_eq!((answer.status(), answer.text().as_str()), (429, "local_rate_limited"));
    assert_eq!(answer.header("x-local-rate-limit"), Some("true"));
    assert_eq!(site.gateway.send(&Request::get("b.test", "/")).status(), 200);
}

#[test]
fn some_addresses_may_ask() {
    let check = |ranges: &str, expected: u16| {
        let site = Site::new(&[root().annotation("whitelist-source-range", ranges)]);
        let answer = site.get("/");
        assert_eq!(answer.status(), expected, "{ranges}");
        if expected == 403 {
            assert_eq!(answer.text(), "RBAC: access denied");
        }
    };
    check("127.0.0.1", 200);
    check("10.0.0.0/8, 127.0.0.0/8", 200);
    check("10.0.0.0/8", 403);
    check("*", 200);
    check("nonsense", 503);
}

#[test]
fn some_addresses_may_not_ask() {
    let check = |annotations: &[(&str, &str)], expected: u16| {
        let add = |ingress: Ingress, (key, value): &(&str, &str)| ingress.annotation(key, value);
        let site = Site::new(&[annotations.iter().fold(root(), add)]);
        assert_eq!(site.get("/").status(), expected, "{annotations:?}");
    };
    let (allowed, denied) = ("whitelist-source-range", "blacklist-source-range");
    check(&[(denied, "127.0.0.0/8")], 403);
    check(&[(denied, "10.0.0.0/8, ::1")], 200);
    check(&[(denied, "*")], 403);
    check(&[(denied, "10.0.0.0/8, nonsense")], 503);
    check(&[(allowed, "127.0.0.0/8"), (denied, "127.0.0.1")], 403);
    check(&[(allowed, "127.0.0.0/8"), (denied, "127.0.0.2")], 200);
}

#[test]
fn a_host_says_which_addresses_may_ask() {
    let statuses = |key: &str, ranges: &str| {
        let site = Site::new(&[
            at("Prefix", "/a").annotation(key, ranges),
            Ingress::new("other").at("a.test", "Prefix", "/b"),
            Ingress::new("own")
                .at("a.test", "Prefix", "/c")
                .annotation("whitelist-source-range", "127.0.0.1"),
            Ingress::new("elsewhere").at("b.test", "Prefix", "/"),
        ]);
        let elsewhere = site.gateway.send(&Request::get("b.test", "/")).status();
        let own = |path| site.get(path).status();
        [own("/a"), own("/b"), own("/c"), elsewhere]
    };
    assert_eq!(statuses("domain-whitelist-source-range", "127.0.0.1"), [200; 4]);
    assert_eq!(statuses("domain-whitelist-source-range", "10.0.0.1"), [403, 403, 200, 200]);
    assert_eq!(statuses("domain-blacklist-source-range", "127.0.0.1"), [403, 403, 200, 200]);
    assert_eq!(statuses("domain-blacklist-source-range", "10.0.0.1"), [200; 4]);
    assert_eq!(statuses("domain-blacklist-source-range", "nonsense"), [503, 503, 200, 200]);
}

#[test]
fn a_protection_of_ingress_nginx_is_not_ignored() {
    let key = format!("{NGINX}/auth-url");
    let site = Site::new(&[root().annotation(&key, "http://auth.test/")]);
    assert_eq!(site.get("/").status(), 503);
    site.upstream.received_nothing();
}

#[test]
fn a_protection_without_quotes_is_one_all_the_same() {
    let check = |value: &str, expected: u16| {
        let upstream = Upstream::start(Scenario::Echo);
        let registry = static_registry("deck", &[upstream.address]);
        let (file, text) = root().annotation("whitelist-source-range", "RANGES").file();
        let directory = Directory::new()
            .holding([("mcpbridges/default.yaml", bridge(&[registry]))])
            .holding([(file, text.replace("\"RANGES\"", value))]);
        let gateway = Serve::new(directory.path()).start();
        assert_eq!(gateway.send(&Request::get("a.test", "/")).status(), expected, "{value}");
        assert!(gateway.findings().iter().any(|finding| finding["code"] == "PS201"), "{value}");
    };
    check("[127.0.0.1, 10.0.0.1]", 503);
    check("{a: b}", 503);
    check("1.5", 503);
    // What is meant can be told: nobody's address.
    check("true", 503);
}

#[test]
fn a_canary_takes_requests_with_its_header_or_cookie() {
    let canary = |name: &str, key: &str, value: &str| {
        Ingress::new(name)
            .at("a.test", "Prefix", "/")
            .annotation("canary", "true")
            .annotation(key, value)
            .annotation("request-header-control-update", &format!("x-taken {name}"))
    };
    let taken = |canary: Ingress, header: Option<(&str, &str)>| {
        let site = Site::new(&[Ingress::new("base").at("a.test", "Prefix", "/"), canary]);
        let mut request = Request::get("a.test", "/");
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        assert_eq!(site.gateway.send(&request).status(), 200);
        site.upstream.received().header("x-taken").is_some()
    };
    let by_header = || canary("c", "canary-by-header", "x-canary");
    assert!(taken(by_header(), Some(("x-canary", "always"))));
    assert!(!taken(by_header(), Some(("x-canary", "never"))));
    assert!(!taken(by_header(), None));
    let by_value = || by_header().annotation("canary-by-header-value", "eu|us");
    assert!(taken(by_value(), Some(("x-canary", "us"))));
    assert!(taken(by_value(), Some(("x-canary", "always"))));
    assert!(!taken(by_value(), Some(("x-canary", "asia"))));
    let by_pattern = || by_header().annotation("canary-by-header-pattern", "b[0-9]");
    assert!(taken(by_pattern(), Some(("x-canary", "ab1c"))));
    assert!(!taken(by_pattern(), Some(("x-canary", "abc"))));
    let by_cookie = || canary("c", "canary-by-cookie", "gray");
    assert!(taken(by_cookie(), Some(("cookie", "a=b; gray=always; c=d"))));
    assert!(!taken(by_cookie(), Some(("cookie", "a=b; gray=never"))));
    // Two lines of cookies are one.
    let site = Site::new(&[Ingress::new("base").at("a.test", "Prefix", "/"), by_cookie()]);
    let request =
        Request::get("a.test", "/").header("cookie", "a=b").header("cookie", "gray=always");
    assert_eq!(site.gateway.send(&request).status(), 200);
    assert!(site.upstream.received().header("x-taken").is_some());
}

#[test]
fn a_canary_is_tried_before_its_base() {
    let conditional = |name: &str| {
        Ingress::new(name).at("a.test", "Prefix", "/").annotation("exact-match-header-x-a", "1")
    };
    let site = Site::new(&[
        conditional("base"),
        conditional("gray")
            .annotation("canary", "true")
            .annotation("canary-by-header", "x-canary")
            .annotation("request-header-control-update", "x-taken yes"),
    ]);
    let request = Request::get("a.test", "/").header("x-a", "1");
    assert_eq!(site.gateway.send(&request.clone().header("x-canary", "always")).status(), 200);
    assert_eq!(site.upstream.received().header("x-taken"), Some("yes"));
    assert_eq!(site.gateway.send(&request).status(), 200);
    assert_eq!(site.upstream.received().header("x-taken"), None);
}

#[test]
fn a_canary_takes_its_share() {
    let site = Site::new(&[
        Ingress::new("base").at("a.test", "Prefix", "/"),
        Ingress::new("c")
            .at("a.test", "Prefix", "/")
            .annotation("canary", "true")
            .annotation("canary-weight", "30")
            .annotation("request-header-control-update", "x-taken yes"),
    ]);
    let taken = (0..300)
        .filter(|_| {
            assert_eq!(site.get("/").status(), 200);
            site.upstream.received().header("x-taken").is_some()
        })
        .count();
    // Ten standard deviations.
    assert!((10..170).contains(&taken), "{taken}");
}

#[test]
fn a_canary_does_not_open_what_its_base_protects() {
    let plugin = Plugin::key_auth()
        .default_config("{consumers: [{name: c, credential: k}], keys: [x-key], in_header: true}")
        .rule("{ingress: [base], config: {allow: [c]}}");
    let canary = Ingress::new("gray")
        .at("a.test", "Prefix", "/")
        .annotation("canary", "true")
        .annotation("canary-by-header", "x-canary");
    let base = Ingress::new("base").at("a.test", "Prefix", "/");
    let site = Site::holding(&[base, canary], &[plugin]);
    let request = Request::get("a.test", "/").header("x-canary", "always");
    assert_eq!(site.gateway.send(&request).status(), 503);
    site.upstream.received_nothing();
}

#[test]
fn a_canary_is_counted_apart() {
    let site = Site::new(&[
        root().annotation("route-limit-rpm", "1").annotation("route-limit-burst-multiplier", "1"),
        Ingress::new("gray")
            .at("a.test", "Prefix", "/")
            .annotation("canary", "true")
            .annotation("canary-by-header", "x-canary"),
    ]);
    let gray = Request::get("a.test", "/").header("x-canary", "always");
    assert_eq!([site.get("/").status(), site.get("/").status()], [200, 429]);
    let statuses = [(); 2].map(|()| site.gateway.send(&gray).status());
    assert_eq!(statuses, [200, 429]);
}

#[test]
fn a_base_answers_where_its_canary_has_no_endpoint() {
    let check = |by: (&str, &str)| {
        let upstream = Upstream::start(Scenario::Echo);
        let empty = "apiVersion: v1\nkind: Service\nmetadata: {name: gray, namespace: higress-system}\nspec:\n  ports: [{port: 80}]\n---\napiVersion: v1\nkind: Endpoints\nmetadata: {name: gray, namespace: higress-system}\nsubsets: []\n";
        let canary = Ingress::new("gray")
            .at("a.test", "Prefix", "/")
            .to("gray.higress-system.svc.cluster.local:80")
            .annotation("canary", "true")
            .annotation(by.0, by.1);
        let base = Ingress::new("base").at("a.test", "Prefix", "/");
        let plugin = Plugin::key_auth()
            .default_config(
                "{consumers: [{name: c, credential: k}], keys: [x-key], in_header: true}",
            )
            .rule("{ingress: [base, gray], config: {allow: [c]}}");
        let directory = Directory::new()
            .holding([(
                "mcpbridges/default.yaml",
                bridge(&[static_registry("deck", &[upstream.address])]),
            )])
            .holding([("services/gray.yaml", empty.to_owned())])
            .holding([base.file(), canary.file(), plugin.file()]);
        let gateway = Serve::new(directory.path()).start();
        let request = Request::get("a.test", "/").header("x-canary", "always");
        assert_eq!(gateway.send(&request).status(), 401, "{by:?}");
        assert_eq!(gateway.send(&request.header("x-key", "k")).status(), 200, "{by:?}");
        assert_eq!(upstream.received().headers("host"), ["base"]);
    };
    check(("canary-by-header", "x-canary"));
    check(("canary-weight", "100"));
}

/// Three upstreams that tell their names behind one service.
fn balanced(ingress: Ingress) -> (Gateway, Vec<Upstream>, Directory) {
    let upstreams: Vec<Upstream> = ["one", "two", "ten"]
        .map(|name| Upstream::start(Scenario::raw("Content-Length: 3", name)))
        .into();
    let addresses: Vec<_> = upstreams.iter().map(|upstream| upstream.address).collect();
    let directory = Directory::new()
        .holding([("mcpbridges/default.yaml", bridge(&[static_registry("deck", &addresses)]))])
        .holding([ingress.file()]);
    let gateway = Serve::new(directory.path()).start();
    (gateway, upstreams, directory)
}

#[test]
fn equal_values_go_to_one_endpoint() {
    let check = |variable: &str, request: &dyn Fn(usize) -> Request| {
        let by = root().annotation("upstream-hash-by", variable);
        let (gateway, _upstreams, _directory) = balanced(by);
        let mut seen = std::collections::BTreeSet::new();
        for value in 0..20 {
            let first = gateway.send(&request(value)).text();
            assert_eq!(gateway.send(&request(value)).text(), first, "{variable}");
            seen.insert(first);
        }
        assert!(seen.len() > 1, "{variable}");
    };
    let get = |target: &str| Request::get("a.test", target);
    check("$http_x_user", &|value| get("/").header("x-user", &value.to_string()));
    check("$arg_user", &|value| get(&format!("/?user={value}")));
    check("$request_uri", &|value| get(&format!("/{value}")));
}

#[test]
fn a_balance_that_is_not_there_is_told() {
    for algorithm in ["mcp-sse", "passthrough"] {
        let site = Site::new(&[root().annotation("load-balance", algorithm)]);
        assert_eq!(site.get("/").status(), 200);
        let codes: Vec<_> = site.gateway.findings().iter().map(|f| f["code"].clone()).collect();
        assert_eq!(codes, ["PS306"], "{algorithm}");
    }
}

#[test]
fn a_cookie_keeps_a_client_with_its_endpoint() {
    let (gateway, _upstreams, _directory) = balanced(
        root()
            .annotation("affinity", "cookie")
            .annotation("session-cookie-name", "seat")
            .annotation("session-cookie-max-age", "60"),
    );
    for _ in 0..5 {
        let answer = gateway.send(&Request::get("a.test", "/"));
        let line = answer.header("set-cookie").expect("no cookie").to_owned();
        assert!(line.starts_with("seat=") && line.contains("Max-Age=60"), "{line}");
        let pair = line.split(';').next().unwrap();
        for _ in 0..3 {
            let again = gateway.send(&Request::get("a.test", "/").header("cookie", pair));
            assert_eq!(again.text(), answer.text());
            assert_eq!(again.header("set-cookie"), None);
        }
    }
}

#[test]
fn copies_go_elsewhere_and_nobody_waits_for_them() {
    let (main, shadow) = (Upstream::start(Scenario::Echo), Upstream::start(Scenario::Silence));
    let registries =
        [static_registry("deck", &[main.address]), static_registry("shadow", &[shadow.address])];
    let directory = Directory::new()
        .holding([("mcpbridges/default.yaml", bridge(&registries))])
        .holding([root().annotation("mirror-target-fqdn", "shadow.static").file()]);
    let gateway = Serve::new(directory.path()).start();
    let answer = gateway.send(&Request::post("a.test", "/x?q=1", r#"{"a":1}"#));
    assert_eq!(answer.status(), 200);
    let (original, copy) = (main.received(), shadow.received());
    assert_eq!((original.target(), copy.target()), ("/x?q=1", "/x?q=1"));
    assert_eq!((original.text(), copy.text()), (r#"{"a":1}"#, r#"{"a":1}"#));
    assert_eq!(copy.headers("host"), ["r-shadow"]);
    // It may go on for as long as the answer does, and is not held.
    let chunks =
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    let mut connection = gateway.connect();
    connection.write(chunks.as_bytes());
    assert_eq!(connection.answer().status(), 200);
    assert_eq!(main.received().text(), "x");
    shadow.received_nothing();
}

/// The scenario with another service of this address, `other.static:80`, and
/// annotations that lead to it.
fn harbor_beside(upstream: SocketAddr, other: SocketAddr, annotations: &str) -> Directory {
    let directory = Directory::harbor(upstream);
    let registry = format!("  registries:\n  - {}\n", static_registry("other", &[other]));
    directory.edit("mcpbridges/default.yaml", "  registries:\n", &registry);
    let annotations = format!("  annotations:\n{annotations}");
    directory.edit("ingresses/ai-route-pier.internal.yaml", "  annotations:\n", &annotations);
    directory
}

#[test]
fn a_copy_has_the_providers_form_and_not_its_token() {
    let (main, shadow) = (Upstream::start(Scenario::Echo), Upstream::start(Scenario::Echo));
    let mirror = "    higress.io/mirror-target-fqdn: other.static\n";
    let directory = harbor_beside(main.address, shadow.address, mirror);
    let gateway = Serve::new(directory.path()).start();
    let body = r#"{"model":"gull","messages":[]}"#;
    let request = Request::post(HOST, "/v1/chat/completions", body);
    gateway.send(&request.header("authorization", &format!("Bearer {HERON_KEY}")));
    let (original, copy) = (main.received(), shadow.received());
    assert_eq!(original.headers("authorization"), [format!("Bearer {TOKEN}")]);
    assert_eq!(copy.text(), original.text());
    let sent = format!("{copy:?}");
    assert!(!sent.contains(TOKEN) && !sent.contains(HERON_KEY), "{sent}");
}

#[test]
fn another_service_answers_where_the_own_one_cannot() {
    let page = Upstream::start(Scenario::Echo);
    let main = Upstream::start(Scenario::Status(502, "{}"));
    let port = page.address.port();
    let service = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: pages, namespace: higress-system}}\nspec:\n  ports: [{{port: {port}}}]\n"
    );
    let endpoints = format!(
        "apiVersion: v1\nkind: Endpoints\nmetadata: {{name: pages, namespace: higress-system}}\nsubsets:\n- addresses: [{{ip: {}}}]\n  ports: [{{port: {port}}}]\n",
        page.address.ip()
    );
    let directory = Directory::new()
        .holding([("mcpbridges/default.yaml", bridge(&[static_registry("deck", &[main.address])]))])
        .holding([("services/pages.yaml", service), ("endpoints/pages.yaml", endpoints)])
        .holding([root()
            .annotation("default-backend", "pages")
            .annotation("custom-http-errors", "502,503")
            .file()]);
    let gateway = Serve::new(directory.path()).start();
    let answer = gateway.send(&Request::post("a.test", "/x?q=1", "kept"));
    assert_eq!(answer.status(), 200);
    let asked = page.received();
    assert_eq!((asked.target(), asked.text()), ("/", "kept"));
    assert_eq!(asked.headers("host"), ["a.test"]);
    assert_eq!(asked.headers("x-envoy-route-name"), ["r-fallback"]);
    assert_eq!(asked.headers("x-envoy-fallback-service"), ["higress-system/pages"]);
    main.once(Scenario::Status(404, "{}"));
    assert_eq!(gateway.send(&Request::get("a.test", "/")).status(), 404);
}
