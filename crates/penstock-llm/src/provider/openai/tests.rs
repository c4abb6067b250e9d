use proptest::prelude::*;
use serde_json::json;

use crate::error::LlmError;
use crate::provider::tests::{Written, object, sent, wants_body};
use crate::provider::{LlmRequest, Provider, build};
use crate::scan::Scan;

fn provider(mut config: serde_json::Value) -> std::sync::Arc<dyn Provider> {
    config["type"] = json!("openai");
    match build(&object(config)) {
        Ok(built) => built.provider,
        Err(error) => panic!("{error:?}"),
    }
}

/// `expected` is what changes; see [`sent`].
#[track_caller]
fn check(config: serde_json::Value, request: &str, expected: &str) {
    let sent = sent(&*provider(config), &Written::parse(request)).unwrap();
    assert_eq!(sent.trim_end(), expected);
}

#[track_caller]
fn check_error(config: serde_json::Value, request: &str, expected: LlmError) {
    assert_eq!(sent(&*provider(config), &Written::parse(request)), Err(expected));
}

/// Host and path of a request for `path`.
#[track_caller]
fn check_target(config: serde_json::Value, path: &str, expected_host: &str, expected_path: &str) {
    let sent = sent(&*provider(config), &Written::parse(&format!("GET {path}"))).unwrap();
    let expected = match expected_path == path {
        true => format!("host: {expected_host}\n"),
        false => format!("host: {expected_host}\npath: {expected_path}\n"),
    };
    assert_eq!(sent, expected);
}

#[test]
fn a_request_goes_to_openai() {
    check(
        json!({"apiTokens": ["sk-1"]}),
        "POST /team/v1/chat/completions?a=1\naccept-encoding: br\nauthorization: Bearer client\n\n\
         {\"model\":\"gpt-4\",\"messages\":[]}",
        "host: api.openai.com\npath: /v1/chat/completions?a=1\naccept-encoding: -\n\
         authorization: Bearer sk-1\nmodel = gpt-4",
    );
}

#[test]
fn a_custom_url_is_host_and_base_path() {
    for (url, path, host, sent) in [
        ("https://api.acme.test/v1", "/v1/embeddings", "api.acme.test", "/v1/embeddings"),
        (
            "http://10.0.0.5:8000/llm",
            "/x/v1/chat/completions",
            "10.0.0.5:8000",
            "/llm/chat/completions",
        ),
        ("https://acme.test", "/v1/chat/completions", "acme.test", "/chat/completions"),
        ("acme.test/", "/v1/chat/completions", "acme.test", "/chat/completions"),
        ("https://acme.test/a//b/", "/v1/files/f-1?x=1", "acme.test", "/a/b/files/f-1?x=1"),
        (
            "https://acme.test/v1/realtime/sessions",
            "/v1/realtime",
            "acme.test",
            "/v1/realtime/sessions/realtime",
        ),
        (
            "https://acme.test/v1",
            "/v1/fine_tuning/jobs/j-1/events",
            "acme.test",
            "/v1/fine_tuning/jobs/j-1/events",
        ),
        ("https://acme.test/api", "/v1/rerank", "acme.test", "/v1/rerank"),
        ("https://acme.test/api", "/unknown?a=1", "acme.test", "/unknown?a=1"),
    ] {
        check_target(json!({"openaiCustomUrl": url}), path, host, sent);
    }
}

#[test]
fn a_custom_url_that_is_an_endpoint_takes_every_request() {
    let endpoint = "https://acme.test/v1/chat/completions";
    let config = || json!({"openaiCustomUrl": endpoint});
    check_target(config(), "/v1/embeddings?a=1", "acme.test", "/v1/chat/completions");
    check_target(config(), "/unknown", "acme.test", "/v1/chat/completions");
    for suffix in super::FIXED_SUFFIXES {
        let config = json!({"openaiCustomUrl": format!("acme.test/x{suffix}")});
        check_target(config, "/v1/models?a=1", "acme.test", &format!("/x{suffix}"));
    }
}

