//! A chat request in one format for a service that speaks another one, and
//! the answer on its way back.

use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use super::{LlmRequest, Treatment, Whole};
use crate::api::{Api, split_query};
use crate::error::LlmError;
use crate::format::chat::Chat;
use crate::format::translation::{Reader, Streaming, Translation, Writer};
use crate::format::{anthropic, fault, gemini, openai, responses};
use crate::json;
use crate::scan::Scan;
use crate::stage::{BodyStage, Chain, Head};

/// The largest whole answer that is translated.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// The largest body of an error that is read.
const FAULT_BYTES_MAX: usize = 256 << 10;

/// The APIs that all say the same, in the order in which a service is asked
/// for them.
const CHATS: [Api; 4] =
    [Api::ChatCompletions, Api::AnthropicMessages, Api::GeminiGenerateContent, Api::Responses];

/// The API by which a service that does not have `asked` can be asked for the
/// same; `None` where there is none.
pub(super) fn instead_of(asked: Api, has: impl Fn(Api) -> bool) -> Option<Api> {
    let is_chat = CHATS.contains(&asked) || asked == Api::GeminiStreamGenerateContent;
    CHATS.into_iter().find(|api| has(*api)).filter(|_| is_chat)
}

/// What a request says, and how it is to be answered.
///
/// # Errors
/// It is none of its API.
pub(super) fn read(request: &LlmRequest<'_>) -> Result<(Chat, Expected), LlmError> {
    let body = request.body.map_or(&[][..], |body| body);
    let (chat, client) = match request.api {
        Some(Api::AnthropicMessages) => (anthropic::read_request(body)?, Client::Anthropic),
        Some(Api::Responses) => {
            let (chat, echo) = responses::read_request(body)?;
            (chat, Client::Responses(Box::new(echo)))
        }
        Some(api @ (Api::GeminiGenerateContent | Api::GeminiStreamGenerateContent)) => {
            let model = gemini_model(request.path_and_query).to_owned();
            let streams = api == Api::GeminiStreamGenerateContent;
            let chat = gemini::read_request(body, model, streams)?;
            let (_, query) = split_query(request.path_and_query);
            let form = match query.split('&').any(|pair| pair == "alt=sse") {
                true => gemini::Form::Events,
                false => gemini::Form::Array,
            };
            let shows_thoughts = gemini::wants_thoughts(&chat);
            (chat, Client::Gemini { form, shows_thoughts })
        }
        _ => {
            let wants_usage = wants_usage(body, request.scan);
            (openai::read_request(body)?, Client::OpenAi { wants_usage })
        }
    };
    let to_stream = chat.stream;
    Ok((chat, Expected { client, to_stream }))
}

/// The body that asks `api` for it.
///
/// # Errors
/// It has something that cannot be said there.
pub(super) fn write(api: Api, chat: Chat, dialect: openai::Dialect) -> Result<Bytes, LlmError> {
    let body = match api {
        Api::AnthropicMessages => anthropic::write_request(chat)?,
        Api::Responses => responses::write_request(chat)?,
        Api::GeminiGenerateContent => {
            gemini::write_request(chat, gemini::Dialect { takes_call_ids: true })?
        }
        _ => openai::write_request(chat, dialect)?,
    };
    Ok(Bytes::from(body.to_string()))
}

/// The path for `api`, behind whatever the client's has in front of its own.
pub(super) fn path(path_and_query: &str, api: Api) -> String {
    let (path, _) = split_query(path_and_query);
    let own = ["/v1/messages", "/v1/responses", "/v1/chat/completions"];
    let prefix = own.into_iter().find_map(|own| path.strip_suffix(own));
    let prefix = prefix.or_else(|| {
        let (before, _) = path.rsplit_once("/models/")?;
        before.rsplit_once('/').map(|(before, _)| before)
    });
    let own = match api {
        Api::AnthropicMessages => "/v1/messages",
        Api::Responses => "/v1/responses",
        _ => "/v1/chat/completions",
    };
    format!("{}{own}", prefix.unwrap_or_default())
}

/// The model in a path of Gemini's.
fn gemini_model(path_and_query: &str) -> &str {
    let (path, _) = split_query(path_and_query);
    let model = path.rsplit_once("/models/").map_or("", |(_, model)| model);
    model.rsplit_once(':').map_or(model, |(model, _)| model)
}

