//! What an AI route shares with a plain route of the console: predicates,
//! authentication, retries, CORS, headers.

use super::Place;
use super::secret::{Replace, SecretText};
use crate::diagnostic::{Diagnostic, INVALID_VALUE};
use crate::schema::{Fields, Object, Shape, optional, required};

const TEXTS: Shape = Shape::List(&Shape::Text);
const COUNT: Shape = Shape::Int(0, i64::MAX);
const MATCH_TYPE: Shape = Shape::OneOf(&["EQUAL", "PRE", "REGULAR"]);
const CASE_SENSITIVE: crate::schema::Field =
    optional("caseSensitive", Shape::Bool, "Whether the case of letters matters.");

/// The fields of a path predicate.
pub const PATH: Object = Object {
    name: "PathPredicate",
    doc: "Which paths a route takes.",
    fields: &[
        required(
            "matchType",
            Shape::OneOf(&["PRE"]),
            "`PRE`: the path itself and what is below it.",
        ),
        required("matchValue", Shape::Text, "The path."),
        CASE_SENSITIVE,
    ],
};

/// The fields of a predicate on a header or a query parameter.
pub const KEYED: Object = Object {
    name: "KeyedPredicate",
    doc: "What a header or a query parameter must be.",
    fields: &[
        required("key", Shape::Text, "Its name; `:method` and the like are pseudo headers."),
        required("matchType", MATCH_TYPE, "Equal, a prefix, or a regular expression."),
        required("matchValue", Shape::Text, "The value."),
        CASE_SENSITIVE,
    ],
};

/// The fields of a predicate on the model.
pub const MODEL: Object = Object {
    name: "ModelPredicate",
    doc: "Which models a route takes.",
    fields: &[
        required("matchType", Shape::OneOf(&["EQUAL", "PRE"]), "Equal, or a prefix."),
        required("matchValue", Shape::Text, "The model."),
        CASE_SENSITIVE,
    ],
};

/// The fields of `authConfig`.
pub const AUTH: Object = Object {
    name: "AuthConfig",
    doc: "Who may use a route.",
    fields: &[
        required("enabled", Shape::Bool, "Whether only the consumers below may."),
        optional(
            "allowedCredentialTypes",
            Shape::List(&Shape::OneOf(&["key-auth"])),
            "Only `key-auth` exists.",
        ),
        optional("allowedConsumers", TEXTS, "The consumers; an empty list lets nobody pass."),
    ],
};

/// The fields of `proxyNextUpstream`.
pub const RETRY: Object = Object {
    name: "ProxyNextUpstream",
    doc: "When a request is tried again.",
    fields: &[
        required("enabled", Shape::Bool, "Whether it is."),
        optional("attempts", COUNT, "How often."),
        optional("timeout", COUNT, "Seconds that all attempts may take together."),
        optional(
            "conditions",
            Shape::List(&Shape::OneOf(&[
                "error",
                "timeout",
                "invalid_header",
                "http_500",
                "http_502",
                "http_503",
                "http_504",
                "http_403",
                "http_404",
                "http_429",
                "non_idempotent",
            ])),
            "After which failures.",
        ),
    ],
};

/// The fields of `cors`.
pub const CORS: Object = Object {
    name: "Cors",
    doc: "What browsers may do.",
    fields: &[
        required("enabled", Shape::Bool, "Whether the headers below are sent."),
        optional("allowOrigins", TEXTS, "Access-Control-Allow-Origin."),
        optional("allowMethods", TEXTS, "Access-Control-Allow-Methods."),
        optional("allowHeaders", TEXTS, "Access-Control-Allow-Headers."),
        optional("exposeHeaders", TEXTS, "Access-Control-Expose-Headers."),
        optional("maxAge", COUNT, "Access-Control-Max-Age, in seconds."),
        optional("allowCredentials", Shape::Bool, "Access-Control-Allow-Credentials."),
    ],
};

/// The fields of `headerControl`.
pub const HEADER_CONTROL: Object = Object {
    name: "HeaderControl",
    doc: "Headers that are added, set or removed.",
    fields: &[
        required("enabled", Shape::Bool, "Whether it is done."),
        optional("request", Shape::Object(&HEADER_STAGE), "On the way to the service."),
        optional("response", Shape::Object(&HEADER_STAGE), "On the way back."),
    ],
};

