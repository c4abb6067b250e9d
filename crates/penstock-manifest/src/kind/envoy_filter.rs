//! `networking.istio.io/v1alpha3` EnvoyFilter: the one that the console writes
//! for the fallback of an AI route
//! (Higress console: templates/envoyfilter-route-fallback.yaml).
//!
//! An EnvoyFilter is a piece of Envoy's own configuration, so this reads one
//! shape of it, field by field, and nothing beside it. A patch of any other
//! shape is a finding at the first place that differs.

use crate::diagnostic::{Diagnostic, INVALID_VALUE, Severity, UNKNOWN_KIND};
use crate::node::{Cursor, Value};
use crate::resource::Resource;

/// The header that says which route a request falls back from.
pub const FALLBACK_HEADER: &str = "x-higress-fallback-from";
/// How much of a body is kept, where a filter does not say it.
pub const BODY_BYTES_MAX: i64 = 1_024_000;

pub(crate) const TYPED_STRUCT: &str = "type.googleapis.com/udpa.type.v1.TypedStruct";
pub(crate) const CUSTOM_RESPONSE: &str =
    "type.googleapis.com/envoy.extensions.filters.http.custom_response.v3.CustomResponse";
pub(crate) const REDIRECT_POLICY: &str =
    "type.googleapis.com/envoy.extensions.http.custom_response.redirect_policy.v3.RedirectPolicy";
pub(crate) const STATUS_CLASS: &str =
    "type.googleapis.com/envoy.type.matcher.v3.HttpResponseStatusCodeClassMatchInput";

/// What becomes of answers of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// The name of the route, which is that of an Ingress.
    pub route: Box<str>,
    /// What [`FALLBACK_HEADER`] says on the second pass, and to the client.
    pub from: Box<str>,
    /// Whether answers 400 to 499 are replaced.
    pub on_4xx: bool,
    /// Whether answers 500 to 599 are replaced.
    pub on_5xx: bool,
    /// The largest body that is kept for the second pass, in bytes.
    pub body_bytes_max: usize,
    /// How often a request may fall back, this time included; 1 where the
    /// filter does not say it.
    pub redirects_max: u32,
}

/// Something that could be read, or where it is not as the console writes it.
type Read<T> = Result<T, Box<Diagnostic>>;

/// Reads an EnvoyFilter patch by patch. One that is no fallback is left out
/// with a finding: a warning where it was meant to be one.
pub fn fallbacks(resource: &Resource, diagnostics: &mut Vec<Diagnostic>) -> Vec<Fallback> {
    let patches = spec_of(resource).and_then(|spec| {
        let [patches] = fields(&spec, ["configPatches"], &[])?;
        match patches.node.as_list() {
            Some(_) => Ok(patches),
            None => Err(differs(&patches, "a list")),
        }
    });
    let patches = match patches {
        Ok(patches) => patches,
        Err(difference) => {
            diagnostics.push(about(resource, &resource.cursor(), *difference));
            return Vec::new();
        }
    };
    let mut read = Vec::new();
    for patch in patches.items() {
        match fallback(&patch) {
            Ok(fallback) => read.push(fallback),
            Err(difference) => diagnostics.push(about(resource, &patch, *difference)),
        }
    }
    read
}

/// The finding about a difference inside of `part`.
fn about(resource: &Resource, part: &Cursor<'_>, difference: Diagnostic) -> Diagnostic {
    let is_meant = part.node.any(&mut |node| {
        node.as_str().is_some_and(|text| text.eq_ignore_ascii_case(FALLBACK_HEADER))
    });
    let name = &resource.key.name;
    let why = &difference.message;
    let (code, message) = match is_meant {
        true => (&INVALID_VALUE, format!("nothing falls back as EnvoyFilter `{name}` says: {why}")),
        false => (&UNKNOWN_KIND, format!("EnvoyFilter `{name}` is kept, but not acted on: {why}")),
    };
    let severity = if is_meant { Severity::Warning } else { Severity::Info };
    let finding = Diagnostic { code, message, ..difference }.with_severity(severity);
    match is_meant {
        true => finding.with_hint("save the AI route in the console again"),
        false => finding,
    }
}

fn spec_of(resource: &Resource) -> Read<Cursor<'_>> {
    let missing = || {
        let message = "only fallbacks of AI routes are, and it has no spec";
        Box::new(resource.cursor().diagnostic(&UNKNOWN_KIND, message))
    };
    resource.spec().ok_or_else(missing)
}

