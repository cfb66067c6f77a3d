//! `record --json`: a line on stdout for each kept frame, without ever waiting for the reader.
//!
//! Lines go through a queue to a separate thread. If the reader does not keep up and the queue is
//! full, frames are skipped. Once there is room again, a separate line names the first and the last
//! skipped frame: `{"skipped": ["F0012","F0019"]}`. All frames are in `index.json`.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rustix::io::Errno;
use serde_json::json;

use crate::error::{Error, Result, Stage};

/// Maximum number of lines between the publisher and stdout, about 300 bytes each.
const QUEUED_LINES: usize = 1024;

/// The queue to stdout.
#[derive(Debug)]
pub struct FrameLines {
    /// `None` once the reader has closed stdout or a write has failed.
    queue: Option<Sender<String>>,
    /// First and last id skipped since the last line.
    skipped: Option<(String, String)>,
    /// How the thread ended.
    result: Receiver<io::Result<()>>,
    /// The write error, until it is reported by `finish`.
    error: Option<io::Error>,
}

impl FrameLines {
    /// Starts the thread that writes to the process's stdout.
    ///
    /// # Errors
    ///
    /// Returns an error if stdout is closed, or the thread cannot be started.
    pub fn stdout() -> Result<Self> {
        // Do not use std's handle: its lock would be held during a blocking write.
        let output = io::stdout()
            .as_fd()
            .try_clone_to_owned()
            .map(|stdout| Stdout { is_terminal: stdout.is_terminal(), file: File::from(stdout) });
        output
            .and_then(FrameLines::start)
            .map_err(|cause| Error::new(Stage::Output, "cannot write to stdout").because(cause))
    }

    fn start(mut output: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, lines) = bounded::<String>(QUEUED_LINES);
        let (end, result) = bounded(1);
        thread::Builder::new().name("stdout".into()).spawn(move || {
            // One write per line: a pipe accepts up to PIPE_BUF bytes completely, or blocks.
            let written = lines.iter().try_for_each(|line| output.write_all(line.as_bytes()));
            let _ = end.send(written);
        })?;
        Ok(FrameLines { queue: Some(queue), skipped: None, result, error: None })
    }

    /// Queues the line of the frame `id`. Never blocks.
    pub fn push(&mut self, id: &str, line: &str) {
        if !self.report_skipped() || !self.try_send(format!("{line}\n")) {
            let first = self.skipped.take().map_or_else(|| id.to_owned(), |(first, _)| first);
            self.skipped = Some((first, id.to_owned()));
        }
    }

    /// Queues the line about skipped frames. Returns false if the queue has no room for it.
    fn report_skipped(&mut self) -> bool {
        let Some((first, last)) = &self.skipped else { return true };
        let line = format!("{}\n", json!({ "skipped": [first, last] }));
        let is_reported = self.try_send(line);
        if is_reported {
            self.skipped = None;
        }
        is_reported
    }

    /// Returns false if the line must be skipped. Without a reader, lines are dropped.
    fn try_send(&mut self, line: String) -> bool {
        let Some(queue) = &self.queue else { return true };
        match queue.try_send(line) {
            Ok(()) => true,
            Err(error) if error.is_full() => false,
            Err(_) => {
                self.queue = None;
                true
            }
        }
    }

    /// Waits until the reader has received everything, at most `timeout`.
    ///
    /// # Errors
    ///
    /// Returns an error if a write failed, unless the reader has closed stdout. A reader that does
    /// not read only causes a warning: the frames are in the index.
    pub fn finish(mut self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        let left = || deadline.saturating_duration_since(Instant::now());
        if let (Some(queue), Some((first, last))) = (&self.queue, &self.skipped) {
            let line = format!("{}\n", json!({ "skipped": [first, last] }));
            let _ = queue.send_timeout(line, left());
        }
        let unread = self.queue.as_ref().map_or(0, Sender::len);
        self.queue = None;
        match self.result.recv_timeout(left()) {
            Ok(Err(error)) => self.error = Some(error),
            Err(RecvTimeoutError::Timeout) => tracing::warn!(
                "the reader of stdout has not read for {timeout:?}: {unread} lines are left; \
                 the frames are in index.json"
            ),
            Ok(Ok(())) | Err(RecvTimeoutError::Disconnected) => {}
        }
        match self.error {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Error::new(Stage::Output, "cannot write to stdout").because(error))
            }
            _ => Ok(()),
        }
    }

    /// Returns, once, the reason why no more lines are written.
    pub fn take_failure(&mut self) -> Option<String> {
        if self.queue.is_some() {
            return None;
        }
        let error = self.result.try_recv().ok()?.err()?;
        let message = match error.kind() {
            ErrorKind::BrokenPipe => "stdout was closed; recording continues without it".into(),
            _ => format!("cannot write to stdout: {error}; recording continues without it"),
        };
        self.error = Some(error);
        Some(message)
    }
}

