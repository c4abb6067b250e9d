//! WasmPlugins → one global order of plugins, and for each route and service
//! the configurations that apply (Higress: wasm-go pkg/matcher/rule_matcher.go,
//! wasm-cpp common/route_rule_matcher.h).

use std::collections::HashMap;
use std::sync::Arc;

use penstock_manifest::diagnostic::PLUGIN_UNKNOWN;
use penstock_manifest::kind::wasm_plugin::{MatchRule, Phase, WasmPlugin};
use penstock_manifest::{Diagnostic, Resource, Severity};

use crate::plugin::{self, Broken, Built, Plugin};
use crate::snapshot::{Chain, DomainPattern, PluginInstance, Service, Step};

/// All plugins in the order in which they run.
pub(super) struct Plugins {
    plugins: Vec<Compiled>,
    /// Whether one of them is an authentication, or may be.
    pub(super) has_authentication: bool,
    /// How many of them are there to decide who may pass.
    pub(super) guards_at: u16,
}

/// One WasmPlugin with its rules by what they look at.
#[derive(Default)]
struct Compiled {
    default: Option<Arc<PluginInstance>>,
    /// For each rule what runs, if anything.
    rules: Vec<Option<Arc<PluginInstance>>>,
    /// Rules by route name.
    by_route: HashMap<Box<str>, Vec<RouteRule>>,
    /// Rules by service, `HOST` or `HOST:PORT`.
    by_service: HashMap<Box<str>, usize>,
    /// Rules by domain, in order.
    by_domain: Vec<(usize, DomainPattern)>,
    /// Rules by the beginning of a route's name, in order.
    by_prefix: Vec<(usize, Box<str>)>,
}

/// A rule by route.
struct RouteRule {
    index: usize,
    /// The services it asks for besides; empty for any.
    services: Vec<Box<str>>,
}

