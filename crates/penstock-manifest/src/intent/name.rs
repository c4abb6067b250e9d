//! What the console and Kubernetes take for a name.

use crate::diagnostic::{Diagnostic, INTENT_NAME};
use crate::schema::Fields;

/// A kind of name.
pub(super) struct NameRule {
    /// Whether a name obeys.
    pub(super) is_valid: fn(&str) -> bool,
    /// What is allowed, for the message.
    pub(super) allowed: &'static str,
}

/// The name of a thing, reported where it breaks its rule.
pub(super) fn read(
    fields: &Fields<'_>,
    rule: &NameRule,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Box<str>> {
    let cursor = fields.get("name")?;
    let name = cursor.node.as_str()?;
    if !(rule.is_valid)(name) {
        let shown: String = name.chars().take(64).collect();
        let message = format!("`{shown}` cannot be used as a name");
        diagnostics.push(cursor.diagnostic(&INTENT_NAME, message).with_hint(rule.allowed));
    }
    Some(name.into())
}

/// Letters, digits, and inside also what `is_inner` takes; 1 to 63 bytes.
pub(super) fn is_word(name: &str, is_edge: fn(u8) -> bool, is_inner: fn(u8) -> bool) -> bool {
    let bytes = name.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.first().copied().is_some_and(is_edge)
        && bytes.last().copied().is_some_and(is_edge)
        && bytes.iter().all(|byte| is_edge(*byte) || is_inner(*byte))
}

/// Whether every label between dots is one of Kubernetes' names: an empty one
/// would pass the console's pattern and fail at the API server.
pub(super) fn has_whole_labels(name: &str) -> bool {
    name.split('.')
        .all(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-'))
}
