//! Every field of `higress-config`, with what it may be and whether it acts.

/// One field. The path of an element of a list has `[]`.
pub(super) struct Field {
    pub(super) path: &'static str,
    pub(super) form: Form,
    pub(super) effect: Effect,
}

/// What a value may be.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Flag,
    Number(i64, i64),
    Percentage,
    Choice(&'static [&'static str]),
    Text,
    Texts,
    /// A list of mappings.
    Each,
    /// A mapping with any fields.
    Anything,
}

impl Form {
    pub(super) fn expected(self) -> String {
        match self {
            Self::Flag => "a boolean".into(),
            Self::Number(min, max) => format!("a whole number from {min} to {max}"),
            Self::Percentage => "a number from 0 to 100".into(),
            Self::Choice(names) => format!("one of {}", names.join(", ")),
            Self::Text => "text".into(),
            Self::Texts => "a list of text".into(),
            Self::Each => "a list of mappings".into(),
            Self::Anything => "a mapping".into(),
        }
    }
}

/// What a field does.
#[derive(Clone, Copy)]
pub(super) enum Effect {
    /// It acts, or the section it is part of is reported as a whole.
    Told,
    /// Nothing: only its default is what the gateway does. With the fix.
    None(i64, &'static str),
}

const UINT: Form = Form::Number(0, u32::MAX as i64);
const WINDOW: Form = Form::Number(65_535, i32::MAX as i64);
const BUFFERS: &str = "remove it: buffers are bounded by --body-limit and --buffer-limit";
const WINDOWS: &str = "remove it: windows have a fixed size";
const LEVELS: &[&str] = &[
    "BEST_COMPRESSION",
    "BEST_SPEED",
    "COMPRESSION_LEVEL_1",
    "COMPRESSION_LEVEL_2",
    "COMPRESSION_LEVEL_3",
    "COMPRESSION_LEVEL_4",
    "COMPRESSION_LEVEL_5",
    "COMPRESSION_LEVEL_6",
    "COMPRESSION_LEVEL_7",
    "COMPRESSION_LEVEL_8",
    "COMPRESSION_LEVEL_9",
];
const STRATEGIES: &[&str] = &["DEFAULT_STRATEGY", "FILTERED", "FIXED", "HUFFMAN_ONLY", "RLE"];
const MATCHES: &[&str] = &["contains", "exact", "prefix", "regex", "suffix"];
const UPSTREAMS: &[&str] = &["", "rest", "sse", "streamable"];

const fn told(path: &'static str, form: Form) -> Field {
    Field { path, form, effect: Effect::Told }
}

const fn inert(path: &'static str, form: Form, default: i64, hint: &'static str) -> Field {
    Field { path, form, effect: Effect::None(default, hint) }
}

/// All fields, sorted by path.
pub(super) const FIELDS: &[Field] = &[
    told("addXRealIpHeader", Form::Flag),
    // Clients' headers of this family are removed and none are sent, always.
    told("disableXEnvoyHeaders", Form::Flag),
    inert("downstream.connectionBufferLimits", UINT, 32_768, BUFFERS),
    inert("downstream.http2.initialConnectionWindowSize", WINDOW, 1_048_576, WINDOWS),
    inert("downstream.http2.initialStreamWindowSize", WINDOW, 65_535, WINDOWS),
    inert(
        "downstream.http2.maxConcurrentStreams",
        Form::Number(1, i32::MAX as i64),
        100,
        "use --stream-limit",
    ),
    told("downstream.idleTimeout", UINT),
    told("downstream.maxRequestHeadersKb", Form::Number(0, 8192)),
    told("downstream.routeTimeout", UINT),
    told("gzip.chunkSize", Form::Number(1, i32::MAX as i64)),
    told("gzip.compressionLevel", Form::Choice(LEVELS)),
    told("gzip.compressionStrategy", Form::Choice(STRATEGIES)),
    told("gzip.contentType", Form::Texts),
    told("gzip.disableOnEtagHeader", Form::Flag),
    told("gzip.enable", Form::Flag),
    told("gzip.memoryLevel", Form::Number(1, 9)),
    told("gzip.minContentLength", Form::Number(1, i32::MAX as i64)),
    told("gzip.windowBits", Form::Number(9, 15)),
    told("mcpServer.enable", Form::Flag),
    told("mcpServer.enable_user_level_server", Form::Flag),
    told("mcpServer.match_list", Form::Each),
    told("mcpServer.match_list[].enable_path_rewrite", Form::Flag),
    told("mcpServer.match_list[].match_rule_domain", Form::Text),
    told("mcpServer.match_list[].match_rule_path", Form::Text),
    told("mcpServer.match_list[].match_rule_type", Form::Choice(MATCHES)),
    told("mcpServer.match_list[].path_rewrite_prefix", Form::Text),
    told("mcpServer.match_list[].upstream_type", Form::Choice(UPSTREAMS)),
    told("mcpServer.rate_limit.limit", UINT),
    told("mcpServer.rate_limit.white_list", Form::Texts),
    told("mcpServer.rate_limit.window", UINT),
    told("mcpServer.redis.address", Form::Text),
    told("mcpServer.redis.db", UINT),
    told("mcpServer.redis.password", Form::Text),
    told("mcpServer.redis.passwordSecret.key", Form::Text),
    told("mcpServer.redis.passwordSecret.name", Form::Text),
    told("mcpServer.redis.passwordSecret.namespace", Form::Text),
    told("mcpServer.redis.username", Form::Text),
    told("mcpServer.servers", Form::Each),
    told("mcpServer.servers[].config", Form::Anything),
    told("mcpServer.servers[].domain_list", Form::Texts),
    told("mcpServer.servers[].name", Form::Text),
    told("mcpServer.servers[].path", Form::Text),
    told("mcpServer.servers[].type", Form::Text),
    told("mcpServer.sse_path_suffix", Form::Text),
    told("tracing.enable", Form::Flag),
    told("tracing.opentelemetry.port", Form::Text),
    told("tracing.opentelemetry.service", Form::Text),
    told("tracing.sampling", Form::Percentage),
    told("tracing.skywalking.access_token", Form::Text),
    told("tracing.skywalking.port", Form::Text),
    told("tracing.skywalking.service", Form::Text),
    told("tracing.timeout", Form::Number(1, i32::MAX as i64)),
    told("tracing.zipkin.port", Form::Text),
    told("tracing.zipkin.service", Form::Text),
    inert("upstream.connectionBufferLimits", UINT, 10_485_760, BUFFERS),
    told("upstream.idleTimeout", UINT),
];
