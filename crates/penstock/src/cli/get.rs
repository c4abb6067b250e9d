//! `penstock get`: what there is, as a table, JSON, YAML or names.

use std::io::Write as _;

use anyhow::Context;
use clap::{Args, ValueEnum};
use penstock_manifest::render::object::{list, map};
use penstock_manifest::resource::SYSTEM_NAMESPACE;
use penstock_manifest::{Node, Resource, redact, yaml};
use serde_json::{Value, json};

use crate::cli::lint_output;
use crate::cli::target::{GatewayArguments, told};
use crate::cli::thing::{
    Kind, THINGS, ThingRow, Things, allowed, endpoint, field, name_of, texts, upstreams,
};
use crate::exit_code::ExitCode;
use crate::store;
use crate::target::{Failure, Printed, Remote};

/// The command line of `get`.
#[derive(Args)]
pub struct Arguments {
    /// What: domain, provider, consumer, ai-route, service-source, or a kind
    /// of Kubernetes; without it, a summary
    #[arg(value_name = "KIND")]
    kind: Option<String>,
    /// Only the one of this name
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// The directory with the manifests, or the URL of a gateway's admin listener
    #[arg(long, value_name = "SOURCE")]
    config: String,
    #[command(flatten)]
    gateway: GatewayArguments,
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// How things are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Columns
    Table,
    /// One object
    Json,
    /// An intent, or manifests
    Yaml,
    /// One `kind/name` a line
    Name,
}

/// `penstock get`.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let kind = match arguments.kind.as_deref().map(Kind::parse).transpose() {
        Ok(kind) => kind,
        Err(error) => return Ok(refuse(&error)),
    };
    let text = match arguments.gateway.open(&arguments.config)? {
        Some(gateway) => show_from_afar(&gateway, arguments)?,
        None => {
            let listing = store::open(&arguments.config)?.list()?;
            let things = Things::of(&listing);
            eprint!("{}", lint_output::text(&things.findings));
            show(&things, kind, arguments.name.as_deref(), arguments.output)?
        }
    };
    std::io::stdout().write_all(text.as_bytes()).context("writing the answer")?;
    Ok(ExitCode::Success)
}

/// Says that a command line makes no sense.
pub fn refuse(failure: &Failure) -> ExitCode {
    eprintln!("error: {failure}");
    ExitCode::Usage
}

/// What `get` prints of a gateway's things.
fn show_from_afar(gateway: &Remote, arguments: &Arguments) -> anyhow::Result<String> {
    let Arguments { kind, name, output, .. } = arguments;
    let word = match output {
        Output::Table | Output::Json => "table",
        Output::Yaml => "yaml",
        Output::Name => "name",
    };
    let printed = gateway.get_things(kind.as_deref(), name.as_deref(), word).map_err(told)?;
    eprint!("{}", printed.notes);
    Ok(match output {
        Output::Json => pretty(&printed.json),
        Output::Table | Output::Yaml | Output::Name => printed.text,
    })
}

/// What `get` prints of a listing's things, as JSON and in one more form.
pub fn look(
    things: &Things<'_>,
    kind: Option<Kind>,
    name: Option<&str>,
    output: Output,
) -> Result<Printed, Failure> {
    let notes = lint_output::text(&things.findings);
    let shown =
        show(things, kind, name, output).and_then(|text| Ok((text, to_json(things, kind, name)?)));
    match shown {
        Ok((text, json)) => Ok(Printed { json, text, notes }),
        Err(failure) => Err(failure.with_notes(notes)),
    }
}

fn show(
    things: &Things<'_>,
    kind: Option<Kind>,
    name: Option<&str>,
    output: Output,
) -> Result<String, Failure> {
    match kind {
        None => Ok(summary(things, output)),
        Some(Kind::Thing(row)) => Ok(show_things(things, row, &things.find(row, name)?, output)),
        Some(Kind::Resource(row)) => {
            Ok(show_resources(row.kind, &things.resources(row, name)?, output))
        }
    }
}

