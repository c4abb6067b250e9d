//! Rate limits of one process (Higress: annotations/local_rate_limit.go).

use super::table::Key;
use super::view::{Annotations, parse_int};

const PER_MINUTE: Key = Key::of("route-limit-rpm");
const PER_SECOND: Key = Key::of("route-limit-rps");
const BURST: Key = Key::of("route-limit-burst-multiplier");

const BURST_DEFAULT: u32 = 5;

/// A token bucket of each route. Higress refuses with 429, the body
/// `local_rate_limited` and `x-local-rate-limit: true`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Tokens that come with every interval, at least 1.
    /// Higress: `route-limit-rpm`, else `route-limit-rps`.
    pub rate: u32,
    /// The interval in seconds: 60 or 1.
    pub interval_s: u32,
    /// Tokens that the bucket holds, at first and at most: the rate times
    /// `route-limit-burst-multiplier`, which is 5 by default.
    pub burst: u32,
}

pub(super) fn parse(annotations: &mut Annotations<'_, '_>) -> Option<RateLimit> {
    let (key, interval_s) = match annotations.has(PER_MINUTE) {
        true => (PER_MINUTE, 60),
        false => (PER_SECOND, 1),
    };
    if !annotations.has(key) {
        return None;
    }
    // Higress 2.2.4 — whatever cannot be used leaves the route without any
    // limit, which the messages have to say.
    let expected = "a whole number from 1 on; without it there is no limit";
    let positive = |text: &str| parse_int(text).filter(|number| *number > 0);
    let multiplier = match annotations.has(BURST) {
        true => annotations.read(BURST, expected, positive),
        false => Some(BURST_DEFAULT),
    };
    let rate = annotations.read(key, expected, positive)?;
    let multiplier = multiplier?;
    let Some(burst) = rate.checked_mul(multiplier) else {
        for written in annotations.forms(key).into_iter().flatten() {
            annotations.complain(
                &written,
                "the rate times the burst multiplier exceeds 4294967295: there is no limit",
            );
        }
        return None;
    };
    Some(RateLimit { rate, interval_s, burst })
}
