//! An HTTP/2 client that shows single streams and can misbehave.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::Method;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::client::{PATIENCE, Request};

/// A connection to the gateway.
pub(crate) struct Http2 {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Http2 {
    /// With prior knowledge, over a plain connection.
    pub(crate) fn open(to: SocketAddr) -> Self {
        let runtime = runtime();
        let (sender, connection) = runtime.block_on(async {
            let stream = TcpStream::connect(to).await.unwrap();
            let (sender, connection) = h2::client::handshake(stream).await.unwrap();
            (sender, tokio::spawn(connection))
        });
        Self { runtime, sender, connection }
    }

    /// Over an encrypted connection, as agreed upon in the handshake.
    pub(crate) fn open_tls(to: SocketAddr, config: ClientConfig, name: &str) -> Self {
        let runtime = runtime();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let (sender, connection) = runtime.block_on(async {
            let stream = TcpStream::connect(to).await.unwrap();
            let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
            let stream = connector.connect(name, stream).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let (sender, connection) = h2::client::handshake(stream).await.unwrap();
            (sender, tokio::spawn(connection))
        });
        Self { runtime, sender, connection }
    }

    /// Waits, but not for ever.
    #[track_caller]
    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, future).await })
            .expect("it took too long")
    }

    /// Sends a head; the body follows where it is not over.
    ///
    /// # Errors
    /// The connection is over.
    pub(crate) fn try_begin(
        &mut self,
        request: http::Request<()>,
        is_over: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        let sender = self.sender.clone();
        let mut ready = self.wait(sender.ready())?;
        let begun = ready.send_request(request, is_over);
        self.sender = ready;
        begun
    }

    #[track_caller]
    pub(crate) fn begin(&mut self, request: http::Request<()>) -> ResponseFuture {
        self.try_begin(request, true).unwrap().0
    }

    /// Sends what could go over HTTP/1.1 as well.
    #[track_caller]
    pub(crate) fn begin_request(&mut self, request: &Request) -> ResponseFuture {
        let mut builder = http::Request::builder();
        let (mut host, mut path) = (String::new(), String::new());
        for (name, value) in request.fields() {
            match name.as_str() {
                ":method" => builder = builder.method(value.as_str()),
                ":authority" => host = value,
                ":path" => path = value,
                ":scheme" => {}
                _ => builder = builder.header(name, value),
            }
        }
        let head = builder.uri(format!("http://{host}{path}")).body(()).unwrap();
        let (answer, mut stream) = self.try_begin(head, false).unwrap();
        stream.send_data(Bytes::copy_from_slice(request.body_bytes()), true).unwrap();
        answer
    }

    /// A request with a body, and its whole answer.
    #[track_caller]
    pub(crate) fn send(
        &mut self,
        request: http::Request<()>,
        body: &str,
    ) -> (http::response::Parts, String) {
        let (answer, mut stream) = self.try_begin(request, false).unwrap();
        stream.send_data(Bytes::copy_from_slice(body.as_bytes()), true).unwrap();
        let (parts, mut body) = self.wait(answer).unwrap().into_parts();
        let mut text = String::new();
        while let Some(data) = self.data(&mut body) {
            text += &data;
        }
        (parts, text)
    }

    /// The next data of a body.
    #[track_caller]
    pub(crate) fn data(&self, body: &mut RecvStream) -> Option<String> {
        loop {
            let data = self.wait(body.data())?.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            // The end may come as an empty frame.
            if !data.is_empty() {
                return Some(String::from_utf8(data.to_vec()).unwrap());
            }
        }
    }

    /// Waits until the gateway ends the connection.
    #[track_caller]
    pub(crate) fn await_end(mut self) -> Result<(), h2::Error> {
        let connection = &mut self.connection;
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, connection).await })
            .expect("the connection did not end")
            .unwrap()
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// The head of a request to a host.
pub(crate) fn request(method: Method, scheme: &str, host: &str, path: &str) -> http::Request<()> {
    let uri = format!("{scheme}://{host}{path}");
    http::Request::builder().method(method).uri(uri).body(()).unwrap()
}
