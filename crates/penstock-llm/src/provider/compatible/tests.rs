use serde_json::json;

use super::*;
use crate::provider::tests::{Written, object, sent};

/// Rows of other vendors, to keep the columns honest.
const VENDORS: &[Preset] = &[
    Preset {
        name: "groq",
        host: "api.groq.com",
        path: |api| match api {
            Api::ChatCompletions => Some("/openai/v1/chat/completions"),
            Api::Responses => Some("/openai/v1/responses"),
            _ => None,
        },
        ..STRICT
    },
    Preset {
        name: "github",
        host: "models.inference.ai.azure.com",
        path: |api| (api == Api::ChatCompletions).then_some("/chat/completions"),
        token_scheme: "",
        ..STRICT
    },
    Preset { name: "mistral", host: "api.mistral.ai", keeps_client_path: true, ..STRICT },
    Preset {
        name: "deepseek",
        host: "api.deepseek.com",
        path: |api| match api {
            Api::AnthropicMessages => Some("/anthropic/v1/messages"),
            Api::ChatCompletions | Api::Models => api.default_path(),
            _ => None,
        },
        ..STRICT
    },
    Preset { name: "spark", requires_tokens: false, ..STRICT },
];

const STRICT: Preset = Preset {
    name: "strict",
    host: "strict.test",
    path: |api| (api == Api::ChatCompletions).then_some("/v1/chat/completions"),
    keeps_client_path: false,
    custom_url: None,
    token_scheme: "Bearer ",
    takes_client_token: false,
    requires_tokens: true,
    refuses_unsupported: true,
};

fn provider(name: &str, config: Value) -> Result<Arc<dyn Provider>, ConfigError> {
    let preset = VENDORS.iter().find(|preset| preset.name == name).unwrap();
    build_from(preset, &object(config)).map(|built| built.provider)
}

/// `expected` is what changes; see [`sent`].
#[track_caller]
fn check(name: &str, request: &str, expected: &str) {
    let config = json!({"apiTokens": ["t"], "modelMapping": {"a": "b"}});
    let provider = provider(name, config).unwrap();
    assert_eq!(provider.type_name(), name);
    let sent = sent(&*provider, &Written::parse(request));
    assert_eq!(sent.unwrap_or_else(|error| error.to_string()).trim_end(), expected);
}

const CHAT: &str = "POST /team/v1/chat/completions\n\n{\"model\":\"a\"}";

#[test]
fn every_row_has_its_type() {
    for preset in PRESETS {
        let row = crate::provider::PROVIDERS.iter().find(|row| row.name == preset.name).unwrap();
        assert!(row.build.is_some());
        assert!(preset.upstream().is_ok());
    }
}

#[test]
fn a_row_says_host_path_and_credential() {
    check(
        "groq",
        CHAT,
        "host: api.groq.com\npath: /openai/v1/chat/completions\nauthorization: Bearer t\n\
         model = b\n\n{\"model\":\"b\"}",
    );
    check(
        "github",
        CHAT,
        "host: models.inference.ai.azure.com\npath: /chat/completions\nauthorization: t\n\
         model = b\n\n{\"model\":\"b\"}",
    );
    check(
        "mistral",
        CHAT,
        "host: api.mistral.ai\nauthorization: Bearer t\nmodel = b\n\n{\"model\":\"b\"}",
    );
}

#[test]
fn what_a_row_does_not_have_is_refused_with_a_body_only() {
    let refused = "this provider does not support this API";
    check("groq", "POST /v1/embeddings\n\n{\"model\":\"a\"}", refused);
    check("groq", "POST /v1/batches\n\n{}", refused);
    check("groq", "POST /v1/messages\n\n{}", refused);
    check("groq", "GET /v1/models", "host: api.groq.com\nauthorization: Bearer t");
    let form = "POST /v1/files\ncontent-type: multipart/form-data; boundary=X\n\n--X--";
    check("groq", form, "host: api.groq.com\nauthorization: Bearer t");
    check("groq", "POST /unknown\n\n{}", "host: api.groq.com\nauthorization: Bearer t");
}

#[test]
fn a_vendor_of_anthropic_messages_needs_no_translation() {
    check(
        "deepseek",
        "POST /v1/messages?beta=true\n\n{\"model\":\"a\"}",
        "host: api.deepseek.com\npath: /anthropic/v1/messages?beta=true\n\
         authorization: Bearer t\nmodel = b\n\n{\"model\":\"b\"}",
    );
}

#[test]
fn a_row_may_need_tokens() {
    for config in [json!({}), json!({"apiTokens": []})] {
        let Err(error) = provider("groq", config) else { panic!("no error") };
        assert_eq!(error.message, "no apiToken found in provider config");
    }
    let provider = provider("spark", json!({})).unwrap();
    let request = Written::parse("GET /v1/models\nx-api-key: client");
    assert_eq!(sent(&*provider, &request).unwrap(), "host: strict.test\n");
}
