//! Domains of the console with HTTPS. The gateway of Higress never reads them:
//! there they count once the console saves a route again, and writes
//! `spec.tls` and `higress.io/ssl-redirect` into it (Higress console:
//! KubernetesModelConverter.java). Here they count at once, for hosts to which
//! no Ingress has given TLS.

use std::collections::HashMap;
use std::sync::Arc;

use penstock_manifest::kind::config_map::domain_of;
use penstock_manifest::kind::ingress::Ingress;
use penstock_manifest::resource::SYSTEM_NAMESPACE;
use penstock_manifest::{Diagnostic, Node, Resource};

use super::tls_secrets::{SecretKey, TlsSecrets};

/// The domains with HTTPS whose certificate can be used.
#[derive(Default)]
pub(super) struct Domains {
    by_host: HashMap<Box<str>, Domain>,
}

struct Domain {
    secret: SecretKey,
    is_forced: bool,
}

/// The domains that ask for HTTPS, with their hosts.
fn asking(resources: &[Arc<Resource>]) -> impl Iterator<Item = (Box<str>, Domain)> {
    let resources = resources.iter().filter(|one| &*one.key.namespace == SYSTEM_NAMESPACE);
    resources.filter_map(|resource| {
        let host = domain_of(resource)?.node.as_str()?.to_ascii_lowercase();
        let data = resource.root.get("data")?;
        let https = data.get("enableHttps").and_then(Node::as_str)?;
        let name = data.get("cert").and_then(Node::as_str).filter(|name| !name.is_empty())?;
        let secret = (SYSTEM_NAMESPACE.into(), name.into());
        let domain = Domain { secret, is_forced: https == "force" };
        matches!(https, "on" | "force").then(|| (host.into(), domain))
    })
}

/// The Secrets that domains name.
pub(super) fn secrets(resources: &[Arc<Resource>]) -> impl Iterator<Item = SecretKey> {
    asking(resources).map(|(_, domain)| domain.secret)
}

impl Domains {
    /// Reads all domains. One whose certificate is not there asks in vain:
    /// forcing HTTPS would only end what works.
    pub(super) fn new(
        resources: &[Arc<Resource>],
        secrets: &TlsSecrets<'_>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut by_host: HashMap<_, _> = asking(resources).collect();
        by_host.retain(|_, domain| secrets.of_host(&domain.secret, diagnostics).is_some());
        Self { by_host }
    }

    /// The Secret of a host's certificate.
    pub(super) fn secret_for(&self, host: &str) -> Option<&SecretKey> {
        self.by_host.get(host).map(|domain| &domain.secret)
    }

    /// Whether plain HTTP is redirected for all hosts of an Ingress.
    pub(super) fn force(&self, ingress: &Ingress) -> bool {
        let is_forced = |host: &str| self.by_host.get(host).is_some_and(|domain| domain.is_forced);
        !ingress.rules.is_empty() && ingress.rules.iter().all(|rule| is_forced(&rule.host))
    }
}
