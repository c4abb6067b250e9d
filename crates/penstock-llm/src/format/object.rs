//! Taking an object of a request apart, member by member. What is left over
//! is what nobody knows.
//!
//! Invariant: a member of a type that cannot be meant is an error with its
//! path, never a value that quietly vanishes.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Number, Value};

use crate::error::LlmError;

/// Where a value stands in the body. Made only of borrows: a path costs
/// nothing until somebody has to be told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Path<'a> {
    Body,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl Path<'_> {
    /// What is wrong with the value.
    pub(super) fn error(&self, what: &str) -> LlmError {
        let path = self.to_string();
        match path.is_empty() {
            true => LlmError::InvalidRequest(format!("the body {what}")),
            false => LlmError::InvalidRequest(format!("`{path}` {what}")),
        }
    }
}

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Path::Body => Ok(()),
            Path::Key(Path::Body, key) => f.write_str(key),
            Path::Key(parent, key) => write!(f, "{parent}.{key}"),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// An object that is being taken apart.
pub(super) struct Object<'a> {
    map: Map<String, Value>,
    pub(super) path: Path<'a>,
}

impl<'a> Object<'a> {
    /// The object that a whole body is.
    pub(super) fn body(body: &[u8]) -> Result<Object<'static>, LlmError> {
        let value = serde_json::from_slice(body)
            .map_err(|_| Path::Body.error("is not JSON that can be read"))?;
        Object::of(value, Path::Body)
    }

    pub(super) fn of(value: Value, path: Path<'a>) -> Result<Self, LlmError> {
        match value {
            Value::Object(map) => Ok(Self { map, path }),
            _ => Err(path.error("must be an object")),
        }
    }

    /// A member, taken out; `None` where it is absent or `null`.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        // The order of what is left does not matter before it is written,
        // but it is the client's, and removal would shift it all.
        self.map.get_mut(key).map(Value::take).filter(|value| !value.is_null())
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, LlmError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Path::Key(&self.path, key).error("must be a string")),
        }
    }

    pub(super) fn required_text(&mut self, key: &str) -> Result<String, LlmError> {
        self.text(key)?.ok_or_else(|| Path::Key(&self.path, key).error("is missing"))
    }

    pub(super) fn flag(&mut self, key: &str) -> Result<Option<bool>, LlmError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(Path::Key(&self.path, key).error("must be true or false")),
        }
    }

    pub(super) fn number(&mut self, key: &str) -> Result<Option<Number>, LlmError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(Some(number)),
            Some(_) => Err(Path::Key(&self.path, key).error("must be a number")),
        }
    }

    pub(super) fn count(&mut self, key: &str) -> Result<Option<u64>, LlmError> {
        let Some(number) = self.number(key)? else { return Ok(None) };
        let whole = number.as_u64();
        whole.map(Some).ok_or_else(|| {
            Path::Key(&self.path, key).error("must be a whole number, and not negative")
        })
    }

    /// A list; empty where it is absent.
    pub(super) fn list(&mut self, key: &str) -> Result<Vec<Value>, LlmError> {
        match self.take(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => Ok(list),
            Some(_) => Err(Path::Key(&self.path, key).error("must be a list")),
        }
    }

    /// Strings; one alone counts as a list of one.
    pub(super) fn texts(&mut self, key: &str) -> Result<Vec<String>, LlmError> {
        let list = match self.take(key) {
            None => Vec::new(),
            Some(Value::Array(list)) => list,
            Some(one) => vec![one],
        };
        let text = |value| match value {
            Value::String(text) => Ok(text),
            _ => Err(Path::Key(&self.path, key).error("must be a string or a list of strings")),
        };
        list.into_iter().map(text).collect()
    }

    /// A member that is an object, as it is.
    pub(super) fn map(&mut self, key: &str) -> Result<Option<Map<String, Value>>, LlmError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(_) => Err(Path::Key(&self.path, key).error("must be an object")),
        }
    }

    /// A member that must be an object.
    pub(super) fn required_map(&mut self, key: &str) -> Result<Map<String, Value>, LlmError> {
        self.map(key)?.ok_or_else(|| Path::Key(&self.path, key).error("is missing"))
    }

    /// What was not taken.
    pub(super) fn rest(self) -> Map<String, Value> {
        self.map.into_iter().filter(|(_, value)| !value.is_null()).collect()
    }

    /// The object again, of which nothing was taken.
    pub(super) fn whole(self) -> Value {
        Value::Object(self.map)
    }
}

/// Text of an event, borrowed where it has no escapes.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Borrowed<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);
