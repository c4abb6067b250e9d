//! OpenAI's Responses: asked of providers that only have chat, and as a
//! provider's only format.
//!
//! There is no store behind it: what refers to an earlier response is
//! refused, and a client carries the conversation itself, with the items it
//! was given.
//!
//! What a model thinks is written as the summary of a reasoning item, not as
//! `reasoning_text`: the summary is what SDKs demand of such an item, what
//! clients show, and what they send back.

mod answer;
mod echo;
mod input;
mod read;
mod received;
mod stream;
mod write;

pub use self::answer::write_answer;
pub use self::echo::Echo;
pub use self::read::read_request;
pub use self::received::{Decoder, read_answer};
pub use self::stream::Encoder;
pub use self::write::write_request;

/// Before a vendor's proof of a thought, which would otherwise be taken for
/// the thought itself, encrypted.
const SIGNED: &str = "signature:";

#[cfg(test)]
mod tests;
