//! Manifests: the scenario of an AI route with key-auth, whole, and builders
//! for the pieces that single tests need.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// The gateway's domain.
pub(crate) const HOST: &str = "chat.harbor.test";
/// The consumer that the route allows, and its key.
pub(crate) const HERON: &str = "heron";
pub(crate) const HERON_KEY: &str = "heron-key-4711";
/// A consumer that the route does not allow, and its key.
pub(crate) const OTTER: &str = "otter";
pub(crate) const OTTER_KEY: &str = "otter-key-0815";
/// What the provider is paid with.
pub(crate) const TOKEN: &str = "sk-brook-2718";
/// The route's name.
pub(crate) const ROUTE: &str = "ai-route-pier.internal";

/// The six manifests of the scenario, written as people write them. The
/// upstream's address stands where `UPSTREAM` is.
pub(crate) const HARBOR: [(&str, &str); 6] = [
    ("configmaps/domain-chat.harbor.test.yaml", include_str!("harbor/domain.yaml")),
    ("mcpbridges/default.yaml", include_str!("harbor/mcp_bridge.yaml")),
    ("wasmplugins/ai-proxy.internal.yaml", include_str!("harbor/ai_proxy.yaml")),
    ("wasmplugins/key-auth.internal.yaml", include_str!("harbor/key_auth.yaml")),
    ("ingresses/ai-route-pier.internal.yaml", include_str!("harbor/ingress.yaml")),
    ("configmaps/ai-route-pier.yaml", include_str!("harbor/ai_route.yaml")),
];

/// The manifests with the address of an upstream.
pub(crate) fn harbor(upstream: SocketAddr) -> Vec<(&'static str, String)> {
    HARBOR
        .iter()
        .map(|(name, text)| (*name, text.replace("UPSTREAM", &upstream.to_string())))
        .collect()
}

/// A directory of manifests that goes away with its test.
pub(crate) struct Directory(TempDir);

impl Directory {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// A directory with the scenario.
    pub(crate) fn harbor(upstream: SocketAddr) -> Self {
        Self::new().holding(harbor(upstream))
    }

    /// The same directory with more files.
    pub(crate) fn holding<N: AsRef<str>, T: AsRef<[u8]>>(
        self,
        files: impl IntoIterator<Item = (N, T)>,
    ) -> Self {
        for (name, text) in files {
            self.write(name.as_ref(), text);
        }
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.file(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap()
    }

    /// Replaces text that must be there.
    pub(crate) fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "{name} has no {from:?}");
        self.write(name, text.replace(from, to));
    }

    /// Writes beside the file and renames over it, as most editors do.
    pub(crate) fn replace(&self, name: &str, text: impl AsRef<[u8]>) {
        let temporary = self.file(&format!("{name}.tmp"));
        fs::write(&temporary, text).unwrap();
        fs::rename(temporary, self.file(name)).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.file(name)).unwrap();
    }
}

/// McpBridge `default` with these registries in flow style.
pub(crate) fn bridge(registries: &[String]) -> String {
    let mut text = "apiVersion: networking.higress.io/v1\nkind: McpBridge\nmetadata: {name: default, namespace: higress-system}\nspec:\n  registries:\n".to_owned();
    for registry in registries {
        text += &format!("  - {registry}\n");
    }
    text
}

/// A `static` registry with port 80.
pub(crate) fn static_registry(name: &str, addresses: &[SocketAddr]) -> String {
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    format!("{{name: {name}, type: static, domain: \"{}\", port: 80}}", addresses.join(","))
}

/// A `dns` registry; `more` are further fields.
pub(crate) fn dns_registry(name: &str, domains: &str, port: u16, more: &str) -> String {
    format!("{{name: {name}, type: dns, domain: \"{domains}\", port: {port}{more}}}")
}

/// An Ingress under construction: one host, one path, the service `deck`.
#[derive(Clone)]
pub(crate) struct Ingress {
    name: String,
    namespace: String,
    created: Option<String>,
    class: Option<String>,
    annotations: Vec<(String, String)>,
    rules: Vec<(String, Vec<(String, String)>)>,
    tls: String,
}

impl Ingress {
    /// An Ingress without rules whose upstream sees its name as `Host`.
    pub(crate) fn new(name: &str) -> Self {
        let bare = Self {
            name: name.to_owned(),
            namespace: "higress-system".to_owned(),
            created: None,
            class: None,
            annotations: Vec::new(),
            rules: Vec::new(),
            tls: String::new(),
        };
        bare.to("deck.static:80").annotation("upstream-vhost", name)
    }

