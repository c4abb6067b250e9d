//! The kinds of resources: one row per kind in [`KINDS`], one file per kind
//! whose content penstock acts on.
//!
//! A kind's plural is the name of its folder in a file store. A document of
//! a kind that has no row is ignored with a finding.

pub mod config_map;
pub mod endpoint_slice;
pub mod endpoints;
pub mod envoy_filter;
pub mod higress_config;
pub mod higress_https;
pub mod ingress;
pub mod mcp_bridge;
pub mod secret;
pub mod service;
pub mod wasm_plugin;

/// One kind of resource.
#[derive(Debug, PartialEq, Eq)]
pub struct KindRow {
    /// The kind, as in `kind:`.
    pub kind: &'static str,
    /// The plural, which names the folder.
    pub plural: &'static str,
    /// The apiVersions it may have, the preferred one first.
    pub api_versions: &'static [&'static str],
    /// Whether penstock acts on it; others are kept and ignored.
    pub is_acted_on: bool,
}

impl KindRow {
    /// The apiVersion to write.
    pub fn api_version(&self) -> &'static str {
        self.api_versions.first().copied().unwrap_or_default()
    }

    /// Whether it belongs to the nameless core group of Kubernetes.
    pub fn is_core(&self) -> bool {
        !self.api_version().contains('/')
    }
}

/// The row of a kind.
pub fn by_kind(kind: &str) -> Option<&'static KindRow> {
    KINDS.iter().find(|row| row.kind == kind)
}

/// The row of the kind that a folder holds.
pub fn by_plural(plural: &str) -> Option<&'static KindRow> {
    KINDS.iter().find(|row| row.plural == plural)
}

const CORE: &[&str] = &["v1"];
const ADMISSION: &[&str] = &["admissionregistration.k8s.io/v1"];
const NETWORKING: &[&str] = &["networking.k8s.io/v1"];
const GATEWAY: &[&str] = &["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"];
const GATEWAY_WITH_ALPHA: &[&str] = &[
    "gateway.networking.k8s.io/v1",
    "gateway.networking.k8s.io/v1beta1",
    "gateway.networking.k8s.io/v1alpha2",
];

const fn acted_on(
    kind: &'static str,
    plural: &'static str,
    api_versions: &'static [&'static str],
) -> KindRow {
    KindRow { kind, plural, api_versions, is_acted_on: true }
}

const fn ignored(
    kind: &'static str,
    plural: &'static str,
    api_versions: &'static [&'static str],
) -> KindRow {
    KindRow { kind, plural, api_versions, is_acted_on: false }
}

/// Every kind that a file store of Higress keeps, sorted by kind
/// (Higress standalone: src/apiserver/pkg/apiserver/apiserver.go).
pub const KINDS: &[KindRow] = &[
    acted_on("ConfigMap", "configmaps", CORE),
    acted_on("EndpointSlice", "endpointslices", &["discovery.k8s.io/v1"]),
    acted_on("Endpoints", "endpoints", CORE),
    acted_on("EnvoyFilter", "envoyfilters", &["networking.istio.io/v1alpha3"]),
    ignored("Gateway", "gateways", GATEWAY_WITH_ALPHA),
    ignored("GatewayClass", "gatewayclasses", GATEWAY),
    ignored("HTTPRoute", "httproutes", GATEWAY_WITH_ALPHA),
    ignored("Http2Rpc", "http2rpcs", &["networking.higress.io/v1"]),
    acted_on("Ingress", "ingresses", NETWORKING),
    acted_on("IngressClass", "ingressclasses", NETWORKING),
    acted_on("McpBridge", "mcpbridges", &["networking.higress.io/v1"]),
    ignored("MutatingWebhookConfiguration", "mutatingwebhookconfigurations", ADMISSION),
    ignored("Namespace", "namespaces", CORE),
    ignored("Node", "nodes", CORE),
    ignored("Pod", "pods", CORE),
    ignored("ReferenceGrant", "referencegrants", GATEWAY_WITH_ALPHA),
    acted_on("Secret", "secrets", CORE),
    acted_on("Service", "services", CORE),
    ignored("ValidatingWebhookConfiguration", "validatingwebhookconfigurations", ADMISSION),
    acted_on("WasmPlugin", "wasmplugins", &["extensions.higress.io/v1alpha1"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_unambiguous() {
        assert!(KINDS.is_sorted_by(|a, b| a.kind < b.kind));
        for row in KINDS {
            assert_eq!(by_kind(row.kind), Some(row));
            assert_eq!(by_plural(row.plural), Some(row));
            assert!(!row.api_versions.is_empty());
        }
    }
}
