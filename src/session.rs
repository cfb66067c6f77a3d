//! The folder of a session: names its files and holds its lock.

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

/// A session that this process records. No other process can record it meanwhile.
#[derive(Debug)]
pub struct OwnedSession {
    session: Session,
    /// Held for its lock, which is released when it is dropped.
    _lock: File,
}

impl std::ops::Deref for OwnedSession {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
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

    /// Finds a session by its folder, or by its name in `sessions_dir`.
    ///
    /// # Errors
    ///
    /// Returns an error if there is neither.
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

    /// Creates or opens the session `id` in `sessions_dir` for recording. Without an
    /// `id`, creates a new session named for the time `now`.
    ///
    /// # Errors
    ///
    /// Returns an error if the folders cannot be created, or another process is recording
    /// the session.
    pub fn own(sessions_dir: &Path, id: Option<&str>, now: &Zoned) -> Result<OwnedSession> {
        disk::create_folders(sessions_dir).context(
            Stage::Session,
            sessions_dir,
            "cannot create",
        )?;
        let folder = match id {
            Some(id) => sessions_dir.join(id),
            None => new_folder(sessions_dir, &time_id(now), 1)?,
        };
        Session::own_folder(&folder)
    }

    /// Creates the next session of a series: `id_2`, `id_3` …, the first that does not
    /// exist, or without an `id` one named for the time `now`.
    ///
    /// # Errors
    ///
    /// As [`Session::own`].
    pub fn own_next(sessions_dir: &Path, id: Option<&str>, now: &Zoned) -> Result<OwnedSession> {
        disk::create_folders(sessions_dir).context(
            Stage::Session,
            sessions_dir,
            "cannot create",
        )?;
        let folder = match id {
            Some(id) => new_folder(sessions_dir, id, 2)?,
            None => new_folder(sessions_dir, &time_id(now), 1)?,
        };
        Session::own_folder(&folder)
    }

    /// Returns the existing sessions of a series: `id`, `id_2` … without gaps.
    pub fn series(sessions_dir: &Path, id: &str) -> Vec<String> {
        let names = (1..).map(|number| numbered(id, number));
        names.take_while(|name| sessions_dir.join(name).is_dir()).collect()
    }

    fn own_folder(folder: &Path) -> Result<OwnedSession> {
        let session = Session::at(folder)?;
        for folder in ["stream", "frames", "transcript", "agent"] {
            let folder = session.folder.join(folder);
            disk::create_folders(&folder).context(Stage::Session, &folder, "cannot create")?;
        }
        // Files synced in a folder are lost if the name of the folder itself is not
        // durable.
        for folder in [&session.folder, session.folder.parent().unwrap_or(&session.folder)] {
            disk::sync_folder(folder).context(Stage::Session, folder, "cannot sync")?;
        }
        let path = session.lock_path();
        let lock = disk::open_lock(&path).context(Stage::Session, &path, "cannot open")?;
        match lock.try_lock() {
            Ok(()) => Ok(OwnedSession { session, _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                let what = "another scenetap is recording this session; choose another --session";
                Err(Error::new(Stage::Session, what).path(&session.folder))
            }
            Err(TryLockError::Error(error)) => {
                Err(error).context(Stage::Session, &path, "cannot lock")
            }
        }
    }

    /// Whether a process is recording it.
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

    /// Returns its folder, absolute.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns its id: the name of the folder.
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

/// Formats a time as `20261123_041500`.
fn time_id(now: &Zoned) -> String {
    now.strftime("%Y%m%d_%H%M%S").to_string()
}

/// Returns `id` itself for 1, and `id_2`, `id_3` … for higher numbers.
fn numbered(id: &str, number: u32) -> String {
    if number == 1 { id.to_owned() } else { format!("{id}_{number}") }
}

/// Creates the first folder of this id, counted from `number`, that does not exist.
fn new_folder(sessions_dir: &Path, id: &str, mut number: u32) -> Result<PathBuf> {
    loop {
        let folder = sessions_dir.join(numbered(id, number));
        // Creating it is the test: two recorders that start at once get two folders.
        match disk::create_folder(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error).context(Stage::Session, &folder, "cannot create"),
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
