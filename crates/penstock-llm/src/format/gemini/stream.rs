//! A streamed answer in Google's format: each event is an answer, of what is
//! new.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::{Grounding, citations, is_whole, malformed};
use super::part::{kind_of, write_call, write_media};
use super::{Usage, finish_of, finish_reason, is_google_part, logprobs, status_of};
use crate::error::LlmError;
use crate::format::answer::{Delta, Emit, Fault, Finish, Tokens};
use crate::format::chat::{Media, Source, ToolCall};
use crate::format::object::Borrowed;
use crate::format::translation::Events;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    #[serde(default, borrow)]
    candidates: Option<Vec<Candidate<'a>>>,
    #[serde(default, borrow)]
    prompt_feedback: Option<Feedback<'a>>,
    #[serde(default)]
    usage_metadata: Option<Usage>,
    #[serde(default, borrow)]
    model_version: Option<Borrowed<'a>>,
    #[serde(default, borrow)]
    response_id: Option<Borrowed<'a>>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feedback<'a> {
    #[serde(default, borrow)]
    block_reason: Option<Borrowed<'a>>,
    #[serde(default, borrow)]
    block_reason_message: Option<Borrowed<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    #[serde(default)]
    index: Option<usize>,
    #[serde(default, borrow)]
    content: Option<Content<'a>>,
    #[serde(default, borrow)]
    finish_reason: Option<Borrowed<'a>>,
    #[serde(default)]
    grounding_metadata: Option<Value>,
    #[serde(default)]
    citation_metadata: Option<Value>,
    #[serde(default)]
    logprobs_result: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Content<'a> {
    #[serde(default, borrow)]
    parts: Option<Vec<PartIn<'a>>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PartIn<'a> {
    #[serde(default, borrow)]
    text: Option<Borrowed<'a>>,
    #[serde(default)]
    thought: Option<bool>,
    #[serde(default, borrow)]
    thought_signature: Option<Borrowed<'a>>,
    #[serde(default, borrow)]
    function_call: Option<CallIn<'a>>,
    #[serde(default, borrow)]
    inline_data: Option<DataIn<'a>>,
    #[serde(default)]
    executable_code: Option<Value>,
    #[serde(default)]
    code_execution_result: Option<Value>,
    #[serde(default)]
    tool_call: Option<Value>,
    #[serde(default)]
    tool_response: Option<Value>,
}

impl PartIn<'_> {
    fn is_text(&self) -> bool {
        !text_of(self.text.as_ref()).is_empty() && self.thought != Some(true)
    }
}

#[derive(Debug, Deserialize)]
struct CallIn<'a> {
    #[serde(default, borrow)]
    id: Option<Borrowed<'a>>,
    #[serde(default, borrow)]
    name: Option<Borrowed<'a>>,
    #[serde(default)]
    args: Option<Map<String, Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DataIn<'a> {
    #[serde(default, borrow)]
    mime_type: Option<Borrowed<'a>>,
    #[serde(default, borrow)]
    data: Option<Borrowed<'a>>,
}

/// Reads the events of a stream.
#[derive(Debug, Default)]
pub struct Decoder {
    has_begun: bool,
    id: String,
    /// The calls of all candidates.
    named: usize,
    candidates: Vec<Said>,
}

/// What a candidate has said so far.
#[derive(Debug, Default)]
struct Said {
    calls: usize,
    /// Whether what came last is text.
    is_text: bool,
    citations: Vec<Value>,
}

/// The most candidates that are told apart.
const CANDIDATES_MAX: usize = 128;

fn text_of<'a>(text: Option<&'a Borrowed<'_>>) -> &'a str {
    text.map_or("", |text| &text.0)
}

