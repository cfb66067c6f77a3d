//! The folder of a session: the paths of its files, and its lock.
//!
//! ```text
//! names      names of sessions and series
//! series     which session a recorder opens, and which are unfinished
//! stored     the sessions in a folder
//! deletable  which files may be deleted, and what protects them
//! state      `state.json`
//! ```

mod deletable;
mod names;
mod series;
mod state;
mod stored;

use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::disk;
use crate::error::{Context, Error, Kind, Result, Stage};

pub use deletable::{Deletable, OpenedBy, Protection};
pub use names::SeriesName;
pub use series::{OpenedSessions, Series};
pub use state::{LastPicture, STATE_NAME, SenderState, SessionState};
pub use stored::{StoredRecording, StoredSession, series_of, stored_sessions, successor};

/// The folders in a session's folder.
const PARTS: [&str; 4] = ["stream", "frames", "transcript", "agent"];

/// Time to wait for the lock of a session: a process that looks for old sessions to delete holds it
/// for less.
const BRIEF: Duration = Duration::from_millis(500);

/// Interval at which a held lock is tried again.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// The folder of one recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    folder: PathBuf,
}

/// A session that this process has locked. No other process can record it meanwhile.
#[derive(Debug)]
pub struct OwnedSession {
    session: Session,
    marks: Arc<Marks>,
    /// Keeps the lock, which is released on drop.
    _lock: File,
}

impl std::ops::Deref for OwnedSession {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

/// State of a session that the threads of this process share. It outlives the lock.
#[derive(Debug, Default)]
pub struct Marks {
    is_deleted: AtomicBool,
    is_detected: AtomicBool,
    read_bytes: AtomicU64,
    last_picture: Mutex<Option<(u64, i64)>>,
}

impl Marks {
    /// Marks the recording as deleted: its detection ends.
    pub fn set_deleted(&self) {
        self.is_deleted.store(true, Relaxed);
    }

    /// Returns whether the recording was deleted while detection had not finished.
    pub fn is_deleted(&self) -> bool {
        self.is_deleted.load(Relaxed)
    }

    /// Marks detection as complete: it has reached the end of the recording, with or without
    /// pictures.
    pub fn set_detected(&self) {
        self.is_detected.store(true, Relaxed);
    }

    /// Sets the number of bytes of the recording that detection has read.
    pub fn set_read_bytes(&self, bytes: u64) {
        self.read_bytes.store(bytes, Relaxed);
    }

    /// Returns the number of bytes of the recording that detection has read.
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Relaxed)
    }

    /// Sets byte offset and time, in 90 kHz ticks, of the last picture with a verdict.
    pub fn set_last_picture(&self, at: u64, ticks: i64) {
        *self.last_picture.lock().unwrap_or_else(PoisonError::into_inner) = Some((at, ticks));
    }

    /// Returns byte offset and time, in 90 kHz ticks, of the last picture with a verdict.
    pub fn last_picture(&self) -> Option<(u64, i64)> {
        *self.last_picture.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether detection has reached the end of the recording.
    pub fn is_detected(&self) -> bool {
        self.is_detected.load(Relaxed)
    }
}

impl OwnedSession {
    /// Removes the empty folders of a session that could not be recorded.
    pub fn remove_unused(self) {
        let removed = || -> std::io::Result<()> {
            let folder = disk::Folder::open(&self.session.folder)?;
            if folder.folder("stream".as_ref())?.names()? == ["recorder.lock"] {
                disk::remove(&self.session.lock_path())?;
            }
            remove_empty_folders(&self.session)
        };
        if let Err(error) = removed() {
            tracing::debug!("{}: cannot remove it: {error}", self.session.folder.display());
        }
    }

    /// Returns the marks of the session.
    pub fn marks(&self) -> &Arc<Marks> {
        &self.marks
    }
}

impl Session {
    /// Returns the session in `folder`, whether it exists or not.
    ///
    /// # Errors
    ///
    /// Returns an error if the path cannot be made absolute.
    pub fn at(folder: &Path) -> Result<Self> {
        let folder = std::path::absolute(folder).context(Stage::Session, folder, "no such path")?;
        Ok(Session { folder })
    }

    /// Returns the session whose recording is at `path`. `None` if `path` is not the recording of a
    /// session.
    ///
    /// # Errors
    ///
    /// Returns an error if the path cannot be made absolute.
    pub fn of_recording(path: &Path) -> Result<Option<Self>> {
        let path = std::path::absolute(path).context(Stage::Session, path, "no such path")?;
        let Some(folder) = path.parent().and_then(Path::parent) else { return Ok(None) };
        let session = Session { folder: folder.to_owned() };
        Ok((session.recording_ts() == path && session.lock_path().exists()).then_some(session))
    }

    /// Finds a session by its folder, or by its name in `sessions_dir`.
    ///
    /// # Errors
    ///
    /// Returns an error if neither has a recording.
    pub fn find(sessions_dir: &Path, name: &Path) -> Result<Self> {
        let session = Session::find_stored(sessions_dir, name)?;
        if session.recording_ts().is_file() {
            return Ok(session);
        }
        let what = "its recording was deleted; its index and frames are as they were";
        Err(Error::new(Stage::Session, what).of_kind(Kind::Gone).path(session.folder))
    }

    /// Finds a session like [`Session::find`], even if its recording was deleted.
    ///
    /// # Errors
    ///
    /// Returns an error if neither `name` nor `sessions_dir/name` is a session.
    pub fn find_stored(sessions_dir: &Path, name: &Path) -> Result<Self> {
        for folder in [name.to_owned(), sessions_dir.join(name)] {
            let session = Session::at(&folder)?;
            if session.recording_ts().is_file() || session.has_lost_its_recording() {
                return Ok(session);
            }
        }
        let what = format!("no session of that name, nor in {}", sessions_dir.display());
        Err(Error::new(Stage::Session, what).path(name))
    }

