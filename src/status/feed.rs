//! Feed of a recorder's kept frames: one line of JSON each, for clients that wait for frames.
//!
//! The feed never waits for a client: one that does not read is disconnected, and finds the missed
//! frames in the index.

use std::convert::Infallible;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::sync::broadcast::{self, Receiver, Sender};
use tokio::time::timeout;

use super::client::all_of;
use super::server::BoundSocket;
use super::socket::{SocketKind, SocketOwner, find};
use crate::error::Result;

/// Maximum number of clients at the same time. Others wait in the system's queue.
const MAX_CLIENTS: usize = 64;

/// Maximum number of frames that a client may be behind.
const MAX_BEHIND: usize = 256;

/// Write timeout for one line.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum length of a received line. Real lines are far shorter.
const LINE_MAX_BYTES: usize = 1 << 20;

/// A line of the feed: one kept frame.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct KeptFrameLine {
    /// Folder of the session, absolute.
    pub folder: String,
    /// The entry of `index.json`.
    pub frame: Value,
}

/// Sends each kept frame to all clients. Clones share the clients.
#[derive(Debug, Clone)]
pub struct FrameFeed {
    lines: Sender<Arc<str>>,
    /// `None` if the socket could not be created.
    socket: Option<Arc<BoundSocket>>,
    /// First line for each client: the session that was recorded first.
    hello: Arc<str>,
}

impl FrameFeed {
    /// Returns a feed without a socket, and thus without clients.
    pub fn without_clients() -> Self {
        FrameFeed { lines: broadcast::channel(MAX_BEHIND).0, socket: None, hello: "\n".into() }
    }

    /// Listens for clients. `session` is the session that is recorded first; the caller holds its
    /// lock. Must be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder for sockets or the socket cannot be created.
    pub fn bind(session: &Path) -> Result<Self> {
        Ok(Self::on(BoundSocket::bind(SocketKind::Frames, session)?, session))
    }

    fn on(socket: BoundSocket, session: &Path) -> Self {
        let hello = format!("{{\"folder\":{}}}\n", Value::from(session.to_string_lossy()));
        let socket = Some(Arc::new(socket));
        FrameFeed { socket, hello: hello.into(), ..Self::without_clients() }
    }

    /// Sends a frame of the session in `folder` to all clients. `entry` is its entry in JSON. Never
    /// blocks.
    pub fn send(&self, folder: &Path, entry: &str) {
        if self.lines.receiver_count() == 0 {
            return;
        }
        let folder = Value::from(folder.to_string_lossy());
        // Fails only without clients.
        let _ = self.lines.send(format!("{{\"folder\":{folder},\"frame\":{entry}}}\n").into());
    }

    /// Serves clients, forever.
    pub async fn serve(&self) -> Infallible {
        let Some(socket) = &self.socket else { return std::future::pending().await };
        let clients = Arc::new(Semaphore::new(MAX_CLIENTS));
        loop {
            // `acquire_owned` fails only if the semaphore is closed, which never happens.
            let permit = Arc::clone(&clients).acquire_owned().await;
            let client = socket.accept().await;
            let (lines, hello) = (self.lines.subscribe(), Arc::clone(&self.hello));
            tokio::spawn(async move {
                write_lines(client, hello, lines).await;
                drop(permit);
            });
        }
    }
}

/// Writes lines until the client disconnects, stops reading, or falls too far behind.
async fn write_lines(mut client: UnixStream, hello: Arc<str>, mut lines: Receiver<Arc<str>>) {
    // Confirms that every frame from here on is sent.
    let mut line = hello;
    loop {
        let written = timeout(WRITE_TIMEOUT, client.write_all(line.as_bytes())).await;
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
        let mut byte = [0];
        tokio::select! {
            received = lines.recv() => match received {
                Ok(received) => line = received,
                Err(_) => return,
            },
            // Clients send nothing: the client has disconnected.
            _ = client.read(&mut byte) => return,
        }
    }
}

/// Reads the feeds of all recorders of this user: after a rotation, the name of a socket no longer
/// shows which recorder has a session.
#[derive(Debug, Default)]
pub struct FeedReader {
    feeds: Vec<Feed>,
}

#[derive(Debug)]
struct Feed {
    path: PathBuf,
    stream: BlockingStream,
    /// The incomplete last line.
    buffer: Vec<u8>,
    /// Folder of the session that was recorded first, once the recorder has confirmed that every
    /// frame is sent.
    covers: Option<PathBuf>,
}

