//! A streamed answer of Converse.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::citation::citation_of;
use super::{Usage, finish_of};
use crate::error::LlmError;
use crate::event_stream::{EventStreamDecoder, Kind, Message};
use crate::format::answer::{Answer, Delta, Emit, Fault};
use crate::format::object::Borrowed;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Event<'a> {
    content_block_index: usize,
    #[serde(borrow)]
    start: Option<Start<'a>>,
    #[serde(borrow)]
    delta: Option<Change<'a>>,
    #[serde(borrow)]
    stop_reason: Option<Borrowed<'a>>,
    usage: Option<Usage>,
    #[serde(borrow, alias = "Message")]
    message: Option<Borrowed<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Start<'a> {
    #[serde(borrow)]
    tool_use: Option<Call<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Call<'a> {
    #[serde(borrow)]
    tool_use_id: Option<Borrowed<'a>>,
    #[serde(borrow)]
    name: Option<Borrowed<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Change<'a> {
    #[serde(borrow)]
    text: Option<Borrowed<'a>>,
    #[serde(borrow)]
    tool_use: Option<Input<'a>>,
    #[serde(borrow)]
    reasoning_content: Option<Reasoning<'a>>,
    citation: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Input<'a> {
    #[serde(borrow)]
    input: Option<Borrowed<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Reasoning<'a> {
    #[serde(borrow)]
    text: Option<Borrowed<'a>>,
    #[serde(borrow)]
    signature: Option<Borrowed<'a>>,
    #[serde(borrow)]
    redacted_content: Option<Borrowed<'a>>,
}

/// The most calls that are told apart.
const CALLS_MAX: usize = 128;

/// Reads the frames of a stream.
#[derive(Debug, Default)]
pub struct Decoder {
    id: String,
    model: String,
    frames: EventStreamDecoder,
    messages: Vec<Message>,
    has_begun: bool,
    has_failed: bool,
    /// Bedrock's number of each block that is a call.
    calls: Vec<usize>,
    /// Whether the call that is open was given arguments.
    has_arguments: bool,
}

impl Decoder {
    /// A decoder of an answer, which does not tell its id (the header
    /// `x-amzn-requestid`) nor its model itself; each may be empty.
    pub fn new(id: String, model: String) -> Self {
        Self { id, model, ..Self::default() }
    }

    /// A whole answer, which does not tell either.
    pub(in crate::format) fn named(&self, answer: Answer) -> Answer {
        answer.named(&self.id, &self.model)
    }

    /// Takes a chunk of the body, cut wherever it may be.
    ///
    /// # Errors
    /// It has a frame that is not valid, or no event of such a stream.
    pub fn push(&mut self, chunk: Bytes, emit: Emit<'_>) -> Result<(), LlmError> {
        let mut messages = std::mem::take(&mut self.messages);
        // What came before a wrong frame was right.
        let result = self.frames.push(chunk, &mut messages);
        for message in messages.drain(..) {
            self.message(&message, emit)?;
        }
        self.messages = messages;
        result
    }

    /// The body has ended.
    ///
    /// # Errors
    /// It ended within a frame.
    pub fn finish(&mut self) -> Result<(), LlmError> {
        self.frames.finish()
    }

    fn message(&mut self, message: &Message, emit: Emit<'_>) -> Result<(), LlmError> {
        if self.has_failed {
            return Ok(());
        }
        let text = std::str::from_utf8(&message.payload).map_err(|_| LlmError::InvalidResponse)?;
        match message.kind {
            Kind::Event => self.event(message.name(), text, emit),
            Kind::Exception => {
                let told: Option<Event<'_>> = serde_json::from_str(text).ok();
                let told = told.as_ref().and_then(|told| told.message.as_ref());
                self.fail(message.name(), told.map_or("", |told| &told.0), emit);
                Ok(())
            }
            Kind::Error => {
                self.fail(message.name(), text, emit);
                Ok(())
            }
            Kind::Other => Ok(()),
        }
    }

    fn fail(&mut self, kind: &str, message: &str, emit: Emit<'_>) {
        self.has_failed = true;
        let message = if message.is_empty() { "the provider failed" } else { message };
        emit(0, Delta::Failed(Fault { kind, message }));
    }

    fn event(&mut self, name: &str, data: &str, emit: Emit<'_>) -> Result<(), LlmError> {
        let is_known = matches!(
            name,
            "messageStart"
                | "contentBlockStart"
                | "contentBlockDelta"
                | "contentBlockStop"
                | "messageStop"
                | "metadata"
        );
        if !is_known {
            return Ok(());
        }
        let event: Event<'_> = serde_json::from_str(data).map_err(|_| LlmError::InvalidResponse)?;
        if !std::mem::replace(&mut self.has_begun, true) {
            let (id, model) = (&self.id, &self.model);
            emit(0, Delta::Start { id, model, created: None, tokens: None });
        }
        let at = event.content_block_index;
        match name {
            "contentBlockStart" => {
                if let Some(call) = event.start.and_then(|start| start.tool_use) {
                    self.open(at, &call, emit);
                }
            }
            "contentBlockDelta" => {
                if let Some(change) = event.delta {
                    self.change(at, change, emit);
                }
            }
            "contentBlockStop" => {
                let call = self.calls.iter().position(|call| *call == at);
                if let Some(index) = call.filter(|_| !self.has_arguments) {
                    emit(0, Delta::Arguments { index, json: "{}" });
                    self.has_arguments = true;
                }
            }
            "messageStop" => {
                let reason = event.stop_reason.as_ref().map_or("end_turn", |reason| &reason.0);
                emit(0, Delta::Finish(finish_of(reason)));
            }
            "metadata" => {
                if let Some(usage) = event.usage {
                    emit(0, Delta::Tokens(usage.into()));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, at: usize, call: &Call<'_>, emit: Emit<'_>) {
        if self.calls.len() >= CALLS_MAX {
            return;
        }
        let index = self.calls.len();
        self.calls.push(at);
        self.has_arguments = false;
        let id = call.tool_use_id.as_ref().map_or("", |id| &id.0);
        let name = call.name.as_ref().map_or("", |name| &name.0);
        emit(0, Delta::ToolCall { index, id, name, signature: None });
    }

    fn change(&mut self, at: usize, change: Change<'_>, emit: Emit<'_>) {
        let thought = change.reasoning_content.unwrap_or_default();
        let some = |text: &Option<Borrowed<'_>>| text.as_ref().is_some_and(|t| !t.0.is_empty());
        if let Some(text) = change.text.as_ref().filter(|_| some(&change.text)) {
            emit(0, Delta::Text(&text.0));
        }
        if let Some(text) = thought.text.as_ref().filter(|_| some(&thought.text)) {
            emit(0, Delta::Reasoning(&text.0));
        }
        if let Some(text) = thought.signature.as_ref().filter(|_| some(&thought.signature)) {
            emit(0, Delta::Signature(&text.0));
        }
        if let Some(data) = thought.redacted_content.as_ref() {
            emit(0, Delta::Redacted(&data.0));
        }
        if let Some(citation) = change.citation.and_then(citation_of) {
            emit(0, Delta::Citation(&citation));
        }
        let call = self.calls.iter().position(|call| *call == at);
        let input = change.tool_use.and_then(|call| call.input);
        if let (Some(index), Some(json)) = (call, input)
            && !json.0.is_empty()
        {
            self.has_arguments = true;
            emit(0, Delta::Arguments { index, json: &json.0 });
        }
    }
}
