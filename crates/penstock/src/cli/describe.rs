//! `penstock describe`: everything about one thing: its fields, where they
//! stand, what it hangs together with, and what is wrong with those files.

use std::collections::HashSet;
use std::fmt::Write as _;

use clap::Args;
use penstock_gateway::compile::Options;
use penstock_manifest::{Diagnostic, Listing, Node, redact, yaml};
use serde_json::{Value, json};

use crate::cli::get::{qualified, refuse, table};
use crate::cli::part::{Part, owner_of, parts_of, parts_of_resource};
use crate::cli::target::{GatewayArguments, Output, print, told};
use crate::cli::thing::{
    Kind, ThingRow, Things, allowed, fallbacks, field, name_of, texts, upstreams,
};
use crate::cli::{lint, lint_output};
use crate::exit_code::ExitCode;
use crate::store;
use crate::target::{Failure, FailureKind, Printed};

/// The command line of `describe`.
#[derive(Args)]
pub struct Arguments {
    /// What: domain, provider, consumer, ai-route, service-source, or a kind
    /// of Kubernetes
    #[arg(value_name = "KIND")]
    kind: String,
    /// Which; a resource outside higress-system is NAMESPACE/NAME
    #[arg(value_name = "NAME")]
    name: String,
    /// The directory with the manifests, or the URL of a gateway's admin listener
    #[arg(long, value_name = "SOURCE")]
    config: String,
    #[command(flatten)]
    gateway: GatewayArguments,
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// `penstock describe`.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let kind = match Kind::parse(&arguments.kind) {
        Ok(kind) => kind,
        Err(error) => return Ok(refuse(&error)),
    };
    let printed = match arguments.gateway.open(&arguments.config)? {
        Some(gateway) => gateway.describe(&arguments.kind, &arguments.name).map_err(told)?,
        None => {
            let listing = store::open(&arguments.config)?.list()?;
            look(&listing, &Options::default(), kind, &arguments.name)?
        }
    };
    print(arguments.output, &printed.json, &printed.text)?;
    Ok(ExitCode::Success)
}

/// What `describe` prints of one thing of a listing.
pub fn look(
    listing: &Listing,
    options: &Options,
    kind: Kind,
    name: &str,
) -> Result<Printed, Failure> {
    let description = describe(listing, options, kind, name)?;
    let json = description
        .to_json()
        .map_err(|error| Failure::new(FailureKind::Unavailable, error.to_string()))?;
    Ok(Printed { json, text: description.to_text(), notes: String::new() })
}

/// Everything about one thing.
struct Description {
    kind: String,
    name: String,
    /// With hashes for secrets.
    fields: Node,
    parts: Vec<Part>,
    relations: Vec<Relation>,
    findings: Vec<Diagnostic>,
}

/// What a thing has to do with another one.
struct Relation {
    /// Such as `used by`, or `allows`.
    relation: &'static str,
    kind: String,
    name: String,
}

impl Relation {
    fn new(relation: &'static str, kind: &str, name: &str) -> Self {
        Self { relation, kind: kind.to_owned(), name: name.to_owned() }
    }
}

fn describe(
    listing: &Listing,
    options: &Options,
    kind: Kind,
    name: &str,
) -> Result<Description, Failure> {
    let things = Things::of(listing);
    let (fields, parts, relations) = match kind {
        Kind::Thing(row) => {
            let found = things.find(row, Some(name))?;
            let thing = found.first().map(|thing| (*thing).clone()).unwrap_or_default();
            let relations = relations_of(&things, row, &thing);
            (thing, parts_of(listing, row, name), relations)
        }
        Kind::Resource(row) => {
            let found = things.resources(row, Some(name))?;
            if let [first, _, ..] = found.as_slice() {
                let names: Vec<String> = found
                    .iter()
                    .map(|resource| format!("{}/{}", resource.key.namespace, resource.key.name))
                    .collect();
                let message =
                    format!("several are named `{}`: {}", first.key.name, names.join(", "));
                return Err(Failure::new(FailureKind::Invalid, message));
            }
            let first = found.first().copied();
            let root = first.map(|resource| redact::resource(row.kind, &resource.root));
            let (parts, used_by) = first.map(|r| parts_of_resource(listing, r)).unwrap_or_default();
            let users = used_by.iter().map(|user| {
                let kind = user.key.kind.to_ascii_lowercase();
                Relation::new("used by", &kind, &qualified(user))
            });
            let mut relations: Vec<Relation> = users.collect();
            let owner = first.and_then(owner_of);
            relations.extend(owner.map(|(kind, name)| Relation::new("part of", kind, name)));
            (root.unwrap_or_default(), parts, relations)
        }
    };
    let files: HashSet<&str> = parts.iter().map(|part| &*part.file).collect();
    let mut findings = lint::check(listing.clone(), options, false);
    findings.retain(|finding| files.contains(&*finding.file));
    let kind = kind.name().into_owned();
    Ok(Description { kind, name: name.to_owned(), fields, parts, relations, findings })
}

