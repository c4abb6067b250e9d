use proptest::prelude::*;

use super::*;

fn decode(chunks: &[&[u8]]) -> Vec<Piece> {
    let mut decoder = SseDecoder::new();
    let mut pieces = Vec::new();
    for chunk in chunks {
        decoder.push(Bytes::copy_from_slice(chunk), &mut pieces).unwrap();
    }
    pieces.extend(decoder.finish());
    pieces
}

/// Each expected piece as `raw => event|id|data`, without what is behind `=>`
/// for a piece that is no event, and with `…` behind it where the event was
/// not terminated.
#[track_caller]
fn check(stream: &str, expected: &[&str]) {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let shown: Vec<String> = decode(&[stream.as_bytes()])
        .iter()
        .map(|piece| {
            let raw = text(&piece.raw).replace('\r', "\\r").replace('\n', "\\n");
            let Some(event) = &piece.event else { return raw };
            let part = |part: &Option<Bytes>| part.as_ref().map(text).unwrap_or_default();
            let data = text(&event.data).replace('\n', "\\n");
            let end = if event.is_terminated { "" } else { "…" };
            format!("{raw} => {}|{}|{data}{end}", part(&event.event), part(&event.id))
        })
        .collect();
    assert_eq!(shown, expected);
}

#[test]
fn events_end_at_a_blank_line() {
    check("data: a\n\ndata: b\n\n", &["data: a\\n\\n => ||a", "data: b\\n\\n => ||b"]);
    check(
        "data: a\r\n\r\ndata: b\r\n\r\n",
        &["data: a\\r\\n\\r\\n => ||a", "data: b\\r\\n\\r\\n => ||b"],
    );
    check("data: a\r\rdata: b\r\r", &["data: a\\r\\r => ||a", "data: b\\r\\r => ||b"]);
    check("data: a\n\rdata: b\n\n", &["data: a\\n\\r => ||a", "data: b\\n\\n => ||b"]);
}

#[test]
fn fields_are_read() {
    check(
        "event: ping\nid: 7\ndata: {}\nretry: 5\n\n",
        &["event: ping\\nid: 7\\ndata: {}\\nretry: 5\\n\\n => ping|7|{}"],
    );
    check("data:a\n\n", &["data:a\\n\\n => ||a"]);
    check("data:  a\n\n", &["data:  a\\n\\n => || a"]);
    check("data\n\n", &["data\\n\\n => ||"]);
    check("data:\n\n", &["data:\\n\\n => ||"]);
    check("data: a:b\n\n", &["data: a:b\\n\\n => ||a:b"]);
    check("event: a\nevent: b\ndata: x\n\n", &["event: a\\nevent: b\\ndata: x\\n\\n => b||x"]);
    check("id: a\nid: b\0\ndata: x\n\n", &["id: a\\nid: b\0\\ndata: x\\n\\n => |a|x"]);
}

#[test]
fn data_lines_are_joined() {
    check("data: a\ndata:\ndata: c\n\n", &["data: a\\ndata:\\ndata: c\\n\\n => ||a\\n\\nc"]);
}

#[test]
fn what_has_no_data_is_no_event() {
    check(": keep-alive\n\n", &[": keep-alive\\n\\n"]);
    check("event: ping\n\n", &["event: ping\\n\\n"]);
    check("\n\n", &["\\n", "\\n"]);
    check(
        "data: a\n\n\n: x\ndata: b\n\n",
        &["data: a\\n\\n => ||a", "\\n", ": x\\ndata: b\\n\\n => ||b"],
    );
}

#[test]
fn a_byte_order_mark_counts_only_at_the_beginning() {
    check(
        "\u{feff}data: a\n\n\u{feff}data: b\n\n",
        &["\u{feff}data: a\\n\\n => ||a", "\u{feff}data: b\\n\\n"],
    );
}

#[test]
fn the_last_event_may_lack_its_end() {
    check("data: a\n\ndata: b\n", &["data: a\\n\\n => ||a", "data: b\\n => ||b…"]);
    check("data: b", &["data: b => ||b…"]);
    check("data: b\r", &["data: b\\r => ||b…"]);
    check("data: b\r\n\r", &["data: b\\r\\n\\r => ||b"]);
    check("", &[]);
}

#[test]
fn a_line_feed_behind_an_event_that_is_out_belongs_to_the_next_piece() {
    check("data: a\r\r\ndata: b\r\r", &["data: a\\r\\r => ||a", "\\ndata: b\\r\\r => ||b"]);
}

#[test]
fn an_event_is_not_held_back() {
    for stream in ["data: a\n\n", "data: a\r\n\r\n", "data: a\r\r"] {
        let mut pieces = Vec::new();
        SseDecoder::new().push(Bytes::from_static(stream.as_bytes()), &mut pieces).unwrap();
        assert_eq!(pieces.len(), 1, "{stream:?}");
    }
}

