use super::*;
use crate::sse::SseDecoder;

/// What comes out of a stage that gets `text` in chunks of `size` bytes.
fn pass(mut stage: Box<dyn BodyStage>, text: &str, size: usize, is_stream: bool) -> String {
    let mut output = Output::default();
    let mut decoder = SseDecoder::new();
    for chunk in text.as_bytes().chunks(size) {
        let raw = Bytes::copy_from_slice(chunk);
        let mut pieces = Vec::new();
        match is_stream {
            true => decoder.push(raw, &mut pieces).unwrap(),
            false => pieces.push(Piece { raw, event: None }),
        }
        for piece in pieces.drain(..) {
            stage.push(piece, &mut output).unwrap();
        }
    }
    if let Some(piece) = decoder.finish() {
        stage.push(piece, &mut output).unwrap();
    }
    stage.finish(&mut output).unwrap();
    let raw: Vec<Bytes> = output.pieces.into_iter().map(|piece| piece.raw).collect();
    String::from_utf8(raw.concat()).unwrap()
}

#[track_caller]
fn check_body(body: &str, expected: &str) {
    for size in [1, 7, 1000] {
        assert_eq!(pass(stage(false), body, size, false), expected);
    }
}

#[test]
fn reasoning_becomes_the_content_of_a_body_without() {
    let body = |message: &str| {
        format!(r#"{{"id":"i", "choices":[{{"index":0,"message":{message}}}],"usage":{{}}}}"#)
    };
    for (message, expected) in [
        (
            r#"{"role":"assistant","reasoning_content":"a\n","content":""}"#,
            r#"{"content":"a\n","role":"assistant"}"#,
        ),
        (r#"{"reasoning_content":"a","content":null,"x":1}"#, r#"{"content":"a","x":1}"#),
        (r#"{"reasoning_content":"a","content":" \n"}"#, r#"{"content":"a"}"#),
        (r#"{"reasoning_content":"a"}"#, r#"{"content":"a"}"#),
    ] {
        check_body(&body(message), &body(expected));
    }
    for same in [
        r#"{"reasoning_content":"a","content":"b"}"#,
        r#"{"reasoning_content":"a","content":[{"type":"text","text":""}]}"#,
        r#"{"reasoning_content":null,"content":null}"#,
        r#"{"reasoning_content":" ","content":""}"#,
        r#"{"content":""}"#,
    ] {
        check_body(&body(same), &body(same));
    }
}

#[test]
fn every_choice_of_a_body_counts() {
    check_body(
        r#"{"choices":[{"message":{"reasoning_content":"a"}},{},{"message":{"content":"b","reasoning_content":"c"}},{"message":{"reasoning_content":"d"}}]}"#,
        r#"{"choices":[{"message":{"content":"a"}},{},{"message":{"content":"b","reasoning_content":"c"}},{"message":{"content":"d"}}]}"#,
    );
}

#[test]
fn other_bodies_pass() {
    for body in ["", "{}", "[]", "no JSON", r#"{"choices":5}"#, r#"{"choices":[5]}"#] {
        check_body(body, body);
    }
    let large = format!(
        r#"{{"choices":[{{"message":{{"reasoning_content":"{}"}}}}]}}"#,
        "x".repeat(KEPT_BYTES_MAX)
    );
    assert!(pass(stage(false), &large, 1 << 20, false) == large);
}

fn chunk(choice: &str) -> String {
    format!("data: {{\"id\":\"i\",\"choices\":[{choice}],\"model\":\"m\"}}\n\n")
}

#[track_caller]
fn check_stream(stream: &str, expected: &str) {
    for size in [1, 7, 1000] {
        assert_eq!(pass(stage(true), stream, size, true), expected);
    }
}

const DONE: &str = "data: [DONE]\n\n";

/// The chunk that is added for a choice.
fn added(index: u64, content: &str) -> String {
    format!(
        "data: {{\"choices\":[{{\"index\":{index},\"delta\":{{\"content\":\"{content}\"}},\
         \"finish_reason\":null}}],\"id\":\"i\",\"model\":\"m\"}}\n\n"
    )
}

#[test]
fn reasoning_becomes_the_content_of_a_stream_without() {
    let thinks = [
        chunk(r#"{"index":0,"delta":{"role":"assistant","content":""}}"#),
        chunk(r#"{"index":0,"delta":{"reasoning_content":"a\n"}}"#),
        chunk(r#"{"index":0,"delta":{"reasoning":"b"},"finish_reason":null}"#),
    ]
    .concat();
    let stops = chunk(r#"{"index":0,"delta":{},"finish_reason":"stop"}"#);
    let content = added(0, "a\\nb");
    check_stream(&[&thinks, &stops, DONE].concat(), &[&thinks, &content, &stops, DONE].concat());
    check_stream(&[&*thinks, DONE].concat(), &[&thinks, &*content, DONE].concat());
    check_stream(&thinks, &[&*thinks, &content].concat());
}

#[test]
fn a_stream_with_content_passes() {
    let stream = [
        chunk(r#"{"index":0,"delta":{"reasoning_content":"a"}}"#),
        chunk(r#"{"index":0,"delta":{"content":"b"}}"#),
        chunk(r#"{"index":0,"delta":{"reasoning_content":"c"}}"#),
        chunk(r#"{"index":0,"delta":{},"finish_reason":"stop"}"#),
        ": comment\n\n".to_owned(),
        "data: {\"choices\":[],\"usage\":{}}\n\n".to_owned(),
        "data: no JSON\n\n".to_owned(),
        DONE.to_owned(),
    ]
    .concat();
    check_stream(&stream, &stream);
}

#[test]
fn every_choice_of_a_stream_counts() {
    let both = chunk(
        r#"{"index":0,"delta":{"reasoning_content":"a"}},{"index":1,"delta":{"reasoning_content":"b"}}"#,
    );
    let one = chunk(r#"{"index":1,"delta":{"content":"c"},"finish_reason":"stop"}"#);
    let stream = [&both, &one, DONE].concat();
    check_stream(&stream, &[&both, &one, &*added(0, "a"), DONE].concat());
}

#[test]
fn reasoning_that_is_too_large_is_not_kept() {
    let part = chunk(&format!(
        r#"{{"index":0,"delta":{{"reasoning_content":"{}"}}}}"#,
        "x".repeat(1 << 20)
    ));
    let stream = part.repeat(9);
    assert!(pass(stage(true), &stream, 1 << 20, true) == stream);
}
