//! Ingresses that take a part of another one's requests
//! (Higress: annotations/canary.go).

use super::table::{Family, Key};
use super::view::{Annotations, is_token, parse_int};

const ENABLE: Key = Key::of("canary");
const COOKIE: Key = Key::of("canary-by-cookie");
const HEADER: Key = Key::of("canary-by-header");
const HEADER_PATTERN: Key = Key::of("canary-by-header-pattern");
const HEADER_VALUE: Key = Key::of("canary-by-header-value");
const WEIGHT: Key = Key::of("canary-weight");
const WEIGHT_TOTAL: Key = Key::of("canary-weight-total");

const WEIGHT_TOTAL_DEFAULT: u32 = 100;

/// An Ingress with `canary: "true"`, which is no route of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    /// Which requests it takes.
    pub by: CanaryBy,
}

/// Which requests a canary takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CanaryBy {
    /// Those with a header.
    Header {
        /// The name in lower case. Higress: `canary-by-header`.
        name: Box<str>,
        /// What the header says.
        value: CanaryValue,
    },
    /// Those with this cookie at `always`. Higress: `canary-by-cookie`.
    Cookie(Box<str>),
    /// A share of all.
    Weight {
        /// The share. Default 0. Higress: `canary-weight`.
        weight: u32,
        /// What it is a share of, at least 1. Default 100. The total of the
        /// other Ingress' destination annotation wins.
        /// Higress: `canary-weight-total`.
        total: u32,
    },
}

/// What the header of a canary says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CanaryValue {
    /// `always`.
    Always,
    /// This regular expression over the whole header: `always|VALUE` for
    /// `canary-by-header-value: VALUE`.
    Value(Box<str>),
    /// This regular expression over the whole header: `.*PATTERN.*` for
    /// `canary-by-header-pattern: PATTERN`.
    Pattern(Box<str>),
}

pub(super) fn parse(annotations: &mut Annotations<'_, '_>) -> Option<Box<Canary>> {
    if annotations.flag(ENABLE) != Some(true) {
        if annotations.has(ENABLE) {
            annotations.pass_over(Family::Canary);
        }
        return None;
    }
    let header = annotations.read(HEADER, "the name of a header", |text| {
        is_token(text).then(|| Box::from(text.to_ascii_lowercase()))
    });
    let value = header_value(annotations);
    let by = match (header, value) {
        (Some(name), value) => {
            CanaryBy::Header { name, value: value.unwrap_or(CanaryValue::Always) }
        }
        // Higress: canary.go — without a header's name the canary gets weight
        // 0, whatever the cookie and the weight say.
        (None, Some(_)) => {
            for key in [HEADER_VALUE, HEADER_PATTERN] {
                for written in annotations.forms(key).into_iter().flatten().take(1) {
                    annotations.complain(
                        &written,
                        "without `canary-by-header` the canary takes no requests",
                    );
                }
            }
            CanaryBy::Weight { weight: 0, total: WEIGHT_TOTAL_DEFAULT }
        }
        (None, None) => by_cookie_or_weight(annotations),
    };
    Some(Box::new(Canary { by }))
}

fn header_value(annotations: &mut Annotations<'_, '_>) -> Option<CanaryValue> {
    if let Some((_, text)) = annotations.text(HEADER_VALUE) {
        return Some(CanaryValue::Value(format!("always|{text}").into()));
    }
    let (_, text) = annotations.text(HEADER_PATTERN)?;
    Some(CanaryValue::Pattern(format!(".*{text}.*").into()))
}

fn by_cookie_or_weight(annotations: &mut Annotations<'_, '_>) -> CanaryBy {
    let cookie = annotations
        .read(COOKIE, "the name of a cookie", |text| is_token(text).then(|| text.into()));
    if let Some(name) = cookie {
        return CanaryBy::Cookie(name);
    }
    let total = annotations.read(WEIGHT_TOTAL, "a whole number from 1 on", |text| {
        parse_int(text).filter(|total| *total > 0)
    });
    CanaryBy::Weight {
        weight: annotations.int(WEIGHT).unwrap_or_default(),
        total: total.unwrap_or(WEIGHT_TOTAL_DEFAULT),
    }
}
