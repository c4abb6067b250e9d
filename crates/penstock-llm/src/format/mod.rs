//! The wire formats of chat APIs, and what they all say.
//!
//! A request is read from the client's format into a [`chat::Chat`] and
//! written in the provider's; an answer is read into an [`answer::Answer`],
//! or, as a stream, into [`answer::Delta`]s, and written in the client's. So
//! a format is one folder with what reads and what writes it, and no format
//! knows another one.
//!
//! Invariant: what a user sends and the target cannot carry is refused, never
//! left out: an answer to half a question is worse than none. What only tunes
//! or decorates (sampling the target has no word for, cache markers) is.
//! Invariant: no error repeats a value of the body.

pub mod answer;
pub mod anthropic;
pub mod bedrock;
pub mod chat;
pub mod fault;
pub mod gemini;
mod object;
pub mod openai;
pub mod responses;
pub mod translation;

#[cfg(test)]
mod tests;