impl Decoder {
    /// Takes the data of an event.
    ///
    /// # Errors
    /// It is no part of such a stream.
    pub fn push(&mut self, data: &str, emit: Emit<'_>) -> Result<(), LlmError> {
        let response: Response<'_> =
            serde_json::from_str(data).map_err(|_| LlmError::InvalidResponse)?;
        if let Some(error) = response.error {
            let text = |key| error.get(key).and_then(Value::as_str).unwrap_or_default();
            emit(0, Delta::Failed(Fault { kind: text("status"), message: text("message") }));
            return Ok(());
        }
        let tokens = response.usage_metadata.map(Tokens::from);
        if !self.has_begun {
            self.has_begun = true;
            text_of(response.response_id.as_ref()).clone_into(&mut self.id);
            let (id, model) = (self.id.as_str(), text_of(response.model_version.as_ref()));
            emit(0, Delta::Start { id, model, created: None, tokens });
        }
        for candidate in response.candidates.into_iter().flatten() {
            self.candidate(candidate, emit);
        }
        if let Some(feedback) = response.prompt_feedback
            && !text_of(feedback.block_reason.as_ref()).is_empty()
        {
            let message = text_of(feedback.block_reason_message.as_ref());
            if !message.is_empty() {
                emit(0, Delta::Refusal(message));
            }
            emit(0, Delta::Finish(Finish::ContentFilter));
        }
        if let Some(tokens) = tokens {
            emit(0, Delta::Tokens(tokens));
        }
        Ok(())
    }

    fn candidate(&mut self, candidate: Candidate<'_>, emit: Emit<'_>) {
        let at = candidate.index.unwrap_or(0);
        if at >= CANDIDATES_MAX {
            return;
        }
        while self.candidates.len() <= at {
            self.candidates.push(Said::default());
        }
        let (grounding, citation) = (candidate.grounding_metadata, candidate.citation_metadata);
        let mut cited = citations(grounding.as_ref(), citation.as_ref());
        let parts = candidate.content.and_then(|content| content.parts).unwrap_or_default();
        // They are of all of the text, so they come right behind it.
        let last = parts.iter().rposition(PartIn::is_text);
        if last.is_none() {
            self.cite(at, &mut cited, emit);
        }
        for (index, part) in parts.into_iter().enumerate() {
            self.say(at, &part, emit);
            if last == Some(index) {
                self.cite(at, &mut cited, emit);
            }
            self.show(at, part, emit);
        }
        if let Some(logprobs) = candidate.logprobs_result.as_ref().and_then(logprobs::of_google) {
            emit(at, Delta::Logprobs(&logprobs));
        }
        let has_calls = self.candidates.get(at).is_some_and(|said| said.calls > 0);
        let reason = text_of(candidate.finish_reason.as_ref());
        if let Some(finish) = finish_of(reason, has_calls) {
            emit(at, Delta::Finish(finish));
        }
    }

    fn say(&mut self, at: usize, part: &PartIn<'_>, emit: Emit<'_>) {
        let Some(said) = self.candidates.get_mut(at) else { return };
        said.is_text = part.is_text();
        match text_of(part.text.as_ref()) {
            "" => {}
            text if said.is_text => emit(at, Delta::Text(text)),
            text => emit(at, Delta::Reasoning(text)),
        }
    }

    /// Says where the text that came last is from; where none did, nobody
    /// could tell what of.
    fn cite(&mut self, at: usize, citations: &mut Vec<Value>, emit: Emit<'_>) {
        let Some(said) = self.candidates.get_mut(at).filter(|said| said.is_text) else { return };
        for citation in citations.drain(..) {
            // Later events may repeat them.
            if !said.citations.contains(&citation) {
                emit(at, Delta::Citation(&citation));
                said.citations.push(citation);
            }
        }
    }

    /// What a part has besides text.
    fn show(&mut self, at: usize, part: PartIn<'_>, emit: Emit<'_>) {
        let signature = part.thought_signature.filter(|signature| !signature.0.is_empty());
        if let Some(call) = part.function_call {
            return self.call(at, call, signature.as_ref().map(|signature| &*signature.0), emit);
        }
        if let Some(data) = part.inline_data {
            let media_type = text_of(data.mime_type.as_ref()).to_owned();
            let kind = kind_of(&media_type);
            let data = data.data.map(|data| data.0.into_owned()).unwrap_or_default();
            let source = Source::Base64 { media_type, data };
            let (detail, name, cache, more) = (None, None, None, Map::new());
            emit(at, Delta::Media(&Media { kind, source, detail, name, cache, more }));
        }
        for (key, value) in [
            ("executableCode", part.executable_code),
            ("codeExecutionResult", part.code_execution_result),
            ("toolCall", part.tool_call),
            ("toolResponse", part.tool_response),
        ] {
            if let Some(value) = value {
                emit(at, Delta::Vendor(&json!({key: value})));
            }
        }
        if let Some(signature) = signature {
            emit(at, Delta::Signature(&signature.0));
        }
    }

