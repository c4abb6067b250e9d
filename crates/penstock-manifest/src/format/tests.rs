use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::node::{Node, Value};
use crate::yaml;

fn formatted(file: &str, text: &str) -> String {
    match format(file, text) {
        Ok(Formatted::Text(text)) => text,
        other => panic!("{other:?}\n{text}"),
    }
}

fn check(text: &str, expected: &str) {
    assert_eq!(formatted("a.yaml", text), expected, "{text:?}");
    assert_eq!(formatted("a.yaml", expected), expected, "{text:?}");
}

fn check_kept(file: &str, text: &str, line: u32) {
    match format(file, text) {
        Ok(Formatted::Kept { at, .. }) => assert_eq!(at.line, line, "{text:?}"),
        other => panic!("{text:?}: {other:?}"),
    }
}

#[test]
fn what_a_text_file_cannot_hold() {
    check("\u{feff}a:   1\r\nb: 2 # c\r\n", "a: 1\nb: 2 # c\n");
    check("a: |\r\n  x\r\n  y\r\n", "a: |\n  x\n  y\n");
    check("a: 1", "a: 1\n");
    check("", "");
    check("# only this  \r\n", "# only this\n");
    check("a:\t1 # c\n", "a: 1 # c\n");
}

#[test]
fn what_would_be_lost_stays() {
    check_kept("a.yaml", "a: 1\n---\n# x\nb: &b 1\n", 4);
    check_kept("a.yaml", "a: &a 1\nb: *a\n", 1);
    check_kept("a.yaml", "x: {}\na:\n  <<: {b: 1}\n", 3);
    check_kept("a.yaml", "a: !!str 1\n", 1);
    check_kept("a.yaml", "%YAML 1.2\n---\na: 1\n", 1);
    check_kept("a.yaml", "a: 1\n...\n%YAML 1.2\n---\na: 1\n", 3);
    check_kept("a.json", "\t\u{b}", 1);
    check_kept("a.json", "{\"a\": 1, # no\n\"b\": 2}\n", 1);
}

#[test]
fn what_is_broken_has_a_line() {
    let found = format("a.yaml", "a: 1\n---\nb: [\n").unwrap_err();
    assert_eq!(found.len(), 1);
    assert_eq!((&*found[0].file, found[0].line), ("a.yaml", 4), "{found:?}");
    assert_eq!(format("a.json", "{\"a\": 1\n").unwrap_err().len(), 1);
    // Only the first mark is one.
    assert_eq!(format("a.yaml", "\u{feff}\u{feff}%a:\r\n\r\nb: c\n").unwrap_err().len(), 1);
}

#[test]
fn json_keeps_its_order_and_its_numbers() {
    let text = r#"{"b":[1.0,{"y":"\"[\\","a":{}},[ ]],"a" : 12345678901234567890}"#;
    let expected = r#"{
  "b": [
    1.0,
    {
      "y": "\"[\\",
      "a": {}
    },
    []
  ],
  "a": 12345678901234567890
}
"#;
    assert_eq!(formatted("a.json", text), expected);
    assert_eq!(formatted("a.JSON", expected), expected);
    assert_eq!(formatted("a.json", "\u{feff}\"a\"\r\n"), "\"a\"\n");
}

/// What a document is made of before anybody decides how it is written.
#[derive(Clone, Debug)]
enum Part {
    Word(String),
    Lines(Vec<String>),
    Bare(&'static str),
    List(Vec<Part>),
    Map(Vec<Part>),
}

fn part() -> impl Strategy<Value = Part> {
    let leaf = prop_oneof![
        "[ -~äß]{0,9}".prop_map(Part::Word),
        prop::collection::vec("[#a-z][ #:a-z-]{0,6}|", 1..4).prop_map(Part::Lines),
        prop::sample::select(vec!["1", "0x1F", "1_000", "1.50", "yes", "~", "", "word", "a b"])
            .prop_map(Part::Bare),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Part::List),
            prop::collection::vec(inner, 0..4).prop_map(Part::Map),
        ]
    })
}

/// Writes parts as carelessly as YAML allows, with numbered comments.
struct Writer {
    out: String,
    choices: Vec<u8>,
    next: usize,
    comments: usize,
    /// Whether a deeper comment would be text of a block scalar.
    is_behind_block: bool,
}

