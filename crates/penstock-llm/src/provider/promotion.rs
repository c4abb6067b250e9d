//! `promoteThinkingOnEmpty`: an answer that some models put into the field of
//! their reasoning becomes the content.
//!
//! Higress: provider/provider.go — has no effect in front of services that
//! speak OpenAI's API, since it does not read their answers, and swallows the
//! reasoning of streams. Here it acts, and reasoning that was not the answer
//! passes as it came.
//!
//! Invariant: what is kept is bounded, however long the answer is.

use bytes::Bytes;

use crate::error::LlmError;
use crate::json;
use crate::json::edit;
use crate::stage::{BodyStage, Output, Piece, Step};

/// The largest body or reasoning that is kept; a larger one passes as it is.
const KEPT_BYTES_MAX: usize = 8 << 20;

/// The stage for an answer.
pub(super) fn stage(is_stream: bool) -> Box<dyn BodyStage> {
    match is_stream {
        true => Box::new(StreamPromotion::default()),
        false => Box::new(BodyPromotion::default()),
    }
}

/// Keeps a whole body until its end.
#[derive(Default)]
struct BodyPromotion {
    kept: Vec<Bytes>,
    kept_bytes: usize,
}

impl BodyStage for BodyPromotion {
    fn push(&mut self, piece: Piece, output: &mut Output) -> Result<Step, LlmError> {
        self.kept_bytes = self.kept_bytes.saturating_add(piece.raw.len());
        self.kept.push(piece.raw);
        if self.kept_bytes > KEPT_BYTES_MAX {
            for raw in self.kept.drain(..) {
                output.push(Piece { raw, event: None });
            }
        }
        Ok(Step::More)
    }

    fn finish(&mut self, output: &mut Output) -> Result<Step, LlmError> {
        let body = self.kept.concat();
        let text = std::str::from_utf8(&body).ok().filter(|_| self.kept_bytes <= KEPT_BYTES_MAX);
        let promoted = text.and_then(promote_body);
        let raw = promoted.map_or_else(|| Bytes::from(body), Bytes::from);
        if !raw.is_empty() {
            output.push(Piece { raw, event: None });
        }
        Ok(Step::More)
    }
}

/// The body with the reasoning as content wherever there is no content;
/// `None` where that changes nothing.
fn promote_body(body: &str) -> Option<String> {
    let count = json::elements(edit::member(body, "choices")?).ok()?.len();
    let mut changed: Option<String> = None;
    for index in 0..count {
        let text = changed.as_deref().unwrap_or(body);
        let choices = json::elements(edit::member(text, "choices")?).ok()?;
        let Some(message) = choices.get(index).and_then(|choice| edit::member(choice, "message"))
        else {
            continue;
        };
        let reasoning = edit::member(message, "reasoning_content");
        let Some(reasoning) = reasoning.filter(|raw| !is_blank(raw)) else { continue };
        if edit::member(message, "content").is_some_and(|raw| !is_blank(raw)) {
            continue;
        }
        let rest = edit::without(message, &["reasoning_content", "content"])?;
        let promoted = edit::set(&rest, &["content"], reasoning, true).ok()??;
        changed = Some(edit::put(text, json::range_in(text, message), &promoted));
    }
    changed
}

/// Whether a raw value is `null` or a string of nothing but white space.
fn is_blank(raw: &str) -> bool {
    raw == "null" || json::decode_string(raw).is_some_and(|text| text.trim().is_empty())
}

/// Collects the reasoning of each choice until its content begins.
#[derive(Default)]
struct StreamPromotion {
    choices: Vec<Choice>,
    kept_bytes: usize,
    /// An event with the members that all events of an answer share.
    model: Option<Bytes>,
}

struct Choice {
    index: u64,
    /// Decoded.
    reasoning: String,
    /// It has had content, or has got it.
    is_done: bool,
}

impl BodyStage for StreamPromotion {
    fn push(&mut self, piece: Piece, output: &mut Output) -> Result<Step, LlmError> {
        let data = piece.event.as_ref().map(|event| event.data.clone());
        if let Some(data) = data {
            match std::str::from_utf8(&data) {
                Ok("[DONE]") => self.promote(|_| true, output),
                Ok(text) => self.read(text, &data, output),
                Err(_) => {}
            }
        }
        output.push(piece);
        Ok(Step::More)
    }

    fn finish(&mut self, output: &mut Output) -> Result<Step, LlmError> {
        self.promote(|_| true, output);
        Ok(Step::More)
    }
}

impl StreamPromotion {
    fn read(&mut self, text: &str, data: &Bytes, output: &mut Output) {
        let choices = edit::member(text, "choices").and_then(|raw| json::elements(raw).ok());
        for raw in choices.into_iter().flatten() {
            let index = edit::member(raw, "index").and_then(|raw| raw.parse().ok()).unwrap_or(0);
            let delta = edit::member(raw, "delta").unwrap_or("{}");
            let text_of = |name| edit::member(delta, name).and_then(json::decode_string);
            let reasoning = text_of("reasoning_content").or_else(|| text_of("reasoning"));
            let has_content = text_of("content").is_some_and(|text| !text.trim().is_empty());
            if self.kept_bytes <= KEPT_BYTES_MAX {
                self.model.get_or_insert_with(|| data.clone());
                self.note(index, reasoning.as_deref().unwrap_or_default(), has_content);
            }
            if edit::member(raw, "finish_reason").is_some_and(|raw| raw != "null") {
                self.promote(|choice| choice.index == index, output);
            }
        }
    }

    fn note(&mut self, index: u64, reasoning: &str, has_content: bool) {
        let position = self.choices.iter().position(|choice| choice.index == index);
        let position = position.unwrap_or_else(|| {
            self.kept_bytes += size_of::<Choice>();
            self.choices.push(Choice { index, reasoning: String::new(), is_done: false });
            self.choices.len() - 1
        });
        let Some(choice) = self.choices.get_mut(position) else { return };
        choice.is_done |= has_content;
        if choice.is_done {
            choice.reasoning = String::new();
            return;
        }
        self.kept_bytes += reasoning.len();
        choice.reasoning.push_str(reasoning);
    }

    /// Sends the reasoning as content, before the event that ends the choice.
    fn promote(&mut self, is_meant: impl Fn(&Choice) -> bool, output: &mut Output) {
        let is_too_large = self.kept_bytes > KEPT_BYTES_MAX;
        for choice in self.choices.iter_mut().filter(|choice| !choice.is_done && is_meant(choice)) {
            choice.is_done = true;
            let reasoning = std::mem::take(&mut choice.reasoning);
            if is_too_large || reasoning.trim().is_empty() {
                continue;
            }
            let model = self.model.as_ref().and_then(|data| std::str::from_utf8(data).ok());
            let content = json::encode_string(&reasoning);
            let choices = format!(
                r#"[{{"index":{},"delta":{{"content":{content}}},"finish_reason":null}}]"#,
                choice.index
            );
            let chunk = model.and_then(|model| {
                let rest = edit::without(model, &["choices", "usage"])?;
                edit::set(&rest, &["choices"], &choices, true).ok()?
            });
            output.pieces.extend(chunk.map(|chunk| Piece::of_data(&chunk)));
        }
    }
}

#[cfg(test)]
mod tests;
