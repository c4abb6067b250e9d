//! The journal of a directory: what is committed, on its way into the files,
//! and then kept as history.
//!
//! A revision is one file of JSON lines: its record, the ledger with the hash
//! of every file that penstock wrote, then a line for each file of the revision with its text before and after. Renaming it to
//! `.penstock/journal` is the moment of commit; renaming that to
//! `.penstock/history/ID` ends it. So a directory is, at every moment, either
//! before a revision or, for whoever reads the journal, after it.
//!
//! Invariant: a file that holds neither what was there before nor what the
//! journal writes was edited by hand, and is not overwritten.

mod file;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use penstock_manifest::ledger::Ledger;
use penstock_manifest::plan::hex;
use penstock_manifest::redact::{sha256_hex, text_holds_secret};

use super::scan;
use crate::store::revision::{Commit, Hashes, RECORD_VERSION, Record, Revised, RevisedFile};

/// How many revisions are kept.
const REVISIONS_MAX: usize = 100;
/// How many bytes all revisions may take, except that
/// [`REVISIONS_MIN`] are kept however large they are.
const HISTORY_BYTES_MAX: u64 = 256 << 20;
/// How many revisions are kept at least.
const REVISIONS_MIN: usize = 10;
/// The mode of what may hold keys.
const OWNER_ONLY: u32 = 0o600;
const EVERYBODY_READS: u32 = 0o644;

/// penstock's own folder in a directory of manifests.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    root: PathBuf,
    folder: PathBuf,
}

/// What is committed and not finished, and how many revisions there were: two
/// equal ones around a reading mean that no commit came between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Mark {
    /// The journal's inode and time of change, where there is one.
    journal: Option<(u64, i64, i64)>,
    last: u64,
}

impl Mark {
    /// Whether a revision is on its way into the files.
    pub(super) fn is_open(&self) -> bool {
        self.journal.is_some()
    }

    /// What tells one open revision from another; 0 where none is open.
    pub(super) fn fingerprint(&self) -> u64 {
        let Some(journal) = self.journal else { return 0 };
        let mut hasher = DefaultHasher::new();
        journal.hash(&mut hasher);
        hasher.finish()
    }
}

/// What became of a journal that was rolled forward.
#[derive(Debug, Default)]
pub(super) struct Rolled {
    /// The files that were edited by hand and stay so.
    pub(super) edited: Vec<String>,
}

/// Why a revision was not committed; the directory is as it was.
#[derive(Debug)]
pub(super) enum NotCommitted {
    /// This file is not what the revision was made against.
    Edited(String),
    /// What the system says.
    Io(io::Error),
}