fn fallback(patch: &Cursor<'_>) -> Read<Fallback> {
    let [apply_to, matching, patch] = fields(patch, ["applyTo", "match", "patch"], &[])?;
    is_text(&apply_to, "HTTP_ROUTE")?;
    let [context, route] = fields(&matching, ["context", "routeConfiguration"], &[])?;
    is_text(&context, "GATEWAY")?;
    let [host] = fields(&route, ["vhost"], &[])?;
    let [route] = fields(&host, ["route"], &[])?;
    let [route] = fields(&route, ["name"], &[])?;
    let [operation, value] = fields(&patch, ["operation", "value"], &[])?;
    is_text(&operation, "MERGE")?;
    let [filters] = fields(&value, ["typed_per_filter_config"], &[])?;
    let [filter] = fields(&filters, ["envoy.filters.http.custom_response"], &[])?;
    let filter = typed(&filter, CUSTOM_RESPONSE)?;
    let [matcher] = fields(&filter, ["custom_response_matcher"], &["with_request_body"])?;
    let [list] = fields(&matcher, ["matcher_list"], &[])?;
    let [list] = fields(&list, ["matchers"], &[])?;
    let mut matchers = list.items();
    let (Some(matcher), None) = (matchers.next(), matchers.next()) else {
        return Err(differs(&list, "a list with one matcher"));
    };
    let [predicate, on_match] = fields(&matcher, ["predicate", "on_match"], &[])?;
    let (on_4xx, on_5xx) = classes(&predicate)?;
    let [action] = fields(&on_match, ["action"], &[])?;
    let [config] = fields(&action, ["typed_config"], &["name"])?;
    let (from, redirects_max) = redirect(&typed(&config, REDIRECT_POLICY)?)?;
    Ok(Fallback {
        route: text(&route)?.into(),
        from: from.into(),
        redirects_max,
        on_4xx,
        on_5xx,
        body_bytes_max: body_bytes_max(&filter)?,
    })
}

fn body_bytes_max(filter: &Cursor<'_>) -> Read<usize> {
    let mut bytes = BODY_BYTES_MAX;
    if let Some(with_body) = filter.get("with_request_body") {
        let [limit] = fields(&with_body, ["max_request_bytes"], &[])?;
        bytes = number(&limit)?;
    }
    Ok(usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// The classes of statuses: 4xx, 5xx.
fn classes(predicate: &Cursor<'_>) -> Read<(bool, bool)> {
    if predicate.get("single_predicate").is_some() {
        let class = class(predicate)?;
        return Ok((class == "4xx", class == "5xx"));
    }
    let [either] = fields(predicate, ["or_matcher"], &[])?;
    let [list] = fields(&either, ["predicate"], &[])?;
    if list.node.as_list().is_none() {
        return Err(differs(&list, "a list"));
    }
    let (mut on_4xx, mut on_5xx) = (false, false);
    for predicate in list.items() {
        match class(&predicate)? {
            "4xx" => on_4xx = true,
            _ => on_5xx = true,
        }
    }
    // Nothing chosen is everything.
    let is_any = on_4xx || on_5xx;
    Ok(if is_any { (on_4xx, on_5xx) } else { (true, true) })
}

fn class<'a>(predicate: &Cursor<'a>) -> Read<&'a str> {
    let [single] = fields(predicate, ["single_predicate"], &[])?;
    let [input, value] = fields(&single, ["input", "value_match"], &[])?;
    let [config] = fields(&input, ["typed_config"], &["name"])?;
    let [kind] = fields(&config, ["@type"], &[])?;
    is_text(&kind, STATUS_CLASS)?;
    let [exact] = fields(&value, ["exact"], &[])?;
    match text(&exact)? {
        class @ ("4xx" | "5xx") => Ok(class),
        _ => Err(differs(&exact, "4xx or 5xx")),
    }
}

