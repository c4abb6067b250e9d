//! The items of a streamed response.

use serde::Serialize;
use serde_json::{Value, json};

use super::Encoder;
use crate::format::responses::SIGNED;
use crate::format::responses::answer::{Content, Item, Kind, Summary, annotation_of};
use crate::format::translation::Events;

/// Where something stands, with what stands there.
#[derive(Serialize)]
struct At<'a, B> {
    item_id: &'a str,
    output_index: usize,
    #[serde(flatten)]
    body: B,
}

#[derive(Serialize)]
struct TextDelta<'a> {
    content_index: usize,
    delta: &'a str,
    logprobs: &'a [Value],
}

#[derive(Serialize)]
struct RefusalDelta<'a> {
    content_index: usize,
    delta: &'a str,
}

#[derive(Serialize)]
struct SummaryDelta<'a> {
    summary_index: usize,
    delta: &'a str,
}

#[derive(Serialize)]
struct ArgumentsDelta<'a> {
    delta: &'a str,
}

#[derive(Serialize)]
struct ItemOut<'a> {
    output_index: usize,
    item: &'a Item,
}

#[derive(Serialize)]
struct PartOut<'a> {
    content_index: usize,
    part: &'a Content,
}

/// What is said, in items.
impl Encoder {
    pub(super) fn text(&mut self, delta: &str, logprobs: &[Value], events: &mut Events) {
        let at = self.message(events);
        let content_index = self.part(at, true, events);
        if let Some(Content::OutputText { text, logprobs: all, .. }) = self.last_part(at) {
            text.push_str(delta);
            all.extend_from_slice(logprobs);
        }
        let body = TextDelta { content_index, delta, logprobs };
        self.send_at("response.output_text.delta", at, body, events);
    }

    /// Adds how likely the tokens of the open text were. Where none is open,
    /// they are of a call, and have no place.
    pub(super) fn weigh(&mut self, logprobs: &Value, events: &mut Events) {
        let list = logprobs.get("content").and_then(Value::as_array);
        let open = self.open.and_then(|at| self.last_part(at));
        if let (Some(list), Some(Content::OutputText { .. })) = (list, open)
            && !list.is_empty()
        {
            self.text("", list, events);
        }
    }

    pub(super) fn refuse(&mut self, delta: &str, events: &mut Events) {
        let at = self.message(events);
        let content_index = self.part(at, false, events);
        if let Some(Content::Refusal { refusal }) = self.last_part(at) {
            refusal.push_str(delta);
        }
        let body = RefusalDelta { content_index, delta };
        self.send_at("response.refusal.delta", at, body, events);
    }

    /// Where the text is from that came since the last source of another.
    pub(super) fn cite(&mut self, citation: &Value, events: &mut Events) {
        if annotation_of(citation, (0, 0)).is_none() {
            return;
        }
        let at = self.message(events);
        let content_index = self.part(at, true, events);
        let mut cited = self.cited;
        let Some(Content::OutputText { text, annotations, .. }) = self.last_part(at) else {
            return;
        };
        let end = text.chars().count();
        if end > cited.1 {
            cited = (cited.1, end);
        }
        let Some(annotation) = annotation_of(citation, cited) else { return };
        let body = json!({
            "content_index": content_index,
            "annotation_index": annotations.len(),
            "annotation": annotation,
        });
        annotations.push(annotation);
        self.cited = cited;
        self.send_at("response.output_text.annotation.added", at, body, events);
    }

    pub(super) fn think(&mut self, delta: &str, events: &mut Events) {
        // What is thought behind a proof has a proof of its own.
        if let Some(at) = self.open
            && let Some(Kind::Reasoning { encrypted_content: Some(_), .. }) = self.kind(at)
        {
            self.close(events);
        }
        let at = self.thought(events);
        let Some(Kind::Reasoning { summary, .. }) = self.kind(at) else { return };
        let is_first = summary.is_empty();
        if is_first {
            summary.push(Summary::Text { text: String::new() });
        }
        if let Some(Summary::Text { text }) = summary.last_mut() {
            text.push_str(delta);
        }
        if is_first {
            let part = json!({"summary_index": 0, "part": {"type": "summary_text", "text": ""}});
            self.send_at("response.reasoning_summary_part.added", at, part, events);
        }
        let body = SummaryDelta { summary_index: 0, delta };
        self.send_at("response.reasoning_summary_text.delta", at, body, events);
    }

