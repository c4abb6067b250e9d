//! Who may use a route (Higress: annotations/ip_access_control.go).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::table::Key;
use super::view::{Annotations, items, parse_int};

const ALLOWED: Key = Key::of("whitelist-source-range");

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceRange {
    /// The first address. One of IPv4 that is written in the form of IPv6 is
    /// one of IPv4.
    pub address: IpAddr,
    /// The number of leading bits that count: up to 32, or 128 for IPv6.
    pub prefix_bits: u8,
}

/// The ranges, `None` for everybody. What is left of a list with mistakes is
/// smaller than what was meant, so they cost only themselves; a list without
/// anything usable would let everybody in, and closes the routes.
pub(super) fn parse(annotations: &mut Annotations<'_, '_>) -> Option<Vec<SourceRange>> {
    for written in annotations.forms(ALLOWED).into_iter().flatten() {
        let entries = || items(written.raw());
        // Higress: splitStringWithSpaceTrim — one `*` is the whole list.
        if entries().any(|entry| entry == "*") {
            return None;
        }
        let expected = "an address or a range such as `10.0.0.0/8`";
        let ranges = annotations.keep(&written, entries(), expected, parse_range);
        if !ranges.is_empty() {
            return Some(ranges);
        }
    }
    annotations.close(ALLOWED, "`whitelist-source-range` has no usable address");
    None
}

fn parse_range(text: &str) -> Option<SourceRange> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(parse_int(bits)?)),
        None => (text, None),
    };
    match address.parse().ok()? {
        IpAddr::V4(address) => range_v4(address, bits.unwrap_or(32)),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => range_v4(mapped, bits.unwrap_or(128).checked_sub(96)?),
            None => range_v6(address, bits.unwrap_or(128)),
        },
    }
}

fn range_v4(address: Ipv4Addr, bits: u32) -> Option<SourceRange> {
    let hidden = 32u32.checked_sub(bits)?;
    let mask = u32::MAX.checked_shl(hidden).unwrap_or(0);
    let address = IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask));
    Some(SourceRange { address, prefix_bits: u8::try_from(bits).ok()? })
}

fn range_v6(address: Ipv6Addr, bits: u32) -> Option<SourceRange> {
    let hidden = 128u32.checked_sub(bits)?;
    let mask = u128::MAX.checked_shl(hidden).unwrap_or(0);
    let address = IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask));
    Some(SourceRange { address, prefix_bits: u8::try_from(bits).ok()? })
}
