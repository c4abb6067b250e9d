//! A client connection of HTTP/1.1, one request after the other.
//!
//! It is driven by the task of the connection, in plain polls: no channel and
//! no other task stands between the socket and the request. [`head`] knows
//! the bytes of heads, `receiving` reads them and bodies off the socket,
//! `sending` writes answers.
//!
//! Invariant: what a request's body leaves unread is never read as a request.

mod date;
pub mod head;
mod receiving;
mod sending;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::HeaderMap;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use tokio::io::AsyncWrite;
use tokio::sync::oneshot::Sender;

use self::head::{Head, HeadLimits, HeadReader, Refused, Wishes};
pub(super) use self::receiving::READ_BYTES_MIN;
pub use self::receiving::Receiving;
use self::receiving::{NoHead, Owned, Socket, body_of};
use self::sending::{BodyEnd, Occasion, Output, write_head};
use super::activity::Activity;
use super::admission::Admitted;
use crate::body::ClientBody;
use crate::incoming::Incoming;
use crate::proxy::{self, Downstream, Worker};
use crate::shutdown::{Phase, Progress};
use crate::stream::Stream;
use crate::tunnel::{ClientSide, Handover};

/// A map for headers is filled again up to this size.
const SPARE_HEADERS_MAX: usize = 64;
/// How long, and how much, a client may go on sending after an answer that
/// did not wait for all of its request.
const LINGER_TIME: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 16 << 20;

/// What a connection is served with.
pub(super) struct Service<'a> {
    pub(super) worker: &'a Worker,
    pub(super) downstream: &'a Downstream,
    pub(super) activity: &'a Arc<Activity>,
    pub(super) progress: &'a Progress,
    /// Whether it has to take no new requests.
    pub(super) is_stopping: &'a AtomicBool,
}

/// A client's connection.
pub(super) struct Connection<'a> {
    service: Service<'a>,
    socket: Owned,
    reader: HeadReader,
    limits: HeadLimits,
    output: Output,
    /// A map that the next head fills.
    spare: HeaderMap,
}

impl<'a> Connection<'a> {
    /// A connection of which `first` was read already.
    pub(super) fn new(
        service: Service<'a>,
        stream: Stream,
        first: BytesMut,
        admitted: Admitted,
    ) -> Self {
        let settings = &service.worker.gateway.settings;
        let limits =
            HeadLimits { bytes_max: settings.head_bytes_max, headers_max: settings.headers_max };
        let socket = Socket::new(stream, first, service.activity.clone(), admitted);
        Self {
            service,
            socket: Owned::new(socket),
            reader: HeadReader::default(),
            limits,
            output: Output::default(),
            spare: HeaderMap::new(),
        }
    }

    /// Serves it to its end.
    ///
    /// # Errors
    /// It broke off, or was left in the middle of something.
    pub(super) async fn serve(mut self) -> io::Result<()> {
        while let Some(head) = self.head().await? {
            let under_way = self.service.activity.begin();
            let (method, wishes) = (head.method.clone(), head.wishes);
            let (request, client) = self.request(head);
            let Some(response) = self.answer(request).await else {
                return Err(io::Error::other("the client left before the answer"));
            };
            let is_switch = response.status() == StatusCode::SWITCHING_PROTOCOLS;
            let goes_on = self.send(response, &method, wishes).await?;
            drop(under_way);
            if let Some(client) = client.filter(|_| is_switch) {
                self.hand_over(client);
                return Ok(());
            }
            if !goes_on || !poll_fn(|cx| self.socket.lock().poll_settled(cx)).await {
                break;
            }
        }
        self.close().await
    }

    /// Closes it in such a way that the client gets all that was sent.
    async fn close(self) -> io::Result<()> {
        self.socket.lock().take_back();
        poll_fn(|cx| Pin::new(&mut self.socket.lock().stream).poll_shutdown(cx)).await?;
        if !self.socket.lock().is_heard_out() {
            // Apart, because it is rare.
            Box::pin(self.linger()).await;
        }
        Ok(())
    }

