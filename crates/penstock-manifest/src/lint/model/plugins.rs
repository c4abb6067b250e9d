//! WasmPlugins: which of their rules a request meets, the consumers of an
//! authentication and the providers of ai-proxy.

use std::collections::HashMap;

use super::plugin_index::RuleIndex;
use super::services::split_service;
use crate::kind::wasm_plugin::{MatchRule, WasmPlugin, plugin_of_url};
use crate::node::{Cursor, Node, Value};
use crate::resource::Resource;

/// The key that the console writes where a plugin build demands one, and that
/// nobody means to use.
const DUMMY_KEY: &str = "x-higress-dummy-key";

/// A WasmPlugin that could be read.
#[derive(Debug)]
pub(crate) struct Plugin<'a> {
    pub(crate) resource: &'a Resource,
    pub(crate) wasm: WasmPlugin<'a>,
    /// The consumers of the global part.
    pub(crate) consumers: Vec<Consumer<'a>>,
    by_name: HashMap<&'a str, Vec<usize>>,
    rules: RuleIndex,
    disabled_rules: RuleIndex,
}

impl<'a> Plugin<'a> {
    pub(super) fn new(resource: &'a Resource) -> Option<Self> {
        let wasm = WasmPlugin::parse(resource, &mut Vec::new())?;
        let consumers = wasm.default_config.as_ref().map(Consumer::all).unwrap_or_default();
        let mut by_name: HashMap<&'a str, Vec<usize>> = HashMap::new();
        for (place, consumer) in consumers.iter().enumerate() {
            by_name.entry(consumer.name).or_default().push(place);
        }
        Some(Self {
            rules: RuleIndex::new(&wasm.rules),
            disabled_rules: RuleIndex::new(&wasm.disabled_rules),
            resource,
            wasm,
            consumers,
            by_name,
        })
    }

    /// Whether it acts on any request.
    pub(crate) fn is_active(&self) -> bool {
        !self.wasm.default_disabled || !self.wasm.rules.is_empty()
    }

    /// The first enabled rule that a request meets.
    pub(crate) fn rule_for(&self, request: &Request<'_>) -> Option<&MatchRule<'a>> {
        self.rules.first(&self.wasm.rules, request, !self.wasm.is_cpp)
    }

    /// The first enabled rule that names an Ingress.
    pub(crate) fn rule_of_ingress(&self, name: &str) -> Option<&MatchRule<'a>> {
        self.rules.first_of_ingress(&self.wasm.rules, name)
    }

    /// The first disabled rule that names an Ingress.
    pub(crate) fn disabled_rule_of_ingress(&self, name: &str) -> Option<&MatchRule<'a>> {
        self.disabled_rules.first_of_ingress(&self.wasm.disabled_rules, name)
    }

    /// `global_auth`, where it is a boolean.
    pub(crate) fn global_auth(&self) -> Option<bool> {
        self.wasm.default_config.as_ref()?.node.get("global_auth")?.as_bool()
    }

    /// The consumers of a name.
    pub(crate) fn consumers_named(&self, name: &str) -> impl Iterator<Item = &Consumer<'a>> {
        let places = self.by_name.get(name).map(Vec::as_slice).unwrap_or_default();
        places.iter().filter_map(|place| self.consumers.get(*place))
    }
}

/// Whether a rule takes its requests out of an authentication.
pub(crate) fn is_switched_off(rule: &MatchRule<'_>) -> bool {
    rule.is_switched_off()
}

/// What a rule is matched against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'r> {
    pub(crate) route: &'r str,
    /// A host, or the pattern of an Ingress.
    pub(crate) host: &'r str,
    pub(crate) service: &'r str,
    pub(crate) port: Option<u16>,
}

/// Whether a rule takes a request. A rule has one category: route (with
/// service, if both are given), then domain and service in the order of the
/// SDK that the plugin is built with (Higress: pkg/matcher/rule_matcher.go,
/// wasm-cpp/common/route_rule_matcher.h).
pub(crate) fn matches(rule: &MatchRule<'_>, request: &Request<'_>, is_go: bool) -> bool {
    let service =
        || rule.service.iter().any(|listed| service_covers(listed, request.service, request.port));
    let domain = || rule.domain.iter().any(|pattern| domain_covers(pattern, request.host));
    if !rule.ingress.is_empty() {
        return rule.ingress.contains(&request.route) && (rule.service.is_empty() || service());
    }
    let prefix = || rule.route_prefix.iter().any(|prefix| request.route.starts_with(prefix));
    if !is_go && !rule.route_prefix.is_empty() {
        return prefix();
    }
    match (rule.domain.is_empty(), rule.service.is_empty()) {
        (false, false) if is_go => domain(),
        (_, false) => service(),
        (false, true) => domain(),
        (true, true) => prefix(),
    }
}

