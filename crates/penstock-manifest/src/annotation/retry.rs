//! Retries (Higress: annotations/retry.go).

use super::table::Key;
use super::view::{Annotations, parse_int};

const ON: Key = Key::of("proxy-next-upstream");
const TIMEOUT: Key = Key::of("proxy-next-upstream-timeout");
const TRIES: Key = Key::of("proxy-next-upstream-tries");

const TRIES_DEFAULT: u32 = 3;

/// When a request is sent again. Without any of the three annotations there
/// is no value, and the default of the gateway holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Retries at most, besides the first try. Default 3; 0 for none, also
    /// where `proxy-next-upstream` says `off`.
    /// Higress: `proxy-next-upstream-tries`.
    pub tries: u32,
    /// Seconds for each try. Default none.
    /// Higress: `proxy-next-upstream-timeout`.
    pub per_try_timeout_s: Option<u32>,
    /// Whether an answer of 5xx, a failed connection and a reset are retried:
    /// any of `error`, `timeout`, `invalid_header`. Default true, false where
    /// `proxy-next-upstream` names only other conditions.
    pub on_5xx: bool,
    /// Whether methods that may not be repeated are retried too. Default
    /// false. Higress: `non_idempotent`.
    pub non_idempotent: bool,
    /// Further answers that are retried, sorted. Higress: `http_CODE`.
    pub status_codes: Vec<u16>,
}

pub(super) fn parse(annotations: &mut Annotations<'_, '_>) -> Option<Box<Retry>> {
    let mut retry = Retry {
        tries: annotations.int(TRIES).unwrap_or(TRIES_DEFAULT),
        per_try_timeout_s: annotations.seconds(TIMEOUT).filter(|seconds| *seconds > 0),
        on_5xx: true,
        non_idempotent: false,
        status_codes: Vec::new(),
    };
    read_conditions(annotations, &mut retry);
    Some(Box::new(retry))
}

fn read_conditions(annotations: &mut Annotations<'_, '_>, retry: &mut Retry) {
    let Some((written, text)) = annotations.text(ON) else {
        return;
    };
    let has_commas = text.contains(',');
    let is_separator = |c: char| if has_commas { c == ',' } else { c.is_whitespace() };
    let words = || text.split(is_separator).map(str::trim).filter(|word| !word.is_empty());
    // A list of nothing but commas asks for nothing else than the default.
    retry.on_5xx = words().next().is_none();
    let expected = "a condition that can be retried on, such as `error` or `http_503`";
    annotations.keep(&written, words(), expected, |word| {
        match word {
            "off" => retry.tries = 0,
            "error" | "timeout" | "invalid_header" => retry.on_5xx = true,
            "non_idempotent" => retry.non_idempotent = true,
            _ => retry.status_codes.push(word.strip_prefix("http_").and_then(parse_status)?),
        }
        Some(())
    });
    retry.status_codes.sort_unstable();
    retry.status_codes.dedup();
}

/// A status code that a final answer can have.
pub(super) fn parse_status(text: &str) -> Option<u16> {
    let code = parse_int(text).filter(|code| (200..=599).contains(code))?;
    u16::try_from(code).ok()
}
