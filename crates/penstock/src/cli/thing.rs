//! What the verbs that show things have in common: what a KIND means, how
//! things are found by name, and how they hang together.
//!
//! Things of an intent are taken from the exported intent, so that they have
//! the names and fields of the file that the user writes. Secrets are hashes.

use std::borrow::Cow;

use penstock_manifest::diagnostic::nearest;
use penstock_manifest::edit::ThingKind;
use penstock_manifest::intent::export::{self, Secrets};
use penstock_manifest::kind::{KINDS, KindRow};
use penstock_manifest::{Diagnostic, Listing, Node, Resource, Severity};

use crate::target::{Failure, FailureKind};

/// A kind of thing in an intent.
#[derive(Debug, PartialEq, Eq)]
pub struct ThingRow {
    /// What it is called in a change.
    pub kind: ThingKind,
    /// Its name.
    pub name: &'static str,
    /// The field of an intent that lists such things.
    pub section: &'static str,
    /// Other names, in lower case and without dashes.
    aliases: &'static [&'static str],
}

/// Every kind of thing, in the order of an intent.
pub const THINGS: &[ThingRow] = &[
    ThingRow {
        kind: ThingKind::Domain,
        name: "domain",
        section: "domains",
        aliases: &["domains", "dom"],
    },
    ThingRow {
        kind: ThingKind::Provider,
        name: "provider",
        section: "providers",
        aliases: &["providers", "prov"],
    },
    ThingRow {
        kind: ThingKind::Consumer,
        name: "consumer",
        section: "consumers",
        aliases: &["consumers", "cons"],
    },
    ThingRow {
        kind: ThingKind::AiRoute,
        name: "ai-route",
        section: "aiRoutes",
        aliases: &["airoute", "airoutes", "route", "routes", "ar"],
    },
    ThingRow {
        kind: ThingKind::ServiceSource,
        name: "service-source",
        section: "serviceSources",
        aliases: &["servicesource", "servicesources", "source", "sources", "ss"],
    },
];

/// Kubernetes' own short names.
const SHORT: &[(&str, &str)] = &[
    ("cm", "ConfigMap"),
    ("ep", "Endpoints"),
    ("ing", "Ingress"),
    ("no", "Node"),
    ("ns", "Namespace"),
    ("po", "Pod"),
    ("svc", "Service"),
];

/// What a KIND on the command line means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Things of an intent.
    Thing(&'static ThingRow),
    /// Resources.
    Resource(&'static KindRow),
}

impl Kind {
    /// The kind of a word: singular, plural or short, in any case.
    pub fn parse(word: &str) -> Result<Self, Failure> {
        let plain = word.to_ascii_lowercase().replace('-', "");
        let is_thing = |row: &&ThingRow| row.name == plain || row.aliases.contains(&&*plain);
        if let Some(row) = THINGS.iter().find(is_thing) {
            return Ok(Self::Thing(row));
        }
        let short = SHORT.iter().find(|(short, _)| *short == plain).map(|(_, kind)| *kind);
        let is_kind = |row: &&KindRow| {
            row.plural == plain || row.kind.eq_ignore_ascii_case(&plain) || Some(row.kind) == short
        };
        if let Some(row) = KINDS.iter().find(is_kind) {
            return Ok(Self::Resource(row));
        }
        let names = THINGS.iter().flat_map(|row| row.aliases.iter().copied().chain([row.name]));
        let names = names.chain(KINDS.iter().map(|row| row.plural));
        let hint = match nearest(&word.to_ascii_lowercase(), names) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => {
                let names: Vec<&str> = THINGS.iter().map(|row| row.name).collect();
                format!("write {}, or a kind of Kubernetes", names.join(", "))
            }
        };
        let message = format!("there is no kind `{word}`: {hint}");
        Err(Failure::new(FailureKind::Invalid, message))
    }

    /// Its name as it is shown.
    pub fn name(self) -> Cow<'static, str> {
        match self {
            Self::Thing(row) => row.name.into(),
            Self::Resource(row) => row.kind.to_ascii_lowercase().into(),
        }
    }
}

