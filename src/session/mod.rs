//! Sessions: a folder each, one after another.
//!
//! [`Session`] names the files in a session's folder, [`OwnedSession`] holds its lock, and
//! [`Series`] decides which folder a recorder uses, which is the next, and which of an earlier
//! process are still to be finished.

mod series;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use crate::disk;
use crate::error::{Context, Error, Kind, Result, Stage};

pub use series::{Opened, Series};

/// The folder of one recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    folder: PathBuf,
}

/// A session that this process records. No other process can while this value exists.
#[derive(Debug)]
pub struct OwnedSession {
    session: Session,
    /// Open for its lock, which is released with it.
    _lock: File,
}

impl std::ops::Deref for OwnedSession {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl Session {
    /// The session in `folder`, whether it is there or not.
    ///
    /// # Errors
    ///
    /// If the path cannot be made absolute.
    pub fn at(folder: &Path) -> Result<Self> {
        let folder = std::path::absolute(folder).context(Stage::Session, folder, "no such path")?;
        Ok(Session { folder })
    }

    /// Finds the session that a user means: a folder, or an id below `sessions_dir`.
    ///
    /// # Errors
    ///
    /// If there is neither.
    pub fn find(sessions_dir: &Path, name: &Path) -> Result<Self> {
        for folder in [name.to_owned(), sessions_dir.join(name)] {
            let session = Session::at(&folder)?;
            if session.recording_ts().is_file() {
                return Ok(session);
            }
        }
        let what = format!("no session of that name, nor in {}", sessions_dir.display());
        Err(Error::new(Stage::Session, what).path(name))
    }

    fn own_folder(folder: &Path) -> Result<OwnedSession> {
        let session = Session::at(folder)?;
        for folder in ["stream", "frames", "transcript", "agent"] {
            let folder = session.folder.join(folder);
            disk::create_folders(&folder).context(Stage::Session, &folder, "cannot make")?;
        }
        // What is synced in a folder is lost with the folder's own name.
        for folder in [&session.folder, session.folder.parent().unwrap_or(&session.folder)] {
            disk::sync_folder(folder).context(Stage::Session, folder, "cannot sync")?;
        }
        let path = session.lock_path();
        let lock = disk::open_lock(&path).context(Stage::Session, &path, "cannot open")?;
        match lock.try_lock() {
            Ok(()) => Ok(OwnedSession { session, _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                let what = "another scenetap records this session; choose another --session";
                Err(Error::new(Stage::Session, what).of_kind(Kind::Busy).path(&session.folder))
            }
            Err(TryLockError::Error(error)) => {
                Err(error).context(Stage::Session, &path, "cannot lock")
            }
        }
    }

    /// Whether some process records it now.
    pub fn is_recorded(&self) -> bool {
        let lock = File::open(self.lock_path());
        lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Opens it to record in it, or to mend it.
    ///
    /// # Errors
    ///
    /// If another process records it, or its folders cannot be made.
    pub fn into_owned(self) -> Result<OwnedSession> {
        Session::own_folder(&self.folder)
    }

    fn lock_path(&self) -> PathBuf {
        self.folder.join("stream/recorder.lock")
    }

    /// Its folder, absolute.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its id: the folder's name.
    pub fn id(&self) -> String {
        self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The bytes as received.
    pub fn recording_ts(&self) -> PathBuf {
        self.folder.join("stream/recording.ts")
    }

    /// How far detection has come.
    pub fn checkpoint_json(&self) -> PathBuf {
        self.folder.join("stream/checkpoint.json")
    }

    /// A synced copy of the index, from which entries come back that a power loss took.
    pub fn index_copy(&self) -> PathBuf {
        self.folder.join("stream/.index.synced")
    }

    /// The frames, and the index of them.
    pub fn frames_dir(&self) -> PathBuf {
        self.folder.join("frames")
    }
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
