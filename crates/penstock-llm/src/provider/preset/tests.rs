use serde_json::{Value, json};

use super::*;
use crate::provider::tests::{Written, check_with, object, provider, sent, usual};
use crate::provider::{PROVIDERS, Provider, build};

const CHAT: &str = "POST /team/v1/chat/completions\n\n{\"model\":\"a\"}";
const MAPPED: &str = "model = b\n\n{\"model\":\"b\"}";

/// Host and path of a chat request.
#[track_caller]
fn check_chat(name: &str, fields: Value, host: &str, path: &str) {
    let authorization = match name {
        "github" | "ai360" => "authorization: t\n",
        "ollama" => "",
        "azure" => "api-key: t\n",
        _ => "authorization: Bearer t\n",
    };
    let path = match path {
        "" => String::new(),
        path => format!("path: {path}\n"),
    };
    let expected = format!("host: {host}\n{path}{authorization}{MAPPED}");
    check_with(&*usual(name, fields), CHAT, &expected);
}

#[test]
fn every_row_has_its_type() {
    assert!(PRESETS.is_sorted_by_key(|preset| preset.name));
    let rows = PROVIDERS.iter().filter(|row| row.build.is_some()).map(|row| row.name);
    assert_eq!(rows.collect::<Vec<_>>(), PRESETS.iter().map(|row| row.name).collect::<Vec<_>>());
}

#[test]
fn every_type_has_its_host_path_and_credential() {
    let chat = "/v1/chat/completions";
    for (name, host, path) in [
        ("ai360", "api.360.cn", chat),
        ("baichuan", "api.baichuan-ai.com", chat),
        ("baidu", "qianfan.baidubce.com", "/v2/chat/completions"),
        ("deepseek", "api.deepseek.com", chat),
        ("doubao", "ark.cn-beijing.volces.com", "/api/v3/chat/completions"),
        ("fireworks", "api.fireworks.ai", chat),
        ("galadriel", "api.galadriel.com", chat),
        ("github", "models.inference.ai.azure.com", "/chat/completions"),
        ("grok", "api.x.ai", chat),
        ("groq", "api.groq.com", "/openai/v1/chat/completions"),
        ("hunyuan", "api.hunyuan.cloud.tencent.com", chat),
        ("longcat", "api.longcat.chat", chat),
        ("minimax", "api.minimax.chat", "/v1/text/chatcompletion_v2"),
        // It keeps the client's path, prefix and all.
        ("mistral", "api.mistral.ai", ""),
        ("moonshot", "api.moonshot.cn", chat),
        ("openai", "api.openai.com", chat),
        ("openrouter", "openrouter.ai", "/api/v1/chat/completions"),
        ("qwen", "dashscope.aliyuncs.com", "/compatible-mode/v1/chat/completions"),
        ("stepfun", "api.stepfun.com", chat),
        ("together-ai", "api.together.xyz", chat),
        ("vllm", "vllm-service.cluster.local", chat),
        ("yi", "api.lingyiwanwu.com", chat),
        ("zhipuai", "open.bigmodel.cn", "/api/paas/v4/chat/completions"),
    ] {
        check_chat(name, json!({}), host, path);
    }
}

