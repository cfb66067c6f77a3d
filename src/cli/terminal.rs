//! stderr as a terminal: live lines at the bottom, log lines above them.
//!
//! Both are written by the thread of a [`Screen`]: drawing and logging never block, and no lock is
//! held while writing to the terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, TermLike};
use tracing_subscriber::fmt::MakeWriter;

use super::screen::Screen;

/// Maximum rate at which live lines are drawn, per second.
const REDRAWS_PER_S: u8 = 4;

/// Coordinates live lines and log lines, so that neither garbles the other. Live lines
/// are not drawn if stderr is not a terminal.
#[derive(Debug, Clone)]
pub struct Terminal {
    lines: MultiProgress,
    screen: Screen,
}

impl Terminal {
    /// Uses the process's stderr, with live lines if it is a terminal.
    pub fn stderr() -> Self {
        let screen = Screen::stderr();
        let target = if io::stderr().is_terminal() {
            let term = QueuedTerm { screen: screen.clone(), bytes: Mutex::default() };
            ProgressDrawTarget::term_like_with_hz(Box::new(term), REDRAWS_PER_S)
        } else {
            ProgressDrawTarget::hidden()
        };
        Terminal { lines: MultiProgress::with_draw_target(target), screen }
    }

    /// Uses stderr without live lines.
    pub fn without_live_lines() -> Self {
        let lines = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        Terminal { lines, screen: Screen::stderr() }
    }

    /// Returns whether live lines are drawn.
    pub fn is_live(&self) -> bool {
        !self.lines.is_hidden()
    }

    /// Returns the width in columns, or 80 if it is unknown.
    pub fn width(&self) -> usize {
        width_of_stderr().into()
    }

    /// Adds a live line at the bottom.
    pub fn add(&self, line: ProgressBar) -> ProgressBar {
        self.lines.add(line)
    }

    /// Writes a line of data above the live lines. Blocks while the terminal blocks.
    pub fn print_above(&self, line: &str) {
        self.screen.wait_for_room();
        // Queuing does not fail.
        let _ = self.lines.println(line);
    }

    /// Blocks until every line of data is written.
    pub fn wait(&self) {
        self.screen.wait();
    }

    /// Writes the program's last line, for the error that ends it.
    pub fn print_error(&self, line: &str) {
        self.screen.log(line.as_bytes());
    }

    /// Waits until everything logged so far is written, at most `timeout`. Returns whether it was
    /// written.
    pub fn drain(&self, timeout: Duration) -> bool {
        self.screen.drain(timeout)
    }
}

fn width_of_stderr() -> u16 {
    match rustix::termios::tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 => size.ws_col,
        _ => 80,
    }
}

/// Writer for log lines. Each call of `write` is one line.
#[derive(Debug)]
pub struct LogLine {
    terminal: Terminal,
}

impl Write for LogLine {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Clear the live lines before the log line, and draw them again below it.
        self.terminal.lines.suspend(|| self.terminal.screen.log(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Terminal {
    type Writer = LogLine;

    fn make_writer(&'a self) -> LogLine {
        LogLine { terminal: self.clone() }
    }
}

/// A terminal whose drawings are queued as a whole. It never blocks and never fails: an error would
/// make indicatif panic while holding its lock.
#[derive(Debug)]
struct QueuedTerm {
    screen: Screen,
    bytes: Mutex<Vec<u8>>,
}

impl QueuedTerm {
    fn add(&self, text: impl AsRef<str>) -> io::Result<()> {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.extend_from_slice(text.as_ref().as_bytes());
        Ok(())
    }

    /// Adds the control sequence that moves the cursor (ECMA-48: CUU, CUD, CUF, CUB).
    fn move_by(&self, count: usize, direction: char) -> io::Result<()> {
        if count == 0 { Ok(()) } else { self.add(format!("\x1b[{count}{direction}")) }
    }
}

impl TermLike for QueuedTerm {
    fn width(&self) -> u16 {
        width_of_stderr()
    }

    fn move_cursor_up(&self, count: usize) -> io::Result<()> {
        self.move_by(count, 'A')
    }

    fn move_cursor_down(&self, count: usize) -> io::Result<()> {
        self.move_by(count, 'B')
    }

    fn move_cursor_right(&self, count: usize) -> io::Result<()> {
        self.move_by(count, 'C')
    }

    fn move_cursor_left(&self, count: usize) -> io::Result<()> {
        self.move_by(count, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.add(text)?;
        self.add("\n")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.add(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.add("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        self.screen.draw(std::mem::take(&mut bytes));
        Ok(())
    }
}
