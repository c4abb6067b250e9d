//! A resource that several owners write: entry by entry.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::list::{self, ListRow};
use super::{Merge, entry};
use crate::diagnostic::{Diagnostic, MERGE_CONFLICT};
use crate::ledger::{Fields, Owned};
use crate::node::{Map, Node, Value};
use crate::resource::Resource;

/// Settings of key-auth that others may have chosen otherwise; ours only
/// stand where there is none.
const OTHERS_SETTINGS: &[&str] = &["global_auth", "allow", "keys"];

/// One list of a resource.
#[derive(Clone, Copy)]
struct ListPlace<'a> {
    row: &'a ListRow,
    /// Our entries, with the fields that we wrote last.
    last: &'a BTreeMap<String, Fields>,
    before: &'a Resource,
}

impl Merge<'_> {
    /// What becomes of a shared resource and what of it is penstock's then.
    /// Without `desired`, everything of it that is penstock's goes.
    pub(super) fn shared(
        &mut self,
        desired: Option<&Resource>,
        before: &Arc<Resource>,
        owned: &Owned,
    ) -> (Node, Owned) {
        let mut wanted = desired.map(|desired| desired.root.clone());
        let mut lists: Vec<(&ListRow, Vec<(String, Node)>)> = Vec::new();
        for row in list::lists_of(&before.key.kind) {
            let entries = wanted.as_mut().map(|root| list::take(root, row));
            lists.push((row, entries.unwrap_or_default()));
        }
        let mut now = Owned::default();
        let mut after = match (&wanted, &owned.whole) {
            (Some(wanted), Some(last)) => {
                let (node, fields) = self.own_shared(wanted, before, owned, last);
                now.whole = Some(fields);
                node
            }
            (Some(wanted), None) => self.with_settings(wanted, before, owned),
            (None, _) => {
                now.whole = owned.whole.clone();
                before.root.clone()
            }
        };
        for (row, entries) in lists {
            let path = row.path_text();
            let empty = BTreeMap::new();
            let last = owned.entries.get(&path).unwrap_or(&empty);
            let place = ListPlace { row, last, before };
            let ours = self.list(&place, entries, &mut after);
            if !ours.is_empty() {
                now.entries.insert(path, ours);
            }
        }
        switch_off_without_providers(before, &mut after);
        (after, now)
    }

    /// What is outside the entries of a shared resource that penstock made.
    /// The global part stays as long as an entry is in it: without it the
    /// rules that still need its consumers would stand alone.
    fn own_shared(
        &mut self,
        wanted: &Node,
        before: &Resource,
        owned: &Owned,
        last: &Fields,
    ) -> (Node, Fields) {
        let spec = wanted.get("spec");
        let has_default = spec.is_some_and(|spec| spec.get("defaultConfig").is_some());
        if has_default || !self.keeps_global_entry(before, owned) {
            let is_ours = |path: &str| last.contains(path);
            let node = entry::merge(&before.root, wanted, &is_ours);
            return (node, self.fields_of(wanted));
        }
        let mut wanted = wanted.clone();
        let there = before.root.get("spec");
        for key in ["defaultConfig", "defaultConfigDisable"] {
            if let Some(node) = there.and_then(|spec| spec.get(key)) {
                set_in(&mut wanted, &["spec", key], node.clone());
            }
        }
        let is_ours = |path: &str| last.contains(path);
        (entry::merge(&before.root, &wanted, &is_ours), last.clone())
    }

    /// Whether an entry of the global part stays when none is desired.
    fn keeps_global_entry(&self, before: &Resource, owned: &Owned) -> bool {
        list::lists_of(&before.key.kind).filter(|row| row.id_field.is_some()).any(|row| {
            let ours = owned.entries.get(&row.path_text());
            let goes = |entry: &Node| {
                self.options.prune
                    && row
                        .identity(entry)
                        .is_some_and(|id| ours.is_some_and(|ours| ours.contains_key(&id)))
            };
            let entries = list::find(&before.root, row).and_then(Node::as_list);
            entries.unwrap_or_default().iter().any(|entry| !goes(entry))
        })
    }

    /// The parts of `spec` that our entries need, where they are not there.
    fn with_settings(&mut self, wanted: &Node, before: &Arc<Resource>, owned: &Owned) -> Node {
        let mut after = before.root.clone();
        let Some(spec) = wanted.get("spec") else { return after };
        let config = spec.get("defaultConfig").and_then(Node::as_map);
        let Some(config) = config.filter(|_| &*before.key.kind == "WasmPlugin") else {
            return after;
        };
        if before.root.get("spec").is_some_and(|spec| spec.get("pluginConfig").is_some()) {
            self.setting_conflict(
                before,
                "spec.pluginConfig",
                "makes Higress ignore everything else",
            );
            return after;
        }
        if self.opens_everything(config, before, owned) {
            return after;
        }
        let there = before.root.get("spec").and_then(|spec| spec.get("defaultConfig"));
        let mut merged = there.and_then(Node::as_map).cloned().unwrap_or_default();
        for setting in &config.entries {
            match merged.get(&setting.key) {
                None => merged.set(&setting.key, setting.node.clone()),
                Some(node) if *node == setting.node => {}
                Some(_) if OTHERS_SETTINGS.contains(&&*setting.key) => {}
                Some(_) if self.options.adopt.takes(&before.key.to_string()) => {
                    merged.set(&setting.key, setting.node.clone());
                }
                Some(_) => {
                    let path = format!("spec.defaultConfig.{}", setting.key);
                    self.setting_conflict(before, &path, "has another value");
                }
            }
        }
        set_in(&mut after, &["spec", "defaultConfig"], Node::synthetic(Value::Map(merged)));
        self.switch_on(before, owned, &mut after);
        after
    }

    /// Our entries need the global part. Switching it on must not bring
    /// others' entries back to life.
    fn switch_on(&mut self, before: &Arc<Resource>, owned: &Owned, after: &mut Node) {
        let spec = before.root.get("spec");
        let is_off = spec.and_then(|spec| spec.get("defaultConfigDisable")?.as_bool());
        if is_off == Some(false) {
            return;
        }
        let has_others = is_off == Some(true)
            && list::lists_of("WasmPlugin").filter(|row| row.id_field.is_some()).any(|row| {
                let ours = owned.entries.get(&row.path_text());
                let is_ours = |entry: &Node| {
                    row.identity(entry)
                        .is_some_and(|id| ours.is_some_and(|ours| ours.contains_key(&id)))
                };
                let entries = list::find(&before.root, row).and_then(Node::as_list);
                entries.unwrap_or_default().iter().any(|entry| !is_ours(entry))
            });
        if has_others && !self.options.adopt.takes(&before.key.to_string()) {
            self.setting_conflict(
                before,
                "spec.defaultConfigDisable",
                "switches the entries of others off",
            );
            return;
        }
        set_in(after, &["spec", "defaultConfigDisable"], Node::synthetic(Value::Bool(false)));
    }

    /// Higress: key_auth/plugin.cc — without `global_auth` and without a rule
    /// every request needs a credential; our first rule would end that.
    fn opens_everything(&mut self, config: &Map, before: &Arc<Resource>, owned: &Owned) -> bool {
        if config.get("global_auth").is_none() || !owned.entries.is_empty() {
            return false;
        }
        let Some(spec) = before.root.get("spec") else { return false };
        let there = spec.get("defaultConfig");
        let has_consumers = there
            .and_then(|config| config.get("consumers")?.as_list())
            .is_some_and(|list| !list.is_empty());
        let has_flag = there.is_some_and(|config| config.get("global_auth").is_some());
        let is_off = spec.get("defaultConfigDisable").and_then(Node::as_bool) == Some(true);
        let rules = spec.get("matchRules").and_then(Node::as_list).unwrap_or_default();
        let has_active_rule = rules
            .iter()
            .any(|rule| rule.get("configDisable").and_then(Node::as_bool) != Some(true));
        let opens = has_consumers && !has_flag && !is_off && !has_active_rule;
        if opens {
            self.setting_conflict(
                before,
                "spec.defaultConfig.global_auth",
                "is not set, so that every request needs a credential until there is a rule; set it to true or false",
            );
        }
        opens
    }

    fn setting_conflict(&mut self, before: &Resource, path: &str, what: &str) {
        let at = before.cursor().descend(path);
        let message = format!("`{path}` of {} {what}", before.key);
        self.merged.diagnostics.push(
            Diagnostic::at(&MERGE_CONFLICT, &before.source, at.node.at, message).with_path(path),
        );
    }

    /// Merges the entries of one list; returns those that are penstock's.
    fn list(
        &mut self,
        place: &ListPlace<'_>,
        wanted: Vec<(String, Node)>,
        after: &mut Node,
    ) -> BTreeMap<String, Fields> {
        let ListPlace { row, last, before } = *place;
        if wanted.is_empty() && last.is_empty() {
            return BTreeMap::new();
        }
        let there = list::find(&before.root, row).and_then(Node::as_list).unwrap_or_default();
        let mut new: HashMap<String, Node> = HashMap::new();
        let mut order: Vec<String> = Vec::with_capacity(wanted.len());
        for (id, node) in wanted {
            order.push(id.clone());
            new.insert(id, node);
        }
        let mut ours: BTreeMap<String, Fields> = BTreeMap::new();
        let mut kept: Vec<Node> = Vec::with_capacity(there.len() + order.len());
        for node in there {
            let Some(id) = row.identity(node) else {
                kept.push(node.clone());
                continue;
            };
            let Some(wanted) = new.remove(&id) else {
                // One that stands there twice is not ours to judge.
                let is_second = ours.contains_key(&id);
                match last.get(&id).filter(|_| !is_second) {
                    Some(fields) if !self.removes(place, &id, node) => {
                        ours.insert(id, fields.clone());
                        kept.push(node.clone());
                    }
                    Some(_) => {}
                    None => kept.push(node.clone()),
                }
                continue;
            };
            let (node, fields) = self.entry(place, &id, node, &wanted);
            ours.extend(fields.map(|fields| (id, fields)));
            kept.push(node);
        }
        let mut added: Vec<Node> = Vec::new();
        for id in order {
            if let Some(node) = new.remove(&id) {
                ours.insert(id, self.fields_of(&node));
                added.push(node);
            }
        }
        let merged = match row.id_field {
            Some(_) => kept.into_iter().chain(added).collect(),
            None => insert_rules(kept, added),
        };
        // A list that is not there and stays empty is not worth a change.
        if !merged.is_empty() || list::find(&before.root, row).is_some() {
            set_in(after, row.path, Node::synthetic(Value::List(merged)));
        }
        ours
    }

    /// Whether an entry of ours that is not desired goes.
    fn removes(&mut self, place: &ListPlace<'_>, id: &str, entry: &Node) -> bool {
        if self.options.prune || self.parts.has_entry(entry) {
            self.merged.removed_entries += 1;
            return true;
        }
        let stale = format!("{} {}[{id}]", place.before.key, place.row.path_text());
        self.merged.stale.push(stale);
        false
    }

    /// An entry that is there and desired.
    fn entry(
        &mut self,
        place: &ListPlace<'_>,
        id: &str,
        there: &Node,
        wanted: &Node,
    ) -> (Node, Option<Fields>) {
        let ListPlace { row, last, before } = *place;
        if let Some(last) = last.get(id) {
            let is_ours = |path: &str| last.contains(path);
            let fields = Some(self.fields_of(wanted));
            if entry::is_settled(there, wanted, &is_ours) {
                return (there.clone(), fields);
            }
            return (entry::merge(there, wanted, &is_ours), fields);
        }
        let name = format!("{} {}[{id}]", before.key, row.path_text());
        if self.options.adopt.takes(&name) {
            let is_ours = |path: &str| row.is_managed(path);
            return (entry::merge(there, wanted, &is_ours), Some(self.fields_of(wanted)));
        }
        // What ai-statistics logs of a route is its owner's choice; the
        // console leaves such a rule alone as well.
        let is_statistics = wanted
            .get("config")
            .is_some_and(|config| config.get("use_default_response_attributes").is_some());
        if !is_statistics && !entry::is_settled(there, wanted, &|_| false) {
            self.conflict(before, there.at, &name, &row.path_text());
        }
        (there.clone(), None)
    }
}

