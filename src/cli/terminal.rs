//! stderr as a terminal: live lines at the bottom, log lines above them.

use std::io::{self, Write};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};
use tracing_subscriber::fmt::MakeWriter;

/// Maximum rate at which live lines are drawn, per second.
const REDRAWS_PER_S: u8 = 4;

/// Coordinates live lines and log lines, so that neither garbles the other. Live lines
/// are not drawn if stderr is not a terminal.
#[derive(Debug, Clone)]
pub struct Terminal {
    lines: MultiProgress,
}

impl Terminal {
    /// Uses the process's stderr, with live lines if it is a terminal.
    pub fn stderr() -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_S);
        Terminal { lines: MultiProgress::with_draw_target(target) }
    }

    /// Uses stderr without live lines.
    pub fn without_live_lines() -> Self {
        Terminal { lines: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()) }
    }

    /// Returns whether live lines are drawn.
    pub fn is_live(&self) -> bool {
        !self.lines.is_hidden()
    }

    /// Returns the width in columns, or 80 if it is unknown.
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

    /// Hides the live lines while `write` writes to the same terminal.
    pub fn suspend<R>(&self, write: impl FnOnce() -> R) -> R {
        self.lines.suspend(write)
    }
}

/// Writer for log lines. Each call of `write` is one line.
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
