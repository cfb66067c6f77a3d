//! Connections whose data has not been identified yet.
//!
//! A separate task probes each connection, including its TLS handshake, so that no connection waits
//! for another. At most [`MAX_CANDIDATES`] are probed at a time. A new connection evicts the oldest
//! one, so that silent connections do not block senders.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::connection::{Connection, Socket, keep_alive};
use super::probe::{ProbeOutcome, probe, refusal};
use super::tls::Tls;

/// Maximum number of connections probed at a time. Each holds up to 64 KiB of received
/// data, and with TLS about as much again.
const MAX_CANDIDATES: usize = 64;

/// Time within which a connection must send MPEG-TS.
const PROBE_TIMEOUT: Duration = Duration::from_secs(30);

/// Result of probing a connection. A connection that closes without sending a byte has no result
/// and is not logged.
pub enum ProbedConnection {
    /// The connection sends MPEG-TS. The bytes start at the first packet; the number is that of the
    /// bytes discarded before it.
    Sender(Connection, Vec<u8>, usize),
    /// The connection sends other data, or nothing within [`PROBE_TIMEOUT`]. Contains the reason.
    Refused(SocketAddr, Cow<'static, str>),
}

/// The connections being probed.
pub struct Candidates {
    tls: Option<Tls>,
    /// Oldest first.
    tasks: VecDeque<ProbeTask>,
    /// A task that waits to send its result keeps its place in `tasks`.
    result_sender: mpsc::Sender<ProbedConnection>,
    results: mpsc::Receiver<ProbedConnection>,
}

impl Candidates {
    /// Starts without connections. With `tls`, every connection must use TLS.
    pub fn new(tls: Option<Tls>) -> Self {
        let (result_sender, results) = mpsc::channel(1);
        Candidates { tls, tasks: VecDeque::new(), result_sender, results }
    }

    /// Starts to probe a connection. Returns the address of the oldest connection if that was
    /// evicted.
    pub fn add(&mut self, socket: TcpStream, sender: SocketAddr) -> Option<SocketAddr> {
        keep_alive(&socket);
        self.tasks.retain(|task| !task.handle.is_finished());
        let evicted = if self.tasks.len() < MAX_CANDIDATES { None } else { self.tasks.pop_front() };
        let (tls, result_sender) = (self.tls.clone(), self.result_sender.clone());
        let handle = tokio::spawn(async move {
            if let Some(result) = probe_connection(socket, sender, tls).await {
                // Sending only fails during shutdown, when the receiver is gone.
                let _ = result_sender.send(result).await;
            }
        });
        self.tasks.push_back(ProbeTask { sender, handle });
        evicted.map(|task| task.sender)
    }

    /// Returns the next result. Cancel safe.
    pub async fn next(&mut self) -> Option<ProbedConnection> {
        self.results.recv().await
    }
}

/// A probing task, aborted on drop.
struct ProbeTask {
    sender: SocketAddr,
    handle: JoinHandle<()>,
}

impl Drop for ProbeTask {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// Reads until the kind of data is known or the time limit has passed. Returns `None` if the
/// connection closes without sending a byte.
async fn probe_connection(
    socket: TcpStream,
    sender: SocketAddr,
    tls: Option<Tls>,
) -> Option<ProbedConnection> {
    let deadline = Instant::now() + PROBE_TIMEOUT;
    let refused = |why| Some(ProbedConnection::Refused(sender, why));
    let mut socket = match tls {
        None => Socket::Plain(socket),
        Some(tls) => match timeout_at(deadline, tls.accept(socket)).await {
            Ok(Ok(socket)) => Socket::Tls(Box::new(socket?)),
            Ok(Err(why)) => return refused(why),
            Err(_) => return refused("no TLS handshake in time".into()),
        },
    };
    let mut bytes = Vec::new();
    loop {
        let Ok(read) = timeout_at(deadline, socket.read(&mut bytes)).await else {
            return refused(match bytes.is_empty() {
                true => "nothing received in time".into(),
                false => format!("no MPEG-TS received in time: {}", refusal(&bytes)).into(),
            });
        };
        let at_end = !matches!(read, Ok(1..));
        match probe(&bytes, at_end) {
            _ if bytes.is_empty() => return None,
            ProbeOutcome::Starts(at) => {
                let connection = Connection::new(socket, sender);
                return Some(ProbedConnection::Sender(connection, bytes.split_off(at), at));
            }
            ProbeOutcome::Not(why) => return refused(why.into()),
            ProbeOutcome::More => {}
        }
    }
}
