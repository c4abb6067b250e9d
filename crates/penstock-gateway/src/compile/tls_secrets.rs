//! The Secrets that TLS is made with: which there are, what each is for, and
//! what is in them. Each is read once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use penstock_manifest::annotation::{HIGRESS, NGINX, RouteOptions, SecretRef};
use penstock_manifest::diagnostic::{CERTIFICATE_ALONE, CERTIFICATE_CHAIN, CERTIFICATE_INVALID};
use penstock_manifest::kind::higress_https::HigressHttps;
use penstock_manifest::{Diagnostic, Resource};

use super::domains;
use crate::certificate::{self, Authority, Certificate, Chain, Place};

/// A Secret's namespace and name.
pub(super) type SecretKey = (Box<str>, Box<str>);

/// The end of the name of a Secret that holds the authority for another one
/// (Istio: pilot/pkg/credentials/kube, `GetCaCert`).
const AUTHORITY_SUFFIX: &str = "-cacert";

/// What a Secret is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Uses {
    /// Its certificate and key are shown.
    certificate: bool,
    /// Others are checked against its authority.
    authority: bool,
    /// The same, if it has one.
    authority_if_any: bool,
}

/// The Secrets that Ingresses, domains and `higress-https` name, as far as that can be
/// told without reading them as a whole.
pub(super) fn referred(
    resources: &[Arc<Resource>],
    https: HigressHttps,
) -> HashMap<SecretKey, Uses> {
    let mut uses: HashMap<SecretKey, Uses> = HashMap::new();
    for resource in resources.iter().filter(|resource| &*resource.key.kind == "Ingress") {
        let tls = resource.spec().and_then(|spec| spec.get("tls"));
        for entry in tls.iter().flat_map(|tls| tls.items()) {
            if let Some(name) = entry.node.get("secretName").and_then(|name| name.as_str()) {
                let key = (resource.key.namespace.as_ref().into(), name.into());
                uses.entry(key).or_default().certificate = true;
            }
        }
    }
    for secret in https.credentials.into_iter().map(|c| c.secret).chain(domains::secrets(resources))
    {
        uses.entry(secret).or_default().certificate = true;
    }
    let asks = |resource: &&Arc<Resource>| {
        let metadata = resource.root.get("metadata");
        let annotations = metadata.and_then(|metadata| metadata.get("annotations")?.as_map());
        let mut entries = annotations.iter().flat_map(|annotations| &annotations.entries);
        &*resource.key.kind == "Ingress"
            && entries.any(|entry| {
                let mut keys = [HIGRESS, NGINX].iter().map(|prefix| entry.key.strip_prefix(prefix));
                keys.any(|key| matches!(key, Some("auth-tls-secret" | "proxy-ssl-secret")))
                    && !entry.node.is_null()
            })
    };
    let mut asking = resources.iter().filter(asks).peekable();
    if asking.peek().is_none() {
        return uses;
    }
    let secrets = TlsSecrets::new(resources);
    for resource in asking {
        let options = RouteOptions::parse(resource, &mut Vec::new());
        if let Some(named) = options.downstream_tls.and_then(|tls| tls.ca_secret) {
            uses.entry(secrets.authority_key(&named)).or_default().authority = true;
        }
        if let Some(named) = options.upstream_tls.and_then(|tls| tls.client_secret) {
            let place = secrets.authority_key(&named);
            // One beside it is there for nothing else.
            let is_beside = place != key(&named);
            let of_authority = uses.entry(place).or_default();
            of_authority.authority |= is_beside;
            of_authority.authority_if_any = true;
            uses.entry(key(&named)).or_default().certificate = true;
        }
    }
    uses
}

/// Whether a Secret holds what it is for.
pub(super) fn is_usable(secret: &Resource, uses: Uses, diagnostics: &mut Vec<Diagnostic>) -> bool {
    let mut report = |problem: String| diagnostics.push(invalid(secret, &problem));
    let has_authority =
        uses.authority || (uses.authority_if_any && certificate::key_of(secret).is_some());
    let certificate = !uses.certificate || Certificate::read(secret).map_err(&mut report).is_ok();
    let authority = !has_authority || Authority::read(secret).map_err(&mut report).is_ok();
    certificate && authority
}

fn invalid(secret: &Resource, problem: &str) -> Diagnostic {
    let message = format!("{} cannot be used for TLS: {problem}", secret.key);
    Place::of(secret).finding(&CERTIFICATE_INVALID, message)
}

fn key(named: &SecretRef) -> SecretKey {
    (named.namespace.clone(), named.name.clone())
}

/// How a Secret that an annotation names is called in findings about it.
pub(super) fn shown_name(named: &SecretRef, resource: &Resource) -> String {
    shown(&key(named), &resource.key.namespace)
}

/// How a Secret is called in findings about an object of a namespace.
pub(super) fn shown(key: &SecretKey, namespace: &str) -> String {
    match *key.0 == *namespace {
        true => key.1.to_string(),
        false => format!("{}/{}", key.0, key.1),
    }
}

