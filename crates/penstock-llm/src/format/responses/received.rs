//! A response as OpenAI sends it, whole or as a stream.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::LlmError;
use crate::format::answer::{Answer, Choice, Delta, Emit, Fault, Finish, Tokens};
use crate::format::chat::{Part, Text, Thought, ToolCall};
use crate::format::object::Borrowed;

/// Reads a response.
///
/// # Errors
/// It is none, or one that failed.
pub fn read_answer(body: &[u8]) -> Result<Answer, LlmError> {
    let mut body: Value = serde_json::from_slice(body).map_err(|_| LlmError::InvalidResponse)?;
    if text(&body, "status") == "failed" {
        return Err(LlmError::InvalidResponse);
    }
    let Some(Value::Array(items)) = body.get_mut("output").map(Value::take) else {
        return Err(LlmError::InvalidResponse);
    };
    let (mut parts, mut logprobs) = (Vec::new(), Vec::new());
    for item in &items {
        read_item(item, &mut parts, &mut logprobs);
    }
    let has_calls = parts.iter().any(|part| matches!(part, Part::ToolCall(_)));
    let logprobs = (!logprobs.is_empty()).then(|| json!({"content": logprobs}));
    let finish = Some(finish_of(&body, has_calls));
    let tier = body.get("service_tier").filter(|tier| !tier.is_null());
    Ok(Answer {
        id: text(&body, "id").to_owned(),
        model: text(&body, "model").to_owned(),
        created: created_of(&body),
        choices: vec![Choice { parts, finish, logprobs }],
        tokens: tokens_of(&body),
        more: tier.map(|tier| ("service_tier".to_owned(), tier.clone())).into_iter().collect(),
    })
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn read_item(item: &Value, parts: &mut Vec<Part>, logprobs: &mut Vec<Value>) {
    match text(item, "type") {
        "message" => {
            for part in list(item, "content") {
                match text(part, "type") {
                    "output_text" => {
                        let citations: Vec<_> =
                            list(part, "annotations").filter_map(citation_of).collect();
                        logprobs.extend(list(part, "logprobs").cloned());
                        parts.push(Part::Text(Text {
                            text: text(part, "text").to_owned(),
                            cache: None,
                            citations: (!citations.is_empty()).then(|| citations.into()),
                        }));
                    }
                    "refusal" => parts.push(Part::Refusal(text(part, "refusal").to_owned())),
                    _ => {}
                }
            }
        }
        "reasoning" => {
            let texts: Vec<_> = list(item, "content").map(|part| text(part, "text")).collect();
            let summary: Vec<_> = list(item, "summary").map(|part| text(part, "text")).collect();
            let texts = if texts.is_empty() { summary } else { texts };
            let (text_of, redacted) = (texts.join("\n\n"), text(item, "encrypted_content"));
            // Apart, as in a stream: others have no word for both in one.
            if !text_of.is_empty() {
                parts.push(Part::Reasoning(Thought { text: text_of, ..Thought::default() }));
            }
            if !redacted.is_empty() {
                let redacted = Some(redacted.to_owned());
                parts.push(Part::Reasoning(Thought { redacted, ..Thought::default() }));
            }
        }
        "function_call" => parts.push(Part::ToolCall(ToolCall {
            id: text(item, "call_id").to_owned(),
            name: text(item, "name").to_owned(),
            arguments: text(item, "arguments").to_owned(),
            ..ToolCall::default()
        })),
        // What OpenAI's own tools did; their outcome is in the messages.
        _ => {}
    }
}

/// OpenAI's `url_citation` as Anthropic has it.
fn citation_of(annotation: &Value) -> Option<Value> {
    let (url, title) = (annotation.get("url")?, annotation.get("title"));
    let kind = "web_search_result_location";
    Some(json!({"type": kind, "url": url, "title": title, "cited_text": ""}))
}

fn created_of(response: &Value) -> Option<u64> {
    let created = response.get("created_at")?;
    // Some servers write a fraction.
    created.as_u64().or_else(|| created.as_f64().map(|seconds| seconds as u64))
}

fn finish_of(response: &Value, has_calls: bool) -> Finish {
    let reason = response.pointer("/incomplete_details/reason").and_then(Value::as_str);
    match reason {
        Some("max_output_tokens") => Finish::Length,
        Some("content_filter") => Finish::ContentFilter,
        Some(other) => Finish::Other(other.to_owned()),
        None if has_calls => Finish::ToolCalls,
        None => Finish::Stop,
    }
}

fn tokens_of(response: &Value) -> Option<Tokens> {
    let usage = response.get("usage").filter(|usage| usage.is_object())?;
    let count = |path: &str| usage.pointer(path).and_then(Value::as_u64);
    let (input, output) = (count("/input_tokens"), count("/output_tokens"));
    let (input, output) = (input.unwrap_or(0), output.unwrap_or(0));
    let sum = input.saturating_add(output);
    Some(Tokens {
        input,
        output,
        cache_read: count("/input_tokens_details/cached_tokens"),
        cache_write: count("/input_tokens_details/cache_write_tokens").filter(|n| *n > 0),
        reasoning: count("/output_tokens_details/reasoning_tokens"),
        total: count("/total_tokens").filter(|total| *total != 0 && *total != sum),
    })
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow)]
    r#type: Borrowed<'a>,
}

