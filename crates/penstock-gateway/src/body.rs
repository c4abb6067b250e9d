//! Bodies on their way: what goes up to the upstream (`outgoing`), what comes
//! back down through the stages, and the record that is written when it is
//! over.

mod outgoing;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, Method, StatusCode};
use http_body::{Body, Frame, SizeHint};
use penstock_llm::answer::AnswerReader;
use penstock_llm::sse::SseDecoder;
use penstock_llm::stage::{BodyStage, Output, Piece, Step};
use penstock_llm::usage::Reading;

pub use self::outgoing::{OutgoingBody, Progress};
use crate::access_log::AccessRecord;
use crate::gzip::{Compressible, Encoder, Offer, Polled};
use crate::proxy::Ran;
use crate::state::{Live, State};
use crate::upstream::{BodyError, UpstreamBody};

/// Keeps the record of a request and writes it, once, when it is dropped:
/// after the last byte, or when the client has gone.
pub struct Recorder(Box<Recording>);

/// It moves with the request, so it is apart.
struct Recording {
    record: AccessRecord,
    state: Arc<State>,
    /// The configuration that the request runs on.
    live: Option<Arc<Live>>,
    /// The plugins that see the record.
    plugins: Vec<Ran>,
    /// Who sees the answer in passing.
    observers: Vec<Box<dyn Observer>>,
    /// What reads the answer, where somebody wants to know.
    reader: Option<AnswerReader>,
}

/// Sees an answer in passing, as the client gets it, and adds to the record
/// when it is over. It holds nothing back and changes nothing.
pub trait Observer: Send {
    /// The head; whether the texts of the body are wanted.
    fn head(&mut self, status: StatusCode, headers: &HeaderMap, is_stream: bool) -> bool;

    /// A JSON text: a body as a whole, or the data of one event.
    fn see(&mut self, text: &str);

    /// The answer is over, or has broken off.
    fn finish(self: Box<Self>, record: &mut AccessRecord, reading: &Reading);
}

impl Recorder {
    /// Begins a record.
    pub fn new(record: AccessRecord, state: Arc<State>, live: Option<Arc<Live>>) -> Self {
        state.metrics.requests_active.fetch_add(1, Ordering::Relaxed);
        Self(Box::new(Recording {
            record,
            state,
            live,
            plugins: Vec::new(),
            observers: Vec::new(),
            reader: None,
        }))
    }

    /// Adds somebody who wants to see the answer.
    pub fn observe(&mut self, observer: Box<dyn Observer>) {
        self.0.observers.push(observer);
    }

    /// Forgets the observers, which a new pass adds again.
    pub fn forget_observers(&mut self) {
        self.0.observers.clear();
    }

    /// The head of the answer is known; `wants_usage` says whether its tokens
    /// are to be counted.
    pub fn begin_answer(&mut self, status: StatusCode, headers: &HeaderMap, wants_usage: bool) {
        self.0.record.status = Some(status);
        let is_stream = self.0.record.is_stream;
        let mut is_observed = false;
        for observer in &mut self.0.observers {
            is_observed |= observer.head(status, headers, is_stream);
        }
        let is_readable = !headers.contains_key(CONTENT_ENCODING);
        if is_readable && (wants_usage || is_observed) {
            self.0.reader = Some(AnswerReader::new(is_stream, is_observed));
        }
    }

    /// Shows the record to the plugins that saw the request.
    pub(crate) fn show_to(&mut self, plugins: Vec<Ran>) {
        self.0.plugins = plugins;
    }

    /// The client gets these bytes of the body.
    fn sent(&mut self, data: &Bytes) {
        if self.0.record.first_byte.is_none() {
            self.0.record.first_byte = Some(self.0.record.began.elapsed());
        }
        self.0.record.response_bytes += data.len() as u64;
    }

    /// The answer says this, before it is compressed.
    fn read(&mut self, data: &Bytes) {
        if let Some(reader) = &mut self.0.reader {
            reader.push(data, &mut |text| show(&mut self.0.observers, text));
        }
    }
}

fn show(observers: &mut [Box<dyn Observer>], text: &str) {
    observers.iter_mut().for_each(|observer| observer.see(text));
}

