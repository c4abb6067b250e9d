//! The admin listener: health, metrics, status, and the API that does what
//! the verbs do. Apart from the traffic, on the control plane's runtime.

mod api;
mod audit;
mod body;
mod call;
mod change;
mod endpoint;
mod guard;
mod look;
mod openapi;
mod refused;
mod status;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, SERVER, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use penstock_gateway::Gateway;
use tokio::net::TcpListener;

use crate::reload::Reloader;
pub use api::Api;
pub use guard::AdminToken;

/// What the admin listener speaks about.
pub struct Admin {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// The configuration.
    pub reloader: Arc<Reloader>,
    /// What is below `/api/`, and the token that it wants.
    pub api: Arc<Api>,
    /// Whether the listeners are bound and every service of the first
    /// configuration was looked up once, or its time ran out.
    pub is_started: AtomicBool,
    /// Whether the process is on its way out.
    pub is_draining: AtomicBool,
    /// Whether another process listens in place of this one.
    pub is_replaced: AtomicBool,
}

type AdminResponse = Response<Full<Bytes>>;

impl Admin {
    /// Accepts connections for ever.
    pub async fn run(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, client)) => {
                    tokio::spawn(self.clone().connection(stream, client));
                }
                Err(error) => {
                    tracing::warn!(%error, "an admin connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: tokio::net::TcpStream, client: SocketAddr) {
        let service = service_fn(|request: Request<Incoming>| {
            let admin = self.clone();
            async move {
                let mut response = match request.uri().path().starts_with("/api") {
                    true => admin.api.answer(request, client).await,
                    false => admin.answer(&request),
                };
                let name = HeaderValue::from_static(SERVER_NAME);
                response.headers_mut().insert(SERVER, name);
                if admin.is_replaced.load(Ordering::Acquire) {
                    // The next question is for the other process.
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(CONNECTION, close);
                }
                Ok::<_, Infallible>(response)
            }
        });
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(10))
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = serving.await {
            tracing::debug!(%client, %error, "an admin connection ended early");
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> AdminResponse {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "");
        }
        match request.uri().path() {
            "/healthz" => plain(StatusCode::OK, "ok\n"),
            "/ready" => self.ready(),
            "/metrics" => {
                let mut response = plain(StatusCode::OK, status::metrics(self));
                let kind = HeaderValue::from_static("text/plain; version=0.0.4");
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            "/status" if !guard::may_read(self.api.token.as_ref(), request.headers()) => {
                let mut response = plain(StatusCode::UNAUTHORIZED, "");
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                response
            }
            "/status" => {
                let mut response = plain(StatusCode::OK, status::json(self));
                let kind = HeaderValue::from_static("application/json");
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            _ => plain(StatusCode::NOT_FOUND, ""),
        }
    }

    fn ready(&self) -> AdminResponse {
        match self.unready_reason() {
            None => plain(StatusCode::OK, "ready\n"),
            Some(reason) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
        }
    }

    /// Why the gateway is not ready, where it is not.
    fn unready_reason(&self) -> Option<&'static str> {
        if self.is_draining.load(Ordering::Acquire) {
            Some("draining")
        } else if !self.is_started.load(Ordering::Acquire) {
            Some("starting")
        } else if self.gateway.live().is_none() {
            Some("no configuration in force")
        } else {
            None
        }
    }
}

/// What answers are signed with: by it a client knows whom it talks to.
const SERVER_NAME: &str = concat!("penstock/", env!("CARGO_PKG_VERSION"));

fn plain(status: StatusCode, body: impl Into<Bytes>) -> AdminResponse {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}
