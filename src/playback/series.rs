//! The recordings that one player plays in sequence: the next one begins where the last one ends.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::neighbors::continuations;
use super::{is_long_enough, socket_path};
use crate::pipeline::evidence::Target;
use crate::session::Session;

/// Time for which a changed folder is read again: the files of a new session follow shortly after its
/// folder.
const SETTLE_TIME: Duration = Duration::from_secs(2);

/// The recordings that continue the open one.
pub struct PlayedSeries {
    /// The open session; `None` for a single file.
    session: Option<Session>,
    /// Whether the session was being recorded while it was open.
    was_recorded: bool,
    /// Sessions that continue the open one, oldest first.
    later: Vec<Session>,
    /// Modification time of the folder of the sessions when it was last read.
    read: Option<SystemTime>,
    /// Socket of the player, named for the recording with which it was opened.
    socket: PathBuf,
    /// Links to the socket, named for other recordings of the series, so that `play` finds the player by
    /// any of them.
    links: Vec<PathBuf>,
}

impl PlayedSeries {
    /// Returns the series of a player that listens on `socket` and has opened no recording yet.
    pub fn new(socket: &Path) -> Self {
        let (socket, links) = (socket.to_owned(), Vec::new());
        PlayedSeries {
            session: None,
            was_recorded: false,
            later: Vec::new(),
            read: None,
            socket,
            links,
        }
    }

    /// Handles that the player has opened a recording.
    pub fn opened(&mut self, target: &Target) {
        self.session = target.session().cloned();
        (self.was_recorded, self.read) = (false, None);
        self.later.clear();
        self.link(&target.recording());
    }

    /// Checks whether other recordings have begun. Reads the folder of the sessions only if it has
    /// changed.
    pub fn look(&mut self) {
        let Some(session) = &self.session else { return };
        self.was_recorded = self.was_recorded || session.is_recorded();
        let folder = session.folder().parent().unwrap_or(session.folder());
        let Ok(changed) = fs::metadata(folder).and_then(|found| found.modified()) else { return };
        let is_settled = changed.elapsed().is_ok_and(|age| age > SETTLE_TIME);
        if self.read == Some(changed) && is_settled {
            return;
        }
        match continuations(session, self.was_recorded) {
            Ok(later) => self.later = later,
            Err(error) => return tracing::debug!("{error}"),
        }
        self.read = is_settled.then_some(changed);
        let recordings: Vec<PathBuf> = self.later.iter().map(Session::recording_ts).collect();
        recordings.iter().for_each(|recording| self.link(recording));
    }

    /// Returns the next recording, once it is long enough to be opened and `is_playable`. Skips recordings
    /// that were deleted meanwhile, or will never be playable.
    pub fn next(&self, is_playable: impl Fn(&Session) -> bool) -> Option<&Session> {
        for session in &self.later {
            let Ok(found) = fs::metadata(session.recording_ts()) else { continue };
            if is_long_enough(&found) && is_playable(session) {
                return Some(session);
            }
            if session.is_recorded() {
                return None;
            }
        }
        None
    }

    /// Returns the sessions that continue the open one, oldest first.
    pub fn later(&self) -> &[Session] {
        &self.later
    }

    /// Creates a link to the socket, named for another recording.
    fn link(&mut self, recording: &Path) {
        let link = match socket_path(recording) {
            Ok(link) => link,
            Err(error) => return tracing::debug!("{error}"),
        };
        if link == self.socket || self.links.contains(&link) {
            return;
        }
        match symlink(&self.socket, &link) {
            Ok(()) => self.links.push(link),
            // Another player has that recording open.
            Err(error) => tracing::debug!("{}: cannot link: {error}", link.display()),
        }
    }

    /// Removes the links; called when the player has ended.
    pub fn remove_links(&mut self) {
        for link in self.links.drain(..) {
            let _ = fs::remove_file(link);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_next_recording_is_known_once_it_has_begun_and_its_player_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let session = |name: &str| {
            (*Session::at(&folder.path().join(name)).unwrap().into_owned().unwrap()).clone()
        };
        let (first, second) = (session("s"), session("s_2"));
        fs::write(first.recording_ts(), "x").unwrap();
        let socket = folder.path().join("player.sock");
        fs::write(&socket, "").unwrap();
        let mut series = PlayedSeries::new(&socket);
        series.opened(&Target::Session(first));
        series.look();
        let next = |series: &PlayedSeries| series.next(|_| true).cloned();
        assert_eq!(next(&series), None, "it has no recording yet");
        fs::write(second.recording_ts(), vec![0; super::super::OPENING_BYTES as usize]).unwrap();
        series.look();
        assert_eq!(next(&series), Some(second.clone()));
        assert_eq!(series.next(|_| false), None, "it cannot be played");
        let third = session("s_3");
        fs::write(third.recording_ts(), vec![0; super::super::OPENING_BYTES as usize]).unwrap();
        series.look();
        fs::remove_file(second.recording_ts()).unwrap();
        assert_eq!(next(&series), Some(third.clone()), "the second one was deleted");
        let link = socket_path(&third.recording_ts()).unwrap();
        assert_eq!(fs::canonicalize(&link).unwrap(), fs::canonicalize(&socket).unwrap());
        series.remove_links();
        assert!(!link.is_symlink());
    }
}
