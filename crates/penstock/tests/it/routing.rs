//! Which Ingress serves a request. Every route tells its name as the `Host`
//! that the upstream sees, and the upstream tells it back.

use std::collections::HashMap;

use crate::support::*;

/// A gateway with some Ingresses, whose upstream answers with what it got.
struct Routes {
    gateway: Gateway,
    _upstream: Upstream,
    _directory: Directory,
}

impl Routes {
    fn new(ingresses: &[Ingress]) -> Self {
        Self::with(ingresses, &[], |serve| serve)
    }

    fn with(ingresses: &[Ingress], plugins: &[Plugin], flags: impl FnOnce(Serve) -> Serve) -> Self {
        let upstream = Upstream::start(Scenario::Echo);
        let registry = static_registry("deck", &[upstream.address]);
        let directory = Directory::new()
            .holding([("mcpbridges/default.yaml", bridge(&[registry]))])
            .holding(ingresses.iter().map(Ingress::file))
            .holding(plugins.iter().map(Plugin::file));
        let gateway = flags(Serve::new(directory.path())).start();
        Self { gateway, _upstream: upstream, _directory: directory }
    }

    /// The route that serves a request, or its status where none does.
    fn find(&self, request: &Request) -> String {
        let answer = self.gateway.send(request);
        match answer.status() {
            200 => {
                let text = answer.text();
                let host = text.lines().find_map(|line| line.strip_prefix("host: "));
                host.expect("no host in the echo").to_owned()
            }
            status => status.to_string(),
        }
    }

    #[track_caller]
    fn check(&self, host: &str, path: &str, expected: &str) {
        assert_eq!(self.find(&Request::get(host, path)), expected, "{host} {path}");
    }

    #[track_caller]
    fn check_request(&self, request: &Request, expected: &str) {
        assert_eq!(self.find(request), expected);
    }
}

fn prefix(name: &str, host: &str, path: &str) -> Ingress {
    Ingress::new(name).at(host, "Prefix", path)
}

#[test]
fn the_most_specific_host_is_tried_first() {
    let routes = Routes::new(&[
        prefix("any", "", "/"),
        prefix("wild", "*.bay.test", "/"),
        prefix("wilder", "*.test", "/"),
        prefix("exact", "a.bay.test", "/"),
        prefix("deep", "*.a.bay.test", "/"),
    ]);
    routes.check("a.bay.test", "/", "exact");
    routes.check("b.bay.test", "/", "wild");
    routes.check("x.b.bay.test", "/", "wild");
    routes.check("x.a.bay.test", "/", "deep");
    routes.check("y.x.a.bay.test", "/", "deep");
    routes.check("bay.test", "/", "wilder");
    routes.check("c.test", "/", "wilder");
    routes.check("test", "/", "any");
    routes.check("elsewhere", "/", "any");
    routes.check("127.0.0.1:80", "/", "any");
}

#[test]
fn a_host_that_declines_passes_on_to_a_less_specific_one() {
    let routes = Routes::new(&[
        prefix("exact", "a.bay.test", "/exact"),
        prefix("wild", "*.bay.test", "/wild"),
        prefix("wilder", "*.test", "/wilder"),
        prefix("any", "", "/any"),
    ]);
    routes.check("a.bay.test", "/exact", "exact");
    routes.check("a.bay.test", "/wild", "wild");
    routes.check("a.bay.test", "/wilder", "wilder");
    routes.check("a.bay.test", "/any", "any");
    routes.check("a.bay.test", "/none", "404");
    routes.check("b.bay.test", "/exact", "404");
}

#[test]
fn a_condition_that_does_not_hold_passes_on_as_well() {
    let routes = Routes::new(&[
        prefix("strict", "a.bay.test", "/").annotation("exact-match-header-x-tide", "high"),
        prefix("wild", "*.bay.test", "/"),
    ]);
    routes.check_request(&Request::get("a.bay.test", "/").header("X-Tide", "high"), "strict");
    routes.check_request(&Request::get("a.bay.test", "/").header("X-Tide", "low"), "wild");
}

