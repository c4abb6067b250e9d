//! What the process says when it ends. These numbers are a contract.

use std::process::ExitCode as ProcessExitCode;

/// The exit codes of all verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitCode {
    /// Done; for `lint`, no finding at the asked level.
    Success,
    /// Something would change, where `plan` is to tell so.
    Changes,
    /// Something failed; for `lint`, there are findings.
    Failure,
    /// The command line cannot be understood.
    Usage,
}

impl From<ExitCode> for ProcessExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(match code {
            ExitCode::Success => 0,
            ExitCode::Failure => 1,
            ExitCode::Changes => 2,
            ExitCode::Usage => 64,
        })
    }
}
