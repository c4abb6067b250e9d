//! Conditions on method, headers and query (Higress: annotations/match.go).

use crate::diagnostic::{Diagnostic, INVALID_ANNOTATION};
use crate::node::Cursor;

/// One condition of a route; all of a route's conditions must hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Condition {
    /// What is looked at.
    pub subject: Subject,
    /// How it is compared.
    pub matcher: Matcher,
}

/// What a [`Condition`] looks at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A header, by its name in lower case.
    Header(Box<str>),
    /// A pseudo-header without its colon: `authority`, `path`, `method`, …
    Pseudo(Box<str>),
    /// A query parameter.
    Query(Box<str>),
}

/// How a [`Condition`] compares.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Matcher {
    /// The whole value.
    Exact(Box<str>),
    /// The beginning of the value.
    Prefix(Box<str>),
    /// A regular expression over the whole value.
    Regex(Box<str>),
    /// Any value, also an empty one.
    Present,
}

const METHODS: &[&str] =
    &["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// The methods of `match-method`, each once; unknown ones are reported.
pub(super) fn parse_methods(
    text: &str,
    value: &Cursor<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Box<str>> {
    let mut methods: Vec<Box<str>> = Vec::new();
    for word in text.split_whitespace() {
        let method = word.to_ascii_uppercase();
        if !METHODS.contains(&method.as_str()) {
            diagnostics.push(value.diagnostic(
                &INVALID_ANNOTATION,
                format!("`{word}` is not a method that can be matched"),
            ));
        } else if !methods.iter().any(|known| **known == *method) {
            methods.push(method.into());
        }
    }
    methods
}

/// The condition of an `exact-`, `prefix-` or `regex-match-…-NAME` key.
pub(super) fn parse_condition(
    key: &str,
    text: &str,
    value: &Cursor<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Condition> {
    let (kind, rest) = key.split_once("-match-")?;
    let subject = if let Some(name) = rest.strip_prefix("pseudo-header-") {
        Subject::Pseudo(name.into())
    } else if let Some(name) = rest.strip_prefix("header-") {
        Subject::Header(name.to_ascii_lowercase().into())
    } else {
        Subject::Query(rest.strip_prefix("query-")?.into())
    };
    let matcher = match kind {
        "exact" => Matcher::Exact(text.into()),
        "prefix" => Matcher::Prefix(text.into()),
        "regex" if text == "*" => Matcher::Present,
        "regex" => Matcher::Regex(text.into()),
        _ => return None,
    };
    if let Matcher::Regex(pattern) = &matcher
        && pattern.is_empty()
    {
        diagnostics
            .push(value.diagnostic(&INVALID_ANNOTATION, format!("`{}` is empty", value.path)));
        return None;
    }
    Some(Condition { subject, matcher })
}