#[test]
fn hosts_are_compared_without_port_and_case() {
    let routes =
        Routes::new(&[prefix("exact", "a.bay.test", "/"), prefix("upper", "UPPER.bay.test", "/")]);
    routes.check("a.bay.test:8080", "/", "exact");
    routes.check("A.Bay.TEST", "/", "exact");
    routes.check("A.BAY.TEST:1", "/", "exact");
    routes.check("upper.bay.test", "/", "upper");
    routes.check("a.bay.test.", "/", "404");
    routes.check("", "/", "400");
}

#[test]
fn a_request_target_with_a_host_agrees_with_the_header() {
    let routes = Routes::new(&[prefix("a", "a.bay.test", "/"), prefix("b", "b.bay.test", "/")]);
    routes.check_request(&Request::get("a.bay.test", "http://A.bay.test/x"), "a");
    routes.check_request(&Request::get("b.bay.test", "http://a.bay.test/x"), "400");
    routes.check_request(&Request::get("elsewhere.test", "http://elsewhere.test/"), "404");
    for (target, path) in [("http://a.bay.test/x?y=z", "/x?y=z"), ("http://a.bay.test", "/")] {
        let answer = routes.gateway.send(&Request::get("a.bay.test", target));
        let expected = format!("GET {path} HTTP/1.1\r\n");
        assert!(answer.text().starts_with(&expected), "{}", answer.text());
    }
}

#[test]
fn a_prefix_ends_at_a_slash() {
    let routes = Routes::new(&[prefix("foo", "a.test", "/foo"), prefix("bar", "a.test", "/bar/")]);
    for path in ["/foo", "/foo/", "/foo/a", "/foo?x", "/foo/?x"] {
        routes.check("a.test", path, "foo");
    }
    for path in ["/bar", "/bar/", "/bar/a/b"] {
        routes.check("a.test", path, "bar");
    }
    for path in ["/foobar", "/fo", "/FOO", "/", "/foo.html", "/barb"] {
        routes.check("a.test", path, "404");
    }
}

#[test]
fn an_exact_path_is_compared_byte_for_byte() {
    let routes = Routes::new(&[
        Ingress::new("foo").at("a.test", "Exact", "/foo"),
        Ingress::new("slash").at("a.test", "Exact", "/bar/"),
        Ingress::new("root").at("a.test", "Exact", "/"),
    ]);
    routes.check("a.test", "/foo", "foo");
    routes.check("a.test", "/foo?x=y", "foo");
    routes.check("a.test", "/bar/", "slash");
    routes.check("a.test", "/", "root");
    for path in ["/foo/", "/foo/a", "/Foo", "/bar", "/f%6fo"] {
        routes.check("a.test", path, "404");
    }
}

#[test]
fn case_may_be_ignored() {
    let routes = Routes::new(&[
        prefix("prefix", "a.test", "/Foo").annotation("ignore-path-case", "true"),
        Ingress::new("exact").at("a.test", "Exact", "/Bar").annotation("ignore-path-case", "true"),
    ]);
    routes.check("a.test", "/fOO/x", "prefix");
    routes.check("a.test", "/bAR", "exact");
    routes.check("a.test", "/bAR/x", "404");
}

