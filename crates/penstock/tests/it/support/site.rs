//! Three routes and some plugins: what is needed to see who may pass where.

use serde_json::Value;

use super::{
    Directory, Gateway, Ingress, Plugin, Request, Scenario, Serve, Upstream, bridge,
    static_registry,
};

/// Consumers `a` and `b`, known by the header `x-key`.
pub(crate) const CONSUMERS: &str = "{global_auth: false, consumers: [{name: a, keys: [x-key], credential: key-a}, {name: b, keys: [x-key], credential: key-b}]}";

/// The statuses of nobody, of `a` and of `b`.
pub(crate) const ONLY_A: [u16; 3] = [401, 200, 403];
pub(crate) const ONLY_B: [u16; 3] = [401, 403, 200];
pub(crate) const EITHER: [u16; 3] = [401, 200, 200];
pub(crate) const NEITHER: [u16; 3] = [401, 403, 403];
pub(crate) const EVERYBODY: [u16; 3] = [200, 200, 200];
pub(crate) const CLOSED: [u16; 3] = [503, 503, 503];

/// The routes `pier` to `deck`, `quay` to `dock`, and `any` for other hosts.
pub(crate) struct Site {
    pub(crate) gateway: Gateway,
    pub(crate) upstream: Upstream,
    pub(crate) directory: Directory,
}

impl Site {
    pub(crate) fn with(plugins: &[Plugin]) -> Self {
        let upstream = Upstream::start(Scenario::Completion);
        let registry = |name: &str| static_registry(name, &[upstream.address]);
        let directory = Directory::new()
            .holding([("mcpbridges/default.yaml", bridge(&[registry("deck"), registry("dock")]))])
            .holding([
                Ingress::new("pier").at("pier.test", "Prefix", "/").file(),
                Ingress::new("quay").at("quay.test", "Prefix", "/").to("dock.static:80").file(),
                Ingress::new("any").at("", "Prefix", "/").file(),
            ])
            .holding(plugins.iter().map(Plugin::file));
        let gateway = Serve::new(directory.path()).start();
        Self { gateway, upstream, directory }
    }

    /// key-auth with [`CONSUMERS`] and these rules.
    pub(crate) fn guarded_by(rules: &[&str]) -> Self {
        let plugin = Plugin::key_auth().default_config(CONSUMERS);
        Self::with(&[rules.iter().fold(plugin, |plugin, rule| plugin.rule(rule))])
    }

    pub(crate) fn status(&self, host: &str, key: &str) -> u16 {
        let request = Request::get(host, "/");
        let request = if key.is_empty() { request } else { request.header("x-key", key) };
        self.gateway.send(&request).status()
    }

    /// What nobody, `a` and `b` get.
    #[track_caller]
    pub(crate) fn check(&self, host: &str, expected: [u16; 3]) {
        assert_eq!(["", "key-a", "key-b"].map(|key| self.status(host, key)), expected, "{host}");
    }

    #[track_caller]
    pub(crate) fn finding(&self, code: &str) -> Value {
        let findings = self.gateway.findings();
        findings.iter().find(|finding| finding["code"] == code).expect(code).clone()
    }
}
