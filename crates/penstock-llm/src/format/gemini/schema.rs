//! JSON schemas, and the dialect of them that Google had before it took those.

use serde_json::{Map, Value};

/// What [`plain`] and [`of_google`] look into: no schema of use is deeper,
/// and the parser's own limit is above it.
const DEPTH_MAX: usize = 100;

/// Whether Google's own dialect can say all of a JSON schema.
pub(super) fn is_plain(schema: &Value) -> bool {
    plain(schema, 0)
}

/// Whether a schema says nothing: an object of nothing, which Google's
/// dialect refuses.
pub(super) fn is_empty(schema: &Value) -> bool {
    let Some(schema) = schema.as_object() else { return false };
    schema.iter().all(|(key, value)| match key.as_str() {
        "type" => value == "object",
        "properties" => value.as_object().is_some_and(Map::is_empty),
        "required" => value.as_array().is_some_and(Vec::is_empty),
        "$schema" | "additionalProperties" => true,
        _ => false,
    })
}

fn plain(schema: &Value, depth: usize) -> bool {
    let Some(object) = schema.as_object() else { return false };
    let kind = object.get("type").and_then(Value::as_str);
    depth < DEPTH_MAX
        && object.iter().all(|(key, value)| match key.as_str() {
            "type" => value.is_string() && value != "null",
            // Of an object it may not be empty.
            "properties" => value.as_object().is_some_and(|properties| {
                !properties.is_empty() && properties.values().all(|one| plain(one, depth + 1))
            }),
            "items" => plain(value, depth + 1),
            "anyOf" => {
                value.as_array().is_some_and(|list| list.iter().all(|one| plain(one, depth + 1)))
            }
            "enum" => {
                kind == Some("string")
                    && value.as_array().is_some_and(|list| list.iter().all(Value::is_string))
            }
            "format" => matches!(
                (kind, value.as_str()),
                (Some("string"), Some("enum" | "date-time"))
                    | (Some("number"), Some("float" | "double"))
                    | (Some("integer"), Some("int32" | "int64"))
            ),
            "title" | "description" | "nullable" | "maxItems" | "minItems" | "required"
            | "minProperties" | "maxProperties" | "minLength" | "maxLength" | "pattern"
            | "example" | "default" | "propertyOrdering" | "minimum" | "maximum" => true,
            _ => false,
        })
}

/// The JSON schema that one in Google's dialect means.
pub(super) fn of_google(schema: Value) -> Value {
    of_google_at(schema, 0)
}

fn of_google_at(schema: Value, depth: usize) -> Value {
    let Value::Object(object) = schema else { return schema };
    if depth >= DEPTH_MAX {
        return Value::Object(object);
    }
    let mut json = Map::new();
    let mut is_nullable = false;
    for (key, value) in object {
        let key = super::read::camel(&key).into_owned();
        let value = match (key.as_str(), value) {
            ("type", Value::String(kind)) => Value::String(kind.to_ascii_lowercase()),
            ("properties", Value::Object(properties)) => Value::Object(
                properties
                    .into_iter()
                    .map(|(name, one)| (name, of_google_at(one, depth + 1)))
                    .collect(),
            ),
            ("items", one) => of_google_at(one, depth + 1),
            ("anyOf", Value::Array(list)) => {
                list.into_iter().map(|one| of_google_at(one, depth + 1)).collect()
            }
            ("nullable", value) => {
                is_nullable = value == true;
                continue;
            }
            // It only orders what comes.
            ("propertyOrdering", _) => continue,
            ("format", value) if value == "enum" => continue,
            // 64-bit numbers are strings in Google's JSON.
            (
                "maxItems" | "minItems" | "minProperties" | "maxProperties" | "minLength"
                | "maxLength",
                Value::String(digits),
            ) => digits.parse::<u64>().map_or(Value::String(digits), Value::from),
            ("example", value) => {
                json.insert("examples".into(), Value::Array(vec![value]));
                continue;
            }
            (_, value) => value,
        };
        json.insert(key, value);
    }
    if is_nullable {
        make_nullable(&mut json);
    }
    Value::Object(json)
}

fn make_nullable(json: &mut Map<String, Value>) {
    if let Some(kind) = json.get_mut("type") {
        *kind = Value::Array(vec![kind.take(), "null".into()]);
        if let Some(Value::Array(list)) = json.get_mut("enum")
            && !list.contains(&Value::Null)
        {
            list.push(Value::Null);
        }
    } else if let Some(Value::Array(list)) = json.get_mut("anyOf") {
        list.push(serde_json::json!({"type": "null"}));
    }
}
