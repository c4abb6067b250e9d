//! An intent → the resources that the console would write for it.
//!
//! Names, labels, annotations and the order of fields are the console's
//! (Higress console 2.2.x), so that a console that looks at the same store
//! finds its own objects. Where the console is unsafe, the safe form differs;
//! [`SAFE_DIFFERENCES`] is the whole list, and
//! [`Options::console_exact`] switches it off.
//!
//! Invariant: the same intent gives the same resources in the same order.
//! Invariant: no field of a resource is a `${env:…}` or `${file:…}`.

mod ai_route;
mod catalogue;
mod credential;
mod fallback;
pub mod gson;
mod ingress;
pub mod object;
mod shared;

pub use credential::PLACEHOLDER_TOKEN;

use crate::diagnostic::{self, Diagnostic, INTENT_CONSOLE_DIFFERS, Severity};
use crate::intent::{Domain, Intent};
use crate::kind;
use crate::resource::{Resource, ResourceKey};
use crate::yaml;

/// What the safe form does otherwise than the console, for the documents.
pub const SAFE_DIFFERENCES: &[(&str, &str)] = &[
    (
        "key-auth.internal: `failStrategy: FAIL_CLOSE`",
        "The console writes FAIL_OPEN: while the plugin cannot be loaded, every route is open.",
    ),
    (
        "ai-proxy.internal: `failStrategy: FAIL_CLOSE`",
        "The console writes FAIL_OPEN: while the plugin cannot be loaded, the consumers' keys go to the provider.",
    ),
    (
        "a provider without tokens behind consumers: `apiTokens: [penstock-no-token]`",
        "Without tokens ai-proxy sends the caller's own key to the provider. The placeholder is sent instead. Type ollama sends no token of its own, so there it is an error.",
    ),
    (
        "a `dns` registry whose host Higress refuses is an error",
        "The console writes it, and the gateway publishes nothing for it.",
    ),
    (
        "a provider type that the console does not know is rendered where its host is known",
        "The console refuses it.",
    ),
];

/// How an intent is rendered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Write what the console would, also where that is unsafe.
    pub console_exact: bool,
}

/// What an intent becomes.
#[derive(Default)]
pub struct Rendered {
    /// The resources, by the order in which they have to exist.
    pub resources: Vec<Resource>,
    /// What is wrong with them, at its place in the intent.
    pub diagnostics: Vec<Diagnostic>,
}

/// Resources may hold keys, so only their names are shown.
impl std::fmt::Debug for Rendered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<_> = self.resources.iter().map(|resource| &resource.key).collect();
        f.debug_struct("Rendered")
            .field("resources", &keys)
            .field("diagnostics", &self.diagnostics)
            .finish()
    }
}

/// Renders an intent. With an error among the diagnostics the resources must
/// not be applied. The Secrets that they refer to come from
/// [`crate::intent::secret::resolve`].
pub fn render(intent: &Intent, options: &Options) -> Rendered {
    let mut rendered = Rendered::default();
    let placeholders = credential::check(intent, options, &mut rendered.diagnostics);
    if options.console_exact {
        report_unknown_to_console(intent, &mut rendered.diagnostics);
    }
    rendered.resources.extend(intent.domains.iter().map(domain));
    rendered.resources.extend(shared::mcp_bridge(intent, options, &mut rendered.diagnostics));
    rendered.resources.extend(shared::ai_proxy(intent, options, &placeholders));
    let routes = ai_route::Routes::new(intent);
    rendered.resources.extend(shared::key_auth(intent, options));
    rendered.resources.extend(shared::model_router(intent));
    rendered.resources.extend(shared::model_mapper(&routes));
    rendered.resources.extend(shared::ai_statistics(intent));
    for route in &intent.ai_routes {
        rendered.resources.extend(routes.resources(route));
    }
    sort(&mut rendered.resources);
    diagnostic::sort(&mut rendered.diagnostics);
    rendered
}

/// Puts resources into the order in which they have to exist: what others
/// refer to comes first, the console's record of a route last.
pub fn sort(resources: &mut [Resource]) {
    resources.sort_by(|a, b| (rank_of(&a.key), &a.key.name).cmp(&(rank_of(&b.key), &b.key.name)));
}

/// The lowest rank of a route's own resources.
pub(crate) const ROUTE_RANK: u8 = 4;

/// When a resource has to exist; lower is earlier.
pub(crate) fn rank_of(key: &ResourceKey) -> u8 {
    match &*key.kind {
        "Secret" => 0,
        "ConfigMap" if key.name.starts_with(kind::config_map::AI_ROUTE_PREFIX) => 6,
        "ConfigMap" => 1,
        "McpBridge" => 2,
        "WasmPlugin" => 3,
        "EnvoyFilter" => ROUTE_RANK,
        _ => 5,
    }
}

/// Where a resource lies in a store: `<plural>/<name>.yaml`.
pub fn file_path(resource: &Resource) -> String {
    path_of(&resource.key)
}

/// Where the resource of a name lies in a store.
pub(crate) fn path_of(key: &ResourceKey) -> String {
    let plural = kind::by_kind(&key.kind).map_or("others", |row| row.plural);
    format!("{plural}/{}.yaml", key.name)
}

/// The text of its file.
pub fn file_text(resource: &Resource) -> String {
    yaml::render(&resource.root)
}

fn domain(domain: &Domain) -> Resource {
    let mut data = vec![("domain", object::text(&domain.name))];
    if let Some(cert) = &domain.cert_identifier {
        data.push(("cert", object::text(cert)));
    }
    data.push(("enableHttps", object::text(domain.https.as_str())));
    object::Draft::new("ConfigMap", &domain.config_map_name())
        .label("higress.io/config-map-type", "domain")
        .finish([("data", object::map(data))])
}

fn report_unknown_to_console(intent: &Intent, diagnostics: &mut Vec<Diagnostic>) {
    for provider in intent.providers.iter().filter(|provider| !provider.is_in_console()) {
        let message = format!("the console refuses providers of type `{}`", provider.kind);
        diagnostics.push(
            provider
                .place
                .diagnostic(&INTENT_CONSOLE_DIFFERS, message)
                .with_severity(Severity::Error)
                .with_hint("leave --console-exact away"),
        );
    }
}
