//! `penstock test`: requests with expectations, a unit test for
//! configuration. Nothing is sent.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use penstock_gateway::explain::{Explanation, Outcome, Pass};
use penstock_manifest::diagnostic::{INVALID_VALUE, MISSING_FIELD};
use penstock_manifest::{Cursor, Diagnostic, Position, Severity, Source, Value, yaml};
use serde_json::Value as Json;

use crate::cli::explain::{explainer, request};
use crate::exit_code::ExitCode;

/// The command line of `test`.
#[derive(Args)]
pub struct Arguments {
    /// The file with the tests
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The directory with the manifests
    #[arg(long, value_name = "SOURCE")]
    config: String,
    /// Only Ingresses of this class count
    #[arg(long, value_name = "NAME")]
    ingress_class: Option<String>,
}

const TEST_FIELDS: &[&str] = &["name", "request", "expect"];
const REQUEST_FIELDS: &[&str] = &["method", "url", "headers", "body", "json"];
const EXPECT_FIELDS: &[&str] =
    &["status", "code", "route", "service", "consumer", "provider", "model", "url", "headers"];

/// One test.
struct Test<'a> {
    name: String,
    method: Option<Method>,
    url: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<String>,
    expect: Option<Cursor<'a>>,
}

/// `penstock test`.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let shown = arguments.file.display().to_string();
    let text = std::fs::read_to_string(&arguments.file)
        .with_context(|| format!("cannot read `{shown}`"))?;
    let source = Source { file: shown.as_str().into(), document: 0, at: Position::new(1, 1) };
    let mut documents = yaml::parse(&text).into_iter();
    let (Some(document), None) = (documents.next(), documents.next()) else {
        bail!("`{shown}` is not one YAML document");
    };
    let root = document.result.map_err(|error| {
        anyhow::anyhow!("{shown}:{}:{}: {error}", error.at.line, error.at.column)
    })?;
    let mut diagnostics = Vec::new();
    let tests = read_tests(&Cursor::root(&root, &source), &mut diagnostics);
    if !diagnostics.is_empty() {
        for diagnostic in &diagnostics {
            eprintln!("{diagnostic}");
        }
        bail!("`{shown}` cannot be used");
    }
    let explainer = explainer(&arguments.config, arguments.ingress_class.clone())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let mut failures = Vec::new();
    let mut out = std::io::stdout().lock();
    writeln!(out, "running {} tests", tests.len())?;
    for test in &tests {
        let explanation = runtime.block_on(explainer.explain(&asked(test)?));
        let mismatches = mismatches(test, &explanation);
        writeln!(
            out,
            "test {} ... {}",
            test.name,
            if mismatches.is_empty() { "ok" } else { "FAILED" }
        )?;
        failures.extend(mismatches.into_iter().map(|mismatch| (test.name.as_str(), mismatch)));
    }
    for (name, mismatch) in &failures {
        writeln!(out, "\n{name}: {mismatch}")?;
    }
    let mut failed: Vec<&str> = failures.iter().map(|(name, _)| *name).collect();
    failed.dedup();
    let result = if failed.is_empty() { "ok" } else { "FAILED" };
    let passed = tests.len() - failed.len();
    writeln!(out, "\ntest result: {result}. {passed} passed; {} failed", failed.len())?;
    Ok(if failed.is_empty() { ExitCode::Success } else { ExitCode::Failure })
}

/// The request of a test. A body that begins with `@` is a body here, not a
/// file.
fn asked(test: &Test<'_>) -> anyhow::Result<Request<Bytes>> {
    let mut asked = request(test.method.clone(), test.url.clone(), test.headers.clone(), None)?;
    if let Some(body) = &test.body {
        *asked.body_mut() = body.clone().into();
        if test.method.is_none() {
            *asked.method_mut() = Method::POST;
        }
    }
    Ok(asked)
}

fn read_tests<'a>(root: &Cursor<'a>, diagnostics: &mut Vec<Diagnostic>) -> Vec<Test<'a>> {
    report_unknown(root, &["tests"], diagnostics);
    let Some(tests) = root.get("tests").filter(|tests| tests.node.as_list().is_some()) else {
        diagnostics.push(root.diagnostic(&MISSING_FIELD, "there is no list `tests`"));
        return Vec::new();
    };
    tests
        .items()
        .enumerate()
        .filter_map(|(index, test)| read_test(index, &test, diagnostics))
        .collect()
}

/// An expectation that is misspelt would hold always, so unknown fields are
/// errors here.
fn report_unknown(cursor: &Cursor<'_>, known: &[&str], diagnostics: &mut Vec<Diagnostic>) {
    let before = diagnostics.len();
    cursor.report_unknown_keys(known, diagnostics);
    for diagnostic in diagnostics.iter_mut().skip(before) {
        diagnostic.severity = Severity::Error;
    }
}

