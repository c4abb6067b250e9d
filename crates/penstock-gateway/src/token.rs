//! Which API tokens of a provider are fit, and which one is tried next
//! (Higress: ai-proxy, provider/failover.go).
//!
//! What is known of a token is atomics that all workers share and that
//! outlive every change of configuration under which the token stays. It is
//! kept by a digest: nothing here holds a token's text, and what is shown of
//! one is its label.
//!
//! Invariant: a provider whose every token is put aside is still asked: to
//! fail is better than to refuse what might work.

pub mod check;
mod standing;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use penstock_llm::provider::availability::Failover;
use penstock_llm::provider::{Provider, Token};
use sha2::{Digest, Sha256};

pub use self::standing::TokenStanding;
use crate::attempt;
use crate::error::GatewayError;
use crate::health::{OUTCOMES, Outcome, millis, now_ms};

/// The longest time that a provider keeps a token from being used by
/// `Retry-After`.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// How much of a digest is shown.
const LABEL_BYTES: usize = 4;

/// A token of a provider, for those who keep what is known of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenKey([u8; 32]);

impl TokenKey {
    fn of(provider: &dyn Provider, token: &Token) -> Self {
        let mut digest = Sha256::new();
        let names = [provider.type_name().as_bytes(), provider.id().as_bytes()];
        for part in names.into_iter().chain([token.plain().as_bytes()]) {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        Self(digest.finalize().into())
    }
}

/// Host and port of a service, by which destinations name it.
pub type ServiceName<'a> = (&'a Arc<str>, u16);

/// What is known of one token.
pub struct TokenHealth {
    /// What is shown of it: the beginning of its digest.
    pub label: Arc<str>,
    /// Failures in a row.
    failures: AtomicU32,
    /// Checks in a row that passed while it was put aside.
    passes: AtomicU32,
    /// When it was put aside; 0 while it is not.
    out_since_ms: AtomicU64,
    /// Before then its provider does not want to see it.
    not_before_ms: AtomicU64,
    /// When the next check of it is due.
    pub(crate) next_check_ms: AtomicU64,
    /// How often it was put aside.
    outs: AtomicU64,
    /// What came of attempts with it.
    outcomes: [AtomicU64; OUTCOMES.len()],
    /// The checks of it that passed, and those that failed.
    checks: [AtomicU64; 2],
    /// When the last check ended, doubled, and one more where it passed; 0
    /// without any.
    last_check: AtomicU64,
    /// Host and port of the service at which it was put aside, where it is
    /// checked.
    failed_at: Mutex<Option<(Arc<str>, u16)>>,
}

impl TokenHealth {
    fn new(key: &TokenKey) -> Self {
        let digest = key.0.iter().take(LABEL_BYTES);
        Self {
            label: digest.map(|byte| format!("{byte:02x}")).collect::<String>().into(),
            failures: AtomicU32::new(0),
            passes: AtomicU32::new(0),
            out_since_ms: AtomicU64::new(0),
            not_before_ms: AtomicU64::new(0),
            next_check_ms: AtomicU64::new(0),
            outs: AtomicU64::new(0),
            outcomes: Default::default(),
            checks: Default::default(),
            last_check: AtomicU64::new(0),
            failed_at: Mutex::default(),
        }
    }

    /// Whether it is put aside.
    pub fn is_out(&self, failover: &Failover, now_ms: u64) -> bool {
        let since = self.out_since_ms.load(Ordering::Relaxed);
        if since == 0 {
            return false;
        }
        let is_over =
            failover.cooldown_ms > 0 && now_ms >= since.saturating_add(failover.cooldown_ms);
        if is_over {
            self.bring_back();
        }
        !is_over
    }

    /// How long its provider does not want to see it, in milliseconds.
    pub fn waits_ms(&self, now_ms: u64) -> u64 {
        self.not_before_ms.load(Ordering::Relaxed).saturating_sub(now_ms)
    }