/// Whether every host of a pattern is one of `listed`.
pub(crate) fn domain_covers(listed: &str, host: &str) -> bool {
    if listed == "*" {
        return true;
    }
    if let Some(suffix) = listed.strip_prefix('*') {
        return host.ends_with(suffix);
    }
    match listed.strip_suffix('*') {
        Some(prefix) => !host.starts_with('*') && host.starts_with(prefix),
        None => listed == host,
    }
}

/// Whether a listed service, with or without a port, is the one at a host.
pub(crate) fn service_covers(listed: &str, host: &str, port: Option<u16>) -> bool {
    if listed.eq_ignore_ascii_case(host) {
        return true;
    }
    let (listed, listed_port) = split_service(listed);
    listed.eq_ignore_ascii_case(host) && listed_port.is_some() && listed_port == port
}

/// The targets of one field of a rule, with their places.
pub(crate) fn targets<'a>(rule: &MatchRule<'a>, field: &str) -> Vec<(Cursor<'a>, &'a str)> {
    let Some(list) = rule.written(field) else {
        return Vec::new();
    };
    list.items()
        .filter_map(|item| {
            let text = item.node.as_str().filter(|text| !text.is_empty())?;
            Some((item, text))
        })
        .collect()
}

/// A consumer of an authentication plugin.
#[derive(Debug)]
pub(crate) struct Consumer<'a> {
    pub(crate) entry: Cursor<'a>,
    pub(crate) name: &'a str,
    /// The header and query names that its credential is looked for under.
    pub(crate) keys: Vec<&'a str>,
    pub(crate) in_header: bool,
}

impl<'a> Consumer<'a> {
    /// The consumers of a configuration, global or a rule's.
    pub(crate) fn all(config: &Cursor<'a>) -> Vec<Self> {
        let Some(list) = config.get("consumers") else {
            return Vec::new();
        };
        let flag = |node: &Node, key: &str| node.get(key).and_then(Node::as_bool);
        list.items()
            .filter_map(|entry| {
                let name = entry.node.get("name")?.as_str()?;
                let own = texts(entry.node, "keys");
                let owner = if own.is_empty() { config.node } else { entry.node };
                let in_header = flag(owner, "in_header").or_else(|| flag(config.node, "in_header"));
                let keys = if own.is_empty() { texts(config.node, "keys") } else { own };
                Some(Self { entry, name, keys, in_header: in_header.unwrap_or(true) })
            })
            .collect()
    }

    /// Whether the dummy key is the only place its credential is looked for.
    pub(crate) fn has_only_dummy_key(&self) -> bool {
        !self.keys.is_empty() && self.keys.iter().all(|key| key.eq_ignore_ascii_case(DUMMY_KEY))
    }
}

fn texts<'n>(node: &'n Node, key: &str) -> Vec<&'n str> {
    let list = node.get(key).and_then(Node::as_list).unwrap_or_default();
    list.iter().filter_map(Node::as_str).filter(|text| !text.is_empty()).collect()
}

/// An entry of ai-proxy's `providers`.
#[derive(Debug)]
pub(crate) struct Provider<'a> {
    /// The WasmPlugin.
    pub(crate) resource: &'a Resource,
    pub(crate) id: String,
    pub(crate) entry: Cursor<'a>,
}

impl<'a> Provider<'a> {
    /// The providers of every ai-proxy, also where its global configuration
    /// is disabled: the console shows them all the same.
    pub(super) fn all(resources: impl Iterator<Item = &'a Resource>) -> Vec<Self> {
        resources.filter(|resource| is_ai_proxy(resource)).flat_map(providers).collect()
    }

    /// A text field.
    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        self.entry.node.get(key)?.as_str().filter(|text| !text.is_empty())
    }

    /// `type`.
    pub(crate) fn kind(&self) -> &'a str {
        self.text("type").unwrap_or_default()
    }

    /// Whether it has a token of its own.
    pub(crate) fn has_tokens(&self) -> bool {
        !texts(self.entry.node, "apiTokens").is_empty()
    }

    /// The place of `id`.
    pub(crate) fn id_cursor(&self) -> Cursor<'a> {
        self.entry.get("id").unwrap_or_else(|| self.entry.clone())
    }
}

