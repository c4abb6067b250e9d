use super::*;

fn regex(pattern: &str, with: &str) -> Rewrite {
    Rewrite::Regex { regex: Box::new(Regex::new(pattern).unwrap()), with: with.into() }
}

fn prefix(prefix: &str, with: &str) -> Rewrite {
    Rewrite::Prefix { prefix: prefix.into(), ignore_case: false, with: with.into() }
}

#[test]
fn paths_are_rewritten_as_in_higress() {
    let check = |rewrite: &Rewrite, path: &str, expected: Option<&str>| {
        assert_eq!(rewrite.apply(path).as_deref(), expected, "{rewrite:?} {path}");
    };
    let whole = Rewrite::Whole("/new".into());
    check(&whole, "/anything/else", Some("/new"));
    let without_slash = prefix("/v1", "/api");
    check(&without_slash, "/v1", Some("/api"));
    check(&without_slash, "/v1/", Some("/api/"));
    check(&without_slash, "/v1/x", Some("/api/x"));
    check(&without_slash, "/v10", None);
    let with_slash = prefix("/v1", "/api/");
    check(&with_slash, "/v1", Some("/api/"));
    check(&with_slash, "/v1/x", Some("/api/x"));
    let root = prefix("", "/api");
    check(&root, "/", Some("/api/"));
    check(&root, "/x", Some("/api/x"));
    check(&prefix("", "/"), "/x", Some("/x"));
    check(&prefix("/v1", "/"), "/v1", Some("/"));
    check(&prefix("/v1", "/"), "/v1/x", Some("/x"));
    check(&regex("^/svc/(.*).*$", "/${1}"), "/svc/a/b", Some("/a/b"));
    check(&regex("/old", "/new"), "/old/x/old", Some("/new/x/new"));
    check(&regex("^/", "/base/"), "/x", Some("/base/x"));
    check(&regex("/a(/|$)(.*).*", "/${2}"), "/a/b/c", Some("/b/c"));
    check(&regex("/a(/|$)(.*).*", "/${2}"), "/a", Some("/"));
    check(&regex("/nothing", "/new"), "/x", None);
    check(&regex("^/x", ""), "/x", Some("/"));
}

#[test]
fn a_redirect_names_the_place() {
    let check = |redirect: &Redirect, is_tls: bool, authority: &str, uri: &str, expected: &str| {
        let location = redirect.location(is_tls, authority, &uri.parse().unwrap()).unwrap();
        assert_eq!(location.to_str().unwrap(), expected);
    };
    let https = Redirect::to_https();
    check(&https, false, "a.com", "/x?y=1", "https://a.com/x?y=1");
    check(&https, false, "a.com:80", "/", "https://a.com/");
    check(&https, false, "a.com:8080", "/", "https://a.com:8080/");
    check(&https, false, "[::1]:80", "/", "https://[::1]/");
    let elsewhere = Redirect {
        status: StatusCode::FOUND,
        scheme: Some("http".into()),
        authority: Some("b.com:81".into()),
        path: Some("/new".into()),
    };
    check(&elsewhere, true, "a.com", "/old?q=1", "http://b.com:81/new?q=1");
    let path = Redirect { scheme: None, authority: None, ..elsewhere };
    check(&path, true, "a.com:443", "/old", "https://a.com:443/new");
}

#[test]
fn headers_are_removed_set_and_added() {
    let name = HeaderName::from_static;
    let value = HeaderValue::from_static;
    let mut headers = HeaderMap::new();
    for (key, text) in [("x-a", "1"), ("x-b", "1"), ("x-b", "2"), ("x-c", "1")] {
        headers.append(key, value(text));
    }
    let edits = HeaderEdits {
        add: vec![(name("x-a"), value("2")), (name("x-d"), value("1"))],
        set: vec![(name("x-b"), value("3"))],
        remove: vec![name("x-c"), name("x-none")],
    };
    assert!(!edits.is_empty() && HeaderEdits::default().is_empty());
    edits.apply(&mut headers);
    let all = |key: &str| -> Vec<_> {
        headers.get_all(key).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        (all("x-a"), all("x-b"), all("x-c"), all("x-d")),
        (vec!["1".into(), "2".into()], vec!["3".into()], vec![], vec!["1".to_owned()])
    );
}

#[test]
fn origins_are_compared() {
    let cors = |origins: Vec<OriginMatch>| Cors {
        origins,
        methods: None,
        headers: None,
        exposed: None,
        allows_credentials: true,
        max_age: None,
    };
    let check = |origins: Vec<OriginMatch>, origin: Option<&str>, expected: bool| {
        let mut headers = HeaderMap::new();
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        let found = cors(origins.clone()).allowed_origin(&headers).is_some();
        assert_eq!(found, expected, "{origins:?} {origin:?}");
    };
    check(vec![OriginMatch::Any], Some("https://a.com"), true);
    check(vec![OriginMatch::Any], None, false);
    check(vec![OriginMatch::Any], Some(""), false);
    let exact = || vec![OriginMatch::Exact("https://a.com".into())];
    check(exact(), Some("https://a.com"), true);
    check(exact(), Some("http://a.com"), false);
    check(exact(), Some("https://a.com.evil.com"), false);
    let suffix = || vec![OriginMatch::Suffix(".a.com".into())];
    check(suffix(), Some("https://x.a.com"), true);
    check(suffix(), Some("https://a.com"), false);
    check(suffix(), Some("https://xa.com"), false);
}

#[test]
fn networks_contain_addresses() {
    let check = |network: &str, bits: u8, address: &str, expected: bool| {
        let network = Network { address: network.parse().unwrap(), prefix_bits: bits };
        assert_eq!(network.contains(address.parse().unwrap()), expected, "{network:?} {address}");
    };
    check("10.0.0.0", 8, "10.255.0.1", true);
    check("10.0.0.0", 8, "11.0.0.1", false);
    check("10.0.0.7", 32, "10.0.0.7", true);
    check("10.0.0.7", 32, "10.0.0.8", false);
    check("0.0.0.0", 0, "192.0.2.1", true);
    check("0.0.0.0", 0, "::1", false);
    check("10.0.0.0", 8, "::ffff:10.0.0.1", true);
    check("2001:db8::", 32, "2001:db8:1::1", true);
    check("2001:db8::", 32, "2001:db9::1", false);
    check("::", 0, "::1", true);
    check("::1", 128, "::1", true);
    check("10.0.0.0", 255, "10.0.0.0", true);
}