/// New rules go before the first one that the console would put behind them:
/// the first rule that matches wins.
fn insert_rules(kept: Vec<Node>, added: Vec<Node>) -> Vec<Node> {
    let mut merged = Vec::with_capacity(kept.len() + added.len());
    let mut added: Vec<_> = added.into_iter().map(|rule| (list::rule_rank(&rule), rule)).collect();
    added.sort_by(|a, b| a.0.cmp(&b.0));
    let mut added = added.into_iter().peekable();
    for rule in kept {
        if added.peek().is_some() {
            let rank = list::rule_rank(&rule);
            while let Some((_, new)) = added.next_if(|(new, _)| *new < rank) {
                merged.push(new);
            }
        }
        merged.push(rule);
    }
    merged.extend(added.map(|(_, rule)| rule));
    merged
}

/// Puts a value where a path leads, making mappings on the way.
fn set_in(root: &mut Node, path: &[&str], value: Node) {
    let Some((key, rest)) = path.split_first() else { return };
    if !matches!(root.value, Value::Map(_)) {
        root.value = Value::Map(Map::default());
    }
    let Value::Map(map) = &mut root.value else { return };
    if rest.is_empty() {
        return map.set(key, value);
    }
    if map.get(key).is_none() {
        map.set(key, Node::synthetic(Value::Map(Map::default())));
    }
    if let Some(entry) = map.entries.iter_mut().find(|entry| &*entry.key == *key) {
        set_in(&mut entry.node, rest, value);
    }
}

/// Higress console: LlmProviderServiceImpl — ai-proxy's global part goes off
/// with its last provider.
pub(crate) fn switch_off_without_providers(before: &Resource, after: &mut Node) {
    let row = list::lists_of(&before.key.kind).find(|row| row.path.ends_with(&["providers"]));
    let Some(row) = row else { return };
    let count = |root: &Node| list::find(root, row).and_then(Node::as_list).map(<[Node]>::len);
    if count(&before.root).unwrap_or_default() > 0 && count(after) == Some(0) {
        set_in(after, &["spec", "defaultConfigDisable"], Node::synthetic(Value::Bool(true)));
    }
}