/// What the header says on the second pass, and how many there may be.
fn redirect<'a>(policy: &Cursor<'a>) -> Read<(&'a str, u32)> {
    const OPTIONAL: [&str; 3] =
        ["keep_original_response_code", "max_internal_redirects", "only_redirect_upstream_code"];
    let required = [
        "use_original_request_uri",
        "use_original_request_body",
        "request_headers_to_add",
        "response_headers_to_add",
    ];
    let [uri, body, request, response] = fields(policy, required, &OPTIONAL)?;
    is_flag(&uri, true)?;
    is_flag(&body, true)?;
    for name in ["keep_original_response_code", "only_redirect_upstream_code"] {
        if let Some(written) = policy.get(name) {
            is_flag(&written, false)?;
        }
    }
    let mut redirects_max = 1;
    if let Some(redirects) = policy.get("max_internal_redirects") {
        redirects_max = u32::try_from(number(&redirects)?).unwrap_or(u32::MAX);
        if redirects_max == 0 {
            return Err(differs(&redirects, "at least 1"));
        }
    }
    let from = header(&request)?;
    match header(&response)? == from {
        true => Ok((from, redirects_max)),
        false => Err(differs(&response, "the header of the request")),
    }
}

/// The value of the one header of a list.
fn header<'a>(list: &Cursor<'a>) -> Read<&'a str> {
    let mut entries = list.items();
    let (Some(entry), None) = (entries.next(), entries.next()) else {
        return Err(differs(list, "a list with one header"));
    };
    let [header, append] = fields(&entry, ["header", "append"], &[])?;
    is_flag(&append, false)?;
    let [key, value] = fields(&header, ["key", "value"], &[])?;
    if !text(&key)?.eq_ignore_ascii_case(FALLBACK_HEADER) {
        return Err(differs(&key, FALLBACK_HEADER));
    }
    let from = text(&value)?;
    let is_visible = !from.is_empty() && from.bytes().all(|byte| byte.is_ascii_graphic());
    if is_visible { Ok(from) } else { Err(differs(&value, "the name of a route")) }
}

/// The value of a message that says its own type.
fn typed<'a>(cursor: &Cursor<'a>, type_url: &str) -> Read<Cursor<'a>> {
    let [outer, inner, value] = fields(cursor, ["@type", "type_url", "value"], &[])?;
    is_text(&outer, TYPED_STRUCT)?;
    is_text(&inner, type_url)?;
    Ok(value)
}

/// The values of a mapping that has these keys, and no others but the
/// optional ones.
fn fields<'a, const N: usize>(
    cursor: &Cursor<'a>,
    required: [&str; N],
    optional: &[&str],
) -> Read<[Cursor<'a>; N]> {
    if cursor.node.as_map().is_none() {
        return Err(differs(cursor, "a mapping"));
    }
    let is_known = |key: &str| required.contains(&key) || optional.contains(&key);
    if let Some((entry, value)) = cursor.entries().find(|(entry, _)| !is_known(&entry.key)) {
        let message = format!("a fallback has no `{}`", value.path);
        let finding = Diagnostic::at(&UNKNOWN_KIND, cursor.source, entry.key_at, message);
        return Err(Box::new(finding.with_path(value.path.into_owned())));
    }
    if let Some(key) = required.iter().find(|key| cursor.get(key).is_none()) {
        let message = format!("a fallback has `{key}` in `{}`", cursor.path);
        return Err(Box::new(cursor.diagnostic(&UNKNOWN_KIND, message)));
    }
    Ok(required.map(|key| cursor.get(key).unwrap_or_else(|| cursor.clone())))
}

fn text<'a>(cursor: &Cursor<'a>) -> Read<&'a str> {
    cursor.node.as_str().ok_or_else(|| differs(cursor, "text"))
}

fn number(cursor: &Cursor<'_>) -> Read<i64> {
    match cursor.node.value {
        Value::Int(number) if number >= 0 => Ok(number),
        _ => Err(differs(cursor, "a number from 0")),
    }
}

fn is_text(cursor: &Cursor<'_>, expected: &str) -> Read<()> {
    if text(cursor)? == expected { Ok(()) } else { Err(differs(cursor, expected)) }
}

fn is_flag(cursor: &Cursor<'_>, expected: bool) -> Read<()> {
    match cursor.node.as_bool() == Some(expected) {
        true => Ok(()),
        false => Err(differs(cursor, if expected { "true" } else { "false" })),
    }
}

