//! A stand-in for an LLM service that speaks the OpenAI API: it answers what
//! it was asked, whole or as a stream.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{Sleep, sleep};

use super::UPSTREAM_ADDRESS;

/// The time between two words of a stream.
const WORD_INTERVAL: Duration = Duration::from_millis(60);

/// Starts the upstream on a thread of its own and returns its address.
pub(super) fn start() -> std::io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind(UPSTREAM_ADDRESS)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("upstream".into()).spawn(move || {
        runtime.block_on(async move {
            match TcpListener::from_std(listener) {
                Ok(listener) => accept(listener).await,
                Err(error) => tracing::error!(%error, "the embedded upstream cannot listen"),
            }
        });
    })?;
    Ok(address)
}

async fn accept(listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(
                    http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service_fn(answer)),
                );
            }
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Words>, Infallible> {
    let is_chat =
        request.method() == Method::POST && request.uri().path().ends_with("/chat/completions");
    if request.method() == Method::GET && request.uri().path().ends_with("/models") {
        let models = json!({"object": "list", "data": [{"id": "quickstart", "object": "model", "owned_by": "penstock"}]});
        return Ok(whole(StatusCode::OK, &models));
    }
    if !is_chat {
        let error = json!({"error": {"message": "not here", "type": "invalid_request_error"}});
        return Ok(whole(StatusCode::NOT_FOUND, &error));
    }
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let Ok(asked) = serde_json::from_slice::<Value>(&body) else {
        let error =
            json!({"error": {"message": "the body is not JSON", "type": "invalid_request_error"}});
        return Ok(whole(StatusCode::BAD_REQUEST, &error));
    };
    let model = asked["model"].as_str().unwrap_or("quickstart");
    let said = asked["messages"]
        .as_array()
        .and_then(|messages| messages.last())
        .and_then(|message| message["content"].as_str())
        .unwrap_or("nothing");
    let words: Vec<String> = format!("You said: {said}").split(' ').map(str::to_owned).collect();
    Ok(match asked["stream"].as_bool() {
        Some(true) => streamed(model, &words, asked["stream_options"]["include_usage"] == true),
        _ => whole(StatusCode::OK, &completion(model, &words)),
    })
}

fn usage(words: &[String]) -> Value {
    json!({"prompt_tokens": words.len(), "completion_tokens": words.len(), "total_tokens": 2 * words.len()})
}

fn created() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn completion(model: &str, words: &[String]) -> Value {
    json!({
        "id": "chatcmpl-quickstart",
        "object": "chat.completion",
        "created": created(),
        "model": model,
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": words.join(" ")},
            "finish_reason": "stop",
        }],
        "usage": usage(words),
    })
}

fn whole(status: StatusCode, body: &Value) -> Response<Words> {
    respond(status, "application/json", vec![body.to_string()], Duration::ZERO)
}

fn streamed(model: &str, words: &[String], with_usage: bool) -> Response<Words> {
    let chunk = |choices: Value, usage: Option<Value>| {
        let mut chunk = json!({
            "id": "chatcmpl-quickstart",
            "object": "chat.completion.chunk",
            "created": created(),
            "model": model,
            "choices": choices,
        });
        if let Some(usage) = usage {
            chunk["usage"] = usage;
        }
        format!("data: {chunk}\n\n")
    };
    let delta = |delta: Value, finish: Value| {
        chunk(json!([{"index": 0, "delta": delta, "finish_reason": finish}]), None)
    };
    let mut events = vec![delta(json!({"role": "assistant", "content": ""}), Value::Null)];
    for (index, word) in words.iter().enumerate() {
        let text = if index == 0 { word.clone() } else { format!(" {word}") };
        events.push(delta(json!({"content": text}), Value::Null));
    }
    events.push(delta(json!({}), "stop".into()));
    if with_usage {
        events.push(chunk(json!([]), Some(usage(words))));
    }
    events.push("data: [DONE]\n\n".to_owned());
    respond(StatusCode::OK, "text/event-stream", events, WORD_INTERVAL)
}

fn respond(
    status: StatusCode,
    content_type: &'static str,
    parts: Vec<String>,
    interval: Duration,
) -> Response<Words> {
    let words = Words { parts: parts.into_iter().collect(), interval, pause: None };
    let mut response = Response::new(words);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A body in parts with a pause before each.
struct Words {
    parts: std::collections::VecDeque<String>,
    interval: Duration,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Body for Words {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if !self.interval.is_zero() && !self.parts.is_empty() {
            let interval = self.interval;
            let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(interval)));
            std::task::ready!(std::future::Future::poll(pause.as_mut(), cx));
            self.pause = None;
        }
        Poll::Ready(self.parts.pop_front().map(|part| Ok(Frame::data(part.into()))))
    }
}
