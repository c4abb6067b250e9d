//! Consumers that come and go.

use std::collections::{BTreeMap, BTreeSet};

use super::draft::{Draft, key};
use super::key_auth::{self, Definition, Scope};
use super::mention::{self, record};
use super::secret::{self, checked};
use super::{EditError, ThingKind, texts_in};
use crate::intent::consumer::{KeySource, fault_of_name, is_key};
use crate::intent::secret::{SecretText, SecretValue, resolve, secret_name};
use crate::intent::{Consumer, Intent, Place};
use crate::ledger::{Ledger, Owned};
use crate::merge;
use crate::node::{Map, Node, Value};
use crate::render::{self, gson, object};
use crate::resource::{Resource, ResourceKey};
use crate::template::Secrets;

/// Adds a consumer as an intent would, with its key in a Secret.
pub(super) fn add(
    draft: &mut Draft<'_>,
    name: &str,
    source: &KeySource,
    value: &str,
) -> Result<(), EditError> {
    let what = format!("consumer `{name}`");
    if let Some(why) = fault_of_name(name) {
        return Err(EditError::Invalid { what, why });
    }
    if let KeySource::Header(key) | KeySource::Query(key) = source
        && !is_key(key)
    {
        let why = "cannot be the name of a header or parameter".to_owned();
        return Err(EditError::Invalid { what: format!("`{key}`"), why });
    }
    let value = checked("the key", source.prefix(), value)?;
    let known = key_auth::definitions(draft)?;
    if known.iter().any(|definition| definition.name() == name) {
        return Err(EditError::Exists { what });
    }
    let plugin = key("WasmPlugin", "key-auth.internal");
    if draft.root(&plugin).is_some_and(key_auth::is_go) {
        let why = "takes consumers of another shape";
        return Err(EditError::GoBuild { plugin, why });
    }
    let text = SecretText::Env("KEY".into());
    let values = vec![SecretValue { text, place: Place::nowhere() }];
    let consumer =
        Consumer { name: name.into(), source: source.clone(), values, place: Place::nowhere() };
    check_free(&known, draft, &format!("{}{value}", consumer.prefix()))?;
    let secret = key("Secret", &consumer.secret_name());
    if draft.before(&secret).is_some() && !draft.is_ours(&secret) {
        return Err(EditError::Exists { what: secret.to_string() });
    }
    let intent = Intent { consumers: vec![consumer], ..Intent::default() };
    let mut desired = render::render(&intent, &render::Options::default()).resources;
    desired.extend(resolve(&intent, |_| Ok(value.to_owned())).0);
    add_desired(draft, &desired);
    Ok(())
}

/// A key must identify one consumer: with one key in two, Higress forgets all
/// of them, and penstock lets neither in.
pub(super) fn check_free(
    known: &[Definition<'_>],
    draft: &Draft<'_>,
    credential: &str,
) -> Result<(), EditError> {
    let secrets = Secrets::of(&draft.actual.resources);
    let has = |definition: &&Definition<'_>| {
        definition
            .credentials()
            .any(|text| definition.resolved(&secrets, text).as_deref() == Some(credential))
    };
    match known.iter().find(has) {
        Some(owner) => Err(EditError::Taken { owner: owner.name().to_owned() }),
        None => Ok(()),
    }
}

/// Merges the resources of one consumer. What else a plugin has is nobody's
/// for that, so that its settings are only added to.
fn add_desired(draft: &mut Draft<'_>, desired: &[Resource]) {
    let mut ledger = Ledger::default();
    for resource in desired {
        if let Some(owned) = draft.ledger.resources.get(&resource.key) {
            let is_secret = &*resource.key.kind == "Secret";
            let whole = owned.whole.clone().filter(|_| is_secret);
            ledger.resources.insert(resource.key.clone(), Owned { whole, ..owned.clone() });
        }
    }
    let merged = merge::merge(desired, draft.actual, &ledger, &merge::Options::default());
    for outcome in merged.outcomes {
        if let merge::After::Written(root) = outcome.after {
            draft.set(&outcome.key, root);
        }
    }
    for (key, owned) in merged.ledger.resources {
        let last = draft.ledger.resources.get(&key).and_then(|owned| owned.whole.clone());
        let whole = owned.whole.or(last);
        draft.ledger.resources.insert(key, Owned { whole, ..owned });
    }
    draft.diagnostics.extend(merged.diagnostics);
}

/// Removes a consumer that no route allows.
pub(super) fn delete(draft: &mut Draft<'_>, name: &str) -> Result<(), EditError> {
    let known = key_auth::definitions(draft)?;
    if !known.iter().any(|definition| definition.name() == name) {
        let names = known.iter().map(Definition::name);
        return Err(EditError::not_found(ThingKind::Consumer, name, names));
    }
    let by = users(draft, name)?;
    if !by.is_empty() {
        return Err(EditError::Used { kind: ThingKind::Consumer, name: name.to_owned(), by });
    }
    remove(draft, name)?;
    Ok(())
}