fn differs(cursor: &Cursor<'_>, expected: &str) -> Box<Diagnostic> {
    let message = format!("in a fallback `{}` is {expected}", cursor.path);
    Box::new(cursor.diagnostic(&UNKNOWN_KIND, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::assemble;
    use crate::read::{FilePath, read_file};

    const WRITTEN: &str = include_str!("envoy_filter.yaml");

    /// Reads what the console writes with a part replaced.
    fn check(from: &str, to: &str, expected: &[(bool, bool, usize)], findings: &[&str]) {
        assert!(WRITTEN.contains(from), "{from}");
        let text = WRITTEN.replace(from, to);
        let read = read_file(&FilePath::standalone("f.yaml"), &text);
        let listing = assemble([&read]);
        let mut diagnostics = Vec::new();
        let read = fallbacks(&listing.resources[0], &mut diagnostics);
        for fallback in &read {
            assert_eq!((&*fallback.route, &*fallback.from), ("r", "r"), "{to}");
        }
        let shown: Vec<_> = read.iter().map(|f| (f.on_4xx, f.on_5xx, f.body_bytes_max)).collect();
        assert_eq!(shown, expected, "{to}");
        let last = |path: &str| path.rsplit(']').next().unwrap_or_default().to_owned();
        let told: Vec<String> = diagnostics
            .iter()
            .map(|d| format!("{} {} {}", d.severity, d.line, last(&d.path)))
            .collect();
        assert_eq!(told, findings, "{to}");
    }

    const ANY: (bool, bool, usize) = (true, true, 1_024_000);

    #[test]
    fn what_the_console_writes_is_read() {
        check("kind", "kind", &[ANY], &[]);
        check("exact: 4xx", "exact: 5xx", &[(false, true, 1_024_000)], &[]);
        check("exact: 5xx", "exact: 4xx", &[(true, false, 1_024_000)], &[]);
        check("max_request_bytes: 1024000", "max_request_bytes: 7", &[(true, true, 7)], &[]);
        check("with_request_body: {max_request_bytes: 1024000}", "", &[ANY], &[]);
        check("max_internal_redirects: 10", "max_internal_redirects: 1", &[ANY], &[]);
    }

    #[test]
    fn a_filter_says_how_often_a_request_falls_back() {
        let check = |redirects: &str, expected: u32| {
            let text = WRITTEN.replace("max_internal_redirects: 10", redirects);
            let read = read_file(&FilePath::standalone("f.yaml"), &text);
            let read = fallbacks(&assemble([&read]).resources[0], &mut Vec::new());
            assert_eq!(read[0].redirects_max, expected, "{redirects}");
        };
        check("max_internal_redirects: 10", 10);
        check("max_internal_redirects: 2", 2);
        check("max_internal_redirects: 5000000000", u32::MAX);
        check("", 1);
    }

    #[test]
    fn anything_else_is_a_finding_where_it_differs() {
        let check = |from: &str, to: &str, finding: &str| check(from, to, &[], &[finding]);
        check("HTTP_ROUTE", "CLUSTER", "warning 6 .applyTo");
        check("GATEWAY", "ANY", "warning 8 .match.context");
        check(
            "{name: r}}}",
            "{name: [r]}}}",
            "warning 9 .match.routeConfiguration.vhost.route.name",
        );
        check("{route: {name: r}}", "{name: a}", "warning 9 .match.routeConfiguration.vhost.name");
        check("MERGE", "ADD", "warning 11 .patch.operation");
        check("exact: 4xx", "exact: 404", "warning 29 .single_predicate.value_match.exact");
        check("v3.CustomResponse", "v4.CustomResponse", "warning 16 .type_url");
        check(
            "uri: true",
            "uri: false",
            "warning 44 .on_match.action.typed_config.value.use_original_request_uri",
        );
        check("value: r}, append: false", "value: r}, append: true", "warning 49 .append");
        check("configPatches", "patches", "warning 5 spec.patches");
        check("x-higress-fallback-from", "x-other", "info 49 .header.key");
    }

    #[test]
    fn a_filter_for_something_else_is_left_alone() {
        let spec = &WRITTEN[WRITTEN.find("spec:").unwrap()..];
        check(spec, "", &[], &["info 1 "]);
        check(spec, "spec: {}", &[], &["info 4 spec"]);
        check(spec, "spec: {configPatches: []}", &[], &[]);
        check(spec, "spec: {configPatches: x}", &[], &["info 4 spec.configPatches"]);
        check(spec, "spec: {workloadSelector: {}}", &[], &["info 4 spec.workloadSelector"]);
    }
}
