//! The TCP side: one sender at a time, its bytes to the recorder as they come.
//!
//! The socket never waits for detection, only for the disk: between it and the
//! recorder stand [`QUEUED_CHUNKS`] chunks, and when they are full the sender's
//! TCP window closes.

mod candidates;
mod connection;
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
use candidates::{Candidates, Judged};
use connection::Connection;

pub use tls::{Tls, TlsFiles};

/// Chunks between socket and recorder: 4 MiB in all.
pub const QUEUED_CHUNKS: usize = 64;

/// Connections that the system takes for us until we do; as many as it grants. With
/// its usual 128, a crowd that comes at once has a sender wait for a second or more.
const BACKLOG: i32 = 4096;

/// What the recorder is told, in order.
#[derive(Debug)]
pub enum Chunk {
    /// Bytes as received.
    Bytes(Vec<u8>),
    /// The connection is over: what it left torn is to be cut off.
    EndOfConnection,
}

/// Told what happens on the network. Called on the async side: must not block.
pub trait Observer: Send {
    /// A sender is connected, and sends MPEG-TS.
    fn accepted(&mut self, sender: SocketAddr);
    /// So many bytes came from it.
    fn received(&mut self, bytes: u64);
    /// It is connected no longer.
    fn left(&mut self, sender: SocketAddr, why: &Leaving);
    /// Somebody was turned away before a byte of theirs was recorded.
    fn refused(&mut self, sender: SocketAddr, why: &str);
}

/// Why a sender is connected no longer.
#[derive(Debug)]
pub enum Leaving {
    /// It has closed the connection.
    Left,
    /// The connection broke.
    Broke(std::io::Error),
    /// It was silent for longer than [`Options::idle_timeout`].
    Silent(Duration),
    /// Another one has taken its place.
    TakenOver(SocketAddr),
    /// What it sends cannot be recorded at the moment.
    NotRecorded,
    /// We end.
    Shutdown,
}

impl Leaving {
    /// Whether it would have gone on.
    fn is_our_doing(&self) -> bool {
        matches!(self, Leaving::TakenOver(_) | Leaving::NotRecorded | Leaving::Shutdown)
    }
}

/// How to listen.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// End when a sender that was accepted leaves.
    pub once: bool,
    /// Who is silent for longer is a sender no more. `None`: it may be silent for ever.
    pub idle_timeout: Option<Duration>,
    /// A new sender takes the place of the one that is connected.
    pub takeover: bool,
    /// The networks from which senders may connect; none: from everywhere.
    pub allow: Vec<IpNet>,
    /// Senders have to speak TLS.
    pub tls: Option<Tls>,
}

impl Options {
    fn allows(&self, sender: SocketAddr) -> bool {
        // Where IPv6 is listened to, an IPv4 sender shows as ::ffff:192.0.2.1.
        let address = sender.ip().to_canonical();
        self.allow.is_empty() || self.allow.iter().any(|network| network.contains(&address))
    }
}

/// Accepts senders, one at a time, until `shutdown` or, with `once`, until one has
/// left. What was received by then is in `recorder`. While `accepting` is false the
/// recorder cannot take what is sent: then nobody is a sender.
///
/// A connection is no sender before it has sent MPEG-TS: one that is silent keeps
/// nobody out.
///
/// # Errors
///
/// If the recorder has ended, which tells its own reason.
pub async fn run(
    listener: TcpListener,
    recorder: mpsc::Sender<Chunk>,
    options: Options,
    observer: &mut dyn Observer,
    accepting: watch::Receiver<bool>,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    if let Err(error) = rustix::net::listen(&listener, BACKLOG) {
        tracing::debug!(%error, "the queue of connections stays short");
    }
    let desk = Desk {
        candidates: Candidates::new(options.tls.clone()),
        options,
        observer,
        accepting,
        connected: None,
        owed: VecDeque::new(),
    };
    desk.run(&listener, recorder, shutdown).await
}

/// Who is connected, and what the recorder is still to be given.
struct Desk<'a> {
    options: Options,
    observer: &'a mut dyn Observer,
    accepting: watch::Receiver<bool>,
    candidates: Candidates,
    connected: Option<Connection>,
    /// Nothing is read while there is something here, so it stays small.
    owed: VecDeque<Chunk>,
}

