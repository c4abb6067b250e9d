//! Edits of JSON text by key: one value set, some members removed. What is
//! not named keeps its bytes.
//!
//! For the few bodies that a setting or a vendor wants changed in depth; each
//! edit writes the text anew, so the edits that most requests need are in
//! `scan::Splice` instead.

use std::ops::Range;

use super::{elements, encode_string, for_each_member, range_in};

/// A key of an object on the way is there twice: two readers could understand
/// the text differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Repeated;

/// `text` with `value`, which is JSON, in the place that `keys` lead to;
/// `None` where it stays as it is. What is missing on the way is made; a list
/// takes the number of an element, or its length or `-1` for one more.
/// Without `overwrites` only what is absent is set.
///
/// # Errors
/// A key is there twice.
pub(crate) fn set(
    text: &str,
    keys: &[&str],
    value: &str,
    overwrites: bool,
) -> Result<Option<String>, Repeated> {
    let mut here = text.trim_matches([' ', '\t', '\r', '\n']);
    let mut rest = keys;
    while let Some((key, behind)) = rest.split_first() {
        let at = range_in(text, here);
        let step = match here.as_bytes().first() {
            Some(b'{') => in_object(here, key)?,
            Some(b'[') => in_list(here, key),
            _ if overwrites => return Ok(Some(put(text, at, &nested(rest, value)))),
            _ => return Ok(None),
        };
        let comma = |is_empty: bool| if is_empty { "" } else { "," };
        let (insert_at, new) = match step {
            Step::Into(next) => {
                here = next;
                rest = behind;
                continue;
            }
            Step::Member { is_empty } => {
                let member = format!("{}:{}", encode_string(key), nested(behind, value));
                (at.start + 1, member + comma(is_empty))
            }
            Step::Element { is_empty } => {
                (at.end - 1, comma(is_empty).to_owned() + &nested(behind, value))
            }
            Step::Nowhere => return Ok(None),
        };
        return Ok(Some(put(text, insert_at..insert_at, &new)));
    }
    let changes = overwrites && here != value;
    Ok(changes.then(|| put(text, range_in(text, here), value)))
}

/// `text`, an object, without the members of these names; `None` where it has
/// none of them.
pub(crate) fn without(text: &str, names: &[&str]) -> Option<String> {
    // Each member from behind the comma before it to the end of its value.
    let mut members: Vec<(bool, Range<usize>)> = Vec::new();
    let start = text.find('{')? + 1;
    for_each_member(text, |key, raw| {
        let end = range_in(text, raw).end;
        let start = members.last().map_or(start, |(_, before)| behind_comma(text, before.end));
        members.push((names.contains(&key), start..end));
    })
    .ok()?;
    if !members.iter().any(|(is_named, _)| *is_named) {
        return None;
    }
    let kept = members.iter().filter(|(is_named, _)| !is_named);
    let kept: Vec<&str> = kept.filter_map(|(_, at)| text.get(at.clone())).collect();
    let end = members.last().map_or(start, |(_, at)| at.end);
    Some(put(text, start..end, &kept.join(",")))
}

/// The raw value of a member of the object that `text` is, the last one if
/// there are several, as most readers take it.
pub(crate) fn member<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut found = None;
    for_each_member(text, |key, raw| {
        if key == name {
            found = Some(raw);
        }
    })
    .ok()?;
    found
}

/// `text` with `new` in place of `at`.
pub(crate) fn put(text: &str, at: Range<usize>, new: &str) -> String {
    let before = text.get(..at.start).unwrap_or_default();
    let behind = text.get(at.end..).unwrap_or_default();
    [before, new, behind].concat()
}

enum Step<'a> {
    /// It is there.
    Into(&'a str),
    /// The object has no such member.
    Member { is_empty: bool },
    /// The list ends here.
    Element { is_empty: bool },
    /// There is no such place.
    Nowhere,
}

fn in_object<'a>(object: &'a str, key: &str) -> Result<Step<'a>, Repeated> {
    let (mut found, mut is_empty, mut is_repeated) = (None, true, false);
    let read = for_each_member(object, |name, raw| {
        is_empty = false;
        if name == key {
            is_repeated |= found.replace(raw).is_some();
        }
    });
    match (read, found) {
        (Err(_), _) => Ok(Step::Nowhere),
        _ if is_repeated => Err(Repeated),
        (Ok(()), Some(raw)) => Ok(Step::Into(raw)),
        (Ok(()), None) => Ok(Step::Member { is_empty }),
    }
}

fn in_list<'a>(list: &'a str, key: &str) -> Step<'a> {
    let Ok(elements) = elements(list) else { return Step::Nowhere };
    let is_empty = elements.is_empty();
    if key == "-1" {
        return Step::Element { is_empty };
    }
    match key.parse::<usize>() {
        Ok(index) if index == elements.len() => Step::Element { is_empty },
        Ok(index) => elements.get(index).map_or(Step::Nowhere, |raw| Step::Into(raw)),
        Err(_) => Step::Nowhere,
    }
}

/// `value` inside what the keys ask for.
fn nested(keys: &[&str], value: &str) -> String {
    keys.iter().rev().fold(value.to_owned(), |inner, key| match *key {
        "0" | "-1" => format!("[{inner}]"),
        key => format!("{{{}:{inner}}}", encode_string(key)),
    })
}

