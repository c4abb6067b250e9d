//! Which path a request goes out on.

use std::borrow::Cow;

use crate::api::{self, Api, split_query};

/// What `basePath` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BasePath {
    None,
    /// It is cut from the front of the client's path.
    Remove(String),
    /// It is put in front of the path, unless it is there.
    Prepend(String),
}

/// How the paths of one provider are made.
#[derive(Debug)]
pub(super) struct Paths {
    pub(super) base_path: BasePath,
    pub(super) rule: PathRule,
    pub(super) capabilities: Capabilities,
    /// Put in front of the final path unless it is there.
    pub(super) provider_base_path: String,
    /// Whether `protocol` is `original`.
    pub(super) is_original: bool,
}

/// What the type itself makes of a path.
#[derive(Debug)]
pub(super) enum PathRule {
    /// Every request goes to this very path.
    Fixed(String),
    /// Each API has a path of its own; without one the client's stays.
    ByApi,
    /// The client's path stays.
    Client,
}

/// The path of each API that a provider has, with `{placeholders}`.
#[derive(Debug, Default)]
pub(super) struct Capabilities(Vec<(Api, String)>);

impl Capabilities {
    pub(super) fn set(&mut self, api: Api, path: String) {
        match self.0.iter_mut().find(|(known, _)| *known == api) {
            Some((_, old)) => *old = path,
            None => self.0.push((api, path)),
        }
    }

    pub(super) fn get(&self, api: Api) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == api).map(|(_, path)| path.as_str())
    }
}

impl Paths {
    /// Path and query to send; `None` keeps the client's.
    pub(super) fn rewrite(&self, api: Option<Api>, path_and_query: &str) -> Option<String> {
        let client = match &self.base_path {
            BasePath::Remove(prefix) => without_prefix(path_and_query, prefix),
            BasePath::None | BasePath::Prepend(_) => Cow::Borrowed(path_and_query),
        };
        // Higress: provider/provider.go — with `original`, removing a prefix
        // switches the type's own paths off; without it they apply.
        let keeps_path = self.is_original && matches!(self.base_path, BasePath::Remove(_));
        let mut path = if keeps_path { client } else { self.by_rule(api, client) };
        if let BasePath::Prepend(base) = &self.base_path
            && !path.starts_with(base.as_str())
        {
            path = Cow::Owned(join_query(base, &path));
        }
        if !path.starts_with(&self.provider_base_path) {
            path = Cow::Owned(format!("{}{path}", self.provider_base_path));
        }
        (path != path_and_query).then(|| path.into_owned())
    }

    fn by_rule<'p>(&self, api: Option<Api>, client: Cow<'p, str>) -> Cow<'p, str> {
        let template = || Some((api?, self.capabilities.get(api?)?));
        match &self.rule {
            PathRule::Fixed(path) => Cow::Owned(path.clone()),
            PathRule::Client => client,
            PathRule::ByApi => match template() {
                Some((api, path)) => Cow::Owned(api::fill_placeholders(api, path, &client)),
                None => client,
            },
        }
    }
}

fn without_prefix<'p>(path_and_query: &'p str, prefix: &str) -> Cow<'p, str> {
    match path_and_query.strip_prefix(prefix) {
        Some(rest) if rest.starts_with('/') => Cow::Borrowed(rest),
        Some(rest) => Cow::Owned(format!("/{rest}")),
        None => Cow::Borrowed(path_and_query),
    }
}

fn join_query(base: &str, path_and_query: &str) -> String {
    let (path, query) = split_query(path_and_query);
    let mut joined = join(base, path);
    api::append_query(&mut joined, query);
    joined
}

/// Both paths with one slash between them, `.`, `..` and empty segments
/// resolved and no slash at the end. A `..` of `path` never leaves `base`.
pub(super) fn join(base: &str, path: &str) -> String {
    let mut joined = String::with_capacity(base.len() + path.len() + 1);
    for segment in segments(base).into_iter().chain(segments(path)) {
        joined.push('/');
        joined.push_str(segment);
    }
    if joined.is_empty() { "/".to_owned() } else { joined }
}

fn segments(path: &str) -> Vec<&str> {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    segments
}

#[cfg(test)]
mod tests;
