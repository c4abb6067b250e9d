//! The configuration of key-auth, read piece by piece: a bad consumer is set
//! aside alone, a credential that two consumers share is taken from both.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use http::header::HeaderValue;
use penstock_manifest::diagnostic::{
    AUTH_LOCAL_NOT_ENFORCED, CONSUMER_INVALID, CREDENTIAL_SHARED, KEY_AUTH_GLOBAL_INVALID,
    PLUGIN_CONFIG_INVALID,
};
use penstock_manifest::kind::wasm_plugin::{MatchRule, WasmPlugin};
use penstock_manifest::redact::redact;
use penstock_manifest::{Cursor, Diagnostic, Node, Position, Source};

use super::expiry;
use super::registry::{Credential, KeyPlace, Registry};
use crate::plugin::{Consumer, repair_entries};

const GLOBAL_FIELDS: &[&str] =
    &["global_auth", "consumers", "credentials", "keys", "in_header", "in_query", "realm", "allow"];
const RULE_FIELDS: &[&str] = &[
    "allow",
    "consumers",
    "credentials",
    "keys",
    "in_header",
    "in_query",
    "realm",
    "_disable_",
    "global_auth",
];
const CONSUMER_FIELDS: &[&str] =
    &["name", "credential", "credentials", "keys", "in_header", "in_query", expiry::FIELD];

/// The global part.
pub(super) struct Global {
    /// `global_auth`; `None` where absent.
    pub(super) global_auth: Option<bool>,
    /// Whether `global_auth` is there but no boolean.
    pub(super) is_global_auth_broken: bool,
    /// Whether there is a global configuration at all.
    pub(super) is_configured: bool,
    /// The consumers; `None` where there are none that can be used.
    pub(super) registry: Option<Registry>,
}

impl Global {
    /// Reads the global part of a WasmPlugin.
    pub(super) fn parse(plugin: &WasmPlugin<'_>, diagnostics: &mut Vec<Diagnostic>) -> Self {
        let config = plugin.default_config.as_ref();
        let Some(config) =
            config.filter(|c| c.node.as_map().is_some_and(|m| !m.entries.is_empty()))
        else {
            return Self {
                global_auth: None,
                is_global_auth_broken: false,
                is_configured: false,
                registry: None,
            };
        };
        config.report_unknown_keys(GLOBAL_FIELDS, diagnostics);
        let written = config.get_even_null("global_auth");
        let global_auth = written.as_ref().and_then(|flag| flag.bool(diagnostics));
        Self {
            global_auth,
            is_global_auth_broken: written.is_some() && global_auth.is_none(),
            is_configured: true,
            registry: parse_registry(config, plugin.is_go, diagnostics),
        }
    }
}

/// What a rule asks for.
pub(super) enum RuleConfig {
    /// `_disable_`: nothing.
    Off,
    /// It cannot be used, so its routes are closed.
    Broken,
    /// These consumers of the global part.
    Allow(HashSet<Arc<str>>),
    /// Consumers of its own.
    Local(Box<Registry>),
}

impl RuleConfig {
    /// Reads a rule.
    pub(super) fn parse(
        rule: &MatchRule<'_>,
        is_go: bool,
        global_auth: Option<bool>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        // Higress: an enabled rule that allows nobody denies everybody.
        let Some(config) = &rule.config else {
            return if is_go {
                Self::empty_allow_in_go(&rule.cursor, diagnostics)
            } else {
                Self::Allow(HashSet::new())
            };
        };
        if config.node.as_map().is_none() {
            diagnostics.push(config.wrong_type("a mapping"));
            return Self::Broken;
        }
        config.report_unknown_keys(RULE_FIELDS, diagnostics);
        if config.get("_disable_").is_some_and(|flag| flag.bool(diagnostics) == Some(true)) {
            return Self::Off;
        }
        let is_local = ["consumers", "credentials"].iter().any(|key| config.get(key).is_some());
        if is_local && !is_go {
            if let Some(registry) = parse_registry(config, false, diagnostics) {
                if global_auth == Some(false) {
                    diagnostics.push(config.diagnostic(
                        &AUTH_LOCAL_NOT_ENFORCED,
                        "Higress does not enforce these consumers while global_auth is false; penstock does",
                    ));
                }
                return Self::Local(Box::new(registry));
            }
            if config.get("allow").is_none() {
                return Self::Broken;
            }
        }
        match parse_allow(config, diagnostics) {
            None => Self::Broken,
            Some(allow) if allow.is_empty() && is_go => {
                Self::empty_allow_in_go(&rule.cursor, diagnostics)
            }
            Some(allow) => Self::Allow(allow),
        }
    }

