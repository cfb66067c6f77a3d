//! A connection, plain or TLS; both are read in the same way.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::server::TlsStream;

use super::Leaving;

/// Maximum number of bytes per read from a socket.
const CHUNK_BYTES: usize = 64 << 10;

/// Idle time before the first TCP keepalive probe. Keepalive detects a host that vanished without
/// closing the connection: further probes are sent every [`KEEPALIVE_INTERVAL`], and the connection
/// fails when [`KEEPALIVE_PROBES`] are unanswered, after two minutes in total.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 9;

/// Source of a sender's bytes.
pub enum Socket {
    /// Plain TCP.
    Plain(TcpStream),
    /// Decrypted TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    /// Appends received bytes and returns their number; 0 is the end of the stream.
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection breaks. A TLS connection that ends without
    /// close_notify counts as broken, because bytes may be missing.
    pub async fn read(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Socket::Plain(socket) => socket.read_buf(bytes).await,
            Socket::Tls(socket) => socket.read_buf(bytes).await.map_err(|error| {
                if error.kind() == io::ErrorKind::UnexpectedEof {
                    io::Error::new(error.kind(), "closed without TLS close_notify")
                } else {
                    error
                }
            }),
        }
    }
}

/// A connection that sends MPEG-TS.
pub struct Connection {
    socket: Socket,
    /// Address and port of the sender.
    pub sender: SocketAddr,
    /// Time at which bytes were last received.
    last_received: Instant,
}

impl Connection {
    /// Wraps a socket from which bytes have just been received.
    pub fn new(socket: Socket, sender: SocketAddr) -> Self {
        Connection { socket, sender, last_received: Instant::now() }
    }

    /// Returns whether the sender has closed the connection, although some of its bytes have not been
    /// read yet.
    pub fn is_closed_by_sender(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let socket = match &self.socket {
            Socket::Plain(socket) => socket,
            Socket::Tls(socket) => socket.get_ref().0,
        };
        let closed = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        let mut polled = [PollFd::new(socket, PollFlags::RDHUP)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut polled, Some(&at_once)), Ok(1..))
            && polled[0].revents().intersects(closed)
    }

    /// Returns the next bytes, or the reason why the connection ended.
    pub async fn read(&mut self, idle_timeout: Option<Duration>) -> Result<Vec<u8>, Leaving> {
        let mut bytes = Vec::with_capacity(CHUNK_BYTES);
        let reading = self.socket.read(&mut bytes);
        let read = match idle_timeout {
            None => reading.await,
            // The deadline is absolute because this future is created anew for every event.
            Some(limit) => timeout_at(self.last_received + limit, reading)
                .await
                .map_err(|_| Leaving::Silent(limit))?,
        };
        match read {
            Ok(0) => Err(Leaving::Left),
            Ok(_) => {
                self.last_received = Instant::now();
                Ok(bytes)
            }
            Err(error) => Err(Leaving::Broke(error)),
        }
    }
}

/// Enables TCP keepalive. Without it, a sender that lost power would block the port forever.
pub fn keep_alive(socket: &TcpStream) {
    use rustix::net::sockopt;
    let set = sockopt::set_socket_keepalive(socket, true)
        .and_then(|()| sockopt::set_tcp_keepidle(socket, KEEPALIVE_IDLE))
        .and_then(|()| sockopt::set_tcp_keepintvl(socket, KEEPALIVE_INTERVAL))
        .and_then(|()| sockopt::set_tcp_keepcnt(socket, KEEPALIVE_PROBES));
    if let Err(error) = set {
        tracing::debug!(%error, "cannot enable TCP keepalive");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rustix::net::sockopt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_host_that_is_gone_without_a_word_is_given_up_after_two_minutes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_sender, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let socket = accepted.unwrap().0;
        keep_alive(&socket);
        assert!(sockopt::socket_keepalive(&socket).unwrap());
        let probes = sockopt::tcp_keepcnt(&socket).unwrap();
        let probing = sockopt::tcp_keepintvl(&socket).unwrap() * probes;
        let idle = sockopt::tcp_keepidle(&socket).unwrap();
        assert_eq!(idle + probing, Duration::from_secs(120));
    }
}
