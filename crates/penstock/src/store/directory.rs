//! A directory of manifests, read at any depth.
//!
//! Every `.yaml`, `.yml` and `.json` file below the root is read, through
//! symlinks too: Kubernetes mounts a ConfigMap as `a.yaml -> ..data/a.yaml`
//! and swaps `..data`. Names that begin with `.` are never read; they belong
//! to editors, to Kubernetes and to penstock's own `.penstock`.
//!
//! A file is read again only if its stamp changed, so that a reload of many
//! thousands of files costs a stat for each and nothing more.
//!
//! What is committed and not yet in the files lies over them, so that no
//! reader sees half of a revision; see [`journal`].
//!
//! Invariant: an equal tree gives an equal listing, whatever was cached.
//! Invariant: a file that is being written is not read; see [`unfinished`].

mod journal;
mod scan;
#[cfg(test)]
mod tests;
mod unfinished;
mod watching;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use penstock_gateway::access_log::timestamp;
use penstock_manifest::Listing;
use penstock_manifest::diagnostic::{LIMIT, UNREADABLE_FILE};
use penstock_manifest::listing::assemble;
use penstock_manifest::plan::{TargetFile, hex};
use penstock_manifest::read::{FileContent, FilePath, read_bytes, read_file, unreadable_file};
use penstock_manifest::redact::sha256_hex;
use tokio::sync::watch;

use crate::store::revision::{Commit, Record, Revised};
use crate::store::{CommitError, Contents, Lock, Store, StoreError};
use journal::{Journal, NotCommitted};
use scan::{Found, Scan, Stamp};
use unfinished::Unfinished;
use watching::{Pace, Watching};

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// How often a listing starts again because the tree changed under it.
const ATTEMPTS_MAX: usize = 3;
/// A file that changed less than this before it was read may change again
/// without a new time stamp, so its stamp is not trusted (git calls such
/// files racily clean).
const RACY: Duration = Duration::from_secs(2);
/// From how many files on reading them is worth more than one thread.
const PARALLEL_FILES_MIN: usize = 64;

/// A directory of manifests.
pub struct Directory {
    root: PathBuf,
    /// The content of every file that was there last time.
    cache: Mutex<HashMap<Arc<str>, Cached>>,
    watching: Mutex<Option<Watching>>,
    /// The tree as it was when a change was last reported, for the listing
    /// that follows.
    seen: Arc<Mutex<Option<Scan>>>,
    unfinished: Unfinished,
    journal: Journal,
    pace: Pace,
}

/// A file's content and what the file looked like when it was read.
#[derive(Clone)]
struct Cached {
    stamp: Stamp,
    is_racy: bool,
    content: Arc<FileContent>,
}

