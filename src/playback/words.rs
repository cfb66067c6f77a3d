//! Keeps mpv's last line of output, for the error message when mpv fails.
//!
//! Uses a datagram socket instead of a pipe: mpv may outlive the recorder, does not
//! ignore SIGPIPE, and would die from the next line it prints.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Maximum length of one datagram.
const PIECE_MAX_BYTES: usize = 4096;

/// Maximum number of datagrams read after the program has exited. All of its output fits into
/// fewer; the output of a process that it left behind is irrelevant.
const LATE_PIECES_MAX: usize = 1000;

/// Time to wait for a datagram after the program has exited.
const READ_TIMEOUT: Duration = Duration::from_millis(100);

/// Reads the output of a program continuously, so that the program never blocks, and keeps the last
/// line.
#[derive(Debug)]
pub struct OutputReader {
    has_exited: Arc<AtomicBool>,
    reader: Option<JoinHandle<String>>,
}

impl OutputReader {
    /// Returns a reader, and the standard output for the program.
    ///
    /// # Errors
    ///
    /// Returns an error if no socket can be created.
    pub fn listen() -> io::Result<(OutputReader, Stdio)> {
        let (ours, theirs) = UnixDatagram::pair()?;
        ours.set_read_timeout(Some(READ_TIMEOUT))?;
        let has_exited = Arc::new(AtomicBool::new(false));
        let exit_flag = Arc::clone(&has_exited);
        let reader = thread::spawn(move || last_line(&ours, &exit_flag));
        Ok((OutputReader { has_exited, reader: Some(reader) }, OwnedFd::from(theirs).into()))
    }

    /// Returns the last line of a program that has exited; empty if it printed nothing.
    pub fn last(mut self) -> String {
        self.has_exited.store(true, Ordering::Relaxed);
        self.reader.take().and_then(|reader| reader.join().ok()).unwrap_or_default()
    }
}

impl Drop for OutputReader {
    fn drop(&mut self) {
        self.has_exited.store(true, Ordering::Relaxed);
    }
}

fn last_line(socket: &UnixDatagram, has_exited: &AtomicBool) -> String {
    let mut last = String::new();
    let mut piece = [0; PIECE_MAX_BYTES];
    let mut late_pieces = 0;
    while late_pieces < LATE_PIECES_MAX {
        // Read the flag before waiting, so that no output from before the exit is missed.
        let had_exited = has_exited.load(Ordering::Relaxed);
        late_pieces += usize::from(had_exited);
        match socket.recv(&mut piece) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&piece[..bytes]);
                if let Some(line) = text.lines().rfind(|line| !line.trim().is_empty()) {
                    last = line.trim().to_owned();
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) if had_exited => return last,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return last,
        }
    }
    last
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::process::Command;

    fn shell(script: &str, output: Stdio) -> std::process::Child {
        Command::new("sh").args(["-c", script]).stdout(output).spawn().unwrap()
    }

    #[test]
    fn the_last_line_is_kept_of_however_many() {
        let (reader, output) = OutputReader::listen().unwrap();
        let script = "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); done; echo";
        assert!(shell(script, output).wait().unwrap().success());
        assert_eq!(reader.last(), "line 299");
    }

    #[test]
    fn a_program_outlives_its_listener() {
        let (reader, output) = OutputReader::listen().unwrap();
        reader.last();
        let mut child = shell("echo 1; echo 2; exit 7", output);
        assert_eq!(child.wait().unwrap().code(), Some(7));
    }
}
