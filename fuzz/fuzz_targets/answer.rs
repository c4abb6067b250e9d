//! What an upstream sends: an answer is read the same wherever the bytes are
//! cut, and nothing is held back.

#![no_main]

use bytes::BytesMut;
use http::{HeaderMap, Method};
use libfuzzer_sys::fuzz_target;
use penstock_gateway::framing::Piece;
use penstock_gateway::upstream::http1::answer::HeadReader;

/// Status, body, trailers; `None` where the answer is not valid.
type Read = Option<(u16, Vec<u8>, usize)>;

fuzz_target!(|input: &[u8]| {
    let [seed, bytes @ ..] = input else { return };
    let size = usize::from(seed % 32) + 1;
    let (whole, single) = (read([bytes]), read(bytes.chunks(1)));
    assert_eq!(single, whole);
    assert_eq!(read(bytes.chunks(size)), whole);
});

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let (mut input, mut reader) = (BytesMut::new(), HeadReader::default());
    let (mut body, mut read) = (None, (0, Vec::new(), 0));
    for piece in pieces {
        input.extend_from_slice(piece);
        if body.is_none() {
            let Some(head) = reader.take(&mut input, true, &mut HeaderMap::new()).ok()? else {
                continue;
            };
            read.0 = head.status.as_u16();
            body = Some(head.body(&Method::GET).ok()?);
        }
        let Some(body) = &mut body else { continue };
        while let Some(piece) = body.take(&mut input).ok()? {
            match piece {
                Piece::Data(data) => read.1.extend_from_slice(&data),
                Piece::Trailers(trailers) => read.2 += trailers.len(),
            }
        }
        if body.is_over() {
            break;
        }
    }
    Some(read)
}
