//! The mpv process, and the loop that keeps it at the live edge.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::follow::{Follower, Nudge};
use super::ipc::{Ipc, PlayerEvent};
use super::series::PlayedSeries;
use super::words::OutputReader;
use super::{PlayOptions, Position, load, steer};
use crate::error::{Error, Result, Stage};

/// Interval at which process, recording and stop flag are checked.
const POLL: Duration = Duration::from_millis(250);

/// Time that mpv may take to open its socket.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// mpv's exit status after quitting because of a signal (mpv manual, "EXIT CODES").
const QUIT_BY_SIGNAL: i32 = 4;

/// A running mpv process.
#[derive(Debug)]
pub struct Player {
    child: Child,
    output_reader: OutputReader,
}

/// How the supervision of a player ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// The player closed its connection because it is quitting.
    Closed,
    /// The stop flag was set.
    Stopped,
}

impl Player {
    /// Starts mpv on `recording`, with the user's own configuration.
    ///
    /// # Errors
    ///
    /// Returns an error if mpv is not installed or cannot be run.
    pub fn start(recording: &Path, socket: &Path, options: &PlayOptions) -> Result<Player> {
        let (output_reader, output) =
            OutputReader::listen().map_err(|cause| cannot_start(recording, cause))?;
        let mut command = Command::new(&options.program);
        command
            .arg("--keep-open=yes")
            // Do not pause at the end, so that every pause is the user's.
            .arg("--keep-open-pause=no")
            // With its cache, mpv would treat the first end it reaches as final.
            .arg("--cache=no")
            // Without this, one exact seek in fifty lands on the key frame after its
            // target, because libavformat's search by time ends in the middle of a group
            // of pictures.
            .arg("--hr-seek-demuxer-offset=1.5")
            .arg("--force-window=yes")
            .args(["--input-terminal=no", "--msg-level=all=error"])
            .arg(joined("--input-ipc-server=", socket))
            .args(&options.extra_args)
            .arg("--")
            .arg(recording)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(Stdio::null());
        let child = command.spawn().map_err(|cause| cannot_start(recording, cause))?;
        Ok(Player { child, output_reader })
    }

    /// Connects to the player as soon as it listens. Returns `None` if it exits first,
    /// does not listen within 10 s, or `stop` is set.
    pub fn connect(&mut self, socket: &Path, stop: &AtomicBool) -> Option<Ipc> {
        let start = Instant::now();
        while start.elapsed() < START_TIMEOUT && !stop.load(Ordering::Relaxed) {
            if let Ok(ipc) = Ipc::connect(socket) {
                return Some(ipc);
            }
            if !matches!(self.child.try_wait(), Ok(None)) {
                return None;
            }
            thread::sleep(Duration::from_millis(20));
        }
        None
    }

    /// Waits until mpv has exited. Returns `None` if `stop` is set first.
    ///
    /// # Errors
    ///
    /// Returns an error if mpv did not exit normally: a signal killed it, or it could not
    /// play the file.
    pub fn wait(mut self, stop: &AtomicBool) -> Result<Option<ExitStatus>> {
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return self.check_exit(status).map(Some),
                Ok(None) if stop.load(Ordering::Relaxed) => return Ok(None),
                Ok(None) => thread::sleep(Duration::from_millis(50)),
                Err(cause) => {
                    return Err(Error::new(Stage::Playback, "cannot wait for mpv").because(cause));
                }
            }
        }
    }

    fn check_exit(self, status: ExitStatus) -> Result<ExitStatus> {
        const SIGINT: i32 = 2;
        const SIGTERM: i32 = 15;
        let what = match (status.code(), status.signal()) {
            (Some(0 | QUIT_BY_SIGNAL), _) | (_, Some(SIGINT | SIGTERM)) => return Ok(status),
            (_, Some(signal)) => format!("mpv was killed by signal {signal}"),
            (code, None) => format!("mpv exited with status {}", code.unwrap_or(-1)),
        };
        let error = Error::new(Stage::Playback, what);
        let last = self.output_reader.last();
        Err(if last.is_empty() { error } else { error.because(last) })
    }
}

/// Keeps a player at the live edge of a growing recording.
pub struct Supervisor<'a> {
    ipc: Ipc,
    /// The recording that the player has open.
    recording: PathBuf,
    /// Held while the player has it open: a recorder does not delete a recording that is locked.
    _playing: Option<File>,
    series: Option<PlayedSeries<'a>>,
    follower: Follower,
    /// Position to start at; `None` once the player is there.
    begin: Option<Position>,
    started: Instant,
    last_poll: Option<Instant>,
}

