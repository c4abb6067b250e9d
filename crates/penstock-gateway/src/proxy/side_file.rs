//! Files that a provider wants to have read before it is asked
//! (Higress: ai-proxy, provider/context.go).
//!
//! A file is asked for until it has come once, and kept as long as something
//! in the configuration names it. Without it the request is not sent.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_ENCODING, HOST, HeaderValue};
use http::{Request, StatusCode, Uri};
use http_body::Body;
use penstock_llm::provider::{Fetch, Fetched};

use super::Worker;
use super::outgoing::{ConnectionWishes, adapt};
use crate::body::OutgoingBody;
use crate::error::{ErrorKind, GatewayError};
use crate::request::{RequestContext, host_of};
use crate::state::{Live, ServiceState, SideFile};
use crate::upstream::{Dialer, SendLimits, UpstreamBody};

/// Brings what the provider needs for this request.
pub(super) async fn fetch(
    worker: &Worker,
    live: &Live,
    cx: &mut RequestContext,
) -> Result<(), GatewayError> {
    let needs = cx.provider.as_ref().map(|provider| provider.needs(&cx.llm_request()));
    let mut bodies = Vec::new();
    for need in needs.into_iter().flatten() {
        let failed = |cause: String| {
            GatewayError::new(ErrorKind::ContextUnavailable)
                .because(format!("failed to load context file: {cause}"))
        };
        let Some(file) = live.file(&need) else {
            return Err(failed("it is not one of the configuration".to_owned()));
        };
        let text = match file.text.get() {
            Some(text) => text.clone(),
            None => asked_once(worker, live, file, cx).await.map_err(failed)?,
        };
        bodies.push(text);
    }
    cx.fetched = Fetched { bodies };
    Ok(())
}

/// A file that is not there yet. Requests that need it at the same time ask
/// for it one after the other, until one has got it; each gives up after the
/// file's time.
async fn asked_once(
    worker: &Worker,
    live: &Live,
    file: &SideFile,
    cx: &mut RequestContext,
) -> Result<Bytes, String> {
    let Fetch::ContextFile { url, service, port, timeout_ms } = &file.fetch;
    let found = live.service_of(service, *port);
    let Some(service) = found else { return Err(format!("no service `{service}:{port}`")) };
    let url: Uri = url.parse().map_err(|_| "its URL cannot be read".to_owned())?;
    let limit = Duration::from_millis(*timeout_ms);
    let asking = file.text.get_or_try_init(|| ask(worker, service, &url, (cx, limit)));
    match tokio::time::timeout(limit, asking).await {
        Ok(text) => text.cloned(),
        Err(_) => Err("it did not come in time".to_owned()),
    }
}

async fn ask(
    worker: &Worker,
    service: &Arc<ServiceState>,
    url: &Uri,
    (cx, limit): (&mut RequestContext, Duration),
) -> Result<Bytes, String> {
    let authority = url.authority().map_or("", |authority| authority.as_str());
    // What stands before `@` is nobody's host.
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let host = HeaderValue::from_str(authority).map_err(|_| "its host cannot be sent")?;
    let server_name = host_of(&host);
    let mut request = Request::new(OutgoingBody::empty());
    *request.uri_mut() = url.path().parse().map_err(|_| "its path cannot be sent")?;
    request.headers_mut().insert(HOST, host);
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("*/*"));
    adapt(&mut request, &service.service, ConnectionWishes::of(cx))
        .map_err(|error| error.to_string())?;
    let settings = &worker.gateway.settings;
    service.wait_resolved(settings.resolve_timeout).await;
    let limits = SendLimits {
        first_byte_timeout: limit,
        idle_timeout: settings.idle_timeout,
        ends_at: Some(Instant::now() + limit),
    };
    let dialer = Dialer {
        pool: &worker.pool,
        tls: &worker.tls,
        settings,
        metrics: &worker.gateway.state.metrics,
    };
    let mut cause = "its service has no endpoint".to_owned();
    let mut turn = service.turn(None, None).map_err(|error| error.to_string())?;
    while turn.advance() {
        let Some(endpoint) = turn.endpoint().cloned() else { break };
        // A connection of its own: that of another could have been closed
        // meanwhile.
        let ready = match dialer.connect(service, &endpoint, &server_name, false).await {
            Ok(ready) => ready,
            Err(error) => {
                turn.failed(&error);
                cause = error.to_string();
                continue;
            }
        };
        let mut answer = match ready.send(request, &worker.pool, limits).await {
            Ok(answer) => answer,
            Err(failure) => {
                turn.failed(&failure.error);
                return Err(failure.error.to_string());
            }
        };
        let _occupied = turn.answered(answer.status());
        if answer.status() != StatusCode::OK {
            return Err(format!("its service answers {}", answer.status().as_u16()));
        }
        if answer.headers().contains_key(CONTENT_ENCODING) {
            return Err("its service sends it encoded".to_owned());
        }
        return read_whole(answer.body_mut(), settings.body_bytes_max).await;
    }
    Err(cause)
}

async fn read_whole(body: &mut UpstreamBody, bytes_max: usize) -> Result<Bytes, String> {
    let mut whole = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| error.to_string())?;
        let Some(data) = frame.data_ref() else { continue };
        if whole.len() + data.len() > bytes_max {
            return Err("it is larger than --body-limit".to_owned());
        }
        whole.extend_from_slice(data);
    }
    Ok(whole.freeze())
}
