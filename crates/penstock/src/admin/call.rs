//! One request to the API, as far as handlers see it.

use std::net::SocketAddr;

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::target::{Failure, FailureKind};

/// One request to the API.
pub struct Call {
    /// The segment of the path that varies, decoded.
    pub segment: Option<String>,
    /// The parameters of the query, decoded.
    pub query: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// Whether the body is YAML rather than JSON.
    pub is_yaml: bool,
    /// Who asks.
    pub client: SocketAddr,
    /// Whether whoever asks has the token.
    pub has_token: bool,
}

/// A failure of the request itself.
pub fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Invalid, message)
}

impl Call {
    /// The body, read as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let is_object = self.body.trim_ascii_start().starts_with(b"{");
        if !is_object && serde_json::from_slice::<IgnoredAny>(&self.body).is_ok() {
            return Err(invalid("the body must be a JSON object"));
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            invalid(format!("the body cannot be used: {}", without_texts(&error.to_string())))
        })
    }

    /// Refuses parameters of the query that have no meaning here.
    pub fn allow(&self, known: &[&str]) -> Result<(), Failure> {
        match self.query.iter().find(|(name, _)| !known.contains(&&**name)) {
            None => Ok(()),
            Some((name, _)) if known.is_empty() => {
                Err(invalid(format!("unknown parameter `{name}`: there are none here")))
            }
            Some((name, _)) => Err(invalid(format!(
                "unknown parameter `{name}`, expected one of `{}`",
                known.join("`, `")
            ))),
        }
    }

    /// The last value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().rev().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// A parameter that is a number.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        self.parameter(name)
            .map(|value| {
                value.parse().map_err(|_| invalid(format!("the parameter `{name}` is no number")))
            })
            .transpose()
    }

    /// A parameter that is `true` or `false`; without a value, `true`.
    pub fn flag(&self, name: &str) -> Result<bool, Failure> {
        match self.parameter(name) {
            None | Some("false") => Ok(false),
            Some("" | "true") => Ok(true),
            Some(_) => Err(invalid(format!("the parameter `{name}` is neither true nor false"))),
        }
    }
}

/// The parameters of a query.
pub fn query(text: &str) -> Vec<(String, String)> {
    let decoded = |text: &str| decoded(&text.replace('+', " "));
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

/// A text without its percent signs.
pub fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// What a JSON reader says, without the texts that it found, which may be
/// secret, and without what is expected by our own names for it.
fn without_texts(message: &str) -> String {
    let message = match (message.find("string \""), message.rfind("\", expected")) {
        (Some(start), Some(end)) if start < end => {
            format!("{}string{}", &message[..start], &message[end + 1..])
        }
        _ => message.to_owned(),
    };
    let position = message.rfind(" at line ").unwrap_or(message.len());
    match message[..position].rfind(", expected struct ") {
        Some(start) => format!("{}, expected an object{}", &message[..start], &message[position..]),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded() {
        let check = |text, expected: &[(&str, &str)]| {
            let query = query(text);
            let query: Vec<_> = query.iter().map(|(name, value)| (&**name, &**value)).collect();
            assert_eq!(query, expected);
        };
        check("", &[]);
        check("a=b&c", &[("a", "b"), ("c", "")]);
        check(
            "message=two+words%20%26%20more&a=b=c",
            &[("message", "two words & more"), ("a", "b=c")],
        );
    }

    #[test]
    fn what_a_reader_says_holds_no_texts() {
        let read = serde_json::from_str::<u8>(r#""sk-\"secret""#).unwrap_err().to_string();
        assert_eq!(without_texts(&read), "invalid type: string, expected u8 at line 1 column 13");
        assert_eq!(without_texts("unknown field `a`"), "unknown field `a`");
        assert_eq!(
            without_texts(
                "invalid type: null, expected struct A with 2 elements at line 1 column 4"
            ),
            "invalid type: null, expected an object at line 1 column 4"
        );
    }
}
