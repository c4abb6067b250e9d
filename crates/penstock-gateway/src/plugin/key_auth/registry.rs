//! Consumers by credential.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use subtle::ConstantTimeEq;

use super::DEFAULT_CHALLENGE;
use super::expiry::is_over;
use crate::plugin::summary::hash_of;
use crate::plugin::{Access, Consumer};
use crate::route::query_values;

/// Where ai-proxy keeps the caller's key over an internal redirect; a
/// consumer with keys of its own is also recognised by it.
const X_HI_ORIGINAL_AUTH: &str = "X-HI-ORIGINAL-AUTH";

/// The consumers of one configuration, ready to be searched. It has no
/// `Debug`: it holds credentials.
#[derive(Default)]
pub(super) struct Registry {
    consumers: Vec<Consumer>,
    places: Vec<Place>,
    hasher: RandomState,
    is_anonymous: bool,
    realm: Option<HeaderValue>,
}

/// A key name and where it is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct KeyPlace {
    /// The name as written.
    pub(super) name: Box<str>,
    /// Whether headers are looked at.
    pub(super) in_header: bool,
    /// Whether the query is looked at.
    pub(super) in_query: bool,
}

/// A credential as it is added.
#[derive(Clone, Copy, Hash)]
pub(super) struct Credential<'a> {
    /// Its text.
    pub(super) text: &'a str,
    /// When it ends, in seconds since 1970.
    pub(super) expires_s: u64,
}

/// A key name with the credentials that count there.
struct Place {
    key: KeyPlace,
    header: Option<HeaderName>,
    owners: HashTable<(Box<[u8]>, Owner)>,
}

/// The owner of a credential: where its consumer stands in the search order,
/// and in the list; and how long it is the owner.
#[derive(Clone, Copy)]
struct Owner {
    rank: (usize, usize),
    consumer: usize,
    expires_s: u64,
}

/// What a search finds.
pub(super) enum Found<'a> {
    /// A consumer.
    Consumer(&'a Consumer),
    /// A valid credential that belongs to nobody by name.
    Anonymous,
    /// A credential that is not known.
    Unknown,
    /// No credential.
    None,
    /// Several credentials, which the Go build refuses.
    Several,
}

impl Registry {
    /// An empty registry.
    pub(super) fn new(is_anonymous: bool, realm: Option<&str>) -> Self {
        let realm =
            realm.and_then(|realm| HeaderValue::from_str(&format!("Key realm={realm}")).ok());
        Self { is_anonymous, realm, ..Self::default() }
    }

    /// Whom a rule lets pass that allows these names, or all.
    pub(super) fn access<'a>(&'a self, allowed: Option<&'a HashSet<Arc<str>>>) -> Access<'a> {
        match self.is_anonymous {
            true => Access::Anonymous,
            false => Access::Consumers { known: &self.consumers, allowed },
        }
    }