    /// Takes for a while what a client still sends that was not heard out:
    /// closed over that, a connection is reset, and a client that is busy
    /// sending never sees the answer (RFC 9112, 9.6).
    async fn linger(&self) {
        let Service { activity, progress, .. } = self.service;
        // It is neither idle nor about to send a head.
        let _under_way = activity.begin();
        let mut progress = progress.clone();
        let mut left = LINGER_BYTES_MAX;
        tokio::select! {
            biased;
            () = progress.reaches(Phase::Hurrying) => {}
            () = poll_fn(|cx| self.socket.lock().poll_discard(cx, &mut left)) => {}
            () = tokio::time::sleep(LINGER_TIME) => {}
        }
    }

    /// The next head, unless there is none or it was refused.
    async fn head(&mut self) -> io::Result<Option<Head>> {
        let is_stopping = self.service.is_stopping;
        self.socket.lock().begin_waiting();
        let head = poll_fn(|cx| {
            let mut socket = self.socket.lock();
            let reading = (&mut self.reader, self.limits);
            let takes_none = is_stopping.load(Ordering::Relaxed);
            socket.poll_head(cx, reading, &mut self.spare, takes_none)
        });
        match head.await {
            Ok(head) => Ok(Some(head)),
            Err(NoHead::Over) => Ok(None),
            Err(NoHead::Broken(error)) => Err(error),
            Err(NoHead::Refused(Refused(status))) => {
                tracing::debug!(client = %self.service.downstream.address, %status, "a head is refused");
                self.socket.lock().fail();
                self.refuse(status).await?;
                Ok(None)
            }
        }
    }

    /// Answers what is no request.
    async fn refuse(&mut self, status: StatusCode) -> io::Result<()> {
        let (mut parts, ()) = Response::new(()).into_parts();
        parts.status = status;
        let wishes = Wishes::default();
        let occasion = Occasion { method: &Method::GET, wishes, length: Some(0), is_last: true };
        write_head(&parts, &occasion, &mut self.output);
        let (output, activity) = (&mut self.output, self.service.activity);
        poll_fn(|cx| output.poll_write(&mut self.socket.lock().stream, activity, cx)).await
    }

    /// The request, and what the connection is handed over with where the
    /// client offers another protocol.
    fn request(&self, head: Head) -> (Request<Incoming>, Option<Sender<ClientSide>>) {
        let Head { method, uri, headers, framing, wishes } = head;
        let mut client = None;
        let body = match framing.is_over() && wishes.offers_upgrade {
            true => {
                let (sender, handover) = Handover::channel();
                client = Some(sender);
                Incoming::Offer(handover)
            }
            false => body_of(&self.socket, framing, wishes.expects_continue),
        };
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.version_mut() = wishes.version();
        *request.headers_mut() = headers;
        (request, client)
    }

    /// The answer to a request, unless the client leaves before.
    async fn answer(&self, request: Request<Incoming>) -> Option<Response<ClientBody>> {
        let Service { worker, downstream, .. } = self.service;
        let mut serving = pin!(proxy::serve(worker, downstream, request));
        poll_fn(|cx| match serving.as_mut().poll(cx) {
            Poll::Ready(response) => Poll::Ready(Some(response)),
            Poll::Pending => self.socket.lock().poll_gone(cx).map(|()| None),
        })
        .await
    }