fn is_ai_proxy(resource: &Resource) -> bool {
    let url = resource.root.get("spec").and_then(|spec| spec.get("url")).and_then(Node::as_str);
    match url {
        Some(url) => plugin_of_url(url).0 == "ai-proxy",
        None => resource.key.name.starts_with("ai-proxy"),
    }
}

fn providers(resource: &Resource) -> Vec<Provider<'_>> {
    let list = resource.spec().and_then(|spec| {
        let config = spec.get("pluginConfig").or_else(|| spec.get("defaultConfig"))?;
        config.get("providers")
    });
    let Some(list) = list else {
        return Vec::new();
    };
    list.items()
        .filter_map(|entry| {
            let id = scalar(entry.node.get("id")?)?;
            Some(Provider { resource, id, entry })
        })
        .collect()
}

/// The provider that a configuration activates: its id and where it stands.
pub(crate) fn active_provider<'a>(config: &Cursor<'a>) -> Option<(String, Cursor<'a>)> {
    let cursor = config.get("activeProviderId")?;
    Some((scalar(cursor.node)?, cursor))
}

/// The hosts of the services that enabled rules name, by the provider that
/// they activate.
pub(super) fn services_by_provider(plugins: &[Plugin<'_>]) -> HashMap<String, Vec<String>> {
    let mut services: HashMap<String, Vec<String>> = HashMap::new();
    let rules = plugins.iter().filter(|plugin| plugin.wasm.plugin == "ai-proxy");
    for rule in rules.flat_map(|plugin| &plugin.wasm.rules) {
        let Some((id, _)) = rule.config.as_ref().and_then(active_provider) else {
            continue;
        };
        let known = services.entry(id).or_default();
        for service in &rule.service {
            let host = split_service(service).0.to_ascii_lowercase();
            if !known.contains(&host) {
                known.push(host);
            }
        }
    }
    services
}

/// A text, or a number that ai-proxy reads as one.
fn scalar(node: &Node) -> Option<String> {
    match &node.value {
        Value::String(text) if !text.is_empty() => Some(text.to_string()),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_domain(listed: &str, host: &str, expected: bool) {
        assert_eq!(domain_covers(listed, host), expected, "{listed} {host}");
    }

    #[test]
    fn a_domain_covers_hosts_and_patterns() {
        check_domain("*", "*", true);
        check_domain("*", "a.example.com", true);
        check_domain("*.example.com", "a.b.example.com", true);
        check_domain("*.example.com", "*.b.example.com", true);
        check_domain("*.example.com", "example.com", false);
        check_domain("*.b.example.com", "*.example.com", false);
        check_domain("a.example.com", "*", false);
        check_domain("gate.*", "gate.example.com", true);
        check_domain("gate.*", "*.example.com", false);
        check_domain("a.example.com", "a.example.com", true);
    }

    #[test]
    fn a_service_is_listed_with_or_without_its_port() {
        assert!(service_covers("a.dns", "a.dns", Some(443)));
        assert!(service_covers("A.dns:443", "a.dns", Some(443)));
        assert!(!service_covers("a.dns:443", "a.dns", Some(80)));
        assert!(!service_covers("a.dns:443", "a.dns", None));
        assert!(!service_covers("b.dns", "a.dns", Some(443)));
    }

    #[test]
    fn a_rule_has_one_category() {
        let source = crate::Source { file: "x".into(), document: 0, at: Default::default() };
        let node = Node::default();
        let rule = |ingress: &[&'static str], domain: &[&'static str], service: &[&'static str]| {
            MatchRule {
                ingress: ingress.to_vec(),
                domain: domain.to_vec(),
                service: service.to_vec(),
                route_prefix: Vec::new(),
                config: None,
                cursor: Cursor::root(&node, &source),
                index: 0,
            }
        };
        let request = Request { route: "r", host: "h", service: "s.dns", port: Some(80) };
        let takes = |rule: MatchRule<'_>, is_go| matches(&rule, &request, is_go);
        // With an Ingress, the domain does not count, and the service does.
        assert!(takes(rule(&["r"], &["other"], &[]), true));
        assert!(!takes(rule(&["r"], &[], &["other.dns"]), true));
        assert!(takes(rule(&["r"], &[], &["s.dns:80"]), true));
        assert!(!takes(rule(&["other"], &["h"], &["s.dns"]), true));
        // Without, the SDKs disagree about which of the two counts.
        assert!(takes(rule(&[], &["h"], &["other.dns"]), true));
        assert!(!takes(rule(&[], &["h"], &["other.dns"]), false));
        assert!(takes(rule(&[], &["other"], &["s.dns"]), false));
        assert!(!takes(rule(&[], &[], &[]), true));
    }
}
