//! Which route a request takes: host, path, method, headers, query.
//!
//! Routes of a host are sorted once, when they are compiled, by [`sort`];
//! `find` then takes the first that matches. A host whose
//! routes all decline passes the request on to the next less specific host
//! pattern, which is Higress' own addition to Envoy.

pub(crate) mod re2;

use std::borrow::Cow;

use http::Method;
use http::header::{COOKIE, HOST, HeaderMap, HeaderValue};
use penstock_manifest::annotation::{Condition, Matcher, Subject};
use regex::{Regex, bytes};

use crate::request::X_FORWARDED_PROTO;
use crate::snapshot::{Hosts, Route, RouteIndex, Snapshot};

/// What `find` looks at.
pub struct RouteInput<'a> {
    /// The host in lower case without port.
    pub host: &'a str,
    /// The normalised path without query.
    pub path: &'a str,
    /// The query without `?`.
    pub query: Option<&'a str>,
    /// The method.
    pub method: &'a Method,
    /// The headers, without `Host`.
    pub headers: &'a HeaderMap,
    /// The host as the client has written it, with its port.
    pub authority: Option<&'a HeaderValue>,
    /// Whether the connection is encrypted.
    pub is_tls: bool,
    /// Whether a proxy in front is believed that the client's is.
    pub has_trusted_hops: bool,
}

impl RouteInput<'_> {
    /// Whether the client speaks HTTPS.
    pub fn came_encrypted(&self) -> bool {
        let told = || self.headers.get(X_FORWARDED_PROTO).map(HeaderValue::as_bytes);
        self.is_tls || (self.has_trusted_hops && told() == Some(b"https"))
    }
}

/// How a route compares the path.
#[derive(Clone, Debug)]
pub enum PathMatch {
    /// Byte for byte.
    Exact {
        /// The path.
        path: Box<str>,
        /// Whether ASCII case counts.
        ignore_case: bool,
    },
    /// The path itself or anything below it.
    Prefix {
        /// The path without a trailing slash; empty for `/`.
        path: Box<str>,
        /// Whether ASCII case counts.
        ignore_case: bool,
    },
    /// A regular expression over the whole path.
    Regex {
        /// The expression as written.
        text: Box<str>,
        /// Whether it says how the path ends; else anything may follow.
        is_full: bool,
        /// The two together, compiled.
        regex: Box<Regex>,
    },
}

/// Conditions besides host and path; all must hold.
#[derive(Clone, Debug, Default)]
pub struct RouteConditions {
    /// The methods; empty for all.
    pub methods: Vec<Method>,
    /// The others.
    pub others: Vec<CompiledCondition>,
}

/// A condition with its regular expression compiled.
#[derive(Clone, Debug)]
pub struct CompiledCondition {
    /// What is looked at.
    pub subject: Subject,
    /// How it is compared.
    pub matcher: CompiledMatcher,
}

/// A matcher with its regular expression compiled.
#[derive(Clone, Debug)]
pub enum CompiledMatcher {
    /// The whole value.
    Exact(Box<str>),
    /// The beginning.
    Prefix(Box<str>),
    /// The whole value matches.
    Regex(Box<bytes::Regex>),
    /// Anything.
    Present,
}

/// What a route is there for, as far as its place within a host goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A path of an Ingress, or a canary of one.
    Path,
    /// It leads from `/` to another path. It ranks with the regular
    /// expressions, of whatever kind and length, and goes in front of them.
    AppRoot,
    /// It takes what is left.
    DefaultBackend,
}

/// The order of routes within a host; the smaller goes first
/// (Higress: pkg/ingress/kube/common/tool.go, `SortHTTPRoutes`). Equal ones
/// keep the order of their Ingresses, so sorting must be stable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Precedence {
    is_default_backend: bool,
    is_catch_all: bool,
    path_type: u8,
    /// Which of the runs of one kind of regular expression it stands in.
    run: usize,
    path_bytes: std::cmp::Reverse<usize>,
    has_no_method: bool,
    method_bytes: usize,
    headers: std::cmp::Reverse<usize>,
    queries: std::cmp::Reverse<usize>,
}

