//! What many routes cost: reading, compiling, memory, and finding one.
//!
//! `cargo bench -p penstock-gateway --bench routing`; the first argument that
//! is a number says how many hosts there are, with ten routes each.

use std::hint::black_box;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method};
use penstock_gateway::compile::{Options, compile};
use penstock_gateway::route::RouteInput;
use penstock_manifest::listing::assemble;
use penstock_manifest::read::{FilePath, read_file};

const HOSTS: usize = 10_000;
const PATHS: usize = 10;
const LOOK_UPS: usize = 200_000;

fn main() {
    let hosts = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(HOSTS);
    println!("{hosts} hosts, {} routes; memory at first {} MB", hosts * PATHS, memory_mb());
    let texts: Vec<(FilePath, String)> = (0..hosts).map(file).chain([bridge()]).collect();
    let begin = Instant::now();
    let files: Vec<_> = texts.iter().map(|(path, text)| read_file(path, text)).collect();
    let listing = assemble(&files);
    println!("read: {:?}", begin.elapsed());
    drop((files, texts));
    let before = memory_mb();
    let begin = Instant::now();
    let compiled = compile(&listing, &[], &Options::default());
    let elapsed = begin.elapsed();
    let snapshot = compiled.snapshot;
    println!(
        "compile: {elapsed:?}, {} routes, {} findings",
        snapshot.routes.len(),
        compiled.diagnostics.len()
    );
    println!("memory: {before} MB of resources, {} MB with the snapshot", memory_mb());
    drop((compiled.effective, listing));
    let (method, headers) = (Method::GET, HeaderMap::new());
    let mut times = Vec::with_capacity(LOOK_UPS);
    for step in 0..LOOK_UPS {
        // Spread over all hosts, so that what is found is seldom in a cache.
        let host = format!("h{}.example.com", step.wrapping_mul(7919) % hosts);
        let path = format!("/p{}/x", step % PATHS);
        let input = RouteInput {
            host: &host,
            path: &path,
            query: None,
            method: &method,
            headers: &headers,
            authority: None,
            is_tls: false,
            has_trusted_hops: false,
        };
        let begin = Instant::now();
        let found = black_box(snapshot.find(black_box(&input)));
        times.push(begin.elapsed());
        assert!(found.is_some(), "{host}{path}");
    }
    times.sort_unstable();
    let at = |share: f64| {
        let index = (share * (LOOK_UPS - 1) as f64) as usize;
        times.get(index).copied().unwrap_or_default()
    };
    let clock = clock_costs();
    println!(
        "find: p50 {:?}, p99 {:?}, p99.9 {:?}, worst {:?}; the clock itself {clock:?}",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}

fn file(host: usize) -> (FilePath, String) {
    let mut text = format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: r{host}\n  namespace: higress-system\n  annotations:\n    higress.io/destination: deck.static:80\nspec:\n  ingressClassName: higress\n  rules:\n  - host: h{host}.example.com\n    http:\n      paths:\n"
    );
    for path in 0..PATHS {
        text.push_str(&format!(
            "      - path: /p{path}\n        pathType: Prefix\n        backend:\n          resource: {{apiGroup: networking.higress.io, kind: McpBridge, name: default}}\n"
        ));
    }
    (FilePath::standalone(format!("ingresses/r{host}.yaml")), text)
}

fn bridge() -> (FilePath, String) {
    let text = "apiVersion: networking.higress.io/v1\nkind: McpBridge\nmetadata: {name: default, namespace: higress-system}\nspec:\n  registries:\n  - {name: deck, type: static, domain: '127.0.0.1:1', port: 80}\n";
    (FilePath::standalone("mcpbridges/default.yaml"), text.to_owned())
}

/// What measuring nothing shows.
fn clock_costs() -> Duration {
    let mut times: Vec<Duration> = (0..10_001)
        .map(|_| {
            let begin = Instant::now();
            begin.elapsed()
        })
        .collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The resident memory of this process; 0 where the system does not tell.
fn memory_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kb.unwrap_or_default() / 1024
}
