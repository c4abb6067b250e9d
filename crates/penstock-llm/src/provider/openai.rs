//! `openai`: OpenAI itself, or any server that speaks its API.

use super::fields::{Fields, checked_host, checked_path, invalid};
use super::path::{Capabilities, PathRule, join};
use super::preset::{Preset, Upstream, VENDOR, WithoutToken};
use crate::api::Api;
use crate::error::ConfigError;

/// The row of `openai`.
pub(super) const PRESET: Preset = Preset {
    name: "openai",
    host: "api.openai.com",
    path: Api::default_path,
    upstream: |preset, fields| match CUSTOM_URL.read(fields, preset.path)? {
        Some(upstream) => Ok(upstream),
        None => preset.at_vendor(fields),
    },
    without_token: WithoutToken::TakesClients,
    refuses_unsupported: false,
    forces_schema: true,
    ..VENDOR
};

const CUSTOM_URL: CustomUrl =
    CustomUrl { field: "openaiCustomUrl", fixed_suffixes: FIXED_SUFFIXES };

/// A field that moves a provider to another server.
#[derive(Clone, Copy)]
pub(super) struct CustomUrl {
    /// The name of the field.
    pub(super) field: &'static str,
    /// A path that ends in one of these is an endpoint, not a base path.
    pub(super) fixed_suffixes: &'static [&'static str],
}

const FIXED_SUFFIXES: &[&str] = &[
    "/completions",
    "/embeddings",
    "/audio/speech",
    "/audio/transcriptions",
    "/audio/translations",
    "/images/generations",
    "/images/variations",
    "/images/edits",
    "/models",
    "/responses",
    "/fine_tuning/jobs",
    "/fine_tuning/checkpoints",
    "/realtime",
    "/videos",
];

impl CustomUrl {
    /// Reads the field; `None` where it is absent.
    ///
    /// The scheme says nothing: the service that the route leads to knows
    /// whether it is asked over TLS.
    pub(super) fn read(
        &self,
        fields: &Fields<'_>,
        path: fn(Api) -> Option<&'static str>,
    ) -> Result<Option<Upstream>, ConfigError> {
        let url = fields.text(self.field)?;
        if url.is_empty() {
            return Ok(None);
        }
        if url.contains(['?', '#']) {
            let message = format!("`{}` must end with its path", self.field);
            return Err(ConfigError {
                hint: Some("take the query away; the client's query is passed on".into()),
                ..invalid(self.field, message)
            });
        }
        let rest = url.strip_prefix("http://").unwrap_or(&url);
        let rest = rest.strip_prefix("https://").unwrap_or(rest);
        let (host, base) = rest.split_once('/').unwrap_or((rest, ""));
        let host = checked_host(self.field, host)?;
        let base = checked_path(self.field, format!("/{base}"))?;
        let capabilities = under(&base, path);
        let is_fixed = self.fixed_suffixes.iter().any(|suffix| base.ends_with(suffix));
        let rule = if is_fixed { PathRule::Fixed(base) } else { PathRule::ByApi };
        Ok(Some(Upstream { host: Some(host), rule, capabilities }))
    }
}

/// The paths of all APIs with `base` in place of `/v1`.
fn under(base: &str, path: fn(Api) -> Option<&'static str>) -> Capabilities {
    let mut capabilities = Capabilities::default();
    for api in Api::all() {
        if let Some(path) = path(api) {
            capabilities.set(api, join(base, path.strip_prefix("/v1").unwrap_or(path)));
        }
    }
    capabilities
}

#[cfg(test)]
mod tests;
