//! Where the requests of a provider go: what its type and settings say
//! (Higress console: AbstractLlmProviderHandler and its subclasses).

use std::net::Ipv4Addr;

use crate::node::{Map, Node, Value};

/// What an endpoint needs to become a registry, or a service that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A registry of its own.
    Registry {
        /// `static` for IPv4 addresses, else `dns`.
        kind: &'static str,
        /// The registry's `domain`.
        domain: String,
        /// The registry's `port`.
        port: u16,
        /// `http` or `https`.
        protocol: &'static str,
    },
    /// A service that somebody else defines.
    Service {
        /// Its host.
        host: String,
        /// Its port.
        port: u16,
    },
}

/// Why there is no endpoint: the setting and what is wrong with it.
pub(super) struct Wrong {
    /// The key of `rawConfigs`; empty where it is about the type.
    pub(super) key: &'static str,
    pub(super) message: String,
}

fn wrong(key: &'static str, message: impl Into<String>) -> Wrong {
    Wrong { key, message: message.into() }
}

/// How the endpoint of a type is found.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// Always this host, with HTTPS.
    Host(&'static str),
    /// The settings say so.
    Settings(fn(&Map) -> Result<Endpoint, Wrong>),
}

/// One provider type.
pub(super) struct TypeRow {
    /// The type.
    pub(super) name: &'static str,
    /// Where its requests go.
    pub(super) rule: Rule,
    /// Whether the console knows it.
    pub(super) is_in_console: bool,
    /// Whether the plugin refuses it without tokens.
    pub(super) needs_tokens: bool,
}

const fn host(name: &'static str, host: &'static str) -> TypeRow {
    TypeRow { name, rule: Rule::Host(host), is_in_console: true, needs_tokens: true }
}

const fn settings(
    name: &'static str,
    needs_tokens: bool,
    rule: fn(&Map) -> Result<Endpoint, Wrong>,
) -> TypeRow {
    TypeRow { name, rule: Rule::Settings(rule), is_in_console: true, needs_tokens }
}

const fn beyond_console(row: TypeRow) -> TypeRow {
    TypeRow { is_in_console: false, ..row }
}

/// The types whose endpoint is known, in alphabetical order.
pub(super) const TYPES: &[TypeRow] = &[
    host("ai360", "api.360.cn"),
    settings("azure", true, |raw| one(url(raw, "azureServiceUrl")?)),
    host("baichuan", "api.baichuan-ai.com"),
    host("baidu", "qianfan.baidubce.com"),
    settings("bedrock", false, bedrock),
    settings("claude", true, claude),
    beyond_console(host("cloudflare", "api.cloudflare.com")),
    host("cohere", "api.cohere.com"),
    host("coze", "api.coze.cn"),
    host("deepseek", "api.deepseek.com"),
    beyond_console(settings("dify", true, |raw| match text(raw, "difyApiUrl") {
        Some(_) => one(url(raw, "difyApiUrl")?),
        None => Ok(https("api.dify.ai")),
    })),
    host("doubao", "ark.cn-beijing.volces.com"),
    beyond_console(host("fireworks", "api.fireworks.ai")),
    beyond_console(host("galadriel", "api.galadriel.com")),
    host("gemini", "generativelanguage.googleapis.com"),
    beyond_console(settings("generic", false, |raw| match text(raw, "genericHost") {
        Some(host) => bare_host("genericHost", host),
        None => Err(wrong("genericHost", "is required")),
    })),
    host("github", "models.inference.ai.azure.com"),
    host("grok", "api.x.ai"),
    host("groq", "api.groq.com"),
    beyond_console(settings("hunyuan", false, hunyuan)),
    beyond_console(host("longcat", "api.longcat.chat")),
    host("minimax", "api.minimax.chat"),
    host("mistral", "api.mistral.ai"),
    host("moonshot", "api.moonshot.cn"),
    settings("ollama", false, ollama),
    settings("openai", false, openai),
    host("openrouter", "openrouter.ai"),
    settings("qwen", true, |raw| bare_host_or(raw, "qwenDomain", "dashscope.aliyuncs.com")),
    host("stepfun", "api.stepfun.com"),
    beyond_console(host("together-ai", "api.together.xyz")),
    settings("vertex", false, vertex),
    settings("vllm", false, |raw| {
        if text(raw, "vllmCustomUrl").is_none() {
            return Err(wrong("vllmCustomUrl", "is required"));
        }
        urls(raw, "vllmCustomUrl", "vllmExtraCustomUrls")
    }),
    host("yi", "api.lingyiwanwu.com"),
    settings("zhipuai", true, |raw| bare_host_or(raw, "zhipuDomain", "open.bigmodel.cn")),
];