    /// Sends an answer; whether another request may follow.
    async fn send(
        &mut self,
        response: Response<ClientBody>,
        method: &Method,
        wishes: Wishes,
    ) -> io::Result<bool> {
        let (mut parts, body) = response.into_parts();
        let length = match body.is_end_stream() {
            true => Some(0),
            false => body.size_hint().exact(),
        };
        let Service { is_stopping, progress, .. } = self.service;
        let mut is_last = !wishes.keeps_alive
            || wishes.offers_upgrade
            || is_stopping.load(Ordering::Relaxed)
            || progress.is_in(Phase::Leaving);
        poll_fn(|cx| {
            let mut socket = self.socket.lock();
            is_last |= socket.is_stuck(cx);
            self.output.push_bytes(socket.take_go_ahead());
            Poll::Ready(())
        })
        .await;
        let occasion = Occasion { method, wishes, length, is_last };
        let (end, is_last) = write_head(&parts, &occasion, &mut self.output);
        parts.headers.clear();
        if parts.headers.capacity() <= SPARE_HEADERS_MAX {
            self.spare = parts.headers;
        }
        let is_drained = end == BodyEnd::None && length.is_none();
        let is_sent = end != BodyEnd::None && length != Some(0);
        let mut sending = Sending { body: (is_drained || is_sent).then_some(body), end };
        poll_fn(|cx| self.poll_send(&mut sending, cx)).await?;
        Ok(!is_last)
    }

    fn poll_send(&mut self, sending: &mut Sending, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let gathered = sending.poll_gather(&mut self.output, cx);
            let mut socket = self.socket.lock();
            // What came before the body broke off goes out, as far as it goes.
            let written = self.output.poll_write(&mut socket.stream, self.service.activity, cx)?;
            match (gathered?, written) {
                (_, Poll::Ready(())) if sending.body.is_none() => return Poll::Ready(Ok(())),
                (_, Poll::Pending) if sending.body.is_none() => return Poll::Pending,
                (Poll::Ready(()), Poll::Ready(())) => {}
                (Poll::Pending, _) | (_, Poll::Pending) => {
                    ready!(socket.poll_gone(cx));
                    return Poll::Ready(Err(io::Error::other("the client left")));
                }
            }
        }
    }

    /// Hands the connection over to a tunnel.
    fn hand_over(self, client: Sender<ClientSide>) {
        let Some(socket) = self.socket.into_inner() else { return };
        let Socket { stream, input, admitted, .. } = socket;
        // The tunnel may be over already.
        let _ = client.send(ClientSide { stream, early: input.freeze(), _admitted: admitted });
    }
}

/// The body of an answer that is being sent.
struct Sending {
    /// What is to come; `None` at the end.
    body: Option<ClientBody>,
    end: BodyEnd,
}

impl Sending {
    /// Takes of the body what is there, and for which there is room. Pending
    /// where the body is waited for.
    fn poll_gather(&mut self, output: &mut Output, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(body) = &mut self.body
            && output.has_room()
        {
            let frame = match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                Some(Ok(frame)) => Some(frame),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => None,
            };
            let is_over = frame.is_none() || body.is_end_stream();
            let trailers = match frame.map(Frame::into_data) {
                Some(Ok(data)) => {
                    self.push(data, output)?;
                    None
                }
                Some(Err(frame)) => frame.into_trailers().ok(),
                None => None,
            };
            if is_over || trailers.is_some() {
                self.body = None;
                self.finish(trailers, output)?;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn push(&mut self, data: Bytes, output: &mut Output) -> io::Result<()> {
        match &mut self.end {
            _ if data.is_empty() => {}
            BodyEnd::None => {}
            BodyEnd::Close => output.push(data, false),
            BodyEnd::Chunks { .. } => output.push(data, true),
            BodyEnd::Length(left) => {
                let rest = left.checked_sub(data.len() as u64);
                *left = rest.ok_or_else(|| io::Error::other("a body is longer than announced"))?;
                output.push(data, false);
            }
        }
        Ok(())
    }

    fn finish(&self, trailers: Option<HeaderMap>, output: &mut Output) -> io::Result<()> {
        match &self.end {
            BodyEnd::Length(1..) => Err(io::Error::other("a body is shorter than announced")),
            BodyEnd::Chunks { trailers: announced } => {
                output.end_chunks(trailers, announced);
                Ok(())
            }
            BodyEnd::None | BodyEnd::Length(_) | BodyEnd::Close => Ok(()),
        }
    }
}