    /// A call comes whole.
    fn call(&mut self, at: usize, call: CallIn<'_>, signature: Option<&str>, emit: Emit<'_>) {
        let Some(said) = self.candidates.get_mut(at) else { return };
        let index = said.calls;
        said.calls += 1;
        // Other calls of the conversation have other answers' ids in theirs.
        let id = match text_of(call.id.as_ref()) {
            "" if self.id.is_empty() => format!("call_{}", self.named),
            "" => format!("call_{}_{}", self.id, self.named),
            id => id.to_owned(),
        };
        self.named += 1;
        let name = text_of(call.name.as_ref());
        emit(at, Delta::ToolCall { index, id: &id, name, signature });
        let json = call.args.map_or_else(|| "{}".into(), |args| Value::Object(args).to_string());
        emit(at, Delta::Arguments { index, json: &json });
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResponseOut<'a, C> {
    #[serde(skip_serializing_if = "<[C]>::is_empty")]
    candidates: &'a [C],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_metadata: Option<Usage>,
    #[serde(skip_serializing_if = "str::is_empty")]
    model_version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    response_id: &'a str,
}

#[derive(Serialize)]
struct CandidateOut<'a, P> {
    content: ContentOut<'a, P>,
    index: usize,
}

#[derive(Serialize)]
struct ContentOut<'a, P> {
    parts: [&'a P; 1],
    role: &'static str,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct TextOut<'a> {
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<&'a str>,
}

/// How a stream is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As events (`alt=sse`).
    Events,
    /// As a JSON array, whose elements come one by one.
    Array,
}

/// Writes the events of a stream.
#[derive(Debug)]
pub struct Encoder {
    form: Form,
    shows_thoughts: bool,
    id: String,
    model: String,
    tokens: Option<Tokens>,
    candidates: Vec<Written>,
    /// Whether an element was written.
    has_begun: bool,
    is_over: bool,
}

/// What a candidate has said, and what it has to say at its end.
#[derive(Debug, Default)]
struct Written {
    /// Whether what came last is a thought, which a proof then is of.
    thinks: bool,
    calls: Vec<ToolCall>,
    grounding: Grounding,
    finish: Option<Finish>,
}

impl Encoder {
    /// An encoder that writes this form, and what the model thought where the
    /// client wants that.
    pub fn new(form: Form, shows_thoughts: bool) -> Self {
        Self {
            form,
            shows_thoughts,
            id: String::new(),
            model: String::new(),
            tokens: None,
            candidates: Vec::new(),
            has_begun: false,
            is_over: false,
        }
    }

    /// The form that it writes.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Whether it writes what the model thought.
    pub fn shows_thoughts(&self) -> bool {
        self.shows_thoughts
    }

    /// Writes what comes next.
    pub fn push(&mut self, at: usize, delta: Delta<'_>, events: &mut Events) {
        if self.is_over || at >= CANDIDATES_MAX {
            return;
        }
        while self.candidates.len() <= at {
            self.candidates.push(Written::default());
        }
        let Some(written) = self.candidates.get_mut(at) else { return };
        let was_thought = std::mem::take(&mut written.thinks);
        match delta {
            Delta::Start { id, model, tokens, .. } => {
                (self.id, self.model) = (id.to_owned(), model.to_owned());
                self.tokens = tokens;
            }
            Delta::Tokens(tokens) => {
                self.tokens = Some(self.tokens.unwrap_or_default().updated(tokens));
                written.thinks = was_thought;
            }
            Delta::Failed(fault) => self.fail(fault, events),
            Delta::Text(text) | Delta::Refusal(text) => {
                written.grounding.say(text);
                self.send_part(at, &TextOut { text, ..TextOut::default() }, events);
            }
            Delta::Reasoning(text) => {
                written.thinks = true;
                if self.shows_thoughts {
                    let thought = Some(true);
                    self.send_part(at, &TextOut { text, thought, ..TextOut::default() }, events);
                }
            }
            Delta::Signature(signature) if self.shows_thoughts || !was_thought => {
                let thought = was_thought.then_some(true);
                let thought_signature = Some(signature);
                self.send_part(at, &TextOut { text: "", thought, thought_signature }, events);
            }
            Delta::Citation(citation) => written.grounding.cite(citation),
            Delta::ToolCall { id, name, signature, .. } => written.calls.push(ToolCall {
                id: id.to_owned(),
                name: name.to_owned(),
                signature: signature.map(str::to_owned),
                ..ToolCall::default()
            }),
            Delta::Arguments { index, json } => {
                if let Some(call) = written.calls.get_mut(index) {
                    call.arguments.push_str(json);
                }
            }
            Delta::Media(media) => {
                if let Ok(part) = write_media(media.clone()) {
                    self.send_part(at, &part, events);
                }
            }
            Delta::Vendor(part) if is_google_part(part) => self.send_part(at, part, events),
            Delta::Logprobs(logprobs) => {
                if let Some(logprobs) = logprobs::of_openai(logprobs) {
                    let candidate = json!({"logprobsResult": logprobs, "index": at});
                    self.send(&[candidate], None, events);
                }
            }
            Delta::Finish(finish) => written.finish = Some(finish),
            // A proof of what is not shown, and what Google has no word for.
            Delta::Signature(_) | Delta::Redacted(_) | Delta::Vendor(_) => {}
        }
    }

