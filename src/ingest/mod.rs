//! The TCP side: one sender at a time, its bytes to the recorder as they come.
//!
//! The socket never waits for detection, only for the disk: between it and the
//! recorder stand [`QUEUED_CHUNKS`] chunks, and when they are full the sender's
//! TCP window closes.

mod probe;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

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
    /// It has left, or its connection broke.
    fn left(&mut self, sender: SocketAddr, broken: Option<std::io::Error>);
    /// Somebody was turned away before a byte of theirs was recorded.
    fn refused(&mut self, sender: SocketAddr, why: &str);
}

/// How to listen.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// End when a sender that was accepted leaves.
    pub once: bool,
}

/// Accepts senders, one at a time, until `shutdown` or, with `once`, until one has
/// left. What was received by then is in `recorder`.
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
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    tokio::pin!(shutdown);
    let mut candidates = JoinSet::new();
    let mut connected: Option<Connection> = None;
    loop {
        let read = tokio::select! {
            // In this order: a sender that has left and comes back is not refused for
            // its own old connection, of which the end has not been read yet.
            biased;
            () = &mut shutdown => break,
            read = read(&mut connected) => read,
            (socket, sender) = accept(&listener) => {
                if connected.is_some() {
                    observer.refused(sender, "another sender is connected");
                } else if candidates.len() == MAX_CANDIDATES {
                    observer.refused(sender, "too many connections that send nothing");
                } else {
                    keep_alive(&socket);
                    candidates.spawn(judge(socket, sender));
                }
                continue;
            }
            Some(judged) = candidates.join_next() => {
                match judged.unwrap_or(Judged::Nobody) {
                    Judged::Nobody => {}
                    Judged::Refused(sender, why) => observer.refused(sender, why),
                    Judged::Sender(connection, _) if connected.is_some() => {
                        observer.refused(connection.sender, "another sender is connected");
                    }
                    Judged::Sender(connection, bytes) => {
                        observer.accepted(connection.sender);
                        observer.received(bytes.len() as u64);
                        connected = Some(connection);
                        tell(&recorder, Chunk::Bytes(bytes)).await?;
                    }
                }
                continue;
            }
        };
        match read {
            Ok(bytes) if !bytes.is_empty() => {
                observer.received(bytes.len() as u64);
                tell(&recorder, Chunk::Bytes(bytes)).await?;
            }
            over => {
                tell(&recorder, Chunk::EndOfConnection).await?;
                if let Some(connection) = connected.take() {
                    observer.left(connection.sender, over.err());
                }
                if options.once {
                    return Ok(());
                }
            }
        }
    }
    if let Some(connection) = connected {
        tell(&recorder, Chunk::EndOfConnection).await?;
        observer.left(connection.sender, None);
    }
    Ok(())
}

struct Connection {
    socket: TcpStream,
    sender: SocketAddr,
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
    let mut connection = Connection { socket, sender };
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

/// The next bytes of the sender, none when it has left. Never while there is none.
async fn read(connected: &mut Option<Connection>) -> std::io::Result<Vec<u8>> {
    let Some(connection) = connected else { return std::future::pending().await };
    let mut bytes = Vec::with_capacity(CHUNK_BYTES);
    connection.socket.read_buf(&mut bytes).await?;
    Ok(bytes)
}

async fn tell(recorder: &mpsc::Sender<Chunk>, chunk: Chunk) -> Result<()> {
    let gone = |_| Error::new(Stage::Ingest, "the recorder has ended");
    recorder.send(chunk).await.map_err(gone)
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
