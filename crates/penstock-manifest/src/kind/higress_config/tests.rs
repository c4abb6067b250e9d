use super::*;
use crate::listing::assemble;
use crate::read::{FilePath, read_file};

/// What is read of a document, `SEVERITY CODE LINE:COLUMN PATH` of each
/// finding.
#[track_caller]
fn check(document: &str, expected: Option<HigressConfig>, findings: &[&str]) {
    let indented: String = document.lines().map(|line| format!("    {line}\n")).collect();
    let text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: higress-config}}\ndata:\n  mesh: \"\"\n  higress: |\n{indented}"
    );
    let listing = assemble([&read_file(&FilePath::standalone("c.yaml"), &text)]);
    assert!(listing.diagnostics.is_empty(), "{:?}", listing.diagnostics);
    let resource = &listing.resources[0];
    assert!(is_higress_config(resource));
    let mut found = Vec::new();
    let parsed = HigressConfig::parse(resource, &mut found);
    let shown: Vec<String> = found
        .iter()
        .map(|d| format!("{} {} {}:{} {}", d.severity, d.code.id, d.line, d.column, d.path))
        .collect();
    assert_eq!(shown, findings, "{document}");
    assert_eq!(parsed, expected, "{document}");
}

fn nothing() -> Option<HigressConfig> {
    Some(HigressConfig { gzip: Some(Gzip::default()), ..HigressConfig::default() })
}

#[test]
fn the_table_is_sorted() {
    assert!(FIELDS.is_sorted_by(|a, b| a.path < b.path));
}

#[test]
fn what_acts_is_read() {
    check("", nothing(), &[]);
    check("{}", nothing(), &[]);
    check("downstream:", nothing(), &[]);
    let document = "downstream: {routeTimeout: 60, maxRequestHeadersKb: 32, idleTimeout: 90}\nupstream: {idleTimeout: 5}\naddXRealIpHeader: true\ndisableXEnvoyHeaders: true";
    let expected = HigressConfig {
        route_timeout_s: Some(60),
        head_kb_max: Some(32),
        client_idle_timeout_s: Some(90),
        pool_idle_timeout_s: Some(5),
        adds_real_ip: true,
        gzip: Some(Gzip::default()),
    };
    check(document, Some(expected), &[]);
    check("downstream: {routeTimeout: 0, idleTimeout: 0}", nothing(), &[]);
}

#[test]
fn a_mistake_costs_the_whole_document() {
    let check = |document: &str, finding: &str| check(document, None, &[finding]);
    check("addXRealIpHeader: [", "error PS214 8:5 data.higress");
    check("[]", "error PS201 7:5 data.higress");
    check("downstream: 5", "error PS201 7:17 data.higress.downstream");
    let number = "error PS208 7:32 data.higress.downstream.routeTimeout";
    check("downstream: {  routeTimeout: '5'}", &number.replace("32", "34"));
    check("downstream: {routeTimeout: -1}", number);
    check("downstream: {routeTimeout: 5.5}", number);
    for (field, value) in [
        ("downstream.maxRequestHeadersKb", "8193"),
        ("downstream.http2.maxConcurrentStreams", "0"),
        ("downstream.http2.initialStreamWindowSize", "65534"),
        ("gzip.memoryLevel", "10"),
        ("gzip.windowBits", "8"),
        ("gzip.chunkSize", "0"),
        ("gzip.minContentLength", "0"),
        ("gzip.compressionLevel", "BEST"),
        ("gzip.compressionStrategy", "best"),
        ("gzip.contentType", "text/html"),
        ("tracing.sampling", "101"),
        ("tracing.timeout", "0"),
        ("mcpServer.servers", "{}"),
        ("mcpServer.match_list", "[{match_rule_type: glob}]"),
        ("mcpServer.redis.db", "zero"),
    ] {
        let (parent, last) = field.rsplit_once('.').unwrap();
        let parents: Vec<&str> = parent.split('.').collect();
        let document = format!(
            "{}{last}: {value}{}",
            parents.iter().map(|p| format!("{{{p}: ")).collect::<String>() + "{",
            "}".repeat(parents.len() + 1)
        );
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: higress-config}}\ndata: {{higress: \"{document}\"}}\n"
        );
        let listing = assemble([&read_file(&FilePath::standalone("c.yaml"), &text)]);
        let mut found = Vec::new();
        assert_eq!(HigressConfig::parse(&listing.resources[0], &mut found), None, "{document}");
        assert!(found.iter().any(|d| d.code.id == "PS208"), "{document}: {found:?}");
    }
}