/// The things of a listing.
pub struct Things<'a> {
    /// Where they come from.
    pub listing: &'a Listing,
    /// The exported intent, with hashes for secrets.
    pub intent: Node,
    /// What of them cannot be shown.
    pub findings: Vec<Diagnostic>,
}

impl<'a> Things<'a> {
    /// Those of a listing.
    pub fn of(listing: &'a Listing) -> Self {
        let exported = export::from_resources(listing, Secrets::Redact);
        let broken = listing.diagnostics.iter().filter(|found| found.severity == Severity::Error);
        let mut findings: Vec<Diagnostic> = broken.cloned().collect();
        findings.extend(exported.diagnostics);
        Self { listing, intent: exported.document, findings }
    }

    /// The things of a kind, or the one of a name.
    pub fn find(&self, row: &ThingRow, name: Option<&str>) -> Result<Vec<&Node>, Failure> {
        let all = self.all(row);
        let Some(name) = name else { return Ok(all.iter().collect()) };
        let found: Vec<&Node> = all.iter().filter(|thing| name_of(thing) == name).collect();
        match found.is_empty() {
            true => Err(no_such(row.name, name, all.iter().map(name_of))),
            false => Ok(found),
        }
    }

    /// The things of a kind.
    pub fn all(&self, row: &ThingRow) -> &[Node] {
        self.intent.get(row.section).and_then(Node::as_list).unwrap_or_default()
    }

    /// The resources of a kind, or those of a name: `NAME` or
    /// `NAMESPACE/NAME`.
    pub fn resources(
        &self,
        row: &KindRow,
        name: Option<&str>,
    ) -> Result<Vec<&'a Resource>, Failure> {
        let all = self.listing.resources.iter().map(|resource| &**resource);
        let all: Vec<&Resource> = all.filter(|resource| &*resource.key.kind == row.kind).collect();
        let Some(wanted) = name else { return Ok(all) };
        let is_wanted = |resource: &&&Resource| match wanted.split_once('/') {
            Some((namespace, name)) => {
                &*resource.key.namespace == namespace && &*resource.key.name == name
            }
            None => &*resource.key.name == wanted,
        };
        let found: Vec<&Resource> = all.iter().filter(is_wanted).copied().collect();
        match found.is_empty() {
            true => Err(no_such(row.kind, wanted, all.iter().map(|r| &*r.key.name))),
            false => Ok(found),
        }
    }

    /// The AI routes that use a thing.
    pub fn routes_of(&self, row: &ThingRow, name: &str) -> Vec<&str> {
        let routes = self.intent.get("aiRoutes").and_then(Node::as_list).unwrap_or_default();
        let uses = |route: &&Node| match row.name {
            "domain" => texts(route.get("domains")).contains(&name),
            "provider" => {
                upstreams(route).chain(fallbacks(route)).any(|one| field(one, "provider") == name)
            }
            "consumer" => allowed(route).is_some_and(|allowed| allowed.contains(&name)),
            _ => false,
        };
        routes.iter().filter(uses).map(name_of).collect()
    }
}

/// There is nothing of a name; perhaps another one was meant.
pub fn no_such<'n>(kind: &str, name: &str, names: impl Iterator<Item = &'n str>) -> Failure {
    let hint = match nearest(name, names) {
        Some(nearest) => format!(": did you mean `{nearest}`?"),
        None => String::new(),
    };
    Failure::new(FailureKind::NotFound, format!("there is no {kind} `{name}`{hint}"))
}

/// The name of a thing.
pub fn name_of(thing: &Node) -> &str {
    field(thing, "name")
}

/// A text of a thing, empty where there is none.
pub fn field<'n>(thing: &'n Node, name: &str) -> &'n str {
    thing.get(name).and_then(Node::as_str).unwrap_or_default()
}

