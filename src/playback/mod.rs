//! Playback of a growing recording in mpv.
//!
//! [`play`] opens one player per recording. If it is already open, it moves it: the name
//! of mpv's IPC socket is derived from the recording. While the player runs, a
//! [`Supervisor`] makes it continue after it has reached the end of what was recorded, and
//! opens the next recording of a recorder that rotates.

mod follow;
mod ipc;
mod player;
mod series;
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
pub use ipc::{Ipc, PlayerEvent};
pub use player::{Player, Supervisor, Watch};
pub use series::CurrentRecording;
pub use socket::socket_path;

use crate::error::{Context, Error, Result, Stage};
use series::PlayedSeries;

/// mpv is started once the recording has this many bytes, enough to find every stream in
/// them …
const OPENING_BYTES: u64 = 512 * 1024;

/// … or this long after its first byte was seen or its last byte was written.
const OPENING_TIME: Duration = Duration::from_secs(2);

/// Time that a player started by another process may take to open its socket.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A recording that was not written for this long counts as not growing.
const IDLE_TIME: Duration = Duration::from_secs(1);

/// A position in a recording.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Position {
    /// The live edge.
    Live,
    /// A time in seconds from the start, like `timestamp` in the index.
    Seconds(f64),
    /// A byte offset. Also works where the clock has jumped.
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
    /// Further arguments for mpv; they override the built-in ones.
    pub extra_args: Vec<String>,
    /// Set for `record --play`: waits for a recording that has no bytes yet, and
    /// supervises a player that is open without a supervisor. `scenetap play` does
    /// neither.
    pub is_recorder: bool,
}

impl Default for PlayOptions {
    fn default() -> Self {
        let program = PathBuf::from("mpv");
        PlayOptions { program, extra_args: Vec::new(), is_recorder: false }
    }
}

/// How [`play`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlayOutcome {
    /// A player was open and was moved to the position.
    Steered,
    /// The player has quit; with its exit status if this process started it.
    Ended(Option<ExitStatus>),
    /// The stop flag was set; a player that was started stays open.
    Stopped,
}

/// Opens `recording` in mpv and follows it until mpv ends or `stop` is set. If a player
/// is already open, moves it to `at` and returns at once.
///
/// # Errors
///
/// Returns an error if the recording does not exist or is empty, if mpv is missing,
/// cannot play it or dies, or if an open player does not answer.
pub fn play(
    recording: &Path,
    at: Position,
    options: &PlayOptions,
    stop: &AtomicBool,
) -> Result<PlayOutcome> {
    play_series(recording, None, at, options, stop)
}

/// As [`play`]. A player that has reached the end of its recording goes on with the recording that
/// `current` returned after it.
///
/// # Errors
///
/// As [`play`].
pub fn play_series(
    recording: &Path,
    current: Option<CurrentRecording<'_>>,
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
    // Held while this process supervises the player, so that two never start at once.
    let Some(_lock) = lock(&socket.with_extension("lock"))? else {
        let mut ipc = connect_to_other(&socket)?;
        return steer(&mut ipc, &absolute, at).map(|()| PlayOutcome::Steered);
    };
    if let Ok(mut ipc) = Ipc::connect(&socket) {
        steer(&mut ipc, &absolute, at)?;
        if !options.is_recorder {
            return Ok(PlayOutcome::Steered);
        }
        let series = current.map(|current| PlayedSeries::new(&absolute, &socket, current));
        if Supervisor::new(ipc, &absolute, series, None).run(stop) == Watch::Stopped {
            return Ok(PlayOutcome::Stopped);
        }
        remove_stale(&socket);
        return Ok(PlayOutcome::Ended(None));
    }
    remove_stale(&socket);
    let series = current.map(|current| PlayedSeries::new(&absolute, &socket, current));
    open(&absolute, &socket, series, at, options, stop)
}

/// Starts mpv and supervises it.
fn open(
    recording: &Path,
    socket: &Path,
    series: Option<PlayedSeries<'_>>,
    at: Position,
    options: &PlayOptions,
    stop: &AtomicBool,
) -> Result<PlayOutcome> {
    let mut player = Player::start(recording, socket, options)?;
    match player.connect(socket, stop) {
        Some(ipc) => {
            Supervisor::new(ipc, recording, series, Some(at)).run(stop);
        }
        None => tracing::debug!("cannot control the player: no answer on its socket"),
    }
    let outcome = player.wait(stop);
    if !matches!(outcome, Ok(None)) {
        remove_stale(socket);
    }
    Ok(outcome?.map_or(PlayOutcome::Stopped, |status| PlayOutcome::Ended(Some(status))))
}

