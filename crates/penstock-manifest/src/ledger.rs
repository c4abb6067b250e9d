//! Which resources, and which entries of shared resources, are penstock's.
//!
//! For each of them the ledger also keeps the fields that penstock wrote, so
//! that a field which an intent no longer has can be taken away while one
//! that somebody else added stays. Equal sets of fields are kept once.
//!
//! The ledger is stored beside what it tells of, in the same transaction.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Value as Json, json};
use thiserror::Error;

use crate::redact::sha256_hex;
use crate::resource::{ResourceKey, SYSTEM_NAMESPACE};

/// The fields of one thing that penstock wrote, as key paths.
pub type Fields = Arc<HashSet<String>>;

/// What is penstock's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    pub(crate) resources: BTreeMap<ResourceKey, Owned>,
}

/// What is penstock's of one resource.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Owned {
    /// The fields outside the entries below, where the resource as a whole
    /// is penstock's.
    pub(crate) whole: Option<Fields>,
    /// The entries by list and identity.
    pub(crate) entries: BTreeMap<String, BTreeMap<String, Fields>>,
}

/// Why a text is not a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LedgerError {
    /// Not the JSON of a ledger.
    #[error("the ledger cannot be read: {0}")]
    Shape(&'static str),
    /// A version that this program does not know.
    #[error("the ledger has version {0}, which this program does not know")]
    Version(i64),
}

const VERSION: i64 = 1;

impl Ledger {
    /// Whether nothing is penstock's.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    /// The resources that are penstock's as a whole.
    pub fn resources(&self) -> impl Iterator<Item = &ResourceKey> {
        self.resources.iter().filter(|(_, owned)| owned.whole.is_some()).map(|(key, _)| key)
    }

    /// The entries that are penstock's: resource, list and identity.
    pub fn entries(&self) -> impl Iterator<Item = (&ResourceKey, &str, &str)> {
        self.resources.iter().flat_map(|(key, owned)| {
            owned.entries.iter().flat_map(move |(list, entries)| {
                entries.keys().map(move |entry| (key, list.as_str(), entry.as_str()))
            })
        })
    }

    /// The ledger as JSON; stable, so that it can be compared and stored.
    pub fn to_json(&self) -> Json {
        let mut sets = Sets::default();
        let resources: Vec<Json> = self
            .resources
            .iter()
            .map(|(key, owned)| {
                let entries: BTreeMap<&String, BTreeMap<&String, usize>> = owned
                    .entries
                    .iter()
                    .map(|(list, entries)| {
                        let ids = entries.iter().map(|(id, fields)| (id, sets.number(fields)));
                        (list, ids.collect())
                    })
                    .collect();
                json!({
                    "kind": &*key.kind,
                    "namespace": &*key.namespace,
                    "name": &*key.name,
                    "fields": owned.whole.as_ref().map(|fields| sets.number(fields)),
                    "entries": entries,
                })
            })
            .collect();
        json!({"version": VERSION, "fieldSets": sets.sets, "resources": resources})
    }

    /// The SHA-256 of the JSON, in hexadecimal digits.
    pub fn hash(&self) -> String {
        sha256_hex(self.to_json().to_string())
    }

    /// Reads what [`Ledger::to_json`] wrote.
    ///
    /// # Errors
    /// It is something else, or of a later version.
    pub fn from_json(json: &Json) -> Result<Self, LedgerError> {
        let shape = LedgerError::Shape;
        match json.get("version").and_then(Json::as_i64) {
            Some(VERSION) => {}
            Some(version) => return Err(LedgerError::Version(version)),
            None => return Err(shape("it has no version")),
        }
        let list = |key| json.get(key).and_then(Json::as_array).ok_or(shape("a list is missing"));
        let mut sets: Vec<Fields> = Vec::new();
        for set in list("fieldSets")? {
            let fields = set.as_array().ok_or(shape("a field set is not a list"))?;
            let fields = fields.iter().filter_map(|field| field.as_str().map(str::to_owned));
            sets.push(Arc::new(fields.collect()));
        }
        let set = |number: &Json| {
            let number = number.as_u64().and_then(|number| usize::try_from(number).ok());
            number.and_then(|number| sets.get(number)).cloned().ok_or(shape("no such field set"))
        };
        let mut ledger = Self::default();
        for resource in list("resources")? {
            let text = |key: &str| resource.get(key).and_then(Json::as_str);
            let (Some(kind), Some(name)) = (text("kind"), text("name")) else {
                return Err(shape("a resource has no kind or name"));
            };
            let namespace = text("namespace").unwrap_or(SYSTEM_NAMESPACE);
            let mut owned = Owned::default();
            if let Some(fields) = resource.get("fields").filter(|fields| !fields.is_null()) {
                owned.whole = Some(set(fields)?);
            }
            let lists = resource.get("entries").and_then(Json::as_object);
            for (list, entries) in lists.into_iter().flatten() {
                let entries = entries.as_object().ok_or(shape("entries are not a mapping"))?;
                let mut read = BTreeMap::new();
                for (id, fields) in entries {
                    read.insert(id.clone(), set(fields)?);
                }
                owned.entries.insert(list.clone(), read);
            }
            ledger.resources.insert(ResourceKey::new(kind, namespace, name), owned);
        }
        Ok(ledger)
    }
}

/// Field sets on their way to JSON, each once.
#[derive(Default)]
struct Sets {
    numbers: HashMap<Vec<String>, usize>,
    by_address: HashMap<*const HashSet<String>, usize>,
    sets: Vec<Vec<String>>,
}

impl Sets {
    fn number(&mut self, fields: &Fields) -> usize {
        let address = Arc::as_ptr(fields);
        if let Some(number) = self.by_address.get(&address) {
            return *number;
        }
        let mut sorted: Vec<String> = fields.iter().cloned().collect();
        sorted.sort();
        let number = *self.numbers.entry(sorted).or_insert_with_key(|sorted| {
            self.sets.push(sorted.clone());
            self.sets.len() - 1
        });
        self.by_address.insert(address, number);
        number
    }
}

/// Makes equal field sets one.
#[derive(Default)]
pub(crate) struct Interner {
    sets: HashMap<Vec<String>, Fields>,
    by_shape: HashMap<u64, Fields>,
}

impl Interner {
    /// An interner that gives the sets of a ledger again, so that equal
    /// ledgers are found equal without a look at their sets.
    pub(crate) fn new(ledger: &Ledger) -> Self {
        let mut interner = Self::default();
        let mut seen = HashSet::new();
        for owned in ledger.resources.values() {
            let entries = owned.entries.values().flat_map(BTreeMap::values);
            for fields in entries.chain(&owned.whole) {
                if seen.insert(Arc::as_ptr(fields)) {
                    let mut sorted: Vec<String> = fields.iter().cloned().collect();
                    sorted.sort();
                    interner.sets.entry(sorted).or_insert_with(|| fields.clone());
                }
            }
        }
        interner
    }

    /// The set of these fields; `shape` tells things apart whose fields may
    /// differ.
    pub(crate) fn intern(&mut self, shape: u64, fields: impl FnOnce() -> Vec<String>) -> Fields {
        let sets = &mut self.sets;
        let known = self.by_shape.entry(shape).or_insert_with(|| {
            let mut fields = fields();
            fields.sort();
            sets.entry(fields)
                .or_insert_with_key(|fields| Arc::new(fields.iter().cloned().collect()))
                .clone()
        });
        known.clone()
    }
}