#[test]
fn unknown_fields_are_told_with_the_nearest() {
    check(
        "downstream: {routeTimeot: 5}",
        nothing(),
        &["warning PS202 7:18 data.higress.downstream.routeTimeot"],
    );
    check("gzipp: {enable: true}", nothing(), &["warning PS202 7:5 data.higress.gzipp"]);
    check(
        "mcpServer: {servers: [{name: a, config: {any: 1}, pth: /x}]}",
        nothing(),
        &["warning PS202 7:55 data.higress.mcpServer.servers[0].pth"],
    );
}

#[test]
fn what_does_not_act_is_told_unless_it_is_the_default() {
    check(
        "downstream: {connectionBufferLimits: 32768, http2: {maxConcurrentStreams: 100, initialStreamWindowSize: 65535, initialConnectionWindowSize: 1048576}}\nupstream: {connectionBufferLimits: 10485760}\ntracing: {enable: false, sampling: 100, timeout: 500}\nmcpServer: {enable: false}",
        nothing(),
        &[],
    );
    check(
        "downstream: {connectionBufferLimits: 1}",
        nothing(),
        &["info PS215 7:42 data.higress.downstream.connectionBufferLimits"],
    );
    let large = HigressConfig { head_kb_max: Some(65), ..nothing().unwrap() };
    check(
        "downstream: {maxRequestHeadersKb: 65}",
        Some(large),
        &["info PS215 7:39 data.higress.downstream.maxRequestHeadersKb"],
    );
    check(
        "tracing: {enable: true, zipkin: {service: z.dns, port: '9411'}}",
        nothing(),
        &["warning PS215 7:23 data.higress.tracing.enable"],
    );
    check(
        "mcpServer: {enable: true}",
        nothing(),
        &["warning PS215 7:25 data.higress.mcpServer.enable"],
    );
    check(
        "tracing: {enable: true}",
        None,
        &[
            "warning PS215 7:23 data.higress.tracing.enable",
            "error PS214 7:14 data.higress.tracing",
        ],
    );
}

#[test]
fn answers_are_compressed_unless_that_is_switched_off() {
    let with = |gzip: Option<Gzip>| Some(HigressConfig { gzip, ..HigressConfig::default() });
    for document in ["gzip:", "gzip: {}", "gzip: {enable: true}", "gzip: {contentType: null}"] {
        check(document, nothing(), &[]);
    }
    check("gzip: {enable: false, windowBits: 9}", with(None), &[]);
    let all = Gzip {
        min_content_length: 1,
        content_types: vec!["text/event-stream".into(), "text/a".into()],
        disable_on_etag_header: false,
        memory_level: 9,
        window_bits: 15,
        chunk_bytes: 65_536,
        level: 3,
        strategy: Strategy::HuffmanOnly,
    };
    check(
        "gzip: {minContentLength: 1, contentType: [text/event-stream, ' text/a '], disableOnEtagHeader: false, memoryLevel: 9, windowBits: 15, chunkSize: 65536, compressionLevel: COMPRESSION_LEVEL_3, compressionStrategy: HUFFMAN_ONLY}",
        with(Some(all)),
        &[],
    );
    for (name, level) in [
        ("BEST_COMPRESSION", 9),
        ("BEST_SPEED", 1),
        ("COMPRESSION_LEVEL_1", 1),
        ("COMPRESSION_LEVEL_9", 9),
    ] {
        let gzip = Gzip { level, ..Gzip::default() };
        check(&format!("gzip: {{compressionLevel: {name}}}"), with(Some(gzip)), &[]);
    }
    for (name, strategy) in [
        ("DEFAULT_STRATEGY", Strategy::Default),
        ("FILTERED", Strategy::Filtered),
        ("FIXED", Strategy::Fixed),
        ("HUFFMAN_ONLY", Strategy::HuffmanOnly),
        ("RLE", Strategy::Rle),
    ] {
        let gzip = Gzip { strategy, ..Gzip::default() };
        check(&format!("gzip: {{compressionStrategy: {name}}}"), with(Some(gzip)), &[]);
    }
    for (bytes, chunk_bytes) in [(1, 4096), (65_537, 65_536)] {
        let gzip = Gzip { chunk_bytes, ..Gzip::default() };
        let finding = "info PS215 7:23 data.higress.gzip.chunkSize";
        check(&format!("gzip: {{chunkSize: {bytes}}}"), with(Some(gzip)), &[finding]);
    }
    check("gzip: {contentType: []}", None, &["error PS208 7:25 data.higress.gzip.contentType"]);
}
