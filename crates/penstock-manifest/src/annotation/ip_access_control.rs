//! Who may use a route (Higress: annotations/ip_access_control.go).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::table::Key;
use super::view::{Annotations, items, parse_int};

const ALLOWED: Key = Key::of("whitelist-source-range");
const DENIED: Key = Key::of("blacklist-source-range");
const DOMAIN_ALLOWED: Key = Key::of("domain-whitelist-source-range");
const DOMAIN_DENIED: Key = Key::of("domain-blacklist-source-range");

/// Who may use routes: those who are allowed and not denied. Older versions
/// of Higress, which have the lists of the denied, look at no list beside that
/// of the allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// `None` for everybody. Empty where a list cannot be read; then nobody is
    /// to be let in.
    pub allowed: Option<Vec<SourceRange>>,
    /// Those who may not.
    pub denied: Vec<SourceRange>,
}

impl Sources {
    /// What holds where a list cannot be read.
    pub fn nobody() -> Self {
        Self { allowed: Some(Vec::new()), denied: Vec::new() }
    }

    /// Whether a list could not be read.
    pub fn is_nobody(&self) -> bool {
        self.allowed.as_ref().is_some_and(Vec::is_empty)
    }
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceRange {
    /// The first address. One of IPv4 that is written in the form of IPv6 is
    /// one of IPv4.
    pub address: IpAddr,
    /// The number of leading bits that count: up to 32, or 128 for IPv6.
    pub prefix_bits: u8,
}

/// What the lists of the routes say, and those of their hosts. Lists that
/// cannot be used close the routes.
pub(super) fn parse(annotations: &mut Annotations<'_, '_>) -> [Sources; 2] {
    [(ALLOWED, DENIED), (DOMAIN_ALLOWED, DOMAIN_DENIED)].map(|(allowed, denied)| {
        let allowed = parse_allowed(annotations, allowed);
        match parse_denied(annotations, denied) {
            Some(denied) => Sources { allowed, denied },
            None => Sources::nobody(),
        }
    })
}

/// The ranges, `None` for everybody. What is left of a list with mistakes is
/// smaller than what was meant, so they cost only themselves; a list without
/// anything usable would let everybody in.
fn parse_allowed(annotations: &mut Annotations<'_, '_>, key: Key) -> Option<Vec<SourceRange>> {
    let mut is_written = false;
    for written in annotations.forms(key).into_iter().flatten() {
        is_written = true;
        let entries = || items(written.raw());
        // Higress: splitStringWithSpaceTrim — one `*` is the whole list.
        if entries().any(|entry| entry == "*") {
            return None;
        }
        let ranges = annotations.keep(&written, entries(), EXPECTED, parse_range);
        if !ranges.is_empty() {
            return Some(ranges);
        }
    }
    is_written.then(|| {
        annotations.close(key, "a list of allowed addresses has none that is usable");
        Vec::new()
    })
}

/// The ranges; `None` where a mistake would let somebody in who was meant.
fn parse_denied(annotations: &mut Annotations<'_, '_>, key: Key) -> Option<Vec<SourceRange>> {
    for written in annotations.forms(key).into_iter().flatten() {
        let entries = || items(written.raw());
        if entries().any(|entry| entry == "*") {
            return Some(EVERYBODY.to_vec());
        }
        let ranges = annotations.keep(&written, entries(), EXPECTED, parse_range);
        if ranges.len() < entries().count() {
            annotations.close(key, "a list of denied addresses has one that is not usable");
            return None;
        }
        if !ranges.is_empty() {
            return Some(ranges);
        }
        annotations.must_be(&written, "a list of addresses and ranges");
    }
    Some(Vec::new())
}

const EXPECTED: &str = "an address or a range such as `10.0.0.0/8`";

const EVERYBODY: [SourceRange; 2] = [
    SourceRange { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), prefix_bits: 0 },
    SourceRange { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), prefix_bits: 0 },
];

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