/// Removes a consumer wherever it is known or allowed.
pub(super) fn revoke(draft: &mut Draft<'_>, name: &str) -> Result<(), EditError> {
    let known = key_auth::definitions(draft)?;
    let names: Vec<String> = known.iter().map(|d| d.name().to_owned()).collect();
    if remove(draft, name)? {
        return Ok(());
    }
    Err(EditError::not_found(ThingKind::Consumer, name, names.iter().map(String::as_str)))
}

/// The routes that allow a consumer.
fn users(draft: &Draft<'_>, name: &str) -> Result<Vec<String>, EditError> {
    let mut users = BTreeSet::new();
    let allows = |config: &Node| texts_in(config, "allow").any(|allowed| allowed == name);
    let plugins =
        draft.of_kind("WasmPlugin").filter(|(r, _)| key_auth::is_plugin(r, key_auth::NAME));
    for (resource, root) in plugins {
        for (_, scope) in key_auth::configs(root).into_iter().filter(|(c, _)| allows(c)) {
            let ingresses: Vec<String> = match scope {
                Scope::Rule(rule) => texts_in(rule, "ingress").map(mention::of_ingress).collect(),
                Scope::Default | Scope::Other => Vec::new(),
            };
            if ingresses.is_empty() {
                users.insert(resource.key.to_string());
            }
            users.extend(ingresses);
        }
    }
    for (resource, root) in draft.of_kind("ConfigMap") {
        if let Some(record) = record(resource, root)?
            && allowed_in(&record).any(|allowed| allowed == name)
        {
            users.insert(mention::name_of(&resource.key));
        }
    }
    Ok(users.into_iter().collect())
}

fn allowed_in(record: &Node) -> impl Iterator<Item = &str> {
    record.get("authConfig").into_iter().flat_map(|auth| texts_in(auth, "allowedConsumers"))
}

/// Removes a consumer's definitions, its name in allow lists and its Secret;
/// whether there was anything.
fn remove(draft: &mut Draft<'_>, name: &str) -> Result<bool, EditError> {
    let mut changed: BTreeMap<ResourceKey, (Node, Removed)> = BTreeMap::new();
    for (resource, root) in
        draft.of_kind("WasmPlugin").filter(|(r, _)| key_auth::is_plugin(r, key_auth::NAME))
    {
        let mut root = root.clone();
        let mut removed = Removed::default();
        key_auth::change_configs(&mut root, &mut |config| removed.take(config, name));
        if removed.empties && key_auth::is_go(&root) {
            let why = "needs somebody in every list of consumers";
            return Err(EditError::GoBuild { plugin: resource.key.clone(), why });
        }
        if removed.entries + removed.names > 0 {
            changed.insert(resource.key.clone(), (root, removed));
        }
    }
    let mut found = !changed.is_empty();
    for (key, (root, removed)) in changed {
        draft.set(&key, root);
        draft.count_removed(removed.entries);
        draft.disown_entry(&key, &merge::CONSUMERS.path_text(), name);
    }
    found |= remove_from_records(draft, name)?;
    if found {
        let secret = secret_name("consumer", name);
        secret::drop_unused(draft, &secret);
        secret::remove_empty(draft, &secret);
    }
    Ok(found)
}

/// What was taken out of a plugin.
#[derive(Default)]
struct Removed {
    entries: usize,
    names: usize,
    /// Whether a list has nothing left.
    empties: bool,
}

impl Removed {
    /// Lists that become empty stay: without `allow` a rule means the same,
    /// but without `consumers` Higress has no configuration to enforce.
    fn take(&mut self, config: &mut Map, name: &str) {
        let is_entry = |entry: &Node| entry.get("name").and_then(Node::as_str) == Some(name);
        self.entries += self.take_from(config, "consumers", &is_entry);
        self.names += self.take_from(config, "allow", &|entry| entry.as_str() == Some(name));
    }

    fn take_from(&mut self, config: &mut Map, list: &str, goes: &dyn Fn(&Node) -> bool) -> usize {
        let entry = config.entries.iter_mut().find(|entry| &*entry.key == list);
        let Some(Value::List(list)) = entry.map(|entry| &mut entry.node.value) else { return 0 };
        let count = list.len();
        list.retain(|entry| !goes(entry));
        self.empties |= count > 0 && list.is_empty();
        count - list.len()
    }
}

/// Takes a name out of the console's records of AI routes.
fn remove_from_records(draft: &mut Draft<'_>, name: &str) -> Result<bool, EditError> {
    let mut changed = Vec::new();
    for (resource, root) in draft.of_kind("ConfigMap") {
        let Some(mut record) = record(resource, root)? else { continue };
        let list = record.get_mut("authConfig").and_then(|auth| auth.get_mut("allowedConsumers"));
        let Some(Value::List(list)) = list.map(|list| &mut list.value) else { continue };
        let count = list.len();
        list.retain(|allowed| allowed.as_str() != Some(name));
        if list.len() == count {
            continue;
        }
        let mut root = root.clone();
        if let Some(data) = root.get_mut("data").and_then(|data| data.get_mut("data")) {
            *data = object::text(gson::write(&record));
        }
        changed.push((resource.key.clone(), root));
    }
    let found = !changed.is_empty();
    for (key, root) in changed {
        draft.set(&key, root);
    }
    Ok(found)
}
