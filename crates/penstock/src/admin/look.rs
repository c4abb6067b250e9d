//! The endpoints that only look.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use penstock_gateway::Live;
use penstock_gateway::explain::Explainer;
use penstock_manifest::diagnostic::nearest;
use penstock_manifest::intent::export::Secrets;
use penstock_manifest::kind::KINDS;
use penstock_manifest::redact;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::api::Api;
use super::call::{Call, invalid};
use crate::cli::consumer::routes;
use crate::cli::lint_output;
use crate::cli::thing::{Kind, Things};
use crate::cli::{describe as described, explain as explained, export as exported, get as got};
use crate::expectation::Tests;
use crate::target::{Failure, FailureKind, IntentText, Tested};

/// An answer as JSON.
pub fn answer(answer: &impl Serialize) -> Result<Json, Failure> {
    serde_json::to_value(answer)
        .map_err(|error| Failure::new(FailureKind::Unavailable, error.to_string()))
}

/// `GET resources`.
pub fn resources(api: &Api, call: &Call) -> Result<Json, Failure> {
    call.allow(&["kind", "namespace", "name"])?;
    let kind = call.parameter("kind").map(kind_of).transpose()?;
    let listing = api.target.listing()?;
    let is = |name: &str, value: &str| call.parameter(name).is_none_or(|wanted| wanted == value);
    let resources = listing
        .resources
        .iter()
        .filter(|resource| {
            let key = &resource.key;
            kind.is_none_or(|kind| kind == &*key.kind)
                && is("namespace", &key.namespace)
                && is("name", &key.name)
        })
        .map(|resource| {
            json!({
                "kind": &*resource.key.kind,
                "namespace": &*resource.key.namespace,
                "name": &*resource.key.name,
                "file": &*resource.source.file,
                "line": resource.name_at().line,
                "object": redact::resource(&resource.key.kind, &resource.root).to_json(),
            })
        });
    Ok(json!({
        "content": listing.revision.to_string(),
        "resources": resources.collect::<Vec<_>>(),
    }))
}

/// A kind of resource by its name in any case.
fn kind_of(name: &str) -> Result<&'static str, Failure> {
    if let Some(row) = KINDS.iter().find(|row| row.kind.eq_ignore_ascii_case(name)) {
        return Ok(row.kind);
    }
    let lower: Vec<String> = KINDS.iter().map(|row| row.kind.to_ascii_lowercase()).collect();
    let near = nearest(&name.to_ascii_lowercase(), lower.iter().map(|kind| &**kind));
    let near =
        KINDS.iter().find(|row| near.is_some_and(|near| row.kind.eq_ignore_ascii_case(near)));
    Err(invalid(match near {
        Some(row) => format!("there is no kind `{name}`; did you mean `{}`?", row.kind),
        None => {
            let kinds: Vec<&str> = KINDS.iter().map(|row| row.kind).collect();
            format!("there is no kind `{name}`, expected one of `{}`", kinds.join("`, `"))
        }
    }))
}

/// `GET history`.
pub fn history(api: &Api, call: &Call) -> Result<Json, Failure> {
    call.allow(&[])?;
    Ok(json!({"revisions": api.target.history()?}))
}

/// `GET history/{id}`.
pub fn show(api: &Api, call: &Call) -> Result<Json, Failure> {
    call.allow(&[])?;
    let id = call.segment.as_deref().unwrap_or_default();
    let id = id.parse().map_err(|_| invalid("the number of a revision is a number"))?;
    answer(&api.target.show(id)?)
}

/// `GET diff`.
pub fn diff(api: &Api, call: &Call) -> Result<Json, Failure> {
    call.allow(&["from", "to"])?;
    let (from, to) = (call.number("from")?, call.number("to")?);
    if from.is_none() && to.is_some() {
        return Err(invalid("`to` says nothing without `from`"));
    }
    answer(&api.target.diff(from, to)?)
}

/// `GET status`.
pub fn status(api: &Api, call: &Call) -> Result<Json, Failure> {
    call.allow(&[])?;
    answer(&api.target.standing()?)
}

/// `GET export`.
pub fn export(api: &Api, call: &Call) -> Result<Json, Failure> {
    call.allow(&["secrets", "name"])?;
    let secrets = match call.parameter("secrets") {
        None | Some("ref") => Secrets::Ref,
        Some("redact") => Secrets::Redact,
        Some(_) => return Err(invalid("`secrets` is neither ref nor redact")),
    };
    let name = call.parameter("name").unwrap_or("intent");
    answer(&exported::export(&api.target.listing()?, secrets, name))
}

