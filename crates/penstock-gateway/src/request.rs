//! Everything about one request that plugins may read or change, as fields.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
};
use http::{Method, Uri};
use http_body::Body;
use hyper::body::Incoming;
use penstock_llm::provider::{LlmRequest, Provider};
use penstock_llm::scan::Scan;
use penstock_llm::stage::Head;
use penstock_llm::{Api, LlmError};

use crate::access_log::AccessRecord;
use crate::body::Recorder;
use crate::error::{ErrorKind, GatewayError};
use crate::framing::is_bad_framing;
use crate::route::{RouteInput, normalise_path};
use crate::state::{BufferShare, Live, State};

/// The header that names the authenticated consumer to later plugins and to
/// the upstream. Only the gateway sets it.
pub const X_MSE_CONSUMER: HeaderName = HeaderName::from_static("x-mse-consumer");

/// A second place for the caller's key, which key-auth looks at. It goes no
/// further: the upstream has no use for it.
pub const X_HI_ORIGINAL_AUTH: HeaderName = HeaderName::from_static("x-hi-original-auth");

/// Headers that only the gateway may set; what a client sends is removed.
const GATEWAY_ONLY: [HeaderName; 4] = [
    X_MSE_CONSUMER,
    HeaderName::from_static("x-higress-fallback-from"),
    HeaderName::from_static("x-envoy-original-path"),
    HeaderName::from_static("x-envoy-original-host"),
];

/// Headers about one connection, which never travel on (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-authorization"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("te"),
    HeaderName::from_static("transfer-encoding"),
    HeaderName::from_static("upgrade"),
];

/// A request on its way through the chain.
pub struct RequestContext {
    /// The id in logs, in errors and in `X-Request-Id`.
    pub request_id: RequestId,
    /// The peer.
    pub client: SocketAddr,
    /// Whether the client's connection is encrypted.
    pub is_tls: bool,
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
    /// The LLM API that the path names.
    pub api: Option<Api>,
    /// Which of a route's weighted targets is taken: a number below 100, the
    /// same for the whole request.
    pub target_roll: u32,
    /// Who is asked, once ai-proxy has found it.
    pub provider: Option<Arc<dyn Provider>>,
    /// What one pass over a buffered JSON body found.
    pub scan: Option<Scan>,
    /// What the access log will say.
    pub record: Recorder,
    limits: BodyLimits,
    state: Arc<State>,
}

/// A request that cannot be served, with what its answer needs.
pub struct Rejected {
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

/// The limits of buffering.
#[derive(Clone, Copy)]
pub struct BodyLimits {
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
        client: SocketAddr,
        state: &Arc<State>,
        live: Option<Arc<Live>>,
        limits: BodyLimits,
    ) -> Result<Self, Box<Rejected>> {
        let (parts, body) = request.into_parts();
        let body = match body.is_end_stream() {
            true => RequestBody::Empty,
            false => RequestBody::Streaming(body),
        };
        Self::from_parts(parts, body, client, (state, live), limits)
    }

    /// The same for a request whose body is at hand.
    ///
    /// # Errors
    /// See [`RequestContext::receive`].
    pub fn from_parts(
        parts: http::request::Parts,
        body: RequestBody,
        client: SocketAddr,
        (state, live): (&Arc<State>, Option<Arc<Live>>),
        limits: BodyLimits,
    ) -> Result<Self, Box<Rejected>> {
        let request_id = RequestId::random();
        let mut headers = parts.headers;
        let authority = match parts.uri.authority() {
            Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
            None => headers.get(HOST).cloned(),
        };
        let host = authority.as_ref().map_or_else(Default::default, host_of);
        let path = parts.uri.path();
        let record = AccessRecord::begin(&request_id, client, &parts.method, &host, path);
        let record = Recorder::new(record, state.clone(), live);
        let api = Api::from_path(path);
        let has_one_host = has_one_host(&parts.uri, &headers);
        let uri = match normalise(parts.uri) {
            Some(uri) if has_one_host => uri,
            _ => return Err(Box::new(Rejected { request_id, api, record })),
        };
        headers.remove(HOST);
        strip(&mut headers);
        Ok(Self {
            request_id,
            client,
            is_tls: false,
            method: parts.method,
            api: Api::from_path(uri.path()),
            uri,
            host,
            authority,
            headers,
            body,
            target_roll: fastrand::u32(0..100),
            provider: None,
            scan: None,
            record,
            limits,
            state: state.clone(),
        })
    }

