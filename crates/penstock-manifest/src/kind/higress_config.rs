//! ConfigMap `higress-config`: settings of the gateway as a whole, a YAML
//! document under the key `higress` (Higress: pkg/ingress/kube/configmap).
//!
//! The document counts as a whole or not at all, as in Higress. The keys
//! `mesh` and `meshNetworks` are Istio's and are not read.

mod gzip;
mod table;

pub use self::gzip::{Gzip, Strategy};
use self::table::{Effect, FIELDS, Field, Form};
use super::config_map::embedded;
use crate::diagnostic::{
    Diagnostic, EMBEDDED_DOCUMENT, INVALID_VALUE, SETTING_NOT_SUPPORTED, Severity, UNKNOWN_FIELD,
    nearest,
};
use crate::node::{Cursor, Node, Value};
use crate::resource::{Resource, SYSTEM_NAMESPACE};

/// The name of the ConfigMap.
pub const NAME: &str = "higress-config";
const KEY: &str = "higress";

/// The settings that are acted upon. `None` and zero leave it to the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HigressConfig {
    /// `downstream.routeTimeout`: the time for a request on every route, in
    /// seconds.
    pub route_timeout_s: Option<u32>,
    /// `downstream.maxRequestHeadersKb`: the largest head, in KiB.
    pub head_kb_max: Option<u32>,
    /// `downstream.idleTimeout`: how long a client connection without a
    /// request is kept, in seconds.
    pub client_idle_timeout_s: Option<u32>,
    /// `upstream.idleTimeout`: how long an unused upstream connection is
    /// kept, in seconds.
    pub pool_idle_timeout_s: Option<u32>,
    /// `addXRealIpHeader`: whether upstreams get `X-Real-IP`.
    pub adds_real_ip: bool,
    /// `gzip`: how answers are compressed; `None` where they are not.
    pub gzip: Option<Gzip>,
}

/// What `--head-limit` allows unless it is raised, in KiB.
const PROCESS_HEAD_KB: i64 = 64;

/// Whether a resource is the one that is read.
pub fn is_higress_config(resource: &Resource) -> bool {
    &*resource.key.kind == "ConfigMap"
        && &*resource.key.name == NAME
        && &*resource.key.namespace == SYSTEM_NAMESPACE
}

impl HigressConfig {
    /// Reads the document; without one, the defaults. `None` with findings
    /// where it cannot be used as a whole.
    pub fn parse(resource: &Resource, diagnostics: &mut Vec<Diagnostic>) -> Option<Self> {
        let node = embedded(resource, KEY, diagnostics)?;
        if node.is_null() {
            return Some(Self { gzip: Some(Gzip::default()), ..Self::default() });
        }
        let source = &resource.source;
        let root = Cursor { node: &node, source, path: format!("data.{KEY}").into() };
        let mut check = Check { is_usable: true, diagnostics };
        check.map(&root, "");
        check.limits(&root);
        check.sections(&root);
        if let Some(gzip) = root.get("gzip") {
            check.compression(&gzip);
        }
        if !check.is_usable {
            return None;
        }
        let number = |section: &str, field: &str| {
            let value = &node.get(section)?.get(field)?.value;
            let Value::Int(number) = value else {
                return None;
            };
            u32::try_from(*number).ok().filter(|number| *number > 0)
        };
        Some(Self {
            route_timeout_s: number("downstream", "routeTimeout"),
            head_kb_max: number("downstream", "maxRequestHeadersKb"),
            client_idle_timeout_s: number("downstream", "idleTimeout"),
            pool_idle_timeout_s: number("upstream", "idleTimeout"),
            adds_real_ip: is_true(&node, "addXRealIpHeader"),
            gzip: Gzip::of(&node),
        })
    }
}

fn is_true(node: &Node, key: &str) -> bool {
    node.get(key).and_then(Node::as_bool) == Some(true)
}

/// Looks at a document field by field.
struct Check<'d> {
    is_usable: bool,
    diagnostics: &'d mut Vec<Diagnostic>,
}

