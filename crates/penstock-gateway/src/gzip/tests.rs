use std::collections::VecDeque;

use proptest::prelude::*;
use proptest::strategy::Strategy;
use zlib_rs::{Inflate, InflateFlush};

use super::*;

fn gzip() -> manifest::Gzip {
    manifest::Gzip::default()
}

/// `NAME: VALUE` lines.
fn headers(lines: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.lines() {
        let (name, value) = line.split_once(": ").unwrap();
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

#[test]
fn who_wants_gzip_most_gets_it() {
    let check = |lines: &str, expected: bool| {
        assert_eq!(accepts(&headers(lines)), expected, "{lines:?}");
    };
    check("", false);
    for (value, expected) in [
        ("gzip", true),
        ("GZIP", true),
        ("gzip, deflate, br", true),
        ("br,gzip", true),
        ("deflate", false),
        ("x-gzip", false),
        ("", false),
        (",", false),
        ("*", true),
        ("*;q=0", false),
        ("*;q=0.1", true),
        ("br, *;q=0.1", true),
        ("gzip;q=0", false),
        ("gzip;q=0.0", false),
        ("gzip;q=0, *", false),
        ("*, gzip;q=0", false),
        ("gzip;q=0, gzip", false),
        ("gzip;q=0.001", true),
        ("gzip ; Q = 0.5", true),
        ("identity", false),
        ("identity;q=0", false),
        ("identity;q=0, gzip", true),
        ("identity;q=0, *", true),
        ("identity, gzip", false),
        ("gzip, identity", true),
        ("gzip;q=0.5, identity", false),
        ("gzip;q=0.5, identity;q=0.4", true),
        ("gzip;q=0.5, *;q=0.4, identity;q=0.6", false),
        ("gzip;q=much", false),
        ("gzip;q=much, *", true),
        ("gzip;q=NaN", false),
        ("gzip;q=-1", false),
        ("gzip;level=9", true),
        ("gzip;q=", false),
    ] {
        check(&format!("accept-encoding: {value}"), expected);
    }
    check("accept-encoding: br\naccept-encoding: gzip", true);
}

/// What becomes of an answer with `lines` in its head and a body of this
/// length: its head, with `gzip` before it where the body is compressed.
#[track_caller]
fn check_head(request: (&str, &Method), answer: (u16, &str, Option<u64>), expected: (bool, &str)) {
    let (accept, method) = request;
    let (status, lines, length) = answer;
    let offer =
        Offer::new(&Arc::new(Gzip::from(gzip())), &headers(&format!("accept-encoding: {accept}")));
    check_offer(&offer, (method, status, lines, length), expected);
}

#[track_caller]
fn check_offer(
    offer: &Offer,
    (method, status, lines, length): (&Method, u16, &str, Option<u64>),
    expected: (bool, &str),
) {
    let mut headers = headers(lines);
    let status = StatusCode::from_u16(status).unwrap();
    let encoder = offer.take(Compressible { method, status, headers: &mut headers, length });
    let shown: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    assert_eq!((encoder.is_some(), &*shown.join("\n")), expected, "{status} {lines}");
}

const VARIED: &str = "vary: Accept-Encoding\ncontent-encoding: gzip";

#[test]
fn large_texts_are_compressed() {
    let check = |lines: &str, length: Option<u64>, expected: (bool, &str)| {
        check_head(("gzip", &Method::GET), (200, lines, length), expected);
    };
    let json = |rest: &str| format!("content-type: application/json{rest}");
    check("", None, (true, VARIED));
    check("", Some(1024), (true, VARIED));
    check("", Some(1023), (false, ""));
    check(&json(""), None, (true, &json(&format!("\n{VARIED}"))));
    let with_charset = "content-type: Application/JSON; charset=utf-8";
    check(with_charset, None, (true, &format!("{with_charset}\n{VARIED}")));
    check(&json("\ncontent-length: 1024"), None, (true, &json(&format!("\n{VARIED}"))));
    let unchanged = [
        json("\ncontent-length: 1023"),
        json("\ncontent-length: much"),
        "content-type: text/event-stream".to_owned(),
        "content-type: application/grpc".to_owned(),
        "content-type: application/grpc+proto".to_owned(),
        "content-type: text/plainer".to_owned(),
        "content-type: ".to_owned(),
        json("\ncontent-encoding: br"),
        json("\ncontent-encoding: identity"),
        json("\ncache-control: no-transform"),
        json("\ncache-control: public\ncache-control: max-age=5, No-Transform"),
        json("\netag: \"a\""),
        json("\netag: W/\"a\""),
        json("\ncontent-range: bytes 0-4/5000"),
    ];
    for lines in &unchanged {
        check(lines, None, (false, lines));
    }
    let kept = "accept-ranges: bytes\ncache-control: public, no-transformation";
    check(kept, None, (true, &format!("{kept}\n{VARIED}")));
}

#[test]
fn what_has_no_body_of_its_own_only_tells_caches() {
    let check = |method: &Method, status: u16, lines: &str, expected: &str| {
        check_head(("gzip", method), (status, lines, Some(0)), (false, expected));
    };
    let told = "vary: Accept-Encoding";
    let head = "content-length: 5000\ncontent-type: text/plain";
    check(&Method::HEAD, 200, head, &format!("{head}\n{told}"));
    check(&Method::HEAD, 200, "content-length: 5", "content-length: 5");
    check(&Method::GET, 304, "", told);
    check(&Method::GET, 304, "etag: \"a\"", "etag: \"a\"");
    check(&Method::GET, 204, "", told);
    let part = "content-length: 5000\ncontent-range: bytes 0-4999/10000";
    check(&Method::GET, 206, part, part);
    check(&Method::HEAD, 206, "", "");
    check(&Method::GET, 206, "", "");
    check(&Method::GET, 200, "", "");
}

#[test]
fn caches_are_told_also_where_this_client_gets_it_as_it_is() {
    let check = |accept: &str, lines: &str, expected: (bool, &str)| {
        check_head((accept, &Method::POST), (500, lines, None), expected);
    };
    check("br", "", (false, "vary: Accept-Encoding"));
    check("br", "vary: *", (false, "vary: *"));
    check(
        "gzip",
        "vary: origin, accept-encoding",
        (true, "vary: origin, accept-encoding\ncontent-encoding: gzip"),
    );
    check("br", "vary: Origin", (false, "vary: Origin\nvary: Accept-Encoding"));
}

#[test]
fn tags_of_other_bytes_are_removed_where_they_do_not_forbid_it() {
    let gzip = manifest::Gzip { disable_on_etag_header: false, ..gzip() };
    let offer = |accept: &str| {
        Offer::new(
            &Arc::new(Gzip::from(gzip.clone())),
            &headers(&format!("accept-encoding: {accept}")),
        )
    };
    let check = |accept: &str, lines: &str, expected: (bool, &str)| {
        check_offer(&offer(accept), (&Method::GET, 200, lines, None), expected);
    };
    check("gzip", "etag: \"strong\"", (true, VARIED));
    let weak = "etag: W/\"weak\"";
    check("gzip", weak, (true, &format!("{weak}\n{VARIED}")));
    check("br", "etag: \"strong\"", (false, "etag: \"strong\"\nvary: Accept-Encoding"));
}

#[test]
fn only_types_that_are_listed_are_compressed() {
    let types = ["Text/Event-Stream", "application/grpc"].map(Box::from).into();
    let gzip = manifest::Gzip { content_types: types, min_content_length: 1, ..gzip() };
    let offer = Offer::new(&Arc::new(Gzip::from(gzip)), &headers("accept-encoding: gzip"));
    let check = |lines: &str, expected: (bool, &str)| {
        check_offer(&offer, (&Method::GET, 200, lines, Some(1)), expected);
    };
    let events = "content-type: text/event-stream";
    check(events, (true, &format!("{events}\n{VARIED}")));
    check("content-type: application/json", (false, "content-type: application/json"));
    check("content-type: application/grpc", (false, "content-type: application/grpc"));
}

/// What a source gives: data, or `None` for nothing at the moment.
type Script = Vec<Option<Bytes>>;

/// Compresses what a source gives, and says what came out before each time
/// that it had nothing to give.
fn compress(gzip: manifest::Gzip, script: &Script, trailers: Option<HeaderMap>) -> Vec<Vec<Bytes>> {
    let mut encoder = Encoder::new(Arc::new(Gzip::from(gzip)));
    let mut script: VecDeque<Option<Bytes>> = script.iter().cloned().collect();
    let mut trailers = trailers;
    let mut parts = vec![Vec::new()];
    loop {
        let polled = encoder.poll_frame(|| match script.pop_front() {
            Some(Some(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(None) => {
                script.push_front(None);
                Poll::Pending
            }
            None => Poll::Ready(trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
        });
        match polled {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => parts.last_mut().unwrap().push(data),
                Err(frame) => {
                    assert_eq!(frame.into_trailers().unwrap()["grpc-status"], "0");
                    assert!(encoder.is_over());
                }
            },
            Poll::Ready(None) => break,
            Poll::Ready(Some(Err(error))) => panic!("{error}"),
            Poll::Pending => {
                assert_eq!(script.pop_front(), Some(None));
                parts.push(Vec::new());
            }
        }
    }
    assert!(encoder.is_over());
    parts
}

/// Reads what another reader would of a part of a body.
fn read(inflate: &mut Inflate, mut input: &[u8]) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    let mut output = vec![0; 1 << 16];
    loop {
        let before = (inflate.total_in(), inflate.total_out());
        let status = inflate.decompress(input, &mut output, InflateFlush::SyncFlush).unwrap();
        let given = (inflate.total_out() - before.1) as usize;
        input = &input[(inflate.total_in() - before.0) as usize..];
        all.extend_from_slice(&output[..given]);
        if status == Status::StreamEnd || (input.is_empty() && given < output.len()) {
            return (all, status == Status::StreamEnd);
        }
    }
}

#[track_caller]
fn check_round_trip(gzip: manifest::Gzip, script: &Script) {
    let chunk = gzip.chunk_bytes as usize;
    let parts = compress(gzip, script, None);
    let mut inflate = Inflate::new(true, 16 + 15);
    let mut sources = script.split(Option::is_none);
    let last = parts.len() - 1;
    for (index, part) in parts.iter().enumerate() {
        assert!(part.iter().all(|piece| !piece.is_empty() && piece.len() <= chunk));
        let (read, is_end) = read(&mut inflate, &part.concat());
        let sent: Vec<u8> =
            sources.next().unwrap_or_default().iter().flatten().flatten().copied().collect();
        assert!(read == sent, "part {index} is held back or differs");
        assert_eq!(is_end, index == last);
    }
}

fn text(length: usize) -> Bytes {
    let words = ["one ", "two ", "three ", "\"delta\": ", "\n", "0123456789"];
    let mut state = 7_u32;
    let mut text = Vec::new();
    while text.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.extend_from_slice(words[(state >> 24) as usize % words.len()].as_bytes());
        text.extend_from_slice(&state.to_be_bytes()[..(state >> 30) as usize]);
    }
    text.truncate(length);
    text.into()
}

#[test]
fn every_setting_gives_what_others_read() {
    let strategies = [
        manifest::Strategy::Default,
        manifest::Strategy::Filtered,
        manifest::Strategy::Fixed,
        manifest::Strategy::HuffmanOnly,
        manifest::Strategy::Rle,
    ];
    let body = text(70_000);
    for level in 1..=9 {
        for strategy in strategies {
            for (memory_level, window_bits) in [(1, 9), (5, 12), (9, 15), (9, 9), (1, 15)] {
                let gzip = manifest::Gzip { level, strategy, memory_level, window_bits, ..gzip() };
                check_round_trip(gzip, &vec![Some(body.clone()), None, Some(text(10)), None]);
            }
        }
    }
}

#[test]
fn what_came_goes_out_before_more_is_waited_for() {
    let event = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    check_round_trip(gzip(), &vec![]);
    check_round_trip(gzip(), &vec![None]);
    check_round_trip(gzip(), &vec![event("data: a\n\n"), None, event("data: b\n\n"), None]);
    check_round_trip(gzip(), &vec![None, event("a"), None, None, event(""), event("b"), None]);
    for chunk_bytes in 16..30 {
        let gzip = manifest::Gzip { chunk_bytes, ..gzip() };
        check_round_trip(
            gzip,
            &vec![event("data: a\n\n"), None, Some(text(1000)), None, event("b")],
        );
    }
}

#[test]
fn pieces_are_full_while_there_is_more() {
    let gzip = manifest::Gzip { chunk_bytes: 100, ..gzip() };
    let script: Script = (0..50).map(|_| Some(text(999))).collect();
    let parts = compress(gzip, &script, None);
    let [part] = &*parts else { panic!("it waited") };
    let (last, full) = part.split_last().unwrap();
    assert!(full.iter().all(|piece| piece.len() == 100) && last.len() <= 100);
}

#[test]
fn trailers_follow_a_whole_body() {
    let trailers = headers("grpc-status: 0");
    let parts = compress(gzip(), &vec![Some(text(5000))], Some(trailers));
    let (read, is_end) = read(&mut Inflate::new(true, 16 + 15), &parts.concat().concat());
    assert!(is_end && read == text(5000));
}

#[test]
fn what_breaks_off_does_not_look_whole() {
    let mut encoder = Encoder::new(Arc::new(Gzip::from(gzip())));
    let mut frames = VecDeque::from([Ok(Frame::data(text(100))), Err(BodyError::Stalled)]);
    let polled = encoder.poll_frame(|| Poll::Ready(frames.pop_front()));
    assert!(matches!(polled, Poll::Ready(Some(Err(BodyError::Stalled)))));
    assert!(encoder.is_over());
}

proptest! {
    #[test]
    fn any_body_in_any_pieces_comes_back(
        script in proptest::collection::vec(
            proptest::option::weighted(
                0.7,
                proptest::collection::vec(0..9_u8, 0..3000).prop_map(Bytes::from),
            ),
            0..12,
        ),
        chunk_bytes in prop_oneof![16_u32..50, Just(4096)],
        level in 1_u8..=9,
    ) {
        check_round_trip(manifest::Gzip { chunk_bytes, level, ..gzip() }, &script);
    }
}
