//! A streamed answer in OpenAI's format.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::{annotation_of, image_of, write_image};
use super::{Usage, finish_of, finish_reason};
use crate::error::LlmError;
use crate::format::answer::{Delta, Emit, Fault};
use crate::format::object::Borrowed;
use crate::format::translation::Events;

#[derive(Debug, Deserialize)]
struct Chunk<'a> {
    #[serde(default, borrow)]
    id: Option<Borrowed<'a>>,
    #[serde(default, borrow)]
    model: Option<Borrowed<'a>>,
    #[serde(default)]
    created: Option<u64>,
    #[serde(default, borrow)]
    choices: Option<Vec<ChunkChoice<'a>>>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct ChunkChoice<'a> {
    #[serde(default)]
    index: Option<usize>,
    #[serde(default, borrow)]
    delta: Option<ChunkDelta<'a>>,
    #[serde(default, borrow)]
    finish_reason: Option<Borrowed<'a>>,
    #[serde(default)]
    logprobs: Option<Value>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Debug, Default, Deserialize)]
struct ChunkDelta<'a> {
    #[serde(default, borrow)]
    content: Option<Borrowed<'a>>,
    #[serde(default, borrow)]
    reasoning_content: Option<Borrowed<'a>>,
    #[serde(default, borrow)]
    reasoning: Option<Borrowed<'a>>,
    #[serde(default, borrow)]
    refusal: Option<Borrowed<'a>>,
    #[serde(default)]
    images: Option<Vec<Value>>,
    #[serde(default, borrow)]
    tool_calls: Option<Vec<ChunkCall<'a>>>,
    #[serde(default, borrow)]
    function_call: Option<Called<'a>>,
}

#[derive(Debug, Deserialize)]
struct ChunkCall<'a> {
    #[serde(default)]
    index: Option<usize>,
    #[serde(default, borrow)]
    id: Option<Borrowed<'a>>,
    #[serde(default, borrow)]
    function: Option<Called<'a>>,
}

#[derive(Debug, Default, Deserialize)]
struct Called<'a> {
    #[serde(default, borrow)]
    name: Option<Borrowed<'a>>,
    #[serde(default, borrow)]
    arguments: Option<Borrowed<'a>>,
}

/// Reads the events of a stream.
#[derive(Debug, Default)]
pub struct Decoder {
    has_begun: bool,
    choices: Vec<Calls>,
}

/// The calls of a choice so far: the vendor's number of each.
#[derive(Debug, Default)]
struct Calls(Vec<usize>);

/// The most choices and calls that are told apart.
const NUMBERED_MAX: usize = 128;

impl Decoder {
    /// Takes the data of an event.
    ///
    /// # Errors
    /// It is no chunk of such a stream.
    pub fn push(&mut self, data: &str, emit: Emit<'_>) -> Result<(), LlmError> {
        if data == "[DONE]" {
            return Ok(());
        }
        let chunk: Chunk<'_> = serde_json::from_str(data).map_err(|_| LlmError::InvalidResponse)?;
        if let Some(error) = chunk.error {
            let text = |key| error.get(key).and_then(Value::as_str);
            let message = text("message").or(error.as_str()).unwrap_or_default();
            let kind = text("type").or(text("code")).unwrap_or_default();
            emit(0, Delta::Failed(Fault { kind, message }));
            return Ok(());
        }
        if !self.has_begun {
            self.has_begun = true;
            let id = chunk.id.as_ref().map_or("", |id| &id.0);
            let model = chunk.model.as_ref().map_or("", |model| &model.0);
            emit(0, Delta::Start { id, model, created: chunk.created, tokens: None });
        }
        let mut usage = chunk.usage;
        for choice in chunk.choices.into_iter().flatten() {
            usage = usage.or(choice.usage);
            self.choice(choice, emit);
        }
        if let Some(usage) = usage {
            emit(0, Delta::Tokens(usage.into()));
        }
        Ok(())
    }

