//! What the console keeps in ConfigMaps.

use crate::diagnostic::Diagnostic;
use crate::kind::config_map::{
    self, AI_ROUTE_PREFIX, DOMAIN_PREFIX, INTERNAL_SUFFIX, ai_route_json,
};
use crate::node::{Cursor, Node};
use crate::resource::Resource;

/// The name that stands for "no host".
pub(crate) const DEFAULT_DOMAIN: &str = "higress-default-domain";

/// A domain and its ConfigMap.
#[derive(Debug)]
pub(crate) struct Domain<'a> {
    pub(crate) resource: &'a Resource,
    /// The domain in lower case.
    pub(crate) text: String,
    /// `data.domain`.
    pub(crate) cursor: Cursor<'a>,
}

impl<'a> Domain<'a> {
    pub(super) fn new(resource: &'a Resource) -> Option<Self> {
        let cursor = config_map::domain_of(resource)?;
        let text = cursor.node.as_str()?.trim().to_ascii_lowercase();
        (!text.is_empty()).then_some(Self { resource, text, cursor })
    }

    /// Whether it is the one that stands for "no host".
    pub(crate) fn is_default(&self) -> bool {
        self.text == DEFAULT_DOMAIN
    }

    /// The name that its ConfigMap should have.
    pub(crate) fn config_map_name(&self) -> String {
        format!("{DOMAIN_PREFIX}{}", normalized_domain(&self.text))
    }
}

/// A domain as it stands in names and labels: a leading `*` is `wildcard`,
/// and no host at all is the default domain.
pub(crate) fn normalized_domain(domain: &str) -> String {
    match domain {
        "*" | "" => DEFAULT_DOMAIN.to_owned(),
        _ => match domain.strip_prefix('*') {
            Some(rest) => format!("wildcard{rest}"),
            None => domain.to_owned(),
        },
    }
}

/// The domain that a name or label stands for.
pub(crate) fn denormalized_domain(name: &str) -> String {
    match name.strip_prefix("wildcard.") {
        Some(rest) => format!("*.{rest}"),
        None => name.to_owned(),
    }
}

/// What an Ingress named `ai-route-….internal` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RoutePart<'n> {
    /// The Ingress of the AI route of this name.
    Main(&'n str),
    /// The fallback Ingress of the AI route of this name.
    Fallback(&'n str),
}

/// The name between `ai-route-` and `.internal`.
pub(super) fn ai_route_of_ingress(ingress: &str) -> Option<&str> {
    let name = ingress.strip_prefix(AI_ROUTE_PREFIX)?.strip_suffix(INTERNAL_SUFFIX)?;
    (!name.is_empty()).then_some(name)
}

/// An AI route and its ConfigMap.
#[derive(Debug)]
pub(crate) struct AiRoute<'a> {
    pub(crate) resource: &'a Resource,
    /// The name after `ai-route-`.
    pub(crate) name: &'a str,
    /// Why the JSON cannot be read.
    pub(crate) findings: Vec<Diagnostic>,
    json: Option<Node>,
}

impl<'a> AiRoute<'a> {
    pub(super) fn new(resource: &'a Resource) -> Option<Self> {
        let name = config_map::ai_route_name(resource)?;
        let mut findings = Vec::new();
        let json = ai_route_json(resource, &mut findings);
        Some(Self { resource, name, findings, json })
    }

    /// The name of its Ingress.
    pub(crate) fn ingress_name(&self) -> String {
        format!("{AI_ROUTE_PREFIX}{}{INTERNAL_SUFFIX}", self.name)
    }

    /// The name of its fallback Ingress.
    pub(crate) fn fallback_name(&self) -> String {
        format!("{AI_ROUTE_PREFIX}{}.fallback{INTERNAL_SUFFIX}", self.name)
    }

    /// A cursor on the JSON.
    pub(crate) fn json(&self) -> Option<Cursor<'_>> {
        let node = self.json.as_ref()?;
        Some(Cursor { node, source: &self.resource.source, path: "data.data".into() })
    }

    /// `domains`, in lower case.
    pub(crate) fn domains(&self) -> Vec<String> {
        let domains = self.json().and_then(|json| json.get("domains"));
        domains
            .iter()
            .flat_map(|list| list.items().collect::<Vec<_>>())
            .filter_map(|item| item.node.as_str().map(str::to_ascii_lowercase))
            .collect()
    }

    /// `upstreams`, each with its provider's name.
    pub(crate) fn upstreams(&self) -> Vec<(Cursor<'_>, &str)> {
        upstreams(self.json())
    }

    /// `fallbackConfig` where it is enabled.
    pub(crate) fn fallback(&self) -> Option<Cursor<'_>> {
        self.json()?.get("fallbackConfig").filter(is_enabled)
    }

    /// The upstreams of the fallback where it is enabled.
    pub(crate) fn fallback_upstreams(&self) -> Vec<(Cursor<'_>, &str)> {
        upstreams(self.fallback())
    }

    /// `authConfig` where it is enabled.
    pub(crate) fn auth(&self) -> Option<Cursor<'_>> {
        self.json()?.get("authConfig").filter(is_enabled)
    }
}

fn is_enabled(config: &Cursor<'_>) -> bool {
    config.node.get("enabled").and_then(Node::as_bool) == Some(true)
}

fn upstreams(owner: Option<Cursor<'_>>) -> Vec<(Cursor<'_>, &str)> {
    let Some(list) = owner.and_then(|owner| owner.get("upstreams")) else {
        return Vec::new();
    };
    list.items()
        .filter_map(|item| {
            let provider = item.node.get("provider")?.as_str()?;
            Some((item, provider))
        })
        .collect()
}
