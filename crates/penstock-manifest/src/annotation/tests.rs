use std::fmt::Debug;

use proptest::prelude::*;

use super::*;
use crate::node::{Entry, Map, Node, Position, Source, Value};
use crate::resource::{Known, Metadata, ResourceKey};

/// An Ingress `shop/web` with these annotations. A key without a prefix is
/// Higress'; `nginx:KEY` is the nginx form.
fn ingress(annotations: &[(&str, &str)]) -> Resource {
    let map = |entries: Vec<(String, Value)>| {
        let entry = |(key, value): (String, Value)| Entry {
            key: key.into(),
            key_at: Position::default(),
            node: Node::synthetic(value),
        };
        Value::Map(Map { entries: entries.into_iter().map(entry).collect() })
    };
    let whole = |key: &str| match key.strip_prefix("nginx:") {
        Some(key) => format!("{NGINX}{key}"),
        None => format!("{HIGRESS}{key}"),
    };
    let annotations =
        annotations.iter().map(|(key, text)| (whole(key), Value::String((*text).into())));
    let metadata = vec![("annotations".to_owned(), map(annotations.collect()))];
    Resource {
        key: ResourceKey::new("Ingress", "shop", "web"),
        source: Source { file: "web.yaml".into(), document: 0, at: Position::default() },
        metadata: Metadata::default(),
        root: Node::synthetic(map(vec![("metadata".to_owned(), map(metadata))])),
        known: Known::default(),
    }
}

/// The options, and the findings without the repeated part of their paths.
fn read(annotations: &[(&str, &str)]) -> (RouteOptions, Vec<String>) {
    let mut diagnostics = Vec::new();
    let options = RouteOptions::parse(&ingress(annotations), &mut diagnostics);
    let short = |text: &str| {
        text.replace("metadata.annotations[\"higress.io/", "")
            .replace("metadata.annotations[\"nginx.ingress.kubernetes.io/", "nginx:")
            .replace("\"]", "")
    };
    let shown = diagnostics.iter().map(|d| format!("{} {}", d.code.id, short(&d.message)));
    (options, shown.collect())
}

/// One row: annotations, what `of` gives, parts of the findings in order.
fn check<T: Debug>(
    annotations: &[(&str, &str)],
    of: impl Fn(&RouteOptions) -> T,
    expected: &str,
    findings: &[&str],
) {
    let (options, found) = read(annotations);
    assert_eq!(format!("{:?}", of(&options)), expected, "{annotations:?}");
    let fits = found.len() == findings.len()
        && found.iter().zip(findings).all(|(found, part)| found.contains(part));
    assert!(fits, "{annotations:?}: {found:#?}");
    // A value may come out of a Secret.
    for (_, text) in annotations.iter().filter(|(_, text)| text.contains("hunter2")) {
        assert!(!found.iter().any(|finding| finding.contains("hunter2")), "{text}");
    }
}

#[test]
fn the_nginx_form_is_tried_first() {
    let flag = |o: &RouteOptions| o.ignore_path_case;
    let both = |nginx, higress| [("ignore-path-case", higress), ("nginx:ignore-path-case", nginx)];
    check(&both("true", "false"), flag, "true", &[]);
    check(&both("false", "true"), flag, "false", &[]);
    check(
        &both("yes", "true"),
        flag,
        "true",
        &["PS308 `nginx:ignore-path-case` must be a boolean"],
    );
    check(
        &both("yes", "1 0"),
        flag,
        "false",
        &["PS308 `nginx:ignore-path-case`", "PS308 `ignore-path-case`"],
    );
}

#[test]
fn texts_are_trimmed_line_by_line() {
    let host = |o: &RouteOptions| o.upstream_vhost.clone();
    check(&[("upstream-vhost", " \n a.test \n")], host, "Some(\"a.test\")", &[]);
    check(&[("upstream-vhost", " \n ")], host, "None", &["must be a host"]);
    check(&[("upstream-vhost", "hunter2 x")], host, "None", &["must be a host"]);
}

#[test]
fn what_nothing_reads_is_reported() {
    let closed = |o: &RouteOptions| o.closed;
    check(&[("comment", "x"), ("affinity-mode", "x")], closed, "None", &[]);
    check(&[("mcp-server", "false"), ("ssl-passthrough", "0")], closed, "None", &[]);
    check(&[("mcp-server", "true")], closed, "None", &["PS306 `mcp-server`"]);
    check(&[("rpc-destination-name", "x")], closed, "None", &["PS306 `rpc-destination-name`"]);
    check(&[("auth-type", "basic")], closed, "Some(\"auth-type\")", &["PS307 `auth-type`"]);
    check(&[("nginx:timeout", "5")], closed, "None", &["PS305 unknown annotation"]);
    check(&[("exact-match-header-", "5")], closed, "None", &["PS305 unknown annotation"]);
    check(&[("time-out", "5")], closed, "None", &["PS305 unknown annotation"]);
}

