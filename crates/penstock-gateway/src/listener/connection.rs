//! One client connection, from its first byte to its end.

use std::convert::Infallible;
use std::fmt::Display;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{COOKIE, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::activity::{Activity, RequestUnderWay};
use super::admission::Admitted;
use super::http1;
use super::patience::{Appetite, Streams};
use super::quiet::Quiet;
use super::stream::ClientStream;
use super::tls::{Encrypted, Handshakes};
use crate::body::ClientBody;
use crate::incoming::Incoming;
use crate::metrics::Ending;
use crate::proxy::{self, Downstream, DownstreamTls, Worker};
use crate::shutdown::{Phase, Progress};
use crate::stream::Stream;
use crate::upstream::BodyError;

/// What an HTTP/2 client sends first (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long a client has to take note that its idle connection ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// Room for what an HTTP/2 client sends: of one request, and of all of a
/// connection.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// The most that waits in memory for an HTTP/2 client to take it, for each
/// request.
const STREAM_BUFFER_BYTES: usize = 64 << 10;
/// Requests that were cancelled before anybody looked at them, and resets
/// that a client's mistakes cause, until the connection is closed.
const UNSEEN_RESETS_MAX: usize = 20;
const PROVOKED_RESETS_MAX: usize = 100;

/// A connection that was accepted.
pub(super) struct Accepted {
    pub(super) worker: Arc<Worker>,
    pub(super) client: SocketAddr,
    pub(super) admitted: Admitted,
    pub(super) stopping: Progress,
}

impl Accepted {
    /// Serves it on the plain listener to its end.
    pub(super) async fn serve_plain(mut self, mut stream: TcpStream) {
        let first = tokio::select! {
            biased;
            first = timeout(self.worker.gateway.settings.head_timeout, first_bytes(&mut stream)) => first,
            () = self.stopping.reaches(Phase::Hurrying) => return,
        };
        match first {
            Ok(Ok(first)) if first.starts_with(PREFACE) => {
                Box::pin(self.serve_http2(stream, first.freeze(), None)).await;
            }
            Ok(Ok(first)) if first.is_empty() => {}
            // Apart, so that a connection on which nothing comes costs little.
            Ok(Ok(first)) => {
                Box::pin(self.serve_http1(Stream::Plain(stream), first, None)).await;
            }
            Ok(Err(error)) => self.report(&error),
            Err(_) => self.ended(Ending::HeadTimeout),
        }
    }

    /// Serves it on the encrypted listener to its end.
    pub(super) async fn serve_tls(mut self, stream: TcpStream, handshakes: Arc<Handshakes>) {
        let patience = self.worker.gateway.settings.handshake_timeout;
        // Apart, so that the connection does not carry its state to its end.
        let handshake = Box::pin(handshakes.accept(stream));
        let handshake = tokio::select! {
            biased;
            handshake = timeout(patience, handshake) => handshake,
            () = self.stopping.reaches(Phase::Hurrying) => return,
        };
        let Encrypted { stream, is_http2, tls } = match handshake {
            Ok(Ok(encrypted)) => encrypted,
            Ok(Err(error)) => {
                self.report(&error);
                return self.ended(Ending::HandshakeFailed);
            }
            Err(_) => return self.ended(Ending::HandshakeTimeout),
        };
        self.worker.gateway.state.metrics.handshakes.fetch_add(1, Ordering::Relaxed);
        match is_http2 {
            true => Box::pin(self.serve_http2(stream, Bytes::new(), Some(tls))).await,
            false => {
                let stream = Stream::Tls(Box::new(stream.into()));
                Box::pin(self.serve_http1(stream, BytesMut::new(), Some(tls))).await;
            }
        }
    }

    async fn serve_http1(self, stream: Stream, first: BytesMut, tls: Option<DownstreamTls>) {
        let Self { worker, client, admitted, stopping } = self;
        let activity = Activity::new(true, &worker.gateway.settings);
        let downstream = Downstream::new(client, tls);
        let (progress, is_stopping) = (stopping.clone(), AtomicBool::new(false));
        let service = http1::Service {
            worker: &worker,
            downstream: &downstream,
            activity: &activity,
            progress: &progress,
            is_stopping: &is_stopping,
        };
        let serving = pin!(http1::Connection::new(service, stream, first, admitted).serve());
        // A request may be under way, which closing would lose.
        let until = Phase::Hurrying;
        let watched = Watched { worker: &worker, client, activity: &activity, until, stopping };
        watched.drive(serving, |_| is_stopping.store(true, Ordering::Relaxed)).await;
    }

    async fn serve_http2<S>(self, stream: S, first: Bytes, tls: Option<DownstreamTls>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { worker, client, admitted, stopping } = self;
        let settings = &worker.gateway.settings;
        let activity = Activity::new(false, settings);
        let downstream = Arc::new(Downstream::new(client, tls));
        let service = service_fn(|mut request: Request<hyper::body::Incoming>| {
            let under_way = activity.begin();
            let (worker, downstream) = (worker.clone(), downstream.clone());
            async move {
                let appetite = Appetite::of_task();
                if request.headers().len() > worker.gateway.settings.headers_max {
                    return Ok(too_many_headers(under_way));
                }
                join_cookies(request.headers_mut());
                let response =
                    proxy::serve(&worker, &downstream, request.map(Incoming::Http2)).await;
                appetite.asked(true);
                Ok::<_, Infallible>(
                    response.map(|body| TrackedBody::new(body, under_way, appetite)),
                )
            }
        });
        let stream = ClientStream::new(stream, first, activity.clone(), admitted);
        let head_bytes_max = u32::try_from(settings.head_bytes_max).unwrap_or(u32::MAX);
        let streams = Streams { stall_timeout: settings.client_stall_timeout };
        let serving = pin!(
            http2::Builder::new(streams)
                .timer(TokioTimer::new())
                .initial_stream_window_size(STREAM_WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                .max_send_buf_size(STREAM_BUFFER_BYTES)
                .max_header_list_size(head_bytes_max)
                .max_concurrent_streams(settings.streams_max)
                .max_pending_accept_reset_streams(UNSEEN_RESETS_MAX)
                .max_local_error_reset_streams(PROVOKED_RESETS_MAX)
                .keep_alive_interval(settings.ping_interval)
                .keep_alive_timeout(settings.ping_timeout)
                .serve_connection(stream, service)
        );
        // GOAWAY says which requests count, so none is lost.
        let until = Phase::Leaving;
        let watched = Watched { worker: &worker, client, activity: &activity, until, stopping };
        watched.drive(serving, |serving| serving.graceful_shutdown()).await;
    }

    fn report(&self, error: &io::Error) {
        tracing::debug!(client = %self.client, %error, "a client connection did not begin");
    }

    fn ended(&self, ending: Ending) {
        self.worker.gateway.state.metrics.ended(ending);
    }
}

/// Reads until it is certain whether this is the preface of HTTP/2. Nothing
/// more is waited for once it is not.
async fn first_bytes(stream: &mut TcpStream) -> io::Result<BytesMut> {
    let mut bytes = BytesMut::with_capacity(http1::READ_BYTES_MIN);
    while PREFACE.starts_with(&bytes) && bytes.len() < PREFACE.len() {
        if stream.read_buf(&mut bytes).await? == 0 {
            break;
        }
    }
    Ok(bytes)
}

/// The answer to a head with more of them than it may have.
fn too_many_headers(under_way: RequestUnderWay) -> Response<TrackedBody> {
    let mut response = Response::new(TrackedBody { body: None, under_way, appetite: None });
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response
}

/// HTTP/2 may split the cookies, what comes behind may not see it (RFC 9113,
/// 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let parts: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&parts.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// A connection that is served, and what may end it.
struct Watched<'a> {
    worker: &'a Worker,
    client: SocketAddr,
    activity: &'a Activity,
    /// From when on it takes no new requests.
    until: Phase,
    stopping: Progress,
}

impl Watched<'_> {
    /// Serves to the end. `stop` lets requests finish and takes no more.
    async fn drive<C, E>(mut self, mut serving: Pin<&mut C>, stop: impl Fn(Pin<&mut C>))
    where
        C: Future<Output = Result<(), E>>,
        E: Display,
    {
        let mut is_stopping = false;
        let outcome = loop {
            let interrupt = {
                let interrupted = pin!(self.interrupted(is_stopping));
                tokio::select! {
                    biased;
                    outcome = serving.as_mut() => break outcome,
                    interrupt = Quiet::new(interrupted) => interrupt,
                }
            };
            let Interrupt::End(ending) = interrupt else {
                is_stopping = true;
                stop(serving.as_mut());
                continue;
            };
            let reason = ending.as_str();
            tracing::debug!(client = %self.client, reason, "a client connection is ended");
            self.worker.gateway.state.metrics.ended(ending);
            if ending != Ending::Idle || is_stopping {
                return;
            }
            stop(serving.as_mut());
            match timeout(FAREWELL, serving.as_mut()).await {
                Ok(outcome) => break outcome,
                Err(_) => return,
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(client = %self.client, %error, "a client connection ended early");
        }
    }

    async fn interrupted(&mut self, is_stopping: bool) -> Interrupt {
        let gateway = &self.worker.gateway;
        let ending = self.activity.must_end(&gateway.settings, gateway.client_idle_timeout());
        tokio::select! {
            biased;
            () = self.stopping.reaches(self.until), if !is_stopping => Interrupt::Stop,
            ending = ending => Interrupt::End(ending),
        }
    }
}

/// What comes between a connection and its client.
enum Interrupt {
    /// It has to take no new requests.
    Stop,
    /// It has to end.
    End(Ending),
}

/// The body of an answer in HTTP/2, and the knowledge that its request is under
/// way.
struct TrackedBody {
    /// None where there is nothing to send.
    body: Option<ClientBody>,
    under_way: RequestUnderWay,
    /// How much the client takes; none where there is nothing to send.
    appetite: Option<Arc<Appetite>>,
}

impl TrackedBody {
    fn new(body: ClientBody, under_way: RequestUnderWay, appetite: Arc<Appetite>) -> Self {
        Self { body: Some(body), under_way, appetite: Some(appetite) }
    }
}

impl Body for TrackedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let poll = Pin::new(body).poll_frame(cx);
        if let Some(appetite) = &self.appetite {
            appetite.asked(matches!(poll, Poll::Ready(Some(Ok(_)))));
        }
        self.under_way.is_done |= match &poll {
            // Nothing comes behind trailers, and hyper does not ask.
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers(),
            Poll::Ready(None | Some(Err(_))) => true,
            Poll::Pending => false,
        };
        poll
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(ClientBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), ClientBody::size_hint)
    }
}

impl Drop for TrackedBody {
    fn drop(&mut self) {
        if self.is_end_stream() {
            self.under_way.is_done = true;
        }
    }
}
