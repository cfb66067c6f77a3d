//! The sessions in a folder, and what of them may be deleted.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::names::{Place, SeriesName};
use super::{OwnedSession, Session};
use crate::disk::{EntryKind, Folder};
use crate::error::{Context, Error, Result, Stage};

/// A file of this name in a session's folder protects the session: nothing of it is deleted.
pub const KEEP_NAME: &str = "keep";

const RECORDING: &str = "recording.ts";
const LOCK: &str = "recorder.lock";

/// A session in the folder of sessions.
#[derive(Debug, Clone)]
pub struct StoredSession {
    /// The session.
    pub session: Session,
    /// The series to which it belongs.
    pub series: SeriesName,
    place: Place,
    /// The recording; `None` if there is none, or none that is a regular file.
    pub recording: Option<StoredRecording>,
}

/// A recording in a session's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredRecording {
    /// Length in bytes.
    pub bytes: u64,
    /// Time of the last write.
    pub modified: SystemTime,
}

impl StoredRecording {
    fn of(file: &Metadata) -> Option<Self> {
        Some(StoredRecording { bytes: file.len(), modified: file.modified().ok()? })
    }
}

/// Returns the sessions in `sessions_dir`: series by series, the oldest of each first.
///
/// # Errors
///
/// Returns an error if the folder cannot be read.
pub fn stored_sessions(sessions_dir: &Path) -> Result<Vec<StoredSession>> {
    let read = || -> io::Result<Vec<PathBuf>> {
        fs::read_dir(sessions_dir)?.map(|entry| Ok(entry?.path())).collect()
    };
    let paths = read().context(Stage::Session, sessions_dir, "cannot read")?;
    let mut sessions = Vec::new();
    for path in paths {
        let session = Session::at(&path)?;
        let Some(name) = path.file_name().and_then(OsStr::to_str) else { continue };
        let has = |path: PathBuf| fs::symlink_metadata(path).is_ok();
        if !has(session.recording_ts()) && !has(session.lock_path()) {
            continue;
        }
        let (series, place) = SeriesName::of_session(name);
        let recording = session.stored_recording();
        sessions.push(StoredSession { session, series, place, recording });
    }
    sessions.sort_by(|a, b| (&a.series, &a.place).cmp(&(&b.series, &b.place)));
    Ok(sessions)
}

impl StoredSession {
    /// Moves the session to the series of a recorder, in which its name may have another place:
    /// `a_2` is the first session of a recorder called `a_2`. Returns `None` if the recorder has
    /// no such session.
    pub fn in_series(mut self, series: &SeriesName) -> Option<Self> {
        self.place = series.place(&self.session.id())?;
        self.series = series.clone();
        Some(self)
    }

    /// Orders sessions of one series, oldest first.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Returns the time of the last change to the session by a recorder.
    pub fn modified(&self) -> Option<SystemTime> {
        let recorded = self.recording.map(|recording| recording.modified);
        // Written at the end of detection, at the latest.
        let of = |path: PathBuf| fs::symlink_metadata(path).and_then(|found| found.modified()).ok();
        recorded
            .or_else(|| of(self.session.checkpoint_json()))
            .or_else(|| of(self.session.lock_path()))
    }
}

impl Session {
    /// Returns the time at which the session was created.
    pub fn started(&self) -> Option<SystemTime> {
        // Created with the session and never written.
        fs::symlink_metadata(self.lock_path()).and_then(|found| found.modified()).ok()
    }

    /// Returns whether a file `keep` protects the session.
    pub fn is_marked_keep(&self) -> bool {
        fs::symlink_metadata(self.folder.join(KEEP_NAME)).is_ok()
    }

    fn stored_recording(&self) -> Option<StoredRecording> {
        let found = fs::symlink_metadata(self.recording_ts()).ok().filter(Metadata::is_file)?;
        StoredRecording::of(&found)
    }
}

