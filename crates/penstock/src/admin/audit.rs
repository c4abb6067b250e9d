//! Who changed what from afar, and who tried: a line of JSON each, in
//! `DIR/.penstock/audit.log`, which only its owner reads.
//!
//! Nothing is changed while the log cannot be opened. A line that cannot be
//! written after that is an error in the gateway's log, and the change stays.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use penstock_gateway::access_log::timestamp;
use serde::Serialize;

use super::call::Call;
use crate::target::{Applied, Failure, FailureKind, Request};

/// From which size on the log is moved to `audit.log.1`, in bytes.
const BYTES_MAX: u64 = 16 << 20;
/// How many attempts of strangers are written in [`WINDOW`]: they must not
/// push out what was done.
const STRANGERS_MAX: u32 = 30;
const WINDOW: Duration = Duration::from_secs(60);

/// The log.
pub struct Audit {
    folder: PathBuf,
    strangers: Mutex<Strangers>,
}

/// The attempts of strangers in a window of time.
struct Strangers {
    since: Instant,
    count: u32,
    unlogged: u32,
}

/// One line.
#[derive(Default, Serialize)]
pub struct Entry {
    time: String,
    /// From where.
    remote: String,
    /// Who, as the client says; only told of those who have the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<String>,
    /// Whether whoever it was has the token.
    token: bool,
    /// What: the last part of the path.
    verb: String,
    /// Why, as the client says.
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    /// `applied`, `unchanged`, `saved`, or the kind of failure.
    outcome: String,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The revision that was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    /// What it changed, counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
    /// How many attempts of strangers before this one are not in the log.
    #[serde(skip_serializing_if = "is_zero")]
    unlogged: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Entry {
    fn new(client: SocketAddr, verb: &str) -> Self {
        Self {
            time: timestamp(SystemTime::now()),
            remote: client.to_string(),
            verb: verb.to_owned(),
            ..Self::default()
        }
    }

    /// An attempt of somebody who may not, after some that are not in the log.
    pub fn of_stranger(client: SocketAddr, verb: &str, failure: &Failure, unlogged: u32) -> Self {
        Self {
            outcome: failure.kind.as_str().to_owned(),
            reason: Some(failure.message.clone()),
            unlogged,
            ..Self::new(client, verb)
        }
    }

    /// What somebody with the token asks for.
    pub fn of(call: &Call, request: &Request, verb: &str) -> Self {
        Self {
            author: Some(request.author.clone()),
            token: call.has_token,
            message: request.message.clone(),
            ..Self::new(call.client, verb)
        }
    }

    /// The same for a plan that was given out with its secrets.
    pub fn saved(self) -> Self {
        Self { outcome: "saved".to_owned(), ..self }
    }

    /// The same, with what came of it.
    pub fn after(self, applied: &Result<Applied, Failure>) -> Self {
        match applied {
            Ok(Applied { revision: Some(record), .. }) => Self {
                outcome: "applied".to_owned(),
                revision: Some(record.id),
                summary: Some(record.summary.clone()),
                ..self
            },
            Ok(_) => Self { outcome: "unchanged".to_owned(), ..self },
            Err(failure) => Self {
                outcome: failure.kind.as_str().to_owned(),
                // What makes no sense may be anything, such as a secret.
                reason: (failure.kind != FailureKind::Invalid).then(|| failure.message.clone()),
                ..self
            },
        }
    }
}

impl Audit {
    /// The log of a directory; nothing is made yet.
    pub fn of(directory: &Path) -> Self {
        let strangers = Strangers { since: Instant::now(), count: 0, unlogged: 0 };
        Self { folder: directory.join(".penstock"), strangers: Mutex::new(strangers) }
    }

    fn path(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    /// Makes sure that a line can be written.
    pub fn open(&self) -> Result<(), Failure> {
        self.file().map(drop).map_err(|error| {
            let shown = self.path().display().to_string();
            let message =
                format!("nothing was changed: the audit log `{shown}` cannot be written: {error}");
            Failure::new(FailureKind::Unavailable, message)
        })
    }

    /// The log, locked, and moved aside before if it is full.
    fn file(&self) -> io::Result<File> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let path = self.path();
        loop {
            let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
            file.lock()?;
            let metadata = file.metadata()?;
            // Another process may have moved it while this one waited.
            let is_current = fs::metadata(&path).is_ok_and(|there| there.ino() == metadata.ino());
            match (is_current, metadata.len() < BYTES_MAX) {
                (true, true) => return Ok(file),
                (true, false) => fs::rename(&path, self.folder.join("audit.log.1"))?,
                (false, _) => {}
            }
        }
    }

    /// Writes a line, here and in the gateway's log.
    pub fn tell(&self, entry: &Entry) {
        let Entry { remote, author, verb, outcome, revision, summary, .. } = entry;
        let (author, summary) = (author.as_deref(), summary.as_deref());
        if entry.reason.is_some() {
            tracing::warn!(%remote, author, verb, outcome, reason = entry.reason, "admin");
        } else {
            tracing::info!(%remote, author, verb, outcome, revision, summary, "admin");
        }
        let written = serde_json::to_vec(entry).map_err(io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            self.file()?.write_all(&line)
        });
        if let Err(error) = written {
            tracing::error!(%error, "the audit log cannot be written");
        }
    }

    /// Whether an attempt of a stranger is written: how many before it were
    /// not.
    pub fn stranger(&self) -> Option<u32> {
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if strangers.since.elapsed() >= WINDOW {
            (strangers.since, strangers.count) = (Instant::now(), 0);
        }
        strangers.count += 1;
        if strangers.count > STRANGERS_MAX {
            strangers.unlogged += 1;
            return None;
        }
        Some(std::mem::take(&mut strangers.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_is_moved_aside() {
        let directory = tempfile::tempdir().unwrap();
        let audit = Audit::of(directory.path());
        audit.open().unwrap();
        File::options().write(true).open(audit.path()).unwrap().set_len(BYTES_MAX).unwrap();
        audit.tell(&Entry::new(([127, 0, 0, 1], 9).into(), "apply"));
        assert_eq!(fs::metadata(audit.folder.join("audit.log.1")).unwrap().len(), BYTES_MAX);
        let metadata = fs::metadata(audit.path()).unwrap();
        assert!(metadata.len() < 1000 && metadata.mode() & 0o777 == 0o600, "{metadata:?}");
    }

    #[test]
    fn strangers_do_not_fill_the_log() {
        let audit = Audit::of(Path::new("/nowhere"));
        let told = (0..100).filter(|_| audit.stranger().is_some()).count();
        assert_eq!(told, 30);
        audit.strangers.lock().unwrap().since -= WINDOW;
        assert_eq!(audit.stranger(), Some(70));
    }
}