#[test]
fn fields_of_a_type_move_it() {
    for (name, fields, host, path) in [
        (
            "cloudflare",
            json!({"cloudflareAccountId": "0a1b"}),
            "api.cloudflare.com",
            "/client/v4/accounts/0a1b/ai/v1/chat/completions",
        ),
        ("doubao", json!({"doubaoDomain": "d.test"}), "d.test", "/api/v3/chat/completions"),
        (
            "ollama",
            json!({"ollamaServerHost": "o.test", "ollamaServerPort": "11434"}),
            "o.test:11434",
            "/v1/chat/completions",
        ),
        (
            "qwen",
            json!({"qwenDomain": "q.test", "qwenEnableCompatible": true}),
            "q.test",
            "/compatible-mode/v1/chat/completions",
        ),
        (
            "vllm",
            json!({"vllmCustomUrl": "http://10.1.0.5:8000/llm", "vllmServerHost": "no.test"}),
            "10.1.0.5:8000",
            "/llm/chat/completions",
        ),
        ("vllm", json!({"vllmCustomUrl": "v.test/x/rerank"}), "v.test", "/x/rerank"),
        ("vllm", json!({"vllmServerHost": "v.test:8000"}), "v.test", "/v1/chat/completions"),
        ("zhipuai", json!({"zhipuDomain": "z.test"}), "z.test", "/api/paas/v4/chat/completions"),
        (
            "zhipuai",
            json!({"zhipuCodePlanMode": true}),
            "open.bigmodel.cn",
            "/api/coding/paas/v4/chat/completions",
        ),
    ] {
        check_chat(name, fields, host, path);
    }
}

/// The path of a request without a body; `-` where the client's stays.
#[track_caller]
fn check_path(provider: &dyn Provider, path: &str, expected: &str) {
    let sent = sent(provider, &Written::parse(&format!("GET {path}"))).unwrap();
    let found = sent.lines().find_map(|line| line.strip_prefix("path: "));
    assert_eq!(found.unwrap_or("-"), expected, "{path}");
}

#[test]
fn every_type_has_its_other_apis() {
    for (name, path, expected) in [
        ("ai360", "/x/v1/embeddings", "/v1/embeddings"),
        ("baichuan", "/x/v1/embeddings", "/v1/embeddings"),
        ("baidu", "/v1/embeddings", "/v2/embeddings"),
        ("deepseek", "/x/v1/models", "/v1/models"),
        ("doubao", "/v1/embeddings?a=1", "/api/v3/embeddings?a=1"),
        ("doubao", "/v1/images/generations", "/api/v3/images/generations"),
        ("doubao", "/v1/responses", "/api/v3/responses"),
        ("fireworks", "/x/v1/completions", "/v1/completions"),
        ("fireworks", "/x/v1/models", "/v1/models"),
        ("galadriel", "/x/v1/models", "/v1/models"),
        ("github", "/v1/embeddings", "/embeddings"),
        ("grok", "/x/v1/embeddings", "-"),
        ("groq", "/v1/responses", "/openai/v1/responses"),
        ("hunyuan", "/x/v1/embeddings", "/v1/embeddings"),
        ("longcat", "/x/v1/models", "/v1/models"),
        ("mistral", "/x/v1/embeddings", "-"),
        ("moonshot", "/x/v1/models", "/v1/models"),
        ("openrouter", "/v1/completions", "/api/v1/completions"),
        ("qwen", "/v1/files/f-1?a=1", "/compatible-mode/v1/files/f-1?a=1"),
        ("qwen", "/v1/batches/b-1", "/compatible-mode/v1/batches/b-1"),
        ("qwen", "/v1/batches/b-1/cancel", "-"),
        ("qwen", "/v1/reranks", "/compatible-api/v1/reranks"),
        ("qwen", "/v1/conversations", "/compatible-mode/v1/conversations"),
        ("vllm", "/x/v1/rerank", "/v1/rerank"),
        ("vllm", "/x/v1/messages/count_tokens", "/v1/messages/count_tokens"),
        ("zhipuai", "/v1/embeddings", "/api/paas/v4/embeddings"),
    ] {
        check_path(&*usual(name, json!({})), path, expected);
    }
    let cloudflare = usual("cloudflare", json!({"cloudflareAccountId": "0a1b"}));
    let chat = "/client/v4/accounts/0a1b/ai/v1/chat/completions";
    check_path(&*cloudflare, "/v1/models?a=1", chat);
    let vllm = usual("vllm", json!({"vllmCustomUrl": "v.test/x"}));
    check_path(&*vllm, "/v1/messages", "/x/messages");
}

