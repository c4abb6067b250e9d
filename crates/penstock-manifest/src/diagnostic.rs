//! A finding about configuration: code, place, message, fix.
//!
//! Every code is a constant and a row of [`CODES`]; codes never change their
//! meaning, so that scripts and a translation can rely on them. The hundreds
//! digit is the family: 0 what an operator means, and plans made from it,
//! 1 files and YAML, 2 resources and fields, 3 routing,
//! 4 services, 5 plugins, 6 authentication, 7 LLM providers, 8 what the
//! console keeps, 9 console hints (`lint --console` only).

use std::fmt;
use std::sync::Arc;

use crate::node::{Position, Source};

/// The longest message, path or hint; longer ones are cut.
const TEXT_BYTES_MAX: usize = 600;

/// How bad a finding is. Ordered: `Error` is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Works, but is dangerous, drifts or will surprise.
    Warning,
    /// Does not work, or was set aside.
    Error,
}

impl Severity {
    /// `error`, `warning` or `info`.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A kind of finding.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// The stable code, such as `PS401`.
    pub id: &'static str,
    /// The severity it has unless a place says otherwise.
    pub severity: Severity,
    /// One line for the reference: what is wrong.
    pub title: &'static str,
    /// What follows from it and what to do, for the reference.
    pub help: &'static str,
}

/// A finding with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What kind of finding.
    pub code: &'static Code,
    /// How bad it is here.
    pub severity: Severity,
    /// The file, as the user named it.
    pub file: Arc<str>,
    /// The line, from 1; 0 where no text is at the origin.
    pub line: u32,
    /// The column in characters, from 1; 0 where unknown.
    pub column: u32,
    /// The key path inside the document, possibly empty.
    pub path: String,
    /// What is wrong, one sentence, without secrets.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A finding at a position of a document.
    pub fn at(
        code: &'static Code,
        source: &Source,
        at: Position,
        message: impl Into<String>,
    ) -> Self {
        Self::in_file(code, source.file.clone(), at, message)
    }

    /// A finding about a file, whether or not it could be read.
    pub fn in_file(
        code: &'static Code,
        file: Arc<str>,
        at: Position,
        message: impl Into<String>,
    ) -> Self {
        Self {
            code,
            severity: code.severity,
            file,
            line: at.line,
            column: at.column,
            path: String::new(),
            message: shortened(message.into()),
            hint: None,
        }
    }

    /// The finding for programs. Stable: members are only ever added.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "code": self.code.id,
            "severity": self.severity.as_str(),
            "file": &*self.file,
            "line": self.line,
            "column": self.column,
            "path": self.path,
            "message": self.message,
            "hint": self.hint,
        })
    }

    /// The same finding with a key path.
    pub fn with_path(mut self, path: impl Into<String>) -> Self {
        self.path = shortened(path.into());
        self
    }

    /// The same finding with a fix.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(shortened(hint.into()));
        self
    }

    /// The same finding with another severity.
    pub fn with_severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }
}

/// What quotes a value of 100 KB is cut: nobody reads it, and every log has it.
fn shortened(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.push('…');
    }
    text
}

/// `file:line:column: error[PS101]: message (path)`, then the hint.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}[{}]: {}", self.severity, self.code.id, self.message)?;
        if !self.path.is_empty() {
            write!(f, "\n  at: {}", self.path)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// Sorts by file, line and column, then code, and drops exact repetitions.
pub fn sort(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by(|a, b| {
        (&a.file, a.line, a.column, a.code.id, &a.path, &a.message)
            .cmp(&(&b.file, b.line, b.column, b.code.id, &b.path, &b.message))
    });
    diagnostics.dedup();
}

/// The candidate that looks most like `name`, if one is close enough to be
/// what was meant.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(score, _)| *score > 0.72)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $severity:ident, $title:literal, $help:literal;)*) => {
        $($(#[$doc])* #[doc = $title] pub const $name: Code = Code {
            id: $id, severity: Severity::$severity, title: $title, help: $help,
        };)*
        /// Every code, in order; the reference is made from it.
        pub const CODES: &[&Code] = &[$(&$name),*];
    };
}