fn read_test<'a>(
    index: usize,
    test: &Cursor<'a>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Test<'a>> {
    report_unknown(test, TEST_FIELDS, diagnostics);
    let name = match test.get("name") {
        Some(name) => name.text(diagnostics)?.to_owned(),
        None => format!("number {}", index + 1),
    };
    let Some(request) = test.get("request") else {
        diagnostics
            .push(test.diagnostic(&MISSING_FIELD, format!("test `{name}` has no `request`")));
        return None;
    };
    report_unknown(&request, REQUEST_FIELDS, diagnostics);
    let url = parsed(&request, "url", diagnostics);
    let Some(url) = url.filter(|url: &Uri| url.authority().is_some()) else {
        diagnostics.push(
            request.diagnostic(&INVALID_VALUE, format!("test `{name}` has no `url` with a host")),
        );
        return None;
    };
    let expect = test.get("expect");
    if let Some(expect) = &expect {
        report_unknown(expect, EXPECT_FIELDS, diagnostics);
    }
    let body = match (request.get("json"), request.get("body")) {
        (Some(json), _) => Some(json.node.to_json().to_string()),
        (None, Some(body)) => Some(body.text(diagnostics)?.to_owned()),
        (None, None) => None,
    };
    let mut headers = read_headers(&request, diagnostics);
    if request.get("json").is_some() && !headers.iter().any(|(name, _)| name == "content-type") {
        headers.push((http::header::CONTENT_TYPE, HeaderValue::from_static("application/json")));
    }
    let method = parsed(&request, "method", diagnostics);
    Some(Test { name, method, url, headers, body, expect })
}

fn parsed<T: std::str::FromStr>(
    cursor: &Cursor<'_>,
    key: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<T> {
    let value = cursor.get(key)?;
    let parsed = value.text(diagnostics)?.parse().ok();
    if parsed.is_none() {
        diagnostics
            .push(value.diagnostic(&INVALID_VALUE, format!("`{}` cannot be used", value.path)));
    }
    parsed
}

fn read_headers(
    request: &Cursor<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<(HeaderName, HeaderValue)> {
    let Some(headers) = request.get("headers") else {
        return Vec::new();
    };
    headers
        .entries()
        .filter_map(|(entry, value)| {
            let text = value.text(diagnostics)?;
            let header = entry.key.parse().ok().zip(HeaderValue::from_str(text).ok());
            if header.is_none() {
                diagnostics.push(
                    value.diagnostic(&INVALID_VALUE, format!("`{}` is not a header", value.path)),
                );
            }
            header
        })
        .collect()
}

/// What differs from what was expected, for every way the request may take.
fn mismatches(test: &Test<'_>, explanation: &Explanation) -> Vec<String> {
    let Some(expect) = &test.expect else {
        return Vec::new();
    };
    let mut mismatches = Vec::new();
    for pass in &explanation.passes {
        for (entry, expected) in expect.entries() {
            let line = expected.node.at.line;
            if &*entry.key == "headers" {
                mismatches.extend(header_mismatches(&expected, pass));
                continue;
            }
            let actual = actual(&entry.key, pass);
            let wanted = match &expected.node.value {
                Value::Null => None,
                _ => Some(plain(&expected.node.to_json())),
            };
            if actual != wanted {
                mismatches.push(format!(
                    "{} is {}, expected {} (line {line})",
                    entry.key,
                    shown(actual.as_deref()),
                    shown(wanted.as_deref())
                ));
            }
        }
    }
    mismatches.dedup();
    mismatches
}

fn plain(json: &Json) -> String {
    json.as_str().map_or_else(|| json.to_string(), str::to_owned)
}

fn shown(text: Option<&str>) -> String {
    text.map_or("nothing".to_owned(), |text| format!("`{text}`"))
}

/// What a pass has under the name of an expectation. The status of a request
/// that is sent on is `upstream`: nobody has answered it.
fn actual(key: &str, pass: &Pass) -> Option<String> {
    match (key, &pass.outcome) {
        ("status", Outcome::Reply { status, .. }) => Some(status.to_string()),
        ("status", Outcome::Upstream(_)) => Some("upstream".to_owned()),
        ("code", Outcome::Reply { code, .. }) => Some((*code).to_owned()),
        ("url", Outcome::Upstream(upstream)) => Some(upstream.url.clone()),
        ("model", Outcome::Upstream(upstream)) => upstream.model.clone(),
        ("route", _) => pass.route.clone(),
        ("service", _) => pass.service.clone(),
        ("consumer", _) => pass.consumer.clone(),
        ("provider", _) => pass.provider.clone(),
        _ => None,
    }
}

fn header_mismatches(expected: &Cursor<'_>, pass: &Pass) -> Vec<String> {
    let headers = match &pass.outcome {
        Outcome::Reply { headers, .. } => headers,
        Outcome::Upstream(upstream) => &upstream.headers,
    };
    expected
        .entries()
        .filter_map(|(entry, value)| {
            let mut values =
                headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(&entry.key));
            let actual = values.next().map(|(_, value)| value.as_str());
            let wanted = value.node.as_str();
            (actual != wanted).then(|| {
                format!(
                    "header {} is {}, expected {} (line {})",
                    entry.key,
                    shown(actual),
                    shown(wanted),
                    value.node.at.line
                )
            })
        })
        .collect()
}
