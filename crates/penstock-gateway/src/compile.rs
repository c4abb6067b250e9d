//! Resources in, a snapshot and findings out. Pure: no file, no clock, no
//! socket; `serve`, `lint`, `plan` and `explain` share it.
//!
//! What cannot be used is set aside as small as it can be and stays closed
//! rather than open. `previous` is only there for last good versions.

mod backends;
mod canary;
mod certificates;
mod default_backend;
mod domains;
mod downstream_tls;
mod fallback;
mod kubernetes;
mod last_good;
mod plugins;
mod policy;
mod routes;
mod services;
mod sources;
mod tls_secrets;
mod tuning;
mod upstream_tls;

use std::sync::Arc;

use penstock_llm::provider::Fetch;
use penstock_manifest::diagnostic::{OTHER_NAMESPACE, ROUTE_CLOSED};
use penstock_manifest::kind::higress_config::{HigressConfig, is_higress_config};
use penstock_manifest::kind::higress_https::{HigressHttps, is_higress_https};
use penstock_manifest::kind::ingress::Ingress;
use penstock_manifest::kind::mcp_bridge::McpBridge;
use penstock_manifest::kind::wasm_plugin::WasmPlugin;
use penstock_manifest::resource::SYSTEM_NAMESPACE;
use penstock_manifest::template::{Scrubber, Secrets};
use penstock_manifest::{Diagnostic, Listing, Position, Resource};

use self::kubernetes::Kubernetes;
use crate::snapshot::Snapshot;

/// What a compilation may depend on besides resources.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only Ingresses of this class are served; `None` serves all.
    pub ingress_class: Option<String>,
}

/// The result of a compilation.
pub struct Compiled {
    /// The configuration.
    pub snapshot: Snapshot,
    /// The findings, in no particular order.
    pub diagnostics: Vec<Diagnostic>,
    /// The resources that are in force: those of the listing, with last good
    /// versions in place of what could not be used.
    pub effective: Vec<Arc<Resource>>,
}

/// Why everything is closed.
const UNREADABLE: &str = "a document that may hold an authentication cannot be read";
/// The finding about such a document.
const CLOSES_ALL: &str =
    "this may hold an authentication and cannot be used: every route answers 503";

/// Compiles a listing. `previous` are the resources in force before.
pub fn compile(listing: &Listing, previous: &[Arc<Resource>], options: &Options) -> Compiled {
    let mut diagnostics = Vec::new();
    let secrets = Secrets::of(&listing.resources);
    let mut scrubber = Scrubber::default();
    let admitted =
        last_good::admit(&listing.resources, previous, (&secrets, &mut scrubber), &mut diagnostics);
    // What is in force and kept holds references, never their values.
    let resources: Vec<Arc<Resource>> = admitted
        .resources
        .iter()
        .map(|resource| secrets.fill(resource, &mut scrubber).map_or(resource.clone(), Arc::new))
        .collect();
    let (tuning, gzip) = tuning::compile(&resources, &mut diagnostics);
    let revision = listing.revision.clone();
    let mut snapshot = Snapshot { revision, tuning, gzip, ..Snapshot::default() };
    let unreadable = listing.broken.iter().filter(|broken| broken.may_be_wasm_plugin);
    let mut closing: Vec<Diagnostic> = unreadable
        .map(|broken| {
            let begin = Position::new(1, 1);
            Diagnostic::in_file(&ROUTE_CLOSED, broken.file.clone(), begin, CLOSES_ALL)
        })
        .chain(admitted.lost_plugins)
        .collect();
    if !closing.is_empty() {
        snapshot.closed = Some(UNREADABLE);
        diagnostics.append(&mut closing);
    }
    report_other_namespaces(&admitted.resources, &mut diagnostics);
    let kubernetes = Kubernetes::of(&resources, &listing.broken);
    let bridges = of_kind(&resources, "McpBridge");
    let services = services::compile(&bridges, kubernetes, &mut diagnostics);
    let plugins = plugins::compile(&of_kind(&resources, "WasmPlugin"), &mut diagnostics);
    snapshot.without_route = plugins.chain(None, "*");
    snapshot.has_authentication = plugins.has_authentication;
    snapshot.guards_at = plugins.guards_at;
    routes::compile(
        &resources,
        &routes::Inputs { services: &services, plugins: &plugins, options },
        &mut snapshot,
        &mut diagnostics,
    );
    // Services that only a plugin leads to are there, too.
    for file in snapshot.instances().flat_map(|instance| instance.plugin.files()) {
        let Fetch::ContextFile { service, port, .. } = file;
        services.of_host(service, *port);
    }
    fallback::compile(&of_kind(&resources, "EnvoyFilter"), &mut snapshot, &mut diagnostics);
    snapshot.services = services.into_services(&mut diagnostics);
    for identity in snapshot.services.iter().filter_map(|service| service.identity.as_ref()) {
        let (shown, authority) = identity.parts();
        snapshot.certificates.watch(shown, authority);
    }
    scrubber.scrub(&mut diagnostics);
    Compiled { snapshot, diagnostics, effective: admitted.resources }
}

/// The resources of a kind that Higress reads from its own namespace.
fn of_kind<'a>(resources: &'a [Arc<Resource>], kind: &str) -> Vec<&'a Arc<Resource>> {
    resources
        .iter()
        .filter(|r| &*r.key.kind == kind && &*r.key.namespace == SYSTEM_NAMESPACE)
        .collect()
}

/// Says which resources are left out by [`of_kind`].
fn report_other_namespaces(resources: &[Arc<Resource>], diagnostics: &mut Vec<Diagnostic>) {
    let is_left_out = |resource: &&Arc<Resource>| {
        matches!(&*resource.key.kind, "EnvoyFilter" | "McpBridge" | "WasmPlugin")
            && &*resource.key.namespace != SYSTEM_NAMESPACE
    };
    diagnostics.extend(resources.iter().filter(is_left_out).map(|resource| {
        let message = format!("{} is not read outside {SYSTEM_NAMESPACE}", resource.key);
        Diagnostic::at(&OTHER_NAMESPACE, &resource.source, resource.name_at(), message)
    }));
}

/// Whether a resource can be used as a whole: a Secret, for what an Ingress
/// needs it for.
fn is_usable(
    resource: &Resource,
    uses: tls_secrets::Uses,
    diagnostics: &mut Vec<Diagnostic>,
) -> bool {
    match &*resource.key.kind {
        "Secret" => tls_secrets::is_usable(resource, uses, diagnostics),
        "ConfigMap" if is_higress_config(resource) => {
            HigressConfig::parse(resource, diagnostics).is_some()
        }
        "ConfigMap" if is_higress_https(resource) => {
            HigressHttps::parse(resource, diagnostics).is_some()
        }
        "Ingress" => Ingress::parse(resource, diagnostics).is_some(),
        "McpBridge" => McpBridge::parse(resource, diagnostics).is_some(),
        "WasmPlugin" => WasmPlugin::parse(resource, diagnostics).is_some(),
        "EndpointSlice" | "Endpoints" | "Service" => {
            let is_usable = kubernetes::has_shape(resource);
            if !is_usable {
                kubernetes::report_shape(resource, diagnostics);
            }
            is_usable
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests;
