//! HTTP/2 that tries to be two requests, or to be none, sent through the
//! gateway frame by frame to servers of HTTP/1.1: one request in, at most one
//! request out. All of it is in `tests/framing/http2.txt`.

use crate::support::back_end::{BackEnd, Kind};
use crate::support::corpus::{self, Counts, unescape};
use crate::support::frames::{
    ENABLE_CONNECT_PROTOCOL, END_HEADERS, END_STREAM, Frames, KINDS, Outcome, field, frame,
};
use crate::support::*;

const FRAMES: &str = include_str!("../framing/http2.txt");
const HOST: &str = "open.test";
/// What nobody behind the gateway may see in a head.
const SMUGGLED: &str = "smuggled";

/// The one reading that a payload may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    One,
    Refused,
    Reset,
    Broken,
    Ended,
    Cut,
}

struct Case {
    name: &'static str,
    reading: Reading,
    text: &'static str,
}

fn cases() -> Vec<Case> {
    let case = |(name, reading, text)| {
        let reading = match reading {
            "one" => Reading::One,
            "refused" => Reading::Refused,
            "reset" => Reading::Reset,
            "broken" => Reading::Broken,
            "ended" => Reading::Ended,
            "cut" => Reading::Cut,
            other => panic!("{other} is no reading"),
        };
        Case { name, reading, text }
    };
    corpus::cases(FRAMES).map(case).collect()
}

impl Case {
    /// The frames, with a path of its own.
    fn bytes(&self, path: &str) -> Vec<u8> {
        const HEAD: &str = ":scheme|http\n:authority|HOST\n:path|/case";
        let text = self
            .text
            .replace("@get", &format!(":method|GET\n{HEAD}"))
            .replace("@post", &format!(":method|POST\n{HEAD}"))
            .replace("HOST", HOST)
            .replace("/case", path);
        let is_frame = |line: &&str| KINDS.contains(&line.split(' ').next().unwrap());
        let mut lines = text.lines().filter(|line| !line.is_empty()).peekable();
        let mut bytes = Vec::new();
        while let Some(line) = lines.next() {
            let mut payload = Vec::new();
            while let Some(line) = lines.next_if(|line| !is_frame(line)) {
                payload.push(line);
            }
            bytes.extend(frames(line, &payload));
        }
        bytes
    }
}

/// One frame, as often as its line says.
fn frames(line: &str, payload: &[&str]) -> Vec<u8> {
    let mut words = line.split(' ');
    let kind = words.next().unwrap();
    let has_fields = matches!(kind, "HEADERS" | "CONTINUATION");
    let (mut flags, mut stream, mut times) = (if has_fields { END_HEADERS } else { 0 }, 1, 1);
    let mut is_raw = !has_fields;
    for word in words {
        match word.split_once('=') {
            None if word == "END" => flags |= END_STREAM,
            None if word == "OPEN" => flags &= !END_HEADERS,
            None if word == "raw" => is_raw = true,
            Some(("on", number)) => stream = number.parse().unwrap(),
            Some(("times", number)) => times = number.parse().unwrap(),
            _ => panic!("{word} is no flag"),
        }
    }
    let payload: Vec<u8> = match is_raw {
        true => payload.iter().flat_map(|line| unescape(line)).collect(),
        false => payload.iter().flat_map(|line| fields(line)).collect(),
    };
    frame(kind, flags, stream, &payload).repeat(times)
}

/// A field, or the same one several times.
fn fields(line: &str) -> Vec<u8> {
    let repeated = line.strip_prefix("\\*").and_then(|rest| rest.split_once('('));
    let (times, line) = match repeated {
        Some((times, line)) => (times.parse().unwrap(), line.trim_end_matches(')')),
        None => (1, line),
    };
    let (name, value) = line.split_once('|').unwrap_or_else(|| panic!("{line} is no field"));
    field(&unescape(name), &unescape(value)).repeat(times)
}

/// Who gets what passes.
enum Behind {
    Others(BackEnd),
    Recorder(Upstream),
}

/// The gateway before a back end, and what has been sent through it.
struct Course {
    behind: Behind,
    gateway: Gateway,
    _directory: Directory,
    expected: Counts,
}

impl Course {
    fn before(behind: Behind) -> Self {
        let address = match &behind {
            Behind::Others(back_end) => back_end.address,
            Behind::Recorder(upstream) => upstream.address,
        };
        let open =
            Ingress::new("open").at(HOST, "Prefix", "/").without_annotation("upstream-vhost");
        let directory = Directory::new()
            .holding([("mcpbridges/default.yaml", bridge(&[static_registry("deck", &[address])]))])
            .holding([open.file()]);
        let gateway = Serve::new(directory.path()).start();
        Self { behind, gateway, _directory: directory, expected: Counts::new() }
    }