impl Precedence {
    /// The rank of a route, among regular expressions of its own kind.
    pub fn of(route: &Route, role: Role) -> Self {
        let (path_type, path_bytes) = match &route.path {
            PathMatch::Exact { path, .. } => (0, path.len()),
            // `/` is kept as the empty prefix but ranks with its length of 1.
            PathMatch::Prefix { path, .. } => (1, path.len().max(1)),
            PathMatch::Regex { text, .. } => (2, text.len()),
        };
        let conditions = route.conditions.as_deref();
        let methods = conditions.map_or(&[][..], |conditions| &conditions.methods);
        let others = conditions.map_or(&[][..], |conditions| &conditions.others);
        let queries = others.iter().filter(|c| matches!(c.subject, Subject::Query(_))).count();
        // The length of the methods joined with `|`.
        let method_bytes = methods.iter().map(|m| m.as_str().len() + 1).sum::<usize>();
        Self {
            is_default_backend: role == Role::DefaultBackend,
            is_catch_all: conditions.is_none()
                && matches!(&route.path, PathMatch::Prefix { path, .. } if path.is_empty()),
            path_type,
            run: 0,
            path_bytes: std::cmp::Reverse(path_bytes),
            has_no_method: methods.is_empty(),
            method_bytes,
            headers: std::cmp::Reverse(others.len() - queries),
            queries: std::cmp::Reverse(queries),
        }
    }
}

/// Sorts the routes of a host, which are given in the order of their
/// Ingresses.
///
/// Higress compares regular expressions of one kind by length, and those of
/// two kinds not at all: they keep their order. That is no order of all of
/// them, but an insertion sort, which is what Go does with a short list,
/// moves none past one of another kind. So each run of one kind is sorted by
/// itself.
pub fn sort(list: &mut [RouteIndex], routes: &[Route], role: impl Fn(RouteIndex) -> Role) {
    let mut run = 0;
    let mut last_kind = None;
    let rank = |index: &RouteIndex| {
        let route = routes.get(index.0 as usize)?;
        let role = role(*index);
        let mut rank = Precedence::of(route, role);
        if let PathMatch::Regex { is_full, .. } = &route.path {
            let kind = (role == Role::AppRoot, *is_full);
            if last_kind.is_some_and(|last| last != kind) {
                run += 1;
            }
            last_kind = Some(kind);
            rank.run = run;
        }
        Some(rank)
    };
    let mut ranked: Vec<_> = list.iter().map(rank).zip(list.iter().copied()).collect();
    ranked.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (place, (_, index)) in list.iter_mut().zip(ranked) {
        *place = index;
    }
}

impl Snapshot {
    /// The route of a request, or `None`.
    pub fn find(&self, input: &RouteInput<'_>) -> Option<RouteIndex> {
        self.hosts.candidates(input.host).flatten().copied().find(|index| {
            self.routes.get(index.0 as usize).is_some_and(|route| route.matches(input))
        })
    }

    /// The route at an index of this snapshot.
    pub fn route(&self, index: RouteIndex) -> Option<&Route> {
        self.routes.get(index.0 as usize)
    }
}

/// Why a route did not get a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The path is another one.
    Path,
    /// The method is another one.
    Method,
    /// A condition does not hold; which one.
    Condition(Subject),
    /// It would match, but another one comes first.
    ComesLater,
}

impl Snapshot {
    /// All routes that the host leads to, in the order in which they are
    /// tried, with the reason of each that does not get the request.
    pub fn explain(&self, input: &RouteInput<'_>) -> Vec<(RouteIndex, Option<Miss>)> {
        let mut is_taken = false;
        self.hosts
            .candidates(input.host)
            .flatten()
            .map(|index| {
                let miss = self.route(*index).map_or(Some(Miss::Path), |route| route.miss(input));
                let miss = match miss {
                    None if is_taken => Some(Miss::ComesLater),
                    other => other,
                };
                is_taken |= miss.is_none();
                (*index, miss)
            })
            .collect()
    }
}

