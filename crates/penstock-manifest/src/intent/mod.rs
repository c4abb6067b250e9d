//! What an operator means: domains, LLM providers, consumers, AI routes and
//! service sources, with the field names and shapes of the console's REST API.
//!
//! Several files become one [`Intent`]. One file per thing: its table of
//! fields, its struct, how it is read and what it becomes. What crosses
//! things, such as a route that names a provider, is in `references.rs`.
//!
//! Nothing here does I/O: `${env:NAME}` and `${file:PATH}` stay what they are
//! until [`secret::resolve`] is given somebody who can look them up.
//!
//! Invariant: an intent with an error among its diagnostics is not rendered.
//! Invariant: no secret is in `Debug` or in a diagnostic.

pub mod ai_route;
pub mod consumer;
pub mod domain;
mod endpoint;
pub mod export;
pub mod llm_provider;
mod name;
mod references;
pub mod route_setting;
pub mod secret;
pub mod service_source;

use std::sync::Arc;

use crate::diagnostic::{self, Diagnostic, INTENT_EMPTY, WRONG_TYPE};
use crate::node::{Cursor, Node, Position, Source};
use crate::schema::{self, Fields, Object, Shape, optional};
use crate::yaml;

use references::Broken;

pub use ai_route::AiRoute;
pub use consumer::Consumer;
pub use domain::Domain;
pub use endpoint::Endpoint;
pub use llm_provider::LlmProvider;
pub use service_source::ServiceSource;

const DOMAINS: Shape = Shape::Object(&domain::OBJECT);
const PROVIDERS: Shape = Shape::Object(&llm_provider::OBJECT);
const CONSUMERS: Shape = Shape::Object(&consumer::OBJECT);
const AI_ROUTES: Shape = Shape::Object(&ai_route::OBJECT);
const SERVICE_SOURCES: Shape = Shape::Object(&service_source::OBJECT);

/// An intent file.
pub const OBJECT: Object = Object {
    name: "Intent",
    doc: "What a penstock gateway is meant to do. Several files are merged.",
    fields: &[
        optional("domains", Shape::List(&DOMAINS), "The domains that clients call."),
        optional("providers", Shape::List(&PROVIDERS), "The LLM services that requests go to."),
        optional("consumers", Shape::List(&CONSUMERS), "Who may call, and with which key."),
        optional("aiRoutes", Shape::List(&AI_ROUTES), "Which requests go to which providers."),
        optional("serviceSources", Shape::List(&SERVICE_SOURCES), "Other services, by address."),
    ],
};

/// Where a thing of an intent stands.
#[derive(Clone, Debug)]
pub struct Place {
    /// The document.
    pub source: Source,
    /// The position in its file.
    pub at: Position,
    /// The key path.
    pub path: Arc<str>,
}

/// Where something stands is no difference.
impl PartialEq for Place {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Place {}

impl Place {
    /// Where a cursor stands.
    pub fn of(cursor: &Cursor<'_>) -> Self {
        Self {
            source: cursor.source.clone(),
            at: cursor.node.at,
            path: Arc::from(cursor.path.as_ref()),
        }
    }

    /// No place, for things that no file holds.
    pub fn nowhere() -> Self {
        let source = Source { file: "".into(), document: 0, at: Position::default() };
        Self { source, at: Position::default(), path: "".into() }
    }

    /// Where a value below stands.
    pub(crate) fn below(&self, path: &str, node: &Node) -> Self {
        Self { source: self.source.clone(), at: node.at, path: path.into() }
    }

    /// A finding here.
    pub fn diagnostic(
        &self,
        code: &'static diagnostic::Code,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic::at(code, &self.source, self.at, message).with_path(&*self.path)
    }

    /// `file:line`, for messages about another place.
    pub fn short(&self) -> String {
        format!("{}:{}", self.source.file, self.at.line)
    }
}

/// What an operator means.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Intent {
    /// The domains that clients call.
    pub domains: Vec<Domain>,
    /// The LLM services that requests go to.
    pub providers: Vec<LlmProvider>,
    /// Who may call, and with which key.
    pub consumers: Vec<Consumer>,
    /// Which requests go to which providers.
    pub ai_routes: Vec<AiRoute>,
    /// Other services, by address.
    pub service_sources: Vec<ServiceSource>,
}

