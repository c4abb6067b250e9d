//! Answers that are compressed on their way to the client, as Envoy's
//! compressor with gzip does (envoy.filters.http.compressor, which Higress
//! puts in front of all plugins: configmap/gzip.go).
//!
//! What the gateway itself wants to know of an answer is read before. Nothing
//! is held back: whenever the upstream has no more to give for now, all that
//! came can be read by the client. A stream holds zlib's state and one piece.

use std::sync::Arc;
use std::task::Poll;

use bytes::{Buf, Bytes};
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, HeaderName, HeaderValue, VARY,
};
use http::{HeaderMap, Method, StatusCode};
use http_body::Frame;
use penstock_manifest::kind::higress_config as manifest;
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Status, Strategy};

use crate::upstream::BodyError;

const GZIP: HeaderValue = HeaderValue::from_static("gzip");
/// What zlib adds to the bits of the window for the framing of gzip.
const GZIP_FRAMING: i32 = 16;

/// With room for six bytes or less zlib repeats the mark of a flush for ever.
const CHUNK_BYTES_MIN: usize = 16;

/// How answers are compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gzip {
    length_min: u64,
    content_types: Vec<Box<str>>,
    spares_tagged: bool,
    chunk_bytes: usize,
    config: DeflateConfig,
}

impl From<manifest::Gzip> for Gzip {
    fn from(gzip: manifest::Gzip) -> Self {
        let strategy = match gzip.strategy {
            manifest::Strategy::Default => Strategy::Default,
            manifest::Strategy::Filtered => Strategy::Filtered,
            manifest::Strategy::Fixed => Strategy::Fixed,
            manifest::Strategy::HuffmanOnly => Strategy::HuffmanOnly,
            manifest::Strategy::Rle => Strategy::Rle,
        };
        // zlib-rs panics on what is beyond; the manifest's reader lets
        // nothing pass that is.
        let config = DeflateConfig {
            level: i32::from(gzip.level.clamp(1, 9)),
            window_bits: GZIP_FRAMING + i32::from(gzip.window_bits.clamp(9, 15)),
            mem_level: i32::from(gzip.memory_level.clamp(1, 9)),
            strategy,
            ..DeflateConfig::default()
        };
        Self {
            length_min: gzip.min_content_length.into(),
            content_types: gzip.content_types,
            spares_tagged: gzip.disable_on_etag_header,
            chunk_bytes: usize::try_from(gzip.chunk_bytes)
                .unwrap_or(usize::MAX)
                .max(CHUNK_BYTES_MIN),
            config,
        }
    }
}

/// What an answer to one request may be compressed with.
pub struct Offer {
    gzip: Arc<Gzip>,
    is_accepted: bool,
}

/// The head of an answer that may be compressed.
pub struct Compressible<'a> {
    /// The method of the request.
    pub method: &'a Method,
    /// The status.
    pub status: StatusCode,
    /// The headers, which are changed where the body is.
    pub headers: &'a mut HeaderMap,
    /// The length of the body, where it is known.
    pub length: Option<u64>,
}

impl Offer {
    /// Looks at what the client sent; plugins may change it later on.
    pub fn new(gzip: &Arc<Gzip>, request: &HeaderMap) -> Self {
        Self { gzip: gzip.clone(), is_accepted: accepts(request) }
    }

    /// Changes the head of an answer, and gives what encodes its body, where
    /// it is to be compressed.
    pub fn take(&self, answer: Compressible<'_>) -> Option<Box<Encoder>> {
        let Compressible { method, status, headers, length } = answer;
        let has_no_body = method == Method::HEAD
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let length = length.filter(|_| !has_no_body);
        if !self.gzip.is_compressible(status, headers, length) {
            return None;
        }
        // Also where this client gets it as it is: a cache in front must know
        // that another may not.
        vary(headers);
        if has_no_body || !self.is_accepted {
            return None;
        }
        // Envoy: sanitizeEtagHeader — a strong tag would promise bytes that
        // are not those.
        if headers.get(ETAG).is_some_and(is_strong) {
            headers.remove(ETAG);
        }
        headers.remove(CONTENT_LENGTH);
        headers.insert(CONTENT_ENCODING, GZIP);
        Some(Box::new(Encoder::new(self.gzip.clone())))
    }
}

