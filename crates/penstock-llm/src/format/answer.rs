//! What a model answers, whichever vendor's format it has: as a whole, or
//! piece by piece.

use serde_json::{Map, Value};

use super::chat::{Media, Part, Text, Thought, ToolCall};

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Its id; empty where the vendor gives none.
    pub id: String,
    /// The model that answered; empty where it is not told.
    pub model: String,
    /// When, in seconds since 1970; `None` where it is not told.
    pub created: Option<u64>,
    /// The answer, and those besides it where several were asked for.
    pub choices: Vec<Choice>,
    /// What it cost.
    pub tokens: Option<Tokens>,
    /// Further members by OpenAI's names: `service_tier`,
    /// `system_fingerprint`.
    pub more: Map<String, Value>,
}

/// One answer to the request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// What it says.
    pub parts: Vec<Part>,
    /// Why it ends here.
    pub finish: Option<Finish>,
    /// OpenAI's `logprobs`.
    pub logprobs: Option<Value>,
}

/// Why an answer ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Everything is said.
    Stop,
    /// A text of `stop` came, which one where that is told.
    StopSequence(Option<String>),
    /// It has as many tokens as it may have.
    Length,
    /// Tools are to be called.
    ToolCalls,
    /// The vendor's filter held it back.
    ContentFilter,
    /// The model refuses.
    Refusal,
    /// Something else, in the vendor's word.
    Other(String),
}

/// The tokens of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// All of the prompt, those from a cache and into it included.
    pub input: u64,
    /// All of the answer, the reasoning included.
    pub output: u64,
    /// Of the prompt, those that came from the vendor's cache.
    pub cache_read: Option<u64>,
    /// Of the prompt, those that went into it.
    pub cache_write: Option<u64>,
    /// Of the answer, those of the reasoning.
    pub reasoning: Option<u64>,
    /// The sum, where the vendor counts it differently.
    pub total: Option<u64>,
}

impl Tokens {
    /// The sum.
    pub fn total(&self) -> u64 {
        self.total.unwrap_or_else(|| self.input.saturating_add(self.output))
    }

    /// With what a later report adds; what it does not say stays.
    #[must_use]
    pub fn updated(self, later: Self) -> Self {
        Self {
            input: if later.input > 0 { later.input } else { self.input },
            output: if later.output > 0 { later.output } else { self.output },
            cache_read: later.cache_read.or(self.cache_read),
            cache_write: later.cache_write.or(self.cache_write),
            reasoning: later.reasoning.or(self.reasoning),
            total: later.total.or(self.total),
        }
    }
}

/// What a vendor says instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault<'a> {
    /// The kind, in the vendor's word; empty where there is none.
    pub kind: &'a str,
    /// What it says.
    pub message: &'a str,
}

