//! stdout: data for programs, one line of JSON each.

use std::io::{self, ErrorKind, Write};

use crate::error::{Error, Result, Stage};
use crate::telemetry::Terminal;

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is on its way to the reader.
    Yes,
    /// The reader has closed its end (`| head -1`): time to end, successfully.
    ReaderLeft,
    /// It could not be written, and no later line will be. [`JsonLines::finish`]
    /// says why.
    Failed,
}

/// Writes lines, each whole and at once, until somebody stops listening.
#[derive(Debug)]
pub struct JsonLines<W> {
    writer: W,
    terminal: Terminal,
    /// Why nothing is written any more.
    ended: Option<io::Error>,
}

impl JsonLines<io::Stdout> {
    /// The process's stdout. It may be the terminal on which stderr shows its live
    /// line.
    pub fn stdout(terminal: &Terminal) -> Self {
        Self::new(io::stdout(), terminal)
    }
}

impl<W: Write> JsonLines<W> {
    /// Lines to `writer`.
    pub fn new(writer: W, terminal: &Terminal) -> Self {
        JsonLines { writer, terminal: terminal.clone(), ended: None }
    }

    /// Writes one line, which has no line feed of its own, and flushes it.
    pub fn write_line(&mut self, line: &str) -> Written {
        if self.ended.is_none() {
            let line = format!("{line}\n");
            let writer = &mut self.writer;
            let written = self
                .terminal
                .suspend(|| writer.write_all(line.as_bytes()).and_then(|()| writer.flush()));
            if let Err(error) = written {
                if error.kind() != ErrorKind::BrokenPipe {
                    tracing::error!("stdout: {error}; no more is written to it");
                }
                self.ended = Some(error);
            }
        }
        match &self.ended {
            None => Written::Yes,
            Some(error) if error.kind() == ErrorKind::BrokenPipe => Written::ReaderLeft,
            Some(_) => Written::Failed,
        }
    }

    /// Whether everything was written that anybody wanted to read.
    ///
    /// # Errors
    ///
    /// If writing failed for another reason than that the reader left.
    pub fn finish(self) -> Result<()> {
        match self.ended {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Error::new(Stage::Catalog, "cannot write to stdout").because(error))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Fails with `kind` after one write.
    struct Fails(ErrorKind, Vec<u8>);

    impl Write for Fails {
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

    fn lines(kind: ErrorKind) -> JsonLines<Fails> {
        JsonLines::new(Fails(kind, Vec::new()), &Terminal::without_live_lines())
    }

    #[test]
    fn a_reader_that_leaves_is_no_failure() {
        let mut lines = lines(ErrorKind::BrokenPipe);
        assert_eq!(lines.write_line("{}"), Written::Yes);
        assert_eq!(lines.write_line("{}"), Written::ReaderLeft);
        assert_eq!(lines.write_line("{}"), Written::ReaderLeft);
        assert_eq!(lines.writer.1, b"{}\n");
        assert!(lines.finish().is_ok());
    }

    #[test]
    fn a_full_disk_is_told_at_the_end() {
        let mut lines = lines(ErrorKind::StorageFull);
        assert_eq!(lines.write_line("{}"), Written::Yes);
        assert_eq!(lines.write_line("{}"), Written::Failed);
        let told = lines.finish().unwrap_err().to_string();
        assert!(told.contains("cannot write to stdout"), "{told}");
    }
}
