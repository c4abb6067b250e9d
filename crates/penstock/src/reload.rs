//! From a change in the store to a snapshot in force.
//!
//! Level-triggered: whatever changed, the whole set is listed and compiled.
//! What is broken keeps its last good version; if nothing can be used at all,
//! the configuration in force stays.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use penstock_gateway::Gateway;
use penstock_gateway::compile::{self, Options};
use penstock_manifest::listing::overlay;
use penstock_manifest::{Diagnostic, Listing, Revision, Severity, diagnostic, lint};
use tokio::sync::watch;

use crate::last_good::LastGood;
use crate::store::{Store, StoreError};
use crate::telemetry;

/// What `/status` and `/metrics` say about the configuration.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The content in force.
    pub revision: Revision,
    /// The content that was seen last, in force or not.
    pub seen: Revision,
    /// Whether the last reload succeeded.
    pub is_ok: bool,
    /// Why it did not.
    pub error: Option<String>,
    /// When the last reload ended.
    pub at: Option<SystemTime>,
    /// How long it took.
    pub took: Duration,
    /// How many reloads there were.
    pub count: u64,
    /// The findings.
    pub diagnostics: Vec<Diagnostic>,
}

/// Keeps the gateway's configuration current.
pub struct Reloader {
    store: Arc<dyn Store>,
    gateway: Arc<Gateway>,
    options: Options,
    last_good: Option<LastGood>,
    /// The resources in force.
    effective: Mutex<Listing>,
    report: Mutex<Report>,
    /// Whether another process keeps the files.
    is_replaced: AtomicBool,
}

impl Reloader {
    /// A reloader for a store. `directory` is where the last good set is
    /// kept.
    pub fn new(
        store: Arc<dyn Store>,
        gateway: Arc<Gateway>,
        options: Options,
        directory: Option<&Path>,
    ) -> Arc<Self> {
        let last_good = directory.map(LastGood::of);
        let effective = last_good.as_ref().map(LastGood::load).unwrap_or_default();
        Arc::new(Self {
            store,
            gateway,
            options,
            last_good,
            effective: Mutex::new(effective),
            report: Mutex::default(),
            is_replaced: AtomicBool::new(false),
        })
    }

    /// Another process has taken over: what is served here stays current, but
    /// the files are that one's.
    pub fn leave_files(&self) {
        self.is_replaced.store(true, Ordering::Release);
    }

    /// What a compilation depends on besides resources.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The state of the configuration.
    pub fn report(&self) -> Report {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reloads whenever the store changes.
    pub async fn run(self: Arc<Self>, mut changes: watch::Receiver<u64>) {
        while changes.changed().await.is_ok() {
            self.clone().reload_aside(false).await;
        }
    }

    /// Reloads on a thread that may block.
    pub async fn reload_aside(self: Arc<Self>, is_forced: bool) {
        let reloaded = tokio::task::spawn_blocking(move || self.reload(is_forced)).await;
        if let Err(error) = reloaded {
            tracing::error!(%error, "a reload ended abnormally; the configuration in force stays");
        }
    }

    /// Lists, compiles and installs once. Blocks.
    pub fn reload(&self, is_forced: bool) {
        let began = Instant::now();
        // Two at once must not put the older listing in force last.
        let mut effective = self.effective.lock().unwrap_or_else(PoisonError::into_inner);
        self.store.recover();
        match self.store.list() {
            Ok(listing) => self.take(listing, &mut effective, is_forced, began),
            Err(error) => self.fail(&error, began),
        }
    }

    fn fail(&self, error: &StoreError, began: Instant) {
        tracing::error!(%error, "the configuration cannot be read; the one in force stays");
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.is_ok = false;
        report.error = Some(error.to_string());
        report.at = Some(SystemTime::now());
        report.took = began.elapsed();
        report.count += 1;
    }

    fn take(&self, listing: Listing, effective: &mut Listing, is_forced: bool, began: Instant) {
        if self.has_seen(&listing.revision) && !is_forced {
            return;
        }
        let seen = listing.revision.clone();
        let mut listing = overlay(listing, effective);
        let is_nothing = listing.resources.is_empty() && !listing.broken.is_empty();
        let compiled = compile::compile(&listing, &effective.resources, &self.options);
        let expired = compiled.snapshot.certificates.expired(seconds_since_1970());
        let keeps_old = is_nothing && self.gateway.live().is_some();
        if !keeps_old {
            self.gateway.install(compiled.snapshot);
            *effective = Listing { resources: compiled.effective, ..Listing::default() };
        }
        let took = began.elapsed();
        // What follows only tells; it must not delay what is in force.
        let mut findings = compiled.diagnostics;
        findings.extend(expired);
        findings.extend(lint::lint_listing(&listing, &lint::Options { console: false }));
        findings.append(&mut listing.diagnostics);
        diagnostic::sort(&mut findings);
        self.log_new(&findings);
        self.finish(seen, keeps_old, findings, took);
        let keeps_files = !keeps_old && !self.is_replaced.load(Ordering::Acquire);
        if keeps_files && let Some(last_good) = &self.last_good {
            // Without it only a restart with a broken file is worse off.
            if let Err(error) = last_good.store(&effective.resources) {
                tracing::info!(%error, "the last good configuration could not be kept on disk");
            }
        }
    }

    /// Logs what the last reload did not find already.
    fn log_new(&self, findings: &[Diagnostic]) {
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        let known: HashSet<String> = report.diagnostics.iter().map(ToString::to_string).collect();
        findings
            .iter()
            .filter(|finding| !known.contains(&finding.to_string()))
            .for_each(telemetry::log_diagnostic);
    }

    fn has_seen(&self, revision: &Revision) -> bool {
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.count > 0 && report.error.is_none() && report.seen == *revision
    }

    fn finish(&self, seen: Revision, keeps_old: bool, findings: Vec<Diagnostic>, took: Duration) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.is_ok = !keeps_old;
        report.error =
            keeps_old.then(|| "nothing of it can be used; the configuration before stays".into());
        if !keeps_old {
            report.revision = seen.clone();
        }
        report.seen = seen;
        report.at = Some(SystemTime::now());
        report.took = took;
        report.count += 1;
        let errors = findings.iter().filter(|f| f.severity == Severity::Error).count();
        tracing::info!(
            revision = %report.revision,
            errors,
            findings = findings.len(),
            took_ms = u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
            "configuration {}", if keeps_old { "refused" } else { "in force" }
        );
        report.diagnostics = findings;
    }
}

/// What time it is, for findings about certificates.
pub fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