#[test]
fn a_custom_url_must_be_one() {
    for (url, message) in [
        ("https://", "`openaiCustomUrl` has no usable host"),
        ("/v1", "`openaiCustomUrl` has no usable host"),
        ("ftp://acme.test/v1", "`openaiCustomUrl` has no usable host"),
        ("https://user:secret@acme.test/v1", "`openaiCustomUrl` has no usable host"),
        ("acme.test/v1?key=secret", "`openaiCustomUrl` must end with its path"),
        ("acme.test/a b", "`openaiCustomUrl` must be a path such as `/v1/chat/completions`"),
    ] {
        let config = object(json!({"type": "openai", "openaiCustomUrl": url}));
        let Err(error) = build(&config) else { panic!("no error for {url}") };
        assert_eq!((&*error.message, &*error.path), (message, "openaiCustomUrl"));
    }
}

#[test]
fn host_and_paths_can_be_overridden() {
    check_target(
        json!({"openaiCustomUrl": "acme.test/api", "providerDomain": "other.test:81",
            "providerBasePath": "/p"}),
        "/v1/models?a=1",
        "other.test:81",
        "/p/api/models?a=1",
    );
    check_target(
        json!({"capabilities": {"openai/v1/chatcompletions": "/own?b=2",
            "cohere/v1/rerank": "/own/rerank"}}),
        "/v1/chat/completions?a=1",
        "api.openai.com",
        "/own?b=2&a=1",
    );
    check_target(
        json!({"capabilities": {"cohere/v1/rerank": "rerank"}}),
        "/v1/rerank",
        "api.openai.com",
        "/rerank",
    );
    let removed = json!({"basePath": "/team", "protocol": "original"});
    check_target(removed, "/team/custom/v1/models", "api.openai.com", "/custom/v1/models");
    let prepended = json!({"basePath": "/team", "basePathHandling": "prepend"});
    check_target(prepended, "/v1/models", "api.openai.com", "/team/v1/models");
}

#[test]
fn the_clients_token_is_used_where_none_is_configured() {
    let request = |headers: &str| format!("GET /v1/models\n{headers}");
    for (headers, expected) in [
        ("x-api-key: a\nx-authorization: b\nauthorization: c", "\nauthorization: Bearer a"),
        ("x-authorization: Bearer b\nauthorization: c", "\nauthorization: Bearer b"),
        ("authorization: c", "\nauthorization: Bearer c"),
        ("authorization: bearer c", ""),
        ("x-other: d", ""),
    ] {
        check(json!({}), &request(headers), &format!("host: api.openai.com{expected}"));
    }
    let with_token = json!({"apiTokens": ["t"]});
    let expected = "host: api.openai.com\nauthorization: Bearer t";
    check(with_token, &request("x-api-key: a\nauthorization: Bearer c"), expected);
}

#[test]
fn an_empty_token_still_hides_the_clients() {
    let config = json!({"apiTokens": [""]});
    let request = "GET /v1/models\nauthorization: Bearer client";
    check(config, request, "host: api.openai.com\nauthorization: Bearer");
}

#[test]
fn headers_that_only_the_gateway_may_set_are_removed() {
    check(
        json!({}),
        "GET /v1/models\nX-Envoy-Original-Path: /a\nX-HI-ORIGINAL-AUTH: b\n\
         X-ENVOY-ORIGINAL-HOST: c",
        "host: api.openai.com\nx-envoy-original-host: -\nx-envoy-original-path: -\n\
         x-hi-original-auth: -",
    );
}

/// The body of a chat request after all edits, `-` where it stays.
#[track_caller]
fn check_chat(config: serde_json::Value, body: &str, expected: &str) {
    let request = Written::parse(&format!("POST /v1/chat/completions\n\n{body}"));
    let sent = sent(&*provider(config), &request).unwrap();
    let edited = sent.split_once("\n\n").map_or("-", |(_, body)| body.trim_end());
    assert_eq!(edited, expected);
}