/// The fields of one direction of `headerControl`.
pub const HEADER_STAGE: Object = Object {
    name: "HeaderControlStage",
    doc: "Headers of one direction.",
    fields: &[
        optional("add", Shape::List(&Shape::Object(&HEADER)), "Added beside what is there."),
        optional("set", Shape::List(&Shape::Object(&HEADER)), "Set instead of what is there."),
        optional("remove", TEXTS, "Removed."),
    ],
};

/// The fields of a header.
pub const HEADER: Object = Object {
    name: "Header",
    doc: "A header and its value.",
    fields: &[
        required("key", Shape::Text, "The name."),
        required(
            "value",
            Shape::Secret,
            "The value; `${env:NAME}` and `${file:PATH}` are looked up when applying.",
        ),
    ],
};

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchType {
    /// It is equal.
    Equal,
    /// It begins so.
    Prefix,
    /// The regular expression matches.
    Regular,
}

impl MatchType {
    fn read(fields: &Fields<'_>) -> Option<Self> {
        match fields.text("matchType")? {
            "EQUAL" => Some(Self::Equal),
            "PRE" => Some(Self::Prefix),
            "REGULAR" => Some(Self::Regular),
            _ => None,
        }
    }

    /// As in JSON: `EQUAL`, `PRE` or `REGULAR`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "EQUAL",
            Self::Prefix => "PRE",
            Self::Regular => "REGULAR",
        }
    }

    /// As in annotations: `exact`, `prefix` or `regex`.
    pub fn as_annotation(self) -> &'static str {
        match self {
            Self::Equal => "exact",
            Self::Prefix => "prefix",
            Self::Regular => "regex",
        }
    }
}

/// A condition on the path, a header, a parameter or the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predicate {
    /// The header or parameter; none for paths and models.
    pub key: Option<Box<str>>,
    /// How it is compared.
    pub match_type: MatchType,
    /// The value.
    pub value: Box<str>,
    /// Whether case matters, where it says so.
    pub is_case_sensitive: Option<bool>,
}

impl Predicate {
    pub(super) fn read(
        fields: &Fields<'_>,
        is_keyed: bool,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Self> {
        let key = if is_keyed { Some(fields.text("key")?) } else { None };
        let value = fields.get("matchValue")?;
        let text = value.node.as_str()?;
        let is_printable =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if !is_printable(text) || !key.is_none_or(|key| is_printable(key) && !key.contains(' ')) {
            let message = "a predicate must be printable ASCII and not empty";
            diagnostics.push(fields.cursor.diagnostic(&INVALID_VALUE, message));
        }
        Some(Self {
            key: key.map(Into::into),
            match_type: MatchType::read(fields)?,
            value: text.into(),
            is_case_sensitive: fields.flag("caseSensitive"),
        })
    }
}

/// Who may use a route.
#[derive(Clone, Debug, PartialEq)]
pub struct AuthConfig {
    /// Whether only the consumers may.
    pub is_enabled: bool,
    /// `allowedCredentialTypes`.
    pub credential_types: Option<Vec<Box<str>>>,
    /// The consumers and where each is named.
    pub consumers: Option<Vec<(Box<str>, Place)>>,
}

impl AuthConfig {
    pub(super) fn read(fields: &Fields<'_>) -> Self {
        let consumers = fields.get("allowedConsumers").map(|list| {
            list.items()
                .filter_map(|item| Some((item.node.as_str()?.into(), Place::of(&item))))
                .collect()
        });
        Self {
            is_enabled: fields.flag("enabled") == Some(true),
            credential_types: fields.texts("allowedCredentialTypes"),
            consumers,
        }
    }
}

/// When a request is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Whether it is.
    pub is_enabled: bool,
    /// How often.
    pub attempts: Option<i64>,
    /// Seconds for all attempts.
    pub timeout_seconds: Option<i64>,
    /// After which failures.
    pub conditions: Option<Vec<Box<str>>>,
}

