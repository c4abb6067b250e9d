//! Corpora of what tries to be more than one request: how they are written
//! down, and what may be seen of them behind the gateway.

use std::collections::HashMap;

/// What each path may be asked for: how often at least, and at most.
pub(crate) type Counts = HashMap<String, (usize, usize)>;

/// The cases of a corpus: name, reading and payload of each.
pub(crate) fn cases(
    text: &'static str,
) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let (_, cases) = text.split_once("\n== ").unwrap();
    cases.split("\n== ").map(|case| {
        let (title, payload) = case.split_once('\n').unwrap();
        let (name, reading) = title.rsplit_once(": ").unwrap();
        (name, reading, payload)
    })
}

/// Compares the targets that were seen with what may be seen.
#[track_caller]
pub(crate) fn check_seen<'t>(targets: impl Iterator<Item = &'t str>, expected: &Counts) {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for target in targets {
        let path = target.split('?').next().unwrap_or_default();
        assert!(expected.contains_key(path), "nobody sent {target:?}");
        *seen.entry(path).or_default() += 1;
    }
    for (path, (at_least, at_most)) in expected {
        let count = seen.get(path.as_str()).copied().unwrap_or_default();
        assert!((*at_least..=*at_most).contains(&count), "{path} was seen {count} times");
    }
}

/// Bytes from text in which \r \n \t \0 \xHH and \\ are escapes, and \*N(text)
/// is the text N times.
pub(crate) fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        bytes.extend(before.as_bytes());
        let (kind, behind) = escape.split_at(1);
        rest = behind;
        match kind {
            "r" => bytes.push(b'\r'),
            "n" => bytes.push(b'\n'),
            "t" => bytes.push(b'\t'),
            "0" => bytes.push(0),
            "\\" => bytes.push(b'\\'),
            "x" => {
                let (digits, behind) = behind.split_at(2);
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                rest = behind;
            }
            "*" => {
                let (count, behind) = behind.split_once('(').unwrap();
                let (repeated, behind) = behind.split_once(')').unwrap();
                bytes.extend(unescape(repeated).repeat(count.parse().unwrap()));
                rest = behind;
            }
            other => panic!("\\{other} is no escape"),
        }
    }
    bytes.extend(rest.as_bytes());
    bytes
}
