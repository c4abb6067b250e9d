//! What the console's ConfigMap of a domain says about the domain itself.

use super::model::{Domain, Model};
use crate::diagnostic::{
    DOMAIN_NAME, DOMAIN_TOO_LONG, Diagnostic, INVALID_VALUE, Severity, nearest,
};

/// A label key may be 63 characters after the slash, and `domain_` takes
/// seven of them.
const LENGTH_MAX: usize = 56;
const HTTPS: &[&str] = &["off", "on", "force"];

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for domain in &model.domains {
        diagnostics.extend(check_name(domain));
        diagnostics.extend(check_length(domain));
        diagnostics.extend(check_https(domain));
    }
}

fn check_name(domain: &Domain<'_>) -> Option<Diagnostic> {
    let wanted = domain.config_map_name();
    let name = &*domain.resource.key.name;
    (name != wanted).then(|| {
        domain
            .cursor
            .diagnostic(
                &DOMAIN_NAME,
                format!("ConfigMap `{name}` describes the domain `{}`", domain.text),
            )
            .with_hint(format!("name it `{wanted}`, or correct `data.domain`"))
    })
}

fn check_length(domain: &Domain<'_>) -> Option<Diagnostic> {
    let length = super::model::normalized_domain(&domain.text).chars().count();
    (length > LENGTH_MAX).then(|| {
        domain
            .cursor
            .diagnostic(
                &DOMAIN_TOO_LONG,
                format!("the domain has {length} characters, and no label can hold it"),
            )
            .with_hint(format!("use at most {LENGTH_MAX} characters"))
    })
}

fn check_https(domain: &Domain<'_>) -> Option<Diagnostic> {
    let https = domain.resource.cursor().get("data")?.get("enableHttps")?;
    let text = https.node.as_str()?;
    if HTTPS.contains(&text) {
        return None;
    }
    let diagnostic = https
        .diagnostic(&INVALID_VALUE, format!("`{text}` is not a value of enableHttps"))
        .with_severity(Severity::Warning);
    Some(match nearest(&text.to_ascii_lowercase(), HTTPS.iter().copied()) {
        Some(nearest) => diagnostic.with_hint(format!("did you mean `{nearest}`?")),
        None => diagnostic.with_hint("use off, on or force; the console takes all else for on"),
    })
}
