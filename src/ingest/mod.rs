//! The TCP side: one sender at a time, its bytes to the recorder as they come.
//!
//! The socket never waits for detection, only for the disk: between it and the
//! recorder stand [`QUEUED_CHUNKS`] chunks, and when they are full the sender's
//! TCP window closes.

mod probe;

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, Result, Stage};
use probe::{Probe, probe};

/// Bytes read from a socket at once, at most.
const CHUNK_BYTES: usize = 64 << 10;

/// Chunks between socket and recorder: 4 MiB in all.
pub const QUEUED_CHUNKS: usize = 64;

/// Connections that have not shown yet what they send, at most.
const MAX_CANDIDATES: usize = 64;

/// After so long they have to.
const JUDGING_TIME: Duration = Duration::from_secs(30);

/// A host that is gone without a word is noticed after about so long.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

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
    let desk = Desk {
        options,
        observer,
        accepting,
        candidates: JoinSet::new(),
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
    candidates: JoinSet<Judged>,
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
                (socket, sender) = accept(listener) => self.look_at(socket, sender),
                Some(judged) = self.candidates.join_next(), if is_idle => {
                    self.admit(judged.unwrap_or(Judged::Nobody));
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
        } else if self.candidates.len() == MAX_CANDIDATES {
            self.observer.refused(sender, "too many connections that send nothing");
        } else {
            keep_alive(&socket);
            self.candidates.spawn(judge(socket, sender));
        }
    }

    /// It is clear what somebody sends.
    fn admit(&mut self, judged: Judged) {
        match judged {
            Judged::Nobody => {}
            Judged::Refused(sender, why) => self.observer.refused(sender, why),
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

struct Connection {
    socket: TcpStream,
    sender: SocketAddr,
    /// When bytes last came.
    heard: Instant,
}

/// What became of a connection before it counted.
enum Judged {
    /// It sends MPEG-TS; these bytes came with it, from the first packet on.
    Sender(Connection, Vec<u8>),
    /// It sent something else.
    Refused(SocketAddr, &'static str),
    /// It sent nothing.
    Nobody,
}

/// Reads until it is clear what somebody sends.
async fn judge(socket: TcpStream, sender: SocketAddr) -> Judged {
    let mut connection = Connection { socket, sender, heard: Instant::now() };
    let mut bytes = Vec::new();
    let judged = tokio::time::timeout(JUDGING_TIME, async {
        loop {
            let over = !matches!(connection.socket.read_buf(&mut bytes).await, Ok(1..));
            match probe(&bytes, over) {
                _ if bytes.is_empty() => return Judged::Nobody,
                Probe::Starts(at) => return Judged::Sender(connection, bytes.split_off(at)),
                Probe::Not(why) => return Judged::Refused(sender, why),
                Probe::More => {}
            }
        }
    });
    judged.await.unwrap_or(Judged::Refused(sender, "it has sent no MPEG-TS for too long"))
}

/// The next bytes of the sender, or why there will be none. Never while there is none.
async fn read(
    connected: &mut Option<Connection>,
    idle_timeout: Option<Duration>,
) -> Result<Vec<u8>, Leaving> {
    let Some(connection) = connected else { return std::future::pending().await };
    let mut bytes = Vec::with_capacity(CHUNK_BYTES);
    let reading = connection.socket.read_buf(&mut bytes);
    let read = match idle_timeout {
        None => reading.await,
        // By the clock of the connection: this future is made anew at every event.
        Some(limit) => timeout_at(connection.heard + limit, reading)
            .await
            .map_err(|_| Leaving::Silent(limit))?,
    };
    match read {
        Ok(0) => Err(Leaving::Left),
        Ok(_) => {
            connection.heard = Instant::now();
            Ok(bytes)
        }
        Err(error) => Err(Leaving::Broke(error)),
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

/// Without it a sender that lost its power would block the port for ever.
fn keep_alive(socket: &TcpStream) {
    use rustix::net::sockopt;
    let set = sockopt::set_socket_keepalive(socket, true)
        .and_then(|()| sockopt::set_tcp_keepidle(socket, KEEPALIVE_IDLE))
        .and_then(|()| sockopt::set_tcp_keepintvl(socket, KEEPALIVE_IDLE / 3));
    if let Err(error) = set {
        tracing::debug!(%error, "no TCP keepalive");
    }
}

#[cfg(test)]
mod tests;