/// Where a provider's requests go.
pub(super) fn endpoint(row: &TypeRow, raw: &Map) -> Result<Endpoint, Wrong> {
    match row.rule {
        Rule::Host(host) => Ok(https(host)),
        Rule::Settings(rule) => rule(raw),
    }
}

fn https(host: &str) -> Endpoint {
    Endpoint::Registry { kind: "dns", domain: host.to_owned(), port: 443, protocol: "https" }
}

fn text<'a>(raw: &'a Map, key: &str) -> Option<&'a str> {
    raw.get(key)?.as_str().filter(|text| !text.trim().is_empty())
}

/// A URL as far as a registry needs it. The path is the plugin's business.
#[derive(Clone, PartialEq, Eq)]
struct Url {
    protocol: &'static str,
    host: String,
    port: u16,
    path: String,
}

fn url(raw: &Map, key: &'static str) -> Result<Url, Wrong> {
    match raw.get(key).map(|node| &node.value) {
        Some(Value::String(text)) => parse_url(key, text),
        Some(_) => Err(wrong(key, "must be text")),
        None => Err(wrong(key, "is required")),
    }
}

fn parse_url(key: &'static str, text: &str) -> Result<Url, Wrong> {
    let example = "must be a URL such as `https://llm.example.com/v1`";
    let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong(key, example))?;
    // The console takes `HTTPS` for a scheme with port 80; one spelling is
    // enough.
    let (protocol, default_port) = match scheme {
        "http" => ("http", 80),
        "https" => ("https", 443),
        _ => return Err(wrong(key, "must begin with `http://` or `https://`")),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains('@') {
        return Err(wrong(key, "must not hold a user or password; put the key into `tokens`"));
    }
    let (host, port) = match authority.split_once(':') {
        None => (authority, Some(default_port)),
        Some((host, port)) => (host, port.parse::<u16>().ok().filter(|port| *port != 0)),
    };
    let port = port.ok_or_else(|| wrong(key, "has a port that is not a number from 1 to 65535"))?;
    let is_host = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
    if !is_host {
        return Err(wrong(key, example));
    }
    let path = path.split(['?', '#']).next().unwrap_or_default().to_owned();
    Ok(Url { protocol, host: host.to_owned(), port, path })
}

fn one(url: Url) -> Result<Endpoint, Wrong> {
    Ok(join(&[url]))
}

/// URLs that have been found to belong together.
fn join(urls: &[Url]) -> Endpoint {
    let is_static = urls.iter().all(|url| url.host.parse::<Ipv4Addr>().is_ok());
    let first = urls.first();
    let protocol = first.map_or("https", |url| url.protocol);
    if is_static {
        let addresses: Vec<String> =
            urls.iter().map(|url| format!("{}:{}", url.host, url.port)).collect();
        return Endpoint::Registry {
            kind: "static",
            domain: addresses.join(","),
            port: 80,
            protocol,
        };
    }
    Endpoint::Registry {
        kind: "dns",
        domain: first.map(|url| url.host.clone()).unwrap_or_default(),
        port: first.map_or(443, |url| url.port),
        protocol,
    }
}

