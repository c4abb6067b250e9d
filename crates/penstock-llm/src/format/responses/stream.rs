//! A streamed response.
//!
//! Invariant: a response begins with `response.created` and ends with
//! `response.completed`, `.incomplete` or `.failed`, and every item and part
//! in it that was added is done: SDKs count on it. Only what fails before it
//! began is an `error`.

mod item;

use serde::Serialize;
use serde_json::{Value, json};

use super::answer::{Item, Response, Usage, incomplete_reason};
use super::echo::Echo;
use crate::format::answer::{Answer, Delta, Fault, Finish, Tokens};
use crate::format::translation::Events;

/// Writes the events of a stream.
#[derive(Debug)]
pub struct Encoder {
    echo: Echo,
    id: String,
    /// What is the answer's own in all ids.
    base: String,
    model: String,
    created: u64,
    items: Vec<Item>,
    /// The item that is being written, where that is a message or a thought.
    open: Option<usize>,
    /// Up to where the open text has been cited, in characters, and its end.
    cited: (usize, usize),
    /// The items of calls, which stay open until all is said: some vendors
    /// write several at once.
    calls: Vec<usize>,
    finish: Option<Finish>,
    tokens: Option<Tokens>,
    has_begun: bool,
    is_over: bool,
    sender: Sender,
}

/// Numbers the events.
#[derive(Debug, Default)]
struct Sender {
    next: u64,
    /// Where only the response is wanted in the end.
    is_silent: bool,
}

#[derive(Serialize)]
struct Event<B> {
    r#type: &'static str,
    sequence_number: u64,
    #[serde(flatten)]
    body: B,
}

impl Sender {
    fn send(&mut self, name: &'static str, body: impl Serialize, events: &mut Events) {
        if !self.is_silent {
            let event = Event { r#type: name, sequence_number: self.next, body };
            events.push_json(Some(name), &event);
            self.next += 1;
        }
    }
}

#[derive(Serialize)]
struct Reported<'a> {
    response: Response<'a>,
}

impl Encoder {
    /// An encoder of the answer to a request, which began `now`, in seconds
    /// since 1970.
    pub fn new(echo: Echo, now: u64) -> Self {
        Self {
            echo,
            id: String::new(),
            base: String::new(),
            model: String::new(),
            created: now,
            items: Vec::new(),
            open: None,
            cited: (0, 0),
            calls: Vec::new(),
            finish: None,
            tokens: None,
            has_begun: false,
            is_over: false,
            sender: Sender::default(),
        }
    }

    /// What the response repeats of its request.
    pub fn echo(&self) -> Echo {
        self.echo.clone()
    }

    /// The response that a whole answer is.
    pub(super) fn whole(answer: &Answer, echo: Echo, now: u64) -> Value {
        let (mut encoder, mut none) = (Self::new(echo, now), Events::default());
        encoder.sender.is_silent = true;
        answer.stream(&mut |choice, delta| encoder.push(choice, delta, &mut none));
        encoder.finish(&mut none);
        let (status, details) = encoder.outcome();
        json!(encoder.response(status, details, None))
    }

    /// Writes what comes next. Choices but the first have no place.
    pub fn push(&mut self, choice: usize, delta: Delta<'_>, events: &mut Events) {
        if choice > 0 || self.is_over {
            return;
        }
        match delta {
            Delta::Start { id, model, created, tokens } => {
                let base = id.strip_prefix("resp_").unwrap_or(id);
                (self.base, self.model) = (base.to_owned(), model.to_owned());
                self.created = created.unwrap_or(self.created);
                self.tokens = tokens;
                self.begin(events);
            }
            Delta::Text("") | Delta::Reasoning("") | Delta::Refusal("") => {}
            Delta::Text(text) => self.text(text, &[], events),
            Delta::Logprobs(logprobs) => self.weigh(logprobs, events),
            Delta::Citation(citation) => self.cite(citation, events),
            Delta::Refusal(text) => self.refuse(text, events),
            Delta::Reasoning(text) => self.think(text, events),
            Delta::Signature(signature) => self.sign(signature, events),
            Delta::Redacted(data) => self.redact(data, events),
            Delta::ToolCall { id, name, signature, .. } => {
                self.call((id, name), signature, events);
            }
            Delta::Arguments { index, json } => self.arguments(index, json, events),
            Delta::Finish(finish) => self.finish = Some(finish),
            Delta::Tokens(tokens) => {
                self.tokens = Some(self.tokens.unwrap_or_default().updated(tokens));
            }
            Delta::Failed(fault) => self.fail(fault, events),
            // The format has no item for what another vendor showed or ran.
            Delta::Media(_) | Delta::Vendor(_) => {}
        }
    }

    /// The answer is over, in order.
    pub fn finish(&mut self, events: &mut Events) {
        if self.is_over {
            return;
        }
        self.begin(events);
        self.end_items(incomplete_reason(self.finish.as_ref()).is_none(), events);
        let (status, details) = self.outcome();
        let name = if status == "completed" { "response.completed" } else { "response.incomplete" };
        self.report(name, status, (details, None), events);
        self.is_over = true;
    }

    /// The status in the end, and what it comes from.
    fn outcome(&self) -> (&'static str, Option<Value>) {
        match incomplete_reason(self.finish.as_ref()) {
            Some(reason) => ("incomplete", Some(json!({"reason": reason}))),
            None => ("completed", None),
        }
    }

    fn fail(&mut self, fault: Fault<'_>, events: &mut Events) {
        let is_limit = fault.kind.contains("rate_limit");
        let code = if is_limit { "rate_limit_exceeded" } else { "server_error" };
        if self.has_begun {
            self.end_items(false, events);
            let error = json!({"code": code, "message": fault.message});
            self.report("response.failed", "failed", (None, Some(error)), events);
        } else {
            let kind = if fault.kind.is_empty() { "server_error" } else { fault.kind };
            let message = fault.message;
            // Documented are the members, but OpenAI sends them in `error`,
            // and there alone SDKs see that it is one.
            let body = json!({
                "code": code,
                "message": message,
                "param": null,
                "error": {"type": kind, "code": code, "message": message, "param": null},
            });
            self.sender.send("error", body, events);
        }
        self.is_over = true;
    }

    fn begin(&mut self, events: &mut Events) {
        if std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        if self.base.is_empty() {
            self.base = format!("{:x}", self.created);
        }
        self.id = format!("resp_{}", self.base);
        if self.model.is_empty() {
            self.model = self.echo.model.as_ref().to_owned();
        }
        for name in ["response.created", "response.in_progress"] {
            self.report(name, "in_progress", (None, None), events);
        }
    }

    fn report(
        &mut self,
        name: &'static str,
        status: &'static str,
        (details, error): (Option<Value>, Option<Value>),
        events: &mut Events,
    ) {
        // It is a lot to write where nobody reads it.
        if !self.sender.is_silent {
            let mut sender = std::mem::take(&mut self.sender);
            let body = Reported { response: self.response(status, details, error) };
            sender.send(name, body, events);
            self.sender = sender;
        }
    }

    fn response(
        &self,
        status: &'static str,
        incomplete_details: Option<Value>,
        error: Option<Value>,
    ) -> Response<'_> {
        Response {
            id: &self.id,
            object: "response",
            created_at: self.created,
            status,
            error,
            incomplete_details,
            model: &self.model,
            output: &self.items,
            usage: self.tokens.filter(|_| status != "in_progress").map(Usage::from),
            echo: &self.echo.members,
        }
    }
}
