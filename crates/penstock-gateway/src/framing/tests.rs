use super::*;

/// The data of a body in chunks and the number of its trailers, once it is
/// over.
type Read = Option<(String, usize)>;

fn read(bytes: &[u8], size: usize) -> Result<Read, Wrong> {
    let (mut input, mut body) = (BytesMut::new(), Framing::Chunked(Chunked::Size));
    let (mut text, mut trailers) = (Vec::new(), 0);
    for piece in bytes.chunks(size) {
        input.extend_from_slice(piece);
        while let Some(piece) = body.take(&mut input)? {
            match piece {
                Piece::Data(data) => text.extend_from_slice(&data),
                Piece::Trailers(headers) => trailers += headers.len(),
            }
        }
    }
    Ok(body.is_over().then(|| (String::from_utf8(text).unwrap(), trailers)))
}

/// What is read is the same wherever the bytes are cut.
#[track_caller]
fn check(bytes: &str, expected: Option<(&str, usize)>) {
    for size in 1..=bytes.len() {
        let found = read(bytes.as_bytes(), size);
        let expected = expected.map(|(text, trailers)| (text.to_owned(), trailers));
        assert_eq!(found, Ok(expected), "{bytes:?} in pieces of {size}");
    }
}

#[test]
fn bodies_in_chunks_end_where_they_say() {
    check("3\r\n\n\r\0\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n", Some(("\n\r\0", 0)));
    check("00a;b=\"c\"\r\n0123456789\r\n0 ;x\r\nA: b\r\nC:\t\r\n\r\n", Some(("0123456789", 2)));
    check("0\r\n\r\n", Some(("", 0)));
    check("1\r\na\r\n0\r\n\r", None);
    check("1\r\na\r\n0\r\nA: b\r\n", None);
}

#[test]
fn bodies_with_two_readings_are_wrong() {
    let long = format!("3;{}\r\n", "x".repeat(127));
    let many = format!("0\r\n{}\r\n", "A: b\r\n".repeat(TRAILERS_MAX + 1));
    for body in [
        "0x3\r\n",
        "-3\r\n",
        "+3\r\n",
        "3 \r\n",
        "3 4\r\n",
        "3g\r\n",
        "\r\n",
        ";a\r\n",
        " 3\r\n",
        "3\n",
        "3;a\n",
        "3;a\rb\r\n",
        "3;\0\r\n",
        "8000000000000000\r\n",
        "10000000000000000\r\n",
        "3\r\nabcd\r\n",
        "3\r\nabc\n",
        "0\r\nA: b\n",
        "0\r\nA: b\rc",
        "0\r\nA: \0",
        "0\r\nContent-Length: 3\r\n\r\n",
        "0\r\nTransfer-Encoding: x\r\n\r\n",
        "0\r\nhost: x\r\n\r\n",
        "0\r\n A: b\r\n\r\n",
        "0\r\nA : b\r\n\r\n",
        "0\r\nA\r\n\r\n",
        "0\r\n: b\r\n\r\n",
        "0\r\n\n",
        &long,
        &many,
    ] {
        for size in [body.len(), 1, 2, 3] {
            let found = read(body.as_bytes(), size);
            assert!(found.is_err(), "{body:?} in pieces of {size}: {found:?}");
        }
    }
    let endless = format!("0\r\nA: {}", "b".repeat(TRAILER_BYTES_MAX));
    assert!(read(endless.as_bytes(), endless.len()).is_err());
}

#[test]
fn small_chunks_that_came_together_go_on_together() {
    let mut input = BytesMut::from("3\r\nabc\r\n3\r\ndef\r\n2\r\nx");
    let mut body = Framing::Chunked(Chunked::Size);
    let Ok(Some(Piece::Data(data))) = body.take(&mut input) else { panic!("no data") };
    assert_eq!(&data[..], b"abcdefx");
    assert!(matches!(body.take(&mut input), Ok(None)));
    input.extend_from_slice(b"y\r\n");
    let Ok(Some(Piece::Data(data))) = body.take(&mut input) else { panic!("no data") };
    assert_eq!(&data[..], b"y");
}

#[test]
fn header_lines_have_a_name_and_a_value() {
    let check = |line: &str, expected: Option<(&str, &[u8])>| {
        let bytes = Bytes::from(format!("..{line}\r\n"));
        let found = header_of(&bytes, 2..bytes.len() - 2).ok();
        let found = found.as_ref().map(|(name, value)| (name.as_str(), value.as_bytes()));
        assert_eq!(found, expected, "{line:?}");
    };
    check("A:b", Some(("a", b"b")));
    check("X-Long-Name: \t b c: d\t ", Some(("x-long-name", b"b c: d")));
    check("A:", Some(("a", b"")));
    check("A: \t ", Some(("a", b"")));
    check("A: \u{e4}", Some(("a", "\u{e4}".as_bytes())));
    check("A: \u{b}b", None);
    check("A: b\rc", None);
    check("A : b", None);
    check(" A: b", None);
    check("A\u{e4}: b", None);
    check(": b", None);
    check("A", None);
    check("", None);
}

#[test]
fn numbers_are_written_as_they_are_read() {
    for number in [0, 9, 10, 15, 16, 255, 4096, 1_234_567_890, u64::MAX] {
        let (mut decimal, mut hexadecimal) = (Vec::new(), Vec::new());
        write_decimal(number, &mut decimal);
        write_hexadecimal(number, &mut hexadecimal);
        assert_eq!(String::from_utf8(decimal).unwrap(), number.to_string());
        assert_eq!(String::from_utf8(hexadecimal).unwrap(), format!("{number:X}"));
    }
}

#[test]
fn no_byte_of_trailers_is_looked_at_twice() {
    let section = format!("A: b\r\n{}", "x".repeat(TRAILER_BYTES_MAX - 6));
    let (mut input, mut body) = (BytesMut::from("0\r\n"), Chunked::Size);
    assert!(matches!(body.take(&mut input), Ok(None)));
    for (at, byte) in section.bytes().enumerate() {
        input.extend_from_slice(&[byte]);
        assert!(matches!(body.take(&mut input), Ok(None)));
        let Chunked::Trailers(Some(lines)) = &body else { panic!("{body:?}") };
        // Behind a CR at the end anything could come.
        let checked = lines.checked.max(lines.whole);
        assert_eq!(checked, at + 1 - usize::from(byte == b'\r'), "{lines:?}");
    }
    input.extend_from_slice(b"x");
    assert!(body.take(&mut input).is_err());
}
