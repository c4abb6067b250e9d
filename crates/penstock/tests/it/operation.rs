//! Running it: signals, exit codes, the admin listener, metrics and logs.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::upstream::EVENT_STREAM;
use crate::support::*;

#[test]
fn sigterm_lets_a_stream_finish() {
    for signal in ["TERM", "INT"] {
        let mut harbor = Harbor::start();
        let steps = harbor.upstream.stepped();
        let mut client = harbor.gateway.begin(&chat());
        let mut idle = harbor.gateway.connect();
        steps.write(EVENT_STREAM);
        client.head();
        harbor.gateway.signal(signal);
        eventually("draining", || (harbor.gateway.ready() == 503).then_some(()));
        assert_eq!(harbor.gateway.ask_admin("/ready").text(), "draining\n");
        assert_eq!(harbor.gateway.ask_admin("/healthz").status(), 200);
        eventually("the listener's end", || {
            TcpStream::connect(harbor.gateway.http).is_err().then_some(())
        });
        assert_eq!(idle.rest(), b"");
        for event in ["data: a\n\n", "data: b\n\n"] {
            steps.chunk(event);
            assert_eq!(client.chunk(), Chunk::data(event));
        }
        assert!(harbor.gateway.is_running());
        steps.finish();
        assert_eq!((client.chunk(), client.rest()), (Chunk::Last, Vec::new()));
        assert_eq!(harbor.gateway.wait().code(), Some(0));
        let line = harbor.gateway.access_log.find(|line| line["status"] == 200).unwrap();
        assert_eq!(line["stream"], true);
    }
}

