//! The sessions in a folder.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Session;
use super::names::{Place, SeriesName};
use crate::error::{Context, Result, Stage};

/// Name of a file that protects the session from deletion.
pub const KEEP_NAME: &str = "keep";

/// A session in the folder of sessions.
#[derive(Debug, Clone)]
pub struct StoredSession {
    /// The session.
    pub session: Session,
    /// The series to which it belongs.
    pub series: SeriesName,
    place: Place,
    /// The recording; `None` if it is missing or not a regular file.
    pub recording: Option<StoredRecording>,
    /// Whether the recording is behind a symbolic link, for example on another disk.
    pub is_linked: bool,
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
    pub(super) fn of(file: &Metadata) -> Option<Self> {
        Some(StoredRecording { bytes: file.len(), modified: file.modified().ok()? })
    }
}

/// Returns the sessions in `sessions_dir`, grouped by series, each series oldest first.
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
        let is_link = |path: &Path| path.is_symlink();
        let is_linked = is_link(&path) || is_link(&path.join("stream"));
        sessions.push(StoredSession { session, series, place, recording, is_linked });
    }
    sessions.sort_by(|a, b| (&a.series, &a.place).cmp(&(&b.series, &b.place)));
    Ok(sessions)
}

/// Returns the sessions of the series to which `session` belongs, oldest first.
///
/// # Errors
///
/// Returns an error if the folder of the sessions cannot be read.
pub fn series_of(session: &Session) -> Result<Vec<StoredSession>> {
    let sessions_dir = session.folder.parent().unwrap_or(&session.folder);
    let (series, _) = SeriesName::of_session(&session.id());
    let mut stored = stored_sessions(sessions_dir)?;
    stored.retain(|other| other.series == series);
    Ok(stored)
}

/// Returns the next session of the series, if there is one.
///
/// # Errors
///
/// As [`series_of`].
pub fn successor(session: &Session) -> Result<Option<Session>> {
    let (_, place) = SeriesName::of_session(&session.id());
    let mut later = series_of(session)?.into_iter().filter(|other| other.place > place);
    Ok(later.next().map(|found| found.session))
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

    /// Returns the place in the series, by which sessions are ordered.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Returns the time at which recording ended. If the recording was deleted, returns the time at
    /// which detection ended.
    pub fn modified(&self) -> Option<SystemTime> {
        let recorded = self.recording.map(|recording| recording.modified);
        // The last of these is written at the end of detection.
        let of = |path: PathBuf| fs::symlink_metadata(path).and_then(|found| found.modified()).ok();
        recorded
            .or_else(|| of(self.session.checkpoint_json()))
            .or_else(|| of(self.session.lock_path()))
    }
}

impl Session {
    /// Returns the time at which the session was created.
    pub fn started(&self) -> Option<SystemTime> {
        // The lock file is created with the session and never written.
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_listed_series_by_series_the_oldest_first() {
        let sessions = tempfile::tempdir().unwrap();
        let names = ["b_10", "20261123_041500", "b", "b_2", "20251231_235959_2"];
        names
            .iter()
            .for_each(|name| drop(Session::own_folder(&sessions.path().join(name)).unwrap()));
        fs::create_dir(sessions.path().join("other")).unwrap();
        let stored = stored_sessions(sessions.path()).unwrap();
        let ids: Vec<_> = stored.iter().map(|stored| stored.session.id()).collect();
        assert_eq!(ids, ["20251231_235959_2", "20261123_041500", "b", "b_2", "b_10"]);
        let of = SeriesName::of_recorder(Some("b_2"));
        let own: Vec<_> = stored.into_iter().filter_map(|stored| stored.in_series(&of)).collect();
        assert_eq!(own.len(), 1);
    }
}
