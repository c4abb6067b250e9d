//! The client endpoints: which API a request path means.
//!
//! One table, `ROWS`, drives everything: how a path is recognised, what
//! Higress calls the API, which path OpenAI itself has for it.

use std::borrow::Cow;

use memchr::memmem;

/// An API of some LLM vendor, as a client asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// `POST /v1/chat/completions`.
    ChatCompletions,
    /// `POST /v1/completions`.
    Completions,
    /// `POST /v1/embeddings`.
    Embeddings,
    /// `POST /v1/audio/speech`.
    AudioSpeech,
    /// `POST /v1/audio/transcriptions`.
    AudioTranscriptions,
    /// `POST /v1/audio/translations`.
    AudioTranslations,
    /// `GET /v1/realtime`, a WebSocket.
    Realtime,
    /// `POST /v1/images/generations`.
    ImageGenerations,
    /// `POST /v1/images/variations`.
    ImageVariations,
    /// `POST /v1/images/edits`.
    ImageEdits,
    /// `/v1/batches`.
    Batches,
    /// `/v1/files`.
    Files,
    /// `GET /v1/models`.
    Models,
    /// `/v1/fine_tuning/jobs`.
    FineTuningJobs,
    /// `POST /v1/responses`.
    Responses,
    /// `/v1/videos`.
    Videos,
    /// Anthropic's `POST /v1/messages`.
    AnthropicMessages,
    /// Anthropic's `POST /v1/messages/count_tokens`.
    AnthropicCountTokens,
    /// Anthropic's `POST /v1/complete`.
    AnthropicComplete,
    /// Cohere's `POST /v1/rerank`.
    CohereRerank,
    /// Qwen's `POST /v1/reranks`.
    QwenRerank,
    /// Qwen's `/v1/conversations`.
    QwenConversations,
    /// `GET /v1/batches/{batch_id}`.
    RetrieveBatch,
    /// `POST /v1/batches/{batch_id}/cancel`.
    CancelBatch,
    /// `/v1/files/{file_id}`.
    RetrieveFile,
    /// `GET /v1/files/{file_id}/content`.
    RetrieveFileContent,
    /// `/v1/videos/{video_id}`.
    RetrieveVideo,
    /// `GET /v1/videos/{video_id}/content`.
    RetrieveVideoContent,
    /// `POST /v1/videos/{video_id}/remix`.
    VideoRemix,
    /// `GET /v1/fine_tuning/jobs/{fine_tuning_job_id}`.
    RetrieveFineTuningJob,
    /// `GET /v1/fine_tuning/jobs/{fine_tuning_job_id}/events`.
    FineTuningJobEvents,
    /// `GET /v1/fine_tuning/jobs/{fine_tuning_job_id}/checkpoints`.
    FineTuningJobCheckpoints,
    /// `POST /v1/fine_tuning/jobs/{fine_tuning_job_id}/cancel`.
    CancelFineTuningJob,
    /// `POST /v1/fine_tuning/jobs/{fine_tuning_job_id}/resume`.
    ResumeFineTuningJob,
    /// `POST /v1/fine_tuning/jobs/{fine_tuning_job_id}/pause`.
    PauseFineTuningJob,
    /// `/v1/fine_tuning/checkpoints/{fine_tuned_model_checkpoint}/permissions`.
    FineTuningCheckpointPermissions,
    /// `DELETE` of one of them, by `{permission_id}`.
    DeleteFineTuningCheckpointPermission,
    /// Gemini's `models/{model}:generateContent`.
    GeminiGenerateContent,
    /// Gemini's `models/{model}:streamGenerateContent`.
    GeminiStreamGenerateContent,
}

/// The shape of the errors that the clients of an API expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorFormat {
    /// `{"error": {"message", "type", "param", "code"}}`.
    OpenAi,
    /// `{"type": "error", "error": {"type", "message"}}`.
    Anthropic,
    /// `{"error": {"code", "message", "status"}}`.
    Gemini,
}

