//! key-auth: who the caller is, by a key in a header or a query parameter.
//!
//! Two builds exist. What installations run is the C++ one
//! (Higress: plugins/wasm-cpp/extensions/key_auth/plugin.cc); the Go one
//! (plugins/wasm-go/extensions/key-auth/main.go) has other fields and
//! answers. Where either opens a route by accident, this one stays closed.
//!
//! Invariant: a credential is found with one look-up per key name, however
//! many consumers there are, and compared in constant time.
//! Invariant: a credential that two consumers share identifies nobody.

mod config;
mod expiry;
mod registry;

use std::collections::HashSet;
use std::sync::Arc;

use http::StatusCode;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use penstock_manifest::Diagnostic;
use penstock_manifest::diagnostic::KEY_AUTH_GLOBAL_INVALID;
use penstock_manifest::kind::wasm_plugin::{MatchRule, WasmPlugin};

use crate::plugin::{Access, Broken, Built, Flow, Plugin};
use crate::reply::Reply;
use crate::request::{RequestContext, X_MSE_CONSUMER};
use config::{Global, RuleConfig};
use registry::{Found, Registry};

pub(super) use config::repair;

/// Who may pass.
enum Allowed {
    /// Every known consumer.
    Anybody,
    /// These consumers; nobody where it is empty.
    Only(HashSet<Arc<str>>),
}

/// key-auth with one configuration.
struct KeyAuth {
    registry: Arc<Registry>,
    allowed: Allowed,
    is_go: bool,
}

/// Reads all configurations of a key-auth WasmPlugin.
pub(super) fn build(plugin: &WasmPlugin<'_>, diagnostics: &mut Vec<Diagnostic>) -> Built {
    let global = Global::parse(plugin, diagnostics);
    let registry = global.registry.map(Arc::new);
    let rules = plugin
        .rules
        .iter()
        .map(|rule| build_rule(rule, plugin, &registry, global.global_auth, diagnostics))
        .collect();
    // Higress: common/route_rule_matcher.h, checkAuthRule — without any rule
    // an unset global_auth means that every request needs a key.
    let covers_the_rest = match global.global_auth {
        Some(flag) => flag,
        None => plugin.rules.is_empty() && global.is_configured,
    };
    let default: Option<Arc<dyn Plugin>> = if global.is_global_auth_broken {
        Some(Arc::new(Broken))
    } else if !covers_the_rest {
        None
    } else {
        Some(match &registry {
            Some(registry) => Arc::new(KeyAuth {
                registry: registry.clone(),
                allowed: Allowed::Anybody,
                is_go: plugin.is_go,
            }),
            None => Arc::new(Broken),
        })
    };
    Built { default, rules }
}

fn build_rule(
    rule: &MatchRule<'_>,
    plugin: &WasmPlugin<'_>,
    global: &Option<Arc<Registry>>,
    global_auth: Option<bool>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Arc<dyn Plugin>> {
    let broken = || Some(Arc::new(Broken) as Arc<dyn Plugin>);
    match RuleConfig::parse(rule, plugin.is_go, global_auth, diagnostics) {
        RuleConfig::Off => None,
        RuleConfig::Broken => broken(),
        RuleConfig::Local(registry) => Some(Arc::new(KeyAuth {
            registry: Arc::new(*registry),
            allowed: Allowed::Anybody,
            is_go: plugin.is_go,
        })),
        RuleConfig::Allow(allow) => match global {
            Some(registry) => Some(Arc::new(KeyAuth {
                registry: registry.clone(),
                allowed: Allowed::Only(allow),
                is_go: plugin.is_go,
            })),
            None => {
                diagnostics.push(
                    rule.cursor
                        .diagnostic(
                            &KEY_AUTH_GLOBAL_INVALID,
                            format!(
                                "`{}` has an allow list, but there are no usable consumers: its routes answer 503",
                                rule.cursor.path
                            ),
                        )
                        .with_hint("correct defaultConfig.consumers, and leave defaultConfigDisable false"),
                );
                broken()
            }
        },
    }
}

impl Plugin for KeyAuth {
    fn on_request<'a>(&'a self, cx: &'a mut RequestContext) -> Flow<'a> {
        let found = if self.is_go {
            self.registry.search_go(&cx.headers, cx.uri.query())
        } else {
            self.registry.search(&cx.headers, cx.uri.query())
        };
        match found {
            Found::Anonymous => Flow::Continue,
            Found::Consumer(consumer) => {
                cx.headers.insert(X_MSE_CONSUMER, consumer.header_value.clone());
                cx.set_consumer(consumer.name.clone());
                match &self.allowed {
                    Allowed::Only(names) if !names.contains(&consumer.name) => {
                        self.deny(Denial::NotAllowed)
                    }
                    _ => Flow::Continue,
                }
            }
            Found::None => self.deny(Denial::NoKey),
            Found::Unknown => self.deny(Denial::UnknownKey),
            Found::Several => self.deny(Denial::SeveralKeys),
        }
    }

    fn secret_names(&self) -> Vec<&str> {
        self.registry.key_names().collect()
    }

    fn access(&self) -> Option<Access<'_>> {
        let allowed = match &self.allowed {
            Allowed::Anybody => None,
            Allowed::Only(names) => Some(names),
        };
        Some(self.registry.access(allowed))
    }

    fn kind(&self) -> &'static str {
        "check"
    }
}

/// Why a request does not pass.
enum Denial {
    NoKey,
    UnknownKey,
    SeveralKeys,
    NotAllowed,
}

impl KeyAuth {
    fn deny<'a>(&self, denial: Denial) -> Flow<'a> {
        let (status, code, message) = match (&denial, self.is_go) {
            (Denial::NoKey, _) => (StatusCode::UNAUTHORIZED, "no_api_key", "no API key was given"),
            (Denial::SeveralKeys, _) => {
                (StatusCode::UNAUTHORIZED, "multiple_api_keys", "several API keys were given")
            }
            (Denial::UnknownKey, false) => {
                (StatusCode::UNAUTHORIZED, "invalid_api_key", "the API key is not valid")
            }
            (Denial::UnknownKey, true) => {
                (StatusCode::FORBIDDEN, "invalid_api_key", "the API key is not valid")
            }
            (Denial::NotAllowed, _) => (
                StatusCode::FORBIDDEN,
                "consumer_not_allowed",
                "this consumer may not use this route",
            ),
        };
        let mut reply = Reply::new(status, code, message)
            .with_header(WWW_AUTHENTICATE, self.registry.challenge());
        if self.is_go {
            reply = reply.with_body(match denial {
                Denial::NoKey => {
                    "Request denied by Key Auth check. No Key Authentication information found."
                }
                Denial::SeveralKeys => {
                    "Request denied by Key Auth check. Multi Key Authentication information found."
                }
                _ => "Request denied by Key Auth check. Unauthorized consumer.",
            });
        }
        Flow::Reply(Box::new(reply))
    }
}

/// The challenge without a realm of its own.
const DEFAULT_CHALLENGE: HeaderValue = HeaderValue::from_static("Key realm=MSE Gateway");

#[cfg(test)]
mod tests;
