//! The Ingress of an AI route, or of its fallback.

use std::collections::BTreeMap;

use super::ai_route::Routes;
use super::object::{Draft, list, map, text, texts};
use crate::intent::AiRoute;
use crate::intent::ai_route::MODEL_HEADER;
use crate::intent::domain::{DEFAULT_DOMAIN, Https, normalised};
use crate::intent::route_setting::{
    Cors, Header, HeaderControl, HeaderStage, MatchType, Predicate,
};
use crate::node::Node;
use crate::resource::Resource;

/// The header that a fallback's second pass carries.
const FALLBACK_HEADER: &str = "x-higress-fallback-from";

/// Which of a route's two Ingresses, with its destinations.
pub(super) enum Part {
    Main(String),
    Fallback(String),
}

type Annotations = BTreeMap<String, String>;

pub(super) fn ingress(route: &AiRoute, routes: &Routes<'_>, part: Part) -> Resource {
    let mut annotations = Annotations::new();
    let (name, destinations) = match part {
        Part::Main(destinations) => (route.ingress_name(), destinations),
        Part::Fallback(destinations) => {
            put(
                &mut annotations,
                &format!("exact-match-header-{FALLBACK_HEADER}"),
                route.ingress_name(),
            );
            (route.fallback_ingress_name(), destinations)
        }
    };
    put(&mut annotations, "destination", destinations);
    add_matches(route, &mut annotations);
    add_settings(route, &mut annotations);
    let domains = route.domains.as_deref().unwrap_or_default();
    let tls = tls(domains, routes, &mut annotations);
    for (key, value) in route.custom_configs.iter().flatten() {
        annotations.insert(key.to_string(), value.to_string());
    }
    let mut draft = Draft::new("Ingress", &name);
    if domains.is_empty() {
        draft = draft.label(&format!("higress.io/domain_{DEFAULT_DOMAIN}"), "true");
    }
    for domain in domains {
        draft = draft.label(&format!("higress.io/domain_{}", normalised(domain)), "true");
    }
    for (key, value) in route.custom_labels.iter().flatten() {
        draft = draft.label(key, value);
    }
    let hosts: Vec<Option<&str>> = match domains {
        [] => vec![None],
        domains => domains.iter().map(|domain| Some(&**domain)).collect(),
    };
    let rules = hosts.into_iter().map(|host| rule(host, &route.path.value));
    let mut spec = vec![("ingressClassName", text("higress")), ("rules", list(rules))];
    if !tls.is_empty() {
        spec.push(("tls", list(tls)));
    }
    draft.sorted_annotations(annotations).finish([("spec", map(spec))])
}

fn put(annotations: &mut Annotations, key: &str, value: impl Into<String>) {
    annotations.insert(format!("higress.io/{key}"), value.into());
}

fn rule(host: Option<&str>, path: &str) -> Node {
    let backend = map([(
        "resource",
        map([
            ("apiGroup", text("networking.higress.io")),
            ("kind", text("McpBridge")),
            ("name", text("default")),
        ]),
    )]);
    let path = map([("path", text(path)), ("pathType", text("Prefix")), ("backend", backend)]);
    let mut rule = Vec::new();
    rule.extend(host.map(|host| ("host", text(host))));
    rule.push(("http", map([("paths", list([path]))])));
    map(rule)
}

/// One item per domain that speaks HTTPS; the stand-in for no host has none.
fn tls(domains: &[Box<str>], routes: &Routes<'_>, annotations: &mut Annotations) -> Vec<Node> {
    let default = [Box::from(DEFAULT_DOMAIN)];
    let domains = if domains.is_empty() { &default } else { domains };
    let mut items = Vec::new();
    for name in domains {
        let Some(domain) = routes.domains.get(&**name) else { continue };
        let Some(cert) = domain.cert_identifier.as_ref().filter(|_| domain.https != Https::Off)
        else {
            continue;
        };
        if domain.https == Https::Force {
            put(annotations, "ssl-redirect", "true");
        }
        let mut item = Vec::new();
        if &**name != DEFAULT_DOMAIN {
            item.push(("hosts", texts([name])));
        }
        item.push(("secretName", text(cert)));
        items.push(map(item));
    }
    items
}

