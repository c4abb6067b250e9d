//! The request as its upstream gets it: what the provider asks for, what is
//! told about the client, and the form of the version that is spoken. Nothing
//! is sent from here.

use http::header::{
    CONNECTION, CONTENT_LENGTH, Entry, HOST, HeaderMap, HeaderName, HeaderValue, TE, UPGRADE,
};
use http::uri::Scheme;
use http::{Method, Request, Uri};
use penstock_llm::LlmError;
use penstock_llm::provider::{BodyEdit, Provider, Target, Token, UpstreamRequest};

use super::WEBSOCKET;
use crate::body::OutgoingBody;
use crate::error::{ErrorKind, GatewayError};
use crate::reply::X_REQUEST_ID;
use crate::request::{
    RequestBody, RequestContext, X_FORWARDED_FOR, X_FORWARDED_PROTO, X_HI_ORIGINAL_AUTH,
};
use crate::snapshot::{Service, WeightedTarget};

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// How many headers the gateway adds to each request, at most.
const HEADERS_ADDED: usize = 9;

/// The request as the upstream gets it.
pub(crate) fn prepare(
    upstream_vhost: Option<&str>,
    target: &WeightedTarget,
    cx: &mut RequestContext,
) -> Result<Request<OutgoingBody>, GatewayError> {
    let edits = match cx.provider.clone() {
        Some(provider) => {
            let sticky = cx.sticky_consumer().cloned();
            let token = match &mut cx.tokens {
                Some(turn) => turn.token(sticky.as_deref()).cloned(),
                None => provider.tokens().first().cloned(),
            };
            ask(&*provider, token.as_ref(), cx)?
        }
        None => UpstreamRequest::default(),
    };
    // A clone would have to make room for them by hashing all names anew.
    let room = cx.headers.len() + edits.headers.len() + HEADERS_ADDED;
    let mut headers = HeaderMap::with_capacity(room);
    let is_sent = |name: &HeaderName| {
        *name != X_HI_ORIGINAL_AUTH && edits.headers.iter().all(|(edited, _)| edited != name)
    };
    let sent = cx.headers.iter().filter(|(name, _)| is_sent(name));
    headers.extend(sent.map(|(name, value)| (name.clone(), value.clone())));
    for (name, value) in edits.headers {
        // One that is edited twice is what it was made last.
        match value {
            Some(value) => headers.insert(name, value),
            None => headers.remove(name),
        };
    }
    if let Some(policy) = &cx.policy {
        policy.request_headers.apply(&mut headers);
    }
    if let Some(edits) = &target.headers {
        edits.0.apply(&mut headers);
    }
    // Whoever sets `Host` asks for another host of the upstream.
    let set_host = headers.remove(HOST);
    let vhost = upstream_vhost.and_then(|host| HeaderValue::from_str(host).ok());
    if let Some(host) = edits.host.or(vhost).or(set_host).or_else(|| cx.authority.clone()) {
        headers.insert(HOST, host);
    }
    add_forwarding_headers(&mut headers, cx);
    cx.expected = edits.expected;
    let body = outgoing_body(edits.body, cx, &mut headers);
    let uri = match edits.path_and_query {
        Some(path) => {
            path.parse::<Uri>().map_err(|_| GatewayError::new(ErrorKind::InvalidRequest))?
        }
        None => cx.uri.clone(),
    };
    let uri = rewritten(uri, cx)?;
    let sent_model = edits.model.or_else(|| cx.scan.as_ref().and_then(|scan| scan.model.clone()));
    cx.record.upstream_model =
        sent_model.map(Into::into).filter(|model| Some(model) != cx.record.model.as_ref());
    let mut request = Request::new(body);
    *request.method_mut() = cx.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

/// The URI as the route rewrites it, which keeps the query.
fn rewritten(uri: Uri, cx: &RequestContext) -> Result<Uri, GatewayError> {
    let rewrite = cx.policy.as_ref().and_then(|policy| policy.rewrite.as_ref());
    let Some(mut path) = rewrite.and_then(|rewrite| rewrite.apply(uri.path())) else {
        return Ok(uri);
    };
    if let Some(query) = uri.query() {
        path.push(if path.contains('?') { '&' } else { '?' });
        path.push_str(query);
    }
    path.parse().map_err(|_| GatewayError::new(ErrorKind::InvalidRequest))
}

/// What a client asks of the connection rather than of the service.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ConnectionWishes {
    /// To speak another protocol on it.
    pub(crate) upgrades: bool,
    /// To get trailers.
    pub(crate) takes_trailers: bool,
}

impl ConnectionWishes {
    /// Those of a request.
    pub(super) fn of(cx: &RequestContext) -> Self {
        Self { upgrades: cx.upgrade.is_some(), takes_trailers: cx.takes_trailers }
    }
}

