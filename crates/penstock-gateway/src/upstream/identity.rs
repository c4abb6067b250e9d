//! What a service asks of TLS beyond what the process does with all
//! upstreams: as whom the gateway comes, and whom it believes.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use rustls::sign::SingleCertAndKey;
use tokio_rustls::TlsConnector;

use super::tls::{ClientTls, Connectors};
use crate::certificate::{Authority, Certificate};

/// What is asked. Two are equal where connections of the one can stand in for
/// those of the other.
pub struct Identity {
    /// What the upstream is shown; `None` for nothing.
    client: Option<Arc<Certificate>>,
    /// Whom it is believed from.
    trust: Trust,
    /// What makes handshakes so, once there was one.
    connectors: OnceLock<Result<Connectors, String>>,
}

/// Whose certificates an upstream may have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Trust {
    /// What the process was told.
    Process,
    /// The roots of the process, whatever it was told.
    Roots,
    /// An authority of the service's own.
    Authority(Arc<Authority>),
    /// Anybody.
    Any,
    /// Nobody: what says it cannot be read.
    Nobody,
}

impl Identity {
    /// What a service asks for.
    pub fn new(client: Option<Arc<Certificate>>, trust: Trust) -> Self {
        Self { client, trust, connectors: OnceLock::new() }
    }

    /// What makes handshakes.
    ///
    /// # Errors
    /// There can be none.
    pub(super) fn connector<'a>(
        &'a self,
        tls: &ClientTls,
        is_http2: bool,
    ) -> Result<&'a TlsConnector, String> {
        let made = self.connectors.get_or_init(|| {
            let verifier = match &self.trust {
                Trust::Process => tls.verifier(),
                Trust::Roots => tls.roots()?,
                Trust::Authority(authority) => authority.servers()?,
                Trust::Any => ClientTls::any(),
                Trust::Nobody => return Err("what it asks of TLS cannot be read".to_owned()),
            };
            let client = self.client.as_ref().map(|certificate| {
                Arc::new(SingleCertAndKey::from(certificate.key.clone())) as Arc<_>
            });
            Connectors::new(verifier, client)
        });
        made.as_ref().map(|connectors| connectors.get(is_http2)).map_err(Clone::clone)
    }

    /// What it shows, and what it checks against.
    pub(crate) fn parts(&self) -> (Option<Arc<Certificate>>, Option<Arc<Authority>>) {
        let authority = match &self.trust {
            Trust::Authority(authority) => Some(authority.clone()),
            _ => None,
        };
        (self.client.clone(), authority)
    }

    /// In words, for those who look at a change.
    pub fn describe(&self) -> String {
        let client =
            self.client.as_ref().map(|c| format!("shows the certificate of {}", c.secret_name()));
        let trust = match &self.trust {
            Trust::Process => None,
            Trust::Roots => Some("verifies".to_owned()),
            Trust::Authority(authority) => {
                Some(format!("verifies against {}", authority.secret.name))
            }
            Trust::Any => Some("does not verify".to_owned()),
            Trust::Nobody => Some("cannot be spoken to".to_owned()),
        };
        client.into_iter().chain(trust).collect::<Vec<_>>().join(", ")
    }

    /// The certificates that are shown. They stand for the key as well, which
    /// is that of the first.
    fn shown(&self) -> Option<&[rustls::pki_types::CertificateDer<'static>]> {
        self.client.as_ref().map(|certificate| certificate.key.cert.as_slice())
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.shown() == other.shown() && self.trust == other.trust
    }
}

impl Eq for Identity {}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for certificate in self.shown().unwrap_or_default() {
            certificate.as_ref().hash(state);
        }
        self.trust.hash(state);
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.describe())
    }
}
