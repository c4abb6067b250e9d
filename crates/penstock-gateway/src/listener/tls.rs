//! The TLS side of client connections: versions 1.2 and 1.3, certificates by
//! server name out of the snapshot in force, session tickets.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::Gateway;

/// What a client that offers both gets first.
pub(super) const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// What makes handshakes with clients.
///
/// # Errors
/// The system has no randomness to give.
pub(super) fn acceptor(gateway: &Arc<Gateway>) -> Result<TlsAcceptor, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ByServerName(gateway.clone())));
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    // Sessions are resumed on any worker, and none is kept in memory. The
    // certificate is looked up before, so that a host that has lost its own
    // is not reached with an old ticket.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Finds the certificate in the snapshot in force.
struct ByServerName(Arc<Gateway>);

impl ResolvesServerCert for ByServerName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let live = self.0.live()?;
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let found = live.snapshot.certificates.find(name.as_deref());
        if found.is_none() {
            tracing::debug!(name, "a client asks for a host without certificate");
        }
        found.map(|certificate| certificate.key.clone())
    }
}

impl fmt::Debug for ByServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByServerName")
    }
}
