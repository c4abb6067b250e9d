//! Findings as text for people, as JSON, as SARIF and as GitHub annotations.
//!
//! Pure: findings in, text out, in the order they come in.
//!
//! Invariant: nothing that a manifest says reaches a terminal or a workflow
//! as a control sequence.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;

use penstock_manifest::diagnostic::{CODES, Code};
use penstock_manifest::{Diagnostic, Severity};
use serde::Serialize;

/// Lines as a compiler prints them: place, severity, code and message; then
/// the key path and the fix, indented.
pub fn text(findings: &[Diagnostic]) -> String {
    findings.iter().fold(String::new(), |mut out, finding| {
        line(&mut out, finding, 0);
        out
    })
}

/// How many different findings a digest shows.
const DIGEST_MAX: usize = 20;

/// The same for who did not ask for findings: errors first, what is said at
/// many places once, and not more than a screen.
pub fn digest(findings: &[Diagnostic]) -> String {
    let mut groups: Vec<(&Diagnostic, usize)> = Vec::new();
    let mut known: HashMap<(&str, &str), usize> = HashMap::new();
    for finding in findings {
        let group = known.entry((finding.code.id, &*finding.message)).or_insert(groups.len());
        match groups.get_mut(*group) {
            Some((_, others)) => *others += 1,
            None => groups.push((finding, 0)),
        }
    }
    groups.sort_by_key(|(finding, _)| std::cmp::Reverse(finding.severity));
    let mut out = String::new();
    for (finding, others) in groups.iter().take(DIGEST_MAX) {
        line(&mut out, finding, *others);
    }
    if let Some(left) = groups.len().checked_sub(DIGEST_MAX).filter(|left| *left > 0) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(out, "… and {left} more");
    }
    out
}

/// One finding; `others` is how many more say the same.
fn line(out: &mut String, finding: &Diagnostic, others: usize) {
    out.push_str(&printable(&finding.file));
    // Writing to a `String` cannot fail.
    if finding.line > 0 {
        let _ = write!(out, ":{}:{}", finding.line, finding.column);
    }
    let (severity, code) = (finding.severity, finding.code.id);
    let _ = write!(out, ": {severity}[{code}]: {}", printable(&finding.message));
    out.push_str(&match others {
        0 => "\n".to_owned(),
        others => format!(" (and at {others} more places)\n"),
    });
    if !finding.path.is_empty() {
        let _ = writeln!(out, "  at: {}", printable(&finding.path));
    }
    if let Some(hint) = &finding.hint {
        let _ = writeln!(out, "  hint: {}", printable(hint));
    }
}

/// A text with its control characters written out.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c.is_control() {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// `{"diagnostics": […]}`, one object a finding; `hint` is `null` where there
/// is none, `line` and `column` are 0 where nothing stands in a file.
pub fn json(findings: &[Diagnostic]) -> String {
    #[derive(Serialize)]
    struct Report<'f> {
        diagnostics: Vec<Finding<'f>>,
    }
    #[derive(Serialize)]
    struct Finding<'f> {
        code: &'f str,
        severity: &'f str,
        file: &'f str,
        line: u32,
        column: u32,
        path: &'f str,
        message: &'f str,
        hint: Option<&'f str>,
    }
    let diagnostics = findings
        .iter()
        .map(|finding| Finding {
            code: finding.code.id,
            severity: finding.severity.as_str(),
            file: &finding.file,
            line: finding.line,
            column: finding.column,
            path: &finding.path,
            message: &finding.message,
            hint: finding.hint.as_deref(),
        })
        .collect();
    to_lines(&Report { diagnostics })
}

/// SARIF 2.1.0: one run, the codes that occur as its rules.
pub fn sarif(findings: &[Diagnostic]) -> String {
    let occurs = |code: &Code| findings.iter().any(|finding| finding.code == code);
    let codes: Vec<&Code> = CODES.iter().copied().filter(|code| occurs(code)).collect();
    let rules: Vec<sarif::Rule<'_>> = codes.iter().map(|code| sarif::Rule::of(code)).collect();
    let results = findings
        .iter()
        .map(|finding| sarif::Result::of(finding, codes.iter().position(|c| *c == finding.code)))
        .collect();
    to_lines(&sarif::Log {
        schema: "https://json.schemastore.org/sarif-2.1.0.json",
        version: "2.1.0",
        runs: [sarif::Run {
            tool: sarif::Tool {
                driver: sarif::Driver {
                    name: "penstock",
                    semantic_version: env!("CARGO_PKG_VERSION"),
                    rules,
                },
            },
            column_kind: "unicodeCodePoints",
            results,
        }],
    })
}