pub(super) fn compile(resources: &[&Arc<Resource>], diagnostics: &mut Vec<Diagnostic>) -> Plugins {
    let mut parsed: Vec<(&Arc<Resource>, WasmPlugin<'_>)> = resources
        .iter()
        .filter_map(|resource| Some((*resource, WasmPlugin::parse(resource, diagnostics)?)))
        .collect();
    // Higress: I:pilot/pkg/model/extensions.go — phase, then higher priority,
    // then name; the namespace is always the same.
    parsed.sort_by(|(a, x), (b, y)| {
        (x.phase, std::cmp::Reverse(x.priority), &a.key.name).cmp(&(
            y.phase,
            std::cmp::Reverse(y.priority),
            &b.key.name,
        ))
    });
    // What cannot be read may be one as well.
    let has_authentication = parsed.len() < resources.len()
        || parsed.iter().any(|(_, plugin)| is_authentication(plugin));
    let guards_at = parsed.partition_point(|(_, plugin)| plugin.phase <= Phase::Authz);
    let plugins = parsed
        .iter()
        .map(|(resource, plugin)| compile_plugin(resource, plugin, diagnostics))
        .collect();
    let guards_at = u16::try_from(guards_at).unwrap_or(u16::MAX);
    Plugins { plugins, has_authentication, guards_at }
}

fn is_authentication(plugin: &WasmPlugin<'_>) -> bool {
    match plugin::find(&plugin.plugin) {
        Some(row) => row.is_authentication,
        // What an unknown plugin does is not known either; these phases are
        // for deciding who may pass.
        None => matches!(plugin.phase, Phase::Authn | Phase::Authz),
    }
}

fn compile_plugin(
    resource: &Resource,
    plugin: &WasmPlugin<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Compiled {
    let row = plugin::find(&plugin.plugin);
    let is_authentication = is_authentication(plugin);
    let built = match row.and_then(|row| row.build) {
        Some(build) => build(plugin, diagnostics),
        None => {
            let passes = plugin.fail_open && !is_authentication;
            diagnostics.push(unavailable(resource, plugin, row.is_some(), passes));
            if passes {
                return Compiled::default();
            }
            closed(plugin)
        }
    };
    let name: Arc<str> = plugin.plugin.as_str().into();
    let instance = |rule: Option<usize>, runs: Option<Arc<dyn Plugin>>| {
        runs.map(|plugin| {
            Arc::new(PluginInstance {
                name: name.clone(),
                resource: resource.key.name.clone(),
                rule,
                is_authentication,
                plugin,
            })
        })
    };
    let mut compiled = Compiled {
        default: instance(None, built.default),
        rules: plugin
            .rules
            .iter()
            .zip(built.rules)
            .map(|(rule, runs)| instance(Some(rule.index), runs))
            .collect(),
        ..Compiled::default()
    };
    for (index, rule) in plugin.rules.iter().enumerate() {
        compiled.index(index, rule, plugin.is_cpp);
    }
    compiled
}

/// What stands in for a plugin that penstock does not have and that must not
/// be passed by.
fn closed(plugin: &WasmPlugin<'_>) -> Built {
    let broken = || Some(Arc::new(Broken) as Arc<dyn Plugin>);
    let has_default = match &plugin.default_config {
        Some(config) => {
            plugin.rules.is_empty() || config.node.as_map().is_some_and(|m| !m.entries.is_empty())
        }
        None => plugin.rules.is_empty() && !plugin.default_disabled,
    };
    Built {
        default: if has_default { broken() } else { None },
        rules: plugin
            .rules
            .iter()
            .map(|rule| if plugin.is_cpp && rule.is_switched_off() { None } else { broken() })
            .collect(),
    }
}

fn unavailable(
    resource: &Resource,
    plugin: &WasmPlugin<'_>,
    is_known: bool,
    passes: bool,
) -> Diagnostic {
    let url = resource.cursor().descend("spec.url");
    let what = match is_known {
        true => format!("plugin `{}` is not available yet", plugin.plugin),
        false => format!("plugin `{}` is not known", plugin.plugin),
    };
    let consequence = match passes {
        true => "requests pass without it",
        false => "what it covers answers 503",
    };
    let diagnostic = url.diagnostic(&PLUGIN_UNKNOWN, format!("{what}: {consequence}"));
    let diagnostic = match passes {
        true => diagnostic.with_severity(Severity::Warning),
        false => diagnostic,
    };
    match plugin::nearest(&plugin.plugin).filter(|_| !is_known) {
        Some(nearest) => diagnostic.with_hint(format!("did you mean `{nearest}`?")),
        None => diagnostic,
    }
}

impl Compiled {
    /// Files a rule under the one category it belongs to: route, then domain,
    /// service, prefix in plugins in Go, and prefix, service, domain in C++.
    fn index(&mut self, index: usize, rule: &MatchRule<'_>, is_cpp: bool) {
        let is_by_prefix = !rule.route_prefix.is_empty()
            && (is_cpp || (rule.domain.is_empty() && rule.service.is_empty()));
        if !rule.ingress.is_empty() {
            let services: Vec<Box<str>> = rule.service.iter().map(|s| lower(s)).collect();
            for route in &rule.ingress {
                let rules = self.by_route.entry((*route).into()).or_default();
                rules.push(RouteRule { index, services: services.clone() });
            }
        } else if is_by_prefix {
            self.by_prefix.extend(rule.route_prefix.iter().map(|p| (index, Box::from(*p))));
        } else if !rule.domain.is_empty() && (rule.service.is_empty() || !is_cpp) {
            self.by_domain
                .extend(rule.domain.iter().map(|domain| (index, DomainPattern::parse(domain))));
        } else {
            for service in &rule.service {
                self.by_service.entry(lower(service)).or_insert(index);
            }
        }
    }

    /// The step for a route and service on a host pattern; `None` where the
    /// plugin does nothing there.
    fn step(
        &self,
        order: u16,
        place: &Option<(&str, Option<&Service>)>,
        host: &str,
    ) -> Option<Step> {
        let first = place.as_ref().and_then(|(route, service)| self.first_match(route, *service));
        let before = |index: usize| first.is_none_or(|first| index < first);
        let mut by_domain = Vec::new();
        let mut otherwise = match first {
            Some(index) => self.rules.get(index).cloned().flatten(),
            None => self.default.clone(),
        };
        for (index, pattern) in self.by_domain.iter().filter(|(index, _)| before(*index)) {
            let instance = self.rules.get(*index).cloned().flatten();
            if host.starts_with('*') {
                // The host is only known with the request.
                by_domain.push((pattern.clone(), instance));
            } else if pattern.matches(host) {
                otherwise = instance;
                break;
            }
        }
        let does_something =
            otherwise.is_some() || by_domain.iter().any(|(_, instance)| instance.is_some());
        does_something.then_some(Step { order, by_domain, otherwise })
    }

    /// The first rule by route or service that matches.
    fn first_match(&self, route: &str, service: Option<&Service>) -> Option<usize> {
        let names = service.map(|service| {
            (service.host.to_string(), format!("{}:{}", service.host, service.port))
        });
        let fits = |wanted: &[Box<str>]| {
            wanted.is_empty()
                || names.as_ref().is_some_and(|(host, with_port)| {
                    wanted.iter().any(|name| **name == **host || **name == **with_port)
                })
        };
        let by_route = self.by_route.get(route).and_then(|rules| {
            rules.iter().filter(|rule| fits(&rule.services)).map(|rule| rule.index).min()
        });
        let by_service = names.as_ref().and_then(|(host, with_port)| {
            let host = self.by_service.get(host.as_str()).copied();
            let with_port = self.by_service.get(with_port.as_str()).copied();
            host.into_iter().chain(with_port).min()
        });
        let is_prefix = |(_, prefix): &&(usize, Box<str>)| route.starts_with(&**prefix);
        let by_prefix = self.by_prefix.iter().find(is_prefix).map(|(index, _)| *index);
        by_route.into_iter().chain(by_service).chain(by_prefix).min()
    }
}

fn lower(text: &str) -> Box<str> {
    text.to_ascii_lowercase().into()
}

impl Plugins {
    /// The chain of a route and service on a host pattern, or of no route.
    pub(super) fn chain(&self, place: Option<(&str, Option<&Service>)>, host: &str) -> Chain {
        let steps = self
            .plugins
            .iter()
            .enumerate()
            .filter_map(|(order, plugin)| {
                plugin.step(u16::try_from(order).unwrap_or(u16::MAX), &place, host)
            })
            .collect();
        Chain { steps }
    }
}
