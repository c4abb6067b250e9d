use super::*;
use crate::framing::Piece;

/// The status, the body and the trailers of an answer that is over.
type Read = Option<(u16, String, usize)>;

fn read(bytes: &[u8], method: &Method, size: usize) -> Result<Read, Wrong> {
    let (mut input, mut reader) = (BytesMut::new(), HeadReader::default());
    let mut answer = None;
    let (mut text, mut trailers) = (Vec::new(), 0);
    for piece in bytes.chunks(size) {
        input.extend_from_slice(piece);
        if answer.is_none() {
            let Some(head) = reader.take(&mut input, false, &mut HeaderMap::new())? else {
                continue;
            };
            answer = Some((head.status.as_u16(), head.body(method)?));
        }
        let Some((_, body)) = &mut answer else { continue };
        while let Some(piece) = body.take(&mut input)? {
            match piece {
                Piece::Data(data) => text.extend_from_slice(&data),
                Piece::Trailers(headers) => trailers += headers.len(),
            }
        }
    }
    let is_over = |body: &Framing| body.is_over() || matches!(body, Framing::UntilClose);
    let answer = answer.filter(|(_, body)| is_over(body));
    Ok(answer.map(|(status, _)| (status, String::from_utf8(text).unwrap(), trailers)))
}

/// What is read is the same wherever the bytes are cut.
#[track_caller]
fn check(bytes: &str, expected: Option<(u16, &str, usize)>) {
    let expected = expected.map(|(status, body, trailers)| (status, body.to_owned(), trailers));
    for size in [bytes.len(), 1, 2, 3, 7] {
        let found = read(bytes.as_bytes(), &Method::GET, size);
        assert_eq!(found, Ok(expected.clone()), "{bytes:?} in pieces of {size}");
    }
}

#[track_caller]
fn refused(bytes: &str) {
    for size in [bytes.len(), 1, 2, 3, 7] {
        let found = read(bytes.as_bytes(), &Method::GET, size);
        assert!(found.is_err(), "{bytes:?} in pieces of {size}: {found:?}");
    }
}

#[test]
fn bodies_end_where_the_head_says() {
    check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", Some((200, "abc", 0)));
    check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef", Some((200, "abc", 0)));
    check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", None);
    check("HTTP/1.0 200\r\n\r\nabc", Some((200, "abc", 0)));
    check("HTTP/1.1 204 X\r\nContent-Length: 3\r\n\r\n", Some((204, "", 0)));
    check("HTTP/1.1 304 X\r\nTransfer-Encoding: chunked\r\n\r\n", Some((304, "", 0)));
    check("HTTP/1.1 200 \u{e4}\r\nContent-Length: 0\r\n\r\n", Some((200, "", 0)));
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
    assert_eq!(read(head, &Method::HEAD, 5), Ok(Some((200, String::new(), 0))));
}

#[test]
fn chunks_are_put_together() {
    let check = |body: &str, expected: Option<(&str, usize)>| {
        let bytes = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n{body}");
        check(&bytes, expected.map(|(body, trailers)| (200, body, trailers)));
    };
    check("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", Some(("abcde", 0)));
    check("3;a=\"b\"\r\nabc\r\n00 ;x\r\nA: b\r\nC: d\r\n\r\nrest", Some(("abc", 2)));
    check("0\r\n\r\n", Some(("", 0)));
    check("3\r\nabc\r\n", None);
    check("3\r\nabc\r\n0\r\n", None);
    let large = "x".repeat(20_000);
    check(&format!("1\r\na\r\n4e20\r\n{large}\r\n0\r\n\r\n"), Some((&format!("a{large}"), 0)));
    let longest = "x".repeat(126);
    check(&format!("1;{longest}\r\na\r\n0\r\n\r\n"), Some(("a", 0)));
}

#[test]
fn interim_answers_are_passed_over() {
    let end = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    check(
        &format!("HTTP/1.1 103 X\r\nA: b\r\n\r\nHTTP/1.1 100 X\r\n\r\n{end}"),
        Some((200, "", 0)),
    );
    refused(&"HTTP/1.1 103 X\r\n\r\n".repeat(17));
    refused("HTTP/1.1 101 X\r\n\r\n");
}

#[test]
fn what_has_two_readings_is_refused() {
    refused("HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n");
    refused("HTTP/1.1 200 OK\r\nA: b\n\r\n");
    refused("HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n");
    refused("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n");
    refused("HTTP/1.1 200 OK\r\nA : b\r\n\r\n");
    refused("HTTP/1.1 200 OK\r\nA: \0\r\n\r\n");
    refused("\r\nHTTP/1.1 200 OK\r\n\r\n");
    refused("HTTP/2 200 OK\r\n\r\n");
    refused("SSH-2.0-x\r\n");
    refused("HTTP/1.1 99 OK\r\n\r\n");
    let with = |headers: &str| refused(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n0\r\n\r\n"));
    with("Content-Length: 1\r\nContent-Length: 1");
    with("Content-Length: 1, 1");
    with("Content-Length: +1");
    with("Content-Length: ");
    with("Content-Length: 99999999999999999999");
    with("Content-Length: 1\r\nTransfer-Encoding: chunked");
    with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked");
    with("Transfer-Encoding: gzip, chunked");
    with("Transfer-Encoding: identity");
    with(&"A: b\r\n".repeat(HEADERS_MAX + 1));
    let chunked = |body: &str| {
        refused(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
    };
    chunked("3\nabc\r\n0\r\n\r\n");
    chunked("3 x\r\nabc\r\n0\r\n\r\n");
    chunked("+3\r\nabc\r\n0\r\n\r\n");
    chunked("0x3\r\nabc\r\n0\r\n\r\n");
    chunked("\r\nabc");
    chunked("{\"id\":1}");
    chunked("3\r\nabcd\r\n0\r\n\r\n");
    chunked("ffffffffffffffff\r\n");
    chunked(&format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(127)));
    chunked("0\r\nContent-Length: 1\r\n\r\n");
    chunked("0\r\nA: b\n\r\n");
    refused(&format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(HEAD_BYTES_MAX)));
}

#[test]
fn connections_are_kept_where_both_sides_know() {
    let check = |head: &str, expected: bool| {
        let mut input = BytesMut::from(format!("{head}\r\n\r\n").as_str());
        let head =
            HeadReader::default().take(&mut input, true, &mut HeaderMap::new()).unwrap().unwrap();
        assert_eq!(head.keeps_alive(), expected);
    };
    check("HTTP/1.1 200 OK", true);
    check("HTTP/1.1 200 OK\r\nConnection: x, Close", false);
    check("HTTP/1.1 200 OK\r\nConnection: keep-alive", true);
    check("HTTP/1.1 101 X\r\nConnection: upgrade", false);
    check("HTTP/1.0 200 OK", false);
    check("HTTP/1.0 200 OK\r\nConnection: Keep-Alive", true);
}
