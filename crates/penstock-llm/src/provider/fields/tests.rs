use serde_json::json;

use super::*;

fn with<T>(
    value: Value,
    read: impl Fn(&Fields<'_>) -> Result<T, ConfigError>,
) -> Result<T, String> {
    let object = json!({"key": value});
    let Value::Object(map) = object else { unreachable!() };
    read(&Fields { map: &map }).map_err(|error| {
        assert!(error.path.starts_with("key"), "{}", error.path);
        error.message
    })
}

#[track_caller]
fn check<T: PartialEq + std::fmt::Debug>(
    read: impl Fn(&Fields<'_>) -> Result<T, ConfigError>,
    cases: impl IntoIterator<Item = (Value, T)>,
) {
    for (value, expected) in cases {
        assert_eq!(with(value.clone(), &read), Ok(expected), "{value}");
    }
}

#[track_caller]
fn check_errors<T: std::fmt::Debug>(
    read: impl Fn(&Fields<'_>) -> Result<T, ConfigError>,
    cases: impl IntoIterator<Item = (Value, &'static str)>,
) {
    for (value, expected) in cases {
        assert_eq!(with(value, &read).unwrap_err(), expected);
    }
}

#[test]
fn text_is_read_from_scalars() {
    let read = |fields: &Fields<'_>| fields.text("key");
    let text = |text: &str| text.to_owned();
    check(
        read,
        [
            (json!("a"), text("a")),
            (json!(1), text("1")),
            (json!(true), text("true")),
            (json!(null), text("")),
        ],
    );
    check_errors(
        read,
        [
            (json!([1]), "`key` must be text, not a list"),
            (json!({"a": 1}), "`key` must be text, not an object"),
        ],
    );
    assert_eq!(Fields { map: &Map::new() }.text("key"), Ok(String::new()));
}

#[test]
fn flags_are_read_from_what_go_takes_for_one() {
    let read = |fields: &Fields<'_>| fields.flag("key");
    check(
        read,
        [
            (json!(true), true),
            (json!("true"), true),
            (json!("1"), true),
            (json!(2), true),
            (json!(0), false),
            (json!("False"), false),
            (json!(""), false),
            (json!(null), false),
        ],
    );
    check_errors(
        read,
        [
            (json!("yes"), "`key` must be a boolean, not text"),
            (json!([]), "`key` must be a boolean, not a list"),
        ],
    );
}

#[test]
fn counts_are_read_from_numbers_and_their_text() {
    let read = |fields: &Fields<'_>| fields.count("key");
    check(
        read,
        [
            (json!(5), 5),
            (json!("5"), 5),
            (json!(5.0), 5),
            (json!(""), 0),
            (json!(null), 0),
            (json!(u64::MAX), u64::MAX),
        ],
    );
    let no_count = "`key` must be a whole number, and not negative";
    check_errors(
        read,
        [
            (json!(-1), no_count),
            (json!(1.5), no_count),
            (json!(1e300), no_count),
            (json!("5s"), no_count),
            (json!(true), "`key` must be a whole number, not a boolean"),
        ],
    );
}

#[test]
fn lists_of_text_know_where_each_stands() {
    let read = |fields: &Fields<'_>| fields.texts("key");
    let item = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    check(
        read,
        [
            (json!(["a", 2]), vec![item("key[0]", "a"), item("key[1]", "2")]),
            (json!("a"), vec![item("key", "a")]),
            (json!(null), vec![]),
        ],
    );
    check_errors(
        read,
        [
            (json!(5), "`key` must be a list, not a number"),
            (json!({}), "`key` must be a list, not an object"),
            (json!(["a", null]), "`key[1]` must be text, not nothing"),
            (json!([["a"]]), "`key[0]` must be text, not a list"),
        ],
    );
}

#[test]
fn hosts_are_checked() {
    let read = |fields: &Fields<'_>| fields.host("key");
    let host = |text: &'static str| Some(HeaderValue::from_static(text));
    check(
        read,
        [
            (json!("api.example.com"), host("api.example.com")),
            (json!("10.0.0.5:8000"), host("10.0.0.5:8000")),
            (json!("[::1]:80"), host("[::1]:80")),
            (json!(""), None),
        ],
    );
    for text in
        ["a b", "user@host", "user@host:80", "host:", "host:99999", "host/path", "https:", ":80"]
    {
        assert_eq!(with(json!(text), read).unwrap_err(), "`key` has no usable host", "{text}");
    }
}

#[test]
fn paths_begin_with_a_slash() {
    let read = |fields: &Fields<'_>| fields.path("key");
    check(
        read,
        [
            (json!("/v1"), "/v1".to_owned()),
            (json!("v1/{file_id}?a=b"), "/v1/{file_id}?a=b".to_owned()),
            (json!(""), String::new()),
        ],
    );
    for text in ["https://a.test/v1", "/a b", "/a#b", "/a\nb"] {
        let error = with(json!(text), read).unwrap_err();
        assert_eq!(error, "`key` must be a path such as `/v1/chat/completions`", "{text}");
    }
}

#[test]
fn an_error_inside_an_object_has_the_whole_path() {
    let error = inside("failover", wrong_type("enabled", "a boolean", &json!([])));
    assert_eq!(error.path, "failover.enabled");
    assert_eq!(error.message, "`failover.enabled` must be a boolean, not a list");
}