#[test]
fn a_reference_that_leads_nowhere_closes_the_routes() {
    let mut resource = ingress(&[("rewrite-path", "/x")]);
    let annotations = resource.root.get_mut("metadata").unwrap().get_mut("annotations").unwrap();
    let Value::Map(map) = &mut annotations.value else { unreachable!() };
    map.entries[0].node.value = Value::Unresolved("${secret.a.b}".into());
    let options = RouteOptions::parse(&resource, &mut Vec::new());
    assert!(options.closed.is_some());
    assert_eq!(options.rewrite, None);
    let mut resource = ingress(&[("domain-whitelist-source-range", "1.1.1.1")]);
    let annotations = resource.root.get_mut("metadata").unwrap().get_mut("annotations").unwrap();
    let Value::Map(map) = &mut annotations.value else { unreachable!() };
    map.entries[0].node.value = Value::Unresolved("${secret.a.b}".into());
    let options = RouteOptions::parse(&resource, &mut Vec::new());
    assert!(options.closed.is_some() && options.domain_sources.is_nobody());
}

#[test]
fn every_row_can_be_found() {
    for (index, row) in ANNOTATIONS.iter().enumerate() {
        let name = format!("{}{}", row.key, if row.key.ends_with('-') { "x" } else { "" });
        assert_eq!(table::find(&name, false).map(|(found, _)| found), Some(index), "{name}");
        let in_nginx = table::find(&name, true).is_some();
        assert_eq!(in_nginx, row.prefixes == Prefixes::Both, "{name}");
        let has_meaning = !row.meaning.is_empty();
        assert!(has_meaning || row.support != Support::Acts, "{name} has no meaning");
    }
    assert!(ANNOTATIONS.is_sorted_by(|a, b| a.key < b.key));
}

#[test]
fn matching() {
    let conditions = |o: &RouteOptions| (o.methods.clone(), o.conditions.len());
    check(&[("match-method", "get Post GET")], conditions, "([\"GET\", \"POST\"], 0)", &[]);
    check(&[("match-method", "FETCH get")], conditions, "([\"GET\"], 0)", &["entry 1 is not"]);
    check(
        &[("regex-match-query-a", ""), ("exact-match-header-X", "")],
        conditions,
        "([], 1)",
        &["must be a regular expression"],
    );
    for (key, findings) in [
        ("exact-match-pseudo-header-scheme", &[][..]),
        ("exact-match-pseudo-header-Authority", &[]),
        ("exact-match-pseudo-header-protocol", &["PS305 there is no such pseudo-header"]),
        ("regex-match-pseudo-header-:path", &["PS305 there is no such pseudo-header"]),
    ] {
        check(&[(key, "x")], conditions, "([], 1)", findings);
    }
    let repeated = "PS323 `prefix-match-header-x-a` is not the only condition on its name";
    check(
        &[("exact-match-header-X-A", "b"), ("prefix-match-header-x-a", "b")],
        conditions,
        "([], 2)",
        &[repeated],
    );
    check(
        &[("exact-match-header-a", "b"), ("prefix-match-query-a", "b")],
        conditions,
        "([], 2)",
        &[],
    );
}

#[test]
fn rewrite_targets() {
    let target = |o: &RouteOptions| o.rewrite.as_ref().and_then(|rewrite| rewrite.target.clone());
    for (written, expected) in [
        ("/", "/"),
        ("/new", "/new"),
        ("/$1", "/${1}"),
        ("/$1/$12", "/${1}/${1}2"),
        (r"/\1", "/${1}"),
        ("/a$b", "/a$$b"),
        ("/$$1", r"/\1"),
        (r"/a\\b", r"/a\b"),
        ("$1?x=$2", "${1}?x=${2}"),
    ] {
        check(&[("rewrite-target", written)], target, &format!("{:?}", Some(expected)), &[]);
    }
    for written in ["/$1$", "/$1$a", r"/\a", "/\u{fc}", "/a b", "/a#b"] {
        check(&[("nginx:rewrite-target", written)], target, "None", &["must be a path"]);
    }
}