/// What the console gives to every AI route that says nothing.
impl Default for Retry {
    fn default() -> Self {
        let conditions = ["error", "timeout", "non_idempotent"];
        Self {
            is_enabled: true,
            attempts: Some(3),
            timeout_seconds: Some(120),
            conditions: Some(conditions.map(Into::into).to_vec()),
        }
    }
}

impl Retry {
    pub(super) fn read(fields: &Fields<'_>) -> Self {
        Self {
            is_enabled: fields.flag("enabled") == Some(true),
            attempts: fields.int("attempts"),
            timeout_seconds: fields.int("timeout"),
            conditions: fields.texts("conditions"),
        }
    }
}

/// What browsers may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Whether the headers are sent.
    pub is_enabled: bool,
    /// The lists that are given, by their field.
    pub lists: Vec<(&'static str, Vec<Box<str>>)>,
    /// Seconds.
    pub max_age: Option<i64>,
    /// Whether credentials are allowed.
    pub allow_credentials: Option<bool>,
}

impl Cors {
    pub(super) fn read(fields: &Fields<'_>) -> Self {
        let names = ["allowOrigins", "allowMethods", "allowHeaders", "exposeHeaders"];
        Self {
            is_enabled: fields.flag("enabled") == Some(true),
            lists: names.iter().filter_map(|name| Some((*name, fields.texts(name)?))).collect(),
            max_age: fields.int("maxAge"),
            allow_credentials: fields.flag("allowCredentials"),
        }
    }
}

/// A header and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub key: Box<str>,
    /// Its value.
    pub value: Box<str>,
    /// Where the value stands.
    pub place: Place,
}

/// Headers that are changed in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderStage {
    /// Added beside what is there.
    pub add: Option<Vec<Header>>,
    /// Set instead of what is there.
    pub set: Option<Vec<Header>>,
    /// Removed.
    pub remove: Option<Vec<Box<str>>>,
}

/// Headers that are changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderControl {
    /// Whether it is done.
    pub is_enabled: bool,
    /// On the way to the service.
    pub request: Option<HeaderStage>,
    /// On the way back.
    pub response: Option<HeaderStage>,
}

impl HeaderControl {
    pub(super) fn read(fields: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) -> Self {
        let mut stage = |name| {
            let fields = fields.object(name, &HEADER_STAGE)?;
            let mut headers = |name| {
                let list = fields.objects(name, &HEADER)?;
                Some(list.iter().filter_map(|header| read_header(header, diagnostics)).collect())
            };
            Some(HeaderStage {
                add: headers("add"),
                set: headers("set"),
                remove: fields.texts("remove"),
            })
        };
        Self {
            is_enabled: fields.flag("enabled") == Some(true),
            request: stage("request"),
            response: stage("response"),
        }
    }
}

impl HeaderControl {
    /// The same with every value that is looked up replaced by what `found`
    /// says, in the order of the file.
    pub(crate) fn replace_secrets(&self, found: &mut Replace<'_>) -> Self {
        let mut replaced = self.clone();
        let stages = [&mut replaced.request, &mut replaced.response];
        for stage in stages.into_iter().flatten() {
            for header in [&mut stage.add, &mut stage.set].into_iter().flatten().flatten() {
                if let Ok(secret @ (SecretText::Env(_) | SecretText::File(_))) =
                    SecretText::parse(&header.value)
                {
                    header.value = found(secret, header.place.clone()).into();
                }
            }
        }
        replaced
    }
}

/// The annotation holds one header a line, so neither may hold a line end.
fn read_header(fields: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Header> {
    let (key, value) = (fields.text("key")?, fields.text("value")?);
    let is_name = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_name || value.chars().any(char::is_control) {
        let message = "a header needs a name without blanks and a value on one line";
        diagnostics.push(fields.cursor.diagnostic(&INVALID_VALUE, message));
        return None;
    }
    if let Err(mistake) = SecretText::parse(value) {
        diagnostics.push(mistake.at(&fields.get("value")?));
        return None;
    }
    let place = Place::of(&fields.get("value")?);
    Some(Header { key: key.into(), value: value.into(), place })
}
