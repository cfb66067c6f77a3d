//! The series of sessions that one recorder uses, one after another.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Zoned;

use super::names::{SeriesName, number_of, numbered, time_id};
use super::{OwnedSession, Session, remove_empty_folders};
use crate::disk;
use crate::error::{Context, Kind, Result, Stage};

/// Maximum number of unfinished sessions of an earlier process that are opened: each holds a lock
/// and two file descriptors until its detection has finished.
const MAX_UNFINISHED: usize = 48;

/// Maximum number of earlier sessions that are examined, newest first: each costs some reads from
/// the disk before the recorder is ready.
const MAX_EXAMINED: usize = 256;

/// The sessions of one recorder: `NAME`, `NAME_2`, `NAME_3` … or, without a name, sessions named
/// for the local time at which they start.
#[derive(Debug, Clone)]
pub struct Series {
    sessions_dir: PathBuf,
    name: Option<String>,
    rotates: bool,
}

/// The sessions that a recorder opens when it starts.
#[derive(Debug)]
pub struct OpenedSessions {
    /// The session to record.
    pub current: OwnedSession,
    /// Earlier sessions whose detection has not finished, oldest first.
    pub unfinished: Vec<OwnedSession>,
}

impl Series {
    /// Returns the series of `name` in `sessions_dir`. A series that `rotates` resumes in its last
    /// session instead of its first.
    pub fn new(sessions_dir: &Path, name: Option<&str>, rotates: bool) -> Self {
        let sessions_dir = sessions_dir.to_owned();
        Series { sessions_dir, name: name.map(str::to_owned), rotates }
    }

    /// Opens the session to record. Without a name, creates a new session named for the time `now`.
    /// `is_finished` returns whether detection has reached the end of a session.
    ///
    /// # Errors
    ///
    /// Returns an error if the folders cannot be created, or another process is recording the
    /// session.
    pub fn open(
        &self,
        now: &Zoned,
        is_finished: &dyn Fn(&Session) -> bool,
    ) -> Result<OpenedSessions> {
        self.create_sessions_dir()?;
        let mut earlier = if self.rotates { self.existing()? } else { Vec::new() };
        let current = match &self.name {
            None => self.new_folder(&time_id(now), 1)?,
            Some(name) => {
                let named = self.sessions_dir.join(name);
                let last = earlier.pop().unwrap_or(named);
                if Session::at(&last)?.has_lost_its_recording() {
                    // The frames and the index of the deleted recording stay: the stream continues
                    // in a new session.
                    self.new_folder(name, 2)?
                } else {
                    last
                }
            }
        };
        let current = Session::own_folder(&current)?;
        Ok(OpenedSessions { current, unfinished: open_unfinished(&earlier, is_finished) })
    }

    /// Creates and opens the next session: the first of `NAME_2`, `NAME_3` … that does not exist
    /// or, without a name, a session named for the time `now`.
    ///
    /// # Errors
    ///
    /// As [`Series::open`].
    pub fn open_next(&self, now: &Zoned) -> Result<OwnedSession> {
        self.create_sessions_dir()?;
        let folder = match &self.name {
            Some(name) => self.new_folder(name, 2)?,
            None => self.new_folder(&time_id(now), 1)?,
        };
        Session::own_folder(&folder).inspect_err(|_| {
            // Clean up after a failure, for example a full disk.
            let _ = Session::at(&folder).map(|session| remove_empty_folders(&session));
        })
    }

    fn create_sessions_dir(&self) -> Result<()> {
        let folder = &self.sessions_dir;
        disk::create_folders(folder).context(Stage::Session, folder, "cannot create")
    }

    /// Returns the existing folders of the series, in order: `NAME`, `NAME_2` … or, without a name,
    /// all folders named for a time. There may be gaps.
    fn existing(&self) -> Result<Vec<PathBuf>> {
        let series = match &self.name {
            Some(name) => SeriesName::Named(name.clone()),
            None => SeriesName::Timed,
        };
        let mut places: Vec<_> = self
            .folders()?
            .into_iter()
            .filter_map(|name| Some((series.place(&name)?, name)))
            .collect();
        places.sort_unstable();
        Ok(places.into_iter().map(|(_, name)| self.sessions_dir.join(name)).collect())
    }

    /// Returns the numbers of the sessions of this name that exist.
    fn numbers(&self, name: &str) -> Result<Vec<u32>> {
        Ok(self.folders()?.iter().filter_map(|folder| number_of(folder, name)).collect())
    }

    /// Returns the names of the folders that may be sessions.
    fn folders(&self) -> Result<Vec<String>> {
        let folder = &self.sessions_dir;
        let read = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                if let Ok(name) = entry.file_name().into_string()
                    && entry.path().is_dir()
                {
                    names.push(name);
                }
            }
            Ok(names)
        };
        read().context(Stage::Session, folder, "cannot read")
    }

    /// Creates the folder after the highest number of this name, at least `least`. Lower numbers
    /// are not reused, even if their sessions were deleted.
    fn new_folder(&self, name: &str, least: u32) -> Result<PathBuf> {
        let highest = self.numbers(name)?.into_iter().max().unwrap_or(0);
        let mut number = least.max(highest.saturating_add(1));
        loop {
            let folder = self.sessions_dir.join(numbered(name, number));
            // Creating the folder decides: two recorders that start simultaneously get two folders.
            match disk::create_folder(&folder) {
                Ok(()) => return Ok(folder),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < u32::MAX => {
                    number += 1;
                }
                Err(error) => return Err(error).context(Stage::Session, &folder, "cannot create"),
            }
        }
    }
}

