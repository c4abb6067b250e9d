//! What is worth saying about a provider object that can be used: fields
//! that nobody knows, and fields that ask for something which nobody does.

use serde_json::{Map, Value};

use super::config::{Protocol, ProviderConfig};
use super::fields::Fields;
use super::preset::{Preset, idle};
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
    if fields.flag("logUpstreamErrorResponseBody")? {
        idle("logUpstreamErrorResponseBody", None);
    }
    let mode = fields.text("reasoningContentMode")?.to_lowercase();
    if !matches!(mode.as_str(), "" | "passthrough") {
        // Higress: provider/qwen.go — no other type looks at it.
        let hint = "in Higress only type `qwen` with `qwenEnableCompatible: false` does";
        idle("reasoningContentMode", Some(hint));
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

/// Fields that the type or the protocol has no use for; a schema is taken
/// away from a type that does not force one.
pub(super) fn fields_beyond(preset: &Preset, fields: &Fields<'_>, config: &mut ProviderConfig) {
    let name = preset.name;
    let mut beyond = |path: &str, message: String| config.notes.push(idle(path, message));
    if config.response_format.is_some() && !preset.forces_schema {
        beyond(
            "responseJsonSchema",
            format!("`responseJsonSchema` has no effect with type `{name}`, here as in Higress"),
        );
        config.response_format = None;
    }
    if preset.is_opaque {
        for field in OF_BODIES.iter().filter(|field| is_set(fields.get(field))) {
            beyond(field, format!("`{field}` has no effect with type `{name}`"));
        }
    } else if config.protocol == Protocol::Original && !config.settings.is_empty() {
        let message =
            "`customSettings` have no effect with `protocol: original`, here as in Higress";
        beyond("customSettings", message.to_owned());
    }
}

/// Whether a field asks for something.
fn is_set(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
        Some(Value::Bool(true) | Value::Number(_)) => true,
    }
}

/// What says something about APIs and bodies, which are no business of an
/// opaque type.
const OF_BODIES: &[&str] = &[
    "modelMapping",
    "capabilities",
    "contextCleanupCommands",
    "mergeConsecutiveMessages",
    "promoteThinkingOnEmpty",
    "hiclawMode",
];

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