#[test]
fn paths_become_regular_expressions() {
    let of = |path: &'static str| move |o: &RouteOptions| o.path_regex(path);
    check(&[], of("/a(b)"), "None", &[]);
    check(&[("rewrite-path", "/x")], of("/a(b)"), "None", &[]);
    check(&[("rewrite-target", "/x")], of("/v1"), "None", &[]);
    check(&[("rewrite-target", "/x")], of("/v1.0"), "Some(Prefix)", &[]);
    check(&[("rewrite-target", "/$1")], of("/v1"), "Some(Prefix)", &[]);
    check(&[("rewrite-target", "/$x")], of("/v1"), "Some(Prefix)", &[]);
    check(&[("rewrite-target", "/$1$")], of("/v1"), "Some(Prefix)", &["must be"]);
    check(&[("use-regex", "true")], of("/v1"), "Some(Prefix)", &[]);
    check(&[("use-regex", "false")], of("/v1.0"), "None", &[]);
    check(&[("full-path-regex", "true")], of("/v1"), "Some(FullPath)", &[]);
    check(&[("full-path-regex", "true"), ("use-regex", "1")], of("/"), "Some(FullPath)", &[]);
}

#[test]
fn rewrite_path() {
    let path = |o: &RouteOptions| (o.has_rewrite, o.rewrite.clone().and_then(|r| r.path));
    check(&[("rewrite-path", "/api/")], path, "(false, Some(\"/api/\"))", &[]);
    check(&[("rewrite-path", "api")], path, "(false, None)", &["must be a path"]);
    check(&[("rewrite-target", "")], path, "(true, None)", &["must be text"]);
}

#[test]
fn redirects() {
    let redirect = |o: &RouteOptions| {
        o.redirect.as_ref().map(|r| (r.status, r.is_tls, r.authority.clone(), r.path.clone()))
    };
    check(
        &[("temporal-redirect", "https://a.test:8443/x"), ("permanent-redirect", "http://b.test")],
        redirect,
        "Some((302, true, \"a.test:8443\", Some(\"/x\")))",
        &["`permanent-redirect` has no effect here"],
    );
    let permanent =
        |code| [("permanent-redirect", "HTTP://b.test"), ("permanent-redirect-code", code)];
    check(&permanent("308"), redirect, "Some((308, false, \"b.test\", None))", &[]);
    check(&permanent("304"), redirect, "Some((301, false, \"b.test\", None))", &["must be 301"]);
    check(&permanent("418"), redirect, "Some((301, false, \"b.test\", None))", &["must be 301"]);
    check(&[("permanent-redirect-code", "308")], redirect, "None", &["PS322"]);
    for (url, expected) in [
        ("http://a/b?hunter2#c", "Some((302, false, \"a\", Some(\"/b\")))"),
        ("http://a#hunter2/?", "Some((302, false, \"a\", None))"),
    ] {
        let left_out = "query and fragment of the URL are left out";
        check(&[("temporal-redirect", url)], redirect, expected, &[left_out]);
    }
    let closed = |o: &RouteOptions| (o.redirect.is_some(), o.closed.is_some());
    for url in
        ["/x", "ftp://a", "http://", "http://hunter2@b", "http://?a", "http://a/\u{1}", "//a"]
    {
        for key in ["temporal-redirect", "nginx:permanent-redirect"] {
            let findings = ["must be an absolute", "PS307 a redirect cannot be used"];
            check(&[(key, url)], closed, "(false, true)", &findings);
        }
    }
    check(
        &[("permanent-redirect", "http://b.test"), ("temporal-redirect", "/x")],
        closed,
        "(true, false)",
        &["`temporal-redirect` must be an absolute"],
    );
    check(&[("permanent-redirect", " ")], closed, "(false, false)", &["must be an absolute"]);
}

#[test]
fn redirects_of_the_host() {
    let both = |o: &RouteOptions| (o.ssl_redirect, o.app_root.clone());
    check(&[("ssl-redirect", "true")], both, "(true, None)", &[]);
    check(
        &[("ssl-redirect", "false"), ("nginx:force-ssl-redirect", "T")],
        both,
        "(true, None)",
        &[],
    );
    check(&[("force-ssl-redirect", "on")], both, "(false, None)", &["must be a boolean"]);
    check(&[("app-root", "/start")], both, "(false, Some(\"/start\"))", &[]);
    check(&[("app-root", "start")], both, "(false, None)", &["must be a path"]);
}

