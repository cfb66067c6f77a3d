//! mpv on a recording that grows.
//!
//! [`play`] opens one player per recording, or steers the one that is open: its IPC
//! socket is named after the recording. While the player runs, a [`Supervisor`]
//! sets it going again after it met the end of what has been recorded.

mod follow;
mod ipc;
mod player;
mod socket;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
mod tests;
mod words;

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

pub use follow::{Follower, Nudge};
pub use ipc::{Event, Ipc};
pub use player::{Player, Supervisor, Watch};
pub use socket::socket_path;

use crate::error::{Context, Error, Result, Stage};

/// mpv is started on so many bytes, to find every stream in them …
const OPENING_BYTES: u64 = 512 * 1024;

/// … or on what there is, so long after its first byte was seen or its last one written.
const OPENING_TIME: Duration = Duration::from_secs(2);

/// How long a player that somebody else starts may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A recording that has not grown for so long is not growing.
const IDLE_TIME: Duration = Duration::from_secs(1);

/// Where to go in a recording.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Position {
    /// What is recorded now.
    Live,
    /// A time in seconds from the start, as `timestamp` in the index.
    Seconds(f64),
    /// A byte offset: it finds its place also where the clock has jumped.
    Byte {
        /// Offset in bytes.
        offset: u64,
        /// Length of the recording in bytes.
        total: u64,
    },
}

/// How to open a player.
#[derive(Debug, Clone, PartialEq)]
pub struct PlayOptions {
    /// The program, `mpv`.
    pub program: PathBuf,
    /// Further arguments for mpv; they win over ours.
    pub extra_args: Vec<String>,
    /// Wait for a recording that has no bytes yet, and supervise a player that is open but
    /// has lost its supervisor: what a recorder wants, not who asks for a look.
    pub is_recorder: bool,
}