/// Why nothing of a session may be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// It has a file `keep`.
    Marked,
    /// A recorder or a repair holds it.
    Held,
    /// A process has its recording open, of this id where it is known.
    Open(Option<u32>),
    /// It is behind a symbolic link, or scenetap did not create it: it has no `recorder.lock`.
    Foreign,
    /// Its detection has not finished.
    Unfinished,
    /// It was changed after it was listed.
    Changed,
}

impl std::fmt::Display for Protection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Protection::Marked => f.write_str("it has a file \"keep\""),
            Protection::Held => f.write_str("a recorder holds it"),
            Protection::Open(Some(id)) => write!(f, "process {id} has it open"),
            Protection::Changed => f.write_str("it has just been changed"),
            Protection::Open(None) => f.write_str("a player has it open"),
            Protection::Foreign => f.write_str(
                "it is behind a symbolic link, or has no stream/recorder.lock of scenetap",
            ),
            Protection::Unfinished => {
                f.write_str("its detection has not finished; scenetap check --repair finishes it")
            }
        }
    }
}

/// A session whose files may be deleted: nobody records it and nobody plays it.
#[derive(Debug)]
pub struct Deletable<'a> {
    session: &'a Session,
    parent: Folder,
    folder: Folder,
    stream: Folder,
    /// The recording, if there is one.
    recording: Option<File>,
    /// Held for its lock, so that no recorder opens the session meanwhile.
    _lock: Option<File>,
}

/// Finds the process that has a recording open.
pub type OpenedBy<'a> = &'a dyn Fn(&File, &OsStr) -> Option<u32>;

impl<'a> Deletable<'a> {
    /// Locks a session of no running recorder, to delete files of it. `opened_by` returns a process
    /// that has a file open.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be opened. A session that may not be touched is none: then
    /// the result is the reason.
    pub fn lock(session: &'a Session, opened_by: OpenedBy<'_>) -> Result<Result<Self, Protection>> {
        Self::open(session, true, opened_by)
    }

    /// As [`Deletable::lock`], for a session that this process has locked already.
    ///
    /// # Errors
    ///
    /// As [`Deletable::lock`].
    pub fn owned(
        session: &'a OwnedSession,
        opened_by: OpenedBy<'_>,
    ) -> Result<Result<Self, Protection>> {
        Self::open(session, false, opened_by)
    }

