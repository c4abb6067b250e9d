use super::*;
use crate::snapshot::WeightedTarget;

fn route(name: &str, path: PathMatch) -> Route {
    Route {
        name: name.into(),
        path,
        conditions: None,
        targets: Vec::<WeightedTarget>::new(),
        upstream_vhost: None,
        fallback: None,
        policy: None,
        closed: None,
    }
}

fn with(mut route: Route, methods: &[Method], headers: &[&str]) -> Route {
    let others = headers
        .iter()
        .map(|name| CompiledCondition {
            subject: Subject::Header((*name).into()),
            matcher: CompiledMatcher::Present,
        })
        .collect();
    route.conditions = Some(Box::new(RouteConditions { methods: methods.to_vec(), others }));
    route
}

fn input(headers: &HeaderMap) -> RouteInput<'_> {
    RouteInput {
        host: "a.test",
        path: "/",
        query: None,
        method: &Method::GET,
        headers,
        authority: None,
        is_tls: false,
        has_trusted_hops: false,
    }
}

fn exact(path: &str) -> PathMatch {
    PathMatch::Exact { path: path.into(), ignore_case: false }
}

#[test]
fn paths_match_as_in_higress() {
    let check = |pattern: PathMatch, path: &str, expected: bool| {
        assert_eq!(pattern.matches(path), expected, "{pattern:?} on {path}");
    };
    for pattern in ["/foo", "/foo/"] {
        check(PathMatch::prefix(pattern, false), "/foo", true);
        check(PathMatch::prefix(pattern, false), "/foo/", true);
        check(PathMatch::prefix(pattern, false), "/foo/a", true);
        check(PathMatch::prefix(pattern, false), "/foobar", false);
        check(PathMatch::prefix(pattern, false), "/Foo", false);
        check(PathMatch::prefix(pattern, true), "/Foo/x", true);
    }
    check(PathMatch::prefix("/v1", false), "/v1beta", false);
    check(PathMatch::prefix("/", false), "/", true);
    check(PathMatch::prefix("/", false), "/anything", true);
    check(PathMatch::prefix("/ü", false), "/u", false);
    check(exact("/foo"), "/foo", true);
    check(exact("/foo"), "/foo/", false);
    check(PathMatch::Exact { path: "/foo".into(), ignore_case: true }, "/FOO", true);
}

#[test]
fn routes_sort_as_in_higress() {
    let expected = [
        route("exact", exact("/v1/models")),
        route("longer", PathMatch::prefix("/v1/chat", false)),
        with(route("two-headers", PathMatch::prefix("/v1", false)), &[], &["a", "b"]),
        with(route("one-header", PathMatch::prefix("/v1", false)), &[], &["a"]),
        route("plain", PathMatch::prefix("/v1", false)),
        with(route("root-header", PathMatch::prefix("/", false)), &[], &["a"]),
        route("root", PathMatch::prefix("/", false)),
    ];
    let ranks: Vec<_> = expected.iter().map(|route| Precedence::of(route, Role::Path)).collect();
    assert!(ranks.is_sorted());
    assert!(ranks.windows(2).all(|pair| pair[0] != pair[1]));
    let default =
        Precedence::of(&route("default", PathMatch::prefix("/", false)), Role::DefaultBackend);
    assert!(ranks.iter().all(|rank| *rank < default));
    let get = with(route("get", PathMatch::prefix("/v1", false)), &[Method::GET], &[]);
    let two = with(
        route("two", PathMatch::prefix("/v1", false)),
        &[Method::GET, Method::POST],
        &["a", "b", "c"],
    );
    assert!(
        Precedence::of(&get, Role::Path) < Precedence::of(&two, Role::Path),
        "shorter method list first"
    );
}

