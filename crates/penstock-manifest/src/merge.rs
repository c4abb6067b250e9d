//! What is desired × what is there → what should be there.
//!
//! A resource is either penstock's as a whole (an Ingress, a ConfigMap), or
//! shared: McpBridge `default` and the plugins hold entries of several
//! owners. Of a shared resource only the entries of the intent are touched;
//! what others put there stays, in its order, and so do fields that penstock
//! did not write.
//!
//! What exists and is not in the [`Ledger`] is not overwritten: it is a
//! conflict until it is adopted. What exists and is equal already is left
//! alone and stays its owner's.
//!
//! Invariant: merging what came of a merge changes nothing.
//! Invariant: a conflict changes nothing of what it is about.

mod entry;
mod list;
mod part;
mod shared;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::diagnostic::{self, Diagnostic, MERGE_CONFLICT, MERGE_UNREADABLE};
use crate::ledger::{Fields, Interner, Ledger, Owned};
use crate::node::{Node, Position};
use crate::render;
use crate::resource::{Listing, Resource, ResourceKey};

use part::Parts;

pub(crate) use entry::leaves;
pub(crate) use list::{CONSUMERS, MATCH_RULES, PROVIDERS, REGISTRIES, same_plugin};
pub use list::{LISTS, ListRow, identity_of, lists_of};
pub(crate) use shared::switch_off_without_providers;

/// What may be taken over that is not penstock's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Adopt {
    /// Nothing: it is a conflict.
    #[default]
    Nothing,
    /// These, named as conflicts name them.
    Only(HashSet<String>),
    /// Everything that the intent names.
    Everything,
}

impl Adopt {
    fn takes(&self, name: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Only(names) => names.contains(name),
            Self::Everything => true,
        }
    }
}

/// How to merge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What may be taken over.
    pub adopt: Adopt,
    /// Whether what is penstock's and no longer desired is removed. Parts of
    /// something that is still desired, such as the fallback of a route, go
    /// without it.
    pub prune: bool,
}

/// One resource after a merge.
pub struct Outcome {
    /// Its name.
    pub key: ResourceKey,
    /// What is there; none where it is new.
    pub before: Option<Arc<Resource>>,
    /// What should be there.
    pub after: After,
}

/// What becomes of a resource.
#[derive(Clone, PartialEq)]
pub enum After {
    /// It stays as it is.
    Same,
    /// It is written so.
    Written(Node),
    /// It goes.
    Gone,
}

impl After {
    /// What is written, if that is another than what is there.
    pub(crate) fn of(before: &Resource, after: Node) -> Self {
        if after == before.root { Self::Same } else { Self::Written(after) }
    }
}

/// Resources may hold keys, so only names are shown.
impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Outcome({})", self.key)
    }
}

/// What came of a merge.
#[derive(Debug, Default)]
pub struct Merged {
    /// Every resource that is desired or penstock's, changed or not, in the
    /// order of writing: first routes that go, so that none outlives its
    /// authentication, then what is written, then everything else that goes.
    pub outcomes: Vec<Outcome>,
    /// What is penstock's once the outcomes are written.
    pub ledger: Ledger,
    /// What is penstock's and no longer desired, and stays because nothing
    /// was said about pruning.
    pub stale: Vec<String>,
    /// How many entries of shared resources are removed.
    pub removed_entries: usize,
    /// Conflicts. With an error among them nothing must be written.
    pub diagnostics: Vec<Diagnostic>,
}

/// Merges what is desired into what is there.
pub fn merge(desired: &[Resource], actual: &Listing, ledger: &Ledger, options: &Options) -> Merged {
    let mut merge = Merge {
        options,
        ledger,
        interner: Interner::new(ledger),
        merged: Merged::default(),
        owned: BTreeMap::new(),
        parts: Parts::new(desired),
    };
    let there: HashMap<&ResourceKey, &Arc<Resource>> =
        actual.resources.iter().map(|resource| (&resource.key, resource)).collect();
    let broken: HashSet<&ResourceKey> =
        actual.broken.iter().filter_map(|broken| broken.key.as_ref()).collect();
    let mut seen: HashSet<ResourceKey> = HashSet::with_capacity(desired.len());
    for resource in desired {
        let before = there.get(&resource.key).copied();
        let before = before.or_else(|| list::same_plugin(resource, actual));
        let key = before.map_or(&resource.key, |before| &before.key);
        seen.insert(key.clone());
        if broken.contains(key) {
            merge.report_broken(key, actual);
        } else {
            merge.one(resource, before);
        }
    }
    for (key, owned) in &ledger.resources {
        if seen.contains(key) {
            continue;
        }
        if broken.contains(key) {
            merge.owned.insert(key.clone(), owned.clone());
            merge.report_broken(key, actual);
        } else if let Some(before) = there.get(key) {
            merge.undesired(before, owned);
        }
    }
    merge.finish()
}

/// Puts outcomes into the order of writing.
pub(crate) fn sort(outcomes: &mut [Outcome]) {
    let rank = |outcome: &Outcome| {
        let rank = render::rank_of(&outcome.key);
        match (&outcome.after, is_route(&outcome.key)) {
            (After::Gone, true) => (0, u8::MAX - rank),
            (After::Same | After::Written(_), _) => (1, rank),
            (After::Gone, false) => (2, u8::MAX - rank),
        }
    };
    outcomes.sort_by(|a, b| (rank(a), &a.key).cmp(&(rank(b), &b.key)));
}

