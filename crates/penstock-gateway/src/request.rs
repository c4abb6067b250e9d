//! Everything about one request that plugins may read or change, as fields.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};
use http_body::Body;
use penstock_llm::provider::{Expected, Fetched, LlmRequest, Provider};
use penstock_llm::scan::Scan;
use penstock_llm::stage::{BodyStage, Head};
use penstock_llm::{Api, LlmError};

use crate::access_log::AccessRecord;
use crate::body::Recorder;
use crate::certificate::ClientProof;
use crate::error::{ErrorKind, GatewayError};
use crate::gzip::Offer;
use crate::incoming::Incoming;
use crate::policy::RoutePolicy;
use crate::proxy::{AffinityCookie, Downstream, FellBack, Received};
use crate::reply::Audience;
use crate::route::RouteInput;
use crate::state::{BufferShare, Live, State};
use crate::token::Turn;
use crate::tunnel::Handover;

mod head;
mod intake;

pub(crate) use head::host_of;
use head::{
    Said, client_address, has_one_host, has_one_length, head_bytes, is_known, normalise, strip,
    wanted_upgrade,
};
pub use head::{strip_hop_by_hop, strip_trailers};
use intake::read_all;

/// The header that names the authenticated consumer to later plugins and to
/// the upstream. Only the gateway sets it.
pub const X_MSE_CONSUMER: HeaderName = HeaderName::from_static("x-mse-consumer");

/// A second place for the caller's key, which key-auth looks at. It goes no
/// further: the upstream has no use for it.
pub const X_HI_ORIGINAL_AUTH: HeaderName = HeaderName::from_static("x-hi-original-auth");

/// The scheme that the client spoke to the first proxy.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The addresses that a request has come through.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What a client has shown of itself in the handshake.
pub enum ClientEvidence {
    /// Its certificate, where it had to show one.
    Proof(Option<Arc<ClientProof>>),
    /// Whatever a route asks for: the request is only looked at.
    Assumed,
}

/// A request on its way through the chain.
pub struct RequestContext {
    /// The id in logs, in errors and in `X-Request-Id`.
    pub request_id: RequestId,
    /// The peer's address as `X-Forwarded-For` tells it.
    pub forwarded_for: Option<HeaderValue>,
    /// The client's address, where upstreams are to get it as `X-Real-IP`.
    pub real_ip: Option<HeaderValue>,
    /// Whether the client's connection is encrypted.
    pub is_tls: bool,
    /// What the client has shown of itself in the handshake.
    pub client: ClientEvidence,
    /// The method.
    pub method: Method,
    /// The URI with a normalised path.
    pub uri: Uri,
    /// The host in lower case without port; routes and rules compare it.
    pub host: Box<str>,
    /// The host as it was sent, with its port.
    pub authority: Option<HeaderValue>,
    /// The headers, without hop-by-hop ones and those only the gateway sets.
    pub headers: HeaderMap,
    /// The body.
    pub body: RequestBody,
    /// Whether the client takes trailers.
    pub takes_trailers: bool,
    /// What hands over the client's connection, where the client asks for a
    /// WebSocket.
    pub upgrade: Option<Handover>,
    /// The LLM API that the path names.
    pub api: Option<Api>,
    /// Which of a route's weighted targets is taken: a number below 100, the
    /// same for the whole request.
    pub target_roll: u32,
    /// What the route asks for, once it is found.
    pub policy: Option<Arc<RoutePolicy>>,
    /// What keeps the client with the endpoint that it gets now.
    pub affinity_cookie: Option<AffinityCookie>,
    /// Who is asked, once ai-proxy has found it.
    pub provider: Option<Arc<dyn Provider>>,
    /// The provider's tokens, where there is a choice.
    pub tokens: Option<Box<Turn>>,
    /// What was fetched for it.
    pub fetched: Fetched,
    /// What it said is to be known of the request when its answer comes.
    pub expected: Option<Box<Expected>>,
    /// What turns the answer into the client's format.
    pub answer_stage: Option<Box<dyn BodyStage>>,
    /// What one pass over a buffered JSON body found.
    pub scan: Option<Scan>,
    /// The head as it was received, where the request may need it once more.
    pub received: Option<Box<Received>>,
    /// What led to another pass, on that.
    pub fell_back: Option<Box<FellBack>>,
    /// How the answer may be compressed.
    pub offer: Option<Offer>,
    /// What the access log will say.
    pub record: Recorder,
    /// The body as it was received, once a plugin has put another in place of
    /// it; only where a route may need it.
    replaced_body: Option<Box<(Bytes, BufferShare)>>,
    keeps_replaced_body: bool,
    intake: Intake,
    state: Arc<State>,
}