    /// Takes a failure at a service; whether that puts it aside.
    fn fail(&self, failover: &Failover, service: ServiceName<'_>, now_ms: u64) -> bool {
        if self.out_since_ms.load(Ordering::Relaxed) != 0 {
            return false;
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if failures < failover.failure_threshold {
            return false;
        }
        self.failures.store(0, Ordering::Relaxed);
        self.passes.store(0, Ordering::Relaxed);
        self.next_check_ms
            .store(now_ms.saturating_add(failover.check_interval_ms), Ordering::Relaxed);
        self.outs.fetch_add(1, Ordering::Relaxed);
        *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((service.0.clone(), service.1));
        self.out_since_ms.swap(now_ms.max(1), Ordering::Relaxed) == 0
    }

    /// Counts what came of an attempt.
    fn count(&self, outcome: Outcome) {
        if let Some(count) = self.outcomes.get(outcome as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn bring_back(&self) {
        self.out_since_ms.store(0, Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
    }

    /// The service at which it is checked.
    pub(crate) fn checked_at(&self) -> Option<(Arc<str>, u16)> {
        self.failed_at.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes what a check found; whether that brought it back.
    pub(crate) fn note_check(&self, failover: &Failover, has_passed: bool) -> bool {
        let [passed, failed] = &self.checks;
        let count = if has_passed { passed } else { failed };
        count.fetch_add(1, Ordering::Relaxed);
        let now = now_ms().max(1);
        self.last_check.store(now << 1 | u64::from(has_passed), Ordering::Relaxed);
        if !has_passed {
            self.passes.store(0, Ordering::Relaxed);
            return false;
        }
        let passes = self.passes.fetch_add(1, Ordering::Relaxed) + 1;
        let is_back = passes >= failover.success_threshold;
        if is_back {
            self.bring_back();
        }
        is_back
    }
}

/// The tokens of one provider.
pub struct Keyring {
    provider: Arc<dyn Provider>,
    keys: Box<[TokenKey]>,
    /// Set once the snapshot comes into force.
    tokens: OnceLock<Box<[Arc<TokenHealth>]>>,
}

impl Keyring {
    /// The tokens of a provider; `None` where there is nothing to choose.
    pub fn new(provider: &Arc<dyn Provider>) -> Option<Arc<Self>> {
        let tokens = provider.tokens();
        if tokens.is_empty() || (tokens.len() == 1 && provider.failover().is_none()) {
            return None;
        }
        Some(Arc::new(Self {
            keys: tokens.iter().map(|token| TokenKey::of(&**provider, token)).collect(),
            provider: provider.clone(),
            tokens: OnceLock::new(),
        }))
    }

    /// The provider.
    pub fn provider(&self) -> &Arc<dyn Provider> {
        &self.provider
    }

    /// What is known of the tokens, in the order of the configuration.
    pub fn tokens(&self) -> &[Arc<TokenHealth>] {
        let fresh = || self.keys.iter().map(|key| Arc::new(TokenHealth::new(key))).collect();
        self.tokens.get_or_init(fresh)
    }

    /// Which token is tried next. None of `tried` is; without any left it is
    /// `None`. `sticky` is the consumer that should meet the same one again.
    pub fn choose(&self, sticky: Option<&str>, tried: &[usize], roll: u64) -> Option<usize> {
        let count = self.keys.len();
        let failover = self.provider.failover();
        let tokens = self.tokens();
        let preferred = attempt::choose_token(count, sticky, roll);
        // Most are never put aside, and no provider ever asks to wait.
        let may_wait = tokens.iter().any(|token| token.not_before_ms.load(Ordering::Relaxed) != 0);
        if failover.is_none() && !may_wait && tried.is_empty() {
            return Some(preferred);
        }
        let now = now_ms();
        let is_out = |at: usize| {
            let token = tokens.get(at).zip(failover);
            token.is_some_and(|(token, failover)| token.is_out(failover, now))
        };
        let waits = |at: usize| tokens.get(at).map_or(0, |token| token.waits_ms(now));
        let left: Vec<usize> = (0..count).filter(|at| !tried.contains(at)).collect();
        let fit: Vec<usize> =
            left.iter().copied().filter(|at| !is_out(*at) && waits(*at) == 0).collect();
        if fit.contains(&preferred) {
            return Some(preferred);
        }
        if let Some(at) = fit.get(index_of(roll, fit.len())) {
            return Some(*at);
        }
        // Another one that is not wanted is no better than the answer that
        // is there already.
        if !tried.is_empty() {
            return None;
        }
        let soonest = left.iter().copied().filter(|at| !is_out(*at)).min_by_key(|at| waits(*at));
        soonest.or_else(|| left.get(index_of(roll, left.len())).copied())
    }

    /// Takes what a provider answered to a token; whether that put it aside.
    pub fn note(
        &self,
        at: usize,
        (status, headers): (StatusCode, &HeaderMap),
        service: ServiceName<'_>,
    ) -> bool {
        let Some(token) = self.tokens().get(at) else { return false };
        token.count(Outcome::of_status(status));
        if status == StatusCode::TOO_MANY_REQUESTS
            && let Some(wait) = retry_after(headers)
        {
            let until = now_ms().saturating_add(millis(wait.min(RETRY_AFTER_MAX)));
            token.not_before_ms.store(until, Ordering::Relaxed);
        }
        let Some(failover) = self.provider.failover() else { return false };
        if status == StatusCode::OK {
            if token.failures.load(Ordering::Relaxed) != 0 {
                token.failures.store(0, Ordering::Relaxed);
            }
            return false;
        }
        failover.statuses.contains(status) && token.fail(failover, service, now_ms())
    }
}

/// The tokens that one request tries.
pub struct Turn {
    /// The provider's tokens.
    pub keyring: Arc<Keyring>,
    current: Option<usize>,
    tried: Vec<usize>,
}

impl Turn {
    /// None was tried.
    pub fn new(keyring: Arc<Keyring>) -> Self {
        Self { keyring, current: None, tried: Vec::new() }
    }

    /// The token of this attempt. `sticky` is as for [`Keyring::choose`].
    pub fn token(&mut self, sticky: Option<&str>) -> Option<&Token> {
        if self.current.is_none() {
            self.current = self.keyring.choose(sticky, &self.tried, fastrand::u64(..));
        }
        self.keyring.provider.tokens().get(self.current?)
    }

    /// What is known of the token of this attempt.
    pub fn health(&self) -> Option<&Arc<TokenHealth>> {
        self.keyring.tokens().get(self.current?)
    }

    /// Takes what was answered to this attempt.
    pub fn note(&self, head: (StatusCode, &HeaderMap), service: ServiceName<'_>) {
        let Some(at) = self.current else { return };
        if self.keyring.note(at, head, service)
            && let Some(token) = self.health()
        {
            let provider = self.keyring.provider.id();
            let status = head.0.as_u16();
            tracing::warn!(provider, token = &*token.label, status, "a token is put aside");
        }
    }

    /// Takes what kept this attempt from an answer.
    pub fn failed(&self, error: &GatewayError) {
        if let Some((token, outcome)) = self.health().zip(Outcome::of_error(error)) {
            token.count(outcome);
        }
    }

    /// Goes on to another token; `false` where there is none that is fit.
    pub fn advance(&mut self) -> bool {
        let Some(current) = self.current else { return true };
        self.tried.push(current);
        let next = self.keyring.choose(None, &self.tried, fastrand::u64(..));
        match next {
            Some(_) => self.current = next,
            None => drop(self.tried.pop()),
        }
        next.is_some()
    }
}

fn index_of(roll: u64, count: usize) -> usize {
    let count = u64::try_from(count).unwrap_or(u64::MAX).max(1);
    usize::try_from(roll % count).unwrap_or(0)
}

/// How long a header asks to wait: seconds, or until a date (RFC 9110,
/// 10.2.3).
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}

/// What is known of tokens, by what they are, over changes of configuration.
#[derive(Default)]
pub struct Tokens(Mutex<HashMap<TokenKey, Weak<TokenHealth>>>);

impl Tokens {
    /// Joins a keyring with what is known of its tokens.
    pub fn bind(&self, keyring: &Keyring) {
        keyring.tokens.get_or_init(|| {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let health = |key: &TokenKey| {
                known.get(key).and_then(Weak::upgrade).unwrap_or_else(|| {
                    let health = Arc::new(TokenHealth::new(key));
                    known.insert(*key, Arc::downgrade(&health));
                    health
                })
            };
            keyring.keys.iter().map(health).collect()
        });
    }

    /// Drops what no snapshot refers to any more.
    pub fn forget_unused(&self) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, token| token.strong_count() > 0);
    }
}

/// How much may be repeated: a share of what is asked, and a little in any
/// case. A storm of failures is not answered with a storm of repetitions.
#[derive(Debug)]
pub struct RetryBudget {
    /// In thousandths of a repetition.
    left: AtomicU64,
    filled_ms: AtomicU64,
    made: AtomicU64,
    refused: AtomicU64,
}

/// What each request adds: a fifth of a repetition.
const SHARE: u64 = 200;
/// What each millisecond adds: ten repetitions a second.
const PER_MS: u64 = 10;
const ONE: u64 = 1000;
/// The most repetitions that are saved up.
const LEFT_MAX: u64 = 100 * ONE;

impl Default for RetryBudget {
    fn default() -> Self {
        Self {
            left: AtomicU64::new(10 * ONE),
            filled_ms: AtomicU64::new(0),
            made: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }
}

impl RetryBudget {
    /// A request begins that may be repeated.
    pub fn deposit(&self) {
        self.add(SHARE);
    }

    fn add(&self, amount: u64) {
        let grown = |left: u64| Some(left.saturating_add(amount).min(LEFT_MAX));
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown);
    }

    /// Takes one repetition at this time; `false` where there is none left.
    pub fn withdraw(&self, now_ms: u64) -> bool {
        let before = self.filled_ms.swap(now_ms, Ordering::Relaxed);
        if before != 0 {
            self.add(now_ms.saturating_sub(before).saturating_mul(PER_MS));
        }
        let taken = |left: u64| left.checked_sub(ONE);
        let is_taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok();
        let count = if is_taken { &self.made } else { &self.refused };
        count.fetch_add(1, Ordering::Relaxed);
        is_taken
    }

    /// How many repetitions there were, and how many there was no budget for.
    pub fn counts(&self) -> [u64; 2] {
        [&self.made, &self.refused].map(|count| count.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests;
