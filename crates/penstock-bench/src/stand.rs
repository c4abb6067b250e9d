//! The stand that measurements are made on: a directory, the scripted
//! upstream, and how the load generator is run against a contestant.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::ensure;
use tempfile::TempDir;

use crate::certificate::Certificate;
use crate::load::{BEGINS, Order, Outcome};
use crate::manifests::Scenario;
use crate::process::{Cores, Process, own};
use crate::request::{CONSUMERS, HOSTS};

/// What all measurements need.
pub struct Stand {
    pub cores: Cores,
    pub certificate: Certificate,
    /// The address of the scripted upstream.
    pub upstream: SocketAddr,
    directory: TempDir,
    _upstream: Process,
}

impl Stand {
    /// Puts it up.
    pub fn build() -> anyhow::Result<Self> {
        let cores = Cores::available()?;
        let directory = tempfile::tempdir()?;
        let certificate = Certificate::write(directory.path())?;
        let mut process = Process::start(&mut own(&["upstream"])?, cores.others)?;
        let upstream = process.lines()?.next()?.parse()?;
        Ok(Self { cores, certificate, upstream, directory, _upstream: process })
    }

    /// A path below the stand's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes the usual manifests into a directory of this name.
    pub fn manifests(&self, name: &str) -> anyhow::Result<PathBuf> {
        let directory = self.path(name);
        let certificate = Some(&self.certificate);
        let upstream = self.upstream;
        Scenario { routes: HOSTS, consumers: CONSUMERS, upstream, certificate }
            .write(&directory)?;
        Ok(directory)
    }

    /// The same with more routes and consumers, and without HTTPS.
    pub fn large_manifests(
        &self,
        name: &str,
        routes: usize,
        consumers: usize,
    ) -> anyhow::Result<PathBuf> {
        let directory = self.path(name);
        let upstream = self.upstream;
        Scenario { routes, consumers, upstream, certificate: None }.write(&directory)?;
        Ok(directory)
    }

    /// Runs the load generator. `begun` is called when the measured time
    /// begins, and its result is returned together with what was counted, as
    /// soon as it ends.
    pub fn run_load<T>(
        &self,
        order: &Order,
        begun: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<(T, Outcome)> {
        let order = serde_json::to_string(order)?;
        let mut process = Process::start(&mut own(&["load", &order])?, self.cores.others)?;
        let mut lines = process.lines()?;
        let line = lines.next()?;
        ensure!(line == BEGINS, "the load generator says {line}");
        let begun = begun()?;
        Ok((begun, serde_json::from_str(&lines.next()?)?))
    }
}
