//! `scenetap status`: shows the state of running recorders.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::output::JsonLines;
use super::status_text::to_text;
use super::{CommandContext, ExitStatus, complete};
use crate::config::{Layers, StatusConfig, key};
use crate::error::{Error, Result, Stage};
use crate::session::Session;
use crate::status::{self, Answer, Status};

/// Time after which a recorder that does not answer counts as hung.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Show the state of running recorders: sender, bytes, lag, free disk, last error
///
/// Asks every recorder that this user runs on this machine, or only the recorder of SESSION.
/// Run as root to include the one run by systemd. Exits with 1 if no recorder runs, or if one
/// does not answer within two seconds.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
#[command(after_help = super::help::STATUS_EXAMPLES)]
pub struct StatusArgs {
    /// Session name or session folder
    #[arg(value_name = "SESSION", add = complete::session())]
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

/// Queries the recorders and prints their answers to stdout.
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
    let selection = RecorderSelection::new(&config)?;
    for socket in status::all_sockets() {
        match status::ask(&socket, ANSWER_TIMEOUT) {
            Ok(Answer::Gone) => {}
            Ok(Answer::Answered { status, .. }) if !selection.accepts(&socket, &status) => {}
            Ok(Answer::Answered { line, status }) => {
                if config.json {
                    output.write_line(&line);
                } else {
                    // Separate recorders by an empty line.
                    (printed > 0).then(|| output.write_line(""));
                    to_text(&status, Timestamp::now()).iter().for_each(|line| {
                        output.write_line(line);
                    });
                }
                printed += 1;
            }
            Ok(Answer::Hangs { .. }) if !selection.may_match(&socket) => {}
            Ok(Answer::Hangs { pid }) => {
                if config.json {
                    output.write_line(&json!({ "pid": pid, "hangs": true }).to_string());
                }
                failed = Some(hang_error(pid, &socket));
            }
            Err(_) if !selection.may_match(&socket) => {}
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

/// The recorders whose status is requested.
enum RecorderSelection {
    /// All recorders of this user.
    All,
    /// The recorder that is recording in this folder, or was started in it: sockets are named for a
    /// recorder's first session.
    Folder { folder: PathBuf, sockets: Vec<PathBuf> },
    /// A recorder with a session of this name outside `--sessions-dir`.
    Name(OsString),
}

impl RecorderSelection {
    fn new(config: &StatusConfig) -> Result<Self> {
        let Some(session) = &config.session else { return Ok(RecorderSelection::All) };
        match Session::find(&config.sessions_dir, session) {
            Ok(session) => {
                let sockets = status::sockets_of(session.folder())?;
                Ok(RecorderSelection::Folder { folder: session.folder().to_owned(), sockets })
            }
            Err(error) if session.components().count() > 1 => Err(error),
            Err(_) => Ok(RecorderSelection::Name(session.clone().into())),
        }
    }

    /// Returns whether the recorder at `socket`, which answered with `status`, is selected.
    fn accepts(&self, socket: &Path, status: &Status) -> bool {
        match self {
            RecorderSelection::All => true,
            RecorderSelection::Folder { folder, sockets } => {
                let is_in_folder = |path: &Path| same_folder(path, folder);
                is_in_folder(Path::new(&status.folder)) || sockets.iter().any(|path| path == socket)
            }
            RecorderSelection::Name(name) => **name == *status.session,
        }
    }

    /// Returns whether the recorder at `socket`, which does not answer, may be selected.
    fn may_match(&self, socket: &Path) -> bool {
        match self {
            RecorderSelection::Folder { sockets, .. } => sockets.iter().any(|path| path == socket),
            RecorderSelection::All | RecorderSelection::Name(_) => true,
        }
    }
}

/// Returns whether two paths lead to the same folder, also through links.
fn same_folder(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    a == b || real(a).is_some_and(|a| real(b) == Some(a))
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
