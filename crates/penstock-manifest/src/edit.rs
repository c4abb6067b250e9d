//! One change of what a store holds: a consumer more, a key replaced, a
//! provider gone.
//!
//! An edit needs no intent. It looks at what is there, whoever wrote it, and
//! gives a [`Plan`] as [`plan::plan`] does, so that it is shown, saved and
//! applied in the same way. Keys go into Secrets; plugins only refer to them.
//!
//! Nothing here reads a clock: an edit is told what time it is.
//!
//! Invariant: an edit never opens what was closed. An allow list and a list of
//! consumers that become empty stay, because key-auth takes an empty list for
//! "nobody"; where its Go build would not, the edit is refused.
//! Invariant: neither an error nor `Debug` of an edit contains a secret.

mod consumer;
mod delete;
mod draft;
mod key_auth;
mod mention;
mod provider;
mod rotate;
mod rule;
mod secret;

use std::collections::BTreeSet;
use std::fmt;

use thiserror::Error;

use crate::intent::consumer::KeySource;
use crate::kind::config_map::{AI_ROUTE_PREFIX, DOMAIN_PREFIX};
use crate::ledger::Ledger;
use crate::lint::listed;
use crate::node::Node;
use crate::plan::{self, Inputs, Plan, Stamp, TargetFile};
use crate::resource::{Listing, ResourceKey};

use draft::Draft;

/// A kind of thing in an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThingKind {
    /// A domain.
    Domain,
    /// An LLM provider.
    Provider,
    /// A consumer.
    Consumer,
    /// An AI route.
    AiRoute,
    /// A service source.
    ServiceSource,
}

impl ThingKind {
    /// `domain`, `provider`, `consumer`, `ai-route` or `service-source`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Domain => "domain",
            Self::Provider => "provider",
            Self::Consumer => "consumer",
            Self::AiRoute => "ai-route",
            Self::ServiceSource => "service-source",
        }
    }
}

impl fmt::Display for ThingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One change of what is there. `Debug` shows no keys.
#[derive(Clone, PartialEq, Eq)]
pub enum Edit {
    /// A thing goes, with every resource and every entry of shared resources
    /// that exists only because of it.
    Delete {
        /// What it is.
        kind: ThingKind,
        /// Its name.
        name: String,
    },
    /// A consumer that is not there yet. It may use nothing until a route
    /// allows it.
    AddConsumer {
        /// Its name.
        name: String,
        /// Where its key stands in a request.
        source: KeySource,
        /// Its key, without `Bearer `.
        value: String,
    },
    /// A consumer gets a new key; its old ones end.
    RotateConsumer {
        /// Its name.
        name: String,
        /// The new key, without `Bearer `.
        value: String,
        /// When the old keys end, as RFC 3339 in UTC; at once where absent.
        /// Higress does not know of ends: there the old keys stay valid until
        /// the next rotation.
        until: Option<String>,
    },
    /// A consumer's access ends at once: its keys go, and its name in every
    /// allow list.
    RevokeConsumer {
        /// Its name.
        name: String,
    },
    /// An LLM provider gets these tokens instead of the old ones.
    SetProviderTokens {
        /// Its name.
        name: String,
        /// The tokens, at least one.
        tokens: Vec<String>,
    },
}

impl fmt::Debug for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, name) = match self {
            Self::Delete { kind, name } => (kind.as_str(), name),
            Self::AddConsumer { name, .. } => ("AddConsumer", name),
            Self::RotateConsumer { name, .. } => ("RotateConsumer", name),
            Self::RevokeConsumer { name } => ("RevokeConsumer", name),
            Self::SetProviderTokens { name, .. } => ("SetProviderTokens", name),
        };
        f.debug_tuple("Edit").field(&what).field(name).finish()
    }
}

/// What is edited.
#[derive(Clone, Copy)]
pub struct There<'a> {
    /// What is there.
    pub actual: &'a Listing,
    /// The texts of what is there.
    pub files: &'a [TargetFile],
    /// What is penstock's.
    pub ledger: &'a Ledger,
}

/// When an edit happens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The time, in seconds since 1970.
    pub now_s: u64,
    /// What is written into changed resources.
    pub stamp: Option<Stamp>,
}