fn behind_comma(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.find(',').map_or(0, |comma| comma + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    /// What becomes of `text`; `-` where it stays.
    #[track_caller]
    fn check_set(text: &str, path: &str, overwrites: bool, expected: &str) {
        let keys: Vec<&str> = path.split('.').collect();
        let found = set(text, &keys, "9", overwrites);
        let shown = match &found {
            Ok(Some(text)) => text,
            Ok(None) => "-",
            Err(Repeated) => "twice",
        };
        assert_eq!(shown, expected, "{text} {path}");
        if let Ok(Some(text)) = &found {
            assert!(serde_json::from_str::<serde_json::Value>(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_value_is_set_in_its_place() {
        for (text, path, expected) in [
            ("{}", "a", r#"{"a":9}"#),
            (r#" { "b" : 1 } "#, "a", r#" {"a":9, "b" : 1 } "#),
            (r#"{"a":1.0e5,"b":[ ]}"#, "a", r#"{"a":9,"b":[ ]}"#),
            (r#"{"a":{"c":1}}"#, "a.b", r#"{"a":{"b":9,"c":1}}"#),
            (r#"{"a":{}}"#, "a.b.c", r#"{"a":{"b":{"c":9}}}"#),
            (r#"{"a":null}"#, "a.b", r#"{"a":{"b":9}}"#),
            (r#"{"a":"x"}"#, "a.b", r#"{"a":{"b":9}}"#),
            (r#"{"a":[1,2]}"#, "a.0", r#"{"a":[9,2]}"#),
            (r#"{"a":[1,{}]}"#, "a.1.b", r#"{"a":[1,{"b":9}]}"#),
            (r#"{"a":[1,2]}"#, "a.2", r#"{"a":[1,2,9]}"#),
            (r#"{"a":[1,2]}"#, "a.-1", r#"{"a":[1,2,9]}"#),
            (r#"{"a":[]}"#, "a.0.b", r#"{"a":[{"b":9}]}"#),
            ("{}", "a.0", r#"{"a":[9]}"#),
            (r#"{"a":[1]}"#, "a.5", "-"),
            (r#"{"a":[1]}"#, "a.b", "-"),
            (r#"{"a":9}"#, "a", "-"),
            (r#"{"a":1,"a":2}"#, "a", "twice"),
            (r#"{"a":1,"\u0061":2}"#, "a", "twice"),
            (r#"{"a":{"b":1,"b":2}}"#, "a.b", "twice"),
            (r#"{"a":"#, "a", "-"),
        ] {
            check_set(text, path, true, expected);
        }
    }

    #[test]
    fn what_is_there_can_be_left_alone() {
        for (text, path, expected) in [
            ("{}", "a", r#"{"a":9}"#),
            (r#"{"a":1}"#, "a", "-"),
            (r#"{"a":null}"#, "a", "-"),
            (r#"{"a":"x"}"#, "a.b", "-"),
            (r#"{"a":{"c":1}}"#, "a.b", r#"{"a":{"b":9,"c":1}}"#),
        ] {
            check_set(text, path, false, expected);
        }
    }

    #[test]
    fn members_are_removed_with_their_commas() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(without(text, &["a", "b"]).as_deref(), expected, "{text}");
        };
        check(r#"{"c":1}"#, None);
        check("{}", None);
        check("[1]", None);
        check(r#"{"a":1}"#, Some("{}"));
        check(r#"{ "a" : 1 , "b" : "," }"#, Some("{ }"));
        check(r#"{"a":1,"c":2}"#, Some(r#"{"c":2}"#));
        check(r#"{"c":"a,b" , "a":1}"#, Some(r#"{"c":"a,b"}"#));
        check(r#" {"a":1, "c":2 ,"b":{"a":[1,2]}, "d":3} "#, Some(r#" { "c":2, "d":3} "#));
        check(r#"{"a":1,"c":{"a":1},"a":2}"#, Some(r#"{"c":{"a":1}}"#));
    }

    #[test]
    fn the_last_member_of_a_name_counts() {
        assert_eq!(member(r#"{"a":1,"a": 2 }"#, "a"), Some("2"));
        assert_eq!(member(r#"{"b":1}"#, "a"), None);
        assert_eq!(member("5", "a"), None);
    }
    /// Objects of few keys, nested, with white space.
    fn object() -> impl Strategy<Value = (Map<String, Value>, String)> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            "[a,\"{} ]{0,3}".prop_map(Value::from)
        ];
        let value = leaf.prop_recursive(2, 8, 3, |inner| {
            proptest::collection::btree_map("[abc]", inner, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect()))
        });
        (proptest::collection::btree_map("[abc]", value, 0..4), any::<bool>()).prop_map(
            |(members, is_pretty)| {
                let map: Map<String, Value> = members.into_iter().collect();
                let text = match is_pretty {
                    true => serde_json::to_string_pretty(&map).unwrap(),
                    false => serde_json::to_string(&map).unwrap(),
                };
                (map, text)
            },
        )
    }

    proptest! {
        #[test]
        fn edits_do_what_they_would_do_to_values((map, text) in object()) {
            let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            let removed = without(&text, &["a", "b"]);
            let mut expected = map.clone();
            expected.retain(|key, _| key == "c");
            prop_assert_eq!(removed.is_none(), expected == map);
            prop_assert_eq!(parse(removed.as_deref().unwrap_or(&text)), Value::Object(expected));

            let changed = set(&text, &["a", "b"], "9", true).unwrap();
            let mut expected = Value::Object(map);
            if !expected["a"].is_object() {
                expected["a"] = json!({});
            }
            expected["a"]["b"] = json!(9);
            prop_assert_eq!(parse(changed.as_deref().unwrap_or(&text)), expected);
        }
    }
}
