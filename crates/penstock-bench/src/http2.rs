//! The client's side of HTTP/2 over TLS: many requests at a time over one
//! connection.

use anyhow::Context as _;
use bytes::Bytes;
use h2::client::SendRequest;
use http::{Method, Request};

use crate::answer::Answer;
use crate::connection::Peer;
use crate::request::PATH;

/// Connects, and drives the connection in a task of its own.
pub async fn open(peer: &Peer, host: &str) -> anyhow::Result<SendRequest<Bytes>> {
    let channel = peer.connect(host).await?;
    let (client, connection) = h2::client::handshake(channel).await?;
    // How it ends is seen by the requests on it.
    tokio::spawn(async move { connection.await.ok() });
    Ok(client)
}

/// Sends a request and reads its answer to the end.
pub async fn exchange(
    client: &SendRequest<Bytes>,
    host: &str,
    key: &str,
    body: &Bytes,
) -> anyhow::Result<Answer> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("https://{host}{PATH}"))
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", "application/json")
        .header("content-length", body.len())
        .body(())?;
    let mut client = client.clone().ready().await?;
    let (answer, mut stream) = client.send_request(request, false)?;
    stream.send_data(body.clone(), true)?;
    let (head, mut body) = answer.await.context("waiting for the head")?.into_parts();
    let mut body_bytes = 0;
    while let Some(data) = body.data().await {
        let length = data?.len();
        body.flow_control().release_capacity(length)?;
        body_bytes += length as u64;
    }
    Ok(Answer { status: head.status.as_u16(), body_bytes, events: 0, closes: false })
}
