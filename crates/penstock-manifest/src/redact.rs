//! How a secret is shown: never itself, always a short hash.

use sha2::{Digest, Sha256};

/// Shows a secret as `sha256:` and the first twelve hex digits of its hash, so
/// that two places can be compared without either being revealed.
pub fn redact(secret: &str) -> String {
    let digest = Sha256::digest(secret.as_bytes());
    let mut shown = String::with_capacity(19);
    shown.push_str("sha256:");
    for byte in &digest[..6] {
        shown.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        shown.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    shown
}
