//! A plan in a file: what is written, as it will be written. It holds the
//! values, secrets included, so whoever stores it keeps others from reading
//! it.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use thiserror::Error;

use super::show::hex;
use super::{FileChange, Plan};
use crate::ledger::{Ledger, LedgerError};
use crate::resource::Revision;

/// A plan that was stored.
#[derive(Clone, Debug)]
pub struct SavedPlan {
    /// The content that the plan was made against.
    pub base: Revision,
    /// The files that are written or removed, by path.
    pub files: Vec<FileChange>,
    /// What is penstock's once the plan is applied.
    pub ledger: Ledger,
    /// What [`Plan::to_json`] shows of it.
    pub shown: Json,
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
    /// The plan as a text that [`SavedPlan::parse`] reads. It holds secrets.
    pub fn to_saved(&self) -> String {
        let files = self.files.iter().map(|file| {
            json!({
                "path": &*file.path,
                "base": file.base.as_ref().map(|hash| hex(hash)),
                "text": file.text.as_deref(),
            })
        });
        let saved = json!({
            VERSION_KEY: VERSION,
            "base": &*self.base.0,
            "files": files.collect::<Vec<_>>(),
            "ledger": self.ledger.to_json(),
            "plan": self.to_json(),
        });
        format!("{saved}\n")
    }
}

impl SavedPlan {
    /// Reads what [`Plan::to_saved`] wrote.
    ///
    /// # Errors
    /// It is something else, or of a later version.
    pub fn parse(text: &str) -> Result<Self, SavedPlanError> {
        let shape = SavedPlanError::Shape;
        let json: Json = serde_json::from_str(text).map_err(|_| shape("it is not JSON"))?;
        match json.get(VERSION_KEY).and_then(Json::as_i64) {
            Some(VERSION) => {}
            Some(version) => return Err(SavedPlanError::Version(version)),
            None => return Err(shape("it has no version")),
        }
        let base = json.get("base").and_then(Json::as_str).ok_or(shape("it has no base"))?;
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
        Ok(Self {
            base: Revision(base.into()),
            files: files.ok_or(shape("a file has no path or a wrong hash"))?,
            ledger: Ledger::from_json(json.get("ledger").unwrap_or(&Json::Null))?,
            shown: json.get("plan").cloned().unwrap_or_default(),
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
