//! Directories of manifests as Higress' console writes them: AI routes, each
//! with a host of its own and its ConfigMap, consumers with keys, one LLM
//! provider.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use crate::certificate::Certificate;
use crate::request::{DOMAIN, HOSTS, host, key};

/// The most consumers that every route admits; beyond it, each admits two.
const ADMITTED_BY_ALL_MAX: usize = 1000;

/// What a directory shall hold.
pub struct Scenario<'a> {
    /// How many routes there are.
    pub routes: usize,
    /// How many consumers there are.
    pub consumers: usize,
    /// The upstream of the one provider.
    pub upstream: SocketAddr,
    /// The certificate of all hosts, if they have HTTPS.
    pub certificate: Option<&'a Certificate>,
}

impl Scenario<'_> {
    /// Writes the directory.
    pub fn write(&self, directory: &Path) -> anyhow::Result<()> {
        for kind in ["configmaps", "ingresses", "mcpbridges", "secrets", "wasmplugins"] {
            fs::create_dir_all(directory.join(kind))?;
        }
        let write = |path: &str, text: String| fs::write(directory.join(path), text);
        write("mcpbridges/default.yaml", mcp_bridge(&[("embedded", self.upstream)]))?;
        write("wasmplugins/ai-proxy.internal.yaml", ai_proxy(&[("embedded", self.upstream)]))?;
        write("wasmplugins/key-auth.internal.yaml", self.key_auth())?;
        if let Some(certificate) = self.certificate {
            write("secrets/bench.yaml", secret(certificate))?;
        }
        for route in 0..self.routes {
            let text = ingress(route, &host(route), self.certificate.is_some(), "embedded");
            write(&format!("ingresses/ai-route-r{route}.internal.yaml"), text)?;
            let text = config_map(route, &self.admitted(route));
            write(&format!("configmaps/ai-route-r{route}.yaml"), text)?;
        }
        Ok(())
    }

    /// The names of the consumers that a route admits.
    fn admitted(&self, route: usize) -> Vec<String> {
        let name = |consumer: usize| format!("consumer-{}", consumer % self.consumers);
        if self.consumers <= ADMITTED_BY_ALL_MAX {
            (0..self.consumers).map(name).collect()
        } else {
            // Those whose requests come to this host.
            vec![name(route), name(route + HOSTS)]
        }
    }

    fn key_auth(&self) -> String {
        let consumers =
            (0..self.consumers).map(|number| (format!("consumer-{number}"), key(number)));
        let rules = (0..self.routes).map(|route| (route, self.admitted(route)));
        key_auth(consumers, rules)
    }
}

/// The header of a WasmPlugin that belongs to Higress.
fn wasm_plugin(name: &str, phase: &str, priority: u32) -> String {
    format!(
        "apiVersion: extensions.higress.io/v1alpha1\nkind: WasmPlugin\nmetadata:\n  \
         name: {name}.internal\n  namespace: higress-system\n  labels:\n    \
         higress.io/resource-definer: higress\n    higress.io/wasm-plugin-built-in: \"true\"\n    \
         higress.io/wasm-plugin-name: {name}\nspec:\n  \
         url: oci://registry.example.com/plugins/{name}:2.0.0\n  phase: {phase}\n  \
         priority: {priority}\n  failStrategy: FAIL_CLOSE\n  defaultConfig:\n"
    )
}

/// The key-auth plugin: consumers with their keys, and whom each route admits.
pub fn key_auth(
    consumers: impl Iterator<Item = (String, String)>,
    rules: impl Iterator<Item = (usize, Vec<String>)>,
) -> String {
    let mut text = wasm_plugin("key-auth", "AUTHN", 310);
    text += "    global_auth: false\n    keys: [x-higress-dummy-key]\n    consumers:\n";
    for (name, key) in consumers {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "    - name: {name}\n      keys: [Authorization]\n      in_header: true\n      \
             in_query: false\n      credentials:\n      - Bearer {key}\n"
        );
    }
    text += "  matchRules:\n";
    for (route, admitted) in rules {
        let _ = write!(
            text,
            "  - ingress:\n    - ai-route-r{route}.internal\n    config:\n      \
             allow: [{}]\n    configDisable: false\n",
            admitted.join(", ")
        );
    }
    text
}