/// A request that cannot be served, with what its answer needs.
pub struct Rejected {
    /// Why.
    pub error: GatewayError,
    /// The id.
    pub request_id: RequestId,
    /// The LLM API that the path names.
    pub api: Option<Api>,
    /// What the access log will say.
    pub record: Recorder,
}

/// The body of a request.
pub enum RequestBody {
    /// There is none.
    Empty,
    /// It has not been read.
    Streaming(Incoming),
    /// It was read as a whole; its share of the process' memory for buffers
    /// is held as long.
    Buffered(Bytes, BufferShare),
}

/// How a request is taken in.
#[derive(Clone, Copy)]
pub struct Intake {
    /// How many proxies in front of the gateway are believed.
    pub trusted_hops: usize,
    /// The largest body, in bytes.
    pub bytes_max: usize,
    /// The longest pause between two pieces.
    pub idle_timeout: Duration,
}

/// The head of an answer while plugins see it.
pub struct ResponseContext<'a> {
    /// The head, which plugins may change.
    pub head: &'a mut Head,
    /// The LLM API of the request.
    pub api: Option<Api>,
}

impl RequestContext {
    /// Takes a request in: reads the host, normalises the path, removes what
    /// a client must not send.
    ///
    /// # Errors
    /// The request can be read in two ways.
    pub fn receive(
        request: http::Request<Incoming>,
        client: &Downstream,
        state: &Arc<State>,
        live: Option<Arc<Live>>,
        intake: Intake,
    ) -> Result<Self, Box<Rejected>> {
        let (parts, body) = request.into_parts();
        let (body, handover) = match body {
            Incoming::Offer(handover) => (RequestBody::Empty, Some(handover)),
            body if body.is_end_stream() => (RequestBody::Empty, None),
            body => (RequestBody::Streaming(body), None),
        };
        Self::from_parts(parts, (body, handover), client, (state, live), intake)
    }

    /// The same for a request whose body is at hand, with what its connection
    /// is handed over with.
    ///
    /// # Errors
    /// See [`RequestContext::receive`].
    pub fn from_parts(
        parts: http::request::Parts,
        (body, handover): (RequestBody, Option<Handover>),
        downstream: &Downstream,
        (state, live): (&Arc<State>, Option<Arc<Live>>),
        intake: Intake,
    ) -> Result<Self, Box<Rejected>> {
        let request_id = RequestId::random();
        let said = Said::of(&parts.headers);
        let upgrade = wanted_upgrade(&parts, &said, &body);
        let takes_trailers = said.takes_trailers;
        let has_one_reading = has_one_host(&parts.uri, &said) && has_one_length(&said);
        let authority = match parts.uri.authority() {
            Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
            None => said.host.cloned(),
        };
        let mut headers = parts.headers;
        let host = authority.as_ref().map_or_else(Default::default, host_of);
        let path = parts.uri.path();
        let client = client_address(&headers, downstream.address, intake.trusted_hops);
        let record = AccessRecord::begin(&request_id, client, &parts.method, &host, path);
        let keeps_replaced_body = live.as_ref().is_some_and(|live| live.snapshot.has_fallbacks);
        let tuning = live.as_ref().map(|live| live.snapshot.tuning).unwrap_or_default();
        let gzip = live.as_ref().and_then(|live| live.snapshot.gzip.as_ref());
        let offer = gzip.map(|gzip| Offer::new(gzip, &headers));
        let record = Recorder::new(record, state.clone(), live);
        let api = Api::from_path(path);
        let is_too_large =
            tuning.head_bytes_max.is_some_and(|max| head_bytes(&parts.uri, &headers) > max);
        let uri = match normalise(parts.uri) {
            _ if is_too_large => Err(GatewayError::new(ErrorKind::HeadTooLarge)),
            Some(uri) if has_one_reading && is_known(&parts.method) => Ok(uri),
            _ => Err(GatewayError::new(ErrorKind::InvalidRequest)),
        };
        let (uri, wants_upgrade) = match upgrade.and_then(|wants| Ok((uri?, wants))) {
            Ok(both) => both,
            Err(error) => return Err(Box::new(Rejected { error, request_id, api, record })),
        };
        headers.remove(HOST);
        strip(&mut headers);
        let real_ip = tuning.adds_real_ip.then(|| client.ip().to_canonical().to_string());
        Ok(Self {
            request_id,
            forwarded_for: downstream.forwarded_for.clone(),
            real_ip: real_ip.and_then(|address| HeaderValue::try_from(address).ok()),
            is_tls: downstream.tls.is_some(),
            client: ClientEvidence::Proof(
                downstream.tls.as_ref().and_then(|tls| tls.proof.clone()),
            ),
            method: parts.method,
            api: Api::from_path(uri.path()),
            uri,
            host,
            authority,
            headers,
            body,
            takes_trailers,
            upgrade: handover.filter(|_| wants_upgrade),
            target_roll: fastrand::u32(0..100),
            policy: None,
            affinity_cookie: None,
            provider: None,
            expected: None,
            answer_stage: None,
            tokens: None,
            fetched: Fetched::default(),
            scan: None,
            received: None,
            fell_back: None,
            offer,
            record,
            replaced_body: None,
            keeps_replaced_body,
            intake,
            state: state.clone(),
        })
    }