fn urls(raw: &Map, key: &'static str, extra: &'static str) -> Result<Endpoint, Wrong> {
    let mut found = vec![url(raw, key)?];
    match raw.get(extra).map(|node| &node.value) {
        None | Some(Value::Null) => {}
        Some(Value::List(list)) => {
            for item in list {
                let text = item.as_str().ok_or_else(|| wrong(extra, "must be a list of URLs"))?;
                found.push(parse_url(extra, text)?);
            }
        }
        Some(_) => return Err(wrong(extra, "must be a list of URLs")),
    }
    let Some((first, others)) = found.split_first() else { return one(url(raw, key)?) };
    if others.iter().any(|other| other.protocol != first.protocol || other.path != first.path) {
        return Err(wrong(extra, format!("must have the scheme and path of `{key}`")));
    }
    let is_address = |url: &Url| url.host.parse::<Ipv4Addr>().is_ok();
    if !others.is_empty() && !found.iter().all(is_address) {
        return Err(wrong(extra, "several URLs are only possible with IPv4 addresses"));
    }
    Ok(join(&found))
}

fn openai(raw: &Map) -> Result<Endpoint, Wrong> {
    let custom = match text(raw, "openaiCustomUrl") {
        Some(_) => Some(urls(raw, "openaiCustomUrl", "openaiExtraCustomUrls")?),
        None if raw.get("openaiCustomUrl").is_some_and(|node| !node.is_null()) => {
            return Err(wrong("openaiCustomUrl", "must be a URL"));
        }
        None => None,
    };
    let service = text(raw, "openaiCustomServiceName");
    let port = raw.get("openaiCustomServicePort");
    match (service, port.map(|port| &port.value)) {
        (Some(host), Some(Value::Int(port))) => match u16::try_from(*port) {
            Ok(port) if port != 0 => Ok(Endpoint::Service { host: host.to_owned(), port }),
            _ => Err(wrong("openaiCustomServicePort", "must be from 1 to 65535")),
        },
        (Some(_), _) => {
            Err(wrong("openaiCustomServicePort", "is required beside the service name"))
        }
        (None, Some(Value::Int(_))) => {
            Err(wrong("openaiCustomServiceName", "is required beside the service port"))
        }
        _ => Ok(custom.unwrap_or_else(|| https("api.openai.com"))),
    }
}

fn ollama(raw: &Map) -> Result<Endpoint, Wrong> {
    let host =
        text(raw, "ollamaServerHost").ok_or_else(|| wrong("ollamaServerHost", "is required"))?;
    let port = match raw.get("ollamaServerPort").map(|node| &node.value) {
        Some(Value::Int(port)) => u16::try_from(*port).ok(),
        Some(Value::String(port)) => port.parse().ok(),
        _ => None,
    };
    let port = port
        .filter(|port| *port != 0)
        .ok_or_else(|| wrong("ollamaServerPort", "must be from 1 to 65535"))?;
    let Ok(url) = parse_url("ollamaServerHost", &format!("http://{host}:{port}")) else {
        return Err(wrong("ollamaServerHost", "must be a host without scheme, port and path"));
    };
    one(url)
}

fn claude(raw: &Map) -> Result<Endpoint, Wrong> {
    if text(raw, "claudeCustomUrl").is_some() {
        return one(url(raw, "claudeCustomUrl")?);
    }
    match text(raw, "providerDomain") {
        Some(domain) => one(parse_url("providerDomain", &format!("https://{domain}"))?),
        None => Ok(https("api.anthropic.com")),
    }
}

/// The host without its port and the path of `claudeCustomUrl`, which the
/// plugin reads instead of the URL.
pub(super) fn claude_parts(raw: &Map) -> Vec<(&'static str, String)> {
    if text(raw, "claudeCustomUrl").is_none() {
        return Vec::new();
    }
    let Ok(url) = url(raw, "claudeCustomUrl") else { return Vec::new() };
    let path = if url.path.is_empty() { "/".to_owned() } else { url.path };
    vec![("providerDomain", url.host), ("providerBasePath", path)]
}