#[test]
fn models_are_mapped_in_place() {
    let config = || json!({"modelMapping": {"gpt-4": "acme/\"4\"", "~^o(\\d)$": "omega-$1"}});
    check_chat(
        config(),
        r#"{ "x": {"model": 1},"model" : "gpt-4", "y": 1.0e5 }"#,
        r#"{ "x": {"model": 1},"model" : "acme/\"4\"", "y": 1.0e5 }"#,
    );
    check_chat(config(), r#"{"model":"o3"}"#, r#"{"model":"omega-3"}"#);
    check_chat(config(), r#"{"model":"other"}"#, "-");
    check_chat(config(), r#"{"messages":[]}"#, "-");
}

#[test]
fn a_missing_model_is_given_by_the_rest_rule() {
    let config = || json!({"modelMapping": {"*": "m"}});
    check_chat(config(), r#"{"n":1}"#, r#"{"model":"m","n":1}"#);
    check_chat(config(), "{}", r#"{"model":"m"}"#);
    check_chat(config(), r#"{"model":null}"#, r#"{"model":"m"}"#);
    check_chat(config(), r#"{"model":"m"}"#, "-");
}

#[test]
fn streams_are_asked_for_usage() {
    let on = r#"{"include_usage":true}"#;
    for (body, expected) in [
        (r#"{"stream":true}"#.to_owned(), format!(r#"{{"stream_options":{on},"stream":true}}"#)),
        (
            r#"{"stream":true,"stream_options":{}}"#.to_owned(),
            format!(r#"{{"stream":true,"stream_options":{on}}}"#),
        ),
        (
            r#"{"stream":true,"stream_options":{ "a":1}}"#.to_owned(),
            r#"{"stream":true,"stream_options":{"include_usage":true, "a":1}}"#.to_owned(),
        ),
        (
            r#"{"stream":true,"stream_options":null}"#.to_owned(),
            format!(r#"{{"stream":true,"stream_options":{on}}}"#),
        ),
        (r#"{"stream":true,"stream_options":{"include_usage":false}}"#.to_owned(), "-".to_owned()),
        (r#"{"stream":true,"stream_options":[]}"#.to_owned(), "-".to_owned()),
        (r#"{"stream":false}"#.to_owned(), "-".to_owned()),
        ("{}".to_owned(), "-".to_owned()),
    ] {
        check_chat(json!({}), &body, &expected);
    }
    check_chat(json!({"disableStreamUsageStats": true}), r#"{"stream":true}"#, "-");
}

#[test]
fn only_chat_and_completions_report_usage_and_only_some_accept_events() {
    let stream = |path: &str| format!("POST {path}\n\n{{\"stream\":true}}");
    let asked = "\n\n{\"stream_options\":{\"include_usage\":true},\"stream\":true}";
    for (path, expected) in [
        ("/v1/chat/completions", format!("\naccept: text/event-stream{asked}")),
        ("/v1/completions", asked.to_owned()),
        ("/v1/videos", "\naccept: text/event-stream".to_owned()),
        ("/v1/responses", String::new()),
    ] {
        check(json!({}), &stream(path), &format!("host: api.openai.com{expected}"));
    }
}

#[test]
fn a_schema_is_forced_on_chat_only() {
    let config = || json!({"responseJsonSchema": {"z": 1, "a": {"type": "json_schema"}}});
    let schema = r#"{"z":1,"a":{"type":"json_schema"}}"#;
    check_chat(config(), r#"{"n":1}"#, &format!(r#"{{"response_format":{schema},"n":1}}"#));
    check_chat(
        config(),
        r#"{"response_format":{"type":"text"} }"#,
        &format!(r#"{{"response_format":{schema} }}"#),
    );
    check(config(), "POST /v1/embeddings\n\n{\"input\":[]}", "host: api.openai.com");
}

#[test]
fn new_members_do_not_get_into_each_others_way() {
    check_chat(
        json!({"modelMapping": {"*": "m"}, "responseJsonSchema": {"a": 1}}),
        r#"{"stream":true,"messages":[{"role":"developer"}]}"#,
        concat!(
            r#"{"model":"m","response_format":{"a":1},"stream_options":{"include_usage":true},"#,
            r#""stream":true,"messages":[{"role":"system"}]}"#,
        ),
    );
}

#[test]
fn messages_are_edited_for_chat_only() {
    let config = || json!({"contextCleanupCommands": ["/new"], "hiclawMode": true});
    let body = concat!(
        r#"{"messages":[{"role":"developer","content":"d"},{"role":"user","content":"/new"},"#,
        r#"{"role":"user","content":"a"},{"role":"user","content":"b"}]}"#
    );
    check_chat(
        config(),
        body,
        r#"{"messages":[{"role":"system","content":"d"},{"role":"user","content":"a\n\nb"}]}"#,
    );
    check(config(), &format!("POST /v1/responses\n\n{body}"), "host: api.openai.com");
}

#[test]
fn original_leaves_the_body_alone() {
    let config = json!({"protocol": "original", "modelMapping": {"*": "m"}, "apiTokens": ["t"]});
    let provider = provider(config.clone());
    let request = "POST /v1/chat/completions\n\n{\"stream\":true,\"model\":\"a\"}";
    check(config, request, "host: api.openai.com\nauthorization: Bearer t");
    assert_eq!(provider.first_byte_timeout_ms(&Written::parse(request).request()), 0);
}

#[test]
fn a_first_byte_timeout_needs_to_know_whether_the_answer_streams() {
    let config = json!({"protocol": "original", "firstByteTimeout": "500"});
    let check_timeout = |request: &str, expected: u64| {
        let client = Written::parse(request);
        let scan = client.body.as_ref().and_then(|body| Scan::of(body).ok());
        let request = LlmRequest { scan: scan.as_ref(), ..client.request() };
        assert_eq!(provider(config.clone()).first_byte_timeout_ms(&request), expected);
    };
    let body = "{\"stream\":true,\"model\":\"a\"}";
    check_timeout(&format!("POST /v1/chat/completions\n\n{body}"), 500);
    check_timeout(&format!("POST /v1/responses\n\n{body}"), 500);
    check_timeout(&format!("POST /v1/embeddings\n\n{body}"), 0);
    check_timeout(&format!("POST /elsewhere\n\n{body}"), 0);
    check_timeout("POST /v1/chat/completions\n\n{\"stream\":false}", 0);
    check_timeout("POST /v1/chat/completions\n\n{\"stream\":\"true\"}", 0);
    check_timeout("GET /v1/models", 0);
    let client = Written::parse("POST /v1/chat/completions\n\n{not JSON");
    assert!(wants_body(&*provider(config.clone()), &client));
    assert!(!wants_body(&*provider(json!({"protocol": "original"})), &client));
    check(config, "POST /v1/chat/completions\n\n{not JSON", "host: api.openai.com");
}

#[test]
fn what_cannot_be_read_is_not_translated() {
    let request = "POST /v1/messages?beta=true\n\n{\"model\":\"a\"}";
    let error = || LlmError::InvalidRequest("`messages` must have a message".into());
    check_error(json!({}), request, error());
    check(json!({"protocol": "original"}), request, "host: api.openai.com");
    let count = "POST /v1/messages/count_tokens\n\n{\"model\":\"a\"}";
    check(json!({"modelMapping": {"*": "m"}}), count, "host: api.openai.com");
}

#[test]
fn bodies_that_nothing_is_known_about_pass_unread() {
    let map = || json!({"modelMapping": {"*": "m"}});
    let chat = "POST /v1/chat/completions";
    for head in [
        "POST /unknown",
        "POST /v1/files",
        "POST /v1/batches",
        "POST /v1/rerank",
        &format!("{chat}\ncontent-type: text/plain"),
        &format!("{chat}\ncontent-type: application/octet-stream"),
        &format!("{chat}\ncontent-type: multipart/form-data; boundary=X"),
        &format!("{chat}\ncontent-encoding: gzip"),
        &format!("{chat}\nupgrade: WebSocket"),
        "POST /v1/audio/transcriptions\ncontent-type: multipart/form-data; boundary=X",
    ] {
        check(map(), &format!("{head}\n\n{{\"model\":\"a\"}}"), "host: api.openai.com");
    }
    for content_type in ["application/json; charset=utf-8", "Application/JSON"] {
        check(
            map(),
            &format!("{chat}\ncontent-type: {content_type}\n\n{{\"model\":\"a\"}}"),
            "host: api.openai.com\nmodel = m\n\n{\"model\":\"m\"}",
        );
    }
    check(map(), chat, "host: api.openai.com");
}

#[test]
fn every_api_with_a_model_is_mapped() {
    for path in [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/images/generations",
        "/v1/images/edits",
        "/v1/images/variations",
        "/v1/audio/speech",
        "/v1/fine_tuning/jobs",
        "/v1/responses",
        "/v1/videos",
        "/v1/videos/v-1/remix",
    ] {
        check(
            json!({"modelMapping": {"*": "m"}}),
            &format!("POST {path}\n\n{{\"model\":\"a\"}}"),
            "host: api.openai.com\nmodel = m\n\n{\"model\":\"m\"}",
        );
    }
}

#[test]
fn a_capability_of_another_vendor_is_mapped_too() {
    check(
        json!({"capabilities": {"cohere/v1/rerank": "/r"}, "modelMapping": {"*": "m"}}),
        "POST /v1/rerank\n\n{\"model\":\"a\"}",
        "host: api.openai.com\npath: /r\nmodel = m\n\n{\"model\":\"m\"}",
    );
}

#[test]
fn forms_of_images_are_mapped() {
    let form = |model: &str| {
        format!(
            "POST /v1/images/edits\ncontent-type: multipart/form-data; boundary=X\n\n\
             --X\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--X--"
        )
    };
    check(
        json!({"modelMapping": {"dall-e": "paint"}}),
        &form("dall-e"),
        "host: api.openai.com\nmodel = paint\n\n\
         --X\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\npaint\r\n--X--",
    );
    let unchanged = "host: api.openai.com\nmodel = other";
    check(json!({"modelMapping": {"dall-e": "paint"}}), &form("other"), unchanged);
    let broken = form("a").replace("--X--", "");
    let error = LlmError::InvalidRequest("the multipart body is malformed".into());
    check_error(json!({}), &broken, error);
}

#[test]
fn bodies_that_cannot_be_read_are_the_clients_fault() {
    let invalid = |message: &str| LlmError::InvalidRequest(message.into());
    let request = |body: &str| format!("POST /v1/chat/completions\n\n{body}");
    check_error(json!({}), &request("[]"), invalid("the body must be a JSON object"));
    let twice = r#"{"model":"a","model":"b"}"#;
    check_error(json!({}), &request(twice), invalid("the body has `model` twice"));
    let message = "`model` must be a string";
    check_error(json!({}), &request(r#"{"model":5}"#), invalid(message));
}

#[test]
fn what_is_kept_of_a_body_is_not_copied() {
    let body = bytes::Bytes::from(format!(
        r#"{{"model":"a","messages":[{{"role":"user","content":"{}"}}]}}"#,
        "x".repeat(65536)
    ));
    let scan = crate::scan::Scan::of(&body).unwrap();
    let request = crate::provider::LlmRequest {
        api: Some(crate::Api::ChatCompletions),
        method: &http::Method::POST,
        path_and_query: "/v1/chat/completions",
        headers: &http::HeaderMap::new(),
        body: Some(&body),
        scan: Some(&scan),
        now: || 1_800_000_000,
        expected: None,
    };
    let provider = provider(json!({"modelMapping": {"a": "b"}}));
    let target = crate::provider::Target { token: None };
    let upstream = provider.request(&request, &target, &Default::default()).unwrap();
    let crate::provider::BodyEdit::Parts(parts) = upstream.body else { panic!("no parts") };
    let is_shared = |part: &&bytes::Bytes| body.as_ptr_range().contains(&part.as_ptr());
    let shared: usize = parts.iter().filter(is_shared).map(bytes::Bytes::len).sum();
    assert_eq!(shared, body.len() - "\"a\"".len());
}

proptest! {
    /// Whatever is edited, the body stays JSON and what nobody names stays.
    #[test]
    fn edits_touch_only_what_they_name(
        model in proptest::option::of("\\PC{0,6}"),
        stream in proptest::option::of(any::<bool>()),
        contents in proptest::collection::vec("\\PC{0,6}", 0..5),
        role in proptest::sample::select(vec!["developer", "user", "assistant"]),
        noise in "\\PC{0,6}",
    ) {
        let messages: Vec<_> =
            contents.iter().map(|text| json!({"role": role, "content": text, "x": noise})).collect();
        let mut body = json!({"noise": {"model": noise}, "messages": messages});
        if let Some(model) = &model {
            body["model"] = json!(model);
        }
        if let Some(stream) = stream {
            body["stream"] = json!(stream);
        }
        let config = json!({
            "modelMapping": {"*": "mapped"},
            "mergeConsecutiveMessages": true,
            "responseJsonSchema": {"type": "json_object"},
        });
        let request = Written::parse(&format!("POST /v1/chat/completions\n\n{body}"));
        let sent = sent(&*provider(config), &request).unwrap();
        let (_, edited) = sent.split_once("\n\n").unwrap();
        let edited: serde_json::Value = serde_json::from_str(edited).unwrap();

        let mut expected = body.clone();
        expected["model"] = json!("mapped");
        expected["response_format"] = json!({"type": "json_object"});
        if stream == Some(true) {
            expected["stream_options"] = json!({"include_usage": true});
        }
        if role == "developer" {
            for message in expected["messages"].as_array_mut().unwrap() {
                message["role"] = json!("system");
            }
        } else if !contents.is_empty() {
            let text = contents.join("\n\n");
            expected["messages"] = json!([{"role": role, "content": text, "x": noise}]);
        }
        prop_assert_eq!(edited, expected);
    }
}
