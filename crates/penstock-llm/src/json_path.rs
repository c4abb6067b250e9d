//! Paths into JSON text, in the GJSON syntax that Higress' plugins use.
//!
//! Two forms: a [`JsonPath`] reads (keys, indexes, `#`, filters, a few
//! modifiers), a [`PlainPath`] also says where its value stands, so that it
//! can be replaced without touching the rest.
//!
//! Invariant: a plain path that two readers could understand differently,
//! because a key of it is there twice, leads nowhere.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::Value;

use crate::json;

/// A path that reads.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath {
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// A member, or an element where it is a number.
    Key(Box<str>),
    /// `#`: the rest of the path on every element; at the end, their number.
    Each,
    /// `#(…)`, or `#(…)#` for all of them.
    Filter { test: Test, is_for_all: bool },
    /// `@reverse`
    Reverse,
    /// `@keys`
    Keys,
    /// `@values`
    Values,
}

/// The condition of a filter.
#[derive(Clone, Debug, PartialEq)]
struct Test {
    /// What is looked at below an element; empty for the element itself.
    path: JsonPath,
    /// How it is compared; `None` asks only whether it is there.
    comparison: Option<(Comparison, Value)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Like,
    Unlike,
}

/// The operators, longer ones before their beginnings.
const COMPARISONS: [(&str, Comparison); 9] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::Unequal),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("!%", Comparison::Unlike),
    ("=", Comparison::Equal),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
    ("%", Comparison::Like),
];

/// A value on the way.
enum Found<'a> {
    Text(Cow<'a, str>),
    List(Vec<Found<'a>>),
    Count(usize),
}

impl JsonPath {
    /// Reads a path.
    ///
    /// # Errors
    /// It uses a part of the syntax that is not supported; the message says
    /// which.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (step, behind) = parse_step(rest)?;
            steps.extend(step);
            rest = match behind.strip_prefix(['.', '|']) {
                Some("") => return Err(format!("`{text}` ends in a separator")),
                Some(behind) => behind,
                None if behind.is_empty() => behind,
                None => return Err(format!("`{text}` lacks a `.` before `{behind}`")),
            };
        }
        Ok(Self { steps })
    }

    /// The raw JSON that the path leads to in `text`.
    pub fn find<'a>(&self, text: &'a str) -> Option<Cow<'a, str>> {
        walk(&self.steps, Found::Text(Cow::Borrowed(text))).map(Found::into_raw)
    }

    /// The value that the path leads to.
    pub fn value(&self, text: &str) -> Option<Value> {
        serde_json::from_str(&self.find(text)?).ok()
    }
}

/// One step and what follows it; no step for `@this`.
fn parse_step(text: &str) -> Result<(Option<Step>, &str), String> {
    if let Some(filter) = text.strip_prefix("#(") {
        let end = closing(filter).ok_or_else(|| format!("`#(` is not closed in `{text}`"))?;
        let (inner, behind) = filter.split_at(end);
        let behind = behind.strip_prefix(')').unwrap_or(behind);
        let test = parse_test(inner)?;
        return Ok(match behind.strip_prefix('#') {
            Some(behind) => (Some(Step::Filter { test, is_for_all: true }), behind),
            None => (Some(Step::Filter { test, is_for_all: false }), behind),
        });
    }
    let (key, has_escape, behind) = split_key(text);
    let step = match &*key {
        "" => return Err(format!("`{text}` has an empty step")),
        "#" if !has_escape => Step::Each,
        "@this" if !has_escape => return Ok((None, behind)),
        "@reverse" if !has_escape => Step::Reverse,
        "@keys" if !has_escape => Step::Keys,
        "@values" if !has_escape => Step::Values,
        _ if !has_escape && key.starts_with(['@', '!', '{', '[']) => {
            return Err(format!("`{key}` is not supported in a path"));
        }
        _ if !has_escape && key.contains(['*', '?']) => {
            return Err(format!("wildcards as in `{key}` are not supported in a path"));
        }
        _ => Step::Key(key.into()),
    };
    Ok((Some(step), behind))
}

/// A key without its escapes, whether it had any, and what follows.
fn split_key(text: &str) -> (String, bool, &str) {
    let mut key = String::new();
    let mut has_escape = false;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                has_escape = true;
                key.extend(chars.next().map(|(_, c)| c));
            }
            '.' | '|' => return (key, has_escape, text.get(at..).unwrap_or_default()),
            c => key.push(c),
        }
    }
    (key, has_escape, "")
}

/// Where the `)` that closes a filter stands.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut is_quoted, mut is_escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b'(' if !is_quoted => depth += 1,
            b')' if !is_quoted && depth == 0 => return Some(at),
            b')' if !is_quoted => depth -= 1,
            _ => {}
        }
    }
    None
}

