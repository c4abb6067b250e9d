//! What all types share: the table, the order of checks, and building.

use serde_json::json;

use super::*;

/// The object of a provider in which every field says something.
pub(crate) fn object(config: Value) -> Map<String, Value> {
    match config {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

#[track_caller]
fn check_error(config: Value, kind: ConfigErrorKind, path: &str, message: &str) -> Option<String> {
    let Err(error) = build(&object(config)) else { panic!("no error: {message}") };
    assert_eq!((error.message.as_str(), error.path.as_str(), error.kind), (message, path, kind));
    error.hint
}

#[test]
fn the_table_is_sorted_and_complete() {
    let names: Vec<_> = PROVIDERS.iter().map(|row| row.name).collect();
    assert!(names.is_sorted());
    assert_eq!(names.len(), 38);
}

#[test]
fn the_first_mistake_is_told() {
    let invalid = ConfigErrorKind::Invalid;
    let mut config = json!({
        "protocol": "anthropic", "context": {}, "failover": {"enabled": true}, "type": "",
    });
    let hint = check_error(config.clone(), invalid, "protocol", "invalid protocol in config");
    assert_eq!(hint.as_deref(), Some("`openai` or `original`"));
    config["protocol"] = json!("original");
    check_error(config.clone(), invalid, "context", "missing fileUrl in context config");
    config["context"] = json!({"fileUrl": "/file", "serviceName": "s", "servicePort": 80});
    let message = "invalid fileUrl in context config: it must be a URL with a host";
    check_error(config.clone(), invalid, "context.fileUrl", message);
    config["context"]["fileUrl"] = json!("http://files.test/a.txt");
    config["context"]["serviceName"] = json!("");
    check_error(config.clone(), invalid, "context", "missing serviceName in context config");
    config["context"]["serviceName"] = json!("files.dns");
    config["context"]["servicePort"] = json!(null);
    check_error(config.clone(), invalid, "context", "missing servicePort in context config");
    config["context"]["servicePort"] = json!("80");
    let message = "missing healthCheckModel in failover config";
    check_error(config.clone(), invalid, "failover", message);
    config["failover"]["cooldownDuration"] = json!(1000);
    check_error(config.clone(), invalid, "", "missing type in provider config");
    config["type"] = json!("openai");
    assert!(build(&object(config)).is_ok());
}

#[test]
fn unknown_types_are_told_with_the_nearest_one() {
    let hint = |name: &str| {
        let message = format!("unknown provider type: {name}");
        check_error(json!({"type": name}), ConfigErrorKind::UnknownType, "type", &message)
    };
    assert_eq!(hint("opanai").as_deref(), Some("did you mean `openai`?"));
    assert_eq!(hint("deep-seek").as_deref(), Some("did you mean `deepseek`?"));
    assert_eq!(hint("OpenAI").as_deref(), Some("did you mean `openai`?"));
    assert_eq!(hint("xyz"), None);
}

#[test]
fn planned_types_are_known() {
    check_error(
        json!({"type": "bedrock"}),
        ConfigErrorKind::TypeNotSupported,
        "type",
        "provider type `bedrock` is not supported yet",
    );
}

#[test]
fn values_that_cannot_be_meant_are_errors() {
    for (field, value, message) in [
        ("type", json!(["openai"]), "`type` must be text, not a list"),
        ("apiTokens", json!(5), "`apiTokens` must be a list, not a number"),
        ("modelMapping", json!(["a"]), "`modelMapping` must be an object, not a list"),
        ("modelMapping", json!("a"), "`modelMapping` must be an object, not text"),
        ("openaiCustomUrl", json!(["http://a/v1"]), "`openaiCustomUrl` must be text, not a list"),
        ("protocol", json!({}), "`protocol` must be text, not an object"),
        ("basePath", json!([]), "`basePath` must be text, not a list"),
        ("providerDomain", json!({}), "`providerDomain` must be text, not an object"),
        ("capabilities", json!([]), "`capabilities` must be an object, not a list"),
        ("responseJsonSchema", json!("{}"), "`responseJsonSchema` must be an object, not text"),
        ("failover", json!(true), "`failover` must be an object, not a boolean"),
        ("mergeConsecutiveMessages", json!("yes"), {
            "`mergeConsecutiveMessages` must be a boolean, not text"
        }),
        ("firstByteTimeout", json!("5s"), {
            "`firstByteTimeout` must be a whole number, and not negative"
        }),
    ] {
        let mut config = json!({"type": "openai"});
        config[field] = value;
        check_error(config, ConfigErrorKind::Invalid, field, message);
    }
    check_error(
        json!({"type": "openai", "modelMapping": {"gpt-4": {"to": "a"}}}),
        ConfigErrorKind::Invalid,
        "modelMapping.gpt-4",
        "`modelMapping.gpt-4` must be text, not an object",
    );
}

#[test]
fn a_broken_rule_is_a_mistake_of_the_model_mapping() {
    check_error(
        json!({"type": "openai", "modelMapping": {"~a.(": "b"}}),
        ConfigErrorKind::ModelMapping,
        r#"modelMapping["~a.("]"#,
        "the model mapping rule `~a.(` is not a regular expression: unclosed group",
    );
}

#[test]
fn tokens_are_never_shown() {
    const SECRET: &str = "sk-very-secret";
    let config = json!({"type": "openai", "apiTokens": [SECRET, format!("{SECRET}\n")]});
    let hint = check_error(
        config,
        ConfigErrorKind::Invalid,
        "apiTokens[1]",
        "`apiTokens[1]` has a character that no header can hold",
    );
    assert!(!hint.unwrap().contains(SECRET));
    for tokens in [json!([[SECRET]]), json!({SECRET: 1})] {
        let config = object(json!({"type": "openai", "apiTokens": tokens}));
        let Err(error) = build(&config) else { panic!("no error") };
        assert!(!format!("{error:?}").contains(SECRET));
    }
    let built = build(&object(json!({"type": "openai", "apiTokens": SECRET}))).unwrap();
    assert_eq!(built.provider.tokens()[0].plain(), SECRET);
    assert!(!format!("{:?}", built.provider.tokens()).contains(SECRET));
}

#[test]
fn key_paths_quote_what_would_be_ambiguous() {
    for (path, key, expected) in [
        ("", "id", "id"),
        ("a", "b", "a.b"),
        ("a", "b.c", "a[\"b.c\"]"),
        ("a", "", "a[\"\"]"),
        ("", "a b", "[\"a b\"]"),
        ("a", "~^x", "a.~^x"),
    ] {
        assert_eq!(join_path(path, key), expected);
    }
}

/// A client's request, written down: method and path, headers, an empty
/// line, body.
pub(crate) struct Written {
    method: Method,
    path_and_query: String,
    headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
}

impl Written {
    pub(crate) fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines().map(str::trim);
        let (method, path_and_query) = lines.next().unwrap().split_once(' ').unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
        });
        Self {
            method: method.parse().unwrap(),
            path_and_query: path_and_query.to_owned(),
            headers: headers.collect(),
            body: (!body.is_empty()).then(|| Bytes::copy_from_slice(body.as_bytes())),
        }
    }

    pub(crate) fn request(&self) -> LlmRequest<'_> {
        let (path, _) = crate::api::split_query(&self.path_and_query);
        LlmRequest {
            api: Api::from_path(path),
            method: &self.method,
            path_and_query: &self.path_and_query,
            headers: &self.headers,
            body: None,
            scan: None,
            now: || 1_800_000_000,
            expected: None,
        }
    }
}

