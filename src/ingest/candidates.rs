//! Who has connected and not shown yet what it sends.
//!
//! Each is judged by a task of its own, its TLS handshake included, so that nobody
//! waits for anybody else. There are [`MAX_CANDIDATES`] at most; the one that has
//! said nothing for longest makes way, so that those who stay silent keep nobody out.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::connection::{Connection, Socket, keep_alive};
use super::probe::{Probe, probe};
use super::tls::Tls;

/// How many are judged at a time, at most: each holds up to 64 KiB of what came, and
/// with TLS about as much again.
const MAX_CANDIDATES: usize = 64;

/// After so long they have to have shown what they send.
const JUDGING_TIME: Duration = Duration::from_secs(30);

/// What became of a connection before it counted. One that was closed without a
/// word is nobody, and not told of.
pub enum Judged {
    /// It sends MPEG-TS; these bytes came with it, from the first packet on.
    Sender(Connection, Vec<u8>),
    /// It sent something else.
    Refused(SocketAddr, Cow<'static, str>),
}

/// Those that are judged.
pub struct Candidates {
    tls: Option<Tls>,
    /// The oldest first.
    tasks: VecDeque<Task>,
    /// A task that cannot tell its verdict yet keeps its place.
    tell: mpsc::Sender<Judged>,
    judged: mpsc::Receiver<Judged>,
}

impl Candidates {
    /// Nobody yet. With `tls` whoever comes has to speak it.
    pub fn new(tls: Option<Tls>) -> Self {
        let (tell, judged) = mpsc::channel(1);
        Candidates { tls, tasks: VecDeque::new(), tell, judged }
    }

    /// Judges one more. Gives the one that had to make way, if there was no place.
    pub fn add(&mut self, socket: TcpStream, sender: SocketAddr) -> Option<SocketAddr> {
        keep_alive(&socket);
        self.tasks.retain(|task| !task.handle.is_finished());
        let gone = if self.tasks.len() < MAX_CANDIDATES { None } else { self.tasks.pop_front() };
        let (tls, tell) = (self.tls.clone(), self.tell.clone());
        let handle = tokio::spawn(async move {
            let judging = judge(socket, sender, tls);
            let slow =
                || Some(Judged::Refused(sender, "it has sent no MPEG-TS for too long".into()));
            let judged = tokio::time::timeout(JUDGING_TIME, judging).await;
            if let Some(judged) = judged.unwrap_or_else(|_| slow()) {
                // Nobody listens: all is over.
                let _ = tell.send(judged).await;
            }
        });
        self.tasks.push_back(Task { sender, handle });
        gone.map(|task| task.sender)
    }

    /// The next of whom it is clear what it sends. Can be dropped and awaited again.
    pub async fn next(&mut self) -> Option<Judged> {
        self.judged.recv().await
    }
}

/// Ends when it is dropped.
struct Task {
    sender: SocketAddr,
    handle: JoinHandle<()>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// Reads until it is clear what somebody sends; `None` if it sends nothing.
async fn judge(socket: TcpStream, sender: SocketAddr, tls: Option<Tls>) -> Option<Judged> {
    let mut socket = match tls {
        None => Socket::Plain(socket),
        Some(tls) => match tls.accept(socket).await {
            Ok(socket) => Socket::Tls(Box::new(socket?)),
            Err(why) => return Some(Judged::Refused(sender, why)),
        },
    };
    let mut bytes = Vec::new();
    loop {
        let over = !matches!(socket.read(&mut bytes).await, Ok(1..));
        match probe(&bytes, over) {
            _ if bytes.is_empty() => return None,
            Probe::Starts(at) => {
                let connection = Connection::new(socket, sender);
                return Some(Judged::Sender(connection, bytes.split_off(at)));
            }
            Probe::Not(why) => return Some(Judged::Refused(sender, why.into())),
            Probe::More => {}
        }
    }
}