    /// A request with a body that was read, for tests of plugins.
    #[cfg(test)]
    pub(crate) fn in_test(path: &str, headers: HeaderMap, body: &str, state: Arc<State>) -> Self {
        let request_id = RequestId::random();
        let client = std::net::SocketAddr::from(([192, 0, 2, 1], 5));
        let uri: Uri = path.parse().unwrap();
        let record = AccessRecord::begin(&request_id, client, &Method::POST, "a.com", uri.path());
        let mut share = BufferShare::new(state.clone());
        share.grow_to(body.len());
        let body = match body.is_empty() {
            true => RequestBody::Empty,
            false => RequestBody::Buffered(Bytes::copy_from_slice(body.as_bytes()), share),
        };
        Self {
            request_id,
            forwarded_for: None,
            real_ip: None,
            is_tls: false,
            client: ClientEvidence::Proof(None),
            method: Method::POST,
            api: Api::from_path(uri.path()),
            uri,
            host: "a.com".into(),
            authority: None,
            headers,
            body,
            takes_trailers: false,
            upgrade: None,
            target_roll: 0,
            policy: None,
            affinity_cookie: None,
            provider: None,
            expected: None,
            answer_stage: None,
            tokens: None,
            fetched: Fetched::default(),
            scan: None,
            received: None,
            fell_back: None,
            offer: None,
            record: Recorder::new(record, state.clone(), None),
            replaced_body: None,
            keeps_replaced_body: false,
            intake: Intake {
                bytes_max: 1 << 20,
                trusted_hops: 0,
                idle_timeout: Duration::from_secs(1),
            },
            state,
        }
    }

    /// Remembers who the caller is.
    pub fn set_consumer(&mut self, name: Arc<str>) {
        self.record.consumer = Some(name);
    }

