//! One file's text → the resources in it. Pure: a store or a verb reads the
//! bytes, this module says what they mean.
//!
//! `metadata` names a resource; where it is absent, the folder and the file
//! name do, as in a file store of Higress. What cannot be read is set aside as
//! small as it can be: a value of a ConfigMap, an annotation, else the
//! document; never the file because of one document.
//!
//! Invariant: whatever may be a WasmPlugin and cannot be read is in `broken`
//! and says so, because it may hold an authentication.

mod document;
mod file;
mod guess;
#[cfg(test)]
mod tests;

pub use file::{FileContent, FilePath, read_bytes, read_file, unreadable_file};