fn parse_test(text: &str) -> Result<Test, String> {
    let operator = text.find(['=', '!', '<', '>', '%']);
    let (path, rest) = text.split_at(operator.unwrap_or(text.len()));
    let path = JsonPath::parse(path.trim())?;
    if rest.is_empty() {
        return Ok(Test { path, comparison: None });
    }
    let (word, comparison) = COMPARISONS
        .into_iter()
        .find(|(word, _)| rest.starts_with(word))
        .ok_or_else(|| format!("`{text}` has no operator that is supported"))?;
    let wanted = rest.get(word.len()..).unwrap_or_default().trim();
    let wanted = serde_json::from_str(wanted)
        .unwrap_or_else(|_| Value::String(wanted.trim_matches('"').into()));
    Ok(Test { path, comparison: Some((comparison, wanted)) })
}

impl Test {
    fn holds(&self, element: &str) -> bool {
        let Some(found) = self.path.value(element) else {
            return false;
        };
        let Some((comparison, wanted)) = &self.comparison else {
            return true;
        };
        let order = match (&found, wanted) {
            (Value::String(found), Value::String(wanted)) => Some(found.cmp(wanted)),
            (Value::Number(found), Value::Number(wanted)) => {
                found.as_f64().partial_cmp(&wanted.as_f64())
            }
            _ => None,
        };
        let is_like = || match (&found, wanted) {
            (Value::String(found), Value::String(pattern)) => is_match(found, pattern),
            _ => false,
        };
        match comparison {
            Comparison::Equal => found == *wanted,
            Comparison::Unequal => found != *wanted,
            Comparison::Less => order.is_some_and(|order| order.is_lt()),
            Comparison::LessOrEqual => order.is_some_and(|order| order.is_le()),
            Comparison::Greater => order.is_some_and(|order| order.is_gt()),
            Comparison::GreaterOrEqual => order.is_some_and(|order| order.is_ge()),
            Comparison::Like => is_like(),
            Comparison::Unlike => !is_like(),
        }
    }
}

/// Whether a text matches a pattern in which `*` is any text and `?` any
/// character.
fn is_match(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) =
        (text.chars().collect(), pattern.chars().collect());
    let (mut at, mut in_pattern) = (0, 0);
    // Where the last `*` stands, and the text that it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(in_pattern) {
            Some('*') => {
                star = Some((in_pattern, at));
                in_pattern += 1;
            }
            Some(c) if *c == '?' || text.get(at) == Some(c) => {
                at += 1;
                in_pattern += 1;
            }
            _ => match star {
                Some((star_at, taken)) => {
                    star = Some((star_at, taken + 1));
                    at = taken + 1;
                    in_pattern = star_at + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(in_pattern).all(|c| *c == '*')
}

fn walk<'a>(steps: &[Step], found: Found<'a>) -> Option<Found<'a>> {
    let Some((step, rest)) = steps.split_first() else {
        return Some(found);
    };
    match step {
        Step::Key(key) => walk(rest, found.member(key)?),
        Step::Each => {
            let elements = found.into_elements()?;
            if rest.is_empty() {
                return Some(Found::Count(elements.len()));
            }
            let each = elements.into_iter().filter_map(|element| walk(rest, element));
            Some(Found::List(each.collect()))
        }
        Step::Filter { test, is_for_all } => {
            let holds = |element: Found<'a>| {
                let raw = element.into_raw();
                test.holds(&raw).then_some(Found::Text(raw))
            };
            let mut chosen = found.into_elements()?.into_iter().filter_map(holds);
            if *is_for_all {
                let each = chosen.filter_map(|element| walk(rest, element));
                return Some(Found::List(each.collect()));
            }
            walk(rest, chosen.next()?)
        }
        Step::Reverse => match found.into_elements_or_self() {
            Ok(mut elements) => {
                elements.reverse();
                walk(rest, Found::List(elements))
            }
            Err(found) => walk(rest, found),
        },
        Step::Keys | Step::Values => {
            let text = found.into_raw();
            let mut members = Vec::new();
            json::for_each_member(&text, |key, value| {
                members.push(match step {
                    Step::Keys => json::encode_string(key),
                    _ => value.to_owned(),
                });
            })
            .ok()?;
            let members = members.into_iter().map(|raw| Found::Text(Cow::Owned(raw)));
            walk(rest, Found::List(members.collect()))
        }
    }
}

impl<'a> Found<'a> {
    /// The member of an object, or the element of a list that a number names.
    fn member(self, key: &str) -> Option<Found<'a>> {
        match self {
            Found::Text(Cow::Borrowed(text)) => {
                member(text, key).map(|raw| Found::Text(Cow::Borrowed(raw)))
            }
            Found::Text(Cow::Owned(text)) => {
                member(&text, key).map(|raw| Found::Text(Cow::Owned(raw.to_owned())))
            }
            Found::List(elements) => elements.into_iter().nth(key.parse().ok()?),
            Found::Count(_) => None,
        }
    }

    fn into_elements(self) -> Option<Vec<Found<'a>>> {
        self.into_elements_or_self().ok()
    }

    /// The elements of a list; the value itself where it is none.
    fn into_elements_or_self(self) -> Result<Vec<Found<'a>>, Found<'a>> {
        match self {
            Found::List(elements) => Ok(elements),
            Found::Text(Cow::Borrowed(text)) => match json::elements(text) {
                Ok(elements) => {
                    Ok(elements.into_iter().map(|raw| Found::Text(Cow::Borrowed(raw))).collect())
                }
                Err(_) => Err(Found::Text(Cow::Borrowed(text))),
            },
            Found::Text(Cow::Owned(text)) => match json::elements(&text) {
                Ok(elements) => Ok(elements
                    .into_iter()
                    .map(|raw| Found::Text(Cow::Owned(raw.to_owned())))
                    .collect()),
                Err(_) => Err(Found::Text(Cow::Owned(text))),
            },
            Found::Count(count) => Err(Found::Count(count)),
        }
    }

    fn into_raw(self) -> Cow<'a, str> {
        match self {
            Found::Text(text) => text,
            Found::Count(count) => Cow::Owned(count.to_string()),
            Found::List(elements) => {
                let raw: Vec<Cow<'_, str>> = elements.into_iter().map(Found::into_raw).collect();
                Cow::Owned(format!("[{}]", raw.join(",")))
            }
        }
    }
}

