//! Parts of a content, read and written.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use super::read::camel;
use super::{VENDOR_PARTS, is_google_part};
use crate::error::LlmError;
use crate::format::chat::{Media, MediaKind, Part, Source, Thought, ToolCall, ToolResult};
use crate::format::object::{Object, Path};

/// An object whose members have their names in camelCase.
pub(super) fn open<'a>(value: Value, path: Path<'a>) -> Result<Object<'a>, LlmError> {
    let value = match value {
        Value::Object(map) if map.keys().any(|key| key.contains('_')) => Value::Object(
            map.into_iter().map(|(key, value)| (camel(&key).into_owned(), value)).collect(),
        ),
        value => value,
    };
    Object::of(value, path)
}

/// A list; one alone counts as a list of one, as Google's APIs have it.
pub(super) fn many(object: &mut Object<'_>, key: &str) -> Vec<Value> {
    match object.take(key) {
        None => Vec::new(),
        Some(Value::Array(list)) => list,
        Some(one) => vec![one],
    }
}

/// The calls of a conversation, which need not have ids here and must
/// elsewhere.
#[derive(Default)]
pub(super) struct Calls {
    /// How many were given an id.
    named: usize,
    /// Tool and id of those whose result has not come.
    open: VecDeque<(String, String)>,
}

impl Calls {
    fn next_id(&mut self) -> String {
        self.named += 1;
        format!("call_{}", self.named - 1)
    }

    /// The id of the call that this is the result of: of the first one of the
    /// tool where the result does not tell.
    fn answer(&mut self, id: Option<String>, name: &str) -> String {
        let place = self.open.iter().position(|(open_name, open_id)| match &id {
            Some(id) => id == open_id,
            None => name == open_name,
        });
        let call = place.and_then(|place| self.open.remove(place));
        id.or(call.map(|(_, id)| id)).unwrap_or_else(|| self.next_id())
    }

    pub(super) fn read_parts(&mut self, content: &mut Object<'_>) -> Result<Vec<Part>, LlmError> {
        let values = many(content, "parts");
        let list = Path::Key(&content.path, "parts");
        let mut parts = Vec::with_capacity(values.len());
        for (index, part) in values.into_iter().enumerate() {
            self.read_part(open(part, Path::Index(&list, index))?, &mut parts)?;
        }
        Ok(parts)
    }

    fn read_part(&mut self, mut part: Object<'_>, parts: &mut Vec<Part>) -> Result<(), LlmError> {
        let signature = part.text("thoughtSignature")?.filter(|signature| !signature.is_empty());
        let is_thought = part.flag("thought")?.unwrap_or_default();
        if is_thought {
            let text = part.text("text")?.unwrap_or_default();
            parts.push(Part::Reasoning(Thought { text, signature, redacted: None }));
            return Ok(());
        }
        if let Some(text) = part.text("text")? {
            if !text.is_empty() || signature.is_none() {
                parts.push(Part::text(text));
            }
        } else if let Some(data) = part.take("inlineData") {
            let media = read_inline(open(data, Path::Key(&part.path, "inlineData"))?)?;
            parts.push(Part::Media(with_video(media, &mut part)));
        } else if let Some(file) = part.take("fileData") {
            let media = read_file(open(file, Path::Key(&part.path, "fileData"))?)?;
            parts.push(Part::Media(with_video(media, &mut part)));
        } else if let Some(call) = part.take("functionCall") {
            let call = open(call, Path::Key(&part.path, "functionCall"))?;
            let call = self.read_call(call, signature)?;
            parts.push(Part::ToolCall(call));
            return Ok(());
        } else if let Some(result) = part.take("functionResponse") {
            let result = open(result, Path::Key(&part.path, "functionResponse"))?;
            let result = self.read_result(result)?;
            parts.push(Part::ToolResult(result));
        } else if let Some((key, value)) =
            VENDOR_PARTS.iter().find_map(|key| Some((*key, part.take(key)?)))
        {
            let mut vendor = Map::from_iter([(key.to_owned(), value)]);
            vendor.extend(signature.map(|text| ("thoughtSignature".to_owned(), text.into())));
            parts.push(Part::Vendor(Value::Object(vendor)));
            return Ok(());
        } else if signature.is_none() {
            return Err(part.path.error("has nothing that is known"));
        }
        // The proof of a text or an image stands behind it.
        if signature.is_some() {
            parts.push(Part::Reasoning(Thought { signature, ..Thought::default() }));
        }
        Ok(())
    }