    fn choice(&mut self, choice: ChunkChoice<'_>, emit: Emit<'_>) {
        let at = choice.index.unwrap_or(0);
        if at >= NUMBERED_MAX {
            return;
        }
        let delta = choice.delta.unwrap_or_default();
        let mut say = |text: &Option<Borrowed<'_>>, delta: fn(&str) -> Delta<'_>| {
            if let Some(text) = text.as_ref().filter(|text| !text.0.is_empty()) {
                emit(at, delta(&text.0));
            }
        };
        let thought = delta.reasoning_content.filter(|text| !text.0.is_empty());
        say(&thought.or(delta.reasoning), |text| Delta::Reasoning(text));
        say(&delta.content, |text| Delta::Text(text));
        say(&delta.refusal, |text| Delta::Refusal(text));
        for image in delta.images.into_iter().flatten().filter_map(image_of) {
            emit(at, Delta::Media(&image));
        }
        if let Some(logprobs) = &choice.logprobs {
            emit(at, Delta::Logprobs(logprobs));
        }
        for call in delta.tool_calls.into_iter().flatten() {
            self.call(at, call, emit);
        }
        if let Some(function) = delta.function_call {
            self.call(at, ChunkCall { index: Some(0), id: None, function: Some(function) }, emit);
        }
        let reason = choice.finish_reason.filter(|word| !word.0.is_empty() && word.0 != "null");
        if let Some(reason) = reason {
            emit(at, Delta::Finish(finish_of(&reason.0)));
        }
    }

    fn call(&mut self, at: usize, call: ChunkCall<'_>, emit: Emit<'_>) {
        while self.choices.len() <= at {
            self.choices.push(Calls::default());
        }
        let Some(Calls(known)) = self.choices.get_mut(at) else { return };
        let id = call.id.as_ref().map_or("", |id| &id.0);
        let function = call.function.unwrap_or_default();
        let name = function.name.as_ref().map_or("", |name| &name.0);
        // Some vendors number nothing, and name the call only once.
        let number = match call.index {
            Some(number) => number,
            None if !name.is_empty() => known.len(),
            None => known.last().copied().unwrap_or(0),
        };
        let index = known.iter().position(|known| *known == number).unwrap_or_else(|| {
            if known.len() < NUMBERED_MAX {
                known.push(number);
                let index = known.len() - 1;
                emit(at, Delta::ToolCall { index, id, name, signature: None });
            }
            known.len() - 1
        });
        if let Some(json) = function.arguments.filter(|json| !json.0.is_empty()) {
            emit(at, Delta::Arguments { index, json: &json.0 });
        }
    }
}

#[derive(Serialize)]
struct ChunkOut<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: &'a [ChoiceOut<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Serialize)]
struct ChoiceOut<'a> {
    index: usize,
    delta: DeltaOut<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<&'a Value>,
    finish_reason: Option<&'a str>,
}

#[derive(Default, Serialize)]
struct DeltaOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_blocks: Option<[ThoughtOut<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[CallOut<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<[Value; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<[Value; 1]>,
}

/// What the vendor wants back beside the text of a thought.
#[derive(Serialize)]
struct ThoughtOut<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
}

#[derive(Serialize)]
struct CallOut<'a> {
    index: usize,
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    function: CalledOut<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<Value>,
}

#[derive(Serialize)]
struct CalledOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

/// Writes the events of a stream.
#[derive(Debug)]
pub struct Encoder {
    id: String,
    model: String,
    created: u64,
    /// Whether the client asked what it costs.
    wants_usage: bool,
    tokens: Option<Usage>,
    choices: Vec<Written>,
    is_over: bool,
}

/// What a choice has said.
#[derive(Debug, Default)]
struct Written {
    has_begun: bool,
    /// Its text, in characters; what annotations refer to.
    text_chars: usize,
    /// The reasoning since the last proof, which goes with it.
    thought: String,
}

impl Encoder {
    /// An encoder of an answer that began `now`, in seconds since 1970.
    pub fn new(now: u64, wants_usage: bool) -> Self {
        Self {
            id: String::new(),
            model: String::new(),
            created: now,
            wants_usage,
            tokens: None,
            choices: Vec::new(),
            is_over: false,
        }
    }

