//! `--output`: a file that a command writes, or stdout.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::disk::Replacement;
use crate::error::{Context, Error, Result, Stage};
use crate::pipeline::evidence::OpenRecording;

/// Number of bytes that a writable pipe accepts in one write (PIPE_BUF of Linux).
const PIPE_BYTES: usize = 4096;

/// Interval between two checks of `stop`.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Buffer size for writing.
const BUFFER_BYTES: usize = 1 << 20;

/// Returns whether `output` means stdout.
pub fn is_stdout(output: &Path) -> bool {
    output.as_os_str() == "-"
}

/// Returns the absolute path of `output`, for JSON.
pub fn absolute(output: &Path) -> String {
    let path = std::path::absolute(output).unwrap_or_else(|_| output.to_owned());
    path.to_string_lossy().into_owned()
}

/// Refuses to write binary data to a terminal.
///
/// # Errors
///
/// Returns an error if `output` is stdout and stdout is a terminal.
pub fn refuse_terminal(output: &Path) -> Result<()> {
    if !is_stdout(output) || !io::stdout().is_terminal() {
        return Ok(());
    }
    let what = "binary data is not for a terminal: give --output FILE, or redirect stdout";
    Err(Error::new(Stage::Evidence, what))
}

/// Writes `output`. A file gets its name once it is complete; if `write` fails, an existing file stays
/// unchanged. `stop` ends the wait for the reader of a pipe. Returns `None` if the reader of stdout has
/// closed it, which is not a failure.
///
/// # Errors
///
/// Returns the error of `write`, or an error if the file cannot be written or is the recording itself.
pub fn write<T>(
    output: &Path,
    recording: &OpenRecording,
    stop: &dyn Fn() -> bool,
    write: impl FnOnce(&mut dyn Write) -> Result<T>,
) -> Result<Option<T>> {
    let what = "cannot write it";
    if is_stdout(output) {
        let stdout = io::stdout().as_fd().try_clone_to_owned();
        let stdout = stdout.context(Stage::Evidence, output, what)?;
        let mut pipe = Pipe { file: File::from(stdout), stop, reader_left: false };
        let written = write(&mut pipe);
        return if pipe.reader_left { Ok(None) } else { written.map(Some) };
    }
    if recording.is_at(output) {
        let what = "--output is the recording itself, which is never changed";
        return Err(Error::new(Stage::Evidence, what).path(output));
    }
    // For example `/dev/null` or a FIFO.
    if fs::metadata(output).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        let file = open_other(output, stop).context(Stage::Evidence, output, what)?;
        return write(&mut Pipe { file, stop, reader_left: false }).map(Some);
    }
    let begun = Replacement::begin(output).context(Stage::Evidence, output, what)?;
    let mut file = BufWriter::with_capacity(BUFFER_BYTES, begun);
    let written = write(&mut file)?;
    let finished = match file.into_inner() {
        Ok(file) => file.finish(),
        Err(failed) => {
            let (error, buffer) = failed.into_parts();
            drop(buffer.into_parts());
            Err(error)
        }
    };
    finished.context(Stage::Evidence, output, what)?;
    Ok(Some(written))
}

/// Opens a path that is not a regular file for writing. Waits until a FIFO has a reader.
fn open_other(path: &Path, stop: &dyn Fn() -> bool) -> io::Result<File> {
    loop {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Err(Errno::NXIO) if stop() => return Err(interrupted()),
            Err(Errno::NXIO) => thread::sleep(LOOK_INTERVAL),
            opened => return Ok(File::from(opened?)),
        }
    }
}

fn interrupted() -> io::Error {
    io::Error::other("interrupted")
}

/// stdout, or another output whose reader may block it.
struct Pipe<'a> {
    file: File,
    stop: &'a dyn Fn() -> bool,
    /// Whether the reader has closed the output.
    reader_left: bool,
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(PIPE_BYTES)];
        loop {
            if (self.stop)() {
                return Err(interrupted());
            }
            let timeout = Timespec::try_from(LOOK_INTERVAL).map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(&self.file, PollFlags::OUT)], Some(&timeout)) {
                Ok(0) | Err(Errno::INTR) => continue,
                polled => polled?,
            };
            match self.file.write(piece) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                written => {
                    let error = written.as_ref().err().map(io::Error::kind);
                    self.reader_left |= error == Some(ErrorKind::BrokenPipe);
                    return written;
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
