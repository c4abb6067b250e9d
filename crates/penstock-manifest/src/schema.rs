//! What an intent file may hold: one table of objects and fields, from which
//! both the reading and the JSON Schema follow.
//!
//! Each thing of an intent has its [`Object`] in its own file. [`check`]
//! reports whatever a file has that the table does not allow, so that the
//! reading code need not ask again; [`json_schema`] prints the same table for
//! editors.
//!
//! Invariant: reading asks for a field only through [`Fields`], which knows
//! the table; a field that the table lacks cannot be read.

use serde_json::{Value as Json, json};

use crate::diagnostic::{
    self, Diagnostic, INVALID_VALUE, MISSING_FIELD, Severity, UNKNOWN_FIELD, WRONG_TYPE, nearest,
};
use crate::node::{Cursor, Node, Value};

mod fields;
#[cfg(test)]
mod tests;

pub use fields::Fields;

/// A kind of mapping.
#[derive(Debug)]
pub struct Object {
    /// The name of its definition in the JSON Schema.
    pub name: &'static str,
    /// What it is, one sentence.
    pub doc: &'static str,
    /// Its fields, in the order in which they are documented.
    pub fields: &'static [Field],
}

/// One field of an [`Object`].
#[derive(Debug)]
pub struct Field {
    /// The name, as in the console's REST API.
    pub name: &'static str,
    /// What may stand there.
    pub shape: Shape,
    /// Whether it must be there.
    pub is_required: bool,
    /// What it means, one sentence.
    pub doc: &'static str,
}

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Any text.
    Text,
    /// Text that may be `${env:NAME}` or `${file:PATH}`, and is never shown.
    Secret,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// `true` or `false`.
    Bool,
    /// A whole number within both bounds.
    Int(i64, i64),
    /// A list.
    List(&'static Shape),
    /// A mapping of texts.
    TextMap,
    /// A mapping of anything.
    AnyMap,
    /// A mapping with known fields.
    Object(&'static Object),
}

/// A field that must be there.
pub const fn required(name: &'static str, shape: Shape, doc: &'static str) -> Field {
    Field { name, shape, is_required: true, doc }
}

/// A field that may be absent.
pub const fn optional(name: &'static str, shape: Shape, doc: &'static str) -> Field {
    Field { name, shape, is_required: false, doc }
}

impl Object {
    /// The field of a name.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// Reports what a value has that its object does not allow. Whether it may be
/// read all the same: a finding about one field does not spoil its neighbours.
pub fn check(
    cursor: &Cursor<'_>,
    object: &'static Object,
    diagnostics: &mut Vec<Diagnostic>,
) -> bool {
    if cursor.node.as_map().is_none() {
        diagnostics.push(cursor.wrong_type("a mapping"));
        return false;
    }
    let mut is_whole = true;
    for (entry, value) in cursor.entries() {
        let Some(field) = object.field(&entry.key) else {
            diagnostics.push(unknown_field(object, entry, &value));
            continue;
        };
        if !value.node.is_null() {
            is_whole &= check_shape(&value, field.shape, diagnostics) || !field.is_required;
        }
    }
    for field in object.fields.iter().filter(|field| field.is_required) {
        if cursor.get(field.name).is_none() {
            let message = format!("{} has no `{}`", describe(cursor, object), field.name);
            diagnostics.push(cursor.diagnostic(&MISSING_FIELD, message));
            is_whole = false;
        }
    }
    is_whole
}

fn describe(cursor: &Cursor<'_>, object: &Object) -> String {
    if cursor.path.is_empty() { object.name.to_owned() } else { format!("`{}`", cursor.path) }
}

fn unknown_field(object: &Object, entry: &crate::node::Entry, value: &Cursor<'_>) -> Diagnostic {
    let diagnostic = Diagnostic::at(
        &UNKNOWN_FIELD,
        value.source,
        entry.key_at,
        format!("unknown field `{}`", value.path),
    )
    .with_severity(Severity::Error)
    .with_path(value.path.clone());
    let names = object.fields.iter().map(|field| field.name);
    match nearest(&entry.key, names.clone()) {
        Some(nearest) => diagnostic.with_hint(format!("did you mean `{nearest}`?")),
        None => {
            let known: Vec<_> = names.map(|name| format!("`{name}`")).collect();
            diagnostic.with_hint(format!("the fields here are {}", known.join(", ")))
        }
    }
}

/// Whether a value is of a shape; reports where it is not.
fn check_shape(cursor: &Cursor<'_>, shape: Shape, diagnostics: &mut Vec<Diagnostic>) -> bool {
    let wrong = |expected: &str, diagnostics: &mut Vec<Diagnostic>| {
        diagnostics.push(cursor.wrong_type(expected));
        false
    };
    match (shape, &cursor.node.value) {
        (Shape::Text | Shape::Secret, Value::String(_)) => true,
        (Shape::OneOf(known), Value::String(text)) => check_word(cursor, known, text, diagnostics),
        (Shape::Text | Shape::Secret | Shape::OneOf(_), Value::Bool(_)) => {
            let hint = "quote it: an unquoted on, off, yes or no is a boolean in YAML 1.1";
            diagnostics.push(cursor.wrong_type("text").with_hint(hint));
            false
        }
        (Shape::Text | Shape::Secret | Shape::OneOf(_), Value::Int(_) | Value::Float(_)) => {
            diagnostics.push(cursor.wrong_type("text").with_hint("quote it"));
            false
        }
        (Shape::Text | Shape::Secret | Shape::OneOf(_), _) => wrong("text", diagnostics),
        (Shape::Bool, Value::Bool(_)) => true,
        (Shape::Bool, _) => wrong("a boolean", diagnostics),
        (Shape::Int(low, high), Value::Int(number)) if (low..=high).contains(number) => true,
        (Shape::Int(low, high), Value::Int(_) | Value::Float(_)) => {
            diagnostics.push(wrong_number(cursor, low, high));
            false
        }
        (Shape::Int(..), _) => wrong("a whole number", diagnostics),
        // Every item is looked at, also behind a bad one.
        (Shape::List(item), Value::List(_)) => {
            let bad = cursor.items().filter(|e| !check_shape(e, *item, diagnostics)).count();
            bad == 0
        }
        (Shape::List(_), _) => wrong("a list", diagnostics),
        (Shape::TextMap, Value::Map(_)) => {
            let values = cursor.entries().map(|(_, value)| value);
            let bad = values.filter(|v| !check_shape(v, Shape::Text, diagnostics)).count();
            bad == 0
        }
        (Shape::AnyMap, Value::Map(_)) => true,
        (Shape::TextMap | Shape::AnyMap, _) => wrong("a mapping", diagnostics),
        (Shape::Object(object), _) => check(cursor, object, diagnostics),
    }
}

/// What is wrong with a number that is no whole one within its bounds.
fn wrong_number(cursor: &Cursor<'_>, low: i64, high: i64) -> Diagnostic {
    let bounds = match high {
        i64::MAX => format!("at least {low}"),
        _ => format!("from {low} to {high}"),
    };
    match &cursor.node.value {
        // A whole number that is larger than any of ours is read as one, too.
        Value::Float(number) if !number.is_finite() || number.abs() < 2f64.powi(63) => {
            let path = &cursor.path;
            let message = format!("`{path}` must be a whole number {bounds}, without a fraction");
            cursor.diagnostic(&WRONG_TYPE, message)
        }
        _ => {
            let message = format!("`{}` must be a number {bounds}", cursor.path);
            cursor.diagnostic(&INVALID_VALUE, message)
        }
    }
}

fn check_word(
    cursor: &Cursor<'_>,
    known: &[&str],
    text: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> bool {
    if known.contains(&text) {
        return true;
    }
    let folded = known.iter().find(|word| word.eq_ignore_ascii_case(text)).copied();
    let near = folded.or_else(|| diagnostic::nearest(text, known.iter().copied()));
    // What is near to none may be a secret in the wrong place.
    let shown = if near.is_some() { text } else { &cursor.path };
    let found =
        cursor.diagnostic(&INVALID_VALUE, format!("`{shown}` is not one of {}", listed(known)));
    diagnostics.push(match near {
        Some(near) => found.with_hint(format!("did you mean `{near}`?")),
        None => found,
    });
    false
}

fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// The JSON Schema (2020-12) of an object and of all that it holds.
pub fn json_schema(root: &'static Object, title: &str) -> Json {
    let mut definitions = serde_json::Map::new();
    let mut schema = object_schema(root, &mut definitions);
    if let Some(map) = schema.as_object_mut() {
        map.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        map.insert("title".into(), title.into());
        map.insert("$defs".into(), definitions.into());
    }
    schema
}

fn object_schema(object: &'static Object, definitions: &mut serde_json::Map<String, Json>) -> Json {
    let mut properties = serde_json::Map::new();
    for field in object.fields {
        let mut schema = shape_schema(field.shape, definitions);
        if let Some(map) = schema.as_object_mut() {
            map.insert("description".into(), field.doc.into());
        }
        // An absent field may also be written as null.
        if !field.is_required {
            schema = or_null(schema);
        }
        properties.insert(field.name.into(), schema);
    }
    let required: Vec<&str> =
        object.fields.iter().filter(|field| field.is_required).map(|field| field.name).collect();
    let mut schema = json!({
        "type": "object",
        "description": object.doc,
        "properties": properties,
        "additionalProperties": false,
    });
    if let (Some(map), false) = (schema.as_object_mut(), required.is_empty()) {
        map.insert("required".into(), required.into());
    }
    schema
}

/// The schema of a field that may be null as well.
fn or_null(mut schema: Json) -> Json {
    let Some(map) = schema.as_object_mut() else { return schema };
    if map.contains_key("$ref") {
        let description = map.remove("description");
        let mut either = json!({"anyOf": [schema, {"type": "null"}]});
        if let (Some(map), Some(description)) = (either.as_object_mut(), description) {
            map.insert("description".into(), description);
        }
        return either;
    }
    if let Some(kind) = map.remove("type") {
        map.insert("type".into(), json!([kind, "null"]));
    }
    if let Some(Json::Array(words)) = map.get_mut("enum") {
        words.push(Json::Null);
    }
    schema
}

fn shape_schema(shape: Shape, definitions: &mut serde_json::Map<String, Json>) -> Json {
    match shape {
        Shape::Text | Shape::Secret => json!({"type": "string"}),
        Shape::OneOf(words) => json!({"type": "string", "enum": words}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Int(low, i64::MAX) => json!({"type": "integer", "minimum": low}),
        Shape::Int(low, high) => json!({"type": "integer", "minimum": low, "maximum": high}),
        Shape::List(item) => json!({"type": "array", "items": shape_schema(*item, definitions)}),
        Shape::TextMap => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        Shape::AnyMap => json!({"type": "object"}),
        Shape::Object(object) => {
            if !definitions.contains_key(object.name) {
                definitions.insert(object.name.into(), Json::Null);
                let schema = object_schema(object, definitions);
                definitions.insert(object.name.into(), schema);
            }
            json!({"$ref": format!("#/$defs/{}", object.name)})
        }
    }
}

/// The same tree with every position forgotten, for values that leave their
/// file.
pub(crate) fn without_positions(node: &Node) -> Node {
    let value = match &node.value {
        Value::List(list) => Value::List(list.iter().map(without_positions).collect()),
        Value::Map(map) => Value::Map(crate::node::Map {
            entries: map
                .entries
                .iter()
                .map(|entry| crate::node::Entry {
                    key: entry.key.clone(),
                    key_at: crate::node::Position::default(),
                    node: without_positions(&entry.node),
                })
                .collect(),
        }),
        value => value.clone(),
    };
    Node::synthetic(value)
}
