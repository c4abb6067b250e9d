//! Token usage, read in passing.
//!
//! A [`Reading`] grows with every whole JSON text of an answer, a body or an
//! event of a stream, so that what comes in two parts, as Anthropic sends it,
//! is put together. A [`Tail`] is enough for a body that nobody wants to read:
//! vendors put the usage at its end.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::Finder;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::json;

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
/// A large chunk is kept by reference, which costs nothing, and so is the
/// first. Other small ones are copied: a reference to each would keep each
/// one's whole read buffer alive, a thousand times the bytes that are wanted.
#[derive(Debug, Default)]
pub struct Tail {
    /// The last large chunk, or the first.
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
        let is_first = self.large.is_empty() && self.small.is_empty();
        if is_first || chunk.len() >= TAIL_BYTES_MIN {
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

    /// The last usage that can be read in a body.
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

/// The members that hold a usage.
static MEMBERS: LazyLock<[Finder<'static>; 2]> =
    LazyLock::new(|| [Finder::new(b"\"usage\""), Finder::new(b"\"usageMetadata\"")]);
/// The most details that are kept of one usage.
const DETAILS_MAX: usize = 32;

/// Whether a text may say a usage; a search is much cheaper than a parse.
pub(crate) fn may_have_usage(text: &[u8]) -> bool {
    MEMBERS.iter().any(|member| member.find(text).is_some())
}

/// What an answer has said so far about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The tokens; a later count replaces an earlier one.
    pub usage: Usage,
    /// Tokens of the prompt that the vendor counts into or out of its cache
    /// besides `usage.prompt_tokens` (Anthropic).
    cache_tokens: Option<u64>,
    /// Parts of the prompt's tokens, by the vendor's names.
    pub input_details: BTreeMap<String, u64>,
    /// Parts of the answer's tokens.
    pub output_details: BTreeMap<String, u64>,
    /// The model that answered.
    pub model: Option<String>,
    /// The id of the answer.
    pub id: Option<String>,
    /// Whether it says that it failed.
    pub has_error: bool,
}

/// The members of a text that a [`Reading`] looks at, as raw JSON.
#[derive(Default)]
struct Members<'a> {
    model: Option<&'a str>,
    model_version: Option<&'a str>,
    id: Option<&'a str>,
    response_id: Option<&'a str>,
    body: Option<&'a str>,
    response: Option<&'a str>,
    message: Option<&'a str>,
    usage: Option<&'a str>,
    usage_metadata: Option<&'a str>,
    error: Option<&'a str>,
}

impl<'a> Members<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let mut members = Self::default();
        json::for_each_member(text, |key, raw| {
            let slot = match key {
                "model" => &mut members.model,
                "modelVersion" => &mut members.model_version,
                "id" => &mut members.id,
                "responseId" => &mut members.response_id,
                "body" => &mut members.body,
                "response" => &mut members.response,
                "message" => &mut members.message,
                "usage" => &mut members.usage,
                "usageMetadata" => &mut members.usage_metadata,
                "error" => &mut members.error,
                _ => return,
            };
            *slot = Some(raw);
        })
        .ok()?;
        Some(members)
    }

    /// Those of a member; none where it is absent or no object.
    fn of_member(raw: Option<&'a str>) -> Self {
        raw.and_then(Self::of).unwrap_or_default()
    }
}

impl Reading {
    /// Takes a whole JSON text: a body, or the data of an event
    /// (Higress: wasm-go pkg/tokenusage/tokenusage.go).
    pub fn see(&mut self, text: &str) {
        let Some(top) = Members::of(text) else {
            return;
        };
        let body = Members::of_member(top.body);
        let response = Members::of_member(top.response);
        let message = Members::of_member(top.message);
        let first = |candidates: &[Option<&str>]| {
            let texts = candidates.iter().flatten().filter_map(|raw| json::decode_string(raw));
            texts.into_iter().find(|text| !text.is_empty())
        };
        let models = [top.model, body.model, response.model, message.model, top.model_version];
        if let Some(model) = first(&models) {
            self.model = Some(model);
        }
        if let Some(id) = first(&[top.id, response.id, top.response_id, message.id]) {
            self.id = Some(id);
        }
        self.has_error |= top.error.is_some_and(|raw| !matches!(raw, "null" | "\"\""));
        for raw in [message.usage, top.usage_metadata, response.usage, top.usage] {
            if let Some(raw) = raw.filter(|raw| raw.starts_with('{')) {
                self.take_usage(raw);
            }
        }
    }

    /// `total_tokens`, else the sum of what is known.
    pub fn total(&self) -> Option<u64> {
        let sum = self.usage.total()?;
        match self.usage.total_tokens {
            Some(total) => Some(total),
            None => Some(sum.saturating_add(self.cache_tokens.unwrap_or(0))),
        }
    }

    /// The tokens, where the answer told any.
    pub fn known_usage(&self) -> Option<Usage> {
        (self.usage != Usage::default()).then_some(self.usage)
    }