    fn open(
        session: &'a Session,
        locks: bool,
        opened_by: OpenedBy<'_>,
    ) -> Result<Result<Self, Protection>> {
        let path = session.folder();
        let failed = |what| {
            move |error: io::Error| Error::new(Stage::Session, what).path(path).because(error)
        };
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(Err(Protection::Foreign));
        };
        let parent = Folder::open(parent).map_err(failed("cannot open its folder"))?;
        let Ok(folder) = parent.folder(name) else { return Ok(Err(Protection::Foreign)) };
        let Ok(stream) = folder.folder("stream".as_ref()) else {
            return Ok(Err(Protection::Foreign));
        };
        if folder
            .kind(KEEP_NAME.as_ref())
            .map_err(failed("cannot look for the file keep"))?
            .is_some()
        {
            return Ok(Err(Protection::Marked));
        }
        let Ok(lock) = stream.file(LOCK.as_ref()) else { return Ok(Err(Protection::Foreign)) };
        if locks {
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(Err(Protection::Held)),
                Err(TryLockError::Error(error)) => return Err(failed("cannot lock it")(error)),
            }
        }
        let recording = match stream.file(RECORDING.as_ref()) {
            Ok(recording) => Some(recording),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(_) => return Ok(Err(Protection::Foreign)),
        };
        if let Some(recording) = &recording {
            // `scenetap play` locks what it plays, also as another user.
            if matches!(recording.try_lock(), Err(TryLockError::WouldBlock)) {
                return Ok(Err(Protection::Open(None)));
            }
            if let Some(id) = opened_by(recording, RECORDING.as_ref()) {
                return Ok(Err(Protection::Open(Some(id))));
            }
        }
        let lock = locks.then_some(lock);
        Ok(Ok(Deletable { session, parent, folder, stream, recording, _lock: lock }))
    }

    /// Returns the recording as it is now that nobody else can change it.
    pub fn recording(&self) -> Option<StoredRecording> {
        StoredRecording::of(&self.recording.as_ref()?.metadata().ok()?)
    }

    /// Deletes the recording, and returns its length in bytes. The index and the frames stay.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be removed.
    pub fn delete_recording(&mut self) -> Result<u64> {
        let Some(recording) = self.recording.take() else { return Ok(0) };
        let removed = || -> io::Result<u64> {
            let bytes = recording.metadata()?.len();
            self.stream.remove(RECORDING.as_ref())?;
            let is_last_name = std::os::unix::fs::MetadataExt::nlink(&recording.metadata()?) == 0;
            if self._lock.is_none() && is_last_name {
                // Detection of this process still has it open: without this, the space would be
                // free only when that ends.
                crate::disk::set_length(&recording, 0)?;
            }
            self.stream.sync().map(|()| bytes)
        };
        removed().context(Stage::Recording, &self.session.recording_ts(), "cannot delete it")
    }

    /// Deletes the recording, the frames and everything else that scenetap has written. Returns
    /// the number of bytes, and whether the folder is gone: files of other programs stay in it.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be removed. The next call goes on from there.
    pub fn delete_all(mut self) -> Result<(u64, bool)> {
        let path = self.session.folder();
        // The recording first and the lock last: a session of which a part is left is still
        // recognized as one of scenetap, and is not reopened.
        let bytes = self.delete_recording()?;
        let removed = || -> io::Result<bool> {
            if let Ok(frames) = self.folder.folder("frames".as_ref()) {
                remove_files(&frames, &|_| true)?;
            }
            remove_files(&self.stream, &|name| name != LOCK)?;
            for name in ["frames", "transcript", "agent"] {
                self.folder.remove_empty(name.as_ref())?;
            }
            self.stream.remove(LOCK.as_ref())?;
            self.folder.remove_empty("stream".as_ref())?;
            let name = path.file_name().unwrap_or_default();
            let is_gone = self.parent.remove_empty(name)?;
            self.parent.sync().map(|()| is_gone)
        };
        Ok((bytes, removed().context(Stage::Session, path, "cannot delete it")?))
    }
}