    /// A request with a body that was read, for tests of plugins.
    #[cfg(test)]
    pub(crate) fn in_test(path: &str, headers: HeaderMap, body: &str, state: Arc<State>) -> Self {
        let request_id = RequestId::random();
        let client = SocketAddr::from(([192, 0, 2, 1], 5));
        let uri: Uri = path.parse().unwrap();
        let record = AccessRecord::begin(&request_id, client, &Method::POST, "a.com", uri.path());
        let mut share = BufferShare::new(state.clone());
        share.grow(body.len());
        let body = match body.is_empty() {
            true => RequestBody::Empty,
            false => RequestBody::Buffered(Bytes::copy_from_slice(body.as_bytes()), share),
        };
        Self {
            request_id,
            client,
            is_tls: false,
            method: Method::POST,
            api: Api::from_path(uri.path()),
            uri,
            host: "a.com".into(),
            authority: None,
            headers,
            body,
            target_roll: 0,
            provider: None,
            scan: None,
            record: Recorder::new(record, state.clone(), None),
            limits: BodyLimits { bytes_max: 1 << 20, idle_timeout: Duration::from_secs(1) },
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
        }
    }

    /// The content type in lower case; empty where there is none.
    pub fn content_type(&self) -> String {
        let value = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_ascii_lowercase()
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
        *bytes = joined.freeze();
        share.resize(length);
        self.scan = None;
        self.headers.remove(CONTENT_LENGTH);
    }

    /// Whether the body is within the limit of buffering, as far as is known
    /// before it is read.
    pub fn body_fits(&self) -> bool {
        match &self.body {
            RequestBody::Streaming(body) => {
                body.size_hint().lower() <= self.limits.bytes_max as u64
            }
            _ => true,
        }
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
        if expected > self.limits.bytes_max as u64 {
            return Err(GatewayError::new(ErrorKind::BodyTooLarge));
        }
        let mut share = BufferShare::new(self.state.clone());
        let bytes = read_all(incoming, &mut share, self.limits).await?;
        self.record.request_bytes = bytes.len() as u64;
        self.body = match bytes.is_empty() {
            true => RequestBody::Empty,
            false => RequestBody::Buffered(bytes, share),
        };
        Ok(())
    }
}

async fn read_all(
    incoming: &mut Incoming,
    share: &mut BufferShare,
    limits: BodyLimits,
) -> Result<Bytes, GatewayError> {
    let mut first: Option<Bytes> = None;
    let mut buffer: Option<BytesMut> = None;
    let mut length = 0;
    while let Some(data) = next_data(incoming, limits.idle_timeout).await? {
        length += data.len();
        if length > limits.bytes_max {
            return Err(GatewayError::new(ErrorKind::BodyTooLarge));
        }
        if !share.grow(data.len()) {
            return Err(GatewayError::new(ErrorKind::OutOfBuffers));
        }
        match (&mut buffer, first.take()) {
            (None, None) => first = Some(data),
            (None, Some(one)) => {
                // One allocation for what is announced, and no more than
                // what came so far where it is not.
                let announced = usize::try_from(incoming.size_hint().lower()).unwrap_or(0);
                let room = (one.len() + data.len()).saturating_add(announced.min(limits.bytes_max));
                let mut joined = BytesMut::with_capacity(room);
                joined.extend_from_slice(&one);
                joined.extend_from_slice(&data);
                buffer = Some(joined);
            }
            (Some(buffer), _) => buffer.extend_from_slice(&data),
        }
    }
    Ok(match buffer {
        Some(buffer) => buffer.freeze(),
        None => first.unwrap_or_default(),
    })
}

async fn next_data(
    incoming: &mut Incoming,
    idle_timeout: Duration,
) -> Result<Option<Bytes>, GatewayError> {
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut *incoming).poll_frame(cx));
        match tokio::time::timeout(idle_timeout, frame).await {
            Err(_) => return Err(GatewayError::new(ErrorKind::BodyTimeout)),
            Ok(None) => return Ok(None),
            Ok(Some(Err(error))) => {
                let kind = match is_bad_framing(&error) {
                    true => ErrorKind::InvalidRequest,
                    false => ErrorKind::ClientClosed,
                };
                return Err(GatewayError::new(kind).because(error));
            }
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data()
                    && !data.is_empty()
                {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Removes hop-by-hop headers, those that `Connection` names, and those only
/// the gateway may set, also as `X_Mse_Consumer`: upstreams that turn headers
/// into variables cannot tell the two spellings apart.
fn strip(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    for name in &GATEWAY_ONLY {
        headers.remove(name);
    }
    let disguised: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().contains('_'))
        .filter(|name| {
            GATEWAY_ONLY.iter().any(|own| name.as_str().replace('_', "-") == own.as_str())
        })
        .cloned()
        .collect();
    for name in disguised {
        headers.remove(name);
    }
}

/// Removes the headers that are about one connection only.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Whether a request says once, and in one way, which host it is for.
fn has_one_host(uri: &Uri, headers: &HeaderMap) -> bool {
    let mut named = headers.get_all(HOST).iter();
    let (header, other) = (named.next(), named.next());
    let hosts = (uri.authority().map(|authority| authority.as_str().as_bytes()), header);
    let is_http = uri.scheme().is_none_or(|scheme| ["http", "https"].contains(&scheme.as_str()));
    other.is_none()
        && is_http
        && match hosts {
            // RFC 9112, 3.2.2 prefers the target; whoever ignores it does not.
            (Some(target), Some(header)) => {
                is_host(target) && target.eq_ignore_ascii_case(header.as_bytes())
            }
            (Some(host), None) => is_host(host),
            (None, Some(header)) => is_host(header.as_bytes()),
            (None, None) => false,
        }
}

/// A name or an address, with or without a port; without a user.
fn is_host(text: &[u8]) -> bool {
    let text = std::str::from_utf8(text).unwrap_or_default();
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_of_address = |byte: u8| byte.is_ascii_hexdigit() || b":.".contains(&byte);
    let (host, port, is_valid) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']'))
    {
        Some((address, port)) => (address, port, address.bytes().all(is_of_address)),
        None => {
            let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (name, port, name.bytes().all(is_of_name))
        }
    };
    let is_number = |port: &str| port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_number);
    is_valid && is_port && !host.is_empty()
}

