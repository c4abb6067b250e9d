//! `${secret.[NAMESPACE/]NAME.KEY}` in string values, replaced by the values
//! of Secrets (Higress: pkg/ingress/config/ingress_template.go).
//!
//! Higress replaces text inside JSON, so a value with quotes breaks the
//! document; here a value stays a value. What leads nowhere becomes
//! [`Value::Unresolved`], which no reader takes for anything, so that only
//! the part that needs it is set aside.
//!
//! Invariant: what a reference was replaced by is never part of a finding,
//! nor of what is stored.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, SECRET_UNRESOLVED, nearest};
use crate::kind::secret::{self, SecretError};
use crate::node::{Cursor, Node, Value};
use crate::resource::{Resource, SYSTEM_NAMESPACE};

const BEGIN: &str = "${secret.";
/// The annotations that are read; others may hold anything.
const ANNOTATION_PREFIXES: [&str; 2] = [crate::annotation::HIGRESS, crate::annotation::NGINX];
/// The shortest value that is taken out of findings; of shorter ones nearly
/// every word is full.
const SCRUBBED_BYTES_MIN: usize = 3;

/// The Secrets of a listing.
pub struct Secrets<'a> {
    by_name: HashMap<(&'a str, &'a str), &'a Resource>,
}

/// A value that was put in, and the reference that it stands for.
type Used = HashMap<String, String>;

impl<'a> Secrets<'a> {
    /// Those among `resources`.
    pub fn of(resources: &'a [Arc<Resource>]) -> Self {
        let secrets = resources.iter().filter(|resource| &*resource.key.kind == "Secret");
        let by_name = secrets
            .map(|secret| ((&*secret.key.namespace, &*secret.key.name), &**secret))
            .collect();
        Self { by_name }
    }

    /// The resource with the values of Secrets in place of references to
    /// them, and [`Value::Unresolved`] where there is none. `None` where it
    /// has no references.
    pub fn fill(&self, resource: &Arc<Resource>, used: &mut Scrubber) -> Option<Resource> {
        self.change(resource, &mut |text, _| match self.replace(text, &mut used.values) {
            Ok(filled) => Some(Value::String(filled.into())),
            Err(_) => Some(Value::Unresolved(text.into())),
        })
    }

