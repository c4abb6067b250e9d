//! Where resources live.
//!
//! A store is level-triggered: [`Store::watch`] says that something changed,
//! never what; [`Store::list`] is always the whole set. A change that is seen
//! twice, or together with another one, is one change.
//!
//! Invariant: what a store cannot read is in the listing as broken, with a
//! finding; only a store that cannot be read at all is an error.

mod directory;
pub mod revision;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use penstock_manifest::Listing;
use penstock_manifest::ledger::Ledger;
use penstock_manifest::plan::TargetFile;
use penstock_manifest::read::FileContent;
use thiserror::Error;
use tokio::sync::watch;

pub use directory::Directory;
use revision::{Commit, Hashes, Record, Revised};

/// A place that holds resources.
pub trait Store: Send + Sync {
    /// Everything it holds now. Reads files or the network: call it where
    /// blocking is allowed.
    fn list(&self) -> Result<Listing, StoreError>;

    /// A counter that grows after every change, once the change has come to
    /// rest. Ask for it before the first [`list`](Self::list), so that no
    /// change falls between the two.
    fn watch(&self) -> watch::Receiver<u64>;

    /// Everything that a change is planned from, as one state.
    fn contents(&self) -> Result<Contents, StoreError>;

    /// Keeps other writers out until the lock is dropped; waits for them. What
    /// a writer that died had committed is finished first.
    fn lock(&self) -> Result<Lock, CommitError>;

    /// Commits a revision whole or not at all.
    fn commit(&self, lock: &Lock, commit: &Commit<'_>) -> Result<Record, CommitError>;

    /// The revisions that are kept, ascending.
    fn history(&self) -> Result<Vec<Record>, StoreError>;

    /// A revision with its files, where it is kept.
    fn revision(&self, id: u64) -> Result<Option<Revised>, StoreError>;

    /// Finishes what a writer that died had committed, where nobody else is
    /// at it. Failing only means that it is tried again.
    fn recover(&self);
}

/// Keeps other writers out while it lives.
pub struct Lock(#[expect(dead_code, reason = "dropping it is its use")] Option<File>);

/// What a store holds, with the texts.
#[derive(Default)]
pub struct Contents {
    /// What stands before the path of a file below the root, where the user
    /// is told of it; empty, or it ends with `/`.
    pub root: Arc<str>,
    /// What each file holds.
    pub files: Vec<Arc<FileContent>>,
    /// The texts of the files.
    pub texts: Vec<TargetFile>,
    /// Everything put together.
    pub listing: Listing,
    /// What is penstock's.
    pub ledger: Ledger,
    /// What the files that penstock wrote held when it had written them.
    pub hashes: Hashes,
}

/// Why a change was not committed.
#[derive(Debug, Error)]
pub enum CommitError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store cannot be written; nothing was changed.
    #[error("cannot write `{}`: {reason}; nothing was changed", path.display())]
    Unwritable {
        /// The directory as it was named.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// A path that must not be written.
    #[error("`{path}` {reason}")]
    Path {
        /// The path.
        path: String,
        /// Why.
        reason: &'static str,
    },
    /// A file is not what the plan was made against.
    #[error("conflict: `{0}` changed since the plan was made; plan again")]
    Edited(String),
    /// Some other file is not.
    #[error("conflict: the target changed since the plan was made; plan again")]
    Moved,
    /// Committed, but files could not be written yet.
    #[error(
        "the change is committed and in force for penstock, but not all files could be written: {0}; serve or the next apply finishes it"
    )]
    Unfinished(io::Error),
    /// Committed, but files were edited by hand at the same moment.
    #[error("conflict: revision {id} is committed, but {} was edited by hand meanwhile and stays as edited", paths.join(", "))]
    Overtaken {
        /// The revision.
        id: u64,
        /// The files.
        paths: Vec<String>,
    },
}

/// Why a store cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The kind of store is not there yet.
    #[error("`{0}`: reading from Kubernetes is not supported yet; name a directory")]
    NotYet(String),
    /// A gateway, where only a directory will do.
    #[error("`{0}` is a gateway; name a directory")]
    Gateway(String),
    /// The path is something else.
    #[error("`{}` is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// The directory itself cannot be read.
    #[error("cannot read the directory `{}`: {reason}", path.display())]
    Unreadable {
        /// The directory as it was named.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
}

/// Opens what `--config` names: a directory, or `k8s:NAMESPACE`.
pub fn open(source: &str) -> Result<Arc<dyn Store>, StoreError> {
    // A directory may have such a name, too: `./k8s:x`.
    if source == "k8s" || source.starts_with("k8s:") {
        return Err(StoreError::NotYet(source.to_owned()));
    }
    if source.starts_with("http://") || source.starts_with("https://") {
        return Err(StoreError::Gateway(source.to_owned()));
    }
    Ok(Arc::new(Directory::open(source)?))
}