impl Desk<'_> {
    async fn run(
        mut self,
        listener: &TcpListener,
        recorder: mpsc::Sender<Chunk>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<()> {
        tokio::pin!(shutdown);
        loop {
            let is_idle = self.owed.is_empty();
            tokio::select! {
                // In this order: a sender that has left and comes back is not refused for
                // its own old connection, of which the end has not been read yet.
                biased;
                () = &mut shutdown => {
                    self.part(Leaving::Shutdown);
                    break;
                }
                permit = recorder.reserve(), if !is_idle => {
                    let permit = permit.map_err(gone)?;
                    if let Some(chunk) = self.owed.pop_front() {
                        permit.send(chunk);
                    }
                }
                Ok(()) = self.accepting.changed() => {
                    if !*self.accepting.borrow_and_update() {
                        self.part(Leaving::NotRecorded);
                    }
                }
                read = read(&mut self.connected, self.options.idle_timeout), if is_idle => {
                    match read {
                        Ok(bytes) => self.take(bytes),
                        Err(why) => {
                            let is_over = self.options.once && !why.is_our_doing();
                            self.part(why);
                            if is_over {
                                break;
                            }
                        }
                    }
                }
                Some(judged) = self.candidates.next(), if is_idle => self.admit(judged),
                (socket, sender) = accept(listener) => {
                    self.look_at(socket, sender);
                    // Who has sent something already is heard before many others come.
                    tokio::task::yield_now().await;
                }
            }
        }
        for chunk in self.owed {
            recorder.send(chunk).await.map_err(gone)?;
        }
        Ok(())
    }

    /// Somebody has connected.
    fn look_at(&mut self, socket: TcpStream, sender: SocketAddr) {
        if !self.options.allows(sender) {
            self.observer.refused(sender, "it is in no network of --allow");
        } else if let Err(why) = self.has_place() {
            self.observer.refused(sender, why);
        } else if let Some(oldest) = self.candidates.add(socket, sender) {
            self.observer.refused(oldest, "it has sent no MPEG-TS yet, and others want its place");
        }
    }

    /// It is clear what somebody sends.
    fn admit(&mut self, judged: Judged) {
        match judged {
            Judged::Refused(sender, why) => self.observer.refused(sender, &why),
            Judged::Sender(connection, bytes) => match self.has_place() {
                Err(why) => self.observer.refused(connection.sender, why),
                Ok(()) => {
                    self.part(Leaving::TakenOver(connection.sender));
                    self.observer.accepted(connection.sender);
                    self.connected = Some(connection);
                    self.take(bytes);
                }
            },
        }
    }

    /// Whether one more could be the sender.
    fn has_place(&self) -> Result<(), &'static str> {
        if !*self.accepting.borrow() {
            Err("nothing can be recorded at the moment")
        } else if self.connected.is_some() && !self.options.takeover {
            Err("another sender is connected")
        } else {
            Ok(())
        }
    }

    fn take(&mut self, bytes: Vec<u8>) {
        self.observer.received(bytes.len() as u64);
        self.owed.push_back(Chunk::Bytes(bytes));
    }

    /// The sender, if there is one, is one no longer.
    fn part(&mut self, why: Leaving) {
        if let Some(connection) = self.connected.take() {
            self.owed.push_back(Chunk::EndOfConnection);
            self.observer.left(connection.sender, &why);
        }
    }
}

fn gone<T>(_: T) -> Error {
    Error::new(Stage::Ingest, "the recorder has ended")
}

/// The next bytes of the sender, or why there will be none. Never while there is none.
async fn read(
    connected: &mut Option<Connection>,
    idle_timeout: Option<Duration>,
) -> Result<Vec<u8>, Leaving> {
    match connected {
        None => std::future::pending().await,
        Some(connection) => connection.read(idle_timeout).await,
    }
}

/// The next connection. One that was given up before it was accepted is none; when
/// descriptors run out, others have to be closed first.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(OUT_OF_DESCRIPTORS).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
