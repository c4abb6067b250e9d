//! The description of the API: OpenAPI 3.1, by hand in `openapi.json`.

use serde_json::Value as Json;

use super::api::Api;
use super::call::Call;
use crate::target::{Failure, FailureKind};

const DOCUMENT: &str = include_str!("openapi.json");

/// `GET openapi.json`.
pub fn document(_: &Api, call: &Call) -> Result<Json, Failure> {
    call.allow(&[])?;
    let mut document: Json = serde_json::from_str(DOCUMENT)
        .map_err(|error| Failure::new(FailureKind::Unavailable, error.to_string()))?;
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    Ok(document)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::admin::endpoint::{ENDPOINTS, Needs, Takes};
    use crate::target::{ChangeRequest, Request};

    /// What the listener answers besides the API.
    const PLAIN: [&str; 4] = ["/healthz", "/metrics", "/ready", "/status"];

    fn document() -> Json {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    fn keys(json: &Json) -> BTreeSet<&str> {
        json.as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn every_endpoint_is_described_and_no_other() {
        let document = document();
        let described: BTreeSet<(String, &str)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, methods)| {
                keys(methods).into_iter().map(|method| (method.to_uppercase(), path.as_str()))
            })
            .collect();
        let plain = PLAIN.iter().map(|path| ("GET".to_owned(), *path));
        let endpoints = ENDPOINTS.iter().map(|row| (row.method.to_string(), row.path));
        assert_eq!(described, endpoints.chain(plain).collect());
        assert!(ENDPOINTS.is_sorted_by(|a, b| a.path < b.path));
    }

    #[test]
    fn every_endpoint_says_what_it_takes_and_how_it_fails() {
        let document = document();
        for row in ENDPOINTS {
            let method = row.method.as_str().to_lowercase();
            let described = &document["paths"][row.path][&method];
            let content = &described["requestBody"]["content"];
            let taken: &[&str] = match row.takes {
                Takes::Nothing => &[],
                Takes::Json => &["application/json"],
                Takes::JsonOrYaml => &["application/json", "application/yaml"],
            };
            assert_eq!(content.as_object().map_or(0, serde_json::Map::len), taken.len());
            assert!(taken.iter().all(|kind| content[kind].is_object()), "{}", row.path);
            let answers = keys(&described["responses"]);
            let mut expected = BTreeSet::from(["200", "400", "401", "403", "500", "503"]);
            if row.takes != Takes::Nothing {
                expected.extend(["408", "413", "415"]);
            }
            if row.needs == Needs::Change {
                expected.extend(["404", "409", "422"]);
            }
            assert!(answers.is_superset(&expected), "{}: {answers:?}", row.path);
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn check(json: &Json, document: &Json) {
            if let Some(pointer) = json["$ref"].as_str() {
                let pointer = pointer.trim_start_matches('#');
                assert!(document.pointer(pointer).is_some(), "{pointer} leads nowhere");
            }
            match json {
                Json::Object(map) => map.values().for_each(|value| check(value, document)),
                Json::Array(list) => list.iter().for_each(|value| check(value, document)),
                _ => {}
            }
        }
        check(&document(), &document());
    }

    #[test]
    fn the_request_has_the_fields_that_are_described() {
        let document = document();
        let schemas = &document["components"]["schemas"];
        let request = Request::new(ChangeRequest::Rollback { to: None });
        let request = serde_json::to_value(request).unwrap();
        assert_eq!(keys(&schemas["Request"]["properties"]), keys(&request));
    }
}