impl std::ops::Deref for Recorder {
    type Target = AccessRecord;

    fn deref(&self) -> &AccessRecord {
        &self.0.record
    }
}

impl std::ops::DerefMut for Recorder {
    fn deref_mut(&mut self) -> &mut AccessRecord {
        &mut self.0.record
    }
}

impl Recorder {
    /// Fills in what is only known in the end.
    fn conclude(&mut self) {
        self.0.record.duration = self.0.record.began.elapsed();
        let reading = match self.0.reader.take() {
            Some(reader) => reader.finish(&mut |text| show(&mut self.0.observers, text)),
            None => Reading::default(),
        };
        self.0.record.usage = reading.known_usage();
        for observer in self.0.observers.drain(..) {
            observer.finish(&mut self.0.record, &reading);
        }
    }

    /// What is logged and counted after an answer in these chunks.
    #[cfg(test)]
    pub(crate) fn answer_in_test(
        mut self,
        (status, headers): (StatusCode, &HeaderMap),
        chunks: &[&[u8]],
    ) -> (serde_json::Value, String) {
        self.begin_answer(status, headers, false);
        for chunk in chunks {
            let data = Bytes::copy_from_slice(chunk);
            self.read(&data);
            self.sent(&data);
        }
        self.conclude();
        let mut line = Vec::new();
        self.0.record.write_line(&mut line);
        self.0.state.metrics.add(&self.0.record);
        (serde_json::from_slice(&line).unwrap(), self.0.state.metrics.render())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if self.0.record.status.is_none() && self.0.record.error.is_none() {
            self.0.record.error = Some("client_left");
        }
        self.conclude();
        for Ran { instance, .. } in &self.0.plugins {
            instance.plugin.on_done(&self.0.record);
        }
        self.0.state.metrics.requests_active.fetch_sub(1, Ordering::Relaxed);
        self.0.state.metrics.add(&self.0.record);
        if let Some(log) = &self.0.state.access_log {
            log.append(&self.0.record);
        }
        self.0.live = None;
    }
}

/// The body of an answer on its way to the client.
pub struct ClientBody {
    source: Source,
    /// Absent where somebody else keeps the record.
    recorder: Option<Recorder>,
    /// What compresses it.
    encoder: Option<Box<Encoder>>,
    is_complete: bool,
}

enum Source {
    Whole(Option<Bytes>),
    Upstream(UpstreamBody),
    Staged(Box<Staged>),
}

impl ClientBody {
    /// A body that the gateway wrote.
    pub fn whole(bytes: Bytes, recorder: Recorder) -> Self {
        let source = Source::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()));
        Self { source, recorder: Some(recorder), encoder: None, is_complete: false }
    }

    /// No body, of an answer whose record goes on.
    pub fn none() -> Self {
        Self { source: Source::Whole(None), recorder: None, encoder: None, is_complete: true }
    }

    /// An upstream's body through stages; without stages it passes as it
    /// comes.
    pub fn upstream(
        body: UpstreamBody,
        stages: Vec<Box<dyn BodyStage>>,
        recorder: Recorder,
    ) -> Self {
        let source = match stages.is_empty() {
            true => Source::Upstream(body),
            false => {
                let decoder = recorder.is_stream.then(SseDecoder::new);
                Source::Staged(Box::new(Staged::new(body, stages, decoder)))
            }
        };
        Self { source, recorder: Some(recorder), encoder: None, is_complete: false }
    }

    /// Changes the head of the answer that this is the body of, and
    /// compresses it, where the client takes that.
    pub fn compress(&mut self, offer: &Offer, method: &Method, head: (StatusCode, &mut HeaderMap)) {
        let (status, headers) = head;
        let length = self.size_hint().exact();
        self.encoder = offer.take(Compressible { method, status, headers, length });
    }
}

