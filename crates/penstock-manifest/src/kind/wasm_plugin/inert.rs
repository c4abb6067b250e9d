//! Fields of a WasmPlugin that are about fetching and starting a module:
//! without effect here, and checked all the same.

use super::choice;
use crate::diagnostic::{
    Diagnostic, INVALID_VALUE, MISSING_FIELD, PLUGIN_FIELD_WITHOUT_EFFECT, Severity,
};
use crate::node::Cursor;

const PULL_POLICIES: &[&str] = &["UNSPECIFIED_POLICY", "IfNotPresent", "Always"];
const VALUE_SOURCES: &[&str] = &["INLINE", "HOST"];
const SCHEMES: &[&str] = &["file", "http", "https", "oci"];

/// Reports what is wrong with them, as warnings: nothing depends on it.
pub(super) fn check(spec: &Cursor<'_>, url: &str, diagnostics: &mut Vec<Diagnostic>) {
    let mut found = Vec::new();
    check_url(spec, url, &mut found);
    if let Some(policy) = spec.get("imagePullPolicy") {
        choice(&policy, PULL_POLICIES, &mut found);
    }
    for field in ["imagePullSecret", "pluginName", "verificationKey", "sha256"] {
        if let Some(value) = spec.get(field) {
            value.text(&mut found);
        }
    }
    check_env(spec, &mut found);
    diagnostics.extend(found.into_iter().map(|finding| finding.with_severity(Severity::Warning)));
    for field in ["sha256", "verificationKey"] {
        let is_written = |value: &Cursor<'_>| value.node.as_str().is_some_and(|t| !t.is_empty());
        if let Some(value) = spec.get(field).filter(is_written) {
            diagnostics.push(value.diagnostic(
                &PLUGIN_FIELD_WITHOUT_EFFECT,
                format!("`{field}` is not compared: plugins are built in, nothing is downloaded"),
            ));
        }
    }
}

/// Higress: api/extensions/v1alpha1/wasmplugin.proto — no scheme is `oci`,
/// and `sha256` has to agree with a digest in the URL.
fn check_url(spec: &Cursor<'_>, url: &str, found: &mut Vec<Diagnostic>) {
    let cursor = spec.descend("url");
    if let Some((scheme, _)) = url.split_once("://")
        && !SCHEMES.contains(&scheme)
    {
        found.push(
            cursor
                .diagnostic(&INVALID_VALUE, format!("`{scheme}` is no scheme of a plugin's url"))
                .with_hint("use oci, file, http or https"),
        );
    }
    let digest = url.rsplit_once("@sha256:").map(|(_, digest)| digest);
    if let Some(sha256) = spec.get("sha256")
        && let (Some(digest), Some(written)) = (digest, sha256.node.as_str())
        && !written.is_empty()
        && !written.eq_ignore_ascii_case(digest)
    {
        found.push(sha256.diagnostic(&INVALID_VALUE, "`sha256` is not the digest in `url`"));
    }
}

fn check_env(spec: &Cursor<'_>, found: &mut Vec<Diagnostic>) {
    let Some(vm) = spec.get("vmConfig") else {
        return;
    };
    if vm.node.as_map().is_none() {
        found.push(vm.wrong_type("a mapping"));
        return;
    }
    vm.report_unknown_keys(&["env"], found);
    let Some(env) = vm.get("env") else {
        return;
    };
    if env.node.as_list().is_none() {
        found.push(env.wrong_type("a list"));
    }
    for variable in env.items() {
        variable.report_unknown_keys(&["name", "valueFrom", "value"], found);
        match variable.get("name") {
            Some(name) => drop(name.text(found)),
            None => {
                let message = format!("`{}` has no name", variable.path);
                found.push(variable.diagnostic(&MISSING_FIELD, message));
            }
        }
        if let Some(source) = variable.get("valueFrom") {
            choice(&source, VALUE_SOURCES, found);
        }
    }
}