/// First line of a feed.
#[derive(Debug, Deserialize)]
struct Hello {
    folder: PathBuf,
}

impl FeedReader {
    /// Connects to the recorders that are not connected yet.
    pub fn connect(&mut self) {
        for path in all_of(SocketKind::Frames) {
            if self.feeds.iter().any(|feed| feed.path == path) {
                continue;
            }
            if let Ok(SocketOwner::Connected(stream)) = find(&path) {
                self.feeds.push(Feed { path, stream, buffer: Vec::new(), covers: None });
            }
        }
    }

    /// Returns whether a recorder sends each frame, and its first session satisfies `is_ours`.
    pub fn covers(&self, is_ours: &dyn Fn(&Path) -> bool) -> bool {
        self.feeds.iter().filter_map(|feed| feed.covers.as_deref()).any(is_ours)
    }

    /// Returns the descriptors to wait on.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.feeds.iter().map(|feed| feed.stream.as_fd())
    }

    /// Returns the frames received so far, without waiting. Calls `missed` when a feed begins or
    /// ends: frames may be missing, which only the index lists.
    pub fn read(&mut self, missed: &mut dyn FnMut()) -> Vec<KeptFrameLine> {
        let mut lines = Vec::new();
        self.feeds.retain_mut(|feed| {
            let is_open = feed.read();
            while let Some(end) = memchr::memchr(b'\n', &feed.buffer) {
                let line: Vec<u8> = feed.buffer.drain(..=end).collect();
                match serde_json::from_slice(&line) {
                    Ok(line) => lines.push(line),
                    Err(_) => {
                        let hello = serde_json::from_slice::<Hello>(&line);
                        feed.covers = hello.ok().map(|hello| hello.folder);
                        missed();
                    }
                }
            }
            if !is_open || feed.buffer.len() > LINE_MAX_BYTES {
                missed();
                return false;
            }
            true
        });
        lines
    }
}

impl Feed {
    /// Receives bytes. Returns false at the end of the feed.
    fn read(&mut self) -> bool {
        let mut piece = [0; 1 << 14];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return false,
                Ok(count) => self.buffer.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
            if self.buffer.len() > LINE_MAX_BYTES {
                return true;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::status::server::BoundSocket;

    /// Returns the result of the next read that is not empty.
    fn next(reader: &mut FeedReader) -> (Vec<KeptFrameLine>, usize) {
        let mut missed = 0;
        loop {
            let lines = reader.read(&mut || missed += 1);
            if missed > 0 || !lines.is_empty() {
                return (lines, missed);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_client_is_told_of_each_frame_and_of_what_it_may_have_missed() {
        let (sockets, session) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let feed = {
            let _inside = runtime.enter();
            let kind = SocketKind::Frames;
            let socket = BoundSocket::bind_in(kind, sockets.path(), session.path()).unwrap();
            FrameFeed::on(socket, session.path())
        };
        let path = feed.socket.as_ref().unwrap().path.clone();
        let serving = runtime.spawn({
            let feed = feed.clone();
            async move { feed.serve().await }
        });
        feed.send(session.path(), "{\"id\":\"F0001\"}");
        let Ok(SocketOwner::Connected(stream)) = find(&path) else { unreachable!() };
        let mut reader =
            FeedReader { feeds: vec![Feed { path, stream, buffer: Vec::new(), covers: None }] };
        assert!(!reader.covers(&|_| true), "not yet");
        assert_eq!(next(&mut reader), (Vec::new(), 1), "what was before");
        assert!(reader.covers(&|folder| folder == session.path()));
        feed.send(session.path(), "{\"id\":\"F0002\"}");
        let (lines, missed) = next(&mut reader);
        assert_eq!((lines[0].frame["id"].as_str(), missed), (Some("F0002"), 0));
        assert_eq!(Path::new(&lines[0].folder), session.path());
        // A client that does not read is disconnected; the feed continues.
        for n in 0..10_000 {
            feed.send(session.path(), &format!("{{\"id\":{n},\"fill\":\"{}\"}}", "x".repeat(900)));
        }
        while !reader.feeds.is_empty() {
            reader.read(&mut || ());
        }
        serving.abort();
    }
}
