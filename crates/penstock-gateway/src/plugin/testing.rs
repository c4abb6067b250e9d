//! What tests of plugins share: a plugin from its YAML, a request from its
//! parts, and what becomes of it.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use penstock_manifest::Diagnostic;
use penstock_manifest::kind::wasm_plugin::WasmPlugin;
use penstock_manifest::listing::assemble;
use penstock_manifest::read::{FilePath, read_file};

use super::{Built, Flow, Plugin, find};
use crate::request::RequestContext;
use crate::resolve::Resolver;
use crate::settings::Settings;
use crate::state::State;

/// The configurations of a WasmPlugin whose `spec` goes on with `rest`.
pub(super) fn build(name: &str, rest: &str) -> (Built, Vec<Diagnostic>) {
    let text = format!(
        "apiVersion: extensions.higress.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{name: p}}\nspec:\n  url: oci://x/{name}:1\n{rest}"
    );
    let listing = assemble([&read_file(&FilePath::standalone("p.yaml"), &text)]);
    let mut diagnostics = listing.diagnostics;
    let wasm = WasmPlugin::parse(&listing.resources[0], &mut diagnostics).unwrap();
    let built = find(name).unwrap().build.unwrap()(&wasm, &mut diagnostics);
    (built, diagnostics)
}

/// The plugin with one configuration, in flow style, that has no mistakes.
#[track_caller]
pub(super) fn plugin(name: &str, config: &str) -> Arc<dyn Plugin> {
    let (built, diagnostics) = build(name, &format!("  defaultConfig: {config}"));
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    built.default.unwrap()
}

/// The codes and messages of what a configuration is blamed for.
pub(super) fn findings(name: &str, config: &str) -> (Built, Vec<String>) {
    let (built, diagnostics) = build(name, &format!("  defaultConfig: {config}"));
    (built, diagnostics.iter().map(|d| format!("{} {}", d.code.id, d.message)).collect())
}

/// State of a gateway that does nothing.
pub(super) fn state() -> Arc<State> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let resolver = Resolver::new(Some(([127, 0, 0, 1], 9).into()), runtime.handle().clone());
    State::new(resolver.unwrap(), None, &Settings::default())
}

/// A POST with a body that was read.
pub(super) fn request(path: &str, headers: &[(&str, &str)], body: &str) -> RequestContext {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
        })
        .collect();
    RequestContext::in_test(path, headers, body, state())
}

/// Lets a plugin see a request: `continue`, `reroute`, or the reply's code.
pub(super) fn run(plugin: &dyn Plugin, cx: &mut RequestContext) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut flow = plugin.on_request(cx);
        loop {
            flow = match flow {
                Flow::Continue => return "continue".to_owned(),
                Flow::Reroute => return "reroute".to_owned(),
                Flow::Reply(reply) => return reply.code.to_owned(),
                Flow::Wait(future) => future.await,
            };
        }
    })
}

/// The body as it is now.
pub(super) fn body(cx: &RequestContext) -> String {
    let bytes = cx.buffered_body().cloned().unwrap_or_default();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A header as it is now; empty where it is absent.
pub(super) fn header<'a>(cx: &'a RequestContext, name: &str) -> &'a str {
    cx.headers.get(name).map_or("", |value| value.to_str().unwrap())
}
