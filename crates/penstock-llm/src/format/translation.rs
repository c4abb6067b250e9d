//! An answer on its way from the format of a provider to that of a client.
//!
//! What was asked for decides the client's side, and what came the
//! provider's: a provider that answers a stream as a whole, or the reverse,
//! is understood all the same. A stream for a stream is translated event by
//! event ([`Streaming`]); everything else is put together first
//! ([`Translation::whole`]).

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Serialize;

use super::answer::{Answer, Collector, Delta, Emit, Fault};
use super::{anthropic, bedrock, gemini, openai, responses};
use crate::error::LlmError;
use crate::sse::{SseDecoder, SseEvent};
use crate::stage::{BodyStage, Output, Piece, Step};

/// Events on their way to the client.
#[derive(Debug, Default)]
pub struct Events(Vec<Piece>);

impl Events {
    /// Adds an event of this name and data, which is one line.
    pub fn push(&mut self, name: Option<&'static str>, data: &[u8]) {
        self.write(name, data.len(), |raw| raw.extend_from_slice(data));
    }

    /// Adds an event whose data is JSON.
    pub(super) fn push_json(&mut self, name: Option<&'static str>, data: &impl Serialize) {
        self.write(name, 256, |raw| {
            // Into memory, and of types that are all JSON: it cannot fail.
            let _ = serde_json::to_writer(raw, data);
        });
    }

    /// Adds text, and JSON behind it, of an answer that is no event stream.
    pub(super) fn push_raw(&mut self, before: &str, data: &impl Serialize) {
        let mut raw = Vec::with_capacity(before.len() + 256);
        raw.extend_from_slice(before.as_bytes());
        let _ = serde_json::to_writer(&mut raw, data);
        self.0.push(Piece { raw: raw.into(), event: None });
    }

    /// Adds text of an answer that is no event stream.
    pub(super) fn push_text(&mut self, text: &'static str) {
        self.0.push(Piece { raw: Bytes::from_static(text.as_bytes()), event: None });
    }

    fn write(&mut self, name: Option<&'static str>, room: usize, fill: impl FnOnce(&mut Vec<u8>)) {
        let mut raw = Vec::with_capacity(room + 64);
        if let Some(name) = name {
            raw.extend_from_slice(b"event: ");
            raw.extend_from_slice(name.as_bytes());
            raw.push(b'\n');
        }
        raw.extend_from_slice(b"data: ");
        let start = raw.len();
        fill(&mut raw);
        let end = raw.len();
        raw.extend_from_slice(b"\n\n");
        let raw = Bytes::from(raw);
        let event = SseEvent {
            event: name.map(|name| Bytes::from_static(name.as_bytes())),
            data: raw.slice(start..end),
            id: None,
            is_terminated: true,
        };
        self.0.push(Piece { raw, event: Some(event) });
    }
}

/// What reads a provider's answer.
pub enum Reader {
    /// OpenAI's Chat Completions.
    OpenAi(openai::Decoder),
    /// Anthropic's Messages.
    Anthropic(anthropic::Decoder),
    /// Google's `generateContent`.
    Gemini(gemini::Decoder),
    /// OpenAI's Responses.
    Responses(responses::Decoder),
    /// Bedrock's Converse, whose streams are no server-sent events: their
    /// pieces have none.
    Bedrock(bedrock::Decoder),
}

impl Reader {
    fn answer(&self, body: &[u8]) -> Result<Answer, LlmError> {
        match self {
            Self::OpenAi(_) => openai::read_answer(body),
            Self::Anthropic(_) => anthropic::read_answer(body),
            Self::Gemini(_) => gemini::read_answer(body),
            Self::Responses(_) => responses::read_answer(body),
            Self::Bedrock(decoder) => bedrock::read_answer(body).map(|a| decoder.named(a)),
        }
    }

    fn event(&mut self, event: &SseEvent, emit: Emit<'_>) -> Result<(), LlmError> {
        let data = std::str::from_utf8(&event.data).map_err(|_| LlmError::InvalidResponse)?;
        match self {
            Self::OpenAi(decoder) => decoder.push(data, emit),
            Self::Anthropic(decoder) => decoder.push(data, emit),
            Self::Gemini(decoder) => decoder.push(data, emit),
            Self::Responses(decoder) => decoder.push(data, emit),
            Self::Bedrock(_) => Err(LlmError::InvalidResponse),
        }
    }

    /// Takes a piece of a stream. `None` if it says nothing, as a comment.
    fn piece(&mut self, piece: &Piece, emit: Emit<'_>) -> Option<Result<(), LlmError>> {
        match (self, &piece.event) {
            (Self::Bedrock(decoder), None) => Some(decoder.push(piece.raw.clone(), emit)),
            (_, None) => None,
            (reader, Some(event)) => Some(reader.event(event, emit)),
        }
    }

    /// The stream has ended.
    fn finish(&mut self) -> Result<(), LlmError> {
        match self {
            Self::Bedrock(decoder) => decoder.finish(),
            _ => Ok(()),
        }
    }
}

/// What writes an answer for a client.
pub enum Writer {
    /// OpenAI's Chat Completions.
    OpenAi(openai::Encoder),
    /// Anthropic's Messages.
    Anthropic(anthropic::Encoder),
    /// Google's `generateContent`.
    Gemini(gemini::Encoder),
    /// OpenAI's Responses.
    Responses(Box<responses::Encoder>),
}