impl<'a> Supervisor<'a> {
    /// Supervises the player connected to `ipc`. Once the player has loaded the
    /// recording, it is moved to `begin`; by then the end of the timeline is up to date.
    /// At the end of the recording, it goes on with the next one of the series.
    pub fn new(
        ipc: Ipc,
        recording: &Path,
        series: Option<PlayedSeries<'a>>,
        begin: Option<Position>,
    ) -> Self {
        let (recording, playing) = (recording.to_owned(), lock_shared(recording));
        let (follower, started) = (Follower::default(), Instant::now());
        Supervisor {
            ipc,
            recording,
            _playing: playing,
            series,
            follower,
            begin,
            started,
            last_poll: None,
        }
    }

    /// Runs until the player closes the connection or `stop` is set.
    pub fn run(mut self, stop: &AtomicBool) -> Watch {
        for (id, property) in ["eof-reached", "pause", "path"].into_iter().enumerate() {
            if let Err(error) = self.ipc.command(json!(["observe_property", id + 1, property])) {
                tracing::debug!("{error}");
            }
        }
        while !stop.load(Ordering::Relaxed) {
            match self.ipc.event(POLL) {
                Ok(Some(event)) => self.take(event),
                Ok(None) => {}
                Err(_) => {
                    self.series.iter_mut().for_each(PlayedSeries::remove_links);
                    return Watch::Closed;
                }
            }
            if self.last_poll.is_none_or(|at| at.elapsed() >= POLL) {
                self.last_poll = Some(Instant::now());
                self.poll();
            }
        }
        Watch::Stopped
    }

    fn take(&mut self, event: PlayerEvent) {
        let now = self.started.elapsed();
        if let PlayerEvent::Property { name, value } = &event {
            if let ("path", Some(path)) = (name.as_str(), value.as_str()) {
                return self.opened(Path::new(path));
            }
            match (name.as_str(), value.as_bool()) {
                ("eof-reached", Some(is_reached)) => self.follower.eof_reached(is_reached, now),
                ("pause", Some(is_paused)) => self.follower.paused(is_paused, now),
                // A property without a value: nothing is loaded yet.
                _ => return,
            }
            if name != "eof-reached" {
                return;
            }
        }
        // A value of `eof-reached` or a shown picture means that the recording is loaded.
        if let Some(at) = self.begin {
            match steer(&mut self.ipc, &self.recording, at) {
                Ok(()) => self.begin = None,
                Err(error) => tracing::debug!("cannot move the player yet: {error}"),
            }
        }
    }

    /// The player has opened a file: by itself, or by another `play`.
    fn opened(&mut self, path: &Path) {
        if path != self.recording {
            self.recording = path.to_owned();
            self._playing = lock_shared(path);
            self.follower.restart();
        }
    }

    /// Opens the next recording if the player has played this one of `length` bytes to its end.
    fn go_on(&mut self, length: u64) {
        let Some(series) = &mut self.series else { return };
        series.look();
        let next = series.after(&self.recording).filter(|_| self.follower.has_played_all(length));
        let Some(next) = next else { return };
        match load(&mut self.ipc, next, Position::Seconds(0.0)) {
            Ok(()) => tracing::debug!("the player goes on with {}", next.display()),
            Err(error) => tracing::debug!("the player does not go on: {error}"),
        }
    }

    /// Reads the recording's length and makes the player continue if that is due.
    fn poll(&mut self) {
        let now = self.started.elapsed();
        // A recording that was deleted while it was played has all been played at its end.
        let length = fs::metadata(&self.recording).map_or(0, |metadata| metadata.len());
        if !self.follower.is_due(length, now) {
            return self.go_on(length);
        }
        let position = self.ipc.get("time-pos").ok().and_then(|value| value.as_f64());
        let seek = match self.follower.nudge(position, now) {
            Nudge::Seconds(seconds) => json!(["seek", seconds, "absolute+exact"]),
            Nudge::Percent(percent) => json!(["seek", percent, "absolute-percent"]),
        };
        let unpause = json!(["set_property", "pause", false]);
        let outcome = self.ipc.command(seek).and_then(|_| self.ipc.command(unpause));
        match outcome {
            Ok(_) => tracing::debug!(?position, "the player continues"),
            Err(error) => tracing::debug!("the player does not continue: {error}"),
        }
    }
}

/// Locks a recording against deletion. Without the lock, it is played all the same.
fn lock_shared(recording: &Path) -> Option<File> {
    File::open(recording).ok().filter(|file| file.try_lock_shared().is_ok())
}

fn cannot_start(recording: &Path, cause: std::io::Error) -> Error {
    let reason = match cause.kind() {
        std::io::ErrorKind::NotFound => "not found".to_owned(),
        _ => cause.to_string(),
    };
    let recording = recording.display();
    let what = format!("cannot start mpv: {reason}; install mpv or open {recording} in any player");
    Error::new(Stage::Playback, what)
}

fn joined(option: &str, path: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(option);
    argument.push(path);
    argument
}