#[test]
fn most_types_need_tokens() {
    const FREE: [&str; 5] = ["generic", "hunyuan", "ollama", "openai", "vllm"];
    for preset in PRESETS.iter().filter(|preset| !FREE.contains(&preset.name)) {
        for tokens in [json!(null), json!([])] {
            let config = json!({
                "apiTokens": tokens, "cloudflareAccountId": "0a1b",
                "azureServiceUrl": "https://a.test?api-version=1",
            });
            let Err(error) = provider(preset.name, config) else { panic!("{}", preset.name) };
            assert_eq!(error.message, "no apiToken found in provider config", "{}", preset.name);
        }
    }
}

#[test]
fn original_knows_the_vendors_own_paths() {
    let original = |name| usual(name, json!({"protocol": "original"}));
    for (name, path, expected) in [
        ("zhipuai", "/zhipu/api/paas/v4/chat/completions", "/api/paas/v4/chat/completions"),
        ("zhipuai", "/v1/chat/completions", "-"),
        ("github", "/x/chat/completions", "/chat/completions"),
        ("minimax", "/x/v1/text/chatcompletion_v2?a=1", "/v1/text/chatcompletion_v2?a=1"),
        ("vllm", "/x/v1/messages/count_tokens", "/v1/messages/count_tokens"),
        ("deepseek", "/x/v1/chat/completions", "/v1/chat/completions"),
        ("qwen", "/x/v1/chat/completions", "-"),
        ("qwen", "/api/v1/services/aigc/text-generation/generation", "-"),
    ] {
        check_path(&*original(name), path, expected);
    }
    let moved = |name, fields: Value| {
        let mut all = json!({"protocol": "original"});
        all.as_object_mut().unwrap().extend(object(fields));
        usual(name, all)
    };
    let vllm = moved("vllm", json!({"vllmCustomUrl": "v.test/llm"}));
    check_path(&*vllm, "/v1/chat/completions", "/llm/chat/completions");
    check_path(&*vllm, "/x/llm/chat/completions", "/llm/chat/completions");
    let code_plan = moved("zhipuai", json!({"zhipuCodePlanMode": true}));
    let coding = "/api/coding/paas/v4/chat/completions";
    check_path(&*code_plan, &format!("/x{coding}"), coding);
    check_path(&*code_plan, "/api/paas/v4/chat/completions", coding);
    let patient = usual("groq", json!({"protocol": "original", "firstByteTimeout": 1}));
    let refused_otherwise = "POST /v1/embeddings\n\n{}";
    check_with(&*patient, refused_otherwise, "host: api.groq.com\nauthorization: Bearer t");
    let body = "POST /api/paas/v4/chat/completions\n\n{\"model\":\"a\",\"reasoning_effort\":\"x\"}";
    let expected = "host: open.bigmodel.cn\nauthorization: Bearer t";
    check_with(&*original("zhipuai"), body, expected);
}

