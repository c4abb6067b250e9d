//! The configuration of ai-statistics. An attribute that cannot be used is
//! left out alone: who only observes must not close a route.

use http::header::HeaderName;
use penstock_llm::json_path::JsonPath;
use penstock_manifest::diagnostic::{INVALID_VALUE, PLUGIN_FIELD_NOT_SUPPORTED};
use penstock_manifest::{Cursor, Diagnostic, Severity, Value};

use crate::access_log;

const FIELDS: &[&str] = &[
    "attributes",
    "use_default_attributes",
    "use_default_response_attributes",
    "value_length_limit",
    "disable_openai_usage",
    "enable_path_suffixes",
    "enable_content_types",
    "session_id_header",
];
const ATTRIBUTE_FIELDS: &[&str] = &[
    "key",
    "value_source",
    "value",
    "default_value",
    "rule",
    "apply_to_log",
    "apply_to_span",
    "trace_span_key",
    "as_separate_log_field",
];

/// Higress: ai-statistics/main.go — the manual says 4000.
const VALUE_BYTES_MAX: usize = 32_000;
/// With `use_default_attributes`.
const VALUE_BYTES_MAX_DEFAULT_ATTRIBUTES: usize = 10 << 20;
/// With `use_default_response_attributes`.
const VALUE_BYTES_MAX_RESPONSE_ATTRIBUTES: usize = 4_000;
const PATH_SUFFIXES_DEFAULT: [&str; 2] = ["/completions", "/messages"];

/// A configuration of ai-statistics.
pub(super) struct Config {
    pub(super) attributes: Vec<Attribute>,
    /// Longer values lose their middle.
    pub(super) value_bytes_max: usize,
    /// Whether tokens are neither logged nor counted.
    pub(super) ignores_usage: bool,
    /// The ends of the paths that are looked at; `None` for all.
    paths: Option<Vec<Box<str>>>,
    /// What the content type of an answer must contain; `None` for all.
    content_types: Option<Vec<Box<str>>>,
    /// The first header to look for a session id in.
    pub(super) session_header: Option<HeaderName>,
}

/// Something of a request or an answer that goes into the log.
pub(super) struct Attribute {
    pub(super) key: Box<str>,
    /// `None` for a built-in key, which knows where to look.
    pub(super) source: Option<Source>,
    pub(super) builtin: Option<Builtin>,
    pub(super) default_value: Option<Box<str>>,
    pub(super) rule: Option<Rule>,
    /// Whether it is a field of the line itself.
    pub(super) is_separate: bool,
}

/// Where an attribute comes from; a path is absent where only the paths of a
/// built-in key are tried.
pub(super) enum Source {
    Fixed(Box<str>),
    RequestHeader(HeaderName),
    ResponseHeader(HeaderName),
    RequestBody(Option<JsonPath>),
    ResponseBody(Option<JsonPath>),
    ResponseStream(Option<JsonPath>),
}

/// Which of a stream's values counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    First,
    Replace,
    Append,
}

/// The keys that need no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Builtin {
    Question,
    System,
    Answer,
    Reasoning,
    ToolCalls,
    ReasoningTokens,
    CachedTokens,
    InputTokenDetails,
    OutputTokenDetails,
}

/// The built-in keys.
const BUILTINS: [(&str, Builtin); 9] = [
    ("question", Builtin::Question),
    ("system", Builtin::System),
    ("answer", Builtin::Answer),
    ("reasoning", Builtin::Reasoning),
    ("tool_calls", Builtin::ToolCalls),
    ("reasoning_tokens", Builtin::ReasoningTokens),
    ("cached_tokens", Builtin::CachedTokens),
    ("input_token_details", Builtin::InputTokenDetails),
    ("output_token_details", Builtin::OutputTokenDetails),
];

impl Builtin {
    fn of(key: &str) -> Option<Self> {
        BUILTINS.iter().find(|(name, _)| *name == key).map(|(_, builtin)| *builtin)
    }

    /// Whether it is read from the request's body.
    pub(super) fn is_of_request(self) -> bool {
        matches!(self, Self::Question | Self::System)
    }
}

