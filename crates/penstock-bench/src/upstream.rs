//! The scripted upstream: answers chat completions over HTTP/1.1 as their
//! bodies say, as cheaply as it can. One thread, no parsing beyond what it
//! has to know.

use std::io::Write as _;
use std::time::Duration;

use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::request::Shape;

/// The bytes of a whole answer's body.
pub const ANSWER_BYTES: usize = 600;
/// How far into a body is looked for what to answer.
const SCRIPT_BYTES: usize = 256;
/// What a connection reads at once: a body of 64 KB with its head.
const READ_BYTES: usize = 80 * 1024;

/// Runs the upstream on a port of the system's choice, and says which on
/// standard output. Never returns but with an error.
pub fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut output = std::io::stdout();
        writeln!(output, "{}", listener.local_addr()?)?;
        output.flush()?;
        serve(listener).await
    })
}

/// Answers on all connections of a listener.
pub async fn serve(listener: TcpListener) -> anyhow::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A client that leaves is no failure of the upstream.
        tokio::spawn(async move { converse(stream).await.ok() });
    }
}

/// Answers the requests of one connection until it ends.
async fn converse(mut stream: TcpStream) -> std::io::Result<()> {
    let whole = whole_answer();
    let mut buffer = vec![0; READ_BYTES];
    while let Some(shape) = receive(&mut stream, &mut buffer).await? {
        match shape {
            Shape::Whole => stream.write_all(&whole).await?,
            Shape::Events { count, delay_ms } => {
                stream_events(&mut stream, count, delay_ms).await?
            }
        }
    }
    Ok(())
}

/// Reads a request to its end, and says how to answer it.
pub async fn receive(stream: &mut TcpStream, buffer: &mut [u8]) -> std::io::Result<Option<Shape>> {
    let mut filled = 0;
    let (body_at, length) = loop {
        let count = stream.read(buffer.get_mut(filled..).unwrap_or_default()).await?;
        if count == 0 {
            return Ok(None);
        }
        filled += count;
        let bytes = buffer.get(..filled).unwrap_or_default();
        if let Some(end) = memmem::find(bytes, b"\r\n\r\n") {
            break (end + 4, content_length(bytes.get(..end).unwrap_or_default()));
        }
    };
    // Of a long body only the beginning is kept.
    let script_end = body_at + length.min(SCRIPT_BYTES);
    let mut missing = (body_at + length).saturating_sub(filled);
    while missing > 0 {
        let room = if filled < script_end { filled } else { script_end };
        let count = stream.read(buffer.get_mut(room..).unwrap_or_default()).await?;
        if count == 0 {
            return Ok(None);
        }
        filled = filled.max(room + count);
        missing = missing.saturating_sub(count);
    }
    Ok(Some(shape(buffer.get(body_at..script_end).unwrap_or_default())))
}

/// The value of `Content-Length`; 0 where there is none.
fn content_length(head: &[u8]) -> usize {
    head.split(|byte| *byte == b'\n')
        .filter_map(|line| line.split_at_checked(15))
        .find(|(name, _)| name.eq_ignore_ascii_case(b"content-length:"))
        .and_then(|(_, value)| std::str::from_utf8(value).ok()?.trim().parse().ok())
        .unwrap_or_default()
}

/// What the beginning of a body asks for.
fn shape(script: &[u8]) -> Shape {
    if memmem::find(script, b"\"stream\":true").is_none() {
        return Shape::Whole;
    }
    let number = |name: &[u8]| {
        let digits = script.get(memmem::find(script, name)? + name.len()..)?;
        let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
        std::str::from_utf8(digits.get(..end)?).ok()?.parse().ok()
    };
    let count = number(b"\"max_tokens\":").unwrap_or(1);
    Shape::Events { count, delay_ms: number(b"\"seed\":").unwrap_or(0) }
}

/// A whole answer with its head.
pub fn whole_answer() -> Vec<u8> {
    let opening = "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1,\
        \"model\":\"bench\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"";
    let closing = "\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":10,\
        \"completion_tokens\":20,\"total_tokens\":30}}";
    let filling = "a".repeat(ANSWER_BYTES - opening.len() - closing.len());
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {ANSWER_BYTES}\r\n\
         \r\n{opening}{filling}{closing}"
    )
    .into_bytes()
}

/// The head of a streamed answer.
pub const EVENTS_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
    Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
/// An event as a chunk.
pub const EVENT: &[u8] = b"a6\r\ndata: {\"id\":\"chatcmpl-bench\",\
    \"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"bench\",\"choices\":[{\"index\":0,\
    \"delta\":{\"content\":\" water\"},\"finish_reason\":null}]}\n\n\r\n";
/// The last event as a chunk, and the end of the body.
const EVENTS_END: &[u8] = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";

/// Sends an answer in events, each in a write of its own, as LLMs do.
async fn stream_events(stream: &mut TcpStream, count: u64, delay_ms: u64) -> std::io::Result<()> {
    stream.write_all(EVENTS_HEAD).await?;
    for _ in 0..count {
        stream.write_all(EVENT).await?;
        if delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        }
    }
    stream.write_all(EVENTS_END).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::AnswerReader;
    use crate::request::{body, head};

    #[test]
    fn a_body_says_how_to_answer() {
        for shape in [Shape::Whole, Shape::Events { count: 32, delay_ms: 50 }] {
            assert_eq!(super::shape(&body(1000, shape)), shape);
        }
    }

    #[test]
    fn the_length_of_a_body_is_found() {
        assert_eq!(content_length(&head("a.test", "k", 65_536)), 65_536);
        assert_eq!(content_length(b"GET / HTTP/1.1\r\nA: b"), 0);
    }

    #[test]
    fn answers_are_well_formed() {
        let mut reader = AnswerReader::default();
        reader.feed(&whole_answer()).unwrap();
        assert!(reader.is_done());
        assert_eq!(reader.answer().body_bytes, ANSWER_BYTES as u64);
        let mut reader = AnswerReader::default();
        reader.feed(&[EVENTS_HEAD, EVENT, EVENT, EVENTS_END].concat()).unwrap();
        assert!(reader.is_done());
        assert_eq!(reader.answer().events, 3);
    }
}
