//! The fields of a provider object that all types share.

use http::HeaderValue;
use serde_json::{Map, Value};

use super::availability::{Failover, RetryOnFailure};
use super::custom_settings::CustomSettings;
use super::fields::{Fields, checked_path, inside, invalid, text_of};
use super::path::BasePath;
use super::{Fetch, Note, Token, join_path, nearest, notes};
use crate::api::Api;
use crate::error::ConfigError;
use crate::model_map::ModelMap;

/// What the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// The OpenAI format.
    OpenAi,
    /// The vendor's own format; bodies stay as they are.
    Original,
}

/// The fields that every OpenAI-compatible type acts upon.
#[derive(Debug)]
pub(super) struct ProviderConfig {
    pub(super) id: String,
    pub(super) protocol: Protocol,
    pub(super) tokens: Vec<Token>,
    pub(super) first_byte_timeout_ms: u64,
    pub(super) failover: Option<Failover>,
    pub(super) retry: Option<RetryOnFailure>,
    pub(super) model_map: ModelMap,
    /// The paths that the user gives to APIs; they win over the type's own.
    pub(super) capabilities: Vec<(Api, String)>,
    pub(super) base_path: BasePath,
    pub(super) domain: Option<HeaderValue>,
    pub(super) provider_base_path: String,
    /// The file whose text goes into chat requests.
    pub(super) context: Option<Fetch>,
    /// What requests get in any case.
    pub(super) settings: CustomSettings,
    pub(super) cleanup_commands: Vec<String>,
    pub(super) merges_messages: bool,
    /// Whether an answer that is nothing but reasoning becomes content.
    pub(super) promotes_thinking: bool,
    /// Whether streams are asked for their usage.
    pub(super) wants_stream_usage: bool,
    /// What `response_format` of chat requests becomes, as JSON.
    pub(super) response_format: Option<String>,
    pub(super) notes: Vec<Note>,
}

impl ProviderConfig {
    /// Reads the object. [`check`] has accepted it.
    pub(super) fn read(map: &Map<String, Value>) -> Result<Self, ConfigError> {
        let fields = Fields { map };
        let mut notes = Vec::new();
        notes::unknown_fields(map, &mut notes);
        notes::idle_fields(&fields, &mut notes)?;
        let is_hiclaw = fields.flag("hiclawMode")?;
        Ok(Self {
            id: fields.text("id")?,
            protocol: protocol(&fields)?,
            tokens: tokens(&fields, &mut notes)?,
            first_byte_timeout_ms: fields.count("firstByteTimeout")?,
            failover: Failover::read(&fields)?,
            retry: RetryOnFailure::read(&fields)?,
            model_map: model_map(&fields)?,
            capabilities: capabilities(&fields, &mut notes)?,
            base_path: base_path(&fields, &mut notes)?,
            domain: fields.host("providerDomain")?,
            provider_base_path: fields.path("providerBasePath")?,
            context: context(&fields)?,
            settings: CustomSettings::read(&fields, &mut notes)?,
            cleanup_commands: cleanup_commands(&fields)?,
            merges_messages: fields.flag("mergeConsecutiveMessages")? || is_hiclaw,
            promotes_thinking: fields.flag("promoteThinkingOnEmpty")? || is_hiclaw,
            wants_stream_usage: !fields.flag("disableStreamUsageStats")?,
            response_format: response_format(&fields)?,
            notes,
        })
    }
}

/// What Higress checks before it looks at the type, in its order and with its
/// messages.
pub(super) fn check(map: &Map<String, Value>) -> Result<(), ConfigError> {
    let fields = Fields { map };
    protocol(&fields)?;
    if let Some(context) = fields.object("context")? {
        check_context(&Fields { map: context })?;
    }
    let Some(failover) = fields.object("failover")? else { return Ok(()) };
    let failover = Fields { map: failover };
    let flag = |key| failover.flag(key).map_err(|error| inside("failover", error));
    let count = |key| failover.count(key).map_err(|error| inside("failover", error));
    let text = |key| failover.text(key).map_err(|error| inside("failover", error));
    if flag("enabled")? && text("healthCheckModel")?.is_empty() && count("cooldownDuration")? == 0 {
        return Err(ConfigError {
            hint: Some("set `healthCheckModel`, or a positive `cooldownDuration`".into()),
            ..invalid("failover", "missing healthCheckModel in failover config")
        });
    }
    Ok(())
}

fn check_context(context: &Fields<'_>) -> Result<(), ConfigError> {
    let text = |key| context.text(key).map_err(|error| inside("context", error));
    let url = text("fileUrl")?;
    if url.is_empty() {
        return Err(invalid("context", "missing fileUrl in context config"));
    }
    let parsed = url.parse::<http::Uri>().ok().filter(|url| url.host().is_some());
    if parsed.is_none() {
        let message = "invalid fileUrl in context config: it must be a URL with a host";
        return Err(invalid("context.fileUrl", message));
    }
    if text("serviceName")?.is_empty() {
        return Err(invalid("context", "missing serviceName in context config"));
    }
    let port = context.count("servicePort").map_err(|error| inside("context", error))?;
    match u16::try_from(port) {
        Ok(0) => Err(invalid("context", "missing servicePort in context config")),
        Ok(_) => Ok(()),
        Err(_) => Err(invalid("context.servicePort", "servicePort must be 65535 at most")),
    }
}

