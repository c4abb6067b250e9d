//! What a client sends: its framing is judged the same wherever the bytes
//! are cut, nothing behind a refusal is judged, and a normal path stays so.

#![no_main]

use libfuzzer_sys::fuzz_target;
use penstock_gateway::framing::Framing;
use penstock_gateway::route::normalise_path;

// The first byte says how large the pieces are; the rest is the connection.
fuzz_target!(|input: &[u8]| {
    let [seed, bytes @ ..] = input else { return };
    let whole = refusal([bytes]);
    assert_eq!(refusal(cut(bytes, *seed)), whole);
    assert_eq!(refusal(bytes.chunks(1)), whole);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for path in text.split(' ').filter(|path| path.starts_with('/')) {
        let Some(normal) = normalise_path(path) else { continue };
        assert!(normal.starts_with('/'), "{path} becomes {normal}");
        assert_eq!(normalise_path(&normal).unwrap_or(normal.clone()), normal);
    }
});

/// Whether the pieces are refused, and whether that is in a head.
fn refusal<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<bool> {
    let mut framing = Framing::default();
    pieces.into_iter().find_map(|piece| {
        let refused = framing.check(piece).err()?;
        assert!(refused.at < piece.len());
        Some(refused.is_in_head)
    })
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