pub(crate) fn wants_body(provider: &dyn Provider, client: &Written) -> bool {
    provider.wants_body(&client.request())
}

/// What the provider needs for a request.
pub(crate) fn needs(provider: &dyn Provider, client: &Written) -> Vec<Fetch> {
    let mut request = client.request();
    if provider.wants_body(&request) {
        request.body = client.body.as_ref();
    }
    provider.needs(&request)
}

/// What becomes of a request: host, path, header edits, an empty line, body;
/// what is kept is not shown.
pub(crate) fn sent(provider: &dyn Provider, client: &Written) -> Result<String, LlmError> {
    sent_with(provider, client, &[])
}

/// The same, with the texts that the provider needs.
pub(crate) fn sent_with(
    provider: &dyn Provider,
    client: &Written,
    texts: &[&'static str],
) -> Result<String, LlmError> {
    let bodies = texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect();
    let mut request = client.request();
    if provider.wants_body(&request) {
        request.body = client.body.as_ref();
    }
    let token = provider.tokens().first();
    let upstream = provider.request(&request, &Target { token }, &Fetched { bodies })?;
    let mut shown = String::new();
    if let Some(host) = &upstream.host {
        shown += &format!("host: {}\n", host.to_str().unwrap());
    }
    if let Some(path) = &upstream.path_and_query {
        shown += &format!("path: {path}\n");
    }
    for (name, value) in &upstream.headers {
        let value = value.as_ref().map_or("-", |value| value.to_str().unwrap());
        shown += &format!("{name}: {value}\n");
    }
    if let Some(model) = &upstream.model {
        shown += &format!("model = {model}\n");
    }
    if let BodyEdit::Parts(parts) = &upstream.body {
        shown += &format!("\n{}\n", String::from_utf8(parts.concat()).unwrap());
    }
    Ok(shown)
}

/// A provider of a type.
pub(crate) fn provider(name: &str, mut config: Value) -> Result<Arc<dyn Provider>, ConfigError> {
    config["type"] = json!(name);
    build(&object(config)).map(|built| built.provider)
}

/// A provider of a type with a token and a model mapping besides the fields.
pub(crate) fn usual(name: &str, fields: Value) -> Arc<dyn Provider> {
    let mut config = json!({"apiTokens": ["t"], "modelMapping": {"a": "b"}});
    config.as_object_mut().unwrap().extend(object(fields));
    provider(name, config).unwrap()
}

/// `expected` is what changes, or the error; see [`sent`].
#[track_caller]
pub(crate) fn check_with(provider: &dyn Provider, request: &str, expected: &str) {
    let sent = sent(provider, &Written::parse(request));
    assert_eq!(sent.unwrap_or_else(|error| error.to_string()).trim_end(), expected);
}
