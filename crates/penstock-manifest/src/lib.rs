//! Higress and Kubernetes resources: text in, typed values and diagnostics out.
//!
//! Nothing here does I/O, reads a clock or knows HTTP. Configuration code
//! never stops at the first mistake: it returns what it could read and a list
//! of [`Diagnostic`]s.
//!
//! Invariant: every `Diagnostic` has a file, and a line wherever text was at
//! its origin.
//! Invariant: only `yaml.rs` knows the YAML library.
//! Invariant: no diagnostic contains a credential; values that may be secret
//! are shown as `sha256:…` (see [`redact`]).

pub mod annotation;
pub mod diagnostic;
pub mod edit;
pub mod format;
pub mod intent;
pub mod kind;
pub mod ledger;
pub mod lint;
pub mod listing;
pub mod merge;
pub mod node;
pub mod plan;
pub mod read;
pub mod redact;
pub mod render;
pub mod resource;
pub mod schema;
pub mod template;
pub mod time;
pub mod yaml;

pub use diagnostic::{Code, Diagnostic, Severity};
pub use node::{Cursor, Map, Node, Position, Source, Value};
pub use resource::{BrokenDocument, Known, Listing, Metadata, Resource, ResourceKey, Revision};
