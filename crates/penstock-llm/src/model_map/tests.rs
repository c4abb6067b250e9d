use proptest::prelude::*;

use super::*;

fn map(rules: &[(&str, &str)]) -> ModelMap {
    ModelMap::build(rules.iter().copied()).unwrap()
}

/// `expected` is the name that is sent.
#[track_caller]
fn check(rules: &[(&str, &str)], model: &str, expected: &str) {
    let map = map(rules);
    let mapped = map.map(model);
    assert_eq!(mapped.as_deref().unwrap_or(model), expected, "{rules:?} on {model}");
    assert_eq!(mapped.is_none(), model == expected, "an unchanged name is not a mapped one");
}

#[test]
fn exact_then_prefix_then_rest() {
    let rules = [("*", "c"), ("gpt-*", "b"), ("gpt-4", "a")];
    check(&rules, "gpt-4", "a");
    check(&rules, "gpt-4o", "b");
    check(&rules, "o3", "c");
    check(&rules, "", "c");
}

#[test]
fn no_rule_keeps_the_name() {
    check(&[], "gpt-4", "gpt-4");
    check(&[("other", "x")], "gpt-4", "gpt-4");
    assert!(map(&[]).is_empty());
    assert!(!map(&[("*", "")]).is_empty());
}

#[test]
fn an_empty_value_shields_a_name() {
    check(&[("keep", ""), ("*", "c")], "keep", "keep");
    check(&[("keep-*", ""), ("*", "c")], "keep-me", "keep-me");
    check(&[("~^keep", ""), ("*", "c")], "keep-me", "keep-me");
    check(&[("*", "")], "gpt-4", "gpt-4");
}

#[test]
fn the_longest_prefix_wins() {
    for rules in [
        [("g*", "1"), ("gpt-4*", "2"), ("gpt-*", "3")],
        [("gpt-*", "3"), ("gpt-4*", "2"), ("g*", "1")],
    ] {
        check(&rules, "gpt-4o", "2");
        check(&rules, "gpt-5", "3");
        check(&rules, "gemini", "1");
    }
}

#[test]
fn a_prefix_wins_over_a_regex() {
    check(&[("~gpt", "regex"), ("gpt*", "prefix")], "gpt-4", "prefix");
}

#[test]
fn regexes_are_tried_in_document_order() {
    check(&[("~gpt", "x"), ("~^gpt-4$", "y")], "gpt-4", "x-4");
    check(&[("~^gpt-4$", "y"), ("~gpt", "x")], "gpt-4", "y");
}

#[test]
fn a_regex_replaces_what_it_matches() {
    check(&[("~^gpt(.*)$", "openai/gpt$1")], "gpt-4o", "openai/gpt-4o");
    check(&[("~gpt", "qwen")], "my-gpt-4", "my-qwen-4");
    check(&[("~a", "b")], "banana", "bbnbnb");
    check(&[("~^(?P<name>[a-z]+)-(\\d)$", "${name}/$2")], "gpt-4", "gpt/4");
    check(&[("~^gpt-(\\d)$", "${1}x")], "gpt-4", "4x");
    check(&[("~^gpt-(\\d)$", "$$$1")], "gpt-4", "$4");
}

#[test]
fn a_group_name_is_read_as_far_as_it_goes() {
    // `$1x` is the group `1x`, which is not there; nothing is left, so the
    // name is kept.
    check(&[("~^gpt-(\\d)$", "$1x")], "gpt-4", "gpt-4");
    check(&[("~^gpt-(\\d)$", "a-$1x")], "gpt-4", "a-");
}

#[test]
fn a_regex_that_ends_in_a_star_is_a_regex() {
    check(&[("~^gpt-.*", "all")], "gpt-4", "all");
    check(&[("~^ab*", "x")], "abbb", "x");
    check(&[("~^ab*", "x")], "~^ab-1", "~^ab-1");
}

#[test]
fn a_broken_regex_is_told_by_its_key() {
    let error = ModelMap::build([("~(", "x")]).unwrap_err();
    assert_eq!(error.kind, ConfigErrorKind::ModelMapping);
    assert_eq!(error.path, "modelMapping.~(");
    let expected = "the model mapping rule `~(` is not a regular expression: unclosed group";
    assert_eq!(error.message, expected);
    assert_eq!(ModelMap::build([("~[.", "x")]).unwrap_err().path, r#"modelMapping["~[."]"#);
}

proptest! {
    /// The order in which exact names and prefixes are written says nothing.
    #[test]
    fn the_result_does_not_depend_on_order(
        rules in proptest::collection::btree_map("[ab]{0,3}\\*?", "[a-c]{0,2}", 0..8),
        models in proptest::collection::vec("[ab]{0,4}", 1..8),
        seed in any::<usize>(),
    ) {
        let rules: Vec<_> = rules.iter().map(|(key, value)| (&**key, &**value)).collect();
        let mut shuffled = rules.clone();
        let length = shuffled.len().max(1);
        shuffled.rotate_left(seed % length);
        if seed % 2 == 0 {
            shuffled.reverse();
        }
        let (one, other) = (map(&rules), map(&shuffled));
        for model in &models {
            prop_assert_eq!(one.map(model), other.map(model));
        }
    }

    /// A mapped name is never empty and never the name that came in.
    #[test]
    fn a_result_is_a_change(value in "\\PC{0,4}", model in "[ab]{0,4}", key in "(\\*|~a|a\\*|a)") {
        let map = map(&[(&key, &value)]);
        if let Some(name) = map.map(&model) {
            prop_assert!(!name.is_empty());
            prop_assert_ne!(&*name, &*model);
        }
    }
}
