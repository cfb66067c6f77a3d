//! `scenetap check`: a session's files against each other.

use std::path::PathBuf;
use std::sync::Arc;

use super::output::JsonLines;
use super::progress::ScanBar;
use super::{ExitStatus, World, pictures};
use crate::config::{CheckConfig, DetectConfig, Layers, key};
use crate::error::{Error, Result, Stage};
use crate::pipeline;
use crate::session::Session;
use crate::telemetry::Counters;

/// Hold a session's recording, frames, index and checkpoint against each other
///
/// Says what is wrong, a line each, and changes nothing. A session may be checked
/// while it is recorded. Exit status 0 if all is well, 1 if not.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
#[command(after_help = super::help::CHECK_EXAMPLES)]
pub struct Args {
    /// A session's name or a session's folder
    #[arg(value_name = "SESSION")]
    session: PathBuf,

    /// Mend it: cut a torn packet off, and find again what is missing
    ///
    /// Frames are found in the recording as `record` finds them, so give the options
    /// that it was recorded with. Ids, and what others wrote to the index, are kept;
    /// what is of no use is set aside. Exit status 0 if all is well then.
    #[arg(long, num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no", value_parser = key::REPAIR.parser())]
    repair: Option<bool>,

    /// The folder of the session folders
    #[arg(long, help_heading = "Session")]
    #[arg(value_name = "DIR", value_parser = key::SESSIONS_DIR.parser())]
    sessions_dir: Option<PathBuf>,

    #[command(flatten)]
    pictures: pictures::Args,
}

impl Args {
    /// Puts the layers under what was typed.
    ///
    /// # Errors
    ///
    /// If a value that counts is wrong.
    pub fn resolve(self, layers: &Layers<'_>) -> Result<CheckConfig> {
        let (rule, jpeg, program) = self.pictures.resolve(layers)?;
        let sync_interval = layers.required(None, &key::SYNC_INTERVAL)?;
        Ok(CheckConfig {
            session: self.session,
            sessions_dir: layers.required(self.sessions_dir, &key::SESSIONS_DIR)?,
            repair: layers.required(self.repair, &key::REPAIR)?,
            detection: DetectConfig { rule, jpeg, program, sync_interval },
        })
    }
}

/// Checks, and with `--repair` mends and checks again.
///
/// # Errors
///
/// If something is wrong, or cannot be read or written.
pub fn run(args: Args, world: &World<'_>) -> Result<ExitStatus> {
    let config = args.resolve(&world.layers)?;
    tracing::debug!(?config, "resolved");
    let session = Session::find(&config.sessions_dir, &config.session)?;
    let mut output = JsonLines::stdout(&world.terminal);
    let mut found = pipeline::check(&session)?;
    for problem in &found.problems {
        output.write_line(&problem.to_string());
    }
    if config.repair && !found.problems.is_empty() {
        let counters = Arc::new(Counters::new());
        let bar = ScanBar::start(&world.terminal, Arc::clone(&counters));
        let mended =
            pipeline::repair(&session, &found, &config.detection, &counters, &world.shutdown);
        bar.end();
        mended?;
        let before = found.problems.len();
        found = pipeline::check(&session)?;
        for problem in &found.problems {
            output.write_line(&format!("still: {problem}"));
        }
        if found.problems.is_empty() {
            tracing::info!("mended: {before} problems");
        }
    }
    output.finish()?;
    match found.problems.len() {
        0 => Ok(ExitStatus::Done),
        count => {
            let hint = if config.repair { "" } else { "; --repair mends what can be mended" };
            let what = format!("{count} problems{hint}");
            Err(Error::new(Stage::Session, what).path(session.folder()))
        }
    }
}
