//! Paths as regular expressions and new paths for the upstream
//! (Higress: annotations/rewrite.go; annotations.go, `NeedRegexMatch`).

use super::table::Key;
use super::view::{Annotations, is_url_text};

const FULL_PATH_REGEX: Key = Key::of("full-path-regex");
const PATH: Key = Key::of("rewrite-path");
const TARGET: Key = Key::of("rewrite-target");
const USE_REGEX: Key = Key::of("use-regex");
const VHOST: Key = Key::of("upstream-vhost");

/// The longest name of DNS, and a port.
const HOST_BYTES_MAX: usize = 253 + ":65535".len();
/// Most servers refuse a longer request line.
const PATH_BYTES_MAX: usize = 8 << 10;

/// The path that the upstream sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// What replaces the matched part of the path, and the whole of an exact
    /// path or a regular expression. It begins with `/` and wins over the
    /// target. Higress: `rewrite-path`.
    pub path: Option<Box<str>>,
    /// What replaces every match of the path's regular expression, as the
    /// regex crate takes it: references are `${N}`, and a dollar is `$$`. It
    /// need not begin with `/`, may have a `?`, and is visible ASCII; `None`
    /// also where the written one has a reference that cannot be read.
    /// Higress: `rewrite-target`.
    pub target: Option<Box<str>>,
    /// What the written target makes of the paths.
    pub trigger: RegexTrigger,
}

/// Which paths a `rewrite-target` turns into regular expressions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RegexTrigger {
    /// None: there is no target.
    #[default]
    None,
    /// Those that have one of ``\.+*?()|[]{}^$``, also a harmless `/v1.0`.
    PathsThatLookLikeOne,
    /// All: the target has a `$` or `\`.
    All,
}

/// How a path that is a regular expression matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathRegex {
    /// `PATH.*` over the whole path.
    Prefix,
    /// `PATH$` over the whole path.
    FullPath,
}

/// What the annotations of `rewrite.go` say.
#[derive(Default)]
pub(super) struct RewriteOptions {
    pub(super) use_regex: bool,
    pub(super) full_path_regex: bool,
    pub(super) rewrite: Option<Box<Rewrite>>,
    pub(super) upstream_vhost: Option<Box<str>>,
}

impl super::RouteOptions {
    /// Whether a path is a regular expression, whatever its `pathType`, and
    /// how it matches then.
    pub fn path_regex(&self, path: &str) -> Option<PathRegex> {
        let trigger = self.rewrite.as_ref().map(|rewrite| rewrite.trigger).unwrap_or_default();
        let is_regex = self.use_regex
            || self.full_path_regex
            || match trigger {
                RegexTrigger::None => false,
                RegexTrigger::PathsThatLookLikeOne => path.contains(is_meta),
                RegexTrigger::All => true,
            };
        is_regex.then_some(match self.full_path_regex {
            true => PathRegex::FullPath,
            false => PathRegex::Prefix,
        })
    }
}

fn is_meta(c: char) -> bool {
    r"\.+*?()|[]{}^$".contains(c)
}

pub(super) fn parse(annotations: &mut Annotations<'_, '_>) -> RewriteOptions {
    RewriteOptions {
        use_regex: annotations.flag(USE_REGEX).unwrap_or_default(),
        full_path_regex: annotations.flag(FULL_PATH_REGEX).unwrap_or_default(),
        rewrite: parse_rewrite(annotations),
        upstream_vhost: annotations.read(VHOST, "a host", parse_host),
    }
}

/// `HOST[:PORT]`, no longer than DNS has names.
fn parse_host(text: &str) -> Option<Box<str>> {
    let is_bad = |c: char| c.is_whitespace() || c.is_control() || c == '/';
    let is_usable = (1..=HOST_BYTES_MAX).contains(&text.len()) && !text.contains(is_bad);
    is_usable.then(|| text.into())
}

fn parse_rewrite(annotations: &mut Annotations<'_, '_>) -> Option<Box<Rewrite>> {
    if !annotations.has(PATH) && !annotations.has(TARGET) {
        return None;
    }
    let path = annotations.read(PATH, "a path that begins with `/`", |text| {
        (text.starts_with('/') && is_path_text(text)).then(|| Box::from(text))
    });
    let mut rewrite = Rewrite { path, target: None, trigger: RegexTrigger::None };
    if let Some((written, text)) = annotations.text(TARGET) {
        // A target that cannot be used leaves the paths what it makes of
        // them: read literally they would match other requests.
        rewrite.trigger = match text.contains(['$', '\\']) {
            true => RegexTrigger::All,
            false => RegexTrigger::PathsThatLookLikeOne,
        };
        rewrite.target = convert(&text);
        if rewrite.target.is_none() {
            annotations.must_be(
                &written,
                "a path in visible ASCII whose dollars are followed by the number of a group",
            );
        }
    }
    (rewrite.path.is_some() || rewrite.trigger != RegexTrigger::None).then(|| Box::new(rewrite))
}

/// Text of a path that a server may take.
fn is_path_text(text: &str) -> bool {
    text.len() <= PATH_BYTES_MAX && is_url_text(text)
}

/// Higress: rewrite.go, `convertToRE2` — one `$` before a digit makes every
/// `$` a backslash; without one, they are ordinary text. What comes out is
/// RE2's form, where `\N` is a group and `\\` a backslash.
fn convert(target: &str) -> Option<Box<str>> {
    if !is_path_text(target) {
        return None;
    }
    let has_reference =
        target.as_bytes().windows(2).any(|pair| matches!(pair, [b'$', b'0'..=b'9']));
    let mut converted = String::with_capacity(target.len());
    let mut chars = target.chars();
    while let Some(c) = chars.next() {
        match c {
            '$' if !has_reference => converted.push_str("$$"),
            '$' | '\\' => match chars.next()? {
                digit if digit.is_ascii_digit() => {
                    converted.extend(["${", digit.encode_utf8(&mut [0; 4]), "}"]);
                }
                '\\' => converted.push('\\'),
                '$' if has_reference => converted.push('\\'),
                _ => return None,
            },
            _ => converted.push(c),
        }
    }
    Some(converted.into())
}
