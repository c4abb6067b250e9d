//! Notices changes, on a thread of its own.
//!
//! The system's events say *when* to look; a walk through the tree says
//! whether anything changed. So nothing depends on events being complete: on
//! file systems without them, after an overflow or a missed directory the
//! regular walk finds the change, only later.
//!
//! Invariant: a change is reported after a quiet period, and after
//! [`Pace::settle_max`] even if it never becomes quiet.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::watch;

use crate::store::directory::journal::Journal;
use crate::store::directory::lock;
use crate::store::directory::scan::{self, Identity, Scan};
use crate::store::directory::unfinished::{Unfinished, is_manifest};

/// How fast changes are noticed and reported.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How long nothing may change before a change is reported.
    pub(super) quiet: Duration,
    /// After how long it is reported anyhow.
    pub(super) settle_max: Duration,
    /// How often the tree is looked at without an event.
    pub(super) poll: Duration,
    /// How long after a write a file that was not closed counts as being
    /// written.
    pub(super) writing_max: Duration,
    /// Whether the system's events are used at all.
    pub(super) has_events: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(100),
            settle_max: Duration::from_secs(2),
            poll: Duration::from_secs(2),
            writing_max: Duration::from_secs(60),
            has_events: true,
        }
    }
}

/// Walking takes at most this part of the time on huge or slow trees.
const POLL_SHARE: u32 = 50;
/// How many symlinks a path is followed through, as in Linux.
const LINKS_MAX: usize = 40;

/// A thread that watches; it ends when this is dropped.
pub(super) struct Watching {
    changes: watch::Sender<u64>,
    signals: Sender<Signal>,
}

enum Signal {
    /// Something happened below a watched directory.
    Event {
        /// Whether the content of a manifest was written, which is a change
        /// even if its stamp looks the same.
        is_write: bool,
    },
    Stop,
}

impl Watching {
    /// Starts to watch. Every change after this returns is reported, and what
    /// the tree looked like put into `seen` before.
    pub(super) fn start(
        root: PathBuf,
        pace: Pace,
        unfinished: Unfinished,
        seen: Arc<Mutex<Option<Scan>>>,
    ) -> Self {
        let (signals, received) = channel();
        let changes = watch::Sender::new(0);
        let outside = Arc::new(Mutex::new(Outside::default()));
        let watcher = if pace.has_events {
            new_watcher(signals.clone(), outside.clone(), unfinished.clone())
        } else {
            None
        };
        let mut watched = Watched { watcher, directories: HashMap::new(), has_warned: false };
        // A new directory may have got files before it was watched, so the
        // walk that counts comes after the watching.
        watched.follow(&root, scan::scan(&root).ok().as_ref(), &outside);
        let last = fingerprint(&root, scan::scan(&root).ok().as_ref());
        let changes_sent = changes.clone();
        let thread = Thread {
            root,
            pace,
            watched,
            outside,
            unfinished,
            received,
            changes: changes_sent,
            scan: None,
            seen,
        };
        let spawned = std::thread::Builder::new()
            .name("store-watch".to_owned())
            .spawn(move || thread.run(last));
        if let Err(error) = spawned {
            tracing::error!(%error, "cannot watch for changes; reload with SIGHUP");
        }
        Self { changes, signals }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // A thread that has ended already needs no signal.
        let _ = self.signals.send(Signal::Stop);
    }
}

/// What counts in directories outside the tree: only the links and the root
/// themselves. Their neighbours, as in `/tmp`, may be busy.
#[derive(Default)]
struct Outside {
    names: HashMap<PathBuf, HashSet<OsString>>,
}

impl Outside {
    fn is_foreign(&self, path: &Path) -> bool {
        let names = path.parent().and_then(|parent| self.names.get(parent));
        match (names, path.file_name()) {
            (Some(names), Some(name)) => !names.contains(name),
            _ => false,
        }
    }
}

fn new_watcher(
    signals: Sender<Signal>,
    outside: Arc<Mutex<Outside>>,
    unfinished: Unfinished,
) -> Option<RecommendedWatcher> {
    let on_event = move |event: notify::Result<Event>| {
        let signal = match event {
            Ok(event) => {
                unfinished.note(&event);
                signal_of(&event, &lock(&outside))
            }
            Err(_) => Some(Signal::Event { is_write: false }),
        };
        if let Some(signal) = signal {
            let _ = signals.send(signal);
        }
    };
    notify::recommended_watcher(on_event)
        .inspect_err(|error| tracing::warn!(%error, "no file system events; polling instead"))
        .ok()
}

/// What an event means; nothing where the tree cannot have changed.
fn signal_of(event: &Event, outside: &Outside) -> Option<Signal> {
    let is_write = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Modify(ModifyKind::Data(_)) => true,
        // Reading the tree is an event, too.
        EventKind::Access(_) => return None,
        _ => false,
    };
    let mut paths = event.paths.iter().filter(|path| !outside.is_foreign(path)).peekable();
    if paths.peek().is_none() && !event.paths.is_empty() {
        return None;
    }
    Some(Signal::Event { is_write: is_write && paths.any(|path| is_manifest(path)) })
}

struct Thread {
    root: PathBuf,
    pace: Pace,
    watched: Watched,
    outside: Arc<Mutex<Outside>>,
    unfinished: Unfinished,
    received: Receiver<Signal>,
    changes: watch::Sender<u64>,
    /// What the last look saw.
    scan: Option<Scan>,
    seen: Arc<Mutex<Option<Scan>>>,
}

