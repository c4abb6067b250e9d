//! The SSE decoder gives the same pieces wherever the stream is cut, and
//! their raw bytes are the stream.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use penstock_llm::LlmError;
use penstock_llm::sse::SseDecoder;
use penstock_llm::stage::Piece;

// The first byte says how large the chunks are, the second how large an
// event may be; the rest is the stream.
fuzz_target!(|input: &[u8]| {
    let [chunk_seed, size_seed, stream @ ..] = input else { return };
    let event_bytes_max = match size_seed {
        0..128 => usize::MAX,
        size => usize::from(*size) - 127,
    };
    let whole = decode(&[stream], event_bytes_max);
    let chunks: Vec<&[u8]> = cut(stream, *chunk_seed).collect();
    let chunked = decode(&chunks, event_bytes_max);
    assert_eq!(format!("{whole:?}"), format!("{chunked:?}"));

    let (pieces, result) = whole;
    let raw: Vec<u8> = pieces.iter().flat_map(|piece| piece.raw.to_vec()).collect();
    assert!(stream.starts_with(&raw));
    assert!(raw.len() == stream.len() || result.is_err());
});

/// Chunks whose lengths go round, so that every seed cuts at other places.
fn cut(stream: &[u8], seed: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = stream;
    let mut length = usize::from(seed % 16) + 1;
    std::iter::from_fn(move || {
        let (chunk, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        rest = behind;
        length = (length * 7 + usize::from(seed)) % 13 + 1;
        (!chunk.is_empty()).then_some(chunk)
    })
}

fn decode(chunks: &[&[u8]], event_bytes_max: usize) -> (Vec<Piece>, Result<(), LlmError>) {
    let mut decoder = SseDecoder::with_event_bytes_max(event_bytes_max);
    let mut pieces = Vec::new();
    let result = chunks
        .iter()
        .try_for_each(|chunk| decoder.push(Bytes::copy_from_slice(chunk), &mut pieces));
    pieces.extend(decoder.finish());
    (pieces, result)
}
