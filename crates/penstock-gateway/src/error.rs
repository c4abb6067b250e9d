//! What can go wrong with a request: whose fault it is, whether another
//! attempt may help, what the client may know, and what only the log may.

use std::fmt;

/// A request that does not get an upstream's answer.
#[derive(Clone, Debug)]
pub struct GatewayError {
    /// What happened; its name is the label in metrics and logs.
    pub kind: ErrorKind,
    /// Whose fault it is.
    pub side: Side,
    /// Whether another attempt may help.
    pub retry: Retry,
    /// What the client is told. Never holds an address, a key or a name that
    /// only the configuration knows.
    pub message: String,
    /// What the log is told besides. Never holds a key.
    pub cause: Option<String>,
}

/// The kinds of [`GatewayError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No host or no route matches.
    NoRoute,
    /// No configuration is in force yet, or all of it is unusable.
    NotConfigured,
    /// The route is closed because a protection of it is broken.
    RouteClosed,
    /// A plugin that covers the request cannot run.
    PluginBroken,
    /// The destination names no service.
    ServiceUnknown,
    /// The service has no endpoint.
    NoEndpoint,
    /// The service has as much under way as it may.
    ServiceBusy,
    /// No connection could be made.
    ConnectFailed,
    /// The upstream's certificate or handshake was refused.
    TlsFailed,
    /// The upstream closed the connection before it answered.
    UpstreamClosed,
    /// The upstream answered something that is not HTTP.
    UpstreamInvalid,
    /// The upstream took too long.
    UpstreamTimeout,
    /// The body is larger than what may be buffered.
    BodyTooLarge,
    /// The head is larger than the configuration allows.
    HeadTooLarge,
    /// The process buffers as much as it may.
    OutOfBuffers,
    /// What the provider wants to have read first cannot be had.
    ContextUnavailable,
    /// The client sent its body too slowly.
    BodyTimeout,
    /// The client's body broke off.
    ClientClosed,
    /// The request cannot be understood.
    InvalidRequest,
    /// The provider does not have this API.
    UnsupportedApi,
    /// The connection is not handed over for what the client asks.
    UpgradeRefused,
    /// The connection was made for another host's certificate.
    Misdirected,
    /// The host is only for clients that show a certificate, and the
    /// connection is in the clear.
    ClientCertificateMissing,
}

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client's.
    Client,
    /// The upstream's.
    Upstream,
    /// The gateway's, or its configuration's.
    Gateway,
}

/// Whether another attempt may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Yes: nothing of the request was seen by the upstream.
    Yes,
    /// No.
    No,
}

impl ErrorKind {
    /// The stable name, for labels and the `code` of error bodies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoRoute => "no_route",
            Self::NotConfigured => "not_configured",
            Self::RouteClosed => "route_closed",
            Self::PluginBroken => "plugin_broken",
            Self::ServiceUnknown => "service_unknown",
            Self::NoEndpoint => "no_endpoint",
            Self::ServiceBusy => "service_busy",
            Self::ConnectFailed => "connect_failed",
            Self::TlsFailed => "tls_failed",
            Self::UpstreamClosed => "upstream_closed",
            Self::UpstreamInvalid => "upstream_invalid",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::HeadTooLarge => "head_too_large",
            Self::OutOfBuffers => "out_of_buffers",
            Self::ContextUnavailable => "context_unavailable",
            Self::BodyTimeout => "body_timeout",
            Self::ClientClosed => "client_closed",
            Self::InvalidRequest => "invalid_request",
            Self::UnsupportedApi => "unsupported_api",
            Self::UpgradeRefused => "upgrade_refused",
            Self::Misdirected => "misdirected",
            Self::ClientCertificateMissing => "client_certificate_missing",
        }
    }

    fn side(self) -> Side {
        match self {
            Self::NoRoute
            | Self::BodyTooLarge
            | Self::HeadTooLarge
            | Self::BodyTimeout
            | Self::ClientClosed
            | Self::InvalidRequest
            | Self::UnsupportedApi
            | Self::UpgradeRefused
            | Self::Misdirected
            | Self::ClientCertificateMissing => Side::Client,
            Self::ConnectFailed
            | Self::TlsFailed
            | Self::UpstreamClosed
            | Self::UpstreamInvalid
            | Self::UpstreamTimeout => Side::Upstream,
            Self::NotConfigured
            | Self::RouteClosed
            | Self::PluginBroken
            | Self::ServiceUnknown
            | Self::NoEndpoint
            | Self::ContextUnavailable
            | Self::ServiceBusy
            | Self::OutOfBuffers => Side::Gateway,
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::NoRoute => "no route matches this request",
            Self::NotConfigured => "the gateway has no configuration in force",
            Self::RouteClosed | Self::PluginBroken => "this route is closed by its configuration",
            Self::ServiceUnknown | Self::NoEndpoint => "no upstream is available for this route",
            Self::ConnectFailed | Self::TlsFailed => "the upstream cannot be reached",
            Self::UpstreamClosed => "the upstream closed the connection before it answered",
            Self::UpstreamInvalid => "the upstream's answer is not valid",
            Self::UpstreamTimeout => "the upstream did not answer in time",
            Self::BodyTooLarge => "the request body is larger than the gateway accepts",
            Self::HeadTooLarge => "the request's headers are larger than the gateway accepts",
            Self::OutOfBuffers => "the gateway is busy; try again",
            Self::ContextUnavailable => "the context of this route cannot be loaded",
            Self::ServiceBusy => "the upstream has too many requests already; try again",
            Self::BodyTimeout => "the request body did not arrive in time",
            Self::ClientClosed => "the request body broke off",
            Self::InvalidRequest => "the request cannot be understood",
            Self::UnsupportedApi => "this API is not available on this route",
            Self::UpgradeRefused => "the gateway does not switch to this protocol",
            Self::Misdirected => "this host is not served on this connection",
            Self::ClientCertificateMissing => {
                "this host is only served over HTTPS, to clients that show a certificate"
            }
        }
    }
}

impl GatewayError {
    /// An error with the message and blame of its kind.
    pub fn new(kind: ErrorKind) -> Self {
        let retry = match kind {
            ErrorKind::ConnectFailed | ErrorKind::TlsFailed => Retry::Yes,
            _ => Retry::No,
        };
        Self { kind, side: kind.side(), retry, message: kind.message().to_owned(), cause: None }
    }

    /// The same error with what only the log may know.
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// The same error with another message for the client.
    pub fn saying(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }
}

impl fmt::Display for GatewayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())?;
        match &self.cause {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for GatewayError {}
