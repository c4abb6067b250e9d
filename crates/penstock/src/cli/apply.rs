//! `penstock apply` and what it shares with the other verbs that change a
//! target: ask, make the change, wait for it, verify it.

use std::borrow::Cow;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;

use crate::cli::change::ChangeArguments;
use crate::cli::target::{AccessArguments, Output, print, say, told};
use crate::exit_code::ExitCode;
use crate::target::{Applied, ChangeRequest, Failure, IntentText, Remote, Request, Target};

/// The command line of `apply`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    change: ChangeArguments,
    #[command(flatten)]
    making: MakingArguments,
}

/// How a change is made.
#[derive(Args)]
pub struct MakingArguments {
    /// The directory with the manifests, or the URL of a gateway's admin listener; may be
    /// repeated: one after another, until one fails
    #[arg(long, required = true, value_name = "TARGET")]
    to: Vec<String>,
    #[command(flatten)]
    access: AccessArguments,
    /// Why, for the history
    #[arg(short, long, value_name = "TEXT", default_value = "")]
    message: String,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
    /// Return when the gateway has the change in force
    #[arg(long)]
    wait: bool,
    /// The admin listener of the gateway that serves the directory
    #[arg(long, value_name = "URL")]
    gateway: Option<String>,
    /// How many seconds to wait at most
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    timeout: u64,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// How the answer is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// What standard output gets once a change is made.
pub enum Shown {
    /// What was changed.
    Change,
    /// The new key that the change contains, if any, and only once: alone in
    /// its line, or as `key` of the answer. What was changed goes to standard
    /// error.
    Key(Option<String>),
}

/// Where the gateway of this machine is asked.
const GATEWAY: &str = "http://127.0.0.1:8001";
/// How often a gateway is asked for what it has in force.
const POLL: Duration = Duration::from_millis(50);

/// `penstock apply`.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    arguments.making.make(arguments.change.request()?)
}

impl MakingArguments {
    /// Makes a change on every target, one after another.
    pub fn make(&self, request: Request) -> anyhow::Result<ExitCode> {
        self.make_and_show(request, Shown::Change)
    }

    /// The same, where standard output may be for something else.
    pub fn make_and_show(
        &self,
        mut request: Request,
        mut shown: Shown,
    ) -> anyhow::Result<ExitCode> {
        request.message.clone_from(&self.message);
        request.details = self.output == Output::Json;
        let directories = self.to.iter().filter(|name| !Remote::is_named(name)).count();
        if self.to.len() > 1 && (self.gateway.is_some() || self.wait && directories > 0) {
            say("error: waiting for several targets works with gateways, each its own\n");
            return Ok(ExitCode::Usage);
        }
        for (index, name) in self.to.iter().enumerate() {
            if self.to.len() > 1 {
                say(&format!("{name}:\n"));
            }
            let made = self.make_on(name, request.clone(), &mut shown);
            if let Err(error) = made {
                let left = self.to.len() - index - 1;
                return Err(match left {
                    0 => error,
                    left => error.context(format!("{name} failed; {left} more were not touched")),
                });
            }
        }
        Ok(ExitCode::Success)
    }

    fn make_on(&self, name: &str, mut request: Request, shown: &mut Shown) -> anyhow::Result<()> {
        let target = self.access.open(name)?;
        // What cannot be followed is not made.
        let gateway = self.gateway(&target, request.verify.is_some())?;
        if self.dry_run || self.asks() {
            let planned = target.plan(&request).map_err(told)?;
            match self.dry_run {
                true => print(self.output, &planned, &planned.text)?,
                false => say(&planned.text),
            }
            if let Some(failure) = planned.failure() {
                return Err(told(failure));
            }
            say(&planned.notes);
            if self.dry_run {
                return Ok(());
            }
            if planned.has_changes && !confirmed()? {
                bail!("nothing was changed");
            }
            request.base = Some(planned.base);
        }
        let verify = request.verify.clone();
        let applied = target.apply(&request).map_err(|failure| {
            shown.save(&failure);
            told(failure)
        })?;
        let printed = shown.print(self.output, &applied);
        say(&applied.notes);
        say(&match &applied.revision {
            Some(revision) => format!("revision {}: {}\n", revision.id, revision.summary),
            None => "nothing to change\n".to_owned(),
        });
        printed.with_context(|| match &applied.revision {
            Some(revision) => format!("revision {} is made, but cannot be told of", revision.id),
            None => "the answer cannot be printed".to_owned(),
        })?;
        match gateway {
            Some(gateway) => self.follow((&target, &gateway), &applied, verify.as_ref()),
            None => Ok(()),
        }
    }

