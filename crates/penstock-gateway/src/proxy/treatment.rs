//! What a provider makes of its answer, before anything goes to the client:
//! an answer that cannot be understood can still become an error, or another
//! route's.

use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use http::Response;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, TRANSFER_ENCODING};
use http_body::Body;
use penstock_llm::LlmError;
use penstock_llm::provider::{Treatment, Whole};
use penstock_llm::stage::Head;

use crate::error::{ErrorKind, GatewayError};
use crate::request::RequestContext;
use crate::upstream::UpstreamBody;

/// From this size on a body is not translated by the thread that serves
/// connections.
const INLINE_BYTES_MAX: usize = 256 << 10;

type Answer = Box<Response<UpstreamBody>>;

/// The answer as the provider's client understands it, or with a stage that
/// makes it so.
pub(super) async fn apply(
    mut answer: Answer,
    cx: &mut RequestContext,
) -> Result<Answer, GatewayError> {
    cx.answer_stage = None;
    let Some(provider) = cx.provider.clone() else { return Ok(answer) };
    let status = answer.status();
    let mut head = Head { status, headers: std::mem::take(answer.headers_mut()) };
    let treatment = provider.response(&cx.llm_request(), &head);
    std::mem::swap(answer.headers_mut(), &mut head.headers);
    match treatment {
        Treatment::Pass => Ok(answer),
        Treatment::Stage(stage) => {
            cx.answer_stage = Some(stage);
            Ok(answer)
        }
        Treatment::Whole(whole) => Box::pin(replace(answer, whole)).await,
    }
}

async fn replace(mut answer: Answer, whole: Whole) -> Result<Answer, GatewayError> {
    let Whole { content_type, bytes_max, make } = whole;
    let body = read(answer.body_mut(), bytes_max).await?;
    let made = match body.len() <= INLINE_BYTES_MAX {
        true => make(body),
        false => {
            let making = tokio::task::spawn_blocking(move || make(body));
            making.await.unwrap_or(Err(LlmError::InvalidResponse))
        }
    };
    let made = made.map_err(|_| {
        GatewayError::new(ErrorKind::UpstreamInvalid).because("the answer cannot be translated")
    })?;
    let headers = answer.headers_mut();
    headers.remove(TRANSFER_ENCODING);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(made.len()));
    answer.body_mut().replace(made);
    Ok(answer)
}

async fn read(body: &mut UpstreamBody, bytes_max: usize) -> Result<Bytes, GatewayError> {
    let broken = |cause: String| GatewayError::new(ErrorKind::UpstreamInvalid).because(cause);
    let mut whole = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| broken(error.to_string()))?;
        let Some(data) = frame.data_ref() else { continue };
        if whole.len() + data.len() > bytes_max {
            return Err(broken("the answer is too large to be translated".to_owned()));
        }
        whole.extend_from_slice(data);
    }
    Ok(whole.freeze())
}
