//! `higress.io/destination` (Higress: annotations/destination.go).

use crate::diagnostic::{DESTINATION_INVALID, Diagnostic};
use crate::node::Cursor;

/// One line of the annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The weight as written, 100 where none is.
    pub weight: u32,
    /// The service host in lower case.
    pub host: Box<str>,
    /// The port, where one is written.
    pub port: Option<u16>,
    /// The scheme of `http://` or `https://`, where one is written.
    pub is_tls: Option<bool>,
    /// The endpoint subset, where one is written.
    pub subset: Option<Box<str>>,
}

/// Reads `[WEIGHT%] HOST[:PORT] [SUBSET]` lines. As in Higress, one line that
/// cannot be read costs the whole annotation: the result is empty then.
pub fn parse_destinations(
    text: &str,
    value: &Cursor<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Destination> {
    let mut destinations = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some(first) = words.next() else {
            continue;
        };
        match parse_line(first, &mut words) {
            Some(destination) => destinations.push(destination),
            None => {
                diagnostics.push(
                    value
                        .diagnostic(
                            &DESTINATION_INVALID,
                            format!("`{}` is not a destination", line.trim()),
                        )
                        .with_hint("write `[WEIGHT%] HOST[:PORT]`, one destination a line"),
                );
                return Vec::new();
            }
        }
    }
    if destinations.is_empty() {
        diagnostics.push(value.diagnostic(&DESTINATION_INVALID, "the destination is empty"));
    }
    destinations
}

fn parse_line<'a>(
    first: &'a str,
    words: &mut impl Iterator<Item = &'a str>,
) -> Option<Destination> {
    let (weight, address) = match first.strip_suffix('%') {
        Some(weight) => (weight.parse().ok()?, words.next()?),
        None => (100, first),
    };
    let (is_tls, address) = match address.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Some(false), rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Some(true), rest),
        _ => (None, address),
    };
    let port_of = |text: &str| text.parse::<u16>().ok().filter(|port| *port != 0);
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) => match port_of(port) {
            Some(port) => (host, Some(port)),
            None => (address, None),
        },
        None => (address, None),
    };
    Some(Destination {
        weight,
        host: host.to_ascii_lowercase().into(),
        port,
        is_tls,
        subset: words.next().map(Into::into),
    })
}
