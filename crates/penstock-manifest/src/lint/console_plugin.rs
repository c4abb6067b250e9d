//! The versions of the console's built-in plugins
//! (Higress console: plugins/plugins.properties and plugins/*/spec.yaml).

use super::model::{Model, Plugin};
use crate::diagnostic::{CONSOLE_PLUGIN_VERSION, Diagnostic};
use crate::node::Node;

/// A built-in's name, the version of its label and the tag of its image.
type Row = (&'static str, &'static str, &'static str);

/// The catalogue, in alphabetical order.
pub(crate) const CATALOGUE: &[Row] = &[
    ("ai-agent", "2.0.1", "2.0.1"),
    ("ai-cache", "2.0.1", "2.0.1"),
    ("ai-context-limit", "1.0.0", "1.0.0"),
    ("ai-data-masking", "2.0.1", "2.0.1"),
    ("ai-history", "2.0.1", "2.0.1"),
    ("ai-intent", "2.0.1", "2.0.1"),
    ("ai-json-resp", "2.0.1", "2.0.1"),
    ("ai-load-balancer", "2.0.1", "2.0.1"),
    ("ai-prompt-decorator", "2.0.1", "2.0.1"),
    ("ai-prompt-template", "2.0.1", "2.0.1"),
    ("ai-proxy", "2.0.1", "2.0.1"),
    ("ai-quota", "2.0.1", "2.0.1"),
    ("ai-rag", "2.0.1", "2.0.1"),
    ("ai-search", "2.0.1", "2.0.1"),
    ("ai-security-guard", "2.0.1", "2.0.1"),
    ("ai-statistics", "2.0.1", "2.0.1"),
    ("ai-token-ratelimit", "2.0.1", "2.0.1"),
    ("ai-transformer", "2.0.1", "2.0.1"),
    ("basic-auth", "1.0.0", "2.0.0"),
    ("bot-detect", "1.0.0", "2.0.0"),
    ("cache-control", "2.0.1", "2.0.1"),
    ("cluster-key-rate-limit", "2.0.1", "2.0.1"),
    ("cors", "2.0.2", "2.0.2"),
    ("custom-response", "1.0.0", "2.0.0"),
    ("de-graphql", "2.0.1", "2.0.1"),
    ("ext-auth", "2.0.1", "2.0.1"),
    ("frontend-gray", "2.0.1", "2.0.1"),
    ("geo-ip", "2.0.1", "2.0.1"),
    ("gw-error-format", "1.0.0", "1.0.0"),
    ("hmac-auth", "1.0.0", "2.0.0"),
    ("hmac-auth-apisix", "2.0.1", "2.0.1"),
    ("ip-restriction", "2.0.1", "2.0.1"),
    ("json-converter", "2.0.1", "2.0.1"),
    ("jwt-auth", "1.0.0", "2.0.0"),
    ("key-auth", "1.0.0", "2.0.0"),
    ("key-rate-limit", "1.0.0", "2.0.0"),
    ("log-request-response", "1.0.0", "1.0.0"),
    ("mcp-router", "2.0.1", "2.0.1"),
    ("mcp-server", "2.0.1", "2.0.1"),
    ("model-mapper", "2.0.1", "2.0.1"),
    ("model-router", "2.0.1", "2.0.1"),
    ("nginx-rewrite-compatible", "1.0.0", "1.0.0"),
    ("oauth", "1.0.0", "2.0.0"),
    ("oidc", "2.0.1", "2.0.1"),
    ("opa", "2.0.1", "2.0.1"),
    ("request-block", "1.0.0", "2.0.0"),
    ("request-validation", "2.0.1", "2.0.1"),
    ("response-cache", "1.0.1", "1.0.1"),
    ("simple-jwt-auth", "1.0.1", "1.0.1"),
    ("traffic-tag", "2.0.1", "2.0.1"),
    ("transformer", "2.0.1", "2.0.1"),
    ("waf", "2.0.1", "2.0.1"),
];

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for plugin in &model.plugins {
        let is_built_in = plugin.resource.label("higress.io/wasm-plugin-built-in") == Some("true");
        let name = plugin.resource.label("higress.io/wasm-plugin-name");
        let row = CATALOGUE.iter().find(|(known, ..)| Some(*known) == name);
        if let Some(row) = row.filter(|_| is_built_in) {
            diagnostics.extend(check_label(plugin, row));
            diagnostics.extend(check_image(plugin, row));
        }
    }
}

fn check_label(plugin: &Plugin<'_>, (name, version, _): &Row) -> Option<Diagnostic> {
    let labels = plugin.resource.cursor().get("metadata")?.get("labels")?;
    let label = labels.get("higress.io/wasm-plugin-version")?;
    let written = label.node.as_str()?;
    (written != *version).then(|| {
        label
            .diagnostic(
                &CONSOLE_PLUGIN_VERSION,
                format!("the version label of `{name}` is {written}, the console's is {version}"),
            )
            .with_hint("save the plugin in the console to refresh it")
    })
}

fn check_image(plugin: &Plugin<'_>, (name, _, tag): &Row) -> Option<Diagnostic> {
    let url = plugin.resource.spec()?.get("url")?;
    let image = Node::as_str(url.node)?.strip_prefix("oci://")?;
    let written = image.rsplit('/').next()?.split_once(':')?.1;
    (written != *tag).then(|| {
        url.diagnostic(
            &CONSOLE_PLUGIN_VERSION,
            format!("the image of `{name}` is {written}, the console's is {tag}"),
        )
        .with_hint(format!("write the tag {tag}, or save the plugin in the console"))
    })
}

#[cfg(test)]
mod tests {
    use super::CATALOGUE;

    #[test]
    fn the_catalogue_is_sorted() {
        assert!(CATALOGUE.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(CATALOGUE.len(), 52);
    }
}
