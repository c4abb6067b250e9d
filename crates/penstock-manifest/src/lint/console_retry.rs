//! The retry settings that the console gives to every AI route
//! (Higress console: AiRoute.java, KubernetesModelConverter.java).

use super::model::{AiRoute, Model, Route, listed};
use crate::diagnostic::{CONSOLE_RETRY, Diagnostic};
use crate::node::{Cursor, Node, Value};

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for ai_route in &model.ai_routes {
        let Some(json) = ai_route.json() else {
            continue;
        };
        let Some(retry) = json.get("proxyNextUpstream") else {
            diagnostics.push(
                json.diagnostic(
                    &CONSOLE_RETRY,
                    format!("the JSON of AI route `{}` has no `proxyNextUpstream`", ai_route.name),
                )
                .with_hint(
                    "a console adds its default at the next save: three attempts, 120 seconds",
                ),
            );
            continue;
        };
        if let Some(route) = model.route_of(ai_route) {
            diagnostics.extend(check_annotations(ai_route, route, &retry));
        }
    }
}

/// The annotations that the JSON stands for.
fn annotations(retry: &Cursor<'_>) -> Vec<(String, String)> {
    let number = |key: &str| match retry.node.get(key).map(|node| &node.value) {
        Some(Value::Int(number)) => Some(number.to_string()),
        _ => None,
    };
    let conditions = retry
        .node
        .get("conditions")
        .and_then(Node::as_list)
        .map(|list| list.iter().filter_map(Node::as_str).collect::<Vec<_>>().join(","));
    let is_enabled = retry.node.get("enabled").and_then(Node::as_bool) == Some(true);
    let prefix = if is_enabled { "" } else { "disabled." };
    let values = [
        ("proxy-next-upstream", conditions),
        ("proxy-next-upstream-timeout", number("timeout")),
        ("proxy-next-upstream-tries", number("attempts")),
    ];
    let flag = ("higress.io/enable-proxy-next-upstream".to_owned(), is_enabled.to_string());
    let values = values
        .into_iter()
        .filter_map(|(key, value)| Some((format!("{prefix}higress.io/{key}"), value?)));
    std::iter::once(flag).chain(values).collect()
}

fn check_annotations(
    ai_route: &AiRoute<'_>,
    route: &Route<'_>,
    retry: &Cursor<'_>,
) -> Option<Diagnostic> {
    let differing: Vec<String> = annotations(retry)
        .into_iter()
        .filter(|(key, value)| route.resource.annotation(key) != Some(value))
        .map(|(key, _)| key)
        .collect();
    if differing.is_empty() {
        return None;
    }
    let metadata = route.resource.cursor().get("metadata")?;
    let place = metadata.get("annotations").unwrap_or(metadata);
    Some(
        place
            .diagnostic(
                &CONSOLE_RETRY,
                format!(
                    "the retry annotations of `{}` are not what the JSON of AI route `{}` says",
                    route.name, ai_route.name
                ),
            )
            .with_hint(format!("a console rewrites {} at the next save", listed(&differing))),
    )
}
