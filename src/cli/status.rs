//! `scenetap status`: shows the state of running recorders.

use std::ffi::OsString;
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
use crate::status::{self, Answer, Status};

/// A recorder that does not answer within this time counts as hung.
const PATIENCE: Duration = Duration::from_secs(2);

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
pub fn run(args: StatusArgs, world: &World<'_>) -> Result<ExitStatus> {
    let config = args.resolve(&world.layers)?;
    tracing::debug!(?config, "resolved");
    let mut output = JsonLines::stdout(&world.terminal);
    let mut told = 0;
    let mut failed = None;
    let wanted = Wanted::new(&config)?;
    for socket in status::all_sockets() {
        match status::ask(&socket, PATIENCE) {
            Ok(Answer::Gone) => {}
            Ok(Answer::Told { status, .. }) if !wanted.accepts(&socket, &status) => {}
            Ok(Answer::Told { line, status }) => {
                if config.json {
                    output.write_line(&line);
                } else {
                    // An empty line separates two recorders.
                    (told > 0).then(|| output.write_line(""));
                    to_text(&status, Timestamp::now()).iter().for_each(|line| {
                        output.write_line(line);
                    });
                }
                told += 1;
            }
            Ok(Answer::Hangs { .. }) if !wanted.may_be(&socket) => {}
            Ok(Answer::Hangs { pid }) => {
                if config.json {
                    output.write_line(&json!({ "pid": pid, "hangs": true }).to_string());
                }
                failed = Some(hangs(pid, &socket));
            }
            Err(_) if !wanted.may_be(&socket) => {}
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

/// Which recorders are meant.
enum Wanted {
    /// All of this user.
    All,
    /// The one that records in this folder, or that started in it: the sockets are named for the
    /// session in which a recorder starts.
    Folder { folder: PathBuf, sockets: Vec<PathBuf> },
    /// One with a session of this name, which is not in `--sessions-dir`.
    Name(OsString),
}

impl Wanted {
    fn new(config: &StatusConfig) -> Result<Self> {
        let Some(session) = &config.session else { return Ok(Wanted::All) };
        match Session::find(&config.sessions_dir, session) {
            Ok(session) => {
                let sockets = status::sockets_of(session.folder())?;
                Ok(Wanted::Folder { folder: session.folder().to_owned(), sockets })
            }
            Err(error) if session.components().count() > 1 => Err(error),
            Err(_) => Ok(Wanted::Name(session.clone().into())),
        }
    }

    /// Whether the recorder behind `socket` is meant, by its answer.
    fn accepts(&self, socket: &Path, status: &Status) -> bool {
        match self {
            Wanted::All => true,
            Wanted::Folder { folder, sockets } => {
                let is_there = |path: &Path| same_folder(path, folder);
                is_there(Path::new(&status.folder)) || sockets.iter().any(|path| path == socket)
            }
            Wanted::Name(name) => **name == *status.session,
        }
    }

    /// Whether the recorder behind `socket` may be meant, if it does not answer.
    fn may_be(&self, socket: &Path) -> bool {
        match self {
            Wanted::Folder { sockets, .. } => sockets.iter().any(|path| path == socket),
            Wanted::All | Wanted::Name(_) => true,
        }
    }
}

/// Whether two paths name the same folder, also through links.
fn same_folder(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    a == b || real(a).is_some_and(|a| real(b) == Some(a))
}

fn hangs(pid: Option<u32>, socket: &Path) -> Error {
    let who = match pid {
        Some(pid) => format!("the recorder with process id {pid}"),
        None => "a recorder".to_owned(),
    };
    let what = format!("{who} hangs: no answer within {PATIENCE:?}; end it with kill -9");
    Error::new(Stage::Status, what).path(socket)
}

fn nobody(config: &StatusConfig) -> Error {
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
