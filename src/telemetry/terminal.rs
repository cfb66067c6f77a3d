//! stderr as a terminal: live lines at its bottom, log lines above them.

use std::io::{self, IsTerminal, Write};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};
use tracing_subscriber::fmt::MakeWriter;

/// How often live lines are drawn, at most, per second.
const REDRAWS_PER_S: u8 = 4;

/// Where live lines and log lines meet, so that neither garbles the other. Where
/// stderr is no terminal, live lines are not drawn.
#[derive(Debug, Clone)]
pub struct Terminal {
    lines: MultiProgress,
}

impl Terminal {
    /// The process's stderr, with live lines if it is a terminal.
    pub fn stderr() -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_S);
        Terminal { lines: MultiProgress::with_draw_target(target) }
    }

    /// stderr without live lines.
    pub fn without_live_lines() -> Self {
        Terminal { lines: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()) }
    }

    /// Whether live lines are drawn at all.
    pub fn is_live(&self) -> bool {
        !self.lines.is_hidden()
    }

    /// Its width in columns; 80 where nobody knows.
    pub fn width(&self) -> usize {
        match rustix::termios::tcgetwinsize(io::stderr()) {
            Ok(size) if size.ws_col > 0 => size.ws_col.into(),
            _ => 80,
        }
    }

    /// Adds a live line at the bottom.
    pub fn add(&self, line: ProgressBar) -> ProgressBar {
        self.lines.add(line)
    }

    /// Takes the live lines away while `write` writes to the same terminal.
    pub fn suspend<R>(&self, write: impl FnOnce() -> R) -> R {
        self.lines.suspend(write)
    }
}

/// Writes log lines. Each is one call of `write`.
#[derive(Debug)]
pub struct LogLine {
    terminal: Terminal,
}

impl Write for LogLine {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.terminal.suspend(|| io::stderr().lock().write_all(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for Terminal {
    type Writer = LogLine;

    fn make_writer(&'a self) -> LogLine {
        LogLine { terminal: self.clone() }
    }
}

/// Whether colours are wanted on stderr: a terminal, and NO_COLOR (no-color.org) is
/// unset.
pub(super) fn wants_colours(no_color: Option<std::ffi::OsString>) -> bool {
    io::stderr().is_terminal() && no_color.is_none_or(|value| value.is_empty())
}

/// Whether stderr goes to the systemd journal, which has a time of its own for
/// every line. systemd.exec(5): JOURNAL_STREAM is the device and inode of the
/// stream, to be compared, since the variable is inherited by processes whose
/// stderr goes elsewhere.
pub(super) fn is_journal(journal_stream: Option<std::ffi::OsString>) -> bool {
    let Some(stream) = journal_stream else { return false };
    let Ok(stat) = rustix::fs::fstat(io::stderr()) else { return false };
    stream.to_str() == Some(format!("{}:{}", stat.st_dev, stat.st_ino).as_str())
}
