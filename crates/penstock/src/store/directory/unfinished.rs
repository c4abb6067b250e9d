//! Manifests that are being written.
//!
//! Half a file can be a valid one, and must neither open a route nor drop a
//! consumer. So a manifest that was written to is not read again before it
//! was closed; what it held before stays.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use notify::Event;
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};

use crate::store::directory::{lock, scan};

/// The manifests that were written to and not closed since, with the time of
/// the last write. Shared by the thread that hears of events and the listing.
#[derive(Clone, Default)]
pub(super) struct Unfinished(Arc<Mutex<HashMap<PathBuf, Instant>>>);

impl Unfinished {
    /// Takes note of an event. A rename or a removal ends the writing, too:
    /// what has that name then is another file.
    pub(super) fn note(&self, event: &Event) {
        let mut writing = lock(&self.0);
        if event.need_rescan() {
            // The end of a writing may be among the events that were lost.
            writing.clear();
        }
        match event.kind {
            EventKind::Modify(ModifyKind::Data(_)) => {
                let manifests = event.paths.iter().filter(|path| is_manifest(path));
                writing.extend(manifests.map(|path| (path.clone(), Instant::now())));
            }
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(_))
            | EventKind::Remove(_) => {
                for path in &event.paths {
                    writing.remove(path);
                }
            }
            _ => {}
        }
    }

    /// Whether the file at a path, or the one that a link there leads to, is
    /// being written.
    pub(super) fn contains(&self, path: &Path) -> bool {
        let writing = lock(&self.0);
        !writing.is_empty()
            && (writing.contains_key(path)
                || path.canonicalize().is_ok_and(|path| writing.contains_key(&path)))
    }

    /// Forgets those that were not written to for a time; whether there were
    /// any. A file can be truncated without being opened, so not every
    /// writing has an end that is told.
    pub(super) fn expire(&self, time: Duration) -> bool {
        let mut writing = lock(&self.0);
        let before = writing.len();
        writing.retain(|_, written| written.elapsed() < time);
        writing.len() < before
    }
}

/// Whether a file of this name is read.
pub(super) fn is_manifest(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(scan::is_manifest)
}
