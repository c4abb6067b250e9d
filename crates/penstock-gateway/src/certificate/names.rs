//! Who a certificate is of, and who has signed it (RFC 5280, 4.1.2): the two
//! names as they are encoded, which is how they are compared.

use super::validity::{SEQUENCE, VERSION, element, expect, whole};

/// The names of a certificate, encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Names<'c> {
    pub(super) issuer: &'c [u8],
    pub(super) subject: &'c [u8],
}

/// Reads them from a certificate in DER.
pub(super) fn of(certificate: &[u8]) -> Option<Names<'_>> {
    let (certificate, _) = expect(certificate, SEQUENCE)?;
    let (mut rest, _) = expect(certificate, SEQUENCE)?;
    if let Some((_, behind)) = expect(rest, VERSION) {
        rest = behind;
    }
    // The serial number and the algorithm come first.
    for _ in 0..2 {
        (_, _, rest) = element(rest)?;
    }
    let (issuer, rest) = whole(rest)?;
    let (_, _, rest) = element(rest)?;
    let (subject, _) = whole(rest)?;
    Some(Names { issuer, subject })
}