#[test]
fn header_control() {
    let add = |o: &RouteOptions| o.request_headers.clone().map(|c| c.add);
    let update = |o: &RouteOptions| o.response_headers.clone().map(|c| c.update);
    let remove = |o: &RouteOptions| o.request_headers.clone().map(|c| c.remove);
    check(
        &[("request-header-control-add", "  X-B   two  words \n\nx-a \"\"\n'X-C' \"q\"\nx-a 2")],
        add,
        "Some([(\"x-a\", \"2\"), (\"x-b\", \"two  words\"), (\"x-c\", \"q\")])",
        &[],
    );
    check(
        &[("response-header-control-update", ":Authority a.test")],
        update,
        "Some([(\"host\", \"a.test\")])",
        &[],
    );
    check(
        &[(
            "request-header-control-add",
            "X-A hunter2\0\nX-B 1\nalone\nContent-Length 0\n: hunter2",
        )],
        add,
        "Some([(\"x-b\", \"1\")])",
        &["entry 1 is not a header that can be set: `NAME VALUE`, one a line; nor are 3 others"],
    );
    check(
        &[("request-header-control-remove", "X-B, x-a,,X-b")],
        remove,
        "Some([\"x-a\", \"x-b\"])",
        &[],
    );
    check(&[("request-header-control-remove", "Host")], remove, "None", &["entry 1 is not"]);
    check(&[("request-header-control-add", "é 1")], add, "None", &["entry 1 is not"]);
}

#[test]
fn cors() {
    let enabled =
        |more: &[(&'static str, &'static str)]| [&[("enable-cors", "true")], more].concat();
    let origins = |o: &RouteOptions| o.cors.clone().map(|cors| cors.origins);
    check(&[("cors-allow-origin", "*"), ("enable-cors", "false")], origins, "None", &[]);
    check(&enabled(&[]), origins, "Some([Any])", &[]);
    check(&enabled(&[("cors-allow-origin", "http://a, *")]), origins, "Some([Any])", &[]);
    check(&enabled(&[("cors-allow-origin", "https://*")]), origins, "Some([Any])", &[]);
    check(
        &enabled(&[("cors-allow-origin", "https://a.test,https://*.b.test:8443/x, *.c.test")]),
        origins,
        "Some([Exact(\"https://a.test\"), Suffix(\".b.test:8443\")])",
        &["entry 3 is not an origin"],
    );
    check(&enabled(&[("cors-allow-origin", "a*b")]), origins, "Some([])", &["entry 1 is not"]);
    let lists = |o: &RouteOptions| o.cors.clone().map(|c| (c.methods.len(), c.headers, c.expose));
    check(
        &enabled(&[("cors-allow-headers", "X-A,*"), ("cors-expose-headers", "X-B,a b")]),
        lists,
        "Some((6, [\"*\"], [\"X-B\"]))",
        &["entry 2 is not a name"],
    );
    let rest = |o: &RouteOptions| o.cors.clone().map(|c| (c.credentials, c.max_age_s));
    check(&enabled(&[]), rest, "Some((true, 1728000))", &[]);
    check(
        &enabled(&[("cors-allow-credentials", "false"), ("nginx:cors-max-age", "60")]),
        rest,
        "Some((false, 60))",
        &[],
    );
    check(&enabled(&[("cors-max-age", "-1")]), rest, "Some((true, 1728000))", &["seconds"]);
}

#[test]
fn timeouts() {
    let timeout = |o: &RouteOptions| o.timeout_s;
    check(&[("timeout", "30")], timeout, "Some(30)", &[]);
    check(&[("timeout", "0")], timeout, "None", &[]);
    for text in ["30s", "1.5", "+3", "4294967296", ""] {
        check(&[("timeout", text)], timeout, "None", &["without a unit"]);
    }
}

#[test]
fn retries() {
    let retry = |o: &RouteOptions| {
        let tuple =
            |r: Retry| (r.tries, r.per_try_timeout_s, r.on_5xx, r.non_idempotent, r.status_codes);
        o.retry.clone().map(|retry| tuple(*retry))
    };
    check(&[], retry, "None", &[]);
    check(&[("proxy-next-upstream-tries", "0")], retry, "Some((0, None, true, false, []))", &[]);
    check(
        &[("proxy-next-upstream-timeout", "7")],
        retry,
        "Some((3, Some(7), true, false, []))",
        &[],
    );
    check(&[("proxy-next-upstream", "off")], retry, "Some((0, None, false, false, []))", &[]);
    check(&[("proxy-next-upstream", ",")], retry, "Some((3, None, true, false, []))", &[]);
    check(
        &[("proxy-next-upstream", "error,timeout,http_503, http_429,http_503")],
        retry,
        "Some((3, None, true, false, [429, 503]))",
        &[],
    );
    check(
        &[("proxy-next-upstream", "non_idempotent\thttp_502 http_9 never")],
        retry,
        "Some((3, None, false, true, [502]))",
        &[
            "entry 3 is not a condition that can be retried on, such as `error` or `http_503`; nor is another one",
        ],
    );
    check(
        &[("proxy-next-upstream-tries", "-1")],
        retry,
        "Some((3, None, true, false, []))",
        &["whole"],
    );
}

