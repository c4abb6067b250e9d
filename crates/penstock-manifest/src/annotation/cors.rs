//! Requests from pages of other origins (Higress: annotations/cors.go).

use super::table::{Family, Key};
use super::view::{Annotations, is_token, is_url_text, items};

const ENABLE: Key = Key::of("enable-cors");
const CREDENTIALS: Key = Key::of("cors-allow-credentials");
const HEADERS: Key = Key::of("cors-allow-headers");
const METHODS: Key = Key::of("cors-allow-methods");
const ORIGIN: Key = Key::of("cors-allow-origin");
const EXPOSE: Key = Key::of("cors-expose-headers");
const MAX_AGE: Key = Key::of("cors-max-age");

const METHODS_DEFAULT: &[&str] = &["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"];
const HEADERS_DEFAULT: &[&str] = &[
    "DNT",
    "X-CustomHeader",
    "Keep-Alive",
    "User-Agent",
    "X-Requested-With",
    "If-Modified-Since",
    "Cache-Control",
    "Content-Type",
    "Authorization",
];
const MAX_AGE_DEFAULT_S: u32 = 1_728_000;

/// What other origins may do; only there where `enable-cors` is true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// The origins that are allowed. Default [`AllowOrigin::Any`], which is
    /// alone where it is; empty where none of the written ones can be used.
    /// Higress: `cors-allow-origin`.
    pub origins: Vec<AllowOrigin>,
    /// The methods, as written; a `*` is alone. Default `GET`, `PUT`, `POST`,
    /// `DELETE`, `PATCH`, `OPTIONS`. Higress: `cors-allow-methods`.
    pub methods: Vec<Box<str>>,
    /// The request headers, as written; a `*` is alone. Default nine common
    /// ones. Higress: `cors-allow-headers`.
    pub headers: Vec<Box<str>>,
    /// The response headers that a page may read. Default none.
    /// Higress: `cors-expose-headers`.
    pub expose: Vec<Box<str>>,
    /// Whether cookies and credentials may be sent. Default true.
    /// Higress: `cors-allow-credentials`.
    pub credentials: bool,
    /// Seconds that the answer to a preflight holds. Default 1728000.
    /// Higress: `cors-max-age`.
    pub max_age_s: u32,
}

/// An origin that is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowOrigin {
    /// Any origin; the answer names the request's.
    Any,
    /// This origin, as written.
    Exact(Box<str>),
    /// Any that ends so, such as `.example.com` or `.example.com:8080`. The
    /// scheme does not count.
    Suffix(Box<str>),
}

pub(super) fn parse(annotations: &mut Annotations<'_, '_>) -> Option<Box<Cors>> {
    if annotations.flag(ENABLE) != Some(true) {
        if annotations.has(ENABLE) {
            annotations.pass_over(Family::Cors);
        }
        return None;
    }
    let owned = |names: &[&str]| names.iter().map(|name| Box::from(*name)).collect();
    Some(Box::new(Cors {
        origins: origins(annotations),
        methods: tokens(annotations, METHODS).unwrap_or_else(|| owned(METHODS_DEFAULT)),
        headers: tokens(annotations, HEADERS).unwrap_or_else(|| owned(HEADERS_DEFAULT)),
        expose: tokens(annotations, EXPOSE).unwrap_or_default(),
        credentials: annotations.flag(CREDENTIALS).unwrap_or(true),
        max_age_s: annotations.seconds(MAX_AGE).unwrap_or(MAX_AGE_DEFAULT_S),
    }))
}

/// A comma list of names; those that are none are reported and left out.
fn tokens(annotations: &mut Annotations<'_, '_>, key: Key) -> Option<Vec<Box<str>>> {
    let written = annotations.list(key)?;
    let names = || items(written.raw());
    if names().any(|name| name == "*") {
        return Some(vec!["*".into()]);
    }
    let parse = |name: &str| is_token(name).then(|| name.into());
    Some(annotations.keep(&written, names(), "a name", parse))
}

fn origins(annotations: &mut Annotations<'_, '_>) -> Vec<AllowOrigin> {
    let Some(written) = annotations.list(ORIGIN) else {
        return vec![AllowOrigin::Any];
    };
    let expected = "an origin such as `https://HOST`, `https://*.HOST` or `*`";
    let origins = annotations.keep(&written, items(written.raw()), expected, parse_origin);
    match origins.contains(&AllowOrigin::Any) {
        true => vec![AllowOrigin::Any],
        false => origins,
    }
}

fn parse_origin(text: &str) -> Option<AllowOrigin> {
    if text == "*" {
        return Some(AllowOrigin::Any);
    }
    if !is_url_text(text) {
        return None;
    }
    if !text.contains('*') {
        return Some(AllowOrigin::Exact(text.into()));
    }
    // Higress looks at the host of the URL only.
    let (_, rest) = text.split_once("://")?;
    let suffix = rest.split('/').next()?.strip_prefix('*')?;
    match suffix {
        "" => Some(AllowOrigin::Any),
        _ if suffix.contains('*') => None,
        _ => Some(AllowOrigin::Suffix(suffix.into())),
    }
}
