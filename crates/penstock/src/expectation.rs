//! Expectations about what requests meet: a unit test for configuration.
//! Nothing is sent.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use penstock_gateway::explain::{Explainer, Explanation, Outcome, Pass};
use penstock_manifest::diagnostic::{INVALID_VALUE, MISSING_FIELD};
use penstock_manifest::{Cursor, Diagnostic, Node, Position, Severity, Source, Value, yaml};
use serde_json::Value as Json;

const TEST_FIELDS: &[&str] = &["name", "request", "expect"];
const REQUEST_FIELDS: &[&str] = &["method", "url", "headers", "body", "json"];
const EXPECT_FIELDS: &[&str] =
    &["status", "code", "route", "service", "consumer", "provider", "model", "url", "headers"];

/// A table of tests.
pub struct Tests {
    root: Node,
    source: Source,
}

/// One test.
struct Test<'a> {
    name: String,
    request: Request<Bytes>,
    expect: Option<Cursor<'a>>,
}

/// How tests went.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// The names of the tests, and what differs from what was expected.
    tests: Vec<(String, Vec<String>)>,
}

impl Outcomes {
    /// Whether every test passed.
    pub fn is_ok(&self) -> bool {
        self.failed() == 0
    }

    fn failed(&self) -> usize {
        self.tests.iter().filter(|(_, mismatches)| !mismatches.is_empty()).count()
    }

    /// The lines of a test runner.
    pub fn text(&self) -> String {
        let mut text = format!("running {} tests\n", self.tests.len());
        // Writing to a String cannot fail.
        for (name, mismatches) in &self.tests {
            let result = if mismatches.is_empty() { "ok" } else { "FAILED" };
            let _ = writeln!(text, "test {name} ... {result}");
        }
        for (name, mismatches) in &self.tests {
            for mismatch in mismatches {
                let _ = writeln!(text, "\n{name}: {mismatch}");
            }
        }
        let failed = self.failed();
        let (result, passed) =
            (if failed == 0 { "ok" } else { "FAILED" }, self.tests.len() - failed);
        let _ = writeln!(text, "\ntest result: {result}. {passed} passed; {failed} failed");
        text
    }
}

impl Tests {
    /// Reads a table; `file` names it in findings. Any finding is a reason not
    /// to use it: an expectation that is misspelt would hold always.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        let source = Source { file: file.into(), document: 0, at: Position::new(1, 1) };
        let wrong = |code, at, message: String| vec![Diagnostic::at(code, &source, at, message)];
        let mut documents = yaml::parse(text).into_iter();
        let (Some(document), None) = (documents.next(), documents.next()) else {
            let message = "this is not one YAML document".to_owned();
            return Err(wrong(&INVALID_VALUE, source.at, message));
        };
        let root = match document.result {
            Ok(root) => root,
            Err(error) => return Err(wrong(error.kind.code(), error.at, error.to_string())),
        };
        let mut findings = Vec::new();
        read_tests(&Cursor::root(&root, &source), &mut findings);
        if findings.is_empty() { Ok(Self { root, source }) } else { Err(findings) }
    }

    /// Asks a configuration what each request would meet. Blocks.
    pub fn run(&self, explainer: &Explainer) -> std::io::Result<Outcomes> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let tests = read_tests(&Cursor::root(&self.root, &self.source), &mut Vec::new());
        let mut outcomes = Outcomes::default();
        for test in tests {
            let explanation = runtime.block_on(explainer.explain(&test.request));
            outcomes.tests.push((test.name.clone(), mismatches(&test, &explanation)));
        }
        Ok(outcomes)
    }
}

fn read_tests<'a>(root: &Cursor<'a>, diagnostics: &mut Vec<Diagnostic>) -> Vec<Test<'a>> {
    report_unknown(root, &["tests"], diagnostics);
    let Some(tests) = root.get("tests").filter(|tests| tests.node.as_list().is_some()) else {
        diagnostics.push(root.diagnostic(&MISSING_FIELD, "there is no list `tests`"));
        return Vec::new();
    };
    if tests.node.as_list().is_some_and(<[Node]>::is_empty) {
        diagnostics.push(tests.diagnostic(&MISSING_FIELD, "there are no tests"));
    }
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
        check_mapping(expect, diagnostics);
        expect.get("headers").iter().for_each(|headers| check_mapping(headers, diagnostics));
    }
    let body = match (request.get("json"), request.get("body")) {
        (Some(_), Some(body)) => {
            let message = "a request has either `json` or `body`";
            diagnostics.push(body.diagnostic(&INVALID_VALUE, message));
            return None;
        }
        (Some(json), None) => Some(json.node.to_json().to_string()),
        (None, Some(body)) => Some(body.text(diagnostics)?.to_owned()),
        (None, None) => None,
    };
    let mut headers = read_headers(&request, diagnostics);
    if request.get("json").is_some() && !headers.iter().any(|(name, _)| name == "content-type") {
        headers.push((http::header::CONTENT_TYPE, HeaderValue::from_static("application/json")));
    }
    let method = parsed(&request, "method", diagnostics);
    let default = if body.is_some() { Method::POST } else { Method::GET };
    let mut asked = Request::new(Bytes::from(body.unwrap_or_default()));
    *asked.method_mut() = method.unwrap_or(default);
    *asked.uri_mut() = url;
    asked.headers_mut().extend(headers);
    Some(Test { name, request: asked, expect })
}

/// What is no mapping would expect nothing.
fn check_mapping(cursor: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) {
    if cursor.node.as_map().is_none() {
        let message = format!("`{}` must be a mapping", cursor.path);
        diagnostics.push(cursor.diagnostic(&INVALID_VALUE, message));
    }
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
    check_mapping(&headers, diagnostics);
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
            let wanted = wanted(&expected);
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
    let mismatch = |name: &str, value: &Cursor<'_>| {
        let mut values = headers.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
        let actual = values.next().map(|(_, value)| value.clone());
        let wanted = wanted(value);
        let (shown, line) = (shown(actual.as_deref()), value.node.at.line);
        let expected = self::shown(wanted.as_deref());
        (actual != wanted)
            .then(|| format!("header {name} is {shown}, expected {expected} (line {line})"))
    };
    expected.entries().filter_map(|(entry, value)| mismatch(&entry.key, &value)).collect()
}

/// The text that is expected; none where nothing is.
fn wanted(expected: &Cursor<'_>) -> Option<String> {
    match &expected.node.value {
        Value::Null => None,
        _ => Some(plain(&expected.node.to_json())),
    }
}