/// The first member with this key, or the element with this number.
fn member<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    if text.trim_start().starts_with('[') {
        return json::elements(text).ok()?.get(key.parse::<usize>().ok()?).copied();
    }
    let mut found = None;
    json::for_each_member(text, |name, raw| {
        if name == key {
            found.get_or_insert(raw);
        }
    })
    .ok()?;
    found
}

/// A path of keys and indexes, whose value can also be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainPath {
    keys: Vec<Box<str>>,
}

/// Where a plain path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// To the value here.
    At(Range<usize>),
    /// To a member that is not there yet.
    Absent {
        /// Right behind the `{` of the innermost object that is there.
        at: usize,
        /// Whether that object has no members.
        is_empty: bool,
        /// How many keys of the path lead to that object.
        depth: usize,
    },
    /// Nowhere: something on the way is of another type, is there twice, or
    /// the text is no JSON.
    Blocked,
}

impl PlainPath {
    /// Reads a path; `None` where it has anything but keys and indexes.
    pub fn parse(text: &str) -> Option<Self> {
        let path = JsonPath::parse(text).ok()?;
        let keys: Option<Vec<Box<str>>> = path
            .steps
            .into_iter()
            .map(|step| match step {
                Step::Key(key) => Some(key),
                _ => None,
            })
            .collect();
        keys.filter(|keys| !keys.is_empty()).map(|keys| Self { keys })
    }

    /// The keys on the way.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| &**key)
    }

    /// Whether it is this one key.
    pub fn is_key(&self, name: &str) -> bool {
        matches!(self.keys.as_slice(), [key] if **key == *name)
    }

    /// Where the path leads in a document.
    pub fn locate(&self, document: &str) -> Place {
        let mut value = document.trim_matches([' ', '\t', '\r', '\n']);
        for (depth, key) in self.keys.iter().enumerate() {
            let next = match value.as_bytes().first() {
                Some(b'{') => match single_member(value, key) {
                    Ok(Member::Here(raw)) => Some(raw),
                    Ok(Member::Absent { is_empty }) => {
                        let at = json::range_in(document, value).start + 1;
                        return Place::Absent { at, is_empty, depth };
                    }
                    Err(()) => None,
                },
                Some(b'[') => member(value, key),
                _ => None,
            };
            match next {
                Some(raw) => value = raw,
                None => return Place::Blocked,
            }
        }
        Place::At(json::range_in(document, value))
    }

    /// The text to put at a [`Place`] so that the path leads to `value`.
    pub fn edit(&self, place: &Place, value: &str) -> Option<(Range<usize>, String)> {
        let value = json::encode_string(value);
        match place {
            Place::At(range) => Some((range.clone(), value)),
            Place::Absent { at, is_empty, depth } => {
                let mut keys = self.keys.iter().skip(*depth);
                let first = keys.next()?;
                let inner = keys
                    .rev()
                    .fold(value, |inner, key| format!("{{{}:{inner}}}", json::encode_string(key)));
                let comma = if *is_empty { "" } else { "," };
                Some((*at..*at, format!("{}:{inner}{comma}", json::encode_string(first))))
            }
            Place::Blocked => None,
        }
    }
}

enum Member<'a> {
    Here(&'a str),
    Absent { is_empty: bool },
}

/// The one member with this key; an error where there are several, or the
/// text is no object.
fn single_member<'a>(text: &'a str, key: &str) -> Result<Member<'a>, ()> {
    let (mut found, mut is_empty, mut is_repeated) = (None, true, false);
    let read = json::for_each_member(text, |name, raw| {
        is_empty = false;
        if name == key {
            is_repeated |= found.replace(raw).is_some();
        }
    });
    match (read, found) {
        (Err(_), _) => Err(()),
        _ if is_repeated => Err(()),
        (Ok(()), Some(raw)) => Ok(Member::Here(raw)),
        (Ok(()), None) => Ok(Member::Absent { is_empty }),
    }
}

/// The text of a raw value: a string decoded, nothing for `null`, else the
/// JSON.
pub fn text_of(raw: &str) -> String {
    match raw {
        "null" => String::new(),
        raw => json::decode_string(raw).unwrap_or_else(|| raw.to_owned()),
    }
}

#[cfg(test)]
mod tests;
