//! What compilers and clippy do not watch: tables are sorted, documentation
//! lists what the code has, the architecture is what it says.
//!
//! `PENSTOCK_ACCEPT=1 cargo test -p penstock --test tidy` writes the generated
//! parts of `docs/manifests.md`.

#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use penstock_gateway::access_log::{AccessRecord, AttemptRecord};
use penstock_gateway::plugin::PLUGINS;
use penstock_gateway::request::RequestId;
use penstock_gateway::settings::Settings;
use penstock_llm::provider::PROVIDERS;
use penstock_llm::usage::Usage;
use penstock_manifest::annotation::{ANNOTATIONS, Prefixes, Support};
use penstock_manifest::diagnostic::CODES;
use penstock_manifest::kind::KINDS;
use penstock_manifest::kind::wasm_plugin::AUTHENTICATIONS;

/// The lines from which on a file has to say why it is one.
const FILE_LINES_MAX: usize = 600;
/// Files that are one subject all the same.
const LARGE_FILES: &[&str] = &[
    // The one reader of YAML events.
    "crates/penstock-manifest/src/yaml.rs",
];

/// What stands for no subject at the end of a name.
const EMPTY_WORDS: &str = "Manager Helper Util Utils Common Misc Base Data Info Processor \
    Handler Context Impl";

/// What must not stand in any file, without the bars that keep it out of this
/// one: hosts of package registries, paths of somebody's machine.
const FORBIDDEN: &str = "crates|.io docs|.rs npmjs|. pypi|.org golang|.org debian|.org \
    /wo|rk/ ../sha|red /ro|ot/";

/// A library, or a module of one, and the only files that may name it.
const HOMES: &[(&str, &[&str])] = &[
    ("ArcSwapOption", &["penstock-gateway/src/lib.rs"]),
    ("arc_swap::", &["penstock-gateway/src/lib.rs", "penstock-gateway/src/state.rs"]),
    (
        "clap::",
        &[
            "penstock-bench/src/cli.rs",
            "penstock-bench/src/main.rs",
            "penstock/src/cli/",
            "penstock/src/main.rs",
            "penstock/src/telemetry.rs",
        ],
    ),
    ("clap_complete::", &["penstock/src/cli/completion.rs"]),
    ("hickory_resolver", &["penstock-gateway/src/resolve.rs"]),
    ("hyper::client", &["penstock-gateway/src/upstream.rs", "penstock-gateway/src/upstream/"]),
    ("listenfd::", &["penstock/src/process/inherited.rs"]),
    ("notify::", &["penstock/src/store/directory/"]),
    ("saphyr_parser", &["penstock-manifest/src/yaml.rs", "penstock-manifest/src/yaml/"]),
    ("ureq::", &["penstock/src/target/remote.rs"]),
    ("zlib_rs::", &["penstock-gateway/src/gzip.rs", "penstock-gateway/src/gzip/"]),
];

/// Where there is no I/O, no clock and no randomness.
const PURE: &[&str] =
    &["penstock-llm/src/", "penstock-manifest/src/", "penstock-gateway/src/compile"];
const IMPURE: &str = "tokio:: hyper:: std::env std::fs std::process std::thread TcpStream \
    UdpSocket Instant::now SystemTime::now fastrand";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every text file of the repository: path below the root, content.
fn files() -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let is_ours = !name.starts_with('.') || name == ".ci" || name == ".github";
            let is_built = ["target", "artifacts", "corpus", "penstock-quickstart"];
            if path.is_dir() {
                if is_ours && !is_built.contains(&name.as_str()) {
                    folders.push(path);
                }
            // In a worktree, `.git` is a file.
            } else if name == ".git" {
                continue;
            } else if let Ok(text) = fs::read_to_string(&path) {
                let relative = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                found.push((relative, text));
            }
        }
    }
    found.sort();
    found
}

/// The sources of the crates, without their tests.
fn sources() -> Vec<(String, String)> {
    files()
        .into_iter()
        .filter(|(path, _)| path.starts_with("crates/") && path.contains("/src/"))
        .filter(|(path, _)| path.ends_with(".rs") && !path.ends_with("tests.rs"))
        .map(|(path, text)| {
            let end = text.find("\n#[cfg(test)]\nmod tests {").unwrap_or(text.len());
            (path, text[..end].to_owned())
        })
        .collect()
}