impl Gzip {
    /// Whether an answer is compressed for those who take it.
    fn is_compressible(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        length: Option<u64>,
    ) -> bool {
        let told = headers.get(CONTENT_LENGTH).map(|value| value.to_str().ok()?.parse().ok());
        let length = told.unwrap_or(length.or(Some(u64::MAX)));
        let is_large = length.is_some_and(|length| length >= self.length_min);
        let is_part = status == StatusCode::PARTIAL_CONTENT || headers.contains_key(CONTENT_RANGE);
        let is_tagged = self.spares_tagged && headers.contains_key(ETAG);
        let is_encoded = headers.contains_key(CONTENT_ENCODING);
        if !is_large || is_part || is_tagged || is_encoded {
            return false;
        }
        let is_forbidden = |word: &str| word.eq_ignore_ascii_case("no-transform");
        self.covers(headers.get(CONTENT_TYPE)) && !words(headers, &CACHE_CONTROL).any(is_forbidden)
    }

    /// Whether a content type is one of those. Envoy: isContentTypeAllowed —
    /// an answer without any is.
    fn covers(&self, content_type: Option<&HeaderValue>) -> bool {
        let Some(content_type) = content_type else { return true };
        let text = content_type.to_str().unwrap_or_default();
        let media_type = text.split(';').next().unwrap_or_default().trim();
        // Messages of gRPC have a compression of their own, and a client
        // waits for each.
        let is_grpc =
            media_type.get(..16).is_some_and(|kind| kind.eq_ignore_ascii_case("application/grpc"));
        !is_grpc && self.content_types.iter().any(|known| known.eq_ignore_ascii_case(media_type))
    }
}

/// Whether a client wants gzip most of all. Envoy: chooseEncoding — of equal
/// weights the first counts, so that `identity, gzip` asks for nothing.
fn accepts(request: &HeaderMap) -> bool {
    let mut best = ("identity", 0.0);
    for word in words(request, &ACCEPT_ENCODING) {
        let (coding, parameters) = word.split_once(';').unwrap_or((word, ""));
        let Some(weight) = weight_of(parameters) else { continue };
        let coding = coding.trim();
        let is_gzip = coding.eq_ignore_ascii_case("gzip");
        if is_gzip && weight <= 0.0 {
            return false;
        }
        let is_known = is_gzip || coding == "*" || coding.eq_ignore_ascii_case("identity");
        if is_known && weight > best.1 {
            best = (coding, weight);
        }
    }
    !best.0.eq_ignore_ascii_case("identity")
}

/// The weight that parameters of a coding give it; `None` where it is none.
fn weight_of(parameters: &str) -> Option<f32> {
    match parameters.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("q") => {
            value.trim().parse().ok().filter(|weight: &f32| weight.is_finite())
        }
        _ => Some(1.0),
    }
}