#[test]
fn routes_of_a_host_are_tried_in_higress_order() {
    let header = |ingress: Ingress, name: &str| {
        ingress.annotation(&format!("exact-match-header-{name}"), "1")
    };
    let routes = Routes::new(&[
        prefix("a-catch-all", "a.test", "/"),
        header(prefix("b-root-with-header", "a.test", "/"), "x"),
        prefix("c-v1", "a.test", "/v1"),
        header(prefix("d-v1-with-header", "a.test", "/v1"), "x"),
        header(header(prefix("e-v1-with-headers", "a.test", "/v1"), "x"), "y"),
        prefix("f-v1-with-method", "a.test", "/v1").annotation("match-method", "PUT"),
        prefix("g-v1-with-query", "a.test", "/v1").annotation("exact-match-query-q", "1"),
        prefix("h-v1-chat", "a.test", "/v1/chat"),
        Ingress::new("i-exact").at("a.test", "Exact", "/v1"),
    ]);
    let get = |path: &str| Request::get("a.test", path);
    let both = |path: &str| get(path).header("x", "1").header("y", "1");
    routes.check_request(&both("/v1?q=1"), "i-exact");
    routes.check_request(&both("/v1/chat/x?q=1"), "h-v1-chat");
    routes.check_request(
        &Request::new("PUT", "a.test", "/v1/a?q=1").header("x", "1"),
        "f-v1-with-method",
    );
    routes.check_request(&both("/v1/a?q=1"), "e-v1-with-headers");
    routes.check_request(&get("/v1/a?q=1").header("x", "1"), "d-v1-with-header");
    routes.check_request(&get("/v1/a?q=1"), "g-v1-with-query");
    routes.check_request(&get("/v1/a"), "c-v1");
    routes.check_request(&both("/other"), "b-root-with-header");
    routes.check_request(&get("/other"), "a-catch-all");
}

#[test]
fn of_equal_routes_the_older_one_comes_first() {
    let with = |name: &str, query: &str| {
        prefix(name, "a.test", "/").annotation(&format!("exact-match-query-{query}"), "1")
    };
    let routes = Routes::new(&[
        with("a-young", "a").created("2024-06-01T00:00:00Z"),
        with("b-old", "b").created("2020-06-01T00:00:00Z"),
        with("d-untimed", "d"),
        with("c-untimed", "c"),
    ]);
    routes.check("a.test", "/?a=1&b=1&c=1&d=1", "c-untimed");
    routes.check("a.test", "/?a=1&b=1&d=1", "d-untimed");
    routes.check("a.test", "/?a=1&b=1", "b-old");
    routes.check("a.test", "/?a=1", "a-young");
}

#[test]
fn the_first_to_claim_a_path_keeps_it() {
    let routes = Routes::new(&[
        prefix("a-young", "a.test", "/x")
            .at("a.test", "Prefix", "/own")
            .created("2024-01-01T00:00:00Z"),
        prefix("b-old", "a.test", "/x").created("2020-01-01T00:00:00Z"),
    ]);
    routes.check("a.test", "/x", "b-old");
    routes.check("a.test", "/own", "a-young");
    let findings = routes.gateway.findings();
    let finding = findings.iter().find(|finding| finding["code"] == "PS304").unwrap();
    assert!(finding["file"].as_str().unwrap().ends_with("ingresses/a-young.yaml"), "{finding}");
    assert!(finding["message"].as_str().unwrap().contains("b-old"), "{finding}");
}