impl Config {
    /// Reads a configuration; `None` where it is none at all.
    pub(super) fn parse(config: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Self> {
        if config.node.as_map().is_none() {
            diagnostics.push(config.wrong_type("a mapping"));
            return None;
        }
        config.report_unknown_keys(FIELDS, diagnostics);
        let mut flag =
            |field: &str| config.get(field).and_then(|f| f.bool(diagnostics)).unwrap_or(false);
        let has_defaults = flag("use_default_attributes");
        let has_response_defaults = flag("use_default_response_attributes");
        let ignores_usage = flag("disable_openai_usage");
        let (attributes, value_bytes_max) = match (has_defaults, has_response_defaults) {
            (true, _) => (default_attributes(), VALUE_BYTES_MAX_DEFAULT_ATTRIBUTES),
            (false, true) => (token_attributes(), VALUE_BYTES_MAX_RESPONSE_ATTRIBUTES),
            (false, false) => (read_attributes(config, diagnostics), VALUE_BYTES_MAX),
        };
        let mut paths = texts(config, "enable_path_suffixes", diagnostics);
        if (has_defaults || has_response_defaults) && config.get("enable_path_suffixes").is_none() {
            paths = Some(PATH_SUFFIXES_DEFAULT.map(Into::into).into());
        }
        Some(Self {
            attributes,
            value_bytes_max: read_limit(config, diagnostics).unwrap_or(value_bytes_max),
            ignores_usage,
            paths,
            content_types: texts(config, "enable_content_types", diagnostics),
            session_header: config
                .get("session_id_header")
                .and_then(|cursor| header_name(&cursor, diagnostics)),
        })
    }

    /// Whether requests for a path without query are looked at.
    pub(super) fn has_path(&self, path: &str) -> bool {
        let ends = |suffixes: &Vec<Box<str>>| suffixes.iter().any(|s| path.ends_with(&**s));
        self.paths.as_ref().is_none_or(ends)
    }

    /// Whether answers of a content type are looked at.
    pub(super) fn has_content_type(&self, content_type: &str) -> bool {
        let contains = |types: &Vec<Box<str>>| types.iter().any(|t| content_type.contains(&**t));
        self.content_types.as_ref().is_none_or(contains)
    }

    /// Whether an attribute is read from the request's body.
    pub(super) fn wants_request_body(&self) -> bool {
        self.attributes.iter().any(|attribute| match &attribute.source {
            Some(source) => matches!(source, Source::RequestBody(_)),
            None => attribute.builtin.is_some_and(Builtin::is_of_request),
        })
    }
}

/// A list of text; `None` where it is absent, empty, or has `*` for all.
fn texts(
    config: &Cursor<'_>,
    field: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Vec<Box<str>>> {
    let list = config.get(field)?;
    if list.node.as_list().is_none() {
        diagnostics.push(list.wrong_type("a list of text"));
        return None;
    }
    let texts: Vec<Box<str>> =
        list.items().filter_map(|item| item.text(diagnostics)).map(Into::into).collect();
    let is_all = texts.is_empty() || texts.iter().any(|text| **text == *"*");
    (!is_all).then_some(texts)
}

fn read_limit(config: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<usize> {
    let cursor = config.get("value_length_limit")?;
    let limit = match cursor.node.value {
        Value::Int(number) => usize::try_from(number).ok(),
        _ => None,
    };
    if limit.is_none() {
        diagnostics.push(cursor.wrong_type("a number of bytes"));
    }
    limit
}

fn header_name(cursor: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<HeaderName> {
    let text = cursor.text(diagnostics)?;
    let name = HeaderName::from_bytes(text.as_bytes()).ok();
    if name.is_none() && !text.is_empty() {
        diagnostics.push(
            cursor.diagnostic(
                &INVALID_VALUE,
                format!("`{}` is not the name of a header", cursor.path),
            ),
        );
    }
    name
}

fn builtin(key: &str, rule: Option<Rule>) -> Attribute {
    Attribute {
        key: key.into(),
        source: None,
        builtin: Builtin::of(key),
        default_value: None,
        rule,
        is_separate: false,
    }
}

fn default_attributes() -> Vec<Attribute> {
    let mut attributes = vec![Attribute {
        source: Some(Source::RequestBody(JsonPath::parse("messages").ok())),
        ..builtin("messages", None)
    }];
    attributes.extend([
        builtin("question", None),
        builtin("system", None),
        builtin("answer", Some(Rule::Append)),
        builtin("reasoning", Some(Rule::Append)),
        builtin("tool_calls", None),
    ]);
    attributes.append(&mut token_attributes());
    attributes
}

fn token_attributes() -> Vec<Attribute> {
    ["reasoning_tokens", "cached_tokens", "input_token_details", "output_token_details"]
        .map(|key| builtin(key, None))
        .into()
}

fn read_attributes(config: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Vec<Attribute> {
    let Some(list) = config.get("attributes") else {
        return Vec::new();
    };
    if list.node.as_list().is_none() {
        diagnostics.push(list.wrong_type("a list"));
    }
    list.items().filter_map(|entry| read_attribute(&entry, diagnostics)).collect()
}

/// An attribute that goes into the log; `None` for others, and for those that
/// cannot be used.
fn read_attribute(entry: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Attribute> {
    if entry.node.as_map().is_none() {
        diagnostics.push(entry.wrong_type("a mapping"));
        return None;
    }
    entry.report_unknown_keys(ATTRIBUTE_FIELDS, diagnostics);
    let mut text = |field: &str| match entry.get(field) {
        Some(cursor) => cursor.text(diagnostics).map(|text| (text, Some(cursor))),
        None => Some(("", None)),
    };
    let (key, _) = text("key")?;
    let (default_value, _) = text("default_value")?;
    let (rule, rule_at) = text("rule")?;
    let mut flag = |field: &str| match entry.get(field) {
        Some(cursor) => cursor.bool(diagnostics),
        None => Some(false),
    };
    let (is_logged, in_span) = (flag("apply_to_log")?, flag("apply_to_span")?);
    let wants_separate = flag("as_separate_log_field")?;
    if key.is_empty() {
        diagnostics
            .push(entry.diagnostic(&INVALID_VALUE, format!("`{}` has no `key`", entry.path)));
        return None;
    }
    if in_span {
        diagnostics.push(entry.diagnostic(
            &PLUGIN_FIELD_NOT_SUPPORTED,
            format!("attribute `{key}` goes into no span: there are none yet"),
        ));
    }
    let rule = match rule {
        "" => None,
        "first" => Some(Rule::First),
        "replace" => Some(Rule::Replace),
        "append" => Some(Rule::Append),
        _ => {
            diagnostics.push(rule_at.as_ref().unwrap_or(entry).diagnostic(
                &INVALID_VALUE,
                "value of rule must be one of [nil, first, replace, append]",
            ));
            return None;
        }
    };
    let builtin = Builtin::of(key);
    let source = read_source(entry, (key, builtin, rule), diagnostics)?;
    let is_separate = wants_separate && is_free(entry, key, diagnostics);
    let default_value = Some(default_value).filter(|text| !text.is_empty()).map(Into::into);
    is_logged.then(|| Attribute {
        key: key.into(),
        source,
        builtin,
        default_value,
        rule,
        is_separate,
    })
}

/// Whether the line has no field of this name; else the attribute goes where
/// all others are.
fn is_free(entry: &Cursor<'_>, key: &str, diagnostics: &mut Vec<Diagnostic>) -> bool {
    let is_free = !access_log::FIELDS.contains(&key);
    if !is_free {
        diagnostics.push(
            entry
                .diagnostic(
                    &INVALID_VALUE,
                    format!("every line has a field `{key}`: the attribute stays in `ai_log`"),
                )
                .with_severity(Severity::Warning),
        );
    }
    is_free
}

/// The inner `None` for a built-in key that says no source.
#[expect(clippy::option_option, reason = "broken, absent and present are three things")]
fn read_source(
    entry: &Cursor<'_>,
    (key, builtin, rule): (&str, Option<Builtin>, Option<Rule>),
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Option<Source>> {
    let at = entry.get("value_source");
    let word = match &at {
        Some(cursor) => cursor.text(diagnostics)?,
        None => "",
    };
    let value = entry.get("value");
    let path = |diagnostics: &mut Vec<Diagnostic>| match &value {
        None => Some(None),
        Some(cursor) => match JsonPath::parse(cursor.text(diagnostics)?) {
            Ok(path) => Some(Some(path)),
            Err(reason) => {
                diagnostics.push(
                    cursor.diagnostic(&INVALID_VALUE, format!("attribute `{key}`: {reason}")),
                );
                None
            }
        },
    };
    let header = |diagnostics: &mut Vec<Diagnostic>| match &value {
        Some(cursor) => header_name(cursor, diagnostics),
        None => {
            diagnostics.push(
                entry.diagnostic(&INVALID_VALUE, format!("attribute `{key}` names no header")),
            );
            None
        }
    };
    let source = match word {
        "fixed_value" => match &value {
            Some(value) => Source::Fixed(value.text(diagnostics)?.into()),
            None => Source::Fixed("".into()),
        },
        "request_header" => Source::RequestHeader(header(diagnostics)?),
        "response_header" => Source::ResponseHeader(header(diagnostics)?),
        "request_body" => Source::RequestBody(path(diagnostics)?),
        "response_body" => Source::ResponseBody(path(diagnostics)?),
        "response_streaming_body" => {
            if rule.is_none() && builtin.is_none() {
                diagnostics.push(
                    entry
                        .diagnostic(
                            &INVALID_VALUE,
                            format!(
                                "attribute `{key}` has no `rule`: nothing is taken from streams"
                            ),
                        )
                        .with_severity(Severity::Warning)
                        .with_hint("write rule: first, replace or append"),
                );
            }
            Source::ResponseStream(path(diagnostics)?)
        }
        "" if builtin.is_some() => return Some(None),
        _ => {
            diagnostics.push(at.as_ref().unwrap_or(entry).diagnostic(
                &INVALID_VALUE,
                format!("attribute `{key}` has no `value_source` that is known"),
            ));
            return None;
        }
    };
    Some(Some(source))
}