#[derive(Deserialize)]
struct Piece<'a> {
    #[serde(default, borrow)]
    delta: Borrowed<'a>,
    #[serde(default)]
    output_index: usize,
    #[serde(default)]
    logprobs: Option<Vec<Value>>,
}

/// Reads the events of a stream.
#[derive(Debug, Default)]
pub struct Decoder {
    has_begun: bool,
    /// The calls so far: where each stands, and whether it has arguments.
    calls: Vec<(usize, bool)>,
}

/// The most calls that are told apart.
const CALLS_MAX: usize = 128;

impl Decoder {
    /// Takes the data of an event.
    ///
    /// # Errors
    /// It is no event of such a stream.
    pub fn push(&mut self, data: &str, emit: Emit<'_>) -> Result<(), LlmError> {
        if data == "[DONE]" {
            return Ok(());
        }
        let Kind { r#type } = parse(data)?;
        match &*r#type.0 {
            "response.output_text.delta" => {
                let Piece { delta, logprobs, .. } = parse(data)?;
                emit(0, Delta::Text(&delta.0));
                if let Some(logprobs) = logprobs.filter(|logprobs| !logprobs.is_empty()) {
                    emit(0, Delta::Logprobs(&json!({"content": logprobs})));
                }
            }
            "response.refusal.delta" => emit(0, Delta::Refusal(&parse::<Piece<'_>>(data)?.delta.0)),
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                emit(0, Delta::Reasoning(&parse::<Piece<'_>>(data)?.delta.0));
            }
            "response.function_call_arguments.delta" => {
                let piece: Piece<'_> = parse(data)?;
                self.arguments(piece.output_index, &piece.delta.0, emit);
            }
            "response.created"
            | "response.in_progress"
            | "response.reasoning_summary_part.added"
            | "response.output_text.annotation.added"
            | "response.output_item.added"
            | "response.output_item.done"
            | "response.completed"
            | "response.incomplete"
            | "response.failed"
            | "error" => self.rare(&r#type.0, &parse(data)?, emit),
            _ => {}
        }
        Ok(())
    }

    fn rare(&mut self, kind: &str, event: &Value, emit: Emit<'_>) {
        let none = Value::Object(Map::new());
        let member = |key: &str| event.get(key).unwrap_or(&none);
        let (response, item) = (member("response"), member("item"));
        match kind {
            "response.created" | "response.in_progress" => {
                if !std::mem::replace(&mut self.has_begun, true) {
                    let (id, model) = (text(response, "id"), text(response, "model"));
                    emit(
                        0,
                        Delta::Start { id, model, created: created_of(response), tokens: None },
                    );
                }
            }
            "response.reasoning_summary_part.added" => {
                if event.get("summary_index").and_then(Value::as_u64).is_some_and(|at| at > 0) {
                    emit(0, Delta::Reasoning("\n\n"));
                }
            }
            "response.output_text.annotation.added" => {
                if let Some(citation) = citation_of(member("annotation")) {
                    emit(0, Delta::Citation(&citation));
                }
            }
            "response.output_item.added" | "response.output_item.done" => {
                let at = event.get("output_index").and_then(Value::as_u64).unwrap_or(0);
                self.item(usize::try_from(at).unwrap_or(usize::MAX), item, kind, emit);
            }
            "response.completed" | "response.incomplete" => {
                if let Some(tokens) = tokens_of(response) {
                    emit(0, Delta::Tokens(tokens));
                }
                emit(0, Delta::Finish(finish_of(response, !self.calls.is_empty())));
            }
            _ => {
                let error = match kind {
                    "response.failed" => response.get("error").unwrap_or(&none),
                    _ => event.get("error").filter(|error| error.is_object()).unwrap_or(event),
                };
                let fault = Fault { kind: text(error, "code"), message: text(error, "message") };
                emit(0, Delta::Failed(fault));
            }
        }
    }

    fn item(&mut self, at: usize, item: &Value, kind: &str, emit: Emit<'_>) {
        let is_done = kind == "response.output_item.done";
        match text(item, "type") {
            "function_call" => {
                let is_known = self.calls.iter().any(|(known, _)| *known == at);
                if !is_known && self.calls.len() < CALLS_MAX {
                    let index = self.calls.len();
                    self.calls.push((at, false));
                    let (id, name) = (text(item, "call_id"), text(item, "name"));
                    emit(0, Delta::ToolCall { index, id, name, signature: None });
                }
                let has_arguments = self.calls.iter().any(|(known, has)| *known == at && *has);
                // Some servers send them only at the end.
                if is_done && !has_arguments {
                    self.arguments(at, text(item, "arguments"), emit);
                }
            }
            "reasoning" if is_done => {
                let data = text(item, "encrypted_content");
                if !data.is_empty() {
                    emit(0, Delta::Redacted(data));
                }
            }
            _ => {}
        }
    }

    fn arguments(&mut self, at: usize, json: &str, emit: Emit<'_>) {
        let call = self.calls.iter_mut().enumerate().find(|(_, (known, _))| *known == at);
        if let Some((index, (_, has_arguments))) = call.filter(|_| !json.is_empty()) {
            *has_arguments = true;
            emit(0, Delta::Arguments { index, json });
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, LlmError> {
    serde_json::from_str(data).map_err(|_| LlmError::InvalidResponse)
}
