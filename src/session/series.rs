//! Which sessions a recorder uses, one after another.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Zoned;

use super::{OwnedSession, Session};
use crate::disk;
use crate::error::{Context, Kind, Result, Stage};

/// Unfinished sessions of an earlier process that are opened, at most: each holds a lock and two
/// descriptors until detection has finished it.
const MAX_UNFINISHED: usize = 32;

/// The sessions of one recorder: `NAME`, `NAME_2`, `NAME_3` … or, without a name, one for each
/// time at which one begins.
#[derive(Debug, Clone)]
pub struct Series {
    sessions_dir: PathBuf,
    name: Option<String>,
    rotates: bool,
}

/// The sessions with which a recorder begins.
#[derive(Debug)]
pub struct OpenedSessions {
    /// The one to record in.
    pub current: OwnedSession,
    /// Those before it whose detection an earlier process has not finished, the oldest first.
    pub unfinished: Vec<OwnedSession>,
}

impl Series {
    /// The series of `name` in `sessions_dir`. One that `rotates` continues in its last session,
    /// and not in the first.
    pub fn new(sessions_dir: &Path, name: Option<&str>, rotates: bool) -> Self {
        let sessions_dir = sessions_dir.to_owned();
        Series { sessions_dir, name: name.map(str::to_owned), rotates }
    }

    /// Opens the session to record in. A name that was not given is made of the time `now`, and
    /// never that of a session that exists. `is_finished` says whether detection has come to the
    /// end of a session.
    ///
    /// # Errors
    ///
    /// If the folders cannot be made, or another process records the session.
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
                // Another process is recording it, or finishing it.
                Err(error) if error.kind() == Kind::Busy => continue,
                Err(error) => {
                    tracing::warn!("{error}; this session is left as it is");
                    continue;
                }
                Ok(session) => session,
            };
            // The checkpoint of the one just before may be of an earlier end of its recording.
            if n == 0 || !is_finished(&session) {
                unfinished.insert(0, session);
            }
        }
        Ok(OpenedSessions { current, unfinished })
    }

    /// Opens the session that follows: the first of `NAME_2`, `NAME_3` … that does not exist, or,
    /// without a name, one of the time `now`.
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

    /// The folders `NAME`, `NAME_2` … as far as they exist.
    fn existing(&self, name: &str) -> Vec<PathBuf> {
        let folders = (1..).map(|number| self.sessions_dir.join(numbered(name, number)));
        folders.take_while(|folder| folder.is_dir()).collect()
    }

    /// Makes the first folder of this name, counted from `number`, that does not exist.
    fn new_folder(&self, name: &str, mut number: u32) -> Result<PathBuf> {
        loop {
            let folder = self.sessions_dir.join(numbered(name, number));
            // Making it is the test: two recorders that start at once get two folders.
            match disk::create_folder(&folder) {
                Ok(()) => return Ok(folder),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error).context(Stage::Session, &folder, "cannot create"),
            }
        }
    }
}

/// Returns a name such as `20261123_041500`.
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
