//! Log lines on stderr.

use std::ffi::OsString;

use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use super::Troubles;
use super::terminal::{Terminal, is_journal, wants_colours};
use crate::error::{Error, Result, Stage};

/// What is logged on stderr, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// Directives as `tracing_subscriber::EnvFilter` parses them.
    pub filter: String,
    /// Format of log lines.
    pub format: LogFormat,
    /// Whether to show the status line and progress bars if stderr is a terminal.
    pub progress: bool,
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One line for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Writes log lines to `terminal` from now on, and remembers the last error and warning
/// whether they are shown or not.
///
/// # Errors
///
/// Returns an error if the filter is invalid, or if there already is a subscriber.
pub fn init(
    options: &LogOptions,
    terminal: &Terminal,
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Troubles> {
    let filter = EnvFilter::builder().parse(&options.filter).map_err(|cause| {
        Error::new(Stage::Config, format!("log filter {:?}", options.filter)).because(cause)
    })?;
    let lines = fmt::layer()
        .with_writer(terminal.clone())
        .with_ansi(wants_colours(environment("NO_COLOR")))
        // Internal errors would be printed with `eprintln!`, which panics if stderr is a
        // closed pipe.
        .log_internal_errors(false);
    let journal = is_journal(environment("JOURNAL_STREAM"));
    let lines = match (options.format, journal) {
        (LogFormat::Json, _) => lines.json().flatten_event(true).boxed(),
        (LogFormat::Text, true) => lines.without_time().with_target(false).boxed(),
        (LogFormat::Text, false) => lines.with_target(false).boxed(),
    };
    let troubles = Troubles::default();
    let noted = troubles.clone().with_filter(LevelFilter::WARN);
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(noted)
        .try_init()
        .map_err(|cause: TryInitError| Error::new(Stage::Config, "cannot log").because(cause))?;
    Ok(troubles)
}
