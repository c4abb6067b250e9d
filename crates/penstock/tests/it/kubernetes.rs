//! Services of Kubernetes as backends, with manifests as a cluster prints
//! them, and default backends.

use std::net::SocketAddr;

use crate::support::*;

/// A Service with a port `web`, as `kubectl get service -o yaml` shows it.
pub(crate) fn service(name: &str, more: &str) -> (String, String) {
    let text = format!(
        "apiVersion: v1
kind: Service
metadata:
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: |
      {{\"apiVersion\":\"v1\",\"kind\":\"Service\"}}
  creationTimestamp: \"2024-05-01T10:00:00Z\"
  labels: {{app: {name}}}
  managedFields: []
  name: {name}
  namespace: quay
  resourceVersion: \"4711\"
  uid: 11111111-2222-3333-4444-555555555555
spec:
  clusterIPs: [10.96.0.17]
  internalTrafficPolicy: Cluster
  ipFamilies: [IPv4]
  ipFamilyPolicy: SingleStack
  ports:
  - {{name: web, nodePort: 30080, port: 80, protocol: TCP, targetPort: http}}
  selector: {{app: {name}}}
  sessionAffinity: None
{more}
status:
  loadBalancer: {{}}
"
    );
    (format!("services/{name}.yaml"), text)
}

/// A slice with one endpoint for each address, and whether it is ready.
pub(crate) fn slice(
    name: &str,
    service: &str,
    endpoints: &[(SocketAddr, bool)],
) -> (String, String) {
    let port = endpoints.first().map_or(80, |(address, _)| address.port());
    let listed: Vec<String> = endpoints
        .iter()
        .map(|(address, ready)| {
            format!(
                "- addresses: [{}]\n  conditions: {{ready: {ready}, serving: {ready}, terminating: false}}\n  nodeName: node-1\n  targetRef: {{kind: Pod, name: {service}-1, namespace: quay}}\n",
                address.ip()
            )
        })
        .collect();
    let endpoints = match listed.is_empty() {
        true => "endpoints: null\n".to_owned(),
        false => format!("endpoints:\n{}", listed.concat()),
    };
    let text = format!(
        "addressType: IPv4\napiVersion: discovery.k8s.io/v1\n{endpoints}kind: EndpointSlice\nmetadata:\n  generateName: {service}-\n  labels:\n    endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io\n    kubernetes.io/service-name: {service}\n  name: {name}\n  namespace: quay\n  ownerReferences: [{{apiVersion: v1, kind: Service, name: {service}, controller: true}}]\nports:\n- {{name: web, port: {port}, protocol: TCP}}\n"
    );
    (format!("endpointslices/{name}.yaml"), text)
}

/// An Ingress in the Services' namespace; rules and default backend in flow
/// style.
pub(crate) fn ingress(name: &str, spec: &str) -> (String, String) {
    let text = format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: {name}, namespace: quay}}\nspec: {{{spec}}}\n"
    );
    (format!("ingresses/{name}.yaml"), text)
}

/// A rule with one path, to a port of a Service.
pub(crate) fn rule(host: &str, path: &str, service: &str, port: &str) -> String {
    format!(
        "{{host: {host}, http: {{paths: [{{path: {path}, pathType: Prefix, backend: {{service: {{name: {service}, port: {{{port}}}}}}}}}]}}}}"
    )
}

/// An upstream that tells its name.
fn named(name: &str) -> Upstream {
    Upstream::start(Scenario::raw(&format!("Content-Length: {}", name.len()), name))
}

fn codes(gateway: &Gateway) -> Vec<String> {
    let mut codes: Vec<String> = gateway
        .findings()
        .iter()
        .map(|finding| finding["code"].as_str().unwrap().to_owned())
        .collect();
    codes.sort();
    codes
}

