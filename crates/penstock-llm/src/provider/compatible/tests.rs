use serde_json::json;

use super::*;
use crate::provider::tests::{
    Written, check_with, needs, provider, sent, sent_with, usual, wants_body,
};

#[track_caller]
fn check(name: &str, request: &str, expected: &str) {
    check_with(&*usual(name, json!({})), request, expected);
}

const CHAT: &str = "POST /team/v1/chat/completions\n\n{\"model\":\"a\"}";
const MAPPED: &str = "model = b\n\n{\"model\":\"b\"}";
const REFUSED: &str = "this provider does not support this API";

#[test]
fn what_a_type_does_not_have_is_refused_with_a_body_only() {
    check("groq", "POST /v1/embeddings\n\n{\"model\":\"a\"}", REFUSED);
    check("groq", "POST /v1/batches\n\n{}", REFUSED);
    check("groq", "GET /v1/models", "host: api.groq.com\nauthorization: Bearer t");
    let form = "POST /v1/files\ncontent-type: multipart/form-data; boundary=X\n\n--X--";
    check("groq", form, "host: api.groq.com\nauthorization: Bearer t");
    check("groq", &form.replace("/files", "/audio/translations"), {
        "host: api.groq.com\nauthorization: Bearer t"
    });
    check("groq", &form.replace("/files", "/images/edits"), REFUSED);
    check("groq", "POST /unknown\n\n{}", "host: api.groq.com\nauthorization: Bearer t");
    // Ollama knows more than its row.
    let ollama = usual("ollama", json!({"ollamaServerHost": "o.test", "ollamaServerPort": 1}));
    check_with(&*ollama, "POST /v1/audio/speech\n\n{\"model\":\"a\"}", "host: o.test:1");
}

#[test]
fn a_vendor_of_anthropic_messages_needs_no_translation() {
    for (name, host, path) in [
        ("deepseek", "api.deepseek.com", "/anthropic/v1/messages?beta=true"),
        ("qwen", "dashscope.aliyuncs.com", "/apps/anthropic/v1/messages?beta=true"),
        ("vllm", "vllm-service.cluster.local", "/v1/messages?beta=true"),
    ] {
        check(
            name,
            "POST /x/v1/messages?beta=true\n\n{\"model\":\"a\"}",
            &format!("host: {host}\npath: {path}\nauthorization: Bearer t\n{MAPPED}"),
        );
    }
    let counted = format!("host: vllm-service.cluster.local\nauthorization: Bearer t\n{MAPPED}");
    check("vllm", "POST /v1/messages/count_tokens\n\n{\"model\":\"a\"}", &counted);
}

#[test]
fn a_chat_in_another_format_is_translated() {
    let body = r#"{"messages":[{"role":"user","content":"hi"}],"max_tokens":5,"model":"a"}"#;
    let headers = "x-api-key: client\nanthropic-version: 2023-06-01\nanthropic-beta: b";
    let chat = r#"{"model":"b","messages":[{"role":"user","content":"hi"}],"max_tokens":5}"#;
    check(
        "moonshot",
        &format!("POST /x/v1/messages?beta=true\n{headers}\n\n{body}"),
        &format!(
            "host: api.moonshot.cn\npath: /v1/chat/completions\nauthorization: Bearer t\n\
             x-api-key: -\nanthropic-version: -\nanthropic-beta: -\nmodel = b\n\n{chat}"
        ),
    );
    let messages = r#"{"model":"b","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}"#;
    check(
        "claude",
        &format!("POST /v1/chat/completions\nauthorization: Bearer client\n\n{body}"),
        &format!(
            "host: api.anthropic.com\npath: /v1/messages\nauthorization: -\nx-api-key: t\n\
             anthropic-version: 2023-06-01\nmodel = b\n\n{messages}"
        ),
    );
    let contents = r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}],"generationConfig":{"maxOutputTokens":5}}"#;
    check(
        "gemini",
        &format!("POST /v1/chat/completions\n\n{body}"),
        &format!(
            "host: generativelanguage.googleapis.com\npath: /v1beta/models/b:generateContent\n\
             x-goog-api-key: t\nmodel = b\n\n{contents}"
        ),
    );
    let native = "POST /v1beta/models/m:generateContent?key=client&alt=sse\n\n{}";
    check(
        "gemini",
        native,
        "host: generativelanguage.googleapis.com\npath: /v1beta/models/m:generateContent?alt=sse\n\
         x-goog-api-key: t",
    );
}

