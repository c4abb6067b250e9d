//! One walk through the tree: which files are there and what they look like
//! from outside.

use std::collections::{HashSet, VecDeque};
use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The manifests, in the order of the walk, which depends on names only.
    /// A directory that cannot be read stands here, too, with its error.
    pub(super) files: Vec<Found>,
    /// The directories walked through, and what they are.
    pub(super) directories: Vec<(PathBuf, Identity)>,
    /// The directories that symlinks of the tree lead into.
    pub(super) link_targets: Vec<PathBuf>,
}

/// A file that has to be read.
#[derive(Debug)]
pub(super) struct Found {
    /// Its path below the root, with `/`; a directory's ends with `/`.
    pub(super) relative: Arc<str>,
    /// Its path.
    pub(super) path: PathBuf,
    /// What it looks like; of a link, what it leads to.
    pub(super) stamp: Stamp,
    /// Why it cannot even be looked at.
    pub(super) error: Option<io::Error>,
}

/// A file as the system knows it, whatever its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// Changes whenever the content does, up to the resolution of the clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Stamp {
    identity: Identity,
    size: u64,
    modified: (i64, i64),
    /// Cannot be set back by tools that restore the other time.
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            identity: Identity::of(metadata),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the last change was so shortly before `read_at`, or after it,
    /// that a later one may look the same.
    pub(super) fn is_racy(&self, read_at: SystemTime, margin: Duration) -> bool {
        let Ok(read_at) = read_at.duration_since(UNIX_EPOCH) else { return true };
        let since = |(seconds, nanos): (i64, i64)| {
            let time = Duration::new(
                u64::try_from(seconds).unwrap_or(0),
                u32::try_from(nanos).unwrap_or(0),
            );
            read_at.checked_sub(time)
        };
        [self.modified, self.changed]
            .into_iter()
            .any(|time| since(time).is_none_or(|since| since < margin))
    }
}

impl Scan {
    /// A number that differs when files came, went or look different.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for found in &self.files {
            found.relative.hash(&mut hasher);
            found.stamp.hash(&mut hasher);
            found.error.as_ref().map(io::Error::kind).hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// Walks through the tree below `root`. Fails only if the root cannot be
/// read.
///
/// A directory is read once, however many links lead to it, and by its own
/// name rather than a link's where it has one in the tree: links can neither
/// make the walk endless nor print a resource twice.
pub(super) fn scan(root: &Path) -> io::Result<Scan> {
    let mut scan = Scan::default();
    let mut seen = HashSet::new();
    let mut queue = VecDeque::from([(root.to_path_buf(), String::new())]);
    let mut links = VecDeque::new();
    while let Some((path, relative)) = queue.pop_front().or_else(|| links.pop_front()) {
        let entries = std::fs::metadata(&path).and_then(|metadata| {
            let identity = Identity::of(&metadata);
            if !seen.insert(identity) {
                return Ok(None);
            }
            let entries = sorted_entries(&path)?;
            scan.directories.push((path.clone(), identity));
            Ok(Some(entries))
        });
        match entries {
            Ok(None) => {}
            Ok(Some(entries)) => {
                for (name, own) in entries {
                    let entry = path.join(&name);
                    let relative = format!("{relative}{name}");
                    match look_at(&entry, &name, own) {
                        Seen::Nothing => {}
                        Seen::Directory => queue.push_back((entry, relative + "/")),
                        Seen::LinkedDirectory => {
                            scan.note_link(&entry);
                            links.push_back((entry, relative + "/"));
                        }
                        Seen::File { stamp, error, is_link } => {
                            if is_link {
                                scan.note_link(&entry);
                            }
                            let relative = relative.into();
                            scan.files.push(Found { relative, path: entry, stamp, error });
                        }
                    }
                }
            }
            Err(error) if relative.is_empty() => return Err(error),
            // Removed since its parent was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => scan.files.push(Found {
                relative: relative.into(),
                path,
                stamp: Stamp::default(),
                error: Some(error),
            }),
        }
    }
    Ok(scan)
}

impl Scan {
    /// Remembers where a link leads, because a change there changes the tree.
    fn note_link(&mut self, link: &Path) {
        let target = std::fs::canonicalize(link).ok();
        if let Some(parent) = target.as_deref().and_then(Path::parent)
            && !self.link_targets.iter().any(|known| known == parent)
        {
            self.link_targets.push(parent.to_path_buf());
        }
    }
}

/// What a name in a directory stands for.
enum Seen {
    Nothing,
    Directory,
    LinkedDirectory,
    File { stamp: Stamp, error: Option<io::Error>, is_link: bool },
}

/// What a path stands for; `own` is what it looks like itself, which of a link
/// is not what it leads to.
fn look_at(path: &Path, name: &str, own: Metadata) -> Seen {
    let is_link = own.is_symlink();
    let followed = if is_link { std::fs::metadata(path) } else { Ok(own) };
    match followed {
        Ok(metadata) if metadata.is_dir() && is_link => Seen::LinkedDirectory,
        Ok(metadata) if metadata.is_dir() => Seen::Directory,
        Ok(metadata) if metadata.is_file() && is_manifest(name) => {
            Seen::File { stamp: Stamp::of(&metadata), error: None, is_link }
        }
        Ok(_) => Seen::Nothing,
        Err(error) if is_manifest(name) => {
            Seen::File { stamp: Stamp::default(), error: Some(error), is_link }
        }
        Err(_) => Seen::Nothing,
    }
}

/// Whether a file of this name is read, if it is a regular file.
pub(super) fn is_manifest(name: &str) -> bool {
    !name.starts_with('.') && [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end))
}

/// The names in a directory that can be manifests or lead to some, each with
/// what it looks like. That is asked of the open directory, which spares the
/// system the way to each of many thousands of files.
fn sorted_entries(directory: &Path) -> io::Result<Vec<(String, Metadata)>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        // A name that is not UTF-8 cannot be shown, nor name a resource.
        let Ok(name) = entry.file_name().into_string() else { continue };
        // Spares a stat for what is neither.
        let is_plain_file = entry.file_type().is_ok_and(|file_type| file_type.is_file());
        if !name.starts_with('.') && (!is_plain_file || is_manifest(&name)) {
            // What cannot be looked at has been removed meanwhile.
            entries.extend(entry.metadata().ok().map(|own| (name, own)));
        }
    }
    entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(entries)
}