    /// With a rule; an empty host is left out.
    pub(crate) fn at(mut self, host: &str, path_type: &str, path: &str) -> Self {
        let path = (path_type.to_owned(), path.to_owned());
        match self.rules.iter_mut().find(|(known, _)| known == host) {
            Some((_, paths)) => paths.push(path),
            None => self.rules.push((host.to_owned(), vec![path])),
        }
        self
    }

    /// With an entry of `spec.tls` in flow style.
    pub(crate) fn tls(mut self, entry: &str) -> Self {
        self.tls += &format!("  - {entry}\n");
        self
    }

    pub(crate) fn to(self, destination: &str) -> Self {
        self.annotation("destination", destination)
    }

    /// With an annotation, under `higress.io/` unless it has a prefix, in
    /// place of one of that name.
    pub(crate) fn annotation(mut self, name: &str, value: &str) -> Self {
        self.annotations.retain(|(known, _)| known != name);
        self.annotations.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn without_annotation(mut self, name: &str) -> Self {
        self.annotations.retain(|(known, _)| known != name);
        self
    }

    pub(crate) fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = namespace.to_owned();
        self
    }

    pub(crate) fn created(mut self, time: &str) -> Self {
        self.created = Some(time.to_owned());
        self
    }

    pub(crate) fn class(mut self, class: &str) -> Self {
        self.class = Some(class.to_owned());
        self
    }

    pub(crate) fn file(&self) -> (String, String) {
        (format!("ingresses/{}.yaml", self.name), self.to_string())
    }
}

impl std::fmt::Display for Ingress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, namespace) = (&self.name, &self.namespace);
        write!(f, "apiVersion: networking.k8s.io/v1\nkind: Ingress\n")?;
        write!(f, "metadata:\n  name: {name}\n  namespace: {namespace}\n")?;
        if let Some(created) = &self.created {
            writeln!(f, "  creationTimestamp: \"{created}\"")?;
        }
        writeln!(f, "  annotations:")?;
        for (name, value) in &self.annotations {
            let prefix = if name.contains('/') { "" } else { "higress.io/" };
            writeln!(f, "    \"{prefix}{name}\": {}", quoted(value))?;
        }
        writeln!(f, "spec:")?;
        if let Some(class) = &self.class {
            writeln!(f, "  ingressClassName: {class}")?;
        }
        if !self.tls.is_empty() {
            write!(f, "  tls:\n{}", self.tls)?;
        }
        writeln!(f, "  rules:")?;
        for (host, paths) in &self.rules {
            write!(f, "  - ")?;
            if !host.is_empty() {
                write!(f, "host: \"{host}\"\n    ")?;
            }
            writeln!(f, "http:\n      paths:")?;
            for (path_type, path) in paths {
                writeln!(
                    f,
                    "      - {{path: \"{path}\", pathType: {path_type}, backend: {{resource: {{apiGroup: networking.higress.io, kind: McpBridge, name: default}}}}}}"
                )?;
            }
        }
        Ok(())
    }
}

/// Text as a double-quoted scalar.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// A WasmPlugin under construction. Configurations are in flow style.
#[derive(Clone)]
pub(crate) struct Plugin {
    name: String,
    url: String,
    fields: String,
    rules: Vec<String>,
}

impl Plugin {
    /// A plugin that closes when it cannot run.
    pub(crate) fn new(name: &str, image: &str) -> Self {
        Self {
            name: name.to_owned(),
            url: format!("oci://registry.test/plugins/{image}:1.0.0"),
            fields: String::new(),
            rules: Vec::new(),
        }
    }

    pub(crate) fn key_auth() -> Self {
        Self::new("key-auth.internal", "key-auth").field("phase", "AUTHN").field("priority", "310")
    }

    pub(crate) fn ai_proxy() -> Self {
        Self::new("ai-proxy.internal", "ai-proxy").field("priority", "100")
    }

    pub(crate) fn url(mut self, url: &str) -> Self {
        self.url = url.to_owned();
        self
    }

    pub(crate) fn field(mut self, name: &str, value: &str) -> Self {
        // Writing to a String cannot fail.
        let _ = writeln!(self.fields, "  {name}: {value}");
        self
    }

    pub(crate) fn default_config(self, config: &str) -> Self {
        self.field("defaultConfig", config)
    }

    pub(crate) fn rule(mut self, rule: &str) -> Self {
        self.rules.push(rule.to_owned());
        self
    }

    pub(crate) fn file(&self) -> (String, String) {
        let Self { name, url, fields, rules } = self;
        let mut text = format!(
            "apiVersion: extensions.higress.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{name: {name}, namespace: higress-system}}\nspec:\n  url: {url}\n{fields}"
        );
        if !rules.is_empty() {
            text += "  matchRules:\n";
        }
        for rule in rules {
            text += &format!("  - {rule}\n");
        }
        (format!("wasmplugins/{name}.yaml"), text)
    }
}
