//! Who answers instead of the upstream (Higress: annotations/default_backend.go).

use super::reference::ServiceRef;
use super::retry::parse_status;
use super::table::Key;
use super::view::{Annotations, items};

const BACKEND: Key = Key::of("default-backend");
const ERRORS: Key = Key::of("custom-http-errors");

/// What a request that was sent again must not be sent again for.
const NO_ERRORS: &[u16] = &[200, 301, 302, 303, 304, 307, 308];

/// The Service that takes requests in place of the route's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// The Service, by its first port: takes a request where the route's
    /// services have no usable endpoint. Higress: `default-backend`.
    pub service: ServiceRef,
    /// Answers of the upstream after which the request is sent there once, as
    /// one for `/`; sorted, never empty. Default none.
    /// Higress: `custom-http-errors`.
    pub custom_http_errors: Option<Vec<u16>>,
}

pub(super) fn parse(annotations: &mut Annotations<'_, '_>) -> Option<Box<Fallback>> {
    let namespace = annotations.namespace;
    let service = annotations
        .read(BACKEND, "`[NAMESPACE/]SERVICE`", |text| ServiceRef::parse(text, namespace));
    let written = annotations.list(ERRORS);
    let Some(service) = service else {
        if let Some(written) = written {
            annotations.complain(&written, "`custom-http-errors` needs a `default-backend`");
        }
        return None;
    };
    let custom_http_errors = written.map(|written| {
        let expected = "a status code of an error, from 200 to 599";
        let codes = items(written.raw());
        let mut codes = annotations.keep(&written, codes, expected, |text| {
            parse_status(text).filter(|code| !NO_ERRORS.contains(code))
        });
        codes.sort_unstable();
        codes.dedup();
        // Higress: an empty rest stands for 503.
        if codes.is_empty() { vec![503] } else { codes }
    });
    Some(Box::new(Fallback { service, custom_http_errors }))
}
