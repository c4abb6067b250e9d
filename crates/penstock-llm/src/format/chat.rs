//! A chat request, whichever vendor's format it has.

use serde_json::{Map, Number, Value};

use crate::error::LlmError;

/// A request for the next message of a conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chat {
    /// The model; empty where none is named.
    pub model: String,
    /// Whether the answer is to come as a stream.
    pub stream: bool,
    /// What was said so far, instructions included, in order.
    pub messages: Vec<Message>,
    /// What the model may call.
    pub tools: Vec<Tool>,
    /// Whether it has to call.
    pub tool_choice: Option<ToolChoice>,
    /// Whether it may call several at once.
    pub parallel_tool_calls: Option<bool>,
    /// The most tokens of the answer.
    pub max_tokens: Option<u64>,
    /// Sampling.
    pub temperature: Option<Number>,
    /// Sampling.
    pub top_p: Option<Number>,
    /// Sampling.
    pub top_k: Option<u64>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// How much is to be thought before the answer.
    pub reasoning: Option<Reasoning>,
    /// The form of the answer.
    pub response_format: Option<ResponseFormat>,
    /// Who asks, as the client tells the vendor.
    pub user: Option<String>,
    /// Members of OpenAI's format that few others have a word for, by
    /// OpenAI's names (`n`, `seed`, `logprobs`, …), and those that nobody
    /// knows. Each format takes out of them what it can say.
    pub more: Map<String, Value>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The operator.
    System,
    /// The operator, in the word that OpenAI has for it since its reasoning
    /// models.
    Developer,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// A tool, with a [`Part::ToolResult`].
    Tool,
}

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// The speaker's name.
    pub name: Option<String>,
    /// What is said, in order.
    pub parts: Vec<Part>,
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Text.
    Text(Text),
    /// An image, a document or a sound.
    Media(Media),
    /// What the model thought.
    Reasoning(Thought),
    /// A call of a tool.
    ToolCall(ToolCall),
    /// What came of a call.
    ToolResult(ToolResult),
    /// Why the model does not answer.
    Refusal(String),
    /// What only the format it came in can say, as it came: blocks of a
    /// vendor's own tools, say.
    Vendor(Value),
}

impl Part {
    /// A part of nothing but text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(Text { text: text.into(), cache: None, citations: None })
    }
}

/// Text, and what stands beside it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Text {
    /// The text.
    pub text: String,
    /// Anthropic's `cache_control`.
    pub cache: Option<Value>,
    /// Where it is from, as Anthropic has it.
    pub citations: Option<Value>,
}

/// What a [`Media`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaKind {
    /// An image.
    Image,
    /// A document: PDF or text.
    Document,
    /// A sound.
    Audio,
    /// A film.
    Video,
}

/// An image, a document or a sound.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    /// What it is.
    pub kind: MediaKind,
    /// Where it is.
    pub source: Source,
    /// OpenAI's `detail` of an image.
    pub detail: Option<String>,
    /// Its file name or title.
    pub name: Option<String>,
    /// Anthropic's `cache_control`.
    pub cache: Option<Value>,
    /// Further members, by Anthropic's names (`context`, `citations`) and
    /// Google's (`videoMetadata`), and the `media_type` of what is not here.
    pub more: Map<String, Value>,
}

/// Where something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// At a URL that the vendor asks.
    Url(String),
    /// Here.
    Base64 {
        /// Its media type, such as `image/png`; empty where it was not told.
        media_type: String,
        /// The bytes in base64.
        data: String,
    },
    /// A text, here.
    Text(String),
    /// A file that the vendor has.
    File(String),
}

impl Source {
    /// The source that a URL means: `data:` URLs have it in them.
    pub fn of_url(url: String) -> Self {
        let data = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
        match data {
            Some((media_type, data)) => {
                let media_type = media_type.split(';').next().unwrap_or_default();
                Self::Base64 { media_type: media_type.to_owned(), data: data.to_owned() }
            }
            None => Self::Url(url),
        }
    }

    /// The URL that means this; `None` for a file or a text.
    pub fn to_url(&self) -> Option<String> {
        match self {
            Self::Url(url) => Some(url.clone()),
            Self::Base64 { media_type, data } => Some(format!("data:{media_type};base64,{data}")),
            Self::Text(_) | Self::File(_) => None,
        }
    }
}

