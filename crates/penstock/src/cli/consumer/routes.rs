//! `penstock consumer routes`: the routes that a consumer may use, as requests
//! would meet them.

use std::collections::BTreeSet;

use clap::Args;
use penstock_gateway::compile::{self, Options};
use penstock_gateway::snapshot::Snapshot;
use penstock_gateway::traffic::{Audience, RouteAccess, access_of};
use penstock_manifest::Listing;
use serde_json::{Value as Json, json};

use crate::cli::get::table;
use crate::cli::target::{GatewayArguments, Output, print, told};
use crate::cli::thing::{THINGS, Things, name_of, no_such};
use crate::exit_code::ExitCode;
use crate::store;
use crate::target::{Failure, Printed};

/// The command line of `consumer routes`.
#[derive(Args)]
pub struct Arguments {
    /// The consumer
    #[arg(value_name = "NAME")]
    name: String,
    /// The directory with the manifests, or the URL of a gateway's admin listener
    #[arg(long, visible_alias = "to", value_name = "SOURCE")]
    config: String,
    #[command(flatten)]
    gateway: GatewayArguments,
    /// Only Ingresses of this class count, in a directory; a gateway has its own
    #[arg(long, value_name = "NAME")]
    ingress_class: Option<String>,
    /// How the answer is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// `penstock consumer routes`.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { name, config, gateway, ingress_class, output } = arguments;
    let printed = match gateway.open(config)? {
        Some(gateway) => gateway.consumer_routes(name).map_err(told)?,
        None => {
            let listing = store::open(config)?.list()?;
            let options = Options { ingress_class: ingress_class.clone() };
            look(name, &listing, &compile::compile(&listing, &[], &options).snapshot)?
        }
    };
    print(*output, &printed.json, &printed.text)?;
    eprint!("{}", printed.notes);
    Ok(ExitCode::Success)
}

/// What `consumer routes` prints of a snapshot; the listing says who else is a
/// consumer.
pub fn look(name: &str, listing: &Listing, snapshot: &Snapshot) -> Result<Printed, Failure> {
    let accesses = access_of(snapshot);
    check_known(name, listing, &accesses)?;
    let allowed: Vec<&RouteAccess> =
        accesses.iter().filter(|access| access.audience.allows(name)).collect();
    let closed = snapshot.closed.map(|why| format!("warning: every route answers 503: {why}\n"));
    Ok(Printed {
        json: json(name, &allowed),
        text: text(&allowed),
        notes: closed.unwrap_or_default(),
    })
}

/// Refuses a name that nothing knows. Known are the consumers of an intent,
/// and whoever a route allows.
fn check_known(name: &str, listing: &Listing, accesses: &[RouteAccess]) -> Result<(), Failure> {
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
    Err(no_such("consumer", name, known.into_iter()))
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
