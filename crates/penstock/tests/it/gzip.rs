//! `gzip` of ConfigMap `higress-config`: answers that are compressed on their
//! way, read by programs of other makes.

use std::io::Write;
use std::process::{Command, Stdio};

use zlib_rs::{Inflate, InflateFlush};

use crate::setting::{Site, higress_config};
use crate::support::upstream::{COMPLETION, EVENT_STREAM};
use crate::support::*;

const ON: &str = "gzip: {enable: true}";
const STREAMS: &str = "gzip: {contentType: [text/event-stream, text/plain]}";

fn page(length: usize) -> String {
    "All hands on deck. ".chars().cycle().take(length).collect()
}

fn plain(head: &str, body: &str) -> Scenario {
    let length = body.len();
    Scenario::raw(&format!("Content-Type: text/plain\r\n{head}Content-Length: {length}"), body)
}

fn get() -> Request {
    Request::get("a.test", "/").header("Accept-Encoding", "gzip")
}

/// What Python reads of a compressed text.
#[track_caller]
fn python(compressed: &[u8]) -> String {
    let script =
        "import gzip, sys; sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))";
    let mut child = Command::new("python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("no python3");
    child.stdin.take().unwrap().write_all(compressed).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "Python cannot read it");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn check_compressed(answer: &Answer, expected: &str) {
    assert_eq!((answer.status(), answer.end), (200, End::Complete));
    assert_eq!(answer.header("content-encoding"), Some("gzip"), "{:?}", answer.head);
    assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
    assert_eq!(answer.header("content-length"), None);
    assert_eq!(python(&answer.body), expected);
}

#[track_caller]
fn check_untouched(answer: &Answer, expected: &str) {
    assert_eq!(answer.header("content-encoding"), None, "{:?}", answer.head);
    assert_eq!((answer.text().as_str(), answer.end), (expected, End::Complete));
    assert_eq!(answer.header("content-length"), Some(&*expected.len().to_string()));
}

#[test]
fn texts_are_compressed_for_those_who_take_it() {
    let body = page(100_000);
    let site = Site::with(plain("", &body), ON);
    let answer = site.gateway.send(&get());
    check_compressed(&answer, &body);
    assert!(answer.body.len() < 2000, "{}", answer.body.len());
    // The upstream learns what the client takes, as in Envoy.
    assert_eq!(site.upstream.received().header("accept-encoding"), Some("gzip"));
    let answer = site.gateway.send(&Request::get("a.test", "/"));
    check_untouched(&answer, &body);
    assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
    site.change("gzip: {enable: false}");
    let answer = site.gateway.send(&get());
    check_untouched(&answer, &body);
    assert_eq!(answer.header("vary"), None);
}

#[test]
fn curl_reads_what_it_asks_for() {
    let body = page(50_000);
    let site = Site::with(plain("", &body), ON);
    let url = format!("http://{}/", site.gateway.http);
    for version in ["--http1.1", "--http1.0", "--http2-prior-knowledge"] {
        let output = Command::new("curl")
            .args(["-sS", "--compressed", "-D", "/dev/stderr", "-H", "Host: a.test", version, &url])
            .output()
            .expect("no curl");
        assert!(output.status.success(), "{version}");
        let head = String::from_utf8(output.stderr).unwrap().to_lowercase();
        assert!(head.contains("content-encoding: gzip"), "{version} {head}");
        assert!(output.stdout == body.as_bytes(), "{version}");
    }
}

#[test]
fn it_is_on_unless_the_document_says_otherwise_and_off_without_one() {
    let body = page(2000);
    let site = Site::with(plain("", &body), "addXRealIpHeader: true");
    check_compressed(&site.gateway.send(&get()), &body);
    let upstream = Upstream::start(plain("", &body));
    let registry = static_registry("deck", &[upstream.address]);
    let route = Ingress::new("r").at("a.test", "Prefix", "/");
    let directory = Directory::new()
        .holding([("mcpbridges/default.yaml", bridge(&[registry]))])
        .holding([route.file()]);
    let gateway = Serve::new(directory.path()).start();
    check_untouched(&gateway.send(&get()), &body);
    let (name, text) = higress_config(ON);
    gateway.reload(|| directory.write(&name, text));
    check_compressed(&gateway.send(&get()), &body);
}

#[test]
fn each_event_can_be_read_when_it_was_sent() {
    let site = Site::with(Scenario::Silence, STREAMS);
    let steps = site.upstream.stepped();
    let mut client = site.gateway.begin(&get());
    steps.write(EVENT_STREAM);
    let head = client.head();
    assert_eq!(head.header("content-encoding"), Some("gzip"));
    let mut inflate = Inflate::new(true, 16 + 15);
    let mut read = |data: &[u8]| {
        let mut output = vec![0; 1 << 16];
        let before = inflate.total_out();
        inflate.decompress(data, &mut output, InflateFlush::SyncFlush).unwrap();
        String::from_utf8(output[..(inflate.total_out() - before) as usize].to_vec()).unwrap()
    };
    let long = format!("data: {}\n\n", page(3000));
    for event in ["data: a\n\n", ": comment\n\n", "da", "ta: b\n\n", &long, "data: [DONE]\n\n"] {
        steps.chunk(event);
        let mut text = String::new();
        while text.len() < event.len() {
            let Chunk::Data(data) = client.chunk() else { panic!("the stream ended") };
            text += &read(&data);
        }
        assert_eq!(text, event);
    }
    steps.finish();
    while client.chunk() != Chunk::Last {}
}

#[test]
fn a_stream_that_breaks_off_is_seen_as_broken() {
    let site = Site::with(Scenario::Silence, STREAMS);
    let steps = site.upstream.stepped();
    let mut client = site.gateway.begin(&get());
    steps.write(EVENT_STREAM);
    client.head();
    steps.chunk("data: a\n\n");
    assert!(matches!(client.chunk(), Chunk::Data(_)));
    steps.close();
    let mut last = client.chunk();
    while let Chunk::Data(_) = last {
        last = client.chunk();
    }
    assert_eq!(last, Chunk::Broken);
}

#[test]
fn an_upstream_is_read_no_faster_than_the_client() {
    let site = Site::with(
        Scenario::Silence,
        "gzip: {compressionLevel: BEST_SPEED, compressionStrategy: HUFFMAN_ONLY, contentType: [text/plain]}",
    );
    let steps = site.upstream.stepped();
    let mut client = site.gateway.begin(&get());
    steps.write("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n");
    assert_eq!(client.head().header("content-encoding"), Some("gzip"));
    let limit = 512 << 20;
    let taken = steps.flood(limit, std::time::Duration::from_millis(400));
    assert!(taken < limit, "all of it, although nobody read");
    let resident = site.gateway.resident_bytes();
    assert!(resident < 128 << 20, "{resident}");
}

#[test]
fn parts_conditions_and_heads_pass() {
    let body = page(5000);
    let site = Site::with(plain("", &body), ON);
    let part = "HTTP/1.1 206 Partial Content\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1999/5000\r\nContent-Length: 2000\r\n\r\n";
    site.upstream.once(Scenario::Bytes(format!("{part}{}", &body[..2000]).into_bytes()));
    let answer = site.gateway.send(&get().header("Range", "bytes=0-1999"));
    assert_eq!(answer.status(), 206);
    check_untouched(&answer, &body[..2000]);
    assert_eq!(site.upstream.received().header("range"), Some("bytes=0-1999"));

    let unchanged = "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n";
    site.upstream.once(Scenario::Bytes(unchanged.into()));
    let answer = site.gateway.send(&get().header("If-None-Match", "\"a\""));
    assert_eq!((answer.status(), answer.header("etag")), (304, Some("\"a\"")));
    assert_eq!(answer.header("content-encoding"), None);
    assert_eq!(site.upstream.received().header("if-none-match"), Some("\"a\""));

    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5000\r\n\r\n";
    site.upstream.once(Scenario::Bytes(head.into()));
    let mut connection = site.gateway.connect();
    connection.send(&Request::new("HEAD", "a.test", "/").header("Accept-Encoding", "gzip"));
    let head = connection.head();
    assert_eq!(
        (head.header("content-length"), head.header("vary")),
        (Some("5000"), Some("Accept-Encoding"))
    );
    assert_eq!(head.header("content-encoding"), None);
    // Nothing of a body came behind it.
    connection.send(&get());
    check_compressed(&connection.answer(), &body);
}

#[test]
fn what_must_not_be_compressed_is_not() {
    let body = page(5000);
    let site = Site::with(plain("", &body), ON);
    for line in ["Cache-Control: no-transform", "ETag: \"a\"", "ETag: W/\"a\""] {
        site.upstream.once(plain(&format!("{line}\r\n"), &body));
        check_untouched(&site.gateway.send(&get()), &body);
    }
    site.upstream.once(plain("Content-Encoding: br\r\n", &body));
    let answer = site.gateway.send(&get());
    assert_eq!((answer.header("content-encoding"), answer.text()), (Some("br"), body.clone()));
    check_untouched(
        &site.gateway.send(&Request::get("a.test", "/").header("Accept-Encoding", "gzip;q=0, *")),
        &body,
    );
    site.change("gzip: {disableOnEtagHeader: false}");
    site.upstream.once(plain("ETag: \"a\"\r\n", &body));
    let answer = site.gateway.send(&get());
    check_compressed(&answer, &body);
    assert_eq!(answer.header("etag"), None);
}

#[test]
fn tokens_are_counted_before_it() {
    let harbor = Harbor::changed(Scenario::Completion, |directory| {
        let (name, text) = higress_config("gzip: {minContentLength: 1}");
        directory.write(&name, text);
    });
    let answer = harbor.gateway.send(&chat().header("Accept-Encoding", "gzip"));
    check_compressed(&answer, COMPLETION);
    let line = harbor.gateway.access_log.of_request(&answer);
    assert_eq!(line["output_tokens"], 7, "{line}");
    assert_eq!(line["response_bytes"], answer.body.len(), "{line}");
    // The gateway's own answers go the same way.
    let denied = harbor.gateway.send(&chat_without_key().header("Accept-Encoding", "gzip"));
    assert_eq!((denied.status(), denied.header("content-encoding")), (401, Some("gzip")));
    assert!(python(&denied.body).contains("authentication_error"));
}
