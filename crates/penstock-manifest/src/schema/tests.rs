use std::collections::HashSet;

use super::*;
use crate::intent;
use crate::node::{Position, Source};
use crate::yaml;

/// Every object that a shape leads to.
fn objects(shape: Shape, found: &mut Vec<&'static Object>) {
    match shape {
        Shape::List(item) => objects(*item, found),
        Shape::Object(object) if !found.iter().any(|known| known.name == object.name) => {
            found.push(object);
            for field in object.fields {
                objects(field.shape, found);
            }
        }
        _ => {}
    }
}

fn all() -> Vec<&'static Object> {
    let mut found = Vec::new();
    objects(Shape::Object(&intent::OBJECT), &mut found);
    found
}

#[test]
fn every_field_is_named_once_and_documented() {
    let found = all();
    assert!(found.len() > 15);
    for object in found {
        let names: HashSet<&str> = object.fields.iter().map(|field| field.name).collect();
        assert_eq!(names.len(), object.fields.len(), "{}", object.name);
        assert!(object.doc.ends_with('.'), "{}", object.name);
        for field in object.fields {
            assert!(field.doc.ends_with('.'), "{}.{}", object.name, field.name);
        }
    }
}

/// Whether a JSON value obeys the part of JSON Schema that is used here.
fn obeys(schema: &Json, root: &Json, value: &Json) -> bool {
    if let Some(name) = schema.get("$ref").and_then(Json::as_str) {
        let name = name.strip_prefix("#/$defs/").unwrap();
        return obeys(&root["$defs"][name], root, value);
    }
    if let Some(any) = schema.get("anyOf").and_then(Json::as_array) {
        return any.iter().any(|schema| obeys(schema, root, value));
    }
    let is_type = |name: &str| match name {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("type {other}"),
    };
    let has_type = match &schema["type"] {
        Json::String(name) => is_type(name),
        Json::Array(names) => names.iter().any(|name| is_type(name.as_str().unwrap())),
        _ => true,
    };
    let is_listed = schema["enum"].as_array().is_none_or(|words| words.contains(value));
    let number = value.as_i64().unwrap_or_default();
    let is_within = schema["minimum"].as_i64().is_none_or(|low| low <= number)
        && schema["maximum"].as_i64().is_none_or(|high| number <= high);
    let items = value.as_array().into_iter().flatten();
    let are_items = items.into_iter().all(|item| obeys(&schema["items"], root, item));
    let has_required = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .all(|name| value.get(name.as_str().unwrap()).is_some());
    let are_members = value.as_object().into_iter().flatten().all(|(key, member)| {
        match (schema["properties"].get(key), &schema["additionalProperties"]) {
            (Some(schema), _) => obeys(schema, root, member),
            (None, Json::Bool(false)) => false,
            (None, Json::Null) => true,
            (None, schema) => obeys(schema, root, member),
        }
    });
    let is_object = !value.is_object() || (has_required && are_members);
    has_type && is_listed && (value.is_null() || (is_within && are_items && is_object))
}

#[test]
fn reading_and_schema_agree() {
    let schema = intent::json_schema();
    assert!(obeys(&schema, &schema, &json!({})));
    let cases = [
        "{}",
        "{domains: null}",
        "{domains: [{name: a.example.com, enableHttps: 'off'}]}",
        "{domains: [{name: a.example.com, enableHttps: off}]}",
        "{domains: [{name: a.example.com, enableHttps: null}]}",
        "{domains: [{enableHttps: 'on'}]}",
        "{domains: {name: x}}",
        "{domain: []}",
        "{providers: [{name: p, type: openai, tokens: [a, b], rawConfigs: {any: [1]}}]}",
        "{providers: [{name: p, type: openai, tokens: [1]}]}",
        "{providers: [{name: p, type: openai, tokenFailoverConfig: {failureThreshold: -1}}]}",
        "{consumers: [{name: c, credentials: [{type: key-auth, source: BEARER, values: [k]}]}]}",
        "{consumers: [{name: c, credentials: [{type: jwt, source: BEARER, values: [k]}]}]}",
        "{aiRoutes: [{name: r, upstreams: [{provider: p, weight: 100, modelMapping: {a: b}}]}]}",
        "{aiRoutes: [{name: r, upstreams: [{provider: p, weight: 101}]}]}",
        "{aiRoutes: [{name: r, upstreams: [{provider: p}], authConfig: {allowedConsumers: [c]}}]}",
        "{aiRoutes: [{name: r, upstreams: [{provider: p}], customLabels: {a: 1}}]}",
        "{aiRoutes: [{name: r, upstreams: [{provider: p}], cors: {enabled: true, maxAge: 5}}]}",
        "{aiRoutes: [{name: r, upstreams: [{provider: p}], cors: {enabled: 'true'}}]}",
        "{serviceSources: [{name: s, type: dns, domain: a.example.com, port: 443}]}",
        "{serviceSources: [{name: s, type: nacos, domain: a.example.com, port: 443}]}",
    ];
    for text in cases {
        let node = yaml::parse_value(text, Position::default()).unwrap();
        let source = Source { file: "x".into(), document: 0, at: Position::default() };
        let mut found = Vec::new();
        check(&Cursor::root(&node, &source), &intent::OBJECT, &mut found);
        assert_eq!(found.is_empty(), obeys(&schema, &schema, &node.to_json()), "{text} {found:?}");
    }
}

#[test]
fn the_schema_is_what_it_was() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/schema/intent.schema.json");
    let text = format!("{}\n", serde_json::to_string_pretty(&intent::json_schema()).unwrap());
    if std::env::var_os("PENSTOCK_ACCEPT").is_some() {
        std::fs::write(path, text).unwrap();
    } else {
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), text, "{path}");
    }
}
