//! The recorder's side: one line for each who connects.

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
use super::socket::{Found, find, name_of, session_part, sockets_in};
use crate::error::{Context, Error, Result, Stage};
use crate::runtime_folder;

/// Who are answered at the same time. Further ones wait in the system's queue.
const MAX_CLIENTS: usize = 8;

/// So long one may take to read a line: it fits the socket's buffer, so none does.
const CLIENT_TIME: Duration = Duration::from_secs(2);

/// So long a file system may take to say how much space it has.
const DISK_TIME: Duration = Duration::from_secs(1);

/// So long another recorder may take that is about to listen as well.
const LOCK_TIME: Duration = Duration::from_secs(1);
const LOCK_LOOK: Duration = Duration::from_millis(10);

/// When descriptors run out, others have to be closed first.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

/// A socket that is listened on. The file goes with it.
#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
    path: PathBuf,
    session: PathBuf,
    clients: Arc<Semaphore>,
    /// A disk that does not answer holds up one thread, however often it is asked.
    disk: Arc<Semaphore>,
}

impl Listener {
    /// Listens for who asks about the session in `session`, of which the caller holds
    /// the lock. Has to be called inside of a tokio runtime.
    ///
    /// Sockets that killed recorders have left behind are removed.
    ///
    /// # Errors
    ///
    /// If the folder for sockets cannot be made, or the socket in it.
    pub fn bind(session: &Path) -> Result<Self> {
        let folder = runtime_folder::make(Stage::Status)?;
        Self::bind_in(&folder, session)
    }

    fn bind_in(folder: &Path, session: &Path) -> Result<Self> {
        // Between bind(2) and listen(2) a socket looks like one that was left behind:
        // who removes those must not look in that moment.
        let _locked = lock(folder)?;
        remove_left_overs(folder, session)?;
        let path = runtime_folder::socket(Stage::Status, folder, &name_of(session)?)?;
        let listener = UnixListener::bind(&path).context(Stage::Status, &path, "cannot listen")?;
        Ok(Listener {
            listener,
            path,
            session: session.to_owned(),
            clients: Arc::new(Semaphore::new(MAX_CLIENTS)),
            disk: Arc::new(Semaphore::new(1)),
        })
    }

    /// Answers with what `status` says, for ever. `status` must not block; how much
    /// space is left is added to it here.
    pub async fn serve(&self, status: &(dyn Fn() -> Status + Sync)) -> Infallible {
        loop {
            // The semaphore is never closed.
            let place = Arc::clone(&self.clients).acquire_owned().await;
            let Ok((client, _)) = self.listener.accept().await else {
                sleep(OUT_OF_DESCRIPTORS).await;
                continue;
            };
            let (mut status, session) = (status(), self.session.clone());
            let disk = Arc::clone(&self.disk);
            tokio::spawn(async move {
                status.free_bytes = free_bytes(disk, session).await;
                let _ = timeout(CLIENT_TIME, answer(client, &status)).await;
                drop(place);
            });
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Who does not want the answer does not get it.
async fn answer(mut client: UnixStream, status: &Status) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(status)?;
    line.push(b'\n');
    client.write_all(&line).await?;
    client.shutdown().await
}

/// Asked on a thread of its own: a network's file system may take for ever.
async fn free_bytes(disk: Arc<Semaphore>, folder: PathBuf) -> Option<u64> {
    let asked = async {
        let place = disk.acquire_owned().await;
        let ask = move || {
            let stat = rustix::fs::statvfs(&folder);
            drop(place);
            stat.ok().map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize))
        };
        tokio::task::spawn_blocking(ask).await.ok().flatten()
    };
    timeout(DISK_TIME, asked).await.ok().flatten()
}

/// The lock of the folder itself.
fn lock(folder: &Path) -> Result<File> {
    let file = File::open(folder).context(Stage::Status, folder, "cannot open")?;
    for _ in 0..LOCK_TIME.as_millis() / LOCK_LOOK.as_millis() {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_LOOK),
            Err(TryLockError::Error(error)) => {
                return Err(error).context(Stage::Status, folder, "cannot lock");
            }
        }
    }
    Err(Error::new(Stage::Status, "another process does not let go of the folder").path(folder))
}

/// Removes what nobody listens on any more, and whatever has the session's name: its
/// lock is ours.
fn remove_left_overs(folder: &Path, session: &Path) -> Result<()> {
    let ours = session_part(session)?;
    for socket in sockets_in(folder) {
        if socket.to_string_lossy().ends_with(&ours) || matches!(find(&socket), Ok(Found::Nobody)) {
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

    /// A folder for sockets and one for a session.
    fn folders() -> (tempfile::TempDir, tempfile::TempDir) {
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap())
    }

    async fn told(path: &Path) -> Status {
        let path = path.to_owned();
        let asked = tokio::task::spawn_blocking(move || ask(&path, Duration::from_secs(60)));
        match asked.await.unwrap().unwrap() {
            Answer::Told { status, .. } => *status,
            other => unreachable!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn everyone_is_told_even_if_many_connect_and_read_nothing() {
        let (sockets, session) = folders();
        let listener = Listener::bind_in(sockets.path(), session.path()).unwrap();
        let path = listener.path.clone();
        let idle: Vec<_> = (0..3 * MAX_CLIENTS)
            .map(|_| std::os::unix::net::UnixStream::connect(&path).unwrap())
            .collect();
        let status = || Status { recorded_bytes: 188, ..Status::default() };
        tokio::select! {
            _ = listener.serve(&status) => {}
            told = told(&path) => {
                assert_eq!(told.recorded_bytes, 188);
                assert!(told.free_bytes.is_some());
            }
        }
        // They were told as well, whether they wanted it or not.
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
        let mine =
            sockets.path().join(format!("record-1{}", session_part(session.path()).unwrap()));
        drop(std::os::unix::net::UnixListener::bind(&mine).unwrap());
        let live = Listener::bind_in(sockets.path(), other.path()).unwrap();
        let listener = Listener::bind_in(sockets.path(), session.path()).unwrap();
        let mut found = sockets_in(sockets.path());
        found.sort();
        let mut expected = vec![live.path.clone(), listener.path.clone()];
        expected.sort();
        assert_eq!(found, expected);
        drop((live, listener));
        assert_eq!(sockets_in(sockets.path()), Vec::<PathBuf>::new());
    }
}