impl Directory {
    /// Opens a directory, which must be there and readable now.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::with_pace(root.into(), Pace::default())
    }

    fn with_pace(root: PathBuf, pace: Pace) -> Result<Self, StoreError> {
        let unreadable = |reason| StoreError::Unreadable { path: root.clone(), reason };
        if !std::fs::metadata(&root).map_err(unreadable)?.is_dir() {
            return Err(StoreError::NotADirectory(root));
        }
        std::fs::read_dir(&root).map_err(unreadable)?;
        let (cache, watching, seen) = (Mutex::default(), Mutex::default(), Arc::default());
        let (unfinished, journal) = (Unfinished::default(), Journal::new(&root));
        Ok(Self { root, cache, watching, seen, unfinished, journal, pace })
    }

    /// The path of a file as the user would name it.
    fn path_of(&self, relative: &str) -> FilePath {
        let display = match self.root.to_string_lossy().trim_end_matches('/') {
            "." => relative.to_owned(),
            root => format!("{root}/{relative}"),
        };
        FilePath::new(display, relative)
    }

    fn read(&self, found: &Found, old: Option<&Cached>) -> Option<Cached> {
        let path = self.path_of(&found.relative);
        let failed = |content: FileContent| {
            // Whatever the failure was, it is looked into again next time.
            Some(Cached { stamp: found.stamp, is_racy: true, content: Arc::new(content) })
        };
        let read = match &found.error {
            Some(error) => Err(io::Error::new(error.kind(), error.to_string())),
            None => read_stable(&found.path),
        };
        let error = match read {
            Ok((stamp, bytes, read_at)) => {
                let content = Arc::new(read_bytes(&path, &bytes));
                // The old resources stay the same objects where nothing
                // changed, so that comparing them costs nothing.
                let content = match old {
                    Some(old) if old.content.hash == content.hash => old.content.clone(),
                    _ => content,
                };
                return Some(Cached { stamp, is_racy: stamp.is_racy(read_at, RACY), content });
            }
            Err(error) => error,
        };
        match error.kind() {
            // Gone since the tree was scanned, unless it is a dangling link.
            io::ErrorKind::NotFound if found.error.is_none() => None,
            io::ErrorKind::FileTooLarge => {
                let message = format!("the file is larger than {} MiB", FILE_BYTES_MAX >> 20);
                failed(unreadable_file(&path, &LIMIT, message))
            }
            _ => failed(unreadable_file(&path, &UNREADABLE_FILE, error.to_string())),
        }
    }

    /// The content of every file of a scan, from the cache where it can be,
    /// and whether it all came from there.
    fn read_all(&self, scan: &Scan) -> (HashMap<Arc<str>, Cached>, bool) {
        let cache = lock(&self.cache).clone();
        let is_cached = AtomicBool::new(true);
        let content_of = |found: &Found| -> Option<(Arc<str>, Cached)> {
            let old = cache.get(&found.relative);
            // At the start nothing is known that could stand in for it.
            if !cache.is_empty() && self.unfinished.contains(&found.path) {
                return old.map(|old| (found.relative.clone(), old.clone()));
            }
            match old {
                Some(old) if !old.is_racy && old.stamp == found.stamp => {
                    Some((found.relative.clone(), old.clone()))
                }
                _ => {
                    is_cached.store(false, Ordering::Relaxed);
                    Some((found.relative.clone(), self.read(found, old)?))
                }
            }
        };
        let threads = match scan.files.len() {
            0..PARALLEL_FILES_MIN => 1,
            _ => std::thread::available_parallelism().map_or(1, usize::from).min(4),
        };
        let share = scan.files.len().div_ceil(threads).max(1);
        let contents = std::thread::scope(|scope| {
            let workers: Vec<_> = scan
                .files
                .chunks(share)
                .map(|files| {
                    scope.spawn(|| files.iter().filter_map(content_of).collect::<Vec<_>>())
                })
                .collect();
            workers
                .into_iter()
                .flat_map(|worker| match worker.join() {
                    Ok(contents) => contents,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
                .collect()
        });
        (contents, is_cached.into_inner())
    }

    /// What each file holds, for callers that join several sources. A
    /// revision that is on its way into the files lies over them.
    pub fn files(&self) -> Result<Vec<Arc<FileContent>>, StoreError> {
        self.at_rest(|is_open| {
            let contents = self.files_on_disk()?;
            if is_open { self.overlaid(contents) } else { Ok(contents) }
        })
    }

    /// What is read while no revision is committed, started or ended. `read`
    /// is told whether one is on its way into the files.
    fn at_rest<T>(
        &self,
        mut read: impl FnMut(bool) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut guard = None;
        let mut attempt = 1;
        loop {
            let mark = self.journal.mark();
            let result = read(mark.is_open());
            if self.journal.mark() == mark || guard.is_some() {
                return result;
            }
            if attempt >= ATTEMPTS_MAX {
                // One commit after another: keep the next one out.
                guard = self.journal.lock().ok();
            }
            attempt += 1;
        }
    }

    /// The files as the open revision makes them.
    fn overlaid(
        &self,
        contents: Vec<Arc<FileContent>>,
    ) -> Result<Vec<Arc<FileContent>>, StoreError> {
        let open = match self.journal.open() {
            Ok(Some(open)) => open,
            Ok(None) => return Ok(contents),
            // Another user's journal cannot be laid over the files.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(contents),
            Err(reason) => return Err(self.unreadable(reason)),
        };
        let mut coming = open.by_path();
        let mut laid = Vec::with_capacity(contents.len() + coming.len());
        for content in contents {
            let Some(file) = coming.remove(&*content.path.relative) else {
                laid.push(content);
                continue;
            };
            let is_base = file.base.as_deref() == Some(&hex(&content.hash));
            match (&file.after, is_base) {
                (_, false) => laid.push(content),
                (Some(text), true) => laid.push(Arc::new(read_file(&content.path, text))),
                (None, true) => {}
            }
        }
        for file in coming.into_values().filter(|file| file.base.is_none()) {
            if let Some(text) = &file.after {
                laid.push(Arc::new(read_file(&self.path_of(&file.path), text)));
            }
        }
        Ok(laid)
    }

    fn unwritable(&self, reason: io::Error) -> CommitError {
        CommitError::Unwritable { path: self.root.clone(), reason }
    }

    fn unreadable(&self, reason: io::Error) -> StoreError {
        StoreError::Unreadable { path: self.root.clone(), reason }
    }

    fn files_on_disk(&self) -> Result<Vec<Arc<FileContent>>, StoreError> {
        let unreadable = |reason| self.unreadable(reason);
        let seen = lock(&self.seen).take();
        // What was seen for a report is compared with the tree in any case,
        // and is no attempt of its own.
        let mut is_new = seen.is_none();
        let mut attempt = usize::from(is_new);
        let mut scan = match seen {
            Some(seen) => seen,
            None => scan::scan(&self.root).map_err(unreadable)?,
        };
        loop {
            let (contents, is_cached) = self.read_all(&scan);
            lock(&self.cache).clone_from(&contents);
            // Files that changed while others were read would give a mixture
            // of two states, such as half of a ConfigMap mount that was
            // swapped. What never rests is taken as it is: another change
            // will be reported.
            let is_one_state = (is_cached && is_new) || attempt >= ATTEMPTS_MAX || {
                let next = scan::scan(&self.root).map_err(unreadable)?;
                is_new = true;
                let previous = std::mem::replace(&mut scan, next);
                previous.fingerprint() == scan.fingerprint()
            };
            if is_one_state {
                return Ok(contents.into_values().map(|cached| cached.content).collect());
            }
            attempt += 1;
        }
    }

    /// The text of each file, as it stands on disk or in the open revision.
    fn texts(&self, files: &[Arc<FileContent>]) -> Result<Vec<TargetFile>, StoreError> {
        let open = self.journal.open().map_err(|reason| self.unreadable(reason))?;
        let coming = open.iter().flat_map(Revised::by_path).collect::<HashMap<_, _>>();
        let mut texts = Vec::with_capacity(files.len());
        for file in files {
            let path = &file.path;
            let coming = coming.get(&*path.relative).and_then(|file| file.after.as_deref());
            let is_it = |text: &&str| sha256_hex(text) == hex(&file.hash);
            let text = match coming.filter(is_it) {
                Some(text) => text.into(),
                None => match std::fs::read_to_string(self.root.join(&*path.relative)) {
                    Ok(text) if is_it(&&*text) => text.into(),
                    // What is no text, or is being written, cannot be changed.
                    _ => continue,
                },
            };
            texts.push(TargetFile { path: path.clone(), hash: file.hash, text });
        }
        Ok(texts)
    }

    /// Refuses what would not be written where it belongs, or over an edit.
    fn check(&self, commit: &Commit<'_>) -> Result<(), CommitError> {
        for file in commit.files {
            if let Some(reason) = journal::refusal(&self.root, &file.path) {
                return Err(CommitError::Path { path: file.path.to_string(), reason });
            }
        }
        let files = self.files()?;
        let there: HashMap<&str, [u8; 32]> =
            files.iter().map(|file| (&*file.path.relative, file.hash)).collect();
        let moved = commit.files.iter().find(|file| there.get(&*file.path).copied() != file.base);
        if let Some(file) = moved {
            return Err(CommitError::Edited(file.path.to_string()));
        }
        match assemble(files.iter().map(|file| &**file)).revision == *commit.base {
            true => Ok(()),
            false => Err(CommitError::Moved),
        }
    }
}

impl Store for Directory {
    fn list(&self) -> Result<Listing, StoreError> {
        let files = self.files()?;
        Ok(assemble(files.iter().map(|file| &**file)))
    }

    fn contents(&self) -> Result<Contents, StoreError> {
        self.at_rest(|_| {
            let files = self.files()?;
            let listing = assemble(files.iter().map(|file| &**file));
            let texts = self.texts(&files)?;
            let (ledger, hashes) =
                self.journal.state().map_err(|reason| self.unreadable(reason))?;
            Ok(Contents { root: self.path_of("").display, files, texts, listing, ledger, hashes })
        })
    }

    fn lock(&self) -> Result<Lock, CommitError> {
        let lock = self.journal.lock().map_err(|reason| self.unwritable(reason))?;
        self.journal.recover().map_err(|reason| self.unwritable(reason))?;
        Ok(Lock(Some(lock)))
    }

    fn commit(&self, _: &Lock, commit: &Commit<'_>) -> Result<Record, CommitError> {
        self.check(commit)?;
        let time = timestamp(SystemTime::now());
        let committed = self.journal.commit(commit, time);
        let committed = committed.map_err(|error| match error {
            NotCommitted::Edited(path) => CommitError::Edited(path),
            NotCommitted::Io(reason) => self.unwritable(reason),
        })?;
        let rolled = committed.carried.map_err(CommitError::Unfinished)?;
        match rolled.edited.is_empty() {
            true => Ok(committed.record),
            false => Err(CommitError::Overtaken { id: committed.record.id, paths: rolled.edited }),
        }
    }

    fn history(&self) -> Result<Vec<Record>, StoreError> {
        self.journal.records().map_err(|reason| self.unreadable(reason))
    }

    fn revision(&self, id: u64) -> Result<Option<Revised>, StoreError> {
        self.journal.revision(id).map_err(|reason| self.unreadable(reason))
    }

    fn recover(&self) {
        if !self.journal.mark().is_open() {
            return;
        }
        // A writer that is at work needs no help.
        let Some(_lock) = self.journal.try_lock() else { return };
        match self.journal.recover() {
            Ok(Some(rolled)) => {
                tracing::info!(edited = ?rolled.edited, "a revision that was cut short is finished");
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "a committed revision cannot be finished"),
        }
    }

    fn watch(&self) -> watch::Receiver<u64> {
        lock(&self.watching)
            .get_or_insert_with(|| {
                let (unfinished, seen) = (self.unfinished.clone(), self.seen.clone());
                Watching::start(self.root.clone(), self.pace, unfinished, seen)
            })
            .subscribe()
    }
}

/// The bytes of a file that did not change while it was read, with its stamp
/// and the time of reading.
fn read_stable(path: &Path) -> io::Result<(Stamp, Vec<u8>, SystemTime)> {
    let mut attempt = 1;
    loop {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is no longer a regular file"));
        }
        let read_at = SystemTime::now();
        let before = Stamp::of(&metadata);
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
        (&file).take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if Stamp::of(&file.metadata()?) == before || attempt >= ATTEMPTS_MAX {
            return Ok((before, bytes, read_at));
        }
        attempt += 1;
    }
}

/// A panic while the lock was held leaves nothing half-done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
