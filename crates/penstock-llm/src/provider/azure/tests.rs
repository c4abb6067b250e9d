use serde_json::json;

use crate::provider::tests::{Written, object, sent, wants_body};
use crate::provider::{Provider, build};

fn provider(url: &str, mut config: serde_json::Value) -> std::sync::Arc<dyn Provider> {
    config["type"] = json!("azure");
    config["azureServiceUrl"] = json!(url);
    config["apiTokens"] = json!(["t"]);
    build(&object(config)).unwrap_or_else(|error| panic!("{error:?}")).provider
}

/// `expected` is what changes; see [`sent`].
#[track_caller]
fn check(url: &str, config: serde_json::Value, request: &str, expected: &str) {
    let sent = sent(&*provider(url, config), &Written::parse(request));
    assert_eq!(sent.unwrap_or_else(|error| error.to_string()).trim_end(), expected);
}

/// The path of a chat request for model `m`, or without a body where the
/// method says so.
#[track_caller]
fn check_path(url: &str, request: &str, expected: &str) {
    let body = if request.starts_with("POST") { "\n\n{\"model\":\"m\"}" } else { "" };
    let request = Written::parse(&format!("{request}{body}"));
    let sent = sent(&*provider(url, json!({})), &request);
    let sent = sent.unwrap_or_else(|error| format!("path: {error}"));
    let path = sent.lines().find_map(|line| line.strip_prefix("path: "));
    assert_eq!(path.unwrap_or("-"), expected);
}

const HOST_ONLY: &str = "https://r.openai.azure.com?api-version=V";
const DEPLOYMENT: &str = "https://r.openai.azure.com/openai/deployments/d1?api-version=V";
const FULL: &str =
    "https://r.openai.azure.com/openai/deployments/d1/chat/completions?api-version=V&x=y";

#[test]
fn a_request_goes_to_the_deployment_of_its_model() {
    check(
        HOST_ONLY,
        json!({"modelMapping": {"a": "gpt-4o"}}),
        "POST /team/v1/chat/completions?q=1\nauthorization: Bearer client\napi-key: client\n\n\
         {\"model\":\"a\",\"messages\":[{\"role\":\"developer\"}]}",
        "host: r.openai.azure.com\n\
         path: /openai/deployments/gpt-4o/chat/completions?q=1&api-version=V\n\
         authorization: -\napi-key: t\nmodel = gpt-4o\n\n\
         {\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"developer\"}]}",
    );
    check(
        &HOST_ONLY.replace("https://r.openai.azure.com", "http://10.0.0.5:8443/"),
        json!({}),
        "POST /v1/embeddings\n\n{\"model\":\"a/../b\"}",
        "host: 10.0.0.5:8443\npath: /openai/deployments/a%2F..%2Fb/embeddings?api-version=V\n\
         api-key: t\nmodel = a/../b",
    );
}

#[test]
fn a_deployment_may_be_named_in_the_url() {
    for url in [DEPLOYMENT, &DEPLOYMENT.replace("d1", "d1/")] {
        let path = "/openai/deployments/d1/chat/completions?api-version=V";
        check_path(url, "POST /v1/chat/completions", path);
        check_path(url, "GET /v1/realtime?a=1", {
            "/openai/deployments/d1/realtime?a=1&api-version=V"
        });
    }
}

#[test]
fn what_is_of_the_account_names_no_deployment() {
    for url in [HOST_ONLY, DEPLOYMENT] {
        for (request, expected) in [
            ("GET /v1/models", "/openai/models?api-version=V"),
            ("GET /v1/files/f1?x=1", "/openai/files/f1?x=1&api-version=V"),
            ("GET /v1/files/f1/content", "/openai/files/f1/content?api-version=V"),
            ("GET /v1/batches/b1/cancel", "/openai/batches/b1/cancel?api-version=V"),
            ("POST /v1/responses", "/openai/responses?api-version=V"),
        ] {
            check_path(url, request, expected);
        }
    }
}

#[test]
fn a_whole_url_takes_every_request() {
    let path = "/openai/deployments/d1/chat/completions?api-version=V&x=y";
    check_path(FULL, "POST /v1/chat/completions?a=1", path);
    check_path(FULL, "GET /v1/models?a=1", path);
    let other = "https://r.openai.azure.com/custom?api-version=V";
    check_path(other, "POST /v1/embeddings", "/custom?api-version=V");
    let v1 = "https://r.openai.azure.com/openai/v1/chat/completions";
    check_path(v1, "GET /v1/models?a=1", "/openai/v1/chat/completions");
}

