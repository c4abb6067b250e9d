//! TLS annotations towards upstreams → as whom the gateway comes, and whom it
//! believes (Higress: annotations/upstreamtls.go).

use std::sync::Arc;

use penstock_manifest::annotation::{RouteOptions, UpstreamProtocol, UpstreamTls};
use penstock_manifest::diagnostic::{ROUTE_CLOSED, TLS_SETTING_UNUSED, UPSTREAM_UNVERIFIED};
use penstock_manifest::{Diagnostic, Resource};

use super::policy::at_annotation;
use super::tls_secrets::{TlsSecrets, shown_name};
use crate::upstream::{Identity, Trust};

const SECRET: &str = "proxy-ssl-secret";
const VERIFY: &str = "proxy-ssl-verify";

/// Why a route is closed: its service cannot be spoken to as it has to be.
pub(super) const NO_IDENTITY: &str = "what is to be shown to its service cannot be read";
/// Why a route is closed: its service is spoken to otherwise.
pub(super) const OTHER_IDENTITY: &str = "another Ingress decides how its service is spoken to";

/// What an Ingress asks for; `None` where that is nothing beyond TLS. The flag
/// says whether it can be had.
pub(super) fn identity(
    options: &RouteOptions,
    resource: &Resource,
    secrets: &TlsSecrets<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> (Option<Arc<Identity>>, bool) {
    let Some(tls) = options.upstream_tls.as_deref().filter(|tls| has_tls(tls)) else {
        return (None, true);
    };
    let Some(named) = &tls.client_secret else {
        let trust = match tls.verify {
            None => return (None, true),
            Some(true) => Trust::Roots,
            Some(false) => Trust::Any,
        };
        if trust == Trust::Any {
            diagnostics.extend(unverified(resource));
        }
        return (Some(Arc::new(Identity::new(None, trust))), true);
    };
    let client = secrets.named_certificate(named, diagnostics);
    let has_authority = secrets.has_authority(named);
    let authority = has_authority.then(|| secrets.authority(named, diagnostics)).flatten();
    if client.is_none() || (has_authority && authority.is_none()) {
        let message = format!(
            "the routes answer 503: there is no usable Secret `{}`",
            shown_name(named, resource)
        );
        diagnostics.extend(at_annotation(resource, SECRET, |cursor| {
            cursor.diagnostic(&ROUTE_CLOSED, message)
        }));
        return (Some(Arc::new(Identity::new(None, Trust::Nobody))), false);
    }
    let trust = match (authority, tls.verify) {
        (Some(authority), verify) => {
            if verify == Some(false) {
                let message = "`proxy-ssl-verify: off` has no effect: the Secret has a `ca.crt`, against which the upstream is checked";
                diagnostics.extend(at_annotation(resource, VERIFY, |cursor| {
                    cursor.diagnostic(&TLS_SETTING_UNUSED, message)
                }));
            }
            Trust::Authority(authority)
        }
        (None, Some(true)) => Trust::Roots,
        (None, Some(false)) => {
            diagnostics.extend(unverified(resource));
            Trust::Any
        }
        (None, None) => Trust::Process,
    };
    (Some(Arc::new(Identity::new(client, trust))), true)
}

fn has_tls(tls: &UpstreamTls) -> bool {
    matches!(tls.protocol, UpstreamProtocol::Https | UpstreamProtocol::Grpcs)
}

fn unverified(resource: &Resource) -> Option<Diagnostic> {
    let message = "the upstream's certificate is not checked";
    at_annotation(resource, VERIFY, |cursor| cursor.diagnostic(&UPSTREAM_UNVERIFIED, message))
}