/// Puts a request into the form of the version that its service speaks.
pub(crate) fn adapt(
    request: &mut Request<OutgoingBody>,
    service: &Service,
    wishes: ConnectionWishes,
) -> Result<(), GatewayError> {
    if !service.protocol.is_http2() {
        if wishes.upgrades {
            let headers = request.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, WEBSOCKET);
        }
        return Ok(());
    }
    if wishes.upgrades {
        return Err(GatewayError::new(ErrorKind::UpgradeRefused)
            .because("the service speaks HTTP/2, which switches to nothing"));
    }
    let host = request.headers_mut().remove(HOST);
    let authority = host.as_ref().map_or(service.host.as_bytes(), HeaderValue::as_bytes);
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let uri = Uri::builder()
        .scheme(if service.protocol.is_tls() { Scheme::HTTPS } else { Scheme::HTTP })
        .authority(authority)
        .path_and_query(path)
        .build();
    *request.uri_mut() = uri.map_err(|_| GatewayError::new(ErrorKind::InvalidRequest))?;
    if wishes.takes_trailers {
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    }
    request.body_mut().keep_trailers();
    Ok(())
}

/// What the provider wants to be asked, with the token of this attempt.
fn ask(
    provider: &dyn Provider,
    token: Option<&Token>,
    cx: &RequestContext,
) -> Result<UpstreamRequest, GatewayError> {
    // An upstream that answers TRACE would show the caller the provider's
    // token.
    if cx.method == Method::TRACE {
        return Err(GatewayError::new(ErrorKind::UnsupportedApi));
    }
    let target = Target { token };
    provider.request(&cx.llm_request(), &target, &cx.fetched).map_err(|error| match error {
        LlmError::InvalidRequest(message) => {
            GatewayError::new(ErrorKind::InvalidRequest).saying(message)
        }
        LlmError::UnsupportedApi => GatewayError::new(ErrorKind::UnsupportedApi),
        LlmError::InvalidResponse => GatewayError::new(ErrorKind::UpstreamInvalid),
    })
}

/// Tells the upstream who asked, for what and by which id. What proxies in
/// front say about that is kept where they are believed.
fn add_forwarding_headers(headers: &mut HeaderMap, cx: &RequestContext) {
    if let Some(peer) = &cx.forwarded_for {
        match headers.entry(X_FORWARDED_FOR) {
            Entry::Vacant(place) => _ = place.insert(peer.clone()),
            Entry::Occupied(mut told) => {
                let chain = chain_of(told.iter(), peer);
                told.insert(chain.unwrap_or_else(|| peer.clone()));
            }
        }
    }
    if let Some(address) = &cx.real_ip {
        headers.insert(X_REAL_IP, address.clone());
    }
    let is_believed = cx.has_trusted_hops();
    let told = |headers: &HeaderMap| {
        let told = headers.get(X_FORWARDED_PROTO).map(HeaderValue::as_bytes);
        matches!(told, Some(b"http" | b"https"))
    };
    if !(is_believed && told(headers)) {
        let scheme = if cx.is_tls { "https" } else { "http" };
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
    }
    if !(is_believed && headers.contains_key(X_FORWARDED_HOST)) {
        match &cx.authority {
            Some(authority) => headers.insert(X_FORWARDED_HOST, authority.clone()),
            None => headers.remove(X_FORWARDED_HOST),
        };
    }
    headers.insert(X_REQUEST_ID, cx.request_id.to_header());
}

/// The addresses that were told before, with the peer's behind them.
fn chain_of<'a>(
    told: impl Iterator<Item = &'a HeaderValue>,
    peer: &'a HeaderValue,
) -> Option<HeaderValue> {
    let told = told.filter(|value| value.to_str().is_ok());
    let mut chain: Vec<&[u8]> = told.map(HeaderValue::as_bytes).collect();
    if chain.is_empty() {
        return None;
    }
    chain.push(peer.as_bytes());
    HeaderValue::from_bytes(&chain.join(&b","[..])).ok()
}

/// The body to send. Its length is stated anew by the connection, except for
/// an empty one, where the client's own zero stays.
fn outgoing_body(edit: BodyEdit, cx: &mut RequestContext, headers: &mut HeaderMap) -> OutgoingBody {
    let body = std::mem::replace(&mut cx.body, RequestBody::Empty);
    if !matches!(body, RequestBody::Empty) || matches!(edit, BodyEdit::Parts(_)) {
        headers.remove(CONTENT_LENGTH);
    }
    match (edit, body) {
        (BodyEdit::Parts(parts), RequestBody::Buffered(_, share)) => {
            OutgoingBody::parts(parts, Some(share))
        }
        (BodyEdit::Parts(parts), _) => OutgoingBody::parts(parts, None),
        (BodyEdit::Keep, RequestBody::Buffered(bytes, share)) => {
            OutgoingBody::parts(vec![bytes], Some(share))
        }
        (BodyEdit::Keep, RequestBody::Streaming(incoming)) => OutgoingBody::streaming(incoming),
        (BodyEdit::Keep, RequestBody::Empty) => OutgoingBody::empty(),
    }
}