#[test]
fn kinds_of_regular_expressions_keep_their_order() {
    let prefix = |text: &str| route(text, PathMatch::regex(text, false).unwrap());
    let full = |text: &str| route(text, PathMatch::regex(text, true).unwrap());
    let check = |routes: Vec<Route>, expected: &[&str]| {
        let mut list: Vec<_> = (0..routes.len() as u32).map(RouteIndex).collect();
        let role = |index: RouteIndex| match &*routes[index.0 as usize].name {
            "app-root" => Role::AppRoot,
            "default" => Role::DefaultBackend,
            _ => Role::Path,
        };
        sort(&mut list, &routes, role);
        let names: Vec<&str> = list.iter().map(|at| &*routes[at.0 as usize].name).collect();
        assert_eq!(names, expected);
    };
    check(vec![full("/a.*"), prefix("/a-long-one")], &["/a.*", "/a-long-one"]);
    check(vec![prefix("/a"), prefix("/bb"), full("/c")], &["/bb", "/a", "/c"]);
    check(vec![prefix("/a"), full("/c"), prefix("/bb")], &["/a", "/c", "/bb"]);
    // What is no regular expression does not part those that are.
    let all = route("all", PathMatch::prefix("/", false));
    let exact_path = route("exact", exact("/a"));
    let default = route("default", PathMatch::prefix("/", false));
    check(
        vec![default, prefix("/a"), all, exact_path, prefix("/bb")],
        &["exact", "/bb", "/a", "all", "default"],
    );
    let app_root =
        || with(route("app-root", PathMatch::regex("/", true).unwrap()), &[Method::GET], &[]);
    check(vec![app_root(), prefix("/(.*)"), full("/(.*)x")], &["app-root", "/(.*)", "/(.*)x"]);
    check(vec![app_root(), full("/(.*)"), full("/(.*)x")], &["app-root", "/(.*)x", "/(.*)"]);
    check(vec![app_root(), route("/", exact("/"))], &["/", "app-root"]);
}

#[test]
fn hosts_fall_through_to_less_specific_ones() {
    let mut snapshot = Snapshot {
        routes: vec![
            route("exact", PathMatch::prefix("/a", false)),
            route("wild", PathMatch::prefix("/b", false)),
            route("wider", PathMatch::prefix("/c", false)),
            route("any", PathMatch::prefix("/d", false)),
        ],
        ..Snapshot::default()
    };
    snapshot.hosts.exact.insert("x.y.foo.com".into(), vec![RouteIndex(0)]);
    snapshot.hosts.wildcard.insert("y.foo.com".into(), vec![RouteIndex(1)]);
    snapshot.hosts.wildcard.insert("com".into(), vec![RouteIndex(2)]);
    snapshot.hosts.any.push(RouteIndex(3));
    let check = |host: &str, path: &str, expected: Option<u32>| {
        let headers = HeaderMap::new();
        let input = RouteInput { host, path, ..input(&headers) };
        assert_eq!(snapshot.find(&input), expected.map(RouteIndex), "{host}{path}");
    };
    check("x.y.foo.com", "/a", Some(0));
    check("x.y.foo.com", "/b", Some(1));
    check("x.y.foo.com", "/c", Some(2));
    check("x.y.foo.com", "/d", Some(3));
    check("x.y.foo.com", "/e", None);
    check("y.foo.com", "/b", None);
    check("other.com", "/a", None);
    check("other.com", "/c", Some(2));
    check("com", "/c", None);
    check("localhost", "/d", Some(3));
}

#[test]
fn paths_are_normalised_before_routing() {
    let check = |path: &str, expected: &str| {
        assert_eq!(normalise_path(path).as_deref().unwrap_or(path), expected, "{path}");
    };
    check("/v1/chat", "/v1/chat");
    check("/public/../v1/chat", "/v1/chat");
    check("/public/%2e%2E/v1", "/v1");
    check("/public/.%2e/v1", "/v1");
    check("/a/./b", "/a/b");
    check("/a/b/..", "/a/");
    check("/..", "/");
    check("/../../x", "/x");
    check("/a\\..\\b", "/b");
    check("/.well-known/x", "/.well-known/x");
    check("/a%2fb", "/a%2fb");
    check("/a//b", "/a//b");
}