impl Check<'_> {
    fn refuse(&mut self, finding: Diagnostic) {
        self.is_usable = false;
        self.diagnostics.push(finding);
    }

    /// Checks the fields of a mapping whose fields the table has under
    /// `prefix`.
    fn map(&mut self, cursor: &Cursor<'_>, prefix: &str) {
        if cursor.node.as_map().is_none() {
            return self.refuse(cursor.wrong_type("a mapping"));
        }
        for (entry, value) in cursor.entries() {
            let path = format!("{prefix}{}", entry.key);
            let below = format!("{path}.");
            match FIELDS.iter().find(|field| field.path == path) {
                _ if value.node.is_null() => {}
                Some(field) => self.field(&value, field),
                None if FIELDS.iter().any(|field| field.path.starts_with(&below)) => {
                    self.map(&value, &below);
                }
                None => {
                    let mut finding = unknown(&value, prefix, &entry.key);
                    (finding.line, finding.column) = (entry.key_at.line, entry.key_at.column);
                    self.diagnostics.push(finding);
                }
            }
        }
    }

    fn field(&mut self, value: &Cursor<'_>, field: &Field) {
        let node = &value.node.value;
        let expected = match (field.form, node) {
            (Form::Flag, Value::Bool(_)) | (Form::Text, Value::String(_)) => None,
            (Form::Anything, Value::Map(_)) => None,
            (Form::Number(min, max), Value::Int(number)) => (!(min..=max).contains(number))
                .then(|| format!("a whole number from {min} to {max}")),
            (Form::Percentage, Value::Int(0..=100)) => None,
            (Form::Percentage, Value::Float(share)) if (0.0..=100.0).contains(share) => None,
            (Form::Choice(names), Value::String(text)) => {
                (!names.contains(&&**text)).then(|| format!("one of {}", names.join(", ")))
            }
            (Form::Texts, Value::List(list)) if list.iter().all(|node| node.as_str().is_some()) => {
                None
            }
            (Form::Each, Value::List(_)) => {
                for item in value.items() {
                    self.map(&item, &format!("{}[].", field.path));
                }
                None
            }
            (form, _) => Some(form.expected()),
        };
        if let Some(expected) = expected {
            let message = format!("`{}` must be {expected}", value.path);
            return self.refuse(value.diagnostic(&INVALID_VALUE, message));
        }
        if let Effect::None(default, hint) = field.effect
            && !matches!(node, Value::Int(number) if *number == default)
        {
            let message = format!("`{}` is not acted upon", value.path);
            let finding = value.diagnostic(&SETTING_NOT_SUPPORTED, message);
            self.diagnostics.push(finding.with_severity(Severity::Info).with_hint(hint));
        }
    }

    /// Says what is beyond what the process allows by itself.
    fn limits(&mut self, root: &Cursor<'_>) {
        let size = root.descend("downstream.maxRequestHeadersKb");
        if matches!(size.node.value, Value::Int(kb) if kb > PROCESS_HEAD_KB) {
            let message = format!("`{}` is more than --head-limit allows by itself", size.path);
            let finding = size.diagnostic(&SETTING_NOT_SUPPORTED, message);
            self.diagnostics.push(
                finding
                    .with_severity(Severity::Info)
                    .with_hint("raise --head-limit to the same, in bytes"),
            );
        }
    }

    /// Higress: configmap/gzip.go — an empty list of types is a mistake; what
    /// the size of a piece may be only Envoy knows.
    fn compression(&mut self, gzip: &Cursor<'_>) {
        if let Some(chunk) = gzip.get("chunkSize")
            && matches!(chunk.node.value, Value::Int(n) if !gzip::CHUNK_BYTES.contains(&n))
        {
            let message = format!("`{}` is beyond what Envoy takes: 4096 to 65536", chunk.path);
            let finding = chunk.diagnostic(&SETTING_NOT_SUPPORTED, message);
            self.diagnostics.push(
                finding.with_severity(Severity::Info).with_hint("the nearest of these is used"),
            );
        }
        if let Some(types) = gzip.get("contentType")
            && types.node.as_list().is_some_and(<[_]>::is_empty)
        {
            let message = format!("`{}` must not be empty", types.path);
            let finding = types.diagnostic(&INVALID_VALUE, message);
            self.refuse(finding.with_hint("to compress nothing, say `gzip: {enable: false}`"));
        }
    }

    /// Says which functions are switched on and not there.
    fn sections(&mut self, root: &Cursor<'_>) {
        let sections = [
            ("tracing", "no traces are sent", "say `tracing: {enable: false}`"),
            ("mcpServer", "there are no MCP servers", "say `mcpServer: {enable: false}`"),
        ];
        for (section, message, hint) in sections {
            let Some(cursor) = root.get(section).filter(|cursor| is_true(cursor.node, "enable"))
            else {
                continue;
            };
            let finding = cursor.descend("enable").diagnostic(&SETTING_NOT_SUPPORTED, message);
            self.diagnostics.push(finding.with_hint(hint));
            if section == "tracing" {
                self.tracers(&cursor);
            }
        }
    }

    /// Higress: configmap/tracing.go — an enabled tracing has exactly one
    /// kind of collector, with its service and port.
    fn tracers(&mut self, tracing: &Cursor<'_>) {
        let tracers: Vec<Cursor<'_>> = ["zipkin", "skywalking", "opentelemetry"]
            .iter()
            .filter_map(|k| tracing.get(k))
            .collect();
        if tracers.len() != 1 {
            let message = format!("`{}` needs exactly one collector", tracing.path);
            self.refuse(
                tracing
                    .diagnostic(&EMBEDDED_DOCUMENT, message)
                    .with_hint("give it zipkin, skywalking or opentelemetry"),
            );
        }
        for tracer in tracers {
            for field in ["service", "port"] {
                if tracer.get(field).is_none() {
                    let message = format!("`{}` has no {field}", tracer.path);
                    self.refuse(tracer.diagnostic(&EMBEDDED_DOCUMENT, message));
                }
            }
        }
    }
}

fn unknown(value: &Cursor<'_>, prefix: &str, key: &str) -> Diagnostic {
    let message = format!("unknown field `{}`", value.path);
    let finding = value.diagnostic(&UNKNOWN_FIELD, message);
    let siblings =
        FIELDS.iter().filter_map(|field| field.path.strip_prefix(prefix)?.split(['.', '[']).next());
    match nearest(key, siblings) {
        Some(nearest) => finding.with_hint(format!("did you mean `{nearest}`?")),
        None => finding,
    }
}

#[cfg(test)]
mod tests;