    /// The request as routing sees it.
    pub fn route_input(&self) -> RouteInput<'_> {
        RouteInput {
            host: &self.host,
            path: self.uri.path(),
            query: self.uri.query(),
            method: &self.method,
            headers: &self.headers,
            authority: self.authority.as_ref(),
            is_tls: self.is_tls,
            has_trusted_hops: self.has_trusted_hops(),
        }
    }

    /// The request as a provider sees it.
    pub fn llm_request(&self) -> LlmRequest<'_> {
        LlmRequest {
            api: self.api,
            method: &self.method,
            path_and_query: self.uri.path_and_query().map_or("/", |path| path.as_str()),
            headers: &self.headers,
            body: self.buffered_body(),
            scan: self.scan.as_ref(),
            now: || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            expected: self.expected.as_deref(),
        }
    }

    /// How the client wants to be told of an error.
    pub fn audience(&self) -> Audience {
        match self.has_content_type("application/grpc") {
            true => Audience::Grpc,
            false => self.api.into(),
        }
    }

    /// Adds to an answer what lets the page that asks read it.
    pub fn permit_origin(&self, headers: &mut HeaderMap) {
        let cors = self.policy.as_ref().and_then(|policy| policy.cors.as_ref());
        if let Some(cors) = cors
            && let Some(origin) = cors.allowed_origin(&self.headers)
        {
            cors.permit(origin, headers);
        }
    }

    /// Whether proxies in front are believed in what they say.
    pub fn has_trusted_hops(&self) -> bool {
        self.intake.trusted_hops > 0
    }

    /// Whether the client speaks HTTPS: to the gateway, or to a proxy in front
    /// that is believed.
    pub fn came_encrypted(&self) -> bool {
        self.route_input().came_encrypted()
    }

    /// The content type in lower case; empty where there is none.
    pub fn content_type(&self) -> String {
        let value = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_ascii_lowercase()
    }

    /// Whether the content type begins like this, in any case.
    pub fn has_content_type(&self, start: &str) -> bool {
        let Some(value) = self.headers.get(CONTENT_TYPE) else { return false };
        let begins = value.as_bytes().get(..start.len());
        begins.is_some_and(|begins| begins.eq_ignore_ascii_case(start.as_bytes()))
            && value.to_str().is_ok()
    }

    /// The body as far as it was read, and as it is now.
    pub fn buffered_body(&self) -> Option<&Bytes> {
        match &self.body {
            RequestBody::Buffered(bytes, _) => Some(bytes),
            _ => None,
        }
    }

    /// Scans the body that was read, once for all who want to know. `None`
    /// where there is no body, or it has not been read.
    ///
    /// # Errors
    /// The body is not one JSON object that all readers understand alike.
    pub fn scan_body(&mut self) -> Result<Option<&Scan>, LlmError> {
        if self.scan.is_none()
            && let RequestBody::Buffered(bytes, _) = &self.body
        {
            let scan = Scan::of(bytes)?;
            // What the client asked for, not what a plugin made of it.
            if self.record.model.is_none() {
                self.record.model = scan.model.as_deref().map(Into::into);
            }
            self.scan = Some(scan);
        }
        Ok(self.scan.as_ref())
    }

    /// Puts another body, in parts, in place of the one that was read. Those
    /// who come later see the new one.
    pub fn replace_body(&mut self, parts: &[Bytes]) {
        let RequestBody::Buffered(bytes, share) = &mut self.body else {
            return;
        };
        let length = parts.iter().map(Bytes::len).sum();
        let mut joined = BytesMut::with_capacity(length);
        parts.iter().for_each(|part| joined.extend_from_slice(part));
        let replaced = std::mem::replace(bytes, joined.freeze());
        if self.keeps_replaced_body && self.replaced_body.is_none() {
            let mut share = BufferShare::new(self.state.clone());
            share.resize(replaced.len());
            self.replaced_body = Some(Box::new((replaced, share)));
        }
        share.resize(length);
        self.scan = None;
        self.headers.remove(CONTENT_LENGTH);
    }

    /// Whether the body is within the limit of buffering, as far as is known
    /// before it is read.
    pub fn body_fits(&self) -> bool {
        self.body_is_within(self.intake.bytes_max)
    }

    /// Whether the body is known to be within the limit of buffering.
    pub fn body_is_sized(&self) -> bool {
        let RequestBody::Streaming(body) = &self.body else { return true };
        body.size_hint().exact().is_some_and(|length| length <= self.intake.bytes_max as u64)
    }

    /// As [`Self::body_fits`], for a smaller limit.
    pub fn body_is_within(&self, bytes_max: usize) -> bool {
        match &self.body {
            RequestBody::Streaming(body) => body.size_hint().lower() <= bytes_max as u64,
            _ => true,
        }
    }

    /// The body as it was received, as far as it was read.
    pub fn first_body(&self) -> Option<&Bytes> {
        match &self.replaced_body {
            Some(replaced) => Some(&replaced.0),
            None => self.buffered_body(),
        }
    }

    /// Forgets what a pass found out, for one that falls back from its route.
    pub fn begin_again(&mut self, fell_back: Box<FellBack>) {
        self.fell_back = Some(fell_back);
        self.api = Api::from_path(self.uri.path());
        self.target_roll = fastrand::u32(0..100);
        (self.policy, self.scan) = (None, None);
        self.forget_provider();
        (self.affinity_cookie, self.replaced_body) = (None, None);
        self.record.fall_back();
    }

    /// Lets somebody else answer than the provider.
    pub fn forget_provider(&mut self) {
        (self.provider, self.tokens) = (None, None);
        (self.expected, self.answer_stage) = (None, None);
    }

    /// Counts an attempt that did not get as far as an answer.
    pub(crate) fn token_failed(&self, error: &GatewayError) {
        if let Some(turn) = &self.tokens {
            turn.failed(error);
        }
    }

    /// The consumer that should meet the same token again, where the provider
    /// keeps something for it.
    pub fn sticky_consumer(&self) -> Option<&Arc<str>> {
        let is_stateful = self.api.is_some_and(|api| api.is_stateful());
        self.record.consumer.as_ref().filter(|_| is_stateful)
    }

    /// Puts a body that was read, and sent, back for another attempt.
    ///
    /// # Errors
    /// The process buffers as much as it may.
    pub fn restore_body(&mut self, body: Option<&Bytes>) -> Result<(), GatewayError> {
        let Some(body) = body else { return Ok(()) };
        let mut share = BufferShare::new(self.state.clone());
        if !share.grow_to(body.len()) {
            return Err(GatewayError::new(ErrorKind::OutOfBuffers));
        }
        self.body = RequestBody::Buffered(body.clone(), share);
        Ok(())
    }

    /// Reads the whole body, unless that has been done already.
    ///
    /// # Errors
    /// It is larger than the limit, the process buffers as much as it may,
    /// or the client breaks off or pauses too long.
    pub async fn buffer_body(&mut self) -> Result<(), GatewayError> {
        let RequestBody::Streaming(incoming) = &mut self.body else {
            return Ok(());
        };
        let expected = incoming.size_hint().lower();
        if expected > self.intake.bytes_max as u64 {
            return Err(GatewayError::new(ErrorKind::BodyTooLarge));
        }
        let mut share = BufferShare::new(self.state.clone());
        let bytes = match incoming {
            Incoming::Whole(bytes) if share.grow_to(bytes.len()) => std::mem::take(bytes),
            Incoming::Whole(_) => return Err(GatewayError::new(ErrorKind::OutOfBuffers)),
            incoming => Box::pin(read_all(incoming, &mut share, self.intake)).await?,
        };
        self.record.request_bytes = bytes.len() as u64;
        self.body = match bytes.is_empty() {
            true => RequestBody::Empty,
            false => RequestBody::Buffered(bytes, share),
        };
        Ok(())
    }
}

/// A random identifier in the form of a UUID.
#[derive(Clone)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// A version 4 UUID. It identifies, it does not protect, so a fast
    /// generator is enough.
    pub fn random() -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
        let bits = fastrand::u128(..);
        let bits = (bits & !(0xf << 76) & !(0b11 << 62)) | (4 << 76) | (0b10 << 62);
        let mut text = [b'-'; 36];
        for (byte, place) in bits.to_be_bytes().into_iter().zip(PLACES) {
            let digit = |value: u8| HEX.get(usize::from(value & 0xf)).copied().unwrap_or(b'0');
            if let Some(pair) = text.get_mut(place..place + 2) {
                pair.copy_from_slice(&[digit(byte >> 4), digit(byte)]);
            }
        }
        Self(HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("")))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.0.as_bytes()).unwrap_or_default()
    }

    /// The value of `X-Request-Id`.
    pub fn to_header(&self) -> HeaderValue {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_version_4_uuids() {
        let id = RequestId::random();
        assert_eq!(id.as_str().len(), 36);
        assert_eq!(id.as_str().as_bytes()[14], b'4');
        assert!(b"89ab".contains(&id.as_str().as_bytes()[19]));
        assert_ne!(id.as_str(), RequestId::random().as_str());
    }
}
