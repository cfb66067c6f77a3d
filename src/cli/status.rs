//! `scenetap status`: how the recorders that run are.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::output::JsonLines;
use super::status_text::to_text;
use super::{ExitStatus, World};
use crate::config::{Layers, StatusConfig, key};
use crate::error::{Error, Result, Stage};
use crate::session::Session;
use crate::status::{self, Answer};

/// One that has not answered after so long hangs.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tell how a running recorder is: sender, bytes, lag, free disk, last error
///
/// Asks each recorder that this user runs on this machine, or the one of SESSION, and
/// root also the one that systemd runs. Exit status 1 if none runs, or if one does not
/// answer within two seconds.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
#[command(after_help = super::help::STATUS_EXAMPLES)]
pub struct Args {
    /// A session's name or a session's folder
    #[arg(value_name = "SESSION")]
    session: Option<PathBuf>,

    /// The folder of the session folders
    #[arg(long, help_heading = "Session")]
    #[arg(value_name = "DIR", value_parser = key::SESSIONS_DIR.parser())]
    sessions_dir: Option<PathBuf>,

    /// Write one line of JSON for each recorder
    #[arg(long, help_heading = "Output", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no", value_parser = key::JSON.parser())]
    json: Option<bool>,
}

impl Args {
    /// Puts the layers under what was typed.
    ///
    /// # Errors
    ///
    /// If a value that counts is wrong.
    pub fn resolve(self, layers: &Layers<'_>) -> Result<StatusConfig> {
        Ok(StatusConfig {
            session: self.session,
            sessions_dir: layers.required(self.sessions_dir, &key::SESSIONS_DIR)?,
            json: layers.required(self.json, &key::JSON)?,
        })
    }
}

/// Asks, and tells on stdout.
///
/// # Errors
///
/// If no recorder runs, or one hangs.
pub fn run(args: Args, world: &World<'_>) -> Result<ExitStatus> {
    let config = args.resolve(&world.layers)?;
    tracing::debug!(?config, "resolved");
    let mut output = JsonLines::stdout(&world.terminal);
    let mut told = 0;
    let mut failed = None;
    let (sockets, id) = whom(&config)?;
    for socket in sockets {
        match status::ask(&socket, PATIENCE) {
            Ok(Answer::Gone) => {}
            Ok(Answer::Told { status, .. }) if id.is_some_and(|id| *id != *status.session) => {}
            Ok(Answer::Told { line, status }) => {
                if config.json {
                    output.write_line(&line);
                } else {
                    // A line between two, as between paragraphs.
                    (told > 0).then(|| output.write_line(""));
                    to_text(&status, Timestamp::now()).iter().for_each(|line| {
                        output.write_line(line);
                    });
                }
                told += 1;
            }
            Ok(Answer::Hangs { pid }) => {
                if config.json {
                    output.write_line(&json!({ "pid": pid, "hangs": true }).to_string());
                }
                failed = Some(hangs(pid, &socket));
            }
            Err(error) => failed = Some(error),
        }
    }
    output.finish()?;
    match failed {
        Some(error) => Err(error),
        None if told == 0 => Err(nobody(&config)),
        None => Ok(ExitStatus::Done),
    }
}

/// Whom to ask, and the id of the session that is meant where the answer has to tell. A
/// name that is no session's here may be that of one that lies elsewhere: its recorder
/// knows it.
fn whom(config: &StatusConfig) -> Result<(Vec<PathBuf>, Option<&OsStr>)> {
    let Some(session) = &config.session else { return Ok((status::all_sockets(), None)) };
    match Session::find(&config.sessions_dir, session) {
        Ok(session) => Ok((status::sockets_of(session.folder())?, None)),
        Err(error) if session.components().count() > 1 => Err(error),
        Err(_) => Ok((status::all_sockets(), Some(session.as_os_str()))),
    }
}

fn hangs(pid: Option<u32>, socket: &Path) -> Error {
    let who = match pid {
        Some(pid) => format!("the recorder with process id {pid}"),
        None => "a recorder".to_owned(),
    };
    let what = format!("{who} does not answer within {PATIENCE:?}: it hangs; end it with kill -9");
    Error::new(Stage::Status, what).path(socket)
}

fn nobody(config: &StatusConfig) -> Error {
    let what = "no recorder of this user runs; if systemd runs it: sudo scenetap status";
    match &config.session {
        Some(session) => {
            let what = "no recorder of this user records this session; \
                        scenetap status tells of those that run";
            Error::new(Stage::Status, what).path(session)
        }
        None => Error::new(Stage::Status, what),
    }
}
