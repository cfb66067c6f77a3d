//! One run of the command.

use std::env;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write, pipe};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::{FrameCommand, FrameTask};
use crate::pause;

/// Time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// Interval at which a request to stop is noticed; also the end of the command, if the system has no
/// process descriptors (Linux before 5.3).
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Maximum length of a logged line. A longer one is logged in parts.
const LINE_MAX_BYTES: usize = 4096;

/// Maximum number of logged lines per run. Further lines are only counted.
const MAX_LINES: u64 = 100;

/// Result of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RunEnd {
    /// Exit status 0.
    Successfully,
    /// Another exit status, or a signal.
    Failed(String),
    /// The time limit was exceeded.
    TimedOut,
    /// A stop was requested.
    Stopped,
}

/// Runs the command for a frame, and logs its output.
///
/// # Errors
///
/// Returns an error if the command cannot be started.
pub(super) fn run(
    command: &FrameCommand,
    task: &FrameTask,
    is_stopped: &dyn Fn() -> bool,
) -> io::Result<RunEnd> {
    let (output, output_writer) = pipe()?;
    let output = File::from(OwnedFd::from(output));
    set_nonblocking(output.as_fd())?;
    let (input, input_writer) = pipe()?;
    // An entry is far shorter than the capacity of a pipe, so a command that does not read cannot
    // block this.
    let mut input_writer = File::from(OwnedFd::from(input_writer));
    set_nonblocking(input_writer.as_fd())?;
    let _ = input_writer.write_all(task.input.as_bytes());
    drop(input_writer);
    let mut child = {
        let mut builder = Command::new(&command.words[0]);
        builder.args(&command.words[1..]);
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(is_private) {
                builder.env_remove(name);
            }
        }
        builder.envs(task.variables.iter().map(|(name, value)| (name, value)));
        builder.process_group(0).stdin(input).stdout(output_writer.try_clone()?);
        builder.stderr(output_writer).spawn()?
        // Dropping the builder closes the command's ends of the pipes.
    };
    let mut run = Run { log: Log::new(task.id.clone(), output), ended_by: None };
    let status = run.wait(&mut child, command.timeout, is_stopped)?;
    run.log.finish();
    Ok(match run.ended_by {
        Some(reason) => reason,
        None if status.success() => RunEnd::Successfully,
        None => RunEnd::Failed(status.to_string()),
    })
}

/// Returns whether a variable must not be passed to the command.
fn is_private(name: &str) -> bool {
    name == "NOTIFY_SOCKET"
        || ["SCENETAP_", "WATCHDOG_", "LISTEN_"].iter().any(|prefix| name.starts_with(prefix))
}

struct Run {
    log: Log,
    /// Set once the command was asked to terminate.
    ended_by: Option<RunEnd>,
}

impl Run {
    /// Waits until the command has ended. Terminates it after the time limit.
    fn wait(
        &mut self,
        child: &mut Child,
        timeout: Duration,
        is_stopped: &dyn Fn() -> bool,
    ) -> io::Result<ExitStatus> {
        let group = Pid::from_child(child);
        let descriptor = pidfd_open(group, PidfdFlags::empty()).ok();
        let mut deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let has_ended = self.log.wait(descriptor.as_ref(), left.min(LOOK_INTERVAL));
            // Until the process is waited for, its id is not reused, so neither is the group's.
            if descriptor.is_none() || has_ended {
                if has_ended && self.ended_by.is_some() {
                    // Also kills processes that the command has started and left behind.
                    let _ = kill_process_group(group, Signal::KILL);
                }
                if let Some(status) = child.try_wait()? {
                    return Ok(status);
                }
            }
            match &self.ended_by {
                None => {
                    let reason = match is_stopped() {
                        true => RunEnd::Stopped,
                        false if left.is_zero() => RunEnd::TimedOut,
                        false => continue,
                    };
                    self.ended_by = Some(reason);
                    let _ = kill_process_group(group, Signal::TERM);
                    deadline = Instant::now() + pause::of(GRACE);
                }
                Some(_) if left.is_zero() => {
                    let _ = kill_process_group(group, Signal::KILL);
                    return child.wait();
                }
                Some(_) => {}
            }
        }
    }
}

/// Logs the output line by line.
struct Log {
    id: String,
    /// `None` at the end of the output.
    output: Option<File>,
    line: Vec<u8>,
    lines: u64,
}

impl Log {
    fn new(id: String, output: File) -> Self {
        Log { id, output: Some(output), line: Vec::new(), lines: 0 }
    }

    /// Waits for output or for the end of the process, at most `timeout`. Returns whether the process
    /// has ended.
    fn wait(&mut self, process: Option<&OwnedFd>, timeout: Duration) -> bool {
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let (mut has_output, mut has_ended) = (false, false);
        {
            let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(2);
            fds.extend(process.map(|fd| PollFd::new(fd, PollFlags::IN)));
            fds.extend(self.output.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
            let timeout = Timespec::try_from(timeout).ok();
            if poll(&mut fds, timeout.as_ref()).is_ok() {
                has_ended = process.is_some() && fds.first().is_some_and(is_ready);
                has_output = fds.last().is_some_and(is_ready);
            }
        }
        if has_output {
            // Read only once per wait, so that endless output does not defeat the time limit.
            self.read();
        }
        has_ended
    }

    /// Reads a piece of the output. Returns false if none is available.
    fn read(&mut self) -> bool {
        let Some(output) = &mut self.output else { return false };
        let mut piece = [0; 4096];
        match output.read(&mut piece) {
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Ok(0) | Err(_) => {
                self.output = None;
                false
            }
            Ok(count) => {
                piece[..count].iter().for_each(|byte| self.take(*byte));
                true
            }
        }
    }

    fn take(&mut self, byte: u8) {
        if byte != b'\n' {
            self.line.push(byte);
        }
        if byte == b'\n' || self.line.len() == LINE_MAX_BYTES {
            self.log_line();
        }
    }

    fn log_line(&mut self) {
        let line = String::from_utf8_lossy(&self.line);
        let line = line.trim_end().replace(char::is_control, "?");
        if !line.is_empty() {
            self.lines += 1;
            if self.lines <= MAX_LINES {
                tracing::info!("on-frame {}: {line}", self.id);
            }
        }
        self.line.clear();
    }

    /// Logs the remaining output. Does not wait for processes that the command has left behind.
    fn finish(&mut self) {
        /// Enough for the capacity of a pipe.
        const MAX_READS: usize = 64;
        for _ in 0..MAX_READS {
            if !self.read() {
                break;
            }
        }
        if !self.line.is_empty() {
            self.log_line();
        }
        if self.lines > MAX_LINES {
            tracing::info!("on-frame {}: {} more lines", self.id, self.lines - MAX_LINES);
        }
    }
}

fn set_nonblocking(file: BorrowedFd<'_>) -> io::Result<()> {
    Ok(fcntl_setfl(file, fcntl_getfl(file)? | OFlags::NONBLOCK)?)
}