/// How a path is recognised.
#[derive(Clone, Copy)]
enum Rule {
    /// The path ends in this text, which has no placeholders.
    Suffix(&'static str),
    /// The last segments of the path are these; `{name}` is any one segment.
    Pattern(&'static str),
    /// `…/{api_version}/models/{model}` and this action, wherever it stands.
    Action(&'static str),
}

struct Row {
    api: Api,
    name: &'static str,
    rule: Rule,
    is_stateful: bool,
}

const fn row(api: Api, name: &'static str, rule: Rule) -> Row {
    Row { api, name, rule, is_stateful: false }
}

const fn stateful(api: Api, name: &'static str, rule: Rule) -> Row {
    Row { api, name, rule, is_stateful: true }
}

/// In the order of [`Api`], which is also the order of recognition: suffixes
/// first, then patterns.
#[rustfmt::skip]
static ROWS: [Row; 39] = {
    use Rule::{Action, Pattern, Suffix};
    [
    row(Api::ChatCompletions, "openai/v1/chatcompletions", Suffix("/v1/chat/completions")),
    row(Api::Completions, "openai/v1/completions", Suffix("/v1/completions")),
    row(Api::Embeddings, "openai/v1/embeddings", Suffix("/v1/embeddings")),
    row(Api::AudioSpeech, "openai/v1/audiospeech", Suffix("/v1/audio/speech")),
    row(Api::AudioTranscriptions, "openai/v1/audiotranscription", Suffix("/v1/audio/transcriptions")),
    row(Api::AudioTranslations, "openai/v1/audiotranslation", Suffix("/v1/audio/translations")),
    row(Api::Realtime, "openai/v1/realtime", Suffix("/v1/realtime")),
    row(Api::ImageGenerations, "openai/v1/imagegeneration", Suffix("/v1/images/generations")),
    row(Api::ImageVariations, "openai/v1/imagevariation", Suffix("/v1/images/variations")),
    row(Api::ImageEdits, "openai/v1/imageedit", Suffix("/v1/images/edits")),
    stateful(Api::Batches, "openai/v1/batches", Suffix("/v1/batches")),
    stateful(Api::Files, "openai/v1/files", Suffix("/v1/files")),
    row(Api::Models, "openai/v1/models", Suffix("/v1/models")),
    stateful(Api::FineTuningJobs, "openai/v1/fine-tuningjobs", Suffix("/v1/fine_tuning/jobs")),
    stateful(Api::Responses, "openai/v1/responses", Suffix("/v1/responses")),
    row(Api::Videos, "openai/v1/videos", Suffix("/v1/videos")),
    row(Api::AnthropicMessages, "anthropic/v1/messages", Suffix("/v1/messages")),
    row(Api::AnthropicCountTokens, "anthropic/v1/messages/count_tokens", Suffix("/v1/messages/count_tokens")),
    row(Api::AnthropicComplete, "anthropic/v1/complete", Suffix("/v1/complete")),
    row(Api::CohereRerank, "cohere/v1/rerank", Suffix("/v1/rerank")),
    row(Api::QwenRerank, "qwen/v1/rerank", Suffix("/v1/reranks")),
    row(Api::QwenConversations, "qwen/v1/conversations", Suffix("/v1/conversations")),
    stateful(Api::RetrieveBatch, "openai/v1/retrievebatch", Pattern("/v1/batches/{batch_id}")),
    stateful(Api::CancelBatch, "openai/v1/cancelbatch", Pattern("/v1/batches/{batch_id}/cancel")),
    stateful(Api::RetrieveFile, "openai/v1/retrievefile", Pattern("/v1/files/{file_id}")),
    stateful(Api::RetrieveFileContent, "openai/v1/retrievefilecontent", Pattern("/v1/files/{file_id}/content")),
    row(Api::RetrieveVideo, "openai/v1/retrievevideo", Pattern("/v1/videos/{video_id}")),
    row(Api::RetrieveVideoContent, "openai/v1/retrievevideocontent", Pattern("/v1/videos/{video_id}/content")),
    row(Api::VideoRemix, "openai/v1/videoremix", Pattern("/v1/videos/{video_id}/remix")),
    stateful(Api::RetrieveFineTuningJob, "openai/v1/retrievefine-tuningjob", Pattern("/v1/fine_tuning/jobs/{fine_tuning_job_id}")),
    stateful(Api::FineTuningJobEvents, "openai/v1/fine-tuningjobsevents", Pattern("/v1/fine_tuning/jobs/{fine_tuning_job_id}/events")),
    stateful(Api::FineTuningJobCheckpoints, "openai/v1/fine-tuningjobcheckpoints", Pattern("/v1/fine_tuning/jobs/{fine_tuning_job_id}/checkpoints")),
    stateful(Api::CancelFineTuningJob, "openai/v1/cancelfine-tuningjob", Pattern("/v1/fine_tuning/jobs/{fine_tuning_job_id}/cancel")),
    stateful(Api::ResumeFineTuningJob, "openai/v1/resumefine-tuningjob", Pattern("/v1/fine_tuning/jobs/{fine_tuning_job_id}/resume")),
    row(Api::PauseFineTuningJob, "openai/v1/pausefine-tuningjob", Pattern("/v1/fine_tuning/jobs/{fine_tuning_job_id}/pause")),
    row(Api::FineTuningCheckpointPermissions, "openai/v1/fine-tuningjobcheckpointpermissions", Pattern("/v1/fine_tuning/checkpoints/{fine_tuned_model_checkpoint}/permissions")),
    row(Api::DeleteFineTuningCheckpointPermission, "openai/v1/deletefine-tuningjobcheckpointpermission", Pattern("/v1/fine_tuning/checkpoints/{fine_tuned_model_checkpoint}/permissions/{permission_id}")),
    row(Api::GeminiGenerateContent, "gemini/v1beta/generatecontent", Action(":generateContent")),
    row(Api::GeminiStreamGenerateContent, "gemini/v1beta/streamgeneratecontent", Action(":streamGenerateContent")),
    ]
};

impl Api {
    /// Every API, in table order.
    pub fn all() -> impl Iterator<Item = Api> {
        ROWS.iter().map(|row| row.api)
    }

    /// The API that a path means; any prefix may stand before it. A path with
    /// a trailing slash means none.
    pub fn from_path(path_without_query: &str) -> Option<Api> {
        let path = path_without_query;
        let ends_so =
            |row: &&Row| matches!(row.rule, Rule::Suffix(suffix) if path.ends_with(suffix));
        ROWS.iter().find(ends_so).or_else(|| find_pattern(path)).map(|row| row.api)
    }

    /// The API of a Higress name, such as `openai/v1/chatcompletions`.
    pub fn from_name(name: &str) -> Option<Api> {
        ROWS.iter().find(|row| row.name == name).map(|row| row.api)
    }

    /// The name that Higress has for it.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// OpenAI's own path with `{placeholders}`; `None` for the APIs of other
    /// vendors.
    pub fn default_path(self) -> Option<&'static str> {
        let row = self.row();
        match row.rule {
            Rule::Suffix(path) | Rule::Pattern(path) if row.name.starts_with("openai/") => {
                Some(path)
            }
            _ => None,
        }
    }

    /// Whether the vendor keeps something per account for this API, so that
    /// one consumer has to meet the same token again.
    pub fn is_stateful(self) -> bool {
        self.row().is_stateful
    }

    /// The shape of errors that this API's clients understand.
    pub fn error_format(self) -> ErrorFormat {
        match self.row().name.split('/').next() {
            Some("anthropic") => ErrorFormat::Anthropic,
            Some("gemini") => ErrorFormat::Gemini,
            _ => ErrorFormat::OpenAi,
        }
    }

    /// Whether the answer is a stream, given what the body says as `stream`.
    pub fn is_streaming(self, stream: bool) -> bool {
        match self {
            Api::GeminiStreamGenerateContent => true,
            Api::ChatCompletions
            | Api::Completions
            | Api::ImageGenerations
            | Api::ImageEdits
            | Api::Responses
            | Api::AnthropicMessages
            | Api::AnthropicComplete => stream,
            _ => false,
        }
    }

    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }
}

/// A request path on `template`: placeholders are filled from the path that
/// meant `api`, its query is appended with `?` or `&`. A placeholder that the
/// path of this API does not have stays.
pub fn fill_placeholders<'t>(api: Api, template: &'t str, path_and_query: &str) -> Cow<'t, str> {
    let (path, query) = split_query(path_and_query);
    if query.is_empty() && !template.contains('{') {
        return Cow::Borrowed(template);
    }
    let mut filled = String::with_capacity(template.len() + path_and_query.len());
    match api.row().rule {
        Rule::Pattern(pattern) if template.contains('{') => {
            fill_from(pattern, path, template, &mut filled);
        }
        _ => filled.push_str(template),
    }
    append_query(&mut filled, query);
    Cow::Owned(filled)
}