#[test]
fn without_a_token_the_clients_passes_or_is_taken_away() {
    let request = "GET /v1/models\nx-api-key: key\nauthorization: Bearer client";
    let server = json!({"ollamaServerHost": "o.test", "ollamaServerPort": 1});
    for (name, config, expected) in [
        ("vllm", json!({}), "host: vllm-service.cluster.local"),
        ("vllm", json!({"apiTokens": ["t"]}), {
            "host: vllm-service.cluster.local\nauthorization: Bearer t"
        }),
        ("ollama", server.clone(), "host: o.test:1"),
        ("generic", json!({}), ""),
        ("generic", json!({"apiTokens": ["t"]}), "authorization: Bearer t"),
        ("hunyuan", json!({}), "host: api.hunyuan.cloud.tencent.com\nauthorization: -"),
        ("openai", json!({}), "host: api.openai.com\nauthorization: Bearer key"),
    ] {
        check_with(&*provider(name, config).unwrap(), request, expected);
    }
    let mut with_token = server;
    with_token["apiTokens"] = json!(["t"]);
    check_with(&*provider("ollama", with_token).unwrap(), request, "host: o.test:1");
}

#[test]
fn generic_sends_what_it_gets() {
    let all = json!({
        "genericHost": "g.test:8443", "basePath": "/team", "customSettings": [],
        "firstByteTimeout": 500,
    });
    let generic = usual("generic", all);
    let get = Written::parse("GET /anything");
    assert_eq!(generic.first_byte_timeout_ms(&get.request()), 500);
    let expected = "host: g.test:8443\npath: /v1/chat/completions\nauthorization: Bearer t";
    let stream = "POST /team/v1/chat/completions\n\n{\"model\":\"a\",\"stream\":true}";
    check_with(&*generic, stream, expected);
    let unmoved = provider("generic", json!({})).unwrap();
    check_with(&*unmoved, "POST /v1/messages\n\n{\"model\":\"a\"}", "");
    assert!(!wants_body(&*unmoved, &Written::parse(CHAT)));
    let limited = json!({"customSettings": [{"name": "max_tokens", "value": 1}]});
    let limited = provider("generic", limited).unwrap();
    check_with(&*limited, CHAT, "model = a\n\n{\"max_tokens\":1,\"model\":\"a\"}");
}

#[test]
fn vendors_get_the_bodies_that_they_want() {
    for (name, path, body, expected) in [
        (
            "doubao",
            "/api/v3/images/generations",
            r#"{"model":"a"}"#,
            r#"{"watermark":false,"model":"b"}"#,
        ),
        (
            "openrouter",
            "/api/v1/chat/completions",
            r#"{"reasoning_max_tokens":9,"model":"a"}"#,
            r#"{"reasoning":{"max_tokens":9},"model":"b"}"#,
        ),
        (
            "zhipuai",
            "/api/paas/v4/chat/completions",
            r#"{"model":"a","reasoning_effort":"low"}"#,
            r#"{"thinking":{"type":"enabled"},"model":"b"}"#,
        ),
    ] {
        let provider = usual(name, json!({}));
        let client_path = path.split_once("/v").map(|(_, rest)| &rest[1..]).unwrap();
        let request = Written::parse(&format!("POST /v1{client_path}\n\n{body}"));
        let sent = sent(&*provider, &request).unwrap();
        assert!(sent.contains(&format!("\npath: {path}\n")), "{sent}");
        let (_, edited) = sent.split_once("\n\n").unwrap();
        assert_eq!(edited.trim_end(), expected, "{name}");
    }
}

