use super::*;

const LIMITS: HeadLimits = HeadLimits { bytes_max: 4096, headers_max: 20 };

/// What the first head of the bytes comes to, cut into pieces of this size.
fn read(bytes: &[u8], size: usize) -> Result<Option<Head>, Refused> {
    let (mut reader, mut input) = (HeadReader::default(), BytesMut::new());
    for piece in bytes.chunks(size) {
        input.extend_from_slice(piece);
        if let Some(head) = reader.take(&mut input, LIMITS, &mut HeaderMap::new())? {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// What is read is the same wherever the bytes are cut.
#[track_caller]
fn check(bytes: &str, expected: &str) {
    for size in 1..=bytes.len() {
        let found = match read(bytes.as_bytes(), size) {
            Ok(Some(Head { method, uri, headers, framing, wishes })) => {
                let headers = headers.iter().map(|(name, value)| format!("{name}={value:?}"));
                let headers = headers.collect::<Vec<_>>().join(",");
                format!("{method} {uri} {:?} {framing:?} {headers}", wishes.version())
            }
            Ok(None) => "more".to_owned(),
            Err(Refused(status)) => status.as_str().to_owned(),
        };
        assert_eq!(found, expected, "{bytes:?} in pieces of {size}");
    }
}

#[test]
fn heads_are_read() {
    check("GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1 Length(0) ");
    check("\r\nGET /?a#b HTTP/1.1\r\n\r\n", "400");
    check("\r\nGET /?a HTTP/1.0\r\nHost: a\r\n\r\n", "GET /?a HTTP/1.0 Length(0) host=\"a\"");
    check("GET http://a:80/b HTTP/1.1\r\n\r\n", "GET http://a:80/b HTTP/1.1 Length(0) ");
    check("OPTIONS * HTTP/1.1\r\n\r\n", "OPTIONS * HTTP/1.1 Length(0) ");
    check("CONNECT a:80 HTTP/1.1\r\n\r\n", "CONNECT a:80 HTTP/1.1 Length(0) ");
    check(
        "POST / HTTP/1.1\r\nContent-Length:\t3 \r\nA: \x7e\r\na:c\r\n\r\nabc",
        "POST / HTTP/1.1 Length(3) content-length=\"3\",a=\"~\",a=\"c\"",
    );
    check(
        "POST / HTTP/1.1\r\ntransfer-ENCODING: Chunked\r\n\r\n",
        "POST / HTTP/1.1 Chunked(Size) transfer-encoding=\"Chunked\"",
    );
    check(
        "GET / HTTP/1.1\r\nContent-Lengthy: x\r\nContent-Length: 0\r\n\r\n",
        "GET / HTTP/1.1 Length(0) content-lengthy=\"x\",content-length=\"0\"",
    );
    check("GET / HTTP/1.1\r\nA: b\r\n", "more");
    check("\r\n", "more");
}

#[test]
fn heads_with_two_readings_are_refused() {
    let check = |bytes: &str| check(bytes, "400");
    check("GET / HTTP/1.1\nHost: a\r\n\r\n");
    check("GET / HTTP/1.1\r\nHost: a\n\r\n");
    check("GET / HTTP/1.1\r\nHost: a\r\n\n");
    check("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n");
    check("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n");
    check("GET /\0 HTTP/1.1\r\n\r\n");
    check("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n");
    check("GET / HTTP/1.1\r\n A: b\r\n\r\n");
    check("GET / HTTP/1.1\r\nA : b\r\n\r\n");
    check("\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    check("\nGET / HTTP/1.1\r\n\r\n");
    for line in [
        "GET / HTTP/1.2",
        "GET / HTTP/1.10",
        "GET / http/1.1",
        "GET / HTTP/1.1 ",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / / HTTP/1.1",
        "GET\t/\tHTTP/1.1",
        " GET / HTTP/1.1",
        "GET / HTTP/0.9",
        "GET /",
        "GET HTTP/1.1",
        "GET  HTTP/1.1",
        "G:T / HTTP/1.1",
        "GET /\u{e4} HTTP/1.1",
        "PRI * HTTP/2.0",
    ] {
        check(&format!("{line}\r\nHost: a\r\n\r\n"));
    }
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
        "Content-Length: 18446744073709551615",
        "Content-Length: 18446744073709551616",
    ] {
        check(&format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"));
    }
    check("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
    check(&format!("POST / HTTP/1.1\r\nContent-Length:{}1\r\n\r\n", " ".repeat(200)));
}

#[test]
fn heads_have_a_limit() {
    let with = |lines: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(lines));
    assert!(matches!(read(with(20).as_bytes(), 4096), Ok(Some(_))));
    check(&with(21), "431");
    let large = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(4096));
    for size in [1, 100, 5000] {
        assert_eq!(read(large.as_bytes(), size).unwrap_err(), TOO_LARGE);
    }
    let limits = HeadLimits { bytes_max: 1 << 20, headers_max: 20 };
    let head = format!("GET /{} HTTP/1.1\r\n\r\n", "b".repeat(TARGET_BYTES_MAX));
    let mut input = BytesMut::from(head.as_str());
    let found = HeadReader::default().take(&mut input, limits, &mut HeaderMap::new());
    assert_eq!(found.unwrap_err(), Refused(StatusCode::URI_TOO_LONG));
}

#[test]
fn what_is_no_request_is_not_waited_for() {
    for bytes in ["\x16\x03\x01", "GET / HTTP/9.9\r\nHost", "nonsense\r\n", "GET / HTTP/1.1\r\nA\0"]
    {
        assert!(read(bytes.as_bytes(), bytes.len()).is_err(), "{bytes:?}");
    }
}

#[test]
fn heads_follow_each_other() {
    let mut reader = HeadReader::default();
    let text = "GET /a HTTP/1.1\r\n\r\n\r\nGET /b HTTP/1.1\r\nA: b\r\n\r\nGET /c HTTP/1.1\r\n\r\n";
    let mut input = BytesMut::from(text);
    for path in ["/a", "/b", "/c"] {
        let head = reader.take(&mut input, LIMITS, &mut HeaderMap::new());
        assert_eq!(head.unwrap().unwrap().uri.path(), path);
    }
    assert!(input.is_empty());
}

#[test]
fn connections_are_kept_where_both_sides_know() {
    let check = |head: &str, expected: bool| {
        let head = read(format!("GET / {head}\r\n\r\n").as_bytes(), 999).unwrap().unwrap();
        assert_eq!(head.wishes.keeps_alive, expected);
    };
    check("HTTP/1.1", true);
    check("HTTP/1.1\r\nConnection: x, Close", false);
    check("HTTP/1.1\r\nConnection: close\r\nConnection: keep-alive", false);
    check("HTTP/1.0", false);
    check("HTTP/1.0\r\nConnection: Keep-Alive", true);
    check("HTTP/1.0\r\nConnection: keep-alive, close", false);
}

#[test]
fn wishes_are_understood() {
    let wishes = |head: &str| {
        read(format!("GET / HTTP/1.{head}\r\n\r\n").as_bytes(), 999).unwrap().unwrap().wishes
    };
    assert!(wishes("1\r\nExpect: 100-Continue").expects_continue);
    assert!(!wishes("1\r\nExpect: something").expects_continue);
    assert!(!wishes("0\r\nExpect: 100-continue").expects_continue);
    assert!(wishes("1\r\nUpgrade: h2c").offers_upgrade);
    assert!(wishes("1\r\nTE: gzip, Trailers").takes_trailers);
    let none = wishes("1\r\nA: b");
    assert!(!none.offers_upgrade && !none.expects_continue && !none.takes_trailers);
}