/// What comes next of a streamed answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta<'a> {
    /// It begins. Said once, before anything else.
    Start {
        /// Its id; empty where the vendor gives none.
        id: &'a str,
        /// The model; empty where it is not told.
        model: &'a str,
        /// When, in seconds since 1970.
        created: Option<u64>,
        /// What the prompt cost, where that is known so early.
        tokens: Option<Tokens>,
    },
    /// More text.
    Text(&'a str),
    /// More of the reasoning.
    Reasoning(&'a str),
    /// The proof of the reasoning so far.
    Signature(&'a str),
    /// Reasoning that is encrypted.
    Redacted(&'a str),
    /// More of why the model does not answer.
    Refusal(&'a str),
    /// Where the text is from, as Anthropic has it.
    Citation(&'a Value),
    /// A tool is called; its arguments follow.
    ToolCall {
        /// Which call of this answer.
        index: usize,
        /// Its id.
        id: &'a str,
        /// The tool.
        name: &'a str,
        /// The vendor's proof that the call is its own.
        signature: Option<&'a str>,
    },
    /// More of the arguments of a call: a piece of JSON text.
    Arguments {
        /// Which call.
        index: usize,
        /// The piece.
        json: &'a str,
    },
    /// OpenAI's `logprobs` of the text that came last.
    Logprobs(&'a Value),
    /// An image or a sound, whole.
    Media(&'a Media),
    /// What only the format it came in can say, as it came.
    Vendor(&'a Value),
    /// It ends, for this reason. Tokens may follow.
    Finish(Finish),
    /// What it has cost so far.
    Tokens(Tokens),
    /// It failed; nothing follows.
    Failed(Fault<'a>),
}

/// Takes what comes of a stream: which choice it belongs to, and what it is.
pub type Emit<'a> = &'a mut dyn FnMut(usize, Delta<'_>);

impl Answer {
    /// Says a whole answer piece by piece.
    pub fn stream(&self, emit: Emit<'_>) {
        let (id, model, created) = (self.id.as_str(), self.model.as_str(), self.created);
        emit(0, Delta::Start { id, model, created, tokens: self.tokens });
        for (at, choice) in self.choices.iter().enumerate() {
            let mut calls = 0;
            let mut logprobs = choice.logprobs.as_ref();
            let last_text = choice.parts.iter().rposition(|part| matches!(part, Part::Text(_)));
            for (index, part) in choice.parts.iter().enumerate() {
                stream_part(part, &mut calls, &mut |delta| emit(at, delta));
                // They are of the text.
                if let Some(logprobs) = logprobs.take_if(|_| Some(index) == last_text) {
                    emit(at, Delta::Logprobs(logprobs));
                }
            }
            if let Some(logprobs) = logprobs {
                emit(at, Delta::Logprobs(logprobs));
            }
            if let Some(finish) = &choice.finish {
                emit(at, Delta::Finish(finish.clone()));
            }
        }
        if let Some(tokens) = self.tokens {
            emit(0, Delta::Tokens(tokens));
        }
    }
}

fn stream_part(part: &Part, calls: &mut usize, emit: &mut dyn FnMut(Delta<'_>)) {
    match part {
        Part::Text(text) => {
            emit(Delta::Text(&text.text));
            for citation in text.citations.iter().filter_map(Value::as_array).flatten() {
                emit(Delta::Citation(citation));
            }
        }
        Part::Reasoning(thought) => {
            if !thought.text.is_empty() {
                emit(Delta::Reasoning(&thought.text));
            }
            if let Some(signature) = &thought.signature {
                emit(Delta::Signature(signature));
            }
            if let Some(redacted) = &thought.redacted {
                emit(Delta::Redacted(redacted));
            }
        }
        Part::ToolCall(call) => {
            let (id, name, signature) = (&*call.id, &*call.name, call.signature.as_deref());
            emit(Delta::ToolCall { index: *calls, id, name, signature });
            emit(Delta::Arguments { index: *calls, json: &call.arguments });
            *calls += 1;
        }
        Part::Refusal(text) => emit(Delta::Refusal(text)),
        Part::Media(media) => emit(Delta::Media(media)),
        Part::Vendor(part) => emit(Delta::Vendor(part)),
        Part::ToolResult(_) => {}
    }
}

/// Puts a streamed answer together.
#[derive(Debug, Default)]
pub struct Collector {
    answer: Answer,
    /// What the vendor said instead of the rest.
    failed: Option<(String, String)>,
}

impl Collector {
    /// Takes the next piece.
    pub fn push(&mut self, choice: usize, delta: Delta<'_>) {
        if let Delta::Start { id, model, created, tokens } = delta {
            self.answer.id = id.to_owned();
            self.answer.model = model.to_owned();
            (self.answer.created, self.answer.tokens) = (created, tokens);
            return;
        }
        if let Delta::Tokens(tokens) = delta {
            self.answer.tokens = Some(self.answer.tokens.unwrap_or_default().updated(tokens));
            return;
        }
        if let Delta::Failed(fault) = delta {
            self.failed = Some((fault.kind.to_owned(), fault.message.to_owned()));
            return;
        }
        // As many as the format numbers; nobody asks for more than 128.
        while self.answer.choices.len() <= choice && self.answer.choices.len() < 128 {
            self.answer.choices.push(Choice::default());
        }
        if let Some(choice) = self.answer.choices.get_mut(choice) {
            choice.push(delta);
        }
    }

    /// The answer.
    ///
    /// # Errors
    /// The vendor said that it failed: kind and message.
    pub fn finish(self) -> Result<Answer, (String, String)> {
        self.failed.map_or(Ok(self.answer), Err)
    }
}

impl Choice {
    fn push(&mut self, delta: Delta<'_>) {
        match delta {
            Delta::Text(more) => match self.parts.last_mut() {
                Some(Part::Text(text)) => text.text.push_str(more),
                _ => self.parts.push(Part::text(more)),
            },
            Delta::Citation(citation) => self.cite(citation.clone()),
            Delta::Reasoning(more) => self.think(|thought| thought.text.push_str(more)),
            Delta::Signature(more) => self.think(|thought| {
                thought.signature.get_or_insert_default().push_str(more);
            }),
            Delta::Redacted(data) => {
                let redacted = Some(data.to_owned());
                self.parts.push(Part::Reasoning(Thought { redacted, ..Thought::default() }));
            }
            Delta::Refusal(more) => match self.parts.last_mut() {
                Some(Part::Refusal(text)) => text.push_str(more),
                _ => self.parts.push(Part::Refusal(more.to_owned())),
            },
            Delta::ToolCall { id, name, signature, .. } => {
                let signature = signature.map(str::to_owned);
                let (id, name) = (id.to_owned(), name.to_owned());
                self.parts.push(Part::ToolCall(ToolCall {
                    id,
                    name,
                    signature,
                    ..ToolCall::default()
                }));
            }
            Delta::Arguments { index, json } => {
                let mut calls = self.parts.iter_mut().filter_map(|part| match part {
                    Part::ToolCall(call) => Some(call),
                    _ => None,
                });
                if let Some(call) = calls.nth(index) {
                    call.arguments.push_str(json);
                }
            }
            Delta::Media(media) => self.parts.push(Part::Media(media.clone())),
            Delta::Vendor(part) => self.parts.push(Part::Vendor(part.clone())),
            Delta::Logprobs(logprobs) => join_logprobs(&mut self.logprobs, logprobs),
            Delta::Finish(finish) => self.finish = Some(finish),
            Delta::Start { .. } | Delta::Tokens(_) | Delta::Failed(_) => {}
        }
    }

    fn think(&mut self, edit: impl FnOnce(&mut Thought)) {
        match self.parts.last_mut() {
            Some(Part::Reasoning(last)) if last.redacted.is_none() => edit(last),
            _ => {
                let mut thought = Thought::default();
                edit(&mut thought);
                self.parts.push(Part::Reasoning(thought));
            }
        }
    }

    fn cite(&mut self, citation: Value) {
        if !matches!(self.parts.last(), Some(Part::Text(_))) {
            self.parts.push(Part::Text(Text::default()));
        }
        if let Some(Part::Text(text)) = self.parts.last_mut() {
            match &mut text.citations {
                Some(Value::Array(list)) => list.push(citation),
                citations => *citations = Some(Value::Array(vec![citation])),
            }
        }
    }
}

/// OpenAI's lists of tokens, one behind the other.
fn join_logprobs(so_far: &mut Option<Value>, more: &Value) {
    let (Some(Value::Object(so_far)), Value::Object(more)) = (so_far.as_mut(), more) else {
        *so_far = Some(more.clone());
        return;
    };
    for (key, more) in more {
        match (so_far.get_mut(key), more) {
            (Some(Value::Array(list)), Value::Array(more)) => list.extend(more.iter().cloned()),
            _ => drop(so_far.insert(key.clone(), more.clone())),
        }
    }
}