/// Envoy: insertVaryHeader.
fn vary(headers: &mut HeaderMap) {
    let is_told = |word: &str| word == "*" || word.eq_ignore_ascii_case("accept-encoding");
    if !words(headers, &VARY).any(is_told) {
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// Whether an entity tag is strong. Envoy keeps what is no tag at all.
fn is_strong(tag: &HeaderValue) -> bool {
    let tag = tag.as_bytes();
    tag.len() > 2 && !(tag.starts_with(b"W/") || tag.starts_with(b"w/"))
}

fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// Compresses one body.
pub struct Encoder {
    gzip: Arc<Gzip>,
    /// Made for the first byte: a stream may be silent for long.
    deflate: Option<Box<Deflate>>,
    /// What is not compressed yet.
    input: Bytes,
    /// One piece of the compressed body, and how much of it there is.
    output: Vec<u8>,
    filled: usize,
    /// Whether zlib may hold something back.
    is_dirty: bool,
    trailers: Option<HeaderMap>,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Input is taken.
    Open,
    /// What zlib holds back goes out.
    Flush,
    /// The body has ended, the rest goes out.
    Finish,
    Over,
}

/// What a body gives when it is polled.
pub type Polled = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

impl Encoder {
    fn new(gzip: Arc<Gzip>) -> Self {
        Self {
            gzip,
            deflate: None,
            input: Bytes::new(),
            output: Vec::new(),
            filled: 0,
            is_dirty: false,
            trailers: None,
            phase: Phase::Open,
        }
    }

    /// The next piece. `source` is asked only for what there is room for, and
    /// what it has given goes out before it is waited for.
    pub fn poll_frame(&mut self, mut source: impl FnMut() -> Polled) -> Polled {
        loop {
            match self.encode() {
                Ok(Some(piece)) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                Ok(None) => {}
                Err(error) => return self.end(Some(Err(error))),
            }
            if self.phase == Phase::Over {
                return Poll::Ready(
                    self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))),
                );
            }
            match source() {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.input = data,
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok();
                        self.phase = Phase::Finish;
                    }
                },
                Poll::Ready(None) => self.phase = Phase::Finish,
                // What is cut off must not look whole.
                Poll::Ready(Some(Err(error))) => return self.end(Some(Err(error))),
                Poll::Pending if self.is_dirty => self.phase = Phase::Flush,
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Whether nothing follows any more.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over && self.trailers.is_none()
    }

    fn end(&mut self, last: Option<Result<Frame<Bytes>, BodyError>>) -> Polled {
        self.phase = Phase::Over;
        Poll::Ready(last)
    }

    /// Compresses until a piece is full, or everything is out that has to be.
    fn encode(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            let flush = match self.phase {
                Phase::Open if self.input.is_empty() => return Ok(None),
                Phase::Open => DeflateFlush::NoFlush,
                Phase::Flush => DeflateFlush::SyncFlush,
                Phase::Finish => DeflateFlush::Finish,
                Phase::Over => return Ok(None),
            };
            let (status, has_moved) = self.step(flush)?;
            let is_full = self.filled == self.output.len();
            let is_out = match self.phase {
                Phase::Open if !has_moved => return Err(BodyError::NotCompressed),
                Phase::Open => false,
                Phase::Flush => !is_full,
                Phase::Finish | Phase::Over => status == Status::StreamEnd,
            };
            if is_out {
                self.is_dirty = false;
                let is_end = self.phase == Phase::Finish;
                self.phase = if is_end { Phase::Over } else { Phase::Open };
            }
            if is_full || is_out {
                let piece = self.output.get(..self.filled).map(Bytes::copy_from_slice);
                self.filled = 0;
                return Ok(piece.filter(|piece| !piece.is_empty()));
            }
        }
    }

    /// One call of zlib; whether it took or gave anything.
    fn step(&mut self, flush: DeflateFlush) -> Result<(Status, bool), BodyError> {
        let gzip = &self.gzip;
        let deflate =
            self.deflate.get_or_insert_with(|| Box::new(Deflate::new_with_config(gzip.config)));
        self.output.resize(gzip.chunk_bytes, 0);
        let room = self.output.get_mut(self.filled..).unwrap_or_default();
        let before = (deflate.total_in(), deflate.total_out());
        let status =
            deflate.compress(&self.input, room, flush).map_err(|_| BodyError::NotCompressed)?;
        let taken = (deflate.total_in() - before.0) as usize;
        let given = (deflate.total_out() - before.1) as usize;
        self.input.advance(taken);
        self.filled += given;
        self.is_dirty |= taken > 0;
        Ok((status, taken + given > 0))
    }
}

#[cfg(test)]
mod tests;