    pub(super) fn sign(&mut self, signature: &str, events: &mut Events) {
        let at = self.thought(events);
        if let Some(Kind::Reasoning { encrypted_content, .. }) = self.kind(at) {
            let proof = encrypted_content.get_or_insert_with(|| SIGNED.to_owned());
            proof.push_str(signature);
        }
    }

    pub(super) fn redact(&mut self, data: &str, events: &mut Events) {
        self.close(events);
        let encrypted_content = Some(data.to_owned());
        let kind = Kind::Reasoning { summary: Vec::new(), encrypted_content };
        self.open = Some(self.add("rs", kind, events));
        self.close(events);
    }

    pub(super) fn call(
        &mut self,
        (id, name): (&str, &str),
        signature: Option<&str>,
        events: &mut Events,
    ) {
        self.close(events);
        self.begin(events);
        // SDKs tell calls apart by their ids, and so do the results.
        let is_known =
            self.calls.iter().filter_map(|call| self.items.get(*call)).any(
                |item| matches!(&item.kind, Kind::FunctionCall { call_id, .. } if call_id == id),
            );
        let call_id = match id.is_empty() || is_known {
            true => format!("call_{}_{}", self.base, self.items.len()),
            false => id.to_owned(),
        };
        let (name, arguments) = (name.to_owned(), String::new());
        let extra_content =
            signature.map(|signature| json!({"google": {"thought_signature": signature}}));
        let kind = Kind::FunctionCall { call_id, name, arguments, extra_content };
        let at = self.add("fc", kind, events);
        self.calls.push(at);
    }

    pub(super) fn arguments(&mut self, index: usize, delta: &str, events: &mut Events) {
        let Some(at) = self.calls.get(index).copied().filter(|_| !delta.is_empty()) else {
            return;
        };
        if let Some(Kind::FunctionCall { arguments, .. }) = self.kind(at) {
            arguments.push_str(delta);
        }
        let name = "response.function_call_arguments.delta";
        self.send_at(name, at, ArgumentsDelta { delta }, events);
    }

    fn kind(&mut self, at: usize) -> Option<&mut Kind> {
        self.items.get_mut(at).map(|item| &mut item.kind)
    }

    fn last_part(&mut self, at: usize) -> Option<&mut Content> {
        match self.kind(at)? {
            Kind::Message { content, .. } => content.last_mut(),
            _ => None,
        }
    }

    /// The message that is open, or a new one.
    fn message(&mut self, events: &mut Events) -> usize {
        if let Some(at) = self.open
            && let Some(Kind::Message { .. }) = self.kind(at)
        {
            return at;
        }
        self.close(events);
        let kind = Kind::Message { role: "assistant", content: Vec::new() };
        let at = self.add("msg", kind, events);
        self.open = Some(at);
        at
    }

    /// The thought that is open, or a new one.
    fn thought(&mut self, events: &mut Events) -> usize {
        if let Some(at) = self.open
            && let Some(Kind::Reasoning { .. }) = self.kind(at)
        {
            return at;
        }
        self.close(events);
        let kind = Kind::Reasoning { summary: Vec::new(), encrypted_content: None };
        let at = self.add("rs", kind, events);
        self.open = Some(at);
        at
    }

    /// The part of a message that is open, where it is of this kind, or a
    /// new one.
    fn part(&mut self, at: usize, wants_text: bool, events: &mut Events) -> usize {
        let fits = self
            .last_part(at)
            .is_some_and(|part| matches!(part, Content::OutputText { .. }) == wants_text);
        if !fits {
            self.end_part(at, events);
            self.cited = (0, 0);
        }
        let Some(Item { id, kind: Kind::Message { content, .. }, .. }) = self.items.get_mut(at)
        else {
            return 0;
        };
        if fits {
            return content.len().saturating_sub(1);
        }
        let part = match wants_text {
            true => Content::OutputText {
                text: String::new(),
                annotations: Vec::new(),
                logprobs: Vec::new(),
            },
            false => Content::Refusal { refusal: String::new() },
        };
        let content_index = content.len();
        let body = PartOut { content_index, part: &part };
        let body = At { item_id: id, output_index: at, body };
        self.sender.send("response.content_part.added", body, events);
        content.push(part);
        content_index
    }

