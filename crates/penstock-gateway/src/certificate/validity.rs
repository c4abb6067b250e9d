//! The two dates of an X.509 certificate (RFC 5280, 4.1.2.5). TLS libraries
//! compare them and do not tell them.

use penstock_manifest::time::parse_utc;

pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const VERSION: u8 = 0xa0;
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// From when until when a certificate is valid, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: u64,
    /// The last second.
    pub not_after: u64,
}

impl Validity {
    /// Whether a certificate is valid at a time, in seconds since 1970.
    pub fn contains(&self, now: u64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// Reads them from a certificate in DER.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let (certificate, _) = expect(certificate, SEQUENCE)?;
        let (mut rest, _) = expect(certificate, SEQUENCE)?;
        if let Some((_, behind)) = expect(rest, VERSION) {
            rest = behind;
        }
        // The serial number, the algorithm and the issuer come first.
        for _ in 0..3 {
            (_, _, rest) = element(rest)?;
        }
        let (validity, _) = expect(rest, SEQUENCE)?;
        let (not_before, rest) = moment(validity)?;
        let (not_after, _) = moment(rest)?;
        Some(Self { not_before, not_after })
    }

    /// Reads them from a list of what was revoked, in DER: from when it is, and
    /// the last second before the next one is due (RFC 5280, 5.1.2).
    pub fn of_list(list: &[u8]) -> Option<Self> {
        let (list, _) = expect(list, SEQUENCE)?;
        let (mut rest, _) = expect(list, SEQUENCE)?;
        if let Some((_, behind)) = expect(rest, INTEGER) {
            rest = behind;
        }
        // The algorithm and the issuer come first.
        for _ in 0..2 {
            (_, _, rest) = element(rest)?;
        }
        let (not_before, rest) = moment(rest)?;
        let (next, _) = moment(rest)?;
        Some(Self { not_before, not_after: next.saturating_sub(1) })
    }
}

fn moment(input: &[u8]) -> Option<(u64, &[u8])> {
    let (tag, content, rest) = element(input)?;
    let text = std::str::from_utf8(content).ok()?;
    let (year, text) = match tag {
        UTC_TIME => {
            let (year, text) = text.split_at_checked(2)?;
            let century = if year < "50" { "20" } else { "19" };
            (format!("{century}{year}"), text)
        }
        GENERALIZED_TIME => {
            let (year, text) = text.split_at_checked(4)?;
            (year.to_owned(), text)
        }
        _ => return None,
    };
    let pair = |at: usize| text.get(at..at + 2);
    let (month, day, hour) = (pair(0)?, pair(2)?, pair(4)?);
    let (minute, second, zone) = (pair(6)?, pair(8)?, text.get(10..)?);
    let written = format!("{year}-{month}-{day}T{hour}:{minute}:{second}{zone}");
    Some((parse_utc(&written)?, rest))
}

/// The content of an element with a certain tag, and what is behind it.
pub(super) fn expect(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(input)?;
    (found == tag).then_some((content, rest))
}

/// An element with its tag and length, and what is behind it.
pub(super) fn whole(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, _, rest) = element(input)?;
    Some((input.get(..input.len().checked_sub(rest.len())?)?, rest))
}

/// Tag, content and rest.
pub(super) fn element(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = input.split_first()?;
    let (first, mut rest) = rest.split_first()?;
    let mut length = usize::from(*first);
    if length > 0x7f {
        let (digits, behind) = rest.split_at_checked(length & 0x7f)?;
        if digits.len() > 4 {
            return None;
        }
        length = digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit));
        rest = behind;
    }
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate of which only what comes before the dates is there.
    fn certificate(version: &[u8], dates: &[&[u8]]) -> Vec<u8> {
        let wrap = |tag: u8, content: &[u8]| {
            let mut text = vec![tag, 0x82, (content.len() >> 8) as u8, content.len() as u8];
            text.extend(content);
            text
        };
        let fields = [version, &[2, 1, 5], &[0x30, 0], &[0x30, 0]].concat();
        let signed = [fields, wrap(SEQUENCE, &dates.concat())].concat();
        wrap(SEQUENCE, &wrap(SEQUENCE, &signed))
    }

    #[test]
    fn dates_are_read_in_both_forms() {
        let check = |version: &[u8], dates: &[&[u8]], expected: Option<(u64, u64)>| {
            let found = Validity::of(&certificate(version, dates));
            assert_eq!(found.map(|found| (found.not_before, found.not_after)), expected);
        };
        let early: &[u8] = b"\x17\x0d700101000101Z";
        let late: &[u8] = b"\x18\x0f21000101000000Z";
        check(&[], &[early, late], Some((61, 4_102_444_800)));
        check(&[0xa0, 3, 2, 1, 2], &[early, late], Some((61, 4_102_444_800)));
        check(&[], &[b"\x17\x0d491231235959Z", late], Some((2_524_607_999, 4_102_444_800)));
        check(&[], &[early], None);
        check(&[], &[early, b"\x18\x0f2100010100000"], None);
        check(&[], &[early, b"\x04\x01a"], None);
    }

    #[test]
    fn a_list_is_valid_until_the_next_one() {
        let wrap = |content: &[u8]| [&[SEQUENCE, content.len() as u8], content].concat();
        let check = |version: &[u8], behind: &[u8], expected: Option<(u64, u64)>| {
            let date: &[u8] = b"\x17\x0d700101000101Z";
            let signed = [version, &[0x30, 0], &[0x30, 0], date, behind].concat();
            let found = Validity::of_list(&wrap(&wrap(&signed)));
            assert_eq!(found.map(|found| (found.not_before, found.not_after)), expected);
        };
        let next: &[u8] = b"\x18\x0f21000101000000Z";
        check(&[2, 1, 1], next, Some((61, 4_102_444_799)));
        check(&[], next, Some((61, 4_102_444_799)));
        check(&[2, 1, 1], &[0x30, 0], None);
        check(&[2, 1, 1], &[], None);
    }

    #[test]
    fn what_is_cut_off_has_no_dates() {
        let whole = certificate(&[], &[b"\x17\x0d700101000101Z", b"\x18\x0f21000101000000Z"]);
        (0..whole.len()).for_each(|end| assert_eq!(Validity::of(&whole[..end]), None));
        assert_eq!(Validity::of(&[0x30, 0x85, 1, 1, 1, 1, 1]), None);
    }
}