    fn read_call(
        &mut self,
        mut call: Object<'_>,
        signature: Option<String>,
    ) -> Result<ToolCall, LlmError> {
        let id = call.text("id")?.filter(|id| !id.is_empty());
        let name = call.required_text("name")?;
        let id = id.unwrap_or_else(|| self.next_id());
        self.open.push_back((name.clone(), id.clone()));
        let arguments = Value::Object(call.map("args")?.unwrap_or_default()).to_string();
        Ok(ToolCall { id, name, arguments, cache: None, signature })
    }

    fn read_result(&mut self, mut result: Object<'_>) -> Result<ToolResult, LlmError> {
        let id = result.text("id")?.filter(|id| !id.is_empty());
        let name = result.required_text("name")?;
        let id = self.answer(id, &name);
        let (text, is_error) = text_of(result.map("response")?.unwrap_or_default());
        let mut parts = vec![Part::text(text)];
        parts.extend(self.read_parts(&mut result)?);
        Ok(ToolResult { id, name: Some(name), parts, is_error, cache: None })
    }
}

/// What a tool said, and whether it failed. Google's words for the two are
/// conventions; another object is the tool's own.
fn text_of(mut response: Map<String, Value>) -> (String, bool) {
    let as_text = |value: Value| match value {
        Value::String(text) => text,
        value => value.to_string(),
    };
    if response.len() == 1 {
        if let Some(error) = response.get_mut("error").filter(|error| !error.is_null()) {
            return (as_text(error.take()), true);
        }
        for key in ["result", "output"] {
            if let Some(result) = response.get_mut(key) {
                return (as_text(result.take()), false);
            }
        }
    }
    (Value::Object(response).to_string(), false)
}

/// What of a video is meant.
fn with_video(mut media: Media, part: &mut Object<'_>) -> Media {
    let video = part.take("videoMetadata");
    media.more.extend(video.map(|video| ("videoMetadata".to_owned(), video)));
    media
}

fn read_inline(mut data: Object<'_>) -> Result<Media, LlmError> {
    let media_type = data.required_text("mimeType")?;
    let (kind, name) = (kind_of(&media_type), data.text("displayName")?);
    let source = Source::Base64 { media_type, data: data.required_text("data")? };
    Ok(Media { kind, source, detail: None, name, cache: None, more: Map::new() })
}

fn read_file(mut file: Object<'_>) -> Result<Media, LlmError> {
    let uri = file.required_text("fileUri")?;
    let media_type = file.text("mimeType")?;
    let kind = kind_of(media_type.as_deref().or(type_of(&uri)).unwrap_or_default());
    let is_google =
        !uri.starts_with("http") || uri.starts_with("https://generativelanguage.googleapis.com/");
    // What only Google can fetch is a file of the vendor's.
    let source = if is_google { Source::File(uri) } else { Source::Url(uri) };
    let more = media_type.map(|kind| ("media_type".to_owned(), kind.into())).into_iter().collect();
    Ok(Media { kind, source, detail: None, name: file.text("displayName")?, cache: None, more })
}

/// What is of this media type.
pub(super) fn kind_of(media_type: &str) -> MediaKind {
    match media_type.split('/').next().unwrap_or_default() {
        "image" => MediaKind::Image,
        "audio" => MediaKind::Audio,
        "video" => MediaKind::Video,
        _ => MediaKind::Document,
    }
}

/// The media type that the ending of a URL means.
fn type_of(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let (_, ending) = path.rsplit_once('.')?;
    Some(match ending.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "heic" => "image/heic",
        "heif" => "image/heif",
        "bmp" => "image/bmp",
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        "html" | "htm" => "text/html",
        "csv" => "text/csv",
        "md" => "text/markdown",
        "mp3" => "audio/mpeg",
        "wav" => "audio/wav",
        "flac" => "audio/flac",
        "ogg" => "audio/ogg",
        "aac" => "audio/aac",
        "m4a" => "audio/mp4",
        "mp4" => "video/mp4",
        "mov" => "video/quicktime",
        "webm" => "video/webm",
        "mpeg" | "mpg" => "video/mpeg",
        _ => return None,
    })
}

fn default_type(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "image/png",
        MediaKind::Document => "application/pdf",
        MediaKind::Audio => "audio/wav",
        MediaKind::Video => "video/mp4",
    }
}