/// Opens the last sessions of `earlier` whose detection has not finished, oldest first.
fn open_unfinished(
    earlier: &[PathBuf],
    is_finished: &dyn Fn(&Session) -> bool,
) -> Vec<OwnedSession> {
    let mut unfinished = Vec::new();
    for (n, folder) in earlier.iter().rev().take(MAX_EXAMINED).enumerate() {
        // Without a recording, there is nothing to analyze, and nothing may be created.
        if !Session::at(folder).is_ok_and(|session| session.recording_ts().is_file()) {
            continue;
        }
        if unfinished.len() == MAX_UNFINISHED {
            let id = folder.file_name().unwrap_or_default().to_string_lossy();
            tracing::warn!("earlier sessions up to {id} are finished at a later start");
            break;
        }
        let session = match Session::own_folder(folder) {
            // Another process is recording the session, or finishing its detection.
            Err(error) if error.kind() == Kind::Busy => continue,
            Err(error) => {
                tracing::warn!("{error}; skipping this session");
                continue;
            }
            Ok(session) => session,
        };
        // The newest one counts as unfinished even if its checkpoint is final, which may date from
        // an earlier end of the recording.
        if n == 0 || !is_finished(&session) {
            unfinished.push(session);
        }
    }
    unfinished.reverse();
    unfinished
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn now() -> Zoned {
        let time: jiff::Timestamp = "2026-11-23T04:15:00Z".parse().unwrap();
        time.to_zoned(jiff::tz::TimeZone::UTC)
    }

    fn open(series: &Series) -> OpenedSessions {
        series.open(&now(), &|session| session.id() == "a_2").unwrap()
    }

    #[test]
    fn an_id_that_was_not_given_never_reuses_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let series = Series::new(folder.path(), None, false);
        let mut ids: Vec<_> = (0..2).map(|_| open(&series).current.id()).collect();
        ids.push(series.open_next(&now()).unwrap().id());
        assert_eq!(ids, ["20261123_041500", "20261123_041500_2", "20261123_041500_3"]);
    }

    #[test]
    fn without_a_name_a_rotating_series_finishes_earlier_sessions_named_for_a_time() {
        let folder = tempfile::tempdir().unwrap();
        for id in ["20261122_000000_2", "20261122_000000", "a", "20261121_000000"] {
            recorded(folder.path(), id);
        }
        let unfinished = |rotates| {
            let opened = open(&Series::new(folder.path(), None, rotates));
            opened.unfinished.iter().map(|session| session.id()).collect::<Vec<_>>()
        };
        assert!(unfinished(false).is_empty());
        let earlier = ["20261121_000000", "20261122_000000", "20261122_000000_2"];
        assert_eq!(unfinished(true), earlier);
    }

    #[test]
    fn sessions_that_follow_one_another_are_numbered() {
        let folder = tempfile::tempdir().unwrap();
        let series = Series::new(folder.path(), Some("a"), true);
        assert_eq!(open(&series).current.id(), "a");
        let ids: Vec<_> = (0..3).map(|_| series.open_next(&now()).unwrap().id()).collect();
        assert_eq!(ids, ["a_2", "a_3", "a_4"]);
        for id in ["a", "a_2", "a_3", "a_4"] {
            std::fs::write(folder.path().join(id).join("stream/recording.ts"), []).unwrap();
        }
        let opened = open(&series);
        assert_eq!(opened.current.id(), "a_4");
        let unfinished: Vec<_> = opened.unfinished.iter().map(|session| session.id()).collect();
        assert_eq!(unfinished, ["a", "a_3"], "a_2 is finished");
    }

    #[test]
    fn a_session_that_another_process_finishes_is_left_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let series = Series::new(folder.path(), Some("a"), true);
        let first = open(&series).current;
        let _next = series.open_next(&now()).unwrap();
        drop(_next);
        assert!(open(&series).unfinished.is_empty(), "{} is locked", first.id());
    }

    fn recorded(folder: &Path, id: &str) {
        let session = Session::own_folder(&folder.join(id)).unwrap();
        std::fs::write(session.recording_ts(), []).unwrap();
        std::fs::write(session.checkpoint_json(), []).unwrap();
    }

    #[test]
    fn a_series_continues_after_its_highest_number_whatever_was_deleted() {
        let folder = tempfile::tempdir().unwrap();
        for id in ["a_2", "a_10", "a_03", "a_b", "ab_12"] {
            recorded(folder.path(), id);
        }
        let series = Series::new(folder.path(), Some("a"), true);
        let opened = open(&series);
        assert_eq!(opened.current.id(), "a_10");
        assert_eq!(series.open_next(&now()).unwrap().id(), "a_11");
        assert!(!folder.path().join("a").exists());
    }

    #[test]
    fn a_session_whose_recording_was_deleted_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        for id in ["a", "a_2", "a_3"] {
            recorded(folder.path(), id);
            std::fs::remove_dir_all(folder.path().join(id).join("stream")).unwrap();
            std::fs::write(folder.path().join(id).join("frames/index.json"), "[]").unwrap();
        }
        for rotates in [true, false] {
            let series = Series::new(folder.path(), Some("a"), rotates);
            let opened = open(&series);
            assert_eq!(opened.current.id(), if rotates { "a_4" } else { "a_5" });
            assert!(opened.unfinished.is_empty());
        }
        for id in ["a", "a_2", "a_3"] {
            assert!(!folder.path().join(id).join("stream").exists(), "{id} was touched");
        }
    }

    #[test]
    fn a_session_that_was_never_recorded_is_used() {
        let folder = tempfile::tempdir().unwrap();
        drop(Session::own_folder(&folder.path().join("a")).unwrap());
        assert_eq!(open(&Series::new(folder.path(), Some("a"), false)).current.id(), "a");
    }
}