#[test]
fn rate_limits() {
    let limit =
        |o: &RouteOptions| o.rate_limit.map(|limit| (limit.rate, limit.interval_s, limit.burst));
    check(&[("route-limit-burst-multiplier", "x")], limit, "None", &["PS322"]);
    check(&[("route-limit-rps", "3")], limit, "Some((3, 1, 15))", &[]);
    check(
        &[("route-limit-rpm", "60"), ("route-limit-rps", "3")],
        limit,
        "Some((60, 60, 300))",
        &["`route-limit-rps` has no effect here"],
    );
    check(
        &[("route-limit-rps", "3"), ("route-limit-burst-multiplier", "1")],
        limit,
        "Some((3, 1, 3))",
        &[],
    );
    for text in ["0", "-3", "4294967296"] {
        check(&[("route-limit-rps", text)], limit, "None", &["there is no limit"]);
        check(
            &[("route-limit-rpm", text), ("route-limit-rps", "1")],
            limit,
            "None",
            &["there is no", "`route-limit-rps` has no effect here"],
        );
    }
    check(&[("route-limit-rps", "4294967295")], limit, "None", &["exceeds 4294967295"]);
    check(
        &[("route-limit-rps", "1"), ("route-limit-burst-multiplier", "0")],
        limit,
        "None",
        &["there is no limit"],
    );
}

#[test]
fn load_balancing() {
    let of = |o: &RouteOptions| o.load_balance.clone();
    check(&[("session-cookie-max-age", "3")], of, "None", &["PS322"]);
    check(&[("load-balance", "Least_Request")], of, "Some(LeastConn)", &[]);
    check(&[("load-balance", "mcp-sse")], of, "Some(McpSse)", &[]);
    check(&[("load-balance", "ewma")], of, "Some(LeastConn)", &["must be `round_robin`"]);
    let hash = |by| [("load-balance", "random"), ("upstream-hash-by", by)];
    let unused = "PS322 `load-balance` has no effect here";
    check(&hash("$remote_addr"), of, "Some(Hash(SourceAddress))", &[unused]);
    check(&hash("$request_uri"), of, "Some(Hash(RequestUri))", &[unused]);
    check(&hash("$host"), of, "Some(Hash(Host))", &[unused]);
    check(&hash("$http_X-User"), of, "Some(Hash(Header(\"x-user\")))", &[unused]);
    check(&hash("$arg_User"), of, "Some(Hash(Query(\"User\")))", &[unused]);
    for by in ["$http_", "$arg_", "$cookie_x", "host"] {
        check(&hash(by), of, "Some(RoundRobin)", &["must be `$remote_addr`", unused]);
    }
    check(
        &[("affinity", "cookie"), ("upstream-hash-by", "$host")],
        of,
        "Some(Cookie(AffinityCookie { name: \"INGRESSCOOKIE\", path: \"/\", ttl_s: 0 }))",
        &["`upstream-hash-by` has no effect here"],
    );
    check(
        &[
            ("session-cookie-name", "stick"),
            ("session-cookie-path", "/a;b"),
            ("session-cookie-max-age", "x"),
            ("session-cookie-expires", "9"),
        ],
        of,
        "Some(Cookie(AffinityCookie { name: \"stick\", path: \"/\", ttl_s: 9 }))",
        &["must be a path", "seconds"],
    );
}

#[test]
fn upstream_tls() {
    let of = |o: &RouteOptions| {
        o.upstream_tls.as_ref().map(|tls| {
            let secret = tls.client_secret.as_ref().map(|s| format!("{}/{}", s.namespace, s.name));
            (tls.protocol, secret, tls.verify, tls.sni.clone())
        })
    };
    check(&[("proxy-ssl-secret", "a")], of, "None", &["PS316"]);
    check(
        &[("backend-protocol", "http"), ("proxy-ssl-verify", "x")],
        of,
        "None",
        &["`proxy-ssl-verify` has no effect without `backend-protocol: HTTPS` or `GRPCS`"],
    );
    check(&[("backend-protocol", "SMTP")], of, "None", &["must be `HTTP`"]);
    check(&[("backend-protocol", "grpcs")], of, "Some((Grpcs, None, None, None))", &[]);
    check(
        &[
            ("backend-protocol", "HTTPS"),
            ("proxy-ssl-secret", "certs"),
            ("proxy-ssl-verify", "on"),
            ("proxy-ssl-name", "up.test"),
            ("proxy-ssl-server-name", "on"),
        ],
        of,
        "Some((Https, Some(\"shop/certs\"), Some(true), Some(\"up.test\")))",
        &[],
    );
    check(
        &[
            ("backend-protocol", "HTTP2"),
            ("proxy-ssl-secret", "certs"),
            ("proxy-ssl-name", "up.test"),
            ("proxy-ssl-server-name", "on"),
        ],
        of,
        "Some((Http2, None, None, None))",
        &["`proxy-ssl-secret` has no", "`proxy-ssl-name` has no", "`proxy-ssl-server-name` has"],
    );
    check(
        &[
            ("backend-protocol", "GRPCS"),
            ("proxy-ssl-secret", "a/b/c"),
            ("proxy-ssl-name", "up.test"),
            ("proxy-ssl-server-name", "yes"),
        ],
        of,
        "Some((Grpcs, None, None, None))",
        &["of a Secret", "PS307", "`on` or `off`", "without `proxy-ssl-server-name: on`"],
    );
}