impl Thread {
    fn run(mut self, mut last: u64) {
        let mut poll = self.pace.poll;
        loop {
            let mut is_written = match self.received.recv_timeout(poll) {
                Ok(Signal::Event { is_write }) => is_write,
                Err(RecvTimeoutError::Timeout) => false,
                Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            };
            is_written |= self.unfinished.expire(self.pace.writing_max);
            let started = Instant::now();
            // Since when it is quiet, as far as events tell; looking at a
            // large tree takes a part of that time.
            let mut quiet_since = started;
            let mut now = self.look();
            poll = self.pace.poll.max(started.elapsed() * POLL_SHARE);
            if now == last && !is_written {
                self.scan = None;
                continue;
            }
            loop {
                let quiet = self.pace.quiet.saturating_sub(quiet_since.elapsed());
                let is_quiet = match self.received.recv_timeout(quiet) {
                    Ok(Signal::Event { is_write }) => {
                        is_written |= is_write;
                        quiet_since = Instant::now();
                        false
                    }
                    Err(RecvTimeoutError::Timeout) => true,
                    Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                };
                let is_late = started.elapsed() >= self.pace.settle_max;
                if !is_quiet && !is_late {
                    continue;
                }
                quiet_since = Instant::now();
                let next = self.look();
                let is_settled = std::mem::replace(&mut now, next) == next;
                if is_settled || is_late {
                    break;
                }
            }
            if now != last || is_written {
                last = now;
                *lock(&self.seen) = self.scan.take();
                self.changes.send_modify(|count| *count += 1);
            }
        }
    }

    /// The fingerprint of the tree. New directories are watched on the way.
    fn look(&mut self) -> u64 {
        self.scan = scan::scan(&self.root).ok();
        if self.watched.follow(&self.root, self.scan.as_ref(), &self.outside) {
            self.scan = scan::scan(&self.root).ok();
        }
        fingerprint(&self.root, self.scan.as_ref())
    }
}

fn fingerprint(root: &Path, scan: Option<&Scan>) -> u64 {
    // A root that cannot be read is a state of its own.
    let files = scan.map_or(u64::MAX, Scan::fingerprint);
    // So is a revision that lies over the files.
    files ^ Journal::new(root).mark().fingerprint()
}

/// The directories that events come from.
struct Watched {
    watcher: Option<RecommendedWatcher>,
    directories: HashMap<PathBuf, Identity>,
    has_warned: bool,
}

impl Watched {
    /// Watches what the tree consists of now; whether anything was added.
    fn follow(&mut self, root: &Path, scan: Option<&Scan>, outside: &Mutex<Outside>) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        let mut wanted: HashMap<PathBuf, Identity> = HashMap::new();
        let mut identities = HashSet::new();
        let mut from_outside = HashSet::new();
        for (path, identity) in scan.iter().flat_map(|scan| &scan.directories) {
            identities.insert(*identity);
            wanted.insert(path.clone(), *identity);
        }
        let mut names: HashMap<PathBuf, HashSet<OsString>> = HashMap::new();
        for (directory, name) in links_of(root) {
            names.entry(directory).or_default().insert(name);
        }
        let targets = scan.iter().flat_map(|scan| &scan.link_targets);
        for path in names.keys().chain(targets) {
            let Ok(metadata) = std::fs::metadata(path) else { continue };
            let identity = Identity::of(&metadata);
            // Within the tree every name counts, and one watch is enough.
            if identities.insert(identity) {
                wanted.insert(path.clone(), identity);
                from_outside.insert(path.clone());
            }
        }
        names.retain(|directory, _| from_outside.contains(directory));
        lock(outside).names = names;
        self.directories.retain(|path, identity| {
            let is_wanted = wanted.get(path) == Some(identity);
            if !is_wanted {
                // Fails where the directory is gone, and the watch with it.
                let _ = watcher.unwatch(path);
            }
            is_wanted
        });
        let mut has_added = false;
        for (path, identity) in wanted {
            if self.directories.contains_key(&path) {
                continue;
            }
            match watcher.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.directories.insert(path, identity);
                    has_added = true;
                }
                Err(error) if !self.has_warned => {
                    self.has_warned = true;
                    tracing::warn!(%error, path = %path.display(),
                        "cannot watch a directory; its changes are found by polling");
                }
                Err(_) => {}
            }
        }
        has_added
    }
}

/// The root and every symlink on the way to it, each as a directory and the
/// name in it: when one of them is replaced, the tree is another one.
fn links_of(root: &Path) -> Vec<(PathBuf, OsString)> {
    let mut found = Vec::new();
    let mut note = |path: &Path| {
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
            let parent = parent.canonicalize().unwrap_or_else(|_| parent.to_path_buf());
            found.push((parent, name.to_os_string()));
        }
    };
    let mut path = std::path::absolute(root).unwrap_or_else(|_| root.to_path_buf());
    for _ in 0..LINKS_MAX {
        // From the outside in, as the system resolves them.
        let ancestors: Vec<&Path> = path.ancestors().collect();
        let link = ancestors.into_iter().rev().find(|prefix| prefix.is_symlink());
        let Some(link) = link.map(Path::to_path_buf) else { break };
        note(&link);
        let (Ok(target), Some(parent)) = (std::fs::read_link(&link), link.parent()) else { break };
        let rest = path.strip_prefix(&link).unwrap_or(Path::new(""));
        path = parent.join(target).join(rest);
    }
    note(&path);
    found
}
