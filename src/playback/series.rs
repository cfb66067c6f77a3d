//! A series of recordings that one player follows: the next one begins where the last one ends.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::{is_long_enough, socket_path};

/// Returns the recording that is being written. It changes when a recorder rotates.
pub type CurrentRecording<'a> = &'a (dyn Fn() -> PathBuf + Sync);

/// The recordings that a recorder has written while the player was open.
pub struct PlayedSeries<'a> {
    current: CurrentRecording<'a>,
    /// Oldest first.
    recordings: Vec<PathBuf>,
    /// Socket of the player, named for the recording with which it was opened.
    socket: PathBuf,
    /// The same socket, named for the recordings after that: `play` finds the player by any of
    /// them.
    links: Vec<PathBuf>,
}

impl<'a> PlayedSeries<'a> {
    /// Returns a series that begins with `first`. Its player listens on `socket`.
    pub fn new(first: &Path, socket: &Path, current: CurrentRecording<'a>) -> Self {
        let (recordings, links) = (vec![first.to_owned()], Vec::new());
        PlayedSeries { current, recordings, socket: socket.to_owned(), links }
    }

    /// Looks whether another recording has begun.
    pub fn look(&mut self) {
        let current = (self.current)();
        if self.recordings.contains(&current) || !current.is_file() {
            return;
        }
        match socket_path(&current) {
            Ok(link) => {
                // A player of an earlier recorder may have left its own.
                let _ = fs::remove_file(&link);
                match symlink(&self.socket, &link) {
                    Ok(()) => self.links.push(link),
                    Err(error) => tracing::debug!("{}: cannot link: {error}", link.display()),
                }
            }
            Err(error) => tracing::debug!("{error}"),
        }
        self.recordings.push(current);
    }

    /// Returns the recording after `recording`, once it is long enough to be opened. Those that
    /// were deleted since are passed over.
    pub fn after(&self, recording: &Path) -> Option<&Path> {
        let at = self.recordings.iter().position(|known| known == recording)?;
        let next = self.recordings[at + 1..].iter().find_map(|next| {
            let found = fs::metadata(next).ok()?;
            Some((next, found))
        });
        next.and_then(|(next, found)| is_long_enough(&found).then_some(&**next))
    }

    /// Removes the names of the socket; called when the player has ended.
    pub fn remove_links(&mut self) {
        for link in self.links.drain(..) {
            let _ = fs::remove_file(link);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn the_next_recording_is_known_once_it_has_begun_and_its_player_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = ["1.ts", "2.ts"].map(|name| folder.path().join(name));
        fs::write(&first, "x").unwrap();
        let current = Mutex::new(first.clone());
        let written = || current.lock().unwrap().clone();
        let socket = folder.path().join("player.sock");
        fs::write(&socket, "").unwrap();
        let mut series = PlayedSeries::new(&first, &socket, &written);
        *current.lock().unwrap() = second.clone();
        series.look();
        assert_eq!(series.after(&first), None, "it does not exist yet");
        fs::write(&second, vec![0; super::super::OPENING_BYTES as usize]).unwrap();
        series.look();
        assert_eq!(series.after(&first), Some(&*second));
        assert_eq!(series.after(&second), None);
        series.recordings.insert(1, folder.path().join("deleted.ts"));
        assert_eq!(series.after(&first), Some(&*second));
        let link = socket_path(&second).unwrap();
        assert_eq!(fs::canonicalize(&link).unwrap(), fs::canonicalize(&socket).unwrap());
        series.remove_links();
        assert!(!link.is_symlink());
    }
}