/// What becomes of the answer of a service that was asked for `api` instead,
/// behind a stage of the service's own.
pub(super) fn treat(
    request: &LlmRequest<'_>,
    api: Api,
    head: &Head,
    own: Option<Box<dyn BodyStage>>,
) -> Treatment {
    if head.status != StatusCode::OK {
        if !head.status.is_client_error() && !head.status.is_server_error() {
            // Neither an answer nor an error, and perhaps without a body.
            return Treatment::Pass;
        }
        let (status, format) = (head.status, request.api.map(Api::error_format));
        return Treatment::Whole(Whole {
            content_type: "application/json",
            bytes_max: FAULT_BYTES_MAX,
            make: Box::new(move |body| {
                let format = format.unwrap_or(crate::api::ErrorFormat::OpenAi);
                Ok(fault::translate(status, &body, format).to_string().into())
            }),
        });
    }
    let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let from_stream = kind.is_some_and(|kind| {
        let kind = kind.trim_start().as_bytes();
        kind.get(..STREAM.len()).is_some_and(|start| start.eq_ignore_ascii_case(STREAM))
    });
    // It was understood when it was sent.
    let Some(Expected { client, to_stream }) = request.expected else {
        return Treatment::failing(LlmError::InvalidResponse);
    };
    let (now, to_stream) = ((request.now)(), *to_stream);
    let writer = client.writer(now);
    let is_array = matches!(client, Client::Gemini { form: gemini::Form::Array, .. });
    let content_type = match to_stream && !is_array {
        true => "text/event-stream",
        false => "application/json",
    };
    let translation = Translation { reader: reader(api), writer, now, from_stream, to_stream };
    if from_stream && to_stream {
        let second: Box<dyn BodyStage> = Box::new(Streaming::new(translation));
        let stage = match own {
            Some(first) => Box::new(Chain { first, second }),
            None => second,
        };
        return Treatment::Stage(stage);
    }
    Treatment::Whole(Whole {
        content_type,
        bytes_max: ANSWER_BYTES_MAX,
        make: Box::new(move |body| translation.whole(body)),
    })
}

const STREAM: &[u8] = b"text/event-stream";

fn reader(api: Api) -> Reader {
    match api {
        Api::AnthropicMessages => Reader::Anthropic(anthropic::Decoder::default()),
        Api::GeminiGenerateContent => Reader::Gemini(gemini::Decoder::default()),
        Api::Responses => Reader::Responses(responses::Decoder::default()),
        _ => Reader::OpenAi(openai::Decoder::default()),
    }
}

/// What has to be known of a request when its answer comes.
pub struct Expected {
    client: Client,
    /// Whether the client wants a stream.
    to_stream: bool,
}

/// What a client's format asks besides.
enum Client {
    OpenAi { wants_usage: bool },
    Anthropic,
    Responses(Box<responses::Echo>),
    Gemini { form: gemini::Form, shows_thoughts: bool },
}

impl Client {
    fn writer(&self, now: u64) -> Writer {
        match self {
            Self::OpenAi { wants_usage } => Writer::OpenAi(openai::Encoder::new(now, *wants_usage)),
            Self::Anthropic => Writer::Anthropic(anthropic::Encoder::default()),
            Self::Responses(echo) => {
                Writer::Responses(Box::new(responses::Encoder::new((**echo).clone(), now)))
            }
            Self::Gemini { form, shows_thoughts } => {
                Writer::Gemini(gemini::Encoder::new(*form, *shows_thoughts))
            }
        }
    }
}

/// Whether a client of OpenAI's format asked what a stream costs.
fn wants_usage(body: &[u8], scan: Option<&Scan>) -> bool {
    let options = scan.and_then(|scan| scan.stream_options_at.clone());
    let options = options.and_then(|at| std::str::from_utf8(body.get(at)?).ok());
    options.and_then(|options| json::edit::member(options, "include_usage")) == Some("true")
}

/// Values that a type sets in a request of any format before it is written.
pub(super) type Shape = Box<dyn Fn(&mut Chat) + Send + Sync>;

/// `value` as a member of the request that only its own format writes.
pub(super) fn set(chat: &mut Chat, name: &str, value: Value) {
    chat.more.entry(name).or_insert(value);
}