#[test]
fn settings_go_before_everything_else() {
    let provider = usual(
        "zhipuai",
        json!({
            "customSettings": [
                {"name": "model", "value": "a", "mode": "raw"},
                {"name": "max_tokens", "value": 9},
                {"name": "stream", "value": true, "mode": "raw"},
                {"name": "reasoning_effort", "value": "low", "mode": "raw"},
            ],
        }),
    );
    check_with(
        &*provider,
        "POST /v1/chat/completions\n\n{\"model\":\"x\",\"messages\":[{\"role\":\"developer\"}]}",
        concat!(
            "host: open.bigmodel.cn\npath: /api/paas/v4/chat/completions\n",
            "authorization: Bearer t\naccept: text/event-stream\nmodel = b\n\n",
            r#"{"stream_options":{"include_usage":true},"thinking":{"type":"enabled"},"#,
            r#""stream":true,"max_tokens":9,"model":"b","messages":[{"role":"system"}]}"#,
        ),
    );
    let twice = "POST /v1/chat/completions\n\n{\"max_tokens\":1,\"max_tokens\":2}";
    check_with(&*provider, twice, "the body has a member of `max_tokens` twice");
    let embeddings = "POST /v1/embeddings\n\n{\"input\":\"i\"}";
    let original = usual(
        "zhipuai",
        json!({
            "protocol": "original", "customSettings": [{"name": "max_tokens", "value": 9}],
        }),
    );
    check_with(&*original, embeddings, "host: open.bigmodel.cn\nauthorization: Bearer t");
}

#[test]
fn a_schema_is_forced_by_two_types_only() {
    let fields = || json!({"responseJsonSchema": {"type": "json_object"}});
    let forced = "model = b\n\n{\"response_format\":{\"type\":\"json_object\"},\"model\":\"b\"}";
    let sent = |name| sent(&*usual(name, fields()), &Written::parse(CHAT)).unwrap();
    assert!(sent("longcat").contains(forced));
    assert!(sent("openai").contains(forced));
    assert!(sent("groq").contains(MAPPED));
}

#[test]
fn a_context_file_goes_into_chat_requests() {
    let context = json!({
        "fileUrl": "http://files.test/a/b.txt?c=d", "serviceName": "files.dns",
        "servicePort": "8080",
    });
    let groq = |fields: Value| usual("groq", fields);
    let with_context = groq(json!({"context": context, "timeout": 500}));
    let chat = Written::parse(
        "POST /v1/chat/completions\n\n{\"model\":\"a\",\"messages\":[{\"role\":\"user\"}]}",
    );
    let file = |timeout_ms| {
        let (url, service) = ("http://files.test/a/b.txt".into(), "files.dns".into());
        [Fetch::ContextFile { url, service, port: 8080, timeout_ms }]
    };
    assert_eq!(needs(&*with_context, &chat), file(500));
    assert_eq!(with_context.may_need(), file(500));
    assert_eq!(needs(&*groq(json!({ "context": context })), &chat), file(120_000));
    let sent = sent_with(&*with_context, &chat, &["Be\nbrief."]).unwrap();
    let (_, body) = sent.split_once("\n\n").unwrap();
    let expected = concat!(
        r#"{"model":"b","messages":[{"role":"system","content":"Be\nbrief."},"#,
        r#"{"role":"user"}]}"#,
    );
    assert_eq!(body.trim_end(), expected);

    let original = json!({"context": context, "protocol": "original", "firstByteTimeout": 1});
    for (provider, request) in [
        (groq(json!({})), &chat),
        (groq(original), &chat),
        (with_context.clone(), &Written::parse("POST /v1/responses\n\n{\"model\":\"a\"}")),
        (with_context.clone(), &Written::parse("POST /v1/chat/completions")),
    ] {
        assert_eq!(needs(&*provider, request), []);
        assert!(!sent_with(&*provider, request, &["Be brief."]).unwrap().contains("brief"));
    }
}

