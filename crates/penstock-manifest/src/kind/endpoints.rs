//! `v1` Endpoints: the addresses of the Service of the same name
//! (Kubernetes: core/v1), and what they share with EndpointSlices.

use std::net::IpAddr;

use crate::diagnostic::{Diagnostic, INVALID_VALUE, MISSING_FIELD};
use crate::node::{Cursor, Value};
use crate::resource::Resource;

const FIELDS: &[&str] = &["apiVersion", "kind", "metadata", "subsets"];
const SUBSET_FIELDS: &[&str] = &["addresses", "notReadyAddresses", "ports"];
const ADDRESS_FIELDS: &[&str] = &["hostname", "ip", "nodeName", "targetRef"];
const PORT_FIELDS: &[&str] = &["appProtocol", "name", "port", "protocol"];

/// The endpoints of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Addresses with their ports.
    pub subsets: Vec<Subset>,
}

/// Addresses that all have the same ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subset {
    /// Those that are ready.
    pub addresses: Vec<IpAddr>,
    /// Names instead of addresses; only EndpointSlices have them.
    pub names: Vec<Box<str>>,
    /// The ports for HTTP.
    pub ports: Vec<EndpointPort>,
}

/// A port of a [`Subset`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointPort {
    /// The name of the Service's port that it is for.
    pub name: Box<str>,
    /// The number; `None` where any port will do.
    pub port: Option<u16>,
}

impl Endpoints {
    /// Reads Endpoints address by address; a bad one is left out with a
    /// finding. No subsets at all are no endpoints. `None` where nothing of
    /// it can be read.
    pub fn parse(resource: &Resource, diagnostics: &mut Vec<Diagnostic>) -> Option<Self> {
        let root = resource.cursor();
        root.report_unknown_keys(FIELDS, diagnostics);
        let Some(subsets) = root.get("subsets") else {
            return Some(Self::default());
        };
        if subsets.node.as_list().is_none() {
            diagnostics.push(subsets.wrong_type("a list"));
            return None;
        }
        let subsets = subsets.items().filter_map(|s| parse_subset(&s, diagnostics)).collect();
        Some(Self { subsets })
    }

    /// Whether [`Self::parse`] reads anything, found out without reading.
    pub fn has_shape(resource: &Resource) -> bool {
        is_list(resource, "subsets")
    }
}

/// Whether a field is a list, or nothing.
pub(super) fn is_list(resource: &Resource, field: &str) -> bool {
    let value = resource.root.get(field);
    value.is_none_or(|value| value.is_null() || value.as_list().is_some())
}

fn parse_subset(subset: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Subset> {
    if subset.node.as_map().is_none() {
        diagnostics.push(subset.wrong_type("a mapping"));
        return None;
    }
    subset.report_unknown_keys(SUBSET_FIELDS, diagnostics);
    let mut addresses = Vec::new();
    for entry in list(subset, "addresses", diagnostics) {
        entry.report_unknown_keys(ADDRESS_FIELDS, diagnostics);
        match entry.get("ip") {
            Some(ip) => addresses.extend(parse_address(&ip, diagnostics)),
            None => {
                diagnostics.push(entry.diagnostic(&MISSING_FIELD, "the address has no `ip`"));
            }
        }
    }
    Some(Subset { addresses, names: Vec::new(), ports: parse_ports(subset, diagnostics) })
}

/// The elements of a field that is a list, or nothing.
pub(super) fn list<'a>(
    parent: &Cursor<'a>,
    field: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Cursor<'a>> {
    let Some(list) = parent.get(field) else {
        return Vec::new();
    };
    if list.node.as_list().is_none() {
        diagnostics.push(list.wrong_type("a list"));
    }
    list.items().collect()
}