/// A list of texts, empty where there is none.
pub fn texts(list: Option<&Node>) -> Vec<&str> {
    let list = list.and_then(Node::as_list).unwrap_or_default();
    list.iter().filter_map(Node::as_str).collect()
}

/// The upstreams of an AI route.
pub fn upstreams(route: &Node) -> impl Iterator<Item = &Node> {
    route.get("upstreams").and_then(Node::as_list).unwrap_or_default().iter()
}

/// The upstreams of its fallback, if that is enabled.
pub fn fallbacks(route: &Node) -> impl Iterator<Item = &Node> {
    let fallback = route.get("fallbackConfig");
    let fallback = fallback.filter(|f| f.get("enabled").and_then(Node::as_bool) == Some(true));
    let upstreams = fallback.and_then(|fallback| fallback.get("upstreams")?.as_list());
    upstreams.unwrap_or_default().iter()
}

/// The consumers that an AI route allows; none where it asks for nobody.
pub fn allowed(route: &Node) -> Option<Vec<&str>> {
    let auth = route.get("authConfig")?;
    let is_enabled = auth.get("enabled").and_then(Node::as_bool) == Some(true);
    is_enabled.then(|| texts(auth.get("allowedConsumers")))
}

/// The registry of McpBridge `default` of a name.
pub fn registry<'a>(listing: &'a Listing, name: &str) -> Option<&'a Node> {
    let is_bridge = |resource: &&std::sync::Arc<Resource>| {
        &*resource.key.kind == "McpBridge" && &*resource.key.name == "default"
    };
    let bridge = listing.resources.iter().find(is_bridge)?;
    let registries = bridge.root.get("spec")?.get("registries")?.as_list()?;
    registries.iter().find(|registry| name_of(registry) == name)
}

/// Where the requests of a provider go.
pub fn endpoint(listing: &Listing, provider: &Node) -> Option<String> {
    let port = |node: &Node, key: &str| Some(node.get(key)?.to_json().to_string());
    let registry = registry(listing, &format!("llm-{}.internal", name_of(provider)));
    if let Some(registry) = registry {
        let protocol = match field(registry, "protocol") {
            "" => "http",
            protocol => protocol,
        };
        let domain = field(registry, "domain");
        // Addresses have ports of their own.
        return Some(match field(registry, "type") {
            "static" => format!("{protocol}://{domain}"),
            _ => format!("{protocol}://{domain}:{}", port(registry, "port")?),
        });
    }
    let raw = provider.get("rawConfigs")?;
    let service = raw.get("openaiCustomServiceName")?.as_str()?;
    Some(format!("{service}:{}", port(raw, "openaiCustomServicePort")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_several_names() {
        let check = |words: &str, expected: &str| {
            for word in words.split(' ') {
                assert_eq!(Kind::parse(word).unwrap().name(), expected, "{word}");
            }
        };
        check("domain domains Domains dom", "domain");
        check("ai-route ai-routes aiRoutes airoute route routes ar", "ai-route");
        check("service-source service-sources serviceSources sources ss", "service-source");
        check("ingress ingresses Ingress ing", "ingress");
        check("wasmplugin WasmPlugins", "wasmplugin");
        check("configmap cm", "configmap");
        check("service services svc", "service");
        let unknown = Kind::parse("provder").unwrap_err();
        assert_eq!(unknown.kind, FailureKind::Invalid);
        assert_eq!(unknown.message, "there is no kind `provder`: did you mean `provider`?");
    }

    #[test]
    fn no_name_means_two_kinds() {
        let mut names: Vec<String> = THINGS
            .iter()
            .flat_map(|row| row.aliases.iter().copied().chain([row.name]))
            .map(str::to_owned)
            .chain(SHORT.iter().map(|(short, _)| (*short).to_owned()))
            .chain(KINDS.iter().map(|row| row.plural.to_owned()))
            .collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
