use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Option<Usage> {
    last_usage(text.as_bytes())
}

/// `expected`: prompt, completion, total, cached, reasoning.
#[track_caller]
fn check(text: &str, expected: [Option<u64>; 5]) {
    let usage = read(text).unwrap_or_default();
    let found = [
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.total_tokens,
        usage.cached_tokens,
        usage.reasoning_tokens,
    ];
    assert_eq!(found, expected, "{text}");
}

#[test]
fn openai_chat() {
    check(
        r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21,
            "prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0},
            "completion_tokens_details":{"reasoning_tokens":5}},"system_fingerprint":"x"}"#,
        [Some(9), Some(12), Some(21), Some(4), Some(5)],
    );
}

#[test]
fn responses_and_anthropic() {
    check(
        r#"{"usage":{"input_tokens":1,"input_tokens_details":{"cached_tokens":2},
            "output_tokens":3,"output_tokens_details":{"reasoning_tokens":4},"total_tokens":5}}"#,
        [Some(1), Some(3), Some(5), Some(2), Some(4)],
    );
    check(
        r#"{"usage":{"input_tokens":10,"cache_read_input_tokens":7,"output_tokens":3}}"#,
        [Some(10), Some(3), None, Some(7), None],
    );
}

#[test]
fn the_last_object_of_a_stream_counts() {
    check(
        "data: {\"usage\":{\"prompt_tokens\":1}}\n\n\
         data: {\"usage\" : {\"prompt_tokens\":2}}\n\n\
         data: {\"usage\":null}\n\ndata: {\"usage\":{}}\n\ndata: [DONE]\n\n",
        [Some(2), None, None, None, None],
    );
}

#[test]
fn text_that_looks_like_usage_does_not_count() {
    check(
        r#"{"usage":{"prompt_tokens":1},"content":"{\"usage\":{\"prompt_tokens\":9}}"}"#,
        [Some(1), None, None, None, None],
    );
    check(
        r#"{"usage":{"prompt_tokens":1},"my \"usage":{"prompt_tokens":9}}"#,
        [Some(1), None, None, None, None],
    );
    check(
        r#"{"usage":{"prompt_tokens":1},"a":["usage",{"b":2}]}"#,
        [Some(1), None, None, None, None],
    );
}

#[test]
fn an_object_that_breaks_off_does_not_count() {
    check(
        "{\"usage\":{\"prompt_tokens\":1}}\n{\"usage\":{\"prompt_tokens\":2",
        [Some(1), None, None, None, None],
    );
}

#[test]
fn odd_numbers_count_as_absent() {
    let numbers = [
        ("-1", None),
        ("null", None),
        ("\"7\"", None),
        ("[7]", None),
        ("{\"a\":7}", None),
        ("true", None),
        ("1e400", None),
        ("123456789012345678901234567890", None),
        ("18446744073709551615", Some(u64::MAX)),
        ("7.0", Some(7)),
        ("1e3", Some(1000)),
    ];
    for (number, expected) in numbers {
        let text = format!(r#"{{"usage":{{"prompt_tokens":{number},"completion_tokens":3}}}}"#);
        let completion = if number == "1e400" { None } else { Some(3) };
        check(&text, [expected, completion, None, None, None]);
    }
    check(
        r#"{"usage":{"prompt_tokens":1,"prompt_tokens_details":null}}"#,
        [Some(1), None, None, None, None],
    );
}

#[test]
fn nothing_to_find() {
    for text in ["", "{}", r#"{"usage":null}"#, r#""usage"#, r#""usage":"#, r#"{"usage":{"x":1}}"#]
    {
        assert_eq!(read(text), None, "{text}");
    }
}

#[test]
fn deep_nesting_is_no_usage() {
    let deep = format!(r#"{{"usage":{{"prompt_tokens":{}"#, r#"{"cached_tokens":"#.repeat(100_000));
    assert_eq!(read(&deep), None);
}

#[test]
fn the_total_is_a_sum_unless_it_is_told() {
    let usage = |prompt_tokens, completion_tokens, total_tokens| Usage {
        prompt_tokens,
        completion_tokens,
        total_tokens,
        ..Usage::default()
    };
    assert_eq!(usage(Some(1), Some(2), Some(9)).total(), Some(9));
    assert_eq!(usage(Some(1), Some(2), None).total(), Some(3));
    assert_eq!(usage(Some(1), None, None).total(), Some(1));
    assert_eq!(usage(None, None, None).total(), None);
    assert_eq!(usage(Some(u64::MAX), Some(2), None).total(), Some(u64::MAX));
}

#[test]
fn large_chunks_are_kept_by_reference_and_small_ones_are_not() {
    let large = Bytes::from(vec![b'x'; TAIL_BYTES_MIN]);
    let mut tail = Tail::new();
    tail.push(&large);
    assert_eq!(tail.large.as_ptr(), large.as_ptr());
    for _ in 0..1000 {
        tail.push(&large.slice(..100));
        assert!(tail.small.capacity() <= 4 * TAIL_BYTES_MIN);
    }
    assert!(tail.large.is_empty(), "no reference to a buffer whose bytes are out of reach");
}

proptest! {
    /// At least the last `TAIL_BYTES_MIN` bytes are there, however they came.
    #[test]
    fn the_end_is_kept(lengths in proptest::collection::vec(
        prop_oneof![0usize..200, 4000usize..20000], 0..40,
    )) {
        let mut tail = Tail::new();
        let mut all = Vec::new();
        for (index, length) in lengths.into_iter().enumerate() {
            let chunk = Bytes::from(vec![index as u8; length]);
            tail.push(&chunk);
            all.extend_from_slice(&chunk);
        }
        let kept = [&tail.large[..], &tail.small].concat();
        prop_assert!(all.ends_with(&kept));
        prop_assert!(kept.len() >= all.len().min(TAIL_BYTES_MIN));
    }

    #[test]
    fn chunks_say_nothing(cuts in proptest::collection::vec(0usize..12000, 0..6)) {
        let filler = "x".repeat(9000);
        let text = format!(r#"{{"c":"{filler}","usage":{{"total_tokens":7}},"d":"{}"}}"#, &filler[..4000]);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let mut tail = Tail::new();
        let text = Bytes::from(text);
        for pair in cuts.windows(2) {
            tail.push(&text.slice(pair[0]..pair[1]));
        }
        prop_assert_eq!(tail.usage().and_then(|usage| usage.total()), Some(7));
    }
}