/// Origin form with a normalised path. `None` for `*` and `CONNECT` targets,
/// which have no path that a route could match.
fn normalise(uri: Uri) -> Option<Uri> {
    let path = uri.path();
    if !path.starts_with('/') {
        return None;
    }
    let normal = normalise_path(path);
    if normal.is_none() && uri.authority().is_none() {
        return Some(uri);
    }
    let mut text = normal.unwrap_or_else(|| path.to_owned());
    if let Some(query) = uri.query() {
        text.push('?');
        text.push_str(query);
    }
    text.parse().ok()
}

/// A host in lower case without its port.
pub(crate) fn host_of(authority: &HeaderValue) -> Box<str> {
    let text = authority.to_str().unwrap_or_default();
    let text = text.rsplit_once('@').map_or(text, |(_, host)| host);
    let end = match text.strip_prefix('[') {
        Some(_) => text.find(']').map_or(text.len(), |at| at + 1),
        None => text.find(':').unwrap_or(text.len()),
    };
    text.get(..end).unwrap_or_default().to_ascii_lowercase().into()
}

/// A random identifier in the form of a UUID.
#[derive(Clone, Copy)]
pub struct RequestId([u8; 36]);

impl RequestId {
    /// A version 4 UUID. It identifies, it does not protect, so a fast
    /// generator is enough.
    pub fn random() -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let bits = fastrand::u128(..);
        let bits = (bits & !(0xf << 76) & !(0b11 << 62)) | (4 << 76) | (0b10 << 62);
        let mut text = [b'-'; 36];
        let mut nibble = 32;
        for (index, character) in text.iter_mut().enumerate() {
            if matches!(index, 8 | 13 | 18 | 23) {
                continue;
            }
            nibble -= 1;
            let value = (bits >> (nibble * 4)) & 0xf;
            *character = HEX.get(value as usize).copied().unwrap_or(b'0');
        }
        Self(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_without_port_and_case() {
        let check = |sent: &str, expected: &str| {
            assert_eq!(&*host_of(&HeaderValue::from_str(sent).unwrap()), expected);
        };
        check("Example.COM:8080", "example.com");
        check("example.com", "example.com");
        check("[2001:DB8::1]:80", "[2001:db8::1]");
        check("user:pass@example.com:1", "example.com");
        check("", "");
    }

    #[test]
    fn a_host_has_one_spelling() {
        for host in ["a", "A.b-c_d.test:80", "127.0.0.1:8080", "[::1]", "[2001:db8::1]:443", "a:"] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            ":80",
            "a b",
            "a,b",
            "u@a",
            "a/",
            "a\\b",
            "a:b",
            "a:1:2",
            "a:123456",
            "[::1",
            "[]",
            "[a.test]x",
            "::1",
            "a%00",
            "\u{e4}",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn request_ids_are_version_4_uuids() {
        let id = RequestId::random();
        assert_eq!(id.as_str().len(), 36);
        assert_eq!(id.as_str().as_bytes()[14], b'4');
        assert!(b"89ab".contains(&id.as_str().as_bytes()[19]));
        assert_ne!(id.as_str(), RequestId::random().as_str());
    }

    #[test]
    fn connection_headers_do_not_travel() {
        let mut headers = HeaderMap::new();
        headers.insert("connection", HeaderValue::from_static("close, X-Private"));
        headers.insert("x-private", HeaderValue::from_static("1"));
        headers.insert("te", HeaderValue::from_static("trailers"));
        headers.insert("x-mse-consumer", HeaderValue::from_static("admin"));
        headers.insert("x-higress-fallback-from", HeaderValue::from_static("r"));
        headers.insert("x_mse-consumer", HeaderValue::from_static("admin"));
        headers.insert("x-kept", HeaderValue::from_static("1"));
        strip(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-kept"]);
    }
}
