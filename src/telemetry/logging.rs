//! Log lines on stderr.

use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use super::Troubles;
use super::terminal::{Terminal, is_journal, wants_colours};
use crate::config::{Environment, LogConfig, LogFormat};
use crate::error::{Error, Result, Stage};

/// Writes log lines to `terminal` from now on, and remembers the last error and warning
/// whether they are shown or not.
///
/// # Errors
///
/// Returns an error if the filter is invalid, or if there already is a subscriber.
pub fn init(
    config: &LogConfig,
    terminal: &Terminal,
    environment: Environment<'_>,
) -> Result<Troubles> {
    let filter = EnvFilter::builder().parse(&config.filter).map_err(|cause| {
        Error::new(Stage::Config, format!("log filter {:?}", config.filter)).because(cause)
    })?;
    let lines = fmt::layer()
        .with_writer(terminal.clone())
        .with_ansi(wants_colours(environment("NO_COLOR")))
        // Internal errors would be printed with `eprintln!`, which panics if stderr is a
        // closed pipe.
        .log_internal_errors(false);
    let journal = is_journal(environment("JOURNAL_STREAM"));
    let lines = match (config.format, journal) {
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
