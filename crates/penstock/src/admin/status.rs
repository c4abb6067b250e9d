//! What `/status` and `/metrics` say.

use std::time::UNIX_EPOCH;

use penstock_gateway::access_log::timestamp;
use penstock_gateway::balance::EndpointSet;
use penstock_gateway::metrics::{header, line, render_endpoints, render_tokens};
use penstock_gateway::token::Keyring;
use penstock_manifest::{Diagnostic, Severity};
use serde_json::{Value, json};

use super::Admin;

/// The body of `/status`.
pub fn json(admin: &Admin) -> String {
    let report = admin.reloader.report();
    let live = admin.gateway.live();
    let services: Vec<Value> = live
        .iter()
        .flat_map(|live| live.services())
        .map(|state| {
            let set = state.endpoints();
            json!({
                "host": state.service.host.as_ref(),
                "port": state.service.port,
                "tls": state.service.protocol.is_tls(),
                "resolved": state.is_resolved(),
                "endpoints": addresses(&set),
                "health": health(&set),
            })
        })
        .collect();
    let keyrings = live.iter().flat_map(|live| live.keyrings());
    let providers: Vec<Value> = keyrings.map(|keyring| provider(keyring)).collect();
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ready": admin.unready_reason().is_none(),
        "reason": admin.unready_reason(),
        "configuration": {
            "revision": report.revision.to_string(),
            "seen_revision": report.seen.to_string(),
            "ok": report.is_ok,
            "error": report.error,
            "at": report.at.map(timestamp),
            "took_ms": u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
            "reloads": report.count,
            "closed": live.as_ref().and_then(|live| live.snapshot.closed),
            "routes": live.as_ref().map_or(0, |live| live.snapshot.routes.len()),
            "diagnostics": report.diagnostics.iter().map(Diagnostic::to_json).collect::<Vec<_>>(),
        },
        "services": services,
        "providers": providers,
        "buffered_bytes": admin.gateway.state.buffered_bytes(),
    });
    format!("{body:#}\n")
}

fn addresses(set: &EndpointSet) -> Vec<String> {
    set.addresses().map(|address| address.to_string()).collect()
}

/// How the endpoints stand, in their order.
fn health(set: &EndpointSet) -> Vec<Value> {
    set.refresh();
    let endpoints = set.endpoints.iter().map(|endpoint| {
        json!({
            "endpoint": endpoint.address.to_string(),
            "standing": endpoint.standing().as_str(),
            "reason": endpoint.reason(),
            "requests": endpoint.requests(),
            "connections": endpoint.connections(),
            "ejections": endpoint.ejections(),
        })
    });
    endpoints.collect()
}

/// How the tokens of a provider stand.
fn provider(keyring: &Keyring) -> Value {
    let tokens = keyring.standings().into_iter().map(|token| {
        json!({
            "token": token.label.as_ref(),
            "fit": token.is_fit,
            "failures": token.failures,
            "aside_since": token.aside_since.map(timestamp),
            "waits_until": token.waits_until.map(timestamp),
            "last_check": token.last_check.map(|(at, has_passed)| json!({
                "at": timestamp(at),
                "passed": has_passed,
            })),
        })
    });
    json!({
        "id": keyring.provider().id(),
        "type": keyring.provider().type_name(),
        "tokens": tokens.collect::<Vec<_>>(),
    })
}

/// The body of `/metrics`.
pub fn metrics(admin: &Admin) -> String {
    let mut text = admin.gateway.state.metrics.render();
    if let Some(live) = admin.gateway.live() {
        render_endpoints(live.services(), &mut text);
        render_tokens(live.keyrings(), &mut text);
    }
    let report = admin.reloader.report();
    let mut sample = |name: &str, kind: &str, help: &str, value: f64| {
        header(&mut text, name, kind, help);
        line(&mut text, name, &[], value);
    };
    let at = report.at.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    sample(
        "penstock_config_last_reload_success",
        "gauge",
        "Whether the last reload succeeded.",
        f64::from(u8::from(report.is_ok)),
    );
    sample(
        "penstock_config_last_reload_timestamp_seconds",
        "gauge",
        "When the last reload ended.",
        at.as_secs_f64(),
    );
    sample(
        "penstock_config_last_reload_duration_seconds",
        "gauge",
        "How long the last reload took.",
        report.took.as_secs_f64(),
    );
    sample("penstock_config_reloads_total", "counter", "Reloads.", report.count as f64);
    let routes = admin.gateway.live().map_or(0, |live| live.snapshot.routes.len());
    sample("penstock_config_routes", "gauge", "Routes in force.", routes as f64);
    header(&mut text, "penstock_config_diagnostics", "gauge", "Findings about the configuration.");
    for severity in [Severity::Error, Severity::Warning, Severity::Info] {
        let count = report.diagnostics.iter().filter(|d| d.severity == severity).count();
        line(&mut text, "penstock_config_diagnostics", &[("severity", severity.as_str())], count);
    }
    certificates(admin, &mut text);
    header(&mut text, "penstock_config_info", "gauge", "The revision in force.");
    line(&mut text, "penstock_config_info", &[("revision", &report.revision.to_string())], 1);
    if let Some(log) = &admin.gateway.state.access_log {
        let dropped = log.dropped.load(std::sync::atomic::Ordering::Relaxed);
        header(
            &mut text,
            "penstock_access_log_dropped_total",
            "counter",
            "Access log lines that were dropped.",
        );
        line(&mut text, "penstock_access_log_dropped_total", &[], dropped);
    }
    text
}

fn certificates(admin: &Admin, text: &mut String) {
    let name = "penstock_certificate_expiry_timestamp_seconds";
    header(text, name, "gauge", "When the certificate of a host expires.");
    let live = admin.gateway.live();
    let hosts = live.iter().flat_map(|live| live.snapshot.certificates.iter());
    let mut expiries: Vec<(String, u64)> = hosts
        .filter_map(|(host, certificate)| Some((host, certificate.validity?.not_after)))
        .collect();
    expiries.sort();
    // Of several for one host, the first to expire counts.
    expiries.dedup_by(|later, first| later.0 == first.0);
    for (host, expiry) in expiries {
        line(text, name, &[("host", &host)], expiry);
    }
    let name = "penstock_authority_expiry_timestamp_seconds";
    let help = "When the first certificate or revocation list of an authority expires.";
    header(text, name, "gauge", help);
    let authorities = live.iter().flat_map(|live| live.snapshot.certificates.authorities());
    for (secret, expiry) in authorities.filter_map(|(name, one)| Some((name, one.expiry()?))) {
        line(text, name, &[("secret", secret.strip_prefix("Secret ").unwrap_or(secret))], expiry);
    }
}
