//! The steps of the chain: one trait, one table.
//!
//! A plugin reads and changes the [`RequestContext`] and says how the chain
//! goes on. Waiting costs only those who wait. One row of [`PLUGINS`] for each
//! built-in of Higress; a built-in that runs here has a file of its own name.

mod ai_proxy;
mod ai_statistics;
mod broken;
mod key_auth;
mod model_key;
mod model_mapper;
mod model_router;
mod summary;
#[cfg(test)]
mod testing;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use penstock_llm::provider::Fetch;
use penstock_llm::stage::BodyStage;
use penstock_manifest::kind::wasm_plugin::WasmPlugin;
use penstock_manifest::{Cursor, Diagnostic, Node, Position, Source, Value, diagnostic};

use crate::access_log::AccessRecord;
use crate::error::GatewayError;
use crate::reply::Reply;
use crate::request::{RequestContext, ResponseContext};
use crate::token::Keyring;

pub use broken::Broken;
pub use summary::{Access, Consumer, Destination};

/// How the chain goes on.
pub enum Flow<'a> {
    /// With the next plugin.
    Continue,
    /// Not at all: this is the answer.
    Reply(Box<Reply>),
    /// With the route found again, then the next plugin.
    Reroute,
    /// As the future says.
    Wait(Pin<Box<dyn Future<Output = Flow<'a>> + Send + 'a>>),
}

/// One step of the chain.
pub trait Plugin: Send + Sync {
    /// Sees the request before it is sent.
    fn on_request<'a>(&'a self, cx: &'a mut RequestContext) -> Flow<'a>;

    /// The headers and query parameters that may hold a caller's secret, so
    /// that nothing shows them.
    fn secret_names(&self) -> Vec<&str> {
        Vec::new()
    }

    /// Whom it lets pass; `None` where that is not its affair.
    fn access(&self) -> Option<Access<'_>> {
        None
    }

    /// What it makes of requests on their way to a target, as far as that
    /// decides where they go and what they ask for.
    fn destination(&self) -> Option<Destination> {
        None
    }

    /// What it may have to fetch for a request.
    fn files(&self) -> &[Fetch] {
        &[]
    }

    /// The tokens that it chooses from.
    fn keyring(&self) -> Option<&Arc<Keyring>> {
        None
    }

    /// What this instance does, for tests: `check`, `503`, ….
    fn kind(&self) -> &'static str {
        "acts"
    }

    /// Sees the head of the answer and may put a stage into its body.
    fn on_response(&self, cx: &mut ResponseContext<'_>) -> Option<Box<dyn BodyStage>> {
        let _ = cx;
        None
    }

    /// Sees the record when everything is over.
    fn on_done(&self, record: &AccessRecord) {
        let _ = record;
    }
}

/// The configurations of one WasmPlugin after its plugin has read them.
/// `None` where a configuration does nothing.
#[derive(Default)]
pub struct Built {
    /// For what no rule matches.
    pub default: Option<Arc<dyn Plugin>>,
    /// For each of the WasmPlugin's rules, in order.
    pub rules: Vec<Option<Arc<dyn Plugin>>>,
}

