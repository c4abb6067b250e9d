//! Redirects (Higress: annotations/redirect.go).

use super::table::Key;
use super::view::{Annotations, is_url_text, parse_int};

const APP_ROOT: Key = Key::of("app-root");
const FORCE_SSL: Key = Key::of("force-ssl-redirect");
const PERMANENT: Key = Key::of("permanent-redirect");
const PERMANENT_CODE: Key = Key::of("permanent-redirect-code");
const SSL: Key = Key::of("ssl-redirect");
const TEMPORAL: Key = Key::of("temporal-redirect");

/// The answer of a route that redirects, instead of any upstream's. It wins
/// over `ssl-redirect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The status: 302 for `temporal-redirect`, which wins; for
    /// `permanent-redirect` what `permanent-redirect-code` says, of 301, 302,
    /// 303, 307 and 308, by default 301.
    pub status: u16,
    /// Whether it leads to `https`.
    pub is_tls: bool,
    /// `HOST[:PORT]`.
    pub authority: Box<str>,
    /// The path that replaces the request's, in visible ASCII; `None` where
    /// the URL has none, and the request's stays. The query is the request's
    /// in any case.
    pub path: Option<Box<str>>,
}

/// What the annotations of `redirect.go` say.
#[derive(Default)]
pub(super) struct RedirectOptions {
    pub(super) redirect: Option<Box<Redirect>>,
    pub(super) app_root: Option<Box<str>>,
    pub(super) ssl_redirect: bool,
}

pub(super) fn parse(annotations: &mut Annotations<'_, '_>) -> RedirectOptions {
    let (ssl, force_ssl) = (annotations.flag(SSL), annotations.flag(FORCE_SSL));
    RedirectOptions {
        redirect: parse_redirect(annotations).map(Box::new),
        app_root: annotations.read(APP_ROOT, "a path that begins with `/`", |text| {
            (text.starts_with('/') && is_url_text(text)).then(|| text.into())
        }),
        ssl_redirect: ssl == Some(true) || force_ssl == Some(true),
    }
}

fn parse_redirect(annotations: &mut Annotations<'_, '_>) -> Option<Redirect> {
    let expected = "an absolute `http://` or `https://` URL without a query";
    if let Some(redirect) = annotations.read(TEMPORAL, expected, |url| parse_url(url, 302)) {
        return Some(redirect);
    }
    let mut redirect = annotations.read(PERMANENT, expected, |url| parse_url(url, 301))?;
    // Higress also takes 300, 304, 305 and 306, which Envoy cannot send.
    let code = annotations.read(PERMANENT_CODE, "301, 302, 303, 307 or 308", |text| {
        let code = parse_int(text).and_then(|code| u16::try_from(code).ok());
        code.filter(|code| matches!(code, 301..=303 | 307 | 308))
    });
    redirect.status = code.unwrap_or(redirect.status);
    Some(redirect)
}

fn parse_url(url: &str, status: u16) -> Option<Redirect> {
    let (scheme, rest) = url.split_once("://")?;
    let is_tls = match scheme {
        _ if scheme.eq_ignore_ascii_case("https") => true,
        _ if scheme.eq_ignore_ascii_case("http") => false,
        _ => return None,
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte);
    let is_usable = !authority.is_empty()
        && authority.bytes().all(is_host)
        && is_url_text(path)
        && !path.contains('?');
    is_usable.then(|| Redirect {
        status,
        is_tls,
        authority: authority.into(),
        path: (!path.is_empty()).then(|| path.into()),
    })
}
