//! Decides which files of a session may be deleted, and deletes them.

use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use super::state::STATE_NAME;
use super::stored::{KEEP_NAME, StoredRecording};
use super::{Marks, OwnedSession, Session};
use crate::disk::{self, EntryKind, Folder};
use crate::error::{Context, Error, Result, Stage};

const RECORDING: &str = "recording.ts";
const LOCK: &str = "recorder.lock";

/// Names in `stream` and `frames` that scenetap writes, besides JPEGs.
const OWN_NAMES: [&str; 10] = [
    RECORDING,
    "checkpoint.json",
    ".index.synced",
    "keyframes.idx",
    "unsynced",
    "index.json",
    "index.lock",
    "index.set-aside.json",
    "handouts.jsonl",
    STATE_NAME,
];

/// Reason why a session must not be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// The session has a file `keep`.
    Marked,
    /// A recorder or a repair holds the session's lock.
    Held,
    /// A process has the recording open; its id, if known.
    Open(Option<u32>),
    /// The session is behind a symbolic link, or was not created by scenetap: it has no
    /// `recorder.lock`.
    Foreign,
    /// Detection has not finished.
    Unfinished,
    /// The session has changed since it was listed.
    Changed,
    /// Another program holds the lock on the index.
    IndexHeld,
    /// The recording has another hard link, so deleting it would free nothing.
    HardLinked,
}

impl std::fmt::Display for Protection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Protection::Marked => f.write_str("it has a file \"keep\""),
            Protection::Held => f.write_str("a recorder holds it"),
            Protection::Open(Some(id)) => write!(f, "process {id} has it open"),
            Protection::IndexHeld => f.write_str("a program holds frames/index.lock"),
            Protection::HardLinked => f.write_str(
                "its recording has another name (hard link), so that deleting it frees nothing",
            ),
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

/// A session whose files may be deleted: no process records or plays it.
#[derive(Debug)]
pub struct Deletable<'a> {
    session: &'a Session,
    parent: Folder,
    folder: Folder,
    stream: Folder,
    /// The recording, if it exists.
    recording: Option<File>,
    /// Marks of the session, if this process has it open.
    marks: Option<Arc<Marks>>,
    /// Locked, so that no recorder opens the session meanwhile.
    lock: Option<File>,
}

/// Returns a process that has a recording open, if any.
pub type OpenedBy<'a> = &'a dyn Fn(&File, &OsStr) -> Option<u32>;

impl<'a> Deletable<'a> {
    /// Locks a session without a running recorder, to delete files of it. `opened_by` returns a
    /// process that has a file open.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be opened. A protected session is no error: the inner
    /// result then holds the protection.
    pub fn lock(session: &'a Session, opened_by: OpenedBy<'_>) -> Result<Result<Self, Protection>> {
        Self::open(session, None, opened_by)
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
        Self::open(session, Some(Arc::clone(session.marks())), opened_by)
    }