/// `GET get`.
pub fn get(api: &Api, call: &Call) -> Result<Json, Failure> {
    call.allow(&["kind", "name", "output"])?;
    let output = match call.parameter("output") {
        None | Some("table") => got::Output::Table,
        Some("yaml") => got::Output::Yaml,
        Some("name") => got::Output::Name,
        Some(_) => return Err(invalid("`output` is none of table, yaml and name")),
    };
    let (kind, name) = (call.parameter("kind"), call.parameter("name"));
    if kind.is_none() && name.is_some() {
        return Err(invalid("`name` says nothing without `kind`"));
    }
    let kind = kind.map(Kind::parse).transpose()?;
    let listing = api.target.listing()?;
    answer(&got::look(&Things::of(&listing), kind, name, output)?)
}

/// `GET describe`.
pub fn describe(api: &Api, call: &Call) -> Result<Json, Failure> {
    call.allow(&["kind", "name"])?;
    let (Some(kind), Some(name)) = (call.parameter("kind"), call.parameter("name")) else {
        return Err(invalid("`kind` and `name` say what is described"));
    };
    let kind = Kind::parse(kind)?;
    answer(&described::look(&api.target.listing()?, api.target.options(), kind, name)?)
}

/// `GET consumers/{name}/routes`.
pub fn consumer_routes(api: &Api, call: &Call) -> Result<Json, Failure> {
    call.allow(&[])?;
    let name = call.segment.as_deref().unwrap_or_default();
    let listing = api.target.listing()?;
    answer(&routes::look(name, &listing, &live(api)?.snapshot)?)
}

/// A request to be explained.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Explain {
    /// An absolute URL.
    url: String,
    /// By default POST with a body, else GET.
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, Values>,
    #[serde(default)]
    body: String,
}

/// The values of a header.
#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Many(Vec<String>),
}

impl Explain {
    fn request(self) -> Result<http::Request<Bytes>, Failure> {
        let url = self.url.parse().map_err(|_| invalid("`url` is not a URL"))?;
        let method = self.method.map(|method| method.parse()).transpose();
        let method = method.map_err(|_| invalid("`method` is not a method"))?;
        let mut headers = Vec::new();
        for (name, values) in self.headers {
            let values = match values {
                Values::One(value) => vec![value],
                Values::Many(values) => values,
            };
            let wrong = || invalid(format!("`headers`: `{name}` is not a header"));
            for value in values {
                let header: HeaderName = name.parse().map_err(|_| wrong())?;
                headers.push((header, HeaderValue::from_str(&value).map_err(|_| wrong())?));
            }
        }
        explained::request(method, url, headers, self.body.into())
            .map_err(|error| invalid(error.to_string()))
    }
}

/// `POST explain`.
pub fn explain(api: &Api, call: &Call) -> Result<Json, Failure> {
    call.allow(&[])?;
    let request = call.json::<Explain>()?.request()?;
    let explanation = explained::explain(&explainer(api)?, &request).map_err(unavailable)?;
    let mut json = explained::to_json(&explanation);
    json["text"] = explained::text(&explanation).into();
    Ok(json)
}

/// `POST test`.
pub fn test(api: &Api, call: &Call) -> Result<Json, Failure> {
    call.allow(&[])?;
    let table: IntentText = call.json()?;
    let tests = Tests::parse(&table.name, &table.text).map_err(|findings| {
        invalid(format!("`{}` cannot be used", table.name)).with_notes(lint_output::text(&findings))
    })?;
    let outcomes = tests.run(&explainer(api)?).map_err(unavailable)?;
    answer(&Tested { passed: outcomes.is_ok(), text: outcomes.text() })
}

/// Asks the configuration in force.
fn explainer(api: &Api) -> Result<Explainer, Failure> {
    Ok(Explainer::of_live(live(api)?))
}

fn live(api: &Api) -> Result<Arc<Live>, Failure> {
    let live = api.gateway.live();
    live.ok_or_else(|| Failure::new(FailureKind::Unavailable, "no configuration in force"))
}

fn unavailable(error: std::io::Error) -> Failure {
    Failure::new(FailureKind::Unavailable, error.to_string())
}
