//! What a client sends: requests are read the same wherever the bytes are cut,
//! nothing is held back, nothing behind a refusal is read, and a normal path
//! stays so.

#![no_main]

use bytes::BytesMut;
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use penstock_gateway::framing::Piece;
use penstock_gateway::listener::http1::head::{Head, HeadLimits, HeadReader};
use penstock_gateway::route::normalise_path;

const LIMITS: HeadLimits = HeadLimits { bytes_max: 4 << 10, headers_max: 20 };

/// What a connection carries: its requests, and whether it ends in a refusal.
#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    requests: Vec<Request>,
    is_refused: bool,
}

/// A head, the body so far, the number of trailers.
#[derive(Debug, PartialEq, Eq)]
struct Request(String, Vec<u8>, usize);

// The first byte says how large the pieces are; the rest is the connection.
fuzz_target!(|input: &[u8]| {
    let [seed, bytes @ ..] = input else { return };
    let whole = read([bytes]);
    assert_eq!(read(cut(bytes, *seed)), whole);
    assert_eq!(read(bytes.chunks(1)), whole);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for path in text.split(' ').filter(|path| path.starts_with('/')) {
        let Some(normal) = normalise_path(path) else { continue };
        assert!(normal.starts_with('/'), "{path} becomes {normal}");
        assert_eq!(normalise_path(&normal).unwrap_or(normal.clone()), normal);
    }
});

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let (mut input, mut reader) = (BytesMut::new(), HeadReader::default());
    let (mut framing, mut read) = (None, Read::default());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            let Some(body) = &mut framing else {
                match reader.take(&mut input, LIMITS, &mut HeaderMap::new()) {
                    Ok(Some(head)) => framing = Some(begin(head, &mut read.requests)),
                    Ok(None) => break,
                    Err(_) => return Read { is_refused: true, ..read },
                }
                continue;
            };
            let request = read.requests.last_mut().expect("a body has a request");
            match body.take(&mut input) {
                Ok(Some(Piece::Data(data))) => request.1.extend_from_slice(&data),
                Ok(Some(Piece::Trailers(trailers))) => request.2 = trailers.len(),
                Ok(None) if body.is_over() => framing = None,
                Ok(None) => break,
                Err(_) => {
                    // How much of it was seen before depends on the cuts.
                    request.1.clear();
                    return Read { is_refused: true, ..read };
                }
            }
        }
    }
    read
}

fn begin(head: Head, requests: &mut Vec<Request>) -> penstock_gateway::framing::Framing {
    let Head { method, uri, headers, framing, wishes } = head;
    assert!(headers.len() <= LIMITS.headers_max);
    assert!(headers.get_all("content-length").iter().count() <= 1);
    requests.push(Request(format!("{method} {uri} {headers:?} {wishes:?}"), Vec::new(), 0));
    framing
}

/// Pieces whose lengths go round, so that every seed cuts at other places.
fn cut(bytes: &[u8], seed: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    let mut length = usize::from(seed % 16) + 1;
    std::iter::from_fn(move || {
        let (piece, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        rest = behind;
        length = (length * 7 + usize::from(seed)) % 13 + 1;
        (!piece.is_empty()).then_some(piece)
    })
}