fn is_in(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| path.strip_prefix("crates/").is_some_and(|p| p.starts_with(place)))
}

/// Fails with all complaints at once.
fn check(complaints: impl IntoIterator<Item = String>) {
    let complaints: Vec<String> = complaints.into_iter().collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// Compares two sets by what each lacks.
fn check_same(what: &str, code: &BTreeSet<String>, documentation: &BTreeSet<String>) {
    let missing = code.difference(documentation).map(|name| format!("{what}: `{name}` is missing"));
    let unknown =
        documentation.difference(code).map(|name| format!("{what}: there is no `{name}`"));
    check(missing.chain(unknown));
}

// === Tables ===

#[test]
fn tables_are_sorted_and_name_nothing_twice() {
    assert!(ANNOTATIONS.is_sorted_by(|a, b| a.key < b.key));
    assert!(CODES.is_sorted_by(|a, b| a.id < b.id));
    assert!(KINDS.is_sorted_by(|a, b| a.kind < b.kind));
    assert!(PLUGINS.is_sorted_by(|a, b| a.name < b.name));
    assert!(PROVIDERS.is_sorted_by(|a, b| a.name < b.name));
    assert!(AUTHENTICATIONS.is_sorted_by(|a, b| a < b));
}

#[test]
fn every_authentication_of_the_console_is_one_here() {
    check(AUTHENTICATIONS.iter().filter_map(|name| {
        let row = PLUGINS.iter().find(|row| row.name == *name);
        (!row.is_some_and(|row| row.is_authentication)).then(|| format!("`{name}` could fail open"))
    }));
}

// === Documentation ===

/// The part of a document below a heading, up to the next of its level or of
/// a higher one.
fn section<'t>(text: &'t str, heading: &str) -> &'t str {
    let start = text.find(&format!("{heading}\n")).unwrap_or_else(|| panic!("no `{heading}`"));
    let rest = &text[start + heading.len()..];
    let level = heading.find(' ').unwrap();
    let ends = (1..=level).filter_map(|level| rest.find(&format!("\n{} ", "#".repeat(level))));
    &rest[..ends.min().unwrap_or(rest.len())]
}

/// The code spans in the first column of the tables of a text.
fn first_column(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|line| line.split(" | ").next().unwrap())
        .flat_map(|cell| cell.split('`').step_by(2))
        .filter(|span| !span.is_empty())
        .collect()
}

#[test]
fn generated_parts_of_the_documentation_are_current() {
    let path = "docs/manifests.md";
    let mut text = read(path);
    let before = text.clone();
    for (name, body) in
        [("annotations", annotations()), ("plugins", plugins()), ("providers", providers())]
    {
        let opening = format!("<!-- generated: {name} -->\n");
        let start = text.find(&opening).unwrap_or_else(|| panic!("no part {name}")) + opening.len();
        let end = start + text[start..].find("<!-- /generated -->").unwrap();
        text.replace_range(start..end, &body);
    }
    if text != before && std::env::var_os("PENSTOCK_ACCEPT").is_some() {
        fs::write(root().join(path), &text).unwrap();
        return;
    }
    check(text.lines().filter(|line| !before.contains(*line)).map(|l| format!("{path} lacks {l}")));
    assert_eq!(text, before, "{path} has generated lines too many");
}

fn annotations() -> String {
    let rows = ANNOTATIONS.iter().map(|row| {
        let name = if row.key.ends_with('-') { "NAME" } else { "" };
        let nginx = if row.prefixes == Prefixes::Both { "yes" } else { "" };
        let support = match row.support {
            Support::Acts => "**acts**",
            Support::Marker => "marker",
            Support::NotYet => "not yet",
            Support::Protects => "**closes**",
        };
        let (default, meaning) = (row.default, row.meaning);
        format!("| `{}{name}` | {nginx} | {support} | {default} | {meaning} |\n", row.key)
    });
    let head = "| Annotation | nginx too | Support | Default | Value and meaning |\n\
                |---|---|---|---|---|\n"
        .to_owned();
    rows.fold(head, |table, row| table + &row)
}

