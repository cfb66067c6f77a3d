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

use crate::error::{Error, Result, Stage};
use probe::{Probe, probe};

/// Bytes read from a socket at once, at most.
const CHUNK_BYTES: usize = 64 << 10;

/// Chunks between socket and recorder: 4 MiB in all.
pub const QUEUED_CHUNKS: usize = 64;

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
/// # Errors
///
/// If the recorder has ended, which tells its own reason, or no connection can be
/// accepted any more.
pub async fn run(
    listener: TcpListener,
    recorder: mpsc::Sender<Chunk>,
    options: Options,
    observer: &mut dyn Observer,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    tokio::pin!(shutdown);
    loop {
        let (socket, sender) = tokio::select! {
            () = &mut shutdown => return Ok(()),
            accepted = accept(&listener) => accepted?,
        };
        let mut connection = Connection { socket, sender, recorder: &recorder, accepted: false };
        let ended = connection.serve(&listener, observer, &mut shutdown).await?;
        if ended == Ended::Shutdown || (options.once && connection.accepted) {
            return Ok(());
        }
    }
}

#[derive(PartialEq, Eq)]
enum Ended {
    Connection,
    Shutdown,
}

struct Connection<'a> {
    socket: TcpStream,
    sender: SocketAddr,
    recorder: &'a mpsc::Sender<Chunk>,
    accepted: bool,
}

impl Connection<'_> {
    /// Reads until the sender leaves, while others are turned away.
    async fn serve(
        &mut self,
        listener: &TcpListener,
        observer: &mut dyn Observer,
        shutdown: &mut (impl Future<Output = ()> + Unpin),
    ) -> Result<Ended> {
        keep_alive(&self.socket);
        let mut pending = Vec::new();
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        let (ended, broken) = loop {
            tokio::select! {
                () = &mut *shutdown => break (Ended::Shutdown, None),
                other = accept(listener) => {
                    let (_, other) = other?;
                    observer.refused(other, "another sender is connected");
                }
                read = self.socket.read_buf(&mut chunk) => match read {
                    Ok(0) => break (Ended::Connection, None),
                    Err(error) => break (Ended::Connection, Some(error)),
                    Ok(bytes) => {
                        observer.received(bytes as u64);
                        let bytes = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK_BYTES));
                        if self.accepted {
                            self.record(bytes).await?;
                            continue;
                        }
                        pending.extend_from_slice(&bytes);
                        match probe(&pending, false) {
                            Probe::More => {}
                            Probe::Starts(at) => {
                                self.accept(pending.split_off(at), observer).await?;
                                pending = Vec::new();
                            }
                            Probe::Not(why) => {
                                observer.refused(self.sender, why);
                                return Ok(Ended::Connection);
                            }
                        }
                    }
                },
            }
        };
        if !self.accepted && !pending.is_empty() {
            // It was shorter than the probe: judged by what came.
            match probe(&pending, true) {
                Probe::Starts(at) => self.accept(pending.split_off(at), observer).await?,
                Probe::Not(why) => observer.refused(self.sender, why),
                Probe::More => observer.refused(self.sender, "too short to be MPEG-TS"),
            }
        }
        if self.accepted {
            self.tell(Chunk::EndOfConnection).await?;
            observer.left(self.sender, broken);
        }
        Ok(ended)
    }

    async fn accept(&mut self, bytes: Vec<u8>, observer: &mut dyn Observer) -> Result<()> {
        self.accepted = true;
        observer.accepted(self.sender);
        self.record(bytes).await
    }

    async fn record(&self, bytes: Vec<u8>) -> Result<()> {
        self.tell(Chunk::Bytes(bytes)).await
    }

    async fn tell(&self, chunk: Chunk) -> Result<()> {
        let gone = |_| Error::new(Stage::Ingest, "the recorder has ended");
        self.recorder.send(chunk).await.map_err(gone)
    }
}

/// The next connection. One that was given up before it was accepted is none; when
/// descriptors run out, others have to be closed first.
async fn accept(listener: &TcpListener) -> Result<(TcpStream, SocketAddr)> {
    const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);
    loop {
        match listener.accept().await {
            Ok(accepted) => return Ok(accepted),
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