impl Source {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        match self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Upstream(body) => Pin::new(body).poll_frame(cx),
            Self::Staged(staged) => staged.poll_frame(cx),
        }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let mut read = || {
            let polled = this.source.poll_frame(cx);
            if let (Poll::Ready(Some(Ok(frame))), Some(recorder)) = (&polled, &mut this.recorder)
                && let Some(data) = frame.data_ref()
            {
                recorder.read(data);
            }
            polled
        };
        let frame = match &mut this.encoder {
            None => ready!(read()),
            Some(encoder) => ready!(encoder.poll_frame(read)),
        };
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(data), Some(recorder)) = (frame.data_ref(), &mut this.recorder) {
                    recorder.sent(data);
                }
                // Nothing comes behind trailers, and nobody asks.
                this.is_complete |= frame.is_trailers();
            }
            Some(Err(error)) => {
                if let Some(recorder) = &mut this.recorder {
                    recorder.error = Some(error.as_str());
                    recorder.cause = Some(error.to_string());
                }
                this.is_complete = true;
            }
            None => this.is_complete = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        if let Some(encoder) = &self.encoder {
            return encoder.is_over();
        }
        match &self.source {
            Source::Whole(bytes) => bytes.is_none(),
            Source::Upstream(body) => body.is_end_stream(),
            Source::Staged(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        if self.encoder.is_some() {
            return SizeHint::default();
        }
        match &self.source {
            Source::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Source::Upstream(body) => body.size_hint(),
            Source::Staged(_) => SizeHint::default(),
        }
    }
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        let is_cut = !self.is_complete && !self.is_end_stream();
        if let Some(recorder) = &mut self.recorder
            && is_cut
            && recorder.error.is_none()
        {
            recorder.error = Some("client_left");
        }
    }
}

/// A body that passes through stages.
struct Staged {
    body: UpstreamBody,
    stages: Vec<Box<dyn BodyStage>>,
    /// Splits an event stream; absent for other bodies.
    decoder: Option<SseDecoder>,
    ready: VecDeque<Bytes>,
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    is_finished: bool,
}

impl Staged {
    fn new(
        body: UpstreamBody,
        stages: Vec<Box<dyn BodyStage>>,
        decoder: Option<SseDecoder>,
    ) -> Self {
        Self { body, stages, decoder, ready: VecDeque::new(), waiting: None, is_finished: false }
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                ready!(waiting.as_mut().poll(cx));
                self.waiting = None;
            }
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if self.is_finished {
                return Poll::Ready(None);
            }
            let advanced = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.push(data),
                    // Trailers of a body that was rewritten would not fit.
                    Err(_) => Ok(()),
                },
                Some(Err(error)) => Err(error),
                None => self.finish(),
            };
            if let Err(error) = advanced {
                self.is_finished = true;
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    fn push(&mut self, data: Bytes) -> Result<(), BodyError> {
        let mut pieces = Vec::new();
        match &mut self.decoder {
            Some(decoder) => decoder.push(data, &mut pieces)?,
            None => pieces.push(Piece { raw: data, event: None }),
        }
        self.run(pieces)
    }

    fn finish(&mut self) -> Result<(), BodyError> {
        if let Some(rest) = self.decoder.as_mut().and_then(SseDecoder::finish) {
            self.run(vec![rest])?;
        }
        for index in 0..self.stages.len() {
            let mut output = Output::default();
            if let Some(stage) = self.stages.get_mut(index) {
                stage.finish(&mut output)?;
            }
            self.run_from(index + 1, output.pieces)?;
        }
        self.is_finished = true;
        Ok(())
    }

    fn run(&mut self, pieces: Vec<Piece>) -> Result<(), BodyError> {
        self.run_from(0, pieces)
    }

    fn run_from(&mut self, first: usize, mut pieces: Vec<Piece>) -> Result<(), BodyError> {
        for stage in self.stages.iter_mut().skip(first) {
            let mut output = Output::default();
            for piece in pieces {
                match stage.push(piece, &mut output)? {
                    Step::More => {}
                    Step::Wait(future) => self.waiting = Some(future),
                    Step::Stop => self.is_finished = true,
                }
            }
            pieces = output.pieces;
        }
        self.ready.extend(pieces.into_iter().map(|piece| piece.raw).filter(|raw| !raw.is_empty()));
        Ok(())
    }
}
