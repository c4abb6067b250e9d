//! Conditions on method, headers and query (Higress: annotations/match.go).

use super::table::Family;
use super::view::{Annotations, Written};

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

/// The methods, empty for all, and the sorted conditions.
pub(super) fn parse(annotations: &mut Annotations<'_, '_>) -> (Vec<Box<str>>, Vec<Condition>) {
    let mut methods = Vec::new();
    let mut conditions = Vec::new();
    for written in annotations.of_family(Family::Match) {
        match written.name {
            "match-method" => methods = parse_methods(&written, annotations),
            _ => conditions.extend(parse_condition(&written, annotations)),
        }
    }
    conditions.sort();
    (methods, conditions)
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