/// Moves an open player to `at`. Going live also ends a pause; other positions keep it.
///
/// # Errors
///
/// Returns an error if the player refuses or does not answer.
pub fn steer(ipc: &mut Ipc, recording: &Path, at: Position) -> Result<()> {
    if !is_playing(ipc, recording) {
        return load(ipc, recording, at);
    }
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

/// Returns whether the player has this recording open. One that has not opened anything yet counts
/// as if it had.
fn is_playing(ipc: &mut Ipc, recording: &Path) -> bool {
    let Ok(path) = ipc.get("path") else { return true };
    let real = |path: &Path| fs::canonicalize(path).ok();
    path.as_str()
        .is_none_or(|path| Path::new(path) == recording || real(Path::new(path)) == real(recording))
}

/// Opens another recording in the player.
///
/// # Errors
///
/// As [`steer`].
pub fn load(ipc: &mut Ipc, recording: &Path, at: Position) -> Result<()> {
    let start = match at {
        Position::Seconds(seconds) => seconds.max(0.0).to_string(),
        Position::Byte { offset, total } => format!("{}%", follow::percent(offset, total)),
        Position::Live => "100%".to_owned(),
    };
    let Some(file) = recording.to_str() else {
        let what = "a path that is not UTF-8 cannot be opened in a player that is open already";
        return Err(Error::new(Stage::Playback, what).path(recording));
    };
    let options = json!({ "start": start });
    let command =
        json!({ "name": "loadfile", "url": file, "flags": "replace", "options": options });
    ipc.command(command)?;
    if at == Position::Live {
        ipc.command(json!(["set_property", "pause", false]))?;
    }
    Ok(())
}

/// Seeks to a time. If mpv has seen the file grow and it no longer grows, every read at
/// the end of the file takes mpv 2 s, and a seek by time reads there a dozen times. In
/// this case, opening the file again is faster.
fn seek(ipc: &mut Ipc, recording: &Path, seconds: f64) -> Result<()> {
    if has_stopped_growing(ipc, recording)
        && load(ipc, recording, Position::Seconds(seconds)).is_ok()
    {
        return Ok(());
    }
    ipc.command(json!(["seek", seconds, "absolute+exact"])).map(drop)
}

/// Returns whether the recording has grown since the player was started, but not
/// recently.
fn has_stopped_growing(ipc: &Ipc, recording: &Path) -> bool {
    let (Ok(file), Ok(opened)) = (fs::metadata(recording), fs::metadata(ipc.socket())) else {
        return false;
    };
    // A name that is not UTF-8 cannot be passed as JSON.
    recording.to_str().is_some() && age(&file) > IDLE_TIME && age(&file) < age(&opened)
}

/// Waits until the recording is long enough for mpv to find every stream. Returns false
/// if `stop` is set first.
fn wait_for_bytes(recording: &Path, is_recorder: bool, stop: &AtomicBool) -> Result<bool> {
    let mut first_byte = None;
    while !stop.load(Ordering::Relaxed) {
        let (length, is_long_enough) = match fs::metadata(recording) {
            Ok(metadata) => (metadata.len(), is_long_enough(&metadata)),
            Err(_) if is_recorder => (0, false),
            Err(cause) => return Err(cause).context(Stage::Playback, recording, "cannot open"),
        };
        if length > 0 {
            let waited = first_byte.get_or_insert_with(Instant::now).elapsed();
            if is_long_enough || waited >= OPENING_TIME {
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

/// Returns whether mpv will find every stream in a recording, or no more will come soon.
fn is_long_enough(recording: &Metadata) -> bool {
    recording.len() >= OPENING_BYTES || (recording.len() > 0 && age(recording) >= OPENING_TIME)
}

/// Returns the time since the last write, or 0 if it lies in the future.
fn age(metadata: &Metadata) -> Duration {
    metadata.modified().ok().and_then(|at| at.elapsed().ok()).unwrap_or_default()
}

/// Takes the supervisor's lock on the player; `None` if another process holds it. The
/// file is never removed: otherwise two processes could hold the lock at once.
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

/// Connects to a player that another process has started or is starting.
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

/// Removes the socket that mpv leaves behind.
fn remove_stale(socket: &Path) {
    if let Err(error) = fs::remove_file(socket)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::debug!("{}: cannot remove: {error}", socket.display());
    }
}
