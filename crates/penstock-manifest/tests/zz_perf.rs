use penstock_manifest::lint::{self, Options};
use penstock_manifest::listing::assemble;
use penstock_manifest::read::{FilePath, read_file};
use std::time::Instant;
#[test]
fn perf() {
    let n = 5000;
    let c = 10000;
    for bad in [false, true] {
        let mut t = String::new();
        t += "apiVersion: networking.higress.io/v1\nkind: McpBridge\nmetadata:\n  name: default\nspec:\n  registries:\n";
        for i in 0..n {
            t += &format!(
                "  - {{name: llm-p{i}.internal, type: dns, domain: p{i}.example.net, port: 443, protocol: https}}\n"
            );
        }
        t += "---\napiVersion: extensions.higress.io/v1alpha1\nkind: WasmPlugin\nmetadata:\n  name: ai-proxy.internal\nspec:\n  url: oci://x/ai-proxy:1\n  defaultConfig:\n    providers:\n";
        for i in 0..n {
            t += &format!(
                "    - {{id: p{i}, type: openai, openaiCustomUrl: \"https://p{i}.example.net/v1\"}}\n"
            );
        }
        t += "  matchRules:\n";
        for i in 0..n {
            t += &format!(
                "  - {{service: [llm-p{i}.internal.dns], config: {{activeProviderId: p{i}}}}}\n"
            );
        }
        t += "---\napiVersion: extensions.higress.io/v1alpha1\nkind: WasmPlugin\nmetadata:\n  name: key-auth.internal\nspec:\n  url: oci://x/key-auth:1\n  phase: AUTHN\n  defaultConfig:\n    global_auth: false\n    consumers:\n";
        for i in 0..c {
            t += &format!("    - {{name: c{i}, keys: [Authorization], credential: k{i}}}\n");
        }
        t += "  matchRules:\n";
        for i in 0..n {
            t += &format!(
                "  - {{ingress: [ai-route-r{i}.internal], config: {{allow: [c{i}, c{}]}}}}\n",
                i + if bad { 1000000 } else { n }
            );
        }
        for i in 0..n {
            let k = if bad { i + 1000000 } else { i };
            t += &format!(
                "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: ai-route-r{i}.internal\n  labels: {{higress.io/resource-definer: higress, higress.io/domain_d{k}.example.com: \"true\"}}\n  annotations:\n    higress.io/destination: llm-p{k}.internal.dns:443\nspec:\n  rules:\n  - host: d{k}.example.com\n    http: {{paths: [{{path: /, pathType: Prefix, backend: {{resource: {{apiGroup: networking.higress.io, kind: McpBridge, name: default}}}}}}]}}\n"
            );
            t += &format!(
                "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: domain-d{i}.example.com\n  labels: {{higress.io/resource-definer: higress}}\ndata:\n  domain: d{i}.example.com\n  enableHttps: \"off\"\n"
            );
            t += &format!(
                "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ai-route-r{k}\n  labels: {{higress.io/resource-definer: higress, higress.io/config-map-type: ai-route}}\ndata:\n  data: '{{\"name\":\"r{k}\",\"domains\":[\"d{k}.example.com\"],\"upstreams\":[{{\"provider\":\"p{k}\",\"weight\":100}}],\"authConfig\":{{\"enabled\":true,\"allowedConsumers\":[\"c{i}\"]}}}}'\n"
            );
        }
        let s = Instant::now();
        let f = read_file(&FilePath::standalone("x.yaml"), &t);
        let l = assemble(&[f]);
        eprintln!("read {} resources {:?}", l.resources.len(), s.elapsed());
        let s = Instant::now();
        let d = lint::lint_listing(&l, &Options { console: true });
        eprintln!("lint {:?} {} findings", s.elapsed(), d.len());
    }
}