fn plugins() -> String {
    let list = |of: &dyn Fn(&penstock_gateway::plugin::PluginRow) -> bool| {
        list(PLUGINS.iter().filter(|row| of(row)).map(|row| row.name))
    };
    format!(
        "| | Plugins |\n|---|---|\n| run here | {} |\n| not yet; follow `failStrategy` | {} |\n\
         | not yet; authenticate, so that what they cover answers 503 | {} |\n",
        list(&|row| row.build.is_some()),
        list(&|row| row.build.is_none() && !row.is_authentication),
        list(&|row| row.build.is_none() && row.is_authentication),
    )
}

fn providers() -> String {
    let list = |is_built: bool| {
        list(PROVIDERS.iter().filter(|row| row.build.is_some() == is_built).map(|row| row.name))
    };
    format!(
        "| | Types |\n|---|---|\n| served | {} |\n| not yet: their routes answer 503 | {} |\n",
        list(true),
        list(false)
    )
}

fn list<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[test]
fn every_kind_is_documented() {
    let manifests = read("docs/manifests.md");
    let kinds = section(&manifests, "## Kinds");
    let is_webhook = |kind: &str| kind.ends_with("WebhookConfiguration");
    check(
        KINDS
            .iter()
            .filter(|row| !is_webhook(row.kind) && !kinds.contains(row.kind))
            .map(|row| format!("docs/manifests.md, Kinds: no {}", row.kind)),
    );
}

#[test]
fn every_flag_is_documented_with_its_default() {
    let edits = [
        "delete",
        "consumer add",
        "consumer rotate",
        "consumer revoke",
        "consumer routes",
        "provider set-token",
    ];
    let documents: [(&[&str], &str); 7] = [
        (&["plan", "apply", "rollback", "history", "show", "diff", "status"], "docs/apply.md"),
        (&edits, "docs/day2.md"),
        (&["explain", "test"], "docs/explain.md"),
        (&["export", "get", "describe"], "docs/export.md"),
        (&["fmt"], "docs/fmt.md"),
        (&["lint"], "docs/lint.md"),
        (&["serve"], "docs/serve.md"),
    ];
    for (verbs, path) in documents {
        let flags: Vec<(String, Option<String>)> =
            verbs.iter().flat_map(|verb| flags(verb)).collect();
        let text = read(path);
        let spans = first_column(&text);
        let documented = spans.iter().filter(|span| span.starts_with("--"));
        check_same(
            path,
            &flags.iter().map(|(flag, _)| flag.clone()).collect(),
            &documented.map(|span| span.split([' ', '[']).next().unwrap().to_owned()).collect(),
        );
        check(flags.iter().filter_map(|(flag, default)| {
            let default = default.as_deref()?;
            let row = text.lines().find(|line| line.contains(&format!("`{flag} ")))?;
            (!row.contains(default)).then(|| format!("{path}: {flag} has the default {default}"))
        }));
    }
}

/// The long flags of a verb, with their defaults.
fn flags(verb: &str) -> Vec<(String, Option<String>)> {
    let output =
        Command::new(env!("CARGO_BIN_EXE_penstock")).args(verb.split(' ')).arg("--help").output();
    let help = String::from_utf8(output.unwrap().stdout).unwrap();
    let mut flags: Vec<(String, String)> = Vec::new();
    for line in help.lines() {
        let mut words = line.split_whitespace();
        let flag = words.find(|word| !(word.len() == 3 && word.ends_with(',')));
        match flag.filter(|word| word.starts_with("--")) {
            Some(flag) => {
                let flag = flag.split('[').next().unwrap_or(flag);
                flags.push((flag.to_owned(), line.to_owned()));
            }
            None => flags.iter_mut().last().into_iter().for_each(|(_, text)| *text += line),
        }
    }
    flags
        .into_iter()
        .filter(|(flag, _)| flag != "--help")
        .map(|(flag, text)| {
            let default = text.split_once("[default:").and_then(|(_, rest)| rest.split_once(']'));
            (flag, default.map(|(default, _)| default.trim().to_owned()))
        })
        .collect()
}

