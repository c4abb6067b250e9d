//! Why a target did not do what was asked.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::store::{CommitError, StoreError};

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FailureKind {
    /// The request makes no sense.
    Invalid,
    /// There is no such revision or thing.
    NotFound,
    /// The target is not as it was, or holds what somebody else put there.
    Conflict,
    /// It would break something: a finding, a guard or an expectation says so.
    Refused,
    /// The token is missing or wrong.
    Unauthorized,
    /// Nobody may do this here, or not from where it was asked.
    Forbidden,
    /// The target cannot be read or written.
    Unavailable,
}

impl FailureKind {
    /// The name, as it goes over the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NotFound => "notFound",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Why a target did not do what was asked. Unless the message says so, nothing
/// was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// What kind it is.
    pub kind: FailureKind,
    /// One sentence for the user, without a full stop.
    pub message: String,
    /// The findings behind it, as lines.
    #[serde(default)]
    pub notes: String,
    /// Whether the change may have been made all the same.
    #[serde(default)]
    pub may_be_made: bool,
}

impl Failure {
    /// A failure without findings.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), notes: String::new(), may_be_made: false }
    }

    /// With the findings behind it.
    #[must_use]
    pub fn with_notes(self, notes: String) -> Self {
        Self { notes, ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(FailureKind::Unavailable, error.to_string())
    }
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Self {
        let kind = match &error {
            CommitError::Edited(_) | CommitError::Moved | CommitError::Overtaken { .. } => {
                FailureKind::Conflict
            }
            CommitError::Path { .. } => FailureKind::Refused,
            CommitError::Store(_) | CommitError::Unwritable { .. } | CommitError::Unfinished(_) => {
                FailureKind::Unavailable
            }
        };
        let may_be_made =
            matches!(error, CommitError::Unfinished(_) | CommitError::Overtaken { .. });
        Self { may_be_made, ..Self::new(kind, error.to_string()) }
    }
}
