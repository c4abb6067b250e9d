//! A streamed answer in Anthropic's format.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Usage, finish_of, is_block, stop_reason};
use crate::error::LlmError;
use crate::format::answer::{Delta, Emit, Fault, Finish, Tokens};
use crate::format::object::Borrowed;
use crate::format::translation::Events;

#[derive(Debug, Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    r#type: Borrowed<'a>,
    #[serde(default)]
    index: usize,
    #[serde(default, borrow)]
    message: Option<Started<'a>>,
    #[serde(default, borrow)]
    content_block: Option<Block<'a>>,
    #[serde(default, borrow)]
    delta: Option<Change<'a>>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Started<'a> {
    #[serde(default, borrow)]
    id: Option<Borrowed<'a>>,
    #[serde(default, borrow)]
    model: Option<Borrowed<'a>>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Debug, Deserialize)]
struct Block<'a> {
    #[serde(borrow)]
    r#type: Borrowed<'a>,
    #[serde(default, borrow)]
    id: Option<Borrowed<'a>>,
    #[serde(default, borrow)]
    name: Option<Borrowed<'a>>,
    #[serde(default, borrow)]
    text: Option<Borrowed<'a>>,
    #[serde(default, borrow)]
    data: Option<Borrowed<'a>>,
    #[serde(default)]
    input: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Change<'a> {
    #[serde(default, borrow)]
    text: Option<Borrowed<'a>>,
    #[serde(default, borrow)]
    thinking: Option<Borrowed<'a>>,
    #[serde(default, borrow)]
    signature: Option<Borrowed<'a>>,
    #[serde(default, borrow)]
    partial_json: Option<Borrowed<'a>>,
    #[serde(default)]
    citation: Option<Value>,
    #[serde(default, borrow)]
    stop_reason: Option<Borrowed<'a>>,
    #[serde(default, borrow)]
    stop_sequence: Option<Borrowed<'a>>,
}

/// Reads the events of a stream.
#[derive(Debug, Default)]
pub struct Decoder {
    tokens: Tokens,
    /// Anthropic's number of each block that is a call.
    calls: Vec<usize>,
    /// Whether the call that is open was given arguments.
    has_arguments: bool,
}

/// The most calls that are told apart.
const CALLS_MAX: usize = 128;

impl Decoder {
    /// Takes the data of an event.
    ///
    /// # Errors
    /// It is no event of such a stream.
    pub fn push(&mut self, data: &str, emit: Emit<'_>) -> Result<(), LlmError> {
        let event: Event<'_> = serde_json::from_str(data).map_err(|_| LlmError::InvalidResponse)?;
        match &*event.r#type.0 {
            "message_start" => self.start(event.message.as_ref(), emit),
            "content_block_start" => {
                if let Some(block) = &event.content_block {
                    self.open(event.index, block, emit);
                }
            }
            "content_block_delta" => {
                if let Some(change) = &event.delta {
                    self.change(event.index, change, emit);
                }
            }
            "content_block_stop" => {
                let call = self.calls.iter().position(|call| *call == event.index);
                if let Some(index) = call.filter(|_| !self.has_arguments) {
                    emit(0, Delta::Arguments { index, json: "{}" });
                    self.has_arguments = true;
                }
            }
            "message_delta" => {
                let change = event.delta.as_ref();
                if let Some(reason) = change.and_then(|change| change.stop_reason.as_ref()) {
                    let sequence = change.and_then(|change| change.stop_sequence.as_ref());
                    let sequence = sequence.map(|sequence| &*sequence.0);
                    emit(0, Delta::Finish(finish_of(&reason.0, sequence)));
                }
                if let Some(usage) = event.usage {
                    self.count(usage);
                    emit(0, Delta::Tokens(self.tokens));
                }
            }
            "error" => {
                let error = event.error.unwrap_or_default();
                let text = |key| error.get(key).and_then(Value::as_str).unwrap_or_default();
                emit(0, Delta::Failed(Fault { kind: text("type"), message: text("message") }));
            }
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, message: Option<&Started<'_>>, emit: Emit<'_>) {
        let text = |text: Option<&Borrowed<'_>>| text.map_or(String::new(), |t| t.0.to_string());
        let id = text(message.and_then(|message| message.id.as_ref()));
        let model = text(message.and_then(|message| message.model.as_ref()));
        if let Some(usage) = message.and_then(|message| message.usage) {
            self.tokens = usage.into();
        }
        let tokens = Some(self.tokens).filter(|tokens| *tokens != Tokens::default());
        emit(0, Delta::Start { id: &id, model: &model, created: None, tokens });
    }

