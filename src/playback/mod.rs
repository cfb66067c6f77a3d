//! Playback of a growing recording in mpv.
//!
//! [`play`] opens one player per recording. A player that is already open is moved: the name of mpv's IPC
//! socket is derived from the recording. A supervisor runs as long as the player.
//!
//! ```text
//! player         the mpv process
//! words          its last line of output
//! socket         the name of its socket
//! ipc            its JSON IPC
//! position       the time and byte that it shows
//! steer          moves it
//! supervisor     the loop beside it
//! follow         continues at the end of a growing recording
//! series         the next recording of the series
//! neighbors      sessions that continue another
//! scenes         the next and the previous scene
//! chapters       kept frames as chapters
//! keys           keys in its window
//! osd            messages on its screen
//! live_distance  how far the viewer is behind live
//! shown_still    writes the shown picture to a file
//! ```

mod chapters;
mod follow;
mod ipc;
mod keys;
mod live_distance;
mod neighbors;
mod osd;
mod player;
mod position;
mod scenes;
mod series;
mod shown_still;
mod socket;
mod steer;
mod supervisor;
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

pub use socket::socket_path;
pub use steer::Destination;

use crate::error::{Context, Error, Result, Stage};
use crate::pipeline::evidence::Target;
use ipc::Ipc;
use player::Player;
use supervisor::{Supervisor, Watch};

/// mpv is started once the recording has this many bytes, which is enough to find every stream …
const OPENING_BYTES: u64 = 512 * 1024;

/// … or this long after its first byte was seen or its last byte was written.
const OPENING_TIME: Duration = Duration::from_secs(2);

/// Maximum time to wait for the socket of a player that another process has started.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How to open a player.
#[derive(Debug, Clone, PartialEq)]
pub struct PlayOptions {
    /// The program, `mpv`.
    pub program: PathBuf,
    /// Additional arguments for mpv, which override the built-in ones.
    pub extra_args: Vec<String>,
    /// Set for `record --play`: waits for a recording without bytes, and supervises an open player that has
    /// no supervisor. `scenetap play` does neither.
    pub is_recorder: bool,
}

impl Default for PlayOptions {
    fn default() -> Self {
        let program = PathBuf::from("mpv");
        PlayOptions { program, extra_args: Vec::new(), is_recorder: false }
    }
}

/// Result of [`play`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlayOutcome {
    /// A player was already open, and was moved to the position.
    Steered,
    /// The player has quit. Contains its exit status if this process started it.
    Ended(Option<ExitStatus>),
    /// The stop flag was set. A player that was started stays open.
    Stopped,
}

/// Opens `target` in mpv and supervises the player until mpv ends or `stop` is set. At the end of its
/// recording, the player continues with the next session. If a player is already open, moves it to `to` and
/// returns immediately.
///
/// # Errors
///
/// Returns an error if the recording does not exist or is empty, if `to` does not exist in it, if mpv is
/// missing, cannot play the recording or dies, or if an open player does not respond.
pub fn play(
    target: &Target,
    to: Destination,
    options: &PlayOptions,
    stop: &AtomicBool,
) -> Result<PlayOutcome> {
    let recording = target.recording();
    let absolute =
        std::path::absolute(&recording).context(Stage::Playback, &recording, "cannot open")?;
    let target = match target {
        Target::Session(_) => target.clone(),
        Target::File(_) => Target::File(absolute.clone()),
    };
    if !wait_for_bytes(&absolute, options.is_recorder, stop)? {
        return Ok(PlayOutcome::Stopped);
    }
    let socket = socket_path(&absolute)?;
    socket::remove_stale(&socket);
    let is_stopped = || stop.load(Ordering::Relaxed);
    // Held while this process supervises the player, so that no second supervisor starts.
    let _lock = match own_or_connect(&socket)? {
        Ok(lock) => lock,
        Err(mut ipc) => return steer(&mut ipc, &target, to, &is_stopped),
    };
    if let Ok(mut ipc) = Ipc::connect(&socket) {
        let steered = steer(&mut ipc, &target, to, &is_stopped)?;
        if !options.is_recorder {
            return Ok(steered);
        }
        if Supervisor::new(ipc, &target, None, stop).run() == Watch::Stopped {
            return Ok(PlayOutcome::Stopped);
        }
        socket::remove(&socket);
        return Ok(PlayOutcome::Ended(None));
    }
    let (begun, to) = steer::begin(&target, to, &is_stopped)?;
    // The newest session may have its own player.
    let other = socket_path(&begun.recording())?;
    if let Some(mut ipc) = Ipc::connect(&other).ok().filter(|_| other != socket) {
        return steer(&mut ipc, &begun, to, &is_stopped);
    }
    open(&begun, &socket, to, options, stop)
}

/// Starts mpv and supervises it.
fn open(
    target: &Target,
    socket: &Path,
    to: Destination,
    options: &PlayOptions,
    stop: &AtomicBool,
) -> Result<PlayOutcome> {
    let mut player = Player::start(&target.recording(), socket, options)?;
    match player.connect(socket, stop) {
        Some(ipc) => {
            tracing::info!("opened a player");
            Supervisor::new(ipc, target, Some(to), stop).run();
        }
        None => tracing::debug!("cannot control the player: no answer on its socket"),
    }
    let outcome = player.wait(stop);
    if !matches!(outcome, Ok(None)) {
        socket::remove(socket);
    }
    Ok(outcome?.map_or(PlayOutcome::Stopped, |status| PlayOutcome::Ended(Some(status))))
}

/// Moves an open player. If the player was just started, first waits until it has reached its start
/// position.
fn steer(
    ipc: &mut Ipc,
    target: &Target,
    to: Destination,
    stop: &dyn Fn() -> bool,
) -> Result<PlayOutcome> {
    steer::wait_until_open(ipc)?;
    if let Some(said) = steer::go_as_asked(ipc, target, to, stop)? {
        osd::show(ipc, &said, osd::BRIEFLY);
    }
    Ok(PlayOutcome::Steered)
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

/// Returns whether mpv will find every stream in a recording, or no more bytes are expected soon.
fn is_long_enough(recording: &Metadata) -> bool {
    recording.len() >= OPENING_BYTES || (recording.len() > 0 && age(recording) >= OPENING_TIME)
}

/// Returns the time since the last write, or 0 if that time is in the future.
fn age(metadata: &Metadata) -> Duration {
    metadata.modified().ok().and_then(|at| at.elapsed().ok()).unwrap_or_default()
}

/// Takes the supervisor's lock on the player; `None` if another process holds it. The lock file is never
/// removed: otherwise, two processes could hold the lock at the same time.
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

/// Returns the supervisor's lock, or a connection to the player of another process, once that has started.
fn own_or_connect(socket: &Path) -> Result<std::result::Result<File, Ipc>> {
    let start = Instant::now();
    loop {
        if let Some(lock) = lock(&socket.with_extension("lock"))? {
            return Ok(Ok(lock));
        }
        match Ipc::connect(socket) {
            Ok(ipc) => return Ok(Err(ipc)),
            Err(_) if start.elapsed() < START_TIMEOUT => thread::sleep(Duration::from_millis(50)),
            Err(cause) => {
                let what = "the open player does not respond";
                return Err(cause).context(Stage::Playback, socket, what);
            }
        }
    }
}