#[test]
fn requests_go_to_the_endpoints_that_are_ready() {
    let upstream = named("ready");
    let port = upstream.address.port();
    let endpoints = [(upstream.address, true), (dead_address(port), false)];
    let rules = [
        rule("number.test", "/", "crane", "number: 80"),
        rule("name.test", "/", "crane", "name: web"),
    ];
    let destination = Ingress::new("annotated")
        .at("annotated.test", "Prefix", "/")
        .to("crane.quay.svc.cluster.local:80");
    let directory = Directory::new()
        .holding([service("crane", "  type: NodePort"), slice("crane-x1", "crane", &endpoints)])
        .holding([ingress("crane", &format!("rules: [{}]", rules.join(", ")))])
        .holding([destination.file()]);
    let gateway = Serve::new(directory.path()).start();
    for host in ["number.test", "name.test", "annotated.test"] {
        for _ in 0..2 {
            assert_eq!(gateway.send(&Request::get(host, "/")).text(), "ready", "{host}");
        }
    }
    assert_eq!(codes(&gateway), Vec::<String>::new());
    let status = gateway.status();
    assert_eq!(status["services"].as_array().unwrap().len(), 1);
    let endpoint = upstream.address.to_string();
    assert_eq!(status["services"][0]["endpoints"], serde_json::json!([endpoint]));
}

#[test]
fn endpoints_that_vanish_are_503_until_there_are_others() {
    let upstreams = [named("first"), named("second")];
    let crane = |endpoints: &[(SocketAddr, bool)]| slice("crane-x1", "crane", endpoints);
    let (file, first) = crane(&[(upstreams[0].address, true)]);
    let directory = Directory::new()
        .holding([service("crane", "  clusterIP: 127.0.0.9"), (file.clone(), first)])
        .holding([ingress(
            "crane",
            &format!("rules: [{}]", rule("a.test", "/", "crane", "number: 80")),
        )]);
    let gateway = Serve::new(directory.path()).start();
    let ask = || gateway.send(&Request::get("a.test", "/"));
    assert_eq!(ask().text(), "first");
    gateway.reload(|| directory.write(&file, crane(&[]).1));
    let answer = ask();
    assert_eq!((answer.status(), answer.text().as_str()), (503, "no healthy upstream"));
    assert_eq!(codes(&gateway), ["PS412"]);
    gateway.reload(|| directory.write(&file, crane(&[(upstreams[1].address, true)]).1));
    assert_eq!(ask().text(), "second");
    // A slice that cannot be read keeps what it had.
    gateway.reload(|| directory.write(&file, crane(&[]).1.replace("null", "oops")));
    assert_eq!(ask().text(), "second");
}

#[test]
fn endpoints_of_a_service_without_selector_and_an_external_name() {
    let upstream = named("outside");
    let (ip, port) = (upstream.address.ip(), upstream.address.port());
    let endpoints = format!(
        "apiVersion: v1\nkind: Endpoints\nmetadata: {{name: crane, namespace: quay}}\nsubsets:\n- addresses: [{{ip: {ip}}}]\n  ports: [{{name: web, port: {port}, protocol: TCP}}]\n"
    );
    let external = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: tug, namespace: quay}}\nspec: {{type: ExternalName, externalName: {ip}, ports: [{{port: {port}}}]}}\n"
    );
    let rules = [
        rule("crane.test", "/", "crane", "name: web"),
        rule("tug.test", "/", "tug", &format!("number: {port}")),
        rule("ferry.test", "/", "ferry", &format!("number: {port}")),
    ];
    let other = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: ferry, namespace: quay}}\nspec: {{type: ExternalName, externalName: crane.quay.svc.cluster.local, ports: [{{port: {port}}}]}}\n"
    );
    let directory = Directory::new()
        .holding([service("crane", "  clusterIP: None")])
        .holding([("endpoints/crane.yaml", endpoints), ("services/tug.yaml", external)])
        .holding([("services/ferry.yaml", other)])
        .holding([ingress("crane", &format!("rules: [{}]", rules.join(", ")))]);
    let gateway = Serve::new(directory.path()).start();
    for host in ["crane.test", "tug.test", "ferry.test"] {
        assert_eq!(gateway.send(&Request::get(host, "/")).text(), "outside", "{host}");
    }
}