impl Default for PlayOptions {
    fn default() -> Self {
        let program = PathBuf::from("mpv");
        PlayOptions { program, extra_args: Vec::new(), is_recorder: false }
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlayOutcome {
    /// A player was open and has been sent to the position.
    Steered,
    /// The player has quit; its status where we started it.
    Ended(Option<ExitStatus>),
    /// The stop flag was raised; a player that was started stays open.
    Stopped,
}

/// Opens `recording` in mpv and follows it until mpv ends or `stop` is raised; or, if it
/// is open in one, sends that to `at` and returns at once.
///
/// # Errors
///
/// If the recording does not exist or is empty, mpv is missing, cannot play it or dies,
/// or an open player does not answer.
pub fn play(
    recording: &Path,
    at: Position,
    options: &PlayOptions,
    stop: &AtomicBool,
) -> Result<PlayOutcome> {
    let absolute =
        std::path::absolute(recording).context(Stage::Playback, recording, "cannot open")?;
    if !wait_for_bytes(&absolute, options.is_recorder, stop)? {
        return Ok(PlayOutcome::Stopped);
    }
    let socket = socket_path(&absolute)?;
    // Held for as long as somebody supervises the player; so two never start at once.
    let Some(_lock) = lock(&socket.with_extension("lock"))? else {
        let mut ipc = connect_to_other(&socket)?;
        return steer(&mut ipc, &absolute, at).map(|()| PlayOutcome::Steered);
    };
    if let Ok(mut ipc) = Ipc::connect(&socket) {
        steer(&mut ipc, &absolute, at)?;
        if !options.is_recorder {
            return Ok(PlayOutcome::Steered);
        }
        if Supervisor::new(ipc, &absolute, None).run(stop) == Watch::Stopped {
            return Ok(PlayOutcome::Stopped);
        }
        remove_stale(&socket);
        return Ok(PlayOutcome::Ended(None));
    }
    remove_stale(&socket);
    open(&absolute, &socket, at, options, stop)
}

/// Starts mpv and supervises it.
fn open(
    recording: &Path,
    socket: &Path,
    at: Position,
    options: &PlayOptions,
    stop: &AtomicBool,
) -> Result<PlayOutcome> {
    let mut player = Player::start(recording, socket, options)?;
    match player.connect(socket, stop) {
        Some(ipc) => {
            Supervisor::new(ipc, recording, Some(at)).run(stop);
        }
        None => tracing::debug!("the player cannot be steered: no answer on its socket"),
    }
    let outcome = player.wait(stop);
    if !matches!(outcome, Ok(None)) {
        remove_stale(socket);
    }
    Ok(outcome?.map_or(PlayOutcome::Stopped, |status| PlayOutcome::Ended(Some(status))))
}

/// Sends an open player to `at`. Going live also ends a pause; everything else keeps it.
///
/// # Errors
///
/// If the player refuses or does not answer.
pub fn steer(ipc: &mut Ipc, recording: &Path, at: Position) -> Result<()> {
    match at {
        Position::Seconds(seconds) => seek(ipc, recording, seconds.max(0.0))?,
        Position::Byte { offset, total } => {
            let percent = follow::percent(offset, total);
            ipc.command(json!(["seek", percent, "absolute-percent"]))?;
        }
        Position::Live => {
            ipc.command(json!(["seek", 100, "absolute-percent"]))?;
        }
    }
    if at == Position::Live {
        ipc.command(json!(["set_property", "pause", false]))?;
    }
    Ok(())
}

/// Seeks to a time. Where mpv has seen the file grow and it grows no more, every read at
/// its end takes mpv 2 s, and a seek by time reads there a dozen times: opening the file
/// anew is quicker than waiting for that.
fn seek(ipc: &mut Ipc, recording: &Path, seconds: f64) -> Result<()> {
    if has_come_to_rest(ipc, recording) {
        let file = recording.to_string_lossy();
        let options = json!({ "start": seconds.to_string() });
        let command =
            json!({ "name": "loadfile", "url": file, "flags": "replace", "options": options });
        if ipc.command(command).is_ok() {
            return Ok(());
        }
    }
    ipc.command(json!(["seek", seconds, "absolute+exact"])).map(drop)
}

/// Whether the recording has grown since the player was started, but not lately.
fn has_come_to_rest(ipc: &Ipc, recording: &Path) -> bool {
    let (Ok(file), Ok(opened)) = (fs::metadata(recording), fs::metadata(ipc.socket())) else {
        return false;
    };
    // A name that is no UTF-8 does not survive JSON.
    recording.to_str().is_some() && age(&file) > IDLE_TIME && age(&file) < age(&opened)
}

/// Waits until mpv can find every stream in what there is; false if `stop` is raised first.
fn wait_for_bytes(recording: &Path, is_recorder: bool, stop: &AtomicBool) -> Result<bool> {
    let mut first_byte = None;
    while !stop.load(Ordering::Relaxed) {
        let (length, age) = match fs::metadata(recording) {
            Ok(metadata) => (metadata.len(), age(&metadata)),
            Err(_) if is_recorder => (0, Duration::ZERO),
            Err(cause) => return Err(cause).context(Stage::Playback, recording, "cannot open"),
        };
        if length > 0 {
            let waited = first_byte.get_or_insert_with(Instant::now).elapsed();
            if length >= OPENING_BYTES || waited >= OPENING_TIME || age >= OPENING_TIME {
                return Ok(true);
            }
        } else if !is_recorder {
            let what = "nothing has been recorded yet";
            return Err(Error::new(Stage::Playback, what).path(recording));
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(false)
}

/// Time since the last writing; 0 where the clock says it lies ahead.
fn age(metadata: &Metadata) -> Duration {
    metadata.modified().ok().and_then(|at| at.elapsed().ok()).unwrap_or_default()
}

/// Takes the lock of whoever supervises the player; none if another process has it. The
/// file stays: removing it would let two have it at once.
fn lock(path: &Path) -> Result<Option<File>> {
    let what = "cannot lock the player";
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    let file = options.open(path).context(Stage::Playback, path, what)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(cause)) => Err(cause).context(Stage::Playback, path, what),
    }
}

/// Connects to a player that another process has started, or is starting just now.
fn connect_to_other(socket: &Path) -> Result<Ipc> {
    let start = Instant::now();
    loop {
        match Ipc::connect(socket) {
            Ok(ipc) => return Ok(ipc),
            Err(_) if start.elapsed() < START_TIMEOUT => thread::sleep(Duration::from_millis(50)),
            Err(cause) => {
                let what = "the open player does not answer";
                return Err(cause).context(Stage::Playback, socket, what);
            }
        }
    }
}

/// mpv leaves its socket behind.
fn remove_stale(socket: &Path) {
    if let Err(error) = fs::remove_file(socket)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::debug!("{}: cannot remove: {error}", socket.display());
    }
}
