//! Which target a request goes to. Decides, does not do.

use crate::snapshot::{Route, WeightedTarget};

/// The most endpoints that one request tries to connect to. Nothing has been
/// sent while a connection is missing, so trying another is always safe.
pub const CONNECTS_MAX: usize = 3;

/// The target for a roll of a hundred-sided die (0 to 99).
pub fn choose(route: &Route, roll: u32) -> Option<&WeightedTarget> {
    let mut rest = roll;
    for target in &route.targets {
        if rest < target.weight {
            return Some(target);
        }
        rest -= target.weight;
    }
    // Weights sum to 100, so only a route without targets comes here.
    None
}

/// Which of `count` tokens a request gets (Higress: ai-proxy,
/// provider/provider.go): the same one for the same consumer where the API
/// keeps state on the provider's side, any one otherwise.
pub fn choose_token(count: usize, sticky_consumer: Option<&str>, roll: u64) -> usize {
    let Some(count) = u64::try_from(count).ok().filter(|count| *count > 0) else {
        return 0;
    };
    let chosen = match sticky_consumer {
        Some(consumer) => u64::from(fnv1a_32(consumer.as_bytes())) % count,
        None => roll % count,
    };
    usize::try_from(chosen).unwrap_or(0)
}

/// FNV-1a with 32 bits.
fn fnv1a_32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Turns declared weights into shares of 100
/// (Higress: pkg/ingress/config/ingress_config.go, `normalizeWeightedCluster`).
///
/// Every destination from the second on gets the truncated quotient of `total`
/// or, if that is more, of what they are together. It is computed in single
/// precision as Higress does; the first gets the remainder.
pub fn normalise_weights(weights: &[u32], total: u64) -> Vec<u32> {
    let Some((_, rest)) = weights.split_first() else {
        return Vec::new();
    };
    let rest_sum: u64 = rest.iter().map(|weight| u64::from(*weight)).sum();
    let total = rest_sum.max(total);
    if rest.is_empty() || total == 0 {
        return std::iter::once(100).chain(rest.iter().map(|_| 0)).collect();
    }
    let shares: Vec<u32> =
        rest.iter().map(|weight| (*weight as f32 / total as f32 * 100.0) as u32).collect();
    let remainder = 100_u32.saturating_sub(shares.iter().sum());
    std::iter::once(remainder).chain(shares).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_become_shares_as_in_higress() {
        let check = |weights: &[u32], expected: &[u32]| {
            let total = weights.iter().map(|weight| u64::from(*weight)).sum();
            assert_eq!(normalise_weights(weights, total), expected, "{weights:?}");
        };
        check(&[], &[]);
        check(&[7], &[100]);
        check(&[100], &[100]);
        check(&[80, 20], &[80, 20]);
        check(&[1, 1, 1], &[34, 33, 33]);
        check(&[0, 100], &[0, 100]);
        check(&[100, 100], &[50, 50]);
        check(&[47, 53], &[48, 52]);
        check(&[41, 59], &[42, 58]);
        check(&[0, 0], &[100, 0]);
        for weight in (0..=100).filter(|weight| ![53, 59].contains(weight)) {
            check(&[100 - weight, weight], &[100 - weight, weight]);
        }
        assert_eq!(normalise_weights(&[1, 1, 10], 2), [1, 9, 90]);
        assert_eq!(normalise_weights(&[100, 60, 60], 100), [0, 50, 50]);
        assert_eq!(normalise_weights(&[50, 50, 60], 100), [1, 45, 54]);
        assert_eq!(normalise_weights(&[100, 10], 1000), [99, 1]);
    }

    #[test]
    fn a_consumer_keeps_its_token_where_state_is_kept() {
        assert_eq!(fnv1a_32(b""), 0x811c_9dc5);
        assert_eq!(fnv1a_32(b"a"), 0xe40c_292c);
        assert_eq!(fnv1a_32(b"foobar"), 0xbf9c_f968);
        let chosen = choose_token(3, Some("foobar"), 0);
        assert_eq!(chosen, 0xbf9c_f968_usize % 3);
        assert_eq!(choose_token(3, Some("foobar"), 17), chosen);
        assert_eq!(choose_token(3, None, 17), 2);
        assert_eq!(choose_token(0, None, 17), 0);
    }
}
