//! Payloads that try to be two requests, sent through the gateway to servers
//! of other makes: one request in, at most one request out. And answers that
//! try to be two. All of them are in `tests/framing/`.

use crate::support::back_end::{BackEnd, Kind};
use crate::support::corpus::{self, Counts};
use crate::support::*;

const REQUESTS: &str = include_str!("../framing/requests.txt");
const ANSWERS: &str = include_str!("../framing/answers.txt");
/// Payloads up to this length are cut at every byte.
const CUT_BYTES_MAX: usize = 160;
/// How many back ends share the cut payloads.
const KINDS: usize = 4;
const HOST: &str = "open.test";

/// The one reading that a payload may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    One,
    Closed,
    Refused,
    Dropped,
    Broken,
}

struct Case {
    name: &'static str,
    reading: Reading,
    bytes: Vec<u8>,
}

fn cases(text: &'static str) -> Vec<Case> {
    corpus::cases(text).map(case).collect()
}

fn case((name, reading, payload): (&'static str, &'static str, &'static str)) -> Case {
    let reading = match reading {
        "one" => Reading::One,
        "closed" => Reading::Closed,
        "refused" => Reading::Refused,
        "dropped" => Reading::Dropped,
        "broken" => Reading::Broken,
        other => panic!("{other} is no reading"),
    };
    let payload = payload
        .replace('\n', "")
        .replace("@post", r"POST /case HTTP/1.1\r\nHost: HOST\r\n")
        .replace("@get", r"GET /case HTTP/1.1\r\nHost: HOST\r\n")
        .replace("@smuggled", r"GET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n")
        .replace("@ok", r"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
        .replace("HOST", HOST);
    Case { name, reading, bytes: corpus::unescape(&payload) }
}

/// The gateway before a back end, and what has been sent through it.
struct Course {
    back_end: BackEnd,
    gateway: Gateway,
    _directory: Directory,
    expected: Counts,
}

impl Course {
    fn start(kind: Kind) -> Self {
        let back_end = BackEnd::start(kind);
        let directory = Directory::harbor(back_end.address);
        let open = Ingress::new("open").at(HOST, "Prefix", "/").to("llm-brook.internal.static:80");
        let (file, text) = open.file();
        directory.write(&file, text);
        let gateway = Serve::new(directory.path()).start();
        Self { back_end, gateway, _directory: directory, expected: Counts::new() }
    }

    /// Sends a payload in pieces and looks at what comes back.
    fn send(&mut self, case: &Case, split: impl Fn(&[u8]) -> Vec<&[u8]>) {
        let path = format!("/case-{}", self.expected.len());
        let bytes = with_path(&case.bytes, &path);
        let pieces = split(&bytes);
        let mut connection = self.gateway.connect();
        pieces.iter().for_each(|piece| connection.write(piece));
        let told = format!("{} as {path} in {} pieces", case.name, pieces.len());
        let bounds = match case.reading {
            Reading::One | Reading::Closed => (1, 1),
            Reading::Refused | Reading::Dropped => (0, 0),
            Reading::Broken => (0, 1),
        };
        self.expected.insert(path, bounds);
        match case.reading {
            Reading::One => {
                assert_eq!(connection.answer().status(), 200, "{told}");
                let after = format!("/after-{}", self.expected.len());
                let after_request = Request::get(HOST, &after);
                connection.send(&after_request);
                // A back end that answers before the body has come to its end
                // costs the connection, and what stands behind is not read.
                let answer = match connection.try_head() {
                    Some(head) => connection.body_of(head),
                    None => self.gateway.send(&after_request),
                };
                assert_eq!(answer.status(), 200, "{told}");
                self.expected.insert(after, (1, 1));
            }
            Reading::Closed => {
                assert_eq!(connection.answer().status(), 200, "{told}");
                assert_eq!(connection.rest(), b"", "{told}");
            }
            Reading::Dropped => {
                connection.rest();
            }
            Reading::Refused | Reading::Broken => {
                let rest = String::from_utf8(connection.rest()).unwrap();
                let answers = rest.matches("HTTP/1.").count();
                // What was still on its way when the connection was closed
                // resets it, and the answer may be lost.
                let may_be_lost = pieces.len() > 1 || bytes.len() > CUT_BYTES_MAX;
                assert!(answers == 1 || (answers == 0 && may_be_lost), "{told}: {rest}");
                let is_refused = rest.is_empty() || rest.get(8..10) == Some(" 4");
                assert!(is_refused || case.reading == Reading::Broken, "{told}: {rest}");
            }
        }
    }

    /// Compares what the back end saw with what it may have seen.
    fn check(&mut self) {
        let last = Request::get(HOST, "/last");
        assert_eq!(self.gateway.send(&last).status(), 200);
        self.expected.insert("/last".to_owned(), (1, 1));
        self.back_end.check(&self.expected);
    }
}

/// The payload for a path of its own.
fn with_path(bytes: &[u8], path: &str) -> Vec<u8> {
    match bytes.windows(5).position(|window| window == b"/case") {
        Some(at) => [&bytes[..at], path.as_bytes(), &bytes[at + 5..]].concat(),
        None => bytes.to_vec(),
    }
}

#[track_caller]
fn check(kind: Kind) {
    let mut course = Course::start(kind);
    for (index, case) in cases(REQUESTS).iter().enumerate() {
        course.send(case, |bytes| vec![bytes]);
        if case.bytes.len() > CUT_BYTES_MAX {
            continue;
        }
        course.send(case, |bytes| bytes.chunks(1).collect());
        if index % KINDS == kind as usize {
            for cut in 1..case.bytes.len() {
                course.send(case, |bytes| {
                    let (first, second) = bytes.split_at(cut);
                    vec![first, second]
                });
            }
        }
    }
    course.check();
}

#[test]
fn nginx_sees_at_most_one_request() {
    check(Kind::Nginx);
}

#[test]
fn haproxy_sees_at_most_one_request() {
    check(Kind::Haproxy);
}

#[test]
fn python_sees_at_most_one_request() {
    check(Kind::Python);
}

#[test]
fn node_sees_at_most_one_request() {
    check(Kind::Node);
}

#[test]
fn an_answer_with_two_readings_is_none() {
    let harbor = Harbor::start();
    for case in cases(ANSWERS) {
        assert_eq!(harbor.chat().status(), 200);
        let connections = harbor.upstream.connections();
        harbor.upstream.once(Scenario::Bytes(case.bytes));
        let mut client = harbor.gateway.begin(&chat());
        match (case.reading, client.try_head()) {
            (Reading::One | Reading::Closed, Some(head)) => {
                assert_eq!((head.status, client.body_of(head).end), (200, End::Complete));
            }
            (Reading::Refused, Some(head)) => {
                let answer = client.body_of(head);
                assert_eq!(answer.status(), 502, "{}", case.name);
                let line = harbor.gateway.access_log.of_request(&answer);
                assert_eq!(line["error"], "upstream_invalid", "{}", case.name);
            }
            (Reading::Broken, Some(head)) => {
                assert_eq!(client.body_of(head).end, End::Broken, "{}", case.name);
            }
            // The body broke off before the head was on its way.
            (Reading::Broken, None) => {}
            (reading, head) => panic!("{}: {head:?} for {reading:?}", case.name),
        }
        assert_eq!(harbor.chat().status(), 200, "{}", case.name);
        let opened = harbor.upstream.connections() - connections;
        assert_eq!(opened, usize::from(case.reading != Reading::One), "{}", case.name);
    }
}