    fn add(&mut self, prefix: &str, kind: Kind, events: &mut Events) -> usize {
        self.begin(events);
        let output_index = self.items.len();
        let id = format!("{prefix}_{}_{output_index}", self.base);
        let item = Item { id, kind, status: "in_progress" };
        let body = ItemOut { output_index, item: &item };
        self.sender.send("response.output_item.added", body, events);
        self.items.push(item);
        output_index
    }

    fn send_at(&mut self, name: &'static str, at: usize, body: impl Serialize, out: &mut Events) {
        if let Some(item) = self.items.get(at) {
            self.sender.send(name, At { item_id: &item.id, output_index: at, body }, out);
        }
    }
}

/// What ends.
impl Encoder {
    /// Ends the message or the thought that is open.
    fn close(&mut self, events: &mut Events) {
        if let Some(at) = self.open.take() {
            self.end_item(at, "completed", events);
        }
    }

    /// Ends all items; where the answer is not complete, it is the last one
    /// that is not.
    pub(super) fn end_items(&mut self, is_complete: bool, events: &mut Events) {
        let mut open: Vec<_> = self.calls.drain(..).chain(self.open.take()).collect();
        open.sort_unstable();
        for at in open {
            let is_last = at + 1 == self.items.len();
            let status = if is_last && !is_complete { "incomplete" } else { "completed" };
            self.end_item(at, status, events);
        }
    }

    fn end_item(&mut self, at: usize, status: &'static str, events: &mut Events) {
        self.end_part(at, events);
        let Self { sender, items, .. } = self;
        let Some(item) = items.get_mut(at) else { return };
        item.status = status;
        match &mut item.kind {
            Kind::Message { .. } => {}
            Kind::Reasoning { summary, .. } => {
                if let Some(Summary::Text { text }) = summary.first() {
                    let body = json!({"summary_index": 0, "text": text});
                    let body = At { item_id: &item.id, output_index: at, body };
                    sender.send("response.reasoning_summary_text.done", body, events);
                    let part = json!({"type": "summary_text", "text": text});
                    let body = json!({"summary_index": 0, "part": part});
                    let body = At { item_id: &item.id, output_index: at, body };
                    sender.send("response.reasoning_summary_part.done", body, events);
                }
            }
            Kind::FunctionCall { arguments, name, .. } => {
                // A call without arguments is one with none of them.
                if arguments.is_empty() && status == "completed" {
                    arguments.push_str("{}");
                    let body = ArgumentsDelta { delta: arguments };
                    let body = At { item_id: &item.id, output_index: at, body };
                    sender.send("response.function_call_arguments.delta", body, events);
                }
                let body = json!({"name": name, "arguments": arguments});
                let body = At { item_id: &item.id, output_index: at, body };
                sender.send("response.function_call_arguments.done", body, events);
            }
        }
        sender.send("response.output_item.done", ItemOut { output_index: at, item }, events);
    }

    /// Ends the part of a message that is open.
    fn end_part(&mut self, at: usize, events: &mut Events) {
        let Self { sender, items, .. } = self;
        let Some(Item { id, kind: Kind::Message { content, .. }, .. }) = items.get(at) else {
            return;
        };
        let Some(part) = content.last() else { return };
        let content_index = content.len() - 1;
        let (name, body) = match part {
            Content::OutputText { text, logprobs, .. } => (
                "response.output_text.done",
                json!({"content_index": content_index, "text": text, "logprobs": logprobs}),
            ),
            Content::Refusal { refusal } => (
                "response.refusal.done",
                json!({"content_index": content_index, "refusal": refusal}),
            ),
        };
        sender.send(name, At { item_id: id, output_index: at, body }, events);
        let body = PartOut { content_index, part };
        let body = At { item_id: id, output_index: at, body };
        sender.send("response.content_part.done", body, events);
    }
}
