//! The TCP connection: one attempt to connect, writes that a stop flag interrupts, and a shutdown
//! that verifies that all bytes were received.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Result, Stage};

/// Connection timeout per address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Interval at which a blocked call checks the stop flag.
const POLL: Duration = Duration::from_millis(100);

/// Time to wait after the last byte until the receiver closes the connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to a receiver.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    to: String,
    sent_bytes: u64,
}

/// Result of a call that can be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// All bytes were written.
    Whole,
    /// The stop flag was set first.
    Stopped,
}

impl Link {
    /// Connects to `to` (`HOST:PORT`), trying each of its addresses once.
    ///
    /// # Errors
    ///
    /// Returns an error if the name has no address, or no address accepts the connection.
    pub fn connect(to: &str) -> Result<Link> {
        let failed = |cause: io::Error| {
            let what = format!("cannot connect to {to}");
            Error::new(Stage::Send, what).because(system_message(cause))
        };
        let mut last = io::Error::other("the name has no address");
        for address in to.to_socket_addrs().map_err(failed)? {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(failed)?;
                    stream.set_write_timeout(Some(POLL)).map_err(failed)?;
                    stream.set_read_timeout(Some(POLL)).map_err(failed)?;
                    return Ok(Link { stream, to: to.to_owned(), sent_bytes: 0 });
                }
                Err(error) => last = error,
            }
        }
        Err(failed(last))
    }

    /// Returns the number of bytes passed to the system so far.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Writes all of `bytes`, without a time limit, unless `stop` is set.
    ///
    /// # Errors
    ///
    /// Returns an error if the receiver has closed the connection.
    pub fn write(&mut self, mut bytes: &[u8], stop: &AtomicBool) -> Result<Sent> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(written) => {
                    self.sent_bytes += written as u64;
                    bytes = &bytes[written..];
                }
                Err(error) if is_poll_timeout(&error) => {
                    if stop.load(Ordering::Relaxed) {
                        return Ok(Sent::Stopped);
                    }
                }
                Err(error) => return Err(self.connection_lost(error)),
            }
        }
        Ok(Sent::Whole)
    }

    /// Shuts down the write side and waits until the receiver closes the connection: only then has
    /// it received everything. Gives up after 5 s.
    ///
    /// # Errors
    ///
    /// Returns an error if the receiver closed the connection with unread bytes.
    pub fn close(mut self, stop: &AtomicBool) -> Result<()> {
        match self.stream.shutdown(Shutdown::Write) {
            // The receiver closed first. The read below shows whether it read everything.
            Err(error) if error.kind() != io::ErrorKind::NotConnected => {
                return Err(self.connection_lost(error));
            }
            _ => {}
        }
        let start = Instant::now();
        let mut ignored = [0; 1024];
        while start.elapsed() < CLOSE_TIMEOUT && !stop.load(Ordering::Relaxed) {
            match self.stream.read(&mut ignored) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if is_poll_timeout(&error) => {}
                Err(error) => return Err(self.connection_lost(error)),
            }
        }
        Ok(())
    }

    fn connection_lost(&self, cause: io::Error) -> Error {
        let what = format!(
            "{} closed the connection after {} bytes (a recorder does this while another sender is \
             connected, or when it is stopped)",
            self.to, self.sent_bytes
        );
        Error::new(Stage::Send, what).because(system_message(cause))
    }
}

/// Returns whether the poll interval has passed, or a signal arrived.
fn is_poll_timeout(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

/// Returns the system's message without the error number.
fn system_message(error: io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
