//! Copies of requests (Higress: annotations/mirror.go).

use super::reference::ServiceRef;
use super::table::Key;
use super::view::{Annotations, parse_int};

const FQDN: Key = Key::of("mirror-target-fqdn");
const FQDN_PORT: Key = Key::of("mirror-target-fqdn-port");
const PERCENTAGE: Key = Key::of("mirror-percentage");
const SERVICE: Key = Key::of("mirror-target-service");

const FQDN_PORT_DEFAULT: u16 = 80;

/// Who gets copies of requests, whose answers nobody waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Who gets them.
    pub target: MirrorTarget,
    /// Percent of the requests, 0 to 100. Default 100.
    /// Higress: `mirror-percentage`.
    pub percentage: u32,
}

/// Who gets copies of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MirrorTarget {
    /// A Service of Kubernetes. Higress: `mirror-target-service`.
    Service {
        /// The namespace; that of the Ingress where none is written.
        namespace: Box<str>,
        /// The name.
        name: Box<str>,
        /// The port; `None` for the first of the Service.
        port: Option<u16>,
    },
    /// A service of a registry, such as `shadow.static`. It wins.
    /// Higress: `mirror-target-fqdn`, `mirror-target-fqdn-port`.
    Fqdn {
        /// The host in lower case.
        host: Box<str>,
        /// The port. Default 80.
        port: u16,
    },
}

pub(super) fn parse(annotations: &mut Annotations<'_, '_>) -> Option<Box<Mirror>> {
    let target = fqdn(annotations).or_else(|| service(annotations))?;
    let expected = "a whole number; everything is mirrored";
    let percentage = annotations.read(PERCENTAGE, expected, parse_int);
    Some(Box::new(Mirror { target, percentage: percentage.unwrap_or(100).min(100) }))
}

fn fqdn(annotations: &mut Annotations<'_, '_>) -> Option<MirrorTarget> {
    let host = annotations.read(FQDN, "a host", |text| {
        let is_usable = |c: char| !c.is_whitespace() && !c.is_control() && c != '/';
        (!text.is_empty() && text.chars().all(is_usable)).then(|| text.to_ascii_lowercase())
    })?;
    let port = annotations.read(FQDN_PORT, "a port from 1 to 65535", parse_port);
    Some(MirrorTarget::Fqdn { host: host.into(), port: port.unwrap_or(FQDN_PORT_DEFAULT) })
}

fn service(annotations: &mut Annotations<'_, '_>) -> Option<MirrorTarget> {
    let namespace = annotations.namespace;
    annotations.read(SERVICE, "`[NAMESPACE/]SERVICE[:PORT]`", |text| {
        let (service, port) = match text.split_once(':') {
            Some((service, port)) => (service, Some(parse_port(port)?)),
            None => (text, None),
        };
        let ServiceRef { namespace, name } = ServiceRef::parse(service, namespace)?;
        Some(MirrorTarget::Service { namespace, name, port })
    })
}

fn parse_port(text: &str) -> Option<u16> {
    let port = parse_int(text).and_then(|port| u16::try_from(port).ok());
    port.filter(|port| *port != 0)
}
