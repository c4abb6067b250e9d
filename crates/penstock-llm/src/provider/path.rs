//! Which path a request goes out on.

use std::borrow::Cow;

use crate::api::{self, Api, split_query};
use crate::error::LlmError;

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
    /// Whether the type leaves paths alone then.
    pub(super) original_is_untouched: bool,
}

/// What the type itself makes of a path.
#[derive(Debug)]
pub(super) enum PathRule {
    /// Every request goes to this very path.
    Fixed(String),
    /// Each API has a path of its own; without one the client's stays.
    ByApi,
    /// The same, with the model in place of `{model}`, and a query behind the
    /// client's.
    ByModel { query: String },
    /// The client's path stays.
    Client,
}

/// The path of each API that a provider has, with `{placeholders}`.
#[derive(Clone, Debug, Default)]
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

    /// The API whose path stands somewhere in `path`, the longest one.
    pub(super) fn find_in(&self, path: &str) -> Option<Api> {
        let meant = self.0.iter().filter(|(_, own)| !own.contains('{') && path.contains(own));
        meant.max_by_key(|(_, own)| own.len()).map(|(api, _)| *api)
    }
}

impl Paths {
    /// Whether the path for this API names the model.
    pub(super) fn names_model(&self, api: Api) -> bool {
        matches!(self.rule, PathRule::ByModel { .. })
            && self.capabilities.get(api).is_some_and(|path| path.contains(MODEL))
    }

    /// Path and query to send; `None` keeps the client's.
    ///
    /// # Errors
    /// The path names a model, and there is none that can stand in a path.
    pub(super) fn rewrite(
        &self,
        api: Option<Api>,
        path_and_query: &str,
        model: Option<&str>,
    ) -> Result<Option<String>, LlmError> {
        let client = match &self.base_path {
            BasePath::Remove(prefix) => without_prefix(path_and_query, prefix),
            BasePath::None | BasePath::Prepend(_) => Cow::Borrowed(path_and_query),
        };
        // Higress: provider/provider.go — with `original`, removing a prefix
        // switches the type's own paths off; without it they apply.
        let removes = matches!(self.base_path, BasePath::Remove(_));
        let keeps_path = self.is_original && (removes || self.original_is_untouched);
        let mut path = if keeps_path { client } else { self.by_rule(api, client, model)? };
        if let BasePath::Prepend(base) = &self.base_path
            && !path.starts_with(base.as_str())
        {
            path = Cow::Owned(join_query(base, &path));
        }
        if !path.starts_with(&self.provider_base_path) {
            path = Cow::Owned(format!("{}{path}", self.provider_base_path));
        }
        Ok((path != path_and_query).then(|| path.into_owned()))
    }

    fn by_rule<'p>(
        &'p self,
        api: Option<Api>,
        client: Cow<'p, str>,
        model: Option<&str>,
    ) -> Result<Cow<'p, str>, LlmError> {
        let template = api.and_then(|api| Some((api, self.capabilities.get(api)?)));
        Ok(match (&self.rule, template) {
            (PathRule::Fixed(path), _) => Cow::Owned(path.clone()),
            (PathRule::Client, _) | (PathRule::ByApi, None) => client,
            (PathRule::ByApi, Some((api, path))) => api::fill_placeholders(api, path, &client),
            (PathRule::ByModel { query }, Some((api, path))) => {
                let mut path = match path.contains(MODEL) {
                    true => {
                        let path = path.replace(MODEL, &model_segment(model)?);
                        api::fill_placeholders(api, &path, &client).into_owned()
                    }
                    false => api::fill_placeholders(api, path, &client).into_owned(),
                };
                api::append_query(&mut path, query);
                Cow::Owned(path)
            }
            // Higress: provider/azure.go — sends the bare query as a path.
            (PathRule::ByModel { query }, None) => Cow::Owned(with_defaults(&client, query)),
        })
    }
}

const MODEL: &str = "{model}";

/// A model as one segment of a path. Whatever a client writes, the path has
/// no other segments than it should have.
pub(super) fn model_segment(model: Option<&str>) -> Result<String, LlmError> {
    let model = match model {
        // A request without a body cannot say which deployment it means.
        None => return Err(LlmError::UnsupportedApi),
        Some("") => return Err(LlmError::InvalidRequest("`model` is missing".into())),
        Some("." | "..") => {
            return Err(LlmError::InvalidRequest("`model` is no name of a model".into()));
        }
        Some(model) => model,
    };
    let mut segment = String::with_capacity(model.len());
    for byte in model.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            segment.push(char::from(byte));
        } else {
            segment.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(segment)
}

/// A path with those parameters of `query` that it does not have.
fn with_defaults(path_and_query: &str, query: &str) -> String {
    let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
    let (_, own) = split_query(path_and_query);
    let own: Vec<String> = own.split('&').map(name).collect();
    let missing: Vec<&str> = query.split('&').filter(|pair| !own.contains(&name(pair))).collect();
    let mut path = path_and_query.to_owned();
    api::append_query(&mut path, &missing.join("&"));
    path
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
