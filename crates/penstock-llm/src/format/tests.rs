//! One file per case below `golden/`: what one format says, and how the
//! others say it.
//!
//! `PENSTOCK_ACCEPT=1 cargo test -p penstock-llm` writes what is found into
//! the files; review it like code.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use super::translation::{Reader, Streaming, Translation, Writer};
use super::{anthropic, bedrock, gemini, openai, responses};
use crate::error::LlmError;
use crate::event_stream::frame;
use crate::sse::SseDecoder;
use crate::stage::{BodyStage, Output, Piece};

const NOW: u64 = 1_800_000_000;
/// Those that clients speak, and providers.
const FORMATS: [&str; 4] = ["openai", "anthropic", "gemini", "responses"];
/// A request that the responses answer.
const ECHOED: &str = r#"{"model": "asked", "instructions": "Be brief.", "temperature": 0.5}"#;
/// Those that only providers speak.
const PROVIDERS: [&str; 1] = ["bedrock"];

fn reader(format: &str) -> Reader {
    match format {
        "openai" => Reader::OpenAi(openai::Decoder::default()),
        "gemini" => Reader::Gemini(gemini::Decoder::default()),
        "responses" => Reader::Responses(responses::Decoder::default()),
        "bedrock" => Reader::Bedrock(bedrock::Decoder::new("req-1".into(), "claude".into())),
        _ => Reader::Anthropic(anthropic::Decoder::default()),
    }
}

fn writer(format: &str) -> Writer {
    match format {
        "openai" => Writer::OpenAi(openai::Encoder::new(NOW, true)),
        "gemini" => Writer::Gemini(gemini::Encoder::new(gemini::Form::Events, true)),
        "gemini, an array" => Writer::Gemini(gemini::Encoder::new(gemini::Form::Array, false)),
        "responses" => {
            let echo = responses::Echo::of(&serde_json::from_str(ECHOED).unwrap());
            Writer::Responses(Box::new(responses::Encoder::new(echo, NOW)))
        }
        _ => Writer::Anthropic(anthropic::Encoder::default()),
    }
}

fn translation(from: (&str, bool), to: (&str, bool)) -> Translation {
    Translation {
        reader: reader(from.0),
        writer: writer(to.0),
        now: NOW,
        from_stream: from.1,
        to_stream: to.1,
    }
}

fn request(from: &str, to: &str, body: &[u8]) -> Result<Value, LlmError> {
    let chat = match from {
        "openai" => openai::read_request(body)?,
        "gemini" => gemini::read_request(body, "gemini-2.5-flash".into(), true)?,
        "responses" => responses::read_request(body)?.0,
        _ => anthropic::read_request(body)?,
    };
    let all =
        openai::Dialect { takes_more: true, takes_reasoning: true, takes_cache_markers: true };
    match to {
        "openai" => openai::write_request(chat, all),
        "gemini" => gemini::write_request(chat, gemini::Dialect { takes_call_ids: true }),
        "responses" => responses::write_request(chat),
        "bedrock" => bedrock::write_request(chat, &bedrock::Options::default()),
        _ => anthropic::write_request(chat),
    }
}

/// The bytes of a stream: as it is, or of a line `TYPE JSON` per frame.
fn bytes_of(from: &str, input: &str) -> Vec<u8> {
    match from {
        "bedrock" => input
            .lines()
            .flat_map(|line| {
                let (name, payload) = line.split_once(' ').expect("a type and its payload");
                frame::event(name, payload)
            })
            .collect(),
        _ => input.as_bytes().to_vec(),
    }
}

fn stream(from: &str, to: &str, chunks: &[&[u8]]) -> String {
    let mut stage = Streaming::new(translation((from, true), (to, true)));
    let (mut decoder, mut output) = (SseDecoder::new(), Output::default());
    let mut push = |piece: Piece, output: &mut Output| stage.push(piece, output).unwrap();
    for chunk in chunks {
        let mut pieces = Vec::new();
        if from == "bedrock" {
            push(Piece { raw: Bytes::copy_from_slice(chunk), event: None }, &mut output);
            continue;
        }
        decoder.push(Bytes::copy_from_slice(chunk), &mut pieces).unwrap();
        for piece in pieces {
            push(piece, &mut output);
        }
    }
    if let Some(piece) = decoder.finish() {
        push(piece, &mut output);
    }
    stage.finish(&mut output).unwrap();
    for piece in &output.pieces {
        let Some(event) = &piece.event else { continue };
        let mut again = Vec::new();
        SseDecoder::new().push(piece.raw.clone(), &mut again).unwrap();
        assert_eq!(again[0].event.as_ref(), Some(event), "bytes and event agree");
    }
    output.pieces.iter().map(|piece| std::str::from_utf8(&piece.raw).unwrap()).collect()
}