fn protocol(fields: &Fields<'_>) -> Result<Protocol, ConfigError> {
    match fields.text("protocol")?.as_str() {
        "" | "openai" => Ok(Protocol::OpenAi),
        "original" => Ok(Protocol::Original),
        _ => Err(ConfigError {
            hint: Some("`openai` or `original`".into()),
            ..invalid("protocol", "invalid protocol in config")
        }),
    }
}

fn tokens(fields: &Fields<'_>, notes: &mut Vec<Note>) -> Result<Vec<Token>, ConfigError> {
    let mut tokens = Vec::new();
    for (path, text) in fields.texts("apiTokens")? {
        let Some(token) = Token::new(&text) else {
            return Err(ConfigError {
                hint: Some("look for a line break at its end".into()),
                ..invalid(&path, format!("`{path}` has a character that no header can hold"))
            });
        };
        if text.is_empty() {
            notes.push(Note {
                message: format!("`{path}` is empty: requests go out without a token"),
                hint: Some("put the token there, or remove the entry".into()),
                path,
                unknown: false,
            });
        }
        tokens.push(token);
    }
    Ok(tokens)
}

fn model_map(fields: &Fields<'_>) -> Result<ModelMap, ConfigError> {
    let mut rules = Vec::new();
    for (key, value) in fields.object("modelMapping")?.into_iter().flatten() {
        let path = join_path("modelMapping", key);
        rules.push((key.as_str(), text_of(&path, value)?));
    }
    ModelMap::build(rules.iter().map(|(key, name)| (*key, name.as_str())))
}

/// The names that `capabilities` accepts, after Higress'
/// provider/provider.go.
const CAPABILITIES: &[Api] = &[
    Api::ChatCompletions,
    Api::Embeddings,
    Api::ImageGenerations,
    Api::ImageVariations,
    Api::ImageEdits,
    Api::AudioSpeech,
    Api::AudioTranscriptions,
    Api::AudioTranslations,
    Api::Realtime,
    Api::Responses,
    Api::Videos,
    Api::RetrieveVideo,
    Api::RetrieveVideoContent,
    Api::VideoRemix,
    Api::CohereRerank,
];

fn capabilities(
    fields: &Fields<'_>,
    notes: &mut Vec<Note>,
) -> Result<Vec<(Api, String)>, ConfigError> {
    let mut capabilities = Vec::new();
    for (name, value) in fields.object("capabilities")?.into_iter().flatten() {
        let path = join_path("capabilities", name);
        let text = text_of(&path, value)?;
        if let Some(api) = Api::from_name(name).filter(|api| CAPABILITIES.contains(api)) {
            if !text.is_empty() {
                capabilities.push((api, checked_path(&path, text)?));
            }
        } else if !name.starts_with("kling/v1/") {
            let names = CAPABILITIES.iter().map(|api| api.name());
            notes.push(Note {
                message: format!("`{name}` is no API whose path can be set; it is ignored"),
                hint: nearest(name, names).map(|name| format!("did you mean `{name}`?")),
                path,
                unknown: true,
            });
        }
    }
    Ok(capabilities)
}

fn base_path(fields: &Fields<'_>, notes: &mut Vec<Note>) -> Result<BasePath, ConfigError> {
    let base_path = fields.path("basePath")?;
    if base_path.is_empty() {
        return Ok(BasePath::None);
    }
    Ok(match fields.text("basePathHandling")?.as_str() {
        "" | "removePrefix" => BasePath::Remove(base_path),
        "prepend" => BasePath::Prepend(base_path),
        _ => {
            notes.push(Note {
                path: "basePathHandling".into(),
                message: "`basePathHandling` has an unknown value, so `basePath` has no effect"
                    .into(),
                hint: Some("`removePrefix` or `prepend`".into()),
                unknown: false,
            });
            BasePath::None
        }
    })
}

/// How long a side call may take unless `timeout` says otherwise (Higress:
/// provider/provider.go).
const FETCH_TIMEOUT_MS: u64 = 120_000;

/// Higress: provider/context.go — the query of the URL is not asked for.
fn context(fields: &Fields<'_>) -> Result<Option<Fetch>, ConfigError> {
    let Some(map) = fields.object("context")? else { return Ok(None) };
    let context = Fields { map };
    let inner = |error| inside("context", error);
    let url = context.text("fileUrl").map_err(inner)?;
    let service = context.text("serviceName").map_err(inner)?;
    let port = context.count("servicePort").map_err(inner)?;
    let end = url.find(['?', '#']).unwrap_or(url.len());
    Ok(Some(Fetch::ContextFile {
        url: url.get(..end).unwrap_or_default().to_owned(),
        service,
        port: u16::try_from(port).unwrap_or_default(),
        timeout_ms: match fields.count("timeout")? {
            0 => FETCH_TIMEOUT_MS,
            timeout_ms => timeout_ms,
        },
    }))
}

fn cleanup_commands(fields: &Fields<'_>) -> Result<Vec<String>, ConfigError> {
    let commands = fields.texts("contextCleanupCommands")?.into_iter().map(|(_, text)| text);
    Ok(commands.filter(|text| !text.is_empty()).collect())
}

fn response_format(fields: &Fields<'_>) -> Result<Option<String>, ConfigError> {
    let schema = fields.object("responseJsonSchema")?.filter(|schema| !schema.is_empty());
    Ok(schema.map(|schema| Value::Object(schema.clone()).to_string()))
}

#[cfg(test)]
mod tests;
