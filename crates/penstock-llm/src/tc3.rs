//! Tencent Cloud's TC3-HMAC-SHA256 for one request, which is nearly
//! [`crate::sigv4`].
//!
//! Invariant: a secret is in no `Debug` and in no error; the header with the
//! signature is marked as sensitive.

use std::fmt;

use http::HeaderName;
use http::header::{AUTHORIZATION, HeaderValue, InvalidHeaderValue};

use crate::signature::{Date, hex, hmac, scoped_key, sha256};

const ALGORITHM: &str = "TC3-HMAC-SHA256";
const SIGNED: &str = "content-type;host;x-tc-action";

/// Who signs.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// `SecretId`, which is no secret (Higress: `hunyuanAuthId`).
    pub id: &'a str,
    /// `SecretKey` (Higress: `hunyuanAuthKey`).
    pub key: &'a str,
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// What is signed: a POST to `/` without a query.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The service, such as `hunyuan`.
    pub service: &'a str,
    /// The value of `Host`.
    pub host: &'a str,
    /// The value of `Content-Type`, which has to be sent exactly so.
    pub content_type: &'a str,
    /// What is asked for, such as `ChatCompletions`.
    pub action: &'a str,
    /// The API's version, such as `2023-09-01`.
    pub version: &'a str,
    /// SHA-256 of the body.
    pub body_sha256: [u8; 32],
}

impl Request<'_> {
    /// The headers to set: `x-tc-action`, `x-tc-version`, `x-tc-timestamp`
    /// and `authorization`. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// The id or a name has characters that no header can carry.
    pub fn sign(
        &self,
        credentials: Credentials<'_>,
        now: u64,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidHeaderValue> {
        let Date { year, month, day, .. } = Date::of(now);
        let day = format!("{year:04}-{month:02}-{day:02}");
        let parts = [day.as_str(), self.service, "tc3_request"];
        let scope = parts.join("/");
        let hash = hex(&sha256(self.canonical().as_bytes()));
        let to_sign = [ALGORITHM, &now.to_string(), &scope, &hash].join("\n");
        let secret = ["TC3", credentials.key].concat();
        let signature = hex(&hmac(&scoped_key(secret.as_bytes(), &parts), to_sign.as_bytes()));
        let mut authorization = HeaderValue::from_str(&format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={SIGNED}, Signature={signature}",
            credentials.id,
        ))?;
        authorization.set_sensitive(true);
        Ok(vec![
            (HeaderName::from_static("x-tc-action"), HeaderValue::from_str(self.action)?),
            (HeaderName::from_static("x-tc-version"), HeaderValue::from_str(self.version)?),
            (HeaderName::from_static("x-tc-timestamp"), HeaderValue::from(now)),
            (AUTHORIZATION, authorization),
        ])
    }

    /// The request in the form that is signed.
    fn canonical(&self) -> String {
        let Self { host, content_type, .. } = self;
        let (action, hash) = (self.action.to_ascii_lowercase(), hex(&self.body_sha256));
        format!(
            "POST\n/\n\ncontent-type:{content_type}\nhost:{host}\nx-tc-action:{action}\n\n\
             {SIGNED}\n{hash}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] =
        br#"{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}"#;

    fn request() -> Request<'static> {
        Request {
            service: "cvm",
            host: "cvm.tencentcloudapi.com",
            content_type: "application/json; charset=utf-8",
            action: "DescribeInstances",
            version: "2017-03-12",
            body_sha256: sha256(BODY),
        }
    }

    #[test]
    fn the_example_of_the_manual() {
        let published = "7019a55be8395899b900fb5564e4200d984910f34794a27cb3fb7d10ff6a1e84";
        assert_eq!(hex(&sha256(request().canonical().as_bytes())), published);
        // The manual hides its key; this signature was computed by other
        // means, with the stars for what is hidden.
        let key = "Gu5t9xGARNpq86cd98joQYCN3*******";
        let id = "AKIDz8krbsJ5yKBZQpn74WFkmLPx3*******";
        let headers = request().sign(Credentials { id, key }, 1_551_113_065).unwrap();
        let texts: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        let authorization = "TC3-HMAC-SHA256 \
             Credential=AKIDz8krbsJ5yKBZQpn74WFkmLPx3*******/2019-02-25/cvm/tc3_request, \
             SignedHeaders=content-type;host;x-tc-action, \
             Signature=be4f67d323c78ab9acb7395e43c0dbcf822a9cfac32fea2449a7bc7726b770a3";
        let expected = [
            ("x-tc-action", "DescribeInstances"),
            ("x-tc-version", "2017-03-12"),
            ("x-tc-timestamp", "1551113065"),
            ("authorization", authorization),
        ];
        assert_eq!(texts, expected);
        assert!(headers[3].1.is_sensitive());
    }

    #[test]
    fn an_id_that_no_header_can_carry_is_an_error_without_it() {
        let credentials = Credentials { id: "A\n1", key: "secret" };
        let error = request().sign(credentials, 0).unwrap_err();
        assert_eq!(error.to_string(), "failed to parse header value");
        assert_eq!(format!("{credentials:?}"), "Credentials { .. }");
    }
}
