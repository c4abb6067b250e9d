//! Revisions: what was changed in a store, by whom, and how to take it back.

use std::collections::BTreeMap;

use penstock_manifest::Revision;
use penstock_manifest::ledger::Ledger;
use penstock_manifest::plan::FileChange;
use serde::{Deserialize, Serialize};

/// What a revision is called in its record.
pub const RECORD_VERSION: u32 = 1;

/// Who changed what, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The version of the format.
    pub penstock_revision: u32,
    /// Its number; the first is 1.
    pub id: u64,
    /// When it was committed: RFC 3339, UTC.
    pub time: String,
    /// Who did it, as far as the system tells.
    pub author: String,
    /// Why, in the words of whoever did it.
    pub message: String,
    /// What it changed, counted.
    pub summary: String,
    /// The content that it was made against.
    pub base: String,
    /// The content that it made.
    pub revision: String,
}

/// What is to be committed.
pub struct Commit<'a> {
    /// The content that it was made against.
    pub base: &'a Revision,
    /// The content that it makes.
    pub revision: &'a Revision,
    /// The files that are written or removed.
    pub files: &'a [FileChange],
    /// What is penstock's afterwards.
    pub ledger: &'a Ledger,
    /// Who, why and what.
    pub author: String,
    /// Why.
    pub message: String,
    /// What is changed, counted.
    pub summary: String,
}

/// The SHA-256 of files by their paths below the root of the store, in
/// hexadecimal digits.
pub type Hashes = BTreeMap<String, String>;

/// One file of a revision.
#[derive(Clone, Serialize, Deserialize)]
pub struct RevisedFile {
    /// The file, below the root of the store.
    pub path: String,
    /// The SHA-256 of what was there before, in hexadecimal digits.
    pub base: Option<String>,
    /// The SHA-256 of what is written.
    pub hash: Option<String>,
    /// What was there before; none where there was nothing.
    pub before: Option<String>,
    /// What is written; none where the file goes.
    pub after: Option<String>,
}

/// Its texts may hold keys, so only its name is shown.
impl std::fmt::Debug for RevisedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RevisedFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A revision with everything it takes to do it, or to take it back.
#[derive(Clone, Debug)]
pub struct Revised {
    /// Who, when and why.
    pub record: Record,
    /// What was penstock's afterwards.
    pub ledger: Ledger,
    /// What each file that penstock ever wrote, and that is still there, held
    /// afterwards. Another content is a hand edit.
    pub hashes: Hashes,
    /// The files.
    pub files: Vec<RevisedFile>,
}