    fn empty_allow_in_go(cursor: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Self {
        diagnostics.push(cursor.diagnostic(
            &PLUGIN_CONFIG_INVALID,
            "the Go build of key-auth needs a non-empty `allow`",
        ));
        Self::Broken
    }
}

/// The names of `allow`; `None` where it is no list. A name that is no text
/// allows nobody.
fn parse_allow(
    config: &Cursor<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<HashSet<Arc<str>>> {
    let Some(allow) = config.get("allow") else {
        return Some(HashSet::new());
    };
    if allow.node.as_list().is_none() {
        diagnostics.push(allow.wrong_type("a list of consumer names"));
        return None;
    }
    Some(allow.items().filter_map(|name| name.text(diagnostics)).map(Arc::from).collect())
}

/// A consumer as read, before shared credentials are taken out.
struct Candidate<'a> {
    name: &'a str,
    credentials: Vec<Cursor<'a>>,
    /// When each of them ends.
    ends: Vec<u64>,
    keys: Option<Vec<KeyPlace>>,
}

fn parse_registry(
    config: &Cursor<'_>,
    is_go: bool,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Registry> {
    let (consumers, credentials) = (config.get("consumers"), config.get("credentials"));
    let keys = parse_keys(config, is_go, diagnostics)?;
    match (consumers, credentials) {
        (Some(consumers), None) => {
            if consumers.node.as_list().is_none() {
                diagnostics.push(consumers.wrong_type("a list"));
                return None;
            }
            let candidates: Vec<Candidate<'_>> = consumers
                .items()
                .filter_map(|entry| parse_consumer(&entry, is_go, diagnostics))
                .collect();
            Some(registry_of(&candidates, &keys, diagnostics))
        }
        (None, Some(credentials)) if !is_go => {
            if keys.is_empty() {
                diagnostics.push(config.diagnostic(
                    &KEY_AUTH_GLOBAL_INVALID,
                    "`credentials` without consumers need a non-empty `keys`",
                ));
                return None;
            }
            let realm = config.get("realm").and_then(|realm| realm.text(diagnostics));
            let mut registry = Registry::new(true, realm);
            let credentials: Vec<Credential<'_>> = credentials
                .items()
                .filter_map(|item| item.text(diagnostics))
                .filter(|text| !text.is_empty())
                .map(|text| Credential { text, expires_s: expiry::NEVER })
                .collect();
            registry.add(nobody(), &credentials, &keys, true);
            Some(registry)
        }
        (Some(_), Some(_)) => {
            diagnostics.push(config.diagnostic(
                &KEY_AUTH_GLOBAL_INVALID,
                "`consumers` and `credentials` exclude each other",
            ));
            None
        }
        _ => {
            diagnostics.push(
                config
                    .diagnostic(&KEY_AUTH_GLOBAL_INVALID, "key-auth has no `consumers`")
                    .with_hint("write `consumers: []` if nobody shall pass"),
            );
            None
        }
    }
}

fn nobody() -> Consumer {
    Consumer { name: "".into(), header_value: HeaderValue::from_static(""), fingerprint: 0 }
}

/// The global key names; an empty list where none are needed, `None` where
/// they cannot be used.
fn parse_keys(
    config: &Cursor<'_>,
    is_go: bool,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Vec<KeyPlace>> {
    let header = read_flag(config, "in_header", !is_go, diagnostics)?;
    let query = read_flag(config, "in_query", !is_go, diagnostics)?;
    let Some(keys) = config.get("keys") else {
        if is_go {
            diagnostics.push(
                config
                    .diagnostic(&KEY_AUTH_GLOBAL_INVALID, "the Go build of key-auth needs `keys`"),
            );
            return None;
        }
        return Some(Vec::new());
    };
    let names = key_names(&keys, diagnostics)?;
    if !header && !query {
        diagnostics.push(
            config
                .diagnostic(&KEY_AUTH_GLOBAL_INVALID, "neither `in_header` nor `in_query` is true")
                .with_hint("set in_header: true"),
        );
        return None;
    }
    // Higress: the Go build looks at the query only where headers are off.
    let query = query && !(is_go && header);
    Some(
        names
            .into_iter()
            .map(|name| KeyPlace { name, in_header: header, in_query: query })
            .collect(),
    )
}

fn read_flag(
    config: &Cursor<'_>,
    key: &str,
    default: bool,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<bool> {
    match config.get(key) {
        None => Some(default),
        Some(flag) => flag.bool(diagnostics),
    }
}

fn key_names(keys: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Vec<Box<str>>> {
    if keys.node.as_list().is_none() {
        diagnostics.push(keys.wrong_type("a list of names"));
        return None;
    }
    Some(
        keys.items()
            .filter_map(|name| name.text(diagnostics))
            .filter(|name| !name.is_empty())
            .map(Into::into)
            .collect(),
    )
}

fn parse_consumer<'a>(
    entry: &Cursor<'a>,
    is_go: bool,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Candidate<'a>> {
    let before = diagnostics.len();
    let candidate = read_consumer(entry, is_go, diagnostics);
    if candidate.is_none() {
        let name = entry.node.get("name").and_then(Node::as_str).unwrap_or("without a name");
        if diagnostics.len() == before {
            diagnostics.push(entry.diagnostic(
                &CONSUMER_INVALID,
                format!("consumer `{name}` cannot be used and is set aside"),
            ));
        }
        for diagnostic in diagnostics.iter_mut().skip(before) {
            diagnostic.code = &CONSUMER_INVALID;
        }
    }
    candidate
}

fn read_consumer<'a>(
    entry: &Cursor<'a>,
    is_go: bool,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Candidate<'a>> {
    if entry.node.as_map().is_none() {
        diagnostics.push(entry.wrong_type("a mapping"));
        return None;
    }
    entry.report_unknown_keys(CONSUMER_FIELDS, diagnostics);
    let invalid =
        |cursor: &Cursor<'_>, message: String| cursor.diagnostic(&CONSUMER_INVALID, message);
    let Some(name) = entry.get("name") else {
        diagnostics.push(invalid(entry, "a consumer has no `name`".into()));
        return None;
    };
    let text = name.text(diagnostics)?;
    if text.is_empty() || HeaderValue::from_bytes(text.as_bytes()).is_err() {
        diagnostics.push(invalid(&name, "a consumer's name cannot be a header value".into()));
        return None;
    }
    let credentials = match (entry.get("credential"), entry.get("credentials")) {
        (Some(one), None) => vec![one],
        (None, Some(several)) if several.node.as_list().is_some() => several.items().collect(),
        (None, Some(several)) => {
            diagnostics.push(several.wrong_type("a list"));
            return None;
        }
        (Some(_), Some(_)) => {
            diagnostics.push(invalid(
                entry,
                format!("consumer `{text}` has both `credential` and `credentials`"),
            ));
            return None;
        }
        (None, None) => {
            diagnostics.push(invalid(entry, format!("consumer `{text}` has no credential")));
            return None;
        }
    };
    let mut texts = Vec::with_capacity(credentials.len());
    for credential in &credentials {
        texts.push(credential.text(diagnostics)?);
        if texts.last() == Some(&"") {
            diagnostics.push(invalid(credential, format!("a credential of `{text}` is empty")));
            return None;
        }
    }
    let ends = expiry::read(entry, &texts, diagnostics)?;
    let keys = match entry.get("keys").filter(|_| !is_go) {
        None => None,
        Some(keys) => Some(own_keys(entry, &keys, diagnostics)?),
    };
    Some(Candidate { name: text, credentials, ends, keys })
}

fn own_keys(
    entry: &Cursor<'_>,
    keys: &Cursor<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Vec<KeyPlace>> {
    let names = key_names(keys, diagnostics)?;
    let in_header = read_flag(entry, "in_header", true, diagnostics)?;
    let in_query = read_flag(entry, "in_query", true, diagnostics)?;
    if names.is_empty() || (!in_header && !in_query) {
        diagnostics.push(entry.diagnostic(
            &CONSUMER_INVALID,
            "a consumer's keys name no header and no query parameter",
        ));
        return None;
    }
    Some(names.into_iter().map(|name| KeyPlace { name, in_header, in_query }).collect())
}

fn registry_of(
    candidates: &[Candidate<'_>],
    keys: &[KeyPlace],
    diagnostics: &mut Vec<Diagnostic>,
) -> Registry {
    let mut owners: HashMap<&str, (usize, &Cursor<'_>)> = HashMap::new();
    let mut shared: HashSet<&str> = HashSet::new();
    for (index, candidate) in candidates.iter().enumerate() {
        for cursor in &candidate.credentials {
            let Some(text) = cursor.node.as_str() else { continue };
            match owners.get(text) {
                Some((owner, _))
                    if candidates.get(*owner).is_some_and(|o| o.name == candidate.name) => {}
                Some((owner, first)) => {
                    shared.insert(text);
                    let other = candidates.get(*owner).map_or("", |owner| owner.name);
                    diagnostics.push(cursor.diagnostic(
                        &CREDENTIAL_SHARED,
                        format!(
                            "consumers `{other}` (line {}) and `{}` share the credential {}: it authenticates nobody",
                            first.node.at.line, candidate.name, redact(text)
                        ),
                    ));
                }
                None => {
                    owners.insert(text, (index, cursor));
                }
            }
        }
    }
    let mut registry = Registry::new(false, None);
    for candidate in candidates {
        let credentials: Vec<Credential<'_>> = candidate
            .credentials
            .iter()
            .zip(&candidate.ends)
            .filter_map(|(cursor, end)| {
                Some(Credential { text: cursor.node.as_str()?, expires_s: *end })
            })
            .filter(|credential| !shared.contains(credential.text))
            .collect();
        let Ok(header_value) = HeaderValue::from_bytes(candidate.name.as_bytes()) else { continue };
        let consumer = Consumer { name: candidate.name.into(), header_value, fingerprint: 0 };
        match &candidate.keys {
            Some(own) => registry.add(consumer, &credentials, own, true),
            None => registry.add(consumer, &credentials, keys, false),
        }
    }
    registry
}

/// Keeps what was good: the whole global part where the new one cannot be
/// used at all, else each consumer that cannot.
pub(in crate::plugin) fn repair(config: &mut Node, last_good: &Node) -> Vec<String> {
    let source = Source { file: "".into(), document: 0, at: Position::default() };
    let is_usable = |node: &Node| {
        let cursor = Cursor::root(node, &source);
        let flag_is_good =
            cursor.get_even_null("global_auth").is_none_or(|f| f.node.as_bool().is_some());
        flag_is_good && parse_registry(&cursor, false, &mut Vec::new()).is_some()
    };
    if !is_usable(config) && is_usable(last_good) {
        *config = last_good.clone();
        return vec!["defaultConfig".to_owned()];
    }
    repair_entries(config, last_good, ("consumers", "name"), |consumer| {
        read_consumer(consumer, false, &mut Vec::new()).is_some()
    })
}
