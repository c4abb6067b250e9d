//! A plan in a file: what is written, as it will be written. It holds the
//! values, secrets included, so whoever stores it keeps others from reading
//! it.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use thiserror::Error;

use super::show::hex;
use super::{Deletion, FileChange, Plan};
use crate::ledger::{Ledger, LedgerError};
use crate::resource::Revision;

/// A plan that was stored.
#[derive(Clone, Debug)]
pub struct SavedPlan {
    /// What the plan was made for.
    pub target: Box<str>,
    /// The content that the plan was made against.
    pub base: Revision,
    /// The files that are written or removed, by path.
    pub files: Vec<FileChange>,
    /// The SHA-256 of the ledger that the plan was made against.
    pub base_ledger: Box<str>,
    /// What is taken away.
    pub deletion: Deletion,
    /// What is penstock's once the plan is applied.
    pub ledger: Ledger,
}

/// Why a text is not a saved plan.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SavedPlanError {
    /// Not the JSON of a plan.
    #[error("this is not a saved plan: {0}")]
    Shape(&'static str),
    /// A version that this program does not know.
    #[error("the plan has version {0}, which this program does not know")]
    Version(i64),
    /// Its ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

const VERSION: i64 = 1;
const VERSION_KEY: &str = "penstockPlan";

impl Plan {
    /// The plan as JSON that [`SavedPlan::from_json`] reads. It holds secrets.
    /// `target` says what it was made for, `ledger` what was penstock's there.
    pub fn to_saved(&self, target: &str, ledger: &Ledger) -> Json {
        let files = self.files.iter().map(|file| {
            json!({
                "path": &*file.path,
                "base": file.base.as_ref().map(|hash| hex(hash)),
                "text": file.text.as_deref(),
            })
        });
        json!({
            VERSION_KEY: VERSION,
            "target": target,
            "base": &*self.base.0,
            "baseLedger": ledger.hash(),
            "files": files.collect::<Vec<_>>(),
            "ledger": self.ledger.to_json(),
            "plan": self.to_json(),
        })
    }
}

impl SavedPlan {
    /// Whether a text may be a saved plan, and nothing else that is known.
    pub fn is_one(json: &Json) -> bool {
        json.get(VERSION_KEY).is_some()
    }

    /// Reads what [`Plan::to_saved`] wrote.
    ///
    /// # Errors
    /// It is something else, or of a later version.
    pub fn from_json(json: &Json) -> Result<Self, SavedPlanError> {
        let shape = SavedPlanError::Shape;
        match json.get(VERSION_KEY).and_then(Json::as_i64) {
            Some(VERSION) => {}
            Some(version) => return Err(SavedPlanError::Version(version)),
            None => return Err(shape("it has no version")),
        }
        let text = |key: &str| json.get(key).and_then(Json::as_str);
        let files = json.get("files").and_then(Json::as_array).ok_or(shape("it has no files"))?;
        let file = |file: &Json| {
            let path = file.get("path")?.as_str()?;
            let base = match file.get("base").filter(|base| !base.is_null()) {
                Some(base) => Some(unhex(base.as_str()?)?),
                None => None,
            };
            let text = file.get("text").and_then(Json::as_str).map(Arc::from);
            Some(FileChange { path: path.into(), base, text })
        };
        let files: Option<Vec<FileChange>> = files.iter().map(file).collect();
        let deletion = json.pointer("/plan/deletion").and_then(|deletion| {
            let number = |key: &str| usize::try_from(deletion.get(key)?.as_u64()?).ok();
            Some(Deletion { count: number("count")?, total: number("total")? })
        });
        Ok(Self {
            target: text("target").ok_or(shape("it has no target"))?.into(),
            base: Revision(text("base").ok_or(shape("it has no base"))?.into()),
            base_ledger: text("baseLedger").ok_or(shape("it has no ledger"))?.into(),
            files: files.ok_or(shape("a file has no path or a wrong hash"))?,
            deletion: deletion.ok_or(shape("it does not say what it deletes"))?,
            ledger: Ledger::from_json(json.get("ledger").unwrap_or(&Json::Null))?,
        })
    }
}

/// What [`super::hex`] wrote, if it is 32 bytes.
pub fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}
