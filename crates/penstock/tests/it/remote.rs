//! Changes from afar: the verbs against the admin listener of a gateway, and
//! the API that they use.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

use rustls::{ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::support::certificates::Authority;
use crate::support::schema::check_schema;
use crate::support::*;

const ADMIN_TOKEN: &str = "admin-token-1618";
/// What the intent's provider is paid with.
const SECRET: &str = "sk-reed-3141592";
/// The same, as a Secret holds it.
const ENCODED: &str = "c2stcmVlZC0zMTQxNTky";

/// An intent whose secret is in the environment of whoever applies it.
const INTENT: &str = "\
providers:
- {name: reed, type: openai, tokens: [\"${env:REED_TOKEN}\"], rawConfigs: {openaiCustomUrl: \"http://127.0.0.1:9/v1\"}}
aiRoutes:
- {name: pond, domains: [], pathPredicate: {matchType: PRE, matchValue: /v1}, upstreams: [{provider: reed, weight: 100}]}
";

/// A gateway with an empty directory, and what is needed to change it.
struct Afar {
    directory: Directory,
    gateway: Gateway,
    desk: Directory,
}

impl Afar {
    fn start() -> Self {
        Self::serving(Directory::new(), true)
    }

    fn without_token() -> Self {
        Self::serving(Directory::new(), false)
    }

    fn serving(directory: Directory, has_token: bool) -> Self {
        let desk = Directory::new().holding([("token", ADMIN_TOKEN), ("intent.yaml", INTENT)]);
        let serve = Serve::new(directory.path());
        let serve = match has_token {
            true => serve.with("--admin-token-file", desk.file("token").display()),
            false => serve,
        };
        Self { gateway: serve.start(), directory, desk }
    }

    fn url(&self) -> String {
        format!("http://{}", self.gateway.admin)
    }

    fn path(&self, name: &str) -> String {
        self.desk.file(name).to_str().unwrap().to_owned()
    }

    /// A verb with `--to` and the token.
    fn run(&self, arguments: &[&str]) -> Output {
        let (url, token) = (self.url(), self.path("token"));
        run(&[arguments, &["--to", &url, "--token-file", &token]].concat())
    }

    #[track_caller]
    fn succeed(&self, arguments: &[&str]) -> String {
        succeeded(self.run(arguments))
    }

    fn ask(&self, method: &str, path: &str) -> Request {
        Request::new(method, &self.gateway.admin.to_string(), path).key(ADMIN_TOKEN)
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path).send(self.gateway.admin)
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        let asked = self.ask("POST", path).header("Content-Type", "application/json");
        asked.body(body.to_string()).send(self.gateway.admin)
    }

    fn apply(&self, text: &str) -> Answer {
        self.post("/api/v1/apply", &intent(text))
    }

    fn audit(&self) -> Vec<Value> {
        let lines = self.directory.read(".penstock/audit.log");
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// How many routes are in force.
    fn routes(&self) -> Value {
        self.get("/status").json()["configuration"]["routes"].clone()
    }

    fn revisions(&self) -> usize {
        self.get("/api/v1/history").json()["revisions"].as_array().unwrap().len()
    }
}

fn intent(text: &str) -> Value {
    json!({"change": {"intent": {
        "files": [{"name": "intent.yaml", "text": text}],
        "secrets": {"env:REED_TOKEN": SECRET},
    }}})
}

fn domain(name: &str) -> String {
    format!("domains:\n- {{name: {name}, enableHttps: \"off\"}}\n")
}

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
    command.args(arguments).env("REED_TOKEN", SECRET).output().unwrap()
}

fn text(output: &Output) -> String {
    [&*output.stdout, &*output.stderr].concat().iter().map(|byte| char::from(*byte)).collect()
}

#[track_caller]
fn succeeded(output: Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    text(&output)
}

#[track_caller]
fn failed(output: &Output, parts: &[&str]) {
    let text = text(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(parts.iter().all(|part| text.contains(part)), "{text} lacks one of {parts:?}");
    check_hidden(&text);
}

/// What is told holds neither what is paid with nor the token.
#[track_caller]
fn check_hidden(text: &str) {
    for secret in [SECRET, ENCODED, ADMIN_TOKEN] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}

#[track_caller]
fn refused(answer: &Answer, status: u16, kind: &str, part: &str) {
    assert_eq!(answer.status(), status, "{}", answer.text());
    let error = &answer.json()["error"];
    assert_eq!(error["kind"], kind, "{error}");
    assert!(error["message"].as_str().unwrap().contains(part), "{error}");
}

// === The verbs ===

#[test]
fn every_verb_works_from_afar() {
    let afar = Afar::start();
    let intent = afar.path("intent.yaml");
    let mut told = afar.succeed(&["plan", "-f", &intent]);
    assert!(told.contains("+ Ingress ai-route-pond.internal"), "{told}");
    assert_eq!(afar.run(&["plan", "-f", &intent, "--detailed-exitcode"]).status.code(), Some(2));
    let applied = afar.succeed(&["apply", "-f", &intent, "-m", "the pond", "--wait"]);
    assert!(applied.contains("Ingress ai-route-pond.internal created"), "{applied}");
    assert!(applied.contains(&format!("in force at {}", afar.url())), "{applied}");
    assert_eq!(afar.routes(), 1);
    assert!(afar.directory.read("secrets/penstock-provider-reed.yaml").contains("kind: Secret"));
    told += &applied;
    assert_eq!(afar.run(&["plan", "-f", &intent, "--detailed-exitcode"]).status.code(), Some(0));
    let unchanged = afar.succeed(&["apply", "-f", &intent, "-o", "json"]);
    assert!(unchanged.contains("nothing to change"), "{unchanged}");
    for (arguments, part) in [
        (&["history"][..], "the pond"),
        (&["show", "1"], "+ Secret penstock-provider-reed"),
        (&["show", "1", "-o", "json"], "\"changes\""),
        (&["diff", "0"], "+ Ingress ai-route-pond.internal"),
        (&["diff", "0", "1", "-o", "json"], "\"hasChanges\": true"),
        (&["status"], "in force"),
        (&["rollback", "--dry-run"], "- Ingress ai-route-pond.internal"),
        (&["rollback", "--wait"], "revision 2"),
        (&["history"], "rollback"),
    ] {
        let shown = afar.succeed(arguments);
        assert!(shown.contains(part), "{arguments:?}: {shown} lacks {part}");
        told += &shown;
    }
    assert_eq!(afar.routes(), 0);
    let audit = afar.directory.read(".penstock/audit.log");
    let logs = [afar.gateway.log.all(), afar.gateway.access_log.all()].concat().join("\n");
    for text in [&told, &audit, &logs] {
        check_hidden(text);
    }
}

#[test]
fn a_plan_that_was_saved_from_afar_is_applied_from_afar_once() {
    let afar = Afar::start();
    let (intent, plan) = (afar.path("intent.yaml"), afar.path("plan.json"));
    let shown = afar.succeed(&["plan", "-f", &intent, "--out", &plan]);
    check_hidden(&shown);
    assert!(afar.desk.read("plan.json").contains(ENCODED));
    afar.succeed(&["apply", "-f", &plan]);
    failed(&afar.run(&["apply", "-f", &plan]), &["conflict", "plan again"]);
    let audit = afar.audit();
    let outcomes: Vec<&Value> = audit.iter().map(|line| &line["outcome"]).collect();
    assert_eq!(outcomes, ["saved", "applied", "conflict"]);
}

#[test]
fn several_gateways_follow_one_another_until_one_fails() {
    let (first, second) = (Afar::start(), Afar::start());
    let (intent, token) = (first.path("intent.yaml"), first.path("token"));
    let both = |intent: &str, a: &Afar, b: &Afar| {
        run(&["apply", "-f", intent, "--to", &a.url(), "--to", &b.url(), "--token-file", &token])
    };
    let told = succeeded(both(&intent, &first, &second));
    assert_eq!(told.matches("in force at").count(), 2, "{told}");
    // What the second would take is in the way on the first.
    first.directory.write(
        "configmaps/domain-reed.test.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: domain-reed.test, namespace: higress-system}\ndata: {domain: reed.test}\n",
    );
    first.desk.write("domain.yaml", domain("reed.test"));
    let output = both(&first.path("domain.yaml"), &first, &second);
    failed(&output, &[&first.url(), "1 more were not touched"]);
    assert_eq!((first.revisions(), second.revisions()), (1, 1));
}

#[test]
fn a_change_is_verified_before_and_after_it_is_made() {
    let afar = Afar::start();
    let intent = afar.path("intent.yaml");
    let apply = |route: &str| {
        let request = r#"{url: "http://a.test/v1/models"}"#;
        let table = format!("tests: [{{request: {request}, expect: {{route: {route}}}}}]");
        afar.desk.write("test.yaml", table);
        afar.run(&["apply", "-f", &intent, "--verify", &afar.path("test.yaml"), "--wait"])
    };
    failed(&apply("another"), &["the verification failed", "FAILED"]);
    assert_eq!(afar.revisions(), 0);
    assert!(succeeded(apply("ai-route-pond.internal")).contains("in force at"));
    assert_eq!(afar.revisions(), 1);
}

#[test]
fn a_token_that_leaves_the_machine_in_clear_text_is_one_warning() {
    let afar = Afar::start();
    let warned = |url: &str| {
        let arguments = ["--token-file", &afar.path("token"), "--to", url, "--to", url];
        let intent = afar.path("intent.yaml");
        let told = succeeded(run(&[&["apply", "-f", &intent][..], &arguments].concat()));
        check_hidden(&told);
        told.matches("warning: the token goes to").count()
    };
    assert_eq!(warned(&afar.url()), 0);
    // Linux takes this for itself; it is no loopback address.
    assert_eq!(warned(&format!("http://0.0.0.0:{}", afar.gateway.admin.port())), 1);
}

#[test]
fn a_gateway_that_is_gone_after_the_change_is_told_clearly() {
    let afar = Afar::start();
    let intent = afar.path("intent.yaml");
    let gone = format!("http://{}", dead_address(8001));
    let output = afar.run(&["apply", "-f", &intent, "--gateway", &gone, "--timeout", "0"]);
    failed(&output, &["revision 1 stays applied", "did not answer", "nobody listens there"]);
    assert_eq!(afar.revisions(), 1);
}

#[test]
fn what_is_no_gateway_is_told_in_one_sentence() {
    let afar = Afar::start();
    let token = afar.path("token");
    let history = |url: &str| run(&["history", "--to", url, "--token-file", &token]);
    let page = |body: &'static str, head: &'static str| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            let length = body.len();
            write!(stream, "HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        });
        format!("http://{address}")
    };
    let check = |url: &str, part: &str| failed(&history(url), &[part]);
    check(&format!("http://{}", dead_address(80)), "nobody listens there");
    check(&format!("https://{}", afar.gateway.admin), "TLS with");
    check(&format!("http://{}", afar.gateway.http), "is not the admin listener of a penstock");
    check(&page("<html>", "200 OK"), "is not the admin listener of a penstock");
    check(&page("{\"a\": 1}", "200 OK"), "is not the admin listener of a penstock");
    check(&page("", "302 Found\r\nLocation: http://127.0.0.1:9/"), "302 Found");
    check(&page("{}", "200 OK\r\nServer: penstock/9.9.9"), "it is penstock 9.9.9");
    check("http://user:pass@127.0.0.1", "--token-file");
    check("http://127.0.0.1:99999", "has no usable port");
    let serve = run(&["serve", "--config", &afar.url()]);
    failed(&serve, &["is a gateway; name a directory"]);
}

#[test]
fn a_gateway_behind_tls_is_checked_against_the_named_authority() {
    let afar = Afar::start();
    let authority = Authority::new();
    let ca = authority.write_to(afar.desk.path());
    let config = authority.server(&["localhost"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, admin) = (listener.local_addr().unwrap().port(), afar.gateway.admin);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(config.clone()).unwrap();
            // A client that does not trust the certificate leaves.
            let _ = pass_on(StreamOwned::new(connection, stream.unwrap()), admin);
        }
    });
    let url = format!("https://localhost:{port}");
    let token = afar.path("token");
    let status = |more: &[&str]| {
        run(&[&["status", "--to", &url, "--token-file", &token][..], more].concat())
    };
    failed(&status(&[]), &["TLS with", "--ca-file"]);
    let told = succeeded(status(&["--ca-file", ca.to_str().unwrap()]));
    assert!(told.contains("in force"), "{told}");
    failed(&status(&["--ca-file", &token]), &["holds no certificate"]);
}

/// Passes one request without a body on, and its answer back.
fn pass_on(
    mut client: StreamOwned<ServerConnection, TcpStream>,
    to: SocketAddr,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.extend(byte);
    }
    head.truncate(head.len() - 2);
    head.extend(b"Connection: close\r\n\r\n");
    let mut server = TcpStream::connect(to)?;
    server.write_all(&head)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    client.write_all(&answer)?;
    client.conn.send_close_notify();
    client.flush()
}