/// Removes the regular files in a folder that `is_ours`.
fn remove_files(folder: &Folder, is_ours: &dyn Fn(&OsStr) -> bool) -> io::Result<()> {
    for name in folder.names()? {
        if is_ours(&name) && folder.kind(&name)? == Some(EntryKind::File) {
            folder.remove(&name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const NOBODY: OpenedBy<'_> = &|_, _| None;

    /// Returns a session of ten bytes and one frame.
    fn recorded(sessions: &Path, id: &str) -> Session {
        let session = Session::own_folder(&sessions.join(id)).unwrap().session.clone();
        fs::write(session.recording_ts(), [7; 10]).unwrap();
        fs::write(session.checkpoint_json(), "{}").unwrap();
        for name in ["F0001.jpg", "index.json", ".index.json.1"] {
            fs::write(session.frames_dir().join(name), "[]").unwrap();
        }
        session
    }

    fn protection(session: &Session) -> Option<Protection> {
        Deletable::lock(session, NOBODY).unwrap().err()
    }

    #[test]
    fn a_deleted_recording_leaves_index_frames_and_checkpoint() {
        let sessions = tempfile::tempdir().unwrap();
        let session = recorded(sessions.path(), "a");
        let mut deletable = Deletable::lock(&session, NOBODY).unwrap().unwrap();
        assert_eq!(deletable.delete_recording().unwrap(), 10);
        assert_eq!(deletable.delete_recording().unwrap(), 0);
        assert!(!session.recording_ts().exists());
        assert!(session.checkpoint_json().exists());
        assert!(session.frames_dir().join("F0001.jpg").exists());
    }

    #[test]
    fn a_deleted_session_leaves_what_other_programs_wrote() {
        let sessions = tempfile::tempdir().unwrap();
        let (a, b) = (recorded(sessions.path(), "a"), recorded(sessions.path(), "b"));
        fs::write(b.folder().join("transcript/words.txt"), "hello").unwrap();
        for (session, is_gone) in [(&a, true), (&b, false)] {
            let deletable = Deletable::lock(session, NOBODY).unwrap().unwrap();
            assert_eq!(deletable.delete_all().unwrap(), (10, is_gone));
        }
        assert!(!a.folder().exists());
        let left: Vec<_> =
            fs::read_dir(b.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["transcript"]);
    }

    #[test]
    fn what_is_marked_or_held_or_open_is_not_deleted() {
        let sessions = tempfile::tempdir().unwrap();
        let session = recorded(sessions.path(), "a");
        assert_eq!(protection(&session), None);
        fs::write(session.folder().join("keep"), "").unwrap();
        assert_eq!(protection(&session), Some(Protection::Marked));
        fs::remove_file(session.folder().join("keep")).unwrap();
        let owned = session.clone().into_owned().unwrap();
        assert_eq!(protection(&session), Some(Protection::Held));
        assert!(Deletable::owned(&owned, NOBODY).unwrap().is_ok());
        drop(owned);
        let player = File::open(session.recording_ts()).unwrap();
        player.lock_shared().unwrap();
        assert_eq!(protection(&session), Some(Protection::Open(None)));
        drop(player);
        let opened = Deletable::lock(&session, &|_, name| (name == RECORDING).then_some(7));
        assert_eq!(opened.unwrap().err(), Some(Protection::Open(Some(7))));
    }

    #[test]
    fn nothing_behind_a_link_or_without_a_lock_of_ours_is_deleted() {
        let sessions = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let real = recorded(elsewhere.path(), "real");
        symlink(real.folder(), sessions.path().join("folder")).unwrap();
        for part in ["stream", "stream/recording.ts", "stream/recorder.lock"] {
            let session = recorded(sessions.path(), &part.replace('/', "_"));
            let path = session.folder().join(part);
            if path.is_dir() {
                fs::remove_dir_all(&path).unwrap();
            } else {
                fs::remove_file(&path).unwrap();
            }
            symlink(real.folder().join(part), path).unwrap();
        }
        let without = recorded(sessions.path(), "without");
        fs::remove_file(without.lock_path()).unwrap();
        let stored = stored_sessions(sessions.path()).unwrap();
        assert_eq!(stored.len(), 5);
        for stored in stored {
            let id = stored.session.id();
            assert_eq!(protection(&stored.session), Some(Protection::Foreign), "{id}");
        }
    }

    #[test]
    fn a_recording_with_another_name_is_not_emptied() {
        let sessions = tempfile::tempdir().unwrap();
        let session = recorded(sessions.path(), "a").into_owned().unwrap();
        let copy = sessions.path().join("copy.ts");
        fs::hard_link(session.recording_ts(), &copy).unwrap();
        let mut deletable = Deletable::owned(&session, NOBODY).unwrap().unwrap();
        assert_eq!(deletable.delete_recording().unwrap(), 10);
        assert_eq!(fs::read(copy).unwrap(), [7; 10]);
    }

    #[test]
    fn sessions_are_listed_series_by_series_the_oldest_first() {
        let sessions = tempfile::tempdir().unwrap();
        let names = ["b_10", "20261123_041500", "b", "b_2", "20251231_235959_2"];
        names.iter().for_each(|name| drop(recorded(sessions.path(), name)));
        fs::create_dir(sessions.path().join("other")).unwrap();
        let stored = stored_sessions(sessions.path()).unwrap();
        let ids: Vec<_> = stored.iter().map(|stored| stored.session.id()).collect();
        assert_eq!(ids, ["20251231_235959_2", "20261123_041500", "b", "b_2", "b_10"]);
        let of = SeriesName::of_recorder(Some("b_2"));
        let own: Vec<_> = stored.into_iter().filter_map(|stored| stored.in_series(&of)).collect();
        assert_eq!(own.len(), 1);
    }
}