/// Names of an intent, so that order matters; the last is unknown.
const KEYS: [&str; 4] = ["providers", "consumers", "domains", "other"];
const INNER_KEYS: [&str; 4] = ["type", "name", "zz", "tokens"];

impl Writer {
    fn choose(&mut self, count: u8) -> u8 {
        self.next += 1;
        self.choices[self.next % self.choices.len()] % count
    }

    fn comment(&mut self) {
        self.comments += 1;
        write!(self.out, "#{}.", self.comments).unwrap();
    }

    /// Ends a line, perhaps with a comment.
    fn end_line(&mut self) {
        if self.choose(3) == 0 {
            self.out.push(' ');
            self.comment();
        }
        self.out.push('\n');
    }

    /// Blank lines and comments of their own.
    fn between(&mut self, indent: usize) {
        if std::mem::take(&mut self.is_behind_block) {
            self.comment();
            self.out.push('\n');
        }
        for _ in 0..self.choose(3) {
            match self.choose(3) {
                0 => self.out.push_str("  \n"),
                1 => {
                    self.indent(indent);
                    self.comment();
                    self.out.push('\n');
                }
                _ => {
                    let indent = usize::from(self.choose(7));
                    self.indent(indent);
                    self.comment();
                    self.out.push('\n');
                }
            }
        }
    }

    fn indent(&mut self, indent: usize) {
        self.out.extend(std::iter::repeat_n(' ', indent));
    }

    /// Writes a value behind `key:`, `-` or nothing; ends its line.
    fn value(&mut self, part: &Part, indent: usize, is_in_map: bool, depth: usize) {
        if depth > 0 {
            self.out.push(' ');
        }
        match part {
            Part::List(parts) if !parts.is_empty() && self.choose(3) > 0 => {
                let indented = usize::from(self.choose(3));
                let indent = if is_in_map { indent + indented } else { indent + 2 };
                let indent = if depth == 0 { 0 } else { indent };
                if is_in_map || self.choose(2) == 0 {
                    self.end_line_if(depth);
                    self.list(parts, indent, depth, true);
                } else if depth == 0 {
                    self.list(parts, 0, depth, true);
                } else {
                    self.list(parts, indent, depth, false);
                }
            }
            Part::Map(parts) if !parts.is_empty() && self.choose(3) > 0 => {
                let indent = if depth == 0 { 0 } else { indent + 2 };
                if is_in_map || depth == 0 || self.choose(2) == 0 {
                    self.end_line_if(depth);
                    self.map(parts, indent, depth, true);
                } else {
                    self.map(parts, indent, depth, false);
                }
            }
            Part::Lines(lines) if depth > 0 && lines.iter().any(|line| !line.is_empty()) => {
                let first = lines.iter().position(|line| !line.is_empty()).unwrap();
                let header = ["|", "|-", "|+", ">", ">-"][usize::from(self.choose(5))];
                self.out.push_str(header);
                self.end_line();
                for line in &lines[first..] {
                    if !line.is_empty() {
                        self.indent(indent + 2);
                        self.out.push_str(line);
                    }
                    self.out.push('\n');
                }
                self.is_behind_block = true;
            }
            part => {
                self.flow(part, indent + 2);
                self.end_line();
            }
        }
    }

    fn end_line_if(&mut self, depth: usize) {
        if depth > 0 {
            self.end_line();
        }
    }

    fn list(&mut self, parts: &[Part], indent: usize, depth: usize, is_fresh: bool) {
        for (index, part) in parts.iter().enumerate() {
            if index > 0 || is_fresh {
                self.between(indent);
                self.indent(indent);
            }
            self.out.push('-');
            self.value(part, indent, false, depth + 1);
        }
    }

    fn map(&mut self, parts: &[Part], indent: usize, depth: usize, is_fresh: bool) {
        let names = if depth == 0 { KEYS } else { INNER_KEYS };
        for (index, (part, name)) in parts.iter().zip(names).enumerate() {
            if index > 0 || is_fresh {
                self.between(indent);
                self.indent(indent);
            }
            self.out.push_str(name);
            self.out.push(':');
            self.value(part, indent, true, depth + 1);
        }
    }