#[test]
fn every_endpoint_is_documented() {
    let described: serde_json::Value =
        serde_json::from_str(&read("crates/penstock/src/admin/openapi.json")).unwrap();
    let paths = described["paths"].as_object().unwrap();
    let endpoints = paths.iter().filter(|(path, _)| path.starts_with("/api/"));
    // What describes the others needs no row.
    let endpoints = endpoints.filter(|(path, _)| !path.ends_with("/openapi.json"));
    let endpoints = endpoints.flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().keys();
        let path = path.replace("{id}", "ID").replace("{name}", "NAME");
        methods.map(move |m| format!("{} {path}", m.to_uppercase()))
    });
    let text = read("docs/admin-api.md");
    let documented = first_column(section(&text, "## Endpoints"));
    check_same(
        "docs/admin-api.md, Endpoints",
        &endpoints.collect(),
        &documented.into_iter().map(str::to_owned).collect(),
    );
}

#[test]
fn every_limit_is_documented() {
    let Settings {
        body_bytes_max,
        buffered_bytes_max,
        connect_timeout,
        tls_timeout,
        first_byte_timeout,
        idle_timeout,
        request_timeout,
        head_timeout,
        pool_idle_timeout,
        resolve_timeout,
        trusted_hops,
        head_bytes_max,
        headers_max,
        handshake_timeout,
        client_idle_timeout,
        client_stall_timeout,
        connections_max,
        address_connections_max,
        streams_max,
        resets_max,
        ping_interval,
        ping_timeout,
        service,
        outliers,
        warm_up,
        checks,
    } = Settings::default();
    assert!(checks.is_none());
    let number = |number: usize| format!("`{number}`");
    let time = |duration: Duration| format!("`{}`", duration.as_secs_f64());
    let serve = read("docs/serve.md");
    let rows = [
        ("--body-limit BYTES", number(body_bytes_max)),
        ("--buffer-limit BYTES", number(buffered_bytes_max)),
        ("--head-limit BYTES", number(head_bytes_max)),
        ("--header-limit N", number(headers_max)),
        ("--connection-limit N", number(connections_max)),
        ("--address-connection-limit N", number(address_connections_max)),
        ("--stream-limit N", number(streams_max as usize)),
        ("--reset-limit N", number(resets_max as usize)),
        ("--handshake-timeout SECONDS", time(handshake_timeout)),
        ("--head-timeout SECONDS", time(head_timeout)),
        ("--client-idle-timeout SECONDS", time(client_idle_timeout)),
        ("--client-stall-timeout SECONDS", time(client_stall_timeout)),
        ("--ping-interval SECONDS", time(ping_interval)),
        ("--ping-timeout SECONDS", time(ping_timeout)),
        ("--connect-timeout SECONDS", time(connect_timeout)),
        ("--upstream-tls-timeout SECONDS", time(tls_timeout)),
        ("--pool-idle-timeout SECONDS", time(pool_idle_timeout)),
        ("--resolve-timeout SECONDS", time(resolve_timeout)),
        ("--first-byte-timeout SECONDS", time(first_byte_timeout)),
        ("--idle-timeout SECONDS", time(idle_timeout)),
        ("--request-timeout SECONDS", time(request_timeout.unwrap_or_default())),
        ("--trusted-hops N", number(trusted_hops)),
        ("--service-request-limit N", number(service.requests_max)),
        ("--service-connection-limit N", number(service.connections_max)),
        ("--service-pending-limit N", number(service.pending_max)),
        ("--eject-after N", number(outliers.failures as usize)),
        ("--eject-time SECONDS", time(outliers.time)),
        ("--eject-time-max SECONDS", time(outliers.time_max)),
        ("--eject-percent PERCENT", number(outliers.percent_max.into())),
        ("--warm-up SECONDS", time(warm_up)),
    ];
    let rows = rows.into_iter().map(|(name, value)| format!("| `{name}` | {value} |"));
    check(rows.filter(|row| !serve.contains(row)).map(|row| format!("docs/serve.md: no {row}")));
}

#[test]
fn every_metric_is_documented() {
    let mut families = BTreeSet::new();
    for (path, text) in sources() {
        let has_metrics =
            ["/metrics.rs", "/metrics/endpoint.rs", "/metrics/token.rs", "/status.rs"];
        if has_metrics.iter().any(|file| path.ends_with(file)) {
            let names = text.split('"').filter(|span| span.starts_with("penstock_"));
            families.extend(names.map(str::to_owned));
        }
    }
    let serve = read("docs/serve.md");
    let documented = first_column(section(&serve, "### Metrics"));
    check_same(
        "docs/serve.md, Metrics",
        &families,
        &documented.into_iter().map(str::to_owned).collect(),
    );
}