    /// The resource with only [`Value::Unresolved`] put in, and a finding for
    /// each. `None` where nothing of it is unresolved.
    pub fn mark(
        &self,
        resource: &Arc<Resource>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Resource> {
        let mut is_marked = false;
        let marked = self.change(resource, &mut |text, cursor| {
            let problem = self.replace(text, &mut Used::new()).err()?;
            is_marked = true;
            let mut diagnostic = cursor.diagnostic(&SECRET_UNRESOLVED, problem.message);
            diagnostic.hint = problem.hint;
            diagnostics.push(diagnostic);
            Some(Value::Unresolved(text.into()))
        });
        marked.filter(|_| is_marked)
    }

    /// A text with its references replaced.
    ///
    /// # Errors
    /// The finding about one that leads nowhere.
    pub fn text(&self, text: &str, cursor: &Cursor<'_>) -> Result<String, Diagnostic> {
        self.replace(text, &mut Used::new()).map_err(|problem| {
            let mut diagnostic = cursor.diagnostic(&SECRET_UNRESOLVED, problem.message);
            diagnostic.hint = problem.hint;
            diagnostic
        })
    }

    fn change(
        &self,
        resource: &Arc<Resource>,
        replacement: &mut dyn FnMut(&str, &Cursor<'_>) -> Option<Value>,
    ) -> Option<Resource> {
        let is_concerned = matches!(&*resource.key.kind, "Ingress" | "WasmPlugin" | "EnvoyFilter");
        let mentions =
            || *resource.known.mentions_secret.get_or_init(|| mentions_secret(&resource.root));
        if !is_concerned || !mentions() {
            return None;
        }
        let mut changed = Resource::clone(resource);
        let (root, source) = (&mut changed.root, &resource.source);
        if let Some(spec) = root.get_mut("spec") {
            let original = spec.clone();
            let cursor = Cursor { node: &original, source, path: Cow::Borrowed("spec") };
            replace_in(spec, &cursor, replacement);
        }
        let annotations = root.get_mut("metadata").and_then(|node| node.get_mut("annotations"));
        if let Some(Value::Map(annotations)) = annotations.map(|node| &mut node.value) {
            let own = annotations.entries.iter_mut().filter(|entry| {
                ANNOTATION_PREFIXES.iter().any(|prefix| entry.key.starts_with(prefix))
            });
            for entry in own {
                let original = entry.node.clone();
                let path = Cow::Owned(format!("metadata.annotations[\"{}\"]", entry.key));
                let cursor = Cursor { node: &original, source, path };
                replace_in(&mut entry.node, &cursor, replacement);
            }
        }
        Some(changed)
    }

    /// The text with all references replaced. What looks like another
    /// placeholder stays.
    fn replace(&self, text: &str, used: &mut Used) -> Result<String, Problem> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once(BEGIN) {
            filled.push_str(before);
            let Some((reference, after)) = behind.split_once('}') else {
                return Err(Problem::new(format!("`{BEGIN}` is not closed by a `}}`")));
            };
            let value = self.resolve(reference)?;
            filled.push_str(&value);
            used.insert(value, format!("{BEGIN}{reference}}}"));
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    /// The value of `[NAMESPACE/]NAME.KEY`. Names and keys may hold dots: the
    /// first split that leads somewhere counts.
    fn resolve(&self, reference: &str) -> Result<String, Problem> {
        let (namespace, rest) = reference.split_once('/').unwrap_or((SYSTEM_NAMESPACE, reference));
        let splits = rest.match_indices('.').map(|(at, _)| (&rest[..at], &rest[at + 1..]));
        let mut problem = None;
        for (name, key) in splits.filter(|(name, key)| !name.is_empty() && !key.is_empty()) {
            let found = match self.by_name.get(&(namespace, name)) {
                Some(secret) => {
                    secret::value(secret, key).map_err(|error| no_value(secret, key, error))
                }
                None if problem.is_some() => continue,
                None => Err(self.no_secret(namespace, name)),
            };
            match found {
                Ok(value) => return Ok(value),
                Err(found) => problem = Some(found),
            }
        }
        Err(problem.unwrap_or_else(|| {
            let mut problem = Problem::new(format!("`{BEGIN}{reference}}}` names no key"));
            problem.hint = Some("write ${secret.NAME.KEY} or ${secret.NAMESPACE/NAME.KEY}".into());
            problem
        }))
    }

    fn no_secret(&self, namespace: &str, name: &str) -> Problem {
        let mut problem =
            Problem::new(format!("there is no Secret `{name}` in the namespace `{namespace}`"));
        let names = self.by_name.keys().filter(|(other, _)| *other == namespace);
        let elsewhere = self.by_name.keys().find(|(_, other)| *other == name);
        problem.hint = match (nearest(name, names.map(|(_, name)| *name)), elsewhere) {
            (Some(nearest), _) => Some(format!("did you mean `{nearest}`?")),
            (None, Some((other, _))) => Some(format!("there is one in `{other}`")),
            (None, None) => None,
        };
        problem
    }
}

fn no_value(secret: &Resource, key: &str, error: SecretError) -> Problem {
    let name = &secret.key;
    match error {
        SecretError::NoKey => Problem {
            message: format!("{name} has no key `{key}`"),
            hint: nearest(key, secret::keys(secret)).map(|key| format!("did you mean `{key}`?")),
        },
        SecretError::NotBase64 => Problem {
            message: format!("the value of `{key}` in {name} is no base64"),
            hint: Some("encode it, or write it as it is under stringData".into()),
        },
        SecretError::NotText => Problem::new(format!("the value of `{key}` in {name} is no text")),
    }
}

/// Why a reference leads nowhere.
struct Problem {
    message: String,
    hint: Option<String>,
}

impl Problem {
    fn new(message: String) -> Self {
        Self { message, hint: None }
    }
}

/// Takes values of Secrets out of findings about what they were put into.
#[derive(Default)]
pub struct Scrubber {
    values: Used,
}

impl Scrubber {
    /// Puts references back in place of their values.
    pub fn scrub(&self, diagnostics: &mut [Diagnostic]) {
        let mut values: Vec<(&String, &String)> =
            self.values.iter().filter(|(value, _)| value.len() >= SCRUBBED_BYTES_MIN).collect();
        // A value may be part of another one.
        values.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        for diagnostic in diagnostics {
            let texts = [&mut diagnostic.message, &mut diagnostic.path];
            for text in texts.into_iter().chain(&mut diagnostic.hint) {
                for (value, reference) in &values {
                    if text.contains(value.as_str()) {
                        *text = text.replace(value.as_str(), reference);
                    }
                }
            }
        }
    }
}

/// Whether any text below a value refers to a Secret.
fn mentions_secret(node: &Node) -> bool {
    // Looking for one byte first is several times faster in short texts.
    let mentions = |text: &str| text.bytes().any(|byte| byte == b'$') && text.contains(BEGIN);
    node.any(&mut |node| node.as_str().is_some_and(mentions))
}

/// Whether a reference below a value leads nowhere.
pub fn is_unresolved(node: &Node) -> bool {
    node.any(&mut |node| matches!(node.value, Value::Unresolved(_)))
}

/// Puts the text back where a reference led nowhere.
pub fn unmark(node: &mut Node) {
    match &mut node.value {
        Value::Unresolved(text) => node.value = Value::String(std::mem::take(text)),
        Value::List(list) => list.iter_mut().for_each(unmark),
        Value::Map(map) => map.entries.iter_mut().for_each(|entry| unmark(&mut entry.node)),
        _ => {}
    }
}

fn replace_in(
    node: &mut Node,
    cursor: &Cursor<'_>,
    replacement: &mut dyn FnMut(&str, &Cursor<'_>) -> Option<Value>,
) {
    match &mut node.value {
        Value::String(text) if text.contains(BEGIN) => {
            if let Some(value) = replacement(text, cursor) {
                node.value = value;
            }
        }
        Value::List(list) => {
            for (node, cursor) in list.iter_mut().zip(cursor.items()) {
                replace_in(node, &cursor, replacement);
            }
        }
        Value::Map(map) => {
            for (entry, (_, cursor)) in map.entries.iter_mut().zip(cursor.entries()) {
                replace_in(&mut entry.node, &cursor, replacement);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