/// Whether the routes are closed, and the lists of the allowed and the denied.
fn shown(is_closed: bool, sources: &Sources) -> String {
    let show = |range: &SourceRange| format!("{}/{}", range.address, range.prefix_bits);
    let list = |ranges: &[SourceRange]| ranges.iter().map(show).collect::<Vec<_>>().join(" ");
    let closed = if is_closed { "closed " } else { "" };
    let allowed = sources.allowed.as_deref().map_or_else(|| "all".to_owned(), list);
    format!("{closed}{allowed} but {}", list(&sources.denied))
}

#[test]
fn sources() {
    let of = |o: &RouteOptions| shown(o.closed.is_some(), &o.sources);
    let of_domain = |o: &RouteOptions| shown(o.closed.is_some(), &o.domain_sources);
    let check = |annotations: &[(&str, &str)], expected: &str, findings: &[&str]| {
        check(annotations, of, &format!("{expected:?}"), findings);
        let domain = |key: &str| match key.strip_prefix("nginx:") {
            Some(key) => format!("nginx:domain-{key}"),
            None => format!("domain-{key}"),
        };
        let keys: Vec<_> = annotations.iter().map(|(key, text)| (domain(key), *text)).collect();
        let annotations: Vec<_> = keys.iter().map(|(key, text)| (key.as_str(), *text)).collect();
        super::tests::check(&annotations, of_domain, &format!("{expected:?}"), findings);
    };
    let allowed = "whitelist-source-range";
    let denied = "blacklist-source-range";
    for (text, expected) in [
        ("10.1.2.3", "10.1.2.3/32"),
        ("10.1.2.3/8, 0.0.0.0/0", "10.0.0.0/8 0.0.0.0/0"),
        ("2001:db8::1/32,::1", "2001:db8::/32 ::1/128"),
        ("::/0", "::/0"),
        ("::ffff:10.1.2.3/104", "10.0.0.0/8"),
    ] {
        check(&[(allowed, text)], &format!("{expected} but "), &[]);
        check(&[(denied, text)], &format!("all but {expected}"), &[]);
    }
    check(&[(allowed, "10.0.0.1, *")], "all but ", &[]);
    check(&[(denied, "10.0.0.1, *")], "all but 0.0.0.0/0 ::/0", &[]);
    let mistake = "10.0.0.1,10.0.0.0/33,hunter2";
    let entry = "entry 2 is not an address or a range such as `10.0.0.0/8`; nor is another one";
    check(&[(allowed, mistake)], "10.0.0.1/32 but ", &[entry]);
    check(&[(denied, mistake)], "closed  but ", &[entry, "PS307"]);
    for text in ["::ffff:1.2.3.4/95", "10.0.0.0/+8", "010.0.0.1", "1.2.3.4/", "fe80::1%eth0"] {
        for key in [allowed, denied] {
            check(&[(key, text)], "closed  but ", &["entry 1 is not", "PS307"]);
        }
    }
    check(&[(allowed, ",")], "closed  but ", &["PS307"]);
    check(&[(denied, ",")], "all but ", &["must be a list"]);
    check(&[(allowed, "10.0.0.0/8"), (denied, "10.0.0.1")], "10.0.0.0/8 but 10.0.0.1/32", &[]);
    check(
        &[("nginx:whitelist-source-range", "all"), (allowed, "::1")],
        "::1/128 but ",
        &["entry 1 is not"],
    );
}

