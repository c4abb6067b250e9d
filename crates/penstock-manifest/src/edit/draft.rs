//! Resources on their way from what is there to what an edit leaves.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::EditError;
use crate::diagnostic::{Diagnostic, REPEATED_RESOURCE};
use crate::ledger::{Fields, Ledger, Owned};
use crate::merge::{self, After, ListRow, Merged, Outcome};
use crate::node::Node;
use crate::resource::{Listing, Resource, ResourceKey, SYSTEM_NAMESPACE};

/// What is there, with changes.
pub(super) struct Draft<'a> {
    pub(super) actual: &'a Listing,
    /// What is penstock's after the edit.
    pub(super) ledger: Ledger,
    /// What a merge found.
    pub(super) diagnostics: Vec<Diagnostic>,
    /// What becomes of resources; none for one that goes.
    roots: BTreeMap<ResourceKey, Option<Node>>,
    removed_entries: usize,
}

impl<'a> Draft<'a> {
    pub(super) fn new(actual: &'a Listing, ledger: &Ledger) -> Self {
        Self {
            actual,
            ledger: ledger.clone(),
            diagnostics: Vec::new(),
            roots: BTreeMap::new(),
            removed_entries: 0,
        }
    }

    /// What is there before the edit.
    pub(super) fn before(&self, key: &ResourceKey) -> Option<&'a Arc<Resource>> {
        self.actual.resources.iter().find(|resource| resource.key == *key)
    }

    /// The resource as the edit has it now.
    pub(super) fn root(&self, key: &ResourceKey) -> Option<&Node> {
        match self.roots.get(key) {
            Some(root) => root.as_ref(),
            None => self.before(key).map(|resource| &resource.root),
        }
    }

    /// Every resource that is there and stays, as the edit has it now.
    pub(super) fn kept(&self) -> impl Iterator<Item = (&'a Arc<Resource>, &Node)> {
        self.actual.resources.iter().filter_map(|resource| {
            let root = match self.roots.get(&resource.key) {
                Some(root) => root.as_ref()?,
                None => &resource.root,
            };
            Some((resource, root))
        })
    }

    /// The resources of a kind in Higress' own namespace.
    pub(super) fn of_kind(&self, kind: &str) -> impl Iterator<Item = (&'a Arc<Resource>, &Node)> {
        self.kept().filter(move |(resource, _)| {
            &*resource.key.kind == kind && &*resource.key.namespace == SYSTEM_NAMESPACE
        })
    }

    pub(super) fn set(&mut self, key: &ResourceKey, root: Node) {
        self.roots.insert(key.clone(), Some(root));
    }

    /// Removes a resource; whether it was there.
    pub(super) fn remove(&mut self, key: &ResourceKey) -> bool {
        self.ledger.resources.remove(key);
        let is_there = self.root(key).is_some();
        if is_there {
            self.roots.insert(key.clone(), None);
        }
        is_there
    }

    /// Counts entries that go and belong to no list of [`merge::LISTS`].
    pub(super) fn count_removed(&mut self, count: usize) {
        self.removed_entries += count;
    }

    /// Takes entries out of a list; how many. The list stays.
    pub(super) fn remove_entries(
        &mut self,
        key: &ResourceKey,
        row: &ListRow,
        goes: &dyn Fn(&Node) -> bool,
    ) -> usize {
        let Some(mut root) = self.root(key).cloned() else { return 0 };
        let Some(list) = row.entries_mut(&mut root) else { return 0 };
        let count = list.len();
        let removed: Vec<Option<String>> =
            list.iter().filter(|entry| goes(entry)).map(|entry| row.identity(entry)).collect();
        list.retain(|entry| !goes(entry));
        let count = count - list.len();
        if count > 0 {
            self.set(key, root);
            self.removed_entries += count;
            for id in removed.iter().flatten() {
                self.disown_entry(key, &row.path_text(), id);
            }
        }
        count
    }

    pub(super) fn is_ours(&self, key: &ResourceKey) -> bool {
        self.ledger.resources.get(key).is_some_and(|owned| owned.whole.is_some())
    }

    /// Changes the fields of a resource that is penstock's as a whole.
    pub(super) fn change_fields(
        &mut self,
        key: &ResourceKey,
        change: impl FnOnce(&mut HashSet<String>),
    ) {
        let whole = self.ledger.resources.get_mut(key).and_then(|owned| owned.whole.as_mut());
        if let Some(fields) = whole {
            change(Arc::make_mut(fields));
        }
    }

    /// Makes a new resource penstock's.
    pub(super) fn own(&mut self, key: &ResourceKey, root: &Node) {
        let fields: Fields = Arc::new(merge::leaves(root).into_iter().collect());
        let owned = Owned { whole: Some(fields), ..Owned::default() };
        self.ledger.resources.insert(key.clone(), owned);
    }

    /// The fields of an entry that is penstock's.
    pub(super) fn entry_fields(
        &mut self,
        key: &ResourceKey,
        list: &str,
        id: &str,
    ) -> Option<&mut HashSet<String>> {
        let entries = self.ledger.resources.get_mut(key)?.entries.get_mut(list)?;
        entries.get_mut(id).map(Arc::make_mut)
    }

    pub(super) fn disown_entry(&mut self, key: &ResourceKey, list: &str, id: &str) {
        self.take_entry(key, list, id);
    }

    /// What the ledger knew an entry by is another name now.
    pub(super) fn rename_entry(&mut self, key: &ResourceKey, list: &str, names: (&str, &str)) {
        let (old, new) = names;
        if let Some(fields) = self.take_entry(key, list, old) {
            let owned = self.ledger.resources.entry(key.clone()).or_default();
            owned.entries.entry(list.to_owned()).or_default().insert(new.to_owned(), fields);
        }
    }

    fn take_entry(&mut self, key: &ResourceKey, list: &str, id: &str) -> Option<Fields> {
        let owned = self.ledger.resources.get_mut(key)?;
        let entries = owned.entries.get_mut(list)?;
        let fields = entries.remove(id);
        if entries.is_empty() {
            owned.entries.remove(list);
        }
        if *owned == Owned::default() {
            self.ledger.resources.remove(key);
        }
        fields
    }

    /// The changes, in the order of writing.
    pub(super) fn finish(self) -> Result<Merged, EditError> {
        let mut outcomes = Vec::with_capacity(self.roots.len());
        for (key, root) in &self.roots {
            let before = self.before(key).cloned();
            let after = match (&before, root) {
                (Some(before), Some(root)) => After::of(before, root.clone()),
                (None, Some(root)) => After::Written(root.clone()),
                (Some(_), None) => After::Gone,
                (None, None) => continue,
            };
            if after != After::Same {
                self.check_alone(key)?;
            }
            outcomes.push(Outcome { key: key.clone(), before, after });
        }
        merge::sort(&mut outcomes);
        Ok(Merged {
            outcomes,
            ledger: self.ledger,
            removed_entries: self.removed_entries,
            diagnostics: self.diagnostics,
            ..Merged::default()
        })
    }

    /// A second copy would contradict the changed one, and the gateway would
    /// keep the old version of both.
    fn check_alone(&self, key: &ResourceKey) -> Result<(), EditError> {
        let second = format!("{key} stands in ");
        let is_second = |found: &&Diagnostic| {
            *found.code == REPEATED_RESOURCE && found.message.starts_with(&second)
        };
        match self.actual.diagnostics.iter().find(is_second) {
            Some(found) => {
                Err(EditError::unreadable(&found.file, format!("{key} stands in two places")))
            }
            None => Ok(()),
        }
    }
}

/// A resource of Higress' own namespace.
pub(super) fn key(kind: &str, name: &str) -> ResourceKey {
    ResourceKey::new(kind, SYSTEM_NAMESPACE, name)
}