/// A part but a tool's result, which needs to know its call; `None` where
/// Google has no word for what can be left out.
pub(super) fn write_part(part: Part, takes_ids: bool) -> Result<Option<Value>, LlmError> {
    Ok(match part {
        Part::Text(text) if text.text.is_empty() => None,
        Part::Text(text) => Some(json!({"text": text.text})),
        Part::Refusal(text) => Some(json!({"text": text})),
        Part::Media(media) => Some(write_media(media)?),
        Part::Reasoning(Thought { text, signature, .. }) => {
            let thought = json!({"text": text, "thought": true});
            (!text.is_empty() || signature.is_some()).then(|| signed(thought, signature))
        }
        Part::ToolCall(call) => Some(write_call(call, takes_ids)),
        Part::Vendor(part) if is_google_part(&part) => Some(part),
        Part::Vendor(_) | Part::ToolResult(_) => None,
    })
}

/// A part with the proof that it is Google's own.
pub(super) fn signed(mut part: Value, signature: Option<String>) -> Value {
    if let (Some(signature), Value::Object(part)) = (signature, &mut part) {
        part.insert("thoughtSignature".into(), signature.into());
    }
    part
}

pub(super) fn write_call(call: ToolCall, takes_ids: bool) -> Value {
    let mut function = Map::new();
    let args = call.arguments_object();
    if takes_ids && !call.id.is_empty() {
        function.insert("id".into(), call.id.into());
    }
    function.insert("name".into(), call.name.into());
    function.insert("args".into(), args.into());
    signed(json!({"functionCall": function}), call.signature)
}

pub(super) fn write_media(mut media: Media) -> Result<Value, LlmError> {
    let told = media.more.get_mut("media_type").map(Value::take);
    let told = told.and_then(|told| told.as_str().map(str::to_owned));
    let by_uri = |uri: String| {
        let guess = || type_of(&uri).unwrap_or(default_type(media.kind)).to_owned();
        let media_type = told.clone().unwrap_or_else(guess);
        json!({"fileData": {"mimeType": media_type, "fileUri": uri}})
    };
    let mut part = match media.source {
        Source::Base64 { media_type, data } => {
            let is_told = !media_type.is_empty();
            let media_type = if is_told { media_type } else { default_type(media.kind).to_owned() };
            json!({"inlineData": {"mimeType": media_type, "data": data}})
        }
        Source::Url(uri) => by_uri(uri),
        Source::File(uri) if uri.contains("://") => by_uri(uri),
        Source::File(_) => {
            let message = "a file of another vendor's cannot be sent to this provider";
            return Err(LlmError::InvalidRequest(message.into()));
        }
        Source::Text(text) => {
            let text = match media.name {
                Some(name) => format!("{name}\n\n{text}"),
                None => text,
            };
            return Ok(json!({"text": text}));
        }
    };
    if let (Some(video), Value::Object(part)) =
        (media.more.get_mut("videoMetadata").map(Value::take), &mut part)
    {
        part.insert("videoMetadata".into(), video);
    }
    Ok(part)
}

/// What one side says, with each proof where it belongs.
pub(super) fn write_parts(parts: Vec<Part>, takes_ids: bool) -> Result<Vec<Value>, LlmError> {
    let mut written = Vec::<Value>::new();
    // A proof whose part comes next.
    let mut proof: Option<String> = None;
    let mut parts = parts.into_iter().peekable();
    while let Some(part) = parts.next() {
        if let Part::Reasoning(Thought { text, signature: Some(signature), redacted: None }) = &part
            && text.is_empty()
        {
            let before_call =
                matches!(parts.peek(), Some(Part::ToolCall(c)) if c.signature.is_none());
            match written.last_mut().filter(|last| !before_call && takes_proof(last)) {
                Some(last) => *last = signed(last.take(), Some(signature.clone())),
                None => proof = Some(signature.clone()),
            }
            continue;
        }
        let Some(part) = write_part(part, takes_ids)? else { continue };
        let mine = if takes_proof(&part) { proof.take() } else { None };
        written.push(signed(part, mine));
    }
    if proof.is_some() {
        written.push(signed(json!({"text": ""}), proof));
    }
    Ok(written)
}

fn takes_proof(part: &Value) -> bool {
    part.get("thoughtSignature").is_none() && part.get("thought").is_none()
}
