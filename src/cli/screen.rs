//! The thread that writes to stderr: log lines, and the drawing of live lines.
//!
//! No other thread writes to stderr while a command runs. Whatever happens to stderr (a pipe that
//! is not read, Ctrl-S, a closed terminal), the threads that log only add messages to a queue. If
//! the queue is full, messages are dropped; their number is logged once there is room again.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::io::Errno;

/// Maximum number of messages between the program and stderr.
const QUEUED_MESSAGES: usize = 1024;

/// The queue to stderr.
#[derive(Debug, Clone)]
pub struct Screen {
    queue: Sender<ScreenMessage>,
    /// Number of log lines dropped since the last report.
    dropped: Arc<AtomicU64>,
    /// Whether stderr did not accept the queue in time: do not wait for it again.
    is_stuck: Arc<AtomicBool>,
}

#[derive(Debug)]
enum ScreenMessage {
    /// A log line.
    Log(Vec<u8>),
    /// A live line, which the next one replaces.
    Draw(Vec<u8>),
    /// Answered once everything before it is written.
    Drained(Sender<()>),
}

impl Screen {
    /// Starts the thread that writes to the process's stderr.
    pub fn stderr() -> Self {
        // Do not use std's handle: its lock would be held during a blocking write.
        let file = io::stderr().as_fd().try_clone_to_owned().map(File::from);
        Screen::start(file.ok())
    }

    /// Starts a thread that writes to `output`. Without an output, everything is discarded.
    fn start(output: Option<impl Write + Send + 'static>) -> Self {
        let (queue, messages) = bounded(QUEUED_MESSAGES);
        let dropped = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&dropped);
        // If the thread cannot be started, the queue is closed, and logging does nothing.
        let _ = thread::Builder::new()
            .name("stderr".into())
            .spawn(move || write_all(&messages, &count, output));
        Screen { queue, dropped, is_stuck: Arc::default() }
    }

    /// Queues a log line. Never blocks.
    pub fn log(&self, line: &[u8]) {
        if self.queue.try_send(ScreenMessage::Log(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, SeqCst);
        }
    }

    /// Queues the drawing of a live line. Never blocks.
    pub fn draw(&self, bytes: Vec<u8>) {
        let _ = self.queue.try_send(ScreenMessage::Draw(bytes));
    }

    /// Blocks while the queue is more than half full: for data, which must not be dropped.
    pub fn wait_for_room(&self) {
        if self.queue.len() > QUEUED_MESSAGES / 2 {
            self.wait();
        }
    }

    /// Blocks until everything queued so far is written.
    pub fn wait(&self) {
        let (done, drained) = bounded(1);
        if self.queue.send(ScreenMessage::Drained(done)).is_ok() {
            let _ = drained.recv();
        }
    }

    /// Waits until everything queued so far is written, at most `timeout`. Returns whether it was
    /// written.
    pub fn drain(&self, timeout: Duration) -> bool {
        if self.is_stuck.load(SeqCst) {
            return false;
        }
        let deadline = Instant::now() + timeout;
        let (done, drained) = bounded(1);
        let is_drained = self.queue.send_deadline(ScreenMessage::Drained(done), deadline).is_ok()
            && drained.recv_deadline(deadline).is_ok();
        if !is_drained {
            self.is_stuck.store(true, SeqCst);
        }
        is_drained
    }
}

/// Writes messages until the queue is closed. If stderr was closed, discards the rest. After any
/// other error, such as a full disk, discards only that message.
fn write_all(
    messages: &Receiver<ScreenMessage>,
    dropped: &AtomicU64,
    mut output: Option<impl Write>,
) {
    for message in messages {
        match message {
            ScreenMessage::Log(bytes) | ScreenMessage::Draw(bytes) => {
                match output.as_mut().map(|output| output.write_all(&bytes)) {
                    Some(Err(error)) if is_closed(&error) => output = None,
                    Some(Err(_)) => {
                        // A report would fail as well: it follows the next line that succeeds.
                        dropped.fetch_add(1, SeqCst);
                        continue;
                    }
                    Some(Ok(())) | None => {}
                }
            }
            ScreenMessage::Drained(done) => {
                let _ = done.send(());
                continue;
            }
        }
        let lines = dropped.swap(0, SeqCst);
        if lines > 0 && output.is_some() {
            tracing::warn!("{lines} log lines were dropped while stderr was blocked");
        }
    }
}

/// Returns whether later writes must fail as well: a pipe without a reader, or a closed terminal.
fn is_closed(error: &io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe
        || [Errno::IO, Errno::NXIO, Errno::BADF]
            .map(Errno::raw_os_error)
            .map(Some)
            .contains(&error.raw_os_error())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// A writer that blocks in each write until it is released.
    struct Blocked {
        go: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Blocked {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.go.recv();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn logging_never_blocks_and_what_is_queued_is_written_once_it_flows_again() {
        let (let_go, go) = bounded::<()>(0);
        let written = Arc::new(Mutex::new(Vec::new()));
        let screen = Screen::start(Some(Blocked { go, written: Arc::clone(&written) }));
        for _ in 0..3 * QUEUED_MESSAGES {
            screen.log(b"line\n");
        }
        assert!(!screen.drain(Duration::from_millis(1)));
        assert!(screen.dropped.load(SeqCst) >= QUEUED_MESSAGES as u64);
        drop(let_go);
        // A queue that was stuck once is not waited for again.
        assert!(!screen.drain(LONG));
        screen.wait();
        screen.log(b"line\n");
        screen.wait();
        assert!(written.lock().unwrap().len() >= QUEUED_MESSAGES * 5);
        assert_eq!(screen.dropped.load(SeqCst), 0, "it was reported");
    }

    #[test]
    fn a_full_disk_loses_the_lines_of_its_time_alone() {
        struct Full {
            writes: u32,
            written: Arc<Mutex<Vec<u8>>>,
        }
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.writes += 1;
                if (2..=3).contains(&self.writes) {
                    return Err(ErrorKind::StorageFull.into());
                }
                self.written.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let written = Arc::new(Mutex::new(Vec::new()));
        let screen = Screen::start(Some(Full { writes: 0, written: Arc::clone(&written) }));
        for line in ["1", "2", "3", "4"] {
            screen.log(line.as_bytes());
            screen.wait();
        }
        assert_eq!(*written.lock().unwrap(), b"14");
        assert_eq!(screen.dropped.load(SeqCst), 0, "they were reported");
    }

    #[test]
    fn data_waits_for_room() {
        let (let_go, go) = bounded::<()>(0);
        let written = Arc::new(Mutex::new(Vec::new()));
        let screen = Screen::start(Some(Blocked { go, written: Arc::clone(&written) }));
        let writer = screen.clone();
        let data = thread::spawn(move || {
            for _ in 0..3 * QUEUED_MESSAGES {
                writer.wait_for_room();
                writer.draw(b"line\n".to_vec());
            }
            writer.wait();
        });
        drop(let_go);
        data.join().unwrap();
        assert_eq!(written.lock().unwrap().len(), 3 * QUEUED_MESSAGES * 5);
    }

    #[test]
    fn a_terminal_that_is_closed_stops_nothing() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::Error::from_raw_os_error(5))
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let screen = Screen::start(Some(Closed));
        for _ in 0..10 {
            screen.log(b"line\n");
            screen.draw(b"live".to_vec());
            assert!(screen.drain(LONG));
        }
    }
}
