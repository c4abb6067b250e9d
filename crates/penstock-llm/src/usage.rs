//! Token usage, read in passing from the end of an answer.
//!
//! Vendors put `usage` at the end of a JSON answer and into the last events
//! of a stream, so the last few kilobytes are enough and the body is neither
//! parsed nor held back.

use bytes::Bytes;
use memchr::memmem;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// How much of the end of an answer is kept at least.
const TAIL_BYTES_MIN: usize = 8 << 10;

/// The tokens that a request has cost; `None` where the vendor did not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt (`prompt_tokens`, `input_tokens`).
    pub prompt_tokens: Option<u64>,
    /// Tokens of the answer (`completion_tokens`, `output_tokens`).
    pub completion_tokens: Option<u64>,
    /// `total_tokens` as the vendor counts.
    pub total_tokens: Option<u64>,
    /// Tokens of the prompt that came from the vendor's cache.
    pub cached_tokens: Option<u64>,
    /// Tokens of the answer that were spent on reasoning.
    pub reasoning_tokens: Option<u64>,
}

impl Usage {
    /// `total_tokens`, else the sum of prompt and completion.
    pub fn total(&self) -> Option<u64> {
        let sum = match (self.prompt_tokens, self.completion_tokens) {
            (None, None) => None,
            (prompt, completion) => {
                Some(prompt.unwrap_or(0).saturating_add(completion.unwrap_or(0)))
            }
        };
        self.total_tokens.or(sum)
    }
}

/// The last bytes of an answer.
///
/// A large chunk is kept by reference, which costs nothing. Small ones are
/// copied: a reference to each would keep each one's whole read buffer alive,
/// a thousand times the bytes that are wanted.
#[derive(Debug, Default)]
pub struct Tail {
    large: Bytes,
    /// What came behind `large`.
    small: Vec<u8>,
}

impl Tail {
    /// An empty tail.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next chunk of the answer.
    pub fn push(&mut self, chunk: &Bytes) {
        if chunk.len() >= TAIL_BYTES_MIN {
            self.large = chunk.clone();
            self.small.clear();
            return;
        }
        if self.small.len() + chunk.len() > 2 * TAIL_BYTES_MIN {
            self.small.drain(..self.small.len() - TAIL_BYTES_MIN);
        }
        self.small.extend_from_slice(chunk);
        if self.small.len() >= TAIL_BYTES_MIN {
            self.large = Bytes::new();
        }
    }

    /// The last usage that can be read.
    pub fn usage(&self) -> Option<Usage> {
        if self.small.is_empty() {
            last_usage(&self.large)
        } else if self.large.is_empty() {
            last_usage(&self.small)
        } else {
            last_usage(&[&self.large[..], &self.small].concat())
        }
    }
}

fn last_usage(text: &[u8]) -> Option<Usage> {
    memmem::rfind_iter(text, b"\"usage\"").find_map(|at| {
        // In a string that holds JSON the quote is escaped.
        if at.checked_sub(1).is_some_and(|before| text[before] == b'\\') {
            return None;
        }
        let value = text[at + b"\"usage\"".len()..].trim_ascii_start();
        let value = value.strip_prefix(b":")?.trim_ascii_start();
        let value = value.starts_with(b"{").then_some(value)?;
        let mut deserializer = serde_json::Deserializer::from_slice(value);
        let usage = Usage::from(Wire::deserialize(&mut deserializer).ok()?);
        (usage != Usage::default()).then_some(usage)
    })
}

/// The words of all vendors together; no vendor uses two for one thing.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    prompt_tokens: Count,
    input_tokens: Count,
    completion_tokens: Count,
    output_tokens: Count,
    total_tokens: Count,
    prompt_tokens_details: Details,
    input_tokens_details: Details,
    completion_tokens_details: Details,
    output_tokens_details: Details,
    cache_read_input_tokens: Count,
}

impl From<Wire> for Usage {
    fn from(wire: Wire) -> Self {
        let cached =
            wire.prompt_tokens_details.cached_tokens.or(wire.input_tokens_details.cached_tokens);
        let reasoning = wire.completion_tokens_details.reasoning_tokens;
        Self {
            prompt_tokens: wire.prompt_tokens.or(wire.input_tokens).0,
            completion_tokens: wire.completion_tokens.or(wire.output_tokens).0,
            total_tokens: wire.total_tokens.0,
            cached_tokens: cached.or(wire.cache_read_input_tokens).0,
            reasoning_tokens: reasoning.or(wire.output_tokens_details.reasoning_tokens).0,
        }
    }
}

/// A number of tokens. Whatever is none — `null`, negative, too large, text —
/// counts as absent: one odd field must not hide the others.
#[derive(Clone, Copy, Default)]
struct Count(Option<u64>);

impl Count {
    fn or(self, other: Count) -> Count {
        Count(self.0.or(other.0))
    }
}

#[derive(Clone, Copy, Default)]
struct Details {
    cached_tokens: Count,
    reasoning_tokens: Count,
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Lenient).map(|found| Count(found.number))
    }
}

impl<'de> Deserialize<'de> for Details {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Lenient).map(|found| found.details)
    }
}

#[derive(Default)]
struct Found {
    number: Option<u64>,
    details: Details,
}

/// Accepts any value and keeps what it knows.
struct Lenient;

impl<'de> Visitor<'de> for Lenient {
    type Value = Found;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("anything")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Found, E> {
        Ok(Found { number: Some(number), ..Found::default() })
    }

    fn visit_i64<E>(self, _: i64) -> Result<Found, E> {
        Ok(Found::default())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Found, E> {
        // Beyond 2^53 a float does not say which integer it means.
        let is_count = (0.0..=9_007_199_254_740_992.0).contains(&number);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the range was checked"
        )]
        Ok(Found { number: is_count.then_some(number as u64), ..Found::default() })
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found, E> {
        Ok(Found::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Found, E> {
        Ok(Found::default())
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(Found::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Found, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Found::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Found, A::Error> {
        let mut details = Details::default();
        while let Some(key) = members.next_key::<std::borrow::Cow<'_, str>>()? {
            match &*key {
                "cached_tokens" => details.cached_tokens = members.next_value()?,
                "reasoning_tokens" => details.reasoning_tokens = members.next_value()?,
                _ => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Found { number: None, details })
    }
}

#[cfg(test)]
mod tests;
