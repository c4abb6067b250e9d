//! As much of JSON Schema as the description of the admin API uses.

use serde_json::Value;

/// Whether a value is as a schema says.
#[track_caller]
pub(crate) fn check_schema(document: &Value, schema: &Value, value: &Value) {
    if let Err(complaint) = fits(document, schema, value, "$") {
        panic!("{complaint}");
    }
}

fn fits(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    if let Some(pointer) = schema["$ref"].as_str() {
        let named = document.pointer(pointer.trim_start_matches('#')).unwrap();
        return fits(document, named, value, at);
    }
    for keyword in ["anyOf", "oneOf"] {
        let Some(choices) = schema[keyword].as_array() else { continue };
        let results: Vec<_> =
            choices.iter().map(|choice| fits(document, choice, value, at)).collect();
        let fitting = results.iter().filter(|result| result.is_ok()).count();
        if fitting == 0 || (keyword == "oneOf" && fitting > 1) {
            return Err(format!("{at}: {fitting} of {keyword} fit: {results:?}"));
        }
    }
    if let Some(wanted) = schema.get("const")
        && wanted != value
    {
        return Err(format!("{at} is {value}, not {wanted}"));
    }
    if let Some(known) = schema["enum"].as_array()
        && !known.contains(value)
    {
        return Err(format!("{at} is {value}, none of {known:?}"));
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !types.is_empty() && !types.iter().any(|name| is_a(name, value)) {
        return Err(format!("{at} is {value}, no {types:?}"));
    }
    match value {
        Value::Object(members) => {
            for name in schema["required"].as_array().into_iter().flatten() {
                if !members.contains_key(name.as_str().unwrap()) {
                    return Err(format!("{at} has no {name}"));
                }
            }
            members.iter().try_for_each(|(name, member)| {
                let at = format!("{at}.{name}");
                match (schema["properties"].get(name), &schema["additionalProperties"]) {
                    (Some(schema), _) => fits(document, schema, member, &at),
                    (None, Value::Bool(false)) => Err(format!("{at} is not described")),
                    (None, schema) => fits(document, schema, member, &at),
                }
            })
        }
        Value::Array(items) if schema.get("items").is_some() => items
            .iter()
            .try_for_each(|item| fits(document, &schema["items"], item, &format!("{at}[]"))),
        _ => Ok(()),
    }
}

fn is_a(name: &str, value: &Value) -> bool {
    match name {
        "array" => value.is_array(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "object" => value.is_object(),
        "string" => value.is_string(),
        other => panic!("the type {other} is not checked here"),
    }
}
