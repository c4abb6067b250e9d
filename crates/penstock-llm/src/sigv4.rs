//! AWS Signature Version 4 for one request.
//!
//! The path is encoded once more for the signature than on the wire, as all
//! services but S3 want it; dot segments and empty ones are not resolved.
//!
//! Invariant: a secret is in no `Debug` and in no error; the headers with the
//! signature and the session's token are marked as sensitive.

use std::fmt;

use http::HeaderName;
use http::header::{AUTHORIZATION, HeaderValue, InvalidHeaderValue};

use crate::signature::{Date, hex, hmac, scoped_key, sha256};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Who signs.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// The access key's id, which is no secret.
    pub access_key: &'a str,
    /// Its secret.
    pub secret_key: &'a str,
    /// What temporary credentials have besides.
    pub session_token: Option<&'a str>,
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// What the signature is good for.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The region, such as `us-east-1`.
    pub region: &'a str,
    /// The service's name in signatures, such as `bedrock`.
    pub service: &'a str,
}

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// The value of `Host`.
    pub host: &'a str,
    /// The path as it goes over the wire, without the query.
    pub path: &'a str,
    /// The query without its question mark; empty where there is none.
    pub query: &'a str,
    /// Headers to sign besides `host` and those that are returned; one of
    /// several values stands there several times.
    pub headers: &'a [(&'a str, &'a str)],
    /// SHA-256 of the body.
    pub body_sha256: [u8; 32],
    /// Whether the body's hash is sent along, and signed.
    pub sends_body_sha256: bool,
}

impl Request<'_> {
    /// The headers to set: `x-amz-date`, `x-amz-security-token` for
    /// temporary credentials, `x-amz-content-sha256` if it is to be sent, and
    /// `authorization`. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// A key, the token or the scope has characters that no header can carry.
    pub fn sign(
        &self,
        credentials: Credentials<'_>,
        scope: Scope<'_>,
        now: u64,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidHeaderValue> {
        let date = Date::of(now);
        let day = format!("{:04}{:02}{:02}", date.year, date.month, date.day);
        let (hour, minute, second) = (date.second / 3600, date.second / 60 % 60, date.second % 60);
        let time = format!("{day}T{hour:02}{minute:02}{second:02}Z");
        let mut set = vec![(HeaderName::from_static("x-amz-date"), HeaderValue::from_str(&time)?)];
        if let Some(token) = credentials.session_token {
            let mut token = HeaderValue::from_str(token)?;
            token.set_sensitive(true);
            set.push((HeaderName::from_static("x-amz-security-token"), token));
        }
        if self.sends_body_sha256 {
            let hash = HeaderValue::from_str(&hex(&self.body_sha256))?;
            set.push((HeaderName::from_static("x-amz-content-sha256"), hash));
        }
        let (canonical, names) = self.canonical(&set);
        let parts = [day.as_str(), scope.region, scope.service, "aws4_request"];
        let scope = parts.join("/");
        let hash = hex(&sha256(canonical.as_bytes()));
        let to_sign = [ALGORITHM, &time, &scope, &hash].join("\n");
        let secret = ["AWS4", credentials.secret_key].concat();
        let signature = hex(&hmac(&scoped_key(secret.as_bytes(), &parts), to_sign.as_bytes()));
        let mut authorization = HeaderValue::from_str(&format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            credentials.access_key,
        ))?;
        authorization.set_sensitive(true);
        set.push((AUTHORIZATION, authorization));
        Ok(set)
    }

    /// The request in the form that is signed, and the names of its headers.
    fn canonical(&self, set: &[(HeaderName, HeaderValue)]) -> (String, String) {
        let own = self.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), *value));
        let set = set.iter().map(|(name, value)| {
            // Made of text above.
            (name.as_str().to_owned(), value.to_str().unwrap_or_default())
        });
        let mut headers: Vec<_> = own.chain(set).chain([("host".to_owned(), self.host)]).collect();
        // Values of one name stay in their order.
        headers.sort_by(|(one, _), (other, _)| one.cmp(other));
        let (mut lines, mut names) = (String::new(), String::new());
        let mut last = None;
        for (name, value) in &headers {
            let value = value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
            if last == Some(name) {
                lines.pop();
                lines.extend([",", &value, "\n"]);
                continue;
            }
            lines.extend([name, ":", &value, "\n"]);
            names.extend([if names.is_empty() { "" } else { ";" }, name]);
            last = Some(name);
        }
        let path = match self.path {
            "" => "/".to_owned(),
            path => {
                path.split('/').map(|part| encode(part.as_bytes())).collect::<Vec<_>>().join("/")
            }
        };
        let (query, hash) = (canonical_query(self.query), hex(&self.body_sha256));
        ([self.method, &path, &query, &lines, &names, &hash].join("\n"), names)
    }
}

/// The parameters, encoded in one way and in order.
fn canonical_query(query: &str) -> String {
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
    let mut parameters: Vec<_> = parameters
        .map(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            (encode(&decode(name)), encode(&decode(value)))
        })
        .collect();
    parameters.sort_unstable();
    let parameters = parameters.iter().map(|(name, value)| format!("{name}={value}"));
    parameters.collect::<Vec<_>>().join("&")
}

/// Everything but RFC 3986's unreserved characters, percent-encoded.
fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(*byte));
            }
            byte => text.extend(["%", &hex(&[*byte]).to_ascii_uppercase()]),
        }
    }
    text
}

fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, code) {
            (b'%', Some(code)) => {
                bytes.push(code);
                rest = behind.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests;