fn bedrock(raw: &Map) -> Result<Endpoint, Wrong> {
    for key in ["awsRegion", "awsAccessKey", "awsSecretKey"] {
        if text(raw, key).is_none() {
            return Err(wrong(key, "is required"));
        }
    }
    let region = text(raw, "awsRegion").unwrap_or_default();
    bare_host("awsRegion", &format!("bedrock-runtime.{region}.amazonaws.com"))
}

/// Higress: provider/hunyuan.go — with an account it speaks its own API.
fn hunyuan(raw: &Map) -> Result<Endpoint, Wrong> {
    match text(raw, "hunyuanAuthId").or_else(|| text(raw, "hunyuanAuthKey")) {
        Some(_) => Ok(https("hunyuan.tencentcloudapi.com")),
        None => Ok(https("api.hunyuan.cloud.tencent.com")),
    }
}

fn vertex(raw: &Map) -> Result<Endpoint, Wrong> {
    for key in ["vertexRegion", "vertexProjectId", "vertexAuthKey"] {
        if text(raw, key).is_none() {
            return Err(wrong(key, "is required"));
        }
    }
    match text(raw, "vertexRegion").unwrap_or_default().to_ascii_lowercase().as_str() {
        "global" => Ok(https("aiplatform.googleapis.com")),
        region => bare_host("vertexRegion", &format!("{region}-aiplatform.googleapis.com")),
    }
}

fn bare_host_or(raw: &Map, key: &'static str, default: &str) -> Result<Endpoint, Wrong> {
    bare_host(key, text(raw, key).unwrap_or(default))
}

fn bare_host(key: &'static str, host: &str) -> Result<Endpoint, Wrong> {
    if host.contains(['/', ':']) {
        return Err(wrong(key, "must be a host without scheme, port and path"));
    }
    one(parse_url(key, &format!("https://{host}"))?)
}

/// Whether a setting is a text with something in it.
pub(super) fn has_text(raw: &Map, key: &str) -> bool {
    text(raw, key).is_some()
}

/// A setting that the console adds where it is absent.
pub(super) fn set_default(raw: &mut Map, key: &str, value: Value) {
    if raw.get(key).is_none_or(Node::is_null) {
        raw.set(key, Node::synthetic(value));
    }
}

#[cfg(test)]
mod tests {
    use penstock_llm::error::ConfigErrorKind;
    use penstock_llm::provider::PROVIDERS;

    use super::*;
    use crate::node::Position;
    use crate::yaml;

    /// The types of ai-proxy that have no row: none of them is served, and the
    /// console cannot make any of them.
    const WITHOUT_ENDPOINT: [&str; 4] = ["deepl", "kling", "spark", "triton"];

    #[test]
    fn the_table_has_the_types_of_ai_proxy() {
        assert!(TYPES.is_sorted_by(|a, b| a.name < b.name));
        let mut names: Vec<&str> = TYPES.iter().map(|row| row.name).collect();
        names.extend(WITHOUT_ENDPOINT);
        names.sort_unstable();
        let known: Vec<&str> = PROVIDERS.iter().map(|row| row.name).collect();
        assert_eq!(names, known);
        for row in PROVIDERS.iter().filter(|row| WITHOUT_ENDPOINT.contains(&row.name)) {
            assert!(row.build.is_none(), "{}", row.name);
        }
    }

