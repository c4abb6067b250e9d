//! What signatures of requests are made of: HMAC, hexadecimal digits, dates.

use sha2::{Digest, Sha256};

const BLOCK_BYTES: usize = 64;

/// HMAC with SHA-256 (RFC 2104).
pub(crate) fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0; BLOCK_BYTES];
    let digest;
    let key = if key.len() > BLOCK_BYTES {
        digest = sha256(key);
        &digest[..]
    } else {
        key
    };
    for (place, byte) in block.iter_mut().zip(key) {
        *place = *byte;
    }
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message);
    let outer = Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c));
    outer.chain_update(inner.finalize()).finalize().into()
}

/// The key that is left of a secret once each part of the scope was signed
/// with what was left before.
pub(crate) fn scoped_key(secret: &[u8], scope: &[&str]) -> [u8; 32] {
    let mut parts = scope.iter();
    let first = hmac(secret, parts.next().unwrap_or(&"").as_bytes());
    parts.fold(first, |key, part| hmac(&key, part.as_bytes()))
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// In hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// A time of UTC: its day in the calendar, and the second of that day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Date {
    pub(crate) year: u64,
    pub(crate) month: u64,
    pub(crate) day: u64,
    pub(crate) second: u64,
}

impl Date {
    /// Of the seconds since 1970.
    pub(crate) fn of(seconds: u64) -> Self {
        // Counted from the 1st of March of the year 0, so that a leap day is
        // the last one of its year.
        let days = seconds / 86_400 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        Self { year, month, day, second: seconds % 86_400 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_hmac(key: &[u8], message: &[u8], expected: &str) {
        assert_eq!(hex(&hmac(key, message)), expected);
    }

    #[test]
    fn the_vectors_of_rfc_4231() {
        check_hmac(
            &[0x0b; 20],
            b"Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        );
        check_hmac(
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        );
        check_hmac(
            &[0xaa; 20],
            &[0xdd; 50],
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
        );
        let key: Vec<_> = (1..=25).collect();
        check_hmac(
            &key,
            &[0xcd; 50],
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
        );
        check_hmac(
            &[0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        );
        let message = "This is a test using a larger than block-size key and a larger than \
                       block-size data. The key needs to be hashed before being used by the HMAC \
                       algorithm.";
        check_hmac(
            &[0xaa; 131],
            message.as_bytes(),
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
        );
    }

    #[test]
    fn dates() {
        let check = |seconds, year, month, day, second| {
            assert_eq!(Date::of(seconds), Date { year, month, day, second });
        };
        check(0, 1970, 1, 1, 0);
        check(951_782_399, 2000, 2, 28, 86_399);
        check(951_782_400, 2000, 2, 29, 0);
        check(951_868_800, 2000, 3, 1, 0);
        check(1_440_938_160, 2015, 8, 30, 45_360);
        check(1_735_689_599, 2024, 12, 31, 86_399);
        check(1_735_689_600, 2025, 1, 1, 0);
        check(4_107_542_400, 2100, 3, 1, 0);
    }
}
