//! A connection, plain or TLS: both are read in the same way.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::server::TlsStream;

use super::Leaving;

/// Bytes read from a socket at once, at most.
const CHUNK_BYTES: usize = 64 << 10;

/// A host that is gone without a word is asked after so long without traffic, then
/// each [`KEEPALIVE_INTERVAL`], and given up when [`KEEPALIVE_PROBES`] are not
/// answered: after two minutes in all.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 9;

/// Where the bytes of a sender come from.
pub enum Socket {
    /// As they are sent.
    Plain(TcpStream),
    /// Decrypted.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    /// Appends what came; 0 is the end. Nothing is lost if it is dropped while it waits.
    ///
    /// # Errors
    ///
    /// If the connection broke. One that ends without TLS's close_notify did: whether
    /// all has come cannot be known.
    pub async fn read(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Socket::Plain(socket) => socket.read_buf(bytes).await,
            Socket::Tls(socket) => socket.read_buf(bytes).await.map_err(|error| {
                if error.kind() == io::ErrorKind::UnexpectedEof {
                    io::Error::new(error.kind(), "it ended without TLS's close_notify")
                } else {
                    error
                }
            }),
        }
    }
}

/// Somebody who sends MPEG-TS.
pub struct Connection {
    socket: Socket,
    /// Who.
    pub sender: SocketAddr,
    /// When bytes last came.
    heard: Instant,
}

impl Connection {
    /// The connection of `sender`, of whom bytes have come just now.
    pub fn new(socket: Socket, sender: SocketAddr) -> Self {
        Connection { socket, sender, heard: Instant::now() }
    }

    /// The next bytes, or why there will be none.
    pub async fn read(&mut self, idle_timeout: Option<Duration>) -> Result<Vec<u8>, Leaving> {
        let mut bytes = Vec::with_capacity(CHUNK_BYTES);
        let reading = self.socket.read(&mut bytes);
        let read = match idle_timeout {
            None => reading.await,
            // By the clock of the connection: this future is made anew at every event.
            Some(limit) => {
                timeout_at(self.heard + limit, reading).await.map_err(|_| Leaving::Silent(limit))?
            }
        };
        match read {
            Ok(0) => Err(Leaving::Left),
            Ok(_) => {
                self.heard = Instant::now();
                Ok(bytes)
            }
            Err(error) => Err(Leaving::Broke(error)),
        }
    }
}

/// Without it a sender that lost its power would block the port for ever.
pub fn keep_alive(socket: &TcpStream) {
    use rustix::net::sockopt;
    let set = sockopt::set_socket_keepalive(socket, true)
        .and_then(|()| sockopt::set_tcp_keepidle(socket, KEEPALIVE_IDLE))
        .and_then(|()| sockopt::set_tcp_keepintvl(socket, KEEPALIVE_INTERVAL))
        .and_then(|()| sockopt::set_tcp_keepcnt(socket, KEEPALIVE_PROBES));
    if let Err(error) = set {
        tracing::debug!(%error, "no TCP keepalive");
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
        let asked = sockopt::tcp_keepintvl(&socket).unwrap() * probes;
        let idle = sockopt::tcp_keepidle(&socket).unwrap();
        assert_eq!(idle + asked, Duration::from_secs(120));
    }
}