    /// Adds a consumer, whose credentials then count at `keys` in that order.
    /// Consumers without keys of their own are searched before all others
    /// (Higress 2.2.4); `has_own_keys` also makes it known under
    /// `X-HI-ORIGINAL-AUTH`.
    pub(super) fn add(
        &mut self,
        mut consumer: Consumer,
        credentials: &[Credential<'_>],
        keys: &[KeyPlace],
        has_own_keys: bool,
    ) {
        let index = self.consumers.len();
        consumer.fingerprint = fingerprint(credentials).wrapping_add(fingerprint(keys));
        self.consumers.push(consumer);
        let rank = (usize::from(has_own_keys), index);
        if has_own_keys && let Some(first) = keys.first() {
            let original = KeyPlace { name: X_HI_ORIGINAL_AUTH.into(), ..first.clone() };
            self.add_place(original, credentials, rank);
        }
        for key in keys {
            self.add_place(key.clone(), credentials, rank);
        }
    }

    fn add_place(&mut self, key: KeyPlace, credentials: &[Credential<'_>], rank: (usize, usize)) {
        let index = match self.places.iter().position(|place| place.key == key) {
            Some(index) => index,
            None => {
                let header = match key.in_header {
                    true => HeaderName::from_bytes(key.name.as_bytes()).ok(),
                    false => None,
                };
                self.places.push(Place { key, header, owners: HashTable::new() });
                self.places.len() - 1
            }
        };
        let Some(place) = self.places.get_mut(index) else {
            return;
        };
        for Credential { text, expires_s } in credentials {
            let bytes: Box<[u8]> = text.as_bytes().into();
            let mut owner = Owner { rank, consumer: rank.1, expires_s: *expires_s };
            let hash = self.hasher.hash_one(&*bytes);
            // Entries of one name may repeat a credential; the end of one
            // ends it.
            if let Some((_, known)) = place.owners.find_mut(hash, |(known, _)| *known == bytes) {
                owner.expires_s = owner.expires_s.min(known.expires_s);
                *known = if owner.rank < known.rank { owner } else { *known };
                known.expires_s = owner.expires_s;
                continue;
            }
            let hasher = &self.hasher;
            place
                .owners
                .insert_unique(hash, (bytes, owner), |(bytes, _)| hasher.hash_one(&**bytes));
        }
    }

    /// Searches as the C++ build does: the first consumer in search order
    /// that one of the presented values belongs to.
    pub(super) fn search(&self, headers: &HeaderMap, query: Option<&str>) -> Found<'_> {
        let mut best: Option<Owner> = None;
        let mut seen = false;
        for place in &self.places {
            let owner = place.with_value(headers, query, |value| {
                seen = true;
                self.owner(place, value)
            });
            if let Some(owner) = owner.flatten()
                && best.is_none_or(|best| owner.rank < best.rank)
            {
                best = Some(owner);
            }
        }
        match best {
            Some(owner) => self.found(owner),
            None if seen => Found::Unknown,
            None => Found::None,
        }
    }

    /// Searches as the Go build does: all names in the headers, or else in
    /// the query, and exactly one value.
    pub(super) fn search_go(&self, headers: &HeaderMap, query: Option<&str>) -> Found<'_> {
        let mut values = 0;
        let mut owner = None;
        for place in &self.places {
            match &place.header {
                Some(header) => {
                    for value in headers.get_all(header).iter().filter(|value| !value.is_empty()) {
                        values += 1;
                        owner = self.owner(place, value.as_bytes());
                    }
                }
                None => {
                    for value in query_values(query.unwrap_or_default(), &place.key.name) {
                        values += 1;
                        owner = self.owner(place, value.as_bytes());
                    }
                }
            }
        }
        match (values, owner) {
            (0, _) => Found::None,
            (1, Some(owner)) => self.found(owner),
            (1, None) => Found::Unknown,
            _ => Found::Several,
        }
    }

    /// The names of the headers and parameters that are looked at.
    pub(super) fn key_names(&self) -> impl Iterator<Item = &str> {
        self.places.iter().map(|place| &*place.key.name)
    }

    fn found(&self, owner: Owner) -> Found<'_> {
        match self.consumers.get(owner.consumer) {
            Some(_) if self.is_anonymous => Found::Anonymous,
            Some(consumer) => Found::Consumer(consumer),
            None => Found::Unknown,
        }
    }

    fn owner(&self, place: &Place, value: &[u8]) -> Option<Owner> {
        let hash = self.hasher.hash_one(value);
        place
            .owners
            .find(hash, |(credential, _)| bool::from(credential.ct_eq(value)))
            .map(|(_, owner)| *owner)
            .filter(|owner| !is_over(owner.expires_s))
    }

    /// The value of `WWW-Authenticate`.
    pub(super) fn challenge(&self) -> HeaderValue {
        self.realm.clone().unwrap_or(DEFAULT_CHALLENGE)
    }
}

/// The same for the same items in any order.
fn fingerprint(items: &[impl Hash]) -> u64 {
    let hashes = items.iter().map(|item| hash_of(|hasher| item.hash(hasher)));
    hashes.fold(0, u64::wrapping_add)
}

impl Place {
    /// Calls `look_up` with the value presented here: the header if it is not
    /// empty, else the query parameter. A name that is presented twice has
    /// two readings, so it counts as none that is known.
    fn with_value<T>(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
        look_up: impl FnOnce(&[u8]) -> T,
    ) -> Option<T> {
        if let Some(header) = &self.header {
            let mut values = headers.get_all(header).iter();
            if let Some(value) = values.next().filter(|value| !value.is_empty()) {
                let is_single = values.next().is_none();
                return Some(look_up(if is_single { value.as_bytes() } else { b"" }));
            }
        }
        if !self.key.in_query {
            return None;
        }
        let mut values = query_values(query?, &self.key.name);
        let value = values.next()?;
        let is_single = values.next().is_none();
        Some(look_up(if is_single { value.as_bytes() } else { b"" }))
    }
}