#[test]
fn every_field_of_the_access_log_is_documented() {
    let client = "192.0.2.1:5".parse().unwrap();
    let id = RequestId::random();
    let mut record = AccessRecord::begin(&id, client, &http::Method::GET, "host", "/");
    record.attempts.push(AttemptRecord {
        endpoint: client,
        outcome: "ok",
        provider: None,
        token: None,
        status: None,
        ended: std::time::Duration::ZERO,
    });
    record.fallback_from = Some("a".into());
    for text in [&mut record.route, &mut record.service, &mut record.consumer] {
        *text = Some("a".into());
    }
    for text in [&mut record.provider, &mut record.model, &mut record.upstream_model] {
        *text = Some("a".into());
    }
    for time in [&mut record.upstream_began, &mut record.upstream_head, &mut record.first_byte] {
        *time = Some(Duration::ZERO);
    }
    (record.error, record.cause) = (Some("a"), Some("a".to_owned()));
    let tokens = Some(1);
    record.usage = Some(Usage {
        prompt_tokens: tokens,
        completion_tokens: tokens,
        total_tokens: tokens,
        cached_tokens: tokens,
        reasoning_tokens: tokens,
    });
    let mut line = Vec::new();
    record.write_line(&mut line);
    let line: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&line).unwrap();
    let serve = read("docs/serve.md");
    let documented = first_column(section(&serve, "## Access log"));
    check_same(
        "docs/serve.md, Access log",
        &line.keys().cloned().collect(),
        &documented.into_iter().map(str::to_owned).collect(),
    );
}

#[test]
fn every_error_is_documented() {
    let serve = read("docs/serve.md");
    let errors = section(&serve, "### Errors");
    let is_code = |text: &&str| {
        text.contains('_') && text.bytes().all(|b| b == b'_' || b.is_ascii_lowercase())
    };
    check(
        sources()
            .iter()
            .filter(|(path, _)| path.starts_with("crates/penstock-gateway/"))
            .filter(|(path, _)| path.ends_with("/error.rs") || path.ends_with("/key_auth.rs"))
            .flat_map(|(_, text)| text.split('"').filter(is_code))
            .filter(|code| !errors.contains(&format!("`{code}`")))
            .map(|code| format!("docs/serve.md, Errors: no `{code}`")),
    );
}

#[test]
fn links_between_documents_lead_somewhere() {
    let documents: Vec<(String, String)> =
        files().into_iter().filter(|(path, _)| path.ends_with(".md")).collect();
    check(documents.iter().flat_map(|(path, text)| {
        let folder = root().join(path).parent().unwrap().to_path_buf();
        text.split("](").skip(1).filter_map(move |rest| {
            let link = rest.split(')').next().unwrap();
            if link.contains("://") {
                return None;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { root().join(path) } else { folder.join(file) };
            let leads_there = target.exists()
                && (anchor.is_empty() || headings(&target).iter().any(|known| known == anchor));
            (!leads_there).then(|| format!("{path}: `{link}` leads nowhere"))
        })
    }));
}

/// The anchors of a document's headings.
fn headings(path: &Path) -> Vec<String> {
    fs::read_to_string(path)
        .unwrap()
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-"))
        .map(|anchor| anchor.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect())
        .collect()
}

#[test]
fn every_example_is_mentioned() {
    let documents: String = files()
        .into_iter()
        .filter(|(path, _)| path.ends_with(".md") && !path.starts_with("examples/"))
        .map(|(_, text)| text)
        .collect();
    let examples = fs::read_dir(root().join("examples")).unwrap();
    check(examples.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).filter_map(
        |path| {
            let name = format!("examples/{}", path.file_name().unwrap().to_string_lossy());
            (!documents.contains(&name)).then(|| format!("{name} is mentioned nowhere"))
        },
    ));
}

