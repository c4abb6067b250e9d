//! How a secret is shown: never itself, always a hash.

use sha2::{Digest, Sha256};

/// Shows a secret as `sha256:` and the first twelve hex digits of its hash, so
/// that two places can be compared without either being revealed.
pub fn redact(secret: &str) -> String {
    let mut shown = sha256_hex(secret);
    shown.truncate(12);
    format!("sha256:{shown}")
}

/// The whole SHA-256 of a text in lower-case hex, which is how configuration
/// speaks of a credential without holding it.
pub fn sha256_hex(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    digest.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
