//! A gateway from afar, through its admin listener.
//!
//! Invariant: the token is in no message, and the only HTTP client of the
//! command line is here.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, EXPECT, SERVER};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use penstock_gateway::upstream::trusted_certificates;
use percent_encoding::{NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

use super::{
    Applied, Difference, Exported, Failure, FailureKind, GatewayStatus, IntentText, Planned,
    Printed, Request, Shown, Standing, Tested,
};
use crate::store::revision::Record;

/// What the admin listener calls itself, before its version.
const PRODUCT: &str = "penstock/";
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request may take in all: an apply may be large, and may have to
/// wait for others.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// How long one look at what is in force may take.
const STATUS_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
/// From how many bytes on a body is only sent once the gateway wants it, so
/// that a refusal can be read.
const EXPECT_BYTES_MIN: usize = 16 << 10;

/// How a gateway is reached. It may hold a token, so it has no `Debug`.
#[derive(Default)]
pub struct Access {
    /// The bearer token.
    pub token: Option<String>,
    /// Certificates that the gateway is checked against instead of the
    /// system's.
    pub ca_file: Option<PathBuf>,
}

/// A gateway from afar.
#[derive(Clone)]
pub struct Remote {
    url: String,
    agent: ureq::Agent,
    authorization: Option<HeaderValue>,
}

/// What is asked.
struct Asked<'a> {
    method: Method,
    path: &'a str,
    body: Option<Vec<u8>>,
    timeout: Duration,
}

/// An answer before it is understood.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// Why there is no answer.
struct Lost {
    /// One sentence for the user, without a full stop.
    message: String,
    /// Whether the gateway may have done what it was asked.
    may_have_acted: bool,
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        let may_be_made = lost.may_have_acted;
        Self { may_be_made, ..Self::new(FailureKind::Unavailable, lost.message) }
    }
}

impl<'a> Asked<'a> {
    fn get(path: &'a str) -> Self {
        Self { method: Method::GET, path, body: None, timeout: REQUEST_TIMEOUT }
    }

    fn post(path: &'a str, body: &impl Serialize) -> Result<Self, Failure> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Failure::new(FailureKind::Invalid, error.to_string()))?;
        Ok(Self { method: Method::POST, body: Some(body), ..Self::get(path) })
    }
}

