use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;

/// What the two readers make of a text: the members of an object, the
/// elements of an array, or nothing.
#[track_caller]
fn check(text: &str) {
    let mut members = Vec::new();
    let object = for_each_member(text, |key, raw| members.push((key.to_owned(), raw)));
    let expected = serde_json::from_str::<HashMap<String, &RawValue>>(text);
    assert_eq!(object.is_ok(), expected.is_ok(), "{text:?}: {object:?} {expected:?}");
    if let (Ok(()), Ok(expected)) = (object, expected) {
        let members: HashMap<_, _> = members.into_iter().collect();
        let expected: HashMap<_, _> =
            expected.into_iter().map(|(key, raw)| (key, raw.get())).collect();
        assert_eq!(members, expected, "{text:?}");
    }
    let array = elements(text);
    let expected = serde_json::from_str::<Vec<&RawValue>>(text);
    let expected = expected.map(|raws| raws.into_iter().map(RawValue::get).collect::<Vec<_>>());
    assert_eq!(array.ok(), expected.ok(), "{text:?}");
}

#[test]
fn texts_are_read_as_serde_reads_them() {
    for text in [
        "",
        " ",
        "{}",
        "[]",
        " { } ",
        "[ ]x",
        "{} {",
        "{,}",
        "[,]",
        "[1,]",
        "{\"a\":1,}",
        "[1 2]",
        "{\"a\" 1}",
        "{\"a\":}",
        "{a:1}",
        "{\"a\":1",
        "[1",
        "[\"a",
        "[\"\\",
        "[\"\\u12",
        "null",
        "[nul]",
        "[null,true,false]",
        "[truefalse]",
        "[tru",
        "[[],{},[[]],[{}]]",
        "[{]}",
        "[[}]",
        "[{\"a\":[{\"b\":{}}]}]",
        "[{\"a\":1 \"b\":2}]",
        "[{\"a\":1,}]",
        "[{1:1}]",
        "[{\"a\"}]",
        "[0]",
        "[-0]",
        "[01]",
        "[-01]",
        "[-]",
        "[+1]",
        "[1.]",
        "[.5]",
        "[1.5e]",
        "[1e+]",
        "[1E-7]",
        "[1e400]",
        "[123456789012345678901234567890]",
        "[0x1]",
        "[1_0]",
        "[NaN]",
        "[-Infinity]",
        "[\"\\b\\f\\n\\r\\t\\/\\\\\\\"\\u00e9\"]",
        "[\"\\x\"]",
        "[\"\\u00g0\"]",
        "[\"\\uD800\"]",
        "{\"\\uD800\":1}",
        "{\"\\uD83D\\uDE00\":1}",
        "{\"\\u0061\":\"\\u\"}",
        "[\"\u{7f}\u{0}\"]",
        "[\"a\tb\"]",
        "{\"a\nb\":1}",
        "{\"\u{1f}\":1}",
        "\u{feff}{}",
        "\u{a0}{}",
        "[1]\u{b}",
        "{\"a\":1}\r\n\t ",
        "{\"a\":1}\0",
        "{\"é\":\"日本\"}",
        "['a']",
        "[1,,2]",
        "[/**/1]",
    ] {
        check(text);
    }
}

#[test]
fn what_ends_a_string_is_found_wherever_it_stands() {
    for length in 0..200 {
        let plain = "x".repeat(length);
        check(&format!("[\"{plain}\"]"));
        check(&format!("[\"{plain}\\\"\"]"));
        check(&format!("[\"{plain}\n{plain}\"]"));
        check(&format!("[\"{plain}é{plain}\"]"));
        check(&format!("[\"{plain}"));
        check(&format!("{{\"{plain}\":\"{plain}\\u00e9{plain}\"}}"));
    }
}

#[test]
fn depth_costs_no_stack() {
    let deep = format!("[{}{}]", "[{\"a\":".repeat(500_000), "}]".repeat(500_000));
    assert_eq!(elements(&deep).unwrap_err().at, deep.find('}').unwrap());
    let deep = format!("[{}1{}]", "[{\"a\":".repeat(500_000), "}]".repeat(500_000));
    assert_eq!(elements(&deep).unwrap(), [&deep[1..deep.len() - 1]]);
}

/// JSON with more of what is easily got wrong than arbitrary text has.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[\\[\\]{}:,\"\\\\ \n0-9.eE+\\-]{1,3}",
        Just("\"a\":".to_owned()),
        Just("{\"k\":[1,{\"x\":null}]}".to_owned()),
        Just("true,".to_owned()),
        "\"[a-z\\\\u\"é\u{1}]{0,40}\"",
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn pieces_are_read_as_serde_reads_them(text in pieces()) {
        check(&text);
        check(&format!("[{text}]"));
        check(&format!("{{\"a\":{text}}}"));
    }

    #[test]
    fn values_are_read_as_serde_reads_them(keys in proptest::collection::vec(".{0,40}", 0..4),
                                           cut in 0_usize..400) {
        let value: serde_json::Value = keys.iter().map(|key| {
            (key.clone(), serde_json::json!([key, {"n": 1.5e-7, key.as_str(): [true, null]}]))
        }).collect::<serde_json::Map<_, _>>().into();
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            check(&text);
            check(text.get(..cut).unwrap_or(&text));
        }
    }
}
