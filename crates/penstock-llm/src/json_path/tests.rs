use super::*;

const CHAT: &str = r#" {"model":"m","messages":[{"role":"user","content":"one"},
    {"role":"assistant","content":"two"},{"role":"user","content":["three",3]}],
    "a.b":{"c":1.50},"n":null} "#;

#[track_caller]
fn check(path: &str, expected: Option<&str>) {
    let path = JsonPath::parse(path).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(path.find(CHAT).as_deref(), expected);
}

#[test]
fn keys_and_indexes_lead_to_raw_values() {
    check("model", Some(r#""m""#));
    check("messages.1.content", Some(r#""two""#));
    check("messages.2.content.1", Some("3"));
    check(r"a\.b.c", Some("1.50"));
    check("n", Some("null"));
    check("messages.9", None);
    check("messages.x", None);
    check("model.x", None);
    check("nowhere", None);
}

#[test]
fn lists_are_counted_mapped_filtered_and_reversed() {
    check("messages.#", Some("3"));
    check("messages.#.role", Some(r#"["user","assistant","user"]"#));
    check("messages.@reverse.0.content", Some(r#"["three",3]"#));
    check("messages|@reverse|1.content", Some(r#""two""#));
    check(r#"messages.#(role=="assistant").content"#, Some(r#""two""#));
    check(r#"messages.#(role=="user")#.content"#, Some(r#"["one",["three",3]]"#));
    check(r#"messages.#(role!="user").content"#, Some(r#""two""#));
    check(r#"messages.#(content%"o*").role"#, Some(r#""user""#));
    check(r#"messages.#(nothing).role"#, None);
    check("messages.2.content.#(>2)", Some("3"));
    check("messages.0.@keys", Some(r#"["role","content"]"#));
    check("messages.0.@values.1", Some(r#""one""#));
    check("model.@reverse", Some(r#""m""#));
    check("@this.model", Some(r#""m""#));
}

#[test]
fn what_is_not_supported_is_said() {
    let check = |path: &str| assert!(JsonPath::parse(path).is_err(), "{path}");
    check("a.");
    check("a..b");
    check("a.@pretty");
    check("{a,b}");
    check("a*");
    check("#(a==1");
    check("#(a==1)b");
}

#[test]
fn broken_json_leads_nowhere() {
    let path = JsonPath::parse("a.b").unwrap();
    for text in ["", "{", r#"{"a":{"b":1}"#, "[1", "nul"] {
        assert_eq!(path.find(text), None, "{text}");
    }
}

#[test]
fn a_value_is_replaced_where_it_stands() {
    let check = |path: &str, text: &str, expected: &str| {
        let path = PlainPath::parse(path).unwrap();
        let edited = match path.edit(&path.locate(text), "x\"y") {
            Some((range, new)) => {
                [text.get(..range.start).unwrap(), &new, text.get(range.end..).unwrap()].concat()
            }
            None => "blocked".to_owned(),
        };
        assert_eq!(edited, expected, "{path:?} in {text}");
    };
    check("model", r#" { "model" : "a", "b":1.0 } "#, r#" { "model" : "x\"y", "b":1.0 } "#);
    check("a.model", r#"{"a":{"model":null}}"#, r#"{"a":{"model":"x\"y"}}"#);
    check("a.0.m", r#"{"a":[{"m":1}]}"#, r#"{"a":[{"m":"x\"y"}]}"#);
    check("a.b.c", r#"{"a":{"x":1}}"#, r#"{"a":{"b":{"c":"x\"y"},"x":1}}"#);
    check("model", "{}", r#"{"model":"x\"y"}"#);
    check("model", " { } ", r#" {"model":"x\"y" } "#);
    check("a.b", r#"{"a":"text"}"#, "blocked");
    check("a.1", r#"{"a":[1]}"#, "blocked");
    check("a.b", r#"{"a":{"b":1,"b":2}}"#, "blocked");
    check("a.b", r#"{"a":{},"a":{"b":2}}"#, "blocked");
    check("model", "nonsense", "blocked");
    check("model", r#"{"model":"a"} x"#, "blocked");
}

#[test]
fn only_keys_and_indexes_are_plain() {
    assert!(PlainPath::parse("a.0.b").is_some());
    for path in ["", "a.#", "a.@reverse", "#(a)", "a."] {
        assert_eq!(PlainPath::parse(path), None, "{path}");
    }
    assert!(PlainPath::parse("model").unwrap().is_key("model"));
    assert!(!PlainPath::parse("a.model").unwrap().is_key("model"));
}