    /// Writes what comes next.
    pub fn push(&mut self, at: usize, delta: Delta<'_>, events: &mut Events) {
        let mut out = DeltaOut::default();
        match delta {
            Delta::Start { id, model, created, tokens } => {
                (self.id, self.model) = (id.to_owned(), model.to_owned());
                self.created = created.unwrap_or(self.created);
                self.tokens = tokens.map(Into::into);
                return self.begin(0, events);
            }
            Delta::Tokens(tokens) => return self.tokens = Some(tokens.into()),
            Delta::Failed(fault) => return self.fail(fault, events),
            Delta::Finish(finish) => {
                self.begin(at, events);
                return self.write(at, out, Some(finish_reason(&finish)), events);
            }
            Delta::Logprobs(logprobs) => {
                self.begin(at, events);
                let choice = ChoiceOut {
                    index: at,
                    delta: out,
                    logprobs: Some(logprobs),
                    finish_reason: None,
                };
                return self.send(&[choice], None, events);
            }
            Delta::Text(text) => {
                let written = self.written(at);
                written.text_chars += text.chars().count();
                // A proof behind it is not of the reasoning.
                written.thought.clear();
                out.content = Some(text);
            }
            Delta::Reasoning(text) => {
                self.written(at).thought.push_str(text);
                out.reasoning_content = Some(text);
            }
            Delta::Signature(signature) => {
                let thinking = std::mem::take(&mut self.written(at).thought);
                let block = ThoughtOut {
                    r#type: "thinking",
                    thinking: Some(&thinking),
                    signature: Some(signature),
                    data: None,
                };
                out.thinking_blocks = Some([block]);
                self.begin(at, events);
                return self.write(at, out, None, events);
            }
            Delta::Redacted(data) => {
                let r#type = "redacted_thinking";
                let data = Some(data);
                out.thinking_blocks =
                    Some([ThoughtOut { r#type, thinking: None, signature: None, data }]);
            }
            Delta::Refusal(text) => out.refusal = Some(text),
            Delta::Media(media) => {
                let Some(image) = write_image(media) else { return };
                out.images = Some([image]);
            }
            Delta::Vendor(_) => return,
            Delta::Citation(citation) => {
                let end = self.written(at).text_chars;
                let Some(annotation) = annotation_of(citation, (0, end)) else { return };
                out.annotations = Some([annotation]);
            }
            Delta::ToolCall { index, id, name, signature } => {
                let extra_content = signature.map(
                    |signature| serde_json::json!({"google": {"thought_signature": signature}}),
                );
                let function = CalledOut { name: Some(name), arguments: "" };
                let r#type = Some("function");
                out.tool_calls = Some([CallOut { index, id, r#type, function, extra_content }]);
            }
            Delta::Arguments { index, json } => {
                let function = CalledOut { name: None, arguments: json };
                let call = CallOut { index, id: "", r#type: None, function, extra_content: None };
                out.tool_calls = Some([call]);
            }
        }
        self.begin(at, events);
        self.write(at, out, None, events);
    }

    /// The answer is over, in order.
    pub fn finish(&mut self, events: &mut Events) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        if let Some(usage) = self.tokens.filter(|_| self.wants_usage) {
            self.send(&[], Some(usage), events);
        }
        events.push(None, b"[DONE]");
    }

    fn fail(&mut self, fault: Fault<'_>, events: &mut Events) {
        self.is_over = true;
        let kind = if fault.kind.is_empty() { "upstream_error" } else { fault.kind };
        let error = serde_json::json!({
            "error": {"message": fault.message, "type": kind, "param": null, "code": null},
        });
        events.push(None, error.to_string().as_bytes());
    }

    fn written(&mut self, at: usize) -> &mut Written {
        while self.choices.len() <= at {
            self.choices.push(Written::default());
        }
        &mut self.choices[at]
    }

    /// Each choice begins with the role of who speaks.
    fn begin(&mut self, at: usize, events: &mut Events) {
        if !std::mem::replace(&mut self.written(at).has_begun, true) {
            let role = Some("assistant");
            let out = DeltaOut { role, content: Some(""), ..DeltaOut::default() };
            self.write(at, out, None, events);
        }
    }

    fn write(
        &self,
        index: usize,
        delta: DeltaOut<'_>,
        finish_reason: Option<&str>,
        events: &mut Events,
    ) {
        let choice = ChoiceOut { index, delta, logprobs: None, finish_reason };
        self.send(&[choice], None, events);
    }

    fn send(&self, choices: &[ChoiceOut<'_>], usage: Option<Usage>, events: &mut Events) {
        if self.is_over && usage.is_none() {
            return;
        }
        let chunk = ChunkOut {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.model,
            choices,
            usage,
        };
        events.push_json(None, &chunk);
    }
}
