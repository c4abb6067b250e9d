//! The TLS side of client connections: versions 1.2 and 1.3, certificates and
//! rules by server name out of the snapshot in force, session tickets.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::server::{Acceptor, ClientHello, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::Gateway;
use crate::certificate::{Authority, ClientProof, HTTP2, alpn_protocols};
use crate::proxy::DownstreamTls;

/// What makes handshakes with clients.
pub(super) struct Handshakes {
    gateway: Arc<Gateway>,
    /// For hosts that ask for nothing but their certificate.
    usual: Arc<ServerConfig>,
    tickets: Arc<dyn ProducesTickets>,
}

/// A connection after its handshake.
pub(super) struct Encrypted {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) is_http2: bool,
    pub(super) tls: DownstreamTls,
}

impl Handshakes {
    /// What makes handshakes by the configuration of a gateway.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub(super) fn new(gateway: &Arc<Gateway>) -> Result<Self, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ByServerName(gateway.clone())));
        config.alpn_protocols = alpn_protocols();
        // Sessions are resumed on any worker, and none is kept in memory. The
        // certificate is looked up before, so that a host that has lost its own
        // is not reached with an old ticket.
        let tickets = aws_lc_rs::Ticketer::new()?;
        config.ticketer = tickets.clone();
        Ok(Self { gateway: gateway.clone(), usual: Arc::new(config), tickets })
    }

    /// Makes the handshake with a client.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<Encrypted> {
        let begun = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let (config, authority) = self.choose(&begun.client_hello());
        let stream = begun.into_stream(config).await?;
        let (_, session) = stream.get_ref();
        let server_name: Option<Box<str>> =
            session.server_name().map(|name| name.to_ascii_lowercase().into());
        let is_http2 = session.alpn_protocol() == Some(HTTP2);
        let chain = session.peer_certificates().map(<[_]>::to_vec);
        let proof = authority.zip(chain).map(|(authority, chain)| {
            Arc::new(ClientProof::new(authority, server_name.clone(), chain))
        });
        Ok(Encrypted { stream, is_http2, tls: DownstreamTls { server_name, proof } })
    }

    /// How the handshake goes with who asks for this host, and whose
    /// certificate the client has to show for it.
    fn choose(&self, hello: &ClientHello<'_>) -> (Arc<ServerConfig>, Option<Arc<Authority>>) {
        let live = self.gateway.live();
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let site = live.as_ref().and_then(|live| live.snapshot.certificates.find(name.as_deref()));
        let Some(handshake) = site.and_then(|site| site.handshake.as_ref()) else {
            return (self.usual.clone(), None);
        };
        match (&handshake.config, &handshake.rules.authority) {
            // Nobody finds a certificate there.
            (None, _) => (self.usual.clone(), None),
            (Some(config), Some(authority)) => (config.clone(), Some(authority.clone())),
            (Some(config), None) => {
                let mut config = ServerConfig::clone(config);
                config.ticketer = self.tickets.clone();
                config.send_tls13_tickets = self.usual.send_tls13_tickets;
                (Arc::new(config), None)
            }
        }
    }
}

/// Finds the certificate in the snapshot in force, for hosts that ask for
/// nothing more.
struct ByServerName(Arc<Gateway>);

impl ResolvesServerCert for ByServerName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let live = self.0.live()?;
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let found = live.snapshot.certificates.find(name.as_deref());
        let found = found.filter(|site| site.handshake.is_none());
        if found.is_none() {
            tracing::debug!(name, "a client asks for a host without certificate");
        }
        found?.offer.resolve(hello)
    }
}

impl fmt::Debug for ByServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByServerName")
    }
}