#[test]
fn protections_of_ingress_nginx_close() {
    let closed = |o: &RouteOptions| o.closed;
    for key in [
        "allowlist-source-range",
        "auth-signin",
        "auth-tls-match-cn",
        "auth-url",
        "denylist-source-range",
        "enable-modsecurity",
        "global-rate-limit",
        "limit-connections",
        "limit-rpm",
        "limit-rps",
    ] {
        let nginx = format!("nginx:{key}");
        check(&[(&nginx, "1")], closed, &format!("Some({key:?})"), &["PS307"]);
    }
    check(&[("nginx:limit-rps", "0")], closed, "None", &[]);
    check(&[("nginx:enable-modsecurity", "false")], closed, "None", &[]);
}

#[test]
fn downstream_tls() {
    let of = |o: &RouteOptions| {
        o.downstream_tls.as_ref().map(|tls| {
            let secret = tls.ca_secret.as_ref().map(|s| format!("{}/{}", s.namespace, s.name));
            (secret, tls.min_version, tls.max_version, tls.ciphers.clone())
        })
    };
    check(&[("auth-tls-secret", "a/b")], of, "Some((Some(\"a/b\"), None, None, []))", &[]);
    check(
        &[("auth-tls-secret", "A")],
        of,
        "None",
        &["of a Secret", "PS307 `auth-tls-secret` cannot"],
    );
    assert!(read(&[("auth-tls-secret", "A")]).0.closed.is_some());
    check(
        &[("tls-min-protocol-version", "TLSv1.2"), ("ssl-cipher", "AES128-SHA:b c::X")],
        of,
        "Some((None, Some(V1_2), None, [\"AES128-SHA\", \"X\"]))",
        &["entry 2 is not the OpenSSL name"],
    );
    check(
        &[("tls-min-protocol-version", "TLSv1.3"), ("tls-max-protocol-version", "TLSv1.2")],
        of,
        "Some((None, Some(V1_3), None, []))",
        &["older than the oldest"],
    );
    check(&[("tls-max-protocol-version", "1.2")], of, "None", &["must be `TLSv1.0`"]);
}

#[test]
fn fallbacks() {
    let of = |o: &RouteOptions| {
        let show = |s: &ServiceRef| format!("{}/{}", s.namespace, s.name);
        o.fallback.as_ref().map(|f| (show(&f.service), f.custom_http_errors.clone()))
    };
    check(&[("default-backend", "errors")], of, "Some((\"shop/errors\", None))", &[]);
    check(&[("default-backend", "a/")], of, "None", &["must be `[NAMESPACE/]SERVICE`"]);
    check(&[("custom-http-errors", "503")], of, "None", &["needs a `default-backend`"]);
    let errors = |codes| [("default-backend", "a/b"), ("custom-http-errors", codes)];
    check(&errors("503, 404,503"), of, "Some((\"a/b\", Some([404, 503])))", &[]);
    check(&errors("200,x"), of, "Some((\"a/b\", Some([503])))", &["nor is another one"]);
    check(&errors(""), of, "Some((\"a/b\", None))", &["must be a list"]);
}

#[test]
fn mirrors() {
    let of = |o: &RouteOptions| o.mirror.clone().map(|m| (m.target, m.percentage));
    check(
        &[("mirror-target-service", "a:81"), ("mirror-percentage", "200")],
        of,
        "Some((Service { namespace: \"shop\", name: \"a\", port: Some(81) }, 100))",
        &[],
    );
    check(
        &[("mirror-target-service", "a"), ("mirror-target-fqdn", "Shadow.static")],
        of,
        "Some((Fqdn { host: \"shadow.static\", port: 80 }, 100))",
        &["`mirror-target-service` has no effect here"],
    );
    check(
        &[
            ("mirror-target-fqdn", "shadow.static"),
            ("mirror-target-fqdn-port", "0"),
            ("mirror-percentage", "5"),
        ],
        of,
        "Some((Fqdn { host: \"shadow.static\", port: 80 }, 5))",
        &["must be a port"],
    );
    check(&[("mirror-target-service", "a:b")], of, "None", &["SERVICE[:PORT]"]);
    check(&[("mirror-percentage", "5")], of, "None", &["PS322"]);
}

