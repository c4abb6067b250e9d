//! `context` of an ai-proxy provider: a file that is read before the provider
//! is asked.

use crate::support::*;

const TEXT: &str = "Answer like a sailor.\n\"Aye\" is enough.";

const CONTEXT: &str =
    "{fileUrl: \"http://f.test:8080/a%20b.txt?c=d\", serviceName: files.static, servicePort: 80}";

/// The harbor with a service that has the file.
struct Library {
    harbor: Harbor,
    files: Upstream,
}

impl Library {
    fn start(scenario: Scenario) -> Self {
        Self::with(scenario, "")
    }

    /// The same with more lines in the provider.
    fn with(scenario: Scenario, more: &str) -> Self {
        Self::served(scenario, more, |serve| serve)
    }

    fn served(scenario: Scenario, more: &str, flags: impl FnOnce(Serve) -> Serve) -> Self {
        let files = Upstream::start(scenario);
        let registry = static_registry("files", &[files.address]);
        let change = |directory: &Directory| {
            directory.edit(
                "mcpbridges/default.yaml",
                "  registries:\n",
                &format!("  registries:\n  - {registry}\n"),
            );
            directory.edit(
                "wasmplugins/ai-proxy.internal.yaml",
                "      protocol: openai\n",
                &format!("      protocol: openai\n      context: {CONTEXT}\n{more}"),
            );
        };
        Self { harbor: Harbor::served(Scenario::Completion, change, flags), files }
    }

    #[track_caller]
    fn check_unavailable(&self, cause: &str) {
        let answer = self.harbor.chat();
        check_openai_error(&answer, 500, "api_error", "context_unavailable");
        check_no_leak(&answer, &["f.test", "files", "127.0.0."]);
        let line = self.harbor.gateway.access_log.of_request(&answer);
        let logged = line["cause"].as_str().unwrap();
        let expected = format!("failed to load context file: {cause}");
        assert!(logged.starts_with(&expected), "{logged}");
        self.harbor.upstream.received_nothing();
    }
}

fn file(text: &str) -> Scenario {
    Scenario::raw(&format!("Content-Length: {}", text.len()), text)
}

#[test]
fn the_text_goes_into_chat_requests_and_is_asked_for_once() {
    let library = Library::start(file(TEXT));
    let body = r#"{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":"u"}]}"#;
    let chat = Request::post(HOST, "/v1/chat/completions", body).key(HERON_KEY);
    for _ in 0..3 {
        assert_eq!(library.harbor.gateway.send(&chat).status(), 200);
        let text = serde_json::to_string(TEXT).unwrap();
        let inserted = format!(r#""s"}},{{"role":"system","content":{text}}},{{"role":"user""#);
        let received = library.harbor.upstream.received();
        assert!(received.text().contains(&inserted), "{}", received.text());
    }
    let asked = library.files.received();
    assert_eq!(asked.line, "GET /a%20b.txt HTTP/1.1");
    assert_eq!(asked.header("host"), Some("f.test:8080"));
    assert_eq!(asked.header("authorization"), None);
    library.files.received_nothing();
    // A change of something else does not ask anew.
    let bridge = "mcpbridges/default.yaml";
    let directory = &library.harbor.directory;
    library
        .harbor
        .gateway
        .reload(|| directory.edit(bridge, "metadata:\n", "metadata:\n  labels: {a: b}\n"));
    assert_eq!(library.harbor.gateway.send(&chat).status(), 200);
    library.files.received_nothing();
}

#[test]
fn other_requests_do_without() {
    let library = Library::start(Scenario::Silence);
    let request = Request::post(HOST, "/v1/embeddings", r#"{"model":"m","input":"a"}"#);
    assert_eq!(library.harbor.gateway.send(&request.key(HERON_KEY)).status(), 200);
    library.files.received_nothing();
}

#[test]
fn without_the_file_nothing_is_sent_until_it_comes() {
    let library = Library::with(file(TEXT), "      timeout: 500\n");
    let files = &library.files;
    files.once(Scenario::Bytes(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()));
    library.check_unavailable("its service answers 404");
    files.once(Scenario::raw("Content-Encoding: gzip\r\nContent-Length: 1", "a"));
    library.check_unavailable("its service sends it encoded");
    files.once(Scenario::close());
    library.check_unavailable("upstream_closed");
    files.once(Scenario::Silence);
    let answer = library.harbor.chat();
    check_openai_error(&answer, 500, "api_error", "context_unavailable");
    assert_eq!(library.harbor.chat().status(), 200);
    assert!(library.harbor.upstream.received().text().contains("sailor"));
}

#[test]
fn a_file_has_a_largest_size() {
    let file = file(&"a".repeat(3000));
    let library = Library::served(file, "", |serve| serve.with("--body-limit", 2000));
    library.check_unavailable("it is larger than --body-limit");
}

#[test]
fn a_service_that_nobody_has_is_told() {
    let library = Library::start(file(TEXT));
    let directory = &library.harbor.directory;
    let plugin = "wasmplugins/ai-proxy.internal.yaml";
    library.harbor.gateway.reload(|| directory.edit(plugin, "files.static", "fils.static"));
    library.check_unavailable("no service `fils.static:80`");
    let findings = library.harbor.gateway.findings();
    assert!(findings.iter().any(|finding| finding["code"] == "PS709"), "{findings:?}");
}
