use super::*;

/// What is found in bytes that come as a whole, and the same wherever they
/// are cut.
#[track_caller]
fn check(bytes: &str, expected: Option<bool>) {
    let found = of(&[bytes.as_bytes()]);
    assert_eq!(found, expected, "{bytes:?}");
    for cut in 0..bytes.len() {
        let (first, second) = bytes.as_bytes().split_at(cut);
        assert_eq!(of(&[first, second]), expected, "{bytes:?} cut at {cut}");
    }
    let single: Vec<&[u8]> = bytes.as_bytes().chunks(1).collect();
    assert_eq!(of(&single), expected, "{bytes:?} byte by byte");
}

fn of(pieces: &[&[u8]]) -> Option<bool> {
    let mut framing = Framing::default();
    pieces.iter().find_map(|piece| framing.check(piece).err()).map(|refused| refused.is_in_head)
}

#[test]
fn requests_pass() {
    let check = |bytes: &str| check(bytes, None);
    check("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    check("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    check("POST / HTTP/1.1\r\nContent-Length:\t3 \r\n\r\n\n\r\0GET / HTTP/1.1\r\nA: \x7e\r\n\r\n");
    check(
        "POST / HTTP/1.1\r\ntransfer-ENCODING: Chunked\r\n\r\n3\r\n\n\r\0\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    );
    check(
        "POST / HTTP/1.1\r\nTransfer-Encoding:chunked\r\n\r\n00a;b=\"c\"\r\n0123456789\r\n0 ;x\r\nA: b\r\n\r\n",
    );
    check(
        "GET / HTTP/1.1\r\nContent-Lengthy: x\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    );
}

#[test]
fn heads_with_two_readings_do_not() {
    let check = |bytes: &str| check(bytes, Some(true));
    check("GET / HTTP/1.1\nHost: a\r\n\r\n");
    check("GET / HTTP/1.1\r\nHost: a\n\r\n");
    check("GET / HTTP/1.1\r\nHost: a\r\n\n");
    check("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n");
    check("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n");
    check("GET /\0 HTTP/1.1\r\n\r\n");
    check("GET /#a HTTP/1.1\r\n\r\n");
    check("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n");
    check("\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    for framing in [
        "Content-Length: 1\r\nContent-Length: 1",
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 1",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding:",
        "Content-Length:",
        "Content-Length: 1,1",
        "Content-Length: +1",
        "Content-Length: -1",
        "Content-Length: 0x1",
        "Content-Length: 1 1",
        "Content-Length: 18446744073709551616",
    ] {
        check(&format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"));
    }
    check(&format!(
        "POST / HTTP/1.1\r\nContent-Length:{}1\r\nContent-Length: 1\r\n\r\n",
        " ".repeat(200)
    ));
    check("POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nxGET / HTTP/1.1\n");
}

#[test]
fn bodies_with_two_readings_do_not() {
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
        "0\r\nContent-Length: 3\r\n",
        "0\r\nTransfer-Encoding: x\r\n",
        "0\r\n A: b\r\n",
        "0\r\n\n",
    ] {
        check(&format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}"), Some(false));
    }
    let extension = "x".repeat(200);
    check(
        &format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;{extension}\r\n"),
        Some(false),
    );
}