#[test]
fn explain_and_test_ask_what_is_in_force() {
    let afar = Afar::start();
    assert_eq!(afar.apply(INTENT).status(), 200);
    let (url, token) = (afar.url(), afar.path("token"));
    let before = afar.gateway.metrics();
    let asked = ["--config", &url, "--token-file", &token];
    let explain = |config: &[&str], output: &str| {
        let url = "http://any.test/v1/chat/completions";
        let request = ["explain", "--url", url, "-d", CHAT, "-H", "a: 1", "-H", "a: 2"];
        let output = run(&[&request[..], &["-o", output], config].concat());
        assert!(output.status.success(), "{}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let told = explain(&asked, "text");
    assert!(told.contains("ai-route-pond.internal"), "{told}");
    assert!(told.contains("sha256:") && !told.contains(SECRET), "{told}");
    let of_files = ["--config", afar.directory.path().to_str().unwrap()];
    let json = |config: &[&str]| {
        let mut json: Value = serde_json::from_str(&explain(config, "json")).unwrap();
        // Each request has an id of its own.
        json["passes"][0]["outcome"]["upstream"]["headers"] = Value::Null;
        json
    };
    assert_eq!(json(&asked), json(&of_files));
    let test = |route: &str| {
        afar.desk.write(
            "test.yaml",
            format!(
                "tests: [{{request: {{url: \"http://a.test/v1/models\"}}, expect: {{route: {route}}}}}]"
            ),
        );
        run(&[&["test", &afar.path("test.yaml")][..], &asked].concat())
    };
    succeeded(test("ai-route-pond.internal"));
    assert_eq!(test("another").status.code(), Some(1));
    let requests = |metrics: &str| -> Vec<String> {
        let lines = metrics.lines().filter(|line| !line.contains("penstock_config"));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(requests(&afar.gateway.metrics()), requests(&before));
    assert_eq!(afar.gateway.access_log.all(), Vec::<String>::new());
    let unusable = afar.post("/api/v1/test", &json!({"name": "t", "text": "tests: 1"}));
    refused(&unusable, 400, "invalid", "`t` cannot be used");
    let wrong = afar.post("/api/v1/explain", &json!({"url": "/v1"}));
    refused(&wrong, 400, "invalid", "has no host");
}

// === Who may ===

#[test]
fn without_the_token_nothing_is_said_and_nothing_is_done() {
    let afar = Afar::start();
    afar.desk.write("wrong", "wrong-token-2718");
    let (intent, url) = (afar.path("intent.yaml"), afar.url());
    let apply = ["apply", "-f", &intent, "--to", &url];
    failed(&run(&apply), &["wants a token", "--token-file"]);
    let wrong = run(&[&apply[..], &["--token-file", &afar.path("wrong")]].concat());
    failed(&wrong, &["does not accept the token"]);
    assert!(!text(&wrong).contains("wrong-token"));
    for path in ["resources", "history", "status", "openapi.json"] {
        let answer = Request::get(&afar.gateway.admin.to_string(), &format!("/api/v1/{path}"));
        let answer = answer.send(afar.gateway.admin);
        refused(&answer, 401, "unauthorized", "a token is needed");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    assert_eq!(afar.revisions(), 0);
    let audit = afar.audit();
    assert_eq!(audit.len(), 6, "{audit:?}");
    for line in &audit {
        assert_eq!((&line["outcome"], &line["token"]), (&json!("unauthorized"), &json!(false)));
        assert!(line["remote"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
        assert_eq!(line["author"], Value::Null);
    }
    assert_eq!(audit[0]["verb"], "apply");
    let large = format!("# {}\n{INTENT}", "x".repeat(8 << 20));
    afar.desk.write("large.yaml", large);
    let apply = ["apply", "-f", &afar.path("large.yaml"), "--to", &url];
    failed(&run(&apply), &["wants a token"]);
}

#[test]
fn a_gateway_without_a_token_is_read_and_not_changed() {
    let afar = Afar::without_token();
    let (intent, plan) = (afar.path("intent.yaml"), afar.path("plan.json"));
    afar.succeed(&["plan", "-f", &intent]);
    afar.succeed(&["status"]);
    for arguments in
        [&["apply", "-f", &intent][..], &["rollback"], &["plan", "-f", &intent, "--out", &plan]]
    {
        failed(&afar.run(arguments), &["takes no changes from afar", "--admin-token-file"]);
    }
    assert!(!Path::new(&plan).exists());
    let audit = afar.audit();
    assert_eq!(audit.len(), 2);
    assert!(audit.iter().all(|line| line["outcome"] == "forbidden"), "{audit:?}");
    // A page whose name leads here must not read the gateway.
    for (host, status) in [("localhost", 200), ("[::1]:1", 200), ("evil.test", 403), ("", 403)] {
        let answer = Request::get(host, "/api/v1/status").send(afar.gateway.admin);
        assert_eq!(answer.status(), status, "{host}: {}", answer.text());
    }
}

#[test]
fn pages_of_other_sites_cannot_ask() {
    let afar = Afar::start();
    let post = |name: &str, value: &str| {
        let asked = afar.ask("POST", "/api/v1/apply").header(name, value);
        asked.body(intent(INTENT).to_string()).send(afar.gateway.admin)
    };
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""] {
        refused(&post("Content-Type", kind), 415, "invalid", "application/json");
    }
    for origin in ["http://evil.test", "null"] {
        let answer = post("Origin", origin);
        refused(&answer, 403, "forbidden", "other sites");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    let own = format!("http://{}", afar.gateway.admin);
    let asked = afar.ask("GET", "/api/v1/status").header("Origin", &own);
    assert_eq!(asked.send(afar.gateway.admin).status(), 200);
    assert_eq!(afar.revisions(), 0);
}

// === What is asked ===

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let afar = Afar::start();
    let check = |path: &str, body: Value, part: &str| {
        refused(&afar.post(path, &body), 400, "invalid", part);
    };
    let rollback = json!({"change": {"rollback": {}}});
    let with = |name: &str, value: Value| {
        let mut body = rollback.clone();
        body[name] = value;
        body
    };
    check("/api/v1/apply", with("prun", true.into()), "unknown field `prun`");
    check("/api/v1/apply", json!({"change": {"rollbak": {}}}), "unknown variant `rollbak`");
    check("/api/v1/plan", json!({"change": {"rollback": {"till": 1}}}), "unknown field `till`");
    check("/api/v1/apply", with("author", "a\nb".into()), "`author`");
    check("/api/v1/apply", with("message", "m".repeat(5000).into()), "`message`");
    check("/api/v1/apply", with("message", "\u{1b}[2J".into()), "`message`");
    check("/api/v1/apply?prune", rollback.clone(), "unknown parameter `prune`");
    check("/api/v1/rollback", json!({"too": 1}), "unknown field `too`");
    check("/api/v1/explain", json!({"url": "http://a/", "header": {}}), "unknown field `header`");
    for body in [json!([]), json!(null), json!("x"), json!(1)] {
        check("/api/v1/apply", body.clone(), "the body must be a JSON object");
        check("/api/v1/explain", body, "the body must be a JSON object");
    }
    check("/api/v1/plan", with("verify", 5.into()), "expected an object");
    let secret = json!({"change": {"intent": {"files": [SECRET]}}});
    let answer = afar.post("/api/v1/apply", &secret);
    assert!(answer.status() == 400 && !answer.text().contains(SECRET), "{}", answer.text());
    refused(&afar.get("/api/v1/diff?from=x"), 400, "invalid", "`from` is no number");
    refused(&afar.get("/api/v1/history/x"), 400, "invalid", "number");
    refused(&afar.get("/api/v1/history/7"), 404, "notFound", "no revision 7");
    refused(&afar.get("/api/v1/resource"), 404, "notFound", "did you mean `/api/v1/resources`?");
    refused(&afar.post("/api/v1/rollback", &json!({})), 404, "notFound", "no revision");
    let answer = afar.get("/api/v1/apply");
    refused(&answer, 405, "invalid", "POST");
    assert_eq!(answer.header("allow"), Some("POST"));
    let head = afar.ask("HEAD", "/api/v1/status");
    let mut connection = Connection::open(afar.gateway.admin);
    connection.send(&head);
    assert_eq!(connection.head().status, 200);
}

#[test]
fn a_body_that_is_too_large_is_not_read() {
    let afar = Afar::start();
    let asked = afar.ask("POST", "/api/v1/apply").header("Content-Type", "application/json");
    let asked = asked.header("Content-Length", &((64 << 20) + 1).to_string());
    refused(&asked.send(afar.gateway.admin), 413, "invalid", "larger than 64 MiB");
}

#[test]
fn bodies_that_take_too_much_together_are_sent_away() {
    let afar = Afar::start();
    let large = afar
        .ask("POST", "/api/v1/plan")
        .header("Content-Type", "application/json")
        .header("Content-Length", &(64 << 20).to_string())
        .header("Expect", "100-continue");
    let waiting: Vec<Connection> = (0..4)
        .map(|_| {
            let mut connection = Connection::open(afar.gateway.admin);
            connection.send(&large);
            // Who is told to go on has its room.
            assert_eq!(connection.head().status, 100);
            connection
        })
        .collect();
    let small = || afar.post("/api/v1/plan", &intent("domains: []"));
    let answer = small();
    refused(&answer, 503, "unavailable", "try again");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(afar.get("/status").status(), 200);
    drop(waiting);
    eventually("room", || Some(small()).filter(|answer| answer.status() == 200));
}

#[test]
fn a_pipeline_sends_an_intent_with_curl() {
    let afar = Afar::start();
    afar.desk.write("domain.yaml", domain("reed.test"));
    let curl = |file: &str, query: &str| {
        let url = format!("{}/api/v1/{query}", afar.url());
        let (bearer, data) =
            (format!("Authorization: Bearer {ADMIN_TOKEN}"), format!("@{}", afar.path(file)));
        let output = Command::new("curl")
            .args(["-sS", "-H", &bearer, "-H", "Content-Type: application/yaml"])
            .args(["--data-binary", &data, &url])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    assert_eq!(curl("domain.yaml", "plan")["hasChanges"], true);
    assert_eq!(curl("domain.yaml", "apply?dryRun")["hasChanges"], true);
    assert_eq!(afar.revisions(), 0);
    let applied = curl("domain.yaml", "apply?prune=true&message=from+the%20pipeline");
    assert_eq!(applied["revision"]["message"], "from the pipeline");
    assert_eq!(applied["revision"]["author"], "api@127.0.0.1");
    assert_eq!(applied["inForce"]["revision"], applied["content"]);
    let error = |answer: &Value| answer["error"]["message"].as_str().unwrap().to_owned();
    assert!(error(&curl("intent.yaml", "apply")).contains("`${env:REED_TOKEN}`"));
    assert!(error(&curl("domain.yaml", "apply?prun")).contains("unknown parameter `prun`"));
    assert_eq!(afar.revisions(), 1);
}

// === What is done ===

#[test]
fn changes_come_one_after_another() {
    let afar = Afar::start();
    let afar = &afar;
    let names = ["a", "b", "c", "d", "e", "f"].map(|name| format!("{name}.test"));
    thread::scope(|scope| {
        for name in &names {
            scope.spawn(move || {
                let answer = afar.apply(&domain(name));
                assert_eq!(answer.status(), 200, "{}", answer.text());
                let answer = answer.json();
                assert_eq!(answer["inForce"]["revision"].as_str().map(str::len), Some(64));
            });
        }
    });
    let history = afar.get("/api/v1/history").json();
    let revisions = history["revisions"].as_array().unwrap();
    let ids: Vec<u64> = revisions.iter().map(|one| one["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5, 6]);
    for pair in revisions.windows(2) {
        assert_eq!(pair[0]["revision"], pair[1]["base"]);
    }
    for name in &names {
        assert!(afar.directory.read(&format!("configmaps/domain-{name}.yaml")).contains(name));
    }
}

#[test]
fn the_listener_answers_while_a_change_waits() {
    let afar = Afar::start();
    afar.directory.write(".penstock/lock", "");
    let lock = File::options().write(true).open(afar.directory.file(".penstock/lock")).unwrap();
    lock.lock().unwrap();
    let afar = &afar;
    thread::scope(|scope| {
        let changes: Vec<_> =
            ["a.test", "b.test"].map(|name| scope.spawn(move || afar.apply(&domain(name)))).into();
        for _ in 0..20 {
            assert_eq!(afar.gateway.ask_admin("/healthz").status(), 200);
            assert_eq!(afar.get("/api/v1/status").status(), 200);
        }
        assert!(changes.iter().all(|change| !change.is_finished()));
        drop(lock);
        for change in changes {
            assert_eq!(change.join().unwrap().status(), 200);
        }
    });
    assert_eq!(afar.revisions(), 2);
}

#[test]
fn too_many_changes_at_once_are_sent_away() {
    let afar = Afar::start();
    afar.directory.write(".penstock/lock", "");
    let lock = File::options().write(true).open(afar.directory.file(".penstock/lock")).unwrap();
    lock.lock().unwrap();
    let afar = &afar;
    thread::scope(|scope| {
        let mut changes: Vec<_> =
            (0..20).map(|_| scope.spawn(move || afar.apply("domains: []"))).collect();
        for _ in 0..4 {
            let busy =
                eventually("a refusal", || changes.iter().position(|change| change.is_finished()));
            let answer = changes.swap_remove(busy).join().unwrap();
            refused(&answer, 503, "unavailable", "try again");
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
        drop(lock);
        for change in changes {
            assert_eq!(change.join().unwrap().status(), 200);
        }
    });
}

#[test]
fn a_change_that_is_under_way_is_finished_before_the_end() {
    let mut afar = Afar::start();
    afar.directory.write(".penstock/lock", "");
    let lock = File::options().write(true).open(afar.directory.file(".penstock/lock")).unwrap();
    lock.lock().unwrap();
    let mut connection = Connection::open(afar.gateway.admin);
    let asked = afar.ask("POST", "/api/v1/apply").header("Content-Type", "application/json");
    connection.send(&asked.body(intent(INTENT).to_string()));
    // The audit log is opened before the change waits.
    let log = afar.directory.file(".penstock/audit.log");
    eventually("the change", || log.exists().then_some(()));
    afar.gateway.signal("TERM");
    eventually("draining", || (afar.gateway.ready() == 503).then_some(()));
    assert!(afar.gateway.is_running());
    drop(lock);
    assert_eq!(afar.gateway.wait().code(), Some(0));
    assert!(afar.directory.file("ingresses/ai-route-pond.internal.yaml").exists());
    assert_eq!(afar.audit()[0]["outcome"], "applied");
}

#[test]
fn every_change_and_every_refusal_is_in_the_audit_log() {
    let afar = Afar::start();
    let apply = |text: &str, more: Value| {
        let mut body = intent(text);
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        afar.post("/api/v1/apply", &body).status()
    };
    let signed = json!({"author": "heron@pier", "message": "for the pond"});
    assert_eq!(apply(INTENT, signed), 200);
    assert_eq!(apply(INTENT, json!({})), 200);
    assert_eq!(apply(INTENT, json!({"base": "another"})), 409);
    let verify = json!({"name": "t", "text": "tests: [{request: {url: \"http://a/v1\"}, expect: {route: no}}]"});
    assert_eq!(apply(INTENT, json!({"verify": verify})), 422);
    assert_eq!(apply("domains: 1", json!({})), 400);
    assert_eq!(afar.post("/api/v1/rollback", &json!({"to": 0})).status(), 200);
    let audit = afar.audit();
    let line = |line: &Value| format!("{} {} {}", line["verb"], line["outcome"], line["revision"]);
    let lines: Vec<String> = audit.iter().map(|one| line(one).replace('"', "")).collect();
    assert_eq!(
        lines,
        [
            "apply applied 1",
            "apply unchanged null",
            "apply conflict null",
            "apply refused null",
            "apply invalid null",
            "rollback applied 2",
        ]
    );
    let first = &audit[0];
    assert_eq!(
        (&first["author"], &first["message"]),
        (&json!("heron@pier"), &json!("for the pond"))
    );
    assert_eq!((&first["token"], &first["summary"]), (&json!(true), &json!("7 created")));
    assert!(first["time"].as_str().unwrap().ends_with('Z'), "{first}");
    let path = afar.directory.file(".penstock/audit.log");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let logged = afar.gateway.log.find(|line| line["message"] == "admin" && line["revision"] == 2);
    assert_eq!(logged.unwrap()["outcome"], "applied");
}

#[test]
fn what_cannot_be_told_of_is_not_done() {
    let afar = Afar::start();
    std::fs::create_dir_all(afar.directory.file(".penstock/audit.log")).unwrap();
    let answer = afar.apply(INTENT);
    refused(&answer, 500, "unavailable", "nothing was changed: the audit log");
    assert_eq!(afar.revisions(), 0);
    assert!(!afar.directory.file("ingresses").exists());
}

#[test]
fn resources_and_the_export_hold_no_secret() {
    let afar = Afar::serving(Directory::harbor(dead_address(80)), true);
    let secrets = [TOKEN, HERON_KEY, OTTER_KEY];
    let resources = afar.get("/api/v1/resources");
    check_no_leak(&resources, &secrets);
    let resources = resources.json();
    assert_eq!(resources["resources"].as_array().unwrap().len(), 6);
    let one = afar.get("/api/v1/resources?kind=Ingress&name=ai-route-pier.internal").json();
    let one = one["resources"].as_array().unwrap();
    assert_eq!(one.len(), 1);
    assert_eq!(one[0]["object"]["kind"], "Ingress");
    assert!(one[0]["file"].as_str().unwrap().ends_with("ingresses/ai-route-pier.internal.yaml"));
    let count = |kind: &str| {
        let answer = afar.get(&format!("/api/v1/resources?kind={kind}")).json();
        answer["resources"].as_array().unwrap().len()
    };
    assert_eq!((count("ingress"), count("WASMPLUGIN")), (count("Ingress"), count("WasmPlugin")));
    let near = afar.get("/api/v1/resources?kind=secrte");
    refused(&near, 400, "invalid", "no kind `secrte`; did you mean `Secret`?");
    let far = afar.get("/api/v1/resources?kind=Zebra");
    refused(&far, 400, "invalid", "no kind `Zebra`, expected one of `ConfigMap`");
    for query in ["", "?secrets=redact"] {
        let export = afar.get(&format!("/api/v1/export{query}"));
        check_no_leak(&export, &secrets);
        assert!(export.json()["intent"].as_str().unwrap().contains("name: pier"));
    }
    refused(&afar.get("/api/v1/export?secrets=inline"), 400, "invalid", "secrets");
}

// === What is promised ===

#[test]
fn every_answer_is_as_the_description_says() {
    let afar = Afar::start();
    let description = afar.get("/api/v1/openapi.json").json();
    assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
    let check = |method: &str, path: &str, at: &str, body: Option<Value>| {
        let asked = afar.ask(method, path);
        let described = &description["paths"][at][method.to_lowercase()];
        let asked = match &body {
            None => asked,
            Some(body) => {
                let schema = &described["requestBody"]["content"]["application/json"]["schema"];
                check_schema(&description, schema, body);
                asked.header("Content-Type", "application/json").body(body.to_string())
            }
        };
        let answer = asked.send(afar.gateway.admin);
        let mut described = &described["responses"][answer.status().to_string()];
        if let Some(pointer) = described["$ref"].as_str() {
            described = description.pointer(pointer.trim_start_matches('#')).unwrap();
        }
        let schema = &described["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{method} {path}: {} is not described", answer.status());
        check_schema(&description, schema, &answer.json());
        answer.status()
    };
    let mut full = intent(INTENT);
    full.as_object_mut().unwrap().extend(
        json!({"prune": true, "adopt": {"only": ["a"]}, "allowDelete": 3, "overwrite": true,
               "message": "m", "author": "a", "base": null, "verify": null, "save": true,
               "details": true})
        .as_object()
        .unwrap()
        .clone(),
    );
    let post = |name: &str, body: Value| {
        let path = format!("/api/v1/{name}");
        check("POST", &path, &path, Some(body))
    };
    let get = |name: &str| {
        let path = format!("/api/v1/{name}");
        check("GET", &path, path.split('?').next().unwrap(), None)
    };
    assert_eq!(post("plan", full), 200);
    assert_eq!(post("plan", json!({"change": {"rollback": {"to": 5}}})), 404);
    assert_eq!(post("apply", intent(INTENT)), 200);
    assert_eq!(post("apply", intent(INTENT)), 200);
    assert_eq!(post("rollback", json!({"dryRun": true})), 200);
    assert_eq!(post("rollback", json!({"to": 9})), 404);
    assert_eq!(post("rollback", json!({"base": "b"})), 409);
    assert_eq!(
        post("explain", json!({"url": "http://a.test/v1/models", "headers": {"a": "b"}})),
        200
    );
    assert_eq!(
        post("test", json!({"name": "t", "text": "tests: [{request: {url: 'http://a/'}}]"})),
        200
    );
    assert_eq!(post("test", json!({"name": "t", "text": "1"})), 400);
    for name in ["diff", "diff?from=0", "export", "history", "openapi.json", "resources", "status"]
        .into_iter()
        .chain(["get", "get?kind=provider", "get?kind=ingress", "describe?kind=route&name=pond"])
    {
        assert_eq!(get(name), 200, "{name}");
    }
    for name in ["diff?from=9", "get?kind=provider&name=a", "describe?kind=cm&name=a"] {
        assert_eq!(get(name), 404, "{name}");
    }
    for name in ["get?kind=a", "get?name=a", "get?output=json", "describe?kind=route"] {
        assert_eq!(get(name), 400, "{name}");
    }
    let routes = "/api/v1/consumers/{name}/routes";
    assert_eq!(check("GET", &routes.replace("{name}", "heron"), routes, None), 404);
    for id in [1, 9] {
        let path = format!("/api/v1/history/{id}");
        check("GET", &path, "/api/v1/history/{id}", None);
    }
}