/// Whether Higress takes one Secret for the authority of clients that are
/// shown another one (Higress: annotations/downstreamtls.go, `ApplyGateway`).
pub(super) fn belongs_to(authority: &SecretRef, server: &SecretKey) -> bool {
    let name = authority.name.strip_suffix(AUTHORITY_SUFFIX).unwrap_or(&authority.name);
    authority.namespace == server.0 && (*authority.name == *server.1 || *name == *server.1)
}

/// Whether two annotations mean one authority.
pub(super) fn is_same(a: &SecretRef, b: &SecretRef) -> bool {
    fn bare(named: &SecretRef) -> &str {
        named.name.strip_suffix(AUTHORITY_SUFFIX).unwrap_or(&named.name)
    }
    a.namespace == b.namespace && bare(a) == bare(b)
}

/// The Secrets there are, and those that have been read.
pub(super) struct TlsSecrets<'a> {
    secrets: HashMap<SecretKey, &'a Resource>,
    certificates: RefCell<HashMap<SecretKey, Option<Arc<Certificate>>>>,
    authorities: RefCell<HashMap<SecretKey, Option<Arc<Authority>>>>,
}

impl<'a> TlsSecrets<'a> {
    pub(super) fn new(resources: &'a [Arc<Resource>]) -> Self {
        let secrets = resources.iter().filter(|resource| &*resource.key.kind == "Secret");
        let key =
            |secret: &Resource| (secret.key.namespace.as_ref().into(), (&*secret.key.name).into());
        Self {
            secrets: secrets.map(|secret| (key(secret), &**secret)).collect(),
            certificates: RefCell::default(),
            authorities: RefCell::default(),
        }
    }

    pub(super) fn has(&self, key: &SecretKey) -> bool {
        self.secrets.contains_key(key)
    }

    /// The certificate and key of a Secret, which hosts are served with.
    pub(super) fn of_host(
        &self,
        key: &SecretKey,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Arc<Certificate>> {
        let is_first = !self.certificates.borrow().contains_key(key);
        let certificate = self.certificate(key, diagnostics)?;
        if is_first && let Some(secret) = self.secrets.get(key) {
            diagnostics.extend(chain_finding(secret, &certificate));
        }
        Some(certificate)
    }

    /// The certificate and key of a Secret.
    pub(super) fn certificate(
        &self,
        key: &SecretKey,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Arc<Certificate>> {
        if let Some(known) = self.certificates.borrow().get(key) {
            return known.clone();
        }
        let secret = self.secrets.get(key)?;
        let read = Certificate::read(secret)
            .map_err(|problem| diagnostics.push(invalid(secret, &problem)))
            .ok()
            .map(Arc::new);
        self.certificates.borrow_mut().insert(key.clone(), read.clone());
        read
    }

    /// The certificate and key of a Secret that an annotation names.
    pub(super) fn named_certificate(
        &self,
        named: &SecretRef,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Arc<Certificate>> {
        self.certificate(&key(named), diagnostics)
    }

    /// Whether there is an authority in what an annotation names.
    pub(super) fn has_authority(&self, named: &SecretRef) -> bool {
        let place = self.authority_key(named);
        let has_one = |secret: &&Resource| certificate::key_of(secret).is_some();
        place != key(named) || self.secrets.get(&place).is_some_and(has_one)
    }

    /// The authority in what an annotation names.
    pub(super) fn authority(
        &self,
        named: &SecretRef,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Arc<Authority>> {
        let key = self.authority_key(named);
        if let Some(known) = self.authorities.borrow().get(&key) {
            return known.clone();
        }
        let secret = self.secrets.get(&key)?;
        let read = Authority::read(secret)
            .map_err(|problem| diagnostics.push(invalid(secret, &problem)))
            .ok()
            .map(Arc::new);
        self.authorities.borrow_mut().insert(key, read.clone());
        read
    }

    /// Where the authority is that an annotation names: Istio looks for one
    /// beside the Secret first, and in it where there is none.
    fn authority_key(&self, named: &SecretRef) -> SecretKey {
        let at = |name: &str| (named.namespace.clone(), Box::from(name));
        let own = key(named);
        let other = match named.name.strip_suffix(AUTHORITY_SUFFIX) {
            Some(_) if self.has(&own) => return own,
            Some(name) => at(name),
            None => at(&format!("{}{AUTHORITY_SUFFIX}", named.name)),
        };
        if self.has(&other) { other } else { own }
    }
}

/// What is wrong with a chain, once for each Secret.
fn chain_finding(secret: &Resource, certificate: &Certificate) -> Option<Diagnostic> {
    let authority = certificate::key_of(secret).and_then(|_| Authority::read(secret).ok());
    let name = &secret.key;
    let (code, message) = match certificate.chain(authority.as_ref())? {
        Chain::Broken(place) => (
            &CERTIFICATE_CHAIN,
            format!("certificate {place} in tls.crt of {name} has not signed the one before it"),
        ),
        Chain::Missing => (
            &CERTIFICATE_CHAIN,
            format!("tls.crt of {name} lacks the certificate of its issuer, which is no root"),
        ),
        Chain::Absent => (
            &CERTIFICATE_ALONE,
            format!("tls.crt of {name} has no chain: clients must know the issuer themselves"),
        ),
    };
    Some(Place::of(secret).finding(code, message))
}
