//! The manifests of a soak, and how they change while it goes on. Whatever
//! of a change is in force first, requests to healthy routes stay served.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::certificate::Certificate;
use crate::manifests;
use crate::request::{host, key};
use crate::soak::upstream::UPSTREAMS;

/// The route whose provider changes, and the one of a provider that changes.
/// Those before them are one for each upstream.
pub const MOVING_ROUTE: usize = UPSTREAMS.len();
pub const RENEWED_ROUTE: usize = UPSTREAMS.len() + 1;
/// The route that has another host after every change.
const WANDERING_ROUTE: usize = UPSTREAMS.len() + 2;
/// The consumers that stay.
pub const STAYING: usize = 20;

/// The directory of a soak.
pub struct Scenario {
    pub directory: PathBuf,
    /// The providers with their upstreams.
    pub providers: Vec<(&'static str, SocketAddr)>,
}

impl Scenario {
    /// Writes the first version.
    pub fn write(&self, certificate: &Certificate) -> anyhow::Result<()> {
        for kind in ["ingresses", "mcpbridges", "secrets", "wasmplugins"] {
            fs::create_dir_all(self.directory.join(kind))?;
        }
        self.put("secrets/bench.yaml", &manifests::secret(certificate))?;
        for (route, (provider, _)) in self.providers.iter().enumerate() {
            self.put_route(route, &host(route), provider)?;
        }
        self.change(0)
    }

    /// Writes the version of a number: another route, another consumer,
    /// another provider.
    pub fn change(&self, version: usize) -> anyhow::Result<()> {
        let (name, upstream) = (format!("renewed-{version}"), self.healthy(version).1);
        let mut providers = self.providers.clone();
        providers.push((&name, upstream));
        // The provider before it is still there while the route moves on.
        let before = format!("renewed-{}", version.wrapping_sub(1));
        if version > 0 {
            providers.push((&before, self.healthy(version + 1).1));
        }
        self.put("mcpbridges/default.yaml", &manifests::mcp_bridge(&providers))?;
        self.put("wasmplugins/ai-proxy.internal.yaml", &manifests::ai_proxy(&providers))?;
        self.put("wasmplugins/key-auth.internal.yaml", &key_auth(version))?;
        self.put_route(RENEWED_ROUTE, &host(RENEWED_ROUTE), &name)?;
        self.put_route(MOVING_ROUTE, &host(MOVING_ROUTE), self.healthy(version).0)?;
        self.put_route(WANDERING_ROUTE, &host(WANDERING_ROUTE + version), self.healthy(0).0)
    }

    /// One of the healthy providers.
    fn healthy(&self, version: usize) -> (&'static str, SocketAddr) {
        let nowhere = ("well-a", SocketAddr::from(([127, 0, 0, 1], 9)));
        self.providers.get(version % 2).copied().unwrap_or(nowhere)
    }

    fn put_route(&self, route: usize, host: &str, provider: &str) -> anyhow::Result<()> {
        let path = format!("ingresses/ai-route-r{route}.internal.yaml");
        self.put(&path, &manifests::ingress(route, host, true, provider))
    }

    /// Replaces a file as a whole.
    fn put(&self, path: &str, text: &str) -> anyhow::Result<()> {
        let draft = self.directory.with_extension("draft");
        fs::write(&draft, text)?;
        Ok(fs::rename(draft, self.directory.join(path))?)
    }
}

/// The consumers that stay, and one that is there for one version only.
fn key_auth(version: usize) -> String {
    let staying = (0..STAYING).map(|number| (format!("consumer-{number}"), key(number)));
    let guest = (format!("guest-{version}"), format!("guest-key-{version}"));
    let mut admitted: Vec<String> = staying.clone().map(|(name, _)| name).collect();
    admitted.push(guest.0.clone());
    let rules = (0..=WANDERING_ROUTE).map(|route| (route, admitted.clone()));
    manifests::key_auth(staying.chain([guest]), rules)
}