impl Hosts {
    /// The route lists that may serve a host, the most specific first.
    fn candidates<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a [RouteIndex]> {
        let exact = self.exact.get(host).map(Vec::as_slice);
        let parents = std::iter::successors(Some(host), |host| Some(host.split_once('.')?.1))
            .skip(1)
            .filter(|_| !self.wildcard.is_empty())
            .filter_map(|parent| self.wildcard.get(parent).map(Vec::as_slice));
        exact.into_iter().chain(parents).chain(std::iter::once(self.any.as_slice()))
    }
}

impl Route {
    fn matches(&self, input: &RouteInput<'_>) -> bool {
        self.path.matches(input.path)
            && self.conditions.as_ref().is_none_or(|conditions| conditions.hold(input))
    }

    fn miss(&self, input: &RouteInput<'_>) -> Option<Miss> {
        if !self.path.matches(input.path) {
            return Some(Miss::Path);
        }
        let conditions = self.conditions.as_ref()?;
        if !conditions.methods.is_empty() && !conditions.methods.contains(input.method) {
            return Some(Miss::Method);
        }
        let fails = conditions.others.iter().find(|condition| !condition.holds(input))?;
        Some(Miss::Condition(fails.subject.clone()))
    }
}

impl PathMatch {
    /// A prefix, with the trailing slash removed as Higress does.
    pub fn prefix(path: &str, ignore_case: bool) -> Self {
        Self::Prefix { path: path.strip_suffix('/').unwrap_or(path).into(), ignore_case }
    }

    /// A regular expression; without `is_full`, anything may follow it.
    ///
    /// # Errors
    /// It is not valid, or too large; the text says why.
    pub fn regex(text: &str, is_full: bool) -> Result<Self, String> {
        let end = if is_full { "" } else { ".*" };
        let regex =
            Regex::new(&whole(&format!("{text}{end}"))).map_err(|error| error.to_string())?;
        Ok(Self::Regex { text: text.into(), is_full, regex: Box::new(regex) })
    }

    /// Whether a path without query matches.
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Regex { regex, .. } => regex.is_match(path),
            Self::Exact { path: whole, ignore_case: false } => path == &**whole,
            Self::Exact { path: whole, ignore_case: true } => path.eq_ignore_ascii_case(whole),
            Self::Prefix { path: prefix, ignore_case } => {
                let (Some(beginning), Some(rest)) =
                    (path.get(..prefix.len()), path.get(prefix.len()..))
                else {
                    return false;
                };
                let equal = match ignore_case {
                    false => beginning == &**prefix,
                    true => beginning.eq_ignore_ascii_case(prefix),
                };
                equal && (rest.is_empty() || rest.starts_with('/'))
            }
        }
    }
}

impl RouteConditions {
    fn hold(&self, input: &RouteInput<'_>) -> bool {
        (self.methods.is_empty() || self.methods.contains(input.method))
            && self.others.iter().all(|condition| condition.holds(input))
    }
}

impl CompiledCondition {
    /// Compiles a condition.
    ///
    /// # Errors
    /// The regular expression is not valid; the text says why.
    pub fn compile(condition: &Condition) -> Result<Self, String> {
        let matcher = match &condition.matcher {
            Matcher::Exact(value) => CompiledMatcher::Exact(value.clone()),
            Matcher::Prefix(value) => CompiledMatcher::Prefix(value.clone()),
            Matcher::Present => CompiledMatcher::Present,
            Matcher::Regex(pattern) => {
                let regex = bytes::Regex::new(&whole(pattern));
                CompiledMatcher::Regex(Box::new(regex.map_err(|error| error.to_string())?))
            }
        };
        let subject = match &condition.subject {
            // Envoy knows it under this name only.
            Subject::Header(name) if **name == *HOST.as_str() => {
                Subject::Pseudo("authority".into())
            }
            subject => subject.clone(),
        };
        Ok(Self { subject, matcher })
    }

