//! A session's folder: it names the files in it, and holds its lock.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Zoned;

use crate::disk;
use crate::error::{Context, Error, Result, Stage};

/// The folder of one recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    folder: PathBuf,
}

/// A session that this process records. Nobody else can while it lives.
#[derive(Debug)]
pub struct OwnedSession {
    session: Session,
    /// Held for its lock, which goes with it.
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

    /// Opens the session `id` below `sessions_dir`, to record in it. An id that is
    /// not given is made of the time `now`, and never one that is there already.
    ///
    /// # Errors
    ///
    /// If the folders cannot be made, or another process records the session.
    pub fn own(sessions_dir: &Path, id: Option<&str>, now: &Zoned) -> Result<OwnedSession> {
        disk::create_folders(sessions_dir).context(Stage::Session, sessions_dir, "cannot make")?;
        let folder = match id {
            Some(id) => sessions_dir.join(id),
            None => new_folder(sessions_dir, &time_id(now), 1)?,
        };
        Session::own_folder(&folder)
    }

    /// Opens the session that follows when a recorder goes on in a new one: `id_2`,
    /// `id_3` …, the first that is not there, or where no `id` was given one of the time `now`.
    ///
    /// # Errors
    ///
    /// As [`Session::own`].
    pub fn own_next(sessions_dir: &Path, id: Option<&str>, now: &Zoned) -> Result<OwnedSession> {
        disk::create_folders(sessions_dir).context(Stage::Session, sessions_dir, "cannot make")?;
        let folder = match id {
            Some(id) => new_folder(sessions_dir, id, 2)?,
            None => new_folder(sessions_dir, &time_id(now), 1)?,
        };
        Session::own_folder(&folder)
    }

    /// The sessions `id`, `id_2` … that follow one another and are there.
    pub fn series(sessions_dir: &Path, id: &str) -> Vec<String> {
        let names = (1..).map(|number| numbered(id, number));
        names.take_while(|name| sessions_dir.join(name).is_dir()).collect()
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
                Err(Error::new(Stage::Session, what).path(&session.folder))
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

/// `20261123_041500`.
fn time_id(now: &Zoned) -> String {
    now.strftime("%Y%m%d_%H%M%S").to_string()
}

/// `id` itself for 1, and with `_2`, `_3` … behind it.
fn numbered(id: &str, number: u32) -> String {
    if number == 1 { id.to_owned() } else { format!("{id}_{number}") }
}

/// Makes the first folder of this id, counted from `number`, that is not there.
fn new_folder(sessions_dir: &Path, id: &str, mut number: u32) -> Result<PathBuf> {
    loop {
        let folder = sessions_dir.join(numbered(id, number));
        // Making it is the test: two recorders that start at once get two folders.
        match disk::create_folder(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error).context(Stage::Session, &folder, "cannot make"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    fn now() -> Zoned {
        let time: jiff::Timestamp = "2026-11-23T04:15:00Z".parse().unwrap();
        time.to_zoned(jiff::tz::TimeZone::UTC)
    }

    #[test]
    fn an_id_that_was_not_given_never_reuses_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let ids: Vec<_> =
            (0..3).map(|_| Session::own(folder.path(), None, &now()).unwrap().id()).collect();
        assert_eq!(ids, ["20261123_041500", "20261123_041500_2", "20261123_041500_3"]);
    }

    #[test]
    fn sessions_that_follow_one_another_are_numbered() {
        let folder = tempfile::tempdir().unwrap();
        let _first = Session::own(folder.path(), Some("a"), &now()).unwrap();
        let ids: Vec<_> = (0..2)
            .map(|_| Session::own_next(folder.path(), Some("a"), &now()).unwrap().id())
            .collect();
        assert_eq!(ids, ["a_2", "a_3"]);
        assert_eq!(Session::series(folder.path(), "a"), ["a", "a_2", "a_3"]);
        assert!(Session::series(folder.path(), "b").is_empty());
        let by_time = Session::own_next(folder.path(), None, &now()).unwrap().id();
        assert_eq!(by_time, "20261123_041500");
    }

    #[test]
    fn a_session_has_all_its_folders_and_goes_on_when_named_again() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let session = Session::own(folder.path(), Some("a"), &now()).unwrap();
            for part in ["stream", "frames", "transcript", "agent"] {
                assert!(session.folder().join(part).is_dir());
            }
        }
    }

    #[test]
    fn a_second_recorder_on_a_session_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = Session::own(folder.path(), Some("a"), &now()).unwrap();
        let error = Session::own(folder.path(), Some("a"), &now()).unwrap_err();
        assert!(error.to_string().contains("another scenetap"), "{error}");
        drop(first);
        assert!(Session::own(folder.path(), Some("a"), &now()).is_ok());
    }

    #[test]
    fn a_session_is_found_by_its_folder_or_its_id() {
        let folder = tempfile::tempdir().unwrap();
        let session = Session::own(folder.path(), Some("a"), &now()).unwrap();
        fs::write(session.recording_ts(), []).unwrap();
        assert_eq!(Session::find(folder.path(), Path::new("a")).unwrap().id(), "a");
        assert!(Session::find(Path::new("/"), session.folder()).is_ok());
        assert!(Session::find(folder.path(), Path::new("b")).is_err());
    }
}
