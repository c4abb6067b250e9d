//! The endpoints of the API, as a table.

use http::Method;
use penstock_manifest::diagnostic::nearest;
use serde_json::Value as Json;

use super::api::Api;
use super::call::Call;
use super::{change, look, openapi};
use crate::target::Failure;

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Whoever has the token, where one is set.
    Read,
    /// Whoever has the token; nobody, where none is set.
    Change,
}

/// What a body may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// There is none.
    Nothing,
    /// JSON.
    Json,
    /// JSON, or an intent as YAML.
    JsonOrYaml,
}

/// One endpoint.
pub struct Endpoint {
    /// The method; what answers GET answers HEAD.
    pub method: Method,
    /// The path, with `{…}` for a segment that varies.
    pub path: &'static str,
    /// Who may ask.
    pub needs: Needs,
    /// What a body may be.
    pub takes: Takes,
    /// What answers. It may block.
    pub run: fn(&Api, &Call) -> Result<Json, Failure>,
}

/// What all endpoints have in front.
pub const PREFIX: &str = "/api/v1/";

/// Every endpoint, by path.
pub static ENDPOINTS: &[Endpoint] = &[
    post("/api/v1/apply", Needs::Change, Takes::JsonOrYaml, change::apply),
    get("/api/v1/consumers/{name}/routes", look::consumer_routes),
    get("/api/v1/describe", look::describe),
    get("/api/v1/diff", look::diff),
    post("/api/v1/explain", Needs::Read, Takes::Json, look::explain),
    get("/api/v1/export", look::export),
    get("/api/v1/get", look::get),
    get("/api/v1/history", look::history),
    get("/api/v1/history/{id}", look::show),
    get("/api/v1/openapi.json", openapi::document),
    post("/api/v1/plan", Needs::Read, Takes::JsonOrYaml, change::plan),
    get("/api/v1/resources", look::resources),
    post("/api/v1/rollback", Needs::Change, Takes::Json, change::rollback),
    get("/api/v1/status", look::status),
    post("/api/v1/test", Needs::Read, Takes::Json, look::test),
];

type Run = fn(&Api, &Call) -> Result<Json, Failure>;

const fn get(path: &'static str, run: Run) -> Endpoint {
    Endpoint { method: Method::GET, path, needs: Needs::Read, takes: Takes::Nothing, run }
}

const fn post(path: &'static str, needs: Needs, takes: Takes, run: Run) -> Endpoint {
    Endpoint { method: Method::POST, path, needs, takes, run }
}

/// What a request line leads to.
pub enum Found<'p> {
    /// An endpoint, with the segment that varies.
    Endpoint(&'static Endpoint, Option<&'p str>),
    /// A path with another method.
    OtherMethod(&'static str),
    /// Nothing; perhaps this path was meant.
    Nothing(Option<&'static str>),
}

/// Looks up a request line.
pub fn find<'p>(method: &Method, path: &'p str) -> Found<'p> {
    let at_path = ENDPOINTS.iter().find_map(|row| Some((row, matched(row.path, path)?)));
    match at_path {
        Some((row, parameter)) if row.method == *method || is_head_of(row, method) => {
            Found::Endpoint(row, parameter)
        }
        Some((row, _)) => {
            Found::OtherMethod(if row.method == Method::GET { "GET, HEAD" } else { "POST" })
        }
        None => Found::Nothing(nearest(path, ENDPOINTS.iter().map(|row| row.path))),
    }
}

fn is_head_of(row: &Endpoint, method: &Method) -> bool {
    row.method == Method::GET && *method == Method::HEAD
}

/// Whether a path fits a pattern, and its varying segment.
fn matched<'p>(pattern: &str, path: &'p str) -> Option<Option<&'p str>> {
    let varying = pattern.split_once('{').zip(pattern.split_once('}'));
    let Some(((front, _), (_, back))) = varying else {
        return (pattern == path).then_some(None);
    };
    let segment = path.strip_prefix(front)?.strip_suffix(back)?;
    (!segment.is_empty() && !segment.contains('/')).then_some(Some(segment))
}