/// What the model thought, in a form that its vendor takes back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thought {
    /// The text; empty where the vendor hides it.
    pub text: String,
    /// The vendor's proof that it is its own.
    pub signature: Option<String>,
    /// The whole of it, encrypted.
    pub redacted: Option<String>,
}

/// A call of a tool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolCall {
    /// What its result refers to; empty where the format has none.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The arguments: JSON text, which the model may have got wrong.
    pub arguments: String,
    /// Anthropic's `cache_control`.
    pub cache: Option<Value>,
    /// The vendor's proof that the call is its own (Gemini:
    /// `thoughtSignature`).
    pub signature: Option<String>,
}

impl ToolCall {
    /// The arguments as an object; an empty one where they are none.
    pub fn arguments_object(&self) -> Map<String, Value> {
        serde_json::from_str(&self.arguments).unwrap_or_default()
    }
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult {
    /// The call.
    pub id: String,
    /// The tool, where that is told.
    pub name: Option<String>,
    /// Text and media.
    pub parts: Vec<Part>,
    /// Whether the call failed.
    pub is_error: bool,
    /// Anthropic's `cache_control`.
    pub cache: Option<Value>,
}

/// What the model may call.
#[derive(Clone, Debug, PartialEq)]
pub enum Tool {
    /// A function of the client's.
    Function(Function),
    /// A tool of the vendor's, as it came; only its own format can say it.
    Vendor(Value),
}

/// A function of the client's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The JSON schema of its arguments.
    pub parameters: Option<Value>,
    /// Whether arguments have to follow the schema.
    pub strict: Option<bool>,
    /// Anthropic's `cache_control`.
    pub cache: Option<Value>,
}

/// Whether the model has to call a tool.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolChoice {
    /// As it likes.
    Auto,
    /// None.
    None,
    /// At least one.
    Required,
    /// This one.
    Function(String),
    /// Something that only OpenAI's format can say.
    Vendor(Value),
}

/// How much is to be thought before the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasoning {
    /// Whether at all; `None` where the vendor decides.
    pub is_on: Option<bool>,
    /// How much, in OpenAI's words: `none`, `minimal`, `low`, `medium`, …
    pub effort: Option<String>,
    /// How much, in tokens.
    pub budget: Option<u64>,
}

impl Reasoning {
    /// The effort that a budget comes to (Higress:
    /// provider/claude_to_openai.go).
    pub fn effort(&self) -> Option<&str> {
        match (self.is_on, &self.effort, self.budget) {
            (Some(false), ..) => Some("none"),
            (_, Some(effort), _) => Some(effort),
            (_, None, Some(..4096)) => Some("low"),
            (_, None, Some(..16384)) => Some("medium"),
            (_, None, Some(_)) => Some("high"),
            (_, None, None) => None,
        }
    }

    /// The budget that an effort comes to (Higress: provider/claude.go);
    /// `None` where nothing is to be thought.
    pub fn budget(&self) -> Option<u64> {
        if self.is_on == Some(false) {
            return None;
        }
        match (self.budget, self.effort.as_deref()) {
            (Some(budget), _) => Some(budget),
            (None, Some("none")) => None,
            (None, Some("minimal" | "low")) => Some(1024),
            (None, Some("high")) => Some(16384),
            (None, Some("xhigh" | "max")) => Some(32768),
            (None, Some(_)) => Some(8192),
            (None, None) => None,
        }
    }
}

/// The form of the answer.
#[derive(Clone, Debug, PartialEq)]
pub enum ResponseFormat {
    /// Text.
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON by a schema.
    JsonSchema {
        /// The schema's name.
        name: Option<String>,
        /// What it is for.
        description: Option<String>,
        /// The schema.
        schema: Value,
        /// Whether it has to be kept exactly.
        strict: Option<bool>,
    },
}

impl Chat {
    /// Refuses a prompt that begins in a cache of Google's, where others do
    /// not have it.
    pub(super) fn refuse_cached(&self) -> Result<(), LlmError> {
        match self.more.contains_key("cachedContent") {
            true => {
                let message = "`cachedContent` cannot be sent to this provider";
                Err(LlmError::InvalidRequest(message.into()))
            }
            false => Ok(()),
        }
    }

    /// The tool that a call was for.
    pub fn tool_of(&self, call_id: &str) -> Option<&str> {
        self.messages.iter().flat_map(|message| &message.parts).find_map(|part| match part {
            Part::ToolCall(call) if call.id == call_id => Some(call.name.as_str()),
            _ => None,
        })
    }
}
