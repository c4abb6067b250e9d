//! Providers whose registry is not what their settings say: the host that
//! requests are meant for, and the address they go to, differ
//! (Higress console: AbstractLlmProviderHandler).

use std::net::IpAddr;

use super::model::{Model, Provider, RegistryEntry, listed};
use crate::diagnostic::{Diagnostic, PROVIDER_REGISTRY_MISMATCH};
use crate::kind::mcp_bridge::Endpoints;
use crate::node::{Cursor, Node};

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for provider in &model.providers {
        let services = model.services_of(&provider.id).iter();
        for entry in services.filter_map(|host| model.services.registry(host)) {
            let found = wrong_name(model, provider, entry).or_else(|| {
                let wanted = endpoint_of(provider)?;
                wrong_endpoint(provider, entry, &wanted)
            });
            diagnostics.extend(found);
        }
    }
}

/// A registry that the name says is another provider's.
fn wrong_name(
    model: &Model<'_>,
    provider: &Provider<'_>,
    entry: &RegistryEntry<'_>,
) -> Option<Diagnostic> {
    let owner = entry.name().strip_prefix("llm-")?.strip_suffix(".internal")?;
    if owner == provider.id {
        return None;
    }
    let place = entry.entry.get("name").unwrap_or_else(|| entry.entry.clone());
    let hint = if model.providers.iter().any(|other| other.id == owner) {
        format!("activate `{owner}` for `{}`", entry.registry.host)
    } else {
        format!("name the registry `llm-{}.internal`", provider.id)
    };
    Some(
        place
            .diagnostic(
                &PROVIDER_REGISTRY_MISMATCH,
                format!(
                    "registry `{}` is by its name that of provider `{owner}`, but ai-proxy gives it to `{}`",
                    entry.name(),
                    provider.id
                ),
            )
            .with_hint(hint),
    )
}

/// Where a provider's settings say that requests go.
struct Endpoint {
    /// The setting that says so.
    setting: &'static str,
    is_tls: Option<bool>,
    /// Host and port of each URL.
    addresses: Vec<(String, u16)>,
}

/// The endpoint of the types whose settings name it. The hosts of the other
/// types are the vendor's, which a proxy in between may well stand for.
fn endpoint_of(provider: &Provider<'_>) -> Option<Endpoint> {
    let (setting, extras) = match provider.kind() {
        "openai" => ("openaiCustomUrl", "openaiExtraCustomUrls"),
        "vllm" => ("vllmCustomUrl", "vllmExtraCustomUrls"),
        "claude" => ("claudeCustomUrl", ""),
        "azure" => ("azureServiceUrl", ""),
        _ => return None,
    };
    // The service is named directly, or the host is another one on purpose.
    if provider.text("openaiCustomServiceName").is_some()
        || provider.text("providerDomain").is_some()
    {
        return None;
    }
    let first = match provider.text(setting) {
        Some(url) => url,
        None if setting == "openaiCustomUrl" => "https://api.openai.com",
        None => return None,
    };
    let extras = provider.entry.node.get(extras).and_then(Node::as_list).unwrap_or_default();
    let (is_tls, host, port) = parse_url(first)?;
    let mut addresses = vec![(host, port)];
    addresses.extend(
        extras
            .iter()
            .filter_map(Node::as_str)
            .filter_map(parse_url)
            .map(|(_, host, port)| (host, port)),
    );
    Some(Endpoint { setting, is_tls, addresses })
}

/// Scheme, host and port of a URL; ai-proxy also takes one without a scheme.
fn parse_url(url: &str) -> Option<(Option<bool>, String, u16)> {
    let (is_tls, rest) = match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Some(true), rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Some(false), rest),
        Some(_) => return None,
        None => (None, url),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, if is_tls == Some(false) { 80 } else { 443 }),
    };
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    (!host.is_empty()).then_some((is_tls, host, port))
}

fn wrong_endpoint(
    provider: &Provider<'_>,
    entry: &RegistryEntry<'_>,
    wanted: &Endpoint,
) -> Option<Diagnostic> {
    let field = |key: &str| entry.entry.get(key).unwrap_or_else(|| entry.entry.clone());
    let (source, correct) = match provider.text(wanted.setting) {
        Some(_) => (format!("its `{}`", wanted.setting), "correct"),
        None => (format!("its type without `{}`", wanted.setting), "set"),
    };
    let finding = |place: &Cursor<'_>, what: &str, has: &str, says: &str| {
        place
            .diagnostic(
                &PROVIDER_REGISTRY_MISMATCH,
                format!(
                    "registry `{}` of provider `{}` has {what} `{has}`, but {source} says `{says}`",
                    entry.name(),
                    provider.id
                ),
            )
            .with_hint(format!("write `{says}`, or {correct} `{}`", wanted.setting))
    };
    if let Some(is_tls) = wanted.is_tls
        && is_tls != entry.registry.protocol.is_tls()
    {
        let name = |is_tls: bool| if is_tls { "https" } else { "http" };
        let has = field("protocol").node.as_str().unwrap_or("http").to_owned();
        return Some(finding(&field("protocol"), "protocol", &has, name(is_tls)));
    }
    match &entry.registry.endpoints {
        Endpoints::Dns(names) => {
            let (_, port) = wanted.addresses.first()?;
            let hosts: Vec<&str> = wanted.addresses.iter().map(|(host, _)| host.as_str()).collect();
            if let Some(other) = names.iter().find(|name| !hosts.contains(&&***name)) {
                let says = hosts.first().copied().unwrap_or_default();
                return Some(finding(&field("domain"), "domain", other, says));
            }
            (entry.registry.port != *port).then(|| {
                let has = entry.registry.port.to_string();
                finding(&field("port"), "port", &has, &port.to_string())
            })
        }
        Endpoints::Static(addresses) => {
            // A name may well resolve to these addresses.
            let ips: Vec<(IpAddr, u16)> = wanted
                .addresses
                .iter()
                .filter_map(|(host, port)| Some((host.parse().ok()?, *port)))
                .collect();
            if ips.len() != wanted.addresses.len() {
                return None;
            }
            let other =
                addresses.iter().find(|address| !ips.contains(&(address.ip(), address.port())))?;
            let says: Vec<String> = ips
                .iter()
                .map(|(ip, port)| std::net::SocketAddr::new(*ip, *port).to_string())
                .collect();
            let says = listed(&says);
            Some(finding(&field("domain"), "address", &other.to_string(), says.trim_matches('`')))
        }
    }
}