#[test]
fn the_first_version_of_the_api_names_neither_version_nor_deployment() {
    for url in ["https://r.openai.azure.com/openai/v1", "r.openai.azure.com/openai/v1/"] {
        check_path(url, "POST /x/v1/chat/completions?a=1", "/openai/v1/chat/completions?a=1");
        check_path(url, "GET /v1/files/f1", "/openai/v1/files/f1");
        check_path(url, "GET /anything", "-");
    }
    let preview = "https://r.openai.azure.com/openai/v1?api-version=preview";
    check_path(preview, "GET /v1/models", "/openai/v1/models?api-version=preview");
}

#[test]
fn a_path_that_is_no_api_is_kept() {
    check_path(HOST_ONLY, "POST /v1/rerank", "/v1/rerank?api-version=V");
    let own = "/openai/deployments/x/chat/completions";
    check_path(HOST_ONLY, &format!("POST {own}"), &format!("{own}?api-version=V"));
    check_path(HOST_ONLY, &format!("POST {own}?api-version=W"), "-");
}

#[test]
fn a_model_that_the_path_needs_must_be_there() {
    let unsupported = "this provider does not support this API";
    check_path(HOST_ONLY, "GET /v1/realtime", unsupported);
    check_path(HOST_ONLY, "GET /v1/fine_tuning/jobs", unsupported);
    let chat = "POST /v1/chat/completions\n\n";
    check(HOST_ONLY, json!({}), &format!("{chat}{{}}"), "`model` is missing");
    let dots = "`model` is no name of a model";
    check(HOST_ONLY, json!({}), &format!("{chat}{{\"model\":\"..\"}}"), dots);
    let given = json!({"modelMapping": {"*": "m"}});
    let expected = "host: r.openai.azure.com\n\
                    path: /openai/deployments/m/chat/completions?api-version=V\napi-key: t\n\
                    model = m\n\n{\"model\":\"m\"}";
    check(HOST_ONLY, given, &format!("{chat}{{}}"), expected);
}

#[test]
fn forms_name_the_deployment_too() {
    let form = |path: &str| {
        format!(
            "POST {path}\ncontent-type: multipart/form-data; boundary=X\n\n--X\r\n\
             Content-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n--X--"
        )
    };
    for path in ["/audio/transcriptions", "/audio/translations", "/images/edits"] {
        let request = form(&format!("/v1{path}"));
        check(
            HOST_ONLY,
            json!({}),
            &request,
            &format!(
                "host: r.openai.azure.com\n\
                 path: /openai/deployments/whisper{path}?api-version=V\napi-key: t\n\
                 model = whisper"
            ),
        );
    }
    // With the deployment known, sound passes unread.
    let sound = Written::parse(&form("/v1/audio/transcriptions"));
    assert!(wants_body(&*provider(HOST_ONLY, json!({})), &sound));
    assert!(!wants_body(&*provider(DEPLOYMENT, json!({})), &sound));
}

#[test]
fn other_fields_apply_to_the_final_path() {
    let config = json!({
        "basePath": "/team", "basePathHandling": "prepend", "providerBasePath": "/p",
        "providerDomain": "proxy.test",
    });
    check(
        HOST_ONLY,
        config,
        "POST /v1/chat/completions\n\n{\"model\":\"m\"}",
        "host: proxy.test\n\
         path: /p/team/openai/deployments/m/chat/completions?api-version=V\napi-key: t\n\
         model = m",
    );
    let original = json!({"protocol": "original"});
    let request = "POST /v1/chat/completions?api-version=W\n\n{\"model\":\"m\"}";
    check(HOST_ONLY, original, request, "host: r.openai.azure.com\napi-key: t");
}

#[test]
fn a_url_must_say_host_and_version() {
    for (url, path, message) in [
        ("", "", "missing azureServiceUrl in provider config"),
        ("https://r.test", "azureServiceUrl", {
            "missing api-version query parameter in azureServiceUrl"
        }),
        ("https://r.test?api-version=", "azureServiceUrl", {
            "missing api-version query parameter in azureServiceUrl"
        }),
        ("https://r.test/openai/v1x?a=b", "azureServiceUrl", {
            "missing api-version query parameter in azureServiceUrl"
        }),
        ("https://?api-version=1", "azureServiceUrl", "`azureServiceUrl` has no usable host"),
        ("https://user:secret@r.test?api-version=1", "azureServiceUrl", {
            "`azureServiceUrl` has no usable host"
        }),
        ("https://r.test/a b?api-version=1", "azureServiceUrl", {
            "`azureServiceUrl` must be a path such as `/v1/chat/completions`"
        }),
        ("https://r.test?api-version=1 2", "azureServiceUrl", {
            "`azureServiceUrl` must be a path such as `/v1/chat/completions`"
        }),
    ] {
        let config = json!({"type": "azure", "azureServiceUrl": url, "apiTokens": ["t"]});
        let Err(error) = build(&object(config)) else { panic!("no error for {url}") };
        assert_eq!((&*error.path, &*error.message), (path, message));
    }
}