impl Remote {
    /// The gateway whose admin listener has this URL.
    pub fn new(url: &str, access: &Access) -> Result<Self, Failure> {
        let invalid = |message: String| Failure::new(FailureKind::Invalid, message);
        // Before anything else: other messages show the URL.
        if url.contains('@') {
            let message = "a URL with a user or a password is not used; name a --token-file";
            return Err(invalid(message.to_owned()));
        }
        if !Self::is_named(url) {
            return Err(invalid(format!("`{url}` is no URL of a gateway: write http://HOST:PORT")));
        }
        let uri: Uri = url.parse().map_err(|_| invalid(format!("`{url}` is not a URL")))?;
        let authority = uri.authority().ok_or_else(|| invalid(format!("`{url}` has no host")))?;
        let host = authority.host();
        if host.len() != authority.as_str().len() && authority.port_u16().is_none() {
            return Err(invalid(format!("`{url}` has no usable port")));
        }
        if uri.query().is_some() {
            return Err(invalid(format!("`{url}` is not the URL of a listener: it has a `?`")));
        }
        let is_tls = uri.scheme_str() == Some("https");
        let authorization = access.token.as_deref().map(bearer).transpose()?;
        if authorization.is_some() && !is_tls && !is_loopback(host) {
            warn_of_plain_text(host);
        }
        let agent = agent(is_tls.then_some(access.ca_file.as_deref()))?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), agent, authorization })
    }

    /// Whether a name is the URL of a gateway.
    pub fn is_named(name: &str) -> bool {
        name.starts_with("http://") || name.starts_with("https://")
    }

    /// Its URL, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What the gateway has in force.
    pub fn status(&self) -> Result<GatewayStatus, Failure> {
        let asked = Asked { timeout: STATUS_TIMEOUT, ..Asked::get("/status") };
        let status: StatusBody = self.understand(self.ask(asked)?)?;
        let StatusBody { configuration } = status;
        let errors = configuration.diagnostics.iter().filter(|found| found.severity == "error");
        Ok(GatewayStatus {
            revision: configuration.revision,
            seen: configuration.seen_revision,
            error: configuration.error,
            notes: errors.map(Finding::line).collect(),
        })
    }

    /// Runs expectations against what the gateway has in force.
    pub fn test(&self, table: &IntentText) -> Result<Tested, Failure> {
        self.post("/api/v1/test", table)
    }

    /// What a request would meet there, as `explain -o json` prints it, with
    /// the same for people as `text`.
    pub fn explain(&self, request: &Json) -> Result<Json, Failure> {
        self.post("/api/v1/explain", request)
    }

    /// What there is, of a kind and of a name where they are given. The text is
    /// `table`, `yaml` or `name`.
    pub fn get_things(
        &self,
        kind: Option<&str>,
        name: Option<&str>,
        output: &str,
    ) -> Result<Printed, Failure> {
        let query = query(&[("kind", kind), ("name", name), ("output", Some(output))]);
        self.get(&format!("/api/v1/get?{query}"))
    }

    /// Everything about one thing.
    pub fn describe(&self, kind: &str, name: &str) -> Result<Printed, Failure> {
        let query = query(&[("kind", Some(kind)), ("name", Some(name))]);
        self.get(&format!("/api/v1/describe?{query}"))
    }

    /// The routes that a consumer may use, of what is in force.
    pub fn consumer_routes(&self, name: &str) -> Result<Printed, Failure> {
        self.get(&format!("/api/v1/consumers/{}/routes", encoded(name)))
    }

    /// The intent that the manifests came from, with `ref` or `redact` for
    /// secrets; `name` stands for the file that it goes to.
    pub fn export(&self, secrets: &str, name: &str) -> Result<Exported, Failure> {
        let query = query(&[("secrets", Some(secrets)), ("name", Some(name))]);
        self.get(&format!("/api/v1/export?{query}"))
    }

    /// What a change would do; nothing is written.
    pub fn plan(&self, request: &Request) -> Result<Planned, Failure> {
        self.post("/api/v1/plan", request)
    }

    /// Makes a change, whole or not at all.
    pub fn apply(&self, request: &Request) -> Result<Applied, Failure> {
        let asked = Asked::post("/api/v1/apply", request)?;
        let answer = self.ask(asked).map_err(|mut lost| {
            if lost.may_have_acted {
                lost.message += "; whether the change was made is not known, and \
                                 `penstock history` tells";
            }
            lost
        })?;
        self.understand(answer)
    }

    /// The revisions that are kept, ascending.
    pub fn history(&self) -> Result<Vec<Record>, Failure> {
        let history: History = self.get("/api/v1/history")?;
        Ok(history.revisions)
    }

    /// A revision with its changes.
    pub fn show(&self, id: u64) -> Result<Shown, Failure> {
        self.get(&format!("/api/v1/history/{id}"))
    }

    /// What differs between two revisions, a revision and now, or, without
    /// any, what was edited by hand since the last one.
    pub fn diff(&self, from: Option<u64>, to: Option<u64>) -> Result<Difference, Failure> {
        let (from, to) = (from.map(|id| id.to_string()), to.map(|id| id.to_string()));
        let query = query(&[("from", from.as_deref()), ("to", to.as_deref())]);
        self.get(&format!("/api/v1/diff?{query}"))
    }

    /// How the target stands.
    pub fn standing(&self) -> Result<Standing, Failure> {
        self.get("/api/v1/status")
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.understand(self.ask(Asked::get(path))?)
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        self.understand(self.ask(Asked::post(path, body)?)?)
    }

    fn ask(&self, asked: Asked<'_>) -> Result<Answer, Lost> {
        let mut request = http::Request::builder()
            .method(asked.method)
            .uri(format!("{}{}", self.url, asked.path))
            .header(ACCEPT, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let Some(body) = asked.body else {
            return self.send(request.body(()), asked.timeout);
        };
        request = request.header(CONTENT_TYPE, "application/json");
        if body.len() >= EXPECT_BYTES_MIN {
            request = request.header(EXPECT, "100-continue");
        }
        self.send(request.body(body), asked.timeout)
    }

    fn send(
        &self,
        request: http::Result<http::Request<impl ureq::AsSendBody>>,
        timeout: Duration,
    ) -> Result<Answer, Lost> {
        let unusable = |error: http::Error| Lost {
            message: format!("`{}`: {error}", self.url),
            may_have_acted: false,
        };
        let request = request.map_err(unusable)?;
        let request = self.agent.configure_request(request).timeout_global(Some(timeout)).build();
        let response = self.agent.run(request).map_err(|error| self.lost(&error))?;
        let (head, mut body) = response.into_parts();
        let body = body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let body = body.map_err(|error| self.lost(&error))?;
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// Why there is no answer.
    fn lost(&self, error: &ureq::Error) -> Lost {
        use ureq::{Error, Timeout};
        let url = &self.url;
        let (message, may_have_acted) = match error {
            Error::HostNotFound => (format!("cannot reach `{url}`: there is no such host"), false),
            Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
                (format!("cannot reach `{url}`: it cannot be connected to in time"), false)
            }
            Error::Timeout(_) => (format!("`{url}` did not answer in time"), true),
            Error::BodyExceedsLimit(_) => {
                (format!("`{url}` answers more than {} MiB", ANSWER_BYTES_MAX >> 20), true)
            }
            Error::Rustls(error) => (tls_failed(url, error), false),
            Error::Io(error) => {
                match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                    Some(inner) => (tls_failed(url, inner), false),
                    None if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                        (format!("cannot reach `{url}`: nobody listens there"), false)
                    }
                    None => (format!("the connection to `{url}` failed: {error}"), true),
                }
            }
            error => (format!("the request to `{url}` failed: {error}"), true),
        };
        Lost { message, may_have_acted }
    }

    fn understand<T: DeserializeOwned>(&self, answer: Answer) -> Result<T, Failure> {
        let url = &self.url;
        let version = answer.headers.get(SERVER).and_then(|name| name.to_str().ok());
        let version = version.and_then(|name| name.strip_prefix(PRODUCT));
        let differs = match version {
            Some(version) if version != env!("CARGO_PKG_VERSION") => {
                format!(" (it is penstock {version}, this is {})", env!("CARGO_PKG_VERSION"))
            }
            _ => String::new(),
        };
        if !answer.status.is_success() {
            return Err(self.refusal(&answer, version.is_some(), &differs));
        }
        serde_json::from_slice(&answer.body).map_err(|_| {
            let message = match version {
                Some(_) => format!("`{url}` answers what cannot be understood here{differs}"),
                None => format!("`{url}` is not the admin listener of a penstock"),
            };
            Failure::new(FailureKind::Unavailable, message)
        })
    }

    /// What an answer that is none says.
    fn refusal(&self, answer: &Answer, is_penstock: bool, differs: &str) -> Failure {
        let (url, status) = (&self.url, answer.status);
        let told = serde_json::from_slice::<ErrorBody>(&answer.body).ok();
        let kind = match status {
            StatusCode::UNAUTHORIZED => FailureKind::Unauthorized,
            StatusCode::FORBIDDEN => FailureKind::Forbidden,
            _ => FailureKind::Unavailable,
        };
        match (told, status) {
            (_, StatusCode::UNAUTHORIZED) => {
                let what = match self.authorization {
                    None => "wants a token; name a --token-file",
                    Some(_) => "does not accept the token",
                };
                Failure::new(kind, format!("`{url}` {what}"))
            }
            (Some(ErrorBody { error }), StatusCode::FORBIDDEN) => {
                Failure { message: format!("`{url}`: {}", error.message), ..error }
            }
            (Some(ErrorBody { error }), _) => error,
            (None, _) if is_penstock => Failure::new(
                kind,
                format!("`{url}` answers {status} and what cannot be understood here{differs}"),
            ),
            (None, _) => {
                let what = "is not the admin listener of a penstock that can be changed from afar";
                Failure::new(kind, format!("`{url}` {what}: it answers {status}"))
            }
        }
    }
}