    fn open(&mut self, at: usize, block: &Block<'_>, emit: Emit<'_>) {
        let text =
            |text: &Option<Borrowed<'_>>| text.as_ref().map_or("", |text| &text.0).to_owned();
        match &*block.r#type.0 {
            "tool_use" if self.calls.len() < CALLS_MAX => {
                let index = self.calls.len();
                self.calls.push(at);
                let (id, name) = (text(&block.id), text(&block.name));
                emit(0, Delta::ToolCall { index, id: &id, name: &name, signature: None });
                // Some vendors send them at once.
                let input = block
                    .input
                    .as_ref()
                    .filter(|input| input.as_object().is_some_and(|input| !input.is_empty()));
                self.has_arguments = input.is_some();
                if let Some(input) = input {
                    emit(0, Delta::Arguments { index, json: &input.to_string() });
                }
            }
            "redacted_thinking" => emit(0, Delta::Redacted(&text(&block.data))),
            "text" => {
                let text = text(&block.text);
                if !text.is_empty() {
                    emit(0, Delta::Text(&text));
                }
            }
            _ => {}
        }
    }

    fn change(&mut self, at: usize, change: &Change<'_>, emit: Emit<'_>) {
        let some = |text: &'_ Option<Borrowed<'_>>| text.as_ref().is_some_and(|t| !t.0.is_empty());
        if let Some(text) = change.text.as_ref().filter(|_| some(&change.text)) {
            emit(0, Delta::Text(&text.0));
        }
        if let Some(text) = change.thinking.as_ref().filter(|_| some(&change.thinking)) {
            emit(0, Delta::Reasoning(&text.0));
        }
        if let Some(text) = change.signature.as_ref().filter(|_| some(&change.signature)) {
            emit(0, Delta::Signature(&text.0));
        }
        if let Some(citation) = &change.citation {
            emit(0, Delta::Citation(citation));
        }
        let call = self.calls.iter().position(|call| *call == at);
        if let (Some(index), Some(json)) = (call, &change.partial_json)
            && !json.0.is_empty()
        {
            self.has_arguments = true;
            emit(0, Delta::Arguments { index, json: &json.0 });
        }
    }

    /// Later counts are of all so far, and say what they know.
    fn count(&mut self, usage: Usage) {
        let later = Tokens::from(usage);
        let knows_input = usage.input_tokens.is_some();
        self.tokens = Tokens {
            input: if knows_input { later.input } else { self.tokens.input },
            ..self.tokens.updated(Tokens { input: 0, ..later })
        };
    }
}

/// Writes the events of a stream.
#[derive(Debug, Default)]
pub struct Encoder {
    has_begun: bool,
    is_over: bool,
    open: Option<Open>,
    /// The number of the next block.
    next: usize,
    /// The blocks of calls: where each stands.
    calls: Vec<Call>,
    finish: Option<Finish>,
    tokens: Tokens,
}

/// The block that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Text(usize),
    Thinking(usize),
    /// Of a call, by its number.
    Call(usize),
}

/// A call. Anthropic's blocks come one behind the other, so one that began
/// while another is open waits.
#[derive(Debug, Default)]
struct Call {
    id: String,
    name: String,
    /// The vendor's proof of it.
    signature: Option<String>,
    /// Its block, once it has one.
    at: Option<usize>,
    is_closed: bool,
    /// What came before it had one.
    waiting: String,
}

#[derive(Serialize)]
struct DeltaEvent<'a> {
    r#type: &'static str,
    index: usize,
    delta: DeltaBody<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum DeltaBody<'a> {
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: &'a str },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: &'a str },
    #[serde(rename = "citations_delta")]
    Citations { citation: &'a Value },
}

impl Encoder {
    /// Writes what comes next. Choices but the first have no place.
    pub fn push(&mut self, choice: usize, delta: Delta<'_>, events: &mut Events) {
        if choice > 0 || self.is_over {
            return;
        }
        match delta {
            Delta::Start { id, model, tokens, .. } => self.start((id, model), tokens, events),
            Delta::Text(text) | Delta::Refusal(text) => {
                let at = self.text_block(events);
                change(at, DeltaBody::Text { text }, events);
            }
            Delta::Citation(citation) => {
                let at = self.text_block(events);
                change(at, DeltaBody::Citations { citation }, events);
            }
            Delta::Reasoning(thinking) => {
                let at = self.thinking_block(events);
                change(at, DeltaBody::Thinking { thinking }, events);
            }
            Delta::Signature(signature) => {
                let at = self.thinking_block(events);
                change(at, DeltaBody::Signature { signature }, events);
                // What is thought behind it has a proof of its own.
                self.close(events);
            }
            Delta::Redacted(data) => {
                self.close(events);
                self.begin_block(&json!({"type": "redacted_thinking", "data": data}), events);
                end_block(self.next - 1, events);
            }
            Delta::ToolCall { index, id, name, signature } => {
                let signature = signature.map(str::to_owned);
                let (id, name) = (id.to_owned(), name.to_owned());
                self.calls.push(Call { id, name, signature, ..Call::default() });
                if !matches!(self.open, Some(Open::Call(_))) {
                    self.open_call(index, events);
                }
            }
            Delta::Arguments { index, json } => self.arguments(index, json, events),
            Delta::Finish(finish) => self.finish = Some(finish),
            Delta::Tokens(tokens) => self.tokens = self.tokens.updated(tokens),
            Delta::Failed(fault) => self.fail(fault, events),
            Delta::Vendor(block) if is_block(block) => {
                self.close(events);
                self.begin_block(block, events);
                end_block(self.next - 1, events);
            }
            Delta::Logprobs(_) | Delta::Media(_) | Delta::Vendor(_) => {}
        }
    }