/// stdout. A terminal that was closed is treated like a pipe without a reader.
struct Stdout {
    file: File,
    is_terminal: bool,
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).map_err(|error| {
            if self.is_terminal
                && matches!(Errno::from_io_error(&error), Some(Errno::IO | Errno::NXIO))
            {
                ErrorKind::BrokenPipe.into()
            } else {
                error
            }
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixStream;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn id(number: usize) -> String {
        format!("F{number:04}")
    }

    fn push(lines: &mut FrameLines, numbers: std::ops::RangeInclusive<usize>) {
        for number in numbers {
            lines.push(&id(number), &json!({ "id": id(number) }).to_string());
        }
    }

    #[test]
    fn a_reader_that_does_not_keep_up_is_told_what_it_missed() {
        let (output, input) = UnixStream::pair().unwrap();
        let mut lines = FrameLines::start(output).unwrap();
        // More than the socket and the queue can hold.
        let mut pushed = 0;
        while lines.skipped.is_none() || pushed % 10 != 0 {
            pushed += 1;
            push(&mut lines, pushed..=pushed);
        }
        let mut input = BufReader::new(input).lines();
        let mut read = |count: usize| -> Vec<String> {
            input.by_ref().take(count).map(|line| line.unwrap()).collect()
        };
        let first = read(100);
        assert_eq!(first.last().unwrap(), &json!({ "id": id(100) }).to_string());
        // Leave room for the line about the gap and the one after it.
        while lines.queue.as_ref().unwrap().len() > QUEUED_LINES / 2 {
            read(1);
        }
        while lines.skipped.is_some() {
            pushed += 1;
            push(&mut lines, pushed..=pushed);
        }
        lines.queue = None;
        let rest = read(usize::MAX);
        let gaps: Vec<_> = rest.iter().filter(|line| line.contains("skipped")).collect();
        assert_eq!(gaps.len(), 1, "{gaps:?}");
        let at = rest.iter().position(|line| line.contains("skipped")).unwrap();
        let missed: serde_json::Value = serde_json::from_str(gaps[0]).unwrap();
        // The gap is exact: its ids are adjacent to those of the lines around it.
        let number = |text: &str| text.trim_matches('"')[1..].parse::<usize>().unwrap();
        let before: serde_json::Value = serde_json::from_str(&rest[at - 1]).unwrap();
        let after: serde_json::Value = serde_json::from_str(&rest[at + 1]).unwrap();
        assert_eq!(
            number(missed["skipped"][0].as_str().unwrap()),
            number(before["id"].as_str().unwrap()) + 1
        );
        assert_eq!(
            number(missed["skipped"][1].as_str().unwrap()) + 1,
            number(after["id"].as_str().unwrap())
        );
    }

    #[test]
    fn a_reader_that_leaves_ends_the_lines_alone() {
        let (output, input) = UnixStream::pair().unwrap();
        drop(input);
        let mut lines = FrameLines::start(output).unwrap();
        let mut number = 0;
        let failure = loop {
            number += 1;
            push(&mut lines, number..=number);
            if let Some(failure) = lines.take_failure() {
                break failure;
            }
        };
        assert!(failure.contains("stdout was closed"), "{failure}");
        push(&mut lines, 1..=3000);
        assert!(lines.skipped.is_none(), "nobody misses them");
        assert!(lines.finish(LONG).is_ok());
    }

    #[test]
    fn a_reader_that_never_reads_is_waited_for_no_longer_than_the_timeout() {
        let (output, _input) = UnixStream::pair().unwrap();
        let mut lines = FrameLines::start(output).unwrap();
        push(&mut lines, 1..=20_000);
        assert!(lines.finish(Duration::from_millis(10)).is_ok());
    }

    #[test]
    fn a_full_disk_is_an_error_at_the_end() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut lines = FrameLines::start(Full).unwrap();
        push(&mut lines, 1..=1);
        assert!(lines.finish(LONG).unwrap_err().to_string().contains("cannot write to stdout"));
    }
}
