//! What is worth saying about a provider object that can be used: fields
//! that nobody knows, and fields that ask for something which nobody does.

use serde_json::{Map, Value};

use super::fields::{Fields, inside};
use super::{Note, join_path, nearest};
use crate::error::ConfigError;

/// Fields that are in no table, with the name that was probably meant.
pub(super) fn unknown_fields(map: &Map<String, Value>, notes: &mut Vec<Note>) {
    let known = || SHARED.iter().chain(OF_TYPES).chain(OF_CONSOLE).copied();
    for key in map.keys().filter(|key| !known().any(|known| known == key.as_str())) {
        notes.push(unknown_field(join_path("", key), key, known()));
    }
    for (parent, known) in NESTED {
        for key in map.get(*parent).and_then(Value::as_object).into_iter().flat_map(Map::keys) {
            if !known.contains(&key.as_str()) {
                notes.push(unknown_field(join_path(parent, key), key, known.iter().copied()));
            }
        }
    }
}

fn unknown_field(path: String, key: &str, known: impl Iterator<Item = &'static str>) -> Note {
    Note {
        message: format!("unknown field `{path}`"),
        hint: nearest(key, known).map(|name| format!("did you mean `{name}`?")),
        path,
        unknown: true,
    }
}

/// Fields that ask for something which nobody does.
pub(super) fn idle_fields(fields: &Fields<'_>, notes: &mut Vec<Note>) -> Result<(), ConfigError> {
    let mut idle = |path: &str, hint: Option<&str>| {
        notes.push(Note {
            path: path.to_owned(),
            message: format!("`{path}` is not acted upon"),
            hint: hint.map(str::to_owned),
            unknown: false,
        });
    };
    for parent in ["failover", "retryOnFailure"] {
        if let Some(map) = fields.object(parent)? {
            let enabled = Fields { map }.flag("enabled").map_err(|error| inside(parent, error))?;
            if enabled {
                idle(parent, None);
            }
        }
    }
    if fields.object("context")?.is_some() {
        idle("context", None);
    }
    if matches!(fields.get("customSettings"), Some(Value::Array(items)) if !items.is_empty()) {
        idle("customSettings", None);
    }
    for key in ["promoteThinkingOnEmpty", "logUpstreamErrorResponseBody"] {
        if fields.flag(key)? {
            idle(key, None);
        }
    }
    if fields.flag("hiclawMode")? {
        idle("hiclawMode", Some("only its `mergeConsecutiveMessages` part is"));
    }
    let mode = fields.text("reasoningContentMode")?.to_lowercase();
    if !matches!(mode.as_str(), "" | "passthrough") {
        idle("reasoningContentMode", None);
    }
    for (key, hint) in [
        ("subPath", "`basePath` removes a prefix"),
        (
            "authHeaderKey",
            "the client's token is read from `x-api-key`, `x-authorization` and `Authorization`",
        ),
    ] {
        if !fields.text(key)?.is_empty() {
            idle(key, Some(hint));
        }
    }
    Ok(())
}

/// The fields of every type.
#[rustfmt::skip]
const SHARED: &[&str] = &[
    "id", "type", "apiTokens", "timeout", "firstByteTimeout", "modelMapping", "protocol",
    "context", "customSettings", "failover", "retryOnFailure", "reasoningContentMode",
    "capabilities", "basePath", "basePathHandling", "providerDomain", "providerBasePath",
    "contextCleanupCommands", "mergeConsecutiveMessages", "promoteThinkingOnEmpty", "hiclawMode",
    "responseJsonSchema", "disableStreamUsageStats", "logUpstreamErrorResponseBody", "subPath",
    "authHeaderKey",
];

/// The fields of single types. Higress reads them for all, and people switch
/// the type of an entry without tidying up.
#[rustfmt::skip]
const OF_TYPES: &[&str] = &[
    "openaiCustomUrl", "azureServiceUrl", "qwenEnableCompatible", "qwenDomain",
    "qwenEnableSearch", "qwenFileIds", "moonshotFileId", "claudeVersion", "claudeCodeMode",
    "apiVersion", "geminiSafetySetting", "geminiThinkingBudget", "vllmCustomUrl",
    "vllmServerHost", "ollamaServerHost", "ollamaServerPort", "vertexAuthKey", "vertexRegion",
    "vertexProjectId", "vertexAuthServiceName", "vertexTokenRefreshAhead",
    "vertexOpenAICompatible", "awsAccessKey", "awsSecretKey", "awsRegion",
    "bedrockAdditionalFields", "promptCacheRetention", "bedrockPromptCachePointPositions",
    "zhipuDomain", "zhipuCodePlanMode", "minimaxApiType", "minimaxGroupId", "doubaoDomain",
    "hunyuanAuthId", "hunyuanAuthKey", "cloudflareAccountId", "difyApiUrl", "botType",
    "inputVariable", "outputVariable", "tritonDomain", "tritonModelVersion", "targetLang",
    "genericHost", "klingAccessKey", "klingSecretKey",
];

/// What the Higress console stores in a provider for itself.
const OF_CONSOLE: &[&str] = &[
    "openaiExtraCustomUrls",
    "vllmExtraCustomUrls",
    "openaiCustomServiceName",
    "openaiCustomServicePort",
    "claudeCustomUrl",
];

#[rustfmt::skip]
const NESTED: &[(&str, &[&str])] = &[
    ("context", &["fileUrl", "serviceName", "servicePort"]),
    ("failover", &[
        "enabled", "failureThreshold", "successThreshold", "healthCheckInterval",
        "healthCheckTimeout", "healthCheckModel", "failoverOnStatus", "cooldownDuration",
    ]),
    ("retryOnFailure", &["enabled", "maxRetries", "retryTimeout", "retryOnStatus"]),
];

#[cfg(test)]
mod tests;