#[test]
fn a_backend_that_leads_nowhere_costs_its_own_path() {
    let upstream = named("there");
    let rules = [
        rule("a.test", "/", "crane", "number: 80"),
        rule("a.test", "/port", "crane", "number: 81"),
        rule("a.test", "/service", "barge", "number: 80"),
        rule("a.test", "/name", "crane", "name: wbe"),
    ];
    let directory = Directory::new()
        .holding([service("crane", ""), slice("crane-x1", "crane", &[(upstream.address, true)])])
        .holding([ingress("crane", &format!("rules: [{}]", rules.join(", ")))]);
    let gateway = Serve::new(directory.path()).start();
    let check = |path: &str, expected: u16| {
        assert_eq!(gateway.send(&Request::get("a.test", path)).status(), expected, "{path}");
    };
    check("/", 200);
    check("/port", 503);
    check("/service", 503);
    // Dropped, so that the request takes the route of `/`.
    check("/name", 200);
    assert_eq!(codes(&gateway), ["PS303", "PS401", "PS402", "PS402"]);
}

#[test]
fn a_default_backend_serves_what_no_path_does() {
    let upstreams = [named("path"), named("default")];
    let default = "defaultBackend: {service: {name: barge, port: {number: 80}}}";
    let directory = Directory::new()
        .holding([
            service("crane", ""),
            slice("crane-x1", "crane", &[(upstreams[0].address, true)]),
            service("barge", ""),
            slice("barge-x1", "barge", &[(upstreams[1].address, true)]),
        ])
        .holding([ingress(
            "both",
            &format!("{default}, rules: [{}]", rule("a.test", "/v1", "crane", "number: 80")),
        )]);
    let gateway = Serve::new(directory.path()).start();
    let check = |host: &str, path: &str, expected: &str, route: &str| {
        let answer = gateway.send(&Request::get(host, path));
        assert_eq!(answer.text(), expected, "{host} {path}");
        assert_eq!(gateway.access_log.of_request(&answer)["route"], route);
    };
    check("a.test", "/v1", "path", "quay/both");
    check("a.test", "/v2", "default", "quay/both-default");
    check("elsewhere.test", "/", "default", "quay/both-default");
}

#[test]
fn an_ingress_that_is_only_a_default_backend_is_served() {
    let upstream = named("default");
    let directory = Directory::new()
        .holding([service("crane", ""), slice("crane-x1", "crane", &[(upstream.address, true)])])
        .holding([ingress("only", "defaultBackend: {service: {name: crane, port: {name: web}}}")]);
    let gateway = Serve::new(directory.path()).start();
    assert_eq!(gateway.send(&Request::get("any.test", "/some/path")).text(), "default");
}

#[test]
fn an_ingress_class_counts_by_its_name() {
    let upstream = named("mine");
    let class = "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: harbor}\nspec: {controller: example.com/other}\n";
    let rules = |host: &str| format!("rules: [{}]", rule(host, "/", "crane", "number: 80"));
    let directory = Directory::new()
        .holding([service("crane", ""), slice("crane-x1", "crane", &[(upstream.address, true)])])
        .holding([("ingressclasses/harbor.yaml", class)])
        .holding([
            ingress("mine", &format!("ingressClassName: harbor, {}", rules("mine.test"))),
            ingress("other", &format!("ingressClassName: other, {}", rules("other.test"))),
            ingress("none", &rules("none.test")),
        ]);
    let gateway = Serve::new(directory.path()).with("--ingress-class", "harbor").start();
    for (host, expected) in [("mine.test", 200), ("other.test", 404), ("none.test", 404)] {
        assert_eq!(gateway.send(&Request::get(host, "/")).status(), expected, "{host}");
    }
}
