//! TLS annotations towards clients → how handshakes with hosts go, and which
//! routes need a certificate of the client
//! (Higress: annotations/downstreamtls.go).
//!
//! They belong to the host as a whole, whichever Ingress of it has them. What
//! protects is never lost: where Higress ignores a second Ingress' authority,
//! the routes of that one are closed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use penstock_manifest::annotation::{DownstreamTls, RouteOptions, SecretRef};
use penstock_manifest::diagnostic::{
    HANDSHAKE_REFUSED, ROUTE_CLOSED, TLS_SETTING_LIMITED, TLS_SETTING_UNUSED,
};
use penstock_manifest::kind::ingress::Ingress;
use penstock_manifest::{Diagnostic, Resource};

use super::certificates::Gathered;
use super::policy::at_annotation;
use super::tls_secrets::{TlsSecrets, belongs_to, is_same, shown, shown_name};
use crate::certificate::{Authority, ClientCheck, Rules};
use crate::snapshot::{RouteIndex, Snapshot};

const CA_SECRET: &str = "auth-tls-secret";
const PASSTHROUGH: &str = "ssl-passthrough";
const SETTINGS: [&str; 3] = ["tls-min-protocol-version", "tls-max-protocol-version", "ssl-cipher"];

/// Why a route is closed: nobody can be checked.
const NO_AUTHORITY: &str = "the authority of its clients cannot be read";
/// Why a route is closed: nobody is asked for what its Ingress asks for.
const NO_HANDSHAKE: &str = "clients of other hosts are not asked for a certificate";
/// Why a route is closed: its host checks for another one.
pub(super) const OTHER_AUTHORITY: &str = "its host asks clients for certificates of another Secret";

/// What Ingresses ask for, by host.
#[derive(Default)]
pub(super) struct Wishes<'a> {
    by_host: HashMap<Box<str>, Wish<'a>>,
    /// The hosts above in the order in which they were met.
    order: Vec<Box<str>>,
    /// Those with a path `/`.
    rooted: HashSet<Box<str>>,
}