fn whole(from: (&str, bool), to: (&str, bool), body: &[u8]) -> String {
    let body = translation(from, to).whole(Bytes::copy_from_slice(body));
    match body {
        Ok(body) if to.1 => String::from_utf8(body.to_vec()).unwrap(),
        Ok(body) => pretty(&serde_json::from_slice(&body).unwrap()),
        Err(error) => format!("{error:?}\n"),
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap() + "\n"
}

/// The sections of a file: a line `=== NAME`, and what follows.
fn sections(text: &str) -> Vec<(&str, &str)> {
    let parts = text.split("=== ").skip(1);
    parts.map(|part| part.split_once('\n').expect("a name ends with its line")).collect()
}

fn cases(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(folder);
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

/// Compares what `derive` makes of the first section of each file, in every
/// format, with the sections behind it.
fn check(
    folder: &str,
    formats: &[&str],
    derive: impl Fn(&str, &str, &str) -> Vec<(String, String)>,
) {
    let accepts = std::env::var_os("PENSTOCK_ACCEPT").is_some();
    let mut wrong = Vec::new();
    for path in cases(folder) {
        let text = std::fs::read_to_string(&path).unwrap();
        let (from, input) = sections(&text)[0];
        let mut found = format!("=== {from}\n{input}");
        for to in formats {
            for (name, output) in derive(from, to, input) {
                found.push_str(&format!("=== {name}\n{output}"));
            }
        }
        if accepts {
            std::fs::write(&path, &found).unwrap();
        } else if found != text {
            wrong.push(format!("{}\n{found}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn requests() {
    check("request", &[&FORMATS[..], &PROVIDERS].concat(), |from, to, input| {
        let output = match request(from, to, input.as_bytes()) {
            Ok(body) => pretty(&body),
            Err(error) => format!("{error:?}\n"),
        };
        vec![(format!("to {to}"), output)]
    });
}

#[test]
fn answers() {
    check("answer", &FORMATS, |from, to, input| {
        let body = input.as_bytes();
        vec![
            (format!("to {to}"), whole((from, false), (to, false), body)),
            (format!("to {to}, as a stream"), whole((from, false), (to, true), body)),
        ]
    });
}

#[test]
fn streams() {
    check("stream", &FORMATS, |from, to, input| {
        let input = bytes_of(from, input);
        vec![
            (format!("to {to}"), stream(from, to, &[&input])),
            (format!("to {to}, as a whole"), whole((from, true), (to, false), &input)),
        ]
        .into_iter()
        .chain((to == "gemini").then(|| {
            let to = "gemini, an array";
            (format!("to {to}"), stream(from, to, &[&input]))
        }))
        .collect()
    });
}

#[test]
fn an_array_is_json_and_has_no_comments() {
    let event = br#"data: {"choices":[{"delta":{"content":"a"}}]}"#;
    for chunks in [&[&b": ping\n\n"[..], event, b"\n\n: ping\n\n"][..], &[b": ping\n\n"]] {
        let text = stream("openai", "gemini, an array", chunks);
        assert!(serde_json::from_str::<Vec<Value>>(&text).is_ok(), "{text}");
    }
    let mut headers = http::HeaderMap::new();
    translation(("openai", true), ("gemini, an array", true)).head(&mut headers);
    assert_eq!(headers["content-type"], "application/json");
}

proptest! {
    #[test]
    fn it_does_not_matter_where_a_stream_is_cut(cuts in prop::collection::vec(0..10_000usize, 0..8)) {
        for path in cases("stream") {
            let text = std::fs::read_to_string(&path).unwrap();
            let (from, input) = sections(&text)[0];
            let input = &bytes_of(from, input)[..];
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (input.len() + 1)).collect();
            cuts.sort_unstable();
            let ends = cuts.iter().copied().chain([input.len()]);
            let starts = std::iter::once(0).chain(cuts.iter().copied());
            let chunks: Vec<_> = starts.zip(ends).map(|(start, end)| &input[start..end]).collect();
            for to in FORMATS {
                prop_assert_eq!(stream(from, to, &chunks), stream(from, to, &[input]));
            }
        }
    }

    #[test]
    fn no_bytes_are_too_strange(body in prop::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}\":,a-z0-9 ]{0,80}") {
        let inputs = [&body[..], text.as_bytes()];
        let all = [&FORMATS[..], &PROVIDERS].concat();
        for (from, to, input) in FORMATS.iter().flat_map(|client| {
            all.iter().flat_map(move |other| inputs.map(|input| (*client, *other, input)))
        }) {
            let _ = request(from, to, input);
            let (client, provider) = (from, to);
            let answer = translation((provider, false), (client, true));
            let _ = answer.whole(Bytes::copy_from_slice(input));
            let chunk = match provider {
                "bedrock" => frame::event("contentBlockDelta", &String::from_utf8_lossy(input)),
                _ => [b"data: ", input, b"\n\n"].concat(),
            };
            let _ = stream(provider, client, &[&chunk]);
            if provider == "bedrock" {
                let _ = stream(provider, client, &[input]);
            }
        }
    }
}
