//! `--output`: a file that a command writes for the user, or stdout.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::Path;

use crate::disk::Replacement;
use crate::error::{Context, Error, Result, Stage};
use crate::pipeline::evidence::OpenRecording;

/// Number of bytes that are written at once.
const BUFFER_BYTES: usize = 1 << 20;

/// Returns whether `output` stands for stdout.
pub fn is_stdout(output: &Path) -> bool {
    output.as_os_str() == "-"
}

/// Returns the absolute path of `output`, for programs.
pub fn absolute(output: &Path) -> String {
    let path = std::path::absolute(output).unwrap_or_else(|_| output.to_owned());
    path.to_string_lossy().into_owned()
}

/// Refuses to write binary data to a terminal.
///
/// # Errors
///
/// Returns an error if `output` is stdout and that is a terminal.
pub fn refuse_terminal(output: &Path) -> Result<()> {
    if !is_stdout(output) || !io::stdout().is_terminal() {
        return Ok(());
    }
    let what = "binary data is not for a terminal: give --output FILE, or redirect stdout";
    Err(Error::new(Stage::Evidence, what))
}

/// Writes `output`. A file has its name once it is complete; if `write` fails, it stays as it was.
/// Returns `None` if the reader of stdout has closed the pipe, which is no failure.
///
/// # Errors
///
/// Returns the error of `write`, or an error if the file cannot be written or is the recording.
pub fn write<T>(
    output: &Path,
    recording: &OpenRecording,
    write: impl FnOnce(&mut dyn Write) -> Result<T>,
) -> Result<Option<T>> {
    let what = "cannot write it";
    if is_stdout(output) {
        let mut stdout = Stdout { reader_left: false };
        let mut buffer = BufWriter::with_capacity(BUFFER_BYTES, &mut stdout);
        let written = write(&mut buffer).and_then(|written| {
            buffer.flush().context(Stage::Evidence, output, what).map(|()| written)
        });
        // What is left in the buffer is not written after a failure.
        drop(buffer.into_parts());
        return if stdout.reader_left { Ok(None) } else { written.map(Some) };
    }
    if recording.is_at(output) {
        let what = "--output is the recording itself, which is never changed";
        return Err(Error::new(Stage::Evidence, what).path(output));
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

/// stdout, and whether its reader has closed the pipe.
struct Stdout {
    reader_left: bool,
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Locked for each write only: a reader may take its time.
        let written = io::stdout().write(bytes);
        self.reader_left |=
            written.as_ref().is_err_and(|error| error.kind() == ErrorKind::BrokenPipe);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = io::stdout().flush();
        self.reader_left |=
            flushed.as_ref().is_err_and(|error| error.kind() == ErrorKind::BrokenPipe);
        flushed
    }
}