#[derive(Default)]
struct Wish<'a> {
    /// The first Ingress with any of the keys, which decides about versions
    /// and suites.
    settings: Option<(&'a Resource, DownstreamTls)>,
    /// The first that names an authority.
    authority: Option<(&'a Resource, SecretRef)>,
    /// The first whose TLS must not be ended here.
    passthrough: Option<&'a Resource>,
}

impl<'a> Wishes<'a> {
    /// Takes what an Ingress asks for, the oldest first; the hosts on which its
    /// routes have to be closed.
    pub(super) fn add(
        &mut self,
        ingress: &Ingress,
        resource: &'a Resource,
        options: &RouteOptions,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> HashSet<Box<str>> {
        let mut closed = HashSet::new();
        for rule in &ingress.rules {
            if rule.paths.iter().any(|path| &*path.path == "/") && !self.rooted.contains(&rule.host)
            {
                self.rooted.insert(rule.host.clone());
            }
        }
        if options.downstream_tls.is_none() && !options.ssl_passthrough {
            return closed;
        }
        let mut seen = HashSet::new();
        for host in ingress.rules.iter().map(|rule| &rule.host).filter(|host| seen.insert(*host)) {
            if !self.by_host.contains_key(host) {
                self.order.push(host.clone());
            }
            let wish = self.by_host.entry(host.clone()).or_default();
            if options.ssl_passthrough {
                wish.passthrough.get_or_insert(resource);
            }
            if let Some(tls) = options.downstream_tls.as_deref()
                && wish.take(host, resource, tls, diagnostics)
            {
                closed.insert(host.clone());
            }
        }
        closed
    }

    /// Whether clients of a host have to show a certificate of a Secret.
    pub(super) fn asks(&self, host: &str, secret: &SecretRef) -> bool {
        let wish = self.by_host.get(host);
        wish.and_then(|wish| wish.authority.as_ref())
            .is_some_and(|(_, known)| is_same(known, secret))
    }

    /// Brings it into force, once all routes and certificates are there.
    pub(super) fn apply(
        &self,
        secrets: &TlsSecrets<'_>,
        gathered: &mut Gathered,
        snapshot: &mut Snapshot,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let mut told = HashSet::new();
        for host in &self.order {
            let Some(wish) = self.by_host.get(host) else { continue };
            let authority = wish.authority.as_ref().map(|(resource, named)| {
                diagnostics.extend(foreign(host, resource, named, gathered));
                let authority = secrets.authority(named, diagnostics);
                if authority.is_none() {
                    let message = format!(
                        "`{host}` answers 503: there is no usable `ca.crt` in Secret `{}`",
                        shown_name(named, resource)
                    );
                    diagnostics.extend(at_annotation(resource, CA_SECRET, |cursor| {
                        cursor.diagnostic(&ROUTE_CLOSED, message)
                    }));
                }
                authority
            });
            match &authority {
                Some(Some(authority)) => protect(snapshot, host, authority),
                Some(None) => close(snapshot, host),
                None => {}
            }
            if let Some((resource, tls)) = &wish.settings
                && told.insert(std::ptr::from_ref(*resource))
            {
                report_limits(resource, tls, diagnostics);
            }
            wish.restrict(host, authority.flatten(), gathered, diagnostics);
            if let Some(resource) = wish.passthrough.filter(|_| self.rooted.contains(host))
                && gathered.certificates.refuse(host)
            {
                let message = format!(
                    "handshakes for `{host}` are refused: TLS is not passed on, and must not end here"
                );
                diagnostics.extend(at_annotation(resource, PASSTHROUGH, |cursor| {
                    cursor.diagnostic(&HANDSHAKE_REFUSED, message)
                }));
            }
        }
    }
}

impl<'a> Wish<'a> {
    /// Takes what one Ingress asks for; whether its routes have to be closed.
    fn take(
        &mut self,
        host: &str,
        resource: &'a Resource,
        tls: &DownstreamTls,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> bool {
        let settings = DownstreamTls { ca_secret: None, ..tls.clone() };
        match &self.settings {
            None => self.settings = Some((resource, settings)),
            Some((owner, known)) if settings != DownstreamTls::default() && *known != settings => {
                let message =
                    format!("without effect on `{host}`: {} decides about its TLS", owner.key);
                diagnostics.extend(at_first_annotation(resource, &SETTINGS, |cursor| {
                    cursor.diagnostic(&TLS_SETTING_UNUSED, message)
                }));
            }
            Some(_) => {}
        }
        let Some(named) = &tls.ca_secret else { return false };
        let Some((owner, known)) = &self.authority else {
            self.authority = Some((resource, named.clone()));
            return false;
        };
        if is_same(known, named) {
            return false;
        }
        let message = format!(
            "its routes on `{host}` answer 503: {} asks the host's clients for certificates of another Secret",
            owner.key
        );
        diagnostics.extend(at_annotation(resource, CA_SECRET, |cursor| {
            cursor.diagnostic(&ROUTE_CLOSED, message)
        }));
        true
    }

    /// Makes the handshakes with the host go as asked.
    fn restrict(
        &self,
        host: &str,
        authority: Option<Arc<Authority>>,
        gathered: &mut Gathered,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let Some((resource, tls)) = &self.settings else { return };
        let (mut rules, _) = Rules::of(tls);
        if rules.is_default() && authority.is_none() {
            return;
        }
        let is_checked = authority.is_some();
        rules.authority = authority;
        match (gathered.certificates.restrict(host, rules), &self.authority) {
            (Some(None), _) => {}
            (Some(Some(problem)), _) => {
                let is_refused = gathered.certificates.is_refused(host);
                let (code, what) = match is_refused {
                    true => (&HANDSHAKE_REFUSED, "handshakes are refused: "),
                    false => (&TLS_SETTING_LIMITED, ""),
                };
                let message = format!("`{host}`: {what}{problem}");
                diagnostics.extend(at_first_annotation(resource, &SETTINGS, |cursor| {
                    cursor.diagnostic(code, message)
                }));
            }
            (None, Some((resource, _))) if is_checked => {
                let message = format!(
                    "nobody reaches `{host}`: its clients have to show a certificate, and it has none itself for HTTPS"
                );
                diagnostics.extend(at_annotation(resource, CA_SECRET, |cursor| {
                    cursor.diagnostic(&ROUTE_CLOSED, message)
                }));
            }
            (None, _) => {
                let message = format!("without effect: `{host}` is not served over HTTPS");
                diagnostics.extend(at_first_annotation(resource, &SETTINGS, |cursor| {
                    cursor.diagnostic(&TLS_SETTING_UNUSED, message)
                }));
            }
        }
    }
}

/// Why the default backend of an Ingress is closed for hosts that are not its
/// own: its clients have to show a certificate, and only those of its hosts
/// are asked for one.
pub(super) fn unprotected(
    ingress: &Ingress,
    resource: &Resource,
    options: &RouteOptions,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<&'static str> {
    ingress.default_backend.as_ref()?;
    options.downstream_tls.as_ref()?.ca_secret.as_ref()?;
    if ingress.rules.iter().any(|rule| &*rule.host == "*") {
        return None;
    }
    let message = "the default backend answers 503 on other hosts: only clients of hosts in `rules` are asked for a certificate";
    diagnostics.extend(at_annotation(resource, CA_SECRET, |cursor| {
        cursor.diagnostic(&ROUTE_CLOSED, message)
    }));
    Some(NO_HANDSHAKE)
}

/// The finding about an authority that Higress would not ask for.
fn foreign(
    host: &str,
    resource: &Resource,
    named: &SecretRef,
    gathered: &Gathered,
) -> Option<Diagnostic> {
    let server = gathered.secret_of(host).filter(|server| !belongs_to(named, server))?;
    let server = shown(server, &resource.key.namespace);
    let message = format!(
        "clients of `{host}` have to show a certificate; Higress would ask for none, because the Secret is neither `{server}` nor `{server}-cacert`"
    );
    at_annotation(resource, CA_SECRET, |cursor| cursor.diagnostic(&TLS_SETTING_LIMITED, message))
}

/// Says what there is no such thing as, once for an Ingress.
fn report_limits(resource: &Resource, tls: &DownstreamTls, diagnostics: &mut Vec<Diagnostic>) {
    let (_, remarks) = Rules::of(tls);
    for (key, remark) in remarks {
        diagnostics.extend(at_annotation(resource, key, |cursor| {
            cursor.diagnostic(&TLS_SETTING_LIMITED, remark)
        }));
    }
}

fn at_first_annotation(
    resource: &Resource,
    keys: &[&str],
    finding: impl FnOnce(penstock_manifest::Cursor<'_>) -> Diagnostic,
) -> Option<Diagnostic> {
    let is_there = |key: &&&str| {
        at_annotation(resource, key, |c| c.diagnostic(&TLS_SETTING_LIMITED, "")).is_some()
    };
    let key = keys.iter().find(is_there)?;
    at_annotation(resource, key, finding)
}

/// The routes that stand under a host.
pub(super) fn routes_of(snapshot: &Snapshot, host: &str) -> Vec<RouteIndex> {
    let hosts = &snapshot.hosts;
    let list = match host.strip_prefix("*.") {
        Some(parent) => hosts.wildcard.get(parent),
        None if host == "*" => Some(&hosts.any),
        None => hosts.exact.get(host),
    };
    list.cloned().unwrap_or_default()
}

/// Lets requests to a host only come from clients that have shown a
/// certificate of the authority.
fn protect(snapshot: &mut Snapshot, host: &str, authority: &Arc<Authority>) {
    for index in routes_of(snapshot, host) {
        let Some(route) = snapshot.routes.get_mut(index.0 as usize) else { continue };
        let mut policy = route.policy.as_deref().cloned().unwrap_or_default();
        let takes_nameless = host == "*";
        policy.client = Some(ClientCheck { authority: authority.clone(), takes_nameless });
        route.policy = Some(Arc::new(policy));
    }
}

fn close(snapshot: &mut Snapshot, host: &str) {
    for index in routes_of(snapshot, host) {
        if let Some(route) = snapshot.routes.get_mut(index.0 as usize) {
            route.closed = route.closed.or(Some(NO_AUTHORITY));
        }
    }
}