/// Whether a resource is a route or a part of one.
fn is_route(key: &ResourceKey) -> bool {
    render::rank_of(key) >= render::ROUTE_RANK
}

/// A merge on its way.
struct Merge<'a> {
    options: &'a Options,
    ledger: &'a Ledger,
    interner: Interner,
    merged: Merged,
    owned: BTreeMap<ResourceKey, Owned>,
    parts: Parts<'a>,
}

impl Merge<'_> {
    fn one(&mut self, desired: &Resource, before: Option<&Arc<Resource>>) {
        let key = before.map_or(&desired.key, |before| &before.key).clone();
        let empty = Owned::default();
        let ledger = self.ledger;
        let owned = ledger.resources.get(&key).unwrap_or(&empty);
        let (after, now) = match (before, list::is_shared(&desired.key.kind)) {
            (None, _) => (After::Written(desired.root.clone()), self.all_of(desired)),
            (Some(before), true) => {
                let (after, now) = self.shared(Some(desired), before, owned);
                (After::of(before, after), now)
            }
            (Some(before), false) => self.whole(desired, before, owned),
        };
        if now != Owned::default() {
            self.owned.insert(key.clone(), now);
        }
        self.merged.outcomes.push(Outcome { key, before: before.cloned(), after });
    }

    /// Everything of a resource that is about to be created.
    fn all_of(&mut self, desired: &Resource) -> Owned {
        let mut owned = Owned::default();
        let mut outside = desired.root.clone();
        for row in list::lists_of(&desired.key.kind) {
            let entries = list::take(&mut outside, row);
            for (id, entry) in entries {
                let fields = self.fields_of(&entry);
                owned.entries.entry(row.path_text()).or_default().insert(id, fields);
            }
        }
        owned.whole = Some(self.fields_of(&outside));
        owned
    }

    fn fields_of(&mut self, node: &Node) -> Fields {
        self.interner.intern(entry::shape(node), || entry::leaves(node))
    }

    /// A resource that has one owner.
    fn whole(
        &mut self,
        desired: &Resource,
        before: &Arc<Resource>,
        owned: &Owned,
    ) -> (After, Owned) {
        let fields = self.fields_of(&desired.root);
        let now = Owned { whole: Some(fields), ..Owned::default() };
        let name = before.key.to_string();
        let merged = |is_ours: &dyn Fn(&str) -> bool| {
            if entry::is_settled(&before.root, &desired.root, is_ours) {
                return After::Same;
            }
            After::of(before, entry::merge(&before.root, &desired.root, is_ours))
        };
        if let Some(last) = &owned.whole {
            let is_ours = |path: &str| last.contains(path) || entry::is_always_ours(path);
            return (merged(&is_ours), now);
        }
        if self.options.adopt.takes(&name) {
            return (merged(&entry::is_gateways), now);
        }
        if merged(&|_| false) != After::Same {
            self.conflict(before, before.name_at(), &name, "");
        }
        (After::Same, Owned::default())
    }

    fn conflict(&mut self, before: &Resource, at: Position, name: &str, path: &str) {
        let message = format!("{name} exists and is not penstock's");
        let hint = format!("adopt `{name}`, or give yours another name");
        self.merged.diagnostics.push(
            Diagnostic::at(&MERGE_CONFLICT, &before.source, at, message)
                .with_path(path)
                .with_hint(hint),
        );
    }

    /// What is penstock's and no longer desired.
    fn undesired(&mut self, before: &Arc<Resource>, owned: &Owned) {
        let key = before.key.clone();
        if !list::is_shared(&key.kind) {
            if self.options.prune || self.parts.has_resource(&key) {
                let before = Some(before.clone());
                self.merged.outcomes.push(Outcome { key, before, after: After::Gone });
            } else {
                self.merged.stale.push(key.to_string());
                self.owned.insert(key, owned.clone());
            }
            return;
        }
        let (after, now) = self.shared(None, before, owned);
        let is_whole = owned.whole.is_some();
        let is_empty = is_whole && list::has_no_entries(&after, &key.kind);
        if is_empty && self.options.prune {
            let before = Some(before.clone());
            self.merged.outcomes.push(Outcome { key, before, after: After::Gone });
            return;
        }
        if is_empty {
            self.merged.stale.push(key.to_string());
        }
        if now != Owned::default() {
            self.owned.insert(key.clone(), now);
        }
        if after != before.root {
            let (before, after) = (Some(before.clone()), After::Written(after));
            self.merged.outcomes.push(Outcome { key, before, after });
        }
    }

    fn report_broken(&mut self, key: &ResourceKey, actual: &Listing) {
        let broken = actual.broken.iter().find(|broken| broken.key.as_ref() == Some(key));
        let file = broken.map(|broken| broken.file.clone()).unwrap_or_default();
        let message = format!("{key} cannot be read, so it cannot be changed");
        let at = Position::default();
        let found = Diagnostic::in_file(&MERGE_UNREADABLE, file, at, message);
        self.merged.diagnostics.push(found);
    }

    fn finish(mut self) -> Merged {
        self.merged.ledger = Ledger { resources: self.owned };
        self.merged.stale.sort();
        diagnostic::sort(&mut self.merged.diagnostics);
        sort(&mut self.merged.outcomes);
        self.merged
    }
}
