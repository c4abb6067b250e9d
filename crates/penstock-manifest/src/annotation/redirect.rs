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

/// A redirect that is asked for and cannot be read closes the routes: what
/// was meant to lead elsewhere must not reach an upstream instead.
fn parse_redirect(annotations: &mut Annotations<'_, '_>) -> Option<Redirect> {
    let temporal = read_url(annotations, TEMPORAL, 302);
    if let Ok(Some(redirect)) = temporal {
        return Some(redirect);
    }
    let permanent = read_url(annotations, PERMANENT, 301);
    let Ok(Some(mut redirect)) = permanent else {
        for (key, read) in [(TEMPORAL, &temporal), (PERMANENT, &permanent)] {
            if read.is_err() {
                annotations.close(key, "a redirect cannot be used");
            }
        }
        return None;
    };
    // Higress also takes 300, 304, 305 and 306, which Envoy cannot send.
    let code = annotations.read(PERMANENT_CODE, "301, 302, 303, 307 or 308", |text| {
        let code = parse_int(text).and_then(|code| u16::try_from(code).ok());
        code.filter(|code| matches!(code, 301..=303 | 307 | 308))
    });
    redirect.status = code.unwrap_or(redirect.status);
    Some(redirect)
}

/// The written form of a key cannot be used.
struct Unusable;

/// The redirect of a key, `None` where nothing is written.
fn read_url(
    annotations: &mut Annotations<'_, '_>,
    key: Key,
    status: u16,
) -> Result<Option<Redirect>, Unusable> {
    let mut read = Ok(None);
    for written in annotations.forms(key).into_iter().flatten() {
        let text = written.text();
        // Higress: annotations/redirect.go — of a URL only the path is kept;
        // the query is the request's.
        let end = text.find(['?', '#']).unwrap_or(text.len());
        let (url, rest) = text.split_at(end);
        if let Some(redirect) = parse_url(url, status) {
            if !rest.is_empty() {
                let message = "query and fragment of the URL are left out: the query of the \
                               request is kept";
                annotations.complain(&written, message);
            }
            return Ok(Some(redirect));
        }
        annotations.must_be(&written, "an absolute `http://` or `https://` URL");
        // An empty text asks for nothing.
        if !text.is_empty() {
            read = Err(Unusable);
        }
    }
    read
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
    let is_usable = !authority.is_empty() && authority.bytes().all(is_host) && is_url_text(path);
    is_usable.then(|| Redirect {
        status,
        is_tls,
        authority: authority.into(),
        path: (!path.is_empty()).then(|| path.into()),
    })
}