impl From<io::Error> for NotCommitted {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A revision that is in force.
#[derive(Debug)]
pub(super) struct Committed {
    /// Who, when and why.
    pub(super) record: Record,
    /// What became of carrying it into the files.
    pub(super) carried: io::Result<Rolled>,
}

impl Journal {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), folder: root.join(".penstock") }
    }

    fn path(&self) -> PathBuf {
        self.folder.join("journal")
    }

    /// The journal before its commit.
    fn draft(&self) -> PathBuf {
        self.folder.join("journal.new")
    }

    fn history(&self) -> PathBuf {
        self.folder.join("history")
    }

    /// Keeps other writers out until the file is dropped.
    pub(super) fn lock(&self) -> io::Result<File> {
        self.create_folder(&self.folder)?;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(OWNER_ONLY)
            .open(self.folder.join("lock"))?;
        give(&file, &file.metadata()?, &fs::metadata(&self.root)?);
        file.lock()?;
        Ok(file)
    }

    /// As [`lock`](Self::lock), but does not wait, and makes nothing.
    pub(super) fn try_lock(&self) -> Option<File> {
        let file = OpenOptions::new().write(true).open(self.folder.join("lock")).ok()?;
        file.try_lock().ok()?;
        Some(file)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let owner = fs::metadata(&self.root)?;
        [&self.folder, folder].into_iter().try_for_each(|made| {
            let made = File::open(made)?;
            give(&made, &made.metadata()?, &owner);
            Ok(())
        })
    }

    /// Where the directory stands now. What cannot be looked at counts as
    /// absent: it is found again where it is needed.
    pub(super) fn mark(&self) -> Mark {
        let journal = fs::metadata(self.path()).ok();
        let journal = journal.map(|found| (found.ino(), found.ctime(), found.ctime_nsec()));
        let last = self.ids().ok().and_then(|ids| ids.last().copied());
        Mark { journal, last: last.unwrap_or(0) }
    }

    /// The revision that is committed and not finished.
    pub(super) fn open(&self) -> io::Result<Option<Revised>> {
        file::read(&self.path())
    }

    /// The numbers of the finished revisions that are kept, ascending.
    pub(super) fn ids(&self) -> io::Result<Vec<u64>> {
        let entries = match fs::read_dir(self.history()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(file::named(&self.history(), &error)),
        };
        let mut ids = Vec::new();
        for entry in entries {
            ids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u64>().ok()));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    fn file_of(&self, id: u64) -> PathBuf {
        self.history().join(id.to_string())
    }

    /// The records of all revisions that are kept, ascending, the open one
    /// included.
    pub(super) fn records(&self) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        for id in self.ids()? {
            records.extend(file::record(&self.file_of(id))?);
        }
        if let Some(open) = self.open()?
            && records.last().is_none_or(|last| last.id < open.record.id)
        {
            records.push(open.record);
        }
        Ok(records)
    }

    /// A revision with its files.
    pub(super) fn revision(&self, id: u64) -> io::Result<Option<Revised>> {
        match self.open()? {
            Some(open) if open.record.id == id => Ok(Some(open)),
            _ => file::read(&self.file_of(id)),
        }
    }

    /// What is penstock's, and what each file that penstock wrote should
    /// hold, after the last revision.
    pub(super) fn state(&self) -> io::Result<(Ledger, Hashes)> {
        if let Some(open) = self.open()? {
            return Ok((open.ledger, open.hashes));
        }
        let Some(id) = self.ids()?.last().copied() else { return Ok(Default::default()) };
        Ok(file::state(&self.file_of(id))?.unwrap_or_default())
    }

    /// The number of the last revision and its hashes. There is no open one:
    /// the caller holds the lock.
    fn last(&self) -> io::Result<Option<(u64, Hashes)>> {
        let Some(id) = self.ids()?.last().copied() else { return Ok(None) };
        Ok(Some((id, self.state()?.1)))
    }

    /// Commits a revision and carries it into the files. An error of the
    /// outer result leaves the directory as it was; one of the inner result
    /// leaves a journal that is in force and has to be rolled forward.
    pub(super) fn commit(
        &self,
        commit: &Commit<'_>,
        time: String,
    ) -> Result<Committed, NotCommitted> {
        self.create_folder(&self.history())?;
        let revised = self.revised(commit, time)?;
        if let Err(error) = self.prepare(&revised) {
            self.sweep();
            return Err(error.into());
        }
        let carried = sync_folder(&self.folder).and_then(|()| self.roll_forward(&revised, true));
        Ok(Committed { record: revised.record, carried })
    }

    fn revised(&self, commit: &Commit<'_>, time: String) -> Result<Revised, NotCommitted> {
        let last = self.last()?;
        let (id, mut hashes) = last.map_or((0, BTreeMap::new()), |last| (last.0, last.1));
        let record = Record {
            penstock_revision: RECORD_VERSION,
            id: id + 1,
            time,
            author: commit.author.clone(),
            message: commit.message.clone(),
            summary: commit.summary.clone(),
            base: commit.base.to_string(),
            revision: commit.revision.to_string(),
        };
        let mut files = Vec::with_capacity(commit.files.len());
        for change in commit.files {
            let before = read_text(&self.root.join(&*change.path))?;
            let path = change.path.to_string();
            let base = change.base.as_ref().map(|hash| hex(hash));
            if before.as_deref().map(sha256_hex) != base {
                return Err(NotCommitted::Edited(path));
            }
            let hash = change.text.as_deref().map(sha256_hex);
            match &hash {
                Some(hash) => hashes.insert(path.clone(), hash.clone()),
                None => hashes.remove(&path),
            };
            files.push(RevisedFile {
                path,
                base,
                hash,
                before,
                after: change.text.as_deref().map(str::to_owned),
            });
        }
        Ok(Revised { record, ledger: commit.ledger.clone(), hashes, files })
    }

    /// Writes the journal and every new text beside its place, then commits,
    /// so that after the commit nothing has to be written any more.
    fn prepare(&self, revised: &Revised) -> io::Result<()> {
        // The journal comes first: it says what there may be to sweep up.
        let owner = fs::metadata(&self.root)?;
        let journal = file::write(&self.draft(), revised)?;
        give(&journal, &journal.metadata()?, &owner);
        let mut unsynced = Unsynced::default();
        unsynced.add(journal)?;
        let mut parents = HashSet::new();
        for file in &revised.files {
            let Some(text) = &file.after else { continue };
            let path = self.root.join(&*file.path);
            if path.parent().is_some_and(|parent| parents.insert(parent.to_owned())) {
                self.create_parents(&path)?;
            }
            unsynced.add(write_beside(&path, text, &owner)?)?;
        }
        unsynced.sync()?;
        fs::rename(self.draft(), self.path())
    }

    /// Removes what a writer left behind that did not come to its commit. The
    /// caller holds the lock.
    fn sweep(&self) {
        let draft = self.draft();
        let Ok(file) = File::open(&draft) else { return };
        // The last line may be cut short; then nothing was written after it.
        for line in BufReader::new(file).lines().map_while(Result::ok) {
            if let Ok(file) = serde_json::from_str::<RevisedFile>(&line) {
                let _ = fs::remove_file(beside(&self.root.join(&*file.path)));
            }
        }
        let _ = fs::remove_file(&draft);
    }

    fn create_parents(&self, path: &Path) -> io::Result<()> {
        let Some(parent) = path.parent().filter(|parent| !parent.is_dir()) else { return Ok(()) };
        fs::create_dir_all(parent)?;
        let made = parent.ancestors().take_while(|folder| *folder != self.root);
        made.filter_map(Path::parent).try_for_each(sync_folder)
    }

    /// Carries a committed revision into the files and ends it. May be done
    /// again at any point. `is_fresh` says that what lies beside the files was
    /// written just now.
    fn roll_forward(&self, revised: &Revised, is_fresh: bool) -> io::Result<Rolled> {
        let mut rolled = Rolled::default();
        let mut folders: Vec<PathBuf> = Vec::new();
        for file in &revised.files {
            let path = self.root.join(&*file.path);
            // What a dead writer did may not be on the disk either.
            folders.extend(path.parent().map(Path::to_path_buf));
            let current = read_hash(&path)?;
            if current == file.hash {
                let _ = fs::remove_file(beside(&path));
                continue;
            }
            if current != file.base {
                let _ = fs::remove_file(beside(&path));
                rolled.edited.push(file.path.clone());
                continue;
            }
            match &file.after {
                None => fs::remove_file(&path)?,
                Some(text) => {
                    let temporary = beside(&path);
                    if !is_fresh && read_hash(&temporary)? != file.hash {
                        self.create_parents(&path)?;
                        write_beside(&path, text, &fs::metadata(&self.root)?)?.sync_all()?;
                    }
                    fs::rename(&temporary, &path)?;
                }
            }
        }
        folders.sort();
        folders.dedup();
        let mut unsynced = Unsynced::default();
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            unsynced.add(File::open(folder)?)?;
        }
        unsynced.sync()?;
        self.create_folder(&self.history())?;
        fs::rename(self.path(), self.file_of(revised.record.id))?;
        sync_folder(&self.history())?;
        sync_folder(&self.folder)?;
        self.forget_old();
        Ok(rolled)
    }

    /// Finishes what a writer that died had committed, and sweeps up what it
    /// had not. The caller holds the lock.
    pub(super) fn recover(&self) -> io::Result<Option<Rolled>> {
        self.sweep();
        match self.open()? {
            Some(revised) => self.roll_forward(&revised, false).map(Some),
            None => Ok(None),
        }
    }

    fn forget_old(&self) {
        let mut bytes = 0;
        // What is forgotten later does no harm.
        let ids = self.ids().unwrap_or_default();
        for (age, id) in ids.into_iter().rev().enumerate() {
            let path = self.file_of(id);
            bytes += fs::metadata(&path).map_or(0, |found| found.len());
            let is_large = bytes > HISTORY_BYTES_MAX && age >= REVISIONS_MIN;
            if is_large || age >= REVISIONS_MAX {
                // One that stays too long does no harm.
                let _ = fs::remove_file(&path);
            }
        }
    }
}

