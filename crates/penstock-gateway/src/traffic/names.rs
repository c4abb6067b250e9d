//! Sets of consumers, each kept once, so that comparing two of them costs
//! nothing however large they are.

use std::collections::HashMap;
use std::sync::Arc;

/// A set of [`Names`]; equal sets have equal ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SetId(u32);

/// A consumer's name in [`Names`].
pub(super) type NameId = u32;

/// What is done with two sets.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Operation {
    Union,
    Intersection,
}

/// All names and sets of a comparison.
pub(super) struct Names {
    names: Vec<Arc<str>>,
    by_name: HashMap<Arc<str>, NameId>,
    /// Sorted ids.
    sets: Vec<Arc<[NameId]>>,
    by_content: HashMap<Arc<[NameId]>, SetId>,
    /// Many routes ask for the same few results.
    results: HashMap<(Operation, SetId, SetId), SetId>,
    /// The names of sets that were asked for, sorted.
    shown: HashMap<SetId, Arc<[Arc<str>]>>,
}

impl Names {
    /// The set without anybody.
    pub(super) const NOBODY: SetId = SetId(0);

    /// No names, and the set without any.
    pub(super) fn new() -> Self {
        let mut names = Self {
            names: Vec::new(),
            by_name: HashMap::new(),
            sets: Vec::new(),
            by_content: HashMap::new(),
            results: HashMap::new(),
            shown: HashMap::new(),
        };
        names.set(Vec::new());
        names
    }

    /// The id of a name.
    pub(super) fn id(&mut self, name: &Arc<str>) -> NameId {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let id = NameId::try_from(self.names.len()).unwrap_or(NameId::MAX);
        self.names.push(name.clone());
        self.by_name.insert(name.clone(), id);
        id
    }

    /// The name of an id.
    pub(super) fn name(&self, id: NameId) -> Arc<str> {
        self.names.get(id as usize).cloned().unwrap_or_else(|| "".into())
    }

    /// The set of some names.
    pub(super) fn set(&mut self, mut ids: Vec<NameId>) -> SetId {
        ids.sort_unstable();
        ids.dedup();
        let content: Arc<[NameId]> = ids.into();
        let next = SetId(u32::try_from(self.sets.len()).unwrap_or(u32::MAX));
        let id = *self.by_content.entry(content.clone()).or_insert(next);
        if id == next {
            self.sets.push(content);
        }
        id
    }

    /// The ids of a set, sorted.
    pub(super) fn ids(&self, set: SetId) -> Arc<[NameId]> {
        self.sets.get(set.0 as usize).cloned().unwrap_or_default()
    }

    /// The names of a set, sorted.
    pub(super) fn shown(&mut self, set: SetId) -> Arc<[Arc<str>]> {
        if let Some(shown) = self.shown.get(&set) {
            return shown.clone();
        }
        let mut names: Vec<Arc<str>> = self.ids(set).iter().map(|id| self.name(*id)).collect();
        names.sort_unstable();
        let names: Arc<[Arc<str>]> = names.into();
        self.shown.insert(set, names.clone());
        names
    }

    /// Those who are in one of two sets.
    pub(super) fn union(&mut self, one: SetId, other: SetId) -> SetId {
        self.combine(Operation::Union, one, other)
    }

    /// Those who are in both of two sets.
    pub(super) fn intersection(&mut self, one: SetId, other: SetId) -> SetId {
        self.combine(Operation::Intersection, one, other)
    }

    fn combine(&mut self, operation: Operation, one: SetId, other: SetId) -> SetId {
        if one == other {
            return one;
        }
        let key = (operation, one.min(other), one.max(other));
        if let Some(result) = self.results.get(&key) {
            return *result;
        }
        let (a, b) = (self.ids(one), self.ids(other));
        let (few, many) = if a.len() < b.len() { (&a, &b) } else { (&b, &a) };
        let ids = match operation {
            Operation::Union => a.iter().chain(&*b).copied().collect(),
            Operation::Intersection => {
                few.iter().filter(|id| many.binary_search(id).is_ok()).copied().collect()
            }
        };
        let result = self.set(ids);
        self.results.insert(key, result);
        result
    }

    /// How many are in one of two sets only.
    pub(super) fn differing(&self, one: SetId, other: SetId) -> usize {
        let (a, b) = (self.ids(one), self.ids(other));
        let (few, many) = if a.len() < b.len() { (&a, &b) } else { (&b, &a) };
        let shared = few.iter().filter(|id| many.binary_search(id).is_ok()).count();
        a.len() + b.len() - 2 * shared
    }

    /// Those of `set` who are not in `other`.
    pub(super) fn without(&self, set: SetId, other: SetId) -> Vec<NameId> {
        let (set, other) = (self.ids(set), self.ids(other));
        let mut other = other.iter().copied().peekable();
        let is_left = |id: &NameId| {
            while other.next_if(|other| other < id).is_some() {}
            other.peek() != Some(id)
        };
        set.iter().copied().filter(is_left).collect()
    }
}
