//! Where resources live.
//!
//! A store is level-triggered: [`Store::watch`] says that something changed,
//! never what; [`Store::list`] is always the whole set. A change that is seen
//! twice, or together with another one, is one change.
//!
//! Invariant: what a store cannot read is in the listing as broken, with a
//! finding; only a store that cannot be read at all is an error.

mod directory;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use penstock_manifest::Listing;
use thiserror::Error;
use tokio::sync::watch;

pub use directory::Directory;

/// A place that holds resources.
pub trait Store: Send + Sync {
    /// Everything it holds now. Reads files or the network: call it where
    /// blocking is allowed.
    fn list(&self) -> Result<Listing, StoreError>;

    /// A counter that grows after every change, once the change has come to
    /// rest. Ask for it before the first [`list`](Self::list), so that no
    /// change falls between the two.
    fn watch(&self) -> watch::Receiver<u64>;
}

/// Why a store cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The kind of store is not there yet.
    #[error("`{0}`: reading from Kubernetes is not supported yet; name a directory")]
    NotYet(String),
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
    Ok(Arc::new(Directory::open(source)?))
}
