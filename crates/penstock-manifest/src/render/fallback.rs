//! The EnvoyFilter of an AI route with a fallback
//! (Higress console: templates/envoyfilter-route-fallback.yaml).

use super::object::{Draft, flag, int, list, map, text};
use crate::intent::AiRoute;
use crate::intent::ai_route::Fallback;
use crate::kind::envoy_filter::{
    BODY_BYTES_MAX, CUSTOM_RESPONSE, FALLBACK_HEADER, REDIRECT_POLICY, STATUS_CLASS, TYPED_STRUCT,
};
use crate::node::Node;
use crate::resource::Resource;

pub(super) fn envoy_filter(route: &AiRoute, fallback: &Fallback) -> Resource {
    let name = route.ingress_name();
    let codes = fallback.response_codes.as_deref().unwrap_or_default();
    let route_match = map([("name", text(&name))]);
    let vhost = map([("vhost", map([("route", route_match)]))]);
    let patch = map([
        ("applyTo", text("HTTP_ROUTE")),
        ("match", map([("context", text("GATEWAY")), ("routeConfiguration", vhost)])),
        (
            "patch",
            map([
                ("operation", text("MERGE")),
                (
                    "value",
                    map([(
                        "typed_per_filter_config",
                        map([("envoy.filters.http.custom_response", filter(&name, codes))]),
                    )]),
                ),
            ]),
        ),
    ]);
    let spec = map([("configPatches", list([patch]))]);
    Draft::new("EnvoyFilter", &name).finish([("spec", spec)])
}

fn typed(type_url: &str, value: Node) -> Node {
    map([("@type", text(TYPED_STRUCT)), ("type_url", text(type_url)), ("value", value)])
}

fn filter(name: &str, codes: &[Box<str>]) -> Node {
    let matcher = map([
        ("predicate", predicate(codes)),
        (
            "on_match",
            map([(
                "action",
                map([
                    ("name", text("action")),
                    ("typed_config", typed(REDIRECT_POLICY, redirect(name))),
                ]),
            )]),
        ),
    ]);
    let matchers = map([("matcher_list", map([("matchers", list([matcher]))]))]);
    typed(
        CUSTOM_RESPONSE,
        map([
            ("custom_response_matcher", matchers),
            ("with_request_body", map([("max_request_bytes", int(BODY_BYTES_MAX))])),
        ]),
    )
}

fn predicate(codes: &[Box<str>]) -> Node {
    let single = |code: &str| {
        let input = map([
            ("name", text(format!("{code}_response"))),
            ("typed_config", map([("@type", text(STATUS_CLASS))])),
        ]);
        let value_match = map([("exact", text(code))]);
        map([("single_predicate", map([("input", input), ("value_match", value_match)]))])
    };
    match codes {
        [code] => single(code),
        codes => {
            let predicates = list(codes.iter().map(|code| single(code)));
            map([("or_matcher", map([("predicate", predicates)]))])
        }
    }
}

fn redirect(name: &str) -> Node {
    let header = || {
        let header = map([("key", text(FALLBACK_HEADER)), ("value", text(name))]);
        list([map([("header", header), ("append", flag(false))])])
    };
    map([
        ("max_internal_redirects", int(10)),
        ("use_original_request_uri", flag(true)),
        ("keep_original_response_code", flag(false)),
        ("use_original_request_body", flag(true)),
        ("only_redirect_upstream_code", flag(false)),
        ("request_headers_to_add", header()),
        ("response_headers_to_add", header()),
    ])
}

#[cfg(test)]
mod tests {
    use crate::intent::{IntentFile, parse};
    use crate::kind::envoy_filter;
    use crate::render::{Options, render};

    fn check(codes: &str, expected: (bool, bool)) {
        let text = format!(
            "providers: [{{name: one, type: openai, tokens: [t]}}]\naiRoutes: [{{name: r, upstreams: [{{provider: one, weight: 100}}], fallbackConfig: {{enabled: true, upstreams: [{{provider: one, weight: 100}}], responseCodes: {codes}}}}}]\n"
        );
        let (intent, _) = parse([IntentFile { name: "i.yaml", text: &text }]);
        let rendered = render(&intent, &Options::default());
        let mut resources = rendered.resources.iter();
        let filter = resources.find(|resource| &*resource.key.kind == "EnvoyFilter").unwrap();
        let mut diagnostics = Vec::new();
        let read = envoy_filter::fallbacks(filter, &mut diagnostics);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        let shown: Vec<_> =
            read.iter().map(|f| (&*f.route, &*f.from, (f.on_4xx, f.on_5xx))).collect();
        assert_eq!(shown, [("ai-route-r.internal", "ai-route-r.internal", expected)]);
    }

    #[test]
    fn what_is_written_is_read() {
        check("[4xx]", (true, false));
        check("[5xx]", (false, true));
        check("[5xx, 4xx]", (true, true));
    }
}