    /// The answer is over, in order.
    pub fn finish(&mut self, events: &mut Events) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        let candidates = std::mem::take(&mut self.candidates);
        let last = candidates.into_iter().enumerate().filter_map(|(at, written)| written.last(at));
        let last: Vec<_> = last.collect();
        let usage = self.tokens.map(Usage::from);
        if !last.is_empty() || usage.is_some() {
            self.send(&last, usage, events);
        }
        self.end(events);
    }

    fn fail(&mut self, fault: Fault<'_>, events: &mut Events) {
        self.is_over = true;
        let (code, status) = status_of(fault.kind);
        let error = json!({"code": code, "message": fault.message, "status": status});
        self.write(&json!({"error": error}), events);
        self.end(events);
    }

    fn send_part(&mut self, index: usize, part: &impl Serialize, events: &mut Events) {
        let content = ContentOut { parts: [part], role: "model" };
        self.send(&[CandidateOut { content, index }], None, events);
    }

    fn send(&mut self, candidates: &[impl Serialize], usage: Option<Usage>, events: &mut Events) {
        let (model, id) = (std::mem::take(&mut self.model), std::mem::take(&mut self.id));
        let response = ResponseOut {
            candidates,
            usage_metadata: usage,
            model_version: &model,
            response_id: &id,
        };
        self.write(&response, events);
        (self.model, self.id) = (model, id);
    }

    fn write(&mut self, response: &impl Serialize, events: &mut Events) {
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        match self.form {
            Form::Events => events.push_json(None, response),
            Form::Array => events.push_raw(if is_first { "[" } else { ",\n" }, response),
        }
    }

    fn end(&mut self, events: &mut Events) {
        if self.form == Form::Array {
            events.push_text(if self.has_begun { "]\n" } else { "[]\n" });
        }
    }
}

impl Written {
    /// What is said at the end; `None` where that is nothing.
    fn last(self, at: usize) -> Option<Value> {
        let Self { calls, mut finish, grounding, .. } = self;
        let count = calls.len();
        let parts: Vec<_> = calls.into_iter().filter(is_whole).collect();
        // A stream that broke off has not said all of its last call, and says
        // itself that it has no end.
        if parts.len() < count && finish.is_some() {
            finish = Some(malformed());
        }
        let parts: Vec<_> = parts.into_iter().map(|call| write_call(call, true)).collect();
        let grounding = grounding.finish();
        if parts.is_empty() && finish.is_none() && grounding.is_none() {
            return None;
        }
        let mut candidate = Map::new();
        candidate.insert("content".into(), json!({"parts": parts, "role": "model"}));
        let reason = finish.as_ref().map(finish_reason);
        candidate.extend(reason.map(|reason| ("finishReason".into(), reason.into())));
        candidate.insert("index".into(), at.into());
        candidate.extend(grounding.map(|grounding| ("groundingMetadata".into(), grounding)));
        Some(Value::Object(candidate))
    }
}
