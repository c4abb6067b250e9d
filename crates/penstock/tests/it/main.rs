//! The gateway from outside: the built binary, manifests in a directory, raw
//! HTTP on both sides.

#[cfg(test)]
mod body;
#[cfg(test)]
mod built_in;
#[cfg(test)]
mod connection;
#[cfg(test)]
mod error;
#[cfg(test)]
mod header;
#[cfg(test)]
mod scenario;
#[cfg(test)]
mod stream;
#[cfg(test)]
mod support;
