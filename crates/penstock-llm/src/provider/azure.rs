//! `azure`: OpenAI's models at Azure, where paths name a deployment and every
//! request an API version (Higress: provider/azure.go, as of 2.2.4).
//!
//! What `azureServiceUrl` ends in decides about paths:
//!
//! | Path of the URL | Requests go to |
//! |---|---|
//! | none | `/openai/deployments/MODEL/…`, MODEL being the request's after mapping |
//! | `/openai/deployments/NAME` | `/openai/deployments/NAME/…` |
//! | `/openai/v1` | `/openai/v1/…` |
//! | any other | exactly there, with the URL's query |

use super::Note;
use super::fields::{Fields, checked_host, checked_path, invalid};
use super::path::{Capabilities, PathRule};
use super::preset::{Credential, Original, Preset, Upstream, VENDOR};
use crate::api::Api;
use crate::error::ConfigError;

/// The row of `azure`.
pub(super) const PRESET: Preset = Preset {
    name: "azure",
    path: Api::default_path,
    upstream,
    check,
    original: Original::Untouched,
    credential: Credential::ApiKey,
    refuses_unsupported: false,
    renames_developer: false,
    ..VENDOR
};

const FIELD: &str = "azureServiceUrl";
const DEPLOYMENTS: &str = "/openai/deployments/";
const V1: &str = "/openai/v1";

/// The URL comes before the tokens, as in Higress.
fn check(fields: &Fields<'_>, _: &mut Vec<Note>) -> Result<(), ConfigError> {
    ServiceUrl::read(fields).map(|_| ())
}

/// `azureServiceUrl` in its parts.
struct ServiceUrl {
    authority: String,
    /// Empty, or with a leading slash.
    path: String,
    query: String,
}

impl ServiceUrl {
    fn read(fields: &Fields<'_>) -> Result<Self, ConfigError> {
        let text = fields.text(FIELD)?;
        if text.is_empty() {
            return Err(invalid("", format!("missing {FIELD} in provider config")));
        }
        // The scheme says nothing: the service knows whether it uses TLS.
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let rest = rest.unwrap_or(&text);
        let rest = rest.split('#').next().unwrap_or_default();
        let (target, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = match target.find('/') {
            Some(slash) => target.split_at(slash),
            None => (target, ""),
        };
        let url = Self {
            authority: authority.to_owned(),
            path: if path.is_empty() { String::new() } else { checked_path(FIELD, path.into())? },
            query: query.to_owned(),
        };
        // One with a query is checked as a whole.
        checked_path(FIELD, format!("{}?{}", url.path, url.query))?;
        url.check_version()?;
        Ok(url)
    }

    fn check_version(&self) -> Result<(), ConfigError> {
        let is_v1 = self.path == V1 || self.path.starts_with("/openai/v1/");
        let mut values = self.query.split('&').filter_map(|pair| pair.split_once('='));
        let has_version = values.any(|(name, value)| name == "api-version" && !value.is_empty());
        if is_v1 || has_version {
            return Ok(());
        }
        Err(ConfigError {
            hint: Some("such as `?api-version=2024-10-21` at its end".into()),
            ..invalid(FIELD, format!("missing api-version query parameter in {FIELD}"))
        })
    }
}

fn upstream(_: &Preset, fields: &Fields<'_>) -> Result<Upstream, ConfigError> {
    let ServiceUrl { authority, path, query } = ServiceUrl::read(fields)?;
    let host = Some(checked_host(FIELD, &authority)?);
    let under = |base: &str| Upstream {
        host: host.clone(),
        capabilities: paths_under(base),
        rule: PathRule::ByModel { query: query.clone() },
    };
    let trimmed = path.trim_end_matches('/');
    let deployment = trimmed.strip_prefix(DEPLOYMENTS);
    Ok(match deployment {
        _ if trimmed.is_empty() => under(&format!("{DEPLOYMENTS}{{model}}")),
        Some(name) if !name.is_empty() && !name.contains('/') => under(trimmed),
        _ if trimmed == V1 => Upstream { capabilities: all_under(V1), ..under("") },
        _ => {
            let mut fixed = path.clone();
            crate::api::append_query(&mut fixed, &query);
            Upstream { rule: PathRule::Fixed(fixed), ..under("") }
        }
    })
}

/// What is of the account stands right under `/openai`, what is of a model
/// under its deployment.
fn paths_under(deployment: &str) -> Capabilities {
    let mut capabilities = Capabilities::default();
    for api in Api::all() {
        let Some(path) = api.default_path() else { continue };
        let base = if is_of_account(api) { "/openai" } else { deployment };
        capabilities.set(api, format!("{base}{}", path.strip_prefix("/v1").unwrap_or(path)));
    }
    capabilities
}

fn all_under(base: &str) -> Capabilities {
    let mut capabilities = Capabilities::default();
    for api in Api::all() {
        if let Some(path) = api.default_path() {
            capabilities.set(api, format!("{base}{}", path.strip_prefix("/v1").unwrap_or(path)));
        }
    }
    capabilities
}

fn is_of_account(api: Api) -> bool {
    matches!(
        api,
        Api::Models
            | Api::Batches
            | Api::RetrieveBatch
            | Api::CancelBatch
            | Api::Files
            | Api::RetrieveFile
            | Api::RetrieveFileContent
            | Api::Responses
    )
}

#[cfg(test)]
mod tests;