#[test]
fn query_values_are_decoded() {
    let check = |query: &str, expected: &[&str]| {
        assert_eq!(query_values(query, "key").collect::<Vec<_>>(), expected, "{query}");
    };
    check("key=a%20b", &["a b"]);
    check("x=1&key=a&k%65y=b", &["a", "b"]);
    check("keys=a", &[]);
    check("key", &[""]);
    check("key=%ff", &["%ff"]);
}

/// One row: the subject, how it is compared, headers, whether it holds.
#[track_caller]
fn check_condition(
    subject: Subject,
    matcher: Matcher,
    headers: &[(&'static str, &[u8])],
    expected: bool,
) {
    let condition = CompiledCondition::compile(&Condition { subject, matcher }).unwrap();
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_bytes(value).unwrap());
    }
    let authority = HeaderValue::from_static("A.test:81");
    let has_trusted_hops = headers.iter().any(|(name, _)| *name == "x-trusted");
    let input = RouteInput {
        query: Some("q"),
        authority: Some(&authority),
        has_trusted_hops,
        ..input(&map)
    };
    assert_eq!(condition.holds(&input), expected, "{condition:?} on {headers:?}");
}

#[test]
fn repeated_headers_are_compared_as_one() {
    let exact = |text: &str| Matcher::Exact(text.into());
    let check = |name: &str, matcher, values: &[(&'static str, &[u8])], expected| {
        check_condition(Subject::Header(name.into()), matcher, values, expected);
    };
    let two: &[(&'static str, &[u8])] = &[("x-a", b"1"), ("x-a", b"2"), ("x-b", b"3")];
    check("x-a", exact("1,2"), two, true);
    check("x-a", exact("1"), two, false);
    check("x-a", Matcher::Regex(".*2".into()), two, true);
    check("x-a", Matcher::Present, two, true);
    check("x-c", Matcher::Present, two, false);
    let cookies: &[(&'static str, &[u8])] = &[("cookie", b"a=1"), ("cookie", b"b=2")];
    check("cookie", exact("a=1; b=2"), cookies, true);
}

#[test]
fn headers_are_compared_as_bytes() {
    let check = |matcher, value: &[u8], expected| {
        check_condition(Subject::Header("x-a".into()), matcher, &[("x-a", value)], expected);
    };
    check(Matcher::Exact("ü".into()), "ü".as_bytes(), true);
    check(Matcher::Exact("ü".into()), b"\xfc", false);
    check(Matcher::Prefix("ü".into()), "übung".as_bytes(), true);
    check(Matcher::Regex("ü.".into()), "üß".as_bytes(), true);
    check(Matcher::Regex(".".into()), b"\xfc", false);
    check(Matcher::Present, b"\xfc", true);
}

#[test]
fn pseudo_headers_are_those_of_the_request() {
    let check = |name: &str, value: &str, expected| {
        let matcher = || Matcher::Exact(value.into());
        check_condition(Subject::Pseudo(name.into()), matcher(), &[], expected);
    };
    check("authority", "A.test:81", true);
    check("authority", "a.test", false);
    check("method", "GET", true);
    check("path", "/?q", true);
    check("scheme", "http", true);
    check("scheme", "https", false);
    check("other", "", false);
    let host = Subject::Header("host".into());
    check_condition(host.clone(), Matcher::Prefix("A.test".into()), &[], true);
    check_condition(host, Matcher::Exact("b.test".into()), &[], false);
    let scheme = || Subject::Pseudo("scheme".into());
    let told: &[(&'static str, &[u8])] = &[("x-forwarded-proto", b"https"), ("x-trusted", b"1")];
    check_condition(scheme(), Matcher::Exact("https".into()), told, true);
    check_condition(scheme(), Matcher::Exact("https".into()), &told[..1], false);
}
