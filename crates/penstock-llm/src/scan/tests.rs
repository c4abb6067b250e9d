use proptest::prelude::*;

use super::*;

#[track_caller]
fn scan(body: &str) -> Scan {
    Scan::of(body.as_bytes()).unwrap()
}

#[track_caller]
fn check_error(body: impl AsRef<[u8]>, expected: &str) {
    let error = Scan::of(body.as_ref()).unwrap_err();
    assert_eq!(error, LlmError::InvalidRequest(expected.into()));
}

#[test]
fn members_are_found_where_they_stand() {
    let body = r#" {"a":{"model":"no"}, "model" : "gpt" ,"stream":true,"messages":[ 1 ],
        "stream_options":{"x":1},"response_format":null} "#;
    let scan = scan(body);
    let at = |at: &Option<Range<usize>>| body.get(at.clone().unwrap()).unwrap();
    assert_eq!(scan.model.as_deref(), Some("gpt"));
    assert_eq!(at(&scan.model_at), r#""gpt""#);
    assert_eq!(at(&scan.stream_at), "true");
    assert_eq!(at(&scan.messages_at), "[ 1 ]");
    assert_eq!(at(&scan.stream_options_at), r#"{"x":1}"#);
    assert_eq!(at(&scan.response_format_at), "null");
    assert!(scan.stream && !scan.is_empty);
    assert_eq!(&body[scan.object.clone()], body.trim());
    assert_eq!(&body[..scan.insert_at()], " {");
}

#[test]
fn an_empty_object_is_empty() {
    let scan = scan(" { } ");
    assert_eq!(scan, Scan { object: 1..4, is_empty: true, ..Scan::default() });
}

#[test]
fn a_model_is_decoded() {
    assert_eq!(scan(r#"{"model":"g\u0070t-\"4\""}"#).model.as_deref(), Some(r#"gpt-"4""#));
    assert_eq!(scan(r#"{"mod\u0065l":"m"}"#).model.as_deref(), Some("m"));
}

#[test]
fn a_model_that_is_no_string_is_told_apart_from_none() {
    let number = scan(r#"{"model":5}"#);
    assert_eq!((number.model, number.model_is_no_string), (None, true));
    let null = scan(r#"{"model":null}"#);
    assert_eq!((null.model, null.model_is_no_string), (None, false));
    assert_eq!(null.model_at, Some(9..13));
}

#[test]
fn only_true_streams() {
    assert!(!scan(r#"{"stream":false}"#).stream);
    assert!(!scan(r#"{"stream":"true"}"#).stream);
    assert!(!scan(r#"{"stream":1}"#).stream);
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    check_error(r#"{"model":"a","model":"b"}"#, "the body has `model` twice");
    check_error(r#"{"model":"a","\u006dodel":"a"}"#, "the body has `model` twice");
    check_error(r#"{"stream":true,"stream":false}"#, "the body has `stream` twice");
    check_error(
        r#"{"stream_options":{},"stream_options":{}}"#,
        "the body has `stream_options` twice",
    );
}

#[test]
fn other_members_may_repeat() {
    let scan = scan(r#"{"messages":[1],"messages":[2],"user":1,"user":2}"#);
    assert_eq!(scan.messages_at, Some(27..30));
}

#[test]
fn what_is_no_object_is_refused() {
    check_error("", "the body is empty");
    check_error(" \n", "the body is empty");
    check_error("[]", "the body must be a JSON object");
    check_error("\"{}\"", "the body must be a JSON object");
    check_error("\u{feff}{}", "the body must be a JSON object");
    check_error(b"{\"model\":\"\xff\"}", "the body is not valid UTF-8");
    check_error(r#"{"model":"\ud800"}"#, "`model` is not valid Unicode");
}

#[test]
fn broken_json_is_refused_by_place_only() {
    check_error(r#"{"secret":"#, "the body is not valid JSON (line 1, column 10)");
    check_error(r#"{"model":"m"} {"#, "the body is not valid JSON (line 1, column 15)");
    check_error("{\"model\":\n\"secret\n\"}", "the body is not valid JSON (line 2, column 8)");
    check_error(r#"{"a":01}"#, "the body is not valid JSON (line 1, column 7)");
    check_error(r#"{"a":1,}"#, "the body is not valid JSON (line 1, column 8)");
}

#[test]
fn depth_costs_no_stack() {
    for depth in [200, 1_000_000] {
        let body = format!(r#"{{"a":{}{},"model":"m"}}"#, "[".repeat(depth), "]".repeat(depth));
        assert_eq!(scan(&body).model.as_deref(), Some("m"));
    }
    let open = format!(r#"{{"a":{}"#, r#"{"a":"#.repeat(1_000_000));
    assert!(Scan::of(open.as_bytes()).is_err());
}

fn joined(parts: &[Bytes]) -> Vec<u8> {
    parts.concat()
}

#[test]
fn a_splice_shares_what_it_keeps() {
    let body = Bytes::from_static(b"0123456789");
    let mut splice = Splice::new(&body);
    assert!(splice.is_empty());
    splice.replace(4..6, "ab");
    splice.insert(0, "<");
    splice.remove(8..10);
    assert!(!splice.is_empty());
    let parts = splice.into_parts();
    assert_eq!(joined(&parts), b"<0123ab67");
    let is_kept = |part: &&Bytes| body.as_ptr_range().contains(&part.as_ptr());
    let kept: Vec<_> = parts.iter().filter(is_kept).collect();
    assert_eq!(kept, [&body.slice(0..4), &body.slice(6..8)]);
}

#[test]
fn insertions_at_one_place_keep_their_order() {
    let body = Bytes::from_static(b"ad");
    let mut splice = Splice::new(&body);
    splice.replace(1..2, "D");
    splice.insert(1, "b");
    splice.insert(1, "c");
    splice.insert(2, "e");
    assert_eq!(joined(&splice.into_parts()), b"abcDe");
}

proptest! {
    /// A splice does what replacing from the back to the front does.
    #[test]
    fn a_splice_is_a_sequence_of_replacements(
        body in proptest::collection::vec(any::<u8>(), 0..40),
        cuts in proptest::collection::btree_set(0usize..40, 0..8),
        texts in proptest::collection::vec("[a-z]{0,3}", 4),
        is_reversed in any::<bool>(),
    ) {
        let cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= body.len()).collect();
        let mut edits: Vec<_> =
            cuts.chunks_exact(2).map(|pair| pair[0]..pair[1]).zip(&texts).collect();
        let mut expected = body.clone();
        for (range, text) in edits.iter().rev() {
            expected.splice(range.clone(), text.bytes());
        }
        if is_reversed {
            edits.reverse();
        }
        let body = Bytes::from(body);
        let mut splice = Splice::new(&body);
        for (range, text) in edits {
            splice.replace(range, text.clone());
        }
        prop_assert_eq!(joined(&splice.into_parts()), expected);
    }

    /// The scan agrees with a full parse.
    #[test]
    fn a_scan_finds_what_a_parse_finds(
        model in proptest::option::of("\\PC{0,8}"),
        stream in proptest::option::of(any::<bool>()),
        noise in proptest::collection::btree_map("[a-l]{1,3}", "\\PC{0,8}", 0..4),
    ) {
        let mut object = serde_json::Map::new();
        for (key, value) in noise {
            object.insert(key, serde_json::json!([{"model": value, "stream": value}]));
        }
        model.iter().for_each(|model| drop(object.insert("model".into(), model.clone().into())));
        stream.iter().for_each(|stream| drop(object.insert("stream".into(), (*stream).into())));
        let body = serde_json::to_string_pretty(&object).unwrap();
        let scan = Scan::of(body.as_bytes()).unwrap();
        prop_assert_eq!(scan.is_empty, object.is_empty());
        prop_assert_eq!(scan.model, model);
        prop_assert_eq!(scan.stream, stream == Some(true));
    }

    #[test]
    fn no_bytes_are_too_odd(body in proptest::collection::vec(any::<u8>(), 0..60)) {
        let is_object = serde_json::from_slice::<serde_json::Map<_, _>>(&body).is_ok();
        prop_assert!(Scan::of(&body).is_err() || is_object);
    }
}
