//! The recorder's side: writes one line to each client.

use std::convert::Infallible;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::Status;
use super::socket::{SocketKind, SocketOwner, find, name_of, session_part, sockets_in};
use crate::error::{Context, Error, Result, Stage};
use crate::host::runtime_folder;

/// Maximum number of clients served at the same time. Others wait in the system's queue.
const MAX_CLIENTS: usize = 8;

/// Write timeout for one client. The line fits into the socket's buffer, so the timeout is not
/// expected to expire.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum time to wait for a file system to report its free space.
const DISK_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum time to wait for another recorder that is creating its socket.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// Pause before accepting again when no file descriptor is free.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// A listening socket. Dropping it removes its file.
#[derive(Debug)]
pub(super) struct BoundSocket {
    pub(super) listener: UnixListener,
    pub(super) path: PathBuf,
}

impl BoundSocket {
    /// Listens in the folder for sockets. Must be called inside a tokio runtime.
    pub(super) fn bind(kind: SocketKind, session: &Path) -> Result<Self> {
        let folder = runtime_folder::make(Stage::Status)?;
        Self::bind_in(kind, &folder, session)
    }

    pub(super) fn bind_in(kind: SocketKind, folder: &Path, session: &Path) -> Result<Self> {
        // Between bind(2) and listen(2), a socket looks like a left-over one. The lock prevents
        // other recorders from removing it in that moment.
        let _locked = lock(folder)?;
        remove_left_overs(kind, folder, session)?;
        let path = runtime_folder::socket(Stage::Status, folder, &name_of(kind, session)?)?;
        let listener = UnixListener::bind(&path).context(Stage::Status, &path, "cannot listen")?;
        Ok(BoundSocket { listener, path })
    }

    /// Waits for the next client.
    pub(super) async fn accept(&self) -> UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((client, _)) => return client,
                Err(_) => sleep(ACCEPT_RETRY_INTERVAL).await,
            }
        }
    }
}

impl Drop for BoundSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Answers clients that query the status.
#[derive(Debug)]
pub struct Listener {
    socket: BoundSocket,
    clients: Arc<Semaphore>,
    /// Limits the threads that wait for a hanging disk to one, however often clients query.
    disk: Arc<Semaphore>,
}

impl Listener {
    /// Listens for clients that query the session in `session`, whose lock the caller holds. Must
    /// be called inside a tokio runtime.
    ///
    /// Removes sockets left behind by killed recorders.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder for sockets or the socket cannot be created.
    pub fn bind(session: &Path) -> Result<Self> {
        Ok(Self::on(BoundSocket::bind(SocketKind::Status, session)?))
    }

    fn on(socket: BoundSocket) -> Self {
        Listener {
            socket,
            clients: Arc::new(Semaphore::new(MAX_CLIENTS)),
            disk: Arc::new(Semaphore::new(1)),
        }
    }

    /// Answers each client with `status` and the free space, forever. `status` must not
    /// block.
    pub async fn serve(&self, status: &(dyn Fn() -> Status + Sync)) -> Infallible {
        loop {
            // `acquire_owned` fails only if the semaphore is closed, which never happens.
            let permit = Arc::clone(&self.clients).acquire_owned().await;
            let client = self.socket.accept().await;
            let mut status = status();
            // The current session: after a rotation, it may be on another disk.
            let session = PathBuf::from(&status.folder);
            let disk = Arc::clone(&self.disk);
            tokio::spawn(async move {
                status.free_bytes = free_bytes(disk, session).await;
                let _ = timeout(WRITE_TIMEOUT, answer(client, &status)).await;
                drop(permit);
            });
        }
    }
}

/// Writes the status to a client. Errors affect only the client and are ignored.
async fn answer(mut client: UnixStream, status: &Status) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(status)?;
    line.push(b'\n');
    client.write_all(&line).await?;
    client.shutdown().await
}

