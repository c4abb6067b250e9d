//! ConfigMap `higress-https`: certificates by domain, a YAML document under
//! the key `cert` (Higress: pkg/cert). Nothing is issued here: Secrets have
//! to be there.
//!
//! The document counts as a whole or not at all, as in Higress.

use super::config_map::embedded;
use crate::diagnostic::{Diagnostic, INVALID_VALUE, MISSING_FIELD, SETTING_NOT_SUPPORTED};
use crate::node::{Cursor, Value};
use crate::resource::{Resource, SYSTEM_NAMESPACE};

/// The name of the ConfigMap.
pub const NAME: &str = "higress-https";
const KEY: &str = "cert";
const FIELDS: &[&str] = &[
    "automaticHttps",
    "fallbackForInvalidSecret",
    "renewBeforeDays",
    "acmeIssuer",
    "credentialConfig",
    "version",
];
const CREDENTIAL_FIELDS: &[&str] = &["domains", "tlsIssuer", "tlsSecret", "cacertSecret"];
const ISSUER: &str = "letsencrypt";

/// The certificates for hosts whose Ingress names none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HigressHttps {
    /// `fallbackForInvalidSecret`: whether they are also for hosts whose
    /// Ingress names a Secret that does not exist.
    pub is_fallback: bool,
    /// `credentialConfig`, in order.
    pub credentials: Vec<Credential>,
}

/// One entry of `credentialConfig`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Hosts and patterns in lower case.
    pub domains: Vec<Box<str>>,
    /// The namespace and name of the Secret.
    pub secret: (Box<str>, Box<str>),
}

/// Whether a resource is the one that is read.
pub fn is_higress_https(resource: &Resource) -> bool {
    &*resource.key.kind == "ConfigMap"
        && &*resource.key.name == NAME
        && &*resource.key.namespace == SYSTEM_NAMESPACE
}

impl HigressHttps {
    /// Reads the document; without one, there are none. `None` with findings
    /// where it cannot be used as a whole.
    pub fn parse(resource: &Resource, diagnostics: &mut Vec<Diagnostic>) -> Option<Self> {
        let node = embedded(resource, KEY, diagnostics)?;
        if node.is_null() {
            return Some(Self::default());
        }
        let source = &resource.source;
        let root = Cursor { node: &node, source, path: format!("data.{KEY}").into() };
        if node.as_map().is_none() {
            diagnostics.push(root.wrong_type("a mapping"));
            return None;
        }
        root.report_unknown_keys(FIELDS, diagnostics);
        let days = root.get("renewBeforeDays");
        if let Some(days) = days.filter(|d| !matches!(d.node.value, Value::Int(1..=89))) {
            let message = format!("`{}` must be a whole number from 1 to 89", days.path);
            diagnostics.push(days.diagnostic(&INVALID_VALUE, message));
            return None;
        }
        if let Some(flag) = root.get("automaticHttps") {
            flag.bool(diagnostics)?;
        }
        check_issuers(&root, diagnostics)?;
        let is_fallback = match root.get("fallbackForInvalidSecret") {
            Some(flag) => flag.bool(diagnostics)?,
            None => false,
        };
        let mut credentials = Vec::new();
        if let Some(list) = root.get("credentialConfig") {
            if list.node.as_list().is_none() {
                diagnostics.push(list.wrong_type("a list"));
                return None;
            }
            for entry in list.items() {
                credentials.push(Credential::parse(&entry, diagnostics)?);
            }
        }
        Some(Self { is_fallback, credentials })
    }

    /// The Secret for a host or a pattern in lower case: that of the first
    /// entry that covers it.
    pub fn secret_for(&self, host: &str) -> Option<&(Box<str>, Box<str>)> {
        let covers =
            |entry: &&Credential| entry.domains.iter().any(|domain| is_subset(host, domain));
        self.credentials.iter().find(covers).map(|entry| &entry.secret)
    }
}

/// Whether every host of the one is a host of the other
/// (Istio: pkg/config/host/name.go, `SubsetOf`).
fn is_subset(host: &str, of: &str) -> bool {
    match (host.strip_prefix('*'), of.strip_prefix('*')) {
        (None, None) => host == of,
        (Some(_), None) => false,
        (None, Some(end)) => host.ends_with(end),
        (Some(host), Some(end)) => host.ends_with(end),
    }
}

fn check_issuers(root: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<()> {
    let Some(list) = root.get("acmeIssuer") else {
        return Some(());
    };
    if list.node.as_list().is_none() {
        diagnostics.push(list.wrong_type("a list"));
        return None;
    }
    for issuer in list.items() {
        issuer.report_unknown_keys(&["name", "email", "ak", "sk"], diagnostics);
        check_issuer(issuer.get("name"), diagnostics)?;
    }
    Some(())
}

fn check_issuer(name: Option<Cursor<'_>>, diagnostics: &mut Vec<Diagnostic>) -> Option<bool> {
    let Some(name) = name else {
        return Some(false);
    };
    match name.text(diagnostics)? {
        "" => Some(false),
        ISSUER => Some(true),
        other => {
            let message = format!("`{other}` is not an issuer");
            let finding = name.diagnostic(&INVALID_VALUE, message);
            diagnostics.push(finding.with_hint(format!("use {ISSUER}")));
            None
        }
    }
}

impl Credential {
    fn parse(entry: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Self> {
        if entry.node.as_map().is_none() {
            diagnostics.push(entry.wrong_type("a mapping"));
            return None;
        }
        entry.report_unknown_keys(CREDENTIAL_FIELDS, diagnostics);
        let mut domains = Vec::new();
        for domain in entry.get("domains").iter().flat_map(|list| list.items()) {
            domains.push(domain.text(diagnostics)?.to_ascii_lowercase().into_boxed_str());
        }
        let secret = entry.get("tlsSecret");
        let (Some(secret), false) = (secret, domains.is_empty()) else {
            let message = format!("`{}` needs domains and tlsSecret", entry.path);
            diagnostics.push(entry.diagnostic(&MISSING_FIELD, message));
            return None;
        };
        let text = secret.text(diagnostics)?;
        let (namespace, name) = text.split_once('/').unwrap_or((SYSTEM_NAMESPACE, text));
        if name.is_empty() || name.contains('/') || namespace.is_empty() {
            let message = format!("`{}` must be NAME or NAMESPACE/NAME", secret.path);
            diagnostics.push(secret.diagnostic(&INVALID_VALUE, message));
            return None;
        }
        let issuer = entry.get("tlsIssuer");
        if check_issuer(issuer.clone(), diagnostics)? {
            let at = issuer.as_ref().unwrap_or(entry);
            if domains.len() > 1 || domains.iter().any(|domain| domain.contains('*')) {
                let message = "an issuer takes exactly one domain without a wildcard";
                diagnostics.push(at.diagnostic(&INVALID_VALUE, message));
                return None;
            }
            let message =
                format!("certificates are not requested: Secret `{text}` has to be there");
            diagnostics.push(at.diagnostic(&SETTING_NOT_SUPPORTED, message).with_hint(
                "have it renewed by another tool, such as cert-manager or an ACME client",
            ));
        }
        Some(Self { domains, secret: (namespace.into(), name.into()) })
    }
}

#[cfg(test)]
mod tests;
