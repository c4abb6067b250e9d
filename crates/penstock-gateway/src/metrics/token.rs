//! How the tokens of providers stand, and what came of attempts with them.
//!
//! Only of providers that have several, or put them aside. A token is told by
//! its label. The numbers live with the tokens: what the configuration in
//! force does not name any more is not there.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::endpoint::line_of_some;
use super::{OTHER, header, line};
use crate::health::OUTCOMES;
use crate::token::{Keyring, TokenHealth};

/// The most tokens with series of their own.
const TOKENS_MAX: usize = 10_000;

/// The numbers of a token.
struct OfToken {
    is_fit: bool,
    outs: u64,
    outcomes: [u64; OUTCOMES.len()],
    checks: [u64; 2],
}

/// The numbers by provider and label.
type Numbers = BTreeMap<(String, Arc<str>), OfToken>;

/// Writes the families about the tokens of some providers.
pub fn render(keyrings: &[Arc<Keyring>], text: &mut String) {
    let numbers = numbers(keyrings);
    let name = "penstock_provider_token_fit";
    header(text, name, "gauge", "Whether nothing keeps requests away from a token.");
    each(&numbers, |labels, of| line(text, name, labels, u8::from(of.is_fit)));
    let name = "penstock_provider_token_asides_total";
    header(text, name, "counter", "How often a token was put aside.");
    each(&numbers, |labels, of| line_of_some(text, name, labels, of.outs));
    let name = "penstock_provider_token_attempts_total";
    header(text, name, "counter", "Attempts with a token by what came of them.");
    each(&numbers, |[provider, token], of| {
        for (outcome, count) in OUTCOMES.iter().zip(of.outcomes) {
            line_of_some(text, name, &[*provider, *token, ("outcome", outcome)], count);
        }
    });
    let name = "penstock_provider_token_checks_total";
    header(text, name, "counter", "Checks of tokens by their result.");
    each(&numbers, |[provider, token], of| {
        for (result, count) in ["passed", "failed"].iter().zip(of.checks) {
            line_of_some(text, name, &[*provider, *token, ("result", result)], count);
        }
    });
}

fn numbers(keyrings: &[Arc<Keyring>]) -> Numbers {
    let mut numbers = Numbers::new();
    let mut seen: HashSet<*const TokenHealth> = HashSet::new();
    for keyring in keyrings {
        for token in keyring.tokens() {
            let key = (keyring.provider().id().to_owned(), token.label.clone());
            let has_room = numbers.len() < TOKENS_MAX || numbers.contains_key(&key);
            let key = if has_room { key } else { (OTHER.to_owned(), OTHER.into()) };
            let of = numbers.entry(key).or_insert_with(OfToken::none);
            of.is_fit &= keyring.is_fit(token);
            // Providers that are defined alike share what is known of their
            // tokens, as do equal tokens of one.
            if seen.insert(Arc::as_ptr(token)) {
                of.add(token);
            }
        }
    }
    numbers
}

fn each(numbers: &Numbers, mut tell: impl FnMut(&[(&str, &str); 2], &OfToken)) {
    for ((provider, token), of) in numbers {
        tell(&[("provider", provider), ("token", token)], of);
    }
}

impl OfToken {
    fn none() -> Self {
        Self { is_fit: true, outs: 0, outcomes: [0; OUTCOMES.len()], checks: [0; 2] }
    }

    fn add(&mut self, token: &TokenHealth) {
        self.outs += token.outs();
        let sums = self.outcomes.iter_mut().chain(&mut self.checks);
        for (sum, count) in sums.zip(token.outcomes().iter().chain(&token.checks())) {
            *sum += count;
        }
    }
}
