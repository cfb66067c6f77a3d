//! Log lines on stderr.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use super::terminal::{Terminal, is_journal, wants_colours};
use crate::config::{Environment, LogConfig, LogFormat};
use crate::error::{Error, Result, Stage};

/// Sends everything that is traced to `terminal`, from now on.
///
/// # Errors
///
/// If the filter cannot be read, or if there is a subscriber already.
pub fn init(config: &LogConfig, terminal: &Terminal, environment: Environment<'_>) -> Result<()> {
    let filter = EnvFilter::builder().parse(&config.filter).map_err(|cause| {
        Error::new(Stage::Config, format!("log filter {:?}", config.filter)).because(cause)
    })?;
    let lines = fmt()
        .with_env_filter(filter)
        .with_writer(terminal.clone())
        .with_ansi(wants_colours(environment("NO_COLOR")))
        // It would use eprintln!, which panics where stderr is a closed pipe.
        .log_internal_errors(false);
    let journal = is_journal(environment("JOURNAL_STREAM"));
    let told = match (config.format, journal) {
        (LogFormat::Json, _) => lines.json().flatten_event(true).finish().try_init(),
        (LogFormat::Text, true) => lines.without_time().with_target(false).finish().try_init(),
        (LogFormat::Text, false) => lines.with_target(false).finish().try_init(),
    };
    told.map_err(|cause: TryInitError| Error::new(Stage::Config, "cannot log").because(cause))
}
