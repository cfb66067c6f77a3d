//! `--output`: a file that a command writes for the user, or stdout.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::disk::Replacement;
use crate::error::{Context, Error, Result, Stage};
use crate::pipeline::evidence::OpenRecording;

/// Returns whether `output` stands for stdout.
pub fn is_stdout(output: &Path) -> bool {
    output.as_os_str() == "-"
}

/// Writes `output`. A file has its name once it is complete; if `write` fails, it stays as it was.
///
/// # Errors
///
/// Returns the error of `write`, or an error if the file cannot be written or is the recording.
pub fn write<T>(
    output: &Path,
    source: &OpenRecording,
    write: impl FnOnce(&mut dyn Write) -> io::Result<T>,
) -> Result<T> {
    let what = "cannot write it";
    if is_stdout(output) {
        let mut stdout = io::stdout().lock();
        let written = write(&mut stdout).and_then(|written| stdout.flush().map(|()| written));
        return written.context(Stage::Evidence, output, what);
    }
    if source.is_at(output) {
        let what = "--output is the recording itself, which is never changed";
        return Err(Error::new(Stage::Evidence, what).path(output));
    }
    let written = || -> io::Result<T> {
        let mut file = BufWriter::with_capacity(1 << 20, Replacement::begin(output)?);
        let written = write(&mut file)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?;
        Ok(written)
    };
    written().context(Stage::Evidence, output, what)
}
