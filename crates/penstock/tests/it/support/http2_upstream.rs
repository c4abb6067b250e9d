//! An upstream that speaks HTTP/2 by an implementation of its own: it is
//! scripted by the path that is asked for.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::client::PATIENCE;

/// A request as it arrived, with its trailers.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) head: Request<()>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.headers().get(name).map(|value| value.to_str().unwrap())
    }
}

/// An upstream on a port of its own.
pub(crate) struct Http2Upstream {
    pub(crate) address: SocketAddr,
    calls: Receiver<Call>,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

struct Shared {
    calls: Sender<Call>,
    connections: AtomicUsize,
    /// Streams that are open now, and the most there were.
    open: AtomicUsize,
    open_max: AtomicUsize,
    /// How many requests are to be refused.
    refusals: AtomicUsize,
    release: tokio::sync::Semaphore,
    streams_max: u32,
}

impl Http2Upstream {
    pub(crate) fn start() -> Self {
        Self::allowing(100)
    }

    /// One that allows this many streams for each connection.
    pub(crate) fn allowing(streams_max: u32) -> Self {
        Self::serve(streams_max, None)
    }

    /// One that wants TLS.
    pub(crate) fn start_tls(tls: Arc<rustls::ServerConfig>) -> Self {
        let mut tls = rustls::ServerConfig::clone(&tls);
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Self::serve(100, Some(Arc::new(tls).into()))
    }

    fn serve(streams_max: u32, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, calls) = channel();
        let shared = Arc::new(Shared {
            calls: sender,
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            open_max: AtomicUsize::new(0),
            refusals: AtomicUsize::new(0),
            release: tokio::sync::Semaphore::new(0),
            streams_max,
        });
        let accepting = shared.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                accepting.connections.fetch_add(1, Ordering::AcqRel);
                let (shared, tls) = (accepting.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => shared.connection(stream).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => shared.connection(stream).await,
                            Err(error) => panic!("handshake: {error}"),
                        },
                    }
                });
            }
        });
        Self { address, calls, shared, _runtime: runtime }
    }

    /// The next request that arrived.
    pub(crate) fn received(&self) -> Call {
        self.calls.recv_timeout(PATIENCE).expect("no request arrived")
    }

    /// Asserts that no request has arrived that was not asked for.
    #[track_caller]
    pub(crate) fn received_nothing(&self) {
        assert!(self.calls.try_recv().is_err(), "a request arrived");
    }

    /// Refuses the next streams, so many.
    pub(crate) fn refuse(&self, count: usize) {
        self.shared.refusals.store(count, Ordering::Release);
    }

    /// How many streams are still to be refused.
    pub(crate) fn refusals(&self) -> usize {
        self.shared.refusals.load(Ordering::Acquire)
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Acquire)
    }

    /// The most requests that were open at once.
    pub(crate) fn open_max(&self) -> usize {
        self.shared.open_max.load(Ordering::Acquire)
    }

    /// Requests that are open now.
    pub(crate) fn open(&self) -> usize {
        self.shared.open.load(Ordering::Acquire)
    }

    /// Lets requests for `/held` go on.
    pub(crate) fn release(&self, count: usize) {
        self.shared.release.add_permits(count);
    }
}

impl Shared {
    async fn connection(self: Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut builder = h2::server::Builder::new();
        builder.max_concurrent_streams(self.streams_max);
        let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let left = |count: usize| count.checked_sub(1);
            if self.refusals.fetch_update(Ordering::AcqRel, Ordering::Acquire, left).is_ok() {
                respond.send_reset(Reason::REFUSED_STREAM);
                continue;
            }
            match request.uri().path() {
                "/reset" => respond.send_reset(Reason::INTERNAL_ERROR),
                // Nobody takes the body, nor answers.
                "/unread" => {
                    tokio::spawn(async move {
                        let _body = request;
                        let _ = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
                    });
                }
                // It is answered, and nobody takes the body, nor refuses it.
                "/answered" => {
                    tokio::spawn(async move {
                        let _body = request;
                        if let Ok(mut stream) = respond.send_response(Response::new(()), false) {
                            let _ = stream.send_data(Bytes::from_static(b"aye"), true);
                        }
                        std::future::pending::<()>().await;
                    });
                }
                // The connection ends without a word about the stream.
                "/cut" => return,
                path => {
                    let goes_away = path == "/last";
                    tokio::spawn(self.clone().answer(request, respond));
                    if goes_away {
                        connection.graceful_shutdown();
                    }
                }
            }
        }
    }

    async fn answer(self: Arc<Self>, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        let open = self.open.fetch_add(1, Ordering::AcqRel) + 1;
        self.open_max.fetch_max(open, Ordering::AcqRel);
        // A client that has gone does not matter here.
        let _ = self.exchange(request, respond).await;
        self.open.fetch_sub(1, Ordering::AcqRel);
    }

    async fn exchange(
        &self,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
    ) -> Result<(), h2::Error> {
        let (parts, mut incoming) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let mut body = Vec::new();
        if path != "/echo" {
            while let Some(data) = incoming.data().await {
                let data = data?;
                incoming.flow_control().release_capacity(data.len())?;
                body.extend_from_slice(&data);
            }
        }
        let trailers = match path.as_str() {
            "/echo" => HeaderMap::new(),
            _ => incoming.trailers().await?.unwrap_or_default(),
        };
        let head = Request::from_parts(parts, ());
        let _ = self.calls.send(Call { head, body, trailers });
        if path == "/held" {
            self.release.acquire().await.unwrap().forget();
        }
        let response = Response::builder()
            .header("content-type", "application/grpc")
            .header("trailer", "grpc-status, grpc-message");
        if path == "/denied" {
            let response = response.header("grpc-status", "7").body(()).unwrap();
            respond.send_response(response, true)?;
            return Ok(());
        }
        let mut stream = respond.send_response(response.body(()).unwrap(), false)?;
        match path.as_str() {
            "/echo" => {
                while let Some(data) = incoming.data().await {
                    let data = data?;
                    incoming.flow_control().release_capacity(data.len())?;
                    stream.send_data(data, false)?;
                }
            }
            "/half" => {
                stream.send_data(Bytes::from_static(b"half"), false)?;
                // The reset may overtake what was not sent yet.
                tokio::time::sleep(Duration::from_millis(50)).await;
                stream.send_reset(Reason::INTERNAL_ERROR);
                return Ok(());
            }
            "/endless" => loop {
                stream.reserve_capacity(16 << 10);
                let granted = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
                match granted {
                    Some(Ok(count)) => stream.send_data(vec![b'x'; count].into(), false)?,
                    _ => return Ok(()),
                }
            },
            _ => stream.send_data(Bytes::from_static(b"aye"), false)?,
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        trailers.insert("grpc-message", "fine".parse().unwrap());
        stream.send_trailers(trailers)
    }
}