fn to_json(things: &Things<'_>, kind: Option<Kind>, name: Option<&str>) -> Result<Value, Failure> {
    Ok(match kind {
        None => summary_json(things),
        Some(Kind::Thing(row)) => things_json(things, row, &things.find(row, name)?),
        Some(Kind::Resource(row)) => resources_json(row.kind, &things.resources(row, name)?),
    })
}

fn pretty(json: &Value) -> String {
    format!("{json:#}\n")
}

fn summary(things: &Things<'_>, output: Output) -> String {
    let names = |row| names_of(things, row);
    match output {
        Output::Table => {
            let rows = THINGS.iter().map(|row| {
                let names = names(row);
                vec![row.name.to_owned(), names.len().to_string(), shortened(&names)]
            });
            table(&["KIND", "COUNT", "NAMES"], rows.collect())
        }
        Output::Json => pretty(&summary_json(things)),
        Output::Yaml => yaml::render(&things.intent),
        Output::Name => THINGS
            .iter()
            .flat_map(|row| names(row).into_iter().map(|name| line(row.name, name)))
            .collect(),
    }
}

fn summary_json(things: &Things<'_>) -> Value {
    let kinds = THINGS.iter().map(|row| {
        let names = names_of(things, row);
        json!({"kind": row.name, "count": names.len(), "names": names})
    });
    json!({"kinds": kinds.collect::<Vec<_>>()})
}

fn names_of<'t>(things: &'t Things<'_>, row: &ThingRow) -> Vec<&'t str> {
    things.all(row).iter().map(name_of).collect()
}

/// The most names in a line of the summary.
const SUMMARY_NAMES_MAX: usize = 8;

fn shortened(names: &[&str]) -> String {
    let shown = names.iter().take(SUMMARY_NAMES_MAX).copied().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SUMMARY_NAMES_MAX) {
        Some(more @ 1..) => format!("{shown} and {more} more"),
        _ => or_dash(shown),
    }
}

fn show_things(things: &Things<'_>, row: &ThingRow, found: &[&Node], output: Output) -> String {
    match output {
        Output::Table => {
            let rows = found.iter().map(|thing| columns(things, row, thing)).collect();
            table(head(row), rows)
        }
        Output::Json => pretty(&things_json(things, row, found)),
        Output::Yaml => {
            let found = found.iter().map(|thing| (*thing).clone());
            yaml::render(&map([(row.section, list(found))]))
        }
        Output::Name => found.iter().map(|thing| line(row.name, name_of(thing))).collect(),
    }
}

fn things_json(things: &Things<'_>, row: &ThingRow, found: &[&Node]) -> Value {
    let items = found.iter().map(|thing| item(things, row, thing));
    json!({"kind": row.name, "items": items.collect::<Vec<_>>()})
}

fn item(things: &Things<'_>, row: &ThingRow, thing: &Node) -> Value {
    let mut item = json!({"name": name_of(thing), "intent": thing.to_json()});
    if let Value::Object(item) = &mut item {
        if matches!(row.name, "domain" | "provider" | "consumer") {
            item.insert("routes".into(), json!(things.routes_of(row, name_of(thing))));
        }
        if row.name == "provider" {
            item.insert("endpoint".into(), json!(endpoint(things.listing, thing)));
        }
    }
    item
}

fn head(row: &ThingRow) -> &'static [&'static str] {
    match row.name {
        "domain" => &["NAME", "HTTPS", "ROUTES"],
        "provider" => &["NAME", "TYPE", "ENDPOINT", "TOKENS", "ROUTES"],
        "consumer" => &["NAME", "CREDENTIALS", "ROUTES"],
        "ai-route" => &["NAME", "DOMAINS", "PATH", "UPSTREAMS", "AUTH"],
        _ => &["NAME", "TYPE", "DOMAIN", "PORT", "PROTOCOL"],
    }
}

