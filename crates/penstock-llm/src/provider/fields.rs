//! Reading the fields of a provider object.
//!
//! Numbers in strings and strings from numbers are accepted, as Higress does.
//! A value of a type that cannot be meant is an error here, where Higress
//! would silently read nothing: a route must not lose its tokens or its model
//! mapping because of a slip of indentation.
//!
//! Invariant: no message holds the value of a field.

use http::HeaderValue;
use serde_json::{Map, Value};

use crate::error::{ConfigError, ConfigErrorKind};

/// A provider object with its lenient reading.
pub(super) struct Fields<'a> {
    pub(super) map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Text; empty where it is absent.
    pub(super) fn text(&self, key: &str) -> Result<String, ConfigError> {
        self.get(key).map_or_else(|| Ok(String::new()), |value| text_of(key, value))
    }

    /// A boolean; false where it is absent.
    pub(super) fn flag(&self, key: &str) -> Result<bool, ConfigError> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(Value::Number(number)) => Ok(number.as_f64() != Some(0.0)),
            Some(value) => match value.as_str() {
                Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
                Some("" | "0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
                _ => Err(wrong_type(key, "a boolean", value)),
            },
        }
    }

    /// A whole number; 0 where it is absent.
    pub(super) fn count(&self, key: &str) -> Result<u64, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(0) };
        let number = match value {
            Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
            Value::String(text) if text.is_empty() => Some(0),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match (number, value) {
            (Some(number), _) => Ok(number),
            (None, Value::Number(_) | Value::String(_)) => {
                Err(invalid(key, format!("`{key}` must be a whole number, and not negative")))
            }
            (None, value) => Err(wrong_type(key, "a whole number", value)),
        }
    }

    /// A list of text with the path of each; a single text counts as a list
    /// of one.
    pub(super) fn texts(&self, key: &str) -> Result<Vec<(String, String)>, ConfigError> {
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![(key.to_owned(), text.clone())]),
            Some(Value::Array(items)) => items
                .iter()
                .enumerate()
                .map(|(index, item)| {
                    let path = format!("{key}[{index}]");
                    match item {
                        Value::String(_) | Value::Number(_) => {
                            let text = text_of(&path, item)?;
                            Ok((path, text))
                        }
                        item => Err(wrong_type(&path, "text", item)),
                    }
                })
                .collect(),
            Some(value) => Err(wrong_type(key, "a list", value)),
        }
    }

    /// An object.
    pub(super) fn object(&self, key: &str) -> Result<Option<&'a Map<String, Value>>, ConfigError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(value) => Err(wrong_type(key, "an object", value)),
        }
    }

    /// A value of `Host`.
    pub(super) fn host(&self, key: &str) -> Result<Option<HeaderValue>, ConfigError> {
        let text = self.text(key)?;
        if text.is_empty() {
            return Ok(None);
        }
        checked_host(key, &text).map(Some)
    }

    /// A path; empty where it is absent, with a leading slash otherwise.
    pub(super) fn path(&self, key: &str) -> Result<String, ConfigError> {
        let text = self.text(key)?;
        if text.is_empty() { Ok(text) } else { checked_path(key, text) }
    }
}

/// Text as Higress reads it from any scalar.
pub(super) fn text_of(path: &str, value: &Value) -> Result<String, ConfigError> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::Array(_) | Value::Object(_) => Err(wrong_type(path, "text", value)),
    }
}

fn whole(number: f64) -> Option<u64> {
    let is_whole = number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&number);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range was checked"
    )]
    is_whole.then_some(number as u64)
}

/// `text` as a value of `Host`: a name or an address, maybe with a port.
pub(super) fn checked_host(key: &str, text: &str) -> Result<HeaderValue, ConfigError> {
    let authority = text.parse::<http::uri::Authority>().ok();
    let host = authority.filter(|authority| {
        let has_port = authority.as_str().len() > authority.host().len();
        !authority.as_str().contains('@')
            && !authority.host().is_empty()
            && (!has_port || authority.port_u16().is_some())
    });
    host.and_then(|host| HeaderValue::from_str(host.as_str()).ok()).ok_or_else(|| ConfigError {
        hint: Some("a host name or address, with or without a port: `api.example.com:8443`".into()),
        ..invalid(key, format!("`{key}` has no usable host"))
    })
}

/// `text` as a path that can stand in a request line.
pub(super) fn checked_path(key: &str, mut text: String) -> Result<String, ConfigError> {
    if !text.starts_with('/') && !text.contains("://") {
        text.insert(0, '/');
    }
    let is_path = text.starts_with('/') && !text.contains(['#', ' ']);
    if !is_path || text.parse::<http::uri::PathAndQuery>().is_err() {
        return Err(invalid(key, format!("`{key}` must be a path such as `/v1/chat/completions`")));
    }
    Ok(text)
}

/// A complaint about the value at `path`.
pub(super) fn invalid(path: &str, message: impl Into<String>) -> ConfigError {
    ConfigError {
        path: path.to_owned(),
        message: message.into(),
        hint: None,
        kind: ConfigErrorKind::Invalid,
    }
}

pub(super) fn inside(parent: &str, error: ConfigError) -> ConfigError {
    let message = error.message.replacen('`', &format!("`{parent}."), 1);
    ConfigError { path: format!("{parent}.{}", error.path), message, ..error }
}

fn wrong_type(path: &str, expected: &str, value: &Value) -> ConfigError {
    let found = match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    invalid(path, format!("`{path}` must be {expected}, not {found}"))
}

#[cfg(test)]
mod tests;