#[test]
fn conditions_on_method_header_and_query() {
    let one = |name: &str, annotation: &str, value: &str| {
        prefix(name, &format!("{name}.test"), "/").annotation(annotation, value)
    };
    let routes = Routes::new(&[
        one("method", "match-method", "get POST nonsense"),
        one("exact", "exact-match-header-X-Tide", "high"),
        one("start", "prefix-match-header-x-tide", "hi"),
        one("regex", "regex-match-header-x-tide", "h.*h|low"),
        one("present", "regex-match-header-x-tide", "*"),
        one("query", "exact-match-query-Tide", "high tide"),
        one("query-start", "prefix-match-query-tide", "hi"),
        one("query-regex", "regex-match-query-tide", "[a-z]+"),
        one("pseudo", "prefix-match-pseudo-header-path", "/a?b="),
        one("both", "exact-match-header-x-tide", "high").annotation("exact-match-query-a", "b"),
    ]);
    let method = |method: &str| Request::new(method, "method.test", "/");
    for (name, expected) in
        [("GET", "method"), ("POST", "method"), ("PUT", "404"), ("PURGE", "404"), ("HEADX", "400")]
    {
        routes.check_request(&method(name), expected);
    }
    let tide = |route: &str, value: &str| {
        Request::get(&format!("{route}.test"), "/").header("x-TIDE", value)
    };
    routes.check_request(&tide("exact", "high"), "exact");
    routes.check_request(&tide("exact", "High"), "404");
    routes.check_request(&tide("exact", "high "), "exact");
    routes.check_request(&tide("exact", "higher"), "404");
    routes.check_request(&tide("start", "higher"), "start");
    routes.check_request(&tide("start", "ahigh"), "404");
    routes.check_request(&tide("regex", "hush"), "regex");
    routes.check_request(&tide("regex", "low"), "regex");
    routes.check_request(&tide("regex", "lower"), "404");
    routes.check_request(&tide("regex", "a hush"), "404");
    routes.check_request(&tide("present", "whatever"), "present");
    routes.check("present.test", "/", "404");
    routes.check("query.test", "/?x=y&Tide=high%20tide", "query");
    routes.check("query.test", "/?tide=high%20tide", "404");
    routes.check("query.test", "/?Tide=high", "404");
    routes.check("query-start.test", "/?tide=higher", "query-start");
    routes.check("query-regex.test", "/?tide=high", "query-regex");
    routes.check("query-regex.test", "/?tide=high1", "404");
    routes.check("pseudo.test", "/a?b=c", "pseudo");
    routes.check("pseudo.test", "/a?c=b", "404");
    routes.check_request(&Request::get("both.test", "/?a=b").header("x-tide", "high"), "both");
    routes.check("both.test", "/?a=b", "404");
}

#[test]
fn conditions_see_what_the_client_has_sent() {
    let one = |name: &str, annotation: &str, value: &str| {
        prefix(name, &format!("{name}.test"), "/").annotation(annotation, value)
    };
    let routes = Routes::new(&[
        one("host", "exact-match-header-Host", "host.test"),
        one("authority", "exact-match-pseudo-header-authority", "authority.test:81"),
        one("scheme", "exact-match-pseudo-header-scheme", "http"),
        one("secure", "exact-match-pseudo-header-scheme", "https"),
        one("twice", "exact-match-header-x-tide", "low,high"),
        one("bytes", "exact-match-header-x-tide", "hög"),
    ]);
    routes.check("host.test", "/", "host");
    routes.check("host.test:81", "/", "404");
    routes.check("authority.test:81", "/", "authority");
    routes.check("authority.test", "/", "404");
    routes.check("scheme.test", "/", "scheme");
    routes.check("secure.test", "/", "404");
    let twice =
        |a: &str, b: &str| Request::get("twice.test", "/").header("x-tide", a).header("x-tide", b);
    routes.check_request(&twice("low", "high"), "twice");
    routes.check_request(&twice("high", "low"), "404");
    routes.check_request(&Request::get("bytes.test", "/").header("x-tide", "hög"), "bytes");
    routes.check_request(&Request::get("bytes.test", "/").header("x-tide", "hoeg"), "404");
}

#[test]
fn a_condition_that_cannot_be_read_closes_its_route() {
    let routes = Routes::new(&[
        prefix("broken", "a.test", "/").annotation("regex-match-header-x-tide", "("),
        prefix("good", "b.test", "/"),
    ]);
    routes.check_request(&Request::get("a.test", "/").header("x-tide", "("), "503");
    routes.check_request(&Request::get("a.test", "/").header("x-tide", "high"), "503");
    routes.check("b.test", "/", "good");
}

