//! Regular expressions as RE2 reads them, which Envoy matches with, in the
//! words of the crate `regex`.
//!
//! What differs is translated: `{` that begins no repetition, what stands in
//! brackets, `\Q…\E`, and `\d`, `\w`, `\s` and `\b`, which are ASCII there.
//! What neither takes stays as it is, and is refused when it is compiled.
//!
//! Invariant: the work is linear in the length of the text.

/// How many bytes of a name in braces or of a class in brackets count.
const NAME_BYTES_MAX: usize = 64;

/// What a backslash makes a class of characters of.
const CLASSES: [char; 8] = ['d', 'D', 'p', 'P', 's', 'S', 'w', 'W'];

/// The same expression for the crate `regex`.
pub(crate) fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        rest = match first {
            '\\' => escape(rest, &mut out, Place::Outside),
            '[' => class(rest, &mut out),
            '{' if repetition_bytes(rest).is_none() => literal(rest, first, &mut out),
            _ => {
                out.push(first);
                after(rest, first)
            }
        };
    }
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Outside,
    InClass,
}

fn after(rest: &str, first: char) -> &str {
    rest.get(first.len_utf8()..).unwrap_or_default()
}

fn literal<'a>(rest: &'a str, first: char, out: &mut String) -> &'a str {
    if first.is_ascii_punctuation() {
        out.push('\\');
    }
    out.push(first);
    after(rest, first)
}

/// The length of `{N}`, `{N,}` or `{N,M}`.
fn repetition_bytes(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('{')?;
    let end = inner.bytes().position(|byte| !byte.is_ascii_digit() && byte != b',')?;
    let (bounds, rest) = inner.split_at_checked(end)?;
    let (min, max) = bounds.split_once(',').unwrap_or((bounds, ""));
    let is_one = !min.is_empty() && !max.contains(',') && rest.starts_with('}');
    is_one.then_some(end + 2)
}

/// What begins with a backslash.
fn escape<'a>(rest: &'a str, out: &mut String, place: Place) -> &'a str {
    let behind = after(rest, '\\');
    let Some(letter) = behind.chars().next() else {
        out.push('\\');
        return behind;
    };
    let tail = after(behind, letter);
    let is_in_class = place == Place::InClass;
    let ascii = match letter {
        'd' if is_in_class => "0-9",
        'd' => "[0-9]",
        'D' => "[^0-9]",
        'w' if is_in_class => "0-9A-Za-z_",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        's' if is_in_class => r"\t\n\f\r ",
        's' => r"[\t\n\f\r ]",
        'S' => r"[^\t\n\f\r ]",
        'b' if !is_in_class => r"(?-u:\b)",
        'Q' if !is_in_class => {
            let (quoted, tail) = tail.split_once(r"\E").unwrap_or((tail, ""));
            out.push_str(&regex::escape(quoted));
            return tail;
        }
        _ => {
            out.push('\\');
            out.push(letter);
            return name(tail, letter, out);
        }
    };
    out.push_str(ascii);
    tail
}

/// What belongs to an escape and stands in braces.
fn name<'a>(tail: &'a str, letter: char, out: &mut String) -> &'a str {
    if !matches!(letter, 'x' | 'p' | 'P') || !tail.starts_with('{') {
        return tail;
    }
    let end = tail.bytes().take(NAME_BYTES_MAX).position(|byte| byte == b'}');
    let Some((name, tail)) = end.and_then(|end| tail.split_at_checked(end + 1)) else {
        return tail;
    };
    out.push_str(name);
    tail
}

/// What stands in brackets: characters, ranges and classes, and nothing that
/// combines them.
fn class<'a>(rest: &'a str, out: &mut String) -> &'a str {
    out.push('[');
    let mut rest = after(rest, '[');
    if let Some(negated) = rest.strip_prefix('^') {
        out.push('^');
        rest = negated;
    }
    let mut is_first = true;
    while let Some(first) = rest.chars().next() {
        if first == ']' && !is_first {
            out.push(first);
            return after(rest, first);
        }
        is_first = false;
        if let Some(end) = posix_bytes(rest)
            && let Some((named, tail)) = rest.split_at_checked(end)
        {
            out.push_str(named);
            rest = tail;
            continue;
        }
        let is_many = rest.strip_prefix('\\').is_some_and(|name| name.starts_with(CLASSES));
        rest = member(rest, first, out);
        // A hyphen makes a range, unless it is the last or follows a class.
        let end = rest.strip_prefix('-').filter(|end| !is_many && !end.starts_with(']'));
        if let Some(end) = end
            && let Some(last) = end.chars().next()
        {
            out.push('-');
            rest = member(end, last, out);
        }
    }
    rest
}

