//! `penstock consumer routes`: the routes that a consumer may use, as requests
//! would meet them.

use std::collections::BTreeSet;
use std::io::Write as _;

use anyhow::bail;
use clap::Args;
use penstock_gateway::compile::{self, Options};
use penstock_gateway::snapshot::Snapshot;
use penstock_gateway::traffic::{Audience, RouteAccess, access_of};
use penstock_manifest::Listing;
use penstock_manifest::diagnostic::nearest;
use serde_json::{Value as Json, json};

use crate::cli::get::table;
use crate::cli::target::Output;
use crate::cli::thing::{THINGS, Things, name_of};
use crate::exit_code::ExitCode;
use crate::store;

/// The command line of `consumer routes`.
#[derive(Args)]
pub struct Arguments {
    /// The consumer
    #[arg(value_name = "NAME")]
    name: String,
    /// The directory with the manifests
    #[arg(long, visible_alias = "to", value_name = "SOURCE")]
    config: String,
    /// Only Ingresses of this class count
    #[arg(long, value_name = "NAME")]
    ingress_class: Option<String>,
    /// How the answer is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// `penstock consumer routes`.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { name, config, ingress_class, output } = arguments;
    if config.starts_with("http://") || config.starts_with("https://") {
        bail!("a gateway does not tell who may use its routes: name the directory it serves");
    }
    let listing = store::open(config)?.list()?;
    let options = Options { ingress_class: ingress_class.clone() };
    let snapshot = compile::compile(&listing, &[], &options).snapshot;
    let accesses = access_of(&snapshot);
    check_known(name, &listing, &accesses)?;
    let allowed: Vec<&RouteAccess> =
        accesses.iter().filter(|access| access.audience.allows(name)).collect();
    let mut out = std::io::stdout().lock();
    match output {
        Output::Text => out.write_all(text(&allowed).as_bytes())?,
        Output::Json => writeln!(out, "{:#}", json(name, &allowed))?,
    }
    say_closed(&snapshot);
    Ok(ExitCode::Success)
}

fn say_closed(snapshot: &Snapshot) {
    if let Some(reason) = snapshot.closed {
        eprintln!("warning: every route answers 503: {reason}");
    }
}

/// Refuses a name that nothing knows. Known are the consumers of an intent,
/// and whoever a route allows.
fn check_known(name: &str, listing: &Listing, accesses: &[RouteAccess]) -> anyhow::Result<()> {
    let things = Things::of(listing);
    let rows = THINGS.iter().filter(|row| row.name == "consumer");
    let mut known: BTreeSet<&str> = rows.flat_map(|row| things.all(row)).map(name_of).collect();
    for access in accesses {
        if let Audience::EveryConsumer(names) | Audience::Consumers(names) = &access.audience {
            known.extend(names.iter().map(|name| &**name));
        }
    }
    if known.contains(name) {
        return Ok(());
    }
    match nearest(name, known.into_iter()) {
        Some(nearest) => bail!("there is no consumer `{name}`: did you mean `{nearest}`?"),
        None => bail!("there is no consumer `{name}`"),
    }
}

fn text(allowed: &[&RouteAccess]) -> String {
    let row = |access: &&RouteAccess| {
        let route = &access.route;
        let host = if route.host.is_empty() { "*" } else { &*route.host };
        let open_to = open_to(&access.audience).to_owned();
        let conditions = match &*route.conditions {
            "" => "-".to_owned(),
            conditions => conditions.to_owned(),
        };
        vec![route.name.to_string(), host.to_owned(), route.path.clone(), conditions, open_to]
    };
    table(&["ROUTE", "HOST", "PATH", "CONDITIONS", "OPEN TO"], allowed.iter().map(row).collect())
}

fn json(name: &str, allowed: &[&RouteAccess]) -> Json {
    let route = |access: &&RouteAccess| {
        json!({
            "route": &*access.route.name,
            "host": &*access.route.host,
            "path": access.route.path,
            "conditions": access.route.conditions,
            "openTo": open_to(&access.audience),
        })
    };
    json!({"consumer": name, "routes": allowed.iter().map(route).collect::<Vec<_>>()})
}

fn open_to(audience: &Audience) -> &'static str {
    match audience {
        Audience::Anybody => "anybody",
        Audience::AnyKey => "any key",
        Audience::EveryConsumer(_) => "every consumer",
        Audience::Consumers(_) => "some consumers",
        Audience::Nobody(_) => "nobody",
    }
}