#[test]
fn fields_of_a_type_are_checked() {
    let (invalid, planned) = (ConfigErrorKind::Invalid, ConfigErrorKind::TypeNotSupported);
    let id = "x".repeat(36);
    for (name, fields, kind, path, message) in [
        ("azure", json!({}), invalid, "", "missing azureServiceUrl in provider config"),
        ("cloudflare", json!({}), invalid, "", "missing cloudflareAccountId in provider config"),
        ("cloudflare", json!({"cloudflareAccountId": "a/../b"}), invalid, "cloudflareAccountId", {
            "`cloudflareAccountId` must be letters and digits"
        }),
        ("hunyuan", json!({"hunyuanAuthId": "x"}), invalid, "", {
            "hunyuanAuthId / hunyuanAuthKey is illegal in config file"
        }),
        (
            "hunyuan",
            json!({"hunyuanAuthId": id, "hunyuanAuthKey": "y".repeat(32)}),
            planned,
            "hunyuanAuthId",
            "provider type `hunyuan` with `hunyuanAuthId: …` is not supported yet",
        ),
        ("minimax", json!({"minimaxApiType": "pro"}), planned, "minimaxApiType", {
            "provider type `minimax` with `minimaxApiType: pro` is not supported yet"
        }),
        (
            "moonshot",
            json!({"moonshotFileId": "f", "context": {
                "fileUrl": "http://a.test/f", "serviceName": "s", "servicePort": 1,
            }}),
            invalid,
            "moonshotFileId",
            "moonshotFileId and context cannot be configured at the same time",
        ),
        ("ollama", json!({"ollamaServerPort": 1}), invalid, "", {
            "missing ollamaServerHost in provider config"
        }),
        ("ollama", json!({"ollamaServerHost": "o.test"}), invalid, "", {
            "missing ollamaServerPort in provider config"
        }),
        (
            "ollama",
            json!({"ollamaServerHost": "o.test", "ollamaServerPort": 65536}),
            invalid,
            "ollamaServerPort",
            "`ollamaServerPort` must be from 1 to 65535",
        ),
        (
            "ollama",
            json!({"ollamaServerHost": "http://o.test", "ollamaServerPort": 1}),
            invalid,
            "ollamaServerHost",
            "`ollamaServerHost` has no usable host",
        ),
        ("qwen", json!({"qwenEnableCompatible": false}), planned, "qwenEnableCompatible", {
            "provider type `qwen` with `qwenEnableCompatible: false` is not supported yet"
        }),
        (
            "qwen",
            json!({"qwenFileIds": ["f"], "context": {
                "fileUrl": "http://a.test/f", "serviceName": "s", "servicePort": 1,
            }}),
            invalid,
            "qwenFileIds",
            "qwenFileIds and context cannot be configured at the same time",
        ),
        ("vllm", json!({"vllmServerHost": "a/b"}), invalid, "vllmServerHost", {
            "`vllmServerHost` has no usable host"
        }),
        ("zhipuai", json!({"zhipuDomain": "https://z.test"}), invalid, "zhipuDomain", {
            "`zhipuDomain` has no usable host"
        }),
    ] {
        let mut config = json!({"apiTokens": ["t"]});
        config.as_object_mut().unwrap().extend(object(fields));
        let Err(error) = provider(name, config) else { panic!("no error: {message}") };
        assert_eq!((error.kind, &*error.path, &*error.message), (kind, path, message));
    }
}

#[test]
fn fields_that_a_type_has_no_use_for_are_told() {
    let schema = json!({"responseJsonSchema": {"a": 1}});
    for (name, fields, path) in [
        ("minimax", json!({"minimaxApiType": "v3"}), "minimaxApiType"),
        ("minimax", json!({"minimaxGroupId": 1}), "minimaxGroupId"),
        ("moonshot", json!({"moonshotFileId": "f"}), "moonshotFileId"),
        ("ollama", json!({"ollamaServerHost": "o.test", "ollamaServerPort": 1}), "apiTokens"),
        ("qwen", json!({"qwenEnableSearch": true}), "qwenEnableSearch"),
        ("qwen", json!({"qwenFileIds": ["f"]}), "qwenFileIds"),
        ("groq", schema, "responseJsonSchema"),
        ("generic", json!({"modelMapping": {"a": "b"}, "hiclawMode": false}), "modelMapping"),
        ("generic", json!({"mergeConsecutiveMessages": true}), "mergeConsecutiveMessages"),
        ("generic", json!({"contextCleanupCommands": ["/new"]}), "contextCleanupCommands"),
        (
            "groq",
            json!({"protocol": "original", "customSettings": [{"name": "seed", "value": 1}]}),
            "customSettings",
        ),
    ] {
        let mut config = json!({"type": name, "apiTokens": ["t"]});
        config.as_object_mut().unwrap().extend(object(fields));
        let notes = build(&object(config)).unwrap().notes;
        let paths: Vec<_> = notes.iter().map(|note| (&*note.path, note.unknown)).collect();
        assert_eq!(paths, [(path, false)], "{name}");
    }
}