    fn take_usage(&mut self, raw: &str) {
        let Ok(wire) = serde_json::from_str::<Wire>(raw) else {
            return;
        };
        let creation = wire.cache_creation_input_tokens.0;
        let reading = wire.cache_read_input_tokens.0;
        if creation.is_some() || reading.is_some() {
            self.cache_tokens = Some(creation.unwrap_or(0).saturating_add(reading.unwrap_or(0)));
        }
        let usage = Usage::from(wire);
        let later = |new: Option<u64>, old: Option<u64>| new.or(old);
        self.usage = Usage {
            prompt_tokens: later(usage.prompt_tokens, self.usage.prompt_tokens),
            completion_tokens: later(usage.completion_tokens, self.usage.completion_tokens),
            total_tokens: later(usage.total_tokens, self.usage.total_tokens),
            cached_tokens: later(usage.cached_tokens, self.usage.cached_tokens),
            reasoning_tokens: later(usage.reasoning_tokens, self.usage.reasoning_tokens),
        };
        let (mut input, mut output) = (BTreeMap::new(), BTreeMap::new());
        // The text has been read once, so it can be read again.
        let _ = json::for_each_member(raw, |key, raw| match key {
            "prompt_tokens_details" | "input_tokens_details" | "promptTokensDetails" => {
                add_details(&mut input, raw);
            }
            "completion_tokens_details" | "output_tokens_details" | "candidatesTokensDetails" => {
                add_details(&mut output, raw);
            }
            "cachedContentTokenCount" => add_detail(&mut input, "cached_content_token_count", raw),
            "toolUsePromptTokenCount" => add_detail(&mut input, "tool_use_prompt_token_count", raw),
            "cache_creation_input_tokens" | "cache_read_input_tokens" => {
                add_detail(&mut input, key, raw);
            }
            "thoughtsTokenCount" => add_detail(&mut output, "thoughts_token_count", raw),
            "generated_images" => add_detail(&mut output, key, raw),
            _ => {}
        });
        // They survive a later usage without details.
        if !input.is_empty() {
            self.input_details = input;
        }
        if !output.is_empty() {
            self.output_details = output;
        }
    }
}

fn add_details(details: &mut BTreeMap<String, u64>, raw: &str) {
    // What is no object has no members.
    let _ = json::for_each_member(raw, |key, raw| add_detail(details, key, raw));
}

fn add_detail(details: &mut BTreeMap<String, u64>, key: &str, raw: &str) {
    if let Ok(Count(Some(count))) = serde_json::from_str(raw)
        && details.len() < DETAILS_MAX
    {
        details.insert(key.to_owned(), count);
    }
}

fn last_usage(text: &[u8]) -> Option<Usage> {
    MEMBERS.iter().find_map(|member| last_member(text, member))
}

fn last_member(text: &[u8], member: &Finder<'_>) -> Option<Usage> {
    // A search from the front is so much faster that this pays.
    let found: Vec<usize> = member.find_iter(text).collect();
    found.into_iter().rev().find_map(|at| {
        // In a string that holds JSON the quote is escaped.
        if at.checked_sub(1).is_some_and(|before| text[before] == b'\\') {
            return None;
        }
        let value = text[at + member.needle().len()..].trim_ascii_start();
        let value = value.strip_prefix(b":")?.trim_ascii_start();
        let value = value.starts_with(b"{").then_some(value)?;
        // One look at all of it is cheaper than one at each string, but what
        // stands behind may have been cut.
        let wire = match std::str::from_utf8(value) {
            Ok(value) => Wire::deserialize(&mut serde_json::Deserializer::from_str(value)),
            Err(_) => Wire::deserialize(&mut serde_json::Deserializer::from_slice(value)),
        };
        let usage = Usage::from(wire.ok()?);
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
    cache_creation_input_tokens: Count,
    #[serde(rename = "promptTokenCount")]
    prompt_token_count: Count,
    #[serde(rename = "candidatesTokenCount")]
    candidates_token_count: Count,
    #[serde(rename = "totalTokenCount")]
    total_token_count: Count,
    #[serde(rename = "cachedContentTokenCount")]
    cached_content_token_count: Count,
    #[serde(rename = "thoughtsTokenCount")]
    thoughts_token_count: Count,
}

impl From<Wire> for Usage {
    fn from(wire: Wire) -> Self {
        let cached =
            wire.prompt_tokens_details.cached_tokens.or(wire.input_tokens_details.cached_tokens);
        let reasoning = wire.completion_tokens_details.reasoning_tokens;
        Self {
            prompt_tokens: wire.prompt_tokens.or(wire.input_tokens).or(wire.prompt_token_count).0,
            completion_tokens: wire
                .completion_tokens
                .or(wire.output_tokens)
                .or(wire.candidates_token_count)
                .0,
            total_tokens: wire.total_tokens.or(wire.total_token_count).0,
            cached_tokens: cached
                .or(wire.cache_read_input_tokens)
                .or(wire.cached_content_token_count)
                .0,
            reasoning_tokens: reasoning
                .or(wire.output_tokens_details.reasoning_tokens)
                .or(wire.thoughts_token_count)
                .0,
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
