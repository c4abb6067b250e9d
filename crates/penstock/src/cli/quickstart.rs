//! `penstock quickstart`: an LLM upstream, the scenario on disk and the
//! gateway, in one process.

mod upstream;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Parser};

use crate::cli::serve;
use crate::cli::{Cli, Verb};
use crate::exit_code::ExitCode;
use crate::process::Inherited;
use crate::telemetry::{self, LogLevel};

/// The command line of `quickstart`.
#[derive(Args)]
pub struct Arguments {
    /// The directory that the scenario is written to
    #[arg(long, value_name = "DIR", default_value = "penstock-quickstart")]
    config: PathBuf,
    /// The address for HTTP; another port is taken if this one is in use
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// The address for health, metrics and status; likewise
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8001")]
    admin: SocketAddr,
}

/// The file that says that a directory is ours to write to.
const MARKER: &str = ".penstock-quickstart";
/// The gateway's domain in the scenario.
const DOMAIN: &str = "ai.example.com";
/// The consumer's key in the scenario. It protects nothing but the embedded
/// upstream, on this machine.
const KEY: &str = "quickstart-key";

/// The manifests of the scenario.
const MANIFESTS: &[(&str, &str)] = &[
    (
        "configmaps/domain-ai.example.com.yaml",
        include_str!("../../../../examples/quickstart/configmaps/domain-ai.example.com.yaml"),
    ),
    (
        "mcpbridges/default.yaml",
        include_str!("../../../../examples/quickstart/mcpbridges/default.yaml"),
    ),
    (
        "wasmplugins/ai-proxy.internal.yaml",
        include_str!("../../../../examples/quickstart/wasmplugins/ai-proxy.internal.yaml"),
    ),
    (
        "wasmplugins/key-auth.internal.yaml",
        include_str!("../../../../examples/quickstart/wasmplugins/key-auth.internal.yaml"),
    ),
    (
        "ingresses/ai-route-chat.internal.yaml",
        include_str!("../../../../examples/quickstart/ingresses/ai-route-chat.internal.yaml"),
    ),
    (
        "configmaps/ai-route-chat.yaml",
        include_str!("../../../../examples/quickstart/configmaps/ai-route-chat.yaml"),
    ),
];
/// The upstream's address in the manifests, replaced by the real one.
const UPSTREAM_PLACEHOLDER: &str = "127.0.0.1:9000";

/// `penstock quickstart`.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    telemetry::start(LogLevel::Warn);
    let upstream = upstream::start().context("starting the embedded upstream")?;
    write_scenario(&arguments.config, upstream)?;
    let server = serve::start(&serve_arguments(&arguments)?, Inherited::default())?;
    let text = instructions(&arguments.config, server.http, server.admin_address);
    std::io::stdout().write_all(text.as_bytes())?;
    server.run_to_end()
}

fn serve_arguments(arguments: &Arguments) -> anyhow::Result<serve::Arguments> {
    let http = free(arguments.http)?.to_string();
    let admin = free(arguments.admin)?.to_string();
    let config = arguments.config.to_string_lossy();
    let line = [
        "penstock",
        "serve",
        "--config",
        &config,
        "--http",
        &http,
        "--https",
        "127.0.0.1:0",
        "--admin",
        &admin,
        "--access-log",
        "off",
    ];
    match Cli::try_parse_from(line)?.verb {
        Verb::Serve(arguments) => Ok(*arguments),
        _ => bail!("the command line of serve has changed"),
    }
}

/// The address, or one with a free port where it is in use.
fn free(address: SocketAddr) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(address)
        .or_else(|_| TcpListener::bind((address.ip(), 0)))
        .with_context(|| format!("cannot listen on {}", address.ip()))?;
    Ok(listener.local_addr()?)
}

/// Writes the manifests that are not there yet; the upstream's port is new at
/// every start.
fn write_scenario(directory: &Path, upstream: SocketAddr) -> anyhow::Result<()> {
    let shown = directory.display();
    let marker = directory.join(MARKER);
    let is_ours = marker.exists();
    let is_empty = fs::read_dir(directory).map_or(true, |mut entries| entries.next().is_none());
    if !is_ours && !is_empty {
        bail!(
            "`{shown}` holds files that are not of the quickstart; name another directory with --config"
        );
    }
    for (name, text) in MANIFESTS {
        let path = directory.join(name);
        if path.exists() && !text.contains(UPSTREAM_PLACEHOLDER) {
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("cannot create `{}`", parent.display()))?;
        }
        let text = text.replace(UPSTREAM_PLACEHOLDER, &upstream.to_string());
        fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    fs::write(&marker, "").with_context(|| format!("cannot write `{}`", marker.display()))
}

fn instructions(directory: &Path, http: SocketAddr, admin: SocketAddr) -> String {
    let curl = |key: &str, body: &str| {
        let authorization = match key {
            "" => String::new(),
            key => format!(" -H 'Authorization: Bearer {key}'"),
        };
        format!(
            "  curl -sS http://{http}/v1/chat/completions -H 'Host: {DOMAIN}'{authorization} -H 'Content-Type: application/json' -d '{body}'\n"
        )
    };
    let whole = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"Hello"}]}"#;
    let streamed =
        r#"{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"Hello"}]}"#;
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "penstock is serving {} on http://{http}\n", directory.display());
    text.push_str("An answer of the embedded upstream:\n");
    text.push_str(&curl(KEY, whole));
    text.push_str("The same as a stream:\n");
    text.push_str(&curl(KEY, streamed).replace("curl -sS", "curl -sSN"));
    text.push_str("Without a key, 401:\n");
    text.push_str(&curl("", whole).replace("curl -sS", "curl -sSi"));
    let _ = writeln!(text, "The state of the gateway:\n  curl -sS http://{admin}/status\n");
    let _ = writeln!(
        text,
        "Edit a file below {} and see it in force at once. Ctrl-C ends it.",
        directory.display()
    );
    text
}

/// Where the embedded upstream listens.
const UPSTREAM_ADDRESS: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
