//! The series of sessions that one recorder uses, one after another.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Zoned;

use super::{OwnedSession, Session};
use crate::disk;
use crate::error::{Context, Kind, Result, Stage};

/// Maximum number of unfinished sessions of an earlier process that are opened: each holds a lock
/// and two file descriptors until detection has finished it.
const MAX_UNFINISHED: usize = 32;

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
        let Some(name) = &self.name else {
            let folder = self.new_folder(&time_id(now), 1)?;
            return Ok(OpenedSessions {
                current: Session::own_folder(&folder)?,
                unfinished: Vec::new(),
            });
        };
        if !self.rotates {
            let current = Session::own_folder(&self.sessions_dir.join(name))?;
            return Ok(OpenedSessions { current, unfinished: Vec::new() });
        }
        let mut existing = self.existing(name);
        let last = existing.pop().unwrap_or_else(|| self.sessions_dir.join(name));
        let current = Session::own_folder(&last)?;
        let mut unfinished = Vec::new();
        for (n, folder) in existing.iter().rev().take(MAX_UNFINISHED).enumerate() {
            let session = match Session::own_folder(folder) {
                // Another process is recording the session, or finishing its detection.
                Err(error) if error.kind() == Kind::Busy => continue,
                Err(error) => {
                    tracing::warn!("{error}; this session is left as it is");
                    continue;
                }
                Ok(session) => session,
            };
            // The last of them counts as unfinished even if its checkpoint is final: it may have
            // been written at an earlier end of the recording.
            if n == 0 || !is_finished(&session) {
                unfinished.insert(0, session);
            }
        }
        Ok(OpenedSessions { current, unfinished })
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
        Session::own_folder(&folder)
    }

    fn create_sessions_dir(&self) -> Result<()> {
        let folder = &self.sessions_dir;
        disk::create_folders(folder).context(Stage::Session, folder, "cannot create")
    }

    /// Returns the folders `NAME`, `NAME_2` …, up to the first that does not exist.
    fn existing(&self, name: &str) -> Vec<PathBuf> {
        let folders = (1..).map(|number| self.sessions_dir.join(numbered(name, number)));
        folders.take_while(|folder| folder.is_dir()).collect()
    }

    /// Creates the first folder of this name, counted from `number`, that does not exist.
    fn new_folder(&self, name: &str, mut number: u32) -> Result<PathBuf> {
        loop {
            let folder = self.sessions_dir.join(numbered(name, number));
            // Creating the folder is the test: two recorders that start at once get two folders.
            match disk::create_folder(&folder) {
                Ok(()) => return Ok(folder),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error).context(Stage::Session, &folder, "cannot create"),
            }
        }
    }
}

/// Returns the session name for a time, such as `20261123_041500`.
fn time_id(now: &Zoned) -> String {
    now.strftime("%Y%m%d_%H%M%S").to_string()
}

/// Returns `name` itself for 1, and with `_2`, `_3` … appended otherwise.
fn numbered(name: &str, number: u32) -> String {
    if number == 1 { name.to_owned() } else { format!("{name}_{number}") }
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
    fn sessions_that_follow_one_another_are_numbered() {
        let folder = tempfile::tempdir().unwrap();
        let series = Series::new(folder.path(), Some("a"), true);
        assert_eq!(open(&series).current.id(), "a");
        let ids: Vec<_> = (0..3).map(|_| series.open_next(&now()).unwrap().id()).collect();
        assert_eq!(ids, ["a_2", "a_3", "a_4"]);
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
}
