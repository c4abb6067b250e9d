//! Credentials that end: `penstockExpiry` of a consumer, which Higress ignores.
//!
//! It names credentials by their hash, so that whoever writes it needs no
//! credential, and a reference to a Secret stays one. What cannot be read
//! counts as over.

use std::time::{SystemTime, UNIX_EPOCH};

use penstock_manifest::diagnostic::{EXPIRY_WITHOUT_CREDENTIAL, INVALID_VALUE};
use penstock_manifest::node::Entry;
use penstock_manifest::redact::sha256_hex;
use penstock_manifest::time::parse_utc;
use penstock_manifest::{Cursor, Diagnostic};

/// The field of a consumer.
pub(super) const FIELD: &str = "penstockExpiry";

/// The end of what does not end.
pub(super) const NEVER: u64 = u64::MAX;

/// Whether a moment, in seconds since 1970, has come. Only what ends looks at
/// the clock.
pub(super) fn is_over(expires_s: u64) -> bool {
    let now_s = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    expires_s != NEVER && expires_s <= now_s()
}

/// When each of a consumer's credentials ends; `None` where the field is no
/// mapping.
pub(super) fn read(
    consumer: &Cursor<'_>,
    credentials: &[&str],
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Vec<u64>> {
    let mut ends = vec![NEVER; credentials.len()];
    let Some(field) = consumer.get(FIELD) else {
        return Some(ends);
    };
    if field.node.as_map().is_none() {
        diagnostics.push(field.wrong_type("a mapping from SHA-256 to time"));
        return None;
    }
    let hashes: Vec<String> = credentials.iter().map(sha256_hex).collect();
    for (entry, value) in field.entries() {
        let expires_s = value.node.as_str().and_then(parse_utc);
        if expires_s.is_none() {
            diagnostics.push(no_time(entry, &value, &field));
        }
        let mut is_known = false;
        for (end, _) in ends.iter_mut().zip(&hashes).filter(|(_, hash)| names(entry, hash)) {
            *end = expires_s.unwrap_or(0).min(*end);
            is_known = true;
        }
        if !is_known {
            diagnostics.push(unknown(entry, &value, &field));
        }
    }
    Some(ends)
}

fn names(entry: &Entry, hash: &str) -> bool {
    entry.key.eq_ignore_ascii_case(hash)
}

/// How a key is shown: not at all unless it is a hash, because it may be the
/// credential itself.
fn shown(entry: &Entry) -> String {
    let is_hash = entry.key.len() == 64 && entry.key.bytes().all(|b| b.is_ascii_hexdigit());
    match entry.key.get(..12).filter(|_| is_hash) {
        Some(beginning) => format!("`{beginning}…`"),
        None => "that is no SHA-256".to_owned(),
    }
}

fn no_time(entry: &Entry, value: &Cursor<'_>, field: &Cursor<'_>) -> Diagnostic {
    let message =
        format!("the value of key {} is no time in UTC: its credential is not valid", shown(entry));
    Diagnostic::at(&INVALID_VALUE, value.source, value.node.at, message)
        .with_path(field.path.clone())
        .with_hint("write it as 2026-11-24T09:30:00Z")
}

fn unknown(entry: &Entry, value: &Cursor<'_>, field: &Cursor<'_>) -> Diagnostic {
    let message = format!("key {} belongs to none of the consumer's credentials", shown(entry));
    Diagnostic::at(&EXPIRY_WITHOUT_CREDENTIAL, value.source, entry.key_at, message)
        .with_path(field.path.clone())
        .with_hint(
            "a key is the SHA-256 in hex of a credential's text, with `Bearer ` if it has that",
        )
}