/// Splits a request target at its first `?`; the query is empty where there
/// is none.
pub(crate) fn split_query(path_and_query: &str) -> (&str, &str) {
    path_and_query.split_once('?').unwrap_or((path_and_query, ""))
}

/// Adds a query behind what may already have one.
pub(crate) fn append_query(path: &mut String, query: &str) {
    if !query.is_empty() {
        path.push(if path.contains('?') { '&' } else { '?' });
        path.push_str(query);
    }
}

fn fill_from(pattern: &str, path: &str, template: &str, filled: &mut String) {
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let value = after.split_once('}').and_then(|(name, behind)| {
            let segments = pattern.rsplit('/').zip(path.rsplit('/'));
            let found = segments.filter_map(|(segment, value)| {
                (segment.strip_prefix('{')?.strip_suffix('}')? == name).then_some(value)
            });
            Some((found.last()?, behind))
        });
        match value {
            Some((value, behind)) => {
                filled.push_str(value);
                rest = behind;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
}

/// One search each tells most paths that are no API at all.
fn find_pattern(path: &str) -> Option<&'static Row> {
    let has_version = memmem::find(path.as_bytes(), b"/v1/").is_some();
    let has_colon = memchr::memchr(b':', path.as_bytes()).is_some();
    ROWS.iter().find(|row| match row.rule {
        Rule::Suffix(_) => false,
        Rule::Pattern(pattern) => has_version && ends_in_pattern(path, pattern),
        Rule::Action(action) => {
            has_colon && path.match_indices(action).any(|(at, _)| names_model(&path[..at]))
        }
    })
}

/// Compared from the end, so that any prefix may precede and the common case
/// of another last segment is over at once.
fn ends_in_pattern(mut path: &str, pattern: &str) -> bool {
    for expected in pattern.rsplit('/').take_while(|segment| !segment.is_empty()) {
        let Some(slash) = memchr::memrchr(b'/', path.as_bytes()) else { return false };
        let segment = &path[slash + 1..];
        let is_wanted =
            if expected.starts_with('{') { !segment.is_empty() } else { segment == expected };
        if !is_wanted {
            return false;
        }
        path = &path[..slash];
    }
    true
}

/// Whether `head` ends in `/{api_version}/models/{model}`, neither part
/// empty and no colon in the model, which may have slashes.
fn names_model(head: &str) -> bool {
    let model_start_min = head.rfind(':').map_or(0, |colon| colon + 1);
    let mut rest = head;
    while let Some((before, _)) = rest.rsplit_once('/') {
        if before.len() + 1 < model_start_min {
            return false;
        }
        let model = &head[before.len() + 1..];
        let version = before.strip_suffix("/models").and_then(|head| head.rsplit_once('/'));
        if !model.is_empty() && version.is_some_and(|(_, version)| !version.is_empty()) {
            return true;
        }
        rest = before;
    }
    false
}

#[cfg(test)]
mod tests;
