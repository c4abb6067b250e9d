//! A whole answer in Google's format.

use serde_json::{Map, Value, json};

use super::part::write_parts;
use super::stream::Decoder;
use super::{Usage, finish_reason, logprobs};
use crate::error::LlmError;
use crate::format::answer::{Answer, Choice, Collector, Finish};
use crate::format::chat::{Part, Text, ToolCall};

/// Reads an answer: what an event of a stream would be, alone.
///
/// # Errors
/// It is none.
pub fn read_answer(body: &[u8]) -> Result<Answer, LlmError> {
    let body = std::str::from_utf8(body).map_err(|_| LlmError::InvalidResponse)?;
    let (mut decoder, mut collector) = (Decoder::default(), Collector::default());
    decoder.push(body, &mut |choice, delta| collector.push(choice, delta))?;
    let answer = collector.finish().map_err(|_| LlmError::InvalidResponse)?;
    match answer.choices.is_empty() {
        true => Err(LlmError::InvalidResponse),
        false => Ok(answer),
    }
}

/// Writes an answer, with what the model thought where the client wants that.
pub fn write_answer(answer: Answer, shows_thoughts: bool) -> Value {
    let candidates: Vec<_> = answer
        .choices
        .into_iter()
        .enumerate()
        .map(|(index, choice)| write_choice(index, choice, shows_thoughts))
        .collect();
    let mut body = Map::new();
    body.insert("candidates".into(), candidates.into());
    if let Some(tokens) = answer.tokens {
        body.insert("usageMetadata".into(), json!(Usage::from(tokens)));
    }
    for (key, text) in [("modelVersion", answer.model), ("responseId", answer.id)] {
        if !text.is_empty() {
            body.insert(key.into(), text.into());
        }
    }
    Value::Object(body)
}

fn write_choice(index: usize, choice: Choice, shows_thoughts: bool) -> Value {
    let mut finish = choice.finish;
    let mut grounding = Grounding::default();
    let mut parts = Vec::new();
    for part in choice.parts {
        match &part {
            Part::Text(text) => grounding.text(text),
            // A text's proof is an empty thought.
            Part::Reasoning(thought) if !shows_thoughts && !thought.text.is_empty() => continue,
            Part::ToolCall(call) if !is_whole(call) => {
                // An answer that broke off has no end of its own.
                finish = finish.map(|_| malformed());
                continue;
            }
            _ => {}
        }
        parts.push(part);
    }
    // Only what a request may say is ever refused.
    let parts = write_parts(parts, true).unwrap_or_default();
    let mut candidate = Map::new();
    candidate.insert("content".into(), json!({"parts": parts, "role": "model"}));
    if let Some(finish) = &finish {
        candidate.insert("finishReason".into(), finish_reason(finish).into());
    }
    candidate.insert("index".into(), index.into());
    candidate.extend(grounding.finish().map(|value| ("groundingMetadata".into(), value)));
    let logprobs = choice.logprobs.as_ref().and_then(logprobs::of_openai);
    candidate.extend(logprobs.map(|value| ("logprobsResult".into(), value)));
    Value::Object(candidate)
}

/// Whether a call's arguments are an object, as which they are told.
pub(super) fn is_whole(call: &ToolCall) -> bool {
    call.arguments.trim().is_empty()
        || serde_json::from_str::<Map<String, Value>>(&call.arguments).is_ok()
}

/// Why there is no call where its arguments are no object.
pub(super) fn malformed() -> Finish {
    Finish::Other("MALFORMED_FUNCTION_CALL".into())
}

/// What texts are founded on, while they are written one behind the other.
#[derive(Debug, Default)]
pub(super) struct Grounding {
    /// Where the text begins that is cited, in bytes.
    start: usize,
    /// And where it ends.
    end: usize,
    chunks: Vec<Value>,
    supports: Vec<Value>,
}

impl Grounding {
    fn text(&mut self, text: &Text) {
        self.begin();
        self.say(&text.text);
        for citation in text.citations.iter().filter_map(Value::as_array).flatten() {
            self.cite(citation);
        }
    }

    /// What is cited from now on is of what comes from now on.
    fn begin(&mut self) {
        self.start = self.end;
    }

    /// Text comes.
    pub(super) fn say(&mut self, text: &str) {
        self.end += text.len();
    }

    /// The text since the beginning is from there; of a document of the
    /// client's Google has no word.
    pub(super) fn cite(&mut self, citation: &Value) {
        let Some(url) = citation.get("url") else { return };
        let mut page = json!({"uri": url});
        let title = citation.get("title").filter(|title| title.is_string());
        if let (Some(title), Value::Object(page)) = (title, &mut page) {
            page.insert("title".into(), title.clone());
        }
        let page = json!({"web": page});
        let index = self.chunks.iter().position(|chunk| *chunk == page).unwrap_or_else(|| {
            self.chunks.push(page);
            self.chunks.len() - 1
        });
        self.supports.push(json!({
            "segment": {"startIndex": self.start, "endIndex": self.end},
            "groundingChunkIndices": [index],
        }));
    }

    pub(super) fn finish(self) -> Option<Value> {
        (!self.chunks.is_empty())
            .then(|| json!({"groundingChunks": self.chunks, "groundingSupports": self.supports}))
    }
}

/// The pages that an answer is from, as Anthropic has citations.
pub(super) fn citations(grounding: Option<&Value>, citation: Option<&Value>) -> Vec<Value> {
    let list = |value: Option<&Value>, key: &str| -> Vec<Value> {
        value.and_then(|value| value.get(key)?.as_array().cloned()).unwrap_or_default()
    };
    let mut found = Vec::<Value>::new();
    let mut add = |page: &Value| {
        let Some(url) = page.get("uri").filter(|uri| uri.is_string()) else { return };
        let one = json!({
            "type": "web_search_result_location",
            "url": url,
            "title": page.get("title"),
            "cited_text": "",
        });
        if !found.contains(&one) {
            found.push(one);
        }
    };
    for chunk in list(grounding, "groundingChunks") {
        ["web", "retrievedContext", "maps"]
            .iter()
            .filter_map(|key| chunk.get(key))
            .for_each(&mut add);
    }
    // Google has two words for one thing.
    for key in ["citationSources", "citations"] {
        list(citation, key).iter().for_each(&mut add);
    }
    found
}