#[derive(Deserialize)]
struct ErrorBody {
    error: Failure,
}

#[derive(Deserialize)]
struct History {
    revisions: Vec<Record>,
}

/// What is read of `/status`.
#[derive(Deserialize)]
struct StatusBody {
    configuration: Configuration,
}

#[derive(Deserialize)]
struct Configuration {
    revision: String,
    seen_revision: String,
    error: Option<String>,
    diagnostics: Vec<Finding>,
}

#[derive(Deserialize)]
struct Finding {
    severity: String,
    code: String,
    file: String,
    line: u64,
    column: u64,
    message: String,
}

impl Finding {
    fn line(&self) -> String {
        let Self { severity, code, file, line, column, message } = self;
        match line {
            0 => format!("{file}: {severity}[{code}]: {message}\n"),
            _ => format!("{file}:{line}:{column}: {severity}[{code}]: {message}\n"),
        }
    }
}

/// The parameters that have values, as a query.
fn query(parameters: &[(&str, Option<&str>)]) -> String {
    let given = parameters.iter().filter_map(|(name, value)| Some((name, (*value)?)));
    let given: Vec<String> =
        given.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    given.join("&")
}

fn encoded(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

fn bearer(token: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
        Failure::new(FailureKind::Invalid, "the token holds what cannot stand in a header")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// A client; for TLS, with the file that names its roots, if one does.
fn agent(tls: Option<Option<&Path>>) -> Result<ureq::Agent, Failure> {
    let mut config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        // A setting is a flag: no variable of the environment leads the token
        // elsewhere.
        .proxy(None)
        .user_agent(concat!("penstock/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(CONNECT_TIMEOUT));
    if let Some(ca_file) = tls {
        let certificates = trusted_certificates(ca_file)
            .map_err(|error| Failure::new(FailureKind::Invalid, error))?;
        let roots = match certificates.is_empty() {
            true => RootCerts::WebPki,
            false => RootCerts::Specific(Arc::new(
                certificates.iter().map(|der| Certificate::from_der(der).to_owned()).collect(),
            )),
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        config = config.tls_config(
            TlsConfig::builder()
                .provider(TlsProvider::Rustls)
                .unversioned_rustls_crypto_provider(provider)
                .root_certs(roots)
                .build(),
        );
    }
    Ok(config.build().into())
}

fn tls_failed(url: &str, error: &rustls::Error) -> String {
    let hint = match error {
        rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => {
            "; --ca-file names certificates to trust"
        }
        _ => "",
    };
    format!("TLS with `{url}` failed: {error}{hint}")
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Inside a cluster that is usual, so it is no reason to refuse.
fn warn_of_plain_text(host: &str) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        eprintln!("warning: the token goes to `{host}` without encryption; use https");
    });
}