/// Queries the free space on a blocking thread, since a network file system may hang.
async fn free_bytes(disk: Arc<Semaphore>, folder: PathBuf) -> Option<u64> {
    let query = async {
        let permit = disk.acquire_owned().await;
        let query = move || {
            let stat = rustix::fs::statvfs(&folder);
            drop(permit);
            stat.ok().map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize))
        };
        tokio::task::spawn_blocking(query).await.ok().flatten()
    };
    timeout(DISK_TIMEOUT, query).await.ok().flatten()
}

/// Locks the folder itself.
fn lock(folder: &Path) -> Result<File> {
    let file = File::open(folder).context(Stage::Status, folder, "cannot open")?;
    for _ in 0..LOCK_TIMEOUT.as_millis() / LOCK_RETRY_INTERVAL.as_millis() {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_RETRY_INTERVAL),
            Err(TryLockError::Error(error)) => {
                return Err(error).context(Stage::Status, folder, "cannot lock");
            }
        }
    }
    Err(Error::new(Stage::Status, "another process keeps the folder locked").path(folder))
}

/// Removes sockets on which no process listens, and all sockets of this session: this
/// process holds the session's lock, so no other recorder uses them.
fn remove_left_overs(kind: SocketKind, folder: &Path, session: &Path) -> Result<()> {
    let ours = session_part(session)?;
    for socket in sockets_in(kind, folder) {
        if socket.to_string_lossy().ends_with(&ours)
            || matches!(find(&socket), Ok(SocketOwner::NotListening))
        {
            let _ = fs::remove_file(&socket);
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::status::{Answer, ask};

    /// Returns a folder for sockets and one for a session.
    fn folders() -> (tempfile::TempDir, tempfile::TempDir) {
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap())
    }

    fn listen(folder: &Path, session: &Path) -> Listener {
        Listener::on(BoundSocket::bind_in(SocketKind::Status, folder, session).unwrap())
    }

    async fn query(path: &Path) -> Status {
        let path = path.to_owned();
        let answer = tokio::task::spawn_blocking(move || ask(&path, Duration::from_secs(60)));
        match answer.await.unwrap().unwrap() {
            Answer::Answered { status, .. } => *status,
            other => unreachable!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn everyone_is_told_even_if_many_connect_and_read_nothing() {
        let (sockets, session) = folders();
        let listener = listen(sockets.path(), session.path());
        let path = listener.socket.path.clone();
        let idle: Vec<_> = (0..3 * MAX_CLIENTS)
            .map(|_| std::os::unix::net::UnixStream::connect(&path).unwrap())
            .collect();
        let folder = session.path().to_string_lossy().into_owned();
        let status = || Status { recorded_bytes: 188, folder: folder.clone(), ..Status::default() };
        tokio::select! {
            _ = listener.serve(&status) => {}
            answer = query(&path) => {
                assert_eq!(answer.recorded_bytes, 188);
                assert!(answer.free_bytes.is_some());
            }
        }
        // These clients were answered as well, whether they read the answer or not.
        let mut line = String::new();
        idle.first().unwrap().read_to_string(&mut line).unwrap();
        assert!(line.ends_with("}\n"), "{line}");
    }

    #[tokio::test]
    async fn what_a_killed_recorder_left_is_removed_and_what_others_have_is_not() {
        let (sockets, session) = folders();
        let other = tempfile::tempdir().unwrap();
        let stale = sockets.path().join("record-1-0000000000000000.sock");
        drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
        let own = sockets.path().join(format!("record-1{}", session_part(session.path()).unwrap()));
        drop(std::os::unix::net::UnixListener::bind(&own).unwrap());
        let live = listen(sockets.path(), other.path());
        let listener = listen(sockets.path(), session.path());
        let mut found = sockets_in(SocketKind::Status, sockets.path());
        found.sort();
        let mut expected = vec![live.socket.path.clone(), listener.socket.path.clone()];
        expected.sort();
        assert_eq!(found, expected);
        drop((live, listener));
        assert_eq!(sockets_in(SocketKind::Status, sockets.path()), Vec::<PathBuf>::new());
    }
}
