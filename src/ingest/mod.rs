//! The TCP side: accepts one sender at a time and passes its bytes to the writer.
//!
//! The socket never waits for detection, only for the disk: [`QUEUED_CHUNKS`] chunks are
//! queued for the writer. When the queue is full, the sender's TCP window closes.
//!
//! ```text
//! connection  a connection, plain or TLS
//! tls         TLS, with rustls
//! candidates  connections that are not identified yet
//! probe       whether a connection sends MPEG-TS
//! foreign     names other data, and suggests a solution
//! ```

mod candidates;
mod connection;
mod foreign;
mod probe;
mod tls;

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::error::{Error, Result, Stage};
use candidates::{Candidates, ProbedConnection};
use connection::Connection;

pub use tls::{Tls, TlsFiles};

/// Capacity of the queue between socket and writer: 4 MiB in total.
pub const QUEUED_CHUNKS: usize = 64;

/// Backlog of listen(2), which the system may lower. With the usual 128, a burst of connections
/// delays a sender by a second or more.
const BACKLOG: i32 = 4096;

/// Messages to the writer, in order.
#[derive(Debug)]
pub enum Chunk {
    /// Received bytes.
    Bytes(Vec<u8>),
    /// The connection has ended: discard an incomplete packet.
    EndOfConnection,
}

/// Receives network events. The methods run on the async side and must not block.
pub trait Observer: Send {
    /// A sender of MPEG-TS is connected. `discarded_bytes` bytes before its first packet are not
    /// recorded.
    fn accepted(&mut self, sender: SocketAddr, discarded_bytes: usize);
    /// This many bytes were received from the sender.
    fn received(&mut self, bytes: u64);
    /// The sender was disconnected.
    fn left(&mut self, sender: SocketAddr, why: &Leaving);
    /// A connection was refused before any of its bytes were recorded.
    fn refused(&mut self, sender: SocketAddr, why: &str);
}

/// Reason why a sender was disconnected.
#[derive(Debug)]
pub enum Leaving {
    /// The sender closed the connection.
    Left,
    /// The connection broke.
    Broke(std::io::Error),
    /// The sender was silent for longer than [`Options::idle_timeout`].
    Silent(Duration),
    /// Another sender has taken over.
    TakenOver(SocketAddr),
    /// The recording cannot be written at present.
    NotRecorded,
    /// The recorder is shutting down.
    Shutdown,
}

impl Leaving {
    /// Returns whether the recorder ended the connection, rather than the sender or the network.
    fn is_our_doing(&self) -> bool {
        matches!(self, Leaving::TakenOver(_) | Leaving::NotRecorded | Leaving::Shutdown)
    }
}

/// Options of the listening socket, and rules for senders.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// `HOST:PORT` to listen on. Port 0 lets the system choose.
    pub listen: String,
    /// Networks from which senders may connect. Empty: senders may connect from everywhere.
    pub allow: Vec<IpNet>,
    /// A new sender replaces the connected one.
    pub takeover: bool,
    /// Disconnect a sender that stays silent for longer. `None`: a sender may stay silent forever.
    pub idle_timeout: Option<Duration>,
    /// End when an accepted sender disconnects.
    pub once: bool,
    /// Require TLS of senders. `None`: senders use plain TCP.
    pub tls: Option<TlsFiles>,
}

impl Options {
    fn allows(&self, sender: SocketAddr) -> bool {
        // On an IPv6 socket, an IPv4 sender appears as ::ffff:192.0.2.1.
        let address = sender.ip().to_canonical();
        self.allow.is_empty() || self.allow.iter().any(|network| network.contains(&address))
    }
}

/// Accepts senders, one at a time, until `shutdown` completes or, with `once`, until an accepted
/// sender disconnects. By then, all received bytes have been sent to `writer`. While `accepting` is
/// false, the recording cannot be written: the sender is disconnected and new senders are refused.
///
/// A connection counts as a sender only once it has sent MPEG-TS, so silent connections do not block
/// senders.
///
/// # Errors
///
/// Returns an error if the writer has ended. The writer reports its own reason.
pub async fn run(
    listener: TcpListener,
    tls: Option<Tls>,
    writer: mpsc::Sender<Chunk>,
    options: &Options,
    observer: &mut dyn Observer,
    accepting: watch::Receiver<bool>,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    if let Err(error) = rustix::net::listen(&listener, BACKLOG) {
        tracing::debug!(%error, "cannot enlarge the queue of connections");
    }
    let acceptor = Acceptor {
        candidates: Candidates::new(tls),
        options,
        observer,
        accepting,
        connected: None,
        pending_chunks: VecDeque::new(),
    };
    acceptor.run(&listener, writer, shutdown).await
}

/// The connected sender, the candidates, and the chunks to be queued for the writer.
struct Acceptor<'a> {
    options: &'a Options,
    observer: &'a mut dyn Observer,
    accepting: watch::Receiver<bool>,
    candidates: Candidates,
    connected: Option<Connection>,
    /// Chunks for which the writer's queue has no room yet. While there are any, nothing is read
    /// from the sender, so their number stays small.
    pending_chunks: VecDeque<Chunk>,
}