#[test]
fn destinations_share_by_weight() {
    let names = ["one", "two", "three"];
    let upstreams = names.map(|name| {
        let answer = format!("Content-Length: {}\r\nX-Name: {name}", 0);
        Upstream::start(Scenario::raw(&answer, ""))
    });
    let registries: Vec<String> = names
        .iter()
        .zip(&upstreams)
        .map(|(name, upstream)| static_registry(name, &[upstream.address]))
        .collect();
    let ingress = |name: &str, destination: &str| {
        prefix(name, &format!("{name}.test"), "/").to(destination).file()
    };
    let directory =
        Directory::new().holding([("mcpbridges/default.yaml", bridge(&registries))]).holding([
            ingress("all-or-nothing", "0% one.static:80\n100% two.static:80"),
            ingress("first-gets-the-rest", "100% one.static:80\n0% two.static:80"),
            ingress("most", "80% one.static:80\n20% two.static:80"),
            ingress("thirds", "1% one.static:80\n1% two.static:80\n1% three.static:80"),
            ingress("unweighted", "one.static:80\n\n  two.static:80  "),
        ]);
    let gateway = Serve::new(directory.path()).start();
    let shares = |route: &str| {
        let mut shares: HashMap<String, u32> = HashMap::new();
        let mut client = gateway.connect();
        for _ in 0..400 {
            client.send(&Request::get(&format!("{route}.test"), "/"));
            *shares.entry(client.answer().header("x-name").unwrap().to_owned()).or_default() += 1;
        }
        names.map(|name| shares.get(name).copied().unwrap_or_default())
    };
    assert_eq!(shares("all-or-nothing"), [0, 400, 0]);
    assert_eq!(shares("first-gets-the-rest"), [400, 0, 0]);
    // Six standard deviations of the binomial distribution on each side.
    let is_about = |share: u32, expected: u32| share.abs_diff(expected) < 60;
    let [one, two, three] = shares("most");
    assert!(is_about(one, 320) && is_about(two, 80) && three == 0, "{one} {two} {three}");
    let [one, two, three] = shares("thirds");
    assert!(
        is_about(one, 136) && is_about(two, 132) && is_about(three, 132),
        "{one} {two} {three}"
    );
    let [one, two, three] = shares("unweighted");
    assert!(is_about(one, 200) && is_about(two, 200) && three == 0, "{one} {two} {three}");
}

#[test]
fn a_destination_that_cannot_be_read_drops_its_paths() {
    let routes = Routes::new(&[
        prefix("weightless", "a.test", "/").to("x% deck.static:80"),
        prefix("nameless", "a.test", "/b").to("50%"),
        prefix("blank", "a.test", "/c").to(" "),
        prefix("none", "a.test", "/d").without_annotation("destination"),
        prefix("good", "a.test", "/e"),
    ]);
    for path in ["/", "/b", "/c", "/d"] {
        routes.check("a.test", path, "404");
    }
    routes.check("a.test", "/e", "good");
}

#[test]
fn a_destination_names_host_and_port() {
    let routes = Routes::new(&[
        prefix("without-port", "a.test", "/without").to("deck.static"),
        prefix("upper-case", "a.test", "/upper").to("DECK.static:80"),
        prefix("wrong-port", "a.test", "/port").to("deck.static:81"),
        prefix("wrong-type", "a.test", "/type").to("deck.dns:80"),
        prefix("subset", "a.test", "/subset").to("deck.static:80 v2"),
        prefix("scheme", "a.test", "/scheme").to("http://deck.static:80"),
    ]);
    routes.check("a.test", "/without", "without-port");
    routes.check("a.test", "/upper", "upper-case");
    routes.check("a.test", "/scheme", "scheme");
    for path in ["/port", "/type", "/subset"] {
        routes.check("a.test", path, "503");
    }
}

/// Spellings of a path below `/v1`, sent as if below `/open`.
const DETOURS: [&str; 18] = [
    "/open/../v1/secret",
    "/open/./../v1/secret",
    "/open/%2e%2e/v1/secret",
    "/open/%2E%2e/v1/secret",
    "/open/.%2e/v1/secret",
    "/open/x/../../v1/secret",
    "/open\\..\\v1\\secret",
    "/open/..\\v1/secret",
    "/open/%2e%2e\\v1/secret",
    "//v1/secret",
    "/./v1/secret",
    "/%2e/v1/secret",
    "/v1/../v1/secret",
    "/open/..",
    "/open/../v1",
    "/open/..%2fv1/secret",
    "/open/..%5cv1/secret",
    "/v1%2fsecret",
];