codes! {
    INTENT_NAME = "PS001", Error, "a name in an intent cannot be used",
        "The console and Kubernetes refuse it. The message says what is allowed.";
    INTENT_DUPLICATE = "PS002", Error, "one name is given twice in an intent",
        "Keep one of the two. Files are merged, so the other one may stand in another file.";
    INTENT_REFERENCE = "PS003", Error, "an intent names a provider or consumer that it does not have",
        "Correct the name, or add what it names.";
    INTENT_WEIGHTS = "PS004", Error, "the weights of an AI route do not sum to 100",
        "Make them sum to 100. A single upstream needs no weight.";
    INTENT_SECRET = "PS005", Error, "a secret of an intent cannot be resolved",
        "Set the variable, or provide the file. A value may hold no quote, backslash or control character: Higress puts it into JSON as it is.";
    INTENT_CREDENTIAL_FORWARDED = "PS006", Error, "a consumer's key would be sent to the provider",
        "Give the provider tokens. The safe form sends a placeholder instead of the caller's key where the provider's type allows it.";
    INTENT_CONSOLE_DIFFERS = "PS007", Warning, "the console would refuse or silently change what an intent says",
        "The message says what happens.";
    MERGE_CONFLICT = "PS008", Error, "something exists already and is not penstock's",
        "Adopt it, or give yours another name. Nothing that others wrote is overwritten without being asked.";
    MERGE_UNREADABLE = "PS009", Error, "what has to be changed cannot be read",
        "Correct the document first: a change of what cannot be read would lose it.";
    PLAN_COMMENTS_LOST = "PS010", Warning, "comments of a document will be lost",
        "The document is written anew because it changes. Documents that do not change keep their text.";
    EXPORT_INCOMPLETE = "PS011", Warning, "an exported intent does not say all that the manifests say",
        "Rendering the intent would not give it back. Keep the manifest beside the intent, or write by hand what the message names.";
    INTENT_EMPTY = "PS012", Error, "an intent has nothing in it",
        "Check what was meant to be read: a file that was not written, a pipe that brought nothing. An intent that wants nothing says `domains: []`.";

    UNREADABLE_FILE = "PS101", Error, "a file or directory cannot be read",
        "Check that it exists and that the process may read it. What it held before stays in force.";
    YAML_SYNTAX = "PS102", Error, "a document is not valid YAML or JSON",
        "The document is set aside and its last good version stays in force. If it may be a WasmPlugin and there is no last good version, every route answers 503 until it can be read.";
    EMPTIED_FILE = "PS103", Warning, "a file has become empty",
        "Its last good version stays in force until the file is removed: an empty file is what an interrupted write leaves behind.";
    DUPLICATE_KEY = "PS104", Error, "a key occurs twice in one mapping",
        "Keep one of the two. Readers disagree about which one counts, so the document is set aside.";
    LIMIT = "PS105", Error, "a document is larger or deeper than penstock reads",
        "Split it. The limit exists because alias and nesting bombs would exhaust memory.";

    WRONG_TYPE = "PS201", Error, "a value has the wrong type",
        "Write the value in the type that the field has. The smallest part that holds it is set aside.";
    UNKNOWN_FIELD = "PS202", Warning, "a field is not known",
        "Higress ignores it. Correct the name, or remove it.";
    MISSING_FIELD = "PS203", Error, "a required field is missing",
        "Add it. The smallest part that needs it is set aside.";
    UNKNOWN_KIND = "PS204", Info, "a kind is not one that penstock acts on",
        "The document is ignored.";
    UNKNOWN_API_VERSION = "PS205", Error, "the apiVersion is not one of this kind",
        "Use the apiVersion that the message names.";
    NAME_DIFFERS_FROM_FILE = "PS206", Warning, "metadata.name differs from the file name",
        "The file store of Higress takes the name from the file. Rename one of the two.";
    DUPLICATE_RESOURCE = "PS207", Error, "two different documents describe one resource",
        "Merge them into one document. Until then the last good version stays in force, or nothing of it.";
    INVALID_VALUE = "PS208", Error, "a value is not one that the field accepts",
        "Use one of the accepted values.";
    NO_NAME = "PS209", Error, "a document has no name",
        "Set metadata.name, or store it as <plural>/<name>.yaml.";
    OTHER_NAMESPACE = "PS210", Info, "a resource stands outside the system namespace and is not read there",
        "Higress reads McpBridge, WasmPlugin and its ConfigMaps only from higress-system.";
    LAST_GOOD_IN_FORCE = "PS211", Warning, "the last good version of something broken stays in force",
        "Correct what is broken, or remove it.";
    REPEATED_RESOURCE = "PS212", Warning, "one resource is printed twice with the same content",
        "Keep one copy: the next edit of only one of them makes both broken.";
    SECRET_UNRESOLVED = "PS213", Error, "a reference to a Secret leads nowhere",
        "What needs it is set aside: a consumer, a provider, a rule's configuration; a route whose annotation has it answers 503. Correct the reference, or add the Secret or its key.";
    EMBEDDED_DOCUMENT = "PS214", Error, "the document inside a ConfigMap of the gateway cannot be used",
        "Its last good version stays in force; without one, the defaults. Higress ignores it as a whole, too.";
    SETTING_NOT_SUPPORTED = "PS215", Warning, "a setting of ConfigMap higress-config is known but not acted upon",
        "The gateway works without what it asks for. The hint names the flag of `serve` that stands for it, where there is one.";

    ROUTE_WITHOUT_PATHS = "PS301", Warning, "an Ingress rule has no paths",
        "Higress ignores the rule. Add http.paths.";
    INGRESS_EMPTY = "PS302", Error, "an Ingress has neither rules nor defaultBackend",
        "Higress rejects it. Add rules.";
    PATH_DROPPED = "PS303", Error, "a path has no usable backend and is dropped",
        "Point it at a Service, or at McpBridge `default` with the higress.io/destination annotation.";
    DUPLICATE_ROUTE = "PS304", Warning, "two Ingresses claim the same host, path and conditions",
        "The older one keeps it; the younger one's path does nothing. Remove one.";
    UNKNOWN_ANNOTATION = "PS305", Warning, "an annotation under a gateway prefix is not known",
        "Higress ignores it. Correct the name.";
    ANNOTATION_NOT_SUPPORTED = "PS306", Warning, "an annotation is known but not acted upon yet",
        "The route works without what it asks for.";
    ROUTE_CLOSED = "PS307", Error, "a route is closed and answers 503",
        "It asks for a protection that is broken or not available. See the other findings about it.";
    INVALID_ANNOTATION = "PS308", Error, "an annotation has a value that cannot be used",
        "Correct the value. Only what this annotation asks for is left out.";
    INGRESS_CLASS = "PS309", Info, "an Ingress belongs to another ingress class",
        "It is not served. See --ingress-class.";
    // PS310 was about default backends.
    CERTIFICATE_MISSING = "PS311", Error, "a host has no certificate",
        "HTTPS for it is refused in the handshake. Add the Secret that the Ingress names, with tls.crt and tls.key.";
    CERTIFICATE_INVALID = "PS312", Error, "a Secret cannot be used for TLS",
        "Its last good version stays in force; without one, HTTPS for its hosts is refused in the handshake, and routes that it protects answer 503. tls.crt is the certificate with its chain, tls.key its key, ca.crt the certificates that others are checked against, all PEM.";
    CERTIFICATE_EXPIRED = "PS313", Warning, "a certificate is not valid at this time",
        "One of a host is served all the same, and clients refuse it; what is checked against one of ca.crt, or behind a list of ca.crl that is overdue, is refused. Renew it.";
    CERTIFICATE_NAME = "PS314", Warning, "a certificate does not name a host that it serves",
        "Clients refuse it for that host. Use a certificate that names it.";
    TLS_HOST_UNUSED = "PS315", Warning, "a TLS entry of an Ingress is without effect for a host",
        "Its hosts have to be written exactly as those of the rules of the same Ingress, and the oldest Ingress with TLS for a host decides. A second certificate counts where it stands in the same Ingress and its key is of another kind.";
    TLS_SETTING_UNUSED = "PS316", Warning, "a TLS annotation is without effect",
        "Add what it needs, or remove it. The message says what is in force.";
    TLS_SETTING_LIMITED = "PS317", Warning, "a TLS annotation is not followed to the letter",
        "The message says what is in force instead. There are TLS 1.2 and 1.3, with forward secrecy and without CBC.";
    HANDSHAKE_REFUSED = "PS318", Error, "every TLS handshake for a host is refused",
        "Its annotations leave nothing that TLS could be made with. Correct them; until then the host is not reached over HTTPS.";
    CERTIFICATE_CHAIN = "PS319", Warning, "a certificate comes without its chain",
        "Clients that do not know its issuer refuse it. Put the certificates of the issuers behind it in tls.crt, each behind the one that it has signed.";
    CERTIFICATE_ALONE = "PS320", Info, "a certificate stands alone in tls.crt",
        "That is right where its issuer is a root that clients know. Else the chain is missing. Put the root in ca.crt of the Secret to say so.";
    UPSTREAM_UNVERIFIED = "PS321", Warning, "the certificate of an upstream is not checked",
        "Whoever stands between can read and change what is sent, credentials included. Put the upstream's authority in ca.crt of a proxy-ssl-secret instead.";
    ANNOTATION_UNUSED = "PS322", Warning, "an annotation has no effect, as another one says or is missing",
        "Higress ignores it without a word. Add what it needs, or remove it.";
    MATCH_REPEATED = "PS323", Warning, "an Ingress has two kinds of condition on one name",
        "Both have to hold here. Higress keeps one of them, and which one is left to chance. Write one.";

    DESTINATION_UNKNOWN_SERVICE = "PS401", Error, "a destination names a service that does not exist",
        "Requests get 503. Name a registry of McpBridge `default` as NAME.TYPE:PORT.";
    DESTINATION_PORT = "PS402", Error, "a destination's port is not the port of its service",
        "Requests get 503. Use the port of the registry (for `static`, its `port` field, not the endpoints').";
    DESTINATION_INVALID = "PS403", Error, "a destination annotation cannot be read",
        "Write lines of `[WEIGHT%] HOST[:PORT]`. All paths of the Ingress are dropped.";
    REGISTRY_INVALID = "PS404", Error, "a registry of McpBridge cannot be used",
        "Correct it. Its service has no endpoint until then and its routes answer 503.";
    REGISTRY_DUPLICATE = "PS405", Error, "two registries have the same type and name",
        "The last one counts. Remove one.";
    REGISTRY_TYPE_NOT_SUPPORTED = "PS406", Warning, "a registry type is known but not supported yet",
        "Its services have no endpoints; use static or dns.";
    REGISTRY_NO_SNI = "PS407", Warning, "a TLS registry with several domains has no sni",
        "No server name can be derived from several domains. Set sni.";
    MCP_BRIDGE_NAME = "PS408", Warning, "an McpBridge is not named default",
        "Only the object named `default` in higress-system is read.";
    // PS409 was about Services as backends.
    DESTINATION_IGNORED = "PS410", Warning, "a destination annotation that no path can use",
        "A Service backend wins over the annotation. Remove one of the two.";
    SERVICE_UNKNOWN = "PS411", Warning, "a Service is named, and the source has no Services at all",
        "Requests get 503. Add the Service and its EndpointSlices to the source.";
    SERVICE_WITHOUT_ENDPOINTS = "PS412", Warning, "a Service that requests are sent to has no endpoints",
        "Requests get 503 until it has some. Endpoints come from EndpointSlices, or from Endpoints where it has no slice, or from its clusterIP where it has neither.";
    EXTERNAL_NAME_UNKNOWN = "PS413", Warning, "an ExternalName names a Service of the cluster that the source does not have",
        "The name is asked of DNS, which only knows it inside the cluster. Add the Service to the source.";

    PLUGIN_UNKNOWN = "PS501", Error, "a WasmPlugin names a plugin that penstock does not have",
        "Requests it covers follow failStrategy; a plugin that authenticates answers 503.";
    RULE_WITHOUT_TARGET = "PS502", Error, "a match rule names no ingress, domain or service",
        "Higress rejects the whole update. Name a target; until then the rule is set aside and what it protected before stays protected.";
    RULE_TARGET_UNKNOWN = "PS503", Warning, "a match rule names an Ingress or service that does not exist",
        "The rule never applies. Correct the name; Ingresses outside higress-system are NAMESPACE/NAME.";
    PLUGIN_CONFIG_INVALID = "PS504", Error, "the configuration of a plugin cannot be used",
        "Correct it. What it covers answers 503 unless a last good version is in force.";
    PLUGIN_FIELD_NOT_SUPPORTED = "PS505", Warning, "a field of a plugin is known but not acted upon yet",
        "The plugin works without it.";
    RULE_NEVER_MATCHES = "PS506", Warning, "a match rule can never apply",
        "An earlier rule takes every request it names, or its target has a form that matches nothing.";
    PLUGIN_FIELD_WITHOUT_EFFECT = "PS507", Info, "a field of a WasmPlugin is without effect",
        "Another field takes its place, or it is about downloading a module, and plugins are built in.";

    AUTH_FAIL_OPEN = "PS601", Warning, "an authentication plugin says FAIL_OPEN",
        "In Higress, routes are open whenever the plugin cannot be loaded. penstock stays closed. Write failStrategy: FAIL_CLOSE.";
    CONSUMER_INVALID = "PS602", Error, "a consumer of key-auth cannot be used",
        "It is set aside; other consumers are not affected.";
    CREDENTIAL_SHARED = "PS603", Error, "two consumers share a credential",
        "The credential authenticates nobody until one of them changes.";
    ALLOW_UNKNOWN_CONSUMER = "PS604", Warning, "an allow list names a consumer that does not exist",
        "Nobody can use that name. Correct it.";
    ALLOW_EMPTY = "PS605", Warning, "an enabled key-auth rule allows nobody",
        "Every request is denied. Name consumers in allow.";
    CONSUMER_DUMMY_KEY = "PS606", Warning, "a consumer authenticates under x-higress-dummy-key",
        "It has no keys of its own. Give it keys, such as [Authorization].";
    CREDENTIAL_SENT_UPSTREAM = "PS607", Warning, "the consumer's key is sent to the provider",
        "The provider has no apiTokens, so ai-proxy passes the caller's credential on. Configure apiTokens.";
    AUTH_NOT_COVERED = "PS608", Error, "an AI route asks for authentication that no enabled rule gives",
        "penstock answers 503 on it. Add a key-auth rule for its Ingress, or set authConfig.enabled to false.";
    GLOBAL_AUTH_UNSET = "PS609", Info, "key-auth has consumers but no global_auth",
        "Without an active rule, every request would need a credential. Write global_auth: false or true.";
    AUTH_LOCAL_NOT_ENFORCED = "PS610", Warning, "a key-auth rule has consumers of its own while global_auth is false",
        "Higress does not enforce it and lets everybody pass; penstock enforces it.";
    KEY_AUTH_GLOBAL_INVALID = "PS611", Error, "the global part of key-auth is broken",
        "Higress would let everybody pass; penstock keeps the last good version, or answers 503 on the routes it covers.";
    EXPIRY_WITHOUT_CREDENTIAL = "PS612", Warning, "penstockExpiry names no credential of its consumer",
        "Nothing expires by it. Its keys are the SHA-256 of a credential's whole text, in hex; remove an entry together with its credential.";

    PROVIDER_TYPE_UNKNOWN = "PS701", Error, "a provider type is not known",
        "Its routes answer 503. Use one of the known types.";
    PROVIDER_INVALID = "PS702", Error, "a provider of ai-proxy cannot be used",
        "Its routes answer 503; other providers are not affected.";
    PROVIDER_UNKNOWN = "PS703", Error, "a provider id is not one of ai-proxy's providers",
        "Name the id of an entry of defaultConfig.providers.";
    PROVIDER_DUPLICATE = "PS704", Error, "two providers have the same id",
        "The first one counts. Remove one.";
    PROVIDER_WITHOUT_RULE = "PS705", Warning, "no rule of ai-proxy activates a provider",
        "No request reaches it. Add a rule with its service and activeProviderId.";
    PROVIDER_REGISTRY_MISMATCH = "PS706", Warning, "a provider's registry is not what its settings say",
        "The host that requests are meant for and the address they go to differ.";
    MODEL_MAPPING_INVALID = "PS707", Error, "a model mapping has a rule that cannot be used",
        "Correct the regular expression. The provider is set aside until then.";
    PROVIDER_TYPE_NOT_SUPPORTED = "PS708", Error, "a provider type is known but not supported yet",
        "Its routes answer 503; others are not affected.";
    CONTEXT_UNKNOWN_SERVICE = "PS709", Error, "the context of a provider names a service that does not exist",
        "Its chat requests get 500. Name a registry of McpBridge `default`: `serviceName` is NAME.TYPE, `servicePort` its port.";

    DOMAIN_UNUSED = "PS801", Warning, "a domain is used by no route",
        "Requests for it get 404. Give a route this host, or remove the domain.";
    HOST_WITHOUT_DOMAIN = "PS802", Warning, "a route's host has no domain ConfigMap although others have",
        "The console does not know the domain. Correct the host, or add the domain.";
    HOST_IS_PROVIDER = "PS803", Error, "a route listens on the host of its own provider",
        "Clients call the gateway by another name, so they get 404. Use the gateway's domain as host.";
    DOMAIN_LABEL = "PS804", Warning, "the higress.io/domain_ labels differ from the hosts",
        "The console then lists the route under the wrong domain. Make them equal.";
    AI_ROUTE_WITHOUT_INGRESS = "PS805", Error, "an AI route's ConfigMap has no Ingress",
        "The console manages a route that does not exist. Name it ai-route-NAME, beside the Ingress ai-route-NAME.internal.";
    INGRESS_WITHOUT_AI_ROUTE = "PS806", Error, "an AI route's Ingress has no ConfigMap",
        "The console does not know the route; deleting it there leaves this Ingress behind.";
    AI_ROUTE_NAME = "PS807", Error, "the name in an AI route's JSON differs from its ConfigMap",
        "Use the ConfigMap's name without `ai-route-`.";
    AI_ROUTE_DOMAINS = "PS808", Error, "the domains in an AI route's JSON differ from the Ingress' hosts",
        "The next save in the console rewrites the hosts from the JSON. Make them equal.";
    AI_ROUTE_PROVIDER = "PS809", Error, "an AI route names a provider that does not exist",
        "The console cannot save the route. Name the id of an entry of ai-proxy's providers.";
    AI_ROUTE_VERSION = "PS810", Warning, "an AI route's JSON has an embedded version",
        "Consoles since 2.1.9 neither write nor read it. Remove it.";
    AI_ROUTE_JSON = "PS811", Error, "an AI route's JSON cannot be read",
        "Correct data.data.";
    AI_ROUTE_AUTH = "PS812", Error, "an AI route's authConfig differs from key-auth's rule",
        "Make allowedConsumers and the rule's allow equal.";
    CONFIG_MAP_NOT_TEXT = "PS813", Error, "a value in ConfigMap data is not text",
        "Quote it: an unquoted off, on, yes or no is a boolean in YAML 1.1.";
    MISSING_LABEL = "PS814", Warning, "a console object lacks the label that the console looks for",
        "The console does not list it. Add the label.";
    AI_ROUTE_WEIGHTS = "PS815", Warning, "an AI route's weights do not sum to 100, or differ from the Ingress",
        "Make the weights sum to 100 in both places.";
    AI_ROUTE_DRIFT = "PS816", Warning, "an AI route's JSON has another path or other upstreams than its Ingress",
        "The gateway follows the Ingress; the next save in the console rewrites it from the JSON. Make them equal.";
    AI_ROUTE_FALLBACK = "PS817", Warning, "an AI route's fallback is not whole",
        "A fallback needs fallbackConfig in the JSON, the Ingress ai-route-NAME.fallback.internal with its header condition, and the EnvoyFilter ai-route-NAME.internal.";
    AI_ROUTE_MODELS = "PS818", Warning, "an AI route depends on models, and the plugin for them is missing",
        "A condition on the model needs model-router; a modelMapping needs a rule of model-mapper.";
    DOMAIN_NAME = "PS819", Warning, "the name of a domain's ConfigMap is not that of its domain",
        "The console finds a domain by the name domain-DOMAIN, with a leading * written as wildcard.";
    DOMAIN_TOO_LONG = "PS820", Warning, "a domain is longer than a label can hold",
        "No route can carry its label, so the console never lists one under it. Use at most 56 characters.";
    DOMAIN_HTTPS = "PS821", Warning, "a route's TLS is not what its domain asks for",
        "penstock serves what the domain asks for, Higress what the Ingress says. Save the domain in the console, or write spec.tls and higress.io/ssl-redirect by hand.";

    CONSOLE_PROTOCOL = "PS901", Info, "a provider has no protocol",
        "Consoles since 2.2.0 write protocol: openai, which is also the default.";
    CONSOLE_RETRY = "PS902", Info, "an AI route lacks the console's retry annotations",
        "Consoles since 2.2.0 add them at the next save.";
    CONSOLE_ALLOW = "PS903", Info, "key-auth's global configuration has no allow: []",
        "Consoles since 2.2.0 write it on creation.";
    CONSOLE_STATISTICS = "PS904", Info, "no ai-statistics rule covers an AI route",
        "The console's dashboard shows nothing for it.";
    CONSOLE_PLUGIN_VERSION = "PS905", Info, "a plugin's version is not the console's current one",
        "A later console refreshes the object.";
    CONSOLE_PROXIES = "PS906", Info, "McpBridge has no proxies: []",
        "The console writes it when it creates the object.";
    CONSOLE_DISABLED_RULE = "PS907", Info, "a route without authentication has no disabled key-auth rule",
        "Consoles since 2.1.7 write one for every route. Its absence is harmless.";
    CONSOLE_RULE_STATE = "PS908", Warning, "an enabled key-auth rule has no configDisable",
        "It is active in the gateway, but saving a domain in the console switches it off and opens the route. Write configDisable: false.";
    CONSOLE_RULE_TARGETS = "PS909", Info, "a match rule has several targets of one kind",
        "The console cannot read it back as one instance. Write one rule for each.";
}
