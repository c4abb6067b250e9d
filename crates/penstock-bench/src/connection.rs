//! The client's side of an HTTP/1.1 connection, over TCP or TLS: one request
//! and its answer after the other.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::bail;
use bytes::{Buf as _, Bytes};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::answer::{Answer, AnswerReader};

/// What is read at once.
const READ_BYTES: usize = 64 * 1024;
/// Bodies up to this size go out in one buffer with their head.
const JOINED_BYTES_MAX: usize = 4096;

/// What bytes go over.
pub trait Channel: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Channel for T {}

/// Where and how to connect.
#[derive(Clone)]
pub struct Peer {
    /// The server's address.
    pub address: SocketAddr,
    /// How to speak TLS with it, where it does.
    pub tls: Option<Arc<ClientConfig>>,
}

impl Peer {
    /// Connects; `host` is the name that a TLS handshake asks for.
    pub async fn connect(&self, host: &str) -> anyhow::Result<Box<dyn Channel>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let Some(config) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(host.to_owned())?;
        let connector = TlsConnector::from(Arc::clone(config));
        Ok(Box::new(connector.connect(name, stream).await?))
    }
}

/// A connection that is kept open between requests.
pub struct Connection {
    channel: Box<dyn Channel>,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub async fn open(peer: &Peer, host: &str) -> anyhow::Result<Self> {
        Ok(Self { channel: peer.connect(host).await?, buffer: vec![0; READ_BYTES] })
    }

    /// Sends a request.
    pub async fn send(&mut self, head: &Bytes, body: &Bytes) -> anyhow::Result<()> {
        if body.len() <= JOINED_BYTES_MAX {
            self.channel.write_all(&[head.as_ref(), body.as_ref()].concat()).await?;
        } else {
            let mut bytes = head.clone().chain(body.clone());
            self.channel.write_all_buf(&mut bytes).await?;
        }
        self.channel.flush().await?;
        Ok(())
    }

    /// Reads an answer to its end. `arrived` sees what is known of it after
    /// every read.
    pub async fn receive(&mut self, mut arrived: impl FnMut(&Answer)) -> anyhow::Result<Answer> {
        let mut reader = AnswerReader::default();
        while !reader.is_done() {
            let count = self.channel.read(&mut self.buffer).await?;
            if count == 0 {
                bail!("closed after {:?}", reader.answer());
            }
            let bytes = self.buffer.get(..count).unwrap_or_default();
            reader.feed(bytes).map_err(anyhow::Error::msg)?;
            arrived(&reader.answer());
        }
        Ok(reader.answer())
    }
}