/// Commands that a GitHub workflow turns into annotations.
pub fn github(findings: &[Diagnostic]) -> String {
    let mut out = String::new();
    for finding in findings {
        let command = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "notice",
        };
        let _ = write!(out, "::{command} file={}", property(&finding.file));
        if finding.line > 0 {
            let _ = write!(out, ",line={}", finding.line);
        }
        if finding.column > 0 {
            let _ = write!(out, ",col={}", finding.column);
        }
        let message = data(&with_hint(finding));
        let _ = writeln!(out, ",title={}::{message}", property(finding.code.id));
    }
    out
}

/// Escapes the message of a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// The message, and the fix on a line of its own.
fn with_hint(finding: &Diagnostic) -> String {
    match &finding.hint {
        Some(hint) => format!("{}\nhint: {hint}", finding.message),
        None => finding.message.clone(),
    }
}

/// Indented JSON that ends with a line break.
fn to_lines(value: &impl Serialize) -> String {
    // Texts and numbers alone: there is nothing that could not be written.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

/// The part of SARIF 2.1.0 that findings need, under its own names.
mod sarif {
    use penstock_manifest::diagnostic::Code;
    use penstock_manifest::{Diagnostic, Severity};
    use serde::Serialize;

    #[derive(Serialize)]
    pub(super) struct Log<'f> {
        #[serde(rename = "$schema")]
        pub(super) schema: &'static str,
        pub(super) version: &'static str,
        pub(super) runs: [Run<'f>; 1],
    }

    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Run<'f> {
        pub(super) tool: Tool<'f>,
        pub(super) column_kind: &'static str,
        pub(super) results: Vec<Result<'f>>,
    }

    #[derive(Serialize)]
    pub(super) struct Tool<'f> {
        pub(super) driver: Driver<'f>,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Driver<'f> {
        pub(super) name: &'static str,
        pub(super) semantic_version: &'static str,
        pub(super) rules: Vec<Rule<'f>>,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Rule<'f> {
        id: &'f str,
        short_description: Message<'f>,
        help: Message<'f>,
        default_configuration: Configuration,
    }

    impl<'f> Rule<'f> {
        pub(super) fn of(code: &'f Code) -> Self {
            Self {
                id: code.id,
                short_description: Message { text: code.title.into() },
                help: Message { text: code.help.into() },
                default_configuration: Configuration { level: level(code.severity) },
            }
        }
    }

    #[derive(Serialize)]
    struct Configuration {
        level: &'static str,
    }

    #[derive(Serialize)]
    struct Message<'f> {
        text: std::borrow::Cow<'f, str>,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Result<'f> {
        rule_id: &'f str,
        #[serde(skip_serializing_if = "Option::is_none")]
        rule_index: Option<usize>,
        level: &'static str,
        message: Message<'f>,
        locations: [Location<'f>; 1],
    }

    impl<'f> Result<'f> {
        pub(super) fn of(finding: &'f Diagnostic, rule_index: Option<usize>) -> Self {
            let region = (finding.line > 0).then_some(Region {
                start_line: finding.line,
                start_column: (finding.column > 0).then_some(finding.column),
            });
            let path = finding.path.as_str();
            Self {
                rule_id: finding.code.id,
                rule_index,
                level: level(finding.severity),
                message: Message { text: super::with_hint(finding).into() },
                locations: [Location {
                    physical_location: PhysicalLocation {
                        artifact_location: ArtifactLocation { uri: uri(&finding.file) },
                        region,
                    },
                    logical_locations: (!path.is_empty())
                        .then_some([LogicalLocation { fully_qualified_name: path }]),
                }],
            }
        }
    }

    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Location<'f> {
        physical_location: PhysicalLocation,
        #[serde(skip_serializing_if = "Option::is_none")]
        logical_locations: Option<[LogicalLocation<'f>; 1]>,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct PhysicalLocation {
        artifact_location: ArtifactLocation,
        #[serde(skip_serializing_if = "Option::is_none")]
        region: Option<Region>,
    }

    #[derive(Serialize)]
    struct ArtifactLocation {
        uri: String,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Region {
        start_line: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        start_column: Option<u32>,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct LogicalLocation<'f> {
        fully_qualified_name: &'f str,
    }

    fn level(severity: Severity) -> &'static str {
        match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "note",
        }
    }

    /// A path as a URI reference (RFC 3986, section 4.1).
    fn uri(path: &str) -> String {
        let mut uri = String::with_capacity(path.len());
        for byte in path.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => uri.push(char::from(byte)),
                b'-' | b'.' | b'_' | b'~' | b'/' => uri.push(char::from(byte)),
                _ => uri.push_str(&format!("%{byte:02X}")),
            }
        }
        uri
    }
}

#[cfg(test)]
mod tests;