impl Writer {
    fn answer(&self, answer: Answer, now: u64) -> Vec<u8> {
        let value = match self {
            Self::OpenAi(_) => openai::write_answer(answer, now),
            Self::Anthropic(_) => anthropic::write_answer(answer),
            Self::Gemini(encoder) => gemini::write_answer(answer, encoder.shows_thoughts()),
            Self::Responses(encoder) => responses::write_answer(&answer, encoder.echo(), now),
        };
        value.to_string().into_bytes()
    }

    fn push(&mut self, choice: usize, delta: Delta<'_>, events: &mut Events) {
        match self {
            Self::OpenAi(encoder) => encoder.push(choice, delta, events),
            Self::Anthropic(encoder) => encoder.push(choice, delta, events),
            Self::Gemini(encoder) => encoder.push(choice, delta, events),
            Self::Responses(encoder) => encoder.push(choice, delta, events),
        }
    }

    fn finish(&mut self, events: &mut Events) {
        match self {
            Self::OpenAi(encoder) => encoder.finish(events),
            Self::Anthropic(encoder) => encoder.finish(events),
            Self::Gemini(encoder) => encoder.finish(events),
            Self::Responses(encoder) => encoder.finish(events),
        }
    }

    /// Whether a stream is written as events.
    fn writes_events(&self) -> bool {
        !matches!(self, Self::Gemini(encoder) if encoder.form() == gemini::Form::Array)
    }
}

/// How one answer is translated.
pub struct Translation {
    /// What reads the provider's answer.
    pub reader: Reader,
    /// What writes it for the client.
    pub writer: Writer,
    /// When the answer began, in seconds since 1970.
    pub now: u64,
    /// Whether the provider answers with a stream.
    pub from_stream: bool,
    /// Whether the client wants a stream.
    pub to_stream: bool,
}

impl Translation {
    /// The whole body for the client out of the provider's whole body.
    ///
    /// # Errors
    /// It is no answer, or says that the provider failed.
    pub fn whole(mut self, body: Bytes) -> Result<Bytes, LlmError> {
        let answer = match self.from_stream {
            true => self.collect(body)?,
            false => self.reader.answer(&body)?,
        };
        if !self.to_stream {
            return Ok(self.writer.answer(answer, self.now).into());
        }
        let mut events = Events::default();
        answer.stream(&mut |choice, delta| self.writer.push(choice, delta, &mut events));
        self.writer.finish(&mut events);
        let raws: Vec<_> = events.0.into_iter().map(|piece| piece.raw).collect();
        Ok(raws.concat().into())
    }

    fn collect(&mut self, body: Bytes) -> Result<Answer, LlmError> {
        let mut pieces = Vec::new();
        if matches!(self.reader, Reader::Bedrock(_)) {
            pieces.push(Piece { raw: body, event: None });
        } else {
            let mut decoder = SseDecoder::new();
            decoder.push(body, &mut pieces)?;
            pieces.extend(decoder.finish());
        }
        let mut collector = Collector::default();
        for piece in &pieces {
            let taken = self.reader.piece(piece, &mut |at, delta| collector.push(at, delta));
            taken.unwrap_or(Ok(()))?;
        }
        self.reader.finish()?;
        collector.finish().map_err(|_| LlmError::InvalidResponse)
    }

    /// Says in the head what the client gets.
    pub fn head(&self, headers: &mut HeaderMap) {
        let is_events = self.to_stream && self.writer.writes_events();
        let kind = if is_events { "text/event-stream" } else { "application/json" };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
}

/// Translates a stream event by event.
pub struct Streaming {
    reader: Reader,
    writer: Writer,
    has_failed: bool,
}

impl Streaming {
    /// The stage of a translation.
    pub fn new(translation: Translation) -> Self {
        let Translation { reader, writer, .. } = translation;
        Self { reader, writer, has_failed: false }
    }

    /// The client shall learn in its own format that the rest is no good.
    fn fail(&mut self, events: &mut Events) {
        let fault = Fault { kind: "api_error", message: "the provider's stream is not valid" };
        self.has_failed = true;
        self.writer.push(0, Delta::Failed(fault), events);
    }
}

impl BodyStage for Streaming {
    fn push(&mut self, piece: Piece, output: &mut Output) -> Result<Step, LlmError> {
        if self.has_failed {
            return Ok(Step::More);
        }
        let Self { reader, writer, has_failed } = self;
        let mut events = Events::default();
        let taken = reader.piece(&piece, &mut |choice, delta| {
            *has_failed |= matches!(delta, Delta::Failed(_));
            writer.push(choice, delta, &mut events);
        });
        match taken {
            // A comment, which keeps the client's connection alive, too.
            None if self.writer.writes_events() => output.push(piece),
            None => {}
            Some(Err(_)) if !self.has_failed => self.fail(&mut events),
            Some(_) => {}
        }
        output.pieces.append(&mut events.0);
        Ok(Step::More)
    }

    fn finish(&mut self, output: &mut Output) -> Result<Step, LlmError> {
        if self.has_failed {
            return Ok(Step::More);
        }
        let mut events = Events::default();
        match self.reader.finish() {
            Ok(()) => self.writer.finish(&mut events),
            Err(_) => self.fail(&mut events),
        }
        output.pieces.append(&mut events.0);
        Ok(Step::More)
    }
}
