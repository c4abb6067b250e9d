//! Requests of clients whose format a service does not speak.

use crate::api::Api;
use crate::error::LlmError;
use crate::format::openai::Dialect;
use crate::provider::path::model_segment;
use crate::provider::{BodyEdit, Fetched, LlmRequest, Target, UpstreamRequest, exchange};
use crate::scan::Scan;

use super::Compatible;

impl Compatible {
    /// The API that this service is asked for in place of one that it does
    /// not have; `None` where nothing is translated.
    pub(super) fn instead_of(&self, asked: Option<Api>) -> Option<Api> {
        let asked = asked.filter(|api| !self.has(*api));
        let asked = asked.filter(|_| !self.preset.is_opaque && !self.paths.is_original)?;
        exchange::instead_of(asked, |api| self.has(api))
    }

    /// The request of a client whose format this service does not speak.
    pub(super) fn translated(
        &self,
        request: &LlmRequest<'_>,
        api: Api,
        target: &Target<'_>,
        fetched: &Fetched,
    ) -> Result<UpstreamRequest, LlmError> {
        let (mut chat, expected) = exchange::read(request)?;
        if let Some(shape) = &self.shape {
            shape(&mut chat);
        }
        let is_gemini = api == Api::GeminiGenerateContent;
        let (streams, mut model) = (chat.stream, None);
        if is_gemini {
            // Its path has the model, and its words depend on it.
            if let Some(mapped) = self.model_map.map(&chat.model) {
                chat.model = mapped.into_owned();
            }
            model = Some(chat.model.clone());
        }
        let body = exchange::write(api, chat, self.dialect())?;
        let path = match &model {
            Some(model) => self.gemini_path(model, streams)?,
            None => exchange::path(request.path_and_query, api),
        };
        let scan = Scan::of(&body)?;
        let inner = LlmRequest {
            api: Some(api),
            path_and_query: &path,
            body: Some(&body),
            scan: Some(&scan),
            ..*request
        };
        let mut upstream = self.asked(&inner, target, fetched)?;
        if matches!(upstream.body, BodyEdit::Keep) {
            upstream.body = BodyEdit::Parts(vec![body.clone()]);
        }
        upstream.path_and_query.get_or_insert(path);
        upstream.model = model.or(upstream.model);
        upstream.expected = Some(Box::new(expected));
        // What clients say to the vendor of their own format is for nobody
        // else, their keys least of all.
        let client = request.headers.keys().filter(|name| is_of_vendor(name.as_str()));
        let unset = client.filter(|name| upstream.headers.iter().all(|(set, _)| set != *name));
        let unset: Vec<_> = unset.map(|name| (name.clone(), None)).collect();
        upstream.headers.extend(unset);
        Ok(upstream)
    }

    fn gemini_path(&self, model: &str, streams: bool) -> Result<String, LlmError> {
        let model = model_segment(Some(model.strip_prefix("models/").unwrap_or(model)))?;
        let action = if streams { "streamGenerateContent?alt=sse" } else { "generateContent" };
        Ok(format!("/{}/models/{model}:{action}", self.gemini_version))
    }

    /// What this type takes besides OpenAI's own words.
    fn dialect(&self) -> Dialect {
        let name = self.preset.name;
        Dialect {
            takes_more: !matches!(name, "openai" | "azure"),
            // Higress: provider/claude_to_openai.go, as of 2.2.4.
            takes_reasoning: matches!(name, "qwen" | "openrouter" | "zhipuai"),
            takes_cache_markers: matches!(name, "qwen" | "openrouter"),
        }
    }
}

/// Whether a header is part of what a vendor's own clients say to it.
fn is_of_vendor(name: &str) -> bool {
    matches!(name, "x-api-key" | "x-goog-api-key" | "x-goog-api-client" | "openai-beta")
        || name.starts_with("anthropic-")
}