/// Why an edit cannot be made. Nothing is changed then.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EditError {
    /// There is no such thing.
    #[error("there is no {kind} `{name}`")]
    NotFound {
        /// What it would be.
        kind: ThingKind,
        /// The name that nothing bears.
        name: String,
        /// The name that may be meant.
        nearest: Option<String>,
    },
    /// There is one already.
    #[error("{what} exists already")]
    Exists {
        /// What it is.
        what: String,
    },
    /// Something needs it.
    #[error("{kind} `{name}` is used by {}", listed(by))]
    Used {
        /// What it is.
        kind: ThingKind,
        /// Its name.
        name: String,
        /// What needs it.
        by: Vec<String>,
    },
    /// It is there more than once, and nobody can say which one is meant.
    #[error("{kind} `{name}` is defined more than once, in {}", listed(places))]
    Several {
        /// What it is.
        kind: ThingKind,
        /// Its name.
        name: String,
        /// The resources that define it.
        places: Vec<String>,
    },
    /// A document that may have to be changed cannot be read.
    #[error("{what} cannot be read: {why}")]
    Unreadable {
        /// The file or resource.
        what: String,
        /// What is wrong with it, in one clause.
        why: String,
    },
    /// A name or value that cannot be used. The value is not told.
    #[error("{what} {why}")]
    Invalid {
        /// Which one.
        what: String,
        /// Why not, in one clause.
        why: String,
    },
    /// A consumer has this key already.
    #[error("consumer `{owner}` has this key already")]
    Taken {
        /// The consumer.
        owner: String,
    },
    /// The Go build of key-auth has no safe form for what would be left.
    #[error("{plugin} is the Go build of key-auth, which {why}")]
    GoBuild {
        /// The plugin.
        plugin: ResourceKey,
        /// What it needs.
        why: &'static str,
    },
}

impl EditError {
    /// What can be done about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { nearest, .. } => {
                nearest.as_ref().map(|nearest| format!("did you mean `{nearest}`?"))
            }
            Self::Used { kind: ThingKind::Consumer, .. } => {
                Some("`consumer revoke` takes it out of every route".into())
            }
            Self::Used { .. } => Some("change or delete what uses it first".into()),
            Self::Several { .. } => Some("keep one of them".into()),
            Self::Taken { .. } => Some("a key identifies one consumer: use another one".into()),
            Self::GoBuild { .. } => Some("use the console's build, or edit it by hand".into()),
            Self::Exists { .. } | Self::Unreadable { .. } | Self::Invalid { .. } => None,
        }
    }

    fn not_found<'a>(
        kind: ThingKind,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let nearest = crate::diagnostic::nearest(name, known.into_iter()).map(str::to_owned);
        Self::NotFound { kind, name: name.to_owned(), nearest }
    }

    fn several<'a>(
        kind: ThingKind,
        name: &str,
        places: impl Iterator<Item = &'a ResourceKey>,
    ) -> Self {
        let places: BTreeSet<String> = places.map(ToString::to_string).collect();
        Self::Several { kind, name: name.to_owned(), places: places.into_iter().collect() }
    }

    fn unreadable(what: impl fmt::Display, why: impl Into<String>) -> Self {
        Self::Unreadable { what: what.to_string(), why: why.into() }
    }
}

/// Plans an edit.
///
/// # Errors
/// It cannot be made. What the merge finds, such as a setting that somebody
/// else chose otherwise, is a diagnostic of the plan.
pub fn edit(there: &There<'_>, edit: &Edit, moment: &Moment) -> Result<Plan, EditError> {
    check_readable(there.actual, edit)?;
    let mut draft = Draft::new(there.actual, there.ledger);
    match edit {
        Edit::Delete { kind, name } => delete::delete(&mut draft, *kind, name)?,
        Edit::AddConsumer { name, source, value } => {
            consumer::add(&mut draft, name, source, value)?;
        }
        Edit::RotateConsumer { name, value, until } => {
            let end = rotate::end(until.as_deref(), moment.now_s)?;
            rotate::rotate(&mut draft, name, value, &end)?;
        }
        Edit::RevokeConsumer { name } => consumer::revoke(&mut draft, name)?,
        Edit::SetProviderTokens { name, tokens } => {
            provider::set_tokens(&mut draft, name, tokens)?;
        }
    }
    let merged = draft.finish()?;
    let inputs =
        Inputs { desired: &[], actual: there.actual, files: there.files, ledger: there.ledger };
    Ok(plan::of_merged(merged, &inputs, moment.stamp.as_ref()))
}

/// A document that cannot be read may hold what an edit is about.
fn check_readable(actual: &Listing, edit: &Edit) -> Result<(), EditError> {
    let kinds: &[&str] = match edit {
        Edit::Delete { .. } => {
            &["ConfigMap", "EnvoyFilter", "Ingress", "McpBridge", "Secret", "WasmPlugin"]
        }
        Edit::RevokeConsumer { .. } => &["ConfigMap", "Secret", "WasmPlugin"],
        _ => &["Secret", "WasmPlugin"],
    };
    let concerns = |key: &ResourceKey| {
        kinds.contains(&&*key.kind)
            && (&*key.kind != "ConfigMap"
                || key.name.starts_with(AI_ROUTE_PREFIX)
                || key.name.starts_with(DOMAIN_PREFIX))
    };
    let broken = actual.broken.iter().find(|broken| match &broken.key {
        Some(key) => concerns(key),
        None => !broken.is_empty || broken.may_be_wasm_plugin,
    });
    match broken {
        Some(broken) => {
            Err(EditError::unreadable(&broken.file, "it may hold what the edit is about"))
        }
        None => Ok(()),
    }
}

/// The texts of a list.
fn texts_in<'a>(node: &'a Node, key: &str) -> impl Iterator<Item = &'a str> {
    let list = node.get(key).and_then(Node::as_list).unwrap_or_default();
    list.iter().filter_map(Node::as_str)
}