    /// The gateway that has to have the change in force before the verb ends.
    fn gateway<'t>(
        &self,
        target: &'t Target,
        is_verified: bool,
    ) -> anyhow::Result<Option<Cow<'t, Remote>>> {
        if self.dry_run {
            return Ok(None);
        }
        match (target, &self.gateway) {
            (Target::Remote(remote), None) => {
                // The next gateway waits for this one; what is to be verified
                // has to be in force.
                let waits = self.wait || is_verified || self.to.len() > 1;
                Ok(waits.then_some(Cow::Borrowed(remote)))
            }
            (Target::Local(_), None) if !self.wait => Ok(None),
            (_, url) => {
                let url = url.as_deref().unwrap_or(GATEWAY);
                Ok(Some(Cow::Owned(Remote::new(url, &self.access.access()?)?)))
            }
        }
    }

    /// Waits for the gateway, and verifies what it does.
    fn follow(
        &self,
        (target, gateway): (&Target, &Remote),
        applied: &Applied,
        verify: Option<&IntentText>,
    ) -> anyhow::Result<()> {
        let stays = |what: &str| match &applied.revision {
            Some(revision) => format!("{what}; revision {} stays applied", revision.id),
            None => what.to_owned(),
        };
        match wait(gateway, applied, Duration::from_secs(self.timeout)) {
            Ok(()) => {}
            Err(Waited::Refused(error)) if verify.is_some() => {
                return Err(take_back(target, applied, &error));
            }
            Err(Waited::Refused(error) | Waited::Unknown(error)) => {
                return Err(error.context(stays("not in force")));
            }
        }
        let Some(table) = verify else { return Ok(()) };
        let outcome = gateway.test(table).map_err(told).with_context(|| stays("not verified"))?;
        if outcome.passed {
            return Ok(());
        }
        say(&outcome.text);
        Err(take_back(target, applied, &anyhow::anyhow!("the verification failed")))
    }

    /// Whether to ask: only where somebody can answer.
    fn asks(&self) -> bool {
        !self.yes && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }
}

impl Shown {
    fn print(&mut self, output: Output, applied: &Applied) -> anyhow::Result<()> {
        let Self::Key(key) = self else { return print(output, applied, &applied.text) };
        let key = key.take();
        let text = key.as_ref().map(|key| format!("{key}\n")).unwrap_or_default();
        let is_lost = key.is_some();
        print(output, &Keyed { key, applied }, &text).with_context(|| match is_lost {
            true => "the change is made, but its key is lost: rotate it again",
            false => "the change is made",
        })?;
        if output == Output::Text {
            say(&applied.text);
        }
        Ok(())
    }

    /// Prints the key of a change that may have been made although it failed.
    fn save(&mut self, failure: &Failure) {
        if let Self::Key(key) = self
            && failure.may_be_made
            && let Some(key) = key.take()
        {
            // There is no better place left to say it.
            let _ = writeln!(std::io::stdout(), "{key}");
        }
    }
}

/// An answer with the key that the change contains.
#[derive(Serialize)]
struct Keyed<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(flatten)]
    applied: &'a Applied,
}

fn confirmed() -> anyhow::Result<bool> {
    say("make these changes? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Takes a change back that turned out to be wrong, and says so.
fn take_back(target: &Target, applied: &Applied, why: &anyhow::Error) -> anyhow::Error {
    let Some(revision) = &applied.revision else { return anyhow::anyhow!("{why:#}") };
    let mut back = Request::new(ChangeRequest::Rollback { to: Some(revision.id - 1) });
    back.details = false;
    back.message = format!("revision {} did not pass its verification", revision.id);
    back.author.clone_from(&revision.author);
    back.base = Some(applied.content.clone());
    match target.apply(&back) {
        Ok(_) => anyhow::anyhow!("{why:#}; revision {} is taken back", revision.id),
        Err(failure) => {
            told(failure).context(format!("{why:#}, and revision {} stays", revision.id))
        }
    }
}

/// Why a gateway does not have a content in force.
enum Waited {
    /// It has seen it and does not want it.
    Refused(anyhow::Error),
    /// It has not seen it yet, or does not answer.
    Unknown(anyhow::Error),
}

/// Waits until a gateway has a content in force.
fn wait(gateway: &Remote, applied: &Applied, timeout: Duration) -> Result<(), Waited> {
    let end = Instant::now() + timeout;
    loop {
        let seen = gateway.status();
        match &seen {
            Ok(status) if status.revision == applied.content => {
                say(&format!("in force at {}\n", gateway.url()));
                return Ok(());
            }
            Ok(status) if status.seen == applied.content => {
                say(&status.notes);
                let error = status.error.as_deref().unwrap_or("it is not in force");
                let refused = anyhow::anyhow!("{} refused it: {error}", gateway.url());
                return Err(Waited::Refused(refused));
            }
            _ => {}
        }
        if Instant::now() >= end {
            return Err(Waited::Unknown(match seen {
                Ok(status) => anyhow::anyhow!(
                    "{} did not take it within {} s; it has {} in force",
                    gateway.url(),
                    timeout.as_secs(),
                    status.revision
                ),
                Err(failure) => anyhow::Error::from(failure).context(format!(
                    "{} did not answer within {} s",
                    gateway.url(),
                    timeout.as_secs()
                )),
            }));
        }
        std::thread::sleep(POLL);
    }
}