pub(super) fn parse_address(
    cursor: &Cursor<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<IpAddr> {
    let text = cursor.text(diagnostics)?;
    let address = text.parse().ok();
    if address.is_none() {
        diagnostics
            .push(cursor.diagnostic(&INVALID_VALUE, format!("`{text}` is not an IP address")));
    }
    address
}

/// The ports of a subset or a slice.
pub(super) fn parse_ports(
    parent: &Cursor<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<EndpointPort> {
    let ports = list(parent, "ports", diagnostics);
    ports.iter().filter_map(|port| parse_port(port, diagnostics)).collect()
}

fn parse_port(port: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<EndpointPort> {
    if port.node.as_map().is_none() {
        diagnostics.push(port.wrong_type("a mapping"));
        return None;
    }
    port.report_unknown_keys(PORT_FIELDS, diagnostics);
    if !is_tcp(port, diagnostics) {
        return None;
    }
    let number = match port.get("port") {
        Some(number) => Some(port_number(&number, diagnostics)?),
        None => None,
    };
    let name = port.get("name").and_then(|name| name.text(diagnostics)).unwrap_or_default();
    Some(EndpointPort { name: name.into(), port: number })
}

/// Whether HTTP can be spoken to a port of a Service or of endpoints.
pub(super) fn is_tcp(port: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> bool {
    let Some(protocol) = port.get("protocol") else {
        return true;
    };
    match protocol.text(diagnostics) {
        Some("TCP") => true,
        Some("UDP" | "SCTP") | None => false,
        Some(other) => {
            diagnostics.push(
                protocol
                    .diagnostic(&INVALID_VALUE, format!("`{other}` is not a protocol of a port"))
                    .with_hint("use TCP; what is spoken over it stands in `appProtocol`"),
            );
            false
        }
    }
}

/// A port from 1 to 65535, else a finding.
pub(super) fn port_number(cursor: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<u16> {
    let Value::Int(number) = cursor.node.value else {
        diagnostics.push(cursor.wrong_type("a port number"));
        return None;
    };
    let number = u16::try_from(number).ok().filter(|number| *number != 0);
    if number.is_none() {
        diagnostics.push(cursor.diagnostic(&INVALID_VALUE, "a port is a number from 1 to 65535"));
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::assemble;
    use crate::read::{FilePath, read_file};

    fn check(rest: &str, expected: Option<&str>, findings: &[&str]) {
        let text = format!("apiVersion: v1\nkind: Endpoints\nmetadata: {{name: s}}\n{rest}\n");
        let listing = assemble([&read_file(&FilePath::standalone("s.yaml"), &text)]);
        let mut diagnostics = Vec::new();
        let resource = &listing.resources[0];
        let endpoints = Endpoints::parse(resource, &mut diagnostics);
        assert_eq!(endpoints.is_some(), Endpoints::has_shape(resource), "{rest}");
        let shown = endpoints.map(|endpoints| {
            let subsets = endpoints.subsets.iter().map(|subset| {
                let ports: Vec<String> =
                    subset.ports.iter().map(|p| format!("{}:{:?}", p.name, p.port)).collect();
                format!("{:?} {}", subset.addresses, ports.join(" "))
            });
            subsets.collect::<Vec<_>>().join("; ")
        });
        assert_eq!(shown.as_deref(), expected, "{rest}");
        let found: Vec<String> =
            diagnostics.iter().map(|d| format!("{} {}", d.code.id, d.path)).collect();
        assert_eq!(found, findings, "{rest}");
    }

    #[test]
    fn addresses_that_are_ready_count() {
        check("", Some(""), &[]);
        check("subsets: null", Some(""), &[]);
        check("subsets: []", Some(""), &[]);
        check(
            "subsets: [{addresses: [{ip: 10.0.0.1, nodeName: n, targetRef: {kind: Pod}}, {ip: 'fd00::1'}], notReadyAddresses: [{ip: 10.0.0.2}], ports: [{name: http, port: 80, protocol: TCP}, {name: dns, port: 53, protocol: UDP}]}]",
            Some("[10.0.0.1, fd00::1] http:Some(80)"),
            &[],
        );
        check(
            "subsets: [{addresses: [{ip: x}, {pi: 1}, {ip: 10.0.0.1}], ports: [{port: x}, {port: 80}]}, oops]",
            Some("[10.0.0.1] :Some(80)"),
            &[
                "PS208 subsets[0].addresses[0].ip",
                "PS202 subsets[0].addresses[1].pi",
                "PS203 subsets[0].addresses[1]",
                "PS201 subsets[0].ports[0].port",
                "PS201 subsets[1]",
            ],
        );
        check("subsets: [{addresses: x}]", Some("[] "), &["PS201 subsets[0].addresses"]);
        check("subset: []", Some(""), &["PS202 subset"]);
        check("subsets: oops", None, &["PS201 subsets"]);
    }
}
