//! `scenetap check`: compares a session's files with each other.

use std::path::PathBuf;
use std::sync::Arc;

use super::output::JsonLines;
use super::pictures::PictureOptions;
use super::progress::ScanBar;
use super::{CommandContext, ExitStatus, complete, pictures};
use crate::catalog::examine::Examined;
use crate::config::{CheckConfig, Layers, key};
use crate::error::{Error, Result, Stage};
use crate::pipeline::{self, DetectOptions};
use crate::session::Session;
use crate::telemetry::Counters;

/// Compare a session's recording, frames, index and checkpoint
///
/// Prints one problem per line and changes nothing. The session may be recorded at the
/// same time. Exits with 0 if there is no problem, with 1 otherwise.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
#[command(after_help = super::help::CHECK_EXAMPLES)]
pub struct CheckArgs {
    /// Session name or session folder
    #[arg(value_name = "SESSION", add = complete::session())]
    session: PathBuf,

    /// Repair: truncate a torn packet and restore missing frames
    ///
    /// Detects the missing frames again in the recording. For the same frames, use the
    /// options the session was recorded with. Keeps ids and what other programs wrote to
    /// the index. Quarantines files that cannot be used. Exits with 0 if no problem
    /// remains.
    #[arg(long, num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no", value_parser = key::REPAIR.parser())]
    repair: Option<bool>,

    /// Folder that contains the session folders
    #[arg(long, help_heading = "Session")]
    #[arg(value_name = "DIR", value_parser = key::SESSIONS_DIR.parser())]
    sessions_dir: Option<PathBuf>,

    #[command(flatten)]
    pictures: pictures::PictureArgs,
}

impl CheckArgs {
    /// Resolves each option from the command line, the environment and the file.
    ///
    /// # Errors
    ///
    /// Returns an error if a value in effect is invalid.
    pub fn resolve(self, layers: &Layers<'_>) -> Result<CheckConfig> {
        let PictureOptions { rule, jpeg, program, jobs } = self.pictures.resolve(layers)?;
        let sync_interval = layers.required(None, &key::SYNC_INTERVAL)?;
        let lock_timeout = layers.required(None, &key::SHUTDOWN_TIMEOUT)?;
        Ok(CheckConfig {
            session: self.session,
            sessions_dir: layers.required(self.sessions_dir, &key::SESSIONS_DIR)?,
            repair: layers.required(self.repair, &key::REPAIR)?,
            detect: DetectOptions { rule, program, jpeg, jobs, sync_interval, lock_timeout },
        })
    }
}

/// Returns the message for a session without problems.
fn no_problems(id: &str, found: &Examined) -> String {
    let Examined { recording_bytes, packets, frames, entries, .. } = found;
    format!(
        "{id}: ok: {recording_bytes} bytes, {packets} packets, {frames} frames, {entries} entries"
    )
}

/// Runs the check; with `--repair`, repairs the session and checks it again.
///
/// # Errors
///
/// Returns an error if a problem remains, or if a file cannot be read or written.
pub fn run(args: CheckArgs, context: &CommandContext<'_>) -> Result<ExitStatus> {
    let config = args.resolve(&context.layers)?;
    tracing::debug!(?config, "resolved");
    let session = Session::find(&config.sessions_dir, &config.session)?;
    let mut output = JsonLines::stdout(&context.terminal);
    let mut found = pipeline::check(&session)?;
    for problem in &found.problems {
        output.write_line(&problem.to_string());
    }
    if config.repair && !found.problems.is_empty() {
        let counters = Arc::new(Counters::new());
        let bar = ScanBar::start(&context.terminal, Arc::clone(&counters));
        let result =
            pipeline::repair(&session, &found, &config.detect, &counters, &context.shutdown);
        bar.end();
        result?;
        let before = found.problems.len();
        found = pipeline::check(&session)?;
        for problem in &found.problems {
            output.write_line(&format!("still: {problem}"));
        }
        if found.problems.is_empty() {
            tracing::info!("repaired {before} problems");
        }
    }
    if found.problems.is_empty() {
        output.write_line(&no_problems(&session.id(), &found));
    }
    output.finish()?;
    match found.problems.len() {
        0 => Ok(ExitStatus::Done),
        count => {
            let hint = if config.repair { "" } else { "; --repair fixes what can be fixed" };
            let what = format!("{count} problems{hint}");
            Err(Error::new(Stage::Session, what).path(session.folder()))
        }
    }
}