fn add_matches(route: &AiRoute, annotations: &mut Annotations) {
    if let Some(case) = route.path.is_case_sensitive {
        put(annotations, "ignore-path-case", (!case).to_string());
    }
    for predicate in route.headers.iter().flatten() {
        let kind = predicate.match_type.as_annotation();
        let key = predicate.key.as_deref().unwrap_or_default();
        let key = match key.strip_prefix(':') {
            Some(pseudo) => format!("{kind}-match-pseudo-header-{pseudo}"),
            None => format!("{kind}-match-header-{key}"),
        };
        put(annotations, &key, &*predicate.value);
    }
    for predicate in route.url_params.iter().flatten() {
        let kind = predicate.match_type.as_annotation();
        let key = predicate.key.as_deref().unwrap_or_default();
        put(annotations, &format!("{kind}-match-query-{key}"), &*predicate.value);
    }
    match route.models.as_deref().unwrap_or_default() {
        [] => {}
        [one] => {
            let kind = one.match_type.as_annotation();
            put(annotations, &format!("{kind}-match-header-{MODEL_HEADER}"), &*one.value);
        }
        several => {
            let models: Vec<String> = several.iter().map(model_pattern).collect();
            let pattern = format!("^({})", models.join("|"));
            put(annotations, &format!("regex-match-header-{MODEL_HEADER}"), pattern);
        }
    }
}

fn model_pattern(predicate: &Predicate) -> String {
    let mut pattern = String::new();
    for c in predicate.value.chars() {
        if "[]{}()^$|*+?.\\".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    if predicate.match_type == MatchType::Prefix {
        pattern.push_str(".*");
    }
    pattern
}

fn add_settings(route: &AiRoute, annotations: &mut Annotations) {
    let retry = &route.retry;
    put(annotations, "enable-proxy-next-upstream", retry.is_enabled.to_string());
    let values = [
        ("proxy-next-upstream-tries", retry.attempts.map(|number| number.to_string())),
        ("proxy-next-upstream-timeout", retry.timeout_seconds.map(|number| number.to_string())),
        ("proxy-next-upstream", retry.conditions.as_ref().map(|list| list.join(","))),
    ];
    for (key, value) in values {
        put_switched(annotations, retry.is_enabled, key, value);
    }
    if let Some(control) = route.header_control_in_manifest() {
        add_header_control(&control, annotations);
    }
    if let Some(cors) = &route.cors {
        add_cors(cors, annotations);
    }
}

/// What is switched off keeps its values under another key.
fn put_switched(annotations: &mut Annotations, is_on: bool, key: &str, value: Option<String>) {
    let Some(value) = value else { return };
    let prefix = if is_on { "" } else { "disabled." };
    annotations.insert(format!("{prefix}higress.io/{key}"), value);
}

fn add_header_control(control: &HeaderControl, annotations: &mut Annotations) {
    put(annotations, "enable-header-control", control.is_enabled.to_string());
    let lines = |headers: &Option<Vec<Header>>| {
        let headers = headers.as_ref().filter(|headers| !headers.is_empty())?;
        let lines: Vec<String> =
            headers.iter().map(|header| format!("{} {}", header.key, header.value)).collect();
        Some(lines.join("\n"))
    };
    let mut add = |direction: &str, stage: &HeaderStage| {
        let remove = stage.remove.as_ref().filter(|names| !names.is_empty());
        let values = [
            ("add", lines(&stage.add)),
            ("update", lines(&stage.set)),
            ("remove", remove.map(|names| names.join(","))),
        ];
        for (action, value) in values {
            let key = format!("{direction}-header-control-{action}");
            put_switched(annotations, control.is_enabled, &key, value);
        }
    };
    if let Some(stage) = &control.request {
        add("request", stage);
    }
    if let Some(stage) = &control.response {
        add("response", stage);
    }
}

/// The flag itself acts, so nothing is kept under another key.
fn add_cors(cors: &Cors, annotations: &mut Annotations) {
    put(annotations, "enable-cors", cors.is_enabled.to_string());
    for (field, items) in &cors.lists {
        let key = match *field {
            "allowOrigins" => "cors-allow-origin",
            "allowMethods" => "cors-allow-methods",
            "allowHeaders" => "cors-allow-headers",
            _ => "cors-expose-headers",
        };
        put(annotations, key, items.join(","));
    }
    if let Some(seconds) = cors.max_age {
        put(annotations, "cors-max-age", seconds.to_string());
    }
    if let Some(allow) = cors.allow_credentials {
        put(annotations, "cors-allow-credentials", allow.to_string());
    }
}
