//! Checks across resources: names that nothing bears, protections that cover
//! nothing, objects of the console that contradict each other.
//!
//! One row of [`RULES`] per family, one file each. What is wrong with a
//! document in itself is found where it is read and compiled, not here.
//!
//! Invariant: a rule speaks only when it is certain; what a broken document
//! may define is not called missing.
//! Invariant: a rule produces only the codes that its row lists.
//! Invariant: manifests without objects of the console have no finding about
//! the console.

mod ai_route;
mod ai_route_drift;
mod ai_route_fallback;
mod ai_route_json;
mod ai_route_models;
mod allow_list;
mod auth_coverage;
mod auth_fail_open;
mod auth_global;
mod console;
pub(crate) mod console_plugin;
mod console_retry;
mod console_rule;
mod credential_sent_upstream;
mod destination;
mod domain;
mod domain_https;
mod domain_label;
mod domain_name;
mod ingress_service;
mod label;
mod model;
mod provider;
mod provider_context;
mod provider_registry;
mod rule_order;
mod rule_target;

pub use model::Model;
pub(crate) use model::listed;

use std::sync::Arc;

use crate::diagnostic::{self as codes, Code, Diagnostic};
use crate::resource::{BrokenDocument, Listing, Resource};

/// A check, or a family of checks that look at the same things.
pub struct Rule {
    /// The codes it may produce.
    pub codes: &'static [&'static Code],
    /// Whether it only says what a console would write differently.
    pub console_only: bool,
    /// Looks at the resources and adds what it finds.
    pub run: fn(&Model<'_>, &mut Vec<Diagnostic>),
}

const fn rule(codes: &'static [&'static Code], run: fn(&Model<'_>, &mut Vec<Diagnostic>)) -> Rule {
    Rule { codes, console_only: false, run }
}

const fn console_rule(
    codes: &'static [&'static Code],
    run: fn(&Model<'_>, &mut Vec<Diagnostic>),
) -> Rule {
    Rule { codes, console_only: true, run }
}

/// Every check.
pub const RULES: &[Rule] = &[
    rule(
        &[
            &codes::DESTINATION_UNKNOWN_SERVICE,
            &codes::DESTINATION_PORT,
            &codes::DESTINATION_IGNORED,
        ],
        destination::run,
    ),
    rule(&[&codes::DESTINATION_UNKNOWN_SERVICE, &codes::DESTINATION_PORT], ingress_service::run),
    rule(&[&codes::RULE_TARGET_UNKNOWN], rule_target::run),
    rule(&[&codes::RULE_NEVER_MATCHES], rule_order::run),
    rule(&[&codes::AUTH_FAIL_OPEN], auth_fail_open::run),
    rule(
        &[&codes::ALLOW_UNKNOWN_CONSUMER, &codes::ALLOW_EMPTY, &codes::CONSUMER_DUMMY_KEY],
        allow_list::run,
    ),
    rule(&[&codes::CREDENTIAL_SENT_UPSTREAM], credential_sent_upstream::run),
    rule(&[&codes::AUTH_NOT_COVERED, &codes::AI_ROUTE_AUTH], auth_coverage::run),
    rule(&[&codes::GLOBAL_AUTH_UNSET], auth_global::run),
    rule(&[&codes::PROVIDER_UNKNOWN, &codes::PROVIDER_WITHOUT_RULE], provider::run),
    rule(&[&codes::PROVIDER_REGISTRY_MISMATCH], provider_registry::run),
    rule(&[&codes::CONTEXT_UNKNOWN_SERVICE], provider_context::run),
    rule(
        &[&codes::DOMAIN_UNUSED, &codes::HOST_WITHOUT_DOMAIN, &codes::HOST_IS_PROVIDER],
        domain::run,
    ),
    rule(&[&codes::DOMAIN_LABEL], domain_label::run),
    rule(&[&codes::DOMAIN_NAME, &codes::DOMAIN_TOO_LONG, &codes::INVALID_VALUE], domain_name::run),
    rule(&[&codes::DOMAIN_HTTPS], domain_https::run),
    rule(&[&codes::AI_ROUTE_WITHOUT_INGRESS, &codes::INGRESS_WITHOUT_AI_ROUTE], ai_route::run),
    rule(
        &[
            &codes::AI_ROUTE_NAME,
            &codes::AI_ROUTE_DOMAINS,
            &codes::AI_ROUTE_PROVIDER,
            &codes::AI_ROUTE_VERSION,
            &codes::AI_ROUTE_JSON,
        ],
        ai_route_json::run,
    ),
    rule(&[&codes::AI_ROUTE_DRIFT, &codes::AI_ROUTE_WEIGHTS], ai_route_drift::run),
    rule(&[&codes::AI_ROUTE_FALLBACK], ai_route_fallback::run),
    rule(&[&codes::AI_ROUTE_MODELS], ai_route_models::run),
    rule(&[&codes::MISSING_LABEL], label::run),
    console_rule(
        &[
            &codes::CONSOLE_PROTOCOL,
            &codes::CONSOLE_ALLOW,
            &codes::CONSOLE_STATISTICS,
            &codes::CONSOLE_PROXIES,
        ],
        console::run,
    ),
    console_rule(&[&codes::CONSOLE_RETRY], console_retry::run),
    console_rule(&[&codes::CONSOLE_PLUGIN_VERSION], console_plugin::run),
    console_rule(
        &[&codes::CONSOLE_DISABLED_RULE, &codes::CONSOLE_RULE_STATE, &codes::CONSOLE_RULE_TARGETS],
        console_rule::run,
    ),
];

/// What to check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Also say what a console would write differently.
    pub console: bool,
}

/// Checks resources of which none is known to be missing.
pub fn lint(resources: &[Arc<Resource>], options: &Options) -> Vec<Diagnostic> {
    run(resources, &[], options)
}

/// Checks a listing: what its broken documents may define is not reported as
/// missing, so that one mistake gives one finding.
pub fn lint_listing(listing: &Listing, options: &Options) -> Vec<Diagnostic> {
    run(&listing.resources, &listing.broken, options)
}

fn run(
    resources: &[Arc<Resource>],
    broken: &[BrokenDocument],
    options: &Options,
) -> Vec<Diagnostic> {
    let model = Model::new(resources, broken);
    let mut diagnostics = Vec::new();
    for rule in RULES.iter().filter(|rule| options.console || !rule.console_only) {
        (rule.run)(&model, &mut diagnostics);
    }
    codes::sort(&mut diagnostics);
    diagnostics
}
