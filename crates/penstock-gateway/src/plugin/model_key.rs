//! The model in a request's body, as model-router and model-mapper find and
//! replace it, and what their configurations have in common.

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use penstock_llm::json_path::{Place, PlainPath};
use penstock_llm::scan::Splice;
use penstock_manifest::diagnostic::PLUGIN_CONFIG_INVALID;
use penstock_manifest::{Cursor, Diagnostic};

use crate::request::RequestContext;

/// Where requests carry a model unless a configuration says otherwise
/// (Higress: model-router/main.go, model-mapper/main.go).
const PATH_SUFFIXES: [&str; 11] = [
    "/completions",
    "/embeddings",
    "/images/generations",
    "/audio/speech",
    "/fine_tuning/jobs",
    "/moderations",
    "/image-synthesis",
    "/video-synthesis",
    "/rerank",
    "/messages",
    "/responses",
];

/// `modelKey`: where the model stands.
pub(super) struct ModelKey {
    /// As written; the name of the part in a form.
    pub(super) name: Box<str>,
    path: PlainPath,
}

/// A model and its place in a JSON body.
pub(super) struct Found {
    /// The model; `None` where it is absent or `null`.
    pub(super) model: Option<String>,
    place: Place,
}

impl ModelKey {
    /// Reads `modelKey` of a configuration; `None` with a finding where it
    /// cannot be used.
    pub(super) fn parse(config: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Self> {
        let written = config.get("modelKey");
        let name = match &written {
            Some(cursor) => cursor.text(diagnostics)?,
            None => "",
        };
        let name = if name.is_empty() { "model" } else { name };
        let Some(path) = PlainPath::parse(name) else {
            let at = written.as_ref().unwrap_or(config);
            diagnostics.push(
                at.diagnostic(&PLUGIN_CONFIG_INVALID, format!("`{name}` is no path of plain keys"))
                    .with_hint("write keys with dots between them, as in `input.model`"),
            );
            return None;
        };
        Some(Self { name: name.into(), path })
    }

    /// Finds the model in a JSON body that was read. `None` where the body
    /// cannot be read, or has something else than text in that place.
    pub(super) fn find(&self, cx: &mut RequestContext) -> Option<Found> {
        if self.path.is_key("model") {
            let scan = cx.scan_body().ok()??;
            if scan.model_is_no_string {
                return None;
            }
            let place = match &scan.model_at {
                Some(at) => Place::At(at.clone()),
                None => Place::Absent { at: scan.insert_at(), is_empty: scan.is_empty, depth: 0 },
            };
            return Some(Found { model: scan.model.clone(), place });
        }
        let body = std::str::from_utf8(cx.buffered_body()?).ok()?;
        let place = self.path.locate(body);
        let model = match &place {
            Place::Blocked => return None,
            Place::Absent { .. } => None,
            Place::At(at) => serde_json::from_str::<Option<String>>(body.get(at.clone())?).ok()?,
        };
        if cx.record.model.is_none() {
            cx.record.model = model.as_deref().map(Into::into);
        }
        Some(Found { model, place })
    }

    /// Puts another model in the place where one was found, or belongs.
    pub(super) fn replace(&self, cx: &mut RequestContext, found: &Found, model: &str) {
        let Some((range, text)) = self.path.edit(&found.place, model) else {
            return;
        };
        let Some(body) = cx.buffered_body().cloned() else {
            return;
        };
        let mut splice = Splice::new(&body);
        splice.replace(range, Bytes::from(text));
        cx.replace_body(&splice.into_parts());
    }
}

/// Which paths a plugin acts on.
pub(super) struct PathSuffixes {
    /// `None` for all.
    suffixes: Option<Vec<Box<str>>>,
}

impl PathSuffixes {
    /// Reads `enableOnPathSuffix`; `None` with a finding where it cannot be
    /// used. `star_is_all` says whether `*` means all paths.
    pub(super) fn parse(
        config: &Cursor<'_>,
        star_is_all: bool,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Self> {
        let Some(list) = config.get("enableOnPathSuffix") else {
            return Some(Self { suffixes: Some(PATH_SUFFIXES.map(Into::into).into()) });
        };
        if list.node.as_list().is_none() {
            diagnostics.push(list.wrong_type("a list of text"));
            return None;
        }
        let mut suffixes: Vec<Box<str>> = Vec::new();
        for item in list.items() {
            suffixes.push(item.text(diagnostics)?.into());
        }
        let is_all = star_is_all && suffixes.iter().any(|suffix| **suffix == *"*");
        Some(Self { suffixes: (!is_all).then_some(suffixes) })
    }

    /// Whether a path without query is one of them.
    pub(super) fn contain(&self, path: &str) -> bool {
        match &self.suffixes {
            None => true,
            Some(suffixes) => suffixes.iter().any(|suffix| path.ends_with(&**suffix)),
        }
    }
}

/// The header that a field names: an empty text is none. The outer `None`
/// comes with a finding.
#[expect(clippy::option_option, reason = "broken, absent and present are three things")]
pub(super) fn parse_header(
    config: &Cursor<'_>,
    field: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Option<HeaderName>> {
    let Some(cursor) = config.get(field) else {
        return Some(None);
    };
    let text = cursor.text(diagnostics)?;
    if text.is_empty() {
        return Some(None);
    }
    match HeaderName::from_bytes(text.as_bytes()) {
        Ok(name) => Some(Some(name)),
        Err(_) => {
            diagnostics.push(cursor.diagnostic(
                &PLUGIN_CONFIG_INVALID,
                format!("`{}` is not the name of a header", cursor.path),
            ));
            None
        }
    }
}

/// Sets a header to a model. What no header can hold is not set, so that no
/// condition on it holds.
pub(super) fn set_header(cx: &mut RequestContext, name: &HeaderName, model: &str) {
    match HeaderValue::from_bytes(model.as_bytes()) {
        Ok(value) => {
            cx.headers.insert(name.clone(), value);
        }
        Err(_) => {
            cx.headers.remove(name);
        }
    }
}
