//! The lists of shared resources whose entries have owners of their own.

use std::sync::Arc;

use crate::node::{Node, Value};
use crate::resource::{Listing, Resource};

/// One such list.
#[derive(Debug)]
pub struct ListRow {
    /// The kind that has it.
    pub kind: &'static str,
    /// Where it stands.
    pub path: &'static [&'static str],
    /// The field that names an entry; none for match rules, which are named
    /// by what they apply to.
    pub id_field: Option<&'static str>,
    /// What the console writes into an entry: taken away from an adopted one
    /// where it is not desired. The beginnings of key paths.
    pub managed: &'static [&'static str],
}

/// The services that McpBridge knows.
pub(crate) const REGISTRIES: ListRow = ListRow {
    kind: "McpBridge",
    path: &["spec", "registries"],
    id_field: Some("name"),
    managed: &["name", "type", "domain", "port", "protocol", "sni", "proxyName", "vport"],
};

/// The proxy servers that McpBridge knows.
const PROXIES: ListRow =
    ListRow { kind: "McpBridge", path: &["spec", "proxies"], id_field: Some("name"), managed: &[] };

/// The providers of ai-proxy.
pub(crate) const PROVIDERS: ListRow = ListRow {
    kind: "WasmPlugin",
    path: &["spec", "defaultConfig", "providers"],
    id_field: Some("id"),
    managed: &["id", "type", "protocol", "apiTokens", "failover", "retryOnFailure"],
};

/// The consumers of key-auth.
pub(crate) const CONSUMERS: ListRow = ListRow {
    kind: "WasmPlugin",
    path: &["spec", "defaultConfig", "consumers"],
    id_field: Some("name"),
    managed: &["name", "keys", "credentials", "credential", "in_header", "in_query"],
};

/// What a plugin does where.
pub(crate) const MATCH_RULES: ListRow = ListRow {
    kind: "WasmPlugin",
    path: &["spec", "matchRules"],
    id_field: None,
    managed: &[
        "ingress",
        "domain",
        "service",
        "configDisable",
        "config.allow",
        "config.activeProviderId",
        "config.modelMapping",
    ],
};

/// Every list whose entries have owners of their own.
pub const LISTS: &[ListRow] = &[REGISTRIES, PROXIES, PROVIDERS, CONSUMERS, MATCH_RULES];

impl ListRow {
    /// The key path as one text.
    pub fn path_text(&self) -> String {
        self.path.join(".")
    }

    /// What names an entry of this list.
    pub fn identity(&self, entry: &Node) -> Option<String> {
        match self.id_field {
            Some(field) => entry.get(field)?.as_str().map(str::to_owned),
            None => targets_of(entry),
        }
    }

    /// The entries of a resource.
    pub(crate) fn entries<'n>(&self, root: &'n Node) -> &'n [Node] {
        find(root, self).and_then(Node::as_list).unwrap_or_default()
    }

    /// The entries of a resource, to be changed.
    pub(crate) fn entries_mut<'n>(&self, root: &'n mut Node) -> Option<&'n mut Vec<Node>> {
        let list = self.path.iter().try_fold(root, |node, key| node.get_mut(key))?;
        match &mut list.value {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// Whether the console writes a field of an entry.
    pub(super) fn is_managed(&self, path: &str) -> bool {
        self.managed.iter().any(|managed| path.starts_with(managed))
    }
}

/// The lists of a kind.
pub fn lists_of(kind: &str) -> impl Iterator<Item = &'static ListRow> {
    let kind: Option<&'static str> = LISTS.iter().map(|row| row.kind).find(|known| *known == kind);
    LISTS.iter().filter(move |row| Some(row.kind) == kind)
}

/// What names an entry of a list at a key path, if it is one of [`LISTS`].
pub fn identity_of(kind: &str, path: &str, entry: &Node) -> Option<String> {
    let row = lists_of(kind).find(|row| row.path_text() == path)?;
    row.identity(entry)
}

/// Whether resources of a kind have several owners.
pub(super) fn is_shared(kind: &str) -> bool {
    lists_of(kind).next().is_some()
}

/// What a match rule applies to: `service=a,b;ingress=c`.
fn targets_of(rule: &Node) -> Option<String> {
    let mut id = String::new();
    for key in ["service", "ingress", "domain"] {
        let mut names = names_of(rule, key);
        if names.is_empty() {
            continue;
        }
        names.sort_unstable();
        names.dedup();
        if !id.is_empty() {
            id.push(';');
        }
        id.push_str(key);
        id.push('=');
        id.push_str(&names.join(","));
    }
    (!id.is_empty()).then_some(id)
}

fn names_of<'a>(rule: &'a Node, key: &str) -> Vec<&'a str> {
    let list = rule.get(key).and_then(Node::as_list).unwrap_or_default();
    list.iter().filter_map(Node::as_str).collect()
}

/// Where a match rule stands among others. A list that is empty comes after
/// one that is not, but for domains before.
pub(super) type RuleRank = (bool, [(bool, Vec<Box<str>>); 3]);

/// The console's order: services before routes before domains, rules without
/// target last (Higress console: KubernetesModelConverter.compareMatchRules).
pub(super) fn rule_rank(rule: &Node) -> RuleRank {
    let names = |key| names_of(rule, key).into_iter().map(Box::from).collect::<Vec<Box<str>>>();
    let (service, ingress, domain) = (names("service"), names("ingress"), names("domain"));
    let is_empty = service.is_empty() && ingress.is_empty() && domain.is_empty();
    let rank = [
        (service.is_empty(), service),
        (ingress.is_empty(), ingress),
        (!domain.is_empty(), domain),
    ];
    (is_empty, rank)
}

/// The list itself.
pub(super) fn find<'a>(root: &'a Node, row: &ListRow) -> Option<&'a Node> {
    row.path.iter().try_fold(root, |node, key| node.get(key))
}

/// Takes the list out of a tree and returns its entries by their names.
pub(super) fn take(root: &mut Node, row: &ListRow) -> Vec<(String, Node)> {
    let Some((last, parents)) = row.path.split_last() else { return Vec::new() };
    let mut node = root;
    for key in parents {
        let Value::Map(map) = &mut node.value else { return Vec::new() };
        let Some(entry) = map.entries.iter_mut().find(|entry| &*entry.key == *key) else {
            return Vec::new();
        };
        node = &mut entry.node;
    }
    let Value::Map(map) = &mut node.value else { return Vec::new() };
    let Some(Node { value: Value::List(list), .. }) = map.remove(last) else {
        return Vec::new();
    };
    list.into_iter().filter_map(|entry| Some((row.identity(&entry)?, entry))).collect()
}

/// Whether none of the lists of a resource has an entry.
pub(super) fn has_no_entries(root: &Node, kind: &str) -> bool {
    lists_of(kind).all(|row| find(root, row).and_then(Node::as_list).is_none_or(<[Node]>::is_empty))
}

/// The object of a plugin that the console's plugin pages show, under the
/// name that its version has there.
pub(crate) fn same_plugin<'a>(
    desired: &Resource,
    actual: &'a Listing,
) -> Option<&'a Arc<Resource>> {
    let is_internal = |resource: &Resource| resource.key.name.ends_with(".internal");
    if &*desired.key.kind != "WasmPlugin" || is_internal(desired) {
        return None;
    }
    let name = desired.label("higress.io/wasm-plugin-name")?;
    actual.resources.iter().find(|resource| {
        &*resource.key.kind == "WasmPlugin"
            && resource.key.namespace == desired.key.namespace
            && !is_internal(resource)
            && resource.label("higress.io/wasm-plugin-name") == Some(name)
    })
}
