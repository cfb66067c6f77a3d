//! Log lines on stderr.

use std::ffi::OsString;
use std::io::{self, IsTerminal};

use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use super::Troubles;
use crate::error::{Error, Result, Stage};

/// Options of the log on stderr.
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
    /// One line of text per event.
    Text,
    /// One JSON object per line.
    Json,
}

/// Writes log lines to `writer` from now on, and stores the last error and warning, even if they
/// are filtered out.
///
/// # Errors
///
/// Returns an error if the filter is invalid, or a subscriber is already installed.
pub fn init<W>(
    options: &LogOptions,
    writer: W,
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Troubles>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse(&options.filter).map_err(|cause| {
        Error::new(Stage::Config, format!("log filter {:?}", options.filter)).because(cause)
    })?;
    let lines = fmt::layer()
        .with_writer(writer)
        .with_ansi(wants_colors(environment("NO_COLOR")))
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
    let remembered = troubles.clone().with_filter(LevelFilter::WARN);
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(remembered)
        .try_init()
        .map_err(|cause: TryInitError| Error::new(Stage::Config, "cannot log").because(cause))?;
    Ok(troubles)
}

/// Returns whether to use colors on stderr: it is a terminal, and NO_COLOR (no-color.org)
/// is unset.
fn wants_colors(no_color: Option<OsString>) -> bool {
    io::stderr().is_terminal() && no_color.is_none_or(|value| value.is_empty())
}

/// Returns whether stderr is connected to the systemd journal, which adds its own time to every
/// line. systemd.exec(5): JOURNAL_STREAM contains the device and inode of the stream. They have to
/// be compared, because processes inherit the variable even if their stderr is redirected.
fn is_journal(journal_stream: Option<OsString>) -> bool {
    let Some(stream) = journal_stream else { return false };
    let Ok(stat) = rustix::fs::fstat(io::stderr()) else { return false };
    stream.to_str() == Some(format!("{}:{}", stat.st_dev, stat.st_ino).as_str())
}