fn member<'a>(rest: &'a str, first: char, out: &mut String) -> &'a str {
    match first {
        '\\' => escape(rest, out, Place::InClass),
        _ => literal(rest, first, out),
    }
}

/// The length of `[:NAME:]`.
fn posix_bytes(text: &str) -> Option<usize> {
    let inner = text.strip_prefix("[:")?;
    let is_name = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'^';
    let end = inner.bytes().take(NAME_BYTES_MAX).position(|byte| !is_name(&byte))?;
    inner.get(end..)?.starts_with(":]").then_some(end + 4)
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let regex = Regex::new(&format!("^(?:{})$", translate(pattern))).unwrap();
        for text in matching {
            assert!(regex.is_match(text), "{pattern} on {text}: {regex}");
        }
        for text in others {
            assert!(!regex.is_match(text), "{pattern} on {text}: {regex}");
        }
    }

    #[test]
    fn what_is_read_alike_stays() {
        for pattern in [
            "/v[0-9]+/(a|b)",
            r"/a\.b\/c",
            "h.*h|low",
            "a{2}b{1,}c{1,3}",
            r"\x{41}\pL\p{Greek}\z",
            "(?P<n>x)(?i:y)",
            "[[:alpha:]ü]",
            "ü*",
        ] {
            assert_eq!(translate(pattern), pattern);
        }
    }

    #[test]
    fn braces_are_literal_where_nothing_is_repeated() {
        check("/users/{id}", &["/users/{id}"], &["/users/id"]);
        check("a{,3}|b{|c{1,2,3}", &["a{,3}", "b{", "c{1,2,3}"], &["aaa"]);
        check("a{2}", &["aa"], &["a{2}"]);
        check(r"\Q{a}.\E.", &["{a}.x"], &["{a}xx"]);
        check(r"\x{41}\p{Greek}", &["Aα"], &["Ax"]);
    }

    #[test]
    fn brackets_hold_characters() {
        check("[a&&b]+", &["a&b"], &["c"]);
        check("[a~~b]+", &["a~b"], &["c"]);
        check("[+--]+", &["+,-"], &["."]);
        check("[a-c-]+", &["b-"], &["d"]);
        check("[-a]+", &["-a"], &["b"]);
        check("[a[b]+", &["a[b"], &["c"]);
        check("[]a]+", &["]a"], &["b"]);
        check("[^]a]+", &["b"], &["]", "a"]);
        check(r"[\]\[^]+", &["][^"], &["a"]);
        check("[[:digit:][:^alpha:]]", &["1", "ü"], &["a"]);
        check("[[:digit]", &[":", "[", "d"], &["1"]);
        check(r"[\d\-x]+", &["1-x"], &["٣"]);
        check(r"[\w-.]+", &["a-b.c"], &["a/b"]);
        check(r"[\W]+", &["ü-"], &["a"]);
    }

    #[test]
    fn classes_are_ascii() {
        check(r"\d+", &["123"], &["١٢"]);
        check(r"\D+", &["١٢"], &["1"]);
        check(r"\w+", &["a_1"], &["ü"]);
        check(r"\s\S", &[" a", "\tü"], &["\u{a0}a", "\u{b}a"]);
        check(r"a\b.b", &["aüb", "a b"], &["a1b"]);
    }

    #[test]
    fn what_is_none_stays_none() {
        for pattern in ["(", "[a", r"\", "*", "[z-a]", r"\8", "(?<=a)", "[a-", "[", r"\x{41"] {
            assert!(Regex::new(&translate(pattern)).is_err(), "{pattern}");
        }
    }

    #[test]
    fn long_texts_are_read_in_linear_time() {
        for unit in ["{", "{1", "[", "[:", "[:a", r"\x{", r"\Q", "{1,2"] {
            let text = unit.repeat(1_000_000 / unit.len());
            assert!(translate(&text).len() >= text.len() / 2, "{unit}");
        }
    }
}