    /// The answer is over, in order.
    pub fn finish(&mut self, events: &mut Events) {
        if self.is_over {
            return;
        }
        self.start(("", ""), None, events);
        self.close(events);
        for index in 0..self.calls.len() {
            if self.calls.get(index).is_some_and(|call| call.at.is_none()) {
                self.open_call(index, events);
                self.close(events);
            }
        }
        self.is_over = true;
        let has_calls = !self.calls.is_empty();
        let fallback = if has_calls { Finish::ToolCalls } else { Finish::Stop };
        let finish = self.finish.take().unwrap_or(fallback);
        let (stop_reason, stop_sequence) = stop_reason(&finish);
        let delta = json!({"stop_reason": stop_reason, "stop_sequence": stop_sequence});
        let usage = Usage::from(self.tokens);
        let event = json!({"type": "message_delta", "delta": delta, "usage": usage});
        events.push_json(Some("message_delta"), &event);
        events.push(Some("message_stop"), br#"{"type":"message_stop"}"#);
    }

    fn start(&mut self, (id, model): (&str, &str), tokens: Option<Tokens>, events: &mut Events) {
        if std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        self.tokens = tokens.unwrap_or_default();
        let message = json!({
            "id": id,
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": null,
            "stop_sequence": null,
            "usage": Usage::from(self.tokens),
        });
        let event = json!({"type": "message_start", "message": message});
        events.push_json(Some("message_start"), &event);
    }

    fn text_block(&mut self, events: &mut Events) -> usize {
        if let Some(Open::Text(at)) = self.open {
            return at;
        }
        self.close(events);
        let at = self.begin_block(&json!({"type": "text", "text": ""}), events);
        self.open = Some(Open::Text(at));
        at
    }

    fn thinking_block(&mut self, events: &mut Events) -> usize {
        if let Some(Open::Thinking(at)) = self.open {
            return at;
        }
        self.close(events);
        let block = json!({"type": "thinking", "thinking": "", "signature": ""});
        let at = self.begin_block(&block, events);
        self.open = Some(Open::Thinking(at));
        at
    }

    /// Opens the block of a call, with what has come for it.
    fn open_call(&mut self, index: usize, events: &mut Events) {
        self.close(events);
        let proof = self.calls.get_mut(index).and_then(|call| call.signature.take());
        if let Some(signature) = proof {
            // A call has no place for it, so it goes before it.
            let at = self.thinking_block(events);
            change(at, DeltaBody::Signature { signature: &signature }, events);
            self.close(events);
        }
        let Some(call) = self.calls.get_mut(index) else { return };
        let waiting = std::mem::take(&mut call.waiting);
        let block = json!({"type": "tool_use", "id": call.id, "name": call.name, "input": {}});
        call.at = Some(self.next);
        let at = self.begin_block(&block, events);
        self.open = Some(Open::Call(index));
        if !waiting.is_empty() {
            change(at, DeltaBody::InputJson { partial_json: &waiting }, events);
        }
    }

    fn arguments(&mut self, index: usize, json: &str, events: &mut Events) {
        let is_open = self.open == Some(Open::Call(index));
        let Some(call) = self.calls.get_mut(index).filter(|call| !call.is_closed) else { return };
        match call.at {
            Some(at) if is_open => {
                change(at, DeltaBody::InputJson { partial_json: json }, events);
            }
            _ => call.waiting.push_str(json),
        }
    }

    fn begin_block(&mut self, block: &Value, events: &mut Events) -> usize {
        self.start(("", ""), None, events);
        let index = self.next;
        self.next += 1;
        let event = json!({"type": "content_block_start", "index": index, "content_block": block});
        events.push_json(Some("content_block_start"), &event);
        index
    }

    fn close(&mut self, events: &mut Events) {
        let at = match self.open.take() {
            None => return,
            Some(Open::Text(at) | Open::Thinking(at)) => at,
            Some(Open::Call(index)) => {
                let Some(call) = self.calls.get_mut(index) else { return };
                call.is_closed = true;
                call.at.unwrap_or_default()
            }
        };
        end_block(at, events);
    }

    fn fail(&mut self, fault: Fault<'_>, events: &mut Events) {
        self.is_over = true;
        let kind = if fault.kind.is_empty() { "api_error" } else { fault.kind };
        let error = json!({"type": kind, "message": fault.message});
        events.push_json(Some("error"), &json!({"type": "error", "error": error}));
    }
}

fn change(index: usize, delta: DeltaBody<'_>, events: &mut Events) {
    let event = DeltaEvent { r#type: "content_block_delta", index, delta };
    events.push_json(Some("content_block_delta"), &event);
}

fn end_block(index: usize, events: &mut Events) {
    let event = json!({"type": "content_block_stop", "index": index});
    events.push_json(Some("content_block_stop"), &event);
}