fn relations_of(things: &Things<'_>, row: &ThingRow, thing: &Node) -> Vec<Relation> {
    let name = name_of(thing);
    let mut relations: Vec<Relation> = things
        .routes_of(row, name)
        .into_iter()
        .map(|route| Relation::new("used by", "ai-route", route))
        .collect();
    if row.name == "ai-route" {
        let domains = texts(thing.get("domains")).into_iter();
        relations.extend(domains.map(|domain| Relation::new("listens on", "domain", domain)));
        let provider =
            |how| move |one: &Node| Relation::new(how, "provider", field(one, "provider"));
        relations.extend(upstreams(thing).map(provider("goes to")));
        relations.extend(fallbacks(thing).map(provider("falls back to")));
        let consumers = allowed(thing).unwrap_or_default().into_iter();
        relations.extend(consumers.map(|consumer| Relation::new("allows", "consumer", consumer)));
    }
    if row.name == "service-source" {
        let host = format!("{name}.{}", field(thing, "type"));
        for resource in &things.listing.resources {
            let destination = resource.annotation("higress.io/destination").unwrap_or_default();
            let hosts = destination.split_whitespace().map(|word| word.split(':').next());
            if hosts.flatten().any(|word| word == host) {
                relations.push(Relation::new("used by", "ingress", &qualified(resource)));
            }
        }
        let providers = things.intent.get("providers").and_then(Node::as_list).unwrap_or_default();
        let uses = |provider: &&Node| {
            let raw = provider.get("rawConfigs");
            raw.is_some_and(|raw| field(raw, "openaiCustomServiceName") == host)
        };
        let users = providers.iter().filter(uses).map(name_of);
        relations.extend(users.map(|name| Relation::new("used by", "provider", name)));
    }
    relations
}

impl Description {
    fn to_text(&self) -> String {
        let mut text = format!("{} {}\n", self.kind, lint_output::printable(&self.name));
        for line in yaml::render(&self.fields).lines() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {line}");
        }
        text.push_str("\nconsists of\n");
        let rows = self.parts.iter().map(|part| {
            vec![part.resource.clone(), format!("{}:{}", part.file, part.line), part.path.clone()]
        });
        text.push_str(&indented(rows.collect()));
        if !self.relations.is_empty() {
            text.push_str("\nrelations\n");
            let row =
                |one: &Relation| vec![one.relation.to_owned(), one.kind.clone(), one.name.clone()];
            text.push_str(&indented(self.relations.iter().map(row).collect()));
        }
        if !self.findings.is_empty() {
            text.push_str("\nfindings about these files\n");
            for line in lint_output::text(&self.findings).lines() {
                let _ = writeln!(text, "  {line}");
            }
        }
        text
    }

    fn to_json(&self) -> serde_json::Result<Value> {
        let findings: Value = serde_json::from_str(&lint_output::json(&self.findings))?;
        Ok(json!({
            "kind": self.kind,
            "name": self.name,
            "fields": self.fields.to_json(),
            "parts": self.parts.iter().map(|part| json!({
                "resource": part.resource,
                "file": &*part.file,
                "line": part.line,
                "path": part.path,
            })).collect::<Vec<_>>(),
            "relations": self.relations.iter().map(|one| json!({
                "relation": one.relation,
                "kind": one.kind,
                "name": one.name,
            })).collect::<Vec<_>>(),
            "diagnostics": findings.get("diagnostics"),
        }))
    }
}

/// Rows as aligned lines.
fn indented(rows: Vec<Vec<String>>) -> String {
    let text = table(&[], rows);
    text.lines().skip(1).map(|line| format!("  {line}\n")).collect()
}