#[test]
fn canaries() {
    let of = |o: &RouteOptions| o.canary.clone().map(|canary| canary.by);
    let canary = |more: &[(&'static str, &'static str)]| [&[("canary", "true")], more].concat();
    check(&[("canary-by-cookie", "c")], of, "None", &["`canary-by-cookie` has no effect here"]);
    check(&[("canary", "false"), ("canary-weight", "c")], of, "None", &[]);
    assert!(read(&canary(&[])).0.is_canary && !read(&[("canary", "f")]).0.is_canary);
    check(&canary(&[]), of, "Some(Weight { weight: 0, total: 100 })", &[]);
    check(
        &canary(&[("canary-weight", "5"), ("canary-weight-total", "1000")]),
        of,
        "Some(Weight { weight: 5, total: 1000 })",
        &[],
    );
    check(
        &canary(&[("canary-weight", "5%"), ("canary-weight-total", "0")]),
        of,
        "Some(Weight { weight: 0, total: 100 })",
        &["from 1 on", "whole number"],
    );
    check(
        &canary(&[("canary-by-cookie", "c"), ("canary-weight", "5")]),
        of,
        "Some(Cookie(\"c\"))",
        &["`canary-weight` has no effect here"],
    );
    let by_header = |value: &str| format!("Some(Header {{ name: \"x-c\", value: {value} }})");
    let header = |more: &[(&'static str, &'static str)]| {
        [&canary(&[("canary-by-header", "X-C"), ("canary-by-cookie", "c")]), more].concat()
    };
    let unused = "`canary-by-cookie` has no effect here";
    check(&header(&[]), of, &by_header("Always"), &[unused]);
    check(
        &header(&[("canary-by-header-value", "a|b"), ("canary-by-header-pattern", "x")]),
        of,
        &by_header("Value(\"always|a|b\")"),
        &[unused, "`canary-by-header-pattern` has no effect here"],
    );
    check(
        &header(&[("canary-by-header-pattern", "x")]),
        of,
        &by_header("Pattern(\".*x.*\")"),
        &[unused],
    );
    check(
        &canary(&[("canary-by-header-value", "v"), ("canary-by-cookie", "c")]),
        of,
        "Some(Weight { weight: 0, total: 100 })",
        &["without `canary-by-header`", unused],
    );
}

/// Keys that have a row.
fn any_key() -> impl Strategy<Value = String> {
    (0..ANNOTATIONS.len(), any::<bool>()).prop_map(|(index, is_nginx)| {
        let row = &ANNOTATIONS[index];
        let name = if row.key.ends_with('-') { "x" } else { "" };
        let prefix = if is_nginx && row.prefixes == Prefixes::Both { "nginx:" } else { "" };
        format!("{prefix}{}{name}", row.key)
    })
}

/// Texts that get past the first look of some family.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[$\\\\0-9a-z/]{0,12}",
        "[a-z0-9.,:/* \n\"'%-]{0,40}",
        "(https?://)?[a-z*.:/?\\[\\]]{0,20}",
        "[0-9a-f:./,]{0,30}",
        "true|off|on|HTTPS|\\$http_x|TLSv1.3|a/b|0|1|4294967295|4294967296",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn any_annotations_are_read(
        annotations in proptest::collection::vec((any_key(), any_text()), 0..8),
        path in any::<String>(),
    ) {
        let mut annotations: Vec<(&str, &str)> =
            annotations.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
        annotations.push(("enable-cors", "true"));
        annotations.push(("canary", "true"));
        annotations.push(("backend-protocol", "HTTPS"));
        annotations.push(("default-backend", "a"));
        let (options, found) = read(&annotations);
        options.path_regex(&path);
        let controls = options.request_headers.iter().chain(&options.response_headers);
        for (name, value) in controls.flat_map(|control| control.add.iter().chain(&control.update)) {
            prop_assert!(view::is_token(name));
            prop_assert!(!value.contains(['\r', '\n', '\0']));
        }
        prop_assert!(!options.sources.is_nobody() || options.closed.is_some());
        // Nothing is reported twice.
        prop_assert!(found.len() <= 3 * annotations.len());
    }
}

#[test]
fn long_texts_are_read_in_linear_time() {
    let units = [
        "a,",
        "a\n",
        "a b\n",
        "$1",
        "\\",
        "$",
        "10.0.0.1,",
        "http_500,",
        ":",
        "/",
        "\"",
        "'",
        "*",
        " ",
    ];
    for unit in units {
        let text = unit.repeat(100_000 / unit.len());
        for row in ANNOTATIONS {
            let name = format!("{}{}", row.key, if row.key.ends_with('-') { "x" } else { "" });
            let (_, found) = read(&[
                (&name, &text),
                ("enable-cors", "true"),
                ("canary", "true"),
                ("backend-protocol", "HTTPS"),
                ("default-backend", "a"),
            ]);
            assert!(found.len() <= 4, "{name}: {} findings", found.len());
        }
    }
    let key = format!("{}-", "timeou".repeat(20_000));
    let (_, found) = read(&[(&key, "1")]);
    assert_eq!(found.len(), 1);
    assert!(found.iter().all(|finding| finding.len() < 1000), "{}", found[0].len());
}
