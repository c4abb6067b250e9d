//! How tokens stand, for whoever looks at them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::{Keyring, TokenHealth};
use crate::health::{OUTCOMES, now_ms};

/// How one token of a provider stands.
pub struct TokenStanding {
    /// What is shown of it.
    pub label: Arc<str>,
    /// Whether nothing keeps requests away from it.
    pub is_fit: bool,
    /// Failures in a row while it is not put aside.
    pub failures: u32,
    /// Since when it is put aside.
    pub aside_since: Option<SystemTime>,
    /// Until when its provider does not want to see it.
    pub waits_until: Option<SystemTime>,
    /// When the last check ended, and whether it passed.
    pub last_check: Option<(SystemTime, bool)>,
}

impl Keyring {
    /// How the tokens stand, in the order of the configuration.
    pub fn standings(&self) -> Vec<TokenStanding> {
        self.tokens().iter().map(|token| self.standing(token)).collect()
    }

    fn standing(&self, token: &TokenHealth) -> TokenStanding {
        let (now, now_ms) = (SystemTime::now(), now_ms());
        let past = |ms: u64| now.checked_sub(Duration::from_millis(now_ms.saturating_sub(ms)));
        let is_out = self.is_out(token, now_ms);
        let waits_ms = token.waits_ms(now_ms);
        let last_check = token.last_check.load(Ordering::Relaxed);
        TokenStanding {
            label: token.label.clone(),
            is_fit: !is_out && waits_ms == 0,
            failures: token.failures.load(Ordering::Relaxed),
            aside_since: past(token.out_since_ms.load(Ordering::Relaxed)).filter(|_| is_out),
            waits_until: now.checked_add(Duration::from_millis(waits_ms)).filter(|_| waits_ms > 0),
            last_check: past(last_check >> 1)
                .filter(|_| last_check != 0)
                .map(|at| (at, last_check & 1 == 1)),
        }
    }

    /// Whether nothing keeps requests away from a token now.
    pub(crate) fn is_fit(&self, token: &TokenHealth) -> bool {
        let now = now_ms();
        !self.is_out(token, now) && token.waits_ms(now) == 0
    }

    fn is_out(&self, token: &TokenHealth, now_ms: u64) -> bool {
        self.provider.failover().is_some_and(|failover| token.is_out(failover, now_ms))
    }
}

impl TokenHealth {
    /// How often it was put aside.
    pub(crate) fn outs(&self) -> u64 {
        self.outs.load(Ordering::Relaxed)
    }

    /// How many attempts with it came to what, in the order of [`OUTCOMES`].
    pub(crate) fn outcomes(&self) -> [u64; OUTCOMES.len()] {
        self.outcomes.each_ref().map(read)
    }

    /// The checks of it that passed, and those that failed.
    pub(crate) fn checks(&self) -> [u64; 2] {
        self.checks.each_ref().map(read)
    }
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}