impl Acceptor<'_> {
    async fn run(
        mut self,
        listener: &TcpListener,
        writer: mpsc::Sender<Chunk>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<()> {
        tokio::pin!(shutdown);
        loop {
            let is_idle = self.pending_chunks.is_empty();
            tokio::select! {
                // The order matters: the end of an old connection is read before the next connection
                // is admitted, so that a sender that reconnects is not refused because of its own
                // old connection.
                biased;
                () = &mut shutdown => {
                    self.disconnect(Leaving::Shutdown);
                    break;
                }
                permit = writer.reserve(), if !is_idle => {
                    let permit = permit.map_err(writer_gone)?;
                    if let Some(chunk) = self.pending_chunks.pop_front() {
                        permit.send(chunk);
                    }
                }
                Ok(()) = self.accepting.changed() => {
                    if !*self.accepting.borrow_and_update() {
                        self.disconnect(Leaving::NotRecorded);
                    }
                }
                read = read(&mut self.connected, self.options.idle_timeout), if is_idle => {
                    match read {
                        Ok(bytes) => self.take(bytes),
                        Err(why) => {
                            let is_over = self.options.once && !why.is_our_doing();
                            self.disconnect(why);
                            if is_over {
                                break;
                            }
                        }
                    }
                }
                Some(result) = self.candidates.next(), if is_idle && !self.is_draining() => {
                    self.admit(result);
                }
                (socket, sender) = accept(listener) => {
                    self.check_connection(socket, sender);
                    // Let tasks that have received data run before many more connections are
                    // accepted.
                    tokio::task::yield_now().await;
                }
            }
        }
        for chunk in self.pending_chunks {
            writer.send(chunk).await.map_err(writer_gone)?;
        }
        Ok(())
    }

    /// Checks a new connection and starts to probe it.
    fn check_connection(&mut self, socket: TcpStream, sender: SocketAddr) {
        if !self.options.allows(sender) {
            self.observer.refused(sender, "not in a network of --allow");
        } else if let Err(why) = self.check_can_accept() {
            self.observer.refused(sender, why);
        } else if let Some(oldest) = self.candidates.add(socket, sender) {
            self.observer.refused(oldest, "no MPEG-TS yet, and newer connections need its place");
        }
    }

    /// Handles the result of a probe.
    fn admit(&mut self, result: ProbedConnection) {
        match result {
            ProbedConnection::Refused(sender, why) => self.observer.refused(sender, &why),
            ProbedConnection::Sender(connection, bytes, discarded_bytes) => {
                match self.check_can_accept() {
                    Err(why) => self.observer.refused(connection.sender, why),
                    Ok(()) => {
                        self.disconnect(Leaving::TakenOver(connection.sender));
                        self.observer.accepted(connection.sender, discarded_bytes);
                        self.connected = Some(connection);
                        self.take(bytes);
                    }
                }
            }
        }
    }

    /// Checks whether another sender can be accepted.
    ///
    /// # Errors
    ///
    /// Returns the reason for a refusal.
    fn check_can_accept(&self) -> Result<(), &'static str> {
        if !*self.accepting.borrow() {
            Err("the recording cannot be written at the moment")
        } else if self.connected.is_some() && !self.options.takeover && !self.is_draining() {
            Err("another sender is connected")
        } else {
            Ok(())
        }
    }

    /// Returns whether the sender has closed its connection, but some of its bytes have not been
    /// read yet.
    fn is_draining(&self) -> bool {
        self.connected.as_ref().is_some_and(Connection::is_closed_by_sender)
    }

    fn take(&mut self, bytes: Vec<u8>) {
        self.observer.received(bytes.len() as u64);
        self.pending_chunks.push_back(Chunk::Bytes(bytes));
    }

    /// Disconnects the sender, if one is connected.
    fn disconnect(&mut self, why: Leaving) {
        if let Some(connection) = self.connected.take() {
            self.pending_chunks.push_back(Chunk::EndOfConnection);
            self.observer.left(connection.sender, &why);
        }
    }
}

fn writer_gone<T>(_: T) -> Error {
    Error::new(Stage::Ingest, "the writer has ended")
}

/// Returns the next bytes of the sender, or the reason why the connection ended. Pending forever
/// while no sender is connected.
async fn read(
    connected: &mut Option<Connection>,
    idle_timeout: Option<Duration>,
) -> Result<Vec<u8>, Leaving> {
    match connected {
        None => std::future::pending().await,
        Some(connection) => connection.read(idle_timeout).await,
    }
}

/// Returns the next connection. Retries after an error: the peer may have closed the connection
/// before it was accepted, or no file descriptor may be free until others are closed.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    const RETRY_INTERVAL: Duration = Duration::from_millis(100);
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