fn columns(things: &Things<'_>, row: &ThingRow, thing: &Node) -> Vec<String> {
    let name = name_of(thing);
    let own = |key: &str| or_dash(field(thing, key).to_owned());
    let routes = || or_dash(things.routes_of(row, name).join(","));
    let mut columns = vec![name.to_owned()];
    match row.name {
        "domain" => columns.extend([own("enableHttps"), routes()]),
        "provider" => columns.extend([
            own("type"),
            or_dash(endpoint(things.listing, thing).unwrap_or_default()),
            texts(thing.get("tokens")).len().to_string(),
            routes(),
        ]),
        "consumer" => columns.extend([credentials(thing), routes()]),
        "ai-route" => columns.extend([
            or_dash(texts(thing.get("domains")).join(",")),
            or_dash(thing.get("pathPredicate").map_or("", |p| field(p, "matchValue")).to_owned()),
            or_dash(upstreams(thing).map(share).collect::<Vec<_>>().join(",")),
            match allowed(thing) {
                None => "off".to_owned(),
                Some(names) if names.is_empty() => "nobody".to_owned(),
                Some(names) => names.join(","),
            },
        ]),
        _ => {
            let port = thing.get("port").map(|port| port.to_json().to_string());
            let port = or_dash(port.unwrap_or_default());
            columns.extend([own("type"), own("domain"), port, own("protocol")]);
        }
    }
    columns
}

/// `BEARER (2)`, `HEADER x-key (1)`.
fn credentials(consumer: &Node) -> String {
    let credentials = consumer.get("credentials").and_then(Node::as_list).unwrap_or_default();
    let shown = credentials.iter().map(|credential| {
        let source = [field(credential, "source"), field(credential, "key")];
        let source = source.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>();
        format!("{} ({})", source.join(" "), texts(credential.get("values")).len())
    });
    or_dash(shown.collect::<Vec<_>>().join(","))
}

/// `NAME=WEIGHT`, or only the name where it has no weight.
fn share(upstream: &Node) -> String {
    let provider = field(upstream, "provider");
    match upstream.get("weight") {
        Some(weight) => format!("{provider}={}", weight.to_json()),
        None => provider.to_owned(),
    }
}

fn show_resources(kind: &str, found: &[&Resource], output: Output) -> String {
    match output {
        Output::Table => {
            let row = |resource: &&Resource| {
                let key = &resource.key;
                [&*key.name, &key.namespace, &resource.source.file].map(str::to_owned).to_vec()
            };
            table(&["NAME", "NAMESPACE", "FILE"], found.iter().map(row).collect())
        }
        Output::Json => pretty(&resources_json(kind, found)),
        Output::Yaml => {
            let shown: Vec<Node> =
                found.iter().map(|resource| redact::resource(kind, &resource.root)).collect();
            yaml::render_documents(&shown)
        }
        Output::Name => found
            .iter()
            .map(|resource| line(&kind.to_ascii_lowercase(), &qualified(resource)))
            .collect(),
    }
}

fn resources_json(kind: &str, found: &[&Resource]) -> Value {
    let items = found.iter().map(|resource| {
        json!({
            "name": &*resource.key.name,
            "namespace": &*resource.key.namespace,
            "file": &*resource.source.file,
            "line": resource.name_at().line,
            "object": redact::resource(kind, &resource.root).to_json(),
        })
    });
    json!({"kind": kind, "items": items.collect::<Vec<_>>()})
}

/// The name of a resource, with its namespace where that is not the system's.
pub fn qualified(resource: &Resource) -> String {
    match &*resource.key.namespace {
        SYSTEM_NAMESPACE => resource.key.name.to_string(),
        namespace => format!("{namespace}/{}", resource.key.name),
    }
}

fn line(kind: &str, name: &str) -> String {
    format!("{kind}/{}\n", lint_output::printable(name))
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

/// Columns that are as wide as their widest cell, without blanks at the ends
/// of lines.
pub fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let head = head.iter().map(|cell| (*cell).to_owned()).collect();
    let mut lines: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    for cell in lines.iter_mut().flatten() {
        *cell = lint_output::printable(cell).into_owned();
    }
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}
