//! Model mapping: the name that a client asks for → the name that a provider
//! knows.
//!
//! Invariant: the same rules and the same name give the same result, in
//! whatever order the prefix rules were written.

use std::borrow::Cow;
use std::collections::HashMap;

use regex::Regex;

use crate::error::{ConfigError, ConfigErrorKind};

/// The rules of `modelMapping`, ready to be applied.
///
/// An exact name wins, then the longest matching prefix (`gpt-*`), then the
/// first matching regular expression (`~^gpt`) in document order, then `*`.
/// A rule whose value is empty keeps the name and hides the rules behind it.
#[derive(Clone, Debug, Default)]
pub struct ModelMap {
    exact: HashMap<Box<str>, Box<str>>,
    /// Longest first.
    prefixes: Vec<(Box<str>, Box<str>)>,
    regexes: Vec<(Regex, Box<str>)>,
    rest: Option<Box<str>>,
}

impl ModelMap {
    /// The rules as they are written, in document order.
    ///
    /// # Errors
    /// A regular expression is not valid.
    pub fn build<'r>(
        rules: impl IntoIterator<Item = (&'r str, &'r str)>,
    ) -> Result<Self, ConfigError> {
        let mut map = Self::default();
        for (key, value) in rules {
            // Higress: provider/provider.go — tries a regex key that ends in
            // `*` as a prefix, then as a regex without its last character.
            if let Some(pattern) = key.strip_prefix('~') {
                map.regexes.push((compile(key, pattern)?, value.into()));
            } else if key == "*" {
                map.rest = Some(value.into());
            } else if let Some(prefix) = key.strip_suffix('*') {
                map.prefixes.push((prefix.into(), value.into()));
            } else {
                map.exact.insert(key.into(), value.into());
            }
        }
        map.prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Ok(map)
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty()
            && self.prefixes.is_empty()
            && self.regexes.is_empty()
            && self.rest.is_none()
    }

    /// The name to ask for; `None` keeps `model`.
    pub fn map(&self, model: &str) -> Option<Cow<'_, str>> {
        self.find(model).filter(|name| !name.is_empty() && name != model)
    }

    fn find(&self, model: &str) -> Option<Cow<'_, str>> {
        if let Some(name) = self.exact.get(model) {
            return Some(Cow::Borrowed(name));
        }
        let prefix = self.prefixes.iter().find(|(prefix, _)| model.starts_with(&**prefix));
        if let Some((_, name)) = prefix {
            return Some(Cow::Borrowed(name));
        }
        let regex = self.regexes.iter().find(|(regex, _)| regex.is_match(model));
        if let Some((regex, template)) = regex {
            // An empty template means "keep", not "cut the match out".
            return match &**template {
                "" => None,
                template => Some(Cow::Owned(regex.replace_all(model, template).into_owned())),
            };
        }
        self.rest.as_deref().map(Cow::Borrowed)
    }
}

fn compile(key: &str, pattern: &str) -> Result<Regex, ConfigError> {
    Regex::new(pattern).map_err(|error| ConfigError {
        path: crate::provider::join_path("modelMapping", key),
        message: format!("the model mapping rule `{key}` is not a regular expression: {}", {
            let text = error.to_string();
            text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }),
        hint: Some("the text behind `~` is a regular expression, as in `~^gpt-(.*)$`".into()),
        kind: ConfigErrorKind::ModelMapping,
    })
}

#[cfg(test)]
mod tests;
