use proptest::prelude::*;

use super::*;

type Decoded = (Vec<Message>, Result<(), LlmError>);

fn decode(chunks: &[&[u8]], frame_bytes_max: usize) -> Decoded {
    let mut decoder = EventStreamDecoder::with_frame_bytes_max(frame_bytes_max);
    let mut messages = Vec::new();
    let result = chunks
        .iter()
        .try_for_each(|chunk| decoder.push(Bytes::copy_from_slice(chunk), &mut messages));
    (messages, result.and_then(|()| decoder.finish()))
}

fn message(kind: Kind, name: &'static str, payload: &'static str) -> Message {
    Message { kind, payload: payload.into(), name: name.into() }
}

#[track_caller]
fn check(stream: &[u8], expected: &[Message]) {
    assert_eq!(decode(&[stream], FRAME_BYTES_MAX), (expected.to_vec(), Ok(())));
}

#[track_caller]
fn check_invalid(stream: &[u8], before: &[Message]) {
    let invalid = (before.to_vec(), Err(LlmError::InvalidResponse));
    assert_eq!(decode(&[stream], FRAME_BYTES_MAX), invalid);
    let bytes: Vec<_> = stream.chunks(1).collect();
    assert_eq!(decode(&bytes, FRAME_BYTES_MAX), invalid, "byte by byte");
}

/// A header of each type.
fn every_type() -> Vec<u8> {
    let values: [&[u8]; 10] = [
        &[0],
        &[1],
        &[2, 255],
        &[3, 1, 2],
        &[4, 1, 2, 3, 4],
        &[5, 1, 2, 3, 4, 5, 6, 7, 8],
        &[6, 0, 3, 255, 254, 253],
        &[7, 0, 2, b'h', b'i'],
        &[8, 1, 2, 3, 4, 5, 6, 7, 8],
        &[9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
    ];
    let header = |value: &[u8]| [&[1, b'x'], value].concat();
    values.iter().flat_map(|value| header(value)).collect()
}

#[test]
fn the_crc_is_that_of_ieee() {
    assert_eq!(crc32(b""), 0);
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
}

#[test]
fn a_frame_of_the_published_test_suite() {
    // `empty_message` and `payload_no_headers` of AWS' own suite.
    let empty = [0, 0, 0, 16, 0, 0, 0, 0, 5, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff];
    check(&empty, &[message(Kind::Other, "", "")]);
    let mut payload = vec![0, 0, 0, 0x1d, 0, 0, 0, 0, 0xfd, 0x52, 0x8c, 0x5a];
    payload.extend(b"{'foo':'bar'}");
    payload.extend([0xc3, 0x65, 0x39, 0x36]);
    check(&payload, &[message(Kind::Other, "", "{'foo':'bar'}")]);
}

#[test]
fn messages_of_every_kind() {
    let texts = |pairs: &[(&str, &str)]| {
        pairs.iter().flat_map(|(name, value)| frame::text(name, value)).collect::<Vec<_>>()
    };
    let error =
        [(":error-code", "500"), (":error-message", "internal"), (":message-type", "error")];
    let stream = [
        frame::event("messageStart", "{}"),
        frame::event("throttlingException", "{\"message\":\"no\"}"),
        frame::of(&texts(&error), b"ignored"),
        frame::of(&[every_type(), texts(&[(":message-type", "event")])].concat(), b"p"),
        frame::of(&texts(&[(":message-type", "news"), (":event-type", "e")]), b""),
    ];
    let expected = [
        message(Kind::Event, "messageStart", "{}"),
        message(Kind::Exception, "throttlingException", "{\"message\":\"no\"}"),
        message(Kind::Error, "500", "internal"),
        message(Kind::Event, "", "p"),
        message(Kind::Other, "", ""),
    ];
    check(&stream.concat(), &expected);
    check(b"", &[]);
}

#[test]
fn a_wrong_frame_ends_it() {
    let good = frame::event("e", "payload");
    let before = [message(Kind::Event, "e", "payload")];
    for at in 0..good.len() {
        let mut wrong = good.clone();
        wrong[at] ^= 1;
        check_invalid(&[good.clone(), wrong, good.clone()].concat(), &before);
    }
    for length in 1..good.len() {
        check_invalid(&[&good[..], &good[..length]].concat(), &before);
    }
}

#[test]
fn a_header_that_is_cut_short_is_none() {
    let all = every_type();
    let ends: Vec<_> = {
        // Where one header ends and the next begins.
        let sizes = [3, 3, 4, 5, 7, 11, 8, 7, 11, 19];
        sizes
            .iter()
            .scan(0, |at, size| {
                *at += size;
                Some(*at)
            })
            .collect()
    };
    assert_eq!(ends.last(), Some(&all.len()));
    for length in 1..all.len() {
        let stream = frame::of(&all[..length], b"");
        match ends.contains(&length) {
            true => check(&stream, &[message(Kind::Other, "", "")]),
            false => check_invalid(&stream, &[]),
        }
    }
    check_invalid(&frame::of(&[1, b'x', 10], b""), &[]);
    check_invalid(&frame::of(&[0, 0], b""), &[]);
    check_invalid(&frame::of(&frame::text(":event-type", "e")[..15], b""), &[]);
    let not_text = [&[11][..], b":event-type", &[0]].concat();
    check_invalid(&frame::of(&not_text, b""), &[]);
    let not_utf8 = [&[11][..], b":event-type", &[7, 0, 1, 0xff]].concat();
    check_invalid(&frame::of(&not_utf8, b""), &[]);
}

#[test]
fn sizes_are_limited() {
    let frame = frame::event("e", "payload");
    let invalid = Err(LlmError::InvalidResponse);
    assert_eq!(decode(&[&frame], frame.len()).1, Ok(()));
    assert_eq!(decode(&[&frame], frame.len() - 1), (Vec::new(), invalid.clone()));
    // It is enough to have heard how long it is to be.
    assert_eq!(decode(&[&frame[..PRELUDE_BYTES]], frame.len() - 1).1, invalid);
    let header = |length: usize| {
        let value = u16::try_from(length - 5).unwrap();
        [&[1, b'x', 6][..], &value.to_be_bytes(), &vec![0; length - 5]].concat()
    };
    let headers = [header(60_000), header(60_000), header(HEADER_BYTES_MAX - 120_000)].concat();
    check(&frame::of(&headers, b""), &[message(Kind::Other, "", "")]);
    check_invalid(&frame::of(&[headers, header(5)].concat(), b""), &[]);
}

proptest! {
    #[test]
    fn it_does_not_matter_where_a_stream_is_cut(
        payloads in prop::collection::vec("[a-z]{0,40}", 0..6),
        garbage in prop::collection::vec(any::<u8>(), 0..20),
        cuts in prop::collection::vec(0..1000usize, 0..10),
        frame_bytes_max in 60..200usize,
    ) {
        let mut stream: Vec<_> =
            payloads.iter().flat_map(|payload| frame::event("e", payload)).collect();
        stream.extend(garbage);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
        cuts.sort_unstable();
        let ends = cuts.iter().copied().chain([stream.len()]);
        let starts = std::iter::once(0).chain(cuts.iter().copied());
        let chunks: Vec<_> = starts.zip(ends).map(|(start, end)| &stream[start..end]).collect();
        prop_assert_eq!(decode(&chunks, frame_bytes_max), decode(&[&stream], frame_bytes_max));
    }
}