#[test]
fn sigterm_without_work_is_the_end() {
    let mut harbor = Harbor::start();
    assert_eq!(harbor.chat().status(), 200);
    let began = Instant::now();
    harbor.gateway.signal("TERM");
    assert_eq!(harbor.gateway.wait().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn what_does_not_finish_in_time_is_broken_off() {
    let mut harbor = Harbor::served(Scenario::Completion, |_| {}, |serve| serve.with("--drain", 1));
    let steps = harbor.upstream.stepped();
    let mut client = harbor.gateway.begin(&chat());
    steps.write(EVENT_STREAM);
    client.head();
    harbor.gateway.signal("TERM");
    assert_eq!(harbor.gateway.wait().code(), Some(0));
    assert_eq!(client.chunk(), Chunk::Broken);
}

#[test]
fn sighup_reloads() {
    let harbor = Harbor::start();
    for _ in 0..3 {
        harbor.gateway.reload(|| harbor.gateway.signal("HUP"));
        assert_eq!(harbor.chat().status(), 200);
    }
}

#[test]
fn a_signal_counts_from_the_first_moment_on() {
    let directory = Directory::new();
    for _ in 0..20 {
        let mut gateway = Serve::new(directory.path()).start_unready();
        gateway.signal("HUP");
        assert!(gateway.is_running());
        gateway.signal("TERM");
        assert_eq!(gateway.wait().code(), Some(0));
    }
}

/// A refusal to start: one line on standard error, and the exit code.
#[track_caller]
fn check_refused(output: &Output, code: i32, words: &[&str]) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{told}");
    let errors: Vec<&str> = told.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{told}");
    for word in words {
        assert!(errors[0].contains(word), "{word} is not in {}", errors[0]);
    }
    assert!(!told.contains("panicked"), "{told}");
    assert_eq!(output.stdout, b"");
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = Directory::new();
    for flag in ["--http", "--admin"] {
        let output = Serve::new(directory.path()).with(flag, &address).refused();
        check_refused(&output, 1, &[&address, flag, "in use"]);
    }
}

#[test]
fn the_port_of_another_gateway_is_in_use() {
    let directory = Directory::new();
    let first = Serve::new(directory.path()).start();
    for (flag, address) in [("--http", first.http), ("--admin", first.admin)] {
        let output = Serve::new(directory.path()).with(flag, address).refused();
        check_refused(&output, 1, &[&address.to_string(), flag]);
    }
    assert_eq!(first.ready(), 200);
}

#[test]
fn a_source_that_cannot_be_read_is_named() {
    let directory = Directory::new().holding([("file.yaml", "")]);
    let serve = |source: &str| Serve::new(directory.path()).with("--config", source).refused();
    check_refused(&serve("/no/such/directory"), 1, &["/no/such/directory"]);
    let file = directory.file("file.yaml");
    check_refused(&serve(file.to_str().unwrap()), 1, &["file.yaml", "not a directory"]);
    check_refused(&serve("k8s:higress-system"), 1, &["k8s:higress-system", "not supported yet"]);
}

#[test]
fn files_that_flags_name_must_be_readable() {
    let directory = Directory::new().holding([("empty", ""), ("text", "not a certificate")]);
    let refused = |flag: &str, file: &str| {
        Serve::new(directory.path()).with(flag, directory.file(file).display()).refused()
    };
    check_refused(&refused("--upstream-ca", "absent.pem"), 1, &["absent.pem"]);
    check_refused(&refused("--upstream-ca", "text"), 1, &["text"]);
    check_refused(&refused("--admin-token-file", "absent"), 1, &["absent"]);
    check_refused(&refused("--admin-token-file", "empty"), 1, &["empty"]);
    check_refused(&refused("--access-log", "no/such/folder/log"), 1, &["no/such/folder/log"]);
}

#[test]
fn misuse_of_the_command_line_is_64() {
    let directory = Directory::new();
    let path = directory.path().to_str().unwrap();
    for arguments in [
        &["serve"][..],
        &["serve", "--config", path, "--http", "nonsense"],
        &["serve", "--config", path, "--nonsense"],
        &["serve", "--config", path, "--threads", "0"],
        &["serve", "--config", path, "--upstream-tls", "maybe"],
        &["serve", "--config", path, "--dns", "names.test"],
        &["lint"],
        &["lint", path, "-o", "nonsense"],
        &["nonsense"],
        &[],
    ] {
        let output = penstock(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert_eq!(output.stdout, b"", "{arguments:?}");
    }
}

#[test]
fn version_and_help_are_answers() {
    for arguments in [&["version"][..], &["--version"], &["-V"]] {
        let output = penstock(arguments);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            format!("penstock {}\n", env!("CARGO_PKG_VERSION"))
        );
    }
    for arguments in [&["--help"][..], &["serve", "--help"], &["lint", "--help"]] {
        let output = penstock(arguments);
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
        assert!(String::from_utf8(output.stdout).unwrap().contains("Usage: penstock"));
    }
}

#[test]
fn an_admin_listener_for_others_needs_a_token() {
    let directory = Directory::new();
    let serve = |address: &str| Serve::new(directory.path()).with("--admin", address);
    check_refused(&serve("0.0.0.0:0").refused(), 1, &["0.0.0.0:0", "--admin-token-file"]);
    check_refused(&serve("[::]:0").refused(), 1, &["--admin-token-file"]);
    directory.write(".token", "s3cret\n");
    let token = directory.file(".token");
    let gateway = serve("0.0.0.0:0").with("--admin-token-file", token.display()).start_unready();
    assert!(gateway.admin.ip().is_unspecified());
}

#[test]
fn the_token_protects_the_status_and_nothing_else() {
    let secrets = Directory::new().holding([("token", "  s3cret-token\n")]);
    let token = secrets.file("token");
    let harbor = Harbor::served(
        Scenario::Completion,
        |_| {},
        |serve| serve.with("--admin-token-file", token.display()),
    );
    let ask = |path: &str, token: Option<&str>| {
        let request = Request::get("admin", path);
        let request = match token {
            Some(token) => request.header("Authorization", token),
            None => request,
        };
        request.send(harbor.gateway.admin)
    };
    for path in ["/ready", "/healthz", "/metrics"] {
        assert_eq!(ask(path, None).status(), 200, "{path}");
    }
    for token in [
        None,
        Some("Bearer wrong"),
        Some("Bearer s3cret-toke"),
        Some("s3cret-token"),
        Some("Bearer "),
    ] {
        let answer = ask("/status", token);
        assert_eq!((answer.status(), answer.text().as_str()), (401, ""), "{token:?}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    assert_eq!(ask("/status", Some("Bearer s3cret-token")).status(), 200);
}

#[test]
fn the_admin_listener_has_a_few_paths() {
    let harbor = Harbor::start();
    assert_eq!(harbor.gateway.ask_admin("/ready").text(), "ready\n");
    assert_eq!(harbor.gateway.ask_admin("/healthz").text(), "ok\n");
    assert_eq!(harbor.gateway.ask_admin("/").status(), 404);
    assert_eq!(harbor.gateway.ask_admin("/nonsense").status(), 404);
    assert_eq!(Request::post("admin", "/status", "{}").send(harbor.gateway.admin).status(), 405);
    // Nor does the gateway's own listener serve them.
    assert_eq!(harbor.gateway.send(&Request::get("admin", "/status")).status(), 404);
}

#[test]
fn the_status_tells_what_is_in_force() {
    let harbor = Harbor::start();
    let answer = harbor.gateway.ask_admin("/status");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let status = answer.json();
    assert_eq!(
        (&status["version"], &status["ready"]),
        (&env!("CARGO_PKG_VERSION").into(), &true.into())
    );
    let configuration = &status["configuration"];
    assert_eq!((&configuration["ok"], &configuration["routes"]), (&true.into(), &1.into()));
    assert_eq!((&configuration["error"], &configuration["closed"]), (&Value::Null, &Value::Null));
    assert_eq!(configuration["revision"], configuration["seen_revision"]);
    let service = json!({
        "host": "llm-brook.internal.static",
        "port": 80,
        "tls": false,
        "resolved": true,
        "endpoints": [harbor.upstream.address.to_string()],
        "health": [{
            "endpoint": harbor.upstream.address.to_string(),
            "standing": "fit",
            "reason": null,
            "requests": 0,
            "connections": 0,
            "ejections": 0,
        }],
    });
    assert_eq!(status["services"], json!([service]));
}

/// The value of a sample, where there is one.
fn sample(metrics: &str, series: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

#[test]
fn metrics_forget_what_the_configuration_does_not_name() {
    let harbor = Harbor::start();
    let count = |provider: &str| {
        let labels =
            format!(r#"{{route="ai-route-pier.internal",provider="{provider}",status="200"}}"#);
        let metrics = harbor.gateway.ask_admin("/metrics").text();
        sample(&metrics, &format!("penstock_requests_total{labels}"))
    };
    assert_eq!(harbor.chat().status(), 200);
    assert_eq!(count("brook"), Some(1.0));
    let file = "wasmplugins/ai-proxy.internal.yaml";
    let renamed = fs::read_to_string(harbor.directory.file(file)).unwrap();
    let renamed = renamed.replace("id: brook", "id: creek").replace("Id: brook", "Id: creek");
    harbor.gateway.reload(|| harbor.directory.replace(file, renamed));
    assert_eq!((count("brook"), count("creek")), (None, None));
    assert_eq!(harbor.chat().status(), 200);
    assert_eq!((count("brook"), count("creek")), (None, Some(1.0)));
}

#[test]
fn metrics_count_requests_and_tokens() {
    let harbor = Harbor::start();
    for request in [
        chat(),
        chat(),
        chat_without_key(),
        chat_without_key().key(OTTER_KEY),
        Request::get("elsewhere.test", "/"),
    ] {
        harbor.gateway.send(&request);
    }
    let answer = harbor.gateway.ask_admin("/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4"));
    let metrics = answer.text();
    let check = |series: &str, expected: f64| {
        assert_eq!(sample(&metrics, series), Some(expected), "{series}\n{metrics}")
    };
    check(
        r#"penstock_requests_total{route="ai-route-pier.internal",provider="brook",status="200"}"#,
        2.0,
    );
    check(
        r#"penstock_requests_total{route="ai-route-pier.internal",provider="",status="401"}"#,
        1.0,
    );
    check(
        r#"penstock_requests_total{route="ai-route-pier.internal",provider="",status="403"}"#,
        1.0,
    );
    check(r#"penstock_requests_total{route="",provider="",status="404"}"#, 1.0);
    check(r#"penstock_consumer_requests_total{consumer="heron",status="200"}"#, 2.0);
    check(r#"penstock_consumer_requests_total{consumer="otter",status="403"}"#, 1.0);
    check(
        r#"penstock_tokens_total{route="ai-route-pier.internal",provider="brook",direction="input"}"#,
        22.0,
    );
    check(
        r#"penstock_tokens_total{route="ai-route-pier.internal",provider="brook",direction="output"}"#,
        14.0,
    );
    for family in [
        "penstock_request_duration_seconds",
        "penstock_upstream_head_seconds",
        "penstock_gateway_seconds",
    ] {
        check(
            &format!(r#"{family}_count{{route="ai-route-pier.internal",provider="brook"}}"#),
            2.0,
        );
        check(
            &format!(
                r#"{family}_bucket{{route="ai-route-pier.internal",provider="brook",le="+Inf"}}"#
            ),
            2.0,
        );
    }
    check("penstock_upstream_connections_total", 1.0);
    check("penstock_requests_active", 0.0);
    check("penstock_config_last_reload_success", 1.0);
    check("penstock_config_reloads_total", 1.0);
    check("penstock_config_routes", 1.0);
    check(r#"penstock_config_diagnostics{severity="error"}"#, 0.0);
    let revision =
        harbor.gateway.status()["configuration"]["revision"].as_str().unwrap().to_owned();
    check(&format!(r#"penstock_config_info{{revision="{revision}"}}"#), 1.0);
    check_exposition(&metrics);
}

#[test]
fn labels_are_escaped() {
    let harbor = Harbor::changed(Scenario::Completion, |directory| {
        for name in ["wasmplugins/key-auth.internal.yaml", "configmaps/ai-route-pier.yaml"] {
            let text = directory.read(name);
            let quote = if name.ends_with("pier.yaml") { r#"he\"r\\on"# } else { r#"'he"r\on'"# };
            directory.write(
                name,
                text.replace("\"heron\"", &format!("\"{quote}\""))
                    .replace("name: heron", &format!("name: {quote}"))
                    .replace("- heron", &format!("- {quote}")),
            );
        }
    });
    let answer = harbor.chat();
    assert_eq!(answer.status(), 200);
    let series = r#"penstock_consumer_requests_total{consumer="he\"r\\on",status="200"}"#;
    assert_eq!(sample(&harbor.gateway.metrics(), series), Some(1.0));
    assert_eq!(harbor.gateway.access_log.of_request(&answer)["consumer"], r#"he"r\on"#);
    assert_eq!(harbor.upstream.received().header("x-mse-consumer"), Some(r#"he"r\on"#));
}

/// Every sample belongs to a family that is announced once, before it.
fn check_exposition(metrics: &str) {
    let mut announced: Vec<&str> = Vec::new();
    for line in metrics.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let family = rest.split(' ').next().unwrap();
            assert!(!announced.contains(&family), "{family} is announced twice");
            announced.push(family);
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end))
                .unwrap_or(name);
            assert!(
                announced.contains(&family) || announced.contains(&name),
                "{line} before its family"
            );
            assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
        }
    }
}

#[test]
fn a_first_token_is_timed_for_streams() {
    let harbor = Harbor::start();
    let steps = harbor.upstream.stepped();
    let mut client = harbor.gateway.begin(&chat());
    steps.write(EVENT_STREAM);
    client.head();
    eventually("the request", || {
        (sample(&harbor.gateway.metrics(), "penstock_requests_active") == Some(1.0)).then_some(())
    });
    steps.chunk("data: a\n\n");
    steps.finish();
    while let Chunk::Data(_) = client.chunk() {}
    harbor.chat();
    let series = r#"penstock_time_to_first_token_seconds_count{route="ai-route-pier.internal",provider="brook"}"#;
    assert_eq!(sample(&harbor.gateway.metrics(), series), Some(1.0));
}

#[test]
fn what_clients_make_up_makes_no_series() {
    let harbor = Harbor::start();
    let mut client = harbor.gateway.connect();
    let mut send = |host: &str, path: &str| {
        client.send(&Request::new("GET", host, path).key(path));
        client.answer();
    };
    send("x.test", "/");
    send(HOST, "/v1/x");
    let lines = || harbor.gateway.metrics().lines().count();
    let before = lines();
    for number in 0..200 {
        send(&format!("{number}.test"), &format!("/{number}"));
        send(HOST, &format!("/v1/{number}"));
    }
    assert_eq!(lines(), before);
}

#[test]
fn a_reload_that_fails_shows_in_the_metrics() {
    let upstream = Upstream::start(Scenario::Completion);
    let parent = Directory::new();
    for (name, text) in harbor(upstream.address) {
        parent.write(&format!("in/{name}"), text);
    }
    let gateway = Serve::new(&parent.file("in")).start();
    gateway.reload(|| std::fs::rename(parent.file("in"), parent.file("away")).unwrap());
    assert_eq!(sample(&gateway.metrics(), "penstock_config_last_reload_success"), Some(0.0));
    assert_eq!(gateway.send(&chat()).status(), 200);
}

#[test]
fn the_access_log_tells_about_each_request() {
    let harbor = Harbor::start();
    let mapped = Request::post(
        HOST,
        "/v1/chat/completions?key=hidden",
        r#"{"model":"gpt-4o","messages":[]}"#,
    )
    .key(HERON_KEY);
    let answer = harbor.gateway.send(&mapped);
    let line = harbor.gateway.access_log.of_request(&answer);
    let expected = json!({
        "client": "127.0.0.1",
        "method": "POST",
        "host": HOST,
        "path": "/v1/chat/completions",
        "route": ROUTE,
        "service": "llm-brook.internal.static",
        "provider": "brook",
        "consumer": HERON,
        "model": "gpt-4o",
        "upstream_model": "brook-large",
        "status": 200,
        "request_bytes": 32,
        "response_bytes": answer.body.len(),
        "stream": false,
        "input_tokens": 11,
        "output_tokens": 7,
        "total_tokens": 18,
        "attempts": [{
            "endpoint": harbor.upstream.address.to_string(),
            "outcome": "ok",
            "status": 200,
            "ended_ms": line["upstream_head_ms"],
        }],
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(line[key], *value, "{key} in {line}");
    }
    for key in ["duration_ms", "upstream_began_ms", "upstream_head_ms", "first_byte_ms"] {
        assert!(line[key].as_f64().is_some_and(|value| value > 0.0), "{key} in {line}");
    }
    assert!(line["time"].as_str().unwrap().ends_with('Z'));
    let denied = harbor.gateway.access_log.of_request(&harbor.gateway.send(&chat_without_key()));
    assert_eq!((&denied["status"], &denied["error"]), (&401.into(), &"no_api_key".into()));
    assert_eq!((&denied["route"], denied.get("attempts")), (&ROUTE.into(), None));
}

#[test]
fn the_access_log_goes_where_it_is_sent() {
    let log = Directory::new();
    let file = log.file("access.log");
    let harbor = Harbor::served(
        Scenario::Completion,
        |_| {},
        |serve| serve.with("--access-log", file.display()),
    );
    let answer = harbor.chat();
    let id = answer.header("x-request-id").unwrap();
    eventually("the line", || std::fs::read_to_string(&file).unwrap().contains(id).then_some(()));
    assert_eq!(harbor.gateway.access_log.all(), Vec::<String>::new());
    let mut off =
        Harbor::served(Scenario::Completion, |_| {}, |serve| serve.with("--access-log", "off"));
    off.chat();
    off.gateway.signal("TERM");
    off.gateway.wait();
    assert_eq!(off.gateway.access_log.all(), Vec::<String>::new());
}

#[test]
fn no_secret_is_ever_written_down() {
    const QUERY_KEY: &str = "query-key-1618";
    const SHARED_KEY: &str = "shared-key-3141";
    const BODY: &str = "body-secret-1414";
    let mut harbor = Harbor::served(
        Scenario::Completion,
        |directory| {
            let consumers = format!(
                "    - name: gull\n      keys: [k]\n      in_header: false\n      credential: {QUERY_KEY}\n    - name: tern\n      credential: {SHARED_KEY}\n    - name: skua\n      credentials: [{SHARED_KEY}]\n    - name: {SHARED_KEY}\n      keys: 5\n      credential: {SHARED_KEY}-broken\n  matchRules:"
            );
            directory.edit("wasmplugins/key-auth.internal.yaml", "  matchRules:", &consumers);
            directory.edit(
                "wasmplugins/key-auth.internal.yaml",
                "      - heron\n",
                "      - heron\n      - gull\n",
            );
            directory.edit(
                "wasmplugins/key-auth.internal.yaml",
                &format!("name: {SHARED_KEY}"),
                "name: broken",
            );
        },
        |serve| serve.with("--log-level", "trace"),
    );
    let gateway = &harbor.gateway;
    let body = format!(r#"{{"model":"m","x":"{BODY}"}}"#);
    let post = |path: &str| Request::post(HOST, path, body.clone());
    for (request, status) in [
        (post("/v1/chat/completions").key(HERON_KEY), 200),
        (post("/v1/chat/completions").key(OTTER_KEY), 403),
        (post(&format!("/v1/chat/completions?k={QUERY_KEY}")), 200),
        (
            post("/v1/chat/completions")
                .header("X-HI-ORIGINAL-AUTH", &format!("Bearer {HERON_KEY}")),
            200,
        ),
        (post(&format!("/v1/chat/completions?k={SHARED_KEY}")), 401),
        (post(&format!("/unknown?k={HERON_KEY}")).header("x-api-key", HERON_KEY), 404),
        (Request::post(HOST, "/v1/chat/completions", BODY).key(HERON_KEY), 400),
    ] {
        assert_eq!(gateway.send(&request).status(), status);
    }
    gateway
        .reload(|| harbor.directory.edit("wasmplugins/key-auth.internal.yaml", "spec:", "spec: ["));
    let told = [gateway.ask_admin("/status").text(), gateway.metrics()];
    gateway.signal("TERM");
    harbor.gateway.wait();
    let logs = [harbor.gateway.log.all().join("\n"), harbor.gateway.access_log.all().join("\n")];
    assert!(logs[1].lines().count() >= 7, "{}", logs[1]);
    for text in told.iter().chain(&logs) {
        for secret in [HERON_KEY, OTTER_KEY, TOKEN, QUERY_KEY, SHARED_KEY, BODY] {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }
}

#[test]
fn the_log_is_json_where_nobody_reads_along() {
    let harbor = Harbor::start();
    harbor.gateway.reload(|| harbor.gateway.signal("HUP"));
    for line in harbor.gateway.log.all() {
        let line: Value = serde_json::from_str(&line).unwrap();
        assert!(
            line["timestamp"].is_string()
                && line["level"].is_string()
                && line["message"].is_string(),
            "{line}"
        );
    }
    let in_force =
        harbor.gateway.log.find(|line| line["message"] == "configuration in force").unwrap();
    assert!(in_force["revision"].is_string() && in_force["took_ms"].is_u64(), "{in_force}");
}