/// One built-in plugin of Higress.
pub struct PluginRow {
    /// The name, as in the plugin's image.
    pub name: &'static str,
    /// Whether it decides who may pass: such a plugin never fails open.
    pub is_authentication: bool,
    /// Reads the configurations; `None` where the plugin does not run here
    /// yet.
    pub build: Option<fn(&WasmPlugin<'_>, &mut Vec<Diagnostic>) -> Built>,
    /// Puts entries of the last good `defaultConfig` in place of those of a
    /// new one that cannot be used, and names them.
    pub repair: Option<fn(&mut Node, &Node) -> Vec<String>>,
}

const fn not_yet(name: &'static str, is_authentication: bool) -> PluginRow {
    PluginRow { name, is_authentication, build: None, repair: None }
}

/// Every built-in of Higress, in alphabetical order.
pub const PLUGINS: &[PluginRow] = &[
    not_yet("ai-cache", false),
    not_yet("ai-data-masking", false),
    not_yet("ai-history", false),
    not_yet("ai-image-reader", false),
    not_yet("ai-intent", false),
    not_yet("ai-json-resp", false),
    not_yet("ai-load-balancer", false),
    not_yet("ai-prompt-decorator", false),
    not_yet("ai-prompt-template", false),
    PluginRow {
        name: "ai-proxy",
        is_authentication: false,
        build: Some(ai_proxy::build),
        repair: Some(ai_proxy::repair),
    },
    not_yet("ai-quota", false),
    not_yet("ai-rag", false),
    not_yet("ai-search", false),
    not_yet("ai-security-guard", false),
    PluginRow {
        name: "ai-statistics",
        is_authentication: false,
        build: Some(ai_statistics::build),
        repair: Some(ai_statistics::repair),
    },
    not_yet("ai-token-ratelimit", false),
    not_yet("ai-transformer", false),
    not_yet("basic-auth", true),
    not_yet("bot-detect", false),
    not_yet("cache-control", false),
    not_yet("cluster-key-rate-limit", false),
    not_yet("cors", false),
    not_yet("custom-response", false),
    not_yet("de-graphql", false),
    not_yet("ext-auth", true),
    not_yet("frontend-gray", false),
    not_yet("geo-ip", false),
    not_yet("hmac-auth", true),
    not_yet("hmac-auth-apisix", true),
    not_yet("http-call", false),
    not_yet("ip-restriction", true),
    not_yet("jwt-auth", true),
    PluginRow {
        name: "key-auth",
        is_authentication: true,
        build: Some(key_auth::build),
        repair: Some(key_auth::repair),
    },
    not_yet("key-rate-limit", false),
    not_yet("mcp-router", false),
    not_yet("mcp-server", false),
    PluginRow {
        name: "model-mapper",
        is_authentication: false,
        build: Some(model_mapper::build),
        repair: Some(model_mapper::repair),
    },
    PluginRow {
        name: "model-router",
        is_authentication: false,
        build: Some(model_router::build),
        repair: Some(model_router::repair),
    },
    not_yet("oauth", true),
    not_yet("oidc", true),
    not_yet("opa", true),
    not_yet("request-block", false),
    not_yet("request-validation", false),
    not_yet("response-cache", false),
    not_yet("simple-jwt-auth", true),
    not_yet("traffic-editor", false),
    not_yet("traffic-tag", false),
    not_yet("transformer", false),
    not_yet("waf", false),
];

/// The row of a plugin name.
pub fn find(name: &str) -> Option<&'static PluginRow> {
    PLUGINS.iter().find(|row| row.name == name)
}

/// The name that looks most like one that does not exist.
pub fn nearest(name: &str) -> Option<&'static str> {
    diagnostic::nearest(name, PLUGINS.iter().map(|row| row.name))
}

/// Ends a request that a plugin cannot go on with.
fn refuse<'a>(cx: &mut RequestContext, error: &GatewayError) -> Flow<'a> {
    cx.record.cause = error.cause.clone();
    Flow::Reply(Box::new(Reply::from(error)))
}

/// Replaces a configuration that cannot be used as a whole by the last good
/// one.
fn repair_whole(
    config: &mut Node,
    last_good: &Node,
    is_usable: impl Fn(&Cursor<'_>) -> bool,
) -> Vec<String> {
    let source = Source { file: "".into(), document: 0, at: Position::default() };
    let is_usable = |node: &Node| is_usable(&Cursor::root(node, &source));
    if is_usable(config) || !is_usable(last_good) {
        return Vec::new();
    }
    *config = last_good.clone();
    vec!["defaultConfig".to_owned()]
}

/// Replaces each entry of a list that `is_usable` refuses by the entry of the
/// old list that has the same text under `key`. Returns what was replaced.
fn repair_entries(
    config: &mut Node,
    last_good: &Node,
    (list, key): (&str, &str),
    is_usable: impl Fn(&Cursor<'_>) -> bool,
) -> Vec<String> {
    let source = Source { file: "".into(), document: 0, at: Position::default() };
    let old = last_good.get(list).and_then(Node::as_list).unwrap_or_default();
    let mut repaired = Vec::new();
    let Value::Map(map) = &mut config.value else {
        return repaired;
    };
    let Some(entry) = map.entries.iter_mut().find(|entry| &*entry.key == list) else {
        return repaired;
    };
    let Value::List(entries) = &mut entry.node.value else {
        return repaired;
    };
    for node in entries {
        let Some(name) = node.get(key).and_then(Node::as_str).map(str::to_owned) else {
            continue;
        };
        if is_usable(&Cursor::root(node, &source)) {
            continue;
        }
        let before = old.iter().find(|old| old.get(key).and_then(Node::as_str) == Some(&name));
        if let Some(before) = before.filter(|before| is_usable(&Cursor::root(before, &source))) {
            *node = before.clone();
            repaired.push(format!("{list} `{name}`"));
        }
    }
    repaired
}