impl Revised {
    /// The files by path.
    pub(super) fn by_path(&self) -> HashMap<&str, &RevisedFile> {
        self.files.iter().map(|file| (&*file.path, file)).collect()
    }
}

/// Why a path may not be written, where it may not: it leads out of the
/// directory, or would not be read, or is a link.
pub(super) fn refusal(root: &Path, path: &str) -> Option<&'static str> {
    let is_plain = Path::new(path).components().all(|part| match part {
        Component::Normal(name) => !name.to_string_lossy().starts_with('.'),
        _ => false,
    });
    if !is_plain || path.is_empty() || !scan::is_manifest(path) {
        return Some("is no place for a manifest");
    }
    let mut below = PathBuf::from(root);
    let is_link = Path::new(path).components().any(|part| {
        below.push(part);
        below.symlink_metadata().is_ok_and(|found| found.is_symlink())
    });
    is_link.then_some("leads through a symlink, and penstock does not write through links")
}

fn read_hash(path: &Path) -> io::Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(sha256_hex(bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_text(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The name under which a file is written before it is renamed into place;
/// no reader looks at it.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.penstock"))
}

/// Writes a text beside its place, with the mode and the owner of what it
/// replaces. A new file that holds secrets is for its owner only, who is that
/// of the directory.
fn write_beside(path: &Path, text: &str, owner: &fs::Metadata) -> io::Result<File> {
    let replaced = fs::metadata(path).ok();
    let mode = match &replaced {
        Some(replaced) => replaced.mode() & 0o777,
        None if text_holds_secret(text) => OWNER_ONLY,
        None => EVERYBODY_READS,
    };
    let temporary = beside(path);
    let create =
        || OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY & mode).open(&temporary);
    let mut file = match create() {
        // One that is left of an earlier attempt may have another mode.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(&temporary)?;
            create()?
        }
        created => created?,
    };
    file.write_all(text.as_bytes())?;
    let found = file.metadata()?;
    give(&file, &found, replaced.as_ref().unwrap_or(owner));
    if found.mode() & 0o777 != mode {
        file.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    Ok(file)
}

/// Gives a file to the owner of another one, as far as that is allowed: what
/// root writes has to be readable for who serves it.
fn give(file: &File, own: &fs::Metadata, like: &fs::Metadata) {
    if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        let _ = std::os::unix::fs::fchown(file, Some(like.uid()), Some(like.gid()));
    }
}

/// From how many files on it is worth syncing the whole file system.
const SYNC_FILES_MAX: usize = 32;

/// What was written and is perhaps not on the disk yet. Holds few files open,
/// however many there are.
#[derive(Default)]
struct Unsynced {
    few: Vec<File>,
    /// One file of each file system, where there are many.
    many: BTreeMap<u64, File>,
}

impl Unsynced {
    fn add(&mut self, file: File) -> io::Result<()> {
        if self.many.is_empty() && self.few.len() < SYNC_FILES_MAX {
            self.few.push(file);
            return Ok(());
        }
        for file in self.few.drain(..).chain([file]) {
            self.many.entry(file.metadata()?.dev()).or_insert(file);
        }
        Ok(())
    }

    fn sync(self) -> io::Result<()> {
        self.few.iter().try_for_each(File::sync_all)?;
        self.many.values().try_for_each(|file| Ok(rustix::fs::syncfs(file)?))
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
