//! The gateway from outside: the built binary, manifests in a directory, raw
//! HTTP on both sides.

#[cfg(test)]
mod access_log;
#[cfg(test)]
mod activation;
#[cfg(test)]
mod afar;
#[cfg(test)]
mod annotation;
#[cfg(test)]
mod apply;
#[cfg(test)]
mod body;
#[cfg(test)]
mod built_in;
#[cfg(test)]
mod calm;
#[cfg(test)]
mod client_certificate;
#[cfg(test)]
mod completion;
#[cfg(test)]
mod connection;
#[cfg(test)]
mod context;
#[cfg(test)]
mod cut;
#[cfg(test)]
mod day2;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod error;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod export;
#[cfg(test)]
mod fallback;
#[cfg(test)]
mod file;
#[cfg(test)]
mod flow;
#[cfg(test)]
mod fmt;
#[cfg(test)]
mod frames;
#[cfg(test)]
mod framing;
#[cfg(test)]
mod get;
#[cfg(test)]
mod grpc;
#[cfg(test)]
mod gzip;
#[cfg(test)]
mod header;
#[cfg(test)]
mod health;
#[cfg(test)]
mod http2;
#[cfg(test)]
mod key_auth;
#[cfg(test)]
mod killed;
#[cfg(test)]
mod kubernetes;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod message;
#[cfg(test)]
mod operation;
#[cfg(test)]
mod plugin;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod remote;
#[cfg(test)]
mod render;
#[cfg(test)]
mod routing;
#[cfg(test)]
mod scenario;
#[cfg(test)]
mod service;
#[cfg(test)]
mod setting;
#[cfg(test)]
mod stream;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod token;
#[cfg(test)]
mod translation;
#[cfg(test)]
mod upgrade;
#[cfg(test)]
mod upstream_tls;
#[cfg(test)]
mod verb;
#[cfg(test)]
mod websocket;