    #[test]
    fn tokens_are_needed_where_the_plugin_needs_them() {
        for row in TYPES {
            let object = serde_json::json!({
                "type": row.name, "azureServiceUrl": "https://a.test/openai/deployments/d/chat/completions?api-version=1",
                "cloudflareAccountId": "a", "ollamaServerHost": "o.test", "ollamaServerPort": 1,
            });
            let outcome = penstock_llm::provider::build(object.as_object().unwrap());
            let needs_tokens = match outcome {
                Err(error) if error.kind == ConfigErrorKind::TypeNotSupported => continue,
                Err(error) => error.message.contains("no apiToken"),
                Ok(_) => false,
            };
            assert_eq!(row.needs_tokens, needs_tokens, "{}", row.name);
        }
    }

    fn check(kind: &str, raw: &str, expected: &str) {
        let raw = yaml::parse_value(raw, Position::default()).unwrap();
        let row = TYPES.iter().find(|row| row.name == kind).unwrap();
        let raw = raw.as_map().cloned().unwrap_or_default();
        let found = match endpoint(row, &raw) {
            Ok(Endpoint::Registry { kind, domain, port, protocol }) => {
                format!("{kind} {domain} {port} {protocol}")
            }
            Ok(Endpoint::Service { host, port }) => format!("service {host} {port}"),
            Err(wrong) => format!("{} {}", wrong.key, wrong.message),
        };
        assert_eq!(found, expected, "{kind} {raw:?}");
    }

    #[test]
    fn settings_say_where_requests_go() {
        check("openai", "{}", "dns api.openai.com 443 https");
        check("openai", "{openaiCustomUrl: 'http://a.example:8080/v1'}", "dns a.example 8080 http");
        check("openai", "{openaiCustomUrl: 'https://10.0.0.7/v1'}", "static 10.0.0.7:443 80 https");
        check(
            "vllm",
            "{vllmCustomUrl: 'http://10.1.0.5:8000/v1', vllmExtraCustomUrls: ['http://10.1.0.6:8000/v1']}",
            "static 10.1.0.5:8000,10.1.0.6:8000 80 http",
        );
        check(
            "openai",
            "{openaiCustomUrl: 'http://x.example/v1', openaiCustomServiceName: a.static, openaiCustomServicePort: 80}",
            "service a.static 80",
        );
        check(
            "ollama",
            "{ollamaServerHost: o.example, ollamaServerPort: '11434'}",
            "dns o.example 11434 http",
        );
        check(
            "vertex",
            "{vertexRegion: GLOBAL, vertexProjectId: p, vertexAuthKey: k}",
            "dns aiplatform.googleapis.com 443 https",
        );
        check("hunyuan", "{}", "dns api.hunyuan.cloud.tencent.com 443 https");
        check("hunyuan", "{hunyuanAuthId: i}", "dns hunyuan.tencentcloudapi.com 443 https");
        check("galadriel", "{}", "dns api.galadriel.com 443 https");
        check("claude", "{providerDomain: 'c.example:8443'}", "dns c.example 8443 https");
        check("azure", "{}", "azureServiceUrl is required");
        check(
            "openai",
            "{openaiCustomUrl: 'ftp://x/v1'}",
            "openaiCustomUrl must begin with `http://` or `https://`",
        );
        check(
            "openai",
            "{openaiCustomUrl: 'https://u:p@x/v1'}",
            "openaiCustomUrl must not hold a user or password; put the key into `tokens`",
        );
        check(
            "openai",
            "{openaiCustomUrl: 'https://x:0/v1'}",
            "openaiCustomUrl has a port that is not a number from 1 to 65535",
        );
        check(
            "vllm",
            "{vllmCustomUrl: 'http://10.1.0.5:8000/v1', vllmExtraCustomUrls: ['http://a.example/v1']}",
            "vllmExtraCustomUrls several URLs are only possible with IPv4 addresses",
        );
        check(
            "vllm",
            "{vllmCustomUrl: 'http://10.1.0.5:8000/v1', vllmExtraCustomUrls: ['http://10.1.0.6/v2']}",
            "vllmExtraCustomUrls must have the scheme and path of `vllmCustomUrl`",
        );
    }
}