/// What becomes of an answer to a chat request; `-` where no stage sees it.
fn answered(provider: &dyn Provider, path: &str, head: (u16, &str), body: &str) -> String {
    let (path, headers) = (path.to_owned(), HeaderMap::new());
    let request = LlmRequest {
        api: Api::from_path(&path),
        method: &http::Method::POST,
        path_and_query: &path,
        headers: &headers,
        body: None,
        scan: None,
        now: || 1_800_000_000,
        expected: None,
    };
    let (status, lines) = head;
    let mut headers = HeaderMap::new();
    for (name, value) in lines.lines().filter_map(|line| line.split_once(": ")) {
        headers.insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    let head = Head { status: StatusCode::from_u16(status).unwrap(), headers };
    let Treatment::Stage(mut stage) = provider.response(&request, &head) else { return "-".into() };
    let mut pieces = Vec::new();
    crate::sse::SseDecoder::new().push(Bytes::from(body.to_owned()), &mut pieces).unwrap();
    if pieces.is_empty() {
        pieces.push(crate::stage::Piece { raw: Bytes::from(body.to_owned()), event: None });
    }
    let mut output = crate::stage::Output::default();
    for piece in pieces {
        stage.push(piece, &mut output).unwrap();
    }
    stage.finish(&mut output).unwrap();
    let raw: Vec<Bytes> = output.pieces.into_iter().map(|piece| piece.raw).collect();
    String::from_utf8(raw.concat()).unwrap()
}

#[test]
fn answers_pass_but_for_what_has_a_reason() {
    const CHAT: &str = "/v1/chat/completions";
    const STREAM: &str = "Content-Type: Text/Event-Stream; charset=utf-8";
    let events =
        "id: 1\ndata: {\"choices\":[{\"usage\":{\"total_tokens\":1}}]}\n\ndata: [DONE]\n\n";
    let moved =
        "id: 1\ndata: {\"usage\":{\"total_tokens\":1},\"choices\":[{}]}\n\ndata: [DONE]\n\n";
    let moonshot = usual("moonshot", json!({}));
    assert_eq!(answered(&*moonshot, CHAT, (200, STREAM), events), moved);
    let gzip = format!("{STREAM}\ncontent-encoding: gzip");
    for (path, head) in [
        ("/v1/models", (200, STREAM)),
        (CHAT, (200, "content-type: application/json")),
        (CHAT, (200, "")),
        (CHAT, (429, STREAM)),
        (CHAT, (200, &*gzip)),
    ] {
        assert_eq!(answered(&*moonshot, path, head, events), "-", "{path} {head:?}");
    }
    let original = usual("moonshot", json!({"protocol": "original", "hiclawMode": true}));
    assert_eq!(answered(&*original, CHAT, (200, STREAM), events), "-");
    assert_eq!(answered(&*usual("groq", json!({})), CHAT, (200, STREAM), events), "-");
}

#[test]
fn thinking_is_promoted_where_that_is_wanted() {
    const CHAT: &str = "/v1/chat/completions";
    let body = r#"{"choices":[{"message":{"reasoning_content":"a"}}]}"#;
    let promoted = r#"{"choices":[{"message":{"content":"a"}}]}"#;
    for field in ["promoteThinkingOnEmpty", "hiclawMode"] {
        let groq = usual("groq", json!({ field: true }));
        assert_eq!(answered(&*groq, CHAT, (200, "content-type: application/json"), body), promoted);
        assert_eq!(answered(&*groq, CHAT, (201, ""), body), "-");
    }
    // Both stages of a vendor that has one of its own.
    let moonshot = usual("moonshot", json!({"hiclawMode": true}));
    let event = |choice: &str| format!("data: {{{choice}}}\n\n");
    let stream = event(
        r#""choices":[{"index":0,"delta":{"reasoning_content":"a"},"usage":{"total_tokens":1}}]"#,
    );
    let expected = event(
        r#""usage":{"total_tokens":1},"choices":[{"index":0,"delta":{"reasoning_content":"a"}}]"#,
    ) + &event(
        r#""choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]"#,
    );
    let head = (200, "content-type: text/event-stream");
    assert_eq!(answered(&*moonshot, CHAT, head, &stream), expected);
}