/// Whether a reader of a target may take it for another one.
fn has_detour(target: &str) -> bool {
    let is_dots =
        |segment: &str| matches!(segment.to_lowercase().replace("%2e", ".").as_str(), "." | "..");
    target.contains('\\') || target.split('/').any(is_dots)
}

#[test]
fn no_spelling_of_a_path_reaches_a_protected_route_without_a_key() {
    let key_auth = Plugin::key_auth()
        .default_config("{global_auth: false, consumers: [{name: heron, keys: [Authorization], credential: Bearer heron-key-4711}]}")
        .rule("{ingress: [guarded], config: {allow: [heron]}}");
    let routes = Routes::with(
        &[
            prefix("guarded", "a.test", "/v1"),
            prefix("open", "a.test", "/open"),
            prefix("rest", "a.test", "/").annotation("match-method", "PUT"),
        ],
        &[key_auth],
        |serve| serve,
    );
    routes.check("a.test", "/v1/secret", "401");
    routes.check("a.test", "/open/x", "open");
    for detour in DETOURS {
        for method in ["GET", "PUT"] {
            let answer = routes.gateway.send(&Request::new(method, "a.test", detour));
            if answer.status() != 200 {
                continue;
            }
            // What passes must be what was checked: a path that no reader
            // takes for one below `/v1`.
            let text = answer.text();
            let target = text.split(' ').nth(1).unwrap();
            let is_guarded = target == "/v1" || target.starts_with("/v1/");
            assert!(!is_guarded && !has_detour(target), "{method} {detour} went out as {target}");
        }
    }
    let answer = routes.gateway.send(&Request::get("a.test", "/open/../v1/secret").key(HERON_KEY));
    assert!(answer.text().starts_with("GET /v1/secret HTTP/1.1\r\n"), "{}", answer.text());
}

#[test]
fn only_ingresses_of_the_wanted_class_are_served() {
    let ingresses = [
        prefix("mine", "mine.test", "/").class("harbor"),
        prefix("other", "other.test", "/").class("nginx"),
        prefix("none", "none.test", "/"),
    ];
    let mine = Routes::with(&ingresses, &[], |serve| serve.with("--ingress-class", "harbor"));
    mine.check("mine.test", "/", "mine");
    mine.check("other.test", "/", "404");
    mine.check("none.test", "/", "404");
    let nginx = Routes::with(&ingresses, &[], |serve| serve.with("--ingress-class", "nginx"));
    nginx.check("mine.test", "/", "404");
    nginx.check("other.test", "/", "other");
    nginx.check("none.test", "/", "none");
    let all = Routes::new(&ingresses);
    for name in ["mine", "other", "none"] {
        all.check(&format!("{name}.test"), "/", name);
    }
}

#[test]
fn path_types_have_their_defaults() {
    let text = |name: &str, path: &str| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\n  annotations: {{higress.io/destination: \"deck.static:80\", higress.io/upstream-vhost: {name}}}\nspec:\n  rules:\n  - host: {name}.test\n    http:\n      paths:\n      - {{{path}backend: {{resource: {{kind: McpBridge, name: default}}}}}}\n"
        )
    };
    let upstream = Upstream::start(Scenario::Echo);
    let registry = static_registry("deck", &[upstream.address]);
    let directory = Directory::new().holding([
        ("mcpbridges/default.yaml", bridge(&[registry])),
        ("ingresses/untyped.yaml", text("untyped", "path: /a/*, ")),
        ("ingresses/pathless.yaml", text("pathless", "")),
        (
            "ingresses/specific.yaml",
            text("specific", "path: /a, pathType: ImplementationSpecific, "),
        ),
    ]);
    let gateway = Serve::new(directory.path()).start();
    let routes = Routes { gateway, _upstream: upstream, _directory: directory };
    routes.check("untyped.test", "/a/b", "untyped");
    routes.check("untyped.test", "/ab", "404");
    routes.check("pathless.test", "/whatever", "pathless");
    routes.check("specific.test", "/a/b", "specific");
    routes.check("specific.test", "/ab", "404");
}