    /// A value inside brackets, or a scalar.
    fn flow(&mut self, part: &Part, indent: usize) {
        let (brackets, parts): (_, &[Part]) = match part {
            Part::Word(word) => return self.quoted(word),
            Part::Lines(lines) => return self.quoted(&lines.join(" ")),
            Part::Bare(word) => return self.out.push_str(if word.is_empty() { "~" } else { word }),
            Part::List(parts) => ("[]", parts),
            Part::Map(parts) => ("{}", parts),
        };
        self.out.push_str(&brackets[..1]);
        for (index, part) in parts.iter().enumerate() {
            self.flow_break(indent);
            if brackets == "{}" {
                self.out.push_str(INNER_KEYS[index]);
                self.out.push_str(": ");
            }
            self.flow(part, indent + 1);
            if index + 1 < parts.len() {
                self.out.push_str(" ,");
            }
        }
        self.flow_break(indent);
        self.out.push_str(&brackets[1..]);
    }

    fn flow_break(&mut self, indent: usize) {
        if self.choose(3) == 0 {
            self.end_line();
            self.between(indent);
            self.indent(indent);
        } else {
            self.out.push(' ');
        }
    }

    fn quoted(&mut self, word: &str) {
        match self.choose(2) {
            0 => write!(self.out, "'{}'", word.replace('\'', "''")).unwrap(),
            _ => write!(self.out, "{word:?}").unwrap(),
        }
    }
}

fn written(parts: &[Part], choices: Vec<u8>) -> (String, usize) {
    let mut writer =
        Writer { out: String::new(), choices, next: 0, comments: 0, is_behind_block: false };
    for (index, part) in parts.iter().enumerate() {
        if index > 0 || writer.choose(2) == 0 {
            writer.out.push_str("---");
            writer.end_line();
        }
        writer.between(0);
        writer.value(part, 0, true, 0);
        writer.between(0);
    }
    (writer.out, writer.comments)
}

/// Equality that looks at the order of lists only.
fn values(text: &str) -> Vec<Node> {
    yaml::parse(text).into_iter().map(|document| document.result.unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_twice_is_once(
        parts in prop::collection::vec(part(), 1..4),
        choices in prop::collection::vec(any::<u8>(), 8..64),
    ) {
        let (text, comments) = written(&parts, choices);
        let read = yaml::parse(&text);
        prop_assert!(read.iter().all(|document| document.result.is_ok()), "{read:?}\n{text}");
        let out = match format("a.yaml", &text) {
            Ok(Formatted::Text(out)) => out,
            other => return Err(TestCaseError::fail(format!("{other:?}\n{text}"))),
        };
        prop_assert_eq!(values(&out), values(&text), "{}\n=>\n{}", text, out);
        for number in 1..=comments {
            let comment = format!("#{number}.");
            let is_there = out.lines().filter(|line| line.trim_end().ends_with(&comment)).count();
            prop_assert_eq!(is_there, 1, "{}\n{}\n=>\n{}", comment, text, out);
        }
        prop_assert_eq!(formatted("a.yaml", &out), out);
    }

    #[test]
    fn what_is_rendered_has_its_form_already(part in part()) {
        let node = node(&part);
        let text = yaml::render(&node);
        prop_assert_eq!(formatted("a.yaml", &text), if node.is_null() { text.clone() } else { text });
    }

    #[test]
    fn any_text_is_formatted_once(text in any::<String>()) {
        for file in ["a.yaml", "a.json"] {
            if let Ok(Formatted::Text(out)) = format(file, &text) {
                prop_assert_eq!(formatted(file, &out), out);
            }
        }
    }
}

fn node(part: &Part) -> Node {
    let key = |index: usize| format!("key{index}");
    Node::synthetic(match part {
        Part::Word(word) => Value::String(word.as_str().into()),
        Part::Lines(lines) => Value::String(lines.join("\n").into()),
        Part::Bare(_) => Value::Int(7),
        Part::List(parts) => Value::List(parts.iter().map(node).collect()),
        Part::Map(parts) => {
            let mut map = crate::node::Map::default();
            for (index, part) in parts.iter().enumerate() {
                map.set(&key(index), node(part));
            }
            Value::Map(map)
        }
    })
}
