//! `scenetap status`: shows the state of running recorders.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::output::JsonLines;
use super::status_text::to_text;
use super::{CommandContext, ExitStatus};
use crate::config::{Layers, StatusConfig, key};
use crate::error::{Error, Result, Stage};
use crate::session::Session;
use crate::status::{self, Answer};

/// A recorder that does not answer within this time counts as hung.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Show the state of running recorders: sender, bytes, lag, free disk, last error
///
/// Asks every recorder that this user runs on this machine, or only that of SESSION. Run
/// as root to include the one run by systemd. Exits with 1 if no recorder runs, or if one
/// does not answer within two seconds.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
#[command(after_help = super::help::STATUS_EXAMPLES)]
pub struct StatusArgs {
    /// Session name or session folder
    #[arg(value_name = "SESSION")]
    session: Option<PathBuf>,

    /// Folder that contains the session folders
    #[arg(long, help_heading = "Session")]
    #[arg(value_name = "DIR", value_parser = key::SESSIONS_DIR.parser())]
    sessions_dir: Option<PathBuf>,

    /// Print one line of JSON per recorder
    #[arg(long, help_heading = "Output", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no", value_parser = key::JSON.parser())]
    json: Option<bool>,
}

impl StatusArgs {
    /// Resolves each option from the command line, the environment and the file.
    ///
    /// # Errors
    ///
    /// Returns an error if a value in effect is invalid.
    pub fn resolve(self, layers: &Layers<'_>) -> Result<StatusConfig> {
        Ok(StatusConfig {
            session: self.session,
            sessions_dir: layers.required(self.sessions_dir, &key::SESSIONS_DIR)?,
            json: layers.required(self.json, &key::JSON)?,
        })
    }
}

/// Asks the recorders and prints their answers to stdout.
///
/// # Errors
///
/// Returns an error if no recorder runs, or if one hangs.
pub fn run(args: StatusArgs, context: &CommandContext<'_>) -> Result<ExitStatus> {
    let config = args.resolve(&context.layers)?;
    tracing::debug!(?config, "resolved");
    let mut output = JsonLines::stdout(&context.terminal);
    let mut printed = 0;
    let mut failed = None;
    let (sockets, id) = sockets_to_query(&config)?;
    for socket in sockets {
        match status::ask(&socket, ANSWER_TIMEOUT) {
            Ok(Answer::Gone) => {}
            Ok(Answer::Answered { status, .. }) if id.is_some_and(|id| *id != *status.session) => {}
            Ok(Answer::Answered { line, status }) => {
                if config.json {
                    output.write_line(&line);
                } else {
                    // An empty line separates two recorders.
                    (printed > 0).then(|| output.write_line(""));
                    to_text(&status, Timestamp::now()).iter().for_each(|line| {
                        output.write_line(line);
                    });
                }
                printed += 1;
            }
            Ok(Answer::Hangs { pid }) => {
                if config.json {
                    output.write_line(&json!({ "pid": pid, "hangs": true }).to_string());
                }
                failed = Some(hang_error(pid, &socket));
            }
            Err(error) => failed = Some(error),
        }
    }
    output.finish()?;
    match failed {
        Some(error) => Err(error),
        None if printed == 0 => Err(no_recorder_error(&config)),
        None => Ok(ExitStatus::Done),
    }
}

/// Returns the sockets to ask and, if the answers have to be filtered, the session's
/// name. A name that is not in `sessions_dir` may belong to a session elsewhere, so every
/// recorder is asked.
fn sockets_to_query(config: &StatusConfig) -> Result<(Vec<PathBuf>, Option<&OsStr>)> {
    let Some(session) = &config.session else { return Ok((status::all_sockets(), None)) };
    match Session::find(&config.sessions_dir, session) {
        Ok(session) => Ok((status::sockets_of(session.folder())?, None)),
        Err(error) if session.components().count() > 1 => Err(error),
        Err(_) => Ok((status::all_sockets(), Some(session.as_os_str()))),
    }
}

fn hang_error(pid: Option<u32>, socket: &Path) -> Error {
    let name = match pid {
        Some(pid) => format!("the recorder with process id {pid}"),
        None => "a recorder".to_owned(),
    };
    let what = format!("{name} hangs: no answer within {ANSWER_TIMEOUT:?}; end it with kill -9");
    Error::new(Stage::Status, what).path(socket)
}

fn no_recorder_error(config: &StatusConfig) -> Error {
    let what = "no recorder of this user is running; if systemd runs it, use sudo scenetap status";
    match &config.session {
        Some(session) => {
            let what = "no recorder of this user is recording this session; \
                        scenetap status lists the running recorders";
            Error::new(Stage::Status, what).path(session)
        }
        None => Error::new(Stage::Status, what),
    }
}
