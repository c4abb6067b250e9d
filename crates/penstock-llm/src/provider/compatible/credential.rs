//! The headers of a request, its credential among them.

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderName};
use http::{HeaderMap, HeaderValue};

use super::Compatible;
use crate::api::{append_query, split_query};
use crate::error::LlmError;
use crate::provider::Target;
use crate::provider::preset::{Credential, WithoutToken};

const BEARER: &[u8] = b"Bearer ";
const API_KEY: HeaderName = HeaderName::from_static("api-key");
const X_GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_AUTHORIZATION: HeaderName = HeaderName::from_static("x-authorization");
const KEY: &str = "key=";

/// Headers that Higress leaves on the upstream request for its own later
/// steps. The gateway keeps these values to itself, and what a client sends
/// under these names is not the truth. Nor is `Accept-Encoding` sent: what the
/// client can decompress, nobody here can read.
static NOT_SENT: [HeaderName; 4] = [
    HeaderName::from_static("x-envoy-original-host"),
    HeaderName::from_static("x-envoy-original-path"),
    HeaderName::from_static("x-hi-original-auth"),
    ACCEPT_ENCODING,
];

impl Compatible {
    pub(super) fn headers(
        &self,
        client: &HeaderMap,
        target: &Target<'_>,
    ) -> Result<Vec<(HeaderName, Option<HeaderValue>)>, LlmError> {
        let mut headers = Vec::new();
        // Most heads have none of them, so they are looked at before anything
        // is looked up.
        if client.keys().any(|name| NOT_SENT.contains(name)) {
            let present = NOT_SENT.iter().filter(|name| client.contains_key(*name));
            headers.extend(present.map(|name| (name.clone(), None)));
        }
        let preset = self.preset;
        let credential = match (target.token, self.credential) {
            (Some(_), Credential::Nothing) => None,
            (Some(token), Credential::Bearer) => Some(token.bearer().clone()),
            (Some(token), _) => Some(token.plain().clone()),
            (None, _) if preset.without_token == WithoutToken::TakesClients => {
                client_credential(client)?
            }
            (None, _) => None,
        };
        let has_token = target.token.is_some();
        let own_header = match self.credential {
            Credential::ApiKey => Some(API_KEY),
            Credential::XApiKey => Some(X_API_KEY),
            Credential::GoogleKey => Some(X_GOOG_API_KEY),
            Credential::Bearer | Credential::Plain | Credential::Nothing => None,
        };
        let own_header = own_header.filter(|_| has_token);
        let removes = match preset.without_token {
            // Higress: provider/azure.go — two credentials are one too many.
            _ if has_token => own_header.is_some(),
            // A provider that needs a token is not asked with another one.
            WithoutToken::IsAnError | WithoutToken::Removes => true,
            WithoutToken::TakesClients | WithoutToken::Passes => false,
        };
        if removes && client.contains_key(AUTHORIZATION) {
            headers.push((AUTHORIZATION, None));
        }
        if let Some(value) = credential {
            headers.push((own_header.unwrap_or(AUTHORIZATION), Some(value)));
        }
        headers
            .extend(self.headers.iter().map(|(name, value)| (name.clone(), Some(value.clone()))));
        Ok(headers)
    }
}

/// What `Authorization` has to become so that the client's own token is sent;
/// `None` where it is that already. Clients of other vendors' APIs put it into
/// `x-api-key`, so that comes first.
fn client_credential(client: &HeaderMap) -> Result<Option<HeaderValue>, LlmError> {
    let names = [X_API_KEY, X_AUTHORIZATION, AUTHORIZATION];
    let found = names.into_iter().find_map(|name| {
        let value = client.get(&name).filter(|value| !value.is_empty())?;
        Some((name, value))
    });
    let Some((name, value)) = found else { return Ok(None) };
    let start = value.as_bytes().get(..BEARER.len());
    let mut credential = match start.is_some_and(|start| start.eq_ignore_ascii_case(BEARER)) {
        true if name == AUTHORIZATION => return Ok(None),
        true => value.clone(),
        false => HeaderValue::from_maybe_shared(Bytes::from([BEARER, value.as_bytes()].concat()))
            .map_err(|_| LlmError::InvalidRequest("the API token cannot be sent".into()))?,
    };
    credential.set_sensitive(true);
    Ok(Some(credential))
}

/// A path without a key in its query, which belongs into a header.
pub(super) fn without_key(path_and_query: &str) -> Option<String> {
    let (path, query) = split_query(path_and_query);
    query.split('&').any(|pair| pair.starts_with(KEY)).then(|| {
        let kept: Vec<_> = query.split('&').filter(|pair| !pair.starts_with(KEY)).collect();
        let mut path = path.to_owned();
        append_query(&mut path, &kept.join("&"));
        path
    })
}