#[test]
fn every_dependency_is_explained() {
    let contributing = read("CONTRIBUTING.md");
    let table = section(&contributing, "## Dependencies");
    let explained: BTreeSet<String> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
        .flat_map(|cell| cell.trim_start_matches("*tests:* ").split(", "))
        .filter(|name| *name != "Crate")
        .map(str::to_owned)
        .collect();
    let manifest = read("Cargo.toml");
    let declared: BTreeSet<String> = manifest
        .lines()
        .skip_while(|line| *line != "[workspace.dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| Some(line.split_once(" = ")?.0.to_owned()))
        .filter(|name| !name.starts_with("penstock"))
        .collect();
    check_same("CONTRIBUTING.md, Dependencies", &declared, &explained);
}

// === Architecture ===

#[test]
fn libraries_stay_at_home() {
    check(sources().iter().flat_map(|(path, text)| {
        HOMES
            .iter()
            .filter(move |(library, homes)| text.contains(library) && !is_in(path, homes))
            .map(move |(library, _)| format!("{path}: names {library}"))
    }));
}

#[test]
fn the_centre_is_pure() {
    check(sources().iter().filter(|(path, _)| is_in(path, PURE)).flat_map(|(path, text)| {
        IMPURE
            .split(' ')
            .filter(move |word| text.contains(word))
            .map(move |word| format!("{path}: names {word}"))
    }));
}

#[test]
fn modules_begin_with_what_they_are_for() {
    check(
        sources()
            .iter()
            .filter(|(_, text)| !text.starts_with("//! "))
            .map(|(path, _)| format!("{path}: has no //!")),
    );
}

#[test]
fn files_have_one_subject() {
    check(sources().iter().filter_map(|(path, text)| {
        let lines = text.lines().count();
        let is_large = lines > FILE_LINES_MAX && !LARGE_FILES.contains(&path.as_str());
        is_large.then(|| format!("{path}: {lines} lines; split it, or list it and say why"))
    }));
}

#[test]
fn names_say_something() {
    let is_empty = |name: &str| {
        let allowed = ["RequestContext", "ResponseContext"];
        EMPTY_WORDS.split(' ').any(|word| name.ends_with(word)) && !allowed.contains(&name)
    };
    check(sources().iter().flat_map(|(path, text)| {
        text.lines().filter_map(move |line| {
            let mut words =
                line.split(' ').skip_while(|word| word.is_empty() || word.starts_with("pub"));
            let keyword = words.next()?;
            let name = words.next()?.split(|c: char| !c.is_alphanumeric()).next()?;
            let is_type = ["struct", "enum", "trait"].contains(&keyword);
            (is_type && is_empty(name)).then(|| format!("{path}: `{name}` says nothing"))
        })
    }));
}

#[test]
fn to_dos_have_an_issue() {
    check(sources().iter().flat_map(|(path, text)| {
        text.lines()
            .filter(|line| (line.contains("TODO") || line.contains("FIXME")) && !line.contains('#'))
            .map(move |line| format!("{path}: {}", line.trim()))
    }));
}

#[test]
fn nothing_names_a_registry_or_somebodys_machine() {
    let forbidden = FORBIDDEN.replace('|', "");
    let files = files();
    let ours = files.iter().filter(|(path, _)| !path.ends_with("Cargo.lock"));
    check(ours.flat_map(|(path, text)| {
        forbidden
            .split(' ')
            .filter(move |word| text.contains(word))
            .map(move |word| format!("{path}: names {word}"))
    }));
}

#[test]
fn both_dependency_checks_have_the_same_lists() {
    let deny = read("deny.toml");
    let script = read(".ci/dependencies");
    let words = |variable: &str| -> BTreeSet<String> {
        let line = script.lines().find_map(|line| line.strip_prefix(variable)).unwrap();
        line.trim_matches(['=', '\'']).split_whitespace().map(str::to_owned).collect()
    };
    let quoted = |lines: &str, opening: &str| -> BTreeSet<String> {
        lines
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix(opening)?.split_once('"'))
            .map(|(name, _)| name.to_owned())
            .collect()
    };
    let (_, rest) = deny.split_once("[licenses]").unwrap();
    let (licences, bans) = rest.split_once("[bans]").unwrap();
    check_same(".ci/dependencies, bans", &quoted(bans, "{ crate = \""), &words("banned"));
    check_same(".ci/dependencies, licences", &quoted(licences, "\""), &words("licences"));
}
