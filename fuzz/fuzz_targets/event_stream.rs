//! The decoder of AWS' event streams gives the same messages wherever the
//! stream is cut, and they are made of its bytes.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use penstock_llm::LlmError;
use penstock_llm::event_stream::{EventStreamDecoder, Message};

// The first byte says how large the chunks are, the second how large a frame
// may be; the rest is the stream, as it is and with CRCs that are right.
fuzz_target!(|input: &[u8]| {
    let [chunk_seed, size_seed, stream @ ..] = input else { return };
    let frame_bytes_max = match size_seed {
        0..128 => usize::MAX,
        size => usize::from(*size) - 127,
    };
    let mut mended = stream.to_vec();
    mend(&mut mended);
    for stream in [stream, &mended] {
        let whole = decode([stream], frame_bytes_max);
        assert_eq!(decode(stream.chunks(1), frame_bytes_max), whole);
        let size = usize::from(chunk_seed % 32) + 1;
        assert_eq!(decode(stream.chunks(size), frame_bytes_max), whole);
        let said: usize = whole.0.iter().map(|message| message.payload.len() + 16).sum();
        assert!(said <= stream.len());
    }
});

fn decode<'a>(
    chunks: impl IntoIterator<Item = &'a [u8]>,
    frame_bytes_max: usize,
) -> (Vec<Message>, Result<(), LlmError>) {
    let mut decoder = EventStreamDecoder::with_frame_bytes_max(frame_bytes_max);
    let mut messages = Vec::new();
    let result = chunks
        .into_iter()
        .try_for_each(|chunk| decoder.push(Bytes::copy_from_slice(chunk), &mut messages));
    (messages, result.and_then(|()| decoder.finish()))
}

/// Writes the CRCs that the frames would have to have.
fn mend(mut stream: &mut [u8]) {
    while stream.len() >= 16 {
        let length = u32::from_be_bytes([stream[0], stream[1], stream[2], stream[3]]);
        let prelude = crc32(&stream[..8]);
        stream[8..12].copy_from_slice(&prelude.to_be_bytes());
        let length = length as usize;
        if length < 16 || length > stream.len() {
            return;
        }
        let (frame, rest) = stream.split_at_mut(length);
        let whole = crc32(&frame[..length - 4]);
        frame[length - 4..].copy_from_slice(&whole.to_be_bytes());
        stream = rest;
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}
