//! The log: on standard error, as text for a terminal and as JSON for
//! everything else.

use std::io::IsTerminal;

use penstock_manifest::{Diagnostic, Severity};
use tracing::level_filters::LevelFilter;

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogLevel {
    /// Only what failed.
    Error,
    /// Also what needs attention.
    Warn,
    /// Also what happened.
    Info,
    /// Also details of connections.
    Debug,
    /// Everything.
    Trace,
}

/// Starts the log. Called once.
pub fn start(level: LogLevel) {
    let filter = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let builder = tracing_subscriber::fmt().with_max_level(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.with_target(false).init();
    } else {
        builder.json().flatten_event(true).with_target(false).init();
    }
}

/// Logs a finding about configuration.
pub fn log_diagnostic(diagnostic: &Diagnostic) {
    macro_rules! emit {
        ($level:ident) => {
            tracing::$level!(
                code = diagnostic.code.id,
                file = %diagnostic.file,
                line = diagnostic.line,
                column = diagnostic.column,
                path = %diagnostic.path,
                hint = diagnostic.hint.as_deref(),
                "{}",
                diagnostic.message
            )
        };
    }
    match diagnostic.severity {
        Severity::Error => emit!(error),
        Severity::Warning => emit!(warn),
        Severity::Info => emit!(info),
    }
}