#[test]
fn an_event_within_one_chunk_is_not_copied() {
    let chunk = Bytes::from_static(b"data: a\n\nevent: e\ndata: b\n\n");
    let mut pieces = Vec::new();
    SseDecoder::new().push(chunk.clone(), &mut pieces).unwrap();
    let event = pieces[1].event.as_ref().unwrap();
    for part in [&pieces[1].raw, &event.data, event.event.as_ref().unwrap()] {
        assert!(chunk.as_ptr_range().contains(&part.as_ptr()));
    }
}

#[test]
fn an_event_has_a_largest_size() {
    let event = b"data: 123456\n\n";
    for chunk_bytes in [1, 5, event.len()] {
        for (event_bytes_max, is_ok) in [(event.len(), true), (event.len() - 1, false)] {
            let mut decoder = SseDecoder::with_event_bytes_max(event_bytes_max);
            let mut pieces = Vec::new();
            let stream = [b": ok\n\n", &event[..]].concat();
            let results: Vec<_> = stream
                .chunks(chunk_bytes)
                .map(|chunk| decoder.push(Bytes::copy_from_slice(chunk), &mut pieces))
                .collect();
            assert_eq!(results.iter().all(Result::is_ok), is_ok, "{chunk_bytes} {event_bytes_max}");
            assert_eq!(pieces.len(), if is_ok { 2 } else { 1 });
            if !is_ok {
                let more = decoder.push(Bytes::from_static(b"\n\n"), &mut pieces);
                assert_eq!(more, Err(LlmError::InvalidResponse));
                assert!(decoder.finish().is_none());
            }
        }
    }
}

/// A slow, plain reading after the WHATWG text: split into lines, then
/// collect fields.
fn reference(stream: &[u8]) -> Vec<(Vec<u8>, Vec<u8>, Vec<u8>)> {
    let stream = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    let mut lines = vec![Vec::new()];
    let mut index = 0;
    while index < stream.len() {
        match stream[index] {
            b'\n' => lines.push(Vec::new()),
            b'\r' => {
                index += usize::from(stream.get(index + 1) == Some(&b'\n'));
                lines.push(Vec::new());
            }
            byte => lines.last_mut().unwrap().push(byte),
        }
        index += 1;
    }
    let (mut events, mut event, mut id) = (Vec::new(), Vec::new(), Vec::new());
    let mut data: Option<Vec<u8>> = None;
    for line in lines.into_iter().chain([Vec::new()]) {
        if line.is_empty() {
            let (event, id) = (std::mem::take(&mut event), std::mem::take(&mut id));
            events.extend(data.take().map(|data| (event, id, data)));
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value).to_vec();
        match &line[..colon] {
            b"event" => event = value,
            b"id" if !value.contains(&0) => id = value,
            b"data" => match &mut data {
                Some(data) => data.extend([b"\n", &value[..]].concat()),
                None => data = Some(value),
            },
            _ => {}
        }
    }
    events
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        8 => prop_oneof![Just("\n"), Just("\r"), Just("\r\n"), Just("\n\n"), Just("\r\n\r\n")],
        6 => prop_oneof![Just("data: x"), Just("data:"), Just("data"), Just("event: e")],
        3 => prop_oneof![Just(": c"), Just("id: 1"), Just("id: \0"), Just("\u{feff}"), Just(" ")],
        1 => Just("dat"),
    ];
    proptest::collection::vec(token, 0..24).prop_map(|tokens| tokens.concat().into_bytes())
}

fn chunked(stream: &[u8], cuts: &[usize]) -> Vec<Piece> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
    decode(&chunks)
}

proptest! {
    #[test]
    fn chunks_say_nothing(
        stream in stream(),
        cuts in proptest::collection::vec(any::<usize>(), 0..10),
    ) {
        let shown = |pieces: &[Piece]| format!("{pieces:?}");
        let whole = decode(&[&stream]);
        prop_assert_eq!(shown(&chunked(&stream, &cuts)), shown(&whole));
        let every: Vec<usize> = (0..stream.len()).collect();
        prop_assert_eq!(shown(&chunked(&stream, &every)), shown(&whole));
        let raws: Vec<Bytes> = whole.into_iter().map(|piece| piece.raw).collect();
        prop_assert!(raws.iter().all(|raw| !raw.is_empty()));
        prop_assert_eq!(raws.concat(), stream);
    }

    #[test]
    fn events_are_those_of_the_standard(stream in stream()) {
        let part = |part: Option<Bytes>| part.unwrap_or_default().to_vec();
        let events: Vec<_> = decode(&[&stream])
            .into_iter()
            .filter_map(|piece| piece.event)
            .map(|event| (part(event.event), part(event.id), event.data.to_vec()))
            .collect();
        prop_assert_eq!(events, reference(&stream));
    }
}
