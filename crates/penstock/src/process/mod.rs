//! The process among others: sockets that somebody else has bound, a
//! supervisor that wants to know how it is, a successor that takes over.
//!
//! A hand-over: the old process starts the new one with a channel for its
//! standard input and sends its listening sockets over it. The new one says
//! `ready` when its configuration is in force, the old one `go`, the new one
//! accepts and says `serving`, and the old one drains.
//!
//! Invariant: until `go` the new process accepts nothing, so that it can be
//! ended at any time without harm; and until `serving` the old one accepts.

mod channel;
mod inherited;
mod pid_file;
mod successor;
mod supervisor;

pub use channel::Role;
pub use inherited::Inherited;
pub use pid_file::PidFile;
pub use successor::Successor;
pub use supervisor::Supervisor;

/// A variable by which another process, not a user, says something.
#[expect(clippy::disallowed_methods, reason = "what a supervisor says is no setting")]
fn told(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
