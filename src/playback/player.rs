//! The mpv process.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::PlayOptions;
use super::ipc::Ipc;
use super::steer::SEEK_BACK_SECONDS;
use super::words::OutputReader;
use crate::error::{Error, Result, Stage};

/// Maximum time to wait for mpv's socket.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// mpv's exit status after quitting because of a signal (mpv manual, "EXIT CODES").
const QUIT_BY_SIGNAL: i32 = 4;

/// A running mpv process.
#[derive(Debug)]
pub struct Player {
    child: Child,
    output_reader: OutputReader,
}

impl Player {
    /// Starts mpv on `recording`, with the user's configuration.
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
            // Do not pause at the end, so that only the user pauses.
            .arg("--keep-open-pause=no")
            // With a cache, mpv would treat the first end of file as final.
            .arg("--cache=no")
            // The end of a growing recording is not the end of the file.
            .arg("--loop-file=no")
            // Let time 0 of the timeline be the start of the recording.
            .arg("--rebase-start-time=yes")
            // For the user's seeks; scenetap sets it for each of its own.
            .arg(format!("--hr-seek-demuxer-offset={SEEK_BACK_SECONDS}"))
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
