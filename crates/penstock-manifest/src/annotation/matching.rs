//! Conditions on method, headers and query (Higress: annotations/match.go).

use super::table::Family;
use super::view::{Annotations, Written};
use crate::diagnostic::{MATCH_REPEATED, UNKNOWN_ANNOTATION};

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
    /// A pseudo-header without its colon, in lower case: `authority`, `method`,
    /// `path` or `scheme`; any other is never there.
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

const PSEUDO_HEADERS: [&str; 4] = ["authority", "method", "path", "scheme"];

const METHODS: &[&str] =
    &["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// The methods, empty for all, and the sorted conditions.
pub(super) fn parse(annotations: &mut Annotations<'_, '_>) -> (Vec<Box<str>>, Vec<Condition>) {
    let mut methods = Vec::new();
    let mut conditions: Vec<(Condition, Written<'_>)> = Vec::new();
    for written in annotations.of_family(Family::Match) {
        match written.name {
            "match-method" => methods = parse_methods(&written, annotations),
            _ => {
                let condition = parse_condition(&written, annotations);
                conditions.extend(condition.map(|condition| (condition, written)));
            }
        }
    }
    conditions.sort_by(|(a, _), (b, _)| a.cmp(b));
    for pair in conditions.windows(2) {
        if let [(first, _), (second, written)] = pair
            && first.subject == second.subject
        {
            let message = format!("`{}` is not the only condition on its name", written.name);
            let repeated = annotations.cursor(written).diagnostic(&MATCH_REPEATED, message);
            annotations.diagnostics.push(repeated);
        }
    }
    (methods, conditions.into_iter().map(|(condition, _)| condition).collect())
}

/// The methods of `match-method`, each once; unknown ones are reported.
fn parse_methods<'a>(
    written: &Written<'a>,
    annotations: &mut Annotations<'a, '_>,
) -> Vec<Box<str>> {
    let words = written.raw().split_whitespace();
    if words.clone().next().is_none() {
        annotations.must_be(written, "a list of methods");
    }
    let expected = "a method that can be matched";
    let known = annotations.keep(written, words, expected, |word| {
        METHODS.iter().find(|method| method.eq_ignore_ascii_case(word)).copied()
    });
    let mut methods: Vec<Box<str>> = Vec::new();
    for method in known {
        if !methods.iter().any(|known| **known == *method) {
            methods.push(method.into());
        }
    }
    methods
}

/// The condition of an `exact-`, `prefix-` or `regex-match-…-NAME` key.
fn parse_condition<'a>(
    written: &Written<'a>,
    annotations: &mut Annotations<'a, '_>,
) -> Option<Condition> {
    // Higress: annotations/match.go — unlike other texts it is not trimmed.
    let text = written.raw();
    let (kind, rest) = written.name.split_once("-match-")?;
    let subject = if let Some(name) = rest.strip_prefix("pseudo-header-") {
        let name = name.to_ascii_lowercase();
        if !PSEUDO_HEADERS.contains(&name.as_str()) {
            let known = PSEUDO_HEADERS.map(|name| format!("`{name}`")).join(", ");
            let message = "there is no such pseudo-header: the condition never holds";
            let unknown = annotations.cursor(written).diagnostic(&UNKNOWN_ANNOTATION, message);
            annotations
                .diagnostics
                .push(unknown.with_hint(format!("those of requests are {known}")));
        }
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
    if matches!(&matcher, Matcher::Regex(pattern) if pattern.is_empty()) {
        annotations.must_be(written, "a regular expression that is not empty");
        return None;
    }
    Some(Condition { subject, matcher })
}