    fn open(
        session: &'a Session,
        marks: Option<Arc<Marks>>,
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
        let recording = match stream.file(RECORDING.as_ref()) {
            Ok(recording) => Some(recording),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(failed("cannot open its recording")(error));
            }
            Err(_) => return Ok(Err(Protection::Foreign)),
        };
        // Search before locking the session: this may take a while, and a recorder that starts
        // meanwhile would find the session locked.
        let opener = recording.as_ref().and_then(|file| opened_by(file, RECORDING.as_ref()));
        if let Some(id) = opener {
            return Ok(Err(Protection::Open(Some(id))));
        }
        let Ok(lock) = stream.file(LOCK.as_ref()) else { return Ok(Err(Protection::Foreign)) };
        if marks.is_none() {
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(Err(Protection::Held)),
                Err(TryLockError::Error(error)) => return Err(failed("cannot lock it")(error)),
            }
        }
        // `scenetap play` locks the recording that it plays, also as another user.
        if let Some(recording) = &recording
            && matches!(recording.try_lock(), Err(TryLockError::WouldBlock))
        {
            return Ok(Err(Protection::Open(None)));
        }
        let lock = marks.is_none().then_some(lock);
        Ok(Ok(Deletable { session, parent, folder, stream, recording, marks, lock }))
    }

    /// Returns the current recording, which no other process can change now.
    pub fn recording(&self) -> Option<StoredRecording> {
        StoredRecording::of(&self.recording.as_ref()?.metadata().ok()?)
    }

    /// Returns whether the recording has no other hard link, so that deleting it frees its space.
    pub fn frees_space(&self) -> bool {
        let recording = self.recording.as_ref().and_then(|recording| recording.metadata().ok());
        recording.is_some_and(|recording| recording.nlink() == 1)
    }

    /// Deletes the recording, and returns its length in bytes. The index and the frames stay.
    /// `is_open_here` states that this process may still have it open.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be removed.
    pub fn delete_recording(&mut self, is_open_here: bool) -> Result<u64> {
        let Some(recording) = self.recording.take() else { return Ok(0) };
        let removed = || -> io::Result<u64> {
            let bytes = recording.metadata()?.len();
            self.stream.remove(RECORDING.as_ref())?;
            Ok(bytes)
        };
        let path = self.session.recording_ts();
        let bytes = removed().context(Stage::Recording, &path, "cannot delete it")?;
        if let Some(marks) = &self.marks {
            marks.set_deleted();
        }
        // From here on, the recording counts as deleted, even after an error.
        let freed = || -> io::Result<()> {
            let is_last_name = recording.metadata()?.nlink() == 0;
            if is_open_here && is_last_name {
                // Otherwise, the space would be freed only once every thread has closed the file.
                disk::set_length(&recording, 0)?;
            }
            self.stream.sync()
        };
        if let Err(error) = freed() {
            tracing::warn!("{}: deleted, but: {error}", path.display());
        }
        Ok(bytes)
    }

    /// Deletes the recording, the frames and every other file that scenetap has written. Returns
    /// the length of the recording in bytes, and whether the folder was removed: it stays if it
    /// contains files of other programs.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be removed; the next call continues from there. A session
    /// whose `index.lock` another program holds is no error: the inner result then holds the
    /// protection.
    pub fn delete_all(mut self) -> Result<Result<(u64, bool), Protection>> {
        let path = self.session.folder();
        let frames = self.folder.folder("frames".as_ref()).ok();
        let index_lock = frames.as_ref().and_then(|frames| frames.file("index.lock".as_ref()).ok());
        if let Some(lock) = &index_lock
            && matches!(lock.try_lock(), Err(TryLockError::WouldBlock))
        {
            return Ok(Err(Protection::IndexHeld));
        }
        // The recording first and the lock last: a partly deleted session is still recognized as
        // one of scenetap, and is not reopened.
        let bytes = self.delete_recording(false)?;
        let removed = || -> io::Result<bool> {
            if let Some(frames) = &frames {
                remove_own_files(frames)?;
            }
            remove_own_files(&self.stream)?;
            for name in ["frames", "transcript", "agent"] {
                self.folder.remove_empty(name.as_ref())?;
            }
            self.stream.remove(LOCK.as_ref())?;
            self.folder.remove_empty("stream".as_ref())?;
            let name = path.file_name().unwrap_or_default();
            let is_gone = self.parent.remove_empty(name)?;
            self.parent.sync().map(|()| is_gone)
        };
        let is_gone = removed().context(Stage::Session, path, "cannot delete it")?;
        drop(self.lock);
        Ok(Ok((bytes, is_gone)))
    }
}

/// Removes the files in a folder that scenetap has written.
fn remove_own_files(folder: &Folder) -> io::Result<()> {
    for name in folder.names()? {
        if name.to_str().is_some_and(is_own_name) && folder.kind(&name)? == Some(EntryKind::File) {
            folder.remove(&name)?;
        }
    }
    Ok(())
}

