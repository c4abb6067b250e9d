//! What changes are applied to: a directory, or a gateway from afar.
//!
//! Both answer the same [`Request`]s with the same answers, so a verb prints
//! what it gets and knows nothing else. Answers are what goes over the wire;
//! nothing in them is secret, except a plan that is to be saved.

mod answer;
mod candidate;
mod drift;
mod edit;
mod failure;
mod local;
mod remote;
mod request;
mod unwind;

pub use answer::{
    Applied, Difference, Exported, GatewayStatus, InForce, Planned, Printed, Shown, Standing,
    Tested,
};
pub use edit::EditRequest;
pub use failure::{Failure, FailureKind};
pub use local::Local;
pub use remote::{Access, Remote};
pub use request::{AdoptRequest, ChangeRequest, IntentText, Request, key_of};

use penstock_gateway::compile::Options;

use crate::store::revision::Record;

/// What changes are applied to.
pub enum Target {
    /// A directory.
    Local(Local),
    /// A gateway from afar.
    Remote(Remote),
}

impl Target {
    /// Opens what `--to` names: a directory, or the URL of a gateway's admin
    /// listener.
    pub fn open(name: &str, options: Options, access: &Access) -> Result<Self, Failure> {
        match Remote::is_named(name) {
            true => Ok(Self::Remote(Remote::new(name, access)?)),
            false => Ok(Self::Local(Local::open(name, options)?)),
        }
    }

    /// What a change would do; nothing is written.
    pub fn plan(&self, request: &Request) -> Result<Planned, Failure> {
        match self {
            Self::Local(local) => local.plan(request),
            Self::Remote(remote) => remote.plan(request),
        }
    }

    /// Makes a change, whole or not at all.
    pub fn apply(&self, request: &Request) -> Result<Applied, Failure> {
        match self {
            Self::Local(local) => local.apply(request),
            Self::Remote(remote) => remote.apply(request),
        }
    }

    /// The revisions that are kept, ascending.
    pub fn history(&self) -> Result<Vec<Record>, Failure> {
        match self {
            Self::Local(local) => local.history(),
            Self::Remote(remote) => remote.history(),
        }
    }

    /// A revision with its changes.
    pub fn show(&self, id: u64) -> Result<Shown, Failure> {
        match self {
            Self::Local(local) => local.show(id),
            Self::Remote(remote) => remote.show(id),
        }
    }

    /// What differs between two revisions, a revision and now, or, without
    /// any, what was edited by hand since the last one.
    pub fn diff(&self, from: Option<u64>, to: Option<u64>) -> Result<Difference, Failure> {
        match self {
            Self::Local(local) => local.diff(from, to),
            Self::Remote(remote) => remote.diff(from, to),
        }
    }

    /// How the target stands.
    pub fn standing(&self) -> Result<Standing, Failure> {
        match self {
            Self::Local(local) => local.standing(),
            Self::Remote(remote) => remote.standing(),
        }
    }
}
