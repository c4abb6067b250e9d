//! What the verbs that change things have in common: where to, who, and how
//! answers are printed.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use penstock_gateway::compile::Options;
use serde::Serialize;

use crate::target::{Access, Failure, Remote, Target};

/// Where to.
#[derive(Args)]
pub struct TargetArguments {
    /// The directory with the manifests, or the URL of a gateway's admin listener
    #[arg(long, value_name = "TARGET")]
    to: String,
    #[command(flatten)]
    access: AccessArguments,
}

/// How a target is reached, and what counts there.
#[derive(Args)]
pub struct AccessArguments {
    #[command(flatten)]
    gateway: GatewayArguments,
    /// Only Ingresses of this class count, in a directory; a gateway has its own
    #[arg(long, value_name = "NAME")]
    ingress_class: Option<String>,
}

/// How a gateway is reached from afar.
#[derive(Args)]
pub struct GatewayArguments {
    /// The file with the admin token, for a gateway
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificates that a gateway is checked against instead of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

impl TargetArguments {
    /// Opens the target.
    pub fn open(&self) -> anyhow::Result<Target> {
        self.access.open(&self.to)
    }
}

impl AccessArguments {
    /// Opens a target by its name.
    pub fn open(&self, name: &str) -> anyhow::Result<Target> {
        let options = Options { ingress_class: self.ingress_class.clone() };
        Ok(Target::open(name, options, &self.access()?)?)
    }

    /// How gateways are reached.
    pub fn access(&self) -> anyhow::Result<Access> {
        self.gateway.access()
    }
}

impl GatewayArguments {
    /// The gateway that a source names; none where it names something else.
    pub fn open(&self, source: &str) -> anyhow::Result<Option<Remote>> {
        match Remote::is_named(source) {
            true => Ok(Some(Remote::new(source, &self.access()?)?)),
            false => Ok(None),
        }
    }

    fn access(&self) -> anyhow::Result<Access> {
        let token = self.token_file.as_deref().map(read_token).transpose()?;
        Ok(Access { token, ca_file: self.ca_file.clone() })
    }
}

fn read_token(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{shown}`"))?;
    match text.trim() {
        "" => bail!("`{shown}` holds no token"),
        token => Ok(token.to_owned()),
    }
}

/// Prints an answer: its text, or all of it as JSON.
pub fn print(output: Output, answer: &impl Serialize, text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match output {
        Output::Text => out.write_all(text.as_bytes())?,
        Output::Json => {
            serde_json::to_writer_pretty(&mut out, answer)?;
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}

/// Prints what stands behind a failure, and gives it to the caller.
pub fn told(failure: Failure) -> anyhow::Error {
    say(&failure.notes);
    failure.into()
}

/// Talks to whoever runs the verb. Nobody listening is no reason to stop in
/// the middle of a change.
pub fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Who makes a change, as far as the system tells: `USER@HOST`.
pub fn author() -> String {
    let uid = std::fs::metadata("/proc/self").map_or(0, |process| process.uid());
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    let user = user.unwrap_or_else(|| uid.to_string());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match host.trim() {
        "" => user,
        host => format!("{user}@{host}"),
    }
}