/// The ai-proxy plugin: providers of the given names, each with its upstream.
pub fn ai_proxy(providers: &[(&str, SocketAddr)]) -> String {
    let mut text = wasm_plugin("ai-proxy", "UNSPECIFIED_PHASE", 100);
    text += "    providers:\n";
    for (name, upstream) in providers {
        let _ = write!(
            text,
            "    - id: {name}\n      type: openai\n      protocol: openai\n      \
             openaiCustomUrl: http://{upstream}/v1\n      apiTokens: [{name}-token]\n      \
             modelMapping: {{\"gpt-*\": bench}}\n"
        );
    }
    text += "  matchRules:\n";
    for (name, _) in providers {
        let _ = write!(
            text,
            "  - service:\n    - llm-{name}.internal.static\n    config:\n      \
             activeProviderId: {name}\n    configDisable: false\n"
        );
    }
    text
}

/// The McpBridge with a registry for each provider.
pub fn mcp_bridge(providers: &[(&str, SocketAddr)]) -> String {
    let mut text = "apiVersion: networking.higress.io/v1\nkind: McpBridge\nmetadata:\n  \
        name: default\n  namespace: higress-system\nspec:\n  registries:\n"
        .to_owned();
    for (name, upstream) in providers {
        let _ = write!(
            text,
            "  - name: llm-{name}.internal\n    type: static\n    domain: {upstream}\n    \
             port: 80\n    protocol: http\n"
        );
    }
    text
}

/// The Ingress of an AI route to a provider.
pub fn ingress(route: usize, host: &str, has_https: bool, provider: &str) -> String {
    let tls = match has_https {
        true => format!("  tls:\n  - hosts: [{host}]\n    secretName: bench\n"),
        false => String::new(),
    };
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  \
         name: ai-route-r{route}.internal\n  namespace: higress-system\n  labels:\n    \
         higress.io/domain_{host}: \"true\"\n    higress.io/internal: \"true\"\n    \
         higress.io/resource-definer: higress\n  annotations:\n    \
         higress.io/destination: llm-{provider}.internal.static:80\nspec:\n  \
         ingressClassName: higress\n{tls}  rules:\n  - host: {host}\n    http:\n      paths:\n      \
         - path: /v1\n        pathType: Prefix\n        backend:\n          resource:\n            \
         apiGroup: networking.higress.io\n            kind: McpBridge\n            \
         name: default\n"
    )
}

/// The ConfigMap of an AI route, which the console shows.
fn config_map(route: usize, admitted: &[String]) -> String {
    let data = serde_json::json!({
        "name": format!("r{route}"),
        "domains": [host(route)],
        "pathPredicate": {"matchType": "PRE", "matchValue": "/v1", "caseSensitive": true},
        "upstreams": [{"provider": "embedded", "weight": 100, "modelMapping": {}}],
        "authConfig": {"enabled": true, "allowedConsumers": admitted},
        "fallbackConfig": {"enabled": false},
    });
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ai-route-r{route}\n  \
         namespace: higress-system\n  labels:\n    higress.io/config-map-type: ai-route\n    \
         higress.io/resource-definer: higress\ndata:\n  data: '{data}'\n"
    )
}

/// The Secret with the certificate of all hosts.
pub fn secret(certificate: &Certificate) -> String {
    let indented = |pem: &str| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    format!(
        "# For hosts below {DOMAIN}.\napiVersion: v1\nkind: Secret\nmetadata:\n  name: bench\n  \
         namespace: higress-system\ntype: kubernetes.io/tls\nstringData:\n  tls.crt: |\n{}  \
         tls.key: |\n{}",
        indented(&certificate.certificate),
        indented(&certificate.key)
    )
}