    /// Returns whether the session was recorded and its recording is missing: the index, its synced
    /// copy and the checkpoint are written only after the recording exists.
    fn has_lost_its_recording(&self) -> bool {
        let written_later =
            [self.frames_dir().join("index.json"), self.index_copy(), self.checkpoint_json()];
        !self.recording_ts().exists() && written_later.iter().any(|path| path.exists())
    }

    /// Creates the folders of the session in `folder`, and locks the session.
    ///
    /// # Errors
    ///
    /// Returns an error if the folders cannot be created. Its kind is [`Kind::Busy`] if another
    /// process is recording the session.
    fn own_folder(folder: &Path) -> Result<OwnedSession> {
        let session = Session::at(folder)?;
        for folder in PARTS {
            let folder = session.folder.join(folder);
            disk::create_folders(&folder).context(Stage::Session, &folder, "cannot create")?;
        }
        // Files synced in a folder are lost if the folder's own name is not durable.
        for folder in [&session.folder, session.folder.parent().unwrap_or(&session.folder)] {
            disk::sync_folder(folder).context(Stage::Session, folder, "cannot sync")?;
        }
        let path = session.lock_path();
        let start = Instant::now();
        loop {
            let lock = disk::open_lock(&path).context(Stage::Session, &path, "cannot open")?;
            match lock.try_lock() {
                // A process that deletes old sessions may have removed the file after it was
                // opened.
                Ok(()) if is_same_file(&lock, &path) => {
                    return Ok(OwnedSession { session, marks: Arc::default(), _lock: lock });
                }
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if start.elapsed() < BRIEF => {
                    std::thread::sleep(LOOK_INTERVAL);
                }
                Err(TryLockError::WouldBlock) => {
                    let what =
                        "another scenetap is recording this session; choose another --session";
                    let error = Error::new(Stage::Session, what).of_kind(Kind::Busy);
                    return Err(error.path(&session.folder));
                }
                Err(TryLockError::Error(error)) => {
                    return Err(error).context(Stage::Session, &path, "cannot lock");
                }
            }
        }
    }

    /// Returns whether a process is recording the session.
    pub fn is_recorded(&self) -> bool {
        let lock = File::open(self.lock_path());
        lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Locks the session, to record or repair it.
    ///
    /// # Errors
    ///
    /// Returns an error if another process is recording it, or its folders cannot be
    /// created.
    pub fn into_owned(self) -> Result<OwnedSession> {
        Session::own_folder(&self.folder)
    }

    fn lock_path(&self) -> PathBuf {
        self.folder.join("stream/recorder.lock")
    }

    /// Returns the absolute path of the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the id of the session: the name of its folder.
    pub fn id(&self) -> String {
        self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Returns the path of the recording.
    pub fn recording_ts(&self) -> PathBuf {
        self.folder.join("stream/recording.ts")
    }

    /// Returns the path of the checkpoint.
    pub fn checkpoint_json(&self) -> PathBuf {
        self.folder.join("stream/checkpoint.json")
    }

    /// Returns the path of the index of key frames.
    pub fn keyframes_idx(&self) -> PathBuf {
        self.folder.join("stream/keyframes.idx")
    }

    /// Returns the path of the synced copy of the index, from which entries are restored
    /// after a power loss.
    pub fn index_copy(&self) -> PathBuf {
        self.folder.join("stream/.index.synced")
    }

    /// Returns the folder of the frames and the index.
    pub fn frames_dir(&self) -> PathBuf {
        self.folder.join("frames")
    }
}

/// Removes the folders of a session if they are empty.
fn remove_empty_folders(session: &Session) -> std::io::Result<()> {
    let parent = session.folder.parent().unwrap_or(&session.folder);
    let (parent, name) =
        (disk::Folder::open(parent)?, session.folder.file_name().unwrap_or_default());
    let folder = parent.folder(name)?;
    for part in PARTS {
        folder.remove_empty(part.as_ref())?;
    }
    parent.remove_empty(name).map(drop)
}

/// Returns whether an open file is the one at `path`.
fn is_same_file(file: &File, path: &Path) -> bool {
    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let found = std::fs::symlink_metadata(path).map(identity).ok();
    found.is_some() && file.metadata().map(identity).ok() == found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    fn own(folder: &Path, id: &str) -> Result<OwnedSession> {
        Session::own_folder(&folder.join(id))
    }

    #[test]
    fn a_session_has_all_its_folders_and_goes_on_when_named_again() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let session = own(folder.path(), "a").unwrap();
            for part in ["stream", "frames", "transcript", "agent"] {
                assert!(session.folder().join(part).is_dir());
            }
        }
    }

    #[test]
    fn a_second_recorder_on_a_session_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = own(folder.path(), "a").unwrap();
        let error = own(folder.path(), "a").unwrap_err();
        assert!(error.to_string().contains("another scenetap"), "{error}");
        assert_eq!(error.kind(), Kind::Busy);
        drop(first);
        assert!(own(folder.path(), "a").is_ok());
    }

    #[test]
    fn a_session_is_found_by_its_folder_or_its_id() {
        let folder = tempfile::tempdir().unwrap();
        let session = own(folder.path(), "a").unwrap();
        fs::write(session.recording_ts(), []).unwrap();
        assert_eq!(Session::find(folder.path(), Path::new("a")).unwrap().id(), "a");
        assert!(Session::find(Path::new("/"), session.folder()).is_ok());
        assert!(Session::find(folder.path(), Path::new("b")).is_err());
    }
}
