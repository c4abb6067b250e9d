//! `v1` Secret: the values of its keys (Kubernetes: `data` in base64,
//! `stringData` as text, which wins).

use crate::resource::Resource;

/// Why a key of a Secret has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretError {
    /// There is no such key.
    NoKey,
    /// Its value is no base64.
    NotBase64,
    /// Its value is no text.
    NotText,
}

/// The value of a key.
///
/// # Errors
/// There is none that could stand in a manifest.
pub fn value(secret: &Resource, key: &str) -> Result<String, SecretError> {
    if let Some(text) = secret.root.get("stringData").and_then(|data| data.get(key)) {
        return text.as_str().map(str::to_owned).ok_or(SecretError::NotText);
    }
    let encoded = secret.root.get("data").and_then(|data| data.get(key));
    let encoded = encoded.ok_or(SecretError::NoKey)?.as_str().ok_or(SecretError::NotBase64)?;
    let bytes = decode_base64(encoded).ok_or(SecretError::NotBase64)?;
    String::from_utf8(bytes).map_err(|_| SecretError::NotText)
}

/// The keys, those of both parts.
pub fn keys(secret: &Resource) -> impl Iterator<Item = &str> {
    let parts =
        ["stringData", "data"].into_iter().filter_map(|part| secret.root.get(part)?.as_map());
    parts.flat_map(|part| part.entries.iter().map(|entry| &*entry.key))
}

/// Base64 of RFC 4648, section 4, with padding; line ends are skipped, as Go
/// does.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
    if !digits.len().is_multiple_of(4) {
        return None;
    }
    let padding = digits.iter().rev().take_while(|byte| **byte == b'=').count();
    let used = digits.len().checked_sub(padding).filter(|_| padding <= 2)?;
    let mut bytes = Vec::with_capacity(used * 3 / 4);
    for group in digits.get(..used)?.chunks(4) {
        let mut bits = 0_u32;
        for digit in group {
            bits = bits << 6 | u32::from(sextet(*digit)?);
        }
        bits <<= 6 * (4 - group.len());
        let [_, first, second, third] = bits.to_be_bytes();
        bytes.extend_from_slice([first, second, third].get(..group.len().checked_sub(1)?)?);
    }
    Some(bytes)
}

fn sextet(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded() {
        let check = |text: &str, expected: Option<&[u8]>| {
            assert_eq!(decode_base64(text).as_deref(), expected, "{text}");
        };
        check("", Some(b""));
        check("Zg==", Some(b"f"));
        check("Zm8=", Some(b"fo"));
        check("Zm9v", Some(b"foo"));
        check("Zm9v\nYmFy\n", Some(b"foobar"));
        check("+/+/", Some(&[0xfb, 0xff, 0xbf]));
        check("Zg", None);
        check("Zg=", None);
        check("Z===", None);
        check("Z-8=", None);
        check("=Zg=", None);
        check("====", None);
    }
}