    fn holds(&self, input: &RouteInput<'_>) -> bool {
        match &self.subject {
            Subject::Header(name) => {
                joined(name, input.headers).is_some_and(|value| self.matcher.matches(&value))
            }
            Subject::Pseudo(name) => {
                pseudo_header(name, input).is_some_and(|value| self.matcher.matches(&value))
            }
            Subject::Query(name) => query_values(input.query.unwrap_or_default(), name)
                .next()
                .is_some_and(|value| self.matcher.matches(value.as_bytes())),
        }
    }
}

/// The values of a header, as Envoy compares them: as one.
fn joined<'a>(name: &str, headers: &'a HeaderMap) -> Option<Cow<'a, [u8]>> {
    let mut values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let first = values.next()?;
    let Some(second) = values.next() else { return Some(first.into()) };
    let separator: &[u8] = if name == COOKIE.as_str() { b"; " } else { b"," };
    let mut whole = first.to_vec();
    for value in std::iter::once(second).chain(values) {
        whole.extend_from_slice(separator);
        whole.extend_from_slice(value);
    }
    Some(whole.into())
}

/// The text of an expression that has to match the whole text, as Envoy's do.
fn whole(pattern: &str) -> String {
    format!("^(?:{})$", re2::translate(pattern))
}

fn pseudo_header<'a>(name: &str, input: &RouteInput<'a>) -> Option<Cow<'a, [u8]>> {
    Some(match name {
        "authority" => match input.authority {
            Some(authority) => authority.as_bytes().into(),
            None => input.host.as_bytes().into(),
        },
        "method" => input.method.as_str().as_bytes().into(),
        "path" => match input.query {
            Some(query) => format!("{}?{query}", input.path).into_bytes().into(),
            None => input.path.as_bytes().into(),
        },
        "scheme" => if input.came_encrypted() { b"https".as_slice() } else { b"http" }.into(),
        _ => return None,
    })
}

/// The decoded values of a query parameter, in order.
pub fn query_values<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = Cow<'a, str>> {
    query.split('&').filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key) == name).then(|| decode(value))
    })
}

/// Percent-decodes; text that is not UTF-8 afterwards keeps its escapes.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return text.into();
    }
    percent_encoding::percent_decode_str(text)
        .decode_utf8()
        .map_or_else(|_| text.into(), |decoded| decoded.into_owned().into())
}

impl CompiledMatcher {
    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(whole) => value == whole.as_bytes(),
            Self::Prefix(beginning) => value.starts_with(beginning.as_bytes()),
            Self::Regex(regex) => regex.is_match(value),
            Self::Present => true,
        }
    }
}

/// Resolves `.` and `..` segments, also percent-encoded ones, and turns
/// backslashes into slashes, so that no spelling of a path reaches an
/// upstream on another route than the one that was checked. `None` where the
/// path is normal already, which nearly all are.
pub fn normalise_path(path: &str) -> Option<String> {
    let bytes = path.as_bytes();
    let suspicious = memchr::memmem::find(bytes, b"/.").is_some()
        || memchr::memchr2(b'\\', b'%', bytes).is_some_and(|at| {
            bytes.get(at..).is_some_and(|rest| {
                rest.contains(&b'\\') || rest.windows(3).any(|w| w.eq_ignore_ascii_case(b"%2e"))
            })
        });
    if !suspicious {
        return None;
    }
    let unified = path.replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    let mut trailing_slash = false;
    for segment in unified.split('/').skip(1) {
        let dots = segment.replace("%2e", ".").replace("%2E", ".");
        trailing_slash = false;
        match dots.as_str() {
            "." => trailing_slash = true,
            ".." => {
                segments.pop();
                trailing_slash = true;
            }
            _ => segments.push(segment),
        }
    }
    let mut normal = String::with_capacity(path.len());
    for segment in &segments {
        normal.push('/');
        normal.push_str(segment);
    }
    if normal.is_empty() || (trailing_slash && !normal.ends_with('/')) {
        normal.push('/');
    }
    (normal != path).then_some(normal)
}

#[cfg(test)]
mod tests;