/// Returns whether scenetap writes files of this name in a session, including quarantined ones
/// (`checkpoint.json.set-aside-1`) and temporary ones (`.index.json.tmp-77`).
fn is_own_name(name: &str) -> bool {
    let base = name.split_once(".set-aside-").map_or(name, |(base, _)| base);
    let digits = base.strip_prefix('F').and_then(|name| name.strip_suffix(".jpg"));
    let is_jpeg = |digits: &str| digits.len() >= 4 && digits.bytes().all(|b| b.is_ascii_digit());
    let temp = name.strip_prefix('.').and_then(|name| name.rsplit_once(".tmp"));
    OWN_NAMES.contains(&base)
        || digits.is_some_and(is_jpeg)
        || temp.is_some_and(|(target, _)| is_own_name(target))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;
    use crate::session::stored_sessions;

    const NOBODY: OpenedBy<'_> = &|_, _| None;

    /// Returns a session of ten bytes and one frame.
    fn recorded(sessions: &Path, id: &str) -> Session {
        let session = Session::own_folder(&sessions.join(id)).unwrap().session.clone();
        fs::write(session.recording_ts(), [7; 10]).unwrap();
        fs::write(session.checkpoint_json(), "{}").unwrap();
        for name in ["F0001.jpg", "index.json", ".index.json.tmp-1"] {
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
        assert_eq!(deletable.delete_recording(false).unwrap(), 10);
        assert_eq!(deletable.delete_recording(false).unwrap(), 0);
        assert!(!session.recording_ts().exists());
        assert!(session.checkpoint_json().exists());
        assert!(session.frames_dir().join("F0001.jpg").exists());
    }

    #[test]
    fn a_deleted_session_leaves_what_other_programs_wrote() {
        let sessions = tempfile::tempdir().unwrap();
        let (a, b) = (recorded(sessions.path(), "a"), recorded(sessions.path(), "b"));
        let others = ["transcript/words.txt", "frames/labels.csv", "stream/recording.srt"];
        for file in others {
            fs::write(b.folder().join(file), "hello").unwrap();
        }
        for (session, is_gone) in [(&a, true), (&b, false)] {
            let deletable = Deletable::lock(session, NOBODY).unwrap().unwrap();
            assert_eq!(deletable.delete_all().unwrap().unwrap(), (10, is_gone));
        }
        assert!(!a.folder().exists());
        for (folder, left) in [("frames", 1), ("stream", 1), ("transcript", 1)] {
            assert_eq!(fs::read_dir(b.folder().join(folder)).unwrap().count(), left, "{folder}");
        }
        assert!(others.iter().all(|file| b.folder().join(file).is_file()));
        assert!(!b.folder().join("agent").exists());
    }

    #[test]
    fn files_of_scenetap_are_told_by_their_names() {
        for own in [
            "F0001.jpg",
            "F12345.jpg",
            "F0001.jpg.set-aside-2",
            "checkpoint.json.set-aside-1",
            ".index.json.tmp-77",
            ".F0001.jpg.tmp-8",
            "index.set-aside.json",
            ".index.synced",
        ] {
            assert!(is_own_name(own), "{own}");
        }
        for other in ["F1.jpg", "Frame0001.jpg", "F0001.png", "index.json.bak", ".hidden", "x.tmp"]
        {
            assert!(!is_own_name(other), "{other}");
        }
    }

    #[test]
    fn a_session_whose_index_another_program_holds_is_not_deleted() {
        let sessions = tempfile::tempdir().unwrap();
        let session = recorded(sessions.path(), "a");
        let lock = File::create(session.frames_dir().join("index.lock")).unwrap();
        lock.lock().unwrap();
        let deletable = Deletable::lock(&session, NOBODY).unwrap().unwrap();
        assert_eq!(deletable.delete_all().unwrap().err(), Some(Protection::IndexHeld));
        assert!(session.recording_ts().exists());
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
        assert!(!deletable.frees_space());
        assert_eq!(deletable.delete_recording(true).unwrap(), 10);
        assert_eq!(fs::read(copy).unwrap(), [7; 10]);
    }
}