/// One file of an intent.
#[derive(Clone, Copy, Debug)]
pub struct IntentFile<'a> {
    /// The file as the user named it, or `<stdin>`.
    pub name: &'a str,
    /// Its text: YAML or JSON, one or more documents.
    pub text: &'a str,
}

/// Reads an intent and checks it as a whole. With an error among the
/// diagnostics the intent is incomplete and must not be rendered.
pub fn parse<'a>(files: impl IntoIterator<Item = IntentFile<'a>>) -> (Intent, Vec<Diagnostic>) {
    let mut reader = Reader::default();
    let mut nothing_in: Option<Arc<str>> = None;
    let mut is_empty = true;
    for file in files {
        let name: Arc<str> = file.name.into();
        for (number, document) in yaml::parse(file.text).into_iter().enumerate() {
            is_empty = false;
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            let source = Source { file: name.clone(), document: number, at: document.at };
            match document.result {
                Ok(root) => reader.document(&root, &source),
                Err(error) => reader.diagnostics.push(Diagnostic::at(
                    error.kind.code(),
                    &source,
                    error.at,
                    error.message.into_owned(),
                )),
            }
        }
        nothing_in.get_or_insert(name);
    }
    let Reader { intent, broken, mut diagnostics } = reader;
    if is_empty {
        diagnostics.push(nothing(nothing_in.unwrap_or_else(|| "intent".into())));
    }
    references::check(&intent, &broken, &mut diagnostics);
    diagnostic::sort(&mut diagnostics);
    (intent, diagnostics)
}

/// A finding about an intent without any document: what an interrupted pipe
/// leaves would otherwise mean that nothing shall be there.
fn nothing(file: Arc<str>) -> Diagnostic {
    let at = Position::new(1, 1);
    let source = Source { file, document: 0, at };
    let hint = "if that is meant, say so: `domains: []`";
    Diagnostic::at(&INTENT_EMPTY, &source, at, "the intent is empty").with_hint(hint)
}

/// What has been read so far.
#[derive(Default)]
struct Reader {
    intent: Intent,
    broken: Broken,
    diagnostics: Vec<Diagnostic>,
}

impl Reader {
    fn document(&mut self, root: &Node, source: &Source) {
        let cursor = Cursor::root(root, source);
        if root.as_map().is_none() {
            let message = format!("an intent must be a mapping, not {}", root.type_name());
            self.diagnostics.push(cursor.diagnostic(&WRONG_TYPE, message));
            return;
        }
        if root.get("kind").is_some() && root.get("apiVersion").is_some() {
            let message = "this is a Kubernetes manifest, not an intent";
            let hint =
                "an intent has `domains`, `providers`, `consumers`, `aiRoutes`, `serviceSources`";
            self.diagnostics.push(cursor.diagnostic(&WRONG_TYPE, message).with_hint(hint));
            return;
        }
        schema::check(&cursor, &OBJECT, &mut self.diagnostics);
        self.sections(&Fields::new(cursor, &OBJECT));
    }

    fn sections(&mut self, fields: &Fields<'_>) {
        let Self { intent, broken, diagnostics } = self;
        let objects = |name, object| fields.objects(name, object).unwrap_or_default();
        for entry in objects("domains", &domain::OBJECT) {
            let found = Domain::read(&entry, diagnostics);
            if found.as_ref().is_none_or(|_| !domain::is_https_known(&entry)) {
                broken.domains.extend(entry.text("name").map(Into::into));
            }
            intent.domains.extend(found);
        }
        for entry in objects("providers", &llm_provider::OBJECT) {
            match LlmProvider::read(&entry, diagnostics) {
                Some(provider) => intent.providers.push(provider),
                None => broken.providers.extend(entry.text("name").map(Into::into)),
            }
        }
        for entry in objects("consumers", &consumer::OBJECT) {
            match Consumer::read(&entry, diagnostics) {
                Some(consumer) => intent.consumers.push(consumer),
                None => broken.consumers.extend(entry.text("name").map(Into::into)),
            }
        }
        for entry in objects("aiRoutes", &ai_route::OBJECT) {
            intent.ai_routes.extend(AiRoute::read(&entry, diagnostics));
        }
        for entry in objects("serviceSources", &service_source::OBJECT) {
            intent.service_sources.extend(ServiceSource::read(&entry, diagnostics));
        }
    }
}

/// The JSON Schema of an intent file.
pub fn json_schema() -> serde_json::Value {
    schema::json_schema(&OBJECT, "penstock intent")
}
