//! stdout: data for programs, one line of JSON per item.

use std::io::{self, ErrorKind, IsTerminal, Write};

use super::terminal::Terminal;
use crate::error::{Error, Result, Stage};

/// Result of writing a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The line was written and flushed.
    Yes,
    /// The reader has closed the pipe (`| head -1`): the command ends successfully.
    ReaderLeft,
    /// The line could not be written. Later lines are discarded, and [`JsonLines::finish`] returns
    /// the error.
    Failed,
}

/// Writes and flushes whole lines until the first error.
#[derive(Debug)]
pub struct JsonLines<W> {
    writer: W,
    terminal: Terminal,
    /// Whether stdout is a terminal.
    is_terminal: bool,
    /// The first error. Nothing is written after it.
    error: Option<io::Error>,
}

impl JsonLines<io::Stdout> {
    /// Writes to the process's stdout, which may be the same terminal as stderr with its live
    /// lines.
    pub fn stdout(terminal: &Terminal) -> Self {
        let is_terminal = io::stdout().is_terminal();
        JsonLines { is_terminal, ..Self::new(io::stdout(), terminal) }
    }
}

impl<W: Write> JsonLines<W> {
    /// Writes to `writer`.
    pub fn new(writer: W, terminal: &Terminal) -> Self {
        JsonLines { writer, terminal: terminal.clone(), is_terminal: false, error: None }
    }

    /// Writes `line` and a line feed, and flushes them.
    pub fn write_line(&mut self, line: &str) -> WriteOutcome {
        if self.error.is_none()
            && let Err(error) = self.write(line)
        {
            if error.kind() != ErrorKind::BrokenPipe {
                tracing::error!("cannot write to stdout: {error}; writing no more lines");
            }
            self.error = Some(error);
        }
        match &self.error {
            None => WriteOutcome::Yes,
            Some(error) if error.kind() == ErrorKind::BrokenPipe => WriteOutcome::ReaderLeft,
            Some(_) => WriteOutcome::Failed,
        }
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        // If live lines are drawn on the same terminal, print the line above them.
        if self.is_terminal && self.terminal.is_live() {
            self.terminal.print_above(line);
            return Ok(());
        }
        let line = format!("{line}\n");
        self.writer.write_all(line.as_bytes()).and_then(|()| self.writer.flush())
    }

    /// Waits until all lines are written, and returns the first write error.
    ///
    /// # Errors
    ///
    /// Returns an error if a write failed, unless the reader has closed the pipe.
    pub fn finish(self) -> Result<()> {
        if self.is_terminal && self.terminal.is_live() {
            self.terminal.wait();
        }
        match self.error {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Error::new(Stage::Output, "cannot write to stdout").because(error))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A writer that fails with this kind of error after one write.
    struct FailingWriter(ErrorKind, Vec<u8>);

    impl Write for FailingWriter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if !self.1.is_empty() {
                return Err(self.0.into());
            }
            self.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(kind: ErrorKind) -> JsonLines<FailingWriter> {
        JsonLines::new(FailingWriter(kind, Vec::new()), &Terminal::without_live_lines())
    }

    #[test]
    fn a_reader_that_leaves_is_no_failure() {
        let mut lines = lines(ErrorKind::BrokenPipe);
        assert_eq!(lines.write_line("{}"), WriteOutcome::Yes);
        assert_eq!(lines.write_line("{}"), WriteOutcome::ReaderLeft);
        assert_eq!(lines.write_line("{}"), WriteOutcome::ReaderLeft);
        assert_eq!(lines.writer.1, b"{}\n");
        assert!(lines.finish().is_ok());
    }

    #[test]
    fn a_full_disk_is_told_at_the_end() {
        let mut lines = lines(ErrorKind::StorageFull);
        assert_eq!(lines.write_line("{}"), WriteOutcome::Yes);
        assert_eq!(lines.write_line("{}"), WriteOutcome::Failed);
        let error = lines.finish().unwrap_err().to_string();
        assert!(error.contains("cannot write to stdout"), "{error}");
    }
}