    /// Sends a case over a connection of its own and looks at what comes
    /// back; what is wrong with it.
    fn send(&mut self, case: &Case) -> Option<String> {
        let path = format!("/case-{}", self.expected.len());
        let mut client = Frames::open(self.gateway.http);
        client.write(&case.bytes(&path));
        let outcome = client.outcome(1);
        let told = format!("{} as {path}: {outcome:?}", case.name);
        let is_read_so = match case.reading {
            Reading::One => outcome == Outcome::Answered(200),
            Reading::Refused => matches!(outcome, Outcome::Answered(400..500)),
            Reading::Reset | Reading::Broken => outcome == Outcome::Reset,
            Reading::Ended | Reading::Cut => outcome == Outcome::Ended,
        };
        let bounds = match case.reading {
            Reading::One => (1, 1),
            Reading::Refused | Reading::Reset | Reading::Ended => (0, 0),
            Reading::Broken | Reading::Cut => (0, 1),
        };
        self.expected.insert(path, bounds);
        if !is_read_so {
            return Some(told);
        }
        if !matches!(case.reading, Reading::Ended | Reading::Cut) {
            let after = format!("/after-{}", self.expected.len());
            client.send(7, &Request::get(HOST, &after));
            assert_eq!(client.outcome(7), Outcome::Answered(200), "behind {told}");
            self.expected.insert(after, (1, 1));
        }
        None
    }

    /// Compares what was seen behind the gateway with what may be seen.
    fn check(&mut self) {
        let last = Request::get(HOST, "/last");
        assert_eq!(self.gateway.send(&last).status(), 200);
        self.expected.insert("/last".to_owned(), (1, 1));
        match &self.behind {
            Behind::Others(back_end) => back_end.check(&self.expected),
            Behind::Recorder(upstream) => check_recorded(upstream, &self.expected),
        }
    }
}

#[track_caller]
fn check_recorded(upstream: &Upstream, expected: &Counts) {
    let mut received = Vec::new();
    while received.last().is_none_or(|last: &upstream::Received| last.target() != "/last") {
        received.push(upstream.received());
    }
    received.iter().for_each(check_head);
    corpus::check_seen(received.iter().map(upstream::Received::target), expected);
}

/// What arrived has one reading, and nothing of what was hidden in it.
#[track_caller]
fn check_head(received: &upstream::Received) {
    let text = format!("{} {:?}", received.line, received.headers);
    assert!(!text.contains(SMUGGLED), "{text}");
    assert_eq!(received.line.split(' ').count(), 3, "{text}");
    assert!(received.line.ends_with(" HTTP/1.1"), "{text}");
    for (name, value) in &received.headers {
        assert!(
            name.bytes().all(|byte| byte.is_ascii_lowercase() || b"-_".contains(&byte)),
            "{text}"
        );
        assert!(
            !value.contains(|character: char| character.is_ascii_control() && character != '\t'),
            "{text}"
        );
    }
    let lengths = received.headers("content-length");
    let codings = received.headers("transfer-encoding");
    assert!(lengths.len() + codings.len() <= 1, "{text}");
    assert!(lengths.iter().all(|length| length.parse::<usize>().is_ok()), "{text}");
    assert!(codings.iter().all(|coding| *coding == "chunked"), "{text}");
    assert_eq!(received.headers("host").len(), 1, "{text}");
    for name in ["connection", "keep-alive", "upgrade", "te", "proxy-connection", "expect"] {
        assert_eq!(received.headers(name), [""; 0], "{text}");
    }
}

#[track_caller]
fn check(behind: Behind) {
    let mut course = Course::before(behind);
    let complaints: Vec<String> = cases().iter().filter_map(|case| course.send(case)).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    course.check();
}

#[test]
fn one_request_comes_out_at_most_and_it_has_one_reading() {
    check(Behind::Recorder(Upstream::start(Scenario::Completion)));
}

#[test]
fn nginx_sees_at_most_one_request() {
    check(Behind::Others(BackEnd::start(Kind::Nginx)));
}

#[test]
fn haproxy_sees_at_most_one_request() {
    check(Behind::Others(BackEnd::start(Kind::Haproxy)));
}

#[test]
fn python_sees_at_most_one_request() {
    check(Behind::Others(BackEnd::start(Kind::Python)));
}

#[test]
fn node_sees_at_most_one_request() {
    check(Behind::Others(BackEnd::start(Kind::Node)));
}

#[test]
fn nothing_is_offered_that_is_not_served() {
    let upstream = Upstream::start(Scenario::Completion);
    let course = Course::before(Behind::Recorder(upstream));
    let settings = Frames::open(course.gateway.http).await_frame("SETTINGS").settings();
    assert!(settings.iter().all(|(name, _)| *name != ENABLE_CONNECT_PROTOCOL), "{settings:?}");
}
