//! LLM APIs as data: which endpoint a path means, what a provider wants to be
//! asked, how bodies and streams are read and rewritten.
//!
//! Bytes in, bytes out. No sockets, no tasks, no clock, no randomness that is
//! not passed in; the gateway owns all of these.
//!
//! Invariant: a body that nothing has to change is neither parsed nor copied.
//! Invariant: fields that we do not know pass through unchanged.
//! Invariant: nothing here knows a manifest.

pub mod answer;
pub mod api;
pub mod chat;
pub mod error;
pub mod event_stream;
pub mod format;
mod json;
pub mod json_path;
mod messages;
pub mod model_map;
pub mod multipart;
pub mod provider;
pub mod scan;
mod signature;
pub mod sigv4;
pub mod sse;
pub mod stage;
pub mod tc3;
pub mod usage;

pub use api::Api;
pub use error::LlmError;
